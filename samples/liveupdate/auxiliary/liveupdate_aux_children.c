// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Auxiliary drivers in a live update
 *
 * Concept
 *   Drivers of the two parts of QEMU's device "edu" that liveupdate_aux_parent.c adds.
 *   One comes along when kexec replaces the kernel, the other one lets go of its part.
 *
 * The part that copies comes along
 *   A transfer of half a page between memory and edu's own buffer, by DMA, which takes
 *   100 ms. It goes on while no kernel runs. The memory is the parent's, as it is the
 *   parent that does the DMA: it is allocated, preserved and retrieved for the parent,
 *   under a tag that no other part uses. What is in flight and how many transfers
 *   there were is saved for this part, in &struct copy_saved.
 *
 *   freeze() makes the interrupt handler leave the device alone. The parent is frozen
 *   later, so interrupts go on to arrive, and what was written down must stay true. In the
 *   next kernel interrupts_missed() looks at what the device has to say.
 *
 * The part that computes does not
 *   What it computes is over in no time, and nothing of it is worth keeping. So the
 *   driver only says &dev_liveupdate_ops.detach: it is unbound at prepare, probed again at
 *   cancel, and in the next kernel the part is added and probed as ever. A driver of
 *   something that takes long to give up is better off to come along.
 */

#include <linux/auxiliary_bus.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/kstrtox.h>
#include <linux/liveupdate/data.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/dma.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/types.h>

#include "liveupdate_aux.h"

#define CHILDREN_OF		"liveupdate_aux_parent."

/* The memory, of which transfers reach the first half. */
#define COPY_SIZE		4096
#define COPY_LENGTH		2048

/* The tag of that memory among all that belongs to the parent. */
#define COPY_TAG		1

/* What is in flight, as it is saved. */
enum copy_transfer {
	COPY_NONE,
	COPY_TO,
	COPY_FROM,
};

/**
 * struct copy_saved - version 1 of what is compatible with "sample,edu-copy"
 * @transfer: in flight, &enum copy_transfer.
 * @reserved: zero.
 * @completed: transfers completed since the device was set up.
 */
struct copy_saved {
	u32 transfer;
	u32 reserved;
	u64 completed;
} __packed;

static_assert(sizeof(struct copy_saved) == 16);

struct copy {
	struct device *dev;
	void __iomem *regs;
	struct dma_liveupdate_buffer *buffer;
	struct mutex mutex;	/* beginning of transfers, content of the buffer */
	spinlock_t lock;	/* registers, and all below */
	enum copy_transfer transfer;
	u64 completed;
	u64 interrupts;
	bool frozen;
	bool retrieved;
};

/* The part that copies: the device */

static u32 copy_source(const struct copy *copy, enum copy_transfer transfer)
{
	return transfer == COPY_FROM ? EDU_DMA_BUFFER : lower_32_bits(copy->buffer->dma);
}

static u32 copy_destination(const struct copy *copy, enum copy_transfer transfer)
{
	return transfer == COPY_FROM ? lower_32_bits(copy->buffer->dma) : EDU_DMA_BUFFER;
}

static void copy_start(struct copy *copy, enum copy_transfer transfer)
{
	lockdep_assert_held(&copy->lock);

	copy->transfer = transfer;
	iowrite32(copy_source(copy, transfer), copy->regs + EDU_DMA_SOURCE);
	iowrite32(copy_destination(copy, transfer), copy->regs + EDU_DMA_DESTINATION);
	iowrite32(COPY_LENGTH, copy->regs + EDU_DMA_COUNT);
	iowrite32(EDU_COMMAND_RUN | EDU_COMMAND_IRQ |
		  (transfer == COPY_FROM ? EDU_COMMAND_FROM : 0),
		  copy->regs + EDU_DMA_COMMAND);
}

/* Is this what the device is doing, or did last? */
static bool copy_agrees(const struct copy *copy, enum copy_transfer transfer)
{
	u32 command = ioread32(copy->regs + EDU_DMA_COMMAND);

	if (transfer == COPY_NONE)
		return !(command & EDU_COMMAND_RUN);

	return ioread32(copy->regs + EDU_DMA_SOURCE) == copy_source(copy, transfer) &&
	       ioread32(copy->regs + EDU_DMA_DESTINATION) ==
			copy_destination(copy, transfer) &&
	       ioread32(copy->regs + EDU_DMA_COUNT) == COPY_LENGTH &&
	       !!(command & EDU_COMMAND_FROM) == (transfer == COPY_FROM) &&
	       command & EDU_COMMAND_IRQ;
}

