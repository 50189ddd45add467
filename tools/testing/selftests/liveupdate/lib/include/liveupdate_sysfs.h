/* SPDX-License-Identifier: GPL-2.0 */

/*
 * Helpers for tests of /sys/kernel/liveupdate and of the test subsystems
 * (CONFIG_LIVEUPDATE_SUBSYSTEM_TEST).
 *
 * Functions return 0 or a count, and a negative errno on failure, unless they
 * say otherwise.
 */

#ifndef SELFTESTS_LIVEUPDATE_LIB_LIVEUPDATE_SYSFS_H
#define SELFTESTS_LIVEUPDATE_LIB_LIVEUPDATE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LUO_SYSFS	"/sys/kernel/liveupdate"
#define LUO_TEST_DIR	"/sys/kernel/debug/liveupdate_test"
#define LUO_LIST	"/sys/kernel/debug/liveupdate/subsystems"

/* A line of any file but subsystems, or all of calls. */
#define LUO_LINE_SIZE	256
#define LUO_CALLS_SIZE	65536

/* Milliseconds to wait, on a slow machine, for what takes none. */
#define LUO_PATIENCE_MS	20000

/* The built-in test subsystems, consumers first, as PREPARE calls them. */
enum luo_test_subsystem {
	LUO_TEST_WORKLOAD,
	LUO_TEST_DEVICES,
	LUO_TEST_IRQ,
	LUO_TEST_IOMMU,
	LUO_TEST_MEMORY,
	LUO_TEST_NR,
};

extern const char *const luo_test_names[LUO_TEST_NR];

/* Files of /sys/kernel/liveupdate by name. Reading cuts off the line end. */
int luo_sysfs_open(const char *file, int flags);
int luo_sysfs_read(const char *file, char *buf, size_t size);
int luo_sysfs_write(const char *file, const char *text);
int luo_sysfs_write_bytes(const char *file, const void *bytes, size_t size);
int luo_write_fd(int fd, const void *bytes, size_t size);
int luo_read_fd(int fd, char *buf, size_t size);
bool luo_sysfs_is(const char *file, const char *expected);
int luo_sysfs_wait(const char *file, const char *expected, int timeout_ms);

/* A write from another process; waiting for it returns what write(2) did. */
pid_t luo_sysfs_write_start(const char *file, const char *text);
int luo_sysfs_write_wait(pid_t writer);

/* The line of a subsystem in the file subsystems, taken apart. */
struct luo_subsystem_dir {
	char name[64];
	unsigned int version;
	unsigned int oldest;
	char level[16];
	char class[16];
	unsigned long long bytes;
};

int luo_subsystem_parse(const char *line, struct luo_subsystem_dir *subsystem);
int luo_subsystems_read(char *list, size_t size);
int luo_subsystem_dir_find(const char *name, struct luo_subsystem_dir *subsystem);

/* The test subsystems. */
int luo_test_config(const char *config);
int luo_test_release(void);
int luo_test_calls(char *buf, size_t size);

#define luo_test_configf(...) ({						\
	char _config[1024];						\
	snprintf(_config, sizeof(_config), __VA_ARGS__);		\
	luo_test_config(_config);					\
})

/* An expected list of calls, in the text form luo_test_calls() returns. */
struct luo_calls {
	char text[LUO_CALLS_SIZE];
	size_t length;
};

void luo_calls_add(struct luo_calls *calls, const char *step,
		   enum luo_test_subsystem subsystem, int error);
void luo_calls_walk(struct luo_calls *calls, const char *step, int first,
		    int last);

/*
 * luo_sysfs_begin() is called first in main(). luo_sysfs_setup() gives the
 * reason to skip a test, or NULL. luo_sysfs_reset() brings the machine back to
 * normal and clears the test subsystems and the timeout. luo_sysfs_recover()
 * does so only in a program that found the machine normal, before a test and
 * once more when the program exits, for tests that were killed.
 */
void luo_sysfs_begin(void);
const char *luo_sysfs_setup(const char *state, bool subsystems);
int luo_sysfs_recover(void);
int luo_sysfs_reset(void);

long long luo_now_ms(void);
void luo_sleep_ms(long ms);

#define EXPECT_FILE(file, expected) do {				\
	const char *_file = file;					\
	char _value[LUO_LINE_SIZE] = "";				\
	EXPECT_EQ(0, luo_sysfs_read(_file, _value, sizeof(_value)));	\
	EXPECT_STREQ(expected, _value)					\
		TH_LOG("in %s", _file);					\
} while (0)

#define EXPECT_FAILED(step, name, error) do {				\
	char _errno[16];						\
	snprintf(_errno, sizeof(_errno), "%d", error);			\
	EXPECT_FILE("last_failure/transition", step);			\
	EXPECT_FILE("last_failure/subsystem", name);			\
	EXPECT_FILE("last_failure/errno", _errno);			\
} while (0)

#define EXPECT_CALLS(expected) do {					\
	static char _calls[LUO_CALLS_SIZE];				\
	EXPECT_LE(0, luo_test_calls(_calls, sizeof(_calls)));		\
	EXPECT_STREQ((expected)->text, _calls);				\
} while (0)

#endif /* SELFTESTS_LIVEUPDATE_LIB_LIVEUPDATE_SYSFS_H */
