/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LUO_CTX_H
#define _LINUX_LUO_CTX_H

#include <linux/kho/abi/instance.h>
#include <linux/kho_table.h>
#include <linux/liveupdate/instance.h>
#include <linux/liveupdate/subsystem.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct kobject;
struct liveupdate_retained;
struct luo_timeline;
struct task_struct;

/* What "transition" and the timeline call the files of sessions. */
#define LUO_SESSIONS	"sessions"

/*
 * Most subsystems that one table can carry, in either direction. What there are many
 * of are instances (luo_instances.c), not subsystems.
 */
#define LUO_SUBSYSTEMS_MAX	128

/**
 * enum luo_transition - kinds of callback, and what can be in progress
 * @LUO_TRANSITION_NONE: nothing.
 * @LUO_TRANSITION_PREPARE: normal -> prepared.
 * @LUO_TRANSITION_CANCEL: prepared -> normal, or undo of a failed prepare.
 * @LUO_TRANSITION_FREEZE: prepared -> frozen.
 * @LUO_TRANSITION_THAW: frozen -> prepared, or undo of a failed freeze.
 * @LUO_TRANSITION_RESTORE: a subsystem takes over its data in the next kernel.
 * @LUO_TRANSITION_FINISH: updated -> normal.
 * @LUO_TRANSITION_REQUEST: not in a transition: something is asked of a subsystem.
 */
enum luo_transition {
	LUO_TRANSITION_NONE,
	LUO_TRANSITION_PREPARE,
	LUO_TRANSITION_CANCEL,
	LUO_TRANSITION_FREEZE,
	LUO_TRANSITION_THAW,
	LUO_TRANSITION_RESTORE,
	LUO_TRANSITION_FINISH,
	LUO_TRANSITION_REQUEST,
};

/**
 * enum luo_phase - how far a subsystem is, while a record exists for it
 * @LUO_PHASE_IDLE: no record.
 * @LUO_PHASE_PREPARED: prepare succeeded.
 * @LUO_PHASE_FROZEN: freeze succeeded.
 * @LUO_PHASE_RESTORED: restore succeeded.
 */
enum luo_phase {
	LUO_PHASE_IDLE,
	LUO_PHASE_PREPARED,
	LUO_PHASE_FROZEN,
	LUO_PHASE_RESTORED,
};

/**
 * struct luo_failure - what failed, and why
 * @count: failures since boot, this one included.
 * @transition: the transition.
 * @error: the error, negative; 0 if nothing failed.
 * @subsystem: who, may be empty.
 * @device: which of its devices or other items, may be empty.
 * @reason: why, for people, may be empty.
 */
