// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The language in which the test bus is told what to do
 *
 * The text is that of the module parameter "config" and of the debugfs file
 * liveupdate_test_bus/config: entries separated by ';' or line end::
 *
 *	add NAME [KEY=VALUE,...]	a device appears
 *	set NAME KEY=VALUE,...		it is told something else
 *	remove NAME			it disappears, those below it before
 *	abort NAME			the bus finds that it failed
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
 *	bridge=0|1	whether the bus says that it only forwards for others
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
 *	unregister=0|1	probe waits for the state machine, against the order of locks
 */

#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "liveupdate_test_bus_internal.h"

static unsigned int test_bus_nr_bulk;

/* Reasons are constant for the core, so they outlive the device. */
static char test_bus_reasons[TEST_BUS_REASONS][TEST_BUS_TEXT_LEN];

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
	if (!strcmp(key, "unregister"))
		return kstrtobool(value, &options->unregister);
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
	if (!strcmp(verb, "abort") && !rest) {
		guard(device)(&tdev->dev);
		device_liveupdate_abort(&tdev->dev, "the test says so");
		return 0;
	}
	if (strcmp(verb, "remove") || rest)
		return -EINVAL;
	test_bus_unregister_tree(tdev);

	return 0;
}

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

int test_bus_configure(const char *config, enum test_bus_stage stage)
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
