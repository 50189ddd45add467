// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Device live update
 *
 * Keeps devices running while one kernel replaces another. This is the participant
 * "devices" of a live update (kernel/liveupdate/luo_state.c); it calls the buses
 * and drivers that take part (include/linux/liveupdate/device.h).
 *
 * Concept
 *   Nobody is asked who was not named: an operator requests devices one by one.
 *   PREPARE closes the set over what they need. An ancestor, up to the first that
 *   has neither bus nor class, is preserved, too, or, if it only forwards for others,
 *   a bridge, kept alive as part of the path; so are suppliers of managed device links
 *   and the devices that the bus says it depends on. Nothing else is kept alive
 *   without being preserved: whether its driver leaves it alone, and what it writes
 *   to meanwhile, nobody could tell. A child of a preserved device that has a driver
 *   must be in the set, because shutting it down would reach the device.
 *
 *   The order is that of devices_kset, in which device_shutdown() walks: parents
 *   and suppliers come first, and device_link_add() keeps it so. PREPARE, FREEZE and
 *   FINISH walk from consumers to providers, CANCEL and THAW the other way. For each
 *   device the driver is called before its bus on the way into the update, and
 *   after it on the way back.
 *
 * Lifecycle in the old kernel
 *   1. Requested: &device_liveupdate is allocated, the device is in
 *      &device_liveupdate_layer.requested.
 *   2. In the set, from PREPARE to CANCEL: its driver's module is pinned, its driver
 *      cannot be changed through sysfs, nothing below it can be bound.
 *   3. Frozen: device_shutdown() leaves it alone.
 *
 *   A device that goes away nevertheless is cancelled at once. The set is broken
 *   then: freezing it fails, and the whole update is cancelled.
 *
 * The next kernel is described in liveupdate_incoming.c, the format between them in
 * liveupdate_handover.c, the files in Documentation/ABI/testing/
 * sysfs-devices-liveupdate.
 *
 * Contexts
 *   The steps of the participant run one at a time, under the lock of the state
 *   machine. FREEZE and THAW take no device_lock. Probes that run while the set is
 *   closed or frozen are waited for; they must not register or unregister a
 *   participant of live update.
 *
 * Lock order
 *   lock of the state machine -> device_lock -> &device_liveupdate.lock -> locks of
 *   buses and drivers that are not held when a device is removed ->
 *   &device_liveupdate_layer.lock
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

struct device_liveupdate_layer device_liveupdate_layer = {
	.lock = __MUTEX_INITIALIZER(device_liveupdate_layer.lock),
	.requested = LIST_HEAD_INIT(device_liveupdate_layer.requested),
	.set = LIST_HEAD_INIT(device_liveupdate_layer.set),
};
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_layer);

/**
 * device_liveupdate_get() - what live update knows of a device
 * @dev: the device
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 * Return: &device.liveupdate, allocated if need be, or NULL without memory.
 */
struct device_liveupdate *device_liveupdate_get(struct device *dev)
{
	struct device_liveupdate *fresh __free(kfree) = NULL;

	if (READ_ONCE(dev->liveupdate))
		return dev->liveupdate;

	fresh = kzalloc_obj(*fresh);
	if (!fresh)
		return NULL;
	fresh->dev = dev;
	mutex_init(&fresh->lock);
	INIT_LIST_HEAD(&fresh->requested);
	INIT_LIST_HEAD(&fresh->member);
	INIT_LIST_HEAD(&fresh->attach);

	guard(mutex)(&device_liveupdate_layer.lock);
	if (!dev->liveupdate)
		/* Others look at it without a lock. */
		smp_store_release(&dev->liveupdate, no_free_ptr(fresh));

	return dev->liveupdate;
}

/**
 * device_liveupdate_release() - the device is freed
 * @dev: the device
 *
 * Context: any.
 */
void device_liveupdate_release(struct device *dev)
{
	kfree(dev->liveupdate);
}

/**
 * device_liveupdate_identify() - ask a bus which device this is
 * @dev: a device on a bus with live update
 * @id: filled in
 *
 * Context: May sleep.
 * Return: 0; -EINVAL if the bus gives no valid identity, or has a name that cannot
 * be handed over; or the error of the bus.
 */
int device_liveupdate_identify(struct device *dev,
			       struct device_liveupdate_id *id)
{
	int err;

	memset(id, 0, sizeof(*id));
	err = dev->bus->liveupdate->identify(dev, id);
	if (err)
		return err;
	if (id->id[sizeof(id->id) - 1] ||
	    !device_liveupdate_string_valid(id->id) ||
	    strlen(dev->bus->name) >= DEVICE_LIVEUPDATE_BUS_LEN ||
	    !device_liveupdate_string_valid(dev->bus->name))
		return -EINVAL;

