/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update PCI ABI
 *
 * How PCI functions are named in the table of devices that one kernel hands to the
 * next (include/linux/kho/abi/device.h), on the bus "pci".
 *
 * This interface is a contract. Any change of a field needs a new
 * %DEVICE_LIVEUPDATE_COMPATIBLE, or else no function is recognized.
 *
 * The identity is the address, as in "0000:03:00.0". It names the same hardware in
 * the next kernel because the bridges above a function are handed over with it, and
 * keep their bus numbers.
 *
 * The fingerprint is &struct pci_liveupdate_fingerprint. It is read from the
 * hardware, so that it can be compared before the next kernel writes to the
 * function, and covers what must not have changed: what is there, and where its
 * registers are.
 */

#ifndef _LINUX_KHO_ABI_PCI_H
#define _LINUX_KHO_ABI_PCI_H

#include <linux/build_bug.h>
#include <linux/kho/abi/device.h>
#include <linux/types.h>

/* Registers from the first BAR to the upper halves of the I/O window. */
#define PCI_LIVEUPDATE_LAYOUT_LEN	9

/**
 * struct pci_liveupdate_fingerprint - what tells one PCI function from another
 * @vendor: vendor ID.
 * @device: device ID.
 * @class: class code and revision.
 * @subsystem: subsystem vendor ID and, in the upper half, subsystem ID, of a type 0
 *	header; otherwise 0.
 * @header: header type, without the multi-function bit.
 * @reserved: zero.
 * @msix: number of MSI-X vectors, 0 if there is no such capability.
 * @serial: Device Serial Number, 0 if there is no such capability.
 * @layout: the registers that say where the function is, from the first BAR on: the six
 *	BARs of a type 0 header, and then zeroes. Of a type 1 header both BARs, bus
 *	numbers and windows, with the secondary latency timer and the secondary status
 *	taken as 0.
 * @padding: zero.
 */
struct pci_liveupdate_fingerprint {
	u16 vendor;
	u16 device;
	u32 class;
	u32 subsystem;
	u8 header;
	u8 reserved;
	u16 msix;
	u64 serial;
	u32 layout[PCI_LIVEUPDATE_LAYOUT_LEN];
	u32 padding;
} __packed;

static_assert(sizeof(struct pci_liveupdate_fingerprint) ==
	      DEVICE_LIVEUPDATE_FINGERPRINT_LEN);

#endif /* _LINUX_KHO_ABI_PCI_H */
