// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Corrupted images of what the previous kernel left, in bulk
 *
 * For KUnit tests of those who read what is handed over: they must validate it all,
 * so they are given a great many images of it that are wrong somewhere.
 *
 * An image
 *   A few areas of memory, each as KHO leaves it to the next kernel: not accounted as
 *   memory of this kernel, and with the mark of KHO on its first page. Restoring or
 *   freeing it is thus done by the real functions, which complain if something is
 *   taken twice. kho_is_restorable() confirms these areas to the test, and nothing else.
 *   luo_mutate_next() brings back what the image before has lost, then
 *   the test writes what an intact kernel would have left, in full, since areas may
 *   have moved.
 *
 * Tables
 *   luo_mutate_write_table() writes what include/linux/kho/abi/table.h has around the
 *   records, luo_mutate_record() says where they go, and luo_mutate_seal_table()
 *   computes the checksums, before or after the corruption.
 *
 * Corruption
 *   luo_mutate_corruption() does one to three things: flips a bit, overwrites a byte,
 *   sets one of the numbers that the test has pointed out to something that numbers
 *   should not be (the ends of their range, a little more or less, a power of two,
 *   the address of another area, an address within one, one of memory that nobody
 *   handed over, or of none), copies a piece of one area into another one, swaps two
 *   areas, or clears the rest of one. A test that corrects the checksums afterwards
 *   leaves everything to the checks of the fields.
 *
 * Judgment
 *   That is for the test, with luo_mutate_wrong(), which names the image. After all of
 *   them luo_mutate_end() looks for what no single image shows: a warning, also one
 *   that the console does not have, and pages that are gone.
 *
 * Which images
 *   The corruption of an image depends on nothing but the seed, the number of the image
 *   and the test. They are parameters of the kernel:
 *
 *   ======================= ======================================================
 *   liveupdate_mutate.seed  which images, printed by every test
 *   liveupdate_mutate.count images for all tests together
 *   liveupdate_mutate.first number of the first one
 *   liveupdate_mutate.image the one that is under way, to be read if it never ends
 *   ======================= ======================================================
 *
 * Context: one test at a time, in its thread.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/visibility.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/liveupdate/mutate.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/panic.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmstat.h>

/* Pages that may be on their way back to the allocator. */
#define LUO_MUTATE_DRIFT	512

/* Records of each block whose entries are pointed out. */
#define LUO_MUTATE_ENTRIES	3

/* Readers complain of nearly every image. Ask for more with a console that is quiet. */
#define LUO_MUTATE_COUNT	2000

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX	"liveupdate_mutate."

static unsigned int luo_mutate_seed = 1;
module_param_named(seed, luo_mutate_seed, uint, 0444);
MODULE_PARM_DESC(seed, "which corruption is done to images");

static unsigned int luo_mutate_count = LUO_MUTATE_COUNT;
module_param_named(count, luo_mutate_count, uint, 0444);
MODULE_PARM_DESC(count, "number of corrupted images, for all tests together");

static unsigned int luo_mutate_first;
module_param_named(first, luo_mutate_first, uint, 0444);
MODULE_PARM_DESC(first, "number of the first image of each test");

static unsigned int luo_mutate_image;
module_param_named(image, luo_mutate_image, uint, 0444);
MODULE_PARM_DESC(image, "number of the image that is under way");

/* Stubs have no argument for it. */
static struct luo_mutate *luo_mutate_running;

/* What kho_is_restorable() says after a real jump. */
static bool luo_mutate_is_restorable(phys_addr_t phys, size_t size)
{
	const struct luo_mutate *mutate = luo_mutate_running;

	for (unsigned int i = 0; i < mutate->nr_areas; i++) {
		if (luo_mutate_phys(mutate, i) == phys)
			return luo_mutate_reserved(mutate, i) &&
			       size <= PAGE_SIZE << mutate->areas[i].order;
	}

	return false;
}

static u32 luo_mutate_below(struct luo_mutate *mutate, u32 limit)
{
	return prandom_u32_state(&mutate->rnd) % limit;
}

