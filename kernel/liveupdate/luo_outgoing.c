// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Walks of the old kernel
 *
 * PREPARE, CANCEL, FREEZE and THAW of all participants, in the order that
 * luo_subsystem.c documents, and of the files of sessions around them.
 *
 * PREPARE enlists who is registered. A walk over those ends with the first that
 * fails, or when time is up, or the system goes down; what it did is undone from the
 * last to the first, as far as &luo_phase says that it was done.
 *
 * Context: everything may sleep and runs under &luo_machine.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/module.h>

#include "luo_machine.h"

/* How long is waited for what ends by itself if FREEZE has no deadline; how often to look. */
#define LUO_AWAIT_MS		30000
#define LUO_AWAIT_POLL_US	2000

static void luo_retire_all(struct luo_machine *machine)
{
	struct liveupdate_subsystem *subsystem, *tmp;

	scoped_guard(mutex, &machine->registered_lock)
		machine->snapshot = false;
	list_for_each_entry_safe(subsystem, tmp, &machine->enlisted, enlisted)
		luo_subsystem_retire(subsystem);
}

/* A module that is on its way out is not asked any more. */
static unsigned int luo_enlist_all(struct luo_machine *machine)
{
	struct liveupdate_subsystem *subsystem;
	unsigned int count = 0;

	lockdep_assert_held(&machine->lock);
	guard(mutex)(&machine->registered_lock);

	machine->snapshot = true;
	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &machine->registered[level],
				    registered) {
			if (!try_module_get(subsystem->ops->owner))
				continue;
			list_add_tail(&subsystem->enlisted, &machine->enlisted);
			count++;
		}
	}

	return count;
}

/* Call @step, from the last to the first, for all who are in phase @from. */
static void luo_undo(struct luo_machine *machine, enum luo_step step,
		     enum luo_phase from, enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;

	list_for_each_entry_reverse(subsystem, &machine->enlisted, enlisted) {
		if (subsystem->phase != from)
			continue;
		luo_subsystem_call(machine, step, subsystem);
		subsystem->phase = to;
	}
}

/* Call @step, from the first to the last, until one fails or time is up. */
static int luo_walk(struct luo_machine *machine, enum luo_step step,
		    enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;
	int err;

	list_for_each_entry(subsystem, &machine->enlisted, enlisted) {
		err = luo_subsystem_call(machine, step, subsystem);
		if (err)
			return err;
		subsystem->phase = to;

		if (luo_progress_late(machine)) {
			luo_record_failure(machine, step, subsystem->desc->name,
					   -ETIMEDOUT, "", "time is up");
			return -ETIMEDOUT;
		}
		if (READ_ONCE(machine->going_down)) {
			luo_record_failure(machine, step, "", -ESHUTDOWN, "",
					   "the system goes down");
			return -ESHUTDOWN;
		}
	}

	return 0;
}

/*
 * PREPARE every registered participant. May sleep. &luo_machine.lock held. Returns 0;
 * the error of the participant that failed, after all others were cancelled; -ETIMEDOUT
 * if the deadline passed; -ESHUTDOWN if the system goes down; -ENOMEM.
 */
int luo_subsystems_prepare(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();
	int err;

	err = luo_handover_alloc(machine, luo_enlist_all(machine));
	if (err) {
		luo_record_failure(machine, LUO_STEP_PREPARE, "", err, "",
				   "there is no room for the table of participants");
		luo_timeline_step(machine, LUO_STEP_PREPARE, start, err);
		luo_retire_all(machine);
		return err;
	}

	luo_instances_open(machine);
	err = luo_walk(machine, LUO_STEP_PREPARE, LUO_PHASE_PREPARED);
	luo_timeline_step(machine, LUO_STEP_PREPARE, start, err);
	if (err)
		luo_subsystems_cancel(machine);

	return err;
}

/* CANCEL every prepared participant. May sleep. &luo_machine.lock held. */
void luo_subsystems_cancel(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();

	luo_undo(machine, LUO_STEP_CANCEL, LUO_PHASE_PREPARED, LUO_PHASE_IDLE);
	luo_instances_close(machine);
	luo_handover_free(machine);
	luo_retire_all(machine);
	luo_timeline_step(machine, LUO_STEP_CANCEL, start, 0);
}

/*
 * Freeze the files of sessions. May sleep. &luo_machine.lock held. Returns 0; the error
 * of a file; -ETIMEDOUT if the deadline passed, when luo_sessions_thaw() is left to be
 * called.
 */
int luo_sessions_freeze(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();
	int err;

	lockdep_assert_held(&machine->lock);

	if (!machine->freeze_sessions)
		return 0;

	luo_progress_enter(machine, LUO_STEP_FREEZE, LUO_SESSIONS);
	err = machine->freeze_sessions();
	luo_progress_leave(machine);
	machine->sessions_frozen = !err;
	if (machine->state == LIVEUPDATE_STATE_PREPARED)
		luo_timeline_callback(machine, LUO_STEP_FREEZE, LUO_SESSIONS, start,
				      err);
	if (!err && luo_progress_late(machine))
		err = -ETIMEDOUT;
	if (err)
		luo_record_failure(machine, LUO_STEP_FREEZE, LUO_SESSIONS, err, "",
				   err == -ETIMEDOUT ? "time is up" :
				   "a file of a session cannot be frozen");

	return err;
}

