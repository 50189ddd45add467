// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Devices that the previous kernel left running
 *
 * Concept
 *   A device that was handed over runs, and may access memory on its own, before
 *   this kernel knows that it is there. Until a driver that understands what was
 *   saved has taken it over, nobody may touch it; and if nobody does, it must be
 *   made harmless before any memory it may access is used for something else.
 *
 * Lifecycle of a record
 *   1. Absent: RESTORE read the record, long before any device is probed.
 *   2. Inherited: a device of that bus and identity appeared, and its bus agrees
 *      that it is the same hardware below the same parent. From then on only a
 *      driver with the right compatible string and version can be bound.
 *   3. Reclaimed: the probe() of such a driver succeeded, and it asked for the data.
 *   4. Quarantined: the bus made the device harmless, once: at once if it is other
 *      hardware, if the record is damaged, or if probe() failed for good; at FINISH
 *      if nobody took it over; when it is removed before; and in device_shutdown().
 *      It has no driver until FINISH. If the bus could not do it, it tries again at
 *      FINISH, and otherwise the memory of the device is retained.
 *   5. Released: it is an ordinary device again. Its driver did not ask for the data,
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
 *   With live update switched off, or if FINISH is over, a device is quarantined when
 *   it appears. In the first case what was saved stays reserved.
 *
 * Contexts
 *   RESTORE and ABANDON run at early_initcall, FINISH under the lock of the state
 *   machine, all others in the context of the notifiers of the bus or of a probe.
 *   &device_liveupdate.incoming and what it leads to is protected by device_lock;
 *   FINISH takes it for each device before the record goes away. So no probe may wait
 *   for a participant to register, which waits for FINISH. The probes after FINISH
 *   run from a work item, because FINISH is part of write(2).
 *
 *   A record lives as long as its device may lead to it or may still appear, and as
 *   long as FINISH is to come or under way.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
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

/* What is retained for records that did not arrive; no device is called that. */
#define DEVICE_LIVEUPDATE_LOST_RECORDS	"records"

/* Devices to be probed after FINISH. */
static LIST_HEAD(device_liveupdate_attach_list);
static DEFINE_SPINLOCK(device_liveupdate_attach_lock);

static void device_liveupdate_set_fate(struct device_liveupdate_incoming *incoming,
				       enum device_liveupdate_fate fate)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	guard(mutex)(&layer->lock);
	incoming->fate = fate;
}

/* Who operators know it by. */
static void
device_liveupdate_print_name(const struct device_liveupdate_incoming *incoming,
			     char *name, size_t size)
{
	snprintf(name, size, "%s:%s", incoming->ser.bus, incoming->ser.id);
}

static void device_liveupdate_tell_bus(struct device *dev, bool reclaimed)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;

	if (bus->settled)
		bus->settled(dev, reclaimed);
}

/* With live update switched off, nothing is freed before the next boot. */
VISIBLE_IF_KUNIT bool device_liveupdate_may_free(void)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_may_free);

	return liveupdate_enabled();
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_may_free);

/* Has the device of a live record not appeared? &device_liveupdate_layer.lock held. */
static bool
device_liveupdate_is_absent(const struct device_liveupdate_incoming *incoming)
{
	lockdep_assert_held(&device_liveupdate_layer.lock);

	return !hlist_unhashed(&incoming->hash) &&
	       incoming->fate == DEVICE_LIVEUPDATE_ABSENT;
}

/* Until FINISH is over, devices that have not appeared are retained together. */
static void device_liveupdate_retain_absent(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	bool together = layer->awaiting || layer->finishing ||
			!device_liveupdate_may_free();

	lockdep_assert_held(&layer->lock);

	if (layer->nr_absent && together) {
		if (!layer->absent)
			layer->absent = liveupdate_retain(&device_liveupdate_subsystem,
							  "", 0,
							  "devices have not appeared and may run");
	} else {
		liveupdate_release(layer->absent);
		layer->absent = NULL;
	}
}

static void device_liveupdate_release_record(struct device_liveupdate_incoming *incoming)
{
	liveupdate_release(incoming->retained);
	incoming->retained = NULL;
}

