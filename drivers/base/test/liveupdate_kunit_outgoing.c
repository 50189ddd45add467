// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The transitions in the outgoing kernel
 *
 * In which order devices are prepared, frozen, thawed and cancelled, how a failure at
 * each device and callback is undone, and what device_shutdown() does to devices that
 * are frozen.
 */

#include <linux/device.h>
#include <linux/seq_buf.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* Order. */

static void dlt_order_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", a);
	struct dlt_device *c = dlt_make(test, "c", NULL);

	/* The order of requests does not matter. */
	dlt_request(test, b);
	dlt_request(test, c);
	dlt_request(test, a);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect(test, " prepare:c bus-prepare:c prepare:b bus-prepare:b",
		   " prepare:a bus-prepare:a");
	dlt_do_cancel();
	dlt_expect(test, " bus-cancel:a cancel:a bus-cancel:b cancel:b bus-cancel:c cancel:c");

	/* Now a comes after c, and takes b along. */
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &c->dev, 0));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect(test, " prepare:b bus-prepare:b prepare:a bus-prepare:a",
		   " prepare:c bus-prepare:c");
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a freeze:c bus-freeze:c");
	dlt_do_thaw();
	dlt_expect(test, " bus-thaw:c thaw:c bus-thaw:a thaw:a bus-thaw:b thaw:b");
	dlt_do_cancel();
	dlt_expect(test, " bus-cancel:c cancel:c bus-cancel:a cancel:a bus-cancel:b cancel:b");

	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	KUNIT_EXPECT_STREQ(test, dlt_ser(0)->id, "c");
	KUNIT_EXPECT_STREQ(test, dlt_ser(1)->id, "a");
	KUNIT_EXPECT_STREQ(test, dlt_ser(2)->id, "b");
	for (unsigned int i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, dlt_ser(i)->parent, i == 2 ? 2 : 0);
}

/* A device must not come before what it is below. */
static void dlt_order_moved_test(struct kunit *test)
{
	struct dlt_device *b = dlt_make(test, "b", NULL);
	struct dlt_device *a = dlt_make(test, "a", NULL);

	dlt_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, &a->dev, DPM_ORDER_NONE));
	dlt_clear_log();
	dlt_expect_refused(test, "b", -EINVAL,
			   "it was moved below a device that comes after it");
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, dlt->root, DPM_ORDER_NONE));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " b");
}

/* What handlers change is written down when the bus has frozen the device, and only then. */
static void dlt_freeze_late_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_ops[0].freeze_late = dlt_freeze_late;
	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_expect(test,
		   " freeze:b bus-freeze:b freeze-late:b freeze:a bus-freeze:a freeze-late:a",
		   " path-freeze:bridge");
	dlt_do_thaw();
	dlt_expect(test, " path-thaw:bridge bus-thaw:a thaw:a bus-thaw:b thaw:b");

	chain.b->fail = "bus-freeze";
	KUNIT_EXPECT_NE(test, 0, dlt_do_freeze());
	dlt_expect(test, " freeze:b bus-freeze:b thaw:b");
	dlt_do_cancel();
}

/* Failures. */

/* The set of all these tests, providers first. */
static const char *const dlt_failing[] = { "bridge", "a", "supplier", "b", "c" };
static const bool dlt_failing_path[] = { true, false, true, false, false };

/**
 * struct dlt_failure - which callback fails
 * @call: the callback.
 * @index: the device.
 */
struct dlt_failure {
	const char *call;
	unsigned int index;
};

static const struct dlt_failure dlt_failures[] = {
	{ "prepare", 1 }, { "prepare", 3 }, { "prepare", 4 },
	{ "bus-prepare", 1 }, { "bus-prepare", 3 }, { "bus-prepare", 4 },
	{ "path-on", 0 }, { "path-on", 2 }, { "path-freeze", 0 }, { "path-freeze", 2 },
	{ "freeze", 1 }, { "freeze", 3 }, { "freeze", 4 },
	{ "bus-freeze", 1 }, { "bus-freeze", 3 }, { "bus-freeze", 4 },
};

static void dlt_failure_desc(const struct dlt_failure *failure, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s of %s", failure->call,
		 dlt_failing[failure->index]);
}

KUNIT_ARRAY_PARAM(dlt_failure, dlt_failures, dlt_failure_desc);

