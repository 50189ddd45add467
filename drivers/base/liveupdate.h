/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices in a live update: what the rest of the driver core calls, and what
 * drivers/base/liveupdate*.c share. The idea is in liveupdate.c. base.h includes this, as
 * &struct device_private is needed.
 */

#ifndef _BASE_LIVEUPDATE_H
#define _BASE_LIVEUPDATE_H

#include <linux/device.h>
#include <linux/kho_table.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/liveupdate/device.h>
#include <linux/liveupdate/device_record.h>
#include <linux/liveupdate/subsystem.h>
#include <linux/mutex.h>

struct kobject;
struct module;

#ifdef CONFIG_DEV_LIVEUPDATE

/**
 * enum dlu_phase - how far a device of the set is
 * @DLU_IDLE: not prepared.
 * @DLU_PREPARED: prepare succeeded.
 * @DLU_FROZEN: freeze succeeded.
 * @DLU_LOST: taken away while it was in the set; cancelled.
 */
enum dlu_phase {
	DLU_IDLE,
	DLU_PREPARED,
	DLU_FROZEN,
	DLU_LOST,
};

/**
 * enum dlu_need - is there what a device needs that was handed over?
 * @DLU_READY: all of it was taken over.
 * @DLU_WAIT: some of it waits for its driver, or has not appeared.
 * @DLU_GONE: some of it does not run any more.
 */
enum dlu_need {
	DLU_READY,
	DLU_WAIT,
	DLU_GONE,
};

/**
 * struct dlu_incoming_device - a record the previous kernel left
 * @ser: the record.
 * @hash: entry in &dlu_incoming.buckets.
 * @data: what the driver saved.
 * @dev: the device, with a reference, or NULL.
 * @held: the device while FINISH deals with it, with a reference, or NULL.
 * @state: what becomes of it.
 * @retrieved: probe() retrieved @data.
 * @invalid: nothing but bus, identity and fingerprint says what it is, and these
 *	may be unverified.
 * @corrupted: these are unverified.
 * @more: it is no device, but continues the record of one.
 * @stopped: the device was stopped, so that nothing that the previous kernel began goes
 *	on, in it or in what can only be stopped with it.
 * @removed: the device was removed; should it come back, it has no record.
 * @retained: the device could not be stopped, or FINISH is over, and it has not
 *	appeared; or NULL.
 *
 * @dev and @state change under dlu_lock. While there is a @dev,
 * everything but @hash changes under its device_lock only.
 */
struct dlu_incoming_device {
	struct device_liveupdate_ser ser;
	struct hlist_node hash;
	struct liveupdate_data data;
	struct device *dev;
	struct device *held;
	enum device_liveupdate_state state;
	bool retrieved;
	bool invalid;
	bool corrupted;
	bool more;
	bool stopped;
	bool removed;
	struct liveupdate_retained *retained;
};

/* Longest name of a record, with a position behind bus and identity. */
#define DLU_NAME_LEN	(DEVICE_LIVEUPDATE_BUS_LEN + DEVICE_LIVEUPDATE_ID_LEN + 12)

/* Not a device in its own right, only kept alive for others? */
static inline bool
dlu_ser_path(const struct dlu_incoming_device *incoming)
{
	return !incoming->invalid &&
	       incoming->ser.flags & DEVICE_LIVEUPDATE_SER_PATH;
}

/**
 * struct device_liveupdate - what live update knows of a device
 * @dev: the device.
 * @lock: held over the callbacks of PREPARE to CANCEL and over changes of @phase.
 * @requested: entry in &dlu_outgoing.requested, or empty.
 * @member: entry in &dlu_outgoing.set, or empty.
 * @hash: entry in the buckets that find double identities.
 * @path: in the set only as part of the path of others.
 * @phase: how far it is. Written under @lock.
 * @passed: device_shutdown() went past it and left it as it is. Written under @lock.
 * @awake: it must not fall asleep. Nobody else looks while it is in the set.
 * @id: its identity, once it was asked for; up to date while it is in the set.
 * @revision: what &bus_liveupdate_ops.revision said just before. Likewise.
 * @index: position in the set.
 * @parent: 1 + position of the nearest ancestor in the set, or 0.
 * @providers: positions of what else it needs; valid while it is in the set.
 * @nr_providers: number of them.
 * @ops: operations of the driver that was prepared; NULL on the path.
 * @owner: module that is pinned from PREPARE until the device leaves the set.
 * @data: what the driver saved.
 * @ser: its record in the outgoing table, once that is written.
 * @incoming: record of the previous kernel, until FINISH. Under device_lock.
 * @record: 1 + position of that record, also afterwards, or 0. For those below the
 *	device that have not appeared. Under dlu_lock.
 * @attach: entry in the list of devices to be probed after FINISH, or empty.
 *
 * Allocated for devices that are requested, in the set or handed over, and only
 * freed with the device, so that dlu_of() needs no lock.
 * The lists and @id are protected by dlu_lock, and each entry
 * holds a reference to the device.
 */
