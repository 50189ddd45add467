// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: PCI live update
 *
 * Keeps PCI functions running while one kernel replaces another: the PCI side of
 * drivers/base/liveupdate.c.
 *
 * Concept
 *   An endpoint that is preserved stays what it is. It remains in D0, a bus master
 *   at its address, with its BARs where they are, and goes on with its DMA while no
 *   kernel runs. The bridges above it stay bus masters and keep their bus numbers
 *   and windows. MSI-X is masked in the function, which latches what happens, and it
 *   reaches the next kernel when its driver has set up its vectors. MSI is off, and the
 *   driver is told to look.
 *
 *   What cannot be kept that way is refused when it is requested, with the reason.
 *
 * Lifecycle in the old kernel
 *   1. Requested: pci_liveupdate_check_device() said yes.
 *   2. Prepared: works as ever, but cannot be removed, reset or given virtual
 *      functions through sysfs.
 *   3. Frozen: MSI-X is enabled, but masked as a whole. MSI and INTx are disabled. No
 *      handler of the function runs any more.
 *
 * Lifecycle in the next kernel
 *   1. pci_setup_device() recognizes the function by its address and fingerprint,
 *      before anything is written to it. pci_liveupdate_is_incoming() is true then,
 *      and enumeration leaves out what would disturb it. When the function is added the
 *      driver core claims its record, and relies on that: what was not recognized in
 *      time is not taken over.
 *      What it still writes, and
 *      why, is listed in Documentation/driver-api/liveupdate/pci.rst.
 *   2. It waits for its driver, which finds it as it was left. Setting up MSI-X
 *      unmasks the function, and what was latched arrives. With MSI and INTx the driver
 *      is told that interrupts may have been missed when it has taken over.
 *   3. Or it is quarantined: no bus master any more, no interrupts, and reset.
 *      Until either of both it cannot be reset through sysfs.
 *      If the PCI core recovers it from an error, it is not taken over any more: bus
 *      mastering goes off at once, and finish quarantines it.
 *
 * Contexts
 *   Those of &struct bus_liveupdate_ops. What pci_liveupdate_is_incoming() returns is
 *   changed by the scan of the bus and then under device_lock.
 */

#include <linux/cleanup.h>
#include <linux/hash.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/dma.h>
#include <linux/kho/abi/pci.h>
#include <linux/pci.h>
#include <linux/string.h>

#include "pci.h"

/* Which function it is. */

static bool pci_liveupdate_is_bridge(const struct pci_dev *pdev)
{
	return pdev->hdr_type == PCI_HEADER_TYPE_BRIDGE;
}

static void pci_liveupdate_read_layout(struct pci_dev *pdev, u32 *registers)
{
	unsigned int count = PCI_STD_NUM_BARS;

	if (pci_liveupdate_is_bridge(pdev))
		count = PCI_LIVEUPDATE_LAYOUT_LEN;
	for (unsigned int i = 0; i < count; i++)
		pci_read_config_dword(pdev, PCI_BASE_ADDRESS_0 + i * 4,
				      &registers[i]);

	if (pci_liveupdate_is_bridge(pdev)) {
		registers[(PCI_PRIMARY_BUS - PCI_BASE_ADDRESS_0) / 4] &=
			~PCI_SEC_LATENCY_TIMER_MASK;
		registers[(PCI_IO_BASE - PCI_BASE_ADDRESS_0) / 4] &= 0xffff;
	}
}

/*
 * Reads from hardware only, because it is called before @pdev is set up and because
 * quirks change what is in there.
 */
static void pci_liveupdate_describe(struct pci_dev *pdev,
				    struct device_liveupdate_id *id)
{
	struct pci_liveupdate_fingerprint *fingerprint = (void *)id->fingerprint;
	u32 layout[PCI_LIVEUPDATE_LAYOUT_LEN] = {};
	u16 flags;
	u8 pos;

	snprintf(id->id, sizeof(id->id), "%04x:%02x:%02x.%d",
		 pci_domain_nr(pdev->bus), pdev->bus->number,
		 PCI_SLOT(pdev->devfn), PCI_FUNC(pdev->devfn));

