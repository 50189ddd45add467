// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The bus of the tests of the device layer
 *
 * A bus with drivers and devices that do what the test says. Every callback of bus and
 * driver is written to a log of text, so that what happened and in which order is one
 * string: " callback:device" for each. A device can be told to fail in a callback, or to
 * do something else there.
 *
 * A device of the tests saves a blob with its name in it, or a plain value.
 */

#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/fault.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xxhash.h>

#include "liveupdate_kunit.h"

struct dlt *dlt;

void dlt_clear_log(void)
{
	guard(mutex)(&dlt->lock);
	seq_buf_clear(&dlt->log);
}

void dlt_expect_parts(struct kunit *test, const char *const *parts)
{
	struct seq_buf want;

	/* What needs a device that is quarantined is so a little later. */
	dlu_flush();
	seq_buf_init(&want, dlt->want, DLT_LOG_LEN);
	while (*parts)
		seq_buf_puts(&want, *parts++);
	scoped_guard(mutex, &dlt->lock) {
		KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&dlt->log));
		KUNIT_EXPECT_STREQ(test, seq_buf_str(&dlt->log),
				   seq_buf_str(&want));
	}
	dlt_clear_log();
}

/* The bus and its drivers. */

/* What the test does in a callback of this device. Some are called too often for the log. */
static void dlt_run_hook(struct dlt_device *dlt_dev, const char *call)
{
	if (dlt_dev->hook && !strcmp(dlt_dev->hook_at, call))
		dlt_dev->hook(dlt_dev);
}

static int dlt_call(struct device *dev, const char *call)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);

	dlt_log(" %s:%s", call, dev_name(dev));
	dlt_run_hook(dlt_dev, call);

	return dlt_dev->fail && !strcmp(dlt_dev->fail, call) ? -EIO : 0;
}

int dlt_identify(struct device *dev, struct device_liveupdate_id *id)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);

	memcpy(id->id, dlt_dev->id, sizeof(id->id));
	memcpy(id->fingerprint, dlt_dev->fingerprint, sizeof(id->fingerprint));

	/* Next comes memory to note something of the device. */
	if (dlt_dev->fail && !strcmp(dlt_dev->fail, "note")) {
		dlt_dev->fail = NULL;
		liveupdate_fault_begin(&(struct liveupdate_fault){ .nth = 1 });
	}

	/* Called too often for the log. */
	return dlt_dev->fail && !strcmp(dlt_dev->fail, "identify") ? -EIO : 0;
}

static u64 dlt_revision(struct device *dev)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	u64 seed = xxh64(dlt_dev->id, strlen(dlt_dev->id), 0);

	return xxh64(dlt_dev->fingerprint, sizeof(dlt_dev->fingerprint), seed);
}

/* The test may say so: the first character of the fingerprint is irrelevant. */
bool dlt_match(struct device *dev, const struct device_liveupdate_id *id,
	       const struct device_liveupdate_id *handed)
{
	KUNIT_EXPECT_STREQ(dlt->test, id->id, handed->id);

	return !memcmp(id->fingerprint + 1, handed->fingerprint + 1,
		       sizeof(id->fingerprint) - 1);
}

static int dlt_check(struct device *dev, const char **reason)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);

	KUNIT_EXPECT_FALSE(dlt->test, dev->p->dead);
	if (!dlt_dev->unsupported)
		return 0;
	*reason = dlt_dev->unsupported;

	return -EPERM;
}

enum device_liveupdate_role dlt_bus_role(struct device *dev)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);

	dlt_run_hook(dlt_dev, "role");

	return dlt_dev->bridge ? DEVICE_LIVEUPDATE_FORWARDER : dlt_dev->role;
}

/* Calls of the bus have another name if they are for a device that only forwards. */
static int dlt_bus_call(struct device *dev, enum device_liveupdate_role role,
			const char *endpoint, const char *forwarder)
{
	KUNIT_EXPECT_EQ(dlt->test, role, dlt_bus_role(dev));

	return dlt_call(dev, role == DEVICE_LIVEUPDATE_FORWARDER ? forwarder : endpoint);
}

