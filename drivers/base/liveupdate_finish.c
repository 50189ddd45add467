// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The end of an update, as far as devices go
 *
 * RESTORE and ABANDON take up the records of the previous kernel, FINISH is done with
 * them, and the operator gives up what is retained. What happens to a device between
 * these is in liveupdate_incoming.c.
 *
 * Contexts
 *   RESTORE and ABANDON run at early_initcall, FINISH under the lock of the state
 *   machine. The probes after FINISH run from a work item, because FINISH is part of
 *   write(2).
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "base.h"

/* What is retained for records that did not arrive; no device is called that. */
#define DEVICE_LIVEUPDATE_LOST_RECORDS	"records"

/* Devices to be probed after FINISH. */
static LIST_HEAD(device_liveupdate_attach_list);
static DEFINE_SPINLOCK(device_liveupdate_attach_lock);

/* The steps of the participant. */

static void device_liveupdate_retain_lost(void)
{
	lockdep_assert_held(&dlu_lock);

	if (!dlu_incoming.nr_lost || dlu_incoming.lost)
		return;

	pr_err("%u records did not arrive, what they lead to is retained\n",
	       dlu_incoming.nr_lost);
	dlu_incoming.lost = liveupdate_retain(&device_liveupdate_subsystem,
					      DEVICE_LIVEUPDATE_LOST_RECORDS, 0,
					      "records of devices did not arrive");
}

/**
 * device_liveupdate_forget_retained() - the operator gives up what is retained
 * @subsystem: the participant
 * @name: BUS:ID of a device that has not appeared or could not be stopped, with
 *	#POSITION if several are called so; empty for all of them
 *
 * For an operator who knows that such a device is gone: if it still runs, it does so in
 * memory that is used for something else from here on.
 *
 * Context: May sleep. Takes dlu_lock.
 * Return: 0; -EBUSY until FINISH is over; -ENOENT if there is nothing of that name.
 */
int device_liveupdate_forget_retained(struct liveupdate_subsystem *subsystem,
				      const char *name)
{
	char other[DLU_NAME_LEN];
	unsigned int found = 0;

	guard(mutex)(&dlu_lock);

	if (!strcmp(name, DEVICE_LIVEUPDATE_LOST_RECORDS)) {
		if (!dlu_incoming.lost)
			return -ENOENT;
		liveupdate_release(dlu_incoming.lost);
		dlu_incoming.lost = NULL;
		return 0;
	}
	if (dlu_incoming.awaiting || dlu_incoming.finishing)
		return -EBUSY;

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct device_liveupdate_incoming *incoming = &dlu_incoming.records[i];
		bool absent = device_liveupdate_is_absent(incoming);

		if (!absent && incoming->fate != DEVICE_LIVEUPDATE_RUNNING)
			continue;
		device_liveupdate_print_name(incoming, other, sizeof(other));
		if (*name && strcmp(name, other))
			continue;
		if (absent) {
			WRITE_ONCE(dlu_incoming.nr_absent, dlu_incoming.nr_absent - 1);
			device_liveupdate_release_record(incoming);
		}
		__device_liveupdate_set_fate(incoming, incoming->dev ?
					     DEVICE_LIVEUPDATE_QUARANTINED :
					     DEVICE_LIVEUPDATE_RELEASED);
		if (device_liveupdate_may_free())
			device_liveupdate_dispose(incoming);
		found++;
	}
	device_liveupdate_retain_absent();
	device_liveupdate_put_records();

	return found ? 0 : -ENOENT;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_forget_retained);

/**
 * device_liveupdate_can_finish() - does no device wait for its driver any more?
 * @subsystem: the participant
 * @data: its data
 *
 * One waits that has not appeared, or that is there and not reclaimed; FINISH would
 * retain what it has, or quarantine it.
 *
 * Context: May sleep. Takes dlu_lock. Lock of the state machine held.
 * Return: false if one waits, which is reported then.
 */
bool device_liveupdate_can_finish(struct liveupdate_subsystem *subsystem,
				  const struct liveupdate_data *data)
{
	char name[LIVEUPDATE_DEVICE_LEN];
	bool absent;

	guard(mutex)(&dlu_lock);
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct device_liveupdate_incoming *incoming = &dlu_incoming.records[i];

		absent = device_liveupdate_is_absent(incoming);
		if (device_liveupdate_ser_path(incoming) ||
		    (!absent && incoming->fate != DEVICE_LIVEUPDATE_INHERITED))
			continue;
		device_liveupdate_print_name(incoming, name, sizeof(name));
		liveupdate_report_failure(&device_liveupdate_subsystem, -EBUSY, name,
					  absent ? "it has not appeared" :
					  "it waits for its driver");
		return false;
	}

	return true;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_can_finish);

