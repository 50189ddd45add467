// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the reader of instances against corruption in bulk
 *
 * A table of instances with the corruption of luo_mutate.c, as in luo_mutate_kunit.c: with
 * the checksums as they were, when an instance arrives as it was handed over or is
 * unreadable, and with checksums that were corrected, when whatever arrives is within the
 * bounds of the format. Images are of either class in turn.
 */

#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate/mutate.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_IM_NAME		"vmm"
#define LUO_IM_PER_BLOCK \
	((unsigned int)KHO_TABLE_PER_BLOCK(sizeof(struct luo_instance_ser)))

enum {
	LUO_IM_HEAD,
	LUO_IM_FIRST,
	LUO_IM_SECOND,
	LUO_IM_BLOB,
	LUO_IM_LONG_BLOB,
	LUO_IM_OTHER,
};

/* Those that are looked for, and whose fields are corrupted; there may be more. */
#define LUO_IM_KNOWN		3

static const struct luo_mutate_case luo_im_cases[] = {
	{ "as it is", false, 30 },
	{ "checksums corrected", true, 50 },
};

KUNIT_ARRAY_PARAM_DESC(luo_im_case, luo_im_cases, name);

static const struct luo_mutate_table luo_im_table = {
	.head		= LUO_IM_HEAD,
	.blocks		= LUO_IM_FIRST,
	.compatible	= LUO_INSTANCES_COMPATIBLE,
	.record_size	= sizeof(struct luo_instance_ser),
};

static const struct liveupdate_subsystem_desc luo_im_desc = {
	.name = LUO_IM_NAME, .version = 3, .oldest = 1,
};

static struct luo_mutate *luo_im;

/* A blob, a plain value, a larger blob, values. */
static void luo_im_fill(struct luo_instance_ser *ser, unsigned int index)
{
	*ser = (struct luo_instance_ser){
		.subsystem = LUO_IM_NAME,
		.key = index,
		.version = 1 + index % 3,
		.value = index,
	};
	if (index != 0 && index != 2)
		return;
	ser->flags = LUO_INSTANCE_SER_BLOB;
	ser->value = luo_mutate_phys(luo_im, index ? LUO_IM_LONG_BLOB : LUO_IM_BLOB);
	ser->size = index ? PAGE_SIZE + 1 : 100;
}

static void luo_im_write(unsigned int count)
{
	struct luo_instance_ser *ser;
	unsigned int area;

	luo_mutate_write_table(luo_im, &luo_im_table, count);
	for (unsigned int i = 0; i < count; i++) {
		ser = luo_mutate_record(luo_im, &luo_im_table, i, &area);
		luo_im_fill(ser, i);
		if (i % LUO_IM_PER_BLOCK >= LUO_IM_KNOWN)
			continue;
		luo_mutate_field(luo_im, area, &ser->subsystem[1], 1);
		luo_mutate_field(luo_im, area, &ser->key, 8);
		luo_mutate_field(luo_im, area, &ser->version, 4);
		luo_mutate_field(luo_im, area, &ser->flags, 4);
		luo_mutate_field(luo_im, area, &ser->value, 8);
		luo_mutate_field(luo_im, area, &ser->size, 8);
	}
	luo_mutate_seal_table(luo_im, &luo_im_table);
	memset(luo_mutate_mem(luo_im, LUO_IM_OTHER), 0, PAGE_SIZE);
}

static bool luo_im_is_known_error(int err)
{
	return err == -ENOENT || err == -EBADMSG || err == -ENODATA ||
	       err == -EPROTONOSUPPORT;
}

/* What is found of one that was handed over. */
static void luo_im_find(struct luo_ctx *next, unsigned int index, bool sealed)
{
	struct liveupdate_instance_info info;
	struct luo_instance_ser ser;
	int err;

	luo_im_fill(&ser, index);
	err = luo_instance_find(next, &luo_im_desc, index, &info);
	if (sealed)
		luo_mutate_wrong(luo_im, err ? !luo_im_is_known_error(err) :
				 info.data.size &&
				 !kho_is_restorable(info.data.value, info.data.size),
				 "an instance out of bounds");
	else
		luo_mutate_wrong(luo_im, err ? err != -EBADMSG :
				 info.version != ser.version ||
				 info.data.value != ser.value ||
				 info.data.size != ser.size,
				 "another instance than was handed over");
}

