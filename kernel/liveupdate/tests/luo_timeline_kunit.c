// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the timeline
 *
 * The buffer of luo_timeline_buffer.c in memory of the test: what is appended,
 * what happens when it is full, what is kept of the previous kernel's, and that
 * nothing of it is believed that is not as it was written. Every bit of a buffer
 * is flipped, which the checksums notice; then single fields are wrong under
 * checksums that are right, which the bounds notice. What a machine records is in
 * luo_timeline_machine_kunit.c.
 */

#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/crc32.h>
#include <linux/limits.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "luo_kunit.h"
#include "../luo_timeline.h"

/* So many that the callbacks of a transition have a share of LUO_TEST_SHARE. */
#define LUO_TEST_SHARE		10
#define LUO_TEST_SLOTS		(2 * (LUO_TIMELINE_RESERVED +		\
				      LUO_TIMELINE_SHARES * LUO_TEST_SHARE))
#define LUO_TEST_SIZE(_slots)	(sizeof(struct luo_timeline_ser) +	\
				 (_slots) *				\
				 sizeof(struct liveupdate_timeline_record))
#define LUO_TEST_BYTES		LUO_TEST_SIZE(LUO_TEST_SLOTS)

/**
 * struct luo_timeline_kunit - what every test starts with, in &kunit.priv
 * @timeline: the timeline of the outgoing kernel, recording update 1.
 * @next: the timeline of the incoming kernel, without memory.
 * @mem: memory of @timeline.
 * @copy: of the same size.
 */
struct luo_timeline_kunit {
	struct luo_timeline timeline;
	struct luo_timeline next;
	void *mem;
	void *copy;
};

static void luo_timeline_free(void *mem)
{
	kvfree(mem);
}

static int luo_timeline_test_init(struct kunit *test)
{
	struct luo_timeline_kunit *fixture;

	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	if (!fixture)
		return -ENOMEM;
	fixture->mem = kunit_kzalloc(test, LUO_TEST_BYTES, GFP_KERNEL);
	fixture->copy = kunit_kzalloc(test, LUO_TEST_BYTES, GFP_KERNEL);
	if (!fixture->mem || !fixture->copy)
		return -ENOMEM;

	luo_timeline_init(&fixture->timeline);
	luo_timeline_init(&fixture->next);
	fixture->timeline.update = 1;
	fixture->timeline.recording = true;
	test->priv = fixture;

	return luo_timeline_attach(&fixture->timeline, fixture->mem,
				   LUO_TEST_BYTES);
}

/* Appends a record that differs from its neighbours in every field. */
static void luo_timeline_test_fill(struct luo_timeline *timeline, u32 index)
{
	char name[LIVEUPDATE_TIMELINE_NAME_LEN];

	snprintf(name, sizeof(name), "subsystem-%u", index);
	luo_timeline_append(timeline, index % 2 ? LIVEUPDATE_TIMELINE_CALLBACK :
			    LIVEUPDATE_TIMELINE_TRANSITION,
			    LUO_TRANSITION_PREPARE + index % 6, name,
			    0x123456789abcULL + index,
			    0x123456789abdULL + 3 * index, -(int)(index % 7));
}

static void luo_timeline_test_expect(struct kunit *test,
				     const struct luo_timeline *timeline,
				     u32 slot, u32 index, u16 kernel)
{
	const struct liveupdate_timeline_record *record =
		&timeline->records[slot];
	char name[LIVEUPDATE_TIMELINE_NAME_LEN];

	snprintf(name, sizeof(name), "subsystem-%u", index);
	KUNIT_EXPECT_STREQ_MSG(test, record->name, name, "slot %u", slot);
	KUNIT_EXPECT_EQ(test, record->kind,
			index % 2 ? LIVEUPDATE_TIMELINE_CALLBACK :
				    LIVEUPDATE_TIMELINE_TRANSITION);
	KUNIT_EXPECT_EQ(test, record->transition, LUO_TRANSITION_PREPARE + index % 6);
	KUNIT_EXPECT_EQ(test, record->start, 0x123456789abcULL + index);
	KUNIT_EXPECT_EQ(test, record->end, 0x123456789abdULL + 3 * index);
	KUNIT_EXPECT_EQ(test, record->error, -(int)(index % 7));
	KUNIT_EXPECT_EQ(test, record->kernel, kernel);
}

