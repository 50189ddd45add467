// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Live update state machine
 *
 * A machine that is updated without being emptied goes through::
 *
 *	normal --prepare--> prepared --reboot(KEXEC)--> [frozen] == jump ==+
 *	  ^  ^----cancel------+  ^------thaw---------------+               |
 *	  |                                                                |
 *	  +----------finish---------- updated (next kernel) <--------------+
 *
 * and every participant (luo_subsystem.c) is told of each step. The operator
 * drives it through /sys/kernel/liveupdate, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate.
 *
 * Concept
 *   PREPARE is heavy and runs beside the workload. FREEZE is light; it runs in
 *   reboot(2), after which nothing can fail. The machine carries what the kernel
 *   owns; sessions have a life of their own and work in every state. The two meet in
 *   FREEZE: liveupdate_reboot() rules out that a session is changed any more, their
 *   files are frozen and written down first, because they may stand on what
 *   participants seal, and thawed last. How long that takes counts for the deadline.
 *
 * One transition at a time
 *   Nothing queues: a request that finds another one running, or the wrong
 *   state, gets -EBUSY at once. The state itself keeps requests out between
 *   FREEZE and the jump, and the system's own transitions keep them out while
 *   it suspends or reboots. There is one exception. A rehearsal holds
 *   system_transition_mutex, as reboot(2) and suspend do, so that nobody shuts
 *   devices down while they are frozen; reboot(2) waits for it to end. Not every
 *   reboot takes that mutex, so a notifier (luo_system.c) sets
 *   &luo_machine.going_down and waits, too: no participant is asked to begin
 *   anything any more, and what has begun is undone.
 *
 * Void preparations
 *   What a participant prepared can become void without asking: a device is
 *   pulled out. Whoever notices may hold any lock, so
 *   liveupdate_invalidate() only takes a note, and a work item cancels the
 *   whole preparation once the machine is prepared and at rest. A rehearsal, or
 *   reboot(2) up to the point where it fails, comes first, and neither freezes with
 *   such a note: it is looked for before the first participant is frozen and after
 *   the last. The note is dropped when a prepare begins
 *   and when the machine is back in normal, so that it never hits a preparation
 *   it was not meant for.
 *
 * What still waits
 *   FINISH gives up what nobody has taken over: a device without its driver is
 *   stopped. So participants (can_finish) and sessions are asked before, and a finish
 *   that would give up something is refused, unless the operator wants that.
 *
 * What must not be lost
 *   Memory that may still be written to, or that nobody could read, is retained
 *   (luo_retained.c): then there is no prepare, and no kexec in any state.
 *
 * Which file has what, where none calls one behind it: luo_handover.c, luo_peek.c,
 * luo_progress.c, luo_failure.c, luo_retained.c, luo_timeline.c, luo_parts.c,
 * luo_subsystem.c, luo_instance_out.c, luo_instance_in.c, luo_outgoing.c, luo_incoming.c,
 * this one, luo_participants.c, luo_register.c, luo_system.c, luo_pm.c,
 * luo_shutdown_log.c, luo_sysfs.c.
 *
 * Lock order
 *   system_transition_mutex -> the chain of PM notifiers -> luo_session_serialize_rwsem
 *   of sessions, in reboot(2) -> &luo_machine.lock -> what luo_subsystem.c documents.
 *   No participant takes a lock of sessions in FREEZE. Those who start a transition
 *   only ever try for &luo_machine.lock. Those who wait for it are the end of a suspend, which
 *   cannot meet a transition, the thaw in reboot(2), the work items that cancel
 *   what has become void and restore what a module came late for, and participants
 *   that unregister; they must not hold a lock that a callback takes.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <trace/events/liveupdate.h>

#include "luo_machine.h"

static const char *const luo_state_names[] = {
	[LIVEUPDATE_STATE_NORMAL]	= "normal",
	[LIVEUPDATE_STATE_PREPARED]	= "prepared",
	[LIVEUPDATE_STATE_FROZEN]	= "frozen",
	[LIVEUPDATE_STATE_UPDATED]	= "updated",
};

