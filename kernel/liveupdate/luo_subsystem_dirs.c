// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Files of subsystems
 *
 * Each registered subsystem has a directory in /sys/kernel/liveupdate/subsystems
 * with what it says of itself, a value per file, and how much it hands over.
 *
 * Lifecycle
 *   Subsystems register long before there is a place for directories, so each gets
 *   its own when it registers or when the place is made, whichever comes later, and
 *   loses it when it leaves. That waits for those who read a file of it; hence a
 *   reader can rely on the subsystem. One without a directory, because memory was
 *   short, takes part like the others.
 *
 * Context: directories come and go under &luo_ctx.registered_lock. Reading a file
 * takes no lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/kobject.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "luo_ctx.h"

/**
 * struct luo_subsystem_dir - directory of a subsystem
 * @kobj: the directory.
 * @subsystem: the subsystem, registered as long as the directory can be used.
 */
struct luo_subsystem_dir {
	struct kobject kobj;
	const struct liveupdate_subsystem *subsystem;
};

static const char *const luo_level_names[LIVEUPDATE_NR_LEVELS] = {
	[LIVEUPDATE_LEVEL_WORKLOAD]	= "workload",
	[LIVEUPDATE_LEVEL_DEVICES]	= "devices",
	[LIVEUPDATE_LEVEL_IRQ]		= "irq",
	[LIVEUPDATE_LEVEL_IOMMU]	= "iommu",
	[LIVEUPDATE_LEVEL_MEMORY]	= "memory",
};

/* Name of a level for people. */
const char *luo_level_name(u32 level)
{
	return luo_level_names[level];
}

/* Name of a class for people. */
const char *luo_class_name(u32 class)
{
	return class == LIVEUPDATE_MANDATORY ? "mandatory" : "optional";
}

static const struct liveupdate_subsystem *to_subsystem(struct kobject *kobj)
{
	return container_of(kobj, struct luo_subsystem_dir, kobj)->subsystem;
}

static ssize_t version_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%u\n", to_subsystem(kobj)->desc->version);
}

static ssize_t oldest_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%u\n", to_subsystem(kobj)->desc->oldest);
}

static ssize_t level_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", luo_level_name(to_subsystem(kobj)->desc->level));
}

static ssize_t class_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", luo_class_name(to_subsystem(kobj)->desc->class));
}

static ssize_t bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_subsystem(kobj)->data.size));
}

static struct kobj_attribute version_attr = __ATTR_RO(version);
static struct kobj_attribute oldest_attr = __ATTR_RO(oldest);
static struct kobj_attribute level_attr = __ATTR_RO(level);
static struct kobj_attribute class_attr = __ATTR_RO(class);
static struct kobj_attribute bytes_attr = __ATTR_RO(bytes);

static struct attribute *luo_subsystem_dir_attrs[] = {
	&version_attr.attr,
	&oldest_attr.attr,
	&level_attr.attr,
	&class_attr.attr,
	&bytes_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(luo_subsystem_dir);

static void luo_subsystem_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct luo_subsystem_dir, kobj));
}

static const struct kobj_type luo_subsystem_dir_ktype = {
	.release	= luo_subsystem_dir_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= luo_subsystem_dir_groups,
};

/*
 * Give a subsystem its directory, if there is a place. May sleep.
 * &luo_ctx.registered_lock held.
 */
void luo_subsystem_dir_publish(struct luo_ctx *ctx,
			       struct liveupdate_subsystem *subsystem)
{
	struct luo_subsystem_dir *dir;
	int err;

	lockdep_assert_held(&ctx->registered_lock);

	if (!ctx->subsystems)
		return;

	dir = kzalloc_obj(*dir);
	if (!dir)
		return;
	dir->subsystem = subsystem;
	err = kobject_init_and_add(&dir->kobj, &luo_subsystem_dir_ktype,
				   ctx->subsystems, "%s", subsystem->desc->name);
	if (err) {
		pr_warn("%s has no directory: %pe\n", subsystem->desc->name,
			ERR_PTR(err));
		kobject_put(&dir->kobj);
		return;
	}
	subsystem->dir = dir;
}

/*
 * Take the directory of a subsystem away. May sleep. &luo_ctx.registered_lock
 * held. Waits for readers.
 */
void luo_subsystem_dir_withdraw(struct luo_ctx *ctx,
				struct liveupdate_subsystem *subsystem)
{
	struct luo_subsystem_dir *dir = subsystem->dir;

	lockdep_assert_held(&ctx->registered_lock);

	if (!dir)
		return;

	subsystem->dir = NULL;
	kobject_del(&dir->kobj);
	kobject_put(&dir->kobj);
}

/*
 * Make the place for directories, and those of all. May sleep. Takes
 * &luo_ctx.registered_lock.
 */
int luo_subsystem_dirs_add(struct luo_ctx *ctx, struct kobject *parent)
{
	struct liveupdate_subsystem *subsystem;

	guard(mutex)(&ctx->registered_lock);

	ctx->subsystems = kobject_create_and_add("subsystems", parent);
	if (!ctx->subsystems)
		return -ENOMEM;

	for (int level = 0; level < LIVEUPDATE_NR_LEVELS; level++) {
		list_for_each_entry(subsystem, &ctx->registered[level],
				    registered)
			luo_subsystem_dir_publish(ctx, subsystem);
	}

	return 0;
}
