// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the hand-over format
 *
 * What luo_handover.c writes, and what it makes of tables that are damaged.
 * Two kinds of damage are told apart by the error. Every bit of header and
 * table is flipped, which the checksums notice. Then single fields are set to
 * what they must not be, or addresses to where they must not point, and the
 * checksums are corrected; what remains is for the checks of the fields to
 * notice, which say -EINVAL, never -EBADMSG.
 */

#include <kunit/static_stub.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_block.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "luo_kunit.h"

#define LUO_PER_BLOCK	((unsigned int)LUO_SUBSYSTEMS_PER_BLOCK)
#define LUO_HEADER_SIZE	sizeof(struct luo_subsystems_ser)

static void luo_handover_name(char *name, unsigned int index)
{
	snprintf(name, LIVEUPDATE_SUBSYSTEM_NAME_LEN, "participant-%u", index);
}

/* No two neighbours hand over the same. Every third hands over a blob. */
static void luo_handover_fill(struct kunit *test, unsigned int count)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *it;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];

	for (unsigned int i = 0; i < count; i++) {
		luo_handover_name(name, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.version = i + 1;
		it->desc.class = i % 2 ? LIVEUPDATE_MANDATORY :
				 LIVEUPDATE_OPTIONAL;
		it->offer.value = 0xfedcba9876543210ULL + i;
		it->offer.size = i % 3 ? 0 : i + 1;
		KUNIT_ASSERT_EQ(test, 0, luo_subsystem_add(&fixture->machine,
							   &it->subsystem));
	}
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
}

/* Returns the header of a hand-over of @count records. */
static struct luo_subsystems_ser *luo_handover_make(struct kunit *test,
						    unsigned int count)
{
	struct luo_kunit *fixture = test->priv;

	luo_handover_fill(test, count);
	luo_kunit_jump(test);

	return phys_to_virt(fixture->header);
}

/* Reads, expects @error, and if it is 0 a number of records. */
static void luo_handover_expect(struct kunit *test, phys_addr_t phys,
				size_t size, int error, unsigned int want)
{
	struct luo_subsystem_ser *records = NULL;
	unsigned int count = 0;

	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, error,
				luo_handover_read(phys, size, &records, &count));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	KUNIT_EXPECT_EQ(test, count, error ? 0 : want);
	KUNIT_EXPECT_EQ(test, !records, error != 0);
	kvfree(records);
}

/* Round trip. */

static const unsigned int luo_handover_counts[] = {
	0, 1, LUO_SUBSYSTEMS_PER_BLOCK - 1, LUO_SUBSYSTEMS_PER_BLOCK,
	LUO_SUBSYSTEMS_PER_BLOCK + 1, 1000,
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
	unsigned int count = UINT_MAX;

	luo_handover_make(test, want);
	KUNIT_ASSERT_EQ(test, 0, luo_handover_read(fixture->header,
						   LUO_HEADER_SIZE, &records,
						   &count));
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

/* From one participant to the next, as the callbacks see it. */
static void luo_handover_deliver_test(struct kunit *test)
{
	const unsigned int count = *(const unsigned int *)test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant **new;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	unsigned long blobs = 0, pages;

	luo_handover_make(test, count);
	for (unsigned int i = 0; i < count; i += 3)
		blobs++;
	pages = 1 + DIV_ROUND_UP(count, LUO_PER_BLOCK) + blobs;
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), pages);

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
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), 0);
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
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next));
}

