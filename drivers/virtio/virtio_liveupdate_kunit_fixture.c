// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Two kernels for the tests of virtio live update
 *
 * A virtio device without hardware, its transport, its driver, and two kernels that have it
 * one after the other. The device layer and DMA buffers have tests of their own, and
 * are replaced here, in virtio_liveupdate_kunit_host.c.
 *
 * The host
 *   The device with its two virtqueues, in &struct vlt_host. It takes available buffers
 *   (vlt_fetch()) and uses them (vlt_use()) whether a kernel runs or not, as it reads
 *   rings where it was told that they are. It counts what a kernel does to it.
 *
 * The outgoing kernel
 *   The device is registered, and probed by the driver of the tests, all of whose buffers
 *   lie in one piece of memory. It is prepared and frozen as the driver core does it.
 *
 * The kexec
 *   vlt_jump() copies the record as it is when the device is frozen, and removes the
 *   device without the host being told. Memory that was preserved stays where it is; the
 *   rest is freed. A test may do corruption to the copy and to the rings.
 *
 * The incoming kernel
 *   The device is registered anew, and is pending until then. What was handed over is
 *   given to the probe, and memory by its tag.
 *
 * Whatever a test leaves behind, also one that failed halfway, is undone by
 * vlt_exit(). A test fails if the kernel warns meanwhile, or if memory is left.
 */

#include <linux/cleanup.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "virtio_liveupdate_kunit.h"

struct vlt *vlt;

/* The driver. */

static u32 vlt_name(struct virtqueue *vq, void *data)
{
	const struct vlt_slot *slot = data;

	return slot->index;
}

static void *vlt_claim(struct virtqueue *vq, u32 name, dma_addr_t addr, u32 len)
{
	struct vlt_state *state = vq->vdev->priv;
	struct vlt_slot *slot = &state->slots[vq->index][name % VLT_NR_SLOTS];

	if (!vlt->lenient &&
	    (name >= VLT_NR_SLOTS || slot->busy || addr != vlt_slot_dma(vq->index, name) ||
	     !len || len % VLT_PART || len > VLT_SLOT))
		return NULL;
	slot->busy = true;
	slot->len = len;

	return slot;
}

const struct virtio_liveupdate_ops vlt_virtio_ops = {
	.name	= vlt_name,
	.claim	= vlt_claim,
};

struct dev_liveupdate_ops vlt_ops = {
	.compatible	= "virtio-liveupdate-kunit",
	.version	= 1,
	.oldest		= 1,
};

/* May run in an interrupt, or as if in one. */
static void vlt_done(struct virtqueue *vq)
{
	struct vlt_slot *slot;
	unsigned int len;

	while ((slot = virtqueue_get_buf(vq, &len))) {
		const u32 *stamp = phys_to_virt(vlt_slot_dma(vq->index, slot->index));
		bool wrong = !slot->busy || (vq->index == VLT_IN &&
					     *stamp != vlt_stamp(slot->index, len));

		slot->busy = false;
		seq_buf_printf(&vlt->received, " %u.%u:%u%s", vq->index, slot->index, len,
			       wrong ? "!" : "");
	}
}

/* Expects that the driver got this since the last time, in this order. */
void vlt_expect_received(struct kunit *test, const char *want)
{
	KUNIT_EXPECT_STREQ(test, seq_buf_str(&vlt->received), want);
	seq_buf_clear(&vlt->received);
}

int vlt_try_add(enum vlt_queue queue, unsigned int slot, unsigned int parts)
{
	struct vlt_slot *room = &vlt_state()->slots[queue][slot];
	struct scatterlist sg[VLT_MAX_PARTS];
	int err;

	sg_init_table(sg, parts);
	for (unsigned int i = 0; i < parts; i++) {
		sg_dma_address(&sg[i]) = vlt_slot_dma(queue, slot) + i * VLT_PART;
		sg_dma_len(&sg[i]) = VLT_PART;
	}
	if (queue == VLT_IN)
		err = virtqueue_add_inbuf_premapped(vlt_vq(queue), sg, parts, room, NULL,
						    GFP_KERNEL);
	else
		err = virtqueue_add_outbuf_premapped(vlt_vq(queue), sg, parts, room,
						     GFP_KERNEL);
	if (!err) {
		room->index = slot;
		room->busy = true;
		room->len = parts * VLT_PART;
	}

	return err;
}

