// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Timeline of a live update
 *
 * Where the time of an update goes, in both kernels and between them. No clock
 * of a kernel runs over the kexec, but the counter of the processor does; its
 * values are recorded (luo_timeline_buffer.c) in memory that the subsystem
 * "timeline" hands over. What is recorded can be read from
 * /sys/kernel/liveupdate/timeline, whose format is in
 * include/uapi/linux/liveupdate_timeline.h, and is a trace event, too.
 *
 * What is recorded
 *   Every callback and every transition, where subsystems are called and walked; how
 *   long the items of a subsystem took, and which were slowest, by luo_items.c. In the
 *   old kernel, once it is frozen: that nothing can fail any more (luo_core.c), the
 *   reboot notifiers ran (a notifier of the lowest priority), the devices are shut down
 *   (one of the last syscore operations), and the kexec (a kmsg dumper, called right
 *   before machine_kexec(); those that registered later come behind it). In the new
 *   kernel: its first instant (an early parameter), the levels of initcalls, and that
 *   process 1 runs its program (tracepoints that exist already).
 *
 * Lifecycle
 *   1. PREPARE begins an update: the buffer is allocated if there is none yet,
 *      an update that was cancelled leaves it, and earlier ones until half of it
 *      is free. The subsystem preserves it. It stands on the lowest level, as
 *      all others are recorded in it.
 *   2. CANCEL ends the update. The buffer is not preserved any more, but kept. A
 *      rehearsal replaces what was recorded of the one before.
 *   3. FREEZE seals the head. Records are appended until the kexec.
 *   4. In the next kernel the records until RESTORE wait in a small buffer of
 *      init memory. RESTORE retrieves the old buffer and moves them there. If none
 *      was handed over that is usable, they move to a new one.
 *   5. FINISH ends the update. The buffer stays, and is preserved again by the
 *      next PREPARE.
 *
 * The timeline never makes an update fail: without memory nothing is recorded.
 *
 * Contexts: luo_timeline_begin() and luo_timeline_end() run under
 * &luo_ctx.lock, as do the callbacks. Everything that records may run anywhere.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpufeature.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kmsg_dump.h>
#include <linux/kobject.h>
#include <linux/liveupdate.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/syscore_ops.h>
#include <linux/sysfs.h>
#include <linux/timex.h>
#include <linux/utsname.h>
#include <linux/workqueue.h>
#include <trace/events/initcall.h>
#include <trace/events/sched.h>

#include "luo_internal.h"
#include "luo_timeline.h"

#ifdef CONFIG_X86
#include <asm/tsc.h>
#endif
#ifdef CONFIG_ARM64
#include <asm/arch_timer.h>
#include <clocksource/arm_arch_timer.h>
#endif

#define LUO_TIMELINE_SIZE	(CONFIG_LIVEUPDATE_TIMELINE_KB * SZ_1K)

/* Records until RESTORE: those of subsystems that are restored before it. */
#define LUO_TIMELINE_EARLY_SIZE	SZ_16K

static struct luo_timeline luo_timeline;
static u8 luo_timeline_early[LUO_TIMELINE_EARLY_SIZE] __initdata __aligned(8);
static u64 luo_timeline_first __initdata;

/* The counter. */
u64 luo_timeline_now(void)
{
#ifdef CONFIG_ARM64
	/* Not get_cycles(), which changes to the physical counter on a host. */
	return __arch_counter_get_cntvct();
#else
	return get_cycles();
#endif
}

#ifdef CONFIG_X86
static u64 luo_timeline_frequency(void)
{
	return tsc_khz * 1000ULL;
}

static bool luo_timeline_invariant(void)
{
	return boot_cpu_has(X86_FEATURE_CONSTANT_TSC) &&
	       boot_cpu_has(X86_FEATURE_NONSTOP_TSC) && !check_tsc_unstable();
}
#else
static u64 luo_timeline_frequency(void)
{
	return arch_timer_get_rate();
}

static bool luo_timeline_invariant(void)
{
	return true;
}
#endif

/* Recording. */

