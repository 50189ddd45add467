// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The records of devices
 *
 * What is handed over arrives as it was, and what was corrupted on the way is
 * never taken for something else: each bit of the head and each byte of a record,
 * blocks that are missing, fields that no checksum can vouch for, and two records
 * of one device.
 */

#include <linux/device.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

static void dlt_round_trip_test(struct kunit *test)
{
	const struct dlu_incoming_device *incoming;
	static const char *const names[] = { "bridge", "a", "b" };
	u8 fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
	struct dlt_chain chain = dlt_make_chain(test);

	memset(chain.a->fingerprint, 0xa5, sizeof(chain.a->fingerprint));
	dlt_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
	KUNIT_EXPECT_STREQ(test, dlt_table()->compatible, "luo-devices-v3");
	KUNIT_EXPECT_EQ(test, dlt_table()->record_size, 232);
	KUNIT_EXPECT_EQ(test, dlt_table()->nr_records, 3);

	KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
	dlt_release_table(test, " block0 table");
	KUNIT_EXPECT_TRUE(test, dlu_incoming.pending);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	KUNIT_ASSERT_EQ(test, dlu_incoming.nr_records, 3);
	for (unsigned int i = 0; i < 3; i++) {
		memset(fingerprint, 0, sizeof(fingerprint));
		strscpy(fingerprint, names[i]);
		if (i == 1)
			memset(fingerprint, 0xa5, sizeof(fingerprint));
		incoming = &dlu_incoming.records[i];
		KUNIT_EXPECT_STREQ(test, incoming->ser.bus, "liveupdate-kunit");
		KUNIT_EXPECT_STREQ(test, incoming->ser.id, names[i]);
		KUNIT_EXPECT_MEMEQ(test, incoming->ser.fingerprint, fingerprint,
				   sizeof(fingerprint));
		KUNIT_EXPECT_EQ(test, incoming->ser.parent, i);
		KUNIT_EXPECT_STREQ(test, incoming->ser.compatible,
				   i ? "kunit,one" : "");
		KUNIT_EXPECT_EQ(test, incoming->ser.version, i ? 3 : 0);
		KUNIT_EXPECT_EQ(test, incoming->ser.nr_providers, 0);
		KUNIT_EXPECT_EQ(test, incoming->ser.more, 0);
		KUNIT_EXPECT_FALSE(test, incoming->invalid);
		KUNIT_EXPECT_FALSE(test, incoming->corrupted);
		dlt_expect_state(test, i, ABSENT);
	}
	incoming = dlu_incoming.records;
	KUNIT_EXPECT_EQ(test, incoming[0].ser.flags, DEVICE_LIVEUPDATE_SER_PATH);
	KUNIT_EXPECT_EQ(test, incoming[1].ser.flags, DEVICE_LIVEUPDATE_SER_BLOB);
	KUNIT_EXPECT_EQ(test, incoming[2].ser.flags, 0);
	KUNIT_EXPECT_EQ(test, incoming[0].data.value, 0);
	KUNIT_EXPECT_EQ(test, incoming[1].data.size, 2);
	KUNIT_EXPECT_EQ(test, incoming[2].data.value, DLT_VALUE);
	KUNIT_EXPECT_EQ(test, incoming[2].data.size, 0);
}

#define DLT_MANY	45

static void dlt_make_many(struct kunit *test, bool request)
{
	struct dlt_device *dlt_dev;
	char name[8];

	for (unsigned int i = 0; i < DLT_MANY; i++) {
		snprintf(name, sizeof(name), "d%02u", i);
		dlt_dev = dlt_make(test, name, NULL);
		if (request)
			dlt_request(test, dlt_dev);
	}
}

static void dlt_jump_many(struct kunit *test)
{
	dlt_make_many(test, true);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());
	dlt_jump(test);
}