static u32 luo_timeline_test_crc(const void *data, size_t size)
{
	return ~crc32_le(~0, data, size);
}

static void luo_timeline_test_seal_record(struct liveupdate_timeline_record *record)
{
	record->crc = 0;
	record->crc = luo_timeline_test_crc(record, sizeof(*record)) ?: 1;
}

static void luo_timeline_append_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	char name[2 * LIVEUPDATE_TIMELINE_NAME_LEN + 1];

	for (u32 i = 0; i < 5; i++)
		luo_timeline_test_fill(timeline, i);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 5);
	for (u32 i = 0; i < 5; i++)
		luo_timeline_test_expect(test, timeline, i, i, 1);

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_MARK, LUO_TRANSITION_NONE,
			    name, 1, 1, 0);
	KUNIT_EXPECT_EQ(test, strlen(timeline->records[5].name),
			LIVEUPDATE_TIMELINE_NAME_LEN - 1);

	timeline->recording = false;
	luo_timeline_test_fill(timeline, 6);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 6);
	KUNIT_EXPECT_EQ(test, atomic_read(&timeline->dropped), 0);

	/* The counters of two processors. */
	timeline->recording = true;
	luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_TRANSITION, LUO_TRANSITION_THAW,
			    "", 100, 99, 0);
	KUNIT_EXPECT_EQ(test, timeline->records[6].start, 100);
	KUNIT_EXPECT_EQ(test, timeline->records[6].end, 100);
}

static void luo_timeline_test_mark(struct luo_timeline *timeline)
{
	luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_MARK, LUO_TRANSITION_NONE,
			    "mark", 1, 1, 0);
}

/* Callbacks have a share for each transition, and leave room, as do transitions. */
static void luo_timeline_full_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	u32 used = 0, dropped = 0;

	/* Until only what is reserved is free. */
	while (used + LUO_TEST_SHARE + 1 <= LUO_TEST_SLOTS - LUO_TIMELINE_RESERVED) {
		for (u32 i = 0; i < LUO_TEST_SHARE + 3; i++)
			luo_timeline_test_fill(timeline, 1);
		dropped += 3;
		luo_timeline_test_fill(timeline, 2);
		used += LUO_TEST_SHARE + 1;
		KUNIT_ASSERT_EQ(test, luo_timeline_complete(timeline), used);
		KUNIT_ASSERT_EQ(test, atomic_read(&timeline->dropped), dropped);
	}
	for (u32 i = 0; i < LUO_TEST_SHARE; i++)
		luo_timeline_test_fill(timeline, 1);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline),
			LUO_TEST_SLOTS - LUO_TIMELINE_RESERVED);

	for (u32 i = 0; i < LUO_TIMELINE_RESERVED; i++)
		luo_timeline_test_fill(timeline, 2);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline),
			LUO_TEST_SLOTS - LUO_TIMELINE_TRANSITIONS);

	dropped = atomic_read(&timeline->dropped);
	for (u32 i = 0; i < LUO_TIMELINE_TRANSITIONS + 2; i++)
		luo_timeline_test_mark(timeline);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), LUO_TEST_SLOTS);
	KUNIT_EXPECT_EQ(test, atomic_read(&timeline->dropped), dropped + 2);
	KUNIT_EXPECT_EQ(test, timeline->records[LUO_TEST_SLOTS - 1].kind,
			LIVEUPDATE_TIMELINE_MARK);
}

