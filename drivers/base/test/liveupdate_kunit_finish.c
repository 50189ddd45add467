// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The end of an update, as far as devices go
 *
 * What becomes of devices that were taken over, of those that were not, of those that
 * cannot be stopped or do not appear, at FINISH and at the next reboot without it; and
 * in a kernel where live update is off.
 */

#include <linux/device.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* "a" is taken over, "b" is not, "c" does not appear. */
static struct dlt_device *dlt_boot_three(struct kunit *test)
{
	struct dlt_device *b;

	dlt_request(test, dlt_make(test, "a", NULL));
	dlt_request(test, dlt_make(test, "b", NULL));
	dlt_request(test, dlt_make(test, "c", NULL));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	dlt_make(test, "a", NULL);
	b = dlt_new(test, "b", NULL);
	b->drivers = BIT(DLT_PLAIN);
	dlt_add(test, b);
	dlt_expect(test, " probe:a retrieve:a");

	return b;
}

static void dlt_finish_test(struct kunit *test)
{
	struct dlt_device *b = dlt_boot_three(test), *c;

	dlt_do_finish();
	dlt_expect(test, " quarantine:b finish:a blob:a blob:b probe:b");
	dlt_expect_released(test, " block0 table");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(b, DLT_PLAIN));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
	/* Nothing is done twice. */
	dlt_go_down();
	dlt_do_finish();
	dlt_expect(test, "");
	dlt_expect_released(test, "");

	/* It may still run, in memory that nobody would hand over again. */
	dlt_expect_retained(test, "devices:" DLT_BUS ":c");

	/* Late, it is quiesced before anything else. */
	c = dlt_make(test, "c", NULL);
	dlt_expect(test, " quarantine:c blob:c probe:c");
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_PTR_EQ(test, dlu_of(&c->dev)->incoming, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	KUNIT_EXPECT_EQ(test, dlt_do_prepare(), 0);
	dlt_do_cancel();
	dlt_del(c);
	dlt_make(test, "c", NULL);
	dlt_expect(test, " remove:c probe:c");
}

/* "a" is of the next kernel, has no driver, and cannot be stopped. */
static struct dlt_device *dlt_boot_running(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->drivers = BIT(DLT_PLAIN);
	a->fail = "quarantine";
	a->fingerprint[0]++;
	dlt_add(test, a);
	dlt_expect(test, " quarantine:a");
	dlt_expect_state(test, 0, RUNNING);
	dlt_expect_retained(test, "devices:" DLT_BUS ":a");

	return a;
}

/* What cannot be stopped keeps its memory, whoever drives it next. */
static void dlt_running_test(struct kunit *test)
{
	struct dlt_device *a = dlt_boot_running(test);

	KUNIT_EXPECT_EQ(test, dlt_forget(""), -EBUSY);
	dlt_do_finish();
	dlt_expect(test, " quarantine:a probe:a");
	dlt_expect_states(test, "N");
	dlt_expect_retained(test, "devices:" DLT_BUS ":a");
	dlt_del(a);
	dlt_expect(test, " remove:a");
	dlt_expect_retained(test, "devices:" DLT_BUS ":a");
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":b"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":a"), 0);
	dlt_expect(test, " blob:a");
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
}

/* FINISH tries again. */
static void dlt_running_stopped_test(struct kunit *test)
{
	struct dlt_device *a = dlt_boot_running(test);

	a->fail = NULL;
	dlt_do_finish();
	dlt_expect(test, " quarantine:a blob:a probe:a");
	dlt_expect_states(test, "Q");
	dlt_expect_retained(test, "");
}

/* The same for one that comes late, or where live update is off. */
static void dlt_running_late_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	dlt_do_finish();
	dlt_expect(test, "");
	a = dlt_new(test, "a", NULL);
	a->fail = "quarantine";
	dlt_add(test, a);
	dlt_expect(test, " quarantine:a probe:a");
	dlt_expect_retained(test, "devices:" DLT_BUS ":a");
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":a"), 0);
	dlt_expect(test, " blob:a");
	dlt_expect_retained(test, "");
}

/* An operator knows that it is gone. */
static void dlt_forget_absent_test(struct kunit *test)
{
	dlt_boot_three(test);
	dlt_expect_retained(test, "devices");
	KUNIT_EXPECT_EQ(test, dlt_forget(""), -EBUSY);
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":c"), -EBUSY);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	dlt_do_finish();
	dlt_clear_log();
	dlt_expect_retained(test, "devices:" DLT_BUS ":c");
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":b"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlt_forget("c"), -ENOENT);
	dlt_expect(test, "");
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":c"), 0);
	dlt_expect(test, " blob:c");
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlt_forget(DLT_BUS ":c"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlt_forget(""), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	dlt_make(test, "c", NULL);
	dlt_expect(test, " probe:c");
	KUNIT_EXPECT_EQ(test, dlt_do_prepare(), 0);
}

/* Without finish, before the system goes down. */
static void dlt_reboot_test(struct kunit *test)
{
	dlt_boot_three(test);
	device_liveupdate_shutdown_begins();
	dlt_expect(test, " quarantine:b");
	device_liveupdate_shutdown_begins();
	dlt_go_down();
	dlt_expect(test, "");
}

