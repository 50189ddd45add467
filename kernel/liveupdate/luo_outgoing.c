// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Walks of the old kernel
 *
 * PREPARE, CANCEL, FREEZE and THAW of all subsystems, in the order that
 * luo_subsystem.c documents, and of the files of sessions around them.
 *
 * PREPARE enlists who is registered. A walk over those ends with the first that
 * fails, or when time is up, or the system goes down; what it did is undone from the
 * last to the first, as far as &luo_phase says that it was done.
 *
 * Context: everything may sleep and runs under &luo_ctx.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/module.h>

#include "luo_ctx.h"

/* How long is waited for what ends by itself if FREEZE has no deadline; how often to look. */
#define LUO_AWAIT_MS		30000
#define LUO_AWAIT_POLL_US	2000

static void luo_retire_all(struct luo_ctx *ctx)
{
	struct liveupdate_subsystem *subsystem, *tmp;

	scoped_guard(mutex, &ctx->registered_lock)
		ctx->snapshot = false;
	list_for_each_entry_safe(subsystem, tmp, &ctx->enlisted, enlisted)
		luo_subsystem_retire(subsystem);
}

/* A module that is on its way out is not asked any more. */
static unsigned int luo_enlist_all(struct luo_ctx *ctx)
{
	struct liveupdate_subsystem *subsystem;
	unsigned int count = 0;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&ctx->registered_lock);

	ctx->snapshot = true;
	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &ctx->registered[level],
				    registered) {
			if (!try_module_get(subsystem->ops->owner))
				continue;
			list_add_tail(&subsystem->enlisted, &ctx->enlisted);
			count++;
		}
	}

	return count;
}

/* Call @transition, from the last to the first, for all who are in phase @from. */
static void luo_undo(struct luo_ctx *ctx, enum luo_transition transition,
		     enum luo_phase from, enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;

	list_for_each_entry_reverse(subsystem, &ctx->enlisted, enlisted) {
		if (subsystem->phase != from)
			continue;
		luo_subsystem_call(ctx, transition, subsystem);
		subsystem->phase = to;
	}
}

/* Call @transition, from the first to the last, until one fails or time is up. */
static int luo_walk(struct luo_ctx *ctx, enum luo_transition transition,
		    enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;
	int err;

	list_for_each_entry(subsystem, &ctx->enlisted, enlisted) {
		err = luo_subsystem_call(ctx, transition, subsystem);
		if (err)
			return err;
		subsystem->phase = to;

		if (luo_progress_late(ctx)) {
			luo_record_failure(ctx, transition, subsystem->desc->name,
					   -ETIMEDOUT, "", "time is up");
			return -ETIMEDOUT;
		}
		if (READ_ONCE(ctx->shutting_down)) {
			luo_record_failure(ctx, transition, "", -ESHUTDOWN, "",
					   "the system goes down");
			return -ESHUTDOWN;
		}
	}

	return 0;
}

/*
 * PREPARE every registered subsystem. May sleep. &luo_ctx.lock held. Returns 0;
 * the error of the subsystem that failed, after all others were cancelled; -ETIMEDOUT
 * if the deadline passed; -ESHUTDOWN if the system goes down; -ENOMEM.
 */
int luo_subsystems_prepare(struct luo_ctx *ctx)
{
	u64 start = luo_timeline_now();
	int err;

	err = luo_handover_alloc(ctx, luo_enlist_all(ctx));
	if (err) {
		luo_record_failure(ctx, LUO_TRANSITION_PREPARE, "", err, "",
				   "there is no room for the table of subsystems");
		luo_timeline_transition(ctx, LUO_TRANSITION_PREPARE, start, err);
		luo_retire_all(ctx);
		return err;
	}

	luo_instances_open(ctx);
	err = luo_walk(ctx, LUO_TRANSITION_PREPARE, LUO_PHASE_PREPARED);
	luo_timeline_transition(ctx, LUO_TRANSITION_PREPARE, start, err);
	if (err)
		luo_subsystems_cancel(ctx);

	return err;
}

/* CANCEL every prepared subsystem. May sleep. &luo_ctx.lock held. */
void luo_subsystems_cancel(struct luo_ctx *ctx)
{
	u64 start = luo_timeline_now();

	luo_undo(ctx, LUO_TRANSITION_CANCEL, LUO_PHASE_PREPARED, LUO_PHASE_IDLE);
	luo_instances_close(ctx);
	luo_handover_free(ctx);
	luo_retire_all(ctx);
	luo_timeline_transition(ctx, LUO_TRANSITION_CANCEL, start, 0);
}

/*
 * Freeze the files of sessions. May sleep. &luo_ctx.lock held. Returns 0; the error
 * of a file; -ETIMEDOUT if the deadline passed, when luo_sessions_thaw() is left to be
 * called.
 */
int luo_sessions_freeze(struct luo_ctx *ctx)
{
	u64 start = luo_timeline_now();
	int err;

	lockdep_assert_held(&ctx->lock);

	if (!ctx->freeze_sessions)
		return 0;

	luo_progress_enter(ctx, LUO_TRANSITION_FREEZE, LUO_SESSIONS);
	err = ctx->freeze_sessions();
	luo_progress_leave(ctx);
	ctx->sessions_frozen = !err;
	if (ctx->state == LIVEUPDATE_STATE_PREPARED)
		luo_timeline_callback(ctx, LUO_TRANSITION_FREEZE, LUO_SESSIONS, start,
				      err);
	if (!err && luo_progress_late(ctx))
		err = -ETIMEDOUT;
	if (err)
		luo_record_failure(ctx, LUO_TRANSITION_FREEZE, LUO_SESSIONS, err, "",
				   err == -ETIMEDOUT ? "time is up" :
				   "a file of a session cannot be frozen");

	return err;
}

