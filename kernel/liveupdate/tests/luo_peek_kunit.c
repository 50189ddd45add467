// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of looking at handed-over data early
 *
 * What luo_peek.c promises to say of a record: before anybody has read the table,
 * before, while and after it is restored, after that failed, and when it is gone.
 * Machines are those of luo_kunit.c.
 */

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_PEEK_VALUE	0x0123456789abcdefULL
#define LUO_PEEK_SIZE	100

/* Hands over "blob", mandatory, of version 3, and "plain". */
static void luo_peek_leave(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *blob, *plain;

	blob = luo_kunit_new(test, "blob", LIVEUPDATE_LEVEL_IOMMU);
	blob->desc.version = 3;
	blob->desc.class = LIVEUPDATE_MANDATORY;
	blob->offer.size = LUO_PEEK_SIZE;
	plain = luo_kunit_new(test, "plain", LIVEUPDATE_LEVEL_IRQ);
	plain->offer.value = LUO_PEEK_VALUE;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx, &blob->subsystem));
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx, &plain->subsystem));
	luo_kunit_hand_over(test);
}

static int luo_peek(struct kunit *test, const char *name, u32 oldest, u32 version,
		    struct liveupdate_data *data)
{
	struct liveupdate_subsystem_desc desc = {
		.version = version,
		.oldest = oldest,
	};
	struct luo_kunit *fixture = test->priv;

	*data = (struct liveupdate_data){};
	strscpy(desc.name, name);
	if (fixture->next.arrived)
		return luo_peek_incoming(&fixture->next, &desc, data);

	return luo_peek_table(fixture->phys, fixture->size, &desc, data);
}

/* Both ways of looking give the same answers as long as nobody has restored. */
static void luo_peek_expect_there(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	unsigned long reserved = kho_kunit_reserved_pages(&fixture->kho);
	struct liveupdate_data data;
	const u8 *bytes;

	KUNIT_ASSERT_EQ(test, 0, luo_peek(test, "blob", 1, 3, &data));
	KUNIT_ASSERT_EQ(test, data.size, LUO_PEEK_SIZE);
	bytes = liveupdate_data_blob(&data);
	for (size_t i = 0; i < LUO_PEEK_SIZE; i++)
		KUNIT_ASSERT_EQ(test, bytes[i], luo_kunit_pattern("blob", i));
	KUNIT_EXPECT_EQ(test, 0, luo_peek(test, "plain", 1, 1, &data));
	KUNIT_EXPECT_EQ(test, data.value, LUO_PEEK_VALUE);
	KUNIT_EXPECT_EQ(test, data.size, 0);

	KUNIT_EXPECT_EQ(test, -EPROTONOSUPPORT, luo_peek(test, "blob", 1, 2, &data));
	KUNIT_EXPECT_EQ(test, -EPROTONOSUPPORT, luo_peek(test, "blob", 4, 5, &data));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "other", 1, 3, &data));
	KUNIT_EXPECT_EQ(test, data.size, 0);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), reserved);
	luo_kunit_expect_log(test, "");
}

static void luo_peek_before_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	luo_peek_leave(test);
	luo_peek_expect_there(test);
	/* Nobody is there who restores. */
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_peek_expect_there(test);
	KUNIT_EXPECT_TRUE(test, fixture->next.arrived);
}

static void luo_peek_corrupted_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_data data;

	luo_peek_leave(test);
	luo_kunit_record(test, 0)->version ^= 1;
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "blob", 1, 9, &data));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "plain", 1, 9, &data));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "other", 1, 9, &data));

	/* Then it is known to nobody what there is, until the operator knows. */
	luo_subsystems_retain_table(&fixture->next);
	fixture->next.arrived = true;
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "other", 1, 9, &data));
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->next));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "other", 1, 9, &data));
}

