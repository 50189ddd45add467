// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Judgement on the boot of the next kernel
 *
 * A next kernel that can read what it is handed may still die before it does, when
 * its console says nothing yet. What is known to kill it is found here.
 *
 * Memory. The next kernel reads the list of scratch areas, the tree of KHO and all
 * that is preserved through its direct map, which covers the memory of its own map.
 * If that lacks any of them, it dies of a page fault, in kho_scratch_overlap() at the
 * earliest. memmap.c tells what the maps are. Anything that this kernel uses may be
 * preserved.
 *
 * Parameters. memtest= overwrites all memory that is not reserved, which at that time
 * is all that is preserved. With elfcorehdr= the kernel works as if it dumped a
 * crashed one, and takes nothing over; neither does it without kho= and liveupdate=.
 *
 * Scratch. Until the next kernel has read the list of what is preserved, it allocates
 * from scratch areas alone; there it is loaded as well. Their size is chosen when the
 * first kernel boots, and kept from then on. Loading needs areas in which the image,
 * with what it unpacks to, and the initramfs each fit in one piece. Booting needs, of
 * all areas together, both of these and what is allocated before memblock_free_all().
 *
 * What that is was measured with memblock=debug in the second kernel, under QEMU/TCG,
 * with 512 MiB to 5 GiB of memory and one to four processors:
 *
 * - 64 bytes of struct page for each page of 4 KiB, for whole sections of 128 MiB,
 *   even if they are initialized later (8204 KiB for 512 MiB, 81932 KiB for 5 GiB);
 * - the hash tables of dentries and inodes, 1.5/1024 of the memory, rounded up to a
 *   power of two (768 KiB, 12288 KiB); above 64 GiB the kernel halves the share with
 *   every fourfold;
 * - per-CPU areas in pieces of 2 MiB (2052 KiB); for more processors, what this
 *   kernel has, "Percpu" in /proc/meminfo;
 * - with log_buf_len=, 4.5 times as much: text, descriptors and information;
 * - what was equal everywhere: 2 MiB to set up page tables, and about 3 MiB of command
 *   lines, resources, tables of ACPI and the like. FIXED_NEED.
 *
 * Bounce buffers (swiotlb, 64 MiB where memory lies above 4 GiB) come last and shrink
 * to what is left, so they do not count. crashkernel=, cma=, hugetlb_cma= and
 * reserve_mem= are allocated early, and only if they fit: they count if they do. A
 * crash kernel above 4 GiB takes another 256 MiB below; crashkernel= with ",cma" takes
 * what it gets, in pieces that are halved until they fit. The sum is increased by an
 * eighth, MARGIN, since the firmware and the number of preserved ranges have a share as
 * well.
 *
 * A kernel with other options may need much more; KASAN has a shadow of an eighth of
 * the memory. So what this kernel took when it booted is known as well: pages that are
 * present but not managed, without its image, bounce buffers and memory for a crash
 * kernel. The larger of both counts. It cannot be told from what is preserved in a
 * kernel that was itself handed over to; but then that one came up in this scratch.
 *
 * The kernel also takes whole blocks of 1 GiB in which nothing is preserved for
 * scratch (kho_extend_scratch()). Whether there are any is known only after prepare
 * and changes with each, so they do not count: a boot that depends on them is refused.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "cmdline.h"
#include "memmap.h"

#define KIB		1024UL
#define MIB		(1024UL * KIB)
#define GIB		(1024UL * MIB)

#define SECTION		(128 * MIB)
#define SECTION_MEMMAP	(2 * MIB)
#define PERCPU_PIECE	(2 * MIB)
#define FIXED_NEED	(6 * MIB)
#define MARGIN		8

/* Of the reservation for a crash kernel; what is below 4 GiB, and a slot of swiotlb. */
#define CRASH_ALIGN	(16 * MIB)
#define CRASH_LOW	(256 * MIB)
#define LOW_END		(4 * GIB)
#define SWIOTLB_SLOT	(2 * KIB)
#define CRASH_CMA_PIECES	4
#define CRASH_CMA_UNIT	(4 * MIB)

/* SCRATCH_ALIGNMENT_BYTES: areas are a multiple of it. */
#define AREA_UNIT	(4 * MIB)

/* Where kexec_file_load(2) of x86 puts things, and purgatory, parameters and so on. */
#define LOWEST_KERNEL	MIB
#define LOWEST_INITRD	(16 * MIB)
#define LOAD_EXTRAS	(512 * KIB)

