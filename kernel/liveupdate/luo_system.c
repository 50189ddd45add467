// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The machine of the system
 *
 * There is one machine (luo_state.c) for the system. Here is what subsystems, and
 * upstream's part of the Live Update Orchestrator, know of it.
 *
 * In the next kernel luo_state_early_init() looks for handed-over data right
 * after the sessions did, before any device is probed, also where live update
 * is switched off: then the data is reported, and built-in subsystems that could
 * restore theirs stop what it describes. What is mandatory and was not stopped is
 * retained.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/retained.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/slab.h>

#include "luo_internal.h"
#include "luo_ctx.h"

/* For how long a reboot waits for a transition. */
#define LUO_REBOOT_PATIENCE_MS	30000

struct luo_ctx luo_system = {
	.kho_name = LUO_SUBSYSTEMS_KHO_NAME,
	.freeze_sessions = luo_session_serialize,
	.thaw_sessions = luo_session_unserialize,
	.session_waits = luo_session_waits,
};

/**
 * liveupdate_get_state() - state of the machine
 *
 * Correct from early_initcall on, before any device is probed. It may change
 * at once, unless the caller is a callback of a subsystem.
 *
 * Context: any.
 * Return: the state.
 */
enum liveupdate_state liveupdate_get_state(void)
{
	return READ_ONCE(luo_system.state);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_get_state, "LIVEUPDATE");

/**
 * liveupdate_peek() - look at handed-over data without taking it over
 * @desc: the subsystem; it need not be registered
 * @data: on success the data: bytes of a blob, which liveupdate_data_blob() finds, or a
 *	plain value. Not to be claimed or changed, and valid until restore is called.
 *
 * See kernel/liveupdate/luo_peek.c for what becomes of the answer over time.
 *
 * Context: From mm_core_init() on, also with interrupts off while the system boots; until
 * early_initcall it allocates memory. Afterwards any.
 * Return: 0; -ENOENT if nothing was handed over under this name, or it is not there any
 * more; -EALREADY if the subsystem has it; and, upon which the caller has to fail
 * closed: -ENOTRECOVERABLE if restore failed, -EPROTONOSUPPORT if @desc does not include
 * the version, -EBADMSG if the blob or what names it cannot be used, -ENOMEM, -EAGAIN if
 * it is too early.
 */
int liveupdate_peek(const struct liveupdate_subsystem_desc *desc,
		    struct liveupdate_data *data)
{
	phys_addr_t phys;
	size_t size;
	int err;

	if (READ_ONCE(luo_system.arrived))
		return luo_peek_incoming(&luo_system, desc, data);
	if (!slab_is_available())
		return -EAGAIN;

	err = kho_retrieve_subtree(LUO_SUBSYSTEMS_KHO_NAME, &phys, &size);
	if (err)
		return err == -ENOENT ? err : -EBADMSG;

	return luo_peek_table(phys, size, desc, data);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_peek, "LIVEUPDATE");

/**
 * liveupdate_invalidate() - what a subsystem prepared has become invalid
 * @subsystem: the subsystem; its prepare has succeeded, its cancel was not
 *	called
 * @error: why, negative
 * @device: device or other item of it that is the cause, as in
 *	liveupdate_report_failure(); may be empty
 * @reason: why, in words
 *
 * All of the preparation is cancelled, once no transition is in progress any
 * more; @subsystem is told by its cancel callback, as everybody is. Until then
 * nothing can be frozen.
 *
 * Context: any.
 */
void liveupdate_invalidate(struct liveupdate_subsystem *subsystem, int error,
			   const char *device, const char *reason)
{
	KUNIT_STATIC_STUB_REDIRECT(liveupdate_invalidate, subsystem, error, device,
				   reason);

	luo_ctx_invalidate(&luo_system, subsystem, error, device, reason);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_invalidate, "LIVEUPDATE");

/**
 * liveupdate_report_failure() - say what of a subsystem fails, and why
 * @subsystem: the subsystem
 * @error: the error, negative
 * @device: device or other item of it, such as "pci:0000:00:04.0"; may be empty
 * @reason: why, in words; both are cut if they are too long
 *
 * From a callback of the subsystem, which then fails: last_failure/ has it together
 * with the transition and the error that the callback returns. If there are several, the
 * last counts; if the callback succeeds, none. Outside of callbacks, when the subsystem
 * refuses what it is asked for: it is a failure by itself, of the transition "request".
 *
 * Context: Process context; spinlocks may be held.
 */