	return 0;
}

/**
 * device_liveupdate_fail() - remember and report that a device failed
 * @dev: the device
 * @step: what failed
 * @error: the error, negative
 * @reason: why
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 * Return: @error.
 */
int device_liveupdate_fail(struct device *dev, const char *step, int error,
			   const char *reason)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	const struct device_liveupdate *liveupdate = dev->liveupdate;

	dev_err(dev, "liveupdate: %s failed: %pe, %s\n", step, ERR_PTR(error),
		reason);

	guard(mutex)(&layer->lock);
	layer->failed_step = step;
	layer->failed_errno = error;
	strscpy(layer->failed_reason, reason);
	strscpy(layer->failed_bus, dev->bus ? dev->bus->name : "-");
	if (liveupdate && liveupdate->id.id[0])
		strscpy(layer->failed_id, liveupdate->id.id);
	else
		strscpy(layer->failed_id, dev_name(dev));

	return error;
}

static bool device_liveupdate_driver_valid(const struct dev_liveupdate_ops *ops)
{
	return ops->compatible &&
	       strlen(ops->compatible) < DEVICE_LIVEUPDATE_DRIVER_LEN &&
	       device_liveupdate_string_valid(ops->compatible) &&
	       ops->oldest && ops->oldest <= ops->version;
}

static int device_liveupdate_ask_bus(struct device *dev, const char *step)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	const char *reason = "not supported by its bus";
	int err;

	err = bus->supported ? bus->supported(dev, &reason) : 0;

	return err ? device_liveupdate_fail(dev, step, err, reason) : 0;
}

/* Can the device be preserved at all? The driver stays bound meanwhile. */
static int device_liveupdate_check(struct device *dev, const char *step)
{
	const struct device_driver *drv = READ_ONCE(dev->driver);

	if (!drv)
		return device_liveupdate_fail(dev, step, -EOPNOTSUPP,
					      "no driver is bound");
	if (!drv->liveupdate)
		return device_liveupdate_fail(dev, step, -EOPNOTSUPP,
					      "its driver has no live update");
	if (!device_liveupdate_driver_valid(drv->liveupdate))
		return device_liveupdate_fail(dev, step, -EINVAL,
					      "its driver describes itself badly");

	return device_liveupdate_ask_bus(dev, step);
}

/* The caller holds another reference to the device. */
static void __device_liveupdate_withdraw(struct device_liveupdate *liveupdate)
{
	lockdep_assert_held(&device_liveupdate_layer.lock);

	if (list_empty(&liveupdate->requested))
		return;
	list_del_init(&liveupdate->requested);
	put_device(liveupdate->dev);
}

/**
 * device_liveupdate_request() - request that a device is preserved, or do not
 * @dev: a device with a bus that has live update, whose driver stays bound
 * @on: request it
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 * Return: 0; -EBUSY unless the state is normal; -EOPNOTSUPP if its driver does not
 * support live update; -EINVAL if driver or bus describe it badly; -ENOMEM; or why
 * the bus cannot preserve it.
 */
int device_liveupdate_request(struct device *dev, bool on)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate *liveupdate;
	struct device_liveupdate_id id;
	int err;

	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL)
		return -EBUSY;

	if (on) {
		/* It is only asked about what it is when it is awake. */
		guard(pm_runtime_active)(dev);
		err = device_liveupdate_check(dev, "request");
		if (err)
			return err;
		err = device_liveupdate_identify(dev, &id);
		if (err)
			return device_liveupdate_fail(dev, "request", err,
						      "its bus cannot identify it");
	}

	if (!on && !READ_ONCE(dev->liveupdate))
		return 0;
	liveupdate = device_liveupdate_get(dev);
	if (!liveupdate)
		return device_liveupdate_fail(dev, "request", -ENOMEM,
					      "out of memory");

	guard(mutex)(&layer->lock);
	if (layer->closed)
		return -EBUSY;
	if (on)
		liveupdate->id = id;
	if (!on) {
		__device_liveupdate_withdraw(liveupdate);
	} else if (list_empty(&liveupdate->requested)) {
		get_device(dev);
		list_add_tail(&liveupdate->requested, &layer->requested);
	}

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_request);

