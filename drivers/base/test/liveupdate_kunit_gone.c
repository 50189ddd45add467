// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Devices that change while they are prepared
 *
 * Devices that are removed or unbound, appear, or become other hardware, between
 * PREPARE and the kexec, also while a transition is under way.
 */

#include <linux/completion.h>
#include <linux/device.h>
#include <linux/kthread.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/**
 * struct dlt_elsewhere - something to be done in a thread of its own
 * @dlt_dev: the device.
 * @remove: remove it, instead of unbinding it.
 * @done: it is done.
 */
struct dlt_elsewhere {
	struct dlt_device *dlt_dev;
	bool remove;
	struct completion done;
};

static int dlt_elsewhere_thread(void *context)
{
	struct dlt_elsewhere *elsewhere = context;

	/* What it reports is for the test, too. */
	current->kunit_test = dlt->test;
	if (elsewhere->remove)
		dlt_del(elsewhere->dlt_dev);
	else
		device_release_driver(&elsewhere->dlt_dev->dev);
	complete(&elsewhere->done);

	return 0;
}

/* Nobody removes a device in a callback, but others do at the same time. */
static void dlt_elsewhere(struct dlt_device *dlt_dev, bool remove)
{
	struct dlt_elsewhere elsewhere = { .dlt_dev = dlt_dev, .remove = remove };
	struct task_struct *thread;

	init_completion(&elsewhere.done);
	thread = kthread_run(dlt_elsewhere_thread, &elsewhere, "liveupdate_kunit");
	if (IS_ERR(thread))
		KUNIT_FAIL(dlt->test, "no thread");
	else
		wait_for_completion(&elsewhere.done);
}

static void dlt_unbind_hook(struct dlt_device *dlt_dev)
{
	dlt_dev->hook = NULL;
	dlt_elsewhere(dlt_dev->context, false);
}

static void dlt_remove_hook(struct dlt_device *dlt_dev)
{
	dlt_dev->hook = NULL;
	dlt_elsewhere(dlt_dev->context, true);
}

/* Expects that the update is over since @gone went away, and only @stays is cancelled. */
static void dlt_expect_invalid(struct kunit *test, const struct dlt_device *gone,
			       const struct dlt_device *stays, size_t nr_requested)
{
	KUNIT_EXPECT_TRUE(test, dlu_outgoing.invalid);
	dlt_expect_failed(test, gone->id, -ENODEV, "it was removed or unbound while prepared");
	KUNIT_EXPECT_EQ(test, dlt_do_freeze(), -ENODEV);
	dlt_expect(test, "");
	dlt_do_cancel();
	dlt_expect(test, " path-off:bridge bus-cancel:", stays->id, " cancel:", stays->id);
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), nr_requested);
}

static void dlt_unbind_prepared_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	int references = dlt_references();

	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_clear_log();
	device_release_driver(&chain.b->dev);
	dlt_expect(test, " bus-cancel:b cancel:b remove:b");
	dlt_expect_invalid(test, chain.b, chain.a, 1);
	dlt_expect_refused(test, "b", -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&chain.b->dev, false));
	KUNIT_EXPECT_EQ(test, dlt_references(), references);

	/* The next one is not affected. */
	dlt_request(test, chain.a);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
}

static void dlt_remove_prepared_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_clear_log();
	dlt_del(chain.b);
	dlt_expect(test, " bus-cancel:b cancel:b remove:b");
	dlt_expect_invalid(test, chain.b, chain.a, 0);
}

static void dlt_remove_frozen_test(struct kunit *test)
{
	struct kho_table *table = &dlu_outgoing.table;
	const struct device_liveupdate_ser *ser;
	struct dlt_chain chain = dlt_make_chain(test);
	u64 checksum;

	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_clear_log();
	dlt_del(chain.b);
	dlt_expect(test, " bus-thaw:b thaw:b bus-cancel:b cancel:b remove:b");
	/* Its record says so, should it be too late to stop the kexec. */
	ser = dlu_of(&chain.b->dev)->ser;
	KUNIT_ASSERT_NOT_NULL(test, ser);
	KUNIT_EXPECT_STREQ(test, ser->id, "b");
	KUNIT_EXPECT_TRUE(test, ser->flags & DEVICE_LIVEUPDATE_SER_LOST);
	ser = dlu_of(&chain.a->dev)->ser;
	KUNIT_EXPECT_FALSE(test, ser->flags & DEVICE_LIVEUPDATE_SER_LOST);
	/* The table can still be read. */
	checksum = table->head->checksum;
	kho_table_seal(table);
	KUNIT_EXPECT_EQ(test, checksum, table->head->checksum);
	dlt_do_thaw();
	dlt_expect(test, " path-thaw:bridge bus-thaw:a thaw:a");
	dlt_expect_invalid(test, chain.b, chain.a, 0);
	KUNIT_EXPECT_NULL(test, dlu_of(&chain.b->dev)->ser);
}

