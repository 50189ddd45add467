// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what participants can use
 *
 * What the test participants do with the interfaces of the core beyond their callbacks.
 *
 * liveupdate_test/peeked in debugfs has a line "NAME EARLY NOW" for each built-in
 * test participant: what liveupdate_peek() said when consoles were set up, which is the
 * last step before that of interrupts and timers of the architecture, and what it says
 * now. Each is the text, "value=N" for a plain value, or the error. The log has the
 * first, as "NAME: peeked EARLY".
 *
 * liveupdate_test/instances: a command, and a list of what was handed over and is not
 * claimed, "NAME KEY CLASS TEXT" a line, with the error instead of the text. Commands:
 *
 *	add NAME KEY CLASS TEXT		a new instance, CLASS is optional or mandatory
 *	drop NAME KEY			not any more
 *	lose NAME KEY			it cannot be handed over any more: EIO
 *	claim NAME KEY			take one over that was handed over, and free it
 *
 * Locking: &luo_test_instances_lock protects the list of instances. It is inside
 * &luo_machine.lock, since cancel takes it, and outside that of the core's instances.
 */

#define pr_fmt(fmt) "liveupdate_test: " fmt

#include <linux/cleanup.h>
#include <linux/console.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/instance.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "luo_test_participant.h"

#define LUO_TEST_PEEK(_name) { .name = _name, .version = 1, .oldest = 1 }

static const struct liveupdate_subsystem_desc luo_test_peek_descs[] = {
	LUO_TEST_PEEK("test-workload"),
	LUO_TEST_PEEK("test-devices"),
	LUO_TEST_PEEK("test-irq"),
	LUO_TEST_PEEK("test-iommu"),
	LUO_TEST_PEEK("test-memory"),
};

static char luo_test_peeked[ARRAY_SIZE(luo_test_peek_descs)][LUO_TEST_DATA_LEN];

static void luo_test_peek(const struct liveupdate_subsystem_desc *desc, char *to)
{
	struct liveupdate_data data;
	const char *text;
	int err;

	err = liveupdate_peek(desc, &data);
	text = err ? NULL : liveupdate_data_blob(&data);
	if (err)
		snprintf(to, LUO_TEST_DATA_LEN, "%d", err);
	else if (!text)
		snprintf(to, LUO_TEST_DATA_LEN, "value=%#llx", data.value);
	else
		snprintf(to, LUO_TEST_DATA_LEN, "%.*s",
			 (int)min(data.size, LUO_TEST_DATA_LEN), text);
}

static int __init luo_test_peek_early(void)
{
	for (int i = 0; i < ARRAY_SIZE(luo_test_peek_descs); i++) {
		luo_test_peek(&luo_test_peek_descs[i], luo_test_peeked[i]);
		pr_info("%s: peeked %s\n", luo_test_peek_descs[i].name,
			luo_test_peeked[i]);
	}

	return 0;
}
console_initcall(luo_test_peek_early);

static int luo_test_peeked_show(struct seq_file *seq, void *unused)
{
	char now[LUO_TEST_DATA_LEN];

	for (int i = 0; i < ARRAY_SIZE(luo_test_peek_descs); i++) {
		luo_test_peek(&luo_test_peek_descs[i], now);
		seq_printf(seq, "%s %s %s\n", luo_test_peek_descs[i].name,
			   luo_test_peeked[i], now);
	}

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(luo_test_peeked);

/* An instance of a test participant. */
struct luo_test_instance {
	struct liveupdate_instance instance;
	struct liveupdate_subsystem *subsystem;
	struct list_head list;
};

static DEFINE_MUTEX(luo_test_instances_lock);
static LIST_HEAD(luo_test_instances);

static struct luo_test_instance *
luo_test_find_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct luo_test_instance *it;

	lockdep_assert_held(&luo_test_instances_lock);

	list_for_each_entry(it, &luo_test_instances, list) {
		if (it->subsystem == subsystem && it->instance.key == key)
			return it;
	}

	return NULL;
}

static void luo_test_free_instance(struct luo_test_instance *it)
{
	list_del(&it->list);
	liveupdate_data_free(&it->instance.data);
	kfree(it);
}

static int luo_test_add_instance(struct liveupdate_subsystem *subsystem, u64 key,
				 const char *class, const char *text)
{
	struct luo_test_instance *it;
	size_t size = strlen(text) + 1;
	void *blob;
	int err;

	it = kzalloc_obj(*it);
	if (!it)
		return -ENOMEM;
	it->subsystem = subsystem;
	it->instance.key = key;
	it->instance.version = subsystem->desc->version;
	it->instance.class = strcmp(class, "mandatory") ? LIVEUPDATE_OPTIONAL :
							  LIVEUPDATE_MANDATORY;
	blob = liveupdate_data_alloc(&it->instance.data, size);
	if (IS_ERR(blob)) {
		kfree(it);
		return PTR_ERR(blob);
	}
	memcpy(blob, text, size);

	guard(mutex)(&luo_test_instances_lock);
	list_add_tail(&it->list, &luo_test_instances);
	err = liveupdate_instance_add(subsystem, &it->instance);
	if (err)
		luo_test_free_instance(it);

	return err;
}

