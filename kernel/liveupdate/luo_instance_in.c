// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Instances of the previous kernel
 *
 * What becomes of the instances (luo_instance_out.c) that were handed over. Subsystems
 * find them by key or one after the other, from restore to finish, and claim one once it
 * is theirs.
 *
 * Lifecycle of an instance: accepted -> claimed -> gone at FINISH, or
 * accepted -> unclaimed -> freed at FINISH if it is optional. Mandatory ones are
 * retained (luo_retained.c): from RESTORE on as one cause for each subsystem,
 * "instances", until all are claimed; from FINISH on as one for each instance,
 * "instance-KEY". One that is claimed after FINISH is gone at once.
 *
 * What cannot be read
 *   - A record whose block is corrupted, or a whole table, says nothing about whose it
 *     was. It is counted. As long as it may be the one that somebody looks for, a search
 *     that finds nothing fails with -EBADMSG instead of -ENOENT. If it was in the table
 *     of mandatory instances, all of it is retained as "liveupdate:instances".
 *   - A record whose data is not where it says, or is that of another one, too, is
 *     found, but cannot be claimed: -EBADMSG. Mandatory ones are retained like those that
 *     nobody claims. Their data is never freed.
 *   - An instance that the previous kernel lost: -ENODATA.
 *
 *   All of them are in the log; if a mandatory one is among them, it is what failed last.
 *
 * Context: everything may sleep. &luo_instances.lock protects the records; it is inside
 * &luo_ctx.lock and the locks of subsystems, outside those of luo_retained.c, and
 * outside &luo_ctx.registered_lock. It is released while a subsystem disposes of what
 * one of its instances refers to.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bsearch.h>
#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "luo_ctx.h"

#define LUO_INSTANCES_ITEM	"instances"
#define LUO_INSTANCE_ITEM	"instance-%llu"
#define LUO_INSTANCE_ITEM_LEN	32

static int luo_instance_cmp(const void *a, const void *b)
{
	const struct luo_instance_ser *first = &((struct luo_instance_in *)a)->ser;
	const struct luo_instance_ser *second = &((struct luo_instance_in *)b)->ser;

	return strcmp(first->subsystem, second->subsystem) ?:
	       cmp_int(first->key, second->key);
}

/* Those without a blob come first. */
static int luo_instance_cmp_blob(const void *a, const void *b)
{
	const struct luo_instance_ser *first = &((struct luo_instance_in *)a)->ser;
	const struct luo_instance_ser *second = &((struct luo_instance_in *)b)->ser;

	return cmp_int(!!first->size, !!second->size) ?:
	       cmp_int(first->value, second->value);
}

static bool luo_instance_valid(const struct luo_instance_ser *ser)
{
	bool blob = ser->flags & LUO_INSTANCE_SER_BLOB;

	return luo_name_valid(ser->subsystem) && ser->version &&
	       !(ser->flags & ~LUO_INSTANCE_SER_FLAGS) && blob == !!ser->size &&
	       (!(ser->flags & LUO_INSTANCE_SER_LOST) || (!blob && !ser->value));
}

static int luo_instance_status(const struct luo_instance_ser *ser)
{
	if (ser->flags & LUO_INSTANCE_SER_LOST)
		return -ENODATA;
	if (ser->size && !kho_is_restorable(ser->value, ser->size))
		return -EBADMSG;

	return 0;
}

