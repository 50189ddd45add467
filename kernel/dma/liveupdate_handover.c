// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of DMA buffers
 *
 * Writes and reads the format of include/linux/kho/abi/dma.h.
 *
 * Writing: dma_liveupdate_alloc_table() makes room for the records of what is
 * preserved and is the only part that can fail. dma_liveupdate_write_table() fills
 * them. The table is final then, apart from records that become void.
 *
 * Reading: dma_liveupdate_read_table() believes nothing. It touches memory only
 * after KHO confirmed that it was handed over, follows no more blocks than the
 * table announces, and looks at nothing in a record before the checksum vouches for
 * it. What cannot be relied on costs as little as possible:
 *
 *   - the head of the table: everything; the participant fails to restore;
 *   - a link of the chain: the records behind it;
 *   - a record, or several for the same buffer: these.
 *
 * What such records refer to stays reserved until the next boot. A driver does not
 * find the buffer, so that its probe() fails and its device is made harmless.
 *
 * Context: everything here may sleep. &dma_liveupdate_layer.lock is held, except as
 * noted.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/device.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xxhash.h>

#include "liveupdate.h"

static const char dma_liveupdate_compatible[DMA_LIVEUPDATE_COMPAT_LEN] =
	DMA_LIVEUPDATE_COMPATIBLE;

/* Of a struct with a checksum in it, which counts as 0. */
static u32 dma_liveupdate_table_checksum(struct dma_liveupdate_table_ser table)
{
	table.checksum = 0;

	return xxh64(&table, sizeof(table), 0);
}

static u32 dma_liveupdate_checksum(const struct dma_liveupdate_ser *ser)
{
	return xxh64(ser, offsetof(typeof(*ser), checksum), 0);
}

/**
 * dma_liveupdate_in_scratch() - will the next kernel use this memory to boot?
 * @phys: physical address
 * @size: size of the memory there
 *
 * Context: any.
 * Return: true if some of it is in the scratch memory of KHO.
 */
bool dma_liveupdate_in_scratch(phys_addr_t phys, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_in_scratch, phys, size);

	return kho_scratch_overlap(phys, size);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_in_scratch);

/**
 * dma_liveupdate_keep_folio() - keep memory for the next kernel
 * @folio: the memory
 *
 * Context: May sleep.
 * Return: 0 or the error of kho_preserve_folio().
 */
int dma_liveupdate_keep_folio(struct folio *folio)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_keep_folio, folio);

	return kho_preserve_folio(folio);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_keep_folio);

/**
 * dma_liveupdate_drop_folio() - undo dma_liveupdate_keep_folio()
 * @folio: the memory
 *
 * Context: May sleep.
 */
void dma_liveupdate_drop_folio(struct folio *folio)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_drop_folio, folio);

	kho_unpreserve_folio(folio);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_drop_folio);

/**
 * dma_liveupdate_handed_over() - may this memory be used?
 * @phys: physical address that came from the previous kernel
 * @size: size of the memory there, a power of two pages
 *
 * Context: any.
 * Return: true if @phys is the start of memory that was handed over, is exactly
 * @size bytes long, and was not taken over yet.
 */
bool dma_liveupdate_handed_over(phys_addr_t phys, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_handed_over, phys, size);

	/* If more was preserved there, it is not what the record describes. */
	return kho_is_restorable(phys, size) && !kho_is_restorable(phys, size + 1);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_handed_over);

/**
 * dma_liveupdate_restore_folio() - take over memory that was handed over
 * @phys: physical address, dma_liveupdate_handed_over()
 *
 * Context: May sleep.
 * Return: the memory with one reference, to be freed with folio_put(), or NULL.
 */
struct folio *dma_liveupdate_restore_folio(phys_addr_t phys)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_restore_folio, phys);

	return kho_restore_folio(phys);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_restore_folio);

/**
 * dma_liveupdate_free_handed() - free a part of the table that was handed over
 * @phys: physical address, dma_liveupdate_handed_over()
 *
 * Context: May sleep.
 */
void dma_liveupdate_free_handed(phys_addr_t phys)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_free_handed, phys);

	kho_restore_free(phys_to_virt(phys));
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_free_handed);

/**
 * dma_liveupdate_alloc_table() - make room for the records of what is preserved
 * @data: data of the participant; filled in
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held.
 * Return: 0; -E2BIG if there are more than %DMA_LIVEUPDATE_MAX; -ENOMEM; or the
 * error of kho_alloc_preserve().
 */
