// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Recognizing functions that were handed over
 *
 * What enumeration writes to functions that run, what it leaves alone, and which
 * registers tell one function from another.
 */

#include <linux/kho/abi/pci.h>
#include <linux/liveupdate/device.h>
#include <linux/pci.h>

#include "liveupdate_kunit.h"

/* Enumeration. */

/* Enumerates while @pending were handed over, and the first one runs. */
static struct pci_dev *plu_scan_frozen(struct kunit *test, unsigned long pending)
{
	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, pending);

	return plu_dev(test, PLU_FIRST);
}

static void plu_enumerate_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_frozen(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_TRUE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_FALSE(test, pdev->broken_intx_masking);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND, PCI_COMMAND_MASTER, false));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_INTX_DISABLE, false));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_FIRST, PLU_EXP + PCI_EXP_DEVCTL, 2));

	/* Sized, and put back. */
	KUNIT_EXPECT_EQ(test, 2, plu_count(PLU_FIRST, PCI_BASE_ADDRESS_0, 4));
	KUNIT_EXPECT_EQ(test, PLU_BAR0, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_0, 4));
	KUNIT_EXPECT_EQ(test, PLU_BAR1, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_1, 4));
	KUNIT_EXPECT_TRUE(test, pdev->resource[0].flags & IORESOURCE_PCI_FIXED);
	KUNIT_EXPECT_TRUE(test, pdev->resource[1].flags & IORESOURCE_PCI_FIXED);
	KUNIT_EXPECT_FALSE(test, pdev->resource[2].flags);
}

/* What the test above would see without the care that is taken. */
static void plu_enumerate_ordinary_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_frozen(test, BIT(PLU_MASKABLE));

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_TRUE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					  PCI_COMMAND_INTX_DISABLE, false));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2) &
				 PCI_MSIX_FLAGS_ENABLE);
	KUNIT_EXPECT_NE(test, 0, plu_count(PLU_FIRST, PLU_EXP + PCI_EXP_DEVCTL, 2));
	KUNIT_EXPECT_FALSE(test, pdev->resource[0].flags & IORESOURCE_PCI_FIXED);
}

static void plu_enumerate_unmasked_test(struct kunit *test)
{
	plu_leave_frozen(PLU_FIRST);
	plu_set(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		3 | PCI_MSIX_FLAGS_ENABLE);
	plu_scan(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_EQ(test, 3 | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
			plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS,
					   PCI_MSIX_FLAGS_ENABLE, false));
}

static void plu_enumerate_broken_intx_test(struct kunit *test)
{
	plu_leave_frozen(PLU_FIRST);
	plu_set(PLU_FIRST, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	plu_scan(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_TRUE(test, plu_dev(test, PLU_FIRST)->broken_intx_masking);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_INTX_DISABLE, true));
}

/* MSI is off already, unless the previous kernel did not freeze the function. */
static void plu_enumerate_msi_test(struct kunit *test)
{
	plu_set(PLU_MASKABLE, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT |
		PCI_MSI_FLAGS_MASKBIT);
	plu_set(PLU_PLAIN_MSI, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT |
		PCI_MSI_FLAGS_ENABLE);
	plu_scan(test, BIT(PLU_MASKABLE) | BIT(PLU_PLAIN_MSI));

	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_MASKABLE, PLU_MSI + PCI_MSI_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_MASKABLE, PLU_MSI + PCI_MSI_MASK_64, 4));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_PLAIN_MSI,
					    PLU_MSI + PCI_MSI_FLAGS, 2) &
				 PCI_MSI_FLAGS_ENABLE);
}

static void plu_enumerate_bridge_test(struct kunit *test)
{
	plu_leave_frozen(PLU_BELOW);
	plu_scan(test, BIT(PLU_BRIDGE) | BIT(PLU_BELOW));

	KUNIT_EXPECT_TRUE(test, pci_liveupdate_is_incoming(plu_dev(test, PLU_BRIDGE)));
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_is_incoming(plu_dev(test, PLU_BELOW)));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_BRIDGE, PCI_COMMAND, PCI_COMMAND_MASTER, false));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_BRIDGE, PCI_PRIMARY_BUS, 4));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_BELOW, PCI_COMMAND, PCI_COMMAND_MASTER, false));
	/* It would last, and holds for functions that nobody handed over. */
	KUNIT_EXPECT_FALSE(test, pci_find_host_bridge(plu.bus)->preserve_config);
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_below(plu.bus));

	/* FINISH is over. */
	pci_liveupdate_ops.completed(&plu_dev(test, PLU_BRIDGE)->dev, false);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(plu_dev(test, PLU_BRIDGE)));
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_below(plu.bus));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_BRIDGE, PCI_COMMAND, 2) &
				 PCI_COMMAND_INTX_DISABLE);
}

/* The record went away between the scan and the addition: nobody will take it over. */
static void plu_enumerate_gone_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu.gone = true;
	pdev = plu_scan_frozen(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
}