/* Read a table into @to, and count what cannot be used. */
static int luo_instances_read(struct luo_instances *instances, u32 class,
			      phys_addr_t phys, size_t size)
{
	const struct luo_instance_ser *ser;
	struct kho_table_incoming table;
	struct luo_instance_in *in;
	u32 position, total;
	bool corrupted;
	int err;

	err = kho_table_open(&table, luo_instances_format(), phys, size);
	if (err)
		return err;

	total = kho_table_nr_records(&table);
	in = kvrealloc(instances->in,
		       size_mul(instances->nr_in + max(total, 1U), sizeof(*in)),
		       GFP_KERNEL | __GFP_ZERO);
	if (!in) {
		kho_table_close(&table);
		return -ENOMEM;
	}
	instances->in = in;

	while ((ser = kho_table_next(&table, &position, &corrupted))) {
		if (corrupted || !luo_instance_valid(ser)) {
			instances->nr_unreadable[class]++;
			continue;
		}
		in = &instances->in[instances->nr_in++];
		*in = (struct luo_instance_in){
			.ser	= *ser,
			.class	= class,
			.status	= luo_instance_status(ser),
		};
	}
	instances->nr_unreadable[class] += table.nr_missing;
	if (instances->nr_unreadable[class])
		kho_table_close(&table);
	else
		kho_table_release(&table);

	return 0;
}

/*
 * One key has one instance, and one blob one owner. Without memory of its own, since what
 * was not compared could be freed by two owners. Leaves instances in the order of keys.
 */
static void luo_instances_check_unique(struct luo_instances *instances)
{
	struct luo_instance_in *in = instances->in;

	sort(in, instances->nr_in, sizeof(*in), luo_instance_cmp_blob, NULL);
	for (unsigned int i = 1; i < instances->nr_in; i++) {
		if (in[i].ser.size && !luo_instance_cmp_blob(&in[i - 1], &in[i])) {
			in[i - 1].status = -EBADMSG;
			in[i].status = -EBADMSG;
		}
	}

	sort(in, instances->nr_in, sizeof(*in), luo_instance_cmp, NULL);
	for (unsigned int i = 1; i < instances->nr_in; i++) {
		if (!luo_instance_cmp(&in[i - 1], &in[i])) {
			in[i - 1].status = -EBADMSG;
			in[i].status = -EBADMSG;
		}
	}
}

/*
 * An instance whose blob is that of a subsystem, too, must not free it. Nor one whose
 * blob is part of a table: these were freed by now, and so its data is not there.
 */
static void luo_instances_check_records(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;

	for (unsigned int i = 0; i < instances->nr_in; i++) {
		struct luo_instance_in *in = &instances->in[i];

		if (!in->status)
			in->status = luo_instance_status(&in->ser);
		for (unsigned int j = 0; in->ser.size && j < ctx->nr_incoming; j++) {
			const struct luo_subsystem_ser *ser =
				&ctx->incoming[j].ser;

			if (ser->size && ser->value == in->ser.value)
				in->status = -EBADMSG;
		}
	}
}

/*
 * Take in the instances of one class. What cannot be read is counted, and stays
 * reserved. May sleep. Takes &luo_instances.lock. Before the records of subsystems are
 * accepted.
 */
void luo_instances_accept(struct luo_ctx *ctx, u32 class, phys_addr_t phys,
			  size_t size)
{
	struct luo_instances *instances = &ctx->instances;
	int err;

	guard(mutex)(&instances->lock);

	err = luo_instances_read(instances, class, phys, size);
	if (err) {
		pr_err("a table of instances cannot be used: %pe\n", ERR_PTR(err));
		instances->nr_unreadable[class]++;
		return;
	}
	luo_instances_check_unique(instances);
}

static bool luo_instance_pending(const struct luo_instance_in *in)
{
	return in->status == 0 || in->status == -EBADMSG;
}

static void luo_instance_info(const struct luo_instance_in *in,
			      const struct liveupdate_subsystem_desc *desc,
			      struct liveupdate_instance_info *info)
{
	*info = (struct liveupdate_instance_info){
		.key		= in->ser.key,
		.version	= in->ser.version,
		.class		= in->class,
		.error		= in->status,
	};
	if (!info->error &&
	    (in->ser.version < desc->oldest || in->ser.version > desc->version))
		info->error = -EPROTONOSUPPORT;
	if (info->error)
		return;
	info->data.value = in->ser.value;
	info->data.size = in->ser.size;
}

