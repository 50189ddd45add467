// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Participants of a live update
 *
 * Keeps the participants (include/linux/liveupdate/subsystem.h) and walks them
 * for the state machine in luo_state.c.
 *
 * Concept
 *   Consumers are told before the providers they stand on. PREPARE, FREEZE and
 *   FINISH walk down the levels, from WORKLOAD to MEMORY; THAW, CANCEL and
 *   RESTORE walk up. For the jump the files of sessions are frozen before all
 *   participants and thawed after them. Inside a level the order is that of registration in the
 *   old kernel and that of the handed-over table in the next one, reversed
 *   where the levels are walked up. A walk that fails is undone in exactly the
 *   reverse order.
 *
 * Lifecycle in the old kernel
 *   1. Registered: in &luo_machine.registered. Built-in participants from
 *      early_initcall on, modules when they ask for it.
 *   2. Enlisted: PREPARE takes a snapshot of all registered participants, pins
 *      their modules, and works on nothing else until CANCEL. Who registers
 *      later joins the next PREPARE.
 *   3. &luo_phase says how far each enlisted participant got, so that an undo
 *      needs no other bookkeeping.
 *
 * Lifecycle in the next kernel
 *   1. The records of the old kernel become &struct luo_incoming.
 *   2. A participant of the same name whose [oldest, version] includes the
 *      version of the record restores it, once. It is pinned until FINISH.
 *   3. FINISH calls everybody who restored, then disposes of what nobody
 *      claimed: an OPTIONAL blob is freed, a MANDATORY one is retained
 *      (luo_retained.c), from RESTORE on already. Plain values need no disposal.
 *   Where live update is switched off nobody is registered, and built-in
 *   participants abandon the records they could restore. What nobody abandoned is
 *   retained.
 *
 * Contexts
 *   Everything here may sleep. Callbacks run under &luo_machine.lock and under
 *   no other lock of this file.
 *
 * Lock order
 *   system_transition_mutex -> &luo_machine.lock ->
 *   &luo_machine.registered_lock -> &luo_machine.progress_lock.
 *   Participants may take device_lock and bus locks inside &luo_machine.lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "luo_machine.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate.h>

static const char *const luo_level_names[LIVEUPDATE_NR_LEVELS] = {
	[LIVEUPDATE_LEVEL_WORKLOAD]	= "workload",
	[LIVEUPDATE_LEVEL_DEVICES]	= "devices",
	[LIVEUPDATE_LEVEL_IRQ]		= "irq",
	[LIVEUPDATE_LEVEL_IOMMU]	= "iommu",
	[LIVEUPDATE_LEVEL_MEMORY]	= "memory",
};

static u32 luo_name_hash(const char *name)
{
	return full_name_hash(NULL, name,
			      strnlen(name, LIVEUPDATE_SUBSYSTEM_NAME_LEN));
}

static struct liveupdate_subsystem *luo_find(struct luo_machine *machine,
					     const char *name)
{
	struct liveupdate_subsystem *subsystem;

	lockdep_assert_held(&machine->registered_lock);

	hash_for_each_possible(machine->names, subsystem, name,
			       luo_name_hash(name)) {
		if (!strcmp(subsystem->desc->name, name))
			return subsystem;
	}

	return NULL;
}

static struct luo_incoming *luo_find_incoming(struct luo_machine *machine,
					      const char *name)
{
	struct luo_incoming *incoming;

	lockdep_assert_held(&machine->lock);

	hash_for_each_possible(machine->incoming_names, incoming, hash,
			       luo_name_hash(name)) {
		if (!strcmp(incoming->ser.name, name))
			return incoming;
	}

	return NULL;
}

/*
 * The one place where callbacks are called. What is not an error of userspace,
 * such as a positive value or -ERESTARTSYS, is not in the contract of a callback
 * and counts as -EINVAL.
 */
