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
 * and every participant (luo_subsystem.c) is told of each step. The operator
 * drives it through /sys/kernel/liveupdate, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate.
 *
 * Concept
 *   PREPARE is heavy and runs beside the workload. FREEZE is light; it runs in
 *   reboot(2), after which nothing can fail, because liveupdate_reboot() calls
 *   it before the sessions of /dev/liveupdate are serialised and thaws if that
 *   fails. The machine carries what the kernel owns; sessions have a life of
 *   their own and work in every state.
 *
 * One transition at a time
 *   Nothing queues: a request that finds another one running, or the wrong
 *   state, gets -EBUSY at once. The state itself keeps requests out between
 *   FREEZE and the jump, and the system's own transitions keep them out while
 *   it suspends or reboots. There is one exception. A rehearsal holds
 *   system_transition_mutex, as reboot(2) and suspend do, so that nobody shuts
 *   devices down while they are frozen; reboot(2) waits for it to end.
 *
 * Deadlines
 *   prepare_timeout_ms bounds all of PREPARE and, separately, all of FREEZE. A
 *   callback cannot be interrupted. When time is up, the participant that runs
 *   is named with its stack in the log; once it returns the step is undone and
 *   fails with -ETIMEDOUT. One that never returns keeps the machine busy, and
 *   "transition" says who it is. A participant of many parts (luo_parts.c) is
 *   told between two of them, and both messages name the part.
 *
 * Void preparations
 *   What a participant prepared can become void without asking: a device is
 *   pulled out. Whoever notices may hold any lock, so
 *   liveupdate_invalidate() only takes a note, and a work item cancels the
 *   whole preparation once the machine is prepared and at rest. A rehearsal, or
 *   reboot(2) up to the point where it fails, comes first; it is up to the
 *   participant to refuse its freeze. The note is dropped when a prepare begins
 *   and when the machine is back in normal, so that it never hits a preparation
 *   it was not meant for.
 *
 * Suspend and hibernation are refused unless the state is normal, and a prepare
 * is refused once they have begun.
 *
 * In the next kernel luo_state_early_init() looks for handed-over data right
 * after the sessions did, before any device is probed, also where live update
 * is switched off: then the data is reported and stays reserved, and built-in
 * participants that could restore theirs make harmless what it describes.
 *
 * Lock order
 *   system_transition_mutex -> the chain of PM notifiers -> &luo_machine.lock ->
 *   what luo_subsystem.c documents. Those who start a transition only ever try
 *   for &luo_machine.lock. Those who wait for it are the end of a suspend, which
 *   cannot meet a transition, the thaw in reboot(2), the work item that cancels
 *   what has become void, and participants that register or unregister; they
 *   must not hold a lock that a callback takes.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <trace/events/liveupdate.h>

#include "luo_internal.h"
#include "luo_machine.h"

static const char *const luo_state_names[] = {
	[LIVEUPDATE_STATE_NORMAL]	= "normal",
	[LIVEUPDATE_STATE_PREPARED]	= "prepared",
	[LIVEUPDATE_STATE_FROZEN]	= "frozen",
	[LIVEUPDATE_STATE_UPDATED]	= "updated",
};

static const char *const luo_step_names[] = {
	[LUO_STEP_NONE]		= "none",
	[LUO_STEP_PREPARE]	= "prepare",
	[LUO_STEP_CANCEL]	= "cancel",
	[LUO_STEP_FREEZE]	= "freeze",
	[LUO_STEP_THAW]		= "thaw",
	[LUO_STEP_RESTORE]	= "restore",
	[LUO_STEP_FINISH]	= "finish",
};

static struct luo_machine luo_machine;
static struct kobject *luo_kobject;

/**
 * luo_step_name() - name of a step for people
 * @step: the step
 *
 * Context: any.
 * Return: a constant string.
 */
const char *luo_step_name(enum luo_step step)
{
	return luo_step_names[step];
}

/* Progress: who runs, since when, and what failed last. */

