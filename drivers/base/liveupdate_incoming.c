// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Devices that the previous kernel left running
 *
 * Concept
 *   A device that was handed over runs, and may access memory on its own, before
 *   this kernel knows that it is there. Until a driver that understands what was
 *   saved has taken it over, nobody may touch it; and if nobody does, it must be
 *   quiesced before any memory it may access is used for something else.
 *
 * Lifecycle of a record
 *   1. Absent: RESTORE read the record, long before any device is probed.
 *   2. Incoming: a device of that bus and identity appeared below the device that its
 *      record names as its parent, and its bus agrees that it is the same hardware.
 *      From then on only a driver with the right compatible string and version can be
 *      bound, and only once all providers that are not on the path are reclaimed
 *      (liveupdate_provider.c): its probe is deferred until then.
 *   3. Reclaimed: the probe() of such a driver succeeded, and it retrieved the data and
 *      did not decline it. This is so before userspace is told that it is bound.
 *   4. Quarantined: the bus quiesced the device, once: at once if it is other
 *      hardware, if the record is corrupted, if probe() failed for good, or if one of its
 *      providers is quarantined or released; at FINISH
 *      if nobody took it over; when it is removed before; and in device_shutdown().
 *      It has no driver until FINISH. If the bus could not do it, the device counts as
 *      running: its memory is retained, and the bus tries again at FINISH.
 *   5. Released: it is an ordinary device again. Its driver did not retrieve the data,
 *      or was unbound.
 *
 *   FINISH calls the drivers of those that were reclaimed, quarantines those that were
 *   not, frees what was saved for all of them, and lets devices that have no driver
 *   be probed like any other, in this order. A device that has not appeared until
 *   then may still run: its memory is retained (kernel/liveupdate/luo_retained.c)
 *   until it does appear and is quarantined, before anything is probed, or until the
 *   operator says that it is gone. Before FINISH all that have not appeared are one
 *   cause, afterwards each is one. What the previous kernel knew of devices whose
 *   records did not arrive is retained, too.
 *
 *   Devices on the path of others have records, too, so that a bus knows them when it
 *   finds them, but any driver may be bound to them.
 *
 *   What appears below another parent is another device, also if it has the same name. If
 *   that one has not appeared, nor its parent, it may be the same that was moved, and is
 *   stopped, but the record stays.
 *
 *   With live update switched off, or if FINISH is over, a device is quarantined when
 *   it appears. In the first case what was saved stays reserved.
 *
 * Contexts
 *   RESTORE and DISCARD run at early_initcall, FINISH under the lock of the state
 *   machine, all others in the context of the notifiers of the bus or of a probe.
 *   &device_liveupdate.incoming and what it leads to is protected by device_lock;
 *   FINISH takes it for each device before the record goes away. So no probe may wait
 *   for a subsystem to be unregistered, which waits for FINISH. The probes after FINISH
 *   run from a work item, because FINISH is part of write(2).
 *
 *   A record lives as long as its device may lead to it or may still appear, and as
 *   long as FINISH is to come or under way.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "base.h"

/* When a device appears. */

/**
 * device_liveupdate_is_pending() - was a device handed over that is yet to appear?
 * @bus: its bus
 * @parent: what it is below, which stays
 * @id: which device, or NULL for any of the bus, wherever it is
 *
 * For a bus that writes to a device before it adds it: this one may run. If other
 * hardware is found at the same place there is no need for care; it is quarantined
 * when it is added.
 *
 * Context: May sleep. From early_initcall on.
 * Return: true if the previous kernel handed over such a device, with the same
 * fingerprint, and it was not added yet.
 */
bool device_liveupdate_is_pending(const struct bus_type *bus, const struct device *parent,
				  const struct device_liveupdate_id *id)
{
	const struct dlu_incoming_device *incoming;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_is_pending, bus, parent, id);

	if (likely(!READ_ONCE(dlu_incoming.nr_absent)))
		return false;

	guard(mutex)(&dlu_lock);

	if (!dlu_incoming.nr_absent)
		return false;
	if (id) {
		incoming = dlu_find_record(bus, parent, id);
		return incoming && incoming->state == DEVICE_LIVEUPDATE_ABSENT &&
		       !memcmp(incoming->ser.fingerprint, id->fingerprint,
			       sizeof(id->fingerprint));
	}

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		incoming = &dlu_incoming.records[i];
		if (dlu_is_absent(incoming) &&
		    !strcmp(incoming->ser.bus, bus->name))
			return true;
	}

	return false;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_is_pending, "LIVEUPDATE");

