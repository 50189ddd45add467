// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of failing subsystems
 *
 * What is undone when one of them fails, what userspace is told of it, and who keeps
 * an update from being finished. The log is full of errors while they run, because they
 * are provoked.
 */

#include <linux/err.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

static void luo_state_prepare_fails_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, ctx, &set, failure->count);
	for (int i = 0; i < set.count; i++)
		set.walk[i]->offer.size = 100;
	culprit = set.walk[failure->index];
	culprit->error[LUO_TRANSITION_PREPARE] = -EUCLEAN;

	KUNIT_EXPECT_EQ(test, -EUCLEAN, luo_ctx_prepare(ctx));
	luo_kunit_expect_undone(test, &set, LUO_TRANSITION_PREPARE, -EUCLEAN);

	culprit->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_want_down(test, &set, LUO_TRANSITION_PREPARE, set.count);
	luo_kunit_expect_wanted(test);
}

static void luo_state_freeze_fails_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, ctx, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->error[LUO_TRANSITION_FREEZE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_want_down(test, &set, LUO_TRANSITION_PREPARE, set.count);
	luo_kunit_expect_wanted(test);

	for (int rehearse = 0; rehearse < 2; rehearse++) {
		KUNIT_EXPECT_EQ(test, -EUCLEAN, rehearse ? luo_ctx_rehearse(ctx) :
							   luo_ctx_freeze(ctx, true));
		luo_kunit_expect_undone(test, &set, LUO_TRANSITION_FREEZE, -EUCLEAN);
	}

	culprit->error[LUO_TRANSITION_FREEZE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_kunit_want_down(test, &set, LUO_TRANSITION_FREEZE, set.count);
	luo_kunit_want_up(test, &set, LUO_TRANSITION_THAW, set.count);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_want_up(test, &set, LUO_TRANSITION_CANCEL, set.count);
	luo_kunit_expect_wanted(test);
}

/* The others restore, and only who restored is finished. */
static void luo_state_restore_fails_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *culprit;
	struct luo_kunit_set old, new;

	luo_kunit_scramble(test, &fixture->ctx, &old, failure->count);
	luo_kunit_hand_over(test);

	luo_kunit_scramble(test, &fixture->next, &new, failure->count);
	culprit = new.walk[failure->index];
	culprit->error[LUO_TRANSITION_RESTORE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_want_up(test, &new, LUO_TRANSITION_RESTORE, new.count);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_UPDATED);
	luo_kunit_expect_failed(test, &fixture->next, LUO_TRANSITION_RESTORE,
				culprit->desc.name, -EUCLEAN);
	for (int i = 0; i < new.count; i++)
		KUNIT_EXPECT_EQ(test, new.walk[i]->subsystem.phase,
				i == failure->index ? LUO_PHASE_IDLE :
				LUO_PHASE_RESTORED);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	for (int i = 0; i < new.count; i++) {
		if (i != failure->index)
			luo_kunit_want(test, LUO_TRANSITION_FINISH,
				       new.walk[i]->desc.name);
	}
	luo_kunit_expect_wanted(test);
	luo_kunit_expect_unprepared(test, &fixture->next, &new);
}

/**
 * struct luo_state_return - what a callback may say
 * @returned: by the callback.
 * @error: by the request.
 */
struct luo_state_return {
	int returned;
	int error;
};

static const struct luo_state_return luo_state_returns[] = {
	{ -EPERM, -EPERM },
	{ -(ERESTARTSYS - 1), -(ERESTARTSYS - 1) },
	{ -ERESTARTSYS, -EINVAL },
	{ -EPROBE_DEFER, -EINVAL },
	{ INT_MIN, -EINVAL },
	{ 1, -EINVAL },
	{ INT_MAX, -EINVAL },
};

static void luo_state_return_desc(const struct luo_state_return *param,
				  char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%d", param->returned);
}

KUNIT_ARRAY_PARAM(luo_state_return, luo_state_returns, luo_state_return_desc);

