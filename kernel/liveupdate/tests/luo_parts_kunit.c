// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the parts of participants
 *
 * What luo_parts.c promises: "transition" names the part that is under way, a participant
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
 * struct luo_state_parts - what a participant did with its parts
 * @page: for luo_progress_show().
 * @parts: the account.
 * @late: step in which the deadline passes meanwhile, or LUO_STEP_NONE.
 * @error: what the work on the part ends with.
 * @result: what luo_part_end() returned in each step.
 * @forget: leave the part open.
 */
struct luo_state_parts {
	char *page;
	struct liveupdate_parts parts;
	enum luo_step late;
	int error;
	int result[LUO_KUNIT_NR_STEPS];
	bool forget;
};

static void luo_state_part_hook(struct luo_kunit_participant *participant,
				enum luo_step step)
{
	struct luo_kunit *fixture = participant->fixture;
	struct luo_machine *machine = step < LUO_STEP_RESTORE ?
		&fixture->machine : &fixture->next;
	struct luo_state_parts *state = participant->context;
	char before[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 16];
	char during[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 32];

	snprintf(before, sizeof(before), "%s %s\n", luo_step_name(step),
		 participant->desc.name);
	snprintf(during, sizeof(during), "%s %s 0000:00:04.0\n",
		 luo_step_name(step), participant->desc.name);

	luo_progress_show(machine, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, before);
	luo_part_begin(machine, &state->parts, "0000:00:04.0");
	luo_progress_show(machine, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, during);
	if (step == state->late)
		machine->deadline = jiffies - 1;
	if (state->forget)
		return;

	state->result[step] = luo_part_end(machine, &state->parts, state->error);
	participant->error[step] = state->result[step];
	luo_progress_show(machine, state->page);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), state->page, before);
}

static struct luo_state_parts *
luo_state_add_parts(struct kunit *test, struct luo_machine *machine)
{
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_state_parts *state =
		kunit_kzalloc(test, sizeof(*state), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, state);
	state->page = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, state->page);
	it->hook = luo_state_part_hook;
	it->context = state;

	return state;
}

/* "transition" names the part, in every step, and only as long as it lasts. */
static void luo_state_part_show_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_parts *old = luo_state_add_parts(test, machine);
	struct luo_state_parts *new = luo_state_add_parts(test, &fixture->next);

	luo_progress_show(machine, old->page);
	KUNIT_EXPECT_STREQ(test, old->page, "idle\n");
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_progress_show(machine, old->page);
	KUNIT_EXPECT_STREQ(test, old->page, "idle\n");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_EXPECT_EQ(test, old->parts.count, 4);

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, new->parts.count, 2);
}

/* What a participant leaves open ends with its callback. */
static void luo_state_part_open_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_parts *state = luo_state_add_parts(test, machine);
	struct luo_kunit_participant *next =
		luo_kunit_add(test, machine, "next", LIVEUPDATE_LEVEL_MEMORY);

	state->forget = true;
	next->hook = luo_state_part_hook;
	next->context = state;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_NULL(test, machine->part);
}

static const enum luo_step luo_state_part_steps[] = {
	LUO_STEP_PREPARE, LUO_STEP_FREEZE, LUO_STEP_THAW, LUO_STEP_CANCEL,
};

