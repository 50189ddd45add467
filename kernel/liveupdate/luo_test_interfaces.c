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
 */

#define pr_fmt(fmt) "liveupdate_test: " fmt

#include <linux/cleanup.h>
#include <linux/console.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/liveupdate.h>
#include <linux/seq_file.h>
#include <linux/string.h>

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

/**
 * luo_test_interfaces_init() - make the files of the interfaces
 * @dir: the directory of the test participants in debugfs
 *
 * Context: May sleep.
 */
void __init luo_test_interfaces_init(struct dentry *dir)
{
	debugfs_create_file("peeked", 0400, dir, NULL, &luo_test_peeked_fops);
}