/* On success *@pending says whether FINISH will see the device. */
static struct dlu_incoming_device *
dlu_claim_record(struct device *dev,
		 const struct device_liveupdate_id *id, bool *pending)
{
	struct dlu_incoming_device *incoming;

	guard(mutex)(&dlu_lock);

	if (!dlu_incoming.nr_absent)
		return NULL;
	incoming = dlu_find_record(dev->bus, dev->parent, id);
	if (!incoming || incoming->state != DEVICE_LIVEUPDATE_ABSENT)
		return NULL;

	incoming->dev = get_device(dev);
	incoming->state = DEVICE_LIVEUPDATE_INCOMING;
	dlu_release_record(incoming);
	dlu_incoming.nr_claimed++;
	WRITE_ONCE(dlu_incoming.nr_absent, dlu_incoming.nr_absent - 1);
	dlu_retain_absent();
	*pending = dlu_incoming.pending;

	return incoming;
}

static bool dlu_same(struct device *dev,
		     const struct device_liveupdate_id *id,
		     const struct dlu_incoming_device *incoming)
{
	struct device_liveupdate_id handed;

	memcpy(handed.id, incoming->ser.id, sizeof(handed.id));
	memcpy(handed.fingerprint, incoming->ser.fingerprint,
	       sizeof(handed.fingerprint));

	return dlu_same_hardware(dev, id, &handed);
}

/* Is the nearest ancestor that was handed over the one it was below, and alive? */
static bool
dlu_same_parent(struct device *dev,
		const struct dlu_incoming_device *incoming)
{
	const struct dlu_incoming_device *above = NULL;
	const struct device *parent;

	guard(mutex)(&dlu_lock);

	for (parent = dev->parent; parent && !above; parent = parent->parent)
		above = dlu_incoming_of(parent);
	if (!incoming->ser.parent)
		return !above;
	if (above != &dlu_incoming.records[incoming->ser.parent - 1])
		return false;

	switch (above->state) {
	case DEVICE_LIVEUPDATE_INCOMING:
	case DEVICE_LIVEUPDATE_RECLAIMED:
		return true;
	case DEVICE_LIVEUPDATE_RELEASED:
		/* Whoever drives a bridge, it is one. */
		return dlu_ser_path(above);
	default:
		return false;
	}
}

static enum dlu_need
dlu_look_at_needs(const struct dlu_incoming_device *incoming)
{
	guard(mutex)(&dlu_lock);

	return dlu_needs(incoming);
}

/* Why a device cannot go on, or NULL if it can. */
static const char *
dlu_refusal(struct device *dev,
	    const struct device_liveupdate_id *id,
	    const struct dlu_incoming_device *incoming,
	    bool pending)
{
	if (!incoming->corrupted && incoming->ser.flags & DEVICE_LIVEUPDATE_SER_LOST)
		return "it went missing before the kexec";
	if (incoming->invalid)
		return "its record is corrupted";
	if (!pending)
		return "nobody is to take it over any more";
	if (!dlu_same(dev, id, incoming))
		return "it is other hardware than was handed over";
	if (!dlu_same_parent(dev, incoming))
		return "its parent is not the one it had, or not alive";
	if (dlu_look_at_needs(incoming) == DLU_GONE)
		return "what it needs was not taken over";
	if (incoming->data.size &&
	    !kho_is_restorable(incoming->data.value, incoming->data.size))
		return "what its driver saved did not arrive";

	return NULL;
}

/*
 * A device appears. May sleep. device_lock held. Returns true if the device was handed
 * over as one in its own right, and FINISH is to come.
 */
