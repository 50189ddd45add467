// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Maps of memory
 *
 * Three maps decide whether the next kernel lives.
 *
 * The next kernel is given the map that the firmware gave to the first one, and
 * changes it by mem= and memmap= of its own command line. kexec_file_load(2) of x86
 * passes e820_table_kexec on, which is what /sys/kernel/boot_params has; it knows
 * nothing of memory that was added later, nor of mem= of this kernel.
 * /sys/firmware/memmap is not the same: the kernel adds hot-plugged memory to it.
 * With CONFIG_KEXEC_HANDOVER_MAP, memory that was added and that this kernel uses for
 * itself is in the map as well, unless a driver manages it. The kernel says in
 * liveupdate/memory_map whether it does that; one without the file does not.
 *
 * What this kernel uses is "System RAM" in /proc/iomem, which has hot-plugged memory
 * as well. Anything there may be preserved, since user space cannot know what is: so
 * all of it has to be in the map of the next kernel. Blocks that are offline hold
 * nothing, and those in ZONE_MOVABLE nothing that can be preserved: memory is moved
 * out of there before. A driver that manages memory is named behind "System RAM".
 *
 * Scratch areas are where the next kernel lives until it knows what is preserved.
 * debugfs has them, in kho/out.
 *
 * Addresses are zero for those who may not see them, and files may be absent. Then a
 * map is not known, which is not the same as empty.
 *
 * The parameters are read as arch/x86/kernel/e820.c reads them. Entries may overlap
 * there, too; e820__update_table() then takes the highest type, and RAM is the lowest.
 */

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline.h"
#include "luctl.h"
#include "memmap.h"

/* A command line of 64 KiB has no more, nor has the firmware. */
#define RANGES_LIMIT	4096

/* Files of sysfs and /proc. */
#define TEXT_LIMIT	(1024 * 1024)

/* In struct boot_params, and in struct boot_e820_entry. */
#define PARAMS_COUNT	0x1e8
#define PARAMS_TABLE	0x2d0
#define PARAMS_ENTRIES	128
#define ENTRY_SIZE	20

/* Of struct setup_data. */
#define SETUP_E820_EXT	1

void luctl_map_drop(struct luctl_map *map)
{
	free(map->list);
	*map = (struct luctl_map){ 0 };
}

static int append(struct luctl_map *map, uint64_t start, uint64_t end, uint32_t type)
{
	if (map->count == RANGES_LIMIT)
		return -E2BIG;

	/* Grow when the count is 0 or a power of two. */
	if (!(map->count & (map->count - 1))) {
		size_t room = map->count ? map->count * 2 : 1;
		struct luctl_range *larger = realloc(map->list, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		map->list = larger;
	}
	map->list[map->count++] = (struct luctl_range){ start, end, type };

	return 0;
}

int luctl_map_add(struct luctl_map *map, uint64_t start, uint64_t end, uint32_t type)
{
	return start < end ? append(map, start, end, type) : 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct luctl_range *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Add what is left of @ram without all other types of @all; @all is in order. */
static int add_ram(struct luctl_map *map, const struct luctl_map *all, struct luctl_range ram)
{
	int err;

	for (size_t i = 0; i < all->count && ram.start < ram.end; i++) {
		const struct luctl_range *other = &all->list[i];

		if (other->type == LUCTL_MAP_RAM || other->end <= ram.start)
			continue;
		if (other->start >= ram.end)
			break;
		err = luctl_map_add(map, ram.start, other->start, LUCTL_MAP_RAM);
		if (err)
			return err;
		ram.start = other->end;
	}

	return luctl_map_add(map, ram.start, ram.end, LUCTL_MAP_RAM);
}

/* Join what overlaps or touches; the ranges are in order. */
static void join(struct luctl_map *map)
{
	size_t last = 0;

	for (size_t i = 1; i < map->count; i++) {
		struct luctl_range *range = &map->list[i];

		if (range->start > map->list[last].end)
			map->list[++last] = *range;
		else if (range->end > map->list[last].end)
			map->list[last].end = range->end;
	}
	if (map->count)
		map->count = last + 1;
}

int luctl_map_settle(struct luctl_map *map)
{
	struct luctl_map completed = { .known = map->known };
	int err = 0;

	if (map->count)
		qsort(map->list, map->count, sizeof(*map->list), compare_ranges);
	for (size_t i = 0; i < map->count && !err; i++) {
		if (map->list[i].type == LUCTL_MAP_RAM)
			err = add_ram(&completed, map, map->list[i]);
	}
	if (err) {
		luctl_map_drop(&completed);
		return err;
	}
	if (completed.count)
		qsort(completed.list, completed.count, sizeof(*completed.list), compare_ranges);
	join(&completed);
	free(map->list);
	*map = completed;

	return 0;
}

bool luctl_map_lacks(const struct luctl_map *map, uint64_t start, uint64_t end,
		     struct luctl_range *missing)
{
	for (size_t i = 0; i < map->count && start < end; i++) {
		const struct luctl_range *range = &map->list[i];

		if (range->end <= start)
			continue;
		if (range->start > start) {
			if (range->start < end)
				end = range->start;
			break;
		}
		start = range->end;
	}
	*missing = (struct luctl_range){ .start = start, .end = end };

	return start < end;
}

uint64_t luctl_map_bytes(const struct luctl_map *map)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < map->count; i++)
		bytes += map->list[i].end - map->list[i].start;

	return bytes;
}

