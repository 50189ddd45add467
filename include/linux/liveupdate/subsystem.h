/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live update subsystems
 *
 * A subsystem is a part of the kernel that owns state the next kernel needs:
 * KVM, the device layer, the interrupt core, an IOMMU driver, memory
 * management. It describes itself once, statically, and is called at every
 * transition of the state machine in kernel/liveupdate/luo_state.c.
 *
 * The description is an ELF note (&struct liveupdate_note). vmlinux collects
 * the notes of all built-in subsystems, /sys/kernel/notes shows those of the
 * running kernel, a module carries its own. The same fact therefore orders the
 * callbacks, names the subsystem to the operator, and lets a tool read from
 * an image which data that kernel would understand, before it is booted.
 *
 * A subsystem in full, apart from what its other callbacks do:
 *
 * .. code-block:: c
 *
 *	static int frob_prepare(struct liveupdate_subsystem *subsystem,
 *				struct liveupdate_data *data)
 *	{
 *		struct frob_state *state = liveupdate_data_alloc(data, sizeof(*state));
 *
 *		return IS_ERR(state) ? PTR_ERR(state) : frob_fill_in(state);
 *	}
 *
 *	static const struct liveupdate_subsystem_ops frob_ops = {
 *		.prepare	= frob_prepare,
 *		.freeze		= frob_freeze,
 *		.thaw		= frob_thaw,
 *		.cancel		= frob_cancel,
 *		.restore	= frob_restore,
 *		.finish		= frob_finish,
 *		.owner		= THIS_MODULE,
 *	};
 *
 *	LIVEUPDATE_NOTE(frob_note, "frob", 2, 1, LIVEUPDATE_LEVEL_DEVICES,
 *			LIVEUPDATE_MANDATORY);
 *	static struct liveupdate_subsystem frob =
 *		LIVEUPDATE_SUBSYSTEM_INIT(frob_note, frob_ops);
 *	LIVEUPDATE_BUILTIN_SUBSYSTEM(frob);
 *
 * The struct may sit inside a larger one; container_of() gives the context.
 * Version 2 of the data is written, version 1 can still be read.
 *
 * A module leaves out LIVEUPDATE_BUILTIN_SUBSYSTEM() and calls
 * liveupdate_register_subsystem() from its init function. Only subsystems on
 * %LIVEUPDATE_LEVEL_WORKLOAD may do that.
 */

#ifndef _LINUX_LIVEUPDATE_SUBSYSTEM_H
#define _LINUX_LIVEUPDATE_SUBSYSTEM_H

#include <linux/align.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/elf.h>
#include <linux/errno.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/subsystem.h>
#include <linux/list.h>
#include <linux/liveupdate/data.h>
#include <linux/stringify.h>
#include <linux/types.h>

struct kobject;
struct liveupdate_instance_info;
struct liveupdate_subsystem;
struct luo_subsystem_dir;
struct module;

/**
 * enum liveupdate_state - where the machine is in a live update
 * @LIVEUPDATE_STATE_NORMAL: nothing in progress.
 * @LIVEUPDATE_STATE_PREPARED: every subsystem is prepared; devices and
 *	guests run, the configuration of what is preserved is locked.
 * @LIVEUPDATE_STATE_FROZEN: inside reboot(2), every subsystem is frozen.
 * @LIVEUPDATE_STATE_UPDATED: this kernel was handed state and runs on it.
 */
enum liveupdate_state {
	LIVEUPDATE_STATE_NORMAL,
	LIVEUPDATE_STATE_PREPARED,
	LIVEUPDATE_STATE_FROZEN,
	LIVEUPDATE_STATE_UPDATED,
};