/* What was not recognized in time is not taken over, although it is the same. */
static void plu_match_test(struct kunit *test)
{
	struct device_liveupdate_id id = {};
	struct pci_dev *pdev;

	plu_scan(test, BIT(PLU_MASKABLE));
	pdev = plu_dev(test, PLU_FIRST);
	pci_liveupdate_ops.identify(&pdev->dev, &id);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_ops.match(&pdev->dev, &id, &id));

	set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_ops.match(&pdev->dev, &id, &id));
	clear_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
}

/* A window that moves is noticed. */
static void plu_revision_test(struct kunit *test)
{
	struct pci_dev *pdev, *bridge;
	u64 revision;

	plu_scan(test, BIT(PLU_MASKABLE));
	pdev = plu_dev(test, PLU_FIRST);
	revision = pci_liveupdate_ops.revision(&pdev->dev);
	pdev->resource[1].start += SZ_1M;
	pdev->resource[1].end += SZ_1M;
	KUNIT_EXPECT_NE(test, revision, pci_liveupdate_ops.revision(&pdev->dev));
	pdev->resource[1].start -= SZ_1M;
	pdev->resource[1].end -= SZ_1M;
	KUNIT_EXPECT_EQ(test, revision, pci_liveupdate_ops.revision(&pdev->dev));

	bridge = plu_dev(test, PLU_BRIDGE);
	revision = pci_liveupdate_ops.revision(&bridge->dev);
	bridge->resource[PCI_BRIDGE_MEM_WINDOW].end += SZ_1M;
	KUNIT_EXPECT_NE(test, revision, pci_liveupdate_ops.revision(&bridge->dev));
	bridge->resource[PCI_BRIDGE_MEM_WINDOW].end -= SZ_1M;
	bridge->subordinate->busn_res.end++;
	KUNIT_EXPECT_NE(test, revision, pci_liveupdate_ops.revision(&bridge->dev));
	bridge->subordinate->busn_res.end--;
	KUNIT_EXPECT_EQ(test, revision, pci_liveupdate_ops.revision(&bridge->dev));
}

static void plu_enumerate_config_test(struct kunit *test)
{
	plu_scan(test, 0);

	KUNIT_EXPECT_FALSE(test, pci_find_host_bridge(plu.bus)->preserve_config);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_below(plu.bus));
}

static void plu_enable_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_set(PLU_PLAIN_MSI, PCI_COMMAND, 2, PCI_COMMAND_MEMORY |
		PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	plu_scan(test, BIT(PLU_PLAIN_MSI));
	pdev = plu_dev(test, PLU_PLAIN_MSI);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_TRUE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				PCI_COMMAND_INTX_DISABLE);
	/* As after a probe that was deferred. */
	pci_disable_device(pdev);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_PLAIN_MSI, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));

	/* Its driver did not take it over. */
	pci_liveupdate_ops.completed(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				 PCI_COMMAND_INTX_DISABLE);
	pci_disable_device(pdev);
	KUNIT_EXPECT_TRUE(test, plu_wrote(PLU_PLAIN_MSI, PCI_COMMAND,
					  PCI_COMMAND_MASTER, false));
}

/* Identity. */

static void plu_identify(struct kunit *test, enum plu_index index,
			 struct device_liveupdate_id *id)
{
	memset(id, 0, sizeof(*id));
	KUNIT_ASSERT_EQ(test, 0, pci_liveupdate_ops.identify(&plu_dev(test, index)->dev, id));
}

static void plu_identity_test(struct kunit *test)
{
	struct device_liveupdate_id id;

	plu_scan(test, 0);
	plu_identify(test, PLU_FIRST, &id);
	KUNIT_EXPECT_STREQ(test, id.id, "7ffe:00:00.0");
	plu_identify(test, PLU_BELOW, &id);
	KUNIT_EXPECT_STREQ(test, id.id, "7ffe:01:00.0");
}

/**
 * struct plu_register - something that differs between two looks at a function
 * @name: name of the case.
 * @index: the function.
 * @where: first byte.
 * @size: bytes.
 * @flip: bits that differ.
 * @what: what is said of it, or NULL if it may change while the function is the same.
 */
struct plu_register {
	const char *name;
	enum plu_index index;
	int where;
	int size;
	u32 flip;
	const char *what;
};

