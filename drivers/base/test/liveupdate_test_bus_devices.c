// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Buses, drivers and devices of the test bus
 *
 * How they come and go.
 */

#define pr_fmt(fmt) "liveupdate_test_bus: " fmt

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/kdev_t.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "liveupdate_test_bus_internal.h"

/* Changes, one at a time. */
DEFINE_MUTEX(test_bus_control);

LIST_HEAD(test_bus_devices);
bool test_bus_has_dependencies;
struct device *test_bus_root;

/* Others may hold references to devices for a while after they are gone. */
static atomic_t test_bus_nr_devices = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(test_bus_released);

static int test_bus_match(struct device *dev, const struct device_driver *drv);

const struct bus_type test_bus_type = {
	.name		= "liveupdate-test",
	.match		= test_bus_match,
	.shutdown	= test_bus_shutdown,
	.liveupdate	= &test_bus_liveupdate_ops,
	.driver_override = true,
};

const struct bus_type test_bus_foreign_type = {
	.name		= "liveupdate-test-foreign",
	.shutdown	= test_bus_shutdown,
};

const struct class test_bus_class = {
	.name		= "liveupdate-test",
};

#define TEST_BUS_LIVEUPDATE_OPS(_i)					\
	{								\
		.compatible	= test_bus_drivers[_i].compatible,	\
		.version	= 1,					\
		.oldest		= 1,					\
		.prepare	= test_bus_prepare,			\
		.freeze		= test_bus_freeze,			\
		.thaw		= test_bus_thaw,			\
		.cancel		= test_bus_cancel,			\
		.finish		= test_bus_finish,			\
	}

#define TEST_BUS_DRIVER(_name, _bus, _liveupdate)			\
	{								\
		.name		= _name,				\
		.owner		= THIS_MODULE,				\
		.bus		= _bus,					\
		.probe_type	= PROBE_FORCE_SYNCHRONOUS,		\
		.probe		= test_bus_probe,			\
		.remove		= test_bus_remove,			\
		.liveupdate	= _liveupdate,				\
	}

static int test_bus_empty_probe(struct device *dev)
{
	u32 version;

	device_liveupdate_retrieve(dev, &version);

	return 0;
}

/* Index of the driver that does nothing. */
#define TEST_BUS_EMPTY		4

struct test_bus_driver test_bus_drivers[TEST_BUS_NR_DRIVERS] = {
	{
		.name = "one",
		.compatible = "liveupdate-test-one",
		.ops = TEST_BUS_LIVEUPDATE_OPS(0),
		.driver = TEST_BUS_DRIVER("liveupdate-test", &test_bus_type,
					  &test_bus_drivers[0].ops),
	}, {
		.name = "other",
		.compatible = "liveupdate-test-two",
		.ops = TEST_BUS_LIVEUPDATE_OPS(1),
		.driver = TEST_BUS_DRIVER("liveupdate-test-other",
					  &test_bus_type,
					  &test_bus_drivers[1].ops),
	}, {
		.name = "plain",
		.driver = TEST_BUS_DRIVER("liveupdate-test-plain",
					  &test_bus_type, NULL),
	}, {
		.name = "foreign",
		.driver = TEST_BUS_DRIVER("liveupdate-test-foreign",
					  &test_bus_foreign_type, NULL),
	}, {
		/* What everything costs but the work of a driver. */
		.name = "empty",
		.compatible = "liveupdate-test-empty",
		.ops = {
			.compatible	= test_bus_drivers[TEST_BUS_EMPTY].compatible,
			.version	= 1,
			.oldest		= 1,
		},
		.driver = {
			.name		= "liveupdate-test-empty",
			.owner		= THIS_MODULE,
			.bus		= &test_bus_type,
			.probe_type	= PROBE_FORCE_SYNCHRONOUS,
			.probe		= test_bus_empty_probe,
			.liveupdate	= &test_bus_drivers[TEST_BUS_EMPTY].ops,
		},
	},
};

static int test_bus_match(struct device *dev, const struct device_driver *drv)
{
	const struct test_bus_driver *driver =
		container_of_const(drv, struct test_bus_driver, driver);
	int ret;

	ret = device_match_driver_override(dev, drv);
	if (ret >= 0)
		return ret;

	return !!(READ_ONCE(to_test_bus_device(dev)->drivers) &
		  BIT(driver - test_bus_drivers));
}

struct test_bus_driver *test_bus_find_driver(const char *name)
{
	for (int i = 0; i < ARRAY_SIZE(test_bus_drivers); i++)
		if (!strcmp(test_bus_drivers[i].name, name))
			return &test_bus_drivers[i];

	return NULL;
}

int test_bus_register_driver(const char *name)
{
	struct test_bus_driver *driver = test_bus_find_driver(name);
	int err;

	if (!driver)
		return -ENOENT;
	if (driver->registered)
		return -EEXIST;
	err = driver_register(&driver->driver);
	driver->registered = !err;

	return err;
}

void test_bus_unregister_drivers(void)
{
	for (int i = 0; i < ARRAY_SIZE(test_bus_drivers); i++)
		if (test_bus_drivers[i].registered)
			driver_unregister(&test_bus_drivers[i].driver);
}

/* Devices */

static void test_bus_release(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	kfree(tdev->options);
	kfree(tdev);
	if (atomic_dec_and_test(&test_bus_nr_devices))
		wake_up(&test_bus_released);
}

void test_bus_reset(struct test_bus_options *options)
{
	options->fail = TEST_BUS_NONE;
	options->fail_errno = EIO;
	options->slow = TEST_BUS_NONE;
	options->slow_ms = 0;
	options->hold = TEST_BUS_NONE;
	options->unsupported = NULL;
	options->defer = 0;
}

