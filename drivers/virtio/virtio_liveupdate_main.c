// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtio live update
 *
 * Keeps virtio devices running while one kernel replaces another: the virtio side of
 * drivers/base/liveupdate.c. What a driver does is in include/linux/virtio_liveupdate.h,
 * the format in include/linux/kho/abi/virtio.h.
 *
 * Concept
 *   A virtio device is two: the transport, such as a PCI function, which reaches memory,
 *   interrupts and can be reset, and what is on the virtio bus, whose driver knows what
 *   the memory is for. Neither goes on without the other: the device on the virtio bus
 *   comes along with its transport, and all memory is that of the transport.
 *
 *   The device is left as it is: it is not reset, its status is not written and its
 *   features are not negotiated again. Split virtqueues are taken over where they are.
 *   What only the driver knows of a virtqueue is handed over: two indices, whether it
 *   wants interrupts, and the name of each buffer in flight. The rest is in the ring.
 *
 *   Interrupts are not relied on. From freeze on until the next kernel is ready for them
 *   the device uses buffers without anybody being told, so each virtqueue is looked at
 *   then as if it had interrupted, and the configuration as if it had changed. The device
 *   is notified of what is available, in case it was not.
 *
 * Lifecycle in the old kernel
 *   1. Probed by a driver with live update: rings, and the buffers of the driver, are
 *      memory of dma_liveupdate_alloc(), if the transport can have such.
 *   2. Requested: virtio_liveupdate_check() said yes.
 *   3. Prepared: that memory is preserved. Virtqueues cannot be resized or reset.
 *   4. Frozen: the virtqueues are stopped (&vring_virtqueue.broken), no callback runs. The
 *      device goes on.
 *
 * Lifecycle in the next kernel
 *   1. register_virtio_device() recognizes the device and does not reset it.
 *   2. Its probe is deferred until the transport has been taken over.
 *   3. virtio_dev_probe() takes it over instead of negotiating. The virtqueues that the
 *      driver finds are the old ones, and stopped, until virtio_device_ready().
 *   4. Or it is quarantined, that is, reset through its transport.
 *
 *   Nothing that the previous kernel left is relied on: counts, indices, lengths and the
 *   descriptors in flight are validated before they are used, and if one of them is wrong
 *   the probe fails, and the device is quarantined.
 *
 * Contexts
 *   Those of &struct bus_liveupdate_ops and of the probe. The virtqueues of a device do
 *   not come and go meanwhile.
 *
 * Modules
 *   virtio and virtio_ring use this one, which uses neither.
 */

#include <linux/bottom_half.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_liveupdate.h>

#include "virtio_liveupdate.h"
#include "virtio_ring.h"

/* Features of rings and transports that can be carried over. */
static const unsigned int virtio_liveupdate_carried[] = {
	VIRTIO_RING_F_INDIRECT_DESC,
	VIRTIO_RING_F_EVENT_IDX,
	VIRTIO_F_VERSION_1,
	VIRTIO_F_ACCESS_PLATFORM,
	VIRTIO_F_ORDER_PLATFORM,
	VIRTIO_F_SR_IOV,
	VIRTIO_F_NOTIFICATION_DATA,
	VIRTIO_F_RING_RESET,
};

/* Which device it is. */

/* &bus_liveupdate_ops.identify. Any. Returns 0. */
int virtio_liveupdate_identify(struct device *dev, struct device_liveupdate_id *id)
{
	struct virtio_liveupdate_fingerprint *fingerprint = (void *)id->fingerprint;
	const struct virtio_device *vdev = dev_to_virtio(dev);

	snprintf(id->id, sizeof(id->id), "%u", vdev->id.device);
	fingerprint->vendor = vdev->id.vendor;

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_identify);

/* Whether it can be preserved. */

/* Can a feature of rings and transports be carried over? Any. Returns true if so. */
bool virtio_liveupdate_is_carried(unsigned int feature)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(virtio_liveupdate_carried); i++) {
		if (virtio_liveupdate_carried[i] == feature)
			return true;
	}

	return false;
}

/* Features of rings and transports. The others are between the device and its driver. */
static bool virtio_liveupdate_all_carried(const u64 *features)
{
	for (unsigned int i = VIRTIO_TRANSPORT_F_START; i < VIRTIO_TRANSPORT_F_END; i++) {
		if (virtio_features_test_bit(features, i) && !virtio_liveupdate_is_carried(i))
			return false;
	}

	return true;
}

