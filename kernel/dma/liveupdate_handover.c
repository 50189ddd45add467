// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of DMA buffers
 *
 * Writes and reads the format of include/linux/kho/abi/dma.h.
 *
 * Writing: dma_liveupdate_alloc_table() makes room for the records of what is
 * preserved and is the only part that can fail. dma_liveupdate_write_table() fills
 * them. The table is final then, apart from records that become invalid.
 *
 * Reading: dma_liveupdate_read_table() copies the records. What cannot be relied on
 * costs as little as possible:
 *
 *   - the head of the table: everything; the subsystem fails to restore;
 *   - a block that is missing or corrupted: the records in it;
 *   - a record that is not valid, or several for the same buffer: these.
 *
 * What such records refer to is retained at FINISH. A driver does not
 * find the buffer, so that its probe() fails and its device is quarantined.
 *
 * Context: everything here may sleep. &dma_liveupdate_layer.lock is held, except as
 * noted.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/hash.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/device.h>
#include <linux/kho_table.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate.h"

struct dma_liveupdate_layer dma_liveupdate_layer = {
	.lock = __MUTEX_INITIALIZER(dma_liveupdate_layer.lock),
	.preserved = LIST_HEAD_INIT(dma_liveupdate_layer.preserved),
};
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_layer);

DEFINE_KHO_TABLE_FORMAT(dma_liveupdate_format, DMA_LIVEUPDATE_COMPATIBLE,
			struct dma_liveupdate_ser, DMA_LIVEUPDATE_MAX);

/*
 * Will the next kernel use this memory to boot? Returns true if some of it is in the
 * scratch memory of KHO.
 */
bool dma_liveupdate_in_scratch(phys_addr_t phys, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_in_scratch, phys, size);

	return kho_scratch_overlap(phys, size);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_in_scratch);

/* Keep memory for the next kernel. May sleep. */
int dma_liveupdate_keep_folio(struct folio *folio)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_keep_folio, folio);

	return kho_preserve_folio(folio);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_keep_folio);

/* Undo dma_liveupdate_keep_folio(). May sleep. */
void dma_liveupdate_drop_folio(struct folio *folio)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_drop_folio, folio);

	kho_unpreserve_folio(folio);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_drop_folio);

/*
 * May this memory be used? Returns true if @phys is the start of memory that was handed
 * over, is exactly @size bytes long, and was not taken over yet.
 */
bool dma_liveupdate_handed_over(phys_addr_t phys, size_t size)
{
	/* If more was preserved there, it is not what the record describes. */
	return kho_is_restorable(phys, size) && !kho_is_restorable(phys, size + 1);
}

/*
 * Take over memory that was handed over. May sleep. Returns the memory with one
 * reference, to be freed with folio_put(), or NULL.
 */
struct folio *dma_liveupdate_restore_folio(phys_addr_t phys)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_restore_folio, phys);

	return kho_restore_folio(phys);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_restore_folio);

/*
 * Make room for the records of what is preserved. May sleep. &dma_liveupdate_layer.lock
 * held.
 */
int dma_liveupdate_alloc_table(struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	int err;

	lockdep_assert_held(&layer->lock);

	err = kho_table_alloc(&layer->table, &dma_liveupdate_format,
			      layer->nr_preserved);
	if (err)
		return err;
	data->value = kho_table_phys(&layer->table);
	data->size = layer->table.head_size;

	return 0;
}

/* Undo dma_liveupdate_alloc_table(). May sleep. &dma_liveupdate_layer.lock held. */
void dma_liveupdate_free_table(struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer;

	lockdep_assert_held(&layer->lock);

	list_for_each_entry(buffer, &layer->preserved, member)
		buffer->record = 0;
	kho_table_free(&layer->table);
	*data = (struct liveupdate_data){};
}

/*
 * Fill the table. May sleep. &dma_liveupdate_layer.lock held. There is a table with room
 * for what is preserved.
 */
void dma_liveupdate_write_table(void)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer;
	u32 record = 0;

	lockdep_assert_held(&layer->lock);

	list_for_each_entry(buffer, &layer->preserved, member) {
		struct dma_liveupdate_ser *ser = kho_table_add(&layer->table);

		ser->phys = PFN_PHYS(folio_pfn(buffer->folio));
		ser->dma = buffer->dma;
		ser->device = buffer->device;
		ser->tag = buffer->tag;
		ser->order = folio_order(buffer->folio);
		buffer->record = ++record;
	}
	kho_table_seal(&layer->table);
}

