// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of the subsystems' data
 *
 * Writes and reads the table of include/linux/kho/abi/subsystem.h.
 *
 * Writing: luo_handover_alloc() makes room for a number of records when the
 * first subsystem is about to be prepared, and publishes the table as a KHO
 * subtree; it is the only part that can fail. luo_handover_write() fills the table
 * from &luo_ctx.enlisted and seals it when every subsystem is frozen, so
 * that the data is final. luo_handover_clear() makes it unreadable again after a
 * THAW. luo_handover_free() withdraws all.
 *
 * Reading: luo_handover_read() copies the records, so that nothing changes under
 * the caller. The table is used as a whole or not at all: what is corrupted may be
 * a subsystem that others stand on. kho_table_release() then frees what was
 * copied. If reading fails nothing is freed: all that was handed over stays
 * reserved, and is retained.
 *
 * Context: writing happens under &luo_ctx.lock. Reading takes no lock; it
 * happens once, in the boot of the next kernel.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_table.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "luo_ctx.h"

DEFINE_KHO_TABLE_FORMAT(luo_subsystems_format, LUO_SUBSYSTEMS_COMPATIBLE,
			struct luo_subsystem_ser, LUO_SUBSYSTEMS_MAX);

/*
 * Check the name of a subsystem. Returns true if @name is not empty, printable without
 * white space, and terminated and padded with zeroes.
 */
bool luo_name_valid(const char *name)
{
	size_t len = strnlen(name, LIVEUPDATE_SUBSYSTEM_NAME_LEN);

	if (!len || len == LIVEUPDATE_SUBSYSTEM_NAME_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isascii(name[i]) || !isgraph(name[i]))
			return false;
	}

	return !memchr_inv(name + len, 0, LIVEUPDATE_SUBSYSTEM_NAME_LEN - len);
}

/*
 * A hash of the name of a subsystem. There is no table to go with it, as subsystems are
 * few and are looked for before anything can be set up; but most names differ in it. Any
 * context.
 */
u32 luo_name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

/* Make room for the table and publish it. May sleep. &luo_ctx.lock held. */
int luo_handover_alloc(struct luo_ctx *ctx, unsigned int count)
{
	struct kho_table *table = &ctx->table;
	int err;

	lockdep_assert_held(&ctx->lock);

	err = kho_table_alloc(table, &luo_subsystems_format, count);
	if (err || !ctx->kho_name)
		return err;

	err = kho_add_subtree(ctx->kho_name, table->head, table->head_size);
	if (err)
		kho_table_free(table);

	return err;
}

/* Withdraw the table. May sleep. &luo_ctx.lock held. */
void luo_handover_free(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	if (ctx->kho_name)
		kho_remove_subtree(ctx->table.head);
	kho_table_free(&ctx->table);
}

/*
 * Fill the table, for the next kernel to be read. May sleep. &luo_ctx.lock held.
 * Cannot fail.
 */
void luo_handover_write(struct luo_ctx *ctx)
{
	struct liveupdate_subsystem *subsystem;

	lockdep_assert_held(&ctx->lock);

	kho_table_clear(&ctx->table);
	list_for_each_entry(subsystem, &ctx->enlisted, enlisted) {
		struct luo_subsystem_ser *ser = kho_table_add(&ctx->table);

		strscpy_pad(ser->name, subsystem->desc->name);
		ser->version = subsystem->desc->version;
		if (subsystem->desc->class == LIVEUPDATE_MANDATORY)
			ser->flags |= LUO_SUBSYSTEM_SER_MANDATORY;
		if (subsystem->data.size)
			ser->flags |= LUO_SUBSYSTEM_SER_BLOB;
		ser->value = subsystem->data.value;
		ser->size = subsystem->data.size;
	}
	kho_table_seal(&ctx->table);
}

/* Make the table unreadable for the next kernel. May sleep. &luo_ctx.lock held. */
void luo_handover_clear(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	kho_table_clear(&ctx->table);
}

static bool luo_record_valid(const struct luo_subsystem_ser *ser)
{
	bool blob = ser->flags & LUO_SUBSYSTEM_SER_BLOB;

	return luo_name_valid(ser->name) && ser->version &&
	       !(ser->flags & ~LUO_SUBSYSTEM_SER_FLAGS) && blob == !!ser->size;
}

/* One blob has one owner, or freeing it for one would take it from another. */
static bool luo_blobs_collide(const struct luo_subsystem_ser *a,
			      const struct luo_subsystem_ser *b)
{
	return a->size && b->size && PHYS_PFN(a->value) == PHYS_PFN(b->value);
}

