// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Records of devices that were handed over
 *
 * What becomes of a record of the previous kernel, whose device it belongs to, and
 * what is retained on its account. The lifecycle is in liveupdate_incoming.c.
 *
 * A record lives as long as its device may lead to it or may still appear, and as
 * long as FINISH is to come or under way.
 *
 * Locks: dlu_lock protects the records and their counters. What a device leads to is
 * protected by its device_lock, too.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "base.h"

/* Is there another device of the same identity, below another parent? */
static bool dlu_has_namesake(const struct dlu_incoming_device *incoming)
{
	const struct dlu_incoming_device *other = NULL;

	if (hlist_unhashed(&incoming->hash))
		return false;
	while ((other = dlu_next_record(other, incoming->ser.bus, incoming->ser.id))) {
		if (other != incoming)
			return true;
	}

	return false;
}

/* Who operators know it by: BUS:ID, and #POSITION if there are several. dlu_lock held. */
void
dlu_print_name(const struct dlu_incoming_device *incoming,
	       char *name, size_t size)
{
	size_t len;

	lockdep_assert_held(&dlu_lock);

	len = scnprintf(name, size, "%s:%s", incoming->ser.bus, incoming->ser.id);
	if (dlu_has_namesake(incoming))
		scnprintf(name + len, size - len, "#%u",
			  (unsigned int)(incoming - dlu_incoming.records));
}

void dlu_notify_bus(struct device *dev, bool reclaimed)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	if (bus->completed)
		bus->completed(dev, reclaimed);
}

/*
 * What was discarded is not freed before the next boot. Not a question of whether live
 * update is on: it may be switched off after this kernel restored, which then finishes.
 */
bool dlu_may_free(void)
{
	return !dlu_incoming.discarded;
}

/* Has the device of a live record not appeared? dlu_lock held. */
bool
dlu_is_absent(const struct dlu_incoming_device *incoming)
{
	lockdep_assert_held(&dlu_lock);

	return !hlist_unhashed(&incoming->hash) &&
	       incoming->state == DEVICE_LIVEUPDATE_ABSENT;
}

/* Until FINISH is over, devices that have not appeared are retained together. */
void dlu_retain_absent(void)
{
	bool together = dlu_incoming.pending || dlu_incoming.finishing ||
			!dlu_may_free();

	lockdep_assert_held(&dlu_lock);

	if (dlu_incoming.nr_absent && together) {
		if (!dlu_incoming.absent)
			dlu_incoming.absent = liveupdate_retain(&dlu_subsystem,
								"", 0,
								"devices have not appeared and may run");
	} else {
		liveupdate_release(dlu_incoming.absent);
		dlu_incoming.absent = NULL;
	}
}

void dlu_release_record(struct dlu_incoming_device *incoming)
{
	liveupdate_release(incoming->retained);
	incoming->retained = NULL;
}

static void dlu_retain_record(struct dlu_incoming_device *incoming,
			      const char *reason)
{
	char name[DLU_NAME_LEN];

	if (incoming->retained)
		return;

	dlu_print_name(incoming, name, sizeof(name));
	incoming->retained = liveupdate_retain(&dlu_subsystem, name,
					       incoming->data.size, reason);
}

/* FINISH is over: each is retained for itself. */
void dlu_retain_each(void)
{
	lockdep_assert_held(&dlu_lock);

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct dlu_incoming_device *incoming = &dlu_incoming.records[i];

		if (dlu_is_absent(incoming))
			dlu_retain_record(incoming,
					  "it has not appeared and may run");
	}
	dlu_retain_absent();
}

/* What needs a device that does not go on is quarantined, but not under its lock. */
static void dlu_quarantine_consumers(struct work_struct *work);
static DECLARE_WORK(dlu_consumers_work, dlu_quarantine_consumers);

static void dlu_look_at_consumers(const struct dlu_incoming_device *incoming)
{
	lockdep_assert_held(&dlu_lock);

	/* FINISH sees to all that waits. */
	if (!dlu_incoming.pending)
		return;

	switch (incoming->state) {
	case DEVICE_LIVEUPDATE_QUARANTINED:
	case DEVICE_LIVEUPDATE_RUNNING:
	case DEVICE_LIVEUPDATE_RELEASED:
		queue_work(system_dfl_wq, &dlu_consumers_work);
		break;
	default:
		break;
	}
}

