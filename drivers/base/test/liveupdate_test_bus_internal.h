/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the test bus have in common. Each uses only what stands before it
 * here: calls, devices, config, main.
 */

#ifndef _LIVEUPDATE_TEST_BUS_INTERNAL_H
#define _LIVEUPDATE_TEST_BUS_INTERNAL_H

#include <linux/container_of.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/types.h>

#include "liveupdate_test_bus.h"

#define TEST_BUS_CALLS		4096
#define TEST_BUS_PLAIN_VALUE	0x64657669ULL
#define TEST_BUS_CONFIG_LEN	8192
#define TEST_BUS_NAME_LEN	32
#define TEST_BUS_TEXT_LEN	64
#define TEST_BUS_BULK_MAX	200000
#define TEST_BUS_REASONS	16
#define TEST_BUS_DEPENDENCIES	4
#define TEST_BUS_NR_DRIVERS	5

enum test_bus_step {
	TEST_BUS_NONE,
	TEST_BUS_IDENTIFY,
	TEST_BUS_PROBE,
	TEST_BUS_RETRIEVE,
	TEST_BUS_PREPARE,
	TEST_BUS_BUS_PREPARE,
	TEST_BUS_FREEZE,
	TEST_BUS_BUS_FREEZE,
	TEST_BUS_BUS_THAW,
	TEST_BUS_THAW,
	TEST_BUS_BUS_CANCEL,
	TEST_BUS_CANCEL,
	TEST_BUS_PATH_ON,
	TEST_BUS_PATH_FREEZE,
	TEST_BUS_PATH_THAW,
	TEST_BUS_PATH_OFF,
	TEST_BUS_FINISH,
	TEST_BUS_QUARANTINE,
	TEST_BUS_SHUTDOWN,
	TEST_BUS_SHUTDOWN_PATH,
	TEST_BUS_STOP,
	TEST_BUS_REMOVE,
	TEST_BUS_NR_STEPS,
};

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
	bool unregister;
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
	u8 path_phase;
	bool retrieved;
	bool quarantined;
};

static inline struct test_bus_device *to_test_bus_device(struct device *dev)
{
	return container_of(dev, struct test_bus_device, dev);
}

/* A real driver has constant operations; here they are parameters. */
struct test_bus_driver {
	const char *name;
	char compatible[DEVICE_LIVEUPDATE_DRIVER_LEN];
	struct dev_liveupdate_ops ops;
	struct device_driver driver;
	bool registered;
};

/* Before and after the drivers are registered, and from outside. */
enum test_bus_stage {
	TEST_BUS_STAGE_DRIVERS,
	TEST_BUS_STAGE_DEVICES,
	TEST_BUS_STAGE_RUNNING,
};

/* liveupdate_test_bus_calls.c */
extern const char *const test_bus_steps[TEST_BUS_NR_STEPS];
extern const u32 test_bus_can_fail;
extern struct mutex test_bus_lock;
extern unsigned long test_bus_nr_calls;
extern const struct bus_liveupdate_ops test_bus_liveupdate_ops;

void test_bus_go_on(void);
int test_bus_probe(struct device *dev);
int test_bus_remove(struct device *dev);
int test_bus_prepare(struct device *dev, struct liveupdate_data *data);
int test_bus_freeze(struct device *dev, const struct liveupdate_data *data);
void test_bus_thaw(struct device *dev, const struct liveupdate_data *data);
void test_bus_cancel(struct device *dev, const struct liveupdate_data *data);
void test_bus_finish(struct device *dev, const struct liveupdate_data *data);
void test_bus_shutdown(struct device *dev);
int test_bus_calls_show(struct seq_file *seq, void *unused);

/* liveupdate_test_bus_devices.c */
extern struct mutex test_bus_control;
extern struct list_head test_bus_devices;
extern bool test_bus_has_dependencies;
extern struct device *test_bus_root;
extern const struct bus_type test_bus_type;
extern const struct bus_type test_bus_foreign_type;
extern const struct class test_bus_class;
extern struct test_bus_driver test_bus_drivers[TEST_BUS_NR_DRIVERS];

struct test_bus_driver *test_bus_find_driver(const char *name);
int test_bus_register_driver(const char *name);
void test_bus_unregister_drivers(void);
void test_bus_reset(struct test_bus_options *options);
struct test_bus_options *test_bus_alloc_options(const char *name, bool blob);
struct test_bus_device *test_bus_find(const char *name);
struct test_bus_device *test_bus_alloc(const char *name);
int test_bus_register(struct test_bus_device *tdev);
void test_bus_unregister_tree(struct test_bus_device *top);
void test_bus_unregister_all(void);
int test_bus_received_show(struct seq_file *seq, void *unused);

/* liveupdate_test_bus_config.c */
int test_bus_configure(const char *config, enum test_bus_stage stage);

#endif /* _LIVEUPDATE_TEST_BUS_INTERNAL_H */