	pci_read_config_word(pdev, PCI_VENDOR_ID, &fingerprint->vendor);
	pci_read_config_word(pdev, PCI_DEVICE_ID, &fingerprint->device);
	pci_read_config_dword(pdev, PCI_CLASS_REVISION, &fingerprint->class);
	pci_read_config_byte(pdev, PCI_HEADER_TYPE, &fingerprint->header);
	fingerprint->header &= PCI_HEADER_TYPE_MASK;
	if (fingerprint->header == PCI_HEADER_TYPE_NORMAL)
		pci_read_config_dword(pdev, PCI_SUBSYSTEM_VENDOR_ID,
				      &fingerprint->subsystem);
	pos = pci_find_capability(pdev, PCI_CAP_ID_MSIX);
	if (pos) {
		pci_read_config_word(pdev, pos + PCI_MSIX_FLAGS, &flags);
		fingerprint->msix = (flags & PCI_MSIX_FLAGS_QSIZE) + 1;
	}
	fingerprint->serial = pci_get_dsn(pdev);
	pci_liveupdate_read_layout(pdev, layout);
	memcpy(fingerprint->layout, layout, sizeof(layout));
}

static int pci_liveupdate_identify(struct device *dev,
				   struct device_liveupdate_id *id)
{
	pci_liveupdate_describe(to_pci_dev(dev), id);

	return 0;
}

/* Says in @what which part differs. Returns false if none does. */
bool pci_liveupdate_difference(const struct device_liveupdate_id *id,
			       const struct device_liveupdate_id *handed,
			       char *what, size_t size)
{
	const struct pci_liveupdate_fingerprint *now = (const void *)id->fingerprint;
	const struct pci_liveupdate_fingerprint *then = (const void *)handed->fingerprint;
	const char *name = NULL;

	if (now->vendor != then->vendor || now->device != then->device)
		name = "vendor or device ID";
	else if (now->class != then->class)
		name = "class or revision";
	else if (now->header != then->header)
		name = "header type";
	else if (now->subsystem != then->subsystem)
		name = "subsystem ID";
	else if (now->msix != then->msix)
		name = "number of MSI-X vectors";
	else if (now->serial != then->serial)
		name = "serial number";
	if (name) {
		strscpy(what, name, size);
		return true;
	}

	for (unsigned int i = 0; i < PCI_LIVEUPDATE_LAYOUT_LEN; i++) {
		if (now->layout[i] != then->layout[i]) {
			snprintf(what, size, "register %#x", PCI_BASE_ADDRESS_0 + 4 * i);
			return true;
		}
	}

	return false;
}

/* What can change of a function is where its windows are. */
static u64 pci_liveupdate_revision(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	bool bridge = pci_liveupdate_is_bridge(pdev);
	unsigned int last = bridge ? PCI_BRIDGE_RESOURCE_END : PCI_STD_RESOURCE_END;
	u64 sum = 0;

	for (unsigned int i = 0; i <= last; i++) {
		const struct resource *res = &pdev->resource[i];

		if (res->flags)
			sum = (sum + res->start) * GOLDEN_RATIO_64 + res->end;
	}
	if (bridge && pdev->subordinate)
		sum += pdev->subordinate->busn_res.end;

	return sum;
}

/*
 * There is one recognition, when the bus is scanned: enumeration has left the function
 * alone since then, or has not.
 */
static bool pci_liveupdate_match(struct device *dev,
				 const struct device_liveupdate_id *id,
				 const struct device_liveupdate_id *handed)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	char what[32];

	if (pci_liveupdate_difference(id, handed, what, sizeof(what)))
		pci_warn(pdev, "liveupdate: not what was handed over: %s\n", what);
	else if (!pci_liveupdate_is_incoming(pdev))
		pci_warn(pdev, "liveupdate: not recognized when the bus was scanned\n");
	else
		return true;

	return false;
}

static enum device_liveupdate_role pci_liveupdate_role(struct device *dev)
{
	switch (to_pci_dev(dev)->hdr_type) {
	case PCI_HEADER_TYPE_NORMAL:
		return DEVICE_LIVEUPDATE_ENDPOINT;
	case PCI_HEADER_TYPE_BRIDGE:
		return DEVICE_LIVEUPDATE_FORWARDER;
	default:
		return DEVICE_LIVEUPDATE_UNSUPPORTED;
	}
}

/* Whether it can be preserved. */

