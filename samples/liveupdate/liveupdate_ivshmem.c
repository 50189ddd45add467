// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A PCI driver whose interrupts live through a live update
 *
 * Concept
 *   QEMU's device "ivshmem-doorbell" shares memory with a peer, such as a program on
 *   the host, which rings it: each of its doorbells is an MSI-X vector. This driver
 *   counts how often, for the peer to see in the shared memory, and does so across an
 *   update: a doorbell rung while no kernel runs is counted once, by the next kernel.
 *   The device does no DMA; for that see liveupdate_edu.c.
 *
 * What is handed over
 *   The counters and the number of vectors, in &struct ivshmem_saved. The shared
 *   memory belongs to the device, and stays. Vectors have other Linux interrupt
 *   numbers, messages and processors in the next kernel, which does not matter.
 *
 * Interrupts
 *   The PCI core masks the device as a whole, waits until no handler runs, and calls
 *   freeze_late(), which writes the counters down. What was before that is counted in
 *   them. One after that waits in the device, until the next kernel unmasks the vector.
 *   Not one is made up for: a driver that counts could not tell it from a real one.
 *   As ever with MSI-X, what rings twice before it is served interrupts once.
 *
 * Locking
 *   &ivshmem.lock, taken by the interrupt handlers, protects the counters.
 */

#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/liveupdate/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/types.h>

#define IVSHMEM_SHARED_BAR	2
#define IVSHMEM_VECTORS_MAX	8

/**
 * struct ivshmem_saved - version 1 of what is compatible with "sample,ivshmem"
 * @nr_vectors: number of vectors in use, 1 to 8.
 * @reserved: zero.
 * @counts: interrupts of each vector since the device was set up; zero for those
 *	not in use.
 */
struct ivshmem_saved {
	u32 nr_vectors;
	u32 reserved;
	u64 counts[IVSHMEM_VECTORS_MAX];
} __packed;

static_assert(sizeof(struct ivshmem_saved) == 72);

struct ivshmem_vector {
	struct ivshmem *ivshmem;
	unsigned int index;
	u64 count;
};

struct ivshmem {
	void __iomem *shared;
	unsigned int nr_vectors;
	bool retrieved;
	spinlock_t lock;	/* counts in vectors */
	struct ivshmem_vector vectors[IVSHMEM_VECTORS_MAX];
};

static irqreturn_t ivshmem_interrupt(int irq, void *data)
{
	struct ivshmem_vector *vector = data;
	struct ivshmem *ivshmem = vector->ivshmem;
	void __iomem *shared = ivshmem->shared + 4 * vector->index;

	guard(spinlock)(&ivshmem->lock);
	vector->count++;
	iowrite32(ioread32(shared) + 1, shared);

	return IRQ_HANDLED;
}

/* Files */

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr,
			       char *buf)
{
	struct ivshmem *ivshmem = dev_get_drvdata(dev);
	int len = 0;

	guard(spinlock_irq)(&ivshmem->lock);
	for (unsigned int i = 0; i < ivshmem->nr_vectors; i++)
		len += sysfs_emit_at(buf, len, "%u %llu\n", i,
				     ivshmem->vectors[i].count);

	return len;
}
static DEVICE_ATTR_RO(interrupts);

static ssize_t retrieved_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct ivshmem *ivshmem = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", ivshmem->retrieved);
}
static DEVICE_ATTR_RO(retrieved);

static struct attribute *ivshmem_attrs[] = {
	&dev_attr_interrupts.attr,
	&dev_attr_retrieved.attr,
	NULL
};

static const struct attribute_group ivshmem_group = {
	.name	= "liveupdate_ivshmem",
	.attrs	= ivshmem_attrs,
};
__ATTRIBUTE_GROUPS(ivshmem);

/* Live update */

static int ivshmem_liveupdate_prepare(struct device *dev,
				      struct liveupdate_data *data)
{
	struct ivshmem_saved *saved;

	/* Zeroed. */
	saved = liveupdate_data_alloc(data, sizeof(*saved));

	return PTR_ERR_OR_ZERO(saved);
}

/* No handler runs any more, and nothing has to be stopped before that. */
static void ivshmem_liveupdate_freeze_late(struct device *dev,
					   const struct liveupdate_data *data)
{
	struct ivshmem *ivshmem = dev_get_drvdata(dev);
	struct ivshmem_saved *saved = liveupdate_data_blob(data);

	guard(spinlock_irq)(&ivshmem->lock);
	saved->nr_vectors = ivshmem->nr_vectors;
	for (unsigned int i = 0; i < ivshmem->nr_vectors; i++)
		saved->counts[i] = ivshmem->vectors[i].count;
}

