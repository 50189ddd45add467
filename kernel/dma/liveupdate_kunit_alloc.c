// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Which buffers a device can have, and what it can reach
 *
 * Buffers of all sizes and masks, where they may lie, for which devices there are none,
 * and how it is found that a device can reach memory that is not preserved.
 */

#include <kunit/static_stub.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swiotlb.h>

#include "liveupdate_kunit.h"

/**
 * struct dmt_mask - what a device can reach
 * @about: name of the case.
 * @coherent: bits of its coherent mask.
 * @streaming: bits of its streaming mask.
 * @bus: bits of the limit of its bus, 0 for none.
 * @bits: number of bits that count.
 * @error: error.
 */
struct dmt_mask {
	const char *about;
	unsigned int coherent;
	unsigned int streaming;
	unsigned int bus;
	unsigned int bits;
	int error;
};

static const struct dmt_mask dmt_masks[] = {
	{ "everything", 64, 64, 0, 64 },
	{ "coherent mask", 32, 64, 0, 32 },
	{ "streaming mask", 64, 32, 0, 32 },
	{ "bus", 64, 64, 32, 32 },
	{ "wider bus", 32, 32, 48, 32 },
	{ "coherent mask too small", 12, 64, 0, 12, -ENOMEM },
	{ "streaming mask too small", 64, 12, 0, 12, -ENOMEM },
	{ "bus too small", 64, 64, 12, 12, -ENOMEM },
};

static void dmt_mask_desc(const struct dmt_mask *mask, char *desc)
{
	strscpy(desc, mask->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_mask, dmt_masks, dmt_mask_desc);

static void dmt_set_masks(struct dmt_device *dmt_dev, const struct dmt_mask *mask)
{
	dmt_dev->dev->coherent_dma_mask = DMA_BIT_MASK(mask->coherent);
	dmt_dev->dma_mask = DMA_BIT_MASK(mask->streaming);
	dmt_dev->dev->bus_dma_limit = mask->bus ? DMA_BIT_MASK(mask->bus) : 0;
}

static void dmt_mask_test(struct kunit *test)
{
	static const struct dmt_mask everything = { "", 64, 64, 0, 64 };
	const struct dmt_mask *mask = test->param_value;
	struct dma_liveupdate_buffer *buffer;

	dmt_set_masks(&dmt->a, mask);
	buffer = dma_liveupdate_alloc(dmt->a.dev, 3 * PAGE_SIZE, 1);
	dmt_expect_error(test, mask->error, buffer);
	if (!mask->error) {
		KUNIT_EXPECT_EQ(test, buffer->size, 4 * PAGE_SIZE);
		KUNIT_EXPECT_LE(test, buffer->dma + buffer->size - 1,
				DMA_BIT_MASK(mask->bits));
	}

	/* The next kernel may see it in another way. */
	dmt_set_masks(&dmt->b, &everything);
	dmt_make(test, &dmt->b, 3 * PAGE_SIZE, 2);
	dmt_cross(test);
	dmt_set_masks(&dmt->b, mask);
	buffer = dma_liveupdate_retrieve(dmt->b.dev, 3 * PAGE_SIZE, 2);
	/* Without a limit at allocation it may be anywhere. */
	if (mask->error || IS_ERR(buffer))
		dmt_expect_error(test, -EADDRNOTAVAIL, buffer);
	dmt_set_masks(&dmt->b, &everything);
	if (IS_ERR(buffer))
		dmt_retrieve(test, &dmt->b, 3 * PAGE_SIZE, 2);
	dmt_finish();
}

static void dmt_size_test(struct kunit *test)
{
	static const struct {
		size_t size;
		size_t rounded;
	} sizes[] = {
		{ 1, PAGE_SIZE },
		{ PAGE_SIZE, PAGE_SIZE },
		{ PAGE_SIZE + 1, 2 * PAGE_SIZE },
		{ 5 * PAGE_SIZE, 8 * PAGE_SIZE },
	};
	struct dma_liveupdate_buffer *buffer;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		buffer = dmt_alloc(test, &dmt->a, sizes[i].size, i);
		KUNIT_EXPECT_EQ(test, buffer->size, sizes[i].rounded);
		KUNIT_EXPECT_EQ(test, buffer->dma,
				phys_to_dma(dmt->a.dev,
					    virt_to_phys(buffer->address)));
	}

	/* Whether there is that much is another matter. */
	buffer = dma_liveupdate_alloc(dmt->a.dev, DMT_MAX, 10);
	if (IS_ERR(buffer))
		dmt_expect_error(test, -ENOMEM, buffer);
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_alloc(dmt->a.dev, DMT_MAX + 1, 11));
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_alloc(dmt->a.dev, SIZE_MAX, 11));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_alloc(dmt->a.dev, 0, 11));
	dmt_expect_error(test, -E2BIG,
			 dma_liveupdate_retrieve(dmt->a.dev, DMT_MAX + 1, 11));
	dmt_expect_error(test, -EINVAL,
			 dma_liveupdate_retrieve(dmt->a.dev, 0, 11));
}

