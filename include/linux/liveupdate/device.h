/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Devices in a live update
 *
 * A device can be kept running while one kernel replaces another, if its bus and
 * its driver know how. A bus says so with &struct bus_liveupdate_ops, a driver
 * with &struct dev_liveupdate_ops; both are constant and named by one pointer in
 * &struct bus_type and &struct device_driver. Devices that were not requested,
 * and buses and drivers without these, are not touched in any way.
 *
 * The bus knows what a device is: how to find it again, whether it is still the
 * same hardware, what it hangs on, and how to quiesce it. The driver knows
 * what it does: what of its state the next kernel's driver needs. drivers/base/
 * does the rest; its part is described in drivers/base/liveupdate.c.
 *
 * What a driver adds:
 *
 * .. code-block:: c
 *
 *	static int frob_liveupdate_prepare(struct device *dev,
 *					   struct liveupdate_data *data)
 *	{
 *		struct frob_state *state = liveupdate_data_alloc(data, sizeof(*state));
 *
 *		return IS_ERR(state) ? PTR_ERR(state) : frob_fill_in(dev, state);
 *	}
 *
 *	static const struct dev_liveupdate_ops frob_liveupdate_ops = {
 *		.compatible	= "example,frob-queues",
 *		.version	= 2,
 *		.oldest		= 1,
 *		.prepare	= frob_liveupdate_prepare,
 *		.freeze		= frob_liveupdate_freeze,
 *		.thaw		= frob_liveupdate_thaw,
 *	};
 *
 *	static int frob_probe(struct device *dev)
 *	{
 *		struct frob *frob = frob_alloc(dev);
 *		const struct liveupdate_data *data;
 *		u32 version;
 *
 *		if (IS_ERR(frob))
 *			return PTR_ERR(frob);
 *		data = device_liveupdate_retrieve(dev, &version);
 *		if (data)
 *			return frob_take_over(frob, data, version);
 *
 *		return frob_reset_and_set_up(frob);
 *	}
 */

#ifndef _LINUX_LIVEUPDATE_DEVICE_H
#define _LINUX_LIVEUPDATE_DEVICE_H

#include <linux/kho/abi/device.h>
#include <linux/liveupdate/data.h>
#include <linux/types.h>

struct bus_type;
struct device;

/**
 * struct dev_liveupdate_ops - what a driver does for live update
 * @compatible: Required. What the saved data is compatible with, shorter than
 *	%DEVICE_LIVEUPDATE_DRIVER_LEN, printable without white space. Only a driver
 *	with the same string is allowed to take the device over. Not the name of
 *	the driver, which may change.
 * @version: version of the data that @prepare and @freeze write, 1 or more.
 * @oldest: oldest version that probe() can take over, 1 to @version.
 * @dma_api_only: all memory that the device may access comes from the DMA API, allocated
 *	or mapped, or there is none. Memory that the driver tells the device by its
 *	physical address is not known to anybody, and nothing could preserve it. A bus
 *	whose devices have DMA refuses a driver that does not say so.
 * @prepare: Optional. Save what can be saved while the device works, and leave in
 *	@data what the next kernel needs: a blob (liveupdate_data_alloc()) or a
 *	plain value. On failure @cancel is not called; what was left in @data is
 *	freed.
 * @freeze: Optional. Stop to submit work and bring the blob up to date. Neither it
 *	nor a plain value can be replaced. The blob may still be written to after
 *	that, until the kexec. @thaw is not called for a device that
 *	failed. Interrupts arrive until the bus has frozen the device, too.
 * @freeze_late: Optional. The bus has frozen the device: no interrupt of it arrives any
 *	more, and its handlers have returned, if the bus takes care of interrupts. Write
 *	down what handlers change: what they counted, how far they read a queue. Cannot
 *	fail.
 * @thaw: Optional. Undo @freeze and @freeze_late. Interrupts may have been missed in
 *	between, unless the bus says that it latches them: look what the device has to
 *	say. Cannot fail.
 * @cancel: Optional. Undo @prepare. Cannot fail. The blob is freed afterwards.
 * @interrupts_missed: Optional. In the next kernel, after probe() took the device over:
 *	interrupts since @freeze may have been missed, and nobody knows which. Look what
 *	the device has to say, as a handler would, while handlers may run. The bus calls
 *	it once, with device_lock held, and not if it latches interrupts.
 * @finish: Optional. In the next kernel, for a device that probe() took over: the
 *	operator declared the update complete, the data is freed afterwards.
 *
 * There is no callback to take a device over: probe() does that, with
 * device_liveupdate_retrieve(), and device_liveupdate_decline() if it starts from nothing
 * after all.
 *
 * Context: All may sleep. @freeze and @thaw run in the blackout, without
 * device_lock; they must not take it, nor a lock that is held while a device is
 * removed. @prepare, @cancel and @finish run with device_lock held, except when a
 * device is removed: then @thaw and @cancel run without it, while nothing else can
 * happen to the device. No callback may remove a device. From @prepare to @cancel
 * the device is kept awake as far as runtime power management goes.
 */
