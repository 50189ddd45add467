// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Two kernels for the tests of the device layer
 *
 * There is one device layer in a kernel, and these tests use it in both of its
 * roles, without the state machine.
 *
 * The outgoing kernel
 *   Devices of the bus of the tests (liveupdate_kunit_bus.c) are requested, and the
 *   callbacks of the subsystem are called as the state machine calls them.
 *
 * The kexec
 *   dlt_jump() copies table, blocks and blobs as they are when everything is frozen,
 *   then thaws and cancels, and removes all devices. The copies are what the
 *   incoming kernel finds, after a test has done corruption to them.
 *   kho_is_restorable() and kho_restore_free() are replaced for the test: only the
 *   copies can be read, and only until they are freed, once. In the log
 *   "blob:device", "block0" and "table" say what was freed.
 *
 * The incoming kernel
 *   RESTORE reads the copies. Devices appear and are probed, and FINISH is called.
 *
 * Whatever a test leaves behind, also one that failed halfway, is undone by
 * dlt_exit(). A test fails if the kernel warns meanwhile.
 */

#include <kunit/static_stub.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* What the callbacks are called with; nobody looks into it outside of the machine. */
struct liveupdate_subsystem dlt_subsystem;

/* The transitions of the outgoing kernel. */

int dlt_do_prepare(void)
{
	return dlu_prepare(&dlt_subsystem, &dlt->data);
}

int dlt_do_freeze(void)
{
	return dlu_freeze(&dlt_subsystem, &dlt->data);
}

void dlt_do_thaw(void)
{
	dlu_thaw(&dlt_subsystem, &dlt->data);
}

void dlt_do_cancel(void)
{
	dlu_cancel(&dlt_subsystem, &dlt->data);
}

/* Expects that nothing is left of a prepare. */
void dlt_expect_idle(struct kunit *test)
{
	struct dlt_device *dlt_dev;

	KUNIT_EXPECT_FALSE(test, dlu_outgoing.closed);
	KUNIT_EXPECT_FALSE(test, dlu_outgoing.invalid);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.set));
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, 0);
	KUNIT_EXPECT_EQ(test, dlt->data.size, 0);
	KUNIT_EXPECT_EQ(test, dlt->data.value, 0);
	list_for_each_entry(dlt_dev, &dlt->devices, list) {
		struct device_liveupdate *liveupdate = dlu_of(&dlt_dev->dev);

		if (!liveupdate)
			continue;
		KUNIT_EXPECT_TRUE(test, list_empty(&liveupdate->member));
		KUNIT_EXPECT_EQ(test, liveupdate->phase, DLU_IDLE);
		KUNIT_EXPECT_EQ(test, liveupdate->data.size, 0);
		KUNIT_EXPECT_FALSE(test, mutex_is_locked(&liveupdate->lock));
	}
}

/* Expects this set, providers first, with a slash behind those on the path. */
void dlt_expect_set(struct kunit *test, const char *want)
{
	struct device_liveupdate *liveupdate;
	unsigned int nr_set = 0;

	dlt_clear_log();
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		dlt_log(" %s%s", dev_name(liveupdate->dev),
			liveupdate->path ? "/" : "");
		nr_set++;
	}
	dlt_expect(test, want);
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, nr_set);
}

struct dlt_said dlt_failure;

/* In place of liveupdate_report_failure() and liveupdate_invalidate(). */
static void dlt_report(struct liveupdate_subsystem *subsystem, int error,
		       const char *device, const char *reason)
{
	strscpy(dlt_failure.device, device);
	strscpy(dlt_failure.reason, reason);
	dlt_failure.error = error;
}

/* Which device it was, without its bus. */
const char *dlt_failed(void)
{
	char *colon = strchr(dlt_failure.device, ':');

	return colon ? colon + 1 : "";
}

/* Expects that the last failure is this one. */
void dlt_expect_failed(struct kunit *test, const char *name, int error,
		       const char *reason)
{
	KUNIT_EXPECT_STREQ(test, dlt_failed(), name);
	KUNIT_EXPECT_EQ(test, dlt_failure.error, error);
	if (reason)
		KUNIT_EXPECT_STREQ(test, dlt_failure.reason, reason);
}

/* Expects that prepare fails and leaves nothing behind. */
void dlt_expect_refused(struct kunit *test, const char *name, int error,
			const char *reason)
{
	KUNIT_EXPECT_EQ(test, dlt_do_prepare(), error);
	dlt_expect_failed(test, name, error, reason);
	dlt_expect(test, "");
	dlt_expect_idle(test);
}

/* The kexec. */

struct dlt_memory *dlt_find_memory(phys_addr_t phys)
{
	struct dlt_memory *memory;

	list_for_each_entry(memory, &dlt->memory, list)
		if (virt_to_phys(memory->mem) == phys)
			return memory;

	return NULL;
}

static bool dlt_handed_over(phys_addr_t phys, size_t size)
{
	struct dlt_memory *memory = dlt_find_memory(phys);

	return memory && !memory->freed && size <= memory->size;
}

