// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of instances
 *
 * What luo_instance_out.c and luo_instance_in.c promise: when an instance can be added and
 * dropped, what its loss means, what the next kernel finds, what it is told of what cannot
 * be read, and what becomes of what nobody claims. Machines are those of luo_kunit.c.
 */

#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_IK_NAME		"vmm"
#define LUO_IK_PER_BLOCK	KHO_TABLE_PER_BLOCK(sizeof(struct luo_instance_ser))

static struct luo_kunit_subsystem *luo_ik_new(struct kunit *test,
					      struct luo_ctx *ctx)
{
	struct luo_kunit_subsystem *it = luo_kunit_new(test, LUO_IK_NAME,
						       LIVEUPDATE_LEVEL_WORKLOAD);

	it->desc.version = 3;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));

	return it;
}

/* An instance with a blob of @key bytes, or the value @key if @plain. */
static struct liveupdate_instance *luo_ik_instance(struct kunit *test, u64 key,
						   u32 class, bool plain)
{
	struct liveupdate_instance *instance =
		kunit_kzalloc(test, sizeof(*instance), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, instance);
	instance->key = key;
	instance->version = 2;
	instance->class = class;
	if (plain) {
		instance->data.value = key;
	} else {
		u8 *blob = liveupdate_data_alloc(&instance->data, key);

		KUNIT_ASSERT_FALSE(test, IS_ERR(blob));
		memset(blob, key, key);
	}

	return instance;
}

static struct liveupdate_instance *luo_ik_add(struct kunit *test,
					      struct luo_kunit_subsystem *it,
					      u64 key, u32 class, bool plain)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_instance *instance =
		luo_ik_instance(test, key, class, plain);

	KUNIT_ASSERT_EQ(test, 0, luo_instance_add(&fixture->ctx, &it->subsystem,
						  instance));

	return instance;
}

static struct luo_kunit_subsystem *luo_ik_prepare(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_new(test, &fixture->ctx);

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));

	return it;
}

static int luo_ik_find(struct kunit *test, u64 key,
		       struct liveupdate_instance_info *info)
{
	struct liveupdate_subsystem_desc desc = {
		.name = LUO_IK_NAME, .version = 3, .oldest = 1,
	};
	struct luo_kunit *fixture = test->priv;

	return luo_instance_find(&fixture->next, &desc, key, info);
}

static int luo_ik_claim(struct kunit *test, u64 key)
{
	struct liveupdate_subsystem_desc desc = {
		.name = LUO_IK_NAME, .version = 3, .oldest = 1,
	};
	struct luo_kunit *fixture = test->priv;

	return luo_instance_claim(&fixture->next, &desc, key);
}

static struct luo_instance_ser *luo_ik_record(struct kunit *test, u32 class,
					      u32 position)
{
	struct luo_kunit *fixture = test->priv;

	return (void *)(kho_kunit_entry(phys_to_virt(fixture->instances[class].phys),
					sizeof(struct luo_instance_ser), position) + 1);
}

static void luo_ik_seal(struct kunit *test, u32 class)
{
	struct luo_kunit *fixture = test->priv;

	kho_kunit_seal(phys_to_virt(fixture->instances[class].phys),
		       sizeof(struct luo_instance_ser));
}

/* When what can be added. */

