// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A virtio device in a live update, but for its virtqueues
 *
 * Which device it is, why it is refused, how the next kernel recognizes it, what that must
 * be able to do, and what becomes of a device that nobody takes over.
 */

#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>

#include "virtio_liveupdate_kunit.h"

static void vlt_expect_supported(struct kunit *test)
{
	const char *reason = "none";

	KUNIT_EXPECT_EQ(test, 0, vlt_bus()->check(&vlt_vdev()->dev, &reason));
	KUNIT_EXPECT_STREQ(test, reason, "none");
}

static void vlt_expect_objection(struct kunit *test, const char *want)
{
	const char *reason = "none";

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, vlt_bus()->check(&vlt_vdev()->dev, &reason));
	KUNIT_EXPECT_STREQ(test, reason, want);
}

/* By kind and vendor, and not by a number that was given in the order of enumeration. */
static void vlt_identify_test(struct kunit *test)
{
	const struct virtio_liveupdate_fingerprint *fingerprint;
	struct device_liveupdate_id id = {}, other = {};

	vlt_boot(test);
	KUNIT_EXPECT_EQ(test, 0, vlt_bus()->identify(&vlt_vdev()->dev, &id));
	KUNIT_EXPECT_STREQ(test, id.id, "19285");
	fingerprint = (void *)id.fingerprint;
	KUNIT_EXPECT_EQ(test, fingerprint->vendor, VLT_VENDOR);
	KUNIT_EXPECT_NULL(test, memchr_inv(fingerprint->reserved, 0,
					   sizeof(fingerprint->reserved)));
	KUNIT_EXPECT_MEMEQ(test, &id, &vlt->asked, sizeof(id));

	vlt_vdev()->index++;
	KUNIT_EXPECT_EQ(test, 0, vlt_bus()->identify(&vlt_vdev()->dev, &other));
	KUNIT_EXPECT_MEMEQ(test, &id, &other, sizeof(id));
	vlt_vdev()->index--;
}

/* It comes along with its transport. */
static void vlt_follow_test(struct kunit *test)
{
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt_bus()->follow(&vlt_vdev()->dev));
}

/* What makes a device one that is refused, and undoes that the second time. */

static void vlt_toggle_poll(void)
{
	static void (*poll_vqs)(struct virtio_device *vdev);

	if (vlt->config.poll_vqs) {
		poll_vqs = vlt->config.poll_vqs;
		vlt->config.poll_vqs = NULL;
	} else {
		vlt->config.poll_vqs = poll_vqs;
	}
}

static void vlt_toggle_map(void)
{
	static const struct virtio_map_ops map;

	vlt_vdev()->map = vlt_vdev()->map ? NULL : &map;
}

static void vlt_toggle_promise(void)
{
	vlt_ops.dma_api_only ^= true;
}

static void vlt_toggle_names(void)
{
	vlt_driver.liveupdate = vlt_driver.liveupdate ? NULL : &vlt_virtio_ops;
}

static void vlt_toggle_version(void)
{
	vlt_vdev()->features ^= BIT_ULL(VIRTIO_F_VERSION_1);
}

static void vlt_toggle_packed(void)
{
	vlt_vdev()->features ^= BIT_ULL(VIRTIO_F_RING_PACKED);
}

static void vlt_toggle_admin(void)
{
	vlt_vdev()->features ^= BIT_ULL(VIRTIO_F_ADMIN_VQ);
}

static void vlt_toggle_order(void)
{
	vlt_vdev()->features ^= BIT_ULL(VIRTIO_F_IN_ORDER);
}

static void vlt_toggle_ready(void)
{
	vlt->host.status ^= VIRTIO_CONFIG_S_DRIVER_OK;
}

