// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Files of device live update
 *
 * The directory "liveupdate" of a device, and /sys/kernel/liveupdate/devices, both
 * described in Documentation/ABI/testing/sysfs-devices-liveupdate.
 *
 * A device has its directory while a driver with live update is bound to it, while it
 * is inherited, and when it is requested, too, without a driver, so that the request can
 * be withdrawn. It is removed before the driver is unbound, and before the driver of a
 * requested device is probed, which waits for those who use it: whoever writes to a
 * file there can rely on the driver, or on there being none, and must not take
 * device_lock.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "base.h"

/* Bus, identity and name of a device, each with a separator. */
#define DEVICE_LIVEUPDATE_LINE_LEN	(DEVICE_LIVEUPDATE_BUS_LEN + \
					 DEVICE_LIVEUPDATE_ID_LEN + 64)

static ssize_t requested_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n", dlu_is_requested(dev));
}

static ssize_t requested_store(struct device *dev, struct device_attribute *attr,
			       const char *buf, size_t count)
{
	int value, err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	value = liveupdate_parse_bool(buf, count);
	if (value < 0)
		return value;

	err = device_liveupdate_request(dev, value);

	return err ?: count;
}
static DEVICE_ATTR_RW(requested);

/* Is the device handed over, or was it, and what became of it? */
static bool device_liveupdate_is(struct device *dev, unsigned int fates)
{
	const struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);
	const struct device_liveupdate_incoming *incoming;

	if (!liveupdate)
		return false;

	guard(mutex)(&dlu_lock);
	incoming = liveupdate->incoming;

	return incoming && !device_liveupdate_ser_path(incoming) &&
	       fates & BIT(incoming->fate);
}

static ssize_t preserved_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	bool preserved = device_liveupdate_may_change(dev) &&
			 !dev->liveupdate->path;

	return sysfs_emit(buf, "%d\n", preserved ||
			  device_liveupdate_is(dev, BIT(DEVICE_LIVEUPDATE_INHERITED) |
						    BIT(DEVICE_LIVEUPDATE_RECLAIMED)));
}
static DEVICE_ATTR_RO(preserved);

static ssize_t reclaimed_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n",
			  device_liveupdate_is(dev, BIT(DEVICE_LIVEUPDATE_RECLAIMED)));
}
static DEVICE_ATTR_RO(reclaimed);

static struct attribute *device_liveupdate_attrs[] = {
	&dev_attr_requested.attr,
	&dev_attr_preserved.attr,
	&dev_attr_reclaimed.attr,
	NULL
};

static const struct attribute_group device_liveupdate_group = {
	.name = "liveupdate",
	.attrs = device_liveupdate_attrs,
};

static bool device_liveupdate_has_group(struct device *dev)
{
	struct kernfs_node *node;

	node = kernfs_find_and_get(dev->kobj.sd, device_liveupdate_group.name);
	kernfs_put(node);

	return node;
}

/**
 * device_liveupdate_add_group() - give a device its files, unless it has them
 * @dev: the device
 *
 * Context: May sleep. device_lock held.
 */
void device_liveupdate_add_group(struct device *dev)
{
	device_lock_assert(dev);

	if (!device_liveupdate_has_group(dev) &&
	    sysfs_create_group(&dev->kobj, &device_liveupdate_group))
		dev_warn(dev, "liveupdate: no files for this device\n");
}

/**
 * device_liveupdate_remove_group() - take the files of a device away, if it has them
 * @dev: the device
 *
 * Context: May sleep. device_lock held, or the device goes away. Waits for those
 * who use the files.
 */
void device_liveupdate_remove_group(struct device *dev)
{
	if (device_liveupdate_has_group(dev))
		sysfs_remove_group(&dev->kobj, &device_liveupdate_group);
}

/* The lists. */

struct device_liveupdate_list {
	struct seq_buf text;
	char *buf;
	unsigned int count;
};

static void device_liveupdate_line(struct device_liveupdate_list *list,
				   const char *bus, const char *id,
				   const struct device *dev)
{
	list->count++;
	if (list->buf)
		seq_buf_printf(&list->text, "%s %s %s\n", bus, id,
			       dev ? dev_name(dev) : "-");
}

static void device_liveupdate_list_requested(struct device_liveupdate_list *list)
{
	struct device_liveupdate *liveupdate;

	list_for_each_entry(liveupdate, &dlu_outgoing.requested, requested)
		device_liveupdate_line(list, liveupdate->dev->bus->name,
				       liveupdate->id.id, liveupdate->dev);
}

