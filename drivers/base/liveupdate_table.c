// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Hand-over of devices
 *
 * Writes and reads the format of include/linux/kho/abi/device.h.
 *
 * Writing: dlu_alloc_table() makes room for the records of the set
 * and is the only part that can fail. dlu_write_table() fills them
 * once every device is prepared; freezing changes what drivers saved, but not
 * where that is, so the table is final then, apart from devices that are lost.
 *
 * Reading: dlu_read_table() copies the records. What cannot be relied
 * on costs as little as possible:
 *
 *   - the head of the table: everything; the subsystem fails to restore;
 *   - a block that is missing: the records in it;
 *   - a block that is corrupted: the records in it, but a device that looks as if one
 *     of them were its own is quarantined;
 *   - a record that is not valid, one of a device that was lost, or several for the same
 *     device: the same, for this device.
 *
 * What such records refer to is retained.
 * dlu_release_table() frees the table in FINISH.
 *
 * Context: everything here may sleep. Writing happens in PREPARE and CANCEL.
 * Reading happens once, in the boot of the next kernel.
 */

#define pr_fmt(fmt) "liveupdate: devices: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/hash.h>
#include <linux/kho_table.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "base.h"

DEFINE_KHO_TABLE_FORMAT(dlu_format, DEVICE_LIVEUPDATE_COMPATIBLE,
			struct device_liveupdate_ser, DEVICE_LIVEUPDATE_RECORDS_MAX);

/* Where a device of an identity would be. Any context. Returns one of @buckets. */
struct hlist_head *dlu_bucket(struct hlist_head *buckets,
			      unsigned int bits, const char *id)
{
	return &buckets[hash_32(hashlen_hash(hashlen_string(NULL, id)), bits)];
}

static struct dlu_incoming_device *
dlu_next_from(struct hlist_node *node, const char *bus, const char *id)
{
	struct dlu_incoming_device *incoming =
		hlist_entry_safe(node, struct dlu_incoming_device, hash);

	hlist_for_each_entry_from(incoming, hash) {
		if (!strcmp(incoming->ser.id, id) && !strcmp(incoming->ser.bus, bus))
			return incoming;
	}

	return NULL;
}

/*
 * Look for the next record of a device of this bus and identity, whatever it is below.
 * NULL begins with the first one. Context: dlu_lock held, with records, or before others
 * know them. Returns the record, or NULL if there is none left.
 */
struct dlu_incoming_device *
dlu_next_record(const struct dlu_incoming_device *from, const char *bus, const char *id)
{
	if (from)
		return dlu_next_from(from->hash.next, bus, id);

	return dlu_next_from(dlu_bucket(dlu_incoming.buckets, dlu_incoming.bucket_bits,
					id)->first, bus, id);
}

/*
 * Which record is that of the nearest device that has one? Context: dlu_lock held.
 * @parent and what is above it stay. Returns 1 + position of the record, or 0.
 */
u32 dlu_record_above(const struct device *parent)
{
	lockdep_assert_held(&dlu_lock);

	for (; parent; parent = parent->parent) {
		const struct device_liveupdate *liveupdate = dlu_of(parent);

		if (liveupdate && liveupdate->record)
			return liveupdate->record;
	}

	return 0;
}

/*
 * Is it known which device is the parent of one that was handed over, and can that still
 * have the device below it?
 */
static bool dlu_parent_is_known(const struct dlu_incoming_device *incoming)
{
	u32 parent = incoming->ser.parent;

	if (incoming->corrupted || parent > incoming - dlu_incoming.records)
		return false;

	return !parent || (!hlist_unhashed(&dlu_incoming.records[parent - 1].hash) &&
			   !dlu_incoming.records[parent - 1].removed);
}

/*
 * Look for the record of a device that appears. A device is known by the record of its
 * parent, by its bus and its identity. If it cannot be told any more which device was
 * the parent, it may be any. Context: dlu_lock held, with records. Returns the record,
 * whose device may have been here before, or NULL. A record that is corrupted has the
 * fingerprint of @id.
 */
struct dlu_incoming_device *
dlu_find_record(const struct bus_type *bus, const struct device *parent,
		const struct device_liveupdate_id *id)
{
	struct dlu_incoming_device *incoming = NULL, *loose = NULL;
	u32 above = dlu_record_above(parent);

	while ((incoming = dlu_next_record(incoming, bus->name, id->id))) {
		if (dlu_parent_is_known(incoming)) {
			if (incoming->ser.parent == above)
				return incoming;
			continue;
		}
		/* It is not this one that the record was about, as far as it can be told. */
		if (incoming->corrupted && memcmp(incoming->ser.fingerprint, id->fingerprint,
						  sizeof(id->fingerprint)))
			continue;
		if (incoming->state == DEVICE_LIVEUPDATE_ABSENT)
			loose = incoming;
	}

	return loose;
}

