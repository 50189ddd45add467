// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the hand-over format
 *
 * What luo_handover.c writes, and what it makes of tables that are corrupted. That
 * the checksums of a table notice every flipped bit is shown by
 * kho_table_kunit.c; here, one of each kind is enough to show that none of a
 * table is used then. Single fields are set to what they must not be, and the
 * checksums are corrected; what remains is for the checks of the fields to notice,
 * which say -EINVAL, never -EBADMSG.
 */

#include <linux/err.h>
#include <linux/io.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_PER_BLOCK \
	((unsigned int)KHO_TABLE_PER_BLOCK(sizeof(struct luo_subsystem_ser)))

static void luo_handover_name(char *name, unsigned int index)
{
	snprintf(name, LIVEUPDATE_SUBSYSTEM_NAME_LEN, "subsystem-%u", index);
}

/* No two neighbours hand over the same. Every third hands over a blob. */
static void luo_handover_fill(struct kunit *test, unsigned int count)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];

	for (unsigned int i = 0; i < count; i++) {
		luo_handover_name(name, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.version = i + 1;
		it->desc.class = i % 2 ? LIVEUPDATE_MANDATORY :
				 LIVEUPDATE_OPTIONAL;
		it->offer.value = 0xfedcba9876543210ULL + i;
		it->offer.size = i % 3 ? 0 : i + 1;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->ctx,
							   &it->subsystem));
	}
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
}

/* Makes a hand-over of @count records. */
static void luo_handover_make(struct kunit *test, unsigned int count)
{
	luo_handover_fill(test, count);
	luo_kunit_jump(test);
}

/* Reads, expects @error, and if it is 0 a number of records. */
static void luo_handover_expect(struct kunit *test, int error, unsigned int want)
{
	struct luo_subsystem_ser *records = NULL;
	struct luo_kunit *fixture = test->priv;
	struct kho_table_incoming table = {};
	unsigned int count = 0;

	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, error,
				luo_handover_read(&table, fixture->phys,
						  fixture->size, &records, &count));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	KUNIT_EXPECT_EQ(test, count, error ? 0 : want);
	KUNIT_EXPECT_EQ(test, !records, error != 0);
	KUNIT_EXPECT_EQ(test, !table.head, error != 0);
	kho_table_close(&table);
	kvfree(records);
}

/* Round trip. */

static const unsigned int luo_handover_counts[] = {
	0, 1, LUO_PER_BLOCK - 1, LUO_PER_BLOCK, LUO_PER_BLOCK + 1,
	LUO_SUBSYSTEMS_MAX,
};

static void luo_handover_count_desc(const unsigned int *count, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u records", *count);
}

KUNIT_ARRAY_PARAM(luo_handover_count, luo_handover_counts,
		  luo_handover_count_desc);

static bool luo_handover_blob_intact(const struct luo_subsystem_ser *ser)
{
	const u8 *blob = phys_to_virt(ser->value);

	for (u64 i = 0; i < ser->size; i++) {
		if (blob[i] != luo_kunit_pattern(ser->name, i))
			return false;
	}

	return true;
}

static void luo_handover_round_trip_test(struct kunit *test)
{
	const unsigned int want = *(const unsigned int *)test->param_value;
	struct luo_kunit *fixture = test->priv;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	struct luo_subsystem_ser *records = NULL;
	struct kho_table_incoming table;
	unsigned int count = UINT_MAX;

	luo_handover_make(test, want);
	KUNIT_ASSERT_EQ(test, 0, luo_handover_read(&table, fixture->phys,
						   fixture->size, &records,
						   &count));
	kho_table_close(&table);
	KUNIT_EXPECT_EQ(test, count, want);
	for (unsigned int i = 0; i < min(count, want); i++) {
		u32 flags = (i % 2 ? LUO_SUBSYSTEM_SER_MANDATORY : 0) |
			    (i % 3 ? 0 : LUO_SUBSYSTEM_SER_BLOB);

		luo_handover_name(name, i);
		KUNIT_EXPECT_STREQ(test, records[i].name, name);
		KUNIT_EXPECT_EQ(test, records[i].version, i + 1);
		KUNIT_EXPECT_EQ(test, records[i].flags, flags);
		KUNIT_EXPECT_EQ(test, records[i].size, i % 3 ? 0 : i + 1);
		if (i % 3)
			KUNIT_EXPECT_EQ(test, records[i].value,
					0xfedcba9876543210ULL + i);
		else
			KUNIT_EXPECT_TRUE(test,
					  luo_handover_blob_intact(&records[i]));
	}
	kvfree(records);
}

