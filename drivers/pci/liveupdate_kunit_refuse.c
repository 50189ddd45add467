// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Functions that cannot be preserved
 *
 * Each reason why a function or a bridge is refused, and that nothing else is a reason.
 */

#include <linux/delay.h>
#include <linux/liveupdate/device.h>
#include <linux/pci.h>

#include "liveupdate_kunit.h"

static void plu_refuse_virtfn(struct pci_dev *pdev)
{
	pdev->is_virtfn = 1;
}

#ifdef CONFIG_PCI_IOV
static void plu_refuse_functions(struct pci_dev *pdev)
{
	static struct pci_sriov sriov = { .num_VFs = 1 };

	pdev->sriov = &sriov;
	pdev->is_physfn = 1;
}
#endif

static void plu_refuse_usb(struct pci_dev *pdev)
{
	pdev->class = PCI_CLASS_SERIAL_USB_XHCI;
}

static void plu_refuse_display(struct pci_dev *pdev)
{
	pdev->class = PCI_CLASS_DISPLAY_VGA << 8;
}

static void plu_refuse_sleeping(struct pci_dev *pdev)
{
	pdev->current_state = PCI_D3hot;
}

static void plu_refuse_error(struct pci_dev *pdev)
{
	pdev->error_state = pci_channel_io_frozen;
}

static void plu_refuse_bars(struct pci_dev *pdev)
{
	pdev->non_compliant_bars = 1;
}

static void plu_refuse_ats(struct pci_dev *pdev)
{
	pdev->ats_enabled = 1;
}

static void plu_refuse_pri(struct pci_dev *pdev)
{
	pdev->pri_enabled = 1;
}

static void plu_refuse_pasid(struct pci_dev *pdev)
{
	pdev->pasid_enabled = 1;
}

#ifdef CONFIG_PCI_P2PDMA
static void plu_refuse_p2pdma(struct pci_dev *pdev)
{
	/* Nobody looks into it. */
	RCU_INIT_POINTER(pdev->p2pdma, (void *)pdev);
}
#endif

static void plu_refuse_broken_intx(struct pci_dev *pdev)
{
	pdev->broken_intx_masking = 1;
}

static void plu_refuse_msi_bug(struct pci_dev *pdev)
{
	pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
}

static void plu_refuse_intx(struct pci_dev *pdev)
{
	pdev->msix_enabled = 0;
}

static const struct plu_refusal {
	void (*change)(struct pci_dev *pdev);
	const char *reason;
} plu_refusals[] = {
	{ plu_refuse_virtfn, "a virtual function" },
#ifdef CONFIG_PCI_IOV
	{ plu_refuse_functions, "has virtual functions" },
#endif
	{ plu_refuse_usb, "USB host" },
	{ plu_refuse_display, "display" },
	{ plu_refuse_sleeping, "not in D0" },
	{ plu_refuse_error, "recovered" },
	{ plu_refuse_bars, "BARs" },
	{ plu_refuse_ats, "ATS" },
	{ plu_refuse_pri, "ATS" },
	{ plu_refuse_pasid, "ATS" },
#ifdef CONFIG_PCI_P2PDMA
	{ plu_refuse_p2pdma, "peer-to-peer" },
#endif
	{ plu_refuse_broken_intx, "cannot be disabled" },
	{ plu_refuse_msi_bug, "its MSI stops" },
	{ plu_refuse_intx, "uses INTx" },
};

static void plu_refusal_desc(const struct plu_refusal *param, char *desc)
{
	strscpy(desc, param->reason, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(plu_refusals, plu_refusals, plu_refusal_desc);

static void plu_refused_test(struct kunit *test)
{
	const struct plu_refusal *param = test->param_value;
	const char *reason = "";
	struct pci_dev *pdev, saved;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	saved = *pdev;
	pdev->current_state = PCI_D0;
	pdev->msix_enabled = 1;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.check(&pdev->dev, &reason));
	param->change(pdev);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.check(&pdev->dev, &reason));
	KUNIT_EXPECT_NOT_NULL(test, strstr(reason, param->reason));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, plu_prepare(pdev, DEVICE_LIVEUPDATE_ENDPOINT));

	pdev->is_virtfn = saved.is_virtfn;
	pdev->is_physfn = saved.is_physfn;
	pdev->class = saved.class;
	pdev->current_state = saved.current_state;
	pdev->error_state = saved.error_state;
	pdev->ats_enabled = 0;
	pdev->pri_enabled = 0;
	pdev->pasid_enabled = 0;
	pdev->msix_enabled = 0;
