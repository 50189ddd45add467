// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Platform live update
 *
 * Keeps platform devices running while one kernel replaces another. What a driver does is in
 * include/linux/liveupdate/device.h, how devices are named in
 * include/linux/kho/abi/platform.h.
 *
 * Concept
 *   A platform device has registers at a place that firmware or a board file tells, and
 *   nothing that all of them have in common: no way to reset it, to keep it from memory, or
 *   to mask what it signals. So the bus asks what it can see, and the driver does the rest.
 *
 *   The driver resets it. If nobody takes the device over, the next kernel has to stop it,
 *   also where no driver is bound: &dev_liveupdate_ops.reset of the driver that would have
 *   been bound does that, with nothing but the resources of the device. If there is no such
 *   driver the memory of the device is retained, and it is tried again at FINISH. A driver
 *   whose device accesses no memory says so with &dev_liveupdate_ops.no_dma instead.
 *
 *   Interrupts are those of the driver: none is masked here. What it did not handle between
 *   its freeze and its probe in the next kernel it looks for there.
 *
 *   A device that needs clocks, regulators, interconnects, a power domain or pins is refused.
 *   They are switched off by the old kernel on its way down, and by the next one when it
 *   takes them for unused, and nothing here keeps them. In the next kernel a device that is
 *   said to need one is not taken for what was handed over: the driver core would set that
 *   up before its probe.
 *
 * Contexts
 *   Those of &struct bus_liveupdate_ops.
 */

#include <linux/acpi.h>
#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/iommu.h>
#include <linux/kho/abi/platform.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/dma.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/string.h>

#include "base.h"

/* Which device it is. */

static const struct resource *
platform_liveupdate_memory(const struct platform_device *pdev)
{
	for (u32 i = 0; i < pdev->num_resources; i++) {
		if (resource_type(&pdev->resource[i]) == IORESOURCE_MEM)
			return &pdev->resource[i];
	}

	return NULL;
}

/*
 * What is reset if nobody takes the device over is what is at this place, so the place is
 * part of the identity: the same name at another place is another device. A number that was
 * given when the device was registered says nothing about what it is. Any. Returns 0;
 * -EOPNOTSUPP if there is nothing else; -E2BIG if its name is too long.
 */
static int platform_liveupdate_identify(struct device *dev, struct device_liveupdate_id *id)
{
	struct platform_liveupdate_fingerprint *fingerprint = (void *)id->fingerprint;
	const struct platform_device *pdev = to_platform_device(dev);
	const struct resource *mem = platform_liveupdate_memory(pdev);
	const struct fwnode_handle *fwnode = dev_fwnode(dev);
	const size_t size = sizeof(id->id);
	int length;

	if (!is_of_node(fwnode) && !is_acpi_device_node(fwnode))
		fwnode = NULL;
	if (fwnode && mem)
		length = snprintf(id->id, size, "%pfwP@%llx", fwnode, (u64)mem->start);
	else if (fwnode)
		length = snprintf(id->id, size, "%pfw", fwnode);
	else if (mem)
		length = snprintf(id->id, size, "%s@%llx", pdev->name, (u64)mem->start);
	else if (pdev->id_auto)
		return -EOPNOTSUPP;
	else if (pdev->id == PLATFORM_DEVID_NONE)
		length = snprintf(id->id, size, "%s", pdev->name);
	else
		length = snprintf(id->id, size, "%s.%d", pdev->name, pdev->id);
	if (length >= size)
		return -E2BIG;
	if (mem)
		fingerprint->size = resource_size(mem);

	return 0;
}

/* What is not kept over the kexec. */
static const char * const platform_liveupdate_supplies[] = {
	"assigned-clocks", "clocks", "interconnects", "pinctrl-0", "power-domains",
};

static bool platform_liveupdate_has_power_states(struct device *dev)
{
#ifdef CONFIG_ACPI
	struct acpi_device *adev = ACPI_COMPANION(dev);

	return adev && acpi_device_power_manageable(adev);
#else
	return false;
#endif
}

/* Does it need something that nobody keeps switched on? Any. */
static bool platform_liveupdate_needs_supply(struct device *dev)
{
	const struct property *property;

	if (dev->pm_domain || platform_liveupdate_has_power_states(dev))
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(platform_liveupdate_supplies); i++) {
		if (device_property_present(dev, platform_liveupdate_supplies[i]))
			return true;
	}
	if (!dev->of_node)
		return false;
	for_each_property_of_node(dev->of_node, property) {
		if (strends(property->name, "-supply"))
			return true;
	}

	return false;
}

