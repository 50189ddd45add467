// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Devices that this kernel hands over
 *
 * What PREPARE, FREEZE, THAW and CANCEL do with the devices of the set, and what
 * happens if one of them is lost meanwhile. The idea is in liveupdate.c, the set in
 * liveupdate_set.c.
 *
 * Point of no return
 *   Until device_shutdown() comes to a device, what is lost is thawed and cancelled: its
 *   driver gets it back, and shuts it down. Once that has passed a frozen device, nobody
 *   would stop it any more, while it goes on to access the memory that was preserved
 *   for it. Giving that memory up would let it write to memory of the next kernel. So
 *   neither the steps nor a loss thaw or cancel it from there on. A device that is lost
 *   then is stopped by its bus, and all that was handed over for it stays so: its record
 *   says that it was lost, and the next kernel quarantines it before anything is freed.
 *
 * Contexts
 *   The steps run one at a time, under the lock of the state machine. Losses come from
 *   buses and from those who unbind or remove a device, at any time.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

/* The steps, for one device. A forwarder has no driver, as far as they go. */

static enum device_liveupdate_role
dlu_role_in_set(const struct device_liveupdate *liveupdate)
{
	return liveupdate->path ? DEVICE_LIVEUPDATE_FORWARDER : DEVICE_LIVEUPDATE_ENDPOINT;
}

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
		err = bus->prepare(dev, DEVICE_LIVEUPDATE_ENDPOINT);
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

static int device_liveupdate_prepare_one(struct device_liveupdate *liveupdate,
					 const char **reason)
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
	else if (bus->prepare)
		err = bus->prepare(dev, DEVICE_LIVEUPDATE_FORWARDER);
	if (!err)
		WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_PREPARED);

	return err;
}

static void __device_liveupdate_cancel(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	lockdep_assert_held(&liveupdate->lock);

	if (bus->cancel)
		bus->cancel(dev, dlu_role_in_set(liveupdate));
	if (liveupdate->ops && liveupdate->ops->cancel)
		liveupdate->ops->cancel(dev, &liveupdate->data);
	liveupdate_data_free(&liveupdate->data);
	device_liveupdate_let_sleep(liveupdate);
}

static void device_liveupdate_cancel_one(struct device_liveupdate *liveupdate)
{
	guard(device)(liveupdate->dev);
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_PREPARED || liveupdate->passed)
		return;
	__device_liveupdate_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_IDLE);
}

/*
 * The next kernel compares what it finds with what was read in PREPARE. If that does not
 * hold any more, because a window was moved meanwhile, it would take the device for
 * another one.
 */
static int dlu_check_identity(struct device_liveupdate *liveupdate, const char **reason)
{
	struct device *dev = liveupdate->dev;
	struct device_liveupdate_id id;
	int err;

	err = device_liveupdate_identify(dev, &id);
	if (err) {
		*reason = "its bus cannot identify it";
	} else if (strcmp(id.id, liveupdate->id.id) ||
		   !dlu_same_hardware(dev, &id, &liveupdate->id)) {
		*reason = "it is not what it was when it was prepared";
		err = -ENODEV;
	}

	return err;
}

static int device_liveupdate_freeze_one(struct device_liveupdate *liveupdate,
					const char **reason)
{
	const struct dev_liveupdate_ops *ops = liveupdate->ops;
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus;
	int err;

	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_PREPARED)
		return -ENODEV;
	err = dlu_check_identity(liveupdate, reason);
	if (err)
		return err;

	bus = dev->bus->liveupdate;
	if (ops && ops->freeze) {
		err = ops->freeze(dev, &liveupdate->data);
		if (err)
			return err;
	}
	if (bus->freeze) {
		err = bus->freeze(dev, dlu_role_in_set(liveupdate));
		if (err) {
			if (ops && ops->thaw)
				ops->thaw(dev, &liveupdate->data);
			return err;
		}
	}
	if (ops && ops->freeze_late)
		ops->freeze_late(dev, &liveupdate->data);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_FROZEN);

	return 0;
}

