// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for devices in a live update: those that are known by their parent, come along
 * with it, and are only stopped with it.
 */

#include <kunit/test.h>

#include "liveupdate_kunit.h"

#define DLT_ALONE	"it can only be stopped with its parent, which is not preserved"

/* On the bus whose devices live by their parent. */
static struct dlt_device *dlt_new_under(struct kunit *test, const char *name,
					const char *id, struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, parent);

	dlt_dev->dev.bus = &dlt_below_bus;
	dlt_set_identity(dlt_dev, id);

	return dlt_dev;
}

static struct dlt_device *dlt_make_under(struct kunit *test, const char *name,
					 const char *id, struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = dlt_new_under(test, name, id, parent);

	dlt_add(test, dlt_dev);

	return dlt_dev;
}

/* "p" with "x" below it, and "q" with "y"; both of the latter are called "x". */
static void dlt_jump_pairs(struct kunit *test)
{
	struct dlt_device *p = dlt_make(test, "p", NULL);
	struct dlt_device *q = dlt_make(test, "q", NULL);

	dlt_make_under(test, "x", "x", p);
	dlt_make_under(test, "y", "x", q);
	dlt_request(test, p);
	dlt_request(test, q);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " p q x y");
	dlt_jump(test);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->parent, 1);
	KUNIT_EXPECT_EQ(test, dlt_ser(3)->parent, 2);
}

/* Children come along, those below class devices, too, unless their bus says no. */
static void dlt_follow_test(struct kunit *test)
{
	struct dlt_device *bridge = dlt_make_bridge(test, "bridge", NULL);
	struct dlt_device *p = dlt_make(test, "p", bridge);
	struct dlt_device *x = dlt_make_under(test, "x", "x", p);
	struct dlt_device *stays;

	dlt_make_under(test, "z", "z", x);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ p x z");
	KUNIT_EXPECT_FALSE(test, dlu_is_requested(&x->dev));
	dlt_do_cancel();
	dlt_clear_log();

	/* Nothing follows what only forwards. */
	dlt_make_under(test, "b", "x", bridge);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ p x z");
	dlt_do_cancel();

	stays = dlt_new_under(test, "stays", "s", p);
	stays->stays = true;
	dlt_add(test, stays);
	dlt_clear_log();
	dlt_expect_refused(test, "stays", -EBUSY,
			   "not requested, but its shutdown would reach a device that is");
	device_release_driver(&stays->dev);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ p x z");
	dlt_do_cancel();
}

static void dlt_follow_class_test(struct kunit *test)
{
	struct dlt_device *p = dlt_make(test, "p", NULL);
	struct dlt_device *x = dlt_make_below(test, "x", p, &dlt_class);

	dlt_request(test, p);
	dlt_clear_log();
	dlt_expect_refused(test, "x", -EBUSY, NULL);
	dlt_del(x);

	x = dlt_new_under(test, "w", "w", p);
	dlt_add_below(test, x, p, &dlt_class);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " p w");
	dlt_do_cancel();
}

/* What follows has to be able to. */
static void dlt_follow_refused_test(struct kunit *test)
{
	struct dlt_device *p = dlt_make(test, "p", NULL);
	struct dlt_device *x = dlt_make_under(test, "x", "x", p);

	dlt_request(test, p);
	device_release_driver(&x->dev);
	dlt_clear_log();
	dlt_expect_refused(test, "x", -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_attach(&x->dev) - 1);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_do_cancel();
}

/* Each is found by its parent, whichever comes first. */
static void dlt_namesakes_test(struct kunit *test)
{
	struct dlt_device *p, *q;

	dlt_jump_pairs(test);
	dlt_boot(test);
	p = dlt_make(test, "p", NULL);
	q = dlt_make(test, "q", NULL);
	dlt_clear_log();
	dlt_make_under(test, "second", "x", q);
	dlt_expect_state(test, 2, ABSENT);
	dlt_expect_state(test, 3, RECLAIMED);
	dlt_expect(test, " probe:second retrieve:second");
	dlt_make_under(test, "first", "x", p);
	dlt_expect(test, " probe:first retrieve:first");
	dlt_expect_state(test, 2, RECLAIMED);
	dlt_do_finish();
	dlt_expect_retained(test, "");
}