static void dmt_zeroed_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;

	/* Memory that was just freed is what is used first. */
	for (int i = 0; i < 4; i++) {
		buffer = dmt_alloc(test, &dmt->a, 2 * PAGE_SIZE, 1);
		KUNIT_EXPECT_NULL(test, memchr_inv(buffer->address, 0,
						   buffer->size));
		memset(buffer->address, 0xa5, buffer->size);
		dma_liveupdate_free(buffer);
	}
}

/* The next kernel boots in scratch memory. */
static void dmt_scratch_test(struct kunit *test)
{
	dmt->in_scratch = true;
	dmt_expect_error(test, -ENOMEM, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt->in_scratch = false;
	dmt_make(test, &dmt->a, 1, 1);
	dmt_cross(test);
	dmt_unboot();

	dmt->in_scratch = true;
	KUNIT_EXPECT_EQ(test, 0, dmt_restore());
	KUNIT_EXPECT_EQ(test, dma_liveupdate_layer.nr_lost, 1);
	dmt_expect_error(test, -ENOENT, dma_liveupdate_retrieve(dmt->a.dev, 1, 1));
}

static void dmt_tag_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 1, 1);

	dmt_expect_error(test, -EEXIST, dma_liveupdate_alloc(dmt->a.dev, 1, 1));
	dmt_alloc(test, &dmt->a, 1, 2);
	dmt_alloc(test, &dmt->b, 1, 1);
	dma_liveupdate_free(buffer);
	dmt_alloc(test, &dmt->a, 1, 1);
}

static void dmt_references_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer = dmt_alloc(test, &dmt->a, 8192, 1);
	unsigned int nr_dev = kref_read(&dmt->a.dev->kobj.kref);
	struct folio *folio = buffer->folio;

	folio_get(folio);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	dma_liveupdate_free(buffer);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, kref_read(&dmt->a.dev->kobj.kref), nr_dev - 1);
	folio_put(folio);

	dma_liveupdate_free(NULL);
	dma_liveupdate_free(ERR_PTR(-ENOMEM));
	dma_liveupdate_unpreserve(NULL);
	dma_liveupdate_unpreserve(ERR_PTR(-ENOMEM));
}

/**
 * struct dmt_refusal - why a device cannot have buffers
 * @about: name of the case.
 * @reason: what is said.
 * @set: make it so, or undo that. Returns false if there is no such thing here.
 */
struct dmt_refusal {
	const char *about;
	const char *reason;
	bool (*set)(struct dmt_device *dmt_dev, bool on);
};

static bool dmt_no_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dev->dma_mask = on ? NULL : &dmt_dev->dma_mask;

	return true;
}

static bool dmt_empty_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dma_mask = on ? 0 : DMA_BIT_MASK(64);

	return true;
}

static bool dmt_no_coherent_mask(struct dmt_device *dmt_dev, bool on)
{
	dmt_dev->dev->coherent_dma_mask = on ? 0 : DMA_BIT_MASK(64);

	return true;
}

static bool dmt_iommu(struct dmt_device *dmt_dev, bool on)
{
	dev_assign_dma_iommu(dmt_dev->dev, on);

	return IS_ENABLED(CONFIG_IOMMU_DMA);
}

static bool dmt_operations(struct dmt_device *dmt_dev, bool on)
{
	static const struct dma_map_ops ops;

	set_dma_ops(dmt_dev->dev, on ? &ops : NULL);

	return IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS);
}

static bool dmt_not_coherent(struct dmt_device *dmt_dev, bool on)
{
	dev_assign_dma_coherent(dmt_dev->dev, !on);

	return !on || !dev_is_dma_coherent(dmt_dev->dev);
}

