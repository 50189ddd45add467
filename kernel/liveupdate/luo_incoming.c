// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Records of the previous kernel
 *
 * What becomes of each record (&struct luo_incoming) that was handed over: a
 * subsystem restores it, at boot or when its module registers; it is finished; or
 * nobody has it, and it is freed or retained (luo_retained.c). Where live update is
 * switched off, it is discarded.
 *
 * Lifecycle of a record: accepted -> restored -> finished, or
 * accepted -> unclaimed -> freed at FINISH if it is optional; mandatory ones are
 * retained from RESTORE on, until somebody restores them or the operator gives them
 * up. The array of records lives until FINISH, or as long as one is retained.
 *
 * Context: everything may sleep and runs under &luo_ctx.lock, unless it says
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

#include "luo_ctx.h"

static struct luo_incoming *luo_find_incoming(struct luo_ctx *ctx,
					      const char *name)
{
	struct luo_incoming *incoming;
	u32 hash = luo_name_hash(name);

	lockdep_assert_held(&ctx->lock);

	for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
		incoming = &ctx->incoming[i];
		if (incoming->name_hash == hash && incoming->status != -ENOENT &&
		    !strcmp(incoming->ser.name, name))
			return incoming;
	}

	return NULL;
}

/* What luo_peek_incoming() says of a record. */
static void luo_set_status(struct luo_ctx *ctx,
			   struct luo_incoming *incoming, int status)
{
	lockdep_assert_held(&ctx->lock);

	guard(spinlock_irqsave)(&ctx->incoming_lock);
	incoming->status = status;
}

/* Enter the records of the previous kernel. Any context that holds &luo_ctx.lock. */
void luo_subsystems_accept(struct luo_ctx *ctx,
			   struct luo_incoming *incoming, unsigned int count)
{
	lockdep_assert_held(&ctx->lock);

	scoped_guard(spinlock_irqsave, &ctx->incoming_lock) {
		ctx->incoming = incoming;
		ctx->nr_incoming = count;
	}
	WRITE_ONCE(ctx->arrived, true);
}

/* After FINISH records are kept as long as one of them is retained. */
static void luo_put_incoming(struct luo_ctx *ctx)
{
	struct luo_incoming *incoming = ctx->incoming;

	lockdep_assert_held(&ctx->lock);

	for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
		if (incoming[i].status != -ENOENT)
			return;
	}

	scoped_guard(spinlock_irqsave, &ctx->incoming_lock) {
		ctx->incoming = NULL;
		ctx->nr_incoming = 0;
	}
	kvfree(incoming);
}

/* Can a subsystem read the version of a record? */
static bool luo_is_readable(const struct liveupdate_subsystem *subsystem,
			    const struct luo_subsystem_ser *ser)
{
	return ser->version >= subsystem->desc->oldest &&
	       ser->version <= subsystem->desc->version;
}

/* Who knows what a blob leads to, pinned, or NULL. */
static struct liveupdate_subsystem *luo_get_disposer(struct luo_ctx *ctx,
						     const struct luo_subsystem_ser *ser)
{
	struct liveupdate_subsystem *subsystem;

	guard(mutex)(&ctx->registered_lock);

	subsystem = luo_subsystem_find(ctx, ser->name);
	if (!subsystem || !subsystem->ops->dispose ||
	    !luo_is_readable(subsystem, ser) ||
	    !try_module_get(subsystem->ops->owner))
		return NULL;

	return subsystem;
}

/*
 * Free what nobody wants any more. A blob can lead to more, which only its subsystem
 * can follow; if it is not there, that stays reserved until the next boot.
 */
static void luo_free_blob(struct luo_ctx *ctx,
			  const struct luo_subsystem_ser *ser)
{
	struct liveupdate_data data = { .value = ser->value, .size = ser->size };
	struct liveupdate_subsystem *subsystem;

	lockdep_assert_held(&ctx->lock);

	if (!ser->size || !kho_is_restorable(ser->value, ser->size))
		return;

	subsystem = luo_get_disposer(ctx, ser);
	if (subsystem) {
		subsystem->ops->dispose(subsystem, &data);
		module_put(subsystem->ops->owner);
	}
	kho_discard(ser->value, ser->size);
}

