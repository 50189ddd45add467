// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Progress of a transition
 *
 * Who runs, since when, and until when: what "transition" shows, and what the log says
 * of those who are late.
 *
 * Deadlines
 *   prepare_timeout_ms bounds all of PREPARE, freeze_timeout_ms all of FREEZE. A
 *   callback cannot be interrupted. When time is up, the subsystem that runs
 *   is named with its stack in the log; once it returns the transition is undone and
 *   fails with -ETIMEDOUT. One that never returns keeps the machine busy, and
 *   "transition" says who it is. A subsystem of many items (luo_items.c) is
 *   told between two of them, and both messages name the item.
 *
 * Context: readers take &luo_ctx.progress_lock, which is innermost and never held
 * over a callback. Transitions are begun and ended under &luo_ctx.lock.
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

#include "luo_ctx.h"

static const char *const luo_transition_names[] = {
	[LUO_TRANSITION_NONE]		= "none",
	[LUO_TRANSITION_PREPARE]	= "prepare",
	[LUO_TRANSITION_CANCEL]	= "cancel",
	[LUO_TRANSITION_FREEZE]	= "freeze",
	[LUO_TRANSITION_THAW]		= "thaw",
	[LUO_TRANSITION_RESTORE]	= "restore",
	[LUO_TRANSITION_FINISH]	= "finish",
	[LUO_TRANSITION_REQUEST]	= "request",
};

/* Name of a transition for people. */
const char *luo_transition_name(enum luo_transition transition)
{
	return luo_transition_names[transition];
}

static void luo_watchdog(struct work_struct *work)
{
	struct luo_ctx *ctx = container_of(to_delayed_work(work),
					   struct luo_ctx, watchdog);
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	char item[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	struct task_struct *task;
	enum luo_transition transition;

	scoped_guard(spinlock, &ctx->progress_lock) {
		transition = ctx->transition;
		task = ctx->task ? get_task_struct(ctx->task) : NULL;
		strscpy(name, ctx->name);
		strscpy(item, READ_ONCE(ctx->item) ?: "");
	}
	if (!task)
		return;

	/* What is undone already cannot be hurried. */
	if (transition == LUO_TRANSITION_PREPARE || transition == LUO_TRANSITION_FREEZE) {
		pr_err("%s%s%s%s%s exceeds %s_timeout_ms, to be undone when it returns\n",
		       name, name[0] ? ": " : "", item, item[0] ? ": " : "",
		       luo_transition_name(transition), luo_transition_name(transition));
		sched_show_task(task);
	}
	put_task_struct(task);
}

/*
 * A subsystem is about to be called. Process context. Takes
 * &luo_ctx.progress_lock.
 */
void luo_progress_enter(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name)
{
	guard(spinlock)(&ctx->progress_lock);
	ctx->transition = transition;
	ctx->task = current;
	ctx->item = NULL;
	strscpy(ctx->name, name);
}

/* The subsystem returned. Process context. Takes &luo_ctx.progress_lock. */
void luo_progress_leave(struct luo_ctx *ctx)
{
	guard(spinlock)(&ctx->progress_lock);
	ctx->name[0] = '\0';
	ctx->item = NULL;
}

/*
 * The subsystem turns to one of its items. Nothing happens if the caller is not in a
 * callback of this machine. Process context. @name stays until luo_progress_end(), which
 * waits for whoever looks at it; so no lock is taken here.
 */
void luo_progress_begin(struct luo_ctx *ctx, const char *name)
{
	/* Nobody else makes it current, or changes it while it is. */
	if (READ_ONCE(ctx->task) == current)
		WRITE_ONCE(ctx->item, name);
}

/*
 * It is done with the item, if there was one. Process context. Takes
 * &luo_ctx.progress_lock. Returns the transition in progress; LUO_TRANSITION_NONE, and
 * nothing happened, if the caller is not in a callback of this machine.
 */
enum luo_transition luo_progress_end(struct luo_ctx *ctx)
{
	if (READ_ONCE(ctx->task) != current)
		return LUO_TRANSITION_NONE;

	guard(spinlock)(&ctx->progress_lock);
	ctx->item = NULL;

	return ctx->transition;
}

/*
 * Say what is in progress, as "transition" does. Process context. Takes
 * &luo_ctx.progress_lock.
 */
ssize_t luo_progress_show(struct luo_ctx *ctx, char *buf)
{
	const char *item;

	guard(spinlock)(&ctx->progress_lock);
	if (ctx->transition == LUO_TRANSITION_NONE)
		return sysfs_emit(buf, "idle\n");
	item = READ_ONCE(ctx->item);

	return sysfs_emit(buf, "%s%s%s%s%s\n", luo_transition_name(ctx->transition),
			  ctx->name[0] ? " " : "", ctx->name,
			  item ? " " : "", item ?: "");
}

/* Is the walk past its deadline? &luo_ctx.lock held. */
bool luo_progress_late(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	return ctx->watched && time_after(jiffies, ctx->deadline);
}

static void luo_unwatch(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	if (ctx->watched) {
		cancel_delayed_work_sync(&ctx->watchdog);
		ctx->watched = false;
	}
}

/* Subsystems are about to be called. May sleep. &luo_ctx.lock held. */
void luo_transition_begin(struct luo_ctx *ctx, enum luo_transition transition,
			  bool watched)
{
	u32 timeout_ms = transition == LUO_TRANSITION_PREPARE ? ctx->prepare_timeout_ms :
						    ctx->freeze_timeout_ms;
	unsigned long delay = msecs_to_jiffies(timeout_ms);

	luo_unwatch(ctx);
	luo_progress_enter(ctx, transition, "");
	ctx->watched = watched && timeout_ms;
	if (ctx->watched) {
		ctx->deadline = jiffies + delay;
		/* Unbound, for a subsystem that hogs this CPU. */
		queue_delayed_work(system_dfl_wq, &ctx->watchdog, delay + 1);
	}
}

/* No subsystem is called any more. May sleep. &luo_ctx.lock held. */
void luo_transition_end(struct luo_ctx *ctx)
{
	luo_unwatch(ctx);

	guard(spinlock)(&ctx->progress_lock);
	ctx->transition = LUO_TRANSITION_NONE;
	ctx->task = NULL;
	ctx->name[0] = '\0';
	ctx->item = NULL;
}

/* Nothing is in progress. */
void luo_progress_init(struct luo_ctx *ctx)
{
	spin_lock_init(&ctx->progress_lock);
	INIT_DELAYED_WORK(&ctx->watchdog, luo_watchdog);
}
