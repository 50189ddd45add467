/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the device layer of live update have in common, see
 * liveupdate_kunit_fixture.c.
 */

#ifndef _LIVEUPDATE_KUNIT_H
#define _LIVEUPDATE_KUNIT_H

#include <kunit/test.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/mutex.h>
#include <linux/seq_buf.h>

#include "../base.h"

#define DLT_LOG_LEN		4096
#define DLT_VALUE		0xfedcba9876543210ULL
#define DLT_RECORD		sizeof(struct device_liveupdate_ser)
#define DLT_PER_BLOCK		((unsigned int)KHO_TABLE_PER_BLOCK(DLT_RECORD))

/* Drivers; the first three are bits in &dlt_device.drivers. */
enum dlt_driver {
	DLT_ONE,
	DLT_OTHER,
	DLT_PLAIN,
	DLT_SECOND,
	DLT_FOREIGN,
	DLT_BELOW,
	DLT_NR_DRIVERS,
};

/**
 * struct dlt_device - a device that does what the test says
 * @dev: the device.
 * @list: entry in &dlt.devices.
 * @between: device without a bus between it and its parent, or NULL.
 * @depends: what its bus says it depends on.
 * @id: identity.
 * @fingerprint: fingerprint.
 * @drivers: drivers it matches.
 * @bridge: it only connects others.
 * @role: otherwise what it is.
 * @blob: it saves a blob.
 * @stays: it does not come along with its parent, if it could.
 * @silent: its driver does not retrieve what was handed over.
 * @declines: its driver declines what it retrieved.
 * @defer: how often probe() is deferred.
 * @unsupported: why it cannot be preserved, or NULL.
 * @fail: callback that fails with -EIO.
 * @hook_at: callback that calls @hook.
 * @hook: called there.
 * @context: for @hook.
 * @received: what it was handed over.
 * @text: the blob of that.
 * @version: the version of that.
 * @gone: it was removed by the test.
 */
struct dlt_device {
	struct device dev;
	struct list_head list;
	struct device *between;
	struct dlt_device *depends[2];
	char id[DEVICE_LIVEUPDATE_ID_LEN];
	char fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
	unsigned long drivers;
	bool bridge;
	enum device_liveupdate_role role;
	bool blob;
	bool stays;
	bool silent;
	bool declines;
	unsigned int defer;
	const char *unsupported;
	const char *fail;
	const char *hook_at;
	void (*hook)(struct dlt_device *dlt_dev);
	struct dlt_device *context;
	struct liveupdate_data received;
	char text[DEVICE_LIVEUPDATE_ID_LEN];
	u32 version;
	bool gone;
};

/**
 * struct dlt_memory - memory that was handed over
 * @list: entry in &dlt.memory.
 * @mem: where it is.
 * @size: how long it is.
 * @name: what the log calls it.
 * @freed: the incoming kernel freed it.
 */
struct dlt_memory {
	struct list_head list;
	void *mem;
	size_t size;
	char name[DEVICE_LIVEUPDATE_ID_LEN + 8];
	bool freed;
};

/**
 * struct dlt - what every test starts with
 * @test: the test.
 * @root: what devices without another parent hang on.
 * @devices: all devices, in the order in which they came.
 * @data: data of the subsystem in the outgoing kernel.
 * @handed: the same in the incoming kernel, from dlt_jump() on.
 * @memory: memory that was handed over.
 * @lock: protects @log.
 * @log: callbacks that ran.
 * @text: buffer of @log.
 * @want: buffer of what it should be.
 * @released: parts of the table that were freed.
 * @released_text: buffer of @released.
 * @tainted: this kernel has warned before the test began.
 * @rogue: number of frees of what was not handed over.
 *
 * Probes run in other threads, too, so that this is not in &kunit.priv alone.
 */
struct dlt {
	struct kunit *test;
	struct device *root;
	struct list_head devices;
	struct liveupdate_data data;
	struct liveupdate_data handed;
	struct list_head memory;
	struct mutex lock;	/* the log */
	struct seq_buf log;
	char text[DLT_LOG_LEN];
	char want[DLT_LOG_LEN];
	struct seq_buf released;
	char released_text[DLT_LOG_LEN];
	bool tainted;
	unsigned int rogue;
};

extern struct dlt *dlt;

#define DLT_BUS		"liveupdate-kunit"

static inline struct dlt_device *to_dlt_device(struct device *dev)
{
	return container_of(dev, struct dlt_device, dev);
}

#define dlt_log(...)							\
	do {								\
		guard(mutex)(&dlt->lock);				\
		seq_buf_printf(&dlt->log, __VA_ARGS__);			\
	} while (0)

/* Expects that this was logged since the last time, in as many parts as it takes. */
#define dlt_expect(_test, ...)						\
	dlt_expect_parts(_test, (const char *const []){ __VA_ARGS__, NULL })

/**
 * struct dlt_said - what was said of the last failure of a device
 * @device: which one.
 * @reason: why.
 * @error: the error.
 */
struct dlt_said {
	char device[LIVEUPDATE_DEVICE_LEN];
	char reason[LIVEUPDATE_REASON_LEN];
	int error;
};

/* Three devices in a row, of which the first one is a bridge. */
struct dlt_chain {
	struct dlt_device *bridge;
	struct dlt_device *a;
	struct dlt_device *b;
};

#define DLT_NO_IDENTITY	"its bus cannot identify it"

