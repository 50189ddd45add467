// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the reader of the timeline against corruption in bulk
 *
 * The idea, and the corruption, are in luo_mutate.c. Every case comes twice: as the
 * corruption left it, and with checksums that were corrected afterwards.
 */

#include <kunit/test.h>
#include <linux/liveupdate/mutate.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../luo_ctx.h"
#include "../luo_timeline.h"

#define LUO_MUTATE_SLOTS	(LUO_TIMELINE_RESERVED + 6)
#define LUO_MUTATE_WRITTEN	5
#define LUO_MUTATE_TIMELINE	(sizeof(struct luo_timeline_ser) + LUO_MUTATE_SLOTS * \
				 sizeof(struct liveupdate_timeline_record))

static const struct luo_mutate_case luo_mutate_timeline_cases[] = {
	{ "as it is", false, 60 },
	{ "checksums corrected", true, 80 },
};

KUNIT_ARRAY_PARAM_DESC(luo_mutate_timeline, luo_mutate_timeline_cases, name);

static void luo_mutate_seal_timeline(struct luo_timeline_ser *ser)
{
	struct liveupdate_timeline_record *record = (void *)(ser + 1);

	for (unsigned int i = 0; i < LUO_MUTATE_WRITTEN; i++, record++) {
		record->crc = 0;
		record->crc = luo_mutate_crc(0, record, sizeof(*record)) ?: 1;
	}
	ser->crc = luo_mutate_crc(0, ser, offsetof(struct luo_timeline_ser, crc));
}

static void luo_mutate_write_timeline(struct luo_mutate *mutate,
				      struct luo_timeline_ser *ser)
{
	struct liveupdate_timeline_record *record = (void *)(ser + 1);

	memset(ser, 0, LUO_MUTATE_TIMELINE);
	strscpy(ser->compatible, LUO_TIMELINE_COMPATIBLE);
	ser->slots = LUO_MUTATE_SLOTS;
	ser->update = 2;
	ser->kernel = 2;
	luo_mutate_field(mutate, 0, &ser->slots, 4);
	luo_mutate_field(mutate, 0, &ser->update, 4);
	luo_mutate_field(mutate, 0, &ser->kernel, 4);
	luo_mutate_field(mutate, 0, &ser->corrupted, 4);
	luo_mutate_field(mutate, 0, &ser->dropped, 4);
	for (unsigned int i = 0; i < LUO_MUTATE_WRITTEN; i++, record++) {
		record->start = 100 * i;
		record->end = 100 * i + 50;
		record->update = 1 + i / 3;
		record->kernel = 1 + i / 4;
		record->kind = i ? LIVEUPDATE_TIMELINE_CALLBACK :
			       LIVEUPDATE_TIMELINE_TRANSITION;
		record->transition = LUO_TRANSITION_PREPARE;
		strscpy(record->name, "subsystem");
		luo_mutate_field(mutate, 0, &record->start, 8);
		luo_mutate_field(mutate, 0, &record->end, 8);
		luo_mutate_field(mutate, 0, &record->update,
				 sizeof(record->update));
		luo_mutate_field(mutate, 0, &record->kernel,
				 sizeof(record->kernel));
		luo_mutate_field(mutate, 0, &record->kind, sizeof(record->kind));
		luo_mutate_field(mutate, 0, &record->error, 4);
		luo_mutate_field(mutate, 0, &record->name[11], 1);
	}
	luo_mutate_seal_timeline(ser);
	mutate->areas[0].used = sizeof(*ser) +
				LUO_MUTATE_WRITTEN * sizeof(*record);
}

/* A record that was taken over is within its bounds. */
static bool luo_mutate_timeline_sane(const struct luo_timeline *timeline,
				     const struct liveupdate_timeline_record *record)
{
	return record->crc && record->kind && record->update &&
	       record->update <= timeline->update && record->kernel &&
	       record->kernel <= timeline->kernel && record->start <= record->end &&
	       strnlen(record->name, sizeof(record->name)) < sizeof(record->name);
}

static void luo_mutate_read_timeline(struct luo_mutate *mutate,
				     struct luo_timeline *timeline, void *mem,
				     void *buf, bool sealed)
{
	const struct luo_timeline_ser *ser = mem;
	u32 corrupted, used;
	ssize_t size;
	int err;

	err = luo_timeline_check(mem, LUO_MUTATE_TIMELINE);
	if (err) {
		luo_mutate_wrong(mutate, err != -EINVAL && err != -EBADMSG &&
				 err != -EPROTONOSUPPORT, "an error nobody knows");
		return;
	}

	luo_timeline_init(timeline);
	corrupted = luo_timeline_retrieve(timeline, mem);
	luo_mutate_wrong(mutate, corrupted > ser->slots, "more corrupted than there are");
	luo_timeline_make_room(timeline);
	timeline->update++;
	timeline->recording = true;
	luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_TRANSITION, LUO_TRANSITION_RESTORE, "",
			    1000, 1001, 0);
	used = luo_timeline_complete(timeline);
	luo_mutate_wrong(mutate, used > timeline->slots, "more records than slots");
	luo_mutate_wrong(mutate, !sealed && used + corrupted > LUO_MUTATE_WRITTEN + 1,
			 "more records than were handed over");
	for (u32 i = 0; i < min(used, timeline->slots); i++)
		luo_mutate_wrong(mutate,
				 !luo_mutate_timeline_sane(timeline,
							   &timeline->records[i]),
				 "a record that cannot be");
	size = luo_timeline_read(timeline, 1, 0, buf, 0, LUO_MUTATE_TIMELINE);
	luo_mutate_wrong(mutate, size < 0, "the timeline cannot be read");
	luo_timeline_detach(timeline);
}

static void luo_mutate_timeline_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;
	struct luo_timeline *timeline = kunit_kzalloc(test, sizeof(*timeline),
						      GFP_KERNEL);
	/* Exactly as long as it is said to be. */
	void *mem = kunit_kmalloc(test, LUO_MUTATE_TIMELINE, GFP_KERNEL);
	void *buf = kunit_kmalloc(test, LUO_MUTATE_TIMELINE, GFP_KERNEL);
	struct luo_mutate *mutate = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, timeline);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	luo_mutate_begin(mutate, test, what->share);
	luo_mutate_area(mutate, get_order(LUO_MUTATE_TIMELINE));
	while (luo_mutate_next(mutate)) {
		void *area = luo_mutate_mem(mutate, 0);

		luo_mutate_write_timeline(mutate, area);
		luo_mutate_corruption(mutate);
		if (what->sealed)
			luo_mutate_seal_timeline(area);
		memcpy(mem, area, LUO_MUTATE_TIMELINE);
		luo_mutate_read_timeline(mutate, timeline, mem, buf,
					 what->sealed);
	}
}

static struct kunit_case luo_timeline_mutate_cases[] = {
	KUNIT_CASE_PARAM_ATTR(luo_mutate_timeline_test, luo_mutate_timeline_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite luo_timeline_mutate_suite = {
	.name = "luo-timeline-mutate",
	.init = luo_mutate_kunit_init,
	.exit = luo_mutate_kunit_exit,
	.test_cases = luo_timeline_mutate_cases,
};

kunit_test_suite(luo_timeline_mutate_suite);