static void luo_timeline_test_parts(struct luo_timeline *timeline, u32 count)
{
	luo_timeline_append_items(timeline, LUO_TRANSITION_FREEZE, "many", 1, 9,
				  count);
	for (u32 i = 0; i < LIVEUPDATE_ITEMS_SLOWEST; i++)
		luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_ITEM,
				    LUO_TRANSITION_FREEZE, "part", 1, 9, 0);
}

/* Parts leave half of the share of their transition to callbacks, and all of others. */
static void luo_timeline_items_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	u32 lost = LIVEUPDATE_ITEMS_SLOWEST + 1 - LUO_TEST_SHARE / 2;
	u32 used = 0, dropped = 0;

	for (u32 transition = 0; transition < LUO_TIMELINE_SHARES; transition++) {
		luo_timeline_test_parts(timeline, U32_MAX);
		KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline),
				used + LUO_TEST_SHARE / 2);
		KUNIT_EXPECT_EQ(test, timeline->records[used].kind,
				LIVEUPDATE_TIMELINE_ITEMS);
		KUNIT_EXPECT_EQ(test, timeline->records[used].count, U32_MAX);
		for (u32 i = 1; i < LUO_TEST_SHARE / 2; i++)
			KUNIT_EXPECT_EQ(test, timeline->records[used + i].kind,
					LIVEUPDATE_TIMELINE_ITEM);
		for (u32 i = 0; i < LUO_TEST_SHARE; i++)
			luo_timeline_test_fill(timeline, 1);
		used += LUO_TEST_SHARE;
		dropped += lost + LUO_TEST_SHARE / 2;
		KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), used);
		KUNIT_EXPECT_EQ(test, atomic_read(&timeline->dropped), dropped);
		luo_timeline_test_fill(timeline, 2);
		luo_timeline_test_expect(test, timeline, used++, 2, 1);
	}

	/* A transition full of callbacks has no room for them. */
	for (u32 i = 0; i < LUO_TEST_SHARE; i++)
		luo_timeline_test_fill(timeline, 1);
	luo_timeline_test_parts(timeline, 1);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline),
			used + LUO_TEST_SHARE);

	/* Nor has a buffer in which only what is reserved is free. */
	do {
		luo_timeline_test_fill(timeline, 2);
		used = luo_timeline_complete(timeline);
		luo_timeline_test_parts(timeline, 1);
	} while (luo_timeline_complete(timeline) > used);
	KUNIT_EXPECT_GE(test, used, LUO_TEST_SLOTS - LUO_TIMELINE_RESERVED);
	KUNIT_EXPECT_LE(test, used, LUO_TEST_SLOTS - LUO_TIMELINE_RESERVED + 1);

	/* The next kernel takes them for what they are. */
	luo_timeline_seal(timeline);
	KUNIT_EXPECT_EQ(test, 0, luo_timeline_retrieve(&fixture->next,
						       fixture->mem));
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(&fixture->next), used);
}

static void luo_timeline_small_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	size_t size = LUO_TEST_SIZE(LUO_TIMELINE_RESERVED + 1);

	KUNIT_EXPECT_EQ(test, -EINVAL, luo_timeline_attach(&fixture->next,
							   fixture->copy,
							   size - 1));
	KUNIT_EXPECT_NULL(test, fixture->next.ser);
	KUNIT_EXPECT_EQ(test, 0, luo_timeline_attach(&fixture->next,
						     fixture->copy, size));
	KUNIT_EXPECT_EQ(test, fixture->next.slots, LUO_TIMELINE_RESERVED + 1);
}

