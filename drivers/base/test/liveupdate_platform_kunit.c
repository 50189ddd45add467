// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: KUnit tests of the platform bus in a live update
 *
 * Which device it is, what is refused, and who resets it. The operations are called as the
 * driver core calls them, on devices of their own that are no hardware.
 */

#include <kunit/platform_device.h>
#include <kunit/test.h>
#include <linux/device/bus.h>
#include <linux/ioport.h>
#include <linux/kho/abi/platform.h>
#include <linux/liveupdate/device.h>
#include <linux/platform_device.h>
#include <linux/pm_domain.h>
#include <linux/property.h>
#include <linux/string.h>

#define PLT_NAME	"liveupdate-kunit-platform"
#define PLT_START	0x12340000
#define PLT_SIZE	0x200

/* How often the driver was asked to reset its device, and what it answers. */
static unsigned int plt_resets;
static int plt_error;

static int plt_reset(struct device *dev)
{
	plt_resets++;

	return plt_error;
}

static int plt_probe(struct platform_device *pdev)
{
	return 0;
}

static struct dev_liveupdate_ops plt_ops;

static struct platform_driver plt_driver = {
	.probe = plt_probe,
	.driver = {
		.name = PLT_NAME,
		.liveupdate = &plt_ops,
	},
};

static const struct bus_liveupdate_ops *plt_bus(void)
{
	return platform_bus_type.liveupdate;
}

static struct platform_device *plt_alloc(struct kunit *test, const char *name, int id)
{
	static const struct resource resources[] = {
		DEFINE_RES_IRQ(5),
		DEFINE_RES_MEM(PLT_START, PLT_SIZE),
		DEFINE_RES_MEM(PLT_START + PAGE_SIZE, PLT_SIZE),
	};
	struct platform_device *pdev = kunit_platform_device_alloc(test, name, id);

	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->num_resources = ARRAY_SIZE(resources);
	pdev->resource = kmemdup(resources, sizeof(resources), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev->resource);

	return pdev;
}

static int plt_identify(struct platform_device *pdev, struct device_liveupdate_id *id)
{
	memset(id, 0, sizeof(*id));

	return plt_bus()->identify(&pdev->dev, id);
}

/* By name and place, whatever its number is. */
static void plt_identify_test(struct kunit *test)
{
	struct platform_liveupdate_fingerprint *fingerprint;
	struct device_liveupdate_id id;

	for (int number = PLATFORM_DEVID_NONE; number < 2; number++) {
		KUNIT_EXPECT_EQ(test, 0, plt_identify(plt_alloc(test, "frob", number), &id));
		KUNIT_EXPECT_STREQ(test, id.id, "frob@12340000");
		fingerprint = (void *)id.fingerprint;
		KUNIT_EXPECT_EQ(test, fingerprint->size, PLT_SIZE);
	}
}

/* By name and number, unless that says nothing. */
static void plt_identify_no_memory_test(struct kunit *test)
{
	static const struct {
		int number;
		const char *name;
	} rows[] = { { 7, "frob.7" }, { PLATFORM_DEVID_NONE, "frob" } };
	struct platform_device *pdev;
	struct device_liveupdate_id id;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		pdev = kunit_platform_device_alloc(test, "frob", rows[i].number);
		KUNIT_ASSERT_NOT_NULL(test, pdev);
		KUNIT_EXPECT_EQ(test, 0, plt_identify(pdev, &id));
		KUNIT_EXPECT_STREQ(test, id.id, rows[i].name);
		KUNIT_EXPECT_NULL(test, memchr_inv(id.fingerprint, 0, sizeof(id.fingerprint)));
	}
}

/* A number that says nothing is none, and a name that would be cut is none either. */
static void plt_no_identity_test(struct kunit *test)
{
	static const char name[] =
		"a-name-that-is-as-long-as-the-identity-may-be-and-then-a-number";
	struct platform_device *pdev;
	struct device_liveupdate_id id;

	pdev = kunit_platform_device_alloc(test, "frob", PLATFORM_DEVID_AUTO);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, plt_identify(pdev, &id));

	static_assert(sizeof(name) == DEVICE_LIVEUPDATE_ID_LEN);
	pdev = kunit_platform_device_alloc(test, name, PLATFORM_DEVID_NONE);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	KUNIT_EXPECT_EQ(test, 0, plt_identify(pdev, &id));
	KUNIT_EXPECT_STREQ(test, id.id, name);
	KUNIT_EXPECT_EQ(test, -E2BIG, plt_identify(plt_alloc(test, name, 1), &id));
}

/* Firmware says of a device that it needs this. */
static void plt_need(struct kunit *test, struct platform_device *pdev, const char *what)
{
	const struct property_entry properties[] = {
		PROPERTY_ENTRY_U32(what, 1),
		{}
	};

	KUNIT_ASSERT_EQ(test, 0, device_create_managed_software_node(&pdev->dev, properties,
								     NULL));
}

static void plt_match_test(struct kunit *test)
{
	struct platform_device *pdev = plt_alloc(test, "frob", 7);
	struct platform_liveupdate_fingerprint *fingerprint;
	struct device_liveupdate_id id, handed;

	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
	KUNIT_ASSERT_EQ(test, 0, plt_identify(pdev, &id));
	handed = id;
	KUNIT_EXPECT_TRUE(test, plt_bus()->match(&pdev->dev, &id, &handed));
	fingerprint = (void *)handed.fingerprint;
	fingerprint->size += PLT_SIZE;
	KUNIT_EXPECT_FALSE(test, plt_bus()->match(&pdev->dev, &id, &handed));
	handed = id;
	plt_need(test, pdev, "clocks");
	KUNIT_EXPECT_FALSE(test, plt_bus()->match(&pdev->dev, &id, &handed));
}