void liveupdate_report_failure(struct liveupdate_subsystem *subsystem, int error,
			       const char *device, const char *reason)
{
	KUNIT_STATIC_STUB_REDIRECT(liveupdate_report_failure, subsystem, error,
				   device, reason);

	luo_report_failure(&luo_system, subsystem->desc->name, error, device, reason);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_report_failure, "LIVEUPDATE");

/**
 * liveupdate_item_begin() - an item of a subsystem is about to be worked on
 * @items: the account, zeroed before the first item
 * @name: name of the item, valid until liveupdate_item_end()
 *
 * Context: Process context; spinlocks may be held. Anywhere but
 * in a callback of the subsystem only the account is kept.
 */
void liveupdate_item_begin(struct liveupdate_items *items, const char *name)
{
	luo_item_begin(&luo_system, items, name);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_item_begin, "LIVEUPDATE");

/**
 * liveupdate_item_end() - the work on the item is done
 * @items: the account, after liveupdate_item_begin()
 * @error: what it ended with
 *
 * Context: as liveupdate_item_begin().
 * Return: @error if it is not 0; -ETIMEDOUT if this is a prepare or freeze
 * callback and time is up, so that the subsystem undoes its items and returns
 * that; otherwise 0.
 */
int liveupdate_item_end(struct liveupdate_items *items, int error)
{
	return luo_item_end(&luo_system, items, error);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_item_end, "LIVEUPDATE");

/**
 * liveupdate_items_record() - write how long the items took to the timeline
 * @subsystem: the subsystem
 * @items: the account, after all items
 *
 * Context: as liveupdate_item_begin(). Nothing is written anywhere but in a
 * callback of the subsystem.
 */
void liveupdate_items_record(struct liveupdate_subsystem *subsystem,
			     const struct liveupdate_items *items)
{
	luo_items_record(&luo_system, subsystem, items);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_items_record, "LIVEUPDATE");

static int luo_forget_item(void *context, const char *owner, const char *name)
{
	struct liveupdate_subsystem *subsystem = context;

	return subsystem->ops->forget(subsystem, name);
}

/**
 * liveupdate_retain() - memory that was handed over must outlive this kernel
 * @subsystem: the subsystem, with a forget callback; it stays registered
 * @name: what it belongs to, for people and for forget; unique for the subsystem;
 *	may be empty
 * @bytes: how much it is, 0 if that is not known
 * @reason: why, a constant string
 *
 * From here on there is neither a prepare nor a kexec, until the cause is released, or
 * the operator gives it up and forget releases it. See kernel/liveupdate/luo_retained.c.
 *
 * Context: May sleep; allocates memory with __GFP_NOFAIL. Locks that forget takes may be
 * held.
 * Return: the cause, for liveupdate_release(). It cannot fail.
 */
struct liveupdate_retained *
liveupdate_retain(struct liveupdate_subsystem *subsystem, const char *name,
		  u64 bytes, const char *reason)
{
	return luo_retain(&luo_system.retained, subsystem->desc->name, name, bytes,
			  reason, luo_forget_item, subsystem);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_retain, "LIVEUPDATE");

/**
 * liveupdate_release() - memory need not outlive this kernel any more
 * @retained: the cause, not valid any more on return; or NULL
 *
 * Context: May sleep. Locks that forget takes may be held.
 */
void liveupdate_release(struct liveupdate_retained *retained)
{
	luo_retained_release(retained);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_release, "LIVEUPDATE");

#if IS_ENABLED(CONFIG_KUNIT)
/**
 * liveupdate_retained_ids() - list what is retained, for tests
 * @ids: the IDs, separated by spaces
 * @size: size of @ids in bytes
 *
 * Context: May sleep.
 */
void liveupdate_retained_ids(char *ids, size_t size)
{
	luo_retained_ids(&luo_system.retained, ids, size);
}
EXPORT_SYMBOL_IF_KUNIT(liveupdate_retained_ids);
#endif

