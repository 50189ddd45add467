// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Machines, subsystems and hand-overs for KUnit
 *
 * What the tests of the state machine have in common. Every test has two machines of
 * its own: one plays the outgoing kernel, the other one the incoming kernel. Neither is
 * published, so the machine of the system does not notice.
 *
 * The kexec
 *   Table and blobs of the outgoing machine are real KHO memory, which
 *   luo_kunit_jump() leaves to the incoming machine as kho_kunit.c has it.
 *
 * Warnings
 *   A test fails if the kernel warns while it runs. This cannot be seen if the
 *   kernel was tainted by a warning before.
 */

#include <kunit/test-bug.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_kunit.h"

/* Give a test its machines. */
int luo_kunit_init(struct kunit *test)
{
	struct luo_kunit *fixture = kunit_kzalloc(test, sizeof(*fixture),
						  GFP_KERNEL);

	if (!fixture)
		return -ENOMEM;

	kho_kunit_init(&fixture->kho, test);
	luo_ctx_init(&fixture->ctx);
	luo_ctx_init(&fixture->next);
	INIT_LIST_HEAD(&fixture->subsystems);
	seq_buf_init(&fixture->log, fixture->log_text, LUO_KUNIT_LOG_LEN);
	seq_buf_init(&fixture->want, fixture->want_text, LUO_KUNIT_LOG_LEN);
	fixture->tainted = test_taint(TAINT_WARN);
	test->priv = fixture;

	return 0;
}

/* Bring both machines to rest and the memory back. */
void luo_kunit_exit(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *mock;

	if (!fixture)
		return;

	cancel_delayed_work_sync(&fixture->ctx.invalidate);
	cancel_delayed_work_sync(&fixture->next.invalidate);
	flush_work(&fixture->ctx.late);
	flush_work(&fixture->next.late);
	luo_ctx_finish(&fixture->next, true);
	luo_ctx_cancel(&fixture->next);
	luo_ctx_cancel(&fixture->ctx);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_forget_all(&fixture->next));
	KUNIT_EXPECT_NULL(test, fixture->next.instances.in);
	KUNIT_EXPECT_EQ(test, fixture->ctx.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fixture->ctx.lock));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fixture->next.lock));

	list_for_each_entry(mock, &fixture->subsystems, list) {
		if (mock->claimed)
			folio_put(virt_to_folio(mock->claimed));
	}
	kho_kunit_exit(&fixture->kho);
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), fixture->tainted);
}

/* Subsystems. */

static struct luo_kunit_subsystem *
to_mock(struct liveupdate_subsystem *subsystem)
{
	return container_of(subsystem, struct luo_kunit_subsystem, subsystem);
}

static int luo_kunit_callback(struct liveupdate_subsystem *subsystem,
			      enum luo_transition transition)
{
	struct luo_kunit_subsystem *mock = to_mock(subsystem);

	seq_buf_printf(&mock->fixture->log, " %s:%s",
		       luo_transition_name(transition), mock->desc.name);
	if (mock->hook)
		mock->hook(mock, transition);

	return mock->error[transition];
}

/* Content of a subsystem's blob. */
u8 luo_kunit_pattern(const char *name, size_t offset)
{
	return name[offset % strlen(name)] + offset;
}

static int luo_kunit_prepare(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	struct luo_kunit_subsystem *mock = to_mock(subsystem);
	int err = luo_kunit_callback(subsystem, LUO_TRANSITION_PREPARE);
	u8 *blob;

	if (err)
		return err;
	if (!mock->offer.size) {
		data->value = mock->offer.value;
		return 0;
	}

	blob = liveupdate_data_alloc(data, mock->offer.size);
	if (IS_ERR(blob))
		return PTR_ERR(blob);
	for (size_t i = 0; i < data->size; i++)
		blob[i] = luo_kunit_pattern(mock->desc.name, i);

	return 0;
}

static int luo_kunit_freeze(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_data *data)
{
	return luo_kunit_callback(subsystem, LUO_TRANSITION_FREEZE);
}

static void luo_kunit_thaw(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_TRANSITION_THAW);
}

static void luo_kunit_cancel(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_TRANSITION_CANCEL);
	liveupdate_data_free(data);
}