static void luo_watchdog(struct work_struct *work)
{
	struct luo_machine *machine = container_of(to_delayed_work(work),
						   struct luo_machine, watchdog);
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	char part[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	struct task_struct *task;
	enum luo_step step;

	scoped_guard(spinlock, &machine->progress_lock) {
		step = machine->step;
		task = machine->task ? get_task_struct(machine->task) : NULL;
		strscpy(name, machine->name);
		strscpy(part, machine->part ?: "");
	}
	if (!task)
		return;

	/* What is undone already cannot be hurried. */
	if (step == LUO_STEP_PREPARE || step == LUO_STEP_FREEZE) {
		pr_err("%s%s%s%s%s exceeds prepare_timeout_ms, to be undone when it returns\n",
		       name, name[0] ? ": " : "", part, part[0] ? ": " : "",
		       luo_step_name(step));
		sched_show_task(task);
	}
	put_task_struct(task);
}

/**
 * luo_progress_enter() - a participant is about to be called
 * @machine: the machine
 * @step: the step
 * @name: name of the participant
 *
 * Context: any. Takes &luo_machine.progress_lock.
 */
void luo_progress_enter(struct luo_machine *machine, enum luo_step step,
			const char *name)
{
	guard(spinlock)(&machine->progress_lock);
	machine->step = step;
	machine->task = current;
	machine->part = NULL;
	strscpy(machine->name, name);
}

/**
 * luo_progress_leave() - the participant returned
 * @machine: the machine
 *
 * Context: any. Takes &luo_machine.progress_lock.
 */
void luo_progress_leave(struct luo_machine *machine)
{
	guard(spinlock)(&machine->progress_lock);
	machine->name[0] = '\0';
	machine->part = NULL;
}

/**
 * luo_progress_part() - the participant turns to one of its parts
 * @machine: the machine
 * @name: name of the part, valid until the next call, or NULL for none
 *
 * Context: any. Takes &luo_machine.progress_lock.
 * Return: the step in progress; LUO_STEP_NONE, and nothing happened, if the
 * caller is not in a callback of this machine.
 */
enum luo_step luo_progress_part(struct luo_machine *machine, const char *name)
{
	/* Nobody else makes it current, or changes it while it is. */
	if (READ_ONCE(machine->task) != current)
		return LUO_STEP_NONE;

	guard(spinlock)(&machine->progress_lock);
	machine->part = name;

	return machine->step;
}

/**
 * luo_progress_show() - say what is in progress, as "transition" does
 * @machine: the machine
 * @buf: a page
 *
 * Context: any. Takes &luo_machine.progress_lock.
 * Return: bytes written.
 */
ssize_t luo_progress_show(struct luo_machine *machine, char *buf)
{
	guard(spinlock)(&machine->progress_lock);
	if (machine->step == LUO_STEP_NONE)
		return sysfs_emit(buf, "idle\n");

	return sysfs_emit(buf, "%s%s%s%s%s\n", luo_step_name(machine->step),
			  machine->name[0] ? " " : "", machine->name,
			  machine->part ? " " : "", machine->part ?: "");
}

/**
 * luo_progress_late() - is the walk past its deadline?
 * @machine: the machine
 *
 * Context: &luo_machine.lock held.
 * Return: true if it is.
 */
bool luo_progress_late(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	return machine->watched && time_after(jiffies, machine->deadline);
}

static void luo_unwatch(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (machine->watched) {
		cancel_delayed_work_sync(&machine->watchdog);
		machine->watched = false;
	}
}

/**
 * luo_transition_begin() - participants are about to be called
 * @machine: the machine
 * @step: the step
 * @watched: the step has a deadline
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_transition_begin(struct luo_machine *machine, enum luo_step step,
			  bool watched)
{
	u32 timeout_ms = READ_ONCE(machine->timeout_ms);
	unsigned long delay = msecs_to_jiffies(timeout_ms);

	luo_unwatch(machine);
	luo_progress_enter(machine, step, "");
	machine->watched = watched && timeout_ms;
	if (machine->watched) {
		machine->deadline = jiffies + delay;
		/* Unbound, for a participant that hogs this CPU. */
		queue_delayed_work(system_dfl_wq, &machine->watchdog, delay + 1);
	}
}

/**
 * luo_transition_end() - no participant is called any more
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_transition_end(struct luo_machine *machine)
{
	luo_unwatch(machine);

	guard(spinlock)(&machine->progress_lock);
	machine->step = LUO_STEP_NONE;
	machine->task = NULL;
	machine->name[0] = '\0';
	machine->part = NULL;
}

/**
 * luo_fail() - remember a failure for last_failed_*
 * @machine: the machine
 * @step: step that failed
 * @name: participant that failed, may be empty
 * @error: its error, negative
 *
 * Context: any. Takes &luo_machine.progress_lock.
 */
void luo_fail(struct luo_machine *machine, enum luo_step step,
	      const char *name, int error)
{
	pr_err("%s%s%s failed: %pe\n", name, *name ? ": " : "",
	       luo_step_name(step), ERR_PTR(error));

	guard(spinlock)(&machine->progress_lock);
	machine->failed_step = step;
	machine->failed_errno = error;
	strscpy(machine->failed_name, name);
}

