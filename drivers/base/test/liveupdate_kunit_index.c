// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What other subsystems ask of a device
 *
 * The number that stands for a device in what others hand over, in both kernels, and
 * what became of the device of a number at FINISH.
 */

#include <linux/device.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* "b" is the last of the chain, wherever it is called. */
static void dlt_hook_outgoing_index(struct dlt_device *dlt_dev)
{
	u32 index = 7;

	KUNIT_EXPECT_EQ(dlt->test, 0,
			device_liveupdate_outgoing_index(&dlt_dev->dev, &index));
	KUNIT_EXPECT_EQ(dlt->test, index, 2);
}

static void dlt_outgoing_index_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	u32 index = 7;

	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
	dlt_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
	chain.b->hook = dlt_hook_outgoing_index;
	chain.b->hook_at = "prepare";
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.bridge->dev,
							 &index));
	KUNIT_EXPECT_EQ(test, index, 7);
	KUNIT_EXPECT_EQ(test, 0,
			device_liveupdate_outgoing_index(&chain.a->dev, &index));
	KUNIT_EXPECT_EQ(test, index, 1);
	chain.b->hook_at = "cancel";
	dlt_do_cancel();
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));

	/* Also if it is cancelled because it goes away. */
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_del(chain.b);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
}

static void dlt_hook_incoming_index(struct dlt_device *dlt_dev)
{
	u32 index = 7;

	KUNIT_EXPECT_EQ(dlt->test, 0,
			device_liveupdate_incoming_index(&dlt_dev->dev, &index));
	KUNIT_EXPECT_EQ(dlt->test, index, 1);
}

static int dlt_incoming_index(struct dlt_device *dlt_dev, u32 *index)
{
	guard(device)(&dlt_dev->dev);

	return device_liveupdate_incoming_index(&dlt_dev->dev, index);
}

static void dlt_incoming_index_test(struct kunit *test)
{
	struct dlt_device *bridge, *a, *other;
	u32 index = 7;

	dlt_jump_chain(test);
	dlt_boot(test);
	other = dlt_make(test, "other", NULL);
	KUNIT_EXPECT_EQ(test, -ENOENT, dlt_incoming_index(other, &index));
	bridge = dlt_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlt_add(test, bridge);
	KUNIT_EXPECT_EQ(test, -ENOENT, dlt_incoming_index(bridge, &index));
	KUNIT_EXPECT_EQ(test, index, 7);

	a = dlt_new(test, "a", bridge);
	a->hook = dlt_hook_incoming_index;
	a->hook_at = "retrieve";
	dlt_add(test, a);
	dlt_expect(test, " probe:other probe:a retrieve:a");
	/* It is no more than what it is now. */
	KUNIT_EXPECT_EQ(test, -ENOENT, dlt_incoming_index(a, &index));
}

static void dlt_states_test(struct kunit *test)
{
	struct dlt_device *bridge, *a;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	a = dlt_make(test, "a", bridge);
	dlt_expect_states(test, "UUU");
	/* They run, with drivers that know what on. */
	dlt_do_finish();
	dlt_expect_states(test, "RRA");
	/* Whatever comes later. */
	dlt_del(a);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
	dlt_expect_states(test, "RRA");
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_states(test, "UUU");
}

static void dlt_states_quarantined_test(struct kunit *test)
{
	dlt_jump_chain(test);
	/* It is known whose the one is, but not the other. */
	dlt_ser(1)->version = 0;
	dlt_ser(2)->id[0] = ' ';
	dlt_seal();
	dlt_boot(test);
	dlt_make_chain(test);
	dlt_expect(test, " probe:bridge quarantine:a probe:b");
	dlt_do_finish();
	dlt_expect_states(test, "RQU");
}

/* A record that is corrupted may be of another device than the one that was stopped. */
static void dlt_states_corrupted_test(struct kunit *test)
{
	dlt_jump_one(test, DLT_ONE);
	dlt_unboot();
	dlt_ser(0)->version++;
	dlt_boot(test);
	dlt_make(test, "a", NULL);
	dlt_expect(test, " quarantine:a");
	dlt_do_finish();
	dlt_expect_states(test, "U");
}

static struct kunit_case dlt_index_cases[] = {
	KUNIT_CASE(dlt_outgoing_index_test),
	KUNIT_CASE(dlt_incoming_index_test),
	KUNIT_CASE(dlt_states_test),
	KUNIT_CASE(dlt_states_quarantined_test),
	KUNIT_CASE(dlt_states_corrupted_test),
	{}
};

static struct kunit_suite dlt_index_suite = {
	.name = "device-liveupdate-index",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_index_cases,
};

kunit_test_suite(dlt_index_suite);
