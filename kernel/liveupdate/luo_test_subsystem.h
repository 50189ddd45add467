/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LUO_TEST_SUBSYSTEM_H
#define _LINUX_LUO_TEST_SUBSYSTEM_H

#include <linux/liveupdate/subsystem.h>
#include <linux/list.h>

#define LUO_TEST_DATA_LEN	128

/**
 * struct luo_test_subsystem - a subsystem that does as it is told
 * @subsystem: its registration; luo_test_init() points it to @desc.
 * @desc: description, a copy of the note's that can be changed.
 * @list: entry in the list of all test subsystems.
 * @bulk: one of many, which hands over a plain value unless told otherwise.
 * @fail: name of the callback that fails, or empty.
 * @fail_errno: error it fails with, positive.
 * @slow: name of the callback that is slow, or empty.
 * @slow_ms: milliseconds it takes.
 * @hold: name of the callback that waits until it is released, or empty.
 * @items: number of items that prepare and freeze go through.
 * @data: text to hand over; empty hands over a plain value.
 * @received: text that was handed over.
 */
struct luo_test_subsystem {
	struct liveupdate_subsystem subsystem;
	struct liveupdate_subsystem_desc desc;
	struct list_head list;
	bool bulk;
	char fail[16];
	int fail_errno;
	char slow[16];
	unsigned int slow_ms;
	char hold[16];
	unsigned int items;
	char data[LUO_TEST_DATA_LEN];
	char received[LUO_TEST_DATA_LEN];
};

void luo_test_init(struct luo_test_subsystem *test,
		   const struct liveupdate_note *note,
		   const struct liveupdate_subsystem_ops *ops);
void luo_test_exit(struct luo_test_subsystem *test);
int luo_test_configure(const char *config);

int luo_test_prepare(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data);
int luo_test_freeze(struct liveupdate_subsystem *subsystem,
		    struct liveupdate_data *data);
void luo_test_thaw(struct liveupdate_subsystem *subsystem,
		   struct liveupdate_data *data);
void luo_test_cancel(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data);
int luo_test_restore(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data);
bool luo_test_can_finish(struct liveupdate_subsystem *subsystem,
			 const struct liveupdate_data *data);
void luo_test_finish(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data);

struct luo_test_subsystem *luo_test_find(const char *name);
void luo_test_for_each(void (*work)(struct luo_test_subsystem *test,
				    void *context), void *context);

/* luo_test_interfaces.c */
struct dentry;

void luo_test_instances_cancel(struct liveupdate_subsystem *subsystem);
int luo_test_interfaces_init(struct dentry *dir);

#endif /* _LINUX_LUO_TEST_SUBSYSTEM_H */
