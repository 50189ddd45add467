// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the parts of subsystems
 *
 * What luo_items.c promises: "transition" names the part that is under way, a subsystem
 * is told that time is up, and the account of the slowest parts is right.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

/**
 * struct luo_state_items - what a subsystem did with its parts
 * @page: for luo_progress_show().
 * @items: the account.
 * @late: transition in which the deadline passes meanwhile, or LUO_TRANSITION_NONE.
 * @error: what the work on the part ends with.
 * @result: what luo_item_end() returned in each transition.
 * @forget: leave the part open.
 */
struct luo_state_items {
	char *page;
	struct liveupdate_items items;
	enum luo_transition late;
	int error;
	int result[LUO_KUNIT_NR_TRANSITIONS];
	bool forget;
};

static void luo_state_item_hook(struct luo_kunit_subsystem *mock,
				enum luo_transition transition)
{
	struct luo_kunit *fixture = mock->fixture;
	struct luo_ctx *ctx = transition < LUO_TRANSITION_RESTORE ?
		&fixture->ctx : &fixture->next;
	struct luo_state_items *state = mock->context;
	char before[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 16];
	char during[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 32];

	snprintf(before, sizeof(before), "%s %s\n", luo_transition_name(transition),
		 mock->desc.name);
	snprintf(during, sizeof(during), "%s %s 0000:00:04.0\n",
		 luo_transition_name(transition), mock->desc.name);

	luo_progress_show(ctx, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, before);
	luo_item_begin(ctx, &state->items, "0000:00:04.0");
	luo_progress_show(ctx, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, during);
	if (transition == state->late)
		ctx->deadline = jiffies - 1;
	if (state->forget)
		return;

	state->result[transition] = luo_item_end(ctx, &state->items, state->error);
	mock->error[transition] = state->result[transition];
	luo_progress_show(ctx, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, before);
}

static struct luo_state_items *
luo_state_add_parts(struct kunit *test, struct luo_ctx *ctx)
{
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_state_items *state =
		kunit_kzalloc(test, sizeof(*state), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, state);
	state->page = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, state->page);
	it->hook = luo_state_item_hook;
	it->context = state;

	return state;
}

/* "transition" names the part, in every transition, and only as long as it lasts. */
static void luo_state_item_show_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_items *old = luo_state_add_parts(test, ctx);
	struct luo_state_items *new = luo_state_add_parts(test, &fixture->next);

	luo_progress_show(ctx, old->page);
	KUNIT_EXPECT_STREQ(test, old->page, "idle\n");
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_progress_show(ctx, old->page);
	KUNIT_EXPECT_STREQ(test, old->page, "idle\n");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_EQ(test, old->items.count, 4);

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_jump(test);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, new->items.count, 2);
}

/* What a subsystem leaves open ends with its callback. */
static void luo_state_item_open_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_items *state = luo_state_add_parts(test, ctx);
	struct luo_kunit_subsystem *next =
		luo_kunit_add(test, ctx, "next", LIVEUPDATE_LEVEL_MEMORY);

	state->forget = true;
	next->hook = luo_state_item_hook;
	next->context = state;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_NULL(test, ctx->item);
}

static const enum luo_transition luo_state_item_transitions[] = {
	LUO_TRANSITION_PREPARE, LUO_TRANSITION_FREEZE, LUO_TRANSITION_THAW, LUO_TRANSITION_CANCEL,
};

