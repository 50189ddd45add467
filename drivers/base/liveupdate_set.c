// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The set of devices that this kernel hands over
 *
 * Which devices are requested, and the set that PREPARE closes over what they need and
 * brings into the order of devices_kset. The idea is in liveupdate.c.
 *
 * Contexts
 *   Requests come from sysfs. The set is changed by the transition under way only,
 *   which holds the lock of the state machine and reads the list of members without
 *   dlu_lock.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

static bool dlu_driver_valid(const struct dev_liveupdate_ops *ops)
{
	size_t length = ops->compatible ? dlu_string_length(ops->compatible) : 0;

	return length && length < DEVICE_LIVEUPDATE_DRIVER_LEN &&
	       ops->oldest && ops->oldest <= ops->version;
}

/*
 * Can the device be preserved at all? Its driver stays as it is meanwhile. *@valid are
 * operations that were found to be valid before, or NULL; devices of a driver mostly
 * follow one another.
 */
static int dlu_check_support(struct device *dev, const struct dev_liveupdate_ops **valid,
			     const char **reason)
{
	const struct device_driver *drv = READ_ONCE(dev->driver);
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	enum device_liveupdate_role role = dlu_role(dev);

	if (role == DEVICE_LIVEUPDATE_FORWARDER) {
		*reason = "it only forwards for others";
		return -EOPNOTSUPP;
	}
	if (!drv) {
		*reason = "no driver is bound";
		return -EOPNOTSUPP;
	}
	if (!drv->liveupdate) {
		*reason = "its driver has no live update";
		return -EOPNOTSUPP;
	}
	if (drv->liveupdate != *valid && !dlu_driver_valid(drv->liveupdate)) {
		*reason = "its driver describes itself badly";
		return -EINVAL;
	}
	*valid = drv->liveupdate;

	*reason = "not supported by its bus";
	if (role == DEVICE_LIVEUPDATE_UNSUPPORTED)
		return -EOPNOTSUPP;

	return bus->check ? bus->check(dev, reason) : 0;
}

static int dlu_identify(struct device *dev, struct device_liveupdate_id *id,
			const char **reason)
{
	int err = dlu_check_bus(dev->bus) ?: dlu_identify_device(dev, id);

	if (err)
		*reason = "its bus cannot identify it";

	return err;
}

/*
 * What would a request of a device be answered? Changes nothing, but wakes the device:
 * it is only asked what it is when it is awake. May sleep. Returns as dlu_request(),
 * apart from -ENOMEM.
 */
int dlu_check_request(struct device *dev, struct device_liveupdate_id *id,
		      const char **reason)
{
	const struct dev_liveupdate_ops *valid = NULL;

	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    READ_ONCE(dlu_outgoing.closed)) {
		*reason = "the state is not normal";
		return -EBUSY;
	}

	guard(pm_runtime_active)(dev);

	return dlu_check_support(dev, &valid, reason) ?: dlu_identify(dev, id, reason);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_check_request);

/* The caller holds another reference to the device. Returns false if there was none. */
static bool __dlu_withdraw(struct device_liveupdate *liveupdate)
{
	lockdep_assert_held(&dlu_lock);

	if (list_empty(&liveupdate->requested))
		return false;
	list_del_init(&liveupdate->requested);
	put_device(liveupdate->dev);

	return true;
}

/* Is a device requested? Any context. Returns true if it is. */
bool dlu_is_requested(const struct device *dev)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	return liveupdate && !list_empty_careful(&liveupdate->requested);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_is_requested);

/* Tell the operator what became of a request. */
static void dlu_notify_operator(struct device *dev, char *event)
{
	char *envp[2] = { event };

	kobject_uevent_env(&dev->kobj, KOBJ_CHANGE, envp);
}

/*
 * Request that a device is preserved, or do not. May sleep. Takes dlu_lock. Returns 0;
 * -EBUSY unless the state is normal; -EOPNOTSUPP if its driver does not support live
 * update; -EINVAL if driver or bus describe it badly; -ENOMEM; or why the bus cannot
 * preserve it.
 */
