// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A PCI driver that takes part in a live update
 *
 * Concept
 *   QEMU's device "edu" copies between memory and a buffer of its own by DMA, which
 *   takes 100 ms, and signals the end with an MSI. This driver keeps it running while
 *   one kernel replaces another: a transfer that was started before goes on while no
 *   kernel runs, lands in memory that was preserved for it, and is found by the
 *   driver of the next kernel. It is there to be copied from.
 *
 * What is handed over
 *   The buffer in memory, by the DMA layer, under a tag. What the device is doing, by
 *   this driver, in &struct edu_saved. There is no address in it: the next driver
 *   gets the buffer back by its tag, and compares what the device works on.
 *
 * Lifecycle
 *   1. prepare() does what can fail or takes long. Transfers go on as ever.
 *   2. freeze() lets no transfer begin and writes down the one in flight. From then
 *      on the interrupt handler leaves the device alone, so that what was written
 *      down stays true. What happens later waits in the interrupt status register.
 *   3. thaw() lets transfers begin again and looks what waited. cancel() undoes
 *      prepare().
 *   4. In the next kernel probe() asks for what was saved. If there is something, it
 *      is checked against the device, which is only read. If not, the device is set
 *      up from nothing.
 *
 *   There is no finish(): nothing is kept that only the hand-over needed.
 *
 * Interrupts
 *   MSI is off during the kexec, so the interrupt of a transfer that ends there is
 *   lost. The PCI core says so after the device was taken over, and the driver looks at
 *   what the device has to say, as its handler does.
 *
 * Locking
 *   The mutex serialises those who begin a transfer or write to the buffer, and the
 *   live update. The spinlock, taken inside of it and by the interrupt handler,
 *   protects the registers, the transfer in flight, and the counters. The flag
 *   frozen changes under both.
 */

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/dma.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/time64.h>
#include <linux/types.h>

/* Registers, and edu's own buffer as it is addressed in transfers. */
#define EDU_ID			0x00
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACKNOWLEDGE	0x64
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_DESTINATION	0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98
#define EDU_DMA_BUFFER		0x40000

#define EDU_ID_MASK		0xff
#define EDU_ID_EDU		0xed
#define EDU_IRQ_DMA		BIT(8)
#define EDU_COMMAND_RUN		BIT(0)
#define EDU_COMMAND_FROM	BIT(1)
#define EDU_COMMAND_IRQ		BIT(2)

#define EDU_BUFFER_SIZE		4096
#define EDU_TRANSFER_MAX	2048
#define EDU_TRANSFER_US		USEC_PER_SEC

/* The tag of the only buffer. */
#define EDU_TAG			1

/**
 * struct edu_saved - version 1 of what is compatible with "sample,edu"
 * @direction: of the transfer in flight: 0 to the device, 1 from it.
 * @offset: where in both buffers it begins.
 * @length: its bytes, 0 if none is in flight; then the two above are 0, too.
 * @reserved: zero.
 * @completed: transfers completed since the device was set up.
 */
struct edu_saved {
	u32 direction;
	u32 offset;
	u32 length;
	u32 reserved;
	u64 completed;
} __packed;

static_assert(sizeof(struct edu_saved) == 24);

/* No transfer if @length is 0. */
struct edu_transfer {
	bool from;
	u32 offset;
	u32 length;
	u32 source;
	u32 destination;
};

struct edu {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct dma_liveupdate_buffer *buffer;
	struct mutex mutex;	/* beginning of transfers, content of the buffer */
	spinlock_t lock;	/* registers, and all below */
	struct edu_transfer transfer;
	u64 completed;
	u64 interrupts;
	bool frozen;
	bool retrieved;
};

/* The device */

/* Describe a transfer, if it is one that edu can do. */
static int edu_describe(const struct edu *edu, struct edu_transfer *transfer,
			bool from, u32 offset, u32 length)
{
	u32 memory = lower_32_bits(edu->buffer->dma) + offset;
	u32 device = EDU_DMA_BUFFER + offset;

	/* QEMU ends if a transfer reaches the last byte of edu's buffer. */
	if (!length || length > EDU_TRANSFER_MAX || offset >= EDU_BUFFER_SIZE - length)
		return -EINVAL;

	*transfer = (struct edu_transfer){
		.from		= from,
		.offset		= offset,
		.length		= length,
		.source		= from ? device : memory,
		.destination	= from ? memory : device,
	};

	return 0;
}