void vlt_add(struct kunit *test, enum vlt_queue queue, unsigned int slot,
	     unsigned int parts)
{
	KUNIT_ASSERT_EQ(test, 0, vlt_try_add(queue, slot, parts));
}

/* As if as many buffers as @index says had been used. Nothing is in flight. */
void vlt_start_at(enum vlt_queue queue, u16 index)
{
	struct vring_virtqueue *vq = vlt_vvq(queue);
	__virtio16 value = cpu_to_virtio16(vlt_vdev(), index);

	vq->last_used_idx = index;
	vq->split.avail_idx_shadow = index;
	vq->split.vring.avail->idx = value;
	vq->split.vring.used->idx = value;
	vring_used_event(&vq->split.vring) = value;
	vlt_host_queue(queue)->seen = index;
}

static void vlt_init_slots(struct vlt_state *state)
{
	for (unsigned int queue = 0; queue < VLT_NR_QUEUES; queue++)
		for (unsigned int slot = 0; slot < VLT_NR_SLOTS; slot++)
			state->slots[queue][slot].index = slot;
}

static int vlt_find(struct virtio_device *vdev, struct vlt_state *state, bool taken_over)
{
	struct virtqueue_info infos[] = {
		[VLT_IN]	= { "in", vlt_done },
		[VLT_OUT]	= { "out", vlt->no_callback ? NULL : vlt_done },
	};
	int err;

	state->buffer = virtio_liveupdate_alloc(vdev, VLT_SIZE, VLT_TAG);
	if (IS_ERR(state->buffer)) {
		err = PTR_ERR(state->buffer);
		if (taken_over || err != -EOPNOTSUPP)
			return err;
		state->buffer = NULL;
	}
	err = virtio_find_vqs(vdev, VLT_NR_QUEUES, state->vqs, infos, NULL);
	if (err)
		virtio_liveupdate_free(state->buffer);

	return err;
}

static int vlt_probe(struct virtio_device *vdev)
{
	const struct vlt_saved *saved;
	struct vlt_state *state;
	int err;

	vlt->nr_probes++;
	vlt->took_over = false;
	err = vlt->before ? vlt->before(vdev) : 0;
	if (err)
		return err;
	saved = virtio_liveupdate_retrieve(vdev, sizeof(*saved));
	if (IS_ERR(saved))
		return PTR_ERR(saved);
	if (saved && saved->cookie != VLT_COOKIE)
		return -EILSEQ;
	state = kzalloc_obj(*state);
	if (!state)
		return -ENOMEM;
	vlt_init_slots(state);
	vdev->priv = state;
	err = vlt_find(vdev, state, saved);
	if (err) {
		vdev->priv = NULL;
		kfree(state);
		return err;
	}
	if (vlt->found)
		vlt->found(vdev);
	virtio_device_ready(vdev);
	vlt->took_over = saved;

	return 0;
}

static void vlt_remove(struct virtio_device *vdev)
{
	struct vlt_state *state = vdev->priv;

	virtio_reset_device(vdev);
	vlt_del_vqs(vdev);
	virtio_liveupdate_free(state->buffer);
	vdev->priv = NULL;
	kfree(state);
}

static void vlt_config_changed(struct virtio_device *vdev)
{
	vlt->nr_config++;
}

static const struct virtio_device_id vlt_ids[] = {
	{ VLT_ID, VIRTIO_DEV_ANY_ID },
	{}
};

static const unsigned int vlt_features[] = { VLT_F_ONE, VLT_F_TWO, VLT_F_HIGH };

struct virtio_driver vlt_driver = {
	.driver = {
		.name		= "virtio-liveupdate-kunit",
		.liveupdate	= &vlt_ops,
	},
	.id_table		= vlt_ids,
	.feature_table		= vlt_features,
	.feature_table_size	= ARRAY_SIZE(vlt_features),
	.probe			= vlt_probe,
	.remove			= vlt_remove,
	.config_changed		= vlt_config_changed,
};

/* What the driver core does. */

