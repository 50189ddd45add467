// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of DMA buffers in a live update
 *
 * There is one set of DMA buffers in a kernel, and these tests use it in both of its
 * roles, without the state machine and without devices that do anything.
 *
 * The outgoing kernel
 *   Two devices have buffers, which are preserved, and the steps of the participant
 *   are called as the state machine calls them. What is kept by KHO is counted.
 *   The test says which device is in the update, and what dma-debug would count.
 *
 * The jump
 *   dmt_jump() copies table and blocks as they are, cancels, and frees all buffers, but
 *   keeps their memory. A test may do damage to the copies. What is handed over can be
 *   restored or freed once; anything else is counted as an error.
 *
 * The incoming kernel
 *   RESTORE reads the copies, buffers are adopted, and FINISH is called. The test says
 *   which device is inherited and what became of each. It has a reference to all memory, so
 *   that the number of references tells what became of it: one if it was freed, two
 *   if it is used or reserved.
 *
 * Whatever a test leaves behind, also one that failed halfway, is undone by
 * dmt_exit(). A test fails if the kernel warns meanwhile.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/device.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/fault.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swiotlb.h>

#include "liveupdate.h"

#define DMT_RECORD	sizeof(struct dma_liveupdate_ser)
#define DMT_PER_BLOCK	((unsigned int)KHO_TABLE_PER_BLOCK(DMT_RECORD))
#define DMT_MAX		(PAGE_SIZE << MAX_PAGE_ORDER)

/* Bus addresses of a device with another view of memory. */
#define DMT_OFFSET	BIT_ULL(40)

/**
 * struct dmt_device - a device
 * @dev: the device.
 * @dma_mask: its streaming mask.
 * @index: its position in the tables of both kernels.
 * @in_set: it is prepared.
 * @inherited: it was handed over.
 * @fate: what became of it when dma finishes.
 */
struct dmt_device {
	struct device *dev;
	u64 dma_mask;
	u32 index;
	bool in_set;
	bool inherited;
	enum device_liveupdate_fate fate;
};

/**
 * struct dmt_memory - part of the table that was handed over
 * @list: entry in &dmt.memory.
 * @mem: where it is, a page.
 * @freed: the incoming kernel freed it.
 */
struct dmt_memory {
	struct list_head list;
	void *mem;
	bool freed;
};

/**
 * struct dmt_folio - memory of a buffer that was handed over
 * @list: entry in &dmt.folios.
 * @folio: the memory, with a reference of the test.
 * @restored: the incoming kernel took it over.
 * @lost: it did not arrive.
 */
struct dmt_folio {
	struct list_head list;
	struct folio *folio;
	bool restored;
	bool lost;
};

/**
 * struct dmt - what every test starts with
 * @a: a device.
 * @b: another one.
 * @data: data of the participant in the outgoing kernel.
 * @handed: the same in the incoming kernel, from dmt_jump() on.
 * @memory: parts of the table that were handed over.
 * @folios: buffers that were handed over.
 * @kept: number of folios that KHO keeps.
 * @keep_error: error of the next attempt to keep one.
 * @in_scratch: all memory is scratch memory.
 * @mapped: what dma-debug says, or an error.
 * @nr_invalid: how often the update was called off.
 * @tainted: this kernel has warned before the test began.
 * @rogue: number of attempts to take what was not handed over.
 */
static struct dmt {
	struct dmt_device a;
	struct dmt_device b;
	struct liveupdate_data data;
	struct liveupdate_data handed;
	struct list_head memory;
	struct list_head folios;
	int kept;
	int keep_error;
	bool in_scratch;
	int mapped;
	unsigned int nr_invalid;
	bool tainted;
	unsigned int rogue;
} *dmt;

/* What the steps are called with; nobody looks into it outside of the machine. */
static struct liveupdate_subsystem dmt_subsystem;

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

	if (!dmt_dev || !dmt_dev->inherited)
		return -ENOENT;
	*index = dmt_dev->index;

	return 0;
}

static enum device_liveupdate_fate dmt_get_fate(u32 index)
{
	if (index == dmt->a.index)
		return dmt->a.fate;

	return index == dmt->b.index ? dmt->b.fate : DEVICE_LIVEUPDATE_UNKNOWN;
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

static struct dmt_memory *dmt_find_memory(phys_addr_t phys)
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

static struct dma_liveupdate_buffer *dmt_alloc(struct kunit *test,
					       const struct dmt_device *dmt_dev,
					       size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer =
		dma_liveupdate_alloc(dmt_dev->dev, size, tag);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);

	return buffer;
}

/* A buffer that is preserved, and says who it is. */
static struct dma_liveupdate_buffer *dmt_make(struct kunit *test,
					      struct dmt_device *dmt_dev,
					      size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, dmt_dev, size, tag);

	*(u32 *)buffer->address = ~tag;
	dmt_dev->in_set = true;
	KUNIT_ASSERT_EQ(test, 0, dma_liveupdate_preserve(buffer));

	return buffer;
}

static struct dma_liveupdate_buffer *dmt_any_buffer(const struct device *dev)
{
	struct dma_liveupdate_buffer *buffer;

	guard(mutex)(&dma_liveupdate_layer.lock);
	hash_for_each_possible(dma_liveupdate_layer.buffers, buffer, node,
			       (unsigned long)dev)
		if (buffer->dev == dev)
			return buffer;

	return NULL;
}

static void dmt_free_all(void)
{
	struct dma_liveupdate_buffer *buffer;

	while ((buffer = dmt_any_buffer(dmt->a.dev)) ||
	       (buffer = dmt_any_buffer(dmt->b.dev)))
		dma_liveupdate_free(buffer);
}

/* Expects that the buffer is adopted and what it was. */
static struct dma_liveupdate_buffer *dmt_adopt(struct kunit *test,
					       const struct dmt_device *dmt_dev,
					       size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer =
		dma_liveupdate_adopt(dmt_dev->dev, size, tag);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);
	KUNIT_EXPECT_EQ(test, *(u32 *)buffer->address, ~tag);

	return buffer;
}

#define dmt_expect_error(_test, _error, _buffer)			\
	KUNIT_EXPECT_EQ(_test, PTR_ERR_OR_ZERO(_buffer), _error)

/* The steps. */

