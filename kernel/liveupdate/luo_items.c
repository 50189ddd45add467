// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Items of a subsystem
 *
 * A subsystem may stand for thousands of things that it handles one by one,
 * such as devices. For the state machine it is a single callback, but to the
 * operator it matters which of the things is under way, and which took long.
 * So the subsystem wraps the work on each in luo_item_begin() and
 * luo_item_end() (liveupdate_item_begin() and liveupdate_item_end() for
 * others), which
 *
 * - names the item in "transition" and in the message about a missed deadline,
 * - lets the subsystem give up between two items once the deadline has
 *   passed, rather than at the end of its callback,
 * - adds up how long they took, and keeps the slowest by name.
 *
 * Most items are ordinary and the blackout must not become longer by looking at
 * them: an ordinary item costs two readings of the counter, a comparison with
 * the quickest of the slowest, and the uncontended lock of the progress.
 *
 * A caller that is not inside a callback of the machine, such as a unit test of
 * a subsystem, gets nothing but the sums.
 *
 * Lock order: &luo_ctx.lock -> locks of the subsystem ->
 * &luo_ctx.progress_lock.
 */

#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "luo_ctx.h"

/* An item of a subsystem is about to be worked on. Process context. */
void luo_item_begin(struct luo_ctx *ctx, struct liveupdate_items *items,
		    const char *name)
{
	luo_progress_begin(ctx, name);
	items->name = name;
	items->start = luo_timeline_now();
}

static u64 luo_item_took(const struct liveupdate_items *items, unsigned int i)
{
	return items->slowest[i].end - items->slowest[i].start;
}

/* Enter the item under way among the slowest, which are sorted. */
static noinline void luo_item_keep(struct liveupdate_items *items, u64 end,
				   int error)
{
	u64 took = end - items->start;
	unsigned int i;
	char *c;

	if (items->nr_slowest < LIVEUPDATE_ITEMS_SLOWEST)
		items->nr_slowest++;
	for (i = items->nr_slowest - 1; i && luo_item_took(items, i - 1) < took; i--)
		items->slowest[i] = items->slowest[i - 1];

	/* As the next kernel wants to see it. */
	strscpy(items->slowest[i].name, items->name);
	for (c = items->slowest[i].name; *c; c++) {
		if (!isascii(*c) || !isgraph(*c))
			*c = '?';
	}
	items->slowest[i].start = items->start;
	items->slowest[i].end = end;
	items->slowest[i].error = clamp(error, -MAX_ERRNO, 0);
}

/* Enter the item under way in an account. */
void luo_item_account(struct liveupdate_items *items, u64 end, int error)
{
	u64 took;

	/* Counters of two processors need not agree to the last digit. */
	end = max(end, items->start);
	took = end - items->start;
	items->count++;
	items->sum += took;
	if (items->nr_slowest < LIVEUPDATE_ITEMS_SLOWEST ||
	    took > luo_item_took(items, LIVEUPDATE_ITEMS_SLOWEST - 1))
		luo_item_keep(items, end, error);
	items->name = NULL;
}

/*
 * The work on the item is done. Process context. Returns @error if it is not 0;
 * -ETIMEDOUT if the caller is in a callback of PREPARE or FREEZE whose deadline has
 * passed; otherwise 0.
 */
int luo_item_end(struct luo_ctx *ctx, struct liveupdate_items *items,
		 int error)
{
	enum luo_transition transition;

	luo_item_account(items, luo_timeline_now(), error);
	transition = luo_progress_end(ctx);
	if (error)
		return error;
	if ((transition == LUO_TRANSITION_PREPARE || transition == LUO_TRANSITION_FREEZE) &&
	    luo_progress_late(ctx))
		return -ETIMEDOUT;

	return 0;
}

/* Write an account to the timeline. Process context. */
void luo_items_record(struct luo_ctx *ctx,
		      struct liveupdate_subsystem *subsystem,
		      const struct liveupdate_items *items)
{
	enum luo_transition transition = luo_progress_end(ctx);

	if (transition != LUO_TRANSITION_NONE && items->count)
		luo_timeline_items(ctx, transition, subsystem->desc->name, items);
}