bool dlu_added(struct device *dev)
{
	struct dlu_incoming_device *incoming;
	struct device_liveupdate *liveupdate;
	struct device_liveupdate_id id;
	const char *reason;
	u64 revision;
	bool pending;
	int err;

	device_lock_assert(dev);

	revision = dlu_revision(dev);
	err = dlu_identify_device(dev, &id);
	if (err) {
		/* It may be one of those that run. */
		if (device_liveupdate_is_pending(dev->bus, NULL, NULL))
			dlu_quarantine_unknown(dev, "its bus cannot identify it");
		return false;
	}

	incoming = dlu_claim_record(dev, &id, &pending);
	if (!incoming) {
		if (unlikely(dlu_has_lookalike(dev->bus, &id)))
			dlu_quarantine_unknown(dev, "it may be one that was below another parent");
		return false;
	}

	/* It must not fall asleep while nobody drives it. */
	pm_runtime_get_noresume(dev);

	reason = dlu_refusal(dev, &id, incoming, pending);
	liveupdate = dlu_alloc(dev);
	if (liveupdate) {
		scoped_guard(mutex, &dlu_lock) {
			liveupdate->id = id;
			liveupdate->revision = revision;
			liveupdate->incoming = incoming;
			liveupdate->record = incoming - dlu_incoming.records + 1;
		}
	} else {
		/* Nothing can protect it from the wrong driver. */
		reason = "out of memory";
		pending = false;
	}

	if (reason && dlu_ser_path(incoming)) {
		dev_warn(dev, "liveupdate: not kept for the devices below it: %s\n",
			 reason);
		dlu_set_state(incoming, DEVICE_LIVEUPDATE_QUARANTINED);
		dlu_notify_bus(dev, false);
	} else if (reason) {
		dlu_quarantine(dev, incoming, reason);
	}
	if (pending)
		return !dlu_ser_path(incoming);

	/* FINISH does not see it: it is an ordinary device from here on. */
	if (dlu_may_free())
		dlu_dispose(incoming);
	dlu_detach(dev, incoming);

	return false;
}

/* When a driver is bound. */

/*
 * May this driver take the device over? Context: device_lock held. Returns 0, -ENODEV
 * or -EPROBE_DEFER, as device_liveupdate_veto().
 */
int dlu_check_retrieve(struct device *dev,
		       const struct device_driver *drv)
{
	struct dlu_incoming_device *incoming = dlu_incoming_of(dev);
	const struct dev_liveupdate_ops *ops = drv->liveupdate;
	const struct device_liveupdate_ser *ser = &incoming->ser;
	enum dlu_need need;

	device_lock_assert(dev);

	if (dlu_ser_path(incoming))
		return 0;
	if (incoming->state == DEVICE_LIVEUPDATE_QUARANTINED ||
	    incoming->state == DEVICE_LIVEUPDATE_RUNNING)
		return -ENODEV;
	if (incoming->state != DEVICE_LIVEUPDATE_INCOMING)
		return 0;
	/* What became of its parent, and what else it needs, since it appeared? */
	if (!dlu_same_parent(dev, incoming)) {
		dlu_quarantine(dev, incoming,
			       "its parent is not alive");
		return -ENODEV;
	}
	need = dlu_look_at_needs(incoming);
	if (need == DLU_GONE) {
		dlu_quarantine(dev, incoming,
			       "what it needs was not taken over");
		return -ENODEV;
	}
	if (ops && ops->compatible &&
	    !strncmp(ops->compatible, ser->compatible, sizeof(ser->compatible)) &&
	    ser->version >= ops->oldest && ser->version <= ops->version)
		return need == DLU_WAIT ? -EPROBE_DEFER : 0;

	dev_notice(dev, "liveupdate: driver %s cannot take over %s version %u\n",
		   drv->name, ser->compatible, ser->version);

	return -ENODEV;
}

/**
 * device_liveupdate_is_incoming() - does the device run since before this kernel?
 * @dev: the device
 *
 * A bus learns it from %BUS_NOTIFY_ADD_DEVICE on, before any driver is probed.
 *
 * Context: device_lock held.
 * Return: true if the previous kernel handed the device over, running, and nobody
 * took it over or quiesced it yet; or if it is on the path of such devices.
 */
bool device_liveupdate_is_incoming(struct device *dev)
{
	const struct dlu_incoming_device *incoming = dlu_incoming_of(dev);

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_is_incoming, dev);

	return incoming && incoming->state == DEVICE_LIVEUPDATE_INCOMING;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_is_incoming, "LIVEUPDATE");

/**
 * device_liveupdate_retrieve() - take over what the driver saved in the last kernel
 * @dev: the device
 * @version: on success the version of the data, between &dev_liveupdate_ops.oldest
 *	and &dev_liveupdate_ops.version
 *
 * For probe(). The device runs and is left as it is by those that take it over. If
 * probe() succeeds afterwards it is reclaimed, unless it declines, and if it fails for
 * good the device is quarantined. -EPROBE_DEFER changes nothing.
 *
 * Context: probe(), with device_lock held.
 * Return: the data, valid until the device is unbound or &dev_liveupdate_ops.finish
 * returned, of which &liveupdate_data.size bytes can be read if it is a blob; what
 * they say is for the driver to check. NULL if the device was not handed over: it
 * is set up as ever.
 */
