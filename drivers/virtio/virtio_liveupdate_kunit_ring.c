// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtqueues that go on in the next kernel
 *
 * What one kernel knew of a virtqueue the next one knows, too, wherever its indices are and
 * whatever is in flight; and each buffer is delivered once, in the order in which
 * the host used it, before, between and after the kernels.
 */

#include <linux/bitops.h>
#include <linux/io.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>

#include "virtio_liveupdate_kunit.h"

/**
 * struct vlt_snapshot - what a kernel knows of a virtqueue
 * @num_free: number of descriptors that are free.
 * @num_max: how many there can be.
 * @last_used_idx: index of the next used buffer.
 * @avail_idx: index behind the last available one.
 * @avail_flags: whether it wants interrupts.
 * @free: which descriptors are free.
 * @slot: the slot whose head a descriptor is, or -1.
 * @flags: of a descriptor in flight.
 * @next: the descriptor behind it, if there is one.
 * @len: bytes that it leads to.
 * @size: bytes of @ring.
 * @ring: the part of the ring that the driver writes to.
 */
struct vlt_snapshot {
	unsigned int num_free;
	unsigned int num_max;
	u16 last_used_idx;
	u16 avail_idx;
	u16 avail_flags;
	unsigned long free;
	int slot[VLT_NUM];
	u16 flags[VLT_NUM];
	u16 next[VLT_NUM];
	u32 len[VLT_NUM];
	size_t size;
	u8 ring[512];
};

/* Of the previous kernel, for what is called in the probe of the next one. */
static struct vlt_snapshot vlt_before[VLT_NR_QUEUES];

static unsigned long vlt_free_list(const struct vring_virtqueue *vq)
{
	unsigned int head = vq->free_head;
	unsigned long free = 0;

	for (unsigned int i = 0; i < vq->vq.num_free && head < VLT_NUM; i++) {
		free |= BIT(head);
		head = vq->split.desc_extra[head].next;
	}

	return free;
}

static void vlt_look(const struct vring_virtqueue *vq, struct vlt_snapshot *snapshot)
{
	const struct vring_virtqueue_split *split = &vq->split;

	memset(snapshot, 0, sizeof(*snapshot));
	snapshot->num_free = vq->vq.num_free;
	snapshot->num_max = vq->vq.num_max;
	snapshot->last_used_idx = vq->last_used_idx;
	snapshot->avail_idx = split->avail_idx_shadow;
	snapshot->avail_flags = split->avail_flags_shadow;
	snapshot->free = vlt_free_list(vq);
	for (unsigned int i = 0; i < split->vring.num; i++) {
		const struct vlt_slot *slot = split->desc_state[i].data;
		const struct vring_desc_extra *extra = &split->desc_extra[i];

		snapshot->slot[i] = slot ? slot->index : -1;
		if (snapshot->free & BIT(i))
			continue;
		snapshot->flags[i] = extra->flags;
		snapshot->len[i] = extra->len;
		if (extra->flags & VRING_DESC_F_NEXT)
			snapshot->next[i] = extra->next;
	}
	snapshot->size = (void *)split->vring.used - (void *)split->vring.desc;
	memcpy(snapshot->ring, split->vring.desc,
	       min(snapshot->size, sizeof(snapshot->ring)));
}

static void vlt_expect_same(struct kunit *test, enum vlt_queue queue,
			    const struct vring_virtqueue *vq)
{
	const struct vlt_snapshot *before = &vlt_before[queue];
	static struct vlt_snapshot now;

	vlt_look(vq, &now);
	KUNIT_EXPECT_EQ(test, now.num_free, before->num_free);
	KUNIT_EXPECT_EQ(test, hweight_long(now.free), now.num_free);
	KUNIT_EXPECT_EQ(test, now.free, before->free);
	KUNIT_EXPECT_EQ(test, now.num_max, before->num_max);
	KUNIT_EXPECT_EQ(test, now.last_used_idx, before->last_used_idx);
	KUNIT_EXPECT_EQ(test, now.avail_idx, before->avail_idx);
	KUNIT_EXPECT_EQ(test, now.avail_flags, before->avail_flags);
	KUNIT_EXPECT_MEMEQ(test, now.slot, before->slot, sizeof(now.slot));
	KUNIT_EXPECT_MEMEQ(test, now.flags, before->flags, sizeof(now.flags));
	KUNIT_EXPECT_MEMEQ(test, now.next, before->next, sizeof(now.next));
	KUNIT_EXPECT_MEMEQ(test, now.len, before->len, sizeof(now.len));
	KUNIT_EXPECT_LE(test, before->size, sizeof(now.ring));
	KUNIT_EXPECT_EQ(test, now.size, before->size);
	KUNIT_EXPECT_MEMEQ(test, now.ring, before->ring, sizeof(now.ring));
}

