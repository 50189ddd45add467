// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test bus for live update of devices
 *
 * A bus, drivers and devices that take part in a live update as they are told.
 * KUnit tests, two-kernel scenarios and measurements drive drivers/base/ with
 * them through every failure, and authors of buses and drivers see how the
 * callbacks look. For test kernels only.
 *
 * The bus is called "liveupdate-test". Its drivers are one ("liveupdate-test",
 * which saves data compatible with "liveupdate-test-one"), other
 * ("liveupdate-test-other", "liveupdate-test-two"), empty ("liveupdate-test-empty",
 * which has nothing to save and no callbacks) and plain ("liveupdate-test-plain",
 * which knows nothing of live update). A second bus, "liveupdate-test-foreign",
 * with a driver of the same name, knows nothing of it either.
 *
 * Control is the same text in the module parameter "config" and in the debugfs
 * file liveupdate_test_bus/config: entries separated by ';' or line end::
 *
 *	add NAME [KEY=VALUE,...]	a device appears
 *	set NAME KEY=VALUE,...		it is told something else
 *	remove NAME			it disappears, those below it before
 *	lose NAME			the bus finds that it failed
 *	link CONSUMER SUPPLIER [stateless=1]
 *					device_link_add(), managed or stateless
 *	depend DEVICE DEPENDENCY	the bus says that it depends on it, too
 *	bulk N [KEY=VALUE,...]		N devices appear, "bulk-00001" and so on;
 *					keys parent, driver, and blob=1 for a
 *					blob instead of a plain value
 *	register DRIVER			a driver that the module parameter
 *					"drivers" left out comes late
 *	driver DRIVER KEY=VALUE,...	what one or other claims; module parameter
 *					only. Keys compatible, version, oldest,
 *					async=0|1
 *	clear				undo fail, errno, slow, ms, hold,
 *					unsupported and defer of all devices,
 *					empty the log, let all go on that wait
 *
 * A name has letters, digits, '-' and '_'; it starts with a letter and has a
 * digit, so that it cannot be that of a file in sysfs. Keys of a device::
 *
 *	parent=NAME	add only: it is below this device
 *	class=1		add only: with a class device without a bus in between
 *	bus=foreign	add only: it is on the other bus
 *	driver=DRIVER	which drivers it matches: one, other, plain, empty, several with
 *			'+' in between, or none. one, if not given
 *	bridge=0|1	whether the bus says that it is a bridge
 *	id=TEXT		identity, NAME if not given
 *	fingerprint=TEXT
 *			fingerprint of the hardware, nothing if not given
 *	data=TEXT	text that prepare saves as a blob, NAME if not given;
 *			empty: a plain value
 *	frozen=TEXT	text as long as data, that freeze puts into the blob instead
 *	fail=STEP	this callback fails; none: it does not
 *	errno=N		with this error, 5 if not given
 *	slow=STEP	this callback sleeps; none: none does
 *	ms=N		for so long
 *	hold=STEP	this callback waits for a write to the file "release"; none:
 *			none does
 *	unsupported=REASON
 *			the bus says that it cannot be preserved; empty: it can
 *	defer=N		probe returns -EPROBE_DEFER N times
 *	suspend=0|1	probe takes lock_system_sleep() for a moment
 *
 * Steps of the driver are probe, adopt, prepare, freeze, thaw, cancel, finish,
 * shutdown and remove; those of the bus are identify, bus-prepare, bus-freeze,
 * bus-thaw, bus-cancel, path-on, path-off, shutdown-path, stop and quarantine.
 *
 * Further files in debugfs: "calls" lists the latest callbacks but identify, one
 * "STEP NAME ERRNO" a line, as they begin; "release", by a write of any text, lets
 * all go on that wait now, whatever "config" is busy with; "received" what probe was
 * handed over, one "NAME VERSION TEXT" a line. What happens to a device when there
 * is nobody left to ask - shutdown, shutdown-path, stop and quarantine - is in the log of
 * the kernel, too. Devices in bulk do not log until they are told something with
 * "set".
 *
 * Each device knows what must have happened to it before. A callback that comes
 * at the wrong time is reported as "NAME: STEP is out of turn".
 *
 * Locking: &test_bus_control serialises changes and is held over calls into
 * the driver core. &test_bus_lock, which is taken inside of it and by callbacks,
 * protects the list, what devices are told, the log of calls and the count of
 * releases. It is not held while a callback sleeps or calls out. A callback is in the
 * log and counts releases from one moment on, so who has seen it there can release
 * it.
 */

#define pr_fmt(fmt) "liveupdate_test_bus: " fmt

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "liveupdate_test_bus.h"

#define TEST_BUS_CALLS		4096
#define TEST_BUS_PLAIN_VALUE	0x64657669ULL
#define TEST_BUS_CONFIG_LEN	8192
#define TEST_BUS_NAME_LEN	32
#define TEST_BUS_TEXT_LEN	64
#define TEST_BUS_BULK_MAX	200000
#define TEST_BUS_REASONS	16
#define TEST_BUS_DEPENDENCIES	4

enum test_bus_step {
	TEST_BUS_NONE,
	TEST_BUS_IDENTIFY,
	TEST_BUS_PROBE,
	TEST_BUS_ADOPT,
	TEST_BUS_PREPARE,
	TEST_BUS_BUS_PREPARE,
	TEST_BUS_FREEZE,
	TEST_BUS_BUS_FREEZE,
	TEST_BUS_BUS_THAW,
	TEST_BUS_THAW,
	TEST_BUS_BUS_CANCEL,
	TEST_BUS_CANCEL,
	TEST_BUS_PATH_ON,
	TEST_BUS_PATH_OFF,
	TEST_BUS_FINISH,
	TEST_BUS_QUARANTINE,
	TEST_BUS_SHUTDOWN,
	TEST_BUS_SHUTDOWN_PATH,
	TEST_BUS_STOP,
	TEST_BUS_REMOVE,
};

static const char *const test_bus_steps[] = {
	[TEST_BUS_NONE]		= "none",
	[TEST_BUS_IDENTIFY]	= "identify",
	[TEST_BUS_PROBE]	= "probe",
	[TEST_BUS_ADOPT]	= "adopt",
	[TEST_BUS_PREPARE]	= "prepare",
	[TEST_BUS_BUS_PREPARE]	= "bus-prepare",
	[TEST_BUS_FREEZE]	= "freeze",
	[TEST_BUS_BUS_FREEZE]	= "bus-freeze",
	[TEST_BUS_BUS_THAW]	= "bus-thaw",
	[TEST_BUS_THAW]		= "thaw",
	[TEST_BUS_BUS_CANCEL]	= "bus-cancel",
	[TEST_BUS_CANCEL]	= "cancel",
	[TEST_BUS_PATH_ON]	= "path-on",
	[TEST_BUS_PATH_OFF]	= "path-off",
	[TEST_BUS_FINISH]	= "finish",
	[TEST_BUS_QUARANTINE]	= "quarantine",
	[TEST_BUS_SHUTDOWN]	= "shutdown",
	[TEST_BUS_SHUTDOWN_PATH] = "shutdown-path",
	[TEST_BUS_STOP]		= "stop",
	[TEST_BUS_REMOVE]	= "remove",
};