static const char *pci_liveupdate_objection(struct pci_dev *pdev)
{
	const struct device *above = pci_find_host_bridge(pdev->bus)->dev.parent;
	const struct device_driver *drv = READ_ONCE(pdev->dev.driver);
	u16 command;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return "not an endpoint";
	if (pdev->is_virtfn)
		return "a virtual function";
	if (pci_num_vf(pdev))
		return "has virtual functions";
	if (pdev->class >> 8 == PCI_CLASS_SERIAL_USB)
		return "USB host controllers are reset by every kernel";
	if (pdev->class >> 16 == PCI_BASE_CLASS_DISPLAY || pci_is_vga(pdev))
		return "display controllers are set up by every kernel";
	if (pdev->current_state != PCI_D0)
		return "not in D0";
	if (pdev->error_state != pci_channel_io_normal)
		return "being recovered from an error";
	if (pdev->non_compliant_bars)
		return "its BARs cannot be relied on";
	if (above && above->driver)
		return "its host bridge has a driver, which shuts it down";
	if (device_iommu_mapped(&pdev->dev))
		return "behind an IOMMU, which nobody preserves";
	if (pdev->ats_enabled || pdev->pri_enabled || pdev->pasid_enabled)
		return "uses ATS, PRI or PASID";
	if (drv && drv->liveupdate && !drv->liveupdate->dma_api_only)
		return "its driver does not say that all its DMA goes through the DMA API";
	/* Nothing else could stop it if nobody takes it over. */
	if (pdev->is_busmaster && !pci_reset_supported(pdev))
		return "has DMA, and cannot be reset on its own";
#ifdef CONFIG_PCI_P2PDMA
	if (rcu_access_pointer(pdev->p2pdma))
		return "used for peer-to-peer DMA";
#endif
	if (!pdev->pin)
		return NULL;
	if (pdev->broken_intx_masking)
		return "its INTx cannot be disabled";
	if (pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG)
		return "its MSI stops when INTx is disabled";
	if (pdev->msi_enabled || pdev->msix_enabled)
		return NULL;

	pci_read_config_word(pdev, PCI_COMMAND, &command);

	return command & PCI_COMMAND_INTX_DISABLE ? NULL : "uses INTx";
}

static int pci_liveupdate_check_device(struct device *dev, const char **reason)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	const char *objection = pci_liveupdate_objection(pdev);

	if (!objection)
		return dma_liveupdate_check_device(dev, reason);
	*reason = objection;

	return -EOPNOTSUPP;
}

/*
 * Drivers preserve their memory in their prepare. What they map, and which interrupts
 * they use, may change until they are frozen.
 */
static int pci_liveupdate_check(struct device *dev, bool frozen)
{
	const char *reason = "what it may access is not preserved";
	int err;

	err = pci_liveupdate_check_device(dev, &reason);
	if (!err)
		err = dma_liveupdate_check(dev, frozen, &reason);
	if (err)
		dev_err(dev, "liveupdate: cannot go on: %s\n", reason);

	return err;
}

/* No request of the functions below gets through otherwise. */
static int pci_liveupdate_check_bridge(struct pci_dev *pdev)
{
	u16 command;

	pci_read_config_word(pdev, PCI_COMMAND, &command);
	if (pdev->current_state != PCI_D0 ||
	    pdev->error_state != pci_channel_io_normal ||
	    !(command & PCI_COMMAND_MASTER))
		return -EIO;

	return 0;
}

static int pci_liveupdate_prepare(struct device *dev, enum device_liveupdate_role role)
{
	if (role == DEVICE_LIVEUPDATE_FORWARDER)
		return pci_liveupdate_check_bridge(to_pci_dev(dev));

	return pci_liveupdate_check(dev, false);
}

/* Interrupts. */

static void pci_liveupdate_update_word(struct pci_dev *pdev, int pos, u16 clear,
				       u16 set)
{
	u16 old, new;

	pci_read_config_word(pdev, pos, &old);
	new = (old & ~clear) | set;
	if (new != old)
		pci_write_config_word(pdev, pos, new);
}

static void pci_liveupdate_mask_msix(struct pci_dev *pdev, bool on)
{
	pci_liveupdate_update_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				   on ? 0 : PCI_MSIX_FLAGS_MASKALL,
				   on ? PCI_MSIX_FLAGS_MASKALL : 0);
}

static void pci_liveupdate_enable_msi(struct pci_dev *pdev, bool on)
{
	pci_liveupdate_update_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
				   on ? 0 : PCI_MSI_FLAGS_ENABLE,
				   on ? PCI_MSI_FLAGS_ENABLE : 0);
}

