// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test participant in a module
 *
 * The participant "test-module" on the level WORKLOAD, controlled like the
 * built-in ones in luo_test_participant.c and by the module parameter "config".
 *
 * As it is a module, it is restored when it is loaded. Before that it looks with
 * liveupdate_peek() what there is for it, and says so in the log. With "instances=N" its
 * prepare hands over N instances, of which each has the value 1000 + KEY. Its restore
 * claims all that are right, and says how many.
 */

#define pr_fmt(fmt) "test-module: " fmt

#include <linux/liveupdate/instance.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "luo_test_participant.h"

static char *config = "";
module_param(config, charp, 0);
MODULE_PARM_DESC(config, "what test-module does, see luo_test_participant.c");

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
	.finish		= luo_test_finish,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(luo_test_module_note, "test-module", 1, 1,
		LIVEUPDATE_LEVEL_WORKLOAD, LIVEUPDATE_OPTIONAL);

static struct luo_test_participant luo_test_module;

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
	luo_test_module_instances = kvcalloc(instances,
					     sizeof(*luo_test_module_instances),
					     GFP_KERNEL);
	if (!luo_test_module_instances)
		return -ENOMEM;

	luo_test_init(&luo_test_module, &luo_test_module_note,
		      &luo_test_module_ops);
	err = luo_test_configure(config);
	if (!err)
		err = liveupdate_register_subsystem(&luo_test_module.subsystem);
	if (err) {
		luo_test_exit(&luo_test_module);
		kvfree(luo_test_module_instances);
	}

	return err;
}
module_init(luo_test_module_init);

static void __exit luo_test_module_exit(void)
{
	liveupdate_unregister_subsystem(&luo_test_module.subsystem);
	luo_test_exit(&luo_test_module);
	kvfree(luo_test_module_instances);
}
module_exit(luo_test_module_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test participant of live update");
MODULE_LICENSE("GPL");