/* Name of a state for people. */
const char *luo_state_name(enum liveupdate_state state)
{
	return luo_state_names[state];
}

static void luo_set_state(struct luo_machine *machine,
			  enum liveupdate_state state)
{
	lockdep_assert_held(&machine->lock);

	trace_liveupdate_state(luo_state_names[machine->state],
			       luo_state_names[state]);
	pr_info("%s -> %s\n", luo_state_names[machine->state],
		luo_state_names[state]);
	WRITE_ONCE(machine->state, state);
}

/*
 * Without the lock, so that a listener can make its next request at once. So the state
 * may be another one already; each is announced once.
 */
static void luo_announce_state(struct luo_machine *machine,
			       enum liveupdate_state state)
{
	void (*announce)(struct luo_machine *machine,
			 enum liveupdate_state state) = READ_ONCE(machine->announce);

	if (announce)
		announce(machine, state);
}

/* Transitions. */

static void luo_invalidated(struct work_struct *work);

/* Make a machine in state normal without participants. */
void luo_machine_init(struct luo_machine *machine)
{
	mutex_init(&machine->lock);
	INIT_LIST_HEAD(&machine->enlisted);
	spin_lock_init(&machine->incoming_lock);
	luo_instances_init(&machine->instances);
	luo_retained_init(&machine->retained);
	mutex_init(&machine->registered_lock);
	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++)
		INIT_LIST_HEAD(&machine->registered[level]);
	luo_progress_init(machine);
	spin_lock_init(&machine->invalid_lock);
	INIT_DELAYED_WORK(&machine->invalidate, luo_invalidated);
	INIT_WORK(&machine->late, luo_subsystems_late);
}

/*
 * Does the system neither suspend nor reboot? It may begin to at once, and then finds
 * &luo_machine.lock taken.
 */
static bool luo_system_rests(void)
{
	ACQUIRE(mutex_try, transition)(&system_transition_mutex);

	return !ACQUIRE_ERR(mutex_try, &transition);
}

/*
 * May a request that needs @state start? Suspend and reboot(2) hold
 * system_transition_mutex before they look at the machine, so whoever comes
 * second sees the other. A hibernation through /dev/snapshot does not hold it
 * all the time and is counted instead.
 *
 * Asked without the lock first: a request that is refused anyway must not hold
 * it for an instant and make another one fail. Asked again with the lock, which
 * makes it certain; only then is the mutex of the system tried, so that two requests
 * do not find it taken by each other.
 */
static bool luo_state_allows(struct luo_machine *machine,
			     enum liveupdate_state state)
{
	return READ_ONCE(machine->state) == state &&
	       !READ_ONCE(machine->sleeping) && !READ_ONCE(machine->going_down);
}

static bool luo_may_start(struct luo_machine *machine,
			  enum liveupdate_state state)
{
	lockdep_assert_held(&machine->lock);

	return luo_state_allows(machine, state) && luo_system_rests();
}

static void luo_forget_invalid(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	guard(spinlock_irqsave)(&machine->invalid_lock);
	machine->invalid.error = 0;
}

