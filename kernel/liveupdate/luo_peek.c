// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Looking at handed-over data early
 *
 * Subsystems restore at early_initcall. Interrupt controllers and IOMMUs are set up
 * long before that, and must know whether the previous kernel left tables that
 * devices still use. liveupdate_peek() tells, and changes nothing: no memory is taken
 * over, and restore is called at its time, whoever has peeked.
 *
 * What a peeker is told
 *   - Before restore: the data, validated as for restore. The blob is read in place.
 *   - From the call of restore on: -EALREADY. The data belongs to its subsystem,
 *     which may have freed it.
 *   - After a failed restore: -ENOTRECOVERABLE, until an optional record is freed at
 *     FINISH, or the operator gives a mandatory one up.
 *   - Data of a version that this kernel does not know is not restored, and a peeker
 *     gets the error that restore gets.
 *   - If the table of subsystems cannot be used, then nobody knows what was handed
 *     over: -EBADMSG.
 *
 * So 0, -EALREADY and -ENOENT are the only answers that say what the hardware does. On
 * each other one a peeker fails closed: it assumes that the hardware is in use in a
 * way that it does not know, and blocks it rather than setting it up anew.
 *
 * The answers do not depend on whether live update is switched on, for the previous
 * kernel did not know.
 *
 * Before the machine has the records, each call reads and validates the whole table,
 * which is small. This needs struct pages and the slab allocator, as set up by
 * mm_core_init(). Afterwards &luo_ctx.incoming_lock is taken, and no other lock, so
 * that a restore callback, and a probe which FINISH waits for, can peek.
 */

#include <linux/cleanup.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_ctx.h"

static int luo_peek_record(const struct luo_subsystem_ser *ser,
			   const struct liveupdate_subsystem_desc *desc,
			   struct liveupdate_data *data)
{
	if (ser->version < desc->oldest || ser->version > desc->version)
		return -EPROTONOSUPPORT;
	if (ser->size && !kho_is_restorable(ser->value, ser->size))
		return -EBADMSG;

	data->value = ser->value;
	data->size = ser->size;

	return 0;
}

/*
 * Look for a record in a table that nobody has read yet. May sleep, takes no lock.
 * Returns as liveupdate_peek().
 */
int luo_peek_table(phys_addr_t phys, size_t size,
		   const struct liveupdate_subsystem_desc *desc,
		   struct liveupdate_data *data)
{
	struct luo_subsystem_ser *records __free(kvfree) = NULL;
	struct kho_table_incoming table;
	unsigned int count;
	int err;

	err = luo_handover_read(&table, phys, size, &records, &count);
	if (err)
		return err == -ENOMEM ? err : -EBADMSG;
	kho_table_close(&table);

	for (unsigned int i = 0; i < count; i++) {
		if (!strcmp(records[i].name, desc->name))
			return luo_peek_record(&records[i], desc, data);
	}

	return -ENOENT;
}

/*
 * Look for a record that a machine has. Takes &luo_ctx.incoming_lock. Returns as
 * liveupdate_peek().
 */
int luo_peek_incoming(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc,
		      struct liveupdate_data *data)
{
	if (READ_ONCE(ctx->unreadable))
		return -EBADMSG;

	guard(spinlock_irqsave)(&ctx->incoming_lock);

	for (unsigned int i = 0; i < ctx->nr_incoming; i++) {
		const struct luo_incoming *incoming = &ctx->incoming[i];

		if (incoming->status != -ENOENT &&
		    !strcmp(incoming->ser.name, desc->name))
			return incoming->status ?:
				luo_peek_record(&incoming->ser, desc, data);
	}

	return -ENOENT;
}
