// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the device layer of live update
 *
 * There is one device layer in a kernel, and these tests use it in both of its
 * roles, without the state machine.
 *
 * The outgoing kernel
 *   Devices of a bus of the tests are requested, and the steps of the participant
 *   are called as the state machine calls them. Every callback is written to a log
 *   of text, so that what happened and in which order is one string. A device
 *   can be told to fail in a callback, or to do something else there.
 *
 * The jump
 *   dlu_jump() copies table, blocks and blobs as they are when everything is frozen,
 *   then thaws and cancels, and removes all devices. The copies are what the
 *   incoming kernel finds, after a test has done damage to them.
 *   kho_is_restorable() and kho_restore_free() are replaced for the test: only the
 *   copies can be read, and only until they are freed, once.
 *
 * The incoming kernel
 *   RESTORE reads the copies. Devices appear and are probed, and FINISH is called.
 *
 * Whatever a test leaves behind, also one that failed halfway, is undone by
 * dlu_exit(). A test fails if the kernel warns meanwhile.
 *
 * A device of the tests saves a blob with its name in it, or a plain value. In logs
 * each callback is " callback:device". "blob:device", "block0" and "table" say what
 * was freed.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kernfs.h>
#include <linux/kthread.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/fault.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/liveupdate/retained.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/pm_runtime.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../base.h"

#define DLU_LOG_LEN		4096
#define DLU_VALUE		0xfedcba9876543210ULL
#define DLU_RECORD		sizeof(struct device_liveupdate_ser)
#define DLU_PER_BLOCK		((unsigned int)KHO_TABLE_PER_BLOCK(DLU_RECORD))

/* Drivers; the first three are bits in &dlu_device.drivers. */
enum dlu_driver {
	DLU_ONE,
	DLU_OTHER,
	DLU_PLAIN,
	DLU_SECOND,
	DLU_FOREIGN,
	DLU_NR_DRIVERS,
};

/**
 * struct dlu_device - a device that does what the test says
 * @dev: the device.
 * @list: entry in &dlu.devices.
 * @between: device without a bus between it and its parent, or NULL.
 * @depends: what its bus says it depends on.
 * @id: identity.
 * @fingerprint: fingerprint.
 * @drivers: drivers it matches.
 * @bridge: it only connects others.
 * @blob: it saves a blob.
 * @silent: its driver does not ask for what was handed over.
 * @declines: its driver declines what it asked for.
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
struct dlu_device {
	struct device dev;
	struct list_head list;
	struct device *between;
	struct dlu_device *depends[2];
	char id[DEVICE_LIVEUPDATE_ID_LEN];
	char fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
	unsigned long drivers;
	bool bridge;
	bool blob;
	bool silent;
	bool declines;
	unsigned int defer;
	const char *unsupported;
	const char *fail;
	const char *hook_at;
	void (*hook)(struct dlu_device *dlu_dev);
	struct dlu_device *context;
	struct liveupdate_data received;
	char text[DEVICE_LIVEUPDATE_ID_LEN];
	u32 version;
	bool gone;
};

/**
 * struct dlu_memory - memory that was handed over
 * @list: entry in &dlu.memory.
 * @mem: where it is.
 * @size: how long it is.
 * @name: what the log calls it.
 * @freed: the incoming kernel freed it.
 */
struct dlu_memory {
	struct list_head list;
	void *mem;
	size_t size;
	char name[DEVICE_LIVEUPDATE_ID_LEN + 8];
	bool freed;
};

/**
 * struct dlu - what every test starts with
 * @test: the test.
 * @root: what devices without another parent hang on.
 * @devices: all devices, in the order in which they came.
 * @data: data of the participant in the outgoing kernel.
 * @handed: the same in the incoming kernel, from dlu_jump() on.
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
static struct dlu {
	struct kunit *test;
	struct device *root;
	struct list_head devices;
	struct liveupdate_data data;
	struct liveupdate_data handed;
	struct list_head memory;
	struct mutex lock;	/* the log */
	struct seq_buf log;
	char text[DLU_LOG_LEN];
	char want[DLU_LOG_LEN];
	struct seq_buf released;
	char released_text[DLU_LOG_LEN];
	bool tainted;
	unsigned int rogue;
} *dlu;

/* What the steps are called with; nobody looks into it outside of the machine. */
static struct liveupdate_subsystem dlu_subsystem;

#define DLU_BUS		"liveupdate-kunit"

static struct dlu_device *to_dlu_device(struct device *dev)
{
	return container_of(dev, struct dlu_device, dev);
}

#define dlu_log(...)							\
	do {								\
		guard(mutex)(&dlu->lock);				\
		seq_buf_printf(&dlu->log, __VA_ARGS__);			\
	} while (0)

static void dlu_clear_log(void)
{
	guard(mutex)(&dlu->lock);
	seq_buf_clear(&dlu->log);
}

/* Expects that this was logged since the last time, in as many parts as it takes. */
#define dlu_expect(_test, ...)						\
	dlu_expect_parts(_test, (const char *const []){ __VA_ARGS__, NULL })

static void dlu_expect_parts(struct kunit *test, const char *const *parts)
{
	struct seq_buf want;

	/* What needs a device that is quarantined is so a little later. */
	device_liveupdate_flush();
	seq_buf_init(&want, dlu->want, DLU_LOG_LEN);
	while (*parts)
		seq_buf_puts(&want, *parts++);
	scoped_guard(mutex, &dlu->lock) {
		KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&dlu->log));
		KUNIT_EXPECT_STREQ(test, seq_buf_str(&dlu->log),
				   seq_buf_str(&want));
	}
	dlu_clear_log();
}

/* The bus and its drivers. */

static int dlu_call(struct device *dev, const char *call)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);

	dlu_log(" %s:%s", call, dev_name(dev));
	if (dlu_dev->hook && !strcmp(dlu_dev->hook_at, call))
		dlu_dev->hook(dlu_dev);

	return dlu_dev->fail && !strcmp(dlu_dev->fail, call) ? -EIO : 0;
}

static int dlu_identify(struct device *dev, struct device_liveupdate_id *id)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);

	memcpy(id->id, dlu_dev->id, sizeof(id->id));
	memcpy(id->fingerprint, dlu_dev->fingerprint, sizeof(id->fingerprint));

	/* Next comes memory to note something of the device. */
	if (dlu_dev->fail && !strcmp(dlu_dev->fail, "note")) {
		dlu_dev->fail = NULL;
		liveupdate_fault_begin(&(struct liveupdate_fault){ .nth = 1 });
	}

	/* Called too often for the log. */
	return dlu_dev->fail && !strcmp(dlu_dev->fail, "identify") ? -EIO : 0;
}

/* The test may say so: the first character of the fingerprint is irrelevant. */
static bool dlu_match(struct device *dev, const struct device_liveupdate_id *id,
		      const struct device_liveupdate_id *handed)
{
	KUNIT_EXPECT_STREQ(dlu->test, id->id, handed->id);

	return !memcmp(id->fingerprint + 1, handed->fingerprint + 1,
		       sizeof(id->fingerprint) - 1);
}

static int dlu_supported(struct device *dev, const char **reason)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);

	KUNIT_EXPECT_FALSE(dlu->test, dev->p->dead);
	if (!dlu_dev->unsupported)
		return 0;
	*reason = dlu_dev->unsupported;

	return -EPERM;
}

static bool dlu_is_bridge(struct device *dev)
{
	return to_dlu_device(dev)->bridge;
}

static int dlu_dependencies(struct device *dev,
			    int (*add)(struct device *dependency, void *context),
			    void *context)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);
	int err = 0;

	KUNIT_EXPECT_FALSE(dlu->test, dev->p->dead);
	if (dlu_dev->hook && !strcmp(dlu_dev->hook_at, "dependencies"))
		dlu_dev->hook(dlu_dev);
	for (int i = 0; i < ARRAY_SIZE(dlu_dev->depends) && !err; i++)
		if (dlu_dev->depends[i])
			err = add(&dlu_dev->depends[i]->dev, context);

	return err;
}

static int dlu_bus_prepare(struct device *dev)
{
	return dlu_call(dev, "bus-prepare");
}

static int dlu_bus_freeze(struct device *dev)
{
	return dlu_call(dev, "bus-freeze");
}

static void dlu_bus_thaw(struct device *dev)
{
	dlu_call(dev, "bus-thaw");
}

static void dlu_bus_cancel(struct device *dev)
{
	dlu_call(dev, "bus-cancel");
}

static int dlu_keep_path(struct device *dev, bool on)
{
	return dlu_call(dev, on ? "path-on" : "path-off");
}

static int dlu_quarantine(struct device *dev)
{
	return dlu_call(dev, "quarantine");
}

static void dlu_stop(struct device *dev)
{
	dlu_call(dev, "stop");
}

static const struct bus_liveupdate_ops dlu_bus_ops_default = {
	.identify	= dlu_identify,
	.supported	= dlu_supported,
	.is_bridge	= dlu_is_bridge,
	.dependencies	= dlu_dependencies,
	.prepare	= dlu_bus_prepare,
	.freeze		= dlu_bus_freeze,
	.thaw		= dlu_bus_thaw,
	.cancel		= dlu_bus_cancel,
	.keep_path	= dlu_keep_path,
	.quarantine	= dlu_quarantine,
	.stop		= dlu_stop,
};

/* Tests may change it until they end. */
static struct bus_liveupdate_ops dlu_bus_ops;

static int dlu_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);
	char *blob;

	if (dlu_dev->blob) {
		blob = liveupdate_data_alloc(data, strlen(dlu_dev->id) + 1);
		if (IS_ERR(blob))
			return PTR_ERR(blob);
		strscpy(blob, dlu_dev->id, data->size);
	} else {
		data->value = DLU_VALUE;
	}

	/* Fails late: what was allocated is freed for it. */
	return dlu_call(dev, "prepare");
}

static int dlu_freeze(struct device *dev, const struct liveupdate_data *data)
{
	return dlu_call(dev, "freeze");
}

static void dlu_freeze_late(struct device *dev, const struct liveupdate_data *data)
{
	dlu_call(dev, "freeze-late");
}

static void dlu_thaw(struct device *dev, const struct liveupdate_data *data)
{
	dlu_call(dev, "thaw");
}

static void dlu_cancel(struct device *dev, const struct liveupdate_data *data)
{
	KUNIT_EXPECT_EQ(dlu->test, to_dlu_device(dev)->blob, data->size != 0);
	dlu_call(dev, "cancel");
}

static void dlu_finish(struct device *dev, const struct liveupdate_data *data)
{
	dlu_call(dev, "finish");
}

static int dlu_probe(struct device *dev)
{
	struct dlu_device *dlu_dev = to_dlu_device(dev);
	const struct liveupdate_data *data;
	int err;

	err = dlu_call(dev, "probe");
	if (err)
		return err;
	if (dlu_dev->defer) {
		dlu_dev->defer--;
		return -EPROBE_DEFER;
	}
	if (dlu_dev->silent)
		return 0;

	data = device_liveupdate_adopt(dev, &dlu_dev->version);
	if (!data)
		return 0;
	dlu_dev->received = *data;
	if (data->size)
		strscpy(dlu_dev->text, liveupdate_data_blob(data));

	if (dlu_dev->declines)
		device_liveupdate_decline(dev);

	return dlu_call(dev, "adopt");
}

static int dlu_remove(struct device *dev)
{
	dlu_call(dev, "remove");

	return 0;
}

static int dlu_bus_match(struct device *dev, const struct device_driver *drv);

static const struct bus_type dlu_bus = {
	.name		= DLU_BUS,
	.match		= dlu_bus_match,
	.probe		= dlu_probe,
	.liveupdate	= &dlu_bus_ops,
	.driver_override = true,
};

static const struct bus_type dlu_second_bus = {
	.name		= "liveupdate-kunit-2",
	.probe		= dlu_probe,
	.liveupdate	= &dlu_bus_ops,
};

/* Knows nothing of live update. */
static const struct bus_type dlu_foreign_bus = {
	.name		= "liveupdate-kunit-f",
	.probe		= dlu_probe,
};

static void dlu_bus_shutdown(struct device *dev)
{
}

/* Acts on devices without a driver, too. */
static const struct bus_type dlu_shutdown_bus = {
	.name		= "liveupdate-kunit-s",
	.shutdown	= dlu_bus_shutdown,
};

static int dlu_class_shutdown(struct device *dev)
{
	return 0;
}

static const struct class dlu_shutdown_class = {
	.name		= "liveupdate-kunit-s",
	.shutdown_pre	= dlu_class_shutdown,
};

static const struct class dlu_class = {
	.name		= DLU_BUS,
};

/* Tests may change it, as the above. */
static struct dev_liveupdate_ops dlu_ops[DLU_PLAIN];

static const struct dev_liveupdate_ops dlu_ops_default = {
	.compatible	= "kunit,one",
	.version	= 3,
	.oldest		= 2,
	.prepare	= dlu_prepare,
	.freeze		= dlu_freeze,
	.thaw		= dlu_thaw,
	.cancel		= dlu_cancel,
	.finish		= dlu_finish,
};

#define DLU_DRIVER(_name, _bus, _ops)					\
	{								\
		.name		= _name,				\
		.owner		= THIS_MODULE,				\
		.bus		= _bus,					\
		.probe_type	= PROBE_FORCE_SYNCHRONOUS,		\
		.remove		= dlu_remove,				\
		.liveupdate	= _ops,					\
	}

static struct device_driver dlu_drivers[DLU_NR_DRIVERS] = {
	[DLU_ONE] = DLU_DRIVER("dlu-one", &dlu_bus, &dlu_ops[DLU_ONE]),
	[DLU_OTHER] = DLU_DRIVER("dlu-other", &dlu_bus, &dlu_ops[DLU_OTHER]),
	[DLU_PLAIN] = DLU_DRIVER("dlu-plain", &dlu_bus, NULL),
	[DLU_SECOND] = DLU_DRIVER("dlu-second", &dlu_second_bus, &dlu_ops[DLU_ONE]),
	[DLU_FOREIGN] = DLU_DRIVER("dlu-foreign", &dlu_foreign_bus, NULL),
};

static bool dlu_registered[DLU_NR_DRIVERS];

static int dlu_bus_match(struct device *dev, const struct device_driver *drv)
{
	int ret = device_match_driver_override(dev, drv);

	if (ret >= 0)
		return ret;

	return !!(to_dlu_device(dev)->drivers & BIT(drv - dlu_drivers));
}

static int dlu_register(enum dlu_driver driver)
{
	int err = driver_register(&dlu_drivers[driver]);

	dlu_registered[driver] = !err;

	return err;
}

static void dlu_unregister(enum dlu_driver driver)
{
	if (dlu_registered[driver])
		driver_unregister(&dlu_drivers[driver]);
	dlu_registered[driver] = false;
}

static bool dlu_driven_by(const struct dlu_device *dlu_dev, enum dlu_driver driver)
{
	return dlu_dev->dev.driver == &dlu_drivers[driver];
}

/* Devices. */

static void dlu_release(struct device *dev)
{
	kfree(to_dlu_device(dev));
}

static void dlu_release_between(struct device *dev)
{
	kfree(dev);
}

/*
 * The fingerprint is compared as a whole, so nothing of an earlier one may stay
 * behind the end of the string. How much strscpy() writes there depends on the
 * configuration.
 */
static void dlu_set_identity(struct dlu_device *dlu_dev, const char *id)
{
	strscpy_pad(dlu_dev->id, id);
	strscpy_pad(dlu_dev->fingerprint, id);
}

/* A device that does not exist yet. The test has a reference until it ends. */
static struct dlu_device *dlu_new(struct kunit *test, const char *name,
				  struct dlu_device *parent)
{
	struct dlu_device *dlu_dev = kzalloc_obj(*dlu_dev);

	KUNIT_ASSERT_NOT_NULL(test, dlu_dev);
	device_initialize(&dlu_dev->dev);
	dlu_dev->dev.release = dlu_release;
	dlu_dev->dev.bus = &dlu_bus;
	dlu_dev->dev.parent = parent ? &parent->dev : dlu->root;
	dlu_dev->drivers = BIT(DLU_ONE);
	dlu_dev->blob = true;
	dlu_dev->gone = true;
	dlu_set_identity(dlu_dev, name);
	list_add_tail(&dlu_dev->list, &dlu->devices);
	KUNIT_ASSERT_EQ(test, 0, dev_set_name(&dlu_dev->dev, "%s", name));

	return dlu_dev;
}

static void dlu_add(struct kunit *test, struct dlu_device *dlu_dev)
{
	KUNIT_ASSERT_EQ(test, 0, device_add(&dlu_dev->dev));
	dlu_dev->gone = false;
}

static struct dlu_device *dlu_make(struct kunit *test, const char *name,
				   struct dlu_device *parent)
{
	struct dlu_device *dlu_dev = dlu_new(test, name, parent);

	dlu_add(test, dlu_dev);

	return dlu_dev;
}

/* A device that connects others. */
static struct dlu_device *dlu_make_bridge(struct kunit *test, const char *name,
					  struct dlu_device *parent)
{
	struct dlu_device *dlu_dev = dlu_new(test, name, parent);

	dlu_dev->bridge = true;
	dlu_dev->drivers = BIT(DLU_PLAIN);
	dlu_add(test, dlu_dev);

	return dlu_dev;
}

/* With a device without a bus in between, which may have a class. */
static struct dlu_device *dlu_make_below(struct kunit *test, const char *name,
					 struct dlu_device *parent,
					 const struct class *class)
{
	struct dlu_device *dlu_dev = dlu_new(test, name, parent);
	struct device *between = kzalloc_obj(*between);

	KUNIT_ASSERT_NOT_NULL(test, between);
	device_initialize(between);
	between->release = dlu_release_between;
	between->class = class;
	between->parent = &parent->dev;
	KUNIT_ASSERT_EQ(test, 0, dev_set_name(between, "above-%s", name));
	KUNIT_ASSERT_EQ(test, 0, device_add(between));
	dlu_dev->between = between;
	dlu_dev->dev.parent = between;
	dlu_add(test, dlu_dev);

	return dlu_dev;
}

static struct dlu_device *dlu_make_foreign(struct kunit *test, const char *name,
					   struct dlu_device *parent)
{
	struct dlu_device *dlu_dev = dlu_new(test, name, parent);

	dlu_dev->dev.bus = &dlu_foreign_bus;
	dlu_add(test, dlu_dev);

	return dlu_dev;
}

/* On another bus that knows of live update, but with identity "a". */
static struct dlu_device *dlu_make_second(struct kunit *test, const char *name)
{
	struct dlu_device *dlu_dev = dlu_new(test, name, NULL);

	dlu_dev->dev.bus = &dlu_second_bus;
	strscpy_pad(dlu_dev->id, "a");
	dlu_add(test, dlu_dev);

	return dlu_dev;
}

static void dlu_del(struct dlu_device *dlu_dev)
{
	if (!dlu_dev->gone)
		device_del(&dlu_dev->dev);
	dlu_dev->gone = true;
	if (dlu_dev->between)
		device_unregister(dlu_dev->between);
	dlu_dev->between = NULL;
}

/* All devices disappear, those below others first. */
static void dlu_del_all(void)
{
	struct dlu_device *dlu_dev;

	list_for_each_entry_reverse(dlu_dev, &dlu->devices, list)
		dlu_del(dlu_dev);
}

static void dlu_request(struct kunit *test, struct dlu_device *dlu_dev)
{
	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&dlu_dev->dev, true));
}

/* Three devices in a row, of which the first one is a bridge. */
struct dlu_chain {
	struct dlu_device *bridge;
	struct dlu_device *a;
	struct dlu_device *b;
};

static struct dlu_chain dlu_make_chain(struct kunit *test)
{
	struct dlu_chain chain;