int dma_liveupdate_alloc_table(struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_table_ser *table;
	int err;

	lockdep_assert_held(&layer->lock);

	if (layer->nr_preserved > DMA_LIVEUPDATE_MAX)
		return -E2BIG;

	table = liveupdate_data_alloc(data, sizeof(*table));
	if (IS_ERR(table))
		return PTR_ERR(table);

	kho_block_set_init(&layer->blocks, sizeof(struct dma_liveupdate_ser));
	err = kho_block_set_grow(&layer->blocks, layer->nr_preserved);
	if (err)
		liveupdate_data_free(data);

	return err;
}

/**
 * dma_liveupdate_free_table() - undo dma_liveupdate_alloc_table()
 * @data: data of the participant; emptied
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held.
 */
void dma_liveupdate_free_table(struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer;

	lockdep_assert_held(&layer->lock);

	if (!data->size)
		return;

	list_for_each_entry(buffer, &layer->preserved, member)
		buffer->ser = NULL;
	kho_block_set_destroy(&layer->blocks);
	liveupdate_data_free(data);
}

/**
 * dma_liveupdate_write_table() - fill the table
 * @data: data of the participant, with room for what is preserved
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held.
 */
void dma_liveupdate_write_table(const struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_table_ser *table = liveupdate_data_blob(data);
	struct dma_liveupdate_buffer *buffer;
	struct kho_block_set_it it;
	u32 index = 0;

	lockdep_assert_held(&layer->lock);

	/* All of it is zeroed, so that nothing needs to be padded. */
	kho_block_set_it_init(&it, &layer->blocks);
	list_for_each_entry(buffer, &layer->preserved, member) {
		struct dma_liveupdate_ser *ser =
			kho_block_set_it_reserve_entry(&it);

		buffer->ser = ser;
		ser->phys = PFN_PHYS(folio_pfn(buffer->folio));
		ser->dma = buffer->dma;
		ser->device = buffer->device;
		ser->tag = buffer->tag;
		ser->order = folio_order(buffer->folio);
		ser->index = index++;
		ser->checksum = dma_liveupdate_checksum(ser);
	}

	memcpy(table->compatible, dma_liveupdate_compatible,
	       sizeof(table->compatible));
	table->count = index;
	table->records = kho_block_set_head_pa(&layer->blocks);
	table->checksum = dma_liveupdate_table_checksum(*table);
}

static struct hlist_head *dma_liveupdate_bucket(u32 device, u32 tag)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	return &layer->buckets[hash_64((u64)device << 32 | tag,
				       layer->bucket_bits)];
}

/* The first record of this buffer, damaged or not. */
static struct dma_liveupdate_incoming *dma_liveupdate_find_any(u32 device, u32 tag)
{
	struct dma_liveupdate_incoming *incoming;

	hlist_for_each_entry(incoming, dma_liveupdate_bucket(device, tag), hash) {
		if (incoming->ser.device == device && incoming->ser.tag == tag)
			return incoming;
	}

	return NULL;
}

/**
 * dma_liveupdate_find_incoming() - look for a buffer of the previous kernel
 * @device: position of the device in the table of devices
 * @tag: name of the buffer
 *
 * Context: any. &dma_liveupdate_layer.lock held.
 * Return: the buffer, or NULL.
 */
struct dma_liveupdate_incoming *dma_liveupdate_find_incoming(u32 device, u32 tag)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_incoming *incoming;

	lockdep_assert_held(&layer->lock);

	if (!layer->incoming)
		return NULL;
	incoming = dma_liveupdate_find_any(device, tag);

	return incoming && !incoming->damaged ? incoming : NULL;
}

/* Fields that no checksum can vouch for: those of a kernel with a bug. */
static bool dma_liveupdate_fields_valid(const struct dma_liveupdate_ser *ser)
{
	return ser->order <= MAX_PAGE_ORDER && !ser->reserved &&
	       ser->device < DEVICE_LIVEUPDATE_MAX &&
	       IS_ALIGNED(ser->phys, PAGE_SIZE << ser->order) &&
	       !dma_liveupdate_in_scratch(ser->phys, PAGE_SIZE << ser->order);
}

/* Enter one record. */
static void dma_liveupdate_read(const struct dma_liveupdate_ser *from,
				unsigned int index)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_incoming *incoming = &layer->incoming[index];
	const struct dma_liveupdate_ser *ser = &incoming->ser;
	struct dma_liveupdate_incoming *twin;

	incoming->ser = *from;

	if (!memchr_inv(ser, 0, sizeof(*ser)))
		return;
	if (ser->checksum != dma_liveupdate_checksum(ser) || ser->index != index ||
	    !dma_liveupdate_fields_valid(ser)) {
		layer->nr_lost++;
		return;
	}

	twin = dma_liveupdate_find_any(ser->device, ser->tag);
	if (twin) {
		layer->nr_lost += twin->damaged ? 1 : 2;
		twin->damaged = true;
		return;
	}
	hlist_add_head(&incoming->hash,
		       dma_liveupdate_bucket(ser->device, ser->tag));
}