static const u32 test_bus_can_fail =
	BIT(TEST_BUS_NONE) | BIT(TEST_BUS_IDENTIFY) | BIT(TEST_BUS_PROBE) |
	BIT(TEST_BUS_ADOPT) | BIT(TEST_BUS_PREPARE) | BIT(TEST_BUS_BUS_PREPARE) |
	BIT(TEST_BUS_FREEZE) | BIT(TEST_BUS_BUS_FREEZE) | BIT(TEST_BUS_PATH_ON) |
	BIT(TEST_BUS_QUARANTINE);

static const u32 test_bus_in_kernel_log =
	BIT(TEST_BUS_QUARANTINE) | BIT(TEST_BUS_SHUTDOWN) |
	BIT(TEST_BUS_SHUTDOWN_PATH) | BIT(TEST_BUS_STOP);

/* How far driver and bus are with a device. */
enum test_bus_phase {
	TEST_BUS_IDLE,
	TEST_BUS_PREPARED,
	TEST_BUS_FROZEN,
};

/* What a device is told; those in bulk have none until they are. */
struct test_bus_options {
	char id[DEVICE_LIVEUPDATE_ID_LEN];
	char fingerprint[DEVICE_LIVEUPDATE_FINGERPRINT_LEN + 1];
	char data[TEST_BUS_TEXT_LEN];
	char frozen[TEST_BUS_TEXT_LEN];
	char received[TEST_BUS_TEXT_LEN];
	u32 received_version;
	enum test_bus_step fail;
	unsigned int fail_errno;
	enum test_bus_step slow;
	unsigned int slow_ms;
	enum test_bus_step hold;
	unsigned int defer;
	bool suspend;
	const char *unsupported;
	struct device *dependencies[TEST_BUS_DEPENDENCIES];
};

struct test_bus_device {
	struct device dev;
	struct list_head list;
	struct test_bus_device *parent;
	struct device *class_dev;
	struct test_bus_options *options;
	u8 drivers;
	bool class;
	bool bridge;
	bool blob;
	/* What happened to it so far. */
	u8 driver_phase;
	u8 bus_phase;
	bool on_path;
	bool adopted;
	bool quarantined;
};

static DEFINE_MUTEX(test_bus_control);
static DEFINE_MUTEX(test_bus_lock);
static LIST_HEAD(test_bus_devices);
static unsigned int test_bus_nr_bulk;
static bool test_bus_has_dependencies;

static struct {
	enum test_bus_step step;
	char name[TEST_BUS_NAME_LEN];
	int error;
} test_bus_log[TEST_BUS_CALLS];
static unsigned long test_bus_nr_calls;

static DECLARE_WAIT_QUEUE_HEAD(test_bus_waiting);
static unsigned int test_bus_nr_releases;

/* Reasons are constant for the core, so they outlive the device. */
static char test_bus_reasons[TEST_BUS_REASONS][TEST_BUS_TEXT_LEN];

static struct device *test_bus_root;

/* Others may hold references to devices for a while after they are gone. */
static atomic_t test_bus_nr_devices = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(test_bus_released);

static struct test_bus_device *to_test_bus_device(struct device *dev)
{
	return container_of(dev, struct test_bus_device, dev);
}

static void test_bus_go_on(void)
{
	lockdep_assert_held(&test_bus_lock);

	WRITE_ONCE(test_bus_nr_releases, test_bus_nr_releases + 1);
	wake_up_all(&test_bus_waiting);
}

/* What every callback does: note the call, take time, fail. */
static int test_bus_call(struct device *dev, enum test_bus_step step)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);
	unsigned int ms = 0, releases = 0;
	bool hold = false;
	int err = 0;

	if (!options)
		return 0;

	scoped_guard(mutex, &test_bus_lock) {
		unsigned long i = test_bus_nr_calls % TEST_BUS_CALLS;

		if (options->slow == step)
			ms = options->slow_ms;
		hold = options->hold == step;
		releases = test_bus_nr_releases;
		if (step == TEST_BUS_PROBE && options->defer) {
			options->defer--;
			err = -EPROBE_DEFER;
		} else if (options->fail == step) {
			err = -options->fail_errno;
		}
		if (step != TEST_BUS_IDENTIFY) {
			test_bus_nr_calls++;
			test_bus_log[i].step = step;
			test_bus_log[i].error = err;
			strscpy(test_bus_log[i].name, dev_name(dev));
		}
	}
	if (BIT(step) & test_bus_in_kernel_log)
		pr_info("%s %s\n", dev_name(dev), test_bus_steps[step]);
	if (ms)
		msleep(ms);
	if (hold)
		wait_event(test_bus_waiting,
			   READ_ONCE(test_bus_nr_releases) != releases);

	return err;
}

/* The steps of one device never overlap, so nothing protects its phases. */
static void test_bus_expect(struct device *dev, enum test_bus_step step,
			    bool in_turn)
{
	/* A driver without callbacks takes no turns. */
	if (in_turn || (dev->driver && dev->driver->liveupdate &&
			!dev->driver->liveupdate->prepare))
		return;
	pr_err("%s: %s is out of turn\n", dev_name(dev), test_bus_steps[step]);
}

/* Drivers */

/* The text that a device saves, empty for a plain value. */
static void test_bus_text(struct device *dev, char *text)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	struct test_bus_options *options = READ_ONCE(tdev->options);

	guard(mutex)(&test_bus_lock);
	if (options)
		strscpy(text, options->data, TEST_BUS_TEXT_LEN);
	else
		strscpy(text, tdev->blob ? dev_name(dev) : "", TEST_BUS_TEXT_LEN);
}

