// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtqueues that are about to be handed over
 *
 * What is written down, what may be in flight, and that a device goes on as if nothing had
 * happened if the update does not come.
 */

#include <linux/io.h>
#include <linux/scatterlist.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>

#include "virtio_liveupdate_kunit.h"

/* Memory of the driver and of its virtqueues. */
#define VLT_NR_BUFFERS	(1 + VLT_NR_QUEUES)

static void vlt_expect_stopped(struct kunit *test, bool stopped)
{
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		KUNIT_EXPECT_EQ(test, virtqueue_is_broken(vlt_vq(i)), stopped);
}

/* The device works: a buffer that is added comes back, once. */
static void vlt_expect_works(struct kunit *test)
{
	vlt_expect_stopped(test, false);
	vlt_add(test, VLT_IN, 9, 1);
	vlt_use(test, VLT_IN, 9, 9);
	vlt_interrupt(VLT_IN);
	vlt_expect_received(test, " 0.9:9");
}

static void vlt_prepare_test(struct kunit *test)
{
	const struct virtio_liveupdate_ser *ser;

	vlt_offer(VLT_F_TWO);
	vlt_boot(test);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), VLT_NR_BUFFERS);
	ser = liveupdate_data_blob(&vlt->data);
	KUNIT_EXPECT_EQ(test, ser->version, VIRTIO_LIVEUPDATE_VERSION);
	KUNIT_EXPECT_EQ(test, ser->nr_queues, VLT_NR_QUEUES);
	KUNIT_EXPECT_EQ(test, ser->driver_size, ALIGN(sizeof(struct vlt_saved), sizeof(u64)));
	KUNIT_EXPECT_MEMEQ(test, ser->features, vlt_vdev()->features_array,
			   sizeof(ser->features));
	KUNIT_EXPECT_GE(test, vlt->data.size,
			virtio_liveupdate_blob_size(ser->driver_size, VLT_NR_QUEUES,
						    VLT_NR_QUEUES * VLT_NUM));
	/* It works until it is frozen. */
	vlt_expect_works(test);
	vlt_cancel();
	KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), 0);
	KUNIT_EXPECT_EQ(test, vlt->data.size, 0);
	vlt_expect_works(test);
}

/* One after the other cannot be preserved, and nothing of the attempt is left. */
static void vlt_prepare_fails_test(struct kunit *test)
{
	vlt_boot(test);
	for (unsigned int nr = 0; nr < VLT_NR_BUFFERS; nr++) {
		vlt->nr_preserve = nr;
		KUNIT_EXPECT_EQ(test, -EBUSY, vlt_prepare());
		KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), 0);
		KUNIT_EXPECT_EQ(test, vlt->data.size, 0);
		vlt_expect_works(test);
	}
	vlt->nr_preserve = VLT_NR_BUFFERS;
	KUNIT_EXPECT_EQ(test, 0, vlt_prepare());
}

/* What was written down of virtqueue @queue. Its first buffer is @first in the record. */
static void vlt_expect_saved(struct kunit *test, enum vlt_queue queue, unsigned int first,
			     unsigned int nr)
{
	const struct virtio_liveupdate_queue_ser *ser = vlt_queue_ser(queue);
	const struct vlt_host_queue *hq = vlt_host_queue(queue);

	KUNIT_EXPECT_EQ(test, ser->index, queue);
	KUNIT_EXPECT_EQ(test, ser->tag, 2 * queue);
	KUNIT_EXPECT_EQ(test, ser->align, SMP_CACHE_BYTES);
	KUNIT_EXPECT_EQ(test, ser->num, VLT_NUM);
	KUNIT_EXPECT_EQ(test, ser->num_max, VLT_NUM);
	KUNIT_EXPECT_EQ(test, ser->nr_buffers, nr);
	KUNIT_EXPECT_EQ(test, ser->avail_idx, hq->seen);
	KUNIT_EXPECT_EQ(test, ser->last_used_idx, (u16)(hq->seen - nr));
	for (unsigned int i = first; i < first + nr; i++) {
		const struct virtio_liveupdate_buffer_ser *buffer = vlt_buffer_ser(i);

		KUNIT_EXPECT_EQ(test, buffer->reserved, 0);
		KUNIT_ASSERT_LT(test, buffer->name, VLT_NR_SLOTS);
		KUNIT_EXPECT_EQ(test, buffer->head, hq->held[buffer->name]);
	}
}