/*
 * Free an instance that nobody has, after its subsystem has freed what that refers to.
 * &luo_instances.lock is released meanwhile; the instance stays where it is, since it is
 * not gone.
 */
static void luo_instance_dispose(struct luo_ctx *ctx,
				 struct luo_instance_in *in)
	__must_hold(&ctx->instances.lock)
{
	struct luo_instances *instances = &ctx->instances;
	struct liveupdate_instance_info info = { .error = in->status };
	struct liveupdate_subsystem *subsystem;
	bool usable = !in->status;

	lockdep_assert_held(&ctx->lock);
	lockdep_assert_held(&instances->lock);

	scoped_guard(mutex, &ctx->registered_lock)
		subsystem = luo_subsystem_find(ctx, in->ser.subsystem);
	if (subsystem)
		luo_instance_info(in, subsystem->desc, &info);
	if (subsystem && !info.error && subsystem->ops->dispose_instance) {
		in->status = -EALREADY;
		mutex_unlock(&instances->lock);
		subsystem->ops->dispose_instance(subsystem, &info);
		mutex_lock(&instances->lock);
	}
	if (usable)
		kho_discard(in->ser.value, in->ser.size);
	in->status = -ENOENT;
}

static bool luo_instances_all_gone(const struct luo_instances *instances)
{
	for (unsigned int i = 0; i < instances->nr_in; i++) {
		if (instances->in[i].status != -ENOENT)
			return false;
	}

	return true;
}

static void luo_instances_put(struct luo_instances *instances)
{
	if (!luo_instances_all_gone(instances))
		return;

	kvfree(instances->in);
	instances->in = NULL;
	instances->nr_in = 0;
}

static int luo_instances_forget_unreadable(void *context, const char *owner,
					   const char *name)
{
	struct luo_ctx *ctx = context;
	struct luo_instances *instances = &ctx->instances;
	struct liveupdate_retained *cause;

	scoped_guard(mutex, &instances->lock) {
		cause = instances->unreadable;
		instances->unreadable = NULL;
		if (cause)
			memset(instances->nr_unreadable, 0,
			       sizeof(instances->nr_unreadable));
	}
	luo_retained_release(cause);

	return cause ? 0 : -ENOENT;
}

/* Drop a cause that may stand for several instances, once it stands for none. */
static void luo_instance_unretain(struct luo_instances *instances,
				  struct luo_instance_in *in)
{
	struct liveupdate_retained *cause = in->retained;

	in->retained = NULL;
	for (unsigned int i = 0; cause && i < instances->nr_in; i++) {
		if (instances->in[i].retained == cause)
			return;
	}
	luo_retained_release(cause);
}