	chain.bridge = dlu_make_bridge(test, "bridge", NULL);
	chain.a = dlu_make(test, "a", chain.bridge);
	chain.b = dlu_make(test, "b", chain.a);
	chain.b->blob = false;

	return chain;
}

/* The steps of the outgoing kernel. */

static int dlu_do_prepare(void)
{
	return device_liveupdate_prepare(&dlu_subsystem, &dlu->data);
}

static int dlu_do_freeze(void)
{
	return device_liveupdate_freeze(&dlu_subsystem, &dlu->data);
}

static void dlu_do_thaw(void)
{
	device_liveupdate_thaw(&dlu_subsystem, &dlu->data);
}

static void dlu_do_cancel(void)
{
	device_liveupdate_cancel(&dlu_subsystem, &dlu->data);
}

/* Expects that nothing is left of a prepare. */
static void dlu_expect_idle(struct kunit *test)
{
	struct dlu_device *dlu_dev;

	KUNIT_EXPECT_FALSE(test, dlu_outgoing.closed);
	KUNIT_EXPECT_FALSE(test, dlu_outgoing.broken);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.set));
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, 0);
	KUNIT_EXPECT_EQ(test, dlu->data.size, 0);
	KUNIT_EXPECT_EQ(test, dlu->data.value, 0);
	list_for_each_entry(dlu_dev, &dlu->devices, list) {
		struct device_liveupdate *liveupdate = dlu_dev->dev.liveupdate;

		if (!liveupdate)
			continue;
		KUNIT_EXPECT_TRUE(test, list_empty(&liveupdate->member));
		KUNIT_EXPECT_EQ(test, liveupdate->phase, DEVICE_LIVEUPDATE_IDLE);
		KUNIT_EXPECT_EQ(test, liveupdate->data.size, 0);
		KUNIT_EXPECT_FALSE(test, mutex_is_locked(&liveupdate->lock));
	}
}

/* Expects this set, providers first, with a slash behind those on the path. */
static void dlu_expect_set(struct kunit *test, const char *want)
{
	struct device_liveupdate *liveupdate;
	unsigned int nr_set = 0;

	dlu_clear_log();
	list_for_each_entry(liveupdate, &dlu_outgoing.set, member) {
		dlu_log(" %s%s", dev_name(liveupdate->dev),
			liveupdate->path ? "/" : "");
		nr_set++;
	}
	dlu_expect(test, want);
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, nr_set);
}

/* What was said of the last failure of a device. */
static struct {
	char device[LIVEUPDATE_DEVICE_LEN];
	char reason[LIVEUPDATE_REASON_LEN];
	int error;
} dlu_failure;

/* In place of liveupdate_report_failure() and liveupdate_invalidate(). */
static void dlu_report(struct liveupdate_subsystem *subsystem, int error,
		       const char *device, const char *reason)
{
	strscpy(dlu_failure.device, device);
	strscpy(dlu_failure.reason, reason);
	dlu_failure.error = error;
}

/* Which device it was, without its bus. */
static const char *dlu_failed(void)
{
	char *colon = strchr(dlu_failure.device, ':');

	return colon ? colon + 1 : "";
}

/* Expects that the last failure is this one. */
static void dlu_expect_failed(struct kunit *test, const char *name, int error,
			      const char *reason)
{
	KUNIT_EXPECT_STREQ(test, dlu_failed(), name);
	KUNIT_EXPECT_EQ(test, dlu_failure.error, error);
	if (reason)
		KUNIT_EXPECT_STREQ(test, dlu_failure.reason, reason);
}

/* Expects that prepare fails and leaves nothing behind. */
static void dlu_expect_refused(struct kunit *test, const char *name, int error,
			       const char *reason)
{
	KUNIT_EXPECT_EQ(test, dlu_do_prepare(), error);
	dlu_expect_failed(test, name, error, reason);
	dlu_expect(test, "");
	dlu_expect_idle(test);
}

/* The jump. */

static struct dlu_memory *dlu_find_memory(phys_addr_t phys)
{
	struct dlu_memory *memory;

	list_for_each_entry(memory, &dlu->memory, list)
		if (virt_to_phys(memory->mem) == phys)
			return memory;

	return NULL;
}

static bool dlu_handed_over(phys_addr_t phys, size_t size)
{
	struct dlu_memory *memory = dlu_find_memory(phys);

	return memory && !memory->freed && size <= memory->size;
}

static void dlu_free(void *mem)
{
	struct dlu_memory *memory = dlu_find_memory(virt_to_phys(mem));

	if (!memory || memory->freed) {
		dlu->rogue++;
		return;
	}
	memory->freed = true;
	if (strncmp(memory->name, "block", 5) && strcmp(memory->name, "table"))
		dlu_log(" %s", memory->name);
	else
		seq_buf_printf(&dlu->released, " %s", memory->name);
}

/* Expects that these parts of the table were freed. */
static void dlu_expect_released(struct kunit *test, const char *want)
{
	KUNIT_EXPECT_STREQ(test, seq_buf_str(&dlu->released), want);
	seq_buf_clear(&dlu->released);
}

static void dlu_release_table(struct kunit *test, const char *want)
{
	dlu_expect_released(test, "");
	device_liveupdate_release_table();
	dlu_expect_released(test, want);
}

/* A copy of what the outgoing kernel left, at an address of its own. */
static u64 dlu_copy(struct kunit *test, u64 phys, size_t size, const char *name)
{
	struct dlu_memory *memory;

	memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->mem = kunit_kzalloc(test, size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory->mem);
	memcpy(memory->mem, phys_to_virt(phys), size);
	memory->size = size;
	strscpy(memory->name, name);
	list_add_tail(&memory->list, &dlu->memory);

	return virt_to_phys(memory->mem);
}

static struct kho_table_ser *dlu_table(void)
{
	return phys_to_virt(dlu->handed.value);
}

static struct kho_block_header_ser *dlu_block(unsigned int index)
{
	return kho_kunit_block(dlu_table(), index);
}

static struct device_liveupdate_ser *dlu_ser(unsigned int index)
{
	return (void *)(kho_kunit_entry(dlu_table(), DLU_RECORD, index) + 1);
}

/* Correct the checksums of what a test has changed. */
static void dlu_seal(void)
{
	kho_kunit_seal(dlu_table(), DLU_RECORD);
}

/* Copy the blocks and the blobs, and lead the table to the copies. */
static void dlu_copy_records(struct kunit *test)
{
	struct kho_table_ser *table = dlu_table();
	char name[DEVICE_LIVEUPDATE_ID_LEN + 8];

	for (unsigned int i = 0; i < table->nr_blocks; i++) {
		snprintf(name, sizeof(name), "block%u", i);
		table->blocks[i].phys = dlu_copy(test, table->blocks[i].phys,
						 KHO_BLOCK_SIZE, name);
	}
	for (unsigned int i = 0; i < table->nr_records; i++) {
		struct device_liveupdate_ser *ser = dlu_ser(i);

		if (ser->flags & DEVICE_LIVEUPDATE_SER_BLOB) {
			snprintf(name, sizeof(name), "blob:%s", ser->id);
			ser->value = dlu_copy(test, ser->value, ser->size, name);
		}
	}
}

static size_t dlu_nr_requested(void)
{
	return list_count_nodes(&dlu_outgoing.requested);
}

/* From a prepared kernel to one where nothing has appeared yet. */
static void dlu_jump(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu->handed.size = dlu->data.size;
	dlu->handed.value = dlu_copy(test, dlu->data.value, PAGE_SIZE, "table");
	KUNIT_ASSERT_EQ(test, dlu->data.size, struct_size(dlu_table(), blocks,
							  dlu_table()->nr_blocks));
	dlu_copy_records(test);
	dlu_seal();

	dlu_do_thaw();
	dlu_do_cancel();
	dlu_del_all();
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
	dlu_clear_log();
}

static int dlu_do_restore(void)
{
	return device_liveupdate_restore(&dlu_subsystem, &dlu->handed);
}

static void dlu_do_finish(void)
{
	device_liveupdate_finish(&dlu_subsystem, &dlu->handed);
	device_liveupdate_flush();
	wait_for_device_probe();
}

/* What device_shutdown() asks of every device. */
static void dlu_go_down(void)
{
	struct dlu_device *dlu_dev;

	list_for_each_entry_reverse(dlu_dev, &dlu->devices, list) {
		guard(device)(&dlu_dev->dev);
		KUNIT_EXPECT_FALSE(dlu->test,
				   device_liveupdate_shutdown(&dlu_dev->dev));
	}
}

/* The next kernel boots; so far only the table was read. */
static void dlu_boot(struct kunit *test)
{
	/* Once, or what was read would be lost. */
	KUNIT_ASSERT_NULL(test, dlu_incoming.records);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
	dlu_clear_log();
}

static void dlu_expect_retained(struct kunit *test, const char *want)
{
	char ids[128];

	liveupdate_retained_ids(ids, sizeof(ids));
	KUNIT_EXPECT_STREQ(test, ids, want);
}

static int dlu_forget(const char *name)
{
	return device_liveupdate_forget_retained(&dlu_subsystem, name);
}

/* Drop what restore read, so that it can be tried again. */
static void dlu_unboot(void)
{
	struct dlu_memory *memory;

	dlu_incoming.awaiting = false;
	device_liveupdate_forget();
	dlu_forget("records");
	list_for_each_entry(memory, &dlu->memory, list)
		memory->freed = false;
	seq_buf_clear(&dlu->released);
	dlu_clear_log();
}

/* Hands over one device, "a", which is driven by @driver. */
static void dlu_jump_one(struct kunit *test, enum dlu_driver driver)
{
	struct dlu_device *a = dlu_new(test, "a", NULL);

	a->drivers = BIT(driver);
	dlu_add(test, a);
	dlu_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	dlu_boot(test);
}

static void dlu_jump_chain(struct kunit *test)
{
	dlu_request(test, dlu_make_chain(test).b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
}

static enum device_liveupdate_fate dlu_fate(unsigned int index)
{
	return dlu_incoming.records[index].fate;
}

#define dlu_expect_fate(_test, _index, _fate)				\
	KUNIT_EXPECT_EQ(_test, dlu_fate(_index), DEVICE_LIVEUPDATE_##_fate)

/* Fixture. */

static int dlu_register_all(void)
{
	int err;

	dlu->root = root_device_register("liveupdate-kunit");
	if (IS_ERR(dlu->root))
		return PTR_ERR(dlu->root);
	for (int i = 0; i < DLU_NR_DRIVERS; i++) {
		err = dlu_register(i);
		if (err)
			return err;
	}

	return 0;
}

static int dlu_init(struct kunit *test)
{
	if (!kho_is_enabled() || !device_liveupdate_may_free())
		kunit_skip(test, "live update is off, boot with kho=on liveupdate=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    dlu_nr_requested() || dlu_incoming.nr_records)
		kunit_skip(test, "a live update is under way");

	dlu = kunit_kzalloc(test, sizeof(*dlu), GFP_KERNEL);
	if (!dlu)
		return -ENOMEM;
	dlu->test = test;
	INIT_LIST_HEAD(&dlu->devices);
	INIT_LIST_HEAD(&dlu->memory);
	mutex_init(&dlu->lock);
	seq_buf_init(&dlu->log, dlu->text, DLU_LOG_LEN);
	seq_buf_init(&dlu->released, dlu->released_text, DLU_LOG_LEN);
	dlu->tainted = test_taint(TAINT_WARN);
	test->priv = dlu;

	dlu_bus_ops = dlu_bus_ops_default;
	for (int i = 0; i < DLU_PLAIN; i++)
		dlu_ops[i] = dlu_ops_default;
	dlu_ops[DLU_OTHER].compatible = "kunit,other";
	dlu_drivers[DLU_ONE].probe_type = PROBE_FORCE_SYNCHRONOUS;

	kunit_activate_static_stub(test, kho_is_restorable, dlu_handed_over);
	kunit_activate_static_stub(test, kho_restore_free, dlu_free);
	kunit_activate_static_stub(test, liveupdate_report_failure, dlu_report);
	kunit_activate_static_stub(test, liveupdate_invalidate, dlu_report);

	return dlu_register_all();
}

/* As if device_shutdown() had not come to the devices yet. */
static void dlu_come_back(void)
{
	struct dlu_device *dlu_dev;

	list_for_each_entry(dlu_dev, &dlu->devices, list) {
		struct device_liveupdate *liveupdate = dlu_dev->dev.liveupdate;

		if (!liveupdate || !liveupdate->passed)
			continue;
		liveupdate->passed = false;
		liveupdate->phase = DEVICE_LIVEUPDATE_FROZEN;
	}
}

/* Leaves the layer as it was, wherever the test ended. */
static void dlu_exit(struct kunit *test)
{
	struct dlu_device *dlu_dev, *tmp;

	if (!test->priv)
		return;

	if (dlu_outgoing.closed) {
		dlu_come_back();
		dlu_do_thaw();
		dlu_do_cancel();
	}
	device_liveupdate_flush();
	wait_for_device_probe();
	dlu_del_all();
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.requested));
	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++)
		KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records[i].dev, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
	dlu_incoming.awaiting = false;
	device_liveupdate_forget();
	dlu_forget("records");
	dlu_expect_retained(test, "");

	for (int i = 0; i < DLU_NR_DRIVERS; i++)
		dlu_unregister(i);
	device_link_wait_removal();
	list_for_each_entry_safe(dlu_dev, tmp, &dlu->devices, list) {
		list_del(&dlu_dev->list);
		if (dlu_dev->dev.liveupdate)
			KUNIT_EXPECT_PTR_EQ(test, dlu_dev->dev.liveupdate->incoming,
					    NULL);
		KUNIT_EXPECT_EQ(test, kref_read(&dlu_dev->dev.kobj.kref), 1);
		put_device(&dlu_dev->dev);
	}
	if (!IS_ERR_OR_NULL(dlu->root))
		root_device_unregister(dlu->root);
	KUNIT_EXPECT_EQ(test, dlu->rogue, 0);
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), dlu->tainted);
}

/* 1. Requests. */

/**
 * struct dlu_refusal - why a device cannot be requested
 * @about: name of the case.
 * @error: error.
 * @reason: reason that is reported.
 * @ops: what the driver says, or NULL for one without live update.
 * @unbound: no driver is bound.
 * @unsupported: reason of the bus.
 * @fail: callback of the bus that fails.
 * @id: what the bus says, or NULL.
 */
struct dlu_refusal {
	const char *about;
	int error;
	const char *reason;
	const struct dev_liveupdate_ops *ops;
	bool unbound;
	const char *unsupported;
	const char *fail;
	const char *id;
};

#define DLU_OPS(_compatible, _version, _oldest)				\
	(&(const struct dev_liveupdate_ops) {				\
		.compatible = _compatible, .version = _version,		\
		.oldest = _oldest,					\
	})
#define DLU_BADLY	"its driver describes itself badly"
#define DLU_NO_IDENTITY	"its bus cannot identify it"

#define DLU_32		"0123456789abcdef0123456789abcdef"

static const struct dlu_refusal dlu_refusals[] = {
	{ "no driver", -EOPNOTSUPP, "no driver is bound", &dlu_ops_default,
	  .unbound = true },
	{ "driver without live update", -EOPNOTSUPP,
	  "its driver has no live update" },
	{ "no compatible", -EINVAL, DLU_BADLY, DLU_OPS(NULL, 1, 1) },
	{ "empty compatible", -EINVAL, DLU_BADLY, DLU_OPS("", 1, 1) },
	{ "space in compatible", -EINVAL, DLU_BADLY, DLU_OPS("kunit, one", 1, 1) },
	{ "control in compatible", -EINVAL, DLU_BADLY, DLU_OPS("kunit\x7f", 1, 1) },
	{ "no ASCII in compatible", -EINVAL, DLU_BADLY, DLU_OPS("kunit\xe9", 1, 1) },
	{ "compatible too long", -EINVAL, DLU_BADLY,
	  DLU_OPS(DLU_32 "0123456789abcdef", 1, 1) },
	{ "version 0", -EINVAL, DLU_BADLY, DLU_OPS("kunit", 0, 0) },
	{ "oldest 0", -EINVAL, DLU_BADLY, DLU_OPS("kunit", 1, 0) },
	{ "oldest above version", -EINVAL, DLU_BADLY, DLU_OPS("kunit", 1, 2) },
	{ "refused by the bus", -EPERM, "has a tail", &dlu_ops_default,
	  .unsupported = "has a tail" },
	{ "not identified", -EIO, DLU_NO_IDENTITY, &dlu_ops_default,
	  .fail = "identify" },
	{ "no identity", -EINVAL, DLU_NO_IDENTITY, &dlu_ops_default, .id = "" },
	{ "space in identity", -EINVAL, DLU_NO_IDENTITY, &dlu_ops_default,
	  .id = "a 1" },
	{ "identity not terminated", -EINVAL, DLU_NO_IDENTITY, &dlu_ops_default,
	  .id = DLU_32 DLU_32 },
};

static void dlu_refusal_desc(const struct dlu_refusal *refusal, char *desc)
{
	strscpy(desc, refusal->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dlu_refusal, dlu_refusals, dlu_refusal_desc);

/* Makes device "a" as the case says. */
static struct dlu_device *dlu_make_refused(struct kunit *test,
					   const struct dlu_refusal *refusal)
{
	struct dlu_device *a = dlu_new(test, "a", NULL);

	if (refusal->ops) {
		dlu_ops[DLU_ONE].compatible = refusal->ops->compatible;
		dlu_ops[DLU_ONE].version = refusal->ops->version;
		dlu_ops[DLU_ONE].oldest = refusal->ops->oldest;
	} else {
		a->drivers = BIT(DLU_PLAIN);
	}
	if (refusal->unbound)
		a->drivers = 0;
	a->unsupported = refusal->unsupported;
	a->fail = refusal->fail;
	if (refusal->id)
		memcpy(a->id, refusal->id,
		       min(strlen(refusal->id) + 1, sizeof(a->id)));
	dlu_add(test, a);

	return a;
}

static void dlu_request_refused_test(struct kunit *test)
{
	const struct dlu_refusal *refusal = test->param_value;
	struct dlu_device *a = dlu_make_refused(test, refusal);

	KUNIT_EXPECT_EQ(test, device_liveupdate_request(&a->dev, true),
			refusal->error);
	dlu_expect_failed(test, "a", refusal->error, refusal->reason);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
}

/* The same for a device that is only needed, which prepare finds out. */
static void dlu_needed_refused_test(struct kunit *test)
{
	const struct dlu_refusal *refusal = test->param_value;
	struct dlu_device *a = dlu_make_refused(test, refusal), *b;

	b = dlu_new(test, "b", a);
	b->drivers = BIT(DLU_OTHER);
	dlu_add(test, b);
	dlu_request(test, b);
	dlu_clear_log();
	/* What is not an identity is no name for the report. */
	KUNIT_EXPECT_EQ(test, dlu_do_prepare(), refusal->error);
	KUNIT_EXPECT_STREQ(test, dlu_failure.reason, refusal->reason);
	dlu_expect(test, "");
	dlu_expect_idle(test);
}

static void dlu_request_longest_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);

	dlu_ops[DLU_ONE].compatible = DLU_32 "0123456789abcde";
	strscpy_pad(a->id, DLU_32 DLU_32);
	KUNIT_EXPECT_EQ(test, strlen(a->id), DEVICE_LIVEUPDATE_ID_LEN - 1);
	dlu_request(test, a);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	KUNIT_EXPECT_STREQ(test, dlu_ser(0)->compatible, dlu_ops[DLU_ONE].compatible);
	KUNIT_EXPECT_STREQ(test, dlu_ser(0)->id, a->id);
}

