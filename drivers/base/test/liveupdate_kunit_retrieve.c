// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Which driver may take a device over
 *
 * In the next kernel a device goes to a driver that can read what the last one saved,
 * if it is the same hardware, and to no other until FINISH. Probes that are deferred,
 * fail, decline, or do not retrieve.
 */

#include <linux/device.h>
#include <linux/pm_runtime.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

static void dlt_retrieve_test(struct kunit *test)
{
	struct dlt_chain chain;

	dlt_jump_chain(test);
	dlt_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	chain = dlt_make_chain(test);
	dlt_expect(test, " probe:bridge probe:a retrieve:a probe:b retrieve:b");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, chain.a->version, 3);
	KUNIT_EXPECT_STREQ(test, chain.a->text, "a");
	KUNIT_EXPECT_EQ(test, chain.b->received.value, DLT_VALUE);
	for (unsigned int i = 0; i < 3; i++)
		dlt_expect_state(test, i, RECLAIMED);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&chain.a->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&chain.bridge->dev));

	dlt_do_finish();
	dlt_expect(test, " finish:b finish:a blob:a");
	KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	KUNIT_EXPECT_PTR_EQ(test, dlu_of(&chain.a->dev)->incoming, NULL);
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(chain.a, DLT_ONE));

	/* And it can be handed over again. */
	dlt_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ a b");
}

/**
 * struct dlt_taker - a driver that wants a device of version 3
 * @about: name of the case.
 * @compatible: its string, NULL if it says nothing.
 * @version: its version.
 * @oldest: the oldest that it reads.
 * @may: it may have it.
 */
struct dlt_taker {
	const char *about;
	const char *compatible;
	u32 version;
	u32 oldest;
	bool may;
};

static const struct dlt_taker dlt_takers[] = {
	{ "just this version", "kunit,one", 3, 3, true },
	{ "many versions", "kunit,one", U32_MAX, 1, true },
	{ "only older", "kunit,one", 2, 1 },
	{ "only newer", "kunit,one", 5, 4 },
	{ "prefix", "kunit,on", 3, 3 },
	{ "longer", "kunit,one2", 3, 3 },
	{ "other", "kunit,two", 3, 3 },
	{ "nothing", NULL, 3, 3 },
};

KUNIT_ARRAY_PARAM_DESC(dlt_taker, dlt_takers, about);

static void dlt_expect_taken(struct kunit *test, struct dlt_device *a, bool taken)
{
	if (taken) {
		dlt_expect(test, " probe:a retrieve:a");
		dlt_expect_state(test, 0, RECLAIMED);
		KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
	} else {
		dlt_expect(test, "");
		dlt_expect_state(test, 0, INCOMING);
		KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
		KUNIT_EXPECT_TRUE(test, device_liveupdate_is_incoming(&a->dev));
	}
}

/* In all three ways in which a driver meets a device. */
static void dlt_taker_test(struct kunit *test)
{
	const struct dlt_taker *taker = test->param_value;
	struct device_driver *drv = &dlt_drivers[DLT_ONE];
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	dlt_ops[DLT_ONE].compatible = taker->compatible;
	dlt_ops[DLT_ONE].version = taker->version;
	dlt_ops[DLT_ONE].oldest = taker->oldest;

	a = dlt_make(test, "a", NULL);
	dlt_expect_taken(test, a, taker->may);
	dlt_unregister(DLT_ONE);
	dlt_del(a);
	dlt_unboot();
	dlt_boot(test);

	a = dlt_make(test, "a", NULL);
	dlt_expect(test, "");
	KUNIT_ASSERT_EQ(test, 0, dlt_register(DLT_ONE));
	dlt_expect_taken(test, a, taker->may);
	dlt_del(a);
	dlt_unboot();
	dlt_boot(test);

	a = dlt_new(test, "a", NULL);
	a->drivers = 0;
	dlt_add(test, a);
	KUNIT_EXPECT_EQ(test, device_driver_attach(drv, &a->dev), taker->may ? 0 : -ENODEV);
	dlt_expect_taken(test, a, taker->may);
	a->drivers = BIT(DLT_ONE);

	/* After finish, everybody may have it. */
	dlt_do_finish();
	dlt_expect(test, taker->may ? " finish:a blob:a" :
				      " quarantine:a blob:a probe:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
}

static void dlt_plain_driver_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->drivers = BIT(DLT_PLAIN);
	dlt_add(test, a);
	dlt_expect_taken(test, a, false);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlt_drivers[DLT_PLAIN], &a->dev), -ENODEV);
	dlt_expect_taken(test, a, false);
}

