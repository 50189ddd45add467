// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Live update and sleep
 *
 * Suspend and hibernation are refused unless the state is normal, and a prepare
 * is refused once they have begun.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/notifier.h>
#include <linux/suspend.h>

#include "luo_machine.h"

static int luo_pm_notify(struct notifier_block *nb, unsigned long event,
			 void *unused)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
	case PM_SUSPEND_PREPARE:
	case PM_RESTORE_PREPARE: {
		ACQUIRE(mutex_try, lock)(&luo_system.lock);
		if (ACQUIRE_ERR(mutex_try, &lock) ||
		    luo_system.state != LIVEUPDATE_STATE_NORMAL) {
			pr_notice("refusing to sleep during a live update\n");
			return notifier_from_errno(-EBUSY);
		}
		WRITE_ONCE(luo_system.sleeping, luo_system.sleeping + 1);
		break;
	}
	case PM_POST_HIBERNATION:
	case PM_POST_SUSPEND:
	case PM_POST_RESTORE: {
		guard(mutex)(&luo_system.lock);
		WRITE_ONCE(luo_system.sleeping, luo_system.sleeping - 1);
		break;
	}
	}

	return NOTIFY_OK;
}

static struct notifier_block luo_pm_notifier = {
	.notifier_call = luo_pm_notify,
};

/**
 * luo_pm_register() - begin to look at suspend and hibernation
 *
 * Context: May sleep. Once.
 * Return: 0 or the error of register_pm_notifier().
 */
int luo_pm_register(void)
{
	return register_pm_notifier(&luo_pm_notifier);
}