static int dlt_dependencies(struct device *dev,
			    int (*add)(struct device *dependency, void *context),
			    void *context)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	int err = 0;

	KUNIT_EXPECT_FALSE(dlt->test, dev->p->dead);
	dlt_run_hook(dlt_dev, "dependencies");
	for (int i = 0; i < ARRAY_SIZE(dlt_dev->depends) && !err; i++)
		if (dlt_dev->depends[i])
			err = add(&dlt_dev->depends[i]->dev, context);

	return err;
}

static int dlt_bus_prepare(struct device *dev, enum device_liveupdate_role role)
{
	return dlt_bus_call(dev, role, "bus-prepare", "path-on");
}

static int dlt_bus_freeze(struct device *dev, enum device_liveupdate_role role)
{
	return dlt_bus_call(dev, role, "bus-freeze", "path-freeze");
}

static void dlt_bus_thaw(struct device *dev, enum device_liveupdate_role role)
{
	dlt_bus_call(dev, role, "bus-thaw", "path-thaw");
}

static void dlt_bus_cancel(struct device *dev, enum device_liveupdate_role role)
{
	dlt_bus_call(dev, role, "bus-cancel", "path-off");
}

int dlt_quarantine(struct device *dev)
{
	return dlt_call(dev, "quarantine");
}

static void dlt_stop(struct device *dev)
{
	dlt_call(dev, "stop");
}

static const struct bus_liveupdate_ops dlt_bus_ops_default = {
	.identify	= dlt_identify,
	.revision	= dlt_revision,
	.check		= dlt_check,
	.role		= dlt_bus_role,
	.dependencies	= dlt_dependencies,
	.prepare	= dlt_bus_prepare,
	.freeze		= dlt_bus_freeze,
	.thaw		= dlt_bus_thaw,
	.cancel		= dlt_bus_cancel,
	.quarantine	= dlt_quarantine,
	.stop		= dlt_stop,
};

/* Tests may change it until they end. */
struct bus_liveupdate_ops dlt_bus_ops;

static int dlt_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	char *blob;

	if (dlt_dev->blob) {
		blob = liveupdate_data_alloc(data, strlen(dlt_dev->id) + 1);
		if (IS_ERR(blob))
			return PTR_ERR(blob);
		strscpy(blob, dlt_dev->id, data->size);
	} else {
		data->value = DLT_VALUE;
	}

	/* Fails late: what was allocated is freed for it. */
	return dlt_call(dev, "prepare");
}

static int dlt_freeze(struct device *dev, const struct liveupdate_data *data)
{
	return dlt_call(dev, "freeze");
}

void dlt_freeze_late(struct device *dev, const struct liveupdate_data *data)
{
	dlt_call(dev, "freeze-late");
}

static void dlt_thaw(struct device *dev, const struct liveupdate_data *data)
{
	dlt_call(dev, "thaw");
}

static void dlt_cancel(struct device *dev, const struct liveupdate_data *data)
{
	KUNIT_EXPECT_EQ(dlt->test, to_dlt_device(dev)->blob, data->size != 0);
	dlt_call(dev, "cancel");
}

static void dlt_finish(struct device *dev, const struct liveupdate_data *data)
{
	dlt_call(dev, "finish");
}

static int dlt_probe(struct device *dev)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	const struct liveupdate_data *data;
	int err;

	err = dlt_call(dev, "probe");
	if (err)
		return err;
	if (dlt_dev->defer) {
		dlt_dev->defer--;
		return -EPROBE_DEFER;
	}
	if (dlt_dev->silent)
		return 0;

	data = device_liveupdate_retrieve(dev, &dlt_dev->version);
	if (!data)
		return 0;
	dlt_dev->received = *data;
	if (data->size)
		strscpy(dlt_dev->text, liveupdate_data_blob(data));

	if (dlt_dev->declines)
		device_liveupdate_decline(dev);

	return dlt_call(dev, "retrieve");
}

