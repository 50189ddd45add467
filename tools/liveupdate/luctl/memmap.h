/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Maps of memory
 *
 * See memmap.c.
 */

#ifndef _LUCTL_MEMMAP_H
#define _LUCTL_MEMMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types of entries, as the firmware counts them; there are more. */
#define LUCTL_MAP_RAM		1
#define LUCTL_MAP_RESERVED	2
#define LUCTL_MAP_ACPI		3
#define LUCTL_MAP_PRAM		12

/* Bytes of struct boot_params. */
#define LUCTL_BOOT_PARAMS_SIZE	4096

/* From @start to before @end. */
struct luctl_range {
	uint64_t start;
	uint64_t end;
	uint32_t type;
};

/**
 * struct luctl_map - ranges of physical memory
 * @list: ranges; they may overlap, and what is not RAM as well is not RAM.
 * @count: their number.
 * @known: all of them could be read.
 */
struct luctl_map {
	struct luctl_range *list;
	size_t count;
	bool known;
};

/* Forget all ranges. */
void luctl_map_drop(struct luctl_map *map);

/* Add a range, unless it is empty. 0, -E2BIG or -ENOMEM. */
int luctl_map_add(struct luctl_map *map, uint64_t start, uint64_t end, uint32_t type);

/* Reduce the map to its RAM: ranges in order that do not touch. 0 or as above. */
int luctl_map_settle(struct luctl_map *map);

/**
 * luctl_map_lacks() - find what a settled map does not have of a range
 * @map: the map
 * @start: where the range starts
 * @end: before where it ends
 * @missing: the first part of it that the map does not have
 *
 * Return: whether there is such a part.
 */
bool luctl_map_lacks(const struct luctl_map *map, uint64_t start, uint64_t end,
		     struct luctl_range *missing);

/* Bytes of RAM in a settled map. */
uint64_t luctl_map_bytes(const struct luctl_map *map);

/**
 * luctl_map_cmdline() - apply a command line to a map as a kernel of x86 does
 * @map: the map; not settled
 * @cmdline: the command line
 * @changed: whether it has mem= or memmap=
 *
 * Return: 0, -E2BIG if that makes too many ranges, or -ENOMEM.
 */
int luctl_map_cmdline(struct luctl_map *map, const char *cmdline, bool *changed);

/**
 * luctl_map_boot_params() - add the map in struct boot_params
 * @map: the map
 * @data: the structure; not trusted
 * @size: bytes
 *
 * Return: 0, -EBADMSG if it is none, -E2BIG, or -ENOMEM.
 */
int luctl_map_boot_params(struct luctl_map *map, const void *data, size_t size);

/* Add entries of such a map that lie elsewhere, in a setup_data. As above. */
int luctl_map_entries(struct luctl_map *map, const void *data, size_t size);

/* The map that the next kernel is given; not settled, and not known if not readable. */
void luctl_map_next(struct luctl_map *map);

/**
 * luctl_map_used() - what this kernel uses as RAM and may preserve
 * @map: without what is offline or movable; settled, and not known if not readable
 * @driver: likewise what drivers manage; settled
 */
void luctl_map_used(struct luctl_map *map, struct luctl_map *driver);

/* Whether the next kernel is given memory that was added to this one, too. */
bool luctl_map_follows(void);

/* The scratch areas of Kexec HandOver in their order, empty ones, too; not settled. */
void luctl_map_scratch(struct luctl_map *map);

#endif /* _LUCTL_MEMMAP_H */
