// SPDX-License-Identifier: GPL-2.0

/*
 * Who may read and write /sys/kernel/liveupdate, and what may be written.
 *
 * Every write needs CAP_SYS_BOOT in the initial user namespace, whoever opened
 * the file. Refusals come in a fixed order: EPERM, EINVAL, EBUSY.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <liveupdate_sysfs.h>

#include "../kselftest.h"
#include "../kselftest_harness.h"

#define NOBODY	65534

static const struct {
	const char *name;
	mode_t mode;
	bool optional;
} files[] = {
	{ "state", 0444 },
	{ "transition", 0444 },
	{ "prepare", 0200 },
	{ "finish", 0200 },
	{ "rehearse", 0200 },
	{ "prepare_timeout_ms", 0644 },
	{ "freeze_timeout_ms", 0644 },
	{ "last_failure/transition", 0444 },
	{ "last_failure/subsystem", 0444 },
	{ "last_failure/device", 0444 },
	{ "last_failure/errno", 0444 },
	{ "last_failure/reason", 0444 },
	{ "last_failure/count", 0444 },
	{ "memory_map", 0444 },
	{ "subsystems/test-irq/version", 0444, true },
	{ "subsystems/test-irq/bytes", 0444, true },
	{ "shutdown_log", 0400, true },
};

/* A well-formed and a malformed value for each file that can be written. */
static const struct {
	const char *name;
	const char *good;
	const char *bad;
	bool changes_state;
} writable[] = {
	{ "prepare", "1", "2", true },
	{ "prepare", "0", "00", true },
	{ "finish", "1", "0", true },
	{ "finish", "2", "3", true },
	{ "rehearse", "1", "0", true },
	{ "prepare_timeout_ms", "0", "-1", false },
	{ "freeze_timeout_ms", "0", "-1", false },
};

static int drop_capability(int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	unsigned int mask = ~(1U << (capability % 32));

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[capability / 32].effective &= mask;
	data[capability / 32].permitted &= mask;
	data[capability / 32].inheritable &= mask;

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* Keep nothing but @capability, which may be none with -1. */
static int become_nobody(int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	if (prctl(PR_SET_KEEPCAPS, 1) || setgroups(0, NULL) ||
	    setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return -errno;
	if (capability >= 0) {
		data[capability / 32].permitted = 1U << (capability % 32);
		data[capability / 32].effective = 1U << (capability % 32);
	}

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* The same bytes written with privileges are accepted, so it is only those. */
FIXTURE(sysfs_access) {
	int fds[ARRAY_SIZE(writable)];
};

FIXTURE_SETUP(sysfs_access)
{
	const char *reason = luo_sysfs_setup("normal", false);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	for (int i = 0; i < ARRAY_SIZE(writable); i++) {
		self->fds[i] = luo_sysfs_open(writable[i].name, O_WRONLY);
		ASSERT_LE(0, self->fds[i]);
	}
}

FIXTURE_TEARDOWN_PARENT(sysfs_access)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

TEST_F(sysfs_access, modes)
{
	struct stat status;

	for (int i = 0; i < ARRAY_SIZE(files); i++) {
		char path[LUO_LINE_SIZE];

		snprintf(path, sizeof(path), "%s/%s", LUO_SYSFS, files[i].name);
		if (files[i].optional && access(path, F_OK))
			continue;
		ASSERT_EQ(0, stat(path, &status))
			TH_LOG("%s", path);
		EXPECT_EQ(files[i].mode, status.st_mode & 07777)
			TH_LOG("%s", path);
		EXPECT_TRUE(S_ISREG(status.st_mode));
		EXPECT_EQ(0, status.st_uid);
		EXPECT_EQ(0, status.st_gid);
	}
}

/* Read-only is read-only and write-only is write-only, for root as well. */
TEST_F(sysfs_access, root_cannot_override_modes)
{
	for (int i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i].optional)
			continue;
		if (!(files[i].mode & 0222)) {
			EXPECT_EQ(-EACCES,
				  luo_sysfs_open(files[i].name, O_WRONLY))
				TH_LOG("%s", files[i].name);
		}
		if (!(files[i].mode & 0444)) {
			EXPECT_EQ(-EACCES,
				  luo_sysfs_open(files[i].name, O_RDONLY))
				TH_LOG("%s", files[i].name);
		}
	}
}

TEST_F(sysfs_access, nobody_opens)
{
	int fd;

	ASSERT_EQ(0, become_nobody(-1));
	for (int i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i].optional)
			continue;
		fd = luo_sysfs_open(files[i].name, O_RDONLY);
		if (files[i].mode & 0004) {
			static char text[LUO_CALLS_SIZE];

			ASSERT_LE(0, fd)
				TH_LOG("%s", files[i].name);
			EXPECT_LT(0, luo_read_fd(fd, text, sizeof(text)));
			close(fd);
		} else {
			EXPECT_EQ(-EACCES, fd)
				TH_LOG("%s", files[i].name);
		}
		EXPECT_EQ(-EACCES, luo_sysfs_open(files[i].name, O_WRONLY))
			TH_LOG("%s", files[i].name);
	}
}