/* The operator gives up what nobody has claimed: all of a subsystem, or one. */
static int luo_instances_forget(void *context, const char *owner, const char *name)
{
	struct luo_ctx *ctx = context;
	struct luo_instances *instances = &ctx->instances;
	int err = -ENOENT;
	u64 key = 0;
	bool all = sscanf(name, LUO_INSTANCE_ITEM, &key) != 1;

	ACQUIRE(mutex_try, lock)(&ctx->lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	guard(mutex)(&instances->lock);

	for (unsigned int i = 0; i < instances->nr_in; i++) {
		struct luo_instance_in *in = &instances->in[i];

		if (!in->retained || strcmp(in->ser.subsystem, owner) ||
		    (!all && in->ser.key != key))
			continue;
		luo_instance_unretain(instances, in);
		luo_instance_dispose(ctx, in);
		err = 0;
	}
	luo_instances_put(instances);

	return err;
}

/* Retain what nobody has claimed of the subsystem of @first, as one cause. */
static void luo_instances_retain_one(struct luo_ctx *ctx,
				     unsigned int first, unsigned int end)
{
	struct luo_instances *instances = &ctx->instances;
	struct luo_instance_in *owner = NULL;
	u64 bytes = 0;

	for (unsigned int i = first; i < end; i++) {
		struct luo_instance_in *in = &instances->in[i];

		if (in->class == LIVEUPDATE_MANDATORY && luo_instance_pending(in)) {
			bytes += in->ser.size;
			owner = owner ?: in;
		}
	}
	if (!owner)
		return;

	owner->retained = luo_retain(&ctx->retained, owner->ser.subsystem,
				     LUO_INSTANCES_ITEM, bytes,
				     "nobody has claimed them",
				     luo_instances_forget, ctx);
	for (unsigned int i = first; i < end; i++) {
		struct luo_instance_in *in = &instances->in[i];

		if (in->class == LIVEUPDATE_MANDATORY && luo_instance_pending(in))
			in->retained = owner->retained;
	}
}

/* End of the instances of the subsystem whose first is at @first. */
static unsigned int luo_instances_end(const struct luo_instances *instances,
				      unsigned int first)
{
	unsigned int end = first;

	while (end < instances->nr_in &&
	       !strcmp(instances->in[end].ser.subsystem,
		       instances->in[first].ser.subsystem))
		end++;

	return end;
}

static void luo_instances_report(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;
	u32 *nr_unreadable = instances->nr_unreadable;
	char name[LIVEUPDATE_DEVICE_LEN];

	for (unsigned int i = 0; i < instances->nr_in; i++) {
		const struct luo_instance_in *in = &instances->in[i];

		if (!in->status)
			continue;
		pr_warn("%s: instance %llu cannot be restored: %pe\n",
			in->ser.subsystem, in->ser.key, ERR_PTR(in->status));
		if (in->class != LIVEUPDATE_MANDATORY)
			continue;
		snprintf(name, sizeof(name), "instance %llu", in->ser.key);
		luo_record_failure(ctx, LUO_TRANSITION_RESTORE, in->ser.subsystem,
				   in->status, name, "it cannot be restored");
	}
	if (nr_unreadable[LIVEUPDATE_OPTIONAL])
		pr_warn("optional instances cannot be read, of whomever\n");
	if (!nr_unreadable[LIVEUPDATE_MANDATORY])
		return;

	pr_err("mandatory instances cannot be read, of whomever: retained\n");
	luo_record_failure(ctx, LUO_TRANSITION_RESTORE, "", -EBADMSG, "",
			   "mandatory instances cannot be read");
	instances->unreadable = luo_retain(&ctx->retained, "liveupdate",
					   LUO_INSTANCES_ITEM, 0,
					   "mandatory instances cannot be read",
					   luo_instances_forget_unreadable,
					   ctx);
}

/* Look what there is, before anybody restores. May sleep. &luo_ctx.lock held. */
void luo_instances_arrived(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&ctx->instances.lock);

	luo_instances_check_records(ctx);
	luo_instances_report(ctx);
}

/*
 * Retain mandatory instances that nobody has claimed yet. May sleep. &luo_ctx.lock
 * held.
 */
void luo_instances_restored(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;
	unsigned int end;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	for (unsigned int i = 0; i < instances->nr_in; i = end) {
		end = luo_instances_end(instances, i);
		luo_instances_retain_one(ctx, i, end);
	}
}

/*
 * The records of subsystems cannot be used. All that was handed over stays reserved.
 * May sleep. Takes &luo_instances.lock.
 */
void luo_instances_discard(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;

	guard(mutex)(&instances->lock);

	for (unsigned int i = 0; i < instances->nr_in; i++)
		instances->in[i].status = -ENOENT;
	luo_instances_put(instances);
	memset(instances->nr_unreadable, 0, sizeof(instances->nr_unreadable));
}

/*
 * Free optional instances that nobody claimed, retain others. May sleep.
 * &luo_ctx.lock held.
 */
