// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Retained memory
 *
 * Memory that the previous kernel handed over, and that something may still write
 * to, or that its subsystem could not read, must not be used for anything else
 * before the machine is reset. This kernel keeps it reserved, but the next one would
 * not know of it. So there is a list of causes: who, what, how much, why. As long as
 * it is not empty, prepare and every kexec are refused with -EBUSY, and the log and
 * last_failure/ name the first cause. A reboot through the firmware stays possible.
 *
 * Lifecycle of a cause
 *   1. Retained, by luo_incoming.c for data that nobody restored, or by a
 *      subsystem with liveupdate_retain() for an item of its own.
 *   2. In sysfs, as retained/ID, once there is a directory for it. ID is the name of
 *      the subsystem, and behind a colon that of the item.
 *   3. Released, when the cause is gone: the device appeared and was stopped, a
 *      module restored the data; or because the operator, who knows better, gives it
 *      up by writing to retained/ID/forget. Then whoever retained it is asked to free
 *      the memory, by name, so that it looks for the item under a lock of its own and
 *      finds out whether it is there any more. It is this that releases the cause.
 *
 * Retaining cannot fail: the memory would be lost to someone who does not know it. A
 * cause without a directory, because memory was short, still counts.
 *
 * Contexts
 *   Everything may sleep, and takes memory with __GFP_NOFAIL, less than a page.
 *
 * Lock order
 *   &luo_ctx.lock, locks of subsystems -> &luo_retained_list.lock ->
 *   &luo_ctx.progress_lock, locks of sysfs. Reading a file takes none of these;
 *   forget takes those of subsystems, with its own file set aside.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/visibility.h>
#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/kobject.h>
#include <linux/liveupdate/subsystem.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "luo_ctx.h"

/**
 * struct liveupdate_retained - a cause
 * @kobj: directory of it.
 * @retained: the list it is in, until it is released.
 * @entry: entry in &luo_retained_list.causes.
 * @bytes: how much memory, 0 if that is not known.
 * @reason: why.
 * @forget: gives it up.
 * @context: for @forget.
 * @owner: name of the subsystem.
 * @name: name of the item in @id, may be empty.
 * @id: both.
 */
struct liveupdate_retained {
	struct kobject kobj;
	struct luo_retained_list *retained;
	struct list_head entry;
	u64 bytes;
	const char *reason;
	luo_forget_t forget;
	void *context;
	char owner[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	const char *name;
	char id[];
};

static struct liveupdate_retained *to_retained(struct kobject *kobj)
{
	return container_of(kobj, struct liveupdate_retained, kobj);
}

static ssize_t owner_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", to_retained(kobj)->owner);
}

static ssize_t bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%llu\n", to_retained(kobj)->bytes);
}

static ssize_t reason_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%s\n", to_retained(kobj)->reason);
}

/* The owner releases the cause, if it is still there. */
static int luo_retained_give_up(struct liveupdate_retained *cause)
{
	int err;

	kobject_get(&cause->kobj);
	err = cause->forget(cause->context, cause->owner, cause->name);
	if (!err)
		pr_notice("%s is given up\n", cause->id);
	kobject_put(&cause->kobj);

	return err;
}

static ssize_t forget_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	struct liveupdate_retained *cause = to_retained(kobj);
	struct kernfs_node *node;
	int err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (liveupdate_parse_bool(buf, count) != 1)
		return -EINVAL;

	/* The directory goes away in here. */
	node = sysfs_break_active_protection(kobj, &attr->attr);
	if (!node)
		return -ENODEV;
	err = luo_retained_give_up(cause);
	sysfs_unbreak_active_protection(node);

	return err ?: count;
}

static struct kobj_attribute owner_attr = __ATTR_RO(owner);
static struct kobj_attribute bytes_attr = __ATTR_RO(bytes);
static struct kobj_attribute reason_attr = __ATTR_RO(reason);
static struct kobj_attribute forget_attr = __ATTR_WO(forget);

static struct attribute *luo_retained_attrs[] = {
	&owner_attr.attr,
	&bytes_attr.attr,
	&reason_attr.attr,
	&forget_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(luo_retained);

static void luo_retained_free(struct kobject *kobj)
{
	kfree(to_retained(kobj));
}

static const struct kobj_type luo_retained_ktype = {
	.release	= luo_retained_free,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= luo_retained_groups,
};

/* Make a directory. &luo_retained_list.lock held. */
static void luo_retained_publish(struct liveupdate_retained *cause)
{
	int err;

	if (!cause->retained->kobj)
		return;

	err = kobject_add(&cause->kobj, cause->retained->kobj, "%s", cause->id);
	if (err)
		pr_err("%s has no directory in retained: %pe\n", cause->id,
		       ERR_PTR(err));
}

/* Nothing is retained. */
void luo_retained_init(struct luo_retained_list *retained)
{
	mutex_init(&retained->lock);
	INIT_LIST_HEAD(&retained->causes);
}

/* Is anything retained? May sleep. Takes &luo_retained_list.lock. */
bool luo_retained_any(struct luo_retained_list *retained)
{
	guard(mutex)(&retained->lock);

	return !list_empty(&retained->causes);
}

/*
 * Make the directory for causes, and for those there are. May sleep. Takes
 * &luo_retained_list.lock.
 */
int luo_retained_add_dir(struct luo_retained_list *retained,
			 struct kobject *parent)
{
	struct liveupdate_retained *cause;

