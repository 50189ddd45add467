// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of devices
 *
 * Writes and reads the format of include/linux/kho/abi/device.h.
 *
 * Writing: device_liveupdate_alloc_table() makes room for the records of the set
 * and is the only part that can fail. device_liveupdate_write_table() fills them
 * once every device is prepared; freezing changes what drivers saved, but not
 * where that is, so the table is final then.
 *
 * Reading: device_liveupdate_read_table() believes nothing. It touches memory only
 * after KHO confirmed that it was handed over, follows no more blocks than the
 * table announces, and looks at nothing in a record before a checksum vouches for
 * it. What cannot be relied on costs as little as possible:
 *
 *   - the head of the table: everything; the participant fails to restore;
 *   - a link of the chain: the records behind it;
 *   - the identity in a record: this record;
 *   - the rest of a record: the same, but it is known whose it is, and that device
 *     is made harmless.
 *
 * What such records refer to stays reserved until the next boot. The records are
 * copied, and device_liveupdate_release_table() frees the table in FINISH.
 *
 * Context: everything here may sleep. Writing happens in PREPARE and CANCEL.
 * Reading happens once, in the boot of the next kernel.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>
#include <linux/xxhash.h>

#include "base.h"

static const char device_liveupdate_compatible[DEVICE_LIVEUPDATE_COMPAT_LEN] =
	DEVICE_LIVEUPDATE_COMPATIBLE;

static u32 device_liveupdate_checksum(const void *data, size_t size)
{
	return xxh64(data, size, 0);
}

/* Of a struct with a checksum in it, which counts as 0. */
static u32 device_liveupdate_table_checksum(struct device_liveupdate_table_ser table)
{
	table.checksum = 0;

	return device_liveupdate_checksum(&table, sizeof(table));
}

static u32
device_liveupdate_identity_checksum(const struct device_liveupdate_ser *ser)
{
	return device_liveupdate_checksum(ser, offsetof(typeof(*ser),
							identity_checksum));
}

static u32
device_liveupdate_record_checksum(const struct device_liveupdate_ser *ser)
{
	return device_liveupdate_checksum(ser, offsetof(typeof(*ser), checksum));
}

/**
 * device_liveupdate_handed_over() - may this memory be read?
 * @phys: physical address that came from the previous kernel
 * @size: bytes needed there
 *
 * Context: any.
 * Return: true if @phys is the start of memory that was handed over, is at least
 * @size bytes long, and was not taken over yet.
 */
bool device_liveupdate_handed_over(phys_addr_t phys, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_handed_over, phys, size);

	return kho_is_restorable(phys, size);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_handed_over);

/**
 * device_liveupdate_free() - free memory that was handed over
 * @phys: physical address, device_liveupdate_handed_over()
 *
 * Context: May sleep.
 */
void device_liveupdate_free(phys_addr_t phys)
{
	KUNIT_STATIC_STUB_REDIRECT(device_liveupdate_free, phys);

	kho_restore_free(phys_to_virt(phys));
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_free);

/**
 * device_liveupdate_bucket() - where a device of an identity would be
 * @buckets: a hash table by identity
 * @bits: binary logarithm of the number of @buckets, 1 or more
 * @id: identity, terminated
 *
 * Context: any.
 * Return: one of @buckets.
 */
struct hlist_head *device_liveupdate_bucket(struct hlist_head *buckets,
					    unsigned int bits, const char *id)
{
	return &buckets[hash_32(hashlen_hash(hashlen_string(NULL, id)), bits)];
}

/**
 * device_liveupdate_find() - look for a record of the previous kernel
 * @bucket: device_liveupdate_bucket() of the records
 * @bus: name of the bus, terminated
 * @id: identity, terminated
 *
 * Context: &device_liveupdate_layer.lock held, or before others know the records.
 * Return: the record, or NULL.
 */
struct device_liveupdate_incoming *
device_liveupdate_find(struct hlist_head *bucket, const char *bus, const char *id)
{
	struct device_liveupdate_incoming *incoming;

	hlist_for_each_entry(incoming, bucket, hash) {
		if (!strcmp(incoming->ser.id, id) &&
		    !strcmp(incoming->ser.bus, bus))
			return incoming;
	}

	return NULL;
}

/**
 * device_liveupdate_string_valid() - check a string that is to be handed over
 * @string: the string, terminated
 *
 * Context: any.
 * Return: true if @string is not empty, and printable without white space.
 */
bool device_liveupdate_string_valid(const char *string)
{
	const char *end = string;

	/* One comparison a character, as there are thousands of strings. */
	while ((u8)(*end - '!') <= '~' - '!')
		end++;

	return end > string && !*end;
}

/* The same of one that was handed over, and need not be terminated. */
static bool device_liveupdate_field_valid(const char *field, size_t size)
{
	return !field[size - 1] && device_liveupdate_string_valid(field);
}

