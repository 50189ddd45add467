// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tables of records
 *
 * Hands over records of one kind and one size, in the format of
 * include/linux/kho/abi/table.h, on top of the blocks of kho_block.c.
 *
 * Concept
 *   What the next kernel reads was written by another kernel, which may have had a
 *   bug, and lay in memory while a third program, the one that relocates kernels, ran.
 *   Readers must not follow an address before KHO confirms it, nor use a record
 *   before a checksum matches. A table does that once for all of its users. What to do
 *   about records that cannot be used is up to them: one gives up the whole
 *   update, another one quarantines one device.
 *
 * Writing
 *   kho_table_alloc() is the only function that can fail, so it belongs into PREPARE, or
 *   for a table that grows kho_table_alloc_growing() and kho_table_grow(), before FREEZE.
 *   kho_table_add() gives out records, zeroed, and kho_table_seal()
 *   computes the checksums. Until then, and again after any change, the next
 *   kernel refuses the table. A record may still be changed, with kho_table_reseal()
 *   after it, or be taken out by kho_table_invalidate(). kho_table_clear() begins
 *   anew.
 *
 * Reading
 *   kho_table_open() copies the head, and validates the copy. kho_table_next() copies a
 *   block at a time, and gives out one record after the other, together with
 *   whether its block was corrupted. What such a record says is unverified; it can
 *   serve to name what is in doubt, never to follow an address.
 *   kho_table_release() frees what was handed over, blocks with corrupted records
 *   included, because the head says where they are. kho_table_close() leaves it
 *   reserved.
 *
 * Context: everything here may sleep, except as noted. There is no lock: owners
 * of a table serialise its use.
 */

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/math.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xxhash.h>

static u32 kho_table_per_block(const struct kho_table_format *format)
{
	return KHO_TABLE_PER_BLOCK(format->record_size);
}

static u32 kho_table_nr_blocks(const struct kho_table_format *format,
			       u32 nr_records)
{
	return DIV_ROUND_UP(nr_records, kho_table_per_block(format));
}

static size_t kho_table_entry_size(const struct kho_table_format *format)
{
	return sizeof(struct kho_table_entry_ser) + format->record_size;
}

static u64 kho_table_head_checksum(const struct kho_table_ser *head)
{
	u64 seed = xxh64(head, offsetof(struct kho_table_ser, checksum), 0);

	return xxh64(head->blocks, head->nr_blocks * sizeof(head->blocks[0]), seed);
}

static u64 kho_table_block_checksum(const struct kho_table_format *format,
				    const struct kho_block_header_ser *block,
				    u32 nr_entries)
{
	return xxh64(block, sizeof(*block) +
		     nr_entries * kho_table_entry_size(format), 0);
}

/* Number of entries in block @index of a table with @nr_records. */
static u32 kho_table_nr_entries(const struct kho_table_format *format,
				u32 nr_records, u32 index)
{
	u32 per_block = kho_table_per_block(format);
	u32 first = index * per_block;

	return nr_records > first ? min(nr_records - first, per_block) : 0;
}

/* Writing. */

/* Enter the blocks into the head that are not there yet. */
static void kho_table_list_blocks(struct kho_table *table)
{
	struct kho_table_ser *head = table->head;
	struct kho_block *block;
	u32 index = 0;

	list_for_each_entry(block, &table->blocks.blocks, list) {
		if (index++ == head->nr_blocks)
			head->blocks[head->nr_blocks++].phys =
				virt_to_phys(block->ser);
	}
}

static void kho_table_unseal(struct kho_table *table)
{
	table->head->flags &= ~KHO_TABLE_SEALED;
	table->head->checksum = 0;
}

static int kho_table_alloc_room(struct kho_table *table,
				const struct kho_table_format *format,
				u32 nr_records, u32 room)
{
	struct kho_table_ser *head;
	int err;

	if (nr_records > format->max)
		return -E2BIG;

	table->head_size = struct_size(head, blocks,
				       kho_table_nr_blocks(format, room));
	head = kho_alloc_preserve(table->head_size);
	if (IS_ERR(head))
		return PTR_ERR(head);

	kho_block_set_init(&table->blocks, kho_table_entry_size(format));
	err = kho_block_set_grow(&table->blocks, nr_records);
	if (err) {
		kho_unpreserve_free(head);
		return err;
	}

	strscpy_pad(head->compatible, format->compatible);
	head->version = KHO_TABLE_VERSION;
	head->record_size = format->record_size;
	table->format = format;
	table->head = head;
	table->nr_records = 0;
	kho_table_list_blocks(table);

	return 0;
}

