// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Two kernels for the tests of DMA buffers
 *
 * There is one set of DMA buffers in a kernel, and these tests use it in both of its
 * roles, without the state machine and without devices that do anything.
 *
 * The outgoing kernel
 *   Two devices have buffers, which are preserved, and the callbacks of the subsystem
 *   are called as the state machine calls them. What is kept by KHO is counted.
 *   The test says which device is in the update, and what dma-debug would count.
 *
 * The kexec
 *   dmt_jump() copies table and blocks as they are, cancels, and frees all buffers, but
 *   keeps their memory. A test may do corruption to the copies. What is handed over can be
 *   restored or freed once; anything else is counted as an error.
 *
 * The incoming kernel
 *   RESTORE reads the copies, buffers are retrieved, and FINISH is called. The test says
 *   which device is incoming and what became of each. It has a reference to all memory, so
 *   that the number of references tells what became of it: one if it was freed, two
 *   if it is used or reserved.
 *
 * Whatever a test leaves behind, also one that failed halfway, is undone by
 * dmt_exit(). A test fails if the kernel warns meanwhile.
 */

#include <kunit/static_stub.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/device.h>
#include <linux/liveupdate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

struct dmt *dmt;

/* What the callbacks are called with; nobody looks into it outside of the machine. */
struct liveupdate_subsystem dmt_subsystem;

/* The device layer. */

static struct dmt_device *dmt_find(struct device *dev)
{
	return dev == dmt->a.dev ? &dmt->a : dev == dmt->b.dev ? &dmt->b : NULL;
}

static int dmt_outgoing_index(struct device *dev, u32 *index)
{
	const struct dmt_device *dmt_dev = dmt_find(dev);

	if (!dmt_dev || !dmt_dev->in_set)
		return -ENOENT;
	*index = dmt_dev->index;

	return 0;
}

static int dmt_incoming_index(struct device *dev, u32 *index)
{
	const struct dmt_device *dmt_dev = dmt_find(dev);

	if (!dmt_dev || !dmt_dev->incoming)
		return -ENOENT;
	*index = dmt_dev->index;

	return 0;
}

/* "b" is below "a". */
static int dmt_provider_index(struct device *dev, struct device *consumer, u32 *index)
{
	if (dev != dmt->a.dev || consumer != dmt->b.dev)
		return -ENOENT;
	*index = dmt->a.index;

	return 0;
}

static enum device_liveupdate_state dmt_get_state(u32 index)
{
	if (index == dmt->a.index)
		return dmt->a.state;

	return index == dmt->b.index ? dmt->b.state : DEVICE_LIVEUPDATE_UNKNOWN;
}

/* KHO and dma-debug. */

static bool dmt_in_scratch(phys_addr_t phys, size_t size)
{
	return dmt->in_scratch;
}

static int dmt_keep_folio(struct folio *folio)
{
	if (dmt->keep_error)
		return dmt->keep_error;
	dmt->kept++;

	return 0;
}

static void dmt_drop_folio(struct folio *folio)
{
	dmt->kept--;
}

struct dmt_memory *dmt_find_memory(phys_addr_t phys)
{
	struct dmt_memory *memory;

	list_for_each_entry(memory, &dmt->memory, list)
		if (virt_to_phys(memory->mem) == phys)
			return memory;

	return NULL;
}

static struct dmt_folio *dmt_find_folio(phys_addr_t phys)
{
	struct dmt_folio *dmt_folio;

	list_for_each_entry(dmt_folio, &dmt->folios, list)
		if (PFN_PHYS(folio_pfn(dmt_folio->folio)) == phys)
			return dmt_folio;

	return NULL;
}

static bool dmt_handed_over(phys_addr_t phys, size_t size)
{
	const struct dmt_memory *memory = dmt_find_memory(phys);
	const struct dmt_folio *dmt_folio = dmt_find_folio(phys);

	if (memory)
		return !memory->freed && size <= PAGE_SIZE;

	return dmt_folio && !dmt_folio->restored && !dmt_folio->lost &&
	       size <= folio_size(dmt_folio->folio);
}

