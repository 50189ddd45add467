// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the reader of the table of subsystems against corruption in bulk
 *
 * The table with the corruption of luo_mutate.c. Every case comes twice. As the
 * corruption left it, nothing of it may be used: what is accepted is what was handed
 * over. With checksums that were corrected after the corruption, which only a kernel
 * with a bug does, what is accepted is within the bounds that the format has, no
 * memory has two owners, and nothing is touched or freed that was not handed over.
 */

#include <linux/io.h>
#include <linux/liveupdate/mutate.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_MUTATE_PER_BLOCK \
	((unsigned int)KHO_TABLE_PER_BLOCK(sizeof(struct luo_subsystem_ser)))

/* Areas of the table of subsystems. */
enum {
	LUO_AREA_HEAD,
	LUO_AREA_FIRST,
	LUO_AREA_SECOND,
	LUO_AREA_BLOB,
	LUO_AREA_LONG_BLOB,
	LUO_AREA_OTHER,
};

#define LUO_MUTATE_KNOWN	3

static const struct luo_mutate_case luo_mutate_cases[] = {
	{ "as it is", false, 70 },
	{ "checksums corrected", true, 100 },
};

KUNIT_ARRAY_PARAM_DESC(luo_mutate_case, luo_mutate_cases, name);

static const struct luo_mutate_table luo_mutate_subsystems_table = {
	.head		= LUO_AREA_HEAD,
	.blocks		= LUO_AREA_FIRST,
	.compatible	= LUO_SUBSYSTEMS_COMPATIBLE,
	.record_size	= sizeof(struct luo_subsystem_ser),
};

static struct luo_mutate *luo_mutate;

/* What subsystem @index hands over: a blob, a plain value, a larger blob, values. */
static void luo_mutate_fill(struct luo_subsystem_ser *ser, unsigned int index)
{
	*ser = (struct luo_subsystem_ser){
		.version = index + 1,
		.flags = index % 2 ? LUO_SUBSYSTEM_SER_MANDATORY : 0,
		.value = index,
	};
	snprintf(ser->name, sizeof(ser->name), "subsystem-%u", index);
	if (index != 0 && index != 2)
		return;
	ser->flags |= LUO_SUBSYSTEM_SER_BLOB;
	ser->value = luo_mutate_phys(luo_mutate, index ? LUO_AREA_LONG_BLOB :
				     LUO_AREA_BLOB);
	ser->size = index ? PAGE_SIZE + 1 : 100;
}

/* A table as an intact kernel leaves it, with a record for each of @count. */
static void luo_mutate_write(unsigned int count)
{
	const struct luo_mutate_table *table = &luo_mutate_subsystems_table;
	struct luo_subsystem_ser *ser;
	unsigned int area;

	luo_mutate_write_table(luo_mutate, table, count);
	for (unsigned int i = 0; i < count; i++) {
		ser = luo_mutate_record(luo_mutate, table, i, &area);
		luo_mutate_fill(ser, i);
		if (i % LUO_MUTATE_PER_BLOCK >= LUO_MUTATE_KNOWN)
			continue;
		luo_mutate_field(luo_mutate, area, &ser->version, 4);
		luo_mutate_field(luo_mutate, area, &ser->flags, 4);
		luo_mutate_field(luo_mutate, area, &ser->value, 8);
		luo_mutate_field(luo_mutate, area, &ser->size, 8);
		luo_mutate_field(luo_mutate, area, &ser->name[12], 1);
	}
	luo_mutate_seal_table(luo_mutate, table);
	memset(luo_mutate_mem(luo_mutate, LUO_AREA_OTHER), 0, PAGE_SIZE);
}

/* Those of the subsystems that are there to be restored. */
static void luo_mutate_subsystems(struct kunit *test,
				  struct luo_kunit_subsystem **known)
{
	struct luo_kunit *fixture = test->priv;

	for (unsigned int i = 0; i < LUO_MUTATE_KNOWN; i++) {
		char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];

		snprintf(name, sizeof(name), "subsystem-%u", i);
		known[i] = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		known[i]->desc.version = i + 2;
		/* One takes its blob, the other one leaves it to finish. */
		known[i]->claims = i == 0;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &known[i]->subsystem));
	}
}

/* What a subsystem was given is what was handed over, as far as anybody can tell. */
static bool luo_mutate_received(const struct luo_kunit_subsystem *mock,
				unsigned int index, bool sealed)
{
	const struct liveupdate_data *data = &mock->received;
	struct luo_subsystem_ser ser;

	if (sealed)
		return !data->size || PAGE_ALIGNED(data->value);
	luo_mutate_fill(&ser, index);

	return data->size == ser.size && data->value == ser.value;
}

