// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the memory map of the next kernel: of the ranges, and of images
 * whose map lacks, or has too much of, the memory of the machine they run on.
 */

#include <kunit/test.h>

#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_map.h>
#include <linux/kho_radix_tree.h>
#include <linux/slab.h>

#include "../kexec_handover_internal.h"

struct kho_map_test {
	struct kho_map map;
	struct kimage *image;
	void *preserved;
};

static int kho_map_test_init(struct kunit *test)
{
	struct kho_map_test *fixture;

	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture);
	fixture->image = kunit_kzalloc(test, sizeof(*fixture->image), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fixture->image);
	test->priv = fixture;

	return 0;
}

static void kho_map_test_exit(struct kunit *test)
{
	struct kho_map_test *fixture = test->priv;

	if (!fixture)
		return;

	kho_map_free(&fixture->map);
	kho_unpreserve_free(fixture->preserved);
}

/* The map of this machine, and a page that is preserved. */
static struct kho_map *kho_map_of_machine(struct kunit *test)
{
	struct kho_map_test *fixture = test->priv;
	void *page;

	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off, boot with kho=on");

	page = kho_alloc_preserve(PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(page));
	fixture->preserved = page;
	KUNIT_ASSERT_EQ(test, 0, arch_kho_map(&fixture->map, true));
	KUNIT_ASSERT_GT(test, fixture->map.nr, 0);

	return &fixture->map;
}

/* What loading the image would return. */
static int kho_map_load(struct kunit *test)
{
	struct kho_map_test *fixture = test->priv;

	return kho_image_set_map(fixture->image, &fixture->map);
}

static void kho_map_expect(struct kunit *test, unsigned int nr,
			   const struct range *want)
{
	struct kho_map_test *fixture = test->priv;

	KUNIT_ASSERT_EQ(test, fixture->map.nr, nr);
	for (unsigned int i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ(test, fixture->map.range[i].start, want[i].start);
		KUNIT_EXPECT_EQ(test, fixture->map.range[i].end, want[i].end);
	}
}

static void kho_map_ranges_test(struct kunit *test)
{
	static const struct range merged[] = { { 0, 0x5000 }, { 0x8000, 0x9000 } };
	static const struct range split[] = {
		{ 0, 0x1000 }, { 0x2000, 0x5000 }, { 0x8000, 0x8800 },
	};
	struct kho_map *map = &((struct kho_map_test *)test->priv)->map;

	KUNIT_EXPECT_EQ(test, 0, kho_map_add(map, 0x8000, 0x9000));
	KUNIT_EXPECT_EQ(test, 0, kho_map_add(map, 0x2000, 0x4000));
	KUNIT_EXPECT_EQ(test, 0, kho_map_add(map, 0, 0x2000));
	KUNIT_EXPECT_EQ(test, 0, kho_map_add(map, 0x3000, 0x5000));
	kho_map_expect(test, ARRAY_SIZE(merged), merged);
	KUNIT_EXPECT_TRUE(test, kho_map_contains(map->range, map->nr, 0, 0x5000));
	KUNIT_EXPECT_FALSE(test, kho_map_contains(map->range, map->nr, 0, 0x5001));
	KUNIT_EXPECT_FALSE(test, kho_map_contains(map->range, map->nr, 0x4000, 0x8800));

	KUNIT_EXPECT_EQ(test, 0, kho_map_remove(map, 0x1000, 0x2000));
	KUNIT_EXPECT_EQ(test, 0, kho_map_remove(map, 0x8800, 0xa000));
	KUNIT_EXPECT_EQ(test, 0, kho_map_remove(map, 0x6000, 0x7000));
	kho_map_expect(test, ARRAY_SIZE(split), split);

	KUNIT_EXPECT_EQ(test, 0, kho_map_remove(map, 0, 0xa000));
	KUNIT_EXPECT_EQ(test, map->nr, 0);
}