/* The names are those that the driver gave, and the heads those that the host knows. */
static void vlt_save_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_start_at(VLT_OUT, U16_MAX);
	vlt_add(test, VLT_IN, 5, 2);
	vlt_add(test, VLT_IN, 3, 1);
	vlt_add(test, VLT_IN, 4, 3);
	vlt_add(test, VLT_OUT, 1, 1);
	vlt_add(test, VLT_OUT, 0, 4);
	vlt_use(test, VLT_IN, 5, 1);
	vlt_interrupt(VLT_IN);
	vlt_add(test, VLT_IN, 6, 1);
	vlt_fetch(test, VLT_IN);
	vlt_fetch(test, VLT_OUT);
	virtqueue_disable_cb(vlt_vq(VLT_OUT));
	vlt_jump(test);

	KUNIT_EXPECT_EQ(test, vlt_ser()->nr_buffers, 5);
	vlt_expect_saved(test, VLT_IN, 0, 3);
	vlt_expect_saved(test, VLT_OUT, 3, 2);
	KUNIT_EXPECT_EQ(test, vlt_queue_ser(VLT_IN)->avail_flags, 0);
	KUNIT_EXPECT_EQ(test, vlt_queue_ser(VLT_OUT)->avail_flags,
			VRING_AVAIL_F_NO_INTERRUPT);
}

/* Nothing happens in the kernel while it is frozen, and nothing is lost afterwards. */
static void vlt_thaw_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_IN, 1, 3);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	KUNIT_ASSERT_EQ(test, 0, vlt_freeze());
	vlt_expect_stopped(test, true);
	KUNIT_EXPECT_EQ(test, -EIO, vlt_try_add(VLT_IN, 2, 1));
	vlt_use(test, VLT_IN, 1, 11);
	vlt_interrupt(VLT_IN);
	virtio_config_changed(vlt_vdev());
	virtio_config_changed(vlt_vdev());
	vlt_expect_received(test, "");
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 0);
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 0);
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_IN)->nr_notified, 0);

	vlt_thaw();
	vlt_expect_received(test, " 0.1:11");
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 1);
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 1);
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_IN)->nr_notified, 1);
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_OUT)->nr_notified, 0);
	virtio_config_changed(vlt_vdev());
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 2);
	vlt_expect_works(test);
	KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), VLT_NR_BUFFERS);

	/* Again, with what is left. */
	KUNIT_ASSERT_EQ(test, 0, vlt_freeze());
	vlt_use(test, VLT_IN, 0, 1);
	vlt_thaw();
	vlt_expect_received(test, " 0.0:1");
	vlt_cancel();
	vlt_expect_works(test);
}

/* A virtqueue that does not work is not handed over, and the others are not stopped. */
static void vlt_freeze_broken_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		vlt_vvq(i)->broken = true;
		KUNIT_EXPECT_EQ(test, -EIO, vlt_freeze());
		for (unsigned int j = 0; j < VLT_NR_QUEUES; j++)
			KUNIT_EXPECT_EQ(test, virtqueue_is_broken(vlt_vq(j)), i == j);
		vlt_vvq(i)->broken = false;
	}
	virtio_config_changed(vlt_vdev());
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 1);
	vlt_expect_works(test);
}

/* Buffers that cannot be handed over: what they are, and what undoes that. */

static int vlt_add_mapped(unsigned int parts)
{
	struct vlt_slot *room = &vlt_state()->slots[VLT_OUT][2];
	struct scatterlist sg[2];

	sg_init_table(sg, parts);
	for (unsigned int i = 0; i < parts; i++)
		sg_set_buf(&sg[i], phys_to_virt(vlt_slot_dma(VLT_OUT, 2) + i * VLT_PART),
			   VLT_PART);
	room->index = 2;
	room->busy = true;

	return virtqueue_add_outbuf(vlt_vq(VLT_OUT), sg, parts, room, GFP_KERNEL);
}

static int vlt_add_not_preserved(void)
{
	return vlt_add_mapped(1);
}

static int vlt_add_indirect(void)
{
	return vlt_add_mapped(2);
}

/* All of it is premapped, and the host would not find the parts in the ring. */
static int vlt_add_indirect_premapped(void)
{
	return vlt_try_add(VLT_OUT, 2, 2);
}

/* The head of the chain is as it should be, and the last part of it is not. */
static int vlt_add_chain(void)
{
	struct vring_virtqueue *vq = vlt_vvq(VLT_OUT);
	unsigned int head = vq->free_head;
	int err = vlt_try_add(VLT_OUT, 2, 3);

	for (unsigned int i = 0; i < 2; i++)
		head = vq->split.desc_extra[head].next;
	vq->split.desc_extra[head].addr = vlt_slot_dma(VLT_OUT, 2);

	return err;
}

