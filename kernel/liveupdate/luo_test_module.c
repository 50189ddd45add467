// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test subsystem in a module
 *
 * The subsystem "test-module" on the level WORKLOAD, controlled like the
 * built-in ones in luo_test_subsystem.c and by the module parameter "config".
 *
 * As it is a module, it is restored when it is loaded. Before that it looks with
 * liveupdate_peek() what there is for it, and says so in the log. With "instances=N" its
 * prepare hands over N instances, of which each has the value 1000 + KEY. Its restore
 * claims all that are right, and says how many.
 *
 * liveupdate_test/module_file in debugfs can be preserved in a session: its handler, and
 * what all such files share (FLB), are the module's.
 */

#define pr_fmt(fmt) "test-module: " fmt

#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/instance.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "luo_test_subsystem.h"

static char *config = "";
module_param(config, charp, 0);
MODULE_PARM_DESC(config, "what test-module does, see luo_test_subsystem.c");

#define LUO_TEST_MODULE_VALUE	1000

static unsigned int instances;
module_param(instances, uint, 0);
MODULE_PARM_DESC(instances, "number of instances that test-module hands over");

static struct liveupdate_instance *luo_test_module_instances;

static void luo_test_module_drop(void)
{
	for (unsigned int i = 0; i < instances; i++)
		liveupdate_instance_drop(&luo_test_module_instances[i]);
}

static int luo_test_module_prepare(struct liveupdate_subsystem *subsystem,
				   struct liveupdate_data *data)
{
	int err = 0;

	for (unsigned int i = 0; i < instances && !err; i++) {
		struct liveupdate_instance *instance = &luo_test_module_instances[i];

		instance->key = i;
		instance->version = subsystem->desc->version;
		instance->data.value = LUO_TEST_MODULE_VALUE + i;
		err = liveupdate_instance_add(subsystem, instance);
	}
	if (!err)
		err = luo_test_prepare(subsystem, data);
	if (err)
		luo_test_module_drop();

	return err;
}

static void luo_test_module_cancel(struct liveupdate_subsystem *subsystem,
				   struct liveupdate_data *data)
{
	luo_test_module_drop();
	luo_test_cancel(subsystem, data);
}

static int luo_test_module_restore(struct liveupdate_subsystem *subsystem,
				   struct liveupdate_data *data)
{
	struct liveupdate_instance_info info;
	unsigned int position = 0, claimed = 0;
	int err;

	err = luo_test_restore(subsystem, data);
	if (err)
		return err;

	while (!liveupdate_instance_next(subsystem, &position, &info)) {
		if (!info.error && info.data.value == LUO_TEST_MODULE_VALUE + info.key &&
		    !liveupdate_instance_claim(subsystem, info.key))
			claimed++;
	}
	pr_info("claimed %u instances\n", claimed);

	return 0;
}

static const struct liveupdate_subsystem_ops luo_test_module_ops = {
	.prepare	= luo_test_module_prepare,
	.freeze		= luo_test_freeze,
	.thaw		= luo_test_thaw,
	.cancel		= luo_test_module_cancel,
	.restore	= luo_test_module_restore,
	.can_finish	= luo_test_can_finish,
	.finish		= luo_test_finish,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(luo_test_module_note, "test-module", 1, 1,
		LIVEUPDATE_LEVEL_WORKLOAD, LIVEUPDATE_OPTIONAL);

static struct luo_test_subsystem luo_test_module;

/* A file, and what all files of the kind share. */

#define LUO_TEST_MODULE_SHARED	0x5a5a

static char luo_test_module_mark;

static const struct file_operations luo_test_module_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
};

static int luo_test_shared_preserve(struct liveupdate_flb_op_args *args)
{
	args->data = LUO_TEST_MODULE_SHARED;
	args->obj = &luo_test_module_mark;

	return 0;
}

static int luo_test_shared_retrieve(struct liveupdate_flb_op_args *args)
{
	if (args->data != LUO_TEST_MODULE_SHARED)
		return -EINVAL;
	args->obj = &luo_test_module_mark;

	return 0;
}

static void luo_test_shared_done(struct liveupdate_flb_op_args *args)
{
}

