// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the live update state machine
 *
 * What luo_state.c and the walks of participants promise: which request is granted in
 * which state, in which order participants are called, what is undone when one
 * of them fails, is late, or has to withdraw what it prepared, what is said of
 * their parts (luo_parts.c), who takes part when it comes and goes at an odd
 * moment, and what becomes of handed-over data. luo_kunit.c explains the
 * machines and how a test gets from the outgoing to the incoming kernel.
 *
 * The log is full of errors while they run, because they are provoked.
 */

#include <kunit/test-bug.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "luo_kunit.h"

static const char *const luo_state_test_states[] = {
	[LIVEUPDATE_STATE_NORMAL]	= "normal",
	[LIVEUPDATE_STATE_PREPARED]	= "prepared",
	[LIVEUPDATE_STATE_FROZEN]	= "frozen",
	[LIVEUPDATE_STATE_UPDATED]	= "updated",
};

/* Requests. */

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

static int luo_state_request(struct luo_machine *machine,
			     enum luo_state_request request)
{
	switch (request) {
	case LUO_REQUEST_PREPARE:
		return luo_machine_prepare(machine);
	case LUO_REQUEST_CANCEL:
		return luo_machine_cancel(machine);
	case LUO_REQUEST_REHEARSE:
		return luo_machine_rehearse(machine);
	case LUO_REQUEST_FINISH:
		return luo_machine_finish(machine, false);
	case LUO_REQUEST_FREEZE:
		return luo_machine_freeze(machine, true);
	case LUO_REQUEST_FREEZE_DEAF:
		return luo_machine_freeze(machine, false);
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
 * @undo: callbacks that luo_machine_thaw() runs after it.
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

static void luo_state_add_pair(struct kunit *test, struct luo_machine *machine)
{
	luo_kunit_add(test, machine, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
}

/* Returns a machine in that state with the participants top and bottom. */
static struct luo_machine *luo_state_enter(struct kunit *test,
					   enum liveupdate_state state)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_state_add_pair(test, machine);
	if (state == LIVEUPDATE_STATE_NORMAL)
		return machine;

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	if (state == LIVEUPDATE_STATE_FROZEN)
		KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	if (state == LIVEUPDATE_STATE_UPDATED) {
		luo_kunit_jump(test);
		machine = &fixture->next;
		luo_state_add_pair(test, machine);
		KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	}
	KUNIT_EXPECT_EQ(test, machine->state, state);
	seq_buf_clear(&fixture->log);

	return machine;
}

/* Every request in every state: parameter 1 is the first of the first. */
static const void *luo_state_request_gen_params(struct kunit *test,
						const void *prev, char *desc)
{
	long index = (long)prev;

	if (index == ARRAY_SIZE(luo_state_test_states) * LUO_NR_REQUESTS)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s in %s",
		 luo_state_requests[index % LUO_NR_REQUESTS],
		 luo_state_test_states[index / LUO_NR_REQUESTS]);

	return (const void *)(index + 1);
}

static void luo_state_request_test(struct kunit *test)
{
	long index = (long)test->param_value - 1;
	enum luo_state_request request = index % LUO_NR_REQUESTS;
	enum liveupdate_state from = index / LUO_NR_REQUESTS;
	struct luo_state_transition want =
		luo_state_find_transition(from, request);
	struct luo_machine *machine = luo_state_enter(test, from);

	KUNIT_EXPECT_EQ(test, luo_state_request(machine, request), want.error);
	KUNIT_EXPECT_EQ(test, machine->state, want.to);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	luo_kunit_expect_log(test, want.log);

	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&machine->lock));
	if (want.undo) {
		luo_machine_thaw(machine);
		luo_kunit_expect_log(test, want.undo);
		KUNIT_EXPECT_EQ(test, machine->state, from);
	} else if (from == LIVEUPDATE_STATE_FROZEN) {
		luo_machine_thaw(machine);
	}
}

/* Counts the requests that a callback makes and that are refused. */
static void luo_state_request_hook(struct luo_kunit_participant *participant,
				   enum luo_step step)
{
	struct luo_kunit *fixture = participant->fixture;
	unsigned int *refused = participant->context;
	struct luo_machine *machine = step < LUO_STEP_RESTORE ?
		&fixture->machine : &fixture->next;

	for (int request = 0; request < LUO_NR_REQUESTS; request++)
		refused[step] += luo_state_request(machine, request) == -EBUSY;
}

static void luo_state_request_in_callback_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	unsigned int refused[LUO_KUNIT_NR_STEPS] = {};
	struct luo_kunit_participant *old, *new;

	old = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	old->hook = luo_state_request_hook;
	new->hook = luo_state_request_hook;
	old->context = refused;
	new->context = refused;

	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	for (int step = LUO_STEP_PREPARE; step <= LUO_STEP_THAW; step++)
		KUNIT_EXPECT_EQ_MSG(test, refused[step], LUO_NR_REQUESTS,
				    "%s", luo_step_name(step));
	luo_kunit_expect_log(test, " prepare:it freeze:it thaw:it cancel:it");

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, refused[LUO_STEP_RESTORE], LUO_NR_REQUESTS);
	KUNIT_EXPECT_EQ(test, refused[LUO_STEP_FINISH], LUO_NR_REQUESTS);
	luo_kunit_expect_log(test, " prepare:it freeze:it restore:it finish:it");
}

struct luo_state_blocker {
	struct completion entered;
	struct completion leave;
};

static void luo_state_block_hook(struct luo_kunit_participant *participant,
				 enum luo_step step)
{
	struct luo_state_blocker *blocker = participant->context;

	if (step != LUO_STEP_PREPARE)
		return;
	complete(&blocker->entered);
	wait_for_completion_timeout(&blocker->leave, 20 * HZ);
}

static int luo_state_prepare_thread(void *machine)
{
	return luo_machine_prepare(machine);
}

/* A participant takes its time: nobody else has to wait for it. */
static void luo_state_request_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *slow;
	struct luo_state_blocker blocker;
	struct task_struct *thread;
	char *text = NULL;

	init_completion(&blocker.entered);
	init_completion(&blocker.leave);
	slow = luo_kunit_add(test, machine, "slow", LIVEUPDATE_LEVEL_WORKLOAD);
	slow->hook = luo_state_block_hook;
	slow->context = &blocker;

	thread = kthread_create(luo_state_prepare_thread, machine,
				"luo-state-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	get_task_struct(thread);
	wake_up_process(thread);
	KUNIT_EXPECT_NE(test, 0,
			wait_for_completion_timeout(&blocker.entered, 20 * HZ));

	for (int request = 0; request < LUO_NR_REQUESTS; request++)
		KUNIT_EXPECT_EQ_MSG(test, -EBUSY,
				    luo_state_request(machine, request), "%s",
				    luo_state_requests[request]);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_PREPARE);
	KUNIT_EXPECT_STREQ(test, machine->name, "slow");
	KUNIT_EXPECT_PTR_EQ(test, machine->task, thread);
	luo_kunit_add(test, machine, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_EXPECT_GT(test, luo_subsystems_show(machine, &text), 0);
	kvfree(text);

	complete(&blocker.leave);
	KUNIT_EXPECT_EQ(test, 0, kthread_stop_put(thread));
	/* It was prepared without the one that came meanwhile. */
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	KUNIT_EXPECT_STREQ(test, machine->name, "");
	KUNIT_EXPECT_PTR_EQ(test, machine->task, NULL);
	luo_kunit_expect_log(test, " prepare:slow cancel:slow");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "late", -EAGAIN);
}