/**
 * device_liveupdate_withdraw() - a device is not requested any more
 * @dev: the device, of which the caller holds a reference
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 */
void device_liveupdate_withdraw(struct device *dev)
{
	struct device_liveupdate *liveupdate = dev->liveupdate;

	if (!liveupdate)
		return;

	guard(mutex)(&device_liveupdate_layer.lock);
	__device_liveupdate_withdraw(liveupdate);
}

/* Closing the set. */

static bool device_liveupdate_in_set(const struct device_liveupdate *liveupdate)
{
	return liveupdate && !list_empty(&liveupdate->member);
}

static void device_liveupdate_add(struct device_liveupdate *liveupdate, bool path)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	if (list_empty(&liveupdate->member)) {
		get_device(liveupdate->dev);
		liveupdate->path = true;
		liveupdate->phase = DEVICE_LIVEUPDATE_IDLE;
		list_add_tail(&liveupdate->member, &layer->set);
		layer->nr_set++;
	}
	if (!path)
		liveupdate->path = false;
}

static int device_liveupdate_enter(struct device *dev, bool path)
{
	struct device_liveupdate *liveupdate;

	if (!dev->bus || !dev->bus->liveupdate)
		return device_liveupdate_fail(dev, "prepare", -EOPNOTSUPP,
					      "a preserved device needs it, but its bus has no live update");

	liveupdate = device_liveupdate_get(dev);
	if (!liveupdate)
		return device_liveupdate_fail(dev, "prepare", -ENOMEM,
					      "out of memory");

	guard(mutex)(&device_liveupdate_layer.lock);
	device_liveupdate_add(liveupdate, path);

	return 0;
}

/* A device that one in the set needs: an ancestor, a supplier, or what its bus says. */
static int device_liveupdate_enter_provider(struct device *dev, void *unused)
{
	const struct bus_liveupdate_ops *bus = dev->bus ? dev->bus->liveupdate : NULL;

	return device_liveupdate_enter(dev, bus && bus->is_bridge &&
					    bus->is_bridge(dev));
}

static int device_liveupdate_enter_suppliers(struct device *dev)
{
	struct device_link *link;
	int err = 0;
	int idx;

	idx = device_links_read_lock();
	dev_for_each_link_to_supplier(link, dev) {
		if (!(link->flags & DL_FLAG_MANAGED) ||
		    device_link_flag_is_sync_state_only(link->flags))
			continue;
		err = device_liveupdate_enter_provider(link->supplier, NULL);
		if (err)
			break;
	}
	device_links_read_unlock(idx);

	return err;
}

static struct device *device_liveupdate_ancestor(const struct device *dev)
{
	struct device *parent = dev->parent;

	while (parent && !parent->bus && parent->class)
		parent = parent->parent;

	return parent && parent->bus ? parent : NULL;
}

static int device_liveupdate_enter_providers(struct device *dev)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	struct device *parent = device_liveupdate_ancestor(dev);
	int err;

	if (parent) {
		err = device_liveupdate_enter_provider(parent, NULL);
		if (err)
			return err;
	}
	err = device_liveupdate_enter_suppliers(dev);
	if (err || !bus->dependencies)
		return err;

	return bus->dependencies(dev, device_liveupdate_enter_provider, NULL);
}

/*
 * Would shutting the device down reach a preserved one? That is so if it is not in the
 * set, but the nearest device above it that has a driver is.
 */
static bool device_liveupdate_stray(const struct device *dev)
{
	const struct device *parent;

	if (device_liveupdate_in_set(READ_ONCE(dev->liveupdate)))
		return false;

	for (parent = dev->parent; parent; parent = parent->parent) {
		const struct device_liveupdate *liveupdate =
			READ_ONCE(parent->liveupdate);

		if (device_liveupdate_in_set(liveupdate))
			return !liveupdate->path;
		if (READ_ONCE(parent->driver))
			return false;
	}

	return false;
}

/* Bring the set into the order of devices_kset, and look for strays there. */
static int device_liveupdate_sort(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device *stray __free(put_device) = NULL;
	struct kobject *kobj;
	LIST_HEAD(sorted);
	bool broken;

	scoped_guard(mutex, &layer->lock) {
		spin_lock(&devices_kset->list_lock);
		list_for_each_entry(kobj, &devices_kset->list, entry) {
			struct device *dev = kobj_to_dev(kobj);
			struct device_liveupdate *liveupdate =
				READ_ONCE(dev->liveupdate);

			if (device_liveupdate_in_set(liveupdate))
				list_move_tail(&liveupdate->member, &sorted);
			else if (!stray && READ_ONCE(dev->driver) &&
				 device_liveupdate_stray(dev))
				stray = get_device(dev);
		}
		spin_unlock(&devices_kset->list_lock);

		/* Who is left is on its way out. */
		if (!list_empty(&layer->set))
			layer->broken = true;
		list_splice(&sorted, &layer->set);
		broken = layer->broken;
	}
	if (stray)
		return device_liveupdate_fail(stray, "prepare", -EBUSY,
					      "has a driver, but is not requested although a device above it is preserved");

	return broken ? -ENODEV : 0;
}