static void luo_state_item_transition_desc(const enum luo_transition *transition, char *desc)
{
	strscpy(desc, luo_transition_name(*transition), KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(luo_state_item_transition, luo_state_item_transitions,
		  luo_state_item_transition_desc);

/* A subsystem is told that time is up where it can still give up. */
static void luo_state_item_late_test(struct kunit *test)
{
	enum luo_transition late = *(const enum luo_transition *)test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_items *state = luo_state_add_parts(test, ctx);
	bool prepare = late == LUO_TRANSITION_PREPARE, freeze = late == LUO_TRANSITION_FREEZE;

	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);
	state->late = late;
	KUNIT_EXPECT_EQ(test, prepare ? -ETIMEDOUT : 0,
			luo_ctx_prepare(ctx));
	if (prepare) {
		luo_kunit_expect_log(test, " prepare:it");
		luo_kunit_expect_failed(test, ctx, late, "it", -ETIMEDOUT);
		return;
	}

	KUNIT_EXPECT_EQ(test, freeze ? -ETIMEDOUT : 0,
			luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, freeze ? " prepare:it freeze:it" :
			     " prepare:it freeze:it thaw:it");
	if (freeze)
		luo_kunit_expect_failed(test, ctx, late, "it", -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_EQ(test, state->result[late], freeze ? -ETIMEDOUT : 0);
}

/* An undo has the deadline of the transition that it undoes, and cannot give up. */
static void luo_state_item_undo_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_items *state = luo_state_add_parts(test, ctx);
	struct luo_kunit_subsystem *late =
		luo_kunit_add(test, ctx, "late", LIVEUPDATE_LEVEL_MEMORY);

	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);
	late->hook = luo_kunit_late_hook;
	late->context = (void *)LUO_TRANSITION_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it prepare:late cancel:late cancel:it");
	KUNIT_EXPECT_EQ(test, state->result[LUO_TRANSITION_CANCEL], 0);
}

/* The error of a part counts, also if time is up. */
static void luo_state_item_error_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_state_items *state = luo_state_add_parts(test, ctx);

	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);
	state->late = LUO_TRANSITION_PREPARE;
	state->error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "it", -EIO);
	KUNIT_EXPECT_EQ(test, state->items.slowest[0].error, -EIO);
}

struct luo_state_stranger {
	struct work_struct work;
	struct luo_ctx *ctx;
	struct liveupdate_items items;
	int result;
};

static void luo_state_item_stranger(struct work_struct *work)
{
	struct luo_state_stranger *stranger =
		container_of(work, struct luo_state_stranger, work);

	luo_item_begin(stranger->ctx, &stranger->items, "stranger");
	if (stranger->ctx->item)
		stranger->result = -EEXIST;
	else
		stranger->result = luo_item_end(stranger->ctx,
						&stranger->items, 0);
}

static void luo_state_item_stranger_hook(struct luo_kunit_subsystem *mock,
					 enum luo_transition transition)
{
	struct luo_state_stranger *stranger = mock->context;
	unsigned long deadline = stranger->ctx->deadline;

	if (transition != LUO_TRANSITION_PREPARE)
		return;
	stranger->ctx->deadline = jiffies - 1;
	queue_work(system_dfl_wq, &stranger->work);
	flush_work(&stranger->work);
	stranger->ctx->deadline = deadline;
}

/* Outside of callbacks, and in another task, only the account is kept. */
static void luo_state_item_outside_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_state_stranger *stranger =
		kunit_kzalloc(test, sizeof(*stranger), GFP_KERNEL);
	struct liveupdate_items *items =
		kunit_kzalloc(test, sizeof(*items), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, stranger);
	KUNIT_ASSERT_NOT_NULL(test, items);
	ctx->watched = true;
	ctx->deadline = jiffies - 1;
	luo_item_begin(ctx, items, "outside");
	KUNIT_EXPECT_NULL(test, ctx->item);
	KUNIT_EXPECT_EQ(test, 0, luo_item_end(ctx, items, 0));
	luo_item_begin(ctx, items, "outside");
	KUNIT_EXPECT_EQ(test, -EIO, luo_item_end(ctx, items, -EIO));
	luo_items_record(ctx, &it->subsystem, items);
	KUNIT_EXPECT_EQ(test, items->count, 2);
	ctx->watched = false;

	luo_kunit_limit(ctx, 60 * MSEC_PER_SEC);
	INIT_WORK(&stranger->work, luo_state_item_stranger);
	stranger->ctx = ctx;
	it->hook = luo_state_item_stranger_hook;
	it->context = stranger;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, stranger->items.count, 1);
	KUNIT_EXPECT_EQ(test, stranger->result, 0);
}

#define LUO_STATE_ITEMS	40

