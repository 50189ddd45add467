/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update DMA Buffers ABI
 *
 * The DMA buffers of the devices that run through a live update, handed from
 * kernel to kernel by the participant "dma".
 *
 * This interface is a contract. Any change of a field, of a constant or of the
 * layout of the structures below needs a new %DMA_LIVEUPDATE_COMPATIBLE and a
 * new version of the participant.
 *
 * The blob of the participant is &struct dma_liveupdate_table_ser. It carries
 * the physical address of the first block of a chain as described in
 * include/linux/kho/abi/block.h; each block but the last is full and holds
 * %DMA_LIVEUPDATE_PER_BLOCK records.
 *
 * A buffer is known by its device, which is a position in the table of
 * include/linux/kho/abi/device.h of the same update, and by a tag that the driver
 * chose. It is one folio, preserved as such, outside of the scratch memory of KHO.
 * The device was given its address when it was set up and goes on to use it, so
 * the next kernel may only use the buffer if the device reaches it at that address
 * there, too.
 *
 * A checksum is the lower half of XXH64 with the seed 0. Each record has its own, so
 * that a damaged one costs one buffer. The address and size of the chain are guarded
 * by @checksum of the table, the position of a record by @index in it. A record
 * of nothing but zeroes is void: the buffer was taken out of the update after the
 * table had been written.
 */

#ifndef _LINUX_KHO_ABI_DMA_H
#define _LINUX_KHO_ABI_DMA_H

#include <linux/build_bug.h>
#include <linux/kho/abi/block.h>
#include <linux/stddef.h>
#include <linux/types.h>

#define DMA_LIVEUPDATE_COMPATIBLE	"luo-dma-v1"
#define DMA_LIVEUPDATE_COMPAT_LEN	16

/* More buffers than that are not handed over at once. */
#define DMA_LIVEUPDATE_MAX		524288

/**
 * struct dma_liveupdate_table_ser - head of the table of DMA buffers
 * @compatible: %DMA_LIVEUPDATE_COMPATIBLE, padded with zeroes.
 * @count: number of records, at most %DMA_LIVEUPDATE_MAX.
 * @checksum: checksum over this struct with @checksum taken as 0.
 * @records: physical address of the first block, 0 if @count is 0.
 */
struct dma_liveupdate_table_ser {
	char compatible[DMA_LIVEUPDATE_COMPAT_LEN];
	u32 count;
	u32 checksum;
	u64 records;
} __packed;

/**
 * struct dma_liveupdate_ser - a DMA buffer that is handed over
 * @phys: physical address of a preserved folio of @order, aligned to its size.
 * @dma: address at which the device reaches it.
 * @device: position of the device in the table of devices.
 * @tag: name of the buffer, unique among those of the device.
 * @order: binary logarithm of the number of pages, at most MAX_PAGE_ORDER.
 * @index: position in the table, from 0.
 * @reserved: zero.
 * @checksum: checksum over all fields above.
 */
struct dma_liveupdate_ser {
	u64 phys;
	u64 dma;
	u32 device;
	u32 tag;
	u32 order;
	u32 index;
	u32 reserved;
	u32 checksum;
} __packed;

#define DMA_LIVEUPDATE_PER_BLOCK \
	((KHO_BLOCK_SIZE - sizeof(struct kho_block_header_ser)) / \
	 sizeof(struct dma_liveupdate_ser))

static_assert(sizeof(DMA_LIVEUPDATE_COMPATIBLE) <= DMA_LIVEUPDATE_COMPAT_LEN);
static_assert(sizeof(struct dma_liveupdate_table_ser) == 32);
static_assert(sizeof(struct dma_liveupdate_ser) == 40);
static_assert(offsetof(struct dma_liveupdate_ser, checksum) == 36);

#endif /* _LINUX_KHO_ABI_DMA_H */
