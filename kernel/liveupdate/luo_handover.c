// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of the participants' data
 *
 * Writes and reads the format of include/linux/kho/abi/subsystem.h.
 *
 * Writing: luo_handover_alloc() makes room for a number of records when the
 * last participant is prepared and publishes the header as a KHO subtree; it
 * is the only part that can fail. luo_handover_write() fills header and table
 * from &luo_machine.enlisted; it runs after PREPARE, again after FREEZE, when
 * the data is final, and after a THAW. luo_handover_free() withdraws all.
 *
 * Reading: luo_handover_read() believes nothing. It touches memory only after
 * KHO confirmed that it was handed over in one piece, follows no more blocks
 * than the header announces, compares both checksums before it looks at a
 * record, and copies the records, so that nothing changes under the caller.
 * luo_handover_release() then frees what was copied. If reading fails nothing
 * is freed: all that was handed over stays reserved until the next boot.
 *
 * Context: writing happens under &luo_machine.lock. Reading takes no lock; it
 * happens once, in the boot of the next kernel.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/static_stub.h>
#include <linux/cleanup.h>
#include <linux/crc32.h>
#include <linux/ctype.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_block.h>
#include <linux/lockdep.h>
#include <linux/math.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "luo_machine.h"

static const char luo_compatible[LUO_SUBSYSTEMS_COMPAT_LEN] =
	LUO_SUBSYSTEMS_COMPATIBLE;

static u32 luo_crc(u32 crc, const void *data, size_t size)
{
	return ~crc32_le(~crc, data, size);
}

/**
 * luo_handed_over() - may this memory be read?
 * @phys: physical address that came from the previous kernel
 * @size: bytes needed there
 *
 * Context: any.
 * Return: true if @phys is the start of memory that was handed over, is at
 * least @size bytes long, and was not taken over yet.
 */
bool luo_handed_over(phys_addr_t phys, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(luo_handed_over, phys, size);

	return kho_is_restorable(phys, size);
}

/**
 * luo_name_valid() - check the name of a participant
 * @name: LIVEUPDATE_SUBSYSTEM_NAME_LEN bytes
 *
 * Context: any.
 * Return: true if @name is not empty, printable without white space, and
 * terminated and padded with zeroes.
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

/**
 * luo_handover_alloc() - make room for the table and publish the header
 * @machine: the machine
 * @count: number of records
 *
 * Context: May sleep. &luo_machine.lock held.
 * Return: 0; -E2BIG if @count exceeds what a table can carry; -ENOMEM; or the
 * error of kho_add_subtree().
 */
int luo_handover_alloc(struct luo_machine *machine, unsigned int count)
{
	struct luo_subsystems_ser *header;
	int err;

	lockdep_assert_held(&machine->lock);

	if (count > LUO_SUBSYSTEMS_MAX)
		return -E2BIG;

	header = kho_alloc_preserve(sizeof(*header));
	if (IS_ERR(header))
		return PTR_ERR(header);

	err = kho_block_set_grow(&machine->blocks, count);
	if (err)
		goto err_free_header;

	if (machine->kho_name) {
		err = kho_add_subtree(machine->kho_name, header, sizeof(*header));
		if (err)
			goto err_free_blocks;
	}
	machine->header = header;

	return 0;

err_free_blocks:
	kho_block_set_destroy(&machine->blocks);
err_free_header:
	kho_unpreserve_free(header);

	return err;
}

/**
 * luo_handover_free() - withdraw header and table
 * @machine: the machine
 *
 * Context: May sleep. &luo_machine.lock held.
 */
void luo_handover_free(struct luo_machine *machine)
{
	lockdep_assert_held(&machine->lock);

	if (machine->kho_name)
		kho_remove_subtree(machine->header);
	kho_block_set_destroy(&machine->blocks);
	kho_unpreserve_free(machine->header);
	machine->header = NULL;
}

/**
 * luo_handover_write() - fill header and table
 * @machine: the machine; its table has room for all that are enlisted
 * @state: how final the data is
 *
 * Context: May sleep. &luo_machine.lock held. Cannot fail.
 */
void luo_handover_write(struct luo_machine *machine,
			enum luo_subsystems_ser_state state)
{
	struct luo_subsystems_ser *header = machine->header;
	struct liveupdate_subsystem *subsystem;
	struct kho_block_set_it it;
	struct kho_block *block;
	u32 count = 0, crc = 0;

	lockdep_assert_held(&machine->lock);

	kho_block_set_clear(&machine->blocks);
	kho_block_set_it_init(&it, &machine->blocks);
	list_for_each_entry(subsystem, &machine->enlisted, enlisted) {
		struct luo_subsystem_ser *ser =
			kho_block_set_it_reserve_entry(&it);

		strscpy_pad(ser->name, subsystem->desc->name);
		ser->version = subsystem->desc->version;
		ser->flags = 0;
		if (subsystem->desc->class == LIVEUPDATE_MANDATORY)
			ser->flags |= LUO_SUBSYSTEM_SER_MANDATORY;
		if (subsystem->data.size)
			ser->flags |= LUO_SUBSYSTEM_SER_BLOB;
		ser->value = subsystem->data.value;
		ser->size = subsystem->data.size;
		count++;
	}
	kho_block_set_shrink(&machine->blocks, count);

	list_for_each_entry(block, &machine->blocks.blocks, list)
		crc = luo_crc(crc, block->ser, sizeof(*block->ser) +
			      block->ser->count * sizeof(struct luo_subsystem_ser));

	memcpy(header->compatible, luo_compatible, sizeof(luo_compatible));
	header->state = state;
	header->count = count;
	header->records = kho_block_set_head_pa(&machine->blocks);
	header->table_crc = crc;
	header->header_crc = luo_crc(0, header, offsetof(struct luo_subsystems_ser,
							 header_crc));
}