int dlu_request(struct device *dev, bool on)
{
	struct device_liveupdate *liveupdate;
	struct device_liveupdate_id id;
	u64 revision = 0;
	const char *reason;
	int err;

	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL)
		return -EBUSY;

	if (on) {
		revision = dlu_revision(dev);
		err = dlu_check_request(dev, &id, &reason);
		if (err == -EBUSY && READ_ONCE(dlu_outgoing.closed))
			return err;
		if (err)
			return dlu_fail(dev, "request", err, reason);
	}

	if (!on && !dlu_of(dev))
		return 0;
	liveupdate = dlu_alloc(dev);
	if (!liveupdate)
		return dlu_fail(dev, "request", -ENOMEM,
				"out of memory");

	guard(mutex)(&dlu_lock);
	if (dlu_outgoing.closed)
		return -EBUSY;
	if (!on) {
		__dlu_withdraw(liveupdate);
		return 0;
	}
	liveupdate->id = id;
	liveupdate->revision = revision;
	if (list_empty(&liveupdate->requested)) {
		get_device(dev);
		list_add_tail(&liveupdate->requested, &dlu_outgoing.requested);
	}

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_request);

/*
 * The driver of a device is gone. A request stays: the operator did not withdraw it,
 * and the driver may come back. Until it does, or the request is withdrawn, PREPARE
 * fails and names the device. May sleep. device_lock held.
 */
void dlu_request_unbound(struct device *dev)
{
	if (!dlu_is_requested(dev))
		return;
	dev_warn(dev, "liveupdate: requested, but has no driver any more: no prepare until it has, or is not requested\n");
	dlu_notify_operator(dev, "LIVEUPDATE=unbound");
}

/* A device goes away, and the request for it with it. May sleep. Takes dlu_lock. */
void dlu_withdraw(struct device *dev)
{
	struct device_liveupdate *liveupdate = dlu_of(dev);
	bool withdrawn;

	if (!liveupdate)
		return;

	scoped_guard(mutex, &dlu_lock)
		withdrawn = __dlu_withdraw(liveupdate);
	if (!withdrawn)
		return;
	dev_warn(dev, "liveupdate: requested, but removed: the request is withdrawn\n");
	dlu_notify_operator(dev, "LIVEUPDATE=withdrawn");
}

/* Closing the set. */

static void dlu_add(struct device_liveupdate *liveupdate, bool path)
{
	lockdep_assert_held(&dlu_lock);

	if (list_empty(&liveupdate->member)) {
		get_device(liveupdate->dev);
		liveupdate->path = true;
		liveupdate->phase = DLU_IDLE;
		list_add_tail(&liveupdate->member, &dlu_outgoing.set);
		WRITE_ONCE(dlu_outgoing.nr_set, dlu_outgoing.nr_set + 1);
	}
	if (!path)
		liveupdate->path = false;
}

static int dlu_enter(struct device *dev, bool path)
{
	struct device_liveupdate *liveupdate;

	if (!dev->bus || !dev->bus->liveupdate)
		return dlu_fail(dev, "prepare", -EOPNOTSUPP,
				"a preserved device needs it, but its bus has no live update");

	liveupdate = dlu_alloc(dev);
	if (!liveupdate)
		return dlu_fail(dev, "prepare", -ENOMEM,
				"out of memory");

	guard(mutex)(&dlu_lock);
	dlu_add(liveupdate, path);

	return 0;
}

/* A device that one in the set needs: an ancestor, a supplier, or what its bus says. */
static int dlu_enter_provider(struct device *dev, void *unused)
{
	return dlu_enter(dev, dev->bus && dev->bus->liveupdate &&
					    dlu_role(dev) == DEVICE_LIVEUPDATE_FORWARDER);
}

static int dlu_enter_follower(struct device *dev, void *unused)
{
	const struct bus_liveupdate_ops *bus = dev->bus ? dev->bus->liveupdate : NULL;

	/* Whatever is between a device and what is below it. */
	if (!dev->bus && dev->class)
		return device_for_each_child(dev, NULL, dlu_enter_follower);
	if (!bus || !bus->follow || !bus->follow(dev))
		return 0;

	return dlu_enter(dev, false);
}

/* What is below a preserved device comes along if its bus says so. */
static int dlu_enter_followers(struct device_liveupdate *liveupdate)
{
	/* Most devices have nothing below them. */
	if (liveupdate->path || list_empty(&liveupdate->dev->p->klist_children.k_list))
		return 0;

	return device_for_each_child(liveupdate->dev, NULL, dlu_enter_follower);
}

/*
 * The nearest ancestor of a device that is in the set. Any. @dev and what is above it
 * stay. Returns the ancestor, or NULL.
 */
struct device_liveupdate *dlu_member_above(const struct device *dev)
{
	const struct device *parent = dev->parent;

	while (parent && !dlu_in_set(dlu_of(parent)))
		parent = parent->parent;

	return parent ? dlu_of(parent) : NULL;
}