/*
 * May a device that has no record be one that was handed over? It is called like one
 * that has not appeared, and looks like it, and nothing has been seen of the parent of
 * that one either: so it may have been moved. Context: Takes dlu_lock. Returns true if
 * so.
 */
bool dlu_has_lookalike(const struct bus_type *bus, const struct device_liveupdate_id *id)
{
	const struct dlu_incoming_device *incoming = NULL;
	u32 parent;

	guard(mutex)(&dlu_lock);

	if (!dlu_incoming.nr_absent)
		return false;
	while ((incoming = dlu_next_record(incoming, bus->name, id->id))) {
		parent = incoming->ser.parent;
		if (incoming->state == DEVICE_LIVEUPDATE_ABSENT &&
		    !memcmp(incoming->ser.fingerprint, id->fingerprint,
			    sizeof(id->fingerprint)) &&
		    (!parent || (dlu_parent_is_known(incoming) &&
				 dlu_incoming.records[parent - 1].state ==
				 DEVICE_LIVEUPDATE_ABSENT)))
			return true;
	}

	return false;
}

/* Look for another record that says it is about the same device. */
static struct dlu_incoming_device *dlu_find_twin(const struct device_liveupdate_ser *ser,
						 const struct hlist_head *bucket)
{
	struct dlu_incoming_device *incoming = dlu_next_from(bucket->first, ser->bus, ser->id);

	while (incoming && incoming->ser.parent != ser->parent)
		incoming = dlu_next_from(incoming->hash.next, ser->bus, ser->id);

	return incoming;
}

/**
 * struct dlu_seen - strings that were found to be valid before
 * @bus: the last name of a bus, or NULL.
 * @compatible: the same of what drivers are compatible with.
 *
 * Most records have those of a record before them.
 */
struct dlu_seen {
	const char *bus;
	const char *compatible;
};

/*
 * Is a string valid that was handed over, and need not be terminated? Remembers it in
 * *@seen unless that is NULL.
 */
static bool dlu_field_valid(const char *field, const char **seen, size_t size)
{
	if (seen && *seen && !memcmp(field, *seen, size))
		return true;
	if (field[size - 1] || !dlu_string_length(field))
		return false;
	if (seen)
		*seen = field;

	return true;
}

/*
 * Make room for the records of the set. May sleep. In PREPARE. Returns 0; -E2BIG if
 * there are more than %DEVICE_LIVEUPDATE_MAX devices; or the error of
 * kho_table_alloc(), of which the same says that they need too much.
 */
int dlu_alloc_table(struct liveupdate_data *data)
{
	int err;

	if (dlu_outgoing.nr_set > DEVICE_LIVEUPDATE_MAX)
		return -E2BIG;
	err = kho_table_alloc(&dlu_outgoing.table, &dlu_format,
			      dlu_outgoing.nr_set + dlu_outgoing.nr_more);
	if (err)
		return err;
	data->value = kho_table_phys(&dlu_outgoing.table);
	data->size = dlu_outgoing.table.head_size;

	return 0;
}

/* Undo dlu_alloc_table(). May sleep. In CANCEL, or in a PREPARE that failed. */
void dlu_free_table(struct liveupdate_data *data)
{
	kho_table_free(&dlu_outgoing.table);
	*data = (struct liveupdate_data){};
}

/* How many records continue that of a device. Any context. Returns their number. */
u32 dlu_nr_more(u32 nr_providers)
{
	if (nr_providers <= DEVICE_LIVEUPDATE_PROVIDERS)
		return 0;

	return DIV_ROUND_UP(nr_providers - DEVICE_LIVEUPDATE_PROVIDERS,
			    DEVICE_LIVEUPDATE_MORE);
}

