// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Memory that is handed over, for KUnit
 *
 * A test plays both kernels. What the outgoing one allocates is real KHO memory.
 * kho_kunit_view() makes kho_is_restorable() confirm it to the test, which can read it
 * in place then. kho_kunit_jump() turns it into what the next kernel finds at boot:
 * pages that are not preserved any more, not accounted as memory of this kernel, and
 * carry the mark of KHO in page->private. So the incoming kernel restores and frees
 * them with the code that does it after a real kexec. What is left is taken back by
 * kho_kunit_exit(), so that MemTotal is as before.
 *
 * kho_is_restorable() says no to everything in a kernel that was not handed anything.
 * It is replaced for the running test, and confirms the memory of the test and nothing
 * else.
 *
 * Tables are found and sealed here as include/linux/kho/abi/table.h defines them, and
 * not with kho_table.c.
 *
 * Context: the thread of the test, one test at a time.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/visibility.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xxhash.h>

/* The mark on a page that was handed over, see kexec_handover.c. */
#define KHO_KUNIT_MAGIC		0x4b484f50U

union kho_kunit_page_info {
	unsigned long page_private;
	struct {
		unsigned int order;
		unsigned int magic;
	};
};

/**
 * struct kho_kunit_area - memory of a hand-over
 * @list: entry in &kho_kunit.areas.
 * @page: first page.
 * @order: number of pages, as a power of two.
 * @jumped: it was marked; it is reserved as long as it carries the mark.
 */
struct kho_kunit_area {
	struct list_head list;
	struct page *page;
	unsigned int order;
	bool jumped;
};

/* Stubs have no argument for it. */
static struct kho_kunit *kho_kunit_running;

/**
 * kho_kunit_mark_page() - make memory what the next kernel finds at boot
 * @page: first page of a folio that is not preserved
 * @order: its order
 */
void kho_kunit_mark_page(struct page *page, unsigned int order)
{
	union kho_kunit_page_info info = {
		.order = order,
		.magic = KHO_KUNIT_MAGIC,
	};

	set_page_private(page, info.page_private);
	adjust_managed_page_count(page, -(1L << order));
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_mark_page);

/**
 * kho_kunit_page_is_marked() - is this memory still as kho_kunit_mark_page() left it?
 * @page: its first page
 *
 * Return: false once it was freed or restored.
 */
bool kho_kunit_page_is_marked(const struct page *page)
{
	union kho_kunit_page_info info = {
		.page_private = page_private(page),
	};

	return info.magic == KHO_KUNIT_MAGIC;
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_page_is_marked);

static bool kho_kunit_is_marked(const struct kho_kunit_area *area)
{
	return area->jumped && kho_kunit_page_is_marked(area->page);
}

static struct kho_kunit_area *kho_kunit_find(const struct kho_kunit *kho,
					     phys_addr_t phys)
{
	struct kho_kunit_area *area;

	list_for_each_entry(area, &kho->areas, list) {
		if (page_to_phys(area->page) == phys)
			return area;
	}

	return NULL;
}

static bool kho_kunit_is_restorable(phys_addr_t phys, size_t size)
{
	const struct kho_kunit_area *area = kho_kunit_find(kho_kunit_running, phys);

	if (!area || (area->jumped && !kho_kunit_is_marked(area)))
		return false;

	return size <= PAGE_SIZE << area->order;
}

/**
 * kho_kunit_init() - begin a test
 * @kho: the memory of the test
 * @test: the test; skipped if KHO is off
 */
void kho_kunit_init(struct kho_kunit *kho, struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off, boot with kho=on");

	kho->test = test;
	INIT_LIST_HEAD(&kho->areas);
	kho_kunit_running = kho;
	kunit_activate_static_stub(test, kho_is_restorable, kho_kunit_is_restorable);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_init);

/**
 * kho_kunit_exit() - end a test, and take back what it handed over
 * @kho: the memory of the test
 */
void kho_kunit_exit(struct kho_kunit *kho)
{
	struct kho_kunit_area *area;

	list_for_each_entry(area, &kho->areas, list) {
		if (kho_kunit_is_marked(area))
			kho_restore_free(page_address(area->page));
	}
	kho_kunit_running = NULL;
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_exit);

/**
 * kho_kunit_view() - let kho_is_restorable() confirm memory of this kernel
 * @kho: the memory of the test
 * @mem: start of a folio
 */