static void luo_state_part_step_desc(const enum luo_step *step, char *desc)
{
	strscpy(desc, luo_step_name(*step), KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(luo_state_part_step, luo_state_part_steps,
		  luo_state_part_step_desc);

/* A participant is told that time is up where it can still give up. */
static void luo_state_part_late_test(struct kunit *test)
{
	enum luo_step late = *(const enum luo_step *)test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_parts *state = luo_state_add_parts(test, machine);
	bool prepare = late == LUO_STEP_PREPARE, freeze = late == LUO_STEP_FREEZE;

	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);
	state->late = late;
	KUNIT_EXPECT_EQ(test, prepare ? -ETIMEDOUT : 0,
			luo_machine_prepare(machine));
	if (prepare) {
		luo_kunit_expect_log(test, " prepare:it");
		luo_kunit_expect_failed(test, machine, late, "it", -ETIMEDOUT);
		return;
	}

	KUNIT_EXPECT_EQ(test, freeze ? -ETIMEDOUT : 0,
			luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, freeze ? " prepare:it freeze:it" :
			     " prepare:it freeze:it thaw:it");
	if (freeze)
		luo_kunit_expect_failed(test, machine, late, "it", -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_EXPECT_EQ(test, state->result[late], freeze ? -ETIMEDOUT : 0);
}

/* An undo has the deadline of the step that it undoes, and cannot give up. */
static void luo_state_part_undo_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_parts *state = luo_state_add_parts(test, machine);
	struct luo_kunit_participant *late =
		luo_kunit_add(test, machine, "late", LIVEUPDATE_LEVEL_MEMORY);

	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);
	late->hook = luo_kunit_late_hook;
	late->context = (void *)LUO_STEP_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it prepare:late cancel:late cancel:it");
	KUNIT_EXPECT_EQ(test, state->result[LUO_STEP_CANCEL], 0);
}

/* The error of a part counts, also if time is up. */
static void luo_state_part_error_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_parts *state = luo_state_add_parts(test, machine);

	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);
	state->late = LUO_STEP_PREPARE;
	state->error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -EIO);
	KUNIT_EXPECT_EQ(test, state->parts.slowest[0].error, -EIO);
}

struct luo_state_stranger {
	struct work_struct work;
	struct luo_machine *machine;
	struct liveupdate_parts parts;
	int result;
};

static void luo_state_part_stranger(struct work_struct *work)
{
	struct luo_state_stranger *stranger =
		container_of(work, struct luo_state_stranger, work);

	luo_part_begin(stranger->machine, &stranger->parts, "stranger");
	if (stranger->machine->part)
		stranger->result = -EEXIST;
	else
		stranger->result = luo_part_end(stranger->machine,
						&stranger->parts, 0);
}

static void luo_state_part_stranger_hook(struct luo_kunit_participant *participant,
					 enum luo_step step)
{
	struct luo_state_stranger *stranger = participant->context;
	unsigned long deadline = stranger->machine->deadline;

	if (step != LUO_STEP_PREPARE)
		return;
	stranger->machine->deadline = jiffies - 1;
	queue_work(system_dfl_wq, &stranger->work);
	flush_work(&stranger->work);
	stranger->machine->deadline = deadline;
}

/* Outside of callbacks, and in another task, only the account is kept. */
static void luo_state_part_outside_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_state_stranger *stranger =
		kunit_kzalloc(test, sizeof(*stranger), GFP_KERNEL);
	struct liveupdate_parts *parts =
		kunit_kzalloc(test, sizeof(*parts), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, stranger);
	KUNIT_ASSERT_NOT_NULL(test, parts);
	machine->watched = true;
	machine->deadline = jiffies - 1;
	luo_part_begin(machine, parts, "outside");
	KUNIT_EXPECT_NULL(test, machine->part);
	KUNIT_EXPECT_EQ(test, 0, luo_part_end(machine, parts, 0));
	luo_part_begin(machine, parts, "outside");
	KUNIT_EXPECT_EQ(test, -EIO, luo_part_end(machine, parts, -EIO));
	luo_parts_record(machine, &it->subsystem, parts);
	KUNIT_EXPECT_EQ(test, parts->count, 2);
	machine->watched = false;

	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);
	INIT_WORK(&stranger->work, luo_state_part_stranger);
	stranger->machine = machine;
	it->hook = luo_state_part_stranger_hook;
	it->context = stranger;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, stranger->parts.count, 1);
	KUNIT_EXPECT_EQ(test, stranger->result, 0);
}

#define LUO_STATE_PARTS	40

/* Durations in no order, some of them twice. */
static u64 luo_state_part_took(unsigned int i)
{
	return 1000 * (1 + i * 17 % LUO_STATE_PARTS / 2);
}