const struct bus_liveupdate_ops *vlt_bus(void)
{
	return vlt_vdev()->dev.bus->liveupdate;
}

int vlt_prepare(void)
{
	struct virtio_device *vdev = vlt_vdev();
	struct vlt_saved *saved;
	int err;

	guard(device)(&vdev->dev);
	err = virtio_liveupdate_prepare(vdev, &vlt->data, sizeof(*saved));
	if (!err) {
		err = virtio_liveupdate_preserve(vdev, vlt_state()->buffer);
		if (err)
			virtio_liveupdate_cancel(vdev);
	}
	if (err) {
		liveupdate_data_free(&vlt->data);
		return err;
	}
	saved = virtio_liveupdate_state(&vlt->data);
	saved->cookie = VLT_COOKIE;
	vlt->prepared = true;

	return 0;
}

void vlt_cancel(void)
{
	struct virtio_device *vdev = vlt_vdev();

	guard(device)(&vdev->dev);
	virtio_liveupdate_unpreserve(vlt_state()->buffer);
	virtio_liveupdate_cancel(vdev);
	liveupdate_data_free(&vlt->data);
	vlt->prepared = false;
}

int vlt_freeze(void)
{
	int err = vlt_bus()->freeze(&vlt_vdev()->dev, DEVICE_LIVEUPDATE_ENDPOINT);

	if (!err)
		virtio_liveupdate_save(vlt_vdev(), &vlt->data);

	return err;
}

void vlt_thaw(void)
{
	vlt_bus()->thaw(&vlt_vdev()->dev, DEVICE_LIVEUPDATE_ENDPOINT);
}

/* Kernels. */

static void vlt_release(struct device *dev)
{
	kfree(container_of(dev, struct vlt_device, vdev.dev));
}

/* The device appears and is probed. Returns an error if it does not appear. */
int vlt_try_boot(struct kunit *test)
{
	struct vlt_device *device = kzalloc_obj(*device);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, device);
	device->vdev.id.device = VLT_ID;
	device->vdev.id.vendor = VLT_VENDOR;
	device->vdev.config = &vlt->config;
	device->vdev.dev.parent = vlt->parent;
	device->vdev.dev.release = vlt_release;
	vlt->device = device;
	err = register_virtio_device(&device->vdev);
	if (err) {
		vlt->device = NULL;
		put_device(&device->vdev.dev);
	}

	return err;
}

bool vlt_is_bound(void)
{
	return vlt_vdev()->dev.driver == &vlt_driver.driver;
}

void vlt_boot(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, vlt_try_boot(test));
	KUNIT_ASSERT_TRUE(test, vlt_is_bound());
}

/* The kernel is gone, and the host was told nothing. */
void vlt_shut_down(void)
{
	struct vlt_device *device = vlt->device;

	device->dead = true;
	unregister_virtio_device(&device->vdev);
	vlt->device = NULL;
}

/* Memory that was preserved is there, and nothing else. */
static void vlt_cross_memory(void)
{
	struct vlt_memory *memory, *tmp;

	list_for_each_entry_safe(memory, tmp, &vlt->memory, list) {
		memory->preserved = false;
		if (!memory->handed)
			vlt_destroy_memory(memory);
	}
}

/* From a kernel whose device is prepared or frozen to one where it has not appeared yet. */
void vlt_jump(struct kunit *test)
{
	struct vlt_host *host = &vlt->host;
	struct vlt_memory *memory;
	void *blob;

	if (!vlt->prepared)
		KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	if (!virtqueue_is_broken(vlt_vq(VLT_IN)))
		KUNIT_ASSERT_EQ(test, 0, vlt_freeze());
	blob = kunit_kmalloc(test, vlt->data.size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, blob);
	memcpy(blob, liveupdate_data_blob(&vlt->data), vlt->data.size);
	vlt->handed.value = virt_to_phys(blob);
	vlt->handed.size = vlt->data.size;
	vlt->has_record = true;
	liveupdate_data_free(&vlt->data);
	vlt->prepared = false;

	list_for_each_entry(memory, &vlt->memory, list)
		memory->handed = memory->preserved;
	vlt_shut_down();
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	vlt_cross_memory();

	host->nr_resets = 0;
	host->nr_status = 0;
	host->nr_finalized = 0;
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		host->queues[i].nr_notified = 0;
	vlt->nr_probes = 0;
	vlt->nr_polls = 0;
	vlt->nr_config = 0;
}

