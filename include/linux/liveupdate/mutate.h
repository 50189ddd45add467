/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Corruption to handed-over memory in bulk, for KUnit. The idea is in
 * kernel/liveupdate/tests/luo_mutate.c.
 */

#ifndef _LINUX_LIVEUPDATE_MUTATE_H
#define _LINUX_LIVEUPDATE_MUTATE_H

#include <linux/crc32.h>
#include <linux/kho/abi/table.h>
#include <linux/prandom.h>
#include <linux/types.h>

struct kunit;
struct page;

#define LUO_MUTATE_AREAS	16
#define LUO_MUTATE_FIELDS	768

/**
 * struct luo_mutate_area - memory that the previous kernel left
 * @page: where it is.
 * @order: number of pages, as a power of two.
 * @used: bytes that mean something, from the start; 0 if no corruption is done
 *	there.
 */
struct luo_mutate_area {
	struct page *page;
	unsigned int order;
	size_t used;
};

/**
 * struct luo_mutate_field - a number in one of the areas
 * @area: which area.
 * @offset: where in the area.
 * @size: bytes: 1, 2, 4 or 8.
 */
struct luo_mutate_field {
	u16 area;
	u16 offset;
	u8 size;
};

/**
 * struct luo_mutate - images of what the previous kernel left
 * @test: the test.
 * @rnd: where the corruption comes from, seeded anew for each image.
 * @areas: the memory.
 * @nr_areas: number of @areas.
 * @fields: numbers that are worth a try.
 * @nr_fields: number of @fields.
 * @own: memory of this kernel, which nobody handed over.
 * @image: number of the image.
 * @count: number of images.
 * @taint: flags of this kernel before the test.
 * @total: pages that this kernel manages, before the test.
 * @free: free pages, before the test.
 */
struct luo_mutate {
	struct kunit *test;
	struct rnd_state rnd;
	struct luo_mutate_area areas[LUO_MUTATE_AREAS];
	unsigned int nr_areas;
	struct luo_mutate_field fields[LUO_MUTATE_FIELDS];
	unsigned int nr_fields;
	struct page *own;
	unsigned int image;
	unsigned int count;
	unsigned long taint;
	unsigned long total;
	long free;
};

/**
 * struct luo_mutate_case - a case
 * @name: its name.
 * @sealed: checksums are corrected after the corruption.
 * @share: how many of a thousand images it gets.
 */
struct luo_mutate_case {
	const char *name;
	bool sealed;
	unsigned int share;
};

/**
 * struct luo_mutate_table - a table in an image
 * @head: area of its head.
 * @blocks: area of its first block; those of the others follow.
 * @compatible: name of what is in the records.
 * @record_size: bytes of a record.
 */
struct luo_mutate_table {
	unsigned int head;
	unsigned int blocks;
	const char *compatible;
	u32 record_size;
};

/**
 * luo_mutate_crc() - a checksum as formats that have a field for it use it
 * @crc: checksum of what comes before, 0 at the start
 * @data: what to add
 * @size: bytes of it
 *
 * Context: any.
 * Return: the checksum.
 */
static inline u32 luo_mutate_crc(u32 crc, const void *data, size_t size)
{
	return ~crc32_le(~crc, data, size);
}

void luo_mutate_begin(struct luo_mutate *mutate, struct kunit *test,
		      unsigned int share);
unsigned int luo_mutate_area(struct luo_mutate *mutate, unsigned int order);
bool luo_mutate_next(struct luo_mutate *mutate);
void *luo_mutate_mem(const struct luo_mutate *mutate, unsigned int area);
u64 luo_mutate_phys(const struct luo_mutate *mutate, unsigned int area);
void luo_mutate_field(struct luo_mutate *mutate, unsigned int area,
		      const void *field, size_t size);
void luo_mutate_write_table(struct luo_mutate *mutate,
			    const struct luo_mutate_table *table, u32 nr_records);
void *luo_mutate_record(const struct luo_mutate *mutate,
			const struct luo_mutate_table *table, u32 position,
			unsigned int *area);
void luo_mutate_seal_table(const struct luo_mutate *mutate,
			   const struct luo_mutate_table *table);
void luo_mutate_corruption(struct luo_mutate *mutate);
bool luo_mutate_reserved(const struct luo_mutate *mutate, unsigned int area);
unsigned int luo_mutate_nr_reserved(const struct luo_mutate *mutate);
bool luo_mutate_wrong(struct luo_mutate *mutate, bool wrong, const char *what);
void luo_mutate_end(struct luo_mutate *mutate);
int luo_mutate_kunit_init(struct kunit *test);
void luo_mutate_kunit_exit(struct kunit *test);

#endif /* _LINUX_LIVEUPDATE_MUTATE_H */
