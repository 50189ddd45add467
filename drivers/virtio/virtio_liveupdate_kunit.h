/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of virtio live update have in common, see virtio_liveupdate_kunit_fixture.c.
 */

#ifndef _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_KUNIT_H
#define _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_KUNIT_H

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/dma.h>
#include <linux/seq_buf.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_liveupdate.h>

#include "virtio_liveupdate.h"
#include "virtio_ring.h"

/* A device ID of no virtio device that there is. */
#define VLT_ID		0x4b55
#define VLT_VENDOR	0x1af4

/* Features of the device. One is in the second word. */
#define VLT_F_ONE	3
#define VLT_F_TWO	5
#define VLT_F_HIGH	70

/* What the host writes to, and what it reads from. */
enum vlt_queue { VLT_IN, VLT_OUT, VLT_NR_QUEUES };

/* Descriptors of a virtqueue, and slots of its buffers. A buffer has one to four parts. */
#define VLT_NUM		16
#define VLT_NR_SLOTS	VLT_NUM
#define VLT_PART	64
#define VLT_MAX_PARTS	4
#define VLT_SLOT	(VLT_PART * VLT_MAX_PARTS)
#define VLT_SIZE	(VLT_NR_QUEUES * VLT_NR_SLOTS * VLT_SLOT)

#define VLT_TAG		VIRTIO_LIVEUPDATE_TAG(0)
#define VLT_COOKIE	0x0badcafe
#define VLT_LOG_LEN	1024

/**
 * struct vlt_saved - what the driver hands over of itself
 * @cookie: %VLT_COOKIE.
 * @odd: so that the size is no multiple of 8.
 */
struct vlt_saved {
	u32 cookie;
	u32 odd[2];
} __packed;

/**
 * struct vlt_slot - room for a buffer
 * @index: number of the slot, the name of the buffer.
 * @len: bytes of the buffer that is there.
 * @busy: there is one, and it is in flight.
 */
struct vlt_slot {
	unsigned int index;
	u32 len;
	bool busy;
};

/**
 * struct vlt_state - what the driver has of its device
 * @vqs: its virtqueues.
 * @buffer: memory of all slots, or NULL.
 * @slots: rooms for buffers.
 */
struct vlt_state {
	struct virtqueue *vqs[VLT_NR_QUEUES];
	struct dma_liveupdate_buffer *buffer;
	struct vlt_slot slots[VLT_NR_QUEUES][VLT_NR_SLOTS];
};

/**
 * struct vlt_device - a device as one kernel knows it
 * @vdev: the virtio device.
 * @dead: that kernel is gone: the host does not hear it any more.
 */
struct vlt_device {
	struct virtio_device vdev;
	bool dead;
};

/**
 * struct vlt_host_queue - a virtqueue as the host knows it
 * @enabled: the driver has set it up.
 * @num_max: how many descriptors it can have.
 * @num: how many it has.
 * @desc: where its parts are.
 * @avail: the same.
 * @used: the same.
 * @seen: which available buffer is the next one to be looked at.
 * @held: head of the buffer in this slot that the host has, or -1.
 * @nr_notified: how often it was notified.
 */
struct vlt_host_queue {
	bool enabled;
	unsigned int num_max;
	unsigned int num;
	dma_addr_t desc;
	dma_addr_t avail;
	dma_addr_t used;
	u16 seen;
	int held[VLT_NR_SLOTS];
	unsigned int nr_notified;
};

/**
 * struct vlt_host - the device, which goes on while kernels come and go
 * @features: what it offers.
 * @status: its status.
 * @nr_resets: how often it was reset.
 * @nr_status: how often its status was written.
 * @nr_finalized: how often features were written.
 * @queues: its virtqueues.
 */
struct vlt_host {
	u64 features[VIRTIO_FEATURES_U64S];
	u8 status;
	unsigned int nr_resets;
	unsigned int nr_status;
	unsigned int nr_finalized;
	struct vlt_host_queue queues[VLT_NR_QUEUES];
};

/**
 * struct vlt_memory - memory that the device may access
 * @list: entry in &vlt.memory.
 * @address: where it is.
 * @size: how much.
 * @tag: its name.
 * @buffer: what the kernel that runs has of it, or NULL.
 * @preserved: it is to cross the kexec.
 * @handed: it did.
 */
struct vlt_memory {
	struct list_head list;
	void *address;
	size_t size;
	u32 tag;
	struct dma_liveupdate_buffer *buffer;
	bool preserved;
	bool handed;
};