static bool dlu_uses_preserved(const struct device *dev)
{
	struct device_link *link;
	bool uses = false;
	int idx;

	if (list_empty(&dev->links.suppliers))
		return false;

	idx = device_links_read_lock();
	dev_for_each_link_to_supplier(link, dev) {
		uses = link->flags & DL_FLAG_MANAGED &&
		       !device_link_flag_is_sync_state_only(link->flags) &&
		       dlu_in_set(dlu_of(link->supplier)) &&
		       !dlu_of(link->supplier)->path;
		if (uses)
			break;
	}
	device_links_read_unlock(idx);

	return uses;
}

/*
 * Would shutting a device down reach a preserved one? That is so if it is not in the
 * set, but the nearest device above it that is has been preserved, or a supplier of it.
 * Any. @dev and what is above it stay. Returns true if so.
 */
bool dlu_unrequested(const struct device *dev)
{
	const struct device_liveupdate *above;

	if (dlu_in_set(dlu_of(dev)))
		return false;
	above = dlu_member_above(dev);

	return (above && !above->path) || dlu_uses_preserved(dev);
}

/* Does device_shutdown() call anybody for this device, or does a driver use it? */
static bool dlu_acts(const struct device *dev)
{
	return READ_ONCE(dev->driver) || (dev->bus && dev->bus->shutdown) ||
	       (dev->class && dev->class->shutdown_pre);
}

/* Bring the set into the order of devices_kset, and look for unrequested children there. */
static int dlu_sort(void)
{
	struct device *unrequested __free(put_device) = NULL;
	struct kobject *kobj;
	LIST_HEAD(sorted);
	bool invalid;

	scoped_guard(mutex, &dlu_lock) {
		spin_lock(&devices_kset->list_lock);
		list_for_each_entry(kobj, &devices_kset->list, entry) {
			struct device *dev = kobj_to_dev(kobj);
			struct device_liveupdate *liveupdate = dlu_of(dev);

			if (dlu_in_set(liveupdate))
				list_move_tail(&liveupdate->member, &sorted);
			else if (!unrequested && dlu_acts(dev) &&
				 dlu_unrequested(dev))
				unrequested = get_device(dev);
		}
		spin_unlock(&devices_kset->list_lock);

		/* Who is left is on its way out. */
		if (!list_empty(&dlu_outgoing.set))
			dlu_outgoing.invalid = true;
		list_splice(&sorted, &dlu_outgoing.set);
		invalid = dlu_outgoing.invalid;
	}
	if (unrequested)
		return dlu_fail(unrequested, "prepare", -EBUSY,
				"not requested, but its shutdown would reach a device that is");

	return invalid ? -ENODEV : 0;
}

/*
 * May its bus be asked, and its ancestors be walked? device_lock held. What was removed
 * since it was requested holds no reference to its parent any more.
 */
static int dlu_still_there(struct device *dev)
{
	device_lock_assert(dev);

	return dev->p->dead ? dlu_fail(dev, "prepare", -ENODEV,
				       "it was removed meanwhile") : 0;
}

/* Number the set, and make sure that no two devices say they are the same. */
static int dlu_number(void)
{
	unsigned int bits = order_base_2(max(dlu_outgoing.nr_set, 2U));
	struct device_liveupdate *liveupdate, *parent, *twin;
	struct hlist_head *buckets __free(kvfree) = NULL;
	u32 index = 0;

	buckets = kvzalloc_objs(*buckets, 1U << bits);
	if (!buckets)
		return -ENOMEM;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member)
		liveupdate->index = index++;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		struct device *dev = liveupdate->dev;
		struct hlist_head *bucket;
		int err;

		guard(device)(dev);
		err = dlu_still_there(dev);
		if (err)
			return err;

		parent = dlu_member_above(dev);
		if (parent && parent->index > liveupdate->index)
			return dlu_fail(dev, "prepare", -EINVAL,
					"it was moved below a device that comes after it");
		liveupdate->parent = parent ? parent->index + 1 : 0;
		if (!liveupdate->path && !dev->bus->liveupdate->quarantine &&
		    (!parent || parent->path))
			return dlu_fail(dev, "prepare", -EOPNOTSUPP,
					"it can only be stopped with its parent, which is not preserved");
		err = dlu_collect_providers(liveupdate);
		if (err)
			return err;

		bucket = dlu_bucket(buckets, bits, liveupdate->id.id);
		hlist_for_each_entry(twin, bucket, hash) {
			if (twin->dev->bus == dev->bus &&
			    twin->parent == liveupdate->parent &&
			    !strcmp(twin->id.id, liveupdate->id.id))
				return dlu_fail(dev, "prepare", -EEXIST,
						"its identity is that of another device");
		}
		hlist_add_head(&liveupdate->hash, bucket);
	}

	return 0;
}

