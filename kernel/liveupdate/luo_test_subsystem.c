// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test subsystems
 *
 * One subsystem on every level that does as it is told, and a handler of files
 * that does, too. Kselftests and two-kernel scenarios drive the state machine with
 * them through every failure. For test kernels only.
 *
 * Control is the same text in the boot parameter liveupdate_test.config and in
 * the debugfs file liveupdate_test/config: entries separated by ';' or line
 * end, each "NAME key=value[,key=value...]", or "clear", which undoes all but
 * version, oldest, class and active. Keys::
 *
 *	fail=STEP	prepare, freeze or restore fails; none: it does not; finish:
 *			it says that something waits, with the reason "as it was told"
 *	errno=N		with this error, 5 if not given
 *	slow=STEP	any callback sleeps; none: none does
 *	ms=N		for so long
 *	hold=STEP	any callback waits for a write to the file "release"; none:
 *			none does
 *	items=N		prepare and freeze go through N items, "item-00001" and so
 *			on; slow or held then is the item in the middle of them
 *	data=TEXT	text handed over; empty: a plain value instead
 *	version=N	version claimed
 *	oldest=N	oldest version claimed to be readable
 *	class=CLASS	mandatory or optional
 *	late=1		boot parameter only: claims in restore_late, and tells the log how
 *			many processors there were
 *	active=0	boot parameter only: has no valid description, so that it
 *			is refused and takes no part
 *
 * The boot parameter liveupdate_test.bulk=N adds N subsystems on the level of
 * workloads, "test-bulk-00001" and so on, each with a plain value to hand over:
 * what a subsystem costs apart from its own work. They are controlled like
 * the others but have no notes, so both kernels must be booted with the
 * parameter.
 *
 * With the boot parameter liveupdate_test.break_startup=1 the startup of what hands
 * over sessions fails, after everything was restored.
 *
 * Where live update is off, the log has "NAME: discarded, N bytes" instead.
 *
 * Further files in debugfs: "calls" lists the latest callbacks, one "STEP NAME
 * ERRNO" a line, as they begin; "release", by a write of any text, lets all go on
 * that wait now, as does "clear"; "received" what was handed over, one "NAME TEXT"
 * a line; "file" can be preserved in a session of /dev/liveupdate. What is done with
 * such a file is controlled, and logged in "calls", under the name "test-file": its
 * transitions are preserve, unpreserve, freeze, unfreeze and retrieve, of which preserve,
 * freeze and retrieve can fail. Other interfaces are in luo_test_interfaces.c.
 *
 * Locking: &luo_test_lock protects the list, the settings, the log of calls and
 * the count of releases. It is not held while a callback sleeps. A callback is in
 * the log and counts releases from one moment on, so who has seen it there can
 * release it.
 */

#define pr_fmt(fmt) "liveupdate_test: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "luo_ctx.h"
#include "luo_test_subsystem.h"

/* Part of luo.o, but the parameter is for test kernels only. */
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "liveupdate_test."

#define LUO_TEST_CALLS		1024
#define LUO_TEST_PLAIN_VALUE	0x70617274ULL
#define LUO_TEST_CONFIG_LEN	1024
#define LUO_TEST_BULK_MAX	100
#define LUO_TEST_FILE_COMPATIBLE "liveupdate-test-file-v1"

static DEFINE_MUTEX(luo_test_lock);
static LIST_HEAD(luo_test_subsystems);

static struct {
	const char *transition;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	int error;
} luo_test_calls[LUO_TEST_CALLS];
static unsigned long luo_test_nr_calls;

static DECLARE_WAIT_QUEUE_HEAD(luo_test_waiting);
static unsigned int luo_test_nr_releases;

/* How long a callback takes, in its own time or that of who releases it. */
struct luo_test_delay {
	unsigned int ms;
	bool hold;
	unsigned int releases;
};

static struct luo_test_subsystem *
to_test(struct liveupdate_subsystem *subsystem)
{
	return container_of(subsystem, struct luo_test_subsystem, subsystem);
}