/* The format itself, so that nobody changes it unnoticed. */
static void luo_handover_format_test(struct kunit *test)
{
	static const char compatible[LUO_SUBSYSTEMS_COMPAT_LEN] =
		"luo-subsystems-v1";
	struct luo_kunit *fixture = test->priv;
	const struct luo_subsystems_ser *header;
	const struct kho_block_header_ser *first, *second;
	size_t used = sizeof(*first) + LUO_PER_BLOCK * 72;
	u32 crc;

	/* The check value of CRC-32. */
	KUNIT_EXPECT_EQ(test, 0xcbf43926, luo_kunit_crc(0, "123456789", 9));

	luo_handover_fill(test, LUO_PER_BLOCK + 1);
	header = fixture->machine.header;
	KUNIT_EXPECT_EQ(test, header->state, 1);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_freeze(&fixture->machine, true));

	KUNIT_EXPECT_MEMEQ(test, header->compatible, compatible,
			   sizeof(compatible));
	KUNIT_EXPECT_EQ(test, header->state, 2);
	KUNIT_EXPECT_EQ(test, header->count, LUO_PER_BLOCK + 1);
	KUNIT_EXPECT_EQ(test, header->header_crc, luo_kunit_crc(0, header, 44));

	first = phys_to_virt(header->records);
	KUNIT_EXPECT_EQ(test, first->count, LUO_PER_BLOCK);
	second = phys_to_virt(first->next);
	KUNIT_EXPECT_EQ(test, second->count, 1);
	KUNIT_EXPECT_EQ(test, second->next, 0);
	crc = luo_kunit_crc(0, first, used);
	crc = luo_kunit_crc(crc, second, sizeof(*second) + 72);
	KUNIT_EXPECT_EQ(test, header->table_crc, crc);

	luo_machine_thaw(&fixture->machine);
}

/* Flipped bits. */

/**
 * struct luo_handover_flip - how to damage a table
 * @count: records in the table.
 * @bits: bits flipped of each byte.
 */
struct luo_handover_flip {
	unsigned int count;
	unsigned int bits;
};

static const struct luo_handover_flip luo_handover_flips[] = {
	{ 0, 8 },
	{ 1, 8 },
	{ 3, 8 },
	{ LUO_SUBSYSTEMS_PER_BLOCK, 1 },
	{ 2 * LUO_SUBSYSTEMS_PER_BLOCK + 1, 1 },
};

static void luo_handover_flip_desc(const struct luo_handover_flip *flip,
				   char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u records, bits per byte: %u",
		 flip->count, flip->bits);
}

KUNIT_ARRAY_PARAM(luo_handover_flip, luo_handover_flips, luo_handover_flip_desc);

/* Flips bits of every byte in turn; returns how often that was accepted. */
static unsigned int luo_handover_flip_bytes(struct kunit *test, void *mem,
					    size_t size, unsigned int bits)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystem_ser *records;
	unsigned int count, accepted = 0;
	u8 *byte = mem;

	for (size_t i = 0; i < size * bits; i++) {
		u8 mask = 1 << (bits == 8 ? i % 8 : i * 5 % 8);

		byte[i / bits] ^= mask;
		if (!luo_handover_read(fixture->header, LUO_HEADER_SIZE,
				       &records, &count)) {
			kunit_err(test, "flip of %#x at %zu accepted\n", mask,
				  i / bits);
			kvfree(records);
			accepted++;
		}
		byte[i / bits] ^= mask;
	}

	return accepted;
}

static void luo_handover_flip_test(struct kunit *test)
{
	const struct luo_handover_flip *flip = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystems_ser *header = luo_handover_make(test, flip->count);
	unsigned int blocks = DIV_ROUND_UP(flip->count, LUO_PER_BLOCK);
	unsigned long reserved = luo_kunit_reserved_pages(test);

	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, 0,
				luo_handover_flip_bytes(test, header,
							sizeof(*header), 8));
		for (unsigned int i = 0; i < blocks; i++) {
			struct kho_block_header_ser *block =
				luo_kunit_block(header, i);
			size_t used = sizeof(*block) + block->count *
				      sizeof(struct luo_subsystem_ser);

			KUNIT_EXPECT_EQ(test, 0,
					luo_handover_flip_bytes(test, block,
								used,
								flip->bits));
		}
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
	}
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), reserved);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, 0,
			    flip->count);
}

/* Single fields that are wrong under checksums that are right. */

enum luo_handover_field {
	LUO_NOTHING,
	LUO_HEADER_COMPATIBLE,
	LUO_HEADER_STATE,
	LUO_HEADER_COUNT,
	LUO_HEADER_RECORDS,
	LUO_BLOCK_NEXT,
	LUO_BLOCK_COUNT,
	LUO_RECORD_NAME,
	LUO_RECORD_VERSION,
	LUO_RECORD_FLAGS,
	LUO_RECORD_VALUE,
	LUO_RECORD_SIZE,
};

