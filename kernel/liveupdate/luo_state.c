// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Live update state machine
 *
 * A machine that is updated without being emptied goes through::
 *
 *	normal --prepare--> prepared --reboot(KEXEC)--> [frozen] == jump ==+
 *	  ^  ^----cancel------+  ^------thaw---------------+               |
 *	  |                                                                |
 *	  +----------finish---------- updated (next kernel) <--------------+
 *
 * and every subsystem (luo_subsystem.c) is told of each transition. The operator
 * drives it through /sys/kernel/liveupdate, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate.
 *
 * Concept
 *   PREPARE is heavy and runs beside the workload. FREEZE is light; it runs in
 *   reboot(2), after which nothing can fail. The machine carries what the kernel
 *   owns; sessions have a life of their own and work in every state. The two meet in
 *   FREEZE: liveupdate_reboot() rules out that a session is changed any more, their
 *   files are frozen and written down first, because they may stand on what
 *   subsystems seal, and thawed last. How long that takes counts for the deadline.
 *
 * One transition at a time
 *   Nothing queues: a request that finds another one running, or the wrong
 *   state, gets -EBUSY at once. The state itself keeps requests out between
 *   FREEZE and the kexec, and the system's own transitions keep them out while
 *   it suspends or reboots. There is one exception. A rehearsal holds
 *   system_transition_mutex, as reboot(2) and suspend do, so that nobody shuts
 *   devices down while they are frozen; reboot(2) waits for it to end. Not every
 *   reboot takes that mutex, so a notifier (luo_system.c) sets
 *   &luo_ctx.shutting_down and waits, too: no subsystem is asked to begin
 *   anything any more, and what has begun is undone.
 *
 * Void preparations
 *   What a subsystem prepared can become invalid without asking: a device is
 *   pulled out. Whoever notices may hold any lock, so
 *   liveupdate_invalidate() only takes a note, and a work item cancels the
 *   whole preparation once the machine is prepared and at rest. A rehearsal, or
 *   reboot(2) up to the point where it fails, comes first, and neither freezes with
 *   such a note: it is looked for before the first subsystem is frozen and after
 *   the last. The note is dropped when a prepare begins
 *   and when the machine is back in normal, so that it never hits a preparation
 *   it was not meant for.
 *
 * What still waits
 *   FINISH gives up what nobody has taken over: a device without its driver is
 *   stopped. So subsystems (can_finish) and sessions are asked before, and a finish
 *   that would give up something is refused, unless the operator wants that.
 *
 * What must not be lost
 *   Memory that may still be written to, or that nobody could read, is retained
 *   (luo_retained.c): then there is no prepare, and no kexec in any state.
 *
 * Which file has what, where none calls one behind it: luo_handover.c, luo_peek.c,
 * luo_progress.c, luo_failure.c, luo_retained.c, luo_timeline.c, luo_items.c,
 * luo_subsystem.c, luo_instance_out.c, luo_instance_in.c, luo_outgoing.c, luo_incoming.c,
 * this one, luo_subsystem_dirs.c, luo_register.c, luo_system.c, luo_pm.c,
 * luo_shutdown_log.c, luo_sysfs.c.
 *
 * Lock order
 *   system_transition_mutex -> the chain of PM notifiers -> luo_session_serialize_rwsem
 *   of sessions, in reboot(2) -> &luo_ctx.lock -> what luo_subsystem.c documents.
 *   No subsystem takes a lock of sessions in FREEZE. Those who start a transition
 *   only ever try for &luo_ctx.lock. Those who wait for it are the end of a suspend, which
 *   cannot meet a transition, the thaw in reboot(2), the work items that cancel
 *   what has become invalid and restore what a module came late for, and subsystems
 *   that unregister; they must not hold a lock that a callback takes.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <trace/events/liveupdate.h>

#include "luo_ctx.h"

static const char *const luo_state_names[] = {
	[LIVEUPDATE_STATE_NORMAL]	= "normal",
	[LIVEUPDATE_STATE_PREPARED]	= "prepared",
	[LIVEUPDATE_STATE_FROZEN]	= "frozen",
	[LIVEUPDATE_STATE_UPDATED]	= "updated",
};