struct luo_failure {
	u64 count;
	enum luo_transition transition;
	int error;
	char subsystem[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	char device[LIVEUPDATE_DEVICE_LEN];
	char reason[LIVEUPDATE_REASON_LEN];
};

/* Gives up what is retained; -ENOENT if it is not any more, -EBUSY if not now. */
typedef int (*luo_forget_t)(void *context, const char *owner, const char *name);

/**
 * struct luo_retained_list - why memory must outlive this kernel (luo_retained.c)
 * @lock: protects the list. Inside all locks of those who retain.
 * @causes: the causes, the oldest first.
 * @kobj: directory of them, or NULL as long as there is none.
 */
struct luo_retained_list {
	struct mutex lock;		/* the list */
	struct list_head causes;
	struct kobject *kobj;
};

/**
 * struct luo_incoming - a record the previous kernel left
 * @ser: the record, validated.
 * @name_hash: luo_name_hash() of its name.
 * @status: 0 if nobody has restored it; -EALREADY if its subsystem has it;
 *	-ENOTRECOVERABLE if restore failed; -ENOENT once it is gone. Written under
 *	&luo_ctx.incoming_lock, too.
 * @found: the subsystem of that name that was asked last, or is to be asked.
 * @subsystem: the subsystem that restored it, or NULL.
 * @retained: it is mandatory, and nobody has it; or NULL.
 * @tried: restore was called; it is not called again.
 */
struct luo_incoming {
	struct luo_subsystem_ser ser;
	u32 name_hash;
	int status;
	struct liveupdate_subsystem *found;
	struct liveupdate_subsystem *subsystem;
	struct liveupdate_retained *retained;
	bool tried;
};

/* Classes of subsystems and instances. */
#define LUO_NR_CLASSES		(LIVEUPDATE_MANDATORY + 1)

/* Most instances of one class, of all subsystems together. */
#define LUO_INSTANCES_MAX	4096

/**
 * struct luo_instances_out - instances of one class for the next kernel
 * @list: the instances.
 * @count: number of them.
 * @table: table with room for them, allocated with the first one.
 */
struct luo_instances_out {
	struct list_head list;
	unsigned int count;
	struct kho_table table;
};

/**
 * struct luo_instance_in - an instance the previous kernel left
 * @ser: the record, validated.
 * @class: its class.
 * @status: 0 if nobody has claimed it; -EALREADY if its subsystem has it; -ENODATA if
 *	it went missing, -EBADMSG if its data cannot be used; -ENOENT once it is gone.
 * @retained: it is mandatory, and nobody has it; or NULL. Several may share one.
 */
struct luo_instance_in {
	struct luo_instance_ser ser;
	u32 class;
	int status;
	struct liveupdate_retained *retained;
};

/**
 * struct luo_instances - instances of subsystems (luo_instance_out.c, luo_instance_in.c)
 * @lock: protects all of it. Inside &luo_ctx.lock.
 * @open: instances can be added.
 * @sealed: the tables are final.
 * @out: instances for the next kernel, by class.
 * @finished: FINISH has come to those of the previous kernel.
 * @in: instances of the previous kernel, by subsystem and key; or NULL.
 * @nr_in: number of them.
 * @nr_unreadable: number of those that could not be read, by class, at least.
 * @unreadable: some of those were mandatory; or NULL.
 */
struct luo_instances {
	struct mutex lock;		/* all of it */
	bool open;
	bool sealed;
	struct luo_instances_out out[LUO_NR_CLASSES];
	bool finished;
	struct luo_instance_in *in;
	unsigned int nr_in;
	u32 nr_unreadable[LUO_NR_CLASSES];
	struct liveupdate_retained *unreadable;
};

/**
 * struct luo_ctx - the state machine and its subsystems
 * @lock: serialises transitions; protects every field up to @registered_lock,
 *	@deadline and @watched. Held from start to end of a transition.
 * @state: the state. Written under @lock, read without.
 * @sleeping: suspends and hibernations that have begun; /dev/snapshot can be
 *	open while another one begins.
 * @shutting_down: the system reboots, and not by kexec: nothing begins any more. Read
 *	and written without @lock.
 * @kho_name: name of the KHO subtree, NULL if the table is not published.
 * @timeline: where to record what takes how long, or NULL.
 * @notify: called with the new @state after each change of it, without @lock; may be
 *	NULL. Read without @lock.
 * @freeze_sessions: freezes the files of sessions, before subsystems are frozen for
 *	the kexec, or NULL. Constant.
 * @thaw_sessions: undoes @freeze_sessions. Constant.
 * @session_waits: is there a session that was handed over and that nobody has
 *	retrieved yet, or that cannot be finished? Gives its name. Or NULL. Constant.
 * @sessions_frozen: that has to be undone if there is no kexec.
 * @enlisted: subsystems of the prepare in effect, in prepare order.
 * @table: outgoing table, from prepare until cancel.
 * @instances: instances of subsystems, in both directions. Has a lock of its own.
 * @retained: what must outlive this kernel. Has a lock of its own.
 * @unreadable: the table of the previous kernel could not be read, or NULL.
 * @incoming: records of the previous kernel, in table order; after FINISH those that
 *	are retained are not gone. Changed under @incoming_lock, too.
 * @nr_incoming: number of them. As @incoming.
 * @arrived: this kernel has looked for them, and has them if there are any.
 * @incoming_lock: for those who peek without @lock. Innermost, taken with interrupts
 *	off.
 * @restores_late: all memory and processors are there: who restores is called for the
 *	second time at once.
 * @late: restores those who registered during a transition.
 * @registered_lock: protects @registered and @snapshot. Inside @lock. Never held over a
 *	callback.
 * @snapshot: PREPARE has decided who takes part: who registers now is too late.
 * @registered: all subsystems by level, in order of registration.
 * @subsystems: place of their directories, or NULL.
 * @progress_lock: protects @transition, @name, @item, @task, @reported and @failure.
 *	Innermost. Process context.
 * @transition: transition in progress.
 * @name: subsystem whose callback runs, empty if none does.
 * @item: item of it that is worked on, or NULL.
 * @task: task that runs it.
 * @deadline: jiffies by which the walk must be through, valid if @watched.
 * @watched: the walk has a deadline.
 * @prepare_timeout_ms: time allowed for all of PREPARE, 0 is no limit. Written under
 *	@lock, read without.
 * @freeze_timeout_ms: likewise for all of FREEZE.
 * @watchdog: names the subsystem that is late.
 * @reported: what the callback under way said of its failure.
 * @failure: the last failure.
 * @invalid_lock: protects @invalid. Innermost, taken with interrupts off.
 * @invalid: what made invalid what a subsystem prepared; without error if nothing
 *	that is prepared is invalid.
 * @invalidate: cancels, once the machine is prepared and has @invalid.
 *
 * There is one machine for the system; tests make their own.
 */
struct luo_ctx {
	struct mutex lock;	/* a transition, and all up to @registered_lock */
	enum liveupdate_state state;
	unsigned int sleeping;
	bool shutting_down;
	const char *kho_name;
	struct luo_timeline *timeline;
	void (*notify)(struct luo_ctx *ctx, enum liveupdate_state state);

