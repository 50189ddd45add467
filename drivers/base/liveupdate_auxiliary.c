// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Auxiliary devices in a live update
 *
 * Keeps auxiliary devices running while one kernel replaces another: the bus' side of
 * drivers/base/liveupdate.c.
 *
 * Concept
 *   An auxiliary device is a part of its parent that has a driver of its own. It has
 *   no registers, no interrupts and no DMA but those of the parent. So it is preserved
 *   only together with its parent, is stopped with it and not otherwise, and all memory
 *   that its driver tells the device is memory of the parent
 *   (dma_liveupdate_retrieve_for()). The bus writes to no device and saves nothing.
 *
 * Identity
 *   A device is called MODULE.NAME.ID. The first two say what part of the parent it is,
 *   the same that a driver matches. The last is whatever makes the name unique in the
 *   system: most parents count, in the order in which they are probed, and the bus cannot
 *   tell those that do from those that do not. So a device is known as MODULE.NAME below
 *   the record of its parent. Of several that share this below one parent nobody knows
 *   which is which in the next kernel: they are refused.
 *
 * Who comes along
 *   A device with a driver comes along with its parent. If the driver has no live
 *   update the whole update is refused, unless it lets go of its device
 *   (&dev_liveupdate_ops.detach). Without a driver nothing happens to a device, neither in
 *   an update nor when it is shut down: the parent of the next kernel adds it again.
 *
 * Interrupts
 *   The bus does not know which of them are whose, and whether the parent latches them.
 *   So it calls interrupts_missed() of each driver that took a device over. And they go on
 *   after the device is frozen, until its parent is, which comes later.
 *
 * Contexts
 *   Those of &struct bus_liveupdate_ops.
 */

#include <linux/auxiliary_bus.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/liveupdate.h>
#include <linux/string.h>

#include "base.h"

/* Length of MODULE.NAME in the name of a device, or 0 if it is called otherwise. Any. */
static size_t auxiliary_liveupdate_prefix(const struct device *dev)
{
	const char *name = dev_name(dev);
	const char *end = strrchr(name, '.');

	return end ? end - name : 0;
}

static int auxiliary_liveupdate_identify(struct device *dev,
					 struct device_liveupdate_id *id)
{
	size_t len = auxiliary_liveupdate_prefix(dev);

	if (!len || len >= sizeof(id->id))
		return -EINVAL;
	memcpy(id->id, dev_name(dev), len);

	return 0;
}

static int auxiliary_liveupdate_is_namesake(struct device *other, void *data)
{
	const struct device *dev = data;
	size_t len = auxiliary_liveupdate_prefix(dev);

	return other != dev && other->bus == dev->bus &&
	       auxiliary_liveupdate_prefix(other) == len &&
	       !memcmp(dev_name(other), dev_name(dev), len);
}

/* Is there another device below the parent that has the same identity? */
static bool auxiliary_liveupdate_has_namesake(struct device *dev)
{
	return device_for_each_child(dev->parent, dev, auxiliary_liveupdate_is_namesake);
}

static bool auxiliary_liveupdate_follow(struct device *dev)
{
	const struct device_driver *drv = dev->driver;

	return drv && !(drv->liveupdate && drv->liveupdate->detach);
}

static int auxiliary_liveupdate_check(struct device *dev, const char **reason)
{
	const struct device_driver *drv = READ_ONCE(dev->driver);

	if (drv && drv->liveupdate && !drv->liveupdate->dma_api_only)
		*reason = "its driver does not say that all its DMA goes through the DMA API";
	else if (dev->pm_domain)
		*reason = "it has a power domain of its own";
	else if (auxiliary_liveupdate_has_namesake(dev))
		*reason = "it is not the only one of its name below its parent";
	else
		return 0;

	return -EOPNOTSUPP;
}

/* One of the same name may have been added since. */
static int auxiliary_liveupdate_freeze(struct device *dev, enum device_liveupdate_role role)
{
	return auxiliary_liveupdate_has_namesake(dev) ? -EEXIST : 0;
}

static void auxiliary_liveupdate_completed(struct device *dev, bool reclaimed)
{
	const struct device_driver *drv = dev->driver;

	if (reclaimed && drv && drv->liveupdate && drv->liveupdate->interrupts_missed)
		drv->liveupdate->interrupts_missed(dev);
}

const struct bus_liveupdate_ops auxiliary_liveupdate_ops = {
	.identify	= auxiliary_liveupdate_identify,
	.follow		= auxiliary_liveupdate_follow,
	.shutdown_needs_driver = true,
	.check		= auxiliary_liveupdate_check,
	.freeze		= auxiliary_liveupdate_freeze,
	.completed	= auxiliary_liveupdate_completed,
};