/* In the probe, with virtqueues that were found and are not let go yet. */
static void vlt_compare(struct virtio_device *vdev)
{
	const struct vlt_state *state = vdev->priv;

	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		vlt_expect_same(vlt->test, i, to_vvq(state->vqs[i]));
		KUNIT_EXPECT_TRUE(vlt->test, virtqueue_is_broken(state->vqs[i]));
		KUNIT_EXPECT_EQ(vlt->test, vlt_host_queue(i)->nr_notified, 0);
	}
	vlt_expect_received(vlt->test, "");
	KUNIT_EXPECT_EQ(vlt->test, vlt->nr_polls, 0);
}

/* Freeze, take note of everything, and go to a kernel that does not know the device yet. */
static void vlt_cross(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	KUNIT_ASSERT_EQ(test, 0, vlt_freeze());
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		vlt_look(vlt_vvq(i), &vlt_before[i]);
	vlt_jump(test);
	vlt->found = vlt_compare;
}

/* The next kernel takes the device over. */
static void vlt_arrive(struct kunit *test)
{
	vlt_boot(test);
	vlt->found = NULL;
	KUNIT_ASSERT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 1);
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++)
		KUNIT_EXPECT_FALSE(test, virtqueue_is_broken(vlt_vq(i)));
}

/* Nothing is in flight, and each descriptor can be used. */
static void vlt_expect_empty(struct kunit *test, enum vlt_queue queue)
{
	const unsigned int num = virtqueue_get_vring_size(vlt_vq(queue));
	static char text[VLT_LOG_LEN];
	struct seq_buf want;

	KUNIT_EXPECT_EQ(test, vlt_vq(queue)->num_free, num);
	seq_buf_init(&want, text, sizeof(text));
	for (unsigned int slot = 0; slot < num; slot++) {
		vlt_add(test, queue, slot, 1);
		seq_buf_printf(&want, " %u.%u:%u", queue, num - 1 - slot,
			       num - 1 - slot);
	}
	KUNIT_EXPECT_EQ(test, vlt_vq(queue)->num_free, 0);
	for (unsigned int slot = num; slot--;)
		vlt_use(test, queue, slot, slot);
	vlt_interrupt(queue);
	vlt_expect_received(test, seq_buf_str(&want));
	KUNIT_EXPECT_EQ(test, vlt_vq(queue)->num_free, num);
}

/**
 * struct vlt_ring - a kind of virtqueue
 * @about: name of the case.
 * @features: what the device offers, up to a zero.
 * @start: indices of both rings at the begin.
 * @single: each buffer is one descriptor.
 */
struct vlt_ring {
	const char *about;
	unsigned int features[3];
	u16 start;
	bool single;
};

static const struct vlt_ring vlt_rings[] = {
	{ .about = "plain" },
	{ .about = "event index", .features = { VIRTIO_RING_F_EVENT_IDX } },
	{ .about = "platform",
	  .features = { VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM } },
	{ .about = "indirect", .features = { VIRTIO_RING_F_INDIRECT_DESC }, .single = true },
	{ .about = "from 65535", .start = U16_MAX },
	{ .about = "from 65533", .start = U16_MAX - 2 },
	{ .about = "from 65532", .start = U16_MAX - 3 },
	{ .about = "from 65533 with event index", .start = U16_MAX - 2,
	  .features = { VIRTIO_RING_F_EVENT_IDX } },
};

KUNIT_ARRAY_PARAM_DESC(vlt_ring, vlt_rings, about);

static void vlt_offer_ring(const struct vlt_ring *ring)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ring->features) && ring->features[i]; i++)
		vlt_offer(ring->features[i]);
}

