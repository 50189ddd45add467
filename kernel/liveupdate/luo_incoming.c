// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Records of the previous kernel
 *
 * What becomes of each record (&struct luo_incoming) that was handed over: a
 * participant restores it, at boot or when its module registers; it is finished; or
 * nobody has it, and it is freed or retained (luo_retained.c). Where live update is
 * switched off, it is abandoned.
 *
 * Lifecycle of a record: accepted -> restored -> finished, or
 * accepted -> unclaimed -> freed at FINISH if it is optional; mandatory ones are
 * retained from RESTORE on, until somebody restores them or the operator gives them
 * up. The array of records lives until FINISH, or as long as one is retained.
 *
 * Context: everything may sleep and runs under &luo_machine.lock, unless it says
 * otherwise. luo_forget_record() and luo_forget_table() only try for that lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_machine.h"

static struct luo_incoming *luo_find_incoming(struct luo_machine *machine,
					      const char *name)
{
	struct luo_incoming *incoming;

	lockdep_assert_held(&machine->lock);

	for (unsigned int i = 0; i < machine->nr_incoming; i++) {
		incoming = &machine->incoming[i];
		if (incoming->status != -ENOENT &&
		    !strcmp(incoming->ser.name, name))
			return incoming;
	}

	return NULL;
}

/* What luo_peek_incoming() says of a record. */
static void luo_set_status(struct luo_machine *machine,
			   struct luo_incoming *incoming, int status)
{
	lockdep_assert_held(&machine->lock);

	guard(spinlock_irqsave)(&machine->incoming_lock);
	incoming->status = status;
}

/* Enter the records of the previous kernel. Any context that holds &luo_machine.lock. */
void luo_subsystems_accept(struct luo_machine *machine,
			   struct luo_incoming *incoming, unsigned int count)
{
	lockdep_assert_held(&machine->lock);

	scoped_guard(spinlock_irqsave, &machine->incoming_lock) {
		machine->incoming = incoming;
		machine->nr_incoming = count;
	}
	WRITE_ONCE(machine->arrived, true);
}

/* After FINISH records are kept as long as one of them is retained. */
static void luo_put_incoming(struct luo_machine *machine)
{
	struct luo_incoming *incoming = machine->incoming;

	lockdep_assert_held(&machine->lock);

	for (unsigned int i = 0; i < machine->nr_incoming; i++) {
		if (incoming[i].status != -ENOENT)
			return;
	}

	scoped_guard(spinlock_irqsave, &machine->incoming_lock) {
		machine->incoming = NULL;
		machine->nr_incoming = 0;
	}
	kvfree(incoming);
}

/* Can a participant read the version of a record? */
static bool luo_is_readable(const struct liveupdate_subsystem *subsystem,
			    const struct luo_subsystem_ser *ser)
{
	return ser->version >= subsystem->desc->oldest &&
	       ser->version <= subsystem->desc->version;
}

/* Who knows what a blob leads to, pinned, or NULL. */
static struct liveupdate_subsystem *luo_get_disposer(struct luo_machine *machine,
						     const struct luo_subsystem_ser *ser)
{
	struct liveupdate_subsystem *subsystem;

	guard(mutex)(&machine->registered_lock);

	subsystem = luo_subsystem_find(machine, ser->name);
	if (!subsystem || !subsystem->ops->dispose ||
	    !luo_is_readable(subsystem, ser) ||
	    !try_module_get(subsystem->ops->owner))
		return NULL;

	return subsystem;
}

/*
 * Free what nobody wants any more. A blob can lead to more, which only its participant
 * can follow; if it is not there, that stays reserved until the next boot.
 */