/* Write the providers of a device that are not in its record, behind all devices. */
static void dlu_write_more(const struct device_liveupdate *liveupdate)
{
	u32 done = DEVICE_LIVEUPDATE_PROVIDERS;

	while (done < liveupdate->nr_providers) {
		struct device_liveupdate_more_ser *ser =
			kho_table_add(&dlu_outgoing.table);

		ser->device = liveupdate->index;
		ser->flags = DEVICE_LIVEUPDATE_SER_MORE;
		ser->nr = min_t(u32, liveupdate->nr_providers - done,
				DEVICE_LIVEUPDATE_MORE);
		memcpy(ser->providers, liveupdate->providers + done,
		       ser->nr * sizeof(*ser->providers));
		done += ser->nr;
	}
}

/* Write a string into a zeroed field, from that of another record if that is the same. */
static void dlu_write_string(char *field, const char *same, const char *string, size_t size)
{
	if (same)
		memcpy(field, same, size);
	else
		strscpy(field, string, size);
}

/* Those before it mostly have the same bus and driver. */
static void dlu_write(struct device_liveupdate *liveupdate,
		      const struct device_liveupdate *before, u32 more)
{
	struct kho_table *table = &dlu_outgoing.table;
	struct device_liveupdate_ser *ser = kho_table_add(table);
	const struct bus_type *bus = liveupdate->dev->bus;

	guard(mutex)(&liveupdate->lock);

	/* Lost by now, the update is over. */
	if (liveupdate->phase != DLU_PREPARED) {
		kho_table_invalidate(table, liveupdate->index);
		return;
	}

	/* The table is zeroed, so that nothing needs to be padded. */
	liveupdate->ser = ser;
	dlu_write_string(ser->bus, before && before->dev->bus == bus ? before->ser->bus : NULL,
			 bus->name, sizeof(ser->bus));
	memcpy(ser->id, liveupdate->id.id, sizeof(ser->id));
	memcpy(ser->fingerprint, liveupdate->id.fingerprint,
	       sizeof(ser->fingerprint));
	ser->parent = liveupdate->parent;
	ser->nr_providers = liveupdate->nr_providers;
	memcpy(ser->providers, liveupdate->providers,
	       min_t(u32, liveupdate->nr_providers, DEVICE_LIVEUPDATE_PROVIDERS) *
	       sizeof(*ser->providers));
	if (dlu_nr_more(liveupdate->nr_providers))
		ser->more = more;
	if (liveupdate->path) {
		ser->flags |= DEVICE_LIVEUPDATE_SER_PATH;
	} else {
		dlu_write_string(ser->compatible, before && before->ops == liveupdate->ops ?
				 before->ser->compatible : NULL,
				 liveupdate->ops->compatible, sizeof(ser->compatible));
		ser->version = liveupdate->ops->version;
	}
	if (liveupdate->data.size)
		ser->flags |= DEVICE_LIVEUPDATE_SER_BLOB;
	ser->value = liveupdate->data.value;
	ser->size = liveupdate->data.size;
}

/* Fill the table. May sleep. In PREPARE, once every device is prepared. */
void dlu_write_table(void)
{
	struct device_liveupdate *liveupdate, *before = NULL;
	u32 more = dlu_outgoing.nr_set;

	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		dlu_write(liveupdate, before, more);
		more += dlu_nr_more(liveupdate->nr_providers);
		before = liveupdate->ser ? liveupdate : NULL;
	}
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member)
		dlu_write_more(liveupdate);

	guard(mutex)(&dlu_lock);
	kho_table_seal(&dlu_outgoing.table);
}

/*
 * Tell the next kernel that a device went missing. May sleep. &device_liveupdate.lock
 * held.
 */
void dlu_write_lost(struct device_liveupdate *liveupdate)
{
	lockdep_assert_held(&liveupdate->lock);

	if (!liveupdate->ser)
		return;

	guard(mutex)(&dlu_lock);
	liveupdate->ser->flags |= DEVICE_LIVEUPDATE_SER_LOST;
	kho_table_reseal(&dlu_outgoing.table, liveupdate->index);
}

/* Fields that no checksum can vouch for: those of a kernel with a bug. */
static bool dlu_fields_valid(const struct device_liveupdate_ser *ser,
			     struct dlu_seen *seen, unsigned int position)
{
	bool path = ser->flags & DEVICE_LIVEUPDATE_SER_PATH;
	bool blob = ser->flags & DEVICE_LIVEUPDATE_SER_BLOB;

	if (ser->flags & ~DEVICE_LIVEUPDATE_SER_FLAGS || ser->parent > position ||
	    blob != !!ser->size || path != !ser->version)
		return false;
	/* What continues it is validated when all records are there. */
	if (ser->nr_providers > position || !dlu_nr_more(ser->nr_providers) != !ser->more)
		return false;
	for (u32 i = 0; i < DEVICE_LIVEUPDATE_PROVIDERS; i++) {
		if (i < ser->nr_providers ? ser->providers[i] >= position :
					    ser->providers[i])
			return false;
	}
	if (path)
		return !blob && !ser->compatible[0];