/* One that appears after device_shutdown() began. */
static void dlt_reboot_late_test(struct kunit *test)
{
	device_liveupdate_shutdown_begins();
	dlt_boot_three(test);
	dlt_go_down();
	dlt_expect(test, " quarantine:b");
	dlt_go_down();
	dlt_expect(test, "");
}

static void dlt_finish_path_test(struct kunit *test)
{
	struct dlt_device *bridge;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlt_add(test, bridge);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_incoming(&bridge->dev));
	dlt_make(test, "b", dlt_make(test, "a", bridge));
	dlt_clear_log();
	device_liveupdate_shutdown_begins();
	dlt_go_down();
	/* A bridge is not quarantined, for there are others below it. */
	dlt_do_finish();
	dlt_expect(test, " finish:b finish:a blob:a");
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&bridge->dev));
}

static void dlt_finish_path_absent_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_boot(test);
	dlt_do_finish();
	dlt_expect(test, "");
	/* Only those that may still run are waited for. */
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 2);
	dlt_expect_retained(test, "devices:" DLT_BUS ":a devices:" DLT_BUS ":b");
	dlt_make_bridge(test, "bridge", NULL);
	dlt_expect(test, " probe:bridge");
}

/* Who goes away without having been taken over is stopped, and comes back as new. */
static void dlt_comes_back_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->drivers = 0;
	dlt_add(test, a);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	dlt_expect_retained(test, "");
	dlt_del(a);
	dlt_expect(test, " quarantine:a");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, kref_read(&a->dev.kobj.kref), 1);
	dlt_expect_state(test, 0, RELEASED);
	dlt_expect_retained(test, "");

	a = dlt_make(test, "a", NULL);
	dlt_expect(test, " probe:a");
	dlt_do_finish();
	dlt_expect(test, " blob:a");
}

/* The same if it cannot be stopped, and for a bridge. */
static void dlt_removed_running_test(struct kunit *test)
{
	struct dlt_device *bridge, *a;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlt_add(test, bridge);
	a = dlt_new(test, "a", bridge);
	a->drivers = 0;
	a->fail = "quarantine";
	dlt_add(test, a);
	dlt_expect(test, "");
	dlt_del(a);
	dlt_del(bridge);
	dlt_expect(test, " quarantine:a");
	dlt_expect_retained(test, "devices devices:" DLT_BUS ":a");
	dlt_do_finish();
	dlt_expect(test, "");
	dlt_expect_retained(test, "devices:" DLT_BUS ":a devices:" DLT_BUS ":b");
	KUNIT_EXPECT_EQ(test, dlt_forget(""), 0);
}

static void dlt_unbound_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_make(test, "a", NULL);
	device_release_driver(&a->dev);
	dlt_expect(test, " probe:a retrieve:a remove:a");
	dlt_expect_state(test, 0, RELEASED);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_PLAIN],
						      &a->dev));
	dlt_expect(test, " probe:a");
	dlt_do_finish();
	dlt_expect(test, " blob:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_PLAIN));
}

/* Live update is off in the next kernel. */

static void dlt_discard_test(struct kunit *test)
{
	struct dlt_chain chain;

	dlt_jump_chain(test);
	KUNIT_EXPECT_EQ(test, 0, dlu_discard(&dlt_subsystem, &dlt->handed));
	KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	dlt_expect_retained(test, "devices");
	chain = dlt_make_chain(test);
	dlt_expect(test, " probe:bridge quarantine:a probe:a quarantine:b probe:b");
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(chain.a, DLT_ONE));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_PTR_EQ(test, dlu_of(&chain.a->dev)->incoming, NULL);
	dlt_go_down();
	dlt_expect(test, "");
}

static void dlt_discard_corrupted_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_ser(2)->value++;
	KUNIT_EXPECT_EQ(test, 0, dlu_discard(&dlt_subsystem, &dlt->handed));
	dlt_make_chain(test);
	dlt_expect(test, " quarantine:bridge probe:bridge quarantine:a probe:a",
		   " quarantine:b probe:b");
	dlt_del_all();
	dlt_unboot();

	dlt_table()->checksum++;
	KUNIT_EXPECT_EQ(test, -EBADMSG,
			dlu_discard(&dlt_subsystem, &dlt->handed));
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	dlt_make_chain(test);
	dlt_expect(test, " probe:bridge probe:a probe:b");
}

static struct kunit_case dlt_finish_cases[] = {
	KUNIT_CASE(dlt_finish_test),
	KUNIT_CASE(dlt_running_test),
	KUNIT_CASE(dlt_running_stopped_test),
	KUNIT_CASE(dlt_running_late_test),
	KUNIT_CASE(dlt_forget_absent_test),
	KUNIT_CASE(dlt_reboot_test),
	KUNIT_CASE(dlt_reboot_late_test),
	KUNIT_CASE(dlt_finish_path_test),
	KUNIT_CASE(dlt_finish_path_absent_test),
	KUNIT_CASE(dlt_comes_back_test),
	KUNIT_CASE(dlt_removed_running_test),
	KUNIT_CASE(dlt_unbound_test),
	KUNIT_CASE(dlt_discard_test),
	KUNIT_CASE(dlt_discard_corrupted_test),
	{}
};

static struct kunit_suite dlt_finish_suite = {
	.name = "device-liveupdate-finish",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_finish_cases,
};

kunit_test_suite(dlt_finish_suite);