void luo_instances_finish(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;
	char item[LUO_INSTANCE_ITEM_LEN];
	unsigned int freed = 0;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	instances->finished = true;
	for (unsigned int i = 0; i < instances->nr_in; i++)
		luo_instance_unretain(instances, &instances->in[i]);
	for (unsigned int i = 0; i < instances->nr_in; i++) {
		struct luo_instance_in *in = &instances->in[i];

		if (!luo_instance_pending(in)) {
			in->status = -ENOENT;
		} else if (in->class == LIVEUPDATE_MANDATORY) {
			snprintf(item, sizeof(item), LUO_INSTANCE_ITEM, in->ser.key);
			in->retained = luo_retain(&ctx->retained,
						  in->ser.subsystem, item,
						  in->ser.size,
						  "nobody has claimed it",
						  luo_instances_forget, ctx);
		} else {
			luo_instance_dispose(ctx, in);
			freed++;
		}
	}
	if (freed)
		pr_notice("nobody claimed %u optional instances, freed\n", freed);
	luo_instances_put(instances);
	instances->nr_unreadable[LIVEUPDATE_OPTIONAL] = 0;
}

static int luo_instances_nothing(const struct luo_instances *instances)
{
	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		if (instances->nr_unreadable[class])
			return -EBADMSG;
	}

	return -ENOENT;
}

static struct luo_instance_in *
luo_instance_lookup(struct luo_instances *instances,
		    const struct liveupdate_subsystem_desc *desc, u64 key)
{
	struct luo_instance_in wanted = { .ser.key = key };

	strscpy(wanted.ser.subsystem, desc->name);
	if (!instances->nr_in)
		return NULL;

	return bsearch(&wanted, instances->in, instances->nr_in,
		       sizeof(*instances->in), luo_instance_cmp);
}

/*
 * Find an instance that was handed over. May sleep. Takes &luo_instances.lock. Returns
 * as liveupdate_instance_find().
 */
int luo_instance_find(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc, u64 key,
		      struct liveupdate_instance_info *info)
{
	struct luo_instances *instances = &ctx->instances;
	struct luo_instance_in *in;

	guard(mutex)(&instances->lock);

	in = luo_instance_lookup(instances, desc, key);
	if (!in || in->status == -ENOENT)
		return luo_instances_nothing(instances);

	luo_instance_info(in, desc, info);

	return info->error;
}

/*
 * Find one instance after the other. May sleep. Takes &luo_instances.lock. Returns as
 * liveupdate_instance_next().
 */
int luo_instance_next(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc,
		      unsigned int *position, struct liveupdate_instance_info *info)
{
	struct luo_instances *instances = &ctx->instances;

	guard(mutex)(&instances->lock);

	while (*position < instances->nr_in) {
		const struct luo_instance_in *in = &instances->in[(*position)++];

		if (in->status == -ENOENT || in->status == -EALREADY ||
		    strcmp(in->ser.subsystem, desc->name))
			continue;
		luo_instance_info(in, desc, info);
		return 0;
	}

	return luo_instances_nothing(instances);
}

/*
 * An instance is taken over. May sleep. Takes &luo_instances.lock. Returns as
 * liveupdate_instance_claim().
 */
int luo_instance_claim(struct luo_ctx *ctx,
		       const struct liveupdate_subsystem_desc *desc, u64 key)
{
	struct luo_instances *instances = &ctx->instances;
	struct liveupdate_instance_info info;
	struct luo_instance_in *in;

	guard(mutex)(&instances->lock);

	in = luo_instance_lookup(instances, desc, key);
	if (!in || in->status == -ENOENT)
		return luo_instances_nothing(instances);
	luo_instance_info(in, desc, &info);
	if (info.error)
		return info.error;

	in->status = instances->finished ? -ENOENT : -EALREADY;
	luo_instance_unretain(instances, in);
	luo_instances_put(instances);

	return 0;
}