/* Also what is malformed or impossible now is refused with EPERM. */
#define EXPECT_ALL_EPERM(fds) do {					\
	const int *_fds = fds;						\
	for (int _i = 0; _i < ARRAY_SIZE(writable); _i++) {		\
		const char *_good = writable[_i].good;			\
		const char *_bad = writable[_i].bad;			\
		EXPECT_EQ(-EPERM, luo_write_fd(_fds[_i], _good, strlen(_good))) \
			TH_LOG("%s to %s", _good, writable[_i].name);	\
		EXPECT_EQ(-EPERM, luo_write_fd(_fds[_i], _bad, strlen(_bad))) \
			TH_LOG("%s to %s", _bad, writable[_i].name);	\
	}								\
} while (0)

/* With privileges the very same writes do something else. */
#define EXPECT_ALL_ALLOWED(fds) do {					\
	const int *_fds = fds;						\
	for (int _i = 0; _i < ARRAY_SIZE(writable); _i++) {		\
		const char *_good = writable[_i].good;			\
		const char *_bad = writable[_i].bad;			\
		int _err = luo_write_fd(_fds[_i], _good, strlen(_good)); \
		EXPECT_TRUE(!_err ||					\
			    (_err == -EBUSY && writable[_i].changes_state)) \
			TH_LOG("%s to %s: %d", _good,			\
			       writable[_i].name, _err);		\
		EXPECT_EQ(-EINVAL, luo_write_fd(_fds[_i], _bad, strlen(_bad))) \
			TH_LOG("%s to %s", _bad, writable[_i].name);	\
	}								\
} while (0)

TEST_F(sysfs_access, root_is_allowed)
{
	EXPECT_ALL_ALLOWED(self->fds);
}

