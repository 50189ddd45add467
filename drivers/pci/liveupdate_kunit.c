// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of PCI live update
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
 * As if the previous kernel handed functions over, device_liveupdate_awaited() and
 * device_liveupdate_inherited() are replaced while the bus is scanned. Nothing is bound
 * to the functions.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/kho/abi/pci.h>
#include <linux/liveupdate/device.h>
#include <linux/pci.h>

#include "pci.h"

#define PLU_DOMAIN	0x7ffe
#define PLU_SIZE	PCI_CFG_SPACE_SIZE

#define PLU_MSI		0x40	/* capabilities of the functions */
#define PLU_MSIX	0x60
#define PLU_EXP		0x80

#define PLU_BAR0	0xe0000000
#define PLU_BAR1	0xe0001000

enum plu_index {
	PLU_FIRST,
	PLU_MASKABLE,
	PLU_PLAIN_MSI,
	PLU_BRIDGE,
	PLU_BELOW,
	PLU_NR,
};

/**
 * struct plu_function - a function that is made of bytes
 * @bus: number of its bus.
 * @devfn: where it is there.
 * @config: its configuration space.
 * @writable: bits of that which can be written.
 * @initial: what it is after a reset.
 * @resets: how often it was reset.
 */
struct plu_function {
	u8 bus;
	unsigned int devfn;
	u8 config[PLU_SIZE];
	u8 writable[PLU_SIZE];
	u8 initial[PLU_SIZE];
	unsigned int resets;
};

/**
 * struct plu_write - a write to a function
 * @function: which.
 * @where: first byte.
 * @size: bytes.
 * @value: the value, before it is known what can be written.
 */
struct plu_write {
	struct plu_function *function;
	int where;
	int size;
	u32 value;
};

/**
 * struct plu - the machine
 * @sysdata: of the host bridge.
 * @functions: its functions.
 * @writes: what was written to them.
 * @nr_writes: number of them.
 * @bus: the root bus, if it was scanned.
 * @awaited: functions that the previous kernel handed over, by &enum plu_index.
 * @gone: no record is left of them when they are added.
 */
static struct plu {
	struct pci_sysdata sysdata;
	struct plu_function functions[PLU_NR];
	struct plu_write writes[1024];
	unsigned int nr_writes;
	struct pci_bus *bus;
	unsigned long awaited;
	bool gone;
} plu;

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

static unsigned int plu_count(enum plu_index index, int where, int size)
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
static bool plu_wrote(enum plu_index index, int where, u32 mask, bool set)
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

static u32 plu_config(enum plu_index index, int where, int size)
{
	return plu_get(plu.functions[index].config, where, size);
}

/* The functions. */

static void plu_set(enum plu_index index, int where, int size, u32 value)
{
	plu_put(plu.functions[index].config, where, size, value);
}

static void plu_allow(enum plu_index index, int where, int size, u32 bits)
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

static bool plu_awaited(const struct bus_type *bus,
			const struct device_liveupdate_id *id)
{
	if (bus != &pci_bus_type)
		return false;
	if (!id)
		return plu.awaited;

	for (unsigned int i = 0; i < PLU_NR; i++) {
		const struct plu_function *function = &plu.functions[i];
		char name[DEVICE_LIVEUPDATE_ID_LEN];

		snprintf(name, sizeof(name), "%04x:%02x:%02x.%d", PLU_DOMAIN,
			 function->bus, PCI_SLOT(function->devfn),
			 PCI_FUNC(function->devfn));
		if (!strcmp(id->id, name))
			return plu.awaited & BIT(i);
	}

	return false;
}

static bool plu_inherited(struct device *dev)
{
	return !plu.gone && pci_liveupdate_inherited(to_pci_dev(dev));
}

