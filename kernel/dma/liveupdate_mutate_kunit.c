// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the table of DMA buffers against corrupted images in bulk
 *
 * Two devices had four buffers, or as many as need a second block, in a kernel that is not
 * there: the table is written as include/linux/kho/abi/dma.h has it, and corrupted by
 * kernel/liveupdate/tests/luo_mutate.c. It is read by the one layer of this kernel. Half of
 * the buffers are retrieved, by the corruption's own dice, then FINISH comes.
 *
 * Without corrected checksums no record is believed that is not as it was written, and
 * nothing is freed that the table did not have. With corrected checksums nobody can
 * tell which of two kernels is wrong; but memory is taken over once, by one owner, in
 * the size in which it was handed over, and no reader goes astray.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/device.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/mutate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate.h"

#define DMM_RECORD	sizeof(struct dma_liveupdate_ser)
#define DMM_PER_BLOCK	((unsigned int)KHO_TABLE_PER_BLOCK(DMM_RECORD))
#define DMM_BUFFERS	4
#define DMM_MANY	(DMM_PER_BLOCK + 2)
#define DMM_DEVICES	2

enum {
	DMM_TABLE,
	DMM_FIRST,
	DMM_SECOND,
	DMM_BUFFER,
	DMM_OTHER = DMM_BUFFER + DMM_BUFFERS,
	DMM_NR_AREAS,
};

static const struct luo_mutate_case dmm_cases[] = {
	{ "as it is", false, 100 },
	{ "checksums corrected", true, 150 },
};

KUNIT_ARRAY_PARAM_DESC(dmm_case, dmm_cases, name);

static const struct luo_mutate_table dmm_table = {
	.head		= DMM_TABLE,
	.blocks		= DMM_FIRST,
	.compatible	= DMA_LIVEUPDATE_COMPATIBLE,
	.record_size	= DMM_RECORD,
};

static struct luo_mutate *dmm;
static struct device *dmm_devs[DMM_DEVICES];
static u64 dmm_masks[DMM_DEVICES];
static struct liveupdate_subsystem dmm_subsystem;

/* Bit for each device, and for those behind them. */
static u32 dmm_stopped;

static int dmm_incoming_index(struct device *dev, u32 *index)
{
	*index = dev == dmm_devs[1];

	return 0;
}

static enum device_liveupdate_state dmm_get_state(u32 index)
{
	return index < 32 && dmm_stopped & BIT(index) ? DEVICE_LIVEUPDATE_QUARANTINED :
							DEVICE_LIVEUPDATE_UNKNOWN;
}

static bool dmm_in_scratch(phys_addr_t phys, size_t size)
{
	return false;
}

/* Two sizes on two devices; those that only fill a block are invalid. */
static void dmm_record(struct dma_liveupdate_ser *ser, unsigned int index)
{
	memset(ser, 0, sizeof(*ser));
	if (index >= DMM_BUFFERS)
		return;
	ser->phys = luo_mutate_phys(dmm, DMM_BUFFER + index);
	ser->dma = ser->phys;
	ser->device = index / 2;
	ser->tag = index;
	ser->order = index % 2;
}

static void dmm_write(unsigned int count)
{
	luo_mutate_write_table(dmm, &dmm_table, count);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int area;
		struct dma_liveupdate_ser *ser =
			luo_mutate_record(dmm, &dmm_table, i, &area);
		struct kho_table_entry_ser *entry = (void *)ser - sizeof(*entry);

		dmm_record(ser, i);
		if (i >= DMM_BUFFERS) {
			entry->flags = KHO_TABLE_ENTRY_INVALID;
			continue;
		}
		luo_mutate_field(dmm, area, &ser->phys, 8);
		luo_mutate_field(dmm, area, &ser->dma, 8);
		luo_mutate_field(dmm, area, &ser->device, 4);
		luo_mutate_field(dmm, area, &ser->tag, 4);
		luo_mutate_field(dmm, area, &ser->order, 4);
		luo_mutate_field(dmm, area, &ser->reserved, 4);
	}
	luo_mutate_seal_table(dmm, &dmm_table);
	memset(luo_mutate_mem(dmm, DMM_OTHER), 0, PAGE_SIZE);
}

