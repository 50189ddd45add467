// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of subsystems that come and go
 *
 * Who takes part when it registers or unregisters at an odd moment, in either kernel,
 * which descriptions are refused, when modules are pinned, and how subsystems are listed.
 */

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

static void luo_state_expect_enlisted(struct kunit *test,
				      struct luo_ctx *ctx, size_t count)
{
	KUNIT_EXPECT_EQ(test, list_count_nodes(&ctx->enlisted), count);
}

static void luo_state_register_prepared_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_kunit_add(test, ctx, "early", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_add(test, ctx, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	luo_kunit_expect_log(test, " prepare:early cancel:early");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_PREPARE, "late", -EAGAIN);

	/* Who registers in normal hits no later preparation. */
	luo_kunit_add(test, ctx, "calm", LIVEUPDATE_LEVEL_WORKLOAD);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	flush_delayed_work(&ctx->invalidate);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	luo_state_expect_enlisted(test, ctx, 3);
	luo_kunit_expect_log(test, " prepare:early prepare:late prepare:calm");
}

static void luo_state_register_updated_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *late, *invalid, *again;

	luo_kunit_add(test, ctx, "late", LIVEUPDATE_LEVEL_WORKLOAD)->offer.value = 77;
	luo_kunit_add(test, ctx, "invalid", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_add(test, ctx, "never", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_hand_over(test);

	ctx = &fixture->next;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");

	late = luo_kunit_add(test, ctx, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, " restore:late");
	KUNIT_EXPECT_EQ(test, late->received.value, 77);
	KUNIT_EXPECT_EQ(test, late->received.size, 0);
	KUNIT_EXPECT_EQ(test, late->subsystem.phase, LUO_PHASE_RESTORED);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");

	/* That restoring fails is no reason to refuse the registration. */
	invalid = luo_kunit_new(test, "invalid", LIVEUPDATE_LEVEL_WORKLOAD);
	invalid->error[LUO_TRANSITION_RESTORE] = -ENOLINK;
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(ctx, &invalid->subsystem));
	luo_kunit_expect_log(test, " restore:invalid");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_RESTORE, "invalid",
				-ENOLINK);

	/* Its restore is called once. */
	luo_subsystem_remove(ctx, &invalid->subsystem);
	again = luo_kunit_add(test, ctx, "invalid",
			      LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, again->subsystem.phase, LUO_PHASE_IDLE);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	luo_kunit_expect_log(test, " finish:late");
	luo_kunit_add(test, ctx, "never", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
}

static int luo_state_add_thread(void *data)
{
	struct luo_kunit_subsystem *it = data;
	int err = luo_subsystem_add(&it->fixture->next, &it->subsystem);

	complete(it->context);

	return err;
}

/* The second half of RESTORE: same order, and who fails has nothing. */
static void luo_state_restore_late_test(struct kunit *test)
{
	static const char *const names[] = { "top", "plain", "failing", "invalid" };
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct luo_kunit_subsystem *new[ARRAY_SIZE(names)], *module;

	for (int i = 0; i < ARRAY_SIZE(names); i++) {
		struct luo_kunit_subsystem *old =
			luo_kunit_new(test, names[i], i);

		old->desc.class = LIVEUPDATE_MANDATORY;
		old->offer.size = 100;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx, &old->subsystem));
		new[i] = luo_kunit_new(test, names[i], i);
		if (i != 1)
			new[i]->ops.restore_late = new[i]->ops.restore;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(next, &new[i]->subsystem));
	}
	luo_kunit_add(test, &fixture->ctx, "module", LIVEUPDATE_LEVEL_WORKLOAD);
	new[3]->error[LUO_TRANSITION_RESTORE] = -EIO;
	luo_kunit_hand_over(test);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:invalid restore:failing restore:plain restore:top");
	luo_kunit_expect_retained(test, next, "invalid");

	new[2]->error[LUO_TRANSITION_RESTORE] = -ENOLINK;
	new[0]->claims = true;
	luo_ctx_restore_late(next);
	luo_kunit_expect_log(test, " restore:failing restore:top");
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_RESTORE, "failing", -ENOLINK);
	luo_kunit_expect_retained(test, next, "invalid failing");
	KUNIT_EXPECT_EQ(test, new[2]->subsystem.phase, LUO_PHASE_IDLE);
	KUNIT_EXPECT_EQ(test, new[0]->subsystem.phase, LUO_PHASE_RESTORED);
	KUNIT_EXPECT_NOT_NULL(test, new[0]->claimed);

	/* A module does both at once. */
	module = luo_kunit_new(test, "module", LIVEUPDATE_LEVEL_WORKLOAD);
	module->ops.restore_late = module->ops.restore;
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(next, &module->subsystem));
	luo_kunit_expect_log(test, " restore:module restore:module");

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
	luo_kunit_expect_log(test, " finish:top finish:module finish:plain");
	luo_kunit_expect_retained(test, next, "invalid failing plain");
}

