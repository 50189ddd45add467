// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Log of the shutdown
 *
 * What a kernel prints while it freezes, shuts devices down and leaves is lost:
 * no userspace is left to read it, and the next kernel starts with an empty
 * log. When a live update is slow or goes wrong there, this is what one wants
 * to see. The subsystem "shutdown-log" hands it over.
 *
 * Lifecycle
 *   1. PREPARE allocates the blob (include/linux/kho/abi/shutdown_log.h).
 *   2. FREEZE remembers the number of the next message. The subsystem is on
 *      the level of the consumers, so it is frozen before those that follow
 *      and sees what they print.
 *   3. A kmsg dumper copies all messages since then into the blob when
 *      kernel_kexec() dumps for KMSG_DUMP_SHUTDOWN. That is its last act before
 *      machine_kexec(), after machine_shutdown(). If they do not fit, the
 *      newest are kept.
 *   4. RESTORE checks the blob, copies the text and frees the blob. The text is
 *      /sys/kernel/liveupdate/shutdown_log until the next boot, whether or not
 *      the update is finished.
 *
 * Nothing is printed or allocated in the dump, and it takes no lock but those
 * of printk, which are made for it.
 *
 * Context: callbacks as in include/linux/liveupdate/subsystem.h. The dumper acts
 * only once the kexec is certain, when no callback runs any more, so the fields
 * need no lock.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/crc32.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/kho/abi/shutdown_log.h>
#include <linux/kmsg_dump.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "luo_ctx.h"

#define LUO_SHUTDOWN_LOG_SIZE	(CONFIG_LIVEUPDATE_SHUTDOWN_LOG_KB * SZ_1K)

static const char luo_shutdown_log_compatible[LUO_SHUTDOWN_LOG_COMPAT_LEN] =
	LUO_SHUTDOWN_LOG_COMPATIBLE;

/**
 * struct luo_shutdown_log - the subsystem
 * @subsystem: its registration
 * @dumper: called when the kernel is about to leave
 * @blob: outgoing blob, from prepare to cancel
 * @first: number of the first message to hand over
 * @frozen: @first is valid
 * @text: incoming text, or NULL
 * @length: bytes of @text
 */
struct luo_shutdown_log {
	struct liveupdate_subsystem subsystem;
	struct kmsg_dumper dumper;
	struct luo_shutdown_log_ser *blob;
	u64 first;
	bool frozen;
	char *text;
	size_t length;
};

static struct luo_shutdown_log *to_log(struct liveupdate_subsystem *subsystem)
{
	return container_of(subsystem, struct luo_shutdown_log, subsystem);
}

static u32 luo_shutdown_log_crc(const struct luo_shutdown_log_ser *ser)
{
	u32 crc = crc32_le(~0, (const u8 *)ser,
			   offsetof(struct luo_shutdown_log_ser, crc));

	return ~crc32_le(crc, (const u8 *)(ser + 1), ser->length);
}

static void luo_shutdown_log_seal(struct luo_shutdown_log_ser *ser,
				  size_t length, bool incomplete)
{
	memcpy(ser->compatible, luo_shutdown_log_compatible,
	       sizeof(ser->compatible));
	ser->length = length;
	ser->incomplete = incomplete;
	ser->reserved = 0;
	ser->crc = luo_shutdown_log_crc(ser);
}

static void luo_shutdown_log_dump(struct kmsg_dumper *dumper,
				  struct kmsg_dump_detail *detail)
{
	struct luo_shutdown_log *log = container_of(dumper,
						    struct luo_shutdown_log,
						    dumper);
	struct kmsg_dump_iter iter;
	size_t length = 0;

	/* Halt, power off and restart dump for the same reason. */
	if (detail->reason != KMSG_DUMP_SHUTDOWN || !kexec_in_progress ||
	    !log->frozen)
		return;

	kmsg_dump_rewind(&iter);
	iter.cur_seq = log->first;
	kmsg_dump_get_buffer(&iter, true, (char *)(log->blob + 1),
			     LUO_SHUTDOWN_LOG_SIZE - sizeof(*log->blob),
			     &length);
	/* The iterator now ends before the first message that was copied. */
	luo_shutdown_log_seal(log->blob, length, iter.next_seq > log->first);
}