static void luo_test_take_time(const struct luo_test_delay *delay)
{
	if (delay->ms)
		msleep(delay->ms);
	if (delay->hold)
		wait_event(luo_test_waiting,
			   READ_ONCE(luo_test_nr_releases) != delay->releases);
}

static void luo_test_release(void)
{
	lockdep_assert_held(&luo_test_lock);

	WRITE_ONCE(luo_test_nr_releases, luo_test_nr_releases + 1);
	wake_up_all(&luo_test_waiting);
}

/* Go through @count items, of which the one in the middle takes time. */
static int luo_test_walk_parts(struct liveupdate_subsystem *subsystem,
			       unsigned int count,
			       const struct luo_test_delay *delay)
{
	struct liveupdate_items *items __free(kfree) = kzalloc_obj(*items);
	char name[sizeof("item-4294967295")];
	int err = 0;

	if (!items)
		return -ENOMEM;

	for (unsigned int i = 1; i <= count && !err; i++) {
		snprintf(name, sizeof(name), "item-%05u", i);
		liveupdate_item_begin(items, name);
		if (i == (count + 1) / 2)
			luo_test_take_time(delay);
		err = liveupdate_item_end(items, 0);
	}
	liveupdate_items_record(subsystem, items);

	return err;
}

/* What every callback does: note the call, take time, fail. */
static int luo_test_call(struct liveupdate_subsystem *subsystem,
			 const char *transition, bool can_fail)
{
	struct luo_test_subsystem *test = to_test(subsystem);
	struct luo_test_delay delay = {};
	unsigned int items = 0;
	int err = 0;

	scoped_guard(mutex, &luo_test_lock) {
		unsigned long i = luo_test_nr_calls++ % LUO_TEST_CALLS;

		if (!strcmp(test->slow, transition))
			delay.ms = test->slow_ms;
		delay.hold = !strcmp(test->hold, transition);
		delay.releases = luo_test_nr_releases;
		if (!strcmp(transition, "prepare") || !strcmp(transition, "freeze"))
			items = test->items;
		if (can_fail && !strcmp(test->fail, transition))
			err = -test->fail_errno;
		luo_test_calls[i].transition = transition;
		luo_test_calls[i].error = err;
		strscpy(luo_test_calls[i].name, test->desc.name);
	}
	if (items && !err)
		return luo_test_walk_parts(subsystem, items, &delay);
	luo_test_take_time(&delay);

	return err;
}

int luo_test_prepare(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data)
{
	struct luo_test_subsystem *test = to_test(subsystem);
	size_t size;
	void *blob;
	int err;

	err = luo_test_call(subsystem, "prepare", true);
	if (err)
		return err;

	guard(mutex)(&luo_test_lock);
	if (!test->data[0]) {
		data->value = LUO_TEST_PLAIN_VALUE;
		return 0;
	}

	size = strlen(test->data) + 1;
	blob = liveupdate_data_alloc(data, size);
	if (IS_ERR(blob))
		return PTR_ERR(blob);
	memcpy(blob, test->data, size);

	return 0;
}
EXPORT_SYMBOL_NS_GPL(luo_test_prepare, "LIVEUPDATE");

int luo_test_freeze(struct liveupdate_subsystem *subsystem,
		    struct liveupdate_data *data)
{
	return luo_test_call(subsystem, "freeze", true);
}
EXPORT_SYMBOL_NS_GPL(luo_test_freeze, "LIVEUPDATE");

void luo_test_thaw(struct liveupdate_subsystem *subsystem,
		   struct liveupdate_data *data)
{
	luo_test_call(subsystem, "thaw", false);
}
EXPORT_SYMBOL_NS_GPL(luo_test_thaw, "LIVEUPDATE");

void luo_test_cancel(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data)
{
	luo_test_call(subsystem, "cancel", false);
	luo_test_instances_cancel(subsystem);
	liveupdate_data_free(data);
}
EXPORT_SYMBOL_NS_GPL(luo_test_cancel, "LIVEUPDATE");