static void __device_liveupdate_thaw(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	const struct dev_liveupdate_ops *ops = liveupdate->ops;

	lockdep_assert_held(&liveupdate->lock);

	if (bus->thaw)
		bus->thaw(dev, dlu_role_in_set(liveupdate));
	if (ops && ops->thaw)
		ops->thaw(dev, &liveupdate->data);
}

static void device_liveupdate_thaw_one(struct device_liveupdate *liveupdate)
{
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DEVICE_LIVEUPDATE_FROZEN || liveupdate->passed)
		return;
	__device_liveupdate_thaw(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_PREPARED);
}

/**
 * dlu_pass() - device_shutdown() leaves a device as it is
 * @dev: the device, in the set
 *
 * Context: May sleep. device_lock held. Takes &device_liveupdate.lock.
 * Return: true if the device is frozen: from here on it stays so. False if it was lost
 * meanwhile.
 */
bool dlu_pass(struct device *dev)
{
	guard(mutex)(&dev->liveupdate->lock);

	if (dev->liveupdate->phase != DEVICE_LIVEUPDATE_FROZEN)
		return false;
	dev->liveupdate->passed = true;

	return true;
}

/*
 * It is too late to give the device back to its driver. All that was prepared for it is
 * left to the next kernel.
 */
static void dlu_lose_passed(struct device_liveupdate *liveupdate, const char *reason)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	lockdep_assert_held(&liveupdate->lock);

	if (!liveupdate->path && bus->stop)
		bus->stop(dev);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_LOST);
	device_liveupdate_write_lost(liveupdate);
	dev_err(dev, "liveupdate: lost after it was passed by the shutdown, the next kernel quarantines it: %s\n",
		reason);
}

/*
 * A device of the set is lost. It is cancelled before that goes on, the rest when
 * whoever holds what locks is gone.
 */
void device_liveupdate_lose_outgoing(struct device *dev, const char *reason)
{
	struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	if (!liveupdate || !READ_ONCE(dlu_outgoing.closed))
		return;

	/* Held until the end, so that it ends before the set is opened. */
	guard(mutex)(&liveupdate->lock);

	scoped_guard(mutex, &dlu_lock) {
		if (!device_liveupdate_in_set(liveupdate) ||
		    liveupdate->phase == DEVICE_LIVEUPDATE_LOST)
			return;
		dlu_outgoing.broken = true;
	}
	if (liveupdate->passed) {
		dlu_lose_passed(liveupdate, reason);
		return;
	}
	if (liveupdate->phase == DEVICE_LIVEUPDATE_FROZEN)
		__device_liveupdate_thaw(liveupdate);
	if (liveupdate->phase != DEVICE_LIVEUPDATE_IDLE)
		__device_liveupdate_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DEVICE_LIVEUPDATE_LOST);

	/* If it is too late to stop the jump, nobody must take it over. */
	device_liveupdate_write_lost(liveupdate);

	device_liveupdate_invalidate(dev, -ENODEV, reason);
}

/**
 * device_liveupdate_lost() - a device is about to be removed or unbound
 * @dev: the device
 *
 * Context: May sleep. device_lock held, or the device goes away.
 */
void device_liveupdate_lost(struct device *dev)
{
	device_liveupdate_lose_outgoing(dev, "it was removed or unbound while prepared");
}

/* The steps of the participant. */

/* Call @one for the whole set, providers first. */
static void device_liveupdate_undo(void (*one)(struct device_liveupdate *liveupdate))
{
	struct liveupdate_parts *parts = &dlu_outgoing.parts;
	struct device_liveupdate *liveupdate;

	memset(parts, 0, sizeof(*parts));
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		liveupdate_part_begin(parts, dev_name(liveupdate->dev));
		one(liveupdate);
		liveupdate_part_end(parts, 0);
	}
	liveupdate_parts_record(&device_liveupdate_subsystem, parts);
}