/* The operator says that the blob of @name is not used by anything. */
static int luo_forget_record(void *context, const char *name, const char *unused)
{
	struct luo_ctx *ctx = context;
	struct luo_incoming *incoming;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;

	incoming = luo_find_incoming(ctx, name);
	if (!incoming || !incoming->retained)
		return -ENOENT;

	incoming->tried = true;
	luo_retained_release(incoming->retained);
	incoming->retained = NULL;
	luo_set_status(ctx, incoming, -ENOENT);
	luo_free_blob(ctx, &incoming->ser);
	if (ctx->state != LIVEUPDATE_STATE_UPDATED)
		luo_put_incoming(ctx);

	return 0;
}

/* Nobody has the blob of a record. If it is mandatory it may be in use. */
static void luo_retain_record(struct luo_ctx *ctx,
			      struct luo_incoming *incoming, const char *reason)
{
	const struct luo_subsystem_ser *ser = &incoming->ser;

	lockdep_assert_held(&ctx->lock);

	if (incoming->retained || !ser->size ||
	    !(ser->flags & LUO_SUBSYSTEM_SER_MANDATORY))
		return;

	pr_warn("%s: %llu bytes of mandatory data are retained: %s\n", ser->name,
		ser->size, reason);
	incoming->retained = luo_retain(&ctx->retained, ser->name, "",
					ser->size, reason, luo_forget_record,
					ctx);
}

static int luo_forget_table(void *context, const char *owner, const char *name)
{
	struct luo_ctx *ctx = context;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	if (!ctx->unreadable)
		return -ENOENT;

	luo_retained_release(ctx->unreadable);
	ctx->unreadable = NULL;

	return 0;
}

/* It is not known what the previous kernel left. May sleep. Takes &luo_ctx.lock. */
void luo_subsystems_retain_table(struct luo_ctx *ctx)
{
	guard(mutex)(&ctx->lock);

	ctx->unreadable = luo_retain(&ctx->retained, "liveupdate", "table", 0,
				     "the table of subsystems cannot be used",
				     luo_forget_table, ctx);
}

/* Who has restored, and fails to do the rest, has nothing. */
static void luo_restore_one_late(struct luo_ctx *ctx,
				 struct luo_incoming *incoming)
{
	struct liveupdate_subsystem *subsystem = incoming->subsystem;

	if (!subsystem->ops->restore_late ||
	    !luo_subsystem_call(ctx, LUO_TRANSITION_RESTORE, subsystem))
		return;

	incoming->subsystem = NULL;
	luo_set_status(ctx, incoming, -ENOTRECOVERABLE);
	luo_retain_record(ctx, incoming, "it could not be restored in full");
	luo_subsystem_retire(subsystem);
}

/* Let @subsystem take over the record of its name, if it can. */
static void luo_restore_one(struct luo_ctx *ctx,
			    struct luo_incoming *incoming,
			    struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;
	int err = 0;

	lockdep_assert_held(&ctx->lock);

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
		luo_record_failure(ctx, LUO_TRANSITION_RESTORE, desc->name, err, "",
				   err == -EINVAL ? "its data was not handed over" :
				   err == -ENODEV ? "its module is being unloaded" :
				   "the version cannot be read");
		return;
	}

	incoming->tried = true;
	luo_set_status(ctx, incoming, -EALREADY);
	subsystem->data.value = incoming->ser.value;
	subsystem->data.size = incoming->ser.size;
	if (luo_subsystem_call(ctx, LUO_TRANSITION_RESTORE, subsystem)) {
		luo_set_status(ctx, incoming, -ENOTRECOVERABLE);
		luo_subsystem_retire(subsystem);
		return;
	}
	subsystem->phase = LUO_PHASE_RESTORED;
	incoming->subsystem = subsystem;
	luo_retained_release(incoming->retained);
	incoming->retained = NULL;
	if (ctx->restores_late)
		luo_restore_one_late(ctx, incoming);
}

/*
 * The rest of RESTORE, with all memory and processors. For those who have restored and
 * have more to do, in the same order. Who restores from here on does both at once. May
 * sleep. &luo_ctx.lock held.
 */
void luo_subsystems_restore_late(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	ctx->restores_late = true;
	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = ctx->nr_incoming; i--; ) {
			struct luo_incoming *incoming = &ctx->incoming[i];

			if (incoming->subsystem &&
			    incoming->subsystem->desc->level == level)
				luo_restore_one_late(ctx, incoming);
		}
	}
}