/* mem= and memmap= */

static uint64_t range_end(uint64_t start, uint64_t size)
{
	return size > UINT64_MAX - start ? UINT64_MAX : start + size;
}

/* e820__range_remove(), and with @to e820__range_update(); @from may be 0 for any. */
static int change(struct luctl_map *map, uint64_t start, uint64_t end, uint32_t from,
		  uint32_t to)
{
	size_t count = map->count;
	int err;

	for (size_t i = 0; i < count; i++) {
		struct luctl_range old = map->list[i];
		uint64_t first = old.start > start ? old.start : start;
		uint64_t last = old.end < end ? old.end : end;

		if ((from && old.type != from) || first >= last)
			continue;
		/* An empty range is none. */
		map->list[i].end = first > old.start ? first : old.start;
		err = luctl_map_add(map, last, old.end, old.type);
		if (!err && to)
			err = luctl_map_add(map, first, last, to);
		if (err)
			return err;
	}

	return 0;
}

static int cut(struct luctl_map *map, uint64_t end)
{
	return change(map, end, UINT64_MAX, LUCTL_MAP_RAM, 0);
}

static int apply_mem(struct luctl_map *map, const char *value)
{
	uint64_t size;

	if (!strcmp(value, "nopentium"))
		return 0;
	size = luctl_cmdline_size(&value);

	return size ? cut(map, size) : 0;
}

/* size%start[-from][+to]; the kernel takes one of them only if nothing follows. */
static int apply_type(struct luctl_map *map, uint64_t size, const char *text)
{
	uint64_t start = luctl_cmdline_size(&text);
	uint32_t from = 0, to = 0;
	char *end = (char *)text;

	if (*end == '-')
		from = strtoull(end + 1, &end, 0);
	if (*end == '+')
		to = strtoull(end + 1, &end, 0);
	if (*end)
		return 0;
	if (!from && to)
		return luctl_map_add(map, start, range_end(start, size), to);

	return change(map, start, range_end(start, size), from, to);
}

static int apply_memmap_one(struct luctl_map *map, const char *text)
{
	static const struct {
		char mark;
		uint32_t type;
	} marks[] = {
		{ '@', LUCTL_MAP_RAM }, { '#', LUCTL_MAP_ACPI }, { '$', LUCTL_MAP_RESERVED },
		{ '!', LUCTL_MAP_PRAM },
	};
	const char *next = text;
	uint64_t size, start;

	if (!strncmp(text, "exactmap", 8)) {
		map->count = 0;
		return 0;
	}
	size = luctl_cmdline_size(&next);
	if (next == text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		if (*next != marks[i].mark)
			continue;
		next++;
		start = luctl_cmdline_size(&next);
		return luctl_map_add(map, start, range_end(start, size), marks[i].type);
	}
	if (*next == '%')
		return apply_type(map, size, next + 1);

	return cut(map, size);
}