/* The next kernel gets what was written, and goes on behind it. */
static void luo_timeline_round_trip_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	struct luo_timeline *next = &fixture->next;

	for (u32 i = 0; i < 10; i++)
		luo_timeline_test_fill(timeline, i);
	timeline->update = 3;
	timeline->kernel = 2;
	timeline->generation = 4;
	timeline->corrupted = 5;
	atomic_set(&timeline->dropped, 6);
	luo_timeline_seal(timeline);
	luo_timeline_test_fill(timeline, 10);

	KUNIT_ASSERT_EQ(test, 0, luo_timeline_attach(next, fixture->copy,
						     LUO_TEST_BYTES));
	next->recording = true;
	luo_timeline_test_fill(next, 11);
	next->corrupted = 20;
	atomic_set(&next->dropped, 30);
	KUNIT_ASSERT_EQ(test, 0, luo_timeline_check(fixture->mem,
						    LUO_TEST_BYTES));
	KUNIT_EXPECT_EQ(test, 0, luo_timeline_retrieve(next, fixture->mem));
	luo_timeline_test_fill(next, 12);

	KUNIT_EXPECT_EQ(test, luo_timeline_complete(next), 13);
	for (u32 i = 0; i < 10; i++)
		luo_timeline_test_expect(test, next, i, i, 1);
	luo_timeline_test_expect(test, next, 10, 10, 2);
	luo_timeline_test_expect(test, next, 11, 11, 3);
	luo_timeline_test_expect(test, next, 12, 12, 3);
	KUNIT_EXPECT_EQ(test, next->records[10].update, 3);
	KUNIT_EXPECT_EQ(test, next->records[11].update, 3);
	KUNIT_EXPECT_EQ(test, next->update, 3);
	KUNIT_EXPECT_EQ(test, next->generation, 4);
	KUNIT_EXPECT_EQ(test, next->corrupted, 25);
	KUNIT_EXPECT_EQ(test, atomic_read(&next->dropped), 36);

	/* And so does the one after it. */
	luo_timeline_seal(next);
	luo_timeline_init(timeline);
	KUNIT_ASSERT_EQ(test, 0, luo_timeline_check(fixture->mem,
						    LUO_TEST_BYTES));
	luo_timeline_retrieve(timeline, fixture->mem);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 13);
	KUNIT_EXPECT_EQ(test, timeline->kernel, 4);
}

/* Every bit of the buffer is flipped in turn. */
static void luo_timeline_flip_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	size_t head = sizeof(struct luo_timeline_ser);
	size_t size = sizeof(struct liveupdate_timeline_record);
	u32 count = 3;
	u8 *copy = fixture->copy;

	for (u32 i = 0; i < count; i++)
		luo_timeline_test_fill(&fixture->timeline, i);
	luo_timeline_seal(&fixture->timeline);

	for (size_t bit = 0; bit < 8 * (head + (count + 1) * size); bit++) {
		size_t byte = bit / 8;
		u32 hit = byte < head ? 0 : (byte - head) / size;
		u32 left = hit < count ? count - 1 : count;
		int err;

		memcpy(copy, fixture->mem, LUO_TEST_BYTES);
		copy[byte] ^= 1 << bit % 8;
		err = luo_timeline_check(copy, LUO_TEST_BYTES);
		if (byte < head) {
			KUNIT_ASSERT_NE_MSG(test, err, 0, "byte %zu", byte);
			continue;
		}
		KUNIT_ASSERT_EQ_MSG(test, err, 0, "byte %zu", byte);

		luo_timeline_init(&fixture->next);
		luo_timeline_retrieve(&fixture->next, copy);
		KUNIT_ASSERT_EQ_MSG(test, fixture->next.corrupted, 1,
				    "bit %zu of byte %zu", bit % 8, byte);
		KUNIT_ASSERT_EQ_MSG(test, luo_timeline_complete(&fixture->next),
				    left, "byte %zu", byte);
		for (u32 i = 0; i < left; i++)
			luo_timeline_test_expect(test, &fixture->next, i,
						 i < hit ? i : i + 1, 1);
	}
}

