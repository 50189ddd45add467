// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test bus for live update of devices
 *
 * A bus, drivers and devices that take part in a live update as they are told.
 * KUnit tests, two-kernel scenarios and measurements drive drivers/base/ with
 * them through every failure, and authors of buses and drivers see how the
 * callbacks look. For test kernels only.
 *
 * The bus is called "liveupdate-test". Its drivers are one ("liveupdate-test",
 * which saves data compatible with "liveupdate-test-one"), other
 * ("liveupdate-test-other", "liveupdate-test-two"), empty ("liveupdate-test-empty",
 * which has nothing to save and no callbacks) and plain ("liveupdate-test-plain",
 * which knows nothing of live update). A second bus, "liveupdate-test-foreign",
 * with a driver of the same name, knows nothing of it either.
 *
 * What they do is told in a small language, see liveupdate_test_bus_config.c, in the module
 * parameter "config" and in the debugfs file liveupdate_test_bus/config.
 *
 * Steps of the driver are probe, retrieve, prepare, freeze, thaw, cancel, finish,
 * shutdown and remove; those of the bus are identify, bus-prepare, bus-freeze,
 * bus-thaw, bus-cancel, stop and quarantine, and of what only forwards for others
 * path-on, path-freeze, path-thaw, path-off and shutdown-path instead.
 *
 * Further files in debugfs: "calls" lists the latest callbacks but identify, one
 * "STEP NAME ERRNO" a line, as they begin; "release", by a write of any text, lets
 * all go on that wait now, whatever "config" is busy with; "received" what probe was
 * handed over, one "NAME VERSION TEXT" a line. What happens to a device when there
 * is nobody left to ask - shutdown, shutdown-path, stop and quarantine - is in the log of
 * the kernel, too. Devices in bulk do not log until they are told something with
 * "set".
 *
 * Each device knows what must have happened to it before. A callback that comes
 * at the wrong time is reported as "NAME: STEP is out of turn".
 *
 * Locking: &test_bus_control serialises changes and is held over calls into
 * the driver core. &test_bus_lock, which is taken inside of it and by callbacks,
 * protects the list, what devices are told, the log of calls and the count of
 * releases. It is not held while a callback sleeps or calls out. A callback is in the
 * log and counts releases from one moment on, so who has seen it there can release
 * it.
 */

#define pr_fmt(fmt) "liveupdate_test_bus: " fmt

#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "liveupdate_test_bus_internal.h"

DEFINE_SHOW_ATTRIBUTE(test_bus_calls);
DEFINE_SHOW_ATTRIBUTE(test_bus_received);

static ssize_t test_bus_config_write(struct file *file, const char __user *ubuf,
				     size_t count, loff_t *pos)
{
	char *config;
	int err;

	if (count >= TEST_BUS_CONFIG_LEN)
		return -EINVAL;
	config = memdup_user_nul(ubuf, count);
	if (IS_ERR(config))
		return PTR_ERR(config);

	err = liveupdate_test_bus_configure(config);
	kfree(config);

	return err ?: count;
}

static ssize_t test_bus_release_write(struct file *file, const char __user *ubuf,
				      size_t count, loff_t *pos)
{
	guard(mutex)(&test_bus_lock);
	test_bus_go_on();

	return count;
}

static const struct file_operations test_bus_release_fops = {
	.owner	= THIS_MODULE,
	.write	= test_bus_release_write,
};

static const struct file_operations test_bus_config_fops = {
	.owner	= THIS_MODULE,
	.write	= test_bus_config_write,
};

static struct dentry *test_bus_dir;

static char *config = "";
module_param(config, charp, 0);
MODULE_PARM_DESC(config, "what devices there are and do, see liveupdate_test_bus_config.c");

static char *drivers = "one,other,plain,foreign,empty";
module_param(drivers, charp, 0);
MODULE_PARM_DESC(drivers, "drivers that are registered");

static unsigned int bulk;
module_param(bulk, uint, 0);
MODULE_PARM_DESC(bulk, "number of further devices");

static int __init test_bus_register_drivers(void)
{
	char *copy __free(kfree) = kstrdup(drivers, GFP_KERNEL);
	char *rest = copy, *name;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	guard(mutex)(&test_bus_control);
	while (!err && (name = strsep(&rest, ",")))
		if (*name)
			err = test_bus_register_driver(name);

	return err;
}

static int __init test_bus_populate(void)
{
	char text[16];
	int err;

	err = test_bus_configure(config, TEST_BUS_STAGE_DRIVERS);
	if (!err)
		err = test_bus_register_drivers();
	if (!err)
		err = test_bus_configure(config, TEST_BUS_STAGE_DEVICES);
	if (!err) {
		snprintf(text, sizeof(text), "bulk %u", bulk);
		err = test_bus_configure(text, TEST_BUS_STAGE_DEVICES);
	}
	if (err) {
		pr_err("malformed configuration: %pe\n", ERR_PTR(err));
		test_bus_unregister_all();
		test_bus_unregister_drivers();
	}

	return err;
}

static int __init test_bus_init(void)
{
	int err;

	test_bus_root = root_device_register("liveupdate-test");
	if (IS_ERR(test_bus_root))
		return PTR_ERR(test_bus_root);
	err = class_register(&test_bus_class);
	if (err)
		goto root;
	err = bus_register(&test_bus_type);
	if (err)
		goto class;
	err = bus_register(&test_bus_foreign_type);
	if (err)
		goto bus;
	err = test_bus_populate();
	if (err)
		goto foreign;

	test_bus_dir = debugfs_create_dir("liveupdate_test_bus", NULL);
	debugfs_create_file("config", 0200, test_bus_dir, NULL,
			    &test_bus_config_fops);
	debugfs_create_file("release", 0200, test_bus_dir, NULL,
			    &test_bus_release_fops);
	debugfs_create_file("calls", 0400, test_bus_dir, NULL,
			    &test_bus_calls_fops);
	debugfs_create_file("received", 0400, test_bus_dir, NULL,
			    &test_bus_received_fops);

	return 0;

foreign:
	bus_unregister(&test_bus_foreign_type);
bus:
	bus_unregister(&test_bus_type);
class:
	class_unregister(&test_bus_class);
root:
	root_device_unregister(test_bus_root);

	return err;
}
module_init(test_bus_init);

static void __exit test_bus_exit(void)
{
	debugfs_remove(test_bus_dir);
	scoped_guard(mutex, &test_bus_control)
		test_bus_unregister_all();
	test_bus_unregister_drivers();
	bus_unregister(&test_bus_foreign_type);
	bus_unregister(&test_bus_type);
	class_unregister(&test_bus_class);
	root_device_unregister(test_bus_root);
}
module_exit(test_bus_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test bus for live update of devices");
MODULE_LICENSE("GPL");