/* Give @timeline memory that can be handed over; false if there is none. */
static bool luo_timeline_alloc(struct luo_timeline *timeline)
{
	struct folio *folio;

	folio = folio_alloc(GFP_KERNEL | __GFP_ZERO | __GFP_NORETRY |
			    __GFP_NOWARN, get_order(LUO_TIMELINE_SIZE));
	if (!folio) {
		pr_notice("no memory to record a timeline\n");
		return false;
	}
	luo_timeline_attach(timeline, folio_address(folio), folio_size(folio));

	return true;
}

/* Start to record what this kernel does. */
static void luo_timeline_start(struct luo_timeline *timeline, u64 start)
{
	/* Pairs with luo_timeline_append(): who sees this sees the memory. */
	smp_store_release(&timeline->recording, true);
	luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_KERNEL, LUO_TRANSITION_NONE,
			    init_utsname()->release, start, start, 0);
}

/* Record a callback that returned. */
void luo_timeline_callback(struct luo_ctx *ctx, enum luo_transition transition,
			   const char *name, u64 start, int error)
{
	if (ctx->timeline)
		luo_timeline_append(ctx->timeline,
				    LIVEUPDATE_TIMELINE_CALLBACK, transition, name,
				    start, luo_timeline_now(), error);
}

/* Record the items of a callback that is about to return. In the callback. */
void luo_timeline_items(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name, const struct liveupdate_items *items)
{
	struct luo_timeline *timeline = ctx->timeline;
	u64 now = luo_timeline_now();

	if (!timeline)
		return;

	luo_timeline_append_items(timeline, transition, name, now - items->sum, now,
				  items->count);
	for (unsigned int i = 0; i < items->nr_slowest; i++)
		luo_timeline_append(timeline, LIVEUPDATE_TIMELINE_ITEM, transition,
				    items->slowest[i].name,
				    items->slowest[i].start,
				    items->slowest[i].end,
				    items->slowest[i].error);
}

/* Record a transition over all subsystems. */
void luo_timeline_transition(struct luo_ctx *ctx, enum luo_transition transition,
			     u64 start, int error)
{
	if (ctx->timeline)
		luo_timeline_append(ctx->timeline, LIVEUPDATE_TIMELINE_TRANSITION,
				    transition, "", start, luo_timeline_now(), error);
}

static void luo_timeline_mark(const char *name)
{
	u64 now = luo_timeline_now();

	luo_timeline_append(&luo_timeline, LIVEUPDATE_TIMELINE_MARK,
			    LUO_TRANSITION_NONE, name, now, now, 0);
}

/* Marks of the old kernel on its way out; if it does not jump, they are lost. */

/* Record that reboot(2) cannot fail any more. */
void luo_timeline_serialized(void)
{
	luo_timeline_mark("serialized");
}

static int luo_timeline_notified(struct notifier_block *nb,
				 unsigned long action, void *unused)
{
	luo_timeline_mark("notified");

	return NOTIFY_DONE;
}

static struct notifier_block luo_timeline_notifier = {
	.notifier_call = luo_timeline_notified,
	.priority = INT_MIN,
};

static void luo_timeline_devices_down(void *unused)
{
	luo_timeline_mark("devices-down");
}

static const struct syscore_ops luo_timeline_syscore_ops = {
	.shutdown = luo_timeline_devices_down,
};

static struct syscore luo_timeline_syscore = {
	.ops = &luo_timeline_syscore_ops,
};

static void luo_timeline_jump(struct kmsg_dumper *dumper,
			      struct kmsg_dump_detail *detail)
{
	if (detail->reason == KMSG_DUMP_SHUTDOWN)
		luo_timeline_mark("jump");
}

static struct kmsg_dumper luo_timeline_dumper = {
	.dump = luo_timeline_jump,
	.max_reason = KMSG_DUMP_SHUTDOWN,
};

/* The boot of the next kernel. */

/* Beside luo_core.c, which evaluates the parameter. */
static int __init luo_timeline_early_param(char *unused)
{
	if (!luo_timeline_first)
		luo_timeline_first = luo_timeline_now();

	return 0;
}
early_param("liveupdate", luo_timeline_early_param);

static bool luo_timeline_levels __initdata;
static char luo_timeline_level[LIVEUPDATE_TIMELINE_NAME_LEN] __initdata;
static u64 luo_timeline_level_start __initdata;

