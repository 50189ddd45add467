// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Interrupts, resources and resets over the kexec
 *
 * What freezing does to the interrupts of a function, what the next driver finds,
 * how long resources stay where they are, how a function is stopped that nobody takes
 * over, and who may reset one that is prepared.
 */

#include <kunit/static_stub.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/liveupdate/device.h>
#include <linux/pci.h>

#include "liveupdate_kunit.h"

/* Freezing and thawing. */

/* The driver went back to INTx since it was prepared. */
static void plu_freeze_intx_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->msix_enabled = 1;
	KUNIT_EXPECT_EQ(test, 0, plu_prepare(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	pdev->msix_enabled = 0;
	plu.nr_writes = 0;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, plu_freeze(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	KUNIT_EXPECT_EQ(test, plu.nr_writes, 0);
}

static void plu_freeze_msix_test(struct kunit *test)
{
	u16 enabled = 3 | PCI_MSIX_FLAGS_ENABLE;
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->msix_enabled = 1;
	plu_set(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2, enabled);
	plu.nr_writes = 0;

	KUNIT_EXPECT_EQ(test, 0, plu_freeze(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	KUNIT_EXPECT_EQ(test, enabled | PCI_MSIX_FLAGS_MASKALL,
			plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			PCI_COMMAND_INTX_DISABLE,
			plu_config(PLU_FIRST, PCI_COMMAND, 2));

	pci_liveupdate_ops.thaw(&pdev->dev, DEVICE_LIVEUPDATE_ENDPOINT);
	KUNIT_EXPECT_EQ(test, enabled,
			plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS,
					   PCI_MSIX_FLAGS_ENABLE, false));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));
	pdev->msix_enabled = 0;
}

struct plu_interrupt {
	atomic_t count;
};

static irqreturn_t plu_interrupt(int irq, void *data)
{
	struct plu_interrupt *interrupt = data;

	atomic_inc(&interrupt->count);

	return IRQ_HANDLED;
}

static void plu_get_msi(struct kunit *test, struct pci_dev *pdev,
			struct plu_interrupt *interrupt)
{
	atomic_set(&interrupt->count, 0);
	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_ASSERT_EQ(test, 1, pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI));
	KUNIT_ASSERT_EQ(test, 0, request_irq(pci_irq_vector(pdev, 0), plu_interrupt,
					     0, "pci_liveupdate", interrupt));
}

static void plu_put_msi(struct pci_dev *pdev, struct plu_interrupt *interrupt)
{
	free_irq(pci_irq_vector(pdev, 0), interrupt);
	pci_free_irq_vectors(pdev);
	pci_disable_device(pdev);
}

static u32 plu_msi_flags(enum plu_index index)
{
	return plu_config(index, PLU_MSI + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE;
}

static void plu_freeze_maskable_test(struct kunit *test)
{
	struct plu_interrupt interrupt;
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_MASKABLE);
	plu_get_msi(test, pdev, &interrupt);
	KUNIT_EXPECT_EQ(test, 0, plu_config(PLU_MASKABLE, PLU_MSI + PCI_MSI_MASK_64, 4));
	KUNIT_EXPECT_TRUE(test, plu_msi_flags(PLU_MASKABLE));

	plu.nr_writes = 0;
	KUNIT_EXPECT_EQ(test, 0, plu_freeze(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	KUNIT_EXPECT_FALSE(test, plu_msi_flags(PLU_MASKABLE));

	pci_liveupdate_ops.thaw(&pdev->dev, DEVICE_LIVEUPDATE_ENDPOINT);
	KUNIT_EXPECT_TRUE(test, plu_msi_flags(PLU_MASKABLE));
	KUNIT_EXPECT_EQ(test, 0, plu_config(PLU_MASKABLE, PLU_MSI + PCI_MSI_MASK_64, 4));
	/* Masks are the business of the interrupt core. */
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_MASKABLE, PLU_MSI + PCI_MSI_MASK_64, 4));
	plu_put_msi(pdev, &interrupt);
}

static void plu_freeze_msi_test(struct kunit *test)
{
	struct plu_interrupt interrupt;
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_PLAIN_MSI);
	plu_get_msi(test, pdev, &interrupt);

	KUNIT_EXPECT_EQ(test, 0, plu_freeze(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	KUNIT_EXPECT_FALSE(test, plu_msi_flags(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				PCI_COMMAND_INTX_DISABLE);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&interrupt.count));

	pci_liveupdate_ops.thaw(&pdev->dev, DEVICE_LIVEUPDATE_ENDPOINT);
	KUNIT_EXPECT_TRUE(test, plu_msi_flags(PLU_PLAIN_MSI));
	plu_put_msi(pdev, &interrupt);
}

