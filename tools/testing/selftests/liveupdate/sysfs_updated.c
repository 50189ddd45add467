// SPDX-License-Identifier: GPL-2.0

/*
 * The state updated, in the kernel that an update has led to: run this after a
 * kexec from prepared. It ends with the finish, so it can run once.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libliveupdate.h>
#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

FIXTURE(sysfs_updated) {
	struct luo_calls calls;
	bool subsystems;
};

FIXTURE_SETUP(sysfs_updated)
{
	const char *reason = luo_sysfs_setup("updated", true);

	/* The test subsystems are a help here, not a condition. */
	self->subsystems = !reason;
	if (reason)
		reason = luo_sysfs_setup("updated", false);
	if (reason)
		SKIP(return, "%s", reason);
}

FIXTURE_TEARDOWN_PARENT(sysfs_updated)
{
	EXPECT_TRUE(!self->subsystems || !luo_test_config("clear"));
}

/* Those who took over what the previous kernel handed them. */
static unsigned int restored(void)
{
	static char text[LUO_CALLS_SIZE];
	unsigned int mask = 0;
	char *line, *rest = text;
	int fd, length;

	fd = open(LUO_TEST_DIR "/received", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = luo_read_fd(fd, text, sizeof(text));
	close(fd);
	if (length < 0)
		return 0;

	while ((line = strsep(&rest, "\n"))) {
		char *name = strsep(&line, " ");

		for (int i = 0; i < LUO_TEST_NR; i++) {
			if (!strcmp(name, luo_test_names[i]))
				mask |= 1U << i;
		}
	}

	return mask;
}

/* Only finish is possible, and no callback runs for what is refused. */
TEST_F(sysfs_updated, refuses)
{
	ASSERT_TRUE(!self->subsystems || !luo_test_config("clear"));

	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	EXPECT_EQ(-EBUSY, luo_sysfs_write("rehearse", "1"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("finish", "0"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("finish", "3"));
	EXPECT_FILE("state", "updated");
	EXPECT_FILE("transition", "idle");
	if (!self->subsystems)
		return;
	EXPECT_CALLS(&self->calls);
}

/* Sessions of /dev/liveupdate can be made before the update is finished. */
TEST_F(sysfs_updated, sessions)
{
	int device, session;

	device = luo_open_device();
	if (device < 0 && errno == EBUSY)
		SKIP(return, "somebody else has " LUO_DEVICE " open");
	ASSERT_LE(0, device);
	session = luo_create_session(device, "sysfs-updated");
	EXPECT_LE(0, session);
	close(session);
	close(device);
}

/*
 * The last test: finish succeeds once and is told to whoever polls. While it
 * runs, transition names the subsystem and all else is refused.
 */
TEST_F(sysfs_updated, finish_once)
{
	struct pollfd polled = { .events = POLLPRI };
	unsigned int finishing = 0;
	char state[LUO_LINE_SIZE];
	pid_t writer;
	bool held;

	polled.fd = luo_sysfs_open("state", O_RDONLY);
	ASSERT_LE(0, polled.fd);
	ASSERT_LT(0, luo_read_fd(polled.fd, state, sizeof(state)));
	ASSERT_STREQ("updated\n", state);
	EXPECT_EQ(0, poll(&polled, 1, 0));

	if (self->subsystems) {
		ASSERT_EQ(0, luo_test_config("clear;test-irq hold=finish"));
		finishing = restored();
	}
	held = finishing & 1U << LUO_TEST_IRQ;

	writer = luo_sysfs_write_start("finish", "1");
	ASSERT_LT(0, writer);
	if (held) {
		EXPECT_EQ(0, luo_sysfs_wait("transition", "finish test-irq",
					    LUO_PATIENCE_MS));
		EXPECT_EQ(-EBUSY, luo_sysfs_write("finish", "1"));
		EXPECT_EQ(-EBUSY, luo_sysfs_write("prepare", "1"));
		EXPECT_FILE("state", "updated");
		EXPECT_FILE("transition", "finish test-irq");
		EXPECT_EQ(0, luo_test_release());
	}
	EXPECT_EQ(1, poll(&polled, 1, 10000));
	EXPECT_LT(0, luo_read_fd(polled.fd, state, sizeof(state)));
	EXPECT_STREQ("normal\n", state);
	EXPECT_EQ(0, luo_sysfs_write_wait(writer));

	EXPECT_FILE("state", "normal");
	EXPECT_FILE("transition", "idle");
	EXPECT_EQ(-EBUSY, luo_sysfs_write("finish", "1"));
	EXPECT_FILE("state", "normal");

	/* Everybody who restored finished, consumers first. */
	if (self->subsystems) {
		for (int i = 0; i < LUO_TEST_NR; i++) {
			if (finishing & 1U << i)
				luo_calls_add(&self->calls, "finish", i, 0);
		}
		EXPECT_CALLS(&self->calls);
	}

	/* An update that is finished is followed by the next one. */
	EXPECT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_FILE("state", "prepared");
	EXPECT_EQ(0, luo_sysfs_write("prepare", "0"));
	EXPECT_FILE("state", "normal");
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