static void luo_ik_add_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it = luo_ik_new(test, ctx), *gone;
	struct liveupdate_instance *a, *b;

	a = luo_ik_instance(test, 1, LIVEUPDATE_OPTIONAL, true);
	a->version = 1;
	b = luo_ik_instance(test, 1, LIVEUPDATE_MANDATORY, true);
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_instance_add(ctx, &it->subsystem, a));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(ctx, a));

	gone = luo_kunit_add(test, ctx, "gone", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_subsystem_remove(ctx, &gone->subsystem);
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_instance_add(ctx, &gone->subsystem, a));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_add(ctx, &it->subsystem, a));
	/* One key, in whatever class. */
	KUNIT_EXPECT_EQ(test, -EEXIST, luo_instance_add(ctx, &it->subsystem, b));
	b->key = 2;
	b->version = 4;
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_instance_add(ctx, &it->subsystem, b));
	b->version = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_instance_add(ctx, &it->subsystem, b));
	b->version = 3;
	b->class = LUO_NR_CLASSES;
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_instance_add(ctx, &it->subsystem, b));
	b->class = LIVEUPDATE_MANDATORY;
	KUNIT_EXPECT_EQ(test, 0, luo_instance_add(ctx, &it->subsystem, b));

	/* Not while it is sealed. */
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_instance_drop(ctx, a));
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_instance_add(ctx, &it->subsystem,
						       luo_ik_instance(test, 3, 0, true)));
	luo_ctx_thaw(ctx);
	KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(ctx, a));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(ctx, a));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_add(ctx, &it->subsystem, a));

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_NULL(test, a->subsystem);
	KUNIT_EXPECT_NULL(test, ctx->instances.out[0].table.head);
	KUNIT_EXPECT_NULL(test, ctx->instances.out[1].table.head);
	KUNIT_EXPECT_EQ(test, -ENODEV, luo_instance_add(ctx, &it->subsystem, a));
}

/* As many as there can be, one more, and all of them arrive. */
static void luo_ik_limit_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance *many, more = { .version = 1 };
	struct liveupdate_instance_info info;
	unsigned int position = 0, count = 0;

	many = kvzalloc_objs(*many, LUO_INSTANCES_MAX);
	KUNIT_ASSERT_NOT_NULL(test, many);
	for (u32 i = 0; i < LUO_INSTANCES_MAX; i++) {
		many[i].key = LUO_INSTANCES_MAX - i;
		many[i].version = 1;
		many[i].data.value = i;
		KUNIT_EXPECT_EQ(test, 0, luo_instance_add(&fixture->ctx,
							  &it->subsystem, &many[i]));
	}
	KUNIT_EXPECT_EQ(test, -E2BIG, luo_instance_add(&fixture->ctx, &it->subsystem,
						       &more));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(&fixture->ctx, &many[7]));
	KUNIT_EXPECT_EQ(test, 0, luo_instance_add(&fixture->ctx, &it->subsystem,
						  &more));
	luo_kunit_jump(test);
	kvfree(many);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	while (!luo_instance_next(&fixture->next, &it->desc, &position, &info)) {
		KUNIT_ASSERT_EQ(test, info.error, 0);
		KUNIT_ASSERT_EQ(test, info.key, count < LUO_INSTANCES_MAX - 7 ? count :
							count + 1);
		KUNIT_ASSERT_EQ(test, info.data.value,
				info.key ? LUO_INSTANCES_MAX - info.key : 0);
		count++;
	}
	KUNIT_EXPECT_EQ(test, count, LUO_INSTANCES_MAX);
}

/* From one kernel to the next. */

