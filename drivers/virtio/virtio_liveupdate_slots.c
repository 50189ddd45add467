// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Slots for buffers of virtio devices
 *
 * A driver that makes many buffers of one size available, as those of network devices do to
 * receive, has no use for a DMA buffer of its own for each. Slots are a table of such
 * buffers in a few DMA buffers, which are preserved together. A slot is named by its place
 * in the table, and what is added to the virtqueue is the slot as a whole.
 *
 * Lifecycle in the old kernel
 *   1. Allocated and preserved, in &dev_liveupdate_ops.prepare of the driver.
 *   2. Taken with virtio_liveupdate_slot_get(), given to the device, and put back when the
 *      device has used it and the driver has copied what is in it.
 *   3. Unpreserved and freed, in &dev_liveupdate_ops.cancel.
 *
 * Lifecycle in the next kernel
 *   1. Allocated again, which takes over those that were handed over. All are free.
 *   2. Claimed, in &virtio_liveupdate_ops.claim: those are in flight.
 *   3. As in the old kernel, and freed in &dev_liveupdate_ops.finish.
 *
 * Contexts
 *   The driver sees to it that there is one call at a time for the slots of a virtqueue.
 */

#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/liveupdate/dma.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_liveupdate.h>

/* Slots share DMA buffers of this size: more in one piece may not be there. */
#define VIRTIO_LIVEUPDATE_CHUNK		VIRTIO_LIVEUPDATE_SLOT_MAX

static u32 virtio_liveupdate_slots_per_chunk(u32 size)
{
	return VIRTIO_LIVEUPDATE_CHUNK / size;
}

static int virtio_liveupdate_add_chunk(struct virtio_liveupdate_slots *slots, u32 tag)
{
	const u32 per_chunk = virtio_liveupdate_slots_per_chunk(slots->size);
	const u32 first = slots->nr_chunks * per_chunk;
	const u32 end = min(slots->nr, first + per_chunk);
	struct dma_liveupdate_buffer *chunk;

	chunk = virtio_liveupdate_alloc(slots->vdev, (end - first) * slots->size,
					tag + slots->nr_chunks);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	slots->chunks[slots->nr_chunks++] = chunk;

	for (u32 i = first; i < end; i++) {
		slots->slots[i].address = chunk->address + (i - first) * slots->size;
		slots->slots[i].dma = chunk->dma + (i - first) * slots->size;
	}

	return 0;
}

/**
 * virtio_liveupdate_slots_alloc() - get slots that a virtio device may access over the kexec
 * @vdev: the device, which is being probed or works
 * @nr: number of slots, up to %VIRTIO_LIVEUPDATE_SLOTS_MAX; with 0 there is nothing to get
 * @size: bytes of each, a power of two from %VIRTIO_LIVEUPDATE_SLOT_MIN to
 *	%VIRTIO_LIVEUPDATE_SLOT_MAX
 * @tag: VIRTIO_LIVEUPDATE_TAG() of a number, the first of
 *	%VIRTIO_LIVEUPDATE_SLOTS_MAX that are only for these slots
 *
 * If the device is being taken over they are those that were handed over under this name,
 * and hold what they held.
 *
 * Context: May sleep.
 * Return: the slots, all of them free, to be freed with virtio_liveupdate_slots_free(); or
 * ERR_PTR() of -EINVAL if @nr or @size is not valid; -ENOMEM; or as
 * virtio_liveupdate_alloc().
 */
struct virtio_liveupdate_slots *virtio_liveupdate_slots_alloc(struct virtio_device *vdev,
							      u32 nr, u32 size, u32 tag)
{
	struct virtio_liveupdate_slots *slots;
	u32 nr_chunks;
	int err = -ENOMEM;

	if (nr > VIRTIO_LIVEUPDATE_SLOTS_MAX || !is_power_of_2(size) ||
	    size < VIRTIO_LIVEUPDATE_SLOT_MIN || size > VIRTIO_LIVEUPDATE_SLOT_MAX)
		return ERR_PTR(-EINVAL);

	slots = kvzalloc_flex(*slots, slots, nr);
	if (!slots)
		return ERR_PTR(-ENOMEM);
	slots->vdev = vdev;
	slots->nr = nr;
	slots->size = size;
	nr_chunks = DIV_ROUND_UP(nr, virtio_liveupdate_slots_per_chunk(size));
	slots->taken = bitmap_zalloc(nr, GFP_KERNEL);
	slots->chunks = kvzalloc_objs(*slots->chunks, nr_chunks);
	if (nr && (!slots->taken || !slots->chunks))
		goto err;
	while (slots->nr_chunks < nr_chunks) {
		err = virtio_liveupdate_add_chunk(slots, tag);
		if (err)
			goto err;
	}

	return slots;

err:
	virtio_liveupdate_slots_free(slots);

	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slots_alloc);