/*
 * What becomes of a device that was handed over. What could not be stopped is retained
 * for as long as that is so. May sleep. dlu_lock held.
 */
void __dlu_set_state(struct dlu_incoming_device *incoming,
		     enum device_liveupdate_state state)
{
	bool was_running = incoming->state == DEVICE_LIVEUPDATE_RUNNING;
	bool running = state == DEVICE_LIVEUPDATE_RUNNING;

	lockdep_assert_held(&dlu_lock);

	incoming->state = state;
	dlu_look_at_consumers(incoming);
	if (running && !was_running) {
		dlu_incoming.nr_running++;
		dlu_retain_record(incoming, "it could not be stopped");
	} else if (was_running && !running) {
		dlu_incoming.nr_running--;
		dlu_release_record(incoming);
	}
}

/* The same, for those that do not hold the lock. May sleep. Takes dlu_lock. */
void dlu_set_state(struct dlu_incoming_device *incoming,
		   enum device_liveupdate_state state)
{
	guard(mutex)(&dlu_lock);
	__dlu_set_state(incoming, state);
}

/* Was a device stopped together with what is above it? */
static bool dlu_stopped_above(const struct device *dev)
{
	u32 record;

	guard(mutex)(&dlu_lock);

	record = dlu_record_above(dev->parent);

	return record && record <= dlu_incoming.nr_records &&
	       dlu_incoming.records[record - 1].stopped;
}

/*
 * Stop a device, or see whether that was done together with what is above it. May sleep.
 * device_lock held. Returns 0; the error of its bus; or -EBUSY if what is above it runs.
 */
static int dlu_quiesce(struct device *dev)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	int err;

	device_lock_assert(dev);

	if (bus->quarantine) {
		/* What is above the device may sleep, and then nothing would reach it. */
		pm_runtime_get_suppliers(dev);
		if (dev->parent)
			pm_runtime_get_sync(dev->parent);
		err = bus->quarantine(dev);
		if (dev->parent)
			pm_runtime_put(dev->parent);
		pm_runtime_put_suppliers(dev);
	} else {
		err = dlu_stopped_above(dev) ? 0 : -EBUSY;
	}
	if (err)
		dev_err(dev, "liveupdate: cannot be stopped%s, what it may access is retained: %pe\n",
			bus->quarantine ? "" : " without its parent", ERR_PTR(err));

	return err;
}

/*
 * Stop a device that may have been handed over. It has no record, and its memory is
 * retained like that of any device that has not appeared. May sleep. device_lock held.
 */
void dlu_quarantine_unknown(struct device *dev, const char *reason)
{
	dev_err(dev, "liveupdate: quarantined: %s\n", reason);
	dlu_quiesce(dev);
}

/* Stop a device, or try once more. */
void dlu_stop(struct device *dev,
	      struct dlu_incoming_device *incoming)
{
	/* What forwards for others does not stop them. */
	bool forwarder = dlu_role(dev) == DEVICE_LIVEUPDATE_FORWARDER;
	int err = dlu_quiesce(dev);

	guard(mutex)(&dlu_lock);
	incoming->stopped = !err && !forwarder;
	__dlu_set_state(incoming, err ? DEVICE_LIVEUPDATE_RUNNING :
					DEVICE_LIVEUPDATE_QUARANTINED);
}

/* A device that runs because its parent does, or NULL. */
static struct device *dlu_get_running(const struct dlu_incoming_device *incoming)
{
	guard(mutex)(&dlu_lock);

	if (incoming->state != DEVICE_LIVEUPDATE_RUNNING || !incoming->dev ||
	    incoming->dev->bus->liveupdate->quarantine)
		return NULL;

	return get_device(incoming->dev);
}

/*
 * Look again at what can only be stopped with its parent. May sleep. In FINISH, when
 * all others are stopped. Takes device_lock.
 */