static void vlt_toggle_needs_reset(void)
{
	vlt->host.status ^= VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void vlt_toggle_failed(void)
{
	vlt->host.status ^= VIRTIO_CONFIG_S_FAILED;
}

static void vlt_toggle_gone(void)
{
	vlt->host.status ^= VIRTIO_LIVEUPDATE_STATUS ^ VIRTIO_LIVEUPDATE_GONE;
}

/* Of the virtqueues it is the last one, so that all of them have to be looked at. */

static void vlt_toggle_layout(void)
{
	vlt_vvq(VLT_OUT)->layout ^= VQ_LAYOUT_SPLIT ^ VQ_LAYOUT_SPLIT_IN_ORDER;
}

static void vlt_toggle_memory(void)
{
	static struct dma_liveupdate_buffer *other;

	swap(vlt_vvq(VLT_OUT)->split.buffer, other);
}

static void vlt_toggle_reset(void)
{
	vlt_vq(VLT_OUT)->reset ^= true;
}

static void vlt_toggle_broken(void)
{
	vlt_vvq(VLT_OUT)->broken ^= true;
}

/**
 * struct vlt_objection - why a device is refused
 * @about: name of the case.
 * @toggle: makes it so, and undoes that.
 * @reason: what is said.
 */
struct vlt_objection {
	const char *about;
	void (*toggle)(void);
	const char *reason;
};

static const struct vlt_objection vlt_objections[] = {
	{ "transport", vlt_toggle_poll, "its transport cannot hand it over" },
	{ "mapping", vlt_toggle_map, "its transport cannot hand it over" },
	{ "promise", vlt_toggle_promise,
	  "its driver does not say that all its DMA goes through the DMA API" },
	{ "names", vlt_toggle_names, "its driver cannot name its buffers" },
	{ "legacy", vlt_toggle_version, "a legacy device" },
	{ "packed", vlt_toggle_packed, "has packed virtqueues" },
	{ "administration", vlt_toggle_admin, "has an administration virtqueue" },
	{ "in order", vlt_toggle_order, "has a feature that cannot be carried over" },
	{ "not ready", vlt_toggle_ready, "does not work as it should" },
	{ "needs reset", vlt_toggle_needs_reset, "does not work as it should" },
	{ "failed", vlt_toggle_failed, "does not work as it should" },
	{ "gone", vlt_toggle_gone, "does not work as it should" },
	{ "layout", vlt_toggle_layout, "a virtqueue is no split one" },
	{ "memory", vlt_toggle_memory, "a virtqueue is in memory that cannot be kept" },
	{ "reset", vlt_toggle_reset, "a virtqueue does not work, or is being reset" },
	{ "broken", vlt_toggle_broken, "a virtqueue does not work, or is being reset" },
};

KUNIT_ARRAY_PARAM_DESC(vlt_objection, vlt_objections, about);

static void vlt_check_test(struct kunit *test)
{
	const struct vlt_objection *objection = test->param_value;

	vlt_boot(test);
	vlt_expect_supported(test);
	objection->toggle();
	vlt_expect_objection(test, objection->reason);
	objection->toggle();
	vlt_expect_supported(test);
}

static int vlt_not_now(struct virtio_device *vdev)
{
	return -ENODEV;
}

static void vlt_check_unbound_test(struct kunit *test)
{
	vlt->before = vlt_not_now;
	KUNIT_ASSERT_EQ(test, 0, vlt_try_boot(test));
	vlt_expect_objection(test, "its driver cannot name its buffers");
}

/* The list that the next kernel must know, too. */
static void vlt_check_features_test(struct kunit *test)
{
	const u64 carried = BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			    BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |
			    BIT_ULL(VIRTIO_F_VERSION_1) |
			    BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
			    BIT_ULL(VIRTIO_F_ORDER_PLATFORM) |
			    BIT_ULL(VIRTIO_F_SR_IOV) |
			    BIT_ULL(VIRTIO_F_NOTIFICATION_DATA) |
			    BIT_ULL(VIRTIO_F_RING_RESET);
	struct virtio_device *vdev;
	const char *reason;

	vlt_boot(test);
	vdev = vlt_vdev();
	for (unsigned int i = VIRTIO_TRANSPORT_F_START; i < VIRTIO_TRANSPORT_F_END; i++) {
		const u64 features = vdev->features;

		vdev->features |= BIT_ULL(i);
		KUNIT_EXPECT_EQ_MSG(test, vlt_bus()->check(&vdev->dev, &reason),
				    carried & BIT_ULL(i) ? 0 : -EOPNOTSUPP, "feature %u", i);
		vdev->features = features;
	}
	/* Those of the device are the business of its driver. */
	vdev->features |= BIT_ULL(VLT_F_ONE);
	virtio_features_set_bit(vdev->features_array, VLT_F_HIGH);
	vlt_expect_supported(test);
}

/* A device that was not handed over is set up as ever. */
static void vlt_ordinary_test(struct kunit *test)
{
	vlt_offer(VLT_F_ONE);
	vlt_boot(test);
	KUNIT_EXPECT_FALSE(test, vlt->took_over);
	KUNIT_EXPECT_FALSE(test, vlt_vdev()->liveupdate_running);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 1);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_finalized, 1);
	KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_LIVEUPDATE_STATUS);
	KUNIT_EXPECT_EQ(test, vlt_vdev()->features,
			BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VLT_F_ONE));
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 0);
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 0);
	KUNIT_EXPECT_FALSE(test, virtqueue_is_broken(vlt_vq(VLT_IN)));
}