/* One hibernation through /dev/snapshot, and a suspend that comes and goes. */
static void luo_state_sleeping_test(struct kunit *test)
{
	struct luo_machine *machine = luo_state_enter(test,
						      LIVEUPDATE_STATE_NORMAL);

	machine->sleeping = 2;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_prepare(machine));
	machine->sleeping--;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, "");
	machine->sleeping--;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
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
	struct luo_machine *machine = luo_state_enter(test, param->from);

	mutex_lock(&system_transition_mutex);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_state_request(machine, param->request));
	mutex_unlock(&system_transition_mutex);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, machine->state, param->from);
	KUNIT_EXPECT_EQ(test, 0, luo_state_request(machine, param->request));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&system_transition_mutex));
}

/* A reboot that does not take that mutex says so. */
static void luo_state_going_down_test(struct kunit *test)
{
	const struct luo_state_blocked *param = test->param_value;
	struct luo_machine *machine = luo_state_enter(test, param->from);

	machine->going_down = true;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_state_request(machine, param->request));
	machine->going_down = false;
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, machine->state, param->from);
	KUNIT_EXPECT_EQ(test, 0, luo_state_request(machine, param->request));
}

static void luo_state_go_down(struct luo_kunit_participant *participant,
			      enum luo_step step)
{
	struct luo_machine *machine = participant->context;

	if (step == LUO_STEP_PREPARE || step == LUO_STEP_FREEZE)
		machine->going_down = true;
}

/* What is under way then is undone, and nothing else begins. */
static void luo_state_going_down_meanwhile_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *first =
		luo_kunit_add(test, machine, "first", LIVEUPDATE_LEVEL_IRQ);

	luo_kunit_add(test, machine, "second", LIVEUPDATE_LEVEL_IRQ);
	first->context = machine;
	first->hook = luo_state_go_down;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:first cancel:first");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "", -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);

	machine->going_down = false;
	first->hook = NULL;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:first prepare:second");
	first->hook = luo_state_go_down;
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " freeze:first thaw:first");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "", -ESHUTDOWN);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	machine->going_down = false;
	first->hook = NULL;
}

static void luo_state_announce(struct luo_machine *machine,
			       enum liveupdate_state state)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " =%s", luo_state_test_states[state]);
}

/* A listener that makes the next request before the change is announced to others. */
static void luo_state_announce_cancel(struct luo_machine *machine,
				      enum liveupdate_state state)
{
	if (state == LIVEUPDATE_STATE_PREPARED)
		KUNIT_EXPECT_EQ(kunit_get_current_test(), 0,
				luo_machine_cancel(machine));
	luo_state_announce(machine, state);
}

/* Each state is announced once, also if it is another one by then. */
static void luo_state_announce_late_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	fixture->machine.announce = luo_state_announce_cancel;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_expect_log(test, " =normal =prepared");
}

/* Announced is every change, after the callbacks, and nothing else. */
static void luo_state_announce_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);

	machine->announce = luo_state_announce;
	fixture->next.announce = luo_state_announce;

	it->error[LUO_STEP_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it");
	it->error[LUO_STEP_PREPARE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it =prepared");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " freeze:it thaw:it");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_log(test, " cancel:it =normal");

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_machine_thaw(machine);
	luo_kunit_expect_log(test, " prepare:it =prepared freeze:it =frozen thaw:it =prepared");

	luo_kunit_jump(test);
	luo_kunit_expect_log(test, " freeze:it =frozen");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " =updated");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(&fixture->next, true));
	luo_machine_thaw(&fixture->next);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " =normal");
}

/* Order. */

#define LUO_STATE_NR	11

/* Levels in order of registration, and the order in which that is walked. */
static const enum liveupdate_level luo_state_levels[LUO_STATE_NR] = {
	LIVEUPDATE_LEVEL_MEMORY,	LIVEUPDATE_LEVEL_WORKLOAD,
	LIVEUPDATE_LEVEL_IRQ,		LIVEUPDATE_LEVEL_DEVICES,
	LIVEUPDATE_LEVEL_IOMMU,		LIVEUPDATE_LEVEL_WORKLOAD,
	LIVEUPDATE_LEVEL_MEMORY,	LIVEUPDATE_LEVEL_IRQ,
	LIVEUPDATE_LEVEL_DEVICES,	LIVEUPDATE_LEVEL_IOMMU,
	LIVEUPDATE_LEVEL_WORKLOAD,
};

static const u8 luo_state_walk[LUO_STATE_NR] = {
	1, 5, 10, 3, 8, 2, 7, 4, 9, 0, 6
};

/**
 * struct luo_state_set - participants on all levels
 * @count: their number.
 * @walk: in the order in which they are to be walked down the levels.
 */
struct luo_state_set {
	unsigned int count;
	struct luo_kunit_participant *walk[LUO_STATE_NR];
};

/* Registers the first @count of them. */
static void luo_state_scramble(struct kunit *test, struct luo_machine *machine,
			       struct luo_state_set *set, unsigned int count)
{
	struct luo_kunit_participant *participants[LUO_STATE_NR];
	char name[8];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		participants[i] = luo_kunit_add(test, machine, name,
						luo_state_levels[i]);
	}
	set->count = 0;
	for (int i = 0; i < LUO_STATE_NR; i++) {
		if (luo_state_walk[i] < count)
			set->walk[set->count++] =
				participants[luo_state_walk[i]];
	}
}

/* Wants @step for the first @count, walking down the levels. */
static void luo_state_want_down(struct kunit *test, struct luo_state_set *set,
				enum luo_step step, unsigned int count)
{
	for (int i = 0; i < count; i++)
		luo_kunit_want(test, step, set->walk[i]->desc.name);
}

/* Wants @step for the first @count, walking up the levels. */
static void luo_state_want_up(struct kunit *test, struct luo_state_set *set,
			      enum luo_step step, unsigned int count)
{
	while (count--)
		luo_kunit_want(test, step, set->walk[count]->desc.name);
}

static void luo_state_order_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_state_set old, new;

	luo_state_scramble(test, machine, &old, LUO_STATE_NR);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_want_down(test, &old, LUO_STEP_PREPARE, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_state_want_down(test, &old, LUO_STEP_FREEZE, LUO_STATE_NR);
	luo_state_want_up(test, &old, LUO_STEP_THAW, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_state_want_up(test, &old, LUO_STEP_CANCEL, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);

	/* A new round is like the first one. */
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	luo_state_want_down(test, &old, LUO_STEP_PREPARE, LUO_STATE_NR);
	luo_state_want_down(test, &old, LUO_STEP_FREEZE, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);

	luo_state_scramble(test, &fixture->next, &new, LUO_STATE_NR);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_state_want_up(test, &new, LUO_STEP_RESTORE, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	luo_state_want_down(test, &new, LUO_STEP_FINISH, LUO_STATE_NR);
	luo_kunit_expect_wanted(test);
}

/* Inside a level the table decides, not the registration in this kernel. */
static void luo_state_restore_order_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_kunit_add(test, machine, "a", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "c", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "rising", LIVEUPDATE_LEVEL_IOMMU);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:a prepare:b prepare:c prepare:rising");
	luo_kunit_jump(test);
	luo_kunit_expect_log(test, " freeze:a freeze:b freeze:c freeze:rising");

	machine = &fixture->next;
	luo_kunit_add(test, machine, "rising", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_add(test, machine, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "c", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "a", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:c restore:b restore:a restore:rising");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	luo_kunit_expect_log(test, " finish:rising finish:a finish:b finish:c");
}

/* Only restore has to be there for data to be taken over. */
static void luo_state_missing_callbacks_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *old, *new;

	old = luo_kunit_add(test, machine, "bare", LIVEUPDATE_LEVEL_IRQ);
	old->ops = (struct liveupdate_subsystem_ops){};
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);

	new = luo_kunit_add(test, &fixture->next, "bare", LIVEUPDATE_LEVEL_IRQ);
	new->ops = (struct liveupdate_subsystem_ops){};
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, &fixture->next, LUO_STEP_RESTORE, "bare",
				-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	luo_kunit_expect_log(test, "");
}

/* Failure. */

struct luo_state_failure {
	unsigned int count;
	unsigned int index;
};

static const struct luo_state_failure luo_state_failures[] = {
	{ 1, 0 },
	{ 2, 0 }, { 2, 1 },
	{ 3, 0 }, { 3, 1 }, { 3, 2 },
	{ 11, 0 }, { 11, 1 }, { 11, 2 }, { 11, 3 }, { 11, 4 }, { 11, 5 },
	{ 11, 6 }, { 11, 7 }, { 11, 8 }, { 11, 9 }, { 11, 10 },
};

static void luo_state_failure_desc(const struct luo_state_failure *failure,
				   char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "callback %u of %u",
		 failure->index + 1, failure->count);
}