static void luo_free_blob(struct luo_machine *machine,
			  const struct luo_subsystem_ser *ser)
{
	struct liveupdate_data data = { .value = ser->value, .size = ser->size };
	struct liveupdate_subsystem *subsystem;

	lockdep_assert_held(&machine->lock);

	if (!ser->size || !kho_is_restorable(ser->value, ser->size))
		return;

	subsystem = luo_get_disposer(machine, ser);
	if (subsystem) {
		subsystem->ops->dispose(subsystem, &data);
		module_put(subsystem->ops->owner);
	}
	kho_discard(ser->value, ser->size);
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
	luo_set_status(machine, incoming, -ENOENT);
	luo_free_blob(machine, &incoming->ser);
	if (machine->state != LIVEUPDATE_STATE_UPDATED)
		luo_put_incoming(machine);

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

/* It is not known what the previous kernel left. May sleep. Takes &luo_machine.lock. */
void luo_subsystems_retain_table(struct luo_machine *machine)
{
	guard(mutex)(&machine->lock);

	machine->unreadable = luo_retain(&machine->retained, "liveupdate", "table", 0,
					 "the table of participants cannot be used",
					 luo_forget_table, machine);
}

/* Who has restored, and fails to do the rest, has nothing. */
static void luo_restore_one_late(struct luo_machine *machine,
				 struct luo_incoming *incoming)
{
	struct liveupdate_subsystem *subsystem = incoming->subsystem;

	if (!subsystem->ops->restore_late ||
	    !luo_subsystem_call(machine, LUO_STEP_RESTORE, subsystem))
		return;

	incoming->subsystem = NULL;
	luo_set_status(machine, incoming, -ENOTRECOVERABLE);
	luo_retain_record(machine, incoming, "it could not be restored in full");
	luo_subsystem_retire(subsystem);
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
	else if (!luo_is_readable(subsystem, &incoming->ser))
		err = -EPROTONOSUPPORT;
	else if (!try_module_get(subsystem->ops->owner))
		err = -ENODEV;
	if (err) {
		pr_warn("%s: cannot restore version %u with [%u, %u]: %pe\n",
			desc->name, incoming->ser.version, desc->oldest,
			desc->version, ERR_PTR(err));
		luo_record_failure(machine, LUO_STEP_RESTORE, desc->name, err, "",
				   err == -EINVAL ? "its data was not handed over" :
				   err == -ENODEV ? "its module is being unloaded" :
				   "the version cannot be read");
		return;
	}

	incoming->tried = true;
	luo_set_status(machine, incoming, -EALREADY);
	subsystem->data.value = incoming->ser.value;
	subsystem->data.size = incoming->ser.size;
	if (luo_subsystem_call(machine, LUO_STEP_RESTORE, subsystem)) {
		luo_set_status(machine, incoming, -ENOTRECOVERABLE);
		luo_subsystem_retire(subsystem);
		return;
	}
	subsystem->phase = LUO_PHASE_RESTORED;
	incoming->subsystem = subsystem;
	luo_retained_release(incoming->retained);
	incoming->retained = NULL;
	if (machine->restores_late)
		luo_restore_one_late(machine, incoming);
}

/*
 * The rest of RESTORE, with all memory and processors. For those who have restored and
 * have more to do, in the same order. Who restores from here on does both at once. May
 * sleep. &luo_machine.lock held.
 */
void luo_subsystems_restore_late(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	machine->restores_late = true;
	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = machine->nr_incoming; i--; ) {
			struct luo_incoming *incoming = &machine->incoming[i];

			if (incoming->subsystem &&
			    incoming->subsystem->desc->level == level)
				luo_restore_one_late(machine, incoming);
		}
	}
}

/* RESTORE every participant that has a record. May sleep. &luo_machine.lock held. */
void luo_subsystems_restore(struct luo_machine *machine)
{
	struct luo_incoming *incoming = machine->incoming;
	unsigned int count = machine->nr_incoming;
	u64 start = luo_timeline_now();

	lockdep_assert_held(&machine->lock);

	luo_instances_arrived(machine);
	/* Nothing is allocated here: nobody is asked twice, and all have to be asked. */
	scoped_guard(mutex, &machine->registered_lock) {
		for (unsigned int i = 0; i < count; i++)
			incoming[i].found =
				luo_subsystem_find(machine, incoming[i].ser.name);
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
	luo_instances_restored(machine);
	luo_timeline_step(machine, LUO_STEP_RESTORE, start, 0);
}

/* Free the blob, and what it leads to, if nobody claimed it and it was optional. */
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
	luo_free_blob(machine, ser);
}

static int luo_can_finish_one(struct luo_machine *machine,
			      struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_ops *ops = subsystem->ops;
	const char *name = subsystem->desc->name;
	bool can;

	if (!ops->can_finish)
		return 0;

	luo_progress_enter(machine, LUO_STEP_FINISH, name);
	luo_callback_begins(machine);
	can = ops->can_finish(subsystem, &subsystem->data);
	luo_progress_leave(machine);
	if (can)
		return 0;

	luo_callback_failed(machine, LUO_STEP_FINISH, name, -EBUSY);

	return -EBUSY;
}

/*
 * Ask those who restored whether something still waits. In the order of FINISH, up to
 * the first that says so. May sleep. &luo_machine.lock held.
 */
