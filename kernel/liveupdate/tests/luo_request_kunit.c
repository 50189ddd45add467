// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of requests and of the notifications of them
 *
 * Which request is granted in which state, also from a callback, from another task and
 * while the system goes down or sleeps, and that each change of the state is announced
 * once. luo_kunit.c explains the machines.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched/task.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "luo_kunit.h"

enum luo_state_request {
	LUO_REQUEST_PREPARE,
	LUO_REQUEST_CANCEL,
	LUO_REQUEST_REHEARSE,
	LUO_REQUEST_FINISH,
	LUO_REQUEST_FREEZE,
	LUO_REQUEST_FREEZE_DEAF,
	LUO_NR_REQUESTS,
};

static const char *const luo_state_requests[] = {
	[LUO_REQUEST_PREPARE]		= "prepare",
	[LUO_REQUEST_CANCEL]		= "cancel",
	[LUO_REQUEST_REHEARSE]		= "rehearse",
	[LUO_REQUEST_FINISH]		= "finish",
	[LUO_REQUEST_FREEZE]		= "freeze",
	[LUO_REQUEST_FREEZE_DEAF]	= "freeze for a deaf image",
};

static int luo_state_request(struct luo_ctx *ctx,
			     enum luo_state_request request)
{
	switch (request) {
	case LUO_REQUEST_PREPARE:
		return luo_ctx_prepare(ctx);
	case LUO_REQUEST_CANCEL:
		return luo_ctx_cancel(ctx);
	case LUO_REQUEST_REHEARSE:
		return luo_ctx_rehearse(ctx);
	case LUO_REQUEST_FINISH:
		return luo_ctx_finish(ctx, false);
	case LUO_REQUEST_FREEZE:
		return luo_ctx_freeze(ctx, true);
	case LUO_REQUEST_FREEZE_DEAF:
		return luo_ctx_freeze(ctx, false);
	case LUO_NR_REQUESTS:
		break;
	}

	return 0;
}

/**
 * struct luo_state_transition - a request that is not simply -EBUSY
 * @from: state it is made in.
 * @request: the request.
 * @error: what it returns.
 * @to: state after it.
 * @log: callbacks that run.
 * @undo: callbacks that luo_ctx_thaw() runs after it.
 */
struct luo_state_transition {
	enum liveupdate_state from;
	enum luo_state_request request;
	int error;
	enum liveupdate_state to;
	const char *log;
	const char *undo;
};

static const struct luo_state_transition luo_state_transitions[] = {
	{ LIVEUPDATE_STATE_NORMAL, LUO_REQUEST_PREPARE, 0,
	  LIVEUPDATE_STATE_PREPARED, " prepare:top prepare:bottom" },
	{ LIVEUPDATE_STATE_NORMAL, LUO_REQUEST_FREEZE, 0,
	  LIVEUPDATE_STATE_NORMAL, "", "" },
	{ LIVEUPDATE_STATE_NORMAL, LUO_REQUEST_FREEZE_DEAF, 0,
	  LIVEUPDATE_STATE_NORMAL, "", "" },
	{ LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_CANCEL, 0,
	  LIVEUPDATE_STATE_NORMAL, " cancel:bottom cancel:top" },
	{ LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_REHEARSE, 0,
	  LIVEUPDATE_STATE_PREPARED,
	  " freeze:top freeze:bottom thaw:bottom thaw:top" },
	{ LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_FREEZE, 0,
	  LIVEUPDATE_STATE_FROZEN, " freeze:top freeze:bottom",
	  " thaw:bottom thaw:top" },
	{ LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_FREEZE_DEAF, -EINVAL,
	  LIVEUPDATE_STATE_PREPARED, "" },
	{ LIVEUPDATE_STATE_UPDATED, LUO_REQUEST_FINISH, 0,
	  LIVEUPDATE_STATE_NORMAL, " finish:top finish:bottom" },
	{ LIVEUPDATE_STATE_UPDATED, LUO_REQUEST_FREEZE, 0,
	  LIVEUPDATE_STATE_UPDATED, "", "" },
	{ LIVEUPDATE_STATE_UPDATED, LUO_REQUEST_FREEZE_DEAF, 0,
	  LIVEUPDATE_STATE_UPDATED, "", "" },
};