/* Wait for the handlers of all vectors, also for those that run in threads. */
static void pci_liveupdate_wait_handlers(struct pci_dev *pdev)
{
	int count = pdev->msix_enabled ? pci_msix_vec_count(pdev) :
					 pci_msi_vec_count(pdev);

	/* A handler may look for the number of a vector: so none of their locks is held. */
	for (int i = 0; i < count; i++) {
		int irq = pci_irq_vector(pdev, i);

		if (irq > 0)
			synchronize_irq(irq);
	}
}

/*
 * A slot that is at work holds up the shutdown of its port, and with it the kexec, for a
 * second or more, whether its card is preserved or not.
 */
static struct device *pci_liveupdate_busy(const char **reason)
{
	struct pci_dev *port = pciehp_busy_port();

	*reason = "a card is being added or removed";

	return port ? &port->dev : NULL;
}

static int pci_liveupdate_freeze(struct device *dev, enum device_liveupdate_role role)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	int err;

	if (role == DEVICE_LIVEUPDATE_FORWARDER)
		return pci_liveupdate_check_bridge(pdev);

	err = pci_liveupdate_check(dev, true);
	if (err)
		return err;

	/* First, as a function may assert INTx as soon as MSI is disabled. */
	pci_intx(pdev, 0);
	if (pdev->msix_enabled) {
		pci_liveupdate_mask_msix(pdev, true);
		pci_liveupdate_wait_handlers(pdev);
	} else if (pdev->msi_enabled) {
		pci_liveupdate_enable_msi(pdev, false);
		pci_liveupdate_wait_handlers(pdev);
		/* Whoever was moving it to another processor meanwhile has undone that. */
		pci_liveupdate_enable_msi(pdev, false);
	}

	return 0;
}

static void pci_liveupdate_thaw(struct device *dev, enum device_liveupdate_role role)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	if (role == DEVICE_LIVEUPDATE_FORWARDER || pci_dev_is_disconnected(pdev))
		return;

	/* INTx was off before, or the function would have been refused. */
	if (pdev->msix_enabled)
		pci_liveupdate_mask_msix(pdev, false);
	else if (pdev->msi_enabled)
		pci_liveupdate_enable_msi(pdev, true);
}

/* In the next kernel. */

/* Switch MSI or MSI-X off that the previous kernel left on. */
static void pci_liveupdate_disable_msi(struct pci_dev *pdev)
{
	if (pdev->msi_cap && !pdev->msi_enabled)
		pci_liveupdate_update_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
					   PCI_MSI_FLAGS_ENABLE, 0);
	if (pdev->msix_cap && !pdev->msix_enabled)
		pci_liveupdate_update_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
					   PCI_MSIX_FLAGS_ENABLE |
					   PCI_MSIX_FLAGS_MASKALL, 0);
}

/* It is a function like any other from here on. Returns true if INTx is to be enabled. */
static bool pci_liveupdate_leave(struct pci_dev *pdev)
{
	clear_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	for (unsigned int i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (test_and_clear_bit(PCI_DEV_LIVEUPDATE_FIXED + i, &pdev->priv_flags))
			pdev->resource[i].flags &= ~IORESOURCE_PCI_FIXED;
	}

	return test_and_clear_bit(PCI_DEV_LIVEUPDATE_INTX, &pdev->priv_flags);
}

/*
 * INTx is about to be enabled, because nothing else is. One that runs may assert it at
 * once, while its driver is still being probed. Unless the driver decides otherwise,
 * INTx is enabled when it has taken the function over. Any context. Returns true if the
 * function runs, and INTx must be left alone.
 */
bool pci_liveupdate_defer_intx(struct pci_dev *pdev)
{
	if (!pci_liveupdate_running(pdev))
		return false;
	set_bit(PCI_DEV_LIVEUPDATE_INTX, &pdev->priv_flags);

	return true;
}

/* A driver says whether it uses INTx. Any context. */
void pci_liveupdate_choose_intx(struct pci_dev *pdev, bool enable)
{
	if (!pci_liveupdate_running(pdev))
		return;
	clear_bit(PCI_DEV_LIVEUPDATE_INTX, &pdev->priv_flags);
	if (enable)
		pci_liveupdate_disable_msi(pdev);
}

