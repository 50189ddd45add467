// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of deadlines
 *
 * Who is late has failed, for real and with a clock that the test turns, and which
 * transition has which deadline.
 */

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_STATE_TIMEOUT_MS	400

static void luo_state_sleep_hook(struct luo_kunit_subsystem *mock,
				 enum luo_transition transition)
{
	if (transition == (uintptr_t)mock->context)
		msleep(2 * LUO_STATE_TIMEOUT_MS);
}

/* For real: the clock ticks, and the watchdog barks. */
static void luo_state_timeout_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *slow;

	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	slow = luo_kunit_add(test, ctx, "slow", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, ctx, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	slow->hook = luo_state_sleep_hook;
	luo_kunit_limit(ctx, LUO_STATE_TIMEOUT_MS);

	slow->context = (void *)LUO_TRANSITION_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:top prepare:slow cancel:slow cancel:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "slow",
				-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);

	slow->context = (void *)LUO_TRANSITION_FREEZE;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " freeze:top freeze:slow thaw:slow thaw:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "slow",
				-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);

	luo_kunit_limit(ctx, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
}

static void luo_state_timeout_index_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, ctx, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->hook = luo_kunit_late_hook;
	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);

	culprit->context = (void *)LUO_TRANSITION_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_prepare(ctx));
	luo_kunit_expect_undone(test, &set, LUO_TRANSITION_PREPARE, -ETIMEDOUT);

	culprit->context = (void *)LUO_TRANSITION_FREEZE;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_want_down(test, &set, LUO_TRANSITION_PREPARE, set.count);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_rehearse(ctx));
	luo_kunit_expect_undone(test, &set, LUO_TRANSITION_FREEZE, -ETIMEDOUT);
}

/* The limit of one transition is none of the other. */
static void luo_state_limits_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);

	it->hook = luo_kunit_late_hook;
	it->context = (void *)LUO_TRANSITION_PREPARE;
	ctx->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));

	it->context = (void *)LUO_TRANSITION_FREEZE;
	ctx->freeze_timeout_ms = 0;
	ctx->prepare_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));

	ctx->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_rehearse(ctx));
}

/* Who fails late has failed, and is not undone. */
static void luo_state_late_failure_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;

	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	it->hook = luo_kunit_late_hook;
	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);

	it->context = (void *)LUO_TRANSITION_PREPARE;
	it->error[LUO_TRANSITION_PREPARE] = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:top prepare:it cancel:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENXIO);

	it->context = (void *)LUO_TRANSITION_FREEZE;
	it->error[LUO_TRANSITION_PREPARE] = 0;
	it->error[LUO_TRANSITION_FREEZE] = -ENXIO;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, -ENXIO, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " prepare:top prepare:it freeze:top freeze:it thaw:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it", -ENXIO);
}

/**
 * struct luo_state_watch - what callbacks saw of the deadline
 * @pending: bit for each transition in which the watchdog was running.
 * @deadline: deadline in each transition.
 * @differs: two callbacks of the same transition saw different deadlines.
 */
struct luo_state_watch {
	unsigned long pending;
	unsigned long deadline[LUO_KUNIT_NR_TRANSITIONS];
	bool differs;
};

static void luo_state_watch_hook(struct luo_kunit_subsystem *mock,
				 enum luo_transition transition)
{
	struct luo_ctx *ctx = &mock->fixture->ctx;
	struct luo_state_watch *watch = mock->context;

	if (!delayed_work_pending(&ctx->watchdog))
		return;
	if (watch->pending & BIT(transition) &&
	    watch->deadline[transition] != ctx->deadline)
		watch->differs = true;
	watch->pending |= BIT(transition);
	watch->deadline[transition] = ctx->deadline;
	msleep(20);
}

/* One deadline for all of PREPARE, one for all of FREEZE, none elsewhere. */
static void luo_state_deadline_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_watch watch = {};
	struct luo_kunit_set set;

	luo_kunit_scramble(test, ctx, &set, 3);
	for (int i = 0; i < set.count; i++) {
		set.walk[i]->hook = luo_state_watch_hook;
		set.walk[i]->context = &watch;
	}

	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&ctx->watchdog));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&ctx->watchdog));
	KUNIT_EXPECT_EQ(test, watch.pending,
			BIT(LUO_TRANSITION_PREPARE) | BIT(LUO_TRANSITION_FREEZE));
	KUNIT_EXPECT_FALSE(test, watch.differs);
	KUNIT_EXPECT_TRUE(test, time_after(watch.deadline[LUO_TRANSITION_FREEZE],
					   watch.deadline[LUO_TRANSITION_PREPARE]));

	watch.pending = 0;
	luo_kunit_limit(ctx, 0);
	ctx->deadline = jiffies - 1;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, watch.pending, 0);
}

static struct kunit_case luo_deadline_cases[] = {
	KUNIT_CASE(luo_state_limits_test),
	KUNIT_CASE_SLOW(luo_state_timeout_test),
	KUNIT_CASE_PARAM(luo_state_timeout_index_test,
			 luo_kunit_failure_params),
	KUNIT_CASE(luo_state_late_failure_test),
	KUNIT_CASE(luo_state_deadline_test),
	{}
};

static struct kunit_suite luo_deadline_suite = {
	.name		= "luo-deadline",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_deadline_cases,
};

kunit_test_suite(luo_deadline_suite);