/**
 * kho_table_alloc() - allocate a table for the next kernel
 * @table: the table; no other one is allocated in it
 * @format: what it holds
 * @nr_records: number of records that there shall be room for
 *
 * The head is contiguous: 16 bytes for each block of records, 64 more, rounded up to a
 * power of two of pages.
 *
 * Context: May sleep.
 * Return: 0; -E2BIG if @nr_records exceeds &kho_table_format.max; -ENOSPC if it exceeds
 * what a &struct kho_block_set can hold; -ENOMEM; or the error of
 * kho_alloc_preserve(). After an error there is no table.
 */
int kho_table_alloc(struct kho_table *table,
		    const struct kho_table_format *format, u32 nr_records)
{
	return kho_table_alloc_room(table, format, nr_records, nr_records);
}
EXPORT_SYMBOL_NS_GPL(kho_table_alloc, "LIVEUPDATE");

/**
 * kho_table_alloc_growing() - allocate a table that will grow
 * @table: the table; no other one is allocated in it
 * @format: what it holds
 *
 * There is no room for records before kho_table_grow(). The head is as large as that of a
 * table with &kho_table_format.max records, and stays where it is.
 *
 * Context: May sleep.
 * Return: as kho_table_alloc().
 */
int kho_table_alloc_growing(struct kho_table *table,
			    const struct kho_table_format *format)
{
	return kho_table_alloc_room(table, format, 0, format->max);
}
EXPORT_SYMBOL_NS_GPL(kho_table_alloc_growing, "LIVEUPDATE");

/**
 * kho_table_grow() - make room for more records
 * @table: a table of kho_table_alloc_growing(); if it grows it is not sealed any more
 * @nr_records: number of records that there shall be room for
 *
 * Context: May sleep.
 * Return: 0; -E2BIG if @nr_records exceeds &kho_table_format.max; -ENOMEM; or the error of
 * kho_alloc_preserve(). After an error the table is as it was.
 */
int kho_table_grow(struct kho_table *table, u32 nr_records)
{
	int err;

	if (nr_records > table->format->max)
		return -E2BIG;
	if (kho_table_nr_blocks(table->format, nr_records) <= table->head->nr_blocks)
		return 0;

	err = kho_block_set_grow(&table->blocks, nr_records);
	if (err)
		return err;

	kho_table_unseal(table);
	kho_table_list_blocks(table);

	return 0;
}
EXPORT_SYMBOL_NS_GPL(kho_table_grow, "LIVEUPDATE");

static struct kho_table_entry_ser *kho_table_entry(const struct kho_table *table,
						   u32 position)
{
	u32 per_block = kho_table_per_block(table->format);
	u64 phys = table->head->blocks[position / per_block].phys;
	struct kho_block_header_ser *block = phys_to_virt(phys);

	return (void *)(block + 1) +
	       position % per_block * kho_table_entry_size(table->format);
}

/**
 * kho_table_add() - add a record
 * @table: the table
 *
 * The table is not sealed any more.
 *
 * Context: any.
 * Return: the record, all zeroes, to be filled in before the table is sealed; or NULL
 * if there is no room.
 */
void *kho_table_add(struct kho_table *table)
{
	u32 per_block = kho_table_per_block(table->format);
	u32 index = table->nr_records / per_block;
	struct kho_block_header_ser *block;
	struct kho_table_entry_ser *entry;

	if (index >= table->head->nr_blocks)
		return NULL;

	kho_table_unseal(table);
	block = phys_to_virt(table->head->blocks[index].phys);
	entry = (void *)(block + 1) + (table->nr_records - index * per_block) *
		kho_table_entry_size(table->format);
	block->count++;
	table->nr_records++;

	return entry + 1;
}
EXPORT_SYMBOL_NS_GPL(kho_table_add, "LIVEUPDATE");

/**
 * kho_table_record() - find a record
 * @table: the table
 * @position: position of the record: 0 for the first that was added, and so on
 *
 * Who changes the record calls kho_table_reseal() afterwards.
 *
 * Context: any.
 * Return: the record; or NULL if @position is not below the number of records.
 */
void *kho_table_record(struct kho_table *table, u32 position)
{
	if (position >= table->nr_records)
		return NULL;

	return kho_table_entry(table, position) + 1;
}
EXPORT_SYMBOL_NS_GPL(kho_table_record, "LIVEUPDATE");

static void kho_table_seal_block(struct kho_table *table, u32 index)
{
	u32 nr_entries = kho_table_nr_entries(table->format, table->nr_records,
					      index);
	struct kho_table_block_ser *block = &table->head->blocks[index];

	block->checksum = nr_entries ?
		kho_table_block_checksum(table->format,
					 phys_to_virt(block->phys), nr_entries) : 0;
}

static void kho_table_seal_head(struct kho_table *table)
{
	table->head->nr_records = table->nr_records;
	table->head->flags |= KHO_TABLE_SEALED;
	table->head->checksum = kho_table_head_checksum(table->head);
}