/* One of them was handed over, and the other one is an ordinary device. */
static void dlt_namesake_ordinary_test(struct kunit *test)
{
	struct dlt_device *p, *q, *y;

	p = dlt_make(test, "p", NULL);
	dlt_make_under(test, "x", "x", p);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);

	/* It comes first, when nothing is known of the other one's parent. */
	q = dlt_make(test, "q", NULL);
	y = dlt_make_under(test, "y", "x", q);
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(y, DLT_BELOW));
	dlt_expect_state(test, 1, ABSENT);
	p = dlt_make(test, "p", NULL);
	dlt_clear_log();
	dlt_make_under(test, "x", "x", p);
	dlt_expect(test, " probe:x retrieve:x");
	dlt_expect_state(test, 1, RECLAIMED);
	KUNIT_EXPECT_PTR_EQ(test, dlu_of(&y->dev), NULL);
}

/* The same below one parent is refused. */
static void dlt_namesake_sibling_test(struct kunit *test)
{
	struct dlt_device *p = dlt_make(test, "p", NULL);

	dlt_make_under(test, "x", "x", p);
	dlt_make_under(test, "y", "x", p);
	dlt_request(test, p);
	dlt_clear_log();
	dlt_expect_refused(test, "x", -EEXIST, "its identity is that of another device");
}

/* A bus asks before it adds the device. */
static void dlt_namesake_pending_test(struct kunit *test)
{
	struct device_liveupdate_id id = {};
	struct dlt_device *p, *q;

	dlt_jump_pairs(test);
	dlt_boot(test);
	strscpy(id.id, "x");
	strscpy(id.fingerprint, "x", sizeof(id.fingerprint));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_pending(&dlt_below_bus, NULL, NULL));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_pending(&dlt_below_bus, dlt->root, &id));
	p = dlt_make(test, "p", NULL);
	q = dlt_make(test, "q", NULL);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_pending(&dlt_below_bus, &p->dev, &id));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_pending(&dlt_bus, &p->dev, &id));
	dlt_make_under(test, "x", "x", p);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_pending(&dlt_below_bus, &p->dev, &id));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_pending(&dlt_below_bus, &q->dev, &id));
	id.fingerprint[0] = 'z';
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_pending(&dlt_below_bus, &q->dev, &id));
}

/* Without the record of its parent nobody knows which of them a record is about. */
static void dlt_namesake_orphan_test(struct kunit *test)
{
	struct dlt_device *q;

	dlt_jump_pairs(test);
	dlt_ser(0)->id[0] = ' ';
	dlt_seal();
	dlt_boot(test);
	KUNIT_EXPECT_TRUE(test, dlu_incoming.records[2].corrupted);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.records[3].corrupted);
	q = dlt_make(test, "q", NULL);
	dlt_make_under(test, "y", "x", q);
	dlt_expect_state(test, 3, RECLAIMED);
	dlt_clear_log();
	/* It looks like it, is not taken over, and what was handed over for it stays. */
	dlt_make_under(test, "x", "x", NULL);
	dlt_expect(test, "");
	dlt_expect_state(test, 2, RUNNING);
	dlt_do_finish();
	dlt_expect_retained(test, "devices:records devices:liveupdate-kunit-b:x#2");
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("liveupdate-kunit-b:x#2"));
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("records"));
}

/* A parent that was removed and comes back is another one to what was below it. */
static void dlt_parent_returns_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_pairs(test);
	dlt_boot(test);
	dlt_del(dlt_make(test, "p", NULL));
	p = dlt_make(test, "p", NULL);
	dlt_clear_log();
	dlt_make_under(test, "x", "x", p);
	dlt_expect(test, "");
	dlt_expect_state(test, 2, RUNNING);
	dlt_do_finish();
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* Two that are retained have two names. */
static void dlt_namesakes_absent_test(struct kunit *test)
{
	dlt_jump_pairs(test);
	dlt_boot(test);
	dlt_make(test, "p", NULL);
	dlt_make(test, "q", NULL);
	dlt_do_finish();
	dlt_expect_retained(test,
			    "devices:liveupdate-kunit-b:x#2 devices:liveupdate-kunit-b:x#3");
	KUNIT_EXPECT_EQ(test, -ENOENT, dlt_forget("liveupdate-kunit-b:x"));
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("liveupdate-kunit-b:x#3"));
	dlt_expect_retained(test, "devices:liveupdate-kunit-b:x#2");
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("liveupdate-kunit-b:x#2"));
}

