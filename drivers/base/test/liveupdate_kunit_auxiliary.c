// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for auxiliary devices in a live update. Their parents are devices of the bus
 * of the tests, and remove them like any other driver.
 */

#include <kunit/test.h>
#include <linux/auxiliary_bus.h>
#include <linux/cleanup.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/pm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

#define DLA_ALONE	"it can only be stopped with its parent, which is not preserved"
#define DLA_NAMESAKE	"it is not the only one of its name below its parent"
#define DLA_LETS_GO	"its driver lets go of it in an update"

/* What an auxiliary device and a record of it are called. */
#define DLA_PART	KBUILD_MODNAME ".part"
#define DLA_RECORD	"devices:auxiliary:" DLA_PART

/**
 * struct dla_device - an auxiliary device
 * @auxdev: it.
 * @list: entry in the list of all that were added.
 * @value: what its driver saves.
 * @received: what its driver retrieved, or 0.
 */
struct dla_device {
	struct auxiliary_device auxdev;
	struct list_head list;
	u64 value;
	u64 received;
};

static LIST_HEAD(dla_devices);

static struct dla_device *to_dla_device(struct device *dev)
{
	return container_of(to_auxiliary_dev(dev), struct dla_device, auxdev);
}

/* The driver. */

static int dla_call(struct device *dev, const char *call)
{
	const char *name = dev_name(dev);

	dlt_log(" %s:%s", call, name + strlen(KBUILD_MODNAME "."));

	return 0;
}

static int dla_prepare(struct device *dev, struct liveupdate_data *data)
{
	data->value = to_dla_device(dev)->value;

	return dla_call(dev, "prepare");
}

static int dla_freeze(struct device *dev, const struct liveupdate_data *data)
{
	return dla_call(dev, "freeze");
}

static void dla_thaw(struct device *dev, const struct liveupdate_data *data)
{
	dla_call(dev, "thaw");
}

static void dla_cancel(struct device *dev, const struct liveupdate_data *data)
{
	dla_call(dev, "cancel");
}

static void dla_interrupts_missed(struct device *dev)
{
	dla_call(dev, "missed");
}

static const struct dev_liveupdate_ops dla_ops_default = {
	.compatible	= "kunit,part",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
	.prepare	= dla_prepare,
	.freeze		= dla_freeze,
	.thaw		= dla_thaw,
	.cancel		= dla_cancel,
	.interrupts_missed = dla_interrupts_missed,
};

/* Tests may change it until they end. */
static struct dev_liveupdate_ops dla_ops;

static int dla_probe(struct auxiliary_device *auxdev, const struct auxiliary_device_id *id)
{
	struct device *dev = &auxdev->dev;
	const struct liveupdate_data *data;
	u32 version;

	dla_call(dev, "probe");
	data = device_liveupdate_retrieve(dev, &version);
	if (data)
		to_dla_device(dev)->received = data->value;

	return 0;
}

static void dla_remove(struct auxiliary_device *auxdev)
{
	dla_call(&auxdev->dev, "remove");
}

static const struct auxiliary_device_id dla_ids[] = {
	{ .name = DLA_PART },
	{}
};

static struct auxiliary_driver dla_driver = {
	.name		= "part",
	.id_table	= dla_ids,
	.probe		= dla_probe,
	.remove		= dla_remove,
};

static bool dla_registered;

static void dla_register(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, auxiliary_driver_register(&dla_driver));
	dla_registered = true;
}

static void dla_unregister(void)
{
	if (dla_registered)
		auxiliary_driver_unregister(&dla_driver);
	dla_registered = false;
}

static bool dla_is_bound(const struct dla_device *dla_dev)
{
	return dla_dev->auxdev.dev.driver;
}

/* Devices. */

static void dla_release(struct device *dev)
{
	kfree(to_dla_device(dev));
}

static void dla_del(struct dla_device *dla_dev)
{
	list_del(&dla_dev->list);
	auxiliary_device_delete(&dla_dev->auxdev);
	auxiliary_device_uninit(&dla_dev->auxdev);
}