static void device_liveupdate_list_incoming(struct device_liveupdate_list *list,
					    unsigned int fates)
{
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		const struct device_liveupdate_incoming *incoming =
			&dlu_incoming.records[i];

		/* On the path of others, or not known whose it is. */
		if (device_liveupdate_ser_path(incoming) ||
		    hlist_unhashed(&incoming->hash))
			continue;
		if (fates & BIT(incoming->fate))
			device_liveupdate_line(list, incoming->ser.bus,
					       incoming->ser.id, incoming->dev);
	}
}

static void device_liveupdate_list_preserved(struct device_liveupdate_list *list)
{
	struct device_liveupdate *liveupdate;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		if (!liveupdate->path &&
		    device_liveupdate_may_change(liveupdate->dev))
			device_liveupdate_line(list, liveupdate->dev->bus->name,
					       liveupdate->id.id, liveupdate->dev);
	}
	device_liveupdate_list_incoming(list, BIT(DEVICE_LIVEUPDATE_INHERITED) |
					BIT(DEVICE_LIVEUPDATE_RECLAIMED));
}

static void device_liveupdate_list_reclaimed(struct device_liveupdate_list *list)
{
	device_liveupdate_list_incoming(list, BIT(DEVICE_LIVEUPDATE_RECLAIMED));
}

static void device_liveupdate_list_unreclaimed(struct device_liveupdate_list *list)
{
	device_liveupdate_list_incoming(list, BIT(DEVICE_LIVEUPDATE_ABSENT) |
					BIT(DEVICE_LIVEUPDATE_INHERITED) |
					BIT(DEVICE_LIVEUPDATE_QUARANTINED) |
					BIT(DEVICE_LIVEUPDATE_RUNNING));
}

typedef void (*device_liveupdate_list_fn)(struct device_liveupdate_list *list);

static ssize_t device_liveupdate_read_list(struct file *file, struct kobject *kobj,
					   const struct bin_attribute *attr,
					   char *buf, loff_t offset, size_t count)
{
	char *text __free(kvfree) = NULL;
	device_liveupdate_list_fn walk = attr->private;
	struct device_liveupdate_list list;
	unsigned int lines;
	size_t size;

	/* Not allocated under the lock, and again if there are more by then. */
	do {
		list = (struct device_liveupdate_list){};
		scoped_guard(mutex, &dlu_lock)
			walk(&list);
		lines = list.count;

		/* Names longer than that are possible, but not usual. */
		size = (lines + 1) * DEVICE_LIVEUPDATE_LINE_LEN;
		kvfree(text);
		text = kvzalloc(size, GFP_KERNEL);
		if (!text)
			return -ENOMEM;

		list = (struct device_liveupdate_list){ .buf = text };
		seq_buf_init(&list.text, text, size);
		seq_buf_printf(&list.text, "%u\n", lines);
		scoped_guard(mutex, &dlu_lock)
			walk(&list);
	} while (list.count != lines);

	if (seq_buf_has_overflowed(&list.text))
		return -EOVERFLOW;

	return memory_read_from_buffer(buf, count, &offset, text,
				       seq_buf_used(&list.text));
}

#define DEVICE_LIVEUPDATE_LIST(_name)					\
	static const struct bin_attribute device_liveupdate_##_name = {	\
		.attr = { .name = #_name, .mode = 0444 },		\
		.private = device_liveupdate_list_##_name,		\
		.read = device_liveupdate_read_list,			\
	}

DEVICE_LIVEUPDATE_LIST(requested);
DEVICE_LIVEUPDATE_LIST(preserved);
DEVICE_LIVEUPDATE_LIST(reclaimed);
DEVICE_LIVEUPDATE_LIST(unreclaimed);

static const struct bin_attribute *const device_liveupdate_lists[] = {
	&device_liveupdate_requested,
	&device_liveupdate_preserved,
	&device_liveupdate_reclaimed,
	&device_liveupdate_unreclaimed,
	NULL
};

static ssize_t table_bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
				char *buf)
{
	return sysfs_emit(buf, "%zu\n",
			  kho_table_bytes(&dlu_outgoing.table));
}

static struct kobj_attribute table_bytes_attr = __ATTR_RO(table_bytes);

static struct attribute *device_liveupdate_layer_attrs[] = {
	&table_bytes_attr.attr,
	NULL
};

static const struct attribute_group device_liveupdate_layer_group = {
	.name = "devices",
	.attrs = device_liveupdate_layer_attrs,
	.bin_attrs = device_liveupdate_lists,
};

/**
 * device_liveupdate_sysfs_init() - create /sys/kernel/liveupdate/devices
 * @parent: /sys/kernel/liveupdate
 *
 * Context: May sleep. At late_initcall_sync.
 * Return: 0 or a negative error.
 */
int device_liveupdate_sysfs_init(struct kobject *parent)
{
	return sysfs_create_group(parent, &device_liveupdate_layer_group);
}