static void luo_ik_deliver_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;
	struct liveupdate_instance *changed;
	unsigned int position = 0;
	u8 *blob;

	luo_ik_add(test, it, 300, LIVEUPDATE_MANDATORY, false);
	luo_ik_add(test, it, U64_MAX, LIVEUPDATE_OPTIONAL, true);
	changed = luo_ik_add(test, it, 5, LIVEUPDATE_OPTIONAL, true);
	/* What it says in the end counts. */
	changed->data.value = 6;
	luo_kunit_jump(test);

	luo_ik_new(test, &fixture->next);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, &fixture->next, "vmm:instances");

	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 1, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_find(test, 5, &info));
	KUNIT_EXPECT_EQ(test, info.key, 5);
	KUNIT_EXPECT_EQ(test, info.version, 2);
	KUNIT_EXPECT_EQ(test, info.class, LIVEUPDATE_OPTIONAL);
	KUNIT_EXPECT_EQ(test, info.data.value, 6);
	KUNIT_EXPECT_EQ(test, info.data.size, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_ik_find(test, 300, &info));
	KUNIT_EXPECT_EQ(test, info.class, LIVEUPDATE_MANDATORY);
	KUNIT_ASSERT_EQ(test, info.data.size, 300);

	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 300));
	luo_kunit_expect_retained(test, &fixture->next, "");
	blob = liveupdate_data_claim(&info.data);
	KUNIT_ASSERT_NOT_NULL(test, blob);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(blob, (u8)300, 300), NULL);
	folio_put(virt_to_folio(blob));
	KUNIT_EXPECT_EQ(test, -EALREADY, luo_ik_claim(test, 300));
	KUNIT_EXPECT_EQ(test, -EALREADY, luo_ik_find(test, 300, &info));

	KUNIT_EXPECT_EQ(test, 0, luo_instance_next(&fixture->next, &it->desc, &position,
						   &info));
	KUNIT_EXPECT_EQ(test, info.key, 5);
	KUNIT_EXPECT_EQ(test, 0, luo_instance_next(&fixture->next, &it->desc, &position,
						   &info));
	KUNIT_EXPECT_EQ(test, info.key, U64_MAX);
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_instance_next(&fixture->next, &it->desc,
							 &position, &info));

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 5, &info));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 300, &info));
	KUNIT_EXPECT_NULL(test, fixture->next.instances.in);
	luo_kunit_expect_retained(test, &fixture->next, "");
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/* Those of another subsystem, and a version that is too new, are not found. */
static void luo_ik_foreign_test(struct kunit *test)
{
	struct liveupdate_subsystem_desc desc = {
		.name = "other", .version = 3, .oldest = 1,
	};
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;
	unsigned int position = 0;

	luo_ik_add(test, it, 5, LIVEUPDATE_OPTIONAL, true);
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_instance_find(&fixture->next, &desc, 5, &info));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_instance_next(&fixture->next, &desc, &position,
							 &info));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_instance_claim(&fixture->next, &desc, 5));
	strscpy(desc.name, LUO_IK_NAME);
	desc.oldest = 3;
	KUNIT_EXPECT_EQ(test, -EPROTONOSUPPORT,
			luo_instance_find(&fixture->next, &desc, 5, &info));
	desc.oldest = 1;
	desc.version = 1;
	KUNIT_EXPECT_EQ(test, -EPROTONOSUPPORT,
			luo_instance_claim(&fixture->next, &desc, 5));
}

/* What nobody claims. */
static void luo_ik_unclaimed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;

	luo_ik_add(test, it, 1, LIVEUPDATE_OPTIONAL, false);
	luo_ik_add(test, it, 2, LIVEUPDATE_MANDATORY, false);
	luo_ik_add(test, it, 3, LIVEUPDATE_MANDATORY, false);
	luo_ik_add(test, it, 4, LIVEUPDATE_MANDATORY, true);
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_retained(test, &fixture->next, "vmm:instances");
	KUNIT_EXPECT_EQ(test, 3, kho_kunit_reserved_pages(&fixture->kho));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 4));
	luo_kunit_expect_retained(test, &fixture->next, "vmm:instances");

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_retained(test, &fixture->next, "vmm:instance-2 vmm:instance-3");
	KUNIT_EXPECT_EQ(test, 2, kho_kunit_reserved_pages(&fixture->kho));
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_ctx_prepare(&fixture->next));

	/* A module that comes as late as that can still have it. */
	KUNIT_EXPECT_EQ(test, 0, luo_ik_find(test, 2, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 2));
	kho_restore_free(liveupdate_data_blob(&info.data));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_claim(test, 2));
	luo_kunit_expect_retained(test, &fixture->next, "vmm:instance-3");
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_retained_forget(&fixture->next.retained,
							   "vmm:instance-2"));
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained,
						     "vmm:instance-3"));
	luo_kunit_expect_retained(test, &fixture->next, "");
	KUNIT_EXPECT_NULL(test, fixture->next.instances.in);
	KUNIT_EXPECT_EQ(test, 0, kho_kunit_reserved_pages(&fixture->kho));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(&fixture->next));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(&fixture->next));
}

/* The last one is claimed: nothing is left of what was handed over. */
static void luo_ik_late_claim_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;

	luo_ik_add(test, it, 1, LIVEUPDATE_MANDATORY, true);
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_find(test, 1, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 1));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_claim(test, 1));
	luo_kunit_expect_retained(test, &fixture->next, "");
	KUNIT_EXPECT_NULL(test, fixture->next.instances.in);
}

