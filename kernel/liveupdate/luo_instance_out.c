// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Instances that are handed over
 *
 * There are few subsystems, but one of them may have thousands of things to hand
 * over that come and go while the machine is prepared: virtual machines, say. Each is an
 * instance, {subsystem, key, version, data}, and has a class of its own, which says
 * what its loss means: that of a mandatory one ends the preparation, that of an optional
 * one concerns nobody else. Either is said in the log, and the next kernel is told.
 *
 * Lifecycle
 *   1. From the subsystem's prepare callback on, until it is cancelled, instances can
 *      be added and dropped at any time, except while they are sealed.
 *   2. After all subsystems are frozen they are written into two tables, one of each
 *      class (include/linux/kho/abi/instance.h), and sealed. The room is allocated when
 *      an instance is added, so this cannot fail; it does if a mandatory one went missing.
 *   3. What cannot be kept any more is dropped by its subsystem. Where that is too late,
 *      because it is sealed, or where it was not the subsystem's wish, it went missing.
 *   4. CANCEL, after its callbacks, forgets all instances that nobody has dropped. Their
 *      data belongs to the subsystem throughout.
 *
 * Where the next kernel looks is in luo_instance_in.c.
 *
 * Context: everything may sleep. &luo_instances.lock is inside &luo_ctx.lock, which
 * add, drop and lose do not take, so that they can be called from callbacks and beside
 * them. It is outside the locks of luo_retained.c, and of KHO.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/lockdep.h>
#include <linux/string.h>

#include "luo_ctx.h"

DEFINE_KHO_TABLE_FORMAT(luo_instances_ser_format, LUO_INSTANCES_COMPATIBLE,
			struct luo_instance_ser, LUO_INSTANCES_MAX);

static const char *const luo_instances_kho_names[] = {
	[LIVEUPDATE_OPTIONAL]	= LUO_INSTANCES_KHO_OPTIONAL,
	[LIVEUPDATE_MANDATORY]	= LUO_INSTANCES_KHO_MANDATORY,
};

/* What is in a table of instances. Returns the format, which is that of both classes. */
const struct kho_table_format *luo_instances_format(void)
{
	return &luo_instances_ser_format;
}

/* Under which name KHO has a table. */
const char *luo_instances_name(u32 class)
{
	return luo_instances_kho_names[class];
}

/* There are no instances. */
void luo_instances_init(struct luo_instances *instances)
{
	mutex_init(&instances->lock);
	for (int class = 0; class < LUO_NR_CLASSES; class++)
		INIT_LIST_HEAD(&instances->out[class].list);
}

static void luo_instance_unlink(struct luo_instances *instances,
				struct liveupdate_instance *instance)
{
	list_del_init(&instance->entry);
	instance->subsystem = NULL;
	instances->out[instance->class].count--;
}

/* Instances can be added from here on. May sleep. &luo_ctx.lock held. */
void luo_instances_open(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	guard(mutex)(&ctx->instances.lock);
	ctx->instances.open = true;
}

static void luo_instances_free_table(struct luo_ctx *ctx,
				     struct luo_instances_out *out)
{
	if (out->table.head && ctx->kho_name)
		kho_remove_subtree(out->table.head);
	kho_table_free(&out->table);
}

/* Forget all instances. May sleep. &luo_ctx.lock held. */
void luo_instances_close(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;
	struct liveupdate_instance *instance, *next;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	instances->open = false;
	instances->sealed = false;
	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		struct luo_instances_out *out = &instances->out[class];

		list_for_each_entry_safe(instance, next, &out->list, entry)
			luo_instance_unlink(instances, instance);
		luo_instances_free_table(ctx, out);
	}
}

static void luo_instance_write(const struct liveupdate_instance *instance,
			       struct luo_instance_ser *ser)
{
	*ser = (struct luo_instance_ser){};
	strscpy_pad(ser->subsystem, instance->subsystem->desc->name);
	ser->key = instance->key;
	ser->version = instance->version;
	if (instance->lost) {
		ser->flags = LUO_INSTANCE_SER_LOST;
		return;
	}
	if (instance->data.size)
		ser->flags = LUO_INSTANCE_SER_BLOB;
	ser->value = instance->data.value;
	ser->size = instance->data.size;
}

static void luo_instances_write(struct luo_instances *instances)
{
	struct liveupdate_instance *instance;

	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		struct luo_instances_out *out = &instances->out[class];

		if (!out->table.head)
			continue;
		kho_table_clear(&out->table);
		list_for_each_entry(instance, &out->list, entry) {
			instance->position = out->table.nr_records;
			luo_instance_write(instance, kho_table_add(&out->table));
		}
		kho_table_seal(&out->table);
	}
}

/* Forget the instances of a subsystem. May sleep. &luo_ctx.lock held. */
void luo_instances_leave(struct luo_ctx *ctx,
			 struct liveupdate_subsystem *subsystem)
{
	struct luo_instances *instances = &ctx->instances;
	struct liveupdate_instance *instance, *next;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		list_for_each_entry_safe(instance, next,
					 &instances->out[class].list, entry) {
			if (instance->subsystem == subsystem)
				luo_instance_unlink(instances, instance);
		}
	}
	if (instances->sealed)
		luo_instances_write(instances);
}

