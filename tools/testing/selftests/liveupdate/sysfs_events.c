// SPDX-License-Identifier: GPL-2.0

/*
 * Learning of a change of the state without asking: poll(2) on the file, and
 * the uevent of the /dev/liveupdate device.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <libliveupdate.h>
#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

#define WAIT_MS	5000
#define QUIET_MS	300
#define ROUNDS	50

FIXTURE(sysfs_poll) {
	int fd;
};

FIXTURE_SETUP(sysfs_poll)
{
	const char *reason = luo_sysfs_setup("normal", true);
	char state[LUO_LINE_SIZE];

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	self->fd = luo_sysfs_open("state", O_RDONLY);
	ASSERT_LE(0, self->fd);
	ASSERT_LT(0, luo_read_fd(self->fd, state, sizeof(state)));
	ASSERT_STREQ("normal\n", state);
}

FIXTURE_TEARDOWN_PARENT(sysfs_poll)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

static int poll_state(int fd, int timeout_ms)
{
	struct pollfd polled = { .fd = fd, .events = POLLPRI };
	int ready = poll(&polled, 1, timeout_ms);

	if (ready < 0)
		return -errno;

	return ready ? polled.revents : 0;
}

#define EXPECT_WOKEN(expected) do {					\
	char _state[LUO_LINE_SIZE];					\
	EXPECT_EQ(POLLPRI | POLLERR, poll_state(self->fd, WAIT_MS));	\
	EXPECT_LT(0, luo_read_fd(self->fd, _state, sizeof(_state)));	\
	EXPECT_STREQ(expected "\n", _state);				\
	EXPECT_EQ(0, poll_state(self->fd, 0));				\
} while (0)

/* Each change is seen once, also when it came before the poll. */
TEST_F(sysfs_poll, each_change)
{
	EXPECT_EQ(0, poll_state(self->fd, 0));
	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
		EXPECT_WOKEN("prepared");
		ASSERT_EQ(0, luo_sysfs_write("prepare", "0"));
		EXPECT_WOKEN("normal");
	}
}

/* A process asleep in poll(2) is woken, and not before the change. */
TEST_F(sysfs_poll, wakes_sleeper)
{
	static const char *const values[] = { "1", "0" };
	static const char *const states[] = { "prepared\n", "normal\n" };
	char state[LUO_LINE_SIZE];

	ASSERT_EQ(0, luo_test_configf("test-irq slow=prepare,ms=%d;"
				     "test-iommu slow=cancel,ms=%d",
				     QUIET_MS, QUIET_MS));
	for (int i = 0; i < ARRAY_SIZE(values); i++) {
		pid_t writer = luo_sysfs_write_start("prepare", values[i]);

		ASSERT_LT(0, writer);
		EXPECT_EQ(POLLPRI | POLLERR, poll_state(self->fd, WAIT_MS));
		EXPECT_LT(0, luo_read_fd(self->fd, state, sizeof(state)));
		EXPECT_STREQ(states[i], state);
		EXPECT_EQ(0, luo_sysfs_write_wait(writer));
	}
}

/* Whoever is woken can go on at once, though the writer has not returned. */
TEST_F(sysfs_poll, next_request_at_once)
{
	for (int round = 0; round < ROUNDS; round++) {
		pid_t writer = luo_sysfs_write_start("prepare", "1");

		ASSERT_LT(0, writer);
		ASSERT_EQ(POLLPRI | POLLERR, poll_state(self->fd, WAIT_MS));
		ASSERT_EQ(0, luo_sysfs_write("prepare", "0"))
			TH_LOG("round %d", round);
		ASSERT_EQ(0, luo_sysfs_write_wait(writer));
		EXPECT_WOKEN("normal");
	}
}

/* What leaves the state as it was wakes nobody. */
TEST_F(sysfs_poll, only_changes)
{
	ASSERT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	ASSERT_EQ(0, luo_test_config("test-irq fail=prepare"));
	ASSERT_EQ(-EIO, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(0, poll_state(self->fd, QUIET_MS));

	ASSERT_EQ(0, luo_test_config("clear"));
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_WOKEN("prepared");
	ASSERT_EQ(0, luo_sysfs_write("rehearse", "1"));
	ASSERT_EQ(-EBUSY, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(0, poll_state(self->fd, QUIET_MS));
}

/* Uevents */

FIXTURE(sysfs_uevent) {
	int socket;
	char devpath[LUO_LINE_SIZE];
};

/* Where the device of /dev/liveupdate is, less /sys. */
static int device_path(char *path, size_t size)
{
	char *real = realpath("/sys/class/misc/liveupdate", NULL);

	if (!real)
		return -errno;
	snprintf(path, size, "%s", real + strlen("/sys"));
	free(real);

	return 0;
}

FIXTURE_SETUP(sysfs_uevent)
{
	const char *reason = luo_sysfs_setup("normal", true);
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1,
	};
	int size = 1 << 20;

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	self->socket = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			      NETLINK_KOBJECT_UEVENT);
	if (self->socket < 0)
		SKIP(return, "no uevents: build with CONFIG_NET=y");
	ASSERT_EQ(0, setsockopt(self->socket, SOL_SOCKET, SO_RCVBUF, &size,
				sizeof(size)));
	ASSERT_EQ(0, bind(self->socket, (struct sockaddr *)&address,
			  sizeof(address)));
	ASSERT_EQ(0, device_path(self->devpath, sizeof(self->devpath)));
}

