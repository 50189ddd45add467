// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A PCI driver whose auxiliary devices take part in a live update
 *
 * Concept
 *   QEMU's device "edu" copies by DMA, and computes factorials. This driver does neither:
 *   it adds an auxiliary device for each, whose drivers are in
 *   liveupdate_aux_children.c, and lends them its registers and its interrupt.
 *
 * What is handed over
 *   Nothing but the fact that the device runs. So there is no callback: it is enough
 *   that this driver says what it is compatible with, and that probe() retrieves. What
 *   the device does is known by the driver of the part that does it.
 *
 *   The memory that the device accesses is allocated for this device by that driver.
 *   It is kept for as long as this device runs, whatever becomes of the part.
 *
 * Names
 *   An auxiliary device needs a number that makes its name unique in the system. Here
 *   it counts the devices in the order in which they were probed, as most drivers do. In
 *   the next kernel that is another order, perhaps, and nothing depends on it.
 */

#include <linux/auxiliary_bus.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/liveupdate/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/types.h>

#include "liveupdate_aux.h"

static DEFINE_IDA(parent_ida);

/* Without a callback: there is nothing to save. */
static const struct dev_liveupdate_ops parent_liveupdate_ops = {
	.compatible	= "sample,edu-parts",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
};

static void parent_free_number(void *number)
{
	ida_free(&parent_ida, (unsigned long)number);
}

/* The parts go before the registers and the interrupt do, in reverse order. */
static int parent_add_parts(struct device *dev, struct liveupdate_aux_part *part)
{
	static const char *const names[] = {
		LIVEUPDATE_AUX_COPY, LIVEUPDATE_AUX_FACTORIAL,
	};
	int number, err;

	number = ida_alloc(&parent_ida, GFP_KERNEL);
	if (number < 0)
		return number;
	err = devm_add_action_or_reset(dev, parent_free_number,
				       (void *)(unsigned long)number);
	if (err)
		return err;

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!__devm_auxiliary_device_create(dev, KBUILD_MODNAME, names[i], part,
						    number))
			return -ENOMEM;
	}

	return 0;
}

static int parent_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct liveupdate_aux_part *part;
	struct device *dev = &pdev->dev;
	u32 version;
	int err;

	part = devm_kzalloc(dev, sizeof(*part), GFP_KERNEL);
	if (!part)
		return -ENOMEM;
	err = pcim_enable_device(pdev);
	if (err)
		return err;
	/* By default it ignores more bits; see the help text of the option. */
	err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (err)
		return err;
	part->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(part->regs))
		return PTR_ERR(part->regs);
	if ((ioread32(part->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_EDU)
		return -ENODEV;

	/* If it was handed over it runs, and is left as it is. */
	if (!device_liveupdate_retrieve(dev, &version)) {
		pci_clear_master(pdev);
		err = liveupdate_aux_stop(part->regs);
		if (err)
			return err;
	}

	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (err < 0)
		return err;
	part->irq = pci_irq_vector(pdev, 0);
	/* Of a device that was taken over it is set already, and nothing is written. */
	pci_set_master(pdev);

	/* Drivers of parts that were handed over are probed when this one is through. */
	return parent_add_parts(dev, part);
}

static const struct pci_device_id parent_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, parent_ids);

static struct pci_driver parent_driver = {
	.name		= "liveupdate_aux_parent",
	.id_table	= parent_ids,
	.probe		= parent_probe,
	.driver		= {
		.liveupdate	= &parent_liveupdate_ops,
	},
};
module_pci_driver(parent_driver);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Live update sample: QEMU's edu as auxiliary devices");
MODULE_LICENSE("GPL");