static int dmt_prepare(void)
{
	return dma_liveupdate_prepare(&dmt_subsystem, &dmt->data);
}

static int dmt_freeze(void)
{
	return dma_liveupdate_freeze(&dmt_subsystem, &dmt->data);
}

static void dmt_cancel(void)
{
	dma_liveupdate_cancel(&dmt_subsystem, &dmt->data);
}

static int dmt_restore(void)
{
	return dma_liveupdate_restore(&dmt_subsystem, &dmt->handed);
}

static void dmt_finish(void)
{
	dma_liveupdate_finish(&dmt_subsystem, &dmt->handed);
}

/* The jump. */

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

static struct kho_table_ser *dmt_table(void)
{
	return phys_to_virt(dmt->handed.value);
}

static struct kho_block_header_ser *dmt_block(unsigned int index)
{
	return kho_kunit_block(dmt_table(), index);
}

static struct dma_liveupdate_ser *dmt_ser(unsigned int index)
{
	return (void *)(kho_kunit_entry(dmt_table(), DMT_RECORD, index) + 1);
}

/* Correct the checksums of what a test has changed. */
static void dmt_seal(void)
{
	kho_kunit_seal(dmt_table(), DMT_RECORD);
}

/* The memory of a buffer crosses the jump. */
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

/* From a prepared kernel, frozen or broken, to one where nothing was adopted yet. */
static void dmt_jump(struct kunit *test)
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
	dmt->a.inherited = true;
	dmt->b.inherited = true;
}

/* The same with PREPARE and FREEZE before it and RESTORE after it. */
static void dmt_cross(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, dmt_prepare());
	KUNIT_ASSERT_EQ(test, 0, dmt_freeze());
	dmt_jump(test);
	KUNIT_ASSERT_EQ(test, 0, dmt_restore());
}

/* Drop what RESTORE read, so that it can be tried again. */
static void dmt_unboot(void)
{
	struct dmt_memory *memory;

	scoped_guard(mutex, &dma_liveupdate_layer.lock)
		dma_liveupdate_forget();
	list_for_each_entry(memory, &dmt->memory, list)
		memory->freed = false;
}

static void dmt_expect_retained(struct kunit *test, const char *want)
{
	char ids[64];

	liveupdate_retained_ids(ids, sizeof(ids));
	KUNIT_EXPECT_STREQ(test, ids, want);
}

static unsigned int dmt_nr_freed(void)
{
	struct dmt_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &dmt->memory, list)
		nr += memory->freed;

	return nr;
}

/* The memory of record @index, in the order in which it was preserved. */
static struct dmt_folio *dmt_folio_of(unsigned int index)
{
	struct dmt_folio *dmt_folio;

	list_for_each_entry(dmt_folio, &dmt->folios, list)
		if (!index--)
			return dmt_folio;

	return NULL;
}

/* Expects that nobody but the test uses the memory, or that somebody does. */
static void dmt_expect_freed(struct kunit *test, unsigned int index, bool freed)
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

static int dmt_init(struct kunit *test)
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
	dmt->a.fate = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->b.fate = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->tainted = test_taint(TAINT_WARN);
	test->priv = dmt;

	err = dmt_register(&dmt->a, "dma-liveupdate-a", 7);
	if (!err)
		err = dmt_register(&dmt->b, "dma-liveupdate-b", 9);
	if (err)
		return err;
	if (dma_liveupdate_supported(dmt->a.dev, &reason))
		kunit_skip(test, "not on this machine: %s", reason);

	kunit_activate_static_stub(test, device_liveupdate_outgoing_index,
				   dmt_outgoing_index);
	kunit_activate_static_stub(test, device_liveupdate_incoming_index,
				   dmt_incoming_index);
	kunit_activate_static_stub(test, device_liveupdate_get_fate, dmt_get_fate);
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
static void dmt_exit(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dmt_folio *dmt_folio, *tmp;

	if (!test->priv)
		return;

	if (layer->closed)
		dmt_cancel();
	/* What nobody adopted by now stays where it is. */
	dmt->a.fate = DEVICE_LIVEUPDATE_RECLAIMED;
	dmt->b.fate = DEVICE_LIVEUPDATE_RECLAIMED;
	if (layer->incoming && !layer->retained)
		dmt_finish();
	dmt_unboot();
	dmt_expect_retained(test, "");
	dmt_free_all();

	KUNIT_EXPECT_FALSE(test, layer->closed);
	KUNIT_EXPECT_FALSE(test, layer->broken);
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

/* 1. Allocation. */

/**
 * struct dmt_mask - what a device can reach
 * @about: name of the case.
 * @coherent: bits of its coherent mask.
 * @streaming: bits of its streaming mask.
 * @bus: bits of the limit of its bus, 0 for none.
 * @bits: number of bits that count.
 * @error: error.
 */
struct dmt_mask {
	const char *about;
	unsigned int coherent;
	unsigned int streaming;
	unsigned int bus;
	unsigned int bits;
	int error;
};

static const struct dmt_mask dmt_masks[] = {
	{ "everything", 64, 64, 0, 64 },
	{ "coherent mask", 32, 64, 0, 32 },
	{ "streaming mask", 64, 32, 0, 32 },
	{ "bus", 64, 64, 32, 32 },
	{ "wider bus", 32, 32, 48, 32 },
	{ "coherent mask too small", 12, 64, 0, 12, -ENOMEM },
	{ "streaming mask too small", 64, 12, 0, 12, -ENOMEM },
	{ "bus too small", 64, 64, 12, 12, -ENOMEM },
};

static void dmt_mask_desc(const struct dmt_mask *mask, char *desc)
{
	strscpy(desc, mask->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_mask, dmt_masks, dmt_mask_desc);

static void dmt_set_masks(struct dmt_device *dmt_dev, const struct dmt_mask *mask)
{
	dmt_dev->dev->coherent_dma_mask = DMA_BIT_MASK(mask->coherent);
	dmt_dev->dma_mask = DMA_BIT_MASK(mask->streaming);
	dmt_dev->dev->bus_dma_limit = mask->bus ? DMA_BIT_MASK(mask->bus) : 0;
}

static void dmt_mask_test(struct kunit *test)
{
	static const struct dmt_mask everything = { "", 64, 64, 0, 64 };
	const struct dmt_mask *mask = test->param_value;
	struct dma_liveupdate_buffer *buffer;

	dmt_set_masks(&dmt->a, mask);
	buffer = dma_liveupdate_alloc(dmt->a.dev, 3 * PAGE_SIZE, 1);
	dmt_expect_error(test, mask->error, buffer);
	if (!mask->error) {
		KUNIT_EXPECT_EQ(test, buffer->size, 4 * PAGE_SIZE);
		KUNIT_EXPECT_LE(test, buffer->dma + buffer->size - 1,
				DMA_BIT_MASK(mask->bits));
	}

	/* The next kernel may see it in another way. */
	dmt_set_masks(&dmt->b, &everything);
	dmt_make(test, &dmt->b, 3 * PAGE_SIZE, 2);
	dmt_cross(test);
	dmt_set_masks(&dmt->b, mask);
	buffer = dma_liveupdate_adopt(dmt->b.dev, 3 * PAGE_SIZE, 2);
	/* Without a limit at allocation it may be anywhere. */
	if (mask->error || IS_ERR(buffer))
		dmt_expect_error(test, -EADDRNOTAVAIL, buffer);
	dmt_set_masks(&dmt->b, &everything);
	if (IS_ERR(buffer))
		dmt_adopt(test, &dmt->b, 3 * PAGE_SIZE, 2);
	dmt_finish();
}

static void dmt_size_test(struct kunit *test)
{
	static const struct {
		size_t size;
		size_t rounded;
	} sizes[] = {
		{ 1, PAGE_SIZE },
		{ PAGE_SIZE, PAGE_SIZE },
		{ PAGE_SIZE + 1, 2 * PAGE_SIZE },
		{ 5 * PAGE_SIZE, 8 * PAGE_SIZE },
	};
	struct dma_liveupdate_buffer *buffer;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		buffer = dmt_alloc(test, &dmt->a, sizes[i].size, i);
		KUNIT_EXPECT_EQ(test, buffer->size, sizes[i].rounded);
		KUNIT_EXPECT_EQ(test, buffer->dma,
				phys_to_dma(dmt->a.dev,
					    virt_to_phys(buffer->address)));
	}

	/* Whether there is that much is another matter. */
	buffer = dma_liveupdate_alloc(dmt->a.dev, DMT_MAX, 10);
	if (IS_ERR(buffer))
		dmt_expect_error(test, -ENOMEM, buffer);
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_alloc(dmt->a.dev, DMT_MAX + 1, 11));
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_alloc(dmt->a.dev, SIZE_MAX, 11));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_alloc(dmt->a.dev, 0, 11));
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_adopt(dmt->a.dev, DMT_MAX + 1, 11));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_adopt(dmt->a.dev, 0, 11));
}

