// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of failing participants
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
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, machine, &set, failure->count);
	for (int i = 0; i < set.count; i++)
		set.walk[i]->offer.size = 100;
	culprit = set.walk[failure->index];
	culprit->error[LUO_STEP_PREPARE] = -EUCLEAN;

	KUNIT_EXPECT_EQ(test, -EUCLEAN, luo_machine_prepare(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_PREPARE, failure->index + 1);
	luo_kunit_want_up(test, &set, LUO_STEP_CANCEL, failure->index);
	luo_kunit_expect_wanted(test);
	luo_kunit_expect_unprepared(test, machine, &set);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE,
				culprit->desc.name, -EUCLEAN);

	culprit->error[LUO_STEP_PREPARE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	luo_kunit_expect_wanted(test);
}

static void luo_state_freeze_fails_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_kunit_set set;

	luo_kunit_scramble(test, machine, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->error[LUO_STEP_FREEZE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	luo_kunit_expect_wanted(test);

	for (int rehearse = 0; rehearse < 2; rehearse++) {
		KUNIT_EXPECT_EQ(test, -EUCLEAN, rehearse ?
				luo_machine_rehearse(machine) :
				luo_machine_freeze(machine, true));
		luo_kunit_want_down(test, &set, LUO_STEP_FREEZE,
				    failure->index + 1);
		luo_kunit_want_up(test, &set, LUO_STEP_THAW, failure->index);
		luo_kunit_expect_wanted(test);
		KUNIT_EXPECT_FALSE(test, mutex_is_locked(&machine->lock));
		KUNIT_EXPECT_EQ(test, machine->state,
				LIVEUPDATE_STATE_PREPARED);
		KUNIT_EXPECT_FALSE(test, machine->table.head->flags &
				   KHO_TABLE_SEALED);
		luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE,
					culprit->desc.name, -EUCLEAN);
	}

	culprit->error[LUO_STEP_FREEZE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_kunit_want_down(test, &set, LUO_STEP_FREEZE, set.count);
	luo_kunit_want_up(test, &set, LUO_STEP_THAW, set.count);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_want_up(test, &set, LUO_STEP_CANCEL, set.count);
	luo_kunit_expect_wanted(test);
}

/* The others restore, and only who restored is finished. */
static void luo_state_restore_fails_test(struct kunit *test)
{
	const struct luo_kunit_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *culprit;
	struct luo_kunit_set old, new;

	luo_kunit_scramble(test, &fixture->machine, &old, failure->count);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	luo_kunit_scramble(test, &fixture->next, &new, failure->count);
	culprit = new.walk[failure->index];
	culprit->error[LUO_STEP_RESTORE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_want_up(test, &new, LUO_STEP_RESTORE, new.count);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_UPDATED);
	luo_kunit_expect_failed(test, &fixture->next, LUO_STEP_RESTORE,
				culprit->desc.name, -EUCLEAN);
	for (int i = 0; i < new.count; i++)
		KUNIT_EXPECT_EQ(test, new.walk[i]->subsystem.phase,
				i == failure->index ? LUO_PHASE_IDLE :
				LUO_PHASE_RESTORED);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	for (int i = 0; i < new.count; i++) {
		if (i != failure->index)
			luo_kunit_want(test, LUO_STEP_FINISH,
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
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *old, *new;

	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	old = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);
	old->error[LUO_STEP_PREPARE] = param->returned;
	KUNIT_EXPECT_EQ(test, param->error, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:top prepare:it cancel:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it",
				param->error);

	old->error[LUO_STEP_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	old->error[LUO_STEP_FREEZE] = param->returned;
	KUNIT_EXPECT_EQ(test, param->error, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " prepare:top prepare:it freeze:top freeze:it thaw:top");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it",
				param->error);

	old->error[LUO_STEP_FREEZE] = 0;
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	new->error[LUO_STEP_RESTORE] = param->returned;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, &fixture->next, LUO_STEP_RESTORE, "it",
				param->error);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " restore:it");
}

/* Nothing failed at first; the last failure stays until the next one. */
static void luo_state_last_failed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);

	luo_kunit_expect_failed(test, machine, LUO_STEP_NONE, "", 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(machine, false));
	luo_kunit_expect_failed(test, machine, LUO_STEP_NONE, "", 0);

	it->error[LUO_STEP_PREPARE] = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);
	it->error[LUO_STEP_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);

	KUNIT_EXPECT_EQ(test, -EINVAL, luo_machine_freeze(machine, false));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);
	it->error[LUO_STEP_FREEZE] = -EBUSY;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_rehearse(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it", -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it", -EBUSY);
	/* What was refused before it began is no failure. */
	KUNIT_EXPECT_EQ(test, machine->failure.count, 2);
}

