// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what keeps FREEZE from beginning, or from being final
 *
 * What luo_outgoing.c promises of participants that have something under way: when they
 * are asked, for how long, and what it is called if it does not end. And of what has become
 * void.
 */

#include <kunit/test-bug.h>
#include <linux/jiffies.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_FK_TIMEOUT_MS	50

/**
 * struct luo_fk_busy - a participant that has something under way
 * @it: the participant.
 * @nr_asked: how often it was asked whether it can freeze.
 * @nr_busy: how often the answer is no before it is yes.
 * @goes_down: the system begins to go down when it is asked.
 */
struct luo_fk_busy {
	struct luo_kunit_participant *it;
	unsigned int nr_asked;
	unsigned int nr_busy;
	bool goes_down;
};

static bool luo_fk_can_freeze(struct liveupdate_subsystem *subsystem)
{
	struct luo_kunit_participant *it =
		container_of(subsystem, struct luo_kunit_participant, subsystem);
	struct luo_fk_busy *busy = it->context;
	struct luo_machine *machine = &it->fixture->machine;

	KUNIT_EXPECT_EQ(kunit_get_current_test(), machine->step, LUO_STEP_FREEZE);
	KUNIT_EXPECT_STREQ(kunit_get_current_test(), machine->name, it->desc.name);
	if (busy->goes_down)
		machine->going_down = true;
	if (busy->nr_asked++ >= busy->nr_busy)
		return true;
	luo_report_failure(machine, it->desc.name, -EBUSY, "port", "it works");

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
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->machine,
						   &busy->it->subsystem));

	return busy;
}

static void luo_fk_prepare(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	seq_buf_clear(&fixture->log);
}

/* All are asked, each until it can, before anybody is frozen. */
static void luo_freeze_waits_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_fk_busy *a = luo_fk_add(test, "a", LIVEUPDATE_LEVEL_WORKLOAD, 0);
	struct luo_fk_busy *b = luo_fk_add(test, "b", LIVEUPDATE_LEVEL_MEMORY, 2);

	luo_fk_prepare(test);
	KUNIT_EXPECT_EQ(test, 0, a->nr_asked);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(machine, true));
	KUNIT_EXPECT_EQ(test, 1, a->nr_asked);
	KUNIT_EXPECT_EQ(test, 3, b->nr_asked);
	luo_kunit_expect_log(test, " freeze:a freeze:b");
	KUNIT_EXPECT_EQ(test, 0, machine->failure.count);
	luo_machine_thaw(machine);

	a->nr_asked = 0;
	b->nr_asked = 0;
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 3, b->nr_asked);
	luo_kunit_expect_log(test, " freeze:a freeze:b thaw:b thaw:a");
}

/* What does not end is named when time is up; nothing was frozen. */
static void luo_freeze_never_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_fk_busy *b;
	unsigned long begin;

	luo_kunit_add(test, machine, "a", LIVEUPDATE_LEVEL_WORKLOAD);
	b = luo_fk_add(test, "b", LIVEUPDATE_LEVEL_MEMORY, UINT_MAX);
	luo_fk_prepare(test);
	machine->freeze_timeout_ms = LUO_FK_TIMEOUT_MS;
	begin = jiffies;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_freeze(machine, true));
	KUNIT_EXPECT_GE(test, jiffies_to_msecs(jiffies - begin), LUO_FK_TIMEOUT_MS);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "b", -ETIMEDOUT);
	KUNIT_EXPECT_STREQ(test, machine->failure.device, "port");
	KUNIT_EXPECT_STREQ(test, machine->failure.reason, "it works");

	/* It can be tried again when that is over. */
	b->nr_asked = 0;
	b->nr_busy = 0;
	machine->freeze_timeout_ms = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " freeze:a freeze:b");
	luo_machine_thaw(machine);
}

/* Nothing is waited for while the system goes down otherwise. */
static void luo_freeze_going_down_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_fk_busy *it = luo_fk_add(test, "it", LIVEUPDATE_LEVEL_DEVICES, UINT_MAX);

	luo_fk_prepare(test);
	it->goes_down = true;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 1, it->nr_asked);
	luo_kunit_expect_log(test, "");
	machine->going_down = false;
}

/* Participants that do not notice what they lost freeze all the same; the core does not. */
static void luo_freeze_void(struct luo_kunit_participant *it, enum luo_step step)
{
	struct luo_machine *machine = &it->fixture->machine;

	/* Without the work item, which would cancel behind the test's back. */
	if (step == LUO_STEP_FREEZE)
		machine->invalid = (struct luo_failure){
			.error = -ENODEV, .participant = "it", .device = "part",
			.reason = "pulled out",
		};
}

static void luo_freeze_expect_void(struct kunit *test, const char *log)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_kunit_expect_log(test, log);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it", -ENODEV);
	KUNIT_EXPECT_STREQ(test, machine->failure.device, "part");
	KUNIT_EXPECT_STREQ(test, machine->failure.reason, "pulled out");
}

static void luo_freeze_void_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);

	luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_MEMORY);
	luo_fk_prepare(test);
	it->hook = luo_freeze_void;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_freeze(machine, true));
	luo_freeze_expect_void(test, " freeze:it freeze:other thaw:other thaw:it");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_freeze(machine, true));
	luo_freeze_expect_void(test, "");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_rehearse(machine));
	luo_freeze_expect_void(test, "");

	KUNIT_ASSERT_EQ(test, 0, luo_machine_cancel(machine));
	it->hook = NULL;
	luo_fk_prepare(test);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_machine_thaw(machine);
}

static struct kunit_case luo_freeze_cases[] = {
	KUNIT_CASE(luo_freeze_waits_test),
	KUNIT_CASE(luo_freeze_never_test),
	KUNIT_CASE(luo_freeze_going_down_test),
	KUNIT_CASE(luo_freeze_void_test),
	{}
};

static struct kunit_suite luo_freeze_suite = {
	.name		= "luo-freeze",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_freeze_cases,
};

kunit_test_suite(luo_freeze_suite);
