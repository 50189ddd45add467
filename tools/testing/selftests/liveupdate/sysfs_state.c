// SPDX-License-Identifier: GPL-2.0

/*
 * The state machine of /sys/kernel/liveupdate, as far as it goes without a
 * kexec: every request in every state, the order of callbacks, every failure
 * and what is undone after it, deadlines, and what can be read meanwhile.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libliveupdate.h>
#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

#define FIRST	LUO_TEST_WORKLOAD
#define LAST	LUO_TEST_MEMORY

/* A different error for each subsystem, so that none is mistaken. */
static const int errors[LUO_TEST_NR] = {
	[LUO_TEST_WORKLOAD]	= EIO,
	[LUO_TEST_DEVICES]	= ENOMEM,
	[LUO_TEST_IRQ]		= ENODEV,
	[LUO_TEST_IOMMU]	= EAGAIN,
	[LUO_TEST_MEMORY]	= EOPNOTSUPP,
};

FIXTURE(sysfs_state) {
	struct luo_calls calls;
};

FIXTURE_SETUP(sysfs_state)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
}

FIXTURE_TEARDOWN_PARENT(sysfs_state)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

/* Nothing but prepare is possible in normal, and no callback runs. */
TEST_F(sysfs_state, normal_refuses)
{
	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("finish", "1"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("rehearse", "1"));
	EXPECT_FILE("state", "normal");
	EXPECT_FILE("transition", "idle");
	EXPECT_CALLS(&self->calls);
}

/* Prepare walks from consumers to providers, cancel walks back. */
TEST_F(sysfs_state, prepare_and_cancel)
{
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_FILE("state", "prepared");
	EXPECT_FILE("transition", "idle");
	luo_calls_walk(&self->calls, "prepare", FIRST, LAST);
	EXPECT_CALLS(&self->calls);

	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_FILE("state", "normal");
	EXPECT_FILE("transition", "idle");
	luo_calls_walk(&self->calls, "cancel", LAST, FIRST);
	EXPECT_CALLS(&self->calls);

	/* Cancelling twice changes nothing more. */
	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	EXPECT_CALLS(&self->calls);

	/* And all of it is possible again. */
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1\n"));
	EXPECT_FILE("state", "prepared");
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0\n"));
	EXPECT_FILE("state", "normal");
}

/* In prepared neither prepare nor finish is possible, and no callback runs. */
TEST_F(sysfs_state, prepared_refuses)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	luo_calls_walk(&self->calls, "prepare", FIRST, LAST);

	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("finish", "1"));
	EXPECT_FILE("state", "prepared");
	EXPECT_FILE("transition", "idle");
	EXPECT_CALLS(&self->calls);
}

/* A rehearsal freezes and thaws, stays prepared, and can be repeated. */
TEST_F(sysfs_state, rehearse)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	luo_calls_walk(&self->calls, "prepare", FIRST, LAST);

	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
		EXPECT_FILE("state", "prepared");
		EXPECT_FILE("transition", "idle");
		luo_calls_walk(&self->calls, "freeze", FIRST, LAST);
		luo_calls_walk(&self->calls, "thaw", LAST, FIRST);
		EXPECT_CALLS(&self->calls);
	}

	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	luo_calls_walk(&self->calls, "cancel", LAST, FIRST);
	EXPECT_CALLS(&self->calls);
}

/* Whichever subsystem fails to prepare, those before it are cancelled. */
TEST_F(sysfs_state, prepare_fails)
{
	for (int i = FIRST; i <= LAST; i++) {
		ASSERT_EQ(0, luo_test_configf("clear;%s fail=prepare,errno=%d",
					      luo_test_names[i], errors[i]));
		EXPECT_EQ(-errors[i], luo_sysfs_write("prepare", "1"));
		EXPECT_FILE("state", "normal");
		EXPECT_FILE("transition", "idle");
		EXPECT_FAILED("prepare", luo_test_names[i], -errors[i]);

		self->calls.length = 0;
		if (i > FIRST)
			luo_calls_walk(&self->calls, "prepare", FIRST, i - 1);
		luo_calls_add(&self->calls, "prepare", i, -errors[i]);
		if (i > FIRST)
			luo_calls_walk(&self->calls, "cancel", i - 1, FIRST);
		EXPECT_CALLS(&self->calls);

		/* Nothing of it is left behind. */
		ASSERT_EQ(0, luo_test_config("clear"));
		EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
		EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
		self->calls.length = 0;
		luo_calls_walk(&self->calls, "prepare", FIRST, LAST);
		luo_calls_walk(&self->calls, "cancel", LAST, FIRST);
		EXPECT_CALLS(&self->calls);
	}
}