static struct folio *dmt_restore_folio(phys_addr_t phys)
{
	struct dmt_folio *dmt_folio = dmt_find_folio(phys);

	if (!dmt_folio || dmt_folio->restored || dmt_folio->lost) {
		dmt->rogue++;
		return NULL;
	}
	dmt_folio->restored = true;

	return dmt_folio->folio;
}

static void dmt_free_handed(void *mem)
{
	struct dmt_memory *memory = dmt_find_memory(virt_to_phys(mem));

	if (!memory || memory->freed)
		dmt->rogue++;
	else
		memory->freed = true;
}

static void dmt_invalidate(void)
{
	dmt->nr_invalid++;
}

static int dmt_nr_mapped(struct device *dev)
{
	return dmt->mapped;
}

/* Buffers. */

struct dma_liveupdate_buffer *dmt_alloc(struct kunit *test,
					const struct dmt_device *dmt_dev,
					size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer =
		dma_liveupdate_alloc(dmt_dev->dev, size, tag);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);

	return buffer;
}

/* A buffer that is preserved, and says who it is. */
struct dma_liveupdate_buffer *dmt_make(struct kunit *test,
				       struct dmt_device *dmt_dev,
				       size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, dmt_dev, size, tag);

	*(u32 *)buffer->address = ~tag;
	dmt_dev->in_set = true;
	KUNIT_ASSERT_EQ(test, 0, dma_liveupdate_preserve(buffer));

	return buffer;
}

struct dma_liveupdate_buffer *dmt_any_buffer(const struct device *dev)
{
	struct dma_liveupdate_buffer *buffer;

	guard(mutex)(&dma_liveupdate_layer.lock);
	hash_for_each_possible(dma_liveupdate_layer.buffers, buffer, node,
			       (unsigned long)dev)
		if (buffer->dev == dev)
			return buffer;

	return NULL;
}

void dmt_free_all(void)
{
	struct dma_liveupdate_buffer *buffer;

	while ((buffer = dmt_any_buffer(dmt->a.dev)) ||
	       (buffer = dmt_any_buffer(dmt->b.dev)))
		dma_liveupdate_free(buffer);
}

/* Expects that the buffer is retrieved and what it was. */
struct dma_liveupdate_buffer *dmt_retrieve(struct kunit *test,
					   const struct dmt_device *dmt_dev,
					   size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer =
		dma_liveupdate_retrieve(dmt_dev->dev, size, tag);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);
	KUNIT_EXPECT_EQ(test, *(u32 *)buffer->address, ~tag);

	return buffer;
}

/* The callbacks. */

int dmt_prepare(void)
{
	return dma_liveupdate_prepare(&dmt_subsystem, &dmt->data);
}

int dmt_freeze(void)
{
	return dma_liveupdate_freeze(&dmt_subsystem, &dmt->data);
}

void dmt_cancel(void)
{
	dma_liveupdate_cancel(&dmt_subsystem, &dmt->data);
}

int dmt_restore(void)
{
	return dma_liveupdate_restore(&dmt_subsystem, &dmt->handed);
}

void dmt_finish(void)
{
	dma_liveupdate_finish(&dmt_subsystem, &dmt->handed);
}

/* The kexec. */

static u64 dmt_copy(struct kunit *test, u64 phys)
{
	struct dmt_memory *memory;

	memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->mem = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory->mem);
	memcpy(memory->mem, phys_to_virt(phys), PAGE_SIZE);
	list_add_tail(&memory->list, &dmt->memory);

	return virt_to_phys(memory->mem);
}

struct kho_table_ser *dmt_table(void)
{
	return phys_to_virt(dmt->handed.value);
}

struct kho_block_header_ser *dmt_block(unsigned int index)
{
	return kho_kunit_block(dmt_table(), index);
}

