/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update DMA Buffers ABI
 *
 * The DMA buffers of the devices that run through a live update, handed from
 * kernel to kernel by the subsystem "dma".
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %DMA_LIVEUPDATE_COMPATIBLE and a
 * new version of the subsystem.
 *
 * The blob of the subsystem is the head of a table as described in
 * include/linux/kho/abi/table.h. A record of it that is invalid is of a buffer that
 * was taken out of the update after the table had been written.
 *
 * A buffer is known by its device, which is a position in the table of
 * include/linux/kho/abi/device.h of the same update, and by a tag that the driver
 * chose. It is one folio, preserved as such, outside of the scratch memory of KHO.
 * The device was given its address when it was set up and goes on to use it, so
 * the next kernel may only use the buffer if the device reaches it at that address
 * there, too.
 */

#ifndef _LINUX_KHO_ABI_DMA_H
#define _LINUX_KHO_ABI_DMA_H

#include <linux/build_bug.h>
#include <linux/kho/abi/table.h>
#include <linux/types.h>

#define DMA_LIVEUPDATE_COMPATIBLE	"luo-dma-v1"

/* More buffers than that are not handed over at once. */
#define DMA_LIVEUPDATE_MAX		524288

/**
 * struct dma_liveupdate_ser - a DMA buffer that is handed over
 * @phys: physical address of a preserved folio of @order, aligned to its size.
 * @dma: address at which the device reaches it.
 * @device: position of the device in the table of devices.
 * @tag: name of the buffer, unique among those of the device.
 * @order: binary logarithm of the number of pages, at most MAX_PAGE_ORDER.
 * @reserved: zero.
 */
struct dma_liveupdate_ser {
	u64 phys;
	u64 dma;
	u32 device;
	u32 tag;
	u32 order;
	u32 reserved;
} __packed;

static_assert(sizeof(struct dma_liveupdate_ser) == 32);

#endif /* _LINUX_KHO_ABI_DMA_H */