static int luo_call(struct luo_machine *machine, enum luo_step step,
		    struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_ops *ops = subsystem->ops;
	struct liveupdate_data *data = &subsystem->data;
	const char *name = subsystem->desc->name;
	u64 start;
	int err = 0;

	lockdep_assert_held(&machine->lock);

	luo_progress_enter(machine, step, name);
	trace_liveupdate_callback_start(luo_step_name(step), name);
	start = luo_timeline_now();

	switch (step) {
	case LUO_STEP_PREPARE:
		if (ops->prepare)
			err = ops->prepare(subsystem, data);
		break;
	case LUO_STEP_FREEZE:
		if (ops->freeze)
			err = ops->freeze(subsystem, data);
		break;
	case LUO_STEP_THAW:
		if (ops->thaw)
			ops->thaw(subsystem, data);
		break;
	case LUO_STEP_CANCEL:
		if (ops->cancel)
			ops->cancel(subsystem, data);
		break;
	case LUO_STEP_RESTORE:
		err = ops->restore ? ops->restore(subsystem, data) : -EOPNOTSUPP;
		break;
	case LUO_STEP_FINISH:
		if (ops->finish)
			ops->finish(subsystem, data);
		break;
	case LUO_STEP_NONE:
		break;
	}
	if (err > 0 || err <= -ERESTARTSYS)
		err = -EINVAL;

	luo_timeline_callback(machine, step, name, start, err);
	trace_liveupdate_callback_end(luo_step_name(step), name, err);
	luo_progress_leave(machine);
	if (err)
		luo_fail(machine, step, name, err);

	return err;
}

/* Forget what a participant had to do with an update and let its module go. */
static void luo_retire(struct liveupdate_subsystem *subsystem)
{
	list_del_init(&subsystem->enlisted);
	subsystem->phase = LUO_PHASE_IDLE;
	subsystem->data = (struct liveupdate_data){};
	module_put(subsystem->ops->owner);
}

static void luo_retire_all(struct luo_machine *machine)
{
	struct liveupdate_subsystem *subsystem, *tmp;

	list_for_each_entry_safe(subsystem, tmp, &machine->enlisted, enlisted)
		luo_retire(subsystem);
}

/* A module that is on its way out is not asked any more. */
static unsigned int luo_enlist_all(struct luo_machine *machine)
{
	struct liveupdate_subsystem *subsystem;
	unsigned int count = 0;

	lockdep_assert_held(&machine->lock);
	guard(mutex)(&machine->registered_lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &machine->registered[level],
				    registered) {
			if (!try_module_get(subsystem->ops->owner))
				continue;
			list_add_tail(&subsystem->enlisted, &machine->enlisted);
			count++;
		}
	}

	return count;
}

/* Call @step, from the last to the first, for all who are in phase @from. */
static void luo_undo(struct luo_machine *machine, enum luo_step step,
		     enum luo_phase from, enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;

	list_for_each_entry_reverse(subsystem, &machine->enlisted, enlisted) {
		if (subsystem->phase != from)
			continue;
		luo_call(machine, step, subsystem);
		subsystem->phase = to;
	}
}

/* Call @step, from the first to the last, until one fails or time is up. */
static int luo_walk(struct luo_machine *machine, enum luo_step step,
		    enum luo_phase to)
{
	struct liveupdate_subsystem *subsystem;
	int err;

	list_for_each_entry(subsystem, &machine->enlisted, enlisted) {
		err = luo_call(machine, step, subsystem);
		if (err)
			return err;
		subsystem->phase = to;

		if (luo_progress_late(machine)) {
			luo_fail(machine, step, subsystem->desc->name,
				 -ETIMEDOUT);
			return -ETIMEDOUT;
		}
		if (READ_ONCE(machine->going_down)) {
			luo_fail(machine, step, "", -ESHUTDOWN);
			return -ESHUTDOWN;
		}
	}

	return 0;
}

/**
 * luo_subsystems_prepare() - PREPARE every registered participant
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 * Return: 0; the error of the participant that failed, after all others were
 * cancelled; -ETIMEDOUT if the deadline passed; -ESHUTDOWN if the system goes down;
 * -E2BIG if there are more than LUO_SUBSYSTEMS_MAX participants; -ENOMEM.
 */
