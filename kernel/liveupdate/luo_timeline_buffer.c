// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Records of the timeline
 *
 * A buffer of fixed records (include/linux/kho/abi/timeline.h) in memory that
 * can be handed to the next kernel as it is. What is recorded, and when, is in
 * luo_timeline.c.
 *
 * Appending takes no lock. The last records of a kernel are written when other
 * processors were stopped wherever they were, so whoever appends must not have to
 * wait for them: a slot is taken with one atomic operation and filled, and its
 * checksum is stored last. A slot without a checksum is not a record yet.
 *
 * Room: luo_timeline_make_room() keeps the records of earlier updates in at most
 * half of the buffer; the oldest updates go first, and as a whole. What can come
 * in numbers has its share of the other half: callbacks and items of one transition do
 * not push out those of the next, items take at most half of what a transition has,
 * and whatever happens, some slots are left for transitions and for what comes only
 * once. A record for which there is no room is counted.
 *
 * What the previous kernel left is validated before it is read: luo_timeline_check()
 * refuses a head that is not as it was written, before anything is claimed;
 * luo_timeline_retrieve() keeps the records that are right, and removes and counts
 * those that are not.
 *
 * Lock order: &luo_ctx.lock -> &luo_timeline.lock, which is innermost.
 */

#include <linux/cleanup.h>
#include <linux/crc32.h>
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "luo_timeline.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate_timeline.h>

static const char luo_timeline_compatible[LUO_TIMELINE_COMPAT_LEN] =
	LUO_TIMELINE_COMPATIBLE;

static_assert(LIVEUPDATE_TIMELINE_NAME_LEN == LIVEUPDATE_SUBSYSTEM_NAME_LEN);
static_assert((int)LIVEUPDATE_TIMELINE_NONE == LUO_TRANSITION_NONE);
static_assert((int)LIVEUPDATE_TIMELINE_PREPARE == LUO_TRANSITION_PREPARE);
static_assert((int)LIVEUPDATE_TIMELINE_CANCEL == LUO_TRANSITION_CANCEL);
static_assert((int)LIVEUPDATE_TIMELINE_FREEZE == LUO_TRANSITION_FREEZE);
static_assert((int)LIVEUPDATE_TIMELINE_THAW == LUO_TRANSITION_THAW);
static_assert((int)LIVEUPDATE_TIMELINE_RESTORE == LUO_TRANSITION_RESTORE);
static_assert((int)LIVEUPDATE_TIMELINE_FINISH == LUO_TRANSITION_FINISH);

static u32 luo_timeline_crc(const void *data, size_t size)
{
	return ~crc32_le(~0, data, size);
}

/* @record with its checksum taken as 0. */
static u32 luo_timeline_record_crc(struct liveupdate_timeline_record record)
{
	record.crc = 0;

	return luo_timeline_crc(&record, sizeof(record)) ?: 1;
}

static size_t luo_timeline_bytes(u32 slots)
{
	return sizeof(struct luo_timeline_ser) +
	       slots * sizeof(struct liveupdate_timeline_record);
}

/* Make a timeline without memory. */
void luo_timeline_init(struct luo_timeline *timeline)
{
	*timeline = (struct luo_timeline){
		.undone = U32_MAX,
		.rehearsed = U32_MAX,
		.kernel = 1,
	};
	mutex_init(&timeline->lock);
}

/* Bring the head up to date. Any context that excludes every other caller. */
void luo_timeline_seal(struct luo_timeline *timeline)
{
	struct luo_timeline_ser *ser = timeline->ser;

	memcpy(ser->compatible, luo_timeline_compatible,
	       sizeof(ser->compatible));
	ser->slots = timeline->slots;
	ser->update = timeline->update;
	ser->kernel = timeline->kernel;
	ser->generation = timeline->generation;
	ser->corrupted = timeline->corrupted;
	ser->dropped = atomic_read(&timeline->dropped);
	ser->reserved = 0;
	ser->crc = luo_timeline_crc(ser, offsetof(struct luo_timeline_ser, crc));
}