static struct luo_state_transition
luo_state_find_transition(enum liveupdate_state from,
			  enum luo_state_request request)
{
	for (int i = 0; i < ARRAY_SIZE(luo_state_transitions); i++) {
		if (luo_state_transitions[i].from == from &&
		    luo_state_transitions[i].request == request)
			return luo_state_transitions[i];
	}

	return (struct luo_state_transition){
		from, request, -EBUSY, from, "",
	};
}

static void luo_state_add_pair(struct kunit *test, struct luo_ctx *ctx)
{
	luo_kunit_add(test, ctx, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
}

/* Returns a machine in that state with the subsystems top and bottom. */
static struct luo_ctx *luo_state_enter(struct kunit *test,
				       enum liveupdate_state state)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_state_add_pair(test, ctx);
	if (state == LIVEUPDATE_STATE_NORMAL)
		return ctx;

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	if (state == LIVEUPDATE_STATE_FROZEN)
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	if (state == LIVEUPDATE_STATE_UPDATED) {
		luo_kunit_jump(test);
		ctx = &fixture->next;
		luo_state_add_pair(test, ctx);
		KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	}
	KUNIT_EXPECT_EQ(test, ctx->state, state);
	seq_buf_clear(&fixture->log);

	return ctx;
}

/* Every request in every state: parameter 1 is the first of the first. */
static const void *luo_state_request_gen_params(struct kunit *test,
						const void *prev, char *desc)
{
	long index = (long)prev;

	if (index == ARRAY_SIZE(luo_kunit_states) * LUO_NR_REQUESTS)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s in %s",
		 luo_state_requests[index % LUO_NR_REQUESTS],
		 luo_kunit_states[index / LUO_NR_REQUESTS]);

	return (const void *)(index + 1);
}

static void luo_state_request_test(struct kunit *test)
{
	long index = (long)test->param_value - 1;
	enum luo_state_request request = index % LUO_NR_REQUESTS;
	enum liveupdate_state from = index / LUO_NR_REQUESTS;
	struct luo_state_transition want =
		luo_state_find_transition(from, request);
	struct luo_ctx *ctx = luo_state_enter(test, from);

	KUNIT_EXPECT_EQ(test, luo_state_request(ctx, request), want.error);
	KUNIT_EXPECT_EQ(test, ctx->state, want.to);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	luo_kunit_expect_log(test, want.log);

	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&ctx->lock));
	if (want.undo) {
		luo_ctx_thaw(ctx);
		luo_kunit_expect_log(test, want.undo);
		KUNIT_EXPECT_EQ(test, ctx->state, from);
	} else if (from == LIVEUPDATE_STATE_FROZEN) {
		luo_ctx_thaw(ctx);
	}
}

/* Counts the requests that a callback makes and that are refused. */
static void luo_state_request_hook(struct luo_kunit_subsystem *mock,
				   enum luo_transition transition)
{
	struct luo_kunit *fixture = mock->fixture;
	unsigned int *refused = mock->context;
	struct luo_ctx *ctx = transition < LUO_TRANSITION_RESTORE ?
		&fixture->ctx : &fixture->next;

	for (int request = 0; request < LUO_NR_REQUESTS; request++)
		refused[transition] += luo_state_request(ctx, request) == -EBUSY;
}

static void luo_state_request_in_callback_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	unsigned int refused[LUO_KUNIT_NR_TRANSITIONS] = {};
	struct luo_kunit_subsystem *old, *new;

	old = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	old->hook = luo_state_request_hook;
	new->hook = luo_state_request_hook;
	old->context = refused;
	new->context = refused;

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	for (int transition = LUO_TRANSITION_PREPARE;
	     transition <= LUO_TRANSITION_THAW; transition++)
		KUNIT_EXPECT_EQ_MSG(test, refused[transition], LUO_NR_REQUESTS,
				    "%s", luo_transition_name(transition));
	luo_kunit_expect_log(test, " prepare:it freeze:it thaw:it cancel:it");

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_jump(test);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, refused[LUO_TRANSITION_RESTORE], LUO_NR_REQUESTS);
	KUNIT_EXPECT_EQ(test, refused[LUO_TRANSITION_FINISH], LUO_NR_REQUESTS);
	luo_kunit_expect_log(test, " prepare:it freeze:it restore:it finish:it");
}

