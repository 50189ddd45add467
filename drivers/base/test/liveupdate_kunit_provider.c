// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A device and what it needs
 *
 * In the next kernel a device is taken over after its parent, its suppliers and what
 * its bus said it depends on; until then it waits, and without them it is quarantined.
 */

#include <kunit/static_stub.h>
#include <linux/array_size.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* Parents. */

enum dlt_parent {
	DLT_PARENT_MISSING,
	DLT_PARENT_NEW,
	DLT_PARENT_GRANDPARENT,
	DLT_PARENT_OTHER_HARDWARE,
	DLT_PARENT_FAILED,
	DLT_PARENT_RELEASED,
	DLT_PARENT_UNBOUND,
	DLT_PARENT_WAITING,
	DLT_PARENT_BETWEEN,
	DLT_NR_PARENTS,
};

static const char *const dlt_parents[DLT_NR_PARENTS] = {
	[DLT_PARENT_MISSING] = "not there",
	[DLT_PARENT_NEW] = "not handed over",
	[DLT_PARENT_GRANDPARENT] = "handed over, but another",
	[DLT_PARENT_OTHER_HARDWARE] = "other hardware",
	[DLT_PARENT_FAILED] = "probe failed",
	[DLT_PARENT_RELEASED] = "not taken over",
	[DLT_PARENT_UNBOUND] = "taken over and unbound",
	[DLT_PARENT_WAITING] = "waits for a driver",
	[DLT_PARENT_BETWEEN] = "with a class device in between",
};

static const void *dlt_parent_gen(struct kunit *test, const void *prev, char *desc)
{
	const char *const *parent = prev;

	parent = parent ? parent + 1 : dlt_parents;
	if (parent == dlt_parents + DLT_NR_PARENTS)
		return NULL;
	strscpy(desc, *parent, KUNIT_PARAM_DESC_SIZE);

	return parent;
}

/* "a" as the case says, and what "b" is below. */
static struct dlt_device *dlt_make_parent(struct kunit *test, enum dlt_parent parent,
					  struct dlt_device *bridge)
{
	struct dlt_device *a;

	if (parent == DLT_PARENT_MISSING)
		return NULL;
	if (parent == DLT_PARENT_GRANDPARENT)
		return bridge;
	if (parent == DLT_PARENT_NEW)
		return dlt_make(test, "new", NULL);

	a = dlt_new(test, "a", bridge);
	if (parent == DLT_PARENT_OTHER_HARDWARE)
		a->fingerprint[0] = 'x';
	if (parent == DLT_PARENT_FAILED)
		a->fail = "probe";
	a->silent = parent == DLT_PARENT_RELEASED;
	if (parent == DLT_PARENT_WAITING)
		a->drivers = 0;
	dlt_add(test, a);
	if (parent == DLT_PARENT_UNBOUND)
		device_release_driver(&a->dev);

	return a;
}

static void dlt_parent_test(struct kunit *test)
{
	enum dlt_parent parent = (const char *const *)test->param_value - dlt_parents;
	bool waits = parent == DLT_PARENT_WAITING;
	bool may = parent == DLT_PARENT_BETWEEN;
	struct dlt_device *bridge, *above, *b;
	bool moved;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	above = dlt_make_parent(test, parent, bridge);
	dlt_clear_log();
	if (parent == DLT_PARENT_BETWEEN)
		b = dlt_make_below(test, "b", above, &dlt_class);
	else
		b = dlt_make(test, "b", above);
	moved = parent == DLT_PARENT_MISSING || parent == DLT_PARENT_NEW ||
		parent == DLT_PARENT_GRANDPARENT;
	dlt_expect(test, may ? " probe:b retrieve:b" : waits ? "" :
			 moved ? " quarantine:b probe:b" : " quarantine:b");
	/* What was moved has no record, and is as any device once it is stopped. */
	KUNIT_EXPECT_EQ(test, dlt_driven_by(b, DLT_ONE), may || moved);
	if (moved)
		dlt_expect_state(test, 2, ABSENT);
	if (!waits)
		return;

	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&dlt_drivers[DLT_ONE], &b->dev));
	dlt_expect_state(test, 2, INCOMING);
	above->drivers = BIT(DLT_ONE);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &above->dev));
	wait_for_device_probe();
	dlt_expect(test, " probe:a retrieve:a probe:b retrieve:b");
}