static int luo_shutdown_log_prepare(struct liveupdate_subsystem *subsystem,
				    struct liveupdate_data *data)
{
	struct luo_shutdown_log *log = to_log(subsystem);
	void *blob;

	blob = liveupdate_data_alloc(data, LUO_SHUTDOWN_LOG_SIZE);
	if (IS_ERR(blob))
		return PTR_ERR(blob);
	log->blob = blob;

	return 0;
}

static int luo_shutdown_log_freeze(struct liveupdate_subsystem *subsystem,
				   struct liveupdate_data *data)
{
	struct luo_shutdown_log *log = to_log(subsystem);
	struct kmsg_dump_iter iter;

	luo_shutdown_log_seal(log->blob, 0, false);
	kmsg_dump_rewind(&iter);
	log->first = iter.next_seq;
	log->frozen = true;

	return 0;
}

static void luo_shutdown_log_thaw(struct liveupdate_subsystem *subsystem,
				  struct liveupdate_data *data)
{
	to_log(subsystem)->frozen = false;
}

static void luo_shutdown_log_cancel(struct liveupdate_subsystem *subsystem,
				    struct liveupdate_data *data)
{
	to_log(subsystem)->blob = NULL;
	liveupdate_data_free(data);
}

/* Is this the log of a shutdown? */
int luo_shutdown_log_check(const void *mem, size_t size)
{
	const struct luo_shutdown_log_ser *ser = mem;

	if (size < sizeof(*ser) ||
	    memcmp(ser->compatible, luo_shutdown_log_compatible,
		   sizeof(ser->compatible)) ||
	    ser->length > size - sizeof(*ser))
		return -EINVAL;

	return ser->crc == luo_shutdown_log_crc(ser) ? 0 : -EBADMSG;
}

static int luo_shutdown_log_restore(struct liveupdate_subsystem *subsystem,
				    struct liveupdate_data *data)
{
	struct luo_shutdown_log *log = to_log(subsystem);
	const struct luo_shutdown_log_ser *ser = liveupdate_data_blob(data);
	void *text;
	int err;

	err = luo_shutdown_log_check(ser, data->size);
	if (err)
		return err;

	text = kvmemdup(ser + 1, max(ser->length, 1U), GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	log->length = ser->length;
	pr_info("the previous kernel left %zu bytes of shutdown log%s\n",
		log->length, ser->incomplete ? ", the oldest are missing" : "");
	log->text = text;
	liveupdate_data_put(data);

	return 0;
}

static const struct liveupdate_subsystem_ops luo_shutdown_log_ops = {
	.prepare	= luo_shutdown_log_prepare,
	.freeze		= luo_shutdown_log_freeze,
	.thaw		= luo_shutdown_log_thaw,
	.cancel		= luo_shutdown_log_cancel,
	.restore	= luo_shutdown_log_restore,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(luo_shutdown_log_note, "shutdown-log", 1, 1,
		LIVEUPDATE_LEVEL_WORKLOAD, LIVEUPDATE_OPTIONAL);

static struct luo_shutdown_log luo_shutdown_log = {
	.subsystem = LIVEUPDATE_SUBSYSTEM_INIT(luo_shutdown_log_note,
					       luo_shutdown_log_ops),
	.dumper = {
		.dump = luo_shutdown_log_dump,
		.max_reason = KMSG_DUMP_SHUTDOWN,
	},
};

LIVEUPDATE_BUILTIN_SUBSYSTEM(luo_shutdown_log.subsystem);

static ssize_t shutdown_log_read(struct file *file, struct kobject *kobj,
				 const struct bin_attribute *attr, char *buf,
				 loff_t offset, size_t count)
{
	return memory_read_from_buffer(buf, count, &offset,
				       luo_shutdown_log.text,
				       luo_shutdown_log.length);
}

static const BIN_ATTR_ADMIN_RO(shutdown_log, 0);

/* Show the log of the previous kernel. May sleep. Once. */
int __init luo_shutdown_log_add_file(struct kobject *kobj)
{
	return sysfs_create_bin_file(kobj, &bin_attr_shutdown_log);
}

static int __init luo_shutdown_log_init(void)
{
	return liveupdate_enabled() ? kmsg_dump_register(&luo_shutdown_log.dumper) : 0;
}
late_initcall_sync(luo_shutdown_log_init);
