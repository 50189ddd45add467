// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What live update knows of a device
 *
 * &struct device_liveupdate hangs on a device that is requested, in the set or handed
 * over. It is allocated when the first of this becomes so and freed with the device.
 * Beside it are here the state of both roles of this kernel, &struct dlu_outgoing and
 * &struct dlu_incoming, the lock of all that, and how a device fails.
 *
 * The files of drivers/base/liveupdate*.c are ordered, and each calls only those
 * before it: liveupdate_device.c, liveupdate_table.c, liveupdate_provider.c, then
 * liveupdate_set.c and liveupdate_outgoing.c beside liveupdate_record.c and
 * liveupdate_incoming.c, then liveupdate_sysfs.c, liveupdate_finish.c and liveupdate.c.
 *
 * Context: everything here may sleep, except device_liveupdate_release().
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

/* Protects what is below. */
struct mutex dlu_lock = __MUTEX_INITIALIZER(dlu_lock);
EXPORT_SYMBOL_IF_KUNIT(dlu_lock);

struct dlu_outgoing dlu_outgoing = {
	.requested = LIST_HEAD_INIT(dlu_outgoing.requested),
	.set = LIST_HEAD_INIT(dlu_outgoing.set),
};
EXPORT_SYMBOL_IF_KUNIT(dlu_outgoing);

struct dlu_incoming dlu_incoming;
EXPORT_SYMBOL_IF_KUNIT(dlu_incoming);

#ifdef CONFIG_LOCKDEP
struct lockdep_map dlu_device_map =
	STATIC_LOCKDEP_MAP_INIT("dlu_device_map", &dlu_device_map);
#endif

/*
 * What live update knows of a device, allocated if need be. For devices of which the bus
 * was notified, as device_add() cannot fail any more then. May sleep. Takes dlu_lock.
 * Returns NULL without memory.
 */
struct device_liveupdate *dlu_alloc(struct device *dev)
{
	struct device_liveupdate *fresh __free(kfree) = NULL;

	if (dlu_of(dev))
		return dlu_of(dev);

	fresh = kzalloc_obj(*fresh);
	if (!fresh)
		return NULL;
	fresh->dev = dev;
	mutex_init(&fresh->lock);
	INIT_LIST_HEAD(&fresh->requested);
	INIT_LIST_HEAD(&fresh->member);
	INIT_LIST_HEAD(&fresh->attach);

	guard(mutex)(&dlu_lock);
	if (!dev->p->liveupdate)
		/* Others look at it without a lock. */
		smp_store_release(&dev->p->liveupdate, no_free_ptr(fresh));

	return dev->p->liveupdate;
}

/* The device is freed. Any context. */
void device_liveupdate_release(struct device *dev)
{
	kfree(dlu_of(dev));
}

/*
 * Length of a string that can be handed over, as it is printable without white space.
 * Any context. Returns 0 if @string is not like that, or empty.
 */
size_t dlu_string_length(const char *string)
{
	const char *end = string;

	/* One comparison a character, as there are thousands of strings. */
	while ((u8)(*end - '!') <= '~' - '!')
		end++;

	return *end ? 0 : end - string;
}

/* Can the name of a bus be handed over? Any context. Returns 0 or -EINVAL. */
int dlu_check_bus(const struct bus_type *bus)
{
	size_t length = dlu_string_length(bus->name);

	return length && length < DEVICE_LIVEUPDATE_BUS_LEN ? 0 : -EINVAL;
}

/*
 * Ask a bus which device this is. May sleep. Returns 0; -EINVAL if the bus gives no
 * valid identity; or the error of the bus.
 */
int dlu_identify_device(struct device *dev,
			struct device_liveupdate_id *id)
{
	int err;

	memset(id, 0, sizeof(*id));
	err = dev->bus->liveupdate->identify(dev, id);
	if (err)
		return err;

	return id->id[sizeof(id->id) - 1] || !dlu_string_length(id->id) ? -EINVAL : 0;
}

/*
 * Has a device changed? May sleep. Returns a number that is another one if so, provided
 * that its identity is asked for after the number.
 */
u64 dlu_revision(struct device *dev)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	return bus->revision ? bus->revision(dev) : 0;
}

/* "BUS:ID", with the name of a device that has no identity. */
static void dlu_name(struct device *dev, char *name, size_t size)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	guard(mutex)(&dlu_lock);
	snprintf(name, size, "%s:%s", dev->bus ? dev->bus->name : "-",
		 liveupdate && liveupdate->id.id[0] ? liveupdate->id.id :
						      dev_name(dev));
}

/* What is a device for those that need it? May sleep. Returns what its bus says. */
enum device_liveupdate_role dlu_role(struct device *dev)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	return bus->role ? bus->role(dev) : DEVICE_LIVEUPDATE_ENDPOINT;
}

/*
 * Is a device the one that it was? May sleep. Returns true if its bus says so, or if it
 * has no opinion and nothing has changed.
 */
bool dlu_same_hardware(struct device *dev, const struct device_liveupdate_id *id,
		       const struct device_liveupdate_id *before)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	if (bus->match)
		return bus->match(dev, id, before);

	return !memcmp(id->fingerprint, before->fingerprint, sizeof(id->fingerprint));
}

/* Report that a device is why a callback fails. May sleep. Takes dlu_lock. */
void dlu_report_failure(struct device *dev, int error, const char *reason)
{
	char name[LIVEUPDATE_DEVICE_LEN];

	dlu_name(dev, name, sizeof(name));
	liveupdate_report_failure(&dlu_subsystem, error, name, reason);
}

/* Report that a device failed, and log it. May sleep. Takes dlu_lock. Returns @error. */
int dlu_fail(struct device *dev, const char *transition, int error,
	     const char *reason)
{
	dev_err(dev, "liveupdate: %s failed: %pe, %s\n", transition, ERR_PTR(error),
		reason);
	dlu_report_failure(dev, error, reason);

	return error;
}

/* A device has made invalid what is prepared. May sleep. Takes dlu_lock. */
void dlu_invalidate(struct device *dev, int error, const char *reason)
{
	char name[LIVEUPDATE_DEVICE_LEN];

	dev_err(dev, "liveupdate: prepare failed: %pe, %s\n", ERR_PTR(error), reason);

	dlu_name(dev, name, sizeof(name));
	liveupdate_invalidate(&dlu_subsystem, error, name, reason);
}

/* The nearest device above that has a bus, with nothing but class devices in between. */
struct device *dlu_ancestor(const struct device *dev)
{
	struct device *parent = dev->parent;

	while (parent && !parent->bus && parent->class)
		parent = parent->parent;

	return parent && parent->bus ? parent : NULL;
}
