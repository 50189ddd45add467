// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the state machine without memory
 *
 * Three subsystems go through an update, and each allocation on the way fails
 * once (include/linux/liveupdate/fault.h): in the machine, in the table, and in
 * subsystems. A transition that fails says whose fault it was, leaves nothing behind and
 * works when it is attempted again. A transition that cannot fail does not.
 *
 *	a	workload	optional	hands over a blob of a page
 *	b	devices		mandatory	hands over a value
 *	c	memory		mandatory	hands over a blob of four pages
 *
 * In the next kernel c needs memory to restore. Some tests give a instances, too.
 */

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <linux/liveupdate/fault.h>

#include "luo_kunit.h"

#define LUO_FAULTS_C_PAGES	4

/* Whose fault failures were, as bits. */
#define LUO_FAULTS_MACHINE	BIT(0)
#define LUO_FAULTS_A		BIT(1)
#define LUO_FAULTS_B		BIT(2)
#define LUO_FAULTS_C		BIT(3)

static const char *const luo_faults_names[] = { "a", "b", "c" };

/* The subsystems of a kernel; a and c say what they hand over or claim. */
struct luo_faults {
	struct luo_kunit_subsystem *a;
	struct luo_kunit_subsystem *b;
	struct luo_kunit_subsystem *c;
};

static struct luo_faults luo_faults_add(struct kunit *test,
					struct luo_ctx *ctx)
{
	struct luo_faults them;

	them.a = luo_kunit_add(test, ctx, "a", LIVEUPDATE_LEVEL_WORKLOAD);
	them.b = luo_kunit_add(test, ctx, "b", LIVEUPDATE_LEVEL_DEVICES);
	them.c = luo_kunit_add(test, ctx, "c", LIVEUPDATE_LEVEL_MEMORY);
	them.a->offer.size = 100;
	them.b->offer.value = 0xfedcba9876543210ULL;
	them.b->desc.class = LIVEUPDATE_MANDATORY;
	them.c->offer.size = LUO_FAULTS_C_PAGES * PAGE_SIZE;
	them.c->desc.class = LIVEUPDATE_MANDATORY;

	return them;
}

static void luo_faults_forget_failed(struct luo_ctx *ctx)
{
	ctx->failure.transition = LUO_TRANSITION_NONE;
	ctx->failure.subsystem[0] = '\0';
	ctx->failure.error = 0;
}

/* Whose fault was it? */
static unsigned int luo_faults_culprit(const struct luo_ctx *ctx)
{
	return ctx->failure.subsystem[0] ?
	       LUO_FAULTS_A << (ctx->failure.subsystem[0] - 'a') :
	       LUO_FAULTS_MACHINE;
}

static void luo_faults_want_all(struct kunit *test, enum luo_transition transition)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(luo_faults_names); i++)
		luo_kunit_want(test, transition, luo_faults_names[i]);
}

/* PREPARE up to the one that failed, and CANCEL back; nobody if it was the machine. */
static void luo_faults_want_undone(struct kunit *test, const char *failed)
{
	int i;

	if (!*failed)
		return;
	for (i = 0; i < ARRAY_SIZE(luo_faults_names); i++) {
		luo_kunit_want(test, LUO_TRANSITION_PREPARE, luo_faults_names[i]);
		if (!strcmp(luo_faults_names[i], failed))
			break;
	}
	while (i--)
		luo_kunit_want(test, LUO_TRANSITION_CANCEL, luo_faults_names[i]);
}

/* Expects that nothing is left of a prepare. */
static void luo_faults_expect_idle(struct kunit *test, struct luo_faults *them)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *all[] = { them->a, them->b, them->c };
	struct luo_ctx *ctx = &fixture->ctx;

	KUNIT_EXPECT_EQ(test, ctx->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, ctx->transition, LUO_TRANSITION_NONE);
	KUNIT_EXPECT_NULL(test, ctx->task);
	KUNIT_EXPECT_FALSE(test, ctx->watched);
	KUNIT_EXPECT_NULL(test, ctx->table.head);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->enlisted));
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		struct liveupdate_subsystem *subsystem = &all[i]->subsystem;

		KUNIT_EXPECT_EQ(test, subsystem->phase, LUO_PHASE_IDLE);
		KUNIT_EXPECT_EQ(test, subsystem->data.size, 0);
		KUNIT_EXPECT_EQ(test, subsystem->data.value, 0);
	}
}