static void dmt_zeroed_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	/* Memory that was just freed is what is used first. */
	for (int i = 0; i < 4; i++) {
		buffer = dmt_alloc(test, &dmt->a, 2 * PAGE_SIZE, 1);
		KUNIT_EXPECT_NULL(test, memchr_inv(buffer->address, 0,
						   buffer->size));
		memset(buffer->address, 0xa5, buffer->size);
		dma_liveupdate_free(buffer);
	}
}

/* The next kernel boots in scratch memory. */
static void dmt_scratch_test(struct kunit *test)
{
	dmt->in_scratch = true;
	dmt_expect_error(test, -ENOMEM, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt->in_scratch = false;
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();

	dmt->in_scratch = true;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 1);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 1));
}

static void dmt_tag_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 1, 1);

	dmt_expect_error(test, -EEXIST, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt_alloc(test, &dmt->a, 1, 2);
	dmt_alloc(test, &dmt->b, 1, 1);
	dma_liveupdate_free(buffer);
	dmt_alloc(test, &dmt->a, 1, 1);
}

static void dmt_references_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 8192, 1);
	unsigned int nr_dev = kref_read(&dmt->a.dev->kobj.kref);
	struct folio *folio = buffer->folio;

	folio_get(folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	dma_liveupdate_free(buffer);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), nr_dev - 1);
	folio_put(folio);

	dma_liveupdate_free(NULL);
	dma_liveupdate_free(ERR_PTR(-ENOMEM));
	dma_liveupdate_unpreserve(NULL);
	dma_liveupdate_unpreserve(ERR_PTR(-ENOMEM));
}

/**
 * struct dmt_refusal - why a device cannot have buffers
 * @about: name of the case.
 * @reason: what is said.
 * @set: make it so, or undo that. Returns false if there is no such thing here.
 */
struct dmt_refusal {
	const char *about;
	const char *reason;
	bool (*set)(struct dmt_device *dmt_dev, bool on);
};

static bool dmt_no_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dev->dma_mask = on ? NULL : &dmt_dev->dma_mask;

	return true;
}

static bool dmt_empty_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dma_mask = on ? 0 : DMA_BIT_MASK(64);

	return true;
}

static bool dmt_no_coherent_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dev->coherent_dma_mask = on ? 0 : DMA_BIT_MASK(64);

	return true;
}

static bool dmt_iommu(struct dmt_device *dmt_dev, bool on)
{
	dev_assign_dma_iommu(dmt_dev->dev, on);

	return IS_ENABLED(CONFIG_IOMMU_DMA);
}

static bool dmt_operations(struct dmt_device *dmt_dev, bool on)
{
	static const struct dma_map_ops ops;

	set_dma_ops(dmt_dev->dev, on ? &ops : NULL);

	return IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS);
}

static bool dmt_not_coherent(struct dmt_device *dmt_dev, bool on)
{
	dev_assign_dma_coherent(dmt_dev->dev, !on);

	return !on || !dev_is_dma_coherent(dmt_dev->dev);
}

#ifdef CONFIG_SWIOTLB
static bool dmt_bounce(struct dmt_device *dmt_dev, bool on)
{
	static struct io_tlb_mem mem = { .force_bounce = true };
	static struct io_tlb_mem *saved;

	if (on)
		saved = dmt_dev->dev->dma_io_tlb_mem;
	dmt_dev->dev->dma_io_tlb_mem = on ? &mem : saved;

	return true;
}
#else
static bool dmt_bounce(struct dmt_device *dmt_dev, bool on)
{
	return false;
}
#endif

