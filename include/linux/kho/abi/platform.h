/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Platform ABI
 *
 * How platform devices are named in the table of devices that one kernel hands to the next
 * (include/linux/kho/abi/device.h), on the bus "platform".
 *
 * This interface is a contract. Any change of a field needs a new
 * %DEVICE_LIVEUPDATE_COMPATIBLE, or else no device is recognized.
 *
 * The identity is where the registers of the device are, that is, where its first memory
 * resource begins, behind the name of the device or of its node of firmware, as in
 * "virtio-mmio@feb00200". A device without registers is called by the path of its node, or
 * by its name and number, unless that was given in the order of registration: those have no
 * identity.
 *
 * The fingerprint is &struct platform_liveupdate_fingerprint.
 */

#ifndef _LINUX_KHO_ABI_PLATFORM_H
#define _LINUX_KHO_ABI_PLATFORM_H

#include <linux/build_bug.h>
#include <linux/kho/abi/device.h>
#include <linux/types.h>

/**
 * struct platform_liveupdate_fingerprint - what tells one platform device from another
 * @size: bytes of its first memory resource, 0 if it has none.
 * @reserved: zero.
 */
struct platform_liveupdate_fingerprint {
	u64 size;
	u8 reserved[DEVICE_LIVEUPDATE_FINGERPRINT_LEN - 8];
} __packed;

static_assert(sizeof(struct platform_liveupdate_fingerprint) ==
	      DEVICE_LIVEUPDATE_FINGERPRINT_LEN);

#endif /* _LINUX_KHO_ABI_PLATFORM_H */
