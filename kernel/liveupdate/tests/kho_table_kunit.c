// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of tables of records
 *
 * What kho_table.c writes, and what it makes of tables that are corrupted. Two kinds
 * of corruption are told apart. Every bit of head and blocks is flipped, which the
 * checksums notice. Then single fields are set to what they must not be, or addresses
 * to where they must not point, and the checksums are corrected; what remains is for
 * the checks of the fields to notice.
 *
 * The records of the tests are large enough that three fit into a block.
 */

#include <kunit/test.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/limits.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sprintf.h>
#include <linux/string.h>
#include <linux/xxhash.h>

#define KTT_COMPATIBLE	"kunit-table-v1"
#define KTT_PER_BLOCK	3U
#define KTT_MAX		(8 * KTT_PER_BLOCK)

/**
 * struct ktt_record - a record of the tests
 * @number: its number.
 * @text: what repeats its number.
 */
struct ktt_record {
	u64 number;
	u8 text[1304];
} __packed;

static_assert(KHO_TABLE_PER_BLOCK(sizeof(struct ktt_record)) == KTT_PER_BLOCK);

DEFINE_KHO_TABLE_FORMAT(ktt_format, KTT_COMPATIBLE, struct ktt_record, KTT_MAX);

/**
 * struct ktt - what every test starts with, in &kunit.priv
 * @kho: memory that is handed over.
 * @table: table of the outgoing kernel.
 * @incoming: table of the incoming kernel.
 * @phys: physical address of the head, from ktt_view() on.
 * @size: bytes of the head, from ktt_view() on.
 */
struct ktt {
	struct kho_kunit kho;
	struct kho_table table;
	struct kho_table_incoming incoming;
	phys_addr_t phys;
	size_t size;
};

static void ktt_fill(struct ktt_record *record, u32 number)
{
	record->number = 0xfedcba9800000000ULL + number;
	memset(record->text, number, sizeof(record->text));
}

static bool ktt_is_intact(const struct ktt_record *record, u32 number)
{
	return record->number == 0xfedcba9800000000ULL + number &&
	       !memchr_inv(record->text, (u8)number, sizeof(record->text));
}

/* Allocates a table with room for @room records, with @count in it, not sealed. */
static void ktt_alloc(struct kunit *test, u32 room, u32 count)
{
	struct ktt *ktt = test->priv;

	KUNIT_ASSERT_EQ(test, 0, kho_table_alloc(&ktt->table, &ktt_format, room));
	for (u32 i = 0; i < count; i++) {
		struct ktt_record *record = kho_table_add(&ktt->table);

		KUNIT_ASSERT_NOT_NULL(test, record);
		KUNIT_EXPECT_PTR_EQ(test, memchr_inv(record, 0, sizeof(*record)),
				    NULL);
		ktt_fill(record, i);
	}
}

static void ktt_view(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	kho_kunit_view_table(&ktt->kho, &ktt->table);
	ktt->phys = kho_table_phys(&ktt->table);
	ktt->size = ktt->table.head_size;
}

/* Returns the head of a table that was handed over. */
static struct kho_table_ser *ktt_make(struct kunit *test, u32 room, u32 count)
{
	struct ktt *ktt = test->priv;

	ktt_alloc(test, room, count);
	kho_table_seal(&ktt->table);
	ktt_view(test);
	kho_kunit_jump(&ktt->kho);
	kho_kunit_leave_table(&ktt->table);

	return phys_to_virt(ktt->phys);
}

/**
 * struct ktt_read - what was read
 * @error: what kho_table_open() returned.
 * @nr: records that were read.
 * @nr_corrupted: corrupted ones among them.
 * @nr_wrong: others that are not what was written.
 * @nr_missing: records that were not where they should be.
 */
struct ktt_read {
	int error;
	u32 nr;
	u32 nr_corrupted;
	u32 nr_wrong;
	u32 nr_missing;
};

static struct ktt_read ktt_read(struct kunit *test, phys_addr_t phys, size_t size)
{
	struct ktt *ktt = test->priv;
	struct kho_table_incoming *table = &ktt->incoming;
	const struct ktt_record *record;
	struct ktt_read read = {};
	bool corrupted;
	u32 position;