/* All of a subsystem at once, as long as they are one cause. */
static void luo_ik_forget_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;

	luo_ik_add(test, it, 1, LIVEUPDATE_OPTIONAL, false);
	luo_ik_add(test, it, 2, LIVEUPDATE_MANDATORY, false);
	luo_ik_add(test, it, 3, LIVEUPDATE_MANDATORY, false);
	luo_kunit_jump(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained,
						     "vmm:instances"));
	KUNIT_EXPECT_EQ(test, 1, kho_kunit_reserved_pages(&fixture->kho));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 2, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_find(test, 1, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, 0, kho_kunit_reserved_pages(&fixture->kho));
}

static void luo_ik_dispose(struct liveupdate_subsystem *subsystem,
			   const struct liveupdate_instance_info *info)
{
	struct luo_kunit_subsystem *it =
		container_of(subsystem, struct luo_kunit_subsystem, subsystem);
	struct liveupdate_instance_info found;

	/* The lock is free, and nobody else can claim it meanwhile. */
	seq_buf_printf(&it->fixture->log, " %llu:%llu:%d", info->key, info->data.size,
		       luo_instance_find(&it->fixture->next, subsystem->desc, info->key,
					 &found));
}

/* The subsystem is asked to free what its instances refer to. */
static void luo_ik_dispose_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance *old;

	luo_ik_add(test, it, 1, LIVEUPDATE_OPTIONAL, false);
	luo_ik_add(test, it, 2, LIVEUPDATE_OPTIONAL, false);
	luo_ik_add(test, it, 3, LIVEUPDATE_MANDATORY, false);
	old = luo_ik_instance(test, 4, LIVEUPDATE_OPTIONAL, false);
	old->version = 1;
	KUNIT_ASSERT_EQ(test, 0, luo_instance_add(&fixture->ctx, &it->subsystem, old));
	luo_kunit_jump(test);

	it = luo_kunit_new(test, LUO_IK_NAME, LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 3;
	it->desc.oldest = 2;
	it->ops.dispose_instance = luo_ik_dispose;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next, &it->subsystem));
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 1));
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	/* Not what was claimed, nor what it could not read. */
	luo_kunit_expect_log(test, " finish:vmm 2:2:-114");
	/* The one that was claimed, and the mandatory one. */
	KUNIT_EXPECT_EQ(test, 2, kho_kunit_reserved_pages(&fixture->kho));
	mutex_lock(&fixture->next.lock);
	KUNIT_EXPECT_EQ(test, -EBUSY, luo_retained_forget(&fixture->next.retained,
							  "vmm:instance-3"));
	mutex_unlock(&fixture->next.lock);
	KUNIT_EXPECT_EQ(test, 0, luo_retained_forget(&fixture->next.retained,
						     "vmm:instance-3"));
	luo_kunit_expect_log(test, " 3:3:-114");
	KUNIT_EXPECT_EQ(test, 1, kho_kunit_reserved_pages(&fixture->kho));
}

/* What is lost before the kexec. */

static void luo_ik_lost_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_instance *optional, *late, *mandatory;
	struct liveupdate_instance_info info;

	optional = luo_ik_add(test, it, 1, LIVEUPDATE_OPTIONAL, false);
	late = luo_ik_add(test, it, 2, LIVEUPDATE_OPTIONAL, false);
	mandatory = luo_ik_add(test, it, 3, LIVEUPDATE_MANDATORY, false);
	luo_ik_add(test, it, 4, LIVEUPDATE_MANDATORY, true);

	KUNIT_EXPECT_PTR_EQ(test, luo_instance_abort(ctx, mandatory, -EIO),
			    &it->subsystem);
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_rehearse(ctx));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_FREEZE, LUO_IK_NAME, -EIO);
	KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(ctx, mandatory));
	liveupdate_data_free(&mandatory->data);

	KUNIT_EXPECT_NULL(test, luo_instance_abort(ctx, optional, -ENODEV));
	KUNIT_EXPECT_NULL(test, luo_instance_abort(ctx, optional, -EIO));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));

	/* Behind the point of no return only the record is left to change. */
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_NULL(test, luo_instance_abort(ctx, late, -ENODEV));
	liveupdate_data_free(&late->data);
	liveupdate_data_free(&optional->data);
	luo_ctx_thaw(ctx);
	luo_kunit_jump(test);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -ENODATA, luo_ik_find(test, 1, &info));
	KUNIT_EXPECT_EQ(test, -ENODATA, luo_ik_claim(test, 2));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 3, &info));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 4));
	KUNIT_EXPECT_EQ(test, fixture->next.failure.error, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	luo_kunit_expect_retained(test, &fixture->next, "");
}