int luo_subsystems_prepare(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();
	int err;

	err = luo_handover_alloc(machine, luo_enlist_all(machine));
	if (err) {
		luo_fail(machine, LUO_STEP_PREPARE, "", err);
		luo_timeline_step(machine, LUO_STEP_PREPARE, start, err);
		luo_retire_all(machine);
		return err;
	}

	err = luo_walk(machine, LUO_STEP_PREPARE, LUO_PHASE_PREPARED);
	luo_timeline_step(machine, LUO_STEP_PREPARE, start, err);
	if (err)
		luo_subsystems_cancel(machine);

	return err;
}

/**
 * luo_subsystems_cancel() - CANCEL every prepared participant
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_subsystems_cancel(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();

	luo_undo(machine, LUO_STEP_CANCEL, LUO_PHASE_PREPARED, LUO_PHASE_IDLE);
	luo_handover_free(machine);
	luo_retire_all(machine);
	luo_timeline_step(machine, LUO_STEP_CANCEL, start, 0);
}

/**
 * luo_sessions_freeze() - freeze the files of sessions
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 * Return: 0; the error of a file; -ETIMEDOUT if the deadline passed, when
 * luo_sessions_thaw() is left to be called.
 */
int luo_sessions_freeze(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();
	int err;

	lockdep_assert_held(&machine->lock);

	if (!machine->freeze_sessions)
		return 0;

	luo_progress_enter(machine, LUO_STEP_FREEZE, LUO_SESSIONS);
	err = machine->freeze_sessions();
	luo_progress_leave(machine);
	machine->sessions_frozen = !err;
	if (machine->state == LIVEUPDATE_STATE_PREPARED)
		luo_timeline_callback(machine, LUO_STEP_FREEZE, LUO_SESSIONS, start,
				      err);
	if (!err && luo_progress_late(machine))
		err = -ETIMEDOUT;
	if (err)
		luo_fail(machine, LUO_STEP_FREEZE, "", err);

	return err;
}

/**
 * luo_sessions_thaw() - undo luo_sessions_freeze(), if that is to be done
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_sessions_thaw(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (machine->sessions_frozen)
		machine->thaw_sessions();
	machine->sessions_frozen = false;
}

/**
 * luo_subsystems_freeze() - FREEZE every prepared participant
 * @machine: the machine
 * @sessions: the files of sessions before them, which may stand on what they have
 *
 * Context: May sleep. &luo_machine.lock held.
 * Return: 0 and the data is final; the error of the participant that failed,
 * after all others were thawed; -ETIMEDOUT if the deadline passed; -ESHUTDOWN if the
 * system goes down otherwise.
 */
int luo_subsystems_freeze(struct luo_machine *machine, bool sessions)
{
	u64 start = luo_timeline_now();
	int err;

	err = sessions ? luo_sessions_freeze(machine) : 0;
	if (!err)
		err = luo_walk(machine, LUO_STEP_FREEZE, LUO_PHASE_FROZEN);
	if (!err)
		luo_handover_write(machine);
	luo_timeline_step(machine, LUO_STEP_FREEZE, start, err);
	if (err)
		luo_subsystems_thaw(machine);

	return err;
}

/**
 * luo_subsystems_thaw() - THAW every frozen participant
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_subsystems_thaw(struct luo_machine *machine)
{
	u64 start = luo_timeline_now();

	luo_undo(machine, LUO_STEP_THAW, LUO_PHASE_FROZEN, LUO_PHASE_PREPARED);
	luo_handover_clear(machine);
	luo_sessions_thaw(machine);
	luo_timeline_step(machine, LUO_STEP_THAW, start, 0);
}

/**
 * luo_subsystems_accept() - enter the records of the previous kernel
 * @machine: the machine, without records
 * @incoming: the records, owned by the machine on success
 * @count: their number
 *
 * Context: Any context that holds &luo_machine.lock.
 * Return: 0; -EINVAL if two records have the same name.
 */
int luo_subsystems_accept(struct luo_machine *machine,
			  struct luo_incoming *incoming, unsigned int count)
{
	lockdep_assert_held(&machine->lock);

	for (unsigned int i = 0; i < count; i++) {
		const char *name = incoming[i].ser.name;

		if (luo_find_incoming(machine, name)) {
			hash_init(machine->incoming_names);
			return -EINVAL;
		}
		hash_add(machine->incoming_names, &incoming[i].hash,
			 luo_name_hash(name));
	}
	machine->incoming = incoming;
	machine->nr_incoming = count;

