// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Which devices are in the set
 *
 * What is preserved along with what was requested, what is only on the path, and
 * what keeps PREPARE from closing the set: children, consumers and providers that
 * cannot go along.
 */

#include <linux/device.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

static void dlt_set_test(struct kunit *test)
{
	struct dlt_device *bridge = dlt_make_bridge(test, "bridge", NULL);
	struct dlt_device *bridge2 = dlt_make_bridge(test, "bridge2", NULL);
	struct dlt_device *a = dlt_make(test, "a", bridge);
	struct dlt_device *managed = dlt_make(test, "managed", bridge2);
	struct dlt_device *stateless = dlt_make_foreign(test, "stateless", NULL);
	struct dlt_device *sync = dlt_make_foreign(test, "sync", NULL);
	struct dlt_device *needed = dlt_make(test, "needed", NULL);
	struct dlt_device *b;

	dlt_make(test, "sibling", bridge);
	dlt_make_foreign(test, "other-sibling", NULL);
	b = dlt_make_below(test, "b", a, &dlt_class);
	b->depends[0] = needed;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &managed->dev, 0));
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &stateless->dev,
						    DL_FLAG_STATELESS));
	/* There is no such link once a driver is bound. */
	device_release_driver(&bridge2->dev);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&bridge2->dev, &sync->dev,
						    DL_FLAG_SYNC_STATE_ONLY));

	dlt_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ bridge2/ a managed needed b");
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
}

static void dlt_set_chain_test(struct kunit *test)
{
	dlt_request(test, dlt_make_chain(test).b);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect(test, " prepare:b bus-prepare:b prepare:a bus-prepare:a path-on:bridge");
	dlt_expect_set(test, " bridge/ a b");
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a path-freeze:bridge");
	dlt_do_thaw();
	dlt_expect(test, " path-thaw:bridge bus-thaw:a thaw:a bus-thaw:b thaw:b");
	dlt_do_cancel();
	dlt_expect(test, " path-off:bridge bus-cancel:a cancel:a bus-cancel:b cancel:b");
	dlt_expect_idle(test);
}

/* A bus and a driver with nothing but what is required. */
static void dlt_set_spartan_test(struct kunit *test)
{
	struct dlt_chain chain = dlt_make_chain(test);

	dlt_bus_ops = (struct bus_liveupdate_ops) {
		.identify	= dlt_identify,
		.role		= dlt_bus_role,
		.quarantine	= dlt_quarantine,
	};
	dlt_ops[DLT_ONE] = (struct dev_liveupdate_ops) {
		.compatible	= "kunit,one",
		.version	= 1,
		.oldest		= 1,
	};
	dlt_request(test, chain.b);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " bridge/ a b");
	dlt_jump(test);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->value, 0);
	dlt_boot(test);
	dlt_make_chain(test);
	dlt_clear_log();
	dlt_do_finish();
	dlt_expect(test, "");
	dlt_bus_ops.role = NULL;
}

static void dlt_set_stops_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make_foreign(test, "a", NULL);
	struct dlt_device *b = dlt_make_below(test, "b", a, NULL);

	dlt_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " b");
}

/* What forwards for others cannot be requested, and is on their path however it is needed. */
static void dlt_set_both_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);
	struct dlt_device *c = dlt_make(test, "c", NULL);

	a->bridge = true;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &a->dev, 0));
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &b->dev, 0));
	c->depends[0] = b;
	dlt_request(test, c);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, dlu_request(&a->dev, true));
	dlt_expect_failed(test, "a", -EOPNOTSUPP, "it only forwards for others");
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a/ b c");
	dlt_do_cancel();

	/* What neither forwards nor can be preserved is no help to anybody. */
	a->bridge = false;
	a->role = DEVICE_LIVEUPDATE_UNSUPPORTED;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, dlu_request(&a->dev, true));
	dlt_clear_log();
	dlt_expect_refused(test, "a", -EOPNOTSUPP, "not supported by its bus");
}

