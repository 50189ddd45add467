// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The last failure
 *
 * The one place that records what failed: the step, the participant, which of its
 * devices or other parts, the error, and why. last_failure/ shows it.
 *
 * Concept
 *   A failure stays until the next one. Each is counted, so that a reader can tell a
 *   new one from an old one: a request that is refused because of the state, or
 *   because another one runs, is no failure of anything and is not counted. Who reads
 *   the count before and after the other files, and finds it unchanged, has read of
 *   one failure only.
 *
 * Details
 *   A callback returns nothing but an error. A participant that knows more says so
 *   with luo_report_failure() (liveupdate_report_failure() for others) before it
 *   returns. If it does so twice, the last one counts; if the callback succeeds, it is
 *   forgotten. Outside of its callbacks a participant can refuse things, too, such as
 *   to have a device preserved: that is a failure by itself, of the step "request".
 *
 * Context: process context. &luo_machine.progress_lock is innermost and never held
 * over a callback.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "luo_machine.h"

/* Record a failure. Process context. Takes &luo_machine.progress_lock. */
void luo_record_failure(struct luo_machine *machine, enum luo_step step,
			const char *name, int error, const char *device,
			const char *reason)
{
	struct luo_failure *failure = &machine->failure;

	pr_err("%s%s%s failed: %pe%s%s%s%s\n", name, *name ? ": " : "",
	       luo_step_name(step), ERR_PTR(error), *device ? ", " : "", device,
	       *reason ? ", " : "", reason);

	guard(spinlock)(&machine->progress_lock);
	failure->count++;
	failure->step = step;
	failure->error = error;
	strscpy(failure->participant, name);
	strscpy(failure->device, device);
	strscpy(failure->reason, reason);
}

/*
 * Drop what was reported by earlier callbacks. Process context. Takes
 * &luo_machine.progress_lock.
 */
void luo_callback_begins(struct luo_machine *machine)
{
	guard(spinlock)(&machine->progress_lock);
	machine->reported = (struct luo_failure){};
}

/*
 * Log that what a callback has reported is waited for. Process context. Takes
 * &luo_machine.progress_lock.
 */
void luo_callback_waits(struct luo_machine *machine, const char *name)
{
	struct luo_failure reported;

	scoped_guard(spinlock, &machine->progress_lock)
		reported = machine->reported;
	pr_info("%s: waiting before freeze: %s: %s\n", name, reported.device,
		reported.reason);
}

/*
 * Record that a callback failed. With what it reported; or with what made void what it
 * prepared, if it was that. Process context. Takes &luo_machine.progress_lock and
 * &luo_machine.invalid_lock, one after the other.
 */
void luo_callback_failed(struct luo_machine *machine, enum luo_step step,
			 const char *name, int error)
{
	struct luo_failure reported;

	scoped_guard(spinlock, &machine->progress_lock)
		reported = machine->reported;
	if (!reported.error) {
		guard(spinlock_irqsave)(&machine->invalid_lock);
		if (machine->invalid.error && !strcmp(machine->invalid.participant, name))
			reported = machine->invalid;
	}
	luo_record_failure(machine, step, name, error, reported.device,
			   reported.reason);
}

static bool luo_in_callback(struct luo_machine *machine, const char *name)
{
	/* Nobody else makes it current, or changes it while it is. */
	return READ_ONCE(machine->task) == current && !strcmp(machine->name, name);
}

/*
 * A participant says what fails, and why. Process context. Takes
 * &luo_machine.progress_lock.
 */
void luo_report_failure(struct luo_machine *machine, const char *name, int error,
			const char *device, const char *reason)
{
	if (!luo_in_callback(machine, name)) {
		luo_record_failure(machine, LUO_STEP_REQUEST, name, error, device,
				   reason);
		return;
	}

	guard(spinlock)(&machine->progress_lock);
	machine->reported.error = error;
	strscpy(machine->reported.device, device);
	strscpy(machine->reported.reason, reason);
}

/* What failed last. Process context. Takes &luo_machine.progress_lock. */
void luo_last_failure(struct luo_machine *machine, struct luo_failure *failure)
{
	guard(spinlock)(&machine->progress_lock);
	*failure = machine->failure;
}
