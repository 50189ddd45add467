// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of what subsystems can use
 *
 * What the test subsystems do with the interfaces of the core beyond their callbacks.
 *
 * liveupdate_test/peeked in debugfs has a line "NAME EARLY NOW" for each built-in
 * test subsystem: what liveupdate_peek() said when consoles were set up, which is the
 * last step before that of interrupts and timers of the architecture, and what it says
 * now. Each is the text, "value=N" for a plain value, or the error. The log has the
 * first, as "NAME: peeked EARLY".
 *
 * liveupdate_test/instances: a command, and a list of what was handed over and is not
 * claimed, "NAME KEY CLASS TEXT" a line, with the error instead of the text. Commands::
 *
 *	add NAME KEY CLASS TEXT		a new instance, CLASS is optional or mandatory
 *	drop NAME KEY			not any more
 *	abort NAME KEY			it cannot be handed over any more: EIO
 *	claim NAME KEY			take one over that was handed over, and free it
 *	follow NAME ON			for ON = 1 there is an optional instance for each file
 *					that is preserved while NAME is prepared, with
 *					the token as key and the text "file"
 *
 * liveupdate_test/lookup can be preserved in a session. Its partner is the other file
 * that was preserved last. When it is frozen it finds the token of that, and when it is
 * retrieved the file, and tries what must fail. The log has "lookup: token T, N bytes,
 * itself E, unknown E".
 *
 * Locking: &luo_test_instances_lock protects the list of instances. It is inside
 * &luo_ctx.lock, since cancel takes it, and outside that of the core's instances.
 */

#define pr_fmt(fmt) "liveupdate_test: " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/console.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/instance.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "luo_test_subsystem.h"

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

/* An instance of a test subsystem. */
struct luo_test_instance {
	struct liveupdate_instance instance;
	struct liveupdate_subsystem *subsystem;
	const struct file *file;
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
				 const char *class, const char *text,
				 const struct file *file)
{
	struct luo_test_instance *it;
	size_t size = strlen(text) + 1;
	void *blob;
	int err;

	it = kzalloc_obj(*it);
	if (!it)
		return -ENOMEM;
	it->subsystem = subsystem;
	it->file = file;
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

static int luo_test_drop_instance(struct liveupdate_subsystem *subsystem, u64 key,
				  const struct file *file)
{
	struct luo_test_instance *it;
	int err;

	guard(mutex)(&luo_test_instances_lock);

	it = luo_test_find_instance(subsystem, key);
	if (!it || it->file != file)
		return -ENOENT;
	err = liveupdate_instance_drop(&it->instance);
	if (!err)
		luo_test_free_instance(it);

	return err;
}

static int luo_test_abort_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct luo_test_instance *it;

	guard(mutex)(&luo_test_instances_lock);

	it = luo_test_find_instance(subsystem, key);
	if (!it)
		return -ENOENT;
	liveupdate_instance_abort(&it->instance, -EIO);

	return 0;
}

static int luo_test_claim_instance(struct liveupdate_subsystem *subsystem, u64 key)
{
	struct liveupdate_instance_info info;
	int err;

	err = liveupdate_instance_find(subsystem, key, &info);
	if (!err)
		err = liveupdate_instance_claim(subsystem, key);
	if (err)
		return err;

	return liveupdate_data_put(&info.data);
}

/* Cancel of a subsystem: nothing is handed over. May sleep. */
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

/* Files. */

#define LUO_TEST_LOOKUP_COMPATIBLE	"liveupdate-test-lookup-v1"
#define LUO_TEST_UNKNOWN_TOKEN		987654321

static struct liveupdate_subsystem *luo_test_follower;
static struct file *luo_test_partner;
static char luo_test_lookup_mark;

static bool luo_test_is_lookup(struct liveupdate_file_handler *handler,
			       struct file *file)
{
	return file_inode(file)->i_private == &luo_test_lookup_mark;
}

static int luo_test_file_preserved(struct liveupdate_file_notice *notice)
{
	struct liveupdate_subsystem *follower = READ_ONCE(luo_test_follower);
	int err = 0;

	if (follower)
		err = luo_test_add_instance(follower, notice->token, "optional", "file",
					    notice->file);
	if (err && err != -ENODEV)
		return err;

	if (!luo_test_is_lookup(notice->handler, notice->file)) {
		guard(mutex)(&luo_test_instances_lock);
		if (luo_test_partner)
			fput(luo_test_partner);
		luo_test_partner = get_file(notice->file);
	}

	return 0;
}

static void luo_test_file_unpreserved(struct liveupdate_file_notice *notice)
{
	struct liveupdate_subsystem *follower = READ_ONCE(luo_test_follower);

	if (follower)
		luo_test_drop_instance(follower, notice->token, notice->file);

	guard(mutex)(&luo_test_instances_lock);
	if (luo_test_partner == notice->file) {
		fput(luo_test_partner);
		luo_test_partner = NULL;
	}
}

