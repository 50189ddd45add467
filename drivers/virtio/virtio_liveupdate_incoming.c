// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtio devices that the previous kernel left running
 *
 * Takes over a device and its virtqueues. The idea, lifecycles and contexts are in
 * virtio_liveupdate_main.c.
 *
 * Nothing that the previous kernel left is relied on. The record is validated as a whole
 * before the driver is probed. A virtqueue is validated when it is found: the descriptors
 * in flight are copied from the ring, each once, with chains that end and do not meet, and
 * are compared with the buffers that the driver knows. The free list is what remains.
 * If one of them is wrong the probe fails, and the device is quarantined.
 */

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_liveupdate.h>

#include "virtio_liveupdate.h"
#include "virtio_ring.h"

/**
 * virtio_liveupdate_is_taken_over() - is this device one that runs since the last kernel?
 * @vdev: the device, which is being probed
 *
 * Context: probe(). From the beginning until virtio_device_ready().
 * Return: true if so, and what is known of it is used instead of setting it up.
 */
bool virtio_liveupdate_is_taken_over(const struct virtio_device *vdev)
{
	return vdev->liveupdate;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_is_taken_over);

/*
 * A device is about to be registered. May sleep. Returns true if the previous kernel
 * handed it over: it must not be reset, and its status not be written.
 */
bool virtio_liveupdate_recognize(struct virtio_device *vdev)
{
	const struct bus_type *bus = vdev->dev.bus;
	struct device_liveupdate_id id = {};

	virtio_liveupdate_identify(&vdev->dev, &id);
	vdev->liveupdate_running = device_liveupdate_is_pending(bus, vdev->dev.parent, &id);

	return vdev->liveupdate_running;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_recognize);

/* The record */

static bool virtio_liveupdate_queue_valid(const struct virtio_liveupdate_queue_ser *queue)
{
	return is_power_of_2(queue->num) && queue->num_max >= queue->num &&
	       is_power_of_2(queue->align) && queue->align <= PAGE_SIZE &&
	       queue->align >= VRING_USED_ALIGN_SIZE &&
	       queue->tag >> 1 == queue->index &&
	       !(queue->avail_flags & ~VRING_AVAIL_F_NO_INTERRUPT) &&
	       queue->nr_buffers <= queue->num &&
	       queue->nr_buffers == (u16)(queue->avail_idx - queue->last_used_idx);
}

/* Does all that it says lie within the blob, and fit together? */
static bool virtio_liveupdate_valid(const struct liveupdate_data *data)
{
	struct virtio_liveupdate_ser *ser = liveupdate_data_blob(data);
	const struct virtio_liveupdate_queue_ser *queues;
	u64 nr_buffers = 0;

	if (data->size < sizeof(*ser) || ser->version != VIRTIO_LIVEUPDATE_VERSION ||
	    !IS_ALIGNED(ser->driver_size, sizeof(u64)) ||
	    virtio_liveupdate_blob_size(ser->driver_size, ser->nr_queues,
					ser->nr_buffers) > data->size)
		return false;
	queues = virtio_liveupdate_queues(ser);
	for (u32 i = 0; i < ser->nr_queues; i++) {
		if (!virtio_liveupdate_queue_valid(&queues[i]))
			return false;
		for (u32 j = 0; j < i; j++) {
			if (queues[j].index == queues[i].index)
				return false;
		}
		nr_buffers += queues[i].nr_buffers;
	}

	return nr_buffers == ser->nr_buffers;
}

/*
 * A device is about to be probed. May sleep. device_lock held. Returns 1 if it is taken
 * over; 0 if it is one like any other; -EINVAL if what was handed over is not valid, or the
 * device is not as it was left.
 */
int virtio_liveupdate_take_over(struct virtio_device *vdev)
{
	const struct liveupdate_data *data;
	u32 version;
	u8 status;

	data = device_liveupdate_retrieve(&vdev->dev, &version);
	if (!data) {
		/* It runs, but its record went away before the device was added. */
		if (vdev->liveupdate_running)
			virtio_liveupdate_quarantine(&vdev->dev);
		return 0;
	}

	status = vdev->config->get_status(vdev);
	if (status != VIRTIO_LIVEUPDATE_STATUS) {
		dev_err(&vdev->dev, "liveupdate: its status is %#x\n", status);
		return -EINVAL;
	}
	if (!vdev->config->poll_vqs || !virtio_liveupdate_ops(vdev) ||
	    !virtio_liveupdate_valid(data)) {
		dev_err(&vdev->dev, "liveupdate: what was handed over is not valid\n");
		return -EINVAL;
	}
	vdev->liveupdate = data;

	return 1;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_take_over);

/*
 * Use the features that were negotiated. @offered are those of the device, @supported those
 * of the driver. May sleep. In the probe. Returns 0 or -EINVAL.
 */