/* Undo luo_sessions_freeze(), if that is to be done. May sleep. &luo_ctx.lock held. */
void luo_sessions_thaw(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	if (ctx->sessions_frozen)
		ctx->thaw_sessions();
	ctx->sessions_frozen = false;
}

/* Wait until @subsystem has nothing under way that ends by itself. */
static int luo_await(struct luo_ctx *ctx, struct liveupdate_subsystem *subsystem)
{
	unsigned long end = jiffies + msecs_to_jiffies(LUO_AWAIT_MS);
	bool waited = false;

	while (!subsystem->ops->can_freeze(subsystem)) {
		if (READ_ONCE(ctx->shutting_down))
			return -ESHUTDOWN;
		if (ctx->watched ? luo_progress_late(ctx) : time_after(jiffies, end))
			return -ETIMEDOUT;
		if (!waited)
			luo_callback_waits(ctx, subsystem->desc->name);
		waited = true;
		fsleep(LUO_AWAIT_POLL_US);
	}

	return 0;
}

static int luo_await_all(struct luo_ctx *ctx)
{
	struct liveupdate_subsystem *subsystem;
	int err;

	list_for_each_entry(subsystem, &ctx->enlisted, enlisted) {
		const char *name = subsystem->desc->name;

		if (!subsystem->ops->can_freeze)
			continue;
		luo_progress_enter(ctx, LUO_TRANSITION_FREEZE, name);
		luo_callback_begins(ctx);
		err = luo_await(ctx, subsystem);
		luo_progress_leave(ctx);
		if (err) {
			luo_callback_failed(ctx, LUO_TRANSITION_FREEZE, name, err);
			return err;
		}
	}

	return 0;
}

/* What has become invalid is not handed over, whatever its subsystem says. */
static int luo_refuse_invalid(struct luo_ctx *ctx)
{
	struct luo_failure invalid;

	scoped_guard(spinlock_irqsave, &ctx->invalid_lock)
		invalid = ctx->invalid;
	if (invalid.error)
		luo_record_failure(ctx, LUO_TRANSITION_FREEZE, invalid.subsystem,
				   invalid.error, invalid.device, invalid.reason);

	return invalid.error;
}

/*
 * FREEZE every prepared subsystem. What a subsystem has under way that ends by
 * itself is waited for before anything is frozen. The deadline counts from there on, the
 * time that FREEZE takes does not. May sleep. &luo_ctx.lock held. Returns 0 and the
 * data is final; the error of the subsystem that failed, that has lost a mandatory
 * instance, or whose preparation has become invalid, after all others were thawed;
 * -ETIMEDOUT if the deadline passed; -ESHUTDOWN if the system goes down otherwise.
 */
int luo_subsystems_freeze(struct luo_ctx *ctx, bool sessions)
{
	u64 start;
	int err;

	err = luo_refuse_invalid(ctx);
	if (!err)
		err = luo_await_all(ctx);
	if (err)
		return err;

	start = luo_timeline_now();
	err = sessions ? luo_sessions_freeze(ctx) : 0;
	if (!err)
		err = luo_walk(ctx, LUO_TRANSITION_FREEZE, LUO_PHASE_FROZEN);
	if (!err)
		err = luo_refuse_invalid(ctx);
	if (!err)
		err = luo_instances_seal(ctx);
	if (!err)
		luo_handover_write(ctx);
	luo_timeline_transition(ctx, LUO_TRANSITION_FREEZE, start, err);
	if (err)
		luo_subsystems_thaw(ctx);

	return err;
}

/* THAW every frozen subsystem. May sleep. &luo_ctx.lock held. */
void luo_subsystems_thaw(struct luo_ctx *ctx)
{
	u64 start = luo_timeline_now();

	luo_instances_unseal(ctx);
	luo_undo(ctx, LUO_TRANSITION_THAW, LUO_PHASE_FROZEN, LUO_PHASE_PREPARED);
	luo_handover_clear(ctx);
	luo_sessions_thaw(ctx);
	luo_timeline_transition(ctx, LUO_TRANSITION_THAW, start, 0);
}

/*
 * A subsystem leaves while it is prepared or frozen. It is cancelled and leaves the
 * table. May sleep. &luo_ctx.lock held.
 */
void luo_outgoing_drop(struct luo_ctx *ctx,
		       struct liveupdate_subsystem *subsystem)
{
	lockdep_assert_held(&ctx->lock);

	if (subsystem->phase != LUO_PHASE_PREPARED &&
	    subsystem->phase != LUO_PHASE_FROZEN)
		return;

	luo_transition_begin(ctx, LUO_TRANSITION_CANCEL, false);
	if (subsystem->phase == LUO_PHASE_FROZEN)
		luo_subsystem_call(ctx, LUO_TRANSITION_THAW, subsystem);
	luo_subsystem_call(ctx, LUO_TRANSITION_CANCEL, subsystem);
	luo_transition_end(ctx);
	luo_instances_leave(ctx, subsystem);
	luo_subsystem_retire(subsystem);
	if (ctx->state == LIVEUPDATE_STATE_FROZEN)
		luo_handover_write(ctx);
}