static int luo_prepare(struct luo_machine *machine)
{
	int err;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    !luo_may_start(machine, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	err = luo_retained_refuse(machine, LUO_STEP_PREPARE);
	if (err)
		return err;

	luo_forget_invalid(machine);
	luo_transition_begin(machine, LUO_STEP_PREPARE, true);
	luo_timeline_begin(machine);
	err = luo_subsystems_prepare(machine);
	if (!err)
		luo_set_state(machine, LIVEUPDATE_STATE_PREPARED);
	else
		luo_timeline_end(machine);
	luo_transition_end(machine);

	return err;
}

/*
 * Normal -> prepared. May sleep. Tries for &luo_machine.lock. Returns 0; -EBUSY in
 * another state, during another transition, while the system suspends or reboots, or if
 * something is retained; otherwise as luo_subsystems_prepare().
 */
int luo_machine_prepare(struct luo_machine *machine)
{
	int err;

	if (!luo_state_allows(machine, LIVEUPDATE_STATE_NORMAL))
		return -EBUSY;

	err = luo_prepare(machine);
	if (!err)
		luo_announce_state(machine, LIVEUPDATE_STATE_PREPARED);

	return err;
}

/* CANCEL and FINISH: what leads back to normal and cannot fail. */
static void luo_return(struct luo_machine *machine, enum luo_step step,
		       void (*walk)(struct luo_machine *machine))
{
	luo_transition_begin(machine, step, false);
	walk(machine);
	luo_timeline_end(machine);
	luo_forget_invalid(machine);
	luo_set_state(machine, LIVEUPDATE_STATE_NORMAL);
	luo_transition_end(machine);
}

/*
 * Does no session wait? Asked without &luo_machine.lock: who changes a session may wait
 * for it. What was handed over can only become less.
 */
static int luo_sessions_can_finish(struct luo_machine *machine)
{
	char name[LIVEUPDATE_DEVICE_LEN];

	if (!machine->session_waits || !machine->session_waits(name, sizeof(name)))
		return 0;

	luo_record_failure(machine, LUO_STEP_FINISH, LUO_SESSIONS, -EBUSY, name,
			   "it is not retrieved, or one of its files cannot be finished");

	return -EBUSY;
}

static int luo_end(struct luo_machine *machine, enum liveupdate_state state,
		   enum luo_step step,
		   int (*check)(struct luo_machine *machine),
		   void (*walk)(struct luo_machine *machine))
{
	int err = 0;

	if (!luo_state_allows(machine, state))
		return -EBUSY;
	if (check)
		err = luo_sessions_can_finish(machine);
	if (err)
		return err;

	scoped_cond_guard(mutex_try, return -EBUSY, &machine->lock) {
		if (!luo_may_start(machine, state))
			return -EBUSY;

		if (check) {
			luo_transition_begin(machine, step, false);
			err = check(machine);
			luo_transition_end(machine);
		}
		if (err)
			return err;
		luo_return(machine, step, walk);
	}
	luo_announce_state(machine, LIVEUPDATE_STATE_NORMAL);

	return 0;
}

/*
 * Prepared -> normal. May sleep. Tries for &luo_machine.lock. Returns 0; -EBUSY in
 * another state, during another transition, or while the system reboots.
 */
int luo_machine_cancel(struct luo_machine *machine)
{
	return luo_end(machine, LIVEUPDATE_STATE_PREPARED, LUO_STEP_CANCEL, NULL,
		       luo_subsystems_cancel);
}

static void luo_queue_invalid(struct luo_machine *machine, unsigned long delay)
{
	/* Unbound, because it waits for a transition. */
	queue_delayed_work(system_dfl_wq, &machine->invalidate, delay);
}

static bool luo_is_invalid(struct luo_machine *machine)
{
	guard(spinlock_irqsave)(&machine->invalid_lock);

	return machine->invalid.error;
}

/* Cancel what has become void. */
static void luo_invalidated(struct work_struct *work)
{
	struct luo_machine *machine = container_of(to_delayed_work(work),
						   struct luo_machine,
						   invalidate);
	struct luo_failure invalid;

	/*
	 * Without the lock, as in luo_may_start(). A PREPARE that begins now
	 * drops the note, and does so behind what became void.
	 */
	if (!luo_is_invalid(machine))
		return;

	scoped_guard(mutex, &machine->lock) {
		/* If it is frozen, a thaw comes back to this. */
		if (machine->state != LIVEUPDATE_STATE_PREPARED)
			return;

		scoped_guard(spinlock_irqsave, &machine->invalid_lock)
			invalid = machine->invalid;
		if (!invalid.error)
			return;

		/* Not while devices are shut down, unless that fails. */
		if (!luo_system_rests()) {
			luo_queue_invalid(machine, HZ / 10);
			return;
		}

		luo_record_failure(machine, LUO_STEP_PREPARE, invalid.participant,
				   invalid.error, invalid.device, invalid.reason);
		luo_return(machine, LUO_STEP_CANCEL, luo_subsystems_cancel);
	}
	luo_announce_state(machine, LIVEUPDATE_STATE_NORMAL);
}

/*
 * What a participant prepared has become void. The machine goes back to normal as soon
 * as it is prepared and nothing is in progress. Of several reasons the first is
 * remembered. Nothing happens if nothing is prepared, or being prepared. Takes
 * &luo_machine.invalid_lock.
 */
void luo_machine_invalidate(struct luo_machine *machine,
			    struct liveupdate_subsystem *subsystem, int error,
			    const char *device, const char *reason)
{
	struct luo_failure *invalid = &machine->invalid;

	scoped_guard(spinlock_irqsave, &machine->invalid_lock) {
		if (!invalid->error) {
			invalid->error = error;
			strscpy(invalid->participant, subsystem->desc->name);
			strscpy(invalid->device, device);
			strscpy(invalid->reason, reason);
		}
	}
	luo_queue_invalid(machine, 0);
}

/*
 * Updated -> normal. May sleep. Takes locks of sessions, and without these tries for
 * &luo_machine.lock. Returns 0; -EBUSY in another state, during another transition, or
 * while the system reboots; also if something waits and not @give_up, which is recorded
 * as a failure then, and nothing is changed.
 */
int luo_machine_finish(struct luo_machine *machine, bool give_up)
{
	return luo_end(machine, LIVEUPDATE_STATE_UPDATED, LUO_STEP_FINISH,
		       give_up ? NULL : luo_subsystems_can_finish,
		       luo_subsystems_finish);
}

/*
 * FREEZE and THAW for real, and stay prepared. May sleep. Tries for &luo_machine.lock
 * and, with it held, for system_transition_mutex. Returns 0; -EBUSY in another state,
 * during another transition, suspend or reboot; otherwise as luo_subsystems_freeze().
 */
int luo_machine_rehearse(struct luo_machine *machine)
{
	int err;

	if (!luo_state_allows(machine, LIVEUPDATE_STATE_PREPARED))
		return -EBUSY;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    machine->state != LIVEUPDATE_STATE_PREPARED ||
	    READ_ONCE(machine->going_down))
		return -EBUSY;

	ACQUIRE(mutex_try, transition)(&system_transition_mutex);
	if (ACQUIRE_ERR(mutex_try, &transition))
		return -EBUSY;

	luo_transition_begin(machine, LUO_STEP_FREEZE, true);
	luo_timeline_rehearse(machine);
	err = luo_subsystems_freeze(machine, false);
	if (!err) {
		luo_transition_begin(machine, LUO_STEP_THAW, false);
		luo_subsystems_thaw(machine);
	}
	luo_transition_end(machine);

	return err;
}

