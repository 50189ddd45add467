// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: DMA buffers in the next kernel
 *
 * A driver retrieves the buffers of its device and of no other one, and FINISH frees
 * or retains what nobody retrieved.
 */

#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

static void dmt_retrieve_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->b, 2 * PAGE_SIZE, 2);
	dmt_cross(test);

	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 2));
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve(dmt->b.dev, 2 * PAGE_SIZE, 1));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_retrieve(dmt->a.dev, PAGE_SIZE, 1));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_retrieve(dmt->a.dev, 3 * PAGE_SIZE, 1));
	dmt->a.incoming = false;
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt->a.incoming = true;
	dmt_folio_of(0)->lost = true;
	dmt_expect_error(test, -EBADMSG,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt_folio_of(0)->lost = false;
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);

	/* The driver has something else of that name. */
	buffer = dmt_alloc(test, &dmt->a, 1, 1);
	dmt_expect_error(test, -EEXIST,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dma_liveupdate_free(buffer);

	dmt_retrieve(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_expect_error(test, -EBUSY,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 1));
	dmt_expect_error(test, -EEXIST, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt_finish();
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve(dmt->b.dev, 2 * PAGE_SIZE, 2));
}

/* Tags are those of a device, wherever the hash puts them. */
static void dmt_same_tag_test(struct kunit *test)
{
	for (u32 tag = 0; tag < 16; tag++) {
		dmt_make(test, &dmt->a, PAGE_SIZE, tag);
		dmt_make(test, &dmt->b, 2 * PAGE_SIZE, tag);
		dmt_cross(test);
		KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
		dmt_retrieve(test, &dmt->a, PAGE_SIZE, tag);
		dmt_retrieve(test, &dmt->b, 2 * PAGE_SIZE, tag);
		dmt_finish();
		dmt_free_all();
	}
}

/* Buffers of two devices in the same bucket. */
static void dmt_collision_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *other = dmt_alloc(test, &dmt->b, 1, 1);
	struct dma_liveupdate_buffer *buffer;
	const char *reason = "";

	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		hash_del(&other->node);
		hash_add(dma_liveupdate_layer.buffers, &other->node,
			 (unsigned long)dmt->a.dev);
	}
	buffer = dma_liveupdate_alloc(dmt->a.dev, 1, 1);
	KUNIT_EXPECT_FALSE(test, IS_ERR(buffer));
	if (!IS_ERR(buffer)) {
		dmt->a.in_set = true;
		KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
	}
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_ASSERT_FALSE(test, IS_ERR(buffer));

	/* The same for those with a tag, where it is alone after this. */
	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		hash_del(&other->named);
		hlist_add_before(&other->named, &buffer->named);
	}
	dma_liveupdate_free(buffer);
	buffer = dma_liveupdate_alloc(dmt->a.dev, 1, 1);
	KUNIT_EXPECT_FALSE(test, IS_ERR(buffer));
	/* Nobody else finds it there. */
	dma_liveupdate_free(other);
}

/* The address that the device uses is not that of the memory. */
static void dmt_retrieve_address_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	dmt_ser(0)->dma += PAGE_SIZE;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
	dmt_unboot();

	/* Neither is memory that was not handed over. */
	dmt_ser(0)->phys += PAGE_SIZE;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_expect_error(test, -EBADMSG, dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
}

/* A probe that fails frees what it retrieved while the device still runs. */
static void dmt_defer_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	void *address;

	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);

	buffer = dmt_retrieve(test, &dmt->a, 1, 1);
	address = buffer->address;
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, false);

	buffer = dmt_retrieve(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, buffer->address, address);
	dmt_expect_freed(test, 0, false);
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, false);

	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, true);
}

/* After FINISH it is a buffer like any other. */
static void dmt_free_retrieved_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 4 * PAGE_SIZE, 1);
	dmt_cross(test);
	buffer = dmt_retrieve(test, &dmt->a, 4 * PAGE_SIZE, 1);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, true);
}

/* FINISH. */