/* From one subsystem to the next, as the callbacks see it. */
static void luo_handover_deliver_test(struct kunit *test)
{
	const unsigned int count = *(const unsigned int *)test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem **new;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	unsigned long blobs = 0, pages;

	luo_handover_make(test, count);
	for (unsigned int i = 0; i < count; i += 3)
		blobs++;
	pages = 1 + DIV_ROUND_UP(count, LUO_PER_BLOCK) + blobs;
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), pages);

	new = kunit_kcalloc(test, count + 1, sizeof(*new), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, new);
	for (unsigned int i = 0; i < count; i++) {
		luo_handover_name(name, i);
		new[i] = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		new[i]->desc.version = i + 1;
		new[i]->claims = true;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->next,
							   &new[i]->subsystem));
	}
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
	for (unsigned int i = 0; i < count; i++) {
		u8 *blob = new[i]->claimed;

		if (i % 3) {
			KUNIT_EXPECT_EQ(test, new[i]->received.value,
					0xfedcba9876543210ULL + i);
			KUNIT_EXPECT_EQ(test, new[i]->received.size, 0);
			KUNIT_EXPECT_PTR_EQ(test, blob, NULL);
			continue;
		}
		KUNIT_EXPECT_EQ(test, new[i]->received.size, i + 1);
		KUNIT_ASSERT_NOT_NULL(test, blob);
		KUNIT_EXPECT_EQ(test, blob[i],
				luo_kunit_pattern(new[i]->desc.name, i));
	}
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
}

/* The format itself, so that nobody changes it unnoticed. */
static void luo_handover_format_test(struct kunit *test)
{
	static const char compatible[KHO_TABLE_COMPAT_LEN] = "luo-subsystems-v1";
	struct luo_kunit *fixture = test->priv;
	const struct luo_subsystem_ser *ser;
	const struct kho_table_ser *head;

	luo_handover_make(test, 2);
	head = phys_to_virt(fixture->phys);
	KUNIT_EXPECT_MEMEQ(test, head->compatible, compatible, sizeof(compatible));
	KUNIT_EXPECT_EQ(test, head->record_size, 72);
	KUNIT_EXPECT_EQ(test, head->nr_records, 2);

	ser = luo_kunit_record(test, 1);
	KUNIT_EXPECT_STREQ(test, (const char *)ser, "subsystem-1");
	KUNIT_EXPECT_EQ(test, *(const u32 *)((const u8 *)ser + 48), 2);
	KUNIT_EXPECT_EQ(test, *(const u32 *)((const u8 *)ser + 52), 1);
	KUNIT_EXPECT_EQ(test, *(const u64 *)((const u8 *)ser + 56),
			0xfedcba9876543211ULL);
	KUNIT_EXPECT_EQ(test, *(const u64 *)((const u8 *)ser + 64), 0);
	ser = luo_kunit_record(test, 0);
	KUNIT_EXPECT_EQ(test, *(const u32 *)((const u8 *)ser + 52), 2);
	KUNIT_EXPECT_EQ(test, *(const u64 *)((const u8 *)ser + 64), 1);
}

/* What is wrong with a table. */

