// SPDX-License-Identifier: GPL-2.0
/*
 * The memory map of the next kernel, as an e820 table.
 *
 * The map of the firmware is e820_table_kexec. What this kernel made of it at
 * boot is e820_table, whose RAM is in the tree of resources as "System RAM"; what
 * is missing there was removed since, and what is there but in neither was added.
 * RAM that this kernel was told not to use (mem=) is no business of the next one,
 * and stays in the map.
 */

#include <linux/errno.h>
#include <linux/kexec.h>
#include <linux/kho_map.h>
#include <linux/string.h>

#include <asm/bootparam.h>
#include <asm/e820/api.h>

static int kho_map_add_e820(struct kho_map *map, const struct e820_table *table)
{
	int err = 0;

	for (u32 i = 0; !err && i < table->nr_entries; i++) {
		const struct e820_entry *entry = &table->entries[i];

		if (entry->type == E820_TYPE_RAM)
			err = kho_map_add(map, entry->addr,
					  entry->addr + entry->size);
	}

	return err;
}

/* kho_map_add() or kho_map_remove() for all ranges of another map. */
static int kho_map_each(struct kho_map *map, const struct kho_map *other,
			int (*change)(struct kho_map *map, u64 start, u64 end))
{
	int err = 0;

	for (unsigned int i = 0; !err && i < other->nr; i++)
		err = change(map, other->range[i].start, other->range[i].end);

	return err;
}

/* RAM of the firmware's map that is there no more. */
static int kho_map_removed(struct kho_map *removed)
{
	struct kho_map there = {};
	int err;

	err = kho_map_add_e820(removed, e820_table);
	err = err ?: kho_map_add_system_ram(&there, false);
	err = err ?: kho_map_each(removed, &there, kho_map_remove);
	kho_map_free(&there);

	return err;
}

/* RAM of which the firmware's map says nothing at all. */
static int kho_map_added(struct kho_map *added, bool needed)
{
	int err = kho_map_add_system_ram(added, needed);

	for (u32 i = 0; !err && i < e820_table_kexec->nr_entries; i++) {
		const struct e820_entry *entry = &e820_table_kexec->entries[i];

		err = kho_map_remove(added, entry->addr,
				     entry->addr + entry->size);
	}

	return err;
}

/**
 * arch_kho_map() - the RAM of which the next kernel is told
 * @ram: filled in
 * @needed: without added memory that must not or need not be in it
 *
 * Return: 0 or -ENOMEM.
 */
int arch_kho_map(struct kho_map *ram, bool needed)
{
	struct kho_map removed = {}, added = {};
	int err;

	err = kho_map_removed(&removed);
	err = err ?: kho_map_added(&added, needed);
	err = err ?: kho_map_add_e820(ram, e820_table_kexec);
	err = err ?: kho_map_each(ram, &removed, kho_map_remove);
	err = err ?: kho_map_each(ram, &added, kho_map_add);
	kho_map_free(&removed);
	kho_map_free(&added);

	return err;
}

static int kho_append_e820(struct boot_params *params, u64 start, u64 end,
			   enum e820_type type)
{
	if (params->e820_entries == E820_MAX_ENTRIES_ZEROPAGE)
		return -E2BIG;

	params->e820_table[params->e820_entries++] = (struct boot_e820_entry){
		.addr = start,
		.size = end - start,
		.type = type,
	};

	return 0;
}

static int kho_write_e820(struct boot_params *params, const struct kho_map *ram)
{
	int err = 0;

	params->e820_entries = 0;
	for (u32 i = 0; !err && i < e820_table_kexec->nr_entries; i++) {
		const struct e820_entry *entry = &e820_table_kexec->entries[i];

		if (entry->type != E820_TYPE_RAM)
			err = kho_append_e820(params, entry->addr,
					      entry->addr + entry->size,
					      entry->type);
	}
	for (unsigned int i = 0; !err && i < ram->nr; i++)
		err = kho_append_e820(params, ram->range[i].start,
				      ram->range[i].end, E820_TYPE_RAM);
	if (err)
		pr_err("KHO: the memory map of the next kernel has more than %d entries\n",
		       E820_MAX_ENTRIES_ZEROPAGE);

	return err;
}

/**
 * kho_setup_e820() - tell an image of all memory in which something is preserved
 * @image: the image
 * @params: its boot parameters, with the firmware's map
 *
 * Images without Kexec HandOver are left alone.
 *
 * Return: 0; -E2BIG if the map has more entries than fit; or as
 * kho_image_check().
 */
int kho_setup_e820(struct kimage *image, struct boot_params *params)
{
	struct kho_map ram = {};
	int err;

	if (!image->kho.fdt)
		return 0;

	err = arch_kho_map(&ram, true);
	err = err ?: kho_write_e820(params, &ram);
	err = err ?: kho_image_set_map(image, &ram);
	kho_map_free(&ram);

	return err;
}