/*
 * Freezing leaves nothing to thaw, and prepare() nothing but the blob, which the core
 * frees. What waited in the device meanwhile has been served when it is thawed, or will be.
 */
static const struct dev_liveupdate_ops ivshmem_liveupdate_ops = {
	.compatible	= "sample,ivshmem",
	.version	= 1,
	.oldest		= 1,
	/* It has none. */
	.dma_api_only	= true,
	.prepare	= ivshmem_liveupdate_prepare,
	.freeze_late	= ivshmem_liveupdate_freeze_late,
};

/* The driver */

/* Use nothing that was saved before it is checked. */
static int ivshmem_take_over(struct ivshmem *ivshmem,
			     const struct liveupdate_data *data)
{
	const struct ivshmem_saved *saved = liveupdate_data_blob(data);

	if (data->size != sizeof(*saved) || saved->reserved ||
	    !saved->nr_vectors || saved->nr_vectors > IVSHMEM_VECTORS_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < IVSHMEM_VECTORS_MAX; i++) {
		if (i >= saved->nr_vectors && saved->counts[i])
			return -EINVAL;
		ivshmem->vectors[i].count = saved->counts[i];
	}
	ivshmem->nr_vectors = saved->nr_vectors;
	ivshmem->retrieved = true;

	return 0;
}

static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct liveupdate_data *data;
	struct device *dev = &pdev->dev;
	struct ivshmem *ivshmem;
	u32 version;
	int err;

	ivshmem = devm_kzalloc(dev, sizeof(*ivshmem), GFP_KERNEL);
	if (!ivshmem)
		return -ENOMEM;
	spin_lock_init(&ivshmem->lock);
	for (unsigned int i = 0; i < IVSHMEM_VECTORS_MAX; i++) {
		ivshmem->vectors[i].ivshmem = ivshmem;
		ivshmem->vectors[i].index = i;
	}
	pci_set_drvdata(pdev, ivshmem);

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	ivshmem->shared = pcim_iomap_region(pdev, IVSHMEM_SHARED_BAR, KBUILD_MODNAME);
	if (IS_ERR(ivshmem->shared))
		return PTR_ERR(ivshmem->shared);
	if (pci_resource_len(pdev, IVSHMEM_SHARED_BAR) < 4 * IVSHMEM_VECTORS_MAX)
		return -ENODEV;

	/* The counters must be there before the first interrupt can be. */
	data = device_liveupdate_retrieve(dev, &version);
	if (data) {
		err = ivshmem_take_over(ivshmem, data);
		if (err)
			return err;
		/* A vector less, and what waits for it would be lost. */
		err = pci_alloc_irq_vectors(pdev, ivshmem->nr_vectors,
					    ivshmem->nr_vectors, PCI_IRQ_MSIX);
	} else {
		err = pci_alloc_irq_vectors(pdev, 1, IVSHMEM_VECTORS_MAX,
					    PCI_IRQ_MSIX);
	}
	if (err < 0)
		return err;
	ivshmem->nr_vectors = err;

	/*
	 * An interrupt is a write by the device, so first it is allowed to, then each
	 * vector is unmasked. The other way round what waits would get lost.
	 */
	pci_set_master(pdev);
	for (unsigned int i = 0; i < ivshmem->nr_vectors; i++) {
		err = devm_request_irq(dev, pci_irq_vector(pdev, i),
				       ivshmem_interrupt, 0, KBUILD_MODNAME,
				       &ivshmem->vectors[i]);
		if (err)
			return err;
	}

	return 0;
}

static const struct pci_device_id ivshmem_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ivshmem_ids);

/* Without DMA there is nothing to stop: remove() and shutdown() are for free. */
static struct pci_driver ivshmem_driver = {
	.name		= "liveupdate_ivshmem",
	.id_table	= ivshmem_ids,
	.probe		= ivshmem_probe,
	.dev_groups	= ivshmem_groups,
	.driver		= {
		.liveupdate	= &ivshmem_liveupdate_ops,
	},
};
module_pci_driver(ivshmem_driver);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Live update sample: driver of QEMU's ivshmem-doorbell");
MODULE_LICENSE("GPL");