int virtio_liveupdate_negotiated(struct virtio_device *vdev, const u64 *offered,
				 const u64 *supported)
{
	const struct virtio_liveupdate_ser *ser = liveupdate_data_blob(vdev->liveupdate);
	u64 features[VIRTIO_FEATURES_U64S];

	virtio_features_copy(features, ser->features);
	for (unsigned int i = 0; i < VIRTIO_FEATURES_BITS; i++) {
		bool ours = i >= VIRTIO_TRANSPORT_F_START && i < VIRTIO_TRANSPORT_F_END ?
			    virtio_liveupdate_is_carried(i) :
			    virtio_features_test_bit(supported, i);

		if (!virtio_features_test_bit(features, i) ||
		    (ours && virtio_features_test_bit(offered, i)))
			continue;
		dev_err(&vdev->dev, "liveupdate: feature %u was negotiated\n", i);
		return -EINVAL;
	}
	if (!virtio_features_test_bit(features, VIRTIO_F_VERSION_1))
		return -EINVAL;
	virtio_features_copy(vdev->features_array, features);

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_negotiated);

/**
 * virtio_liveupdate_retrieve() - the part of the driver in what was handed over
 * @vdev: the device
 * @size: bytes that the driver expects
 *
 * Context: probe(), with device_lock held.
 * Return: at least @size bytes, valid until &dev_liveupdate_ops.finish returned, whose
 * content is for the driver to validate; NULL if the device was not handed over, and is to
 * be set up as ever; ERR_PTR() of -EINVAL if there are fewer, then the probe must fail.
 */
const void *virtio_liveupdate_retrieve(struct virtio_device *vdev, size_t size)
{
	const struct virtio_liveupdate_ser *ser;

	if (!virtio_liveupdate_is_taken_over(vdev))
		return NULL;
	ser = liveupdate_data_blob(vdev->liveupdate);
	if (ser->driver_size < size)
		return ERR_PTR(-EINVAL);

	return virtio_liveupdate_state(vdev->liveupdate);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_retrieve);

/* Virtqueues */

/* The record of a virtqueue, and the first of its buffers. Returns NULL if there is none. */
static const struct virtio_liveupdate_queue_ser *
virtio_liveupdate_find_queue(struct virtio_device *vdev, unsigned int index,
			     const struct virtio_liveupdate_buffer_ser **buffers)
{
	struct virtio_liveupdate_ser *ser = liveupdate_data_blob(vdev->liveupdate);
	const struct virtio_liveupdate_queue_ser *queues = virtio_liveupdate_queues(ser);

	*buffers = virtio_liveupdate_buffers(ser);
	for (u32 i = 0; i < ser->nr_queues; i++) {
		if (queues[i].index == index)
			return &queues[i];
		*buffers += queues[i].nr_buffers;
	}

	return NULL;
}

/*
 * Take over the ring of virtqueue @index, which has @num descriptors, as its transport says,
 * or fewer, if the transport only knows how many there can be. May sleep. In the probe.
 * Returns 0; -ENOENT if it was not handed over; -EINVAL if it has more; or an error of
 * dma_liveupdate_retrieve_for().
 */
int virtio_liveupdate_retrieve_ring(struct virtio_device *vdev, unsigned int index,
				    unsigned int num, struct vring_virtqueue_split *split)
{
	const struct virtio_liveupdate_buffer_ser *buffers;
	const struct virtio_liveupdate_queue_ser *queue;
	size_t size;

	queue = virtio_liveupdate_find_queue(vdev, index, &buffers);
	if (!queue)
		return -ENOENT;
	if (queue->num > num)
		return -EINVAL;
	size = vring_size(queue->num, queue->align);
	split->buffer = virtio_liveupdate_get_memory(vdev, size, queue->tag);
	if (IS_ERR(split->buffer))
		return PTR_ERR(split->buffer);
	split->tag = queue->tag;
	split->vring_align = queue->align;
	split->queue_dma_addr = split->buffer->dma;
	split->queue_size_in_bytes = size;
	vring_init(&split->vring, queue->num, split->buffer->address, queue->align);

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_retrieve_ring);

/*
 * Copy the descriptors of a buffer, and mark them in @used. The copy is what counts from
 * here on, as for those that were added. Returns the bytes they lead to, or -EINVAL.
 */
static s64 virtio_liveupdate_load_chain(struct vring_virtqueue *vq, unsigned int head,
					unsigned long *used)
{
	struct vring_virtqueue_split *split = &vq->split;
	struct virtio_device *vdev = vq->vq.vdev;
	unsigned int i = head;
	s64 len = 0;

	for (;;) {
		const struct vring_desc *desc;
		struct vring_desc_extra *extra;

		/* No descriptor is there twice, so this ends. */
		if (i >= split->vring.num || __test_and_set_bit(i, used))
			return -EINVAL;
		desc = &split->vring.desc[i];
		extra = &split->desc_extra[i];
		extra->addr = DMA_MAPPING_ERROR;
		extra->len = virtio32_to_cpu(vdev, READ_ONCE(desc->len));
		extra->flags = virtio16_to_cpu(vdev, READ_ONCE(desc->flags));
		len += extra->len;
		vq->vq.num_free--;
		if (extra->flags & ~(VRING_DESC_F_NEXT | VRING_DESC_F_WRITE))
			return -EINVAL;
		if (!(extra->flags & VRING_DESC_F_NEXT))
			return len;
		extra->next = virtio16_to_cpu(vdev, READ_ONCE(desc->next));
		i = extra->next;
	}
}