static int luo_freeze(struct luo_machine *machine, bool receives)
{
	int err;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    machine->state == LIVEUPDATE_STATE_FROZEN)
		return -EBUSY;

	if (machine->state != LIVEUPDATE_STATE_PREPARED) {
		luo_transition_begin(machine, LUO_STEP_FREEZE, true);
		err = luo_sessions_freeze(machine);
		if (err)
			luo_sessions_thaw(machine);
		luo_transition_end(machine);
		return err;
	}

	if (!receives) {
		pr_err("prepared, but the kexec image cannot receive state: load it with kexec_file_load(2)\n");
		return -EINVAL;
	}

	luo_transition_begin(machine, LUO_STEP_FREEZE, true);
	err = luo_subsystems_freeze(machine, true);
	if (!err)
		luo_set_state(machine, LIVEUPDATE_STATE_FROZEN);
	luo_transition_end(machine);

	return err;
}

/*
 * Enter reboot(2) for kexec. prepared becomes frozen; in normal and updated only files
 * of sessions are frozen. No lock is kept: reboot(2) holds system_transition_mutex,
 * which keeps requests out, and changes of sessions were ruled out before. May sleep.
 * Tries for &luo_machine.lock. Returns 0; -EBUSY during a transition; -EINVAL if
 * prepared and not @receives; otherwise as luo_subsystems_freeze() or
 * luo_sessions_freeze().
 */