static void dlt_free(void *mem)
{
	struct dlt_memory *memory = dlt_find_memory(virt_to_phys(mem));

	if (!memory || memory->freed) {
		dlt->rogue++;
		return;
	}
	memory->freed = true;
	if (strncmp(memory->name, "block", 5) && strcmp(memory->name, "table"))
		dlt_log(" %s", memory->name);
	else
		seq_buf_printf(&dlt->released, " %s", memory->name);
}

/* Expects that these parts of the table were freed. */
void dlt_expect_released(struct kunit *test, const char *want)
{
	KUNIT_EXPECT_STREQ(test, seq_buf_str(&dlt->released), want);
	seq_buf_clear(&dlt->released);
}

void dlt_release_table(struct kunit *test, const char *want)
{
	dlt_expect_released(test, "");
	dlu_release_table();
	dlt_expect_released(test, want);
}

/* A copy of what the outgoing kernel left, at an address of its own. */
static u64 dlt_copy(struct kunit *test, u64 phys, size_t size, const char *name)
{
	struct dlt_memory *memory;

	memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->mem = kunit_kzalloc(test, size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory->mem);
	memcpy(memory->mem, phys_to_virt(phys), size);
	memory->size = size;
	strscpy(memory->name, name);
	list_add_tail(&memory->list, &dlt->memory);

	return virt_to_phys(memory->mem);
}

struct kho_table_ser *dlt_table(void)
{
	return phys_to_virt(dlt->handed.value);
}

struct kho_block_header_ser *dlt_block(unsigned int index)
{
	return kho_kunit_block(dlt_table(), index);
}

struct device_liveupdate_ser *dlt_ser(unsigned int index)
{
	return (void *)(kho_kunit_entry(dlt_table(), DLT_RECORD, index) + 1);
}

/* Correct the checksums of what a test has changed. */
void dlt_seal(void)
{
	kho_kunit_seal(dlt_table(), DLT_RECORD);
}

/* Copy the blocks and the blobs, and lead the table to the copies. */
static void dlt_copy_records(struct kunit *test)
{
	struct kho_table_ser *table = dlt_table();
	char name[DEVICE_LIVEUPDATE_ID_LEN + 8];

	for (unsigned int i = 0; i < table->nr_blocks; i++) {
		snprintf(name, sizeof(name), "block%u", i);
		table->blocks[i].phys = dlt_copy(test, table->blocks[i].phys,
						 KHO_BLOCK_SIZE, name);
	}
	for (unsigned int i = 0; i < table->nr_records; i++) {
		struct device_liveupdate_ser *ser = dlt_ser(i);

		if (ser->flags & DEVICE_LIVEUPDATE_SER_BLOB) {
			snprintf(name, sizeof(name), "blob:%s", ser->id);
			ser->value = dlt_copy(test, ser->value, ser->size, name);
		}
	}
}

size_t dlt_nr_requested(void)
{
	return list_count_nodes(&dlu_outgoing.requested);
}

/* From a prepared kernel to one where nothing has appeared yet. */
void dlt_jump(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt->handed.size = dlt->data.size;
	dlt->handed.value = dlt_copy(test, dlt->data.value, PAGE_SIZE, "table");
	KUNIT_ASSERT_EQ(test, dlt->data.size, struct_size(dlt_table(), blocks,
							  dlt_table()->nr_blocks));
	dlt_copy_records(test);
	dlt_seal();

	dlt_do_thaw();
	dlt_do_cancel();
	dlt_del_all();
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
	dlt_clear_log();
}

int dlt_do_restore(void)
{
	return dlu_restore(&dlt_subsystem, &dlt->handed);
}

void dlt_do_finish(void)
{
	dlu_finish(&dlt_subsystem, &dlt->handed);
	dlu_flush();
	wait_for_device_probe();
}

/* What device_shutdown() asks of every device. */
void dlt_go_down(void)
{
	struct dlt_device *dlt_dev;

	list_for_each_entry_reverse(dlt_dev, &dlt->devices, list) {
		guard(device)(&dlt_dev->dev);
		KUNIT_EXPECT_FALSE(dlt->test,
				   device_liveupdate_shutdown(&dlt_dev->dev));
	}
}

/* The next kernel boots; so far only the table was read. */
void dlt_boot(struct kunit *test)
{
	/* Once, or what was read would be lost. */
	KUNIT_ASSERT_NULL(test, dlu_incoming.records);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
	dlt_clear_log();
}

void dlt_expect_retained(struct kunit *test, const char *want)
{
	char ids[128];

	liveupdate_retained_ids(ids, sizeof(ids));
	KUNIT_EXPECT_STREQ(test, ids, want);
}

int dlt_forget(const char *name)
{
	return dlu_forget_retained(&dlt_subsystem, name);
}

/* Drop what restore read, so that it can be tried again. */
void dlt_unboot(void)
{
	struct dlt_memory *memory;

	dlu_incoming.pending = false;
	dlu_forget();
	dlt_forget("records");
	list_for_each_entry(memory, &dlt->memory, list)
		memory->freed = false;
	seq_buf_clear(&dlt->released);
	dlt_clear_log();
}

