// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Files of device live update
 *
 * The directory "liveupdate" of a device, and /sys/kernel/liveupdate/devices, both
 * described in Documentation/ABI/testing/sysfs-devices-liveupdate. What has more than
 * one value, the lists of all devices, is in debugfs, in liveupdate_devices, described in
 * Documentation/admin-guide/liveupdate.rst.
 *
 * A device has its directory while a driver with live update is bound to it, while it
 * is incoming, and when it is requested, too, without a driver, so that the request can
 * be withdrawn. It is removed before the driver is unbound, and before the driver of a
 * requested device is probed, which waits for those who use it: whoever writes to a
 * file there can rely on the driver, or on there being none, and must not take
 * device_lock.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "base.h"

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

	err = dlu_request(dev, value);

	return err ?: count;
}
static DEVICE_ATTR_RW(requested);

/* Is the device handed over, or was it, and what became of it? */
static bool dlu_is(struct device *dev, unsigned int states)
{
	const struct dlu_incoming_device *incoming;

	guard(mutex)(&dlu_lock);
	incoming = dlu_incoming_of(dev);

	return incoming && !dlu_ser_path(incoming) &&
	       states & BIT(incoming->state);
}

static ssize_t preserved_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	bool preserved = device_liveupdate_check_change(dev) &&
			 !dlu_of(dev)->path;

	return sysfs_emit(buf, "%d\n", preserved ||
			  dlu_is(dev, BIT(DEVICE_LIVEUPDATE_INCOMING) |
						    BIT(DEVICE_LIVEUPDATE_RECLAIMED)));
}
static DEVICE_ATTR_RO(preserved);

static ssize_t reclaimed_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n",
			  dlu_is(dev, BIT(DEVICE_LIVEUPDATE_RECLAIMED)));
}
static DEVICE_ATTR_RO(reclaimed);

static ssize_t reason_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct device_liveupdate_id id;
	const char *reason;
	int err;

	err = dlu_check_request(dev, &id, &reason);

	return sysfs_emit(buf, "%s\n", err ? reason : "none");
}

/* Reading it wakes the device. */
static DEVICE_ATTR_ADMIN_RO(reason);

static struct attribute *dlu_attrs[] = {
	&dev_attr_requested.attr,
	&dev_attr_preserved.attr,
	&dev_attr_reclaimed.attr,
	&dev_attr_reason.attr,
	NULL
};

static const struct attribute_group dlu_group = {
	.name = "liveupdate",
	.attrs = dlu_attrs,
};

static bool dlu_has_group(struct device *dev)
{
	struct kernfs_node *node;

	node = kernfs_find_and_get(dev->kobj.sd, dlu_group.name);
	kernfs_put(node);

	return node;
}

/* Give a device its files, unless it has them. May sleep. device_lock held. */
void dlu_add_group(struct device *dev)
{
	device_lock_assert(dev);

	if (!dlu_has_group(dev) &&
	    sysfs_create_group(&dev->kobj, &dlu_group))
		dev_warn(dev, "liveupdate: no files for this device\n");
}

/*
 * Take the files of a device away, if it has them. May sleep. device_lock held, or the
 * device goes away. Waits for those who use the files.
 */
void dlu_remove_group(struct device *dev)
{
	if (dlu_has_group(dev))
		sysfs_remove_group(&dev->kobj, &dlu_group);
}

/* All devices. */

typedef void (*dlu_each_fn)(void *context, const char *bus, const char *id,
			    const struct device *dev);

static void dlu_each_requested(dlu_each_fn each, void *context)
{
	struct device_liveupdate *liveupdate;

	list_for_each_entry(liveupdate, &dlu_outgoing.requested, requested)
		each(context, liveupdate->dev->bus->name, liveupdate->id.id,
		     liveupdate->dev);
}

static void dlu_each_incoming(dlu_each_fn each, void *context, unsigned int states)
{
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		const struct dlu_incoming_device *incoming =
			&dlu_incoming.records[i];

		/* On the path of others, or not known whose it is. */
		if (dlu_ser_path(incoming) ||
		    hlist_unhashed(&incoming->hash))
			continue;
		if (states & BIT(incoming->state))
			each(context, incoming->ser.bus, incoming->ser.id,
			     incoming->dev);
	}
}