/*
 * May its bus be asked, and its ancestors be walked? device_lock held. What was removed
 * since it was requested holds no reference to its parent any more.
 */
static int device_liveupdate_still_there(struct device *dev)
{
	device_lock_assert(dev);

	return dev->p->dead ? device_liveupdate_fail(dev, "prepare", -ENODEV,
						     "it was removed meanwhile") : 0;
}

static struct device_liveupdate *
device_liveupdate_parent(const struct device_liveupdate *liveupdate)
{
	struct device *parent = liveupdate->dev->parent;

	while (parent && !device_liveupdate_in_set(parent->liveupdate))
		parent = parent->parent;

	return parent ? parent->liveupdate : NULL;
}

/* Number the set, and make sure that no two devices say they are the same. */
static int device_liveupdate_number(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	unsigned int bits = order_base_2(max(layer->nr_set, 2U));
	struct device_liveupdate *liveupdate, *parent, *twin;
	struct hlist_head *buckets __free(kvfree) = NULL;
	u32 index = 0;

	buckets = kvzalloc_objs(*buckets, 1U << bits);
	if (!buckets)
		return -ENOMEM;

	list_for_each_entry(liveupdate, &layer->set, member)
		liveupdate->index = index++;

	list_for_each_entry(liveupdate, &layer->set, member) {
		struct device *dev = liveupdate->dev;
		struct hlist_head *bucket;
		int err;

		guard(device)(dev);
		err = device_liveupdate_still_there(dev);
		if (err)
			return err;

		parent = device_liveupdate_parent(liveupdate);
		if (parent && parent->index > liveupdate->index)
			return device_liveupdate_fail(dev, "prepare", -EINVAL,
						      "it was moved below a device that comes after it");
		liveupdate->parent = parent ? parent->index + 1 : 0;

		bucket = device_liveupdate_bucket(buckets, bits, liveupdate->id.id);
		hlist_for_each_entry(twin, bucket, hash) {
			if (twin->dev->bus == dev->bus &&
			    !strcmp(twin->id.id, liveupdate->id.id))
				return device_liveupdate_fail(dev, "prepare", -EEXIST,
							      "its identity is that of another device");
		}
		hlist_add_head(&liveupdate->hash, bucket);
	}

	return 0;
}

static int device_liveupdate_examine(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	struct device_liveupdate_id id;
	int err;

	device_lock_assert(dev);

	/* It must not fall asleep any more. Whether it can is its own matter. */
	pm_runtime_get_sync(dev);
	liveupdate->awake = true;

	/* What was found when it was requested holds while the driver is bound. */
	if (!list_empty(&liveupdate->requested))
		return device_liveupdate_ask_bus(dev, "prepare");

	err = device_liveupdate_identify(dev, &id);
	if (err)
		return device_liveupdate_fail(dev, "prepare", err,
					      "its bus cannot identify it");
	scoped_guard(mutex, &device_liveupdate_layer.lock)
		liveupdate->id = id;

	return liveupdate->path ? 0 : device_liveupdate_check(dev, "prepare");
}

/*
 * Close the set and bring it into order. Nobody but this step changes the list of
 * its members, so it is read without &device_liveupdate_layer.lock.
 */
static int device_liveupdate_close(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate *liveupdate;
	int err;

	scoped_guard(mutex, &layer->lock) {
		WRITE_ONCE(layer->closed, true);
		layer->broken = false;
		list_for_each_entry(liveupdate, &layer->requested, requested)
			device_liveupdate_add(liveupdate, false);
	}
	if (list_empty(&layer->set))
		return 0;

	/* Those that did not see that the set is closed. */
	wait_for_device_probe();

	/* Those that are entered here join the end of the list. */
	list_for_each_entry(liveupdate, &layer->set, member) {
		guard(device)(liveupdate->dev);
		err = device_liveupdate_still_there(liveupdate->dev) ?:
		      device_liveupdate_enter_providers(liveupdate->dev);
		if (err)
			return err;
	}

	list_for_each_entry(liveupdate, &layer->set, member) {
		guard(device)(liveupdate->dev);
		err = device_liveupdate_still_there(liveupdate->dev) ?:
		      device_liveupdate_examine(liveupdate);
		if (err)
			return err;
	}

	return device_liveupdate_sort() ?: device_liveupdate_number();
}

