/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_H
#define _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_H
/*
 * Virtio live update: what its files share
 */
#include <linux/kho/abi/virtio.h>
#include <linux/overflow.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

struct dma_liveupdate_buffer;
struct virtio_liveupdate_ops;

/* All that a device may have done before it is handed over, and nothing else. */
#define VIRTIO_LIVEUPDATE_STATUS	(VIRTIO_CONFIG_S_ACKNOWLEDGE | \
					 VIRTIO_CONFIG_S_DRIVER | \
					 VIRTIO_CONFIG_S_FEATURES_OK | \
					 VIRTIO_CONFIG_S_DRIVER_OK)

/* A register of a device that is not there any more. */
#define VIRTIO_LIVEUPDATE_GONE		0xff

static_assert(VIRTIO_LIVEUPDATE_FEATURES == VIRTIO_FEATURES_U64S);

/* How the driver names its buffers. Any. Returns NULL if there is no driver that can. */
static inline const struct virtio_liveupdate_ops *
virtio_liveupdate_ops(struct virtio_device *vdev)
{
	const struct device_driver *drv = READ_ONCE(vdev->dev.driver);

	return drv ? drv_to_virtio(drv)->liveupdate : NULL;
}

/* Parts of the blob. */

static inline size_t virtio_liveupdate_blob_size(size_t driver_size, size_t nr_queues,
						 size_t nr_buffers)
{
	size_t size = sizeof(struct virtio_liveupdate_ser);

	size = size_add(size, driver_size);
	size = size_add(size, array_size(nr_queues,
					 sizeof(struct virtio_liveupdate_queue_ser)));

	return size_add(size, array_size(nr_buffers,
					 sizeof(struct virtio_liveupdate_buffer_ser)));
}

static inline struct virtio_liveupdate_queue_ser *
virtio_liveupdate_queues(struct virtio_liveupdate_ser *ser)
{
	return (void *)ser + virtio_liveupdate_blob_size(ser->driver_size, 0, 0);
}

static inline struct virtio_liveupdate_buffer_ser *
virtio_liveupdate_buffers(struct virtio_liveupdate_ser *ser)
{
	return (void *)ser + virtio_liveupdate_blob_size(ser->driver_size, ser->nr_queues, 0);
}

bool virtio_liveupdate_is_carried(unsigned int feature);
struct dma_liveupdate_buffer *
virtio_liveupdate_get_memory(struct virtio_device *vdev, size_t size, u32 tag);
void virtio_liveupdate_set_stopped(struct virtio_device *vdev, bool stopped);
void virtio_liveupdate_resume(struct virtio_device *vdev);

#endif /* _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_H */