/* Where a damaged address points; @value is added to it. */
enum luo_handover_target {
	LUO_TO_VALUE,
	LUO_TO_SAME,
	LUO_TO_HEADER,
	LUO_TO_BLOCK,
	LUO_TO_BLOB,
	LUO_TO_OWN,
};

/**
 * struct luo_handover_damage - one field that is wrong
 * @what: what is wrong.
 * @count: records in the table.
 * @field: the field.
 * @index: of which block or record.
 * @text: its content, if it is text.
 * @value: its content, if it is a number.
 * @target: what @value is added to.
 * @block: which block, if @target is %LUO_TO_BLOCK.
 * @accepted: the reader has no objection.
 * @error: otherwise, what it has to say if that is not -EINVAL.
 */
struct luo_handover_damage {
	const char *what;
	unsigned int count;
	enum luo_handover_field field;
	unsigned int index;
	char text[LIVEUPDATE_SUBSYSTEM_NAME_LEN + 1];
	u64 value;
	enum luo_handover_target target;
	unsigned int block;
	bool accepted;
	int error;
};

#define LUO_FULL	LUO_SUBSYSTEMS_PER_BLOCK

/* Records 0 and 57 carry a blob, record 1 does not. */
static const struct luo_handover_damage luo_handover_damages[] = {
	{ "nothing", .count = 2, .accepted = true },
	{ "nothing in two blocks", .count = LUO_FULL + 2, .accepted = true },
	{ "another plain value", 2, LUO_RECORD_VALUE, 1, .value = U64_MAX,
	  .accepted = true },
	{ "another name", 2, LUO_RECORD_NAME, 1, .text = "!-~",
	  .accepted = true },
	{ "size beyond the folio", 2, LUO_RECORD_SIZE, 0, .value = SZ_1G,
	  .accepted = true },

	{ "next version", 2, LUO_HEADER_COMPATIBLE,
	  .text = "luo-subsystems-v2", .error = -EPROTONOSUPPORT },
	{ "compatible cut off", 2, LUO_HEADER_COMPATIBLE,
	  .text = "luo-subsystems-v", .error = -EPROTONOSUPPORT },
	{ "compatible continues", 2, LUO_HEADER_COMPATIBLE,
	  .text = "luo-subsystems-v10", .error = -EPROTONOSUPPORT },
	{ "garbage behind compatible", 2, LUO_HEADER_COMPATIBLE,
	  .text = "luo-subsystems-v1\0x", .error = -EPROTONOSUPPORT },
	{ "no state", 2, LUO_HEADER_STATE, .value = 0 },
	{ "state prepared", 2, LUO_HEADER_STATE,
	  .value = LUO_SUBSYSTEMS_PREPARED },
	{ "unknown state", 2, LUO_HEADER_STATE, .value = 3 },
	{ "huge state", 2, LUO_HEADER_STATE, .value = U32_MAX },
	{ "count 0 with a table", 2, LUO_HEADER_COUNT, .value = 0 },
	{ "count one too small", 2, LUO_HEADER_COUNT, .value = 1 },
	{ "count one too big", 2, LUO_HEADER_COUNT, .value = 3 },
	{ "count without the last block", LUO_FULL + 1, LUO_HEADER_COUNT,
	  .value = LUO_FULL },
	{ "count of one more block", 2 * LUO_FULL, LUO_HEADER_COUNT,
	  .value = 2 * LUO_FULL + 1 },
	{ "count above the limit", LUO_FULL, LUO_HEADER_COUNT,
	  .value = LUO_SUBSYSTEMS_MAX + 1 },
	{ "huge count", LUO_FULL, LUO_HEADER_COUNT, .value = U32_MAX },
	{ "no table", 2, LUO_HEADER_RECORDS, .value = 0 },
	{ "table without count", 0, LUO_HEADER_RECORDS,
	  .target = LUO_TO_HEADER },
	{ "table off by one", 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_SAME, .value = 1 },
	{ "table unaligned", 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_SAME, .value = sizeof(struct kho_block_header_ser) },
	{ "table nowhere", 2, LUO_HEADER_RECORDS, .value = BIT_ULL(45) },
	{ "table beyond all memory", 2, LUO_HEADER_RECORDS,
	  .value = U64_MAX & PAGE_MASK },
	{ "table at the last byte", 2, LUO_HEADER_RECORDS,
	  .value = U64_MAX },
	{ "table in memory of this kernel", 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_OWN },
	{ "table at the header", 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_HEADER },
	{ "table at a blob", 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_BLOB },
	{ "table at its second block", LUO_FULL + 2, LUO_HEADER_RECORDS,
	  .target = LUO_TO_BLOCK, .block = 1 },

	{ "block of 0", 2, LUO_BLOCK_COUNT, 0, .value = 0 },
	{ "block one too short", 2, LUO_BLOCK_COUNT, 0, .value = 1 },
	{ "block one too long", 2, LUO_BLOCK_COUNT, 0, .value = 3 },
	{ "block longer than a page", LUO_FULL, LUO_BLOCK_COUNT, 0,
	  .value = LUO_FULL + 1 },
	{ "huge block", 2, LUO_BLOCK_COUNT, 0, .value = U64_MAX },
	{ "block with a bit beyond 32", 2, LUO_BLOCK_COUNT, 0,
	  .value = BIT_ULL(32) + 2 },
	{ "second block of 0", LUO_FULL + 2, LUO_BLOCK_COUNT, 1,
	  .value = 0 },
	{ "second block too long", LUO_FULL + 2, LUO_BLOCK_COUNT, 1,
	  .value = 3 },
	{ "chain ends early", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .value = 0 },
	{ "chain to itself", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_BLOCK },
	{ "chain off by one", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_SAME, .value = 1 },
	{ "chain unaligned", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_SAME, .value = sizeof(struct kho_block_header_ser) },
	{ "chain to nowhere", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .value = BIT_ULL(45) },
	{ "chain beyond all memory", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .value = U64_MAX & PAGE_MASK },
	{ "chain into this kernel", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_OWN },
	{ "chain to a blob", LUO_FULL + 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_BLOB },
	{ "no end, itself", 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_BLOCK },
	{ "no end, header", 2, LUO_BLOCK_NEXT, 0,
	  .target = LUO_TO_HEADER },
	{ "no end, nowhere", 2, LUO_BLOCK_NEXT, 0, .value = BIT_ULL(45) },
	{ "no end, not even an address", 2, LUO_BLOCK_NEXT, 0,
	  .value = 1 },
	{ "no end, back to the start", 2 * LUO_FULL, LUO_BLOCK_NEXT, 1,
	  .target = LUO_TO_BLOCK },

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

KUNIT_ARRAY_PARAM_DESC(luo_handover_damage, luo_handover_damages, what);

static u64 luo_handover_address(const struct luo_handover_damage *damage,
				struct luo_subsystems_ser *header, u64 same,
				void *own)
{
	switch (damage->target) {
	case LUO_TO_VALUE:
		break;
	case LUO_TO_SAME:
		return same + damage->value;
	case LUO_TO_HEADER:
		return virt_to_phys(header);
	case LUO_TO_BLOCK:
		return virt_to_phys(luo_kunit_block(header, damage->block));
	case LUO_TO_BLOB:
		return luo_kunit_record(header, 0)->value;
	case LUO_TO_OWN:
		return virt_to_phys(own);
	}

	return damage->value;
}

static void luo_handover_apply(const struct luo_handover_damage *damage,
			       struct luo_subsystems_ser *header, void *own)
{
	struct kho_block_header_ser *block = NULL;
	struct luo_subsystem_ser *record = NULL;

	if (damage->field >= LUO_RECORD_NAME)
		record = luo_kunit_record(header, damage->index);
	else if (damage->field >= LUO_BLOCK_NEXT)
		block = luo_kunit_block(header, damage->index);

	switch (damage->field) {
	case LUO_NOTHING:
		break;
	case LUO_HEADER_COMPATIBLE:
		memcpy(header->compatible, damage->text,
		       sizeof(header->compatible));
		break;
	case LUO_HEADER_STATE:
		header->state = damage->value;
		break;
	case LUO_HEADER_COUNT:
		header->count = damage->value;
		break;
	case LUO_HEADER_RECORDS:
		header->records = luo_handover_address(damage, header,
						       header->records, own);
		break;
	case LUO_BLOCK_NEXT:
		block->next = luo_handover_address(damage, header, block->next,
						   own);
		break;
	case LUO_BLOCK_COUNT:
		block->count = damage->value;
		break;
	case LUO_RECORD_NAME:
		memcpy(record->name, damage->text, sizeof(record->name));
		break;
	case LUO_RECORD_VERSION:
		record->version = damage->value;
		break;
	case LUO_RECORD_FLAGS:
		record->flags = damage->value;
		break;
	case LUO_RECORD_VALUE:
		record->value = luo_handover_address(damage, header,
						     record->value, own);
		break;
	case LUO_RECORD_SIZE:
		record->size = damage->value;
		break;
	}
}

static void luo_handover_damage_test(struct kunit *test)
{
	const struct luo_handover_damage *damage = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystems_ser *header =
		luo_handover_make(test, damage->count);
	unsigned long reserved = luo_kunit_reserved_pages(test);
	void *own = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	int error = damage->accepted ? 0 : damage->error ?: -EINVAL;

	KUNIT_ASSERT_NOT_NULL(test, own);
	luo_handover_apply(damage, header, own);
	luo_kunit_seal(header);

	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, error,
			    damage->count);
	if (!error)
		return;

	/* A machine that finds this starts as if there were nothing. */
	luo_kunit_add(test, &fixture->next, "participant-0",
		      LIVEUPDATE_LEVEL_DEVICES);
	seq_buf_clear(&fixture->log);
	KUNIT_EXPECT_EQ(test, error, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), reserved);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(&fixture->next));
}

