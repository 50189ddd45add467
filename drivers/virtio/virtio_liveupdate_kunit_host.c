// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What is around the kernels of the tests of virtio live update
 *
 * The host, memory that crosses a kexec, and the transport: whatever is not one of the two
 * kernels, see virtio_liveupdate_kunit_fixture.c.
 */

#include <kunit/static_stub.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>

#include "virtio_liveupdate_kunit.h"

/* The host. The device is a modern one, so that all is little-endian. */

static u16 vlt_le16(__virtio16 value)
{
	return le16_to_cpu((__force __le16)value);
}

static u64 vlt_le64(__virtio64 value)
{
	return le64_to_cpu((__force __le64)value);
}

void vlt_offer(unsigned int feature)
{
	virtio_features_set_bit(vlt->host.features, feature);
}

static void vlt_host_forget(struct vlt_host_queue *hq)
{
	hq->enabled = false;
	hq->seen = 0;
	memset32((u32 *)hq->held, -1, ARRAY_SIZE(hq->held));
}

static void vlt_host_reset(void)
{
	vlt->host.nr_resets++;
	vlt->host.status = 0;
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		vlt_host_forget(&vlt->host.queues[i]);
}

/* The slot that a descriptor leads to, or -1. */
static int vlt_slot_at(enum vlt_queue queue, u64 addr)
{
	u64 offset = addr - vlt_slot_dma(queue, 0);

	if (offset >= VLT_NR_SLOTS * VLT_SLOT || offset % VLT_SLOT)
		return -1;

	return offset / VLT_SLOT;
}

/* Take all buffers that are available. None of them may be there twice. */
void vlt_fetch(struct kunit *test, enum vlt_queue queue)
{
	struct vlt_host_queue *hq = vlt_host_queue(queue);
	const struct vring_avail *avail = phys_to_virt(hq->avail);
	const struct vring_desc *desc = phys_to_virt(hq->desc);

	KUNIT_ASSERT_TRUE(test, hq->enabled);
	while (vlt_le16(READ_ONCE(avail->idx)) != hq->seen) {
		unsigned int head = vlt_le16(avail->ring[hq->seen % hq->num]);
		int slot;

		KUNIT_ASSERT_LT(test, head, hq->num);
		slot = vlt_slot_at(queue, vlt_le64(desc[head].addr));
		KUNIT_ASSERT_GE(test, slot, 0);
		KUNIT_EXPECT_EQ(test, hq->held[slot], -1);
		hq->held[slot] = head;
		hq->seen++;
	}
}

/* What the host writes to a buffer. */
u32 vlt_stamp(unsigned int slot, u32 len)
{
	return slot << 24 | (len ^ 0x5a5a5a);
}

/* Use the buffer in a slot, of which @len bytes are written to. */
void vlt_use(struct kunit *test, enum vlt_queue queue, unsigned int slot, u32 len)
{
	struct vlt_host_queue *hq = vlt_host_queue(queue);
	struct vring_used *used = phys_to_virt(hq->used);
	u16 idx = vlt_le16(used->idx);

	vlt_fetch(test, queue);
	KUNIT_ASSERT_GE(test, hq->held[slot], 0);
	if (queue == VLT_IN)
		*(u32 *)phys_to_virt(vlt_slot_dma(queue, slot)) = vlt_stamp(slot, len);
	used->ring[idx % hq->num].id = (__force __virtio32)cpu_to_le32(hq->held[slot]);
	used->ring[idx % hq->num].len = (__force __virtio32)cpu_to_le32(len);
	smp_wmb(); /* The index comes last. */
	WRITE_ONCE(used->idx, (__force __virtio16)cpu_to_le16(idx + 1));
	hq->held[slot] = -1;
}