enum luo_handover_field {
	LUO_NOTHING,
	LUO_HEAD_BIT,
	LUO_HEAD_COMPATIBLE,
	LUO_BLOCK_PHYS,
	LUO_ENTRY_FLAGS,
	LUO_RECORD_BIT,
	LUO_RECORD_NAME,
	LUO_RECORD_VERSION,
	LUO_RECORD_FLAGS,
	LUO_RECORD_VALUE,
	LUO_RECORD_SIZE,
};

/* Where a corrupted address points; @value is added to it. */
enum luo_handover_target {
	LUO_TO_VALUE,
	LUO_TO_SAME,
	LUO_TO_HEAD,
	LUO_TO_BLOCK,
	LUO_TO_BLOB,
	LUO_TO_OWN,
};

/**
 * struct luo_handover_corruption - one field that is wrong
 * @what: what is wrong.
 * @count: records in the table.
 * @field: the field. A bit is flipped under the checksums, all else is corrected.
 * @index: of which record.
 * @text: its content, if it is text.
 * @value: its content, if it is a number.
 * @target: what @value is added to.
 * @accepted: the reader has no objection.
 * @error: otherwise, what it has to say if that is not -EINVAL.
 */
struct luo_handover_corruption {
	const char *what;
	unsigned int count;
	enum luo_handover_field field;
	unsigned int index;
	char text[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 1];
	u64 value;
	enum luo_handover_target target;
	bool accepted;
	int error;
};

#define LUO_FULL	LUO_PER_BLOCK