static void luo_state_expect_details(struct kunit *test,
				     struct luo_machine *machine, u64 count,
				     const char *device, const char *reason)
{
	struct luo_failure failure;

	luo_last_failure(machine, &failure);
	KUNIT_EXPECT_EQ(test, failure.count, count);
	KUNIT_EXPECT_STREQ(test, failure.device, device);
	KUNIT_EXPECT_STREQ(test, failure.reason, reason);
}

/* Twice, in the step that the test names. */
static void luo_state_report_hook(struct luo_kunit_participant *participant,
				  enum luo_step step)
{
	struct luo_machine *machine = &participant->fixture->machine;
	const char *name = participant->desc.name;

	if (step == (unsigned long)participant->context) {
		luo_report_failure(machine, name, -EPERM, "first", "of two");
		luo_report_failure(machine, name, -EIO, "second", "of two, too");
	}
}

/* A participant says which of its devices failed; of another callback nothing is said. */
static void luo_state_failure_details_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_DEVICES);
	struct luo_kunit_participant *other =
		luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_IRQ);
	char longer[2 * LIVEUPDATE_REASON_LEN] = {};

	it->hook = luo_state_report_hook;
	it->context = (void *)LUO_STEP_PREPARE;
	it->error[LUO_STEP_PREPARE] = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);
	luo_state_expect_details(test, machine, 1, "second", "of two, too");

	/* It reports, but succeeds; another one fails. */
	it->error[LUO_STEP_PREPARE] = 0;
	other->error[LUO_STEP_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "other", -EIO);
	luo_state_expect_details(test, machine, 2, "", "");

	/* Its own next failure is not that either. */
	other->error[LUO_STEP_PREPARE] = 0;
	it->error[LUO_STEP_FREEZE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_rehearse(machine));
	luo_state_expect_details(test, machine, 3, "", "");

	/* What made it void is why it fails, and what is undone then. */
	mutex_lock(&machine->lock);
	luo_machine_invalidate(machine, &it->subsystem, -ENODEV, "gone", "pulled out");
	luo_callback_failed(machine, LUO_STEP_FREEZE, "it", -ENODEV);
	luo_state_expect_details(test, machine, 4, "gone", "pulled out");
	luo_callback_failed(machine, LUO_STEP_FREEZE, "other", -EIO);
	luo_state_expect_details(test, machine, 5, "", "");
	mutex_unlock(&machine->lock);
	flush_delayed_work(&machine->invalidate);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "it", -ENODEV);
	luo_state_expect_details(test, machine, 6, "gone", "pulled out");

	/* Outside of callbacks, and longer than there is room for. */
	memset(longer, 'x', sizeof(longer) - 1);
	luo_report_failure(machine, "it", -EOPNOTSUPP, longer, longer);
	luo_kunit_expect_failed(test, machine, LUO_STEP_REQUEST, "it", -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, machine->failure.count, 7);
	KUNIT_EXPECT_EQ(test, strlen(machine->failure.device),
			LIVEUPDATE_DEVICE_LEN - 1);
	KUNIT_EXPECT_EQ(test, strlen(machine->failure.reason),
			LIVEUPDATE_REASON_LEN - 1);
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
	struct luo_machine *next = &fixture->next;
	struct luo_kunit_participant *upper, *lower, *absent;

	absent = luo_kunit_add(test, &fixture->machine, "absent", LIVEUPDATE_LEVEL_WORKLOAD);
	upper = luo_kunit_add(test, &fixture->machine, "upper", LIVEUPDATE_LEVEL_DEVICES);
	lower = luo_kunit_add(test, &fixture->machine, "lower", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	upper = luo_kunit_add(test, next, "upper", LIVEUPDATE_LEVEL_DEVICES);
	lower = luo_kunit_add(test, next, "lower", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	seq_buf_clear(&fixture->log);

	/* Participants, in the order of finish; in the wrong state none is asked. */
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(&fixture->machine, false));
	lower->waits = true;
	for (int i = 1; i <= 2; i++) {
		KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(next, false));
		luo_kunit_expect_failed(test, next, LUO_STEP_FINISH, "lower", -EBUSY);
		luo_state_expect_details(test, next, i, "a part", "it waits");
		KUNIT_EXPECT_EQ(test, upper->asked, i);
	}
	upper->waits = true;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(next, false));
	luo_kunit_expect_failed(test, next, LUO_STEP_FINISH, "upper", -EBUSY);
	KUNIT_EXPECT_EQ(test, lower->asked, 2);
	KUNIT_EXPECT_EQ(test, absent->asked, 0);

	/* Sessions come first. */
	luo_state_a_session_waits = true;
	next->session_waits = luo_state_session_waits;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(next, false));
	luo_kunit_expect_failed(test, next, LUO_STEP_FINISH, LUO_SESSIONS, -EBUSY);
	KUNIT_EXPECT_STREQ(test, next->failure.device, "a session");
	KUNIT_EXPECT_EQ(test, upper->asked, 3);
	luo_state_a_session_waits = false;

	/* Nothing has happened. */
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, next->step, LUO_STEP_NONE);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, true));
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