/* MSI is about to be enabled. No function may have MSI and MSI-X enabled. Any context. */
void pci_liveupdate_choose_msi(struct pci_dev *pdev)
{
	if (pci_liveupdate_running(pdev))
		pci_liveupdate_disable_msi(pdev);
}

static void pci_liveupdate_check_missed(struct pci_dev *pdev)
{
	const struct device_driver *drv = pdev->dev.driver;

	if (drv && drv->liveupdate && drv->liveupdate->interrupts_missed)
		drv->liveupdate->interrupts_missed(&pdev->dev);
}

static void pci_liveupdate_completed(struct device *dev, bool reclaimed)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	bool in_use = pdev->msi_enabled || pdev->msix_enabled;
	bool intx;

	intx = pci_liveupdate_leave(pdev);
	if (pci_liveupdate_is_bridge(pdev))
		return;

	/* From here on what the driver asked for is on, and nothing else. */
	pci_liveupdate_disable_msi(pdev);
	if (!in_use && intx && pdev->pin)
		pci_intx(pdev, 1);
	/* What MSI-X has latched arrives by itself. */
	if (reclaimed && !pdev->msix_enabled)
		pci_liveupdate_check_missed(pdev);
}

/*
 * While the bus is scanned it is not known who else is on it, and hotplug holds locks
 * that the reset of a slot needs, also when the function is removed. What is left then is
 * a reset that the function does, and so it is if someone else is busy with the bridge,
 * who may wait for us.
 */
static int pci_liveupdate_reset(struct pci_dev *pdev)
{
	struct pci_dev *bridge = pci_upstream_bridge(pdev);
	int err;

	if (!pci_dev_binding_disallowed(pdev) &&
	    !test_bit(PCI_DEV_REMOVED, &pdev->priv_flags) &&
	    (!bridge || pci_cfg_access_trylock(bridge))) {
		err = pci_reset_function_locked(pdev);
		if (bridge)
			pci_cfg_access_unlock(bridge);
		return err;
	}

	err = pci_save_state(pdev);
	if (err)
		return err;
	err = pcie_reset_flr(pdev, PCI_RESET_DO_RESET);
	if (!err)
		pci_restore_state(pdev);

	return err;
}

/*
 * That it is no bus master any more is not enough: its next driver makes it one before
 * it stops what the last one has begun. It is if it never was one.
 */
static int pci_liveupdate_quarantine(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	u16 command;
	int err;

	pci_liveupdate_leave(pdev);
	if (pci_dev_is_disconnected(pdev))
		return 0;

	pci_read_config_word(pdev, PCI_COMMAND, &command);
	pci_clear_master(pdev);
	/* Nothing passes a bridge any more. It must not be reset with what is below. */
	if (pci_liveupdate_is_bridge(pdev))
		return 0;

	/* A probe that failed may have enabled it. */
	pci_intx(pdev, 0);
	pci_liveupdate_disable_msi(pdev);
	if (!pci_wait_for_pending_transaction(pdev))
		pci_err(pdev, "liveupdate: its requests are still not answered\n");

	/* Restores the configuration, without bus mastering. */
	pci_cfg_access_lock(pdev);
	err = pci_liveupdate_reset(pdev);
	pci_cfg_access_unlock(pdev);
	if (err == -ENOTTY && !(command & PCI_COMMAND_MASTER))
		return 0;
	if (err)
		pci_err(pdev, "liveupdate: reset failed: %pe\n", ERR_PTR(err));

	return err;
}

/*
 * The function failed when it was too late to give it back to its driver. This may be error
 * handling, with locks of hotplug held and the link down: so it is not reset here, but by
 * the next kernel. Until then it must not write to memory.
 */
static void pci_liveupdate_stop(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	if (!pci_dev_is_disconnected(pdev))
		pci_clear_master(pdev);
}

const struct bus_liveupdate_ops pci_liveupdate_ops = {
	.identify	= pci_liveupdate_identify,
	.revision	= pci_liveupdate_revision,
	.match		= pci_liveupdate_match,
	.check		= pci_liveupdate_check_device,
	.role		= pci_liveupdate_role,
	.prepare	= pci_liveupdate_prepare,
	.busy		= pci_liveupdate_busy,
	.freeze		= pci_liveupdate_freeze,
	.thaw		= pci_liveupdate_thaw,
	.quarantine	= pci_liveupdate_quarantine,
	.stop		= pci_liveupdate_stop,
	.completed	= pci_liveupdate_completed,
};