/* Scan the bus as a kernel does that was handed the functions in @awaited. */
static void plu_scan(struct kunit *test, unsigned long awaited)
{
	LIST_HEAD(resources);

	plu.awaited = awaited;
	kunit_activate_static_stub(test, device_liveupdate_awaited, plu_awaited);
	kunit_activate_static_stub(test, device_liveupdate_inherited, plu_inherited);

	pci_add_resource(&resources, &ioport_resource);
	pci_add_resource(&resources, &iomem_resource);
	pci_lock_rescan_remove();
	plu.bus = pci_scan_root_bus(NULL, 0, &plu_ops, &plu.sysdata, &resources);
	pci_unlock_rescan_remove();
	kunit_deactivate_static_stub(test, device_liveupdate_inherited);
	if (!plu.bus)
		pci_free_resource_list(&resources);
	KUNIT_ASSERT_NOT_NULL(test, plu.bus);
	KUNIT_ASSERT_LE(test, plu.nr_writes, ARRAY_SIZE(plu.writes));
}

static struct pci_dev *plu_dev(struct kunit *test, enum plu_index index)
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

static int plu_init(struct kunit *test)
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

static void plu_exit(struct kunit *test)
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
static void plu_leave_frozen(enum plu_index index)
{
	plu_set(index, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				       PCI_COMMAND_INTX_DISABLE);
	plu_set(index, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		3 | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
}

/* Enumeration. */

static void plu_enumerate_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_FIRST));
	pdev = plu_dev(test, PLU_FIRST);

	KUNIT_EXPECT_TRUE(test, pci_liveupdate_inherited(pdev));
	KUNIT_EXPECT_FALSE(test, pdev->broken_intx_masking);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_INTX_DISABLE, false));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_FIRST,
					   PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_FIRST,
					   PLU_EXP + PCI_EXP_DEVCTL, 2));

	/* Sized, and put back. */
	KUNIT_EXPECT_EQ(test, 2, plu_count(PLU_FIRST, PCI_BASE_ADDRESS_0, 4));
	KUNIT_EXPECT_EQ(test, PLU_BAR0, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_0, 4));
	KUNIT_EXPECT_EQ(test, PLU_BAR1, plu_config(PLU_FIRST, PCI_BASE_ADDRESS_1, 4));
	KUNIT_EXPECT_TRUE(test, pdev->resource[0].flags & IORESOURCE_PCI_FIXED);
	KUNIT_EXPECT_TRUE(test, pdev->resource[1].flags & IORESOURCE_PCI_FIXED);
	KUNIT_EXPECT_FALSE(test, pdev->resource[2].flags);
}

/* What the test above would see without the care that is taken. */
static void plu_enumerate_ordinary_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_MASKABLE));
	pdev = plu_dev(test, PLU_FIRST);

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
	KUNIT_EXPECT_TRUE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					  PCI_COMMAND_INTX_DISABLE, false));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2) &
				 PCI_MSIX_FLAGS_ENABLE);
	KUNIT_EXPECT_NE(test, 0, plu_count(PLU_FIRST,
					   PLU_EXP + PCI_EXP_DEVCTL, 2));
	KUNIT_EXPECT_FALSE(test, pdev->resource[0].flags & IORESOURCE_PCI_FIXED);
}

static void plu_enumerate_unmasked_test(struct kunit *test)
{
	plu_leave_frozen(PLU_FIRST);
	plu_set(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2,
		3 | PCI_MSIX_FLAGS_ENABLE);
	plu_scan(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_EQ(test, 3 | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
			plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS,
					   PCI_MSIX_FLAGS_ENABLE, false));
}

static void plu_enumerate_broken_intx_test(struct kunit *test)
{
	plu_leave_frozen(PLU_FIRST);
	plu_set(PLU_FIRST, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	plu_scan(test, BIT(PLU_FIRST));

	KUNIT_EXPECT_TRUE(test, plu_dev(test, PLU_FIRST)->broken_intx_masking);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_FIRST, PCI_COMMAND,
					   PCI_COMMAND_INTX_DISABLE, true));
}