static void luo_timeline_head_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline_ser *ser = fixture->mem;
	struct luo_timeline_ser good;
	static const struct {
		u32 slots;
		u32 update;
		u32 kernel;
		int error;
	} heads[] = {
		{ LUO_TEST_SLOTS, 1, 1, 0 },
		{ LUO_TIMELINE_RESERVED + 1, 1, U16_MAX - 1, 0 },
		{ LUO_TIMELINE_RESERVED, 1, 1, -EINVAL },
		{ 0, 1, 1, -EINVAL },
		{ LUO_TEST_SLOTS + 1, 1, 1, -EINVAL },
		{ U32_MAX, 1, 1, -EINVAL },
		{ LUO_TEST_SLOTS, U32_MAX - 1, 1, 0 },
		{ LUO_TEST_SLOTS, U32_MAX, 1, -EINVAL },
		{ LUO_TEST_SLOTS, 0, 1, -EINVAL },
		{ LUO_TEST_SLOTS, 1, 0, -EINVAL },
		{ LUO_TEST_SLOTS, 1, U16_MAX, -EINVAL },
		{ LUO_TEST_SLOTS, 1, U32_MAX, -EINVAL },
	};

	luo_timeline_seal(&fixture->timeline);
	good = *ser;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		ser->slots = heads[i].slots;
		ser->update = heads[i].update;
		ser->kernel = heads[i].kernel;
		ser->crc = luo_timeline_test_crc(ser, offsetof(typeof(*ser), crc));
		KUNIT_EXPECT_EQ_MSG(test, heads[i].error,
				    luo_timeline_check(ser, LUO_TEST_BYTES),
				    "head %zu", i);
	}

	*ser = good;
	KUNIT_EXPECT_EQ(test, 0, luo_timeline_check(ser, LUO_TIMELINE_MAX_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_timeline_check(ser, LUO_TIMELINE_MAX_SIZE + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_timeline_check(ser, sizeof(*ser) - 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_timeline_check(ser, LUO_TEST_BYTES - 1));
	ser->crc++;
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_timeline_check(ser, LUO_TEST_BYTES));
	ser->compatible[strlen(LUO_TIMELINE_COMPATIBLE) - 1]++;
	KUNIT_EXPECT_EQ(test, -EPROTONOSUPPORT,
			luo_timeline_check(ser, LUO_TEST_BYTES));
}

/* Fields that are wrong, or only unknown, under a checksum that is right. */
static bool luo_timeline_corruption(struct liveupdate_timeline_record *record,
				    unsigned int field)
{
	switch (field) {
	case 0:
		return false;
	case 1:
		record->kind = LIVEUPDATE_TIMELINE_ITEM + 1;
		return false;
	case 2:
		record->transition = LIVEUPDATE_TIMELINE_FINISH + 1;
		return false;
	case 3:
		record->error = -MAX_ERRNO;
		return false;
	case 4:
		record->kind = 0;
		return true;
	case 5:
		record->update = 0;
		return true;
	case 6:
		record->update++;
		return true;
	case 7:
		record->kernel = 0;
		return true;
	case 8:
		record->kernel++;
		return true;
	case 9:
		record->start = record->end + 1;
		return true;
	case 10:
		record->error = 1;
		return true;
	case 11:
		record->error = -MAX_ERRNO - 1;
		return true;
	case 12:
		memset(record->name, 'x', sizeof(record->name));
		return true;
	case 13:
		record->name[sizeof(record->name) - 2] = 'x';
		return true;
	case 14:
		record->name[2] = ' ';
		return true;
	default:
		record->name[2] = '\n';
		return true;
	}
}

static void luo_timeline_corruption_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct liveupdate_timeline_record *records =
		fixture->copy + sizeof(struct luo_timeline_ser);

	for (u32 i = 0; i < 3; i++)
		luo_timeline_test_fill(&fixture->timeline, i);
	luo_timeline_seal(&fixture->timeline);

	for (unsigned int field = 0; field <= 15; field++) {
		bool corrupted;

		memcpy(fixture->copy, fixture->mem, LUO_TEST_BYTES);
		corrupted = luo_timeline_corruption(&records[1], field);
		luo_timeline_test_seal_record(&records[1]);
		luo_timeline_init(&fixture->next);
		KUNIT_EXPECT_EQ_MSG(test, corrupted,
				    luo_timeline_retrieve(&fixture->next,
							  fixture->copy),
				    "field %u", field);
		KUNIT_EXPECT_EQ(test, fixture->next.corrupted, corrupted);
		KUNIT_EXPECT_EQ(test, luo_timeline_complete(&fixture->next),
				3 - corrupted);

		/* What was removed does not come back. */
		luo_timeline_seal(&fixture->next);
		luo_timeline_init(&fixture->next);
		KUNIT_EXPECT_EQ(test, 0, luo_timeline_retrieve(&fixture->next,
							       fixture->copy));
		KUNIT_EXPECT_EQ(test, fixture->next.corrupted, corrupted);
		KUNIT_EXPECT_EQ(test, luo_timeline_complete(&fixture->next),
				3 - corrupted);
	}
}

