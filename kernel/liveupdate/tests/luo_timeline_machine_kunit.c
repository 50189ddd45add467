// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what a machine records in its timeline
 *
 * A machine with participants of its own records the callbacks, steps and parts of
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
				   enum luo_step step, const char *name,
				   int error)
{
	const struct liveupdate_timeline_record *record =
		&timeline->records[*slot];

	KUNIT_EXPECT_EQ_MSG(test, record->kind, kind, "slot %u", *slot);
	KUNIT_EXPECT_EQ_MSG(test, record->step, step, "slot %u", *slot);
	KUNIT_EXPECT_STREQ_MSG(test, record->name, name, "slot %u", *slot);
	KUNIT_EXPECT_EQ_MSG(test, record->error, error, "slot %u", *slot);
	KUNIT_EXPECT_LE(test, record->start, record->end);
	(*slot)++;
}

/* Callbacks of both participants and the step around them. */
static void luo_timeline_test_want_step(struct kunit *test,
					const struct luo_timeline *timeline,
					u32 *slot, enum luo_step step,
					bool down, int error)
{
	const char *first = down ? "consumer" : "provider";
	const char *second = down ? "provider" : "consumer";
	u32 begin = *slot;

	luo_timeline_test_want(test, timeline, slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, step, first, 0);
	luo_timeline_test_want(test, timeline, slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, step, second, error);
	luo_timeline_test_want(test, timeline, slot, LIVEUPDATE_TIMELINE_STEP,
			       step, "", error);
	KUNIT_EXPECT_LE(test, timeline->records[begin + 2].start,
			timeline->records[begin].start);
	KUNIT_EXPECT_GE(test, timeline->records[begin + 2].end,
			timeline->records[begin + 1].end);
}

/* Give a machine a timeline to record in. */
static struct luo_timeline *luo_timeline_of(struct kunit *test,
					    struct luo_machine *machine)
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
	machine->timeline = timeline;

	return timeline;
}

static void luo_timeline_machine_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *provider;
	struct luo_timeline *timeline;
	u32 slot = 1;

	timeline = luo_timeline_of(test, machine);
	luo_kunit_add(test, machine, "consumer", LIVEUPDATE_LEVEL_WORKLOAD);
	provider = luo_kunit_add(test, machine, "provider",
				 LIVEUPDATE_LEVEL_MEMORY);

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, timeline->records[0].kind,
			LIVEUPDATE_TIMELINE_KERNEL);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_PREPARE,
				    true, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_FREEZE,
				    true, 0);
	luo_machine_thaw(machine);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_THAW,
				    false, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_cancel(machine));
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_CANCEL,
				    false, 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	KUNIT_EXPECT_FALSE(test, timeline->recording);

	/*
	 * Nothing is left of what was cancelled. The second one fails; what is
	 * undone is recorded as well.
	 */
	provider->error[LUO_STEP_PREPARE] = -EIO;
	KUNIT_ASSERT_EQ(test, -EIO, luo_machine_prepare(machine));
	slot = 0;
	luo_timeline_test_want(test, timeline, &slot, LIVEUPDATE_TIMELINE_KERNEL,
			       LUO_STEP_NONE, init_utsname()->release, 0);
	KUNIT_EXPECT_EQ(test, timeline->records[slot].update, 2);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_PREPARE,
				    true, -EIO);
	luo_timeline_test_want(test, timeline, &slot,
			       LIVEUPDATE_TIMELINE_CALLBACK, LUO_STEP_CANCEL,
			       "consumer", 0);
	luo_timeline_test_want(test, timeline, &slot, LIVEUPDATE_TIMELINE_STEP,
			       LUO_STEP_CANCEL, "", 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	KUNIT_EXPECT_FALSE(test, timeline->recording);

	/* Of three rehearsals the last one is left, and the freeze behind it. */
	provider->error[LUO_STEP_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	for (int i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	slot = 1;
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_PREPARE,
				    true, 0);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_FREEZE,
				    true, 0);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_THAW,
				    false, 0);
	luo_timeline_test_want_step(test, timeline, &slot, LUO_STEP_FREEZE,
				    true, 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	luo_machine_thaw(machine);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_cancel(machine));
	machine->timeline = NULL;
}

/* Two parts in each step; of those of the others nothing is recorded. */
static void luo_timeline_part_hook(struct luo_kunit_participant *participant,
				   enum luo_step step)
{
	struct luo_machine *machine = &participant->fixture->machine;
	struct liveupdate_parts *parts = participant->context;
	u64 start;

	memset(parts, 0, sizeof(*parts));
	luo_parts_record(machine, &participant->subsystem, parts);
	luo_part_begin(machine, parts, "long");
	start = parts->start;
	while (luo_timeline_now() - start < 1000)
		cpu_relax();
	luo_part_end(machine, parts, -EIO);
	parts->name = "short";
	parts->start = luo_timeline_now();
	luo_part_account(parts, parts->start + 1, 0);
	luo_parts_record(machine, &participant->subsystem, parts);
}

static void luo_timeline_machine_parts_test(struct kunit *test)
{
	static const enum luo_step steps[] = {
		LUO_STEP_PREPARE, LUO_STEP_FREEZE, LUO_STEP_THAW,
		LUO_STEP_CANCEL,
	};
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;
	struct luo_timeline *timeline;
	u32 slot = 1;

	timeline = luo_timeline_of(test, machine);
	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	it->hook = luo_timeline_part_hook;
	it->context = kunit_kzalloc(test, sizeof(struct liveupdate_parts),
				    GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, it->context);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	for (int i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct liveupdate_timeline_record *parts =
			&timeline->records[slot];

		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_PARTS, steps[i],
				       "it", 2);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_PART, steps[i],
				       "long", -EIO);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_PART, steps[i],
				       "short", 0);
		KUNIT_EXPECT_EQ(test, parts[0].end - parts[0].start,
				parts[1].end - parts[1].start + 1);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_CALLBACK, steps[i],
				       "it", 0);
		KUNIT_EXPECT_GE(test, parts[0].start, parts[3].start);
		KUNIT_EXPECT_LE(test, parts[0].end, parts[3].end);
		luo_timeline_test_want(test, timeline, &slot,
				       LIVEUPDATE_TIMELINE_STEP, steps[i], "",
				       0);
	}
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), slot);
	machine->timeline = NULL;
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
