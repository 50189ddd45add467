// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Which devices can be requested
 *
 * What a driver and a bus have to say of a device before it can be requested, with
 * which reason it is refused, how long a request lasts, and when its files are there.
 */

#include <linux/device.h>
#include <linux/kernfs.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/**
 * struct dlt_refusal - why a device cannot be requested
 * @about: name of the case.
 * @error: error.
 * @reason: reason that is reported.
 * @ops: what the driver says, or NULL for one without live update.
 * @unbound: no driver is bound.
 * @unsupported: reason of the bus.
 * @fail: callback of the bus that fails.
 * @id: what the bus says, or NULL.
 */
struct dlt_refusal {
	const char *about;
	int error;
	const char *reason;
	const struct dev_liveupdate_ops *ops;
	bool unbound;
	const char *unsupported;
	const char *fail;
	const char *id;
};

#define DLT_OPS(_compatible, _version, _oldest)				\
	(&(const struct dev_liveupdate_ops) {				\
		.compatible = _compatible, .version = _version,		\
		.oldest = _oldest,					\
	})
#define DLT_BADLY	"its driver describes itself badly"

#define DLT_31		"0123456789abcdef0123456789abcde"
#define DLT_32		DLT_31 "f"

static const struct dlt_refusal dlt_refusals[] = {
	{ "no driver", -EOPNOTSUPP, "no driver is bound", &dlt_ops_default,
	  .unbound = true },
	{ "driver without live update", -EOPNOTSUPP,
	  "its driver has no live update" },
	{ "no compatible", -EINVAL, DLT_BADLY, DLT_OPS(NULL, 1, 1) },
	{ "empty compatible", -EINVAL, DLT_BADLY, DLT_OPS("", 1, 1) },
	{ "space in compatible", -EINVAL, DLT_BADLY, DLT_OPS("kunit, one", 1, 1) },
	{ "control in compatible", -EINVAL, DLT_BADLY, DLT_OPS("kunit\x7f", 1, 1) },
	{ "no ASCII in compatible", -EINVAL, DLT_BADLY, DLT_OPS("kunit\xe9", 1, 1) },
	{ "compatible too long", -EINVAL, DLT_BADLY,
	  DLT_OPS(DLT_32, 1, 1) },
	{ "version 0", -EINVAL, DLT_BADLY, DLT_OPS("kunit", 0, 0) },
	{ "oldest 0", -EINVAL, DLT_BADLY, DLT_OPS("kunit", 1, 0) },
	{ "oldest above version", -EINVAL, DLT_BADLY, DLT_OPS("kunit", 1, 2) },
	{ "refused by the bus", -EPERM, "has a tail", &dlt_ops_default,
	  .unsupported = "has a tail" },
	{ "not identified", -EIO, DLT_NO_IDENTITY, &dlt_ops_default,
	  .fail = "identify" },
	{ "no identity", -EINVAL, DLT_NO_IDENTITY, &dlt_ops_default, .id = "" },
	{ "space in identity", -EINVAL, DLT_NO_IDENTITY, &dlt_ops_default,
	  .id = "a 1" },
	{ "identity not terminated", -EINVAL, DLT_NO_IDENTITY, &dlt_ops_default,
	  .id = DLT_32 DLT_32 },
};

KUNIT_ARRAY_PARAM_DESC(dlt_refusal, dlt_refusals, about);

/* Makes device "a" as the case says. */
static struct dlt_device *dlt_make_refused(struct kunit *test,
					   const struct dlt_refusal *refusal)
{
	struct dlt_device *a = dlt_new(test, "a", NULL);

	if (refusal->ops) {
		dlt_ops[DLT_ONE].compatible = refusal->ops->compatible;
		dlt_ops[DLT_ONE].version = refusal->ops->version;
		dlt_ops[DLT_ONE].oldest = refusal->ops->oldest;
	} else {
		a->drivers = BIT(DLT_PLAIN);
	}
	if (refusal->unbound)
		a->drivers = 0;
	a->unsupported = refusal->unsupported;
	a->fail = refusal->fail;
	if (refusal->id)
		memcpy(a->id, refusal->id,
		       min(strlen(refusal->id) + 1, sizeof(a->id)));
	dlt_add(test, a);

	return a;
}

