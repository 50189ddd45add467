// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Subsystems of a live update
 *
 * How subsystems (include/linux/liveupdate/subsystem.h) are found and called by
 * those who walk them for the state machine in luo_state.c: luo_outgoing.c in the old
 * kernel, luo_incoming.c in the next one. luo_register.c keeps who takes part.
 *
 * Concept
 *   Consumers are called before the providers they stand on. PREPARE, FREEZE and
 *   FINISH walk down the levels, from WORKLOAD to MEMORY; THAW, CANCEL and
 *   RESTORE walk up. For the kexec the files of sessions are frozen before all
 *   subsystems and thawed after them. Inside a level the order is that of
 *   registration in the old kernel and that of the handed-over table in the next
 *   one, reversed where the levels are walked up. A walk that fails is undone in exactly the
 *   reverse order.
 *
 * Lifecycle in the old kernel
 *   1. Registered: in &luo_ctx.registered. Built-in subsystems from
 *      early_initcall on, modules when they ask for it.
 *   2. Enlisted: PREPARE takes a snapshot of all registered subsystems, pins
 *      their modules, and works on nothing else until CANCEL. Who registers
 *      later makes the preparation invalid (luo_register.c).
 *   3. &luo_phase says how far each enlisted subsystem got, so that an undo
 *      needs no other bookkeeping.
 *
 * Lifecycle in the next kernel
 *   1. The records of the old kernel become &struct luo_incoming.
 *   2. A subsystem of the same name whose [oldest, version] includes the
 *      version of the record restores it, once. It is pinned until FINISH.
 *   3. FINISH calls everybody who restored, then disposes of what nobody
 *      claimed: an OPTIONAL blob is freed, a MANDATORY one is retained
 *      (luo_retained.c), from RESTORE on already. Plain values need no disposal.
 *
 *   Where live update is switched off nobody is registered, and built-in
 *   subsystems discard the records they could restore. What nobody discarded is
 *   retained.
 *
 * Contexts
 *   Everything here may sleep. Callbacks run under &luo_ctx.lock and under
 *   no other lock of these files.
 *
 * Lock order
 *   system_transition_mutex -> &luo_ctx.lock ->
 *   &luo_ctx.registered_lock -> &luo_ctx.progress_lock.
 *   Subsystems may take device_lock and bus locks inside &luo_ctx.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/string.h>

#include "luo_ctx.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate.h>

/*
 * Find a registered subsystem. &luo_ctx.registered_lock held. Returns the
 * subsystem, or NULL.
 */
struct liveupdate_subsystem *luo_subsystem_find(struct luo_ctx *ctx,
						const char *name)
{
	struct liveupdate_subsystem *subsystem;
	u32 hash = luo_name_hash(name);

	lockdep_assert_held(&ctx->registered_lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &ctx->registered[level],
				    registered) {
			if (subsystem->name_hash == hash &&
			    !strcmp(subsystem->desc->name, name))
				return subsystem;
		}
	}

	return NULL;
}

/*
 * Call one callback of a subsystem. The one place where callbacks are called. What is
 * not an error of userspace, such as a positive value or -ERESTARTSYS, is not in the
 * contract of a callback and counts as -EINVAL. May sleep. &luo_ctx.lock held.
 */
int luo_subsystem_call(struct luo_ctx *ctx, enum luo_transition transition,
		       struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_ops *ops = subsystem->ops;
	struct liveupdate_data *data = &subsystem->data;
	const char *name = subsystem->desc->name;
	u64 start;
	int err = 0;

	lockdep_assert_held(&ctx->lock);

	luo_progress_enter(ctx, transition, name);
	luo_callback_begins(ctx);
	trace_liveupdate_callback_start(luo_transition_name(transition), name);
	start = luo_timeline_now();

	switch (transition) {
	case LUO_TRANSITION_PREPARE:
		if (ops->prepare)
			err = ops->prepare(subsystem, data);
		break;
	case LUO_TRANSITION_FREEZE:
		if (ops->freeze)
			err = ops->freeze(subsystem, data);
		break;
	case LUO_TRANSITION_THAW:
		if (ops->thaw)
			ops->thaw(subsystem, data);
		break;
	case LUO_TRANSITION_CANCEL:
		if (ops->cancel)
			ops->cancel(subsystem, data);
		break;
	case LUO_TRANSITION_RESTORE:
		/* Who has restored is called for the second time. */
		if (subsystem->phase == LUO_PHASE_RESTORED)
			err = ops->restore_late(subsystem, data);
		else
			err = ops->restore ? ops->restore(subsystem, data) :
					     -EOPNOTSUPP;
		break;
	case LUO_TRANSITION_FINISH:
		if (ops->finish)
			ops->finish(subsystem, data);
		break;
	case LUO_TRANSITION_NONE:
	case LUO_TRANSITION_REQUEST:
		break;
	}
	if (err > 0 || err <= -ERESTARTSYS)
		err = -EINVAL;

	luo_timeline_callback(ctx, transition, name, start, err);
	trace_liveupdate_callback_end(luo_transition_name(transition), name, err);
	luo_progress_leave(ctx);
	if (err)
		luo_callback_failed(ctx, transition, name, err);

	return err;
}

/* A subsystem has nothing to do with an update any more. &luo_ctx.lock held. */
void luo_subsystem_retire(struct liveupdate_subsystem *subsystem)
{
	list_del_init(&subsystem->enlisted);
	subsystem->phase = LUO_PHASE_IDLE;
	subsystem->data = (struct liveupdate_data){};
	module_put(subsystem->ops->owner);
}

/* Is a subsystem well described? */
int luo_subsystem_check(const struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;

	if (!subsystem->ops || !luo_name_valid(desc->name) ||
	    !strcmp(desc->name, LUO_SESSIONS) || !desc->oldest ||
	    desc->oldest > desc->version || desc->level >= LIVEUPDATE_NR_LEVELS ||
	    desc->class > LIVEUPDATE_MANDATORY)
		return -EINVAL;

	return 0;
}

/*
 * Find a built-in subsystem, registered or not. Any context, until init memory is
 * freed. Returns the subsystem, or NULL.
 */
struct liveupdate_subsystem *__init luo_subsystem_builtin(const char *name)
{
	struct liveupdate_subsystem **entry;

	for (entry = __start_liveupdate_subsystems;
	     entry < __stop_liveupdate_subsystems; entry++) {
		if (!luo_subsystem_check(*entry) &&
		    !strcmp((*entry)->desc->name, name))
			return *entry;
	}

	return NULL;
}