static int dlt_remove(struct device *dev)
{
	dlt_call(dev, "remove");

	return 0;
}

static int dlt_bus_match(struct device *dev, const struct device_driver *drv);

const struct bus_type dlt_bus = {
	.name		= DLT_BUS,
	.match		= dlt_bus_match,
	.probe		= dlt_probe,
	.liveupdate	= &dlt_bus_ops,
	.driver_override = true,
};

static const struct bus_type dlt_second_bus = {
	.name		= "liveupdate-kunit-2",
	.probe		= dlt_probe,
	.liveupdate	= &dlt_bus_ops,
};

static bool dlt_follow(struct device *dev)
{
	return !to_dlt_device(dev)->stays;
}

static const struct bus_liveupdate_ops dlt_below_ops = {
	.identify	= dlt_identify,
	.follow		= dlt_follow,
};

/* Its devices come along with their parent, and are only stopped with it. */
const struct bus_type dlt_below_bus = {
	.name		= "liveupdate-kunit-b",
	.probe		= dlt_probe,
	.liveupdate	= &dlt_below_ops,
};

/* Knows nothing of live update. */
static const struct bus_type dlt_foreign_bus = {
	.name		= "liveupdate-kunit-f",
	.probe		= dlt_probe,
};

static void dlt_bus_shutdown(struct device *dev)
{
}

/* Shuts devices down that forward for others, too, in its own way. */
const struct bus_type dlt_forward_bus = {
	.name		= "liveupdate-kunit-w",
	.probe		= dlt_probe,
	.shutdown	= dlt_bus_shutdown,
	.liveupdate	= &dlt_bus_ops,
};

/* Acts on devices without a driver, too. */
const struct bus_type dlt_shutdown_bus = {
	.name		= "liveupdate-kunit-s",
	.shutdown	= dlt_bus_shutdown,
};

static int dlt_class_shutdown(struct device *dev)
{
	return 0;
}

const struct class dlt_shutdown_class = {
	.name		= "liveupdate-kunit-s",
	.shutdown_pre	= dlt_class_shutdown,
};

const struct class dlt_class = {
	.name		= DLT_BUS,
};

/* Tests may change it, as the above. */
struct dev_liveupdate_ops dlt_ops[DLT_PLAIN];

const struct dev_liveupdate_ops dlt_ops_default = {
	.compatible	= "kunit,one",
	.version	= 3,
	.oldest		= 2,
	.prepare	= dlt_prepare,
	.freeze		= dlt_freeze,
	.thaw		= dlt_thaw,
	.cancel		= dlt_cancel,
	.finish		= dlt_finish,
};

#define DLT_DRIVER(_name, _bus, _ops)					\
	{								\
		.name		= _name,				\
		.owner		= THIS_MODULE,				\
		.bus		= _bus,					\
		.probe_type	= PROBE_FORCE_SYNCHRONOUS,		\
		.remove		= dlt_remove,				\
		.liveupdate	= _ops,					\
	}

struct device_driver dlt_drivers[DLT_NR_DRIVERS] = {
	[DLT_ONE] = DLT_DRIVER("dlt-one", &dlt_bus, &dlt_ops[DLT_ONE]),
	[DLT_OTHER] = DLT_DRIVER("dlt-other", &dlt_bus, &dlt_ops[DLT_OTHER]),
	[DLT_PLAIN] = DLT_DRIVER("dlt-plain", &dlt_bus, NULL),
	[DLT_SECOND] = DLT_DRIVER("dlt-second", &dlt_second_bus, &dlt_ops[DLT_ONE]),
	[DLT_FOREIGN] = DLT_DRIVER("dlt-foreign", &dlt_foreign_bus, NULL),
	[DLT_BELOW] = DLT_DRIVER("dlt-below", &dlt_below_bus, &dlt_ops[DLT_ONE]),
};