static void dlt_request_refused_test(struct kunit *test)
{
	const struct dlt_refusal *refusal = test->param_value;
	struct dlt_device *a = dlt_make_refused(test, refusal);

	KUNIT_EXPECT_EQ(test, dlu_request(&a->dev, true), refusal->error);
	dlt_expect_failed(test, "a", refusal->error, refusal->reason);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
}

/* The same for a device that is only needed, which prepare finds out. */
static void dlt_needed_refused_test(struct kunit *test)
{
	const struct dlt_refusal *refusal = test->param_value;
	struct dlt_device *a = dlt_make_refused(test, refusal), *b;

	b = dlt_new(test, "b", a);
	b->drivers = BIT(DLT_OTHER);
	dlt_add(test, b);
	dlt_request(test, b);
	dlt_clear_log();
	/* What is not an identity is no name for the report. */
	KUNIT_EXPECT_EQ(test, dlt_do_prepare(), refusal->error);
	KUNIT_EXPECT_STREQ(test, dlt_failure.reason, refusal->reason);
	dlt_expect(test, "");
	dlt_expect_idle(test);
}

static void dlt_request_longest_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);

	dlt_ops[DLT_ONE].compatible = DLT_31;
	KUNIT_EXPECT_EQ(test, strlen(DLT_31), DEVICE_LIVEUPDATE_DRIVER_LEN - 1);
	strscpy_pad(a->id, DLT_32 DLT_32);
	KUNIT_EXPECT_EQ(test, strlen(a->id), DEVICE_LIVEUPDATE_ID_LEN - 1);
	dlt_request(test, a);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	KUNIT_EXPECT_STREQ(test, dlt_ser(0)->compatible, dlt_ops[DLT_ONE].compatible);
	KUNIT_EXPECT_STREQ(test, dlt_ser(0)->id, a->id);
}

static void dlt_request_count_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
	dlt_request(test, a);
	dlt_request(test, a);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
	dlt_request(test, b);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 2);
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);

	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " b");
	KUNIT_EXPECT_EQ(test, -EBUSY, dlu_request(&a->dev, true));
	KUNIT_EXPECT_EQ(test, -EBUSY, dlu_request(&b->dev, false));
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
	dlt_do_cancel();
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&b->dev, false));
	dlt_expect_idle(test);

	/* Nothing is requested: nothing is handed over. */
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	KUNIT_EXPECT_EQ(test, 0, dlt_do_freeze());
	KUNIT_EXPECT_EQ(test, dlt->data.size, 0);
	KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
	KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
	dlt_do_thaw();
	dlt_do_cancel();
}

/* What the file "reason" would say. */
static void dlt_expect_reason(struct kunit *test, struct dlt_device *dlt_dev, int error,
			      const char *want)
{
	struct device_liveupdate_id id;
	const char *reason = "none";

	KUNIT_EXPECT_EQ(test, error, dlu_check_request(&dlt_dev->dev, &id, &reason));
	KUNIT_EXPECT_STREQ(test, reason, want);
}

static void dlt_reason_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct device_liveupdate_id id;
	const char *reason;

	dlt_failure.error = 0;
	KUNIT_EXPECT_EQ(test, 0, dlu_check_request(&a->dev, &id, &reason));
	KUNIT_EXPECT_STREQ(test, id.id, "a");
	a->unsupported = "too old";
	dlt_expect_reason(test, a, -EPERM, "too old");
	a->unsupported = NULL;
	a->fail = "identify";
	dlt_expect_reason(test, a, -EIO, "its bus cannot identify it");
	a->fail = NULL;
	device_release_driver(&a->dev);
	dlt_expect_reason(test, a, -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_reason(test, a, -EBUSY, "the state is not normal");
	dlt_do_cancel();

	/* Nothing has changed by it. */
	KUNIT_EXPECT_EQ(test, dlt_failure.error, 0);
	KUNIT_EXPECT_NULL(test, dlu_of(&a->dev));
}