static void device_liveupdate_retain_record(struct device_liveupdate_incoming *incoming,
					    const char *reason)
{
	char name[DEVICE_LIVEUPDATE_BUS_LEN + DEVICE_LIVEUPDATE_ID_LEN];

	if (incoming->retained)
		return;

	device_liveupdate_print_name(incoming, name, sizeof(name));
	incoming->retained = liveupdate_retain(&device_liveupdate_subsystem, name,
					       incoming->data.size, reason);
}

/* FINISH is over: each is retained for itself. */
static void device_liveupdate_retain_each(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		struct device_liveupdate_incoming *incoming = &layer->incoming[i];

		if (device_liveupdate_is_absent(incoming))
			device_liveupdate_retain_record(incoming,
							"it has not appeared and may run");
	}
	device_liveupdate_retain_absent();
}

/* Could the device be stopped? */
static void device_liveupdate_set_running(struct device_liveupdate_incoming *incoming,
					  bool running)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	if (incoming->running == running)
		return;

	incoming->running = running;
	if (running) {
		layer->nr_running++;
		device_liveupdate_retain_record(incoming, "it could not be stopped");
	} else {
		layer->nr_running--;
		device_liveupdate_release_record(incoming);
	}
}

/* Make a device harmless, once more if that failed. */
static void device_liveupdate_stop(struct device *dev,
				   struct device_liveupdate_incoming *incoming)
{
	int err;

	device_lock_assert(dev);

	err = dev->bus->liveupdate->quarantine(dev);
	if (err)
		dev_err(dev, "liveupdate: cannot be stopped, what it may access is retained: %pe\n",
			ERR_PTR(err));

	guard(mutex)(&device_liveupdate_layer.lock);
	device_liveupdate_set_running(incoming, err);
}

/* Make a device harmless that nobody takes over. */
static void device_liveupdate_quarantine(struct device *dev,
					 struct device_liveupdate_incoming *incoming,
					 const char *reason)
{
	dev_warn(dev, "liveupdate: quarantined: %s\n", reason);
	device_liveupdate_set_fate(incoming, DEVICE_LIVEUPDATE_QUARANTINED);
	device_liveupdate_stop(dev, incoming);
}

static void device_liveupdate_free_records(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	for (unsigned int i = 0; i < layer->nr_incoming; i++)
		device_liveupdate_release_record(&layer->incoming[i]);
	kvfree(layer->incoming);
	kvfree(layer->buckets);
	layer->incoming = NULL;
	layer->buckets = NULL;
	layer->nr_incoming = 0;
	layer->nr_lost = 0;
	layer->nr_running = 0;
	WRITE_ONCE(layer->nr_absent, 0);
	device_liveupdate_retain_absent();
}

/* Free the records when nobody can lead to them any more. */
static void device_liveupdate_put_records(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	if (!layer->awaiting && !layer->finishing && !layer->nr_absent &&
	    !layer->nr_claimed && !layer->nr_running)
		device_liveupdate_free_records();
}

/* The record has no device any more, and may be gone on return. */
static void device_liveupdate_detach(struct device *dev,
				     struct device_liveupdate_incoming *incoming)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	device_lock_assert(dev);

	scoped_guard(mutex, &layer->lock) {
		if (dev->liveupdate)
			dev->liveupdate->incoming = NULL;
		incoming->dev = NULL;
		incoming->fate = DEVICE_LIVEUPDATE_RELEASED;
		layer->nr_claimed--;
		device_liveupdate_put_records();
	}
	pm_runtime_put(dev);
	put_device(dev);
}

/* Free what the driver saved, unless the device may use it. */
static void device_liveupdate_dispose(struct device_liveupdate_incoming *incoming)
{
	if (incoming->running)
		return;
	if (incoming->data.size &&
	    kho_is_restorable(incoming->data.value, incoming->data.size))
		kho_restore_free(phys_to_virt(incoming->data.value));
	incoming->data = (struct liveupdate_data){};
}

/* When a device appears. */

/**
 * device_liveupdate_awaited() - was a device handed over that is yet to appear?
 * @bus: its bus
 * @id: which device, or NULL for any of the bus
 *
 * For a bus that writes to a device before it adds it: this one may run. If other
 * hardware is found at the same place there is no need for care; it is quarantined
 * when it is added.
 *
 * Context: May sleep. From early_initcall on.
 * Return: true if the previous kernel handed over such a device, with the same
 * fingerprint, and it was not added yet.
 */