/* Whichever subsystem fails to freeze, those before it are thawed. */
TEST_F(sysfs_state, freeze_fails)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));

	for (int i = FIRST; i <= LAST; i++) {
		ASSERT_EQ(0, luo_test_configf("clear;%s fail=freeze,errno=%d",
					      luo_test_names[i], errors[i]));
		EXPECT_EQ(-errors[i], luo_sysfs_write("rehearse", "1"));
		EXPECT_FILE("state", "prepared");
		EXPECT_FILE("transition", "idle");
		EXPECT_FAILED("freeze", luo_test_names[i], -errors[i]);

		self->calls.length = 0;
		if (i > FIRST)
			luo_calls_walk(&self->calls, "freeze", FIRST, i - 1);
		luo_calls_add(&self->calls, "freeze", i, -errors[i]);
		if (i > FIRST)
			luo_calls_walk(&self->calls, "thaw", i - 1, FIRST);
		EXPECT_CALLS(&self->calls);

		/* A second attempt succeeds. */
		ASSERT_EQ(0, luo_test_config("clear"));
		EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
		self->calls.length = 0;
		luo_calls_walk(&self->calls, "freeze", FIRST, LAST);
		luo_calls_walk(&self->calls, "thaw", LAST, FIRST);
		EXPECT_CALLS(&self->calls);
	}

	ASSERT_EQ(0, luo_test_config("clear"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	self->calls.length = 0;
	luo_calls_walk(&self->calls, "cancel", LAST, FIRST);
	EXPECT_CALLS(&self->calls);
}

static unsigned long long failures(void)
{
	char text[LUO_LINE_SIZE] = "";

	luo_sysfs_read("last_failure/count", text, sizeof(text));

	return strtoull(text, NULL, 10);
}

/* A failure is counted, and nothing else: what is refused has not begun. */
TEST_F(sysfs_state, failures_are_counted)
{
	unsigned long long before = failures();

	ASSERT_EQ(0, luo_test_config("test-irq fail=prepare"));
	for (int i = 1; i <= 3; i++) {
		EXPECT_EQ(-EIO, luo_sysfs_write("prepare", "1"));
		EXPECT_EQ(before + i, failures());
		EXPECT_EQ(-EBUSY, luo_sysfs_write("rehearse", "1"));
		EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
		EXPECT_EQ(-EINVAL, luo_sysfs_write("prepare", "2"));
		EXPECT_EQ(before + i, failures());
	}
	ASSERT_EQ(0, luo_test_config("clear"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(before + 3, failures());
}

#define MIXED_MS	1500

/* Fail in turns, each subsystem with an error of its own, until killed. */
static void fail_in_turns(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		luo_test_configf("clear;test-irq fail=prepare,errno=%d", EXDEV);
		luo_sysfs_write("prepare", "1");
		luo_test_configf("clear;test-memory fail=prepare,errno=%d", ENOSPC);
		luo_sysfs_write("prepare", "1");
	}
}

/* Files that were read while the count stayed the same are of one failure. */
TEST_F(sysfs_state, failures_do_not_mix)
{
	long long end = luo_now_ms() + MIXED_MS;
	unsigned int whole = 0, torn = 0;
	pid_t child;

	ASSERT_EQ(0, luo_test_config("clear;test-irq fail=prepare"));
	EXPECT_EQ(-EIO, luo_sysfs_write("prepare", "1"));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		fail_in_turns();

	while (luo_now_ms() < end) {
		char name[LUO_LINE_SIZE] = "", error[LUO_LINE_SIZE] = "";
		unsigned long long before = failures();

		luo_sysfs_read("last_failure/subsystem", name, sizeof(name));
		luo_sysfs_read("last_failure/errno", error, sizeof(error));
		if (failures() != before) {
			torn++;
			continue;
		}
		whole++;
		EXPECT_EQ(!strcmp(name, "test-memory"), atoi(error) == -ENOSPC)
			TH_LOG("%s %s", name, error);
	}
	EXPECT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_LT(0, whole)
		TH_LOG("%u torn", torn);
	ASSERT_EQ(0, luo_sysfs_recover());
}

/* last_failure/ is about subsystems: nothing but a failure touches it. */
TEST_F(sysfs_state, last_failure_stays)
{
	ASSERT_EQ(0, luo_test_configf("test-iommu fail=prepare,errno=%d", EXDEV));
	EXPECT_EQ(-EXDEV, luo_sysfs_write("prepare", "1"));
	EXPECT_FAILED("prepare", "test-iommu", -EXDEV);

	EXPECT_EQ(-EBUSY, luo_sysfs_write("rehearse", "1"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("prepare", "2"));
	EXPECT_FAILED("prepare", "test-iommu", -EXDEV);

	ASSERT_EQ(0, luo_test_config("clear;test-irq fail=freeze"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_FAILED("prepare", "test-iommu", -EXDEV);
	EXPECT_EQ(-EIO, luo_sysfs_write("rehearse", "1"));
	EXPECT_FAILED("freeze", "test-irq", -EIO);
}

/* subsystems: well-formed, by level, with data only while prepared. */
TEST_F(sysfs_state, subsystems)
{
	static const char *const levels[LUO_TEST_NR] = {
		"workload", "devices", "irq", "iommu", "memory",
	};
	static char list[LUO_CALLS_SIZE];
	struct luo_subsystem_dir subsystem;
	char *line, *rest = list;
	int level = 0, seen = 0;

	ASSERT_EQ(0, luo_subsystems_read(list, sizeof(list)));
	while ((line = strsep(&rest, "\n"))) {
		ASSERT_EQ(0, luo_subsystem_parse(line, &subsystem))
			TH_LOG("%s", line);
		EXPECT_LE(1, subsystem.oldest);
		EXPECT_LE(subsystem.oldest, subsystem.version);
		EXPECT_TRUE(!strcmp(subsystem.class, "mandatory") ||
			    !strcmp(subsystem.class, "optional"));
		EXPECT_EQ(0, subsystem.bytes);

		/* Levels never go back, and every line is on one of them. */
		while (level < LUO_TEST_NR &&
		       strcmp(subsystem.level, levels[level]))
			level++;
		ASSERT_LT(level, LUO_TEST_NR)
			TH_LOG("level out of order: %s", line);

		for (int i = FIRST; i <= LAST; i++) {
			if (strcmp(subsystem.name, luo_test_names[i]))
				continue;
			EXPECT_STREQ(levels[i], subsystem.level);
			seen |= 1 << i;
		}
	}
	EXPECT_EQ((1 << LUO_TEST_NR) - 1, seen);

	/* Text is handed over with its NUL; a plain value has no bytes. */
	ASSERT_EQ(0, luo_test_config("test-irq data=four;test-iommu data="));
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	ASSERT_EQ(0, luo_subsystem_dir_find("test-irq", &subsystem));
	EXPECT_EQ(sizeof("four"), subsystem.bytes);
	ASSERT_EQ(0, luo_subsystem_dir_find("test-iommu", &subsystem));
	EXPECT_EQ(0, subsystem.bytes);
	ASSERT_EQ(0, luo_subsystem_dir_find("test-memory", &subsystem));
	EXPECT_EQ(sizeof("test-memory"), subsystem.bytes);

	ASSERT_EQ(0, luo_sysfs_write("prepare", "0"));
	for (int i = FIRST; i <= LAST; i++) {
		ASSERT_EQ(0, luo_subsystem_dir_find(luo_test_names[i],
						    &subsystem));
		EXPECT_EQ(0, subsystem.bytes);
	}

	/* A prepare that failed leaves no data either. */
	ASSERT_EQ(0, luo_test_config("test-memory fail=prepare"));
	ASSERT_EQ(-EIO, luo_sysfs_write("prepare", "1"));
	for (int i = FIRST; i <= LAST; i++) {
		ASSERT_EQ(0, luo_subsystem_dir_find(luo_test_names[i],
						    &subsystem));
		EXPECT_EQ(0, subsystem.bytes);
	}
}

/* Sessions of /dev/liveupdate have a life of their own. */
TEST_F(sysfs_state, sessions_while_prepared)
{
	int device, early, late, memfd;

	device = luo_open_device();
	if (device < 0 && errno == EBUSY)
		SKIP(return, "somebody else has " LUO_DEVICE " open");
	ASSERT_LE(0, device);
	early = luo_create_session(device, "sysfs-state-early");
	ASSERT_LE(0, early);
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));

	late = luo_create_session(device, "sysfs-state-late");
	ASSERT_LE(0, late);
	memfd = memfd_create("sysfs-state", 0);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, ftruncate(memfd, getpagesize()));
	EXPECT_EQ(0, luo_session_preserve_fd(early, memfd, 1));
	EXPECT_EQ(-EBUSY, luo_session_preserve_fd(late, memfd, 1));
	EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
	EXPECT_EQ(0, close(early));
	EXPECT_EQ(0, luo_session_preserve_fd(late, memfd, 1));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_EQ(0, close(late));
	close(memfd);
	close(device);
}

/*
 * While a subsystem is held, transition names it, and every request is
 * refused at once instead of waiting.
 */
FIXTURE(sysfs_held) {
	pid_t writer;
};

FIXTURE_VARIANT(sysfs_held) {
	const char *config;
	bool prepared;
	const char *file;
	const char *value;
	const char *transition;
	int result;
	const char *state;
};

FIXTURE_VARIANT_ADD(sysfs_held, prepare)
{
	.config = "test-irq hold=prepare",
	.file = "prepare", .value = "1",
	.transition = "prepare test-irq",
	.state = "prepared",
};

FIXTURE_VARIANT_ADD(sysfs_held, cancel)
{
	.config = "test-devices hold=cancel",
	.prepared = true, .file = "prepare", .value = "0",
	.transition = "cancel test-devices",
	.state = "normal",
};

FIXTURE_VARIANT_ADD(sysfs_held, cancel_after_failure)
{
	.config = "test-memory fail=prepare,errno=71;test-iommu hold=cancel",
	.file = "prepare", .value = "1",
	.transition = "cancel test-iommu",
	.result = -71,
	.state = "normal",
};

FIXTURE_VARIANT_ADD(sysfs_held, freeze)
{
	.config = "test-memory hold=freeze",
	.prepared = true, .file = "rehearse", .value = "1",
	.transition = "freeze test-memory",
	.state = "prepared",
};

FIXTURE_VARIANT_ADD(sysfs_held, thaw)
{
	.config = "test-workload hold=thaw",
	.prepared = true, .file = "rehearse", .value = "1",
	.transition = "thaw test-workload",
	.state = "prepared",
};

FIXTURE_VARIANT_ADD(sysfs_held, thaw_after_failure)
{
	.config = "test-irq fail=freeze,errno=71;test-devices hold=thaw",
	.prepared = true, .file = "rehearse", .value = "1",
	.transition = "thaw test-devices",
	.result = -71,
	.state = "prepared",
};

FIXTURE_SETUP(sysfs_held)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
}

FIXTURE_TEARDOWN_PARENT(sysfs_held)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

TEST_F(sysfs_held, refuses_at_once)
{
	static const struct {
		const char *file;
		const char *value;
		int result;
	} requests[] = {
		{ "prepare", "1", -EBUSY },
		{ "prepare", "0", -EBUSY },
		{ "finish", "1", -EBUSY },
		{ "rehearse", "1", -EBUSY },
		{ "prepare", "2", -EINVAL },
		{ "finish", "0", -EINVAL },
		{ "rehearse", "0", -EINVAL },
		{ "prepare_timeout_ms", "0", -EBUSY },
		{ "prepare_timeout_ms", "x", -EINVAL },
	};
	const char *before = variant->prepared ? "prepared" : "normal";
	struct luo_subsystem_dir subsystem;

	ASSERT_EQ(0, luo_test_config(variant->config));
	ASSERT_TRUE(!variant->prepared || !luo_sysfs_write("prepare", "1"));

	self->writer = luo_sysfs_write_start(variant->file, variant->value);
	ASSERT_LT(0, self->writer);
	ASSERT_EQ(0, luo_sysfs_wait("transition", variant->transition,
				    LUO_PATIENCE_MS));

	/* One that waits would wait for ever: nothing goes on before the release. */
	for (int i = 0; i < ARRAY_SIZE(requests); i++) {
		EXPECT_EQ(requests[i].result,
			  luo_sysfs_write(requests[i].file, requests[i].value))
			TH_LOG("%s to %s", requests[i].value, requests[i].file);
	}
	EXPECT_FILE("state", before);
	EXPECT_EQ(0, luo_subsystem_dir_find("test-irq", &subsystem));

	/* All of this was while that one callback ran. */
	EXPECT_FILE("transition", variant->transition);
	EXPECT_EQ(0, luo_test_release());
	EXPECT_EQ(variant->result, luo_sysfs_write_wait(self->writer));
	EXPECT_FILE("state", variant->state);
	EXPECT_FILE("transition", "idle");
}

/* Deadlines */

FIXTURE(sysfs_timeout) {
	struct luo_calls calls;
	int kmsg;
};

FIXTURE_SETUP(sysfs_timeout)
{
	const char *reason = luo_sysfs_setup("normal", true);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (self->kmsg >= 0)
		lseek(self->kmsg, 0, SEEK_END);
}

FIXTURE_TEARDOWN_PARENT(sysfs_timeout)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

/* Is there a new message with all of these words? */
static bool kmsg_says(int kmsg, const char *first, const char *second)
{
	char record[8192];
	ssize_t length;

	for (;;) {
		length = read(kmsg, record, sizeof(record) - 1);
		if (length < 0 && errno == EPIPE)
			continue;
		if (length <= 0)
			return false;
		record[length] = '\0';
		if (strstr(record, first) && strstr(record, second))
			return true;
	}
}

/*
 * A subsystem that is late: nothing happens before it returns, but the log
 * names it and shows where it is. Then everything is undone, it included.
 */
TEST_F(sysfs_timeout, prepare)
{
	pid_t writer;

	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "200"));
	ASSERT_EQ(0, luo_test_config("test-irq hold=prepare"));
	writer = luo_sysfs_write_start("prepare", "1");
	ASSERT_LT(0, writer);
	ASSERT_EQ(0, luo_sysfs_wait("transition", "prepare test-irq",
				    LUO_PATIENCE_MS));

	luo_sleep_ms(1000);
	EXPECT_FILE("transition", "prepare test-irq");
	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	if (self->kmsg >= 0) {
		EXPECT_TRUE(kmsg_says(self->kmsg, "test-irq",
				      "prepare_timeout_ms"));
		EXPECT_TRUE(kmsg_says(self->kmsg, "task:", "sysfs_state"));
	}

	EXPECT_EQ(0, luo_test_release());
	EXPECT_EQ(-ETIMEDOUT, luo_sysfs_write_wait(writer));
	EXPECT_FILE("state", "normal");
	EXPECT_FILE("transition", "idle");
	EXPECT_FAILED("prepare", "test-irq", -ETIMEDOUT);
	luo_calls_walk(&self->calls, "prepare", FIRST, LUO_TEST_IRQ);
	luo_calls_walk(&self->calls, "cancel", LUO_TEST_IRQ, FIRST);
	EXPECT_CALLS(&self->calls);

	/* It was the delay alone. */
	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "20000"));
	ASSERT_EQ(0, luo_test_config("clear"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_FILE("state", "prepared");
}

TEST_F(sysfs_timeout, freeze)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "200"));
	ASSERT_EQ(0, luo_test_config("clear;test-memory slow=freeze,ms=600"));
	EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
	ASSERT_EQ(0, luo_sysfs_write("freeze_timeout_ms", "200"));
	ASSERT_EQ(0, luo_test_config("clear;test-memory slow=freeze,ms=600"));
	EXPECT_EQ(-ETIMEDOUT, luo_sysfs_write("rehearse", "1"));
	EXPECT_FILE("state", "prepared");
	EXPECT_FILE("transition", "idle");
	EXPECT_FAILED("freeze", "test-memory", -ETIMEDOUT);
	luo_calls_walk(&self->calls, "freeze", FIRST, LAST);
	luo_calls_walk(&self->calls, "thaw", LAST, FIRST);
	EXPECT_CALLS(&self->calls);

	ASSERT_EQ(0, luo_sysfs_write("freeze_timeout_ms", "20000"));
	ASSERT_EQ(0, luo_test_config("clear"));
	EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
}