static struct platform_device *plt_bound(struct kunit *test)
{
	struct platform_device *pdev = plt_alloc(test, PLT_NAME, 1);

	KUNIT_ASSERT_EQ(test, 0, kunit_platform_driver_register(test, &plt_driver));
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
	KUNIT_ASSERT_PTR_EQ(test, pdev->dev.driver, &plt_driver.driver);

	return pdev;
}

static void plt_expect_refused(struct kunit *test, struct platform_device *pdev,
			       const char *why)
{
	const char *reason = "nothing";

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, plt_bus()->check(&pdev->dev, &reason));
	KUNIT_EXPECT_STREQ(test, reason, why);
}

static void plt_expect_supported(struct kunit *test, struct platform_device *pdev)
{
	const char *reason = "nothing";

	KUNIT_EXPECT_EQ(test, 0, plt_bus()->check(&pdev->dev, &reason));
	KUNIT_EXPECT_STREQ(test, reason, "nothing");
}

/* A device that accesses memory is stopped by its driver, or by nobody. */
static void plt_check_driver_test(struct kunit *test)
{
	struct platform_device *pdev = plt_bound(test);

	plt_expect_supported(test, pdev);
	plt_ops.reset = NULL;
	plt_expect_refused(test, pdev, "has DMA, and its driver cannot reset it");
	plt_ops.reset = plt_reset;
	plt_ops.dma_api_only = false;
	plt_expect_refused(test, pdev,
			   "its driver does not say that all its DMA goes through the DMA API");
	plt_ops.reset = NULL;
	plt_ops.no_dma = true;
	plt_expect_supported(test, pdev);
}

static const char * const plt_needs[] = {
	"assigned-clocks", "clocks", "interconnects", "pinctrl-0", "power-domains",
};

static void plt_needs_describe(const char * const *what, char *description)
{
	strscpy(description, *what, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(plt_needs, plt_needs, plt_needs_describe);

static void plt_check_needs_test(struct kunit *test)
{
	struct platform_device *pdev = plt_bound(test);
	const char * const *what = test->param_value;

	plt_need(test, pdev, *what);
	plt_expect_refused(test, pdev, "needs clocks, power or pins, which nobody keeps on");
}

static void plt_check_domain_test(struct kunit *test)
{
	struct platform_device *pdev = plt_bound(test);
	static struct dev_pm_domain domain;

	pdev->dev.pm_domain = &domain;
	plt_expect_refused(test, pdev, "needs clocks, power or pins, which nobody keeps on");
	pdev->dev.pm_domain = NULL;
	plt_expect_supported(test, pdev);
}

/* The driver resets a device that it is not bound to, and what it says counts. */
static void plt_quarantine_test(struct kunit *test)
{
	struct platform_device *pdev = plt_bound(test);

	device_release_driver(&pdev->dev);
	KUNIT_EXPECT_EQ(test, 0, plt_bus()->quarantine(&pdev->dev));
	KUNIT_EXPECT_EQ(test, plt_resets, 1);
	plt_error = -ETIMEDOUT;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, plt_bus()->quarantine(&pdev->dev));
	KUNIT_EXPECT_EQ(test, plt_resets, 2);
	plt_ops.no_dma = true;
	KUNIT_EXPECT_EQ(test, 0, plt_bus()->quarantine(&pdev->dev));
	KUNIT_EXPECT_EQ(test, plt_resets, 2);
}

static void plt_quarantine_nobody_test(struct kunit *test)
{
	struct platform_device *pdev = plt_alloc(test, "frob", 7);

	KUNIT_ASSERT_EQ(test, 0, kunit_platform_driver_register(test, &plt_driver));
	KUNIT_ASSERT_EQ(test, 0, kunit_platform_device_add(test, pdev));
	KUNIT_EXPECT_EQ(test, -ENODEV, plt_bus()->quarantine(&pdev->dev));
	KUNIT_EXPECT_EQ(test, plt_resets, 0);
}

static int plt_init(struct kunit *test)
{
	plt_resets = 0;
	plt_error = 0;
	plt_ops = (struct dev_liveupdate_ops) {
		.compatible	= PLT_NAME,
		.version	= 1,
		.oldest		= 1,
		.dma_api_only	= true,
		.reset		= plt_reset,
	};

	return 0;
}

static struct kunit_case plt_cases[] = {
	KUNIT_CASE(plt_identify_test),
	KUNIT_CASE(plt_identify_no_memory_test),
	KUNIT_CASE(plt_no_identity_test),
	KUNIT_CASE(plt_match_test),
	KUNIT_CASE(plt_check_driver_test),
	KUNIT_CASE_PARAM(plt_check_needs_test, plt_needs_gen_params),
	KUNIT_CASE(plt_check_domain_test),
	KUNIT_CASE(plt_quarantine_test),
	KUNIT_CASE(plt_quarantine_nobody_test),
	{}
};

static struct kunit_suite plt_suite = {
	.name = "liveupdate-platform",
	.init = plt_init,
	.test_cases = plt_cases,
};

kunit_test_suite(plt_suite);

MODULE_DESCRIPTION("KUnit tests of the platform bus in a live update");
MODULE_LICENSE("GPL");