/* Ask to be notified of the next available buffer, where that is not always done. */
void vlt_want_notification(enum vlt_queue queue)
{
	const struct vlt_host_queue *hq = vlt_host_queue(queue);
	struct vring_used *used = phys_to_virt(hq->used);

	*(__virtio16 *)&used->ring[hq->num] = (__force __virtio16)cpu_to_le16(hq->seen);
}

/* Memory. */

/* The newest one of that name, or NULL. */
struct vlt_memory *vlt_find_memory(u32 tag)
{
	struct vlt_memory *memory;

	list_for_each_entry(memory, &vlt->memory, list) {
		if (memory->tag == tag)
			return memory;
	}

	return NULL;
}

static struct vlt_memory *vlt_memory_of(const struct dma_liveupdate_buffer *buffer)
{
	struct vlt_memory *memory;

	list_for_each_entry(memory, &vlt->memory, list) {
		if (memory->buffer == buffer)
			return memory;
	}

	return NULL;
}

unsigned int vlt_nr_buffers(void)
{
	struct vlt_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &vlt->memory, list)
		nr += !!memory->buffer;

	return nr;
}

unsigned int vlt_nr_preserved(void)
{
	struct vlt_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &vlt->memory, list)
		nr += memory->preserved;

	return nr;
}

void vlt_destroy_memory(struct vlt_memory *memory)
{
	list_del(&memory->list);
	free_pages_exact(memory->address, memory->size);
	kfree(memory->buffer);
	kfree(memory);
}

/* What a kernel knows of memory. */
static struct dma_liveupdate_buffer *vlt_make_buffer(struct vlt_memory *memory)
{
	struct dma_liveupdate_buffer *buffer = kzalloc_obj(*buffer);

	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->address = memory->address;
	buffer->dma = virt_to_phys(memory->address) + vlt->offset;
	buffer->size = memory->size;
	memory->buffer = buffer;

	return buffer;
}

static struct dma_liveupdate_buffer *vlt_dma_alloc(struct device *dev, size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer;
	struct vlt_memory *memory;

	if (dev != vlt->parent)
		return ERR_PTR(-EOPNOTSUPP);
	memory = vlt_find_memory(tag);
	if (memory && memory->buffer)
		return ERR_PTR(-EEXIST);
	memory = kzalloc_obj(*memory);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	memory->size = PAGE_SIZE << get_order(size);
	memory->tag = tag;
	memory->address = alloc_pages_exact(memory->size, GFP_KERNEL | __GFP_ZERO);
	if (!memory->address) {
		kfree(memory);
		return ERR_PTR(-ENOMEM);
	}
	list_add(&memory->list, &vlt->memory);
	buffer = vlt_make_buffer(memory);
	if (IS_ERR(buffer))
		vlt_destroy_memory(memory);

	return buffer;
}

static struct dma_liveupdate_buffer *
vlt_dma_retrieve_for(struct device *dev, struct device *consumer, size_t size, u32 tag)
{
	struct vlt_memory *memory = vlt_find_memory(tag);

	if (dev != vlt->parent || consumer != &vlt_vdev()->dev || !memory || !memory->handed)
		return ERR_PTR(-ENOENT);
	if (memory->buffer)
		return ERR_PTR(-EBUSY);
	if (memory->size != PAGE_SIZE << get_order(size))
		return ERR_PTR(-EINVAL);

	return vlt_make_buffer(memory);
}

static void vlt_dma_free(struct dma_liveupdate_buffer *buffer)
{
	struct vlt_memory *memory;

	if (IS_ERR_OR_NULL(buffer))
		return;
	memory = vlt_memory_of(buffer);
	if (!memory) {
		vlt->rogue++;
		return;
	}
	memory->buffer = NULL;
	kfree(buffer);
	/* The device may use it until FINISH. */
	if (!memory->handed)
		vlt_destroy_memory(memory);
}

static int vlt_dma_preserve_for(struct dma_liveupdate_buffer *buffer,
				struct device *consumer)
{
	struct vlt_memory *memory = vlt_memory_of(buffer);