	return 0;
}

/* After FINISH records are kept as long as one of them is retained. */
static void luo_put_incoming(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (!hash_empty(machine->incoming_names))
		return;

	kvfree(machine->incoming);
	machine->incoming = NULL;
	machine->nr_incoming = 0;
}

static void luo_free_blob(const struct luo_subsystem_ser *ser)
{
	if (ser->size && kho_is_restorable(ser->value, ser->size))
		kho_restore_free(phys_to_virt(ser->value));
}

/* The operator says that the blob of @name is not used by anything. */
static int luo_forget_record(void *context, const char *name, const char *unused)
{
	struct luo_machine *machine = context;
	struct luo_incoming *incoming;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;

	incoming = luo_find_incoming(machine, name);
	if (!incoming || !incoming->retained)
		return -ENOENT;

	incoming->tried = true;
	luo_retained_release(incoming->retained);
	incoming->retained = NULL;
	luo_free_blob(&incoming->ser);
	if (machine->state != LIVEUPDATE_STATE_UPDATED) {
		hash_del(&incoming->hash);
		luo_put_incoming(machine);
	}

	return 0;
}

/* Nobody has the blob of a record. If it is mandatory it may be in use. */
static void luo_retain_record(struct luo_machine *machine,
			      struct luo_incoming *incoming, const char *reason)
{
	const struct luo_subsystem_ser *ser = &incoming->ser;

	lockdep_assert_held(&machine->lock);

	if (incoming->retained || !ser->size ||
	    !(ser->flags & LUO_SUBSYSTEM_SER_MANDATORY))
		return;

	pr_warn("%s: %llu bytes of mandatory data are retained: %s\n", ser->name,
		ser->size, reason);
	incoming->retained = luo_retain(&machine->retained, ser->name, "",
					ser->size, reason, luo_forget_record,
					machine);
}

static int luo_forget_table(void *context, const char *owner, const char *name)
{
	struct luo_machine *machine = context;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	if (!machine->unreadable)
		return -ENOENT;

	luo_retained_release(machine->unreadable);
	machine->unreadable = NULL;

	return 0;
}

/**
 * luo_subsystems_retain_table() - it is not known what the previous kernel left
 * @machine: the machine
 *
 * Context: May sleep. Takes &luo_machine.lock.
 */
void luo_subsystems_retain_table(struct luo_machine *machine)
{
	guard(mutex)(&machine->lock);

	machine->unreadable = luo_retain(&machine->retained, "liveupdate", "table", 0,
					 "the table of participants cannot be used",
					 luo_forget_table, machine);
}

/* Let @subsystem take over the record of its name, if it can. */
static void luo_restore_one(struct luo_machine *machine,
			    struct luo_incoming *incoming,
			    struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;
	int err = 0;

	lockdep_assert_held(&machine->lock);

	if (incoming->tried)
		return;

	/* Ask now: the address may be that of the table, freed by now. */
	if (incoming->ser.size &&
	    !kho_is_restorable(incoming->ser.value, incoming->ser.size))
		err = -EINVAL;
	else if (incoming->ser.version < desc->oldest ||
		 incoming->ser.version > desc->version)
		err = -EPROTONOSUPPORT;
	else if (!try_module_get(subsystem->ops->owner))
		err = -ENODEV;
	if (err) {
		pr_warn("%s: cannot restore version %u with [%u, %u]: %pe\n",
			desc->name, incoming->ser.version, desc->oldest,
			desc->version, ERR_PTR(err));
		luo_fail(machine, LUO_STEP_RESTORE, desc->name, err);
		return;
	}

	incoming->tried = true;
	subsystem->data.value = incoming->ser.value;
	subsystem->data.size = incoming->ser.size;
	if (luo_call(machine, LUO_STEP_RESTORE, subsystem)) {
		luo_retire(subsystem);
		return;
	}
	subsystem->phase = LUO_PHASE_RESTORED;
	incoming->subsystem = subsystem;
	luo_retained_release(incoming->retained);
	incoming->retained = NULL;
}