static void luo_state_part_account_test(struct kunit *test)
{
	struct liveupdate_parts *parts =
		kunit_kzalloc(test, sizeof(*parts), GFP_KERNEL);
	u64 sum = 0, max = 0;
	char name[16];

	KUNIT_ASSERT_NOT_NULL(test, parts);
	for (unsigned int i = 0; i < LUO_STATE_PARTS; i++) {
		u64 took = luo_state_part_took(i);

		snprintf(name, sizeof(name), "part-%u", i);
		parts->name = name;
		parts->start = 7 * i;
		luo_part_account(parts, 7 * i + took, -(int)i);
		sum += took;
		max = max(max, took);
	}
	KUNIT_EXPECT_EQ(test, parts->count, LUO_STATE_PARTS);
	KUNIT_EXPECT_EQ(test, parts->sum, sum);
	KUNIT_EXPECT_EQ(test, parts->max, max);

	KUNIT_ASSERT_EQ(test, parts->nr_slowest, LIVEUPDATE_PARTS_SLOWEST);
	for (unsigned int i = 0; i < LIVEUPDATE_PARTS_SLOWEST; i++) {
		unsigned int number;

		KUNIT_ASSERT_EQ(test, 0, kstrtouint(parts->slowest[i].name +
						    strlen("part-"), 10,
						    &number));
		KUNIT_EXPECT_EQ(test, parts->slowest[i].start, 7 * number);
		KUNIT_EXPECT_EQ(test, parts->slowest[i].end,
				7 * number + luo_state_part_took(number));
		KUNIT_EXPECT_EQ(test, parts->slowest[i].error, -(int)number);
		/* Two of each duration, the longest first. */
		KUNIT_EXPECT_EQ(test, luo_state_part_took(number),
				1000 * (LUO_STATE_PARTS / 2 - i / 2));
		for (unsigned int k = 0; k < i; k++)
			KUNIT_EXPECT_STRNEQ(test, parts->slowest[k].name,
					    parts->slowest[i].name);
	}
}

/* Names and errors become what a record may hold, time does not run backwards. */
static void luo_state_part_odd_test(struct kunit *test)
{
	struct liveupdate_parts *parts =
		kunit_kzalloc(test, sizeof(*parts), GFP_KERNEL);
	char name[2 * LIVEUPDATE_SUBSYSTEM_NAME_LEN];

	KUNIT_ASSERT_NOT_NULL(test, parts);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	name[0] = ' ';
	name[1] = '\n';
	name[2] = '\xe4';
	parts->name = name;
	parts->start = 100;
	luo_part_account(parts, 99, 1);
	KUNIT_EXPECT_EQ(test, parts->slowest[0].end, 100);
	KUNIT_EXPECT_EQ(test, parts->sum, 0);
	KUNIT_EXPECT_EQ(test, parts->slowest[0].error, 0);
	KUNIT_EXPECT_EQ(test, strlen(parts->slowest[0].name),
			LIVEUPDATE_SUBSYSTEM_NAME_LEN - 1);
	KUNIT_EXPECT_EQ(test, 0, strncmp(parts->slowest[0].name, "???xx", 5));

	parts->name = "";
	luo_part_account(parts, 200, -MAX_ERRNO - 1);
	KUNIT_EXPECT_EQ(test, parts->slowest[0].error, -MAX_ERRNO);
	KUNIT_EXPECT_STREQ(test, parts->slowest[0].name, "");
}

static struct kunit_case luo_parts_cases[] = {
	KUNIT_CASE(luo_state_part_show_test),
	KUNIT_CASE(luo_state_part_open_test),
	KUNIT_CASE_PARAM(luo_state_part_late_test,
			 luo_state_part_step_gen_params),
	KUNIT_CASE(luo_state_part_undo_test),
	KUNIT_CASE(luo_state_part_error_test),
	KUNIT_CASE(luo_state_part_outside_test),
	KUNIT_CASE(luo_state_part_account_test),
	KUNIT_CASE(luo_state_part_odd_test),
	{}
};

static struct kunit_suite luo_parts_suite = {
	.name		= "luo-parts",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_parts_cases,
};

kunit_test_suite(luo_parts_suite);