	return dlu_field_valid(ser->compatible, &seen->compatible,
			       sizeof(ser->compatible));
}

/*
 * Can a record be entered beside those of the same device? A corrupted one may only
 * look like it. Of two others neither can be relied on.
 */
static bool dlu_is_first(const struct dlu_incoming_device *incoming,
			 const struct hlist_head *bucket)
{
	struct dlu_incoming_device *twin = dlu_find_twin(&incoming->ser, bucket);

	if (!twin)
		return true;
	if (incoming->corrupted)
		return false;
	if (twin->corrupted) {
		hlist_del_init(&twin->hash);
		twin->state = DEVICE_LIVEUPDATE_UNKNOWN;
		dlu_incoming.nr_absent--;
		return true;
	}
	twin->invalid = true;
	twin->data = (struct liveupdate_data){};

	return false;
}

/* Enter one record, unless it is not known whose it is. */
static void dlu_read(const struct device_liveupdate_ser *from, struct dlu_seen *seen,
		     unsigned int position, bool corrupted)
{
	struct dlu_incoming_device *incoming = &dlu_incoming.records[position];
	const struct device_liveupdate_ser *ser = &incoming->ser;
	struct hlist_head *bucket;

	incoming->ser = *from;
	memset_after(incoming, 0, ser);
	if (!corrupted && ser->flags == DEVICE_LIVEUPDATE_SER_MORE) {
		incoming->more = true;
		dlu_incoming.nr_more++;
		return;
	}
	if (!dlu_field_valid(ser->bus, &seen->bus, sizeof(ser->bus)) ||
	    !dlu_field_valid(ser->id, NULL, sizeof(ser->id)))
		return;

	incoming->corrupted = corrupted;
	incoming->invalid = corrupted ||
			    ser->flags & DEVICE_LIVEUPDATE_SER_LOST ||
			    !dlu_fields_valid(ser, seen, position);
	bucket = dlu_bucket(dlu_incoming.buckets, dlu_incoming.bucket_bits, ser->id);
	if (!dlu_is_first(incoming, bucket))
		return;
	hlist_add_head(&incoming->hash, bucket);
	incoming->state = DEVICE_LIVEUPDATE_ABSENT;
	dlu_incoming.nr_absent++;
	if (!incoming->invalid) {
		incoming->data.value = ser->value;
		incoming->data.size = ser->size;
	}
}

/* Nobody asks any more what became of devices. May sleep. Not in FINISH. */
void dlu_forget_states(void)
{
	kvfree(dlu_incoming.states);
	dlu_incoming.states = NULL;
	dlu_incoming.nr_states = 0;
}

/*
 * Free the copies of records, of which nothing is retained. May sleep. dlu_lock held,
 * or before others know the records.
 */
void dlu_free_records(void)
{
	kvfree(dlu_incoming.records);
	kvfree(dlu_incoming.buckets);
	dlu_incoming.records = NULL;
	dlu_incoming.buckets = NULL;
	dlu_incoming.nr_records = 0;
	dlu_incoming.nr_more = 0;
	dlu_incoming.nr_lost = 0;
	dlu_incoming.nr_running = 0;
	WRITE_ONCE(dlu_incoming.nr_absent, 0);
}

static const struct device_liveupdate_more_ser *
dlu_more(const struct dlu_incoming_device *incoming)
{
	return (const void *)&incoming->ser;
}

/*
 * Which device does a device need? Context: dlu_lock held, or before others know the
 * records. Returns position of the provider.
 */
u32 dlu_provider(const struct dlu_incoming_device *incoming, u32 index)
{
	const struct device_liveupdate_ser *ser = &incoming->ser;

	if (index < DEVICE_LIVEUPDATE_PROVIDERS)
		return ser->providers[index];
	index -= DEVICE_LIVEUPDATE_PROVIDERS;
	incoming = &dlu_incoming.records[ser->more + index / DEVICE_LIVEUPDATE_MORE];

	return dlu_more(incoming)->providers[index % DEVICE_LIVEUPDATE_MORE];
}
EXPORT_SYMBOL_IF_KUNIT(dlu_provider);

