// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the kernel's uevents, one line each, fields separated by blanks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guestctl.h"

int verb_uevent(int argc, char **argv)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	const char *match = argc > 2 ? argv[2] : "";
	long wanted = argc > 3 ? atol(argv[3]) : -1;
	long long end = now_ms() + atoll(argv[1]);
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char buf[8192];
	long long left;

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return report_errno(errno);

	printf("listening\n");
	fflush(stdout);
	while (wanted && (left = end - now_ms()) > 0) {
		ssize_t n;

		if (poll(&pfd, 1, left) <= 0)
			continue;
		n = recv(fd, buf, sizeof(buf) - 1, 0);
		if (n <= 0)
			continue;
		for (ssize_t i = 0; i < n; i++)
			if (!buf[i])
				buf[i] = ' ';
		buf[n] = '\0';
		if (!strstr(buf, match))
			continue;
		printf("%s\n", buf);
		fflush(stdout);
		if (wanted > 0)
			wanted--;
	}
	return 0;
}
