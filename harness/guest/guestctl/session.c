// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions of /dev/liveupdate. A session lives as long as the process that
 * holds its descriptor, so `create` leaves a holder behind which answers on an
 * abstract socket of the session's name; `verify` retrieves the session in the
 * next kernel and compares every byte.
 *
 *	session create NAME MB [FILE...]   memfd of MB as token 1, the files as 2, 3 ...
 *	session check NAME                 the holder compares its memfd
 *	session add NAME TOKEN             the holder preserves one more memfd
 *	session drop NAME                  the holder closes the session and ends
 *	session verify NAME MB [TOKEN...]  retrieve, compare, retrieve TOKENs, finish
 *	session retrieve NAME              retrieve only; prints the errno
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "guestctl.h"

/*
 * include/uapi/linux/liveupdate.h of Linux 7.3, repeated here because the
 * headers of the machine that builds the guest are older.
 */
#define LIVEUPDATE_DEVICE	"/dev/liveupdate"
#define LIVEUPDATE_TYPE		0xBA
#define NAME_LEN		64

struct session_name {
	__u32 size;
	__s32 fd;
	__u8 name[NAME_LEN];
};

struct session_fd {
	__u32 size;
	__s32 fd;
	__aligned_u64 token;
};

struct session_finish {
	__u32 size;
	__u32 reserved;
};

#define CREATE_SESSION		_IO(LIVEUPDATE_TYPE, 0x00)
#define RETRIEVE_SESSION	_IO(LIVEUPDATE_TYPE, 0x01)
#define PRESERVE_FD		_IO(LIVEUPDATE_TYPE, 0x40)
#define RETRIEVE_FD		_IO(LIVEUPDATE_TYPE, 0x41)
#define FINISH			_IO(LIVEUPDATE_TYPE, 0x42)

#define MEMFD_TOKEN		1

/* Here every word of a memfd holds the pattern. */
#define STEP			sizeof(uint64_t)

int session_open(const char *name, int create)
{
	struct session_name arg = { .size = sizeof(arg) };
	int dev = open(LIVEUPDATE_DEVICE, O_RDWR | O_CLOEXEC);
	int err;

	if (dev < 0)
		return -errno;
	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	err = ioctl(dev, create ? CREATE_SESSION : RETRIEVE_SESSION, &arg) ? -errno : arg.fd;
	close(dev);
	return err;
}

int session_preserve(int session, int fd, uint64_t token)
{
	struct session_fd arg = { .size = sizeof(arg), .fd = fd, .token = token };

	return ioctl(session, PRESERVE_FD, &arg) ? -errno : 0;
}

int session_retrieve(int session, uint64_t token)
{
	struct session_fd arg = { .size = sizeof(arg), .token = token };

	return ioctl(session, RETRIEVE_FD, &arg) ? -errno : arg.fd;
}

int session_finish(int session)
{
	struct session_finish arg = { .size = sizeof(arg) };

	return ioctl(session, FINISH, &arg) ? -errno : 0;
}

/* The word at index @i of the memory of session @name. */
static uint64_t pattern(const char *name, uint64_t i)
{
	uint64_t x = 0x9e3779b97f4a7c15ull * (i + 1);

	for (; *name; name++)
		x = (x ^ (unsigned char)*name) * 0x100000001b3ull;
	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ull;
}

int memfd_make(const char *name, size_t bytes, size_t step)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	uint64_t *map;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, bytes))
		return -errno;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	for (size_t i = 0; i < bytes / sizeof(*map); i += step / sizeof(*map))
		map[i] = pattern(name, i);
	munmap(map, bytes);
	return fd;
}

int memfd_compare(const char *name, int fd, size_t bytes, size_t step, char *why,
		  size_t len)
{
	struct stat st;
	uint64_t *map;
	int ret = 0;

	if (fstat(fd, &st)) {
		snprintf(why, len, "fstat: %s", strerror(errno));
		return -1;
	}
	if ((size_t)st.st_size != bytes) {
		snprintf(why, len, "memfd has %lld bytes, expected %zu",
			 (long long)st.st_size, bytes);
		return -1;
	}
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		snprintf(why, len, "mmap: %s", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < bytes / sizeof(*map) && !ret; i += step / sizeof(*map)) {
		if (map[i] == pattern(name, i))
			continue;
		snprintf(why, len, "word %zu is %#llx, expected %#llx", i,
			 (unsigned long long)map[i],
			 (unsigned long long)pattern(name, i));
		ret = -1;
	}
	munmap(map, bytes);
	if (!ret)
		snprintf(why, len, "ok %zu bytes", bytes);
	return ret;
}

