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

#define ROUNDS		1000
#define REHEARSALS	100
#define ATTEMPTS	5

/* Half a kilobyte for each round: far less than the smallest blob, a page. */
#define BOUND_KB	(ROUNDS / 2)

/* A machine that has just booted gets memory back for some seconds. */
#define WARM_UP_ROUNDS	100
#define WARM_UP_MS	30000
#define STEADY_KB	32
#define STEADY_BATCHES	5

FIXTURE(sysfs_cycles) {
	struct luo_calls calls;
};

FIXTURE_SETUP(sysfs_cycles)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
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

/* Rounds return 0 if all went as it should. */
static int prepare_and_cancel(int prepare)
{
	int err = luo_write_fd(prepare, "1", 1);

	return err ?: luo_write_fd(prepare, "0", 1);
}

static int failed_prepare(int prepare)
{
	int err = luo_write_fd(prepare, "1", 1);

	return err == -EIO ? 0 : -EBADE;
}

/* Rounds until they change nothing any more; what is available then. */
static long warm_up(int (*round)(int prepare), int prepare)
{
	long before = mem_available_kb(), now = before;
	long long end = luo_now_ms() + WARM_UP_MS;
	int steady = 0;

	while (steady < STEADY_BATCHES && luo_now_ms() < end) {
		for (int j = 0; j < WARM_UP_ROUNDS; j++) {
			if (round(prepare))
				return -1;
		}
		luo_sleep_ms(100);
		now = mem_available_kb();
		steady = labs(now - before) < STEADY_KB ? steady + 1 : 0;
		before = now;
	}

	return now;
}

/* A leak takes its share every time; what keeps freed memory fills up. */
#define EXPECT_MEMORY_BACK(round, prepare) do {				\
	int (*_round)(int) = round, _prepare = prepare;			\
	long _before, _after = warm_up(_round, _prepare);		\
	int _attempt = 0;						\
	do {								\
		_before = _after;					\
		ASSERT_LT(0, _before);					\
		for (int _i = 0; _i < ROUNDS; _i++) {			\
			ASSERT_EQ(0, _round(_prepare))			\
				TH_LOG("round %d", _i);			\
		}							\
		_after = mem_available_kb();				\
		TH_LOG("MemAvailable: %ld kB before, %ld kB after",	\
		       _before, _after);				\
	} while (_before - _after >= BOUND_KB && ++_attempt < ATTEMPTS); \
	EXPECT_GT(BOUND_KB, _before - _after);				\
} while (0)

TEST_F_TIMEOUT(sysfs_cycles, prepare_and_cancel, 500)
{
	int prepare = luo_sysfs_open("prepare", O_WRONLY);

	ASSERT_LE(0, prepare);
	stay();
	EXPECT_MEMORY_BACK(prepare_and_cancel, prepare);
	EXPECT_FILE("state", "normal");

	/* The last round is as complete as the first. */
	ASSERT_EQ(0, luo_test_config("clear"));
	ASSERT_EQ(0, prepare_and_cancel(prepare));
	luo_calls_walk(&self->calls, "prepare", LUO_TEST_WORKLOAD,
		       LUO_TEST_MEMORY);
	luo_calls_walk(&self->calls, "cancel", LUO_TEST_MEMORY,
		       LUO_TEST_WORKLOAD);
	EXPECT_CALLS(&self->calls);
}

/* The same where the last subsystem fails and all others are undone. */
TEST_F_TIMEOUT(sysfs_cycles, failed_prepare, 500)
{
	int prepare = luo_sysfs_open("prepare", O_WRONLY);

	ASSERT_LE(0, prepare);
	stay();
	ASSERT_EQ(0, luo_test_config("test-memory fail=prepare"));
	EXPECT_MEMORY_BACK(failed_prepare, prepare);
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
