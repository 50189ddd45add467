// SPDX-License-Identifier: GPL-2.0

/*
 * Two processes request something at the same instant: exactly one of them
 * gets it and the other is told EBUSY, while others read every file all the
 * time and never see anything that does not make sense.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

#define WRITERS	2
#define READERS	2
#define ROUNDS	300	/* or less, on a slow machine */
#define ROUNDS_MS	60000
#define SLOW_ROUNDS	8
#define SLOW_MS	300

/* Shared by all processes of a test. */
struct arena {
	unsigned int round;		/* written by the referee */
	unsigned int arrived;
	bool over;
	const char *file[WRITERS];
	const char *value[WRITERS];
	int result[WRITERS];
	int took_ms[WRITERS];
	unsigned int done;
	unsigned long reads;
	unsigned long odd_reads;
	char odd[LUO_LINE_SIZE];
	long long end;
	int rounds;
};

FIXTURE(sysfs_race) {
	struct luo_calls calls;
	struct arena arena;
	pid_t others[WRITERS + READERS];
};

/* A process that ends with its parent, whatever happens to that. */
static pid_t fork_bound(void)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}

	return pid;
}

static void wait_until(unsigned int *counter, unsigned int value)
{
	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value)
		sched_yield();
}

/* Opens beforehand, so that the write is all that is left to do. */
static void writer(struct arena *arena, int me)
{
	for (unsigned int round = 1;; round++) {
		long long start;
		int fd;

		wait_until(&arena->round, round);
		if (arena->over)
			_exit(0);
		fd = luo_sysfs_open(arena->file[me], O_WRONLY);

		/* All spin from here, and none sleeps, until all are here. */
		__atomic_add_fetch(&arena->arrived, 1, __ATOMIC_ACQ_REL);
		wait_until(&arena->arrived, round * WRITERS);

		start = luo_now_ms();
		arena->result[me] = luo_write_fd(fd, arena->value[me],
						 strlen(arena->value[me]));
		arena->took_ms[me] = luo_now_ms() - start;
		close(fd);
		__atomic_add_fetch(&arena->done, 1, __ATOMIC_ACQ_REL);
	}
}

static void referee(struct arena *arena)
{
	unsigned int round = arena->round + 1;

	__atomic_store_n(&arena->round, round, __ATOMIC_RELEASE);
	wait_until(&arena->done, round * WRITERS);
}

static bool one_of(const char *word, const char *const *words)
{
	while (*words) {
		if (!strcmp(word, *words++))
			return true;
	}

	return false;
}

static bool transition_makes_sense(char *text)
{
	static const char *const steps[] = {
		"prepare", "cancel", "freeze", "thaw", NULL,
	};
	char *step = strsep(&text, " ");

	if (!strcmp(step, "idle"))
		return !text;

	return one_of(step, steps) && (!text || (*text && !strchr(text, ' ')));
}

static bool subsystems_make_sense(char *rest)
{
	struct luo_subsystem_dir subsystem;
	int lines = 0;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		if (luo_subsystem_parse(line, &subsystem))
			return false;
		lines++;
	}

	return lines >= LUO_TEST_NR;
}

static void reader(struct arena *arena)
{
	static const char *const states[] = { "normal", "prepared", NULL };
	static const char *const files[] = {
		"state", "transition", "subsystems/test-irq/bytes", "last_failure/transition",
		"last_failure/subsystem", "last_failure/errno", "last_failure/count",
		"prepare_timeout_ms",
	};
	static char text[LUO_CALLS_SIZE];

	while (!__atomic_load_n(&arena->over, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < ARRAY_SIZE(files); i++) {
			bool sense = !luo_sysfs_read(files[i], text, sizeof(text));

			if (i == 0)
				sense = sense && one_of(text, states);
			else if (i == 1)
				sense = sense && transition_makes_sense(text);
			else if (i == 2)
				sense = sense && !luo_subsystems_read(text, sizeof(text)) &&
					subsystems_make_sense(text);

			__atomic_add_fetch(&arena->reads, 1, __ATOMIC_RELAXED);
			if (!sense && !__atomic_fetch_add(&arena->odd_reads, 1,
							  __ATOMIC_RELAXED))
				snprintf(arena->odd, sizeof(arena->odd),
					 "%s: %.200s", files[i], text);
		}
	}
	_exit(0);
}