struct device_liveupdate {
	struct device *dev;
	struct mutex lock;	/* callbacks and @phase */
	struct list_head requested;
	struct list_head member;
	struct hlist_node hash;
	bool path;
	enum dlu_phase phase;
	bool passed;
	bool awake;
	struct device_liveupdate_id id;
	u64 revision;
	u32 index;
	u32 parent;
	u32 *providers;
	u32 nr_providers;
	const struct dev_liveupdate_ops *ops;
	struct module *owner;
	struct liveupdate_data data;
	struct device_liveupdate_ser *ser;
	struct dlu_incoming_device *incoming;
	u32 record;
	struct list_head attach;
};

/*
 * What live update knows of a device. Any context; it stays until the device is freed.
 * Returns NULL if that is nothing, which it always is before device_add().
 */
static inline struct device_liveupdate *dlu_of(const struct device *dev)
{
	return dev->p ? READ_ONCE(dev->p->liveupdate) : NULL;
}

/*
 * The record of the last kernel that stands for a device. Context: device_lock held, or
 * whoever calls looks at the record under dlu_lock. Returns NULL if there is none.
 */
static inline struct dlu_incoming_device *dlu_incoming_of(const struct device *dev)
{
	const struct device_liveupdate *liveupdate = dlu_of(dev);

	return liveupdate ? liveupdate->incoming : NULL;
}

/* Is the device in the set? For a look without lock: it may come or go. */
static inline bool dlu_in_set(const struct device_liveupdate *liveupdate)
{
	return liveupdate && !list_empty(&liveupdate->member);
}

/**
 * struct dlu_outgoing - devices that this kernel hands over
 * @requested: devices that are requested, &device_liveupdate.requested.
 * @closed: PREPARE has begun: the set is closed, requests are refused.
 * @set: devices of the prepare in effect, providers first. Changed only by the
 *	transition under way.
 * @nr_set: number of them.
 * @nr_more: number of records that continue those of the devices.
 * @may_be_busy: a bus of the set has &bus_liveupdate_ops.busy.
 * @invalid: a device of the set was lost.
 * @table: outgoing table. Changed only by the transition under way; sealed under
 *	dlu_lock, as are changes of records afterwards.
 * @items: how long devices took in the transition under way. Likewise.
 *
 * Protected by dlu_lock, except as noted.
 */
struct dlu_outgoing {
	struct list_head requested;
	bool closed;
	struct list_head set;
	unsigned int nr_set;
	unsigned int nr_more;
	bool may_be_busy;
	bool invalid;
	struct kho_table table;
	struct liveupdate_items items;
};

/**
 * struct dlu_incoming - devices that the previous kernel handed over
 * @handed: table of the previous kernel, while it is open: until FINISH.
 * @records: its records, in table order; NULL if there are none, or none that matters.
 * @nr_records: number of them.
 * @nr_more: those that continue others.
 * @nr_lost: records that did not arrive.
 * @lost: there are such records, until the operator gives them up; or NULL.
 * @nr_absent: those in @records whose device has not appeared.
 * @absent: there are such devices, until FINISH is over; or NULL.
 * @nr_claimed: those in @records with a device.
 * @nr_running: those in @records whose device could not be stopped.
 * @buckets: the same by identity.
 * @bucket_bits: binary logarithm of the number of @buckets.
 * @states: for each record what became of its device, &enum device_liveupdate_state.
 *	Filled by FINISH and kept until PREPARE, for subsystems that come after this
 *	one. Used only by the transition under way.
 * @nr_states: number of them.
 * @discarded: live update was off when they were handed over.
 * @pending: FINISH is still to come.
 * @finishing: FINISH is under way.
 * @items: how long devices took in FINISH. Used only by it.
 *
 * Protected by dlu_lock, except as noted.
 */