/* MSI is off already, unless the previous kernel did not freeze the function. */
static void plu_enumerate_msi_test(struct kunit *test)
{
	plu_set(PLU_MASKABLE, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT |
		PCI_MSI_FLAGS_MASKBIT);
	plu_set(PLU_PLAIN_MSI, PLU_MSI + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT |
		PCI_MSI_FLAGS_ENABLE);
	plu_scan(test, BIT(PLU_MASKABLE) | BIT(PLU_PLAIN_MSI));

	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_MASKABLE,
					   PLU_MSI + PCI_MSI_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_MASKABLE,
					   PLU_MSI + PCI_MSI_MASK_64, 4));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_PLAIN_MSI,
					    PLU_MSI + PCI_MSI_FLAGS, 2) &
				 PCI_MSI_FLAGS_ENABLE);
}

static void plu_enumerate_bridge_test(struct kunit *test)
{
	plu_leave_frozen(PLU_BELOW);
	plu_scan(test, BIT(PLU_BRIDGE) | BIT(PLU_BELOW));

	KUNIT_EXPECT_TRUE(test, pci_liveupdate_inherited(plu_dev(test, PLU_BRIDGE)));
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_inherited(plu_dev(test, PLU_BELOW)));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_BRIDGE, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));
	KUNIT_EXPECT_EQ(test, 0, plu_count(PLU_BRIDGE, PCI_PRIMARY_BUS, 4));
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_BELOW, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));
	/* It would last, and holds for functions that nobody handed over. */
	KUNIT_EXPECT_FALSE(test, pci_find_host_bridge(plu.bus)->preserve_config);
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_below(plu.bus));

	/* FINISH is over. */
	pci_liveupdate_ops.settled(&plu_dev(test, PLU_BRIDGE)->dev, false);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(plu_dev(test, PLU_BRIDGE)));
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_below(plu.bus));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_BRIDGE, PCI_COMMAND, 2) &
				 PCI_COMMAND_INTX_DISABLE);
}

/* The record went away between the scan and the addition: nobody will take it over. */
static void plu_enumerate_gone_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu.gone = true;
	plu_leave_frozen(PLU_FIRST);
	plu_scan(test, BIT(PLU_FIRST));
	pdev = plu_dev(test, PLU_FIRST);

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
}

/* What was not recognized in time is not taken over, although it is the same. */
static void plu_match_test(struct kunit *test)
{
	struct device_liveupdate_id id = {};
	struct pci_dev *pdev;

	plu_scan(test, BIT(PLU_MASKABLE));
	pdev = plu_dev(test, PLU_FIRST);
	pci_liveupdate_ops.identify(&pdev->dev, &id);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_ops.match(&pdev->dev, &id, &id));

	memset(&id, 0, sizeof(id));
	pdev = plu_dev(test, PLU_MASKABLE);
	pci_liveupdate_ops.identify(&pdev->dev, &id);
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_ops.match(&pdev->dev, &id, &id));
}

static void plu_enumerate_config_test(struct kunit *test)
{
	plu_scan(test, 0);

	KUNIT_EXPECT_FALSE(test, pci_find_host_bridge(plu.bus)->preserve_config);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_below(plu.bus));
}

static void plu_enable_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_set(PLU_PLAIN_MSI, PCI_COMMAND, 2, PCI_COMMAND_MEMORY |
		PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	plu_scan(test, BIT(PLU_PLAIN_MSI));
	pdev = plu_dev(test, PLU_PLAIN_MSI);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_TRUE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				PCI_COMMAND_INTX_DISABLE);
	/* As after a probe that was deferred. */
	pci_disable_device(pdev);
	KUNIT_EXPECT_FALSE(test, plu_wrote(PLU_PLAIN_MSI, PCI_COMMAND,
					   PCI_COMMAND_MASTER, false));

	/* Its driver did not take it over. */
	pci_liveupdate_ops.settled(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				 PCI_COMMAND_INTX_DISABLE);
	pci_disable_device(pdev);
	KUNIT_EXPECT_TRUE(test, plu_wrote(PLU_PLAIN_MSI, PCI_COMMAND,
					  PCI_COMMAND_MASTER, false));
}

/* Identity. */

static void plu_identify(struct kunit *test, enum plu_index index,
			 struct device_liveupdate_id *id)
{
	memset(id, 0, sizeof(*id));
	KUNIT_ASSERT_EQ(test, 0,
			pci_liveupdate_ops.identify(&plu_dev(test, index)->dev, id));
}

