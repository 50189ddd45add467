// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtio devices that this kernel hands over
 *
 * What is written down of a device and its virtqueues, and when. The idea, lifecycles and
 * contexts are in virtio_liveupdate_main.c.
 *
 * The blob is allocated in prepare, with room for as many buffers in flight as the
 * virtqueues can have, because freeze must not allocate. What changes while the device
 * works is written down when it is frozen: its virtqueues are stopped then, and nobody but
 * the device goes on with them.
 */

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_liveupdate.h>

#include "virtio_liveupdate.h"
#include "virtio_ring.h"

/**
 * virtio_liveupdate_state() - the part of the driver in what is handed over
 * @data: the data of the device
 *
 * Context: from virtio_liveupdate_prepare() on.
 * Return: as many bytes as were asked for then.
 */
void *virtio_liveupdate_state(const struct liveupdate_data *data)
{
	return liveupdate_data_blob(data) + sizeof(struct virtio_liveupdate_ser);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_state);

/**
 * virtio_liveupdate_prepare() - preserve the virtqueues of a device
 * @vdev: the device
 * @data: the data of the device, filled in
 * @size: bytes that the driver needs for itself
 *
 * For &dev_liveupdate_ops.prepare. If that fails afterwards it calls
 * virtio_liveupdate_cancel().
 *
 * Context: May sleep. device_lock held.
 * Return: 0; -E2BIG if there is too much to be handed over; -ENOMEM; or an error of
 * virtio_liveupdate_preserve().
 */
int virtio_liveupdate_prepare(struct virtio_device *vdev, struct liveupdate_data *data,
			      size_t size)
{
	const size_t driver_size = ALIGN(size, sizeof(u64));
	struct virtio_liveupdate_ser *ser;
	u32 nr_queues = 0, nr_buffers = 0;
	struct virtqueue *vq;
	size_t blob_size;
	int err;

	virtio_device_for_each_vq(vdev, vq) {
		nr_queues++;
		nr_buffers += to_vvq(vq)->split.vring.num;
	}
	blob_size = virtio_liveupdate_blob_size(driver_size, nr_queues, nr_buffers);
	ser = liveupdate_data_alloc(data, blob_size);
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	ser->version = VIRTIO_LIVEUPDATE_VERSION;
	ser->nr_queues = nr_queues;
	ser->driver_size = driver_size;
	virtio_features_copy(ser->features, vdev->features_array);

	virtio_device_for_each_vq(vdev, vq) {
		err = virtio_liveupdate_preserve(vdev, to_vvq(vq)->split.buffer);
		if (err) {
			virtio_liveupdate_cancel(vdev);
			return err;
		}
	}

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_prepare);

/**
 * virtio_liveupdate_cancel() - undo virtio_liveupdate_prepare()
 * @vdev: the device
 *
 * Context: May sleep. In &dev_liveupdate_ops.cancel, or in a prepare that fails.
 */
void virtio_liveupdate_cancel(struct virtio_device *vdev)
{
	struct virtqueue *vq;

	virtio_device_for_each_vq(vdev, vq)
		dma_liveupdate_unpreserve(to_vvq(vq)->split.buffer);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_cancel);

/* Is all that is in flight memory that is preserved, as far as that is known? */
static int virtio_liveupdate_check_in_flight(const struct vring_virtqueue *vq)
{
	const struct vring_virtqueue_split *split = &vq->split;
	u16 heads = 0;

	for (unsigned int head = 0; head < split->vring.num; head++) {
		const struct vring_desc_extra *extra;
		unsigned int i = head;

		if (!split->desc_state[head].data)
			continue;
		heads++;
		do {
			extra = &split->desc_extra[i];
			if (extra->flags & VRING_DESC_F_INDIRECT ||
			    extra->addr != DMA_MAPPING_ERROR) {
				dev_err(&vq->vq.vdev->dev, "liveupdate: %s: a buffer in flight is in memory that is not preserved\n",
					vq->vq.name);
				return -EBUSY;
			}
			i = extra->next;
		} while (extra->flags & VRING_DESC_F_NEXT);
	}

	return heads == (u16)(split->avail_idx_shadow - vq->last_used_idx) ? 0 : -EIO;
}

/*
 * &bus_liveupdate_ops.freeze. The driver adds no buffer any more. May sleep. In the
 * blackout. Returns 0; -EIO if a virtqueue does not work; -EBUSY if a buffer in flight is in
 * memory that is not preserved.
 */
int virtio_liveupdate_freeze(struct virtio_device *vdev)
{
	struct virtqueue *vq;
	int err = 0;

	virtio_device_for_each_vq(vdev, vq) {
		if (READ_ONCE(to_vvq(vq)->broken))
			return -EIO;
	}
	virtio_liveupdate_set_stopped(vdev, true);
	virtio_synchronize_cbs(vdev);
	virtio_device_for_each_vq(vdev, vq) {
		err = virtio_liveupdate_check_in_flight(to_vvq(vq));
		if (err)
			break;
	}
	if (err)
		virtio_liveupdate_resume(vdev);

	return err;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_freeze);

/* &bus_liveupdate_ops.thaw. May sleep. */
void virtio_liveupdate_thaw(struct virtio_device *vdev)
{
	virtio_liveupdate_resume(vdev);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_thaw);

/* Write down what is in flight on a virtqueue. Returns how many buffers. */
static u32 virtio_liveupdate_save_buffers(const struct virtio_liveupdate_ops *ops,
					  struct vring_virtqueue *vq,
					  struct virtio_liveupdate_buffer_ser *buffers)
{
	u32 count = 0;

	for (unsigned int head = 0; head < vq->split.vring.num; head++) {
		void *data = vq->split.desc_state[head].data;

		if (!data)
			continue;
		buffers[count].name = ops->name(&vq->vq, data);
		buffers[count].head = head;
		buffers[count++].reserved = 0;
	}

	return count;
}

/**
 * virtio_liveupdate_save() - write down how the virtqueues of a device stand
 * @vdev: the device
 * @data: the data of the device
 *
 * For &dev_liveupdate_ops.freeze_late: no callback runs, and nothing is added.
 *
 * Context: May sleep. In the blackout.
 */
void virtio_liveupdate_save(struct virtio_device *vdev, const struct liveupdate_data *data)
{
	const struct virtio_liveupdate_ops *ops = virtio_liveupdate_ops(vdev);
	struct virtio_liveupdate_ser *ser = liveupdate_data_blob(data);
	struct virtio_liveupdate_queue_ser *queue = virtio_liveupdate_queues(ser);
	struct virtio_liveupdate_buffer_ser *buffers = virtio_liveupdate_buffers(ser);
	struct virtqueue *_vq;

	ser->nr_buffers = 0;
	virtio_device_for_each_vq(vdev, _vq) {
		struct vring_virtqueue *vq = to_vvq(_vq);

		queue->tag = vq->split.tag;
		queue->align = vq->split.vring_align;
		queue->index = _vq->index;
		queue->num = vq->split.vring.num;
		queue->num_max = _vq->num_max;
		queue->avail_idx = vq->split.avail_idx_shadow;
		queue->last_used_idx = vq->last_used_idx;
		queue->avail_flags = vq->split.avail_flags_shadow;
		queue->nr_buffers = virtio_liveupdate_save_buffers(ops, vq,
								   buffers + ser->nr_buffers);
		ser->nr_buffers += queue->nr_buffers;
		queue++;
	}
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_save);