struct luo_state_blocker {
	struct completion entered;
	struct completion leave;
};

static void luo_state_block_hook(struct luo_kunit_subsystem *mock,
				 enum luo_transition transition)
{
	struct luo_state_blocker *blocker = mock->context;

	if (transition != LUO_TRANSITION_PREPARE)
		return;
	complete(&blocker->entered);
	wait_for_completion_timeout(&blocker->leave, 20 * HZ);
}

static int luo_state_prepare_thread(void *ctx)
{
	return luo_ctx_prepare(ctx);
}

/* A subsystem takes its time: nobody else has to wait for it. */
static void luo_state_request_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *slow;
	struct luo_state_blocker blocker;
	struct task_struct *thread;
	char *text = NULL;

	init_completion(&blocker.entered);
	init_completion(&blocker.leave);
	slow = luo_kunit_add(test, ctx, "slow", LIVEUPDATE_LEVEL_WORKLOAD);
	slow->hook = luo_state_block_hook;
	slow->context = &blocker;

	thread = kthread_create(luo_state_prepare_thread, ctx,
				"luo-state-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	get_task_struct(thread);
	wake_up_process(thread);
	KUNIT_EXPECT_NE(test, 0,
			wait_for_completion_timeout(&blocker.entered, 20 * HZ));

	for (int request = 0; request < LUO_NR_REQUESTS; request++)
		KUNIT_EXPECT_EQ_MSG(test, -EBUSY,
				    luo_state_request(ctx, request), "%s",
				    luo_state_requests[request]);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_PREPARE);
	KUNIT_EXPECT_STREQ(test, ctx->name, "slow");
	KUNIT_EXPECT_PTR_EQ(test, ctx->task, thread);
	luo_kunit_add(test, ctx, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_EXPECT_GT(test, luo_subsystems_show(ctx, &text), 0);
	kvfree(text);

	complete(&blocker.leave);
	KUNIT_EXPECT_EQ(test, 0, kthread_stop_put(thread));
	/* It was prepared without the one that came meanwhile. */
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	KUNIT_EXPECT_STREQ(test, ctx->name, "");
	KUNIT_EXPECT_PTR_EQ(test, ctx->task, NULL);
	luo_kunit_expect_log(test, " prepare:slow cancel:slow");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "late", -EAGAIN);
}

/* One hibernation through /dev/snapshot, and a suspend that comes and goes. */
static void luo_state_sleeping_test(struct kunit *test)
{
	struct luo_ctx *ctx = luo_state_enter(test,
					      LIVEUPDATE_STATE_NORMAL);

	ctx->sleeping = 2;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(ctx));
	ctx->sleeping--;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, "");
	ctx->sleeping--;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
}

struct luo_state_blocked {
	const char *name;
	enum liveupdate_state from;
	enum luo_state_request request;
};

static const struct luo_state_blocked luo_state_blocked_params[] = {
	{ "prepare", LIVEUPDATE_STATE_NORMAL, LUO_REQUEST_PREPARE },
	{ "cancel", LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_CANCEL },
	{ "rehearse", LIVEUPDATE_STATE_PREPARED, LUO_REQUEST_REHEARSE },
	{ "finish", LIVEUPDATE_STATE_UPDATED, LUO_REQUEST_FINISH },
};

KUNIT_ARRAY_PARAM_DESC(luo_state_blocked, luo_state_blocked_params, name);

/* reboot(2) and suspend hold this mutex before they look at the machine. */
static void luo_state_system_transition_test(struct kunit *test)
{
	const struct luo_state_blocked *param = test->param_value;
	struct luo_ctx *ctx = luo_state_enter(test, param->from);

	mutex_lock(&system_transition_mutex);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_state_request(ctx, param->request));
	mutex_unlock(&system_transition_mutex);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, ctx->state, param->from);
	KUNIT_EXPECT_EQ(test, 0, luo_state_request(ctx, param->request));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&system_transition_mutex));
}