KUNIT_ARRAY_PARAM(luo_state_failure, luo_state_failures, luo_state_failure_desc);

static void luo_state_expect_unprepared(struct kunit *test,
					struct luo_machine *machine,
					struct luo_state_set *set)
{
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	KUNIT_EXPECT_NULL(test, machine->table.head);
	KUNIT_EXPECT_TRUE(test, list_empty(&machine->enlisted));
	for (int i = 0; i < set->count; i++) {
		const struct liveupdate_subsystem *subsystem =
			&set->walk[i]->subsystem;

		KUNIT_EXPECT_EQ(test, subsystem->phase, LUO_PHASE_IDLE);
		KUNIT_EXPECT_EQ(test, subsystem->data.value, 0);
		KUNIT_EXPECT_EQ(test, subsystem->data.size, 0);
	}
}

static void luo_state_prepare_fails_test(struct kunit *test)
{
	const struct luo_state_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_state_set set;

	luo_state_scramble(test, machine, &set, failure->count);
	for (int i = 0; i < set.count; i++)
		set.walk[i]->offer.size = 100;
	culprit = set.walk[failure->index];
	culprit->error[LUO_STEP_PREPARE] = -EUCLEAN;

	KUNIT_EXPECT_EQ(test, -EUCLEAN, luo_machine_prepare(machine));
	luo_state_want_down(test, &set, LUO_STEP_PREPARE, failure->index + 1);
	luo_state_want_up(test, &set, LUO_STEP_CANCEL, failure->index);
	luo_kunit_expect_wanted(test);
	luo_state_expect_unprepared(test, machine, &set);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE,
				culprit->desc.name, -EUCLEAN);

	culprit->error[LUO_STEP_PREPARE] = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	luo_kunit_expect_wanted(test);
}

static int luo_state_sessions_error;

static int luo_state_freeze_sessions(void)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " sessions");

	return luo_state_sessions_error;
}

static int luo_state_slow_sessions(void)
{
	msleep(60);

	return luo_state_freeze_sessions();
}

static void luo_state_thaw_sessions(void)
{
	struct luo_kunit *fixture = kunit_get_current_test()->priv;

	seq_buf_printf(&fixture->log, " no-sessions");
}

static struct luo_machine *luo_state_with_sessions(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_state_sessions_error = 0;
	machine->freeze_sessions = luo_state_freeze_sessions;
	machine->thaw_sessions = luo_state_thaw_sessions;

	return machine;
}

/* For the jump files of sessions are frozen first, and thawed last; in every state. */
static void luo_state_sessions_test(struct kunit *test)
{
	struct luo_machine *machine = luo_state_with_sessions(test);
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(machine, false));
	luo_kunit_expect_log(test, " sessions");
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	luo_machine_thaw(machine);
	luo_kunit_expect_log(test, " no-sessions");
	luo_machine_thaw(machine);
	luo_kunit_expect_log(test, "");

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " freeze:it thaw:it");
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_machine_freeze(machine, false));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " sessions freeze:it");
	luo_machine_thaw(machine);
	luo_kunit_expect_log(test, " thaw:it no-sessions");

	it->error[LUO_STEP_FREEZE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " sessions freeze:it no-sessions");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, "it", -EIO);
}

/* Nobody else is frozen if that fails. */
static void luo_state_sessions_fail_test(struct kunit *test)
{
	struct luo_machine *machine = luo_state_with_sessions(test);

	luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_state_sessions_error = -ENOSPC;
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " sessions");
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it");
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " sessions");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, LUO_SESSIONS,
				-ENOSPC);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);

	/* They take too long. */
	luo_state_sessions_error = 0;
	machine->freeze_timeout_ms = 1;
	machine->freeze_sessions = luo_state_slow_sessions;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_freeze(machine, true));
	luo_kunit_expect_log(test, " sessions no-sessions");
	luo_kunit_expect_failed(test, machine, LUO_STEP_FREEZE, LUO_SESSIONS,
				-ETIMEDOUT);
	machine->freeze_timeout_ms = 0;
}

static void luo_state_freeze_fails_test(struct kunit *test)
{
	const struct luo_state_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_state_set set;

	luo_state_scramble(test, machine, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->error[LUO_STEP_FREEZE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	luo_kunit_expect_wanted(test);

	for (int rehearse = 0; rehearse < 2; rehearse++) {
		KUNIT_EXPECT_EQ(test, -EUCLEAN, rehearse ?
				luo_machine_rehearse(machine) :
				luo_machine_freeze(machine, true));
		luo_state_want_down(test, &set, LUO_STEP_FREEZE,
				    failure->index + 1);
		luo_state_want_up(test, &set, LUO_STEP_THAW, failure->index);
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
	luo_state_want_down(test, &set, LUO_STEP_FREEZE, set.count);
	luo_state_want_up(test, &set, LUO_STEP_THAW, set.count);
	luo_kunit_expect_wanted(test);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_state_want_up(test, &set, LUO_STEP_CANCEL, set.count);
	luo_kunit_expect_wanted(test);
}

/* The others restore, and only who restored is finished. */
static void luo_state_restore_fails_test(struct kunit *test)
{
	const struct luo_state_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *culprit;
	struct luo_state_set old, new;

	luo_state_scramble(test, &fixture->machine, &old, failure->count);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	luo_state_scramble(test, &fixture->next, &new, failure->count);
	culprit = new.walk[failure->index];
	culprit->error[LUO_STEP_RESTORE] = -EUCLEAN;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_state_want_up(test, &new, LUO_STEP_RESTORE, new.count);
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
	luo_state_expect_unprepared(test, &fixture->next, &new);
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

static bool luo_state_session_waits(char *name, size_t size)
{
	strscpy(name, "a session", size);

	return luo_state_sessions_error;
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
	luo_state_sessions_error = -EBUSY;
	next->session_waits = luo_state_session_waits;
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_finish(next, false));
	luo_kunit_expect_failed(test, next, LUO_STEP_FINISH, LUO_SESSIONS, -EBUSY);
	KUNIT_EXPECT_STREQ(test, next->failure.device, "a session");
	KUNIT_EXPECT_EQ(test, upper->asked, 3);
	luo_state_sessions_error = 0;

	/* Nothing has happened. */
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, next->step, LUO_STEP_NONE);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, true));
	luo_kunit_expect_log(test, " finish:upper finish:lower");
	KUNIT_EXPECT_EQ(test, upper->asked, 3);
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_NORMAL);
}