bool device_liveupdate_awaited(const struct bus_type *bus,
			       const struct device_liveupdate_id *id)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	const struct device_liveupdate_incoming *incoming;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_awaited, bus, id);

	if (likely(!READ_ONCE(layer->nr_absent)))
		return false;

	guard(mutex)(&layer->lock);

	if (!layer->nr_absent)
		return false;
	if (id) {
		incoming = device_liveupdate_find(device_liveupdate_bucket(layer->buckets,
									   layer->bucket_bits,
									   id->id),
						  bus->name, id->id);
		return incoming && incoming->fate == DEVICE_LIVEUPDATE_ABSENT &&
		       !memcmp(incoming->ser.fingerprint, id->fingerprint,
			       sizeof(id->fingerprint));
	}

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		incoming = &layer->incoming[i];
		if (device_liveupdate_is_absent(incoming) &&
		    !strcmp(incoming->ser.bus, bus->name))
			return true;
	}

	return false;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_awaited, "LIVEUPDATE");

/* On success *@awaited says whether FINISH will see the device. */
static struct device_liveupdate_incoming *
device_liveupdate_claim_record(struct device *dev,
			       const struct device_liveupdate_id *id, bool *awaited)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate_incoming *incoming;

	guard(mutex)(&layer->lock);

	if (!layer->nr_absent)
		return NULL;
	incoming = device_liveupdate_find(device_liveupdate_bucket(layer->buckets,
								   layer->bucket_bits,
								   id->id),
					  dev->bus->name, id->id);
	if (!incoming || incoming->fate != DEVICE_LIVEUPDATE_ABSENT)
		return NULL;
	/* It is not this one that the record was about, as far as it can be told. */
	if (incoming->corrupted && memcmp(incoming->ser.fingerprint, id->fingerprint,
					  sizeof(id->fingerprint)))
		return NULL;

	incoming->dev = get_device(dev);
	incoming->fate = DEVICE_LIVEUPDATE_INHERITED;
	device_liveupdate_release_record(incoming);
	layer->nr_claimed++;
	WRITE_ONCE(layer->nr_absent, layer->nr_absent - 1);
	device_liveupdate_retain_absent();
	*awaited = layer->awaiting;

	return incoming;
}

static bool device_liveupdate_same(struct device *dev,
				   const struct device_liveupdate_id *id,
				   const struct device_liveupdate_incoming *incoming)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	struct device_liveupdate_id handed;

	memcpy(handed.id, incoming->ser.id, sizeof(handed.id));
	memcpy(handed.fingerprint, incoming->ser.fingerprint,
	       sizeof(handed.fingerprint));
	if (bus->match)
		return bus->match(dev, id, &handed);

	return !memcmp(id->fingerprint, handed.fingerprint,
		       sizeof(handed.fingerprint));
}

/* Is the nearest ancestor that was handed over the one it was below, and alive? */
static bool
device_liveupdate_same_parent(struct device *dev,
			      const struct device_liveupdate_incoming *incoming)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	const struct device_liveupdate_incoming *above = NULL;
	const struct device *parent;

	guard(mutex)(&layer->lock);

	for (parent = dev->parent; parent && !above; parent = parent->parent) {
		const struct device_liveupdate *liveupdate =
			READ_ONCE(parent->liveupdate);

		if (liveupdate)
			above = liveupdate->incoming;
	}
	if (!incoming->ser.parent)
		return !above;
	if (above != &layer->incoming[incoming->ser.parent - 1])
		return false;

	switch (above->fate) {
	case DEVICE_LIVEUPDATE_INHERITED:
	case DEVICE_LIVEUPDATE_RECLAIMED:
		return true;
	case DEVICE_LIVEUPDATE_RELEASED:
		/* Whoever drives a bridge, it is one. */
		return device_liveupdate_ser_path(above);
	default:
		return false;
	}
}