void dlu_stop_with_parents(void)
{
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		struct dlu_incoming_device *incoming = &dlu_incoming.records[i];
		struct device *dev __free(put_device) = dlu_get_running(incoming);

		if (!dev)
			continue;
		guard(device)(dev);
		if (dlu_incoming_of(dev) == incoming)
			dlu_stop(dev, incoming);
	}
}

/* Stop a device that nobody takes over. */
void dlu_quarantine(struct device *dev,
		    struct dlu_incoming_device *incoming,
		    const char *reason)
{
	dev_warn(dev, "liveupdate: quarantined: %s\n", reason);
	/* Nobody takes it over meanwhile. What needs it is stopped after it. */
	scoped_guard(mutex, &dlu_lock)
		incoming->state = DEVICE_LIVEUPDATE_QUARANTINED;
	dlu_stop(dev, incoming);
}

/* The next device, from *@position on, that cannot go on without what it needs. */
static struct device *dlu_next_orphan(unsigned int *position)
{
	guard(mutex)(&dlu_lock);

	while (*position < dlu_incoming.nr_records) {
		struct dlu_incoming_device *incoming =
			&dlu_incoming.records[(*position)++];

		if (incoming->state == DEVICE_LIVEUPDATE_INCOMING &&
		    !dlu_ser_path(incoming) && !incoming->invalid &&
		    dlu_needs(incoming) == DLU_GONE)
			return get_device(incoming->dev);
	}

	return NULL;
}

/* As providers come first, one round is enough. */
static void dlu_quarantine_consumers(struct work_struct *work)
{
	struct dlu_incoming_device *incoming;
	unsigned int position = 0;
	struct device *dev;

	while ((dev = dlu_next_orphan(&position))) {
		scoped_guard(device, dev) {
			incoming = dlu_incoming_of(dev);
			/* Unless it was dealt with meanwhile. */
			if (incoming && incoming->state == DEVICE_LIVEUPDATE_INCOMING)
				dlu_quarantine(dev, incoming,
					       "what it needs was not taken over");
		}
		put_device(dev);
	}
}

/* Wait until what needs a quarantined device is, too. May sleep. */
void dlu_flush_consumers(void)
{
	flush_work(&dlu_consumers_work);
}

static void dlu_put_copies(void)
{
	lockdep_assert_held(&dlu_lock);

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++)
		dlu_release_record(&dlu_incoming.records[i]);
	dlu_free_records();
	dlu_retain_absent();
}

/* Free the records when nobody can lead to them any more. */
void dlu_put_records(void)
{
	lockdep_assert_held(&dlu_lock);

	if (!dlu_incoming.pending && !dlu_incoming.finishing && !dlu_incoming.nr_absent &&
	    !dlu_incoming.nr_claimed && !dlu_incoming.nr_running)
		dlu_put_copies();
}

/* The record has no device any more, and may be gone on return. */
void dlu_detach(struct device *dev,
		struct dlu_incoming_device *incoming)
{
	device_lock_assert(dev);

	scoped_guard(mutex, &dlu_lock) {
		if (dlu_of(dev))
			dlu_of(dev)->incoming = NULL;
		incoming->dev = NULL;
		/* Who drives it next does not change what it may access. */
		if (incoming->state != DEVICE_LIVEUPDATE_RUNNING)
			__dlu_set_state(incoming,
					DEVICE_LIVEUPDATE_RELEASED);
		dlu_incoming.nr_claimed--;
		dlu_put_records();
	}
	pm_runtime_put(dev);
	put_device(dev);
}

/* Free what the driver saved, unless the device may use it. */
void dlu_dispose(struct dlu_incoming_device *incoming)
{
	if (incoming->state == DEVICE_LIVEUPDATE_RUNNING)
		return;
	kho_discard(incoming->data.value, incoming->data.size);
	incoming->data = (struct liveupdate_data){};
}

/* Drop all records. May sleep. No device leads to a record. */
void dlu_forget(void)
{
	dlu_forget_states();
	kho_table_close(&dlu_incoming.handed);

	guard(mutex)(&dlu_lock);
	dlu_put_copies();
}
EXPORT_SYMBOL_IF_KUNIT(dlu_forget);
