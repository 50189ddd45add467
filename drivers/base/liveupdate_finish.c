// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The end of an update, as far as devices go
 *
 * RESTORE and DISCARD take up the records of the previous kernel, FINISH is done with
 * them, and the operator gives up what is retained. What happens to a device between
 * these is in liveupdate_incoming.c.
 *
 * Contexts
 *   RESTORE and DISCARD run at early_initcall, FINISH under the lock of the state
 *   machine. The probes after FINISH run from a work item, because FINISH is part of
 *   write(2).
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "base.h"

/* What is retained for records that did not arrive; no device is called that. */
#define DLU_LOST_RECORDS	"records"

/* Devices to be probed after FINISH. */
static LIST_HEAD(dlu_attach_list);
static DEFINE_SPINLOCK(dlu_attach_lock);

/* The transitions of the subsystem. */

static void dlu_retain_lost(void)
{
	lockdep_assert_held(&dlu_lock);

	if (!dlu_incoming.nr_lost || dlu_incoming.lost)
		return;

	pr_err("%u records did not arrive, what they lead to is retained\n",
	       dlu_incoming.nr_lost);
	dlu_incoming.lost = liveupdate_retain(&dlu_subsystem,
					      DLU_LOST_RECORDS, 0,
					      "records of devices did not arrive");
}

/*
 * The operator gives up what is retained. For an operator who knows that such a device
 * is gone: if it still runs, it does so in memory that is used for something else from
 * here on. May sleep. Takes dlu_lock. Returns 0; -EBUSY until FINISH is over; -ENOENT
 * if there is nothing of that name.
 */
int dlu_forget_retained(struct liveupdate_subsystem *subsystem,
			const char *name)
{
	char other[DLU_NAME_LEN];
	unsigned int found = 0;

	guard(mutex)(&dlu_lock);

	if (!strcmp(name, DLU_LOST_RECORDS)) {
		if (!dlu_incoming.lost)
			return -ENOENT;
		liveupdate_release(dlu_incoming.lost);
		dlu_incoming.lost = NULL;
		return 0;
	}
	if (dlu_incoming.pending || dlu_incoming.finishing)
		return -EBUSY;

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct dlu_incoming_device *incoming = &dlu_incoming.records[i];
		bool absent = dlu_is_absent(incoming);

		if (!absent && incoming->state != DEVICE_LIVEUPDATE_RUNNING)
			continue;
		dlu_print_name(incoming, other, sizeof(other));
		if (*name && strcmp(name, other))
			continue;
		if (absent) {
			WRITE_ONCE(dlu_incoming.nr_absent, dlu_incoming.nr_absent - 1);
			dlu_release_record(incoming);
		}
		__dlu_set_state(incoming, incoming->dev ?
				DEVICE_LIVEUPDATE_QUARANTINED :
				DEVICE_LIVEUPDATE_RELEASED);
		if (dlu_may_free())
			dlu_dispose(incoming);
		found++;
	}
	dlu_retain_absent();
	dlu_put_records();

	return found ? 0 : -ENOENT;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_forget_retained);

/*
 * Does no device wait for its driver any more? One waits that has not appeared, or that
 * is there and neither reclaimed nor quarantined; FINISH would retain what it has, or
 * quarantine it. May sleep. Takes dlu_lock. Lock of the state machine held. Returns
 * false if one waits, which is reported then.
 */
bool dlu_can_finish(struct liveupdate_subsystem *subsystem,
		    const struct liveupdate_data *data)
{
	char name[LIVEUPDATE_DEVICE_LEN];
	bool absent;

	guard(mutex)(&dlu_lock);
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct dlu_incoming_device *incoming = &dlu_incoming.records[i];

		absent = dlu_is_absent(incoming);
		if (dlu_ser_path(incoming) ||
		    (!absent && incoming->state != DEVICE_LIVEUPDATE_INCOMING))
			continue;
		dlu_print_name(incoming, name, sizeof(name));
		liveupdate_report_failure(&dlu_subsystem, -EBUSY, name,
					  absent ? "it has not appeared" :
					  "it waits for its driver");
		return false;
	}

	return true;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_can_finish);

