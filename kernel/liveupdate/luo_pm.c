// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Live update and sleep
 *
 * Suspend and hibernation are refused unless the state is normal, and a prepare
 * is refused once they have begun. A guest of Xen that is told to suspend, which is how
 * it migrates, calls no PM notifier; it asks liveupdate_check_sleep() instead.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/notifier.h>
#include <linux/suspend.h>

#include "luo_ctx.h"

/* Count one more sleep, or none if system_transition_mutex keeps requests out. */
static int luo_try_sleep(unsigned int count)
{
	ACQUIRE(mutex_try, lock)(&luo_system.lock);
	if (ACQUIRE_ERR(mutex_try, &lock) ||
	    luo_system.state != LIVEUPDATE_STATE_NORMAL) {
		pr_notice("refusing to sleep during a live update\n");
		return -EBUSY;
	}
	WRITE_ONCE(luo_system.sleeping, luo_system.sleeping + count);

	return 0;
}

/**
 * liveupdate_check_sleep() - refuse to sleep during a live update
 *
 * For those who suspend the system without PM notifiers. Nothing begins until they let
 * system_transition_mutex go.
 *
 * Context: May sleep. system_transition_mutex held.
 * Return: 0, or -EBUSY if the state is not normal or during a transition.
 */
int liveupdate_check_sleep(void)
{
	lockdep_assert_held(&system_transition_mutex);

	return luo_try_sleep(0);
}

static int luo_pm_notify(struct notifier_block *nb, unsigned long event,
			 void *unused)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
	case PM_SUSPEND_PREPARE:
	case PM_RESTORE_PREPARE:
		if (luo_try_sleep(1))
			return notifier_from_errno(-EBUSY);
		break;
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

/* Begin to look at suspend and hibernation. May sleep. Once. */
int luo_pm_register(void)
{
	return register_pm_notifier(&luo_pm_notifier);
}
