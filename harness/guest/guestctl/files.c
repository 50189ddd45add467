// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verbs on files of sysfs: one exact write, reads, poll(2), races of writers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guestctl.h"

/* Resolves \n, \t, \0, \\ and \xHH in place; returns the new length. */
static size_t unescape(char *s)
{
	char *out = s, *in = s;

	while (*in) {
		if (in[0] != '\\' || !in[1]) {
			*out++ = *in++;
			continue;
		}
		switch (in[1]) {
		case 'n': *out++ = '\n'; in += 2; break;
		case 't': *out++ = '\t'; in += 2; break;
		case '0': *out++ = '\0'; in += 2; break;
		case 'x': {
			char hex[3] = { in[2], in[2] ? in[3] : '\0', '\0' };

			*out++ = (char)strtoul(hex, NULL, 16);
			in += 2 + strlen(hex);
			break;
		}
		default: *out++ = in[1]; in += 2; break;
		}
	}
	return out - s;
}

int write_once(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;
	ssize_t n;

	if (fd < 0)
		return errno;
	fault_begin();
	n = write(fd, data, len);
	fault_end();
	if (n < 0)
		err = errno;
	else if ((size_t)n != len)
		err = EIO;
	close(fd);
	return err;
}

int verb_write(int argc, char **argv)
{
	int escapes = !strcmp(argv[1], "-e");
	size_t len;
	int err;

	if (argc < 3 + escapes)
		return 2;
	len = escapes ? unescape(argv[3]) : strlen(argv[2]);
	err = write_once(argv[1 + escapes], argv[2 + escapes], len);
	if (err)
		return report_errno(err);
	printf("ok %zu\n", len);
	return 0;
}

int verb_stream(int argc, char **argv)
{
	int err;

	(void)argc;
	for (;;) {
		err = write_once(argv[1], argv[2], strlen(argv[2]));
		if (err && err != EBUSY)
			return report_errno(err);
		usleep(200);
	}
}

/* Reads all of @fd from the start into @buf, a terminating 0 behind it. */
static ssize_t read_from_start(int fd, char *buf, size_t size)
{
	size_t used = 0;

	while (used + 1 < size) {
		ssize_t n = pread(fd, buf + used, size - 1 - used, used);

		if (n < 0)
			return -1;
		if (!n)
			break;
		used += n;
	}
	buf[used] = '\0';
	return used;
}

int verb_read(int argc, char **argv)
{
	static char buf[1 << 20];
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	ssize_t n;

	(void)argc;
	if (fd < 0)
		return report_errno(errno);
	n = read_from_start(fd, buf, sizeof(buf));
	if (n < 0)
		return report_errno(errno);
	return write_all(1, buf, n) ? 1 : 0;
}

int verb_poll(int argc, char **argv)
{
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };
	char buf[4096];
	int ready;

	(void)argc;
	if (fd < 0 || read_from_start(fd, buf, sizeof(buf)) < 0)
		return report_errno(errno);
	ready = poll(&pfd, 1, atoi(argv[2]));
	if (ready < 0)
		return report_errno(errno);
	if (!ready) {
		printf("timeout\n");
		return 1;
	}
	if (!(pfd.revents & POLLPRI) || read_from_start(fd, buf, sizeof(buf)) < 0)
		return report_errno(EIO);
	printf("%s", buf);
	return 0;
}

/*
 * Tells the host every value of the file as it is entered. Real-time priority:
 * some states last only as long as the kernel takes for the next step.
 */
int verb_follow(int argc, char **argv)
{
	const char *label = argc > 3 ? argv[3] : argv[1];
	long long end = now_ms() + atoll(argv[2]);
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };
	char value[4096], last[4096] = "", text[8192];
	struct sched_param prio = { .sched_priority = 50 };
	long long left;

	if (fd < 0)
		return report_errno(errno);
	sched_setscheduler(0, SCHED_FIFO, &prio);
	while ((left = end - now_ms()) > 0) {
		if (read_from_start(fd, value, sizeof(value)) < 0)
			return report_errno(errno);
		value[strcspn(value, "\n")] = '\0';
		if (strcmp(value, last)) {
			int n = snprintf(text, sizeof(text), "%s %s", label, value);

			agent_event(text, n);
			strcpy(last, value);
		}
		poll(&pfd, 1, left);
	}
	return 0;
}

int verb_events(int argc, char **argv)
{
	char line[512], text[600];

	(void)argc;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(text, sizeof(text), "%s %s", argv[1], line);
		if (agent_event(text, strlen(text)))
			return report_errno(errno);
	}
	return 0;
}

/*
 * N processes wait at a spin barrier and write at the same moment; one line of
 * result each, as verb_write prints it, behind the string that was written.
 */
int verb_race(int argc, char **argv)
{
	int count = atoi(argv[1]), strings = argc - 3;
	struct { volatile int waiting, go; int err[]; } *shared;
	size_t size = sizeof(*shared) + count * sizeof(int);

	if (count < 1 || count > 256)
		return 2;
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return report_errno(errno);

	for (int i = 0; i < count; i++) {
		const char *text = argv[3 + i % strings];
		pid_t pid = fork();
		int fd;

		if (pid < 0)
			return report_errno(errno);
		if (pid)
			continue;
		fd = open(argv[2], O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			shared->err[i] = errno;
			__sync_fetch_and_add(&shared->waiting, 1);
			_exit(0);
		}
		__sync_fetch_and_add(&shared->waiting, 1);
		while (!shared->go)
			sched_yield();
		shared->err[i] = write(fd, text, strlen(text)) < 0 ? errno : 0;
		_exit(0);
	}

	while (shared->waiting < count)
		usleep(1000);
	__sync_synchronize();
	shared->go = 1;
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < count; i++) {
		printf("%s ", argv[3 + i % strings]);
		if (shared->err[i])
			report_errno(shared->err[i]);
		else
			printf("ok\n");
	}
	return 0;
}