/* What happened since the last time? */
static void copy_look(struct copy *copy)
{
	u32 status;

	lockdep_assert_held(&copy->lock);

	/* Left for thaw() or the next kernel, which could not find it otherwise. */
	if (copy->frozen)
		return;
	status = ioread32(copy->regs + EDU_IRQ_STATUS);
	if (!(status & EDU_IRQ_DMA) || PCI_POSSIBLE_ERROR(status))
		return;
	iowrite32(EDU_IRQ_DMA, copy->regs + EDU_IRQ_ACKNOWLEDGE);
	if (copy->transfer != COPY_NONE) {
		copy->transfer = COPY_NONE;
		copy->completed++;
	}
}

static irqreturn_t copy_interrupt(int irq, void *data)
{
	struct copy *copy = data;

	guard(spinlock)(&copy->lock);
	copy->interrupts++;
	copy_look(copy);

	return IRQ_HANDLED;
}

/* The part that copies: files */

static bool copy_busy(struct copy *copy)
{
	guard(spinlock_irq)(&copy->lock);

	return copy->frozen || copy->transfer != COPY_NONE;
}

static ssize_t transfer_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	struct copy *copy = dev_get_drvdata(dev);
	enum copy_transfer transfer;

	if (sysfs_streq(buf, "to"))
		transfer = COPY_TO;
	else if (sysfs_streq(buf, "from"))
		transfer = COPY_FROM;
	else
		return -EINVAL;

	guard(mutex)(&copy->mutex);
	if (copy_busy(copy))
		return -EBUSY;
	guard(spinlock_irq)(&copy->lock);
	copy_start(copy, transfer);

	return count;
}
static DEVICE_ATTR_WO(transfer);

static ssize_t in_flight_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	static const char *const names[] = {
		[COPY_NONE] = "none", [COPY_TO] = "to", [COPY_FROM] = "from",
	};
	struct copy *copy = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%s\n", names[READ_ONCE(copy->transfer)]);
}
static DEVICE_ATTR_RO(in_flight);

static ssize_t completed_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct copy *copy = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%llu\n", READ_ONCE(copy->completed));
}
static DEVICE_ATTR_RO(completed);

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr,
			       char *buf)
{
	struct copy *copy = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%llu\n", READ_ONCE(copy->interrupts));
}
static DEVICE_ATTR_RO(interrupts);

static ssize_t retrieved_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct copy *copy = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", copy->retrieved);
}
static DEVICE_ATTR_RO(retrieved);

static ssize_t buffer_read(struct file *file, struct kobject *kobj,
			   const struct bin_attribute *attr, char *buf,
			   loff_t offset, size_t count)
{
	struct copy *copy = dev_get_drvdata(kobj_to_dev(kobj));

	memcpy(buf, copy->buffer->address + offset, count);

	return count;
}

static ssize_t buffer_write(struct file *file, struct kobject *kobj,
			    const struct bin_attribute *attr, char *buf,
			    loff_t offset, size_t count)
{
	struct copy *copy = dev_get_drvdata(kobj_to_dev(kobj));

	guard(mutex)(&copy->mutex);
	if (copy_busy(copy))
		return -EBUSY;
	memcpy(copy->buffer->address + offset, buf, count);

	return count;
}

static const BIN_ATTR_ADMIN_RW(buffer, COPY_SIZE);

static struct attribute *copy_attrs[] = {
	&dev_attr_transfer.attr,
	&dev_attr_in_flight.attr,
	&dev_attr_completed.attr,
	&dev_attr_interrupts.attr,
	&dev_attr_retrieved.attr,
	NULL
};

static const struct bin_attribute *const copy_bin_attrs[] = {
	&bin_attr_buffer,
	NULL
};

static const struct attribute_group copy_group = {
	.name		= LIVEUPDATE_AUX_COPY,
	.attrs		= copy_attrs,
	.bin_attrs	= copy_bin_attrs,
};
__ATTRIBUTE_GROUPS(copy);