/* Lost while it is sealed: the table says so, and can be read. */
static void luo_ik_lost_sealed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_instance *lost[LUO_NR_CLASSES];
	struct luo_instance_ser *ser;

	for (u32 class = 0; class < LUO_NR_CLASSES; class++) {
		lost[class] = luo_ik_add(test, it, 10 + class, class, true);
		luo_ik_add(test, it, 20 + class, class, true);
	}
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_NULL(test, luo_instance_abort(ctx, lost[0], -EIO));
	KUNIT_EXPECT_NOT_NULL(test, luo_instance_abort(ctx, lost[1], -EIO));
	for (u32 class = 0; class < LUO_NR_CLASSES; class++) {
		struct kho_table *table = &ctx->instances.out[class].table;

		KUNIT_EXPECT_TRUE(test, table->head->flags & KHO_TABLE_SEALED);
		ser = kho_table_record(table, lost[class]->position);
		KUNIT_EXPECT_EQ(test, ser->key, 10 + class);
		KUNIT_EXPECT_EQ(test, ser->flags, LUO_INSTANCE_SER_LOST);
		KUNIT_EXPECT_EQ(test, ser->value, 0);
	}
	luo_ctx_thaw(ctx);
	/* The mandatory one keeps it from being tried again. */
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_freeze(ctx, true));
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
}

/* What goes with its subsystem. */
static void luo_ik_leaver_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance *instance;

	instance = luo_ik_add(test, it, 1, LIVEUPDATE_MANDATORY, true);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(&fixture->ctx, true));
	luo_subsystem_remove(&fixture->ctx, &it->subsystem);
	KUNIT_EXPECT_NULL(test, instance->subsystem);
	KUNIT_EXPECT_EQ(test, fixture->ctx.instances.out[1].table.nr_records, 0);
	KUNIT_EXPECT_TRUE(test, fixture->ctx.instances.out[1].table.head->flags &
			  KHO_TABLE_SEALED);
	luo_ctx_thaw(&fixture->ctx);
}

/* What cannot be read after it. */

/**
 * struct luo_ik_corruption - something wrong with a table of instances
 * @name: what.
 * @seal: with right checksums.
 * @harm: does it.
 * @other: what a search for another key says.
 * @retained: what is retained after RESTORE if the instances are mandatory.
 */
struct luo_ik_corruption {
	const char *name;
	bool seal;
	void (*harm)(struct luo_instance_ser *first, struct kho_table_ser *head);
	int other;
	const char *retained;
};

static void luo_ik_flip(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	first->key ^= 1;
}

static void luo_ik_flip_head(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	head->nr_records ^= 1;
}

static void luo_ik_no_block(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	head->blocks[0].phys = 0x1000;
}

static void luo_ik_flags(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	first->flags |= BIT(31);
}

static void luo_ik_no_version(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	first->version = 0;
}

static void luo_ik_bad_name(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	memset(first->subsystem, 'x', sizeof(first->subsystem));
}

static void luo_ik_no_data(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	first->value = BIT_ULL(45);
}

static void luo_ik_lost_data(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	first->flags |= LUO_INSTANCE_SER_LOST;
}

static void luo_ik_same_key(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	((struct luo_instance_ser *)((void *)(first + 1) +
				     sizeof(struct kho_table_entry_ser)))->key = first->key;
}