/* The update is complete: what was handed over is freed, but for what is used. */
void vlt_finish(void)
{
	struct vlt_memory *memory, *tmp;

	vlt->has_record = false;
	list_for_each_entry_safe(memory, tmp, &vlt->memory, list) {
		memory->handed = false;
		if (!memory->buffer)
			vlt_destroy_memory(memory);
	}
}

/* Expects that no kernel did anything to the device since vlt_jump(). */
void vlt_expect_untouched(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 0);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_status, 0);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_finalized, 0);
	KUNIT_EXPECT_EQ(test, vlt->nr_moved, 0);
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		KUNIT_EXPECT_TRUE(test, vlt->host.queues[i].enabled);
}

/*
 * Expects that the device, as it appears now, is not taken over, and nothing is left of the
 * attempt. The driver was asked @nr_probes times.
 */
void vlt_expect_refused(struct kunit *test, unsigned int nr_probes)
{
	u8 status = vlt->host.status;

	KUNIT_ASSERT_EQ(test, 0, vlt_try_boot(test));
	KUNIT_EXPECT_FALSE(test, vlt_is_bound());
	KUNIT_EXPECT_EQ(test, vlt->nr_probes, nr_probes);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&vlt_vdev()->vqs));
	KUNIT_EXPECT_NULL(test, vlt_vdev()->liveupdate);
	KUNIT_EXPECT_TRUE(test, vlt_vdev()->liveupdate_running);
	KUNIT_EXPECT_EQ(test, vlt->host.status, status);
	vlt_expect_untouched(test);
	vlt_expect_received(test, "");
}

/* Fixture. */

static int vlt_init_parent(void)
{
	struct device *parent = root_device_register("virtio-liveupdate-kunit");

	if (IS_ERR(parent))
		return PTR_ERR(parent);
	vlt->dma_mask = DMA_BIT_MASK(64);
	parent->dma_mask = &vlt->dma_mask;
	parent->coherent_dma_mask = DMA_BIT_MASK(64);
	dev_set_dma_coherent(parent);
	vlt->parent = parent;

	return 0;
}

int vlt_init(struct kunit *test)
{
	int err;

	if (!kho_is_enabled() || !liveupdate_enabled())
		kunit_skip(test, "live update is off, boot with kho=on liveupdate=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL)
		kunit_skip(test, "a live update is under way");

	vlt = kunit_kzalloc(test, sizeof(*vlt), GFP_KERNEL);
	if (!vlt)
		return -ENOMEM;
	vlt->test = test;
	vlt->tainted = test_taint(TAINT_WARN);
	seq_buf_init(&vlt->received, vlt->text, sizeof(vlt->text));
	vlt_init_host(test);
	err = vlt_init_parent();
	if (err)
		return err;
	vlt_ops.dma_api_only = true;
	vlt_driver.liveupdate = &vlt_virtio_ops;
	vlt_driver.validate = NULL;
	vlt_driver.feature_table_size = ARRAY_SIZE(vlt_features);
	err = register_virtio_driver(&vlt_driver);
	if (err) {
		root_device_unregister(vlt->parent);
		return err;
	}
	test->priv = vlt;

	return 0;
}

/* Leaves everything as it was, wherever the test ended. */
void vlt_exit(struct kunit *test)
{
	struct vlt_memory *memory, *tmp;

	if (!test->priv)
		return;

	if (vlt->prepared)
		vlt_cancel();
	KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), 0);
	if (vlt->device)
		vlt_shut_down();
	unregister_virtio_driver(&vlt_driver);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	list_for_each_entry_safe(memory, tmp, &vlt->memory, list) {
		KUNIT_EXPECT_TRUE(test, memory->handed);
		vlt_destroy_memory(memory);
	}
	root_device_unregister(vlt->parent);
	KUNIT_EXPECT_EQ(test, vlt->data.size, 0);
	KUNIT_EXPECT_EQ(test, vlt->rogue, 0);
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), vlt->tainted);
}
