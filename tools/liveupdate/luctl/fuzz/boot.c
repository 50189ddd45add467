// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Fuzzing of command lines and maps of memory
 *
 * A target for libFuzzer: a command line up to the first zero, then a struct
 * boot_params, or as much as there is of entries of such a map. What is left of the
 * map has to be in order and must not touch, whatever went in.
 *
 * The command line is also one that is used again, with what follows its first line
 * added: what comes out must be the same when it is used again in the same way.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmdline.h"
#include "../luctl.h"
#include "../memmap.h"
#include "../nextline.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct luctl_options luctl_options = { .sysfs = "/nonexistent" };

/* What the rest of luctl has for these files. */

static const char *own_cmdline = "";

char *luctl_format(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);

	return text;
}

int luctl_read_file(const char *path, size_t limit, void **data, size_t *size)
{
	*data = NULL;
	*size = 0;
	if (strcmp(path, "/proc/cmdline") || strlen(own_cmdline) > limit)
		return -ENOENT;
	*data = luctl_format("%s\n", own_cmdline);
	*size = strlen(*data);

	return 0;
}

enum luctl_status luctl_fail(enum luctl_status status, const char *thing, const char *advice,
			     const char *format, ...)
{
	(void)thing;
	(void)advice;
	(void)format;

	return status;
}

enum luctl_status luctl_fail_errno(enum luctl_status status, int err, const char *thing,
				   const char *advice, const char *format, ...)
{
	(void)err;
	(void)thing;
	(void)advice;
	(void)format;

	return status;
}

static void use(struct luctl_map *map)
{
	struct luctl_range missing;

	for (size_t i = 0; i < map->count; i++) {
		const struct luctl_range *range = &map->list[i];

		if (range->start >= range->end || range->type != LUCTL_MAP_RAM)
			abort();
		if (i && range->start <= range[-1].end)
			abort();
		if (luctl_map_lacks(map, range->start, range->end, &missing))
			abort();
		if (i && !luctl_map_lacks(map, range[-1].start, range->end, &missing))
			abort();
		if (i && (missing.start != range[-1].end || missing.end != range->start))
			abort();
	}
	luctl_map_bytes(map);
}

static void use_again(char *cmdline)
{
	char *append = strchr(cmdline, '\n'), *once, *twice;
	struct luctl_line line = { .reuse = true };

	if (append) {
		*append++ = '\0';
		line.append = append;
	}
	own_cmdline = cmdline;
	if (luctl_line_make(&line, &once)) {
		free(once);
		return;
	}
	own_cmdline = once;
	if (luctl_line_make(&line, &twice) || strcmp(once, twice))
		abort();
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	size_t length = strnlen((const char *)data, size);
	char *cmdline = strndup((const char *)data, length);
	const unsigned char *rest = data + length + (length < size);
	size_t left = size - length - (length < size);
	struct luctl_map map = { 0 };
	bool changed;
	char *value;

	if (!cmdline)
		abort();
	if (luctl_map_boot_params(&map, rest, left))
		luctl_map_entries(&map, rest, left);
	if (!luctl_map_cmdline(&map, cmdline, &changed) && !luctl_map_settle(&map))
		use(&map);
	luctl_map_drop(&map);

	value = luctl_cmdline_last(cmdline, "memmap");
	if (value && strlen(value) > length)
		abort();
	free(value);
	use_again(cmdline);
	free(cmdline);

	return 0;
}