static void luo_set_state(struct luo_machine *machine,
			  enum liveupdate_state state)
{
	lockdep_assert_held(&machine->lock);

	trace_liveupdate_state(luo_state_names[machine->state],
			       luo_state_names[state]);
	pr_info("%s -> %s\n", luo_state_names[machine->state],
		luo_state_names[state]);
	WRITE_ONCE(machine->state, state);
}

/* Without the lock, so that a listener can make its next request at once. */
static void luo_announce_state(struct luo_machine *machine)
{
	if (machine->announce)
		machine->announce(machine);
}

/* Transitions. */

static void luo_invalidated(struct work_struct *work);

/**
 * luo_machine_init() - make a machine in state normal without participants
 * @machine: zeroed memory
 *
 * Context: any.
 */
void luo_machine_init(struct luo_machine *machine)
{
	mutex_init(&machine->lock);
	INIT_LIST_HEAD(&machine->enlisted);
	hash_init(machine->incoming_names);
	mutex_init(&machine->registered_lock);
	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++)
		INIT_LIST_HEAD(&machine->registered[level]);
	hash_init(machine->names);
	spin_lock_init(&machine->progress_lock);
	INIT_DELAYED_WORK(&machine->watchdog, luo_watchdog);
	spin_lock_init(&machine->invalid_lock);
	INIT_DELAYED_WORK(&machine->invalidate, luo_invalidated);
}

/*
 * May a request that needs @state start? Suspend and reboot(2) hold
 * system_transition_mutex before they look at the machine, so whoever comes
 * second sees the other. A hibernation through /dev/snapshot does not hold it
 * all the time and is counted instead.
 *
 * Asked without the lock first: a request that is refused anyway must not hold
 * it for an instant and make another one fail. Asked again with the lock, which
 * makes it certain.
 */
static bool luo_may_start(struct luo_machine *machine,
			  enum liveupdate_state state)
{
	return READ_ONCE(machine->state) == state &&
	       !READ_ONCE(machine->sleeping) &&
	       !mutex_is_locked(&system_transition_mutex);
}

static void luo_forget_invalid(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	guard(spinlock_irqsave)(&machine->invalid_lock);
	machine->invalid_errno = 0;
}

