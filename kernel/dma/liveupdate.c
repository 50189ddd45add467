// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: DMA buffers of devices that are kept running
 *
 * Allocates memory that a device may go on to access while one kernel replaces
 * another, and finds it again. This is the subsystem "dma" of a live update
 * (kernel/liveupdate/luo_state.c); its transitions are here, the buffers themselves in
 * liveupdate_buffer.c. How drivers use them is in include/linux/liveupdate/dma.h.
 *
 * Concept
 *   A buffer is one folio: KHO hands folios over as they are, and the next kernel
 *   frees them like its own. It is not in the scratch memory of KHO, where the next
 *   kernel boots, and it cannot be moved. It is mapped through the DMA API, so that
 *   dma-debug knows of it, but only where the address the device uses follows from
 *   the physical one, as nothing else could be handed over: no IOMMU, no bounce
 *   buffer, no encryption, no maintenance of caches. Everything else is refused.
 *
 *   The table is made late. Drivers preserve their buffers in their prepare, before
 *   PREPARE reaches the level of memory. That closes the table: nothing is added to
 *   it until CANCEL.
 *
 * Lifecycle in the old kernel
 *   1. Allocated: in &dma_liveupdate_layer.buffers.
 *   2. Preserved: in &dma_liveupdate_layer.preserved, KHO keeps the folio.
 *   3. Recorded, from PREPARE to CANCEL.
 *
 *   A recorded buffer that is unpreserved leaves a void record, and the whole update
 *   is invalid: freezing fails. That happens when a device is pulled out and cancelled
 *   alone; the device layer cancels the rest. A buffer that is freed is unpreserved
 *   first. If that was left to be done, the driver did not keep its part, and the update is
 *   cancelled.
 *
 * Lifecycle in the next kernel
 *   1. Handed over: RESTORE read the record, before that of devices. The memory
 *      is reserved.
 *   2. Retrieved: a driver has it. It is a buffer like any other, and can be preserved
 *      for the next update, but for this: freed before FINISH, the memory is not
 *      given back. The device may still run, because probe() fails or was deferred,
 *      and is quiesced only afterwards.
 *   3. FINISH, which comes after that of devices, frees what nobody has, if the
 *      device was stopped. Otherwise the device may access it at any time: it stays
 *      reserved. That of a device that has not appeared is retained with the device
 *      (drivers/base/liveupdate_incoming.c), the rest as "dma": of devices that a
 *      driver has taken over without this buffer, and of those that are not known.
 *
 *   If live update is switched off in the next kernel, everything stays reserved, and
 *   devices are retained until they are stopped.
 *
 * Contexts
 *   Everything here may sleep. The transitions of the subsystem run one at a time, under
 *   the lock of the state machine, the others in drivers and buses.
 *
 * Lock order
 *   lock of the state machine -> device_lock -> &device_liveupdate.lock -> locks of
 *   buses and drivers -> &dma_liveupdate_layer.lock ->
 *   dlu_lock, locks of KHO and of the DMA API
 */

#define pr_fmt(fmt) "liveupdate: dma: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/kho_table.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "liveupdate.h"

/*
 * PREPARE of the subsystem. All devices are prepared. May sleep. Lock of the state
 * machine held.
 */
int dma_liveupdate_prepare(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	struct dma_liveupdate_buffer *buffer, *tmp;
	int err;

	guard(mutex)(&layer->lock);

	/* Their position may have changed since an update that was cancelled. */
	list_for_each_entry_safe(buffer, tmp, &layer->preserved, member) {
		if (!device_liveupdate_outgoing_index(buffer->dev, &buffer->device))
			continue;
		dev_warn(buffer->dev, "liveupdate: its driver left a DMA buffer preserved\n");
		dma_liveupdate_withdraw(buffer);
	}
	if (layer->nr_preserved) {
		err = dma_liveupdate_alloc_table(data);
		if (err)
			return err;
		dma_liveupdate_write_table();
	}
	layer->closed = true;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_prepare);

/* FREEZE of the subsystem. May sleep. Lock of the state machine held. In the blackout. */
int dma_liveupdate_freeze(struct liveupdate_subsystem *subsystem,
			  struct liveupdate_data *data)
{
	guard(mutex)(&dma_liveupdate_layer.lock);

	return dma_liveupdate_layer.invalid ? -ENODEV : 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_freeze);

/*
 * CANCEL of the subsystem. Devices are cancelled next, and unpreserve their buffers.
 * May sleep. Lock of the state machine held.
 */
void dma_liveupdate_cancel(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	guard(mutex)(&layer->lock);

	dma_liveupdate_free_table(data);
	layer->invalid = false;
	layer->closed = false;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_cancel);

/* RESTORE of the subsystem. May sleep. At early_initcall. */
int dma_liveupdate_restore(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	int err;

	/* No device had a buffer. */
	if (!data->size)
		return 0;

	guard(mutex)(&layer->lock);

	err = dma_liveupdate_read_table(data);
	if (err)
		return err;
	pr_info("%u buffers were handed over\n", layer->nr_incoming);
	if (layer->nr_lost)
		pr_err("%u records did not arrive, what they lead to stays reserved\n",
		       layer->nr_lost);

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_restore);

/* The memory of a record is not used any more. False if it cannot be freed. */
static bool dma_liveupdate_free_incoming(struct dma_liveupdate_incoming *incoming)
{
	const struct dma_liveupdate_ser *ser = &incoming->ser;

	if (!incoming->folio &&
	    dma_liveupdate_handed_over(ser->phys, PAGE_SIZE << ser->order))
		incoming->folio = dma_liveupdate_restore_folio(ser->phys);
	if (!incoming->folio)
		return false;
	folio_put(incoming->folio);
	incoming->folio = NULL;

	return true;
}

