// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Memory that a device may access over the kexec
 *
 * Buffers as drivers have them: where their memory may lie, how it is mapped, who has it,
 * and whether it is preserved. What they are for, and their lifecycle, is in
 * liveupdate.c.
 *
 * What a device can reach
 *   dma_liveupdate_check() refuses a device with a buffer that is not preserved. That it
 *   accesses nothing else is the promise of its driver (&dev_liveupdate_ops.dma_api_only),
 *   and the log says so. dma-debug is an aid to find drivers that break it: if it is on, a
 *   device with more mappings than preserved buffers is refused. That needs a walk of all
 *   mappings in the system for each device, because dma-debug hashes them by address.
 */

#define pr_fmt(fmt) "liveupdate: dma: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include "debug.h"
#include "liveupdate.h"

/* Nothing to be synchronised, and never a bounce buffer. */
#define DMA_LIVEUPDATE_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | \
				 DMA_ATTR_REQUIRE_COHERENT)

static int dma_liveupdate_order(size_t size)
{
	if (!size)
		return -EINVAL;
	if (size > PAGE_SIZE << MAX_PAGE_ORDER)
		return -E2BIG;

	return get_order(size);
}

static bool dma_liveupdate_has_pool(struct device *dev)
{
#ifdef CONFIG_DMA_DECLARE_COHERENT
	return dev->dma_mem;
#else
	return false;
#endif
}

/**
 * dma_liveupdate_check_device() - can the DMA of this device go on over the kexec?
 * @dev: the device, with its DMA masks set
 * @reason: if not, why, a few words
 *
 * For &bus_liveupdate_ops.check, and for whoever wants to know why there are
 * no buffers.
 *
 * Context: any.
 * Return: 0 or -EOPNOTSUPP.
 */
int dma_liveupdate_check_device(struct device *dev, const char **reason)
{
	if (!dev->dma_mask || !*dev->dma_mask || !dev->coherent_dma_mask)
		*reason = "it has no DMA mask";
	else if (use_dma_iommu(dev) || device_iommu_mapped(dev))
		*reason = "it is behind an IOMMU";
	else if (get_dma_ops(dev))
		*reason = "its DMA needs special operations";
	else if (!dev_is_dma_coherent(dev))
		*reason = "its DMA is not coherent";
	else if (force_dma_unencrypted(dev))
		*reason = "its DMA needs memory that is not encrypted";
	else if (is_swiotlb_force_bounce(dev) || is_swiotlb_for_alloc(dev))
		*reason = "its DMA goes through bounce buffers";
	else if (dma_liveupdate_has_pool(dev))
		*reason = "it has coherent memory of its own";
	else
		return 0;

	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_check_device, "LIVEUPDATE");

/* The highest address that is good for everything. */
static u64 dma_liveupdate_limit(struct device *dev)
{
	return min_not_zero(min(dev->coherent_dma_mask, *dev->dma_mask),
			    dev->bus_dma_limit);
}

/* Does the device reach all of it, where @dma says? */
static bool dma_liveupdate_reaches(struct device *dev, phys_addr_t phys,
				   size_t size, dma_addr_t dma)
{
	dma_addr_t end = dma + size - 1;

	return dma != DMA_MAPPING_ERROR && phys_to_dma(dev, phys) == dma &&
	       phys_to_dma(dev, phys + size - 1) == end && end >= dma &&
	       end <= dma_liveupdate_limit(dev);
}

/* As dma-direct does it: the zone that should do, then those below. */
static struct folio *dma_liveupdate_alloc_folio(struct device *dev,
						unsigned int order)
{
	static const gfp_t zones[] = {
		0,
		IS_ENABLED(CONFIG_ZONE_DMA32) ? GFP_DMA32 : 0,
		IS_ENABLED(CONFIG_ZONE_DMA) ? GFP_DMA : 0,
	};
	u64 limit = dma_to_phys(dev, dma_liveupdate_limit(dev));
	const size_t size = PAGE_SIZE << order;
	int node = dev_to_node(dev);
	unsigned int first = 0;

	if (node == NUMA_NO_NODE)
		node = numa_mem_id();
	if (limit <= zone_dma_limit)
		first = 2;
	else if (limit <= DMA_BIT_MASK(32))
		first = 1;

	for (unsigned int i = first; i < ARRAY_SIZE(zones); i++) {
		struct folio *folio;
		phys_addr_t phys;

		/* There is no such zone, and the one above did not do. */
		if (i > first && !zones[i])
			continue;
		folio = __folio_alloc_node(GFP_KERNEL | __GFP_ZERO | __GFP_COMP |
					   __GFP_NOWARN | zones[i], order, node);
		if (!folio)
			continue;
		phys = PFN_PHYS(folio_pfn(folio));
		if (dma_liveupdate_reaches(dev, phys, size,
					   phys_to_dma(dev, phys)) &&
		    !dma_liveupdate_in_scratch(phys, size))
			return folio;
		folio_put(folio);
	}

	return NULL;
}