/* Undo luo_sessions_freeze(), if that is to be done. May sleep. &luo_machine.lock held. */
void luo_sessions_thaw(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (machine->sessions_frozen)
		machine->thaw_sessions();
	machine->sessions_frozen = false;
}

/* Wait until @subsystem has nothing under way that ends by itself. */
static int luo_await(struct luo_machine *machine, struct liveupdate_subsystem *subsystem)
{
	unsigned long end = jiffies + msecs_to_jiffies(LUO_AWAIT_MS);
	bool waited = false;

	while (!subsystem->ops->can_freeze(subsystem)) {
		if (READ_ONCE(machine->going_down))
			return -ESHUTDOWN;
		if (machine->watched ? luo_progress_late(machine) : time_after(jiffies, end))
			return -ETIMEDOUT;
		if (!waited)
			luo_callback_waits(machine, subsystem->desc->name);
		waited = true;
		fsleep(LUO_AWAIT_POLL_US);
	}

	return 0;
}

static int luo_await_all(struct luo_machine *machine)
{
	struct liveupdate_subsystem *subsystem;
	int err;

	list_for_each_entry(subsystem, &machine->enlisted, enlisted) {
		const char *name = subsystem->desc->name;

		if (!subsystem->ops->can_freeze)
			continue;
		luo_progress_enter(machine, LUO_STEP_FREEZE, name);
		luo_callback_begins(machine);
		err = luo_await(machine, subsystem);
		luo_progress_leave(machine);
		if (err) {
			luo_callback_failed(machine, LUO_STEP_FREEZE, name, err);
			return err;
		}
	}

	return 0;
}

/* What has become void is not handed over, whatever its participant says. */
static int luo_refuse_void(struct luo_machine *machine)
{
	struct luo_failure invalid;

	scoped_guard(spinlock_irqsave, &machine->invalid_lock)
		invalid = machine->invalid;
	if (invalid.error)
		luo_record_failure(machine, LUO_STEP_FREEZE, invalid.participant,
				   invalid.error, invalid.device, invalid.reason);

	return invalid.error;
}

/*
 * FREEZE every prepared participant. What a participant has under way that ends by
 * itself is waited for before anything is frozen. The deadline counts from there on, the
 * time that FREEZE takes does not. May sleep. &luo_machine.lock held. Returns 0 and the
 * data is final; the error of the participant that failed, that has lost a mandatory
 * instance, or whose preparation has become void, after all others were thawed;
 * -ETIMEDOUT if the deadline passed; -ESHUTDOWN if the system goes down otherwise.
 */
int luo_subsystems_freeze(struct luo_machine *machine, bool sessions)
{
	u64 start;
	int err;

	err = luo_refuse_void(machine);
	if (!err)
		err = luo_await_all(machine);
	if (err)
		return err;

	start = luo_timeline_now();
	err = sessions ? luo_sessions_freeze(machine) : 0;
	if (!err)
		err = luo_walk(machine, LUO_STEP_FREEZE, LUO_PHASE_FROZEN);
	if (!err)
		err = luo_refuse_void(machine);
	if (!err)
		err = luo_instances_seal(machine);
	if (!err)
		luo_handover_write(machine);
	luo_timeline_step(machine, LUO_STEP_FREEZE, start, err);
	if (err)
		luo_subsystems_thaw(machine);

	return err;
}

/* THAW every frozen participant. May sleep. &luo_machine.lock held. */
void luo_subsystems_thaw(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();

	luo_instances_unseal(machine);
	luo_undo(machine, LUO_STEP_THAW, LUO_PHASE_FROZEN, LUO_PHASE_PREPARED);
	luo_handover_clear(machine);
	luo_sessions_thaw(machine);
	luo_timeline_step(machine, LUO_STEP_THAW, start, 0);
}

/*
 * A participant leaves while it is prepared or frozen. It is cancelled and leaves the
 * table. May sleep. &luo_machine.lock held.
 */
void luo_outgoing_drop(struct luo_machine *machine,
		       struct liveupdate_subsystem *subsystem)
{
	lockdep_assert_held(&machine->lock);

	if (subsystem->phase != LUO_PHASE_PREPARED &&
	    subsystem->phase != LUO_PHASE_FROZEN)
		return;

	luo_transition_begin(machine, LUO_STEP_CANCEL, false);
	if (subsystem->phase == LUO_PHASE_FROZEN)
		luo_subsystem_call(machine, LUO_STEP_THAW, subsystem);
	luo_subsystem_call(machine, LUO_STEP_CANCEL, subsystem);
	luo_transition_end(machine);
	luo_instances_leave(machine, subsystem);
	luo_subsystem_retire(subsystem);
	if (machine->state == LIVEUPDATE_STATE_FROZEN)
		luo_handover_write(machine);
}