	read.error = kho_table_open(table, &ktt_format, phys, size);
	if (read.error) {
		KUNIT_EXPECT_NULL(test, table->head);
		KUNIT_EXPECT_NULL(test, table->block);
		return read;
	}
	while ((record = kho_table_next(table, &position, &corrupted))) {
		KUNIT_EXPECT_LT(test, position, kho_table_nr_records(table));
		read.nr++;
		read.nr_corrupted += corrupted;
		read.nr_wrong += !corrupted && !ktt_is_intact(record, position);
	}
	read.nr_missing = table->nr_missing;
	kho_table_close(table);

	return read;
}

static void ktt_expect(struct kunit *test, int error, u32 nr, u32 nr_corrupted,
		       u32 nr_missing)
{
	struct ktt *ktt = test->priv;
	struct ktt_read read = ktt_read(test, ktt->phys, ktt->size);

	KUNIT_EXPECT_EQ(test, read.error, error);
	KUNIT_EXPECT_EQ(test, read.nr, nr);
	KUNIT_EXPECT_EQ(test, read.nr_corrupted, nr_corrupted);
	KUNIT_EXPECT_EQ(test, read.nr_wrong, 0);
	KUNIT_EXPECT_EQ(test, read.nr_missing, nr_missing);
}

/* Opens the table again, and frees it. */
static void ktt_release(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	KUNIT_ASSERT_EQ(test, 0, kho_table_open(&ktt->incoming, &ktt_format,
						ktt->phys, ktt->size));
	kho_table_release(&ktt->incoming);
	KUNIT_EXPECT_NULL(test, ktt->incoming.head);
	KUNIT_EXPECT_NULL(test, ktt->incoming.block);
}

/* Round trip. */

/**
 * struct ktt_count - a table of some size
 * @room: records that there is room for.
 * @count: records that are there.
 */
struct ktt_count {
	u32 room;
	u32 count;
};

static const struct ktt_count ktt_counts[] = {
	{ 0, 0 },
	{ 1, 0 },
	{ 1, 1 },
	{ KTT_PER_BLOCK, KTT_PER_BLOCK - 1 },
	{ KTT_PER_BLOCK, KTT_PER_BLOCK },
	{ KTT_PER_BLOCK + 1, KTT_PER_BLOCK },
	{ KTT_PER_BLOCK + 1, KTT_PER_BLOCK + 1 },
	{ KTT_MAX, 0 },
	{ KTT_MAX, KTT_PER_BLOCK + 1 },
	{ KTT_MAX, KTT_MAX },
};

static void ktt_count_desc(const struct ktt_count *count, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u of %u records", count->count,
		 count->room);
}

KUNIT_ARRAY_PARAM(ktt_count, ktt_counts, ktt_count_desc);

static void ktt_round_trip_test(struct kunit *test)
{
	const struct ktt_count *count = test->param_value;
	struct ktt *ktt = test->priv;
	u32 blocks = DIV_ROUND_UP(count->room, KTT_PER_BLOCK);

	ktt_make(test, count->room, count->count);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 1 + blocks);
	ktt_expect(test, 0, count->count, 0, 0);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 1 + blocks);
	ktt_release(test);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 0);
}

/* Records can be had by their position as long as they are there. */
static void ktt_record_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	ktt_alloc(test, KTT_PER_BLOCK + 2, KTT_PER_BLOCK + 2);
	for (u32 i = 0; i < KTT_PER_BLOCK + 2; i++) {
		struct ktt_record *record = kho_table_record(&ktt->table, i);

		KUNIT_ASSERT_NOT_NULL(test, record);
		KUNIT_EXPECT_TRUE(test, ktt_is_intact(record, i));
	}
	KUNIT_EXPECT_NULL(test, kho_table_record(&ktt->table, KTT_PER_BLOCK + 2));
	KUNIT_EXPECT_NULL(test, kho_table_record(&ktt->table, U32_MAX));

	/* There is room for what fits into the last block, and for no more. */
	for (u32 i = KTT_PER_BLOCK + 2; i < 2 * KTT_PER_BLOCK; i++)
		KUNIT_EXPECT_NOT_NULL(test, kho_table_add(&ktt->table));
	KUNIT_EXPECT_NULL(test, kho_table_add(&ktt->table));
	kho_table_clear(&ktt->table);
	KUNIT_EXPECT_NULL(test, kho_table_record(&ktt->table, 0));
}