/**
 * enum liveupdate_level - place of a subsystem between consumer and provider
 * @LIVEUPDATE_LEVEL_WORKLOAD: what runs on everything else: KVM.
 * @LIVEUPDATE_LEVEL_DEVICES: devices and their drivers.
 * @LIVEUPDATE_LEVEL_IRQ: interrupt routing.
 * @LIVEUPDATE_LEVEL_IOMMU: address translation.
 * @LIVEUPDATE_LEVEL_MEMORY: memory itself.
 * @LIVEUPDATE_NR_LEVELS: number of levels, not a level.
 *
 * prepare, freeze and finish run from the first level to the last; thaw,
 * cancel and restore run from the last to the first.
 */
enum liveupdate_level {
	LIVEUPDATE_LEVEL_WORKLOAD,
	LIVEUPDATE_LEVEL_DEVICES,
	LIVEUPDATE_LEVEL_IRQ,
	LIVEUPDATE_LEVEL_IOMMU,
	LIVEUPDATE_LEVEL_MEMORY,
	LIVEUPDATE_NR_LEVELS,
};

/*
 * Class of a subsystem. What becomes of its data when the next kernel does
 * not claim it: OPTIONAL data is freed at finish, MANDATORY data is retained until
 * the machine is reset, for it may be a live page table.
 */
#define LIVEUPDATE_OPTIONAL	0
#define LIVEUPDATE_MANDATORY	1

/* Owner, type and description of the ELF note of a subsystem. */
#define LIVEUPDATE_NOTE_OWNER		"LIVEUPDATE"
#define LIVEUPDATE_NOTE_OWNER_LEN	12
#define LIVEUPDATE_NOTE_TYPE		1
#define LIVEUPDATE_NOTE_KHO_LEN		16

/**
 * struct liveupdate_subsystem_desc - what a subsystem says of itself
 * @kho: the KHO ABI string this kernel was built with.
 * @table: %LUO_SUBSYSTEMS_COMPATIBLE.
 * @name: name, unique among all subsystems: lower case, no white space.
 * @version: version of the data that prepare and freeze write.
 * @oldest: oldest version that restore can read.
 * @level: one of &enum liveupdate_level.
 * @class: %LIVEUPDATE_OPTIONAL or %LIVEUPDATE_MANDATORY.
 *
 * The layout is ABI towards tools that read it from an image; a change needs a
 * new %LIVEUPDATE_NOTE_TYPE.
 */
struct liveupdate_subsystem_desc {
	char kho[LIVEUPDATE_NOTE_KHO_LEN];
	char table[LUO_SUBSYSTEMS_COMPAT_LEN];
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	u32 version;
	u32 oldest;
	u32 level;
	u32 class;
} __packed __aligned(4);

/**
 * struct liveupdate_note - ELF note of a subsystem
 * @nhdr: ELF note header: sizes of @owner and @desc, %LIVEUPDATE_NOTE_TYPE.
 * @owner: %LIVEUPDATE_NOTE_OWNER, padded to a multiple of four bytes.
 * @desc: the description.
 */
struct liveupdate_note {
	struct elf64_note nhdr;
	char owner[LIVEUPDATE_NOTE_OWNER_LEN];
	struct liveupdate_subsystem_desc desc;
} __packed __aligned(4);

static_assert(ALIGN(sizeof(LIVEUPDATE_NOTE_OWNER), 4) ==
	      LIVEUPDATE_NOTE_OWNER_LEN);
static_assert(sizeof(KHO_FDT_COMPATIBLE) <= LIVEUPDATE_NOTE_KHO_LEN);
static_assert(sizeof(struct liveupdate_subsystem_desc) == 104);
static_assert(sizeof(struct liveupdate_note) == 128);

/**
 * LIVEUPDATE_NOTE() - describe a subsystem
 * @_var: variable to define
 * @_name: name, a string literal shorter than %LIVEUPDATE_SUBSYSTEM_NAME_LEN
 * @_version: version of the data written, 1 or more
 * @_oldest: oldest version of the data that can be read, 1 to @_version
 * @_level: one of &enum liveupdate_level
 * @_class: %LIVEUPDATE_OPTIONAL or %LIVEUPDATE_MANDATORY
 */