/* Did whoever has given the memory back take care that it is not used any more? */
static bool dma_liveupdate_was_released(const struct dma_liveupdate_incoming *incoming)
{
	if (!incoming->returned)
		return false;

	switch (device_liveupdate_get_state(incoming->consumer)) {
	case DEVICE_LIVEUPDATE_RECLAIMED:
	case DEVICE_LIVEUPDATE_QUARANTINED:
	case DEVICE_LIVEUPDATE_RELEASED:
		return true;
	default:
		return false;
	}
}

/* May the memory of a record be freed, as far as its device goes? */
static bool dma_liveupdate_may_free(const struct dma_liveupdate_incoming *incoming,
				    enum device_liveupdate_state state)
{
	switch (state) {
	case DEVICE_LIVEUPDATE_QUARANTINED:
	case DEVICE_LIVEUPDATE_RELEASED:
		return true;
	case DEVICE_LIVEUPDATE_RECLAIMED:
		/*
		 * A driver that took the device over may not know of all its buffers.
		 * What it gave back is not used any more.
		 */
		return dma_liveupdate_was_released(incoming);
	default:
		return false;
	}
}

/* Dispose of a record. False if its memory stays reserved. */
static bool dma_liveupdate_complete(struct dma_liveupdate_incoming *incoming,
				    enum device_liveupdate_state state)
{
	if (incoming->buffer) {
		/* From here on it is a buffer like any other. */
		incoming->buffer->incoming = NULL;
		return true;
	}

	return dma_liveupdate_may_free(incoming, state) &&
	       dma_liveupdate_free_incoming(incoming);
}

/* FINISH of the subsystem. May sleep. Lock of the state machine held. */
void dma_liveupdate_finish(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	enum device_liveupdate_state state;
	unsigned int kept, retained;
	u64 bytes = 0;

	guard(mutex)(&layer->lock);

	kept = layer->nr_lost;
	retained = layer->nr_lost;
	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		struct dma_liveupdate_incoming *incoming = &layer->incoming[i];

		if (hlist_unhashed(&incoming->hash) || incoming->invalid)
			continue;
		state = device_liveupdate_get_state(incoming->ser.device);
		if (!dma_liveupdate_complete(incoming, state)) {
			kept++;
			/* An absent device is retained, and that is enough. */
			if (state != DEVICE_LIVEUPDATE_ABSENT) {
				retained++;
				bytes += PAGE_SIZE << incoming->ser.order;
				continue;
			}
		}
		hlist_del_init(&incoming->hash);
	}
	if (kept)
		pr_warn("%u buffers stay reserved: nobody retrieved them, and devices may access them\n",
			kept);
	kho_table_release(&layer->handed);
	if (retained)
		layer->retained = liveupdate_retain(&dma_liveupdate_subsystem, "", bytes,
						    "nobody retrieved the buffers of devices that may access them");
	else
		dma_liveupdate_forget();
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_finish);

/* The operator gives up what is retained. May sleep. Takes &dma_liveupdate_layer.lock. */
int dma_liveupdate_forget_retained(struct liveupdate_subsystem *subsystem,
				   const char *name)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;

	guard(mutex)(&layer->lock);

	if (!layer->retained)
		return -ENOENT;

	for (unsigned int i = 0; i < layer->nr_incoming; i++) {
		struct dma_liveupdate_incoming *incoming = &layer->incoming[i];

		if (!hlist_unhashed(&incoming->hash) && !incoming->invalid)
			dma_liveupdate_free_incoming(incoming);
	}
	dma_liveupdate_forget();

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_forget_retained);

/*
 * Live update is off, but buffers were handed over. Nothing is touched, so that all of
 * them stay reserved. It is the devices that are retained. May sleep. At early_initcall.
 */
int dma_liveupdate_discard(struct liveupdate_subsystem *subsystem,
			   const struct liveupdate_data *data)
{
	struct dma_liveupdate_layer *layer = &dma_liveupdate_layer;
	int err;

	if (!data->size)
		return 0;

	guard(mutex)(&layer->lock);

	err = dma_liveupdate_open_table(data);
	if (err) {
		pr_warn("live update is off: an unknown number of buffers stays reserved\n");
		return err;
	}
	pr_warn("live update is off: %u buffers stay reserved\n",
		kho_table_nr_records(&layer->handed));
	kho_table_close(&layer->handed);

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dma_liveupdate_discard);

static const struct liveupdate_subsystem_ops dma_liveupdate_ops = {
	.prepare	= dma_liveupdate_prepare,
	.freeze		= dma_liveupdate_freeze,
	.cancel		= dma_liveupdate_cancel,
	.restore	= dma_liveupdate_restore,
	.finish		= dma_liveupdate_finish,
	.discard	= dma_liveupdate_discard,
	.forget		= dma_liveupdate_forget_retained,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(dma_liveupdate_note, "dma", 1, 1, LIVEUPDATE_LEVEL_MEMORY,
		LIVEUPDATE_MANDATORY);

struct liveupdate_subsystem dma_liveupdate_subsystem =
	LIVEUPDATE_SUBSYSTEM_INIT(dma_liveupdate_note, dma_liveupdate_ops);

LIVEUPDATE_BUILTIN_SUBSYSTEM(dma_liveupdate_subsystem);