	int (*freeze_sessions)(void);
	void (*thaw_sessions)(void);
	bool (*session_waits)(char *name, size_t size);
	bool sessions_frozen;

	struct list_head enlisted;
	struct kho_table table;

	struct luo_instances instances;
	struct luo_retained_list retained;
	struct liveupdate_retained *unreadable;
	struct luo_incoming *incoming;
	unsigned int nr_incoming;
	bool arrived;
	spinlock_t incoming_lock;	/* @incoming, read without @lock */
	bool restores_late;
	struct work_struct late;

	struct mutex registered_lock;	/* the list of subsystems */
	bool snapshot;
	struct list_head registered[LIVEUPDATE_NR_LEVELS];
	struct kobject *subsystems;

	spinlock_t progress_lock;	/* what follows */
	enum luo_transition transition;
	char name[LIVEUPDATE_SUBSYSTEM_NAME_LEN];
	const char *item;
	struct task_struct *task;
	unsigned long deadline;
	bool watched;
	u32 prepare_timeout_ms;
	u32 freeze_timeout_ms;
	struct delayed_work watchdog;
	struct luo_failure reported;
	struct luo_failure failure;

	spinlock_t invalid_lock;	/* what follows */
	struct luo_failure invalid;
	struct delayed_work invalidate;
};

/* luo_state.c */
const char *luo_state_name(enum liveupdate_state state);
void luo_ctx_init(struct luo_ctx *ctx);
int luo_ctx_prepare(struct luo_ctx *ctx);
int luo_ctx_cancel(struct luo_ctx *ctx);
int luo_ctx_rehearse(struct luo_ctx *ctx);
int luo_ctx_finish(struct luo_ctx *ctx, bool give_up);
int luo_ctx_freeze(struct luo_ctx *ctx, bool receives);
void luo_ctx_thaw(struct luo_ctx *ctx);
void luo_ctx_invalidate(struct luo_ctx *ctx,
			struct liveupdate_subsystem *subsystem, int error,
			const char *device, const char *reason);
int luo_ctx_accept(struct luo_ctx *ctx, phys_addr_t phys,
		   size_t size);
int luo_ctx_restore(struct luo_ctx *ctx, phys_addr_t phys,
		    size_t size);
void luo_ctx_restore_late(struct luo_ctx *ctx);

/* luo_progress.c */
void luo_progress_init(struct luo_ctx *ctx);
const char *luo_transition_name(enum luo_transition transition);
void luo_progress_enter(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name);
void luo_progress_leave(struct luo_ctx *ctx);
void luo_progress_begin(struct luo_ctx *ctx, const char *name);
enum luo_transition luo_progress_end(struct luo_ctx *ctx);
ssize_t luo_progress_show(struct luo_ctx *ctx, char *buf);
bool luo_progress_late(struct luo_ctx *ctx);
void luo_transition_begin(struct luo_ctx *ctx, enum luo_transition transition,
			  bool watched);
void luo_transition_end(struct luo_ctx *ctx);

/* luo_failure.c */
void luo_record_failure(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name, int error, const char *device,
			const char *reason);
void luo_callback_begins(struct luo_ctx *ctx);
void luo_callback_waits(struct luo_ctx *ctx, const char *name);
void luo_callback_failed(struct luo_ctx *ctx, enum luo_transition transition,
			 const char *name, int error);
void luo_report_failure(struct luo_ctx *ctx, const char *name, int error,
			const char *device, const char *reason);
void luo_last_failure(struct luo_ctx *ctx, struct luo_failure *failure);

/* luo_retained.c */
void luo_retained_init(struct luo_retained_list *retained);
bool luo_retained_any(struct luo_retained_list *retained);
int luo_retained_add_dir(struct luo_retained_list *retained,
			 struct kobject *parent);
struct liveupdate_retained *luo_retain(struct luo_retained_list *retained,
				       const char *owner, const char *name,
				       u64 bytes, const char *reason,
				       luo_forget_t forget, void *context);
void luo_retained_release(struct liveupdate_retained *cause);
int luo_retained_refuse(struct luo_ctx *ctx, enum luo_transition transition);
#if IS_ENABLED(CONFIG_KUNIT)
void luo_retained_ids(struct luo_retained_list *retained, char *ids, size_t size);
int luo_retained_forget(struct luo_retained_list *retained, const char *id);
#endif

/* luo_items.c */
void luo_item_begin(struct luo_ctx *ctx, struct liveupdate_items *items,
		    const char *name);
void luo_item_account(struct liveupdate_items *items, u64 end, int error);
int luo_item_end(struct luo_ctx *ctx, struct liveupdate_items *items,
		 int error);
void luo_items_record(struct luo_ctx *ctx,
		      struct liveupdate_subsystem *subsystem,
		      const struct liveupdate_items *items);

/* luo_subsystem.c; the table is laid out by include/asm-generic/vmlinux.lds.h */
extern struct liveupdate_subsystem *__start_liveupdate_subsystems[];
extern struct liveupdate_subsystem *__stop_liveupdate_subsystems[];

struct liveupdate_subsystem *luo_subsystem_find(struct luo_ctx *ctx,
						const char *name);
int luo_subsystem_check(const struct liveupdate_subsystem *subsystem);
struct liveupdate_subsystem *__init luo_subsystem_builtin(const char *name);
int luo_subsystem_call(struct luo_ctx *ctx, enum luo_transition transition,
		       struct liveupdate_subsystem *subsystem);
void luo_subsystem_retire(struct liveupdate_subsystem *subsystem);

/* luo_outgoing.c */
int luo_subsystems_prepare(struct luo_ctx *ctx);
void luo_subsystems_cancel(struct luo_ctx *ctx);
int luo_sessions_freeze(struct luo_ctx *ctx);
void luo_sessions_thaw(struct luo_ctx *ctx);
int luo_subsystems_freeze(struct luo_ctx *ctx, bool sessions);
void luo_subsystems_thaw(struct luo_ctx *ctx);
void luo_outgoing_drop(struct luo_ctx *ctx,
		       struct liveupdate_subsystem *subsystem);

/* luo_incoming.c */
void luo_subsystems_accept(struct luo_ctx *ctx,
			   struct luo_incoming *incoming, unsigned int count);
void luo_subsystems_restore(struct luo_ctx *ctx);
void luo_subsystems_restore_late(struct luo_ctx *ctx);
int luo_subsystems_check_finish(struct luo_ctx *ctx);
void luo_subsystems_finish(struct luo_ctx *ctx);
void luo_incoming_late(struct luo_ctx *ctx);
void luo_subsystems_late(struct work_struct *work);
void luo_incoming_drop(struct luo_ctx *ctx,
		       struct liveupdate_subsystem *subsystem);
void luo_subsystems_retain_table(struct luo_ctx *ctx);
void __init luo_subsystems_discard(struct luo_ctx *ctx);

/* luo_subsystem_dirs.c */
const char *luo_level_name(u32 level);
const char *luo_class_name(u32 class);
void luo_subsystem_dir_publish(struct luo_ctx *ctx,
			       struct liveupdate_subsystem *subsystem);
void luo_subsystem_dir_withdraw(struct luo_ctx *ctx,
				struct liveupdate_subsystem *subsystem);
int luo_subsystem_dirs_add(struct luo_ctx *ctx, struct kobject *parent);

/* luo_register.c */
int luo_subsystem_add(struct luo_ctx *ctx,
		      struct liveupdate_subsystem *subsystem);
void luo_subsystem_remove(struct luo_ctx *ctx,
			  struct liveupdate_subsystem *subsystem);
ssize_t luo_subsystems_show(struct luo_ctx *ctx, char **text);
void __init luo_subsystems_add_builtin(struct luo_ctx *ctx);

/* luo_system.c */
extern struct luo_ctx luo_system;

int luo_reboot_register(void);

/* luo_pm.c */
#ifdef CONFIG_PM_SLEEP
int luo_pm_register(void);
#else
static inline int luo_pm_register(void)
{
	return 0;
}
#endif

/* luo_test_subsystem.c */
#ifdef CONFIG_LIVEUPDATE_SUBSYSTEM_TEST
void __init luo_test_early_init(void);
#else
static inline void luo_test_early_init(void) { }
#endif

/* luo_timeline.c */
#ifdef CONFIG_LIVEUPDATE_TIMELINE
u64 luo_timeline_now(void);
void luo_timeline_callback(struct luo_ctx *ctx, enum luo_transition transition,
			   const char *name, u64 start, int error);
void luo_timeline_items(struct luo_ctx *ctx, enum luo_transition transition,
			const char *name, const struct liveupdate_items *items);
void luo_timeline_transition(struct luo_ctx *ctx, enum luo_transition transition,
			     u64 start, int error);
void luo_timeline_begin(struct luo_ctx *ctx);
void luo_timeline_rehearse(struct luo_ctx *ctx);
void luo_timeline_end(struct luo_ctx *ctx);
void __init luo_timeline_early_init(struct luo_ctx *ctx);
void __init luo_timeline_arrive(void);
void __init luo_timeline_arrived(bool updated);
int __init luo_timeline_add_file(struct kobject *kobj);
#else
static inline u64 luo_timeline_now(void)
{
	return 0;
}

static inline void luo_timeline_callback(struct luo_ctx *ctx,
					 enum luo_transition transition, const char *name,
					 u64 start, int error) { }
static inline void luo_timeline_items(struct luo_ctx *ctx,
				      enum luo_transition transition, const char *name,
				      const struct liveupdate_items *items) { }
static inline void luo_timeline_transition(struct luo_ctx *ctx,
					   enum luo_transition transition, u64 start,
					   int error) { }
static inline void luo_timeline_begin(struct luo_ctx *ctx) { }
static inline void luo_timeline_rehearse(struct luo_ctx *ctx) { }
static inline void luo_timeline_end(struct luo_ctx *ctx) { }
static inline void luo_timeline_early_init(struct luo_ctx *ctx) { }
static inline void luo_timeline_arrive(void) { }
static inline void luo_timeline_arrived(bool updated) { }
static inline int luo_timeline_add_file(struct kobject *kobj)
{
	return 0;
}
#endif

/* luo_handover.c */
bool luo_name_valid(const char *name);
u32 luo_name_hash(const char *name);
int luo_handover_alloc(struct luo_ctx *ctx, unsigned int count);
void luo_handover_free(struct luo_ctx *ctx);
void luo_handover_write(struct luo_ctx *ctx);
void luo_handover_clear(struct luo_ctx *ctx);
int luo_handover_read(struct kho_table_incoming *table, phys_addr_t phys,
		      size_t size, struct luo_subsystem_ser **records,
		      unsigned int *count);

/* luo_instance_out.c */
const struct kho_table_format *luo_instances_format(void);
const char *luo_instances_name(u32 class);
void luo_instances_init(struct luo_instances *instances);
void luo_instances_open(struct luo_ctx *ctx);
void luo_instances_close(struct luo_ctx *ctx);
void luo_instances_leave(struct luo_ctx *ctx,
			 struct liveupdate_subsystem *subsystem);
int luo_instance_add(struct luo_ctx *ctx,
		     struct liveupdate_subsystem *subsystem,
		     struct liveupdate_instance *instance);
int luo_instance_drop(struct luo_ctx *ctx,
		      struct liveupdate_instance *instance);
struct liveupdate_subsystem *luo_instance_abort(struct luo_ctx *ctx,
						struct liveupdate_instance *instance,
						int error);
int luo_instances_seal(struct luo_ctx *ctx);
void luo_instances_unseal(struct luo_ctx *ctx);

/* luo_instance_in.c */
void luo_instances_accept(struct luo_ctx *ctx, u32 class, phys_addr_t phys,
			  size_t size);
void luo_instances_arrived(struct luo_ctx *ctx);
void luo_instances_restored(struct luo_ctx *ctx);
void luo_instances_discard(struct luo_ctx *ctx);
void luo_instances_finish(struct luo_ctx *ctx);
int luo_instance_find(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc, u64 key,
		      struct liveupdate_instance_info *info);
int luo_instance_next(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc,
		      unsigned int *position, struct liveupdate_instance_info *info);
int luo_instance_claim(struct luo_ctx *ctx,
		       const struct liveupdate_subsystem_desc *desc, u64 key);

/* luo_peek.c */
int luo_peek_table(phys_addr_t phys, size_t size,
		   const struct liveupdate_subsystem_desc *desc,
		   struct liveupdate_data *data);
int luo_peek_incoming(struct luo_ctx *ctx,
		      const struct liveupdate_subsystem_desc *desc,
		      struct liveupdate_data *data);

/* luo_shutdown_log.c */
int luo_shutdown_log_check(const void *mem, size_t size);
#ifdef CONFIG_LIVEUPDATE_SHUTDOWN_LOG
int __init luo_shutdown_log_add_file(struct kobject *kobj);
#else
static inline int luo_shutdown_log_add_file(struct kobject *kobj)
{
	return 0;
}
#endif

#endif /* _LINUX_LUO_CTX_H */