/* A driver that cannot have it does not keep the next one from it. */
static void dlt_next_driver_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_OTHER);
	a = dlt_new(test, "a", NULL);
	a->drivers = BIT(DLT_ONE) | BIT(DLT_OTHER) | BIT(DLT_PLAIN);
	dlt_add(test, a);
	dlt_expect(test, " probe:a retrieve:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_OTHER));
	dlt_expect_state(test, 0, RECLAIMED);
}

/* Expects that "a" is quarantined and nothing may drive it until finish. */
static void dlt_expect_quarantined(struct kunit *test, struct dlt_device *a,
				   const char *log)
{
	dlt_expect(test, log);
	dlt_expect_state(test, 0, QUARANTINED);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&a->dev));
	KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev), -ENODEV);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlt_drivers[DLT_PLAIN], &a->dev), -ENODEV);
	dlt_go_down();
	dlt_expect(test, "");
	dlt_do_finish();
	dlt_expect(test, " blob:a probe:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
}

/* Expects that "a" is an ordinary device with a driver. */
static void dlt_expect_ordinary(struct kunit *test, struct dlt_device *a, const char *log)
{
	dlt_expect(test, log);
	dlt_expect_state(test, 0, RELEASED);
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
	dlt_go_down();
	if (a->declines) {
		/* It is not given again. */
		device_release_driver(&a->dev);
		KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
		dlt_expect(test, " remove:a probe:a");
	}
	dlt_do_finish();
	dlt_expect(test, " blob:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
}

/**
 * struct dlt_unclaimed - why "a" is not reclaimed
 * @about: name of the case.
 * @log: what is called when it appears.
 * @fail: callback that fails.
 * @other: it is other hardware.
 * @silent: its driver does not retrieve what was handed over.
 * @declines: its driver declines what it retrieved.
 */
struct dlt_unclaimed {
	const char *about;
	const char *log;
	const char *fail;
	bool other;
	bool silent;
	bool declines;
};

static const struct dlt_unclaimed dlt_unclaimed_cases[] = {
	{ "other hardware", " quarantine:a", .other = true },
	{ "probe fails", " probe:a quarantine:a", .fail = "probe" },
	{ "fails after retrieve", " probe:a retrieve:a quarantine:a", .fail = "retrieve" },
	{ "driver is silent", " probe:a", .silent = true },
	{ "driver declines", " probe:a retrieve:a", .declines = true },
};

KUNIT_ARRAY_PARAM_DESC(dlt_unclaimed, dlt_unclaimed_cases, about);

static void dlt_unclaimed_test(struct kunit *test)
{
	const struct dlt_unclaimed *it = test->param_value;
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->fail = it->fail;
	a->fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN - 1] = it->other;
	a->silent = it->silent;
	a->declines = it->declines;
	dlt_add(test, a);
	a->fail = NULL;
	if (it->silent || it->declines)
		dlt_expect_ordinary(test, a, it->log);
	else
		dlt_expect_quarantined(test, a, it->log);
}

static void dlt_bus_match_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_bus_ops.match = dlt_match;
	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->fingerprint[0] = 'x';
	dlt_add(test, a);
	dlt_expect_taken(test, a, true);
	dlt_del(a);
	dlt_unboot();
	dlt_boot(test);

	a = dlt_new(test, "a", NULL);
	a->fingerprint[1] = 'x';
	dlt_add(test, a);
	dlt_expect_quarantined(test, a, " quarantine:a");
}