/* Deadlines. */

#define LUO_STATE_TIMEOUT_MS	400

static void luo_state_sleep_hook(struct luo_kunit_participant *participant,
				 enum luo_step step)
{
	if (step == (uintptr_t)participant->context)
		msleep(2 * LUO_STATE_TIMEOUT_MS);
}

static void luo_state_limit(struct luo_machine *machine, u32 timeout_ms)
{
	machine->prepare_timeout_ms = timeout_ms;
	machine->freeze_timeout_ms = timeout_ms;
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
	luo_state_limit(machine, LUO_STATE_TIMEOUT_MS);

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

	luo_state_limit(machine, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
}

/* Makes the participant late without waiting. */
static void luo_state_late_hook(struct luo_kunit_participant *participant,
				enum luo_step step)
{
	if (step == (uintptr_t)participant->context)
		participant->fixture->machine.deadline = jiffies - 1;
}

static void luo_state_timeout_index_test(struct kunit *test)
{
	const struct luo_state_failure *failure = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *culprit;
	struct luo_state_set set;

	luo_state_scramble(test, machine, &set, failure->count);
	culprit = set.walk[failure->index];
	culprit->hook = luo_state_late_hook;
	luo_state_limit(machine, 60 * MSEC_PER_SEC);

	culprit->context = (void *)LUO_STEP_PREPARE;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_prepare(machine));
	luo_state_want_down(test, &set, LUO_STEP_PREPARE, failure->index + 1);
	luo_state_want_up(test, &set, LUO_STEP_CANCEL, failure->index + 1);
	luo_kunit_expect_wanted(test);
	luo_state_expect_unprepared(test, machine, &set);
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE,
				culprit->desc.name, -ETIMEDOUT);

	culprit->context = (void *)LUO_STEP_FREEZE;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_want_down(test, &set, LUO_STEP_PREPARE, set.count);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, luo_machine_rehearse(machine));
	luo_state_want_down(test, &set, LUO_STEP_FREEZE, failure->index + 1);
	luo_state_want_up(test, &set, LUO_STEP_THAW, failure->index + 1);
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

	it->hook = luo_state_late_hook;
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
	it->hook = luo_state_late_hook;
	luo_state_limit(machine, 60 * MSEC_PER_SEC);

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
	struct luo_state_set set;

	luo_state_scramble(test, machine, &set, 3);
	for (int i = 0; i < set.count; i++) {
		set.walk[i]->hook = luo_state_watch_hook;
		set.walk[i]->context = &watch;
	}

	luo_state_limit(machine, 60 * MSEC_PER_SEC);
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
	luo_state_limit(machine, 0);
	machine->deadline = jiffies - 1;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, watch.pending, 0);
}

/* Parts. */

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

	luo_state_limit(machine, 60 * MSEC_PER_SEC);
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

	luo_state_limit(machine, 60 * MSEC_PER_SEC);
	late->hook = luo_state_late_hook;
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

	luo_state_limit(machine, 60 * MSEC_PER_SEC);
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

	luo_state_limit(machine, 60 * MSEC_PER_SEC);
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

/* What has become void. */

static void luo_state_log_announce(struct luo_machine *machine,
				   enum liveupdate_state state)
{
	struct luo_kunit *fixture = container_of(machine, struct luo_kunit,
						 machine);

	seq_buf_printf(&fixture->log, " =%s", luo_state_test_states[state]);
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
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
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

/* Coming and going. */

static void luo_state_expect_enlisted(struct kunit *test,
				      struct luo_machine *machine, size_t count)
{
	KUNIT_EXPECT_EQ(test, list_count_nodes(&machine->enlisted), count);
}

static void luo_state_register_prepared_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_kunit_add(test, machine, "early", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_add(test, machine, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_NORMAL);
	luo_kunit_expect_log(test, " prepare:early cancel:early");
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "late", -EAGAIN);

	/* Who registers in normal hits no later preparation. */
	luo_kunit_add(test, machine, "calm", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	flush_delayed_work(&machine->invalidate);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	luo_state_expect_enlisted(test, machine, 3);
	luo_kunit_expect_log(test, " prepare:early prepare:late prepare:calm");
}

static void luo_state_register_updated_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *late, *broken, *again;

	luo_kunit_add(test, machine, "late", LIVEUPDATE_LEVEL_WORKLOAD)->offer.value = 77;
	luo_kunit_add(test, machine, "broken", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_add(test, machine, "never", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	machine = &fixture->next;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");

	late = luo_kunit_add(test, machine, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, " restore:late");
	KUNIT_EXPECT_EQ(test, late->received.value, 77);
	KUNIT_EXPECT_EQ(test, late->received.size, 0);
	KUNIT_EXPECT_EQ(test, late->subsystem.phase, LUO_PHASE_RESTORED);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");

	/* That restoring fails is no reason to refuse the registration. */
	broken = luo_kunit_new(test, "broken", LIVEUPDATE_LEVEL_WORKLOAD);
	broken->error[LUO_STEP_RESTORE] = -ENOLINK;
	KUNIT_EXPECT_EQ(test, 0,
			luo_subsystem_add(machine, &broken->subsystem));
	luo_kunit_expect_log(test, " restore:broken");
	luo_kunit_expect_failed(test, machine, LUO_STEP_RESTORE, "broken",
				-ENOLINK);

	/* Its restore is called once. */
	luo_subsystem_remove(machine, &broken->subsystem);
	again = luo_kunit_add(test, machine, "broken",
			      LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, again->subsystem.phase, LUO_PHASE_IDLE);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	luo_kunit_expect_log(test, " finish:late");
	luo_kunit_add(test, machine, "never", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
}

static int luo_state_add_thread(void *data)
{
	struct luo_kunit_participant *it = data;
	int err = luo_subsystem_add(&it->fixture->next, &it->subsystem);

	complete(it->context);

	return err;
}

/* The second half of RESTORE: same order, and who fails has nothing. */
static void luo_state_restore_late_test(struct kunit *test)
{
	static const char *const names[] = { "top", "plain", "failing", "broken" };
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;
	struct luo_kunit_participant *new[ARRAY_SIZE(names)], *module;

	for (int i = 0; i < ARRAY_SIZE(names); i++) {
		struct luo_kunit_participant *old =
			luo_kunit_new(test, names[i], i);

		old->desc.class = LIVEUPDATE_MANDATORY;
		old->offer.size = 100;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->machine,
							   &old->subsystem));
		new[i] = luo_kunit_new(test, names[i], i);
		if (i != 1)
			new[i]->ops.restore_late = new[i]->ops.restore;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(next, &new[i]->subsystem));
	}
	luo_kunit_add(test, &fixture->machine, "module", LIVEUPDATE_LEVEL_WORKLOAD);
	new[3]->error[LUO_STEP_RESTORE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:broken restore:failing restore:plain restore:top");
	luo_kunit_expect_retained(test, next, "broken");

	new[2]->error[LUO_STEP_RESTORE] = -ENOLINK;
	new[0]->claims = true;
	luo_machine_restore_late(next);
	luo_kunit_expect_log(test, " restore:failing restore:top");
	luo_kunit_expect_failed(test, next, LUO_STEP_RESTORE, "failing", -ENOLINK);
	luo_kunit_expect_retained(test, next, "broken failing");
	KUNIT_EXPECT_EQ(test, new[2]->subsystem.phase, LUO_PHASE_IDLE);
	KUNIT_EXPECT_EQ(test, new[0]->subsystem.phase, LUO_PHASE_RESTORED);
	KUNIT_EXPECT_NOT_NULL(test, new[0]->claimed);

	/* A module does both at once. */
	module = luo_kunit_new(test, "module", LIVEUPDATE_LEVEL_WORKLOAD);
	module->ops.restore_late = module->ops.restore;
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(next, &module->subsystem));
	luo_kunit_expect_log(test, " restore:module restore:module");

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, false));
	luo_kunit_expect_log(test, " finish:top finish:module finish:plain");
	luo_kunit_expect_retained(test, next, "broken failing plain");
}