static void luo_faults_prepare_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_fault fault = {};
	struct luo_faults them;
	unsigned int seen = 0;
	int err;

	liveupdate_fault_require(test);
	them = luo_faults_add(test, ctx);
	/* The watchdog runs, too. */
	ctx->prepare_timeout_ms = 60 * MSEC_PER_SEC;
	ctx->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	while (liveupdate_fault_next(test, &fault)) {
		luo_faults_forget_failed(ctx);

		liveupdate_fault_begin(&fault);
		err = luo_ctx_prepare(ctx);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_TRUE(test, fault.hit);
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_EQ(test, ctx->failure.transition,
					LUO_TRANSITION_PREPARE);
			KUNIT_EXPECT_EQ(test, ctx->failure.error, -ENOMEM);
			seen |= luo_faults_culprit(ctx);
			luo_faults_want_undone(test, ctx->failure.subsystem);
		} else {
			KUNIT_EXPECT_EQ(test, ctx->failure.error, 0);
			KUNIT_EXPECT_EQ(test, ctx->state,
					LIVEUPDATE_STATE_PREPARED);
			luo_faults_want_all(test, LUO_TRANSITION_PREPARE);
			luo_kunit_expect_wanted(test);
			KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
			for (int i = ARRAY_SIZE(luo_faults_names); i--; )
				luo_kunit_want(test, LUO_TRANSITION_CANCEL,
					       luo_faults_names[i]);
		}
		luo_kunit_expect_wanted(test);
		luo_faults_expect_idle(test, &them);
	}
	KUNIT_EXPECT_EQ(test, seen,
			LUO_FAULTS_MACHINE | LUO_FAULTS_A | LUO_FAULTS_C);
}

/* The transitions of a prepared machine, which need no memory that they cannot do without. */
static void luo_faults_freeze_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_fault fault = {};
	struct luo_faults them;
	int err, rehearsed, cancelled;

	liveupdate_fault_require(test);
	them = luo_faults_add(test, ctx);
	ctx->prepare_timeout_ms = 60 * MSEC_PER_SEC;
	ctx->freeze_timeout_ms = 60 * MSEC_PER_SEC;
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));

		liveupdate_fault_begin(&fault);
		rehearsed = luo_ctx_rehearse(ctx);
		err = luo_ctx_freeze(ctx, true);
		luo_ctx_thaw(ctx);
		cancelled = luo_ctx_cancel(ctx);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, rehearsed, 0);
		KUNIT_EXPECT_EQ(test, err, 0);
		KUNIT_EXPECT_EQ(test, cancelled, 0);
		luo_faults_expect_idle(test, &them);
		seq_buf_clear(&fixture->log);
	}
	KUNIT_EXPECT_EQ(test, ctx->failure.error, 0);
}

/* c needs memory in its restore. */
static void luo_faults_restore_hook(struct luo_kunit_subsystem *mock,
				    enum luo_transition transition)
{
	void *mem;

	if (transition != LUO_TRANSITION_RESTORE)
		return;
	mem = kmalloc(PAGE_SIZE, GFP_KERNEL);
	mock->error[transition] = mem ? 0 : -ENOMEM;
	kfree(mem);
}

static struct luo_faults luo_faults_add_next(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_faults them = luo_faults_add(test, &fixture->next);

	them.a->claims = true;
	them.c->claims = true;
	them.c->hook = luo_faults_restore_hook;

	return them;
}

static void luo_faults_put(struct luo_kunit_subsystem *mock)
{
	if (mock->claimed)
		folio_put(virt_to_folio(mock->claimed));
	mock->claimed = NULL;
}