static void dlt_path_parent_test(struct kunit *test)
{
	struct dlt_device *bridge;

	/* A bridge that nothing drives, or not any more, is as good as any. */
	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	device_release_driver(&bridge->dev);
	dlt_clear_log();
	dlt_expect_state(test, 0, RELEASED);
	dlt_make(test, "a", bridge);
	dlt_expect(test, " probe:a retrieve:a");
	dlt_del_all();
	dlt_unboot();

	/* One that is other hardware did not keep anything alive. */
	dlt_boot(test);
	bridge = dlt_new(test, "bridge", NULL);
	bridge->drivers = BIT(DLT_PLAIN);
	bridge->fingerprint[0] = 'x';
	dlt_add(test, bridge);
	dlt_expect_state(test, 0, QUARANTINED);
	dlt_make(test, "a", bridge);
	dlt_expect(test, " probe:bridge quarantine:a");
}

/* It waits for a driver, and meanwhile its parent fails. */
static void dlt_parent_fails_later_test(struct kunit *test)
{
	struct dlt_device *a, *b;

	dlt_jump_chain(test);
	dlt_boot(test);
	a = dlt_new(test, "a", dlt_make_bridge(test, "bridge", NULL));
	a->drivers = 0;
	a->fail = "probe";
	dlt_add(test, a);
	b = dlt_new(test, "b", a);
	b->drivers = 0;
	dlt_add(test, b);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_is_incoming(&b->dev));
	dlt_clear_log();
	KUNIT_EXPECT_EQ(test, -EIO, device_driver_attach(&dlt_drivers[DLT_ONE],
							 &a->dev));
	dlt_expect(test, " probe:a quarantine:a quarantine:b");
	KUNIT_EXPECT_EQ(test, -ENODEV, device_driver_attach(&dlt_drivers[DLT_ONE],
							    &b->dev));
	dlt_expect(test, "");
}

/* It waits for a driver, and is moved meanwhile. */
static void dlt_parent_moved_test(struct kunit *test)
{
	struct dlt_device *bridge, *b;

	dlt_jump_chain(test);
	dlt_boot(test);
	bridge = dlt_make_bridge(test, "bridge", NULL);
	b = dlt_new(test, "b", dlt_make(test, "a", bridge));
	b->drivers = 0;
	dlt_add(test, b);
	dlt_expect_state(test, 2, INCOMING);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, &bridge->dev, DPM_ORDER_NONE));
	KUNIT_EXPECT_EQ(test, -ENODEV, device_driver_attach(&dlt_drivers[DLT_ONE],
							    &b->dev));
	dlt_expect(test, " quarantine:b");
	dlt_expect_state(test, 2, QUARANTINED);
}

/*
 * It is not the one that was handed over: it looks different, or that one's parent is there,
 * and it is below another device.
 */
static void dlt_parent_lookalike_test(struct kunit *test)
{
	struct dlt_device *above, *b;

	dlt_jump_chain(test);
	dlt_boot(test);
	above = dlt_make(test, "above", NULL);
	b = dlt_new(test, "b", above);
	b->fingerprint[0] = 'x';
	dlt_add(test, b);
	dlt_expect(test, " probe:above probe:b");
	dlt_del(b);
	dlt_make(test, "a", dlt_make_bridge(test, "bridge", NULL));
	dlt_clear_log();
	dlt_make(test, "b", above);
	dlt_expect(test, " probe:b");
	dlt_expect_state(test, 2, ABSENT);
}

