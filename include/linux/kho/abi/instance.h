/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Instances ABI
 *
 * What subsystems of a live update hand to the next kernel beside the one record that
 * each of them has (include/linux/kho/abi/subsystem.h): a record for each instance of
 * which they have many, such as virtual machines.
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %LUO_INSTANCES_COMPATIBLE. A
 * kernel reads only the layout whose compatible string it knows.
 *
 * There are two tables as described in include/linux/kho/abi/table.h: one with mandatory
 * instances, found through the KHO subtree %LUO_INSTANCES_KHO_MANDATORY, and one with
 * optional ones, found through %LUO_INSTANCES_KHO_OPTIONAL. So it is known of a record
 * that cannot be read what its loss means. A table is absent if there is nothing in it.
 *
 * Records stand in no particular order.
 */

#ifndef _LINUX_KHO_ABI_INSTANCE_H
#define _LINUX_KHO_ABI_INSTANCE_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/subsystem.h>
#include <linux/kho/abi/table.h>
#include <linux/types.h>

/* Names of the KHO subtrees that carry the heads of the tables. */
#define LUO_INSTANCES_KHO_OPTIONAL	"luo-instances-opt"
#define LUO_INSTANCES_KHO_MANDATORY	"luo-instances-mand"
#define LUO_INSTANCES_COMPATIBLE	"luo-instances-v1"

/*
 * Flags of a record. A record with any other bit set is not valid. That an instance is
 * lost says that the previous kernel knew that it cannot be restored; then there is no
 * data.
 */
#define LUO_INSTANCE_SER_BLOB		BIT(0)
#define LUO_INSTANCE_SER_LOST		BIT(1)
#define LUO_INSTANCE_SER_FLAGS		(LUO_INSTANCE_SER_BLOB | \
					 LUO_INSTANCE_SER_LOST)

/**
 * struct luo_instance_ser - what is handed over of one instance
 * @subsystem: name of the subsystem, terminated and padded with zeroes.
 * @key: number of the instance, unique for the subsystem.
 * @version: version of the data, of which the subsystem's is the highest.
 * @flags: LUO_INSTANCE_SER_* bits.
 * @value: physical address of a preserved folio if %LUO_INSTANCE_SER_BLOB is set,
 *	otherwise a plain value.
 * @size: bytes at @value that hold data, 0 for a plain value.
 */
struct luo_instance_ser {
	char subsystem[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	u64 key;
	u32 version;
	u32 flags;
	u64 value;
	u64 size;
} __packed;

static_assert(sizeof(LUO_INSTANCES_COMPATIBLE) <= KHO_TABLE_COMPAT_LEN);
static_assert(sizeof(struct luo_instance_ser) == 80);

#endif /* _LINUX_KHO_ABI_INSTANCE_H */