static void device_liveupdate_let_sleep(struct device_liveupdate *liveupdate)
{
	lockdep_assert_held(&liveupdate->lock);

	if (liveupdate->awake)
		pm_runtime_put(liveupdate->dev);
	liveupdate->awake = false;
}

/* Empty the set. Nothing in it is prepared. */
static void device_liveupdate_open(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate *liveupdate, *tmp;

	list_for_each_entry_safe(liveupdate, tmp, &layer->set, member) {
		struct module *owner;

		scoped_guard(mutex, &liveupdate->lock) {
			owner = liveupdate->owner;
			liveupdate->owner = NULL;
			liveupdate->ser = NULL;
			device_liveupdate_let_sleep(liveupdate);
			WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_IDLE);
			guard(mutex)(&layer->lock);
			list_del_init(&liveupdate->member);
		}
		put_device(liveupdate->dev);
		/* The device may be of the same module. */
		module_put(owner);
	}

	scoped_guard(mutex, &layer->lock) {
		layer->nr_set = 0;
		layer->broken = false;
		WRITE_ONCE(layer->closed, false);
	}

	/* Those that were deferred because of the set. */
	driver_deferred_probe_trigger();
}

/* The steps, for one device. */

static int device_liveupdate_prepare_driver(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	const struct dev_liveupdate_ops *ops = dev->driver->liveupdate;
	int err;

	if (ops->prepare) {
		err = ops->prepare(dev, &liveupdate->data);
		if (err)
			goto err_free;
	}
	if (bus->prepare) {
		err = bus->prepare(dev);
		if (err)
			goto err_cancel;
	}
	liveupdate->ops = ops;

	return 0;

err_cancel:
	if (ops->cancel)
		ops->cancel(dev, &liveupdate->data);
err_free:
	liveupdate_data_free(&liveupdate->data);

	return err;
}

static int device_liveupdate_prepare_one(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus;
	int err = 0;

	guard(device)(dev);
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_IDLE || dev->p->dead)
		return -ENODEV;
	if (!liveupdate->path && (!dev->driver || !dev->driver->liveupdate))
		return -ENODEV;
	if (dev->driver && !try_module_get(dev->driver->owner))
		return -ENODEV;
	liveupdate->owner = dev->driver ? dev->driver->owner : NULL;
	liveupdate->ops = NULL;
	liveupdate->data = (struct liveupdate_data){};

	bus = dev->bus->liveupdate;
	if (!liveupdate->path)
		err = device_liveupdate_prepare_driver(liveupdate);
	else if (bus->keep_path)
		err = bus->keep_path(dev, true);
	if (!err)
		WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_PREPARED);

	return err;
}

static void __device_liveupdate_cancel(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	lockdep_assert_held(&liveupdate->lock);

	if (liveupdate->path) {
		if (bus->keep_path)
			bus->keep_path(dev, false);
	} else {
		if (bus->cancel)
			bus->cancel(dev);
		if (liveupdate->ops->cancel)
			liveupdate->ops->cancel(dev, &liveupdate->data);
		liveupdate_data_free(&liveupdate->data);
	}
	device_liveupdate_let_sleep(liveupdate);
}

static void device_liveupdate_cancel_one(struct device_liveupdate *liveupdate)
{
	guard(device)(liveupdate->dev);
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_PREPARED)
		return;
	__device_liveupdate_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_IDLE);
}

static int device_liveupdate_freeze_one(struct device_liveupdate *liveupdate)
{
	const struct dev_liveupdate_ops *ops = liveupdate->ops;
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus;
	int err;

	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_PREPARED)
		return -ENODEV;

	bus = dev->bus->liveupdate;
	if (ops && ops->freeze) {
		err = ops->freeze(dev, &liveupdate->data);
		if (err)
			return err;
	}
	if (ops && bus->freeze) {
		err = bus->freeze(dev);
		if (err) {
			if (ops->thaw)
				ops->thaw(dev, &liveupdate->data);
			return err;
		}
	}
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_FROZEN);

	return 0;
}

static void __device_liveupdate_thaw(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	const struct dev_liveupdate_ops *ops = liveupdate->ops;

	lockdep_assert_held(&liveupdate->lock);

	if (ops && bus->thaw)
		bus->thaw(dev);
	if (ops && ops->thaw)
		ops->thaw(dev, &liveupdate->data);
}

