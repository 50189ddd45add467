// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of records in the next kernel
 *
 * Which record a subsystem can read, what becomes of the blob of each, who is asked to
 * dispose of it, and what is retained until somebody restores it or the operator gives it up.
 */

#include <linux/err.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

/**
 * struct luo_state_version - versions of data and of its reader
 * @written: version of the record.
 * @oldest: oldest version the subsystem reads.
 * @version: its own version.
 * @readable: what is to come of it.
 */
struct luo_state_version {
	u32 written;
	u32 oldest;
	u32 version;
	bool readable;
};

static const struct luo_state_version luo_state_versions[] = {
	{ 1, 1, 1, true },
	{ 1, 1, 3, true },
	{ 2, 1, 3, true },
	{ 3, 1, 3, true },
	{ 3, 3, 3, true },
	{ U32_MAX, 1, U32_MAX, true },
	{ 2, 1, 1, false },
	{ 1, 2, 2, false },
	{ 1, 2, 3, false },
	{ 4, 2, 3, false },
	{ U32_MAX, 1, U32_MAX - 1, false },
};

static void luo_state_version_desc(const struct luo_state_version *version,
				   char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u by [%u, %u]",
		 version->written, version->oldest, version->version);
}

KUNIT_ARRAY_PARAM(luo_state_version, luo_state_versions, luo_state_version_desc);

static void luo_state_version_test(struct kunit *test)
{
	const struct luo_state_version *param = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;

	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_IRQ);
	it->desc.version = param->written;
	it->offer.size = 10;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_kunit_add(test, ctx, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	luo_kunit_hand_over(test);

	ctx = &fixture->next;
	luo_kunit_add(test, ctx, "top", LIVEUPDATE_LEVEL_WORKLOAD);
	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_IRQ);
	it->desc.version = param->version;
	it->desc.oldest = param->oldest;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_kunit_add(test, ctx, "bottom", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_UPDATED);

	if (param->readable) {
		luo_kunit_expect_log(test, " restore:bottom restore:it restore:top");
		luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_NONE, "", 0);
	} else {
		luo_kunit_expect_log(test, " restore:bottom restore:top");
		luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_RESTORE, "it",
					-EPROTONOSUPPORT);
	}

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	luo_kunit_expect_log(test, param->readable ?
			     " finish:top finish:it finish:bottom" :
			     " finish:top finish:bottom");
	/* Restored but not claimed is freed like what nobody restored. */
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/**
 * struct luo_state_state - what becomes of a blob
 * @name: name of the subsystem.
 * @class: class of the subsystem.
 * @registered: it is there in the next kernel.
 * @error: what its restore returns.
 * @claims: its restore claims the blob.
 * @kept: the blob stays reserved after finish.
 */
struct luo_state_state {
	const char *name;
	u32 class;
	bool registered;
	int error;
	bool claims;
	bool kept;
};

static const struct luo_state_state luo_state_states[] = {
	{ "claimed", LIVEUPDATE_OPTIONAL, true, 0, true, false },
	{ "claimed-mandatory", LIVEUPDATE_MANDATORY, true, 0, true, false },
	{ "restored", LIVEUPDATE_OPTIONAL, true, 0, false, false },
	{ "restored-mandatory", LIVEUPDATE_MANDATORY, true, 0, false, true },
	{ "failing", LIVEUPDATE_OPTIONAL, true, -EIO, false, false },
	{ "failing-mandatory", LIVEUPDATE_MANDATORY, true, -EIO, false, true },
	{ "absent", LIVEUPDATE_OPTIONAL, false, 0, false, false },
	{ "absent-mandatory", LIVEUPDATE_MANDATORY, false, 0, false, true },
};

/* How the subsystem of a record that nobody restores looks, and who frees what. */
static const struct luo_state_disposal {
	const char *name;
	u32 class, oldest;
	int error;
} luo_state_disposals[] = {
	{ "optional", LIVEUPDATE_OPTIONAL, 1, -EIO },
	{ "mandatory", LIVEUPDATE_MANDATORY, 1, -EIO },
	{ "other-version", LIVEUPDATE_OPTIONAL, 2, 0 },
	{ "restored", LIVEUPDATE_OPTIONAL, 1, 0 },
};