/* Every third record carries a blob, beginning with the first one. */
static const struct luo_handover_corruption luo_handover_corruptions[] = {
	{ "nothing", .count = 2, .accepted = true },
	{ "nothing in two blocks", .count = LUO_FULL + 2, .accepted = true },
	{ "another plain value", 2, LUO_RECORD_VALUE, 1, .value = U64_MAX,
	  .accepted = true },
	{ "another name", 2, LUO_RECORD_NAME, 1, .text = "!-~",
	  .accepted = true },
	{ "size beyond the folio", 2, LUO_RECORD_SIZE, 0, .value = SZ_1G,
	  .accepted = true },

	{ "bit of the head", 2, LUO_HEAD_BIT, .error = -EBADMSG },
	{ "bit of the first record", 2, LUO_RECORD_BIT, 0, .error = -EBADMSG },
	{ "bit of the last record", LUO_FULL + 2, LUO_RECORD_BIT, LUO_FULL + 1,
	  .error = -EBADMSG },
	{ "next version", 2, LUO_HEAD_COMPATIBLE, .text = "luo-subsystems-v2",
	  .error = -EPROTONOSUPPORT },
	{ "a block is missing", 2, LUO_BLOCK_PHYS, .value = BIT_ULL(45) },
	{ "a record is invalid", 2, LUO_ENTRY_FLAGS, 1,
	  .value = KHO_TABLE_ENTRY_INVALID },

	{ "no name", 2, LUO_RECORD_NAME, 0, .text = "" },
	{ "name not terminated", 2, LUO_RECORD_NAME, 0,
	  .text = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
	{ "garbage behind the name", 2, LUO_RECORD_NAME, 0,
	  .text = "x\0x" },
	{ "name begins with zero", 2, LUO_RECORD_NAME, 0, .text = "\0x" },
	{ "space in name", 2, LUO_RECORD_NAME, 0, .text = "x x" },
	{ "tab in name", 2, LUO_RECORD_NAME, 0, .text = "x\tx" },
	{ "newline in name", 2, LUO_RECORD_NAME, 0, .text = "x\n" },
	{ "escape in name", 2, LUO_RECORD_NAME, 0, .text = "\x1b[2J" },
	{ "delete in name", 2, LUO_RECORD_NAME, 0, .text = "x\x7f" },
	{ "name not ASCII", 2, LUO_RECORD_NAME, 0, .text = "\xc3\xa4" },
	{ "data of version 0", 2, LUO_RECORD_VERSION, 0, .value = 0 },
	{ "flag 2", 2, LUO_RECORD_FLAGS, 0,
	  .value = BIT(2) | LUO_SUBSYSTEM_SER_BLOB },
	{ "flag 31", 2, LUO_RECORD_FLAGS, 0,
	  .value = BIT(31) | LUO_SUBSYSTEM_SER_BLOB },
	{ "blob of size 0", 2, LUO_RECORD_SIZE, 0, .value = 0 },
	{ "size without blob", 2, LUO_RECORD_SIZE, 1, .value = 1 },
	{ "huge size without blob", 2, LUO_RECORD_SIZE, 1,
	  .value = BIT_ULL(32) },
	{ "not a blob, but has a size", 2, LUO_RECORD_FLAGS, 0, .value = 0 },
	{ "blob with two owners", 4, LUO_RECORD_VALUE, 3,
	  .target = LUO_TO_BLOB },
	{ "last record, no name", LUO_FULL + 2, LUO_RECORD_NAME, LUO_FULL + 1,
	  .text = "" },
	{ "last record, version 0",
	  LUO_FULL + 2, LUO_RECORD_VERSION, LUO_FULL + 1, .value = 0 },
	{ "last record, flag 31",
	  LUO_FULL + 2, LUO_RECORD_FLAGS, LUO_FULL + 1, .value = BIT(31) },
};

KUNIT_ARRAY_PARAM_DESC(luo_handover_corruption, luo_handover_corruptions, what);

static u64 luo_handover_address(struct kunit *test,
				const struct luo_handover_corruption *corruption, u64 same,
				void *own)
{
	struct luo_kunit *fixture = test->priv;
	const struct kho_table_ser *head = phys_to_virt(fixture->phys);

	switch (corruption->target) {
	case LUO_TO_VALUE:
		break;
	case LUO_TO_SAME:
		return same + corruption->value;
	case LUO_TO_HEAD:
		return fixture->phys;
	case LUO_TO_BLOCK:
		return head->blocks[0].phys;
	case LUO_TO_BLOB:
		return luo_kunit_record(test, 0)->value;
	case LUO_TO_OWN:
		return virt_to_phys(own);
	}

	return corruption->value;
}

static void luo_handover_apply(struct kunit *test,
			       const struct luo_handover_corruption *corruption)
{
	struct luo_kunit *fixture = test->priv;
	struct kho_table_ser *head = phys_to_virt(fixture->phys);
	struct luo_subsystem_ser *record = luo_kunit_record(test, corruption->index);
	void *own = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, own);
	switch (corruption->field) {
	case LUO_NOTHING:
		break;
	case LUO_HEAD_BIT:
		head->nr_records ^= BIT(0);
		return;
	case LUO_HEAD_COMPATIBLE:
		memcpy(head->compatible, corruption->text, sizeof(head->compatible));
		break;
	case LUO_BLOCK_PHYS:
		head->blocks[0].phys = corruption->value;
		break;
	case LUO_ENTRY_FLAGS:
		kho_kunit_entry(head, sizeof(*record), corruption->index)->flags =
			corruption->value;
		break;
	case LUO_RECORD_BIT:
		record->version ^= BIT(31);
		return;
	case LUO_RECORD_NAME:
		memcpy(record->name, corruption->text, sizeof(record->name));
		break;
	case LUO_RECORD_VERSION:
		record->version = corruption->value;
		break;
	case LUO_RECORD_FLAGS:
		record->flags = corruption->value;
		break;
	case LUO_RECORD_VALUE:
		record->value = luo_handover_address(test, corruption, record->value,
						     own);
		break;
	case LUO_RECORD_SIZE:
		record->size = corruption->value;
		break;
	}
	luo_kunit_seal(test);
}