/* Only errors of userspace get there. */
static void luo_state_return_test(struct kunit *test)
{
	const struct luo_state_return *param = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *old, *new;

	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	old = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	old->error[LUO_TRANSITION_PREPARE] = param->returned;
	KUNIT_EXPECT_EQ(test, param->error, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:top prepare:it cancel:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it",
				param->error);

	old->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	old->error[LUO_TRANSITION_FREEZE] = param->returned;
	KUNIT_EXPECT_EQ(test, param->error, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " prepare:top prepare:it freeze:top freeze:it thaw:top");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it",
				param->error);

	old->error[LUO_TRANSITION_FREEZE] = 0;
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	new->error[LUO_TRANSITION_RESTORE] = param->returned;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, &fixture->next, LUO_TRANSITION_RESTORE, "it",
				param->error);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " restore:it");
}

/* Nothing failed at first; the last failure stays until the next one. */
static void luo_state_last_failed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);

	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_NONE, "", 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_finish(ctx, false));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_NONE, "", 0);

	it->error[LUO_TRANSITION_PREPARE] = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);
	it->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);

	KUNIT_EXPECT_EQ(test, -EINVAL, luo_ctx_freeze(ctx, false));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);
	it->error[LUO_TRANSITION_FREEZE] = -EBUSY;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_rehearse(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it", -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "it", -EBUSY);
	/* What was refused before it began is no failure. */
	KUNIT_EXPECT_EQ(test, ctx->failure.count, 2);
}

static void luo_state_expect_details(struct kunit *test,
				     struct luo_ctx *ctx, u64 count,
				     const char *device, const char *reason)
{
	struct luo_failure failure;

	luo_last_failure(ctx, &failure);
	KUNIT_EXPECT_EQ(test, failure.count, count);
	KUNIT_EXPECT_STREQ(test, failure.device, device);
	KUNIT_EXPECT_STREQ(test, failure.reason, reason);
}

/* Twice, in the transition that the test names. */
static void luo_state_report_hook(struct luo_kunit_subsystem *mock,
				  enum luo_transition transition)
{
	struct luo_ctx *ctx = &mock->fixture->ctx;
	const char *name = mock->desc.name;

	if (transition == (unsigned long)mock->context) {
		luo_report_failure(ctx, name, -EPERM, "first", "of two");
		luo_report_failure(ctx, name, -EIO, "second", "of two, too");
	}
}

/* A subsystem says which of its devices failed; of another callback nothing is said. */
static void luo_state_failure_details_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_subsystem *other =
		luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_IRQ);
	char longer[2 * LIVEUPDATE_REASON_LEN] = {};

	it->hook = luo_state_report_hook;
	it->context = (void *)LUO_TRANSITION_PREPARE;
	it->error[LUO_TRANSITION_PREPARE] = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);
	luo_state_expect_details(test, ctx, 1, "second", "of two, too");

	/* It reports, but succeeds; another one fails. */
	it->error[LUO_TRANSITION_PREPARE] = 0;
	other->error[LUO_TRANSITION_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "other", -EIO);
	luo_state_expect_details(test, ctx, 2, "", "");

	/* Its own next failure is not that either. */
	other->error[LUO_TRANSITION_PREPARE] = 0;
	it->error[LUO_TRANSITION_FREEZE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_rehearse(ctx));
	luo_state_expect_details(test, ctx, 3, "", "");

	/* What made it invalid is why it fails, and what is undone then. */
	mutex_lock(&ctx->lock);
	luo_ctx_invalidate(ctx, &it->subsystem, -ENODEV, "gone", "pulled out");
	luo_callback_failed(ctx, LUO_TRANSITION_FREEZE, "it", -ENODEV);
	luo_state_expect_details(test, ctx, 4, "gone", "pulled out");
	luo_callback_failed(ctx, LUO_TRANSITION_FREEZE, "other", -EIO);
	luo_state_expect_details(test, ctx, 5, "", "");
	mutex_unlock(&ctx->lock);
	flush_delayed_work(&ctx->invalidate);
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -ENODEV);
	luo_state_expect_details(test, ctx, 6, "gone", "pulled out");

	/* Outside of callbacks, and longer than there is room for. */
	memset(longer, 'x', sizeof(longer) - 1);
	luo_report_failure(ctx, "it", -EOPNOTSUPP, longer, longer);
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_REQUEST, "it", -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, ctx->failure.count, 7);
	KUNIT_EXPECT_EQ(test, strlen(ctx->failure.device), LIVEUPDATE_DEVICE_LEN - 1);
	KUNIT_EXPECT_EQ(test, strlen(ctx->failure.reason), LIVEUPDATE_REASON_LEN - 1);
}

