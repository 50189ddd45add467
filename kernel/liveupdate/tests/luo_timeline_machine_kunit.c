// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what a machine records in its timeline
 *
 * A machine with subsystems of its own records the callbacks, transitions and parts of
 * updates that are cancelled, fail, or are rehearsed.
 */

#include <kunit/test.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/utsname.h>

#include "luo_kunit.h"
#include "../luo_timeline.h"

static void luo_timeline_test_want(struct kunit *test,
				   const struct luo_timeline *timeline,
				   u32 *slot, enum liveupdate_timeline_kind kind,
				   enum luo_transition transition, const char *name,
				   int error)
{
	const struct liveupdate_timeline_record *record =
		&timeline->records[*slot];

	KUNIT_EXPECT_EQ_MSG(test, record->kind, kind, "slot %u", *slot);
	KUNIT_EXPECT_EQ_MSG(test, record->transition, transition, "slot %u", *slot);
	KUNIT_EXPECT_STREQ_MSG(test, record->name, name, "slot %u", *slot);
	KUNIT_EXPECT_EQ_MSG(test, record->error, error, "slot %u", *slot);
	KUNIT_EXPECT_LE(test, record->start, record->end);
	(*slot)++;
}

/* Callbacks of both subsystems and the transition around them. */
static void luo_timeline_test_want_all(struct kunit *test,
				       const struct luo_timeline *timeline,
				       u32 *slot, enum luo_transition transition,
				       bool down, int error)
{
	const char *first = down ? "consumer" : "provider";
	const char *second = down ? "provider" : "consumer";
	u32 begin = *slot;

	luo_timeline_test_want(test, timeline, slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, transition, first, 0);
	luo_timeline_test_want(test, timeline, slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, transition, second, error);
	luo_timeline_test_want(test, timeline, slot, LIVEUPDATE_TIMELINE_TRANSITION,
			       transition, "", error);
	KUNIT_EXPECT_LE(test, timeline->records[begin + 2].start,
			timeline->records[begin].start);
	KUNIT_EXPECT_GE(test, timeline->records[begin + 2].end,
			timeline->records[begin + 1].end);
}

/* Give a machine a timeline to record in. */
static struct luo_timeline *luo_timeline_of(struct kunit *test,
					    struct luo_ctx *ctx)
{
	struct luo_timeline *timeline;
	void *mem;

	timeline = kunit_kzalloc(test, sizeof(*timeline), GFP_KERNEL);
	mem = kunit_kzalloc(test, SZ_16K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, timeline);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	luo_timeline_init(timeline);
	KUNIT_ASSERT_EQ(test, 0, luo_timeline_attach(timeline, mem,
						     SZ_16K));
	ctx->timeline = timeline;

	return timeline;
}

static void luo_timeline_machine_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *provider;
	struct luo_timeline *timeline;
	u32 slot = 1;

	timeline = luo_timeline_of(test, ctx);
	luo_kunit_add(test, ctx, "consumer", LIVEUPDATE_LEVEL_WORKLOAD);
	provider = luo_kunit_add(test, ctx, "provider",
				 LIVEUPDATE_LEVEL_MEMORY);

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, timeline->records[0].kind,
			LIVEUPDATE_TIMELINE_KERNEL);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_PREPARE,
				   true, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_FREEZE,
				   true, 0);
	luo_ctx_thaw(ctx);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_THAW,
				   false, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_CANCEL,
				   false, 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	KUNIT_EXPECT_FALSE(test, timeline->recording);

	/*
	 * Nothing is left of what was cancelled. The second one fails; what is
	 * undone is recorded as well.
	 */
	provider->error[LUO_TRANSITION_PREPARE] = -EIO;
	KUNIT_ASSERT_EQ(test, -EIO, luo_ctx_prepare(ctx));
	slot = 0;
	luo_timeline_test_want(test, timeline, &slot, LIVEUPDATE_TIMELINE_KERNEL,
			       LUO_TRANSITION_NONE, init_utsname()->release, 0);
	KUNIT_EXPECT_EQ(test, timeline->records[slot].update, 2);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_PREPARE,
				   true, -EIO);
	luo_timeline_test_want(test, timeline, &slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, LUO_TRANSITION_CANCEL,
			       "consumer", 0);
	luo_timeline_test_want(test, timeline, &slot, LIVEUPDATE_TIMELINE_TRANSITION,
			       LUO_TRANSITION_CANCEL, "", 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	KUNIT_EXPECT_FALSE(test, timeline->recording);

	/* Of three rehearsals the last one is left, and the freeze behind it. */
	provider->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	for (int i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	slot = 1;
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_PREPARE,
				   true, 0);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_FREEZE,
				   true, 0);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_THAW,
				   false, 0);
	luo_timeline_test_want_all(test, timeline, &slot, LUO_TRANSITION_FREEZE,
				   true, 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	luo_ctx_thaw(ctx);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_cancel(ctx));
	ctx->timeline = NULL;
}

/* Two parts in each transition; of those of the others nothing is recorded. */
static void luo_timeline_item_hook(struct luo_kunit_subsystem *mock,
				   enum luo_transition transition)
{
	struct luo_ctx *ctx = &mock->fixture->ctx;
	struct liveupdate_items *items = mock->context;
	u64 start;

	memset(items, 0, sizeof(*items));
	luo_items_record(ctx, &mock->subsystem, items);
	luo_item_begin(ctx, items, "long");
	start = items->start;
	while (luo_timeline_now() - start < 1000)
		cpu_relax();
	luo_item_end(ctx, items, -EIO);
	items->name = "short";
	items->start = luo_timeline_now();
	luo_item_account(items, items->start + 1, 0);
	luo_items_record(ctx, &mock->subsystem, items);
}

static void luo_timeline_machine_parts_test(struct kunit *test)
{
	static const enum luo_transition transitions[] = {
		LUO_TRANSITION_PREPARE, LUO_TRANSITION_FREEZE, LUO_TRANSITION_THAW,
		LUO_TRANSITION_CANCEL,
	};
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;
	struct luo_timeline *timeline;
	u32 slot = 1;

	timeline = luo_timeline_of(test, ctx);
	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_DEVICES);
	it->hook = luo_timeline_item_hook;
	it->context = kunit_kzalloc(test, sizeof(struct liveupdate_items),
				    GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, it->context);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	for (int i = 0; i < ARRAY_SIZE(transitions); i++) {
		const struct liveupdate_timeline_record *items =
			&timeline->records[slot];

		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_ITEMS, transitions[i],
				       "it", 2);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_ITEM, transitions[i],
				       "long", -EIO);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_ITEM, transitions[i],
				       "short", 0);
		KUNIT_EXPECT_EQ(test, items[0].end - items[0].start,
				items[1].end - items[1].start + 1);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_CALLBACK, transitions[i],
				       "it", 0);
		KUNIT_EXPECT_GE(test, items[0].start, items[3].start);
		KUNIT_EXPECT_LE(test, items[0].end, items[3].end);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_TRANSITION, transitions[i], "",
				       0);
	}
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	ctx->timeline = NULL;
}

static struct kunit_case luo_timeline_machine_cases[] = {
	KUNIT_CASE(luo_timeline_machine_test),
	KUNIT_CASE(luo_timeline_machine_parts_test),
	{}
};

static struct kunit_suite luo_timeline_machine_test_suite = {
	.name = "liveupdate_timeline_machine",
	.init = luo_kunit_init,
	.exit = luo_kunit_exit,
	.test_cases = luo_timeline_machine_cases,
};

kunit_test_suite(luo_timeline_machine_test_suite);