static void dlu_request_count_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
	dlu_request(test, a);
	dlu_request(test, a);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
	dlu_request(test, b);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 2);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);

	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " b");
	KUNIT_EXPECT_EQ(test, -EBUSY, device_liveupdate_request(&a->dev, true));
	KUNIT_EXPECT_EQ(test, -EBUSY, device_liveupdate_request(&b->dev, false));
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
	dlu_do_cancel();
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&b->dev, false));
	dlu_expect_idle(test);

	/* Nothing is requested: nothing is handed over. */
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
	KUNIT_EXPECT_EQ(test, dlu->data.size, 0);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
	KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
	dlu_do_thaw();
	dlu_do_cancel();
}

/* What the file "reason" would say. */
static void dlu_expect_reason(struct kunit *test, struct dlu_device *dlu_dev, int error,
			      const char *want)
{
	struct device_liveupdate_id id;
	const char *reason = "none";

	KUNIT_EXPECT_EQ(test, error, dlu_check_request(&dlu_dev->dev, &id, &reason));
	KUNIT_EXPECT_STREQ(test, reason, want);
}

static void dlu_reason_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct device_liveupdate_id id;
	const char *reason;

	dlu_failure.error = 0;
	KUNIT_EXPECT_EQ(test, 0, dlu_check_request(&a->dev, &id, &reason));
	KUNIT_EXPECT_STREQ(test, id.id, "a");
	a->unsupported = "too old";
	dlu_expect_reason(test, a, -EPERM, "too old");
	a->unsupported = NULL;
	a->fail = "identify";
	dlu_expect_reason(test, a, -EIO, "its bus cannot identify it");
	a->fail = NULL;
	device_release_driver(&a->dev);
	dlu_expect_reason(test, a, -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE],
						      &a->dev));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_reason(test, a, -EBUSY, "the state is not normal");
	dlu_do_cancel();

	/* Nothing has changed by it. */
	KUNIT_EXPECT_EQ(test, dlu_failure.error, 0);
	KUNIT_EXPECT_NULL(test, a->dev.liveupdate);
}

static bool dlu_has_files(const struct dlu_device *dlu_dev)
{
	struct kernfs_node *node = kernfs_find_and_get(dlu_dev->dev.kobj.sd, "liveupdate");

	kernfs_put(node);

	return node;
}

/* Nobody may be asked about a driver while it is probed. */
static void dlu_no_files_hook(struct dlu_device *dlu_dev)
{
	KUNIT_EXPECT_FALSE(dlu->test, dlu_has_files(dlu_dev));
}

static void dlu_request_withdrawn_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	dlu_request(test, a);
	dlu_request(test, b);
	/* It goes with the device. */
	dlu_del(b);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
	KUNIT_EXPECT_FALSE(test, dlu_is_requested(&b->dev));
	KUNIT_EXPECT_EQ(test, kref_read(&b->dev.kobj.kref), 1);

	/* It does not go with the driver, but there is no prepare without it. */
	device_release_driver(&a->dev);
	KUNIT_EXPECT_TRUE(test, dlu_is_requested(&a->dev));
	dlu_clear_log();
	dlu_expect_refused(test, "a", -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_PLAIN],
						      &a->dev));
	dlu_clear_log();
	dlu_expect_refused(test, "a", -EOPNOTSUPP, "its driver has no live update");
	device_release_driver(&a->dev);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE],
						      &a->dev));
	KUNIT_EXPECT_TRUE(test, dlu_is_requested(&a->dev));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a");
	dlu_do_cancel();

	/* Without a driver it can still be withdrawn. */
	device_release_driver(&a->dev);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&dlu_outgoing.requested));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
}

/* The files of a requested device are there whether it has a driver or not. */
static void dlu_request_files_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);

	KUNIT_EXPECT_TRUE(test, dlu_has_files(a));
	device_release_driver(&a->dev);
	KUNIT_EXPECT_FALSE(test, dlu_has_files(a));
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE],
						      &a->dev));
	dlu_request(test, a);
	device_release_driver(&a->dev);
	KUNIT_EXPECT_TRUE(test, dlu_has_files(a));
	a->hook = dlu_no_files_hook;
	a->hook_at = "probe";
	a->fail = "probe";
	KUNIT_EXPECT_NE(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE],
						      &a->dev));
	KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
	KUNIT_EXPECT_TRUE(test, dlu_has_files(a));
	a->fail = NULL;
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_PLAIN],
						      &a->dev));
	KUNIT_EXPECT_TRUE(test, dlu_has_files(a));
}

static void dlu_same_identity_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	strscpy_pad(b->id, "a");
	dlu_request(test, a);
	dlu_request(test, b);
	dlu_clear_log();
	dlu_expect_refused(test, "a", -EEXIST,
			   "its identity is that of another device");
	strscpy_pad(b->id, "b");
	dlu_request(test, b);

	/* On another bus it is another device. */
	dlu_request(test, dlu_make_second(test, "c"));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b c");
}

/* 2. The set. */

static void dlu_set_test(struct kunit *test)
{
	struct dlu_device *bridge = dlu_make_bridge(test, "bridge", NULL);
	struct dlu_device *bridge2 = dlu_make_bridge(test, "bridge2", NULL);
	struct dlu_device *a = dlu_make(test, "a", bridge);
	struct dlu_device *managed = dlu_make(test, "managed", bridge2);
	struct dlu_device *stateless = dlu_make_foreign(test, "stateless", NULL);
	struct dlu_device *sync = dlu_make_foreign(test, "sync", NULL);
	struct dlu_device *needed = dlu_make(test, "needed", NULL);
	struct dlu_device *b;

	dlu_make(test, "sibling", bridge);
	dlu_make_foreign(test, "other-sibling", NULL);
	b = dlu_make_below(test, "b", a, &dlu_class);
	b->depends[0] = needed;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &managed->dev, 0));
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &stateless->dev,
						    DL_FLAG_STATELESS));
	/* There is no such link once a driver is bound. */
	device_release_driver(&bridge2->dev);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&bridge2->dev, &sync->dev,
						    DL_FLAG_SYNC_STATE_ONLY));

	dlu_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " bridge/ bridge2/ a managed needed b");
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
}

static void dlu_set_chain_test(struct kunit *test)
{
	dlu_request(test, dlu_make_chain(test).b);
	dlu_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect(test, " prepare:b bus-prepare:b prepare:a bus-prepare:a path-on:bridge");
	dlu_expect_set(test, " bridge/ a b");
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a");
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a bus-thaw:b thaw:b");
	dlu_do_cancel();
	dlu_expect(test, " path-off:bridge bus-cancel:a cancel:a bus-cancel:b cancel:b");
	dlu_expect_idle(test);
}

/* What handlers change is written down when the bus has frozen the device, and only then. */
static void dlu_freeze_late_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_ops[0].freeze_late = dlu_freeze_late;
	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu_expect(test,
		   " freeze:b bus-freeze:b freeze-late:b freeze:a bus-freeze:a freeze-late:a");
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a bus-thaw:b thaw:b");

	chain.b->fail = "bus-freeze";
	KUNIT_EXPECT_NE(test, 0, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-freeze:b thaw:b");
	dlu_do_cancel();
}

/* A bus and a driver with nothing but what is required. */
static void dlu_set_spartan_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_bus_ops = (struct bus_liveupdate_ops) {
		.identify	= dlu_identify,
		.is_bridge	= dlu_is_bridge,
		.quarantine	= dlu_quarantine,
	};
	dlu_ops[DLU_ONE] = (struct dev_liveupdate_ops) {
		.compatible	= "kunit,one",
		.version	= 1,
		.oldest		= 1,
	};
	dlu_request(test, chain.b);
	dlu_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " bridge/ a b");
	dlu_jump(test);
	KUNIT_EXPECT_EQ(test, dlu_ser(2)->value, 0);
	dlu_boot(test);
	dlu_make_chain(test);
	dlu_clear_log();
	dlu_do_finish();
	dlu_expect(test, "");
	dlu_bus_ops.is_bridge = NULL;
}

static void dlu_set_stops_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make_foreign(test, "a", NULL);
	struct dlu_device *b = dlu_make_below(test, "b", a, NULL);

	dlu_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " b");
}

/* What is on the path and requested, or needed otherwise, is preserved. */
static void dlu_set_both_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);
	struct dlu_device *c = dlu_make(test, "c", NULL);

	a->bridge = true;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &a->dev, 0));
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &b->dev, 0));
	c->depends[0] = b;
	dlu_request(test, c);
	dlu_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b c");
	dlu_do_cancel();

	/* In the other order, too: what comes later does not take it back. */
	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&c->dev, false));
	dlu_request(test, c);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b c");
	dlu_do_cancel();

	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a/ b c");
}

/* A supplier that forwards nothing is preserved, or nothing is. */
static void dlu_set_supplier_test(struct kunit *test)
{
	struct dlu_device *plain = dlu_new(test, "plain", NULL);
	struct dlu_device *a, *b;

	plain->drivers = BIT(DLU_PLAIN);
	dlu_add(test, plain);
	a = dlu_make(test, "a", NULL);
	b = dlu_make(test, "b", NULL);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &a->dev, 0));
	dlu_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b");
	dlu_do_cancel();

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &plain->dev, 0));
	dlu_clear_log();
	dlu_expect_refused(test, "plain", -EOPNOTSUPP, "its driver has no live update");
}

static void dlu_remove_other(struct dlu_device *dlu_dev)
{
	dlu_dev->hook = NULL;
	dlu_del(dlu_dev->depends[1]);
	dlu_dev->depends[1] = NULL;
}

/* A device of the set is removed while the set is closed: its bus is not asked any more. */
static void dlu_set_removed_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	dlu_request(test, a);
	dlu_request(test, b);
	a->depends[1] = b;
	a->hook_at = "dependencies";
	a->hook = dlu_remove_other;
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_prepare());
	dlu_expect(test, " remove:b");
	dlu_expect_failed(test, "b", -ENODEV, "it was removed meanwhile");
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a");
}

static void dlu_set_cycle_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	a->depends[0] = b;
	b->depends[0] = a;
	b->depends[1] = b;
	dlu_request(test, b);
	dlu_clear_log();
	/* Each would wait for the other one. */
	dlu_expect_refused(test, "a", -EINVAL, "it needs a device that comes after it");
	a->depends[0] = NULL;
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b");

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&b->dev, &a->dev, 0));
	KUNIT_EXPECT_NULL(test, device_link_add(&a->dev, &b->dev, 0));
}

#define DLU_CHILD \
	"not requested, but its shutdown would reach a device that is"

static void dlu_set_child_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_new(test, "b", a);
	struct dlu_device *c;

	/* A child that nothing drives does not matter. */
	b->drivers = 0;
	dlu_add(test, b);
	dlu_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a");
	dlu_do_cancel();

	KUNIT_ASSERT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_PLAIN],
						      &b->dev));
	dlu_clear_log();
	dlu_expect_refused(test, "b", -EBUSY, DLU_CHILD);

	/* One below a child that nothing drives matters as well. */
	device_release_driver(&b->dev);
	c = dlu_make(test, "grandchild", b);
	dlu_clear_log();
	dlu_expect_refused(test, "grandchild", -EBUSY, DLU_CHILD);
	dlu_del(c);

	/* So does a child that nothing drives if its bus acts on it all the same, */
	c = dlu_new(test, "driverless", b);
	c->dev.bus = &dlu_shutdown_bus;
	dlu_add(test, c);
	dlu_clear_log();
	dlu_expect_refused(test, "driverless", -EBUSY, DLU_CHILD);
	dlu_del(c);
	dlu_del(b);

	/* or if its class does. */
	c = dlu_make_below(test, "c1", a, &dlu_shutdown_class);
	device_release_driver(&c->dev);
	dlu_clear_log();
	dlu_expect_refused(test, "above-c1", -EBUSY, DLU_CHILD);
	dlu_del(c);
	dlu_clear_log();

	/* Nor does one below a bridge, which keeps others alive anyway. */
	a->bridge = true;
	c = dlu_make(test, "c", a);
	dlu_make(test, "d", a);
	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	dlu_request(test, c);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a/ c");
	dlu_do_cancel();
	dlu_clear_log();
}

/* The shutdown of a consumer calls what it is linked to. */
static void dlu_set_consumer_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *loose = dlu_make(test, "loose", NULL);
	struct dlu_device *user = dlu_make(test, "user", NULL);
	struct device_link *link;

	dlu_request(test, a);
	link = device_link_add(&loose->dev, &a->dev, DL_FLAG_STATELESS);
	KUNIT_ASSERT_NOT_NULL(test, link);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a");
	dlu_do_cancel();

	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&user->dev, &a->dev, 0));
	dlu_clear_log();
	dlu_expect_refused(test, "user", -EBUSY, DLU_CHILD);
	dlu_request(test, user);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a user");
	dlu_do_cancel();
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&user->dev, false));

	/* One that is only on the path forwards whatever reaches it. */
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev, false));
	a->bridge = true;
	dlu_request(test, dlu_make(test, "b", a));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a/ b");
	device_link_del(link);
}

/* A driver can be bound without a probe. */
static void dlu_bind_driver_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *child = dlu_new(test, "child", a);
	struct dlu_device *other = dlu_new(test, "other", NULL);

	child->drivers = 0;
	other->drivers = 0;
	dlu_add(test, child);
	dlu_add(test, other);
	dlu_request(test, a);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	for (int i = 0; i < 2; i++) {
		struct device *dev = i ? &child->dev : &other->dev;

		guard(device)(dev);
		dev->driver = &dlu_drivers[DLU_PLAIN];
		KUNIT_EXPECT_EQ(test, i ? -EBUSY : 0, device_bind_driver(dev));
		if (i)
			dev->driver = NULL;
	}
	KUNIT_EXPECT_FALSE(test, device_is_bound(&child->dev));
	KUNIT_EXPECT_TRUE(test, device_is_bound(&other->dev));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
	dlu_do_thaw();
	dlu_do_cancel();
	scoped_guard(device, &child->dev) {
		child->dev.driver = &dlu_drivers[DLU_PLAIN];
		KUNIT_EXPECT_EQ(test, 0, device_bind_driver(&child->dev));
	}
}

static void dlu_set_class_child_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make_below(test, "b", a, &dlu_class);

	dlu_request(test, a);
	dlu_clear_log();
	dlu_expect_refused(test, "b", -EBUSY, DLU_CHILD);
	dlu_request(test, b);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " a b");
}

#define DLU_NO_BUS "a preserved device needs it, but its bus has no live update"

static void dlu_set_foreign_test(struct kunit *test)
{
	struct dlu_device *foreign = dlu_make_foreign(test, "foreign", NULL);
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", foreign);

	dlu_request(test, b);
	dlu_clear_log();
	dlu_expect_refused(test, "foreign", -EOPNOTSUPP, DLU_NO_BUS);
	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&b->dev, false));

	dlu_request(test, a);
	a->depends[1] = foreign;
	dlu_expect_refused(test, "foreign", -EOPNOTSUPP, DLU_NO_BUS);
	a->depends[1] = NULL;
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &foreign->dev, 0));
	dlu_expect_refused(test, "foreign", -EOPNOTSUPP, DLU_NO_BUS);
}

/* 3. Order. */

static void dlu_order_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", a);
	struct dlu_device *c = dlu_make(test, "c", NULL);

	/* The order of requests does not matter. */
	dlu_request(test, b);
	dlu_request(test, c);
	dlu_request(test, a);
	dlu_clear_log();
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect(test, " prepare:c bus-prepare:c prepare:b bus-prepare:b",
		   " prepare:a bus-prepare:a");
	dlu_do_cancel();
	dlu_expect(test, " bus-cancel:a cancel:a bus-cancel:b cancel:b bus-cancel:c cancel:c");

	/* Now a comes after c, and takes b along. */
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&a->dev, &c->dev, 0));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect(test, " prepare:b bus-prepare:b prepare:a bus-prepare:a",
		   " prepare:c bus-prepare:c");
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a freeze:c bus-freeze:c");
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:c thaw:c bus-thaw:a thaw:a bus-thaw:b thaw:b");
	dlu_do_cancel();
	dlu_expect(test, " bus-cancel:c cancel:c bus-cancel:a cancel:a bus-cancel:b cancel:b");

	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	KUNIT_EXPECT_STREQ(test, dlu_ser(0)->id, "c");
	KUNIT_EXPECT_STREQ(test, dlu_ser(1)->id, "a");
	KUNIT_EXPECT_STREQ(test, dlu_ser(2)->id, "b");
	for (unsigned int i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, dlu_ser(i)->parent, i == 2 ? 2 : 0);
}

/* A device must not come before what it is below. */
static void dlu_order_moved_test(struct kunit *test)
{
	struct dlu_device *b = dlu_make(test, "b", NULL);
	struct dlu_device *a = dlu_make(test, "a", NULL);

	dlu_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, &a->dev, DPM_ORDER_NONE));
	dlu_clear_log();
	dlu_expect_refused(test, "b", -EINVAL,
			   "it was moved below a device that comes after it");
	KUNIT_ASSERT_EQ(test, 0, device_move(&b->dev, dlu->root, DPM_ORDER_NONE));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " b");
}

/* 4. Failures. */

/* The set of all these tests, providers first. */
static const char *const dlu_failing[] = { "bridge", "a", "supplier", "b", "c" };
static const bool dlu_failing_path[] = { true, false, true, false, false };

/**
 * struct dlu_failure - which callback fails
 * @call: the callback.
 * @index: the device.
 */
struct dlu_failure {
	const char *call;
	unsigned int index;
};

static const struct dlu_failure dlu_failures[] = {
	{ "prepare", 1 }, { "prepare", 3 }, { "prepare", 4 },
	{ "bus-prepare", 1 }, { "bus-prepare", 3 }, { "bus-prepare", 4 },
	{ "path-on", 0 }, { "path-on", 2 },
	{ "freeze", 1 }, { "freeze", 3 }, { "freeze", 4 },
	{ "bus-freeze", 1 }, { "bus-freeze", 3 }, { "bus-freeze", 4 },
};

static void dlu_failure_desc(const struct dlu_failure *failure, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s of %s", failure->call,
		 dlu_failing[failure->index]);
}

KUNIT_ARRAY_PARAM(dlu_failure, dlu_failures, dlu_failure_desc);

static void dlu_want(struct seq_buf *want, const char *driver, const char *bus,
		     const char *path, unsigned int i)
{
	if (dlu_failing_path[i] && path)
		seq_buf_printf(want, " %s:%s", path, dlu_failing[i]);
	else if (!dlu_failing_path[i])
		seq_buf_printf(want, " %s:%s %s:%s", driver, dlu_failing[i],
			       bus, dlu_failing[i]);
}

/* What happens if @failure does, in exactly this order. */
static void dlu_want_failure(struct seq_buf *want, const struct dlu_failure *failure)
{
	const char *name = dlu_failing[failure->index];
	bool frozen = strstr(failure->call, "freeze");
	bool bus = !strncmp(failure->call, "bus-", 4);
	unsigned int i;

	for (i = ARRAY_SIZE(dlu_failing) - 1; i > failure->index; i--)
		dlu_want(want, frozen ? "freeze" : "prepare",
			 frozen ? "bus-freeze" : "bus-prepare",
			 frozen ? NULL : "path-on", i);
	if (bus)
		seq_buf_printf(want, " %s:%s", failure->call + 4, name);
	seq_buf_printf(want, " %s:%s", failure->call, name);
	if (bus)
		seq_buf_printf(want, " %s:%s", frozen ? "thaw" : "cancel", name);
	for (i++; i < ARRAY_SIZE(dlu_failing); i++)
		dlu_want(want, frozen ? "bus-thaw" : "bus-cancel",
			 frozen ? "thaw" : "cancel",
			 frozen ? NULL : "path-off", i);
}

static int dlu_references(void)
{
#ifdef MODULE
	return module_refcount(THIS_MODULE);
#else
	return 0;
#endif
}

/* How often a device is kept awake. */
static int dlu_usage(const struct dlu_device *dlu_dev)
{
#ifdef CONFIG_PM
	return atomic_read(&dlu_dev->dev.power.usage_count);
#else
	return 0;
#endif
}