/**
 * device_liveupdate_alloc_table() - make room for the records of the set
 * @data: data of the participant; filled in
 *
 * Context: May sleep. In PREPARE.
 * Return: 0; -E2BIG if there are more than %DEVICE_LIVEUPDATE_MAX; -ENOMEM; or
 * the error of kho_alloc_preserve().
 */
int device_liveupdate_alloc_table(struct liveupdate_data *data)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate_table_ser *table;
	int err;

	if (layer->nr_set > DEVICE_LIVEUPDATE_MAX)
		return -E2BIG;

	table = liveupdate_data_alloc(data, sizeof(*table));
	if (IS_ERR(table))
		return PTR_ERR(table);

	kho_block_set_init(&layer->blocks, sizeof(struct device_liveupdate_ser));
	err = kho_block_set_grow(&layer->blocks, layer->nr_set);
	if (err)
		liveupdate_data_free(data);

	return err;
}

/**
 * device_liveupdate_free_table() - undo device_liveupdate_alloc_table()
 * @data: data of the participant; emptied
 *
 * Context: May sleep. In CANCEL, or in a PREPARE that failed.
 */
void device_liveupdate_free_table(struct liveupdate_data *data)
{
	if (!data->size)
		return;

	kho_block_set_destroy(&device_liveupdate_layer.blocks);
	liveupdate_data_free(data);
}

static void device_liveupdate_write(struct device_liveupdate *liveupdate,
				    struct device_liveupdate_ser *ser)
{
	guard(mutex)(&liveupdate->lock);

	/* Lost by now, the set is broken. */
	if (liveupdate->phase != DEVICE_LIVEUPDATE_PREPARED)
		return;

	/* The table is zeroed, so that nothing needs to be padded. */
	liveupdate->ser = ser;
	strscpy(ser->bus, liveupdate->dev->bus->name);
	memcpy(ser->id, liveupdate->id.id, sizeof(ser->id));
	memcpy(ser->fingerprint, liveupdate->id.fingerprint,
	       sizeof(ser->fingerprint));
	ser->index = liveupdate->index;
	ser->parent = liveupdate->parent;
	ser->identity_checksum = device_liveupdate_identity_checksum(ser);
	ser->flags = 0;
	if (liveupdate->path) {
		ser->flags |= DEVICE_LIVEUPDATE_SER_PATH;
	} else {
		strscpy(ser->compatible, liveupdate->ops->compatible);
		ser->version = liveupdate->ops->version;
	}
	if (liveupdate->data.size)
		ser->flags |= DEVICE_LIVEUPDATE_SER_BLOB;
	ser->value = liveupdate->data.value;
	ser->size = liveupdate->data.size;
	ser->checksum = device_liveupdate_record_checksum(ser);
}

/**
 * device_liveupdate_write_table() - fill the table
 * @data: data of the participant, with room for the set
 *
 * Context: May sleep. In PREPARE, once every device is prepared.
 */
void device_liveupdate_write_table(const struct liveupdate_data *data)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate_table_ser *table = liveupdate_data_blob(data);
	struct device_liveupdate *liveupdate;
	struct kho_block_set_it it;

	kho_block_set_it_init(&it, &layer->blocks);
	list_for_each_entry(liveupdate, &layer->set, member)
		device_liveupdate_write(liveupdate,
					kho_block_set_it_reserve_entry(&it));

	memcpy(table->compatible, device_liveupdate_compatible,
	       sizeof(table->compatible));
	table->count = layer->nr_set;
	table->records = kho_block_set_head_pa(&layer->blocks);
	table->checksum = device_liveupdate_table_checksum(*table);
}

/* Fields that no checksum can vouch for: those of a kernel with a bug. */
static bool device_liveupdate_fields_valid(const struct device_liveupdate_ser *ser)
{
	bool path = ser->flags & DEVICE_LIVEUPDATE_SER_PATH;
	bool blob = ser->flags & DEVICE_LIVEUPDATE_SER_BLOB;

	if (ser->flags & ~DEVICE_LIVEUPDATE_SER_FLAGS || ser->reserved ||
	    ser->parent > ser->index || blob != !!ser->size ||
	    path != !ser->version)
		return false;
	if (path)
		return !blob && !ser->compatible[0];

	return device_liveupdate_field_valid(ser->compatible,
					     sizeof(ser->compatible));
}