/*
 * RESTORE of the subsystem. May sleep. At early_initcall. Returns 0, or the error of
 * dlu_read_table().
 */
int dlu_restore(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data)
{
	int err;

	/* No device was requested. */
	if (!data->size)
		return 0;

	err = dlu_read_table(data);
	if (err)
		return err;
	pr_info("%u were handed over\n", dlu_incoming.nr_records - dlu_incoming.nr_more);

	guard(mutex)(&dlu_lock);

	dlu_incoming.discarded = false;
	dlu_incoming.pending = true;
	dlu_retain_absent();
	dlu_retain_lost();

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_restore);

/*
 * Live update is off, but devices were handed over. May sleep. At early_initcall.
 * Returns 0, or the error of dlu_read_table().
 */
int dlu_discard(struct liveupdate_subsystem *subsystem,
		const struct liveupdate_data *data)
{
	int err;

	if (!data->size)
		return 0;

	dlu_incoming.discarded = true;
	err = dlu_read_table(data);
	dlu_forget_states();
	kho_table_close(&dlu_incoming.handed);
	if (err) {
		pr_alert("live update is off, and it is not known which devices run: %pe\n",
			 ERR_PTR(err));
		return err;
	}
	pr_warn("live update is off: %u that run are quarantined when they appear\n",
		dlu_incoming.nr_absent);

	guard(mutex)(&dlu_lock);

	dlu_retain_absent();
	dlu_retain_lost();

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_discard);

static struct device_liveupdate *dlu_attach_next(void)
{
	struct device_liveupdate *liveupdate;