static void dlt_many_test(struct kunit *test)
{
	unsigned int freed = 0;
	struct dlt_memory *memory;
	struct dlt_device *dlt_dev;

	dlt_jump_many(test);
	KUNIT_EXPECT_EQ(test, dlt_block(0)->count, DLT_PER_BLOCK);
	KUNIT_EXPECT_EQ(test, dlt_block(2)->count, DLT_MANY - 2 * DLT_PER_BLOCK);
	KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLT_MANY);
	dlt_make_many(test, false);
	list_for_each_entry(dlt_dev, &dlt->devices, list)
		if (!dlt_dev->gone)
			KUNIT_EXPECT_STREQ(test, dlt_dev->text, dlt_dev->id);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	dlt_expect_released(test, "");
	dlt_do_finish();
	dlt_expect_released(test, " block0 block1 block2 table");
	list_for_each_entry(memory, &dlt->memory, list)
		freed += memory->freed;
	KUNIT_EXPECT_EQ(test, freed, DLT_MANY + 4);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	dlt_clear_log();
}

/* How the records of dlt_jump_chain() came through. */
static void dlt_expect_records(struct kunit *test, unsigned int invalid,
			       unsigned int lost, const char *what, size_t where)
{
	KUNIT_ASSERT_EQ(test, dlu_incoming.nr_records, 3);
	for (unsigned int i = 0; i < 3; i++) {
		bool is_lost = hlist_unhashed(&dlu_incoming.records[i].hash);
		/* Without that of its parent a record is not relied on. */
		bool orphan = i && lost & BIT(i - 1);

		KUNIT_EXPECT_EQ_MSG(test, is_lost, !!(lost & BIT(i)),
				    "record %u, %s %zu", i, what, where);
		if (!is_lost)
			KUNIT_EXPECT_EQ_MSG(test, dlu_incoming.records[i].invalid,
					    orphan || invalid & BIT(i),
					    "record %u, %s %zu", i, what, where);
	}
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, hweight32(lost));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3 - hweight32(lost));
}

/* One flipped bit costs the records of its block, and is never overlooked. */
static void dlt_flip_record_test(struct kunit *test)
{
	u8 *byte;

	dlt_jump_chain(test);
	byte = (u8 *)dlt_ser(1);
	for (size_t i = 0; i < DLT_RECORD; i++) {
		u8 mask = 1 << (i * 5 % 8);
		bool lost;

		byte[i] ^= mask;
		KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
		/* Bus and identity may be no text any more. */
		lost = i < offsetof(struct device_liveupdate_ser, fingerprint) &&
		       dlu_incoming.nr_lost;
		dlt_expect_records(test, BIT(0) | BIT(1) | BIT(2),
				   lost ? BIT(1) : 0, "byte", i);
		/* What they lead to is not known. */
		for (unsigned int j = 0; j < 3; j++) {
			KUNIT_EXPECT_EQ(test, dlu_incoming.records[j].data.size, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.records[j].corrupted,
					!hlist_unhashed(&dlu_incoming.records[j].hash));
		}
		dlt_release_table(test, " block0 table");
		dlt_unboot();
		byte[i] ^= mask;
	}
	KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
	dlt_expect_records(test, 0, 0, "intact", 0);
}

/* Expects that restore fails and does nothing. */
static void dlt_expect_no_restore(struct kunit *test, int error)
{
	if (error)
		KUNIT_EXPECT_EQ(test, dlt_do_restore(), error);
	else
		KUNIT_EXPECT_LT(test, dlt_do_restore(), 0);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.buckets, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
	dlt_expect(test, "");
}

static void dlt_flip_table_test(struct kunit *test)
{
	u8 *byte;

	dlt_jump_chain(test);
	byte = (u8 *)dlt_table();
	for (size_t i = 0; i < dlt->handed.size * 8; i++) {
		byte[i / 8] ^= 1 << i % 8;
		dlt_expect_no_restore(test, 0);
		byte[i / 8] ^= 1 << i % 8;
	}
	dlt_boot(test);
	dlt_expect_records(test, 0, 0, "intact", 0);
}