/* After FINISH a parent is still known, so that what comes late is. */
static void dlt_namesake_late_test(struct kunit *test)
{
	struct dlt_device *p, *q, *y;

	dlt_jump_pairs(test);
	dlt_boot(test);
	p = dlt_make(test, "p", NULL);
	q = dlt_make(test, "q", NULL);
	dlt_make_under(test, "x", "x", p);
	dlt_do_finish();
	dlt_clear_log();
	dlt_expect_retained(test, "devices:liveupdate-kunit-b:x#3");
	y = dlt_make_under(test, "y", "x", q);
	/* Its parent runs on, and so does it. */
	dlt_expect(test, " probe:y");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(y, DLT_BELOW));
	dlt_expect_state(test, 3, RUNNING);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* Only what its parent stops can be preserved without an operation of its own. */
static void dlt_no_quarantine_refused_test(struct kunit *test)
{
	struct dlt_device *bridge = dlt_make_bridge(test, "bridge", NULL);
	struct dlt_device *x = dlt_make_under(test, "x", "x", NULL);
	struct dlt_device *y = dlt_make_under(test, "y", "y", bridge);

	dlt_request(test, x);
	dlt_clear_log();
	dlt_expect_refused(test, "x", -EOPNOTSUPP, DLT_ALONE);
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&x->dev, false));
	dlt_request(test, y);
	dlt_expect_refused(test, "y", -EOPNOTSUPP, DLT_ALONE);
}

static struct dlt_device *dlt_boot_failing(struct kunit *test, struct dlt_device *p)
{
	struct dlt_device *x = dlt_new_under(test, "x", "x", p);

	x->fail = "retrieve";
	dlt_add(test, x);
	dlt_expect_state(test, 2, RUNNING);
	x->fail = NULL;

	return x;
}

/* A next kernel, and in it the parent, yet to be added, for which it has no driver. */
static struct dlt_device *dlt_boot_undriven(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_pairs(test);
	dlt_boot(test);
	p = dlt_new(test, "p", NULL);
	p->drivers = 0;

	return p;
}

/* Its probe fails, and its parent runs on: what it may access is retained. */
static void dlt_no_quarantine_runs_test(struct kunit *test)
{
	struct dlt_device *p, *q;

	dlt_jump_pairs(test);
	dlt_boot(test);
	p = dlt_make(test, "p", NULL);
	q = dlt_make(test, "q", NULL);
	dlt_make_under(test, "y", "x", q);
	dlt_boot_failing(test, p);
	dlt_do_finish();
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(2), DEVICE_LIVEUPDATE_RUNNING);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(3), DEVICE_LIVEUPDATE_RECLAIMED);
	dlt_expect_retained(test, "devices:liveupdate-kunit-b:x#2");
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("liveupdate-kunit-b:x#2"));
}