struct dev_liveupdate_ops {
	const char *compatible;
	u32 version;
	u32 oldest;
	bool dma_api_only;
	int (*prepare)(struct device *dev, struct liveupdate_data *data);
	int (*freeze)(struct device *dev, const struct liveupdate_data *data);
	void (*freeze_late)(struct device *dev, const struct liveupdate_data *data);
	void (*thaw)(struct device *dev, const struct liveupdate_data *data);
	void (*cancel)(struct device *dev, const struct liveupdate_data *data);
	void (*interrupts_missed)(struct device *dev);
	void (*finish)(struct device *dev, const struct liveupdate_data *data);
};

/**
 * struct device_liveupdate_id - which device this is
 * @id: identity among the devices of its bus that have the same parent, terminated and
 *	padded with zeroes, printable without white space. It must name the same
 *	hardware in the next kernel, so it cannot contain a number that was given in
 *	the order of enumeration. What is below another preserved device may be called
 *	the same.
 * @fingerprint: what tells this hardware from other hardware that may be found
 *	at the same place, padded with zeroes: kind, revision, resources.
 */
struct device_liveupdate_id {
	char id[DEVICE_LIVEUPDATE_ID_LEN];
	u8 fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
};

/**
 * enum device_liveupdate_role - what a device is for those that need it
 * @DEVICE_LIVEUPDATE_ENDPOINT: It does work of its own. It is preserved, by its bus and
 *	its driver, if it is requested or if a preserved device needs it.
 * @DEVICE_LIVEUPDATE_FORWARDER: It only connects others. It cannot be requested. If a
 *	preserved device needs it, it is kept alive as part of the path of that device:
 *	its bus is called for it, but its driver is not, and in the next kernel any
 *	driver may be bound to it.
 * @DEVICE_LIVEUPDATE_UNSUPPORTED: Neither can be done. A device that needs it cannot be
 *	preserved.
 */
enum device_liveupdate_role {
	DEVICE_LIVEUPDATE_ENDPOINT,
	DEVICE_LIVEUPDATE_FORWARDER,
	DEVICE_LIVEUPDATE_UNSUPPORTED,
};

/**
 * struct bus_liveupdate_ops - what a bus does for live update
 * @identify: Required. Fill in @id, which is zeroed. Must not write to the
 *	device. May run before the device is bound. What it says holds for as long as the
 *	device is there, unless @revision says otherwise.
 * @revision: Optional. A number that is another one if what @identify says may have
 *	changed meanwhile. For a bus that can change a device, such as one that moves
 *	windows. Asked when the set is closed, where @identify is called again if it has
 *	changed, and when the device is frozen, where the update is refused then. Must not
 *	access the device, as that takes long.
 * @match: Optional. Is the device, which identifies itself as @id, the one that was
 *	handed over as @handed? Asked in the next kernel. @handed has the same
 *	&device_liveupdate_id.id. Without it the fingerprints must be equal. Must not write
 *	to the device.
 * @follow: Optional. The parent of the device is preserved. Is the device preserved with
 *	it, as if it had been requested? If not, and it was not requested, the update is
 *	refused, provided that it has a driver or that it would be shut down otherwise.
 *	Called when the set is closed, with device_lock of the parent held.
 * @check: Optional. Can this device be preserved at all? If not, an error and
 *	in *@reason why, a few words: "translated by an IOMMU". Called when a
 *	device is requested, and for all when the set is closed.
 * @role: Optional. What is the device for those that need it, because they are below it,
 *	or by a managed device link, or as their bus says? The same answer for as long as
 *	the device is there. Without it every device is %DEVICE_LIVEUPDATE_ENDPOINT.
 * @dependencies: Optional. Call @add with @context for every device, beyond
 *	parents and the suppliers of managed device links, that @dev cannot do
 *	without; return the first error of @add. They were registered before @dev, as
 *	in the next kernel @dev is taken over after them. @role is asked for them, too.
 * @prepare: Optional. Of %DEVICE_LIVEUPDATE_ENDPOINT: save what the bus knows of the
 *	device, whose driver is prepared. Of %DEVICE_LIVEUPDATE_FORWARDER: from now on it
 *	must work for the devices that need it. An error undoes the whole transition; @cancel
 *	is not called for the device that failed.
 * @busy: Optional. At which device of the bus, preserved or not, is something under way
 *	that its shutdown would wait for? Returns one with a reference, and in *@reason what
 *	it is; or NULL. A query without side effects. Before anything is frozen it is asked
 *	until there is none, and once more when all devices are frozen.
 * @freeze: Optional. Bring the device into the state in which it crosses the kexec;
 *	its driver is frozen, unless it is %DEVICE_LIVEUPDATE_FORWARDER. @thaw is not
 *	called for a device that failed.
 * @thaw: Optional. Undo @freeze. Cannot fail.
 * @cancel: Optional. Undo @prepare. Cannot fail.
 * @quarantine: Required, unless the device cannot be stopped but with its parent. In the
 *	next kernel: nobody takes the device over, quiesce it. The device may be
 *	%DEVICE_LIVEUPDATE_FORWARDER if its record is corrupted. 0 says that it was reset,
 *	or that it cannot access memory even if its next driver lets it, for that memory
 *	is freed next. After an error its memory is retained, and it is called again at
 *	FINISH. Without it the device counts as stopped when @quarantine of what is above
 *	it says so, and its memory is retained until then; such a device is refused
 *	unless its parent is preserved, too.
 * @stop: Required if devices access memory. In the old kernel: the device, which is
 *	frozen, was lost after device_shutdown() had passed it. Make it access no memory
 *	until the kexec and after it. Nothing else is called for it in this kernel, in the
 *	next one @quarantine is; so it need not be reset, and turning off what lets it
 *	access memory is enough.
 * @completed: Optional. In the next kernel: a driver was bound to the device and took
 *	it over (@reclaimed), or set it up as ever. Of a device on the path, that
 *	nothing below needs it any more: FINISH is over, or it is not the one that
 *	was handed over.
 *
 * A bus with %DEVICE_LIVEUPDATE_FORWARDER and with &bus_type.shutdown has that called for
 * a frozen one, too, as there may be services to end. It finds out with
 * device_liveupdate_on_path(), and leaves alive what the devices that need it use.
 * Without &bus_type.shutdown a frozen forwarder is not shut down at all: its driver
 * would not know.
 *
 * Context: as &struct dev_liveupdate_ops. @identify, @check, @role and
 * @dependencies run with device_lock held or without; a driver that is bound stays
 * so meanwhile. So does @revision, without it in the blackout. @quarantine and
 * @completed run with it held, and so does @stop, except when a device is removed.
 */