/* The header is where KHO says, and as long as it says, or it is refused. */
static void luo_handover_header_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	phys_addr_t header;

	luo_handover_make(test, 1);
	header = fixture->header;
	luo_handover_expect(test, header, LUO_HEADER_SIZE, 0, 1);
	luo_handover_expect(test, header, PAGE_SIZE, 0, 1);

	luo_handover_expect(test, header, 0, -EINVAL, 0);
	luo_handover_expect(test, header, LUO_HEADER_SIZE - 1, -EINVAL, 0);
	luo_handover_expect(test, header, PAGE_SIZE + 1, -EINVAL, 0);
	luo_handover_expect(test, header, SIZE_MAX, -EINVAL, 0);
	luo_handover_expect(test, 0, LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, header + 8, LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, BIT_ULL(45), LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, PHYS_ADDR_MAX, LUO_HEADER_SIZE, -EINVAL, 0);
}

/* Two fields together that agree with each other, and still are no table. */
static void luo_handover_chain_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystems_ser *header =
		luo_handover_make(test, 2 * LUO_PER_BLOCK);
	struct kho_block_header_ser *first = luo_kunit_block(header, 0);
	struct kho_block_header_ser *second = luo_kunit_block(header, 1);

	/* Cycles of one and of two blocks, with a count to go round in. */
	for (unsigned int rounds = 1; rounds <= 5; rounds++) {
		header->count = 2 * rounds * LUO_PER_BLOCK;
		second->next = header->records;
		luo_kunit_seal(header);
		luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE,
				    -EINVAL, 0);
		second->next = virt_to_phys(second);
		luo_kunit_seal(header);
		luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE,
				    -EINVAL, 0);
	}
	second->next = 0;

	/* The first block is not full. */
	header->count = LUO_PER_BLOCK + 1;
	first->count = LUO_PER_BLOCK - 1;
	second->count = 2;
	luo_kunit_seal(header);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, -EINVAL, 0);

	/* The last block is empty. */
	header->count = LUO_PER_BLOCK;
	first->count = LUO_PER_BLOCK;
	second->count = 0;
	luo_kunit_seal(header);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, -EINVAL, 0);

	first->next = 0;
	luo_kunit_seal(header);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, 0,
			    LUO_PER_BLOCK);
}