#define THING_CMDLINE	"command line"
#define THING_MEMORY	"memory"
#define THING_SCRATCH	"scratch"

/* What a boot needs of scratch memory, in bytes. */
struct need {
	uint64_t image;
	uint64_t initrd;
	uint64_t pages;
	uint64_t tables;
	uint64_t processors;
	uint64_t parameters;
	uint64_t rest;
	uint64_t total;
};

static uint64_t round_up(uint64_t size, uint64_t unit)
{
	return (size + unit - 1) / unit * unit;
}

static unsigned long long mib(uint64_t bytes)
{
	return round_up(bytes, MIB) / MIB;
}

/* The bytes of a line of /proc/meminfo, 0 if there is none. */
static uint64_t memory_info(const char *name)
{
	size_t length = strlen(name), size;
	char *rest, *line;
	uint64_t kib = 0;
	void *text;

	if (luctl_read_file("/proc/meminfo", 64 * KIB, &text, &size))
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, name, length) && line[length] == ':')
			kib = strtoull(line + length + 1, NULL, 10);
	}
	free(text);

	return kib * KIB;
}

/* The number in a file of sysfs, 0 if there is none. */
static uint64_t sysfs_number(const char *name)
{
	char *path = luctl_format("%s/%s", luctl_options.sysfs, name);
	uint64_t number = 0;
	size_t size;
	void *text;

	if (!luctl_read_file(path, 64 * KIB, &text, &size)) {
		number = strtoull(text, NULL, 0);
		free(text);
	}
	free(path);

	return number;
}

/* Whether this kernel was itself handed over to. */
static bool handed_over(void)
{
	char *path = luctl_format("%s/kernel/debug/kho/in", luctl_options.sysfs);
	bool found = !access(path, F_OK);

	free(path);

	return found;
}

/* Parameters of the next kernel. */

/* An unsigned value other than 0. */
static bool counts(const char *cmdline, const char *name, bool without_value)
{
	char *value = luctl_cmdline_last(cmdline, name);
	bool found = value && (*value ? strtoull(value, NULL, 0) : without_value);

	free(value);

	return found;
}

static void judge_killers(const struct luctl_boot *boot, struct luctl_findings *findings)
{
	char *header;

	if (counts(boot->cmdline, "memtest", true))
		luctl_find(findings, LUCTL_VERDICT_NO_GO, THING_CMDLINE,
			   luctl_format("memtest= overwrites what is preserved"),
			   luctl_format("leave memtest= away"));

	header = luctl_cmdline_last(boot->cmdline, "elfcorehdr");
	if (header && *header)
		luctl_find(findings, LUCTL_VERDICT_NO_GO, THING_CMDLINE,
			   luctl_format("elfcorehdr= makes a crash kernel that takes nothing over"),
			   luctl_format("leave elfcorehdr= away"));
	free(header);
}

/* Without these, the next kernel comes up as after a plain kexec. */
static void judge_switches(const struct luctl_boot *boot, struct luctl_findings *findings)
{
	static const char *const needed[] = { "kho", "liveupdate" };

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (luctl_cmdline_setting(boot->cmdline, needed[i]) != LUCTL_ON)
			luctl_find(findings, LUCTL_VERDICT_NO_GO, THING_CMDLINE,
				   luctl_format("without %s=on the next kernel takes nothing over",
						needed[i]),
				   luctl_format("give --append \"kho=on liveupdate=on\""));
	}
}

/* As kho_parse_scratch_size() understands it. */
static bool scratch_valid(const char *value)
{
	size_t length = strlen(value);
	uint64_t total = 0;
	char *end;

	if (length && value[length - 1] == '%') {
		unsigned long scale = strtoul(value, &end, 10);

		return length > 1 && *value >= '0' && *value <= '9' && end == value + length - 1 &&
		       scale <= UINT32_MAX;
	}
	for (int i = 0; i < 3; i++) {
		const char *start;

		if (i && *value++ != ',')
			return false;
		start = value;
		total += luctl_cmdline_size(&value);
		if (value == start)
			return false;
	}

	return total && !*value;
}

/* These do not matter for this boot, which inherits its scratch, but for a later one. */
static void judge_scratch_parameter(const struct luctl_boot *boot,
				    struct luctl_findings *findings)
{
	static const char look_up[] = "look up what that kernel calls it; this boot needs none";
	static const char syntax[] =
		"write kho_scratch=N% or kho_scratch=N[KMG],N[KMG],N[KMG]; this boot needs none";
	char *value = luctl_cmdline_last(boot->cmdline, "kho_scratch");