static int luo_check_records(const struct luo_subsystem_ser *records,
			     unsigned int count)
{
	u32 *hashes __free(kvfree) = kvmalloc_objs(*hashes, count);

	if (count && !hashes)
		return -ENOMEM;

	for (unsigned int i = 0; i < count; i++) {
		if (!luo_record_valid(&records[i]))
			return -EINVAL;
		hashes[i] = luo_name_hash(records[i].name);
		for (unsigned int j = 0; j < i; j++) {
			if (luo_blobs_collide(&records[i], &records[j]) ||
			    (hashes[i] == hashes[j] &&
			     !strcmp(records[i].name, records[j].name)))
				return -EINVAL;
		}
	}

	return 0;
}

/* Validate and copy what the previous kernel left. May sleep, takes no lock. */
int luo_handover_read(struct kho_table_incoming *table, phys_addr_t phys,
		      size_t size, struct luo_subsystem_ser **records,
		      unsigned int *count)
{
	struct luo_subsystem_ser *copy __free(kvfree) = NULL;
	const struct luo_subsystem_ser *ser;
	bool corrupted = false;
	u32 position, nr = 0;
	int err;

	err = kho_table_open(table, &luo_subsystems_format, phys, size);
	if (err)
		return err;

	copy = kvzalloc_objs(*copy, max(kho_table_nr_records(table), 1U));
	if (!copy)
		err = -ENOMEM;
	while (!err && (ser = kho_table_next(table, &position, &corrupted))) {
		copy[nr++] = *ser;
		if (corrupted)
			err = -EBADMSG;
	}
	if (!err && nr != kho_table_nr_records(table))
		err = -EINVAL;
	if (!err)
		err = luo_check_records(copy, nr);
	if (err) {
		kho_table_close(table);
		return err;
	}

	*records = no_free_ptr(copy);
	*count = nr;

	return 0;
}

/**
 * liveupdate_data_alloc() - allocate a blob for the next kernel
 * @data: the data of the subsystem; filled in
 * @size: bytes wanted, not 0
 *
 * The blob is zeroed, physically contiguous and outside of KHO scratch memory.
 * Its size is rounded up to a power of two of pages.
 *
 * Context: May sleep. From prepare or freeze.
 * Return: the blob; or ERR_PTR() of -EINVAL if @size is 0, -EBUSY if there is a
 * blob already, -E2BIG if @size exceeds the largest page block, -ENOMEM.
 */
void *liveupdate_data_alloc(struct liveupdate_data *data, size_t size)
{
	void *blob;

	if (data->size)
		return ERR_PTR(-EBUSY);

	blob = kho_alloc_preserve(size);
	if (!IS_ERR(blob)) {
		data->value = virt_to_phys(blob);
		data->size = size;
	}

	return blob;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_alloc, "LIVEUPDATE");

/**
 * liveupdate_data_free() - free a blob that will not be handed over
 * @data: the data of the subsystem; emptied
 *
 * Context: May sleep. From cancel, or in the kernel that allocated it.
 */
void liveupdate_data_free(struct liveupdate_data *data)
{
	if (data->size)
		kho_unpreserve_free(phys_to_virt(data->value));
	*data = (struct liveupdate_data){};
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_free, "LIVEUPDATE");

/**
 * liveupdate_data_blob() - look at a blob
 * @data: the data of the subsystem
 *
 * In the next kernel the core has made sure that the blob was handed over and
 * that @data->size bytes can be read. What they say is for the subsystem to
 * check.
 *
 * Context: any callback.
 * Return: the blob, or NULL if @data is a plain value.
 */
void *liveupdate_data_blob(const struct liveupdate_data *data)
{
	return data->size ? phys_to_virt(data->value) : NULL;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_blob, "LIVEUPDATE");

/**
 * liveupdate_data_claim() - take a blob over in the next kernel
 * @data: the data of the subsystem
 *
 * The blob becomes ordinary memory of this kernel, a folio with one reference,
 * which the caller frees with kho_put_folio(virt_to_folio()), because restore is too
 * early for folio_put(). A blob that is not claimed when finish returns counts as
 * unclaimed, like one whose restore failed.
 *
 * Context: May sleep. From restore, as its last step that can fail.
 * Return: the blob, or NULL if @data is a plain value or was claimed before.
 */
void *liveupdate_data_claim(const struct liveupdate_data *data)
{
	struct folio *folio;

	if (!data->size || !kho_is_restorable(data->value, data->size))
		return NULL;

	folio = kho_restore_folio(data->value);

	return folio ? folio_address(folio) : NULL;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_claim, "LIVEUPDATE");

/**
 * liveupdate_data_put() - free a blob in the next kernel
 * @data: the data of the subsystem
 *
 * For a subsystem that has copied what it needs: liveupdate_data_claim(), and nothing
 * is left of the blob.
 *
 * Context: May sleep. From restore, as its last step that can fail.
 * Return: 0, or -EINVAL if @data is a plain value or was claimed before.
 */
int liveupdate_data_put(const struct liveupdate_data *data)
{
	void *blob = liveupdate_data_claim(data);

	if (!blob)
		return -EINVAL;
	kho_put_folio(virt_to_folio(blob));

	return 0;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_put, "LIVEUPDATE");