static int vlt_before_take_over(struct virtio_device *vdev)
{
	KUNIT_EXPECT_TRUE(vlt->test, vdev->liveupdate_running);
	KUNIT_EXPECT_TRUE(vlt->test, virtio_liveupdate_is_taken_over(vdev));
	KUNIT_EXPECT_EQ(vlt->test, vlt->nr_config, 0);

	return 0;
}

/* The host does not notice, and the driver is told once that the configuration changed. */
static void vlt_take_over_test(struct kunit *test)
{
	vlt_offer(VLT_F_ONE);
	vlt_offer(VLT_F_HIGH);
	vlt_boot(test);
	vlt_jump(test);
	vlt->before = vlt_before_take_over;
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
	KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_LIVEUPDATE_STATUS);
	KUNIT_EXPECT_MEMEQ(test, vlt_vdev()->features_array, vlt->host.features,
			   sizeof(vlt->host.features));
	KUNIT_EXPECT_FALSE(test, virtio_liveupdate_is_taken_over(vlt_vdev()));
	KUNIT_EXPECT_FALSE(test, vlt_vdev()->liveupdate_running);
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 1);
	KUNIT_EXPECT_EQ(test, vlt->nr_polls, 1);
	virtio_config_changed(vlt_vdev());
	KUNIT_EXPECT_EQ(test, vlt->nr_config, 2);
	vlt_expect_supported(test);
}

/* Nobody takes it over, it is quiesced, and is an ordinary device after FINISH. */
static void vlt_expect_quarantine(struct kunit *test)
{
	struct device *dev = &vlt_vdev()->dev;

	scoped_guard(device, dev)
		KUNIT_EXPECT_EQ(test, 0, vlt_bus()->quarantine(dev));
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 1);
	KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	KUNIT_EXPECT_FALSE(test, vlt_vdev()->liveupdate_running);

	vlt_finish();
	KUNIT_EXPECT_EQ(test, device_attach(dev), 1);
	KUNIT_EXPECT_TRUE(test, vlt_is_bound());
	KUNIT_EXPECT_FALSE(test, vlt->took_over);
	KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_LIVEUPDATE_STATUS);
}

/* A driver that fails leaves the device alone, and may be asked again. */
static void vlt_probe_again_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt->before = vlt_not_now;
	vlt_expect_refused(test, 1);

	vlt->before = NULL;
	KUNIT_EXPECT_EQ(test, device_attach(&vlt_vdev()->dev), 1);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
}

static void vlt_quarantine_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt->before = vlt_not_now;
	vlt_expect_refused(test, 1);
	vlt->before = NULL;
	vlt_expect_quarantine(test);
}

/* A device that is not there any more would never say that it has been reset. */
static void vlt_quarantine_gone_test(struct kunit *test)
{
	struct device *dev;

	vlt_boot(test);
	vlt_jump(test);
	vlt->host.status = VIRTIO_LIVEUPDATE_GONE;
	vlt_expect_refused(test, 0);
	dev = &vlt_vdev()->dev;
	scoped_guard(device, dev)
		KUNIT_EXPECT_EQ(test, 0, vlt_bus()->quarantine(dev));
	KUNIT_EXPECT_FALSE(test, vlt_vdev()->liveupdate_running);
	vlt_expect_untouched(test);
}

static void vlt_stop_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_bus()->stop(&vlt_vdev()->dev);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 2);
	vlt->host.status = VIRTIO_LIVEUPDATE_GONE;
	vlt_bus()->stop(&vlt_vdev()->dev);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 2);
}