#define LIVEUPDATE_NOTE(_var, _name, _version, _oldest, _level, _class)	\
	static const struct liveupdate_note _var			\
	__used __aligned(4) __section(".note.liveupdate") = {		\
		.nhdr = {						\
			.n_namesz = sizeof(LIVEUPDATE_NOTE_OWNER),	\
			.n_descsz =					\
				sizeof(struct liveupdate_subsystem_desc), \
			.n_type = LIVEUPDATE_NOTE_TYPE,			\
		},							\
		.owner = LIVEUPDATE_NOTE_OWNER,				\
		.desc = {						\
			.kho = KHO_FDT_COMPATIBLE,			\
			.table = LUO_SUBSYSTEMS_COMPATIBLE,		\
			.name = _name,					\
			.version = _version,				\
			.oldest = _oldest,				\
			.level = _level,				\
			.class = _class,				\
		},							\
	}

/**
 * struct liveupdate_subsystem_ops - callbacks of a subsystem
 * @prepare: Optional. Save what can be saved while the workload runs, and lock
 *	the configuration of what is preserved. Heavy work belongs here. An
 *	error undoes the whole transition; @cancel is not called for the subsystem
 *	that failed, which frees what it allocated itself.
 * @can_freeze: Optional. Is nothing under way that would hold up the kexec, or that
 *	@freeze would refuse, and that ends by itself? Before it says no, it names it with
 *	liveupdate_report_failure(). A query without side effects, asked before anything is
 *	frozen, again and again until the answer is yes, or time is up.
 * @freeze: Optional. Bring the data up to date. Runs in reboot(2), during the
 *	blackout, so it must be light: no device_lock, no waiting for userspace.
 *	An error makes reboot(2) return it after everything is thawed; @thaw is
 *	not called for the subsystem that failed. May change the data.
 * @thaw: Optional. Undo @freeze. Cannot fail.
 * @cancel: Optional. Undo @prepare and free what it allocated. Cannot fail.
 * @restore: Required for a subsystem whose data matters. In the next kernel,
 *	take over what was handed over. Called once, at early_initcall time for
 *	built-in subsystems, and for modules when they register. An error
 *	leaves the data unclaimed. It must not claim the blob before it is sure
 *	to succeed.
 * @restore_late: Optional. The rest of @restore, for what takes long or needs much memory:
 *	called after all subsystems have restored, in the same order, once all memory
 *	and all processors are there, but before devices are probed; and for modules right
 *	after @restore. Only for a subsystem whose @restore succeeded. An error leaves
 *	the data unclaimed, as one of @restore does: what has both claims the blob here.
 * @can_finish: Optional. Does nothing wait any more, of what was handed over, that
 *	@finish would give up? Before it says no, it names what waits with
 *	liveupdate_report_failure(). A query without side effects, called before
 *	every finish at which the operator does not give up what waits.
 * @finish: Optional. The operator declared the update complete: free what only
 *	the hand-over needed. Called for each subsystem that restored. Cannot
 *	fail.
 * @dispose_instance: Optional. Nobody has claimed an instance, and its blob is about to be
 *	freed, because it is optional and this is FINISH, or because the operator gives a
 *	mandatory one up: free what the blob refers to, such as chains of further memory.
 *	Called only for what the subsystem could claim.
 * @discard: Optional. Live update is switched off in this kernel, but there is
 *	data of a version that could be restored: quiesce what it
 *	describes. The data stays reserved in this kernel. 0 says that nothing
 *	writes to it any more, or that the subsystem retains what may still be
 *	written to; after an error mandatory data is retained as a whole. Called
 *	once, instead of all others, at early_initcall time, for built-in
 *	subsystems.
 * @dispose: Optional. Nobody wants the data any more that was handed over, in a version
 *	that could be restored: free what the blob leads to, such as the rest of a
 *	chain; the blob itself is freed afterwards. It was not restored, or that
 *	failed, so what it leads to is to be validated. Without it, or where the
 *	subsystem is missing, only the blob is freed, and the rest stays reserved
 *	until the next boot.
 * @forget: Required for a subsystem that calls liveupdate_retain(). The operator
 *	gives up what it retains under this name: free it, and release the cause.
 *	Not called with the lock of the state machine held, and at any time: an
 *	error is -ENOENT if nothing of this name is retained any more, -EBUSY if
 *	it cannot be given up now.
 * @owner: module that holds the callbacks. It is pinned from prepare until
 *	cancel, and from restore until finish.
 *
 * Context: All callbacks may sleep and allocate memory. All but @forget run with the
 * lock of the state machine held, one at a time, and must not wait for another
 * transition, for the (un)registration of a subsystem, or for a module to load.
 * freeze and thaw also run with system_transition_mutex held.
 *
 * Errors are those of userspace: the caller of write(2) or reboot(2) gets them.
 */