static void luo_ik_same_blob(struct luo_instance_ser *first, struct kho_table_ser *head)
{
	((struct luo_instance_ser *)((void *)(first + 1) +
				     sizeof(struct kho_table_entry_ser)))->value =
		first->value;
}

#define LUO_IK_ALL	"liveupdate:instances"
#define LUO_IK_OWN	LUO_IK_NAME ":instances"

static const struct luo_ik_corruption luo_ik_corruptions[] = {
	{ "record flipped", false, luo_ik_flip, -EBADMSG, LUO_IK_ALL },
	{ "head flipped", false, luo_ik_flip_head, -EBADMSG, LUO_IK_ALL },
	{ "block elsewhere", true, luo_ik_no_block, -EBADMSG, LUO_IK_ALL },
	{ "unknown flag", true, luo_ik_flags, -EBADMSG, LUO_IK_ALL " " LUO_IK_OWN },
	{ "no version", true, luo_ik_no_version, -EBADMSG, LUO_IK_ALL " " LUO_IK_OWN },
	{ "name without end", true, luo_ik_bad_name, -EBADMSG,
	  LUO_IK_ALL " " LUO_IK_OWN },
	{ "lost, but with data", true, luo_ik_lost_data, -EBADMSG,
	  LUO_IK_ALL " " LUO_IK_OWN },
	{ "no data there", true, luo_ik_no_data, -ENOENT, LUO_IK_OWN },
	{ "one key twice", true, luo_ik_same_key, -ENOENT, LUO_IK_OWN },
	{ "one blob twice", true, luo_ik_same_blob, -ENOENT, LUO_IK_OWN },
};

static void luo_ik_corruption_desc(const struct luo_ik_corruption *corruption, char *desc)
{
	strscpy(desc, corruption->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(luo_ik_corruption, luo_ik_corruptions, luo_ik_corruption_desc);

static void luo_ik_corruption(struct kunit *test, u32 class)
{
	const struct luo_ik_corruption *corruption = test->param_value;
	const char *retained = class == LIVEUPDATE_MANDATORY ? corruption->retained : "";
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;
	unsigned long reserved;

	luo_ik_add(test, it, 100, class, false);
	luo_ik_add(test, it, 101, class, false);
	luo_ik_add(test, it, 102, !class, true);
	luo_kunit_jump(test);
	reserved = kho_kunit_reserved_pages(&fixture->kho);
	corruption->harm(luo_ik_record(test, class, 0),
			 phys_to_virt(fixture->instances[class].phys));
	if (corruption->seal)
		luo_ik_seal(test, class);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_ik_find(test, 100, &info));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_ik_claim(test, 100));
	KUNIT_EXPECT_EQ(test, corruption->other, luo_ik_find(test, 1, &info));
	/* The other class is not concerned. */
	KUNIT_EXPECT_EQ(test, 0, luo_ik_claim(test, 102));
	luo_kunit_expect_retained(test, &fixture->next, retained);
	if (class == LIVEUPDATE_MANDATORY)
		KUNIT_EXPECT_EQ(test, fixture->next.failure.error, -EBADMSG);
	else
		KUNIT_EXPECT_EQ(test, fixture->next.failure.error, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	/* A blob that cannot be trusted is not freed. */
	KUNIT_EXPECT_GE(test, kho_kunit_reserved_pages(&fixture->kho), 1);
	KUNIT_EXPECT_LT(test, kho_kunit_reserved_pages(&fixture->kho), reserved);
}

static void luo_ik_corruption_optional_test(struct kunit *test)
{
	luo_ik_corruption(test, LIVEUPDATE_OPTIONAL);
}

static void luo_ik_corruption_mandatory_test(struct kunit *test)
{
	luo_ik_corruption(test, LIVEUPDATE_MANDATORY);
}

/* A blob that is a subsystem's, too. */
static void luo_ik_shared_blob_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_new(test, &fixture->ctx);
	struct liveupdate_instance *instance;

	it->offer.size = 10;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	instance = luo_ik_instance(test, 1, LIVEUPDATE_OPTIONAL, true);
	instance->data = it->subsystem.data;
	KUNIT_ASSERT_EQ(test, 0, luo_instance_add(&fixture->ctx, &it->subsystem,
						  instance));
	/* The blob is in the hand-over once. */
	luo_kunit_jump(test);
	luo_ik_new(test, &fixture->next)->claims = true;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_ik_claim(test, 1));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
}