/* More ranges than there was room for, and every second one taken out again. */
static void kho_map_many_test(struct kunit *test)
{
	struct kho_map *map = &((struct kho_map_test *)test->priv)->map;

	for (u64 i = 100; i; i--)
		KUNIT_ASSERT_EQ(test, 0, kho_map_add(map, i << 20, (i << 20) + 4));
	KUNIT_EXPECT_EQ(test, map->nr, 100);
	for (u64 i = 2; i <= 100; i += 2)
		KUNIT_ASSERT_EQ(test, 0, kho_map_remove(map, i << 20, (i << 20) + 4));
	for (u64 i = 1; i <= 100; i += 2)
		KUNIT_ASSERT_EQ(test, 0, kho_map_remove(map, (i << 20) + 1,
							(i << 20) + 2));
	KUNIT_EXPECT_EQ(test, map->nr, 100);
	for (unsigned int i = 1; i < map->nr; i++)
		KUNIT_EXPECT_LT(test, map->range[i - 1].end, map->range[i].start);
}

static void kho_map_complete_test(struct kunit *test)
{
	kho_map_of_machine(test);
	KUNIT_EXPECT_EQ(test, 0, kho_map_load(test));
}

static void kho_map_preserved_outside_test(struct kunit *test)
{
	struct kho_map *map = kho_map_of_machine(test);
	struct kho_map_test *fixture = test->priv;
	u64 phys = virt_to_phys(fixture->preserved);

	KUNIT_ASSERT_EQ(test, 0, kho_map_remove(map, phys, phys + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -ESTALE, kho_map_load(test));

	/* Once it is not preserved any more, nothing is missing. */
	kho_unpreserve_free(fixture->preserved);
	fixture->preserved = NULL;
	KUNIT_EXPECT_EQ(test, 0, kho_image_check(fixture->image));
}

/* The tree in which it is written counts, too. */
static void kho_map_tree_outside_test(struct kunit *test)
{
	struct kho_map *map = kho_map_of_machine(test);
	u64 phys = virt_to_phys(kho_preserved_tree()->root);

	KUNIT_ASSERT_EQ(test, 0, kho_map_remove(map, phys, phys + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -ESTALE, kho_map_load(test));
}

static void kho_map_scratch_removed_test(struct kunit *test)
{
	struct kho_map *map = kho_map_of_machine(test);
	u64 phys = kho_scratch[0].addr;

	KUNIT_ASSERT_EQ(test, 0, kho_map_remove(map, phys, phys + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -ERANGE, kho_map_load(test));
}

static void kho_map_memory_removed_test(struct kunit *test)
{
	struct kho_map *map = kho_map_of_machine(test);
	u64 end = map->range[map->nr - 1].end;

	KUNIT_ASSERT_EQ(test, 0, kho_map_add(map, end + SZ_1G, end + SZ_1G + SZ_1M));
	KUNIT_EXPECT_EQ(test, -ESTALE, kho_map_load(test));
}

static void kho_map_too_many_test(struct kunit *test)
{
	struct kho_map *map = kho_map_of_machine(test);
	u64 end = map->range[map->nr - 1].end;

	for (u64 i = 1; i <= KHO_MAP_MAX; i++)
		KUNIT_ASSERT_EQ(test, 0, kho_map_add(map, end + i * SZ_1G,
						     end + i * SZ_1G + SZ_1M));
	KUNIT_EXPECT_EQ(test, -E2BIG, kho_map_load(test));
}

/* An image that carries nothing may lack what it likes. */
static void kho_map_no_handover_test(struct kunit *test)
{
	struct kho_map_test *fixture = test->priv;

	KUNIT_EXPECT_EQ(test, 0, kho_image_check(fixture->image));
}

static struct kunit_case kho_map_cases[] = {
	KUNIT_CASE(kho_map_ranges_test),
	KUNIT_CASE(kho_map_many_test),
	KUNIT_CASE(kho_map_complete_test),
	KUNIT_CASE(kho_map_preserved_outside_test),
	KUNIT_CASE(kho_map_tree_outside_test),
	KUNIT_CASE(kho_map_scratch_removed_test),
	KUNIT_CASE(kho_map_memory_removed_test),
	KUNIT_CASE(kho_map_too_many_test),
	KUNIT_CASE(kho_map_no_handover_test),
	{}
};

static struct kunit_suite kho_map_suite = {
	.name = "kho_map",
	.init = kho_map_test_init,
	.exit = kho_map_test_exit,
	.test_cases = kho_map_cases,
};

kunit_test_suite(kho_map_suite);