static void __init luo_timeline_level_ended(void)
{
	if (luo_timeline_level[0])
		luo_timeline_append(&luo_timeline, LIVEUPDATE_TIMELINE_INITCALLS,
				    LUO_TRANSITION_NONE, luo_timeline_level,
				    luo_timeline_level_start, luo_timeline_now(),
				    0);
}

static void __init luo_timeline_initcall_level(void *unused, const char *level)
{
	luo_timeline_level_ended();
	strscpy(luo_timeline_level, level);
	luo_timeline_level_start = luo_timeline_now();
}

static void luo_timeline_exec(void *unused, struct task_struct *task,
			      pid_t old_pid, struct linux_binprm *bprm);

static void luo_timeline_exec_unregister(struct work_struct *work)
{
	unregister_trace_sched_process_exec(luo_timeline_exec, NULL);
}

static DECLARE_WORK(luo_timeline_exec_work, luo_timeline_exec_unregister);
static atomic_t luo_timeline_exec_seen;

static void luo_timeline_exec(void *unused, struct task_struct *task,
			      pid_t old_pid, struct linux_binprm *bprm)
{
	if (!is_global_init(task) || atomic_xchg(&luo_timeline_exec_seen, 1))
		return;

	luo_timeline_mark("userspace");
	schedule_work(&luo_timeline_exec_work);
}

/*
 * The previous kernel left something. May sleep. At early_initcall, before any
 * subsystem is restored.
 */
void __init luo_timeline_arrive(void)
{
	struct luo_timeline *timeline = &luo_timeline;

	/* Unless it is handed over, this is the first that is known. */
	timeline->update = 1;
	luo_timeline_attach(timeline, luo_timeline_early,
			    sizeof(luo_timeline_early));
	luo_timeline_start(timeline, luo_timeline_first);

	luo_timeline_levels =
		!register_trace_initcall_level(luo_timeline_initcall_level, NULL);
	if (register_trace_sched_process_exec(luo_timeline_exec, NULL))
		atomic_set(&luo_timeline_exec_seen, 1);
}

static void __init luo_timeline_levels_unregister(void)
{
	if (luo_timeline_levels)
		unregister_trace_initcall_level(luo_timeline_initcall_level,
						NULL);
	luo_timeline_levels = false;
}

/* Leave init memory. May sleep. At early_initcall, after the subsystems were restored. */
void __init luo_timeline_arrived(bool updated)
{
	struct luo_timeline *timeline = &luo_timeline;
	bool early = timeline->ser == (void *)luo_timeline_early;

	if (!updated) {
		luo_timeline_levels_unregister();
		if (!atomic_xchg(&luo_timeline_exec_seen, 1))
			unregister_trace_sched_process_exec(luo_timeline_exec,
							    NULL);
		timeline->update = 0;
	}
	if (early && (!updated || !luo_timeline_alloc(timeline))) {
		WRITE_ONCE(timeline->recording, false);
		luo_timeline_detach(timeline);
	}
}

/* The life of an update. */

/* An update is about to be prepared. May sleep. &luo_ctx.lock held. */
void luo_timeline_begin(struct luo_ctx *ctx)
{
	struct luo_timeline *timeline = ctx->timeline;

	lockdep_assert_held(&ctx->lock);

	if (!timeline || (!timeline->ser && !luo_timeline_alloc(timeline)))
		return;

	luo_timeline_truncate(timeline, timeline->undone);
	luo_timeline_make_room(timeline);
	timeline->undone = atomic_read(&timeline->used);
	timeline->rehearsed = U32_MAX;
	timeline->update++;
	luo_timeline_start(timeline, luo_timeline_now());
}

/* The update is about to be rehearsed. May sleep. &luo_ctx.lock held. */
void luo_timeline_rehearse(struct luo_ctx *ctx)
{
	struct luo_timeline *timeline = ctx->timeline;

	lockdep_assert_held(&ctx->lock);

	if (!timeline)
		return;

	luo_timeline_truncate(timeline, timeline->rehearsed);
	timeline->rehearsed = atomic_read(&timeline->used);
}