/**
 * device_liveupdate_restore() - RESTORE of the participant
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. At early_initcall.
 * Return: 0, or the error of device_liveupdate_read_table().
 */
int device_liveupdate_restore(struct liveupdate_subsystem *subsystem,
			      struct liveupdate_data *data)
{
	int err;

	/* No device was requested. */
	if (!data->size)
		return 0;

	err = device_liveupdate_read_table(data);
	if (err)
		return err;
	pr_info("%u were handed over\n", dlu_incoming.nr_records - dlu_incoming.nr_more);

	guard(mutex)(&dlu_lock);

	dlu_incoming.abandoned = false;
	dlu_incoming.awaiting = true;
	device_liveupdate_retain_absent();
	device_liveupdate_retain_lost();

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_restore);

/**
 * device_liveupdate_abandon() - live update is off, but devices were handed over
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. At early_initcall.
 * Return: 0, or the error of device_liveupdate_read_table().
 */
int device_liveupdate_abandon(struct liveupdate_subsystem *subsystem,
			      const struct liveupdate_data *data)
{
	int err;

	if (!data->size)
		return 0;

	dlu_incoming.abandoned = true;
	err = device_liveupdate_read_table(data);
	dlu_forget_fates();
	kho_table_close(&dlu_incoming.handed);
	if (err) {
		pr_alert("live update is off, and it is not known which devices run: %pe\n",
			 ERR_PTR(err));
		return err;
	}
	pr_warn("live update is off: %u that run are quarantined when they appear\n",
		dlu_incoming.nr_absent);

	guard(mutex)(&dlu_lock);

	device_liveupdate_retain_absent();
	device_liveupdate_retain_lost();

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_abandon);

static struct device_liveupdate *device_liveupdate_attach_next(void)
{
	struct device_liveupdate *liveupdate;

	guard(spinlock)(&device_liveupdate_attach_lock);
	liveupdate = list_first_entry_or_null(&device_liveupdate_attach_list,
					      struct device_liveupdate, attach);
	if (liveupdate)
		list_del_init(&liveupdate->attach);

	return liveupdate;
}

/* It may be moved or removed at any time. */
static struct device *dlu_get_parent(struct device *dev)
{
	guard(device)(dev);

	return dev->p->dead ? NULL : get_device(dev->parent);
}

static void device_liveupdate_attach_work(struct work_struct *work)
{
	struct device_liveupdate *liveupdate;

	while ((liveupdate = device_liveupdate_attach_next())) {
		struct device *dev = liveupdate->dev;
		struct device *parent __free(put_device) = dlu_get_parent(dev);
		bool lock_parent = parent && dev->type && dev->type->need_parent_lock;

		if (lock_parent)
			device_lock(parent);
		device_initial_probe(dev);
		if (lock_parent)
			device_unlock(parent);
		put_device(dev);
	}
}

static DECLARE_WORK(device_liveupdate_work, device_liveupdate_attach_work);

static void device_liveupdate_attach_later(struct device_liveupdate *liveupdate)
{
	guard(spinlock)(&device_liveupdate_attach_lock);
	if (list_empty(&liveupdate->attach)) {
		get_device(liveupdate->dev);
		list_add_tail(&liveupdate->attach, &device_liveupdate_attach_list);
	}
}

/**
 * device_liveupdate_flush() - wait until devices were probed after FINISH
 *
 * Context: May sleep.
 */
void device_liveupdate_flush(void)
{
	dlu_flush_consumers();
	flush_work(&device_liveupdate_work);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_flush);

static struct device *
device_liveupdate_get_device(struct device_liveupdate_incoming *incoming)
{
	guard(mutex)(&dlu_lock);

	return get_device(incoming->dev);
}

/* The record has served, unless its device may still appear. */
static void device_liveupdate_drop(struct device_liveupdate_incoming *incoming)
{
	struct device *dev __free(put_device) =
		device_liveupdate_get_device(incoming);

	/* It is not known whose this is. */
	if (hlist_unhashed(&incoming->hash))
		return;

	if (dev) {
		guard(device)(dev);
		/* Unless it was removed meanwhile. */
		if (dev->liveupdate && dev->liveupdate->incoming == incoming) {
			if (device_liveupdate_ser_path(incoming))
				device_liveupdate_tell_bus(dev, false);
			device_liveupdate_dispose(incoming);
			device_liveupdate_detach(dev, incoming);
			return;
		}
	}

	guard(mutex)(&dlu_lock);
	if (incoming->fate != DEVICE_LIVEUPDATE_ABSENT) {
		device_liveupdate_dispose(incoming);
	} else if (device_liveupdate_ser_path(incoming)) {
		incoming->fate = DEVICE_LIVEUPDATE_RELEASED;
		WRITE_ONCE(dlu_incoming.nr_absent, dlu_incoming.nr_absent - 1);
		device_liveupdate_retain_absent();
	}
}

