// SPDX-License-Identifier: GPL-2.0
/*
 * The memory map of the next kernel.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/cleanup.h>
#include <linux/errno.h>
#include <linux/ioport.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_map.h>
#include <linux/kho_radix_tree.h>
#include <linux/limits.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/range.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "kexec_handover_internal.h"

/**
 * DOC: Memory map of the next kernel
 *
 * The next kernel reads what was preserved where it lies, before it has a page
 * allocator, and so long before any driver could find memory for it. All of it,
 * and the pages in which Kexec HandOver keeps its own tables, must be in the map
 * of memory that this kernel gives the next one with the image. The map that
 * firmware gave at power-on is not enough: memory that was added since is not
 * in it, and memory that was taken out still is.
 *
 * Therefore an image that carries Kexec HandOver gets a map of what is there:
 *
 *	map of the firmware - removed + added and used for the kernel
 *
 * Three kinds of added memory are not in it. Memory that is offline, or online
 * in ZONE_MOVABLE, holds nothing that was preserved: the next kernel finds it as
 * this one did, and can give it back as this one could. Memory that a driver
 * manages (virtio-mem, dax/kmem) must not be used before that driver says so.
 *
 * The map is remembered in the image (kho_image_set_map()). kho_image_check()
 * compares it with what was preserved when the image is loaded, and once more
 * when everything that takes part in a live update is frozen, as the last thing
 * that can refuse the kexec. Memory may have come and gone in between.
 *
 * Both cost nothing that counts where all memory is in the map: what was
 * preserved is looked at only if there is memory outside of it, and then only in
 * those parts of the tree that reach outside.
 *
 * Context: all functions here may sleep.
 */

/* Makes room for one more range; what is not used is zero. */
static int kho_map_grow(struct kho_map *map)
{
	unsigned int slots = max(2 * map->slots, 16U);
	struct range *range;

	if (map->nr < map->slots)
		return 0;

	range = krealloc_array(map->range, slots, sizeof(*range),
			       GFP_KERNEL | __GFP_ZERO);
	if (!range)
		return -ENOMEM;
	map->range = range;
	map->slots = slots;

	return 0;
}

/**
 * kho_map_add() - add a range to a map
 * @map: the map
 * @start: first byte
 * @end: first byte behind the range
 *
 * Return: 0 or -ENOMEM.
 */
int kho_map_add(struct kho_map *map, u64 start, u64 end)
{
	int err = kho_map_grow(map);

	if (err)
		return err;

	add_range_with_merge(map->range, map->slots, map->nr, start, end);
	map->nr = clean_sort_range(map->range, map->slots);

	return 0;
}

/**
 * kho_map_remove() - remove a range from a map
 * @map: the map
 * @start: first byte
 * @end: first byte behind the range
 *
 * Return: 0 or -ENOMEM.
 */
int kho_map_remove(struct kho_map *map, u64 start, u64 end)
{
	int err = kho_map_grow(map);

	if (err)
		return err;

	subtract_range(map->range, map->slots, start, end);
	map->nr = clean_sort_range(map->range, map->slots);

	return 0;
}

/**
 * kho_map_contains() - is all of a range in a map?
 * @range: the ranges of the map
 * @nr: number of them
 * @start: first byte
 * @end: first byte behind the range
 *
 * Return: true if it is.
 */
bool kho_map_contains(const struct range *range, unsigned int nr, u64 start,
		      u64 end)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (range[i].start <= start && end <= range[i].end)
			return true;
	}

	return false;
}

/**
 * kho_map_free() - free the ranges of a map
 * @map: the map, which is empty afterwards
 */
void kho_map_free(struct kho_map *map)
{
	kfree(map->range);
	*map = (struct kho_map){};
}

/* Can something that was preserved lie in the section of this page? */
static bool kho_map_section_used(u64 phys)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(phys));

	return page && !is_zone_movable_page(page);
}

static int kho_map_add_used(struct resource *res, void *data)
{
	const u64 size = PFN_PHYS(PAGES_PER_SECTION);
	u64 start = res->start, end;
	int err;

	if (res->flags & IORESOURCE_SYSRAM_DRIVER_MANAGED)
		return 0;

	for (; start <= res->end; start = end) {
		end = min(ALIGN_DOWN(start, size) + size, (u64)res->end + 1);
		if (!kho_map_section_used(end - PAGE_SIZE))
			continue;
		err = kho_map_add(data, start, end);
		if (err)
			return err;
	}

	return 0;
}

static int kho_map_add_resource(struct resource *res, void *data)
{
	return kho_map_add(data, res->start, (u64)res->end + 1);
}

/**
 * kho_map_add_system_ram() - add the memory of this kernel to a map
 * @map: the map
 * @needed: only memory that the next kernel must be told of; otherwise all
 *
 * Return: 0 or -ENOMEM.
 */
int kho_map_add_system_ram(struct kho_map *map, bool needed)
{
	return walk_system_ram_res(0, U64_MAX, map,
				   needed ? kho_map_add_used :
					    kho_map_add_resource);
}