static bool dlt_has_files(const struct dlt_device *dlt_dev)
{
	struct kernfs_node *node = kernfs_find_and_get(dlt_dev->dev.kobj.sd, "liveupdate");

	kernfs_put(node);

	return node;
}

/* Nobody may be asked about a driver while it is probed. */
static void dlt_no_files_hook(struct dlt_device *dlt_dev)
{
	KUNIT_EXPECT_FALSE(dlt->test, dlt_has_files(dlt_dev));
}

static void dlt_request_withdrawn_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	dlt_request(test, a);
	dlt_request(test, b);
	/* It goes with the device. */
	dlt_del(b);
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
	KUNIT_EXPECT_FALSE(test, dlu_is_requested(&b->dev));
	KUNIT_EXPECT_EQ(test, kref_read(&b->dev.kobj.kref), 1);

	/* It does not go with the driver, but there is no prepare without it. */
	device_release_driver(&a->dev);
	KUNIT_EXPECT_TRUE(test, dlu_is_requested(&a->dev));
	dlt_clear_log();
	dlt_expect_refused(test, "a", -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_PLAIN], &a->dev));
	dlt_clear_log();
	dlt_expect_refused(test, "a", -EOPNOTSUPP, "its driver has no live update");
	device_release_driver(&a->dev);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	KUNIT_EXPECT_TRUE(test, dlu_is_requested(&a->dev));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a");
	dlt_do_cancel();

	/* Without a driver it can still be withdrawn. */
	device_release_driver(&a->dev);
	KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.requested));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
}

/* The files of a requested device are there whether it has a driver or not. */
static void dlt_request_files_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);

	KUNIT_EXPECT_TRUE(test, dlt_has_files(a));
	device_release_driver(&a->dev);
	KUNIT_EXPECT_FALSE(test, dlt_has_files(a));
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	dlt_request(test, a);
	device_release_driver(&a->dev);
	KUNIT_EXPECT_TRUE(test, dlt_has_files(a));
	a->hook = dlt_no_files_hook;
	a->hook_at = "probe";
	a->fail = "probe";
	KUNIT_EXPECT_NE(test, 0, device_driver_attach(&dlt_drivers[DLT_ONE], &a->dev));
	KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
	KUNIT_EXPECT_TRUE(test, dlt_has_files(a));
	a->fail = NULL;
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlt_drivers[DLT_PLAIN], &a->dev));
	KUNIT_EXPECT_TRUE(test, dlt_has_files(a));
}

static void dlt_same_identity_test(struct kunit *test)
{
	struct dlt_device *a = dlt_make(test, "a", NULL);
	struct dlt_device *b = dlt_make(test, "b", NULL);

	strscpy_pad(b->id, "a");
	dlt_request(test, a);
	dlt_request(test, b);
	dlt_clear_log();
	dlt_expect_refused(test, "a", -EEXIST,
			   "its identity is that of another device");
	strscpy_pad(b->id, "b");
	dlt_request(test, b);

	/* On another bus it is another device. */
	dlt_request(test, dlt_make_second(test, "c"));
	KUNIT_EXPECT_EQ(test, 0, dlt_do_prepare());
	dlt_expect_set(test, " a b c");
}

static struct kunit_case dlt_request_cases[] = {
	KUNIT_CASE_PARAM(dlt_request_refused_test, dlt_refusal_gen_params),
	KUNIT_CASE_PARAM(dlt_needed_refused_test, dlt_refusal_gen_params),
	KUNIT_CASE(dlt_request_longest_test),
	KUNIT_CASE(dlt_request_count_test),
	KUNIT_CASE(dlt_request_withdrawn_test),
	KUNIT_CASE(dlt_request_files_test),
	KUNIT_CASE(dlt_reason_test),
	KUNIT_CASE(dlt_same_identity_test),
	{}
};

static struct kunit_suite dlt_request_suite = {
	.name = "device-liveupdate-request",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_request_cases,
};

kunit_test_suite(dlt_request_suite);
