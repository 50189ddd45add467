// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the table of devices against corrupted images in bulk
 *
 * Three devices, or as many as need a second block, were handed over by a kernel that is
 * not there: the table is written as include/linux/kho/abi/device.h has it, and
 * corrupted by kernel/liveupdate/tests/luo_mutate.c. It is read by the one device layer
 * of this kernel. Mostly no device appears, FINISH comes, and an operator says that all
 * of them are gone, which frees what is left. Every so often three devices appear
 * meanwhile and are probed.
 *
 * Without corrected checksums no record is believed that is not as it was written,
 * and nothing is freed that the table did not have. With corrected checksums nobody
 * can tell which of two kernels is wrong; but every record that is believed is within
 * its bounds, memory is freed once, by one owner, and no reader goes astray.
 */

#include <kunit/test.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate/mutate.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../base.h"

#define DLM_RECORD	sizeof(struct device_liveupdate_ser)
#define DLM_PER_BLOCK	((unsigned int)KHO_TABLE_PER_BLOCK(DLM_RECORD))
#define DLM_DEVICES	3
#define DLM_MANY	(DLM_PER_BLOCK + 2)
#define DLM_COMPATIBLE	"kunit,mutate"

/* How many images there are for one at which devices appear. */
#define DLM_SELDOM	256

enum {
	DLM_TABLE,
	DLM_FIRST,
	DLM_SECOND,
	DLM_BLOB,
	DLM_LONG_BLOB,
	DLM_OTHER,
	DLM_NR_AREAS,
};

static const struct luo_mutate_case dlm_cases[] = {
	{ "as it is", false, 70 },
	{ "checksums corrected", true, 130 },
};

KUNIT_ARRAY_PARAM_DESC(dlm_case, dlm_cases, name);

static const struct luo_mutate_table dlm_table = {
	.head		= DLM_TABLE,
	.blocks		= DLM_FIRST,
	.compatible	= DEVICE_LIVEUPDATE_COMPATIBLE,
	.record_size	= DLM_RECORD,
};

static struct luo_mutate *dlm;
static struct device *dlm_root;
static struct liveupdate_subsystem dlm_subsystem;

/* A bus whose devices do what they should. */

static int dlm_identify(struct device *dev, struct device_liveupdate_id *id)
{
	memset(id, 0, sizeof(*id));
	strscpy(id->id, dev_name(dev));
	strscpy(id->fingerprint, dev_name(dev));

	return 0;
}

static int dlm_step(struct device *dev, enum device_liveupdate_role role)
{
	return 0;
}

static void dlm_undo(struct device *dev, enum device_liveupdate_role role)
{
}

static int dlm_quarantine(struct device *dev)
{
	return 0;
}

static const struct bus_liveupdate_ops dlm_bus_ops = {
	.identify	= dlm_identify,
	.prepare	= dlm_step,
	.freeze		= dlm_step,
	.thaw		= dlm_undo,
	.cancel		= dlm_undo,
	.quarantine	= dlm_quarantine,
};

static int dlm_probe(struct device *dev)
{
	const struct liveupdate_data *data;
	u32 version;

	data = device_liveupdate_retrieve(dev, &version);
	if (data && data->size)
		luo_mutate_wrong(dlm, !kho_is_restorable(data->value, data->size),
				 "a driver was given memory that did not arrive");

	return 0;
}

static const struct bus_type dlm_bus = {
	.name		= "liveupdate-mutate",
	.probe		= dlm_probe,
	.liveupdate	= &dlm_bus_ops,
};

static int dlm_prepare(struct device *dev, struct liveupdate_data *data)
{
	return 0;
}

static int dlm_freeze(struct device *dev, const struct liveupdate_data *data)
{
	return 0;
}

static void dlm_over(struct device *dev, const struct liveupdate_data *data)
{
}

static const struct dev_liveupdate_ops dlm_ops = {
	.compatible	= DLM_COMPATIBLE,
	.version	= 3,
	.oldest		= 1,
	.prepare	= dlm_prepare,
	.freeze		= dlm_freeze,
	.thaw		= dlm_over,
	.cancel		= dlm_over,
	.finish		= dlm_over,
};