static int apply_memmap(struct luctl_map *map, char *value)
{
	char *part;
	int err = 0;

	while (!err && (part = strsep(&value, ",")))
		err = apply_memmap_one(map, part);

	return err;
}

int luctl_map_cmdline(struct luctl_map *map, const char *cmdline, bool *changed)
{
	char *copy = luctl_format("%s", cmdline), *rest = copy, *name, *value;
	int err = 0;

	*changed = false;
	while (!err && luctl_cmdline_next(&rest, &name, &value)) {
		bool memmap = luctl_cmdline_is(name, "memmap");

		if (!value || (!memmap && !luctl_cmdline_is(name, "mem")))
			continue;
		*changed = true;
		err = memmap ? apply_memmap(map, value) : apply_mem(map, value);
	}
	free(copy);

	return err;
}

/* What the firmware says. */

static uint32_t get32(const unsigned char *data)
{
	return data[0] | data[1] << 8 | data[2] << 16 | (uint32_t)data[3] << 24;
}

static uint64_t get64(const unsigned char *data)
{
	return get32(data) | (uint64_t)get32(data + 4) << 32;
}

int luctl_map_entries(struct luctl_map *map, const void *data, size_t size)
{
	int err = 0;

	for (const unsigned char *entry = data; size >= ENTRY_SIZE && !err; size -= ENTRY_SIZE) {
		uint64_t start = get64(entry);

		err = luctl_map_add(map, start, range_end(start, get64(entry + 8)),
				    get32(entry + 16));
		entry += ENTRY_SIZE;
	}

	return err;
}

int luctl_map_boot_params(struct luctl_map *map, const void *data, size_t size)
{
	const unsigned char *params = data;

	if (size < LUCTL_BOOT_PARAMS_SIZE || !params[PARAMS_COUNT] ||
	    params[PARAMS_COUNT] > PARAMS_ENTRIES)
		return -EBADMSG;

	return luctl_map_entries(map, params + PARAMS_TABLE,
				 params[PARAMS_COUNT] * ENTRY_SIZE);
}

/* A map of more than 128 entries goes on here. */
static int add_setup_data(struct luctl_map *map)
{
	char *pattern = luctl_format("%s/kernel/boot_params/setup_data/*/type",
				     luctl_options.sysfs);
	glob_t found = { 0 };
	int err = 0;

	if (glob(pattern, 0, NULL, &found))
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc && !err; i++) {
		char *path = found.gl_pathv[i];
		void *type, *data;
		size_t size;

		err = luctl_read_file(path, TEXT_LIMIT, &type, &size);
		if (err)
			break;
		if (strtoul(type, NULL, 0) == SETUP_E820_EXT) {
			memcpy(path + strlen(path) - strlen("type"), "data", strlen("data"));
			err = luctl_read_file(path, TEXT_LIMIT, &data, &size);
			if (!err) {
				err = luctl_map_entries(map, data, size);
				free(data);
			}
		}
		free(type);
	}
	globfree(&found);
	free(pattern);

	return err;
}

void luctl_map_next(struct luctl_map *map)
{
	char *path = luctl_format("%s/kernel/boot_params/data", luctl_options.sysfs);
	size_t size;
	void *data;
	int err;

	err = luctl_read_file(path, TEXT_LIMIT, &data, &size);
	free(path);
	if (err)
		return;
	err = luctl_map_boot_params(map, data, size);
	free(data);
	map->known = !err && !add_setup_data(map);
}

/* What this kernel uses. */

static void add_iomem(struct luctl_map *map, struct luctl_map *driver)
{
	char *text, *rest, *line;
	size_t size;
	void *data;

	if (luctl_read_file("/proc/iomem", TEXT_LIMIT, &data, &size))
		return;
	text = data;
	rest = text;
	map->known = true;
	while ((line = strsep(&rest, "\n"))) {
		unsigned long long start, last;
		int behind = 0;

		if (sscanf(line, "%llx-%llx : System RAM%n", &start, &last, &behind) != 2 ||
		    *line == ' ' || !behind)
			continue;
		map->known &= last && !luctl_map_add(line[behind] ? driver : map, start,
						     range_end(last, 1), LUCTL_MAP_RAM);
	}
	map->known = map->known && map->count;
	free(text);
}