static struct dlu_device *dlu_make_failing(struct kunit *test, unsigned int index)
{
	struct dlu_device *dev[ARRAY_SIZE(dlu_failing)];

	dev[0] = dlu_make_bridge(test, "bridge", NULL);
	dev[1] = dlu_make(test, "a", dev[0]);
	dev[2] = dlu_make(test, "supplier", NULL);
	dev[2]->bridge = true;
	dev[3] = dlu_make(test, "b", dev[1]);
	dev[4] = dlu_make(test, "c", NULL);
	KUNIT_ASSERT_NOT_NULL(test, device_link_add(&dev[4]->dev, &dev[2]->dev, 0));
	dlu_request(test, dev[3]);
	dlu_request(test, dev[4]);

	return dev[index];
}

static void dlu_failure_test(struct kunit *test)
{
	const struct dlu_failure *failure = test->param_value;
	struct dlu_device *failing = dlu_make_failing(test, failure->index);
	int references = dlu_references();
	int usage = dlu_usage(failing);
	char text[512];
	struct seq_buf want;

	seq_buf_init(&want, text, sizeof(text));
	dlu_want_failure(&want, failure);
	KUNIT_ASSERT_FALSE(test, seq_buf_has_overflowed(&want));
	failing->fail = failure->call;
	if (strstr(failure->call, "freeze")) {
		KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
		dlu_clear_log();
		KUNIT_EXPECT_EQ(test, -EIO, dlu_do_freeze());
		dlu_expect(test, seq_buf_str(&want));
		dlu_expect_failed(test, dlu_failing[failure->index], -EIO,
				  NULL);
		/* Everything is still prepared, and can be frozen. */
		failing->fail = NULL;
		KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
		dlu_do_thaw();
		dlu_do_cancel();
	} else {
		dlu_clear_log();
		KUNIT_EXPECT_EQ(test, -EIO, dlu_do_prepare());
		dlu_expect(test, seq_buf_str(&want));
		dlu_expect_failed(test, dlu_failing[failure->index], -EIO,
				  NULL);
	}
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlu_references(), references);
	KUNIT_EXPECT_EQ(test, dlu_usage(failing), usage);

	failing->fail = NULL;
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, dlu_usage(failing), usage + IS_ENABLED(CONFIG_PM));
	/* Each device of the set pins the module of its driver. */
	if (references)
		KUNIT_EXPECT_EQ(test, dlu_references(), references + 5);
	dlu_do_cancel();
	KUNIT_EXPECT_EQ(test, dlu_references(), references);
	KUNIT_EXPECT_EQ(test, dlu_usage(failing), usage);
}

/* 5. The records. */

static void dlu_round_trip_test(struct kunit *test)
{
	const struct device_liveupdate_incoming *incoming;
	static const char *const names[] = { "bridge", "a", "b" };
	u8 fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN];
	struct dlu_chain chain = dlu_make_chain(test);

	memset(chain.a->fingerprint, 0xa5, sizeof(chain.a->fingerprint));
	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	KUNIT_EXPECT_STREQ(test, dlu_table()->compatible, "luo-devices-v2");
	KUNIT_EXPECT_EQ(test, dlu_table()->record_size, 264);
	KUNIT_EXPECT_EQ(test, dlu_table()->nr_records, 3);

	KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
	dlu_release_table(test, " block0 table");
	KUNIT_EXPECT_TRUE(test, dlu_incoming.awaiting);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	KUNIT_ASSERT_EQ(test, dlu_incoming.nr_records, 3);
	for (unsigned int i = 0; i < 3; i++) {
		memset(fingerprint, 0, sizeof(fingerprint));
		strscpy(fingerprint, names[i]);
		if (i == 1)
			memset(fingerprint, 0xa5, sizeof(fingerprint));
		incoming = &dlu_incoming.records[i];
		KUNIT_EXPECT_STREQ(test, incoming->ser.bus, "liveupdate-kunit");
		KUNIT_EXPECT_STREQ(test, incoming->ser.id, names[i]);
		KUNIT_EXPECT_MEMEQ(test, incoming->ser.fingerprint, fingerprint,
				   sizeof(fingerprint));
		KUNIT_EXPECT_EQ(test, incoming->ser.parent, i);
		KUNIT_EXPECT_STREQ(test, incoming->ser.compatible,
				   i ? "kunit,one" : "");
		KUNIT_EXPECT_EQ(test, incoming->ser.version, i ? 3 : 0);
		KUNIT_EXPECT_EQ(test, incoming->ser.nr_providers, 0);
		KUNIT_EXPECT_EQ(test, incoming->ser.more, 0);
		KUNIT_EXPECT_FALSE(test, incoming->damaged);
		KUNIT_EXPECT_FALSE(test, incoming->corrupted);
		dlu_expect_fate(test, i, ABSENT);
	}
	incoming = dlu_incoming.records;
	KUNIT_EXPECT_EQ(test, incoming[0].ser.flags, DEVICE_LIVEUPDATE_SER_PATH);
	KUNIT_EXPECT_EQ(test, incoming[1].ser.flags, DEVICE_LIVEUPDATE_SER_BLOB);
	KUNIT_EXPECT_EQ(test, incoming[2].ser.flags, 0);
	KUNIT_EXPECT_EQ(test, incoming[0].data.value, 0);
	KUNIT_EXPECT_EQ(test, incoming[1].data.size, 2);
	KUNIT_EXPECT_EQ(test, incoming[2].data.value, DLU_VALUE);
	KUNIT_EXPECT_EQ(test, incoming[2].data.size, 0);
}

#define DLU_MANY	45

static void dlu_make_many(struct kunit *test, bool request)
{
	struct dlu_device *dlu_dev;
	char name[8];

	for (unsigned int i = 0; i < DLU_MANY; i++) {
		snprintf(name, sizeof(name), "d%02u", i);
		dlu_dev = dlu_make(test, name, NULL);
		if (request)
			dlu_request(test, dlu_dev);
	}
}

static void dlu_jump_many(struct kunit *test)
{
	dlu_make_many(test, true);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
}

static void dlu_many_test(struct kunit *test)
{
	unsigned int freed = 0;
	struct dlu_memory *memory;
	struct dlu_device *dlu_dev;

	dlu_jump_many(test);
	KUNIT_EXPECT_EQ(test, dlu_block(0)->count, DLU_PER_BLOCK);
	KUNIT_EXPECT_EQ(test, dlu_block(2)->count, DLU_MANY - 2 * DLU_PER_BLOCK);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLU_MANY);
	dlu_make_many(test, false);
	list_for_each_entry(dlu_dev, &dlu->devices, list)
		if (!dlu_dev->gone)
			KUNIT_EXPECT_STREQ(test, dlu_dev->text, dlu_dev->id);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	dlu_expect_released(test, "");
	dlu_do_finish();
	dlu_expect_released(test, " block0 block1 block2 table");
	list_for_each_entry(memory, &dlu->memory, list)
		freed += memory->freed;
	KUNIT_EXPECT_EQ(test, freed, DLU_MANY + 4);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	dlu_clear_log();
}

/* How the records of dlu_jump_chain() came through. */
static void dlu_expect_records(struct kunit *test, unsigned int damaged,
			       unsigned int lost, const char *what, size_t where)
{
	KUNIT_ASSERT_EQ(test, dlu_incoming.nr_records, 3);
	for (unsigned int i = 0; i < 3; i++) {
		bool is_lost = hlist_unhashed(&dlu_incoming.records[i].hash);

		KUNIT_EXPECT_EQ_MSG(test, is_lost, !!(lost & BIT(i)),
				    "record %u, %s %zu", i, what, where);
		if (!is_lost)
			KUNIT_EXPECT_EQ_MSG(test, dlu_incoming.records[i].damaged,
					    !!(damaged & BIT(i)),
					    "record %u, %s %zu", i, what, where);
	}
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, hweight32(lost));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3 - hweight32(lost));
}

/* One flipped bit costs the records of its block, and is never overlooked. */
static void dlu_flip_record_test(struct kunit *test)
{
	u8 *byte;

	dlu_jump_chain(test);
	byte = (u8 *)dlu_ser(1);
	for (size_t i = 0; i < DLU_RECORD; i++) {
		u8 mask = 1 << (i * 5 % 8);
		bool lost;

		byte[i] ^= mask;
		KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
		/* Bus and identity may be no text any more. */
		lost = i < offsetof(struct device_liveupdate_ser, fingerprint) &&
		       dlu_incoming.nr_lost;
		dlu_expect_records(test, BIT(0) | BIT(1) | BIT(2),
				   lost ? BIT(1) : 0, "byte", i);
		/* What they lead to is not known. */
		for (unsigned int j = 0; j < 3; j++) {
			KUNIT_EXPECT_EQ(test, dlu_incoming.records[j].data.size, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.records[j].corrupted,
					!hlist_unhashed(&dlu_incoming.records[j].hash));
		}
		dlu_release_table(test, " block0 table");
		dlu_unboot();
		byte[i] ^= mask;
	}
	KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
	dlu_expect_records(test, 0, 0, "intact", 0);
}

/* Expects that restore fails and does nothing. */
static void dlu_expect_no_restore(struct kunit *test, int error)
{
	if (error)
		KUNIT_EXPECT_EQ(test, dlu_do_restore(), error);
	else
		KUNIT_EXPECT_LT(test, dlu_do_restore(), 0);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.buckets, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
	dlu_expect(test, "");
}

static void dlu_flip_table_test(struct kunit *test)
{
	u8 *byte;

	dlu_jump_chain(test);
	byte = (u8 *)dlu_table();
	for (size_t i = 0; i < dlu->handed.size * 8; i++) {
		byte[i / 8] ^= 1 << i % 8;
		dlu_expect_no_restore(test, 0);
		byte[i / 8] ^= 1 << i % 8;
	}
	dlu_boot(test);
	dlu_expect_records(test, 0, 0, "intact", 0);
}

/* What is no table of devices, or none that this kernel can read. */
static void dlu_table_test(struct kunit *test)
{
	struct kho_table_ser saved, *table;

	dlu_jump_chain(test);
	table = dlu_table();
	memcpy(&saved, table, sizeof(saved));

	table->compatible[13]++;
	dlu_seal();
	dlu_expect_no_restore(test, -EPROTONOSUPPORT);
	memcpy(table, &saved, sizeof(saved));
	table->checksum++;
	dlu_expect_no_restore(test, -EBADMSG);
	memcpy(table, &saved, sizeof(saved));
	table->nr_records = DEVICE_LIVEUPDATE_RECORDS_MAX + 1;
	dlu_seal();
	dlu_expect_no_restore(test, -EINVAL);
	memcpy(table, &saved, sizeof(saved));
	dlu_seal();
	dlu->handed.size--;
	dlu_expect_no_restore(test, -EINVAL);
	dlu->handed.size++;
	dlu_boot(test);
	dlu_expect_records(test, 0, 0, "intact", 0);
}

/* An empty table is a table. */
static void dlu_empty_table_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_table()->nr_records = 0;
	dlu_seal();
	KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	dlu_do_finish();
	dlu_expect_released(test, " block0 table");
}

/* A block that is missing or corrupted costs nothing that is not in it. */
static void dlu_block_test(struct kunit *test)
{
	u64 phys;

	dlu_jump_many(test);
	phys = dlu_table()->blocks[1].phys;
	const u64 addresses[] = {
		0, phys + 8, phys + KHO_BLOCK_SIZE, ~0ULL, dlu_ser(0)->value,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		/* What lies behind the block may by chance be the table. */
		if (addresses[i] == phys + KHO_BLOCK_SIZE && dlu_find_memory(addresses[i]))
			continue;
		dlu_table()->blocks[1].phys = addresses[i];
		dlu_seal();
		KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLU_MANY - DLU_PER_BLOCK);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, DLU_PER_BLOCK);
		dlu_release_table(test, " block0 block2 table");
		dlu_unboot();
	}
	dlu_table()->blocks[1].phys = phys;
	dlu_seal();

	dlu_block(1)->next = 0;
	KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLU_MANY);
	for (unsigned int i = 0; i < DLU_MANY; i++)
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[i].corrupted,
				i / DLU_PER_BLOCK == 1);
	dlu_release_table(test, " block0 block1 block2 table");
}

/* A record that leads to the table: it is freed once, as what the driver saved. */
static void dlu_own_table_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_ser(1)->value = dlu->handed.value;
	dlu_seal();
	dlu_boot(test);
	dlu_make_chain(test);
	dlu_do_finish();
	KUNIT_EXPECT_TRUE(test, dlu_find_memory(dlu->handed.value)->freed);
	KUNIT_EXPECT_EQ(test, dlu->rogue, 0);
	dlu_clear_log();
}

/* A block that was handed over, but is too short, is not read. */
static void dlu_short_block_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_find_memory(dlu_table()->blocks[0].phys)->size = KHO_BLOCK_SIZE - 1;
	KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 3);
}

/**
 * struct dlu_field - a field of a record that is wrong under a checksum that is right
 * @about: name of the case.
 * @damage: does the damage.
 * @lost: the record is lost, not just damaged.
 */
struct dlu_field {
	const char *about;
	void (*damage)(struct device_liveupdate_ser *ser);
	bool lost;
};

#define DLU_FIELD(_name, _statement)					\
	static void dlu_damage_##_name(struct device_liveupdate_ser *ser) \
	{								\
		_statement;						\
	}

DLU_FIELD(parent, ser->parent = 2)
DLU_FIELD(parent_max, ser->parent = U32_MAX)
DLU_FIELD(flags, ser->flags |= BIT(4))
DLU_FIELD(flags_more, ser->flags |= DEVICE_LIVEUPDATE_SER_MORE)
DLU_FIELD(flags_max, ser->flags |= BIT(31))
DLU_FIELD(lost, ser->flags |= DEVICE_LIVEUPDATE_SER_LOST)
DLU_FIELD(providers, ser->nr_providers = 2)
DLU_FIELD(provider, ser->nr_providers = 1; ser->providers[0] = 1)
DLU_FIELD(provider_behind, ser->providers[6] = 1)
DLU_FIELD(more, ser->more = 2)
DLU_FIELD(no_more, ser->nr_providers = U32_MAX; ser->more = 2)
DLU_FIELD(version, ser->version = 0)
DLU_FIELD(no_blob, ser->flags &= ~DEVICE_LIVEUPDATE_SER_BLOB)
DLU_FIELD(no_size, ser->size = 0)
DLU_FIELD(path, ser->flags |= DEVICE_LIVEUPDATE_SER_PATH)
DLU_FIELD(path_blob, ser->flags |= DEVICE_LIVEUPDATE_SER_PATH; ser->version = 0;
	  memset(ser->compatible, 0, sizeof(ser->compatible)))
DLU_FIELD(path_compatible, ser->flags = DEVICE_LIVEUPDATE_SER_PATH;
	  ser->version = 0; ser->size = 0)
DLU_FIELD(compatible_long, memset(ser->compatible, 'x', sizeof(ser->compatible)))
DLU_FIELD(compatible_empty, ser->compatible[0] = 0)
DLU_FIELD(compatible_space, ser->compatible[5] = ' ')
DLU_FIELD(bus_long, memset(ser->bus, 'x', sizeof(ser->bus)))
DLU_FIELD(bus_empty, ser->bus[0] = 0)
DLU_FIELD(bus_space, ser->bus[2] = ' ')
DLU_FIELD(id_long, memset(ser->id, 'x', sizeof(ser->id)))
DLU_FIELD(id_empty, ser->id[0] = 0)
DLU_FIELD(id_control, ser->id[0] = '\n')

static const struct dlu_field dlu_fields[] = {
	{ "parent behind it", dlu_damage_parent },
	{ "parent far behind", dlu_damage_parent_max },
	{ "unknown flag", dlu_damage_flags },
	{ "last flag", dlu_damage_flags_max },
	{ "lost before the jump", dlu_damage_lost },
	{ "device that is continued, too", dlu_damage_flags_more },
	{ "more providers than records", dlu_damage_providers },
	{ "provider that is itself", dlu_damage_provider },
	{ "provider that is not counted", dlu_damage_provider_behind },
	{ "continued without need", dlu_damage_more },
	{ "more providers than there can be", dlu_damage_no_more },
	{ "version 0", dlu_damage_version },
	{ "size without blob", dlu_damage_no_blob },
	{ "blob without size", dlu_damage_no_size },
	{ "path with version", dlu_damage_path },
	{ "path with blob", dlu_damage_path_blob },
	{ "path with compatible", dlu_damage_path_compatible },
	{ "compatible not terminated", dlu_damage_compatible_long },
	{ "compatible empty", dlu_damage_compatible_empty },
	{ "space in compatible", dlu_damage_compatible_space },
	{ "bus not terminated", dlu_damage_bus_long, true },
	{ "bus empty", dlu_damage_bus_empty, true },
	{ "space in bus", dlu_damage_bus_space, true },
	{ "identity not terminated", dlu_damage_id_long, true },
	{ "identity empty", dlu_damage_id_empty, true },
	{ "control in identity", dlu_damage_id_control, true },
};

static void dlu_field_desc(const struct dlu_field *field, char *desc)
{
	strscpy(desc, field->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dlu_field, dlu_fields, dlu_field_desc);

/* What becomes of the devices is looked at, too. */
static void dlu_field_test(struct kunit *test)
{
	const struct dlu_field *field = test->param_value;

	dlu_jump_chain(test);
	field->damage(dlu_ser(1));
	dlu_seal();
	dlu_boot(test);
	dlu_expect_records(test, field->lost ? 0 : BIT(1), field->lost ? BIT(1) : 0,
			   field->about, 0);

	dlu_make_chain(test);
	dlu_expect(test, field->lost ?
		   " probe:bridge probe:a quarantine:b" :
		   " probe:bridge quarantine:a quarantine:b");
	dlu_do_finish();
	/* What a damaged record leads to stays reserved. */
	dlu_expect(test, field->lost ? " probe:b" : " probe:b probe:a");
}

/* A device is stopped if all that is said of it fits. */
static void dlu_corrupted_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_ser(1)->size++;
	dlu_boot(test);
	dlu_make_chain(test);
	dlu_expect(test, " quarantine:bridge quarantine:a quarantine:b");
	dlu_do_finish();
	dlu_expect(test, " probe:b probe:a probe:bridge");
}

/* Otherwise it may be one that was not handed over. */
static void dlu_corrupted_other_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_ser(1)->fingerprint[0]++;
	dlu_boot(test);
	dlu_make_chain(test);
	dlu_expect(test, " quarantine:bridge probe:a quarantine:b");
	dlu_do_finish();
	dlu_expect(test, " probe:b probe:bridge");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	KUNIT_EXPECT_EQ(test, 0, dlu_forget(""));
	dlu_expect(test, "");
}

/* Two records of the same device: neither can be relied on. */
static void dlu_twins_test(struct kunit *test)
{
	struct dlu_device *c;

	dlu_jump_many(test);
	strscpy_pad(dlu_ser(44)->id, dlu_ser(1)->id);
	dlu_seal();
	dlu_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 1);
	KUNIT_EXPECT_TRUE(test, dlu_incoming.records[1].damaged);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.records[2].damaged);

	c = dlu_make(test, "d01", NULL);
	dlu_expect(test, " quarantine:d01");
	dlu_do_finish();
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(c, DLU_ONE));
	/* Whose blob it is cannot be told. */
	dlu_expect(test, " probe:d01");
}