static void device_liveupdate_thaw_one(struct device_liveupdate *liveupdate)
{
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_FROZEN)
		return;
	__device_liveupdate_thaw(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_PREPARED);
}

/*
 * A device of the set is lost. It is cancelled before that goes on, the rest when
 * whoever holds what locks is gone.
 */
static void device_liveupdate_lose_outgoing(struct device *dev, const char *reason)
{
	struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	if (!liveupdate || !READ_ONCE(layer->closed))
		return;

	/* Held until the end, so that it ends before the set is opened. */
	guard(mutex)(&liveupdate->lock);

	scoped_guard(mutex, &layer->lock) {
		if (!device_liveupdate_in_set(liveupdate) ||
		    liveupdate->phase == DEVICE_LIVEUPDATE_LOST)
			return;
		layer->broken = true;
	}
	if (liveupdate->phase == DEVICE_LIVEUPDATE_FROZEN)
		__device_liveupdate_thaw(liveupdate);
	if (liveupdate->phase != DEVICE_LIVEUPDATE_IDLE)
		__device_liveupdate_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_LOST);

	/* If it is too late to stop the jump, nobody must take it over. */
	device_liveupdate_write_lost(liveupdate);

	device_liveupdate_fail(dev, "prepare", -ENODEV, reason);
	liveupdate_invalidate(&device_liveupdate_subsystem, -ENODEV);
}

/**
 * device_liveupdate_lose() - a device cannot run through an update any more
 * @dev: the device, in the set, handed over, or neither
 * @reason: why, a few words
 *
 * For buses: the device failed, or is about to be reset. One of the set is cancelled
 * before this returns, the whole update when those who hold what locks are gone. One
 * that was handed over and runs counts as quarantined from here on, and the caller
 * sees to it that it is harmless.
 *
 * Context: May sleep. device_lock held; not from a callback of live update.
 */
void device_liveupdate_lose(struct device *dev, const char *reason)
{
	device_lock_assert(dev);

	device_liveupdate_lose_incoming(dev, reason);
	device_liveupdate_lose_outgoing(dev, reason);
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_lose, "LIVEUPDATE");

static void device_liveupdate_lost(struct device *dev)
{
	device_liveupdate_lose_outgoing(dev, "it was removed or unbound while prepared");
}

/* The steps of the participant. */

/* Call @one for the whole set, providers first. */
static void device_liveupdate_undo(void (*one)(struct device_liveupdate *liveupdate))
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct liveupdate_parts *parts = &layer->parts;
	struct device_liveupdate *liveupdate;

	memset(parts, 0, sizeof(*parts));
	list_for_each_entry(liveupdate, &layer->set, member) {
		liveupdate_part_begin(parts, dev_name(liveupdate->dev));
		one(liveupdate);
		liveupdate_part_end(parts, 0);
	}
	liveupdate_parts_record(&device_liveupdate_subsystem, parts);
}

/* Call @one for the whole set, consumers first, until one fails. */
static int device_liveupdate_walk(int (*one)(struct device_liveupdate *liveupdate),
				  const char *step)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct liveupdate_parts *parts = &layer->parts;
	struct device_liveupdate *liveupdate;
	int err = 0;

	memset(parts, 0, sizeof(*parts));
	list_for_each_entry_reverse(liveupdate, &layer->set, member) {
		liveupdate_part_begin(parts, dev_name(liveupdate->dev));
		err = liveupdate_part_end(parts, one(liveupdate));
		if (!err)
			continue;
		/* A lost one was reported, and its bus may be gone. */
		if (READ_ONCE(liveupdate->phase) != DEVICE_LIVEUPDATE_LOST)
			device_liveupdate_fail(liveupdate->dev, step, err,
					       err == -ETIMEDOUT ? "too late" :
					       "refused by its driver or bus");
		break;
	}
	liveupdate_parts_record(&device_liveupdate_subsystem, parts);

	return err ?: READ_ONCE(layer->broken) ? -ENODEV : 0;
}

/**
 * device_liveupdate_cancel() - CANCEL of the participant
 * @subsystem: the participant
 * @data: its data, emptied
 *
 * Context: May sleep. Lock of the state machine held.
 */
void device_liveupdate_cancel(struct liveupdate_subsystem *subsystem,
			      struct liveupdate_data *data)
{
	device_liveupdate_undo(device_liveupdate_cancel_one);
	device_liveupdate_open();
	device_liveupdate_free_table(data);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_cancel);

