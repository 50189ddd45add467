// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test participant in a module
 *
 * The participant "test-module" on the level WORKLOAD, controlled like the
 * built-in ones in luo_test_participant.c and by the module parameter "config".
 */

#include <linux/module.h>
#include <linux/moduleparam.h>

#include "luo_test_participant.h"

static char *config = "";
module_param(config, charp, 0);
MODULE_PARM_DESC(config, "what test-module does, see luo_test_participant.c");

static const struct liveupdate_subsystem_ops luo_test_module_ops = {
	.prepare	= luo_test_prepare,
	.freeze		= luo_test_freeze,
	.thaw		= luo_test_thaw,
	.cancel		= luo_test_cancel,
	.restore	= luo_test_restore,
	.finish		= luo_test_finish,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(luo_test_module_note, "test-module", 1, 1,
		LIVEUPDATE_LEVEL_WORKLOAD, LIVEUPDATE_OPTIONAL);

static struct luo_test_participant luo_test_module;

static int __init luo_test_module_init(void)
{
	int err;

	luo_test_init(&luo_test_module, &luo_test_module_note,
		      &luo_test_module_ops);
	err = luo_test_configure(config);
	if (!err)
		err = liveupdate_register_subsystem(&luo_test_module.subsystem);
	if (err)
		luo_test_exit(&luo_test_module);

	return err;
}
module_init(luo_test_module_init);

static void __exit luo_test_module_exit(void)
{
	liveupdate_unregister_subsystem(&luo_test_module.subsystem);
	luo_test_exit(&luo_test_module);
}
module_exit(luo_test_module_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test participant of live update");
MODULE_LICENSE("GPL");