static int test_bus_adopt(struct device *dev,
			  const struct liveupdate_data *data, u32 version)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	struct test_bus_options *options = READ_ONCE(tdev->options);
	const char *text = liveupdate_data_blob(data);
	char want[TEST_BUS_TEXT_LEN];
	int err;

	err = test_bus_call(dev, TEST_BUS_ADOPT);
	if (err)
		return err;
	test_bus_expect(dev, TEST_BUS_ADOPT,
			!tdev->adopted && !tdev->quarantined);

	if (text && (data->size > TEST_BUS_TEXT_LEN ||
		     strnlen(text, data->size) != data->size - 1))
		return -EINVAL;
	if (!options) {
		test_bus_text(dev, want);
		if (want[0] ? !text || strcmp(text, want) :
			      data->size || data->value != TEST_BUS_PLAIN_VALUE)
			return -EINVAL;
	} else {
		guard(mutex)(&test_bus_lock);
		options->received_version = version;
		if (text)
			strscpy(options->received, text);
		else
			snprintf(options->received, sizeof(options->received),
				 "value=%#llx", data->value);
	}
	tdev->adopted = true;

	return 0;
}

static int test_bus_probe(struct device *dev)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);
	const struct liveupdate_data *data;
	u32 version;
	int err;

	err = test_bus_call(dev, TEST_BUS_PROBE);
	if (!err && options && options->suspend)
		unlock_system_sleep(lock_system_sleep());
	if (err || !dev->driver->liveupdate)
		return err;

	data = device_liveupdate_adopt(dev, &version);
	if (data)
		return test_bus_adopt(dev, data, version);

	return 0;
}

static int test_bus_remove(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_REMOVE);
	test_bus_expect(dev, TEST_BUS_REMOVE,
			tdev->driver_phase == TEST_BUS_IDLE &&
			tdev->bus_phase == TEST_BUS_IDLE);
	tdev->adopted = false;

	return 0;
}

static int test_bus_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	char text[TEST_BUS_TEXT_LEN];
	char *blob;
	int err;

	test_bus_expect(dev, TEST_BUS_PREPARE,
			tdev->driver_phase == TEST_BUS_IDLE &&
			tdev->bus_phase == TEST_BUS_IDLE && !tdev->on_path);
	err = test_bus_call(dev, TEST_BUS_PREPARE);
	if (err)
		return err;

	test_bus_text(dev, text);
	if (text[0]) {
		blob = liveupdate_data_alloc(data, strlen(text) + 1);
		if (IS_ERR(blob))
			return PTR_ERR(blob);
		strscpy(blob, text, data->size);
	} else {
		data->value = TEST_BUS_PLAIN_VALUE;
	}
	tdev->driver_phase = TEST_BUS_PREPARED;

	return 0;
}

static int test_bus_freeze(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	struct test_bus_options *options = READ_ONCE(tdev->options);
	char *blob = liveupdate_data_blob(data);
	int err;

	test_bus_expect(dev, TEST_BUS_FREEZE,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	err = test_bus_call(dev, TEST_BUS_FREEZE);
	if (err)
		return err;

	if (options) {
		guard(mutex)(&test_bus_lock);

		if (options->frozen[0] &&
		    (!blob || strlen(options->frozen) != data->size - 1))
			return -ENOSPC;
		if (options->frozen[0])
			strscpy(blob, options->frozen, data->size);
	}
	tdev->driver_phase = TEST_BUS_FROZEN;

	return 0;
}

static void test_bus_thaw(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_THAW);
	test_bus_expect(dev, TEST_BUS_THAW,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	tdev->driver_phase = TEST_BUS_PREPARED;
}

static void test_bus_cancel(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_CANCEL);
	test_bus_expect(dev, TEST_BUS_CANCEL,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_IDLE);
	tdev->driver_phase = TEST_BUS_IDLE;
}

static void test_bus_finish(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_FINISH);
	test_bus_expect(dev, TEST_BUS_FINISH,
			tdev->adopted && !tdev->quarantined);
	tdev->adopted = false;
}

/* The bus */

static int test_bus_identify(struct device *dev, struct device_liveupdate_id *id)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);
	int err;

	err = test_bus_call(dev, TEST_BUS_IDENTIFY);
	if (err)
		return err;
	if (!options)
		return strscpy(id->id, dev_name(dev)) < 0 ? -EINVAL : 0;

	guard(mutex)(&test_bus_lock);
	strscpy(id->id, options->id);
	memcpy(id->fingerprint, options->fingerprint, sizeof(id->fingerprint));

	return 0;
}

static int test_bus_supported(struct device *dev, const char **reason)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);

	if (!options)
		return 0;

	guard(mutex)(&test_bus_lock);
	if (!options->unsupported)
		return 0;
	*reason = options->unsupported;

	return -EOPNOTSUPP;
}

static bool test_bus_is_bridge(struct device *dev)
{
	return to_test_bus_device(dev)->bridge;
}

static int test_bus_dependencies(struct device *dev,
				 int (*add)(struct device *dependency,
					    void *context),
				 void *context)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);
	int err = 0;

	if (!options)
		return 0;

	for (int i = 0; i < TEST_BUS_DEPENDENCIES && !err; i++) {
		struct device *dependency;

		scoped_guard(mutex, &test_bus_lock)
			dependency = get_device(options->dependencies[i]);
		if (!dependency)
			continue;
		err = add(dependency, context);
		put_device(dependency);
	}

	return err;
}

static int test_bus_bus_prepare(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	test_bus_expect(dev, TEST_BUS_BUS_PREPARE,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_IDLE);
	err = test_bus_call(dev, TEST_BUS_BUS_PREPARE);
	if (!err)
		tdev->bus_phase = TEST_BUS_PREPARED;

	return err;
}

static int test_bus_bus_freeze(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	test_bus_expect(dev, TEST_BUS_BUS_FREEZE,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	err = test_bus_call(dev, TEST_BUS_BUS_FREEZE);
	if (!err)
		tdev->bus_phase = TEST_BUS_FROZEN;

	return err;
}

static void test_bus_bus_thaw(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_BUS_THAW);
	test_bus_expect(dev, TEST_BUS_BUS_THAW,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_FROZEN);
	tdev->bus_phase = TEST_BUS_PREPARED;
}

static void test_bus_bus_cancel(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_BUS_CANCEL);
	test_bus_expect(dev, TEST_BUS_BUS_CANCEL,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	tdev->bus_phase = TEST_BUS_IDLE;
}

static int test_bus_keep_path(struct device *dev, bool on)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	enum test_bus_step step = on ? TEST_BUS_PATH_ON : TEST_BUS_PATH_OFF;
	int err;

	test_bus_expect(dev, step, tdev->on_path != on &&
			tdev->driver_phase == TEST_BUS_IDLE);
	err = test_bus_call(dev, step);
	if (!err)
		tdev->on_path = on;

	return err;
}