	if (!memory || consumer != &vlt_vdev()->dev)
		return -ENOENT;
	if (!vlt->nr_preserve)
		return -EBUSY;
	vlt->nr_preserve--;
	memory->preserved = true;

	return 0;
}

static void vlt_dma_unpreserve(struct dma_liveupdate_buffer *buffer)
{
	struct vlt_memory *memory;

	if (IS_ERR_OR_NULL(buffer))
		return;
	memory = vlt_memory_of(buffer);
	if (memory)
		memory->preserved = false;
	else
		vlt->rogue++;
}

/* Where the memory of the driver is. It stays there when kernels go. */
dma_addr_t vlt_slot_dma(enum vlt_queue queue, unsigned int slot)
{
	const struct vlt_memory *memory = vlt_find_memory(VLT_TAG);

	return (memory ? virt_to_phys(memory->address) : 0) +
	       (queue * VLT_NR_SLOTS + slot) * VLT_SLOT;
}

/* The device layer. */

static bool vlt_is_pending(const struct bus_type *bus, const struct device *parent,
			   const struct device_liveupdate_id *id)
{
	if (!id || parent != vlt->parent || strcmp(bus->name, "virtio"))
		return false;
	vlt->asked = *id;

	return vlt->has_record;
}

static const struct liveupdate_data *vlt_retrieve(struct device *dev, u32 *version)
{
	if (dev != &vlt_vdev()->dev || !vlt->has_record || vlt->lost)
		return NULL;
	*version = vlt_ops.version;

	return &vlt->handed;
}

static int vlt_check_change(struct device *dev)
{
	return vlt->prepared ? -EBUSY : 0;
}

/* The transport. Nothing reaches the host from a kernel that is gone. */

static bool vlt_is_dead(const struct virtio_device *vdev)
{
	return container_of_const(vdev, struct vlt_device, vdev)->dead;
}

static u8 vlt_get_status(struct virtio_device *vdev)
{
	return vlt_is_dead(vdev) ? 0 : vlt->host.status;
}

static void vlt_set_status(struct virtio_device *vdev, u8 status)
{
	if (vlt_is_dead(vdev))
		return;
	vlt->host.nr_status++;
	vlt->host.status = status;
}

static void vlt_reset(struct virtio_device *vdev)
{
	if (!vlt_is_dead(vdev))
		vlt_host_reset();
}

static u64 vlt_get_features(struct virtio_device *vdev)
{
	return vlt->host.features[0];
}

static void vlt_get_extended_features(struct virtio_device *vdev, u64 *features)
{
	virtio_features_copy(features, vlt->host.features);
}

static int vlt_finalize_features(struct virtio_device *vdev)
{
	vlt->host.nr_finalized++;

	return 0;
}

static bool vlt_notify(struct virtqueue *vq)
{
	if (!vlt_is_dead(vq->vdev))
		vlt_host_queue(vq->index)->nr_notified++;

	return true;
}

static void vlt_activate(struct virtqueue *vq)
{
	struct vlt_host_queue *hq = vlt_host_queue(vq->index);

	vlt_host_forget(hq);
	hq->num = virtqueue_get_vring_size(vq);
	hq->desc = virtqueue_get_desc_addr(vq);
	hq->avail = virtqueue_get_avail_addr(vq);
	hq->used = virtqueue_get_used_addr(vq);
	hq->enabled = true;
}

/* Is a virtqueue that is taken over where the host has it? */
static bool vlt_is_active(const struct virtqueue *vq)
{
	const struct vlt_host_queue *hq = vlt_host_queue(vq->index);

	return hq->enabled && hq->num == virtqueue_get_vring_size(vq) &&
	       hq->desc == virtqueue_get_desc_addr(vq) &&
	       hq->avail == virtqueue_get_avail_addr(vq) &&
	       hq->used == virtqueue_get_used_addr(vq);
}