static bool platform_liveupdate_match(struct device *dev,
				      const struct device_liveupdate_id *id,
				      const struct device_liveupdate_id *handed)
{
	if (memcmp(id->fingerprint, handed->fingerprint, sizeof(id->fingerprint)))
		dev_warn(dev, "liveupdate: not what was handed over: another size of its registers\n");
	else if (platform_liveupdate_needs_supply(dev))
		dev_warn(dev, "liveupdate: what it needs was not kept on\n");
	else
		return true;

	return false;
}

/* Whether it can be preserved. */

static const struct dev_liveupdate_ops *platform_liveupdate_ops_of(struct device *dev)
{
	const struct device_driver *drv = READ_ONCE(dev->driver);

	return drv ? drv->liveupdate : NULL;
}

static bool platform_liveupdate_has_dma(struct device *dev)
{
	const struct dev_liveupdate_ops *ops = platform_liveupdate_ops_of(dev);

	return !ops || !ops->no_dma;
}

static const char *platform_liveupdate_objection(struct device *dev)
{
	const struct dev_liveupdate_ops *ops = platform_liveupdate_ops_of(dev);

	if (device_iommu_mapped(dev))
		return "behind an IOMMU, which nobody preserves";
	if (platform_liveupdate_needs_supply(dev))
		return "needs clocks, power or pins, which nobody keeps on";
	if (!ops || ops->no_dma)
		return NULL;
	if (!ops->dma_api_only)
		return "its driver does not say that all its DMA goes through the DMA API";
	if (!ops->reset)
		return "has DMA, and its driver cannot reset it";

	return NULL;
}

static int platform_liveupdate_check(struct device *dev, const char **reason)
{
	const char *objection = platform_liveupdate_objection(dev);

	if (objection) {
		*reason = objection;
		return -EOPNOTSUPP;
	}

	return platform_liveupdate_has_dma(dev) ? dma_liveupdate_check_device(dev, reason) : 0;
}

/* Memory is preserved in prepare of the driver. What it maps may change until it is frozen. */
static int platform_liveupdate_check_memory(struct device *dev, bool frozen)
{
	const char *reason = "what it may access is not preserved";
	int err;

	err = platform_liveupdate_check(dev, &reason);
	if (!err && platform_liveupdate_has_dma(dev))
		err = dma_liveupdate_check(dev, frozen, &reason);
	if (err)
		dev_err(dev, "liveupdate: cannot go on: %s\n", reason);

	return err;
}

static int platform_liveupdate_prepare(struct device *dev, enum device_liveupdate_role role)
{
	return platform_liveupdate_check_memory(dev, false);
}

static int platform_liveupdate_freeze(struct device *dev, enum device_liveupdate_role role)
{
	return platform_liveupdate_check_memory(dev, true);
}

/* Resets a device if the driver is one for it. Returns 1, 0 if it is not, or the error. */
static int platform_liveupdate_try_reset(struct device_driver *drv, void *data)
{
	struct device *dev = data;
	const struct dev_liveupdate_ops *ops = drv->liveupdate;
	int err;

	if (!ops || dev->bus->match(dev, drv) <= 0)
		return 0;
	if (ops->no_dma)
		return 1;
	if (!ops->reset)
		return 0;
	err = ops->reset(dev);
	if (err)
		dev_err(dev, "liveupdate: reset by %s failed: %pe\n", drv->name, ERR_PTR(err));

	return err ?: 1;
}

/*
 * &bus_liveupdate_ops.quarantine. May sleep. device_lock held. Returns 0; -ENODEV if there is
 * no driver that knows how; or the error of that. A driver that is found is not unregistered
 * meanwhile.
 */
static int platform_liveupdate_quarantine(struct device *dev)
{
	int ret = bus_for_each_drv(dev->bus, NULL, dev, platform_liveupdate_try_reset);

	if (!ret)
		return -ENODEV;

	return ret > 0 ? 0 : ret;
}

/* &bus_liveupdate_ops.stop. May sleep. The driver is bound, and so is there. */
static void platform_liveupdate_stop(struct device *dev)
{
	platform_liveupdate_quarantine(dev);
}

const struct bus_liveupdate_ops platform_liveupdate_ops = {
	.identify	= platform_liveupdate_identify,
	.match		= platform_liveupdate_match,
	.shutdown_needs_driver = true,
	.check		= platform_liveupdate_check,
	.prepare	= platform_liveupdate_prepare,
	.freeze		= platform_liveupdate_freeze,
	.quarantine	= platform_liveupdate_quarantine,
	.stop		= platform_liveupdate_stop,
};