/* The time is for all subsystems together. */
TEST_F(sysfs_timeout, is_a_sum)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "1000"));
	ASSERT_EQ(0, luo_test_config("test-workload slow=prepare,ms=400;"
				     "test-devices slow=prepare,ms=400;"
				     "test-irq slow=prepare,ms=400;"
				     "test-iommu slow=prepare,ms=400"));
	EXPECT_EQ(-ETIMEDOUT, luo_sysfs_write("prepare", "1"));
	EXPECT_FILE("state", "normal");
}

/* A failure that is late is a failure; the one who fails is not cancelled. */
TEST_F(sysfs_timeout, late_failure)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "100"));
	ASSERT_EQ(0, luo_test_configf("test-devices slow=prepare,ms=400,fail=prepare,errno=%d",
				      ENOSPC));
	EXPECT_EQ(-ENOSPC, luo_sysfs_write("prepare", "1"));
	EXPECT_FAILED("prepare", "test-devices", -ENOSPC);
	luo_calls_add(&self->calls, "prepare", LUO_TEST_WORKLOAD, 0);
	luo_calls_add(&self->calls, "prepare", LUO_TEST_DEVICES, -ENOSPC);
	luo_calls_add(&self->calls, "cancel", LUO_TEST_WORKLOAD, 0);
	EXPECT_CALLS(&self->calls);
}