KUNIT_DEFINE_ACTION_WRAPPER(luo_handover_free_page, __free_page, struct page *);

/* As long as a table may be, then one block longer. */
static void luo_handover_limit_test(struct kunit *test)
{
	const unsigned int most = LUO_SUBSYSTEMS_MAX / LUO_PER_BLOCK;
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystems_ser *header =
		luo_handover_make(test, LUO_PER_BLOCK);
	struct kho_block_header_ser *last = luo_kunit_block(header, 0), *next;
	unsigned int blocks = 1;

	/* A blob has one owner, so what is to be copied must not have any. */
	for (unsigned int i = 0; i < LUO_PER_BLOCK; i++) {
		luo_kunit_record(header, i)->flags &= ~LUO_SUBSYSTEM_SER_BLOB;
		luo_kunit_record(header, i)->size = 0;
	}
	while (blocks <= most) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

		KUNIT_ASSERT_NOT_NULL(test, page);
		next = page_address(page);
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test,
							  luo_handover_free_page,
							  page));
		luo_kunit_view(test, next);
		memcpy(next, last, KHO_BLOCK_SIZE);
		last->next = virt_to_phys(next);
		header->count += LUO_PER_BLOCK;
		last = next;
		blocks++;
		if (blocks < most)
			continue;

		luo_kunit_seal(header);
		luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE,
				    blocks > most ? -EINVAL : 0,
				    most * LUO_PER_BLOCK);
	}
	KUNIT_EXPECT_GT(test, header->count, LUO_SUBSYSTEMS_MAX);

	mutex_lock(&fixture->machine.lock);
	KUNIT_EXPECT_EQ(test, -E2BIG, luo_handover_alloc(&fixture->machine,
							 LUO_SUBSYSTEMS_MAX + 1));
	KUNIT_EXPECT_PTR_EQ(test, fixture->machine.header, NULL);
	KUNIT_EXPECT_EQ(test, 0, luo_handover_alloc(&fixture->machine,
						    LUO_SUBSYSTEMS_MAX));
	luo_handover_free(&fixture->machine);
	KUNIT_EXPECT_PTR_EQ(test, fixture->machine.header, NULL);
	mutex_unlock(&fixture->machine.lock);
}