/* Registering waits for no transition: it may be that what it waits for holds it up. */
static void luo_state_register_busy_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;
	DECLARE_COMPLETION_ONSTACK(done);
	struct luo_kunit_participant *late;
	struct task_struct *thread;

	luo_kunit_add(test, &fixture->machine, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));

	late = luo_kunit_new(test, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	late->context = &done;
	thread = kthread_create(luo_state_add_thread, late, "luo-kunit-add");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	get_task_struct(thread);
	scoped_guard(mutex, &next->lock) {
		wake_up_process(thread);
		KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&done, 5 * HZ));
		luo_kunit_expect_log(test, "");
	}
	KUNIT_EXPECT_EQ(test, 0, kthread_stop_put(thread));
	flush_work(&next->late);
	luo_kunit_expect_log(test, " restore:late");
	KUNIT_EXPECT_EQ(test, late->subsystem.phase, LUO_PHASE_RESTORED);
}

/* Who cannot read the record leaves it to one who can. */
static void luo_state_register_reader_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;

	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 2;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	machine = &fixture->next;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
	luo_kunit_expect_failed(test, machine, LUO_STEP_RESTORE, "it",
				-EPROTONOSUPPORT);
	luo_subsystem_remove(machine, &it->subsystem);

	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 2;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	luo_kunit_expect_log(test, " restore:it");
}

static void luo_state_register_twice_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *first, *second;

	first = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	second = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, -EEXIST,
			luo_subsystem_add(machine, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_ASSERT_EQ(test, -EEXIST,
			luo_subsystem_add(machine, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_log(test, " prepare:it cancel:it");

	luo_subsystem_remove(machine, &first->subsystem);
	KUNIT_EXPECT_EQ(test, 0,
			luo_subsystem_add(machine, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_expect_log(test, " prepare:it");
}

/**
 * struct luo_state_desc - a description
 * @what: what is special about it.
 * @desc: the description.
 * @error: what registering it returns.
 */
struct luo_state_desc {
	const char *what;
	struct liveupdate_subsystem_desc desc;
	int error;
};

#define LUO_STATE_DESC(_what, _error, _name, _version, _oldest, _level, _class) \
	{								\
		.what = _what,						\
		.desc = {						\
			.name = _name,					\
			.version = _version,				\
			.oldest = _oldest,				\
			.level = _level,				\
			.class = _class,				\
		},							\
		.error = _error,					\
	}

static const struct luo_state_desc luo_state_descs[] = {
	LUO_STATE_DESC("lowest", 0, "a", 1, 1, 0, 0),
	LUO_STATE_DESC("highest", 0, "123456789012345678901234567890123456789_1234567",
		       U32_MAX, U32_MAX, LIVEUPDATE_LEVEL_MEMORY,
		       LIVEUPDATE_MANDATORY),
	LUO_STATE_DESC("all printable characters", 0, "!~#/-_.:%\"\\", 1, 1, 0, 0),
	LUO_STATE_DESC("no name", -EINVAL, "", 1, 1, 0, 0),
	LUO_STATE_DESC("garbage behind the name", -EINVAL, "a\0b", 1, 1, 0, 0),
	LUO_STATE_DESC("space in name", -EINVAL, "a b", 1, 1, 0, 0),
	LUO_STATE_DESC("tab in name", -EINVAL, "a\tb", 1, 1, 0, 0),
	LUO_STATE_DESC("newline in name", -EINVAL, "a\n", 1, 1, 0, 0),
	LUO_STATE_DESC("bell in name", -EINVAL, "\aa", 1, 1, 0, 0),
	LUO_STATE_DESC("delete in name", -EINVAL, "a\x7f", 1, 1, 0, 0),
	LUO_STATE_DESC("not ASCII", -EINVAL, "a\xe9", 1, 1, 0, 0),
	LUO_STATE_DESC("version 0", -EINVAL, "a", 0, 0, 0, 0),
	LUO_STATE_DESC("oldest 0", -EINVAL, "a", 1, 0, 0, 0),
	LUO_STATE_DESC("oldest above version", -EINVAL, "a", 1, 2, 0, 0),
	LUO_STATE_DESC("level out of range", -EINVAL, "a", 1, 1,
		       LIVEUPDATE_NR_LEVELS, 0),
	LUO_STATE_DESC("level far out of range", -EINVAL, "a", 1, 1, U32_MAX, 0),
	LUO_STATE_DESC("class out of range", -EINVAL, "a", 1, 1, 0,
		       LIVEUPDATE_MANDATORY + 1),
};

KUNIT_ARRAY_PARAM_DESC(luo_state_desc, luo_state_descs, what);

static void luo_state_register_desc_test(struct kunit *test)
{
	const struct luo_state_desc *param = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	it->desc = param->desc;
	KUNIT_EXPECT_EQ(test, param->error,
			luo_subsystem_add(machine, &it->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_expect_enlisted(test, machine, param->error ? 0 : 1);
}

static void luo_state_register_malformed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *it =
		luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	it->subsystem.ops = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_subsystem_add(&fixture->machine,
							 &it->subsystem));
	it->subsystem.ops = &it->ops;
	memset(it->desc.name, 'x', sizeof(it->desc.name));
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_subsystem_add(&fixture->machine,
							 &it->subsystem));
}

static void luo_state_unregister_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it =
		luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);

	luo_subsystem_remove(machine, &it->subsystem);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_expect_enlisted(test, machine, 0);
	luo_kunit_expect_log(test, "");

	/* It came late, so there is nothing to cancel. */
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	luo_subsystem_remove(machine, &it->subsystem);
	luo_kunit_expect_log(test, "");

	/* It is gone already, or was never there. */
	luo_subsystem_remove(machine, &it->subsystem);
	it = luo_kunit_new(test, "stranger", LIVEUPDATE_LEVEL_IRQ);
	luo_subsystem_remove(machine, &it->subsystem);
	luo_kunit_expect_log(test, "");
}

static void luo_state_unregister_prepared_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *leaver;

	luo_kunit_add(test, machine, "first", LIVEUPDATE_LEVEL_IRQ);
	leaver = luo_kunit_add(test, machine, "leaver", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, machine, "last", LIVEUPDATE_LEVEL_IRQ);
	leaver->offer.size = PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_expect_enlisted(test, machine, 3);
	seq_buf_clear(&fixture->log);

	luo_subsystem_remove(machine, &leaver->subsystem);
	luo_kunit_expect_log(test, " cancel:leaver");
	KUNIT_EXPECT_EQ(test, leaver->subsystem.data.size, 0);
	KUNIT_EXPECT_EQ(test, leaver->subsystem.phase, LUO_PHASE_IDLE);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	luo_state_expect_enlisted(test, machine, 2);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_kunit_expect_log(test, " freeze:first freeze:last thaw:last thaw:first");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_log(test, " cancel:last cancel:first");
}