/* The blob is still there, and what it leads to is for the subsystem to free. */
static void luo_state_dispose(struct liveupdate_subsystem *subsystem,
			      const struct liveupdate_data *data)
{
	struct luo_kunit_subsystem *it =
		container_of(subsystem, struct luo_kunit_subsystem, subsystem);

	if (kho_kunit_is_reserved(&it->fixture->kho, data->value))
		seq_buf_printf(&it->fixture->log, " dispose:%s %llu",
			       it->desc.name, data->size);
}

/* Whoever can read what nobody wants is asked to free what it leads to. */
static void luo_state_dispose_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;

	for (int i = 0; i < ARRAY_SIZE(luo_state_disposals); i++) {
		const struct luo_state_disposal *disposal = &luo_state_disposals[i];

		it = luo_kunit_add(test, &fixture->ctx, disposal->name,
				   LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = disposal->class;
		it->offer.size = 100 + i;
		it = luo_kunit_new(test, disposal->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.oldest = disposal->oldest;
		it->desc.version = 2;
		it->error[LUO_TRANSITION_RESTORE] = disposal->error;
		it->claims = true;
		it->ops.dispose = luo_state_dispose;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &it->subsystem));
	}
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	seq_buf_clear(&fixture->log);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_log(test, " finish:restored dispose:optional 100");
	luo_kunit_expect_retained(test, &fixture->next, "mandatory");
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained,
						     "mandatory"));
	luo_kunit_expect_log(test, " dispose:mandatory 101");
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/* What becomes of blobs: by class, and by what the next kernel does. */
static void luo_state_unclaimed_test(struct kunit *test)
{
	phys_addr_t blobs[ARRAY_SIZE(luo_state_states)];
	struct luo_kunit *fixture = test->priv;
	unsigned long total = totalram_pages();
	unsigned long all = 2, claimed = 0, kept = 0;
	struct luo_kunit_subsystem *it;

	for (int i = 0; i < ARRAY_SIZE(luo_state_states); i++) {
		const struct luo_state_state *state = &luo_state_states[i];
		unsigned long pages = roundup_pow_of_two(i + 1);

		it = luo_kunit_new(test, state->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = state->class;
		it->offer.size = i * PAGE_SIZE + 1;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx,
							   &it->subsystem));
		all += pages;
		claimed += state->claims ? pages : 0;
		kept += state->kept ? pages : 0;
		if (!state->registered)
			continue;

		/* The class that counts is the one in the record. */
		it = luo_kunit_new(test, state->name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.class = !state->class;
		it->error[LUO_TRANSITION_RESTORE] = state->error;
		it->claims = state->claims;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &it->subsystem));
	}
	it = luo_kunit_add(test, &fixture->ctx, "value",
			   LIVEUPDATE_LEVEL_MEMORY);
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.value = U64_MAX;

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	for (int i = 0; i < ARRAY_SIZE(blobs); i++)
		blobs[i] = luo_kunit_record(test, i)->value;
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), all);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total - all);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_FALSE(test, kho_kunit_is_reserved(&fixture->kho, fixture->phys));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho),
			all - 2 - claimed);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	for (int i = 0; i < ARRAY_SIZE(blobs); i++)
		KUNIT_EXPECT_EQ_MSG(test, luo_state_states[i].kept,
				    kho_kunit_is_reserved(&fixture->kho, blobs[i]), "%s",
				    luo_state_states[i].name);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total - kept);
	luo_kunit_expect_retained(test, &fixture->next,
				  "failing-mandatory absent-mandatory restored-mandatory");

	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->next));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	KUNIT_EXPECT_EQ(test, totalram_pages(), total);
	KUNIT_EXPECT_PTR_EQ(test, fixture->next.incoming, NULL);
	KUNIT_EXPECT_EQ(test, fixture->next.nr_incoming, 0);
}

