// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Callbacks of the test bus
 *
 * What driver and bus do in a live update: note the call, take time, wait or fail, as the
 * device is told, and look whether it was its turn.
 */

#define pr_fmt(fmt) "liveupdate_test_bus: " fmt

#include <linux/bits.h>
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/xxhash.h>
#include <linux/suspend.h>
#include <linux/wait.h>

#include "liveupdate_test_bus_internal.h"

const char *const test_bus_steps[TEST_BUS_NR_STEPS] = {
	[TEST_BUS_NONE]		= "none",
	[TEST_BUS_IDENTIFY]	= "identify",
	[TEST_BUS_PROBE]	= "probe",
	[TEST_BUS_RETRIEVE]	= "retrieve",
	[TEST_BUS_PREPARE]	= "prepare",
	[TEST_BUS_BUS_PREPARE]	= "bus-prepare",
	[TEST_BUS_FREEZE]	= "freeze",
	[TEST_BUS_BUS_FREEZE]	= "bus-freeze",
	[TEST_BUS_BUS_THAW]	= "bus-thaw",
	[TEST_BUS_THAW]		= "thaw",
	[TEST_BUS_BUS_CANCEL]	= "bus-cancel",
	[TEST_BUS_CANCEL]	= "cancel",
	[TEST_BUS_PATH_ON]	= "path-on",
	[TEST_BUS_PATH_FREEZE]	= "path-freeze",
	[TEST_BUS_PATH_THAW]	= "path-thaw",
	[TEST_BUS_PATH_OFF]	= "path-off",
	[TEST_BUS_FINISH]	= "finish",
	[TEST_BUS_QUARANTINE]	= "quarantine",
	[TEST_BUS_SHUTDOWN]	= "shutdown",
	[TEST_BUS_SHUTDOWN_PATH] = "shutdown-path",
	[TEST_BUS_STOP]		= "stop",
	[TEST_BUS_REMOVE]	= "remove",
};

const u32 test_bus_can_fail =
	BIT(TEST_BUS_NONE) | BIT(TEST_BUS_IDENTIFY) | BIT(TEST_BUS_PROBE) |
	BIT(TEST_BUS_RETRIEVE) | BIT(TEST_BUS_PREPARE) | BIT(TEST_BUS_BUS_PREPARE) |
	BIT(TEST_BUS_FREEZE) | BIT(TEST_BUS_BUS_FREEZE) | BIT(TEST_BUS_PATH_ON) |
	BIT(TEST_BUS_PATH_FREEZE) | BIT(TEST_BUS_QUARANTINE);

static const u32 test_bus_in_kernel_log =
	BIT(TEST_BUS_QUARANTINE) | BIT(TEST_BUS_SHUTDOWN) |
	BIT(TEST_BUS_SHUTDOWN_PATH) | BIT(TEST_BUS_STOP);

/* The list, what devices are told, the log of calls, the count of releases. */
DEFINE_MUTEX(test_bus_lock);

static struct {
	enum test_bus_step step;
	char name[TEST_BUS_NAME_LEN];
	int error;
} test_bus_log[TEST_BUS_CALLS];
unsigned long test_bus_nr_calls;

static DECLARE_WAIT_QUEUE_HEAD(test_bus_waiting);
static unsigned int test_bus_nr_releases;

void test_bus_go_on(void)
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

static int test_bus_retrieve(struct device *dev,
			     const struct liveupdate_data *data, u32 version)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	struct test_bus_options *options = READ_ONCE(tdev->options);
	const char *text = liveupdate_data_blob(data);
	char want[TEST_BUS_TEXT_LEN];
	int err;

	err = test_bus_call(dev, TEST_BUS_RETRIEVE);
	if (err)
		return err;
	test_bus_expect(dev, TEST_BUS_RETRIEVE,
			!tdev->retrieved && !tdev->quarantined);

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
	tdev->retrieved = true;

	return 0;
}