/* Those below @parent, or all of them. */
static void dla_del_below(const struct device *parent)
{
	struct dla_device *dla_dev, *tmp;

	list_for_each_entry_safe_reverse(dla_dev, tmp, &dla_devices, list) {
		if (!parent || dla_dev->auxdev.dev.parent == parent)
			dla_del(dla_dev);
	}
}

/* The driver of a parent is unbound. */
static void dla_parent_removed(struct dlt_device *dlt_dev)
{
	dla_del_below(&dlt_dev->dev);
}

static struct dlt_device *dla_make_parent(struct kunit *test, const char *name)
{
	struct dlt_device *parent = dlt_new(test, name, NULL);

	parent->hook_at = "remove";
	parent->hook = dla_parent_removed;
	dlt_add(test, parent);

	return parent;
}

static struct dla_device *dla_make_under(struct kunit *test, const char *name,
					 struct device *parent, u32 id, u64 value)
{
	struct dla_device *dla_dev = kzalloc_obj(*dla_dev);

	KUNIT_ASSERT_NOT_NULL(test, dla_dev);
	dla_dev->value = value;
	dla_dev->auxdev.name = name;
	dla_dev->auxdev.id = id;
	dla_dev->auxdev.dev.parent = parent;
	dla_dev->auxdev.dev.release = dla_release;
	KUNIT_ASSERT_EQ(test, 0, auxiliary_device_init(&dla_dev->auxdev));
	list_add_tail(&dla_dev->list, &dla_devices);
	KUNIT_ASSERT_EQ(test, 0, auxiliary_device_add(&dla_dev->auxdev));

	return dla_dev;
}

static struct dla_device *dla_make(struct kunit *test, struct dlt_device *parent, u32 id,
				   u64 value)
{
	return dla_make_under(test, "part", &parent->dev, id, value);
}

static int dla_request(struct dla_device *dla_dev)
{
	return dlu_request(&dla_dev->auxdev.dev, true);
}

/* Expects that a request is refused for this reason. */
static void dla_expect_objection(struct kunit *test, struct dla_device *dla_dev,
				 const char *reason)
{
	KUNIT_EXPECT_EQ(test, dla_request(dla_dev), -EOPNOTSUPP);
	dlt_expect_failed(test, dlt_failed(), -EOPNOTSUPP, reason);
}

/* The tests. */

/* A part comes along, and pulls its parent in; its driver is called before that of it. */
static void dla_follow_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part = dla_make(test, p, 7, 1);

	dlt_request(test, p);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect(test, " prepare:part.7 prepare:p bus-prepare:p");
	dlt_expect_set(test, " p " DLA_PART ".7");
	KUNIT_ASSERT_EQ(test, 0, dlt_do_freeze());
	dlt_expect(test, " freeze:part.7 freeze:p bus-freeze:p");
	dlt_do_thaw();
	dlt_do_cancel();
	dlt_expect(test, " bus-thaw:p thaw:p thaw:part.7",
		   " bus-cancel:p cancel:p cancel:part.7");

	KUNIT_ASSERT_EQ(test, 0, dlu_request(&p->dev, false));
	KUNIT_ASSERT_EQ(test, 0, dla_request(part));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " p " DLA_PART ".7");
}

/* The number in the name says nothing: each is found by its parent. */
static void dla_identity_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dlt_device *q = dla_make_parent(test, "q");
	struct dla_device *of_p, *of_q;

	dla_make(test, p, 0, 11);
	dla_make(test, q, 1, 22);
	dlt_request(test, p);
	dlt_request(test, q);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	KUNIT_EXPECT_STREQ(test, dlt_ser(2)->bus, "auxiliary");
	KUNIT_EXPECT_STREQ(test, dlt_ser(2)->id, DLA_PART);
	KUNIT_EXPECT_STREQ(test, dlt_ser(3)->id, DLA_PART);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->parent, 1);
	KUNIT_EXPECT_EQ(test, dlt_ser(3)->parent, 2);

	dlt_boot(test);
	q = dla_make_parent(test, "q");
	of_q = dla_make(test, q, 0, 0);
	p = dla_make_parent(test, "p");
	of_p = dla_make(test, p, 1, 0);
	KUNIT_EXPECT_EQ(test, of_p->received, 11);
	KUNIT_EXPECT_EQ(test, of_q->received, 22);
	dlt_expect_state(test, 2, RECLAIMED);
	dlt_expect_state(test, 3, RECLAIMED);
	dlt_do_finish();
	dlt_expect_retained(test, "");
}