static int luo_test_drop_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct luo_test_instance *it;
	int err;

	guard(mutex)(&luo_test_instances_lock);

	it = luo_test_find_instance(subsystem, key);
	if (!it)
		return -ENOENT;
	err = liveupdate_instance_drop(&it->instance);
	if (!err)
		luo_test_free_instance(it);

	return err;
}

static int luo_test_lose_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct luo_test_instance *it;

	guard(mutex)(&luo_test_instances_lock);

	it = luo_test_find_instance(subsystem, key);
	if (!it)
		return -ENOENT;
	liveupdate_instance_lose(&it->instance, -EIO);

	return 0;
}

static int luo_test_claim_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct liveupdate_instance_info info;
	void *blob;
	int err;

	err = liveupdate_instance_find(subsystem, key, &info);
	if (!err)
		err = liveupdate_instance_claim(subsystem, key);
	if (err)
		return err;
	blob = liveupdate_data_claim(&info.data);
	if (!blob)
		return -EIO;
	folio_put(virt_to_folio(blob));

	return 0;
}

/**
 * luo_test_instances_cancel() - cancel of a participant: nothing is handed over
 * @subsystem: the participant
 *
 * Context: May sleep.
 */
void luo_test_instances_cancel(struct liveupdate_subsystem *subsystem)
{
	struct luo_test_instance *it, *next;

	guard(mutex)(&luo_test_instances_lock);

	list_for_each_entry_safe(it, next, &luo_test_instances, list) {
		if (it->subsystem != subsystem)
			continue;
		liveupdate_instance_drop(&it->instance);
		luo_test_free_instance(it);
	}
}

static int luo_test_instances_command(char *line)
{
	struct luo_test_participant *participant;
	char *words[5] = {};
	u64 key;

	line = strim(line);
	for (int i = 0; i < ARRAY_SIZE(words) && line; i++)
		words[i] = strsep(&line, " ");
	if (!words[2] || line || kstrtou64(words[2], 10, &key))
		return -EINVAL;
	participant = luo_test_find(words[1]);
	if (!participant)
		return -ENOENT;

	if (!strcmp(words[0], "add") && words[4])
		return luo_test_add_instance(&participant->subsystem, key, words[3],
					     words[4]);
	if (words[3])
		return -EINVAL;
	if (!strcmp(words[0], "drop"))
		return luo_test_drop_instance(&participant->subsystem, key);
	if (!strcmp(words[0], "lose"))
		return luo_test_lose_instance(&participant->subsystem, key);
	if (!strcmp(words[0], "claim"))
		return luo_test_claim_instance(&participant->subsystem, key);

	return -EINVAL;
}

static ssize_t luo_test_instances_write(struct file *file, const char __user *ubuf,
					size_t count, loff_t *pos)
{
	char *line;
	int err;

	if (count >= PAGE_SIZE)
		return -EINVAL;
	line = memdup_user_nul(ubuf, count);
	if (IS_ERR(line))
		return PTR_ERR(line);
	err = luo_test_instances_command(line);
	kfree(line);

	return err ?: count;
}

static void luo_test_show_instances(struct luo_test_participant *participant,
				    void *context)
{
	struct liveupdate_instance_info info;
	struct seq_file *seq = context;
	unsigned int position = 0;

	while (!liveupdate_instance_next(&participant->subsystem, &position, &info)) {
		const char *text = info.error ? NULL : liveupdate_data_blob(&info.data);

		seq_printf(seq, "%s %llu %s ", participant->desc.name, info.key,
			   info.class == LIVEUPDATE_MANDATORY ? "mandatory" :
								"optional");
		if (text)
			seq_printf(seq, "%.*s\n", (int)info.data.size, text);
		else if (info.error)
			seq_printf(seq, "%d\n", info.error);
		else
			seq_printf(seq, "value=%#llx\n", info.data.value);
	}
}

static int luo_test_instances_show(struct seq_file *seq, void *unused)
{
	luo_test_for_each(luo_test_show_instances, seq);

	return 0;
}

static int luo_test_instances_open(struct inode *inode, struct file *file)
{
	return single_open(file, luo_test_instances_show, NULL);
}

static const struct file_operations luo_test_instances_fops = {
	.owner		= THIS_MODULE,
	.open		= luo_test_instances_open,
	.read		= seq_read,
	.write		= luo_test_instances_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

/**
 * luo_test_interfaces_init() - make the files of the interfaces
 * @dir: the directory of the test participants in debugfs
 *
 * Context: May sleep.
 */
void __init luo_test_interfaces_init(struct dentry *dir)
{
	debugfs_create_file("peeked", 0400, dir, NULL, &luo_test_peeked_fops);
	debugfs_create_file("instances", 0600, dir, NULL, &luo_test_instances_fops);
}