/* A reboot that does not take that mutex says so. */
static void luo_state_shutting_down_test(struct kunit *test)
{
	const struct luo_state_blocked *param = test->param_value;
	struct luo_ctx *ctx = luo_state_enter(test, param->from);

	ctx->shutting_down = true;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_state_request(ctx, param->request));
	ctx->shutting_down = false;
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, ctx->state, param->from);
	KUNIT_EXPECT_EQ(test, 0, luo_state_request(ctx, param->request));
}

static void luo_state_go_down(struct luo_kunit_subsystem *mock,
			      enum luo_transition transition)
{
	struct luo_ctx *ctx = mock->context;

	if (transition == LUO_TRANSITION_PREPARE || transition == LUO_TRANSITION_FREEZE)
		ctx->shutting_down = true;
}

/* What is under way then is undone, and nothing else begins. */
static void luo_state_shutting_down_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *first =
		luo_kunit_add(test, ctx, "first", LIVEUPDATE_LEVEL_IRQ);

	luo_kunit_add(test, ctx, "second", LIVEUPDATE_LEVEL_IRQ);
	first->context = ctx;
	first->hook = luo_state_go_down;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:first cancel:first");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "", -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);

	ctx->shutting_down = false;
	first->hook = NULL;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:first prepare:second");
	first->hook = luo_state_go_down;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " freeze:first thaw:first");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, "", -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	ctx->shutting_down = false;
	first->hook = NULL;
}

static void luo_state_notify(struct luo_ctx *ctx,
			     enum liveupdate_state state)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " =%s", luo_kunit_states[state]);
}

/* A listener that makes the next request before others are notified of the change. */
static void luo_state_notify_cancel(struct luo_ctx *ctx,
				    enum liveupdate_state state)
{
	if (state == LIVEUPDATE_STATE_PREPARED)
		KUNIT_EXPECT_EQ(kunit_get_current_test(), 0,
				luo_ctx_cancel(ctx));
	luo_state_notify(ctx, state);
}

/* Listeners are notified of each state once, also if it is another one by then. */
static void luo_state_notify_late_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	fixture->ctx.notify = luo_state_notify_cancel;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_expect_log(test, " =normal =prepared");
}

/* Listeners are notified of every change, after the callbacks, and nothing else. */
static void luo_state_notify_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);

	ctx->notify = luo_state_notify;
	fixture->next.notify = luo_state_notify;

	it->error[LUO_TRANSITION_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it");
	it->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it =prepared");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " freeze:it thaw:it");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_log(test, " cancel:it =normal");

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_ctx_thaw(ctx);
	luo_kunit_expect_log(test, " prepare:it =prepared freeze:it =frozen thaw:it =prepared");

	luo_kunit_jump(test);
	luo_kunit_expect_log(test, " freeze:it =frozen");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " =updated");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_freeze(&fixture->next, true));
	luo_ctx_thaw(&fixture->next);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " =normal");
}

static struct kunit_case luo_request_cases[] = {
	KUNIT_CASE_PARAM(luo_state_request_test, luo_state_request_gen_params),
	KUNIT_CASE(luo_state_request_in_callback_test),
	KUNIT_CASE(luo_state_request_meanwhile_test),
	KUNIT_CASE(luo_state_sleeping_test),
	KUNIT_CASE_PARAM(luo_state_system_transition_test,
			 luo_state_blocked_gen_params),
	KUNIT_CASE_PARAM(luo_state_shutting_down_test, luo_state_blocked_gen_params),
	KUNIT_CASE(luo_state_shutting_down_meanwhile_test),
	KUNIT_CASE(luo_state_notify_test),
	KUNIT_CASE(luo_state_notify_late_test),
	{}
};

static struct kunit_suite luo_request_suite = {
	.name		= "luo-request",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_request_cases,
};

kunit_test_suite(luo_request_suite);
