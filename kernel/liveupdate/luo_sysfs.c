// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Files of live update
 *
 * What is in /sys/kernel/liveupdate, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate, apart from what subsystems
 * outside of kernel/liveupdate add. Listeners are notified of a change of the state
 * from here. The files are there unless live update is switched off; of those in
 * "retained" some are, if something is.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "luo_internal.h"
#include "luo_ctx.h"

static struct kobject *luo_kobject;

/**
 * liveupdate_kobject() - /sys/kernel/liveupdate, for files of subsystems
 *
 * Context: late_initcall_sync or later.
 * Return: the kobject, or NULL if live update is off.
 */
struct kobject *liveupdate_kobject(void)
{
	return luo_kobject;
}

/* Tell those who poll the state, and udev. */
static void luo_notify(struct luo_ctx *ctx, enum liveupdate_state state)
{
	char text[32];
	char *envp[2] = { text };
	struct device *dev = luo_device();

	sysfs_notify(luo_kobject, NULL, "state");
	if (IS_ERR_OR_NULL(dev))
		return;
	snprintf(text, sizeof(text), "LIVEUPDATE_STATE=%s",
		 luo_state_name(state));
	kobject_uevent_env(&dev->kobj, KOBJ_CHANGE, envp);
}

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", luo_state_name(liveupdate_get_state()));
}

static ssize_t transition_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return luo_progress_show(&luo_system, buf);
}

static ssize_t prepare_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	int value, err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	value = liveupdate_parse_bool(buf, count);
	if (value < 0)
		return value;

	if (value && !liveupdate_enabled())
		return -EOPNOTSUPP;

	err = value ? luo_ctx_prepare(&luo_system) :
		      luo_ctx_cancel(&luo_system);

	return err ?: count;
}

static ssize_t finish_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	int value, err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	value = liveupdate_parse_digit(buf, count, 2);
	if (value < 1)
		return -EINVAL;

	err = luo_ctx_finish(&luo_system, value == 2);

	return err ?: count;
}

static ssize_t rehearse_store(struct kobject *kobj,
			      struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	int err;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (liveupdate_parse_bool(buf, count) != 1)
		return -EINVAL;

	err = luo_ctx_rehearse(&luo_system);

	return err ?: count;
}

/* Milliseconds for a transition; they do not change under it. */
static ssize_t luo_store_timeout(const char *buf, size_t count, u32 *timeout_ms)
{
	u32 value;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (strlen(buf) != count || !isdigit(*buf) || kstrtou32(buf, 10, &value) ||
	    value > INT_MAX)
		return -EINVAL;

	ACQUIRE(mutex_try, lock)(&luo_system.lock);
	if (ACQUIRE_ERR(mutex_try, &lock))
		return -EBUSY;
	WRITE_ONCE(*timeout_ms, value);

	return count;
}

static ssize_t prepare_timeout_ms_show(struct kobject *kobj,
				       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(luo_system.prepare_timeout_ms));
}

static ssize_t prepare_timeout_ms_store(struct kobject *kobj,
					struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	return luo_store_timeout(buf, count, &luo_system.prepare_timeout_ms);
}

static ssize_t freeze_timeout_ms_show(struct kobject *kobj,
				      struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(luo_system.freeze_timeout_ms));
}

static ssize_t freeze_timeout_ms_store(struct kobject *kobj,
				       struct kobj_attribute *attr,
				       const char *buf, size_t count)
{
	return luo_store_timeout(buf, count, &luo_system.freeze_timeout_ms);
}

static ssize_t memory_map_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", IS_ENABLED(CONFIG_KEXEC_HANDOVER_MAP) ?
			  "present" : "firmware");
}

static struct kobj_attribute state_attr = __ATTR_RO(state);
static struct kobj_attribute transition_attr = __ATTR_RO(transition);
static struct kobj_attribute prepare_attr = __ATTR_WO(prepare);
static struct kobj_attribute finish_attr = __ATTR_WO(finish);
static struct kobj_attribute rehearse_attr = __ATTR_WO(rehearse);
static struct kobj_attribute prepare_timeout_attr = __ATTR_RW(prepare_timeout_ms);
static struct kobj_attribute freeze_timeout_attr = __ATTR_RW(freeze_timeout_ms);
static struct kobj_attribute memory_map_attr = __ATTR_RO(memory_map);