static int test_bus_quarantine(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	err = test_bus_call(dev, TEST_BUS_QUARANTINE);
	test_bus_expect(dev, TEST_BUS_QUARANTINE, !tdev->quarantined);
	tdev->quarantined = !err;
	tdev->adopted = false;

	return err;
}

static void test_bus_stop(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_STOP);
	test_bus_expect(dev, TEST_BUS_STOP,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_FROZEN);
}

static struct bus_liveupdate_ops test_bus_liveupdate_ops = {
	.identify	= test_bus_identify,
	.supported	= test_bus_supported,
	.is_bridge	= test_bus_is_bridge,
	.dependencies	= test_bus_dependencies,
	.prepare	= test_bus_bus_prepare,
	.freeze		= test_bus_bus_freeze,
	.thaw		= test_bus_bus_thaw,
	.cancel		= test_bus_bus_cancel,
	.keep_path	= test_bus_keep_path,
	.quarantine	= test_bus_quarantine,
	.stop		= test_bus_stop,
	.shutdown_path	= true,
};

/* A real bus has constant operations. */
module_param_named(shutdown_path, test_bus_liveupdate_ops.shutdown_path, bool, 0);
MODULE_PARM_DESC(shutdown_path, "devices on the path are shut down, too");

static int test_bus_match(struct device *dev, const struct device_driver *drv);

static void test_bus_shutdown(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	enum test_bus_step step = device_liveupdate_on_path(dev) ?
				  TEST_BUS_SHUTDOWN_PATH : TEST_BUS_SHUTDOWN;

	test_bus_call(dev, step);
	test_bus_expect(dev, step,
			tdev->driver_phase != TEST_BUS_FROZEN &&
			tdev->bus_phase != TEST_BUS_FROZEN);
}

static const struct bus_type test_bus_type = {
	.name		= "liveupdate-test",
	.match		= test_bus_match,
	.shutdown	= test_bus_shutdown,
	.liveupdate	= &test_bus_liveupdate_ops,
	.driver_override = true,
};

static const struct bus_type test_bus_foreign_type = {
	.name		= "liveupdate-test-foreign",
	.shutdown	= test_bus_shutdown,
};

static const struct class test_bus_class = {
	.name		= "liveupdate-test",
};

/* A real driver has constant operations; here they are parameters. */
struct test_bus_driver {
	const char *name;
	char compatible[DEVICE_LIVEUPDATE_DRIVER_LEN];
	struct dev_liveupdate_ops ops;
	struct device_driver driver;
	bool registered;
};

#define TEST_BUS_LIVEUPDATE_OPS(_i)					\
	{								\
		.compatible	= test_bus_drivers[_i].compatible,	\
		.version	= 1,					\
		.oldest		= 1,					\
		.prepare	= test_bus_prepare,			\
		.freeze		= test_bus_freeze,			\
		.thaw		= test_bus_thaw,			\
		.cancel		= test_bus_cancel,			\
		.finish		= test_bus_finish,			\
	}

#define TEST_BUS_DRIVER(_name, _bus, _liveupdate)			\
	{								\
		.name		= _name,				\
		.owner		= THIS_MODULE,				\
		.bus		= _bus,					\
		.probe_type	= PROBE_FORCE_SYNCHRONOUS,		\
		.probe		= test_bus_probe,			\
		.remove		= test_bus_remove,			\
		.liveupdate	= _liveupdate,				\
	}

static int test_bus_empty_probe(struct device *dev)
{
	u32 version;

	device_liveupdate_adopt(dev, &version);

	return 0;
}

/* Index of the driver that does nothing. */
#define TEST_BUS_EMPTY		4

static struct test_bus_driver test_bus_drivers[] = {
	{
		.name = "one",
		.compatible = "liveupdate-test-one",
		.ops = TEST_BUS_LIVEUPDATE_OPS(0),
		.driver = TEST_BUS_DRIVER("liveupdate-test", &test_bus_type,
					  &test_bus_drivers[0].ops),
	}, {
		.name = "other",
		.compatible = "liveupdate-test-two",
		.ops = TEST_BUS_LIVEUPDATE_OPS(1),
		.driver = TEST_BUS_DRIVER("liveupdate-test-other",
					  &test_bus_type,
					  &test_bus_drivers[1].ops),
	}, {
		.name = "plain",
		.driver = TEST_BUS_DRIVER("liveupdate-test-plain",
					  &test_bus_type, NULL),
	}, {
		.name = "foreign",
		.driver = TEST_BUS_DRIVER("liveupdate-test-foreign",
					  &test_bus_foreign_type, NULL),
	}, {
		/* What everything costs but the work of a driver. */
		.name = "empty",
		.compatible = "liveupdate-test-empty",
		.ops = {
			.compatible	= test_bus_drivers[TEST_BUS_EMPTY].compatible,
			.version	= 1,
			.oldest		= 1,
		},
		.driver = {
			.name		= "liveupdate-test-empty",
			.owner		= THIS_MODULE,
			.bus		= &test_bus_type,
			.probe_type	= PROBE_FORCE_SYNCHRONOUS,
			.probe		= test_bus_empty_probe,
			.liveupdate	= &test_bus_drivers[TEST_BUS_EMPTY].ops,
		},
	},
};

static int test_bus_match(struct device *dev, const struct device_driver *drv)
{
	const struct test_bus_driver *driver =
		container_of_const(drv, struct test_bus_driver, driver);
	int ret;

	ret = device_match_driver_override(dev, drv);
	if (ret >= 0)
		return ret;

	return !!(READ_ONCE(to_test_bus_device(dev)->drivers) &
		  BIT(driver - test_bus_drivers));
}

static struct test_bus_driver *test_bus_find_driver(const char *name)
{
	for (int i = 0; i < ARRAY_SIZE(test_bus_drivers); i++)
		if (!strcmp(test_bus_drivers[i].name, name))
			return &test_bus_drivers[i];

	return NULL;
}

static int test_bus_register_driver(const char *name)
{
	struct test_bus_driver *driver = test_bus_find_driver(name);
	int err;

	if (!driver)
		return -ENOENT;
	if (driver->registered)
		return -EEXIST;
	err = driver_register(&driver->driver);
	driver->registered = !err;

	return err;
}

static void test_bus_unregister_drivers(void)
{
	for (int i = 0; i < ARRAY_SIZE(test_bus_drivers); i++)
		if (test_bus_drivers[i].registered)
			driver_unregister(&test_bus_drivers[i].driver);
}

/* Devices */

static void test_bus_release(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	kfree(tdev->options);
	kfree(tdev);
	if (atomic_dec_and_test(&test_bus_nr_devices))
		wake_up(&test_bus_released);
}