/* The blob was not handed over, or is shorter than the record says. */
static void dlt_no_blob_test(struct kunit *test)
{
	struct dlt_memory *memory;
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	memory = dlt_find_memory(dlt_ser(0)->value);
	memory->size--;
	a = dlt_make(test, "a", NULL);
	dlt_expect(test, " quarantine:a");
	dlt_do_finish();
	dlt_expect(test, " probe:a");
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(a, DLT_ONE));
}

static void dlt_identity_test(struct kunit *test)
{
	struct dlt_device *other, *twin;

	dlt_jump_one(test, DLT_ONE);

	/* On another bus, and with another identity. */
	dlt_make_second(test, "second");
	dlt_expect(test, " probe:second");
	other = dlt_new(test, "other", NULL);
	strscpy_pad(other->id, "aa");
	dlt_add(test, other);
	dlt_clear_log();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&other->dev));

	/* The name of the device does not matter; the first one gets it. */
	other = dlt_new(test, "renamed-in-between", NULL);
	dlt_set_identity(other, "a");
	dlt_add(test, other);
	dlt_expect(test, " probe:renamed-in-between retrieve:renamed-in-between");
	twin = dlt_new(test, "twin", NULL);
	dlt_set_identity(twin, "a");
	dlt_add(test, twin);
	dlt_expect(test, " probe:twin");
	dlt_do_finish();
	dlt_expect(test, " finish:renamed-in-between blob:a");
}

/* Probes that do not go well. */

/* What a bus notifier finds, which comes before the uevent. */
static enum device_liveupdate_state dlt_bound_state;

static int dlt_notified(struct notifier_block *nb, unsigned long action, void *data)
{
	struct device *dev = data;

	if (action == BUS_NOTIFY_BOUND_DRIVER && dlu_of(dev)->incoming)
		dlt_bound_state = dlu_of(dev)->incoming->state;

	return NOTIFY_OK;
}

static void dlt_bound_test(struct kunit *test)
{
	struct notifier_block nb = { .notifier_call = dlt_notified };

	dlt_jump_one(test, DLT_ONE);
	dlt_bound_state = DEVICE_LIVEUPDATE_UNKNOWN;
	KUNIT_ASSERT_EQ(test, 0, bus_register_notifier(&dlt_bus, &nb));
	dlt_make(test, "a", NULL);
	bus_unregister_notifier(&dlt_bus, &nb);
	dlt_expect(test, " probe:a retrieve:a");
	KUNIT_EXPECT_EQ(test, dlt_bound_state, DEVICE_LIVEUPDATE_RECLAIMED);
}

/* It may be the one that runs. */
static void dlt_unidentified_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->fail = "identify";
	dlt_add(test, a);
	dlt_expect(test, " quarantine:a probe:a");
	dlt_expect_state(test, 0, ABSENT);
	dlt_make_second(test, "second");
	dlt_do_finish();
	dlt_expect(test, " probe:second");
	dlt_expect_retained(test, "devices:" DLT_BUS ":a");
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
	dlt_expect(test, " blob:a");

	/* Nothing is known to run any more. */
	a = dlt_new(test, "b", NULL);
	a->fail = "identify";
	dlt_add(test, a);
	dlt_expect(test, " probe:b");
}

static void dlt_hook_awake(struct dlt_device *dlt_dev)
{
	KUNIT_EXPECT_TRUE(dlt->test, pm_runtime_active(dlt_dev->dev.parent));
}