/* Files that root opened, sent over a socket to somebody without privileges. */
TEST_F(sysfs_access, nobody_with_passed_files)
{
	char control[CMSG_SPACE(sizeof(self->fds))] = {};
	char byte = 0;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights;
	int sockets[2], status;
	pid_t nobody;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	nobody = fork();
	ASSERT_LE(0, nobody);
	if (!nobody) {
		int fds[ARRAY_SIZE(writable)];

		for (int i = 0; i < ARRAY_SIZE(writable); i++)
			close(self->fds[i]);
		ASSERT_EQ(0, become_nobody(-1));
		ASSERT_EQ(1, recvmsg(sockets[1], &message, 0));
		rights = CMSG_FIRSTHDR(&message);
		ASSERT_NE(NULL, rights);
		ASSERT_EQ(SCM_RIGHTS, rights->cmsg_type);
		ASSERT_EQ(CMSG_LEN(sizeof(fds)), rights->cmsg_len);
		memcpy(fds, CMSG_DATA(rights), sizeof(fds));
		EXPECT_ALL_EPERM(fds);
		_exit(0);
	}

	rights = CMSG_FIRSTHDR(&message);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(self->fds));
	memcpy(CMSG_DATA(rights), self->fds, sizeof(self->fds));
	ASSERT_EQ(1, sendmsg(sockets[0], &message, 0));
	ASSERT_EQ(nobody, waitpid(nobody, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FILE("state", "normal");
}

/* Not the user counts but the capability. */
TEST_F(sysfs_access, nobody_with_capability)
{
	ASSERT_EQ(0, become_nobody(CAP_SYS_BOOT));
	EXPECT_ALL_ALLOWED(self->fds);
	ASSERT_EQ(0, drop_capability(CAP_SYS_BOOT));
	EXPECT_ALL_EPERM(self->fds);
}

TEST_F(sysfs_access, root_without_capability)
{
	ASSERT_EQ(0, drop_capability(CAP_SYS_BOOT));
	EXPECT_EQ(0, geteuid());
	EXPECT_ALL_EPERM(self->fds);
	EXPECT_EQ(-EPERM, luo_sysfs_write("prepare", "1"));
	EXPECT_FILE("state", "normal");
}

/* ... and in another state */
TEST_F(sysfs_access, root_without_capability_prepared)
{
	ASSERT_EQ(0, luo_sysfs_write("prepare", "1"));
	ASSERT_EQ(0, drop_capability(CAP_SYS_BOOT));
	EXPECT_ALL_EPERM(self->fds);
	EXPECT_FILE("state", "prepared");
}

/* CAP_SYS_BOOT is the only one that is needed. */
TEST_F(sysfs_access, root_without_other_capabilities)
{
	ASSERT_EQ(0, drop_capability(CAP_SYS_ADMIN));
	ASSERT_EQ(0, drop_capability(CAP_DAC_OVERRIDE));
	EXPECT_ALL_ALLOWED(self->fds);
}

/* Root of a user namespace has all capabilities, but not here. */
TEST_F(sysfs_access, root_of_user_namespace)
{
	if (unshare(CLONE_NEWUSER))
		SKIP(return, "no user namespaces: build with CONFIG_USER_NS=y");
	EXPECT_ALL_EPERM(self->fds);
	EXPECT_FILE("state", "normal");
}

/* What may be written */

#define BYTES(text)	{ text, sizeof(text) - 1 }

struct bytes {
	const char *data;
	size_t size;
};

static const struct bytes malformed_switches[] = {
	BYTES("2"), BYTES("3"), BYTES("01"), BYTES("10"), BYTES("11"), BYTES("00"),
	BYTES("1 "), BYTES(" 1"), BYTES("1\t"), BYTES("+1"), BYTES("-1"),
	BYTES("-0"), BYTES("1x"), BYTES("x"), BYTES("0x1"), BYTES("1.0"),
	BYTES("1,"), BYTES("1 1"), BYTES("y"), BYTES("on"), BYTES("true"),
	BYTES("\n"), BYTES("\n1"), BYTES("1\n\n"), BYTES("1\r\n"),
	BYTES("1\n1\n"), BYTES("1\0"), BYTES("1\n\0"), BYTES("\0"),
	BYTES("\0001"), BYTES("\xb9"), BYTES("4294967297"), BYTES("0\n0"),
	BYTES("0\0"), BYTES("normal"), BYTES("prepare"),
};

static const struct bytes malformed_numbers[] = {
	BYTES("-1"), BYTES("+1"), BYTES(" 1"), BYTES("1 "), BYTES("\t1"),
	BYTES("0x10"), BYTES("1e3"), BYTES("1.5"), BYTES("1s"), BYTES("1ms"),
	BYTES("x"), BYTES("\n"), BYTES("\n1"), BYTES("1\n\n"), BYTES("1\r\n"),
	BYTES("1\0"), BYTES("1\n\0"), BYTES("\0"), BYTES("1 2"),
	BYTES("1\n2"), BYTES("2147483648"), BYTES("4294967295"),
	BYTES("4294967296"), BYTES("18446744073709551615"),
	BYTES("18446744073709551616"), BYTES("99999999999999999999999"),
	BYTES("-4294967295"), BYTES("off"),
};

static const size_t long_sizes[] = { 3, 4095, 4096, 4097, 8192, 1 << 20 };

FIXTURE(sysfs_malformed) {
	char unused;
};

FIXTURE_VARIANT(sysfs_malformed) {
	bool prepared;
};

FIXTURE_VARIANT_ADD(sysfs_malformed, normal)
{
	.prepared = false,
};

FIXTURE_VARIANT_ADD(sysfs_malformed, prepared)
{
	.prepared = true,
};

FIXTURE_SETUP(sysfs_malformed)
{
	const char *reason = luo_sysfs_setup("normal", false);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(0, luo_sysfs_recover());
	ASSERT_TRUE(!variant->prepared || !luo_sysfs_write("prepare", "1"));
}

FIXTURE_TEARDOWN_PARENT(sysfs_malformed)
{
	EXPECT_EQ(0, luo_sysfs_reset());
}

TEST_F(sysfs_malformed, switches)
{
	static const char *const switches[] = { "prepare", "finish", "rehearse" };
	const char *state = variant->prepared ? "prepared" : "normal";
	char *text = malloc(1 << 20);

	ASSERT_NE(NULL, text);
	for (int i = 0; i < ARRAY_SIZE(switches); i++) {
		const char *file = switches[i];

		for (int j = 0; j < ARRAY_SIZE(malformed_switches); j++) {
			const struct bytes *bytes = &malformed_switches[j];

			/* It gives up what waits. */
			if (!strcmp(file, "finish") && bytes->size == 1 &&
			    *bytes->data == '2')
				continue;
			EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, bytes->data,
								 bytes->size))
				TH_LOG("entry %d to %s", j, file);
		}

		/* Only the first page of a write reaches the file at all. */
		for (int j = 0; j < ARRAY_SIZE(long_sizes); j++) {
			memset(text, '1', long_sizes[j]);
			EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text,
								 long_sizes[j]))
				TH_LOG("%zu bytes to %s", long_sizes[j], file);
			memset(text, 0, long_sizes[j]);
			text[0] = '1';
			EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text,
								 long_sizes[j]))
				TH_LOG("1 and zeroes, %zu bytes to %s",
				       long_sizes[j], file);
			memset(text, '\n', long_sizes[j]);
			text[0] = '1';
			EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text,
								 long_sizes[j]))
				TH_LOG("1 and line ends, %zu bytes to %s",
				       long_sizes[j], file);
		}

		/* Nothing is nothing: 0 bytes written, nothing done. */
		EXPECT_EQ(0, luo_sysfs_write_bytes(file, "", 0));
		EXPECT_FILE("state", state);
	}
	free(text);

	/* Only prepare has an off. */
	EXPECT_EQ(-EINVAL, luo_sysfs_write("finish", "0"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("finish", "0\n"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("rehearse", "0"));
	EXPECT_EQ(-EINVAL, luo_sysfs_write("rehearse", "0\n"));
	EXPECT_FILE("state", state);
	EXPECT_FILE("transition", "idle");
}

TEST_F(sysfs_malformed, timeout)
{
	static const struct {
		const char *written;
		const char *read;
	} good[] = {
		{ "1", "1" },
		{ "1500\n", "1500" },
		{ "2147483647", "2147483647" },
		{ "4321", "4321" },
	};
	const char *file = "prepare_timeout_ms";
	char *text = malloc(1 << 20);

	ASSERT_NE(NULL, text);
	EXPECT_FILE(file, "0");
	for (int i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, luo_sysfs_write(file, good[i].written));
		EXPECT_FILE(file, good[i].read);
	}

	for (int i = 0; i < ARRAY_SIZE(malformed_numbers); i++) {
		const struct bytes *bytes = &malformed_numbers[i];

		EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, bytes->data,
							 bytes->size))
			TH_LOG("entry %d", i);
	}
	for (int i = 0; i < ARRAY_SIZE(long_sizes); i++) {
		size_t size = long_sizes[i];

		memset(text, '\n', size);
		text[0] = '1';
		EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text, size));
		memset(text, 0, size);
		text[0] = '1';
		EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text, size));
		memset(text, '9', size);
		if (size > 10)
			EXPECT_EQ(-EINVAL, luo_sysfs_write_bytes(file, text, size));
	}
	EXPECT_EQ(0, luo_sysfs_write_bytes(file, "", 0));
	EXPECT_FILE(file, "4321");

	EXPECT_EQ(0, luo_sysfs_write(file, "0\n"));
	EXPECT_FILE(file, "0");
	free(text);
}

int main(int argc, char **argv)
{
	luo_sysfs_begin();

	return test_harness_run(argc, argv);
}