static int luo_instances_make_room(struct luo_ctx *ctx,
				   struct luo_instances_out *out, u32 class)
{
	int err;

	if (!out->table.head) {
		err = kho_table_alloc_growing(&out->table, &luo_instances_ser_format);
		if (err)
			return err;
		if (ctx->kho_name)
			err = kho_add_subtree(luo_instances_name(class),
					      out->table.head,
					      out->table.head_size);
		if (err) {
			kho_table_free(&out->table);
			return err;
		}
	}

	return kho_table_grow(&out->table, out->count + 1);
}

static bool luo_instance_exists(struct luo_instances *instances,
				struct liveupdate_subsystem *subsystem, u64 key)
{
	struct liveupdate_instance *instance;

	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		list_for_each_entry(instance, &instances->out[class].list, entry) {
			if (instance->key == key &&
			    instance->subsystem == subsystem)
				return true;
		}
	}

	return false;
}

/*
 * Hand over one more instance. May sleep. Takes &luo_instances.lock. Returns as
 * liveupdate_instance_add().
 */
int luo_instance_add(struct luo_ctx *ctx,
		     struct liveupdate_subsystem *subsystem,
		     struct liveupdate_instance *instance)
{
	struct luo_instances *instances = &ctx->instances;
	struct luo_instances_out *out;
	int err;

	if (instance->class >= LUO_NR_CLASSES || !instance->version ||
	    instance->version > subsystem->desc->version)
		return -EINVAL;

	guard(mutex)(&instances->lock);

	if (!instances->open || list_empty(&subsystem->enlisted))
		return -ENODEV;
	if (instances->sealed)
		return -EBUSY;
	if (luo_instance_exists(instances, subsystem, instance->key))
		return -EEXIST;

	out = &instances->out[instance->class];
	err = luo_instances_make_room(ctx, out, instance->class);
	if (err)
		return err;

	instance->subsystem = subsystem;
	instance->lost = 0;
	list_add_tail(&instance->entry, &out->list);
	out->count++;

	return 0;
}

/*
 * Do not hand an instance over. May sleep. Takes &luo_instances.lock. Returns as
 * liveupdate_instance_drop().
 */
int luo_instance_drop(struct luo_ctx *ctx,
		      struct liveupdate_instance *instance)
{
	guard(mutex)(&ctx->instances.lock);

	if (!instance->subsystem)
		return 0;
	if (ctx->instances.sealed)
		return -EBUSY;
	luo_instance_unlink(&ctx->instances, instance);

	return 0;
}

/*
 * An instance cannot be handed over any more. May sleep. Takes &luo_instances.lock.
 * Returns the subsystem whose preparation the caller has to invalidate, or NULL.
 */
struct liveupdate_subsystem *luo_instance_abort(struct luo_ctx *ctx,
						struct liveupdate_instance *instance,
						int error)
{
	struct luo_instances *instances = &ctx->instances;
	struct luo_instances_out *out = &instances->out[instance->class];

	guard(mutex)(&instances->lock);

	if (!instance->subsystem || instance->lost)
		return NULL;

	pr_warn("%s: instance %llu, %s, is lost: %pe\n",
		instance->subsystem->desc->name, instance->key,
		instance->class == LIVEUPDATE_MANDATORY ? "mandatory" : "optional",
		ERR_PTR(error));
	instance->lost = error;
	if (instances->sealed) {
		luo_instance_write(instance, kho_table_record(&out->table,
							      instance->position));
		kho_table_reseal(&out->table, instance->position);
	}

	return instance->class == LIVEUPDATE_MANDATORY ? instance->subsystem : NULL;
}

static int luo_instances_check(struct luo_ctx *ctx)
{
	struct list_head *list = &ctx->instances.out[LIVEUPDATE_MANDATORY].list;
	struct liveupdate_instance *instance;
	char name[LIVEUPDATE_DEVICE_LEN];

	list_for_each_entry(instance, list, entry) {
		if (!instance->lost)
			continue;
		snprintf(name, sizeof(name), "instance %llu", instance->key);
		luo_record_failure(ctx, LUO_TRANSITION_FREEZE,
				   instance->subsystem->desc->name, instance->lost,
				   name, "it went missing");
		return instance->lost;
	}

	return 0;
}

/* Write the instances down. May sleep. &luo_ctx.lock held. */
int luo_instances_seal(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;
	int err;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	err = luo_instances_check(ctx);
	if (err)
		return err;

	luo_instances_write(instances);
	instances->sealed = true;

	return 0;
}

/* Undo luo_instances_seal(), if that is to be done. May sleep. &luo_ctx.lock held. */
void luo_instances_unseal(struct luo_ctx *ctx)
{
	struct luo_instances *instances = &ctx->instances;

	lockdep_assert_held(&ctx->lock);
	guard(mutex)(&instances->lock);

	instances->sealed = false;
	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		if (instances->out[class].table.head)
			kho_table_clear(&instances->out[class].table);
	}
}