static const char *virtio_liveupdate_queue_objection(const struct vring_virtqueue *vq)
{
	if (vq->layout != VQ_LAYOUT_SPLIT)
		return "a virtqueue is no split one";
	if (!vq->split.buffer)
		return "a virtqueue is in memory that cannot be kept";
	if (vq->vq.reset || READ_ONCE(vq->broken))
		return "a virtqueue does not work, or is being reset";

	return NULL;
}

static const char *virtio_liveupdate_objection(struct virtio_device *vdev)
{
	const struct device_driver *drv = READ_ONCE(vdev->dev.driver);
	const char *objection = NULL;
	struct virtqueue *vq;

	if (!vdev->config->poll_vqs || vdev->map)
		return "its transport cannot hand it over";
	if (drv && drv->liveupdate && !drv->liveupdate->dma_api_only)
		return "its driver does not say that all its DMA goes through the DMA API";
	if (!virtio_liveupdate_ops(vdev))
		return "its driver cannot name its buffers";
	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1))
		return "a legacy device";
	if (__virtio_test_bit(vdev, VIRTIO_F_RING_PACKED))
		return "has packed virtqueues";
	if (__virtio_test_bit(vdev, VIRTIO_F_ADMIN_VQ))
		return "has an administration virtqueue";
	if (!virtio_liveupdate_all_carried(vdev->features_array))
		return "has a feature that cannot be carried over";
	if (vdev->config->get_status(vdev) != VIRTIO_LIVEUPDATE_STATUS)
		return "does not work as it should";

	guard(spinlock)(&vdev->vqs_list_lock);
	virtio_device_for_each_vq(vdev, vq) {
		objection = virtio_liveupdate_queue_objection(to_vvq(vq));
		if (objection)
			break;
	}

	return objection;
}

/* &bus_liveupdate_ops.check. May sleep. Returns 0 or -EOPNOTSUPP. */
int virtio_liveupdate_check(struct device *dev, const char **reason)
{
	const char *objection = virtio_liveupdate_objection(dev_to_virtio(dev));

	if (!objection)
		return 0;
	*reason = objection;

	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_check);

/* Must the rings of a device stay as they are? Any. Returns 0, or -EBUSY if so. */
int virtio_liveupdate_check_change(struct virtio_device *vdev)
{
	return device_liveupdate_check_change(&vdev->dev);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_check_change);

/*
 * &bus_liveupdate_ops.quarantine. May sleep. device_lock held. Returns 0. A device that is
 * gone reads all ones, and a transport would wait for it to have been reset.
 */
int virtio_liveupdate_quarantine(struct device *dev)
{
	struct virtio_device *vdev = dev_to_virtio(dev);

	vdev->liveupdate_running = false;
	if (vdev->config->get_status(vdev) == VIRTIO_LIVEUPDATE_GONE)
		return 0;
	vdev->config->reset(vdev);
	vdev->config->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_quarantine);

/* &bus_liveupdate_ops.stop. May sleep. */
void virtio_liveupdate_stop(struct device *dev)
{
	struct virtio_device *vdev = dev_to_virtio(dev);

	if (vdev->config->get_status(vdev) != VIRTIO_LIVEUPDATE_GONE)
		vdev->config->reset(vdev);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_stop);

/* Stop all virtqueues, or let them go on, as virtio_break_device(). Any. */
void virtio_liveupdate_set_stopped(struct virtio_device *vdev, bool stopped)
{
	struct virtqueue *vq;

	guard(spinlock)(&vdev->vqs_list_lock);
	virtio_device_for_each_vq(vdev, vq)
		WRITE_ONCE(to_vvq(vq)->broken, stopped);
}

/* Let all virtqueues go on, and see what has happened on both sides. May sleep. */
void virtio_liveupdate_resume(struct virtio_device *vdev)
{
	struct virtqueue *vq;

	virtio_synchronize_cbs(vdev);
	virtio_liveupdate_set_stopped(vdev, false);
	virtio_device_for_each_vq(vdev, vq) {
		if (vq->num_free != to_vvq(vq)->split.vring.num)
			to_vvq(vq)->notify(vq);
	}
	vdev->config->poll_vqs(vdev);
}

/**
 * virtio_liveupdate_handle() - call an interrupt handler as if its interrupt had come
 * @irq: number of the interrupt
 * @handler: the handler
 * @data: what it is called with
 *
 * For &virtio_config_ops.poll_vqs. The handler does not run for a real interrupt meanwhile,
 * and one that comes is delivered afterwards.
 *
 * Context: May sleep.
 */