/**
 * luo_subsystems_restore() - RESTORE every participant that has a record
 * @machine: the machine, with &luo_machine.incoming filled
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_subsystems_restore(struct luo_machine *machine)
{
	struct luo_incoming *incoming = machine->incoming;
	unsigned int count = machine->nr_incoming;
	u64 start = luo_timeline_now();

	lockdep_assert_held(&machine->lock);

	/* Nothing is allocated here: nobody is asked twice, and all have to be asked. */
	scoped_guard(mutex, &machine->registered_lock) {
		for (unsigned int i = 0; i < count; i++)
			incoming[i].found = luo_find(machine,
						     incoming[i].ser.name);
	}

	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = count; i--; ) {
			struct liveupdate_subsystem *found = incoming[i].found;

			if (found && found->desc->level == level)
				luo_restore_one(machine, &incoming[i], found);
		}
	}
	for (unsigned int i = 0; i < count; i++) {
		if (!incoming[i].subsystem)
			luo_retain_record(machine, &incoming[i],
					  "nobody has restored it");
	}
	luo_timeline_step(machine, LUO_STEP_RESTORE, start, 0);
}

/* Free the blob if nobody claimed it and it was optional. */
static void luo_dispose(struct luo_machine *machine,
			struct luo_incoming *incoming)
{
	const struct luo_subsystem_ser *ser = &incoming->ser;

	if (incoming->retained || !ser->size ||
	    !kho_is_restorable(ser->value, ser->size))
		return;

	if (ser->flags & LUO_SUBSYSTEM_SER_MANDATORY) {
		luo_retain_record(machine, incoming, "nobody has claimed it");
		return;
	}

	pr_notice("%s: nobody claimed %llu bytes of optional data, freed\n",
		  ser->name, ser->size);
	kho_restore_free(phys_to_virt(ser->value));
}

/**
 * luo_subsystems_finish() - FINISH everybody who restored, drop the rest
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_subsystems_finish(struct luo_machine *machine)
{
	unsigned int count = machine->nr_incoming, kept = 0;
	u64 start = luo_timeline_now();
	u64 bytes = 0;

	lockdep_assert_held(&machine->lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		for (unsigned int i = 0; i < count; i++) {
			struct liveupdate_subsystem *subsystem =
				machine->incoming[i].subsystem;

			if (!subsystem || subsystem->desc->level != level)
				continue;
			luo_call(machine, LUO_STEP_FINISH, subsystem);
		}
	}

	for (unsigned int i = 0; i < count; i++) {
		struct luo_incoming *incoming = &machine->incoming[i];

		luo_dispose(machine, incoming);
		if (incoming->subsystem)
			luo_retire(incoming->subsystem);
		incoming->subsystem = NULL;
		if (incoming->retained) {
			bytes += incoming->ser.size;
			kept++;
		} else {
			hash_del(&incoming->hash);
		}
	}
	if (kept)
		pr_warn("%llu bytes of %u mandatory participants stay retained, and there is no other update while they are\n",
			bytes, kept);

	luo_put_incoming(machine);
	luo_timeline_step(machine, LUO_STEP_FINISH, start, 0);
}

/* Let those take over their records who have registered since RESTORE. */
static void luo_restore_late(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (machine->state != LIVEUPDATE_STATE_UPDATED)
		return;

	for (unsigned int i = 0; i < machine->nr_incoming; i++) {
		struct luo_incoming *incoming = &machine->incoming[i];
		struct liveupdate_subsystem *found;

		if (incoming->subsystem || incoming->tried)
			continue;
		/* It cannot go away before the lock of the machine is released. */
		scoped_guard(mutex, &machine->registered_lock)
			found = luo_find(machine, incoming->ser.name);
		if (!found || found == incoming->found)
			continue;
		incoming->found = found;
		luo_transition_begin(machine, LUO_STEP_RESTORE, false);
		luo_restore_one(machine, incoming, found);
		luo_transition_end(machine);
	}
}

/**
 * luo_subsystems_late() - the same, once no transition is under way any more
 * @work: &luo_machine.late
 *
 * Context: May sleep. Takes &luo_machine.lock.
 */