/* Is this the head of a timeline? */
int luo_timeline_check(const void *mem, size_t size)
{
	const struct luo_timeline_ser *ser = mem;

	if (size < sizeof(*ser))
		return -EINVAL;
	if (memcmp(ser->compatible, luo_timeline_compatible,
		   sizeof(ser->compatible)))
		return -EPROTONOSUPPORT;
	if (ser->crc != luo_timeline_crc(ser, offsetof(struct luo_timeline_ser,
						       crc)))
		return -EBADMSG;
	if (size > LUO_TIMELINE_MAX_SIZE ||
	    ser->slots <= LUO_TIMELINE_RESERVED ||
	    !ser->update || ser->update == U32_MAX ||
	    !ser->kernel || ser->kernel >= U16_MAX ||
	    ser->slots > (size - sizeof(*ser)) /
			 sizeof(struct liveupdate_timeline_record))
		return -EINVAL;

	return 0;
}

/* Empty, or printable to its end and padded with zeroes. */
static bool luo_timeline_name_valid(const char *name)
{
	return !memchr_inv(name, 0, LIVEUPDATE_TIMELINE_NAME_LEN) ||
	       luo_name_valid(name);
}

/* A later kernel may have kinds and transitions that this one does not know. */
static bool luo_timeline_record_valid(const struct luo_timeline_ser *ser,
				      const struct liveupdate_timeline_record *record)
{
	return record->crc == luo_timeline_record_crc(*record) &&
	       record->kind &&
	       record->update && record->update <= ser->update &&
	       record->kernel && record->kernel <= ser->kernel &&
	       record->start <= record->end &&
	       (record->kind == LIVEUPDATE_TIMELINE_ITEMS ||
		(record->error <= 0 && record->error >= -MAX_ERRNO)) &&
	       luo_timeline_name_valid(record->name);
}

/* Remove updates until half of the slots is free. May sleep. Takes &luo_timeline.lock. */
void luo_timeline_make_room(struct luo_timeline *timeline)
{
	struct liveupdate_timeline_record *records = timeline->records;
	u32 used = atomic_read(&timeline->used), first;

	if (used <= timeline->slots / 2)
		return;

	first = used - timeline->slots / 2;
	while (first < used && records[first].update == records[first - 1].update)
		first++;

	guard(mutex)(&timeline->lock);
	memmove(records, records + first, (used - first) * sizeof(*records));
	memset(records + used - first, 0, first * sizeof(*records));
	atomic_set(&timeline->used, used - first);
	timeline->generation++;
}

/* Take a slot, leaving @reserved of them; false if there is none. */
static bool luo_timeline_take_slot(struct luo_timeline *timeline, u32 reserved,
				   u32 *slot)
{
	int used = atomic_read(&timeline->used);

	do {
		if (used >= timeline->slots - reserved) {
			atomic_inc(&timeline->dropped);
			return false;
		}
	} while (!atomic_try_cmpxchg(&timeline->used, &used, used + 1));
	*slot = used;

	return true;
}

/* How many callbacks and items of one transition are recorded. */
static u32 luo_timeline_share(const struct luo_timeline *timeline)
{
	u32 half = timeline->slots / 2;

	return half > LUO_TIMELINE_RESERVED + LUO_TIMELINE_SHARES ?
	       (half - LUO_TIMELINE_RESERVED) / LUO_TIMELINE_SHARES : 1;
}

/* Is there room for a callback or item in the share of the transition under way? */
static bool luo_timeline_take_share(struct luo_timeline *timeline, bool item)
{
	u32 share = luo_timeline_share(timeline);

	if (timeline->shared >= share ||
	    (item && timeline->items >= share / 2)) {
		atomic_inc(&timeline->dropped);
		return false;
	}
	timeline->shared++;
	timeline->items += item;

	return true;
}

static void luo_timeline_store(struct luo_timeline *timeline,
			       struct liveupdate_timeline_record record)
{
	u32 reserved = 0, slot;

