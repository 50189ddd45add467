// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the reader of the log of the shutdown against corruption in bulk
 *
 * The idea, and the corruption, are in luo_mutate.c. Every case comes twice: as the
 * corruption left it, and with checksums that were corrected afterwards.
 */

#include <kunit/test.h>
#include <linux/kho/abi/shutdown_log.h>
#include <linux/liveupdate/mutate.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../luo_ctx.h"

#define LUO_MUTATE_TEXT		"<6>[    1.000000] text of the shutdown\n"
#define LUO_MUTATE_LOG		(sizeof(struct luo_shutdown_log_ser) + 64)

static const struct luo_mutate_case luo_mutate_log_cases[] = {
	{ "as it is", false, 80 },
	{ "checksums corrected", true, 80 },
};

KUNIT_ARRAY_PARAM_DESC(luo_mutate_log, luo_mutate_log_cases, name);

static void luo_mutate_seal_log(struct luo_shutdown_log_ser *ser)
{
	u32 length = min(ser->length, LUO_MUTATE_LOG - (u32)sizeof(*ser));
	u32 crc = luo_mutate_crc(0, ser, offsetof(struct luo_shutdown_log_ser, crc));

	ser->crc = luo_mutate_crc(crc, ser + 1, length);
}

static void luo_mutate_write_log(struct luo_mutate *mutate,
				 struct luo_shutdown_log_ser *ser)
{
	memset(ser, 0, LUO_MUTATE_LOG);
	strscpy(ser->compatible, LUO_SHUTDOWN_LOG_COMPATIBLE);
	ser->length = strlen(LUO_MUTATE_TEXT);
	memcpy(ser + 1, LUO_MUTATE_TEXT, ser->length);
	luo_mutate_field(mutate, 0, &ser->length, 4);
	luo_mutate_field(mutate, 0, &ser->incomplete, 4);
	luo_mutate_field(mutate, 0, &ser->reserved, 4);
	luo_mutate_seal_log(ser);
	mutate->areas[0].used = LUO_MUTATE_LOG;
}

static void luo_mutate_log_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;
	struct luo_shutdown_log_ser *mem = kunit_kmalloc(test, LUO_MUTATE_LOG,
							 GFP_KERNEL);
	struct luo_mutate *mutate = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	luo_mutate_begin(mutate, test, what->share);
	luo_mutate_area(mutate, 0);
	while (luo_mutate_next(mutate)) {
		void *area = luo_mutate_mem(mutate, 0);
		int err;

		luo_mutate_write_log(mutate, area);
		luo_mutate_corruption(mutate);
		if (what->sealed)
			luo_mutate_seal_log(area);
		memcpy(mem, area, LUO_MUTATE_LOG);
		err = luo_shutdown_log_check(mem, LUO_MUTATE_LOG);
		if (err)
			luo_mutate_wrong(mutate, err != -EINVAL && err != -EBADMSG,
					 "an error nobody knows");
		else
			luo_mutate_wrong(mutate, mem->length >
					 LUO_MUTATE_LOG - sizeof(*mem) ||
					 (!what->sealed &&
					  memcmp(mem + 1, LUO_MUTATE_TEXT,
						 strlen(LUO_MUTATE_TEXT))),
					 "other text than was handed over");
	}
}

static struct kunit_case luo_shutdown_log_mutate_cases[] = {
	KUNIT_CASE_PARAM_ATTR(luo_mutate_log_test, luo_mutate_log_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite luo_shutdown_log_mutate_suite = {
	.name = "luo-shutdown-log-mutate",
	.init = luo_mutate_kunit_init,
	.exit = luo_mutate_kunit_exit,
	.test_cases = luo_shutdown_log_mutate_cases,
};

kunit_test_suite(luo_shutdown_log_mutate_suite);