/* Durations in no order, some of them twice. */
static u64 luo_state_item_took(unsigned int i)
{
	return 1000 * (1 + i * 17 % LUO_STATE_ITEMS / 2);
}

static void luo_state_item_account_test(struct kunit *test)
{
	struct liveupdate_items *items =
		kunit_kzalloc(test, sizeof(*items), GFP_KERNEL);
	u64 sum = 0;
	char name[16];

	KUNIT_ASSERT_NOT_NULL(test, items);
	for (unsigned int i = 0; i < LUO_STATE_ITEMS; i++) {
		u64 took = luo_state_item_took(i);

		snprintf(name, sizeof(name), "part-%u", i);
		items->name = name;
		items->start = 7 * i;
		luo_item_account(items, 7 * i + took, -(int)i);
		sum += took;
	}
	KUNIT_EXPECT_EQ(test, items->count, LUO_STATE_ITEMS);
	KUNIT_EXPECT_EQ(test, items->sum, sum);

	KUNIT_ASSERT_EQ(test, items->nr_slowest, LIVEUPDATE_ITEMS_SLOWEST);
	for (unsigned int i = 0; i < LIVEUPDATE_ITEMS_SLOWEST; i++) {
		unsigned int number;

		KUNIT_ASSERT_EQ(test, 0, kstrtouint(items->slowest[i].name +
						    strlen("part-"), 10,
						    &number));
		KUNIT_EXPECT_EQ(test, items->slowest[i].start, 7 * number);
		KUNIT_EXPECT_EQ(test, items->slowest[i].end,
				7 * number + luo_state_item_took(number));
		KUNIT_EXPECT_EQ(test, items->slowest[i].error, -(int)number);
		/* Two of each duration, the longest first. */
		KUNIT_EXPECT_EQ(test, luo_state_item_took(number),
				1000 * (LUO_STATE_ITEMS / 2 - i / 2));
		for (unsigned int k = 0; k < i; k++)
			KUNIT_EXPECT_STRNEQ(test, items->slowest[k].name,
					    items->slowest[i].name);
	}
}

/* Names and errors become what a record may hold, time does not run backwards. */
static void luo_state_item_odd_test(struct kunit *test)
{
	struct liveupdate_items *items =
		kunit_kzalloc(test, sizeof(*items), GFP_KERNEL);
	char name[2 * LIVEUPDATE_SUBSYSTEM_NAME_LEN];

	KUNIT_ASSERT_NOT_NULL(test, items);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	name[0] = ' ';
	name[1] = '\n';
	name[2] = '\xe4';
	items->name = name;
	items->start = 100;
	luo_item_account(items, 99, 1);
	KUNIT_EXPECT_EQ(test, items->slowest[0].end, 100);
	KUNIT_EXPECT_EQ(test, items->sum, 0);
	KUNIT_EXPECT_EQ(test, items->slowest[0].error, 0);
	KUNIT_EXPECT_EQ(test, strlen(items->slowest[0].name),
			LIVEUPDATE_SUBSYSTEM_NAME_LEN - 1);
	KUNIT_EXPECT_EQ(test, 0, strncmp(items->slowest[0].name, "???xx", 5));

	items->name = "";
	luo_item_account(items, 200, -MAX_ERRNO - 1);
	KUNIT_EXPECT_EQ(test, items->slowest[0].error, -MAX_ERRNO);
	KUNIT_EXPECT_STREQ(test, items->slowest[0].name, "");
}

static struct kunit_case luo_items_cases[] = {
	KUNIT_CASE(luo_state_item_show_test),
	KUNIT_CASE(luo_state_item_open_test),
	KUNIT_CASE_PARAM(luo_state_item_late_test,
			 luo_state_item_transition_gen_params),
	KUNIT_CASE(luo_state_item_undo_test),
	KUNIT_CASE(luo_state_item_error_test),
	KUNIT_CASE(luo_state_item_outside_test),
	KUNIT_CASE(luo_state_item_account_test),
	KUNIT_CASE(luo_state_item_odd_test),
	{}
};

static struct kunit_suite luo_items_suite = {
	.name		= "luo-parts",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_items_cases,
};

kunit_test_suite(luo_items_suite);
