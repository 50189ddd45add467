// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Files that are checked and loaded
 *
 * An image is looked into and then loaded, and it must be the same. So it is opened
 * once: what replaces it under its name, as a package does, is not seen. What writes
 * to the very file is: the bytes that were looked into are kept and compared, and so
 * is the time of the last write, after the kernel has read it. The kernel is not given
 * a copy in memory, because policies on what may be loaded look at where the file is
 * and at its attributes.
 *
 * Only regular files are read. Opening does not wait for the other end of a FIFO.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "luctl.h"

enum luctl_status luctl_file_open(struct luctl_file *file, const char *path)
{
	int err = 0;

	*file = (struct luctl_file){ .path = path };
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		err = errno;
	else if (fstat(file->fd, &file->status))
		err = errno;
	else if (S_ISDIR(file->status.st_mode))
		err = EISDIR;
	if (err) {
		luctl_file_close(file);
		return luctl_fail_errno(LUCTL_UNREADABLE, err, path, err == EACCES ?
					"run luctl as root" : err == EISDIR ?
					"give a file, not a directory" : "give a file that exists",
					NULL);
	}
	if (!S_ISREG(file->status.st_mode)) {
		luctl_file_close(file);
		return luctl_fail(LUCTL_UNREADABLE, path, "copy what it has to a file",
				  "it is no regular file");
	}

	return LUCTL_OK;
}

/* As much as there is, or @size bytes; their number or a negative errno. */
static ssize_t read_some(const struct luctl_file *file, unsigned char *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(file->fd, data + done, size - done, done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		done += got;
	}

	return done;
}

ssize_t luctl_file_peek(const struct luctl_file *file, void *data, size_t size)
{
	return read_some(file, data, size);
}

int luctl_file_read(struct luctl_file *file, size_t limit)
{
	uint64_t size = file->status.st_size;
	ssize_t got;

	if (size > limit)
		return -EFBIG;
	file->data = malloc(size + 1);
	if (!file->data)
		return -ENOMEM;
	got = read_some(file, file->data, size);
	if (got < 0)
		return got;
	file->size = got;

	return 0;
}

/* Whether the file has the bytes that were read, and no others. */
static bool same_bytes(const struct luctl_file *file)
{
	unsigned char piece[65536];
	size_t done = 0;
	ssize_t got;

	for (;;) {
		do {
			got = pread(file->fd, piece, sizeof(piece), done);
		} while (got < 0 && errno == EINTR);
		if (got <= 0)
			return !got && done == file->size;
		if ((size_t)got > file->size - done || memcmp(piece, file->data + done, got))
			return false;
		done += got;
	}
}

bool luctl_file_changed(const struct luctl_file *file)
{
	const struct stat *before = &file->status;
	struct stat now;

	return fstat(file->fd, &now) || now.st_size != before->st_size ||
	       now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec ||
	       (file->data && !same_bytes(file));
}

void luctl_file_close(struct luctl_file *file)
{
	if (file->path && file->fd >= 0)
		close(file->fd);
	free(file->data);
	*file = (struct luctl_file){ 0 };
}