/**
 * dma_liveupdate_check_table() - check the head of what the previous kernel left
 * @data: data of the participant: a blob that was handed over
 * @table: on success a copy of the head
 *
 * Context: any.
 * Return: 0; -EINVAL if the head is out of bounds; -EBADMSG if its checksum
 * differs; -EPROTONOSUPPORT if the format is not known.
 */
int dma_liveupdate_check_table(const struct liveupdate_data *data,
			       struct dma_liveupdate_table_ser *table)
{
	if (data->size < sizeof(*table))
		return -EINVAL;
	memcpy(table, liveupdate_data_blob(data), sizeof(*table));

	if (memcmp(table->compatible, dma_liveupdate_compatible,
		   sizeof(table->compatible)))
		return -EPROTONOSUPPORT;
	if (table->checksum != dma_liveupdate_table_checksum(*table))
		return -EBADMSG;
	if (table->count > DMA_LIVEUPDATE_MAX || !table->records != !table->count)
		return -EINVAL;

	return 0;
}

/**
 * dma_liveupdate_read_table() - check and copy what the previous kernel left
 * @data: data of the participant: a blob that was handed over
 *
 * On success the records are in &dma_liveupdate_layer.incoming and the fields
 * behind it. On failure nothing has changed.
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held.
 * Return: 0, also if records are damaged; -EINVAL, -EBADMSG or -EPROTONOSUPPORT as
 * dma_liveupdate_check_table(); -ENOMEM.
 */
int dma_liveupdate_read_table(const struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_table_ser table;
	unsigned int done = 0;
	u64 next;
	int err;

	lockdep_assert_held(&layer->lock);

	err = dma_liveupdate_check_table(data, &table);
	if (err)
		return err;
	if (!table.count)
		return 0;

	/* At least one bit, as hash_64() cannot do with none. */
	layer->bucket_bits = order_base_2(max(table.count, 2U));
	layer->buckets = kvzalloc_objs(*layer->buckets, 1U << layer->bucket_bits);
	layer->incoming = kvzalloc_objs(*layer->incoming, table.count);
	if (!layer->buckets || !layer->incoming) {
		dma_liveupdate_forget();
		return -ENOMEM;
	}
	layer->nr_incoming = table.count;

	for (next = table.records; done < table.count; ) {
		const struct kho_block_header_ser *block;
		const struct dma_liveupdate_ser *ser;
		u32 part = min_t(u32, table.count - done,
				 DMA_LIVEUPDATE_PER_BLOCK);

		if (!dma_liveupdate_handed_over(next, KHO_BLOCK_SIZE))
			break;
		block = phys_to_virt(next);
		/*
		 * No checksum covers a link. If it leads to zeroes of somebody else,
		 * these are no void records, and not freed with the table.
		 */
		if (block->count != part)
			break;
		ser = (const void *)(block + 1);
		for (u32 i = 0; i < part; i++)
			dma_liveupdate_read(ser++, done++);
		next = block->next;
	}
	layer->nr_lost += table.count - done;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_read_table);

/**
 * dma_liveupdate_release_table() - free the table that was copied
 * @data: data of the participant that dma_liveupdate_read_table() accepted
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held.
 */
void dma_liveupdate_release_table(const struct liveupdate_data *data)
{
	const struct dma_liveupdate_table_ser *table = liveupdate_data_blob(data);
	unsigned int left;
	u64 next;

	lockdep_assert_held(&dma_liveupdate_layer.lock);

	/* A record may have claimed it as a buffer. */
	if (!dma_liveupdate_handed_over(data->value,
					PAGE_SIZE << get_order(data->size)))
		return;
	left = DIV_ROUND_UP(table->count, DMA_LIVEUPDATE_PER_BLOCK);
	next = table->records;

	/* A damaged link may lead to memory of somebody else: leave the rest. */
	if (dma_liveupdate_layer.nr_lost)
		left = 0;
	while (left-- && dma_liveupdate_handed_over(next, KHO_BLOCK_SIZE)) {
		const struct kho_block_header_ser *block = phys_to_virt(next);
		u64 phys = next;

		next = block->next;
		dma_liveupdate_free_handed(phys);
	}
	dma_liveupdate_free_handed(data->value);
}

/**
 * dma_liveupdate_forget() - drop all records of the previous kernel
 *
 * Context: May sleep. &dma_liveupdate_layer.lock held. No buffer leads to a record.
 */
void dma_liveupdate_forget(void)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	kvfree(layer->incoming);
	kvfree(layer->buckets);
	layer->incoming = NULL;
	layer->buckets = NULL;
	layer->nr_incoming = 0;
	layer->nr_lost = 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_forget);