#ifdef CONFIG_SWIOTLB
static bool dmt_bounce(struct dmt_device *dmt_dev, bool on)
{
	static struct io_tlb_mem mem = { .force_bounce = true };
	static struct io_tlb_mem *saved;

	if (on)
		saved = dmt_dev->dev->dma_io_tlb_mem;
	dmt_dev->dev->dma_io_tlb_mem = on ? &mem : saved;

	return true;
}
#else
static bool dmt_bounce(struct dmt_device *dmt_dev, bool on)
{
	return false;
}
#endif

static const struct dmt_refusal dmt_refusals[] = {
	{ "no mask", "it has no DMA mask", dmt_no_mask },
	{ "empty mask", "it has no DMA mask", dmt_empty_mask },
	{ "no coherent mask", "it has no DMA mask", dmt_no_coherent_mask },
	{ "iommu", "it is behind an IOMMU", dmt_iommu },
	{ "operations", "its DMA needs special operations", dmt_operations },
	{ "not coherent", "its DMA is not coherent", dmt_not_coherent },
	{ "bounce buffers", "its DMA goes through bounce buffers", dmt_bounce },
};

static void dmt_refusal_desc(const struct dmt_refusal *refusal, char *desc)
{
	strscpy(desc, refusal->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dmt_refusal, dmt_refusals, dmt_refusal_desc);

static void dmt_refusal_test(struct kunit *test)
{
	const struct dmt_refusal *refusal = test->param_value;
	struct dma_liveupdate_buffer *buffer, *other;
	const char *reason = "";
	int err;

	buffer = dmt_alloc(test, &dmt->a, 1, 1);
	*(u32 *)buffer->address = ~1;
	dmt->a.in_set = true;

	/* No assertion in between, for it must be undone. */
	if (!refusal->set(&dmt->a, true)) {
		refusal->set(&dmt->a, false);
		kunit_skip(test, "there is no such thing in this kernel");
	}
	err = dma_liveupdate_preserve(buffer);
	KUNIT_EXPECT_EQ(test, err, -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, dmt->kept, 0);
	other = dma_liveupdate_alloc(dmt->a.dev, 1, 2);
	dmt_expect_error(test, -EOPNOTSUPP, other);
	err = dma_liveupdate_check_device(dmt->a.dev, &reason);
	KUNIT_EXPECT_EQ(test, err, -EOPNOTSUPP);
	KUNIT_EXPECT_STREQ(test, reason, refusal->reason);
	refusal->set(&dmt->a, false);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check_device(dmt->a.dev, &reason));

	KUNIT_ASSERT_EQ(test, 0, dma_liveupdate_preserve(buffer));
	dmt_cross(test);
	refusal->set(&dmt->a, true);
	other = dma_liveupdate_retrieve(dmt->a.dev, 1, 1);
	refusal->set(&dmt->a, false);
	dmt_expect_error(test, -EOPNOTSUPP, other);
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
	dmt_retrieve(test, &dmt->a, 1, 1);
	dmt_finish();
}

/* A device that sees memory elsewhere. */
static void dmt_offset_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	struct bus_dma_region *map;

	if (IS_ENABLED(CONFIG_ARCH_HAS_PHYS_TO_DMA))
		kunit_skip(test, "this architecture has its own translation");

	/* Freed with the device. */
	map = kzalloc_objs(*map, 3);
	KUNIT_ASSERT_NOT_NULL(test, map);
	map->dma_start = DMT_OFFSET;
	map->size = DMT_OFFSET;
	dmt->a.dev->dma_range_map = map;

	buffer = dmt_make(test, &dmt->a, PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, buffer->dma,
			virt_to_phys(buffer->address) + DMT_OFFSET);
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dmt_ser(0)->dma, dmt_ser(0)->phys + DMT_OFFSET);

	map->dma_start = 2 * DMT_OFFSET;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_retrieve(dmt->a.dev, PAGE_SIZE, 1));
	/* It ends one byte early. */
	map->dma_start = DMT_OFFSET;
	map->size = dmt_ser(0)->phys + PAGE_SIZE - 1;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_retrieve(dmt->a.dev, PAGE_SIZE, 1));
	/* Its first half is elsewhere. */
	map->size = DMT_OFFSET;
	map[1] = map[0];
	map[0].cpu_start = dmt_ser(0)->phys;
	map[0].dma_start = 2 * DMT_OFFSET;
	map[0].size = PAGE_SIZE / 2;
	dmt_expect_error(test, -EADDRNOTAVAIL,
			 dma_liveupdate_retrieve(dmt->a.dev, PAGE_SIZE, 1));
	KUNIT_EXPECT_FALSE(test, dmt_folio_of(0)->restored);
	map[0] = map[1];
	dmt_retrieve(test, &dmt->a, PAGE_SIZE, 1);
	dmt_finish();
}