static void edu_start(struct edu *edu, const struct edu_transfer *transfer)
{
	lockdep_assert_held(&edu->lock);

	edu->transfer = *transfer;
	iowrite32(transfer->source, edu->regs + EDU_DMA_SOURCE);
	iowrite32(transfer->destination, edu->regs + EDU_DMA_DESTINATION);
	iowrite32(transfer->length, edu->regs + EDU_DMA_COUNT);
	iowrite32(EDU_COMMAND_RUN | EDU_COMMAND_IRQ |
		  (transfer->from ? EDU_COMMAND_FROM : 0),
		  edu->regs + EDU_DMA_COMMAND);
}

/* Is this what the device is doing, or did last? */
static bool edu_agrees(const struct edu *edu, const struct edu_transfer *transfer)
{
	u32 command = ioread32(edu->regs + EDU_DMA_COMMAND);

	if (!transfer->length)
		return !(command & EDU_COMMAND_RUN);

	return ioread32(edu->regs + EDU_DMA_SOURCE) == transfer->source &&
	       ioread32(edu->regs + EDU_DMA_DESTINATION) == transfer->destination &&
	       ioread32(edu->regs + EDU_DMA_COUNT) == transfer->length &&
	       !!(command & EDU_COMMAND_FROM) == transfer->from &&
	       command & EDU_COMMAND_IRQ;
}

/* What happened since the last time? */
static void edu_look(struct edu *edu)
{
	u32 status;

	lockdep_assert_held(&edu->lock);

	/* Left for thaw() or the next kernel, which could not find it otherwise. */
	if (edu->frozen)
		return;
	status = ioread32(edu->regs + EDU_IRQ_STATUS);
	if (!status || PCI_POSSIBLE_ERROR(status))
		return;
	iowrite32(status, edu->regs + EDU_IRQ_ACKNOWLEDGE);
	if ((status & EDU_IRQ_DMA) && edu->transfer.length) {
		edu->transfer = (struct edu_transfer){};
		edu->completed++;
	}
}

static irqreturn_t edu_interrupt(int irq, void *data)
{
	struct edu *edu = data;

	guard(spinlock)(&edu->lock);
	edu->interrupts++;
	edu_look(edu);

	return IRQ_HANDLED;
}

/* On return the device accesses no memory. A transfer cannot be aborted. */
static int edu_stop(struct edu *edu)
{
	u32 command;
	int err;

	err = read_poll_timeout(ioread32, command,
				!(command & EDU_COMMAND_RUN) ||
				PCI_POSSIBLE_ERROR(command),
				USEC_PER_MSEC, EDU_TRANSFER_US, false,
				edu->regs + EDU_DMA_COMMAND);
	if (err)
		pci_warn(edu->pdev, "a transfer does not end\n");
	pci_clear_master(edu->pdev);
	iowrite32(~0, edu->regs + EDU_IRQ_ACKNOWLEDGE);

	return err;
}

/* Files */

static bool edu_busy(struct edu *edu)
{
	guard(spinlock_irq)(&edu->lock);

	return edu->frozen || edu->transfer.length;
}

static ssize_t transfer_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	struct edu *edu = dev_get_drvdata(dev);
	struct edu_transfer transfer;
	char direction[5];
	u32 offset, length;
	int end = 0;
	bool from;

	if (sscanf(buf, "%4s %9u %9u%n", direction, &offset, &length, &end) != 3 ||
	    !sysfs_streq(buf + end, ""))
		return -EINVAL;
	from = !strcmp(direction, "from");
	if ((!from && strcmp(direction, "to")) ||
	    edu_describe(edu, &transfer, from, offset, length))
		return -EINVAL;

	guard(mutex)(&edu->mutex);
	if (edu_busy(edu))
		return -EBUSY;
	guard(spinlock_irq)(&edu->lock);
	edu_start(edu, &transfer);

	return count;
}
static DEVICE_ATTR_WO(transfer);