#ifdef CONFIG_PCI_P2PDMA
	RCU_INIT_POINTER(pdev->p2pdma, NULL);
#endif
}

/* A driver has to say that it uses the DMA API and nothing else. */
static void plu_refused_dma_test(struct kunit *test)
{
	static struct dev_liveupdate_ops ops;
	static struct device_driver driver = { .liveupdate = &ops };
	const char *reason = "";
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->current_state = PCI_D0;
	pdev->msix_enabled = 1;
	pdev->dev.driver = &driver;
	ops.dma_api_only = false;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.check(&pdev->dev, &reason));
	KUNIT_EXPECT_NOT_NULL(test, strstr(reason, "DMA API"));
	ops.dma_api_only = true;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.check(&pdev->dev, &reason));
	pdev->dev.driver = NULL;
	pdev->msix_enabled = 0;
}

static void plu_refused_bridge_test(struct kunit *test)
{
	const char *reason = "";

	plu_scan(test, 0);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.check(&plu_dev(test, PLU_BRIDGE)->dev,
						 &reason));
	KUNIT_EXPECT_STREQ(test, reason, "not an endpoint");
	KUNIT_EXPECT_EQ(test, DEVICE_LIVEUPDATE_FORWARDER,
			plu_role(plu_dev(test, PLU_BRIDGE)));
	KUNIT_EXPECT_EQ(test, DEVICE_LIVEUPDATE_ENDPOINT, plu_role(plu_dev(test, PLU_FIRST)));
	plu_dev(test, PLU_FIRST)->hdr_type = PCI_HEADER_TYPE_CARDBUS;
	KUNIT_EXPECT_EQ(test, DEVICE_LIVEUPDATE_UNSUPPORTED,
			plu_role(plu_dev(test, PLU_FIRST)));
	plu_dev(test, PLU_FIRST)->hdr_type = PCI_HEADER_TYPE_NORMAL;
}

/* A function that has INTx, but whose driver polls. */
static void plu_polled_test(struct kunit *test)
{
	const char *reason = "";
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->current_state = PCI_D0;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.check(&pdev->dev, &reason));
	pci_intx(pdev, 0);
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.check(&pdev->dev, &reason));
}

static void plu_path_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_BRIDGE);
	pdev->current_state = PCI_D0;
	KUNIT_EXPECT_EQ(test, 0, plu_prepare(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	plu_set(PLU_BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	KUNIT_EXPECT_EQ(test, -EIO, plu_prepare(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	plu_set(PLU_BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pdev->error_state = pci_channel_io_frozen;
	KUNIT_EXPECT_EQ(test, -EIO, plu_prepare(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	pdev->error_state = pci_channel_io_normal;
	KUNIT_EXPECT_EQ(test, 0, plu_prepare(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	/* Interrupts of a port are left alone. */
	pdev->msix_cap = PLU_MSIX;
	pdev->msix_enabled = 1;
	plu.nr_writes = 0;
	KUNIT_EXPECT_EQ(test, 0, plu_freeze(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	plu_set(PLU_BRIDGE, PLU_MSIX + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_MASKALL);
	pci_liveupdate_ops.thaw(&pdev->dev, DEVICE_LIVEUPDATE_FORWARDER);
	KUNIT_EXPECT_EQ(test, plu.nr_writes, 0);
	pdev->msix_enabled = 0;
	pdev->msix_cap = 0;
	pdev->current_state = PCI_D3hot;
	KUNIT_EXPECT_EQ(test, -EIO, plu_prepare(pdev, DEVICE_LIVEUPDATE_FORWARDER));
	KUNIT_EXPECT_EQ(test, -EIO, plu_freeze(pdev, DEVICE_LIVEUPDATE_FORWARDER));
}

static struct kunit_case plu_refuse_cases[] = {
	KUNIT_CASE_PARAM(plu_refused_test, plu_refusals_gen_params),
	KUNIT_CASE(plu_refused_dma_test),
	KUNIT_CASE(plu_refused_bridge_test),
	KUNIT_CASE(plu_polled_test),
	KUNIT_CASE(plu_path_test),
	{}
};

static struct kunit_suite plu_refuse_suite = {
	.name = "pci-liveupdate-refuse",
	.init = plu_init,
	.exit = plu_exit,
	.test_cases = plu_refuse_cases,
};

kunit_test_suite(plu_refuse_suite);