	/* Those of transitions have the lock of the machine to themselves. */
	switch (record.kind) {
	case LIVEUPDATE_TIMELINE_CALLBACK:
	case LIVEUPDATE_TIMELINE_ITEMS:
	case LIVEUPDATE_TIMELINE_ITEM:
		if (!luo_timeline_take_share(timeline, record.kind !=
					     LIVEUPDATE_TIMELINE_CALLBACK))
			return;
		reserved = LUO_TIMELINE_RESERVED;
		break;
	case LIVEUPDATE_TIMELINE_TRANSITION:
		timeline->shared = 0;
		timeline->items = 0;
		reserved = LUO_TIMELINE_TRANSITIONS;
		break;
	}
	if (!luo_timeline_take_slot(timeline, reserved, &slot))
		return;

	record.update = timeline->update;
	record.kernel = timeline->kernel;
	record.crc = 0;
	timeline->records[slot] = record;
	/* Who finds the checksum finds the rest. */
	smp_store_release(&timeline->records[slot].crc,
			  luo_timeline_record_crc(record));
}

static void luo_timeline_write(struct luo_timeline *timeline,
			       struct liveupdate_timeline_record record,
			       const char *name)
{
	bool items = record.kind == LIVEUPDATE_TIMELINE_ITEMS;

	/* Pairs with luo_timeline_start(). */
	if (!smp_load_acquire(&timeline->recording))
		return;

	/* Counters of two processors need not agree to the last digit. */
	record.end = max(record.start, record.end);
	strscpy_pad(record.name, name);
	luo_timeline_store(timeline, record);

	/* Nobody can look at a trace of the kexec. */
	if (!irqs_disabled())
		trace_liveupdate_record(record.kind, luo_transition_name(record.transition),
					name, record.end - record.start,
					items ? 0 : record.error,
					items ? record.count : 0);
}

/*
 * Record what took place. Any context, also with interrupts off and other processors
 * stopped.
 */
void luo_timeline_append(struct luo_timeline *timeline,
			 enum liveupdate_timeline_kind kind,
			 enum luo_transition transition, const char *name,
			 u64 start, u64 end, int error)
{
	struct liveupdate_timeline_record record = {
		.start	= start,
		.end	= end,
		.kind	= kind,
		.transition	= transition,
		.error	= error,
	};

	luo_timeline_write(timeline, record, name);
}

/* Record all items of a callback together. In a callback. */
void luo_timeline_append_items(struct luo_timeline *timeline,
			       enum luo_transition transition, const char *name,
			       u64 start, u64 end, u32 count)
{
	struct liveupdate_timeline_record record = {
		.start	= start,
		.end	= end,
		.kind	= LIVEUPDATE_TIMELINE_ITEMS,
		.transition	= transition,
		.count	= count,
	};

	luo_timeline_write(timeline, record, name);
}

/* Move to other memory, which holds @used records, with what is recorded now. */
static void luo_timeline_move(struct luo_timeline *timeline,
			      struct luo_timeline_ser *ser, u32 slots, u32 used)
{
	const struct liveupdate_timeline_record *records = timeline->records;
	u32 count = atomic_read(&timeline->used);

	lockdep_assert_held(&timeline->lock);

	timeline->ser = ser;
	timeline->records = (void *)(ser + 1);
	timeline->slots = slots;
	timeline->shared = 0;
	timeline->items = 0;
	atomic_set(&timeline->used, used);
	for (u32 i = 0; i < count; i++)
		luo_timeline_store(timeline, records[i]);
}

/* Give a timeline new memory. May sleep. Takes &luo_timeline.lock. */
int luo_timeline_attach(struct luo_timeline *timeline, void *mem, size_t size)
{
	if (size < luo_timeline_bytes(LUO_TIMELINE_RESERVED + 1))
		return -EINVAL;

	guard(mutex)(&timeline->lock);
	luo_timeline_move(timeline, mem,
			  min_t(size_t, size - sizeof(struct luo_timeline_ser),
				INT_MAX) /
			  sizeof(struct liveupdate_timeline_record), 0);

	return 0;
}