/* Unless one of them is corrupted, and only looks so, whichever comes first. */
static void dlu_corrupted_twin_test(struct kunit *test)
{
	static const struct {
		unsigned int intact;
		unsigned int corrupted;
	} twins[] = { { 1, 44 }, { 44, 1 } };

	dlu_jump_many(test);
	for (unsigned int i = 0; i < ARRAY_SIZE(twins); i++) {
		struct device_liveupdate_ser *ser = dlu_ser(twins[i].corrupted);
		struct device_liveupdate_ser saved = *ser;

		strscpy_pad(ser->id, dlu_ser(twins[i].intact)->id);
		KUNIT_EXPECT_EQ(test, 0, dlu_do_restore());
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 1);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLU_MANY - 1);
		KUNIT_EXPECT_TRUE(test,
				  hlist_unhashed(&dlu_incoming.records[twins[i].corrupted].hash));
		KUNIT_EXPECT_FALSE(test, dlu_incoming.records[twins[i].intact].damaged);
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[twins[i].intact].data.size,
				dlu_ser(twins[i].intact)->size);
		dlu_unboot();
		*ser = saved;
	}
}

/* 6. Who may take a device over. */

static void dlu_adopt_test(struct kunit *test)
{
	struct dlu_chain chain;

	dlu_jump_chain(test);
	dlu_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	chain = dlu_make_chain(test);
	dlu_expect(test, " probe:bridge probe:a adopt:a probe:b adopt:b");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, chain.a->version, 3);
	KUNIT_EXPECT_STREQ(test, chain.a->text, "a");
	KUNIT_EXPECT_EQ(test, chain.b->received.value, DLU_VALUE);
	for (unsigned int i = 0; i < 3; i++)
		dlu_expect_fate(test, i, RECLAIMED);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&chain.a->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&chain.bridge->dev));

	dlu_do_finish();
	dlu_expect(test, " finish:b finish:a blob:a");
	KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
	KUNIT_EXPECT_PTR_EQ(test, dlu_incoming.records, NULL);
	KUNIT_EXPECT_PTR_EQ(test, chain.a->dev.liveupdate->incoming, NULL);
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(chain.a, DLU_ONE));

	/* And it can be handed over again. */
	dlu_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " bridge/ a b");
}

/**
 * struct dlu_taker - a driver that wants a device of version 3
 * @about: name of the case.
 * @compatible: its string, NULL if it says nothing.
 * @version: its version.
 * @oldest: the oldest that it reads.
 * @may: it may have it.
 */
struct dlu_taker {
	const char *about;
	const char *compatible;
	u32 version;
	u32 oldest;
	bool may;
};

static const struct dlu_taker dlu_takers[] = {
	{ "just this version", "kunit,one", 3, 3, true },
	{ "many versions", "kunit,one", U32_MAX, 1, true },
	{ "only older", "kunit,one", 2, 1 },
	{ "only newer", "kunit,one", 5, 4 },
	{ "prefix", "kunit,on", 3, 3 },
	{ "longer", "kunit,one2", 3, 3 },
	{ "other", "kunit,two", 3, 3 },
	{ "nothing", NULL, 3, 3 },
};

static void dlu_taker_desc(const struct dlu_taker *taker, char *desc)
{
	strscpy(desc, taker->about, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dlu_taker, dlu_takers, dlu_taker_desc);

static void dlu_expect_taken(struct kunit *test, struct dlu_device *a, bool taken)
{
	if (taken) {
		dlu_expect(test, " probe:a adopt:a");
		dlu_expect_fate(test, 0, RECLAIMED);
		KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
	} else {
		dlu_expect(test, "");
		dlu_expect_fate(test, 0, INHERITED);
		KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
		KUNIT_EXPECT_TRUE(test, device_liveupdate_inherited(&a->dev));
	}
}

/* In all three ways in which a driver meets a device. */
static void dlu_taker_test(struct kunit *test)
{
	const struct dlu_taker *taker = test->param_value;
	struct device_driver *drv = &dlu_drivers[DLU_ONE];
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	dlu_ops[DLU_ONE].compatible = taker->compatible;
	dlu_ops[DLU_ONE].version = taker->version;
	dlu_ops[DLU_ONE].oldest = taker->oldest;

	a = dlu_make(test, "a", NULL);
	dlu_expect_taken(test, a, taker->may);
	dlu_unregister(DLU_ONE);
	dlu_del(a);
	dlu_unboot();
	dlu_boot(test);

	a = dlu_make(test, "a", NULL);
	dlu_expect(test, "");
	KUNIT_ASSERT_EQ(test, 0, dlu_register(DLU_ONE));
	dlu_expect_taken(test, a, taker->may);
	dlu_del(a);
	dlu_unboot();
	dlu_boot(test);

	a = dlu_new(test, "a", NULL);
	a->drivers = 0;
	dlu_add(test, a);
	KUNIT_EXPECT_EQ(test, device_driver_attach(drv, &a->dev),
			taker->may ? 0 : -ENODEV);
	dlu_expect_taken(test, a, taker->may);
	a->drivers = BIT(DLU_ONE);

	/* After finish, everybody may have it. */
	dlu_do_finish();
	dlu_expect(test, taker->may ? " finish:a blob:a" :
				      " quarantine:a blob:a probe:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
}

static void dlu_plain_driver_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->drivers = BIT(DLU_PLAIN);
	dlu_add(test, a);
	dlu_expect_taken(test, a, false);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlu_drivers[DLU_PLAIN], &a->dev),
			-ENODEV);
	dlu_expect_taken(test, a, false);
}

/* A driver that cannot have it does not keep the next one from it. */
static void dlu_next_driver_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_OTHER);
	a = dlu_new(test, "a", NULL);
	a->drivers = BIT(DLU_ONE) | BIT(DLU_OTHER) | BIT(DLU_PLAIN);
	dlu_add(test, a);
	dlu_expect(test, " probe:a adopt:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_OTHER));
	dlu_expect_fate(test, 0, RECLAIMED);
}

/* Expects that "a" is quarantined and nothing may drive it until finish. */
static void dlu_expect_quarantined(struct kunit *test, struct dlu_device *a,
				   const char *log)
{
	dlu_expect(test, log);
	dlu_expect_fate(test, 0, QUARANTINED);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&a->dev));
	KUNIT_EXPECT_PTR_EQ(test, a->dev.driver, NULL);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlu_drivers[DLU_ONE], &a->dev),
			-ENODEV);
	KUNIT_EXPECT_EQ(test, device_driver_attach(&dlu_drivers[DLU_PLAIN], &a->dev),
			-ENODEV);
	dlu_go_down();
	dlu_expect(test, "");
	dlu_do_finish();
	dlu_expect(test, " blob:a probe:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
}

static void dlu_fingerprint_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN - 1] = 1;
	dlu_add(test, a);
	dlu_expect_quarantined(test, a, " quarantine:a");
}

static void dlu_bus_match_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_bus_ops.match = dlu_match;
	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fingerprint[0] = 'x';
	dlu_add(test, a);
	dlu_expect_taken(test, a, true);
	dlu_del(a);
	dlu_unboot();
	dlu_boot(test);

	a = dlu_new(test, "a", NULL);
	a->fingerprint[1] = 'x';
	dlu_add(test, a);
	dlu_expect_quarantined(test, a, " quarantine:a");
}

/* The blob was not handed over, or is shorter than the record says. */
static void dlu_no_blob_test(struct kunit *test)
{
	struct dlu_memory *memory;
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	memory = dlu_find_memory(dlu_ser(0)->value);
	memory->size--;
	a = dlu_make(test, "a", NULL);
	dlu_expect(test, " quarantine:a");
	dlu_do_finish();
	dlu_expect(test, " probe:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
}

static void dlu_identity_test(struct kunit *test)
{
	struct dlu_device *other, *twin;

	dlu_jump_one(test, DLU_ONE);

	/* On another bus, and with another identity. */
	dlu_make_second(test, "second");
	dlu_expect(test, " probe:second");
	other = dlu_new(test, "other", NULL);
	strscpy_pad(other->id, "aa");
	dlu_add(test, other);
	dlu_clear_log();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&other->dev));

	/* The name of the device does not matter; the first one gets it. */
	other = dlu_new(test, "renamed-in-between", NULL);
	dlu_set_identity(other, "a");
	dlu_add(test, other);
	dlu_expect(test, " probe:renamed-in-between adopt:renamed-in-between");
	twin = dlu_new(test, "twin", NULL);
	dlu_set_identity(twin, "a");
	dlu_add(test, twin);
	dlu_expect(test, " probe:twin");
	dlu_do_finish();
	dlu_expect(test, " finish:renamed-in-between blob:a");
}

/* 6a. Parents. */

enum dlu_parent {
	DLU_PARENT_MISSING,
	DLU_PARENT_NEW,
	DLU_PARENT_GRANDPARENT,
	DLU_PARENT_OTHER_HARDWARE,
	DLU_PARENT_FAILED,
	DLU_PARENT_RELEASED,
	DLU_PARENT_UNBOUND,
	DLU_PARENT_WAITING,
	DLU_PARENT_BETWEEN,
	DLU_NR_PARENTS,
};

static const char *const dlu_parents[DLU_NR_PARENTS] = {
	[DLU_PARENT_MISSING] = "not there",
	[DLU_PARENT_NEW] = "not handed over",
	[DLU_PARENT_GRANDPARENT] = "handed over, but another",
	[DLU_PARENT_OTHER_HARDWARE] = "other hardware",
	[DLU_PARENT_FAILED] = "probe failed",
	[DLU_PARENT_RELEASED] = "not taken over",
	[DLU_PARENT_UNBOUND] = "taken over and unbound",
	[DLU_PARENT_WAITING] = "waits for a driver",
	[DLU_PARENT_BETWEEN] = "with a class device in between",
};

static const void *dlu_parent_gen(struct kunit *test, const void *prev, char *desc)
{
	const char *const *parent = prev;

	parent = parent ? parent + 1 : dlu_parents;
	if (parent == dlu_parents + DLU_NR_PARENTS)
		return NULL;
	strscpy(desc, *parent, KUNIT_PARAM_DESC_SIZE);

	return parent;
}

/* "a" as the case says, and what "b" is below. */
static struct dlu_device *dlu_make_parent(struct kunit *test, enum dlu_parent parent,
					  struct dlu_device *bridge)
{
	struct dlu_device *a;

	if (parent == DLU_PARENT_MISSING)
		return NULL;
	if (parent == DLU_PARENT_GRANDPARENT)
		return bridge;
	if (parent == DLU_PARENT_NEW)
		return dlu_make(test, "new", NULL);

	a = dlu_new(test, "a", bridge);
	if (parent == DLU_PARENT_OTHER_HARDWARE)
		a->fingerprint[0] = 'x';
	if (parent == DLU_PARENT_FAILED)
		a->fail = "probe";
	a->silent = parent == DLU_PARENT_RELEASED;
	if (parent == DLU_PARENT_WAITING)
		a->drivers = 0;
	dlu_add(test, a);
	if (parent == DLU_PARENT_UNBOUND)
		device_release_driver(&a->dev);

	return a;
}

static void dlu_parent_test(struct kunit *test)
{
	enum dlu_parent parent = (const char *const *)test->param_value - dlu_parents;
	bool waits = parent == DLU_PARENT_WAITING;
	bool may = parent == DLU_PARENT_BETWEEN;
	struct dlu_device *bridge, *above, *b;

	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_make_bridge(test, "bridge", NULL);
	above = dlu_make_parent(test, parent, bridge);
	dlu_clear_log();
	if (parent == DLU_PARENT_BETWEEN)
		b = dlu_make_below(test, "b", above, &dlu_class);
	else
		b = dlu_make(test, "b", above);
	dlu_expect(test, may ? " probe:b adopt:b" : waits ? "" : " quarantine:b");
	KUNIT_EXPECT_EQ(test, dlu_driven_by(b, DLU_ONE), may);
	if (!waits)
		return;

	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&dlu_drivers[DLU_ONE], &b->dev));
	dlu_expect_fate(test, 2, INHERITED);
	above->drivers = BIT(DLU_ONE);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE], &above->dev));
	wait_for_device_probe();
	dlu_expect(test, " probe:a adopt:a probe:b adopt:b");
}

static void dlu_path_parent_test(struct kunit *test)
{
	struct dlu_device *bridge;

	/* A bridge that nothing drives, or not any more, is as good as any. */
	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_make_bridge(test, "bridge", NULL);
	device_release_driver(&bridge->dev);
	dlu_clear_log();
	dlu_expect_fate(test, 0, RELEASED);
	dlu_make(test, "a", bridge);
	dlu_expect(test, " probe:a adopt:a");
	dlu_del_all();
	dlu_unboot();

	/* One that is other hardware did not keep anything alive. */
	dlu_boot(test);
	bridge = dlu_new(test, "bridge", NULL);
	bridge->drivers = BIT(DLU_PLAIN);
	bridge->fingerprint[0] = 'x';
	dlu_add(test, bridge);
	dlu_expect_fate(test, 0, QUARANTINED);
	dlu_make(test, "a", bridge);
	dlu_expect(test, " probe:bridge quarantine:a");
}

/* It waits for a driver, and meanwhile its parent fails. */
static void dlu_parent_fails_later_test(struct kunit *test)
{
	struct dlu_device *a, *b;

	dlu_jump_chain(test);
	dlu_boot(test);
	a = dlu_new(test, "a", dlu_make_bridge(test, "bridge", NULL));
	a->drivers = 0;
	a->fail = "probe";
	dlu_add(test, a);
	b = dlu_new(test, "b", a);
	b->drivers = 0;
	dlu_add(test, b);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_inherited(&b->dev));
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -EIO, device_driver_attach(&dlu_drivers[DLU_ONE],
							 &a->dev));
	dlu_expect(test, " probe:a quarantine:a quarantine:b");
	KUNIT_EXPECT_EQ(test, -ENODEV, device_driver_attach(&dlu_drivers[DLU_ONE],
							    &b->dev));
	dlu_expect(test, "");
}

/* A device that had no parent in the table must not have one. */
static void dlu_no_parent_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	dlu_request(test, a);
	dlu_request(test, b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	dlu_boot(test);
	a = dlu_make(test, "a", NULL);
	b = dlu_make(test, "b", a);
	dlu_expect(test, " probe:a adopt:a quarantine:b");
}

/* 6a2. What else a device needs. */

/* How the consumer "c" names its provider "p". */
static const char *const dlu_ways[] = { "link", "dependency" };

static void dlu_way_desc(const char *const *way, char *desc)
{
	strscpy(desc, *way, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(dlu_way, dlu_ways, dlu_way_desc);

static void dlu_need(struct kunit *test, struct dlu_device *c, struct dlu_device *p)
{
	const char *const *way = test->param_value;

	if (!way || !strcmp(*way, "link"))
		KUNIT_ASSERT_NOT_NULL(test, device_link_add(&c->dev, &p->dev, 0));
	else
		c->depends[0] = p;
}

/* "d" needs "c", which needs "p". Only "d" is requested. */
static void dlu_jump_needy(struct kunit *test)
{
	struct dlu_device *p = dlu_make(test, "p", NULL);
	struct dlu_device *c = dlu_make(test, "c", NULL);
	struct dlu_device *d = dlu_make(test, "d", NULL);

	dlu_need(test, c, p);
	dlu_need(test, d, c);
	dlu_request(test, d);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_set(test, " p c d");
	dlu_jump(test);
	for (unsigned int i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, dlu_ser(i)->parent, 0);
		KUNIT_EXPECT_EQ(test, dlu_ser(i)->nr_providers, !!i);
		KUNIT_EXPECT_EQ(test, dlu_ser(i)->providers[0], i ? i - 1 : 0);
		KUNIT_EXPECT_EQ(test, dlu_ser(i)->more, 0);
	}
	dlu_boot(test);
}

/* Those behind it come first; nothing in this kernel says that they need it. */
static void dlu_make_needy(struct kunit *test)
{
	dlu_make(test, "d", NULL);
	dlu_make(test, "c", NULL);
	dlu_expect(test, "");
	dlu_expect_fate(test, 1, INHERITED);
	dlu_expect_fate(test, 2, INHERITED);
}

static void dlu_provider_late_test(struct kunit *test)
{
	dlu_jump_needy(test);
	dlu_make_needy(test);
	dlu_make(test, "p", NULL);
	wait_for_device_probe();
	dlu_expect(test, " probe:p adopt:p probe:c adopt:c probe:d adopt:d");
	dlu_do_finish();
	dlu_expect(test, " finish:d finish:c finish:p blob:p blob:c blob:d");
}

/* The same for one that is deferred itself. */
static void dlu_provider_deferred_test(struct kunit *test)
{
	struct dlu_device *p;

	dlu_jump_needy(test);
	dlu_make_needy(test);
	p = dlu_new(test, "p", NULL);
	p->defer = 1;
	dlu_add(test, p);
	dlu_expect(test, " probe:p");
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE], &p->dev));
	wait_for_device_probe();
	dlu_expect(test, " probe:p adopt:p probe:c adopt:c probe:d adopt:d");
}

static void dlu_provider_missing_test(struct kunit *test)
{
	dlu_jump_needy(test);
	dlu_make_needy(test);
	dlu_do_finish();
	dlu_expect(test, " quarantine:d quarantine:c blob:c blob:d probe:d probe:c");
	dlu_expect_retained(test, "devices:" DLU_BUS ":p");
	KUNIT_EXPECT_EQ(test, 0, dlu_forget(""));
}

static void dlu_provider_fails_test(struct kunit *test)
{
	struct dlu_device *p;

	dlu_jump_needy(test);
	dlu_make_needy(test);
	p = dlu_new(test, "p", NULL);
	p->fail = "probe";
	dlu_add(test, p);
	dlu_expect(test, " probe:p quarantine:p quarantine:c quarantine:d");
	p->fail = NULL;
	dlu_do_finish();
	dlu_expect(test, " blob:p blob:c blob:d probe:d probe:c probe:p");
}

/* Its driver does not take it over, or it is gone before others come. */
static void dlu_provider_released_test(struct kunit *test)
{
	struct dlu_device *p;

	dlu_jump_needy(test);
	p = dlu_new(test, "p", NULL);
	p->silent = true;
	dlu_add(test, p);
	dlu_expect(test, " probe:p");
	dlu_expect_fate(test, 0, RELEASED);
	dlu_make(test, "c", NULL);
	dlu_make(test, "d", NULL);
	dlu_expect(test, " quarantine:c quarantine:d");
}

static void dlu_provider_removed_test(struct kunit *test)
{
	struct dlu_device *p, *c;

	dlu_jump_needy(test);
	p = dlu_make(test, "p", NULL);
	dlu_expect(test, " probe:p adopt:p");
	c = dlu_new(test, "c", NULL);
	c->drivers = 0;
	dlu_add(test, c);
	dlu_make(test, "d", NULL);
	dlu_expect(test, "");
	dlu_del(p);
	dlu_expect(test, " remove:p quarantine:c quarantine:d");
}

/* What has taken its device over is not disturbed: its driver knows what it needs. */
static void dlu_provider_unbound_test(struct kunit *test)
{
	struct dlu_device *p;

	dlu_jump_needy(test);
	p = dlu_make(test, "p", NULL);
	dlu_make(test, "c", NULL);
	dlu_expect(test, " probe:p adopt:p probe:c adopt:c");
	device_release_driver(&p->dev);
	dlu_expect(test, " remove:p");
	dlu_expect_fate(test, 1, RECLAIMED);
	dlu_make(test, "d", NULL);
	dlu_expect(test, " probe:d adopt:d");
}

/* A provider whose record did not arrive. */
static void dlu_provider_lost_test(struct kunit *test)
{
	dlu_jump_needy(test);
	dlu_unboot();
	dlu_ser(0)->id[0] = ' ';
	dlu_seal();
	dlu_boot(test);
	dlu_make(test, "c", NULL);
	dlu_make(test, "d", NULL);
	dlu_expect(test, " quarantine:c quarantine:d");
}

#define DLU_PROVIDERS	(DEVICE_LIVEUPDATE_PROVIDERS + DEVICE_LIVEUPDATE_MORE + 1)