int luo_subsystems_can_finish(struct luo_machine *machine)
{
	int err;

	lockdep_assert_held(&machine->lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		for (unsigned int i = 0; i < machine->nr_incoming; i++) {
			struct liveupdate_subsystem *subsystem =
				machine->incoming[i].subsystem;

			if (!subsystem || subsystem->desc->level != level)
				continue;
			err = luo_can_finish_one(machine, subsystem);
			if (err)
				return err;
		}
	}

	return 0;
}

/* FINISH everybody who restored, drop the rest. May sleep. &luo_machine.lock held. */
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
			luo_subsystem_call(machine, LUO_STEP_FINISH, subsystem);
		}
	}

	for (unsigned int i = 0; i < count; i++) {
		struct luo_incoming *incoming = &machine->incoming[i];

		luo_dispose(machine, incoming);
		if (incoming->subsystem)
			luo_subsystem_retire(incoming->subsystem);
		incoming->subsystem = NULL;
		if (incoming->retained) {
			luo_set_status(machine, incoming, -ENOTRECOVERABLE);
			bytes += incoming->ser.size;
			kept++;
		} else {
			luo_set_status(machine, incoming, -ENOENT);
		}
	}
	if (kept)
		pr_warn("%llu bytes of %u mandatory participants stay retained, and there is no other update while they are\n",
			bytes, kept);

	luo_put_incoming(machine);
	luo_instances_finish(machine);
	luo_timeline_step(machine, LUO_STEP_FINISH, start, 0);
}

/*
 * Let those take over their records who came since RESTORE. May sleep. &luo_machine.lock
 * held.
 */
void luo_incoming_late(struct luo_machine *machine)
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
			found = luo_subsystem_find(machine, incoming->ser.name);
		if (!found || found == incoming->found)
			continue;
		incoming->found = found;
		luo_transition_begin(machine, LUO_STEP_RESTORE, false);
		luo_restore_one(machine, incoming, found);
		luo_transition_end(machine);
	}
}

/*
 * The same, once no transition is under way any more. May sleep. Takes
 * &luo_machine.lock.
 */
void luo_subsystems_late(struct work_struct *work)
{
	struct luo_machine *machine = container_of(work, struct luo_machine, late);

	guard(mutex)(&machine->lock);
	luo_incoming_late(machine);
}

/*
 * A participant leaves that may have restored a record. What it restored counts as
 * unclaimed. May sleep. &luo_machine.lock held.
 */
void luo_incoming_drop(struct luo_machine *machine,
		       struct liveupdate_subsystem *subsystem)
{
	struct luo_incoming *incoming;

	incoming = luo_find_incoming(machine, subsystem->desc->name);
	if (!incoming)
		return;

	/* The next one of that name may be at the same address. */
	incoming->found = NULL;
	if (subsystem->phase != LUO_PHASE_RESTORED)
		return;

	incoming->subsystem = NULL;
	luo_set_status(machine, incoming, -ENOTRECOVERABLE);
	luo_retain_record(machine, incoming, "its participant is gone");
	luo_subsystem_retire(subsystem);
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
	if (!luo_is_readable(subsystem, ser) ||
	    (ser->size && !kho_is_restorable(ser->value, ser->size))) {
		pr_warn("%s: cannot abandon version %u with [%u, %u]\n",
			desc->name, ser->version, desc->oldest, desc->version);
		return -EPROTONOSUPPORT;
	}

	return subsystem->ops->abandon(subsystem, &data);
}

/*
 * Let built-in participants abandon their records. In the order in which they would have
 * been restored. What cannot be abandoned is retained. May sleep. Takes
 * &luo_machine.lock. At early_initcall, if live update is off.
 */
void __init luo_subsystems_abandon(struct luo_machine *machine)
{
	guard(mutex)(&machine->lock);

	luo_instances_arrived(machine);
	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = machine->nr_incoming; i--; ) {
			struct luo_incoming *incoming = &machine->incoming[i];
			struct liveupdate_subsystem *subsystem =
				luo_subsystem_builtin(incoming->ser.name);

			if (!subsystem || subsystem->desc->level != level)
				continue;
			incoming->tried = !luo_abandon_one(subsystem,
							   &incoming->ser);
		}
	}

	for (unsigned int i = 0; i < machine->nr_incoming; i++) {
		struct luo_incoming *incoming = &machine->incoming[i];

		if (!incoming->tried)
			luo_retain_record(machine, incoming, "live update is off");
		luo_set_status(machine, incoming,
			       incoming->retained ? -ENOTRECOVERABLE : -ENOENT);
	}
	luo_put_incoming(machine);
	luo_instances_restored(machine);
}