/* Six buffers, of which the second one was received before the update. */
static void vlt_make_traffic(struct kunit *test, bool single)
{
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_IN, 1, single ? 1 : 3);
	vlt_add(test, VLT_IN, 2, single ? 1 : 2);
	vlt_add(test, VLT_IN, 3, 1);
	vlt_use(test, VLT_IN, 1, 64);
	vlt_interrupt(VLT_IN);
	vlt_expect_received(test, " 0.1:64");
	/* In two of the three that have come back, behind those of others. */
	vlt_add(test, VLT_IN, 4, single ? 1 : 2);
	vlt_add(test, VLT_OUT, 7, 1);
	vlt_add(test, VLT_OUT, 8, single ? 1 : 4);
}

static void vlt_one_update(struct kunit *test, bool single)
{
	vlt_make_traffic(test, single);
	vlt_cross(test);
	KUNIT_EXPECT_EQ(test, vlt_before[VLT_IN].num_free, VLT_NUM - (single ? 4 : 6));

	/* Nobody listens. */
	vlt_use(test, VLT_IN, 3, 17);
	vlt_use(test, VLT_IN, 0, 64);
	vlt_use(test, VLT_OUT, 8, 0);
	vlt_arrive(test);
	vlt_expect_received(test, " 0.3:17 0.0:64 1.8:0");

	vlt_interrupt(VLT_IN);
	vlt_interrupt(VLT_OUT);
	vlt_expect_received(test, "");
	vlt_use(test, VLT_IN, 4, 5);
	vlt_use(test, VLT_IN, 2, 33);
	vlt_use(test, VLT_OUT, 7, 0);
	vlt_interrupt(VLT_OUT);
	vlt_interrupt(VLT_IN);
	vlt_expect_received(test, " 1.7:0 0.4:5 0.2:33");
	vlt_expect_empty(test, VLT_IN);
	vlt_expect_empty(test, VLT_OUT);
	vlt_finish();
}

/* Three updates in a row: what was taken over is handed over like anything else. */
static void vlt_traffic_test(struct kunit *test)
{
	const struct vlt_ring *ring = test->param_value;

	vlt_offer_ring(ring);
	vlt_boot(test);
	vlt_start_at(VLT_IN, ring->start);
	vlt_start_at(VLT_OUT, ring->start);
	vlt_one_update(test, ring->single);
	vlt_one_update(test, ring->single);
	vlt_one_update(test, ring->single);
}

/* Buffers that are still in flight when the next update comes. */
static void vlt_stay_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_make_traffic(test, false);
	for (unsigned int i = 0; i < 3; i++) {
		vlt_cross(test);
		vlt_arrive(test);
		vlt_finish();
		vlt_expect_received(test, "");
	}
	vlt_use(test, VLT_IN, 2, 2);
	vlt_cross(test);
	vlt_arrive(test);
	vlt_expect_received(test, " 0.2:2");
}

static const unsigned int vlt_in_flight[] = { 0, 1, VLT_NUM - 1, VLT_NUM };

static void vlt_in_flight_desc(const unsigned int *nr, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u", *nr);
}

KUNIT_ARRAY_PARAM(vlt_in_flight, vlt_in_flight, vlt_in_flight_desc);

/* From no buffer in flight to as many as there can be. */
static void vlt_in_flight_test(struct kunit *test)
{
	const unsigned int nr = *(const unsigned int *)test->param_value;

	vlt_boot(test);
	for (unsigned int slot = 0; slot < nr; slot++)
		vlt_add(test, VLT_IN, slot, 1);
	vlt_cross(test);
	KUNIT_EXPECT_EQ(test, vlt_ser()->nr_buffers, nr);
	vlt_arrive(test);

	/* It may not have been told yet, and of nothing it need not be told. */
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_IN)->nr_notified, !!nr);
	KUNIT_EXPECT_EQ(test, vlt_host_queue(VLT_OUT)->nr_notified, 0);
	KUNIT_EXPECT_EQ(test, vlt_try_add(VLT_IN, nr % VLT_NR_SLOTS, 1),
			nr == VLT_NUM ? -ENOSPC : 0);
	for (unsigned int slot = 0; slot < VLT_NUM; slot++) {
		if (vlt_state()->slots[VLT_IN][slot].busy)
			vlt_use(test, VLT_IN, slot, slot);
	}
	vlt_interrupt(VLT_IN);
	KUNIT_EXPECT_NULL(test, strchr(seq_buf_str(&vlt->received), '!'));
	seq_buf_clear(&vlt->received);
	vlt_expect_empty(test, VLT_IN);
	vlt_expect_empty(test, VLT_OUT);
}