static void luo_handover_corruption_test(struct kunit *test)
{
	const struct luo_handover_corruption *corruption = test->param_value;
	struct luo_kunit *fixture = test->priv;
	int error = corruption->accepted ? 0 : corruption->error ?: -EINVAL;
	unsigned long reserved;

	luo_handover_make(test, corruption->count);
	reserved = kho_kunit_reserved_pages(&fixture->kho);
	luo_handover_apply(test, corruption);

	luo_handover_expect(test, error, corruption->count);
	if (!error)
		return;

	/* A machine that finds this starts as if there were nothing. */
	luo_kunit_add(test, &fixture->next, "subsystem-0",
		      LIVEUPDATE_LEVEL_DEVICES);
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, error, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), reserved);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(&fixture->next));
}

/* As many subsystems as a table may have, and one more. */
static void luo_handover_limit_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	mutex_lock(&ctx->lock);
	KUNIT_EXPECT_EQ(test, -E2BIG,
			luo_handover_alloc(ctx, LUO_SUBSYSTEMS_MAX + 1));
	KUNIT_EXPECT_NULL(test, ctx->table.head);
	KUNIT_EXPECT_EQ(test, 0, luo_handover_alloc(ctx, LUO_SUBSYSTEMS_MAX));
	luo_handover_free(ctx);
	KUNIT_EXPECT_NULL(test, ctx->table.head);
	mutex_unlock(&ctx->lock);
}

static void luo_handover_duplicate_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	unsigned long reserved;

	luo_handover_make(test, LUO_PER_BLOCK + 1);
	reserved = kho_kunit_reserved_pages(&fixture->kho);
	luo_kunit_add(test, &fixture->next, "subsystem-2",
		      LIVEUPDATE_LEVEL_DEVICES);
	memcpy(luo_kunit_record(test, LUO_PER_BLOCK)->name,
	       luo_kunit_record(test, 2)->name, LIVEUPDATE_SUBSYSTEM_NAME_LEN);
	luo_kunit_seal(test);
	seq_buf_clear(&fixture->log);

	KUNIT_EXPECT_EQ(test, -EINVAL, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), reserved);
	KUNIT_EXPECT_PTR_EQ(test, fixture->next.incoming, NULL);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(&fixture->next));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(&fixture->next));
}

/* Blobs are not covered by the table: each is looked at when it is used. */

static const struct luo_handover_corruption luo_handover_blobs[] = {
	{ "nowhere", 2, LUO_RECORD_VALUE, 0, .value = BIT_ULL(45) },
	{ "at zero", 2, LUO_RECORD_VALUE, 0, .value = 0 },
	{ "beyond all memory", 2, LUO_RECORD_VALUE, 0,
	  .value = U64_MAX & PAGE_MASK },
	{ "unaligned", 2, LUO_RECORD_VALUE, 0,
	  .target = LUO_TO_SAME, .value = 64 },
	{ "in memory of this kernel", 2, LUO_RECORD_VALUE, 0,
	  .target = LUO_TO_OWN },
	{ "at the head", 2, LUO_RECORD_VALUE, 0, .target = LUO_TO_HEAD },
	{ "at the table", 2, LUO_RECORD_VALUE, 0, .target = LUO_TO_BLOCK },
	{ "longer than its folio", 2, LUO_RECORD_SIZE, 0,
	  .value = PAGE_SIZE + 1 },
	{ "huge", 2, LUO_RECORD_SIZE, 0, .value = U64_MAX },
};

KUNIT_ARRAY_PARAM_DESC(luo_handover_blob, luo_handover_blobs, what);

static void luo_handover_blob_test(struct kunit *test)
{
	const struct luo_handover_corruption *corruption = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *next = &fixture->next;

	luo_handover_make(test, 2);
	luo_handover_apply(test, corruption);
	for (int i = 0; i < 2; i++) {
		char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
		struct luo_kunit_subsystem *it;

		luo_handover_name(name, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.version = 2;
		KUNIT_ASSERT_EQ(test, 0,
				luo_subsystem_add(next, &it->subsystem));
	}
	seq_buf_clear(&fixture->log);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:subsystem-1");
	luo_kunit_expect_failed(test, next, LUO_TRANSITION_RESTORE, "subsystem-0",
				-EINVAL);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(next, false));
	luo_kunit_expect_log(test, " finish:subsystem-1");
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 1);
}

