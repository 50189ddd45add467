// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what keeps FREEZE from beginning, or from being final
 *
 * What luo_outgoing.c promises of subsystems that have something under way: when they
 * are asked, for how long, and what it is called if it does not end. And of what has become
 * void.
 */

#include <kunit/test-bug.h>
#include <linux/jiffies.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_FK_TIMEOUT_MS	50

/**
 * struct luo_fk_busy - a subsystem that has something under way
 * @it: the subsystem.
 * @nr_asked: how often it was asked whether it can freeze.
 * @nr_busy: how often the answer is no before it is yes.
 * @goes_down: the system begins to go down when it is asked.
 */
struct luo_fk_busy {
	struct luo_kunit_subsystem *it;
	unsigned int nr_asked;
	unsigned int nr_busy;
	bool goes_down;
};

static bool luo_fk_can_freeze(struct liveupdate_subsystem *subsystem)
{
	struct luo_kunit_subsystem *it =
		container_of(subsystem, struct luo_kunit_subsystem, subsystem);
	struct luo_fk_busy *busy = it->context;
	struct luo_ctx *ctx = &it->fixture->ctx;

	KUNIT_EXPECT_EQ(kunit_get_current_test(), ctx->transition, LUO_TRANSITION_FREEZE);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), ctx->name, it->desc.name);
	if (busy->goes_down)
		ctx->shutting_down = true;
	if (busy->nr_asked++ >= busy->nr_busy)
		return true;
	luo_report_failure(ctx, it->desc.name, -EBUSY, "port", "it works");

	return false;
}

static struct luo_fk_busy *luo_fk_add(struct kunit *test, const char *name, u32 level,
				      unsigned int nr_busy)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_fk_busy *busy = kunit_kzalloc(test, sizeof(*busy), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, busy);
	busy->it = luo_kunit_new(test, name, level);
	busy->it->ops.can_freeze = luo_fk_can_freeze;
	busy->it->context = busy;
	busy->nr_busy = nr_busy;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx,
						   &busy->it->subsystem));

	return busy;
}

static void luo_fk_prepare(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	seq_buf_clear(&fixture->log);
}

/* All are asked, each until it can, before anybody is frozen. */
static void luo_freeze_waits_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_fk_busy *a = luo_fk_add(test, "a", LIVEUPDATE_LEVEL_WORKLOAD, 0);
	struct luo_fk_busy *b = luo_fk_add(test, "b", LIVEUPDATE_LEVEL_MEMORY, 2);

	luo_fk_prepare(test);
	KUNIT_EXPECT_EQ(test, 0, a->nr_asked);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_EQ(test, 1, a->nr_asked);
	KUNIT_EXPECT_EQ(test, 3, b->nr_asked);
	luo_kunit_expect_log(test, " freeze:a freeze:b");
	KUNIT_EXPECT_EQ(test, 0, ctx->failure.count);
	luo_ctx_thaw(ctx);

	a->nr_asked = 0;
	b->nr_asked = 0;
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 3, b->nr_asked);
	luo_kunit_expect_log(test, " freeze:a freeze:b thaw:b thaw:a");
}

/* What does not end is named when time is up; nothing was frozen. */
static void luo_freeze_never_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_fk_busy *b;
	unsigned long begin;

	luo_kunit_add(test, ctx, "a", LIVEUPDATE_LEVEL_WORKLOAD);
	b = luo_fk_add(test, "b", LIVEUPDATE_LEVEL_MEMORY, UINT_MAX);
	luo_fk_prepare(test);
	ctx->freeze_timeout_ms = LUO_FK_TIMEOUT_MS;
	begin = jiffies;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_GE(test, jiffies_to_msecs(jiffies - begin), LUO_FK_TIMEOUT_MS);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "b", -ETIMEDOUT);
	KUNIT_EXPECT_STREQ(test, ctx->failure.device, "port");
	KUNIT_EXPECT_STREQ(test, ctx->failure.reason, "it works");

	/* It can be tried again when that is over. */
	b->nr_asked = 0;
	b->nr_busy = 0;
	ctx->freeze_timeout_ms = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " freeze:a freeze:b");
	luo_ctx_thaw(ctx);
}

/* Nothing is waited for while the system goes down otherwise. */
static void luo_freeze_shutting_down_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_fk_busy *it = luo_fk_add(test, "it", LIVEUPDATE_LEVEL_DEVICES, UINT_MAX);

	luo_fk_prepare(test);
	it->goes_down = true;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 1, it->nr_asked);
	luo_kunit_expect_log(test, "");
	ctx->shutting_down = false;
}

/* Subsystems that do not notice what they lost freeze all the same; the core does not. */
static void luo_freeze_invalid(struct luo_kunit_subsystem *it, enum luo_transition transition)
{
	struct luo_ctx *ctx = &it->fixture->ctx;

	/* Without the work item, which would cancel behind the test's back. */
	if (transition == LUO_TRANSITION_FREEZE)
		ctx->invalid = (struct luo_failure){
			.error = -ENODEV, .subsystem = "it", .device = "part",
			.reason = "pulled out",
		};
}

static void luo_freeze_expect_invalid(struct kunit *test, const char *log)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_kunit_expect_log(test, log);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it", -ENODEV);
	KUNIT_EXPECT_STREQ(test, ctx->failure.device, "part");
	KUNIT_EXPECT_STREQ(test, ctx->failure.reason, "pulled out");
}

static void luo_freeze_invalid_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);

	luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_MEMORY);
	luo_fk_prepare(test);
	it->hook = luo_freeze_invalid;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_freeze(ctx, true));
	luo_freeze_expect_invalid(test, " freeze:it freeze:other thaw:other thaw:it");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_freeze(ctx, true));
	luo_freeze_expect_invalid(test, "");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_rehearse(ctx));
	luo_freeze_expect_invalid(test, "");

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_cancel(ctx));
	it->hook = NULL;
	luo_fk_prepare(test);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_ctx_thaw(ctx);
}

static struct kunit_case luo_freeze_cases[] = {
	KUNIT_CASE(luo_freeze_waits_test),
	KUNIT_CASE(luo_freeze_never_test),
	KUNIT_CASE(luo_freeze_shutting_down_test),
	KUNIT_CASE(luo_freeze_invalid_test),
	{}
};

static struct kunit_suite luo_freeze_suite = {
	.name		= "luo-freeze",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_freeze_cases,
};

kunit_test_suite(luo_freeze_suite);