/* Expects that what was handed over is as if nobody had looked at it. */
static void luo_faults_expect_untouched(struct kunit *test, unsigned long reserved)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_NULL(test, fixture->next.incoming);
	KUNIT_EXPECT_EQ(test, fixture->next.nr_incoming, 0);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), reserved);
	luo_kunit_expect_log(test, "");
}

/* What came of all turns of luo_faults_restore(). */
struct luo_faults_outcome {
	unsigned int seen;	/* whose fault it was, by name */
	unsigned int unread;	/* turns in which nothing could be read */
};

static void luo_faults_restore(struct kunit *test, struct luo_faults *them,
			       struct luo_faults_outcome *outcome)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;
	struct liveupdate_fault fault = {};
	int err;

	while (liveupdate_fault_next(test, &fault)) {
		unsigned long reserved;

		luo_kunit_hand_over(test);
		reserved = kho_kunit_reserved_pages(&fixture->kho);
		/* Head, one block, and the blobs. */
		KUNIT_EXPECT_EQ(test, reserved, 3 + LUO_FAULTS_C_PAGES);
		luo_faults_forget_failed(next);

		liveupdate_fault_begin(&fault);
		err = luo_kunit_boot(test);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			luo_faults_expect_untouched(test, reserved);
			outcome->unread++;
			KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
		}
		/* Everybody was asked, whatever failed. */
		luo_kunit_expect_log(test, " restore:c restore:b restore:a");
		KUNIT_EXPECT_EQ(test, next->state, LIVEUPDATE_STATE_UPDATED);
		KUNIT_EXPECT_NOT_NULL(test, them->a->claimed);
		if (next->failure.error) {
			outcome->seen |= luo_faults_culprit(next);
			luo_kunit_expect_failed(test, next, LUO_TRANSITION_RESTORE,
						"c", -ENOMEM);
			KUNIT_EXPECT_NULL(test, them->c->claimed);
			luo_kunit_expect_retained(test, next, "c");
		} else {
			KUNIT_EXPECT_NOT_NULL(test, them->c->claimed);
			luo_kunit_expect_retained(test, next, "");
		}

		KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
		luo_kunit_expect_log(test, next->failure.error ?
				     " finish:a finish:b" :
				     " finish:a finish:b finish:c");
		luo_faults_put(them->a);
		luo_faults_put(them->c);
		KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho),
				next->failure.error ? LUO_FAULTS_C_PAGES : 0);
		KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(next));
		KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	}
}

static void luo_faults_restore_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_faults_outcome outcome = {};
	struct luo_faults them;

	liveupdate_fault_require(test);
	luo_faults_add(test, &fixture->ctx);
	them = luo_faults_add_next(test);
	/*
	 * How many nodes the index of blobs needs depends on where they are, so that
	 * one turn may pass over what comes behind that.
	 */
	for (int i = 0; i < 4; i++)
		luo_faults_restore(test, &them, &outcome);
	/* Head and block of the table, the records, and the copy of them. */
	KUNIT_EXPECT_GE(test, outcome.unread, 4);
	KUNIT_EXPECT_EQ(test, outcome.seen, LUO_FAULTS_C);
}

static void luo_faults_finish_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_fault fault = {};
	struct luo_faults them;
	int err;

	liveupdate_fault_require(test);
	luo_faults_add(test, &fixture->ctx);
	them = luo_faults_add_next(test);
	while (liveupdate_fault_next(test, &fault)) {
		luo_kunit_hand_over(test);
		KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
		luo_kunit_expect_log(test, " restore:c restore:b restore:a");

		liveupdate_fault_begin(&fault);
		err = luo_ctx_finish(&fixture->next, false);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, err, 0);
		luo_kunit_expect_log(test, " finish:a finish:b finish:c");
		luo_faults_put(them.a);
		luo_faults_put(them.c);
		luo_faults_expect_untouched(test, 0);
	}
	KUNIT_EXPECT_EQ(test, fixture->next.failure.error, 0);
}