/* A slot is a record when its checksum is there, and not before. */
static void luo_timeline_unfinished_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;

	for (u32 i = 0; i < 3; i++)
		luo_timeline_test_fill(timeline, i);
	timeline->records[1].crc = 0;
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 1);

	luo_timeline_seal(timeline);
	luo_timeline_retrieve(&fixture->next, fixture->mem);
	KUNIT_EXPECT_EQ(test, fixture->next.corrupted, 1);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(&fixture->next), 2);
	luo_timeline_test_expect(test, &fixture->next, 1, 2, 1);
}

static void luo_timeline_room_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	u32 half = LUO_TEST_SLOTS / 2;

	/* Half is not too much. Three updates, the first of one record. */
	for (u32 i = 0; i < half; i++) {
		timeline->update = i < 1 ? 1 : i < 6 ? 2 : 3;
		luo_timeline_test_fill(timeline, 2 * i);
	}
	luo_timeline_make_room(timeline);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), half);
	KUNIT_EXPECT_EQ(test, timeline->generation, 0);

	/* Two more: the second update goes as a whole, as does the first. */
	luo_timeline_test_fill(timeline, 2 * half);
	luo_timeline_test_fill(timeline, 2 * half + 2);
	luo_timeline_make_room(timeline);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), half + 2 - 6);
	KUNIT_EXPECT_EQ(test, timeline->generation, 1);
	for (u32 i = 0; i < half + 2 - 6; i++)
		luo_timeline_test_expect(test, timeline, i, 2 * (i + 6), 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(&timeline->records[half - 4], 0,
					   (LUO_TEST_SLOTS - half + 4) *
					   sizeof(*timeline->records)));

	/* One update that takes more than half goes, too. */
	while (luo_timeline_complete(timeline) <= half)
		luo_timeline_test_fill(timeline, 2);
	luo_timeline_make_room(timeline);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 0);
	KUNIT_EXPECT_EQ(test, timeline->generation, 2);
}