struct dlu_incoming {
	struct kho_table_incoming handed;
	struct dlu_incoming_device *records;
	unsigned int nr_records;
	unsigned int nr_more;
	unsigned int nr_lost;
	struct liveupdate_retained *lost;
	unsigned int nr_absent;
	struct liveupdate_retained *absent;
	unsigned int nr_claimed;
	unsigned int nr_running;
	struct hlist_head *buckets;
	unsigned int bucket_bits;
	u8 *states;
	unsigned int nr_states;
	bool discarded;
	bool pending;
	bool finishing;
	struct liveupdate_items items;
};

/*
 * Protects requests, the set, records, and which device they lead to. Never held over
 * a callback or while a device_lock is taken. Inside it are only locks of what is
 * retained.
 */
extern struct mutex dlu_lock;
extern struct dlu_outgoing dlu_outgoing;
extern struct dlu_incoming dlu_incoming;
extern struct liveupdate_subsystem dlu_subsystem;

/* Any device_lock, for lockdep; without that there is no such variable. */
extern struct lockdep_map dlu_device_map;

/* What follows takes a device_lock, even if it happens not to this time. */
static inline void dlu_might_lock_device(void)
{
	lock_map_acquire(&dlu_device_map);
	lock_map_release(&dlu_device_map);
}

/* liveupdate.c: what the driver core calls */
int device_liveupdate_veto(struct device *dev, const struct device_driver *drv);
int dlu_check_bind(struct device *dev);
void device_liveupdate_probed(struct device *dev, int ret);
void device_liveupdate_shutdown_begins(void);
bool device_liveupdate_shutdown(struct device *dev);
void __dlu_notify(struct device *dev,
		  enum bus_notifier_event event);
void device_liveupdate_release(struct device *dev);

/**
 * device_liveupdate_notify() - something happens to a device on a bus
 * @dev: the device, with a bus
 * @event: what, before it is told to the notifiers of the bus
 *
 * Context: that of the notifiers.
 */
static inline void device_liveupdate_notify(struct device *dev,
					    enum bus_notifier_event event)
{
	if (dev->bus->liveupdate)
		__dlu_notify(dev, event);
}

/* liveupdate_device.c: what is known of a device */
struct device *dlu_ancestor(const struct device *dev);
struct device_liveupdate *dlu_alloc(struct device *dev);
size_t dlu_string_length(const char *string);
u64 dlu_revision(struct device *dev);
int dlu_check_bus(const struct bus_type *bus);
int dlu_identify_device(struct device *dev,
			struct device_liveupdate_id *id);
enum device_liveupdate_role dlu_role(struct device *dev);
bool dlu_same_hardware(struct device *dev, const struct device_liveupdate_id *id,
		       const struct device_liveupdate_id *before);
void dlu_report_failure(struct device *dev, int error, const char *reason);
int dlu_fail(struct device *dev, const char *transition, int error,
	     const char *reason);
void dlu_invalidate(struct device *dev, int error, const char *reason);

/* liveupdate_provider.c: what a device needs */
typedef int (*dlu_provider_fn)(struct device *provider, void *context);
int dlu_walk_providers(struct device *dev, dlu_provider_fn fn, void *context);
int dlu_collect_providers(struct device_liveupdate *liveupdate);
void dlu_drop_providers(struct device_liveupdate *liveupdate);
enum dlu_need dlu_needs(const struct dlu_incoming_device *incoming);

/* liveupdate_table.c: the format */
int dlu_alloc_table(struct liveupdate_data *data);
void dlu_free_table(struct liveupdate_data *data);
void dlu_write_table(void);
void dlu_write_lost(struct device_liveupdate *liveupdate);
int dlu_read_table(const struct liveupdate_data *data);
void dlu_release_table(void);
struct hlist_head *dlu_bucket(struct hlist_head *buckets,
			      unsigned int bits, const char *id);
struct dlu_incoming_device *
dlu_next_record(const struct dlu_incoming_device *from, const char *bus, const char *id);
u32 dlu_record_above(const struct device *parent);
struct dlu_incoming_device *
dlu_find_record(const struct bus_type *bus, const struct device *parent,
		const struct device_liveupdate_id *id);
bool dlu_has_lookalike(const struct bus_type *bus, const struct device_liveupdate_id *id);
void dlu_forget_states(void);
void dlu_free_records(void);
u32 dlu_nr_more(u32 nr_providers);
u32 dlu_provider(const struct dlu_incoming_device *incoming, u32 index);