/* What is above sleeps, as nobody needs it. */
static void dlt_quarantine_asleep_test(struct kunit *test)
{
	struct dlt_device *bridge, *a;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	pm_runtime_enable(&bridge->dev);
	a = dlt_new(test, "a", bridge);
	a->fingerprint[0] = 'x';
	a->hook_at = "quarantine";
	a->hook = dlt_hook_awake;
	dlt_clear_log();
	dlt_add(test, a);
	dlt_expect(test, " quarantine:a");
	pm_runtime_disable(&bridge->dev);
}

static void dlt_defer_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->defer = 1;
	dlt_add(test, a);
	dlt_expect(test, " probe:a");
	dlt_expect_state(test, 0, INCOMING);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_incoming(&a->dev));

	/* A device that is bound makes the driver core try again. */
	dlt_make_foreign(test, "foreign", NULL);
	wait_for_device_probe();
	KUNIT_EXPECT_STREQ(test, a->text, "a");
	dlt_expect_state(test, 0, RECLAIMED);
	dlt_clear_log();
	dlt_do_finish();
	dlt_expect(test, " finish:a blob:a");
}

/* Retrieved, deferred, and then not retrieved: it is as if nobody had. */
static void dlt_defer_forgets_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->drivers = 0;
	dlt_add(test, a);
	dlu_incoming.records[0].retrieved = true;
	a->defer = 1;
	KUNIT_EXPECT_EQ(test, -EAGAIN, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	a->silent = true;
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	dlt_expect_state(test, 0, RELEASED);
	dlt_clear_log();
}

static void dlt_async_test(struct kunit *test)
{
	struct dlt_device *a;

	dlt_jump_one(test, DLT_ONE);
	dlt_unregister(DLT_ONE);
	dlt_drivers[DLT_ONE].probe_type = PROBE_PREFER_ASYNCHRONOUS;
	a = dlt_make(test, "a", NULL);
	KUNIT_ASSERT_EQ(test, 0, dlt_register(DLT_ONE));
	wait_for_device_probe();
	dlt_expect_taken(test, a, true);
}

/* device_liveupdate_retrieve() for those that have nothing to take over. */

static void dlt_retrieve_null_test(struct kunit *test)
{
	struct dlt_device *bridge, *other;
	u32 version = 7;

	dlt_jump_chain(test);
	dlt_boot(test);
	other = dlt_make(test, "other", NULL);
	dlt_expect(test, " probe:other");
	bridge = dlt_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlt_add(test, bridge);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_incoming(&bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_is_incoming(&other->dev));

	scoped_guard(device, &bridge->dev)
		KUNIT_EXPECT_NULL(test, device_liveupdate_retrieve(&bridge->dev, &version));
	scoped_guard(device, &other->dev)
		KUNIT_EXPECT_NULL(test, device_liveupdate_retrieve(&other->dev, &version));
	KUNIT_EXPECT_EQ(test, version, 7);
}

static struct kunit_case dlt_retrieve_cases[] = {
	KUNIT_CASE(dlt_retrieve_test),
	KUNIT_CASE_PARAM(dlt_taker_test, dlt_taker_gen_params),
	KUNIT_CASE(dlt_plain_driver_test),
	KUNIT_CASE(dlt_next_driver_test),
	KUNIT_CASE_PARAM(dlt_unclaimed_test, dlt_unclaimed_gen_params),
	KUNIT_CASE(dlt_bus_match_test),
	KUNIT_CASE(dlt_no_blob_test),
	KUNIT_CASE(dlt_identity_test),
	KUNIT_CASE(dlt_bound_test),
	KUNIT_CASE(dlt_unidentified_test),
	KUNIT_CASE(dlt_quarantine_asleep_test),
	KUNIT_CASE(dlt_defer_test),
	KUNIT_CASE(dlt_defer_forgets_test),
	KUNIT_CASE(dlt_async_test),
	KUNIT_CASE(dlt_retrieve_null_test),
	{}
};

static struct kunit_suite dlt_retrieve_suite = {
	.name = "device-liveupdate-retrieve",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_retrieve_cases,
};

kunit_test_suite(dlt_retrieve_suite);