static void plu_identity_test(struct kunit *test)
{
	struct device_liveupdate_id id;

	plu_scan(test, 0);
	plu_identify(test, PLU_FIRST, &id);
	KUNIT_EXPECT_STREQ(test, id.id, "7ffe:00:00.0");
	plu_identify(test, PLU_BELOW, &id);
	KUNIT_EXPECT_STREQ(test, id.id, "7ffe:01:00.0");
}

struct plu_register {
	enum plu_index index;
	int where;
	int size;
	u32 flip;
	const char *name;
	const char *what;
};

/* What can be found at the same address, or has moved. */
static const struct plu_register plu_identity[] = {
	{ PLU_FIRST, PCI_CLASS_REVISION, 1, 1, "revision",
	  "class or revision" },
	{ PLU_FIRST, PCI_CLASS_DEVICE, 2, 1, "class",
	  "class or revision" },
	{ PLU_FIRST, PCI_SUBSYSTEM_VENDOR_ID, 2, 1, "subsystem vendor",
	  "subsystem ID" },
	{ PLU_FIRST, PCI_SUBSYSTEM_ID, 2, 1, "subsystem",
	  "subsystem ID" },
	{ PLU_FIRST, PCI_BASE_ADDRESS_0, 4, 0x1000, "first BAR",
	  "register 0x10" },
	{ PLU_FIRST, PCI_BASE_ADDRESS_5, 4, 0x80000000, "last BAR",
	  "register 0x24" },
	{ PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2, 1, "MSI-X vectors",
	  "number of MSI-X vectors" },
	{ PLU_BRIDGE, PCI_PRIMARY_BUS, 1, 1, "primary bus",
	  "register 0x18" },
	{ PLU_BRIDGE, PCI_SUBORDINATE_BUS, 1, 1, "subordinate bus",
	  "register 0x18" },
	{ PLU_BRIDGE, PCI_IO_BASE, 1, 0x10, "I/O window",
	  "register 0x1c" },
	{ PLU_BRIDGE, PCI_MEMORY_BASE, 2, 0x10, "memory window",
	  "register 0x20" },
	{ PLU_BRIDGE, PCI_PREF_MEMORY_LIMIT, 2, 0x10, "prefetchable window",
	  "register 0x24" },
	{ PLU_BRIDGE, PCI_PREF_LIMIT_UPPER32, 4, 1, "upper half of a window",
	  "register 0x2c" },
	{ PLU_BRIDGE, PCI_IO_LIMIT_UPPER16, 2, 1, "upper half of the I/O window",
	  "register 0x30" },
};

/* What changes while the function is the same. */
static const struct plu_register plu_no_identity[] = {
	{ PLU_FIRST, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE, "INTx Disable" },
	{ PLU_FIRST, PCI_STATUS, 2, PCI_STATUS_REC_MASTER_ABORT, "status" },
	{ PLU_FIRST, PCI_INTERRUPT_LINE, 1, 1, "interrupt line" },
	{ PLU_FIRST, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_MFD, "multi-function" },
	{ PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE, "MSI-X" },
	{ PLU_FIRST, PLU_EXP + PCI_EXP_DEVCTL, 2, 1, "device control" },
	{ PLU_BRIDGE, PCI_SEC_LATENCY_TIMER, 1, 1, "latency timer" },
	{ PLU_BRIDGE, PCI_SEC_STATUS, 2, 1, "secondary status" },
	{ PLU_BRIDGE, PCI_BRIDGE_CONTROL, 2, 1, "bridge control" },
};

