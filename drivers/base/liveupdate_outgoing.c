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
 *   neither the transitions nor a loss thaw or cancel it from there on. A device that is
 *   lost then is stopped by its bus, and all that was handed over for it stays so: its
 *   record says that it went missing, and the next kernel quarantines it before anything
 *   is freed.
 *
 * Contexts
 *   The transitions run one at a time, under the lock of the state machine. Losses come
 *   from buses and from those who unbind or remove a device, at any time.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

/* The transitions, for one device. A forwarder has no driver, as far as they go. */

static enum device_liveupdate_role
dlu_role_in_set(const struct device_liveupdate *liveupdate)
{
	return liveupdate->path ? DEVICE_LIVEUPDATE_FORWARDER : DEVICE_LIVEUPDATE_ENDPOINT;
}

static int dlu_prepare_driver(struct device_liveupdate *liveupdate)
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

static int dlu_prepare_one(struct device_liveupdate *liveupdate,
			   const char **reason)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus;
	int err = 0;

	guard(device)(dev);
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DLU_IDLE || dev->p->dead)
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
		err = dlu_prepare_driver(liveupdate);
	else if (bus->prepare)
		err = bus->prepare(dev, DEVICE_LIVEUPDATE_FORWARDER);
	if (!err)
		WRITE_ONCE(liveupdate->phase, DLU_PREPARED);

	return err;
}

static void __dlu_cancel(struct device_liveupdate *liveupdate)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	lockdep_assert_held(&liveupdate->lock);

	if (bus->cancel)
		bus->cancel(dev, dlu_role_in_set(liveupdate));
	if (liveupdate->ops && liveupdate->ops->cancel)
		liveupdate->ops->cancel(dev, &liveupdate->data);
	liveupdate_data_free(&liveupdate->data);
	dlu_let_sleep(liveupdate);
}

static void dlu_cancel_one(struct device_liveupdate *liveupdate)
{
	guard(device)(liveupdate->dev);
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DLU_PREPARED || liveupdate->passed)
		return;
	__dlu_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DLU_IDLE);
}

static int dlu_freeze_one(struct device_liveupdate *liveupdate,
			  const char **reason)
{
	const struct dev_liveupdate_ops *ops = liveupdate->ops;
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus;
	int err;

	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DLU_PREPARED)
		return -ENODEV;
	/* The next kernel would take it for another one, if a window was moved meanwhile. */
	if (dlu_revision(dev) != liveupdate->revision) {
		*reason = "it is not what it was when it was prepared";
		return -ENODEV;
	}

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
	WRITE_ONCE(liveupdate->phase, DLU_FROZEN);

	return 0;
}

static void __dlu_thaw(struct device_liveupdate *liveupdate)
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

static void dlu_thaw_one(struct device_liveupdate *liveupdate)
{
	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DLU_FROZEN || liveupdate->passed)
		return;
	__dlu_thaw(liveupdate);
	WRITE_ONCE(liveupdate->phase, DLU_PREPARED);
}

/*
 * Device_shutdown() leaves a device as it is. May sleep. device_lock held. Takes
 * &device_liveupdate.lock. Returns true if the device is frozen: from here on it stays
 * so. False if it went missing meanwhile.
 */
bool dlu_pass(struct device *dev)
{
	struct device_liveupdate *liveupdate = dlu_of(dev);

	guard(mutex)(&liveupdate->lock);

	if (liveupdate->phase != DLU_FROZEN)
		return false;
	liveupdate->passed = true;

	return true;
}

/*
 * It is too late to give the device back to its driver. All that was prepared for it is
 * left to the next kernel.
 */
static void dlu_abort_passed(struct device_liveupdate *liveupdate, const char *reason)
{
	struct device *dev = liveupdate->dev;
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	lockdep_assert_held(&liveupdate->lock);

	if (!liveupdate->path && bus->stop)
		bus->stop(dev);
	WRITE_ONCE(liveupdate->phase, DLU_LOST);
	dlu_write_lost(liveupdate);
	dev_err(dev, "liveupdate: lost after it was passed by the shutdown, the next kernel quarantines it: %s\n",
		reason);
}