FIXTURE_SETUP(sysfs_race)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	self->arena.end = luo_now_ms() + ROUNDS_MS;
	for (int i = 0; i < WRITERS + READERS; i++) {
		pid_t pid = fork_bound();

		ASSERT_LE(0, pid);
		if (!pid && i < WRITERS)
			writer(&self->arena, i);
		else if (!pid)
			reader(&self->arena);
		self->others[i] = pid;
	}
}

FIXTURE_TEARDOWN_PARENT(sysfs_race)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

/* Ends the others and looks at what the readers found. */
#define EXPECT_SENSE(shared) do {					\
	struct arena *_arena = (shared);				\
	__atomic_store_n(&_arena->over, true, __ATOMIC_RELEASE);	\
	__atomic_add_fetch(&_arena->round, 1, __ATOMIC_RELEASE);	\
	for (int _i = 0; _i < WRITERS + READERS; _i++)			\
		EXPECT_EQ(self->others[_i],				\
			  waitpid(self->others[_i], NULL, 0));		\
	EXPECT_LT(0, _arena->reads);					\
	EXPECT_EQ(0, _arena->odd_reads)					\
		TH_LOG("read from %s", _arena->odd);			\
	EXPECT_LT(0, _arena->rounds);					\
	TH_LOG("%d rounds, %lu reads beside", _arena->rounds, _arena->reads); \
} while (0)

/* One got 0 and the other -EBUSY. */
#define ASSERT_ONE_WINS(shared, round) do {				\
	const int *_result = (shared)->result;				\
	int _loser = _result[0] ? 0 : 1, _round = (round);		\
	ASSERT_EQ(0, _result[!_loser])					\
		TH_LOG("round %d: both lost", _round);			\
	ASSERT_EQ(-EBUSY, _result[_loser])				\
		TH_LOG("round %d", _round);				\
} while (0)

/* For the loop over rounds; how many there were is said in the end. */
static bool go_on(struct arena *arena, int round)
{
	arena->rounds = round;

	return round < ROUNDS && luo_now_ms() < arena->end;
}

static void request(struct arena *arena, const char *file, const char *value)
{
	for (int i = 0; i < WRITERS; i++) {
		arena->file[i] = file;
		arena->value[i] = value;
	}
}

/* Two prepare, then two cancel, and each is done once. */
TEST_F_TIMEOUT(sysfs_race, prepare_and_cancel, 120)
{
	struct arena *arena = &self->arena;
	int wins = 0;

	luo_calls_walk(&self->calls, "prepare", LUO_TEST_WORKLOAD,
		       LUO_TEST_MEMORY);
	luo_calls_walk(&self->calls, "cancel", LUO_TEST_MEMORY,
		       LUO_TEST_WORKLOAD);

	for (int round = 0; go_on(&self->arena, round); round++) {
		ASSERT_EQ(0, luo_test_config("clear"));

		request(arena, "prepare", "1");
		referee(arena);
		ASSERT_ONE_WINS(arena, round);
		EXPECT_FILE("state", "prepared");
		wins += !arena->result[0];

		request(arena, "prepare", "0");
		referee(arena);
		ASSERT_ONE_WINS(arena, round);
		EXPECT_FILE("state", "normal");
		wins += !arena->result[0];

		EXPECT_CALLS(&self->calls);
	}

	TH_LOG("the first writer won %d of %d", wins, 2 * arena->rounds);
	EXPECT_SENSE(arena);
}

/*
 * With a slow subsystem the two certainly meet, and then the loser must not
 * wait for the winner.
 */
