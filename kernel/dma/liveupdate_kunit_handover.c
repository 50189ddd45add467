// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The table of DMA buffers
 *
 * What is preserved and written down in the outgoing kernel, and that the next kernel
 * reads it as it was: no bit may be wrong, no field lead elsewhere, and no memory be that
 * of two buffers.
 */

#include <linux/device.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "liveupdate_kunit.h"

/* The outgoing kernel. */

static void dmt_preserve_test(struct kunit *test)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *one = dmt_alloc(test, &dmt->a, 1, 1);
	struct dma_liveupdate_buffer *two = dmt_alloc(test, &dmt->a, 1, 2);

	KUNIT_EXPECT_EQ(test, -ENOENT, dma_liveupdate_preserve(one));
	dmt->a.in_set = true;
	dmt->keep_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, -ENOMEM, dma_liveupdate_preserve(one));
	dmt->keep_error = 0;
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 0);

	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 1);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	dma_liveupdate_unpreserve(two);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	dma_liveupdate_unpreserve(one);
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, layer->nr_preserved, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);

	/* From PREPARE to CANCEL the table is closed. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(two));
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);

	/* After CANCEL nothing breaks any more. */
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_FALSE(test, layer->invalid);
	dma_liveupdate_free(two);
	KUNIT_EXPECT_FALSE(test, layer->invalid);
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 0);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
}

static void dmt_nothing_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 1, 1);

	dmt->a.in_set = true;
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, dmt->data.size, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(buffer));
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
	dmt_finish();
	dma_liveupdate_discard(&dmt_subsystem, &dmt->handed);
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
}

/* What becomes of buffers that a driver forgets to unpreserve. */
static void dmt_stale_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->b, 1, 2);
	dmt->a.in_set = false;
	dmt->b.index = 3;
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_preserved, 1);
	KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dmt_jump(test);
	KUNIT_EXPECT_EQ(test, dmt_table()->nr_records, 1);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->device, 3);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->tag, 2);
}

/* A buffer is taken out after the table was written, and the kexec comes anyway. */
static void dmt_invalid_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one = dmt_make(test, &dmt->a, 1, 1);
	struct dma_liveupdate_buffer *two = dmt_make(test, &dmt->b, 1, 2);

	dmt_make(test, &dmt->b, 1, 3);
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);
	KUNIT_EXPECT_EQ(test, -ENODEV, dmt_freeze());
	/* That is for the device layer to deal with. */
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 0);
	/* It cannot come back. */
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_preserve(one));
	dmt_cancel();
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());

	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(one));
	KUNIT_EXPECT_EQ(test, 0, dmt_prepare());
	KUNIT_EXPECT_EQ(test, 0, dmt_freeze());
	dma_liveupdate_free(two);
	KUNIT_EXPECT_EQ(test, dmt->kept, 2);
	KUNIT_EXPECT_EQ(test, -ENODEV, dmt_freeze());
	KUNIT_EXPECT_EQ(test, dmt->nr_invalid, 1);

	dmt_jump(test);
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 3);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->b.dev, 1, 2));
	dmt_retrieve(test, &dmt->b, 1, 3);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt->b.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
}

/* Hand-over. */

static void dmt_round_trip_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one = dmt_make(test, &dmt->a, 3 * PAGE_SIZE,
						     U32_MAX);
	struct dma_liveupdate_buffer *two = dmt_make(test, &dmt->b, 1, 0);
	phys_addr_t phys = virt_to_phys(one->address);
	dma_addr_t dma = one->dma;
	void *address = two->address;

	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, 2);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	KUNIT_EXPECT_STREQ(test, dmt_table()->compatible, "luo-dma-v1");
	KUNIT_EXPECT_EQ(test, dmt_table()->record_size, 32);
	KUNIT_EXPECT_EQ(test, dmt_table()->nr_records, 2);
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
	for (u32 i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, dmt_ser(i)->reserved, 0);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->phys, phys);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->dma, dma);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->order, 2);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->device, 7);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->tag, U32_MAX);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->order, 0);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->device, 9);
	KUNIT_EXPECT_EQ(test, dmt_ser(1)->tag, 0);

	one = dmt_retrieve(test, &dmt->a, 4 * PAGE_SIZE, U32_MAX);
	KUNIT_EXPECT_EQ(test, virt_to_phys(one->address), phys);
	KUNIT_EXPECT_EQ(test, one->dma, dma);
	KUNIT_EXPECT_EQ(test, one->size, 4 * PAGE_SIZE);
	two = dmt_retrieve(test, &dmt->b, 1, 0);
	KUNIT_EXPECT_PTR_EQ(test, two->address, address);
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 2);
	KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
}