struct bus_liveupdate_ops {
	int (*identify)(struct device *dev, struct device_liveupdate_id *id);
	u64 (*revision)(struct device *dev);
	bool (*match)(struct device *dev, const struct device_liveupdate_id *id,
		      const struct device_liveupdate_id *handed);
	bool (*follow)(struct device *dev);
	int (*check)(struct device *dev, const char **reason);
	enum device_liveupdate_role (*role)(struct device *dev);
	int (*dependencies)(struct device *dev,
			    int (*add)(struct device *dependency, void *context),
			    void *context);
	int (*prepare)(struct device *dev, enum device_liveupdate_role role);
	struct device *(*busy)(const char **reason);
	int (*freeze)(struct device *dev, enum device_liveupdate_role role);
	void (*thaw)(struct device *dev, enum device_liveupdate_role role);
	void (*cancel)(struct device *dev, enum device_liveupdate_role role);
	int (*quarantine)(struct device *dev);
	void (*stop)(struct device *dev);
	void (*completed)(struct device *dev, bool reclaimed);
};

#ifdef CONFIG_DEV_LIVEUPDATE

int device_liveupdate_check_change(struct device *dev);
void device_liveupdate_abort(struct device *dev, const char *reason);
bool device_liveupdate_on_path(struct device *dev);
bool device_liveupdate_is_pending(const struct bus_type *bus, const struct device *parent,
				  const struct device_liveupdate_id *id);
bool device_liveupdate_is_incoming(struct device *dev);
const struct liveupdate_data *device_liveupdate_retrieve(struct device *dev,
							 u32 *version);
void device_liveupdate_decline(struct device *dev);

#else /* CONFIG_DEV_LIVEUPDATE */

static inline int device_liveupdate_check_change(struct device *dev)
{
	return 0;
}

static inline void device_liveupdate_abort(struct device *dev, const char *reason)
{
}

static inline bool device_liveupdate_on_path(struct device *dev)
{
	return false;
}

static inline bool
device_liveupdate_is_pending(const struct bus_type *bus, const struct device *parent,
			     const struct device_liveupdate_id *id)
{
	return false;
}

static inline bool device_liveupdate_is_incoming(struct device *dev)
{
	return false;
}

static inline const struct liveupdate_data *
device_liveupdate_retrieve(struct device *dev, u32 *version)
{
	return NULL;
}

static inline void device_liveupdate_decline(struct device *dev) { }

#endif /* CONFIG_DEV_LIVEUPDATE */

#endif /* _LINUX_LIVEUPDATE_DEVICE_H */