int luo_machine_freeze(struct luo_machine *machine, bool receives)
{
	int err = luo_freeze(machine, receives);

	if (READ_ONCE(machine->state) == LIVEUPDATE_STATE_FROZEN && !err)
		luo_announce_state(machine, LIVEUPDATE_STATE_FROZEN);

	return err;
}

/* The jump did not happen after all. May sleep. Takes &luo_machine.lock. */
void luo_machine_thaw(struct luo_machine *machine)
{
	scoped_guard(mutex, &machine->lock) {
		if (machine->state != LIVEUPDATE_STATE_FROZEN) {
			luo_sessions_thaw(machine);
			return;
		}

		luo_transition_begin(machine, LUO_STEP_THAW, false);
		luo_subsystems_thaw(machine);
		luo_set_state(machine, LIVEUPDATE_STATE_PREPARED);
		luo_transition_end(machine);
		/* It takes the lock, and so makes requests fail. */
		if (luo_is_invalid(machine))
			luo_queue_invalid(machine, 0);
	}
	luo_announce_state(machine, LIVEUPDATE_STATE_PREPARED);
}

/*
 * Take in what the previous kernel left. May sleep. Takes &luo_machine.lock. Once, at
 * early_initcall. Returns 0 and @machine has the records; otherwise the error of
 * luo_handover_read(), or -ENOMEM, and everything that was handed over stays reserved.
 */
int luo_machine_accept(struct luo_machine *machine, phys_addr_t phys,
		       size_t size)
{
	struct luo_subsystem_ser *records __free(kvfree) = NULL;
	struct luo_incoming *incoming __free(kvfree) = NULL;
	struct kho_table_incoming table;
	unsigned int count;
	int err;

	err = luo_handover_read(&table, phys, size, &records, &count);
	if (err)
		return err;

	incoming = kvzalloc_objs(*incoming, max(count, 1U));
	if (!incoming) {
		kho_table_close(&table);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < count; i++)
		incoming[i].ser = records[i];

	guard(mutex)(&machine->lock);

	luo_subsystems_accept(machine, no_free_ptr(incoming), count);
	kho_table_release(&table);

	return 0;
}

/*
 * Become updated on what the previous kernel left. May sleep. Takes &luo_machine.lock.
 * Once, at early_initcall. Returns 0 and the state is updated, whether or not every
 * participant restored; otherwise the error of luo_machine_accept(), and the state is
 * normal.
 */
int luo_machine_restore(struct luo_machine *machine, phys_addr_t phys,
			size_t size)
{
	int err;

	err = luo_machine_accept(machine, phys, size);
	if (err)
		return err;

	scoped_guard(mutex, &machine->lock) {
		pr_info("%u participants handed over state\n",
			machine->nr_incoming);

		luo_transition_begin(machine, LUO_STEP_RESTORE, false);
		luo_subsystems_restore(machine);
		luo_set_state(machine, LIVEUPDATE_STATE_UPDATED);
		luo_transition_end(machine);
	}
	luo_announce_state(machine, LIVEUPDATE_STATE_UPDATED);

	return 0;
}

/*
 * Let participants restore what needs the whole system. May sleep. Takes
 * &luo_machine.lock. Once, with all memory and processors.
 */
void luo_machine_restore_late(struct luo_machine *machine)
{
	guard(mutex)(&machine->lock);

	luo_transition_begin(machine, LUO_STEP_RESTORE, false);
	luo_subsystems_restore_late(machine);
	luo_transition_end(machine);
}