/* A record that is believed is within its bounds. */
static void dmm_judge(bool sealed)
{
	const struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		const struct dma_liveupdate_incoming *incoming = &layer->incoming[i];
		const struct dma_liveupdate_ser *ser = &incoming->ser;
		struct dma_liveupdate_ser want;

		if (hlist_unhashed(&incoming->hash) || incoming->invalid)
			continue;
		dmm_record(&want, i);
		luo_mutate_wrong(dmm, ser->order > MAX_PAGE_ORDER ||
				 !IS_ALIGNED(ser->phys, PAGE_SIZE << ser->order) ||
				 (!sealed && memcmp(ser, &want, sizeof(want))),
				 "a record that cannot be");
	}
	luo_mutate_wrong(dmm, layer->nr_lost > layer->nr_incoming,
			 "records are not counted");
}

/* Half of the buffers are retrieved. */
static void dmm_retrieve(struct dma_liveupdate_buffer **buffers)
{
	u32 dice = prandom_u32_state(&dmm->rnd);

	for (unsigned int i = 0; i < DMM_BUFFERS; i++) {
		struct device *dev = dmm_devs[i / 2];
		struct dma_liveupdate_buffer *buffer;

		buffers[i] = NULL;
		if (!(dice & BIT(i)))
			continue;
		scoped_guard(device, dev)
			buffer = dma_liveupdate_retrieve(dev, PAGE_SIZE << i % 2, i);
		if (!IS_ERR(buffer)) {
			buffers[i] = buffer;
			luo_mutate_wrong(dmm, folio_size(buffer->folio) !=
					 PAGE_SIZE << i % 2,
					 "a buffer of another size");
			/* The device may access all of it, and so does this. */
			memset(buffer->address, i, PAGE_SIZE << i % 2);
			continue;
		}
		switch (PTR_ERR(buffer)) {
		case -ENOENT:
		case -EINVAL:
		case -EADDRNOTAVAIL:
		case -EBADMSG:
			break;
		default:
			luo_mutate_wrong(dmm, true, "an error nobody knows");
		}
	}
	dmm_stopped = dice >> DMM_BUFFERS;
}

/* The next kernel boots with the image and finishes. */
static void dmm_boot(struct kunit *test, bool sealed)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffers[DMM_BUFFERS];
	struct liveupdate_data data = {
		.value = luo_mutate_phys(dmm, DMM_TABLE),
		.size = dmm->areas[DMM_TABLE].used,
	};
	int err;

	scoped_guard(mutex, &layer->lock)
		err = dma_liveupdate_read_table(&data);
	if (err) {
		luo_mutate_wrong(dmm, err != -EINVAL && err != -EBADMSG &&
				 err != -EPROTONOSUPPORT, "an error nobody knows");
		luo_mutate_wrong(dmm, luo_mutate_nr_reserved(dmm) != dmm->nr_areas,
				 "memory freed after an error");
		luo_mutate_wrong(dmm, layer->incoming || layer->nr_incoming ||
				 layer->nr_lost, "records after an error");
		return;
	}
	dmm_judge(sealed);
	dmm_retrieve(buffers);
	dma_liveupdate_finish(&dmm_subsystem, &data);
	err = dma_liveupdate_forget_retained(&dmm_subsystem, "");
	luo_mutate_wrong(dmm, err && err != -ENOENT, "an operator cannot go on");
	for (unsigned int i = 0; i < DMM_BUFFERS; i++)
		if (buffers[i])
			dma_liveupdate_free(buffers[i]);
	luo_mutate_wrong(dmm, layer->incoming || layer->nr_incoming ||
			 layer->nr_lost, "records are left");
	luo_mutate_wrong(dmm, !sealed && !luo_mutate_reserved(dmm, DMM_OTHER),
			 "memory of somebody else was freed");
}