static int luo_test_file_event(struct notifier_block *nb, unsigned long event,
			       void *context)
{
	if (event == LIVEUPDATE_FILE_PRESERVED)
		return notifier_from_errno(luo_test_file_preserved(context));
	luo_test_file_unpreserved(context);

	return NOTIFY_OK;
}

static struct notifier_block luo_test_file_notifier = {
	.notifier_call = luo_test_file_event,
};

static const struct file_operations luo_test_lookup_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
};

static int luo_test_lookup_preserve(struct liveupdate_file_op_args *args)
{
	return 0;
}

static void luo_test_lookup_done(struct liveupdate_file_op_args *args)
{
}

/* The token of the partner in the lower half of the data, its own in the upper one. */
static int luo_test_lookup_freeze(struct liveupdate_file_op_args *args)
{
	u64 own, token;
	int err;

	guard(mutex)(&luo_test_instances_lock);

	if (!luo_test_partner)
		return -ENOENT;
	err = liveupdate_get_token_outgoing(args->session, luo_test_partner, &token);
	if (!err)
		err = liveupdate_get_token_outgoing(args->session, args->file, &own);
	if (!err)
		args->serialized_data = own << 32 | token;

	return err;
}

static int luo_test_lookup_retrieve(struct liveupdate_file_op_args *args)
{
	u32 own = args->serialized_data >> 32, token = args->serialized_data;
	struct file *partner, *file;
	int itself, unknown, err;
	loff_t size;

	itself = liveupdate_get_file_incoming(args->session, own, &file);
	unknown = liveupdate_get_file_incoming(args->session, LUO_TEST_UNKNOWN_TOKEN,
					       &file);
	err = liveupdate_get_file_incoming(args->session, token, &partner);
	if (err)
		return err;
	size = i_size_read(file_inode(partner));
	fput(partner);
	pr_info("lookup: token %u, %lld bytes, itself %d, unknown %d\n", token, size,
		itself, unknown);

	file = anon_inode_getfile("[liveupdate_test_lookup]", &luo_test_lookup_fops,
				  NULL, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	args->file = file;

	return 0;
}

static bool luo_test_lookup_can_finish(struct liveupdate_file_op_args *args)
{
	return args->retrieve_status > 0;
}

static const struct liveupdate_file_ops luo_test_lookup_ops = {
	.can_preserve	= luo_test_is_lookup,
	.preserve	= luo_test_lookup_preserve,
	.unpreserve	= luo_test_lookup_done,
	.freeze		= luo_test_lookup_freeze,
	.retrieve	= luo_test_lookup_retrieve,
	.can_finish	= luo_test_lookup_can_finish,
	.finish		= luo_test_lookup_done,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler luo_test_lookup_handler = {
	.ops		= &luo_test_lookup_ops,
	.compatible	= LUO_TEST_LOOKUP_COMPATIBLE,
};

static int luo_test_instances_command(char *line)
{
	struct luo_test_subsystem *test;
	char *words[5] = {};
	u64 key;

	line = strim(line);
	for (int i = 0; i < ARRAY_SIZE(words) && line; i++)
		words[i] = strsep(&line, " ");
	if (!words[2] || line || kstrtou64(words[2], 10, &key))
		return -EINVAL;
	test = luo_test_find(words[1]);
	if (!test)
		return -ENOENT;

	if (!strcmp(words[0], "add") && words[4])
		return luo_test_add_instance(&test->subsystem, key, words[3],
					     words[4], NULL);
	if (words[3])
		return -EINVAL;
	if (!strcmp(words[0], "follow")) {
		WRITE_ONCE(luo_test_follower, key ? &test->subsystem : NULL);
		return 0;
	}
	if (!strcmp(words[0], "drop"))
		return luo_test_drop_instance(&test->subsystem, key, NULL);
	if (!strcmp(words[0], "abort"))
		return luo_test_abort_instance(&test->subsystem, key);
	if (!strcmp(words[0], "claim"))
		return luo_test_claim_instance(&test->subsystem, key);

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

static void luo_test_show_instances(struct luo_test_subsystem *test,
				    void *context)
{
	struct liveupdate_instance_info info;
	struct seq_file *seq = context;
	unsigned int position = 0;

	while (!liveupdate_instance_next(&test->subsystem, &position, &info)) {
		const char *text = info.error ? NULL : liveupdate_data_blob(&info.data);

		seq_printf(seq, "%s %llu %s ", test->desc.name, info.key,
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

/* Make the files of the interfaces. May sleep. */
int __init luo_test_interfaces_init(struct dentry *dir)
{
	int err;

	debugfs_create_file("peeked", 0400, dir, NULL, &luo_test_peeked_fops);
	debugfs_create_file("instances", 0600, dir, NULL, &luo_test_instances_fops);
	debugfs_create_file("lookup", 0400, dir, &luo_test_lookup_mark,
			    &luo_test_lookup_fops);

	err = liveupdate_register_file_notifier(&luo_test_file_notifier);
	if (err)
		return err;

	return liveupdate_register_file_handler(&luo_test_lookup_handler);
}
