// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of updates that have become invalid
 *
 * A subsystem says that what it prepared is no longer valid: in each state, while a
 * transition is under way, and during a reboot.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "luo_kunit.h"

static void luo_state_log_notify(struct luo_ctx *ctx,
				 enum liveupdate_state state)
{
	struct luo_kunit *fixture = container_of(ctx, struct luo_kunit,
						 ctx);

	seq_buf_printf(&fixture->log, " =%s", luo_kunit_states[state]);
}

static void luo_state_expect_invalid(struct kunit *test,
				     struct luo_ctx *ctx, const char *log)
{
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, log);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, ctx->invalid.error, 0);
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);

	/* And is not the next time. */
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
}

/* In prepared the machine goes back to normal, as after a cancel. */
static void luo_state_invalid_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_subsystem *other =
		luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_MEMORY);
	unsigned long flags;

	/* Nothing is prepared: nothing is invalid. */
	luo_ctx_invalidate(ctx, &it->subsystem, -EIO, "part", "why");
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, "");
	luo_ctx_invalidate(ctx, &it->subsystem, -EIO, "part", "why");
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, ctx->failure.error, 0);

	ctx->notify = luo_state_log_notify;
	local_irq_save(flags);
	luo_ctx_invalidate(ctx, &it->subsystem, -ENODEV, "part", "why");
	luo_ctx_invalidate(ctx, &other->subsystem, -EIO, "part", "why");
	local_irq_restore(flags);
	luo_state_expect_invalid(test, ctx,
				 " cancel:other cancel:it =normal");
	ctx->notify = NULL;
}

/* Frozen waits for the thaw, and for who cancels first. */
static void luo_state_invalid_frozen_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_ctx_invalidate(ctx, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_FROZEN);
	luo_kunit_expect_log(test, " prepare:it freeze:it");
	luo_ctx_thaw(ctx);
	luo_state_expect_invalid(test, ctx, " thaw:it cancel:it");
}

static void luo_state_invalid_hook(struct luo_kunit_subsystem *mock,
				   enum luo_transition transition)
{
	struct luo_kunit_subsystem *it = mock->context;

	if (it && (transition == LUO_TRANSITION_PREPARE || transition == LUO_TRANSITION_FREEZE))
		luo_ctx_invalidate(&mock->fixture->ctx,
				   &it->subsystem, -ENODEV, "part", "why");
}

/* While others are being prepared, or frozen, it waits for the end of that. */
static void luo_state_invalid_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_subsystem *other =
		luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_MEMORY);

	other->hook = luo_state_invalid_hook;
	other->context = it;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	other->context = NULL;
	luo_state_expect_invalid(test, ctx,
				 " prepare:it prepare:other cancel:other cancel:it");

	other->context = it;
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_rehearse(ctx));
	other->context = NULL;
	luo_state_expect_invalid(test, ctx,
				 " freeze:it freeze:other thaw:other thaw:it cancel:other cancel:it");

	/* A freeze that is refused, as it should be. */
	other->context = it;
	other->error[LUO_TRANSITION_FREEZE] = -ENODEV;
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_freeze(ctx, true));
	other->context = NULL;
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test,
			     " freeze:it freeze:other thaw:it cancel:other cancel:it");
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
}

/* No device is touched while all are shut down, unless that fails. */
static void luo_state_invalid_reboot_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	mutex_lock(&system_transition_mutex);
	luo_ctx_invalidate(ctx, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, ctx->failure.error, 0);
	mutex_unlock(&system_transition_mutex);
	luo_state_expect_invalid(test, ctx, " cancel:it");
}

static void luo_state_count_invalid(struct work_struct *work)
{
	struct luo_ctx *ctx = container_of(to_delayed_work(work),
					   struct luo_ctx,
					   invalidate);
	struct luo_kunit *fixture = container_of(ctx, struct luo_kunit,
						 ctx);

	seq_buf_puts(&fixture->log, " void");
}

/* The work takes the lock, which must not refuse a request for nothing. */
static void luo_state_invalid_idle_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);

	INIT_DELAYED_WORK(&ctx->invalidate, luo_state_count_invalid);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_ctx_thaw(ctx);
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, " prepare:it freeze:it thaw:it");

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_ctx_invalidate(ctx, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, " freeze:it void");
	luo_ctx_thaw(ctx);
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_log(test, " thaw:it void");
}

static struct kunit_case luo_invalid_cases[] = {
	KUNIT_CASE(luo_state_invalid_test),
	KUNIT_CASE(luo_state_invalid_frozen_test),
	KUNIT_CASE(luo_state_invalid_meanwhile_test),
	KUNIT_CASE(luo_state_invalid_reboot_test),
	KUNIT_CASE(luo_state_invalid_idle_test),
	{}
};

static struct kunit_suite luo_invalid_suite = {
	.name		= "luo-invalid",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_invalid_cases,
};

kunit_test_suite(luo_invalid_suite);