/*
 * What others are told of a record, whose fate is final. If it is corrupted, it may have
 * been another device that was stopped; absent ones are retained all the same.
 */
static enum device_liveupdate_fate
dlu_final_fate(const struct device_liveupdate_incoming *incoming)
{
	guard(mutex)(&dlu_lock);

	if (incoming->corrupted && incoming->fate != DEVICE_LIVEUPDATE_ABSENT)
		return DEVICE_LIVEUPDATE_UNKNOWN;
	/* Nothing is retained for those on the path. */
	if (device_liveupdate_ser_path(incoming) &&
	    incoming->fate == DEVICE_LIVEUPDATE_ABSENT)
		return DEVICE_LIVEUPDATE_UNKNOWN;

	return incoming->fate;
}

/* Returns true if the device has no driver and may get one. */
static bool device_liveupdate_finish_one(struct device *dev,
					 struct device_liveupdate_incoming *incoming)
{
	const struct dev_liveupdate_ops *ops;

	guard(device)(dev);

	/* Removed meanwhile. */
	if (!dev->liveupdate || dev->liveupdate->incoming != incoming)
		return false;

	switch (incoming->fate) {
	case DEVICE_LIVEUPDATE_RECLAIMED:
		ops = dev->driver ? dev->driver->liveupdate : NULL;
		if (!device_liveupdate_ser_path(incoming) && ops && ops->finish)
			ops->finish(dev, &incoming->data);
		break;
	case DEVICE_LIVEUPDATE_INHERITED:
		if (!device_liveupdate_ser_path(incoming))
			device_liveupdate_quarantine(dev, incoming,
						     "nobody took it over");
		break;
	case DEVICE_LIVEUPDATE_RUNNING:
		/* What needs its parent for that has its turn when all else is stopped. */
		if (dev->bus->liveupdate->quarantine)
			device_liveupdate_stop(dev, incoming);
		break;
	default:
		break;
	}
	if (dev->driver)
		return false;

	device_liveupdate_remove_group(dev);

	return (incoming->fate == DEVICE_LIVEUPDATE_QUARANTINED ||
		incoming->fate == DEVICE_LIVEUPDATE_RUNNING) && !dev->p->dead;
}

/**
 * device_liveupdate_finish() - FINISH of the participant
 * @subsystem: the participant
 * @data: its data
 *
 * Context: May sleep. Lock of the state machine held.
 */
void device_liveupdate_finish(struct liveupdate_subsystem *subsystem,
			      struct liveupdate_data *data)
{
	struct liveupdate_parts *parts = &dlu_incoming.parts;

	/* From here on those that appear are made harmless at once. */
	scoped_guard(mutex, &dlu_lock) {
		dlu_incoming.awaiting = false;
		dlu_incoming.finishing = true;
	}

	memset(parts, 0, sizeof(*parts));
	for (unsigned int i = dlu_incoming.nr_records; i--; ) {
		struct device_liveupdate_incoming *incoming = &dlu_incoming.records[i];
		struct device *dev __free(put_device) =
			device_liveupdate_get_device(incoming);

		if (!dev)
			continue;
		liveupdate_part_begin(parts, dev_name(dev));
		if (device_liveupdate_finish_one(dev, incoming))
			device_liveupdate_attach_later(dev->liveupdate);
		liveupdate_part_end(parts, 0);
	}
	dlu_stop_with_parents();
	liveupdate_parts_record(subsystem, parts);

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		dlu_incoming.fates[i] = dlu_final_fate(&dlu_incoming.records[i]);
		device_liveupdate_drop(&dlu_incoming.records[i]);
	}
	device_liveupdate_release_table();
	if (dlu_incoming.nr_absent)
		pr_warn("%u did not appear, what was saved for them is retained\n",
			dlu_incoming.nr_absent);

	scoped_guard(mutex, &dlu_lock) {
		dlu_incoming.finishing = false;
		device_liveupdate_retain_each();
		device_liveupdate_put_records();
	}

	/* Probes take long, and whatever else is to be done on this processor would wait. */
	queue_work(system_dfl_long_wq, &device_liveupdate_work);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_finish);