/* It runs, but its record went away: nobody may set up what still uses old memory. */
static void vlt_lost_record_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt->lost = true;
	vlt_boot(test);
	KUNIT_EXPECT_FALSE(test, vlt->took_over);
	KUNIT_EXPECT_FALSE(test, vlt_vdev()->liveupdate_running);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 1);
	KUNIT_EXPECT_EQ(test, vlt->host.nr_finalized, 1);
	KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_LIVEUPDATE_STATUS);
}

/* What the next kernel must find, and what it must be able to do. */

static const u8 vlt_statuses[] = {
	0,
	VIRTIO_CONFIG_S_ACKNOWLEDGE,
	VIRTIO_LIVEUPDATE_STATUS & ~VIRTIO_CONFIG_S_DRIVER_OK,
	VIRTIO_LIVEUPDATE_STATUS & ~VIRTIO_CONFIG_S_FEATURES_OK,
	VIRTIO_LIVEUPDATE_STATUS | VIRTIO_CONFIG_S_NEEDS_RESET,
	VIRTIO_LIVEUPDATE_STATUS | VIRTIO_CONFIG_S_FAILED,
};

static void vlt_status_desc(const u8 *status, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%#x", *status);
}

KUNIT_ARRAY_PARAM(vlt_status, vlt_statuses, vlt_status_desc);

static void vlt_status_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt->host.status = *(const u8 *)test->param_value;
	vlt_expect_refused(test, 0);
	vlt_expect_quarantine(test);
}

static void vlt_unable_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);

	vlt_toggle_poll();
	vlt_expect_refused(test, 0);
	vlt_shut_down();
	vlt_toggle_poll();

	vlt_toggle_names();
	vlt_expect_refused(test, 0);
	vlt_shut_down();
	vlt_toggle_names();

	/* That was all that was missing. */
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
}

/* Features: first what was negotiated, then what the next kernel and the device say. */

static void vlt_feature_none(void)
{
}

static void vlt_feature_more(void)
{
	vlt_offer(VLT_F_TWO);
	vlt_offer(VIRTIO_F_RING_RESET);
}

static void vlt_feature_withdrawn(void)
{
	virtio_features_clear_bit(vlt->host.features, VLT_F_ONE);
}

static void vlt_feature_high_withdrawn(void)
{
	virtio_features_clear_bit(vlt->host.features, VLT_F_HIGH);
}

static void vlt_feature_unknown(void)
{
	/* The last one that it knows is VLT_F_HIGH. */
	vlt_driver.feature_table_size--;
}

static void vlt_feature_ring_withdrawn(void)
{
	virtio_features_clear_bit(vlt->host.features, VIRTIO_RING_F_EVENT_IDX);
}

/* The device has it, and the previous kernel says that it was negotiated. */
static void vlt_feature_claim(unsigned int feature)
{
	vlt_ser()->features[VIRTIO_U64(feature)] |= VIRTIO_BIT(feature);
	vlt_offer(feature);
}

static void vlt_feature_in_order(void)
{
	vlt_feature_claim(VIRTIO_F_IN_ORDER);
}

static void vlt_feature_packed(void)
{
	vlt_feature_claim(VIRTIO_F_RING_PACKED);
}

static void vlt_feature_nobodys(void)
{
	vlt_feature_claim(VIRTIO_FEATURES_BITS - 1);
}

static void vlt_feature_legacy(void)
{
	vlt_ser()->features[0] &= ~BIT_ULL(VIRTIO_F_VERSION_1);
}

/**
 * struct vlt_negotiation - what is other than it was
 * @about: name of the case.
 * @change: makes it so.
 * @good: the device is taken over all the same.
 */
struct vlt_negotiation {
	const char *about;
	void (*change)(void);
	bool good;
};

static const struct vlt_negotiation vlt_negotiations[] = {
	{ "the same", vlt_feature_none, true },
	{ "more", vlt_feature_more, true },
	{ "withdrawn", vlt_feature_withdrawn },
	{ "withdrawn in the second word", vlt_feature_high_withdrawn },
	{ "unknown to the driver", vlt_feature_unknown },
	{ "withdrawn of the ring", vlt_feature_ring_withdrawn },
	{ "in order", vlt_feature_in_order },
	{ "packed", vlt_feature_packed },
	{ "nobody's", vlt_feature_nobodys },
	{ "legacy", vlt_feature_legacy },
};

KUNIT_ARRAY_PARAM_DESC(vlt_negotiation, vlt_negotiations, about);