FIXTURE_TEARDOWN_PARENT(sysfs_uevent)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

/* A uevent: the headline, then KEY=VALUE, each ending in a NUL. */
struct uevent {
	char text[4096];
	size_t length;
};

static const char *uevent_get(const struct uevent *event, const char *key)
{
	const char *end = event->text + event->length;
	size_t length = strlen(key);

	for (const char *at = event->text; at < end; at += strlen(at) + 1) {
		if (!strncmp(at, key, length) && at[length] == '=')
			return at + length + 1;
	}

	return "";
}

/* The next event with a LIVEUPDATE_STATE, whoever sent it. */
static int uevent_next(int socket, struct uevent *event, int timeout_ms)
{
	long long end = luo_now_ms() + timeout_ms;

	for (;;) {
		struct pollfd polled = { .fd = socket, .events = POLLIN };
		long long left = end - luo_now_ms();
		ssize_t length;

		if (poll(&polled, 1, left > 0 ? left : 0) <= 0)
			return -ETIME;
		length = recv(socket, event->text, sizeof(event->text) - 1, 0);
		if (length < 0)
			return -errno;
		event->text[length] = '\0';
		event->length = length;
		if (*uevent_get(event, "LIVEUPDATE_STATE"))
			return 0;
	}
}

#define EXPECT_UEVENT(expected) do {					\
	struct uevent _event;						\
	char _headline[LUO_LINE_SIZE + 16];				\
	ASSERT_EQ(0, uevent_next(self->socket, &_event, WAIT_MS));	\
	snprintf(_headline, sizeof(_headline), "change@%s",		\
		 self->devpath);					\
	EXPECT_STREQ(_headline, _event.text);				\
	EXPECT_STREQ("change", uevent_get(&_event, "ACTION"));		\
	EXPECT_STREQ(self->devpath, uevent_get(&_event, "DEVPATH"));	\
	EXPECT_STREQ("misc", uevent_get(&_event, "SUBSYSTEM"));		\
	EXPECT_STREQ("liveupdate", uevent_get(&_event, "DEVNAME"));	\
	EXPECT_STREQ(expected, uevent_get(&_event, "LIVEUPDATE_STATE")); \
} while (0)

/* One event for each change, in order, and no other. */
TEST_F(sysfs_uevent, each_change)
{
	struct uevent event;

	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
		EXPECT_UEVENT("prepared");
		ASSERT_EQ(0, luo_sysfs_write("prepare", "0"));
		EXPECT_UEVENT("normal");
	}
	EXPECT_EQ(-ETIME, uevent_next(self->socket, &event, QUIET_MS));
}

/* It comes from the device that udev knows, with its numbers. */
TEST_F(sysfs_uevent, names_the_device)
{
	struct uevent event;
	struct stat device;

	ASSERT_EQ(0, stat(LUO_DEVICE, &device));
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	ASSERT_EQ(0, uevent_next(self->socket, &event, WAIT_MS));
	EXPECT_EQ(major(device.st_rdev), atoi(uevent_get(&event, "MAJOR")));
	EXPECT_EQ(minor(device.st_rdev), atoi(uevent_get(&event, "MINOR")));
}

/* What leaves the state as it was sends nothing. */
TEST_F(sysfs_uevent, only_changes)
{
	struct uevent event;

	ASSERT_EQ(-EBUSY, luo_sysfs_write("prepare", "0"));
	ASSERT_EQ(0, luo_test_config("test-irq fail=prepare"));
	ASSERT_EQ(-EIO, luo_sysfs_write("prepare", "1"));
	EXPECT_EQ(-ETIME, uevent_next(self->socket, &event, QUIET_MS));

	ASSERT_EQ(0, luo_test_config("clear"));
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	EXPECT_UEVENT("prepared");
	ASSERT_EQ(0, luo_sysfs_write("rehearse", "1"));
	EXPECT_EQ(-ETIME, uevent_next(self->socket, &event, QUIET_MS));
}

/* By the time a listener hears of a state it can read it, too. */
TEST_F(sysfs_uevent, state_is_current)
{
	struct uevent event;
	pid_t writer;

	for (int round = 0; round < ROUNDS; round++) {
		writer = luo_sysfs_write_start("prepare", "1");
		ASSERT_LT(0, writer);
		ASSERT_EQ(0, uevent_next(self->socket, &event, WAIT_MS));
		EXPECT_FILE("state", "prepared");
		ASSERT_EQ(0, luo_sysfs_write_wait(writer));

		writer = luo_sysfs_write_start("prepare", "0");
		ASSERT_LT(0, writer);
		ASSERT_EQ(0, uevent_next(self->socket, &event, WAIT_MS));
		EXPECT_FILE("state", "normal");
		ASSERT_EQ(0, luo_sysfs_write_wait(writer));
	}
}

/* ... and go on from there, though the writer has not returned. */
TEST_F(sysfs_uevent, next_request_at_once)
{
	struct uevent event;

	for (int round = 0; round < ROUNDS; round++) {
		pid_t writer = luo_sysfs_write_start("prepare", "1");

		ASSERT_LT(0, writer);
		ASSERT_EQ(0, uevent_next(self->socket, &event, WAIT_MS));
		ASSERT_EQ(0, luo_sysfs_write("prepare", "0"))
			TH_LOG("round %d", round);
		ASSERT_EQ(0, luo_sysfs_write_wait(writer));
		EXPECT_UEVENT("normal");
	}
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