/* FINISH stops its parent, and with it what is below, which is freed. */
static void dlt_no_quarantine_stops_test(struct kunit *test)
{
	struct dlt_device *p = dlt_boot_undriven(test);
	struct dlt_device *x;

	dlt_add(test, p);
	x = dlt_make_under(test, "x", "x", p);
	dlt_expect_state(test, 2, INCOMING);
	dlt_clear_log();
	dlt_do_finish();
	dlt_expect(test, " quarantine:p blob:p blob:x probe:x");
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(2), DEVICE_LIVEUPDATE_QUARANTINED);
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(x, DLT_BELOW));
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* The parent cannot be stopped, so neither can it. */
static void dlt_no_quarantine_fails_test(struct kunit *test)
{
	struct dlt_device *p = dlt_boot_undriven(test);

	p->fail = "quarantine";
	dlt_add(test, p);
	dlt_make_under(test, "x", "x", p);
	dlt_clear_log();
	dlt_do_finish();
	dlt_expect(test, " quarantine:p probe:x");
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(0), DEVICE_LIVEUPDATE_RUNNING);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(2), DEVICE_LIVEUPDATE_RUNNING);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* What this kernel takes for a bridge is stopped, but does not stop what is below it. */
static void dlt_no_quarantine_forwarder_test(struct kunit *test)
{
	struct dlt_device *p = dlt_boot_undriven(test);

	p->bridge = true;
	dlt_add(test, p);
	dlt_make_under(test, "x", "x", p);
	dlt_expect_state(test, 0, INCOMING);
	dlt_expect_state(test, 2, INCOMING);
	dlt_clear_log();
	dlt_do_finish();
	dlt_expect(test, " quarantine:p blob:p probe:x");
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(0), DEVICE_LIVEUPDATE_QUARANTINED);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(2), DEVICE_LIVEUPDATE_RUNNING);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* The parent is stopped before: what is below is so as soon as it is known. */
static void dlt_no_quarantine_parent_first_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_pairs(test);
	dlt_boot(test);
	p = dlt_new(test, "p", NULL);
	p->fail = "probe";
	dlt_add(test, p);
	dlt_expect_state(test, 0, QUARANTINED);
	dlt_make_under(test, "x", "x", p);
	dlt_expect_state(test, 2, QUARANTINED);
	p->fail = NULL;
	dlt_do_finish();
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* What belongs to a device can be taken over by those below it, from then on until FINISH. */
static void dlt_provider_index_test(struct kunit *test)
{
	struct dlt_device *p = dlt_boot_undriven(test);
	struct dlt_device *q, *x;
	u32 index = 0;

	dlt_add(test, p);
	q = dlt_make(test, "q", NULL);
	x = dlt_make_under(test, "x", "x", p);
	scoped_guard(device, &x->dev)
		KUNIT_EXPECT_EQ(test, -ENOENT,
				device_liveupdate_provider_index(&p->dev, &x->dev, &index));
	p->drivers = BIT(DLT_ONE);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &p->dev));
	wait_for_device_probe();
	dlt_expect_state(test, 2, RECLAIMED);

	device_lock(&x->dev);
	index = 77;
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_provider_index(&p->dev, &x->dev, &index));
	KUNIT_EXPECT_EQ(test, index, 0);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_provider_index(&q->dev, &x->dev, &index));
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_provider_index(&x->dev, &x->dev, &index));
	device_unlock(&x->dev);
	dlt_do_finish();
	scoped_guard(device, &x->dev)
		KUNIT_EXPECT_EQ(test, -ENOENT,
				device_liveupdate_provider_index(&p->dev, &x->dev, &index));
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

/* What only forwards has nothing that others could take over. */
static void dlt_provider_index_path_test(struct kunit *test)
{
	struct dlt_device *bridge = dlt_make_bridge(test, "bridge", NULL);
	struct dlt_device *p = dlt_make(test, "p", bridge);
	struct dlt_device *x;
	u32 index = 77;

	dlt_make_under(test, "x", "x", p);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	p = dlt_make(test, "p", bridge);
	x = dlt_make_under(test, "x", "x", p);
	dlt_expect_state(test, 0, RECLAIMED);
	scoped_guard(device, &x->dev) {
		KUNIT_EXPECT_EQ(test, -ENOENT,
				device_liveupdate_provider_index(&bridge->dev, &x->dev, &index));
		KUNIT_EXPECT_EQ(test, 0,
				device_liveupdate_provider_index(&p->dev, &x->dev, &index));
	}
	KUNIT_EXPECT_EQ(test, index, 1);
}

static struct kunit_case dlt_below_cases[] = {
	KUNIT_CASE(dlt_follow_test),
	KUNIT_CASE(dlt_follow_class_test),
	KUNIT_CASE(dlt_follow_refused_test),
	KUNIT_CASE(dlt_namesakes_test),
	KUNIT_CASE(dlt_namesake_ordinary_test),
	KUNIT_CASE(dlt_namesake_sibling_test),
	KUNIT_CASE(dlt_namesake_pending_test),
	KUNIT_CASE(dlt_namesake_orphan_test),
	KUNIT_CASE(dlt_parent_returns_test),
	KUNIT_CASE(dlt_namesakes_absent_test),
	KUNIT_CASE(dlt_namesake_late_test),
	KUNIT_CASE(dlt_no_quarantine_refused_test),
	KUNIT_CASE(dlt_no_quarantine_runs_test),
	KUNIT_CASE(dlt_no_quarantine_stops_test),
	KUNIT_CASE(dlt_no_quarantine_fails_test),
	KUNIT_CASE(dlt_no_quarantine_forwarder_test),
	KUNIT_CASE(dlt_no_quarantine_parent_first_test),
	KUNIT_CASE(dlt_provider_index_test),
	KUNIT_CASE(dlt_provider_index_path_test),
	{}
};

static struct kunit_suite dlt_below_suite = {
	.name = "device-liveupdate-below",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_below_cases,
};

kunit_test_suite(dlt_below_suite);