static socklen_t holder_address(const char *name, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "session/%s", name);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(addr->sun_path + 1);
}

/* Answers requests about the session it holds, until told to drop it. */
static void hold(const char *name, int listener, int session, int memfd, size_t bytes)
{
	char request[64], answer[256];

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		uint64_t token;
		ssize_t n;

		if (fd < 0)
			continue;
		n = read(fd, request, sizeof(request) - 1);
		request[n > 0 ? n : 0] = '\0';
		if (!strcmp(request, "check")) {
			memfd_compare(name, memfd, bytes, STEP, answer, sizeof(answer));
		} else if (sscanf(request, "add %llu", (unsigned long long *)&token) == 1) {
			int extra = memfd_make(name, 4096, STEP);
			int err = extra < 0 ? extra : session_preserve(session, extra, token);

			if (err)
				snprintf(answer, sizeof(answer), "%s %d",
					 strerrorname_np(-err), -err);
			else
				strcpy(answer, "ok");
		} else if (!strcmp(request, "drop")) {
			close(session);
			close(memfd);
			write_all(fd, "ok", 2);
			_exit(0);
		} else {
			strcpy(answer, "unknown request");
		}
		write_all(fd, answer, strlen(answer));
		close(fd);
	}
}

static int session_create(int argc, char **argv)
{
	const char *name = argv[2];
	size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) << 20 : 1 << 20;
	int session, memfd, listener, err;
	struct sockaddr_un addr;
	socklen_t len = holder_address(name, &addr);

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, len) ||
	    listen(listener, 8))
		return report_errno(errno);

	session = session_open(name, 1);
	if (session < 0)
		return report_errno(-session);
	memfd = memfd_make(name, bytes, STEP);
	if (memfd < 0)
		return report_errno(-memfd);
	err = session_preserve(session, memfd, MEMFD_TOKEN);
	if (err)
		return report_errno(-err);
	for (int i = 4; i < argc; i++) {
		int fd = open(argv[i], O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return report_errno(errno);
		err = session_preserve(session, fd, MEMFD_TOKEN + i - 3);
		if (err)
			return report_errno(-err);
		close(fd);
	}

	switch (fork()) {
	case -1:
		return report_errno(errno);
	case 0:
		setsid();
		hold(name, listener, session, memfd, bytes);
		_exit(0);
	}
	printf("ok\n");
	return 0;
}

static int session_ask(const char *name, const char *request)
{
	struct sockaddr_un addr;
	socklen_t len = holder_address(name, &addr);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[256];
	ssize_t n;

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, len))
		return report_errno(errno);
	if (write_all(fd, request, strlen(request)))
		return report_errno(errno);
	n = read(fd, answer, sizeof(answer) - 1);
	if (n < 0)
		return report_errno(errno);
	answer[n] = '\0';
	printf("%s\n", answer);
	return strncmp(answer, "ok", 2) ? 1 : 0;
}

static int session_verify(int argc, char **argv)
{
	const char *name = argv[2];
	size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) << 20 : 1 << 20;
	int session = session_open(name, 0);
	int fd, ret, err;
	char why[256];

	if (session < 0)
		return report_errno(-session);
	fd = session_retrieve(session, MEMFD_TOKEN);
	if (fd < 0)
		return report_errno(-fd);
	ret = memfd_compare(name, fd, bytes, STEP, why, sizeof(why));
	for (int i = 4; i < argc; i++) {
		fd = session_retrieve(session, strtoull(argv[i], NULL, 10));
		if (fd < 0) {
			printf("token %s: ", argv[i]);
			return report_errno(-fd);
		}
	}
	err = session_finish(session);
	if (err)
		return report_errno(-err);
	printf("%s\n", why);
	return ret ? 1 : 0;
}

static int session_try(const char *name)
{
	int session = session_open(name, 0);

	if (session < 0)
		return report_errno(-session);
	printf("ok\n");
	return 0;
}

int verb_session(int argc, char **argv)
{
	char request[64];

	if (!strcmp(argv[1], "create"))
		return session_create(argc, argv);
	if (!strcmp(argv[1], "verify"))
		return session_verify(argc, argv);
	if (!strcmp(argv[1], "retrieve"))
		return session_try(argv[2]);
	if (!strcmp(argv[1], "check") || !strcmp(argv[1], "drop"))
		return session_ask(argv[2], argv[1]);
	if (!strcmp(argv[1], "add") && argc > 3) {
		snprintf(request, sizeof(request), "add %s", argv[3]);
		return session_ask(argv[2], request);
	}
	return 2;
}