static ssize_t in_flight_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct edu *edu = dev_get_drvdata(dev);

	guard(spinlock_irq)(&edu->lock);
	if (!edu->transfer.length)
		return sysfs_emit(buf, "none\n");

	return sysfs_emit(buf, "%s %u %u\n", edu->transfer.from ? "from" : "to",
			  edu->transfer.offset, edu->transfer.length);
}
static DEVICE_ATTR_RO(in_flight);

static ssize_t completed_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct edu *edu = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%llu\n", READ_ONCE(edu->completed));
}
static DEVICE_ATTR_RO(completed);

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr,
			       char *buf)
{
	struct edu *edu = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%llu\n", READ_ONCE(edu->interrupts));
}
static DEVICE_ATTR_RO(interrupts);

static ssize_t retrieved_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct edu *edu = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", edu->retrieved);
}
static DEVICE_ATTR_RO(retrieved);

static ssize_t buffer_read(struct file *file, struct kobject *kobj,
			   const struct bin_attribute *attr, char *buf,
			   loff_t offset, size_t count)
{
	struct edu *edu = dev_get_drvdata(kobj_to_dev(kobj));

	memcpy(buf, edu->buffer->address + offset, count);

	return count;
}

static ssize_t buffer_write(struct file *file, struct kobject *kobj,
			    const struct bin_attribute *attr, char *buf,
			    loff_t offset, size_t count)
{
	struct edu *edu = dev_get_drvdata(kobj_to_dev(kobj));

	guard(mutex)(&edu->mutex);
	if (edu_busy(edu))
		return -EBUSY;
	memcpy(edu->buffer->address + offset, buf, count);

	return count;
}

static const BIN_ATTR_ADMIN_RW(buffer, EDU_BUFFER_SIZE);

static struct attribute *edu_attrs[] = {
	&dev_attr_transfer.attr,
	&dev_attr_in_flight.attr,
	&dev_attr_completed.attr,
	&dev_attr_interrupts.attr,
	&dev_attr_retrieved.attr,
	NULL
};

static const struct bin_attribute *const edu_bin_attrs[] = {
	&bin_attr_buffer,
	NULL
};

static const struct attribute_group edu_group = {
	.name		= "liveupdate_edu",
	.attrs		= edu_attrs,
	.bin_attrs	= edu_bin_attrs,
};
__ATTRIBUTE_GROUPS(edu);

/* Live update */

static int edu_liveupdate_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct edu *edu = dev_get_drvdata(dev);
	struct edu_saved *saved;

	/* Zeroed. If this function fails it is freed by the core. */
	saved = liveupdate_data_alloc(data, sizeof(*saved));
	if (IS_ERR(saved))
		return PTR_ERR(saved);

	return dma_liveupdate_preserve(edu->buffer);
}

static int edu_liveupdate_freeze(struct device *dev,
				 const struct liveupdate_data *data)
{
	struct edu_saved *saved = liveupdate_data_blob(data);
	struct edu *edu = dev_get_drvdata(dev);

	guard(mutex)(&edu->mutex);
	guard(spinlock_irq)(&edu->lock);
	edu->frozen = true;
	saved->direction = edu->transfer.from;
	saved->offset = edu->transfer.offset;
	saved->length = edu->transfer.length;
	saved->completed = edu->completed;

	return 0;
}

static void edu_liveupdate_thaw(struct device *dev,
				const struct liveupdate_data *data)
{
	struct edu *edu = dev_get_drvdata(dev);

	guard(mutex)(&edu->mutex);
	guard(spinlock_irq)(&edu->lock);
	edu->frozen = false;
	edu_look(edu);
}

static void edu_liveupdate_cancel(struct device *dev,
				  const struct liveupdate_data *data)
{
	struct edu *edu = dev_get_drvdata(dev);

	dma_liveupdate_unpreserve(edu->buffer);
}

/* In the next kernel. A transfer may have ended when no interrupt could tell. */
static void edu_liveupdate_interrupts_missed(struct device *dev)
{
	struct edu *edu = dev_get_drvdata(dev);

	guard(spinlock_irq)(&edu->lock);
	edu_look(edu);
}