int luo_test_restore(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data)
{
	struct luo_test_subsystem *test = to_test(subsystem);
	const char *text = liveupdate_data_blob(data);
	int err;

	err = luo_test_call(subsystem, "restore", true);
	if (err)
		return err;

	guard(mutex)(&luo_test_lock);
	if (!text) {
		snprintf(test->received, sizeof(test->received),
			 "value=%#llx", data->value);
		return 0;
	}
	if (data->size > sizeof(test->received) ||
	    strnlen(text, data->size) != data->size - 1)
		return -EINVAL;
	strscpy(test->received, text);

	return subsystem->ops->restore_late ? 0 : liveupdate_data_put(data);
}
EXPORT_SYMBOL_NS_GPL(luo_test_restore, "LIVEUPDATE");

/* Of built-in subsystems only. */
static int luo_test_restore_late(struct liveupdate_subsystem *subsystem,
				 struct liveupdate_data *data)
{
	int err = luo_test_call(subsystem, "restore_late", true);

	if (err)
		return err;
	pr_info("%s: restored late with %u processors\n", subsystem->desc->name,
		num_online_cpus());

	return data->size ? liveupdate_data_put(data) : 0;
}

bool luo_test_can_finish(struct liveupdate_subsystem *subsystem,
			 const struct liveupdate_data *data)
{
	struct luo_test_subsystem *test = to_test(subsystem);

	guard(mutex)(&luo_test_lock);
	if (strcmp(test->fail, "finish"))
		return true;

	liveupdate_report_failure(subsystem, -EBUSY, "", "as it was told");

	return false;
}
EXPORT_SYMBOL_NS_GPL(luo_test_can_finish, "LIVEUPDATE");

void luo_test_finish(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data)
{
	luo_test_call(subsystem, "finish", false);
}
EXPORT_SYMBOL_NS_GPL(luo_test_finish, "LIVEUPDATE");

/* Of built-in subsystems only. */
static int luo_test_discard(struct liveupdate_subsystem *subsystem,
			    const struct liveupdate_data *data)
{
	pr_info("%s: discarded, %llu bytes\n", subsystem->desc->name,
		data->size);

	return 0;
}

static const struct liveupdate_subsystem_ops luo_test_ops = {
	.prepare	= luo_test_prepare,
	.freeze		= luo_test_freeze,
	.thaw		= luo_test_thaw,
	.cancel		= luo_test_cancel,
	.restore	= luo_test_restore,
	.can_finish	= luo_test_can_finish,
	.finish		= luo_test_finish,
	.discard	= luo_test_discard,
};

/* What most subsystems have. */
static const struct liveupdate_subsystem_ops luo_test_bulk_ops = {
	.prepare	= luo_test_prepare,
	.freeze		= luo_test_freeze,
	.thaw		= luo_test_thaw,
	.cancel		= luo_test_cancel,
	.restore	= luo_test_restore,
	.finish		= luo_test_finish,
};

static const struct liveupdate_subsystem_ops luo_test_late_ops = {
	.prepare	= luo_test_prepare,
	.freeze		= luo_test_freeze,
	.thaw		= luo_test_thaw,
	.cancel		= luo_test_cancel,
	.restore	= luo_test_restore,
	.restore_late	= luo_test_restore_late,
	.finish		= luo_test_finish,
	.discard	= luo_test_discard,
};