/* 0 is no limit, and what cannot fail has none. */
TEST_F(sysfs_timeout, does_not_apply)
{
	ASSERT_EQ(0, luo_test_config("test-irq slow=prepare,ms=400"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));

	ASSERT_EQ(0, luo_sysfs_write("freeze_timeout_ms", "200"));
	ASSERT_EQ(0, luo_sysfs_write("prepare_timeout_ms", "200"));
	ASSERT_EQ(0, luo_test_config("test-irq slow=thaw,ms=400"));
	EXPECT_EQ(0, luo_sysfs_write("rehearse", "1"));
	ASSERT_EQ(0, luo_test_config("test-irq slow=cancel,ms=400"));
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_FILE("state", "normal");
}

/* Suspend, tried as far as the freezing of processes and no further. */

#define PM_TEST		"/sys/power/pm_test"
#define PM_STATE	"/sys/power/state"
#define PM_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

static int write_path(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = luo_write_fd(fd, text, strlen(text));
	close(fd);

	return err;
}

FIXTURE(sysfs_suspend) {
	char delay[16];
};

FIXTURE_SETUP(sysfs_suspend)
{
	const char *reason = luo_sysfs_setup("normal", true);
	int fd;

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	if (access(PM_TEST, W_OK) || access(PM_DELAY, W_OK))
		SKIP(return, "build with CONFIG_SUSPEND=y CONFIG_PM_DEBUG=y");

	fd = open(PM_DELAY, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, luo_read_fd(fd, self->delay, sizeof(self->delay)));
	close(fd);
	ASSERT_EQ(0, write_path(PM_TEST, "freezer"));
	ASSERT_EQ(0, write_path(PM_DELAY, "0"));
}