static const struct dmt_refusal dmt_refusals[] = {
	{ "no mask", "it has no DMA mask", dmt_no_mask },
	{ "empty mask", "it has no DMA mask", dmt_empty_mask },
	{ "no coherent mask", "it has no DMA mask", dmt_no_coherent_mask },
	{ "iommu", "it is behind an IOMMU", dmt_iommu },
	{ "operations", "its DMA needs special operations", dmt_operations },
	{ "not coherent", "its DMA is not coherent", dmt_not_coherent },
	{ "bounce buffers", "its DMA goes through bounce buffers", dmt_bounce },
};

static void dmt_refusal_desc(const struct dmt_refusal *refusal, char *desc)
{
	strscpy(desc, refusal->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_refusal, dmt_refusals, dmt_refusal_desc);

static void dmt_refusal_test(struct kunit *test)
{
	const struct dmt_refusal *refusal = test->param_value;
	struct dma_liveupdate_buffer *buffer, *other;
	const char *reason = "";
	int err;

	buffer = dmt_alloc(test, &dmt->a, 1, 1);
	*(u32 *)buffer->address = ~1;
	dmt->a.in_set = true;

	/* No assertion in between, for it must be undone. */
	if (!refusal->set(&dmt->a, true)) {
		refusal->set(&dmt->a, false);
		kunit_skip(test, "there is no such thing in this kernel");
	}
	err = dma_liveupdate_preserve(buffer);
	KUNIT_EXPECT_EQ(test, err, -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
	other = dma_liveupdate_alloc(dmt->a.dev, 1, 2);
	dmt_expect_error(test, -EOPNOTSUPP, other);
	err = dma_liveupdate_supported(dmt->a.dev, &reason);
	KUNIT_EXPECT_EQ(test, err, -EOPNOTSUPP);
	KUNIT_EXPECT_STREQ(test, reason, refusal->reason);
	refusal->set(&dmt->a, false);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_supported(dmt->a.dev, &reason));

	KUNIT_ASSERT_EQ(test, 0, dma_liveupdate_preserve(buffer));
	dmt_cross(test);
	refusal->set(&dmt->a, true);
	other = dma_liveupdate_adopt(dmt->a.dev, 1, 1);
	refusal->set(&dmt->a, false);
	dmt_expect_error(test, -EOPNOTSUPP, other);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
	dmt_adopt(test, &dmt->a, 1, 1);
	dmt_finish();
}

/* A device that sees memory elsewhere. */
static void dmt_offset_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	struct bus_dma_region *map;

	if (IS_ENABLED(CONFIG_ARCH_HAS_PHYS_TO_DMA))
		kunit_skip(test, "this architecture has its own translation");

	/* Freed with the device. */
	map = kzalloc_objs(*map, 3);
	KUNIT_ASSERT_NOT_NULL(test, map);
	map->dma_start = DMT_OFFSET;
	map->size = DMT_OFFSET;
	dmt->a.dev->dma_range_map = map;

	buffer = dmt_make(test, &dmt->a, PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, buffer->dma,
			virt_to_phys(buffer->address) + DMT_OFFSET);
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->dma, dmt_ser(0)->phys + DMT_OFFSET);

	map->dma_start = 2 * DMT_OFFSET;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_adopt(dmt->a.dev, PAGE_SIZE, 1));
	/* It ends one byte early. */
	map->dma_start = DMT_OFFSET;
	map->size = dmt_ser(0)->phys + PAGE_SIZE - 1;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_adopt(dmt->a.dev, PAGE_SIZE, 1));
	/* Its first half is elsewhere. */
	map->size = DMT_OFFSET;
	map[1] = map[0];
	map[0].cpu_start = dmt_ser(0)->phys;
	map[0].dma_start = 2 * DMT_OFFSET;
	map[0].size = PAGE_SIZE / 2;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_adopt(dmt->a.dev, PAGE_SIZE, 1));
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
	map[0] = map[1];
	dmt_adopt(test, &dmt->a, PAGE_SIZE, 1);
	dmt_finish();
}

/* 2. The outgoing kernel. */

static void dmt_preserve_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *one = dmt_alloc(test, &dmt->a, 1, 1);
	struct dma_liveupdate_buffer *two = dmt_alloc(test, &dmt->a, 1, 2);

	KUNIT_EXPECT_EQ(test, -ENOENT, dma_liveupdate_preserve(one));
	dmt->a.in_set = true;
	dmt->keep_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, dma_liveupdate_preserve(one));
	dmt->keep_error = 0;
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 0);

	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 1);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	dma_liveupdate_unpreserve(two);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	dma_liveupdate_unpreserve(one);
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);

	/* From PREPARE to CANCEL the table is closed. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(two));
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);

	/* After CANCEL nothing breaks any more. */
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_FALSE(test, layer->broken);
	dma_liveupdate_free(two);
	KUNIT_EXPECT_FALSE(test, layer->broken);
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
}

static void dmt_nothing_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 1, 1);

	dmt->a.in_set = true;
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(buffer));
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	dmt_finish();
	dma_liveupdate_abandon(&dmt_subsystem, &dmt->handed);
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
}

/* What becomes of buffers that a driver forgets to unpreserve. */
static void dmt_stale_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->b, 1, 2);
	dmt->a.in_set = false;
	dmt->b.index = 3;
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_preserved, 1);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dmt_jump(test);
	KUNIT_EXPECT_EQ(test, dmt_table()->nr_records, 1);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->device, 3);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->tag, 2);
}

/* A buffer is taken out after the table was written, and the jump comes anyway. */
static void dmt_void_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one = dmt_make(test, &dmt->a, 1, 1);
	struct dma_liveupdate_buffer *two = dmt_make(test, &dmt->b, 1, 2);

	dmt_make(test, &dmt->b, 1, 3);
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);
	KUNIT_EXPECT_EQ(test, -ENODEV, dmt_freeze());
	/* That is for the device layer to deal with. */
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 0);
	/* It cannot come back. */
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(one));
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());

	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dma_liveupdate_free(two);
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);
	KUNIT_EXPECT_EQ(test, -ENODEV, dmt_freeze());
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 1);

	dmt_jump(test);
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 3);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->b.dev, 1, 2));
	dmt_adopt(test, &dmt->b, 1, 3);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt->b.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
}

/* 3. Hand-over. */

