// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Participants of a live update
 *
 * How participants (include/linux/liveupdate/subsystem.h) are found and called by
 * those who walk them for the state machine in luo_state.c: luo_outgoing.c in the old
 * kernel, luo_incoming.c in the next one. luo_register.c keeps who takes part.
 *
 * Concept
 *   Consumers are told before the providers they stand on. PREPARE, FREEZE and
 *   FINISH walk down the levels, from WORKLOAD to MEMORY; THAW, CANCEL and
 *   RESTORE walk up. For the jump the files of sessions are frozen before all
 *   participants and thawed after them. Inside a level the order is that of
 *   registration in the old kernel and that of the handed-over table in the next
 *   one, reversed where the levels are walked up. A walk that fails is undone in exactly the
 *   reverse order.
 *
 * Lifecycle in the old kernel
 *   1. Registered: in &luo_machine.registered. Built-in participants from
 *      early_initcall on, modules when they ask for it.
 *   2. Enlisted: PREPARE takes a snapshot of all registered participants, pins
 *      their modules, and works on nothing else until CANCEL. Who registers
 *      later makes the preparation void (luo_register.c).
 *   3. &luo_phase says how far each enlisted participant got, so that an undo
 *      needs no other bookkeeping.
 *
 * Lifecycle in the next kernel
 *   1. The records of the old kernel become &struct luo_incoming.
 *   2. A participant of the same name whose [oldest, version] includes the
 *      version of the record restores it, once. It is pinned until FINISH.
 *   3. FINISH calls everybody who restored, then disposes of what nobody
 *      claimed: an OPTIONAL blob is freed, a MANDATORY one is retained
 *      (luo_retained.c), from RESTORE on already. Plain values need no disposal.
 *   Where live update is switched off nobody is registered, and built-in
 *   participants abandon the records they could restore. What nobody abandoned is
 *   retained.
 *
 * Contexts
 *   Everything here may sleep. Callbacks run under &luo_machine.lock and under
 *   no other lock of these files.
 *
 * Lock order
 *   system_transition_mutex -> &luo_machine.lock ->
 *   &luo_machine.registered_lock -> &luo_machine.progress_lock.
 *   Participants may take device_lock and bus locks inside &luo_machine.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/string.h>

#include "luo_machine.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate.h>

/*
 * Find a registered participant. &luo_machine.registered_lock held. Returns the
 * participant, or NULL.
 */
struct liveupdate_subsystem *luo_subsystem_find(struct luo_machine *machine,
						const char *name)
{
	struct liveupdate_subsystem *subsystem;

	lockdep_assert_held(&machine->registered_lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &machine->registered[level],
				    registered) {
			if (!strcmp(subsystem->desc->name, name))
				return subsystem;
		}
	}

	return NULL;
}

/*
 * Call one callback of a participant. The one place where callbacks are called. What is
 * not an error of userspace, such as a positive value or -ERESTARTSYS, is not in the
 * contract of a callback and counts as -EINVAL. May sleep. &luo_machine.lock held.
 */
int luo_subsystem_call(struct luo_machine *machine, enum luo_step step,
		       struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_ops *ops = subsystem->ops;
	struct liveupdate_data *data = &subsystem->data;
	const char *name = subsystem->desc->name;
	u64 start;
	int err = 0;

	lockdep_assert_held(&machine->lock);

	luo_progress_enter(machine, step, name);
	luo_callback_begins(machine);
	trace_liveupdate_callback_start(luo_step_name(step), name);
	start = luo_timeline_now();

	switch (step) {
	case LUO_STEP_PREPARE:
		if (ops->prepare)
			err = ops->prepare(subsystem, data);
		break;
	case LUO_STEP_FREEZE:
		if (ops->freeze)
			err = ops->freeze(subsystem, data);
		break;
	case LUO_STEP_THAW:
		if (ops->thaw)
			ops->thaw(subsystem, data);
		break;
	case LUO_STEP_CANCEL:
		if (ops->cancel)
			ops->cancel(subsystem, data);
		break;
	case LUO_STEP_RESTORE:
		/* Who has restored is called for the second time. */
		if (subsystem->phase == LUO_PHASE_RESTORED)
			err = ops->restore_late(subsystem, data);
		else
			err = ops->restore ? ops->restore(subsystem, data) :
					     -EOPNOTSUPP;
		break;
	case LUO_STEP_FINISH:
		if (ops->finish)
			ops->finish(subsystem, data);
		break;
	case LUO_STEP_NONE:
	case LUO_STEP_REQUEST:
		break;
	}
	if (err > 0 || err <= -ERESTARTSYS)
		err = -EINVAL;

	luo_timeline_callback(machine, step, name, start, err);
	trace_liveupdate_callback_end(luo_step_name(step), name, err);
	luo_progress_leave(machine);
	if (err)
		luo_callback_failed(machine, step, name, err);

	return err;
}

/* A participant has nothing to do with an update any more. &luo_machine.lock held. */
void luo_subsystem_retire(struct liveupdate_subsystem *subsystem)
{
	list_del_init(&subsystem->enlisted);
	subsystem->phase = LUO_PHASE_IDLE;
	subsystem->data = (struct liveupdate_data){};
	module_put(subsystem->ops->owner);
}

/* Is a participant well described? */
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
 * Find a built-in participant, registered or not. Any context, until init memory is
 * freed. Returns the participant, or NULL.
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