struct dma_liveupdate_ser *dmt_ser(unsigned int index)
{
	return (void *)(kho_kunit_entry(dmt_table(), DMT_RECORD, index) + 1);
}

/* Correct the checksums of what a test has changed. */
void dmt_seal(void)
{
	kho_kunit_seal(dmt_table(), DMT_RECORD);
}

/* The memory of a buffer crosses the kexec. */
static void dmt_keep(struct kunit *test, struct dma_liveupdate_buffer *buffer)
{
	struct dmt_folio *dmt_folio =
		dmt_find_folio(PFN_PHYS(folio_pfn(buffer->folio)));

	folio_get(buffer->folio);
	if (dmt_folio) {
		dmt_folio->restored = false;
		return;
	}
	dmt_folio = kunit_kzalloc(test, sizeof(*dmt_folio), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dmt_folio);
	folio_get(buffer->folio);
	dmt_folio->folio = buffer->folio;
	list_add_tail(&dmt_folio->list, &dmt->folios);
}

/* From a prepared kernel, frozen or invalid, to one where nothing was retrieved yet. */
void dmt_jump(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	struct kho_table_ser *table;

	dmt->handed.size = dmt->data.size;
	dmt->handed.value = dmt_copy(test, dmt->data.value);
	table = dmt_table();
	KUNIT_ASSERT_EQ(test, dmt->data.size,
			struct_size(table, blocks, table->nr_blocks));
	for (u32 i = 0; i < table->nr_blocks; i++)
		table->blocks[i].phys = dmt_copy(test, table->blocks[i].phys);
	dmt_seal();

	list_for_each_entry(buffer, &dma_liveupdate_layer.preserved, member)
		dmt_keep(test, buffer);

	dmt_cancel();
	dmt_free_all();
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_preserved, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
	dmt->a.in_set = false;
	dmt->b.in_set = false;
	dmt->a.incoming = true;
	dmt->b.incoming = true;
}

/* The same with PREPARE and FREEZE before it and RESTORE after it. */
void dmt_cross(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, dmt_prepare());
	KUNIT_ASSERT_EQ(test, 0, dmt_freeze());
	dmt_jump(test);
	KUNIT_ASSERT_EQ(test, 0, dmt_restore());
}

/* Drop what RESTORE read, so that it can be tried again. */
void dmt_unboot(void)
{
	struct dmt_memory *memory;

	scoped_guard(mutex, &dma_liveupdate_layer.lock)
		dma_liveupdate_forget();
	list_for_each_entry(memory, &dmt->memory, list)
		memory->freed = false;
}

void dmt_expect_retained(struct kunit *test, const char *want)
{
	char ids[64];

	liveupdate_retained_ids(ids, sizeof(ids));
	KUNIT_EXPECT_STREQ(test, ids, want);
}

unsigned int dmt_nr_freed(void)
{
	struct dmt_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &dmt->memory, list)
		nr += memory->freed;

	return nr;
}

/* The memory of record @index, in the order in which it was preserved. */
struct dmt_folio *dmt_folio_of(unsigned int index)
{
	struct dmt_folio *dmt_folio;

	list_for_each_entry(dmt_folio, &dmt->folios, list)
		if (!index--)
			return dmt_folio;

	return NULL;
}

/* Expects that nobody but the test uses the memory, or that somebody does. */
void dmt_expect_freed(struct kunit *test, unsigned int index, bool freed)
{
	struct dmt_folio *dmt_folio = dmt_folio_of(index);

	KUNIT_ASSERT_NOT_NULL(test, dmt_folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(dmt_folio->folio), freed ? 1 : 2);
}

/* Fixture. */

static int dmt_register(struct dmt_device *dmt_dev, const char *name, u32 index)
{
	struct device *dev = root_device_register(name);

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dmt_dev->dev = dev;
	dmt_dev->index = index;
	dmt_dev->dma_mask = DMA_BIT_MASK(64);
	dev->dma_mask = &dmt_dev->dma_mask;
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	dev_set_dma_coherent(dev);

	return 0;
}