	if (value && !boot->image->has_kho_scratch)
		luctl_find(findings, LUCTL_VERDICT_GO, THING_CMDLINE,
			   luctl_format("the image does not know kho_scratch="),
			   luctl_format("%s", look_up));
	else if (value && !scratch_valid(value))
		luctl_find(findings, LUCTL_VERDICT_GO, THING_CMDLINE,
			   luctl_format("kho_scratch=%s is not understood and ignored", value),
			   luctl_format("%s", syntax));
	free(value);
}

static void judge_movable_node(const struct luctl_boot *boot, struct luctl_findings *findings)
{
	static const char why[] = {
		"movable_node keeps the early boot out of memory that can be unplugged, where scratch may be"
	};
	char *next = luctl_cmdline_last(boot->cmdline, "movable_node"), *here = NULL;
	size_t size;
	void *text;

	if (next && !luctl_read_file("/proc/cmdline", 64 * KIB, &text, &size)) {
		here = luctl_cmdline_last(text, "movable_node");
		free(text);
	}
	if (next && !here)
		luctl_unjudged(findings, THING_CMDLINE,
			       luctl_format("%s", why),
			       luctl_format("boot this kernel with movable_node as well"));
	free(here);
	free(next);
}

/* Memory. */

static void lacks(struct luctl_findings *findings, const char *thing, bool by_cmdline,
		  const struct luctl_range *missing, const char *what, char *advice)
{
	luctl_find(findings, LUCTL_VERDICT_NO_GO, thing,
		   luctl_format("%s cuts off %s at 0x%llx-0x%llx", by_cmdline ?
				"mem= or memmap=" : "the map that the next kernel is given", what,
				(unsigned long long)missing->start,
				(unsigned long long)missing->end - 1), advice);
}

static void judge_map(const struct luctl_map *map, const struct luctl_map *used,
		      const struct luctl_map *scratch, struct luctl_findings *findings)
{
	static const char advice[] =
		"leave mem= and memmap= away, or boot this kernel with the same";
	struct luctl_range missing;

	for (size_t i = 0; i < scratch->count; i++) {
		if (luctl_map_lacks(map, scratch->list[i].start, scratch->list[i].end, &missing)) {
			lacks(findings, THING_CMDLINE, true, &missing,
			      "scratch memory, where the next kernel lives at first,",
			      luctl_format("%s", advice));
			return;
		}
	}
	for (size_t i = 0; i < used->count; i++) {
		if (luctl_map_lacks(map, used->list[i].start, used->list[i].end, &missing)) {
			lacks(findings, THING_CMDLINE, true, &missing,
			      "memory that this kernel uses and may preserve",
			      luctl_format("%s", advice));
			return;
		}
	}
}

/* What is found without the command line is not found again with it. */
static void remove_missing(struct luctl_map *used, const struct luctl_map *map)
{
	struct luctl_range missing;
	size_t kept = 0;

	for (size_t i = 0; i < used->count; i++) {
		if (!luctl_map_lacks(map, used->list[i].start, used->list[i].end, &missing))
			used->list[kept++] = used->list[i];
	}
	used->count = kept;
}

static int copy_map(struct luctl_map *copy, const struct luctl_map *map)
{
	int err = 0;

	copy->known = map->known;
	for (size_t i = 0; i < map->count && !err; i++)
		err = luctl_map_add(copy, map->list[i].start, map->list[i].end,
				    map->list[i].type);

	return err;
}

/* Add the ranges of one map to another; it is settled again. */
static int unite(struct luctl_map *map, const struct luctl_map *other)
{
	int err = 0;

	for (size_t i = 0; i < other->count && !err; i++)
		err = luctl_map_add(map, other->list[i].start, other->list[i].end,
				    other->list[i].type);

	return err ?: luctl_map_settle(map);
}

/*
 * Add to @map what this kernel uses and the firmware says nothing of, as
 * CONFIG_KEXEC_HANDOVER_MAP does; what it says to be no RAM stays that.
 */
static int follow(struct luctl_map *map, const struct luctl_map *used)
{
	struct luctl_map said = { 0 };
	struct luctl_range missing;
	int err = copy_map(&said, map);

	for (size_t i = 0; i < said.count; i++)
		said.list[i].type = LUCTL_MAP_RAM;
	err = err ?: luctl_map_settle(&said);
	for (size_t i = 0; i < used->count && !err; i++) {
		uint64_t start = used->list[i].start, end = used->list[i].end;

		while (!err && luctl_map_lacks(&said, start, end, &missing)) {
			err = luctl_map_add(map, missing.start, missing.end, LUCTL_MAP_RAM);
			start = missing.end;
		}
	}
	luctl_map_drop(&said);

	return err;
}