/* What is no table of devices, or none that this kernel can read. */
static void dlt_table_test(struct kunit *test)
{
	struct kho_table_ser saved, *table;

	dlt_jump_chain(test);
	table = dlt_table();
	memcpy(&saved, table, sizeof(saved));

	table->compatible[13]++;
	dlt_seal();
	dlt_expect_no_restore(test, -EPROTONOSUPPORT);
	memcpy(table, &saved, sizeof(saved));
	table->checksum++;
	dlt_expect_no_restore(test, -EBADMSG);
	memcpy(table, &saved, sizeof(saved));
	table->nr_records = DEVICE_LIVEUPDATE_RECORDS_MAX + 1;
	dlt_seal();
	dlt_expect_no_restore(test, -EINVAL);
	memcpy(table, &saved, sizeof(saved));
	dlt_seal();
	dlt->handed.size--;
	dlt_expect_no_restore(test, -EINVAL);
	dlt->handed.size++;
	dlt_boot(test);
	dlt_expect_records(test, 0, 0, "intact", 0);
}

/* An empty table is a table. */
static void dlt_empty_table_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_table()->nr_records = 0;
	dlt_seal();
	KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	dlt_do_finish();
	dlt_expect_released(test, " block0 table");
}

/* A block that is missing or corrupted costs nothing that is not in it. */
static void dlt_block_test(struct kunit *test)
{
	u64 phys;

	dlt_jump_many(test);
	phys = dlt_table()->blocks[1].phys;
	const u64 addresses[] = {
		0, phys + 8, phys + KHO_BLOCK_SIZE, ~0ULL, dlt_ser(0)->value,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		/* What lies behind the block may by chance be the table. */
		if (addresses[i] == phys + KHO_BLOCK_SIZE && dlt_find_memory(addresses[i]))
			continue;
		dlt_table()->blocks[1].phys = addresses[i];
		dlt_seal();
		KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLT_MANY - DLT_PER_BLOCK);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, DLT_PER_BLOCK);
		dlt_release_table(test, " block0 block2 table");
		dlt_unboot();
	}
	dlt_table()->blocks[1].phys = phys;
	dlt_seal();

	dlt_block(1)->next = 0;
	KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLT_MANY);
	for (unsigned int i = 0; i < DLT_MANY; i++)
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[i].corrupted,
				i / DLT_PER_BLOCK == 1);
	dlt_release_table(test, " block0 block1 block2 table");
}

/* A record that leads to the table: it is freed once, as what the driver saved. */
static void dlt_own_table_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_ser(1)->value = dlt->handed.value;
	dlt_seal();
	dlt_boot(test);
	dlt_make_chain(test);
	dlt_do_finish();
	KUNIT_EXPECT_TRUE(test, dlt_find_memory(dlt->handed.value)->freed);
	KUNIT_EXPECT_EQ(test, dlt->rogue, 0);
	dlt_clear_log();
}

/* A block that was handed over, but is too short, is not read. */
static void dlt_short_block_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_find_memory(dlt_table()->blocks[0].phys)->size = KHO_BLOCK_SIZE - 1;
	KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 3);
}

DLT_FIELD(parent, ser->parent = 2)
DLT_FIELD(parent_max, ser->parent = U32_MAX)
DLT_FIELD(flags, ser->flags |= BIT(4))
DLT_FIELD(flags_more, ser->flags |= DEVICE_LIVEUPDATE_SER_MORE)
DLT_FIELD(flags_max, ser->flags |= BIT(31))
DLT_FIELD(lost, ser->flags |= DEVICE_LIVEUPDATE_SER_LOST)
DLT_FIELD(providers, ser->nr_providers = 2)
DLT_FIELD(provider, ser->nr_providers = 1; ser->providers[0] = 1)
DLT_FIELD(provider_behind, ser->providers[DEVICE_LIVEUPDATE_PROVIDERS - 1] = 1)
DLT_FIELD(more, ser->more = 2)
DLT_FIELD(no_more, ser->nr_providers = U32_MAX; ser->more = 2)
DLT_FIELD(version, ser->version = 0)
DLT_FIELD(no_blob, ser->flags &= ~DEVICE_LIVEUPDATE_SER_BLOB)
DLT_FIELD(no_size, ser->size = 0)
DLT_FIELD(path, ser->flags |= DEVICE_LIVEUPDATE_SER_PATH)
DLT_FIELD(path_blob, ser->flags |= DEVICE_LIVEUPDATE_SER_PATH; ser->version = 0;
	  memset(ser->compatible, 0, sizeof(ser->compatible)))
