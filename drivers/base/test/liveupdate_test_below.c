// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test bus for devices that live by their parent
 *
 * Devices below those of the test bus that are not stopped but with their parent, that
 * come along with it, and whose memory is reached by it: what a function of a
 * transport is, such as a virtio device. For test kernels only.
 *
 * The bus is called "liveupdate-test-below", and so is its driver. Module parameters::
 *
 *	drivers=0|1	whether the driver is registered; 1, if not given
 *	fail=NAME	probe of this device fails when it was handed over
 *	devices=NAME@PARENT/ID,...
 *			devices that are there from the beginning. PARENT is a device
 *			of the test bus. Those with an ID that begins with "stay" do
 *			not come along with it.
 *	add=NAME@PARENT/ID
 *			written later: one more appears
 *
 * The driver has a page that PARENT can reach, and leaves NAME in it. In the next kernel
 * the log says what was in there. Removing the module removes the devices.
 */

#define pr_fmt(fmt) "liveupdate_test_below: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/dma.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "liveupdate_test_bus.h"

#define TEST_BELOW_LEN	32

struct test_below_device {
	struct device dev;
	struct list_head list;
	char id[TEST_BELOW_LEN];
	struct dma_liveupdate_buffer *page;
};

static DEFINE_MUTEX(test_below_lock);
static LIST_HEAD(test_below_devices);
static bool test_below_ready;

static bool drivers = true;
module_param(drivers, bool, 0);
MODULE_PARM_DESC(drivers, "whether there is a driver");

static char *fail = "";
module_param(fail, charp, 0);
MODULE_PARM_DESC(fail, "name of the device whose probe fails");

static char *devices = "";
module_param(devices, charp, 0);
MODULE_PARM_DESC(devices, "devices that are there from the beginning");

static struct test_below_device *to_test_below(struct device *dev)
{
	return container_of(dev, struct test_below_device, dev);
}

/* The bus */

static int test_below_identify(struct device *dev, struct device_liveupdate_id *id)
{
	strscpy(id->id, to_test_below(dev)->id);

	return 0;
}

static bool test_below_follow(struct device *dev)
{
	return strncmp(to_test_below(dev)->id, "stay", 4);
}

static const struct bus_liveupdate_ops test_below_bus_ops = {
	.identify	= test_below_identify,
	.follow		= test_below_follow,
};

static const struct bus_type test_below_bus = {
	.name		= "liveupdate-test-below",
	.liveupdate	= &test_below_bus_ops,
};

/* The driver */

static u32 test_below_tag(const struct test_below_device *below)
{
	return full_name_hash(NULL, below->id, strlen(below->id));
}

static int test_below_take_over(struct test_below_device *below)
{
	struct device *dev = &below->dev;

	below->page = dma_liveupdate_retrieve_for(dev->parent, dev, PAGE_SIZE,
						  test_below_tag(below));
	if (IS_ERR(below->page)) {
		pr_err("%s: no page: %pe\n", dev_name(dev), below->page);
		return PTR_ERR(below->page);
	}
	pr_info("%s: the page is of %.*s\n", dev_name(dev), TEST_BELOW_LEN,
		(char *)below->page->address);
	if (strcmp(dev_name(dev), fail))
		return 0;
	dma_liveupdate_free(below->page);

	return -EIO;
}

static int test_below_probe(struct device *dev)
{
	struct test_below_device *below = to_test_below(dev);
	u32 version;

	if (device_liveupdate_retrieve(dev, &version))
		return test_below_take_over(below);

	below->page = dma_liveupdate_alloc(dev->parent, PAGE_SIZE, test_below_tag(below));
	if (IS_ERR(below->page))
		return PTR_ERR(below->page);
	strscpy(below->page->address, dev_name(dev), TEST_BELOW_LEN);

	return 0;
}

static int test_below_remove(struct device *dev)
{
	dma_liveupdate_free(to_test_below(dev)->page);

	return 0;
}

static int test_below_prepare(struct device *dev, struct liveupdate_data *data)
{
	return dma_liveupdate_preserve(to_test_below(dev)->page);
}