/* Memory that was added after the firmware gave the map. */
static void judge_added(const struct luctl_map *map, struct luctl_map *used,
			struct luctl_findings *findings)
{
	static const char advice[] = {
		"set it offline or online as movable, or reboot without a live update into a kernel with CONFIG_KEXEC_HANDOVER_MAP, which can do it"
	};
	struct luctl_range missing;

	for (size_t i = 0; i < used->count; i++) {
		if (luctl_map_lacks(map, used->list[i].start, used->list[i].end, &missing))
			lacks(findings, THING_MEMORY, false, &missing,
			      "memory that was added to this kernel and that it may preserve",
			      luctl_format("%s", advice));
	}
	remove_missing(used, map);
}

/* The kernel refuses to lose what is preserved there, but nobody knows whether there is. */
static void judge_driver(const struct luctl_map *driver, struct luctl_findings *findings)
{
	static const char why[] = {
		"a driver manages 0x%llx-0x%llx, of which the next kernel is not told: kexec_file_load(2) or reboot(2) fails with ERANGE if something there is preserved"
	};

	for (size_t i = 0; i < driver->count; i++)
		luctl_unjudged(findings, THING_MEMORY,
			       luctl_format(why, (unsigned long long)driver->list[i].start,
					    (unsigned long long)driver->list[i].end - 1),
			       luctl_format("boot with memhp_default_state=online_movable"));
}

/* Leaves the map that the next kernel makes of @map, in order. */
static void judge_memory(const struct luctl_boot *boot, struct luctl_map *map,
			 const struct luctl_map *scratch, struct luctl_findings *findings)
{
	struct luctl_map used = { 0 }, driver = { 0 }, given = { 0 };
	bool changed = false;
	int err;

	luctl_map_used(&used, &driver);
	if (!map->known || !used.known) {
		luctl_unjudged(findings, THING_MEMORY,
			       luctl_format("%s cannot be read", map->known ? "/proc/iomem" :
					    "/sys/kernel/boot_params"),
			       luctl_format("run luctl as root"));
		goto out;
	}

	err = luctl_map_follows() ? follow(map, &used) : unite(&used, &driver);
	err = err ?: copy_map(&given, map) ?: luctl_map_settle(&given);
	if (!err) {
		judge_added(&given, &used, findings);
		if (luctl_map_follows())
			judge_driver(&driver, findings);
	}
	if (!err && boot->cmdline)
		err = luctl_map_cmdline(map, boot->cmdline, &changed);
	err = err ?: luctl_map_settle(map);
	if (err) {
		char *why = luctl_errno_text(-err);

		luctl_unjudged(findings, THING_MEMORY,
			       luctl_format("the map is not understood: %s", why),
			       luctl_format("look whether the command line is right"));
		free(why);
		map->known = false;
		goto out;
	}
	if (changed)
		judge_map(map, &used, scratch, findings);
	if (changed && !scratch->known)
		luctl_unjudged(findings, THING_CMDLINE,
			       luctl_format("mem= or memmap= may cut off scratch memory"),
			       luctl_format("run luctl as root with debugfs mounted"));
out:
	luctl_map_drop(&used);
	luctl_map_drop(&driver);
	luctl_map_drop(&given);
}

/* Scratch: what the boot needs. */

static uint64_t count_sections(const struct luctl_map *map)
{
	uint64_t count = 0, next = 0;

	for (size_t i = 0; i < map->count; i++) {
		uint64_t first = map->list[i].start / SECTION;
		uint64_t end = (map->list[i].end + SECTION - 1) / SECTION;

		if (first < next)
			first = next;
		if (end > first) {
			count += end - first;
			next = end;
		}
	}

	return count;
}

static uint64_t hash_tables(uint64_t memory)
{
	uint64_t size = 1;

	while (size < memory && size << 1)
		size <<= 1;
	size = size / KIB * 3 / 2;
	for (uint64_t adapted = 64 * GIB; adapted < memory && adapted << 2; adapted <<= 2)
		size /= 2;

	return size;
}

/* Whether a value of crashkernel= ends so. */
static bool has_suffix(const char *value, const char *suffix)
{
	size_t length = strlen(value), end = strlen(suffix);

	return length >= end && !strcmp(value + length - end, suffix);
}