/* The format itself, so that nobody changes it unnoticed. */
static void ktt_format_test(struct kunit *test)
{
	static const char compatible[32] = "kunit-table-v1";
	const struct kho_table_ser *head = ktt_make(test, 7, 4);
	const u8 *bytes = (const u8 *)head;
	const u8 *first, *second;

	KUNIT_EXPECT_MEMEQ(test, bytes, compatible, 32);
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 32), 1);	/* version */
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 36), 1);	/* sealed */
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 40), 1312); /* record_size */
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 44), 4);	/* nr_records */
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 48), 3);	/* nr_blocks */
	KUNIT_EXPECT_EQ(test, *(const u32 *)(bytes + 52), 0);	/* reserved */
	KUNIT_EXPECT_EQ(test, *(const u64 *)(bytes + 56),
			xxh64(bytes + 64, 48, xxh64(bytes, 56, 0)));

	first = phys_to_virt(*(const u64 *)(bytes + 64));
	KUNIT_EXPECT_EQ(test, *(const u64 *)(bytes + 72),
			xxh64(first, 16 + 3 * 1320, 0));
	KUNIT_EXPECT_EQ(test, *(const u64 *)(first + 8), 3);	/* count */
	second = phys_to_virt(*(const u64 *)(bytes + 80));
	KUNIT_EXPECT_EQ(test, *(const u64 *)(bytes + 88), xxh64(second, 16 + 1320, 0));
	KUNIT_EXPECT_EQ(test, *(const u64 *)(second + 8), 1);
	KUNIT_EXPECT_EQ(test, *(const u64 *)(bytes + 104), 0);	/* no entries */

	KUNIT_EXPECT_EQ(test, *(const u64 *)(first + 16), 0);	/* flags, reserved */
	KUNIT_EXPECT_TRUE(test, ktt_is_intact((const void *)(first + 24), 0));
	KUNIT_EXPECT_TRUE(test, ktt_is_intact((const void *)(first + 24 + 1320), 1));
	KUNIT_EXPECT_TRUE(test, ktt_is_intact((const void *)(second + 24), 3));
}

/* Flipped bits. */

/* Flips bits of every byte in turn, and expects that the table is not read then. */
static void ktt_flip_head(struct kunit *test, u8 *bytes, size_t size)
{
	struct ktt *ktt = test->priv;

	for (size_t i = 0; i < size * 8; i++) {
		int error;

		bytes[i / 8] ^= BIT(i % 8);
		error = ktt_read(test, ktt->phys, ktt->size).error;
		if (error != -EBADMSG && error != -EINVAL && error != -EPROTONOSUPPORT)
			KUNIT_FAIL(test, "bit %zu of the head: %d", i, error);
		bytes[i / 8] ^= BIT(i % 8);
	}
}

/* The same for a block: its records are corrupted, the others are not. */
static void ktt_flip_block(struct kunit *test, u8 *bytes, u32 nr, u32 all)
{
	struct ktt *ktt = test->priv;

	for (size_t i = 0; i < 16 + nr * 1320; i++) {
		struct ktt_read read;
		u8 mask = BIT(i * 5 % 8);

		bytes[i] ^= mask;
		read = ktt_read(test, ktt->phys, ktt->size);
		if (read.error || read.nr != all || read.nr_corrupted != nr ||
		    read.nr_wrong || read.nr_missing)
			KUNIT_FAIL(test, "byte %zu: %d, %u of %u corrupted, %u wrong, %u missing",
				   i, read.error, read.nr_corrupted, read.nr,
				   read.nr_wrong, read.nr_missing);
		bytes[i] ^= mask;
	}
}

static void ktt_flip_test(struct kunit *test)
{
	const u32 count = KTT_PER_BLOCK + 1;
	struct kho_table_ser *head = ktt_make(test, count, count);
	struct ktt *ktt = test->priv;

	ktt_flip_head(test, (u8 *)head, struct_size(head, blocks, 2));
	ktt_flip_block(test, (u8 *)kho_kunit_block(head, 0), KTT_PER_BLOCK, count);
	ktt_flip_block(test, (u8 *)kho_kunit_block(head, 1), 1, count);
	ktt_expect(test, 0, count, 0, 0);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 3);
}