static void luo_faults_list_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;

	liveupdate_fault_require(test);
	luo_faults_add(test, &fixture->ctx);
	while (liveupdate_fault_next(test, &fault)) {
		char *text = NULL;
		ssize_t size;

		liveupdate_fault_begin(&fault);
		size = luo_subsystems_show(&fixture->ctx, &text);
		liveupdate_fault_end(&fault);

		if (size < 0) {
			KUNIT_EXPECT_EQ(test, size, -ENOMEM);
			KUNIT_EXPECT_NULL(test, text);
			failed++;
		} else {
			KUNIT_ASSERT_NOT_NULL(test, text);
			KUNIT_EXPECT_EQ(test, size, strlen(text));
		}
		kvfree(text);
	}
	KUNIT_EXPECT_EQ(test, failed, 1);
}

/* Instances, of which each class has one more than a block of its table holds. */

#define LUO_FAULTS_PER_CLASS	(KHO_TABLE_PER_BLOCK(sizeof(struct luo_instance_ser)) + 1)

struct luo_faults_instances {
	struct liveupdate_instance of[LUO_NR_CLASSES][LUO_FAULTS_PER_CLASS];
};

/* How many could be added before memory was out, of both classes in turn. */
static unsigned int luo_faults_add_instances(struct luo_ctx *ctx,
					     struct luo_kunit_subsystem *owner,
					     struct luo_faults_instances *instances,
					     int *err)
{
	unsigned int count = 0;

	for (u64 i = 0; i < LUO_FAULTS_PER_CLASS; i++) {
		for (u32 class = 0; class < LUO_NR_CLASSES; class++) {
			struct liveupdate_instance *instance = &instances->of[class][i];

			*instance = (struct liveupdate_instance){
				.key = class * 1000 + i, .version = 1, .class = class,
				.data.value = i,
			};
			*err = luo_instance_add(ctx, &owner->subsystem, instance);
			if (*err)
				return count;
			count++;
		}
	}

	return count;
}

static unsigned int luo_faults_nr_added(const struct luo_ctx *ctx)
{
	return ctx->instances.out[LIVEUPDATE_OPTIONAL].count +
	       ctx->instances.out[LIVEUPDATE_MANDATORY].count;
}

static void luo_faults_instances_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_faults_instances *instances;
	struct liveupdate_fault fault = {};
	unsigned int added, failed = 0;
	struct luo_faults them;
	int err;

	liveupdate_fault_require(test);
	them = luo_faults_add(test, ctx);
	instances = kunit_kzalloc(test, sizeof(*instances), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, instances);
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));

		liveupdate_fault_begin(&fault);
		added = luo_faults_add_instances(ctx, them.a, instances, &err);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, luo_faults_nr_added(ctx), added);
		if (err) {
			struct liveupdate_instance *last =
				&instances->of[added % 2][added / 2];

			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_NULL(test, last->subsystem);
			KUNIT_EXPECT_EQ(test, 0, luo_instance_add(ctx,
								  &them.a->subsystem,
								  last));
			failed++;
		}
		KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
		KUNIT_EXPECT_EQ(test, 0, luo_instance_drop(ctx,
							   &instances->of[0][0]));
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_cancel(ctx));
		KUNIT_EXPECT_EQ(test, luo_faults_nr_added(ctx), 0);
		luo_faults_expect_idle(test, &them);
		seq_buf_clear(&fixture->log);
	}
	/* A head and two blocks of each class. */
	KUNIT_EXPECT_GE(test, failed, 6);
}

/* FREEZE and what takes instances away need no memory that they cannot do without. */
static void luo_faults_drop_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_faults_instances *instances;
	struct liveupdate_fault fault = {};
	int err, frozen, dropped;
	struct luo_faults them;

	liveupdate_fault_require(test);
	them = luo_faults_add(test, ctx);
	instances = kunit_kzalloc(test, sizeof(*instances), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, instances);
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(ctx));
		luo_faults_add_instances(ctx, them.a, instances, &err);
		KUNIT_ASSERT_EQ(test, 0, err);

		liveupdate_fault_begin(&fault);
		luo_instance_abort(ctx, &instances->of[0][1], -EIO);
		frozen = luo_ctx_freeze(ctx, true);
		luo_instance_abort(ctx, &instances->of[0][2], -EIO);
		luo_ctx_thaw(ctx);
		dropped = luo_instance_drop(ctx, &instances->of[1][0]);
		err = luo_ctx_cancel(ctx);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, frozen, 0);
		KUNIT_EXPECT_EQ(test, dropped, 0);
		KUNIT_EXPECT_EQ(test, err, 0);
		for (int i = 0; i < 4; i++)
			KUNIT_EXPECT_EQ(test, instances->of[0][i].lost,
					i == 1 || i == 2 ? -EIO : 0);
		luo_faults_expect_idle(test, &them);
		seq_buf_clear(&fixture->log);
	}
}