/* Take the memory from a timeline. May sleep. Takes &luo_timeline.lock. */
void luo_timeline_detach(struct luo_timeline *timeline)
{
	guard(mutex)(&timeline->lock);
	timeline->ser = NULL;
	timeline->records = NULL;
	timeline->slots = 0;
	atomic_set(&timeline->used, 0);
}

/*
 * Go on with the timeline of the previous kernel. May sleep. Takes &luo_timeline.lock.
 * Returns number of records that were corrupted.
 */
u32 luo_timeline_retrieve(struct luo_timeline *timeline, void *mem)
{
	struct luo_timeline_ser *ser = mem;
	struct liveupdate_timeline_record *records = (void *)(ser + 1);
	u32 used = 0, corrupted = 0;

	for (u32 i = 0; i < ser->slots; i++) {
		if (!memchr_inv(&records[i], 0, sizeof(*records)))
			continue;
		if (!luo_timeline_record_valid(ser, &records[i])) {
			corrupted++;
			continue;
		}
		if (used != i)
			records[used] = records[i];
		used++;
	}
	memset(records + used, 0, (ser->slots - used) * sizeof(*records));

	guard(mutex)(&timeline->lock);
	timeline->corrupted += ser->corrupted + corrupted;
	timeline->generation = ser->generation;
	timeline->update = ser->update;
	timeline->kernel = ser->kernel + 1;
	atomic_add(ser->dropped, &timeline->dropped);
	luo_timeline_move(timeline, ser, ser->slots, used);

	return corrupted;
}

/* Remove the last records. May sleep. Takes &luo_timeline.lock. */
void luo_timeline_truncate(struct luo_timeline *timeline, u32 used)
{
	u32 before = atomic_read(&timeline->used);

	if (before <= used)
		return;

	guard(mutex)(&timeline->lock);
	memset(timeline->records + used, 0,
	       (before - used) * sizeof(*timeline->records));
	atomic_set(&timeline->used, used);
	timeline->generation++;
}

/*
 * Number of leading slots that hold a record. Any context that excludes
 * luo_timeline_make_room().
 */
u32 luo_timeline_complete(struct luo_timeline *timeline)
{
	u32 used = atomic_read(&timeline->used), i;

	for (i = 0; i < used; i++) {
		/* Pairs with luo_timeline_store(). */
		if (!smp_load_acquire(&timeline->records[i].crc))
			break;
	}

	return i;
}

/*
 * Read header and records as userspace gets them. May sleep. Takes &luo_timeline.lock.
 * Returns bytes read, 0 behind the end.
 */
ssize_t luo_timeline_read(struct luo_timeline *timeline, u64 frequency,
			  u32 flags, char *buf, loff_t offset, size_t count)
{
	struct liveupdate_timeline_header header = {
		.magic		= LIVEUPDATE_TIMELINE_MAGIC,
		.version	= LIVEUPDATE_TIMELINE_VERSION,
		.header_size	= sizeof(header),
		.record_size	= sizeof(struct liveupdate_timeline_record),
		.frequency	= frequency,
		.flags		= flags,
	};
	ssize_t head = 0, rest;

	guard(mutex)(&timeline->lock);

	header.count = luo_timeline_complete(timeline);
	header.generation = timeline->generation;
	header.corrupted = timeline->corrupted;
	header.dropped = atomic_read(&timeline->dropped);

	if (offset < sizeof(header)) {
		head = memory_read_from_buffer(buf, count, &offset, &header,
					       sizeof(header));
		if (head < 0)
			return head;
	}
	if (offset < sizeof(header))
		return head;
	offset -= sizeof(header);
	rest = memory_read_from_buffer(buf + head, count - head, &offset,
				       timeline->records,
				       header.count * header.record_size);

	return rest < 0 ? rest : head + rest;
}