static int luo_prepare(struct luo_machine *machine)
{
	int err;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    !luo_may_start(machine, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	luo_forget_invalid(machine);
	luo_transition_begin(machine, LUO_STEP_PREPARE, true);
	luo_timeline_begin(machine);
	err = luo_subsystems_prepare(machine);
	if (!err)
		luo_set_state(machine, LIVEUPDATE_STATE_PREPARED);
	else
		luo_timeline_end(machine);
	luo_transition_end(machine);

	return err;
}

/**
 * luo_machine_prepare() - normal -> prepared
 * @machine: the machine
 *
 * Context: May sleep. Tries for &luo_machine.lock.
 * Return: 0; -EBUSY in another state, during another transition, or while the
 * system suspends or reboots; otherwise as luo_subsystems_prepare().
 */
int luo_machine_prepare(struct luo_machine *machine)
{
	int err;

	if (!luo_may_start(machine, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	err = luo_prepare(machine);
	if (!err)
		luo_announce_state(machine);

	return err;
}

/* CANCEL and FINISH: what leads back to normal and cannot fail. */
static void luo_return(struct luo_machine *machine, enum luo_step step,
		       void (*walk)(struct luo_machine *machine))
{
	luo_transition_begin(machine, step, false);
	walk(machine);
	luo_timeline_end(machine);
	luo_forget_invalid(machine);
	luo_set_state(machine, LIVEUPDATE_STATE_NORMAL);
	luo_transition_end(machine);
}

static int luo_end(struct luo_machine *machine, enum liveupdate_state state,
		   enum luo_step step,
		   void (*walk)(struct luo_machine *machine))
{
	if (!luo_may_start(machine, state))
		return -EBUSY;

	scoped_cond_guard(mutex_try, return -EBUSY, &machine->lock) {
		if (!luo_may_start(machine, state))
			return -EBUSY;

		luo_return(machine, step, walk);
	}
	luo_announce_state(machine);

	return 0;
}

/**
 * luo_machine_cancel() - prepared -> normal
 * @machine: the machine
 *
 * Context: May sleep. Tries for &luo_machine.lock.
 * Return: 0; -EBUSY in another state, during another transition, or while the
 * system reboots.
 */
int luo_machine_cancel(struct luo_machine *machine)
{
	return luo_end(machine, LIVEUPDATE_STATE_PREPARED, LUO_STEP_CANCEL,
		       luo_subsystems_cancel);
}

static void luo_queue_invalid(struct luo_machine *machine, unsigned long delay)
{
	/* Unbound, because it waits for a transition. */
	queue_delayed_work(system_dfl_wq, &machine->invalidate, delay);
}

static bool luo_is_invalid(struct luo_machine *machine)
{
	guard(spinlock_irqsave)(&machine->invalid_lock);

	return machine->invalid_errno;
}

/* Cancel what has become void. */
static void luo_invalidated(struct work_struct *work)
{
	struct luo_machine *machine = container_of(to_delayed_work(work),
						   struct luo_machine,
						   invalidate);
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	int error;

	/*
	 * Without the lock, as in luo_may_start(). A PREPARE that begins now
	 * does so behind what became void.
	 */
	if (READ_ONCE(machine->state) != LIVEUPDATE_STATE_PREPARED &&
	    !mutex_is_locked(&machine->lock))
		return;

	scoped_guard(mutex, &machine->lock) {
		/* If it is frozen, a thaw comes back to this. */
		if (machine->state != LIVEUPDATE_STATE_PREPARED)
			return;

		scoped_guard(spinlock_irqsave, &machine->invalid_lock) {
			error = machine->invalid_errno;
			strscpy(name, machine->invalid_name);
		}
		if (!error)
			return;

		/* Not while devices are shut down, unless that fails. */
		if (mutex_is_locked(&system_transition_mutex)) {
			luo_queue_invalid(machine, HZ / 10);
			return;
		}

		luo_fail(machine, LUO_STEP_PREPARE, name, error);
		luo_return(machine, LUO_STEP_CANCEL, luo_subsystems_cancel);
	}
	luo_announce_state(machine);
}

/**
 * luo_machine_invalidate() - what a participant prepared has become void
 * @machine: the machine
 * @subsystem: the participant
 * @error: why, negative
 *
 * The machine goes back to normal as soon as it is prepared and nothing is in
 * progress. Of several reasons the first is remembered. Nothing happens if
 * nothing is prepared, or being prepared.
 *
 * Context: any. Takes &luo_machine.invalid_lock.
 */
void luo_machine_invalidate(struct luo_machine *machine,
			    struct liveupdate_subsystem *subsystem, int error)
{
	scoped_guard(spinlock_irqsave, &machine->invalid_lock) {
		if (!machine->invalid_errno) {
			machine->invalid_errno = error;
			strscpy(machine->invalid_name, subsystem->desc->name);
		}
	}
	luo_queue_invalid(machine, 0);
}

/**
 * luo_machine_finish() - updated -> normal
 * @machine: the machine
 *
 * Context: May sleep. Tries for &luo_machine.lock.
 * Return: 0; -EBUSY in another state, during another transition, or while the
 * system reboots.
 */
int luo_machine_finish(struct luo_machine *machine)
{
	return luo_end(machine, LIVEUPDATE_STATE_UPDATED, LUO_STEP_FINISH,
		       luo_subsystems_finish);
}

/**
 * luo_machine_rehearse() - FREEZE and THAW for real, and stay prepared
 * @machine: the machine
 *
 * Context: May sleep. Tries for &luo_machine.lock and, with it held, for
 * system_transition_mutex.
 * Return: 0; -EBUSY in another state, during another transition, suspend or
 * reboot; otherwise as luo_subsystems_freeze().
 */
int luo_machine_rehearse(struct luo_machine *machine)
{
	int err;

	if (!luo_may_start(machine, LIVEUPDATE_STATE_PREPARED))
		return -EBUSY;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    machine->state != LIVEUPDATE_STATE_PREPARED)
		return -EBUSY;

	ACQUIRE(mutex_try, transition)(&system_transition_mutex);
	if (ACQUIRE_ERR(mutex_try, &transition))
		return -EBUSY;

	luo_transition_begin(machine, LUO_STEP_FREEZE, true);
	luo_timeline_rehearse(machine);
	err = luo_subsystems_freeze(machine);
	if (!err) {
		luo_transition_begin(machine, LUO_STEP_THAW, false);
		luo_subsystems_thaw(machine);
	}
	luo_transition_end(machine);

	return err;
}

static int luo_freeze(struct luo_machine *machine, bool receives)
{
	int err;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    machine->state == LIVEUPDATE_STATE_FROZEN)
		return -EBUSY;

	if (machine->state != LIVEUPDATE_STATE_PREPARED)
		return 0;

	if (!receives) {
		pr_err("prepared, but the kexec image cannot receive state: load it with kexec_file_load(2)\n");
		return -EINVAL;
	}

	luo_transition_begin(machine, LUO_STEP_FREEZE, true);
	err = luo_subsystems_freeze(machine);
	if (!err)
		luo_set_state(machine, LIVEUPDATE_STATE_FROZEN);
	luo_transition_end(machine);

	return err;
}

/**
 * luo_machine_freeze() - enter reboot(2) for kexec
 * @machine: the machine
 * @receives: the next kernel can be handed state
 *
 * prepared becomes frozen; in normal and updated nothing changes. No lock is
 * kept: reboot(2) holds system_transition_mutex, which keeps requests out.
 *
 * Context: May sleep. Tries for &luo_machine.lock.
 * Return: 0; -EBUSY during a transition; -EINVAL if prepared and not @receives;
 * otherwise as luo_subsystems_freeze().
 */
int luo_machine_freeze(struct luo_machine *machine, bool receives)
{
	int err = luo_freeze(machine, receives);

	if (READ_ONCE(machine->state) == LIVEUPDATE_STATE_FROZEN && !err)
		luo_announce_state(machine);

	return err;
}

/**
 * luo_machine_thaw() - the jump did not happen after all
 * @machine: the machine, luo_machine_freeze() succeeded
 *
 * Context: May sleep. Takes &luo_machine.lock.
 */
void luo_machine_thaw(struct luo_machine *machine)
{
	scoped_guard(mutex, &machine->lock) {
		if (machine->state != LIVEUPDATE_STATE_FROZEN)
			return;

		luo_transition_begin(machine, LUO_STEP_THAW, false);
		luo_subsystems_thaw(machine);
		luo_set_state(machine, LIVEUPDATE_STATE_PREPARED);
		luo_transition_end(machine);
		/* It takes the lock, and so makes requests fail. */
		if (luo_is_invalid(machine))
			luo_queue_invalid(machine, 0);
	}
	luo_announce_state(machine);
}

/**
 * luo_machine_restore() - become updated on what the previous kernel left
 * @machine: a machine in state normal, with all built-in participants
 * @phys: physical address of the head of the table, as KHO gave it
 * @size: size of the head, as KHO gave it
 *
 * Context: May sleep. Takes &luo_machine.lock. Once, at early_initcall.
 * Return: 0 and the state is updated, whether or not every participant
 * restored; otherwise the error of luo_handover_read(), the state is normal,
 * and everything that was handed over stays reserved.
 */
int luo_machine_restore(struct luo_machine *machine, phys_addr_t phys,
			size_t size)
{
	struct luo_subsystem_ser *records __free(kvfree) = NULL;
	struct kho_table_incoming table;
	struct luo_incoming *incoming;
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
	for (unsigned int i = 0; i < count; i++)
		incoming[i].ser = records[i];

	scoped_guard(mutex, &machine->lock) {
		err = luo_subsystems_accept(machine, incoming, count);
		if (err) {
			kho_table_close(&table);
			kvfree(incoming);
			return err;
		}

		kho_table_release(&table);
		pr_info("%u participants handed over state\n", count);

		luo_transition_begin(machine, LUO_STEP_RESTORE, false);
		luo_subsystems_restore(machine);
		luo_set_state(machine, LIVEUPDATE_STATE_UPDATED);
		luo_transition_end(machine);
	}
	luo_announce_state(machine);

	return 0;
}

/* The machine of the system. */

static void luo_announce(struct luo_machine *machine)
{
	char state[32];
	char *envp[2] = { state };
	struct device *dev = luo_device();

	if (luo_kobject)
		sysfs_notify(luo_kobject, NULL, "state");
	if (IS_ERR_OR_NULL(dev))
		return;
	snprintf(state, sizeof(state), "LIVEUPDATE_STATE=%s",
		 luo_state_names[machine->state]);
	kobject_uevent_env(&dev->kobj, KOBJ_CHANGE, envp);
}

static struct luo_machine luo_machine = {
	.kho_name = LUO_SUBSYSTEMS_KHO_NAME,
	.announce = luo_announce,
};

/**
 * liveupdate_get_state() - state of the machine
 *
 * Correct from early_initcall on, before any device is probed. It may change
 * at once, unless the caller is a callback of a participant.
 *
 * Context: any.
 * Return: the state.
 */
enum liveupdate_state liveupdate_get_state(void)
{
	return READ_ONCE(luo_machine.state);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_get_state, "LIVEUPDATE");

/**
 * liveupdate_kobject() - /sys/kernel/liveupdate, for files of participants
 *
 * Context: late_initcall_sync or later.
 * Return: the kobject, or NULL if live update is off.
 */
struct kobject *liveupdate_kobject(void)
{
	return luo_kobject;
}

/**
 * liveupdate_invalidate() - what a participant prepared has become void
 * @subsystem: the participant; its prepare has succeeded, its cancel was not
 *	called
 * @error: why, negative, for last_failed_errno
 *
 * All of the preparation is cancelled, once no transition is in progress any
 * more; @subsystem is told by its cancel callback, as everybody is. Until then
 * it refuses to freeze.
 *
 * Context: any.
 */
void liveupdate_invalidate(struct liveupdate_subsystem *subsystem, int error)
{
	luo_machine_invalidate(&luo_machine, subsystem, error);
}

/**
 * liveupdate_part_begin() - a part of a participant is about to be worked on
 * @parts: the account, zeroed before the first part
 * @name: name of the part, valid until liveupdate_part_end()
 *
 * Context: any in which a spinlock can be taken, except interrupts. Anywhere but
 * in a callback of the participant only the account is kept.
 */
void liveupdate_part_begin(struct liveupdate_parts *parts, const char *name)
{
	luo_part_begin(&luo_machine, parts, name);
}

/**
 * liveupdate_part_end() - the work on the part is done
 * @parts: the account, after liveupdate_part_begin()
 * @error: what it ended with
 *
 * Context: as liveupdate_part_begin().
 * Return: @error if it is not 0; -ETIMEDOUT if this is a prepare or freeze
 * callback and time is up, so that the participant undoes its parts and returns
 * that; otherwise 0.
 */
int liveupdate_part_end(struct liveupdate_parts *parts, int error)
{
	return luo_part_end(&luo_machine, parts, error);
}

/**
 * liveupdate_parts_record() - write how long the parts took to the timeline
 * @subsystem: the participant
 * @parts: the account, after all parts
 *
 * Context: as liveupdate_part_begin(). Nothing is written anywhere but in a
 * callback of the participant.
 */
void liveupdate_parts_record(struct liveupdate_subsystem *subsystem,
			     const struct liveupdate_parts *parts)
{
	luo_parts_record(&luo_machine, subsystem, parts);
}

/**
 * liveupdate_register_subsystem() - register the participant of a module
 * @subsystem: the participant, on %LIVEUPDATE_LEVEL_WORKLOAD
 *
 * If the previous kernel handed data to it, it restores it now. Registering
 * while the machine is prepared succeeds and joins the next prepare. A module
 * does this last in its init function.
 *
 * Context: May sleep. Not from a callback of a participant.
 * Return: 0; -EOPNOTSUPP if live update is off; -EINVAL if the description is
 * malformed or has another level; -EEXIST if the name is taken. That restoring
 * failed is not an error of registering.
 */
int liveupdate_register_subsystem(struct liveupdate_subsystem *subsystem)
{
	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (subsystem->desc->level != LIVEUPDATE_LEVEL_WORKLOAD)
		return -EINVAL;

	return luo_subsystem_add(&luo_machine, subsystem);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_register_subsystem, "LIVEUPDATE");

/**
 * liveupdate_unregister_subsystem() - unregister the participant of a module
 * @subsystem: the participant, registered
 *
 * Context: May sleep. Not from a callback of a participant.
 */
void liveupdate_unregister_subsystem(struct liveupdate_subsystem *subsystem)
{
	luo_subsystem_remove(&luo_machine, subsystem);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_unregister_subsystem, "LIVEUPDATE");

/* A kernel that jumps back freezes nothing, and must find nothing to freeze. */
static int luo_refuse_jump_back(struct luo_machine *machine)
{
	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	if (machine->state == LIVEUPDATE_STATE_NORMAL)
		return 0;

	pr_err("a kexec image that jumps back is refused during a live update\n");

	return -EINVAL;
}

/**
 * luo_state_freeze() - freeze for the jump into kexec_image
 *
 * Context: reboot(2), with system_transition_mutex and the kexec lock held.
 * Return: 0; -EINVAL if prepared and kexec_image cannot receive state, or if
 * kexec_image will jump back and the state is not normal; -EBUSY during a
 * transition; otherwise as luo_subsystems_freeze().
 */
int luo_state_freeze(void)
{
	if (kexec_image->preserve_context)
		return luo_refuse_jump_back(&luo_machine);

	return luo_machine_freeze(&luo_machine, kexec_image->file_mode &&
						kexec_image->kho.fdt);
}

/**
 * luo_state_thaw() - undo luo_state_freeze()
 * @err: why the jump cannot happen, which no participant is to blame for
 *
 * Context: reboot(2), with system_transition_mutex and the kexec lock held.
 */
void luo_state_thaw(int err)
{
	luo_fail(&luo_machine, LUO_STEP_FREEZE, "", err);
	luo_machine_thaw(&luo_machine);
}

#ifdef CONFIG_PM_SLEEP
static int luo_pm_notify(struct notifier_block *nb, unsigned long event,
			 void *unused)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
	case PM_SUSPEND_PREPARE:
	case PM_RESTORE_PREPARE: {
		ACQUIRE(mutex_try, lock)(&luo_machine.lock);
		if (ACQUIRE_ERR(mutex_try, &lock) ||
		    luo_machine.state != LIVEUPDATE_STATE_NORMAL) {
			pr_notice("refusing to sleep during a live update\n");
			return notifier_from_errno(-EBUSY);
		}
		WRITE_ONCE(luo_machine.sleeping, luo_machine.sleeping + 1);
		break;
	}
	case PM_POST_HIBERNATION:
	case PM_POST_SUSPEND:
	case PM_POST_RESTORE: {
		guard(mutex)(&luo_machine.lock);
		WRITE_ONCE(luo_machine.sleeping, luo_machine.sleeping - 1);
		break;
	}
	}

	return NOTIFY_OK;
}

