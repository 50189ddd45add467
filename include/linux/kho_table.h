/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Tables of records for the next kernel. The idea is in kernel/liveupdate/kho_table.c,
 * the format in include/linux/kho/abi/table.h.
 */

#ifndef _LINUX_KHO_TABLE_H
#define _LINUX_KHO_TABLE_H

#include <linux/io.h>
#include <linux/kho/abi/table.h>
#include <linux/kho_block.h>
#include <linux/types.h>

/**
 * struct kho_table_format - what a table holds
 * @compatible: name of what is in the records. Another layout needs another name.
 * @record_size: bytes of a record.
 * @max: most records that a table may have, in either direction.
 */
struct kho_table_format {
	const char *compatible;
	u32 record_size;
	u32 max;
};

/**
 * DEFINE_KHO_TABLE_FORMAT() - define what a table holds
 * @_name: name of the &struct kho_table_format
 * @_compatible: name of what is in the records, a string
 * @_type: type of a record, packed, with a size that keeps the next one aligned
 * @_max: most records
 */
#define DEFINE_KHO_TABLE_FORMAT(_name, _compatible, _type, _max)	\
	static_assert(sizeof(_compatible) <= KHO_TABLE_COMPAT_LEN);	\
	static_assert(sizeof(_type) <= KHO_TABLE_RECORD_MAX);		\
	static_assert(sizeof(_type) % sizeof(u64) == 0);		\
	static const struct kho_table_format _name = {			\
		.compatible	= _compatible,				\
		.record_size	= sizeof(_type),			\
		.max		= _max,					\
	}

/**
 * struct kho_table - a table for the next kernel
 * @format: what it holds.
 * @head: its head, or NULL if there is no table.
 * @head_size: bytes of @head.
 * @blocks: its blocks.
 * @nr_records: number of records so far.
 *
 * All fields are those of kho_table.c. The owner of the table serialises all calls.
 */
struct kho_table {
	const struct kho_table_format *format;
	struct kho_table_ser *head;
	size_t head_size;
	struct kho_block_set blocks;
	u32 nr_records;
};

/**
 * struct kho_table_incoming - a table of the previous kernel
 * @format: what it should hold.
 * @phys: physical address of the head.
 * @size: bytes of the head.
 * @head: validated copy of the head, or NULL if no table is open.
 * @block: copy of the block that is being read.
 * @position: position of the record that comes next.
 * @end: position behind the block that is being read.
 * @entry: where the next record of @block is.
 * @corrupted: the block that is being read does not match its checksum.
 * @nr_missing: records of blocks that are not where the head says.
 *
 * The caller reads @nr_missing; all else is kho_table.c's. The owner of the table
 * serialises all calls.
 */
struct kho_table_incoming {
	const struct kho_table_format *format;
	phys_addr_t phys;
	size_t size;
	struct kho_table_ser *head;
	struct kho_block_header_ser *block;
	u32 position;
	u32 end;
	const void *entry;
	bool corrupted;
	u32 nr_missing;
};

int kho_table_alloc(struct kho_table *table,
		    const struct kho_table_format *format, u32 nr_records);
int kho_table_alloc_growing(struct kho_table *table,
			    const struct kho_table_format *format);
int kho_table_grow(struct kho_table *table, u32 nr_records);
void *kho_table_add(struct kho_table *table);
void *kho_table_record(struct kho_table *table, u32 position);
void kho_table_reseal(struct kho_table *table, u32 position);
void kho_table_invalidate(struct kho_table *table, u32 position);
void kho_table_clear(struct kho_table *table);
void kho_table_seal(struct kho_table *table);
void kho_table_free(struct kho_table *table);

int kho_table_open(struct kho_table_incoming *table,
		   const struct kho_table_format *format, phys_addr_t phys,
		   size_t size);
const void *kho_table_next(struct kho_table_incoming *table, u32 *position,
			   bool *corrupted);
void kho_table_release(struct kho_table_incoming *table);
void kho_table_close(struct kho_table_incoming *table);

/**
 * kho_table_phys() - where the next kernel finds a table
 * @table: a table that was allocated
 *
 * Return: physical address of the head, &kho_table.head_size bytes long.
 */
static inline phys_addr_t kho_table_phys(const struct kho_table *table)
{
	return virt_to_phys(table->head);
}

/**
 * kho_table_bytes() - how much memory a table takes
 * @table: a table, allocated or not
 *
 * Return: bytes of its head and its blocks.
 */
static inline size_t kho_table_bytes(const struct kho_table *table)
{
	if (!READ_ONCE(table->head))
		return 0;

	return (PAGE_SIZE << get_order(table->head_size)) +
	       table->blocks.nblocks * KHO_BLOCK_SIZE;
}

/**
 * kho_table_nr_records() - how long a table of the previous kernel is
 * @table: a table that is open
 *
 * Return: number of its records, invalid ones included. Positions are below it.
 */
static inline u32 kho_table_nr_records(const struct kho_table_incoming *table)
{
	return table->head->nr_records;
}

#endif /* _LINUX_KHO_TABLE_H */
