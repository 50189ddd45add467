/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: KHO Tables ABI
 *
 * A table hands over records of one kind and one size. What is in a record, and
 * where the next kernel finds the table, is the contract of its user.
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %KHO_TABLE_VERSION. A change of what
 * is in the records needs a new @compatible of their user.
 *
 * The head is &struct kho_table_ser, followed by &struct kho_table_block_ser for
 * each block, in one preserved folio. The blocks are those of
 * include/linux/kho/abi/block.h, one page each. Readers find them through the head,
 * so that a link that is corrupted leads nowhere. Each block that is used is full,
 * except for the last one; blocks that no record needs may follow.
 *
 * A block is a &struct kho_block_header_ser and up to KHO_TABLE_PER_BLOCK() entries.
 * An entry is a &struct kho_table_entry_ser and a record.
 *
 * All checksums are XXH64. That of a block is over its header and its entries, with the
 * seed 0. That of the head is over the list of blocks, with the checksum of the
 * fields before @checksum as the seed. So a head that is corrupted costs the table,
 * and a block that is corrupted costs the records in it, and no memory.
 */

#ifndef _LINUX_KHO_ABI_TABLE_H
#define _LINUX_KHO_ABI_TABLE_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/block.h>
#include <linux/stddef.h>
#include <linux/types.h>

#define KHO_TABLE_VERSION		1

/* Longest name of what is in the records, with the terminating zero. */
#define KHO_TABLE_COMPAT_LEN		32

/* Flags of a table: it is complete, and its checksums are right. */
#define KHO_TABLE_SEALED		BIT(0)

/* Flags of an entry: its record was taken out of the table, and is all zeroes. */
#define KHO_TABLE_ENTRY_INVALID		BIT(0)

/**
 * struct kho_table_block_ser - a block of a table
 * @phys: physical address of the block, a preserved page.
 * @checksum: checksum over the block; 0 if it holds no entries.
 */
struct kho_table_block_ser {
	u64 phys;
	u64 checksum;
} __packed;

/**
 * struct kho_table_ser - head of a table
 * @compatible: name of what is in the records, terminated and padded with zeroes.
 * @version: %KHO_TABLE_VERSION.
 * @flags: KHO_TABLE_* bits.
 * @record_size: bytes of a record.
 * @nr_records: number of records, invalid ones included.
 * @nr_blocks: number of @blocks.
 * @reserved: zero.
 * @checksum: checksum over the head.
 * @blocks: the blocks, in order.
 */
struct kho_table_ser {
	char compatible[KHO_TABLE_COMPAT_LEN];
	u32 version;
	u32 flags;
	u32 record_size;
	u32 nr_records;
	u32 nr_blocks;
	u32 reserved;
	u64 checksum;
	struct kho_table_block_ser blocks[];
} __packed;

/**
 * struct kho_table_entry_ser - what stands before each record
 * @flags: KHO_TABLE_ENTRY_* bits.
 * @reserved: zero.
 */
struct kho_table_entry_ser {
	u32 flags;
	u32 reserved;
} __packed;

/* Largest record: one that has a block to itself. */
#define KHO_TABLE_RECORD_MAX						\
	(KHO_BLOCK_SIZE - sizeof(struct kho_block_header_ser) -		\
	 sizeof(struct kho_table_entry_ser))

/* Number of entries of a full block. */
#define KHO_TABLE_PER_BLOCK(record_size)				\
	((KHO_BLOCK_SIZE - sizeof(struct kho_block_header_ser)) /	\
	 (sizeof(struct kho_table_entry_ser) + (record_size)))

static_assert(sizeof(struct kho_table_block_ser) == 16);
static_assert(sizeof(struct kho_table_ser) == 64);
static_assert(offsetof(struct kho_table_ser, checksum) == 56);
static_assert(sizeof(struct kho_table_entry_ser) == 8);

#endif /* _LINUX_KHO_ABI_TABLE_H */