static struct attribute *luo_attrs[] = {
	&state_attr.attr,
	&transition_attr.attr,
	&prepare_attr.attr,
	&finish_attr.attr,
	&rehearse_attr.attr,
	&prepare_timeout_attr.attr,
	&freeze_timeout_attr.attr,
	&memory_map_attr.attr,
	NULL
};

static const struct attribute_group luo_group = {
	.attrs = luo_attrs,
};

/* The whole list, in the order of PREPARE, for people. */
static int subsystems_show(struct seq_file *file, void *unused)
{
	char *text __free(kvfree) = NULL;
	ssize_t size;

	size = luo_subsystems_show(&luo_system, &text);
	if (size < 0)
		return size;
	seq_write(file, text, size);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(subsystems);

/*
 * Is there anything for an operator to do? Live update may have been switched off after
 * this kernel restored, because another one cannot be prepared. This one is finished.
 */
static bool __init luo_is_operated(void)
{
	return liveupdate_enabled() ||
	       liveupdate_get_state() == LIVEUPDATE_STATE_UPDATED;
}

/* The last failure. Each file shows a field of a copy that fits together. */

#define LUO_FAILURE_ATTR(_name, _format, ...)				\
	static ssize_t failure_##_name##_show(struct kobject *kobj,	\
					      struct kobj_attribute *attr, \
					      char *buf)		\
	{								\
		struct luo_failure failure;				\
									\
		luo_last_failure(&luo_system, &failure);		\
									\
		return sysfs_emit(buf, _format "\n", __VA_ARGS__);	\
	}								\
									\
	static struct kobj_attribute failure_##_name##_attr =		\
		__ATTR(_name, 0444, failure_##_name##_show, NULL)

LUO_FAILURE_ATTR(count, "%llu", failure.count);
LUO_FAILURE_ATTR(transition, "%s", luo_transition_name(failure.transition));
LUO_FAILURE_ATTR(subsystem, "%s", failure.subsystem);
LUO_FAILURE_ATTR(device, "%s", failure.device);
LUO_FAILURE_ATTR(errno, "%d", failure.error);
LUO_FAILURE_ATTR(reason, "%s", failure.reason);

static struct attribute *luo_failure_attrs[] = {
	&failure_count_attr.attr,
	&failure_transition_attr.attr,
	&failure_subsystem_attr.attr,
	&failure_device_attr.attr,
	&failure_errno_attr.attr,
	&failure_reason_attr.attr,
	NULL
};

static const struct attribute_group luo_failure_group = {
	.name = "last_failure",
	.attrs = luo_failure_attrs,
};

static int __init luo_sysfs_add(void)
{
	struct kobject *kobj;
	int err;

	kobj = kobject_create_and_add("liveupdate", kernel_kobj);
	if (!kobj)
		return -ENOMEM;

	err = luo_retained_add_dir(&luo_system.retained, kobj);
	if (err)
		goto err_put;
	if (!luo_is_operated())
		return 0;

	err = sysfs_create_group(kobj, &luo_group);
	if (err)
		goto err_put;
	err = sysfs_create_group(kobj, &luo_failure_group);
	if (err)
		goto err_put;
	err = luo_subsystem_dirs_add(&luo_system, kobj);
	if (err)
		goto err_put;
	err = luo_shutdown_log_add_file(kobj);
	if (err)
		goto err_put;
	err = luo_timeline_add_file(kobj);
	if (err)
		goto err_put;
	err = luo_reboot_register();
	if (err)
		goto err_put;
	err = luo_pm_register();
	if (err)
		goto err_put;
	luo_kobject = kobj;
	WRITE_ONCE(luo_system.notify, luo_notify);
	debugfs_create_file("subsystems", 0400, debugfs_create_dir("liveupdate", NULL),
			    NULL, &subsystems_fops);

	return 0;

err_put:
	kobject_put(kobj);
	return err;
}

static int __init luo_sysfs_init(void)
{
	int err;

	if (!luo_is_operated() && !luo_retained_any(&luo_system.retained))
		return 0;

	err = luo_sysfs_add();
	/* Nobody could finish any more, and what waits would do so for ever. */
	if (err && liveupdate_get_state() == LIVEUPDATE_STATE_UPDATED) {
		pr_err("no files to finish the update with (%pe): finished now\n",
		       ERR_PTR(err));
		luo_ctx_finish(&luo_system, true);
	}

	return err;
}
late_initcall(luo_sysfs_init);
