// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Registration of subsystems
 *
 * Who takes part: built-in subsystems from early_initcall on, modules when they ask
 * for it. Registering waits for no transition. Who comes after the subsystems of a
 * preparation are determined would miss the update, without anybody being told: what it
 * has by then would be lost in the kexec. To refuse it would mean that a module cannot
 * be loaded, which is tried once only by those who load modules, while a prepare is
 * easily repeated. So the preparation is cancelled, and the operator is told why. If
 * there is a record for who registers, it is restored at once, or by a work item when
 * the transition is over. Who leaves is taken out of what is under way.
 *
 * Contexts and lock order: luo_subsystem.c.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "luo_ctx.h"

static unsigned int luo_nr_registered(struct luo_ctx *ctx)
{
	unsigned int count = 0;

	lockdep_assert_held(&ctx->registered_lock);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++)
		count += list_count_nodes(&ctx->registered[level]);

	return count;
}

/*
 * Register a subsystem with a machine. If the machine holds a record for it, the
 * subsystem restores it now, or when the transition under way is over. If the machine
 * is prepared, or is being prepared without it, the preparation has become invalid. May
 * sleep. Waits for no transition: the caller may hold what that takes.
 */
int luo_subsystem_add(struct luo_ctx *ctx,
		      struct liveupdate_subsystem *subsystem)
{
	bool late;
	int err;

	err = luo_subsystem_check(subsystem);
	if (err)
		return err;

	scoped_guard(mutex, &ctx->registered_lock) {
		const char *name = subsystem->desc->name;

		if (luo_subsystem_find(ctx, name))
			return -EEXIST;
		if (luo_nr_registered(ctx) == LUO_SUBSYSTEMS_MAX)
			return -ENOSPC;
		INIT_LIST_HEAD(&subsystem->enlisted);
		subsystem->data = (struct liveupdate_data){};
		subsystem->phase = LUO_PHASE_IDLE;
		subsystem->name_hash = luo_name_hash(name);
		list_add_tail(&subsystem->registered,
			      &ctx->registered[subsystem->desc->level]);
		late = ctx->snapshot;
		subsystem->dir = NULL;
		luo_subsystem_dir_publish(ctx, subsystem);
	}
	if (late) {
		pr_warn("%s: registered after prepare, which is cancelled\n",
			subsystem->desc->name);
		luo_ctx_invalidate(ctx, subsystem, -EAGAIN, "",
				   "it registered after prepare");
	}

	if (READ_ONCE(ctx->state) != LIVEUPDATE_STATE_UPDATED)
		return 0;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		queue_work(system_dfl_wq, &ctx->late);
	else
		luo_incoming_late(ctx);

	return 0;
}

/*
 * Unregister a subsystem from a machine. A subsystem that is prepared is cancelled
 * and leaves the table; what it restored counts as unclaimed. Neither happens to a
 * module that is unloaded, because it is pinned, but both can to one whose init function
 * fails late. Nothing happens to one that is not registered. May sleep. Waits for a
 * transition to end.
 */
void luo_subsystem_remove(struct luo_ctx *ctx,
			  struct liveupdate_subsystem *subsystem)
{
	guard(mutex)(&ctx->lock);

	scoped_guard(mutex, &ctx->registered_lock) {
		if (luo_subsystem_find(ctx, subsystem->desc->name) != subsystem)
			return;
		list_del(&subsystem->registered);
		luo_subsystem_dir_withdraw(ctx, subsystem);
	}
	luo_incoming_drop(ctx, subsystem);
	luo_outgoing_drop(ctx, subsystem);
}

/*
 * List the subsystems. A line has the same length in every state, because a reader may
 * need several calls, and each makes the list anew. May sleep. Takes
 * &luo_ctx.registered_lock, and so does not wait for a transition. Returns length of
 * the list in bytes, or -ENOMEM.
 */
ssize_t luo_subsystems_show(struct luo_ctx *ctx, char **text)
{
	struct liveupdate_subsystem *subsystem;
	struct seq_buf list;
	char *buf;
	size_t size;

	guard(mutex)(&ctx->registered_lock);

	/* Name, two u32, level, class and a u64, each with a separator. */
	size = (luo_nr_registered(ctx) + 1) *
		(LIVEUPDATE_SUBSYSTEM_NAME_LEN + 2 * 11 + 9 + 10 + 21);
	buf = kvzalloc(size, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	seq_buf_init(&list, buf, size);

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &ctx->registered[level],
				    registered) {
			const struct liveupdate_subsystem_desc *desc =
				subsystem->desc;

			seq_buf_printf(&list, "%s %u %u %s %s %20llu\n",
				       desc->name, desc->version, desc->oldest,
				       luo_level_name(level),
				       luo_class_name(desc->class),
				       READ_ONCE(subsystem->data.size));
		}
	}
	*text = buf;

	return seq_buf_used(&list);
}

/* Register all built-in subsystems. At early_initcall. */
void __init luo_subsystems_add_builtin(struct luo_ctx *ctx)
{
	struct liveupdate_subsystem **entry;
	int err;

	for (entry = __start_liveupdate_subsystems;
	     entry < __stop_liveupdate_subsystems; entry++) {
		err = luo_subsystem_add(ctx, *entry);
		if (err)
			pr_err("%.*s: not registered: %pe\n",
			       LIVEUPDATE_SUBSYSTEM_NAME_LEN,
			       (*entry)->desc->name, ERR_PTR(err));
	}
}