static void test_below_cancel(struct device *dev, const struct liveupdate_data *data)
{
	dma_liveupdate_unpreserve(to_test_below(dev)->page);
}

static const struct dev_liveupdate_ops test_below_ops = {
	.compatible	= "liveupdate-test-below",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
	.prepare	= test_below_prepare,
	.cancel		= test_below_cancel,
};

static struct device_driver test_below_driver = {
	.name		= "liveupdate-test-below",
	.owner		= THIS_MODULE,
	.bus		= &test_below_bus,
	.probe_type	= PROBE_FORCE_SYNCHRONOUS,
	.probe		= test_below_probe,
	.remove		= test_below_remove,
	.liveupdate	= &test_below_ops,
};

/* Devices */

static void test_below_release(struct device *dev)
{
	put_device(dev->parent);
	kfree(to_test_below(dev));
}

/* Takes over the reference to @parent. */
static int test_below_register(struct device *parent, const char *name, const char *id)
{
	struct test_below_device *below = kzalloc_obj(*below);
	int err;

	if (!below) {
		put_device(parent);
		return -ENOMEM;
	}
	device_initialize(&below->dev);
	below->dev.bus = &test_below_bus;
	below->dev.parent = parent;
	below->dev.release = test_below_release;
	strscpy(below->id, id);
	/* It is the parent that reaches memory. */
	parent->coherent_dma_mask = DMA_BIT_MASK(64);
	parent->dma_mask = &parent->coherent_dma_mask;

	err = dev_set_name(&below->dev, "%s", name) ?: device_add(&below->dev);
	if (err)
		put_device(&below->dev);
	else
		list_add_tail(&below->list, &test_below_devices);

	return err;
}

/* NAME@PARENT/ID, which is spoiled. */
static int test_below_add_one(char *text)
{
	char *name = strsep(&text, "@");
	char *above = strsep(&text, "/");
	struct device *parent;

	if (!above || !text || !*name || !*text || strlen(text) >= TEST_BELOW_LEN)
		return -EINVAL;
	parent = liveupdate_test_bus_device(above);
	if (!parent)
		return -ENOENT;

	return test_below_register(parent, name, text);
}

static int test_below_add(const char *text)
{
	char *copy __free(kfree) = kstrdup(text, GFP_KERNEL);
	char *rest = copy, *one;
	int err = 0;

	if (!copy)
		return -ENOMEM;

	guard(mutex)(&test_below_lock);
	while (!err && (one = strsep(&rest, ",")))
		if (*strim(one))
			err = test_below_add_one(strim(one));

	return err;
}

static int test_below_set(const char *value, const struct kernel_param *param)
{
	return test_below_ready ? test_below_add(value) : -EBUSY;
}

static const struct kernel_param_ops test_below_add_ops = {
	.set = test_below_set,
};

module_param_cb(add, &test_below_add_ops, NULL, 0200);
MODULE_PARM_DESC(add, "one more device");

static void test_below_remove_all(void)
{
	struct test_below_device *below, *tmp;

	guard(mutex)(&test_below_lock);
	list_for_each_entry_safe_reverse(below, tmp, &test_below_devices, list) {
		list_del(&below->list);
		device_unregister(&below->dev);
	}
}

static int __init test_below_init(void)
{
	int err;

	err = bus_register(&test_below_bus);
	if (err)
		return err;
	if (drivers) {
		err = driver_register(&test_below_driver);
		if (err)
			goto bus;
	}
	err = test_below_add(devices);
	if (err)
		goto driver;
	test_below_ready = true;

	return 0;

driver:
	test_below_remove_all();
	if (drivers)
		driver_unregister(&test_below_driver);
bus:
	bus_unregister(&test_below_bus);

	return err;
}
module_init(test_below_init);

static void __exit test_below_exit(void)
{
	test_below_remove_all();
	if (drivers)
		driver_unregister(&test_below_driver);
	bus_unregister(&test_below_bus);
}
module_exit(test_below_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test bus for devices in a live update that live by their parent");
MODULE_LICENSE("GPL");
