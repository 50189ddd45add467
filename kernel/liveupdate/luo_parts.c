// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Parts of a participant
 *
 * A participant may stand for thousands of things that it handles one by one,
 * such as devices. For the state machine it is a single callback, but to the
 * operator it matters which of the things is under way, and which took long.
 * So the participant wraps the work on each in luo_part_begin() and
 * luo_part_end() (liveupdate_part_begin() and liveupdate_part_end() for
 * others), which
 *
 * - names the part in "transition" and in the message about a missed deadline,
 * - lets the participant give up between two parts once the deadline has
 *   passed, rather than at the end of its callback,
 * - adds up how long they took, and keeps the slowest by name.
 *
 * Most parts are ordinary and the blackout must not become longer by looking at
 * them: an ordinary part costs two readings of the counter, a comparison with
 * the quickest of the slowest, and the uncontended lock of the progress.
 *
 * A caller that is not inside a callback of the machine, such as a unit test of
 * a participant, gets nothing but the sums.
 *
 * Lock order: &luo_machine.lock -> locks of the participant ->
 * &luo_machine.progress_lock.
 */

#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "luo_machine.h"

/* A part of a participant is about to be worked on. Process context. */
void luo_part_begin(struct luo_machine *machine, struct liveupdate_parts *parts,
		    const char *name)
{
	luo_progress_part(machine, name);
	parts->name = name;
	parts->start = luo_timeline_now();
}

static u64 luo_part_took(const struct liveupdate_parts *parts, unsigned int i)
{
	return parts->slowest[i].end - parts->slowest[i].start;
}

/* Enter the part under way among the slowest, which are sorted. */
static noinline void luo_part_keep(struct liveupdate_parts *parts, u64 end,
				   int error)
{
	u64 took = end - parts->start;
	unsigned int i;
	char *c;

	if (parts->nr_slowest < LIVEUPDATE_PARTS_SLOWEST)
		parts->nr_slowest++;
	for (i = parts->nr_slowest - 1; i && luo_part_took(parts, i - 1) < took; i--)
		parts->slowest[i] = parts->slowest[i - 1];

	/* As the next kernel wants to see it. */
	strscpy(parts->slowest[i].name, parts->name);
	for (c = parts->slowest[i].name; *c; c++) {
		if (!isascii(*c) || !isgraph(*c))
			*c = '?';
	}
	parts->slowest[i].start = parts->start;
	parts->slowest[i].end = end;
	parts->slowest[i].error = clamp(error, -MAX_ERRNO, 0);
}

/* Enter the part under way in an account. */
void luo_part_account(struct liveupdate_parts *parts, u64 end, int error)
{
	u64 took;

	/* Counters of two processors need not agree to the last digit. */
	end = max(end, parts->start);
	took = end - parts->start;
	parts->count++;
	parts->sum += took;
	parts->max = max(parts->max, took);
	if (parts->nr_slowest < LIVEUPDATE_PARTS_SLOWEST ||
	    took > luo_part_took(parts, LIVEUPDATE_PARTS_SLOWEST - 1))
		luo_part_keep(parts, end, error);
	parts->name = NULL;
}

/*
 * The work on the part is done. Process context. Returns @error if it is not 0;
 * -ETIMEDOUT if the caller is in a callback of PREPARE or FREEZE whose deadline has
 * passed; otherwise 0.
 */
int luo_part_end(struct luo_machine *machine, struct liveupdate_parts *parts,
		 int error)
{
	enum luo_step step;

	luo_part_account(parts, luo_timeline_now(), error);
	step = luo_progress_part(machine, NULL);
	if (error)
		return error;
	if ((step == LUO_STEP_PREPARE || step == LUO_STEP_FREEZE) &&
	    luo_progress_late(machine))
		return -ETIMEDOUT;

	return 0;
}

/* Write an account to the timeline. Process context. */
void luo_parts_record(struct luo_machine *machine,
		      struct liveupdate_subsystem *subsystem,
		      const struct liveupdate_parts *parts)
{
	enum luo_step step = luo_progress_part(machine, NULL);

	if (step != LUO_STEP_NONE && parts->count)
		luo_timeline_parts(machine, step, subsystem->desc->name, parts);
}
