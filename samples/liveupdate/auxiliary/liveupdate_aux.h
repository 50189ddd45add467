/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver of edu, liveupdate_aux_parent.c, lends to the drivers of its auxiliary
 * devices, liveupdate_aux_children.c.
 */

#ifndef _LIVEUPDATE_AUX_H
#define _LIVEUPDATE_AUX_H

#include <linux/bits.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/pci.h>
#include <linux/time64.h>

/* Names of the auxiliary devices, below the name of the parent's module. */
#define LIVEUPDATE_AUX_COPY		"copy"
#define LIVEUPDATE_AUX_FACTORIAL	"factorial"

#define EDU_ID			0x00
#define EDU_FACTORIAL		0x08
#define EDU_STATUS		0x20
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACKNOWLEDGE	0x64
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_DESTINATION	0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98
#define EDU_DMA_BUFFER		0x40000

#define EDU_ID_MASK		0xff
#define EDU_ID_EDU		0xed
#define EDU_STATUS_COMPUTING	BIT(0)
#define EDU_IRQ_DMA		BIT(8)
#define EDU_COMMAND_RUN		BIT(0)
#define EDU_COMMAND_FROM	BIT(1)
#define EDU_COMMAND_IRQ		BIT(2)

#define EDU_TIMEOUT_US		USEC_PER_SEC

/**
 * struct liveupdate_aux_part - platform data of both auxiliary devices
 * @regs: registers of the parent, of which each device has some.
 * @irq: interrupt of the parent, for the device that copies.
 */
struct liveupdate_aux_part {
	void __iomem *regs;
	int irq;
};

/*
 * Wait for the end of a transfer, which cannot be aborted, and drop what the device has
 * to say of it. May sleep. Returns 0, or -ETIMEDOUT: it may access memory.
 */
static inline int liveupdate_aux_stop(void __iomem *regs)
{
	u32 command;
	int err;

	err = read_poll_timeout(ioread32, command,
				!(command & EDU_COMMAND_RUN) ||
				PCI_POSSIBLE_ERROR(command),
				USEC_PER_MSEC, EDU_TIMEOUT_US, false,
				regs + EDU_DMA_COMMAND);
	if (!err)
		iowrite32(EDU_IRQ_DMA, regs + EDU_IRQ_ACKNOWLEDGE);

	return err;
}

#endif /* _LIVEUPDATE_AUX_H */