static void dlt_want(struct seq_buf *want, const char *driver, const char *bus,
		     const char *path, unsigned int i)
{
	if (dlt_failing_path[i] && path)
		seq_buf_printf(want, " %s:%s", path, dlt_failing[i]);
	else if (!dlt_failing_path[i])
		seq_buf_printf(want, " %s:%s %s:%s", driver, dlt_failing[i],
			       bus, dlt_failing[i]);
}

/* What happens if @failure does, in exactly this order. */
static void dlt_want_failure(struct seq_buf *want, const struct dlt_failure *failure)
{
	const char *name = dlt_failing[failure->index];
	bool frozen = strstr(failure->call, "freeze");
	bool bus = !strncmp(failure->call, "bus-", 4);
	unsigned int i;

	for (i = ARRAY_SIZE(dlt_failing) - 1; i > failure->index; i--)
		dlt_want(want, frozen ? "freeze" : "prepare",
			 frozen ? "bus-freeze" : "bus-prepare",
			 frozen ? "path-freeze" : "path-on", i);
	if (bus)
		seq_buf_printf(want, " %s:%s", failure->call + 4, name);
	seq_buf_printf(want, " %s:%s", failure->call, name);
	if (bus)
		seq_buf_printf(want, " %s:%s", frozen ? "thaw" : "cancel", name);
	for (i++; i < ARRAY_SIZE(dlt_failing); i++)
		dlt_want(want, frozen ? "bus-thaw" : "bus-cancel",
			 frozen ? "thaw" : "cancel",
			 frozen ? "path-thaw" : "path-off", i);
}

static struct dlt_device *dlt_make_failing(struct kunit *test, unsigned int index)
{
	struct dlt_device *dev[ARRAY_SIZE(dlt_failing)];

	dev[0] = dlt_make_bridge(test, "bridge", NULL);
	dev[1] = dlt_make(test, "a", dev[0]);
	dev[2] = dlt_make(test, "supplier", NULL);
	dev[2]->bridge = true;
	dev[3] = dlt_make(test, "b", dev[1]);
	dev[4] = dlt_make(test, "c", NULL);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&dev[4]->dev, &dev[2]->dev, 0));
	dlt_request(test, dev[3]);
	dlt_request(test, dev[4]);

	return dev[index];
}

static void dlt_failure_test(struct kunit *test)
{
	const struct dlt_failure *failure = test->param_value;
	struct dlt_device *failing = dlt_make_failing(test, failure->index);
	int references = dlt_references();
	int usage = dlt_usage(failing);
	char text[512];
	struct seq_buf want;

	seq_buf_init(&want, text, sizeof(text));
	dlt_want_failure(&want, failure);
	KUNIT_ASSERT_FALSE(test, seq_buf_has_overflowed(&want));
	failing->fail = failure->call;
	if (strstr(failure->call, "freeze")) {
		KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
		dlt_clear_log();
		KUNIT_EXPECT_EQ(test, -EIO, dlt_do_freeze());
		dlt_expect(test, seq_buf_str(&want));
		dlt_expect_failed(test, dlt_failing[failure->index], -EIO,
				  NULL);
		/* Everything is still prepared, and can be frozen. */
		failing->fail = NULL;
		KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
		dlt_do_thaw();
		dlt_do_cancel();
	} else {
		dlt_clear_log();
		KUNIT_EXPECT_EQ(test, -EIO, dlt_do_prepare());
		dlt_expect(test, seq_buf_str(&want));
		dlt_expect_failed(test, dlt_failing[failure->index], -EIO,
				  NULL);
	}
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlt_references(), references);
	KUNIT_EXPECT_EQ(test, dlt_usage(failing), usage);

	failing->fail = NULL;
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, dlt_usage(failing), usage + IS_ENABLED(CONFIG_PM));
	/* Each device of the set pins the module of its driver. */
	if (references)
		KUNIT_EXPECT_EQ(test, dlt_references(), references + 5);
	dlt_do_cancel();
	KUNIT_EXPECT_EQ(test, dlt_references(), references);
	KUNIT_EXPECT_EQ(test, dlt_usage(failing), usage);
}

/* Shutdown. */