/* Why a device cannot go on, or NULL if it can. */
static const char *
device_liveupdate_refusal(struct device *dev,
			  const struct device_liveupdate_id *id,
			  const struct device_liveupdate_incoming *incoming,
			  bool awaited)
{
	if (!incoming->corrupted && incoming->ser.flags & DEVICE_LIVEUPDATE_SER_LOST)
		return "it was lost before the jump";
	if (incoming->damaged)
		return "its record is damaged";
	if (!awaited)
		return "nobody is to take it over any more";
	if (!device_liveupdate_same(dev, id, incoming))
		return "it is other hardware than was handed over";
	if (!device_liveupdate_same_parent(dev, incoming))
		return "its parent is not the one it had, or not alive";
	if (incoming->data.size &&
	    !kho_is_restorable(incoming->data.value, incoming->data.size))
		return "what its driver saved did not arrive";

	return NULL;
}

/**
 * device_liveupdate_added() - a device appears
 * @dev: the device, on a bus with live update, not ready to be probed
 *
 * Context: May sleep. Takes device_lock of a device that was handed over.
 */
void device_liveupdate_added(struct device *dev)
{
	struct device_liveupdate_incoming *incoming;
	struct device_liveupdate *liveupdate;
	struct device_liveupdate_id id;
	const char *reason;
	bool awaited;

	if (likely(!READ_ONCE(device_liveupdate_layer.nr_absent)))
		return;
	if (device_liveupdate_identify(dev, &id))
		return;

	guard(device)(dev);

	incoming = device_liveupdate_claim_record(dev, &id, &awaited);
	if (!incoming)
		return;

	/* It must not fall asleep while nobody drives it. */
	pm_runtime_get_noresume(dev);

	reason = device_liveupdate_refusal(dev, &id, incoming, awaited);
	liveupdate = device_liveupdate_get(dev);
	if (liveupdate) {
		scoped_guard(mutex, &device_liveupdate_layer.lock) {
			liveupdate->id = id;
			liveupdate->incoming = incoming;
		}
	} else {
		/* Nothing can protect it from the wrong driver. */
		reason = "out of memory";
		awaited = false;
	}

	if (reason && device_liveupdate_ser_path(incoming)) {
		dev_warn(dev, "liveupdate: not kept for the devices below it: %s\n",
			 reason);
		device_liveupdate_set_fate(incoming, DEVICE_LIVEUPDATE_QUARANTINED);
		device_liveupdate_tell_bus(dev, false);
	} else if (reason) {
		device_liveupdate_quarantine(dev, incoming, reason);
	}
	if (awaited) {
		if (!device_liveupdate_ser_path(incoming))
			device_liveupdate_add_group(dev);
		return;
	}

	/* FINISH does not see it: it is an ordinary device from here on. */
	if (device_liveupdate_may_free())
		device_liveupdate_dispose(incoming);
	device_liveupdate_detach(dev, incoming);
}

/* When a driver is bound. */

/**
 * device_liveupdate_may_adopt() - may this driver take the device over?
 * @dev: a device that was handed over
 * @drv: the driver, which matches
 *
 * Context: device_lock held.
 * Return: 0 or -ENODEV, as device_liveupdate_veto().
 */
int device_liveupdate_may_adopt(struct device *dev,
				const struct device_driver *drv)
{
	struct device_liveupdate_incoming *incoming = dev->liveupdate->incoming;
	const struct dev_liveupdate_ops *ops = drv->liveupdate;
	const struct device_liveupdate_ser *ser = &incoming->ser;

	device_lock_assert(dev);

	if (device_liveupdate_ser_path(incoming))
		return 0;
	if (incoming->fate == DEVICE_LIVEUPDATE_QUARANTINED)
		return -ENODEV;
	if (incoming->fate != DEVICE_LIVEUPDATE_INHERITED)
		return 0;
	/* What became of its parent since it appeared? */
	if (!device_liveupdate_same_parent(dev, incoming)) {
		device_liveupdate_quarantine(dev, incoming,
					     "its parent is not alive");
		return -ENODEV;
	}
	if (ops && ops->compatible &&
	    !strncmp(ops->compatible, ser->compatible, sizeof(ser->compatible)) &&
	    ser->version >= ops->oldest && ser->version <= ops->version)
		return 0;

	dev_notice(dev, "liveupdate: driver %s cannot take over %s version %u\n",
		   drv->name, ser->compatible, ser->version);

	return -ENODEV;
}