/* Registering waits for no transition: it may be that what it waits for holds it up. */
static void luo_state_register_busy_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	DECLARE_COMPLETION_ONSTACK(done);
	struct luo_kunit_subsystem *late;
	struct task_struct *thread;

	luo_kunit_add(test, &fixture->ctx, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_hand_over(test);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));

	late = luo_kunit_new(test, "late", LIVEUPDATE_LEVEL_WORKLOAD);
	late->context = &done;
	thread = kthread_create(luo_state_add_thread, late, "luo-kunit-add");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	get_task_struct(thread);
	scoped_guard(mutex, &next->lock) {
		wake_up_process(thread);
		KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&done, 5 * HZ));
		luo_kunit_expect_log(test, "");
	}
	KUNIT_EXPECT_EQ(test, 0, kthread_stop_put(thread));
	flush_work(&next->late);
	luo_kunit_expect_log(test, " restore:late");
	KUNIT_EXPECT_EQ(test, late->subsystem.phase, LUO_PHASE_RESTORED);
}

/* Who cannot read the record leaves it to one who can. */
static void luo_state_register_reader_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;

	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 2;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_kunit_hand_over(test);

	ctx = &fixture->next;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	luo_kunit_expect_log(test, "");
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_RESTORE, "it",
				-EPROTONOSUPPORT);
	luo_subsystem_remove(ctx, &it->subsystem);

	it = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 2;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_kunit_expect_log(test, " restore:it");
}