/* Tags of a device are small and close together. */
static u64 dma_liveupdate_name(const struct device *dev, u32 tag)
{
	return (unsigned long)dev + ((u64)tag << 32 | tag);
}

static struct dma_liveupdate_buffer *dma_liveupdate_find(struct device *dev,
							 u32 tag)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer;

	lockdep_assert_held(&layer->lock);

	hash_for_each_possible(layer->named, buffer, named,
			       dma_liveupdate_name(dev, tag)) {
		if (buffer->dev == dev && buffer->tag == tag)
			return buffer;
	}

	return NULL;
}

static void dma_liveupdate_unmap(struct dma_liveupdate_buffer *buffer,
				 struct device *dev)
{
	dma_unmap_page_attrs(dev, buffer->dma, buffer->size, DMA_BIDIRECTIONAL,
			     DMA_LIVEUPDATE_ATTRS);
}

/* Map the memory of @buffer and let others know it. */
static int dma_liveupdate_enter(struct dma_liveupdate_buffer *buffer,
				struct device *dev, u32 tag)
{
	phys_addr_t phys = PFN_PHYS(folio_pfn(buffer->folio));

	lockdep_assert_held(&dma_liveupdate_layer.lock);

	buffer->size = folio_size(buffer->folio);
	buffer->address = folio_address(buffer->folio);
	buffer->dma = dma_map_page_attrs(dev, folio_page(buffer->folio, 0), 0,
					 buffer->size, DMA_BIDIRECTIONAL,
					 DMA_LIVEUPDATE_ATTRS);
	if (dma_mapping_error(dev, buffer->dma))
		return -EIO;
	if (buffer->dma != phys_to_dma(dev, phys)) {
		dma_liveupdate_unmap(buffer, dev);
		return -EIO;
	}

	buffer->dev = get_device(dev);
	buffer->tag = tag;
	INIT_LIST_HEAD(&buffer->member);
	hash_add(dma_liveupdate_layer.buffers, &buffer->node, (unsigned long)dev);
	hash_add(dma_liveupdate_layer.named, &buffer->named,
		 dma_liveupdate_name(dev, tag));

	return 0;
}

/**
 * dma_liveupdate_alloc() - allocate memory that a device may access over the kexec
 * @dev: the device, with its DMA masks set
 * @size: size in bytes, rounded up to a power of two pages
 * @tag: name of the buffer, unique for @dev, by which it can be retrieved
 *
 * The memory is zeroed and coherent.
 *
 * Context: May sleep.
 * Return: the buffer, to be freed with dma_liveupdate_free(); or ERR_PTR() of
 * -EOPNOTSUPP if DMA of the device cannot go on over the kexec, see
 * dma_liveupdate_check_device(); -EINVAL if @size is 0; -E2BIG if it is more than a
 * folio can have; -EEXIST if the device has a buffer of that @tag; -ENOMEM, also
 * if there is no memory that the device can reach; -EIO if it cannot be mapped.
 */
struct dma_liveupdate_buffer *dma_liveupdate_alloc(struct device *dev,
						   size_t size, u32 tag)
{
	struct dma_liveupdate_buffer *buffer __free(kfree) = NULL;
	const char *reason;
	int order, err;

	order = dma_liveupdate_order(size);
	if (order < 0)
		return ERR_PTR(order);
	err = dma_liveupdate_check_device(dev, &reason);
	if (err) {
		dev_dbg(dev, "liveupdate: no DMA buffer: %s\n", reason);
		return ERR_PTR(err);
	}

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->folio = dma_liveupdate_alloc_folio(dev, order);
	if (!buffer->folio)
		return ERR_PTR(-ENOMEM);

	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		err = dma_liveupdate_find(dev, tag) ? -EEXIST :
		      dma_liveupdate_enter(buffer, dev, tag);
	}
	if (err) {
		folio_put(buffer->folio);
		return ERR_PTR(err);
	}

	return no_free_ptr(buffer);
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_alloc, "LIVEUPDATE");

