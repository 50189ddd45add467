// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of deadlines
 *
 * Who is late has failed, for real and with a clock that the test turns, and which step
 * has which deadline.
 */

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_STATE_TIMEOUT_MS	400

static void luo_state_sleep_hook(struct luo_kunit_participant *participant,
				 enum luo_step step)
{
	if (step == (uintptr_t)participant->context)
		msleep(2 * LUO_STATE_TIMEOUT_MS);
}

/* For real: the clock ticks, and the watchdog barks. */
static void luo_state_timeout_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *slow;

	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	slow = luo_kunit_add(test, machine, "slow", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, machine, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	slow->hook = luo_state_sleep_hook;
	luo_kunit_limit(machine, LUO_STATE_TIMEOUT_MS);

	slow->context = (void *)LUO_STEP_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:top prepare:slow cancel:slow cancel:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "slow",
				-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);

	slow->context = (void *)LUO_STEP_FREEZE;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " freeze:top freeze:slow thaw:slow thaw:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "slow",
				-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);

	luo_kunit_limit(machine, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
}

static void luo_state_timeout_index_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, machine, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->hook = luo_kunit_late_hook;
	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);

	culprit->context = (void *)LUO_STEP_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_prepare(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_PREPARE, failure->index + 1);
	luo_kunit_want_up(test, &set, LUO_STEP_CANCEL, failure->index + 1);
	luo_kunit_expect_wanted(test);
	luo_kunit_expect_unprepared(test, machine, &set);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE,
				culprit->desc.name, -ETIMEDOUT);

	culprit->context = (void *)LUO_STEP_FREEZE;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_rehearse(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_FREEZE, failure->index + 1);
	luo_kunit_want_up(test, &set, LUO_STEP_THAW, failure->index + 1);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE,
				culprit->desc.name, -ETIMEDOUT);
}

/* The limit of one step is none of the other. */
static void luo_state_limits_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);

	it->hook = luo_kunit_late_hook;
	it->context = (void *)LUO_STEP_PREPARE;
	machine->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));

	it->context = (void *)LUO_STEP_FREEZE;
	machine->freeze_timeout_ms = 0;
	machine->prepare_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));

	machine->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_rehearse(machine));
}

/* Who fails late has failed, and is not undone. */
static void luo_state_late_failure_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;

	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);
	it->hook = luo_kunit_late_hook;
	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);

	it->context = (void *)LUO_STEP_PREPARE;
	it->error[LUO_STEP_PREPARE] = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:top prepare:it cancel:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENXIO);

	it->context = (void *)LUO_STEP_FREEZE;
	it->error[LUO_STEP_PREPARE] = 0;
	it->error[LUO_STEP_FREEZE] = -ENXIO;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, -ENXIO, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " prepare:top prepare:it freeze:top freeze:it thaw:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it", -ENXIO);
}

/**
 * struct luo_state_watch - what callbacks saw of the deadline
 * @pending: bit for each step in which the watchdog was running.
 * @deadline: deadline in each step.
 * @differs: two callbacks of the same step saw different deadlines.
 */
struct luo_state_watch {
	unsigned long pending;
	unsigned long deadline[LUO_KUNIT_NR_STEPS];
	bool differs;
};

static void luo_state_watch_hook(struct luo_kunit_participant *participant,
				 enum luo_step step)
{
	struct luo_machine *machine = &participant->fixture->machine;
	struct luo_state_watch *watch = participant->context;

	if (!delayed_work_pending(&machine->watchdog))
		return;
	if (watch->pending & BIT(step) &&
	    watch->deadline[step] != machine->deadline)
		watch->differs = true;
	watch->pending |= BIT(step);
	watch->deadline[step] = machine->deadline;
	msleep(20);
}

/* One deadline for all of PREPARE, one for all of FREEZE, none elsewhere. */
static void luo_state_deadline_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_watch watch = {};
	struct luo_kunit_set set;

	luo_kunit_scramble(test, machine, &set, 3);
	for (int i = 0; i < set.count; i++) {
		set.walk[i]->hook = luo_state_watch_hook;
		set.walk[i]->context = &watch;
	}

	luo_kunit_limit(machine, 60 * MSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&machine->watchdog));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&machine->watchdog));
	KUNIT_EXPECT_EQ(test, watch.pending,
			BIT(LUO_STEP_PREPARE) | BIT(LUO_STEP_FREEZE));
	KUNIT_EXPECT_FALSE(test, watch.differs);
	KUNIT_EXPECT_TRUE(test, time_after(watch.deadline[LUO_STEP_FREEZE],
					   watch.deadline[LUO_STEP_PREPARE]));

	watch.pending = 0;
	luo_kunit_limit(machine, 0);
	machine->deadline = jiffies - 1;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
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