/* Is one of the records that continue a device what it should be? */
static bool dlu_more_valid(u32 position, u32 device, u32 nr)
{
	const struct device_liveupdate_more_ser *more;

	if (position >= dlu_incoming.nr_records || !dlu_incoming.records[position].more)
		return false;
	more = dlu_more(&dlu_incoming.records[position]);
	if (more->device != device || more->nr != nr)
		return false;
	for (u32 i = 0; i < nr; i++) {
		if (more->providers[i] >= device)
			return false;
	}

	return true;
}

/* Look at what continues the record of a device, now that all are there. */
static void dlu_validate_more(u32 device)
{
	struct dlu_incoming_device *incoming = &dlu_incoming.records[device];
	u32 position = incoming->ser.more;
	u32 left;

	if (hlist_unhashed(&incoming->hash) || incoming->invalid || !position)
		return;

	left = incoming->ser.nr_providers - DEVICE_LIVEUPDATE_PROVIDERS;
	while (left && !incoming->invalid) {
		u32 nr = min_t(u32, left, DEVICE_LIVEUPDATE_MORE);

		if (!dlu_more_valid(position++, device, nr)) {
			incoming->invalid = true;
			incoming->data = (struct liveupdate_data){};
		}
		left -= nr;
	}
}

/* Without the record of its parent it is not known which device a record is about. */
static void dlu_validate_parent(u32 device)
{
	struct dlu_incoming_device *incoming = &dlu_incoming.records[device];

	if (hlist_unhashed(&incoming->hash) || dlu_parent_is_known(incoming))
		return;
	incoming->corrupted = true;
	incoming->invalid = true;
	incoming->data = (struct liveupdate_data){};
}

static int dlu_alloc_records(unsigned int count)
{
	/* At least one bit, as hash_32() cannot do with none. */
	dlu_incoming.bucket_bits = order_base_2(max(count, 2U));
	dlu_incoming.buckets = kvzalloc_objs(*dlu_incoming.buckets,
					     1U << dlu_incoming.bucket_bits);
	dlu_incoming.records = kvmalloc_objs(*dlu_incoming.records, count);
	dlu_incoming.states = kvzalloc(count, GFP_KERNEL);
	if (!dlu_incoming.buckets || !dlu_incoming.records || !dlu_incoming.states)
		return -ENOMEM;
	dlu_incoming.nr_records = count;
	dlu_incoming.nr_states = count;

	return 0;
}

/*
 * Validate and copy what the previous kernel left. On success the records are in
 * &dlu_incoming.records and the fields behind it, and &dlu_incoming.handed is open. On
 * failure nothing has changed. May sleep. Nobody else uses those fields yet. Returns 0,
 * also if records are corrupted; the error of kho_table_open(); -ENOMEM.
 */
int dlu_read_table(const struct liveupdate_data *data)
{
	struct kho_table_incoming *table = &dlu_incoming.handed;
	const struct device_liveupdate_ser *ser;
	struct dlu_seen seen = {};
	u32 position, done = 0;
	bool corrupted;
	int err;

	err = kho_table_open(table, &dlu_format, data->value,
			     data->size);
	if (err)
		return err;
	if (!kho_table_nr_records(table))
		return 0;

	dlu_forget_states();
	err = dlu_alloc_records(kho_table_nr_records(table));
	if (err) {
		dlu_forget_states();
		kho_table_close(table);
		dlu_free_records();
		return err;
	}

	while ((ser = kho_table_next(table, &position, &corrupted))) {
		/* Those between are missing or invalid. */
		while (done < position)
			memset(&dlu_incoming.records[done++], 0, sizeof(*dlu_incoming.records));
		dlu_read(ser, &seen, done++, corrupted);
	}
	memset(dlu_incoming.records + done, 0,
	       (dlu_incoming.nr_records - done) * sizeof(*dlu_incoming.records));
	for (u32 i = 0; i < dlu_incoming.nr_records; i++) {
		if (dlu_incoming.records[i].ser.parent)
			dlu_validate_parent(i);
		if (dlu_incoming.records[i].ser.more)
			dlu_validate_more(i);
	}
	dlu_incoming.nr_lost = dlu_incoming.nr_records - dlu_incoming.nr_more -
			       dlu_incoming.nr_absent;

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dlu_read_table);

/* Free the table that was copied. Does nothing if none is open. May sleep. In FINISH. */
void dlu_release_table(void)
{
	kho_table_release(&dlu_incoming.handed);
}
EXPORT_SYMBOL_IF_KUNIT(dlu_release_table);