static void dlt_shutdown_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	struct dlt_device *c = dlt_make_below(test, "c", chain.b, &dlt_class);
	struct dlt_device *other = dlt_make(test, "other", NULL);
	struct dlt_device *forwarder = dlt_new(test, "forwarder", NULL);

	forwarder->dev.bus = &dlt_forward_bus;
	forwarder->bridge = true;
	dlt_add(test, forwarder);
	dlt_request(test, dlt_make(test, "forwarded", forwarder));
	dlt_request(test, c);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	/* Other ways to go down than live update do not freeze anything. */
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(c->between));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&chain.bridge->dev));

	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.a->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&c->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(c->between));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&other->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(dlt->root));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_on_path(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&chain.a->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&other->dev));

	/* Its bus shuts it down in its own way, if it has one. */
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&forwarder->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_on_path(&forwarder->dev));

	dlt_come_back();
	dlt_do_thaw();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.a->dev));
}

/* Something says that a device does not run any more. */
static void dlt_abort(struct dlt_device *dlt_dev)
{
	guard(device)(&dlt_dev->dev);
	device_liveupdate_abort(&dlt_dev->dev, "it failed");
}

static bool dlt_is_lost(struct dlt_device *dlt_dev)
{
	return dlt_outgoing_ser(dlt_dev)->flags & DEVICE_LIVEUPDATE_SER_LOST;
}

static void dlt_pass_all(struct kunit *test, const struct dlt_chain *chain)
{
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	KUNIT_ASSERT_TRUE(test, device_liveupdate_shutdown(&chain->b->dev));
	dlt_clear_log();
}

/* What is lost before the shutdown has come to it is given back to its driver. */
static void dlt_abort_before_pass_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_request(test, chain.b);
	dlt_pass_all(test, &chain);
	dlt_abort(chain.a);
	dlt_expect(test, " bus-thaw:a thaw:a bus-cancel:a cancel:a");
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.a->dev));
}

/* Afterwards it is stopped, and all that was handed over stays so. */
static void dlt_abort_passed_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	size_t size;

	chain.b->blob = true;
	dlt_request(test, chain.b);
	dlt_pass_all(test, &chain);
	size = dlu_of(&chain.b->dev)->data.size;
	KUNIT_ASSERT_NE(test, 0, size);
	for (int again = 0; again < 2; again++) {
		dlt_abort(chain.b);
		dlt_expect(test, again ? "" : " stop:b");
	}
	KUNIT_EXPECT_TRUE(test, dlt_is_lost(chain.b));
	KUNIT_EXPECT_FALSE(test, dlt_is_lost(chain.a));
	KUNIT_EXPECT_EQ(test, dlu_of(&chain.b->dev)->data.size, size);

	/* Whatever is called, this one is not. */
	dlt_do_thaw();
	dlt_expect(test, " path-thaw:bridge bus-thaw:a thaw:a");
	device_release_driver(&chain.b->dev);
	dlt_expect(test, " remove:b");
}

/* The same if somebody takes it away, whatever becomes of the rest. */
static void dlt_remove_passed_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_request(test, chain.b);
	dlt_pass_all(test, &chain);
	dlt_do_thaw();
	dlt_expect(test, " path-thaw:bridge bus-thaw:a thaw:a");
	dlt_del(chain.b);
	dlt_expect(test, " stop:b remove:b");
	KUNIT_EXPECT_TRUE(test, dlt_is_lost(chain.b));
}

/* A bus that has nothing to stop; and what is only on the path accesses nothing. */
static void dlt_abort_passed_bare_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_request(test, chain.b);
	dlt_pass_all(test, &chain);
	KUNIT_ASSERT_TRUE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	dlt_abort(chain.bridge);
	dlt_bus_ops.stop = NULL;
	dlt_abort(chain.b);
	dlt_expect(test, "");
	KUNIT_EXPECT_TRUE(test, dlt_is_lost(chain.b));
	KUNIT_EXPECT_TRUE(test, dlt_is_lost(chain.bridge));
}

static struct kunit_case dlt_outgoing_cases[] = {
	KUNIT_CASE(dlt_freeze_late_test),
	KUNIT_CASE(dlt_order_test),
	KUNIT_CASE(dlt_order_moved_test),
	KUNIT_CASE_PARAM(dlt_failure_test, dlt_failure_gen_params),
	KUNIT_CASE(dlt_shutdown_test),
	KUNIT_CASE(dlt_abort_before_pass_test),
	KUNIT_CASE(dlt_abort_passed_test),
	KUNIT_CASE(dlt_remove_passed_test),
	KUNIT_CASE(dlt_abort_passed_bare_test),
	{}
};

static struct kunit_suite dlt_outgoing_suite = {
	.name = "device-liveupdate-outgoing",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_outgoing_cases,
};

kunit_test_suite(dlt_outgoing_suite);