static void test_bus_reset(struct test_bus_options *options)
{
	options->fail = TEST_BUS_NONE;
	options->fail_errno = EIO;
	options->slow = TEST_BUS_NONE;
	options->slow_ms = 0;
	options->hold = TEST_BUS_NONE;
	options->unsupported = NULL;
	options->defer = 0;
}

static struct test_bus_options *test_bus_alloc_options(const char *name, bool blob)
{
	struct test_bus_options *options = kzalloc_obj(*options);

	if (!options)
		return NULL;
	test_bus_reset(options);
	strscpy(options->id, name);
	strscpy(options->data, blob ? name : "");

	return options;
}

/* test_bus_control is held, so that the device stays without a reference. */
static struct test_bus_device *test_bus_find(const char *name)
{
	struct test_bus_device *tdev;

	list_for_each_entry(tdev, &test_bus_devices, list)
		if (!strcmp(dev_name(&tdev->dev), name))
			return tdev;

	return NULL;
}

static struct test_bus_device *test_bus_alloc(const char *name)
{
	struct test_bus_device *tdev = kzalloc_obj(*tdev);

	if (!tdev)
		return NULL;
	atomic_inc(&test_bus_nr_devices);
	device_initialize(&tdev->dev);
	INIT_LIST_HEAD(&tdev->list);
	tdev->dev.release = test_bus_release;
	tdev->dev.bus = &test_bus_type;
	tdev->drivers = BIT(0);
	if (dev_set_name(&tdev->dev, "%s", name)) {
		put_device(&tdev->dev);
		return NULL;
	}

	return tdev;
}

/* The reference of the caller is that of the registration, or gone. */
static int test_bus_register(struct test_bus_device *tdev)
{
	struct device *parent = tdev->parent ? &tdev->parent->dev : test_bus_root;
	int err;

	if (tdev->class) {
		tdev->class_dev = device_create(&test_bus_class, parent,
						MKDEV(0, 0), NULL, "%s-class",
						dev_name(&tdev->dev));
		if (IS_ERR(tdev->class_dev)) {
			err = PTR_ERR(tdev->class_dev);
			goto put;
		}
		parent = tdev->class_dev;
	}
	tdev->dev.parent = parent;

	scoped_guard(mutex, &test_bus_lock)
		list_add_tail(&tdev->list, &test_bus_devices);
	err = device_add(&tdev->dev);
	if (!err)
		return 0;

	scoped_guard(mutex, &test_bus_lock)
		list_del(&tdev->list);
	if (tdev->class_dev)
		device_unregister(tdev->class_dev);
put:
	put_device(&tdev->dev);

	return err;
}

static void test_bus_unregister(struct test_bus_device *tdev)
{
	struct device *class_dev = tdev->class_dev;
	struct test_bus_device *other;

	scoped_guard(mutex, &test_bus_lock) {
		list_del(&tdev->list);
		list_for_each_entry(other, &test_bus_devices, list) {
			/* Many devices in bulk go faster without a look at all. */
			if (!test_bus_has_dependencies)
				break;
			for (int i = 0; i < TEST_BUS_DEPENDENCIES; i++)
				if (other->options &&
				    other->options->dependencies[i] == &tdev->dev)
					other->options->dependencies[i] = NULL;
		}
	}
	device_unregister(&tdev->dev);
	if (class_dev)
		device_unregister(class_dev);
}

static struct test_bus_device *test_bus_child(struct test_bus_device *parent)
{
	struct test_bus_device *tdev;

	list_for_each_entry_reverse(tdev, &test_bus_devices, list)
		if (tdev->parent == parent)
			return tdev;

	return NULL;
}

/* What hangs on a device that disappears is gone before. */
static void test_bus_unregister_tree(struct test_bus_device *top)
{
	struct test_bus_device *tdev, *child;

	do {
		tdev = top;
		while ((child = test_bus_child(tdev)))
			tdev = child;
		test_bus_unregister(tdev);
	} while (tdev != top);
}

static void test_bus_unregister_all(void)
{
	/* Whatever hangs on a device came after it. */
	while (!list_empty(&test_bus_devices)) {
		struct test_bus_device *tdev =
			list_last_entry(&test_bus_devices,
					struct test_bus_device, list);

		test_bus_unregister(tdev);
	}

	/* The code that frees devices may be unloaded next. */
	device_link_wait_removal();
	wait_event(test_bus_released, !atomic_read(&test_bus_nr_devices));
}

/* Configuration */

static int test_bus_set_text(char *to, size_t size, const char *value)
{
	if (strlen(value) >= size)
		return -EINVAL;
	strscpy(to, value, size);

	return 0;
}

static int test_bus_set_step(enum test_bus_step *step, const char *value,
			     u32 allowed)
{
	int i = match_string(test_bus_steps, ARRAY_SIZE(test_bus_steps), value);

	if (i < 0 || !(BIT(i) & allowed))
		return -EINVAL;
	*step = i;

	return 0;
}

static int test_bus_set_reason(const char **to, const char *value)
{
	if (!*value) {
		*to = NULL;
		return 0;
	}
	for (int i = 0; i < TEST_BUS_REASONS; i++) {
		char *reason = test_bus_reasons[i];

		if (*reason && strcmp(reason, value))
			continue;
		*to = reason;
		return test_bus_set_text(reason, TEST_BUS_TEXT_LEN, value);
	}

	return -ENOSPC;
}

static int test_bus_set_drivers(struct test_bus_device *tdev, char *value)
{
	u8 drivers = 0;
	char *name;

	while ((name = strsep(&value, "+"))) {
		struct test_bus_driver *driver = test_bus_find_driver(name);

		if (driver && driver->driver.bus == &test_bus_type)
			drivers |= BIT(driver - test_bus_drivers);
		else if (strcmp(name, "none"))
			return -EINVAL;
	}
	WRITE_ONCE(tdev->drivers, drivers);

	return 0;
}

/* Keys that only mean something before the device is registered. */
static int test_bus_set_place(struct test_bus_device *tdev, const char *key,
			      const char *value)
{
	if (!strcmp(key, "parent")) {
		tdev->parent = test_bus_find(value);
		return tdev->parent ? 0 : -ENOENT;
	}
	if (!strcmp(key, "class"))
		return kstrtobool(value, &tdev->class);
	if (!strcmp(key, "bus") && !strcmp(value, "foreign")) {
		tdev->dev.bus = &test_bus_foreign_type;
		return 0;
	}

	return -EINVAL;
}

