/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DMA buffers in a live update: what kernel/dma/liveupdate*.c share. The idea is
 * in liveupdate.c.
 */

#ifndef _KERNEL_DMA_LIVEUPDATE_H
#define _KERNEL_DMA_LIVEUPDATE_H

#include <linux/hashtable.h>
#include <linux/kho/abi/dma.h>
#include <linux/kho_table.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/device_record.h>
#include <linux/liveupdate/retained.h>
#include <linux/mutex.h>

#define DMA_LIVEUPDATE_HASH_BITS	10

/**
 * struct dma_liveupdate_incoming - a buffer that the previous kernel left
 * @ser: its record.
 * @hash: entry in &dma_liveupdate_layer.buckets, unless it is not known whose it is.
 * @invalid: another record has the same device and tag.
 * @folio: the memory, once it was restored and while nobody uses it.
 * @buffer: who uses it, or NULL.
 * @returned: it was retrieved and freed since.
 * @consumer: record of the device whose driver retrieved it: its own, or one below.
 */
struct dma_liveupdate_incoming {
	struct dma_liveupdate_ser ser;
	struct hlist_node hash;
	bool invalid;
	struct folio *folio;
	struct dma_liveupdate_buffer *buffer;
	bool returned;
	u32 consumer;
};

/**
 * struct dma_liveupdate_layer - all DMA buffers
 * @lock: protects what follows. See the lock order in liveupdate.c.
 * @buffers: all buffers by device, &dma_liveupdate_buffer.node.
 * @named: the same by device and tag, &dma_liveupdate_buffer.named.
 * @preserved: those that are preserved, &dma_liveupdate_buffer.member.
 * @nr_preserved: number of them.
 * @closed: the table is written, nothing can be added.
 * @invalid: a buffer was taken out of the table since.
 * @table: outgoing table.
 * @handed: table of the previous kernel, while it is open: until FINISH.
 * @incoming: records of the previous kernel until FINISH, and then as long as some are
 *	retained; or NULL.
 * @nr_incoming: number of them.
 * @nr_lost: those that cannot be relied on.
 * @buckets: the others by device and tag.
 * @bucket_bits: binary logarithm of the number of @buckets.
 * @retained: FINISH is over, and what is in @buckets may be in use; or NULL.
 */
struct dma_liveupdate_layer {
	struct mutex lock;	/* what follows */
	DECLARE_HASHTABLE(buffers, DMA_LIVEUPDATE_HASH_BITS);
	DECLARE_HASHTABLE(named, DMA_LIVEUPDATE_HASH_BITS);
	struct list_head preserved;
	unsigned int nr_preserved;
	bool closed;
	bool invalid;
	struct kho_table table;

	struct kho_table_incoming handed;
	struct dma_liveupdate_incoming *incoming;
	unsigned int nr_incoming;
	unsigned int nr_lost;
	struct hlist_head *buckets;
	unsigned int bucket_bits;
	struct liveupdate_retained *retained;
};

extern struct dma_liveupdate_layer dma_liveupdate_layer;
extern struct liveupdate_subsystem dma_liveupdate_subsystem;

/* liveupdate.c */
int dma_liveupdate_prepare(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data);
int dma_liveupdate_freeze(struct liveupdate_subsystem *subsystem,
			  struct liveupdate_data *data);
void dma_liveupdate_cancel(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data);
int dma_liveupdate_restore(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data);
void dma_liveupdate_finish(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data);
int dma_liveupdate_discard(struct liveupdate_subsystem *subsystem,
			   const struct liveupdate_data *data);
int dma_liveupdate_forget_retained(struct liveupdate_subsystem *subsystem,
				   const char *name);

/* liveupdate_buffer.c */
bool dma_liveupdate_withdraw(struct dma_liveupdate_buffer *buffer);
#if IS_ENABLED(CONFIG_KUNIT)
void dma_liveupdate_invalidate(void);
int dma_liveupdate_nr_mapped(struct device *dev);
#endif

/* liveupdate_handover.c: KHO, which the tests replace */
bool dma_liveupdate_in_scratch(phys_addr_t phys, size_t size);
int dma_liveupdate_keep_folio(struct folio *folio);
void dma_liveupdate_drop_folio(struct folio *folio);
bool dma_liveupdate_handed_over(phys_addr_t phys, size_t size);
struct folio *dma_liveupdate_restore_folio(phys_addr_t phys);

/* liveupdate_handover.c: the format */
int dma_liveupdate_alloc_table(struct liveupdate_data *data);
void dma_liveupdate_free_table(struct liveupdate_data *data);
void dma_liveupdate_write_table(void);
int dma_liveupdate_open_table(const struct liveupdate_data *data);
int dma_liveupdate_read_table(const struct liveupdate_data *data);
struct dma_liveupdate_incoming *dma_liveupdate_find_incoming(u32 device, u32 tag);
void dma_liveupdate_forget(void);

#endif /* _KERNEL_DMA_LIVEUPDATE_H */