/**
 * liveupdate_register_subsystem() - register the subsystem of a module
 * @subsystem: the subsystem, on %LIVEUPDATE_LEVEL_WORKLOAD
 *
 * If the previous kernel handed data to it, it restores it now, or when the transition
 * under way is over. Registering while the machine is prepared succeeds, and makes the
 * preparation void: all is cancelled, for the next prepare to include it. A module does
 * this last in its init function.
 *
 * Context: May sleep. Waits for no transition. Not from a callback of a subsystem.
 * Return: 0; -EOPNOTSUPP if live update is off; -EINVAL if the description is
 * malformed or has another level; -EEXIST if the name is taken; -ENOSPC if there are
 * too many. That restoring failed is not an error of registering.
 */
int liveupdate_register_subsystem(struct liveupdate_subsystem *subsystem)
{
	/* Where nothing can be prepared any more, something may still be restored. */
	if (!liveupdate_enabled() &&
	    liveupdate_get_state() != LIVEUPDATE_STATE_UPDATED)
		return -EOPNOTSUPP;
	if (subsystem->desc->level != LIVEUPDATE_LEVEL_WORKLOAD)
		return -EINVAL;

	return luo_subsystem_add(&luo_system, subsystem);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_register_subsystem, "LIVEUPDATE");

/**
 * liveupdate_unregister_subsystem() - unregister the subsystem of a module
 * @subsystem: the subsystem, registered
 *
 * Context: May sleep. Waits for a transition to end. Not from a callback of a subsystem,
 * and not with a device_lock held, as in probe(), because transitions take those.
 */
void liveupdate_unregister_subsystem(struct liveupdate_subsystem *subsystem)
{
	luo_subsystem_remove(&luo_system, subsystem);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_unregister_subsystem, "LIVEUPDATE");

/**
 * liveupdate_instance_add() - hand over one more instance of a subsystem
 * @subsystem: the subsystem
 * @instance: the instance, zeroed but for what it says; it stays with the caller
 *
 * From the subsystem's prepare callback on, until the instance is dropped or cancel
 * returns. While the table is sealed, which is from the end of FREEZE until THAW, nothing
 * can be added.
 *
 * Context: May sleep. Also from callbacks of the subsystem. Locks that are held may be
 * those that its freeze takes.
 * Return: 0; -EINVAL if the version or the class cannot be; -ENODEV if the subsystem is
 * not prepared; -EBUSY if the table is sealed; -EEXIST if the key is taken; -E2BIG if
 * there are too many of the class; -ENOMEM; or another error of Kexec HandOver.
 */
int liveupdate_instance_add(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_instance *instance)
{
	return luo_instance_add(&luo_system, subsystem, instance);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_add, "LIVEUPDATE");

/**
 * liveupdate_instance_drop() - hand an instance over no more
 * @instance: the instance; nothing happens unless it is added
 *
 * Its data belongs to the caller.
 *
 * Context: as liveupdate_instance_add().
 * Return: 0; -EBUSY if the table is sealed, when only liveupdate_instance_abort() is left.
 */
int liveupdate_instance_drop(struct liveupdate_instance *instance)
{
	return luo_instance_drop(&luo_system, instance);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_drop, "LIVEUPDATE");

/**
 * liveupdate_instance_abort() - an instance cannot be handed over any more
 * @instance: the instance; nothing happens unless it is added. It stays added.
 * @error: why, negative
 *
 * The next kernel is told that there was one. If it is mandatory, the preparation has
 * become invalid, as after liveupdate_invalidate(). What wrote to its data has been
 * stopped.
 *
 * Context: as liveupdate_instance_add(), and while the table is sealed.
 */
void liveupdate_instance_abort(struct liveupdate_instance *instance, int error)
{
	struct liveupdate_subsystem *subsystem =
		luo_instance_abort(&luo_system, instance, error);
	char name[LIVEUPDATE_DEVICE_LEN];

	if (!subsystem)
		return;
	snprintf(name, sizeof(name), "instance %llu", instance->key);
	luo_ctx_invalidate(&luo_system, subsystem, error, name, "it went missing");
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_abort, "LIVEUPDATE");