/* The last crashkernel= with this ending, of those that have none with NULL; or NULL. */
static char *last_crash(const char *cmdline, const char *suffix)
{
	static const char *const known[] = { ",high", ",low", ",cma" };
	char *copy = luctl_format("%s", cmdline), *rest = copy, *found = NULL, *name, *value;

	while (luctl_cmdline_next(&rest, &name, &value)) {
		bool any = false;

		if (!value || !luctl_cmdline_is(name, "crashkernel"))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			any |= has_suffix(value, known[i]);
		if (suffix ? !has_suffix(value, suffix) : any)
			continue;
		free(found);
		found = luctl_format("%s", value);
	}
	free(copy);

	return found;
}

/* What crashkernel= without an ending asks for in a machine of so much memory. */
static uint64_t crash_size(const char *value, uint64_t memory, uint64_t *base)
{
	const char *next = value;
	uint64_t size, start, end;

	*base = 0;
	memory = round_up(memory, SECTION);
	if (!strchr(value, ':')) {
		size = luctl_cmdline_size(&next);
		if (*next == '@') {
			next++;
			*base = luctl_cmdline_size(&next);
		} else if (*next) {
			return 0;
		}
		return size;
	}

	/* start-[end]:size[,...][@base] */
	do {
		start = luctl_cmdline_size(&next);
		end = UINT64_MAX;
		if (*next++ != '-')
			return 0;
		if (*next != ':')
			end = luctl_cmdline_size(&next);
		if (*next++ != ':')
			return 0;
		size = luctl_cmdline_size(&next);
		if (memory >= start && memory < end) {
			next = strchr(next, '@');
			if (next) {
				next++;
				*base = luctl_cmdline_size(&next);
			}
			return size;
		}
	} while (*next++ == ',');

	return 0;
}

/* Whether an area has room for so much between two addresses, as aligned there. */
static bool has_room(const struct luctl_map *scratch, uint64_t lowest, uint64_t highest,
		     uint64_t size)
{
	for (size_t i = 0; i < scratch->count; i++) {
		const struct luctl_range *area = &scratch->list[i];
		uint64_t start = area->start > lowest ? area->start : lowest;
		uint64_t end = area->end < highest ? area->end : highest;

		if (end > start && end - start >= size &&
		    (end - size) / CRASH_ALIGN * CRASH_ALIGN >= start)
			return true;
	}

	return false;
}

/* The part below 4 GiB of a crash kernel above it, if none is asked for. */
static uint64_t default_low(const char *cmdline)
{
	char *value = luctl_cmdline_last(cmdline, "swiotlb");
	uint64_t buffers = value ? strtoul(value, NULL, 0) * SWIOTLB_SLOT : 0;

	free(value);

	return buffers + 8 * MIB > CRASH_LOW ? buffers + 8 * MIB : CRASH_LOW;
}

/*
 * What is reserved for a crash kernel, as reserve_crashkernel_generic() does it. Above
 * 4 GiB it needs a part below that, with ",high" or if there is no room below.
 */
static uint64_t crash_memory(const char *cmdline, const struct luctl_map *scratch,
			     uint64_t memory, struct luctl_findings *findings)
{
	static const char misfit[] = {
		"crashkernel=%s does not fit into the scratch areas: it takes %llu MiB in one piece%s"
	};
	static const char advice[] = {
		"load no crash kernel in that kernel, or boot this one with a larger kho_scratch="
	};
	char *value = last_crash(cmdline, NULL), *low_value = NULL, *where;
	uint64_t size = 0, base = 0, low = default_low(cmdline), total = 0;
	bool high = false;

	if (value) {
		size = crash_size(value, memory, &base);
	} else {
		const char *next = value = last_crash(cmdline, ",high");

		high = value;
		size = high ? luctl_cmdline_size(&next) : 0;
		low_value = last_crash(cmdline, ",low");
		next = low_value;
		if (next)
			low = luctl_cmdline_size(&next);
	}

	if (base)
		total = has_room(scratch, base, base + size, size) ? size : 0;
	else if (!high && has_room(scratch, 0, LOW_END, size))
		total = size;
	else if (has_room(scratch, LOW_END, UINT64_MAX, size))
		total = !low || has_room(scratch, 0, LOW_END, low) ? size + low : 0;
	else if (has_room(scratch, 0, LOW_END, size))
		total = size;
	where = base ? luctl_format(" at that address") :
		low ? luctl_format(", and %llu MiB more below 4 GiB if that is above", mib(low)) :
		luctl_format("%s", "");
	if (size && !total)
		luctl_find(findings, LUCTL_VERDICT_GO, THING_CMDLINE,
			   luctl_format(misfit, value, mib(size), where),
			   luctl_format("%s", advice));
	free(where);
	free(value);
	free(low_value);

	return size ? total : 0;
}