/* Between FREEZE and the jump; what is handed over must still be readable. */
static void luo_state_unregister_frozen_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *leaver;

	luo_kunit_add(test, machine, "first", LIVEUPDATE_LEVEL_IRQ);
	leaver = luo_kunit_add(test, machine, "leaver", LIVEUPDATE_LEVEL_IRQ);
	leaver->offer.size = 1;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	seq_buf_clear(&fixture->log);

	luo_subsystem_remove(machine, &leaver->subsystem);
	luo_kunit_expect_log(test, " thaw:leaver cancel:leaver");
	KUNIT_EXPECT_EQ(test, leaver->subsystem.data.size, 0);
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_FROZEN);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	KUNIT_EXPECT_EQ(test, machine->table.nr_records, 1);
	KUNIT_EXPECT_TRUE(test, machine->table.head->flags & KHO_TABLE_SEALED);
	luo_machine_thaw(machine);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_log(test, " thaw:first cancel:first");
}

static void luo_state_unregister_restored_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *leaver;
	phys_addr_t blob;

	luo_kunit_add(test, machine, "leaver", LIVEUPDATE_LEVEL_IRQ)->offer.size = 1;
	luo_kunit_add(test, machine, "stays", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	machine = &fixture->next;
	leaver = luo_kunit_add(test, machine, "leaver", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, machine, "stays", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:stays restore:leaver");
	blob = leaver->received.value;

	luo_subsystem_remove(machine, &leaver->subsystem);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, machine->step, LUO_STEP_NONE);
	KUNIT_EXPECT_TRUE(test, kho_kunit_is_reserved(&fixture->kho, blob));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	luo_kunit_expect_log(test, " finish:stays");
	KUNIT_EXPECT_FALSE(test, kho_kunit_is_reserved(&fixture->kho, blob));
}

#if IS_ENABLED(CONFIG_MODULE_UNLOAD)
static struct module *luo_state_module(struct kunit *test)
{
	struct module *module = kunit_kzalloc(test, sizeof(*module), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, module);
	module->state = MODULE_STATE_LIVE;
	atomic_set(&module->refcnt, 1);

	return module;
}

/* Pinned from prepare until cancel, and from restore until finish. */
static void luo_state_module_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct module *old = luo_state_module(test);
	struct module *new = luo_state_module(test);
	struct module *broken = luo_state_module(test);
	struct luo_kunit_participant *it;

	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = old;
	luo_kunit_add(test, machine, "broken", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);

	it->error[LUO_STEP_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);
	it->error[LUO_STEP_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);

	machine = &fixture->next;
	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = new;
	it = luo_kunit_add(test, machine, "broken", LIVEUPDATE_LEVEL_IRQ);
	it->ops.owner = broken;
	it->error[LUO_STEP_RESTORE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, module_refcount(new), 1);
	KUNIT_EXPECT_EQ(test, module_refcount(broken), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	KUNIT_EXPECT_EQ(test, module_refcount(new), 0);
}

/* A module on its way out is not called. */
static void luo_state_module_leaving_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;

	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = luo_state_module(test);
	luo_kunit_add(test, machine, "other", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner->state = MODULE_STATE_GOING;
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	luo_state_expect_enlisted(test, machine, 1);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	luo_kunit_expect_log(test, " prepare:other cancel:other");

	it->ops.owner->state = MODULE_STATE_LIVE;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	machine = &fixture->next;
	it = luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = luo_state_module(test);
	it->ops.owner->state = MODULE_STATE_GOING;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, machine, LUO_STEP_RESTORE, "it", -ENODEV);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	luo_kunit_expect_log(test, "");
}
#else
static void luo_state_module_test(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MODULE_UNLOAD");
}

static void luo_state_module_leaving_test(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MODULE_UNLOAD");
}
#endif

/* In the next kernel. */

/**
 * struct luo_state_version - versions of data and of its reader
 * @written: version of the record.
 * @oldest: oldest version the participant reads.
 * @version: its own version.
 * @readable: what is to come of it.
 */
struct luo_state_version {
	u32 written;
	u32 oldest;
	u32 version;
	bool readable;
};

static const struct luo_state_version luo_state_versions[] = {
	{ 1, 1, 1, true },
	{ 1, 1, 3, true },
	{ 2, 1, 3, true },
	{ 3, 1, 3, true },
	{ 3, 3, 3, true },
	{ U32_MAX, 1, U32_MAX, true },
	{ 2, 1, 1, false },
	{ 1, 2, 2, false },
	{ 1, 2, 3, false },
	{ 4, 2, 3, false },
	{ U32_MAX, 1, U32_MAX - 1, false },
};

static void luo_state_version_desc(const struct luo_state_version *version,
				   char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u by [%u, %u]",
		 version->written, version->oldest, version->version);
}

KUNIT_ARRAY_PARAM(luo_state_version, luo_state_versions, luo_state_version_desc);

static void luo_state_version_test(struct kunit *test)
{
	const struct luo_state_version *param = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;

	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_IRQ);
	it->desc.version = param->written;
	it->offer.size = 10;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	luo_kunit_add(test, machine, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);

	machine = &fixture->next;
	luo_kunit_add(test, machine, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_IRQ);
	it->desc.version = param->version;
	it->desc.oldest = param->oldest;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	luo_kunit_add(test, machine, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, machine->state, LIVEUPDATE_STATE_UPDATED);

	if (param->readable) {
		luo_kunit_expect_log(test, " restore:bottom restore:it restore:top");
		luo_kunit_expect_failed(test, machine, LUO_STEP_NONE, "", 0);
	} else {
		luo_kunit_expect_log(test, " restore:bottom restore:top");
		luo_kunit_expect_failed(test, machine, LUO_STEP_RESTORE, "it",
					-EPROTONOSUPPORT);
	}

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(machine, false));
	luo_kunit_expect_log(test, param->readable ?
			     " finish:top finish:it finish:bottom" :
			     " finish:top finish:bottom");
	/* Restored but not claimed is freed like what nobody restored. */
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/**
 * struct luo_state_fate - what becomes of a blob
 * @name: name of the participant.
 * @class: class of the participant.
 * @registered: it is there in the next kernel.
 * @error: what its restore returns.
 * @claims: its restore claims the blob.
 * @kept: the blob stays reserved after finish.
 */
struct luo_state_fate {
	const char *name;
	u32 class;
	bool registered;
	int error;
	bool claims;
	bool kept;
};

static const struct luo_state_fate luo_state_fates[] = {
	{ "claimed", LIVEUPDATE_OPTIONAL, true, 0, true, false },
	{ "claimed-mandatory", LIVEUPDATE_MANDATORY, true, 0, true, false },
	{ "restored", LIVEUPDATE_OPTIONAL, true, 0, false, false },
	{ "restored-mandatory", LIVEUPDATE_MANDATORY, true, 0, false, true },
	{ "failing", LIVEUPDATE_OPTIONAL, true, -EIO, false, false },
	{ "failing-mandatory", LIVEUPDATE_MANDATORY, true, -EIO, false, true },
	{ "absent", LIVEUPDATE_OPTIONAL, false, 0, false, false },
	{ "absent-mandatory", LIVEUPDATE_MANDATORY, false, 0, false, true },
};

/* How the participant of a record that nobody restores looks, and who frees what. */
static const struct luo_state_disposal {
	const char *name;
	u32 class, oldest;
	int error;
} luo_state_disposals[] = {
	{ "optional", LIVEUPDATE_OPTIONAL, 1, -EIO },
	{ "mandatory", LIVEUPDATE_MANDATORY, 1, -EIO },
	{ "other-version", LIVEUPDATE_OPTIONAL, 2, 0 },
	{ "restored", LIVEUPDATE_OPTIONAL, 1, 0 },
};