/* Take over the memory of @incoming, unless that was done before. */
static int dma_liveupdate_claim(struct device *dev,
				struct dma_liveupdate_incoming *incoming,
				unsigned int order)
{
	const struct dma_liveupdate_ser *ser = &incoming->ser;
	const size_t size = PAGE_SIZE << order;

	lockdep_assert_held(&dma_liveupdate_layer.lock);

	if (ser->order != order)
		return -EINVAL;
	if (!dma_liveupdate_reaches(dev, ser->phys, size, ser->dma))
		return -EADDRNOTAVAIL;
	if (incoming->folio)
		return 0;
	/* There is no way back into the reserve. */
	if (!dma_liveupdate_handed_over(ser->phys, size))
		return -EBADMSG;
	incoming->folio = dma_liveupdate_restore_folio(ser->phys);

	return incoming->folio ? 0 : -EBADMSG;
}

/* The buffer @tag of the record @device, for the driver of the record @consumer. */
static struct dma_liveupdate_buffer *
dma_liveupdate_take(struct device *dev, u32 device, u32 consumer, int order, u32 tag)
{
	struct dma_liveupdate_buffer *buffer __free(kfree) = NULL;
	struct dma_liveupdate_incoming *incoming;
	const char *reason;
	int err;

	err = dma_liveupdate_check_device(dev, &reason);
	if (err) {
		dev_warn(dev, "liveupdate: cannot retrieve DMA buffers: %s\n", reason);
		return ERR_PTR(err);
	}

	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	guard(mutex)(&dma_liveupdate_layer.lock);

	/* What is still known after FINISH is retained. */
	incoming = dma_liveupdate_find_incoming(device, tag);
	if (!incoming || dma_liveupdate_layer.retained)
		return ERR_PTR(-ENOENT);
	if (incoming->buffer)
		return ERR_PTR(-EBUSY);
	if (dma_liveupdate_find(dev, tag))
		return ERR_PTR(-EEXIST);
	err = dma_liveupdate_claim(dev, incoming, order);
	if (err)
		return ERR_PTR(err);

	/* If this fails the record keeps the memory: the device may use it. */
	buffer->folio = incoming->folio;
	err = dma_liveupdate_enter(buffer, dev, tag);
	if (err)
		return ERR_PTR(err);
	buffer->incoming = incoming;
	incoming->buffer = buffer;
	incoming->folio = NULL;
	incoming->returned = false;
	incoming->consumer = consumer;

	return no_free_ptr(buffer);
}

/**
 * dma_liveupdate_retrieve() - take over a buffer that the previous kernel handed over
 * @dev: the device
 * @size: size in bytes, as it was allocated
 * @tag: name of the buffer, as it was allocated
 *
 * For probe(), and only after device_liveupdate_retrieve(). The device may access the
 * buffer at any time, and may have done so since the driver of the previous kernel last
 * looked. What it contains is for the driver to check. If this fails, the device must be
 * stopped before it is given other memory, or probe() must fail.
 *
 * A driver that takes its device over retrieves all buffers; of those that it has no use
 * for it keeps the device away, and frees them. What it did not retrieve is retained.
 *
 * Context: probe(), with device_lock held.
 * Return: the buffer, to be freed with dma_liveupdate_free(); or ERR_PTR() of
 * -ENOENT if none was handed over, or its record is corrupted; -EINVAL if it has
 * another size; -E2BIG if @size is more than a folio can have; -EBUSY if it was
 * retrieved already; -EEXIST if the device has another buffer of that @tag;
 * -EOPNOTSUPP if DMA of the device is of another kind in this kernel;
 * -EADDRNOTAVAIL if the device does not reach it at the address that it uses;
 * -EBADMSG if its memory did not arrive; -EIO if it cannot be mapped; -ENOMEM.
 */
struct dma_liveupdate_buffer *dma_liveupdate_retrieve(struct device *dev,
						      size_t size, u32 tag)
{
	int order, err;
	u32 device;

	order = dma_liveupdate_order(size);
	if (order < 0)
		return ERR_PTR(order);
	err = device_liveupdate_incoming_index(dev, &device);

	return err ? ERR_PTR(err) : dma_liveupdate_take(dev, device, device, order, tag);
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_retrieve, "LIVEUPDATE");

