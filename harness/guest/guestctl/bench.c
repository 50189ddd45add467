// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a benchmark measures inside the guest, in counts of the time stamp
 * counter. Nothing but what is measured lies between two readings.
 *
 *	bench write FILE STRING		one write(2)
 *	bench reboot			tell the host the counter as an event
 *					"reboot COUNT", then jump; the next agent
 *					tells the counter its init began with
 *	bench preserve NAME N PAGES	N memfds of so many pages into a session,
 *					which a process holds from then on
 *	bench retrieve NAME N PAGES	all of them, compared, and finish
 *	bench request BUS EVERY		every so manieth device of a bus is requested to
 *					survive; "devices" is their number, no count
 *
 * Each prints "WHAT COUNT" a line; of N ioctls the sum.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guestctl.h"

#define PAGE		4096

static int bench_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	unsigned long long start, end;
	ssize_t n;

	if (fd < 0)
		return report_errno(errno);
	start = counter();
	n = write(fd, text, strlen(text));
	end = counter();
	if (n < 0)
		return report_errno(errno);
	printf("write %llu\n", end - start);
	return 0;
}

/* Telling the host takes some 50 us, which are part of what is measured. */
static int bench_reboot(void)
{
	int tty = agent_open();
	char text[32];
	int len;

	if (tty < 0)
		return report_errno(errno);
	len = snprintf(text, sizeof(text), "reboot %llu", counter());
	if (agent_send(tty, text, len))
		return report_errno(errno);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	return report_errno(errno);
}

static int bench_preserve(const char *name, unsigned long count, unsigned long pages)
{
	int session = session_open(name, 1);
	unsigned long long start, sum = 0;

	if (session < 0)
		return report_errno(-session);
	for (unsigned long i = 1; i <= count; i++) {
		int fd = memfd_make(name, pages * PAGE, PAGE);
		int err;

		if (fd < 0)
			return report_errno(-fd);
		start = counter();
		err = session_preserve(session, fd, i);
		sum += counter() - start;
		if (err)
			return report_errno(-err);
		close(fd);
	}
	switch (fork()) {
	case -1:
		return report_errno(errno);
	case 0:
		setsid();
		for (;;)
			pause();
	}
	printf("preserve %llu\n", sum);
	return 0;
}

static int bench_retrieve(const char *name, unsigned long count, unsigned long pages)
{
	int session = session_open(name, 0);
	unsigned long long start, sum = 0;
	char why[256];
	int err;

	if (session < 0)
		return report_errno(-session);
	for (unsigned long i = 1; i <= count; i++) {
		int fd;

		start = counter();
		fd = session_retrieve(session, i);
		sum += counter() - start;
		if (fd < 0)
			return report_errno(-fd);
		if (memfd_compare(name, fd, pages * PAGE, PAGE, why, sizeof(why))) {
			printf("file %lu: %s\n", i, why);
			return 1;
		}
		close(fd);
	}
	start = counter();
	err = session_finish(session);
	start = counter() - start;
	if (err)
		return report_errno(-err);
	printf("retrieve %llu\nfinish %llu\n", sum, start);
	return 0;
}

static int bench_request(const char *bus, unsigned long every)
{
	unsigned long long start, sum = 0;
	unsigned long seen = 0, done = 0;
	struct dirent *entry;
	char path[512];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/%s/devices", bus);
	dir = opendir(path);
	if (!dir)
		return report_errno(errno);
	while ((entry = readdir(dir))) {
		ssize_t n;
		int fd;

		if (entry->d_name[0] == '.' || seen++ % every)
			continue;
		snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s/liveupdate/requested",
			 bus, entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			return report_errno(errno);
		start = counter();
		n = write(fd, "1", 1);
		sum += counter() - start;
		if (n != 1)
			return report_errno(errno);
		close(fd);
		done++;
	}
	closedir(dir);
	printf("request %llu\ndevices %lu\n", sum, done);
	return 0;
}

int verb_bench(int argc, char **argv)
{
	if (!strcmp(argv[1], "reboot"))
		return bench_reboot();
	if (!strcmp(argv[1], "write") && argc == 4)
		return bench_write(argv[2], argv[3]);
	if (!strcmp(argv[1], "preserve") && argc == 5)
		return bench_preserve(argv[2], strtoul(argv[3], NULL, 10),
				      strtoul(argv[4], NULL, 10));
	if (!strcmp(argv[1], "retrieve") && argc == 5)
		return bench_retrieve(argv[2], strtoul(argv[3], NULL, 10),
				      strtoul(argv[4], NULL, 10));
	if (!strcmp(argv[1], "request") && argc == 4)
		return bench_request(argv[2], strtoul(argv[3], NULL, 10) ?: 1);
	return 2;
}