/**
 * device_liveupdate_inherited() - does the device run since before this kernel?
 * @dev: the device
 *
 * A bus learns it from %BUS_NOTIFY_ADD_DEVICE on, before any driver is probed.
 *
 * Context: device_lock held.
 * Return: true if the previous kernel handed the device over, running, and nobody
 * took it over or made it harmless yet; or if it is on the path of such devices.
 */
bool device_liveupdate_inherited(struct device *dev)
{
	const struct device_liveupdate *liveupdate = dev->liveupdate;

	return liveupdate && liveupdate->incoming &&
	       liveupdate->incoming->fate == DEVICE_LIVEUPDATE_INHERITED;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_inherited, "LIVEUPDATE");

/**
 * device_liveupdate_adopt() - take over what the driver saved in the last kernel
 * @dev: the device
 * @version: on success the version of the data, between &dev_liveupdate_ops.oldest
 *	and &dev_liveupdate_ops.version
 *
 * For probe(). The device runs and is left as it is by those that take it over. If
 * probe() succeeds afterwards it is reclaimed, if it fails for good the device is
 * quarantined. -EPROBE_DEFER changes nothing.
 *
 * Context: probe(), with device_lock held.
 * Return: the data, valid until the device is unbound or &dev_liveupdate_ops.finish
 * returned, of which &liveupdate_data.size bytes can be read if it is a blob; what
 * they say is for the driver to check. NULL if the device was not handed over: it
 * is set up as ever.
 */
const struct liveupdate_data *device_liveupdate_adopt(struct device *dev,
						      u32 *version)
{
	struct device_liveupdate_incoming *incoming;

	device_lock_assert(dev);

	if (!device_liveupdate_inherited(dev))
		return NULL;
	incoming = dev->liveupdate->incoming;
	if (device_liveupdate_ser_path(incoming))
		return NULL;
	incoming->asked = true;
	*version = incoming->ser.version;

	return &incoming->data;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_adopt, "LIVEUPDATE");

/**
 * device_liveupdate_incoming_index() - which record is that of this device?
 * @dev: the device
 * @index: on success its position in the table of devices that was handed over
 *
 * For those who take something over that belongs to a device: in its probe().
 *
 * Context: device_lock held.
 * Return: 0; -ENOENT if the device was not handed over, is on the path of others, or
 * was taken over or made harmless since.
 */
int device_liveupdate_incoming_index(struct device *dev, u32 *index)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_incoming_index, dev, index);

	device_lock_assert(dev);

	if (!device_liveupdate_inherited(dev) ||
	    device_liveupdate_ser_path(dev->liveupdate->incoming))
		return -ENOENT;
	*index = dev->liveupdate->incoming - device_liveupdate_layer.incoming;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_incoming_index, "LIVEUPDATE");

/**
 * device_liveupdate_harmless() - may what belonged to a device be freed?
 * @index: its position in the table of devices that was handed over
 *
 * For the finish of participants on a later level than devices.
 *
 * Context: any, in FINISH.
 * Return: true if the device was made harmless, or is an ordinary device again. False
 * if it has not appeared, if it is not known which one it is, or if it was taken over:
 * its driver knows what it runs on.
 */
bool device_liveupdate_harmless(u32 index)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_harmless, index);

	return index < layer->nr_harmless && test_bit(index, layer->harmless);
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_harmless, "LIVEUPDATE");

/**
 * device_liveupdate_running() - could a device not be stopped?
 * @index: position of its record
 *
 * Context: May sleep. In FINISH of a participant behind this one.
 * Return: true if the bus tried, and could not. What the device may access is retained
 * by whoever has it.
 */
bool device_liveupdate_running(u32 index)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_running, index);

	guard(mutex)(&layer->lock);

	return index < layer->nr_incoming && layer->incoming[index].running;
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_running, "LIVEUPDATE");