static int virtio_liveupdate_load_buffer(struct vring_virtqueue *vq,
					 const struct virtio_liveupdate_buffer_ser *buffer,
					 unsigned long *used)
{
	struct virtio_device *vdev = vq->vq.vdev;
	s64 len;
	u64 addr;
	void *data;

	if (buffer->reserved)
		return -EINVAL;
	len = virtio_liveupdate_load_chain(vq, buffer->head, used);
	if (len < 0 || len > U32_MAX)
		return -EINVAL;
	addr = virtio64_to_cpu(vdev, READ_ONCE(vq->split.vring.desc[buffer->head].addr));
	data = virtio_liveupdate_ops(vdev)->claim(&vq->vq, buffer->name, addr, len);
	if (!data)
		return -EINVAL;
	vq->split.desc_state[buffer->head].data = data;

	return 0;
}

static int virtio_liveupdate_compare(const void *a, const void *b)
{
	const u32 *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* May sleep. Returns 0; -EINVAL if two buffers have one name; -ENOMEM. */
static int virtio_liveupdate_check_names(const struct virtio_liveupdate_buffer_ser *buffers,
					 u32 count)
{
	u32 *names __free(kvfree) = kvmalloc_objs(*names, count);

	if (!names)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++)
		names[i] = buffers[i].name;
	sort(names, count, sizeof(*names), virtio_liveupdate_compare, NULL);
	for (u32 i = 1; i < count; i++) {
		if (names[i] == names[i - 1])
			return -EINVAL;
	}

	return 0;
}

/* Link what is not in flight, and begin with the first of it. */
static void virtio_liveupdate_link_free(struct vring_virtqueue *vq, const unsigned long *used)
{
	unsigned int num = vq->split.vring.num, last = num, i;

	vq->free_head = 0;
	for_each_clear_bit(i, used, num) {
		if (last == num)
			vq->free_head = i;
		else
			vq->split.desc_extra[last].next = i;
		last = i;
	}
}

/*
 * Bring a virtqueue to where it was. It is a new one on a ring of
 * virtio_liveupdate_retrieve_ring(), and is stopped afterwards. May sleep. In the probe.
 * Returns 0; -EINVAL if the ring, or what was handed over of it, is not valid; -ENOMEM.
 */
int virtio_liveupdate_load(struct vring_virtqueue *vq)
{
	const struct virtio_liveupdate_buffer_ser *buffers;
	const struct virtio_liveupdate_queue_ser *queue;
	struct vring *vring = &vq->split.vring;
	struct virtio_device *vdev = vq->vq.vdev;
	u16 avail_idx, nr_used;
	int err;

	unsigned long *used __free(bitmap) = bitmap_zalloc(vring->num, GFP_KERNEL);
	if (!used)
		return -ENOMEM;

	queue = virtio_liveupdate_find_queue(vdev, vq->vq.index, &buffers);
	if (!queue)
		return -EINVAL;

	vq->broken = true;
	avail_idx = virtio16_to_cpu(vdev, READ_ONCE(vring->avail->idx));
	nr_used = virtio16_to_cpu(vdev, READ_ONCE(vring->used->idx)) - queue->last_used_idx;
	if (avail_idx != queue->avail_idx || nr_used > queue->nr_buffers)
		return -EINVAL;

	err = virtio_liveupdate_check_names(buffers, queue->nr_buffers);
	if (err)
		return err;
	for (u32 i = 0; i < queue->nr_buffers; i++) {
		err = virtio_liveupdate_load_buffer(vq, &buffers[i], used);
		if (err)
			return err;
	}
	virtio_liveupdate_link_free(vq, used);
	vq->last_used_idx = queue->last_used_idx;
	vq->split.avail_idx_shadow = queue->avail_idx;
	vq->split.avail_flags_shadow = queue->avail_flags;
	if (!vq->event)
		vring->avail->flags = cpu_to_virtio16(vdev, queue->avail_flags);
	vq->vq.num_max = queue->num_max;

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_load);

/*
 * The driver is ready. If its device is being taken over, that is done with this. May
 * sleep. In the probe. Returns true if it is, and DRIVER_OK has been set by the last kernel.
 */
bool virtio_liveupdate_ready(struct virtio_device *vdev)
{
	if (!virtio_liveupdate_is_taken_over(vdev))
		return false;

	vdev->liveupdate = NULL;
	vdev->liveupdate_running = false;
	/* Nobody knows whether it has. The bus tells the driver when it is bound. */
	scoped_guard(spinlock_irq, &vdev->config_lock)
		vdev->config_change_pending = true;
	virtio_liveupdate_resume(vdev);

	return true;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_ready);

/* The probe is over. Any. device_lock held. */
void virtio_liveupdate_probed(struct virtio_device *vdev)
{
	vdev->liveupdate = NULL;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_probed);
