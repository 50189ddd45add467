// SPDX-License-Identifier: GPL-2.0

/*
 * Helpers for tests of /sys/kernel/liveupdate, see liveupdate_sysfs.h.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <liveupdate_sysfs.h>

#define LUO_RESET_MS	30000

const char *const luo_test_names[LUO_TEST_NR] = {
	[LUO_TEST_WORKLOAD]	= "test-workload",
	[LUO_TEST_DEVICES]	= "test-devices",
	[LUO_TEST_IRQ]		= "test-irq",
	[LUO_TEST_IOMMU]	= "test-iommu",
	[LUO_TEST_MEMORY]	= "test-memory",
};

long long luo_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);

	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void luo_sleep_ms(long ms)
{
	struct timespec left = {
		.tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000,
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

int luo_sysfs_open(const char *file, int flags)
{
	char path[LUO_LINE_SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", LUO_SYSFS, file);
	fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* One write(2): the kernel takes all of it or refuses it. */
int luo_write_fd(int fd, const void *bytes, size_t size)
{
	ssize_t written = write(fd, bytes, size);

	if (written < 0)
		return -errno;

	return (size_t)written == size ? 0 : -EMSGSIZE;
}

/* All of a file from its start; the text in @buf ends in a NUL. */
int luo_read_fd(int fd, char *buf, size_t size)
{
	size_t length = 0;
	ssize_t got;

	do {
		got = pread(fd, buf + length, size - 1 - length, length);
		if (got < 0)
			return -errno;
		length += got;
	} while (got && length < size - 1);
	buf[length] = '\0';

	return got ? -EMSGSIZE : (int)length;
}

int luo_sysfs_read(const char *file, char *buf, size_t size)
{
	int fd, length;

	fd = luo_sysfs_open(file, O_RDONLY);
	if (fd < 0)
		return fd;
	length = luo_read_fd(fd, buf, size);
	close(fd);
	if (length < 0)
		return length;
	if (!length || buf[length - 1] != '\n')
		return -EBADMSG;
	buf[length - 1] = '\0';

	return 0;
}

int luo_sysfs_write_bytes(const char *file, const void *bytes, size_t size)
{
	int fd, err;

	fd = luo_sysfs_open(file, O_WRONLY);
	if (fd < 0)
		return fd;
	err = luo_write_fd(fd, bytes, size);
	close(fd);

	return err;
}

int luo_sysfs_write(const char *file, const char *text)
{
	return luo_sysfs_write_bytes(file, text, strlen(text));
}

bool luo_sysfs_is(const char *file, const char *expected)
{
	char value[LUO_LINE_SIZE];

	return !luo_sysfs_read(file, value, sizeof(value)) &&
	       !strcmp(value, expected);
}

int luo_sysfs_wait(const char *file, const char *expected, int timeout_ms)
{
	long long end = luo_now_ms() + timeout_ms;

	while (!luo_sysfs_is(file, expected)) {
		if (luo_now_ms() > end)
			return -ETIME;
		luo_sleep_ms(1);
	}

	return 0;
}

pid_t luo_sysfs_write_start(const char *file, const char *text)
{
	pid_t writer = fork();

	if (!writer)
		_exit(-luo_sysfs_write(file, text));

	return writer;
}

int luo_sysfs_write_wait(pid_t writer)
{
	int status;

	if (waitpid(writer, &status, 0) != writer)
		return -errno;

	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

int luo_subsystem_parse(const char *line, struct luo_subsystem_dir *subsystem)
{
	char again[LUO_LINE_SIZE], squeezed[LUO_LINE_SIZE];
	size_t length = 0;

	/* Padding may widen the space between fields and follow the last. */
	for (const char *at = line; *at && length < sizeof(squeezed) - 1; at++) {
		if (*at != ' ' || (length && squeezed[length - 1] != ' '))
			squeezed[length++] = *at;
	}
	while (length && squeezed[length - 1] == ' ')
		length--;
	squeezed[length] = '\0';

	if (sscanf(squeezed, "%63s %u %u %15s %15s %llu", subsystem->name,
		   &subsystem->version, &subsystem->oldest,
		   subsystem->level, subsystem->class,
		   &subsystem->bytes) != 6)
		return -EINVAL;

	/* Nothing but that, and plain numbers. */
	snprintf(again, sizeof(again), "%s %u %u %s %s %llu",
		 subsystem->name, subsystem->version, subsystem->oldest,
		 subsystem->level, subsystem->class, subsystem->bytes);

	return strcmp(again, squeezed) ? -EINVAL : 0;
}

int luo_subsystems_read(char *list, size_t size)
{
	int fd = open(LUO_LIST, O_RDONLY | O_CLOEXEC), length;

	if (fd < 0)
		return -errno;
	length = luo_read_fd(fd, list, size);
	close(fd);
	if (length < 0)
		return length;
	if (length)
		list[length - 1] = '\0';

	return 0;
}

int luo_subsystem_dir_find(const char *name, struct luo_subsystem_dir *subsystem)
{
	static const char *const files[] = { "version", "oldest", "level", "class", "bytes", NULL };
	char line[LUO_LINE_SIZE], file[LUO_LINE_SIZE], value[LUO_LINE_SIZE];
	size_t length;

	length = snprintf(line, sizeof(line), "%s", name);
	for (int i = 0; files[i]; i++) {
		int err;

		snprintf(file, sizeof(file), "subsystems/%s/%s", name, files[i]);
		err = luo_sysfs_read(file, value, sizeof(value));
		if (err)
			return err;
		length += snprintf(line + length, sizeof(line) - length, " %s", value);
	}

	return luo_subsystem_parse(line, subsystem);
}

static int luo_test_write(const char *path, const char *text)
{
	int fd, err;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = luo_write_fd(fd, text, strlen(text));
	close(fd);

	return err;
}

int luo_test_config(const char *config)
{
	return luo_test_write(LUO_TEST_DIR "/config", config);
}

/* Lets all callbacks go on that are held. */
int luo_test_release(void)
{
	return luo_test_write(LUO_TEST_DIR "/release", "1");
}

static bool luo_call_is_builtin(const char *line)
{
	const char *name = strchr(line, ' ');
	size_t length;

	if (!name)
		return true;
	name++;
	length = strcspn(name, " ");
	for (int i = 0; i < LUO_TEST_NR; i++) {
		if (length == strlen(luo_test_names[i]) &&
		    !strncmp(name, luo_test_names[i], length))
			return true;
	}

	return false;
}

/* Calls of the built-in test subsystems only: a module may add another. */
int luo_test_calls(char *buf, size_t size)
{
	static char all[LUO_CALLS_SIZE];
	char *line, *rest = all;
	size_t length = 0;
	int fd, err;

	fd = open(LUO_TEST_DIR "/calls", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = luo_read_fd(fd, all, sizeof(all));
	close(fd);
	if (err < 0)
		return err;

	buf[0] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || !luo_call_is_builtin(line))
			continue;
		length += snprintf(buf + length, size - length, "%s\n", line);
		if (length >= size)
			return -EMSGSIZE;
	}

	return length;
}