/**
 * dma_liveupdate_retrieve_for() - the same, for the driver of a device below
 * @dev: the device that the buffer was allocated for
 * @consumer: the device below it that is being probed, handed over or not
 * @size: size in bytes, as it was allocated
 * @tag: name of the buffer, as it was allocated
 *
 * @dev has been taken over. If the probe of @consumer fails afterwards, it frees the buffer,
 * and the memory is kept until @consumer was stopped. If that was not handed over, nobody
 * would stop it: then its driver does so before it frees the buffer.
 *
 * Context: probe() of @consumer, with its device_lock held. Until FINISH.
 * Return: as dma_liveupdate_retrieve(); -ENOENT also if @dev is not above @consumer, or has
 * not been taken over.
 */
struct dma_liveupdate_buffer *
dma_liveupdate_retrieve_for(struct device *dev, struct device *consumer, size_t size,
			    u32 tag)
{
	u32 device, taker;
	int order, err;

	order = dma_liveupdate_order(size);
	if (order < 0)
		return ERR_PTR(order);
	err = device_liveupdate_provider_index(dev, consumer, &device);
	if (err)
		return ERR_PTR(err);
	/* One that was not handed over is the business of what is above it. */
	if (device_liveupdate_incoming_index(consumer, &taker))
		taker = device;

	return dma_liveupdate_take(dev, device, taker, order, tag);
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_retrieve_for, "LIVEUPDATE");

/**
 * dma_liveupdate_preserve() - keep a buffer for the next kernel
 * @buffer: the buffer
 *
 * For &dev_liveupdate_ops.prepare. If that fails afterwards it unpreserves the
 * buffer itself, as &dev_liveupdate_ops.cancel is not called then.
 *
 * Context: May sleep.
 * Return: 0, also if it was preserved already; -ENOENT if the device does not take
 * part in the update; -EBUSY if all devices are prepared, so that it is too late;
 * -EOPNOTSUPP if DMA of the device has become one that cannot go on over the kexec;
 * -ENOMEM, or another error of kho_preserve_folio().
 */
int dma_liveupdate_preserve(struct dma_liveupdate_buffer *buffer)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	const char *reason;
	int err;

	guard(mutex)(&layer->lock);

	if (!list_empty(&buffer->member))
		return 0;
	if (layer->closed)
		return -EBUSY;
	err = device_liveupdate_outgoing_index(buffer->dev, &buffer->device);
	if (err)
		return err;
	err = dma_liveupdate_check_device(buffer->dev, &reason);
	if (err)
		return err;
	err = dma_liveupdate_keep_folio(buffer->folio);
	if (err)
		return err;
	list_add_tail(&buffer->member, &layer->preserved);
	layer->nr_preserved++;

	return 0;
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_preserve, "LIVEUPDATE");

/* The update cannot go on. */
VISIBLE_IF_KUNIT void dma_liveupdate_invalidate(void)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_invalidate);

	liveupdate_invalidate(&dma_liveupdate_subsystem, -ENODEV, "",
			      "memory of a preserved device was freed");
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_invalidate);

/*
 * Do not keep a buffer any more. True if that breaks the update.
 * &dma_liveupdate_layer.lock held.
 */
bool dma_liveupdate_withdraw(struct dma_liveupdate_buffer *buffer)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	lockdep_assert_held(&layer->lock);

	if (list_empty(&buffer->member))
		return false;

	list_del_init(&buffer->member);
	layer->nr_preserved--;
	dma_liveupdate_drop_folio(buffer->folio);
	if (!buffer->record)
		return false;

	/* If it is too late to stop the kexec, nobody must take it over. */
	kho_table_invalidate(&layer->table, buffer->record - 1);
	buffer->record = 0;
	layer->invalid = true;

	return true;
}

/**
 * dma_liveupdate_unpreserve() - undo dma_liveupdate_preserve()
 * @buffer: the buffer, preserved or not, NULL, or an ERR_PTR()
 *
 * For &dev_liveupdate_ops.cancel, and for a prepare that fails.
 *
 * Context: May sleep.
 */