static bool dlt_registered[DLT_NR_DRIVERS];

static int dlt_bus_match(struct device *dev, const struct device_driver *drv)
{
	struct dlt_device *dlt_dev = to_dlt_device(dev);
	int ret = device_match_driver_override(dev, drv);

	dlt_run_hook(dlt_dev, "match");
	if (ret >= 0)
		return ret;

	return !!(dlt_dev->drivers & BIT(drv - dlt_drivers));
}

int dlt_register(enum dlt_driver driver)
{
	int err = driver_register(&dlt_drivers[driver]);

	dlt_registered[driver] = !err;

	return err;
}

void dlt_unregister(enum dlt_driver driver)
{
	if (dlt_registered[driver])
		driver_unregister(&dlt_drivers[driver]);
	dlt_registered[driver] = false;
}

bool dlt_driven_by(const struct dlt_device *dlt_dev, enum dlt_driver driver)
{
	return dlt_dev->dev.driver == &dlt_drivers[driver];
}

/* Tests may change what bus and drivers have. */
void dlt_reset_bus(void)
{
	dlt_bus_ops = dlt_bus_ops_default;
	for (int i = 0; i < DLT_PLAIN; i++)
		dlt_ops[i] = dlt_ops_default;
	dlt_ops[DLT_OTHER].compatible = "kunit,other";
	dlt_drivers[DLT_ONE].probe_type = PROBE_FORCE_SYNCHRONOUS;
}

static const struct bus_type *const dlt_buses[] = {
	&dlt_bus, &dlt_second_bus, &dlt_foreign_bus, &dlt_forward_bus, &dlt_shutdown_bus,
	&dlt_below_bus,
};

int dlt_suite_init(struct kunit_suite *suite)
{
	unsigned int i;
	int err;

	err = class_register(&dlt_class);
	if (err)
		return err;
	err = class_register(&dlt_shutdown_class);
	if (err)
		goto err_class;
	for (i = 0; i < ARRAY_SIZE(dlt_buses); i++) {
		err = bus_register(dlt_buses[i]);
		if (err)
			goto err_bus;
	}

	return 0;

err_bus:
	while (i--)
		bus_unregister(dlt_buses[i]);
	class_unregister(&dlt_shutdown_class);
err_class:
	class_unregister(&dlt_class);

	return err;
}

void dlt_suite_exit(struct kunit_suite *suite)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(dlt_buses); i++)
		bus_unregister(dlt_buses[i]);
	class_unregister(&dlt_shutdown_class);
	class_unregister(&dlt_class);
}

/* Devices. */

static void dlt_release(struct device *dev)
{
	kfree(to_dlt_device(dev));
}

static void dlt_release_between(struct device *dev)
{
	kfree(dev);
}

/*
 * The fingerprint is compared as a whole, so nothing of an earlier one may stay
 * behind the end of the string. How much strscpy() writes there depends on the
 * configuration.
 */
void dlt_set_identity(struct dlt_device *dlt_dev, const char *id)
{
	strscpy_pad(dlt_dev->id, id);
	strscpy_pad(dlt_dev->fingerprint, id);
}

/* A device that does not exist yet. The test has a reference until it ends. */
struct dlt_device *dlt_new(struct kunit *test, const char *name,
			   struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = kzalloc_obj(*dlt_dev);

	KUNIT_ASSERT_NOT_NULL(test, dlt_dev);
	device_initialize(&dlt_dev->dev);
	dlt_dev->dev.release = dlt_release;
	dlt_dev->dev.bus = &dlt_bus;
	dlt_dev->dev.parent = parent ? &parent->dev : dlt->root;
	dlt_dev->drivers = BIT(DLT_ONE);
	dlt_dev->blob = true;
	dlt_dev->gone = true;
	dlt_set_identity(dlt_dev, name);
	list_add_tail(&dlt_dev->list, &dlt->devices);
	KUNIT_ASSERT_EQ(test, 0, dev_set_name(&dlt_dev->dev, "%s", name));

	return dlt_dev;
}