static int test_bus_set(struct test_bus_device *tdev, const char *key,
			char *value)
{
	struct test_bus_options *options = tdev->options;
	unsigned int number;

	if (!strcmp(key, "driver"))
		return test_bus_set_drivers(tdev, value);
	if (!strcmp(key, "bridge"))
		return kstrtobool(value, &tdev->bridge);
	if (!strcmp(key, "suspend"))
		return kstrtobool(value, &options->suspend);
	if (!strcmp(key, "id"))
		return test_bus_set_text(options->id, sizeof(options->id), value);
	if (!strcmp(key, "fingerprint")) {
		memset(options->fingerprint, 0, sizeof(options->fingerprint));
		return test_bus_set_text(options->fingerprint,
					 sizeof(options->fingerprint), value);
	}
	if (!strcmp(key, "data"))
		return test_bus_set_text(options->data, sizeof(options->data),
					 value);
	if (!strcmp(key, "frozen"))
		return test_bus_set_text(options->frozen,
					 sizeof(options->frozen), value);
	if (!strcmp(key, "fail"))
		return test_bus_set_step(&options->fail, value,
					 test_bus_can_fail);
	if (!strcmp(key, "slow"))
		return test_bus_set_step(&options->slow, value, ~0U);
	if (!strcmp(key, "hold"))
		return test_bus_set_step(&options->hold, value, ~0U);
	if (!strcmp(key, "unsupported"))
		return test_bus_set_reason(&options->unsupported, value);

	if (kstrtouint(value, 10, &number))
		return -EINVAL;
	if (!strcmp(key, "errno") && number && number <= MAX_ERRNO)
		options->fail_errno = number;
	else if (!strcmp(key, "ms"))
		options->slow_ms = number;
	else if (!strcmp(key, "defer"))
		options->defer = number;
	else
		return -EINVAL;

	return 0;
}

static int test_bus_set_all(struct test_bus_device *tdev, char *settings,
			    bool adding)
{
	char *setting, *key;
	int err;

	while ((setting = strsep(&settings, ","))) {
		key = strim(strsep(&setting, "="));
		if (!setting)
			return -EINVAL;
		err = -EINVAL;
		if (adding)
			err = test_bus_set_place(tdev, key, setting);
		if (err == -EINVAL) {
			guard(mutex)(&test_bus_lock);
			err = test_bus_set(tdev, key, setting);
		}
		if (err)
			return err;
	}

	return 0;
}

static bool test_bus_name_ok(const char *name)
{
	bool digit = false;

	if (!isalpha(*name) || strlen(name) >= TEST_BUS_NAME_LEN ||
	    !strncmp(name, "bulk-", 5))
		return false;
	for (; *name; name++) {
		if (!isascii(*name) ||
		    (!isalnum(*name) && *name != '-' && *name != '_'))
			return false;
		digit |= isdigit(*name);
	}

	return digit;
}

static int test_bus_add(char *name, char *settings)
{
	struct test_bus_device *tdev;
	int err;

	if (!test_bus_name_ok(name))
		return -EINVAL;
	if (test_bus_find(name))
		return -EEXIST;
	tdev = test_bus_alloc(name);
	if (!tdev)
		return -ENOMEM;
	tdev->options = test_bus_alloc_options(name, true);
	err = tdev->options ? test_bus_set_all(tdev, settings, true) : -ENOMEM;
	if (err) {
		put_device(&tdev->dev);
		return err;
	}

	return test_bus_register(tdev);
}

static int test_bus_change(struct test_bus_device *tdev, char *settings)
{
	if (!settings)
		return -EINVAL;
	if (!tdev->options) {
		struct test_bus_options *options =
			test_bus_alloc_options(dev_name(&tdev->dev), tdev->blob);

		if (!options)
			return -ENOMEM;
		/* Callbacks look at it without a lock. */
		smp_store_release(&tdev->options, options);
	}

	return test_bus_set_all(tdev, settings, false);
}

static int test_bus_add_bulk(const char *count, char *settings)
{
	struct test_bus_device *parent = NULL;
	char name[TEST_BUS_NAME_LEN];
	char *drivers = NULL;
	char *setting, *key;
	unsigned int number;
	bool blob = false;
	int err;

	if (kstrtouint(count, 10, &number) ||
	    number > TEST_BUS_BULK_MAX - test_bus_nr_bulk)
		return -EINVAL;
	while ((setting = strsep(&settings, ","))) {
		key = strim(strsep(&setting, "="));
		if (!setting)
			return -EINVAL;
		if (!strcmp(key, "parent")) {
			parent = test_bus_find(setting);
			if (!parent)
				return -ENOENT;
		} else if (!strcmp(key, "driver")) {
			drivers = setting;
		} else if (strcmp(key, "blob") || kstrtobool(setting, &blob)) {
			return -EINVAL;
		}
	}

	for (unsigned int i = 0; i < number; i++) {
		struct test_bus_device *tdev;

		snprintf(name, sizeof(name), "bulk-%05u", test_bus_nr_bulk + 1);
		tdev = test_bus_alloc(name);
		if (!tdev)
			return -ENOMEM;
		tdev->parent = parent;
		tdev->blob = blob;
		/* Parsing spoils the text. */
		if (drivers) {
			char copy[TEST_BUS_NAME_LEN];

			err = test_bus_set_text(copy, sizeof(copy), drivers);
			if (!err)
				err = test_bus_set_drivers(tdev, copy);
			if (err) {
				put_device(&tdev->dev);
				return err;
			}
		}
		dev_set_uevent_suppress(&tdev->dev, true);
		device_set_pm_not_required(&tdev->dev);
		err = test_bus_register(tdev);
		if (err)
			return err;
		test_bus_nr_bulk++;
	}

	return 0;
}

static int test_bus_link(struct test_bus_device *consumer, char *rest)
{
	char *name = strsep(&rest, " ");
	struct test_bus_device *supplier;
	u32 flags = 0;

	if (!name)
		return -EINVAL;
	supplier = test_bus_find(name);
	if (!supplier)
		return -ENOENT;
	if (rest) {
		if (strcmp(strim(rest), "stateless=1"))
			return -EINVAL;
		flags = DL_FLAG_STATELESS;
	}

	/* Without a reference to the link: it goes with one of the devices. */
	return device_link_add(&consumer->dev, &supplier->dev, flags) ?
		0 : -EINVAL;
}

static int test_bus_depend(struct test_bus_device *tdev, char *name)
{
	struct test_bus_device *dependency = name ? test_bus_find(name) : NULL;

	if (!dependency)
		return -ENOENT;
	if (!tdev->options)
		return -EINVAL;

	guard(mutex)(&test_bus_lock);
	for (int i = 0; i < TEST_BUS_DEPENDENCIES; i++) {
		if (tdev->options->dependencies[i])
			continue;
		tdev->options->dependencies[i] = &dependency->dev;
		test_bus_has_dependencies = true;
		return 0;
	}

	return -ENOSPC;
}