/**
 * kho_table_seal() - make a table readable for the next kernel
 * @table: the table, with all its records
 *
 * Context: any. Takes a checksum over the whole table.
 */
void kho_table_seal(struct kho_table *table)
{
	for (u32 i = 0; i < table->head->nr_blocks; i++)
		kho_table_seal_block(table, i);
	kho_table_seal_head(table);
}
EXPORT_SYMBOL_NS_GPL(kho_table_seal, "LIVEUPDATE");

/**
 * kho_table_reseal() - seal a table again after a record was changed
 * @table: the table; does nothing unless it is sealed
 * @position: position of the record; does nothing if there is none
 *
 * Context: any. Takes a checksum over the head and a block.
 */
void kho_table_reseal(struct kho_table *table, u32 position)
{
	if (position >= table->nr_records ||
	    !(table->head->flags & KHO_TABLE_SEALED))
		return;

	kho_table_seal_block(table, position / kho_table_per_block(table->format));
	kho_table_seal_head(table);
}
EXPORT_SYMBOL_NS_GPL(kho_table_reseal, "LIVEUPDATE");

/**
 * kho_table_invalidate() - take a record out of a table
 * @table: the table, which is sealed again if it is
 * @position: position of the record; the others keep theirs. Does nothing if there is
 *	none.
 *
 * The next kernel is not told what was in the record.
 *
 * Context: any. Takes a checksum over the head and a block.
 */
void kho_table_invalidate(struct kho_table *table, u32 position)
{
	struct kho_table_entry_ser *entry;

	if (position >= table->nr_records)
		return;

	entry = kho_table_entry(table, position);
	memset(entry, 0, kho_table_entry_size(table->format));
	entry->flags = KHO_TABLE_ENTRY_INVALID;
	kho_table_reseal(table, position);
}
EXPORT_SYMBOL_NS_GPL(kho_table_invalidate, "LIVEUPDATE");

/**
 * kho_table_clear() - remove all records
 * @table: the table
 *
 * The table is not sealed any more. The room for records stays.
 *
 * Context: any.
 */
void kho_table_clear(struct kho_table *table)
{
	kho_table_unseal(table);
	kho_block_set_clear(&table->blocks);
	table->nr_records = 0;
}
EXPORT_SYMBOL_NS_GPL(kho_table_clear, "LIVEUPDATE");

/**
 * kho_table_free() - free a table that is not handed over
 * @table: the table; does nothing if none is allocated
 *
 * Context: May sleep.
 */
void kho_table_free(struct kho_table *table)
{
	if (!table->head)
		return;

	kho_block_set_destroy(&table->blocks);
	kho_unpreserve_free(table->head);
	table->head = NULL;
	table->nr_records = 0;
}
EXPORT_SYMBOL_NS_GPL(kho_table_free, "LIVEUPDATE");

/* Reading. */

/* Memory of @size bytes that was allocated as such, and is still there. */
static bool kho_table_handed_over(phys_addr_t phys, size_t size)
{
	size_t allocated = PAGE_SIZE << get_order(size);

	return kho_is_restorable(phys, allocated) &&
	       !kho_is_restorable(phys, allocated + 1);
}

static bool kho_table_is_compatible(const struct kho_table_ser *head,
				    const struct kho_table_format *format)
{
	char compatible[KHO_TABLE_COMPAT_LEN];

	strscpy_pad(compatible, format->compatible);

	return head->version == KHO_TABLE_VERSION &&
	       !memcmp(head->compatible, compatible, sizeof(compatible));
}

/* Fields that a checksum cannot vouch for: those of a kernel with a bug. */
static bool kho_table_is_valid(const struct kho_table_ser *head,
			       const struct kho_table_format *format)
{
	return head->flags == KHO_TABLE_SEALED && !head->reserved &&
	       head->record_size == format->record_size &&
	       head->nr_records <= format->max &&
	       head->nr_blocks >= kho_table_nr_blocks(format, head->nr_records) &&
	       head->nr_blocks <= kho_table_nr_blocks(format, format->max);
}

/**
 * kho_table_open() - begin to read a table of the previous kernel
 * @table: the table; on success it is to be given to kho_table_release() or
 *	kho_table_close(), otherwise there is none
 * @format: what it should hold
 * @phys: physical address of the head, which nothing has verified
 * @size: bytes of the head, which nothing has verified
 *
 * Nothing is restored or freed.
 *
 * Context: May sleep.
 * Return: 0; -EINVAL if there is no table of such a format at @phys, because nothing
 * was handed over there, because it is not sealed, or because a number is out of
 * bounds; -EPROTONOSUPPORT if it is a table of something else, or of another version;
 * -EBADMSG if the head is corrupted; -ENOMEM.
 */