/*
 * In the next kernel a table that there is no memory to read is as one that is corrupted:
 * nobody is told that an instance was not there, and nothing of it is freed.
 */
static void luo_faults_expect_instances(struct kunit *test, u32 class, bool read)
{
	struct liveupdate_subsystem_desc desc = { .name = "a", .version = 1, .oldest = 1 };
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_instance_info info;

	for (u64 i = 0; i < LUO_FAULTS_PER_CLASS; i++) {
		int err = luo_instance_find(&fixture->next, &desc, class * 1000 + i, &info);

		KUNIT_EXPECT_EQ(test, err, read ? 0 : -EBADMSG);
		if (!err)
			KUNIT_EXPECT_EQ(test, info.data.value, i);
	}
}

static void luo_faults_accept_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_instances *in = &fixture->next.instances;
	struct luo_faults_instances *instances;
	unsigned int lost[LUO_NR_CLASSES] = {};
	struct liveupdate_fault fault = {};
	struct luo_faults them, next;
	int err;

	liveupdate_fault_require(test);
	them = luo_faults_add(test, &fixture->ctx);
	next = luo_faults_add_next(test);
	instances = kunit_kzalloc(test, sizeof(*instances), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, instances);
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
		luo_faults_add_instances(&fixture->ctx, them.a, instances, &err);
		KUNIT_ASSERT_EQ(test, 0, err);
		luo_kunit_jump(test);

		liveupdate_fault_begin(&fault);
		for (u32 class = 0; class < LUO_NR_CLASSES; class++)
			luo_instances_accept(&fixture->next, class,
					     fixture->instances[class].phys,
					     fixture->instances[class].size);
		liveupdate_fault_end(&fault);

		for (u32 class = 0; class < LUO_NR_CLASSES; class++) {
			bool read = !in->nr_unreadable[class];

			lost[class] += !read;
			luo_faults_expect_instances(test, class, read);
			KUNIT_EXPECT_EQ(test, !read,
					kho_kunit_is_reserved(&fixture->kho,
							      fixture->instances[class].phys));
		}
		luo_instances_discard(&fixture->next);
		KUNIT_EXPECT_NULL(test, in->in);
		KUNIT_ASSERT_EQ(test, 0, luo_ctx_restore(&fixture->next, fixture->phys,
							 fixture->size));
		KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, true));
		KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->next));
		luo_faults_put(next.a);
		luo_faults_put(next.c);
		seq_buf_clear(&fixture->log);
	}
	KUNIT_EXPECT_GE(test, lost[LIVEUPDATE_OPTIONAL], 2);
	KUNIT_EXPECT_GE(test, lost[LIVEUPDATE_MANDATORY], 2);
}

static struct kunit_case luo_faults_cases[] = {
	KUNIT_CASE(luo_faults_prepare_test),
	KUNIT_CASE(luo_faults_freeze_test),
	KUNIT_CASE(luo_faults_restore_test),
	KUNIT_CASE(luo_faults_finish_test),
	KUNIT_CASE(luo_faults_list_test),
	KUNIT_CASE(luo_faults_instances_test),
	KUNIT_CASE(luo_faults_drop_test),
	KUNIT_CASE(luo_faults_accept_test),
	{}
};

static struct kunit_suite luo_faults_suite = {
	.name = "luo-faults",
	.init = luo_kunit_init,
	.exit = luo_kunit_exit,
	.test_cases = luo_faults_cases,
};

kunit_test_suite(luo_faults_suite);