static struct notifier_block luo_pm_notifier = {
	.notifier_call = luo_pm_notify,
};

static int luo_pm_register(void)
{
	return register_pm_notifier(&luo_pm_notifier);
}
#else
static int luo_pm_register(void)
{
	return 0;
}
#endif

/* sysfs */

/**
 * liveupdate_parse_bool() - what was written to a file of live update
 * @buf: the text
 * @count: its length in bytes
 *
 * Context: any.
 * Return: 0 or 1; -EINVAL for anything but exactly that digit, with or without a
 * line end.
 */
int liveupdate_parse_bool(const char *buf, size_t count)
{
	if (count == 2 && buf[1] == '\n')
		count = 1;
	if (count != 1 || (*buf != '0' && *buf != '1'))
		return -EINVAL;

	return *buf - '0';
}

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", luo_state_names[liveupdate_get_state()]);
}

static ssize_t transition_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return luo_progress_show(&luo_machine, buf);
}

static ssize_t prepare_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	int value, err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	value = liveupdate_parse_bool(buf, count);
	if (value < 0)
		return value;

	err = value ? luo_machine_prepare(&luo_machine) :
		      luo_machine_cancel(&luo_machine);

	return err ?: count;
}

static ssize_t finish_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	int err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (liveupdate_parse_bool(buf, count) != 1)
		return -EINVAL;

	err = luo_machine_finish(&luo_machine);

	return err ?: count;
}