void vlt_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *tmp;

	list_for_each_entry_safe(vq, tmp, &vdev->vqs, list)
		vring_del_virtqueue(vq);
}

static int vlt_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
			struct virtqueue *vqs[], struct virtqueue_info vqs_info[],
			struct irq_affinity *desc)
{
	bool taken_over = virtio_liveupdate_is_taken_over(vdev);

	for (unsigned int i = 0; i < nvqs; i++) {
		struct vlt_host_queue *hq = vlt_host_queue(i);

		vqs[i] = vring_create_virtqueue(i, taken_over ? hq->num : hq->num_max,
						SMP_CACHE_BYTES, vdev, true, false,
						vqs_info[i].ctx, vlt_notify,
						vqs_info[i].callback, vqs_info[i].name);
		if (!vqs[i]) {
			vlt_del_vqs(vdev);
			return -ENOMEM;
		}
		if (taken_over) {
			vlt->nr_moved += !vlt_is_active(vqs[i]);
			continue;
		}
		vqs[i]->num_max = hq->num_max;
		vlt_activate(vqs[i]);
	}

	return 0;
}

static int vlt_disable_vq(struct virtqueue *vq)
{
	vlt->nr_disabled++;
	vlt_host_forget(vlt_host_queue(vq->index));
	vq->reset = true;

	return 0;
}

static int vlt_enable_vq(struct virtqueue *vq)
{
	vlt_activate(vq);
	vq->reset = false;

	return 0;
}

static void vlt_call_handler(struct virtqueue *vq)
{
	unsigned long flags;

	local_irq_save(flags);
	vring_interrupt(0, vq);
	local_irq_restore(flags);
}

void vlt_interrupt(enum vlt_queue queue)
{
	vlt_call_handler(vlt_vq(queue));
}

static void vlt_poll_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq;

	vlt->nr_polls++;
	virtio_device_for_each_vq(vdev, vq)
		vlt_call_handler(vq);
}

static void vlt_synchronize_cbs(struct virtio_device *vdev)
{
}

static const struct virtio_config_ops vlt_config_ops = {
	.get_status		= vlt_get_status,
	.set_status		= vlt_set_status,
	.reset			= vlt_reset,
	.find_vqs		= vlt_find_vqs,
	.del_vqs		= vlt_del_vqs,
	.synchronize_cbs	= vlt_synchronize_cbs,
	.get_features		= vlt_get_features,
	.get_extended_features	= vlt_get_extended_features,
	.finalize_features	= vlt_finalize_features,
	.disable_vq_and_reset	= vlt_disable_vq,
	.enable_vq_after_reset	= vlt_enable_vq,
	.poll_vqs		= vlt_poll_vqs,
};

/* A device that was never set up, and all that is in place of the machine. */
void vlt_init_host(struct kunit *test)
{
	vlt->config = vlt_config_ops;
	vlt->nr_preserve = UINT_MAX;
	INIT_LIST_HEAD(&vlt->memory);
	vlt_offer(VIRTIO_F_VERSION_1);
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		vlt->host.queues[i].num_max = VLT_NUM;
		vlt_host_forget(&vlt->host.queues[i]);
	}

	kunit_activate_static_stub(test, dma_liveupdate_alloc, vlt_dma_alloc);
	kunit_activate_static_stub(test, dma_liveupdate_retrieve_for, vlt_dma_retrieve_for);
	kunit_activate_static_stub(test, dma_liveupdate_free, vlt_dma_free);
	kunit_activate_static_stub(test, dma_liveupdate_preserve_for, vlt_dma_preserve_for);
	kunit_activate_static_stub(test, dma_liveupdate_unpreserve, vlt_dma_unpreserve);
	kunit_activate_static_stub(test, device_liveupdate_is_pending, vlt_is_pending);
	kunit_activate_static_stub(test, device_liveupdate_retrieve, vlt_retrieve);
	kunit_activate_static_stub(test, device_liveupdate_check_change, vlt_check_change);
}
