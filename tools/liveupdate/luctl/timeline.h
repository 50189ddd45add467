/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Model of the timeline
 *
 * What is made of the records of include/uapi/linux/liveupdate_timeline.h,
 * for the table, for JSON and for the picture. Times are nanoseconds since the
 * prepare of the update began.
 */

#ifndef _LUCTL_TIMELINE_H
#define _LUCTL_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/liveupdate_timeline.h>

#include "luctl.h"

#define TIMELINE_NAME_SIZE	(LIVEUPDATE_TIMELINE_NAME_LEN + 32)
#define TIMELINE_TIME_SIZE	24
#define TIMELINE_NR_TRANSITIONS	(LIVEUPDATE_TIMELINE_FINISH + 1)

/* A record that is right. */
struct timeline_record {
	uint64_t start;
	uint64_t end;
	uint32_t update;
	uint16_t kernel;
	uint8_t kind;
	uint8_t transition;
	int32_t error;
	uint32_t count;
	char name[LIVEUPDATE_TIMELINE_NAME_LEN];
};

/**
 * enum timeline_side - which kernel ran
 * @TIMELINE_OLD: the one that is left.
 * @TIMELINE_NEW: the one that is entered.
 * @TIMELINE_BETWEEN: none of them.
 */
enum timeline_side {
	TIMELINE_OLD,
	TIMELINE_NEW,
	TIMELINE_BETWEEN,
};

/**
 * struct timeline_item - a phase, a transition, or a callback
 * @name: of a phase or transition; of a callback, the subsystem.
 * @side: which kernel ran.
 * @transition: one of &enum liveupdate_timeline_transition, 0 for a phase.
 * @callback: it is one.
 * @blackout: it is in the blackout.
 * @placed: @start_ns is on the axis that both kernels share.
 * @measured: @start_ns and @duration_ns are known. Without @placed, @start_ns is
 *	good for drawing the new kernel right behind the old one.
 * @start_ns: when it began.
 * @duration_ns: how long it took.
 * @error: 0, or the negative errno it ended with.
 * @count: of all items of a callback together, their number.
 */
struct timeline_item {
	char name[TIMELINE_NAME_SIZE];
	enum timeline_side side;
	uint8_t transition;
	bool callback;
	bool blackout;
	bool placed;
	bool measured;
	int64_t start_ns;
	int64_t duration_ns;
	int32_t error;
	uint32_t count;
};

/* An array that grows. */
struct timeline_items {
	struct timeline_item *item;
	size_t count;
	size_t room;
};

/**
 * struct timeline_update - one update
 * @number: counted from 1.
 * @old: release of the kernel that is left, or empty if unknown.
 * @new: release of the kernel that is entered, or empty if unknown.
 * @outcome: what became of it.
 * @jumped: there was a blackout.
 * @invalid: the two kernels have no common axis.
 * @doubt: the item at which time ran backwards, or empty.
 * @zero_known: @zero_ns is when the freeze began.
 * @zero_ns: zero of the axis for people.
 * @blackout_known: @blackout_ns and @unaccounted_ns are known.
 * @blackout_ns: from freeze until process 1 runs its program.
 * @unaccounted_ns: how much of it is in no phase.
 * @gap_known: @gap_ns is known.
 * @gap_ns: how much of it neither kernel ran.
 * @axis_from_ns: where a drawing begins: it shows the blackout, or all if there
 *	was none.
 * @axis_to_ns: where it ends.
 * @phases: in the order of time.
 * @transitions: in the order of their ends.
 * @callbacks: in the order of their ends.
 * @details: what callbacks consist of: all items of one together, which have a
 *	@count and are named after the subsystem, and then its slowest ones.
 * @slowest: items of the blackout, or of all if there was none; slowest first.
 */
struct timeline_update {
	uint32_t number;
	char old[LIVEUPDATE_TIMELINE_NAME_LEN];
	char new[LIVEUPDATE_TIMELINE_NAME_LEN];
	const char *outcome;
	bool jumped;
	bool invalid;
	char doubt[TIMELINE_NAME_SIZE];
	bool zero_known;
	int64_t zero_ns;
	bool blackout_known;
	int64_t blackout_ns;
	int64_t unaccounted_ns;
	bool gap_known;
	int64_t gap_ns;
	int64_t axis_from_ns;
	int64_t axis_to_ns;
	struct timeline_items phases;
	struct timeline_items transitions;
	struct timeline_items callbacks;
	struct timeline_items details;
	struct timeline_items slowest;
};

/**
 * struct timeline - the whole timeline
 * @header: its header.
 * @corrupted: records that are not right, here and in the kernel.
 * @records: those that are right, in the order of the file.
 * @sorted: pointers to @records, by update.
 * @record_count: their number.
 * @update: one for each update, or the one that is asked for.
 * @count: their number.
 */
struct timeline {
	struct liveupdate_timeline_header header;
	uint64_t corrupted;
	struct timeline_record *records;
	struct timeline_record **sorted;
	size_t record_count;
	struct timeline_update *update;
	size_t count;
};

/* timeline.c */

/* Write a file; errors are reported. */
enum luctl_status timeline_save(const char *path, const void *data, size_t size);

/* timeline_model.c */

extern const char *const timeline_transition_names[TIMELINE_NR_TRANSITIONS];

/* Fill @update, which is zeroed, from its records in the order of the file. */
void timeline_build_update(struct timeline_update *update, uint64_t frequency,
			   struct timeline_record *const *records, size_t count);

/* timeline_print.c */

/* "541.2 ms", four digits; @text has TIMELINE_TIME_SIZE bytes and is returned. */
const char *timeline_time(char *text, int64_t ns);

/* "restore of kvm" for a callback or its items, else the name; to be freed. */
char *timeline_item_text(const struct timeline_item *item);

/* What to know about the figures, a list that ends with NULL; @update may be NULL. */
char **timeline_notes(const struct timeline *timeline, const struct timeline_update *update);
void timeline_drop_notes(char **notes);

void timeline_print_list(const struct timeline *timeline);
void timeline_print_update(const struct timeline *timeline, const struct timeline_update *update,
			   unsigned int top);
void timeline_print_json(const struct timeline *timeline, unsigned int top);

/* timeline_svg.c */

/**
 * timeline_write_svg() - draw an update
 * @path: file to write
 * @update: the update
 * @notes: what to know about the figures, a list that ends with NULL
 *
 * Return: LUCTL_OK, or the status of an error that was reported.
 */
enum luctl_status timeline_write_svg(const char *path, const struct timeline_update *update,
				     char *const *notes);

#endif /* _LUCTL_TIMELINE_H */
