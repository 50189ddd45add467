/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Virtio drivers in a live update
 *
 * A virtio device that runs through a live update is neither reset nor negotiated with
 * again: its rings stay where they are, and buffers that one kernel made available are
 * used by the device whenever it likes and found by the next kernel. The bus and the
 * rings do what is the same for all devices. What a driver adds:
 *
 * * &virtio_driver.liveupdate, which names buffers in flight, and
 *   &device_driver.liveupdate, as any driver (include/linux/liveupdate/device.h). The
 *   driver declares &dev_liveupdate_ops.dma_api_only.
 * * Every buffer that may be in flight when the device is frozen is memory of
 *   virtio_liveupdate_alloc(), and is added with virtqueue_add_inbuf_premapped() or
 *   virtqueue_add_outbuf_premapped(). If there is no such memory the driver uses other
 *   memory as ever, and refuses in its prepare.
 * * prepare calls virtio_liveupdate_prepare() and cancel virtio_liveupdate_cancel(), both
 *   also preserve or unpreserve what else the device reaches.
 * * freeze makes sure that nobody adds buffers or kicks any more, and thaw allows it
 *   again. In between the virtqueues are stopped. freeze_late calls
 *   virtio_liveupdate_save(), after it has filled in virtio_liveupdate_state().
 * * probe() calls virtio_liveupdate_retrieve(). If the device was handed over it takes its
 *   buffers with virtio_liveupdate_alloc(), finds its virtqueues as ever, and leaves out
 *   what sets the device up. Nothing happens on the virtqueues until
 *   virtio_device_ready(), and then all that the device has used since.
 *
 * .. code-block:: c
 *
 *	static int frob_prepare(struct device *dev, struct liveupdate_data *data)
 *	{
 *		struct virtio_device *vdev = dev_to_virtio(dev);
 *		struct frob *frob = vdev->priv;
 *		int err;
 *
 *		if (!frob->buffer)
 *			return -EOPNOTSUPP;
 *		err = virtio_liveupdate_prepare(vdev, data, sizeof(struct frob_saved));
 *		if (err)
 *			return err;
 *		err = virtio_liveupdate_preserve(vdev, frob->buffer);
 *		if (err)
 *			virtio_liveupdate_cancel(vdev);
 *
 *		return err;
 *	}
 */

#ifndef _LINUX_VIRTIO_LIVEUPDATE_H
#define _LINUX_VIRTIO_LIVEUPDATE_H

#include <linux/err.h>
#include <linux/irqreturn.h>
#include <linux/types.h>

struct device;
struct device_liveupdate_id;
struct dma_liveupdate_buffer;
struct liveupdate_data;
struct virtio_device;
struct virtqueue;
struct vring_virtqueue;
struct vring_virtqueue_split;

/* Tags of the driver's own DMA buffers. Those below are of the virtqueues. */
#define VIRTIO_LIVEUPDATE_TAG(_n)	(0x20000U + (_n))

/**
 * struct virtio_liveupdate_ops - how a virtio driver names its buffers
 * @name: what is the name of this buffer, which was added to @vq and is in flight? It must
 *	be unique among those of the virtqueue. Called when the device is frozen.
 * @claim: in the next kernel, in virtio_find_vqs(): which buffer of @vq has this @name?
 *	Its first descriptor leads to @addr, and all of them together to @len bytes. Returns
 *	what virtqueue_get_buf() is to return; or NULL if there is no such buffer, or it has
 *	been claimed before, or it is elsewhere. It may be called several times for the same
 *	buffer if virtio_find_vqs() tries several ways to get interrupts: what counts is the
 *	last call. &virtio_device.priv is the driver's.
 */
struct virtio_liveupdate_ops {
	u32 (*name)(struct virtqueue *vq, void *data);
	void *(*claim)(struct virtqueue *vq, u32 name, dma_addr_t addr, u32 len);
};

/* How large a slot may be, and how many of them a virtqueue may have. */
#define VIRTIO_LIVEUPDATE_SLOT_MIN	64U
#define VIRTIO_LIVEUPDATE_SLOT_MAX	65536U
#define VIRTIO_LIVEUPDATE_SLOTS_MAX	32768U

/**
 * struct virtio_liveupdate_slot - a buffer among others of the same size
 * @address: where it is for the driver.
 * @dma: where it is for the device.
 */
struct virtio_liveupdate_slot {
	void *address;
	dma_addr_t dma;
};

/**
 * struct virtio_liveupdate_slots - buffers of one size, which are preserved together
 * @vdev: the device.
 * @nr: number of slots.
 * @size: bytes of each.
 * @next: where the next free one is looked for.
 * @nr_chunks: number of @chunks.
 * @taken: which slots are not free.
 * @chunks: the memory.
 * @slots: the slots.
 */
struct virtio_liveupdate_slots {
	struct virtio_device *vdev;
	u32 nr;
	u32 size;
	u32 next;
	u32 nr_chunks;
	unsigned long *taken;
	struct dma_liveupdate_buffer **chunks;
	struct virtio_liveupdate_slot slots[] __counted_by(nr);
};

/* For operations of drivers, which nobody refers to without the option. */
int virtio_liveupdate_prepare(struct virtio_device *vdev, struct liveupdate_data *data,
			      size_t size);
void virtio_liveupdate_cancel(struct virtio_device *vdev);
void *virtio_liveupdate_state(const struct liveupdate_data *data);
void virtio_liveupdate_save(struct virtio_device *vdev,
			    const struct liveupdate_data *data);
int virtio_liveupdate_preserve(struct virtio_device *vdev,
			       struct dma_liveupdate_buffer *buffer);