/**
 * luo_mutate_begin() - start a test
 * @mutate: its images, zeroed
 * @test: the test
 * @share: how many of a thousand images it gets
 *
 * Context: May sleep.
 */
void luo_mutate_begin(struct luo_mutate *mutate, struct kunit *test,
		      unsigned int share)
{
	mutate->test = test;
	luo_mutate_running = mutate;
	kunit_activate_static_stub(test, kho_is_restorable,
				   luo_mutate_is_restorable);
	mutate->count = DIV_ROUND_UP_ULL((u64)luo_mutate_count * share, 1000);
	mutate->own = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, mutate->own);
	mutate->taint = get_taint();
	mutate->total = totalram_pages();
	mutate->free = global_zone_page_state(NR_FREE_PAGES);
	kunit_info(test, "%u images from %u on, seed %u\n", mutate->count,
		   luo_mutate_first, luo_mutate_seed);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_begin);

/**
 * luo_mutate_area() - add memory to the image
 * @mutate: the images
 * @order: number of pages, as a power of two
 *
 * It is there from the next luo_mutate_next() on.
 *
 * Context: May sleep. Before the first image.
 * Return: number of the area.
 */
unsigned int luo_mutate_area(struct luo_mutate *mutate, unsigned int order)
{
	KUNIT_ASSERT_LT(mutate->test, mutate->nr_areas, LUO_MUTATE_AREAS);
	mutate->areas[mutate->nr_areas].order = order;

	return mutate->nr_areas++;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_area);

/**
 * luo_mutate_next() - go on to the next image
 * @mutate: the images
 *
 * All areas are there and reserved; what is in them is not told, and no field and no
 * use of them is known.
 *
 * Context: May sleep.
 * Return: false if there is no other one, or if something went wrong.
 */
bool luo_mutate_next(struct luo_mutate *mutate)
{
	u32 number;

	if (mutate->image >= mutate->count ||
	    mutate->test->status == KUNIT_FAILURE)
		return false;

	/* What was freed may be allocated for another area. */
	for (unsigned int i = 0; i < mutate->nr_areas; i++) {
		struct luo_mutate_area *area = &mutate->areas[i];

		area->used = 0;
		if (area->page && !kho_kunit_page_is_marked(area->page))
			area->page = NULL;
	}
	for (unsigned int i = 0; i < mutate->nr_areas; i++) {
		struct luo_mutate_area *area = &mutate->areas[i];

		if (area->page)
			continue;
		area->page = alloc_pages(GFP_KERNEL | __GFP_COMP, area->order);
		KUNIT_ASSERT_NOT_NULL(mutate->test, area->page);
		kho_kunit_mark_page(area->page, area->order);
	}
	mutate->nr_fields = 0;

	number = luo_mutate_first + mutate->image++;
	WRITE_ONCE(luo_mutate_image, number);
	prandom_seed_state(&mutate->rnd, (u64)luo_mutate_seed << 32 | number);
	if (!(number % 256))
		cond_resched();

	return true;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_next);

/**
 * luo_mutate_mem() - where is an area?
 * @mutate: the images
 * @area: which area
 *
 * Context: any.
 * Return: its memory.
 */
void *luo_mutate_mem(const struct luo_mutate *mutate, unsigned int area)
{
	return page_address(mutate->areas[area].page);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_mem);

/**
 * luo_mutate_phys() - where is an area?
 * @mutate: the images
 * @area: which area
 *
 * Context: any.
 * Return: its physical address.
 */
u64 luo_mutate_phys(const struct luo_mutate *mutate, unsigned int area)
{
	return page_to_phys(mutate->areas[area].page);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_phys);

/**
 * luo_mutate_field() - point out a number
 * @mutate: the images
 * @area: the area that it is in
 * @field: the number
 * @size: its size
 *
 * Context: any.
 */
void luo_mutate_field(struct luo_mutate *mutate, unsigned int area,
		      const void *field, size_t size)
{
	if (mutate->nr_fields == LUO_MUTATE_FIELDS)
		return;
	mutate->fields[mutate->nr_fields++] = (struct luo_mutate_field){
		.area	= area,
		.offset	= field - luo_mutate_mem(mutate, area),
		.size	= size,
	};
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_field);