static void dmt_round_trip_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one = dmt_make(test, &dmt->a, 3 * PAGE_SIZE,
						     U32_MAX);
	struct dma_liveupdate_buffer *two = dmt_make(test, &dmt->b, 1, 0);
	phys_addr_t phys = virt_to_phys(one->address);
	dma_addr_t dma = one->dma;
	void *address = two->address;

	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 2);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	KUNIT_EXPECT_STREQ(test, dmt_table()->compatible, "luo-dma-v1");
	KUNIT_EXPECT_EQ(test, dmt_table()->record_size, 32);
	KUNIT_EXPECT_EQ(test, dmt_table()->nr_records, 2);
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
	for (u32 i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, dmt_ser(i)->reserved, 0);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->phys, phys);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->dma, dma);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->order, 2);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->device, 7);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->tag, U32_MAX);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->order, 0);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->device, 9);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->tag, 0);

	one = dmt_adopt(test, &dmt->a, 4 * PAGE_SIZE, U32_MAX);
	KUNIT_EXPECT_EQ(test, virt_to_phys(one->address), phys);
	KUNIT_EXPECT_EQ(test, one->dma, dma);
	KUNIT_EXPECT_EQ(test, one->size, 4 * PAGE_SIZE);
	two = dmt_adopt(test, &dmt->b, 1, 0);
	KUNIT_EXPECT_PTR_EQ(test, two->address, address);
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 2);
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
}

static void dmt_generations_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 5);
	for (u32 i = 0; i < 3; i++) {
		struct dma_liveupdate_buffer *buffer;
		u32 *words;

		dmt_cross(test);
		buffer = dmt_adopt(test, &dmt->a, 2 * PAGE_SIZE, 5);
		dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
		dmt_finish();
		dmt_expect_freed(test, 0, false);

		words = buffer->address;
		KUNIT_EXPECT_EQ(test, words[1], i);
		words[1] = i + 1;
		dmt->a.inherited = false;
		dmt->a.in_set = true;
		KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
		KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	}
	dmt_free_all();
	dmt_expect_freed(test, 0, true);
}

/* Records in more than one block, one of which is missing. */
static void dmt_many_test(struct kunit *test)
{
	const unsigned int nr = 2 * DMT_PER_BLOCK + 3;
	void *block;

	for (unsigned int i = 0; i < nr; i++)
		dmt_make(test, i % 2 ? &dmt->a : &dmt->b, 1, i);
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, nr);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	/* Three blocks and the head. */
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 4);
	dmt_unboot();

	/* It is in order, but was not handed over. */
	block = kunit_kmalloc(test, KHO_BLOCK_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, block);
	memcpy(block, dmt_block(2), KHO_BLOCK_SIZE);
	dmt_table()->blocks[2].phys = virt_to_phys(block);
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 3);
	for (unsigned int i = 0; i < nr; i++) {
		struct dmt_device *dmt_dev = i % 2 ? &dmt->a : &dmt->b;

		if (i < nr - 3)
			dmt_adopt(test, dmt_dev, 1, i);
		else
			dmt_expect_error(test, -ENOENT,
					 dma_liveupdate_adopt(dmt_dev->dev, 1, i));
	}
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt->b.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	/* The others, and the head. */
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 3);
	/* It is not known where it is. */
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(nr - 1)->restored);
}

/* A block that is corrupted: nothing in it is used, and all else is. */
static void dmt_corrupted_test(struct kunit *test)
{
	const unsigned int nr = DMT_PER_BLOCK + 1;

	for (unsigned int i = 0; i < nr; i++)
		dmt_make(test, &dmt->a, 1, i);
	dmt_cross(test);
	dmt_unboot();
	dmt_block(0)->next++;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, DMT_PER_BLOCK);
	for (unsigned int i = 0; i < DMT_PER_BLOCK; i++)
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_adopt(dmt->a.dev, 1, i));
	dmt_adopt(test, &dmt->a, 1, nr - 1);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 3);
	for (unsigned int i = 0; i < DMT_PER_BLOCK; i++)
		KUNIT_EXPECT_FALSE(test, dmt_folio_of(i)->restored);
}

/* The record of a buffer leads to the table itself. */
static void dmt_own_table_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_find_memory(dmt->handed.value)->freed = true;
	dmt_finish();
	/* It belongs to whoever took it. */
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 2);
	KUNIT_EXPECT_EQ(test, dmt->rogue, 0);
}

/* No bit of a record may be wrong. */
static void dmt_flip_record_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt_cross(test);

	for (unsigned int bit = 0; bit < 8 * DMT_RECORD; bit++) {
		u8 *byte = (u8 *)dmt_ser(0) + bit / 8;

		dmt_unboot();
		*byte ^= BIT(bit % 8);
		KUNIT_EXPECT_EQ(test, 0, dmt_restore());
		KUNIT_EXPECT_EQ_MSG(test, dma_liveupdate_layer.nr_lost, 2,
				    "bit %u", bit);
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_adopt(dmt->a.dev, 1, 1));
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_adopt(dmt->a.dev, 1, 2));
		*byte ^= BIT(bit % 8);
	}
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, false);
}

static void dmt_flip_table_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);

	for (unsigned int bit = 0; bit < 8 * dmt->handed.size; bit++) {
		u8 *byte = (u8 *)dmt_table() + bit / 8;

		dmt_unboot();
		*byte ^= BIT(bit % 8);
		KUNIT_EXPECT_LT_MSG(test, dmt_restore(), 0, "bit %u", bit);
		KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
		*byte ^= BIT(bit % 8);
	}
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 1));
	/* Nothing was read: nothing is freed. */
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);

	dmt_table()->nr_records = DMA_LIVEUPDATE_MAX + 1;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, -EINVAL, dmt_restore());
	dmt_table()->nr_records = 1;
	dmt_seal();
	dmt->handed.size--;
	KUNIT_EXPECT_EQ(test, -EINVAL, dmt_restore());
	dmt->handed.size++;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_adopt(test, &dmt->a, 1, 1);
	dmt_finish();
}

/**
 * struct dmt_field - a record with a right checksum and a wrong field
 * @about: name of the case.
 * @damage: makes it wrong.
 */
struct dmt_field {
	const char *about;
	void (*damage)(struct dma_liveupdate_ser *ser);
};