/* Call @one for the whole set, consumers first, until one fails. */
static int device_liveupdate_walk(int (*one)(struct device_liveupdate *liveupdate,
					     const char **reason),
				  const char *step)
{
	struct liveupdate_parts *parts = &dlu_outgoing.parts;
	struct device_liveupdate *liveupdate;
	int err = 0;

	memset(parts, 0, sizeof(*parts));
	list_for_each_entry_reverse(liveupdate, &dlu_outgoing.set, member) {
		const char *reason = "refused by its driver or bus";

		liveupdate_part_begin(parts, dev_name(liveupdate->dev));
		err = liveupdate_part_end(parts, one(liveupdate, &reason));
		if (!err)
			continue;
		/* A lost one was reported, and its bus may be gone. */
		if (READ_ONCE(liveupdate->phase) != DEVICE_LIVEUPDATE_LOST)
			device_liveupdate_fail(liveupdate->dev, step, err,
					       err == -ETIMEDOUT ? "too late" : reason);
		break;
	}
	liveupdate_parts_record(&device_liveupdate_subsystem, parts);

	return err ?: READ_ONCE(dlu_outgoing.broken) ? -ENODEV : 0;
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
	int err;

	dlu_forget_fates();
	err = device_liveupdate_close();
	if (!err && dlu_outgoing.nr_set)
		err = device_liveupdate_alloc_table(data);
	if (err)
		goto err_open;

	err = device_liveupdate_walk(device_liveupdate_prepare_one, "prepare");
	if (err) {
		device_liveupdate_cancel(subsystem, data);
		return err;
	}
	if (dlu_outgoing.nr_set)
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

/* A device of the set's buses whose shutdown would have to wait, with a reference. */
static struct device *dlu_find_busy(const char **reason)
{
	const struct bus_liveupdate_ops *asked = NULL;
	struct device_liveupdate *liveupdate;
	struct device *dev;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		const struct bus_liveupdate_ops *bus = liveupdate->dev->bus->liveupdate;

		/* Devices of a bus mostly follow one another. */
		if (bus == asked || !bus->busy)
			continue;
		asked = bus;
		dev = bus->busy(reason);
		if (dev)
			return dev;
	}

	return NULL;
}

/**
 * device_liveupdate_can_freeze() - does nothing hold up the shutdown of devices?
 * @subsystem: the participant
 *
 * Context: May sleep. Lock of the state machine held.
 * Return: true if so; otherwise what does is reported.
 */
bool device_liveupdate_can_freeze(struct liveupdate_subsystem *subsystem)
{
	const char *reason = "busy";
	struct device *dev __free(put_device) = dlu_find_busy(&reason);

	if (!dev)
		return true;
	dlu_report_failure(dev, -EBUSY, reason);

	return false;
}

/**
 * device_liveupdate_freeze() - FREEZE of the participant
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. Lock of the state machine held. In the blackout.
 * Return: 0; -ENODEV if a device went away since it was prepared, or is not what it
 * was; -ETIMEDOUT; -EBUSY if something has begun that the shutdown of a device would wait
 * for; or the error of a driver or bus. Nothing is left frozen on failure.
 */
int device_liveupdate_freeze(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	int err;

	if (!dlu_outgoing.nr_set)
		return 0;
	if (READ_ONCE(dlu_outgoing.broken))
		return -ENODEV;

	err = device_liveupdate_walk(device_liveupdate_freeze_one, "freeze");
	if (!err && !device_liveupdate_can_freeze(subsystem))
		err = -EBUSY;
	if (err)
		device_liveupdate_thaw(subsystem, data);

	return err;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_freeze);

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

bool device_liveupdate_frozen(const struct device *dev)
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
 * Context: May sleep. Takes dlu_lock.
 * Return: 0; -ENOENT if the device is not preserved.
 */
int device_liveupdate_outgoing_index(struct device *dev, u32 *index)
{
	struct device_liveupdate *liveupdate = READ_ONCE(dev->liveupdate);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_outgoing_index, dev, index);

	guard(mutex)(&dlu_lock);

	if (!device_liveupdate_in_set(liveupdate) || liveupdate->path ||
	    READ_ONCE(liveupdate->phase) == DEVICE_LIVEUPDATE_LOST)
		return -ENOENT;
	*index = liveupdate->index;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_outgoing_index, "LIVEUPDATE");
