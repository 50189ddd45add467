// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The device layer without memory
 *
 * Each allocation fails once in every transition: all is undone, and what was handed over is
 * neither lost nor freed twice.
 */

#include <linux/device.h>
#include <linux/liveupdate/fault.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* What must be the same after everything was undone. */
struct dlt_counts {
	unsigned int references;
	int awake;
};

static struct dlt_counts dlt_counts(const struct dlt_device *dlt_dev)
{
	return (struct dlt_counts){
		.references = kref_read(&dlt_dev->dev.kobj.kref),
		.awake = atomic_read(&dlt_dev->dev.power.usage_count),
	};
}

static void dlt_expect_counts(struct kunit *test, const struct dlt_device *dlt_dev,
			      struct dlt_counts before)
{
	struct dlt_counts now = dlt_counts(dlt_dev);

	KUNIT_EXPECT_EQ(test, now.references, before.references);
	KUNIT_EXPECT_EQ(test, now.awake, before.awake);
}

/* How often this callback ran since the log was cleared. */
static unsigned int dlt_nr_calls(const char *call)
{
	unsigned int nr = 0;
	const char *at;

	guard(mutex)(&dlt->lock);
	at = seq_buf_str(&dlt->log);
	while ((at = strstr(at, call))) {
		at++;
		nr++;
	}

	return nr;
}

static void dlt_fault_request_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	struct dlt_counts counts;
	struct dlt_device *a;
	int err;

	liveupdate_fault_require(test);
	a = dlt_make(test, "a", NULL);
	counts = dlt_counts(a);
	while (liveupdate_fault_next(test, &fault)) {
		dlt_failure.error = 0;

		liveupdate_fault_begin(&fault);
		err = dlu_request(&a->dev, true);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			dlt_expect_failed(test, "a", -ENOMEM, NULL);
			failed++;
		} else {
			KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 1);
			KUNIT_EXPECT_EQ(test, 0, dlu_request(&a->dev,
							     false));
		}
		KUNIT_EXPECT_EQ(test, dlt_nr_requested(), 0);
		dlt_expect_counts(test, a, counts);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
}

static void dlt_fault_prepare(struct kunit *test, const struct dlt_chain *chain,
			      unsigned long *seen)
{
	struct dlt_device *const all[] = { chain->bridge, chain->a, chain->b };
	struct liveupdate_fault fault = {};
	struct dlt_counts counts[ARRAY_SIZE(all)];
	int err;

	for (int i = 0; i < ARRAY_SIZE(all); i++)
		counts[i] = dlt_counts(all[i]);
	while (liveupdate_fault_next(test, &fault)) {
		dlt_failure.error = 0;
		dlt_clear_log();

		liveupdate_fault_begin(&fault);
		err = dlt_do_prepare();
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_TRUE(test, fault.hit);
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			/* Of the table no device can be blamed. */
			for (int i = 0; dlt_failure.error && i < ARRAY_SIZE(all); i++)
				if (!strcmp(dlt_failed(), all[i]->id))
					*seen |= BIT(i);
			if (dlt_failure.error)
				KUNIT_EXPECT_EQ(test, dlt_failure.error, -ENOMEM);
		} else {
			KUNIT_EXPECT_EQ(test, dlt_failure.error, 0);
			KUNIT_EXPECT_EQ(test, dlt_nr_calls(" bus-prepare:"), 2);
			dlt_do_cancel();
		}
		KUNIT_EXPECT_EQ(test, dlt_nr_calls(" bus-prepare:"),
				dlt_nr_calls(" bus-cancel:"));
		KUNIT_EXPECT_EQ(test, dlt_nr_calls(" prepare:"),
				dlt_nr_calls(" cancel:"));
		KUNIT_EXPECT_EQ(test, dlt_nr_calls(" path-on:"),
				dlt_nr_calls(" path-off:"));
		dlt_expect_idle(test);
		for (int i = 0; i < ARRAY_SIZE(all); i++)
			dlt_expect_counts(test, all[i], counts[i]);
	}
	dlt_clear_log();
}

static void dlt_fault_prepare_test(struct kunit *test)
{
	struct dlt_chain chain;
	unsigned long seen = 0;

	liveupdate_fault_require(test);
	chain = dlt_make_chain(test);
	chain.b->blob = true;
	/* So that it is the bridge of which nothing is known when the first one fails. */
	dlt_request(test, chain.a);
	KUNIT_ASSERT_EQ(test, 0, dlu_request(&chain.a->dev, false));
	dlt_request(test, chain.b);
	dlt_fault_prepare(test, &chain, &seen);
	/* What is known of a device is kept: the second time it is there already. */
	dlt_fault_prepare(test, &chain, &seen);
	/* The bridge has nothing to save: it was not possible to take note of it. */
	KUNIT_EXPECT_EQ(test, seen, 7);
}

static void dlt_fault_freeze_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dlt_chain chain;
	int err;

	liveupdate_fault_require(test);
	chain = dlt_make_chain(test);
	dlt_request(test, chain.b);
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, dlt_do_prepare());

		liveupdate_fault_begin(&fault);
		err = dlt_do_freeze();
		dlt_do_thaw();
		dlt_do_cancel();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, err, 0);
		dlt_expect_idle(test);
		dlt_clear_log();
	}
}

static unsigned int dlt_nr_freed(void)
{
	struct dlt_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &dlt->memory, list)
		nr += memory->freed;

	return nr;
}