static void dmt_damage_order(struct dma_liveupdate_ser *ser)
{
	/* Aligned to any size. */
	ser->phys = 0;
	ser->order = MAX_PAGE_ORDER + 1;
}

static void dmt_damage_order_max(struct dma_liveupdate_ser *ser)
{
	ser->order = U32_MAX;
}

static void dmt_damage_phys(struct dma_liveupdate_ser *ser)
{
	ser->phys++;
}

static void dmt_damage_phys_page(struct dma_liveupdate_ser *ser)
{
	ser->phys += PAGE_SIZE;
}

static void dmt_damage_device(struct dma_liveupdate_ser *ser)
{
	ser->device = DEVICE_LIVEUPDATE_MAX;
}

static void dmt_damage_reserved(struct dma_liveupdate_ser *ser)
{
	ser->reserved = 1;
}

static const struct dmt_field dmt_fields[] = {
	{ "order", dmt_damage_order },
	{ "greatest order", dmt_damage_order_max },
	{ "address of a byte", dmt_damage_phys },
	{ "address of a page", dmt_damage_phys_page },
	{ "device", dmt_damage_device },
	{ "reserved", dmt_damage_reserved },
};

static void dmt_field_desc(const struct dmt_field *field, char *desc)
{
	strscpy(desc, field->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_field, dmt_fields, dmt_field_desc);

static void dmt_field_test(struct kunit *test)
{
	const struct dmt_field *field = test->param_value;

	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 2);
	KUNIT_ASSERT_EQ(test, 0, dmt_prepare());
	dmt_jump(test);
	field->damage(dmt_ser(1));
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 1);
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 2));
	dmt_adopt(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(1)->restored);
}

/* Several records for one buffer: none can be relied on. */
static void dmt_twins_test(struct kunit *test)
{
	for (u32 tag = 0; tag < 4; tag++)
		dmt_make(test, &dmt->a, 1, tag);
	dmt_cross(test);
	dmt_unboot();

	dmt_ser(1)->tag = 0;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 2);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 1));
	dmt_unboot();

	dmt_ser(2)->tag = 0;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 3);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 2));
	dmt_adopt(test, &dmt->a, 1, 3);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	for (unsigned int i = 0; i < 3; i++)
		KUNIT_EXPECT_FALSE(test, dmt_folio_of(i)->restored);
}

/* Two records for the same memory: it is taken over once. */
static void dmt_same_memory_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt_cross(test);
	dmt_unboot();
	dmt_ser(1)->phys = dmt_ser(0)->phys;
	dmt_ser(1)->dma = dmt_ser(0)->dma;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_adopt(test, &dmt->a, 1, 1);
	dmt_expect_error(test, -EBADMSG, dma_liveupdate_adopt(dmt->a.dev, 1, 2));
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(1)->restored);
}

/* 4. Adoption. */

static void dmt_adopt_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->b, 2 * PAGE_SIZE, 2);
	dmt_cross(test);

	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 2));
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_adopt(dmt->b.dev, 2 * PAGE_SIZE, 1));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_adopt(dmt->a.dev, PAGE_SIZE, 1));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_adopt(dmt->a.dev, 3 * PAGE_SIZE, 1));
	dmt->a.inherited = false;
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt->a.inherited = true;
	dmt_folio_of(0)->lost = true;
	dmt_expect_error(test, -EBADMSG,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt_folio_of(0)->lost = false;
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);

	/* The driver has something else of that name. */
	buffer = dmt_alloc(test, &dmt->a, 1, 1);
	dmt_expect_error(test, -EEXIST,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dma_liveupdate_free(buffer);

	dmt_adopt(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_expect_error(test, -EBUSY,
			 dma_liveupdate_adopt(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt_expect_error(test, -EEXIST, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt_finish();
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_adopt(dmt->b.dev, 2 * PAGE_SIZE, 2));
}

/* Tags are those of a device, wherever the hash puts them. */
static void dmt_same_tag_test(struct kunit *test)
{
	for (u32 tag = 0; tag < 16; tag++) {
		dmt_make(test, &dmt->a, PAGE_SIZE, tag);
		dmt_make(test, &dmt->b, 2 * PAGE_SIZE, tag);
		dmt_cross(test);
		KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
		dmt_adopt(test, &dmt->a, PAGE_SIZE, tag);
		dmt_adopt(test, &dmt->b, 2 * PAGE_SIZE, tag);
		dmt_finish();
		dmt_free_all();
	}
}

/* Buffers of two devices in the same bucket. */
static void dmt_collision_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *other = dmt_alloc(test, &dmt->b, 1, 1);
	struct dma_liveupdate_buffer *buffer;
	const char *reason = "";

	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		hash_del(&other->node);
		hash_add(dma_liveupdate_layer.buffers, &other->node,
			 (unsigned long)dmt->a.dev);
	}
	buffer = dma_liveupdate_alloc(dmt->a.dev, 1, 1);
	KUNIT_EXPECT_FALSE(test, IS_ERR(buffer));
	if (!IS_ERR(buffer)) {
		dmt->a.in_set = true;
		KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
	}
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_ASSERT_FALSE(test, IS_ERR(buffer));

	/* The same for those with a tag, where it is alone after this. */
	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		hash_del(&other->named);
		hlist_add_before(&other->named, &buffer->named);
	}
	dma_liveupdate_free(buffer);
	buffer = dma_liveupdate_alloc(dmt->a.dev, 1, 1);
	KUNIT_EXPECT_FALSE(test, IS_ERR(buffer));
	/* Nobody else finds it there. */
	dma_liveupdate_free(other);
}

/* The address that the device uses is not that of the memory. */
static void dmt_adopt_address_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	dmt_ser(0)->dma += PAGE_SIZE;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_adopt(dmt->a.dev, 1, 1));
	dmt_unboot();

	/* Neither is memory that was not handed over. */
	dmt_ser(0)->phys += PAGE_SIZE;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_expect_error(test, -EBADMSG, dma_liveupdate_adopt(dmt->a.dev, 1, 1));
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
}

/* A probe that fails frees what it adopted while the device still runs. */
static void dmt_defer_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	void *address;

	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);

	buffer = dmt_adopt(test, &dmt->a, 1, 1);
	address = buffer->address;
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, false);

	buffer = dmt_adopt(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, buffer->address, address);
	dmt_expect_freed(test, 0, false);
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, false);

	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, true);
}