void virtio_liveupdate_unpreserve(struct dma_liveupdate_buffer *buffer);
int virtio_liveupdate_slots_preserve(struct virtio_liveupdate_slots *slots);
void virtio_liveupdate_slots_unpreserve(struct virtio_liveupdate_slots *slots);
u32 virtio_liveupdate_slot_name(const struct virtio_liveupdate_slots *slots,
				const struct virtio_liveupdate_slot *slot);
struct virtio_liveupdate_slot *
virtio_liveupdate_slot_claim(struct virtio_liveupdate_slots *slots, u32 name,
			     dma_addr_t addr, u32 len);

#ifdef CONFIG_VIRTIO_LIVEUPDATE

/* For drivers */
const void *virtio_liveupdate_retrieve(struct virtio_device *vdev, size_t size);
struct dma_liveupdate_buffer *virtio_liveupdate_alloc(struct virtio_device *vdev,
						      size_t size, u32 tag);
void virtio_liveupdate_free(struct dma_liveupdate_buffer *buffer);
struct virtio_liveupdate_slots *virtio_liveupdate_slots_alloc(struct virtio_device *vdev,
							      u32 nr, u32 size, u32 tag);
void virtio_liveupdate_slots_free(struct virtio_liveupdate_slots *slots);
struct virtio_liveupdate_slot *
virtio_liveupdate_slot_get(struct virtio_liveupdate_slots *slots);
void virtio_liveupdate_slot_put(struct virtio_liveupdate_slots *slots,
				struct virtio_liveupdate_slot *slot);

/* For transports */
bool virtio_liveupdate_is_taken_over(const struct virtio_device *vdev);
void virtio_liveupdate_handle(unsigned int irq,
			      irqreturn_t (*handler)(int irq, void *data), void *data);

/* For the bus */
int virtio_liveupdate_identify(struct device *dev, struct device_liveupdate_id *id);
int virtio_liveupdate_check(struct device *dev, const char **reason);
int virtio_liveupdate_freeze(struct virtio_device *vdev);
void virtio_liveupdate_thaw(struct virtio_device *vdev);
int virtio_liveupdate_quarantine(struct device *dev);
void virtio_liveupdate_stop(struct device *dev);
bool virtio_liveupdate_recognize(struct virtio_device *vdev);
int virtio_liveupdate_take_over(struct virtio_device *vdev);
int virtio_liveupdate_negotiated(struct virtio_device *vdev, const u64 *offered,
				 const u64 *supported);
bool virtio_liveupdate_ready(struct virtio_device *vdev);
void virtio_liveupdate_probed(struct virtio_device *vdev);

/* For the rings */
int virtio_liveupdate_check_change(struct virtio_device *vdev);
struct dma_liveupdate_buffer *virtio_liveupdate_alloc_ring(struct virtio_device *vdev,
							   size_t size, u32 tag);
int virtio_liveupdate_retrieve_ring(struct virtio_device *vdev, unsigned int index,
				    unsigned int num, struct vring_virtqueue_split *split);
int virtio_liveupdate_load(struct vring_virtqueue *vq);

#else /* CONFIG_VIRTIO_LIVEUPDATE */

static inline const void *virtio_liveupdate_retrieve(struct virtio_device *vdev,
						     size_t size)
{
	return NULL;
}

static inline struct dma_liveupdate_buffer *
virtio_liveupdate_alloc(struct virtio_device *vdev, size_t size, u32 tag)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void virtio_liveupdate_free(struct dma_liveupdate_buffer *buffer) { }

static inline struct virtio_liveupdate_slots *
virtio_liveupdate_slots_alloc(struct virtio_device *vdev, u32 nr, u32 size, u32 tag)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void virtio_liveupdate_slots_free(struct virtio_liveupdate_slots *slots) { }

static inline struct virtio_liveupdate_slot *
virtio_liveupdate_slot_get(struct virtio_liveupdate_slots *slots)
{
	return NULL;
}

static inline void virtio_liveupdate_slot_put(struct virtio_liveupdate_slots *slots,
					      struct virtio_liveupdate_slot *slot) { }

static inline bool virtio_liveupdate_is_taken_over(const struct virtio_device *vdev)
{
	return false;
}

static inline void virtio_liveupdate_handle(unsigned int irq,
					    irqreturn_t (*handler)(int irq, void *data),
					    void *data)
{
}

static inline bool virtio_liveupdate_recognize(struct virtio_device *vdev)
{
	return false;
}

static inline int virtio_liveupdate_take_over(struct virtio_device *vdev)
{
	return 0;
}

static inline int virtio_liveupdate_negotiated(struct virtio_device *vdev,
					       const u64 *offered, const u64 *supported)
{
	return -EOPNOTSUPP;
}

static inline bool virtio_liveupdate_ready(struct virtio_device *vdev)
{
	return false;
}

static inline void virtio_liveupdate_probed(struct virtio_device *vdev) { }

static inline int virtio_liveupdate_check_change(struct virtio_device *vdev)
{
	return 0;
}

static inline struct dma_liveupdate_buffer *
virtio_liveupdate_alloc_ring(struct virtio_device *vdev, size_t size, u32 tag)
{
	return NULL;
}

static inline int virtio_liveupdate_retrieve_ring(struct virtio_device *vdev,
						  unsigned int index, unsigned int num,
						  struct vring_virtqueue_split *split)
{
	return -EOPNOTSUPP;
}

static inline int virtio_liveupdate_load(struct vring_virtqueue *vq)
{
	return -EOPNOTSUPP;
}

#endif /* CONFIG_VIRTIO_LIVEUPDATE */

#endif /* _LINUX_VIRTIO_LIVEUPDATE_H */