const struct liveupdate_data *device_liveupdate_retrieve(struct device *dev,
							 u32 *version)
{
	struct dlu_incoming_device *incoming;

	device_lock_assert(dev);

	if (!device_liveupdate_is_incoming(dev))
		return NULL;
	incoming = dlu_incoming_of(dev);
	if (dlu_ser_path(incoming))
		return NULL;
	incoming->retrieved = true;
	*version = incoming->ser.version;

	return &incoming->data;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_retrieve, "LIVEUPDATE");

/**
 * device_liveupdate_decline() - do not take over what was saved after all
 * @dev: the device
 *
 * For a probe() that called device_liveupdate_retrieve(), cannot use what it got, and
 * goes on as ever: it has stopped the device and sets it up from nothing. The device is
 * not reclaimed then, what was handed over for it is freed at FINISH, and other devices
 * that need it and wait for it are quarantined.
 *
 * Context: probe(), with device_lock held.
 */
void device_liveupdate_decline(struct device *dev)
{
	device_lock_assert(dev);

	if (device_liveupdate_is_incoming(dev))
		dlu_incoming_of(dev)->retrieved = false;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_decline, "LIVEUPDATE");

/**
 * device_liveupdate_incoming_index() - which record is that of this device?
 * @dev: the device
 * @index: on success its position in the table of devices that was handed over
 *
 * For those who take something over that belongs to a device: in its probe().
 *
 * Context: device_lock held.
 * Return: 0; -ENOENT if the device was not handed over, is on the path of others, or
 * was taken over or quiesced since.
 */
int device_liveupdate_incoming_index(struct device *dev, u32 *index)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_incoming_index, dev, index);

	device_lock_assert(dev);

	if (!device_liveupdate_is_incoming(dev) ||
	    dlu_ser_path(dlu_incoming_of(dev)))
		return -ENOENT;
	*index = dlu_incoming_of(dev) - dlu_incoming.records;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_incoming_index, "LIVEUPDATE");

static bool dlu_is_above(const struct device *dev, const struct device *below)
{
	while (below && below != dev)
		below = below->parent;

	return below;
}

/**
 * device_liveupdate_provider_index() - which record is that of a device above?
 * @dev: a device that was handed over
 * @consumer: what is below it, and is being probed
 * @index: on success the position of @dev in the table of devices that was handed over
 *
 * For those who take something over that belongs to @dev on behalf of a device below
 * it, which may appear, and be probed, long after @dev was taken over, until FINISH.
 *
 * Context: May sleep. Takes dlu_lock. device_lock of @consumer held.
 * Return: 0; -ENOENT if @dev is not above @consumer, was not handed over, or has not been
 * taken over or is not any more.
 */
int device_liveupdate_provider_index(struct device *dev, struct device *consumer,
				     u32 *index)
{
	const struct dlu_incoming_device *incoming;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_provider_index, dev, consumer, index);

	device_lock_assert(consumer);

	if (!dlu_is_above(dev, consumer->parent))
		return -ENOENT;

	guard(mutex)(&dlu_lock);
	incoming = dlu_incoming_of(dev);
	if (!incoming || incoming->state != DEVICE_LIVEUPDATE_RECLAIMED ||
	    dlu_ser_path(incoming))
		return -ENOENT;
	*index = incoming - dlu_incoming.records;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_provider_index, "LIVEUPDATE");

/**
 * device_liveupdate_get_state() - what became of a device that was handed over?
 * @index: position of its record
 *
 * For the FINISH of subsystems whose memory belongs to devices and that come after
 * the subsystem "devices". What a device that is absent or running may access is
 * retained with the device; what one may access that is quarantined or released can be
 * freed.
 *
 * Context: any, in FINISH.
 * Return: what became of it; %DEVICE_LIVEUPDATE_UNKNOWN if there is no such record.
 */
enum device_liveupdate_state device_liveupdate_get_state(u32 index)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_get_state, index);

	return index < dlu_incoming.nr_states ? dlu_incoming.states[index] :
					       DEVICE_LIVEUPDATE_UNKNOWN;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_get_state, "LIVEUPDATE");