static struct device_driver dlm_driver = {
	.name		= "liveupdate-mutate",
	.bus		= &dlm_bus,
	.owner		= THIS_MODULE,
	.liveupdate	= &dlm_ops,
	.probe_type	= PROBE_FORCE_SYNCHRONOUS,
};

static void dlm_release(struct device *dev)
{
	kfree(dev);
}

static struct device *dlm_device(struct kunit *test, const char *name,
				 struct device *parent)
{
	struct device *dev = kzalloc_obj(*dev);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	device_initialize(dev);
	dev->release = dlm_release;
	dev->bus = &dlm_bus;
	dev->parent = parent;
	KUNIT_ASSERT_EQ(test, 0, dev_set_name(dev, "%s", name));
	KUNIT_ASSERT_EQ(test, 0, device_add(dev));

	return dev;
}

/* The table. */

static void dlm_name(char *name, size_t size, unsigned int index)
{
	snprintf(name, size, "dlm%u", index);
}

/* On the path, with a blob, with a larger one below that, the others with a value. */
static void dlm_record(struct device_liveupdate_ser *ser, unsigned int index)
{
	memset(ser, 0, sizeof(*ser));
	strscpy(ser->bus, dlm_bus.name);
	dlm_name(ser->id, sizeof(ser->id), index);
	dlm_name(ser->fingerprint, sizeof(ser->fingerprint), index);
	ser->parent = index < DLM_DEVICES ? index : 0;
	if (index == 2)
		ser->nr_providers = 1;
	if (index) {
		strscpy(ser->compatible, DLM_COMPATIBLE);
		ser->version = 2;
		ser->value = index;
	} else {
		ser->flags = DEVICE_LIVEUPDATE_SER_PATH;
	}
	if (index == 1 || index == 2) {
		ser->flags = DEVICE_LIVEUPDATE_SER_BLOB;
		ser->value = luo_mutate_phys(dlm, index == 1 ? DLM_BLOB :
					     DLM_LONG_BLOB);
		ser->size = index == 1 ? 100 : PAGE_SIZE + 1;
	}
}

static void dlm_point_out(unsigned int area, struct device_liveupdate_ser *ser)
{
	luo_mutate_field(dlm, area, &ser->bus[17], 1);
	luo_mutate_field(dlm, area, &ser->id[3], 1);
	luo_mutate_field(dlm, area, &ser->fingerprint[3], 1);
	luo_mutate_field(dlm, area, &ser->parent, 4);
	luo_mutate_field(dlm, area, &ser->flags, 4);
	luo_mutate_field(dlm, area, &ser->compatible[12], 1);
	luo_mutate_field(dlm, area, &ser->version, 4);
	luo_mutate_field(dlm, area, &ser->nr_providers, 4);
	luo_mutate_field(dlm, area, &ser->more, 4);
	luo_mutate_field(dlm, area, &ser->providers[0], 4);
	luo_mutate_field(dlm, area, &ser->providers[DEVICE_LIVEUPDATE_PROVIDERS - 1], 4);
	luo_mutate_field(dlm, area, &ser->value, 8);
	luo_mutate_field(dlm, area, &ser->value, 8);
	luo_mutate_field(dlm, area, &ser->size, 8);
}

static void dlm_write(unsigned int count)
{
	luo_mutate_write_table(dlm, &dlm_table, count);
	for (unsigned int i = 0; i < count; i++) {
		unsigned int area;
		struct device_liveupdate_ser *ser =
			luo_mutate_record(dlm, &dlm_table, i, &area);

		dlm_record(ser, i);
		if (i % DLM_PER_BLOCK < DLM_DEVICES)
			dlm_point_out(area, ser);
	}
	luo_mutate_seal_table(dlm, &dlm_table);
	memset(luo_mutate_mem(dlm, DLM_OTHER), 0, PAGE_SIZE);
}

/* What was believed. */