/* All that was in flight was used between the kernels. */
static void vlt_all_used_test(struct kunit *test)
{
	vlt_boot(test);
	for (unsigned int slot = 0; slot < 4; slot++)
		vlt_add(test, VLT_IN, slot, 4);
	vlt_cross(test);
	for (unsigned int slot = 4; slot--;)
		vlt_use(test, VLT_IN, slot, 256 - slot);
	vlt_arrive(test);
	vlt_expect_received(test, " 0.3:253 0.2:254 0.1:255 0.0:256");
	vlt_expect_empty(test, VLT_IN);
}

/* A kick tells the host what was added since, as it asked for. */
static void vlt_kick_test(struct kunit *test)
{
	const struct vlt_ring *ring = test->param_value;
	struct vlt_host_queue *hq = vlt_host_queue(VLT_IN);

	vlt_offer_ring(ring);
	vlt_boot(test);
	vlt_start_at(VLT_IN, ring->start);
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_IN, 1, 1);
	vlt_cross(test);
	vlt_arrive(test);
	KUNIT_EXPECT_EQ(test, hq->nr_notified, 1);
	vlt_fetch(test, VLT_IN);
	vlt_want_notification(VLT_IN);
	vlt_add(test, VLT_IN, 2, 1);
	virtqueue_kick(vlt_vq(VLT_IN));
	KUNIT_EXPECT_EQ(test, hq->nr_notified, 2);
}

/**
 * struct vlt_wish - whether the driver wants interrupts
 * @about: name of the case.
 * @event: it says so by an index.
 * @off: it does not.
 */
struct vlt_wish {
	const char *about;
	bool event;
	bool off;
};

static const struct vlt_wish vlt_wishes[] = {
	{ .about = "by flag" },
	{ .about = "by flag, off", .off = true },
	{ .about = "by index", .event = true },
	{ .about = "by index, off", .event = true, .off = true },
};

KUNIT_ARRAY_PARAM_DESC(vlt_wish, vlt_wishes, about);

static void vlt_expect_wish(struct kunit *test, const struct vlt_wish *wish)
{
	const u16 flags = wish->off ? VRING_AVAIL_F_NO_INTERRUPT : 0;

	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		const struct vring_virtqueue_split *split = &vlt_vvq(i)->split;

		KUNIT_EXPECT_EQ(test, split->avail_flags_shadow, flags);
		KUNIT_EXPECT_EQ(test, virtio16_to_cpu(vlt_vdev(), split->vring.avail->flags),
				wish->event ? 0 : flags);
	}
}

/* The wish of the previous kernel counts, also if this driver would begin with another. */
static void vlt_wish_test(struct kunit *test)
{
	const struct vlt_wish *wish = test->param_value;

	if (wish->event)
		vlt_offer(VIRTIO_RING_F_EVENT_IDX);
	vlt_boot(test);
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		vlt_start_at(i, 7);
		vlt_add(test, i, 0, 1);
		if (wish->off)
			virtqueue_disable_cb(vlt_vq(i));
	}
	vlt_expect_wish(test, wish);
	vlt_cross(test);
	vlt->no_callback = true;
	vlt_arrive(test);
	vlt_expect_wish(test, wish);

	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		const struct vring *vring = &vlt_vvq(i)->split.vring;

		KUNIT_EXPECT_TRUE(test, virtqueue_enable_cb(vlt_vq(i)));
		KUNIT_EXPECT_EQ(test, virtio16_to_cpu(vlt_vdev(), vring->avail->flags), 0);
		KUNIT_EXPECT_EQ(test, virtio16_to_cpu(vlt_vdev(), vring_used_event(vring)), 7);
	}
}

static void vlt_recycle(struct virtqueue *vq, void *buf)
{
	struct vlt_slot *slot = buf;

	slot->busy = false;
}