int dmt_init(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	const char *reason;
	int err;

	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off, boot with kho=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    layer->closed || layer->nr_preserved || layer->incoming)
		kunit_skip(test, "a live update is under way");

	dmt = kunit_kzalloc(test, sizeof(*dmt), GFP_KERNEL);
	if (!dmt)
		return -ENOMEM;
	INIT_LIST_HEAD(&dmt->memory);
	INIT_LIST_HEAD(&dmt->folios);
	dmt->mapped = -EOPNOTSUPP;
	dmt->a.state = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->b.state = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->tainted = test_taint(TAINT_WARN);
	test->priv = dmt;

	err = dmt_register(&dmt->a, "dma-liveupdate-a", 7);
	if (!err)
		err = dmt_register(&dmt->b, "dma-liveupdate-b", 9);
	if (err)
		return err;
	if (dma_liveupdate_check_device(dmt->a.dev, &reason))
		kunit_skip(test, "not on this machine: %s", reason);

	kunit_activate_static_stub(test, device_liveupdate_outgoing_index,
				   dmt_outgoing_index);
	kunit_activate_static_stub(test, device_liveupdate_incoming_index,
				   dmt_incoming_index);
	kunit_activate_static_stub(test, device_liveupdate_provider_index,
				   dmt_provider_index);
	kunit_activate_static_stub(test, device_liveupdate_get_state, dmt_get_state);
	kunit_activate_static_stub(test, dma_liveupdate_in_scratch,
				   dmt_in_scratch);
	kunit_activate_static_stub(test, dma_liveupdate_keep_folio, dmt_keep_folio);
	kunit_activate_static_stub(test, dma_liveupdate_drop_folio, dmt_drop_folio);
	kunit_activate_static_stub(test, kho_is_restorable, dmt_handed_over);
	kunit_activate_static_stub(test, dma_liveupdate_restore_folio,
				   dmt_restore_folio);
	kunit_activate_static_stub(test, kho_restore_free, dmt_free_handed);
	kunit_activate_static_stub(test, dma_liveupdate_invalidate, dmt_invalidate);
	kunit_activate_static_stub(test, dma_liveupdate_nr_mapped, dmt_nr_mapped);

	return 0;
}

/* Leaves everything as it was, wherever the test ended. */
void dmt_exit(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dmt_folio *dmt_folio, *tmp;

	if (!test->priv)
		return;

	if (layer->closed)
		dmt_cancel();
	/* What nobody retrieved by now stays where it is. */
	dmt->a.state = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->b.state = DEVICE_LIVEUPDATE_RECLAIMED;
	if (layer->incoming && !layer->retained)
		dmt_finish();
	dmt_unboot();
	dmt_expect_retained(test, "");
	dmt_free_all();

	KUNIT_EXPECT_FALSE(test, layer->closed);
	KUNIT_EXPECT_FALSE(test, layer->invalid);
	KUNIT_EXPECT_NULL(test, layer->incoming);
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&layer->preserved));
	KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
	KUNIT_EXPECT_EQ(test, dmt->rogue, 0);
	list_for_each_entry_safe(dmt_folio, tmp, &dmt->folios, list) {
		bool used = !dmt_folio->restored;

		list_del(&dmt_folio->list);
		KUNIT_EXPECT_EQ(test, folio_ref_count(dmt_folio->folio),
				used ? 2 : 1);
		if (used)
			folio_put(dmt_folio->folio);
		folio_put(dmt_folio->folio);
	}
	if (dmt->a.dev) {
		KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->a.dev));
		root_device_unregister(dmt->a.dev);
	}
	if (dmt->b.dev) {
		KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->b.dev));
		root_device_unregister(dmt->b.dev);
	}
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), dmt->tainted);
}

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("KUnit tests for DMA buffers in a live update");
MODULE_LICENSE("GPL");
