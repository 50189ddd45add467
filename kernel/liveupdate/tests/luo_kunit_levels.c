// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Subsystems on all levels for KUnit
 *
 * Subsystems that are registered in an order that is not the one in which they are
 * walked, and what the walks should call. One of them, each in turn, is told to fail or
 * to be late.
 */

#include <linux/jiffies.h>
#include <linux/sprintf.h>

#include "luo_kunit.h"

/* Levels in order of registration, and the order in which that is walked. */
static const enum liveupdate_level luo_kunit_levels[LUO_KUNIT_NR] = {
	LIVEUPDATE_LEVEL_MEMORY,	LIVEUPDATE_LEVEL_WORKLOAD,
	LIVEUPDATE_LEVEL_IRQ,		LIVEUPDATE_LEVEL_DEVICES,
	LIVEUPDATE_LEVEL_IOMMU,		LIVEUPDATE_LEVEL_WORKLOAD,
	LIVEUPDATE_LEVEL_MEMORY,	LIVEUPDATE_LEVEL_IRQ,
	LIVEUPDATE_LEVEL_DEVICES,	LIVEUPDATE_LEVEL_IOMMU,
	LIVEUPDATE_LEVEL_WORKLOAD,
};

static const u8 luo_kunit_walk[LUO_KUNIT_NR] = {
	1, 5, 10, 3, 8, 2, 7, 4, 9, 0, 6
};

/* Registers the first @count of them. */
void luo_kunit_scramble(struct kunit *test, struct luo_ctx *ctx,
			struct luo_kunit_set *set, unsigned int count)
{
	struct luo_kunit_subsystem *subsystems[LUO_KUNIT_NR];
	char name[8];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		subsystems[i] = luo_kunit_add(test, ctx, name,
					      luo_kunit_levels[i]);
	}
	set->count = 0;
	for (int i = 0; i < LUO_KUNIT_NR; i++) {
		if (luo_kunit_walk[i] < count)
			set->walk[set->count++] =
				subsystems[luo_kunit_walk[i]];
	}
}

/* Wants @transition for the first @count, walking down the levels. */
void luo_kunit_want_down(struct kunit *test, struct luo_kunit_set *set,
			 enum luo_transition transition, unsigned int count)
{
	for (int i = 0; i < count; i++)
		luo_kunit_want(test, transition, set->walk[i]->desc.name);
}

/* Wants @transition for the first @count, walking up the levels. */
void luo_kunit_want_up(struct kunit *test, struct luo_kunit_set *set,
		       enum luo_transition transition, unsigned int count)
{
	while (count--)
		luo_kunit_want(test, transition, set->walk[count]->desc.name);
}

/* Which one fails. */

static const struct luo_kunit_failure luo_kunit_failures[] = {
	{ 1, 0 },
	{ 2, 0 }, { 2, 1 },
	{ 3, 0 }, { 3, 1 }, { 3, 2 },
	{ 11, 0 }, { 11, 1 }, { 11, 2 }, { 11, 3 }, { 11, 4 }, { 11, 5 },
	{ 11, 6 }, { 11, 7 }, { 11, 8 }, { 11, 9 }, { 11, 10 },
};

static void luo_kunit_failure_desc(const struct luo_kunit_failure *failure,
				   char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "callback %u of %u",
		 failure->index + 1, failure->count);
}

KUNIT_ARRAY_PARAM(luo_kunit_failure, luo_kunit_failures, luo_kunit_failure_desc);

/* Parameters of a test in which each one fails, in sets of several sizes. */
const void *luo_kunit_failure_params(struct kunit *test, const void *prev, char *desc)
{
	return luo_kunit_failure_gen_params(test, prev, desc);
}

void luo_kunit_expect_unprepared(struct kunit *test,
				 struct luo_ctx *ctx,
				 struct luo_kunit_set *set)
{
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	KUNIT_EXPECT_NULL(test, ctx->table.head);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->enlisted));
	for (int i = 0; i < set->count; i++) {
		const struct liveupdate_subsystem *subsystem =
			&set->walk[i]->subsystem;

		KUNIT_EXPECT_EQ(test, subsystem->phase, LUO_PHASE_IDLE);
		KUNIT_EXPECT_EQ(test, subsystem->data.value, 0);
		KUNIT_EXPECT_EQ(test, subsystem->data.size, 0);
	}
}

/*
 * Expects that PREPARE or FREEZE, whichever @transition is, failed at the subsystem of the
 * test's parameter and was undone. One that is late has done its work, which is undone, too.
 */
void luo_kunit_expect_undone(struct kunit *test, struct luo_kunit_set *set,
			     enum luo_transition transition, int error)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_ctx *ctx = &((struct luo_kunit *)test->priv)->ctx;
	bool freeze = transition == LUO_TRANSITION_FREEZE;

	luo_kunit_want_down(test, set, transition, failure->index + 1);
	luo_kunit_want_up(test, set, freeze ? LUO_TRANSITION_THAW : LUO_TRANSITION_CANCEL,
			  failure->index + (error == -ETIMEDOUT));
	luo_kunit_expect_wanted(test);
	luo_kunit_expect_failed(test, ctx, transition, set->walk[failure->index]->desc.name,
				error);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&ctx->lock));
	if (freeze) {
		KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
		KUNIT_EXPECT_FALSE(test, ctx->table.head->flags & KHO_TABLE_SEALED);
	} else {
		luo_kunit_expect_unprepared(test, ctx, set);
	}
}

/* Deadlines. */

void luo_kunit_limit(struct luo_ctx *ctx, u32 timeout_ms)
{
	ctx->prepare_timeout_ms = timeout_ms;
	ctx->freeze_timeout_ms = timeout_ms;
}

/* Makes the subsystem late without waiting. */
void luo_kunit_late_hook(struct luo_kunit_subsystem *mock,
			 enum luo_transition transition)
{
	if (transition == (uintptr_t)mock->context)
		mock->fixture->ctx.deadline = jiffies - 1;
}
