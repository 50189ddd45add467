/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Virtio ABI
 *
 * What the driver of a virtio device hands to its successor in the next kernel, as the
 * blob of its record in the table of devices (include/linux/kho/abi/device.h).
 *
 * This interface is a contract. Any change of a field, of a constant or of the layout of
 * the structures below needs a new %VIRTIO_LIVEUPDATE_VERSION. What the part of the driver
 * means is between the driver and its successor: it has the compatible string and the
 * version of the record of the device.
 *
 * On the bus "virtio" a device is known by its virtio device ID in decimal, among those
 * below the same transport, and its fingerprint is &struct virtio_liveupdate_fingerprint.
 *
 * The blob is, without gaps:
 *
 * 1. &struct virtio_liveupdate_ser,
 * 2. the part of the driver, %virtio_liveupdate_ser.driver_size bytes, a multiple of 8,
 * 3. &struct virtio_liveupdate_queue_ser, one for each virtqueue,
 * 4. &struct virtio_liveupdate_buffer_ser, one for each buffer in flight, those of one
 *    virtqueue one after the other, in the order of the virtqueues. The blob may be longer
 *    than that.
 *
 * A virtqueue is a split one, in one DMA buffer of the transport
 * (include/linux/kho/abi/dma.h). What the device writes to it, and where it lies, is not
 * repeated here: the descriptors in flight are read from the ring. A buffer that is in
 * flight is one of the driver, who gave it a name.
 */

#ifndef _LINUX_KHO_ABI_VIRTIO_H
#define _LINUX_KHO_ABI_VIRTIO_H

#include <linux/build_bug.h>
#include <linux/kho/abi/device.h>
#include <linux/types.h>

#define VIRTIO_LIVEUPDATE_VERSION	1

/* Words of feature bits. */
#define VIRTIO_LIVEUPDATE_FEATURES	2

/**
 * struct virtio_liveupdate_fingerprint - what tells one virtio device from another
 * @vendor: vendor ID.
 * @reserved: zero.
 */
struct virtio_liveupdate_fingerprint {
	u32 vendor;
	u8 reserved[DEVICE_LIVEUPDATE_FINGERPRINT_LEN - 4];
} __packed;

static_assert(sizeof(struct virtio_liveupdate_fingerprint) ==
	      DEVICE_LIVEUPDATE_FINGERPRINT_LEN);

/**
 * struct virtio_liveupdate_ser - a virtio device that is handed over
 * @version: %VIRTIO_LIVEUPDATE_VERSION.
 * @nr_queues: number of virtqueues.
 * @nr_buffers: number of buffers in flight on all of them.
 * @driver_size: bytes of the part of the driver.
 * @features: the features that were negotiated.
 */
struct virtio_liveupdate_ser {
	u32 version;
	u32 nr_queues;
	u32 nr_buffers;
	u32 driver_size;
	u64 features[VIRTIO_LIVEUPDATE_FEATURES];
} __packed;

static_assert(sizeof(struct virtio_liveupdate_ser) == 32);

/**
 * struct virtio_liveupdate_queue_ser - a split virtqueue that is handed over
 * @tag: tag of the DMA buffer that is its ring.
 * @align: alignment of the used ring in bytes, a power of two.
 * @index: which virtqueue of the device.
 * @num: number of descriptors, a power of two, as the device was told.
 * @num_max: how many the device can have.
 * @avail_idx: index behind the last available buffer, as the device sees it.
 * @last_used_idx: index of the next used buffer that is to be looked at.
 * @avail_flags: what the driver wants, as in the flags of the available ring, also if these
 *	are not used.
 * @nr_buffers: number of buffers in flight.
 */
struct virtio_liveupdate_queue_ser {
	u32 tag;
	u32 align;
	u16 index;
	u16 num;
	u16 num_max;
	u16 avail_idx;
	u16 last_used_idx;
	u16 avail_flags;
	u32 nr_buffers;
} __packed;

static_assert(sizeof(struct virtio_liveupdate_queue_ser) == 24);

/**
 * struct virtio_liveupdate_buffer_ser - a buffer in flight
 * @name: its name, given by the driver.
 * @head: its first descriptor.
 * @reserved: zero.
 */
struct virtio_liveupdate_buffer_ser {
	u32 name;
	u16 head;
	u16 reserved;
} __packed;

static_assert(sizeof(struct virtio_liveupdate_buffer_ser) == 8);

#endif /* _LINUX_KHO_ABI_VIRTIO_H */