/* One is claimed, with its blob; the others are left to finish and the operator. */
static void luo_im_claim(struct luo_ctx *next)
{
	struct liveupdate_instance_info info;
	void *blob;

	if (luo_instance_find(next, &luo_im_desc, 0, &info))
		return;
	luo_mutate_wrong(luo_im, luo_instance_claim(next, &luo_im_desc, 0),
			 "an instance that is there cannot be claimed");
	luo_mutate_wrong(luo_im, luo_instance_claim(next, &luo_im_desc, 0) != -EALREADY,
			 "an instance can be claimed twice");
	blob = liveupdate_data_claim(&info.data);
	if (blob)
		folio_put(virt_to_folio(blob));
}

static void luo_im_boot(struct kunit *test, bool sealed)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct luo_instances *instances = &next->instances;

	instances->finished = false;
	luo_instances_accept(next, luo_im->image % LUO_NR_CLASSES,
			     luo_mutate_phys(luo_im, LUO_IM_HEAD),
			     luo_im->areas[LUO_IM_HEAD].used);
	scoped_guard(mutex, &next->lock) {
		luo_instances_arrived(next);
		for (unsigned int i = 0; i < LUO_IM_KNOWN; i++)
			luo_im_find(next, i, sealed);
		luo_im_claim(next);
		luo_instances_restored(next);
		luo_instances_finish(next);
	}
	luo_mutate_wrong(luo_im, luo_kunit_forget_all(next) || instances->in ||
			 instances->nr_unreadable[LIVEUPDATE_OPTIONAL] ||
			 instances->nr_unreadable[LIVEUPDATE_MANDATORY],
			 "something is left after everything was given up");
	luo_mutate_wrong(luo_im, !sealed && !luo_mutate_reserved(luo_im, LUO_IM_OTHER),
			 "memory of somebody else was freed");
}

static void luo_im_areas(struct kunit *test, unsigned int share)
{
	luo_mutate_begin(luo_im, test, share);
	for (unsigned int i = 0; i <= LUO_IM_OTHER; i++)
		luo_mutate_area(luo_im, i == LUO_IM_LONG_BLOB);
}

static void luo_im_table_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;

	luo_im_areas(test, what->share);
	while (luo_mutate_next(luo_im)) {
		luo_im_write(luo_im->image % 16 ? LUO_IM_KNOWN : LUO_IM_PER_BLOCK + 2);
		luo_mutate_corruption(luo_im);
		if (what->sealed)
			luo_mutate_seal_table(luo_im, &luo_im_table);
		luo_im_boot(test, what->sealed);
	}
}

/* Without corruption all arrive and all memory is free in the end. */
static void luo_im_intact_test(struct kunit *test)
{
	luo_im_areas(test, 1);
	while (luo_mutate_next(luo_im)) {
		luo_im_write(luo_im->image % 2 ? LUO_IM_KNOWN : LUO_IM_PER_BLOCK + 2);
		luo_im_boot(test, false);
		luo_mutate_wrong(luo_im, luo_mutate_reserved(luo_im, LUO_IM_HEAD) ||
				 luo_mutate_reserved(luo_im, LUO_IM_FIRST) ||
				 luo_mutate_reserved(luo_im, LUO_IM_BLOB) ||
				 luo_mutate_reserved(luo_im, LUO_IM_LONG_BLOB),
				 "memory that is reserved for nobody");
	}
}

static int luo_im_init(struct kunit *test)
{
	int err = luo_kunit_init(test);

	if (err)
		return err;
	luo_im = kunit_kzalloc(test, sizeof(*luo_im), GFP_KERNEL);

	return luo_im ? 0 : -ENOMEM;
}

static void luo_im_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	luo_kunit_exit(test);
	if (luo_im && luo_im->test)
		luo_mutate_end(luo_im);
	luo_im = NULL;
}

static struct kunit_case luo_im_test_cases[] = {
	KUNIT_CASE(luo_im_intact_test),
	KUNIT_CASE_PARAM_ATTR(luo_im_table_test, luo_im_case_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite luo_im_test_suite = {
	.name = "luo-instances-mutate",
	.init = luo_im_init,
	.exit = luo_im_exit,
	.test_cases = luo_im_test_cases,
};

kunit_test_suite(luo_im_test_suite);