static void dmt_generations_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 5);
	for (u32 i = 0; i < 3; i++) {
		struct dma_liveupdate_buffer *buffer;
		u32 *words;

		dmt_cross(test);
		buffer = dmt_retrieve(test, &dmt->a, 2 * PAGE_SIZE, 5);
		dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
		dmt_finish();
		dmt_expect_freed(test, 0, false);

		words = buffer->address;
		KUNIT_EXPECT_EQ(test, words[1], i);
		words[1] = i + 1;
		dmt->a.incoming = false;
		dmt->a.in_set = true;
		KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(buffer));
		KUNIT_EXPECT_EQ(test, dmt->kept, 1);
	}
	dmt_free_all();
	dmt_expect_freed(test, 0, true);
}

/* Records in more than one block, one of which is missing. */
static void dmt_many_test(struct kunit *test)
{
	const unsigned int nr = 2 * DMT_PER_BLOCK + 3;
	void *block;

	for (unsigned int i = 0; i < nr; i++)
		dmt_make(test, i % 2 ? &dmt->a : &dmt->b, 1, i);
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_incoming, nr);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 0);
	/* Three blocks and the head. */
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 4);
	dmt_unboot();

	/* It is in order, but was not handed over. */
	block = kunit_kmalloc(test, KHO_BLOCK_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, block);
	memcpy(block, dmt_block(2), KHO_BLOCK_SIZE);
	dmt_table()->blocks[2].phys = virt_to_phys(block);
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 3);
	for (unsigned int i = 0; i < nr; i++) {
		struct dmt_device *dmt_dev = i % 2 ? &dmt->a : &dmt->b;

		if (i < nr - 3)
			dmt_retrieve(test, dmt_dev, 1, i);
		else
			dmt_expect_error(test, -ENOENT,
					 dma_liveupdate_retrieve(dmt_dev->dev, 1, i));
	}
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt->b.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	/* The others, and the head. */
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 3);
	/* It is not known where it is. */
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(nr - 1)->restored);
}

/* A block that is corrupted: nothing in it is used, and all else is. */
static void dmt_corrupted_test(struct kunit *test)
{
	const unsigned int nr = DMT_PER_BLOCK + 1;

	for (unsigned int i = 0; i < nr; i++)
		dmt_make(test, &dmt->a, 1, i);
	dmt_cross(test);
	dmt_unboot();
	dmt_block(0)->next++;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, DMT_PER_BLOCK);
	for (unsigned int i = 0; i < DMT_PER_BLOCK; i++)
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_retrieve(dmt->a.dev, 1, i));
	dmt_retrieve(test, &dmt->a, 1, nr - 1);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 3);
	for (unsigned int i = 0; i < DMT_PER_BLOCK; i++)
		KUNIT_EXPECT_FALSE(test, dmt_folio_of(i)->restored);
}

/* The record of a buffer leads to the table itself. */
static void dmt_own_table_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_find_memory(dmt->handed.value)->freed = true;
	dmt_finish();
	/* It belongs to whoever took it. */
	KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 2);
	KUNIT_EXPECT_EQ(test, dmt->rogue, 0);
}

/* No bit of a record may be wrong. */
static void dmt_flip_record_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt_cross(test);

	for (unsigned int bit = 0; bit < 8 * DMT_RECORD; bit++) {
		u8 *byte = (u8 *)dmt_ser(0) + bit / 8;

		dmt_unboot();
		*byte ^= BIT(bit % 8);
		KUNIT_EXPECT_EQ(test, 0, dmt_restore());
		KUNIT_EXPECT_EQ_MSG(test, dma_liveupdate_layer.nr_lost, 2,
				    "bit %u", bit);
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
		dmt_expect_error(test, -ENOENT,
				 dma_liveupdate_retrieve(dmt->a.dev, 1, 2));
		*byte ^= BIT(bit % 8);
	}
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	dmt_expect_freed(test, 1, false);
}

static void dmt_flip_table_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);

	for (unsigned int bit = 0; bit < 8 * dmt->handed.size; bit++) {
		u8 *byte = (u8 *)dmt_table() + bit / 8;

		dmt_unboot();
		*byte ^= BIT(bit % 8);
		KUNIT_EXPECT_LT_MSG(test, dmt_restore(), 0, "bit %u", bit);
		KUNIT_EXPECT_NULL(test, dma_liveupdate_layer.incoming);
		KUNIT_EXPECT_EQ(test, dmt_nr_freed(), 0);
		*byte ^= BIT(bit % 8);
	}
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
	/* Nothing was read: nothing is freed. */
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);

	dmt_table()->nr_records = DMA_LIVEUPDATE_MAX + 1;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, -EINVAL, dmt_restore());
	dmt_table()->nr_records = 1;
	dmt_seal();
	dmt->handed.size--;
	KUNIT_EXPECT_EQ(test, -EINVAL, dmt_restore());
	dmt->handed.size++;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_retrieve(test, &dmt->a, 1, 1);
	dmt_finish();
}