/* Life of the table in the outgoing kernel. */

/* Only what is frozen can be read, a thaw makes it unreadable again. */
static void luo_handover_thaw_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;

	luo_handover_fill(test, 3);
	luo_kunit_view_table(test);
	luo_handover_expect(test, -EINVAL, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_handover_expect(test, 0, 3);
	luo_ctx_thaw(ctx);
	luo_handover_expect(test, -EINVAL, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_rehearse(ctx));
	luo_handover_expect(test, -EINVAL, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_freeze(ctx, true));
	luo_handover_expect(test, 0, 3);
	luo_ctx_thaw(ctx);
}

static void luo_handover_change_hook(struct luo_kunit_subsystem *mock,
				     enum luo_transition transition)
{
	if (transition == LUO_TRANSITION_FREEZE)
		mock->subsystem.data.value = 4711;
}

/* What freeze changes is what is handed over. */
static void luo_handover_freeze_changes_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *old, *new;

	old = luo_kunit_add(test, &fixture->ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	old->offer.value = 1;
	old->hook = luo_handover_change_hook;
	KUNIT_ASSERT_EQ(test, 0, luo_ctx_prepare(&fixture->ctx));
	luo_kunit_jump(test);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, new->received.value, 4711);
}

/* A subsystem leaves while prepared, and with it the need of a second block. */
static void luo_handover_leave_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;

	luo_handover_fill(test, LUO_PER_BLOCK + 1);
	it = list_first_entry(&fixture->subsystems,
			      struct luo_kunit_subsystem, list);
	luo_subsystem_remove(&fixture->ctx, &it->subsystem);

	luo_kunit_jump(test);
	luo_handover_expect(test, 0, LUO_PER_BLOCK);
	KUNIT_EXPECT_STREQ(test, luo_kunit_record(test, 0)->name, "subsystem-1");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	/* The blobs of the others stay, nothing of the table does. */
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho),
			LUO_PER_BLOCK / 3);
}

/* All leave. */
static void luo_handover_empty_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;

	luo_handover_fill(test, 2);
	list_for_each_entry(it, &fixture->subsystems, list)
		luo_subsystem_remove(&fixture->ctx, &it->subsystem);
	luo_kunit_jump(test);
	luo_handover_expect(test, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&fixture->kho), 0);
}

/* The name under which KHO publishes the table may be taken. */
static void luo_handover_publish_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_ctx *ctx = &fixture->ctx;
	struct luo_ctx *rival = &fixture->next;

	ctx->kho_name = "luo-kunit";
	rival->kho_name = "luo-kunit";
	luo_kunit_add(test, ctx, "it", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, rival, "rival", LIVEUPDATE_LEVEL_IRQ);

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(ctx));
	KUNIT_EXPECT_EQ(test, -EEXIST, luo_ctx_prepare(rival));
	luo_kunit_expect_log(test, " prepare:it");
	luo_kunit_expect_failed(test, rival, LUO_TRANSITION_PREPARE, "", -EEXIST);
	KUNIT_EXPECT_EQ(test, rival->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_NULL(test, rival->table.head);
	KUNIT_EXPECT_TRUE(test, list_empty(&rival->enlisted));

	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(ctx));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_prepare(rival));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_cancel(rival));
	luo_kunit_expect_log(test, " cancel:it prepare:rival cancel:rival");
}

