// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: /sys/kernel/liveupdate
 *
 * Reading and writing of its files, described in
 * Documentation/ABI/testing/sysfs-kernel-liveupdate. All of luctl reads files
 * through luctl_read_file().
 */

#include <dirent.h>
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

/* A text file of sysfs; the lists of devices are the longest. */
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

/* A file of a subsystem, to be freed; NULL if it went away, or that was reported. */
static char *subsystem_file(const char *name, const char *file, enum luctl_status *status)
{
	char *folder = luctl_format("subsystems/%s", name);
	char *path = luctl_path(folder);
	char *text = NULL;

	if (!access(path, F_OK)) {
		char *both = luctl_format("%s/%s", folder, file);

		*status = luctl_read(both, &text);
		free(both);
	}
	free(path);
	free(folder);

	return text;
}

static bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);

	return !errno && *text >= '0' && *text <= '9' && !*end;
}

/* From its name and the files @text, in the order of subsystem_files. */
static bool parse_subsystem(char *const *text, struct luctl_subsystem *subsystem)
{
	uint64_t version, oldest;

	if (!parse_number(text[0], &version) || version > UINT32_MAX ||
	    !parse_number(text[1], &oldest) || oldest > UINT32_MAX ||
	    !*text[2] || strlen(text[2]) >= sizeof(subsystem->level) ||
	    (strcmp(text[3], "mandatory") && strcmp(text[3], "optional")) ||
	    !parse_number(text[4], &subsystem->bytes))
		return false;
	subsystem->version = version;
	subsystem->oldest = oldest;
	strcpy(subsystem->level, text[2]);
	subsystem->mandatory = !strcmp(text[3], "mandatory");

	return true;
}

#define SUBSYSTEM_FILES	5

/* One subsystem more, unless it goes away meanwhile. */
static enum luctl_status add_subsystem(const char *name, struct luctl_subsystem **list,
				       size_t *count)
{
	static const char *const files[SUBSYSTEM_FILES] = {
		"version", "oldest", "level", "class", "bytes",
	};
	char *text[SUBSYSTEM_FILES] = { NULL };
	struct luctl_subsystem *subsystem;
	enum luctl_status status = LUCTL_OK;
	size_t found = 0;

	if (strlen(name) >= sizeof(subsystem->name))
		return LUCTL_OK;
	while (found < SUBSYSTEM_FILES) {
		text[found] = subsystem_file(name, files[found], &status);
		if (!text[found])
			break;
		found++;
	}
	if (found == SUBSYSTEM_FILES) {
		*list = luctl_resize(*list, *count + 1, sizeof(**list));
		subsystem = &(*list)[*count];
		strcpy(subsystem->name, name);
		if (parse_subsystem(text, subsystem))
			++*count;
		else
			status = luctl_fail(LUCTL_UNREADABLE, name,
					    "use the luctl of this kernel",
					    "a subsystem is not understood: %s %s %s %s %s",
					    text[0], text[1], text[2], text[3], text[4]);
	}
	while (found--)
		free(text[found]);

	return status;
}

/* By level, as they are prepared, and then by name; unknown levels come last. */
static int level_position(const char *level)
{
	static const char *const levels[] = { "workload", "devices", "irq", "iommu", "memory" };
	size_t i = 0;

	while (i < ARRAY_SIZE(levels) && strcmp(levels[i], level))
		i++;

	return i;
}

static int compare_subsystems(const void *a, const void *b)
{
	const struct luctl_subsystem *first = a, *second = b;
	int difference = level_position(first->level) - level_position(second->level);

	return difference ?: strcmp(first->name, second->name);
}

enum luctl_status luctl_subsystems(struct luctl_subsystem **list, size_t *count)
{
	char *path = luctl_path("subsystems");
	DIR *folder = opendir(path);
	enum luctl_status status = LUCTL_OK;
	struct dirent *entry;

	*list = NULL;
	*count = 0;
	if (!folder)
		status = luctl_no_file("subsystems", errno);
	while (!status && (entry = readdir(folder))) {
		if (*entry->d_name != '.')
			status = add_subsystem(entry->d_name, list, count);
	}
	if (folder)
		closedir(folder);
	free(path);
	if (status) {
		free(*list);
		*list = NULL;
		*count = 0;
	} else if (*count) {
		qsort(*list, *count, sizeof(**list), compare_subsystems);
	}

	return status;
}
