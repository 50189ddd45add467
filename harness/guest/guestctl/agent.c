// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control agent: runs what the host asks for over a serial port.
 *
 * host -> guest	RUN seq timeout_ms length\n command
 *			PUT seq mode path_length length\n path data
 * guest -> host	READY release counter\n
 *			RESULT seq status length\n output
 *			EVENT length\n text
 *
 * The counter is that of time stamps, read as the first thing init does.
 *
 * Every frame of the guest is one write(2), which a tty keeps in one piece, so
 * other processes may send EVENT frames meanwhile. Output goes through a file,
 * not a pipe: a background process that keeps it open delays nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guestctl.h"

#define LINE_MAX_LEN	256
#define REQUEST_MAX	(64u << 20)

/* Exit status told to the host when the time limit of a command ran out. */
#define STATUS_TIMEOUT	124

static int open_tty(const char *path)
{
	struct termios tio;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (tcgetattr(fd, &tio)) {
		close(fd);
		return -1;
	}
	cfmakeraw(&tio);
	tio.c_cflag |= CLOCAL | CREAD;
	tio.c_cc[VMIN] = 1;
	tio.c_cc[VTIME] = 0;
	cfsetspeed(&tio, B115200);
	if (tcsetattr(fd, TCSANOW, &tio)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Sends @header and @body as one write. */
static int send_frame(int fd, const char *header, const void *body, size_t len)
{
	size_t head = strlen(header);
	char *frame = malloc(head + len);
	int ret;

	if (!frame)
		return -1;
	memcpy(frame, header, head);
	if (len)
		memcpy(frame + head, body, len);
	ret = write_all(fd, frame, head + len);
	free(frame);
	return ret;
}

int agent_open(void)
{
	return open(AGENT_TTY, O_WRONLY | O_NOCTTY | O_CLOEXEC);
}

int agent_send(int tty, const void *text, size_t len)
{
	char header[LINE_MAX_LEN];

	snprintf(header, sizeof(header), "EVENT %zu\n", len);
	return send_frame(tty, header, text, len);
}

int agent_event(const void *text, size_t len)
{
	int tty = agent_open();
	int ret;

	if (tty < 0)
		return -1;
	ret = agent_send(tty, text, len);
	close(tty);
	return ret;
}

static int read_all(int fd, char *buf, size_t len)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		buf += n;
		len -= n;
	}
	return 0;
}

static int read_line(int fd, char *line, size_t size)
{
	size_t used = 0;

	for (;;) {
		if (read_all(fd, &line[used], 1))
			return -1;
		if (line[used] == '\n') {
			line[used] = '\0';
			return 0;
		}
		if (used + 1 < size)
			used++;
	}
}

static int send_ready(int fd, unsigned long long began)
{
	char line[LINE_MAX_LEN];
	struct utsname uts;

	uname(&uts);
	snprintf(line, sizeof(line), "\nREADY %s %llu\n", uts.release, began);
	return write_all(fd, line, strlen(line));
}

/* Waits for @pid at most @timeout_ms (-1: for ever); the status as a shell has it. */
static int wait_child(pid_t pid, int timeout_ms)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int status, ready;

	do {
		ready = pidfd < 0 ? 1 : poll(&pfd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (pidfd >= 0)
		close(pidfd);
	if (!ready) {
		/* It may sit in the kernel for good; init reaps it if not. */
		kill(-pid, SIGKILL);
		usleep(50000);
		waitpid(pid, &status, WNOHANG);
		return STATUS_TIMEOUT;
	}
	if (waitpid(pid, &status, 0) != pid)
		return 255;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_shell(const char *command, int out)
{
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	dprintf(2, "sh: %s\n", strerror(errno));
	_exit(127);
}

static int send_result(int tty, unsigned long seq, int status, const void *out,
		       size_t len)
{
	char header[LINE_MAX_LEN];

	snprintf(header, sizeof(header), "RESULT %lu %d %zu\n", seq, status, len);
	return send_frame(tty, header, out, len);
}

static int serve_run(int tty, unsigned long seq, int timeout_ms, const char *command)
{
	int out = memfd_create("output", MFD_CLOEXEC);
	char *text = NULL;
	struct stat st;
	int status, ret;
	pid_t pid;

	if (out < 0)
		return send_result(tty, seq, 255, "memfd", 5);
	fcntl(out, F_SETFL, O_APPEND);

	pid = fork();
	if (!pid)
		run_shell(command, out);
	status = pid < 0 ? 255 : wait_child(pid, timeout_ms);

	if (fstat(out, &st))
		st.st_size = 0;
	text = malloc(st.st_size + 1);
	if (!text || pread(out, text, st.st_size, 0) != st.st_size)
		st.st_size = 0;
	ret = send_result(tty, seq, status, text, st.st_size);
	free(text);
	close(out);
	return ret;
}

static int serve_put(int tty, unsigned long seq, unsigned int mode,
		     const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	const char *text = "";
	int status = 0;

	if (fd < 0 || write_all(fd, data, len) || fchmod(fd, mode)) {
		text = strerror(errno);
		status = 1;
	}
	if (fd >= 0)
		close(fd);
	return send_result(tty, seq, status, text, strlen(text));
}

/* Reads @len bytes behind a request line; NULL when that fails. */
static char *read_body(int tty, size_t len)
{
	char *body;

	if (len > REQUEST_MAX)
		return NULL;
	body = malloc(len + 1);
	if (!body)
		return NULL;
	if (read_all(tty, body, len)) {
		free(body);
		return NULL;
	}
	body[len] = '\0';
	return body;
}

static int serve(int tty)
{
	char line[LINE_MAX_LEN];
	unsigned long seq;
	unsigned int mode;
	size_t len, path_len;
	int timeout_ms, ret;
	char *body;

	if (read_line(tty, line, sizeof(line)))
		return -1;

	if (sscanf(line, "RUN %lu %d %zu", &seq, &timeout_ms, &len) == 3) {
		body = read_body(tty, len);
		if (!body)
			return -1;
		ret = serve_run(tty, seq, timeout_ms, body);
	} else if (sscanf(line, "PUT %lu %o %zu %zu", &seq, &mode, &path_len, &len) == 4) {
		char *data;

		body = read_body(tty, path_len);
		if (!body)
			return -1;
		data = read_body(tty, len);
		if (!data) {
			free(body);
			return -1;
		}
		ret = serve_put(tty, seq, mode, body, data, len);
		free(data);
	} else {
		/* Not ours: line noise, or the tail of a cut request. */
		return 0;
	}
	free(body);
	return ret;
}

int agent_main(const char *path, unsigned long long began)
{
	int tty = open_tty(path);

	if (tty < 0) {
		printf("guest: %s: %s\n", path, strerror(errno));
		return 1;
	}
	tcflush(tty, TCIFLUSH);
	if (send_ready(tty, began))
		return 1;
	while (!serve(tty))
		;
	printf("guest: agent: %s\n", strerror(errno));
	return 1;
}
