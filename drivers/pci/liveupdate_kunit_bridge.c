// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: A PCI host bridge for the tests of live update
 *
 * A host bridge in a domain of its own, whose functions are arrays of bytes. Each
 * write to their configuration space is logged, so that a test can tell what
 * enumeration did to a function.
 *
 *   00.0  an endpoint with INTx, two BARs, MSI-X and function level reset
 *   01.0  an endpoint with MSI that has mask bits
 *   02.0  an endpoint with MSI that has none
 *   03.0  a bridge to bus 1
 *   1:0.0 an endpoint like the first
 *
 * As if the previous kernel handed functions over, device_liveupdate_is_pending() and
 * device_liveupdate_is_incoming() are replaced while the bus is scanned. Nothing is
 * bound to the functions.
 */

#include <kunit/static_stub.h>
#include <linux/delay.h>
#include <linux/kho/abi/pci.h>
#include <linux/liveupdate/device.h>
#include <linux/pci.h>

#include "liveupdate_kunit.h"

struct plu plu;

static u32 plu_get(const u8 *bytes, int where, int size)
{
	u32 value = 0;

	for (int i = size; i--; )
		value = value << 8 | bytes[where + i];

	return value;
}

static void plu_put(u8 *bytes, int where, int size, u32 value)
{
	for (int i = 0; i < size; i++, value >>= 8)
		bytes[where + i] = value;
}

static struct plu_function *plu_function(u8 bus, unsigned int devfn)
{
	for (unsigned int i = 0; i < PLU_NR; i++) {
		struct plu_function *function = &plu.functions[i];
		u8 number = function->bus;

		/* What is below the bridge is where the bridge says. */
		if (number)
			number = plu.functions[PLU_BRIDGE].config[PCI_SECONDARY_BUS];
		if (number == bus && function->devfn == devfn)
			return function;
	}

	return NULL;
}

static int plu_read(struct pci_bus *bus, unsigned int devfn, int where, int size,
		    u32 *value)
{
	struct plu_function *function = plu_function(bus->number, devfn);

	*value = function && where + size <= PLU_SIZE ?
		 plu_get(function->config, where, size) : ~0U;

	return PCIBIOS_SUCCESSFUL;
}

static int plu_write(struct pci_bus *bus, unsigned int devfn, int where, int size,
		     u32 value)
{
	struct plu_function *function = plu_function(bus->number, devfn);
	u32 writable;

	if (!function || where + size > PLU_SIZE)
		return PCIBIOS_SUCCESSFUL;

	if (plu.nr_writes < ARRAY_SIZE(plu.writes))
		plu.writes[plu.nr_writes] = (struct plu_write){
			.function = function,
			.where = where,
			.size = size,
			.value = value,
		};
	plu.nr_writes++;

	writable = plu_get(function->writable, where, size);
	plu_put(function->config, where, size,
		(plu_get(function->config, where, size) & ~writable) |
		(value & writable));

	if (where == PLU_EXP + PCI_EXP_DEVCTL && value & PCI_EXP_DEVCTL_BCR_FLR) {
		memcpy(function->config, function->initial, PLU_SIZE);
		function->resets++;
	}

	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops plu_ops = {
	.read	= plu_read,
	.write	= plu_write,
};

/* What happened. */

unsigned int plu_count(enum plu_index index, int where, int size)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < plu.nr_writes; i++) {
		const struct plu_write *write = &plu.writes[i];

		if (write->function == &plu.functions[index] &&
		    write->where < where + size &&
		    where < write->where + write->size)
			count++;
	}

	return count;
}

/* Was one of the bits ever written as @set? */
bool plu_wrote(enum plu_index index, int where, u32 mask, bool set)
{
	for (unsigned int i = 0; i < plu.nr_writes; i++) {
		const struct plu_write *write = &plu.writes[i];

		if (write->function == &plu.functions[index] &&
		    write->where == where &&
		    (set ? write->value & mask : ~write->value & mask))
			return true;
	}

	return false;
}

u32 plu_config(enum plu_index index, int where, int size)
{
	return plu_get(plu.functions[index].config, where, size);
}

/* The functions. */

void plu_set(enum plu_index index, int where, int size, u32 value)
{
	plu_put(plu.functions[index].config, where, size, value);
}

