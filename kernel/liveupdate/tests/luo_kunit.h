/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LUO_KUNIT_H
#define _LINUX_LUO_KUNIT_H

#include <kunit/test.h>
#include <linux/list.h>
#include <linux/liveupdate/kho_kunit.h>
#include <linux/liveupdate/subsystem.h>
#include <linux/seq_buf.h>
#include <linux/types.h>

#include "../luo_ctx.h"

#define LUO_KUNIT_LOG_LEN	2048
#define LUO_KUNIT_IDS_LEN	256
#define LUO_KUNIT_NR_TRANSITIONS	(LUO_TRANSITION_FINISH + 1)

/**
 * struct luo_kunit - what every test starts with, in &kunit.priv
 * @ctx: machine of the outgoing kernel.
 * @next: machine of the incoming kernel.
 * @subsystems: all subsystems, of both machines.
 * @kho: memory that is handed over.
 * @phys: physical address of the head of the table, from luo_kunit_jump() on.
 * @size: size of the head, from luo_kunit_jump() on.
 * @instances: the same of the tables of instances, by class; 0 if there is none.
 * @log: callbacks that ran: " transition:name" for each.
 * @want: callbacks that should have run.
 * @log_text: buffer of @log.
 * @want_text: buffer of @want.
 * @tainted: this kernel has warned before the test began.
 */
struct luo_kunit {
	struct luo_ctx ctx;
	struct luo_ctx next;
	struct list_head subsystems;
	struct kho_kunit kho;
	phys_addr_t phys;
	size_t size;
	struct {
		phys_addr_t phys;
		size_t size;
	} instances[LUO_NR_CLASSES];
	struct seq_buf log;
	struct seq_buf want;
	char log_text[LUO_KUNIT_LOG_LEN];
	char want_text[LUO_KUNIT_LOG_LEN];
	bool tainted;
};

/**
 * struct luo_kunit_subsystem - a subsystem that does what the test says
 * @subsystem: its registration.
 * @desc: its description; may be changed until it is registered.
 * @ops: its callbacks; @ops.owner may be set.
 * @list: entry in &luo_kunit.subsystems.
 * @fixture: the test's.
 * @error: what the callback of a transition returns.
 * @hook: called in every callback, may be NULL.
 * @context: for @hook.
 * @waits: something of it still waits, when it is asked.
 * @asked: how often it was asked.
 * @offer: what to hand over: @offer.size bytes, or else @offer.value.
 * @claims: restore claims the blob.
 * @received: what restore was given.
 * @claimed: the blob, once claimed.
 */
struct luo_kunit_subsystem {
	struct liveupdate_subsystem subsystem;
	struct liveupdate_subsystem_desc desc;
	struct liveupdate_subsystem_ops ops;
	struct list_head list;
	struct luo_kunit *fixture;
	int error[LUO_KUNIT_NR_TRANSITIONS];
	void (*hook)(struct luo_kunit_subsystem *mock,
		     enum luo_transition transition);
	void *context;
	bool waits;
	unsigned int asked;
	struct liveupdate_data offer;
	bool claims;
	struct liveupdate_data received;
	void *claimed;
};

#define LUO_KUNIT_NR	11

/**
 * struct luo_kunit_set - subsystems on all levels
 * @count: their number.
 * @walk: in the order in which they are to be walked down the levels.
 */
struct luo_kunit_set {
	unsigned int count;
	struct luo_kunit_subsystem *walk[LUO_KUNIT_NR];
};

/**
 * struct luo_kunit_failure - which of them fails
 * @count: how many there are.
 * @index: which one, in the order in which they are walked down.
 */
struct luo_kunit_failure {
	unsigned int count;
	unsigned int index;
};

extern const char *const luo_kunit_states[LIVEUPDATE_STATE_UPDATED + 1];

int luo_kunit_init(struct kunit *test);
void luo_kunit_exit(struct kunit *test);

struct luo_kunit_subsystem *luo_kunit_new(struct kunit *test,
					  const char *name, u32 level);
struct luo_kunit_subsystem *luo_kunit_add(struct kunit *test,
					  struct luo_ctx *ctx,
					  const char *name, u32 level);
u8 luo_kunit_pattern(const char *name, size_t offset);

void luo_kunit_want(struct kunit *test, enum luo_transition transition, const char *name);
void luo_kunit_expect_wanted(struct kunit *test);
void luo_kunit_expect_log(struct kunit *test, const char *log);
void luo_kunit_expect_failed(struct kunit *test, struct luo_ctx *ctx,
			     enum luo_transition transition, const char *name, int error);

void luo_kunit_expect_retained(struct kunit *test, struct luo_ctx *ctx,
			       const char *want);
int luo_kunit_forget_all(struct luo_ctx *ctx);

void luo_kunit_view_table(struct kunit *test);
void luo_kunit_jump(struct kunit *test);
void luo_kunit_hand_over(struct kunit *test);
int luo_kunit_boot(struct kunit *test);

struct luo_subsystem_ser *luo_kunit_record(struct kunit *test, u32 position);
void luo_kunit_seal(struct kunit *test);

/* luo_kunit_levels.c */
void luo_kunit_scramble(struct kunit *test, struct luo_ctx *ctx,
			struct luo_kunit_set *set, unsigned int count);
void luo_kunit_want_down(struct kunit *test, struct luo_kunit_set *set,
			 enum luo_transition transition, unsigned int count);
void luo_kunit_want_up(struct kunit *test, struct luo_kunit_set *set,
		       enum luo_transition transition, unsigned int count);
void luo_kunit_expect_unprepared(struct kunit *test,
				 struct luo_ctx *ctx,
				 struct luo_kunit_set *set);
void luo_kunit_expect_undone(struct kunit *test, struct luo_kunit_set *set,
			     enum luo_transition transition, int error);
void luo_kunit_limit(struct luo_ctx *ctx, u32 timeout_ms);
void luo_kunit_late_hook(struct luo_kunit_subsystem *mock,
			 enum luo_transition transition);
const void *luo_kunit_failure_params(struct kunit *test, const void *prev, char *desc);

#endif /* _LINUX_LUO_KUNIT_H */