/**
 * struct dmt_field - a record with a right checksum and a wrong field
 * @about: name of the case.
 * @corruption: makes it wrong.
 */
struct dmt_field {
	const char *about;
	void (*corruption)(struct dma_liveupdate_ser *ser);
};

static void dmt_corruption_order(struct dma_liveupdate_ser *ser)
{
	/* Aligned to any size. */
	ser->phys = 0;
	ser->order = MAX_PAGE_ORDER + 1;
}

static void dmt_corruption_order_max(struct dma_liveupdate_ser *ser)
{
	ser->order = U32_MAX;
}

static void dmt_corruption_phys(struct dma_liveupdate_ser *ser)
{
	ser->phys++;
}

static void dmt_corruption_phys_page(struct dma_liveupdate_ser *ser)
{
	ser->phys += PAGE_SIZE;
}

static void dmt_corruption_device(struct dma_liveupdate_ser *ser)
{
	ser->device = DEVICE_LIVEUPDATE_MAX;
}

static void dmt_corruption_reserved(struct dma_liveupdate_ser *ser)
{
	ser->reserved = 1;
}

static const struct dmt_field dmt_fields[] = {
	{ "order", dmt_corruption_order },
	{ "greatest order", dmt_corruption_order_max },
	{ "address of a byte", dmt_corruption_phys },
	{ "address of a page", dmt_corruption_phys_page },
	{ "device", dmt_corruption_device },
	{ "reserved", dmt_corruption_reserved },
};

static void dmt_field_desc(const struct dmt_field *field, char *desc)
{
	strscpy(desc, field->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_field, dmt_fields, dmt_field_desc);

static void dmt_field_test(struct kunit *test)
{
	const struct dmt_field *field = test->param_value;

	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt_make(test, &dmt->a, 2 * PAGE_SIZE, 2);
	KUNIT_ASSERT_EQ(test, 0, dmt_prepare());
	dmt_jump(test);
	field->corruption(dmt_ser(1));
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 1);
	dmt_expect_error(test, -ENOENT,
			 dma_liveupdate_retrieve(dmt->a.dev, 2 * PAGE_SIZE, 2));
	dmt_retrieve(test, &dmt->a, 2 * PAGE_SIZE, 1);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(1)->restored);
}

/* Several records for one buffer: none can be relied on. */
static void dmt_twins_test(struct kunit *test)
{
	for (u32 tag = 0; tag < 4; tag++)
		dmt_make(test, &dmt->a, 1, tag);
	dmt_cross(test);
	dmt_unboot();

	dmt_ser(1)->tag = 0;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 2);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
	dmt_unboot();

	dmt_ser(2)->tag = 0;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 3);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 0));
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 2));
	dmt_retrieve(test, &dmt->a, 1, 3);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	for (unsigned int i = 0; i < 3; i++)
		KUNIT_EXPECT_FALSE(test, dmt_folio_of(i)->restored);
}

/* Two records for the same memory: it is taken over once. */
static void dmt_same_memory_test(struct kunit *test)
{
	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt_cross(test);
	dmt_unboot();
	dmt_ser(1)->phys = dmt_ser(0)->phys;
	dmt_ser(1)->dma = dmt_ser(0)->dma;
	dmt_seal();
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	dmt_retrieve(test, &dmt->a, 1, 1);
	dmt_expect_error(test, -EBADMSG, dma_liveupdate_retrieve(dmt->a.dev, 1, 2));
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
	dmt_expect_freed(test, 0, false);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(1)->restored);
}

static struct kunit_case dmt_handover_cases[] = {
	KUNIT_CASE(dmt_preserve_test),
	KUNIT_CASE(dmt_nothing_test),
	KUNIT_CASE(dmt_stale_test),
	KUNIT_CASE(dmt_invalid_test),
	KUNIT_CASE(dmt_round_trip_test),
	KUNIT_CASE(dmt_generations_test),
	KUNIT_CASE(dmt_many_test),
	KUNIT_CASE(dmt_corrupted_test),
	KUNIT_CASE(dmt_own_table_test),
	KUNIT_CASE(dmt_flip_record_test),
	KUNIT_CASE(dmt_flip_table_test),
	KUNIT_CASE_PARAM(dmt_field_test, dmt_field_gen_params),
	KUNIT_CASE(dmt_twins_test),
	KUNIT_CASE(dmt_same_memory_test),
	{}
};

static struct kunit_suite dmt_handover_suite = {
	.name = "dma-liveupdate-handover",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_handover_cases,
};

kunit_test_suite(dmt_handover_suite);
