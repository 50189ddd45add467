// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that fail. The kernel counts those of a thread down from what is in
 * its fail-nth, see Documentation/fault-injection/fault-injection.rst; only what
 * one system call asks for is counted here, as nothing else is of interest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guestctl.h"

/* More than any system call of the tests makes, unless it makes no end. */
#define FAULT_MAX	5000

static unsigned int fault_nth, fault_left;
static int fault_fd = -1;

static int fault_open(void)
{
	if (fault_fd < 0)
		fault_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fault_fd < 0 ? -1 : 0;
}

static int fault_set(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(fault_fd, text, len, 0) == len ? 0 : -1;
}

void fault_begin(void)
{
	if (!fault_nth)
		return;
	fault_left = fault_nth;
	if (fault_set(fault_nth)) {
		printf("fail-nth: %s\n", strerror(errno));
		exit(3);
	}
}

void fault_end(void)
{
	int saved = errno;
	char text[16];
	ssize_t n;

	if (!fault_nth)
		return;
	n = pread(fault_fd, text, sizeof(text) - 1, 0);
	if (n <= 0 || fault_set(0)) {
		printf("fail-nth: %s\n", strerror(errno));
		exit(3);
	}
	text[n] = '\0';
	fault_left = strtoul(text, NULL, 10);
	errno = saved;
}

int verb_fail(int argc, char **argv)
{
	int status;

	fault_nth = strtoul(argv[1], NULL, 10);
	if (!fault_nth)
		return 2;
	if (fault_open())
		return report_errno(errno);
	status = run_verb(argc - 2, argv + 2);
	printf(fault_left ? "missed %u\n" : "hit\n", fault_left);
	return status;
}

static void show(const char *path)
{
	char text[1024] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	else
		text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	printf("\t%s", text);
	if (fd >= 0)
		close(fd);
}

/*
 * One line for each attempt: which allocation failed, "hit", or "missed" for the
 * last one, the name of the errno or "ok", and the first line of each file then.
 */
int verb_fail_each(int argc, char **argv)
{
	const char *path = argv[1], *text = argv[2], *undo = argv[3], *back = argv[4];

	if (fault_open())
		return report_errno(errno);
	do {
		int err;

		fault_nth++;
		err = write_once(path, text, strlen(text));
		printf("%u\t%s\t%s", fault_nth, fault_left ? "missed" : "hit",
		       err ? strerrorname_np(err) : "ok");
		for (int i = 5; i < argc; i++)
			show(argv[i]);
		printf("\n");
		if (!err && *undo) {
			unsigned int nth = fault_nth;

			fault_nth = 0;
			err = write_once(undo, back, strlen(back));
			fault_nth = nth;
			if (err)
				return report_errno(err);
		}
	} while (!fault_left && fault_nth < FAULT_MAX);
	return 0;
}