static void dlt_fault_restore_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	dlt_jump_chain(test);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dlt_do_restore();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, dlt_nr_freed(), 0);
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_FALSE(test, dlu_incoming.pending);
			KUNIT_EXPECT_NULL(test, dlu_incoming.records);
			KUNIT_EXPECT_NULL(test, dlu_incoming.buckets);
			KUNIT_EXPECT_NULL(test, dlu_incoming.states);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_states, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
			failed++;
			KUNIT_ASSERT_EQ(test, 0, dlt_do_restore());
		}
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 3);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
		KUNIT_EXPECT_TRUE(test, dlu_incoming.pending);
		dlt_unboot();
	}
	/* Head and block of the table, records, buckets, and a bit for each record. */
	KUNIT_EXPECT_GE(test, failed, 5);
}

/* Expects that everything that was handed over is freed, and nobody waits for it. */
static void dlt_expect_disposed(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, dlt_nr_freed(), list_count_nodes(&dlt->memory));
	KUNIT_EXPECT_EQ(test, dlt->rogue, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	KUNIT_EXPECT_NULL(test, dlu_incoming.buckets);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
}

/*
 * A device that was handed over appears and is probed: the driver core itself needs
 * memory for it. Either it does not appear, and does so later; or it is taken over;
 * or it is quiesced once, and is an ordinary device after finish.
 */
static void dlt_fault_appear_test(struct kunit *test)
{
	unsigned int absent = 0, reclaimed = 0, quarantined = 0;
	struct liveupdate_fault fault = {};
	struct dlt_device *a;
	int err;

	liveupdate_fault_require(test);
	dlt_jump_one(test, DLT_ONE);
	while (liveupdate_fault_next(test, &fault)) {
		a = dlt_new(test, "a", NULL);

		liveupdate_fault_begin(&fault);
		err = device_add(&a->dev);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			dlt_expect(test, "");
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
			KUNIT_EXPECT_EQ(test, dlt_nr_freed(), 0);
			absent++;
			dlt_add(test, a);
		}
		a->gone = false;

		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
		if (!dlu_of(&a->dev)) {
			/* Nothing could be noted of it. */
			KUNIT_EXPECT_EQ(test, dlt_nr_calls(" quarantine:a blob:a"), 1);
		} else if (dlt_nr_calls(" quarantine:a")) {
			dlt_expect_state(test, 0, QUARANTINED);
			KUNIT_EXPECT_NULL(test, a->dev.driver);
			KUNIT_EXPECT_EQ(test, dlt_nr_freed(), 0);
			quarantined++;
		} else {
			dlt_expect_state(test, 0, RECLAIMED);
			KUNIT_EXPECT_EQ(test, dlt_nr_calls(" retrieve:a"), 1);
			reclaimed++;
		}
		KUNIT_EXPECT_LE(test, dlt_nr_calls(" quarantine:a"), 1);

		dlt_do_finish();
		dlt_expect_disposed(test);
		dlt_clear_log();
		dlt_del(a);
		dlt_unboot();
		dlt_boot(test);
	}
	KUNIT_EXPECT_GT(test, absent, 0);
	KUNIT_EXPECT_GT(test, reclaimed, 0);
	KUNIT_EXPECT_GT(test, quarantined, 0);
}

/* No memory to note anything of a device that appears: it is quiesced at once. */
static void dlt_fault_note_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dlt_device *a;
	int err;

	liveupdate_fault_require(test);
	dlt_jump_one(test, DLT_ONE);
	a = dlt_new(test, "a", NULL);
	a->fail = "note";
	err = device_add(&a->dev);
	liveupdate_fault_end(&fault);
	a->gone = false;

	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, fault.hit);
	KUNIT_EXPECT_NULL(test, dlu_of(&a->dev));
	KUNIT_EXPECT_EQ(test, dlt_nr_calls(" quarantine:a blob:a"), 1);
	KUNIT_EXPECT_EQ(test, dlt_nr_calls(" retrieve:a"), 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);

	dlt_do_finish();
	dlt_expect_disposed(test);
}

static void dlt_fault_finish_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};

	liveupdate_fault_require(test);
	dlt_jump_chain(test);
	while (liveupdate_fault_next(test, &fault)) {
		dlt_boot(test);
		dlt_make_chain(test);
		dlt_clear_log();

		liveupdate_fault_begin(&fault);
		dlu_finish(&dlt_subsystem, &dlt->handed);
		liveupdate_fault_end(&fault);

		dlu_flush();
		dlt_expect(test, " finish:b finish:a blob:a");
		dlt_expect_disposed(test);
		dlt_del_all();
		dlt_unboot();
	}
}

static struct kunit_case dlt_fault_cases[] = {
	KUNIT_CASE(dlt_fault_request_test),
	KUNIT_CASE(dlt_fault_prepare_test),
	KUNIT_CASE(dlt_fault_freeze_test),
	KUNIT_CASE(dlt_fault_restore_test),
	KUNIT_CASE_SLOW(dlt_fault_appear_test),
	KUNIT_CASE(dlt_fault_note_test),
	KUNIT_CASE(dlt_fault_finish_test),
	{}
};

static struct kunit_suite dlt_fault_suite = {
	.name = "device-liveupdate-faults",
	.suite_init = dlt_suite_init,
	.suite_exit = dlt_suite_exit,
	.init = dlt_init,
	.exit = dlt_exit,
	.test_cases = dlt_fault_cases,
};

kunit_test_suite(dlt_fault_suite);