/**
 * device_liveupdate_prepare() - PREPARE of the participant
 * @subsystem: the participant
 * @data: its data; filled in
 *
 * Context: May sleep. Lock of the state machine held.
 * Return: 0; -EOPNOTSUPP or -EINVAL if a device that is needed does not support
 * live update, or is out of order; -EBUSY if a device below a preserved one is not
 * requested; -EEXIST if two devices have the same identity; -ENODEV if a device went
 * away; -ETIMEDOUT; -E2BIG if there are too many devices; -ENOMEM; or the error of a
 * driver or bus.
 * Nothing is left prepared on failure.
 */
int device_liveupdate_prepare(struct liveupdate_subsystem *subsystem,
			      struct liveupdate_data *data)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	int err;

	device_liveupdate_forget_harmless();
	err = device_liveupdate_close();
	if (!err && layer->nr_set)
		err = device_liveupdate_alloc_table(data);
	if (err)
		goto err_open;

	err = device_liveupdate_walk(device_liveupdate_prepare_one, "prepare");
	if (err) {
		device_liveupdate_cancel(subsystem, data);
		return err;
	}
	if (layer->nr_set)
		device_liveupdate_write_table();

	return 0;

err_open:
	device_liveupdate_open();

	return err;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_prepare);

/**
 * device_liveupdate_thaw() - THAW of the participant
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. Lock of the state machine held.
 */
void device_liveupdate_thaw(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_data *data)
{
	device_liveupdate_undo(device_liveupdate_thaw_one);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_thaw);

/**
 * device_liveupdate_freeze() - FREEZE of the participant
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. Lock of the state machine held. In the blackout.
 * Return: 0; -ENODEV if a device went away since it was prepared; -ETIMEDOUT; or
 * the error of a driver or bus. Nothing is left frozen on failure.
 */
int device_liveupdate_freeze(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	int err;

	if (!layer->nr_set)
		return 0;
	if (READ_ONCE(layer->broken))
		return -ENODEV;

	wait_for_device_probe();
	err = device_liveupdate_walk(device_liveupdate_freeze_one, "freeze");
	if (err)
		device_liveupdate_thaw(subsystem, data);

	return err;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_freeze);

/* What the driver core calls. */

/**
 * device_liveupdate_veto() - may this driver be bound to this device?
 * @dev: the device
 * @drv: the driver, which matches
 *
 * Context: device_lock held.
 * Return: 0; -ENODEV if the device was handed over and the driver cannot take it
 * over; -EPROBE_DEFER if a device above it is prepared for a live update.
 */
int device_liveupdate_veto(struct device *dev, const struct device_driver *drv)
{
	const struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	if (liveupdate && liveupdate->incoming)
		return device_liveupdate_may_adopt(dev, drv);
	if (unlikely(READ_ONCE(device_liveupdate_layer.closed)) &&
	    device_liveupdate_stray(dev))
		return -EPROBE_DEFER;

	return 0;
}

/**
 * device_liveupdate_probed() - a driver was probed
 * @dev: the device
 * @ret: 0 if it is bound, otherwise a negative error, or the positive one that
 *	probe() failed with
 *
 * Context: device_lock held.
 */
void device_liveupdate_probed(struct device *dev, int ret)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	device_liveupdate_settle(dev, ret);

	/* It may have been asked for before the one above it was in the set. */
	if (ret || likely(!READ_ONCE(layer->closed)) || !device_liveupdate_stray(dev))
		return;
	scoped_guard(mutex, &layer->lock)
		layer->broken = true;
	device_liveupdate_fail(dev, "prepare", -EBUSY,
			       "was bound, but is not requested although a device above it is preserved");
	liveupdate_invalidate(&device_liveupdate_subsystem, -EBUSY);
}

/**
 * device_liveupdate_may_change() - may userspace change what drives the device?
 * @dev: the device
 *
 * Whoever gets past this while PREPARE reaches the device breaks the set.
 *
 * Context: any.
 * Return: 0, or -EBUSY if the device is prepared for a live update.
 */
int device_liveupdate_may_change(struct device *dev)
{
	const struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_may_change, dev);

	if (!liveupdate)
		return 0;
	switch (READ_ONCE(liveupdate->phase)) {
	case DEVICE_LIVEUPDATE_PREPARED:
	case DEVICE_LIVEUPDATE_FROZEN:
		return -EBUSY;
	default:
		return 0;
	}
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_may_change, "LIVEUPDATE");

static bool device_liveupdate_frozen(const struct device *dev)
{
	const struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	return liveupdate &&
	       READ_ONCE(liveupdate->phase) == DEVICE_LIVEUPDATE_FROZEN;
}