static ssize_t rehearse_store(struct kobject *kobj,
			      struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	int err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (liveupdate_parse_bool(buf, count) != 1)
		return -EINVAL;

	err = luo_machine_rehearse(&luo_machine);

	return err ?: count;
}

static ssize_t prepare_timeout_ms_show(struct kobject *kobj,
				       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(luo_machine.timeout_ms));
}

static ssize_t prepare_timeout_ms_store(struct kobject *kobj,
					struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	u32 timeout_ms;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (strlen(buf) != count || !isdigit(*buf) ||
	    kstrtou32(buf, 10, &timeout_ms) || timeout_ms > INT_MAX)
		return -EINVAL;

	ACQUIRE(mutex_try, lock)(&luo_machine.lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	WRITE_ONCE(luo_machine.timeout_ms, timeout_ms);

	return count;
}

static ssize_t last_failed_step_show(struct kobject *kobj,
				     struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n",
			  luo_step_name(READ_ONCE(luo_machine.failed_step)));
}

static ssize_t last_failed_name_show(struct kobject *kobj,
				     struct kobj_attribute *attr, char *buf)
{
	guard(spinlock)(&luo_machine.progress_lock);

	return sysfs_emit(buf, "%s\n", luo_machine.failed_name);
}

static ssize_t last_failed_errno_show(struct kobject *kobj,
				      struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(luo_machine.failed_errno));
}