/**
 * liveupdate_instance_find() - find an instance that was handed over
 * @subsystem: the subsystem
 * @key: number of the instance
 * @info: the instance, if there is one
 *
 * From restore to finish, also if restore failed.
 *
 * Context: May sleep. Also from callbacks of the subsystem.
 * Return: 0 if it can be claimed; -ENOENT if there is none; -EBADMSG if that is not known,
 * because records could not be read, or if its data is not there; otherwise
 * &liveupdate_instance_info.error.
 */
int liveupdate_instance_find(struct liveupdate_subsystem *subsystem, u64 key,
			     struct liveupdate_instance_info *info)
{
	return luo_instance_find(&luo_system, subsystem->desc, key, info);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_find, "LIVEUPDATE");

/**
 * liveupdate_instance_next() - find one instance after the other
 * @subsystem: the subsystem
 * @position: 0 at first; where to go on
 * @info: if there is one more, the instance; look at its error first
 *
 * In the order of keys. Those that were claimed are skipped.
 *
 * Context: as liveupdate_instance_find().
 * Return: 0; -ENOENT if there are no more; -EBADMSG if there are no more but records could
 * not be read.
 */
int liveupdate_instance_next(struct liveupdate_subsystem *subsystem,
			     unsigned int *position,
			     struct liveupdate_instance_info *info)
{
	return luo_instance_next(&luo_system, subsystem->desc, position, info);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_next, "LIVEUPDATE");

/**
 * liveupdate_instance_claim() - take an instance over
 * @subsystem: the subsystem
 * @key: number of the instance
 *
 * The core frees or retains it no more. Its blob is the caller's with
 * liveupdate_data_claim(). As the last step that can fail.
 *
 * Context: as liveupdate_instance_find().
 * Return: as liveupdate_instance_find().
 */
int liveupdate_instance_claim(struct liveupdate_subsystem *subsystem, u64 key)
{
	return luo_instance_claim(&luo_system, subsystem->desc, key);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_instance_claim, "LIVEUPDATE");

/* A kernel that jumps back freezes nothing, and must find nothing to freeze. */
static int luo_refuse_jump_back(struct luo_ctx *ctx)
{
	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	if (ctx->state == LIVEUPDATE_STATE_NORMAL)
		return 0;

	pr_err("a kexec image that jumps back is refused during a live update\n");

	return -EINVAL;
}

/*
 * May there be a kexec into kexec_image at all? In reboot(2), with
 * system_transition_mutex and the kexec lock held. Also if live update is off. Returns
 * 0; -EBUSY if something is retained, or during a transition; -EINVAL if kexec_image
 * will jump back and the state is not normal.
 */
int luo_state_check(void)
{
	int err;

	/* No next kernel would know of it. */
	err = luo_retained_refuse(&luo_system, LUO_TRANSITION_FREEZE);
	if (err || !kexec_image->preserve_context)
		return err;

	return luo_refuse_jump_back(&luo_system);
}

/*
 * Let nobody change a session from here on. Waits for those who do, up to
 * freeze_timeout_ms; luo_session_unhold() undoes it. In reboot(2), with
 * system_transition_mutex and the kexec lock held.
 */
int luo_state_hold(void)
{
	int err;

	/* Whoever waits for the machine may hold up who changes a session. */
	scoped_cond_guard(mutex_try, return -EBUSY, &luo_system.lock)
		luo_progress_enter(&luo_system, LUO_TRANSITION_FREEZE, LUO_SESSIONS);
	err = luo_session_hold(READ_ONCE(luo_system.freeze_timeout_ms));
	scoped_guard(mutex, &luo_system.lock)
		luo_transition_end(&luo_system);
	if (err)
		luo_record_failure(&luo_system, LUO_TRANSITION_FREEZE, LUO_SESSIONS, err, "",
				   "a session is being changed");

	return err;
}

/*
 * Freeze for the kexec into kexec_image. In reboot(2), with system_transition_mutex and
 * the kexec lock held, after luo_state_hold(). Returns 0; -EINVAL if prepared and
 * kexec_image cannot receive state; otherwise as luo_ctx_freeze().
 */
int luo_state_freeze(void)
{
	return luo_ctx_freeze(&luo_system, kexec_image->file_mode &&
						kexec_image->kho.fdt);
}

/*
 * Undo luo_state_freeze(). In reboot(2), with system_transition_mutex and the kexec lock
 * held.
 */
