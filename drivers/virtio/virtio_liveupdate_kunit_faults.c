// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Virtio live update without memory
 *
 * Each allocation fails once, when a device is prepared and when it is taken over: nothing
 * is left of the attempt, the host does not notice, and the next attempt succeeds.
 */

#include <linux/device.h>
#include <linux/liveupdate/fault.h>

#include "virtio_liveupdate_kunit.h"

static void vlt_fault_prepare_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	vlt_boot(test);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = vlt_prepare();
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			failed++;
		} else {
			vlt_cancel();
		}
		KUNIT_EXPECT_EQ(test, vlt_nr_preserved(), 0);
		KUNIT_EXPECT_EQ(test, vlt->data.size, 0);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
}

static void vlt_fault_freeze_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	int err;

	liveupdate_fault_require(test);
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 3);
	KUNIT_ASSERT_EQ(test, 0, vlt_prepare());
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = vlt_freeze();
		vlt_thaw();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, err, 0);
	}
}

static int vlt_not_now(struct virtio_device *vdev)
{
	return -ENODEV;
}

/* The driver is gone again, and the host was told nothing. */
static void vlt_unbind(void)
{
	vlt->device->dead = true;
	device_release_driver(&vlt_vdev()->dev);
	vlt->device->dead = false;
}

static void vlt_fault_take_over_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	struct device *dev;

	liveupdate_fault_require(test);
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_IN, 1, 3);
	vlt_add(test, VLT_OUT, 0, 1);
	vlt_jump(test);
	vlt->before = vlt_not_now;
	vlt_expect_refused(test, 1);
	vlt->before = NULL;
	dev = &vlt_vdev()->dev;
	while (liveupdate_fault_next(test, &fault)) {
		int bound;

		liveupdate_fault_begin(&fault);
		bound = device_attach(dev);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, bound == 1, vlt_is_bound());
		if (vlt_is_bound()) {
			KUNIT_EXPECT_TRUE(test, vlt->took_over);
			KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 1 + VLT_NR_QUEUES);
			KUNIT_EXPECT_EQ(test, vlt_vq(VLT_IN)->num_free, VLT_NUM - 4);
			KUNIT_EXPECT_EQ(test, vlt_vq(VLT_OUT)->num_free, VLT_NUM - 1);
			vlt_unbind();
		} else {
			KUNIT_EXPECT_TRUE(test, fault.hit);
			failed++;
		}
		KUNIT_EXPECT_NULL(test, vlt_vdev()->liveupdate);
		KUNIT_EXPECT_EQ(test, vlt_nr_buffers(), 0);
		KUNIT_EXPECT_TRUE(test, list_empty(&vlt_vdev()->vqs));
		vlt_expect_untouched(test);
		KUNIT_EXPECT_EQ(test, vlt->host.status, VIRTIO_LIVEUPDATE_STATUS);
	}
	/*
	 * The state of the driver, and what it knows of its memory; of each virtqueue what
	 * it knows of the memory, itself, its two arrays, which descriptors are used, and
	 * the names.
	 */
	KUNIT_EXPECT_GE(test, failed, 2 + 6 * VLT_NR_QUEUES);
}

static struct kunit_case vlt_fault_cases[] = {
	KUNIT_CASE(vlt_fault_prepare_test),
	KUNIT_CASE(vlt_fault_freeze_test),
	KUNIT_CASE(vlt_fault_take_over_test),
	{}
};

static struct kunit_suite vlt_fault_suite = {
	.name = "virtio-liveupdate-faults",
	.init = vlt_init,
	.exit = vlt_exit,
	.test_cases = vlt_fault_cases,
};

kunit_test_suite(vlt_fault_suite);