static bool dlm_sane(const struct dlu_incoming_device *incoming,
		     unsigned int index, bool sealed)
{
	const struct device_liveupdate_ser *ser = &incoming->ser;
	struct device_liveupdate_ser want;

	if (strnlen(ser->bus, sizeof(ser->bus)) == sizeof(ser->bus) ||
	    strnlen(ser->id, sizeof(ser->id)) == sizeof(ser->id))
		return false;
	if (incoming->invalid)
		return !incoming->data.size;
	if (incoming->corrupted)
		return false;
	if (incoming->more)
		return false;
	for (u32 i = 0; i < ser->nr_providers; i++) {
		if (dlu_provider(incoming, i) >= index)
			return false;
	}
	if (ser->parent > index ||
	    strnlen(ser->compatible, sizeof(ser->compatible)) ==
	    sizeof(ser->compatible))
		return false;
	if (sealed)
		return true;
	dlm_record(&want, index);

	return !memcmp(ser, &want, sizeof(want));
}

static void dlm_judge(bool sealed)
{
	unsigned int known = 0;

	for (unsigned int i = 0; i < dlu_incoming.nr_records; i++) {
		const struct dlu_incoming_device *incoming =
			&dlu_incoming.records[i];

		if (hlist_unhashed(&incoming->hash))
			continue;
		known++;
		luo_mutate_wrong(dlm, !dlm_sane(incoming, i, sealed),
				 "a record that cannot be");
	}
	luo_mutate_wrong(dlm, known != dlu_incoming.nr_absent ||
			 known + dlu_incoming.nr_more + dlu_incoming.nr_lost !=
			 dlu_incoming.nr_records,
			 "records are not counted");
}

static void dlm_appear(struct kunit *test)
{
	struct device *devs[DLM_DEVICES];
	char name[8];

	for (unsigned int i = 0; i < DLM_DEVICES; i++) {
		dlm_name(name, sizeof(name), i);
		devs[i] = dlm_device(test, name, i ? devs[i - 1] : dlm_root);
	}
	dlu_finish(&dlm_subsystem,
		   &(struct liveupdate_data){
					.value = luo_mutate_phys(dlm, DLM_TABLE),
					.size = dlm->areas[DLM_TABLE].used,
		   });
	dlu_flush();
	for (unsigned int i = DLM_DEVICES; i--; )
		device_unregister(devs[i]);
}

static void dlm_expect_nothing(void)
{
	luo_mutate_wrong(dlm, dlu_incoming.records || dlu_incoming.buckets ||
			 dlu_incoming.nr_records || dlu_incoming.nr_lost ||
			 dlu_incoming.nr_absent || dlu_incoming.absent ||
			 dlu_incoming.nr_claimed || dlu_incoming.pending ||
			 dlu_incoming.finishing, "records are left");
}

/* The next kernel boots with the image and finishes. */
static void dlm_boot(struct kunit *test, bool sealed)
{
	struct liveupdate_data data = {
		.value = luo_mutate_phys(dlm, DLM_TABLE),
		.size = dlm->areas[DLM_TABLE].used,
	};
	bool empty;
	int err;

	err = dlu_read_table(&data);
	if (err) {
		luo_mutate_wrong(dlm, err != -EINVAL && err != -EBADMSG &&
				 err != -EPROTONOSUPPORT, "an error nobody knows");
		luo_mutate_wrong(dlm, luo_mutate_nr_reserved(dlm) != dlm->nr_areas,
				 "memory freed after an error");
		dlm_expect_nothing();
		return;
	}
	dlm_judge(sealed);
	empty = !dlu_incoming.nr_records;
	dlu_incoming.pending = true;
	if (dlm->image % DLM_SELDOM)
		dlu_finish(&dlm_subsystem, &data);
	else
		dlm_appear(test);
	luo_mutate_wrong(dlm, dlu_incoming.nr_claimed, "a device still has a record");
	err = dlu_forget_retained(&dlm_subsystem, "");
	luo_mutate_wrong(dlm, err && err != -ENOENT, "an operator cannot go on");
	if (!empty)
		luo_mutate_wrong(dlm, luo_mutate_reserved(dlm, DLM_TABLE),
				 "the table was not freed");
	luo_mutate_wrong(dlm, !sealed && !luo_mutate_reserved(dlm, DLM_OTHER),
			 "memory of somebody else was freed");
	dlm_expect_nothing();
}