/* The part that copies: live update */

static int copy_liveupdate_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct copy *copy = dev_get_drvdata(dev);
	struct copy_saved *saved;

	saved = liveupdate_data_alloc(data, sizeof(*saved));
	if (IS_ERR(saved))
		return PTR_ERR(saved);

	return dma_liveupdate_preserve(copy->buffer);
}

static int copy_liveupdate_freeze(struct device *dev,
				  const struct liveupdate_data *data)
{
	struct copy_saved *saved = liveupdate_data_blob(data);
	struct copy *copy = dev_get_drvdata(dev);

	guard(mutex)(&copy->mutex);
	guard(spinlock_irq)(&copy->lock);
	copy->frozen = true;
	saved->transfer = copy->transfer;
	saved->completed = copy->completed;

	return 0;
}

static void copy_liveupdate_thaw(struct device *dev, const struct liveupdate_data *data)
{
	struct copy *copy = dev_get_drvdata(dev);

	guard(mutex)(&copy->mutex);
	guard(spinlock_irq)(&copy->lock);
	copy->frozen = false;
	copy_look(copy);
}

static void copy_liveupdate_cancel(struct device *dev, const struct liveupdate_data *data)
{
	struct copy *copy = dev_get_drvdata(dev);

	dma_liveupdate_unpreserve(copy->buffer);
}

/* In the next kernel. A transfer may have ended when no interrupt could tell. */
static void copy_liveupdate_interrupts_missed(struct device *dev)
{
	struct copy *copy = dev_get_drvdata(dev);

	guard(spinlock_irq)(&copy->lock);
	copy_look(copy);
}

static const struct dev_liveupdate_ops copy_liveupdate_ops = {
	.compatible	= "sample,edu-copy",
	.version	= 1,
	.oldest		= 1,
	.dma_api_only	= true,
	.prepare	= copy_liveupdate_prepare,
	.freeze		= copy_liveupdate_freeze,
	.thaw		= copy_liveupdate_thaw,
	.cancel		= copy_liveupdate_cancel,
	.interrupts_missed = copy_liveupdate_interrupts_missed,
};

/* The part that copies: the driver */

/* The device runs. Use nothing that was saved before it is checked. */
static int copy_take_over(struct copy *copy, const struct liveupdate_data *data)
{
	const struct copy_saved *saved = liveupdate_data_blob(data);

	if (data->size != sizeof(*saved) || saved->reserved || saved->transfer > COPY_FROM ||
	    !copy_agrees(copy, saved->transfer))
		return -EINVAL;

	copy->transfer = saved->transfer;
	copy->completed = saved->completed;
	copy->retrieved = true;

	return 0;
}

/*
 * The memory is freed when nothing accesses it any more. If the part was not taken over
 * it is kept by others.
 */
static void copy_release(void *data)
{
	struct copy *copy = data;

	if (!device_liveupdate_is_incoming(copy->dev) && liveupdate_aux_stop(copy->regs)) {
		dev_err(copy->dev, "a transfer does not end, its memory is not freed\n");
		return;
	}
	dma_liveupdate_free(copy->buffer);
}