struct test_bus_options *test_bus_alloc_options(const char *name, bool blob)
{
	struct test_bus_options *options = kzalloc_obj(*options);

	if (!options)
		return NULL;
	test_bus_reset(options);
	strscpy(options->id, name);
	strscpy(options->data, blob ? name : "");

	return options;
}

/* test_bus_control is held, so that the device stays without a reference. */
struct test_bus_device *test_bus_find(const char *name)
{
	struct test_bus_device *tdev;

	list_for_each_entry(tdev, &test_bus_devices, list)
		if (!strcmp(dev_name(&tdev->dev), name))
			return tdev;

	return NULL;
}

struct test_bus_device *test_bus_alloc(const char *name)
{
	struct test_bus_device *tdev = kzalloc_obj(*tdev);

	if (!tdev)
		return NULL;
	atomic_inc(&test_bus_nr_devices);
	device_initialize(&tdev->dev);
	INIT_LIST_HEAD(&tdev->list);
	tdev->dev.release = test_bus_release;
	tdev->dev.bus = &test_bus_type;
	tdev->drivers = BIT(0);
	if (dev_set_name(&tdev->dev, "%s", name)) {
		put_device(&tdev->dev);
		return NULL;
	}

	return tdev;
}

/* The reference of the caller is that of the registration, or gone. */
int test_bus_register(struct test_bus_device *tdev)
{
	struct device *parent = tdev->parent ? &tdev->parent->dev : test_bus_root;
	int err;

	if (tdev->class) {
		tdev->class_dev = device_create(&test_bus_class, parent,
						MKDEV(0, 0), NULL, "%s-class",
						dev_name(&tdev->dev));
		if (IS_ERR(tdev->class_dev)) {
			err = PTR_ERR(tdev->class_dev);
			goto put;
		}
		parent = tdev->class_dev;
	}
	tdev->dev.parent = parent;

	scoped_guard(mutex, &test_bus_lock)
		list_add_tail(&tdev->list, &test_bus_devices);
	err = device_add(&tdev->dev);
	if (!err)
		return 0;

	scoped_guard(mutex, &test_bus_lock)
		list_del(&tdev->list);
	if (tdev->class_dev)
		device_unregister(tdev->class_dev);
put:
	put_device(&tdev->dev);

	return err;
}

static void test_bus_unregister(struct test_bus_device *tdev)
{
	struct device *class_dev = tdev->class_dev;
	struct test_bus_device *other;

	scoped_guard(mutex, &test_bus_lock) {
		list_del(&tdev->list);
		list_for_each_entry(other, &test_bus_devices, list) {
			/* Many devices in bulk go faster without a look at all. */
			if (!test_bus_has_dependencies)
				break;
			for (int i = 0; i < TEST_BUS_DEPENDENCIES; i++)
				if (other->options &&
				    other->options->dependencies[i] == &tdev->dev)
					other->options->dependencies[i] = NULL;
		}
	}
	device_unregister(&tdev->dev);
	if (class_dev)
		device_unregister(class_dev);
}

static struct test_bus_device *test_bus_child(struct test_bus_device *parent)
{
	struct test_bus_device *tdev;

	list_for_each_entry_reverse(tdev, &test_bus_devices, list)
		if (tdev->parent == parent)
			return tdev;

	return NULL;
}

/* What hangs on a device that disappears is gone before. */
void test_bus_unregister_tree(struct test_bus_device *top)
{
	struct test_bus_device *tdev, *child;

	do {
		tdev = top;
		while ((child = test_bus_child(tdev)))
			tdev = child;
		test_bus_unregister(tdev);
	} while (tdev != top);
}

void test_bus_unregister_all(void)
{
	/* Whatever hangs on a device came after it. */
	while (!list_empty(&test_bus_devices)) {
		struct test_bus_device *tdev =
			list_last_entry(&test_bus_devices,
					struct test_bus_device, list);

		test_bus_unregister(tdev);
	}

	/* The code that frees devices may be unloaded next. */
	device_link_wait_removal();
	wait_event(test_bus_released, !atomic_read(&test_bus_nr_devices));
}

/* What was handed over to them. */

static bool test_bus_has_received(struct test_bus_device *tdev)
{
	return tdev->options && tdev->options->received[0];
}

int test_bus_received_show(struct seq_file *seq, void *unused)
{
	struct test_bus_device *tdev;

	guard(mutex)(&test_bus_lock);
	list_for_each_entry(tdev, &test_bus_devices, list)
		if (test_bus_has_received(tdev))
			seq_printf(seq, "%s %u %s\n", dev_name(&tdev->dev),
				   tdev->options->received_version,
				   tdev->options->received);

	return 0;
}

/**
 * liveupdate_test_bus_received() - what was handed over as text
 * @text: where to put it, terminated, what does not fit is left out
 * @size: bytes at @text
 *
 * The same as the file "received" in debugfs.
 *
 * Context: May sleep.
 * Return: length of the text.
 */
size_t liveupdate_test_bus_received(char *text, size_t size)
{
	struct test_bus_device *tdev;
	size_t len = 0;

	guard(mutex)(&test_bus_lock);
	list_for_each_entry(tdev, &test_bus_devices, list)
		if (test_bus_has_received(tdev))
			len += scnprintf(text + len, size - len, "%s %u %s\n",
					 dev_name(&tdev->dev),
					 tdev->options->received_version,
					 tdev->options->received);

	return len;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_test_bus_received, "LIVEUPDATE");