/* Single fields that are wrong under checksums that are right. */

enum ktt_field {
	KTT_NOTHING,
	KTT_COMPAT,
	KTT_VERSION,
	KTT_FLAGS,
	KTT_RECORD_SIZE,
	KTT_NR_RECORDS,
	KTT_NR_BLOCKS,
	KTT_RESERVED,
	KTT_BLOCK_PHYS,
	KTT_BLOCK_NEXT,
	KTT_BLOCK_COUNT,
	KTT_ENTRY_FLAGS,
	KTT_ENTRY_RESERVED,
};

enum ktt_target {
	KTT_TO_VALUE,
	KTT_TO_SAME,
	KTT_TO_HEAD,
	KTT_TO_FIRST,
	KTT_TO_OWN,
	KTT_TO_LARGE,
};

/**
 * struct ktt_corruption - one field that is wrong, in a table of four records in two
 * blocks
 * @what: what is wrong.
 * @field: the field; of the second block, or of the last record.
 * @text: its content, if it is text.
 * @value: its content, if it is a number.
 * @target: what @value is added to, if it is an address.
 * @error: what kho_table_open() says.
 * @nr: records that are read.
 * @nr_corrupted: corrupted ones among them.
 * @nr_missing: records that are not where they should be.
 * @nr_left: pages that kho_table_release() leaves reserved.
 */
struct ktt_corruption {
	const char *what;
	enum ktt_field field;
	char text[KHO_TABLE_COMPAT_LEN];
	u64 value;
	enum ktt_target target;
	int error;
	u32 nr;
	u32 nr_corrupted;
	u32 nr_missing;
	u32 nr_left;
};

