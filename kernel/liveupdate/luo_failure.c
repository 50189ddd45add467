// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The last failure
 *
 * The one place that records what failed: the transition, the subsystem, which of its
 * devices or other items, the error, and why. last_failure/ shows it.
 *
 * Concept
 *   A failure stays until the next one. Each is counted, so that a reader can tell a
 *   new one from an old one: a request that is refused because of the state, or
 *   because another one runs, is no failure of anything and is not counted. Who reads
 *   the count before and after the other files, and finds it unchanged, has read of
 *   one failure only.
 *
 * Details
 *   A callback returns nothing but an error. A subsystem that knows more says so
 *   with luo_report_failure() (liveupdate_report_failure() for others) before it
 *   returns. If it does so twice, the last one counts; if the callback succeeds, it is
 *   forgotten. Outside of its callbacks a subsystem can refuse things, too, such as
 *   to have a device preserved: that is a failure by itself, of the transition
 *   "request".
 *
 * Context: process context. &luo_ctx.progress_lock is innermost and never held
 * over a callback.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "luo_ctx.h"

/* Record a failure. Process context. Takes &luo_ctx.progress_lock. */
void luo_record_failure(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name, int error, const char *device,
			const char *reason)
{
	struct luo_failure *failure = &ctx->failure;

	pr_err("%s%s%s failed: %pe%s%s%s%s\n", name, *name ? ": " : "",
	       luo_transition_name(transition), ERR_PTR(error), *device ? ", " : "", device,
	       *reason ? ", " : "", reason);

	guard(spinlock)(&ctx->progress_lock);
	failure->count++;
	failure->transition = transition;
	failure->error = error;
	strscpy(failure->subsystem, name);
	strscpy(failure->device, device);
	strscpy(failure->reason, reason);
}

/*
 * Drop what was reported by earlier callbacks. Process context. Takes
 * &luo_ctx.progress_lock.
 */
void luo_callback_begins(struct luo_ctx *ctx)
{
	guard(spinlock)(&ctx->progress_lock);
	if (ctx->reported.error)
		ctx->reported = (struct luo_failure){};
}

/*
 * Log that what a callback has reported is waited for. Process context. Takes
 * &luo_ctx.progress_lock.
 */
void luo_callback_waits(struct luo_ctx *ctx, const char *name)
{
	struct luo_failure reported;

	scoped_guard(spinlock, &ctx->progress_lock)
		reported = ctx->reported;
	pr_info("%s: waiting before freeze: %s: %s\n", name, reported.device,
		reported.reason);
}

/*
 * Record that a callback failed. With what it reported; or with what made invalid what
 * it prepared, if it was that. Process context. Takes &luo_ctx.progress_lock and
 * &luo_ctx.invalid_lock, one after the other.
 */
void luo_callback_failed(struct luo_ctx *ctx, enum luo_transition transition,
			 const char *name, int error)
{
	struct luo_failure reported;

	scoped_guard(spinlock, &ctx->progress_lock)
		reported = ctx->reported;
	if (!reported.error) {
		guard(spinlock_irqsave)(&ctx->invalid_lock);
		if (ctx->invalid.error && !strcmp(ctx->invalid.subsystem, name))
			reported = ctx->invalid;
	}
	luo_record_failure(ctx, transition, name, error, reported.device,
			   reported.reason);
}

static bool luo_in_callback(struct luo_ctx *ctx, const char *name)
{
	/* Nobody else makes it current, or changes it while it is. */
	return READ_ONCE(ctx->task) == current && !strcmp(ctx->name, name);
}

/*
 * A subsystem says what fails, and why. Process context. Takes
 * &luo_ctx.progress_lock.
 */
void luo_report_failure(struct luo_ctx *ctx, const char *name, int error,
			const char *device, const char *reason)
{
	if (!luo_in_callback(ctx, name)) {
		luo_record_failure(ctx, LUO_TRANSITION_REQUEST, name, error, device,
				   reason);
		return;
	}

	guard(spinlock)(&ctx->progress_lock);
	ctx->reported.error = error;
	strscpy(ctx->reported.device, device);
	strscpy(ctx->reported.reason, reason);
}

/* What failed last. Process context. Takes &luo_ctx.progress_lock. */
void luo_last_failure(struct luo_ctx *ctx, struct luo_failure *failure)
{
	guard(spinlock)(&ctx->progress_lock);
	*failure = ctx->failure;
}