static void luo_peek_no_blob_test(struct kunit *test)
{
	struct liveupdate_data data;

	luo_peek_leave(test);
	/* "plain", as it is on the higher level. */
	luo_kunit_record(test, 0)->flags |= LUO_SUBSYSTEM_SER_BLOB;
	luo_kunit_record(test, 0)->size = 1;
	luo_kunit_seal(test);
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "plain", 1, 1, &data));
	KUNIT_EXPECT_EQ(test, data.value, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_peek(test, "plain", 1, 1, &data));
	KUNIT_EXPECT_EQ(test, 0, luo_peek(test, "blob", 3, 3, &data));
}

/* From the callback: that of @context is what each one says of "blob". */
static void luo_peek_hook(struct luo_kunit_subsystem *mock,
			  enum luo_transition transition)
{
	int *answer = mock->context;
	struct liveupdate_data data;

	*answer = luo_peek_incoming(&mock->fixture->next, &mock->desc,
				    &data);
}

static struct luo_kunit_subsystem *luo_peek_receive(struct kunit *test, int *during)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;

	luo_peek_leave(test);
	it = luo_kunit_new(test, "blob", LIVEUPDATE_LEVEL_IOMMU);
	it->desc.version = 3;
	it->hook = luo_peek_hook;
	it->context = during;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next, &it->subsystem));

	return it;
}

static void luo_peek_restored_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_data data;
	int during = 1;

	luo_peek_receive(test, &during)->claims = true;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, during, -EALREADY);
	KUNIT_EXPECT_EQ(test, -EALREADY, luo_peek(test, "blob", 1, 3, &data));
	KUNIT_EXPECT_EQ(test, 0, luo_peek(test, "plain", 1, 1, &data));

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, during, -EALREADY);
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "blob", 1, 3, &data));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "plain", 1, 1, &data));
}

/* It stays visible until the operator gives the data up. */
static void luo_peek_failed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_data data;
	int during = 1;

	/* An error that must not be taken for that of peek. */
	luo_peek_receive(test, &during)->error[LUO_TRANSITION_RESTORE] = -ENOENT;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -ENOTRECOVERABLE, luo_peek(test, "blob", 1, 3, &data));
	KUNIT_EXPECT_EQ(test, data.size, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, -ENOTRECOVERABLE, luo_peek(test, "blob", 1, 3, &data));
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained, "blob"));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "blob", 1, 3, &data));
}

/* The same for an optional record, up to FINISH. */
static void luo_peek_failed_optional_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;
	struct liveupdate_data data;

	luo_peek_leave(test);
	it = luo_kunit_new(test, "plain", LIVEUPDATE_LEVEL_IRQ);
	it->error[LUO_TRANSITION_RESTORE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next, &it->subsystem));
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -ENOTRECOVERABLE, luo_peek(test, "plain", 1, 1, &data));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_peek(test, "plain", 1, 1, &data));
}

/* What a subsystem had that goes away, nobody has. */
static void luo_peek_leaver_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;
	struct liveupdate_data data;
	int during = 1;

	it = luo_peek_receive(test, &during);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -EALREADY, luo_peek(test, "blob", 1, 3, &data));
	luo_subsystem_remove(&fixture->next, &it->subsystem);
	KUNIT_EXPECT_EQ(test, -ENOTRECOVERABLE, luo_peek(test, "blob", 1, 3, &data));
}

static struct kunit_case luo_peek_cases[] = {
	KUNIT_CASE(luo_peek_before_test),
	KUNIT_CASE(luo_peek_corrupted_test),
	KUNIT_CASE(luo_peek_no_blob_test),
	KUNIT_CASE(luo_peek_restored_test),
	KUNIT_CASE(luo_peek_failed_test),
	KUNIT_CASE(luo_peek_failed_optional_test),
	KUNIT_CASE(luo_peek_leaver_test),
	{}
};

static struct kunit_suite luo_peek_suite = {
	.name		= "luo-peek",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_peek_cases,
};

kunit_test_suite(luo_peek_suite);