static void luo_state_register_twice_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *first, *second;

	first = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	second = luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_ASSERT_EQ(test, -EEXIST, luo_subsystem_add(ctx, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_ASSERT_EQ(test, -EEXIST, luo_subsystem_add(ctx, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_log(test, " prepare:it cancel:it");

	luo_subsystem_remove(ctx, &first->subsystem);
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(ctx, &second->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_expect_log(test, " prepare:it");
}

/**
 * struct luo_state_desc - a description
 * @what: what is special about it.
 * @desc: the description.
 * @error: what registering it returns.
 */
struct luo_state_desc {
	const char *what;
	struct liveupdate_subsystem_desc desc;
	int error;
};

#define LUO_STATE_DESC(_what, _error, _name, _version, _oldest, _level, _class) \
	{								\
		.what = _what,						\
		.desc = {						\
			.name = _name,					\
			.version = _version,				\
			.oldest = _oldest,				\
			.level = _level,				\
			.class = _class,				\
		},							\
		.error = _error,					\
	}

static const struct luo_state_desc luo_state_descs[] = {
	LUO_STATE_DESC("lowest", 0, "a", 1, 1, 0, 0),
	LUO_STATE_DESC("highest", 0, "123456789012345678901234567890123456789_1234567",
		       U32_MAX, U32_MAX, LIVEUPDATE_LEVEL_MEMORY,
		       LIVEUPDATE_MANDATORY),
	LUO_STATE_DESC("all printable characters", 0, "!~#/-_.:%\"\\", 1, 1, 0, 0),
	LUO_STATE_DESC("no name", -EINVAL, "", 1, 1, 0, 0),
	LUO_STATE_DESC("garbage behind the name", -EINVAL, "a\0b", 1, 1, 0, 0),
	LUO_STATE_DESC("space in name", -EINVAL, "a b", 1, 1, 0, 0),
	LUO_STATE_DESC("tab in name", -EINVAL, "a\tb", 1, 1, 0, 0),
	LUO_STATE_DESC("newline in name", -EINVAL, "a\n", 1, 1, 0, 0),
	LUO_STATE_DESC("bell in name", -EINVAL, "\aa", 1, 1, 0, 0),
	LUO_STATE_DESC("delete in name", -EINVAL, "a\x7f", 1, 1, 0, 0),
	LUO_STATE_DESC("not ASCII", -EINVAL, "a\xe9", 1, 1, 0, 0),
	LUO_STATE_DESC("version 0", -EINVAL, "a", 0, 0, 0, 0),
	LUO_STATE_DESC("oldest 0", -EINVAL, "a", 1, 0, 0, 0),
	LUO_STATE_DESC("oldest above version", -EINVAL, "a", 1, 2, 0, 0),
	LUO_STATE_DESC("level out of range", -EINVAL, "a", 1, 1,
		       LIVEUPDATE_NR_LEVELS, 0),
	LUO_STATE_DESC("level far out of range", -EINVAL, "a", 1, 1, U32_MAX, 0),
	LUO_STATE_DESC("class out of range", -EINVAL, "a", 1, 1, 0,
		       LIVEUPDATE_MANDATORY + 1),
};

KUNIT_ARRAY_PARAM_DESC(luo_state_desc, luo_state_descs, what);

static void luo_state_register_desc_test(struct kunit *test)
{
	const struct luo_state_desc *param = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	it->desc = param->desc;
	KUNIT_EXPECT_EQ(test, param->error, luo_subsystem_add(ctx, &it->subsystem));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_state_expect_enlisted(test, ctx, param->error ? 0 : 1);
}

static void luo_state_register_malformed_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it =
		luo_kunit_new(test, "it", LIVEUPDATE_LEVEL_WORKLOAD);

	it->subsystem.ops = NULL;
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_subsystem_add(&fixture->ctx, &it->subsystem));
	it->subsystem.ops = &it->ops;
	memset(it->desc.name, 'x', sizeof(it->desc.name));
	KUNIT_EXPECT_EQ(test, -EINVAL, luo_subsystem_add(&fixture->ctx, &it->subsystem));
}

static void luo_state_unregister_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it =
		luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);

	luo_subsystem_remove(ctx, &it->subsystem);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_state_expect_enlisted(test, ctx, 0);
	luo_kunit_expect_log(test, "");

	/* It came late, so there is nothing to cancel. */
	KUNIT_EXPECT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_subsystem_remove(ctx, &it->subsystem);
	luo_kunit_expect_log(test, "");

	/* It is gone already, or was never there. */
	luo_subsystem_remove(ctx, &it->subsystem);
	it = luo_kunit_new(test, "stranger", LIVEUPDATE_LEVEL_IRQ);
	luo_subsystem_remove(ctx, &it->subsystem);
	luo_kunit_expect_log(test, "");
}

static void luo_state_unregister_prepared_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *leaver;

	luo_kunit_add(test, ctx, "first", LIVEUPDATE_LEVEL_IRQ);
	leaver = luo_kunit_add(test, ctx, "leaver", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, ctx, "last", LIVEUPDATE_LEVEL_IRQ);
	leaver->offer.size = PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_state_expect_enlisted(test, ctx, 3);
	seq_buf_clear(&fixture->log);

	luo_subsystem_remove(ctx, &leaver->subsystem);
	luo_kunit_expect_log(test, " cancel:leaver");
	KUNIT_EXPECT_EQ(test, leaver->subsystem.data.size, 0);
	KUNIT_EXPECT_EQ(test, leaver->subsystem.phase, LUO_PHASE_IDLE);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	luo_state_expect_enlisted(test, ctx, 2);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_kunit_expect_log(test, " freeze:first freeze:last thaw:last thaw:first");
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_log(test, " cancel:last cancel:first");
}

/* Between FREEZE and the kexec; what is handed over must still be readable. */
static void luo_state_unregister_frozen_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *leaver;

	luo_kunit_add(test, ctx, "first", LIVEUPDATE_LEVEL_IRQ);
	leaver = luo_kunit_add(test, ctx, "leaver", LIVEUPDATE_LEVEL_IRQ);
	leaver->offer.size = 1;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	seq_buf_clear(&fixture->log);

	luo_subsystem_remove(ctx, &leaver->subsystem);
	luo_kunit_expect_log(test, " thaw:leaver cancel:leaver");
	KUNIT_EXPECT_EQ(test, leaver->subsystem.data.size, 0);
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_FROZEN);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	KUNIT_EXPECT_EQ(test, ctx->table.nr_records, 1);
	KUNIT_EXPECT_TRUE(test, ctx->table.head->flags & KHO_TABLE_SEALED);
	luo_ctx_thaw(ctx);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_log(test, " thaw:first cancel:first");
}