void virtio_liveupdate_handle(unsigned int irq,
			      irqreturn_t (*handler)(int irq, void *data), void *data)
{
	unsigned long flags = 0;

	disable_irq(irq);
	/* As handlers run, also where they run in threads. */
	local_bh_disable();
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		local_irq_save(flags);
	handler(irq, data);
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		local_irq_restore(flags);
	local_bh_enable();
	enable_irq(irq);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_handle);

/* Memory */

/*
 * Without VIRTIO_F_ACCESS_PLATFORM a device is told physical addresses. May sleep.
 * Returns the buffer; or ERR_PTR() as dma_liveupdate_alloc() and
 * dma_liveupdate_retrieve_for(), -EOPNOTSUPP also if there is no live update.
 */
struct dma_liveupdate_buffer *
virtio_liveupdate_get_memory(struct virtio_device *vdev, size_t size, u32 tag)
{
	struct device *dev = vdev->dev.parent;
	struct dma_liveupdate_buffer *buffer;

	if (virtio_liveupdate_is_taken_over(vdev))
		buffer = dma_liveupdate_retrieve_for(dev, &vdev->dev, size, tag);
	else if (liveupdate_enabled() && !vdev->map && virtio_liveupdate_ops(vdev))
		buffer = dma_liveupdate_alloc(dev, size, tag);
	else
		buffer = ERR_PTR(-EOPNOTSUPP);
	if (IS_ERR(buffer) || buffer->dma == virt_to_phys(buffer->address))
		return buffer;
	dma_liveupdate_free(buffer);

	return ERR_PTR(-EOPNOTSUPP);
}

/**
 * virtio_liveupdate_alloc() - get memory that a virtio device may access over the kexec
 * @vdev: the device, which is being probed or works
 * @size: size in bytes, rounded up to a power of two pages
 * @tag: name of the buffer, VIRTIO_LIVEUPDATE_TAG() of a number, unique for @vdev
 *
 * If the device is being taken over it is the memory that was handed over under this
 * name, and holds what it held, and otherwise new and zeroed.
 *
 * Context: May sleep.
 * Return: the buffer, to be freed with virtio_liveupdate_free(); or ERR_PTR(): if the
 * device is being taken over, as dma_liveupdate_retrieve_for(), and the probe must fail.
 * Otherwise as dma_liveupdate_alloc(), where -EOPNOTSUPP means that the device cannot be
 * preserved, and that the driver uses other memory.
 */
struct dma_liveupdate_buffer *virtio_liveupdate_alloc(struct virtio_device *vdev,
						      size_t size, u32 tag)
{
	return virtio_liveupdate_get_memory(vdev, size, tag);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_alloc);

/**
 * virtio_liveupdate_free() - free memory of virtio_liveupdate_alloc()
 * @buffer: the buffer, NULL, or an ERR_PTR()
 *
 * Context: May sleep.
 */
void virtio_liveupdate_free(struct dma_liveupdate_buffer *buffer)
{
	dma_liveupdate_free(buffer);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_free);

/**
 * virtio_liveupdate_preserve() - keep memory of virtio_liveupdate_alloc() for the next kernel
 * @vdev: the device that it was allocated for
 * @buffer: the buffer
 *
 * Context: May sleep. In &dev_liveupdate_ops.prepare.
 * Return: as dma_liveupdate_preserve_for().
 */
int virtio_liveupdate_preserve(struct virtio_device *vdev,
			       struct dma_liveupdate_buffer *buffer)
{
	return dma_liveupdate_preserve_for(buffer, &vdev->dev);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_preserve);

/**
 * virtio_liveupdate_unpreserve() - undo virtio_liveupdate_preserve()
 * @buffer: the buffer, preserved or not, NULL, or an ERR_PTR()
 *
 * Context: May sleep. In &dev_liveupdate_ops.cancel, or in a prepare that fails.
 */
void virtio_liveupdate_unpreserve(struct dma_liveupdate_buffer *buffer)
{
	dma_liveupdate_unpreserve(buffer);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_unpreserve);

/* Memory for a new ring. May sleep. Returns the buffer, or NULL for another kind. */
struct dma_liveupdate_buffer *virtio_liveupdate_alloc_ring(struct virtio_device *vdev,
							   size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer;

	buffer = virtio_liveupdate_get_memory(vdev, size, tag);

	return IS_ERR(buffer) ? NULL : buffer;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_alloc_ring);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Live update of virtio devices");
MODULE_LICENSE("GPL");