/**
 * struct vlt_foreign - a buffer in memory that is not known to be preserved
 * @about: name of the case.
 * @add: adds it to %VLT_OUT.
 * @feature: what it takes, or 0.
 */
struct vlt_foreign {
	const char *about;
	int (*add)(void);
	unsigned int feature;
};

static const struct vlt_foreign vlt_foreigns[] = {
	{ "mapped", vlt_add_not_preserved },
	{ "indirect", vlt_add_indirect, VIRTIO_RING_F_INDIRECT_DESC },
	{ "indirect, premapped", vlt_add_indirect_premapped, VIRTIO_RING_F_INDIRECT_DESC },
	{ "part of a chain", vlt_add_chain },
};

KUNIT_ARRAY_PARAM_DESC(vlt_foreign, vlt_foreigns, about);

/* The device goes on, and what it did meanwhile is delivered. */
static void vlt_freeze_foreign_test(struct kunit *test)
{
	const struct vlt_foreign *foreign = test->param_value;

	if (foreign->feature)
		vlt_offer(foreign->feature);
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_OUT, 1, 1);
	KUNIT_ASSERT_EQ(test, 0, foreign->add());
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	vlt_use(test, VLT_IN, 0, 10);
	KUNIT_EXPECT_EQ(test, -EBUSY, vlt_freeze());
	vlt_expect_received(test, " 0.0:10");
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 1);
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_OUT)->nr_notified, 1);
	virtio_config_changed(vlt_vdev());
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 1);
	vlt_expect_works(test);

	/* It is over as soon as that buffer has been reset away. */
	vlt_cancel();
	while (virtqueue_detach_unused_buf(vlt_vq(VLT_OUT)))
		;
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	KUNIT_EXPECT_EQ(test, 0, vlt_freeze());
	vlt_thaw();
	vlt_expect_works(test);
}

/* The driver lost count of what is in flight: the record would not be valid. */
static void vlt_freeze_count_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	for (int i = -1; i <= 1; i += 2) {
		vlt_vvq(VLT_IN)->split.avail_idx_shadow += i;
		KUNIT_EXPECT_EQ(test, -EIO,
				vlt_bus()->freeze(&vlt_vdev()->dev,
						  DEVICE_LIVEUPDATE_ENDPOINT));
		vlt_vvq(VLT_IN)->split.avail_idx_shadow -= i;
		vlt_expect_stopped(test, false);
	}
}

static void vlt_no_recycle(struct virtqueue *vq, void *buf)
{
	KUNIT_FAIL(vlt->test, "a buffer in flight was taken back");
}

/* What is preserved stays where it is. */
static void vlt_change_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	KUNIT_EXPECT_EQ(test, -EBUSY, virtqueue_resize(vlt_vq(VLT_IN), VLT_NUM / 2,
						       vlt_no_recycle, NULL));
	KUNIT_EXPECT_EQ(test, -EBUSY, virtqueue_reset(vlt_vq(VLT_IN), vlt_no_recycle, NULL));
	KUNIT_EXPECT_EQ(test, vlt->nr_disabled, 0);
	KUNIT_EXPECT_EQ(test, vlt_vq(VLT_IN)->num_free, VLT_NUM - 1);
	vlt_use(test, VLT_IN, 0, 1);
	vlt_interrupt(VLT_IN);
	vlt_expect_received(test, " 0.0:1");
	vlt_expect_works(test);
	vlt_cancel();
	KUNIT_EXPECT_EQ(test, 0, virtqueue_reset(vlt_vq(VLT_IN), vlt_no_recycle, NULL));
	KUNIT_EXPECT_EQ(test, vlt->nr_disabled, 1);
	vlt_expect_works(test);
}

static struct kunit_case vlt_freeze_cases[] = {
	KUNIT_CASE(vlt_prepare_test),
	KUNIT_CASE(vlt_prepare_fails_test),
	KUNIT_CASE(vlt_save_test),
	KUNIT_CASE(vlt_thaw_test),
	KUNIT_CASE(vlt_freeze_broken_test),
	KUNIT_CASE_PARAM(vlt_freeze_foreign_test, vlt_foreign_gen_params),
	KUNIT_CASE(vlt_freeze_count_test),
	KUNIT_CASE(vlt_change_test),
	{}
};

static struct kunit_suite vlt_freeze_suite = {
	.name = "virtio-liveupdate-freeze",
	.init = vlt_init,
	.exit = vlt_exit,
	.test_cases = vlt_freeze_cases,
};

kunit_test_suite(vlt_freeze_suite);
