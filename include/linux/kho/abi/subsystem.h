/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Subsystems ABI
 *
 * What the state machine of the Live Update Orchestrator hands to the next
 * kernel: one header page and a table with a record for every participant.
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %LUO_SUBSYSTEMS_COMPATIBLE. A
 * kernel reads only the layout whose compatible string it knows.
 *
 * The header is found through the KHO subtree %LUO_SUBSYSTEMS_KHO_NAME. It
 * carries the physical address of the first block of a chain as described in
 * include/linux/kho/abi/block.h; each block holds up to
 * %LUO_SUBSYSTEMS_PER_BLOCK records. Records stand in the order in which the
 * participants were prepared, consumers before providers; the next kernel
 * restores them from the last to the first.
 *
 * Two CRC-32 (the polynomial of Ethernet, initial value and final inversion
 * all ones) guard the data. @table_crc covers every block of the chain from
 * the start of its header to the end of its last record, in chain order;
 * @header_crc covers the header up to itself. Both are final only while
 * @state is %LUO_SUBSYSTEMS_FROZEN.
 *
 * The reader uses no address before KHO confirms that it was handed over, no
 * record before both checksums match, and no string before it is known to be
 * terminated.
 */

#ifndef _LINUX_KHO_ABI_SUBSYSTEM_H
#define _LINUX_KHO_ABI_SUBSYSTEM_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/block.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* Name of the KHO subtree that points to &struct luo_subsystems_ser. */
#define LUO_SUBSYSTEMS_KHO_NAME		"luo-subsystems"
#define LUO_SUBSYSTEMS_COMPATIBLE	"luo-subsystems-v1"
#define LUO_SUBSYSTEMS_COMPAT_LEN	24

/* Longest name of a participant, with the terminating zero. */
#define LIVEUPDATE_SUBSYSTEM_NAME_LEN	48

/**
 * enum luo_subsystems_ser_state - how far the old kernel got
 * @LUO_SUBSYSTEMS_PREPARED: every participant is prepared; the old kernel may
 *	still change its data. Not a state to boot from.
 * @LUO_SUBSYSTEMS_FROZEN: every participant is frozen, the data is final.
 */
enum luo_subsystems_ser_state {
	LUO_SUBSYSTEMS_PREPARED	= 1,
	LUO_SUBSYSTEMS_FROZEN	= 2,
};

/**
 * struct luo_subsystems_ser - head of the table of participants
 * @compatible: %LUO_SUBSYSTEMS_COMPATIBLE, padded with zeroes.
 * @state: one of &enum luo_subsystems_ser_state.
 * @count: number of records in the table.
 * @records: physical address of the first block, 0 if @count is 0.
 * @table_crc: CRC-32 over the blocks.
 * @header_crc: CRC-32 over all fields above.
 */
struct luo_subsystems_ser {
	char compatible[LUO_SUBSYSTEMS_COMPAT_LEN];
	u32 state;
	u32 count;
	u64 records;
	u32 table_crc;
	u32 header_crc;
} __packed;

/* Flags of a record. A record with any other bit set is damaged. */
#define LUO_SUBSYSTEM_SER_MANDATORY	BIT(0)
#define LUO_SUBSYSTEM_SER_BLOB		BIT(1)
#define LUO_SUBSYSTEM_SER_FLAGS		(LUO_SUBSYSTEM_SER_MANDATORY | \
					 LUO_SUBSYSTEM_SER_BLOB)

/**
 * struct luo_subsystem_ser - what one participant hands over
 * @name: name of the participant, terminated and padded with zeroes.
 * @version: version of the data.
 * @flags: LUO_SUBSYSTEM_SER_* bits.
 * @value: physical address of a preserved folio if %LUO_SUBSYSTEM_SER_BLOB is
 *	set, otherwise a plain value.
 * @size: bytes at @value that hold data, 0 for a plain value.
 *
 * The level of a participant is not handed over: the next kernel restores by
 * its own levels, and uses the order of the records inside a level.
 */
struct luo_subsystem_ser {
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	u32 version;
	u32 flags;
	u64 value;
	u64 size;
} __packed;

#define LUO_SUBSYSTEMS_PER_BLOCK \
	((KHO_BLOCK_SIZE - sizeof(struct kho_block_header_ser)) / \
	 sizeof(struct luo_subsystem_ser))

static_assert(sizeof(LUO_SUBSYSTEMS_COMPATIBLE) <= LUO_SUBSYSTEMS_COMPAT_LEN);
static_assert(sizeof(struct luo_subsystems_ser) == 48);
static_assert(offsetof(struct luo_subsystems_ser, header_crc) == 44);
static_assert(sizeof(struct luo_subsystem_ser) == 72);

#endif /* _LINUX_KHO_ABI_SUBSYSTEM_H */