	guard(mutex)(&retained->lock);

	retained->kobj = kobject_create_and_add("retained", parent);
	if (!retained->kobj)
		return -ENOMEM;
	list_for_each_entry(cause, &retained->causes, entry)
		luo_retained_publish(cause);

	return 0;
}

/*
 * Enter a cause. May sleep. Takes &luo_retained_list.lock. Returns the cause, until
 * luo_retained_release().
 */
struct liveupdate_retained *luo_retain(struct luo_retained_list *retained,
				       const char *owner, const char *name,
				       u64 bytes, const char *reason,
				       luo_forget_t forget, void *context)
{
	size_t owner_len = strlen(owner);
	size_t name_len = strlen(name);
	size_t size = owner_len + name_len + sizeof(":");
	struct liveupdate_retained *cause;

	cause = kzalloc_flex(*cause, id, size, GFP_KERNEL | __GFP_NOFAIL);
	kobject_init(&cause->kobj, &luo_retained_ktype);
	cause->retained = retained;
	cause->bytes = bytes;
	cause->reason = reason;
	cause->forget = forget;
	cause->context = context;
	strscpy(cause->owner, owner);
	memcpy(cause->id, owner, owner_len);
	if (name_len)
		cause->id[owner_len++] = ':';
	memcpy(cause->id + owner_len, name, name_len);
	cause->name = cause->id + owner_len;

	guard(mutex)(&retained->lock);
	list_add_tail(&cause->entry, &retained->causes);
	luo_retained_publish(cause);

	return cause;
}

/*
 * A cause is gone. May sleep. Takes &luo_retained_list.lock. Waits for readers of its
 * files.
 */
void luo_retained_release(struct liveupdate_retained *cause)
{
	if (!cause)
		return;

	scoped_guard(mutex, &cause->retained->lock)
		list_del(&cause->entry);
	if (cause->kobj.state_in_sysfs)
		kobject_del(&cause->kobj);
	kobject_put(&cause->kobj);
}

/*
 * Refuse a transition that would lose what is retained. May sleep. Takes
 * &luo_retained_list.lock.
 */
int luo_retained_refuse(struct luo_ctx *ctx, enum luo_transition transition)
{
	struct luo_retained_list *retained = &ctx->retained;
	struct liveupdate_retained *cause;

	guard(mutex)(&retained->lock);

	cause = list_first_entry_or_null(&retained->causes,
					 struct liveupdate_retained, entry);
	if (!cause)
		return 0;

	pr_err("%zu would be lost, see retained: %s: %s\n",
	       list_count_nodes(&retained->causes), cause->id, cause->reason);
	luo_record_failure(ctx, transition, cause->owner, -EBUSY, cause->name,
			   cause->reason);

	return -EBUSY;
}

#if IS_ENABLED(CONFIG_KUNIT)

/* List what is retained, for tests. May sleep. Takes &luo_retained_list.lock. */
void luo_retained_ids(struct luo_retained_list *retained, char *ids, size_t size)
{
	struct liveupdate_retained *cause;
	size_t len = 0;

	guard(mutex)(&retained->lock);

	*ids = '\0';
	list_for_each_entry(cause, &retained->causes, entry)
		len += scnprintf(ids + len, size - len, "%s%s", len ? " " : "",
				 cause->id);
}
EXPORT_SYMBOL_IF_KUNIT(luo_retained_ids);

/*
 * Give a cause up, for tests. May sleep. Takes &luo_retained_list.lock and, without it,
 * locks of the owner.
 */
int luo_retained_forget(struct luo_retained_list *retained, const char *id)
{
	struct liveupdate_retained *cause, *found = NULL;

	scoped_guard(mutex, &retained->lock) {
		list_for_each_entry(cause, &retained->causes, entry) {
			if (!strcmp(cause->id, id))
				found = cause;
		}
	}

	return found ? luo_retained_give_up(found) : -ENOENT;
}
EXPORT_SYMBOL_IF_KUNIT(luo_retained_forget);

#endif /* CONFIG_KUNIT */