/**
 * device_liveupdate_on_path() - does a preserved device need this one alive?
 * @dev: the device
 *
 * Context: any.
 * Return: true if the device is kept alive over the jump under way for the sake of
 * others, and not preserved itself.
 */
bool device_liveupdate_on_path(struct device *dev)
{
	return device_liveupdate_frozen(dev) && dev->liveupdate->path;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_on_path, "LIVEUPDATE");

/**
 * device_liveupdate_outgoing_index() - which record is that of this device?
 * @dev: the device
 * @index: on success its position in the table of devices that is handed over
 *
 * For those who hand something over that belongs to a device: from the prepare
 * of its driver on until its cancel returned.
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 * Return: 0; -ENOENT if the device is not preserved.
 */
int device_liveupdate_outgoing_index(struct device *dev, u32 *index)
{
	struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_outgoing_index, dev, index);

	guard(mutex)(&device_liveupdate_layer.lock);

	if (!device_liveupdate_in_set(liveupdate) || liveupdate->path ||
	    READ_ONCE(liveupdate->phase) == DEVICE_LIVEUPDATE_LOST)
		return -ENOENT;
	*index = liveupdate->index;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_outgoing_index, "LIVEUPDATE");

/**
 * device_liveupdate_shutdown() - a device is about to be shut down
 * @dev: the device
 *
 * The device may be one that the previous kernel left running and that nobody took
 * over. It is made harmless first, whatever comes next.
 *
 * Context: device_lock held.
 * Return: true if the device must be left alone: a frozen one, unless it is on the
 * path and its bus keeps such a device alive while shutting it down; and a class
 * device of a frozen one.
 */
bool device_liveupdate_shutdown(struct device *dev)
{
	if (dev->liveupdate && dev->liveupdate->incoming)
		device_liveupdate_going_down(dev);
	if (likely(!READ_ONCE(device_liveupdate_layer.closed)))
		return false;

	if (!dev->bus)
		dev = device_liveupdate_ancestor(dev);
	if (!dev || !device_liveupdate_frozen(dev))
		return false;

	return !dev->liveupdate->path || !dev->bus->liveupdate->shutdown_path;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_shutdown);

/**
 * __device_liveupdate_notify() - something happens to a device
 * @dev: the device, on a bus with live update
 * @event: what
 *
 * Context: that of the notifiers of the bus.
 */
void __device_liveupdate_notify(struct device *dev, enum bus_notifier_event event)
{
	switch (event) {
	case BUS_NOTIFY_ADD_DEVICE:
		device_liveupdate_added(dev);
		break;
	case BUS_NOTIFY_BOUND_DRIVER:
		if (liveupdate_enabled() && dev->driver->liveupdate)
			device_liveupdate_add_group(dev);
		break;
	case BUS_NOTIFY_UNBIND_DRIVER:
		/* Waits for those who use the files, and hence the driver. */
		device_liveupdate_remove_group(dev);
		device_liveupdate_withdraw(dev);
		device_liveupdate_lost(dev);
		device_liveupdate_unbound(dev);
		break;
	case BUS_NOTIFY_DEL_DEVICE:
		device_liveupdate_remove_group(dev);
		device_liveupdate_withdraw(dev);
		device_liveupdate_lost(dev);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		device_liveupdate_removed(dev);
		break;
	default:
		break;
	}
}

/* The participant. */

static const struct liveupdate_subsystem_ops device_liveupdate_ops = {
	.prepare	= device_liveupdate_prepare,
	.freeze		= device_liveupdate_freeze,
	.thaw		= device_liveupdate_thaw,
	.cancel		= device_liveupdate_cancel,
	.restore	= device_liveupdate_restore,
	.finish		= device_liveupdate_finish,
	.abandon	= device_liveupdate_abandon,
	.forget		= device_liveupdate_forget_retained,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(device_liveupdate_note, "devices", 1, 1,
		LIVEUPDATE_LEVEL_DEVICES, LIVEUPDATE_MANDATORY);

struct liveupdate_subsystem device_liveupdate_subsystem =
	LIVEUPDATE_SUBSYSTEM_INIT(device_liveupdate_note, device_liveupdate_ops);

LIVEUPDATE_BUILTIN_SUBSYSTEM(device_liveupdate_subsystem);

static int __init device_liveupdate_init(void)
{
	struct kobject *kobj = liveupdate_kobject();

	if (!kobj)
		return 0;

	return device_liveupdate_sysfs_init(kobj);
}
late_initcall_sync(device_liveupdate_init);