static void luo_state_unregister_restored_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *leaver;
	phys_addr_t blob;

	luo_kunit_add(test, ctx, "leaver", LIVEUPDATE_LEVEL_IRQ)->offer.size = 1;
	luo_kunit_add(test, ctx, "stays", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_hand_over(test);

	ctx = &fixture->next;
	leaver = luo_kunit_add(test, ctx, "leaver", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, ctx, "stays", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:stays restore:leaver");
	blob = leaver->received.value;

	luo_subsystem_remove(ctx, &leaver->subsystem);
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	KUNIT_EXPECT_TRUE(test, kho_kunit_is_reserved(&fixture->kho, blob));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	luo_kunit_expect_log(test, " finish:stays");
	KUNIT_EXPECT_FALSE(test, kho_kunit_is_reserved(&fixture->kho, blob));
}

#if IS_ENABLED(CONFIG_MODULE_UNLOAD)
static struct module *luo_state_module(struct kunit *test)
{
	struct module *module = kunit_kzalloc(test, sizeof(*module), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, module);
	module->state = MODULE_STATE_LIVE;
	atomic_set(&module->refcnt, 1);

	return module;
}

/* Pinned from prepare until cancel, and from restore until finish. */
static void luo_state_module_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct module *old = luo_state_module(test);
	struct module *new = luo_state_module(test);
	struct module *invalid = luo_state_module(test);
	struct luo_kunit_subsystem *it;

	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = old;
	luo_kunit_add(test, ctx, "invalid", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);

	it->error[LUO_TRANSITION_PREPARE] = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, module_refcount(old), 0);
	it->error[LUO_TRANSITION_PREPARE] = 0;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_kunit_jump(test);

	ctx = &fixture->next;
	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = new;
	it = luo_kunit_add(test, ctx, "invalid", LIVEUPDATE_LEVEL_IRQ);
	it->ops.owner = invalid;
	it->error[LUO_TRANSITION_RESTORE] = -EIO;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, module_refcount(new), 1);
	KUNIT_EXPECT_EQ(test, module_refcount(invalid), 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	KUNIT_EXPECT_EQ(test, module_refcount(new), 0);
}

/* A module on its way out is not called. */
static void luo_state_module_leaving_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;

	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = luo_state_module(test);
	luo_kunit_add(test, ctx, "other", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner->state = MODULE_STATE_GOING;
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	luo_state_expect_enlisted(test, ctx, 1);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	luo_kunit_expect_log(test, " prepare:other cancel:other");

	it->ops.owner->state = MODULE_STATE_LIVE;
	luo_kunit_hand_over(test);

	ctx = &fixture->next;
	it = luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_WORKLOAD);
	it->ops.owner = luo_state_module(test);
	it->ops.owner->state = MODULE_STATE_GOING;
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_failed(test, ctx, LUO_TRANSITION_RESTORE, "it", -ENODEV);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(ctx, false));
	luo_kunit_expect_log(test, "");
}
#else
static void luo_state_module_test(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MODULE_UNLOAD");
}

static void luo_state_module_leaving_test(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_MODULE_UNLOAD");
}
#endif

/* The list. */