/* A supplier that forwards nothing is preserved, or nothing is. */
static void dlt_set_supplier_test(struct kunit *test)
{
	struct dlt_device *plain = dlt_new(test, "plain", NULL);
	struct dlt_device *a, *b;

	plain->drivers = BIT(DLT_PLAIN);
	dlt_add(test, plain);
	a = dlt_make(test, "a", NULL);
	b = dlt_make(test, "b", NULL);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &a->dev, 0));
	dlt_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a b");
	dlt_do_cancel();

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &plain->dev, 0));
	dlt_clear_log();
	dlt_expect_refused(test, "plain", -EOPNOTSUPP, "its driver has no live update");
}

static void dlt_remove_other(struct dlt_device *dlt_dev)
{
	dlt_dev->hook = NULL;
	dlt_del(dlt_dev->depends[1]);
	dlt_dev->depends[1] = NULL;
}

/* A device of the set is removed while the set is closed: its bus is not asked any more. */
static void dlt_set_removed_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	dlt_request(test, a);
	dlt_request(test, b);
	a->depends[1] = b;
	a->hook_at = "dependencies";
	a->hook = dlt_remove_other;
	dlt_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlt_do_prepare());
	dlt_expect(test, " remove:b");
	dlt_expect_failed(test, "b", -ENODEV, "it was removed meanwhile");
	dlt_expect_idle(test);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a");
}

static void dlt_set_cycle_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	a->depends[0] = b;
	b->depends[0] = a;
	b->depends[1] = b;
	dlt_request(test, b);
	dlt_clear_log();
	/* Each would wait for the other one. */
	dlt_expect_refused(test, "a", -EINVAL, "it needs a device that comes after it");
	a->depends[0] = NULL;
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a b");

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &a->dev, 0));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &b->dev, 0));
}

#define DLT_CHILD \
	"not requested, but its shutdown would reach a device that is"

static void dlt_set_child_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_new(test, "b", a);
	struct dlt_device *c;

	/* A child that nothing drives does not matter. */
	b->drivers = 0;
	dlt_add(test, b);
	dlt_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a");
	dlt_do_cancel();

	KUNIT_ASSERT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_PLAIN],
						      &b->dev));
	dlt_clear_log();
	dlt_expect_refused(test, "b", -EBUSY, DLT_CHILD);

	/* One below a child that nothing drives matters as well. */
	device_release_driver(&b->dev);
	c = dlt_make(test, "grandchild", b);
	dlt_clear_log();
	dlt_expect_refused(test, "grandchild", -EBUSY, DLT_CHILD);
	dlt_del(c);

	/* So does a child that nothing drives if its bus acts on it all the same, */
	c = dlt_new(test, "driverless", b);
	c->dev.bus = &dlt_shutdown_bus;
	dlt_add(test, c);
	dlt_clear_log();
	dlt_expect_refused(test, "driverless", -EBUSY, DLT_CHILD);
	dlt_del(c);
	dlt_del(b);

	/* or if its class does. */
	c = dlt_make_below(test, "c1", a, &dlt_shutdown_class);
	device_release_driver(&c->dev);
	dlt_clear_log();
	dlt_expect_refused(test, "above-c1", -EBUSY, DLT_CHILD);
	dlt_del(c);
	dlt_clear_log();

	/* Nor does one below a bridge, which keeps others alive anyway. */
	a->bridge = true;
	c = dlt_make(test, "c", a);
	dlt_make(test, "d", a);
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&a->dev, false));
	dlt_request(test, c);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a/ c");
	dlt_do_cancel();
	dlt_clear_log();
}

