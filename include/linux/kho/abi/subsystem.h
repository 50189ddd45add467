/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Subsystems ABI
 *
 * What the state machine of the Live Update Orchestrator hands to the next
 * kernel: a record for every subsystem.
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %LUO_SUBSYSTEMS_COMPATIBLE. A
 * kernel reads only the layout whose compatible string it knows.
 *
 * It is a table as described in include/linux/kho/abi/table.h, found through the
 * KHO subtree %LUO_SUBSYSTEMS_KHO_NAME, which carries its head. Records stand in the
 * order in which the subsystems were prepared, consumers before providers; the
 * next kernel restores them from the last to the first.
 *
 * The table is sealed only while every subsystem is frozen. The reader uses none
 * of it if any part is corrupted or missing, and no string before it is known to be
 * terminated.
 */

#ifndef _LINUX_KHO_ABI_SUBSYSTEM_H
#define _LINUX_KHO_ABI_SUBSYSTEM_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/table.h>
#include <linux/types.h>

/* Name of the KHO subtree that carries the head of the table. */
#define LUO_SUBSYSTEMS_KHO_NAME		"luo-subsystems"
#define LUO_SUBSYSTEMS_COMPATIBLE	"luo-subsystems-v1"
#define LUO_SUBSYSTEMS_COMPAT_LEN	24

/* Longest name of a subsystem, with the terminating zero. */
#define LIVEUPDATE_SUBSYSTEM_NAME_LEN	48

/* Flags of a record. A record with any other bit set is not valid. */
#define LUO_SUBSYSTEM_SER_MANDATORY	BIT(0)
#define LUO_SUBSYSTEM_SER_BLOB		BIT(1)
#define LUO_SUBSYSTEM_SER_FLAGS		(LUO_SUBSYSTEM_SER_MANDATORY | \
					 LUO_SUBSYSTEM_SER_BLOB)

/**
 * struct luo_subsystem_ser - what one subsystem hands over
 * @name: name of the subsystem, terminated and padded with zeroes.
 * @version: version of the data.
 * @flags: LUO_SUBSYSTEM_SER_* bits.
 * @value: physical address of a preserved folio if %LUO_SUBSYSTEM_SER_BLOB is
 *	set, otherwise a plain value.
 * @size: bytes at @value that hold data, 0 for a plain value.
 *
 * The level of a subsystem is not handed over: the next kernel restores by
 * its own levels, and uses the order of the records inside a level.
 */
struct luo_subsystem_ser {
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	u32 version;
	u32 flags;
	u64 value;
	u64 size;
} __packed;

static_assert(sizeof(LUO_SUBSYSTEMS_COMPATIBLE) <= LUO_SUBSYSTEMS_COMPAT_LEN);
static_assert(sizeof(struct luo_subsystem_ser) == 72);

#endif /* _LINUX_KHO_ABI_SUBSYSTEM_H */