static int dlu_validate(struct device_liveupdate *liveupdate,
			const struct dev_liveupdate_ops **valid)
{
	struct device *dev = liveupdate->dev;
	struct device_liveupdate_id id;
	const char *reason;
	u64 revision;
	int err = 0;

	device_lock_assert(dev);

	/* It must not fall asleep any more. Whether it can is its own matter. */
	pm_runtime_get_sync(dev);
	liveupdate->awake = true;

	if (dev->bus->liveupdate->busy)
		dlu_outgoing.may_be_busy = true;

	/* It was asked before if it was requested or handed over. */
	revision = dlu_revision(dev);
	if (!liveupdate->id.id[0] || revision != liveupdate->revision) {
		err = dlu_identify(dev, &id, &reason);
		if (!err) {
			scoped_guard(mutex, &dlu_lock) {
				liveupdate->id = id;
				liveupdate->revision = revision;
			}
		}
	}
	if (!err && !liveupdate->path)
		err = dlu_check_support(dev, valid, &reason);

	return err ? dlu_fail(dev, "prepare", err, reason) : 0;
}

/*
 * Close the set and bring it into order. Nobody but this transition changes the list of
 * its members, so it is read without dlu_lock.
 */
int dlu_close(void)
{
	const struct dev_liveupdate_ops *valid = NULL;
	struct device_liveupdate *liveupdate;
	int err;

	scoped_guard(mutex, &dlu_lock) {
		WRITE_ONCE(dlu_outgoing.closed, true);
		dlu_outgoing.invalid = false;
		dlu_outgoing.may_be_busy = false;
		list_for_each_entry(liveupdate, &dlu_outgoing.requested, requested)
			dlu_add(liveupdate, false);
	}
	if (list_empty(&dlu_outgoing.set))
		return 0;

	/* Those that did not see that there is a set; the others are deferred. */
	smp_mb();	/* Pairs with dlu_defers_probes(). */
	wait_for_device_probe();

	/* Those that are entered here join the end of the list. */
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		guard(device)(liveupdate->dev);
		err = dlu_still_there(liveupdate->dev) ?:
		      dlu_walk_providers(liveupdate->dev,
					 dlu_enter_provider, NULL) ?:
		      dlu_enter_followers(liveupdate);
		if (err)
			return err;
	}

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		guard(device)(liveupdate->dev);
		err = dlu_still_there(liveupdate->dev) ?:
		      dlu_validate(liveupdate, &valid);
		if (err)
			return err;
	}

	return dlu_sort() ?: dlu_number();
}

void dlu_let_sleep(struct device_liveupdate *liveupdate)
{
	lockdep_assert_held(&liveupdate->lock);

	if (liveupdate->awake)
		pm_runtime_put(liveupdate->dev);
	liveupdate->awake = false;
}

/*
 * Must a probe wait until the set is open again? Context: a probe that
 * wait_for_device_probe() waits for. Returns true if there is a set.
 */
bool dlu_defers_probes(void)
{
	smp_mb();	/* Pairs with dlu_close(). */

	return READ_ONCE(dlu_outgoing.closed) && READ_ONCE(dlu_outgoing.nr_set);
}

/* Empty the set. Nothing in it is prepared. */
void dlu_open(void)
{
	struct device_liveupdate *liveupdate, *tmp;

	list_for_each_entry_safe(liveupdate, tmp, &dlu_outgoing.set, member) {
		struct module *owner;

		scoped_guard(mutex, &liveupdate->lock) {
			owner = liveupdate->owner;
			liveupdate->owner = NULL;
			liveupdate->ser = NULL;
			dlu_drop_providers(liveupdate);
			dlu_let_sleep(liveupdate);
			WRITE_ONCE(liveupdate->phase, DLU_IDLE);
			liveupdate->passed = false;
			guard(mutex)(&dlu_lock);
			list_del_init(&liveupdate->member);
		}
		put_device(liveupdate->dev);
		/* The device may be of the same module. */
		module_put(owner);
	}

	scoped_guard(mutex, &dlu_lock) {
		WRITE_ONCE(dlu_outgoing.nr_set, 0);
		dlu_outgoing.nr_more = 0;
		dlu_outgoing.invalid = false;
		WRITE_ONCE(dlu_outgoing.closed, false);
	}

	/* Those that were deferred because of the set. */
	driver_deferred_probe_trigger();
}