static void dlm_areas(void)
{
	for (unsigned int i = 0; i < DLM_NR_AREAS; i++)
		luo_mutate_area(dlm, i == DLM_LONG_BLOB);
}

static void dlm_table_test(struct kunit *test)
{
	const struct luo_mutate_case *what = test->param_value;

	luo_mutate_begin(dlm, test, what->share);
	dlm_areas();
	while (luo_mutate_next(dlm)) {
		dlm_write(dlm->image % 16 ? DLM_DEVICES : DLM_MANY);
		luo_mutate_corruption(dlm);
		if (what->sealed)
			luo_mutate_seal_table(dlm, &dlm_table);
		dlm_boot(test, what->sealed);
	}
}

/* Without corruption all records arrive and all memory is freed. */
static void dlm_intact_test(struct kunit *test)
{
	luo_mutate_begin(dlm, test, 1);
	dlm_areas();
	while (luo_mutate_next(dlm)) {
		unsigned int count = dlm->image % 2 ? DLM_DEVICES : DLM_MANY;

		dlm_write(count);
		dlm_boot(test, false);
		luo_mutate_wrong(dlm, luo_mutate_reserved(dlm, DLM_FIRST) ||
				 luo_mutate_reserved(dlm, DLM_SECOND) !=
				 (count == DLM_DEVICES) ||
				 luo_mutate_reserved(dlm, DLM_BLOB) ||
				 luo_mutate_reserved(dlm, DLM_LONG_BLOB),
				 "intact, and not freed");
	}
}

static int dlm_init(struct kunit *test)
{
	if (!kho_is_enabled() || !liveupdate_enabled())
		kunit_skip(test, "live update is off, boot with kho=on liveupdate=on");
	if (liveupdate_get_state() != LIVEUPDATE_STATE_NORMAL ||
	    dlu_incoming.nr_records)
		kunit_skip(test, "a live update is under way");

	dlm = kunit_kzalloc(test, sizeof(*dlm), GFP_KERNEL);
	if (!dlm)
		return -ENOMEM;
	test->priv = dlm;

	return 0;
}

static void dlm_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	dlu_flush();
	dlu_incoming.pending = false;
	dlu_forget();
	dlu_forget_retained(&dlm_subsystem, "records");
	if (dlm->test)
		luo_mutate_end(dlm);
}

static int dlm_suite_init(struct kunit_suite *suite)
{
	int err;

	dlm_root = root_device_register("liveupdate-mutate");
	if (IS_ERR(dlm_root))
		return PTR_ERR(dlm_root);
	err = bus_register(&dlm_bus);
	if (err)
		goto err_root;
	err = driver_register(&dlm_driver);
	if (err)
		goto err_bus;

	return 0;

err_bus:
	bus_unregister(&dlm_bus);
err_root:
	root_device_unregister(dlm_root);

	return err;
}

static void dlm_suite_exit(struct kunit_suite *suite)
{
	if (IS_ERR_OR_NULL(dlm_root) || suite->suite_init_err)
		return;
	driver_unregister(&dlm_driver);
	bus_unregister(&dlm_bus);
	root_device_unregister(dlm_root);
}

static struct kunit_case dlm_cases_list[] = {
	KUNIT_CASE(dlm_intact_test),
	KUNIT_CASE_PARAM_ATTR(dlm_table_test, dlm_case_gen_params,
			      {.speed = KUNIT_SPEED_VERY_SLOW}),
	{}
};

static struct kunit_suite dlm_suite = {
	.name = "device-liveupdate-mutate",
	.suite_init = dlm_suite_init,
	.suite_exit = dlm_suite_exit,
	.init = dlm_init,
	.exit = dlm_exit,
	.test_cases = dlm_cases_list,
};

kunit_test_suite(dlm_suite);

MODULE_DESCRIPTION("KUnit tests of the table of devices against corrupted images");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_IMPORT_NS("LIVEUPDATE");