static void dmm_areas(void)
{
	for (unsigned int i = 0; i < DMM_NR_AREAS; i++)
		luo_mutate_area(dmm, i >= DMM_BUFFER && i < DMM_OTHER ?
				(i - DMM_BUFFER) % 2 : 0);
}

static void dmm_table_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;

	luo_mutate_begin(dmm, test, what->share);
	dmm_areas();
	while (luo_mutate_next(dmm)) {
		dmm_write(dmm->image % 16 ? DMM_BUFFERS : DMM_MANY);
		luo_mutate_corruption(dmm);
		if (what->sealed)
			luo_mutate_seal_table(dmm, &dmm_table);
		dmm_boot(test, what->sealed);
	}
}

/* Without corruption all records arrive. */
static void dmm_intact_test(struct kunit *test)
{
	luo_mutate_begin(dmm, test, 1);
	dmm_areas();
	while (luo_mutate_next(dmm)) {
		dmm_write(dmm->image % 2 ? DMM_BUFFERS : DMM_MANY);
		dmm_boot(test, false);
		luo_mutate_wrong(dmm, luo_mutate_reserved(dmm, DMM_TABLE) ||
				 luo_mutate_reserved(dmm, DMM_FIRST) ||
				 luo_mutate_reserved(dmm, DMM_SECOND) !=
				 (dmm->image % 2),
				 "intact, and not freed");
	}
}

static int dmm_init(struct kunit *test)
{
	const char *reason;

	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off, boot with kho=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    dma_liveupdate_layer.incoming)
		kunit_skip(test, "a live update is under way");
	if (dma_liveupdate_check_device(dmm_devs[0], &reason))
		kunit_skip(test, "not on this machine: %s", reason);

	dmm = kunit_kzalloc(test, sizeof(*dmm), GFP_KERNEL);
	if (!dmm)
		return -ENOMEM;
	test->priv = dmm;
	kunit_activate_static_stub(test, device_liveupdate_incoming_index,
				   dmm_incoming_index);
	kunit_activate_static_stub(test, device_liveupdate_get_state, dmm_get_state);
	kunit_activate_static_stub(test, dma_liveupdate_in_scratch,
				   dmm_in_scratch);

	return 0;
}

static void dmm_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	scoped_guard(mutex, &dma_liveupdate_layer.lock)
		dma_liveupdate_forget();
	if (dmm->test)
		luo_mutate_end(dmm);
}

static void dmm_suite_exit(struct kunit_suite *suite)
{
	for (unsigned int i = 0; i < DMM_DEVICES; i++) {
		if (dmm_devs[i])
			root_device_unregister(dmm_devs[i]);
		dmm_devs[i] = NULL;
	}
}

static int dmm_suite_init(struct kunit_suite *suite)
{
	for (unsigned int i = 0; i < DMM_DEVICES; i++) {
		struct device *dev = root_device_register(i ? "dma-mutate-b" :
							  "dma-mutate-a");

		if (IS_ERR(dev)) {
			dmm_suite_exit(suite);
			return PTR_ERR(dev);
		}
		dmm_devs[i] = dev;
		dmm_masks[i] = DMA_BIT_MASK(64);
		dev->dma_mask = &dmm_masks[i];
		dev->coherent_dma_mask = DMA_BIT_MASK(64);
		dev_set_dma_coherent(dev);
	}

	return 0;
}

static struct kunit_case dmm_cases_list[] = {
	KUNIT_CASE(dmm_intact_test),
	KUNIT_CASE_PARAM_ATTR(dmm_table_test, dmm_case_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite dmm_suite = {
	.name = "dma-liveupdate-mutate",
	.suite_init = dmm_suite_init,
	.suite_exit = dmm_suite_exit,
	.init = dmm_init,
	.exit = dmm_exit,
	.test_cases = dmm_cases_list,
};

kunit_test_suite(dmm_suite);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("KUnit tests of the table of DMA buffers against corrupted images");
MODULE_LICENSE("GPL");
