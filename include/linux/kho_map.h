/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_KHO_MAP_H
#define _LINUX_KHO_MAP_H

#include <linux/range.h>
#include <linux/types.h>

struct kimage;

/* How many ranges an image can be told of: as many as an e820 table has. */
#define KHO_MAP_MAX	128

/**
 * struct kho_map - a set of physical addresses
 * @range: disjoint ranges in ascending order; the end is the first byte behind
 * @nr: number of ranges
 * @slots: number of ranges that @range has room for
 */
struct kho_map {
	struct range *range;
	unsigned int nr;
	unsigned int slots;
};

#ifdef CONFIG_KEXEC_HANDOVER_MAP
int kho_map_add(struct kho_map *map, u64 start, u64 end);
int kho_map_remove(struct kho_map *map, u64 start, u64 end);
int kho_map_add_system_ram(struct kho_map *map, bool needed);
bool kho_map_contains(const struct range *range, unsigned int nr, u64 start,
		      u64 end);
void kho_map_free(struct kho_map *map);

int kho_image_set_map(struct kimage *image, const struct kho_map *ram);
int kho_image_check(const struct kimage *image);

/* Of the architecture. */
int arch_kho_map(struct kho_map *ram, bool needed);
#else
static inline int kho_image_check(const struct kimage *image)
{
	return 0;
}
#endif

#endif /* _LINUX_KHO_MAP_H */