/* What a device can reach. */

static size_t dmt_nr_told(struct device *dev)
{
	return list_count_nodes(&dev->devres_head);
}

static void dmt_check_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *one, *two;
	const char *reason = "";

	one = dmt_make(test, &dmt->a, 1, 1);
	two = dmt_alloc(test, &dmt->a, 1, 2);
	dmt_alloc(test, &dmt->b, 1, 1);

	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_STREQ(test, reason, "its driver did not preserve a DMA buffer");
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 0);

	/* It is said once, and not for another device. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_preserve(two));
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 0);

	dma_liveupdate_unpreserve(one);
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, false, &reason));
	dma_liveupdate_free(one);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->b.dev, false, &reason));
}

static void dmt_check_mapped_test(struct kunit *test)
{
	const char *reason = "";

	dmt_make(test, &dmt->a, 1, 1);
	dmt_make(test, &dmt->a, 1, 2);
	dmt->mapped = 3;
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->a.dev, true, &reason));
	KUNIT_EXPECT_STREQ(test, reason,
			   "memory is mapped for its DMA that is not preserved");
	/* Until it is frozen it may be at work. */
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, false, &reason));
	dmt->mapped = 2;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));
	/* Nothing is taken on trust. */
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->a.dev), 0);

	/* A device without buffers. */
	dmt->mapped = 1;
	KUNIT_EXPECT_EQ(test, -EBUSY, dma_liveupdate_check(dmt->b.dev, true, &reason));
	dmt->mapped = 0;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->b.dev, true, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 0);
	dmt->mapped = -EOPNOTSUPP;
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->b.dev, true, &reason));
	KUNIT_EXPECT_EQ(test, dmt_nr_told(dmt->b.dev), 1);
}

/* The same with dma-debug itself. */
static void dmt_check_debug_test(struct kunit *test)
{
	struct dma_liveupdate_buffer *buffer;
	const char *reason = "";
	dma_addr_t dma;
	void *mem;
	int err;

	kunit_deactivate_static_stub(test, dma_liveupdate_nr_mapped);
	if (dma_liveupdate_nr_mapped(dmt->a.dev) < 0)
		kunit_skip(test, "dma-debug is off");

	mem = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	buffer = dmt_make(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->b.dev), 0);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));

	dma = dma_map_single(dmt->a.dev, mem, PAGE_SIZE, DMA_FROM_DEVICE);
	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(dmt->a.dev, dma));
	err = dma_liveupdate_check(dmt->a.dev, true, &reason);
	dma_unmap_single(dmt->a.dev, dma, PAGE_SIZE, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, err, -EBUSY);
	KUNIT_EXPECT_EQ(test, 0, dma_liveupdate_check(dmt->a.dev, true, &reason));

	/* It knows retrieved buffers, too, and forgets those that were freed. */
	dmt_cross(test);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	buffer = dmt_retrieve(test, &dmt->a, 1, 1);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 1);
	dma_liveupdate_free(buffer);
	KUNIT_EXPECT_EQ(test, dma_liveupdate_nr_mapped(dmt->a.dev), 0);
	dmt->a.state = DEVICE_LIVEUPDATE_QUARANTINED;
	dmt_finish();
}

static struct kunit_case dmt_alloc_cases[] = {
	KUNIT_CASE_PARAM(dmt_mask_test, dmt_mask_gen_params),
	KUNIT_CASE(dmt_size_test),
	KUNIT_CASE(dmt_zeroed_test),
	KUNIT_CASE(dmt_scratch_test),
	KUNIT_CASE(dmt_tag_test),
	KUNIT_CASE(dmt_references_test),
	KUNIT_CASE_PARAM(dmt_refusal_test, dmt_refusal_gen_params),
	KUNIT_CASE(dmt_offset_test),
	KUNIT_CASE(dmt_check_test),
	KUNIT_CASE(dmt_check_mapped_test),
	KUNIT_CASE(dmt_check_debug_test),
	{}
};

static struct kunit_suite dmt_alloc_suite = {
	.name = "dma-liveupdate-alloc",
	.init = dmt_init,
	.exit = dmt_exit,
	.test_cases = dmt_alloc_cases,
};

kunit_test_suite(dmt_alloc_suite);