/* Unregister a subsystem that is not registered, which does nothing but wait. */
static void test_bus_unregister_subsystem(void)
{
	static const struct liveupdate_subsystem_desc desc = { .name = "test-bus" };
	static struct liveupdate_subsystem subsystem = { .desc = &desc };

	liveupdate_unregister_subsystem(&subsystem);
}

int test_bus_probe(struct device *dev)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);
	const struct liveupdate_data *data;
	u32 version;
	int err;

	err = test_bus_call(dev, TEST_BUS_PROBE);
	if (!err && options && options->suspend)
		unlock_system_sleep(lock_system_sleep());
	if (!err && options && options->unregister)
		test_bus_unregister_subsystem();
	if (err || !dev->driver->liveupdate)
		return err;

	data = device_liveupdate_retrieve(dev, &version);
	if (data)
		return test_bus_retrieve(dev, data, version);

	return 0;
}

int test_bus_remove(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_REMOVE);
	test_bus_expect(dev, TEST_BUS_REMOVE,
			tdev->driver_phase == TEST_BUS_IDLE &&
			tdev->bus_phase == TEST_BUS_IDLE);
	tdev->retrieved = false;

	return 0;
}

int test_bus_prepare(struct device *dev, struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	char text[TEST_BUS_TEXT_LEN];
	char *blob;
	int err;

	test_bus_expect(dev, TEST_BUS_PREPARE,
			tdev->driver_phase == TEST_BUS_IDLE &&
			tdev->bus_phase == TEST_BUS_IDLE && tdev->path_phase == TEST_BUS_IDLE);
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

int test_bus_freeze(struct device *dev, const struct liveupdate_data *data)
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

void test_bus_thaw(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_THAW);
	test_bus_expect(dev, TEST_BUS_THAW,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	tdev->driver_phase = TEST_BUS_PREPARED;
}

void test_bus_cancel(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_CANCEL);
	test_bus_expect(dev, TEST_BUS_CANCEL,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_IDLE);
	tdev->driver_phase = TEST_BUS_IDLE;
}

void test_bus_finish(struct device *dev, const struct liveupdate_data *data)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	test_bus_call(dev, TEST_BUS_FINISH);
	test_bus_expect(dev, TEST_BUS_FINISH,
			tdev->retrieved && !tdev->quarantined);
	tdev->retrieved = false;
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

/* "set" can change the fingerprint of a device. */
static u64 test_bus_revision(struct device *dev)
{
	struct test_bus_options *options =
		READ_ONCE(to_test_bus_device(dev)->options);

	if (!options)
		return 0;

	guard(mutex)(&test_bus_lock);

	return xxh64(options->fingerprint, sizeof(options->fingerprint), 0);
}

static int test_bus_check_device(struct device *dev, const char **reason)
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

static enum device_liveupdate_role test_bus_role(struct device *dev)
{
	return to_test_bus_device(dev)->bridge ? DEVICE_LIVEUPDATE_FORWARDER :
						 DEVICE_LIVEUPDATE_ENDPOINT;
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

/* Its state is as of a device, but its driver takes no part. */
static int test_bus_path_step(struct device *dev, enum test_bus_step step,
			      enum test_bus_phase from, enum test_bus_phase to)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	test_bus_expect(dev, step, tdev->bridge && tdev->path_phase == from &&
			tdev->driver_phase == TEST_BUS_IDLE);
	err = test_bus_call(dev, step);
	if (!err)
		tdev->path_phase = to;

	return err;
}

static int test_bus_bus_prepare(struct device *dev, enum device_liveupdate_role role)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	if (role == DEVICE_LIVEUPDATE_FORWARDER)
		return test_bus_path_step(dev, TEST_BUS_PATH_ON, TEST_BUS_IDLE,
					  TEST_BUS_PREPARED);

	test_bus_expect(dev, TEST_BUS_BUS_PREPARE,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_IDLE);
	err = test_bus_call(dev, TEST_BUS_BUS_PREPARE);
	if (!err)
		tdev->bus_phase = TEST_BUS_PREPARED;

	return err;
}

