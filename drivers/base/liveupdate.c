// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Device live update
 *
 * Keeps devices running while one kernel replaces another. This is the subsystem
 * "devices" of a live update (kernel/liveupdate/luo_state.c); it calls the buses
 * and drivers that take part (include/linux/liveupdate/device.h).
 *
 * Concept
 *   An operator requests devices one by one. PREPARE closes the set over what they
 *   need. An ancestor, up to the first that has neither bus nor class, is preserved, too,
 *   or, if its bus says that it only forwards for others, kept alive as part of the path;
 *   so are suppliers of managed device links and the devices that the bus says it depends
 *   on. Nothing else is kept alive without being preserved, because it is not known
 *   whether its driver leaves it alone, and what it writes to meanwhile. What is below a
 *   preserved device, or is a consumer of one by a managed device link, must be in the set
 *   if it has a driver, or if its bus or class does something when it is shut down,
 *   because that would reach the device.
 *
 *   The order is that of devices_kset, in which device_shutdown() walks: parents
 *   and suppliers come first, and device_link_add() keeps it so. PREPARE, FREEZE and
 *   FINISH walk from consumers to providers, CANCEL and THAW the other way. For each
 *   device the driver is called before its bus on the way into the update, and
 *   after it on the way back.
 *
 * Lifecycle in the old kernel
 *   1. Requested: &device_liveupdate is allocated, the device is in
 *      &dlu_outgoing.requested. It stays there without a driver, too, until the
 *      request is withdrawn or the device is removed; PREPARE fails without one.
 *   2. In the set, from PREPARE to CANCEL: its driver's module is pinned, its driver
 *      cannot be changed through sysfs.
 *   3. Frozen: device_shutdown() leaves it alone. Once it was passed, nothing is
 *      undone any more (liveupdate_outgoing.c).
 *
 *   While there is a set, no driver is probed, for no device of the machine: PREPARE
 *   waits for the probes under way, and those that come later are deferred until CANCEL,
 *   or happen in the next kernel. For the set it would be enough to keep drivers away
 *   from what is below it and from its consumers. But device_shutdown() waits for all
 *   probes, in the blackout and with system_transition_mutex held: one that waits for
 *   firmware would make it as long as that, and one that takes that mutex would never
 *   end. Without a set nothing is deferred.
 *
 *   A device that goes away nevertheless is cancelled at once. The set is invalid
 *   then: freezing it fails, and the whole update is cancelled.
 *
 * The next kernel is described in liveupdate_incoming.c, the format between them in
 * liveupdate_table.c, the order of these files in liveupdate_device.c, those in sysfs
 * in Documentation/ABI/testing/sysfs-devices-liveupdate.
 *
 * Contexts
 *   The transitions of the subsystem run one at a time, under the lock of the state
 *   machine. FREEZE and THAW take no device_lock. Probes that run while the set is
 *   closed are waited for in PREPARE; they must not wait for a subsystem of live
 *   update to be unregistered.
 *
 * Lock order
 *   lock of the state machine -> device_lock -> &device_liveupdate.lock -> locks of
 *   buses and drivers that are not held when a device is removed ->
 *   dlu_lock
 *
 *   lockdep does not see device_lock, which it cannot tell from that of another device.
 *   dlu_device_map stands for it: a transition that may take a device_lock says so, and
 *   the map is held while a driver is probed. A probe that waits for the state machine
 *   is reported, whether or not a transition is under way.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/module.h>

#include "base.h"

/* What the driver core calls. */

/*
 * May this driver be bound to this device? Context: device_lock held. Returns 0;
 * -ENODEV if the device was handed over and the driver cannot take it over;
 * -EPROBE_DEFER if that is so but what it needs was not taken over yet, or while
 * devices are prepared for a live update. After 0, device_liveupdate_probed() follows.
 */
int device_liveupdate_veto(struct device *dev, const struct device_driver *drv)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);
	int err = 0;

	if (liveupdate && liveupdate->incoming)
		err = dlu_check_retrieve(dev, drv);
	else if (unlikely(dlu_defers_probes()))
		err = -EPROBE_DEFER;
	if (!err)
		lock_map_acquire_read(&dlu_device_map);

	return err;
}

/*
 * May a driver be bound to this device without a probe? Context: device_lock held, as
 * device_bind_driver(). Returns 0; -ENODEV as device_liveupdate_veto(); -EBUSY if the
 * device is not in the set, but its shutdown would reach one that is.
 */
int dlu_check_bind(struct device *dev)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	if (liveupdate && liveupdate->incoming)
		return dlu_check_retrieve(dev, dev->driver);
	/* PREPARE sees the driver of the device, or is seen. */
	if (unlikely(dlu_defers_probes()) && dlu_unrequested(dev))
		return -EBUSY;

	return 0;
}

/* A driver was probed. Context: device_lock held. */
void device_liveupdate_probed(struct device *dev, int ret)
{
	lock_map_release(&dlu_device_map);
	dlu_complete(dev, ret);

	/* It may have been asked for before what it reaches was in the set. */
	if (ret || likely(!READ_ONCE(dlu_outgoing.closed)) || !dlu_unrequested(dev))
		return;
	scoped_guard(mutex, &dlu_lock)
		dlu_outgoing.invalid = true;
	dlu_invalidate(dev, -EBUSY,
		       "was bound, but its shutdown would reach a preserved device");
}