static int copy_probe(struct auxiliary_device *auxdev,
		      const struct auxiliary_device_id *id)
{
	const struct liveupdate_aux_part *part = dev_get_platdata(&auxdev->dev);
	const struct liveupdate_data *data;
	struct device *dev = &auxdev->dev;
	struct copy *copy;
	u32 version;
	int err;

	copy = devm_kzalloc(dev, sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	copy->dev = dev;
	copy->regs = part->regs;
	mutex_init(&copy->mutex);
	spin_lock_init(&copy->lock);
	dev_set_drvdata(dev, copy);

	/* All memory is that of the parent, which was taken over before. */
	data = device_liveupdate_retrieve(dev, &version);
	if (data)
		copy->buffer = dma_liveupdate_retrieve_for(dev->parent, dev, COPY_SIZE,
							   COPY_TAG);
	else
		copy->buffer = dma_liveupdate_alloc(dev->parent, COPY_SIZE, COPY_TAG);
	if (IS_ERR(copy->buffer))
		return PTR_ERR(copy->buffer);
	err = devm_add_action_or_reset(dev, copy_release, copy);
	if (err)
		return err;

	/* Whoever had the part before may have left a transfer. */
	err = data ? copy_take_over(copy, data) : liveupdate_aux_stop(copy->regs);
	if (err)
		return err;

	return devm_request_irq(dev, part->irq, copy_interrupt, 0, dev_name(dev), copy);
}

/* Not called for a device that crosses the kexec. */
static void copy_shutdown(struct auxiliary_device *auxdev)
{
	struct copy *copy = auxiliary_get_drvdata(auxdev);

	/* The files are still there. */
	scoped_guard(mutex, &copy->mutex) {
		guard(spinlock_irq)(&copy->lock);
		copy->frozen = true;
	}
	liveupdate_aux_stop(copy->regs);
}

static const struct auxiliary_device_id copy_ids[] = {
	{ .name = CHILDREN_OF LIVEUPDATE_AUX_COPY },
	{ }
};
MODULE_DEVICE_TABLE(auxiliary, copy_ids);

static struct auxiliary_driver copy_driver = {
	.name		= LIVEUPDATE_AUX_COPY,
	.id_table	= copy_ids,
	.probe		= copy_probe,
	.shutdown	= copy_shutdown,
	.driver		= {
		.dev_groups	= copy_groups,
		.liveupdate	= &copy_liveupdate_ops,
	},
};

/* The part that computes */

/* Who computes. */
static DEFINE_MUTEX(factorial_mutex);

static ssize_t value_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct liveupdate_aux_part *part = dev_get_platdata(dev);

	guard(mutex)(&factorial_mutex);

	return sysfs_emit(buf, "%u\n", ioread32(part->regs + EDU_FACTORIAL));
}

static ssize_t value_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t count)
{
	const struct liveupdate_aux_part *part = dev_get_platdata(dev);
	u32 status;
	u8 value;
	int err;

	err = kstrtou8(buf, 0, &value);
	if (err)
		return err;

	guard(mutex)(&factorial_mutex);
	iowrite32(value, part->regs + EDU_FACTORIAL);
	err = read_poll_timeout(ioread32, status, !(status & EDU_STATUS_COMPUTING),
				USEC_PER_MSEC, EDU_TIMEOUT_US, false,
				part->regs + EDU_STATUS);

	return err ?: count;
}
static DEVICE_ATTR_RW(value);

static struct attribute *factorial_attrs[] = {
	&dev_attr_value.attr,
	NULL
};

static const struct attribute_group factorial_group = {
	.name		= LIVEUPDATE_AUX_FACTORIAL,
	.attrs		= factorial_attrs,
};
__ATTRIBUTE_GROUPS(factorial);

/* It is unbound at prepare, when nobody computes any more. */
static const struct dev_liveupdate_ops factorial_liveupdate_ops = {
	.detach		= true,
};

/* All it does is in its files, which are there while it is bound. */
static int factorial_probe(struct auxiliary_device *auxdev,
			   const struct auxiliary_device_id *id)
{
	return 0;
}

static const struct auxiliary_device_id factorial_ids[] = {
	{ .name = CHILDREN_OF LIVEUPDATE_AUX_FACTORIAL },
	{ }
};
MODULE_DEVICE_TABLE(auxiliary, factorial_ids);

static struct auxiliary_driver factorial_driver = {
	.name		= LIVEUPDATE_AUX_FACTORIAL,
	.id_table	= factorial_ids,
	.probe		= factorial_probe,
	.driver		= {
		.dev_groups	= factorial_groups,
		.liveupdate	= &factorial_liveupdate_ops,
	},
};

static int __init children_init(void)
{
	int err;

	err = auxiliary_driver_register(&copy_driver);
	if (err)
		return err;
	err = auxiliary_driver_register(&factorial_driver);
	if (err)
		auxiliary_driver_unregister(&copy_driver);

	return err;
}
module_init(children_init);

static void __exit children_exit(void)
{
	auxiliary_driver_unregister(&factorial_driver);
	auxiliary_driver_unregister(&copy_driver);
}
module_exit(children_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Live update sample: drivers of the parts of QEMU's edu");
MODULE_LICENSE("GPL");