/* Put something into the first area that has room for it, from above; false if none has. */
static bool place(struct luctl_map *scratch, uint64_t lowest, uint64_t size, uint64_t align)
{
	for (size_t i = 0; i < scratch->count; i++) {
		struct luctl_range *area = &scratch->list[i];
		uint64_t start = area->start > lowest ? area->start : lowest, at;

		if (area->end < start || area->end - start < size)
			continue;
		at = (area->end - size) / align * align;
		if (at < start)
			continue;
		/* What is left above it by the alignment is not counted. */
		area->end = at;
		return true;
	}

	return !size;
}

/* What is reserved besides it with ",cma": as reserve_crashkernel_cma() does it. */
static uint64_t crash_cma(const char *cmdline, const struct luctl_map *scratch)
{
	char *value = last_crash(cmdline, ",cma");
	const char *next = value;
	uint64_t wanted = next ? luctl_cmdline_size(&next) : 0, piece = wanted, total = 0;
	struct luctl_map left = { 0 };
	int pieces = 0;

	if (copy_map(&left, scratch))
		piece = 0;
	while (total < wanted && pieces < CRASH_CMA_PIECES && piece >= CRASH_CMA_UNIT) {
		if (place(&left, 0, piece, CRASH_CMA_UNIT)) {
			total += piece;
			pieces++;
		} else {
			piece = round_up(piece / 2, 4 * KIB);
		}
	}
	luctl_map_drop(&left);
	free(value);

	return total;
}

/* Sizes in a list like "0:1G,1:1G" or of one size, as hugetlb_cma= has them. */
static uint64_t list_size(const char *value)
{
	uint64_t total = 0;

	for (;;) {
		const char *next = value;
		uint64_t size = luctl_cmdline_size(&next);

		if (next == value)
			return total;
		if (*next == ':') {
			next++;
			size = luctl_cmdline_size(&next);
		}
		total += size;
		if (*next != ',')
			return total;
		value = next + 1;
	}
}

static uint64_t largest_area(const struct luctl_map *scratch)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < scratch->count; i++) {
		uint64_t size = scratch->list[i].end - scratch->list[i].start;

		if (size > largest)
			largest = size;
	}

	return largest;
}

/* What parameters take of scratch before the boot gets its share, if that fits. */
static uint64_t parameters(const struct luctl_boot *boot, const struct luctl_map *scratch,
			   uint64_t memory, struct luctl_findings *findings)
{
	static const char misfit[] =
		"%s=%s does not fit into scratch areas of at most %llu MiB";
	static const char advice[] =
		"do without it, or boot this kernel with a larger kho_scratch=";
	char *copy = luctl_format("%s", boot->cmdline ?: ""), *rest = copy, *name, *value;
	uint64_t largest = largest_area(scratch), total;

	total = crash_memory(boot->cmdline ?: "", scratch, memory, findings) +
		crash_cma(boot->cmdline ?: "", scratch);
	while (luctl_cmdline_next(&rest, &name, &value)) {
		const char *text = value;
		uint64_t size = 0;

		if (!value)
			continue;
		if (luctl_cmdline_is(name, "cma") || luctl_cmdline_is(name, "reserve_mem"))
			size = luctl_cmdline_size(&text);
		else if (luctl_cmdline_is(name, "hugetlb_cma"))
			size = list_size(value);
		else if (luctl_cmdline_is(name, "log_buf_len"))
			size = luctl_cmdline_size(&text) * 9 / 2;
		if (!size)
			continue;
		if (size <= largest)
			total += size;
		else
			luctl_find(findings, LUCTL_VERDICT_GO, THING_CMDLINE,
				   luctl_format(misfit, name, value, mib(largest)),
				   luctl_format("%s", advice));
	}
	free(copy);

	return total;
}

/* Bytes of this kernel's image. */
static uint64_t own_image(void)
{
	char *rest, *line;
	uint64_t total = 0;
	size_t size;
	void *text;

	if (luctl_read_file("/proc/iomem", MIB, &text, &size))
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		unsigned long long start, last;
		char part[8];

		if (sscanf(line, " %llx-%llx : Kernel %7s", &start, &last, part) == 3 &&
		    last > start)
			total += last - start + 1;
	}
	free(text);

	return total;
}