static struct kho_table_ser *luo_mutate_head(const struct luo_mutate *mutate,
					     const struct luo_mutate_table *table)
{
	return luo_mutate_mem(mutate, table->head);
}

static void luo_mutate_write_block(struct luo_mutate *mutate,
				   const struct luo_mutate_table *table,
				   unsigned int area, u32 nr, u64 next)
{
	size_t entry_size = sizeof(struct kho_table_entry_ser) + table->record_size;
	struct kho_block_header_ser *block = luo_mutate_mem(mutate, area);

	memset(block, 0, PAGE_SIZE);
	block->next = next;
	block->count = nr;
	luo_mutate_field(mutate, area, &block->next, 8);
	luo_mutate_field(mutate, area, &block->count, 8);
	for (u32 i = 0; i < min(nr, LUO_MUTATE_ENTRIES); i++) {
		struct kho_table_entry_ser *entry = (void *)(block + 1) +
						    i * entry_size;

		luo_mutate_field(mutate, area, &entry->flags, 4);
		luo_mutate_field(mutate, area, &entry->reserved, 4);
	}
	mutate->areas[area].used = sizeof(*block) + nr * entry_size;
}

/**
 * luo_mutate_write_table() - write a table without its records
 * @mutate: the images
 * @table: where it is, and what it holds
 * @nr_records: number of records
 *
 * The records are all zeroes. The table is as an intact kernel leaves it once they are
 * filled in, and luo_mutate_seal_table() was called. Numbers of the table are pointed
 * out; those of records are up to the test.
 *
 * Context: any.
 */
void luo_mutate_write_table(struct luo_mutate *mutate,
			    const struct luo_mutate_table *table, u32 nr_records)
{
	u32 per_block = KHO_TABLE_PER_BLOCK(table->record_size);
	struct kho_table_ser *head = luo_mutate_head(mutate, table);
	u32 left = nr_records;

	memset(head, 0, PAGE_SIZE);
	strscpy(head->compatible, table->compatible);
	head->version = KHO_TABLE_VERSION;
	head->flags = KHO_TABLE_SEALED;
	head->record_size = table->record_size;
	head->nr_records = nr_records;
	head->nr_blocks = DIV_ROUND_UP(nr_records, per_block);
	luo_mutate_field(mutate, table->head, &head->compatible[4], 1);
	luo_mutate_field(mutate, table->head, &head->version, 4);
	luo_mutate_field(mutate, table->head, &head->flags, 4);
	luo_mutate_field(mutate, table->head, &head->record_size, 4);
	luo_mutate_field(mutate, table->head, &head->nr_records, 4);
	luo_mutate_field(mutate, table->head, &head->nr_blocks, 4);
	luo_mutate_field(mutate, table->head, &head->reserved, 4);

	for (u32 i = 0; i < head->nr_blocks; i++) {
		unsigned int area = table->blocks + i;
		u32 nr = min(left, per_block);

		left -= nr;
		head->blocks[i].phys = luo_mutate_phys(mutate, area);
		luo_mutate_field(mutate, table->head, &head->blocks[i].phys, 8);
		luo_mutate_field(mutate, table->head, &head->blocks[i].phys, 8);
		luo_mutate_write_block(mutate, table, area, nr,
				       left ? luo_mutate_phys(mutate, area + 1) : 0);
	}
	mutate->areas[table->head].used = struct_size(head, blocks, head->nr_blocks);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_write_table);

/**
 * luo_mutate_record() - where is a record of a table?
 * @mutate: the images
 * @table: the table, not corrupted yet
 * @position: which record
 * @area: on return, the area that it is in
 *
 * Context: any.
 * Return: the record.
 */
void *luo_mutate_record(const struct luo_mutate *mutate,
			const struct luo_mutate_table *table, u32 position,
			unsigned int *area)
{
	*area = table->blocks + position / KHO_TABLE_PER_BLOCK(table->record_size);

	return kho_kunit_entry(luo_mutate_head(mutate, table), table->record_size,
			       position) + 1;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_record);

/**
 * luo_mutate_seal_table() - make the checksums match whatever is in a table
 * @mutate: the images
 * @table: the table, corrupted or not
 *
 * Context: any.
 */