/* A number in a file of one line; 0 if there is none. */
static uint64_t read_number(const char *path, int base)
{
	uint64_t number;
	size_t size;
	void *text;

	if (luctl_read_file(path, 4096, &text, &size))
		return 0;
	number = strtoull(text, NULL, base);
	free(text);

	return number;
}

/* Whether a file of a memory block starts with a word. */
static bool block_says(const char *folder, const char *name, const char *word)
{
	char *path = luctl_format("%s/%s", folder, name);
	bool says = false;
	size_t size;
	void *text;

	if (!luctl_read_file(path, 4096, &text, &size)) {
		says = !strncmp(text, word, strlen(word));
		free(text);
	}
	free(path);

	return says;
}

/* Memory blocks, with CONFIG_MEMORY_HOTPLUG, in which nothing can be preserved. */
static int remove_unused(struct luctl_map *map)
{
	char *pattern = luctl_format("%s/devices/system/memory/memory[0-9]*",
				     luctl_options.sysfs);
	char *size_path = luctl_format("%s/devices/system/memory/block_size_bytes",
				       luctl_options.sysfs);
	uint64_t block = read_number(size_path, 16);
	glob_t found = { 0 };
	int err = 0;

	if (!block || glob(pattern, 0, NULL, &found))
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc && !err; i++) {
		const char *path = found.gl_pathv[i];
		const char *number = strrchr(path, '/') + strlen("/memory");
		uint64_t start = strtoull(number, NULL, 10) * block;

		/* Of a block that is online, valid_zones has the one that it is in. */
		if (block_says(path, "state", "offline") ||
		    block_says(path, "valid_zones", "Movable"))
			err = change(map, start, range_end(start, block), LUCTL_MAP_RAM, 0);
	}
	globfree(&found);
	free(size_path);
	free(pattern);

	return err;
}

void luctl_map_used(struct luctl_map *map, struct luctl_map *driver)
{
	int err;

	add_iomem(map, driver);
	err = remove_unused(map) ?: remove_unused(driver);
	err = err ?: luctl_map_settle(map);
	err = err ?: luctl_map_settle(driver);
	map->known &= !err;
}

bool luctl_map_follows(void)
{
	char *path = luctl_format("%s/kernel/liveupdate/memory_map", luctl_options.sysfs);
	bool follows = false;
	size_t size;
	void *text;

	if (!luctl_read_file(path, 4096, &text, &size)) {
		follows = !strcmp(text, "present\n");
		free(text);
	}
	free(path);

	return follows;
}

/* The numbers of a file, a line each; their number, or -1. */
static int read_column(const char *name, uint64_t *numbers, int limit)
{
	char *path = luctl_format("%s/kernel/debug/kho/out/%s", luctl_options.sysfs, name);
	char *rest, *line, *end;
	int count = 0;
	size_t size;
	void *text;

	if (luctl_read_file(path, TEXT_LIMIT, &text, &size))
		count = -1;
	free(path);
	if (count < 0)
		return count;

	rest = text;
	while (count >= 0 && (line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		if (count == limit) {
			count = -1;
			break;
		}
		numbers[count++] = strtoull(line, &end, 16);
		if (*end)
			count = -1;
	}
	free(text);

	return count;
}

void luctl_map_scratch(struct luctl_map *map)
{
	static uint64_t starts[RANGES_LIMIT], sizes[RANGES_LIMIT];
	int count = read_column("scratch_phys", starts, RANGES_LIMIT);

	if (count <= 0 || read_column("scratch_len", sizes, RANGES_LIMIT) != count)
		return;

	map->known = true;
	for (int i = 0; i < count; i++)
		map->known &= !append(map, starts[i], range_end(starts[i], sizes[i]),
				      LUCTL_MAP_RAM);
}