static void luo_handover_duplicate_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_subsystems_ser *header =
		luo_handover_make(test, LUO_PER_BLOCK + 1);
	unsigned long reserved = luo_kunit_reserved_pages(test);

	luo_kunit_add(test, &fixture->next, "participant-2",
		      LIVEUPDATE_LEVEL_DEVICES);
	memcpy(luo_kunit_record(header, LUO_PER_BLOCK)->name,
	       luo_kunit_record(header, 2)->name, LIVEUPDATE_SUBSYSTEM_NAME_LEN);
	luo_kunit_seal(header);
	seq_buf_clear(&fixture->log);

	KUNIT_EXPECT_EQ(test, -EINVAL, luo_kunit_boot(test));
	luo_kunit_expect_log(test, "");
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), reserved);
	KUNIT_EXPECT_PTR_EQ(test, fixture->next.incoming, NULL);
	KUNIT_EXPECT_TRUE(test, hash_empty(fixture->next.incoming_names));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(&fixture->next));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(&fixture->next));
}

/* Blobs are not covered by the table: each is looked at when it is used. */

static const struct luo_handover_damage luo_handover_blobs[] = {
	{ "nowhere", 2, LUO_RECORD_VALUE, 0, .value = BIT_ULL(45) },
	{ "at zero", 2, LUO_RECORD_VALUE, 0, .value = 0 },
	{ "beyond all memory", 2, LUO_RECORD_VALUE, 0,
	  .value = U64_MAX & PAGE_MASK },
	{ "unaligned", 2, LUO_RECORD_VALUE, 0,
	  .target = LUO_TO_SAME, .value = 64 },
	{ "in memory of this kernel", 2, LUO_RECORD_VALUE, 0,
	  .target = LUO_TO_OWN },
	{ "at the header", 2, LUO_RECORD_VALUE, 0, .target = LUO_TO_HEADER },
	{ "at the table", 2, LUO_RECORD_VALUE, 0, .target = LUO_TO_BLOCK },
	{ "longer than its folio", 2, LUO_RECORD_SIZE, 0,
	  .value = PAGE_SIZE + 1 },
	{ "huge", 2, LUO_RECORD_SIZE, 0, .value = U64_MAX },
};