struct liveupdate_subsystem_ops {
	int (*prepare)(struct liveupdate_subsystem *subsystem,
		       struct liveupdate_data *data);
	bool (*can_freeze)(struct liveupdate_subsystem *subsystem);
	int (*freeze)(struct liveupdate_subsystem *subsystem,
		      struct liveupdate_data *data);
	void (*thaw)(struct liveupdate_subsystem *subsystem,
		     struct liveupdate_data *data);
	void (*cancel)(struct liveupdate_subsystem *subsystem,
		       struct liveupdate_data *data);
	int (*restore)(struct liveupdate_subsystem *subsystem,
		       struct liveupdate_data *data);
	int (*restore_late)(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_data *data);
	bool (*can_finish)(struct liveupdate_subsystem *subsystem,
			   const struct liveupdate_data *data);
	void (*finish)(struct liveupdate_subsystem *subsystem,
		       struct liveupdate_data *data);
	void (*dispose_instance)(struct liveupdate_subsystem *subsystem,
				 const struct liveupdate_instance_info *info);
	int (*discard)(struct liveupdate_subsystem *subsystem,
		       const struct liveupdate_data *data);
	void (*dispose)(struct liveupdate_subsystem *subsystem,
			const struct liveupdate_data *data);
	int (*forget)(struct liveupdate_subsystem *subsystem, const char *name);
	struct module *owner;
};

/**
 * struct liveupdate_subsystem - a subsystem
 * @desc: the description, in the ELF note.
 * @ops: the callbacks.
 */
struct liveupdate_subsystem {
	const struct liveupdate_subsystem_desc *desc;
	const struct liveupdate_subsystem_ops *ops;

	/* private: owned by kernel/liveupdate */
	struct list_head registered;
	struct list_head enlisted;
	struct luo_subsystem_dir *dir;
	struct liveupdate_data data;
	u32 name_hash;
	u8 phase;
};

/**
 * LIVEUPDATE_SUBSYSTEM_INIT() - initialise a subsystem
 * @_note: variable defined with LIVEUPDATE_NOTE()
 * @_ops: variable of type &struct liveupdate_subsystem_ops
 */
#define LIVEUPDATE_SUBSYSTEM_INIT(_note, _ops)				\
	{ .desc = &(_note).desc, .ops = &(_ops) }

/**
 * LIVEUPDATE_BUILTIN_SUBSYSTEM() - enter a built-in subsystem
 * @_subsystem: the &struct liveupdate_subsystem, an lvalue of static storage
 *
 * Built-in subsystems are restored in the order of their levels at
 * early_initcall time, before any device is probed. Not for modules.
 */
#define LIVEUPDATE_BUILTIN_SUBSYSTEM(_subsystem)			\
	static struct liveupdate_subsystem *const			\
	__UNIQUE_ID(liveupdate_subsystem)				\
	__used __section("__liveupdate_subsystems") = &(_subsystem)