void luo_subsystems_late(struct work_struct *work)
{
	struct luo_machine *machine = container_of(work, struct luo_machine, late);

	guard(mutex)(&machine->lock);
	luo_restore_late(machine);
}

static int luo_subsystem_check(const struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;

	if (!subsystem->ops || !luo_name_valid(desc->name) || !desc->oldest ||
	    desc->oldest > desc->version || desc->level >= LIVEUPDATE_NR_LEVELS ||
	    desc->class > LIVEUPDATE_MANDATORY)
		return -EINVAL;

	return 0;
}

/**
 * luo_subsystem_add() - register a participant with a machine
 * @machine: the machine
 * @subsystem: the participant
 *
 * If the machine holds a record for it, the participant restores it now, or when the
 * transition under way is over.
 *
 * Context: May sleep. Waits for no transition: the caller may hold what that takes.
 * Return: 0; -EINVAL if the description is malformed; -EEXIST if the name is
 * taken. That restoring failed is not an error of registering.
 */
int luo_subsystem_add(struct luo_machine *machine,
		      struct liveupdate_subsystem *subsystem)
{
	int err;

	err = luo_subsystem_check(subsystem);
	if (err)
		return err;

	scoped_guard(mutex, &machine->registered_lock) {
		const char *name = subsystem->desc->name;

		if (luo_find(machine, name))
			return -EEXIST;
		INIT_LIST_HEAD(&subsystem->enlisted);
		subsystem->data = (struct liveupdate_data){};
		subsystem->phase = LUO_PHASE_IDLE;
		hash_add(machine->names, &subsystem->name, luo_name_hash(name));
		list_add_tail(&subsystem->registered,
			      &machine->registered[subsystem->desc->level]);
	}

	if (READ_ONCE(machine->state) != LIVEUPDATE_STATE_UPDATED)
		return 0;

	ACQUIRE(mutex_try, lock)(&machine->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		queue_work(system_dfl_wq, &machine->late);
	else
		luo_restore_late(machine);

	return 0;
}

/**
 * luo_subsystem_remove() - unregister a participant from a machine
 * @machine: the machine
 * @subsystem: the participant
 *
 * A participant that is prepared is cancelled and leaves the table; what it
 * restored counts as unclaimed. Neither happens to a module that is unloaded,
 * because it is pinned, but both can to one whose init function fails late.
 * Nothing happens to one that is not registered.
 *
 * Context: May sleep. Waits for a transition to end.
 */
void luo_subsystem_remove(struct luo_machine *machine,
			  struct liveupdate_subsystem *subsystem)
{
	struct luo_incoming *incoming;

	guard(mutex)(&machine->lock);

	scoped_guard(mutex, &machine->registered_lock) {
		if (!hash_hashed(&subsystem->name))
			return;
		hash_del(&subsystem->name);
		list_del(&subsystem->registered);
	}
	/* The next one of that name may be at the same address. */
	incoming = luo_find_incoming(machine, subsystem->desc->name);
	if (incoming)
		incoming->found = NULL;

	switch (subsystem->phase) {
	case LUO_PHASE_PREPARED:
	case LUO_PHASE_FROZEN:
		luo_transition_begin(machine, LUO_STEP_CANCEL, false);
		if (subsystem->phase == LUO_PHASE_FROZEN)
			luo_call(machine, LUO_STEP_THAW, subsystem);
		luo_call(machine, LUO_STEP_CANCEL, subsystem);
		luo_transition_end(machine);
		luo_retire(subsystem);
		if (machine->state == LIVEUPDATE_STATE_FROZEN)
			luo_handover_write(machine);
		break;
	case LUO_PHASE_RESTORED:
		incoming->subsystem = NULL;
		luo_retain_record(machine, incoming, "its participant is gone");
		luo_retire(subsystem);
		break;
	}
}

/**
 * luo_subsystems_show() - list the participants
 * @machine: the machine
 * @text: on success the list, to be freed with kvfree()
 *
 * A line has the same length in every state, because a reader may need several
 * calls, and each makes the list anew.
 *
 * Context: May sleep. Takes &luo_machine.registered_lock, and so does not wait
 * for a transition.
 * Return: length of the list in bytes, or -ENOMEM.
 */
ssize_t luo_subsystems_show(struct luo_machine *machine, char **text)
{
	struct liveupdate_subsystem *subsystem;
	unsigned int count = 0;
	struct seq_buf list;
	char *buf;
	size_t size;

	guard(mutex)(&machine->registered_lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++)
		count += list_count_nodes(&machine->registered[level]);

	/* Name, two u32, level, class and a u64, each with a separator. */
	size = (count + 1) * (LIVEUPDATE_SUBSYSTEM_NAME_LEN + 2 * 11 + 9 + 10 + 21);
	buf = kvzalloc(size, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	seq_buf_init(&list, buf, size);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &machine->registered[level],
				    registered) {
			const struct liveupdate_subsystem_desc *desc =
				subsystem->desc;

			seq_buf_printf(&list, "%s %u %u %s %s %20llu\n",
				       desc->name, desc->version, desc->oldest,
				       luo_level_names[level],
				       desc->class == LIVEUPDATE_MANDATORY ?
				       "mandatory" : "optional",
				       READ_ONCE(subsystem->data.size));
		}
	}
	*text = buf;