int kho_table_open(struct kho_table_incoming *table,
		   const struct kho_table_format *format, phys_addr_t phys,
		   size_t size)
{
	struct kho_table_ser *head __free(kvfree) = NULL;
	void *block __free(kfree) = NULL;
	u32 nr_blocks;

	*table = (struct kho_table_incoming){
		.format	= format,
		.phys	= phys,
		.size	= size,
	};

	if (size < sizeof(*head) || !kho_is_restorable(phys, size))
		return -EINVAL;
	head = kvmalloc(size, GFP_KERNEL);
	block = kmalloc(KHO_BLOCK_SIZE, GFP_KERNEL);
	if (!head || !block)
		return -ENOMEM;
	memcpy(head, phys_to_virt(phys), size);

	nr_blocks = head->nr_blocks;
	if (!kho_table_is_compatible(head, format))
		return -EPROTONOSUPPORT;
	if (!(head->flags & KHO_TABLE_SEALED) ||
	    struct_size(head, blocks, nr_blocks) > size)
		return -EINVAL;
	if (head->checksum != kho_table_head_checksum(head))
		return -EBADMSG;
	if (!kho_table_is_valid(head, format))
		return -EINVAL;

	table->head = no_free_ptr(head);
	table->block = no_free_ptr(block);

	return 0;
}
EXPORT_SYMBOL_NS_GPL(kho_table_open, "LIVEUPDATE");

/* Copy the next block. False if it is not where the head says. */
static bool kho_table_load(struct kho_table_incoming *table)
{
	u32 index = table->position / kho_table_per_block(table->format);
	const struct kho_table_block_ser *block = &table->head->blocks[index];
	u32 nr_entries = kho_table_nr_entries(table->format,
					      table->head->nr_records, index);

	table->end = table->position + nr_entries;
	table->entry = table->block + 1;
	if (!kho_table_handed_over(block->phys, KHO_BLOCK_SIZE))
		return false;

	memcpy(table->block, phys_to_virt(block->phys), KHO_BLOCK_SIZE);
	table->corrupted = table->block->count != nr_entries ||
		block->checksum != kho_table_block_checksum(table->format,
							    table->block,
							    nr_entries);

	return true;
}

/**
 * kho_table_next() - read the next record of the previous kernel
 * @table: a table that is open
 * @position: on success the position of the record
 * @corrupted: on success, whether the record is unverified. Nothing in it may be relied
 *	on then, and no address in it may be followed.
 *
 * Invalid records are skipped. So are those of a block that is not where the head says,
 * but these are counted in &kho_table_incoming.nr_missing.
 *
 * Context: any.
 * Return: the record, which nobody else changes, valid until the next call; or NULL at
 * the end.
 */
const void *kho_table_next(struct kho_table_incoming *table, u32 *position,
			   bool *corrupted)
{
	const struct kho_table_entry_ser *entry;

	while (table->position < table->head->nr_records) {
		if (table->position == table->end && !kho_table_load(table)) {
			table->nr_missing += table->end - table->position;
			table->position = table->end;
			continue;
		}

		entry = table->entry;
		table->entry += kho_table_entry_size(table->format);
		*position = table->position++;
		*corrupted = table->corrupted || entry->reserved ||
			     entry->flags & ~KHO_TABLE_ENTRY_INVALID;
		if (*corrupted || !entry->flags)
			return entry + 1;
	}

	return NULL;
}
EXPORT_SYMBOL_NS_GPL(kho_table_next, "LIVEUPDATE");

/**
 * kho_table_release() - free a table of the previous kernel
 * @table: a table; it is closed. Does nothing if it is not open.
 *
 * What records refer to is not touched. Memory of the table that somebody else has
 * restored meanwhile is left alone.
 *
 * Context: May sleep.
 */
void kho_table_release(struct kho_table_incoming *table)
{
	const struct kho_table_ser *head = table->head;

	if (!head)
		return;

	for (u32 i = 0; i < head->nr_blocks; i++) {
		u64 phys = head->blocks[i].phys;

		if (kho_table_handed_over(phys, KHO_BLOCK_SIZE))
			kho_restore_free(phys_to_virt(phys));
	}
	if (kho_table_handed_over(table->phys, table->size))
		kho_restore_free(phys_to_virt(table->phys));
	kho_table_close(table);
}
EXPORT_SYMBOL_NS_GPL(kho_table_release, "LIVEUPDATE");

/**
 * kho_table_close() - end reading
 * @table: a table; does nothing if none is open
 *
 * The memory of the table stays reserved.
 *
 * Context: May sleep.
 */
void kho_table_close(struct kho_table_incoming *table)
{
	kvfree(table->head);
	kfree(table->block);
	table->head = NULL;
	table->block = NULL;
}
EXPORT_SYMBOL_NS_GPL(kho_table_close, "LIVEUPDATE");