#define LUO_TEST_BUILTIN(_name, _level, _class)				\
	LIVEUPDATE_NOTE(luo_test_##_name##_note, "test-" #_name, 1, 1,	\
			_level, _class);				\
	static struct luo_test_subsystem luo_test_##_name = {		\
		.subsystem = { .ops = &luo_test_ops },			\
	};								\
	LIVEUPDATE_BUILTIN_SUBSYSTEM(luo_test_##_name.subsystem)

LUO_TEST_BUILTIN(workload, LIVEUPDATE_LEVEL_WORKLOAD, LIVEUPDATE_OPTIONAL);
LUO_TEST_BUILTIN(devices, LIVEUPDATE_LEVEL_DEVICES, LIVEUPDATE_MANDATORY);
LUO_TEST_BUILTIN(irq, LIVEUPDATE_LEVEL_IRQ, LIVEUPDATE_OPTIONAL);
LUO_TEST_BUILTIN(iommu, LIVEUPDATE_LEVEL_IOMMU, LIVEUPDATE_MANDATORY);
LUO_TEST_BUILTIN(memory, LIVEUPDATE_LEVEL_MEMORY, LIVEUPDATE_OPTIONAL);

/* No subsystem, but controlled like one. */
static struct luo_test_subsystem luo_test_file = {
	.desc = { .name = "test-file" },
};

static void luo_test_reset(struct luo_test_subsystem *test)
{
	test->fail[0] = '\0';
	test->fail_errno = EIO;
	test->slow[0] = '\0';
	test->slow_ms = 0;
	test->hold[0] = '\0';
	test->items = 0;
	strscpy(test->data,
		test->bulk ? "" : test->desc.name);
}

static void luo_test_setup(struct luo_test_subsystem *test,
			   const struct liveupdate_subsystem_ops *ops)
{
	test->subsystem.desc = &test->desc;
	test->subsystem.ops = ops;
	luo_test_reset(test);

	guard(mutex)(&luo_test_lock);
	list_add_tail(&test->list, &luo_test_subsystems);
}

/**
 * luo_test_init() - make a test subsystem known to the control files
 * @test: the subsystem
 * @note: its note
 * @ops: its callbacks
 *
 * Context: May sleep.
 */
void luo_test_init(struct luo_test_subsystem *test,
		   const struct liveupdate_note *note,
		   const struct liveupdate_subsystem_ops *ops)
{
	test->desc = note->desc;
	luo_test_setup(test, ops);
}
EXPORT_SYMBOL_NS_GPL(luo_test_init, "LIVEUPDATE");

/**
 * luo_test_exit() - undo luo_test_init()
 * @test: the subsystem
 *
 * Context: May sleep.
 */
void luo_test_exit(struct luo_test_subsystem *test)
{
	guard(mutex)(&luo_test_lock);
	list_del(&test->list);
}
EXPORT_SYMBOL_NS_GPL(luo_test_exit, "LIVEUPDATE");

/*
 * Find a test subsystem. May sleep. It stays there as long as nobody unloads its
 * module. Returns the subsystem, or NULL.
 */
struct luo_test_subsystem *luo_test_find(const char *name)
{
	struct luo_test_subsystem *test;

	guard(mutex)(&luo_test_lock);
	list_for_each_entry(test, &luo_test_subsystems, list) {
		if (!strcmp(test->desc.name, name))
			return test;
	}

	return NULL;
}

/* Do something for all test subsystems. May sleep. */
void luo_test_for_each(void (*work)(struct luo_test_subsystem *test,
				    void *context), void *context)
{
	struct luo_test_subsystem *test;

	guard(mutex)(&luo_test_lock);
	list_for_each_entry(test, &luo_test_subsystems, list)
		work(test, context);
}

static int luo_test_set_text(char *to, size_t size, const char *value)
{
	return strscpy(to, value, size) < 0 ? -EINVAL : 0;
}

static int luo_test_set(struct luo_test_subsystem *test,
			const char *key, const char *value)
{
	struct liveupdate_subsystem_desc *desc = &test->desc;
	unsigned int number;

	if (!strcmp(key, "fail"))
		return luo_test_set_text(test->fail,
					 sizeof(test->fail), value);
	if (!strcmp(key, "slow"))
		return luo_test_set_text(test->slow,
					 sizeof(test->slow), value);
	if (!strcmp(key, "hold"))
		return luo_test_set_text(test->hold,
					 sizeof(test->hold), value);
	if (!strcmp(key, "data"))
		return luo_test_set_text(test->data,
					 sizeof(test->data), value);
	if (!strcmp(key, "class")) {
		static const char *const classes[] = {
			[LIVEUPDATE_OPTIONAL]	= "optional",
			[LIVEUPDATE_MANDATORY]	= "mandatory",
		};
		int class = match_string(classes, ARRAY_SIZE(classes), value);

		if (class < 0)
			return -EINVAL;
		desc->class = class;
		return 0;
	}

	if (kstrtouint(value, 10, &number))
		return -EINVAL;
	if (!strcmp(key, "errno") && number && number <= MAX_ERRNO)
		test->fail_errno = number;
	else if (!strcmp(key, "ms"))
		test->slow_ms = number;
	else if (!strcmp(key, "items"))
		test->items = number;
	else if (!strcmp(key, "version") && number)
		desc->version = number;
	else if (!strcmp(key, "oldest") && number)
		desc->oldest = number;
	else if (!strcmp(key, "late") && number == 1)
		test->subsystem.ops = &luo_test_late_ops;
	else if (!strcmp(key, "active") && !number)
		desc->oldest = 0;
	else
		return -EINVAL;

	return 0;
}

static int luo_test_configure_entry(char *entry)
{
	struct luo_test_subsystem *test;
	char *name, *setting, *key;
	int err;

	entry = strim(entry);
	name = strsep(&entry, " ");
	if (!*name)
		return 0;

	if (!strcmp(name, "clear")) {
		list_for_each_entry(test, &luo_test_subsystems, list)
			luo_test_reset(test);
		luo_test_nr_calls = 0;
		luo_test_release();
		return 0;
	}

	list_for_each_entry(test, &luo_test_subsystems, list) {
		if (strcmp(test->desc.name, name))
			continue;
		while ((setting = strsep(&entry, ","))) {
			key = strsep(&setting, "=");
			if (!setting)
				return -EINVAL;
			err = luo_test_set(test, strim(key), setting);
			if (err)
				return err;
		}
		return 0;
	}

	return -ENOENT;
}

/**
 * luo_test_configure() - tell test subsystems what to do
 * @config: entries as in the DOC comment
 *
 * Context: May sleep.
 * Return: 0; -EINVAL if an entry is malformed or @config is too long; -ENOENT
 * if there is no subsystem of that name. Entries before it have effect.
 */
int luo_test_configure(const char *config)
{
	char *copy __free(kfree) = NULL, *rest, *entry;
	int err;

	if (strlen(config) >= LUO_TEST_CONFIG_LEN)
		return -EINVAL;
	copy = kstrdup(config, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	guard(mutex)(&luo_test_lock);
	rest = copy;
	while ((entry = strsep(&rest, ";\n"))) {
		err = luo_test_configure_entry(entry);
		if (err)
			return err;
	}

	return 0;
}
EXPORT_SYMBOL_NS_GPL(luo_test_configure, "LIVEUPDATE");

/* Parsed before there is memory to allocate; applied at early_initcall. */
static char luo_test_boot_config[LUO_TEST_CONFIG_LEN] __initdata;
module_param_string(config, luo_test_boot_config, sizeof(luo_test_boot_config),
		    0);
MODULE_PARM_DESC(config, "what the test subsystems do, see luo_test_subsystem.c");

static unsigned int luo_test_bulk __initdata;
module_param_named(bulk, luo_test_bulk, uint, 0);
MODULE_PARM_DESC(bulk, "number of further test subsystems");

static void __init luo_test_bulk_init(void)
{
	struct luo_test_subsystem *subsystems;

	if (!luo_test_bulk || !liveupdate_enabled())
		return;
	if (luo_test_bulk > LUO_TEST_BULK_MAX) {
		pr_err("bulk=%u is more than %u\n", luo_test_bulk,
		       LUO_TEST_BULK_MAX);
		return;
	}
	subsystems = kvzalloc_objs(*subsystems, luo_test_bulk);
	if (!subsystems) {
		pr_err("no memory for bulk=%u\n", luo_test_bulk);
		return;
	}

	for (unsigned int i = 0; i < luo_test_bulk; i++) {
		struct luo_test_subsystem *test = &subsystems[i];
		struct liveupdate_subsystem_desc *desc = &test->desc;

		snprintf(desc->name, sizeof(desc->name), "test-bulk-%05u",
			 i + 1);
		desc->version = 1;
		desc->oldest = 1;
		desc->level = LIVEUPDATE_LEVEL_WORKLOAD;
		desc->class = LIVEUPDATE_OPTIONAL;
		test->bulk = true;
		luo_test_setup(test, &luo_test_bulk_ops);
	}
}

/* Nobody else knows the list yet. */
static void __init luo_test_bulk_register(void)
{
	struct luo_test_subsystem *test;
	int err;

	list_for_each_entry(test, &luo_test_subsystems, list) {
		if (!test->bulk)
			continue;
		err = liveupdate_register_subsystem(&test->subsystem);
		if (err)
			pr_err("%s: not registered: %pe\n",
			       test->desc.name, ERR_PTR(err));
	}
}

/*
 * Configure the built-in test subsystems. Those of the boot parameter bulk are
 * registered, too. At early_initcall, before other subsystems are registered.
 */
void __init luo_test_early_init(void)
{
	int err;

	luo_test_init(&luo_test_workload, &luo_test_workload_note, &luo_test_ops);
	luo_test_init(&luo_test_devices, &luo_test_devices_note, &luo_test_ops);
	luo_test_init(&luo_test_irq, &luo_test_irq_note, &luo_test_ops);
	luo_test_init(&luo_test_iommu, &luo_test_iommu_note, &luo_test_ops);
	luo_test_init(&luo_test_memory, &luo_test_memory_note, &luo_test_ops);
	luo_test_setup(&luo_test_file, &luo_test_ops);
	luo_test_bulk_init();

	err = luo_test_configure(luo_test_boot_config);
	if (err)
		pr_err("malformed configuration: %pe\n", ERR_PTR(err));
	luo_test_bulk_register();
}

/* debugfs: config, release, calls, received */

static ssize_t luo_test_config_write(struct file *file,
				     const char __user *ubuf, size_t count,
				     loff_t *pos)
{
	char *config;
	int err;

	if (count >= LUO_TEST_CONFIG_LEN)
		return -EINVAL;
	config = memdup_user_nul(ubuf, count);
	if (IS_ERR(config))
		return PTR_ERR(config);

	err = luo_test_configure(config);
	kfree(config);

	return err ?: count;
}

static const struct file_operations luo_test_config_fops = {
	.owner	= THIS_MODULE,
	.write	= luo_test_config_write,
};

static ssize_t luo_test_release_write(struct file *file,
				      const char __user *ubuf, size_t count,
				      loff_t *pos)
{
	guard(mutex)(&luo_test_lock);
	luo_test_release();

	return count;
}

static const struct file_operations luo_test_release_fops = {
	.owner	= THIS_MODULE,
	.write	= luo_test_release_write,
};

static int luo_test_calls_show(struct seq_file *seq, void *unused)
{
	unsigned long i = 0;

	guard(mutex)(&luo_test_lock);
	if (luo_test_nr_calls > LUO_TEST_CALLS)
		i = luo_test_nr_calls - LUO_TEST_CALLS;
	for (; i < luo_test_nr_calls; i++)
		seq_printf(seq, "%s %s %d\n",
			   luo_test_calls[i % LUO_TEST_CALLS].transition,
			   luo_test_calls[i % LUO_TEST_CALLS].name,
			   luo_test_calls[i % LUO_TEST_CALLS].error);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_test_calls);

static int luo_test_received_show(struct seq_file *seq, void *unused)
{
	struct luo_test_subsystem *test;

	guard(mutex)(&luo_test_lock);
	list_for_each_entry(test, &luo_test_subsystems, list) {
		if (test->received[0])
			seq_printf(seq, "%s %s\n", test->desc.name,
				   test->received);
	}

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_test_received);

/* A file that sessions can preserve. */

static char luo_test_file_mark;

static const struct file_operations luo_test_file_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
};

static bool luo_test_file_can_preserve(struct liveupdate_file_handler *handler,
				       struct file *file)
{
	return file_inode(file)->i_private == &luo_test_file_mark;
}

static int luo_test_file_preserve(struct liveupdate_file_op_args *args)
{
	args->serialized_data = LUO_TEST_PLAIN_VALUE;

	return luo_test_call(&luo_test_file.subsystem, "preserve", true);
}

static void luo_test_file_unpreserve(struct liveupdate_file_op_args *args)
{
	luo_test_call(&luo_test_file.subsystem, "unpreserve", false);
}

static int luo_test_file_freeze(struct liveupdate_file_op_args *args)
{
	return luo_test_call(&luo_test_file.subsystem, "freeze", true);
}

static void luo_test_file_unfreeze(struct liveupdate_file_op_args *args)
{
	luo_test_call(&luo_test_file.subsystem, "unfreeze", false);
}

static int luo_test_file_retrieve(struct liveupdate_file_op_args *args)
{
	struct file *file;
	int err;

	if (args->serialized_data != LUO_TEST_PLAIN_VALUE)
		return -EINVAL;
	err = luo_test_call(&luo_test_file.subsystem, "retrieve", true);
	if (err)
		return err;
	file = anon_inode_getfile("[liveupdate_test]", &luo_test_file_fops,
				  NULL, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	args->file = file;

	return 0;
}

static void luo_test_file_finish(struct liveupdate_file_op_args *args)
{
}

static const struct liveupdate_file_ops luo_test_file_ops = {
	.can_preserve	= luo_test_file_can_preserve,
	.preserve	= luo_test_file_preserve,
	.unpreserve	= luo_test_file_unpreserve,
	.freeze		= luo_test_file_freeze,
	.unfreeze	= luo_test_file_unfreeze,
	.retrieve	= luo_test_file_retrieve,
	.finish		= luo_test_file_finish,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler luo_test_file_handler = {
	.ops		= &luo_test_file_ops,
	.compatible	= LUO_TEST_FILE_COMPATIBLE,
};

static bool luo_test_break __initdata;
module_param_named(break_startup, luo_test_break, bool, 0);
MODULE_PARM_DESC(break_startup, "let the startup of live update fail");

static void *luo_test_taken __initdata;

/* The place in the tree is taken. */
static int __init luo_test_break_startup(void)
{
	void *blob;
	int err;

	if (!luo_test_break)
		return 0;

	blob = kho_alloc_preserve(PAGE_SIZE);
	if (IS_ERR(blob))
		return PTR_ERR(blob);

	err = kho_add_subtree(LUO_KHO_ENTRY_NAME, blob, PAGE_SIZE);
	if (err)
		kho_unpreserve_free(blob);
	else
		luo_test_taken = blob;

	return err;
}
device_initcall(luo_test_break_startup);

/* The startup has failed. The next kernel must not find there what is no state. */
static int __init luo_test_break_end(void)
{
	if (luo_test_taken) {
		kho_remove_subtree(luo_test_taken);
		kho_unpreserve_free(luo_test_taken);
	}

	return 0;
}
late_initcall_sync(luo_test_break_end);

static int __init luo_test_late_init(void)
{
	struct dentry *dir;
	int err;

	if (!liveupdate_enabled())
		return 0;

	dir = debugfs_create_dir("liveupdate_test", NULL);
	debugfs_create_file("config", 0200, dir, NULL, &luo_test_config_fops);
	debugfs_create_file("release", 0200, dir, NULL, &luo_test_release_fops);
	debugfs_create_file("calls", 0400, dir, NULL, &luo_test_calls_fops);
	debugfs_create_file("received", 0400, dir, NULL,
			    &luo_test_received_fops);
	debugfs_create_file("file", 0400, dir, &luo_test_file_mark,
			    &luo_test_file_fops);
	err = luo_test_interfaces_init(dir);
	if (err)
		return err;

	return liveupdate_register_file_handler(&luo_test_file_handler);
}
late_initcall_sync(luo_test_late_init);