FIXTURE_TEARDOWN_PARENT(sysfs_suspend)
{
	EXPECT_EQ(0, write_path(PM_TEST, "none"));
	EXPECT_EQ(0, write_path(PM_DELAY, self->delay));
	EXPECT_EQ(0, luo_sysfs_reset());
}

TEST_F(sysfs_suspend, refused_while_prepared)
{
	pid_t writer;

	ASSERT_EQ(0, write_path(PM_STATE, "freeze"));
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(-EBUSY, write_path(PM_STATE, "freeze"));
	EXPECT_FILE("state", "prepared");

	/* A rehearsal, too, keeps it out. */
	ASSERT_EQ(0, luo_test_config("test-irq hold=freeze"));
	writer = luo_sysfs_write_start("rehearse", "1");
	ASSERT_LT(0, writer);
	ASSERT_EQ(0, luo_sysfs_wait("transition", "freeze test-irq",
				    LUO_PATIENCE_MS));
	EXPECT_EQ(-EBUSY, write_path(PM_STATE, "freeze"));
	EXPECT_EQ(0, luo_test_release());
	EXPECT_EQ(0, luo_sysfs_write_wait(writer));

	ASSERT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_EQ(0, write_path(PM_STATE, "freeze"));

	/* Sleep that was refused or is over does not stand in the way. */
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
}

/* ... also while a transition runs that begins and ends in normal. */
TEST_F(sysfs_suspend, refused_while_preparing)
{
	pid_t writer;

	ASSERT_EQ(0, luo_test_config("test-irq hold=prepare"));
	writer = luo_sysfs_write_start("prepare", "1");
	ASSERT_LT(0, writer);
	ASSERT_EQ(0, luo_sysfs_wait("transition", "prepare test-irq",
				    LUO_PATIENCE_MS));
	EXPECT_EQ(-EBUSY, write_path(PM_STATE, "freeze"));
	EXPECT_EQ(0, luo_test_release());
	EXPECT_EQ(0, luo_sysfs_write_wait(writer));
	EXPECT_FILE("state", "prepared");
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