KUNIT_ARRAY_PARAM_DESC(luo_handover_blob, luo_handover_blobs, what);

static void luo_handover_blob_test(struct kunit *test)
{
	const struct luo_handover_damage *damage = test->param_value;
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *next = &fixture->next;
	struct luo_subsystems_ser *header = luo_handover_make(test, 2);
	void *own = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, own);
	luo_handover_apply(damage, header, own);
	luo_kunit_seal(header);
	for (int i = 0; i < 2; i++) {
		char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
		struct luo_kunit_participant *it;

		luo_handover_name(name, i);
		it = luo_kunit_new(test, name, LIVEUPDATE_LEVEL_DEVICES);
		it->desc.version = 2;
		KUNIT_ASSERT_EQ(test, 0,
				luo_subsystem_add(next, &it->subsystem));
	}
	seq_buf_clear(&fixture->log);

	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	luo_kunit_expect_log(test, " restore:participant-1");
	luo_kunit_expect_failed(test, next, LUO_STEP_RESTORE, "participant-0",
				-EINVAL);
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), 1);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(next));
	luo_kunit_expect_log(test, " finish:participant-1");
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), 1);
}

/* Life of the table in the outgoing kernel. */

/* Only what is frozen can be read, a thaw makes it unreadable again. */
static void luo_handover_thaw_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	phys_addr_t header;

	luo_handover_fill(test, 3);
	luo_kunit_view_table(test);
	header = virt_to_phys(machine->header);
	luo_handover_expect(test, header, LUO_HEADER_SIZE, -EINVAL, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_handover_expect(test, header, LUO_HEADER_SIZE, 0, 3);
	luo_machine_thaw(machine);
	luo_handover_expect(test, header, LUO_HEADER_SIZE, -EINVAL, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_machine_rehearse(machine));
	luo_handover_expect(test, header, LUO_HEADER_SIZE, -EINVAL, 0);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_handover_expect(test, header, LUO_HEADER_SIZE, 0, 3);
	luo_machine_thaw(machine);
}

static void luo_handover_change_hook(struct luo_kunit_participant *participant,
				     enum luo_step step)
{
	if (step == LUO_STEP_FREEZE)
		participant->subsystem.data.value = 4711;
}

/* What freeze changes is what is handed over. */
static void luo_handover_freeze_changes_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *old, *new;

	old = luo_kunit_add(test, &fixture->machine, "it", LIVEUPDATE_LEVEL_IRQ);
	old->offer.value = 1;
	old->hook = luo_handover_change_hook;
	KUNIT_ASSERT_EQ(test, 0, luo_machine_prepare(&fixture->machine));
	KUNIT_EXPECT_EQ(test, 1,
			luo_kunit_record(fixture->machine.header, 0)->value);
	luo_kunit_jump(test);
	new = luo_kunit_add(test, &fixture->next, "it", LIVEUPDATE_LEVEL_IRQ);
	KUNIT_ASSERT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, new->received.value, 4711);
}

/* A participant leaves while prepared, and with it the last block. */
static void luo_handover_leave_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_kunit_participant *it;
	struct luo_subsystems_ser *header;

	luo_handover_fill(test, LUO_PER_BLOCK + 1);
	KUNIT_EXPECT_EQ(test, machine->blocks.nblocks, 2);
	it = list_first_entry(&fixture->participants,
			      struct luo_kunit_participant, list);
	luo_subsystem_remove(machine, &it->subsystem);
	KUNIT_EXPECT_EQ(test, machine->blocks.nblocks, 1);

	luo_kunit_jump(test);
	header = phys_to_virt(fixture->header);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, 0,
			    LUO_PER_BLOCK);
	KUNIT_EXPECT_STREQ(test, luo_kunit_record(header, 0)->name,
			   "participant-1");
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_block(header, 0)->next);
}