static int test_bus_set_driver(char *name, char *settings)
{
	struct test_bus_driver *driver = test_bus_find_driver(name);
	struct dev_liveupdate_ops *ops;
	unsigned int number;
	char *setting, *key;

	if (!driver || !driver->driver.liveupdate)
		return -ENOENT;
	ops = &driver->ops;
	while ((setting = strsep(&settings, ","))) {
		key = strim(strsep(&setting, "="));
		if (!setting)
			return -EINVAL;
		if (!strcmp(key, "compatible")) {
			if (!*setting || strpbrk(setting, " \t") ||
			    test_bus_set_text(driver->compatible,
					      sizeof(driver->compatible),
					      setting))
				return -EINVAL;
			continue;
		}
		if (kstrtouint(setting, 10, &number))
			return -EINVAL;
		if (!strcmp(key, "version"))
			ops->version = number;
		else if (!strcmp(key, "oldest"))
			ops->oldest = number;
		else if (!strcmp(key, "async") && number <= 1)
			driver->driver.probe_type = number ?
				PROBE_PREFER_ASYNCHRONOUS :
				PROBE_FORCE_SYNCHRONOUS;
		else
			return -EINVAL;
	}

	return ops->oldest && ops->oldest <= ops->version ? 0 : -EINVAL;
}

static void test_bus_clear(void)
{
	struct test_bus_device *tdev;

	guard(mutex)(&test_bus_lock);
	list_for_each_entry(tdev, &test_bus_devices, list)
		if (tdev->options)
			test_bus_reset(tdev->options);
	test_bus_nr_calls = 0;
	test_bus_go_on();
}

static int test_bus_configure_device(const char *verb, struct test_bus_device *tdev,
				     char *rest)
{
	if (!strcmp(verb, "set"))
		return test_bus_change(tdev, rest);
	if (!strcmp(verb, "link"))
		return test_bus_link(tdev, rest);
	if (!strcmp(verb, "depend"))
		return test_bus_depend(tdev, rest);
	if (!strcmp(verb, "lose") && !rest) {
		guard(device)(&tdev->dev);
		device_liveupdate_lose(&tdev->dev, "the test says so");
		return 0;
	}
	if (strcmp(verb, "remove") || rest)
		return -EINVAL;
	test_bus_unregister_tree(tdev);

	return 0;
}

/* Before and after the drivers are registered, and from outside. */
enum test_bus_stage {
	TEST_BUS_STAGE_DRIVERS,
	TEST_BUS_STAGE_DEVICES,
	TEST_BUS_STAGE_RUNNING,
};

static int test_bus_configure_entry(char *entry, enum test_bus_stage stage)
{
	struct test_bus_device *tdev;
	char *verb, *name;
	bool driver;

	entry = strim(entry);
	verb = strsep(&entry, " ");
	if (!*verb)
		return 0;

	driver = !strcmp(verb, "driver");
	if (driver && stage == TEST_BUS_STAGE_RUNNING)
		return -EBUSY;
	if (driver ? stage == TEST_BUS_STAGE_DEVICES :
		     stage == TEST_BUS_STAGE_DRIVERS)
		return 0;
	if (!strcmp(verb, "clear") && !entry) {
		test_bus_clear();
		return 0;
	}

	if (!entry)
		return -EINVAL;
	entry = skip_spaces(entry);
	name = strsep(&entry, " ");
	if (entry)
		entry = skip_spaces(entry);
	if (driver)
		return test_bus_set_driver(name, entry);
	if (!strcmp(verb, "add"))
		return test_bus_add(name, entry);
	if (!strcmp(verb, "bulk"))
		return test_bus_add_bulk(name, entry);
	if (!strcmp(verb, "register"))
		return entry ? -EINVAL : test_bus_register_driver(name);

	tdev = test_bus_find(name);
	if (!tdev)
		return -ENOENT;

	return test_bus_configure_device(verb, tdev, entry);
}

