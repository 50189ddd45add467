/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Devices ABI
 *
 * The devices that run through a live update, handed from kernel to kernel by
 * the participant "devices".
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %DEVICE_LIVEUPDATE_COMPATIBLE and a
 * new version of the participant.
 *
 * The blob of the participant is the head of a table as described in
 * include/linux/kho/abi/table.h. Records stand in the order of devices_kset, so that
 * a device comes after its parent and its suppliers.
 *
 * A device is known by the name of its bus, by an @id that the bus chose because
 * it names the same hardware in the next kernel, and by a @fingerprint of that
 * hardware. What may drive it is known by @compatible and @version, which the
 * driver chose for what it saved. Names of drivers, names of devices and numbers
 * given in the order of enumeration are not handed over.
 *
 * A device that was lost when it was too late to stop the jump is marked so, because
 * it may run. If a block of the table is corrupted, what its records say is unverified.
 * The bus, @id and @fingerprint that are in such a record serve one purpose: a device
 * to which all three of them apply must not go on.
 */

#ifndef _LINUX_KHO_ABI_DEVICE_H
#define _LINUX_KHO_ABI_DEVICE_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/table.h>
#include <linux/stddef.h>
#include <linux/types.h>

#define DEVICE_LIVEUPDATE_COMPATIBLE	"luo-devices-v1"

/* Longest name of a bus, with the terminating zero, and so on. */
#define DEVICE_LIVEUPDATE_BUS_LEN		24
#define DEVICE_LIVEUPDATE_ID_LEN		64
#define DEVICE_LIVEUPDATE_FINGERPRINT_LEN	64
#define DEVICE_LIVEUPDATE_DRIVER_LEN		48

/* More devices than that are not handed over at once. */
#define DEVICE_LIVEUPDATE_MAX			131072

/* Flags of a record. A record with any other bit set is not valid. */
#define DEVICE_LIVEUPDATE_SER_PATH	BIT(0)
#define DEVICE_LIVEUPDATE_SER_BLOB	BIT(1)
#define DEVICE_LIVEUPDATE_SER_LOST	BIT(2)
#define DEVICE_LIVEUPDATE_SER_FLAGS	(DEVICE_LIVEUPDATE_SER_PATH | \
					 DEVICE_LIVEUPDATE_SER_BLOB | \
					 DEVICE_LIVEUPDATE_SER_LOST)

/**
 * struct device_liveupdate_ser - a device that is handed over
 * @bus: name of the bus.
 * @id: identity on the bus, unique among the devices of the bus.
 * @fingerprint: what tells this hardware from other hardware at the same place;
 *	its meaning is the bus's.
 * @parent: 1 + position of the nearest ancestor in the table, 0 if there is
 *	none. At most the position of the record.
 * @flags: DEVICE_LIVEUPDATE_SER_* bits.
 * @compatible: what the driver must be compatible with. Empty if
 *	%DEVICE_LIVEUPDATE_SER_PATH is set: such a device was kept alive for the
 *	sake of others and may be bound to any driver.
 * @version: version of what the driver saved, 1 or more; 0 on the path.
 * @reserved: zero.
 * @value: physical address of a preserved folio if %DEVICE_LIVEUPDATE_SER_BLOB is
 *	set, otherwise a plain value.
 * @size: bytes at @value that hold data, 0 for a plain value.
 *
 * Strings are terminated and padded with zeroes.
 */
struct device_liveupdate_ser {
	char bus[DEVICE_LIVEUPDATE_BUS_LEN];
	char id[DEVICE_LIVEUPDATE_ID_LEN];
	u8 fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
	u32 parent;
	u32 flags;
	char compatible[DEVICE_LIVEUPDATE_DRIVER_LEN];
	u32 version;
	u32 reserved;
	u64 value;
	u64 size;
} __packed;

static_assert(sizeof(struct device_liveupdate_ser) == 232);
static_assert(offsetof(struct device_liveupdate_ser, value) == 216);

#endif /* _LINUX_KHO_ABI_DEVICE_H */
