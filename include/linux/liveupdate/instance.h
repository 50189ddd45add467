/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LIVEUPDATE_INSTANCE_H
#define _LINUX_LIVEUPDATE_INSTANCE_H

#include <linux/list.h>
#include <linux/liveupdate/subsystem.h>
#include <linux/types.h>

/**
 * struct liveupdate_instance - one of many things that a subsystem hands over
 * @key: number of the instance, unique for its subsystem.
 * @version: version of its data, 1 to that of the subsystem.
 * @class: %LIVEUPDATE_OPTIONAL or %LIVEUPDATE_MANDATORY: what its loss means.
 * @data: the data, as that of a subsystem. It may be changed until the subsystem's
 *	freeze returns.
 *
 * Usually embedded in what the subsystem has of it. All but @data are constant while it
 * is added.
 */
struct liveupdate_instance {
	u64 key;
	u32 version;
	u32 class;
	struct liveupdate_data data;

	/* private: owned by kernel/liveupdate/luo_instance_out.c */
	struct list_head entry;
	struct liveupdate_subsystem *subsystem;
	u32 position;
	int lost;
};

/**
 * struct liveupdate_instance_info - an instance that the previous kernel handed over
 * @key: number of the instance.
 * @version: version of its data.
 * @class: %LIVEUPDATE_OPTIONAL or %LIVEUPDATE_MANDATORY.
 * @error: 0 if it can be claimed; -EALREADY if it was; -ENODATA if the previous kernel
 *	lost it; -EBADMSG if its data is not there; -EPROTONOSUPPORT if the subsystem
 *	cannot read the version.
 * @data: if @error is 0 the data, validated as that of a subsystem.
 */
struct liveupdate_instance_info {
	u64 key;
	u32 version;
	u32 class;
	int error;
	struct liveupdate_data data;
};

int liveupdate_instance_add(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_instance *instance);
int liveupdate_instance_drop(struct liveupdate_instance *instance);
void liveupdate_instance_abort(struct liveupdate_instance *instance, int error);

int liveupdate_instance_find(struct liveupdate_subsystem *subsystem, u64 key,
			     struct liveupdate_instance_info *info);
int liveupdate_instance_next(struct liveupdate_subsystem *subsystem,
			     unsigned int *position,
			     struct liveupdate_instance_info *info);
int liveupdate_instance_claim(struct liveupdate_subsystem *subsystem, u64 key);

#endif /* _LINUX_LIVEUPDATE_INSTANCE_H */