static const struct ktt_corruption ktt_corruptions[] = {
	{ "nothing", .nr = 4 },
	{ "other records", KTT_COMPAT, "kunit-table-v2", .error = -EPROTONOSUPPORT },
	{ "name cut off", KTT_COMPAT, "kunit-table-v", .error = -EPROTONOSUPPORT },
	{ "name continues", KTT_COMPAT, "kunit-table-v10", .error = -EPROTONOSUPPORT },
	{ "garbage behind the name", KTT_COMPAT, "kunit-table-v1\0x",
	  .error = -EPROTONOSUPPORT },
	{ "no version", KTT_VERSION, .value = 0, .error = -EPROTONOSUPPORT },
	{ "next version", KTT_VERSION, .value = 2, .error = -EPROTONOSUPPORT },
	{ "not sealed", KTT_FLAGS, .value = 0, .error = -EINVAL },
	{ "flag 1", KTT_FLAGS, .value = 3, .error = -EINVAL },
	{ "flag 31", KTT_FLAGS, .value = BIT(31) | 1, .error = -EINVAL },
	{ "records of size 0", KTT_RECORD_SIZE, .value = 0, .error = -EINVAL },
	{ "smaller records", KTT_RECORD_SIZE, .value = 1304, .error = -EINVAL },
	{ "larger records", KTT_RECORD_SIZE, .value = 1320, .error = -EINVAL },
	{ "huge records", KTT_RECORD_SIZE, .value = U32_MAX, .error = -EINVAL },
	{ "more blocks than records need", KTT_NR_RECORDS, .value = 3, .nr = 3 },
	{ "no records", KTT_NR_RECORDS, .value = 0 },
	{ "one record more", KTT_NR_RECORDS, .value = 5, .nr = 5,
	  .nr_corrupted = 2 },
	{ "records of one more block", KTT_NR_RECORDS, .value = 7, .error = -EINVAL },
	{ "too many records", KTT_NR_RECORDS, .value = KTT_MAX + 1,
	  .error = -EINVAL },
	{ "huge number of records", KTT_NR_RECORDS, .value = U32_MAX,
	  .error = -EINVAL },
	{ "no blocks", KTT_NR_BLOCKS, .value = 0, .error = -EINVAL },
	{ "one block less", KTT_NR_BLOCKS, .value = 1, .error = -EINVAL },
	{ "a block behind the head", KTT_NR_BLOCKS, .value = 3, .error = -EINVAL },
	{ "huge number of blocks", KTT_NR_BLOCKS, .value = U32_MAX,
	  .error = -EINVAL },
	{ "reserved", KTT_RESERVED, .value = 1, .error = -EINVAL },

	{ "block at 0", KTT_BLOCK_PHYS, .value = 0, .nr = 3, .nr_missing = 1,
	  .nr_left = 1 },
	{ "block off by one", KTT_BLOCK_PHYS, .target = KTT_TO_SAME, .value = 1,
	  .nr = 3, .nr_missing = 1, .nr_left = 1 },
	{ "block unaligned", KTT_BLOCK_PHYS, .target = KTT_TO_SAME, .value = 16,
	  .nr = 3, .nr_missing = 1, .nr_left = 1 },
	{ "block nowhere", KTT_BLOCK_PHYS, .value = BIT_ULL(45), .nr = 3,
	  .nr_missing = 1, .nr_left = 1 },
	{ "block beyond all memory", KTT_BLOCK_PHYS, .value = U64_MAX & PAGE_MASK,
	  .nr = 3, .nr_missing = 1, .nr_left = 1 },
	{ "block at the last byte", KTT_BLOCK_PHYS, .value = U64_MAX, .nr = 3,
	  .nr_missing = 1, .nr_left = 1 },
	{ "block in memory of this kernel", KTT_BLOCK_PHYS, .target = KTT_TO_OWN,
	  .nr = 3, .nr_missing = 1, .nr_left = 1 },
	{ "block of two pages", KTT_BLOCK_PHYS, .target = KTT_TO_LARGE, .nr = 3,
	  .nr_missing = 1, .nr_left = 1 },
	{ "block at the head", KTT_BLOCK_PHYS, .target = KTT_TO_HEAD, .nr = 4,
	  .nr_corrupted = 1, .nr_left = 1 },
	{ "the same block twice", KTT_BLOCK_PHYS, .target = KTT_TO_FIRST, .nr = 4,
	  .nr_corrupted = 1, .nr_left = 1 },

	{ "link to nowhere", KTT_BLOCK_NEXT, .value = BIT_ULL(45), .nr = 4 },
	{ "link to itself", KTT_BLOCK_NEXT, .target = KTT_TO_FIRST, .nr = 4 },
	{ "block of 0", KTT_BLOCK_COUNT, .value = 0, .nr = 4, .nr_corrupted = 1 },
	{ "block too long", KTT_BLOCK_COUNT, .value = 2, .nr = 4,
	  .nr_corrupted = 1 },
	{ "block with a bit beyond 32", KTT_BLOCK_COUNT, .value = BIT_ULL(32) + 1,
	  .nr = 4, .nr_corrupted = 1 },
	{ "huge block", KTT_BLOCK_COUNT, .value = U64_MAX, .nr = 4,
	  .nr_corrupted = 1 },

	{ "invalid record", KTT_ENTRY_FLAGS, .value = KHO_TABLE_ENTRY_INVALID,
	  .nr = 3 },
	{ "record with flag 1", KTT_ENTRY_FLAGS, .value = BIT(1), .nr = 4,
	  .nr_corrupted = 1 },
	{ "invalid record with flag 31", KTT_ENTRY_FLAGS,
	  .value = BIT(31) | KHO_TABLE_ENTRY_INVALID, .nr = 4, .nr_corrupted = 1 },
	{ "record with reserved", KTT_ENTRY_RESERVED, .value = 1, .nr = 4,
	  .nr_corrupted = 1 },
};

KUNIT_ARRAY_PARAM_DESC(ktt_corruption, ktt_corruptions, what);

static u64 ktt_address(const struct ktt_corruption *corruption,
		       struct kho_table_ser *head, void *own, void *large)
{
	switch (corruption->target) {
	case KTT_TO_VALUE:
		break;
	case KTT_TO_SAME:
		return head->blocks[1].phys + corruption->value;
	case KTT_TO_HEAD:
		return virt_to_phys(head);
	case KTT_TO_FIRST:
		return head->blocks[0].phys;
	case KTT_TO_OWN:
		return virt_to_phys(own);
	case KTT_TO_LARGE:
		return virt_to_phys(large);
	}

	return corruption->value;
}