/**
 * virtio_liveupdate_slots_free() - free slots
 * @slots: slots of which the device accesses none any more, or NULL
 *
 * Context: May sleep.
 */
void virtio_liveupdate_slots_free(struct virtio_liveupdate_slots *slots)
{
	if (!slots)
		return;
	for (u32 i = 0; i < slots->nr_chunks; i++)
		virtio_liveupdate_free(slots->chunks[i]);
	kvfree(slots->chunks);
	bitmap_free(slots->taken);
	kvfree(slots);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slots_free);

/**
 * virtio_liveupdate_slots_preserve() - keep slots for the next kernel
 * @slots: the slots
 *
 * Context: May sleep. In &dev_liveupdate_ops.prepare.
 * Return: as virtio_liveupdate_preserve(), and none of them is kept then.
 */
int virtio_liveupdate_slots_preserve(struct virtio_liveupdate_slots *slots)
{
	for (u32 i = 0; i < slots->nr_chunks; i++) {
		int err = virtio_liveupdate_preserve(slots->vdev, slots->chunks[i]);

		if (err) {
			virtio_liveupdate_slots_unpreserve(slots);
			return err;
		}
	}

	return 0;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slots_preserve);

/**
 * virtio_liveupdate_slots_unpreserve() - undo virtio_liveupdate_slots_preserve()
 * @slots: the slots, preserved or not, or NULL
 *
 * Context: May sleep. In &dev_liveupdate_ops.cancel, or in a prepare that fails.
 */
void virtio_liveupdate_slots_unpreserve(struct virtio_liveupdate_slots *slots)
{
	for (u32 i = 0; slots && i < slots->nr_chunks; i++)
		virtio_liveupdate_unpreserve(slots->chunks[i]);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slots_unpreserve);

/**
 * virtio_liveupdate_slot_get() - take a slot that is free
 * @slots: the slots
 *
 * Context: any.
 * Return: the slot, or NULL if none is free.
 */
struct virtio_liveupdate_slot *
virtio_liveupdate_slot_get(struct virtio_liveupdate_slots *slots)
{
	u32 index = find_next_zero_bit(slots->taken, slots->nr, slots->next);

	if (index >= slots->nr)
		index = find_first_zero_bit(slots->taken, slots->nr);
	if (index >= slots->nr)
		return NULL;
	__set_bit(index, slots->taken);
	slots->next = index + 1;

	return &slots->slots[index];
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slot_get);

/**
 * virtio_liveupdate_slot_put() - give a slot back
 * @slots: the slots
 * @slot: one of them, which the device does not access any more
 *
 * Context: any.
 */
void virtio_liveupdate_slot_put(struct virtio_liveupdate_slots *slots,
				struct virtio_liveupdate_slot *slot)
{
	__clear_bit(slot - slots->slots, slots->taken);
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slot_put);

/**
 * virtio_liveupdate_slot_name() - name a slot in flight
 * @slots: the slots
 * @slot: one of them
 *
 * For &virtio_liveupdate_ops.name.
 *
 * Context: any.
 * Return: the name, unique among the slots.
 */
u32 virtio_liveupdate_slot_name(const struct virtio_liveupdate_slots *slots,
				const struct virtio_liveupdate_slot *slot)
{
	return slot - slots->slots;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slot_name);

/**
 * virtio_liveupdate_slot_claim() - find a slot in flight
 * @slots: the slots, which are taken over
 * @name: its name
 * @addr: where the device was told that it is
 * @len: how long the device was told that it is
 *
 * For &virtio_liveupdate_ops.claim. The slot is not free afterwards.
 *
 * Context: any.
 * Return: the slot; or NULL if there is no such slot, or it is elsewhere.
 */
struct virtio_liveupdate_slot *
virtio_liveupdate_slot_claim(struct virtio_liveupdate_slots *slots, u32 name,
			     dma_addr_t addr, u32 len)
{
	struct virtio_liveupdate_slot *slot;

	if (name >= slots->nr || len != slots->size)
		return NULL;
	slot = &slots->slots[name];
	if (slot->dma != addr)
		return NULL;
	__set_bit(name, slots->taken);

	return slot;
}
EXPORT_SYMBOL_GPL(virtio_liveupdate_slot_claim);