void luo_mutate_seal_table(const struct luo_mutate *mutate,
			   const struct luo_mutate_table *table)
{
	kho_kunit_seal(luo_mutate_head(mutate, table), table->record_size);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_seal_table);

/* An area that corruption is done to; there is at least one. */
static struct luo_mutate_area *luo_mutate_victim(struct luo_mutate *mutate)
{
	struct luo_mutate_area *area;

	do {
		area = &mutate->areas[luo_mutate_below(mutate, mutate->nr_areas)];
	} while (!area->used);

	return area;
}

static u64 luo_mutate_address(struct luo_mutate *mutate)
{
	u32 area = luo_mutate_below(mutate, mutate->nr_areas);

	return luo_mutate_phys(mutate, area);
}

/* What a number should not be. */
static u64 luo_mutate_value(struct luo_mutate *mutate, u64 now)
{
	switch (luo_mutate_below(mutate, 16)) {
	case 0:
		return 0;
	case 1:
		return U64_MAX;
	case 2:
		return now + 1;
	case 3:
		return now - 1;
	case 4:
		return BIT_ULL(luo_mutate_below(mutate, 64));
	case 5:
		return now ^ BIT_ULL(luo_mutate_below(mutate, 64));
	case 6:
		return luo_mutate_address(mutate) + 1;
	case 7:
		return luo_mutate_address(mutate) + sizeof(u64);
	case 8:
		return luo_mutate_address(mutate) + PAGE_SIZE;
	case 9:
		return page_to_phys(mutate->own);
	case 10:
		return U64_MAX & PAGE_MASK;
	case 11:
		return luo_mutate_below(mutate, 256);
	case 12:
		return (u64)prandom_u32_state(&mutate->rnd) << 32 |
		       prandom_u32_state(&mutate->rnd);
	default:
		return luo_mutate_address(mutate);
	}
}

static void luo_mutate_set_field(struct luo_mutate *mutate)
{
	const struct luo_mutate_field *field =
		&mutate->fields[luo_mutate_below(mutate, mutate->nr_fields)];
	u8 *mem = luo_mutate_mem(mutate, field->area);
	u64 value = 0;

	memcpy(&value, mem + field->offset, field->size);
	value = luo_mutate_value(mutate, value);
	memcpy(mem + field->offset, &value, field->size);
}

/* Records are copied in whole, as long as they are of the same size everywhere. */
static void luo_mutate_copy(struct luo_mutate *mutate)
{
	const struct luo_mutate_area *from = luo_mutate_victim(mutate);
	const struct luo_mutate_area *to = luo_mutate_victim(mutate);
	size_t size = 1 + luo_mutate_below(mutate, min(from->used, to->used));
	size_t source = luo_mutate_below(mutate, from->used - size + 1);
	size_t target = luo_mutate_below(mutate, to->used - size + 1);

	memmove(page_address(to->page) + target,
		page_address(from->page) + source, size);
}

static void luo_mutate_swap(struct luo_mutate *mutate)
{
	const struct luo_mutate_area *one = luo_mutate_victim(mutate);
	const struct luo_mutate_area *other = luo_mutate_victim(mutate);
	u8 *a = page_address(one->page), *b = page_address(other->page);

	for (size_t i = 0; i < min(one->used, other->used); i++)
		swap(a[i], b[i]);
}

static void luo_mutate_clear(struct luo_mutate *mutate)
{
	const struct luo_mutate_area *area = luo_mutate_victim(mutate);
	size_t from = luo_mutate_below(mutate, area->used);

	memset(page_address(area->page) + from, 0, area->used - from);
}

static u8 *luo_mutate_byte(struct luo_mutate *mutate)
{
	const struct luo_mutate_area *area = luo_mutate_victim(mutate);

	return page_address(area->page) + luo_mutate_below(mutate, area->used);
}

/**
 * luo_mutate_corruption() - do corruption
 * @mutate: the images. There is a field, and an area with a use.
 *
 * Context: any.
 */