static void dlu_each_preserved(dlu_each_fn each, void *context)
{
	struct device_liveupdate *liveupdate;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		if (!liveupdate->path &&
		    device_liveupdate_check_change(liveupdate->dev))
			each(context, liveupdate->dev->bus->name, liveupdate->id.id,
			     liveupdate->dev);
	}
	dlu_each_incoming(each, context, BIT(DEVICE_LIVEUPDATE_INCOMING) |
					 BIT(DEVICE_LIVEUPDATE_RECLAIMED));
}

static void dlu_each_reclaimed(dlu_each_fn each, void *context)
{
	dlu_each_incoming(each, context, BIT(DEVICE_LIVEUPDATE_RECLAIMED));
}

static void dlu_each_unreclaimed(dlu_each_fn each, void *context)
{
	dlu_each_incoming(each, context, BIT(DEVICE_LIVEUPDATE_ABSENT) |
					 BIT(DEVICE_LIVEUPDATE_INCOMING) |
					 BIT(DEVICE_LIVEUPDATE_QUARANTINED) |
					 BIT(DEVICE_LIVEUPDATE_RUNNING));
}

static void dlu_count(void *context, const char *bus, const char *id,
		      const struct device *dev)
{
	unsigned int *count = context;

	++*count;
}

static void dlu_print(void *context, const char *bus, const char *id,
		      const struct device *dev)
{
	seq_printf(context, "%s %s %s\n", bus, id, dev ? dev_name(dev) : "-");
}

/* How many there are in sysfs, and which ones in debugfs. */
#define DLU_LIST(_name)							\
	static ssize_t nr_##_name##_show(struct kobject *kobj,		\
					 struct kobj_attribute *attr,	\
					 char *buf)			\
	{								\
		unsigned int count = 0;					\
									\
		guard(mutex)(&dlu_lock);				\
		dlu_each_##_name(dlu_count, &count);			\
									\
		return sysfs_emit(buf, "%u\n", count);			\
	}								\
	static struct kobj_attribute nr_##_name##_attr =		\
		__ATTR_RO(nr_##_name);					\
									\
	static int dlu_##_name##_show(struct seq_file *seq, void *unused) \
	{								\
		guard(mutex)(&dlu_lock);				\
		dlu_each_##_name(dlu_print, seq);			\
									\
		return 0;						\
	}								\
	DEFINE_SHOW_ATTRIBUTE(dlu_##_name)

DLU_LIST(requested);
DLU_LIST(preserved);
DLU_LIST(reclaimed);
DLU_LIST(unreclaimed);

static int dlu_table_bytes_show(struct seq_file *seq, void *unused)
{
	seq_printf(seq, "%zu\n", kho_table_bytes(&dlu_outgoing.table));

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(dlu_table_bytes);

static void __init dlu_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("liveupdate_devices", NULL);

	debugfs_create_file("requested", 0400, dir, NULL, &dlu_requested_fops);
	debugfs_create_file("preserved", 0400, dir, NULL, &dlu_preserved_fops);
	debugfs_create_file("reclaimed", 0400, dir, NULL, &dlu_reclaimed_fops);
	debugfs_create_file("unreclaimed", 0400, dir, NULL, &dlu_unreclaimed_fops);
	debugfs_create_file("table_bytes", 0400, dir, NULL, &dlu_table_bytes_fops);
}

static struct attribute *dlu_layer_attrs[] = {
	&nr_requested_attr.attr,
	&nr_preserved_attr.attr,
	&nr_reclaimed_attr.attr,
	&nr_unreclaimed_attr.attr,
	NULL
};

static const struct attribute_group dlu_layer_group = {
	.name = "devices",
	.attrs = dlu_layer_attrs,
};

/*
 * Create /sys/kernel/liveupdate/devices. May sleep. At late_initcall_sync. Returns 0 or
 * a negative error.
 */
int __init dlu_sysfs_init(struct kobject *parent)
{
	dlu_debugfs_init();

	return sysfs_create_group(parent, &dlu_layer_group);
}