/* RESTORE every subsystem that has a record. May sleep. &luo_ctx.lock held. */
void luo_subsystems_restore(struct luo_ctx *ctx)
{
	struct luo_incoming *incoming = ctx->incoming;
	unsigned int count = ctx->nr_incoming;
	u64 start = luo_timeline_now();

	lockdep_assert_held(&ctx->lock);

	luo_instances_arrived(ctx);
	/* Nothing is allocated here: nobody is asked twice, and all have to be asked. */
	scoped_guard(mutex, &ctx->registered_lock) {
		for (unsigned int i = 0; i < count; i++)
			incoming[i].found =
				luo_subsystem_find(ctx, incoming[i].ser.name);
	}

	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = count; i--; ) {
			struct liveupdate_subsystem *found = incoming[i].found;

			if (found && found->desc->level == level)
				luo_restore_one(ctx, &incoming[i], found);
		}
	}
	for (unsigned int i = 0; i < count; i++) {
		if (!incoming[i].subsystem)
			luo_retain_record(ctx, &incoming[i],
					  "nobody has restored it");
	}
	luo_instances_restored(ctx);
	luo_timeline_transition(ctx, LUO_TRANSITION_RESTORE, start, 0);
}

/* Free the blob, and what it leads to, if nobody claimed it and it was optional. */
static void luo_dispose(struct luo_ctx *ctx,
			struct luo_incoming *incoming)
{
	const struct luo_subsystem_ser *ser = &incoming->ser;

	if (incoming->retained || !ser->size ||
	    !kho_is_restorable(ser->value, ser->size))
		return;

	if (ser->flags & LUO_SUBSYSTEM_SER_MANDATORY) {
		luo_retain_record(ctx, incoming, "nobody has claimed it");
		return;
	}

	pr_notice("%s: nobody claimed %llu bytes of optional data, freed\n",
		  ser->name, ser->size);
	luo_free_blob(ctx, ser);
}

static int luo_check_finish_one(struct luo_ctx *ctx,
				struct liveupdate_subsystem *subsystem)
{
	const struct liveupdate_subsystem_ops *ops = subsystem->ops;
	const char *name = subsystem->desc->name;
	bool can;

	if (!ops->can_finish)
		return 0;

	luo_progress_enter(ctx, LUO_TRANSITION_FINISH, name);
	luo_callback_begins(ctx);
	can = ops->can_finish(subsystem, &subsystem->data);
	luo_progress_leave(ctx);
	if (can)
		return 0;

	luo_callback_failed(ctx, LUO_TRANSITION_FINISH, name, -EBUSY);

	return -EBUSY;
}

/*
 * Ask those who restored whether something still waits. In the order of FINISH, up to
 * the first that says so. May sleep. &luo_ctx.lock held.
 */
int luo_subsystems_check_finish(struct luo_ctx *ctx)
{
	int err;

	lockdep_assert_held(&ctx->lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
			struct liveupdate_subsystem *subsystem =
				ctx->incoming[i].subsystem;

			if (!subsystem || subsystem->desc->level != level)
				continue;
			err = luo_check_finish_one(ctx, subsystem);
			if (err)
				return err;
		}
	}

	return 0;
}

/* FINISH everybody who restored, drop the rest. May sleep. &luo_ctx.lock held. */
void luo_subsystems_finish(struct luo_ctx *ctx)
{
	unsigned int count = ctx->nr_incoming, kept = 0;
	u64 start = luo_timeline_now();
	u64 bytes = 0;

	lockdep_assert_held(&ctx->lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		for (unsigned int i = 0; i < count; i++) {
			struct liveupdate_subsystem *subsystem =
				ctx->incoming[i].subsystem;

			if (!subsystem || subsystem->desc->level != level)
				continue;
			luo_subsystem_call(ctx, LUO_TRANSITION_FINISH, subsystem);
		}
	}

	for (unsigned int i = 0; i < count; i++) {
		struct luo_incoming *incoming = &ctx->incoming[i];

		luo_dispose(ctx, incoming);
		if (incoming->subsystem)
			luo_subsystem_retire(incoming->subsystem);
		incoming->subsystem = NULL;
		if (incoming->retained) {
			luo_set_status(ctx, incoming, -ENOTRECOVERABLE);
			bytes += incoming->ser.size;
			kept++;
		} else {
			luo_set_status(ctx, incoming, -ENOENT);
		}
	}
	if (kept)
		pr_warn("%llu bytes of %u mandatory subsystems stay retained, and there is no other update while they are\n",
			bytes, kept);

	luo_put_incoming(ctx);
	luo_instances_finish(ctx);
	luo_timeline_transition(ctx, LUO_TRANSITION_FINISH, start, 0);
}