/* Leave a blob of @size bytes, mandatory, that @next may have a subsystem for. */
static void luo_state_leave(struct kunit *test, const char *name, size_t size)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;

	it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.size = size;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx,
						   &it->subsystem));
}

/* As long as something is retained there is no prepare, and the first is named. */
static void luo_state_retained_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;

	luo_state_leave(test, "a", 1);
	luo_state_leave(test, "b", PAGE_SIZE + 1);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	luo_kunit_add(test, next, "c", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, next, "a b");
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_retained_refuse(next, LUO_TRANSITION_FREEZE));
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_FREEZE, "a", -EBUSY);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(next));
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_PREPARE, "a", -EBUSY);
	KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "a"));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_retained_forget(&next->retained, "a"));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 2);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(next));
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_PREPARE, "b", -EBUSY);
	luo_kunit_expect_log(test, "");

	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "b"));
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_refuse(next, LUO_TRANSITION_FREEZE));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(next));
	luo_kunit_expect_log(test, " prepare:c");
}

/* Given up before FINISH, it is not offered any more. */
static void luo_state_retained_updated_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;

	luo_state_leave(test, "a", 1);
	luo_state_leave(test, "b", 1);
	luo_kunit_hand_over(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));

	mutex_lock(&next->lock);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_retained_forget(&next->retained, "a"));
	mutex_unlock(&next->lock);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&next->retained, "a"));
	luo_kunit_expect_retained(test, next, "b");
	luo_kunit_add(test, next, "a", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_expect_log(test, "");

	/* Whoever comes late takes it back from the list. */
	luo_kunit_add(test, next, "b", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_expect_log(test, " restore:b");
	luo_kunit_expect_retained(test, next, "");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
	luo_kunit_expect_retained(test, next, "b");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(next));
	KUNIT_EXPECT_NULL(test, next->incoming);
}

/* Who restored and goes away leaves it to nobody. */
static void luo_state_retained_leaver_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct luo_kunit_subsystem *it;

	luo_state_leave(test, "a", 1);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	it = luo_kunit_add(test, next, "a", LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, next, "");
	luo_subsystem_remove(next, &it->subsystem);
	luo_kunit_expect_retained(test, next, "a");
}

/* The table itself. */
static void luo_state_retained_table_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_subsystems_retain_table(ctx);
	luo_kunit_expect_retained(test, ctx, "liveupdate:table");
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "liveupdate", -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&ctx->retained,
						     "liveupdate:table"));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
}

/* Several updates in a row, the machine of one is the next one's successor. */
static void luo_state_again_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct luo_kunit_subsystem *old, *new;

	old = luo_kunit_add(test, &fixture->ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	new = luo_kunit_add(test, next, "it", LIVEUPDATE_LEVEL_IRQ);
	for (int round = 1; round <= 3; round++) {
		old->offer.value = round;
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
		luo_kunit_jump(test);
		KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
		KUNIT_EXPECT_EQ(test, new->received.value, round);
		KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
		luo_kunit_expect_log(test, " prepare:it freeze:it restore:it finish:it");
		KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(next));
		KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(next));
		luo_kunit_expect_log(test, " prepare:it cancel:it");
	}
}

static struct kunit_case luo_record_cases[] = {
	KUNIT_CASE_PARAM(luo_state_version_test, luo_state_version_gen_params),
	KUNIT_CASE(luo_state_dispose_test),
	KUNIT_CASE(luo_state_unclaimed_test),
	KUNIT_CASE(luo_state_retained_test),
	KUNIT_CASE(luo_state_retained_updated_test),
	KUNIT_CASE(luo_state_retained_leaver_test),
	KUNIT_CASE(luo_state_retained_table_test),
	KUNIT_CASE(luo_state_again_test),
	{}
};

static struct kunit_suite luo_record_suite = {
	.name		= "luo-record",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_record_cases,
};

kunit_test_suite(luo_record_suite);