/*
 * Was this function handed over by the last kernel? Makes pci_liveupdate_is_incoming()
 * true, before anything is written to the function. May sleep. While the bus is
 * scanned, before @pdev is added.
 */
void pci_liveupdate_setup_device(struct pci_dev *pdev)
{
	struct device_liveupdate_id id = {};

	if (!device_liveupdate_is_pending(&pci_bus_type, NULL, NULL))
		return;

	pci_liveupdate_describe(pdev, &id);
	if (!device_liveupdate_is_pending(&pci_bus_type, pdev->dev.parent, &id))
		return;
	set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	/* As for any function that nobody has set up. */
	set_bit(PCI_DEV_LIVEUPDATE_INTX, &pdev->priv_flags);
}

/*
 * A function was added. If it was recognized when the bus was scanned, but the record
 * is not there any more, it runs and nobody could take it over. May sleep. Before @pdev
 * can be bound.
 */
void pci_liveupdate_confirm(struct pci_dev *pdev)
{
	if (!pci_liveupdate_is_incoming(pdev))
		return;

	guard(device)(&pdev->dev);

	if (device_liveupdate_is_incoming(&pdev->dev))
		return;
	pci_warn(pdev, "liveupdate: quarantined: its record is gone\n");
	pci_liveupdate_quarantine(&pdev->dev);
}

/*
 * Keep the BARs of a function where they are. Until it is taken over, quarantined, or
 * recovered from an error. They can be moved then like those of any function. Any.
 * While the bus is scanned.
 */
void pci_liveupdate_fix_resources(struct pci_dev *pdev)
{
	for (unsigned int i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct resource *res = &pdev->resource[i];

		/* Some are fixed for good. */
		if (!res->flags || !res->start ||
		    res->flags & (IORESOURCE_UNSET | IORESOURCE_PCI_FIXED))
			continue;
		res->flags |= IORESOURCE_PCI_FIXED;
		set_bit(PCI_DEV_LIVEUPDATE_FIXED + i, &pdev->priv_flags);
	}
}

static int pci_liveupdate_found(struct pci_dev *pdev, void *found)
{
	*(bool *)found = pci_liveupdate_is_incoming(pdev);

	return *(bool *)found;
}

/*
 * Is there a function below that was handed over? May sleep. Returns true if so, and it
 * is still left as it was.
 */
bool pci_liveupdate_below(struct pci_bus *bus)
{
	bool found = false;

	pci_walk_bus(bus, pci_liveupdate_found, &found);

	return found;
}

static int pci_liveupdate_keeps_place(struct pci_dev *pdev, void *found)
{
	*(bool *)found = pci_liveupdate_is_incoming(pdev) ||
			 device_liveupdate_check_change(&pdev->dev);

	return *(bool *)found;
}

/*
 * Must the windows of a bridge stay as they are? Assigning resources anew moves all
 * that is below, and the windows with it. May sleep. Returns true if so, because the
 * bridge or a function below is prepared for a live update, or was handed over and
 * runs.
 */
bool pci_liveupdate_windows_kept(struct pci_dev *bridge)
{
	bool found;

	if (!pci_liveupdate_keeps_place(bridge, &found))
		pci_walk_bus(bridge->subordinate, pci_liveupdate_keeps_place, &found);
	if (found)
		pci_notice(bridge, "liveupdate: its windows are kept for the functions below that run\n");

	return found;
}

/*
 * May this function be reset? Any. The answer holds while device_lock is held. Returns
 * 0; -EBUSY if the function is prepared for a live update, or was handed over and runs.
 */
int pci_liveupdate_check_reset(struct pci_dev *pdev)
{
	return pci_liveupdate_is_incoming(pdev) ? -EBUSY :
	       device_liveupdate_check_change(&pdev->dev);
}

/*
 * A function is recovered from an error. It may be reset, or is lost. It does not live
 * through the update any more. May sleep. device_lock held.
 */
void pci_liveupdate_error(struct pci_dev *pdev)
{
	device_liveupdate_abort(&pdev->dev, "it is recovered from an error");
	if (pci_liveupdate_running(pdev)) {
		pci_clear_master(pdev);
		pci_liveupdate_disable_msi(pdev);
	}
	pci_liveupdate_leave(pdev);
}
