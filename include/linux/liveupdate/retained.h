/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LIVEUPDATE_RETAINED_H
#define _LINUX_LIVEUPDATE_RETAINED_H

#include <linux/kconfig.h>
#include <linux/types.h>

struct liveupdate_retained;
struct liveupdate_subsystem;

#ifdef CONFIG_LIVEUPDATE_SUBSYSTEMS

struct liveupdate_retained *
liveupdate_retain(struct liveupdate_subsystem *subsystem, const char *name,
		  u64 bytes, const char *reason);
void liveupdate_release(struct liveupdate_retained *retained);

#if IS_ENABLED(CONFIG_KUNIT)
void liveupdate_retained_ids(char *ids, size_t size);
#endif

#endif /* CONFIG_LIVEUPDATE_SUBSYSTEMS */

#endif /* _LINUX_LIVEUPDATE_RETAINED_H */