/* What this kernel took when it booted and did not give back, but for its image. */
static uint64_t own_boot(void)
{
	uint64_t pages = 0, bytes, other;
	char *rest, *line;
	size_t size;
	void *text;

	if (handed_over() || luctl_read_file("/proc/zoneinfo", MIB, &text, &size))
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		unsigned long long number;

		if (sscanf(line, " present %llu", &number) == 1)
			pages += number;
		else if (sscanf(line, " managed %llu", &number) == 1)
			pages -= number;
	}
	free(text);

	bytes = pages * sysconf(_SC_PAGESIZE);
	other = own_image() + sysfs_number("kernel/kexec_crash_size") +
		sysfs_number("kernel/debug/swiotlb/io_tlb_nslabs") * 2 * KIB;

	return bytes > other ? bytes - other : 0;
}

static struct need find_need(const struct luctl_boot *boot, const struct luctl_map *map,
			     const struct luctl_map *scratch, struct luctl_findings *findings)
{
	uint64_t memory = luctl_map_bytes(map), percpu = memory_info("Percpu"), known, own;
	struct need need = {
		.image = round_up(boot->image->load_size, 4 * KIB),
		.initrd = round_up(boot->initrd, 4 * KIB),
		.pages = count_sections(map) * SECTION_MEMMAP,
		.tables = hash_tables(memory),
		.processors = round_up(percpu ?: 1, PERCPU_PIECE),
		.parameters = parameters(boot, scratch, memory, findings),
		.rest = FIXED_NEED,
	};

	known = need.pages + need.tables + need.processors + need.rest;
	own = own_boot();
	if (own > known)
		need.rest += own - known;
	need.rest += (need.pages + need.tables + need.processors + need.rest) / MARGIN;
	need.total = need.image + need.initrd + need.pages + need.tables + need.processors +
		     need.parameters + need.rest;

	return need;
}

/* As kexec_file_load(2) of x86 does it. */
static bool can_load(const struct luctl_boot *boot, const struct luctl_map *scratch,
		     const struct need *need)
{
	uint64_t lowest = boot->image->load_address > LOWEST_KERNEL ?
			  boot->image->load_address : LOWEST_KERNEL;
	struct luctl_map left = { 0 };
	bool fits;

	fits = !copy_map(&left, scratch) &&
	       place(&left, 0, LOAD_EXTRAS, 64 * KIB) &&
	       place(&left, lowest, need->image, boot->image->load_align ?: 1) &&
	       place(&left, LOWEST_INITRD, need->initrd, 4 * KIB);
	luctl_map_drop(&left);

	return fits;
}

static uint64_t size_of(const struct luctl_map *scratch, size_t index)
{
	return index < scratch->count ?
	       scratch->list[index].end - scratch->list[index].start : 0;
}

/* kho_scratch= that would do; the areas are lowmem, global, and one for each node. */
static char *enough_scratch(const struct luctl_boot *boot, const struct luctl_map *scratch,
			    const struct need *need)
{
	uint64_t low = size_of(scratch, 0), global = size_of(scratch, 1), node = 0, nodes = 0;
	uint64_t pieces = need->image + need->initrd + LOAD_EXTRAS + boot->image->load_align;

	for (size_t i = 2; i < scratch->count; i++) {
		if (size_of(scratch, i) > node)
			node = size_of(scratch, i);
		nodes += size_of(scratch, i);
	}
	if (low + nodes + global < need->total)
		global = need->total - low - nodes;
	if (global < pieces)
		global = pieces;

	return luctl_format("kho_scratch=%lluM,%lluM,%lluM", mib(low),
			    mib(round_up(global, AREA_UNIT)), mib(node));
}

static char *describe_areas(const struct luctl_map *scratch)
{
	char *text = luctl_format("%s", "");

	for (size_t i = 0; i < scratch->count; i++) {
		char *longer = luctl_format("%s%s%llu", text, i ? " + " : "",
					    mib(size_of(scratch, i)));

		free(text);
		text = longer;
	}

	return text;
}

static uint64_t total_size(const struct luctl_map *scratch)
{
	uint64_t total = 0;

	for (size_t i = 0; i < scratch->count; i++)
		total += size_of(scratch, i);

	return total;
}