/**
 * device_liveupdate_absent() - was a device handed over that has not appeared?
 * @index: position of its record
 *
 * For a participant whose memory belongs to devices: as long as this is so, the device
 * is retained.
 *
 * Context: May sleep. In FINISH of a participant behind this one.
 * Return: true if it was, and has not.
 */
bool device_liveupdate_absent(u32 index)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_absent, index);

	guard(mutex)(&layer->lock);

	return index < layer->nr_incoming &&
	       device_liveupdate_is_absent(&layer->incoming[index]);
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_absent, "LIVEUPDATE");

/**
 * device_liveupdate_settle() - what became of a device that was probed?
 * @dev: the device, handed over or not
 * @ret: as device_liveupdate_probed()
 *
 * Context: device_lock held.
 */
void device_liveupdate_settle(struct device *dev, int ret)
{
	struct device_liveupdate_incoming *incoming;

	if (!device_liveupdate_inherited(dev))
		return;
	incoming = dev->liveupdate->incoming;
	if (device_liveupdate_ser_path(incoming)) {
		if (!ret)
			device_liveupdate_set_fate(incoming,
						   DEVICE_LIVEUPDATE_RECLAIMED);
	} else if (abs(ret) == EPROBE_DEFER) {
		incoming->asked = false;
	} else if (ret) {
		device_liveupdate_quarantine(dev, incoming, "its probe failed");
	} else if (incoming->asked) {
		dev_dbg(dev, "liveupdate: reclaimed\n");
		device_liveupdate_set_fate(incoming, DEVICE_LIVEUPDATE_RECLAIMED);
		device_liveupdate_tell_bus(dev, true);
	} else {
		dev_warn(dev, "liveupdate: its driver did not ask for what was handed over\n");
		device_liveupdate_set_fate(incoming, DEVICE_LIVEUPDATE_RELEASED);
		device_liveupdate_tell_bus(dev, false);
	}
}

/**
 * device_liveupdate_unbound() - the driver is about to be unbound
 * @dev: the device
 *
 * Context: device_lock held.
 */
void device_liveupdate_unbound(struct device *dev)
{
	const struct device_liveupdate *liveupdate = dev->liveupdate;

	if (liveupdate && liveupdate->incoming &&
	    liveupdate->incoming->fate == DEVICE_LIVEUPDATE_RECLAIMED)
		device_liveupdate_set_fate(liveupdate->incoming,
					   DEVICE_LIVEUPDATE_RELEASED);
}

/**
 * device_liveupdate_lose_incoming() - the device does not run any more
 * @dev: the device, handed over or not
 * @reason: why
 *
 * Whoever says so makes it harmless.
 *
 * Context: device_lock held.
 */
void device_liveupdate_lose_incoming(struct device *dev, const char *reason)
{
	struct device_liveupdate_incoming *incoming;

	if (!device_liveupdate_inherited(dev))
		return;
	incoming = dev->liveupdate->incoming;
	dev_warn(dev, "liveupdate: quarantined: %s\n", reason);
	device_liveupdate_set_fate(incoming, DEVICE_LIVEUPDATE_QUARANTINED);
}

/**
 * device_liveupdate_removed() - the device is gone, and has no driver
 * @dev: the device
 *
 * If nobody took it over it is made harmless: nobody could do so later, and should it
 * come back, it is as new.
 *
 * Context: May sleep. Takes device_lock of a device that was handed over.
 */
void device_liveupdate_removed(struct device *dev)
{
	struct device_liveupdate_incoming *incoming;

	if (!dev->liveupdate)
		return;

	guard(device)(dev);

	incoming = dev->liveupdate->incoming;
	if (!incoming)
		return;

	if (incoming->fate == DEVICE_LIVEUPDATE_INHERITED) {
		if (device_liveupdate_ser_path(incoming))
			device_liveupdate_tell_bus(dev, false);
		else
			device_liveupdate_quarantine(dev, incoming,
						     "it is removed");
	}
	device_liveupdate_detach(dev, incoming);
}

/**
 * device_liveupdate_shutdown_begins() - all devices are about to be shut down
 *
 * Makes harmless what runs and nobody took over, before others go.
 *
 * Context: May sleep. In device_shutdown(), while no probe runs.
 */