	guard(spinlock)(&dlu_attach_lock);
	liveupdate = list_first_entry_or_null(&dlu_attach_list,
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

static void dlu_attach_work(struct work_struct *work)
{
	struct device_liveupdate *liveupdate;

	while ((liveupdate = dlu_attach_next())) {
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

static DECLARE_WORK(dlu_work, dlu_attach_work);

static void dlu_attach_later(struct device_liveupdate *liveupdate)
{
	guard(spinlock)(&dlu_attach_lock);
	if (list_empty(&liveupdate->attach)) {
		get_device(liveupdate->dev);
		list_add_tail(&liveupdate->attach, &dlu_attach_list);
	}
}

/* Wait until devices were probed after FINISH. May sleep. */
void dlu_flush(void)
{
	dlu_flush_consumers();
	flush_work(&dlu_work);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_flush);

static struct device *
dlu_get_device(struct dlu_incoming_device *incoming)
{
	guard(mutex)(&dlu_lock);

	return get_device(incoming->dev);
}

/* The record has served, unless its device may still appear. */
static void dlu_drop(struct dlu_incoming_device *incoming)
{
	/* FINISH has found it, or it has come since. */
	struct device *dev __free(put_device) =
		incoming->held ?: dlu_get_device(incoming);

	incoming->held = NULL;

	/* It is not known whose this is. */
	if (hlist_unhashed(&incoming->hash))
		return;

	if (dev) {
		guard(device)(dev);
		/* Unless it was removed meanwhile. */
		if (dlu_incoming_of(dev) == incoming) {
			if (dlu_ser_path(incoming))
				dlu_notify_bus(dev, false);
			dlu_dispose(incoming);
			dlu_detach(dev, incoming);
			return;
		}
	}

	guard(mutex)(&dlu_lock);
	if (incoming->state != DEVICE_LIVEUPDATE_ABSENT) {
		dlu_dispose(incoming);
	} else if (dlu_ser_path(incoming)) {
		incoming->state = DEVICE_LIVEUPDATE_RELEASED;
		WRITE_ONCE(dlu_incoming.nr_absent, dlu_incoming.nr_absent - 1);
		dlu_retain_absent();
	}
}

/*
 * What others are told of a record, whose state is final. If it is corrupted, it may
 * have been another device that was stopped; absent ones are retained all the same.
 */
static enum device_liveupdate_state
dlu_final_state(const struct dlu_incoming_device *incoming)
{
	guard(mutex)(&dlu_lock);

	if (incoming->corrupted && incoming->state != DEVICE_LIVEUPDATE_ABSENT)
		return DEVICE_LIVEUPDATE_UNKNOWN;
	/* Nothing is retained for those on the path. */
	if (dlu_ser_path(incoming) &&
	    incoming->state == DEVICE_LIVEUPDATE_ABSENT)
		return DEVICE_LIVEUPDATE_UNKNOWN;

	return incoming->state;
}

/* Returns true if the device has no driver and may get one. */
static bool dlu_finish_one(struct device *dev,
			   struct dlu_incoming_device *incoming)
{
	const struct dev_liveupdate_ops *ops;

	guard(device)(dev);

	/* Removed meanwhile. */
	if (dlu_incoming_of(dev) != incoming)
		return false;

	switch (incoming->state) {
	case DEVICE_LIVEUPDATE_RECLAIMED:
		ops = dev->driver ? dev->driver->liveupdate : NULL;
		if (!dlu_ser_path(incoming) && ops && ops->finish)
			ops->finish(dev, &incoming->data);
		break;
	case DEVICE_LIVEUPDATE_INCOMING:
		if (!dlu_ser_path(incoming))
			dlu_quarantine(dev, incoming,
				       "nobody took it over");
		break;
	case DEVICE_LIVEUPDATE_RUNNING:
		/* What needs its parent for that has its turn when all else is stopped. */
		if (dev->bus->liveupdate->quarantine)
			dlu_stop(dev, incoming);
		break;
	default:
		break;
	}
	if (dev->driver)
		return false;

	dlu_remove_group(dev);

	return (incoming->state == DEVICE_LIVEUPDATE_QUARANTINED ||
		incoming->state == DEVICE_LIVEUPDATE_RUNNING) && !dev->p->dead;
}

/* FINISH of the subsystem. May sleep. Lock of the state machine held. */
void dlu_finish(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data)
{
	struct liveupdate_items *items = &dlu_incoming.items;

	dlu_might_lock_device();

	/* From here on those that appear are quiesced at once. */
	scoped_guard(mutex, &dlu_lock) {
		dlu_incoming.pending = false;
		dlu_incoming.finishing = true;
	}

	memset(items, 0, sizeof(*items));
	for (unsigned int i = dlu_incoming.nr_records; i--; ) {
		struct dlu_incoming_device *incoming = &dlu_incoming.records[i];
		struct device *dev = dlu_get_device(incoming);

		if (!dev)
			continue;
		incoming->held = dev;
		liveupdate_item_begin(items, dev_name(dev));
		if (dlu_finish_one(dev, incoming))
			dlu_attach_later(dlu_of(dev));
		liveupdate_item_end(items, 0);
	}
	if (dlu_incoming.nr_running)
		dlu_stop_with_parents();
	liveupdate_items_record(subsystem, items);

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		dlu_incoming.states[i] = dlu_final_state(&dlu_incoming.records[i]);
		dlu_drop(&dlu_incoming.records[i]);
	}
	dlu_release_table();
	if (dlu_incoming.nr_absent)
		pr_warn("%u did not appear, what was saved for them is retained\n",
			dlu_incoming.nr_absent);

	scoped_guard(mutex, &dlu_lock) {
		dlu_incoming.finishing = false;
		dlu_retain_each();
		dlu_put_records();
	}

	/* Probes take long, and whatever else is to be done on this processor would wait. */
	queue_work(system_dfl_long_wq, &dlu_work);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_finish);