void dlt_add(struct kunit *test, struct dlt_device *dlt_dev)
{
	KUNIT_ASSERT_EQ(test, 0, device_add(&dlt_dev->dev));
	dlt_dev->gone = false;
}

struct dlt_device *dlt_make(struct kunit *test, const char *name,
			    struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, parent);

	dlt_add(test, dlt_dev);

	return dlt_dev;
}

/* A device that connects others. */
struct dlt_device *dlt_make_bridge(struct kunit *test, const char *name,
				   struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, parent);

	dlt_dev->bridge = true;
	dlt_dev->drivers = BIT(DLT_PLAIN);
	dlt_add(test, dlt_dev);

	return dlt_dev;
}

/* With a device without a bus in between, which may have a class. */
void dlt_add_below(struct kunit *test, struct dlt_device *dlt_dev,
		   struct dlt_device *parent, const struct class *class)
{
	struct device *between = kzalloc_obj(*between);

	KUNIT_ASSERT_NOT_NULL(test, between);
	device_initialize(between);
	between->release = dlt_release_between;
	between->class = class;
	between->parent = &parent->dev;
	KUNIT_ASSERT_EQ(test, 0,
			dev_set_name(between, "above-%s", dev_name(&dlt_dev->dev)));
	KUNIT_ASSERT_EQ(test, 0, device_add(between));
	dlt_dev->between = between;
	dlt_dev->dev.parent = between;
	dlt_add(test, dlt_dev);
}

struct dlt_device *dlt_make_below(struct kunit *test, const char *name,
				  struct dlt_device *parent,
				  const struct class *class)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, parent);

	dlt_add_below(test, dlt_dev, parent, class);

	return dlt_dev;
}

struct dlt_device *dlt_make_foreign(struct kunit *test, const char *name,
				    struct dlt_device *parent)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, parent);

	dlt_dev->dev.bus = &dlt_foreign_bus;
	dlt_add(test, dlt_dev);

	return dlt_dev;
}

/* On another bus that knows of live update, but with identity "a". */
struct dlt_device *dlt_make_second(struct kunit *test, const char *name)
{
	struct dlt_device *dlt_dev = dlt_new(test, name, NULL);

	dlt_dev->dev.bus = &dlt_second_bus;
	strscpy_pad(dlt_dev->id, "a");
	dlt_add(test, dlt_dev);

	return dlt_dev;
}

void dlt_del(struct dlt_device *dlt_dev)
{
	if (!dlt_dev->gone)
		device_del(&dlt_dev->dev);
	dlt_dev->gone = true;
	if (dlt_dev->between)
		device_unregister(dlt_dev->between);
	dlt_dev->between = NULL;
}

/* All devices disappear, those below others first. */
void dlt_del_all(void)
{
	struct dlt_device *dlt_dev;

	list_for_each_entry_reverse(dlt_dev, &dlt->devices, list)
		dlt_del(dlt_dev);
}

void dlt_request(struct kunit *test, struct dlt_device *dlt_dev)
{
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&dlt_dev->dev, true));
}

struct dlt_chain dlt_make_chain(struct kunit *test)
{
	struct dlt_chain chain;

	chain.bridge = dlt_make_bridge(test, "bridge", NULL);
	chain.a = dlt_make(test, "a", chain.bridge);
	chain.b = dlt_make(test, "b", chain.a);
	chain.b->blob = false;

	return chain;
}

int dlt_references(void)
{
#ifdef MODULE
	return module_refcount(THIS_MODULE);
#else
	return 0;
#endif
}

/* How often a device is kept awake. */
int dlt_usage(const struct dlt_device *dlt_dev)
{
#ifdef CONFIG_PM
	return atomic_read(&dlt_dev->dev.power.usage_count);
#else
	return 0;
#endif
}
