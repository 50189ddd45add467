/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of DMA buffers in a live update have in common, see
 * liveupdate_kunit_fixture.c.
 */

#ifndef _DMA_LIVEUPDATE_KUNIT_H
#define _DMA_LIVEUPDATE_KUNIT_H

#include <kunit/test.h>
#include <linux/kho/abi/device.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/kho_kunit.h>

#include "liveupdate.h"

#define DMT_RECORD	sizeof(struct dma_liveupdate_ser)
#define DMT_PER_BLOCK	((unsigned int)KHO_TABLE_PER_BLOCK(DMT_RECORD))
#define DMT_MAX		(PAGE_SIZE << MAX_PAGE_ORDER)

/* Bus addresses of a device with another view of memory. */
#define DMT_OFFSET	BIT_ULL(40)

/**
 * struct dmt_device - a device
 * @dev: the device.
 * @dma_mask: its streaming mask.
 * @index: its position in the tables of both kernels.
 * @in_set: it is prepared.
 * @incoming: it was handed over.
 * @state: what became of it when dma finishes.
 */
struct dmt_device {
	struct device *dev;
	u64 dma_mask;
	u32 index;
	bool in_set;
	bool incoming;
	enum device_liveupdate_state state;
};

/**
 * struct dmt_memory - part of the table that was handed over
 * @list: entry in &dmt.memory.
 * @mem: where it is, a page.
 * @freed: the incoming kernel freed it.
 */
struct dmt_memory {
	struct list_head list;
	void *mem;
	bool freed;
};

/**
 * struct dmt_folio - memory of a buffer that was handed over
 * @list: entry in &dmt.folios.
 * @folio: the memory, with a reference of the test.
 * @restored: the incoming kernel took it over.
 * @lost: it did not arrive.
 */
struct dmt_folio {
	struct list_head list;
	struct folio *folio;
	bool restored;
	bool lost;
};

/**
 * struct dmt - what every test starts with
 * @a: a device.
 * @b: another one.
 * @data: data of the subsystem in the outgoing kernel.
 * @handed: the same in the incoming kernel, from dmt_jump() on.
 * @memory: parts of the table that were handed over.
 * @folios: buffers that were handed over.
 * @kept: number of folios that KHO keeps.
 * @keep_error: error of the next attempt to keep one.
 * @in_scratch: all memory is scratch memory.
 * @mapped: what dma-debug says, or an error.
 * @nr_invalid: how often the update was called off.
 * @tainted: this kernel has warned before the test began.
 * @rogue: number of attempts to take what was not handed over.
 */
struct dmt {
	struct dmt_device a;
	struct dmt_device b;
	struct liveupdate_data data;
	struct liveupdate_data handed;
	struct list_head memory;
	struct list_head folios;
	int kept;
	int keep_error;
	bool in_scratch;
	int mapped;
	unsigned int nr_invalid;
	bool tainted;
	unsigned int rogue;
};

extern struct dmt *dmt;

#define dmt_expect_error(_test, _error, _buffer)			\
	KUNIT_EXPECT_EQ(_test, PTR_ERR_OR_ZERO(_buffer), _error)

extern struct liveupdate_subsystem dmt_subsystem;

struct dmt_memory *dmt_find_memory(phys_addr_t phys);
struct dma_liveupdate_buffer *dmt_alloc(struct kunit *test,
					const struct dmt_device *dmt_dev,
					size_t size, u32 tag);
struct dma_liveupdate_buffer *dmt_make(struct kunit *test,
				       struct dmt_device *dmt_dev,
				       size_t size, u32 tag);
struct dma_liveupdate_buffer *dmt_any_buffer(const struct device *dev);
void dmt_free_all(void);
struct dma_liveupdate_buffer *dmt_retrieve(struct kunit *test,
					   const struct dmt_device *dmt_dev,
					   size_t size, u32 tag);
int dmt_prepare(void);
int dmt_freeze(void);
void dmt_cancel(void);
int dmt_restore(void);
void dmt_finish(void);
struct kho_table_ser *dmt_table(void);
struct kho_block_header_ser *dmt_block(unsigned int index);
struct dma_liveupdate_ser *dmt_ser(unsigned int index);
void dmt_seal(void);
void dmt_jump(struct kunit *test);
void dmt_cross(struct kunit *test);
void dmt_unboot(void);
void dmt_expect_retained(struct kunit *test, const char *want);
unsigned int dmt_nr_freed(void);
struct dmt_folio *dmt_folio_of(unsigned int index);
void dmt_expect_freed(struct kunit *test, unsigned int index, bool freed);
int dmt_init(struct kunit *test);
void dmt_exit(struct kunit *test);

#endif /* _DMA_LIVEUPDATE_KUNIT_H */