/* Hands over one device, "a", which is driven by @driver. */
void dlt_jump_one(struct kunit *test, enum dlt_driver driver)
{
	struct dlt_device *a = dlt_new(test, "a", NULL);

	a->drivers = BIT(driver);
	dlt_add(test, a);
	dlt_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
}

void dlt_jump_chain(struct kunit *test)
{
	dlt_request(test, dlt_make_chain(test).b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
}

enum device_liveupdate_state dlt_state(unsigned int index)
{
	return dlu_incoming.records[index].state;
}

const struct device_liveupdate_ser *dlt_outgoing_ser(struct dlt_device *dlt_dev)
{
	return dlu_of(&dlt_dev->dev)->ser;
}

/* What others are told at FINISH of the first records, and of none that is not there. */
void dlt_expect_states(struct kunit *test, const char *states)
{
	static const char letters[] = "UAIRQNO";

	for (u32 i = 0; states[i]; i++)
		KUNIT_EXPECT_EQ_MSG(test, letters[device_liveupdate_get_state(i)],
				    states[i], "record %u", i);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(strlen(states)),
			DEVICE_LIVEUPDATE_UNKNOWN);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(U32_MAX),
			DEVICE_LIVEUPDATE_UNKNOWN);
}

void dlt_field_desc(const struct dlt_field *field, char *desc)
{
	strscpy(desc, field->about, KUNIT_PARAM_DESC_SIZE);
}

/* Fixture. */

static int dlt_register_all(void)
{
	int err;

	dlt->root = root_device_register("liveupdate-kunit");
	if (IS_ERR(dlt->root))
		return PTR_ERR(dlt->root);
	for (int i = 0; i < DLT_NR_DRIVERS; i++) {
		err = dlt_register(i);
		if (err)
			return err;
	}

	return 0;
}

int dlt_init(struct kunit *test)
{
	if (!kho_is_enabled() || !liveupdate_enabled())
		kunit_skip(test, "live update is off, boot with kho=on liveupdate=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    dlt_nr_requested() || dlu_incoming.nr_records)
		kunit_skip(test, "a live update is under way");

	dlt = kunit_kzalloc(test, sizeof(*dlt), GFP_KERNEL);
	if (!dlt)
		return -ENOMEM;
	dlt->test = test;
	INIT_LIST_HEAD(&dlt->devices);
	INIT_LIST_HEAD(&dlt->memory);
	mutex_init(&dlt->lock);
	seq_buf_init(&dlt->log, dlt->text, DLT_LOG_LEN);
	seq_buf_init(&dlt->released, dlt->released_text, DLT_LOG_LEN);
	dlt->tainted = test_taint(TAINT_WARN);
	test->priv = dlt;

	dlt_reset_bus();
	kunit_activate_static_stub(test, kho_is_restorable, dlt_handed_over);
	kunit_activate_static_stub(test, kho_restore_free, dlt_free);
	kunit_activate_static_stub(test, liveupdate_report_failure, dlt_report);
	kunit_activate_static_stub(test, liveupdate_invalidate, dlt_report);

	return dlt_register_all();
}

/* As if device_shutdown() had not come to the devices yet. */
void dlt_come_back(void)
{
	struct dlt_device *dlt_dev;

	list_for_each_entry(dlt_dev, &dlt->devices, list) {
		struct device_liveupdate *liveupdate = dlu_of(&dlt_dev->dev);

		if (!liveupdate || !liveupdate->passed)
			continue;
		liveupdate->passed = false;
		liveupdate->phase = DLU_FROZEN;
	}
}

/* Leaves the layer as it was, wherever the test ended. */
void dlt_exit(struct kunit *test)
{
	struct dlt_device *dlt_dev, *tmp;

	if (!test->priv)
		return;

	if (dlu_outgoing.closed) {
		dlt_come_back();
		dlt_do_thaw();
		dlt_do_cancel();
	}
	dlu_flush();
	wait_for_device_probe();
	dlt_del_all();
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.requested));
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++)
		KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records[i].dev, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
	dlu_incoming.pending = false;
	dlu_forget();
	dlt_forget("records");
	dlt_expect_retained(test, "");

	for (int i = 0; i < DLT_NR_DRIVERS; i++)
		dlt_unregister(i);
	device_link_wait_removal();
	list_for_each_entry_safe(dlt_dev, tmp, &dlt->devices, list) {
		list_del(&dlt_dev->list);
		if (dlu_of(&dlt_dev->dev))
			KUNIT_EXPECT_PTR_EQ(test, dlu_of(&dlt_dev->dev)->incoming,
					    NULL);
		KUNIT_EXPECT_EQ(test, kref_read(&dlt_dev->dev.kobj.kref), 1);
		put_device(&dlt_dev->dev);
	}
	if (!IS_ERR_OR_NULL(dlt->root))
		root_device_unregister(dlt->root);
	KUNIT_EXPECT_EQ(test, dlt->rogue, 0);
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), dlt->tainted);
}

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("KUnit tests for devices in a live update");
MODULE_LICENSE("GPL");
