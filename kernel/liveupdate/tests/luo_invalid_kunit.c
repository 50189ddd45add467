// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of updates that have become invalid
 *
 * A participant says that what it prepared is no longer valid: in each state, while a
 * step is under way, and during a reboot.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "luo_kunit.h"

static void luo_state_log_announce(struct luo_machine *machine,
				   enum liveupdate_state state)
{
	struct luo_kunit *fixture = container_of(machine, struct luo_kunit,
						 machine);

	seq_buf_printf(&fixture->log, " =%s", luo_kunit_states[state]);
}

static void luo_state_expect_void(struct kunit *test,
				  struct luo_machine *machine, const char *log)
{
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, log);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, machine->invalid.error, 0);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);

	/* And is not the next time. */
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
}

/* In prepared the machine goes back to normal, as after a cancel. */
static void luo_state_void_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_participant *other =
		luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_MEMORY);
	unsigned long flags;

	/* Nothing is prepared: nothing is void. */
	luo_machine_invalidate(machine, &it->subsystem, -EIO, "part", "why");
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, "");
	luo_machine_invalidate(machine, &it->subsystem, -EIO, "part", "why");
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, machine->failure.error, 0);

	machine->announce = luo_state_log_announce;
	local_irq_save(flags);
	luo_machine_invalidate(machine, &it->subsystem, -ENODEV, "part", "why");
	luo_machine_invalidate(machine, &other->subsystem, -EIO, "part", "why");
	local_irq_restore(flags);
	luo_state_expect_void(test, machine,
			      " cancel:other cancel:it =normal");
	machine->announce = NULL;
}

/* Frozen waits for the thaw, and for who cancels first. */
static void luo_state_void_frozen_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_machine_invalidate(machine, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_FROZEN);
	luo_kunit_expect_log(test, " prepare:it freeze:it");
	luo_machine_thaw(machine);
	luo_state_expect_void(test, machine, " thaw:it cancel:it");
}

static void luo_state_void_hook(struct luo_kunit_participant *participant,
				enum luo_step step)
{
	struct luo_kunit_participant *it = participant->context;

	if (it && (step == LUO_STEP_PREPARE || step == LUO_STEP_FREEZE))
		luo_machine_invalidate(&participant->fixture->machine,
				       &it->subsystem, -ENODEV, "part", "why");
}

/* While others are being prepared, or frozen, it waits for the end of that. */
static void luo_state_void_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_participant *other =
		luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_MEMORY);

	other->hook = luo_state_void_hook;
	other->context = it;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	other->context = NULL;
	luo_state_expect_void(test, machine,
			      " prepare:it prepare:other cancel:other cancel:it");

	other->context = it;
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_rehearse(machine));
	other->context = NULL;
	luo_state_expect_void(test, machine,
			      " freeze:it freeze:other thaw:other thaw:it cancel:other cancel:it");

	/* A freeze that is refused, as it should be. */
	other->context = it;
	other->error[LUO_STEP_FREEZE] = -ENODEV;
	luo_kunit_expect_log(test, " prepare:it prepare:other");
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_freeze(machine, true));
	other->context = NULL;
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test,
			     " freeze:it freeze:other thaw:it cancel:other cancel:it");
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
}

/* No device is touched while all are shut down, unless that fails. */
static void luo_state_void_reboot_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	mutex_lock(&system_transition_mutex);
	luo_machine_invalidate(machine, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, machine->failure.error, 0);
	mutex_unlock(&system_transition_mutex);
	luo_state_expect_void(test, machine, " cancel:it");
}

static void luo_state_count_void(struct work_struct *work)
{
	struct luo_machine *machine = container_of(to_delayed_work(work),
						   struct luo_machine,
						   invalidate);
	struct luo_kunit *fixture = container_of(machine, struct luo_kunit,
						 machine);

	seq_buf_puts(&fixture->log, " void");
}

/* The work takes the lock, which must not refuse a request for nothing. */
static void luo_state_void_idle_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);

	INIT_DELAYED_WORK(&machine->invalidate, luo_state_count_void);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_machine_thaw(machine);
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, " prepare:it freeze:it thaw:it");

	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_machine_invalidate(machine, &it->subsystem, -ENODEV, "part", "why");
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, " freeze:it void");
	luo_machine_thaw(machine);
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_log(test, " thaw:it void");
}

static struct kunit_case luo_invalid_cases[] = {
	KUNIT_CASE(luo_state_void_test),
	KUNIT_CASE(luo_state_void_frozen_test),
	KUNIT_CASE(luo_state_void_meanwhile_test),
	KUNIT_CASE(luo_state_void_reboot_test),
	KUNIT_CASE(luo_state_void_idle_test),
	{}
};

static struct kunit_suite luo_invalid_suite = {
	.name		= "luo-invalid",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_invalid_cases,
};

kunit_test_suite(luo_invalid_suite);
