/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: DMA buffers in a live update
 *
 * A device that runs through a live update (include/linux/liveupdate/device.h)
 * may access memory at any time, also while no kernel runs. Memory that it can
 * reach must be kept for it, and the next kernel must find it again. Memory of
 * dma_alloc_coherent() and of the streaming API cannot be kept: nobody knows
 * afterwards how it was allocated.
 *
 * So a driver allocates what its device reaches over the kexec with
 * dma_liveupdate_alloc(), and nothing else may be mapped for the device when it
 * is frozen. A buffer is named by a tag that the driver chooses, unique for the
 * device; what the driver saves of itself contains no address. The device may
 * reach all of the buffer in both directions, and it is coherent: no
 * dma_sync_*() is needed.
 *
 * Not every device can have such buffers, dma_liveupdate_check_device() says why.
 * A driver for a device that must work there, too, falls back to
 * dma_alloc_coherent() if it gets -EOPNOTSUPP, and refuses to prepare. That is
 * also what it gets where %CONFIG_DMA_LIVEUPDATE is off. There is no such way out
 * of dma_liveupdate_retrieve(): the device goes on to use what it has.
 *
 * The device that does the DMA may be above the one whose driver knows what the memory
 * is for, such as a transport. That driver allocates and preserves the memory of the
 * device above, and in the next kernel takes it with dma_liveupdate_retrieve_for(), when
 * the device above has been taken over and until the update is declared complete.
 *
 * What a driver adds:
 *
 * .. code-block:: c
 *
 *	#define FROB_RING_TAG	1
 *
 *	static int frob_prepare(struct device *dev, struct liveupdate_data *data)
 *	{
 *		struct frob *frob = dev_get_drvdata(dev);
 *
 *		return dma_liveupdate_preserve(frob->ring);
 *	}
 *
 *	static void frob_cancel(struct device *dev, const struct liveupdate_data *data)
 *	{
 *		struct frob *frob = dev_get_drvdata(dev);
 *
 *		dma_liveupdate_unpreserve(frob->ring);
 *	}
 *
 *	static int frob_probe(struct device *dev)
 *	{
 *		struct frob *frob = frob_alloc(dev);
 *		const struct liveupdate_data *data;
 *		u32 version;
 *		int err;
 *
 *		if (IS_ERR(frob))
 *			return PTR_ERR(frob);
 *		data = device_liveupdate_retrieve(dev, &version);
 *		if (data)
 *			frob->ring = dma_liveupdate_retrieve(dev, FROB_RING_SIZE,
 *							  FROB_RING_TAG);
 *		else
 *			frob->ring = dma_liveupdate_alloc(dev, FROB_RING_SIZE,
 *							  FROB_RING_TAG);
 *		if (IS_ERR(frob->ring))
 *			return PTR_ERR(frob->ring);
 *
 *		if (data) {
 *			err = frob_take_over(frob, data, version);
 *			if (err)
 *				dma_liveupdate_free(frob->ring);
 *			return err;
 *		}
 *		frob_write(frob, FROB_RING_BASE, frob->ring->dma);
 *
 *		return 0;
 *	}
 *
 *	static void frob_remove(struct device *dev)
 *	{
 *		struct frob *frob = dev_get_drvdata(dev);
 *
 *		frob_stop(frob);
 *		dma_liveupdate_free(frob->ring);
 *	}
 *
 * If probe() fails after it retrieved a buffer, it frees the buffer like any other
 * and leaves the device alone, which still runs: the memory is kept until the
 * device is quiesced, and is there again if the probe was deferred. That holds of
 * retrieved buffers only. Others must not be given to the device before everything
 * that can fail is done.
 */

#ifndef _LINUX_LIVEUPDATE_DMA_H
#define _LINUX_LIVEUPDATE_DMA_H

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/types.h>

struct device;
struct dma_liveupdate_incoming;
struct folio;

/**
 * struct dma_liveupdate_buffer - memory that a device may access over the kexec
 * @address: where the kernel finds it.
 * @dma: where the device finds it.
 * @size: its size in bytes: what was asked for, rounded up to a power of two
 *	pages.
 *
 * All three are read-only.
 */
struct dma_liveupdate_buffer {
	void *address;
	dma_addr_t dma;
	size_t size;

	/* private: owned by kernel/dma/liveupdate.c */
	struct device *dev;
	struct folio *folio;
	u32 tag;
	u32 device;
	struct hlist_node node;
	struct hlist_node named;
	struct list_head member;
	u32 record;
	struct dma_liveupdate_incoming *incoming;
};

#ifdef CONFIG_DMA_LIVEUPDATE

int dma_liveupdate_check_device(struct device *dev, const char **reason);
struct dma_liveupdate_buffer *dma_liveupdate_alloc(struct device *dev,
						   size_t size, u32 tag);
struct dma_liveupdate_buffer *dma_liveupdate_retrieve(struct device *dev,
						      size_t size, u32 tag);
struct dma_liveupdate_buffer *
dma_liveupdate_retrieve_for(struct device *dev, struct device *consumer, size_t size,
			    u32 tag);
void dma_liveupdate_free(struct dma_liveupdate_buffer *buffer);
int dma_liveupdate_preserve(struct dma_liveupdate_buffer *buffer);
void dma_liveupdate_unpreserve(struct dma_liveupdate_buffer *buffer);
int dma_liveupdate_check(struct device *dev, bool frozen, const char **reason);

#else /* CONFIG_DMA_LIVEUPDATE */

static inline int dma_liveupdate_check_device(struct device *dev,
					      const char **reason)
{
	*reason = "this kernel cannot keep DMA buffers";

	return -EOPNOTSUPP;
}

static inline struct dma_liveupdate_buffer *
dma_liveupdate_alloc(struct device *dev, size_t size, u32 tag)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct dma_liveupdate_buffer *
dma_liveupdate_retrieve(struct device *dev, size_t size, u32 tag)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct dma_liveupdate_buffer *
dma_liveupdate_retrieve_for(struct device *dev, struct device *consumer, size_t size,
			    u32 tag)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void dma_liveupdate_free(struct dma_liveupdate_buffer *buffer) { }

static inline int dma_liveupdate_preserve(struct dma_liveupdate_buffer *buffer)
{
	return -EOPNOTSUPP;
}

static inline void
dma_liveupdate_unpreserve(struct dma_liveupdate_buffer *buffer) { }

/* What the device may access cannot be known, let alone kept. */
static inline int dma_liveupdate_check(struct device *dev, bool frozen,
				       const char **reason)
{
	return dma_liveupdate_check_device(dev, reason);
}

#endif /* CONFIG_DMA_LIVEUPDATE */

DEFINE_FREE(dma_liveupdate_free, struct dma_liveupdate_buffer *,
	    dma_liveupdate_free(_T))

#endif /* _LINUX_LIVEUPDATE_DMA_H */