static const struct dev_liveupdate_ops edu_liveupdate_ops = {
	.compatible	= "sample,edu",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
	.prepare	= edu_liveupdate_prepare,
	.freeze		= edu_liveupdate_freeze,
	.thaw		= edu_liveupdate_thaw,
	.cancel		= edu_liveupdate_cancel,
	.interrupts_missed = edu_liveupdate_interrupts_missed,
};

/* The driver */

/* The device runs. Use nothing that was saved before it is checked. */
static int edu_take_over(struct edu *edu, const struct liveupdate_data *data)
{
	const struct edu_saved *saved = liveupdate_data_blob(data);
	struct edu_transfer transfer = {};

	if (data->size != sizeof(*saved) || saved->direction > 1 || saved->reserved)
		return -EINVAL;
	if ((saved->direction || saved->offset || saved->length) &&
	    edu_describe(edu, &transfer, saved->direction, saved->offset,
			 saved->length))
		return -EINVAL;
	if (!edu_agrees(edu, &transfer))
		return -EINVAL;

	edu->transfer = transfer;
	edu->completed = saved->completed;
	edu->retrieved = true;

	return 0;
}

/* Whoever had the device before may have left a transfer, to memory now in use. */
static int edu_set_up(struct edu *edu)
{
	pci_clear_master(edu->pdev);

	return edu_stop(edu);
}

/*
 * The device stops before its buffer is freed. Unless it was not taken over: then it
 * is quiesced by others, or runs until another probe, and its buffer is kept.
 */
static void edu_release(void *data)
{
	struct edu *edu = data;

	if (!device_liveupdate_is_incoming(&edu->pdev->dev))
		edu_stop(edu);
	dma_liveupdate_free(edu->buffer);
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct liveupdate_data *data;
	struct device *dev = &pdev->dev;
	struct edu *edu;
	u32 version;
	int err;

	edu = devm_kzalloc(dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	mutex_init(&edu->mutex);
	spin_lock_init(&edu->lock);
	pci_set_drvdata(pdev, edu);

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	/* By default it ignores more bits; see the help text of the option. */
	err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (err)
		return err;
	edu->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	if ((ioread32(edu->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_EDU)
		return -ENODEV;

	data = device_liveupdate_retrieve(dev, &version);
	if (data)
		edu->buffer = dma_liveupdate_retrieve(dev, EDU_BUFFER_SIZE, EDU_TAG);
	else
		edu->buffer = dma_liveupdate_alloc(dev, EDU_BUFFER_SIZE, EDU_TAG);
	if (IS_ERR(edu->buffer))
		return PTR_ERR(edu->buffer);
	err = devm_add_action_or_reset(dev, edu_release, edu);
	if (err)
		return err;

	err = data ? edu_take_over(edu, data) : edu_set_up(edu);
	if (err)
		return err;

	/* The handler may run from here on, so all it looks at is in place. */
	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (err < 0)
		return err;
	err = devm_request_irq(dev, pci_irq_vector(pdev, 0), edu_interrupt, 0,
			       KBUILD_MODNAME, edu);
	if (err)
		return err;

	/* Of a device that was taken over it is set already, and nothing is written. */
	pci_set_master(pdev);

	return 0;
}

/* The files are gone. The rest goes by itself, in reverse order. */
static void edu_remove(struct pci_dev *pdev)
{
	edu_stop(pci_get_drvdata(pdev));
}

/* Not called for a device that crosses the kexec. */
static void edu_shutdown(struct pci_dev *pdev)
{
	struct edu *edu = pci_get_drvdata(pdev);

	/* The files are still there. */
	scoped_guard(mutex, &edu->mutex) {
		guard(spinlock_irq)(&edu->lock);
		edu->frozen = true;
	}
	edu_stop(edu);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name		= "liveupdate_edu",
	.id_table	= edu_ids,
	.probe		= edu_probe,
	.remove		= edu_remove,
	.shutdown	= edu_shutdown,
	.dev_groups	= edu_groups,
	.driver		= {
		.liveupdate	= &edu_liveupdate_ops,
	},
};
module_pci_driver(edu_driver);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Live update sample: driver of QEMU's edu");
MODULE_LICENSE("GPL");