/*
 * A device of the set is lost. It is cancelled before that goes on, the rest when
 * whoever holds what locks is gone.
 */
void dlu_abort_outgoing(struct device *dev, const char *reason)
{
	struct device_liveupdate *liveupdate = dlu_of(dev);

	if (!liveupdate || !READ_ONCE(dlu_outgoing.closed))
		return;

	/* Held until the end, so that it ends before the set is opened. */
	guard(mutex)(&liveupdate->lock);

	scoped_guard(mutex, &dlu_lock) {
		if (!dlu_in_set(liveupdate) ||
		    liveupdate->phase == DLU_LOST)
			return;
		dlu_outgoing.invalid = true;
	}
	if (liveupdate->passed) {
		dlu_abort_passed(liveupdate, reason);
		return;
	}
	if (liveupdate->phase == DLU_FROZEN)
		__dlu_thaw(liveupdate);
	if (liveupdate->phase != DLU_IDLE)
		__dlu_cancel(liveupdate);
	WRITE_ONCE(liveupdate->phase, DLU_LOST);

	/* If it is too late to stop the kexec, nobody must take it over. */
	dlu_write_lost(liveupdate);

	dlu_invalidate(dev, -ENODEV, reason);
}

/*
 * A device is about to be removed or unbound. May sleep. device_lock held, or the
 * device goes away.
 */
void dlu_lost(struct device *dev)
{
	dlu_abort_outgoing(dev, "it was removed or unbound while prepared");
}

/* The transitions of the subsystem. */

/* Call @one for the whole set, providers first. */
static void dlu_undo(void (*one)(struct device_liveupdate *liveupdate))
{
	struct liveupdate_items *items = &dlu_outgoing.items;
	struct device_liveupdate *liveupdate;

	memset(items, 0, sizeof(*items));
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		liveupdate_item_begin(items, dev_name(liveupdate->dev));
		one(liveupdate);
		liveupdate_item_end(items, 0);
	}
	liveupdate_items_record(&dlu_subsystem, items);
}

/* Call @one for the whole set, consumers first, until one fails. */
static int dlu_walk(int (*one)(struct device_liveupdate *liveupdate,
			       const char **reason),
		    const char *transition)
{
	struct liveupdate_items *items = &dlu_outgoing.items;
	struct device_liveupdate *liveupdate;
	int err = 0;

	memset(items, 0, sizeof(*items));
	list_for_each_entry_reverse(liveupdate, &dlu_outgoing.set, member) {
		const char *reason = "refused by its driver or bus";

		liveupdate_item_begin(items, dev_name(liveupdate->dev));
		err = liveupdate_item_end(items, one(liveupdate, &reason));
		if (!err)
			continue;
		/* A lost one was reported, and its bus may be gone. */
		if (READ_ONCE(liveupdate->phase) != DLU_LOST)
			dlu_fail(liveupdate->dev, transition, err,
				 err == -ETIMEDOUT ? "too late" : reason);
		break;
	}
	liveupdate_items_record(&dlu_subsystem, items);

	return err ?: READ_ONCE(dlu_outgoing.invalid) ? -ENODEV : 0;
}

/* CANCEL of the subsystem. May sleep. Lock of the state machine held. */
void dlu_cancel(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data)
{
	dlu_might_lock_device();
	dlu_undo(dlu_cancel_one);
	dlu_open();
	dlu_free_table(data);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_cancel);

/*
 * PREPARE of the subsystem. May sleep. Lock of the state machine held. Returns 0;
 * -EOPNOTSUPP or -EINVAL if a device that is needed does not support live update, or is
 * out of order; -EBUSY if a device below a preserved one is not requested; -EEXIST if
 * two devices have the same identity; -ENODEV if a device went away; -ETIMEDOUT; -E2BIG
 * if there are too many devices; -ENOMEM; or the error of a driver or bus. Nothing is
 * left prepared on failure.
 */