static void luo_timeline_read_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;
	struct liveupdate_timeline_header *header;
	size_t total = sizeof(*header) +
		       4 * sizeof(struct liveupdate_timeline_record);
	char *whole = kunit_kzalloc(test, total, GFP_KERNEL);
	char *items = kunit_kzalloc(test, total, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, whole);
	KUNIT_ASSERT_NOT_NULL(test, items);
	for (u32 i = 0; i < 4; i++)
		luo_timeline_test_fill(timeline, i);
	timeline->generation = 7;
	timeline->corrupted = 8;
	atomic_set(&timeline->dropped, 9);

	KUNIT_ASSERT_EQ(test, luo_timeline_read(timeline, 1000, 1, whole, 0,
						total), total);
	header = (void *)whole;
	KUNIT_EXPECT_STREQ(test, header->magic, LIVEUPDATE_TIMELINE_MAGIC);
	KUNIT_EXPECT_EQ(test, header->version, LIVEUPDATE_TIMELINE_VERSION);
	KUNIT_EXPECT_EQ(test, header->header_size, sizeof(*header));
	KUNIT_EXPECT_EQ(test, header->count, 4);
	KUNIT_EXPECT_EQ(test, header->frequency, 1000);
	KUNIT_EXPECT_EQ(test, header->flags, LIVEUPDATE_TIMELINE_INVARIANT);
	KUNIT_EXPECT_EQ(test, header->generation, 7);
	KUNIT_EXPECT_EQ(test, header->corrupted, 8);
	KUNIT_EXPECT_EQ(test, header->dropped, 9);
	KUNIT_EXPECT_MEMEQ(test, whole + sizeof(*header), timeline->records,
			   total - sizeof(*header));

	for (size_t chunk = 1; chunk < total; chunk++) {
		ssize_t size;
		size_t at = 0;

		memset(items, 0, total);
		do {
			size = luo_timeline_read(timeline, 1000, 1, items + at,
						 at, min(chunk, total - at));
			KUNIT_ASSERT_GE(test, size, 0);
			at += size;
		} while (size);
		KUNIT_ASSERT_EQ_MSG(test, at, total, "by %zu", chunk);
		KUNIT_ASSERT_MEMEQ(test, items, whole, total);
	}
	KUNIT_EXPECT_EQ(test, luo_timeline_read(timeline, 1000, 1, items, total,
						total), 0);
}

/* Without memory, too. */
static void luo_timeline_read_empty_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct liveupdate_timeline_header header;

	KUNIT_EXPECT_EQ(test, luo_timeline_read(&fixture->next, 1000, 0,
						(char *)&header, 0,
						sizeof(header)),
			sizeof(header));
	KUNIT_EXPECT_EQ(test, header.count, 0);
	KUNIT_EXPECT_EQ(test, luo_timeline_read(&fixture->next, 1000, 0,
						(char *)&header, sizeof(header),
						sizeof(header)), 0);
}

/* The last records go, and nothing else. */
static void luo_timeline_truncate_test(struct kunit *test)
{
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline *timeline = &fixture->timeline;

	for (u32 i = 0; i < 5; i++)
		luo_timeline_test_fill(timeline, i);
	luo_timeline_truncate(timeline, U32_MAX);
	luo_timeline_truncate(timeline, 5);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 5);
	KUNIT_EXPECT_EQ(test, timeline->generation, 0);

	luo_timeline_truncate(timeline, 3);
	KUNIT_EXPECT_EQ(test, luo_timeline_complete(timeline), 3);
	KUNIT_EXPECT_EQ(test, timeline->generation, 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(&timeline->records[3], 0,
					   2 * sizeof(*timeline->records)));
	luo_timeline_test_fill(timeline, 7);
	luo_timeline_test_expect(test, timeline, 2, 2, 1);
	luo_timeline_test_expect(test, timeline, 3, 7, 1);
}

/*
 * Several append at once while somebody reads: every record is there once, and
 * what can be read is whole.
 */

#define LUO_TEST_WRITERS	4
#define LUO_TEST_EACH		2000

struct luo_timeline_writer {
	struct work_struct work;
	struct luo_timeline *timeline;
	struct completion *start;
	atomic_t *running;
	u32 number;
};

static void luo_timeline_write(struct work_struct *work)
{
	struct luo_timeline_writer *writer =
		container_of(work, struct luo_timeline_writer, work);

	wait_for_completion(writer->start);
	for (u32 i = 0; i < LUO_TEST_EACH; i++)
		luo_timeline_append(writer->timeline, LIVEUPDATE_TIMELINE_MARK,
				    LUO_TRANSITION_NONE, "mark",
				    i * LUO_TEST_WRITERS + writer->number,
				    U64_MAX - i, 0);
	atomic_dec(writer->running);
}