/* The blob is still there, and what it leads to is for the participant to free. */
static void luo_state_dispose(struct liveupdate_subsystem *subsystem,
			      const struct liveupdate_data *data)
{
	struct luo_kunit_participant *it =
		container_of(subsystem, struct luo_kunit_participant, subsystem);

	if (kho_kunit_is_reserved(&it->fixture->kho, data->value))
		seq_buf_printf(&it->fixture->log, " dispose:%s %llu",
			       it->desc.name, data->size);
}

/* Whoever can read what nobody wants is asked to free what it leads to. */
static void luo_state_dispose_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *it;

	for (int i = 0; i < ARRAY_SIZE(luo_state_disposals); i++) {
		const struct luo_state_disposal *disposal = &luo_state_disposals[i];

		it = luo_kunit_add(test, &fixture->machine, disposal->name,
				   LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = disposal->class;
		it->offer.size = 100 + i;
		it = luo_kunit_new(test, disposal->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.oldest = disposal->oldest;
		it->desc.version = 2;
		it->error[LUO_STEP_RESTORE] = disposal->error;
		it->claims = true;
		it->ops.dispose = luo_state_dispose;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &it->subsystem));
	}
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	seq_buf_clear(&fixture->log);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " finish:restored dispose:optional 100");
	luo_kunit_expect_retained(test, &fixture->next, "mandatory");
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained,
						     "mandatory"));
	luo_kunit_expect_log(test, " dispose:mandatory 101");
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/* What becomes of blobs: by class, and by what the next kernel does. */
static void luo_state_unclaimed_test(struct kunit *test)
{
	phys_addr_t blobs[ARRAY_SIZE(luo_state_fates)];
	struct luo_kunit *fixture = test->priv;
	unsigned long total = totalram_pages();
	unsigned long all = 2, claimed = 0, kept = 0;
	struct luo_kunit_participant *it;

	for (int i = 0; i < ARRAY_SIZE(luo_state_fates); i++) {
		const struct luo_state_fate *fate = &luo_state_fates[i];
		unsigned long pages = roundup_pow_of_two(i + 1);

		it = luo_kunit_new(test, fate->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = fate->class;
		it->offer.size = i * PAGE_SIZE + 1;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->machine,
							   &it->subsystem));
		all += pages;
		claimed += fate->claims ? pages : 0;
		kept += fate->kept ? pages : 0;
		if (!fate->registered)
			continue;

		/* The class that counts is the one in the record. */
		it = luo_kunit_new(test, fate->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = !fate->class;
		it->error[LUO_STEP_RESTORE] = fate->error;
		it->claims = fate->claims;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &it->subsystem));
	}
	it = luo_kunit_add(test, &fixture->machine, "value",
			   LIVEUPDATE_LEVEL_MEMORY);
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.value = U64_MAX;

	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	for (int i = 0; i < ARRAY_SIZE(blobs); i++)
		blobs[i] = luo_kunit_record(test, i)->value;
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), all);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total - all);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_FALSE(test, kho_kunit_is_reserved(&fixture->kho, fixture->phys));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho),
			all - 2 - claimed);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next, false));
	for (int i = 0; i < ARRAY_SIZE(blobs); i++)
		KUNIT_EXPECT_EQ_MSG(test, luo_state_fates[i].kept,
				    kho_kunit_is_reserved(&fixture->kho, blobs[i]), "%s",
				    luo_state_fates[i].name);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total - kept);
	luo_kunit_expect_retained(test, &fixture->next,
				  "failing-mandatory absent-mandatory restored-mandatory");

	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->next));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total);
	KUNIT_EXPECT_PTR_EQ(test, fixture->next.incoming, NULL);
	KUNIT_EXPECT_EQ(test, fixture->next.nr_incoming, 0);
}

/* Leave a blob of @size bytes, mandatory, that @next may have a participant for. */
static void luo_state_leave(struct kunit *test, const char *name, size_t size)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *it;

	it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.size = size;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->machine,
						   &it->subsystem));
}

/* As long as something is retained there is no prepare, and the first is named. */
static void luo_state_retained_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;

	luo_state_leave(test, "a", 1);
	luo_state_leave(test, "b", PAGE_SIZE + 1);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	luo_kunit_add(test, next, "c", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, next, "a b");
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_retained_refuse(next, LUO_STEP_FREEZE));
	luo_kunit_expect_failed(test, next, LUO_STEP_FREEZE, "a", -EBUSY);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, false));
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_prepare(next));
	luo_kunit_expect_failed(test, next, LUO_STEP_PREPARE, "a", -EBUSY);
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "a"));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_retained_forget(&next->retained, "a"));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 2);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_prepare(next));
	luo_kunit_expect_failed(test, next, LUO_STEP_PREPARE, "b", -EBUSY);
	luo_kunit_expect_log(test, "");

	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "b"));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_refuse(next, LUO_STEP_FREEZE));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(next));
	luo_kunit_expect_log(test, " prepare:c");
}

/* Given up before FINISH, it is not offered any more. */
static void luo_state_retained_updated_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;

	luo_state_leave(test, "a", 1);
	luo_state_leave(test, "b", 1);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));

	mutex_lock(&next->lock);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_retained_forget(&next->retained, "a"));
	mutex_unlock(&next->lock);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "a"));
	luo_kunit_expect_retained(test, next, "b");
	luo_kunit_add(test, next, "a", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_expect_log(test, "");

	/* Whoever comes late takes it back from the list. */
	luo_kunit_add(test, next, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_expect_log(test, " restore:b");
	luo_kunit_expect_retained(test, next, "");
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, false));
	luo_kunit_expect_retained(test, next, "b");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(next));
	KUNIT_EXPECT_NULL(test, next->incoming);
}

/* Who restored and goes away leaves it to nobody. */
static void luo_state_retained_leaver_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;
	struct luo_kunit_participant *it;

	luo_state_leave(test, "a", 1);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	luo_kunit_jump(test);
	it = luo_kunit_add(test, next, "a", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, next, "");
	luo_subsystem_remove(next, &it->subsystem);
	luo_kunit_expect_retained(test, next, "a");
}

/* The table itself. */
static void luo_state_retained_table_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;

	luo_subsystems_retain_table(machine);
	luo_kunit_expect_retained(test, machine, "liveupdate:table");
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_machine_prepare(machine));
	luo_kunit_expect_failed(test, machine, LUO_STEP_PREPARE, "liveupdate", -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&machine->retained,
						     "liveupdate:table"));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
}

/* Several updates in a row, the machine of one is the next one's successor. */
static void luo_state_again_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;
	struct luo_kunit_participant *old, *new;

	old = luo_kunit_add(test, &fixture->machine, "it", LIVEUPDATE_LEVEL_IRQ);
	new = luo_kunit_add(test, next, "it", LIVEUPDATE_LEVEL_IRQ);
	for (int round = 1; round <= 3; round++) {
		old->offer.value = round;
		KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
		luo_kunit_jump(test);
		KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
		KUNIT_EXPECT_EQ(test, new->received.value, round);
		KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next, false));
		luo_kunit_expect_log(test, " prepare:it freeze:it restore:it finish:it");
		KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(next));
		KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(next));
		luo_kunit_expect_log(test, " prepare:it cancel:it");
	}
}

/* The list. */