/* The shutdown of a consumer calls what it is linked to. */
static void dlt_set_consumer_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *loose = dlt_make(test, "loose", NULL);
	struct dlt_device *user = dlt_make(test, "user", NULL);
	struct device_link *link;

	dlt_request(test, a);
	link = device_link_add(&loose->dev, &a->dev, DL_FLAG_STATELESS);
	KUNIT_ASSERT_NOT_NULL(test, link);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a");
	dlt_do_cancel();

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&user->dev, &a->dev, 0));
	dlt_clear_log();
	dlt_expect_refused(test, "user", -EBUSY, DLT_CHILD);
	dlt_request(test, user);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a user");
	dlt_do_cancel();
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&user->dev, false));

	/* One that is only on the path forwards whatever reaches it. */
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
	a->bridge = true;
	dlt_request(test, dlt_make(test, "b", a));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a/ b");
	device_link_del(link);
}

/* A driver can be bound without a probe. */
static void dlt_bind_driver_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *child = dlt_new(test, "child", a);
	struct dlt_device *other = dlt_new(test, "other", NULL);

	child->drivers = 0;
	other->drivers = 0;
	dlt_add(test, child);
	dlt_add(test, other);
	dlt_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	for (int i = 0; i < 2; i++) {
		struct device *dev = i ? &child->dev : &other->dev;

		guard(device)(dev);
		dev->driver = &dlt_drivers[DLT_PLAIN];
		KUNIT_EXPECT_EQ(test, i ? -EBUSY : 0, device_bind_driver(dev));
		if (i)
			dev->driver = NULL;
	}
	KUNIT_EXPECT_FALSE(test, device_is_bound(&child->dev));
	KUNIT_EXPECT_TRUE(test, device_is_bound(&other->dev));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	dlt_do_thaw();
	dlt_do_cancel();
	scoped_guard(device, &child->dev) {
		child->dev.driver = &dlt_drivers[DLT_PLAIN];
		KUNIT_EXPECT_EQ(test, 0, device_bind_driver(&child->dev));
	}
}

static void dlt_set_class_child_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make_below(test, "b", a, &dlt_class);

	dlt_request(test, a);
	dlt_clear_log();
	dlt_expect_refused(test, "b", -EBUSY, DLT_CHILD);
	dlt_request(test, b);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a b");
}

#define DLT_NO_BUS "a preserved device needs it, but its bus has no live update"

static void dlt_set_foreign_test(struct kunit *test)
{
	struct dlt_device *foreign = dlt_make_foreign(test, "foreign", NULL);
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", foreign);

	dlt_request(test, b);
	dlt_clear_log();
	dlt_expect_refused(test, "foreign", -EOPNOTSUPP, DLT_NO_BUS);
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&b->dev, false));

	dlt_request(test, a);
	a->depends[1] = foreign;
	dlt_expect_refused(test, "foreign", -EOPNOTSUPP, DLT_NO_BUS);
	a->depends[1] = NULL;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &foreign->dev, 0));
	dlt_expect_refused(test, "foreign", -EOPNOTSUPP, DLT_NO_BUS);
}

static struct kunit_case dlt_set_cases[] = {
	KUNIT_CASE(dlt_set_test),
	KUNIT_CASE(dlt_set_chain_test),
	KUNIT_CASE(dlt_set_spartan_test),
	KUNIT_CASE(dlt_set_stops_test),
	KUNIT_CASE(dlt_set_both_test),
	KUNIT_CASE(dlt_set_supplier_test),
	KUNIT_CASE(dlt_set_removed_test),
	KUNIT_CASE(dlt_set_cycle_test),
	KUNIT_CASE(dlt_set_child_test),
	KUNIT_CASE(dlt_set_consumer_test),
	KUNIT_CASE(dlt_bind_driver_test),
	KUNIT_CASE(dlt_set_class_child_test),
	KUNIT_CASE(dlt_set_foreign_test),
	{}
};

static struct kunit_suite dlt_set_suite = {
	.name = "device-liveupdate-set",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_set_cases,
};

kunit_test_suite(dlt_set_suite);