/* A device that had no parent in the table must not have one. */
static void dlt_no_parent_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	dlt_request(test, a);
	dlt_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	dlt_boot(test);
	a = dlt_make(test, "a", NULL);
	b = dlt_make(test, "b", a);
	dlt_expect(test, " probe:a retrieve:a quarantine:b probe:b");
	dlt_del(b);

	/* Nor may it get one. */
	b = dlt_new(test, "b", NULL);
	b->drivers = 0;
	dlt_add(test, b);
	dlt_expect_state(test, 1, INCOMING);
	dlt_clear_log();
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, &a->dev, DPM_ORDER_NONE));
	KUNIT_EXPECT_EQ(test, -ENODEV, device_driver_attach(&dlt_drivers[DLT_ONE],
							    &b->dev));
	dlt_expect(test, " quarantine:b");
}

/* What else a device needs. */

/* How the consumer "c" names its provider "p". */
static const char *const dlt_ways[] = { "link", "dependency" };

static void dlt_way_desc(const char *const *way, char *desc)
{
	strscpy(desc, *way, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dlt_way, dlt_ways, dlt_way_desc);

static void dlt_need(struct kunit *test, struct dlt_device *c, struct dlt_device *p)
{
	const char *const *way = test->param_value;

	if (!way || !strcmp(*way, "link"))
		KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &p->dev, 0));
	else
		c->depends[0] = p;
}

/* "d" needs "c", which needs "p". Only "d" is requested. */
static void dlt_jump_needy(struct kunit *test)
{
	struct dlt_device *p = dlt_make(test, "p", NULL);
	struct dlt_device *c = dlt_make(test, "c", NULL);
	struct dlt_device *d = dlt_make(test, "d", NULL);

	dlt_need(test, c, p);
	dlt_need(test, d, c);
	dlt_request(test, d);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " p c d");
	dlt_jump(test);
	for (unsigned int i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, dlt_ser(i)->parent, 0);
		KUNIT_EXPECT_EQ(test, dlt_ser(i)->nr_providers, !!i);
		KUNIT_EXPECT_EQ(test, dlt_ser(i)->providers[0], i ? i - 1 : 0);
		KUNIT_EXPECT_EQ(test, dlt_ser(i)->more, 0);
	}
	dlt_boot(test);
}

/* Those behind it come first; nothing in this kernel says that they need it. */
static void dlt_make_needy(struct kunit *test)
{
	dlt_make(test, "d", NULL);
	dlt_make(test, "c", NULL);
	dlt_expect(test, "");
	dlt_expect_state(test, 1, INCOMING);
	dlt_expect_state(test, 2, INCOMING);
}

static void dlt_provider_late_test(struct kunit *test)
{
	dlt_jump_needy(test);
	dlt_make_needy(test);
	dlt_make(test, "p", NULL);
	wait_for_device_probe();
	dlt_expect(test, " probe:p retrieve:p probe:c retrieve:c probe:d retrieve:d");
	dlt_do_finish();
	dlt_expect(test, " finish:d finish:c finish:p blob:p blob:c blob:d");
}

/* The same for one that is deferred itself. */
static void dlt_provider_deferred_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_needy(test);
	dlt_make_needy(test);
	p = dlt_new(test, "p", NULL);
	p->defer = 1;
	dlt_add(test, p);
	dlt_expect(test, " probe:p");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &p->dev));
	wait_for_device_probe();
	dlt_expect(test, " probe:p retrieve:p probe:c retrieve:c probe:d retrieve:d");
}

static DECLARE_COMPLETION(dlt_attempted);

static void dlt_note_attempt(struct dlt_device *dlt_dev)
{
	complete(&dlt_attempted);
}

/*
 * In place of device_liveupdate_is_incoming(), which is asked before a device that is bound
 * counts as reclaimed. By then the driver core has retried what is deferred: it waits until
 * that was too early.
 */
static bool dlt_incoming_late(struct device *dev)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	struct dlt_device *consumer = dlt_dev->context;

	if (consumer && device_is_bound(dev)) {
		dlt_dev->context = NULL;
		KUNIT_EXPECT_TRUE(dlt->test,
				  wait_for_completion_timeout(&dlt_attempted, 10 * HZ));
		/* Until it is deferred again. */
		device_lock(&consumer->dev);
		device_unlock(&consumer->dev);
	}

	return dlu_incoming_of(dev) &&
	       dlu_incoming_of(dev)->state == DEVICE_LIVEUPDATE_INCOMING;
}