static void ktt_apply(const struct ktt_corruption *corruption, struct kho_table_ser *head,
		      u64 address)
{
	switch (corruption->field) {
	case KTT_NOTHING:
		break;
	case KTT_COMPAT:
		memcpy(head->compatible, corruption->text, sizeof(head->compatible));
		break;
	case KTT_VERSION:
		head->version = corruption->value;
		break;
	case KTT_FLAGS:
		head->flags = corruption->value;
		break;
	case KTT_RECORD_SIZE:
		head->record_size = corruption->value;
		break;
	case KTT_NR_RECORDS:
		head->nr_records = corruption->value;
		break;
	case KTT_NR_BLOCKS:
		head->nr_blocks = corruption->value;
		break;
	case KTT_RESERVED:
		head->reserved = corruption->value;
		break;
	case KTT_BLOCK_PHYS:
		head->blocks[1].phys = address;
		break;
	case KTT_BLOCK_NEXT:
		kho_kunit_block(head, 1)->next = address;
		break;
	case KTT_BLOCK_COUNT:
		kho_kunit_block(head, 1)->count = corruption->value;
		break;
	case KTT_ENTRY_FLAGS:
		kho_kunit_entry(head, sizeof(struct ktt_record),
				KTT_PER_BLOCK)->flags = corruption->value;
		break;
	case KTT_ENTRY_RESERVED:
		kho_kunit_entry(head, sizeof(struct ktt_record),
				KTT_PER_BLOCK)->reserved = corruption->value;
		break;
	}
}

static void ktt_corruption_test(struct kunit *test)
{
	const struct ktt_corruption *corruption = test->param_value;
	void *own = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct ktt *ktt = test->priv;
	struct kho_table_ser *head;
	u64 address;
	void *large;

	KUNIT_ASSERT_NOT_NULL(test, own);
	large = kho_alloc_preserve(2 * PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(large));
	kho_kunit_view(&ktt->kho, large);
	head = ktt_make(test, KTT_PER_BLOCK + 1, KTT_PER_BLOCK + 1);
	address = ktt_address(corruption, head, own, large);
	ktt_apply(corruption, head, address);
	kho_kunit_seal(head, sizeof(struct ktt_record));

	ktt_expect(test, corruption->error, corruption->nr, corruption->nr_corrupted,
		   corruption->nr_missing);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 3 + 2);
	if (corruption->error)
		return;
	ktt_release(test);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho),
			corruption->nr_left + 2);
	KUNIT_EXPECT_TRUE(test, kho_kunit_is_reserved(&ktt->kho, virt_to_phys(large)));
}

/* The head is where it is said to be, and as long, or it is refused. */
static void ktt_head_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;
	size_t size = 64 + 16;

	ktt_make(test, 1, 1);
	KUNIT_EXPECT_EQ(test, ktt->size, size);
	KUNIT_EXPECT_EQ(test, 0, ktt_read(test, ktt->phys, size).error);
	KUNIT_EXPECT_EQ(test, 0, ktt_read(test, ktt->phys, PAGE_SIZE).error);

	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, ktt->phys, 0).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, ktt->phys, 63).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, ktt->phys, size - 1).error);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			ktt_read(test, ktt->phys, PAGE_SIZE + 1).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, ktt->phys, SIZE_MAX).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, 0, size).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, ktt->phys + 8, size).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, BIT_ULL(45), size).error);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, PHYS_ADDR_MAX, size).error);
}

/* Memory of this kernel was not handed over, whatever is in it. */
static void ktt_own_memory_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	ktt_alloc(test, 1, 1);
	kho_table_seal(&ktt->table);
	KUNIT_EXPECT_EQ(test, -EINVAL, ktt_read(test, kho_table_phys(&ktt->table),
						ktt->table.head_size).error);
}

/* Life of a table in the outgoing kernel. */