/* Looks at what is new behind @checked; counts what is not whole in @torn. */
static u32 luo_timeline_whole(struct luo_timeline *timeline, u32 checked,
			      u32 *torn)
{
	u32 count = luo_timeline_complete(timeline);

	for (; checked < count; checked++) {
		struct liveupdate_timeline_record record =
			timeline->records[checked];

		luo_timeline_test_seal_record(&record);
		*torn += record.crc != timeline->records[checked].crc;
	}

	return checked;
}

static void luo_timeline_race_test(struct kunit *test)
{
	u32 slots = LUO_TEST_EACH * LUO_TEST_WRITERS;
	struct luo_timeline_kunit *fixture = test->priv;
	struct luo_timeline_writer writers[LUO_TEST_WRITERS];
	struct luo_timeline *timeline = &fixture->next;
	u32 seen[LUO_TEST_WRITERS] = {};
	DECLARE_COMPLETION_ONSTACK(start);
	atomic_t running = ATOMIC_INIT(LUO_TEST_WRITERS);
	u32 checked = 0, torn = 0;
	void *mem;

	mem = kvzalloc(LUO_TEST_SIZE(slots), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, luo_timeline_free,
							   mem));
	KUNIT_ASSERT_EQ(test, 0, luo_timeline_attach(timeline, mem,
						     LUO_TEST_SIZE(slots)));
	timeline->update = 1;
	timeline->recording = true;

	/* Nothing may end the test as long as they run. */
	for (u32 i = 0; i < LUO_TEST_WRITERS; i++) {
		writers[i].timeline = timeline;
		writers[i].start = &start;
		writers[i].running = &running;
		writers[i].number = i;
		INIT_WORK_ONSTACK(&writers[i].work, luo_timeline_write);
		queue_work(system_dfl_wq, &writers[i].work);
	}
	complete_all(&start);
	while (atomic_read(&running)) {
		checked = luo_timeline_whole(timeline, checked, &torn);
		cond_resched();
	}
	for (u32 i = 0; i < LUO_TEST_WRITERS; i++) {
		flush_work(&writers[i].work);
		destroy_work_on_stack(&writers[i].work);
	}

	KUNIT_EXPECT_EQ(test, torn, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&timeline->dropped), 0);
	KUNIT_ASSERT_EQ(test, luo_timeline_whole(timeline, 0, &torn), slots);
	KUNIT_EXPECT_EQ(test, torn, 0);
	for (u32 i = 0; i < slots; i++) {
		u64 begin = timeline->records[i].start;

		KUNIT_ASSERT_EQ(test, begin / LUO_TEST_WRITERS,
				seen[begin % LUO_TEST_WRITERS]);
		seen[begin % LUO_TEST_WRITERS]++;
	}
}

static struct kunit_case luo_timeline_cases[] = {
	KUNIT_CASE(luo_timeline_append_test),
	KUNIT_CASE(luo_timeline_full_test),
	KUNIT_CASE(luo_timeline_items_test),
	KUNIT_CASE(luo_timeline_small_test),
	KUNIT_CASE(luo_timeline_round_trip_test),
	KUNIT_CASE_SLOW(luo_timeline_flip_test),
	KUNIT_CASE(luo_timeline_head_test),
	KUNIT_CASE(luo_timeline_corruption_test),
	KUNIT_CASE(luo_timeline_unfinished_test),
	KUNIT_CASE(luo_timeline_room_test),
	KUNIT_CASE(luo_timeline_read_test),
	KUNIT_CASE(luo_timeline_read_empty_test),
	KUNIT_CASE(luo_timeline_truncate_test),
	KUNIT_CASE(luo_timeline_race_test),
	{}
};

static struct kunit_suite luo_timeline_test_suite = {
	.name = "liveupdate_timeline",
	.init = luo_timeline_test_init,
	.test_cases = luo_timeline_cases,
};

kunit_test_suite(luo_timeline_test_suite);
