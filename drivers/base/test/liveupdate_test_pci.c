// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What tests of live update do to PCI functions behind their drivers
 *
 * A module that makes of a function what its driver would never do, by the name it
 * has in sysfs, as in "0000:00:10.0". For test kernels only.
 *
 * Parameters
 *   unrequested child=FUNCTION	a page that nobody preserves is mapped for it, as long
 *			as the module is loaded
 *   consumer=FUNCTION supplier=FUNCTION
 *			a managed device link, until the driver of the consumer is
 *			unbound
 *
 *   interrupts=KIND	what its driver sets up: msix, msi, intx, none; by default MSI-X
 *			or MSI
 *
 *   foreign_dma=1	its driver does not say that it uses the DMA API only
 *
 *   slow_shutdown=MS	its driver says that it shuts its function down, and takes that
 *			long
 *
 * It is also a driver, for a function that is given to it by driver_override. The
 * driver takes over what runs, and leaves the function alone apart from its interrupts,
 * but lets sysfs create virtual functions of it.
 */

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/liveupdate/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>

static char *unrequested;
module_param(unrequested, charp, 0400);
MODULE_PARM_DESC(unrequested, "Function that may access a page which nobody preserves");

static char *consumer, *supplier;
module_param(consumer, charp, 0400);
MODULE_PARM_DESC(consumer, "Function that cannot do without another one");
module_param(supplier, charp, 0400);
MODULE_PARM_DESC(supplier, "The other one");

static char *interrupts = "";
module_param(interrupts, charp, 0400);
MODULE_PARM_DESC(interrupts, "Kind of interrupts that the driver sets up");

static bool foreign_dma;
module_param(foreign_dma, bool, 0400);
MODULE_PARM_DESC(foreign_dma, "The driver does not say that it uses the DMA API only");

static unsigned int slow_shutdown;
module_param(slow_shutdown, uint, 0400);
MODULE_PARM_DESC(slow_shutdown, "How long the driver takes to shut its function down, in ms");

static struct device *test_pci_device;
static struct page *test_pci_page;
static dma_addr_t test_pci_dma;

static struct device *test_pci_find(const char *name)
{
	return bus_find_device_by_name(&pci_bus_type, NULL, name);
}

static int test_pci_link(void)
{
	struct device *from __free(put_device) = test_pci_find(consumer);
	struct device *to __free(put_device) = test_pci_find(supplier);

	if (!from || !to)
		return -ENODEV;

	return device_link_add(from, to, DL_FLAG_AUTOREMOVE_CONSUMER) ? 0 : -EINVAL;
}

static int test_pci_map(void)
{
	struct device *dev __free(put_device) = test_pci_find(unrequested);

	if (!dev)
		return -ENODEV;
	test_pci_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!test_pci_page)
		return -ENOMEM;

	test_pci_dma = dma_map_page(dev, test_pci_page, 0, PAGE_SIZE,
				    DMA_FROM_DEVICE);
	if (dma_mapping_error(dev, test_pci_dma)) {
		__free_page(test_pci_page);
		return -EIO;
	}
	test_pci_device = no_free_ptr(dev);

	return 0;
}

static struct dev_liveupdate_ops test_pci_liveupdate_ops = {
	.compatible	= "liveupdate-test-pci",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
};

static int test_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	/* A function that may use INTx would be refused. */
	unsigned int kind = PCI_IRQ_MSI | PCI_IRQ_MSIX;
	u32 version;
	int err;

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	device_liveupdate_retrieve(&pdev->dev, &version);

	if (!strcmp(interrupts, "msix")) {
		kind = PCI_IRQ_MSIX;
	} else if (!strcmp(interrupts, "msi")) {
		kind = PCI_IRQ_MSI;
	} else if (!strcmp(interrupts, "intx")) {
		kind = PCI_IRQ_INTX;
	} else if (!strcmp(interrupts, "none")) {
		pci_intx(pdev, 0);
		return 0;
	}
	err = pci_alloc_irq_vectors(pdev, 1, 1, kind);

	return err < 0 ? err : 0;
}

static void test_pci_remove(struct pci_dev *pdev)
{
	pci_disable_sriov(pdev);
	pci_free_irq_vectors(pdev);
}

static void test_pci_shutdown(struct pci_dev *pdev)
{
	if (!slow_shutdown)
		return;
	pci_notice(pdev, "shut down slowly\n");
	msleep(slow_shutdown);
}

static struct pci_driver test_pci_driver = {
	.name			= "liveupdate_test_pci",
	.probe			= test_pci_probe,
	.remove			= test_pci_remove,
	.shutdown		= test_pci_shutdown,
	.sriov_configure	= pci_sriov_configure_simple,
	.driver.liveupdate	= &test_pci_liveupdate_ops,
};

static int test_pci_prod(void)
{
	int err;

	if (consumer || supplier) {
		if (!consumer || !supplier)
			return -EINVAL;
		err = test_pci_link();
		if (err)
			return err;
	}

	return unrequested ? test_pci_map() : 0;
}

static int __init test_pci_init(void)
{
	int err;

	test_pci_liveupdate_ops.dma_api_only = !foreign_dma;
	err = pci_register_driver(&test_pci_driver);
	if (err)
		return err;
	err = test_pci_prod();
	if (err)
		pci_unregister_driver(&test_pci_driver);

	return err;
}
module_init(test_pci_init);

static void __exit test_pci_exit(void)
{
	pci_unregister_driver(&test_pci_driver);
	if (!test_pci_device)
		return;
	dma_unmap_page(test_pci_device, test_pci_dma, PAGE_SIZE, DMA_FROM_DEVICE);
	put_device(test_pci_device);
	__free_page(test_pci_page);
}
module_exit(test_pci_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("PCI functions in tests of live update");
MODULE_LICENSE("GPL");