static int test_bus_configure(const char *config, enum test_bus_stage stage)
{
	char *copy __free(kfree) = NULL, *rest, *entry;
	int err;

	if (strlen(config) >= TEST_BUS_CONFIG_LEN)
		return -EINVAL;
	copy = kstrdup(config, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	guard(mutex)(&test_bus_control);
	rest = copy;
	while ((entry = strsep(&rest, ";\n"))) {
		err = test_bus_configure_entry(entry, stage);
		if (err)
			return err;
	}

	return 0;
}

/**
 * liveupdate_test_bus_configure() - tell the test bus what to do
 * @config: entries as in the DOC comment
 *
 * Context: May sleep. Must not be called from a callback of the test bus.
 * Return: 0; -EINVAL if an entry is malformed or @config is too long; -ENOENT
 * if there is nothing of that name; -EEXIST if there is already; -EBUSY for
 * what can only be set before drivers are registered; or another error.
 * Entries before it have effect.
 */
int liveupdate_test_bus_configure(const char *config)
{
	return test_bus_configure(config, TEST_BUS_STAGE_RUNNING);
}
EXPORT_SYMBOL_NS_GPL(liveupdate_test_bus_configure, "LIVEUPDATE");

/**
 * liveupdate_test_bus_device() - find a device of the test bus
 * @name: its name
 *
 * Context: May sleep. Must not be called from a callback of the test bus.
 * Return: the device, for the caller to put_device(), or NULL.
 */
struct device *liveupdate_test_bus_device(const char *name)
{
	struct test_bus_device *tdev;

	guard(mutex)(&test_bus_control);
	tdev = test_bus_find(name);

	return tdev ? get_device(&tdev->dev) : NULL;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_test_bus_device, "LIVEUPDATE");

/* What was logged */

static unsigned long test_bus_first_call(void)
{
	return test_bus_nr_calls > TEST_BUS_CALLS ?
		test_bus_nr_calls - TEST_BUS_CALLS : 0;
}

static int test_bus_calls_show(struct seq_file *seq, void *unused)
{
	guard(mutex)(&test_bus_lock);
	for (unsigned long i = test_bus_first_call(); i < test_bus_nr_calls; i++)
		seq_printf(seq, "%s %s %d\n",
			   test_bus_steps[test_bus_log[i % TEST_BUS_CALLS].step],
			   test_bus_log[i % TEST_BUS_CALLS].name,
			   test_bus_log[i % TEST_BUS_CALLS].error);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(test_bus_calls);

/**
 * liveupdate_test_bus_calls() - the latest callbacks as text
 * @text: where to put it, terminated, what does not fit is left out
 * @size: bytes at @text
 *
 * The same as the file "calls" in debugfs.
 *
 * Context: May sleep.
 * Return: length of the text.
 */
size_t liveupdate_test_bus_calls(char *text, size_t size)
{
	size_t len = 0;

	guard(mutex)(&test_bus_lock);
	for (unsigned long i = test_bus_first_call(); i < test_bus_nr_calls; i++)
		len += scnprintf(text + len, size - len, "%s %s %d\n",
				 test_bus_steps[test_bus_log[i % TEST_BUS_CALLS].step],
				 test_bus_log[i % TEST_BUS_CALLS].name,
				 test_bus_log[i % TEST_BUS_CALLS].error);

	return len;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_test_bus_calls, "LIVEUPDATE");

static bool test_bus_has_received(struct test_bus_device *tdev)
{
	return tdev->options && tdev->options->received[0];
}

static int test_bus_received_show(struct seq_file *seq, void *unused)
{
	struct test_bus_device *tdev;

	guard(mutex)(&test_bus_lock);
	list_for_each_entry(tdev, &test_bus_devices, list)
		if (test_bus_has_received(tdev))
			seq_printf(seq, "%s %u %s\n", dev_name(&tdev->dev),
				   tdev->options->received_version,
				   tdev->options->received);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(test_bus_received);

/**
 * liveupdate_test_bus_received() - what was handed over as text
 * @text: where to put it, terminated, what does not fit is left out
 * @size: bytes at @text
 *
 * The same as the file "received" in debugfs.
 *
 * Context: May sleep.
 * Return: length of the text.
 */
size_t liveupdate_test_bus_received(char *text, size_t size)
{
	struct test_bus_device *tdev;
	size_t len = 0;

	guard(mutex)(&test_bus_lock);
	list_for_each_entry(tdev, &test_bus_devices, list)
		if (test_bus_has_received(tdev))
			len += scnprintf(text + len, size - len, "%s %u %s\n",
					 dev_name(&tdev->dev),
					 tdev->options->received_version,
					 tdev->options->received);

	return len;
}
EXPORT_SYMBOL_NS_GPL(liveupdate_test_bus_received, "LIVEUPDATE");

static ssize_t test_bus_config_write(struct file *file, const char __user *ubuf,
				     size_t count, loff_t *pos)
{
	char *config;
	int err;

	if (count >= TEST_BUS_CONFIG_LEN)
		return -EINVAL;
	config = memdup_user_nul(ubuf, count);
	if (IS_ERR(config))
		return PTR_ERR(config);

	err = liveupdate_test_bus_configure(config);
	kfree(config);

	return err ?: count;
}

static ssize_t test_bus_release_write(struct file *file, const char __user *ubuf,
				      size_t count, loff_t *pos)
{
	guard(mutex)(&test_bus_lock);
	test_bus_go_on();

	return count;
}

static const struct file_operations test_bus_release_fops = {
	.owner	= THIS_MODULE,
	.write	= test_bus_release_write,
};

static const struct file_operations test_bus_config_fops = {
	.owner	= THIS_MODULE,
	.write	= test_bus_config_write,
};

static struct dentry *test_bus_dir;

static char *config = "";
module_param(config, charp, 0);
MODULE_PARM_DESC(config, "what devices there are and do, see liveupdate_test_bus.c");

static char *drivers = "one,other,plain,foreign,empty";
module_param(drivers, charp, 0);
MODULE_PARM_DESC(drivers, "drivers that are registered");

static unsigned int bulk;
module_param(bulk, uint, 0);
MODULE_PARM_DESC(bulk, "number of further devices");

static int __init test_bus_register_drivers(void)
{
	char *copy __free(kfree) = kstrdup(drivers, GFP_KERNEL);
	char *rest = copy, *name;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	guard(mutex)(&test_bus_control);
	while (!err && (name = strsep(&rest, ",")))
		if (*name)
			err = test_bus_register_driver(name);

	return err;
}

static int __init test_bus_populate(void)
{
	char text[16];
	int err;

	err = test_bus_configure(config, TEST_BUS_STAGE_DRIVERS);
	if (!err)
		err = test_bus_register_drivers();
	if (!err)
		err = test_bus_configure(config, TEST_BUS_STAGE_DEVICES);
	if (!err) {
		snprintf(text, sizeof(text), "bulk %u", bulk);
		err = test_bus_configure(text, TEST_BUS_STAGE_DEVICES);
	}
	if (err) {
		pr_err("malformed configuration: %pe\n", ERR_PTR(err));
		test_bus_unregister_all();
		test_bus_unregister_drivers();
	}

	return err;
}

static int __init test_bus_init(void)
{
	int err;

	test_bus_root = root_device_register("liveupdate-test");
	if (IS_ERR(test_bus_root))
		return PTR_ERR(test_bus_root);
	err = class_register(&test_bus_class);
	if (err)
		goto root;
	err = bus_register(&test_bus_type);
	if (err)
		goto class;
	err = bus_register(&test_bus_foreign_type);
	if (err)
		goto bus;
	err = test_bus_populate();
	if (err)
		goto foreign;

	test_bus_dir = debugfs_create_dir("liveupdate_test_bus", NULL);
	debugfs_create_file("config", 0200, test_bus_dir, NULL,
			    &test_bus_config_fops);
	debugfs_create_file("release", 0200, test_bus_dir, NULL,
			    &test_bus_release_fops);
	debugfs_create_file("calls", 0400, test_bus_dir, NULL,
			    &test_bus_calls_fops);
	debugfs_create_file("received", 0400, test_bus_dir, NULL,
			    &test_bus_received_fops);

	return 0;

foreign:
	bus_unregister(&test_bus_foreign_type);
bus:
	bus_unregister(&test_bus_type);
class:
	class_unregister(&test_bus_class);
root:
	root_device_unregister(test_bus_root);

	return err;
}
module_init(test_bus_init);

static void __exit test_bus_exit(void)
{
	debugfs_remove(test_bus_dir);
	scoped_guard(mutex, &test_bus_control)
		test_bus_unregister_all();
	test_bus_unregister_drivers();
	bus_unregister(&test_bus_foreign_type);
	bus_unregister(&test_bus_type);
	class_unregister(&test_bus_class);
	root_device_unregister(test_bus_root);
}
module_exit(test_bus_exit);

MODULE_IMPORT_NS("LIVEUPDATE");
MODULE_DESCRIPTION("Test bus for live update of devices");
MODULE_LICENSE("GPL");