static struct device_liveupdate_more_ser *dlu_more(unsigned int index)
{
	return (void *)dlu_ser(index);
}

/* "all" needs more devices than fit into its record; it is the last one. */
static void dlu_jump_hungry(struct kunit *test)
{
	struct dlu_device *all, *devices[DLU_PROVIDERS];
	char name[8];

	for (unsigned int i = 0; i < DLU_PROVIDERS; i++) {
		snprintf(name, sizeof(name), "p%02u", i);
		devices[i] = dlu_make(test, name, NULL);
	}
	all = dlu_make(test, "all", NULL);
	for (unsigned int i = 0; i < DLU_PROVIDERS; i++)
		dlu_need(test, all, devices[i]);
	dlu_request(test, all);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_set, DLU_PROVIDERS + 1);
	KUNIT_EXPECT_EQ(test, dlu_outgoing.nr_more, 2);
	dlu_jump(test);
	KUNIT_EXPECT_EQ(test, dlu_ser(DLU_PROVIDERS)->nr_providers, DLU_PROVIDERS);
	KUNIT_EXPECT_EQ(test, dlu_ser(DLU_PROVIDERS)->more, DLU_PROVIDERS + 1);
}

static void dlu_hungry_test(struct kunit *test)
{
	struct dlu_device *all;
	char name[8];

	dlu_jump_hungry(test);
	dlu_boot(test);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, DLU_PROVIDERS + 1);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_more, 2);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
	for (u32 i = 0; i < DLU_PROVIDERS; i++)
		KUNIT_EXPECT_LT(test, dlu_provider(&dlu_incoming.records[DLU_PROVIDERS], i),
				DLU_PROVIDERS);

	all = dlu_make(test, "all", NULL);
	for (unsigned int i = 0; i < DLU_PROVIDERS; i++) {
		KUNIT_EXPECT_PTR_EQ(test, all->dev.driver, NULL);
		snprintf(name, sizeof(name), "p%02u", i);
		dlu_make(test, name, NULL);
	}
	wait_for_device_probe();
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(all, DLU_ONE));
	dlu_expect_fate(test, DLU_PROVIDERS, RECLAIMED);
}

DLU_FIELD(more_other, ((struct device_liveupdate_more_ser *)ser)->device = 0)
DLU_FIELD(more_few, ((struct device_liveupdate_more_ser *)ser)->nr--)
DLU_FIELD(more_many, ((struct device_liveupdate_more_ser *)ser)->nr++)
DLU_FIELD(more_behind, ((struct device_liveupdate_more_ser *)ser)->providers[0] = U32_MAX)

static const struct dlu_field dlu_mores[] = {
	{ "of another device", dlu_damage_more_other },
	{ "too few", dlu_damage_more_few },
	{ "too many", dlu_damage_more_many },
	{ "a provider that is not there", dlu_damage_more_behind },
	{ "no such record", NULL, true },
};

KUNIT_ARRAY_PARAM(dlu_more, dlu_mores, dlu_field_desc);

/* It costs the device, whichever record of those that continue it is wrong. */
static void dlu_hungry_damage_test(struct kunit *test)
{
	const struct dlu_field *field = test->param_value;
	struct device_liveupdate_more_ser saved;

	test->param_value = NULL;
	dlu_jump_hungry(test);
	for (unsigned int i = 1; i <= 2; i++) {
		saved = *dlu_more(DLU_PROVIDERS + i);
		if (field->damage)
			field->damage(dlu_ser(DLU_PROVIDERS + i));
		else
			dlu_ser(DLU_PROVIDERS)->more = DLU_PROVIDERS + 1 + i;
		dlu_seal();
		dlu_boot(test);
		KUNIT_EXPECT_TRUE(test, dlu_incoming.records[DLU_PROVIDERS].damaged);
		KUNIT_EXPECT_EQ(test, dlu_incoming.records[DLU_PROVIDERS].data.size, 0);
		KUNIT_EXPECT_FALSE(test, dlu_incoming.records[0].damaged);
		dlu_unboot();
		*dlu_more(DLU_PROVIDERS + i) = saved;
	}
}

/* A bus says that a device needs one that comes after it. */
static void dlu_provider_order_test(struct kunit *test)
{
	struct dlu_device *c = dlu_make(test, "c", NULL);

	c->depends[0] = dlu_make(test, "p", NULL);
	dlu_request(test, c);
	dlu_clear_log();
	dlu_expect_refused(test, "c", -EINVAL, "it needs a device that comes after it");
}

/* 6b. Probes that do not go well. */

/* Its driver asked for the data, and starts from nothing. */
static void dlu_decline_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->declines = true;
	dlu_add(test, a);
	dlu_expect(test, " probe:a adopt:a");
	dlu_expect_fate(test, 0, RELEASED);
	/* It is not asked again. */
	device_release_driver(&a->dev);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE], &a->dev));
	dlu_expect(test, " remove:a probe:a");
	dlu_do_finish();
	dlu_expect(test, " blob:a");
}

/* What a bus notifier finds, which comes before the uevent. */
static enum device_liveupdate_fate dlu_bound_fate;

static int dlu_notified(struct notifier_block *nb, unsigned long action, void *data)
{
	struct device *dev = data;

	if (action == BUS_NOTIFY_BOUND_DRIVER && dev->liveupdate->incoming)
		dlu_bound_fate = dev->liveupdate->incoming->fate;

	return NOTIFY_OK;
}

static void dlu_bound_test(struct kunit *test)
{
	struct notifier_block nb = { .notifier_call = dlu_notified };

	dlu_jump_one(test, DLU_ONE);
	dlu_bound_fate = DEVICE_LIVEUPDATE_UNKNOWN;
	KUNIT_ASSERT_EQ(test, 0, bus_register_notifier(&dlu_bus, &nb));
	dlu_make(test, "a", NULL);
	bus_unregister_notifier(&dlu_bus, &nb);
	dlu_expect(test, " probe:a adopt:a");
	KUNIT_EXPECT_EQ(test, dlu_bound_fate, DEVICE_LIVEUPDATE_RECLAIMED);
}

/* It may be the one that runs. */
static void dlu_unidentified_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fail = "identify";
	dlu_add(test, a);
	dlu_expect(test, " quarantine:a probe:a");
	dlu_expect_fate(test, 0, ABSENT);
	dlu_make_second(test, "second");
	dlu_do_finish();
	dlu_expect(test, " probe:second");
	dlu_expect_retained(test, "devices:" DLU_BUS ":a");
	KUNIT_EXPECT_EQ(test, 0, dlu_forget(""));
	dlu_expect(test, " blob:a");

	/* Nothing is known to run any more. */
	a = dlu_new(test, "b", NULL);
	a->fail = "identify";
	dlu_add(test, a);
	dlu_expect(test, " probe:b");
}

static void dlu_hook_awake(struct dlu_device *dlu_dev)
{
	KUNIT_EXPECT_TRUE(dlu->test, pm_runtime_active(dlu_dev->dev.parent));
}

/* What is above sleeps, as nobody needs it. */
static void dlu_quarantine_asleep_test(struct kunit *test)
{
	struct dlu_device *bridge, *a;

	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_make_bridge(test, "bridge", NULL);
	pm_runtime_enable(&bridge->dev);
	a = dlu_new(test, "a", bridge);
	a->fingerprint[0] = 'x';
	a->hook_at = "quarantine";
	a->hook = dlu_hook_awake;
	dlu_clear_log();
	dlu_add(test, a);
	dlu_expect(test, " quarantine:a");
	pm_runtime_disable(&bridge->dev);
}

static void dlu_probe_error_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fail = "probe";
	dlu_add(test, a);
	a->fail = NULL;
	dlu_expect_quarantined(test, a, " probe:a quarantine:a");
}

static void dlu_adopt_error_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fail = "adopt";
	dlu_add(test, a);
	a->fail = NULL;
	dlu_expect_quarantined(test, a, " probe:a adopt:a quarantine:a");
}

static void dlu_defer_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->defer = 1;
	dlu_add(test, a);
	dlu_expect(test, " probe:a");
	dlu_expect_fate(test, 0, INHERITED);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_inherited(&a->dev));

	/* A device that is bound makes the driver core try again. */
	dlu_make_foreign(test, "foreign", NULL);
	wait_for_device_probe();
	KUNIT_EXPECT_STREQ(test, a->text, "a");
	dlu_expect_fate(test, 0, RECLAIMED);
	dlu_clear_log();
	dlu_do_finish();
	dlu_expect(test, " finish:a blob:a");
}

/* Asked, deferred, and then not asked: it is as if nobody had. */
static void dlu_defer_forgets_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->drivers = 0;
	dlu_add(test, a);
	dlu_incoming.records[0].asked = true;
	a->defer = 1;
	KUNIT_EXPECT_EQ(test, -EAGAIN, device_driver_attach(&dlu_drivers[DLU_ONE],
							    &a->dev));
	a->silent = true;
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_ONE],
						      &a->dev));
	dlu_expect_fate(test, 0, RELEASED);
	dlu_clear_log();
}

static void dlu_async_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	dlu_unregister(DLU_ONE);
	dlu_drivers[DLU_ONE].probe_type = PROBE_PREFER_ASYNCHRONOUS;
	a = dlu_make(test, "a", NULL);
	KUNIT_ASSERT_EQ(test, 0, dlu_register(DLU_ONE));
	wait_for_device_probe();
	dlu_expect_taken(test, a, true);
}

static void dlu_silent_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->silent = true;
	dlu_add(test, a);
	dlu_expect(test, " probe:a");
	dlu_expect_fate(test, 0, RELEASED);
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
	dlu_go_down();
	dlu_do_finish();
	dlu_expect(test, " blob:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
}

/* 7. The end of the update. */

/* What others are told at FINISH of the first records, and of none that is not there. */
static void dlu_expect_fates(struct kunit *test, const char *fates)
{
	static const char letters[] = "UAIRQNO";

	for (u32 i = 0; fates[i]; i++)
		KUNIT_EXPECT_EQ_MSG(test, letters[device_liveupdate_get_fate(i)],
				    fates[i], "record %u", i);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_fate(strlen(fates)),
			DEVICE_LIVEUPDATE_UNKNOWN);
	KUNIT_EXPECT_EQ(test, device_liveupdate_get_fate(U32_MAX),
			DEVICE_LIVEUPDATE_UNKNOWN);
}

/* "a" is taken over, "b" is not, "c" does not appear. */
static struct dlu_device *dlu_boot_three(struct kunit *test)
{
	struct dlu_device *b;

	dlu_request(test, dlu_make(test, "a", NULL));
	dlu_request(test, dlu_make(test, "b", NULL));
	dlu_request(test, dlu_make(test, "c", NULL));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_jump(test);
	dlu_boot(test);
	dlu_make(test, "a", NULL);
	b = dlu_new(test, "b", NULL);
	b->drivers = BIT(DLU_PLAIN);
	dlu_add(test, b);
	dlu_expect(test, " probe:a adopt:a");

	return b;
}

static void dlu_finish_test(struct kunit *test)
{
	struct dlu_device *b = dlu_boot_three(test), *c;

	dlu_do_finish();
	dlu_expect(test, " quarantine:b finish:a blob:a blob:b probe:b");
	dlu_expect_released(test, " block0 table");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(b, DLU_PLAIN));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
	/* Nothing is done twice. */
	dlu_go_down();
	dlu_do_finish();
	dlu_expect(test, "");
	dlu_expect_released(test, "");

	/* It may still run, in memory that nobody would hand over again. */
	dlu_expect_retained(test, "devices:" DLU_BUS ":c");

	/* Late, it is made harmless before anything else. */
	c = dlu_make(test, "c", NULL);
	dlu_expect(test, " quarantine:c blob:c probe:c");
	dlu_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_PTR_EQ(test, c->dev.liveupdate->incoming, NULL);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	KUNIT_EXPECT_EQ(test, dlu_do_prepare(), 0);
	dlu_do_cancel();
	dlu_del(c);
	dlu_make(test, "c", NULL);
	dlu_expect(test, " remove:c probe:c");
}

/* "a" is of the next kernel, has no driver, and cannot be stopped. */
static struct dlu_device *dlu_boot_running(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->drivers = BIT(DLU_PLAIN);
	a->fail = "quarantine";
	a->fingerprint[0]++;
	dlu_add(test, a);
	dlu_expect(test, " quarantine:a");
	dlu_expect_fate(test, 0, RUNNING);
	dlu_expect_retained(test, "devices:" DLU_BUS ":a");

	return a;
}

/* What cannot be stopped keeps its memory, whoever drives it next. */
static void dlu_running_test(struct kunit *test)
{
	struct dlu_device *a = dlu_boot_running(test);

	KUNIT_EXPECT_EQ(test, dlu_forget(""), -EBUSY);
	dlu_do_finish();
	dlu_expect(test, " quarantine:a probe:a");
	dlu_expect_fates(test, "N");
	dlu_expect_retained(test, "devices:" DLU_BUS ":a");
	dlu_del(a);
	dlu_expect(test, " remove:a");
	dlu_expect_retained(test, "devices:" DLU_BUS ":a");
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":b"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":a"), 0);
	dlu_expect(test, " blob:a");
	dlu_expect_retained(test, "");
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
}

/* FINISH tries again. */
static void dlu_running_stopped_test(struct kunit *test)
{
	struct dlu_device *a = dlu_boot_running(test);

	a->fail = NULL;
	dlu_do_finish();
	dlu_expect(test, " quarantine:a blob:a probe:a");
	dlu_expect_fates(test, "Q");
	dlu_expect_retained(test, "");
}

/* The same for one that comes late, or where live update is off. */
static void dlu_running_late_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	dlu_do_finish();
	dlu_expect(test, "");
	a = dlu_new(test, "a", NULL);
	a->fail = "quarantine";
	dlu_add(test, a);
	dlu_expect(test, " quarantine:a probe:a");
	dlu_expect_retained(test, "devices:" DLU_BUS ":a");
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":a"), 0);
	dlu_expect(test, " blob:a");
	dlu_expect_retained(test, "");
}

/* An operator knows that it is gone. */
static void dlu_forget_absent_test(struct kunit *test)
{
	dlu_boot_three(test);
	dlu_expect_retained(test, "devices");
	KUNIT_EXPECT_EQ(test, dlu_forget(""), -EBUSY);
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":c"), -EBUSY);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
	dlu_do_finish();
	dlu_clear_log();
	dlu_expect_retained(test, "devices:" DLU_BUS ":c");
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":b"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlu_forget("c"), -ENOENT);
	dlu_expect(test, "");
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":c"), 0);
	dlu_expect(test, " blob:c");
	dlu_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlu_forget(DLU_BUS ":c"), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlu_forget(""), -ENOENT);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	dlu_make(test, "c", NULL);
	dlu_expect(test, " probe:c");
	KUNIT_EXPECT_EQ(test, dlu_do_prepare(), 0);
}

/* Without finish, before the system goes down. */
static void dlu_reboot_test(struct kunit *test)
{
	dlu_boot_three(test);
	device_liveupdate_shutdown_begins();
	dlu_expect(test, " quarantine:b");
	device_liveupdate_shutdown_begins();
	dlu_go_down();
	dlu_expect(test, "");
}

/* One that appears after device_shutdown() began. */
static void dlu_reboot_late_test(struct kunit *test)
{
	device_liveupdate_shutdown_begins();
	dlu_boot_three(test);
	dlu_go_down();
	dlu_expect(test, " quarantine:b");
	dlu_go_down();
	dlu_expect(test, "");
}

static void dlu_finish_path_test(struct kunit *test)
{
	struct dlu_device *bridge;

	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlu_add(test, bridge);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_inherited(&bridge->dev));
	dlu_make(test, "b", dlu_make(test, "a", bridge));
	dlu_clear_log();
	device_liveupdate_shutdown_begins();
	dlu_go_down();
	/* A bridge is not quarantined, for there are others below it. */
	dlu_do_finish();
	dlu_expect(test, " finish:b finish:a blob:a");
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&bridge->dev));
}

static void dlu_finish_path_absent_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_boot(test);
	dlu_do_finish();
	dlu_expect(test, "");
	/* Only those that may still run are waited for. */
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 2);
	dlu_expect_retained(test, "devices:" DLU_BUS ":a devices:" DLU_BUS ":b");
	dlu_make_bridge(test, "bridge", NULL);
	dlu_expect(test, " probe:bridge");
}

/* Who goes away without having been taken over is stopped, and comes back as new. */
static void dlu_comes_back_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->drivers = 0;
	dlu_add(test, a);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	dlu_expect_retained(test, "");
	dlu_del(a);
	dlu_expect(test, " quarantine:a");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, kref_read(&a->dev.kobj.kref), 1);
	dlu_expect_fate(test, 0, RELEASED);
	dlu_expect_retained(test, "");

	a = dlu_make(test, "a", NULL);
	dlu_expect(test, " probe:a");
	dlu_do_finish();
	dlu_expect(test, " blob:a");
}

/* The same if it cannot be stopped, and for a bridge. */
static void dlu_removed_running_test(struct kunit *test)
{
	struct dlu_device *bridge, *a;

	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlu_add(test, bridge);
	a = dlu_new(test, "a", bridge);
	a->drivers = 0;
	a->fail = "quarantine";
	dlu_add(test, a);
	dlu_expect(test, "");
	dlu_del(a);
	dlu_del(bridge);
	dlu_expect(test, " quarantine:a");
	dlu_expect_retained(test, "devices devices:" DLU_BUS ":a");
	dlu_do_finish();
	dlu_expect(test, "");
	dlu_expect_retained(test, "devices:" DLU_BUS ":a devices:" DLU_BUS ":b");
	KUNIT_EXPECT_EQ(test, dlu_forget(""), 0);
}

static void dlu_unbound_test(struct kunit *test)
{
	struct dlu_device *a;

	dlu_jump_one(test, DLU_ONE);
	a = dlu_make(test, "a", NULL);
	device_release_driver(&a->dev);
	dlu_expect(test, " probe:a adopt:a remove:a");
	dlu_expect_fate(test, 0, RELEASED);
	KUNIT_EXPECT_EQ(test, 0, device_driver_attach(&dlu_drivers[DLU_PLAIN],
						      &a->dev));
	dlu_expect(test, " probe:a");
	dlu_do_finish();
	dlu_expect(test, " blob:a");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_PLAIN));
}

/* 8. Devices that go away while they are prepared. */

/**
 * struct dlu_elsewhere - something to be done in a thread of its own
 * @dlu_dev: the device.
 * @remove: remove it, instead of unbinding it.
 * @done: it is done.
 */
struct dlu_elsewhere {
	struct dlu_device *dlu_dev;
	bool remove;
	struct completion done;
};

static int dlu_elsewhere_thread(void *context)
{
	struct dlu_elsewhere *elsewhere = context;

	/* What it reports is for the test, too. */
	current->kunit_test = dlu->test;
	if (elsewhere->remove)
		dlu_del(elsewhere->dlu_dev);
	else
		device_release_driver(&elsewhere->dlu_dev->dev);
	complete(&elsewhere->done);

	return 0;
}

/* Nobody removes a device in a callback, but others do at the same time. */
static void dlu_elsewhere(struct dlu_device *dlu_dev, bool remove)
{
	struct dlu_elsewhere elsewhere = { .dlu_dev = dlu_dev, .remove = remove };
	struct task_struct *thread;

	init_completion(&elsewhere.done);
	thread = kthread_run(dlu_elsewhere_thread, &elsewhere, "liveupdate_kunit");
	if (IS_ERR(thread))
		KUNIT_FAIL(dlu->test, "no thread");
	else
		wait_for_completion(&elsewhere.done);
}

static void dlu_unbind_hook(struct dlu_device *dlu_dev)
{
	dlu_dev->hook = NULL;
	dlu_elsewhere(dlu_dev->context, false);
}