/* Only what is sealed can be read. */
static void ktt_seal_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	ktt_alloc(test, KTT_PER_BLOCK + 2, 1);
	ktt_view(test);
	ktt_expect(test, -EINVAL, 0, 0, 0);
	kho_table_seal(&ktt->table);
	ktt_expect(test, 0, 1, 0, 0);

	/* One more. */
	ktt_fill(kho_table_add(&ktt->table), 1);
	ktt_expect(test, -EINVAL, 0, 0, 0);
	kho_table_seal(&ktt->table);
	ktt_expect(test, 0, 2, 0, 0);

	/* All anew, fewer than before, with nothing left of them. */
	kho_table_clear(&ktt->table);
	ktt_expect(test, -EINVAL, 0, 0, 0);
	kho_table_seal(&ktt->table);
	ktt_expect(test, 0, 0, 0, 0);
	for (u32 i = 0; i <= KTT_PER_BLOCK; i++) {
		struct ktt_record *record = kho_table_add(&ktt->table);

		KUNIT_ASSERT_NOT_NULL(test, record);
		KUNIT_EXPECT_PTR_EQ(test, memchr_inv(record, 0, sizeof(*record)),
				    NULL);
		ktt_fill(record, i);
	}
	kho_table_seal(&ktt->table);
	ktt_expect(test, 0, KTT_PER_BLOCK + 1, 0, 0);

	/* A change that nobody sealed is one that nobody vouches for. */
	ktt_fill(kho_table_record(&ktt->table, 0), 1);
	ktt_expect(test, 0, KTT_PER_BLOCK + 1, KTT_PER_BLOCK, 0);
	kho_table_reseal(&ktt->table, KTT_PER_BLOCK);
	ktt_expect(test, 0, KTT_PER_BLOCK + 1, KTT_PER_BLOCK, 0);
	kho_table_reseal(&ktt->table, 0);
	KUNIT_EXPECT_EQ(test, ktt_read(test, ktt->phys, ktt->size).nr_wrong, 1);
	ktt_fill(kho_table_record(&ktt->table, 0), 0);
	kho_table_reseal(&ktt->table, 0);
	ktt_expect(test, 0, KTT_PER_BLOCK + 1, 0, 0);

	/* What is not sealed, or not there, is not sealed again. */
	ktt_fill(kho_table_add(&ktt->table), KTT_PER_BLOCK + 1);
	kho_table_reseal(&ktt->table, 0);
	ktt_expect(test, -EINVAL, 0, 0, 0);
	kho_table_seal(&ktt->table);
	kho_table_reseal(&ktt->table, KTT_PER_BLOCK + 2);
	kho_table_reseal(&ktt->table, U32_MAX);
	ktt_expect(test, 0, KTT_PER_BLOCK + 2, 0, 0);
}

static void ktt_invalidate_test(struct kunit *test)
{
	const u32 count = 2 * KTT_PER_BLOCK;
	struct ktt *ktt = test->priv;
	u32 left = count;

	ktt_alloc(test, count, count);
	ktt_view(test);

	/* It does not seal a table that is not complete. */
	kho_table_invalidate(&ktt->table, 1);
	left--;
	ktt_expect(test, -EINVAL, 0, 0, 0);
	kho_table_seal(&ktt->table);
	ktt_expect(test, 0, left, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(kho_table_record(&ktt->table, 1), 0,
					     sizeof(struct ktt_record)), NULL);

	for (u32 i = 0; i < count; i++) {
		kho_table_invalidate(&ktt->table, i);
		left -= i != 1;
		ktt_expect(test, 0, left, 0, 0);
	}
	kho_table_invalidate(&ktt->table, count);
	kho_table_invalidate(&ktt->table, U32_MAX);
	ktt_expect(test, 0, 0, 0, 0);
}

static void ktt_limit_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	KUNIT_EXPECT_EQ(test, -E2BIG, kho_table_alloc(&ktt->table, &ktt_format,
						      KTT_MAX + 1));
	KUNIT_EXPECT_EQ(test, -E2BIG, kho_table_alloc(&ktt->table, &ktt_format,
						      U32_MAX));
	KUNIT_EXPECT_NULL(test, ktt->table.head);
	kho_table_free(&ktt->table);
	ktt_alloc(test, KTT_MAX, KTT_MAX);
	KUNIT_EXPECT_NULL(test, kho_table_add(&ktt->table));
	kho_table_free(&ktt->table);
	KUNIT_EXPECT_NULL(test, ktt->table.head);
	kho_table_free(&ktt->table);
}