/* Where the records of subsystems cannot be used nothing is, and nothing is freed. */
static void luo_ik_discard_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	struct liveupdate_instance_info info;

	luo_ik_add(test, it, 9, LIVEUPDATE_MANDATORY, false);
	luo_kunit_jump(test);
	luo_kunit_record(test, 0)->version ^= 1;
	KUNIT_EXPECT_EQ(test, -EBADMSG, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, 0, luo_ik_find(test, 9, &info));
	luo_instances_discard(&fixture->next);
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_ik_find(test, 9, &info));
	KUNIT_EXPECT_NULL(test, fixture->next.instances.in);
	KUNIT_EXPECT_TRUE(test, kho_kunit_is_reserved(&fixture->kho, info.data.value));
}

/* The format itself, so that nobody changes it unnoticed. */
static void luo_ik_format_test(struct kunit *test)
{
	static const char compatible[KHO_TABLE_COMPAT_LEN] = "luo-instances-v1";
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it = luo_ik_prepare(test);
	const struct luo_instance_ser *ser;
	const struct kho_table_ser *head;

	luo_ik_add(test, it, 7, LIVEUPDATE_MANDATORY, false);
	luo_kunit_jump(test);
	KUNIT_EXPECT_EQ(test, fixture->instances[LIVEUPDATE_OPTIONAL].phys, 0);
	head = phys_to_virt(fixture->instances[LIVEUPDATE_MANDATORY].phys);
	KUNIT_EXPECT_MEMEQ(test, head->compatible, compatible, sizeof(compatible));
	KUNIT_EXPECT_EQ(test, head->record_size, 80);
	ser = luo_ik_record(test, LIVEUPDATE_MANDATORY, 0);
	KUNIT_EXPECT_STREQ(test, ser->subsystem, LUO_IK_NAME);
	KUNIT_EXPECT_EQ(test, *(u64 *)((u8 *)ser + 48), 7);
	KUNIT_EXPECT_EQ(test, *(u32 *)((u8 *)ser + 56), 2);
	KUNIT_EXPECT_EQ(test, *(u32 *)((u8 *)ser + 60), 1);
	KUNIT_EXPECT_EQ(test, *(u64 *)((u8 *)ser + 72), 7);
	KUNIT_EXPECT_STREQ(test, luo_instances_name(LIVEUPDATE_MANDATORY),
			   "luo-instances-mand");
	KUNIT_EXPECT_STREQ(test, luo_instances_name(LIVEUPDATE_OPTIONAL),
			   "luo-instances-opt");
}

static struct kunit_case luo_ik_cases[] = {
	KUNIT_CASE(luo_ik_add_test),
	KUNIT_CASE(luo_ik_limit_test),
	KUNIT_CASE(luo_ik_deliver_test),
	KUNIT_CASE(luo_ik_foreign_test),
	KUNIT_CASE(luo_ik_unclaimed_test),
	KUNIT_CASE(luo_ik_late_claim_test),
	KUNIT_CASE(luo_ik_forget_test),
	KUNIT_CASE(luo_ik_dispose_test),
	KUNIT_CASE(luo_ik_lost_test),
	KUNIT_CASE(luo_ik_lost_sealed_test),
	KUNIT_CASE(luo_ik_leaver_test),
	KUNIT_CASE_PARAM(luo_ik_corruption_optional_test, luo_ik_corruption_gen_params),
	KUNIT_CASE_PARAM(luo_ik_corruption_mandatory_test, luo_ik_corruption_gen_params),
	KUNIT_CASE(luo_ik_shared_blob_test),
	KUNIT_CASE(luo_ik_discard_test),
	KUNIT_CASE(luo_ik_format_test),
	{}
};

static struct kunit_suite luo_ik_suite = {
	.name		= "luo-instances",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_ik_cases,
};

kunit_test_suite(luo_ik_suite);