/* The driver core retries them when it is bound, and it is reclaimed only after that. */
static void dlt_provider_race_test(struct kunit *test)
{
	struct dlt_device *p, *c;

	dlt_jump_needy(test);
	c = dlt_make(test, "c", NULL);
	wait_for_device_probe();
	reinit_completion(&dlt_attempted);
	c->hook_at = "match";
	c->hook = dlt_note_attempt;
	p = dlt_new(test, "p", NULL);
	p->context = c;
	kunit_activate_static_stub(test, device_liveupdate_is_incoming, dlt_incoming_late);
	dlt_add(test, p);
	kunit_deactivate_static_stub(test, device_liveupdate_is_incoming);
	KUNIT_EXPECT_NULL(test, p->context);
	wait_for_device_probe();
	dlt_expect(test, " probe:p retrieve:p probe:c retrieve:c");
}

static void dlt_provider_missing_test(struct kunit *test)
{
	dlt_jump_needy(test);
	dlt_make_needy(test);
	dlt_do_finish();
	dlt_expect(test, " quarantine:d quarantine:c blob:c blob:d probe:d probe:c");
	dlt_expect_retained(test, "devices:" DLT_BUS ":p");
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
}

static void dlt_flush_hook(struct dlt_device *dlt_dev)
{
	dlu_flush();
}

static void dlt_provider_fails_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_needy(test);
	dlt_make_needy(test);
	p = dlt_new(test, "p", NULL);
	p->fail = "probe";
	/* It is about to be stopped: those that need it are not yet. */
	p->hook_at = "role";
	p->hook = dlt_flush_hook;
	dlt_add(test, p);
	dlt_expect(test, " probe:p quarantine:p quarantine:c quarantine:d");
	p->fail = NULL;
	dlt_do_finish();
	dlt_expect(test, " blob:p blob:c blob:d probe:d probe:c probe:p");
}

/* What needs it appears when it is too late, and is stopped without a driver, too. */
static void dlt_provider_failed_test(struct kunit *test)
{
	struct dlt_device *p, *c;

	dlt_jump_needy(test);
	p = dlt_new(test, "p", NULL);
	p->fail = "probe";
	dlt_add(test, p);
	dlt_expect(test, " probe:p quarantine:p");
	c = dlt_new(test, "c", NULL);
	c->drivers = 0;
	dlt_add(test, c);
	dlt_expect(test, " quarantine:c");
}

static void dlt_fail_provider(struct dlt_device *dlt_dev)
{
	struct dlt_device *p = dlt_dev->context;

	dlt_dev->hook = NULL;
	p->fail = "probe";
	dlt_add(dlt->test, p);
}

/* It is stopped while a driver is bound to what needs it. */
static void dlt_provider_fails_meanwhile_test(struct kunit *test)
{
	struct dlt_device *c;

	dlt_jump_needy(test);
	c = dlt_make(test, "c", NULL);
	wait_for_device_probe();
	dlt_clear_log();
	c->context = dlt_new(test, "p", NULL);
	c->hook_at = "match";
	c->hook = dlt_fail_provider;
	KUNIT_EXPECT_EQ(test, 0, device_attach(&c->dev));
	dlt_expect(test, " probe:p quarantine:p quarantine:c");
}

/* Its driver does not take it over, or it is gone before others come. */
static void dlt_provider_released_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_needy(test);
	p = dlt_new(test, "p", NULL);
	p->silent = true;
	dlt_add(test, p);
	dlt_expect(test, " probe:p");
	dlt_expect_state(test, 0, RELEASED);
	dlt_make(test, "c", NULL);
	dlt_make(test, "d", NULL);
	dlt_expect(test, " quarantine:c quarantine:d");
}

