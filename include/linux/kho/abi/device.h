/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Devices ABI
 *
 * The devices that run through a live update, handed from kernel to kernel by
 * the subsystem "devices".
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %DEVICE_LIVEUPDATE_COMPATIBLE and a
 * new version of the subsystem.
 *
 * The blob of the subsystem is the head of a table as described in
 * include/linux/kho/abi/table.h. Records of devices stand in the order of devices_kset,
 * so that a device comes after its parent and its suppliers.
 *
 * The providers of a device are its parent, the suppliers of its managed device links,
 * and what its bus says it depends on. All are in the table, and are named by position.
 * What is not the parent and does not fit into the record is in records behind those of
 * all devices, &struct device_liveupdate_more_ser, in a row for each device.
 *
 * A device is known by the record of its parent, by the name of its bus, by an @id that
 * the bus chose because it names the same hardware in the next kernel, and by a
 * @fingerprint of that hardware. What may drive it is known by @compatible and @version, which the
 * driver chose for what it saved. Names of drivers, names of devices and numbers
 * given in the order of enumeration are not handed over.
 *
 * A device that was lost when it was too late to stop the kexec is marked so, because
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

#define DEVICE_LIVEUPDATE_COMPATIBLE	"luo-devices-v3"

/* Longest name of a bus, with the terminating zero, and so on. */
#define DEVICE_LIVEUPDATE_BUS_LEN		24
#define DEVICE_LIVEUPDATE_ID_LEN		64
#define DEVICE_LIVEUPDATE_FINGERPRINT_LEN	64
#define DEVICE_LIVEUPDATE_DRIVER_LEN		32

/* More devices than that are not handed over at once. */
#define DEVICE_LIVEUPDATE_MAX			131072

/* With the records that continue others. */
#define DEVICE_LIVEUPDATE_RECORDS_MAX		(2 * DEVICE_LIVEUPDATE_MAX)

/* Providers that are named in the record of a device, and in each that continues it. */
#define DEVICE_LIVEUPDATE_PROVIDERS		3
#define DEVICE_LIVEUPDATE_MORE			18

/* Flags of a record. That of a device has only bits of DEVICE_LIVEUPDATE_SER_FLAGS. */
#define DEVICE_LIVEUPDATE_SER_PATH	BIT(0)
#define DEVICE_LIVEUPDATE_SER_BLOB	BIT(1)
#define DEVICE_LIVEUPDATE_SER_LOST	BIT(2)
#define DEVICE_LIVEUPDATE_SER_MORE	BIT(3)
#define DEVICE_LIVEUPDATE_SER_FLAGS	(DEVICE_LIVEUPDATE_SER_PATH | \
					 DEVICE_LIVEUPDATE_SER_BLOB | \
					 DEVICE_LIVEUPDATE_SER_LOST)

/**
 * struct device_liveupdate_ser - a device that is handed over
 * @bus: name of the bus.
 * @id: identity on the bus, unique among the devices of the bus with the same @parent.
 * @fingerprint: what tells this hardware from other hardware at the same place;
 *	its meaning is the bus's.
 * @parent: 1 + position of the nearest ancestor in the table, 0 if there is
 *	none. At most the position of the record.
 * @flags: DEVICE_LIVEUPDATE_SER_* bits.
 * @compatible: what the driver must be compatible with. Empty if
 *	%DEVICE_LIVEUPDATE_SER_PATH is set: such a device was kept alive for the
 *	sake of others and may be bound to any driver.
 * @version: version of what the driver saved, 1 or more; 0 on the path.
 * @nr_providers: number of providers beside the parent.
 * @value: physical address of a preserved folio if %DEVICE_LIVEUPDATE_SER_BLOB is
 *	set, otherwise a plain value.
 * @size: bytes at @value that hold data, 0 for a plain value.
 * @more: position of the first record with providers that are not in @providers; 0 if
 *	there is none.
 * @providers: positions of the providers, each below that of the record, zeroes behind
 *	them.
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
	u32 nr_providers;
	u64 value;
	u64 size;
	u32 more;
	u32 providers[DEVICE_LIVEUPDATE_PROVIDERS];
} __packed;

/**
 * struct device_liveupdate_more_ser - more providers of a device
 * @device: position of the device.
 * @nr: number of @providers, 1 or more; all of them, unless it is the last one.
 * @reserved: zeroes.
 * @flags: %DEVICE_LIVEUPDATE_SER_MORE, where other records have their flags.
 * @providers: as &device_liveupdate_ser.providers.
 */
struct device_liveupdate_more_ser {
	u32 device;
	u32 nr;
	u8 reserved[148];
	u32 flags;
	u32 providers[DEVICE_LIVEUPDATE_MORE];
} __packed;

static_assert(sizeof(struct device_liveupdate_ser) == 232);
static_assert(offsetof(struct device_liveupdate_ser, value) == 200);
static_assert(sizeof(struct device_liveupdate_more_ser) ==
	      sizeof(struct device_liveupdate_ser));
static_assert(offsetof(struct device_liveupdate_more_ser, flags) ==
	      offsetof(struct device_liveupdate_ser, flags));

#endif /* _LINUX_KHO_ABI_DEVICE_H */