/**
 * struct vlt - what every test starts with
 * @test: the test.
 * @parent: what the device hangs on, a transport without hardware.
 * @dma_mask: its streaming mask.
 * @config: what the transport can do.
 * @host: the device.
 * @device: as the kernel that runs knows it, or NULL.
 * @memory: memory of the device.
 * @data: what is handed over, in the outgoing kernel.
 * @handed: the same in the incoming kernel, from vlt_jump() on.
 * @asked: identity of which it was asked whether it is pending.
 * @has_record: a record was handed over, and is pending.
 * @prepared: the device is.
 * @lost: the record is not there any more when the device is probed.
 * @offset: how far bus addresses are from physical ones.
 * @nr_preserve: number of attempts to preserve memory that succeed.
 * @lenient: the driver believes every name.
 * @no_callback: the driver does not want to know what the host has read.
 * @before: called at the begin of probe(), which ends with what it returns.
 * @found: called when the virtqueues have been found.
 * @nr_probes: how often probe() was called.
 * @took_over: the last probe() took the device over.
 * @nr_polls: how often the transport looked at its virtqueues.
 * @nr_config: how often the driver was told that the configuration has changed.
 * @nr_moved: number of virtqueues that are not where the host has them.
 * @nr_disabled: number of virtqueues that were reset on their own.
 * @received: used buffers that the driver got, as " queue.slot:bytes".
 * @text: buffer of @received.
 * @rogue: number of frees of what was not allocated.
 * @tainted: this kernel has warned before the test began.
 */
struct vlt {
	struct kunit *test;
	struct device *parent;
	u64 dma_mask;
	struct virtio_config_ops config;
	struct vlt_host host;
	struct vlt_device *device;
	struct list_head memory;
	struct liveupdate_data data;
	struct liveupdate_data handed;
	struct device_liveupdate_id asked;
	bool has_record;
	bool prepared;
	bool lost;
	dma_addr_t offset;
	unsigned int nr_preserve;
	bool lenient;
	bool no_callback;
	int (*before)(struct virtio_device *vdev);
	void (*found)(struct virtio_device *vdev);
	unsigned int nr_probes;
	bool took_over;
	unsigned int nr_polls;
	unsigned int nr_config;
	unsigned int nr_moved;
	unsigned int nr_disabled;
	struct seq_buf received;
	char text[VLT_LOG_LEN];
	unsigned int rogue;
	bool tainted;
};

extern struct vlt *vlt;
extern struct virtio_driver vlt_driver;
extern struct dev_liveupdate_ops vlt_ops;
extern const struct virtio_liveupdate_ops vlt_virtio_ops;

static inline struct virtio_device *vlt_vdev(void)
{
	return &vlt->device->vdev;
}

static inline struct vlt_state *vlt_state(void)
{
	return vlt_vdev()->priv;
}

static inline struct virtqueue *vlt_vq(enum vlt_queue queue)
{
	return vlt_state()->vqs[queue];
}

static inline struct vring_virtqueue *vlt_vvq(enum vlt_queue queue)
{
	return to_vvq(vlt_vq(queue));
}

static inline struct vlt_host_queue *vlt_host_queue(enum vlt_queue queue)
{
	return &vlt->host.queues[queue];
}

/* What was handed over; a test may do corruption to it. */

static inline struct virtio_liveupdate_ser *vlt_ser(void)
{
	return liveupdate_data_blob(&vlt->handed);
}

static inline struct virtio_liveupdate_queue_ser *vlt_queue_ser(enum vlt_queue queue)
{
	return virtio_liveupdate_queues(vlt_ser()) + queue;
}

static inline struct virtio_liveupdate_buffer_ser *vlt_buffer_ser(unsigned int index)
{
	return virtio_liveupdate_buffers(vlt_ser()) + index;
}

/* virtio_liveupdate_kunit_host.c */
void vlt_offer(unsigned int feature);
void vlt_fetch(struct kunit *test, enum vlt_queue queue);
u32 vlt_stamp(unsigned int slot, u32 len);
void vlt_use(struct kunit *test, enum vlt_queue queue, unsigned int slot, u32 len);
struct vlt_memory *vlt_find_memory(u32 tag);
unsigned int vlt_nr_buffers(void);
unsigned int vlt_nr_preserved(void);
void vlt_destroy_memory(struct vlt_memory *memory);
dma_addr_t vlt_slot_dma(enum vlt_queue queue, unsigned int slot);
void vlt_del_vqs(struct virtio_device *vdev);
void vlt_want_notification(enum vlt_queue queue);
void vlt_interrupt(enum vlt_queue queue);
void vlt_init_host(struct kunit *test);

/* virtio_liveupdate_kunit_fixture.c */
void vlt_expect_received(struct kunit *test, const char *want);
int vlt_try_add(enum vlt_queue queue, unsigned int slot, unsigned int parts);
void vlt_add(struct kunit *test, enum vlt_queue queue, unsigned int slot,
	     unsigned int parts);
void vlt_start_at(enum vlt_queue queue, u16 index);
const struct bus_liveupdate_ops *vlt_bus(void);
int vlt_prepare(void);
void vlt_cancel(void);
int vlt_freeze(void);
void vlt_thaw(void);
int vlt_try_boot(struct kunit *test);
bool vlt_is_bound(void);
void vlt_boot(struct kunit *test);
void vlt_shut_down(void);
void vlt_jump(struct kunit *test);
void vlt_finish(void);
void vlt_expect_untouched(struct kunit *test);
void vlt_expect_refused(struct kunit *test, unsigned int nr_probes);
int vlt_init(struct kunit *test);
void vlt_exit(struct kunit *test);

#endif /* _DRIVERS_VIRTIO_VIRTIO_LIVEUPDATE_KUNIT_H */