/* A handler in a thread, which takes its time. */
struct plu_thread {
	struct completion runs;
	bool done;
};

static irqreturn_t plu_thread_handler(int irq, void *data)
{
	struct plu_thread *thread = data;

	complete(&thread->runs);
	msleep(100);
	WRITE_ONCE(thread->done, true);

	return IRQ_HANDLED;
}

/* None runs any more when a function is frozen. */
static void plu_freeze_thread_test(struct kunit *test)
{
	struct plu_thread thread = {};
	struct pci_dev *pdev;
	int irq;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_MASKABLE);
	init_completion(&thread.runs);
	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_ASSERT_EQ(test, 1, pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI));
	irq = pci_irq_vector(pdev, 0);
	KUNIT_ASSERT_EQ(test, 0, request_threaded_irq(irq, NULL, plu_thread_handler,
						      IRQF_ONESHOT, "pci_liveupdate",
						      &thread));
	irq_wake_thread(irq, &thread);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&thread.runs, HZ));

	KUNIT_EXPECT_EQ(test, 0, plu_freeze(pdev, DEVICE_LIVEUPDATE_ENDPOINT));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(thread.done));

	pci_liveupdate_ops.thaw(&pdev->dev, DEVICE_LIVEUPDATE_ENDPOINT);
	free_irq(irq, &thread);
	pci_free_irq_vectors(pdev);
	pci_disable_device(pdev);
}

static unsigned int plu_missed;

static void plu_interrupts_missed(struct device *dev)
{
	plu_missed++;
}

static const struct dev_liveupdate_ops plu_driver_ops = {
	.interrupts_missed = plu_interrupts_missed,
};

static struct device_driver plu_driver = {
	.name		= "pci_liveupdate",
	.liveupdate	= &plu_driver_ops,
};

/* As if this driver had been bound. How often it was told of interrupts it missed. */
static unsigned int plu_complete(struct pci_dev *pdev, bool reclaimed)
{
	plu_missed = 0;
	pdev->dev.driver = &plu_driver;
	pci_liveupdate_ops.completed(&pdev->dev, reclaimed);
	pdev->dev.driver = NULL;

	return plu_missed;
}

static void plu_reclaimed_test(struct kunit *test)
{
	struct plu_interrupt interrupt;
	struct pci_dev *pdev;

	plu_scan(test, BIT(PLU_FIRST) | BIT(PLU_MASKABLE) | BIT(PLU_PLAIN_MSI));
	pdev = plu_dev(test, PLU_PLAIN_MSI);
	plu_get_msi(test, pdev, &interrupt);
	KUNIT_EXPECT_EQ(test, 1, plu_complete(pdev, true));
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&interrupt.count));
	plu_put_msi(pdev, &interrupt);

	/* One that polls hears of it, too, one that set the function up anew does not. */
	KUNIT_EXPECT_EQ(test, 0, plu_complete(plu_dev(test, PLU_MASKABLE), false));
	KUNIT_EXPECT_EQ(test, 1, plu_complete(plu_dev(test, PLU_FIRST), true));

	/* MSI-X delivers what it has latched. */
	pdev = plu_dev(test, PLU_FIRST);
	set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	pdev->msix_enabled = 1;
	KUNIT_EXPECT_EQ(test, 0, plu_complete(pdev, true));
	pdev->msix_enabled = 0;
}

static bool plu_intx(enum plu_index index)
{
	return !(plu_config(index, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
}

static bool plu_msix(enum plu_index index)
{
	return plu_config(index, PLU_MSIX + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE;
}

/* BARs stay where they are as long as the function runs, and no longer. */
static void plu_fixed_test(struct kunit *test)
{
	struct resource *res;
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_FIRST));
	pdev = plu_dev(test, PLU_FIRST);
	res = &pdev->resource[1];

	for (unsigned int i = 0; i < 3; i++) {
		set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
		pci_liveupdate_fix_resources(pdev);
		/* It says that it did, and does not. */
		KUNIT_EXPECT_EQ(test, 0, pci_assign_resource(pdev, 1));
		KUNIT_EXPECT_NULL(test, res->parent);

		scoped_guard(device, &pdev->dev) {
			if (i == 0)
				pci_liveupdate_ops.completed(&pdev->dev, true);
			else if (i == 1)
				pci_liveupdate_error(pdev);
			else
				pci_liveupdate_ops.quarantine(&pdev->dev);
		}
		KUNIT_EXPECT_EQ(test, 0, pci_assign_resource(pdev, 1));
		KUNIT_ASSERT_NOT_NULL(test, res->parent);
		KUNIT_EXPECT_EQ(test, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_1, 4),
				res->start);
		release_resource(res);
	}
}