/* Name of a state for people. */
const char *luo_state_name(enum liveupdate_state state)
{
	return luo_state_names[state];
}

static void luo_set_state(struct luo_ctx *ctx,
			  enum liveupdate_state state)
{
	lockdep_assert_held(&ctx->lock);

	trace_liveupdate_state(luo_state_names[ctx->state],
			       luo_state_names[state]);
	pr_info("%s -> %s\n", luo_state_names[ctx->state],
		luo_state_names[state]);
	WRITE_ONCE(ctx->state, state);
}

/*
 * Without the lock, so that a listener can make its next request at once. So the state
 * may be another one already; listeners are notified of each once.
 */
static void luo_notify_state(struct luo_ctx *ctx,
			     enum liveupdate_state state)
{
	void (*notify)(struct luo_ctx *ctx,
		       enum liveupdate_state state) = READ_ONCE(ctx->notify);

	if (notify)
		notify(ctx, state);
}

/* Transitions. */

static void luo_invalidated(struct work_struct *work);

/* Make a machine in state normal without subsystems. */
void luo_ctx_init(struct luo_ctx *ctx)
{
	mutex_init(&ctx->lock);
	INIT_LIST_HEAD(&ctx->enlisted);
	spin_lock_init(&ctx->incoming_lock);
	luo_instances_init(&ctx->instances);
	luo_retained_init(&ctx->retained);
	mutex_init(&ctx->registered_lock);
	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++)
		INIT_LIST_HEAD(&ctx->registered[level]);
	luo_progress_init(ctx);
	spin_lock_init(&ctx->invalid_lock);
	INIT_DELAYED_WORK(&ctx->invalidate, luo_invalidated);
	INIT_WORK(&ctx->late, luo_subsystems_late);
}

/*
 * Does the system neither suspend nor reboot? It may begin to at once, and then finds
 * &luo_ctx.lock taken.
 */
static bool luo_system_rests(void)
{
	ACQUIRE(mutex_try, transition)(&system_transition_mutex);

	return !ACQUIRE_ERR(mutex_try, &transition);
}

/*
 * May a request that needs @state start? Suspend and reboot(2) hold
 * system_transition_mutex before they look at the machine, so whoever comes
 * second sees the other. A hibernation through /dev/snapshot does not hold it
 * all the time and is counted instead.
 *
 * Asked without the lock first: a request that is refused anyway must not hold
 * it for an instant and make another one fail. Asked again with the lock, which
 * makes it certain; only then is the mutex of the system tried, so that two requests
 * do not find it taken by each other.
 */
static bool luo_state_allows(struct luo_ctx *ctx,
			     enum liveupdate_state state)
{
	return READ_ONCE(ctx->state) == state &&
	       !READ_ONCE(ctx->sleeping) && !READ_ONCE(ctx->shutting_down);
}

static bool luo_may_start(struct luo_ctx *ctx,
			  enum liveupdate_state state)
{
	lockdep_assert_held(&ctx->lock);

	return luo_state_allows(ctx, state) && luo_system_rests();
}

static void luo_forget_invalid(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	guard(spinlock_irqsave)(&ctx->invalid_lock);
	ctx->invalid.error = 0;
}

