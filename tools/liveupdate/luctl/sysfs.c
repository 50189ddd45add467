// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: /sys/kernel/liveupdate
 *
 * Reading and writing of its files, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate. All of luctl reads files
 * through luctl_read_file().
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "luctl.h"

/* Since when Linux has Kexec HandOver. */
#define KHO_MAJOR	6
#define KHO_MINOR	16

/* A text file of sysfs; the list of participants is the longest. */
#define TEXT_LIMIT	(1024 * 1024)

char *luctl_path(const char *name)
{
	return luctl_format("%s/kernel/liveupdate%s%s", luctl_options.sysfs, *name ? "/" : "",
			    name);
}

#define LARGEST_PAGE	65536

/* Read all of @fd; one byte more than @limit is read to see that there is more. */
static int read_all(int fd, size_t limit, size_t room, char **data, size_t *size)
{
	size_t used = 0;
	char *buffer = NULL;
	int err;

	for (;;) {
		char *larger = realloc(buffer, room + 1);
		ssize_t got;

		if (!larger) {
			err = -ENOMEM;
			goto err_free;
		}
		buffer = larger;
		while (used < room) {
			got = read(fd, buffer + used, room - used);
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0) {
				err = -errno;
				goto err_free;
			}
			if (!got) {
				buffer[used] = '\0';
				*data = buffer;
				*size = used;
				return 0;
			}
			used += got;
			if (used > limit) {
				err = -EFBIG;
				goto err_free;
			}
		}
		room *= 2;
	}

err_free:
	free(buffer);
	return err;
}

int luctl_read_file(const char *path, size_t limit, void **data, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t room = 4096;
	struct stat status;
	char *text = NULL;
	int err;

	*data = NULL;
	*size = 0;
	if (fd < 0)
		return -errno;

	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		status.st_size = 0;
	/* sysfs calls every file a page long, whatever is in it. */
	if (status.st_size > LARGEST_PAGE && (uint64_t)status.st_size > limit) {
		err = -EFBIG;
	} else {
		if (status.st_size >= (off_t)room)
			room = status.st_size + 1;
		err = read_all(fd, limit, room, &text, size);
	}
	close(fd);
	if (!err)
		*data = text;

	return err;
}

char *luctl_too_old(const char *release)
{
	unsigned int major, minor;

	if (sscanf(release, "%u.%u", &major, &minor) != 2 || major > KHO_MAJOR ||
	    (major == KHO_MAJOR && minor >= KHO_MINOR))
		return NULL;

	return luctl_format("Linux %u.%u has no Kexec HandOver at all, which came with %u.%u",
			    major, minor, KHO_MAJOR, KHO_MINOR);
}

/* Why this kernel has none of it: it may be older than that. */
static enum luctl_status no_live_update(const char *folder)
{
	enum luctl_status status;
	char *why = NULL;
	size_t size;
	void *release;

	if (!luctl_read_file("/proc/sys/kernel/osrelease", 4096, &release, &size)) {
		why = luctl_too_old(release);
		free(release);
	}
	if (why)
		status = luctl_fail(LUCTL_UNAVAILABLE, folder,
				    "reboot into a newer kernel without a live update", "%s", why);
	else
		status = luctl_fail(LUCTL_UNAVAILABLE, folder,
				    "build the kernel with CONFIG_LIVEUPDATE_SUBSYSTEMS and boot it with \"kho=on liveupdate=on\"",
				    "this kernel cannot be updated live");
	free(why);

	return status;
}

enum luctl_status luctl_no_file(const char *name, int err)
{
	char *kernel = luctl_format("%s/kernel", luctl_options.sysfs);
	char *folder = luctl_path(""), *file = luctl_path(name);
	enum luctl_status status;

	if (access(kernel, F_OK))
		status = luctl_fail_errno(LUCTL_UNREADABLE, errno, kernel,
					  "mount sysfs, or give the place where it is with --sysfs",
					  NULL);
	else if (access(folder, F_OK) && errno == ENOENT)
		status = no_live_update(folder);
	else
		status = luctl_fail_errno(LUCTL_UNREADABLE, err, file,
					  err == EACCES ? "run luctl as root" :
					  err == ENOENT ? "a later kernel may have it" : NULL,
					  NULL);
	free(file);
	free(folder);
	free(kernel);

	return status;
}

enum luctl_status luctl_read(const char *name, char **text)
{
	char *path = luctl_path(name);
	void *data;
	size_t size;
	int err;

	err = luctl_read_file(path, TEXT_LIMIT, &data, &size);
	free(path);
	if (err)
		return luctl_no_file(name, -err);

	*text = data;
	if (size && (*text)[size - 1] == '\n')
		(*text)[size - 1] = '\0';

	return LUCTL_OK;
}

int luctl_write(const char *name, const char *text)
{
	char *path = luctl_path(name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : 0;
	ssize_t done;

	free(path);
	if (err)
		return err;

	done = write(fd, text, strlen(text));
	if (done < 0)
		err = -errno;
	else if ((size_t)done != strlen(text))
		err = -EIO;
	close(fd);

	return err;
}

static bool parse_participant(const char *line, struct luctl_participant *participant)
{
	unsigned long long bytes;
	char class[12];
	int end = 0;

	/* A later kernel may add fields. */
	if (sscanf(line, "%47s %u %u %11s %11s %llu%n", participant->name,
		   &participant->version, &participant->oldest, participant->level, class,
		   &bytes, &end) != 6 || (line[end] && line[end] != ' '))
		return false;
	if (strcmp(class, "mandatory") && strcmp(class, "optional"))
		return false;
	participant->mandatory = !strcmp(class, "mandatory");
	participant->bytes = bytes;

	return true;
}

enum luctl_status luctl_participants(struct luctl_participant **list, size_t *count)
{
	struct luctl_participant *participants = NULL;
	enum luctl_status status;
	char *text = NULL, *rest, *line;
	size_t used = 0;

	status = luctl_read("participants", &text);
	if (status)
		return status;

	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		participants = luctl_resize(participants, used + 1, sizeof(*participants));
		if (!parse_participant(line, &participants[used])) {
			status = luctl_fail(LUCTL_UNREADABLE, "participants",
					    "use the luctl of this kernel",
					    "a line is not understood: %s", line);
			goto err_free;
		}
		used++;
	}
	free(text);
	*list = participants;
	*count = used;

	return LUCTL_OK;

err_free:
	free(participants);
	free(text);
	return status;
}
