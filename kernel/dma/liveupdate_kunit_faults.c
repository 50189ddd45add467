// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: DMA buffers without memory
 *
 * Each allocation fails once in every transition: all is undone, and no buffer is lost or freed
 * while a device may use it.
 */

#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/liveupdate/fault.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* How often it could not be done. */
static unsigned int dmt_fault_alloc(struct kunit *test)
{
	unsigned int references = kref_read(&dmt->a.dev->kobj.kref);
	struct liveupdate_fault fault = {};
	struct dma_liveupdate_buffer *buffer;
	unsigned int failed = 0;

	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		buffer = dma_liveupdate_alloc(dmt->a.dev, 2 * PAGE_SIZE, 1);
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_NOT_NULL(test, buffer);
		if (IS_ERR(buffer)) {
			dmt_expect_error(test, -ENOMEM, buffer);
			failed++;
		}
		dma_liveupdate_free(buffer);
		KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->a.dev));
		KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), references);
	}

	return failed;
}

static void dmt_fault_alloc_test(struct kunit *test)
{
	liveupdate_fault_require(test);
	KUNIT_EXPECT_GE(test, dmt_fault_alloc(test), 1);

	/* It cannot do without memory of the last zone that it looks into. */
	dmt->a.dma_mask = DMA_BIT_MASK(IS_ENABLED(CONFIG_ZONE_DMA) ? 24 : 32);
	dmt->a.dev->coherent_dma_mask = dmt->a.dma_mask;
	KUNIT_EXPECT_GE(test, dmt_fault_alloc(test), 2);
}

static void dmt_fault_prepare_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *a, *b;
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	a = dmt_make(test, &dmt->a, 1, 1);
	b = dmt_make(test, &dmt->b, 2 * PAGE_SIZE, 1);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dmt_prepare();
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			failed++;
		} else {
			KUNIT_EXPECT_TRUE(test, layer->closed);
			KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
			dmt_cancel();
		}
		/* Devices are cancelled next, and unpreserve them. */
		KUNIT_EXPECT_FALSE(test, layer->closed);
		KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
		KUNIT_EXPECT_EQ(test, layer->nr_preserved, 2);
		KUNIT_EXPECT_EQ(test, dmt->kept, 2);
		KUNIT_EXPECT_EQ(test, a->record, 0);
		KUNIT_EXPECT_EQ(test, b->record, 0);
		KUNIT_EXPECT_NULL(test, layer->table.head);
	}
	/* The table, the block of records, and what leads to that. */
	KUNIT_EXPECT_GE(test, failed, 3);
}

static void dmt_fault_restore_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dmt_restore();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
		dmt_expect_freed(test, 0, false);
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_NULL(test, layer->incoming);
			KUNIT_EXPECT_NULL(test, layer->buckets);
			KUNIT_EXPECT_EQ(test, layer->nr_incoming, 0);
			KUNIT_EXPECT_EQ(test, layer->nr_lost, 0);
			failed++;
			/* Nobody gets a buffer, so that probe() fails. */
			dmt_expect_error(test, -ENOENT,
					 dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
			KUNIT_ASSERT_EQ(test, 0, dmt_restore());
		}
		dma_liveupdate_free(dmt_retrieve(test, &dmt->a, 1, 1));
		dmt_folio_of(0)->restored = false;
		dmt_unboot();
	}
	/* Head and block of the table, records, and buckets. */
	KUNIT_EXPECT_GE(test, failed, 4);
}

static void dmt_fault_retrieve_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dma_liveupdate_buffer *buffer;
	unsigned int failed = 0, references;

	liveupdate_fault_require(test);
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	references = kref_read(&dmt->a.dev->kobj.kref);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		buffer = dma_liveupdate_retrieve(dmt->a.dev, 1, 1);
		liveupdate_fault_end(&fault);

		if (IS_ERR(buffer)) {
			dmt_expect_error(test, -ENOMEM, buffer);
			KUNIT_EXPECT_NULL(test, dmt_any_buffer(dmt->a.dev));
			failed++;
			buffer = dmt_retrieve(test, &dmt->a, 1, 1);
		}
		KUNIT_EXPECT_EQ(test, *(u32 *)buffer->address, ~1U);
		dma_liveupdate_free(buffer);
		/* It is kept until FINISH. */
		dmt_expect_freed(test, 0, false);
		KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), references);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
	dmt_finish();
	dmt_expect_freed(test, 0, true);
}

static void dmt_fault_finish_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct liveupdate_fault fault = {};

	liveupdate_fault_require(test);
	while (liveupdate_fault_next(test, &fault)) {
		dmt_make(test, &dmt->a, 1, 1);
		dmt_make(test, &dmt->b, 1, 1);
		dmt_cross(test);
		dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;

		liveupdate_fault_begin(&fault);
		dmt_finish();
		liveupdate_fault_end(&fault);

		dmt->a.state = DEVICE_LIVEUPDATE_RECLAIMED;
		/* Retaining does not fail. */
		dmt_expect_retained(test, "dma");
		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), list_count_nodes(&dmt->memory));
		dmt_expect_freed(test, 2 * (fault.nth - 1), true);
		dmt_expect_freed(test, 2 * (fault.nth - 1) + 1, false);
		scoped_guard(mutex, &layer->lock)
			dma_liveupdate_forget();
	}
}

static struct kunit_case dmt_fault_cases[] = {
	KUNIT_CASE(dmt_fault_alloc_test),
	KUNIT_CASE(dmt_fault_prepare_test),
	KUNIT_CASE(dmt_fault_restore_test),
	KUNIT_CASE(dmt_fault_retrieve_test),
	KUNIT_CASE(dmt_fault_finish_test),
	{}
};

static struct kunit_suite dmt_fault_suite = {
	.name = "dma-liveupdate-faults",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_fault_cases,
};

kunit_test_suite(dmt_fault_suite);