void luo_calls_add(struct luo_calls *calls, const char *step,
		   enum luo_test_subsystem subsystem, int error)
{
	size_t left = sizeof(calls->text) - calls->length;
	int length;

	length = snprintf(calls->text + calls->length, left, "%s %s %d\n",
			  step, luo_test_names[subsystem], error);
	if (length < 0 || (size_t)length >= left)
		abort();
	calls->length += length;
}

/* Successful calls of @transition from @first to @last, in either direction. */
void luo_calls_walk(struct luo_calls *calls, const char *step, int first,
		    int last)
{
	int way = first <= last ? 1 : -1;

	for (int i = first; i != last + way; i += way)
		luo_calls_add(calls, step, i, 0);
}

static bool luo_test_present(void)
{
	if (!access(LUO_TEST_DIR "/config", W_OK))
		return true;
	if (mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL))
		return false;

	return !access(LUO_TEST_DIR "/config", W_OK);
}

/*
 * The state is the program's to restore if it was normal when the program
 * started; otherwise somebody else is at work.
 */
static bool luo_ours;

/* Runs in the harness only: tests leave with _exit() or a signal. */
static void luo_sysfs_end(void)
{
	if (luo_sysfs_recover())
		fprintf(stderr, "# the machine could not be brought back to normal\n");
}

void luo_sysfs_begin(void)
{
	luo_ours = luo_sysfs_is("state", "normal");
	atexit(luo_sysfs_end);
}

const char *luo_sysfs_setup(const char *state, bool subsystems)
{
	static char reason[LUO_LINE_SIZE];
	char now[LUO_LINE_SIZE];

	if (access(LUO_SYSFS, F_OK))
		return "boot with kho=on liveupdate=on";
	if (geteuid())
		return "must be run as root";
	if (subsystems && !luo_test_present())
		return "build with CONFIG_LIVEUPDATE_SUBSYSTEM_TEST=y";
	if (luo_ours && !strcmp(state, "normal"))
		return NULL;
	if (luo_sysfs_read("state", now, sizeof(now)))
		return "the state cannot be read";
	if (strcmp(now, state)) {
		snprintf(reason, sizeof(reason), "the state is %.32s, not %.32s",
			 now, state);
		return reason;
	}

	return NULL;
}

int luo_sysfs_recover(void)
{
	return luo_ours ? luo_sysfs_reset() : 0;
}

int luo_sysfs_reset(void)
{
	long long end = luo_now_ms() + LUO_RESET_MS;
	bool present = luo_test_present();
	int err;

	if (present) {
		err = luo_test_config("clear");
		if (err)
			return err;
	}

	/*
	 * A timeout is refused while a transition runs, so one that is accepted
	 * tells that the state which is read next is settled.
	 */
	for (;;) {
		err = luo_sysfs_write("prepare_timeout_ms", "0");
		if (!err)
			err = luo_sysfs_write("freeze_timeout_ms", "0");
		if (err && err != -EBUSY)
			return err;
		if (!err && luo_sysfs_is("state", "normal"))
			break;
		if (luo_now_ms() > end)
			return -EBUSY;
		if (luo_sysfs_is("state", "prepared"))
			luo_sysfs_write("prepare", "0");
		luo_sleep_ms(5);
	}

	return present ? luo_test_config("clear") : 0;
}