void luo_mutate_corruption(struct luo_mutate *mutate)
{
	u32 times = luo_mutate_below(mutate, 4) ? 1 : 2;

	times += !luo_mutate_below(mutate, 16);
	while (times--) {
		switch (luo_mutate_below(mutate, 16)) {
		case 0:
		case 1:
			*luo_mutate_byte(mutate) ^= BIT(luo_mutate_below(mutate, 8));
			break;
		case 2:
			*luo_mutate_byte(mutate) = luo_mutate_below(mutate, 256);
			break;
		case 3:
			luo_mutate_copy(mutate);
			break;
		case 4:
			luo_mutate_swap(mutate);
			break;
		case 5:
			luo_mutate_clear(mutate);
			break;
		default:
			luo_mutate_set_field(mutate);
			break;
		}
	}
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_corruption);

/**
 * luo_mutate_reserved() - is an area as the previous kernel left it?
 * @mutate: the images
 * @area: which area
 *
 * Context: any.
 * Return: false once it was restored or freed.
 */
bool luo_mutate_reserved(const struct luo_mutate *mutate, unsigned int area)
{
	return kho_kunit_page_is_marked(mutate->areas[area].page);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_reserved);

/**
 * luo_mutate_nr_reserved() - count them
 * @mutate: the images
 *
 * Context: any.
 * Return: number of areas that are reserved.
 */
unsigned int luo_mutate_nr_reserved(const struct luo_mutate *mutate)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < mutate->nr_areas; i++)
		nr += luo_mutate_reserved(mutate, i);

	return nr;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_nr_reserved);

/**
 * luo_mutate_wrong() - judge an image
 * @mutate: the images
 * @wrong: something is wrong with how it was read
 * @what: what
 *
 * Context: May sleep.
 * Return: @wrong
 */
bool luo_mutate_wrong(struct luo_mutate *mutate, bool wrong, const char *what)
{
	if (wrong)
		KUNIT_FAIL(mutate->test, "image %u of seed %u: %s",
			   READ_ONCE(luo_mutate_image), luo_mutate_seed, what);

	return wrong;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_wrong);

/**
 * luo_mutate_end() - take all memory back, and look for what is gone
 * @mutate: the images
 *
 * Context: May sleep.
 */
void luo_mutate_end(struct luo_mutate *mutate)
{
	struct kunit *test = mutate->test;
	long lost;

	for (unsigned int i = 0; i < mutate->nr_areas; i++) {
		struct page *page = mutate->areas[i].page;

		if (page && kho_kunit_page_is_marked(page))
			kho_restore_free(page_address(page));
	}
	luo_mutate_wrong(mutate, get_taint() != mutate->taint,
			 "the kernel complained, see its log");
	KUNIT_EXPECT_EQ(test, totalram_pages(), mutate->total);
	if (mutate->own)
		__free_page(mutate->own);
	luo_mutate_running = NULL;
	lost = mutate->free - (long)global_zone_page_state(NR_FREE_PAGES);
	/*
	 * What is lost at one image in a hundred is far more than this. KASAN keeps
	 * what was freed, for as long as its quarantine has room: there kmemleak tells.
	 */
	if (!IS_ENABLED(CONFIG_KASAN_GENERIC))
		KUNIT_EXPECT_LE(test, lost, LUO_MUTATE_DRIFT + mutate->count / 200);
	kunit_info(test, "%u images read, %ld pages fewer are free\n",
		   mutate->image, lost);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_end);

/**
 * luo_mutate_kunit_init() - begin a test that needs nothing but images
 * @test: the test, whose priv becomes a &struct luo_mutate
 *
 * Context: May sleep.
 * Return: 0 or -ENOMEM.
 */
int luo_mutate_kunit_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct luo_mutate), GFP_KERNEL);

	return test->priv ? 0 : -ENOMEM;
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_kunit_init);

/**
 * luo_mutate_kunit_exit() - end such a test
 * @test: the test
 *
 * Context: May sleep.
 */
void luo_mutate_kunit_exit(struct kunit *test)
{
	struct luo_mutate *mutate = test->priv;

	if (mutate && mutate->test)
		luo_mutate_end(mutate);
}
EXPORT_SYMBOL_IF_KUNIT(luo_mutate_kunit_exit);