static int luo_kunit_restore(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	struct luo_kunit_subsystem *mock = to_mock(subsystem);
	int err = luo_kunit_callback(subsystem, LUO_TRANSITION_RESTORE);

	mock->received = *data;
	if (!err && mock->claims)
		mock->claimed = liveupdate_data_claim(data);

	return err;
}

static void luo_kunit_finish(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_TRANSITION_FINISH);
}

static bool luo_kunit_can_finish(struct liveupdate_subsystem *subsystem,
				 const struct liveupdate_data *data)
{
	struct luo_kunit_subsystem *mock = to_mock(subsystem);

	mock->asked++;
	if (mock->waits)
		luo_report_failure(&mock->fixture->next,
				   mock->desc.name, -EBUSY, "a part",
				   "it waits");

	return !mock->waits;
}

static const struct liveupdate_subsystem_ops luo_kunit_ops = {
	.prepare	= luo_kunit_prepare,
	.freeze		= luo_kunit_freeze,
	.thaw		= luo_kunit_thaw,
	.cancel		= luo_kunit_cancel,
	.restore	= luo_kunit_restore,
	.can_finish	= luo_kunit_can_finish,
	.finish		= luo_kunit_finish,
};

/*
 * Make a subsystem, optional and of version 1. Returns the subsystem, not
 * registered.
 */
struct luo_kunit_subsystem *luo_kunit_new(struct kunit *test,
					  const char *name, u32 level)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *mock =
		kunit_kzalloc(test, sizeof(*mock), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mock);
	strscpy(mock->desc.name, name);
	mock->desc.version = 1;
	mock->desc.oldest = 1;
	mock->desc.level = level;
	mock->desc.class = LIVEUPDATE_OPTIONAL;
	mock->ops = luo_kunit_ops;
	mock->subsystem.desc = &mock->desc;
	mock->subsystem.ops = &mock->ops;
	mock->fixture = fixture;
	list_add_tail(&mock->list, &fixture->subsystems);

	return mock;
}

/* Make a subsystem and register it. */
struct luo_kunit_subsystem *luo_kunit_add(struct kunit *test,
					  struct luo_ctx *ctx,
					  const char *name, u32 level)
{
	struct luo_kunit_subsystem *mock =
		luo_kunit_new(test, name, level);

	KUNIT_ASSERT_EQ(test, 0,
			luo_subsystem_add(ctx, &mock->subsystem));

	return mock;
}

/* What ran. */

/* States as they are called in sysfs. */
const char *const luo_kunit_states[LIVEUPDATE_STATE_UPDATED + 1] = {
	[LIVEUPDATE_STATE_NORMAL]	= "normal",
	[LIVEUPDATE_STATE_PREPARED]	= "prepared",
	[LIVEUPDATE_STATE_FROZEN]	= "frozen",
	[LIVEUPDATE_STATE_UPDATED]	= "updated",
};

/* Note a callback that should run. */
void luo_kunit_want(struct kunit *test, enum luo_transition transition, const char *name)
{
	struct luo_kunit *fixture = test->priv;

	seq_buf_printf(&fixture->want, " %s:%s", luo_transition_name(transition), name);
}

/* Compare what ran with what should, forget both. */
void luo_kunit_expect_wanted(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	luo_kunit_expect_log(test, seq_buf_str(&fixture->want));
	KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&fixture->want));
	seq_buf_clear(&fixture->want);
}

/* Compare what ran, and forget it. */
void luo_kunit_expect_log(struct kunit *test, const char *log)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_EXPECT_STREQ(test, seq_buf_str(&fixture->log), log);
	KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&fixture->log));
	seq_buf_clear(&fixture->log);
}

/* Compare what the machine says failed last. */
void luo_kunit_expect_failed(struct kunit *test, struct luo_ctx *ctx,
			     enum luo_transition transition, const char *name, int error)
{
	KUNIT_EXPECT_STREQ(test, luo_transition_name(ctx->failure.transition),
			   luo_transition_name(transition));
	KUNIT_EXPECT_STREQ(test, ctx->failure.subsystem, name);
	KUNIT_EXPECT_EQ(test, ctx->failure.error, error);
}