/* After FINISH it is a buffer like any other. */
static void dmt_free_adopted_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 4 * PAGE_SIZE, 1);
	dmt_cross(test);
	buffer = dmt_adopt(test, &dmt->a, 4 * PAGE_SIZE, 1);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, true);
}

/* 5. FINISH. */

static void dmt_finish_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->a, 4 * PAGE_SIZE, 2);
	dmt_make(test, &dmt->b, 1, 3);
	dmt_make(test, &dmt->b, 1, 4);
	dmt_make(test, &dmt->b, 1, 5);
	dmt_cross(test);

	buffer = dmt_adopt(test, &dmt->a, 1, 0);
	dma_liveupdate_free(dmt_adopt(test, &dmt->a, 2 * PAGE_SIZE, 1));
	dmt_adopt(test, &dmt->b, 1, 3);
	dma_liveupdate_free(dmt_adopt(test, &dmt->b, 1, 4));

	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	/* Adopted; freed; never adopted. */
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_freed(test, 2, true);
	/* The same for a device that may still run, maybe with a driver. */
	dmt_expect_freed(test, 3, false);
	dmt_expect_freed(test, 4, true);
	dmt_expect_freed(test, 5, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(5)->restored);
	dmt_expect_retained(test, "dma");
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->b.dev, 1, 5));

	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, true);
	dmt_expect_freed(test, 5, false);

	/* An operator knows that nothing accesses it. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_forget_retained(&dmt_subsystem, ""));
	dmt_expect_freed(test, 5, true);
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 0);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			dma_liveupdate_forget_retained(&dmt_subsystem, ""));
}

/* What belongs to a device that has not appeared is retained with the device. */
static void dmt_finish_absent_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->b, 1, 1);
	dmt_cross(test);
	dmt->a.fate = DEVICE_LIVEUPDATE_ABSENT;
	dmt->b.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
}

/* A probe that failed gave its buffer back, and the device goes on. */
static void dmt_finish_running_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->b, 1, 1);
	dmt_cross(test);
	dma_liveupdate_free(dmt_adopt(test, &dmt->a, 1, 0));
	dma_liveupdate_free(dmt_adopt(test, &dmt->b, 1, 1));
	dmt->a.fate = DEVICE_LIVEUPDATE_RUNNING;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_retained(test, "dma");
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_forget_retained(&dmt_subsystem, ""));
	dmt_expect_freed(test, 0, true);
}

/* Memory that did not arrive is not freed either. */
static void dmt_finish_lost_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_folio_of(0)->lost = true;
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
}

static void dmt_abandon_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_abandon(&dmt_subsystem, &dmt->handed));
	dmt_table()->checksum++;
	KUNIT_EXPECT_EQ(test, -EBADMSG,
			dma_liveupdate_abandon(&dmt_subsystem, &dmt->handed));
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_adopt(dmt->a.dev, 1, 1));
	dmt_expect_freed(test, 0, false);
}

/* 6. What a device can reach. */

static size_t dmt_nr_told(struct device *dev)
{
	return list_count_nodes(&dev->devres_head);
}

static void dmt_check_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one, *two;
	const char *reason = "";

	one = dmt_make(test, &dmt->a, 1, 1);
	two = dmt_alloc(test, &dmt->a, 1, 2);
	dmt_alloc(test, &dmt->b, 1, 1);

	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_STREQ(test, reason, "its driver did not preserve a DMA buffer");
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 0);

	/* It is said once, and not for another device. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 0);

	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, false, &reason));
	dma_liveupdate_free(one);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->b.dev, false, &reason));
}

static void dmt_check_mapped_test(struct kunit *test)
{
	const char *reason = "";

	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt->mapped = 3;
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, true, &reason));
	KUNIT_EXPECT_STREQ(test, reason,
			   "memory is mapped for its DMA that is not preserved");
	/* Until it is frozen it may be at work. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	dmt->mapped = 2;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));
	/* Nothing is taken on trust. */
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 0);

	/* A device without buffers. */
	dmt->mapped = 1;
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->b.dev, true, &reason));
	dmt->mapped = 0;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->b.dev, true, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 0);
	dmt->mapped = -EOPNOTSUPP;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->b.dev, true, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 1);
}

/* The same with dma-debug itself. */
static void dmt_check_debug_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	const char *reason = "";
	dma_addr_t dma;
	void *mem;
	int err;

	kunit_deactivate_static_stub(test, dma_liveupdate_nr_mapped);
	if (dma_liveupdate_nr_mapped(dmt->a.dev) < 0)
		kunit_skip(test, "dma-debug is off");

	mem = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	buffer = dmt_make(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->b.dev), 0);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));

	dma = dma_map_single(dmt->a.dev, mem, PAGE_SIZE, DMA_FROM_DEVICE);
	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(dmt->a.dev, dma));
	err = dma_liveupdate_check(dmt->a.dev, true, &reason);
	dma_unmap_single(dmt->a.dev, dma, PAGE_SIZE, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, err, -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));

	/* It knows adopted buffers, too, and forgets those that were freed. */
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	buffer = dmt_adopt(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 1);
	dma_liveupdate_free(buffer);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
}

/* 7. Without memory: each allocation fails once. */

static void dmt_fault_alloc_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dma_liveupdate_buffer *buffer;
	unsigned int failed = 0, references;

	liveupdate_fault_require(test);
	references = kref_read(&dmt->a.dev->kobj.kref);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		buffer = dma_liveupdate_alloc(dmt->a.dev, 2 * PAGE_SIZE, 1);
		liveupdate_fault_end(&fault);

		if (IS_ERR(buffer)) {
			dmt_expect_error(test, -ENOMEM, buffer);
			failed++;
		}
		dma_liveupdate_free(buffer);
		KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->a.dev));
		KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), references);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
}