/**
 * kho_image_set_map() - remember which memory an image is told of
 * @image: the image
 * @ram: the memory
 *
 * Return: 0; -E2BIG if there are too many ranges; or as kho_image_check().
 */
int kho_image_set_map(struct kimage *image, const struct kho_map *ram)
{
	if (ram->nr > ARRAY_SIZE(image->kho.ram))
		return -E2BIG;

	memcpy(image->kho.ram, ram->range, ram->nr * sizeof(*ram->range));
	image->kho.nr_ram = ram->nr;

	return kho_image_check(image);
}

/* What lies outside of the map. */
struct kho_outside {
	const struct kimage *image;
	struct kho_map now;		/* the map if it were loaded again */
	unsigned int nr;
	unsigned int own;		/* pages of KHO, among @nr */
	unsigned int lost;		/* also outside of @now, among @nr */
	u64 bytes;
};

static bool kho_image_contains(const struct kimage *image, u64 start, u64 end)
{
	return kho_map_contains(image->kho.ram, image->kho.nr_ram, start, end);
}

static int kho_outside_range(struct kho_outside *outside, u64 start, u64 end)
{
	if (kho_image_contains(outside->image, start, end))
		return 0;

	outside->nr++;
	outside->bytes += end - start;
	if (!kho_map_contains(outside->now.range, outside->now.nr, start, end))
		outside->lost++;

	return 1;
}

static bool kho_outside_skip(unsigned long first, unsigned long last, void *data)
{
	const struct kho_outside *outside = data;
	unsigned int order, last_order;
	phys_addr_t start, end;

	start = kho_decode_radix_key(first, &order);
	end = kho_decode_radix_key(last, &last_order);

	return order == last_order &&
		kho_image_contains(outside->image, start,
				   end + (PAGE_SIZE << order));
}

static int kho_outside_leaf(unsigned long key, void *data)
{
	unsigned int order;
	phys_addr_t phys = kho_decode_radix_key(key, &order);

	kho_outside_range(data, phys, phys + (PAGE_SIZE << order));

	return 0;
}

static int kho_outside_node(phys_addr_t phys, void *data)
{
	struct kho_outside *outside = data;

	outside->own += kho_outside_range(outside, phys, phys + PAGE_SIZE);

	return 0;
}

static const struct kho_radix_walk_cb kho_outside_cb = {
	.skip = kho_outside_skip,
	.leaf = kho_outside_leaf,
	.node = kho_outside_node,
};

static int kho_outside_resource(struct resource *res, void *data)
{
	return !kho_image_contains(data, res->start, (u64)res->end + 1);
}

/* Is everything that was preserved in the map of the image? */
static int kho_image_check_preserved(const struct kimage *image)
{
	struct kho_outside outside = { .image = image };
	int err;

	for (unsigned int i = 0; i < kho_scratch_cnt; i++) {
		const struct kho_scratch *scratch = &kho_scratch[i];

		if (!kho_image_contains(image, scratch->addr,
					scratch->addr + scratch->size)) {
			pr_err("scratch memory was removed, no kernel can be booted from it\n");
			return -ERANGE;
		}
	}

	if (walk_system_ram_res(0, U64_MAX, (void *)image,
				kho_outside_resource) <= 0)
		return 0;

	err = arch_kho_map(&outside.now, true);
	if (!err)
		err = kho_radix_walk_tree(kho_preserved_tree(), &kho_outside_cb,
					  &outside);
	kho_map_free(&outside.now);
	if (err || !outside.nr)
		return err;

	if (outside.lost) {
		pr_err("%u preserved ranges (%llu KiB, %u pages of KHO's own among them) lie in memory of which the next kernel is not told, because a driver manages it or it is movable\n",
		       outside.nr, outside.bytes / SZ_1K, outside.own);
		return -ERANGE;
	}

	pr_err("%u preserved ranges (%llu KiB, %u pages of KHO's own among them) lie in memory that was added since the image was loaded: load it again\n",
	       outside.nr, outside.bytes / SZ_1K, outside.own);

	return -ESTALE;
}

/* Is everything in the map of the image still there? */
static int kho_image_check_present(const struct kimage *image)
{
	struct kho_map present = {};
	int err = arch_kho_map(&present, false);

	for (unsigned int i = 0; !err && i < image->kho.nr_ram; i++) {
		const struct range *ram = &image->kho.ram[i];

		if (!kho_map_contains(present.range, present.nr, ram->start,
				      ram->end)) {
			pr_err("memory was removed since the image was loaded: load it again\n");
			err = -ESTALE;
		}
	}
	kho_map_free(&present);

	return err;
}

/**
 * kho_image_check() - does the next kernel know of all that was preserved?
 * @image: an image that is loaded
 *
 * Images without Kexec HandOver pass.
 *
 * Return: 0; -ERANGE if something lies in memory that the next kernel cannot be
 * told of; -ESTALE if memory came or went since the image was loaded; -ENOMEM.
 */
int kho_image_check(const struct kimage *image)
{
	int err;

	if (!image->kho.nr_ram)
		return 0;

	err = kho_image_check_present(image);

	return err ?: kho_image_check_preserved(image);
}