/* Compare what a machine retains. */
void luo_kunit_expect_retained(struct kunit *test, struct luo_ctx *ctx,
			       const char *want)
{
	char ids[LUO_KUNIT_IDS_LEN];

	luo_retained_ids(&ctx->retained, ids, sizeof(ids));
	KUNIT_EXPECT_STREQ(test, ids, want);
}

/* Give up whatever a machine retains. */
int luo_kunit_forget_all(struct luo_ctx *ctx)
{
	char ids[LUO_KUNIT_IDS_LEN];
	int err = 0;

	while (!err && luo_retained_any(&ctx->retained)) {
		luo_retained_ids(&ctx->retained, ids, sizeof(ids));
		*strchrnul(ids, ' ') = '\0';
		err = luo_retained_forget(&ctx->retained, ids);
	}

	return err;
}

/* Hand-over. */

/* Let the outgoing machine's table be read in place. */
void luo_kunit_view_table(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_subsystem *subsystem;

	kho_kunit_view_table(&fixture->kho, &ctx->table);
	list_for_each_entry(subsystem, &ctx->enlisted, enlisted) {
		if (subsystem->data.size)
			kho_kunit_view(&fixture->kho,
				       phys_to_virt(subsystem->data.value));
	}
	fixture->phys = kho_table_phys(&ctx->table);
	fixture->size = ctx->table.head_size;
}

static void luo_kunit_view_instances(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		struct luo_instances_out *out =
			&fixture->ctx.instances.out[class];
		struct liveupdate_instance *instance;

		if (!out->table.head)
			continue;
		kho_kunit_view_table(&fixture->kho, &out->table);
		list_for_each_entry(instance, &out->list, entry) {
			if (instance->data.size && !instance->lost)
				kho_kunit_view(&fixture->kho,
					       phys_to_virt(instance->data.value));
		}
		fixture->instances[class].phys = kho_table_phys(&out->table);
		fixture->instances[class].size = out->table.head_size;
	}
}

static void luo_kunit_leave_instances(struct luo_instances *instances)
{
	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		if (instances->out[class].table.head)
			kho_kunit_leave_table(&instances->out[class].table);
	}
	*instances = (struct luo_instances){};
	luo_instances_init(instances);
}

/*
 * Freeze the outgoing machine and leave it behind. The machine is in state normal again,
 * with all its subsystems.
 */
void luo_kunit_jump(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct liveupdate_subsystem *subsystem, *next;

	KUNIT_ASSERT_EQ(test, ctx->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));

	luo_kunit_view_table(test);
	luo_kunit_view_instances(test);
	kho_kunit_jump(&fixture->kho);
	kho_kunit_leave_table(&ctx->table);
	luo_kunit_leave_instances(&ctx->instances);

	list_for_each_entry_safe(subsystem, next, &ctx->enlisted, enlisted) {
		list_del_init(&subsystem->enlisted);
		subsystem->phase = LUO_PHASE_IDLE;
		subsystem->data = (struct liveupdate_data){};
	}
	ctx->snapshot = false;
	ctx->state = LIVEUPDATE_STATE_NORMAL;
}

/* Prepare the outgoing machine and leave it behind. What it called is not looked at. */
void luo_kunit_hand_over(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	seq_buf_clear(&fixture->log);
}

/* Let the incoming machine look for what was left. Returns as luo_ctx_restore(). */
int luo_kunit_boot(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	for (int class = 0; class < LUO_NR_CLASSES; class++) {
		if (fixture->instances[class].phys)
			luo_instances_accept(&fixture->next, class,
					     fixture->instances[class].phys,
					     fixture->instances[class].size);
	}

	return luo_ctx_restore(&fixture->next, fixture->phys, fixture->size);
}

/* Find a record of the table that was handed over. */
struct luo_subsystem_ser *luo_kunit_record(struct kunit *test, u32 position)
{
	struct luo_kunit *fixture = test->priv;
	struct kho_table_entry_ser *entry =
		kho_kunit_entry(phys_to_virt(fixture->phys),
				sizeof(struct luo_subsystem_ser), position);

	return (struct luo_subsystem_ser *)(entry + 1);
}

/* Make the checksums of that table match whatever is in it. */
void luo_kunit_seal(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	kho_kunit_seal(phys_to_virt(fixture->phys), sizeof(struct luo_subsystem_ser));
}