static int luo_prepare(struct luo_ctx *ctx)
{
	int err;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    !luo_may_start(ctx, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	err = luo_retained_refuse(ctx, LUO_TRANSITION_PREPARE);
	if (err)
		return err;

	luo_forget_invalid(ctx);
	luo_transition_begin(ctx, LUO_TRANSITION_PREPARE, true);
	luo_timeline_begin(ctx);
	err = luo_subsystems_prepare(ctx);
	if (!err)
		luo_set_state(ctx, LIVEUPDATE_STATE_PREPARED);
	else
		luo_timeline_end(ctx);
	luo_transition_end(ctx);

	return err;
}

/*
 * Normal -> prepared. May sleep. Tries for &luo_ctx.lock. Returns 0; -EBUSY in
 * another state, during another transition, while the system suspends or reboots, or if
 * something is retained; otherwise as luo_subsystems_prepare().
 */
int luo_ctx_prepare(struct luo_ctx *ctx)
{
	int err;

	if (!luo_state_allows(ctx, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	err = luo_prepare(ctx);
	if (!err)
		luo_notify_state(ctx, LIVEUPDATE_STATE_PREPARED);

	return err;
}

/* CANCEL and FINISH: what leads back to normal and cannot fail. */
static void luo_return(struct luo_ctx *ctx, enum luo_transition transition,
		       void (*walk)(struct luo_ctx *ctx))
{
	luo_transition_begin(ctx, transition, false);
	walk(ctx);
	luo_timeline_end(ctx);
	luo_forget_invalid(ctx);
	luo_set_state(ctx, LIVEUPDATE_STATE_NORMAL);
	luo_transition_end(ctx);
}

/*
 * Does no session wait? Asked without &luo_ctx.lock: who changes a session may wait
 * for it. What was handed over can only become less.
 */
static int luo_sessions_check_finish(struct luo_ctx *ctx)
{
	char name[LIVEUPDATE_DEVICE_LEN];

	if (!ctx->session_waits || !ctx->session_waits(name, sizeof(name)))
		return 0;

	luo_record_failure(ctx, LUO_TRANSITION_FINISH, LUO_SESSIONS, -EBUSY, name,
			   "it is not retrieved, or one of its files cannot be finished");

	return -EBUSY;
}

static int luo_end(struct luo_ctx *ctx, enum liveupdate_state state,
		   enum luo_transition transition,
		   int (*check)(struct luo_ctx *ctx),
		   void (*walk)(struct luo_ctx *ctx))
{
	int err = 0;

	if (!luo_state_allows(ctx, state))
		return -EBUSY;
	if (check)
		err = luo_sessions_check_finish(ctx);
	if (err)
		return err;

	scoped_cond_guard(mutex_try, return -EBUSY, &ctx->lock) {
		if (!luo_may_start(ctx, state))
			return -EBUSY;

		if (check) {
			luo_transition_begin(ctx, transition, false);
			err = check(ctx);
			luo_transition_end(ctx);
		}
		if (err)
			return err;
		luo_return(ctx, transition, walk);
	}
	luo_notify_state(ctx, LIVEUPDATE_STATE_NORMAL);

	return 0;
}

/*
 * Prepared -> normal. May sleep. Tries for &luo_ctx.lock. Returns 0; -EBUSY in
 * another state, during another transition, or while the system reboots.
 */
int luo_ctx_cancel(struct luo_ctx *ctx)
{
	return luo_end(ctx, LIVEUPDATE_STATE_PREPARED, LUO_TRANSITION_CANCEL, NULL,
		       luo_subsystems_cancel);
}

static void luo_queue_invalid(struct luo_ctx *ctx, unsigned long delay)
{
	/* Unbound, because it waits for a transition. */
	queue_delayed_work(system_dfl_wq, &ctx->invalidate, delay);
}

static bool luo_is_invalid(struct luo_ctx *ctx)
{
	guard(spinlock_irqsave)(&ctx->invalid_lock);

	return ctx->invalid.error;
}

/* Cancel what has become invalid. */
static void luo_invalidated(struct work_struct *work)
{
	struct luo_ctx *ctx = container_of(to_delayed_work(work),
					   struct luo_ctx,
					   invalidate);
	struct luo_failure invalid;

	/*
	 * Without the lock, as in luo_may_start(). A PREPARE that begins now
	 * drops the note, and does so behind what became invalid.
	 */
	if (!luo_is_invalid(ctx))
		return;

	scoped_guard(mutex, &ctx->lock) {
		/* If it is frozen, a thaw comes back to this. */
		if (ctx->state != LIVEUPDATE_STATE_PREPARED)
			return;

		scoped_guard(spinlock_irqsave, &ctx->invalid_lock)
			invalid = ctx->invalid;
		if (!invalid.error)
			return;

		/* Not while devices are shut down, unless that fails. */
		if (!luo_system_rests()) {
			luo_queue_invalid(ctx, HZ / 10);
			return;
		}

		luo_record_failure(ctx, LUO_TRANSITION_PREPARE, invalid.subsystem,
				   invalid.error, invalid.device, invalid.reason);
		luo_return(ctx, LUO_TRANSITION_CANCEL, luo_subsystems_cancel);
	}
	luo_notify_state(ctx, LIVEUPDATE_STATE_NORMAL);
}

/*
 * What a subsystem prepared has become invalid. The machine goes back to normal as soon
 * as it is prepared and nothing is in progress. Of several reasons the first is
 * remembered. Nothing happens if nothing is prepared, or being prepared. Takes
 * &luo_ctx.invalid_lock.
 */
void luo_ctx_invalidate(struct luo_ctx *ctx,
			struct liveupdate_subsystem *subsystem, int error,
			const char *device, const char *reason)
{
	struct luo_failure *invalid = &ctx->invalid;

	scoped_guard(spinlock_irqsave, &ctx->invalid_lock) {
		if (!invalid->error) {
			invalid->error = error;
			strscpy(invalid->subsystem, subsystem->desc->name);
			strscpy(invalid->device, device);
			strscpy(invalid->reason, reason);
		}
	}
	luo_queue_invalid(ctx, 0);
}

/*
 * Updated -> normal. May sleep. Takes locks of sessions, and without these tries for
 * &luo_ctx.lock. Returns 0; -EBUSY in another state, during another transition, or
 * while the system reboots; also if something waits and not @give_up, which is recorded
 * as a failure then, and nothing is changed.
 */
int luo_ctx_finish(struct luo_ctx *ctx, bool give_up)
{
	return luo_end(ctx, LIVEUPDATE_STATE_UPDATED, LUO_TRANSITION_FINISH,
		       give_up ? NULL : luo_subsystems_check_finish,
		       luo_subsystems_finish);
}

/*
 * FREEZE and THAW for real, and stay prepared. May sleep. Tries for &luo_ctx.lock
 * and, with it held, for system_transition_mutex. Returns 0; -EBUSY in another state,
 * during another transition, suspend or reboot; otherwise as luo_subsystems_freeze().
 */
int luo_ctx_rehearse(struct luo_ctx *ctx)
{
	int err;

	if (!luo_state_allows(ctx, LIVEUPDATE_STATE_PREPARED))
		return -EBUSY;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    ctx->state != LIVEUPDATE_STATE_PREPARED ||
	    READ_ONCE(ctx->shutting_down))
		return -EBUSY;

	ACQUIRE(mutex_try, transition)(&system_transition_mutex);
	if (ACQUIRE_ERR(mutex_try, &transition))
		return -EBUSY;

	luo_transition_begin(ctx, LUO_TRANSITION_FREEZE, true);
	luo_timeline_rehearse(ctx);
	err = luo_subsystems_freeze(ctx, false);
	if (!err) {
		luo_transition_begin(ctx, LUO_TRANSITION_THAW, false);
		luo_subsystems_thaw(ctx);
	}
	luo_transition_end(ctx);

	return err;
}

static int luo_freeze(struct luo_ctx *ctx, bool receives)
{
	int err;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    ctx->state == LIVEUPDATE_STATE_FROZEN)
		return -EBUSY;

	if (ctx->state != LIVEUPDATE_STATE_PREPARED) {
		luo_transition_begin(ctx, LUO_TRANSITION_FREEZE, true);
		err = luo_sessions_freeze(ctx);
		if (err)
			luo_sessions_thaw(ctx);
		luo_transition_end(ctx);
		return err;
	}

	if (!receives) {
		pr_err("prepared, but the kexec image cannot receive state: load it with kexec_file_load(2)\n");
		return -EINVAL;
	}

	luo_transition_begin(ctx, LUO_TRANSITION_FREEZE, true);
	err = luo_subsystems_freeze(ctx, true);
	if (!err)
		luo_set_state(ctx, LIVEUPDATE_STATE_FROZEN);
	luo_transition_end(ctx);

	return err;
}

/*
 * Enter reboot(2) for kexec. prepared becomes frozen; in normal and updated only files
 * of sessions are frozen. No lock is kept: reboot(2) holds system_transition_mutex,
 * which keeps requests out, and changes of sessions were ruled out before. May sleep.
 * Tries for &luo_ctx.lock. Returns 0; -EBUSY during a transition; -EINVAL if
 * prepared and not @receives; otherwise as luo_subsystems_freeze() or
 * luo_sessions_freeze().
 */
int luo_ctx_freeze(struct luo_ctx *ctx, bool receives)
{
	int err = luo_freeze(ctx, receives);

	if (READ_ONCE(ctx->state) == LIVEUPDATE_STATE_FROZEN && !err)
		luo_notify_state(ctx, LIVEUPDATE_STATE_FROZEN);

	return err;
}

/* The kexec did not happen after all. May sleep. Takes &luo_ctx.lock. */
void luo_ctx_thaw(struct luo_ctx *ctx)
{
	scoped_guard(mutex, &ctx->lock) {
		if (ctx->state != LIVEUPDATE_STATE_FROZEN) {
			luo_sessions_thaw(ctx);
			return;
		}

		luo_transition_begin(ctx, LUO_TRANSITION_THAW, false);
		luo_subsystems_thaw(ctx);
		luo_set_state(ctx, LIVEUPDATE_STATE_PREPARED);
		luo_transition_end(ctx);
		/* It takes the lock, and so makes requests fail. */
		if (luo_is_invalid(ctx))
			luo_queue_invalid(ctx, 0);
	}
	luo_notify_state(ctx, LIVEUPDATE_STATE_PREPARED);
}

/*
 * Take in what the previous kernel left. May sleep. Takes &luo_ctx.lock. Once, at
 * early_initcall. Returns 0 and @ctx has the records; otherwise the error of
 * luo_handover_read(), or -ENOMEM, and everything that was handed over stays reserved.
 */
int luo_ctx_accept(struct luo_ctx *ctx, phys_addr_t phys,
		   size_t size)
{
	struct luo_subsystem_ser *records __free(kvfree) = NULL;
	struct luo_incoming *incoming __free(kvfree) = NULL;
	struct kho_table_incoming table;
	unsigned int count;
	int err;

	err = luo_handover_read(&table, phys, size, &records, &count);
	if (err)
		return err;

	incoming = kvzalloc_objs(*incoming, max(count, 1U));
	if (!incoming) {
		kho_table_close(&table);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < count; i++) {
		incoming[i].ser = records[i];
		incoming[i].name_hash = luo_name_hash(records[i].name);
	}

	guard(mutex)(&ctx->lock);

	luo_subsystems_accept(ctx, no_free_ptr(incoming), count);
	kho_table_release(&table);

	return 0;
}

/*
 * Become updated on what the previous kernel left. May sleep. Takes &luo_ctx.lock.
 * Once, at early_initcall. Returns 0 and the state is updated, whether or not every
 * subsystem restored; otherwise the error of luo_ctx_accept(), and the state is
 * normal.
 */
int luo_ctx_restore(struct luo_ctx *ctx, phys_addr_t phys,
		    size_t size)
{
	int err;

	err = luo_ctx_accept(ctx, phys, size);
	if (err)
		return err;

	scoped_guard(mutex, &ctx->lock) {
		pr_info("%u subsystems handed over state\n",
			ctx->nr_incoming);

		luo_transition_begin(ctx, LUO_TRANSITION_RESTORE, false);
		luo_subsystems_restore(ctx);
		luo_set_state(ctx, LIVEUPDATE_STATE_UPDATED);
		luo_transition_end(ctx);
	}
	luo_notify_state(ctx, LIVEUPDATE_STATE_UPDATED);

	return 0;
}

/*
 * Let subsystems restore what needs the whole system. May sleep. Takes
 * &luo_ctx.lock. Once, with all memory and processors.
 */
void luo_ctx_restore_late(struct luo_ctx *ctx)
{
	guard(mutex)(&ctx->lock);

	luo_transition_begin(ctx, LUO_TRANSITION_RESTORE, false);
	luo_subsystems_restore_late(ctx);
	luo_transition_end(ctx);
}
