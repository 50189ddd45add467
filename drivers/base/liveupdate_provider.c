// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What a device needs to run
 *
 * The providers of a device are its parent, that is, the nearest ancestor with a bus,
 * the suppliers of its managed device links, and the devices that its bus says it
 * depends on. A device is only preserved together with them, and its record names them
 * by position.
 *
 * In the next kernel a device is not retrieved before each of them was: until then it
 * may be as good as reset. What is on the path needs no retrieval, it works for whoever
 * is below. If one of them is not taken over after all, the device cannot go on either.
 *
 * Contexts
 *   Providers are collected in PREPARE, with device_lock of the consumer held.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "base.h"

static int dlu_walk_suppliers(struct device *dev, dlu_provider_fn fn, void *context)
{
	struct device_link *link;
	int err = 0;
	int idx;

	/* Most devices have none. */
	if (list_empty(&dev->links.suppliers))
		return 0;

	idx = device_links_read_lock();
	dev_for_each_link_to_supplier(link, dev) {
		if (!(link->flags & DL_FLAG_MANAGED) ||
		    device_link_flag_is_sync_state_only(link->flags))
			continue;
		err = fn(link->supplier, context);
		if (err)
			break;
	}
	device_links_read_unlock(idx);

	return err;
}

/*
 * What does a device need? May sleep. device_lock held. Returns 0, or the first error
 * of @fn.
 */
int dlu_walk_providers(struct device *dev, dlu_provider_fn fn, void *context)
{
	const struct bus_liveupdate_ops *bus = dev->bus->liveupdate;
	struct device *parent = dlu_ancestor(dev);
	int err;

	if (parent) {
		err = fn(parent, context);
		if (err)
			return err;
	}
	err = dlu_walk_suppliers(dev, fn, context);
	if (err || !bus->dependencies)
		return err;

	return bus->dependencies(dev, fn, context);
}

static int dlu_collect(struct device *dev, void *context)
{
	struct device_liveupdate *provider = dlu_of(dev);
	struct device_liveupdate *liveupdate = context;
	u32 *providers;

	if (!dlu_in_set(provider))
		return dlu_fail(liveupdate->dev, "prepare", -EBUSY,
				"what it needs has changed meanwhile");
	if (provider == liveupdate || provider->index + 1 == liveupdate->parent)
		return 0;
	if (provider->index > liveupdate->index)
		return dlu_fail(liveupdate->dev, "prepare", -EINVAL,
				"it needs a device that comes after it");

	for (u32 i = 0; i < liveupdate->nr_providers; i++) {
		if (liveupdate->providers[i] == provider->index)
			return 0;
	}
	providers = krealloc_array(liveupdate->providers, liveupdate->nr_providers + 1,
				   sizeof(*providers), GFP_KERNEL);
	if (!providers)
		return dlu_fail(liveupdate->dev, "prepare", -ENOMEM,
				"out of memory");
	providers[liveupdate->nr_providers++] = provider->index;
	liveupdate->providers = providers;

	return 0;
}

/*
 * Note which devices of the set a device needs. May sleep. device_lock held. In
 * PREPARE. Returns 0; -EINVAL if one of them comes after the device; -EBUSY if one is
 * not in the set; -ENOMEM.
 */
int dlu_collect_providers(struct device_liveupdate *liveupdate)
{
	int err;

	err = dlu_walk_providers(liveupdate->dev, dlu_collect, liveupdate);
	if (!err)
		dlu_outgoing.nr_more += dlu_nr_more(liveupdate->nr_providers);

	return err;
}

/* Undo dlu_collect_providers(). Any. The device leaves the set. */
void dlu_drop_providers(struct device_liveupdate *liveupdate)
{
	kfree(liveupdate->providers);
	liveupdate->providers = NULL;
	liveupdate->nr_providers = 0;
}

/* As far as one provider goes. */
static enum dlu_need dlu_need(const struct dlu_incoming_device *provider)
{
	bool path = dlu_ser_path(provider);

	switch (provider->state) {
	case DEVICE_LIVEUPDATE_RECLAIMED:
		return DLU_READY;
	case DEVICE_LIVEUPDATE_ABSENT:
	case DEVICE_LIVEUPDATE_INCOMING:
		return path ? DLU_READY : DLU_WAIT;
	case DEVICE_LIVEUPDATE_RELEASED:
		/* Whoever drives a bridge, it is one. */
		return path ? DLU_READY : DLU_GONE;
	default:
		return DLU_GONE;
	}
}

/*
 * Can a device that was handed over be retrieved? Context: dlu_lock held. Returns the
 * worst that is so of one of its providers.
 */
enum dlu_need dlu_needs(const struct dlu_incoming_device *incoming)
{
	const struct device_liveupdate_ser *ser = &incoming->ser;
	enum dlu_need need = DLU_READY;

	lockdep_assert_held(&dlu_lock);

	if (ser->parent)
		need = dlu_need(&dlu_incoming.records[ser->parent - 1]);
	for (u32 i = 0; i < ser->nr_providers; i++) {
		u32 provider = dlu_provider(incoming, i);

		need = max(need, dlu_need(&dlu_incoming.records[provider]));
	}

	return need;
}