static void plu_register_desc(const struct plu_register *param, char *desc)
{
	strscpy(desc, param->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(plu_identity, plu_identity, plu_register_desc);
KUNIT_ARRAY_PARAM(plu_no_identity, plu_no_identity, plu_register_desc);

/* Returns true if it differs, with what is said of it in @what. */
static bool plu_fingerprint_differs(struct kunit *test, char *what, size_t size)
{
	const struct plu_register *param = test->param_value;
	struct device_liveupdate_id before, after;

	plu_scan(test, 0);
	plu_identify(test, param->index, &before);
	plu_set(param->index, param->where, param->size,
		plu_config(param->index, param->where, param->size) ^ param->flip);
	plu_identify(test, param->index, &after);

	KUNIT_EXPECT_EQ(test, !memcmp(before.fingerprint, after.fingerprint,
				      sizeof(before.fingerprint)),
			!pci_liveupdate_difference(&after, &before, what, size));

	return memcmp(before.fingerprint, after.fingerprint,
		      sizeof(before.fingerprint));
}

static void plu_fingerprint_test(struct kunit *test)
{
	const struct plu_register *param = test->param_value;
	char what[32] = "";

	KUNIT_EXPECT_TRUE(test, plu_fingerprint_differs(test, what, sizeof(what)));
	KUNIT_EXPECT_STREQ(test, param->what, what);
}

static void plu_fingerprint_same_test(struct kunit *test)
{
	char what[32];

	KUNIT_EXPECT_FALSE(test, plu_fingerprint_differs(test, what, sizeof(what)));
}

/* A function says the same of itself before and after it is set up. */
static void plu_fingerprint_early_test(struct kunit *test)
{
	struct device_liveupdate_id late, early = {};
	struct pci_dev *pdev;

	plu_scan(test, 0);
	plu_identify(test, PLU_FIRST, &late);

	pdev = pci_alloc_dev(plu.bus);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->devfn = plu.functions[PLU_FIRST].devfn;
	pdev->vendor = 0x1234;
	pdev->device = 0x5678;
	pdev->cfg_size = PLU_SIZE;
	pci_liveupdate_ops.identify(&pdev->dev, &early);
	KUNIT_EXPECT_STREQ(test, late.id, early.id);
	KUNIT_EXPECT_MEMEQ(test, late.fingerprint, early.fingerprint,
			   sizeof(late.fingerprint));
	pci_bus_put(pdev->bus);
	kfree(pdev);
}

/* What is refused. */

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
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.supported(&pdev->dev, &reason));
	param->change(pdev);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.supported(&pdev->dev, &reason));
	KUNIT_EXPECT_NOT_NULL(test, strstr(reason, param->reason));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, pci_liveupdate_ops.prepare(&pdev->dev));

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
			pci_liveupdate_ops.supported(&pdev->dev, &reason));
	KUNIT_EXPECT_NOT_NULL(test, strstr(reason, "DMA API"));
	ops.dma_api_only = true;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.supported(&pdev->dev, &reason));
	pdev->dev.driver = NULL;
	pdev->msix_enabled = 0;
}

static void plu_refused_bridge_test(struct kunit *test)
{
	const char *reason = "";

	plu_scan(test, 0);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			pci_liveupdate_ops.supported(&plu_dev(test, PLU_BRIDGE)->dev,
						     &reason));
	KUNIT_EXPECT_STREQ(test, reason, "not an endpoint");
	KUNIT_EXPECT_TRUE(test, pci_liveupdate_ops.is_bridge(&plu_dev(test, PLU_BRIDGE)->dev));
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_ops.is_bridge(&plu_dev(test, PLU_FIRST)->dev));
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
			pci_liveupdate_ops.supported(&pdev->dev, &reason));
	pci_intx(pdev, 0);
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.supported(&pdev->dev, &reason));
}

static void plu_path_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_BRIDGE);
	pdev->current_state = PCI_D0;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.keep_path(&pdev->dev, true));
	plu_set(PLU_BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	KUNIT_EXPECT_EQ(test, -EIO, pci_liveupdate_ops.keep_path(&pdev->dev, true));
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.keep_path(&pdev->dev, false));
	plu_set(PLU_BRIDGE, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pdev->error_state = pci_channel_io_frozen;
	KUNIT_EXPECT_EQ(test, -EIO, pci_liveupdate_ops.keep_path(&pdev->dev, true));
	pdev->error_state = pci_channel_io_normal;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.keep_path(&pdev->dev, true));
	pdev->current_state = PCI_D3hot;
	KUNIT_EXPECT_EQ(test, -EIO, pci_liveupdate_ops.keep_path(&pdev->dev, true));
}

/* Freezing and thawing. */