/* Checks the chain of blocks against the header, and nothing in the records. */
static int luo_check_table(const struct luo_subsystems_ser *header)
{
	unsigned int left = header->count;
	u64 next = header->records;
	u32 crc = 0;

	while (left) {
		const struct kho_block_header_ser *block;
		u64 count = min_t(u64, left, LUO_SUBSYSTEMS_PER_BLOCK);

		if (!luo_handed_over(next, KHO_BLOCK_SIZE))
			return -EINVAL;
		block = phys_to_virt(next);
		if (block->count != count)
			return -EINVAL;
		crc = luo_crc(crc, block, sizeof(*block) +
			      count * sizeof(struct luo_subsystem_ser));
		next = block->next;
		left -= count;
	}
	if (next)
		return -EINVAL;

	return crc == header->table_crc ? 0 : -EBADMSG;
}

static bool luo_record_valid(const struct luo_subsystem_ser *ser)
{
	bool blob = ser->flags & LUO_SUBSYSTEM_SER_BLOB;

	return luo_name_valid(ser->name) && ser->version &&
	       !(ser->flags & ~LUO_SUBSYSTEM_SER_FLAGS) && blob == !!ser->size;
}

/* One blob has one owner, or freeing it for one would take it from another. */
static int luo_check_records(const struct luo_subsystem_ser *records,
			     unsigned int count)
{
	struct xarray blobs;
	int err = 0;

	xa_init(&blobs);
	for (unsigned int i = 0; i < count && !err; i++) {
		if (!luo_record_valid(&records[i]))
			err = -EINVAL;
		else if (records[i].size)
			err = xa_insert(&blobs, PHYS_PFN(records[i].value),
					xa_mk_value(i), GFP_KERNEL);
	}
	xa_destroy(&blobs);

	return err == -EBUSY ? -EINVAL : err;
}

/**
 * luo_handover_read() - check and copy what the previous kernel left
 * @phys: physical address of the header, as KHO gave it
 * @size: size of the header, as KHO gave it
 * @records: on success the records in table order, to be freed with kvfree()
 * @count: on success their number
 *
 * Context: May sleep, takes no lock.
 * Return: 0; -EINVAL if something is out of bounds, points to memory that was
 * not handed over, or if two records share a blob; -EBADMSG if a checksum
 * differs; -EPROTONOSUPPORT if the format is not known; -ENOMEM.
 */
int luo_handover_read(phys_addr_t phys, size_t size,
		      struct luo_subsystem_ser **records, unsigned int *count)
{
	struct luo_subsystem_ser *copy __free(kvfree) = NULL;
	struct luo_subsystems_ser header;
	unsigned int done = 0;
	u64 next;
	int err;

	if (size < sizeof(header) || !luo_handed_over(phys, size))
		return -EINVAL;
	memcpy(&header, phys_to_virt(phys), sizeof(header));

	if (memcmp(header.compatible, luo_compatible, sizeof(luo_compatible)))
		return -EPROTONOSUPPORT;
	if (header.header_crc != luo_crc(0, &header,
					 offsetof(struct luo_subsystems_ser,
						  header_crc)))
		return -EBADMSG;
	if (header.state != LUO_SUBSYSTEMS_FROZEN ||
	    header.count > LUO_SUBSYSTEMS_MAX)
		return -EINVAL;

	err = luo_check_table(&header);
	if (err)
		return err;

	copy = kvzalloc_objs(*copy, max(header.count, 1U));
	if (!copy)
		return -ENOMEM;

	for (next = header.records; done < header.count; ) {
		const struct kho_block_header_ser *block = phys_to_virt(next);
		u32 part = min_t(u32, header.count - done,
				 LUO_SUBSYSTEMS_PER_BLOCK);

		memcpy(copy + done, block + 1, part * sizeof(*copy));
		done += part;
		next = block->next;
	}

	err = luo_check_records(copy, header.count);
	if (err)
		return err;

	*records = no_free_ptr(copy);
	*count = header.count;

	return 0;
}

/**
 * luo_handover_release() - free header and table once they are copied
 * @phys: physical address of a header that luo_handover_read() accepted
 *
 * Context: May sleep, takes no lock.
 */
void luo_handover_release(phys_addr_t phys)
{
	struct luo_subsystems_ser *header = phys_to_virt(phys);
	u64 next = header->records;

	while (next) {
		struct kho_block_header_ser *block = phys_to_virt(next);

		next = block->next;
		kho_restore_free(block);
	}
	kho_restore_free(header);
}

/**
 * liveupdate_data_alloc() - allocate a blob for the next kernel
 * @data: the data of the participant; filled in
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
 * @data: the data of the participant; emptied
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
 * @data: the data of the participant
 *
 * In the next kernel the core has made sure that the blob was handed over and
 * that @data->size bytes can be read. What they say is for the participant to
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
 * @data: the data of the participant
 *
 * The blob becomes ordinary memory of this kernel, a folio with one reference,
 * which the caller frees with folio_put(virt_to_folio()). A blob that is not
 * claimed when finish returns counts as unclaimed, like one whose restore failed.
 *
 * Context: May sleep. From restore, as its last step that can fail.
 * Return: the blob, or NULL if @data is a plain value or was claimed before.
 */
void *liveupdate_data_claim(const struct liveupdate_data *data)
{
	struct folio *folio;

	if (!data->size || !luo_handed_over(data->value, data->size))
		return NULL;

	folio = kho_restore_folio(data->value);

	return folio ? folio_address(folio) : NULL;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_data_claim, "LIVEUPDATE");