static void dlt_provider_removed_test(struct kunit *test)
{
	static const char *const orders[] = {
		" remove:p quarantine:c quarantine:d",
		" quarantine:c remove:p quarantine:d",
		" quarantine:c quarantine:d remove:p",
	};
	struct dlt_device *p, *c;

	dlt_jump_needy(test);
	p = dlt_make(test, "p", NULL);
	dlt_expect(test, " probe:p retrieve:p");
	c = dlt_new(test, "c", NULL);
	c->drivers = 0;
	dlt_add(test, c);
	dlt_make(test, "d", NULL);
	dlt_expect(test, "");
	dlt_del(p);
	/* They are stopped as soon as it is about to lose its driver. */
	dlu_flush();
	scoped_guard(mutex, &dlt->lock)
		KUNIT_EXPECT_GE(test, match_string(orders, ARRAY_SIZE(orders),
						   seq_buf_str(&dlt->log)), 0);
	dlt_clear_log();
}

/* What has taken its device over is not disturbed: its driver knows what it needs. */
static void dlt_provider_unbound_test(struct kunit *test)
{
	struct dlt_device *p;

	dlt_jump_needy(test);
	p = dlt_make(test, "p", NULL);
	dlt_make(test, "c", NULL);
	dlt_expect(test, " probe:p retrieve:p probe:c retrieve:c");
	device_release_driver(&p->dev);
	dlt_expect(test, " remove:p");
	dlt_expect_state(test, 1, RECLAIMED);
	dlt_make(test, "d", NULL);
	dlt_expect(test, " probe:d retrieve:d");
}

/* A provider whose record did not arrive. */
static void dlt_provider_lost_test(struct kunit *test)
{
	dlt_jump_needy(test);
	dlt_unboot();
	dlt_ser(0)->id[0] = ' ';
	dlt_seal();
	dlt_boot(test);
	dlt_make(test, "c", NULL);
	dlt_make(test, "d", NULL);
	dlt_expect(test, " quarantine:c quarantine:d");
}

#define DLT_PROVIDERS	(DEVICE_LIVEUPDATE_PROVIDERS + DEVICE_LIVEUPDATE_MORE + 1)

static struct device_liveupdate_more_ser *dlt_more(unsigned int index)
{
	return (void *)dlt_ser(index);
}

/* "all" needs more devices than fit into its record; it is the last one. */
static void dlt_jump_hungry(struct kunit *test)
{
	struct dlt_device *all, *devices[DLT_PROVIDERS];
	char name[8];

	for (unsigned int i = 0; i < DLT_PROVIDERS; i++) {
		snprintf(name, sizeof(name), "p%02u", i);
		devices[i] = dlt_make(test, name, NULL);
	}
	all = dlt_make(test, "all", NULL);
	for (unsigned int i = 0; i < DLT_PROVIDERS; i++)
		dlt_need(test, all, devices[i]);
	dlt_request(test, all);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, DLT_PROVIDERS + 1);
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_more, 2);
	dlt_jump(test);
	KUNIT_EXPECT_EQ(test, dlt_ser(DLT_PROVIDERS)->nr_providers, DLT_PROVIDERS);
	KUNIT_EXPECT_EQ(test, dlt_ser(DLT_PROVIDERS)->more, DLT_PROVIDERS + 1);
}

static void dlt_hungry_test(struct kunit *test)
{
	struct dlt_device *all;
	char name[8];

	dlt_jump_hungry(test);
	dlt_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLT_PROVIDERS + 1);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_more, 2);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
	for (u32 i = 0; i < DLT_PROVIDERS; i++)
		KUNIT_EXPECT_EQ(test, dlu_provider(&dlu_incoming.records[DLT_PROVIDERS], i), i);

	all = dlt_make(test, "all", NULL);
	for (unsigned int i = 0; i < DLT_PROVIDERS; i++) {
		wait_for_device_probe();
		KUNIT_EXPECT_PTR_EQ(test, all->dev.driver, NULL);
		snprintf(name, sizeof(name), "p%02u", i);
		dlt_make(test, name, NULL);
	}
	wait_for_device_probe();
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(all, DLT_ONE));
	dlt_expect_state(test, DLT_PROVIDERS, RECLAIMED);
}

