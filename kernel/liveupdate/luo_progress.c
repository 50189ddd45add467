// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Progress of a transition
 *
 * Who runs, since when, and until when: what "transition" shows, and what the log says
 * of those who are late.
 *
 * Deadlines
 *   prepare_timeout_ms bounds all of PREPARE, freeze_timeout_ms all of FREEZE. A
 *   callback cannot be interrupted. When time is up, the participant that runs
 *   is named with its stack in the log; once it returns the step is undone and
 *   fails with -ETIMEDOUT. One that never returns keeps the machine busy, and
 *   "transition" says who it is. A participant of many parts (luo_parts.c) is
 *   told between two of them, and both messages name the part.
 *
 * Context: readers take &luo_machine.progress_lock, which is innermost and never held
 * over a callback. Transitions are begun and ended under &luo_machine.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/printk.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "luo_machine.h"

static const char *const luo_step_names[] = {
	[LUO_STEP_NONE]		= "none",
	[LUO_STEP_PREPARE]	= "prepare",
	[LUO_STEP_CANCEL]	= "cancel",
	[LUO_STEP_FREEZE]	= "freeze",
	[LUO_STEP_THAW]		= "thaw",
	[LUO_STEP_RESTORE]	= "restore",
	[LUO_STEP_FINISH]	= "finish",
	[LUO_STEP_REQUEST]	= "request",
};

/* Name of a step for people. */
const char *luo_step_name(enum luo_step step)
{
	return luo_step_names[step];
}

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
		pr_err("%s%s%s%s%s exceeds %s_timeout_ms, to be undone when it returns\n",
		       name, name[0] ? ": " : "", part, part[0] ? ": " : "",
		       luo_step_name(step), luo_step_name(step));
		sched_show_task(task);
	}
	put_task_struct(task);
}

/*
 * A participant is about to be called. Process context. Takes
 * &luo_machine.progress_lock.
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

/* The participant returned. Process context. Takes &luo_machine.progress_lock. */
void luo_progress_leave(struct luo_machine *machine)
{
	guard(spinlock)(&machine->progress_lock);
	machine->name[0] = '\0';
	machine->part = NULL;
}

/*
 * The participant turns to one of its parts. Process context. Takes
 * &luo_machine.progress_lock. Returns the step in progress; LUO_STEP_NONE, and nothing
 * happened, if the caller is not in a callback of this machine.
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

/*
 * Say what is in progress, as "transition" does. Process context. Takes
 * &luo_machine.progress_lock.
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

/* Is the walk past its deadline? &luo_machine.lock held. */
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

/* Participants are about to be called. May sleep. &luo_machine.lock held. */
void luo_transition_begin(struct luo_machine *machine, enum luo_step step,
			  bool watched)
{
	u32 timeout_ms = step == LUO_STEP_PREPARE ? machine->prepare_timeout_ms :
						    machine->freeze_timeout_ms;
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

/* No participant is called any more. May sleep. &luo_machine.lock held. */
void luo_transition_end(struct luo_machine *machine)
{
	luo_unwatch(machine);

	guard(spinlock)(&machine->progress_lock);
	machine->step = LUO_STEP_NONE;
	machine->task = NULL;
	machine->name[0] = '\0';
	machine->part = NULL;
}

/* Nothing is in progress. */
void luo_progress_init(struct luo_machine *machine)
{
	spin_lock_init(&machine->progress_lock);
	INIT_DELAYED_WORK(&machine->watchdog, luo_watchdog);
}