static void dlt_unbind_path_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_clear_log();
	device_release_driver(&chain.bridge->dev);
	dlt_expect(test, " path-thaw:bridge path-off:bridge remove:bridge");
	dlt_do_thaw();
	dlt_expect(test, " bus-thaw:a thaw:a bus-thaw:b thaw:b");
	KUNIT_EXPECT_EQ(test, dlt_do_freeze(), -ENODEV);
	dlt_do_cancel();
	dlt_expect(test, " bus-cancel:a cancel:a bus-cancel:b cancel:b");
}

/* A device whose turn has not come is not cancelled, but missed. */
static void dlt_remove_before_turn_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	dlt_request(test, a);
	dlt_request(test, b);
	b->hook = dlt_remove_hook;
	b->hook_at = "prepare";
	b->context = a;
	dlt_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlt_do_prepare());
	dlt_expect(test, " prepare:b remove:a bus-prepare:b bus-cancel:b cancel:b");
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
}

/**
 * struct dlt_moment - when one of two devices is unbound
 * @about: name of the case.
 * @hook_at: callback of the other one meanwhile.
 * @first: the one that comes first is unbound.
 * @log: what is called, in parts.
 */
struct dlt_moment {
	const char *about;
	const char *hook_at;
	bool first;
	const char *log[4];
};

static const struct dlt_moment dlt_moments[] = {
	{ "prepared, in PREPARE", "prepare", true,
	  { " prepare:b bus-prepare:b prepare:a bus-cancel:b cancel:b remove:b bus-prepare:a",
	    " path-on:bridge path-off:bridge bus-cancel:a cancel:a" } },
	{ "before its turn in FREEZE", "freeze", false,
	  { " freeze:b bus-cancel:a cancel:a remove:a bus-freeze:b bus-thaw:b thaw:b" } },
	/* The last one was frozen already when the other went away. */
	{ "frozen, in FREEZE", "bus-freeze", true,
	  { " freeze:b bus-freeze:b freeze:a bus-freeze:a",
	    " bus-thaw:b thaw:b bus-cancel:b cancel:b remove:b",
	    " path-freeze:bridge path-thaw:bridge bus-thaw:a thaw:a" } },
};

KUNIT_ARRAY_PARAM_DESC(dlt_moment, dlt_moments, about);

static void dlt_unbind_meanwhile_test(struct kunit *test)
{
	const struct dlt_moment *moment = test->param_value;
	struct dlt_chain chain = dlt_make_chain(test);
	struct dlt_device *gone = moment->first ? chain.b : chain.a;
	struct dlt_device *stays = moment->first ? chain.a : chain.b;
	bool freeze = strstr(moment->hook_at, "freeze");

	dlt_request(test, chain.b);
	if (freeze)
		KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	stays->hook = dlt_unbind_hook;
	stays->hook_at = moment->hook_at;
	stays->context = gone;
	dlt_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, freeze ? dlt_do_freeze() : dlt_do_prepare());
	dlt_expect_parts(test, moment->log);
	if (freeze)
		dlt_expect_invalid(test, gone, stays, 1);
	else
		dlt_expect_idle(test);
}

/* What userspace may do to what drives a device. */
static void dlt_may_change_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	struct dlt_device *other = dlt_make(test, "other", NULL);

	dlt_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_check_change(&chain.b->dev));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	for (int frozen = 0; frozen < 2; frozen++) {
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_liveupdate_check_change(&chain.bridge->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY, device_liveupdate_check_change(&chain.a->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY, device_liveupdate_check_change(&chain.b->dev));
		KUNIT_EXPECT_EQ(test, 0, device_liveupdate_check_change(&other->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_set_driver_override(&chain.b->dev, "dlt-one"));
		KUNIT_EXPECT_FALSE(test, device_has_driver_override(&chain.b->dev));
		if (!frozen)
			KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	}
	KUNIT_EXPECT_EQ(test, 0, device_set_driver_override(&other->dev, "dlt-one"));
	dlt_do_thaw();
	dlt_do_cancel();
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_check_change(&chain.b->dev));
	KUNIT_EXPECT_EQ(test, 0, device_set_driver_override(&chain.b->dev, "dlt-one"));
}