/* The update is cancelled or finished. May sleep. &luo_ctx.lock held. */
void luo_timeline_end(struct luo_ctx *ctx)
{
	lockdep_assert_held(&ctx->lock);

	if (ctx->timeline)
		WRITE_ONCE(ctx->timeline->recording, false);
}

/* The subsystem. */

static int luo_timeline_prepare(struct liveupdate_subsystem *subsystem,
				struct liveupdate_data *data)
{
	struct luo_timeline_ser *ser = luo_timeline.ser;
	struct folio *folio;

	if (!ser)
		return 0;

	folio = virt_to_folio(ser);
	if (kho_preserve_folio(folio)) {
		pr_notice("the timeline will not be handed over\n");
		return 0;
	}
	data->value = virt_to_phys(ser);
	data->size = folio_size(folio);

	return 0;
}

static int luo_timeline_freeze(struct liveupdate_subsystem *subsystem,
			       struct liveupdate_data *data)
{
	if (luo_timeline.ser)
		luo_timeline_seal(&luo_timeline);

	return 0;
}

static void luo_timeline_cancel(struct liveupdate_subsystem *subsystem,
				struct liveupdate_data *data)
{
	if (data->size)
		kho_unpreserve_folio(virt_to_folio(liveupdate_data_blob(data)));
}

static int luo_timeline_restore(struct liveupdate_subsystem *subsystem,
				struct liveupdate_data *data)
{
	void *mem = liveupdate_data_blob(data);
	u32 corrupted;
	int err;

	/* The previous kernel had no memory for it. */
	if (!mem)
		return 0;

	err = luo_timeline_check(mem, data->size);
	if (err)
		return err;
	mem = liveupdate_data_claim(data);
	if (!mem)
		return -EINVAL;
	corrupted = luo_timeline_retrieve(&luo_timeline, mem);
	if (corrupted)
		pr_notice("%u corrupted records of the timeline were left out\n",
			  corrupted);

	return 0;
}

static const struct liveupdate_subsystem_ops luo_timeline_ops = {
	.prepare	= luo_timeline_prepare,
	.freeze		= luo_timeline_freeze,
	.cancel		= luo_timeline_cancel,
	.restore	= luo_timeline_restore,
	.owner		= THIS_MODULE,
};

LIVEUPDATE_NOTE(luo_timeline_note, "timeline", 1, 1, LIVEUPDATE_LEVEL_MEMORY,
		LIVEUPDATE_OPTIONAL);

static struct liveupdate_subsystem luo_timeline_subsystem =
	LIVEUPDATE_SUBSYSTEM_INIT(luo_timeline_note, luo_timeline_ops);

LIVEUPDATE_BUILTIN_SUBSYSTEM(luo_timeline_subsystem);

/* Registration with the rest of the kernel. */

/*
 * Record what the system's machine does. At early_initcall, once, if live update is
 * enabled.
 */
void __init luo_timeline_early_init(struct luo_ctx *ctx)
{
	luo_timeline_init(&luo_timeline);
	ctx->timeline = &luo_timeline;
	/* Registered early, hence called among the last. */
	register_syscore(&luo_timeline_syscore);
}

static ssize_t timeline_read(struct file *file, struct kobject *kobj,
			     const struct bin_attribute *attr, char *buf,
			     loff_t offset, size_t count)
{
	return luo_timeline_read(&luo_timeline, luo_timeline_frequency(),
				 luo_timeline_invariant() ?
				 LIVEUPDATE_TIMELINE_INVARIANT : 0,
				 buf, offset, count);
}

static const BIN_ATTR_RO(timeline, 0);

/* Show the timeline. May sleep. Once. */
int __init luo_timeline_add_file(struct kobject *kobj)
{
	return sysfs_create_bin_file(kobj, &bin_attr_timeline);
}

static int __init luo_timeline_late_init(void)
{
	int err;

	luo_timeline_level_ended();
	luo_timeline_mark("initcalls-done");
	luo_timeline_levels_unregister();
	if (!liveupdate_enabled())
		return 0;

	err = register_reboot_notifier(&luo_timeline_notifier);
	if (err)
		return err;

	return kmsg_dump_register(&luo_timeline_dumper);
}
late_initcall_sync(luo_timeline_late_init);