DLT_FIELD(path_compatible, ser->flags = DEVICE_LIVEUPDATE_SER_PATH;
	  ser->version = 0; ser->size = 0)
DLT_FIELD(compatible_long, memset(ser->compatible, 'x', sizeof(ser->compatible)))
DLT_FIELD(compatible_empty, ser->compatible[0] = 0)
DLT_FIELD(compatible_space, ser->compatible[5] = ' ')
DLT_FIELD(bus_long, memset(ser->bus, 'x', sizeof(ser->bus)))
DLT_FIELD(bus_empty, ser->bus[0] = 0)
DLT_FIELD(bus_space, ser->bus[2] = ' ')
DLT_FIELD(id_long, memset(ser->id, 'x', sizeof(ser->id)))
DLT_FIELD(id_empty, ser->id[0] = 0)
DLT_FIELD(id_control, ser->id[0] = '\n')

static const struct dlt_field dlt_fields[] = {
	{ "parent behind it", dlt_corruption_parent },
	{ "parent far behind", dlt_corruption_parent_max },
	{ "unknown flag", dlt_corruption_flags },
	{ "last flag", dlt_corruption_flags_max },
	{ "lost before the kexec", dlt_corruption_lost },
	{ "device that is continued, too", dlt_corruption_flags_more },
	{ "more providers than records", dlt_corruption_providers },
	{ "provider that is itself", dlt_corruption_provider },
	{ "provider that is not counted", dlt_corruption_provider_behind },
	{ "continued without need", dlt_corruption_more },
	{ "more providers than there can be", dlt_corruption_no_more },
	{ "version 0", dlt_corruption_version },
	{ "size without blob", dlt_corruption_no_blob },
	{ "blob without size", dlt_corruption_no_size },
	{ "path with version", dlt_corruption_path },
	{ "path with blob", dlt_corruption_path_blob },
	{ "path with compatible", dlt_corruption_path_compatible },
	{ "compatible not terminated", dlt_corruption_compatible_long },
	{ "compatible empty", dlt_corruption_compatible_empty },
	{ "space in compatible", dlt_corruption_compatible_space },
	{ "bus not terminated", dlt_corruption_bus_long, true },
	{ "bus empty", dlt_corruption_bus_empty, true },
	{ "space in bus", dlt_corruption_bus_space, true },
	{ "identity not terminated", dlt_corruption_id_long, true },
	{ "identity empty", dlt_corruption_id_empty, true },
	{ "control in identity", dlt_corruption_id_control, true },
};

KUNIT_ARRAY_PARAM_DESC(dlt_field, dlt_fields, about);

/* Expects what becomes of the devices, when they appear and at FINISH. */
static void dlt_expect_chain(struct kunit *test, const char *appear, const char *finish)
{
	dlt_make_chain(test);
	dlt_expect(test, appear);
	dlt_do_finish();
	dlt_expect(test, finish);
}

static void dlt_field_test(struct kunit *test)
{
	const struct dlt_field *field = test->param_value;

	dlt_jump_chain(test);
	field->corruption(dlt_ser(1));
	dlt_seal();
	dlt_boot(test);
	dlt_expect_records(test, field->lost ? 0 : BIT(1), field->lost ? BIT(1) : 0,
			   field->about, 0);
	/* What a corrupted record leads to stays reserved. */
	if (field->lost)
		dlt_expect_chain(test, " probe:bridge probe:a quarantine:b", " probe:b");
	else
		dlt_expect_chain(test, " probe:bridge quarantine:a quarantine:b",
				 " probe:b probe:a");
}