void device_liveupdate_shutdown_begins(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	for (unsigned int i = READ_ONCE(layer->nr_incoming); i--; ) {
		struct device *dev __free(put_device) = NULL;

		/* A FINISH that is still under way may free the records. */
		scoped_guard(mutex, &layer->lock) {
			if (i < layer->nr_incoming)
				dev = get_device(layer->incoming[i].dev);
		}
		if (!dev)
			continue;
		guard(device)(dev);
		if (dev->liveupdate && dev->liveupdate->incoming)
			device_liveupdate_going_down(dev);
	}
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_shutdown_begins);

/**
 * device_liveupdate_going_down() - a device that was handed over is shut down
 * @dev: the device
 *
 * The next kernel does not know of it.
 *
 * Context: device_lock held.
 */
void device_liveupdate_going_down(struct device *dev)
{
	struct device_liveupdate_incoming *incoming = dev->liveupdate->incoming;

	if (incoming->fate == DEVICE_LIVEUPDATE_INHERITED &&
	    !device_liveupdate_ser_path(incoming))
		device_liveupdate_quarantine(dev, incoming, "the system goes down");
}

/* The steps of the participant. */

static void device_liveupdate_retain_lost(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	if (!layer->nr_lost || layer->lost)
		return;

	pr_err("%u records did not arrive, what they lead to is retained\n",
	       layer->nr_lost);
	layer->lost = liveupdate_retain(&device_liveupdate_subsystem,
					DEVICE_LIVEUPDATE_LOST_RECORDS, 0,
					"records of devices did not arrive");
}

/**
 * device_liveupdate_forget() - drop all records
 *
 * Context: May sleep. No device leads to a record.
 */
void device_liveupdate_forget(void)
{
	device_liveupdate_forget_harmless();
	kho_table_close(&device_liveupdate_layer.handed);

	guard(mutex)(&device_liveupdate_layer.lock);
	device_liveupdate_free_records();
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_forget);

/**
 * device_liveupdate_forget_harmless() - nobody asks any more who is harmless
 *
 * Context: May sleep. Not in FINISH.
 */
void device_liveupdate_forget_harmless(void)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;

	bitmap_free(layer->harmless);
	layer->harmless = NULL;
	layer->nr_harmless = 0;
}

/**
 * device_liveupdate_forget_retained() - the operator gives up what is retained
 * @subsystem: the participant
 * @name: BUS:ID of a device that has not appeared or could not be stopped; empty for
 *	all of them
 *
 * For an operator who knows that such a device is gone: if it still runs, it does so in
 * memory that is used for something else from here on.
 *
 * Context: May sleep. Takes &device_liveupdate_layer.lock.
 * Return: 0; -EBUSY until FINISH is over; -ENOENT if there is nothing of that name.
 */
int device_liveupdate_forget_retained(struct liveupdate_subsystem *subsystem,
				      const char *name)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	char other[DEVICE_LIVEUPDATE_BUS_LEN + DEVICE_LIVEUPDATE_ID_LEN];
	unsigned int found = 0;

	guard(mutex)(&layer->lock);

	if (!strcmp(name, DEVICE_LIVEUPDATE_LOST_RECORDS)) {
		if (!layer->lost)
			return -ENOENT;
		liveupdate_release(layer->lost);
		layer->lost = NULL;
		return 0;
	}
	if (layer->awaiting || layer->finishing)
		return -EBUSY;

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		struct device_liveupdate_incoming *incoming = &layer->incoming[i];
		bool absent = device_liveupdate_is_absent(incoming);

		if (!absent && !incoming->running)
			continue;
		device_liveupdate_print_name(incoming, other, sizeof(other));
		if (*name && strcmp(name, other))
			continue;
		if (absent) {
			incoming->fate = DEVICE_LIVEUPDATE_RELEASED;
			WRITE_ONCE(layer->nr_absent, layer->nr_absent - 1);
			device_liveupdate_release_record(incoming);
		}
		device_liveupdate_set_running(incoming, false);
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
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	int err;

	/* No device was requested. */
	if (!data->size)
		return 0;

	err = device_liveupdate_read_table(data);
	if (err)
		return err;
	pr_info("%u were handed over\n", layer->nr_incoming);

	guard(mutex)(&layer->lock);

	layer->awaiting = true;
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
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	int err;

	if (!data->size)
		return 0;

	err = device_liveupdate_read_table(data);
	device_liveupdate_forget_harmless();
	kho_table_close(&layer->handed);
	if (err) {
		pr_alert("live update is off, and it is not known which devices run: %pe\n",
			 ERR_PTR(err));
		return err;
	}
	pr_warn("live update is off: %u that run are quarantined when they appear\n",
		layer->nr_absent);

	guard(mutex)(&layer->lock);

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