static struct hlist_head *dma_liveupdate_bucket(u32 device, u32 tag)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	return &layer->buckets[hash_64((u64)device << 32 | tag,
				       layer->bucket_bits)];
}

/* The first record of this buffer, corrupted or not. */
static struct dma_liveupdate_incoming *dma_liveupdate_find_any(u32 device, u32 tag)
{
	struct dma_liveupdate_incoming *incoming;

	hlist_for_each_entry(incoming, dma_liveupdate_bucket(device, tag), hash) {
		if (incoming->ser.device == device && incoming->ser.tag == tag)
			return incoming;
	}

	return NULL;
}

/*
 * Look for a buffer of the previous kernel. &dma_liveupdate_layer.lock held. Returns the
 * buffer, or NULL.
 */
struct dma_liveupdate_incoming *dma_liveupdate_find_incoming(u32 device, u32 tag)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_incoming *incoming;

	lockdep_assert_held(&layer->lock);

	if (!layer->incoming)
		return NULL;
	incoming = dma_liveupdate_find_any(device, tag);

	return incoming && !incoming->invalid ? incoming : NULL;
}

/* Fields that no checksum can vouch for: those of a kernel with a bug. */
static bool dma_liveupdate_fields_valid(const struct dma_liveupdate_ser *ser)
{
	return ser->order <= MAX_PAGE_ORDER && !ser->reserved &&
	       ser->device < DEVICE_LIVEUPDATE_MAX &&
	       IS_ALIGNED(ser->phys, PAGE_SIZE << ser->order) &&
	       !dma_liveupdate_in_scratch(ser->phys, PAGE_SIZE << ser->order);
}

/* Enter one record, unless it cannot be relied on. */
static void dma_liveupdate_read(const struct dma_liveupdate_ser *from,
				unsigned int position, bool corrupted)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_incoming *incoming = &layer->incoming[position];
	const struct dma_liveupdate_ser *ser = &incoming->ser;
	struct dma_liveupdate_incoming *twin;

	incoming->ser = *from;
	if (corrupted || !dma_liveupdate_fields_valid(ser)) {
		layer->nr_lost++;
		return;
	}

	twin = dma_liveupdate_find_any(ser->device, ser->tag);
	if (twin) {
		layer->nr_lost += twin->invalid ? 1 : 2;
		twin->invalid = true;
		return;
	}
	hlist_add_head(&incoming->hash,
		       dma_liveupdate_bucket(ser->device, ser->tag));
}

/*
 * Begin to read what the previous kernel left. May sleep. &dma_liveupdate_layer.lock
 * held.
 */
int dma_liveupdate_open_table(const struct liveupdate_data *data)
{
	lockdep_assert_held(&dma_liveupdate_layer.lock);

	return kho_table_open(&dma_liveupdate_layer.handed, &dma_liveupdate_format,
			      data->value, data->size);
}

/*
 * Validate and copy what the previous kernel left. On success the records are in
 * &dma_liveupdate_layer.incoming and the fields behind it, and
 * &dma_liveupdate_layer.handed is open. On failure nothing has changed. May sleep.
 * &dma_liveupdate_layer.lock held.
 */
int dma_liveupdate_read_table(const struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct kho_table_incoming *table = &layer->handed;
	const struct dma_liveupdate_ser *ser;
	unsigned int count;
	bool corrupted;
	u32 position;
	int err;

	err = dma_liveupdate_open_table(data);
	if (err)
		return err;
	count = kho_table_nr_records(table);
	if (!count)
		return 0;

	/* At least one bit, as hash_64() cannot do with none. */
	layer->bucket_bits = order_base_2(max(count, 2U));
	layer->buckets = kvzalloc_objs(*layer->buckets, 1U << layer->bucket_bits);
	layer->incoming = kvzalloc_objs(*layer->incoming, count);
	if (!layer->buckets || !layer->incoming) {
		dma_liveupdate_forget();
		return -ENOMEM;
	}
	layer->nr_incoming = count;

	while ((ser = kho_table_next(table, &position, &corrupted)))
		dma_liveupdate_read(ser, position, corrupted);
	layer->nr_lost += table->nr_missing;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_read_table);

/*
 * Drop all records of the previous kernel. May sleep. &dma_liveupdate_layer.lock held.
 * No buffer leads to a record.
 */
void dma_liveupdate_forget(void)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	liveupdate_release(layer->retained);
	layer->retained = NULL;
	kho_table_close(&layer->handed);
	kvfree(layer->incoming);
	kvfree(layer->buckets);
	layer->incoming = NULL;
	layer->buckets = NULL;
	layer->nr_incoming = 0;
	layer->nr_lost = 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_forget);
