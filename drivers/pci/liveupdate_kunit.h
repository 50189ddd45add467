/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of PCI live update have in common, see liveupdate_kunit_bridge.c.
 */

#ifndef _PCI_LIVEUPDATE_KUNIT_H
#define _PCI_LIVEUPDATE_KUNIT_H

#include <kunit/test.h>
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
 * @pending: functions that the previous kernel handed over, by &enum plu_index.
 * @gone: no record is left of them when they are added.
 */
struct plu {
	struct pci_sysdata sysdata;
	struct plu_function functions[PLU_NR];
	struct plu_write writes[1024];
	unsigned int nr_writes;
	struct pci_bus *bus;
	unsigned long pending;
	bool gone;
};

extern struct plu plu;

unsigned int plu_count(enum plu_index index, int where, int size);
bool plu_wrote(enum plu_index index, int where, u32 mask, bool set);
u32 plu_config(enum plu_index index, int where, int size);
void plu_set(enum plu_index index, int where, int size, u32 value);
void plu_allow(enum plu_index index, int where, int size, u32 bits);
void plu_scan(struct kunit *test, unsigned long pending);
struct pci_dev *plu_dev(struct kunit *test, enum plu_index index);
static inline enum device_liveupdate_role plu_role(struct pci_dev *pdev)
{
	return pci_liveupdate_ops.role(&pdev->dev);
}

static inline int plu_prepare(struct pci_dev *pdev, enum device_liveupdate_role role)
{
	return pci_liveupdate_ops.prepare(&pdev->dev, role);
}

static inline int plu_freeze(struct pci_dev *pdev, enum device_liveupdate_role role)
{
	return pci_liveupdate_ops.freeze(&pdev->dev, role);
}

int plu_init(struct kunit *test);
void plu_exit(struct kunit *test);
void plu_leave_frozen(enum plu_index index);

#endif /* _PCI_LIVEUPDATE_KUNIT_H */