void luo_state_thaw(int err)
{
	luo_record_failure(&luo_system, LUO_TRANSITION_FREEZE, "", err, "",
			   "the image cannot be used with what is preserved now");
	luo_ctx_thaw(&luo_system);
}

/*
 * The system goes down, maybe from where nobody holds system_transition_mutex:
 * orderly_reboot(), SysRq-o, dm-verity. What is frozen must be thawed before devices are
 * shut down; but a subsystem that does not return must not keep the machine up.
 */
static int luo_reboot_notify(struct notifier_block *nb, unsigned long event,
			     void *unused)
{
	WRITE_ONCE(luo_system.shutting_down, true);

	for (unsigned int ms = 0; ms < LUO_REBOOT_PATIENCE_MS; ms += 20) {
		if (mutex_trylock(&luo_system.lock)) {
			mutex_unlock(&luo_system.lock);
			return NOTIFY_DONE;
		}
		msleep(20);
	}
	pr_err("the system goes down during a transition\n");

	return NOTIFY_DONE;
}

/* Before all others: they may stop what subsystems need. */
static struct notifier_block luo_reboot_notifier = {
	.notifier_call = luo_reboot_notify,
	.priority = INT_MAX,
};

/* Begin to look at reboots. May sleep. Once. */
int luo_reboot_register(void)
{
	return register_reboot_notifier(&luo_reboot_notifier);
}

/* Live update is off here, but the previous kernel did not know. */
static int __init luo_discard(phys_addr_t phys, size_t size)
{
	int err;

	err = luo_ctx_accept(&luo_system, phys, size);
	if (err)
		return err;

	pr_warn("live update is off: %u subsystems handed over state\n",
		luo_system.nr_incoming);
	for (unsigned int i = 0; i < luo_system.nr_incoming; i++) {
		const struct luo_subsystem_ser *ser = &luo_system.incoming[i].ser;

		pr_warn("%s: version %u, %s, %llu bytes\n", ser->name,
			ser->version, ser->flags & LUO_SUBSYSTEM_SER_MANDATORY ?
			"mandatory" : "optional", ser->size);
	}
	luo_subsystems_discard(&luo_system);

	return 0;
}

static void __init luo_instances_receive(struct luo_ctx *ctx)
{
	phys_addr_t phys;
	size_t size;

	for (u32 class = 0; class < LUO_NR_CLASSES; class++) {
		int err = kho_retrieve_subtree(luo_instances_name(class), &phys, &size);

		if (err == -ENOENT)
			continue;
		/* Nothing can be read at 0, and that counts. */
		luo_instances_accept(ctx, class, err ? 0 : phys, err ? 0 : size);
	}
}

/*
 * Look for what the previous kernel left. At early_initcall, after the sessions' own
 * data was looked for.
 */
void __init luo_state_early_init(void)
{
	phys_addr_t phys;
	size_t size;
	int err;

	luo_ctx_init(&luo_system);
	luo_test_early_init();
	if (liveupdate_enabled()) {
		luo_timeline_early_init(&luo_system);
		luo_subsystems_add_builtin(&luo_system);
	}

	err = kho_retrieve_subtree(LUO_SUBSYSTEMS_KHO_NAME, &phys, &size);
	if (err == -ENOENT) {
		WRITE_ONCE(luo_system.arrived, true);
		return;
	}

	luo_instances_receive(&luo_system);
	if (!err && liveupdate_enabled()) {
		luo_timeline_arrive();
		err = luo_ctx_restore(&luo_system, phys, size);
		luo_timeline_arrived(!err);
	} else if (!err) {
		err = luo_discard(phys, size);
	}
	if (err) {
		luo_record_failure(&luo_system, LUO_TRANSITION_RESTORE, "", err, "",
				   "the table of subsystems cannot be used");
		pr_alert("the state of the previous kernel cannot be used: starting as normal, all of it is retained\n");
		luo_instances_discard(&luo_system);
		luo_subsystems_retain_table(&luo_system);
		WRITE_ONCE(luo_system.arrived, true);
	}
}

/* The first initcalls after page_alloc_init_late(), before any device is probed. */
static int __init luo_state_late_init(void)
{
	if (liveupdate_enabled())
		luo_ctx_restore_late(&luo_system);

	return 0;
}
core_initcall(luo_state_late_init);