static bool luo_state_a_session_waits;

static bool luo_state_session_waits(char *name, size_t size)
{
	strscpy(name, "a session", size);

	return luo_state_a_session_waits;
}

/* What waits is not given up, unless the operator says so; who waits is named. */
static void luo_state_can_finish_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct luo_kunit_subsystem *upper, *lower, *absent;

	absent = luo_kunit_add(test, &fixture->ctx, "absent", LIVEUPDATE_LEVEL_WORKLOAD);
	upper = luo_kunit_add(test, &fixture->ctx, "upper", LIVEUPDATE_LEVEL_DEVICES);
	lower = luo_kunit_add(test, &fixture->ctx, "lower", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	upper = luo_kunit_add(test, next, "upper", LIVEUPDATE_LEVEL_DEVICES);
	lower = luo_kunit_add(test, next, "lower", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	seq_buf_clear(&fixture->log);

	/* Subsystems, in the order of finish; in the wrong state none is asked. */
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_finish(&fixture->ctx, false));
	lower->waits = true;
	for (int i = 1; i <= 2; i++) {
		KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_finish(next, false));
		luo_kunit_expect_failed(test, next, LUO_TRANSITION_FINISH, "lower", -EBUSY);
		luo_state_expect_details(test, next, i, "a part", "it waits");
		KUNIT_EXPECT_EQ(test, upper->asked, i);
	}
	upper->waits = true;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_finish(next, false));
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_FINISH, "upper", -EBUSY);
	KUNIT_EXPECT_EQ(test, lower->asked, 2);
	KUNIT_EXPECT_EQ(test, absent->asked, 0);

	/* Sessions come first. */
	luo_state_a_session_waits = true;
	next->session_waits = luo_state_session_waits;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_finish(next, false));
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_FINISH, LUO_SESSIONS, -EBUSY);
	KUNIT_EXPECT_STREQ(test, next->failure.device, "a session");
	KUNIT_EXPECT_EQ(test, upper->asked, 3);
	luo_state_a_session_waits = false;

	/* Nothing has happened. */
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, next->transition, LUO_TRANSITION_NONE);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, true));
	luo_kunit_expect_log(test, " finish:upper finish:lower");
	KUNIT_EXPECT_EQ(test, upper->asked, 3);
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_NORMAL);
}

static struct kunit_case luo_failure_cases[] = {
	KUNIT_CASE_PARAM(luo_state_prepare_fails_test,
			 luo_kunit_failure_params),
	KUNIT_CASE_PARAM(luo_state_freeze_fails_test,
			 luo_kunit_failure_params),
	KUNIT_CASE_PARAM(luo_state_restore_fails_test,
			 luo_kunit_failure_params),
	KUNIT_CASE_PARAM(luo_state_return_test, luo_state_return_gen_params),
	KUNIT_CASE(luo_state_last_failed_test),
	KUNIT_CASE(luo_state_failure_details_test),
	KUNIT_CASE(luo_state_can_finish_test),
	{}
};

static struct kunit_suite luo_failure_suite = {
	.name		= "luo-failure",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_failure_cases,
};

kunit_test_suite(luo_failure_suite);
