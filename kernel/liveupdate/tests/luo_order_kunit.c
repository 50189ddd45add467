// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the order of subsystems
 *
 * In which order subsystems and files of sessions are called in each transition, and that
 * none needs more callbacks than it uses.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/string.h>

#include "luo_kunit.h"

static void luo_state_order_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_set old, new;

	luo_kunit_scramble(test, ctx, &old, LUO_KUNIT_NR);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_want_down(test, &old, LUO_TRANSITION_PREPARE, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_kunit_want_down(test, &old, LUO_TRANSITION_FREEZE, LUO_KUNIT_NR);
	luo_kunit_want_up(test, &old, LUO_TRANSITION_THAW, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_want_up(test, &old, LUO_TRANSITION_CANCEL, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);

	/* A new round is like the first one. */
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_jump(test);
	luo_kunit_want_down(test, &old, LUO_TRANSITION_PREPARE, LUO_KUNIT_NR);
	luo_kunit_want_down(test, &old, LUO_TRANSITION_FREEZE, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);

	luo_kunit_scramble(test, &fixture->next, &new, LUO_KUNIT_NR);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_want_up(test, &new, LUO_TRANSITION_RESTORE, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_want_down(test, &new, LUO_TRANSITION_FINISH, LUO_KUNIT_NR);
	luo_kunit_expect_wanted(test);
}

/* Inside a level the table decides, not the registration in this kernel. */
static void luo_state_restore_order_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_kunit_add(test, ctx, "a", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "c", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "rising", LIVEUPDATE_LEVEL_IOMMU);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:a prepare:b prepare:c prepare:rising");
	luo_kunit_jump(test);
	luo_kunit_expect_log(test, " freeze:a freeze:b freeze:c freeze:rising");

	ctx = &fixture->next;
	luo_kunit_add(test, ctx, "rising", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_add(test, ctx, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "c", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "a", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:c restore:b restore:a restore:rising");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	luo_kunit_expect_log(test, " finish:rising finish:a finish:b finish:c");
}

/* Only restore has to be there for data to be taken over. */
static void luo_state_missing_callbacks_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *old, *new;

	old = luo_kunit_add(test, ctx, "bare", LIVEUPDATE_LEVEL_IRQ);
	old->ops = (struct liveupdate_subsystem_ops){};
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_jump(test);

	new = luo_kunit_add(test, &fixture->next, "bare", LIVEUPDATE_LEVEL_IRQ);
	new->ops = (struct liveupdate_subsystem_ops){};
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, &fixture->next, LUO_TRANSITION_RESTORE, "bare",
				-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_log(test, "");
}

/* Files of sessions. */

static int luo_state_sessions_error;

static int luo_state_freeze_sessions(void)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " sessions");

	return luo_state_sessions_error;
}

static int luo_state_slow_sessions(void)
{
	msleep(60);

	return luo_state_freeze_sessions();
}

static void luo_state_thaw_sessions(void)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " no-sessions");
}

static struct luo_ctx *luo_state_with_sessions(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_state_sessions_error = 0;
	ctx->freeze_sessions = luo_state_freeze_sessions;
	ctx->thaw_sessions = luo_state_thaw_sessions;

	return ctx;
}

/* For the kexec files of sessions are frozen first, and thawed last; in every state. */
static void luo_state_sessions_test(struct kunit *test)
{
	struct luo_ctx *ctx = luo_state_with_sessions(test);
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(ctx, false));
	luo_kunit_expect_log(test, " sessions");
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	luo_ctx_thaw(ctx);
	luo_kunit_expect_log(test, " no-sessions");
	luo_ctx_thaw(ctx);
	luo_kunit_expect_log(test, "");

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " freeze:it thaw:it");
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_ctx_freeze(ctx, false));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " sessions freeze:it");
	luo_ctx_thaw(ctx);
	luo_kunit_expect_log(test, " thaw:it no-sessions");

	it->error[LUO_TRANSITION_FREEZE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " sessions freeze:it no-sessions");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it", -EIO);
}

/* Nobody else is frozen if that fails. */
static void luo_state_sessions_fail_test(struct kunit *test)
{
	struct luo_ctx *ctx = luo_state_with_sessions(test);

	luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_state_sessions_error = -ENOSPC;
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " sessions");
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " sessions");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, LUO_SESSIONS,
				-ENOSPC);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);

	/* They take too long. */
	luo_state_sessions_error = 0;
	ctx->freeze_timeout_ms = 1;
	ctx->freeze_sessions = luo_state_slow_sessions;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_freeze(ctx, true));
	luo_kunit_expect_log(test, " sessions no-sessions");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, LUO_SESSIONS,
				-ETIMEDOUT);
	ctx->freeze_timeout_ms = 0;
}

static struct kunit_case luo_order_cases[] = {
	KUNIT_CASE(luo_state_sessions_test),
	KUNIT_CASE(luo_state_sessions_fail_test),
	KUNIT_CASE(luo_state_order_test),
	KUNIT_CASE(luo_state_restore_order_test),
	KUNIT_CASE(luo_state_missing_callbacks_test),
	{}
};

static struct kunit_suite luo_order_suite = {
	.name		= "luo-order",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_order_cases,
};

kunit_test_suite(luo_order_suite);