/* Enter one record. False if it is not known whose it is. */
static bool device_liveupdate_read(const struct device_liveupdate_ser *ser,
				   unsigned int index)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate_incoming *incoming = &layer->incoming[index];
	struct device_liveupdate_incoming *twin;
	struct hlist_head *bucket;
	bool intact;

	*incoming = (struct device_liveupdate_incoming){ .ser = *ser };
	ser = &incoming->ser;

	intact = ser->checksum == device_liveupdate_record_checksum(ser);
	if (!intact &&
	    ser->identity_checksum != device_liveupdate_identity_checksum(ser))
		return false;
	if (ser->index != index ||
	    !device_liveupdate_field_valid(ser->bus, sizeof(ser->bus)) ||
	    !device_liveupdate_field_valid(ser->id, sizeof(ser->id)))
		return false;

	incoming->damaged = !intact || !device_liveupdate_fields_valid(ser);
	bucket = device_liveupdate_bucket(layer->buckets, layer->bucket_bits,
					  ser->id);
	twin = device_liveupdate_find(bucket, ser->bus, ser->id);
	if (twin) {
		twin->damaged = true;
		twin->data = (struct liveupdate_data){};
		return false;
	}
	hlist_add_head(&incoming->hash, bucket);
	if (!incoming->damaged) {
		incoming->data.value = ser->value;
		incoming->data.size = ser->size;
	}

	return true;
}

static int
device_liveupdate_check_table(const struct liveupdate_data *data,
			      struct device_liveupdate_table_ser *table)
{
	if (data->size < sizeof(*table))
		return -EINVAL;
	memcpy(table, liveupdate_data_blob(data), sizeof(*table));

	if (memcmp(table->compatible, device_liveupdate_compatible,
		   sizeof(table->compatible)))
		return -EPROTONOSUPPORT;
	if (table->checksum != device_liveupdate_table_checksum(*table))
		return -EBADMSG;
	if (table->count > DEVICE_LIVEUPDATE_MAX || !table->records != !table->count)
		return -EINVAL;

	return 0;
}

/**
 * device_liveupdate_read_table() - check and copy what the previous kernel left
 * @data: data of the participant: a blob that was handed over
 *
 * On success the records are in &device_liveupdate_layer.incoming and the fields
 * behind it. On failure nothing has changed.
 *
 * Context: May sleep. Nobody else uses those fields yet.
 * Return: 0, also if records are damaged; -EINVAL if the head of the table is out
 * of bounds; -EBADMSG if its checksum differs; -EPROTONOSUPPORT if the format is
 * not known; -ENOMEM.
 */
int device_liveupdate_read_table(const struct liveupdate_data *data)
{
	struct device_liveupdate_layer *layer = &device_liveupdate_layer;
	struct device_liveupdate_table_ser table;
	unsigned int done = 0;
	u64 next;
	int err;

	err = device_liveupdate_check_table(data, &table);
	if (err)
		return err;
	if (!table.count)
		return 0;

	device_liveupdate_forget_harmless();
	/* At least one bit, as hash_32() cannot do with none. */
	layer->bucket_bits = order_base_2(max(table.count, 2U));
	layer->buckets = kvzalloc_objs(*layer->buckets, 1U << layer->bucket_bits);
	layer->incoming = kvmalloc_objs(*layer->incoming, table.count);
	layer->harmless = bitmap_zalloc(table.count, GFP_KERNEL);
	if (!layer->buckets || !layer->incoming || !layer->harmless) {
		device_liveupdate_forget();
		return -ENOMEM;
	}
	layer->nr_incoming = table.count;
	layer->nr_harmless = table.count;

	for (next = table.records; done < table.count; ) {
		const struct kho_block_header_ser *block;
		const struct device_liveupdate_ser *ser;
		u32 part = min_t(u32, table.count - done,
				 DEVICE_LIVEUPDATE_PER_BLOCK);

		if (!device_liveupdate_handed_over(next, KHO_BLOCK_SIZE))
			break;
		block = phys_to_virt(next);
		ser = (const void *)(block + 1);
		for (u32 i = 0; i < part; i++, done++, ser++) {
			if (device_liveupdate_read(ser, done))
				layer->nr_absent++;
		}
		next = block->next;
	}
	memset(layer->incoming + done, 0,
	       (table.count - done) * sizeof(*layer->incoming));
	layer->nr_lost = layer->nr_incoming - layer->nr_absent;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_read_table);

/**
 * device_liveupdate_release_table() - free the table that was copied
 * @data: data of the participant that device_liveupdate_read_table() accepted
 *
 * Context: May sleep.
 */
void device_liveupdate_release_table(const struct liveupdate_data *data)
{
	const struct device_liveupdate_table_ser *table = liveupdate_data_blob(data);
	unsigned int left;
	u64 next;

	/* A record may have claimed it as what a driver saved. */
	if (!device_liveupdate_handed_over(data->value, sizeof(*table)))
		return;
	left = DIV_ROUND_UP(table->count, DEVICE_LIVEUPDATE_PER_BLOCK);
	next = table->records;

	/* A damaged link may lead to memory of somebody else: leave the rest. */
	if (device_liveupdate_layer.nr_lost)
		left = 0;
	while (left-- && device_liveupdate_handed_over(next, KHO_BLOCK_SIZE)) {
		const struct kho_block_header_ser *block = phys_to_virt(next);
		u64 phys = next;

		next = block->next;
		device_liveupdate_free(phys);
	}
	device_liveupdate_free(data->value);
}
EXPORT_SYMBOL_IF_KUNIT(device_liveupdate_release_table);