/* The next kernel boots with the image and finishes. */
static void luo_mutate_boot(struct kunit *test, bool sealed,
			    struct luo_kunit_subsystem **known)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	int err;

	seq_buf_clear(&fixture->log);
	for (unsigned int i = 0; i < LUO_MUTATE_KNOWN; i++) {
		known[i]->received = (struct liveupdate_data){};
		known[i]->claimed = NULL;
	}
	err = luo_ctx_restore(next, luo_mutate_phys(luo_mutate, LUO_AREA_HEAD),
			      luo_mutate->areas[LUO_AREA_HEAD].used);
	if (err) {
		luo_mutate_wrong(luo_mutate, err != -EINVAL && err != -EBADMSG &&
				 err != -EPROTONOSUPPORT, "an error nobody knows");
		luo_mutate_wrong(luo_mutate, next->state != LIVEUPDATE_STATE_NORMAL,
				 "a state after an error");
		luo_mutate_wrong(luo_mutate, luo_mutate_nr_reserved(luo_mutate) !=
				 luo_mutate->nr_areas, "memory freed after an error");
		luo_mutate_wrong(luo_mutate, seq_buf_used(&fixture->log),
				 "a callback after an error");
		return;
	}

	luo_mutate_wrong(luo_mutate, next->state != LIVEUPDATE_STATE_UPDATED,
			 "not in state updated");
	for (unsigned int i = 0; i < LUO_MUTATE_KNOWN; i++) {
		if (known[i]->subsystem.phase == LUO_PHASE_RESTORED)
			luo_mutate_wrong(luo_mutate,
					 !luo_mutate_received(known[i], i, sealed),
					 "other data than was handed over");
		else
			luo_mutate_wrong(luo_mutate, !sealed,
					 "a record did not arrive");
	}
	luo_mutate_wrong(luo_mutate, luo_ctx_finish(next, false), "finish failed");
	luo_mutate_wrong(luo_mutate, next->state != LIVEUPDATE_STATE_NORMAL,
			 "not in state normal");
	for (unsigned int i = 0; i < LUO_MUTATE_KNOWN; i++) {
		if (known[i]->claimed)
			folio_put(virt_to_folio(known[i]->claimed));
		known[i]->claimed = NULL;
	}
	luo_mutate_wrong(luo_mutate, luo_kunit_forget_all(next) || next->incoming,
			 "an operator cannot go on");
	/* A table that was made empty has no blocks. */
	luo_mutate_wrong(luo_mutate, luo_mutate_reserved(luo_mutate, LUO_AREA_HEAD) ||
			 (!sealed && luo_mutate_reserved(luo_mutate, LUO_AREA_FIRST)),
			 "the table was not freed");
	luo_mutate_wrong(luo_mutate, !sealed &&
			 !luo_mutate_reserved(luo_mutate, LUO_AREA_OTHER),
			 "memory of somebody else was freed");
}

static void luo_mutate_table_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;
	struct luo_kunit_subsystem *known[LUO_MUTATE_KNOWN];
	struct luo_mutate *mutate = luo_mutate;

	luo_mutate_subsystems(test, known);
	luo_mutate_begin(mutate, test, what->share);
	for (unsigned int i = 0; i <= LUO_AREA_OTHER; i++)
		luo_mutate_area(mutate, i == LUO_AREA_LONG_BLOB);
	while (luo_mutate_next(mutate)) {
		luo_mutate_write(mutate->image % 16 ? LUO_MUTATE_KNOWN :
				 LUO_MUTATE_PER_BLOCK + 2);
		luo_mutate_corruption(mutate);
		if (what->sealed)
			luo_mutate_seal_table(luo_mutate,
					      &luo_mutate_subsystems_table);
		luo_mutate_boot(test, what->sealed, known);
	}
}

/* Every image is read, and intact: what this test expects is what happens. */
static void luo_mutate_intact_test(struct kunit *test)
{
	struct luo_kunit_subsystem *known[LUO_MUTATE_KNOWN];
	struct luo_mutate *mutate = luo_mutate;

	luo_mutate_subsystems(test, known);
	luo_mutate_begin(mutate, test, 1);
	for (unsigned int i = 0; i <= LUO_AREA_OTHER; i++)
		luo_mutate_area(mutate, i == LUO_AREA_LONG_BLOB);
	while (luo_mutate_next(mutate)) {
		luo_mutate_write(mutate->image % 2 ? LUO_MUTATE_KNOWN :
				 LUO_MUTATE_PER_BLOCK + 2);
		luo_mutate_boot(test, false, known);
	}
}

static int luo_mutate_init(struct kunit *test)
{
	int err = luo_kunit_init(test);

	if (err)
		return err;
	luo_mutate = kunit_kzalloc(test, sizeof(*luo_mutate), GFP_KERNEL);
	if (!luo_mutate)
		return -ENOMEM;

	return 0;
}

static void luo_mutate_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	luo_kunit_exit(test);
	if (luo_mutate && luo_mutate->test)
		luo_mutate_end(luo_mutate);
	luo_mutate = NULL;
}

static struct kunit_case luo_mutate_test_cases[] = {
	KUNIT_CASE(luo_mutate_intact_test),
	KUNIT_CASE_PARAM_ATTR(luo_mutate_table_test, luo_mutate_case_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite luo_mutate_test_suite = {
	.name = "luo-mutate",
	.init = luo_mutate_init,
	.exit = luo_mutate_exit,
	.test_cases = luo_mutate_test_cases,
};

kunit_test_suite(luo_mutate_test_suite);