static const struct liveupdate_flb_ops luo_test_shared_ops = {
	.preserve	= luo_test_shared_preserve,
	.unpreserve	= luo_test_shared_done,
	.retrieve	= luo_test_shared_retrieve,
	.finish		= luo_test_shared_done,
	.owner		= THIS_MODULE,
};

static struct liveupdate_flb luo_test_shared = {
	.ops		= &luo_test_shared_ops,
	.compatible	= "liveupdate-test-shared-v1",
};

static bool luo_test_module_can_preserve(struct liveupdate_file_handler *handler,
					 struct file *file)
{
	return file_inode(file)->i_private == &luo_test_module_mark;
}

static int luo_test_module_preserve(struct liveupdate_file_op_args *args)
{
	return 0;
}

static void luo_test_module_done(struct liveupdate_file_op_args *args)
{
}

static int luo_test_module_retrieve(struct liveupdate_file_op_args *args)
{
	struct file *file;
	void *shared;
	int err;

	err = liveupdate_flb_get_incoming(&luo_test_shared, &shared);
	if (err)
		return err;
	liveupdate_flb_put_incoming(&luo_test_shared);

	file = anon_inode_getfile("[liveupdate_test_module]", &luo_test_module_fops,
				  NULL, O_RDONLY);
	if (IS_ERR(file))
		return PTR_ERR(file);
	args->file = file;
	pr_info("retrieved a file, shared data %d\n", shared == &luo_test_module_mark);

	return 0;
}

static const struct liveupdate_file_ops luo_test_module_file_ops = {
	.can_preserve	= luo_test_module_can_preserve,
	.preserve	= luo_test_module_preserve,
	.unpreserve	= luo_test_module_done,
	.retrieve	= luo_test_module_retrieve,
	.finish		= luo_test_module_done,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler luo_test_module_handler = {
	.ops		= &luo_test_module_file_ops,
	.compatible	= "liveupdate-test-module-v1",
};

static struct dentry *luo_test_module_file;

static int __init luo_test_module_add_file(void)
{
	struct dentry *dir = debugfs_lookup("liveupdate_test", NULL);
	int err;

	err = liveupdate_register_file_handler(&luo_test_module_handler);
	if (err)
		goto out;
	err = liveupdate_register_flb(&luo_test_module_handler, &luo_test_shared);
	if (err) {
		liveupdate_unregister_file_handler(&luo_test_module_handler);
		goto out;
	}
	luo_test_module_file = debugfs_create_file("module_file", 0400, dir,
						   &luo_test_module_mark,
						   &luo_test_module_fops);
out:
	dput(dir);

	return err;
}

static void luo_test_module_remove_file(void)
{
	debugfs_remove(luo_test_module_file);
	liveupdate_unregister_flb(&luo_test_module_handler, &luo_test_shared);
	liveupdate_unregister_file_handler(&luo_test_module_handler);
}

static void __init luo_test_module_peek(void)
{
	struct liveupdate_data data = {};
	int err = liveupdate_peek(&luo_test_module_note.desc, &data);

	pr_info("peeked %d, %llu bytes\n", err, data.size);
}

static int __init luo_test_module_init(void)
{
	int err;

	luo_test_module_peek();
	luo_test_module_instances = kvzalloc_objs(*luo_test_module_instances,
						  instances);
	if (!luo_test_module_instances)
		return -ENOMEM;

	luo_test_init(&luo_test_module, &luo_test_module_note,
		      &luo_test_module_ops);
	err = luo_test_configure(config);
	if (err)
		goto err_exit;
	err = luo_test_module_add_file();
	if (err)
		goto err_exit;
	err = liveupdate_register_subsystem(&luo_test_module.subsystem);
	if (err)
		goto err_remove_file;

	return 0;

err_remove_file:
	luo_test_module_remove_file();
err_exit:
	luo_test_exit(&luo_test_module);
	kvfree(luo_test_module_instances);

	return err;
}
module_init(luo_test_module_init);

static void __exit luo_test_module_exit(void)
{
	liveupdate_unregister_subsystem(&luo_test_module.subsystem);
	luo_test_module_remove_file();
	luo_test_exit(&luo_test_module);
	kvfree(luo_test_module_instances);
}
module_exit(luo_test_module_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test subsystem of live update");
MODULE_LICENSE("GPL");