/* A part is taken over after its parent, and is told once to look. */
static void dla_order_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");

	dla_make(test, p, 0, 11);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);

	p = dlt_new(test, "p", NULL);
	p->drivers = 0;
	dlt_add(test, p);
	dla_make(test, p, 5, 0);
	dlt_expect_state(test, 1, INCOMING);
	dlt_expect(test, "");
	p->drivers = BIT(DLT_ONE);
	p->hook_at = "remove";
	p->hook = dla_parent_removed;
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &p->dev));
	wait_for_device_probe();
	dlt_expect(test, " probe:p retrieve:p probe:part.5 missed:part.5");
	dlt_expect_state(test, 1, RECLAIMED);
	dlt_do_finish();
	dlt_expect_retained(test, "");
}

/* Not without its parent. */
static void dla_alone_test(struct kunit *test)
{
	struct dla_device *part = dla_make_under(test, "part", dlt->root, 0, 1);

	KUNIT_ASSERT_EQ(test, 0, dla_request(part));
	dlt_clear_log();
	dlt_expect_refused(test, DLA_PART, -EOPNOTSUPP, DLA_ALONE);
}

/* Of two that only differ by their number nobody would know which is which. */
static void dla_namesake_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dlt_device *q = dla_make_parent(test, "q");
	struct dla_device *part = dla_make(test, p, 0, 1);
	struct dla_device *twin;

	/* Another name, or another parent, is another device. */
	dla_make_under(test, "par", &p->dev, 0, 1);
	dla_make_under(test, "part.part", &p->dev, 0, 1);
	dla_make(test, q, 2, 1);
	KUNIT_ASSERT_EQ(test, 0, dla_request(part));
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&part->auxdev.dev, false));

	twin = dla_make(test, p, 1, 1);
	dla_expect_objection(test, part, DLA_NAMESAKE);
	dla_expect_objection(test, twin, DLA_NAMESAKE);
	dlt_request(test, p);
	dlt_clear_log();
	dlt_expect_refused(test, DLA_PART, -EOPNOTSUPP, DLA_NAMESAKE);

	/* Also if the other one does not take part. */
	device_release_driver(&twin->auxdev.dev);
	dlt_clear_log();
	dlt_expect_refused(test, DLA_PART, -EOPNOTSUPP, DLA_NAMESAKE);
	dla_del(twin);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
}

/* One that is added when the others are prepared. */
static void dla_namesake_late_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");

	dla_make(test, p, 0, 1);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dla_make(test, p, 1, 1);
	dlt_clear_log();
	KUNIT_EXPECT_EQ(test, -EEXIST, dlt_do_freeze());
	dlt_expect(test, " freeze:part.0 thaw:part.0");
}

/* What its driver does not say, or what it has of its own. */
static void dla_check_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part = dla_make(test, p, 0, 1);
	struct dev_pm_domain domain = {};

	dla_ops.dma_api_only = false;
	dla_expect_objection(test, part,
			     "its driver does not say that all its DMA goes through the DMA API");
	dla_ops.dma_api_only = true;
	part->auxdev.dev.pm_domain = &domain;
	dla_expect_objection(test, part, "it has a power domain of its own");
	part->auxdev.dev.pm_domain = NULL;
	KUNIT_EXPECT_EQ(test, 0, dla_request(part));
}

/* A driver without live update is named, and nobody is shut down behind its back. */
static void dla_no_liveupdate_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");

	dla_unregister();
	dla_driver.driver.liveupdate = NULL;
	dla_register(test);
	dla_make(test, p, 0, 1);
	dlt_request(test, p);
	dlt_clear_log();
	dlt_expect_refused(test, DLA_PART, -EOPNOTSUPP, "its driver has no live update");
}

