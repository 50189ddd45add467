/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LUO_TIMELINE_H
#define _LINUX_LUO_TIMELINE_H

#include <linux/atomic.h>
#include <linux/kho/abi/timeline.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include "luo_ctx.h"

/* Slots that callbacks and items leave to others, and that transitions leave to the rest. */
#define LUO_TIMELINE_RESERVED	64
#define LUO_TIMELINE_TRANSITIONS	32

/* Steps of an update with a rehearsal: each gets its share of half the slots. */
#define LUO_TIMELINE_SHARES	6

/* Buffers larger than any that can be configured are not taken over. */
#define LUO_TIMELINE_MAX_SIZE	SZ_4M

/**
 * struct luo_timeline - a buffer of records and how far it is filled
 * @lock: excludes removal of records from reading; not needed to append.
 * @ser: the blob, or NULL if there is none. Written under @lock.
 * @records: the slots in it.
 * @slots: number of them.
 * @used: slots that are taken, from the first on.
 * @undone: records from here on leave when the next update begins.
 * @rehearsed: records from here on leave when the update is rehearsed again.
 * @shared: callbacks and items of the transition under way that are recorded.
 * @items: those of them that are items.
 * @dropped: records for which there was no room.
 * @corrupted: records that arrived corrupted.
 * @generation: counts removals of records.
 * @update: number of the update under way, or of the last one.
 * @kernel: number of this kernel.
 * @recording: an update is under way: from the start of prepare until cancel or
 *	finish.
 */
struct luo_timeline {
	struct mutex lock;	/* removal of records against reading */
	struct luo_timeline_ser *ser;
	struct liveupdate_timeline_record *records;
	u32 slots;
	atomic_t used;
	u32 undone;
	u32 rehearsed;
	u32 shared;
	u32 items;
	atomic_t dropped;
	u32 corrupted;
	u32 generation;
	u32 update;
	u16 kernel;
	bool recording;
};

/* luo_timeline_buffer.c */
void luo_timeline_init(struct luo_timeline *timeline);
int luo_timeline_attach(struct luo_timeline *timeline, void *mem, size_t size);
int luo_timeline_check(const void *mem, size_t size);
void luo_timeline_detach(struct luo_timeline *timeline);
u32 luo_timeline_retrieve(struct luo_timeline *timeline, void *mem);
void luo_timeline_truncate(struct luo_timeline *timeline, u32 used);
void luo_timeline_make_room(struct luo_timeline *timeline);
void luo_timeline_seal(struct luo_timeline *timeline);
void luo_timeline_append(struct luo_timeline *timeline,
			 enum liveupdate_timeline_kind kind,
			 enum luo_transition transition, const char *name,
			 u64 start, u64 end, int error);
void luo_timeline_append_items(struct luo_timeline *timeline,
			       enum luo_transition transition, const char *name,
			       u64 start, u64 end, u32 count);
u32 luo_timeline_complete(struct luo_timeline *timeline);
ssize_t luo_timeline_read(struct luo_timeline *timeline, u64 frequency,
			  u32 flags, char *buf, loff_t offset, size_t count);

#endif /* _LINUX_LUO_TIMELINE_H */