static void luo_state_list_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;
	char *text;

	KUNIT_EXPECT_EQ(test, 0, luo_subsystems_show(machine, &text));
	kvfree(text);

	luo_kunit_add(test, machine, "mm", LIVEUPDATE_LEVEL_MEMORY);
	it = luo_kunit_new(test, "kvm", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 3;
	it->desc.oldest = 2;
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.size = 5000;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(machine, &it->subsystem));
	luo_kunit_add(test, machine, "dev", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, machine, "irq", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, machine, "iommu", LIVEUPDATE_LEVEL_IOMMU);
	luo_kunit_add(test, machine, "mm2", LIVEUPDATE_LEVEL_MEMORY);

	for (int prepared = 0; prepared < 2; prepared++) {
		const char *want = prepared ?
			"kvm 3 2 workload mandatory                 5000\n"
			"dev 1 1 devices optional                    0\n"
			"irq 1 1 irq optional                    0\n"
			"iommu 1 1 iommu optional                    0\n"
			"mm 1 1 memory optional                    0\n"
			"mm2 1 1 memory optional                    0\n" :
			"kvm 3 2 workload mandatory                    0\n"
			"dev 1 1 devices optional                    0\n"
			"irq 1 1 irq optional                    0\n"
			"iommu 1 1 iommu optional                    0\n"
			"mm 1 1 memory optional                    0\n"
			"mm2 1 1 memory optional                    0\n";

		KUNIT_ASSERT_EQ(test, strlen(want),
				luo_subsystems_show(machine, &text));
		KUNIT_EXPECT_STREQ(test, text, want);
		kvfree(text);
		KUNIT_ASSERT_EQ(test, 0, prepared ? luo_machine_cancel(machine) :
				luo_machine_prepare(machine));
	}
}

/*
 * As many as there can be, and one more. The list is longer than a page, and every line as
 * long as a line can be.
 */
static void luo_state_long_list_test(struct kunit *test)
{
	static const char tail[] =
		" 4294967295 4294967295 workload mandatory 18446744073709551615\n";
	const size_t line = LIVEUPDATE_SUBSYSTEM_NAME_LEN - 1 + strlen(tail);
	const unsigned int count = LUO_SUBSYSTEMS_MAX;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	struct luo_kunit_participant *it;
	unsigned int wrong = 0;
	char *text;

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%0*d", (int)sizeof(name) - 1, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_WORKLOAD);
		it->desc.version = U32_MAX;
		it->desc.oldest = U32_MAX;
		it->desc.class = LIVEUPDATE_MANDATORY;
		KUNIT_ASSERT_EQ(test, 0,
				luo_subsystem_add(machine, &it->subsystem));
		it->subsystem.data.size = U64_MAX;
	}
	it = luo_kunit_new(test, "one-more", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_subsystem_add(machine, &it->subsystem));

	KUNIT_ASSERT_EQ(test, count * line, luo_subsystems_show(machine, &text));
	KUNIT_EXPECT_GT(test, count * line, PAGE_SIZE);
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%0*d", (int)sizeof(name) - 1, i);
		if (memcmp(text + i * line, name, sizeof(name) - 1) ||
		    memcmp(text + i * line + sizeof(name) - 1, tail,
			   strlen(tail)))
			wrong++;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	kvfree(text);
}

static struct kunit_case luo_state_test_cases[] = {
	KUNIT_CASE_PARAM(luo_state_request_test, luo_state_request_gen_params),
	KUNIT_CASE(luo_state_request_in_callback_test),
	KUNIT_CASE(luo_state_request_meanwhile_test),
	KUNIT_CASE(luo_state_sleeping_test),
	KUNIT_CASE_PARAM(luo_state_system_transition_test,
			 luo_state_blocked_gen_params),
	KUNIT_CASE_PARAM(luo_state_going_down_test, luo_state_blocked_gen_params),
	KUNIT_CASE(luo_state_going_down_meanwhile_test),
	KUNIT_CASE(luo_state_announce_test),
	KUNIT_CASE(luo_state_announce_late_test),
	KUNIT_CASE(luo_state_sessions_test),
	KUNIT_CASE(luo_state_sessions_fail_test),
	KUNIT_CASE(luo_state_order_test),
	KUNIT_CASE(luo_state_restore_order_test),
	KUNIT_CASE(luo_state_missing_callbacks_test),
	KUNIT_CASE_PARAM(luo_state_prepare_fails_test,
			 luo_state_failure_gen_params),
	KUNIT_CASE_PARAM(luo_state_freeze_fails_test,
			 luo_state_failure_gen_params),
	KUNIT_CASE_PARAM(luo_state_restore_fails_test,
			 luo_state_failure_gen_params),
	KUNIT_CASE_PARAM(luo_state_return_test, luo_state_return_gen_params),
	KUNIT_CASE(luo_state_last_failed_test),
	KUNIT_CASE(luo_state_failure_details_test),
	KUNIT_CASE(luo_state_limits_test),
	KUNIT_CASE(luo_state_can_finish_test),
	KUNIT_CASE_SLOW(luo_state_timeout_test),
	KUNIT_CASE_PARAM(luo_state_timeout_index_test,
			 luo_state_failure_gen_params),
	KUNIT_CASE(luo_state_late_failure_test),
	KUNIT_CASE(luo_state_deadline_test),
	KUNIT_CASE(luo_state_part_show_test),
	KUNIT_CASE(luo_state_part_open_test),
	KUNIT_CASE_PARAM(luo_state_part_late_test,
			 luo_state_part_step_gen_params),
	KUNIT_CASE(luo_state_part_undo_test),
	KUNIT_CASE(luo_state_part_error_test),
	KUNIT_CASE(luo_state_part_outside_test),
	KUNIT_CASE(luo_state_part_account_test),
	KUNIT_CASE(luo_state_part_odd_test),
	KUNIT_CASE(luo_state_void_test),
	KUNIT_CASE(luo_state_void_frozen_test),
	KUNIT_CASE(luo_state_void_meanwhile_test),
	KUNIT_CASE(luo_state_void_reboot_test),
	KUNIT_CASE(luo_state_void_idle_test),
	KUNIT_CASE(luo_state_register_prepared_test),
	KUNIT_CASE(luo_state_register_updated_test),
	KUNIT_CASE(luo_state_register_busy_test),
	KUNIT_CASE(luo_state_restore_late_test),
	KUNIT_CASE(luo_state_register_reader_test),
	KUNIT_CASE(luo_state_register_twice_test),
	KUNIT_CASE_PARAM(luo_state_register_desc_test,
			 luo_state_desc_gen_params),
	KUNIT_CASE(luo_state_register_malformed_test),
	KUNIT_CASE(luo_state_unregister_test),
	KUNIT_CASE(luo_state_unregister_prepared_test),
	KUNIT_CASE(luo_state_unregister_frozen_test),
	KUNIT_CASE(luo_state_unregister_restored_test),
	KUNIT_CASE(luo_state_module_test),
	KUNIT_CASE(luo_state_module_leaving_test),
	KUNIT_CASE_PARAM(luo_state_version_test, luo_state_version_gen_params),
	KUNIT_CASE(luo_state_dispose_test),
	KUNIT_CASE(luo_state_unclaimed_test),
	KUNIT_CASE(luo_state_retained_test),
	KUNIT_CASE(luo_state_retained_updated_test),
	KUNIT_CASE(luo_state_retained_leaver_test),
	KUNIT_CASE(luo_state_retained_table_test),
	KUNIT_CASE(luo_state_again_test),
	KUNIT_CASE(luo_state_list_test),
	KUNIT_CASE_SLOW(luo_state_long_list_test),
	{}
};

static struct kunit_suite luo_state_test_suite = {
	.name = "luo-state",
	.init = luo_kunit_init,
	.exit = luo_kunit_exit,
	.test_cases = luo_state_test_cases,
};

kunit_test_suite(luo_state_test_suite);