void dma_liveupdate_unpreserve(struct dma_liveupdate_buffer *buffer)
{
	if (IS_ERR_OR_NULL(buffer))
		return;

	guard(mutex)(&dma_liveupdate_layer.lock);
	if (dma_liveupdate_withdraw(buffer))
		dev_notice(buffer->dev, "liveupdate: a DMA buffer was taken out of the update, which cannot go on\n");
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_unpreserve, "LIVEUPDATE");

/**
 * dma_liveupdate_free() - free a buffer
 * @buffer: a buffer that was allocated or retrieved, NULL, or an ERR_PTR()
 *
 * The device does not access it any more, unless it was retrieved in this update: then
 * the memory is kept until the operator declares the update complete, for the sake of
 * a probe() that fails.
 *
 * A preserved buffer is unpreserved first. If the update was to go on with it, it is
 * cancelled.
 *
 * Context: May sleep.
 */
void dma_liveupdate_free(struct dma_liveupdate_buffer *buffer)
{
	struct dma_liveupdate_incoming *incoming;
	struct device *dev;

	if (IS_ERR_OR_NULL(buffer))
		return;

	dev = buffer->dev;
	scoped_guard(mutex, &dma_liveupdate_layer.lock) {
		if (dma_liveupdate_withdraw(buffer)) {
			dev_err(dev, "liveupdate: a preserved DMA buffer was freed\n");
			dma_liveupdate_invalidate();
		}
		hash_del(&buffer->node);
		hash_del(&buffer->named);
		dma_liveupdate_unmap(buffer, dev);
		incoming = buffer->incoming;
		if (incoming) {
			incoming->folio = buffer->folio;
			incoming->buffer = NULL;
			incoming->returned = true;
		}
	}
	if (!incoming)
		folio_put(buffer->folio);
	put_device(dev);
	kfree(buffer);
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_free, "LIVEUPDATE");

/* Whether all that a device can reach is preserved. */

VISIBLE_IF_KUNIT int dma_liveupdate_nr_mapped(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(dma_liveupdate_nr_mapped, dev);

	return debug_dma_count_mappings(dev);
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_nr_mapped);

static void dma_liveupdate_notified(struct device *dev, void *unused)
{
}

/* Say what is taken on trust, once for as long as this driver is bound. */
static void dma_liveupdate_notify(struct device *dev, unsigned int nr)
{
	void *told;

	if (devres_find(dev, dma_liveupdate_notified, NULL, NULL))
		return;
	told = devres_alloc(dma_liveupdate_notified, 0, GFP_KERNEL);
	if (told)
		devres_add(dev, told);
	dev_info(dev, "liveupdate: its driver promises that it accesses no memory but %u preserved buffers\n",
		 nr);
}

/**
 * dma_liveupdate_check() - is everything the device may access preserved?
 * @dev: the device, whose driver is prepared or frozen
 * @frozen: the driver is frozen; what else was mapped for the device while it was
 *	only prepared, may be gone by then
 * @reason: if not, why, a few words
 *
 * For &bus_liveupdate_ops.prepare and &bus_liveupdate_ops.freeze of a bus that lets
 * its devices go on with DMA. The first call for a device may write to the log, which
 * is better done before the blackout.
 *
 * Context: May sleep.
 * Return: 0; -EBUSY; -EOPNOTSUPP if %CONFIG_DMA_LIVEUPDATE is off.
 */
int dma_liveupdate_check(struct device *dev, bool frozen, const char **reason)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer;
	unsigned int nr = 0;
	int mapped;

	guard(mutex)(&layer->lock);

	hash_for_each_possible(layer->buffers, buffer, node, (unsigned long)dev) {
		if (buffer->dev != dev)
			continue;
		if (list_empty(&buffer->member)) {
			*reason = "its driver did not preserve a DMA buffer";
			return -EBUSY;
		}
		nr++;
	}

	mapped = dma_liveupdate_nr_mapped(dev);
	if (mapped < 0) {
		dma_liveupdate_notify(dev, nr);
	} else if (frozen && mapped > nr) {
		dev_err(dev, "liveupdate: %d DMA mappings, but %u preserved buffers\n",
			mapped, nr);
		*reason = "memory is mapped for its DMA that is not preserved";
		return -EBUSY;
	}

	return 0;
}
EXPORT_SYMBOL_NS_GPL(dma_liveupdate_check, "LIVEUPDATE");