static void dlu_remove_hook(struct dlu_device *dlu_dev)
{
	dlu_dev->hook = NULL;
	dlu_elsewhere(dlu_dev->context, true);
}

static void dlu_expect_broken(struct kunit *test, size_t nr_requested)
{
	KUNIT_EXPECT_TRUE(test, dlu_outgoing.broken);
	dlu_expect_failed(test, "b", -ENODEV,
			  "it was removed or unbound while prepared");
	KUNIT_EXPECT_EQ(test, dlu_do_freeze(), -ENODEV);
	dlu_expect(test, "");
	dlu_do_cancel();
	dlu_expect(test, " path-off:bridge bus-cancel:a cancel:a");
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), nr_requested);
}

static void dlu_unbind_prepared_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	int references = dlu_references();

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_clear_log();
	device_release_driver(&chain.b->dev);
	dlu_expect(test, " bus-cancel:b cancel:b remove:b");
	dlu_expect_broken(test, 1);
	dlu_expect_refused(test, "b", -EOPNOTSUPP, "no driver is bound");
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&chain.b->dev, false));
	KUNIT_EXPECT_EQ(test, dlu_references(), references);

	/* The next one is not affected. */
	dlu_request(test, chain.a);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
}

static void dlu_remove_prepared_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_clear_log();
	dlu_del(chain.b);
	dlu_expect(test, " bus-cancel:b cancel:b remove:b");
	dlu_expect_broken(test, 0);
}

static void dlu_remove_frozen_test(struct kunit *test)
{
	struct kho_table *table = &dlu_outgoing.table;
	const struct device_liveupdate_ser *ser;
	struct dlu_chain chain = dlu_make_chain(test);
	u64 checksum;

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu_clear_log();
	dlu_del(chain.b);
	dlu_expect(test, " bus-thaw:b thaw:b bus-cancel:b cancel:b remove:b");
	/* Its record says so, should it be too late to stop the jump. */
	ser = chain.b->dev.liveupdate->ser;
	KUNIT_ASSERT_NOT_NULL(test, ser);
	KUNIT_EXPECT_STREQ(test, ser->id, "b");
	KUNIT_EXPECT_TRUE(test, ser->flags & DEVICE_LIVEUPDATE_SER_LOST);
	ser = chain.a->dev.liveupdate->ser;
	KUNIT_EXPECT_FALSE(test, ser->flags & DEVICE_LIVEUPDATE_SER_LOST);
	/* The table can still be read. */
	checksum = table->head->checksum;
	kho_table_seal(table);
	KUNIT_EXPECT_EQ(test, checksum, table->head->checksum);
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a");
	dlu_expect_broken(test, 0);
	KUNIT_EXPECT_NULL(test, chain.b->dev.liveupdate->ser);
}

static void dlu_unbind_path_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	dlu_clear_log();
	device_release_driver(&chain.bridge->dev);
	dlu_expect(test, " path-off:bridge remove:bridge");
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a bus-thaw:b thaw:b");
	KUNIT_EXPECT_EQ(test, dlu_do_freeze(), -ENODEV);
	dlu_do_cancel();
	dlu_expect(test, " bus-cancel:a cancel:a bus-cancel:b cancel:b");
}

/* A device whose turn has not come is not cancelled, but missed. */
static void dlu_remove_before_turn_test(struct kunit *test)
{
	struct dlu_device *a = dlu_make(test, "a", NULL);
	struct dlu_device *b = dlu_make(test, "b", NULL);

	dlu_request(test, a);
	dlu_request(test, b);
	b->hook = dlu_remove_hook;
	b->hook_at = "prepare";
	b->context = a;
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_prepare());
	dlu_expect(test, " prepare:b remove:a bus-prepare:b bus-cancel:b cancel:b");
	dlu_expect_idle(test);
	KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
}

static void dlu_unbind_after_turn_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	chain.a->hook = dlu_unbind_hook;
	chain.a->hook_at = "prepare";
	chain.a->context = chain.b;
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_prepare());
	dlu_expect(test, " prepare:b bus-prepare:b prepare:a bus-cancel:b cancel:b remove:b",
		   " bus-prepare:a path-on:bridge",
		   " path-off:bridge bus-cancel:a cancel:a");
	dlu_expect_idle(test);
}

static void dlu_unbind_in_freeze_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	chain.b->hook = dlu_unbind_hook;
	chain.b->hook_at = "freeze";
	chain.b->context = chain.a;
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-cancel:a cancel:a remove:a bus-freeze:b",
		   " bus-thaw:b thaw:b");
	dlu_do_cancel();
	dlu_expect(test, " path-off:bridge bus-cancel:b cancel:b");
}

/* The last one in a freeze was frozen already when another went away. */
static void dlu_unbind_frozen_in_freeze_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	chain.a->hook = dlu_unbind_hook;
	chain.a->hook_at = "bus-freeze";
	chain.a->context = chain.b;
	dlu_clear_log();
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a",
		   " bus-thaw:b thaw:b bus-cancel:b cancel:b remove:b",
		   " bus-thaw:a thaw:a");
	dlu_expect_broken(test, 1);
}

/* What userspace may do to what drives a device. */
static void dlu_may_change_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	struct dlu_device *other = dlu_make(test, "other", NULL);

	dlu_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_may_change(&chain.b->dev));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	for (int frozen = 0; frozen < 2; frozen++) {
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_liveupdate_may_change(&chain.bridge->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_liveupdate_may_change(&chain.a->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_liveupdate_may_change(&chain.b->dev));
		KUNIT_EXPECT_EQ(test, 0,
				device_liveupdate_may_change(&other->dev));
		KUNIT_EXPECT_EQ(test, -EBUSY,
				device_set_driver_override(&chain.b->dev, "dlu-one"));
		KUNIT_EXPECT_FALSE(test, device_has_driver_override(&chain.b->dev));
		if (!frozen)
			KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	}
	KUNIT_EXPECT_EQ(test, 0, device_set_driver_override(&other->dev, "dlu-one"));
	dlu_do_thaw();
	dlu_do_cancel();
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_may_change(&chain.b->dev));
	KUNIT_EXPECT_EQ(test, 0, device_set_driver_override(&chain.b->dev, "dlu-one"));
}

static const struct device_liveupdate_ser *dlu_outgoing_ser(struct dlu_device *dlu_dev)
{
	return dlu_dev->dev.liveupdate->ser;
}

#define DLU_CHANGED "it is not what it was when it was prepared"

static void dlu_late_child_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	struct dlu_device *child, *below, *on_path, *other;

	dlu_request(test, chain.b);
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_clear_log();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	/* Not even elsewhere: device_shutdown() would wait for it. */
	on_path = dlu_make(test, "on-path", chain.bridge);
	other = dlu_make(test, "other", NULL);
	dlu_expect(test, "");
	child = dlu_make(test, "child", chain.b);
	below = dlu_make_below(test, "below", chain.a, &dlu_class);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			device_driver_attach(&dlu_drivers[DLU_PLAIN], &child->dev));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
	dlu_expect(test, " freeze:b bus-freeze:b freeze:a bus-freeze:a");
	KUNIT_EXPECT_PTR_EQ(test, child->dev.driver, NULL);
	KUNIT_EXPECT_PTR_EQ(test, below->dev.driver, NULL);
	/* What appeared below frozen ones is not shut down, all else is. */
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&child->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&below->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&on_path->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&other->dev));

	dlu_do_thaw();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&child->dev));
	dlu_do_cancel();
	wait_for_device_probe();
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(child, DLU_ONE));
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(below, DLU_ONE));
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(on_path, DLU_ONE));
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(other, DLU_ONE));
}

/* Without a set nothing is deferred. */
static void dlu_no_set_test(struct kunit *test)
{
	struct dlu_device *a;

	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	a = dlu_make(test, "a", NULL);
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(a, DLU_ONE));
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
}

/* D6: what the device is, is read in PREPARE, and looked at once more in FREEZE. */
static void dlu_identity_changes_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	chain.b->fingerprint[3] = 1;
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, dlu_outgoing_ser(chain.b)->fingerprint[3], 1);
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
	dlu_do_thaw();

	dlu_clear_log();
	chain.a->fingerprint[0] = 1;
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_freeze());
	dlu_expect_failed(test, "a", -ENODEV, DLU_CHANGED);
	dlu_expect(test, " freeze:b bus-freeze:b bus-thaw:b thaw:b");
	/* Its bus may say that this does not matter. */
	dlu_bus_ops.match = dlu_match;
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
	dlu_do_thaw();
	chain.a->fingerprint[1] = 1;
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_freeze());
	dlu_expect_failed(test, "a", -ENODEV, DLU_CHANGED);
	chain.a->fingerprint[1] = 0;

	/* It moved, or does not say any more. */
	dlu_set_identity(chain.b, "elsewhere");
	KUNIT_EXPECT_EQ(test, -ENODEV, dlu_do_freeze());
	dlu_expect_failed(test, "b", -ENODEV, DLU_CHANGED);
	dlu_set_identity(chain.b, "b");
	chain.b->fingerprint[3] = 1;
	chain.bridge->fail = "identify";
	KUNIT_EXPECT_EQ(test, -EIO, dlu_do_freeze());
	dlu_expect_failed(test, "bridge", -EIO, DLU_NO_IDENTITY);
	chain.bridge->fail = NULL;
	KUNIT_EXPECT_EQ(test, 0, dlu_do_freeze());
}

/* 9. Shutdown. */

static void dlu_shutdown_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	struct dlu_device *c = dlu_make_below(test, "c", chain.b, &dlu_class);
	struct dlu_device *other = dlu_make(test, "other", NULL);

	dlu_request(test, c);
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	/* Other ways to go down than live update do not freeze anything. */
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(c->between));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&chain.bridge->dev));

	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.a->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.b->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&c->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(c->between));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&other->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(dlu->root));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_on_path(&chain.bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&chain.a->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_on_path(&other->dev));

	dlu_bus_ops.shutdown_path = true;
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	KUNIT_EXPECT_TRUE(test, device_liveupdate_shutdown(&chain.a->dev));

	dlu_come_back();
	dlu_do_thaw();
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.a->dev));
}

static void dlu_pass_all(struct kunit *test, const struct dlu_chain *chain)
{
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_ASSERT_EQ(test, 0, dlu_do_freeze());
	KUNIT_ASSERT_TRUE(test, device_liveupdate_shutdown(&chain->b->dev));
	dlu_clear_log();
}

/* What is lost before the shutdown has come to it is given back to its driver. */
static void dlu_lose_before_pass_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	dlu_pass_all(test, &chain);
	scoped_guard(device, &chain.a->dev)
		device_liveupdate_lose(&chain.a->dev, "it failed");
	dlu_expect(test, " bus-thaw:a thaw:a bus-cancel:a cancel:a");
	KUNIT_EXPECT_FALSE(test, device_liveupdate_shutdown(&chain.a->dev));
}

/* Afterwards it is stopped, and all that was handed over stays so. */
static void dlu_lose_passed_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	size_t size;

	chain.b->blob = true;
	dlu_request(test, chain.b);
	dlu_pass_all(test, &chain);
	size = chain.b->dev.liveupdate->data.size;
	KUNIT_ASSERT_NE(test, 0, size);
	for (int again = 0; again < 2; again++) {
		scoped_guard(device, &chain.b->dev)
			device_liveupdate_lose(&chain.b->dev, "it failed");
		dlu_expect(test, again ? "" : " stop:b");
	}
	KUNIT_EXPECT_TRUE(test, dlu_outgoing_ser(chain.b)->flags &
				DEVICE_LIVEUPDATE_SER_LOST);
	KUNIT_EXPECT_FALSE(test, dlu_outgoing_ser(chain.a)->flags &
				 DEVICE_LIVEUPDATE_SER_LOST);
	KUNIT_EXPECT_EQ(test, chain.b->dev.liveupdate->data.size, size);

	/* Whatever is called, this one is not. */
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a");
	device_release_driver(&chain.b->dev);
	dlu_expect(test, " remove:b");
}

/* The same if somebody takes it away, whatever becomes of the rest. */
static void dlu_remove_passed_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	dlu_pass_all(test, &chain);
	dlu_do_thaw();
	dlu_expect(test, " bus-thaw:a thaw:a");
	dlu_del(chain.b);
	dlu_expect(test, " stop:b remove:b");
	KUNIT_EXPECT_TRUE(test, dlu_outgoing_ser(chain.b)->flags &
				DEVICE_LIVEUPDATE_SER_LOST);
}

/* A bus that has nothing to stop; and what is only on the path accesses nothing. */
static void dlu_lose_passed_bare_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);

	dlu_request(test, chain.b);
	dlu_pass_all(test, &chain);
	KUNIT_ASSERT_TRUE(test, device_liveupdate_shutdown(&chain.bridge->dev));
	scoped_guard(device, &chain.bridge->dev)
		device_liveupdate_lose(&chain.bridge->dev, "it failed");
	dlu_bus_ops.stop = NULL;
	scoped_guard(device, &chain.b->dev)
		device_liveupdate_lose(&chain.b->dev, "it failed");
	dlu_expect(test, "");
	KUNIT_EXPECT_TRUE(test, dlu_outgoing_ser(chain.b)->flags &
				DEVICE_LIVEUPDATE_SER_LOST);
	KUNIT_EXPECT_TRUE(test, dlu_outgoing_ser(chain.bridge)->flags &
				DEVICE_LIVEUPDATE_SER_LOST);
}

/* 10. Live update is off in the next kernel. */

static bool dlu_may_not_free(void)
{
	return false;
}

static void dlu_abandon_test(struct kunit *test)
{
	struct dlu_chain chain;

	dlu_jump_chain(test);
	kunit_activate_static_stub(test, device_liveupdate_may_free,
				   dlu_may_not_free);
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_abandon(&dlu_subsystem, &dlu->handed));
	KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
	dlu_expect_retained(test, "devices");
	chain = dlu_make_chain(test);
	dlu_expect(test, " probe:bridge quarantine:a probe:a quarantine:b probe:b");
	dlu_expect_retained(test, "");
	KUNIT_EXPECT_TRUE(test, dlu_driven_by(chain.a, DLU_ONE));
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_PTR_EQ(test, chain.a->dev.liveupdate->incoming, NULL);
	dlu_go_down();
	dlu_expect(test, "");
}

static void dlu_abandon_damaged_test(struct kunit *test)
{
	dlu_jump_chain(test);
	dlu_ser(2)->value++;
	KUNIT_EXPECT_EQ(test, 0, device_liveupdate_abandon(&dlu_subsystem, &dlu->handed));
	dlu_make_chain(test);
	/* The stub is not needed: what a damaged record leads to is never freed. */
	dlu_expect(test, " quarantine:bridge probe:bridge quarantine:a probe:a",
		   " quarantine:b probe:b");
	dlu_del_all();
	dlu_unboot();

	dlu_table()->checksum++;
	KUNIT_EXPECT_EQ(test, -EBADMSG,
			device_liveupdate_abandon(&dlu_subsystem, &dlu->handed));
	dlu_expect_retained(test, "");
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	dlu_make_chain(test);
	dlu_expect(test, " probe:bridge probe:a probe:b");
}

/* 11. device_liveupdate_adopt() */

static void dlu_adopt_null_test(struct kunit *test)
{
	struct dlu_device *bridge, *other;
	u32 version = 7;

	dlu_jump_chain(test);
	dlu_boot(test);
	other = dlu_make(test, "other", NULL);
	dlu_expect(test, " probe:other");
	bridge = dlu_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlu_add(test, bridge);
	KUNIT_EXPECT_TRUE(test, device_liveupdate_inherited(&bridge->dev));
	KUNIT_EXPECT_FALSE(test, device_liveupdate_inherited(&other->dev));

	scoped_guard(device, &bridge->dev)
		KUNIT_EXPECT_NULL(test, device_liveupdate_adopt(&bridge->dev,
								&version));
	scoped_guard(device, &other->dev)
		KUNIT_EXPECT_NULL(test, device_liveupdate_adopt(&other->dev,
								&version));
	KUNIT_EXPECT_EQ(test, version, 7);
}

/* 12. What other participants ask. */

/* "b" is the last of the chain, wherever it is called. */
static void dlu_hook_outgoing_index(struct dlu_device *dlu_dev)
{
	u32 index = 7;

	KUNIT_EXPECT_EQ(dlu->test, 0,
			device_liveupdate_outgoing_index(&dlu_dev->dev, &index));
	KUNIT_EXPECT_EQ(dlu->test, index, 2);
}

static void dlu_outgoing_index_test(struct kunit *test)
{
	struct dlu_chain chain = dlu_make_chain(test);
	u32 index = 7;

	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
	dlu_request(test, chain.b);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
	chain.b->hook = dlu_hook_outgoing_index;
	chain.b->hook_at = "prepare";
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.bridge->dev,
							 &index));
	KUNIT_EXPECT_EQ(test, index, 7);
	KUNIT_EXPECT_EQ(test, 0,
			device_liveupdate_outgoing_index(&chain.a->dev, &index));
	KUNIT_EXPECT_EQ(test, index, 1);
	chain.b->hook_at = "cancel";
	dlu_do_cancel();
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));

	/* Also if it is cancelled because it goes away. */
	KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());
	dlu_del(chain.b);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			device_liveupdate_outgoing_index(&chain.b->dev, &index));
}

static void dlu_hook_incoming_index(struct dlu_device *dlu_dev)
{
	u32 index = 7;

	KUNIT_EXPECT_EQ(dlu->test, 0,
			device_liveupdate_incoming_index(&dlu_dev->dev, &index));
	KUNIT_EXPECT_EQ(dlu->test, index, 1);
}

static int dlu_incoming_index(struct dlu_device *dlu_dev, u32 *index)
{
	guard(device)(&dlu_dev->dev);

	return device_liveupdate_incoming_index(&dlu_dev->dev, index);
}

static void dlu_incoming_index_test(struct kunit *test)
{
	struct dlu_device *bridge, *a, *other;
	u32 index = 7;

	dlu_jump_chain(test);
	dlu_boot(test);
	other = dlu_make(test, "other", NULL);
	KUNIT_EXPECT_EQ(test, -ENOENT, dlu_incoming_index(other, &index));
	bridge = dlu_new(test, "bridge", NULL);
	bridge->drivers = 0;
	dlu_add(test, bridge);
	KUNIT_EXPECT_EQ(test, -ENOENT, dlu_incoming_index(bridge, &index));
	KUNIT_EXPECT_EQ(test, index, 7);

	a = dlu_new(test, "a", bridge);
	a->hook = dlu_hook_incoming_index;
	a->hook_at = "adopt";
	dlu_add(test, a);
	dlu_expect(test, " probe:other probe:a adopt:a");
	/* It is no more than what it is now. */
	KUNIT_EXPECT_EQ(test, -ENOENT, dlu_incoming_index(a, &index));
}

static void dlu_fates_test(struct kunit *test)
{
	struct dlu_device *bridge, *a;

	dlu_jump_chain(test);
	dlu_boot(test);
	bridge = dlu_make_bridge(test, "bridge", NULL);
	a = dlu_make(test, "a", bridge);
	dlu_expect_fates(test, "UUU");
	/* They run, with drivers that know what on. */
	dlu_do_finish();
	dlu_expect_fates(test, "RRA");
	/* Whatever comes later. */
	dlu_del(a);
	KUNIT_EXPECT_EQ(test, 0, dlu_forget(""));
	dlu_expect_fates(test, "RRA");
	KUNIT_EXPECT_EQ(test, 0, dlu_do_prepare());
	dlu_expect_fates(test, "UUU");
}

static void dlu_fates_quarantined_test(struct kunit *test)
{
	dlu_jump_chain(test);
	/* It is known whose the one is, but not the other. */
	dlu_ser(1)->version = 0;
	dlu_ser(2)->id[0] = ' ';
	dlu_seal();
	dlu_boot(test);
	dlu_make_chain(test);
	dlu_expect(test, " probe:bridge quarantine:a probe:b");
	dlu_do_finish();
	dlu_expect_fates(test, "RQU");
}