/* Without a driver there is nothing to be shut down, and nothing to be handed over. */
static void dla_no_driver_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part;

	dla_unregister();
	dla_make(test, p, 0, 1);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " p");
	dlt_jump(test);
	dlt_boot(test);
	dla_register(test);
	p = dla_make_parent(test, "p");
	part = dla_make(test, p, 0, 1);
	KUNIT_EXPECT_TRUE(test, dla_is_bound(part));
	KUNIT_EXPECT_EQ(test, part->received, 0);
	dlt_do_finish();
	dlt_expect_retained(test, "");
}

/* A driver that lets go is unbound, and is back when the update is cancelled. */
static void dla_detach_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part = dla_make(test, p, 0, 1);

	dla_ops = (struct dev_liveupdate_ops){ .detach = true };
	dla_expect_objection(test, part, DLA_LETS_GO);
	dlt_request(test, p);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect(test, " remove:part.0 prepare:p bus-prepare:p");
	dlt_expect_set(test, " p");
	KUNIT_EXPECT_FALSE(test, dla_is_bound(part));
	KUNIT_EXPECT_NE(test, 1, device_attach(&part->auxdev.dev));
	dlt_do_cancel();
	wait_for_device_probe();
	dlt_expect(test, " bus-cancel:p cancel:p probe:part.0");
	KUNIT_EXPECT_TRUE(test, dla_is_bound(part));

	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	p = dla_make_parent(test, "p");
	part = dla_make(test, p, 0, 1);
	dlt_expect(test, " probe:p retrieve:p probe:part.0");
	KUNIT_EXPECT_EQ(test, part->received, 0);
	dlt_do_finish();
	dlt_expect_retained(test, "");
}

/* Its parent runs, so it does: what it was handed over is retained. */
static void dla_lost_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part;

	dla_make(test, p, 0, 11);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	dla_unregister();
	p = dla_make_parent(test, "p");
	part = dla_make(test, p, 0, 0);
	dlt_expect_state(test, 1, INCOMING);
	dlt_do_finish();
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_state(1), DEVICE_LIVEUPDATE_RUNNING);
	dlt_expect_retained(test, DLA_RECORD);
	dla_register(test);
	KUNIT_EXPECT_TRUE(test, dla_is_bound(part));
	KUNIT_EXPECT_EQ(test, part->received, 0);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget("auxiliary:" DLA_PART));
	dlt_expect_retained(test, "");
}

/* The parent is stopped before the part appears, and the part with it. */
static void dla_lost_parent_test(struct kunit *test)
{
	struct dlt_device *p = dla_make_parent(test, "p");
	struct dla_device *part;

	dla_make(test, p, 0, 11);
	dlt_request(test, p);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	p = dlt_new(test, "p", NULL);
	p->drivers = 0;
	dlt_add(test, p);
	dlt_do_finish();
	dlt_expect_retained(test, DLA_RECORD);
	part = dla_make(test, p, 0, 0);
	dlt_expect_retained(test, "");
	KUNIT_EXPECT_TRUE(test, dla_is_bound(part));
	KUNIT_EXPECT_EQ(test, part->received, 0);
}

static int dla_init(struct kunit *test)
{
	int err = dlt_init(test);

	if (err)
		return err;
	dla_ops = dla_ops_default;
	dla_driver.driver.liveupdate = &dla_ops;
	dla_register(test);

	return 0;
}

static void dla_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	dla_del_below(NULL);
	dla_unregister();
	dlt_exit(test);
}

static struct kunit_case dla_cases[] = {
	KUNIT_CASE(dla_follow_test),
	KUNIT_CASE(dla_identity_test),
	KUNIT_CASE(dla_order_test),
	KUNIT_CASE(dla_alone_test),
	KUNIT_CASE(dla_namesake_test),
	KUNIT_CASE(dla_namesake_late_test),
	KUNIT_CASE(dla_check_test),
	KUNIT_CASE(dla_no_liveupdate_test),
	KUNIT_CASE(dla_no_driver_test),
	KUNIT_CASE(dla_detach_test),
	KUNIT_CASE(dla_lost_test),
	KUNIT_CASE(dla_lost_parent_test),
	{}
};

static struct kunit_suite dla_suite = {
	.name = "device-liveupdate-auxiliary",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dla_init,
	.exit = dla_exit,
	.test_cases = dla_cases,
};

kunit_test_suite(dla_suite);