/**
 * struct dlt_field - a field of a record that is wrong under a checksum that is right
 * @about: name of the case.
 * @corruption: does the corruption.
 * @lost: the record went missing, not just corrupted.
 */
struct dlt_field {
	const char *about;
	void (*corruption)(struct device_liveupdate_ser *ser);
	bool lost;
};

#define DLT_FIELD(_name, _statement)					\
	static void dlt_corruption_##_name(struct device_liveupdate_ser *ser) \
	{								\
		_statement;						\
	}

#define dlt_expect_state(_test, _index, _state)				\
	KUNIT_EXPECT_EQ(_test, dlt_state(_index), DEVICE_LIVEUPDATE_##_state)

/* liveupdate_kunit_bus.c */
extern struct bus_liveupdate_ops dlt_bus_ops;
extern struct dev_liveupdate_ops dlt_ops[DLT_PLAIN];
extern const struct dev_liveupdate_ops dlt_ops_default;
extern struct device_driver dlt_drivers[DLT_NR_DRIVERS];
extern const struct bus_type dlt_bus;
extern const struct bus_type dlt_forward_bus;
extern const struct bus_type dlt_below_bus;
extern const struct bus_type dlt_shutdown_bus;
extern const struct class dlt_class;
extern const struct class dlt_shutdown_class;

void dlt_clear_log(void);
void dlt_expect_parts(struct kunit *test, const char *const *parts);
int dlt_identify(struct device *dev, struct device_liveupdate_id *id);
bool dlt_match(struct device *dev, const struct device_liveupdate_id *id,
	       const struct device_liveupdate_id *handed);
enum device_liveupdate_role dlt_bus_role(struct device *dev);
int dlt_quarantine(struct device *dev);
void dlt_freeze_late(struct device *dev, const struct liveupdate_data *data);
int dlt_register(enum dlt_driver driver);
void dlt_unregister(enum dlt_driver driver);
bool dlt_driven_by(const struct dlt_device *dlt_dev, enum dlt_driver driver);
void dlt_reset_bus(void);
int dlt_suite_init(struct kunit_suite *suite);
void dlt_suite_exit(struct kunit_suite *suite);
void dlt_set_identity(struct dlt_device *dlt_dev, const char *id);
struct dlt_device *dlt_new(struct kunit *test, const char *name,
			   struct dlt_device *parent);
void dlt_add(struct kunit *test, struct dlt_device *dlt_dev);
struct dlt_device *dlt_make(struct kunit *test, const char *name,
			    struct dlt_device *parent);
struct dlt_device *dlt_make_bridge(struct kunit *test, const char *name,
				   struct dlt_device *parent);
void dlt_add_below(struct kunit *test, struct dlt_device *dlt_dev,
		   struct dlt_device *parent, const struct class *class);
struct dlt_device *dlt_make_below(struct kunit *test, const char *name,
				  struct dlt_device *parent,
				  const struct class *class);
struct dlt_device *dlt_make_foreign(struct kunit *test, const char *name,
				    struct dlt_device *parent);
struct dlt_device *dlt_make_second(struct kunit *test, const char *name);
void dlt_del(struct dlt_device *dlt_dev);
void dlt_del_all(void);
void dlt_request(struct kunit *test, struct dlt_device *dlt_dev);
struct dlt_chain dlt_make_chain(struct kunit *test);
int dlt_references(void);
int dlt_usage(const struct dlt_device *dlt_dev);

/* liveupdate_kunit_fixture.c */
extern struct liveupdate_subsystem dlt_subsystem;
extern struct dlt_said dlt_failure;

int dlt_do_prepare(void);
int dlt_do_freeze(void);
void dlt_do_thaw(void);
void dlt_do_cancel(void);
void dlt_expect_idle(struct kunit *test);
void dlt_expect_set(struct kunit *test, const char *want);
const char *dlt_failed(void);
void dlt_expect_failed(struct kunit *test, const char *name, int error,
		       const char *reason);
void dlt_expect_refused(struct kunit *test, const char *name, int error,
			const char *reason);
struct dlt_memory *dlt_find_memory(phys_addr_t phys);
void dlt_expect_released(struct kunit *test, const char *want);
void dlt_release_table(struct kunit *test, const char *want);
struct kho_table_ser *dlt_table(void);
struct kho_block_header_ser *dlt_block(unsigned int index);
struct device_liveupdate_ser *dlt_ser(unsigned int index);
void dlt_seal(void);
size_t dlt_nr_requested(void);
void dlt_jump(struct kunit *test);
int dlt_do_restore(void);
void dlt_do_finish(void);
void dlt_go_down(void);
void dlt_boot(struct kunit *test);
void dlt_expect_retained(struct kunit *test, const char *want);
int dlt_forget(const char *name);
void dlt_unboot(void);
void dlt_jump_one(struct kunit *test, enum dlt_driver driver);
void dlt_jump_chain(struct kunit *test);
enum device_liveupdate_state dlt_state(unsigned int index);
const struct device_liveupdate_ser *dlt_outgoing_ser(struct dlt_device *dlt_dev);
void dlt_expect_states(struct kunit *test, const char *states);
void dlt_field_desc(const struct dlt_field *field, char *desc);
int dlt_init(struct kunit *test);
void dlt_come_back(void);
void dlt_exit(struct kunit *test);

#endif /* _LIVEUPDATE_KUNIT_H */