/* A table that grows record by record, and can be read at each length. */
static void ktt_grow_test(struct kunit *test)
{
	struct ktt *ktt = test->priv;
	struct kho_table_ser *head;

	KUNIT_ASSERT_EQ(test, 0, kho_table_alloc_growing(&ktt->table, &ktt_format));
	head = ktt->table.head;
	KUNIT_EXPECT_NULL(test, kho_table_add(&ktt->table));
	for (u32 i = 0; i < KTT_MAX; i++) {
		KUNIT_ASSERT_EQ(test, 0, kho_table_grow(&ktt->table, i + 1));
		KUNIT_EXPECT_EQ(test, head->nr_blocks, i / KTT_PER_BLOCK + 1);
		ktt_fill(kho_table_add(&ktt->table), i);
		ktt_view(test);
		ktt_expect(test, -EINVAL, 0, 0, 0);
		kho_table_seal(&ktt->table);
		ktt_expect(test, 0, i + 1, 0, 0);
	}
	/* What is there already changes nothing. */
	KUNIT_EXPECT_EQ(test, 0, kho_table_grow(&ktt->table, 1));
	KUNIT_EXPECT_EQ(test, -E2BIG, kho_table_grow(&ktt->table, KTT_MAX + 1));
	KUNIT_EXPECT_EQ(test, -E2BIG, kho_table_grow(&ktt->table, U32_MAX));
	ktt_expect(test, 0, KTT_MAX, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, head, ktt->table.head);
	/* More room means that nobody vouches for it. */
	kho_table_clear(&ktt->table);
	kho_table_free(&ktt->table);
	KUNIT_ASSERT_EQ(test, 0, kho_table_alloc_growing(&ktt->table, &ktt_format));
	kho_table_seal(&ktt->table);
	ktt_view(test);
	ktt_expect(test, 0, 0, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, kho_table_grow(&ktt->table, 1));
	ktt_expect(test, -EINVAL, 0, 0, 0);
}

/* What somebody else has restored is not freed with the table. */
static void ktt_claimed_test(struct kunit *test)
{
	struct kho_table_ser *head = ktt_make(test, KTT_PER_BLOCK + 1,
					      KTT_PER_BLOCK + 1);
	struct ktt *ktt = test->priv;
	struct folio *block;

	KUNIT_ASSERT_EQ(test, 0, kho_table_open(&ktt->incoming, &ktt_format,
						ktt->phys, ktt->size));
	block = kho_restore_folio(head->blocks[1].phys);
	KUNIT_ASSERT_NOT_NULL(test, block);
	kho_table_release(&ktt->incoming);
	KUNIT_EXPECT_EQ(test, kho_kunit_reserved_pages(&ktt->kho), 0);
	KUNIT_EXPECT_EQ(test, 1, folio_ref_count(block));
	folio_put(block);
}

static int ktt_init(struct kunit *test)
{
	struct ktt *ktt = kunit_kzalloc(test, sizeof(*ktt), GFP_KERNEL);

	if (!ktt)
		return -ENOMEM;
	kho_kunit_init(&ktt->kho, test);
	test->priv = ktt;

	return 0;
}

static void ktt_exit(struct kunit *test)
{
	struct ktt *ktt = test->priv;

	if (!ktt)
		return;

	kho_table_close(&ktt->incoming);
	kho_table_free(&ktt->table);
	kho_kunit_exit(&ktt->kho);
}

static struct kunit_case ktt_cases[] = {
	KUNIT_CASE_PARAM(ktt_round_trip_test, ktt_count_gen_params),
	KUNIT_CASE(ktt_record_test),
	KUNIT_CASE(ktt_format_test),
	KUNIT_CASE_SLOW(ktt_flip_test),
	KUNIT_CASE_PARAM(ktt_corruption_test, ktt_corruption_gen_params),
	KUNIT_CASE(ktt_head_test),
	KUNIT_CASE(ktt_own_memory_test),
	KUNIT_CASE(ktt_seal_test),
	KUNIT_CASE(ktt_invalidate_test),
	KUNIT_CASE(ktt_limit_test),
	KUNIT_CASE(ktt_grow_test),
	KUNIT_CASE(ktt_claimed_test),
	{}
};

static struct kunit_suite ktt_suite = {
	.name = "kho-table",
	.init = ktt_init,
	.exit = ktt_exit,
	.test_cases = ktt_cases,
};

kunit_test_suite(ktt_suite);