static void vlt_features_test(struct kunit *test)
{
	const struct vlt_negotiation *negotiation = test->param_value;
	u64 features[VIRTIO_FEATURES_U64S];

	vlt_offer(VLT_F_ONE);
	vlt_offer(VLT_F_HIGH);
	vlt_offer(VIRTIO_RING_F_EVENT_IDX);
	vlt_boot(test);
	virtio_features_copy(features, vlt_vdev()->features_array);
	vlt_jump(test);
	negotiation->change();
	if (!negotiation->good) {
		vlt_expect_refused(test, 0);
		return;
	}
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	KUNIT_EXPECT_MEMEQ(test, vlt_vdev()->features_array, features, sizeof(features));
	vlt_expect_untouched(test);
}

static int vlt_validate_good(struct virtio_device *vdev)
{
	return __virtio_test_bit(vdev, VLT_F_ONE) ? 0 : -EINVAL;
}

static int vlt_validate_bad(struct virtio_device *vdev)
{
	return -ENODEV;
}

static int vlt_validate_less(struct virtio_device *vdev)
{
	__virtio_clear_bit(vdev, VLT_F_ONE);

	return 0;
}

/* A driver that would have to negotiate again cannot take the device over. */
static void vlt_validate_test(struct kunit *test)
{
	vlt_offer(VLT_F_ONE);
	vlt_boot(test);
	vlt_jump(test);
	vlt_driver.validate = vlt_validate_bad;
	vlt_expect_refused(test, 0);
	vlt_shut_down();
	vlt_driver.validate = vlt_validate_less;
	vlt_expect_refused(test, 0);
	vlt_shut_down();
	vlt_driver.validate = vlt_validate_good;
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
}

static int vlt_retrieve_nothing(struct virtio_device *vdev)
{
	KUNIT_EXPECT_PTR_EQ(vlt->test, virtio_liveupdate_retrieve(vdev, 1), NULL);

	return 0;
}

/* As many bytes as were saved, rounded up, and not one more. */
static int vlt_retrieve_sizes(struct virtio_device *vdev)
{
	const size_t size = ALIGN(sizeof(struct vlt_saved), sizeof(u64));
	const struct vlt_saved *saved = virtio_liveupdate_retrieve(vdev, size);

	KUNIT_EXPECT_NOT_ERR_OR_NULL(vlt->test, saved);
	if (!IS_ERR_OR_NULL(saved))
		KUNIT_EXPECT_EQ(vlt->test, saved->cookie, VLT_COOKIE);
	KUNIT_EXPECT_EQ(vlt->test, -EINVAL,
			PTR_ERR_OR_ZERO(virtio_liveupdate_retrieve(vdev, size + 1)));

	return 0;
}

static void vlt_retrieve_test(struct kunit *test)
{
	vlt->before = vlt_retrieve_nothing;
	vlt_boot(test);
	vlt_jump(test);
	vlt->before = vlt_retrieve_sizes;
	vlt_boot(test);
}

/* Memory: where it cannot be kept the device works as ever, and is refused. */

static void vlt_memory_names_test(struct kunit *test)
{
	vlt_driver.liveupdate = NULL;
	vlt_boot(test);
	KUNIT_EXPECT_NULL(test, vlt_state()->buffer);
	KUNIT_EXPECT_NULL(test, vlt_vvq(VLT_IN)->split.buffer);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	vlt_expect_objection(test, "its driver cannot name its buffers");
}

static int vlt_set_map(struct virtio_device *vdev)
{
	vlt_toggle_map();

	return 0;
}

static void vlt_unset_map(struct virtio_device *vdev)
{
	vlt_toggle_map();
}

static void vlt_memory_map_test(struct kunit *test)
{
	vlt->before = vlt_set_map;
	vlt->found = vlt_unset_map;
	vlt_boot(test);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	vlt_expect_objection(test, "a virtqueue is in memory that cannot be kept");
}

/* Rings are told by their physical address, so that no other one will do. */
static void vlt_memory_offset_test(struct kunit *test)
{
	vlt->offset = PAGE_SIZE;
	vlt_boot(test);
	KUNIT_EXPECT_NULL(test, vlt_state()->buffer);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
	vlt_expect_objection(test, "a virtqueue is in memory that cannot be kept");
}

static void vlt_memory_moved_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt->offset = PAGE_SIZE;
	vlt_expect_refused(test, 1);
}