void kho_kunit_view(struct kho_kunit *kho, void *mem)
{
	struct kho_kunit_area *area = kunit_kzalloc(kho->test, sizeof(*area),
						    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(kho->test, area);
	area->page = virt_to_page(mem);
	area->order = folio_order(page_folio(area->page));
	list_add_tail(&area->list, &kho->areas);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_view);

static void kho_kunit_mark(struct kho_kunit_area *area)
{
	kho_unpreserve_folio(page_folio(area->page));
	kho_kunit_mark_page(area->page, area->order);
	area->jumped = true;
}

/**
 * kho_kunit_jump() - leave all memory behind that can be viewed
 * @kho: the memory of the test; it is preserved
 *
 * What an earlier jump left behind, and is free again, cannot be viewed any more.
 */
void kho_kunit_jump(struct kho_kunit *kho)
{
	struct kho_kunit_area *area, *next;

	list_for_each_entry_safe(area, next, &kho->areas, list) {
		if (!area->jumped)
			kho_kunit_mark(area);
		else if (!kho_kunit_is_marked(area))
			list_del(&area->list);
	}
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_jump);

/**
 * kho_kunit_is_reserved() - is this memory still as the outgoing kernel left it?
 * @kho: the memory of the test, after kho_kunit_jump()
 * @phys: physical address of the start of it
 *
 * Return: false once it was freed or restored.
 */
bool kho_kunit_is_reserved(const struct kho_kunit *kho, phys_addr_t phys)
{
	const struct kho_kunit_area *area = kho_kunit_find(kho, phys);

	return area && kho_kunit_is_marked(area);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_is_reserved);

/**
 * kho_kunit_reserved_pages() - count them
 * @kho: the memory of the test, after kho_kunit_jump()
 *
 * Return: pages that were neither freed nor restored.
 */
unsigned long kho_kunit_reserved_pages(const struct kho_kunit *kho)
{
	const struct kho_kunit_area *area;
	unsigned long count = 0;

	list_for_each_entry(area, &kho->areas, list) {
		if (kho_kunit_is_marked(area))
			count += 1UL << area->order;
	}

	return count;
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_reserved_pages);

/* Tables. */

/**
 * kho_kunit_view_table() - let a table be read in place
 * @kho: the memory of the test
 * @table: a table of this kernel
 */
void kho_kunit_view_table(struct kho_kunit *kho, struct kho_table *table)
{
	struct kho_block *block;

	kho_kunit_view(kho, table->head);
	list_for_each_entry(block, &table->blocks.blocks, list)
		kho_kunit_view(kho, block->ser);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_view_table);

/**
 * kho_kunit_leave_table() - drop what the outgoing kernel knew of a table
 * @table: a table that was viewed before kho_kunit_jump()
 */
void kho_kunit_leave_table(struct kho_table *table)
{
	struct kho_block *block, *next;

	list_for_each_entry_safe(block, next, &table->blocks.blocks, list)
		kfree(block);
	*table = (struct kho_table){};
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_leave_table);

/**
 * kho_kunit_block() - find a block of a table
 * @head: the head
 * @index: which block
 *
 * Return: the block.
 */
struct kho_block_header_ser *kho_kunit_block(const struct kho_table_ser *head,
					     u32 index)
{
	return phys_to_virt(head->blocks[index].phys);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_block);

static u32 kho_kunit_per_block(u32 record_size)
{
	return (PAGE_SIZE - 16) / (8 + record_size);
}

/**
 * kho_kunit_entry() - find an entry of a table
 * @head: the head
 * @record_size: bytes of a record
 * @position: which record
 *
 * Return: the entry, with the record behind it.
 */
struct kho_table_entry_ser *kho_kunit_entry(const struct kho_table_ser *head,
					    u32 record_size, u32 position)
{
	u32 per_block = kho_kunit_per_block(record_size);
	void *entries = kho_kunit_block(head, position / per_block) + 1;

	return entries + position % per_block * (8 + record_size);
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_entry);

/**
 * kho_kunit_seal() - make the checksums of a table match whatever is in it
 * @head: the head, in one page
 * @record_size: bytes of a record, whatever the head says
 */
void kho_kunit_seal(struct kho_table_ser *head, u32 record_size)
{
	u32 nr_blocks = min(head->nr_blocks, (PAGE_SIZE - 64) / 16);
	u32 per_block = kho_kunit_per_block(record_size);
	u32 left = head->nr_records;

	for (u32 i = 0; i < nr_blocks; i++) {
		struct kho_table_block_ser *block = &head->blocks[i];
		u32 nr = min(left, per_block);

		left -= nr;
		if (kho_is_restorable(block->phys, PAGE_SIZE))
			block->checksum = nr ? xxh64(kho_kunit_block(head, i),
						     16 + nr * (8 + record_size),
						     0) : 0;
	}
	head->checksum = xxh64(head->blocks, 16 * nr_blocks, xxh64(head, 56, 0));
}
EXPORT_SYMBOL_IF_KUNIT(kho_kunit_seal);