/* A record that is corrupted may be of another device than the one that was stopped. */
static void dlu_fates_corrupted_test(struct kunit *test)
{
	dlu_jump_one(test, DLU_ONE);
	dlu_unboot();
	dlu_ser(0)->version++;
	dlu_boot(test);
	dlu_make(test, "a", NULL);
	dlu_expect(test, " quarantine:a");
	dlu_do_finish();
	dlu_expect_fates(test, "U");
}

/* 13. Without memory: each allocation fails once. */

/* What must be the same after everything was undone. */
struct dlu_counts {
	unsigned int references;
	int awake;
};

static struct dlu_counts dlu_counts(const struct dlu_device *dlu_dev)
{
	return (struct dlu_counts){
		.references = kref_read(&dlu_dev->dev.kobj.kref),
		.awake = atomic_read(&dlu_dev->dev.power.usage_count),
	};
}

static void dlu_expect_counts(struct kunit *test, const struct dlu_device *dlu_dev,
			      struct dlu_counts before)
{
	struct dlu_counts now = dlu_counts(dlu_dev);

	KUNIT_EXPECT_EQ(test, now.references, before.references);
	KUNIT_EXPECT_EQ(test, now.awake, before.awake);
}

/* How often this callback ran since the log was cleared. */
static unsigned int dlu_nr_calls(const char *call)
{
	unsigned int nr = 0;
	const char *at;

	guard(mutex)(&dlu->lock);
	at = seq_buf_str(&dlu->log);
	while ((at = strstr(at, call))) {
		at++;
		nr++;
	}

	return nr;
}

static void dlu_fault_request_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	struct dlu_counts counts;
	struct dlu_device *a;
	int err;

	liveupdate_fault_require(test);
	a = dlu_make(test, "a", NULL);
	counts = dlu_counts(a);
	while (liveupdate_fault_next(test, &fault)) {
		dlu_failure.error = 0;

		liveupdate_fault_begin(&fault);
		err = device_liveupdate_request(&a->dev, true);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			dlu_expect_failed(test, "a", -ENOMEM, NULL);
			failed++;
		} else {
			KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 1);
			KUNIT_EXPECT_EQ(test, 0, device_liveupdate_request(&a->dev,
									   false));
		}
		KUNIT_EXPECT_EQ(test, dlu_nr_requested(), 0);
		dlu_expect_counts(test, a, counts);
	}
	KUNIT_EXPECT_GE(test, failed, 1);
}

static void dlu_fault_prepare(struct kunit *test, const struct dlu_chain *chain,
			      unsigned long *seen)
{
	struct dlu_device *const all[] = { chain->bridge, chain->a, chain->b };
	struct liveupdate_fault fault = {};
	struct dlu_counts counts[ARRAY_SIZE(all)];
	int err;

	for (int i = 0; i < ARRAY_SIZE(all); i++)
		counts[i] = dlu_counts(all[i]);
	while (liveupdate_fault_next(test, &fault)) {
		dlu_failure.error = 0;
		dlu_clear_log();

		liveupdate_fault_begin(&fault);
		err = dlu_do_prepare();
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_TRUE(test, fault.hit);
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			/* Of the table no device can be blamed. */
			for (int i = 0; dlu_failure.error && i < ARRAY_SIZE(all); i++)
				if (!strcmp(dlu_failed(), all[i]->id))
					*seen |= BIT(i);
			if (dlu_failure.error)
				KUNIT_EXPECT_EQ(test, dlu_failure.error, -ENOMEM);
		} else {
			KUNIT_EXPECT_EQ(test, dlu_failure.error, 0);
			KUNIT_EXPECT_EQ(test, dlu_nr_calls(" bus-prepare:"), 2);
			dlu_do_cancel();
		}
		KUNIT_EXPECT_EQ(test, dlu_nr_calls(" bus-prepare:"),
				dlu_nr_calls(" bus-cancel:"));
		KUNIT_EXPECT_EQ(test, dlu_nr_calls(" prepare:"),
				dlu_nr_calls(" cancel:"));
		KUNIT_EXPECT_EQ(test, dlu_nr_calls(" path-on:"),
				dlu_nr_calls(" path-off:"));
		dlu_expect_idle(test);
		for (int i = 0; i < ARRAY_SIZE(all); i++)
			dlu_expect_counts(test, all[i], counts[i]);
	}
	dlu_clear_log();
}

static void dlu_fault_prepare_test(struct kunit *test)
{
	struct dlu_chain chain;
	unsigned long seen = 0;

	liveupdate_fault_require(test);
	chain = dlu_make_chain(test);
	chain.b->blob = true;
	/* So that it is the bridge of which nothing is known when the first one fails. */
	dlu_request(test, chain.a);
	KUNIT_ASSERT_EQ(test, 0, device_liveupdate_request(&chain.a->dev, false));
	dlu_request(test, chain.b);
	dlu_fault_prepare(test, &chain, &seen);
	/* What is known of a device is kept: the second time it is there already. */
	dlu_fault_prepare(test, &chain, &seen);
	/* The bridge has nothing to save: it was not possible to take note of it. */
	KUNIT_EXPECT_EQ(test, seen, 7);
}

static void dlu_fault_freeze_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dlu_chain chain;
	int err;

	liveupdate_fault_require(test);
	chain = dlu_make_chain(test);
	dlu_request(test, chain.b);
	while (liveupdate_fault_next(test, &fault)) {
		KUNIT_ASSERT_EQ(test, 0, dlu_do_prepare());

		liveupdate_fault_begin(&fault);
		err = dlu_do_freeze();
		dlu_do_thaw();
		dlu_do_cancel();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, err, 0);
		dlu_expect_idle(test);
		dlu_clear_log();
	}
}

static unsigned int dlu_nr_freed(void)
{
	struct dlu_memory *memory;
	unsigned int nr = 0;

	list_for_each_entry(memory, &dlu->memory, list)
		nr += memory->freed;

	return nr;
}

static void dlu_fault_restore_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	unsigned int failed = 0;
	int err;

	liveupdate_fault_require(test);
	dlu_jump_chain(test);
	while (liveupdate_fault_next(test, &fault)) {
		liveupdate_fault_begin(&fault);
		err = dlu_do_restore();
		liveupdate_fault_end(&fault);

		KUNIT_EXPECT_EQ(test, dlu_nr_freed(), 0);
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			KUNIT_EXPECT_FALSE(test, dlu_incoming.awaiting);
			KUNIT_EXPECT_NULL(test, dlu_incoming.records);
			KUNIT_EXPECT_NULL(test, dlu_incoming.buckets);
			KUNIT_EXPECT_NULL(test, dlu_incoming.fates);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_fates, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_lost, 0);
			failed++;
			KUNIT_ASSERT_EQ(test, 0, dlu_do_restore());
		}
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 3);
		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 3);
		KUNIT_EXPECT_TRUE(test, dlu_incoming.awaiting);
		dlu_unboot();
	}
	/* Head and block of the table, records, buckets, and a bit for each record. */
	KUNIT_EXPECT_GE(test, failed, 5);
}

/* Expects that everything that was handed over is freed, and nobody waits for it. */
static void dlu_expect_disposed(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, dlu_nr_freed(), list_count_nodes(&dlu->memory));
	KUNIT_EXPECT_EQ(test, dlu->rogue, 0);
	KUNIT_EXPECT_NULL(test, dlu_incoming.records);
	KUNIT_EXPECT_NULL(test, dlu_incoming.buckets);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_records, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
}

/*
 * A device that was handed over appears and is probed: the driver core itself needs
 * memory for it. Either it does not appear, and does so later; or it is taken over;
 * or it is made harmless once, and is an ordinary device after finish.
 */
static void dlu_fault_appear_test(struct kunit *test)
{
	unsigned int absent = 0, reclaimed = 0, quarantined = 0;
	struct liveupdate_fault fault = {};
	struct dlu_device *a;
	int err;

	liveupdate_fault_require(test);
	dlu_jump_one(test, DLU_ONE);
	while (liveupdate_fault_next(test, &fault)) {
		a = dlu_new(test, "a", NULL);

		liveupdate_fault_begin(&fault);
		err = device_add(&a->dev);
		liveupdate_fault_end(&fault);

		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			dlu_expect(test, "");
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 1);
			KUNIT_EXPECT_EQ(test, dlu_incoming.nr_claimed, 0);
			KUNIT_EXPECT_EQ(test, dlu_nr_freed(), 0);
			absent++;
			dlu_add(test, a);
		}
		a->gone = false;

		KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);
		if (!a->dev.liveupdate) {
			/* Nothing could be noted of it. */
			KUNIT_EXPECT_EQ(test, dlu_nr_calls(" quarantine:a blob:a"), 1);
		} else if (dlu_nr_calls(" quarantine:a")) {
			dlu_expect_fate(test, 0, QUARANTINED);
			KUNIT_EXPECT_NULL(test, a->dev.driver);
			KUNIT_EXPECT_EQ(test, dlu_nr_freed(), 0);
			quarantined++;
		} else {
			dlu_expect_fate(test, 0, RECLAIMED);
			KUNIT_EXPECT_EQ(test, dlu_nr_calls(" adopt:a"), 1);
			reclaimed++;
		}
		KUNIT_EXPECT_LE(test, dlu_nr_calls(" quarantine:a"), 1);

		dlu_do_finish();
		dlu_expect_disposed(test);
		dlu_clear_log();
		dlu_del(a);
		dlu_unboot();
		dlu_boot(test);
	}
	KUNIT_EXPECT_GT(test, absent, 0);
	KUNIT_EXPECT_GT(test, reclaimed, 0);
	KUNIT_EXPECT_GT(test, quarantined, 0);
}

/* No memory to note anything of a device that appears: it is harmless at once. */
static void dlu_fault_note_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};
	struct dlu_device *a;
	int err;

	liveupdate_fault_require(test);
	dlu_jump_one(test, DLU_ONE);
	a = dlu_new(test, "a", NULL);
	a->fail = "note";
	err = device_add(&a->dev);
	liveupdate_fault_end(&fault);
	a->gone = false;

	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, fault.hit);
	KUNIT_EXPECT_NULL(test, a->dev.liveupdate);
	KUNIT_EXPECT_EQ(test, dlu_nr_calls(" quarantine:a blob:a"), 1);
	KUNIT_EXPECT_EQ(test, dlu_nr_calls(" adopt:a"), 0);
	KUNIT_EXPECT_EQ(test, dlu_incoming.nr_absent, 0);

	dlu_do_finish();
	dlu_expect_disposed(test);
}

static void dlu_fault_finish_test(struct kunit *test)
{
	struct liveupdate_fault fault = {};

	liveupdate_fault_require(test);
	dlu_jump_chain(test);
	while (liveupdate_fault_next(test, &fault)) {
		dlu_boot(test);
		dlu_make_chain(test);
		dlu_clear_log();

		liveupdate_fault_begin(&fault);
		device_liveupdate_finish(&dlu_subsystem, &dlu->handed);
		liveupdate_fault_end(&fault);

		device_liveupdate_flush();
		dlu_expect(test, " finish:b finish:a blob:a");
		dlu_expect_disposed(test);
		dlu_del_all();
		dlu_unboot();
	}
}

static const struct bus_type *const dlu_buses[] = {
	&dlu_bus, &dlu_second_bus, &dlu_foreign_bus, &dlu_shutdown_bus,
};

static int dlu_suite_init(struct kunit_suite *suite)
{
	unsigned int i;
	int err;

	err = class_register(&dlu_class);
	if (err)
		return err;
	err = class_register(&dlu_shutdown_class);
	if (err)
		goto err_class;
	for (i = 0; i < ARRAY_SIZE(dlu_buses); i++) {
		err = bus_register(dlu_buses[i]);
		if (err)
			goto err_bus;
	}

	return 0;

err_bus:
	while (i--)
		bus_unregister(dlu_buses[i]);
	class_unregister(&dlu_shutdown_class);
err_class:
	class_unregister(&dlu_class);

	return err;
}

static void dlu_suite_exit(struct kunit_suite *suite)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(dlu_buses); i++)
		bus_unregister(dlu_buses[i]);
	class_unregister(&dlu_shutdown_class);
	class_unregister(&dlu_class);
}

static struct kunit_case dlu_cases[] = {
	KUNIT_CASE_PARAM(dlu_request_refused_test, dlu_refusal_gen_params),
	KUNIT_CASE_PARAM(dlu_needed_refused_test, dlu_refusal_gen_params),
	KUNIT_CASE(dlu_request_longest_test),
	KUNIT_CASE(dlu_request_count_test),
	KUNIT_CASE(dlu_request_withdrawn_test),
	KUNIT_CASE(dlu_request_files_test),
	KUNIT_CASE(dlu_reason_test),
	KUNIT_CASE(dlu_same_identity_test),
	KUNIT_CASE(dlu_set_test),
	KUNIT_CASE(dlu_set_chain_test),
	KUNIT_CASE(dlu_freeze_late_test),
	KUNIT_CASE(dlu_set_spartan_test),
	KUNIT_CASE(dlu_set_stops_test),
	KUNIT_CASE(dlu_set_both_test),
	KUNIT_CASE(dlu_set_supplier_test),
	KUNIT_CASE(dlu_set_removed_test),
	KUNIT_CASE(dlu_set_cycle_test),
	KUNIT_CASE(dlu_set_child_test),
	KUNIT_CASE(dlu_set_consumer_test),
	KUNIT_CASE(dlu_bind_driver_test),
	KUNIT_CASE(dlu_set_class_child_test),
	KUNIT_CASE(dlu_set_foreign_test),
	KUNIT_CASE(dlu_order_test),
	KUNIT_CASE(dlu_order_moved_test),
	KUNIT_CASE_PARAM(dlu_failure_test, dlu_failure_gen_params),
	KUNIT_CASE(dlu_round_trip_test),
	KUNIT_CASE(dlu_many_test),
	KUNIT_CASE(dlu_flip_record_test),
	KUNIT_CASE(dlu_flip_table_test),
	KUNIT_CASE(dlu_table_test),
	KUNIT_CASE(dlu_empty_table_test),
	KUNIT_CASE(dlu_block_test),
	KUNIT_CASE(dlu_own_table_test),
	KUNIT_CASE(dlu_short_block_test),
	KUNIT_CASE_PARAM(dlu_field_test, dlu_field_gen_params),
	KUNIT_CASE(dlu_corrupted_test),
	KUNIT_CASE(dlu_corrupted_other_test),
	KUNIT_CASE(dlu_corrupted_twin_test),
	KUNIT_CASE(dlu_twins_test),
	KUNIT_CASE(dlu_adopt_test),
	KUNIT_CASE_PARAM(dlu_taker_test, dlu_taker_gen_params),
	KUNIT_CASE(dlu_plain_driver_test),
	KUNIT_CASE(dlu_next_driver_test),
	KUNIT_CASE(dlu_fingerprint_test),
	KUNIT_CASE(dlu_bus_match_test),
	KUNIT_CASE(dlu_no_blob_test),
	KUNIT_CASE(dlu_identity_test),
	KUNIT_CASE_PARAM(dlu_parent_test, dlu_parent_gen),
	KUNIT_CASE(dlu_path_parent_test),
	KUNIT_CASE(dlu_parent_fails_later_test),
	KUNIT_CASE_PARAM(dlu_provider_late_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_deferred_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_missing_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_fails_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_released_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_removed_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_unbound_test, dlu_way_gen_params),
	KUNIT_CASE_PARAM(dlu_provider_lost_test, dlu_way_gen_params),
	KUNIT_CASE(dlu_hungry_test),
	KUNIT_CASE_PARAM(dlu_hungry_damage_test, dlu_more_gen_params),
	KUNIT_CASE(dlu_provider_order_test),
	KUNIT_CASE(dlu_no_parent_test),
	KUNIT_CASE(dlu_decline_test),
	KUNIT_CASE(dlu_bound_test),
	KUNIT_CASE(dlu_unidentified_test),
	KUNIT_CASE(dlu_quarantine_asleep_test),
	KUNIT_CASE(dlu_probe_error_test),
	KUNIT_CASE(dlu_adopt_error_test),
	KUNIT_CASE(dlu_defer_test),
	KUNIT_CASE(dlu_defer_forgets_test),
	KUNIT_CASE(dlu_async_test),
	KUNIT_CASE(dlu_silent_test),
	KUNIT_CASE(dlu_finish_test),
	KUNIT_CASE(dlu_running_test),
	KUNIT_CASE(dlu_running_stopped_test),
	KUNIT_CASE(dlu_running_late_test),
	KUNIT_CASE(dlu_forget_absent_test),
	KUNIT_CASE(dlu_reboot_test),
	KUNIT_CASE(dlu_reboot_late_test),
	KUNIT_CASE(dlu_finish_path_test),
	KUNIT_CASE(dlu_finish_path_absent_test),
	KUNIT_CASE(dlu_comes_back_test),
	KUNIT_CASE(dlu_removed_running_test),
	KUNIT_CASE(dlu_unbound_test),
	KUNIT_CASE(dlu_unbind_prepared_test),
	KUNIT_CASE(dlu_remove_prepared_test),
	KUNIT_CASE(dlu_remove_frozen_test),
	KUNIT_CASE(dlu_unbind_path_test),
	KUNIT_CASE(dlu_remove_before_turn_test),
	KUNIT_CASE(dlu_unbind_after_turn_test),
	KUNIT_CASE(dlu_unbind_in_freeze_test),
	KUNIT_CASE(dlu_unbind_frozen_in_freeze_test),
	KUNIT_CASE(dlu_may_change_test),
	KUNIT_CASE(dlu_late_child_test),
	KUNIT_CASE(dlu_no_set_test),
	KUNIT_CASE(dlu_identity_changes_test),
	KUNIT_CASE(dlu_shutdown_test),
	KUNIT_CASE(dlu_lose_before_pass_test),
	KUNIT_CASE(dlu_lose_passed_test),
	KUNIT_CASE(dlu_remove_passed_test),
	KUNIT_CASE(dlu_lose_passed_bare_test),
	KUNIT_CASE(dlu_abandon_test),
	KUNIT_CASE(dlu_abandon_damaged_test),
	KUNIT_CASE(dlu_adopt_null_test),
	KUNIT_CASE(dlu_outgoing_index_test),
	KUNIT_CASE(dlu_incoming_index_test),
	KUNIT_CASE(dlu_fates_test),
	KUNIT_CASE(dlu_fates_quarantined_test),
	KUNIT_CASE(dlu_fates_corrupted_test),
	{}
};

static struct kunit_suite dlu_suite = {
	.name = "device_liveupdate",
	.suite_init = dlu_suite_init,
	.suite_exit = dlu_suite_exit,
	.init = dlu_init,
	.exit = dlu_exit,
	.test_cases = dlu_cases,
};

static struct kunit_case dlu_fault_cases[] = {
	KUNIT_CASE(dlu_fault_request_test),
	KUNIT_CASE(dlu_fault_prepare_test),
	KUNIT_CASE(dlu_fault_freeze_test),
	KUNIT_CASE(dlu_fault_restore_test),
	KUNIT_CASE_SLOW(dlu_fault_appear_test),
	KUNIT_CASE(dlu_fault_note_test),
	KUNIT_CASE(dlu_fault_finish_test),
	{}
};

static struct kunit_suite dlu_fault_suite = {
	.name = "device_liveupdate_faults",
	.suite_init = dlu_suite_init,
	.suite_exit = dlu_suite_exit,
	.init = dlu_init,
	.exit = dlu_exit,
	.test_cases = dlu_fault_cases,
};

kunit_test_suites(&dlu_suite, &dlu_fault_suite);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("KUnit tests for devices in a live update");
MODULE_LICENSE("GPL");