/* A device is stopped if all that is said of it fits. */
static void dlt_corrupted_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_ser(1)->size++;
	dlt_boot(test);
	dlt_expect_chain(test, " quarantine:bridge quarantine:a quarantine:b",
			 " probe:b probe:a probe:bridge");
}

/* Otherwise it may be one that was not handed over. */
static void dlt_corrupted_other_test(struct kunit *test)
{
	dlt_jump_chain(test);
	dlt_ser(1)->fingerprint[0]++;
	dlt_boot(test);
	dlt_expect_chain(test, " quarantine:bridge probe:a quarantine:b", " probe:b probe:bridge");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	KUNIT_EXPECT_EQ(test, 0, dlt_forget(""));
	dlt_expect(test, "");
}

/* Two records of the same device: neither can be relied on. */
static void dlt_twins_test(struct kunit *test)
{
	struct dlt_device *c;

	dlt_jump_many(test);
	strscpy_pad(dlt_ser(44)->id, dlt_ser(1)->id);
	dlt_seal();
	dlt_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 1);
	KUNIT_EXPECT_TRUE(test, dlu_incoming.records[1].invalid);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.records[2].invalid);

	c = dlt_make(test, "d01", NULL);
	dlt_expect(test, " quarantine:d01");
	dlt_do_finish();
	KUNIT_EXPECT_TRUE(test, dlt_driven_by(c, DLT_ONE));
	/* Whose blob it is cannot be told. */
	dlt_expect(test, " probe:d01");
}

/* Unless one of them is corrupted, and only looks so, whichever comes first. */
static void dlt_corrupted_twin_test(struct kunit *test)
{
	static const struct {
		unsigned int intact;
		unsigned int corrupted;
	} twins[] = { { 1, 44 }, { 44, 1 } };

	dlt_jump_many(test);
	for (unsigned int i = 0; i < ARRAY_SIZE(twins); i++) {
		struct device_liveupdate_ser *ser = dlt_ser(twins[i].corrupted);
		struct device_liveupdate_ser saved = *ser;

		strscpy_pad(ser->id, dlt_ser(twins[i].intact)->id);
		KUNIT_EXPECT_EQ(test, 0, dlt_do_restore());
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 1);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLT_MANY - 1);
		KUNIT_EXPECT_TRUE(test,
				  hlist_unhashed(&dlu_incoming.records[twins[i].corrupted].hash));
		KUNIT_EXPECT_FALSE(test, dlu_incoming.records[twins[i].intact].invalid);
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[twins[i].intact].data.size,
				dlt_ser(twins[i].intact)->size);
		dlt_unboot();
		*ser = saved;
	}
}

static struct kunit_case dlt_record_cases[] = {
	KUNIT_CASE(dlt_round_trip_test),
	KUNIT_CASE(dlt_many_test),
	KUNIT_CASE(dlt_flip_record_test),
	KUNIT_CASE(dlt_flip_table_test),
	KUNIT_CASE(dlt_table_test),
	KUNIT_CASE(dlt_empty_table_test),
	KUNIT_CASE(dlt_block_test),
	KUNIT_CASE(dlt_own_table_test),
	KUNIT_CASE(dlt_short_block_test),
	KUNIT_CASE_PARAM(dlt_field_test, dlt_field_gen_params),
	KUNIT_CASE(dlt_corrupted_test),
	KUNIT_CASE(dlt_corrupted_other_test),
	KUNIT_CASE(dlt_corrupted_twin_test),
	KUNIT_CASE(dlt_twins_test),
	{}
};

static struct kunit_suite dlt_record_suite = {
	.name = "device-liveupdate-record",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_record_cases,
};

kunit_test_suite(dlt_record_suite);