/* What cannot be moved at all is not moved afterwards either. */
static void plu_fixed_for_good_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->resource[0].flags |= IORESOURCE_PCI_FIXED;
	set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	pci_liveupdate_fix_resources(pdev);
	KUNIT_EXPECT_TRUE(test, pdev->resource[1].flags & IORESOURCE_PCI_FIXED);

	pci_liveupdate_ops.completed(&pdev->dev, true);
	KUNIT_EXPECT_TRUE(test, pdev->resource[0].flags & IORESOURCE_PCI_FIXED);
	KUNIT_EXPECT_FALSE(test, pdev->resource[1].flags & IORESOURCE_PCI_FIXED);
}

/* A function without BARs, which can be enabled, with both kinds of MSI. */
static struct pci_dev *plu_scan_both(struct kunit *test)
{
	plu_set(PLU_PLAIN_MSI, PLU_MSI + 1, 1, PLU_MSIX);
	plu_set(PLU_PLAIN_MSI, PLU_MSIX, 2, PCI_CAP_ID_MSIX);
	plu_allow(PLU_PLAIN_MSI, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		  PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	plu_leave_frozen(PLU_PLAIN_MSI);
	plu_scan(test, BIT(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));

	return plu_dev(test, PLU_PLAIN_MSI);
}

/* A driver that took over, or did not, sets up nothing where MSI-X was used. */
static void plu_completed_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_leave_frozen(PLU_BELOW);
	plu_scan(test, BIT(PLU_FIRST) | BIT(PLU_BRIDGE) | BIT(PLU_BELOW));

	pdev = plu_dev(test, PLU_FIRST);
	pci_liveupdate_ops.completed(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_FIRST));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_FIRST));

	pdev = plu_dev(test, PLU_BELOW);
	pci_liveupdate_ops.completed(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_BELOW));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_BELOW));
}

/* A driver that polls says so, whoever wanted INTx before. */
static void plu_completed_polled_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	pci_intx(pdev, 0);
	pci_liveupdate_ops.completed(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	pci_disable_device(pdev);
}

/* The same of one that did not take it over. */
static void plu_released_polled_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	pci_intx(pdev, 0);
	pci_liveupdate_ops.completed(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	pci_disable_device(pdev);
}

/* A driver that asks for INTx gets it at once, and nothing beside it. */
static void plu_completed_intx_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	pci_intx(pdev, 1);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_PLAIN_MSI));
	pci_liveupdate_ops.completed(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_PLAIN_MSI));
	pci_disable_device(pdev);
}

/* Of two kinds of interrupts only that in use is on, at any time. */
static void plu_completed_msi_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);
	struct plu_interrupt interrupt;

	plu_get_msi(test, pdev, &interrupt);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));

	pci_liveupdate_ops.completed(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_msi_flags(PLU_PLAIN_MSI));
	plu_put_msi(pdev, &interrupt);
}

/* A probe that is deferred after it set up interrupts. */
static void plu_deferred_test(struct kunit *test)
{
	struct plu_interrupt interrupt;
	struct pci_dev *pdev;

	plu_set(PLU_PLAIN_MSI, PCI_COMMAND, 2, PCI_COMMAND_MEMORY |
		PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	plu_scan(test, BIT(PLU_PLAIN_MSI));
	pdev = plu_dev(test, PLU_PLAIN_MSI);
	plu_get_msi(test, pdev, &interrupt);
	plu_put_msi(pdev, &interrupt);
	KUNIT_EXPECT_EQ(test, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			PCI_COMMAND_INTX_DISABLE,
			plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2));
}

/* Quarantine. */

static void plu_quarantine_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_FIRST));
	pdev = plu_dev(test, PLU_FIRST);
	plu.nr_writes = 0;

	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.quarantine(&pdev->dev));

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);
	/* DMA is off before anything else, and stays so after the reset. */
	KUNIT_ASSERT_GT(test, plu.nr_writes, 0);
	KUNIT_EXPECT_EQ(test, PCI_COMMAND, plu.writes[0].where);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_MASTER, true));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2) &
				 PCI_MSIX_FLAGS_ENABLE);
	KUNIT_EXPECT_EQ(test, PLU_BAR0, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_0, 4));
}

