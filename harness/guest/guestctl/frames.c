// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verbs on frames of a network interface. In a file each frame lies behind its length,
 * two bytes, the high one first. Those of other protocols are left out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guestctl.h"

#define PROTOCOL	0x88b5	/* for experiments */
#define RECEIVE_BUFFER	(16 << 20)

/* A socket for frames of this interface, which need not be up; or a negative errno. */
static int packet_socket(const char *name, int protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = if_nametoindex(name),
	};
	int fd;

	if (!address.sll_ifindex)
		return -ENODEV;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	return fd;
}

static int join(int fd, const char *name, const char *group)
{
	struct packet_mreq request = {
		.mr_ifindex = if_nametoindex(name),
		.mr_type = PACKET_MR_MULTICAST,
		.mr_alen = 6,
	};

	if (sscanf(group, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &request.mr_address[0],
		   &request.mr_address[1], &request.mr_address[2], &request.mr_address[3],
		   &request.mr_address[4], &request.mr_address[5]) != 6)
		return EINVAL;
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)))
		return errno;
	return 0;
}

/* The file is there when no frame that comes from then on is missed. */
int verb_frames(int argc, char **argv)
{
	static unsigned char frame[2 + (1 << 16)];
	const int size = RECEIVE_BUFFER;
	int fd = packet_socket(argv[1], PROTOCOL);
	int out, err;

	if (fd < 0)
		return report_errno(-fd);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		return report_errno(errno);
	err = argc > 3 ? join(fd, argv[1], argv[3]) : 0;
	if (err)
		return report_errno(err);
	out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (out < 0)
		return report_errno(errno);
	for (;;) {
		ssize_t n = recv(fd, frame + 2, sizeof(frame) - 2, 0);

		/* It was not up when the socket was bound, or is not any more. */
		if (n < 0 && errno == ENETDOWN)
			continue;
		if (n < 0)
			return report_errno(errno);
		frame[0] = n >> 8;
		frame[1] = n;
		if (write_all(out, frame, n + 2))
			return report_errno(errno);
	}
}

/* With MS a pause after each. */
int verb_transmit(int argc, char **argv)
{
	static unsigned char frame[1 << 16];
	int fd = packet_socket(argv[1], 0);
	FILE *in = fopen(argv[2], "re");
	int count = 0;

	if (fd < 0)
		return report_errno(-fd);
	if (!in)
		return report_errno(errno);
	for (;;) {
		int high = fgetc(in), low = fgetc(in);
		size_t len = high << 8 | low;

		if (low == EOF)
			break;
		if (fread(frame, 1, len, in) != len)
			return report_errno(EIO);
		/* The queue of the interface is full, or it is frozen. */
		while (send(fd, frame, len, 0) < 0) {
			if (errno != ENOBUFS && errno != EAGAIN)
				return report_errno(errno);
			usleep(1000);
		}
		count++;
		if (argc > 3)
			usleep(1000 * atoi(argv[3]));
	}
	printf("ok %d\n", count);
	return 0;
}