static void device_liveupdate_attach_work(struct work_struct *work)
{
	struct device_liveupdate *liveupdate;

	while ((liveupdate = device_liveupdate_attach_next())) {
		struct device *dev = liveupdate->dev;
		bool lock_parent = dev->parent && dev->type &&
				   dev->type->need_parent_lock;

		if (lock_parent)
			device_lock(dev->parent);
		device_initial_probe(dev);
		if (lock_parent)
			device_unlock(dev->parent);
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
	flush_work(&device_liveupdate_work);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_flush);

static struct device *
device_liveupdate_get_device(struct device_liveupdate_incoming *incoming)
{
	guard(mutex)(&device_liveupdate_layer.lock);

	return get_device(incoming->dev);
}

/* The record has served, unless its device may still appear. */
static void device_liveupdate_drop(struct device_liveupdate_incoming *incoming)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
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

	guard(mutex)(&layer->lock);
	if (incoming->fate != DEVICE_LIVEUPDATE_ABSENT) {
		device_liveupdate_dispose(incoming);
	} else if (device_liveupdate_ser_path(incoming)) {
		incoming->fate = DEVICE_LIVEUPDATE_RELEASED;
		WRITE_ONCE(layer->nr_absent, layer->nr_absent - 1);
		device_liveupdate_retain_absent();
	}
}

/*
 * Does the device not run on what was handed over any more? If the record is corrupted,
 * it may have been another device that was stopped.
 */
static bool
device_liveupdate_stopped(const struct device_liveupdate_incoming *incoming)
{
	guard(mutex)(&device_liveupdate_layer.lock);

	return !hlist_unhashed(&incoming->hash) && !incoming->corrupted &&
	       !incoming->running &&
	       (incoming->fate == DEVICE_LIVEUPDATE_QUARANTINED ||
		incoming->fate == DEVICE_LIVEUPDATE_RELEASED);
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
	case DEVICE_LIVEUPDATE_QUARANTINED:
		if (incoming->running)
			device_liveupdate_stop(dev, incoming);
		break;
	default:
		break;
	}
	if (dev->driver)
		return false;

	device_liveupdate_remove_group(dev);

	return incoming->fate == DEVICE_LIVEUPDATE_QUARANTINED && !dev->p->dead;
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
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct liveupdate_parts *parts = &layer->parts;

	/* From here on those that appear are made harmless at once. */
	scoped_guard(mutex, &layer->lock) {
		layer->awaiting = false;
		layer->finishing = true;
	}

	memset(parts, 0, sizeof(*parts));
	for (unsigned int i = layer->nr_incoming; i--; ) {
		struct device_liveupdate_incoming *incoming = &layer->incoming[i];
		struct device *dev __free(put_device) =
			device_liveupdate_get_device(incoming);

		if (!dev)
			continue;
		liveupdate_part_begin(parts, dev_name(dev));
		if (device_liveupdate_finish_one(dev, incoming))
			device_liveupdate_attach_later(dev->liveupdate);
		liveupdate_part_end(parts, 0);
	}
	liveupdate_parts_record(subsystem, parts);

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		if (device_liveupdate_stopped(&layer->incoming[i]))
			__set_bit(i, layer->harmless);
		device_liveupdate_drop(&layer->incoming[i]);
	}
	device_liveupdate_release_table();
	if (layer->nr_absent)
		pr_warn("%u did not appear, what was saved for them is retained\n",
			layer->nr_absent);

	scoped_guard(mutex, &layer->lock) {
		layer->finishing = false;
		device_liveupdate_retain_each();
		device_liveupdate_put_records();
	}

	schedule_work(&device_liveupdate_work);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_finish);
