// SPDX-License-Identifier: GPL-2.0

/*
 * Many rounds of what an operator may repeat, and the memory they take must be
 * back afterwards.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

#define WARM_UP_ROUNDS	200
#define ROUNDS		1000
#define REHEARSALS	100

/* A quarter of a page for each round: far less than the smallest blob. */
#define BOUND_KB	(ROUNDS * 4 / 4)

FIXTURE(sysfs_cycles) {
	struct luo_calls calls;
};

FIXTURE_SETUP(sysfs_cycles)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
}

FIXTURE_TEARDOWN_PARENT(sysfs_cycles)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

/* A process that stays on one CPU meets the free pages of that one only. */
static void stay(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* After the counters that each CPU keeps for itself were added up. */
static long mem_available_kb(void)
{
	static char text[8192];
	const char *line;
	int fd;

	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			ksft_print_msg("vm.stat_refresh: %m\n");
		close(fd);
	}

	fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || luo_read_fd(fd, text, sizeof(text)) < 0)
		return -1;
	close(fd);
	line = strstr(text, "\nMemAvailable:");

	return line ? atol(line + strlen("\nMemAvailable:")) : -1;
}

static int cycle(int prepare_fd)
{
	int err = luo_write_fd(prepare_fd, "1", 1);

	return err ?: luo_write_fd(prepare_fd, "0", 1);
}

#define EXPECT_MEMORY_BACK(before) do {					\
	long _before = before, _after = mem_available_kb();		\
	TH_LOG("MemAvailable: %ld kB before, %ld kB after", _before, _after); \
	ASSERT_LT(0, _before);						\
	EXPECT_GT(BOUND_KB, _before - _after);				\
} while (0)

TEST_F_TIMEOUT(sysfs_cycles, prepare_and_cancel, 300)
{
	int prepare = luo_sysfs_open("prepare", O_WRONLY);
	long before;

	ASSERT_LE(0, prepare);
	stay();
	for (int i = 0; i < WARM_UP_ROUNDS; i++)
		ASSERT_EQ(0, cycle(prepare));

	before = mem_available_kb();
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, cycle(prepare))
			TH_LOG("round %d", i);
	}
	EXPECT_MEMORY_BACK(before);
	EXPECT_FILE("state", "normal");

	/* The last round is as complete as the first. */
	ASSERT_EQ(0, luo_test_config("clear"));
	ASSERT_EQ(0, cycle(prepare));
	luo_calls_walk(&self->calls, "prepare", LUO_TEST_WORKLOAD,
		       LUO_TEST_MEMORY);
	luo_calls_walk(&self->calls, "cancel", LUO_TEST_MEMORY,
		       LUO_TEST_WORKLOAD);
	EXPECT_CALLS(&self->calls);
}

/* The same where the last participant fails and all others are undone. */
TEST_F_TIMEOUT(sysfs_cycles, failed_prepare, 300)
{
	int prepare = luo_sysfs_open("prepare", O_WRONLY);
	long before;

	ASSERT_LE(0, prepare);
	stay();
	ASSERT_EQ(0, luo_test_config("test-memory fail=prepare"));
	for (int i = 0; i < WARM_UP_ROUNDS; i++)
		ASSERT_EQ(-EIO, luo_write_fd(prepare, "1", 1));

	before = mem_available_kb();
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(-EIO, luo_write_fd(prepare, "1", 1))
			TH_LOG("round %d", i);
	}
	EXPECT_MEMORY_BACK(before);
	EXPECT_FILE("state", "normal");
}

TEST_F_TIMEOUT(sysfs_cycles, rehearsals, 300)
{
	int rehearse = luo_sysfs_open("rehearse", O_WRONLY);

	ASSERT_LE(0, rehearse);
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	for (int i = 0; i < REHEARSALS; i++) {
		ASSERT_EQ(0, luo_test_config("clear"));
		ASSERT_EQ(0, luo_write_fd(rehearse, "1", 1))
			TH_LOG("round %d", i);
		EXPECT_FILE("state", "prepared");
		self->calls.length = 0;
		luo_calls_walk(&self->calls, "freeze", LUO_TEST_WORKLOAD,
			       LUO_TEST_MEMORY);
		luo_calls_walk(&self->calls, "thaw", LUO_TEST_MEMORY,
			       LUO_TEST_WORKLOAD);
		EXPECT_CALLS(&self->calls);
	}
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_FILE("state", "normal");
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