/* Memory is that of the transport, by the tags that nobody else has. */
static void vlt_memory_tags_test(struct kunit *test)
{
	vlt_boot(test);
	KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 3);
	KUNIT_EXPECT_PTR_EQ(test, vlt_find_memory(VLT_TAG)->buffer, vlt_state()->buffer);
	for (unsigned int i = 0; i < VLT_NR_QUEUES; i++) {
		KUNIT_EXPECT_EQ(test, vlt_vvq(i)->split.tag, 2 * i);
		KUNIT_EXPECT_PTR_EQ(test, vlt_find_memory(2 * i)->buffer,
				    vlt_vvq(i)->split.buffer);
	}
}

/* Interrupts */

/**
 * struct vlt_call - how a handler was called
 * @nr: how often.
 * @off: its interrupt was disabled, and those of this processor.
 * @in_softirq: no softirq could run.
 */
struct vlt_call {
	unsigned int nr;
	bool off;
	bool in_softirq;
};

static irqreturn_t vlt_handler(int irq, void *data)
{
	struct vlt_call *call = data;

	call->nr++;
	call->off = irqd_irq_disabled(irq_get_irq_data(irq)) &&
		    (IS_ENABLED(CONFIG_PREEMPT_RT) || irqs_disabled());
	call->in_softirq = softirq_count();

	return IRQ_HANDLED;
}

static void vlt_handle_test(struct kunit *test)
{
	int irq = irq_alloc_desc(NUMA_NO_NODE);
	struct vlt_call call = {};
	int err;

	KUNIT_ASSERT_GT(test, irq, 0);
	irq_set_chip_and_handler(irq, &dummy_irq_chip, handle_simple_irq);
	irq_clear_status_flags(irq, IRQ_NOREQUEST);
	err = request_irq(irq, vlt_handler, 0, "virtio-liveupdate-kunit", &call);
	KUNIT_EXPECT_EQ(test, err, 0);
	if (!err) {
		virtio_liveupdate_handle(irq, vlt_handler, &call);
		KUNIT_EXPECT_EQ(test, call.nr, 1);
		KUNIT_EXPECT_TRUE(test, call.off);
		KUNIT_EXPECT_TRUE(test, call.in_softirq);
		KUNIT_EXPECT_FALSE(test, irqd_irq_disabled(irq_get_irq_data(irq)));
		KUNIT_EXPECT_FALSE(test, irqs_disabled());
		KUNIT_EXPECT_EQ(test, softirq_count(), 0);
		free_irq(irq, &call);
	}
	irq_free_desc(irq);
}

static struct kunit_case vlt_device_cases[] = {
	KUNIT_CASE(vlt_identify_test),
	KUNIT_CASE(vlt_follow_test),
	KUNIT_CASE_PARAM(vlt_check_test, vlt_objection_gen_params),
	KUNIT_CASE(vlt_check_unbound_test),
	KUNIT_CASE(vlt_check_features_test),
	KUNIT_CASE(vlt_ordinary_test),
	KUNIT_CASE(vlt_take_over_test),
	KUNIT_CASE(vlt_probe_again_test),
	KUNIT_CASE(vlt_quarantine_test),
	KUNIT_CASE(vlt_quarantine_gone_test),
	KUNIT_CASE(vlt_stop_test),
	KUNIT_CASE(vlt_lost_record_test),
	KUNIT_CASE_PARAM(vlt_status_test, vlt_status_gen_params),
	KUNIT_CASE(vlt_unable_test),
	KUNIT_CASE_PARAM(vlt_features_test, vlt_negotiation_gen_params),
	KUNIT_CASE(vlt_validate_test),
	KUNIT_CASE(vlt_retrieve_test),
	KUNIT_CASE(vlt_memory_names_test),
	KUNIT_CASE(vlt_memory_map_test),
	KUNIT_CASE(vlt_memory_offset_test),
	KUNIT_CASE(vlt_memory_moved_test),
	KUNIT_CASE(vlt_memory_tags_test),
	KUNIT_CASE(vlt_handle_test),
	{}
};

static struct kunit_suite vlt_device_suite = {
	.name = "virtio-liveupdate-device",
	.init = vlt_init,
	.exit = vlt_exit,
	.test_cases = vlt_device_cases,
};

kunit_test_suite(vlt_device_suite);