/* The driver went back to INTx since it was prepared. */
static void plu_freeze_intx_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_scan(test, 0);
	pdev = plu_dev(test, PLU_FIRST);
	pdev->msix_enabled = 1;
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.prepare(&pdev->dev));
	pdev->msix_enabled = 0;
	plu.nr_writes = 0;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, pci_liveupdate_ops.freeze(&pdev->dev));
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

	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.freeze(&pdev->dev));
	KUNIT_EXPECT_EQ(test, enabled | PCI_MSIX_FLAGS_MASKALL,
			plu_config(PLU_FIRST, PLU_MSIX + PCI_MSIX_FLAGS, 2));
	KUNIT_EXPECT_EQ(test, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			PCI_COMMAND_INTX_DISABLE,
			plu_config(PLU_FIRST, PCI_COMMAND, 2));

	pci_liveupdate_ops.thaw(&pdev->dev);
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
	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.freeze(&pdev->dev));
	KUNIT_EXPECT_FALSE(test, plu_msi_flags(PLU_MASKABLE));

	pci_liveupdate_ops.thaw(&pdev->dev);
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

	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.freeze(&pdev->dev));
	KUNIT_EXPECT_FALSE(test, plu_msi_flags(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_config(PLU_PLAIN_MSI, PCI_COMMAND, 2) &
				PCI_COMMAND_INTX_DISABLE);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&interrupt.count));

	pci_liveupdate_ops.thaw(&pdev->dev);
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

	KUNIT_EXPECT_EQ(test, 0, pci_liveupdate_ops.freeze(&pdev->dev));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(thread.done));

	pci_liveupdate_ops.thaw(&pdev->dev);
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
static unsigned int plu_settle(struct pci_dev *pdev, bool reclaimed)
{
	plu_missed = 0;
	pdev->dev.driver = &plu_driver;
	pci_liveupdate_ops.settled(&pdev->dev, reclaimed);
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
	KUNIT_EXPECT_EQ(test, 1, plu_settle(pdev, true));
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&interrupt.count));
	plu_put_msi(pdev, &interrupt);

	/* One that polls hears of it, too, one that set the function up anew does not. */
	KUNIT_EXPECT_EQ(test, 0, plu_settle(plu_dev(test, PLU_MASKABLE), false));
	KUNIT_EXPECT_EQ(test, 1, plu_settle(plu_dev(test, PLU_FIRST), true));

	/* MSI-X delivers what it has latched. */
	pdev = plu_dev(test, PLU_FIRST);
	set_bit(PCI_DEV_LIVEUPDATE, &pdev->priv_flags);
	pdev->msix_enabled = 1;
	KUNIT_EXPECT_EQ(test, 0, plu_settle(pdev, true));
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
				pci_liveupdate_ops.settled(&pdev->dev, true);
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

	pci_liveupdate_ops.settled(&pdev->dev, true);
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
static void plu_settled_test(struct kunit *test)
{
	struct pci_dev *pdev;

	plu_leave_frozen(PLU_FIRST);
	plu_leave_frozen(PLU_BELOW);
	plu_scan(test, BIT(PLU_FIRST) | BIT(PLU_BRIDGE) | BIT(PLU_BELOW));

	pdev = plu_dev(test, PLU_FIRST);
	pci_liveupdate_ops.settled(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_FIRST));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_FIRST));

	pdev = plu_dev(test, PLU_BELOW);
	pci_liveupdate_ops.settled(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_BELOW));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_BELOW));
}

/* A driver that polls says so, whoever wanted INTx before. */
static void plu_settled_polled_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	pci_intx(pdev, 0);
	pci_liveupdate_ops.settled(&pdev->dev, true);
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
	pci_liveupdate_ops.settled(&pdev->dev, false);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_FALSE(test, plu_intx(PLU_PLAIN_MSI));
	pci_disable_device(pdev);
}

/* A driver that asks for INTx gets it at once, and nothing beside it. */
static void plu_settled_intx_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_device(pdev));
	pci_intx(pdev, 1);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_PLAIN_MSI));
	pci_liveupdate_ops.settled(&pdev->dev, true);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));
	KUNIT_EXPECT_TRUE(test, plu_intx(PLU_PLAIN_MSI));
	pci_disable_device(pdev);
}