/* What became of a device that was probed? Context: device_lock held. */
void dlu_complete(struct device *dev, int ret)
{
	struct dlu_incoming_device *incoming;

	if (!device_liveupdate_is_incoming(dev))
		return;
	incoming = dlu_incoming_of(dev);
	if (dlu_ser_path(incoming)) {
		if (!ret)
			dlu_set_state(incoming,
				      DEVICE_LIVEUPDATE_RECLAIMED);
	} else if (abs(ret) == EPROBE_DEFER) {
		incoming->retrieved = false;
	} else if (ret) {
		dlu_quarantine(dev, incoming, "its probe failed");
	} else if (incoming->retrieved) {
		dev_dbg(dev, "liveupdate: reclaimed\n");
		dlu_set_state(incoming, DEVICE_LIVEUPDATE_RECLAIMED);
		dlu_notify_bus(dev, true);
		/* Those that wait for it. The core did so when it was bound, too early. */
		driver_deferred_probe_trigger();
	} else {
		dev_warn(dev, "liveupdate: its driver did not take over what was handed over\n");
		dlu_set_state(incoming, DEVICE_LIVEUPDATE_RELEASED);
		dlu_notify_bus(dev, false);
	}
}

/* The driver is about to be unbound. Context: device_lock held. */
void dlu_unbound(struct device *dev)
{
	struct dlu_incoming_device *incoming = dlu_incoming_of(dev);

	if (incoming && incoming->state == DEVICE_LIVEUPDATE_RECLAIMED)
		dlu_set_state(incoming, DEVICE_LIVEUPDATE_RELEASED);
}

/*
 * The device does not run any more. Whoever says so quiesces it. Context: device_lock
 * held.
 */
void dlu_abort_incoming(struct device *dev, const char *reason)
{
	struct dlu_incoming_device *incoming;

	if (!device_liveupdate_is_incoming(dev))
		return;
	incoming = dlu_incoming_of(dev);
	dev_warn(dev, "liveupdate: quarantined: %s\n", reason);
	/* It was only kept from memory: FINISH quarantines it. */
	dlu_set_state(incoming, dlu_ser_path(incoming) ?
		      DEVICE_LIVEUPDATE_QUARANTINED :
		      DEVICE_LIVEUPDATE_RUNNING);
}

/*
 * The device is gone, and has no driver. If nobody took it over it is quiesced: nobody
 * could do so later, and should it come back, it is as new. May sleep. Takes
 * device_lock of a device that was handed over.
 */
void dlu_removed(struct device *dev)
{
	struct dlu_incoming_device *incoming;

	/* Most devices do not even need the lock. */
	if (!dlu_of(dev))
		return;

	guard(device)(dev);

	incoming = dlu_incoming_of(dev);
	if (!incoming)
		return;

	if (incoming->state == DEVICE_LIVEUPDATE_INCOMING) {
		if (dlu_ser_path(incoming))
			dlu_notify_bus(dev, false);
		else
			dlu_quarantine(dev, incoming,
				       "it is removed");
	}
	scoped_guard(mutex, &dlu_lock)
		incoming->removed = true;
	dlu_detach(dev, incoming);
}

/*
 * All devices are about to be shut down. Quiesces what runs and nobody took over,
 * before others go. May sleep. In device_shutdown(), while no probe runs.
 */
void device_liveupdate_shutdown_begins(void)
{
	for (unsigned int i = READ_ONCE(dlu_incoming.nr_records); i--; ) {
		struct device *dev __free(put_device) = NULL;

		/* A FINISH that is still under way may free the records. */
		scoped_guard(mutex, &dlu_lock) {
			if (i < dlu_incoming.nr_records)
				dev = get_device(dlu_incoming.records[i].dev);
		}
		if (!dev)
			continue;
		guard(device)(dev);
		if (dlu_incoming_of(dev))
			dlu_shutting_down(dev);
	}
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_shutdown_begins);

/*
 * A device that was handed over is shut down. The next kernel does not know of it.
 * Context: device_lock held.
 */
void dlu_shutting_down(struct device *dev)
{
	struct dlu_incoming_device *incoming = dlu_incoming_of(dev);

	if (incoming->state == DEVICE_LIVEUPDATE_INCOMING &&
	    !dlu_ser_path(incoming))
		dlu_quarantine(dev, incoming, "the system goes down");
}