static struct json_object *json_scratch(const struct luctl_map *scratch,
					const struct need *need, const char *enough)
{
	struct json_object *object = json_object_new_object();
	struct json_object *areas = json_object_new_array(), *parts = json_object_new_object();

	for (size_t i = 0; i < scratch->count; i++)
		json_object_array_add(areas, json_object_new_int64(size_of(scratch, i)));
	json_object_object_add(parts, "image", json_object_new_int64(need->image));
	json_object_object_add(parts, "initrd", json_object_new_int64(need->initrd));
	json_object_object_add(parts, "pages", json_object_new_int64(need->pages));
	json_object_object_add(parts, "tables", json_object_new_int64(need->tables));
	json_object_object_add(parts, "processors", json_object_new_int64(need->processors));
	json_object_object_add(parts, "parameters", json_object_new_int64(need->parameters));
	json_object_object_add(parts, "rest", json_object_new_int64(need->rest));
	json_object_object_add(object, "bytes", json_object_new_int64(total_size(scratch)));
	json_object_object_add(object, "areas", areas);
	json_object_object_add(object, "needed", json_object_new_int64(need->total));
	json_object_object_add(object, "parts", parts);
	json_object_object_add(object, "kho_scratch", enough ? json_object_new_string(enough) :
			       NULL);

	return object;
}

static struct json_object *judge_scratch(const struct luctl_boot *boot,
					 const struct luctl_map *map,
					 const struct luctl_map *scratch,
					 struct luctl_findings *findings)
{
	static const char misfit[] = {
		"the image (%llu MiB unpacked) and the initramfs (%llu MiB) cannot be loaded into the scratch areas of %s MiB"
	};
	static const char too_small[] = {
		"the boot needs %llu MiB of scratch memory, but there are %s MiB: image %llu, initramfs %llu, struct pages %llu, hash tables %llu, processors %llu, parameters %llu, the rest and a margin %llu"
	};
	static const char advice[] = {
		"boot this kernel with %s, or without kho_scratch=, which takes twice what that boot needs"
	};
	struct need need = find_need(boot, map, scratch, findings);
	char *enough = NULL, *areas = describe_areas(scratch);
	bool loads = can_load(boot, scratch, &need);
	struct json_object *object;

	if (!loads || total_size(scratch) < need.total)
		enough = enough_scratch(boot, scratch, &need);
	if (!loads)
		luctl_find(findings, LUCTL_VERDICT_NO_GO, THING_SCRATCH,
			   luctl_format(misfit, mib(need.image), mib(need.initrd), areas),
			   luctl_format("boot this kernel with %s, or use a smaller initramfs",
					enough));
	else if (total_size(scratch) < need.total)
		luctl_find(findings, LUCTL_VERDICT_NO_GO, THING_SCRATCH,
			   luctl_format(too_small, mib(need.total), areas, mib(need.image),
					mib(need.initrd), mib(need.pages), mib(need.tables),
					mib(need.processors), mib(need.parameters),
					mib(need.rest)),
			   luctl_format(advice, enough));
	object = json_scratch(scratch, &need, enough);
	free(areas);
	free(enough);

	return object;
}

struct json_object *luctl_judge_boot(const struct luctl_boot *boot,
				     struct luctl_findings *findings)
{
	static const char needs_debugfs[] = {
		"run luctl as root with debugfs mounted, in a kernel with CONFIG_KEXEC_HANDOVER_DEBUGFS"
	};
	static const char other_machine[] =
		"luctl does not know what a kernel of this machine needs of scratch memory";
	struct luctl_map map = { 0 }, scratch = { 0 };
	struct json_object *object = NULL;

	if (boot->cmdline) {
		judge_switches(boot, findings);
		judge_killers(boot, findings);
		judge_scratch_parameter(boot, findings);
	}
	if (boot->elsewhere) {
		luctl_unjudged(findings, THING_MEMORY,
			       luctl_format("the machine that it will boot on is not known"),
			       luctl_format("check it there without --from, too"));
		return NULL;
	}
	/* The rest is known of x86 only. */
	if (boot->image->machine != LUCTL_MACHINE_X86_64) {
		luctl_unjudged(findings, THING_MEMORY,
			       luctl_format("%s", other_machine),
			       luctl_format("try it on a machine without workload"));
		return NULL;
	}

	if (boot->cmdline)
		judge_movable_node(boot, findings);
	luctl_map_next(&map);
	luctl_map_scratch(&scratch);
	judge_memory(boot, &map, &scratch, findings);
	if (!scratch.known)
		luctl_unjudged(findings, THING_SCRATCH,
			       luctl_format("its size is not known: %s%s cannot be read",
					    luctl_options.sysfs, "/kernel/debug/kho/out"),
			       luctl_format("%s", needs_debugfs));
	else if (map.known && boot->image->load_size)
		object = judge_scratch(boot, &map, &scratch, findings);
	luctl_map_drop(&map);
	luctl_map_drop(&scratch);

	return object;
}