static ssize_t memory_map_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", IS_ENABLED(CONFIG_KEXEC_HANDOVER_MAP) ?
			  "present" : "firmware");
}

/* Not a text attribute, because the list may be longer than a page. */
static ssize_t participants_read(struct file *file, struct kobject *kobj,
				 const struct bin_attribute *attr, char *buf,
				 loff_t offset, size_t count)
{
	char *text __free(kvfree) = NULL;
	ssize_t size;

	size = luo_subsystems_show(&luo_machine, &text);
	if (size < 0)
		return size;

	return memory_read_from_buffer(buf, count, &offset, text, size);
}

static struct kobj_attribute state_attr = __ATTR_RO(state);
static struct kobj_attribute transition_attr = __ATTR_RO(transition);
static struct kobj_attribute prepare_attr = __ATTR_WO(prepare);
static struct kobj_attribute finish_attr = __ATTR_WO(finish);
static struct kobj_attribute rehearse_attr = __ATTR_WO(rehearse);
static struct kobj_attribute timeout_attr = __ATTR_RW(prepare_timeout_ms);
static struct kobj_attribute failed_step_attr = __ATTR_RO(last_failed_step);
static struct kobj_attribute failed_name_attr = __ATTR_RO(last_failed_name);
static struct kobj_attribute failed_errno_attr = __ATTR_RO(last_failed_errno);
static struct kobj_attribute memory_map_attr = __ATTR_RO(memory_map);