void plu_allow(enum plu_index index, int where, int size, u32 bits)
{
	plu_put(plu.functions[index].writable, where, size, bits);
}

static void plu_init_function(enum plu_index index, u8 bus, unsigned int devfn)
{
	plu.functions[index].bus = bus;
	plu.functions[index].devfn = devfn;
	plu_set(index, PCI_VENDOR_ID, 2, 0x1234);
	plu_set(index, PCI_DEVICE_ID, 2, 0x5678);
	plu_set(index, PCI_CLASS_REVISION, 4, PCI_CLASS_OTHERS << 16 | 0x42);
	plu_set(index, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	plu_set(index, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	plu_allow(index, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
					 PCI_COMMAND_INTX_DISABLE);
}

static void plu_init_endpoint(enum plu_index index, u8 bus, unsigned int devfn)
{
	plu_init_function(index, bus, devfn);
	plu_set(index, PCI_SUBSYSTEM_VENDOR_ID, 4, 0x00010002);
	plu_set(index, PCI_INTERRUPT_PIN, 1, 1);
	plu_set(index, PCI_BASE_ADDRESS_0, 4, PLU_BAR0);
	plu_allow(index, PCI_BASE_ADDRESS_0, 4, 0xfffff000);
	plu_set(index, PCI_BASE_ADDRESS_1, 4, PLU_BAR1);
	plu_allow(index, PCI_BASE_ADDRESS_1, 4, 0xfffff000);

	plu_set(index, PCI_CAPABILITY_LIST, 1, PLU_MSIX);
	plu_set(index, PLU_MSIX, 2, PLU_EXP << 8 | PCI_CAP_ID_MSIX);
	plu_set(index, PLU_MSIX + PCI_MSIX_FLAGS, 2, 3);
	plu_allow(index, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		  PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	plu_set(index, PLU_MSIX + PCI_MSIX_TABLE, 4, 1);

	plu_set(index, PLU_EXP, 2, PCI_CAP_ID_EXP);
	plu_set(index, PLU_EXP + PCI_EXP_FLAGS, 2,
		PCI_EXP_TYPE_RC_END << 4 | 2);
	plu_set(index, PLU_EXP + PCI_EXP_DEVCAP, 4,
		PCI_EXP_DEVCAP_FLR | PCI_EXP_DEVCAP_RBER | 1);
	plu_allow(index, PLU_EXP + PCI_EXP_DEVCTL, 2, 0x7fff);

	memcpy(plu.functions[index].initial, plu.functions[index].config, PLU_SIZE);
	plu_put(plu.functions[index].initial, PCI_COMMAND, 2, 0);
	plu_put(plu.functions[index].initial, PCI_BASE_ADDRESS_0, 4, 0);
	plu_put(plu.functions[index].initial, PCI_BASE_ADDRESS_1, 4, 0);
}

static void plu_init_msi(enum plu_index index, unsigned int devfn, u16 flags)
{
	plu_init_function(index, 0, devfn);
	plu_set(index, PCI_INTERRUPT_PIN, 1, 1);
	plu_set(index, PCI_CAPABILITY_LIST, 1, PLU_MSI);
	plu_set(index, PLU_MSI, 2, PCI_CAP_ID_MSI);
	plu_set(index, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT | flags);
	plu_allow(index, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	plu_allow(index, PLU_MSI + PCI_MSI_ADDRESS_LO, 4, ~3U);
	plu_allow(index, PLU_MSI + PCI_MSI_ADDRESS_HI, 4, ~0U);
	plu_allow(index, PLU_MSI + PCI_MSI_DATA_64, 2, 0xffff);
	if (flags & PCI_MSI_FLAGS_MASKBIT)
		plu_allow(index, PLU_MSI + PCI_MSI_MASK_64, 4, 1);
}

static void plu_init_bridge(enum plu_index index, unsigned int devfn)
{
	plu_init_function(index, 0, devfn);
	plu_set(index, PCI_CLASS_REVISION, 4, PCI_CLASS_BRIDGE_PCI_NORMAL << 8);
	plu_set(index, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE);
	plu_set(index, PCI_STATUS, 2, 0);
	plu_set(index, PCI_PRIMARY_BUS, 4, 0x00010100);
	plu_allow(index, PCI_PRIMARY_BUS, 4, ~0U);
	plu_set(index, PCI_MEMORY_BASE, 4, 0xe000e000);
	plu_allow(index, PCI_MEMORY_BASE, 4, 0xfff0fff0);
	plu_allow(index, PCI_BRIDGE_CONTROL, 2, 0xffff);
}

static bool plu_pending(const struct bus_type *bus, const struct device *parent,
			const struct device_liveupdate_id *id)
{
	if (bus != &pci_bus_type)
		return false;
	if (!id)
		return plu.pending;
	/* Part of what a function is known by. */
	if (!parent)
		return false;

	for (unsigned int i = 0; i < PLU_NR; i++) {
		const struct plu_function *function = &plu.functions[i];
		char name[DEVICE_LIVEUPDATE_ID_LEN];

		snprintf(name, sizeof(name), "%04x:%02x:%02x.%d", PLU_DOMAIN,
			 function->bus, PCI_SLOT(function->devfn),
			 PCI_FUNC(function->devfn));
		if (!strcmp(id->id, name))
			return plu.pending & BIT(i);
	}

	return false;
}

static bool plu_incoming(struct device *dev)
{
	return !plu.gone && pci_liveupdate_is_incoming(to_pci_dev(dev));
}

/* Scan the bus as a kernel does that was handed the functions in @pending. */
void plu_scan(struct kunit *test, unsigned long pending)
{
	LIST_HEAD(resources);

	plu.pending = pending;
	kunit_activate_static_stub(test, device_liveupdate_is_pending, plu_pending);
	kunit_activate_static_stub(test, device_liveupdate_is_incoming, plu_incoming);

	pci_add_resource(&resources, &ioport_resource);
	pci_add_resource(&resources, &iomem_resource);
	pci_lock_rescan_remove();
	plu.bus = pci_scan_root_bus(NULL, 0, &plu_ops, &plu.sysdata, &resources);
	pci_unlock_rescan_remove();
	kunit_deactivate_static_stub(test, device_liveupdate_is_incoming);
	if (!plu.bus)
		pci_free_resource_list(&resources);
	KUNIT_ASSERT_NOT_NULL(test, plu.bus);
	KUNIT_ASSERT_LE(test, plu.nr_writes, ARRAY_SIZE(plu.writes));
}

struct pci_dev *plu_dev(struct kunit *test, enum plu_index index)
{
	const struct plu_function *function = &plu.functions[index];
	struct pci_dev *pdev;

	pdev = pci_get_domain_bus_and_slot(PLU_DOMAIN, function->bus,
					   function->devfn);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	/* Not removed before the test is over. */
	pci_dev_put(pdev);

	return pdev;
}

int plu_init(struct kunit *test)
{
	memset(&plu, 0, sizeof(plu));
	plu.sysdata.domain = PLU_DOMAIN;
	plu.sysdata.node = NUMA_NO_NODE;
	plu_init_endpoint(PLU_FIRST, 0, PCI_DEVFN(0, 0));
	plu_init_msi(PLU_MASKABLE, PCI_DEVFN(1, 0), PCI_MSI_FLAGS_MASKBIT);
	plu_init_msi(PLU_PLAIN_MSI, PCI_DEVFN(2, 0), 0);
	plu_init_bridge(PLU_BRIDGE, PCI_DEVFN(3, 0));
	plu_init_endpoint(PLU_BELOW, 1, PCI_DEVFN(0, 0));

	return 0;
}

void plu_exit(struct kunit *test)
{
	struct device *bridge;

	if (!plu.bus)
		return;

	bridge = plu.bus->bridge;
	pci_lock_rescan_remove();
	pci_stop_root_bus(plu.bus);
	pci_remove_root_bus(plu.bus);
	pci_unlock_rescan_remove();
	/* It stays with whoever created it. */
	put_device(bridge);
}

/* As pci_liveupdate_freeze() leaves an endpoint with MSI-X. */
void plu_leave_frozen(enum plu_index index)
{
	plu_set(index, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				       PCI_COMMAND_INTX_DISABLE);
	plu_set(index, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		3 | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
}