/* All leave. */
static void luo_handover_empty_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *it;

	luo_handover_fill(test, 2);
	list_for_each_entry(it, &fixture->participants, list)
		luo_subsystem_remove(&fixture->machine, &it->subsystem);
	luo_kunit_jump(test);
	luo_handover_expect(test, fixture->header, LUO_HEADER_SIZE, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, luo_kunit_boot(test));
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_UPDATED);
	KUNIT_EXPECT_EQ(test, luo_kunit_reserved_pages(test), 0);
}

/* The name under which KHO publishes the table may be taken. */
static void luo_handover_publish_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct luo_machine *rival = &fixture->next;

	machine->kho_name = "luo-kunit";
	rival->kho_name = "luo-kunit";
	luo_kunit_add(test, machine, "it", LIVEUPDATE_LEVEL_IRQ);
	luo_kunit_add(test, rival, "rival", LIVEUPDATE_LEVEL_IRQ);

	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(machine));
	KUNIT_EXPECT_EQ(test, -EEXIST, luo_machine_prepare(rival));
	luo_kunit_expect_log(test, " prepare:it");
	luo_kunit_expect_failed(test, rival, LUO_STEP_PREPARE, "", -EEXIST);
	KUNIT_EXPECT_EQ(test, rival->state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_PTR_EQ(test, rival->header, NULL);
	KUNIT_EXPECT_TRUE(test, list_empty(&rival->enlisted));
	KUNIT_EXPECT_TRUE(test, kho_block_set_is_empty(&rival->blocks));

	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(machine));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_prepare(rival));
	KUNIT_EXPECT_EQ(test, 0, luo_machine_cancel(rival));
	luo_kunit_expect_log(test, " cancel:it prepare:rival cancel:rival");
}

/* Memory of this kernel was not handed over, whatever is in it. */
static void luo_handover_own_memory_test(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	phys_addr_t header;

	luo_handover_fill(test, 3);
	kunit_deactivate_static_stub(test, luo_handed_over);
	header = virt_to_phys(machine->header);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));
	luo_handover_expect(test, header, LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, header + 8, LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, 0, LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, BIT_ULL(45), LUO_HEADER_SIZE, -EINVAL, 0);
	luo_handover_expect(test, PHYS_ADDR_MAX & PAGE_MASK, LUO_HEADER_SIZE,
			    -EINVAL, 0);
	luo_machine_thaw(machine);
}

/* What participants fill their data with. */
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
	struct luo_kunit_participant *it;
	struct liveupdate_data data;
	void *blob;

	luo_handover_make(test, 1);
	it = luo_kunit_add(test, &fixture->next, "participant-0",
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
	KUNIT_EXPECT_EQ(test, 0, luo_machine_finish(&fixture->next));
	KUNIT_EXPECT_EQ(test, 1, folio_ref_count(virt_to_folio(blob)));
}

static struct kunit_case luo_handover_test_cases[] = {
	KUNIT_CASE_PARAM(luo_handover_round_trip_test,
			 luo_handover_count_gen_params),
	KUNIT_CASE_PARAM(luo_handover_deliver_test,
			 luo_handover_count_gen_params),
	KUNIT_CASE(luo_handover_format_test),
	KUNIT_CASE_PARAM_ATTR(luo_handover_flip_test,
			      luo_handover_flip_gen_params,
			      {.speed = KUNIT_SPEED_SLOW}),
	KUNIT_CASE_PARAM(luo_handover_damage_test,
			 luo_handover_damage_gen_params),
	KUNIT_CASE(luo_handover_header_test),
	KUNIT_CASE(luo_handover_chain_test),
	KUNIT_CASE_SLOW(luo_handover_limit_test),
	KUNIT_CASE(luo_handover_duplicate_test),
	KUNIT_CASE_PARAM(luo_handover_blob_test, luo_handover_blob_gen_params),
	KUNIT_CASE(luo_handover_thaw_test),
	KUNIT_CASE(luo_handover_freeze_changes_test),
	KUNIT_CASE(luo_handover_leave_test),
	KUNIT_CASE(luo_handover_empty_test),
	KUNIT_CASE(luo_handover_publish_test),
	KUNIT_CASE(luo_handover_own_memory_test),
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
