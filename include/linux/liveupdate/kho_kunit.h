/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that is handed over, for KUnit. The idea is in
 * kernel/liveupdate/tests/kho_kunit.c.
 */

#ifndef _LINUX_LIVEUPDATE_KHO_KUNIT_H
#define _LINUX_LIVEUPDATE_KHO_KUNIT_H

#include <linux/kho/abi/table.h>
#include <linux/list.h>
#include <linux/types.h>

struct kho_table;
struct kunit;
struct page;

/**
 * struct kho_kunit - memory that a test hands over to itself
 * @test: the test.
 * @areas: what kho_is_restorable() confirms to it.
 */
struct kho_kunit {
	struct kunit *test;
	struct list_head areas;
};

void kho_kunit_init(struct kho_kunit *kho, struct kunit *test);
void kho_kunit_exit(struct kho_kunit *kho);
void kho_kunit_view(struct kho_kunit *kho, void *mem);
void kho_kunit_jump(struct kho_kunit *kho);
bool kho_kunit_is_reserved(const struct kho_kunit *kho, phys_addr_t phys);
unsigned long kho_kunit_reserved_pages(const struct kho_kunit *kho);

void kho_kunit_mark_page(struct page *page, unsigned int order);
bool kho_kunit_page_is_marked(const struct page *page);

void kho_kunit_view_table(struct kho_kunit *kho, struct kho_table *table);
void kho_kunit_leave_table(struct kho_table *table);
struct kho_block_header_ser *kho_kunit_block(const struct kho_table_ser *head,
					     u32 index);
struct kho_table_entry_ser *kho_kunit_entry(const struct kho_table_ser *head,
					    u32 record_size, u32 position);
void kho_kunit_seal(struct kho_table_ser *head, u32 record_size);

#endif /* _LINUX_LIVEUPDATE_KHO_KUNIT_H */