/*
 * Let those take over their records who came since RESTORE. May sleep. &luo_ctx.lock
 * held.
 */
void luo_incoming_late(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	if (ctx->state != LIVEUPDATE_STATE_UPDATED)
		return;

	for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
		struct luo_incoming *incoming = &ctx->incoming[i];
		struct liveupdate_subsystem *found;

		if (incoming->subsystem || incoming->tried)
			continue;
		/* It cannot go away before the lock of the machine is released. */
		scoped_guard(mutex, &ctx->registered_lock)
			found = luo_subsystem_find(ctx, incoming->ser.name);
		if (!found || found == incoming->found)
			continue;
		incoming->found = found;
		luo_transition_begin(ctx, LUO_TRANSITION_RESTORE, false);
		luo_restore_one(ctx, incoming, found);
		luo_transition_end(ctx);
	}
}

/*
 * The same, once no transition is under way any more. May sleep. Takes
 * &luo_ctx.lock.
 */
void luo_subsystems_late(struct work_struct *work)
{
	struct luo_ctx *ctx = container_of(work, struct luo_ctx, late);

	guard(mutex)(&ctx->lock);
	luo_incoming_late(ctx);
}

/*
 * A subsystem leaves that may have restored a record. What it restored counts as
 * unclaimed. May sleep. &luo_ctx.lock held.
 */
void luo_incoming_drop(struct luo_ctx *ctx,
		       struct liveupdate_subsystem *subsystem)
{
	struct luo_incoming *incoming;

	incoming = luo_find_incoming(ctx, subsystem->desc->name);
	if (!incoming)
		return;

	/* The next one of that name may be at the same address. */
	incoming->found = NULL;
	if (subsystem->phase != LUO_PHASE_RESTORED)
		return;

	incoming->subsystem = NULL;
	luo_set_status(ctx, incoming, -ENOTRECOVERABLE);
	luo_retain_record(ctx, incoming, "its subsystem is gone");
	luo_subsystem_retire(subsystem);
}

/* Returns 0 if nothing of the record is in use that is not retained by its owner. */
static int __init luo_discard_one(struct liveupdate_subsystem *subsystem,
				  const struct luo_subsystem_ser *ser)
{
	const struct liveupdate_subsystem_desc *desc = subsystem->desc;
	struct liveupdate_data data = {
		.value = ser->value,
		.size = ser->size,
	};

	if (!subsystem->ops->discard)
		return -EOPNOTSUPP;
	if (!luo_is_readable(subsystem, ser) ||
	    (ser->size && !kho_is_restorable(ser->value, ser->size))) {
		pr_warn("%s: cannot discard version %u with [%u, %u]\n",
			desc->name, ser->version, desc->oldest, desc->version);
		return -EPROTONOSUPPORT;
	}

	return subsystem->ops->discard(subsystem, &data);
}

/*
 * Let built-in subsystems discard their records. In the order in which they would have
 * been restored. What cannot be discarded is retained. May sleep. Takes
 * &luo_ctx.lock. At early_initcall, if live update is off.
 */
void __init luo_subsystems_discard(struct luo_ctx *ctx)
{
	guard(mutex)(&ctx->lock);

	luo_instances_arrived(ctx);
	for (int level = LIVEUPDATE_NR_LEVELS - 1; level >= 0; level--) {
		for (unsigned int i = ctx->nr_incoming; i--; ) {
			struct luo_incoming *incoming = &ctx->incoming[i];
			struct liveupdate_subsystem *subsystem =
				luo_subsystem_builtin(incoming->ser.name);

			if (!subsystem || subsystem->desc->level != level)
				continue;
			incoming->tried = !luo_discard_one(subsystem,
							   &incoming->ser);
		}
	}

	for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
		struct luo_incoming *incoming = &ctx->incoming[i];

		if (!incoming->tried)
			luo_retain_record(ctx, incoming, "live update is off");
		luo_set_status(ctx, incoming,
			       incoming->retained ? -ENOTRECOVERABLE : -ENOENT);
	}
	luo_put_incoming(ctx);
	luo_instances_restored(ctx);
}