static struct attribute *luo_attrs[] = {
	&state_attr.attr,
	&transition_attr.attr,
	&prepare_attr.attr,
	&finish_attr.attr,
	&rehearse_attr.attr,
	&timeout_attr.attr,
	&failed_step_attr.attr,
	&failed_name_attr.attr,
	&failed_errno_attr.attr,
	&memory_map_attr.attr,
	NULL
};

static const BIN_ATTR_RO(participants, 0);

static const struct bin_attribute *const luo_bin_attrs[] = {
	&bin_attr_participants,
	NULL
};

static const struct attribute_group luo_group = {
	.attrs = luo_attrs,
	.bin_attrs = luo_bin_attrs,
};

static int __init luo_state_init(void)
{
	struct kobject *kobj;
	int err;

	if (!liveupdate_enabled())
		return 0;

	kobj = kobject_create_and_add("liveupdate", kernel_kobj);
	if (!kobj)
		return -ENOMEM;

	err = sysfs_create_group(kobj, &luo_group);
	if (err)
		goto err_put;
	err = luo_pm_register();
	if (err)
		goto err_put;
	luo_kobject = kobj;

	return 0;

err_put:
	kobject_put(kobj);
	return err;
}
late_initcall(luo_state_init);

/* Live update is off here, but the previous kernel did not know. */
static int __init luo_report_unused(phys_addr_t phys, size_t size)
{
	struct luo_subsystem_ser *records __free(kvfree) = NULL;
	struct kho_table_incoming table;
	unsigned int count;
	int err;

	err = luo_handover_read(&table, phys, size, &records, &count);
	if (err)
		return err;

	kho_table_close(&table);
	pr_warn("live update is off: what %u participants handed over stays reserved until the next boot\n",
		count);
	for (unsigned int i = 0; i < count; i++)
		pr_warn("%s: version %u, %s, %llu bytes\n", records[i].name,
			records[i].version,
			records[i].flags & LUO_SUBSYSTEM_SER_MANDATORY ?
			"mandatory" : "optional", records[i].size);
	luo_subsystems_abandon(records, count);

	return 0;
}

/**
 * luo_state_early_init() - look for what the previous kernel left
 *
 * Context: early_initcall, after the sessions' own data was looked for.
 */
void __init luo_state_early_init(void)
{
	phys_addr_t phys;
	size_t size;
	int err;

	luo_machine_init(&luo_machine);
	luo_test_early_init();
	if (liveupdate_enabled()) {
		luo_timeline_early_init(&luo_machine);
		luo_subsystems_add_builtin(&luo_machine);
	}

	err = kho_retrieve_subtree(LUO_SUBSYSTEMS_KHO_NAME, &phys, &size);
	if (err == -ENOENT)
		return;

	if (!err && liveupdate_enabled()) {
		luo_timeline_arrive();
		err = luo_machine_restore(&luo_machine, phys, size);
		luo_timeline_arrived(!err);
	} else if (!err) {
		err = luo_report_unused(phys, size);
	}
	if (err) {
		luo_fail(&luo_machine, LUO_STEP_RESTORE, "", err);
		pr_alert("the state of the previous kernel cannot be used: starting as normal, all of it stays reserved until the next boot\n");
	}
}