static const struct plu_register plu_registers[] = {
	/* What can be found at the same address, or has moved. */
	{ "revision", PLU_FIRST, PCI_CLASS_REVISION, 1, 1, "class or revision" },
	{ "class", PLU_FIRST, PCI_CLASS_DEVICE, 2, 1, "class or revision" },
	{ "subsystem vendor", PLU_FIRST, PCI_SUBSYSTEM_VENDOR_ID, 2, 1, "subsystem ID" },
	{ "subsystem", PLU_FIRST, PCI_SUBSYSTEM_ID, 2, 1, "subsystem ID" },
	{ "first BAR", PLU_FIRST, PCI_BASE_ADDRESS_0, 4, 0x1000, "register 0x10" },
	{ "last BAR", PLU_FIRST, PCI_BASE_ADDRESS_5, 4, 0x80000000, "register 0x24" },
	{ "MSI-X vectors", PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2, 1,
	  "number of MSI-X vectors" },
	{ "primary bus", PLU_BRIDGE, PCI_PRIMARY_BUS, 1, 1, "register 0x18" },
	{ "subordinate bus", PLU_BRIDGE, PCI_SUBORDINATE_BUS, 1, 1, "register 0x18" },
	{ "I/O window", PLU_BRIDGE, PCI_IO_BASE, 1, 0x10, "register 0x1c" },
	{ "memory window", PLU_BRIDGE, PCI_MEMORY_BASE, 2, 0x10, "register 0x20" },
	{ "prefetchable window", PLU_BRIDGE, PCI_PREF_MEMORY_LIMIT, 2, 0x10, "register 0x24" },
	{ "upper half of a window", PLU_BRIDGE, PCI_PREF_LIMIT_UPPER32, 4, 1, "register 0x2c" },
	{ "upper half of the I/O window", PLU_BRIDGE, PCI_IO_LIMIT_UPPER16, 2, 1,
	  "register 0x30" },
	/* What changes while the function is the same. */
	{ "INTx Disable", PLU_FIRST, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE },
	{ "status", PLU_FIRST, PCI_STATUS, 2, PCI_STATUS_REC_MASTER_ABORT },
	{ "interrupt line", PLU_FIRST, PCI_INTERRUPT_LINE, 1, 1 },
	{ "multi-function", PLU_FIRST, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_MFD },
	{ "MSI-X", PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE },
	{ "device control", PLU_FIRST, PLU_EXP + PCI_EXP_DEVCTL, 2, 1 },
	{ "latency timer", PLU_BRIDGE, PCI_SEC_LATENCY_TIMER, 1, 1 },
	{ "secondary status", PLU_BRIDGE, PCI_SEC_STATUS, 2, 1 },
	{ "bridge control", PLU_BRIDGE, PCI_BRIDGE_CONTROL, 2, 1 },
};

KUNIT_ARRAY_PARAM_DESC(plu_register, plu_registers, name);

static void plu_fingerprint_test(struct kunit *test)
{
	const struct plu_register *param = test->param_value;
	struct device_liveupdate_id before, after;
	char what[32] = "";

	plu_scan(test, 0);
	plu_identify(test, param->index, &before);
	plu_set(param->index, param->where, param->size,
		plu_config(param->index, param->where, param->size) ^ param->flip);
	plu_identify(test, param->index, &after);

	KUNIT_EXPECT_EQ(test, !!param->what, !!memcmp(before.fingerprint, after.fingerprint,
						      sizeof(before.fingerprint)));
	KUNIT_EXPECT_EQ(test, !!param->what,
			pci_liveupdate_difference(&after, &before, what, sizeof(what)));
	KUNIT_EXPECT_STREQ(test, param->what ?: "", what);
}

/* A function says the same of itself before and after it is set up. */
static void plu_fingerprint_early_test(struct kunit *test)
{
	struct device_liveupdate_id late, early = {};
	struct pci_dev *pdev;

	plu_scan(test, 0);
	plu_identify(test, PLU_FIRST, &late);

	pdev = pci_alloc_dev(plu.bus);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->devfn = plu.functions[PLU_FIRST].devfn;
	pdev->vendor = 0x1234;
	pdev->device = 0x5678;
	pdev->cfg_size = PLU_SIZE;
	pci_liveupdate_ops.identify(&pdev->dev, &early);
	KUNIT_EXPECT_STREQ(test, late.id, early.id);
	KUNIT_EXPECT_MEMEQ(test, late.fingerprint, early.fingerprint, sizeof(late.fingerprint));
	pci_bus_put(pdev->bus);
	kfree(pdev);
}

static struct kunit_case plu_scan_cases[] = {
	KUNIT_CASE(plu_enumerate_test),
	KUNIT_CASE(plu_enumerate_ordinary_test),
	KUNIT_CASE(plu_enumerate_unmasked_test),
	KUNIT_CASE(plu_enumerate_broken_intx_test),
	KUNIT_CASE(plu_enumerate_msi_test),
	KUNIT_CASE(plu_enumerate_bridge_test),
	KUNIT_CASE(plu_enumerate_gone_test),
	KUNIT_CASE(plu_match_test),
	KUNIT_CASE(plu_revision_test),
	KUNIT_CASE(plu_enumerate_config_test),
	KUNIT_CASE(plu_enable_test),
	KUNIT_CASE(plu_identity_test),
	KUNIT_CASE_PARAM(plu_fingerprint_test, plu_register_gen_params),
	KUNIT_CASE(plu_fingerprint_early_test),
	{}
};

static struct kunit_suite plu_scan_suite = {
	.name = "pci-liveupdate-scan",
	.init = plu_init,
	.exit = plu_exit,
	.test_cases = plu_scan_cases,
};

kunit_test_suite(plu_scan_suite);