/* A virtqueue that was resized is smaller than it can be, and its memory another one. */
static void vlt_resized_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_OUT, 3, 1);
	KUNIT_ASSERT_EQ(test, 0, virtqueue_resize(vlt_vq(VLT_OUT), VLT_NUM / 2, vlt_recycle,
						  NULL));
	KUNIT_EXPECT_EQ(test, vlt_vvq(VLT_OUT)->split.tag, 3);
	KUNIT_EXPECT_NULL(test, vlt_find_memory(2));
	vlt_add(test, VLT_OUT, 1, 4);
	vlt_cross(test);
	vlt_arrive(test);
	KUNIT_EXPECT_EQ(test, virtqueue_get_vring_size(vlt_vq(VLT_OUT)), VLT_NUM / 2);
	KUNIT_EXPECT_EQ(test, vlt_vq(VLT_OUT)->num_max, VLT_NUM);
	vlt_use(test, VLT_OUT, 1, 0);
	vlt_interrupt(VLT_OUT);
	vlt_expect_received(test, " 1.1:0");
	vlt_expect_empty(test, VLT_OUT);

	/* And back, to the memory that is not that of the smaller one. */
	vlt_finish();
	KUNIT_ASSERT_EQ(test, 0, virtqueue_resize(vlt_vq(VLT_OUT), VLT_NUM, vlt_recycle, NULL));
	KUNIT_EXPECT_EQ(test, vlt_vvq(VLT_OUT)->split.tag, 2);
	vlt_expect_empty(test, VLT_OUT);
	vlt_cross(test);
	vlt_arrive(test);
	vlt_expect_empty(test, VLT_OUT);
}

/* What a transport says of the size: as it is, how much it can be, or too little. */
static int vlt_retrieve_rings(struct virtio_device *vdev)
{
	struct vring_virtqueue_split split = {};

	KUNIT_EXPECT_EQ(vlt->test, -EINVAL,
			virtio_liveupdate_retrieve_ring(vdev, VLT_OUT, VLT_NUM / 2, &split));
	KUNIT_EXPECT_EQ(vlt->test, -ENOENT,
			virtio_liveupdate_retrieve_ring(vdev, VLT_NR_QUEUES, VLT_NUM, &split));
	KUNIT_EXPECT_EQ(vlt->test, vlt_nr_buffers(), 0);
	for (unsigned int num = VLT_NUM; num <= 2 * VLT_NUM; num *= 2) {
		KUNIT_EXPECT_EQ(vlt->test, 0,
				virtio_liveupdate_retrieve_ring(vdev, VLT_OUT, num, &split));
		KUNIT_EXPECT_EQ(vlt->test, vlt_nr_buffers(), 1);
		KUNIT_EXPECT_EQ(vlt->test, split.vring.num, VLT_NUM);
		KUNIT_EXPECT_EQ(vlt->test, split.tag, 2 * VLT_OUT);
		KUNIT_EXPECT_EQ(vlt->test, split.vring_align, SMP_CACHE_BYTES);
		KUNIT_EXPECT_EQ(vlt->test, split.queue_dma_addr,
				vlt_host_queue(VLT_OUT)->desc);
		KUNIT_EXPECT_EQ(vlt->test, split.queue_size_in_bytes,
				vring_size(VLT_NUM, SMP_CACHE_BYTES));
		virtio_liveupdate_free(split.buffer);
	}

	return 0;
}

static void vlt_retrieve_ring_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_cross(test);
	vlt->before = vlt_retrieve_rings;
	vlt_arrive(test);
}

static struct kunit_case vlt_ring_cases[] = {
	KUNIT_CASE_PARAM(vlt_traffic_test, vlt_ring_gen_params),
	KUNIT_CASE(vlt_stay_test),
	KUNIT_CASE_PARAM(vlt_in_flight_test, vlt_in_flight_gen_params),
	KUNIT_CASE(vlt_all_used_test),
	KUNIT_CASE_PARAM(vlt_kick_test, vlt_ring_gen_params),
	KUNIT_CASE_PARAM(vlt_wish_test, vlt_wish_gen_params),
	KUNIT_CASE(vlt_resized_test),
	KUNIT_CASE(vlt_retrieve_ring_test),
	{}
};

static struct kunit_suite vlt_ring_suite = {
	.name = "virtio-liveupdate-ring",
	.init = vlt_init,
	.exit = vlt_exit,
	.test_cases = vlt_ring_cases,
};

kunit_test_suite(vlt_ring_suite);