/* Of two kinds of interrupts only that in use is on, at any time. */
static void plu_settled_msi_test(struct kunit *test)
{
	struct pci_dev *pdev = plu_scan_both(test);
	struct plu_interrupt interrupt;

	plu_get_msi(test, pdev, &interrupt);
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_PLAIN_MSI));

	pci_liveupdate_ops.settled(&pdev->dev, true);
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

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
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

	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
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
	kunit_activate_static_stub(test, device_liveupdate_may_change, plu_busy);
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, -EBUSY, pci_try_reset_function(pdev));
	KUNIT_EXPECT_EQ(test, 1, plu.functions[PLU_FIRST].resets);
	KUNIT_EXPECT_EQ(test, 0, plu.nr_writes);
}

static void plu_reset_inherited_test(struct kunit *test)
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
	KUNIT_EXPECT_FALSE(test, pci_liveupdate_inherited(pdev));
	KUNIT_EXPECT_FALSE(test, plu_msix(PLU_FIRST));
	KUNIT_EXPECT_FALSE(test, plu_config(PLU_FIRST, PCI_COMMAND, 2) &
				 PCI_COMMAND_MASTER);
	KUNIT_EXPECT_EQ(test, 0, pci_reset_function(pdev));
}

static struct kunit_case plu_cases[] = {
	KUNIT_CASE(plu_enumerate_test),
	KUNIT_CASE(plu_enumerate_ordinary_test),
	KUNIT_CASE(plu_enumerate_unmasked_test),
	KUNIT_CASE(plu_enumerate_broken_intx_test),
	KUNIT_CASE(plu_enumerate_msi_test),
	KUNIT_CASE(plu_enumerate_bridge_test),
	KUNIT_CASE(plu_enumerate_gone_test),
	KUNIT_CASE(plu_match_test),
	KUNIT_CASE(plu_enumerate_config_test),
	KUNIT_CASE(plu_enable_test),
	KUNIT_CASE(plu_identity_test),
	KUNIT_CASE_PARAM(plu_fingerprint_test, plu_identity_gen_params),
	KUNIT_CASE_PARAM(plu_fingerprint_same_test, plu_no_identity_gen_params),
	KUNIT_CASE(plu_fingerprint_early_test),
	KUNIT_CASE_PARAM(plu_refused_test, plu_refusals_gen_params),
	KUNIT_CASE(plu_refused_dma_test),
	KUNIT_CASE(plu_refused_bridge_test),
	KUNIT_CASE(plu_polled_test),
	KUNIT_CASE(plu_path_test),
	KUNIT_CASE(plu_freeze_intx_test),
	KUNIT_CASE(plu_freeze_msix_test),
	KUNIT_CASE(plu_freeze_maskable_test),
	KUNIT_CASE(plu_freeze_thread_test),
	KUNIT_CASE(plu_freeze_msi_test),
	KUNIT_CASE(plu_reclaimed_test),
	KUNIT_CASE(plu_settled_test),
	KUNIT_CASE(plu_fixed_test),
	KUNIT_CASE(plu_fixed_for_good_test),
	KUNIT_CASE(plu_settled_polled_test),
	KUNIT_CASE(plu_released_polled_test),
	KUNIT_CASE(plu_settled_intx_test),
	KUNIT_CASE(plu_settled_msi_test),
	KUNIT_CASE(plu_deferred_test),
	KUNIT_CASE(plu_quarantine_test),
	KUNIT_CASE(plu_quarantine_no_reset_test),
	KUNIT_CASE(plu_quarantine_bus_test),
	KUNIT_CASE(plu_quarantine_bridge_test),
	KUNIT_CASE(plu_reset_test),
	KUNIT_CASE(plu_reset_inherited_test),
	{}
};

static struct kunit_suite plu_suite = {
	.name		= "pci_liveupdate",
	.init		= plu_init,
	.exit		= plu_exit,
	.test_cases	= plu_cases,
};

kunit_test_suite(plu_suite);