/**
 * device_liveupdate_abort() - a device cannot run through an update any more
 * @dev: the device, in the set, handed over, or neither
 * @reason: why, a few words
 *
 * For buses: the device failed, or is about to be reset. One of the set is cancelled
 * before this returns, the whole update when those who hold what locks are gone. One
 * that device_shutdown() has passed is stopped, and left to the next kernel. One
 * that was handed over and runs is not taken over any more. The caller keeps it from
 * accessing memory; FINISH quarantines it, and until then its memory is retained.
 *
 * Context: May sleep. device_lock held; not from a callback of live update.
 */
void device_liveupdate_abort(struct device *dev, const char *reason)
{
	device_lock_assert(dev);

	dlu_abort_incoming(dev, reason);
	dlu_abort_outgoing(dev, reason);
}
EXPORT_SYMBOL_NS_GPL(device_liveupdate_abort, "LIVEUPDATE");

/* Unless it is a forwarder, and its bus keeps it alive while shutting it down. */
static bool dlu_is_left_alone(const struct device *dev)
{
	return !dlu_of(dev)->path || !dev->bus->shutdown;
}

/*
 * A device is about to be shut down. The device may be one that the previous kernel
 * left running and that nobody took over. It is quiesced first, whatever comes next.
 * Context: device_lock held. Returns true if the device must be left alone: a frozen
 * one, unless it is on the path and its bus keeps such a device alive while shutting it
 * down; a class device of a frozen one; and what has appeared below a frozen one since
 * PREPARE.
 */
bool device_liveupdate_shutdown(struct device *dev)
{
	const struct device_liveupdate *above;

	if (dlu_incoming_of(dev))
		dlu_shutting_down(dev);
	if (likely(!READ_ONCE(dlu_outgoing.closed)))
		return false;

	if (!dev->bus) {
		dev = dlu_ancestor(dev);
		return dev && dlu_frozen(dev) && dlu_is_left_alone(dev);
	}

	/* It appeared since PREPARE, and has no driver. */
	if (!dlu_in_set(dlu_of(dev))) {
		above = dlu_member_above(dev);
		return above && !above->path && dlu_frozen(above->dev);
	}

	return dlu_frozen(dev) && dlu_pass(dev) && dlu_is_left_alone(dev);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_shutdown);

/* Something happens to a device. Context: that of the notifiers of the bus. */
void __dlu_notify(struct device *dev, enum bus_notifier_event event)
{
	switch (event) {
	case BUS_NOTIFY_ADD_DEVICE:
		if (likely(!READ_ONCE(dlu_incoming.nr_absent)))
			break;
		device_lock(dev);
		if (dlu_added(dev))
			dlu_add_group(dev);
		device_unlock(dev);
		break;
	case BUS_NOTIFY_BIND_DRIVER:
		/* Nobody asks about a driver while it comes; see liveupdate_sysfs.c. */
		if (dlu_is_requested(dev))
			dlu_remove_group(dev);
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
		if (dlu_is_requested(dev))
			dlu_add_group(dev);
		break;
	case BUS_NOTIFY_BOUND_DRIVER:
		/* Before userspace is told, and of those that had no probe(), too. */
		dlu_complete(dev, 0);
		if (liveupdate_enabled() &&
		    (dev->driver->liveupdate || dlu_is_requested(dev)))
			dlu_add_group(dev);
		break;
	case BUS_NOTIFY_UNBIND_DRIVER:
		/* Waits for those who use the files, and hence the driver. */
		dlu_remove_group(dev);
		dlu_lost(dev);
		dlu_unbound(dev);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
		if (!dlu_is_requested(dev) || dev->p->dead)
			break;
		dlu_add_group(dev);
		dlu_request_unbound(dev);
		break;
	case BUS_NOTIFY_DEL_DEVICE:
		dlu_remove_group(dev);
		dlu_withdraw(dev);
		dlu_lost(dev);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		dlu_removed(dev);
		break;
	default:
		break;
	}
}

/* The subsystem. */

static const struct liveupdate_subsystem_ops dlu_ops = {
	.prepare	= dlu_prepare,
	.can_freeze	= dlu_can_freeze,
	.freeze		= dlu_freeze,
	.thaw		= dlu_thaw,
	.cancel		= dlu_cancel,
	.restore	= dlu_restore,
	.can_finish	= dlu_can_finish,
	.finish		= dlu_finish,
	.discard	= dlu_discard,
	.forget		= dlu_forget_retained,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(dlu_note, "devices", 1, 1,
		LIVEUPDATE_LEVEL_DEVICES, LIVEUPDATE_MANDATORY);

struct liveupdate_subsystem dlu_subsystem =
	LIVEUPDATE_SUBSYSTEM_INIT(dlu_note, dlu_ops);

LIVEUPDATE_BUILTIN_SUBSYSTEM(dlu_subsystem);

static int __init dlu_init(void)
{
	struct kobject *kobj = liveupdate_kobject();

	if (!kobj)
		return 0;

	return dlu_sysfs_init(kobj);
}
late_initcall_sync(dlu_init);