DLT_FIELD(more_other, ((struct device_liveupdate_more_ser *)ser)->device = 0)
DLT_FIELD(more_few, ((struct device_liveupdate_more_ser *)ser)->nr--)
DLT_FIELD(more_many, ((struct device_liveupdate_more_ser *)ser)->nr++)
DLT_FIELD(more_behind, ((struct device_liveupdate_more_ser *)ser)->providers[0] = U32_MAX)

static const struct dlt_field dlt_mores[] = {
	{ "of another device", dlt_corruption_more_other },
	{ "too few", dlt_corruption_more_few },
	{ "too many", dlt_corruption_more_many },
	{ "a provider that is not there", dlt_corruption_more_behind },
	{ "no such record", NULL, true },
};

KUNIT_ARRAY_PARAM(dlt_more, dlt_mores, dlt_field_desc);

/* It costs the device, whichever record of those that continue it is wrong. */
static void dlt_hungry_corruption_test(struct kunit *test)
{
	const struct dlt_field *field = test->param_value;
	struct device_liveupdate_more_ser saved;

	test->param_value = NULL;
	dlt_jump_hungry(test);
	for (unsigned int i = 1; i <= 2; i++) {
		saved = *dlt_more(DLT_PROVIDERS + i);
		if (field->corruption)
			field->corruption(dlt_ser(DLT_PROVIDERS + i));
		else
			dlt_ser(DLT_PROVIDERS)->more = DLT_PROVIDERS + 1 + i;
		dlt_seal();
		dlt_boot(test);
		KUNIT_EXPECT_TRUE(test, dlu_incoming.records[DLT_PROVIDERS].invalid);
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[DLT_PROVIDERS].data.size, 0);
		KUNIT_EXPECT_FALSE(test, dlu_incoming.records[0].invalid);
		dlt_unboot();
		*dlt_more(DLT_PROVIDERS + i) = saved;
	}
}

/* What is a provider in several ways is named once, and the parent by itself. */
static void dlt_provider_twice_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *p = dlt_make(test, "p", NULL);
	struct dlt_device *c = dlt_make(test, "c", a);

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &p->dev, 0));
	c->depends[0] = a;
	c->depends[1] = p;
	dlt_request(test, c);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a p c");
	dlt_jump(test);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->parent, 1);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->nr_providers, 1);
	KUNIT_EXPECT_EQ(test, dlt_ser(2)->providers[0], 1);
}

/* A bus says that a device needs one that comes after it. */
static void dlt_provider_order_test(struct kunit *test)
{
	struct dlt_device *c = dlt_make(test, "c", NULL);

	c->depends[0] = dlt_make(test, "p", NULL);
	dlt_request(test, c);
	dlt_clear_log();
	dlt_expect_refused(test, "c", -EINVAL, "it needs a device that comes after it");
}

static struct kunit_case dlt_provider_cases[] = {
	KUNIT_CASE_PARAM(dlt_parent_test, dlt_parent_gen),
	KUNIT_CASE(dlt_path_parent_test),
	KUNIT_CASE(dlt_parent_fails_later_test),
	KUNIT_CASE(dlt_parent_moved_test),
	KUNIT_CASE(dlt_parent_lookalike_test),
	KUNIT_CASE_PARAM(dlt_provider_late_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_deferred_test, dlt_way_gen_params),
	KUNIT_CASE(dlt_provider_race_test),
	KUNIT_CASE_PARAM(dlt_provider_missing_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_fails_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_failed_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_fails_meanwhile_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_released_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_removed_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_unbound_test, dlt_way_gen_params),
	KUNIT_CASE_PARAM(dlt_provider_lost_test, dlt_way_gen_params),
	KUNIT_CASE(dlt_hungry_test),
	KUNIT_CASE_PARAM(dlt_hungry_corruption_test, dlt_more_gen_params),
	KUNIT_CASE(dlt_provider_twice_test),
	KUNIT_CASE(dlt_provider_order_test),
	KUNIT_CASE(dlt_no_parent_test),
	{}
};

static struct kunit_suite dlt_provider_suite = {
	.name = "device-liveupdate-provider",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_provider_cases,
};

kunit_test_suite(dlt_provider_suite);