/* Bytes of the name of a device, and of a reason, in a failure; longer ones are cut. */
#define LIVEUPDATE_DEVICE_LEN	96
#define LIVEUPDATE_REASON_LEN	96

/* How many of the slowest items of a transition are known by name. */
#define LIVEUPDATE_ITEMS_SLOWEST	16

/**
 * struct liveupdate_items - how long the items of a subsystem took in a transition
 * @count: number of items.
 * @sum: time they took together, in counts of the timeline.
 * @nr_slowest: number of entries in @slowest that are used.
 * @slowest: the slowest of them, the slowest first.
 * @slowest.name: name of the item, cut if it is too long.
 * @slowest.start: when it began.
 * @slowest.end: when it ended.
 * @slowest.error: what it ended with.
 *
 * For a subsystem that consists of many items, such as devices. It starts
 * zeroed, wraps the work on each item in liveupdate_item_begin() and
 * liveupdate_item_end(), and is recorded with liveupdate_items_record().
 */
struct liveupdate_items {
	u32 count;
	u64 sum;
	unsigned int nr_slowest;
	struct {
		char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
		u64 start;
		u64 end;
		int error;
	} slowest[LIVEUPDATE_ITEMS_SLOWEST];
	/* private: the item under way */
	const char *name;
	u64 start;
};

/**
 * liveupdate_parse_digit() - what was written to a file of live update
 * @buf: the text
 * @count: its length in bytes
 * @max: the largest digit that the file takes
 *
 * Context: any.
 * Return: 0 to @max; -EINVAL for anything but exactly such a digit, with or without a
 * line end.
 */
static inline int liveupdate_parse_digit(const char *buf, size_t count, int max)
{
	if (count == 2 && buf[1] == '\n')
		count = 1;
	if (count != 1 || *buf < '0' || *buf > '0' + max)
		return -EINVAL;

	return *buf - '0';
}

/**
 * liveupdate_parse_bool() - the same for a file that takes 0 and 1
 * @buf: the text
 * @count: its length in bytes
 *
 * Context: any.
 * Return: 0, 1 or -EINVAL.
 */
static inline int liveupdate_parse_bool(const char *buf, size_t count)
{
	return liveupdate_parse_digit(buf, count, 1);
}

#ifdef CONFIG_LIVEUPDATE_SUBSYSTEMS

enum liveupdate_state liveupdate_get_state(void);
struct kobject *liveupdate_kobject(void);
int liveupdate_peek(const struct liveupdate_subsystem_desc *desc,
		    struct liveupdate_data *data);
void liveupdate_invalidate(struct liveupdate_subsystem *subsystem, int error,
			   const char *device, const char *reason);
void liveupdate_report_failure(struct liveupdate_subsystem *subsystem, int error,
			       const char *device, const char *reason);
void liveupdate_item_begin(struct liveupdate_items *items, const char *name);
int liveupdate_item_end(struct liveupdate_items *items, int error);
void liveupdate_items_record(struct liveupdate_subsystem *subsystem,
			     const struct liveupdate_items *items);

int liveupdate_register_subsystem(struct liveupdate_subsystem *subsystem);
void liveupdate_unregister_subsystem(struct liveupdate_subsystem *subsystem);

#ifdef CONFIG_PM_SLEEP
int liveupdate_check_sleep(void);
#endif

#else /* CONFIG_LIVEUPDATE_SUBSYSTEMS */

/* For others than subsystems, which depend on the option. */
static inline enum liveupdate_state liveupdate_get_state(void)
{
	return LIVEUPDATE_STATE_NORMAL;
}

static inline int liveupdate_peek(const struct liveupdate_subsystem_desc *desc,
				  struct liveupdate_data *data)
{
	return -ENOENT;
}

static inline int liveupdate_check_sleep(void)
{
	return 0;
}

#endif /* CONFIG_LIVEUPDATE_SUBSYSTEMS */

#endif /* _LINUX_LIVEUPDATE_SUBSYSTEM_H */