static void plu_quarantine_no_reset_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_set(PLU_PLAIN_MSI, PLU_MSI + PCI_MSI_FLAGS, 2,
		PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
	plu_scan(test, BIT(PLU_PLAIN_MSI));
	pdev = plu_dev(test, PLU_PLAIN_MSI);
	plu_set(PLU_PLAIN_MSI, PLU_MSI + PCI_MSI_FLAGS, 2,
		PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
	plu_set(PLU_PLAIN_MSI, PCI_COMMAND, 2, PCI_COMMAND_MEMORY |
		PCI_COMMAND_MASTER);

	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, -ENOTTY,
				pci_liveupdate_ops.quarantine(&pdev->dev));

	KUNIT_EXPECT_FALSE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
	KUNIT_EXPECT_FALSE(test, plu_msi_flags(PLU_PLAIN_MSI));

	/* Where there was no DMA, none has to be stopped. */
	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.quarantine(&pdev->dev));
}

/*
 * As long as the bus is scanned nobody knows who else would be reset. Afterwards a
 * function that is alone is reset by the bridge above.
 */
static void plu_quarantine_bus_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_set(PLU_BELOW, PLU_EXP + PCI_EXP_DEVCAP, 4, 0);
	plu_leave_frozen(PLU_BELOW);
	plu_scan(test, BIT(PLU_BRIDGE) | BIT(PLU_BELOW));
	pdev = plu_dev(test, PLU_BELOW);

	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, -ENOTTY,
				pci_liveupdate_ops.quarantine(&pdev->dev));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_BELOW, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_BRIDGE, PCI_BRIDGE_CONTROL,
					   PCI_BRIDGE_CTL_BUS_RESET, true));

	pci_dev_allow_binding(pdev);
	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.quarantine(&pdev->dev));
	KUNIT_EXPECT_TRUE(test, plu_wrote(PLU_BRIDGE, PCI_BRIDGE_CONTROL,
					  PCI_BRIDGE_CTL_BUS_RESET, true));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_BELOW, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
}

static void plu_quarantine_bridge_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, BIT(PLU_BRIDGE));
	pdev = plu_dev(test, PLU_BRIDGE);
	plu.nr_writes = 0;

	scoped_guard(device, &pdev->dev)
		KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.quarantine(&pdev->dev));

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_BRIDGE, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
	KUNIT_EXPECT_EQ(test, 1, plu.nr_writes);
}

/* Resets of a prepared function. */

static int plu_busy(struct device *dev)
{
	return -EBUSY;
}

static void plu_reset_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	KUNIT_EXPECT_EQ(test, 0, pci_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);

	plu.nr_writes = 0;
	kunit_activate_static_stub(test, device_liveupdate_check_change, plu_busy);
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_try_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);
	KUNIT_EXPECT_EQ(test, 0, plu.nr_writes);
}

static void plu_reset_incoming_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_FIRST));
	pdev = plu_dev(test, PLU_FIRST);
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_try_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, 0, plu.functions[PLU_FIRST].resets);

	scoped_guard(device, &pdev->dev)
		pci_liveupdate_error(pdev);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_is_incoming(pdev));
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_FIRST));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
	KUNIT_EXPECT_EQ(test, 0, pci_reset_function(pdev));
}

static struct kunit_case plu_state_cases[] = {
	KUNIT_CASE(plu_freeze_intx_test),
	KUNIT_CASE(plu_freeze_msix_test),
	KUNIT_CASE(plu_freeze_maskable_test),
	KUNIT_CASE(plu_freeze_thread_test),
	KUNIT_CASE(plu_freeze_msi_test),
	KUNIT_CASE(plu_reclaimed_test),
	KUNIT_CASE(plu_completed_test),
	KUNIT_CASE(plu_fixed_test),
	KUNIT_CASE(plu_fixed_for_good_test),
	KUNIT_CASE(plu_completed_polled_test),
	KUNIT_CASE(plu_released_polled_test),
	KUNIT_CASE(plu_completed_intx_test),
	KUNIT_CASE(plu_completed_msi_test),
	KUNIT_CASE(plu_deferred_test),
	KUNIT_CASE(plu_quarantine_test),
	KUNIT_CASE(plu_quarantine_no_reset_test),
	KUNIT_CASE(plu_quarantine_bus_test),
	KUNIT_CASE(plu_quarantine_bridge_test),
	KUNIT_CASE(plu_reset_test),
	KUNIT_CASE(plu_reset_incoming_test),
	{}
};

static struct kunit_suite plu_state_suite = {
	.name = "pci-liveupdate-state",
	.init = plu_init,
	.exit = plu_exit,
	.test_cases = plu_state_cases,
};

kunit_test_suite(plu_state_suite);