static void dmt_fault_prepare_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *a, *b;
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	a = dmt_make(test, &dmt->a, 1, 1);
	b = dmt_make(test, &dmt->b, 2 * PAGE_SIZE, 1);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dmt_prepare();
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			failed++;
		} else {
			KUNIT_EXPECT_TRUE(test, layer->closed);
			KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
			dmt_cancel();
		}
		/* Devices are cancelled next, and unpreserve them. */
		KUNIT_EXPECT_FALSE(test, layer->closed);
		KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
		KUNIT_EXPECT_EQ(test, layer->nr_preserved, 2);
		KUNIT_EXPECT_EQ(test, dmt->kept, 2);
		KUNIT_EXPECT_EQ(test, a->record, 0);
		KUNIT_EXPECT_EQ(test, b->record, 0);
		KUNIT_EXPECT_NULL(test, layer->table.head);
	}
	/* The table, the block of records, and what leads to that. */
	KUNIT_EXPECT_GE(test, failed, 3);
}

static void dmt_fault_restore_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dmt_restore();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
		dmt_expect_freed(test, 0, false);
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_NULL(test, layer->incoming);
			KUNIT_EXPECT_NULL(test, layer->buckets);
			KUNIT_EXPECT_EQ(test, layer->nr_incoming, 0);
			KUNIT_EXPECT_EQ(test, layer->nr_lost, 0);
			failed++;
			/* Nobody gets a buffer, so that probe() fails. */
			dmt_expect_error(test, -ENOENT,
					 dma_liveupdate_adopt(dmt->a.dev, 1, 1));
			KUNIT_ASSERT_EQ(test, 0, dmt_restore());
		}
		dma_liveupdate_free(dmt_adopt(test, &dmt->a, 1, 1));
		dmt_folio_of(0)->restored = false;
		dmt_unboot();
	}
	/* Head and block of the table, records, and buckets. */
	KUNIT_EXPECT_GE(test, failed, 4);
}

static void dmt_fault_adopt_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dma_liveupdate_buffer *buffer;
	unsigned int failed = 0, references;

	liveupdate_fault_require(test);
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	references = kref_read(&dmt->a.dev->kobj.kref);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		buffer = dma_liveupdate_adopt(dmt->a.dev, 1, 1);
		liveupdate_fault_end(&fault);

		if (IS_ERR(buffer)) {
			dmt_expect_error(test, -ENOMEM, buffer);
			KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->a.dev));
			failed++;
			buffer = dmt_adopt(test, &dmt->a, 1, 1);
		}
		KUNIT_EXPECT_EQ(test, *(u32 *)buffer->address, ~1U);
		dma_liveupdate_free(buffer);
		/* It is kept until FINISH. */
		dmt_expect_freed(test, 0, false);
		KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), references);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
	dmt_finish();
	dmt_expect_freed(test, 0, true);
}

static void dmt_fault_finish_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct liveupdate_fault fault = {};

	liveupdate_fault_require(test);
	while (liveupdate_fault_next(test, &fault)) {
		dmt_make(test, &dmt->a, 1, 1);
		dmt_make(test, &dmt->b, 1, 1);
		dmt_cross(test);
		dmt->a.fate = DEVICE_LIVEUPDATE_QUARANTINED;

		liveupdate_fault_begin(&fault);
		dmt_finish();
		liveupdate_fault_end(&fault);

		dmt->a.fate = DEVICE_LIVEUPDATE_RECLAIMED;
		/* Retaining does not fail. */
		dmt_expect_retained(test, "dma");
		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), list_count_nodes(&dmt->memory));
		dmt_expect_freed(test, 2 * (fault.nth - 1), true);
		dmt_expect_freed(test, 2 * (fault.nth - 1) + 1, false);
		scoped_guard(mutex, &layer->lock)
			dma_liveupdate_forget();
	}
}

static struct kunit_case dmt_cases[] = {
	KUNIT_CASE_PARAM(dmt_mask_test, dmt_mask_gen_params),
	KUNIT_CASE(dmt_size_test),
	KUNIT_CASE(dmt_zeroed_test),
	KUNIT_CASE(dmt_scratch_test),
	KUNIT_CASE(dmt_tag_test),
	KUNIT_CASE(dmt_references_test),
	KUNIT_CASE_PARAM(dmt_refusal_test, dmt_refusal_gen_params),
	KUNIT_CASE(dmt_offset_test),
	KUNIT_CASE(dmt_preserve_test),
	KUNIT_CASE(dmt_nothing_test),
	KUNIT_CASE(dmt_stale_test),
	KUNIT_CASE(dmt_void_test),
	KUNIT_CASE(dmt_round_trip_test),
	KUNIT_CASE(dmt_generations_test),
	KUNIT_CASE(dmt_many_test),
	KUNIT_CASE(dmt_corrupted_test),
	KUNIT_CASE(dmt_own_table_test),
	KUNIT_CASE(dmt_flip_record_test),
	KUNIT_CASE(dmt_flip_table_test),
	KUNIT_CASE_PARAM(dmt_field_test, dmt_field_gen_params),
	KUNIT_CASE(dmt_twins_test),
	KUNIT_CASE(dmt_same_memory_test),
	KUNIT_CASE(dmt_adopt_test),
	KUNIT_CASE(dmt_same_tag_test),
	KUNIT_CASE(dmt_collision_test),
	KUNIT_CASE(dmt_adopt_address_test),
	KUNIT_CASE(dmt_defer_test),
	KUNIT_CASE(dmt_free_adopted_test),
	KUNIT_CASE(dmt_finish_test),
	KUNIT_CASE(dmt_finish_absent_test),
	KUNIT_CASE(dmt_finish_running_test),
	KUNIT_CASE(dmt_finish_lost_test),
	KUNIT_CASE(dmt_abandon_test),
	KUNIT_CASE(dmt_check_test),
	KUNIT_CASE(dmt_check_mapped_test),
	KUNIT_CASE(dmt_check_debug_test),
	{}
};

static struct kunit_suite dmt_suite = {
	.name = "dma_liveupdate",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_cases,
};

static struct kunit_case dmt_fault_cases[] = {
	KUNIT_CASE(dmt_fault_alloc_test),
	KUNIT_CASE(dmt_fault_prepare_test),
	KUNIT_CASE(dmt_fault_restore_test),
	KUNIT_CASE(dmt_fault_adopt_test),
	KUNIT_CASE(dmt_fault_finish_test),
	{}
};

static struct kunit_suite dmt_fault_suite = {
	.name = "dma_liveupdate_faults",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_fault_cases,
};

kunit_test_suites(&dmt_suite, &dmt_fault_suite);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("KUnit tests for DMA buffers in a live update");
MODULE_LICENSE("GPL");