TEST_F_TIMEOUT(sysfs_race, loser_does_not_wait, 120)
{
	struct arena *arena = &self->arena;

	ASSERT_EQ(0, luo_test_configf("test-devices slow=prepare,ms=%d;"
				     "test-irq slow=freeze,ms=%d;"
				     "test-iommu slow=cancel,ms=%d",
				     SLOW_MS, SLOW_MS, SLOW_MS));
	for (int round = 0; round < SLOW_ROUNDS; round++) {
		static const char *const requests[][2] = {
			{ "prepare", "1" },
			{ "rehearse", "1" },
			{ "prepare", "0" },
		};

		arena->rounds = round + 1;
		for (int i = 0; i < ARRAY_SIZE(requests); i++) {
			int loser;

			request(arena, requests[i][0], requests[i][1]);
			referee(arena);
			ASSERT_ONE_WINS(arena, round);
			loser = arena->result[0] ? 0 : 1;
			EXPECT_LT(SLOW_MS / 2, arena->took_ms[!loser]);
			EXPECT_GT(SLOW_MS / 2, arena->took_ms[loser])
				TH_LOG("%s to %s", requests[i][1],
				       requests[i][0]);
		}
	}
	EXPECT_SENSE(arena);
}

/* A rehearsal against a cancel: whoever wins, the end is normal and complete. */
TEST_F_TIMEOUT(sysfs_race, rehearse_against_cancel, 120)
{
	struct arena *arena = &self->arena;
	int met = 0;

	for (int round = 0; go_on(&self->arena, round); round++) {
		ASSERT_EQ(0, luo_test_config("clear"));
		ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
		self->calls.length = 0;
		luo_calls_walk(&self->calls, "prepare", LUO_TEST_WORKLOAD,
			       LUO_TEST_MEMORY);

		request(arena, "rehearse", "1");
		arena->file[1] = "prepare";
		arena->value[1] = "0";
		referee(arena);

		/* At least one wins; both may, one after the other. */
		if (!arena->result[0]) {
			luo_calls_walk(&self->calls, "freeze",
				       LUO_TEST_WORKLOAD, LUO_TEST_MEMORY);
			luo_calls_walk(&self->calls, "thaw", LUO_TEST_MEMORY,
				       LUO_TEST_WORKLOAD);
		} else {
			ASSERT_EQ(-EBUSY, arena->result[0]);
			ASSERT_EQ(0, arena->result[1]);
		}
		if (arena->result[1]) {
			ASSERT_EQ(-EBUSY, arena->result[1]);
			EXPECT_FILE("state", "prepared");
			ASSERT_EQ(0, luo_sysfs_write("prepare", "0"));
			met++;
		}
		EXPECT_FILE("state", "normal");
		luo_calls_walk(&self->calls, "cancel", LUO_TEST_MEMORY,
			       LUO_TEST_WORKLOAD);
		EXPECT_CALLS(&self->calls);
	}

	TH_LOG("the cancel was refused in %d of %d", met, arena->rounds);
	EXPECT_SENSE(arena);
}

/* What is impossible anyway does not get in the way of what is possible. */
TEST_F_TIMEOUT(sysfs_race, refused_does_not_disturb, 120)
{
	static const char *const requests[][2] = {
		{ "prepare", "1" },
		{ "rehearse", "1" },
		{ "prepare", "0" },
	};
	struct arena *arena = &self->arena;

	for (int round = 0; go_on(&self->arena, round); round++) {
		for (int i = 0; i < ARRAY_SIZE(requests); i++) {
			request(arena, requests[i][0], requests[i][1]);
			arena->file[1] = "finish";
			arena->value[1] = "1";
			referee(arena);
			ASSERT_EQ(-EBUSY, arena->result[1]);
			ASSERT_EQ(0, arena->result[0])
				TH_LOG("round %d, %s to %s", round,
				       requests[i][1], requests[i][0]);
		}
	}
	EXPECT_SENSE(arena);
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