#define DLT_CHANGED "it is not what it was when it was prepared"

static void dlt_late_child_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	struct dlt_device *child, *below, *on_path, *other;

	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_clear_log();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	/* Not even elsewhere: device_shutdown() would wait for it. */
	on_path = dlt_make(test, "on-path", chain.bridge);
	other = dlt_make(test, "other", NULL);
	dlt_expect(test, "");
	child = dlt_make(test, "child", chain.b);
	below = dlt_make_below(test, "below", chain.a, &dlt_class);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&dlt_drivers[DLT_PLAIN], &child->dev));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	dlt_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a path-freeze:bridge");
	KUNIT_EXPECT_PTR_EQ(test, child->dev.driver, NULL);
	KUNIT_EXPECT_PTR_EQ(test, below->dev.driver, NULL);
	/* What appeared below frozen ones is not shut down, all else is. */
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&child->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&below->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&on_path->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&other->dev));

	dlt_do_thaw();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&child->dev));
	dlt_do_cancel();
	wait_for_device_probe();
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(child, DLT_ONE));
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(below, DLT_ONE));
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(on_path, DLT_ONE));
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(other, DLT_ONE));
}

/* Without a set nothing is deferred. */
static void dlt_no_set_test(struct kunit *test)
{
	struct dlt_device *a;

	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	a = dlt_make(test, "a", NULL);
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
}

/* Expects that FREEZE fails at a device. */
static void dlt_expect_no_freeze(struct kunit *test, const char *name, int error,
				 const char *reason)
{
	KUNIT_EXPECT_EQ(test, error, dlt_do_freeze());
	dlt_expect_failed(test, name, error, reason);
}

/* What the device is, is read in PREPARE, and looked at once more in FREEZE. */
static void dlt_identity_changes_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);
	u8 first = chain.a->fingerprint[0];

	dlt_request(test, chain.b);
	chain.b->fingerprint[3] = 1;
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, dlt_outgoing_ser(chain.b)->fingerprint[3], 1);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	dlt_do_thaw();

	dlt_clear_log();
	chain.a->fingerprint[0] = 1;
	dlt_expect_no_freeze(test, "a", -ENODEV, DLT_CHANGED);
	dlt_expect(test, " freeze:b bus-freeze:b bus-thaw:b thaw:b");
	chain.a->fingerprint[0] = first;

	/* It moved. */
	dlt_set_identity(chain.b, "elsewhere");
	dlt_expect_no_freeze(test, "b", -ENODEV, DLT_CHANGED);
	dlt_set_identity(chain.b, "b");
	chain.b->fingerprint[3] = 1;
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	dlt_do_thaw();

	/* Not every bus can change a device. */
	dlt_do_cancel();
	dlt_bus_ops.revision = NULL;
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	chain.a->fingerprint[0] = 1;
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	KUNIT_EXPECT_EQ(test, dlt_outgoing_ser(chain.a)->fingerprint[0], first);
}

static struct kunit_case dlt_gone_cases[] = {
	KUNIT_CASE(dlt_unbind_prepared_test),
	KUNIT_CASE(dlt_remove_prepared_test),
	KUNIT_CASE(dlt_remove_frozen_test),
	KUNIT_CASE(dlt_unbind_path_test),
	KUNIT_CASE(dlt_remove_before_turn_test),
	KUNIT_CASE_PARAM(dlt_unbind_meanwhile_test, dlt_moment_gen_params),
	KUNIT_CASE(dlt_may_change_test),
	KUNIT_CASE(dlt_late_child_test),
	KUNIT_CASE(dlt_no_set_test),
	KUNIT_CASE(dlt_identity_changes_test),
	{}
};

static struct kunit_suite dlt_gone_suite = {
	.name = "device-liveupdate-gone",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_gone_cases,
};

kunit_test_suite(dlt_gone_suite);
