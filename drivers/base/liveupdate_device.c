// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What live update knows of a device
 *
 * &struct device_liveupdate hangs on a device that is requested, in the set or handed
 * over. It is allocated when the first of this becomes so and freed with the device.
 * Beside it are here the state of both roles of this kernel, &struct dlu_outgoing and
 * &struct dlu_incoming, the lock of all that, and the last failure of a device.
 *
 * The files of drivers/base/liveupdate*.c are ordered, and each calls only those
 * before it: liveupdate_device.c, liveupdate_table.c, then liveupdate_set.c and
 * liveupdate_outgoing.c beside liveupdate_record.c and liveupdate_incoming.c, then
 * liveupdate_sysfs.c, liveupdate_finish.c and liveupdate.c.
 *
 * Context: everything here may sleep, except device_liveupdate_release().
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "base.h"

/* Protects what is below. */
struct mutex dlu_lock = __MUTEX_INITIALIZER(dlu_lock);
EXPORT_SYMBOL_IF_KUNIT(dlu_lock);

struct dlu_outgoing dlu_outgoing = {
	.requested = LIST_HEAD_INIT(dlu_outgoing.requested),
	.set = LIST_HEAD_INIT(dlu_outgoing.set),
};
EXPORT_SYMBOL_IF_KUNIT(dlu_outgoing);

struct dlu_incoming dlu_incoming;
EXPORT_SYMBOL_IF_KUNIT(dlu_incoming);

struct dlu_last_failure dlu_last_failure;
EXPORT_SYMBOL_IF_KUNIT(dlu_last_failure);

/**
 * device_liveupdate_get() - what live update knows of a device
 * @dev: the device
 *
 * Context: May sleep. Takes dlu_lock.
 * Return: &device.liveupdate, allocated if need be, or NULL without memory.
 */
struct device_liveupdate *device_liveupdate_get(struct device *dev)
{
	struct device_liveupdate *fresh __free(kfree) = NULL;

	if (READ_ONCE(dev->liveupdate))
		return dev->liveupdate;

	fresh = kzalloc_obj(*fresh);
	if (!fresh)
		return NULL;
	fresh->dev = dev;
	mutex_init(&fresh->lock);
	INIT_LIST_HEAD(&fresh->requested);
	INIT_LIST_HEAD(&fresh->member);
	INIT_LIST_HEAD(&fresh->attach);

	guard(mutex)(&dlu_lock);
	if (!dev->liveupdate)
		/* Others look at it without a lock. */
		smp_store_release(&dev->liveupdate, no_free_ptr(fresh));

	return dev->liveupdate;
}

/**
 * device_liveupdate_release() - the device is freed
 * @dev: the device
 *
 * Context: any.
 */
void device_liveupdate_release(struct device *dev)
{
	kfree(dev->liveupdate);
}

/**
 * device_liveupdate_string_valid() - check a string that is to be handed over
 * @string: the string, terminated
 *
 * Context: any.
 * Return: true if @string is not empty, and printable without white space.
 */
bool device_liveupdate_string_valid(const char *string)
{
	const char *end = string;

	/* One comparison a character, as there are thousands of strings. */
	while ((u8)(*end - '!') <= '~' - '!')
		end++;

	return end > string && !*end;
}

/**
 * device_liveupdate_identify() - ask a bus which device this is
 * @dev: a device on a bus with live update
 * @id: filled in
 *
 * Context: May sleep.
 * Return: 0; -EINVAL if the bus gives no valid identity, or has a name that cannot
 * be handed over; or the error of the bus.
 */
int device_liveupdate_identify(struct device *dev,
			       struct device_liveupdate_id *id)
{
	int err;

	memset(id, 0, sizeof(*id));
	err = dev->bus->liveupdate->identify(dev, id);
	if (err)
		return err;
	if (id->id[sizeof(id->id) - 1] ||
	    !device_liveupdate_string_valid(id->id) ||
	    strlen(dev->bus->name) >= DEVICE_LIVEUPDATE_BUS_LEN ||
	    !device_liveupdate_string_valid(dev->bus->name))
		return -EINVAL;

	return 0;
}

/**
 * device_liveupdate_fail() - remember and report that a device failed
 * @dev: the device
 * @step: what failed
 * @error: the error, negative
 * @reason: why
 *
 * Context: May sleep. Takes dlu_lock.
 * Return: @error.
 */
int device_liveupdate_fail(struct device *dev, const char *step, int error,
			   const char *reason)
{
	const struct device_liveupdate *liveupdate = dev->liveupdate;

	dev_err(dev, "liveupdate: %s failed: %pe, %s\n", step, ERR_PTR(error),
		reason);

	guard(mutex)(&dlu_lock);
	dlu_last_failure.step = step;
	dlu_last_failure.errno = error;
	strscpy(dlu_last_failure.reason, reason);
	strscpy(dlu_last_failure.bus, dev->bus ? dev->bus->name : "-");
	if (liveupdate && liveupdate->id.id[0])
		strscpy(dlu_last_failure.id, liveupdate->id.id);
	else
		strscpy(dlu_last_failure.id, dev_name(dev));

	return error;
}