	return seq_buf_used(&list);
}

/**
 * luo_subsystems_add_builtin() - register all built-in participants
 * @machine: the machine
 *
 * Context: early_initcall.
 */
void __init luo_subsystems_add_builtin(struct luo_machine *machine)
{
	struct liveupdate_subsystem **entry;
	int err;

	for (entry = __start_liveupdate_subsystems;
	     entry < __stop_liveupdate_subsystems; entry++) {
		err = luo_subsystem_add(machine, *entry);
		if (err)
			pr_err("%.*s: not registered: %pe\n",
			       LIVEUPDATE_SUBSYSTEM_NAME_LEN,
			       (*entry)->desc->name, ERR_PTR(err));
	}
}

/* The built-in participant of a name, which nobody registered. */
static struct liveupdate_subsystem *__init luo_find_builtin(const char *name)
{
	struct liveupdate_subsystem **entry;

	for (entry = __start_liveupdate_subsystems;
	     entry < __stop_liveupdate_subsystems; entry++) {
		if (!luo_subsystem_check(*entry) &&
		    !strcmp((*entry)->desc->name, name))
			return *entry;
	}

	return NULL;
}

/* Returns 0 if nothing of the record is in use that is not retained by its owner. */
static int __init luo_abandon_one(struct liveupdate_subsystem *subsystem,
				  const struct luo_subsystem_ser *ser)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;
	struct liveupdate_data data = {
		.value = ser->value,
		.size = ser->size,
	};

	if (!subsystem->ops->abandon)
		return -EOPNOTSUPP;
	if (ser->version < desc->oldest || ser->version > desc->version ||
	    (ser->size && !kho_is_restorable(ser->value, ser->size))) {
		pr_warn("%s: cannot abandon version %u with [%u, %u]\n",
			desc->name, ser->version, desc->oldest, desc->version);
		return -EPROTONOSUPPORT;
	}

	return subsystem->ops->abandon(subsystem, &data);
}

/**
 * luo_subsystems_abandon() - let built-in participants abandon their records
 * @machine: the machine, with &luo_machine.incoming filled
 *
 * In the order in which they would have been restored. What cannot be abandoned is
 * retained.
 *
 * Context: May sleep. Takes &luo_machine.lock. At early_initcall, if live update is
 * off.
 */
void __init luo_subsystems_abandon(struct luo_machine *machine)
{
	guard(mutex)(&machine->lock);

	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = machine->nr_incoming; i--; ) {
			struct luo_incoming *incoming = &machine->incoming[i];
			struct liveupdate_subsystem *subsystem =
				luo_find_builtin(incoming->ser.name);

			if (subsystem && subsystem->desc->level == level)
				incoming->tried = !luo_abandon_one(subsystem,
								   &incoming->ser);
		}
	}

	for (unsigned int i = 0; i < machine->nr_incoming; i++) {
		struct luo_incoming *incoming = &machine->incoming[i];

		if (!incoming->tried)
			luo_retain_record(machine, incoming, "live update is off");
		if (!incoming->retained)
			hash_del(&incoming->hash);
	}
	luo_put_incoming(machine);
}