static void dmt_finish_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->a, 4 * PAGE_SIZE, 2);
	dmt_make(test, &dmt->b, 1, 3);
	dmt_make(test, &dmt->b, 1, 4);
	dmt_make(test, &dmt->b, 1, 5);
	dmt_cross(test);

	buffer = dmt_retrieve(test, &dmt->a, 1, 0);
	dma_liveupdate_free(dmt_retrieve(test, &dmt->a, 2 * PAGE_SIZE, 1));
	dmt_retrieve(test, &dmt->b, 1, 3);
	dma_liveupdate_free(dmt_retrieve(test, &dmt->b, 1, 4));

	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	/* Retrieved; freed; never retrieved. */
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_freed(test, 2, true);
	/* The same for a device that may still run, maybe with a driver. */
	dmt_expect_freed(test, 3, false);
	dmt_expect_freed(test, 4, true);
	dmt_expect_freed(test, 5, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(5)->restored);
	dmt_expect_retained(test, "dma");
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->b.dev, 1, 5));

	dma_liveupdate_free(buffer);
	dmt_expect_freed(test, 0, true);
	dmt_expect_freed(test, 5, false);

	/* An operator knows that nothing accesses it. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_forget_retained(&dmt_subsystem, ""));
	dmt_expect_freed(test, 5, true);
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 0);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			dma_liveupdate_forget_retained(&dmt_subsystem, ""));
}

/* What belongs to a device that has not appeared is retained with the device. */
static void dmt_finish_absent_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->b, 1, 1);
	dmt_cross(test);
	dmt->a.state = DEVICE_LIVEUPDATE_ABSENT;
	dmt->b.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
}

/* A probe that failed gave its buffer back, and the device goes on. */
static void dmt_finish_running_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->b, 1, 1);
	dmt_cross(test);
	dma_liveupdate_free(dmt_retrieve(test, &dmt->a, 1, 0));
	dma_liveupdate_free(dmt_retrieve(test, &dmt->b, 1, 1));
	dmt->a.state = DEVICE_LIVEUPDATE_RUNNING;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_retained(test, "dma");
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_forget_retained(&dmt_subsystem, ""));
	dmt_expect_freed(test, 0, true);
}

static struct dma_liveupdate_buffer *dmt_retrieve_for(u32 tag)
{
	return dma_liveupdate_retrieve_for(dmt->a.dev, dmt->b.dev, 1, tag);
}

/* Memory of one device is taken over for another one below it, which fails afterwards. */
static void dmt_consumer_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	dmt_make(test, &dmt->a, 1, 0);
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	/* "a" was taken over, so that it cannot be asked for as being probed. */
	dmt->a.incoming = false;
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve_for(dmt->b.dev, dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT, dmt_retrieve_for(2));
	buffer = dmt_retrieve_for(0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);
	KUNIT_EXPECT_PTR_EQ(test, buffer->dev, dmt->a.dev);
	dmt_expect_error(test, -EBUSY, dmt_retrieve_for(0));
	dma_liveupdate_free(buffer);
	/* The other one is for a device that was not handed over. */
	dmt->b.incoming = false;
	buffer = dmt_retrieve_for(1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, buffer);
	dma_liveupdate_free(buffer);
	dmt->b.state = DEVICE_LIVEUPDATE_RUNNING;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, true);
	dmt_expect_retained(test, "dma");
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_forget_retained(&dmt_subsystem, ""));
	dmt_expect_freed(test, 0, true);
}

/* Memory that did not arrive is not freed either. */
static void dmt_finish_lost_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_folio_of(0)->lost = true;
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
}

static void dmt_discard_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_discard(&dmt_subsystem, &dmt->handed));
	dmt_table()->checksum++;
	KUNIT_EXPECT_EQ(test, -EBADMSG,
			dma_liveupdate_discard(&dmt_subsystem, &dmt->handed));
	dmt_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
	dmt_expect_freed(test, 0, false);
}

static struct kunit_case dmt_retrieve_cases[] = {
	KUNIT_CASE(dmt_retrieve_test),
	KUNIT_CASE(dmt_same_tag_test),
	KUNIT_CASE(dmt_collision_test),
	KUNIT_CASE(dmt_retrieve_address_test),
	KUNIT_CASE(dmt_defer_test),
	KUNIT_CASE(dmt_free_retrieved_test),
	KUNIT_CASE(dmt_finish_test),
	KUNIT_CASE(dmt_finish_absent_test),
	KUNIT_CASE(dmt_finish_running_test),
	KUNIT_CASE(dmt_consumer_test),
	KUNIT_CASE(dmt_finish_lost_test),
	KUNIT_CASE(dmt_discard_test),
	{}
};

static struct kunit_suite dmt_retrieve_suite = {
	.name = "dma-liveupdate-retrieve",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_retrieve_cases,
};

kunit_test_suite(dmt_retrieve_suite);