static void luo_state_list_test(struct kunit *test)
{
	static const char others[] =
		"dev 1 1 devices optional                    0\n"
		"irq 1 1 irq optional                    0\n"
		"iommu 1 1 iommu optional                    0\n"
		"mm 1 1 memory optional                    0\n"
		"mm2 1 1 memory optional                    0\n";
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_kunit_subsystem *it;
	char *text;

	KUNIT_EXPECT_EQ(test, 0, luo_subsystems_show(ctx, &text));
	kvfree(text);

	luo_kunit_add(test, ctx, "mm", LIVEUPDATE_LEVEL_MEMORY);
	it = luo_kunit_new(test, "kvm", LIVEUPDATE_LEVEL_WORKLOAD);
	it->desc.version = 3;
	it->desc.oldest = 2;
	it->desc.class = LIVEUPDATE_MANDATORY;
	it->offer.size = 5000;
	KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
	luo_kunit_add(test, ctx, "dev", LIVEUPDATE_LEVEL_DEVICES);
	luo_kunit_add(test, ctx, "irq", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, ctx, "iommu", LIVEUPDATE_LEVEL_IOMMU);
	luo_kunit_add(test, ctx, "mm2", LIVEUPDATE_LEVEL_MEMORY);

	for (int prepared = 0; prepared < 2; prepared++) {
		const char *first = prepared ?
			"kvm 3 2 workload mandatory                 5000\n" :
			"kvm 3 2 workload mandatory                    0\n";

		KUNIT_ASSERT_EQ(test, strlen(first) + strlen(others),
				luo_subsystems_show(ctx, &text));
		KUNIT_EXPECT_TRUE(test, strstarts(text, first));
		KUNIT_EXPECT_STREQ(test, text + strlen(first), others);
		kvfree(text);
		KUNIT_ASSERT_EQ(test, 0, prepared ? luo_ctx_cancel(ctx) : luo_ctx_prepare(ctx));
	}
}

/*
 * As many as there can be, and one more. The list is longer than a page, and every line as
 * long as a line can be.
 */
static void luo_state_long_list_test(struct kunit *test)
{
	static const char tail[] =
		" 4294967295 4294967295 workload mandatory 18446744073709551615\n";
	const size_t line = LIVEUPDATE_SUBSYSTEM_NAME_LEN - 1 + strlen(tail);
	const unsigned int count = LUO_SUBSYSTEMS_MAX;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	struct luo_kunit_subsystem *it;
	unsigned int wrong = 0;
	char *text;

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%0*d", (int)sizeof(name) - 1, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_WORKLOAD);
		it->desc.version = U32_MAX;
		it->desc.oldest = U32_MAX;
		it->desc.class = LIVEUPDATE_MANDATORY;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(ctx, &it->subsystem));
		it->subsystem.data.size = U64_MAX;
	}
	it = luo_kunit_new(test, "one-more", LIVEUPDATE_LEVEL_MEMORY);
	KUNIT_EXPECT_EQ(test, -ENOSPC, luo_subsystem_add(ctx, &it->subsystem));

	KUNIT_ASSERT_EQ(test, count * line, luo_subsystems_show(ctx, &text));
	KUNIT_EXPECT_GT(test, count * line, PAGE_SIZE);
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%0*d", (int)sizeof(name) - 1, i);
		if (memcmp(text + i * line, name, sizeof(name) - 1) ||
		    memcmp(text + i * line + sizeof(name) - 1, tail,
			   strlen(tail)))
			wrong++;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	kvfree(text);
}

static struct kunit_case luo_registration_cases[] = {
	KUNIT_CASE(luo_state_register_prepared_test),
	KUNIT_CASE(luo_state_register_updated_test),
	KUNIT_CASE(luo_state_register_busy_test),
	KUNIT_CASE(luo_state_restore_late_test),
	KUNIT_CASE(luo_state_register_reader_test),
	KUNIT_CASE(luo_state_register_twice_test),
	KUNIT_CASE_PARAM(luo_state_register_desc_test,
			 luo_state_desc_gen_params),
	KUNIT_CASE(luo_state_register_malformed_test),
	KUNIT_CASE(luo_state_unregister_test),
	KUNIT_CASE(luo_state_unregister_prepared_test),
	KUNIT_CASE(luo_state_unregister_frozen_test),
	KUNIT_CASE(luo_state_unregister_restored_test),
	KUNIT_CASE(luo_state_module_test),
	KUNIT_CASE(luo_state_module_leaving_test),
	KUNIT_CASE(luo_state_list_test),
	KUNIT_CASE_SLOW(luo_state_long_list_test),
	{}
};

static struct kunit_suite luo_registration_suite = {
	.name		= "luo-registration",
	.init		= luo_kunit_init,
	.exit		= luo_kunit_exit,
	.test_cases	= luo_registration_cases,
};

kunit_test_suite(luo_registration_suite);