/* What subsystems fill their data with. */
static void luo_handover_data_test(struct kunit *test)
{
	struct liveupdate_data data = {}, value = { .value = 42 };
	u8 *blob;

	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    liveupdate_data_alloc(&data, 0));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-E2BIG),
			    liveupdate_data_alloc(&data, (PAGE_SIZE << MAX_PAGE_ORDER) + 1));
	KUNIT_EXPECT_EQ(test, data.value, 0);
	KUNIT_EXPECT_EQ(test, data.size, 0);

	blob = liveupdate_data_alloc(&data, PAGE_SIZE + 1);
	KUNIT_ASSERT_FALSE(test, IS_ERR(blob));
	KUNIT_EXPECT_EQ(test, data.value, virt_to_phys(blob));
	KUNIT_EXPECT_EQ(test, data.size, PAGE_SIZE + 1);
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EBUSY),
			    liveupdate_data_alloc(&data, 1));
	KUNIT_EXPECT_EQ(test, data.value, virt_to_phys(blob));
	KUNIT_EXPECT_EQ(test, data.size, PAGE_SIZE + 1);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(blob, 0, 2 * PAGE_SIZE), NULL);
	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_blob(&data), (void *)blob);
	/* This kernel's memory cannot be claimed. */
	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_claim(&data), NULL);
	liveupdate_data_free(&data);
	KUNIT_EXPECT_EQ(test, data.value, 0);
	KUNIT_EXPECT_EQ(test, data.size, 0);
	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_blob(&data), NULL);

	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_blob(&value), NULL);
	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_claim(&value), NULL);
	liveupdate_data_free(&value);
	KUNIT_EXPECT_EQ(test, value.value, 0);
}

static void luo_handover_claim_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_subsystem *it;
	struct liveupdate_data data;
	void *blob;

	luo_handover_make(test, 1);
	it = luo_kunit_add(test, &fixture->next, "subsystem-0",
			   LIVEUPDATE_LEVEL_DEVICES);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	data = it->received;
	KUNIT_EXPECT_EQ(test, data.size, 1);

	blob = liveupdate_data_blob(&data);
	KUNIT_EXPECT_PTR_EQ(test, blob, phys_to_virt(data.value));
	it->claimed = liveupdate_data_claim(&data);
	KUNIT_EXPECT_PTR_EQ(test, it->claimed, blob);
	KUNIT_EXPECT_PTR_EQ(test, liveupdate_data_claim(&data), NULL);
	KUNIT_EXPECT_EQ(test, 1, folio_ref_count(virt_to_folio(blob)));
	KUNIT_EXPECT_EQ(test, 0, luo_ctx_finish(&fixture->next, false));
	KUNIT_EXPECT_EQ(test, 1, folio_ref_count(virt_to_folio(blob)));
}

static struct kunit_case luo_handover_test_cases[] = {
	KUNIT_CASE_PARAM(luo_handover_round_trip_test,
			 luo_handover_count_gen_params),
	KUNIT_CASE_PARAM(luo_handover_deliver_test,
			 luo_handover_count_gen_params),
	KUNIT_CASE(luo_handover_format_test),
	KUNIT_CASE_PARAM(luo_handover_corruption_test,
			 luo_handover_corruption_gen_params),
	KUNIT_CASE(luo_handover_limit_test),
	KUNIT_CASE(luo_handover_duplicate_test),
	KUNIT_CASE_PARAM(luo_handover_blob_test, luo_handover_blob_gen_params),
	KUNIT_CASE(luo_handover_thaw_test),
	KUNIT_CASE(luo_handover_freeze_changes_test),
	KUNIT_CASE(luo_handover_leave_test),
	KUNIT_CASE(luo_handover_empty_test),
	KUNIT_CASE(luo_handover_publish_test),
	KUNIT_CASE(luo_handover_data_test),
	KUNIT_CASE(luo_handover_claim_test),
	{}
};

static struct kunit_suite luo_handover_test_suite = {
	.name = "luo-handover",
	.init = luo_kunit_init,
	.exit = luo_kunit_exit,
	.test_cases = luo_handover_test_cases,
};

kunit_test_suite(luo_handover_test_suite);