/* liveupdate_set.c: which devices are handed over */
int dlu_check_request(struct device *dev, struct device_liveupdate_id *id,
		      const char **reason);
int dlu_request(struct device *dev, bool on);
bool dlu_is_requested(const struct device *dev);
void dlu_request_unbound(struct device *dev);
void dlu_withdraw(struct device *dev);
struct device_liveupdate *dlu_member_above(const struct device *dev);
bool dlu_unrequested(const struct device *dev);
bool dlu_defers_probes(void);
int dlu_close(void);
void dlu_open(void);
void dlu_let_sleep(struct device_liveupdate *liveupdate);

/* liveupdate_outgoing.c: the transitions in this kernel */
int dlu_prepare(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data);
bool dlu_can_freeze(struct liveupdate_subsystem *subsystem);
int dlu_freeze(struct liveupdate_subsystem *subsystem,
	       struct liveupdate_data *data);
void dlu_thaw(struct liveupdate_subsystem *subsystem,
	      struct liveupdate_data *data);
void dlu_cancel(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data);
void dlu_abort_outgoing(struct device *dev, const char *reason);
void dlu_lost(struct device *dev);
bool dlu_pass(struct device *dev);
bool dlu_frozen(const struct device *dev);

/* liveupdate_record.c: what becomes of a record */
void __dlu_set_state(struct dlu_incoming_device *incoming,
		     enum device_liveupdate_state state);
void dlu_set_state(struct dlu_incoming_device *incoming,
		   enum device_liveupdate_state state);
void dlu_print_name(const struct dlu_incoming_device *incoming,
		    char *name, size_t size);
void dlu_notify_bus(struct device *dev, bool reclaimed);
bool dlu_is_absent(const struct dlu_incoming_device *incoming);
void dlu_retain_absent(void);
void dlu_retain_each(void);
void dlu_release_record(struct dlu_incoming_device *incoming);
void dlu_stop(struct device *dev,
	      struct dlu_incoming_device *incoming);
void dlu_quarantine(struct device *dev,
		    struct dlu_incoming_device *incoming,
		    const char *reason);
void dlu_quarantine_unknown(struct device *dev, const char *reason);
void dlu_stop_with_parents(void);
void dlu_put_records(void);
void dlu_flush_consumers(void);
void dlu_detach(struct device *dev,
		struct dlu_incoming_device *incoming);
void dlu_dispose(struct dlu_incoming_device *incoming);
void dlu_forget(void);
bool dlu_may_free(void);

/* liveupdate_incoming.c: a device that was handed over, until FINISH */
bool dlu_added(struct device *dev);
void dlu_removed(struct device *dev);
void dlu_unbound(struct device *dev);
void dlu_abort_incoming(struct device *dev, const char *reason);
int dlu_check_retrieve(struct device *dev,
		       const struct device_driver *drv);
void dlu_complete(struct device *dev, int ret);
void dlu_shutting_down(struct device *dev);

/* liveupdate_sysfs.c */
void dlu_add_group(struct device *dev);
void dlu_remove_group(struct device *dev);
int dlu_sysfs_init(struct kobject *parent);

/* liveupdate_finish.c: the transitions in the next kernel */
int dlu_restore(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data);
int dlu_discard(struct liveupdate_subsystem *subsystem,
		const struct liveupdate_data *data);
bool dlu_can_finish(struct liveupdate_subsystem *subsystem,
		    const struct liveupdate_data *data);
void dlu_finish(struct liveupdate_subsystem *subsystem,
		struct liveupdate_data *data);
void dlu_flush(void);
int dlu_forget_retained(struct liveupdate_subsystem *subsystem,
			const char *name);

#else /* CONFIG_DEV_LIVEUPDATE */

static inline int device_liveupdate_veto(struct device *dev,
					 const struct device_driver *drv)
{
	return 0;
}

static inline int dlu_check_bind(struct device *dev)
{
	return 0;
}

static inline void device_liveupdate_probed(struct device *dev, int ret) { }

static inline void device_liveupdate_shutdown_begins(void) { }

static inline bool device_liveupdate_shutdown(struct device *dev)
{
	return false;
}

static inline void device_liveupdate_notify(struct device *dev,
					    enum bus_notifier_event event) { }
static inline void device_liveupdate_release(struct device *dev) { }

#endif /* CONFIG_DEV_LIVEUPDATE */

#endif /* _BASE_LIVEUPDATE_H */
