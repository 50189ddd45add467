// SPDX-License-Identifier: GPL-2.0-only
/*
 * Process 1 of a guest: mounts, the agent, a shell on the console when the
 * command line says guest.shell, and reaping. It never gives up its place: a
 * guest whose agent died powers off, so that the host sees an end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guestctl.h"

static const struct {
	const char *source, *target, *type, *data;
	unsigned long flags;
	int required;
} mounts[] = {
	{ "proc", "/proc", "proc", NULL, 0, 1 },
	{ "sysfs", "/sys", "sysfs", NULL, 0, 1 },
	{ "devtmpfs", "/dev", "devtmpfs", NULL, 0, 1 },
	{ "tmpfs", "/run", "tmpfs", "mode=1777", 0, 1 },
	{ "tmpfs", "/tmp", "tmpfs", "mode=1777", 0, 1 },
	{ "devpts", "/dev/pts", "devpts", NULL, 0, 0 },
	{ "debugfs", "/sys/kernel/debug", "debugfs", NULL, 0, 0 },
	{ "tracefs", "/sys/kernel/tracing", "tracefs", NULL, 0, 0 },
	{ "host", "/host", "9p",
	  "trans=virtio,version=9p2000.L,cache=loose,msize=262144", MS_RDONLY, 0 },
};

static void mount_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].target, 0755);
		if (!mount(mounts[i].source, mounts[i].target, mounts[i].type,
			   mounts[i].flags, mounts[i].data))
			continue;
		if (mounts[i].required || errno != ENODEV)
			printf("guest: mount %s: %s\n", mounts[i].target,
			       strerror(errno));
	}
}

/* True when the kernel command line has the word @word. */
static int cmdline_has(const char *word)
{
	char line[4096], *save, *p;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	line[n] = '\0';
	for (p = strtok_r(line, " \n", &save); p; p = strtok_r(NULL, " \n", &save))
		if (!strcmp(p, word))
			return 1;
	return 0;
}

static pid_t start_agent(unsigned long long began)
{
	pid_t pid = fork();

	if (!pid)
		_exit(agent_main(AGENT_TTY, began));
	return pid;
}

static pid_t start_shell(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;

	setsid();
	int fd = open("/dev/ttyS0", O_RDWR);

	if (fd < 0)
		_exit(1);
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	ioctl(0, TIOCSCTTY, 1);
	setenv("PS1", "guest# ", 1);
	setenv("HOME", "/root", 1);
	execl("/bin/sh", "sh", "-c", "cat /etc/help.txt; exec sh -i", (char *)NULL);
	_exit(127);
}

int init_main(unsigned long long began)
{
	pid_t agent, shell = -1;
	int want_shell;

	umask(022);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	mount_all();
	if (chdir("/"))
		printf("guest: chdir /: %s\n", strerror(errno));
	want_shell = cmdline_has("guest.shell");
	agent = start_agent(began);
	if (want_shell)
		shell = start_shell();

	for (;;) {
		int status;
		pid_t pid = wait(&status);

		if (pid < 0) {
			pause();
		} else if (pid == agent) {
			printf("guest: the agent ended with status %#x, power off\n",
			       status);
			reboot(RB_POWER_OFF);
		} else if (want_shell && pid == shell) {
			shell = start_shell();
		}
	}
}