static int test_bus_bus_freeze(struct device *dev, enum device_liveupdate_role role)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	if (role == DEVICE_LIVEUPDATE_FORWARDER)
		return test_bus_path_step(dev, TEST_BUS_PATH_FREEZE, TEST_BUS_PREPARED,
					  TEST_BUS_FROZEN);

	test_bus_expect(dev, TEST_BUS_BUS_FREEZE,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	err = test_bus_call(dev, TEST_BUS_BUS_FREEZE);
	if (!err)
		tdev->bus_phase = TEST_BUS_FROZEN;

	return err;
}

static void test_bus_bus_thaw(struct device *dev, enum device_liveupdate_role role)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	if (role == DEVICE_LIVEUPDATE_FORWARDER) {
		test_bus_path_step(dev, TEST_BUS_PATH_THAW, TEST_BUS_FROZEN,
				   TEST_BUS_PREPARED);
		return;
	}

	test_bus_call(dev, TEST_BUS_BUS_THAW);
	test_bus_expect(dev, TEST_BUS_BUS_THAW,
			tdev->driver_phase == TEST_BUS_FROZEN &&
			tdev->bus_phase == TEST_BUS_FROZEN);
	tdev->bus_phase = TEST_BUS_PREPARED;
}

static void test_bus_bus_cancel(struct device *dev, enum device_liveupdate_role role)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);

	if (role == DEVICE_LIVEUPDATE_FORWARDER) {
		test_bus_path_step(dev, TEST_BUS_PATH_OFF, TEST_BUS_PREPARED,
				   TEST_BUS_IDLE);
		return;
	}

	test_bus_call(dev, TEST_BUS_BUS_CANCEL);
	test_bus_expect(dev, TEST_BUS_BUS_CANCEL,
			tdev->driver_phase == TEST_BUS_PREPARED &&
			tdev->bus_phase == TEST_BUS_PREPARED);
	tdev->bus_phase = TEST_BUS_IDLE;
}

static int test_bus_quarantine(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	int err;

	err = test_bus_call(dev, TEST_BUS_QUARANTINE);
	test_bus_expect(dev, TEST_BUS_QUARANTINE, !tdev->quarantined);
	tdev->quarantined = !err;
	tdev->retrieved = false;

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

const struct bus_liveupdate_ops test_bus_liveupdate_ops = {
	.identify	= test_bus_identify,
	.revision	= test_bus_revision,
	.check		= test_bus_check_device,
	.role		= test_bus_role,
	.dependencies	= test_bus_dependencies,
	.prepare	= test_bus_bus_prepare,
	.freeze		= test_bus_bus_freeze,
	.thaw		= test_bus_bus_thaw,
	.cancel		= test_bus_bus_cancel,
	.quarantine	= test_bus_quarantine,
	.stop		= test_bus_stop,
};

void test_bus_shutdown(struct device *dev)
{
	struct test_bus_device *tdev = to_test_bus_device(dev);
	enum test_bus_step step = device_liveupdate_on_path(dev) ?
				  TEST_BUS_SHUTDOWN_PATH : TEST_BUS_SHUTDOWN;

	test_bus_call(dev, step);
	test_bus_expect(dev, step,
			tdev->driver_phase != TEST_BUS_FROZEN &&
			tdev->bus_phase != TEST_BUS_FROZEN);
}

/* What was logged */

static unsigned long test_bus_first_call(void)
{
	return test_bus_nr_calls > TEST_BUS_CALLS ?
		test_bus_nr_calls - TEST_BUS_CALLS : 0;
}

int test_bus_calls_show(struct seq_file *seq, void *unused)
{
	guard(mutex)(&test_bus_lock);
	for (unsigned long i = test_bus_first_call(); i < test_bus_nr_calls; i++)
		seq_printf(seq, "%s %s %d\n",
			   test_bus_steps[test_bus_log[i % TEST_BUS_CALLS].step],
			   test_bus_log[i % TEST_BUS_CALLS].name,
			   test_bus_log[i % TEST_BUS_CALLS].error);

	return 0;
}

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