int dlu_prepare(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data)
{
	int err;

	dlu_might_lock_device();
	dlu_forget_states();
	err = dlu_close();
	if (!err && dlu_outgoing.nr_set)
		err = dlu_alloc_table(data);
	if (err)
		goto err_open;

	err = dlu_walk(dlu_prepare_one, "prepare");
	if (err) {
		dlu_cancel(subsystem, data);
		return err;
	}
	if (dlu_outgoing.nr_set)
		dlu_write_table();

	return 0;

err_open:
	dlu_open();

	return err;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_prepare);

/* THAW of the subsystem. May sleep. Lock of the state machine held. */
void dlu_thaw(struct liveupdate_subsystem *subsystem,
	      struct liveupdate_data *data)
{
	dlu_undo(dlu_thaw_one);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_thaw);

/* A device of the set's buses whose shutdown would have to wait, with a reference. */
static struct device *dlu_find_busy(const char **reason)
{
	const struct bus_liveupdate_ops *asked = NULL;
	struct device_liveupdate *liveupdate;
	struct device *dev;

	if (!dlu_outgoing.may_be_busy)
		return NULL;

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

/*
 * Does nothing hold up the shutdown of devices? May sleep. Lock of the state machine
 * held. Returns true if so; otherwise what does is reported.
 */
bool dlu_can_freeze(struct liveupdate_subsystem *subsystem)
{
	const char *reason = "busy";
	struct device *dev __free(put_device) = dlu_find_busy(&reason);

	if (!dev)
		return true;
	dlu_report_failure(dev, -EBUSY, reason);

	return false;
}

/*
 * FREEZE of the subsystem. May sleep. Lock of the state machine held. In the blackout.
 * Returns 0; -ENODEV if a device went away since it was prepared, or is not what it
 * was; -ETIMEDOUT; -EBUSY if something has begun that the shutdown of a device would
 * wait for; or the error of a driver or bus. Nothing is left frozen on failure.
 */
int dlu_freeze(struct liveupdate_subsystem *subsystem,
	       struct liveupdate_data *data)
{
	int err;

	if (!dlu_outgoing.nr_set)
		return 0;
	if (READ_ONCE(dlu_outgoing.invalid))
		return -ENODEV;

	err = dlu_walk(dlu_freeze_one, "freeze");
	if (!err && !dlu_can_freeze(subsystem))
		err = -EBUSY;
	if (err)
		dlu_thaw(subsystem, data);

	return err;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_freeze);

/**
 * device_liveupdate_check_change() - may userspace change what drives the device?
 * @dev: the device
 *
 * Whoever gets past this while PREPARE reaches the device breaks the set.
 *
 * Context: any.
 * Return: 0, or -EBUSY if the device is prepared for a live update.
 */
int device_liveupdate_check_change(struct device *dev)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_check_change, dev);

	if (!liveupdate)
		return 0;
	switch (READ_ONCE(liveupdate->phase)) {
	case DLU_PREPARED:
	case DLU_FROZEN:
		return -EBUSY;
	default:
		return 0;
	}
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_check_change, "LIVEUPDATE");

bool dlu_frozen(const struct device *dev)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	return liveupdate &&
	       READ_ONCE(liveupdate->phase) == DLU_FROZEN;
}

/**
 * device_liveupdate_on_path() - does a preserved device need this one alive?
 * @dev: the device
 *
 * Context: any.
 * Return: true if the device is kept alive over the kexec under way for the sake of
 * others, and not preserved itself.
 */
bool device_liveupdate_on_path(struct device *dev)
{
	return dlu_frozen(dev) && dlu_of(dev)->path;
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
	struct device_liveupdate *liveupdate = dlu_of(dev);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_outgoing_index, dev, index);

	guard(mutex)(&dlu_lock);

	if (!dlu_in_set(liveupdate) || liveupdate->path ||
	    READ_ONCE(liveupdate->phase) == DLU_LOST)
		return -ENOENT;
	*index = liveupdate->index;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_outgoing_index, "LIVEUPDATE");
