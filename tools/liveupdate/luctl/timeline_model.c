// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Model of an update
 *
 * The records of an update become phases between known instants, in a fixed order.
 * Where an instant is missing, or before the one that it has to follow, the phase
 * is unknown; nothing is guessed. Instants are turned into nanoseconds once, so
 * that durations add up.
 *
 * A rehearsal freezes, too: the freeze that counts is the last one before the
 * kexec, and no thaw follows it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline.h"

/* The largest distance in ns; differences and sums of some fit an int64_t. */
#define NS_LIMIT	(INT64_MAX / 4)

#define NS_PER_SECOND	1000000000

/* What takes less between two levels of initcalls is no phase. */
#define HOLE_NS		100000

const char *const timeline_transition_names[TIMELINE_NR_TRANSITIONS] = {
	[LIVEUPDATE_TIMELINE_NONE]	= "none",
	[LIVEUPDATE_TIMELINE_PREPARE]	= "prepare",
	[LIVEUPDATE_TIMELINE_CANCEL]	= "cancel",
	[LIVEUPDATE_TIMELINE_FREEZE]	= "freeze",
	[LIVEUPDATE_TIMELINE_THAW]	= "thaw",
	[LIVEUPDATE_TIMELINE_RESTORE]	= "restore",
	[LIVEUPDATE_TIMELINE_FINISH]	= "finish",
};

static bool is_transition(const struct timeline_record *record)
{
	return record->kind == LIVEUPDATE_TIMELINE_TRANSITION;
}

static bool is_callback(const struct timeline_record *record)
{
	return record->kind == LIVEUPDATE_TIMELINE_CALLBACK;
}

/* Instants that an update passes in this order, when they are known. */
enum {
	AT_FREEZE,
	AT_FROZEN,
	AT_SERIALIZED,
	AT_NOTIFIED,
	AT_DEVICES_DOWN,
	AT_JUMP,
	AT_KERNEL,
	AT_INITCALLS,
	AT_INITCALLS_DONE,
	AT_USERSPACE,
	NR_INSTANTS,
};

struct instant {
	bool known;
	uint64_t counter;
};

/**
 * struct builder - what is found out on the way to a &struct timeline_update
 * @update: the update that is built.
 * @frequency: counts a second.
 * @records: its records, in the order of the file.
 * @count: their number.
 * @old: number of the kernel that is left, 0 if it wrote nothing.
 * @new: number of the kernel that is entered, 0 if it wrote nothing.
 * @origin: when prepare began.
 * @old_end: the last thing the old kernel wrote of.
 * @new_start: the first thing the new kernel wrote of.
 * @transition: the last of each transition; of freeze, the one that counts.
 * @thawed: when the last thaw ended, or 0.
 * @instant: see above.
 */
struct builder {
	struct timeline_update *update;
	uint64_t frequency;
	struct timeline_record *const *records;
	size_t count;
	uint16_t old;
	uint16_t new;
	uint64_t origin;
	uint64_t old_end;
	uint64_t new_start;
	const struct timeline_record *transition[TIMELINE_NR_TRANSITIONS];
	uint64_t thawed;
	struct instant instant[NR_INSTANTS];
};

static const struct {
	const char *name;
	enum timeline_side side;
	int instant;
} marks[] = {
	{ "serialized", TIMELINE_OLD, AT_SERIALIZED },
	{ "notified", TIMELINE_OLD, AT_NOTIFIED },
	{ "devices-down", TIMELINE_OLD, AT_DEVICES_DOWN },
	{ "jump", TIMELINE_OLD, AT_JUMP },
	{ "initcalls-done", TIMELINE_NEW, AT_INITCALLS_DONE },
	{ "userspace", TIMELINE_NEW, AT_USERSPACE },
};

/* Each begins at its instant and ends at the next one. */
static const struct {
	const char *name;
	enum timeline_side side;
	uint8_t transition;
} phases[NR_INSTANTS] = {
	[AT_FREEZE]		= { "freeze", TIMELINE_OLD, LIVEUPDATE_TIMELINE_FREEZE },
	[AT_FROZEN]		= { "last checks", TIMELINE_OLD, 0 },
	[AT_SERIALIZED]		= { "reboot notifiers", TIMELINE_OLD, 0 },
	[AT_NOTIFIED]		= { "device shutdown", TIMELINE_OLD, 0 },
	[AT_DEVICES_DOWN]	= { "machine shutdown", TIMELINE_OLD, 0 },
	[AT_JUMP]		= { "between the kernels", TIMELINE_BETWEEN, 0 },
	[AT_KERNEL]		= { "early boot", TIMELINE_NEW, 0 },
	[AT_INITCALLS]		= { "initcalls", TIMELINE_NEW, 0 },
	[AT_INITCALLS_DONE]	= { "after initcalls", TIMELINE_NEW, 0 },
};

static struct timeline_item *add_item(struct timeline_items *items)
{
	if (items->count == items->room) {
		items->room = items->room ? 2 * items->room : 16;
		items->item = luctl_resize(items->item, items->room, sizeof(*items->item));
	}
	memset(&items->item[items->count], 0, sizeof(*items->item));

	return &items->item[items->count++];
}

static int64_t distance_ns(const struct builder *builder, uint64_t from, uint64_t to)
{
	uint64_t counts = from < to ? to - from : from - to;
	__uint128_t ns = (__uint128_t)counts * NS_PER_SECOND / builder->frequency;

	if (ns > NS_LIMIT)
		ns = NS_LIMIT;

	return from < to ? (int64_t)ns : -(int64_t)ns;
}

static int64_t to_ns(const struct builder *builder, enum timeline_side side, uint64_t counter)
{
	if (builder->update->invalid && side == TIMELINE_NEW)
		return distance_ns(builder, builder->origin, builder->old_end) +
		       distance_ns(builder, builder->new_start, counter);

	return distance_ns(builder, builder->origin, counter);
}

/* Set the time of an item from instants, of which the second may be unknown. */
static void set_time(const struct builder *builder, struct timeline_item *item, uint64_t start,
		     bool end_known, uint64_t end)
{
	enum timeline_side side = item->side;

	item->start_ns = to_ns(builder, side, start);
	item->placed = !builder->update->invalid || side != TIMELINE_NEW;
	if (!end_known || end < start)
		return;
	item->duration_ns = to_ns(builder, side, end) - item->start_ns;
	item->measured = true;
}

static void set_record(const struct builder *builder, struct timeline_item *item,
		       const struct timeline_record *record)
{
	item->side = record->kernel == builder->old ? TIMELINE_OLD : TIMELINE_NEW;
	item->transition = record->transition;
	item->error = record->error;
	set_time(builder, item, record->start, true, record->end);
}

static struct timeline_item *add_phase(struct builder *builder, enum timeline_side side,
				       const char *format, const char *name)
{
	struct timeline_item *item = add_item(&builder->update->phases);

	item->side = side;
	snprintf(item->name, sizeof(item->name), format, name);

	return item;
}

static void doubt(struct builder *builder, const char *name)
{
	struct timeline_update *update = builder->update;

	if (!*update->doubt)
		snprintf(update->doubt, sizeof(update->doubt), "%s", name);
}

/* Does only the new kernel write this? */
static bool of_new_kernel(const struct timeline_record *record)
{
	if (record->kind == LIVEUPDATE_TIMELINE_INITCALLS)
		return true;
	if (record->kind == LIVEUPDATE_TIMELINE_MARK) {
		for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
			if (!strcmp(record->name, marks[i].name))
				return marks[i].side == TIMELINE_NEW;
		}
	}

	return record->transition == LIVEUPDATE_TIMELINE_RESTORE ||
	       record->transition == LIVEUPDATE_TIMELINE_FINISH;
}

/* The kernel with the lowest number is the old one, unless it wrote what a new one does. */
static void find_kernels(struct builder *builder)
{
	uint16_t first = builder->records[0]->kernel, last = first;
	bool restored = false;

	for (size_t i = 0; i < builder->count; i++) {
		uint16_t kernel = builder->records[i]->kernel;

		if (kernel < first)
			first = kernel;
		if (kernel > last)
			last = kernel;
	}
	for (size_t i = 0; i < builder->count; i++)
		restored |= builder->records[i]->kernel == first &&
			    of_new_kernel(builder->records[i]);

	builder->old = restored && first == last ? 0 : first;
	builder->new = restored || first != last ? last : 0;
}

static void find_instants(struct builder *builder)
{
	struct instant *instant = builder->instant;

	builder->new_start = UINT64_MAX;
	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];
		bool old = record->kernel == builder->old, new = record->kernel == builder->new;

		if (old && record->end > builder->old_end)
			builder->old_end = record->end;
		if (new && record->start < builder->new_start)
			builder->new_start = record->start;

		switch (record->kind) {
		case LIVEUPDATE_TIMELINE_KERNEL:
			if (new)
				instant[AT_KERNEL] = (struct instant){ true, record->start };
			if (old || new)
				snprintf(old ? builder->update->old : builder->update->new,
					 LIVEUPDATE_TIMELINE_NAME_LEN, "%s", record->name);
			break;
		case LIVEUPDATE_TIMELINE_MARK:
			for (size_t k = 0; k < ARRAY_SIZE(marks); k++) {
				if ((marks[k].side == TIMELINE_OLD ? old : new) &&
				    !strcmp(record->name, marks[k].name))
					instant[marks[k].instant] =
						(struct instant){ true, record->start };
			}
			break;
		case LIVEUPDATE_TIMELINE_INITCALLS:
			if (new && (!instant[AT_INITCALLS].known ||
				    record->start < instant[AT_INITCALLS].counter))
				instant[AT_INITCALLS] = (struct instant){ true, record->start };
			break;
		}
	}
}

/* The last of each transition, and the freeze before the kexec. */
static void find_transitions(struct builder *builder)
{
	const struct instant *jump = &builder->instant[AT_JUMP];
	const struct timeline_record *freeze = NULL;

	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];
		bool restored = of_new_kernel(record);

		if (!is_transition(record) ||
		    record->kernel != (restored ? builder->new : builder->old))
			continue;
		builder->transition[record->transition] = record;
		if (record->transition == LIVEUPDATE_TIMELINE_THAW) {
			builder->thawed = record->end;
			freeze = NULL;
		}
		if (record->transition == LIVEUPDATE_TIMELINE_FREEZE && !record->error &&
		    (!jump->known || record->end <= jump->counter))
			freeze = record;
	}

	builder->update->jumped = jump->known || builder->new;
	builder->transition[LIVEUPDATE_TIMELINE_FREEZE] = builder->update->jumped ? freeze : NULL;
	if (builder->transition[LIVEUPDATE_TIMELINE_FREEZE]) {
		builder->instant[AT_FREEZE] = (struct instant){ true, freeze->start };
		builder->instant[AT_FROZEN] = (struct instant){ true, freeze->end };
	}
}

static void find_origin(struct builder *builder)
{
	const struct timeline_record *prepare = builder->transition[LIVEUPDATE_TIMELINE_PREPARE];
	struct timeline_update *update = builder->update;

	builder->origin = UINT64_MAX;
	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];

		if ((!builder->old || record->kernel == builder->old) &&
		    record->start < builder->origin)
			builder->origin = record->start;
	}
	if (prepare)
		builder->origin = prepare->start;

	update->invalid = builder->old && builder->new && builder->new_start < builder->old_end;
	if (update->invalid)
		doubt(builder, phases[AT_JUMP].name);

	update->zero_known = builder->instant[AT_FREEZE].known;
	if (update->zero_known)
		update->zero_ns = to_ns(builder, TIMELINE_OLD,
					builder->instant[AT_FREEZE].counter);
}

static const char *find_outcome(const struct builder *builder)
{
	const struct timeline_record *prepare = builder->transition[LIVEUPDATE_TIMELINE_PREPARE];
	const struct timeline_record *cancel = builder->transition[LIVEUPDATE_TIMELINE_CANCEL];

	if (builder->update->jumped)
		return builder->transition[LIVEUPDATE_TIMELINE_FINISH] ?
		       "complete" : "not finished";
	if (prepare && prepare->error)
		return "prepare failed";

	return cancel ? "cancelled" : "not finished";
}

static void add_transition_phase(struct builder *builder, uint8_t transition)
{
	const struct timeline_record *record = builder->transition[transition];
	struct timeline_item *item;

	if (!record)
		return;
	item = add_phase(builder, TIMELINE_OLD, "%s", timeline_transition_names[transition]);
	set_record(builder, item, record);
}

/* Each freeze that a thaw follows. */
static void add_rehearsals(struct builder *builder)
{
	const struct timeline_record *freeze = NULL;

	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];
		struct timeline_item *item;

		if (!is_transition(record) || record->kernel != builder->old)
			continue;
		if (record->transition == LIVEUPDATE_TIMELINE_FREEZE)
			freeze = record;
		if (record->transition != LIVEUPDATE_TIMELINE_THAW || !freeze)
			continue;
		item = add_phase(builder, TIMELINE_OLD, "%s",
				 freeze->error ? "failed freeze" : "rehearsal");
		item->error = freeze->error;
		set_time(builder, item, freeze->start, true, record->end);
		if (!item->measured)
			doubt(builder, item->name);
		freeze = NULL;
	}
}

static int compare_starts(const void *first, const void *second)
{
	const struct timeline_record *a = *(struct timeline_record *const *)first;
	const struct timeline_record *b = *(struct timeline_record *const *)second;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;

	return a < b ? -1 : a > b;
}

/* One phase for each level, and one for what takes place behind it. */
static void add_initcalls(struct builder *builder)
{
	const struct instant *done = &builder->instant[AT_INITCALLS_DONE];
	const struct timeline_record **levels;
	size_t count = 0;

	levels = luctl_resize(NULL, builder->count, sizeof(*levels));
	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];

		if (record->kind == LIVEUPDATE_TIMELINE_INITCALLS &&
		    record->kernel == builder->new)
			levels[count++] = record;
	}
	qsort(levels, count, sizeof(*levels), compare_starts);

	for (size_t i = 0; i < count; i++) {
		bool last = i + 1 == count;
		uint64_t next = last ? done->counter : levels[i + 1]->start;
		struct timeline_item *item;

		item = add_phase(builder, TIMELINE_NEW, "%s initcalls", levels[i]->name);
		item->blackout = true;
		set_time(builder, item, levels[i]->start, true, levels[i]->end);

		if (last && !done->known)
			break;
		if (next < levels[i]->end)
			doubt(builder, item->name);
		if (next <= levels[i]->end ||
		    distance_ns(builder, levels[i]->end, next) < HOLE_NS)
			continue;
		item = add_phase(builder, TIMELINE_NEW, "after %s initcalls", levels[i]->name);
		item->blackout = true;
		set_time(builder, item, levels[i]->end, true, next);
	}
	if (!count)
		add_phase(builder, TIMELINE_NEW, "%s", phases[AT_INITCALLS].name)->blackout = true;
	free(levels);
}

static void add_blackout(struct builder *builder)
{
	struct timeline_update *update = builder->update;
	const struct instant *start = builder->instant;
	const struct instant *end = &builder->instant[AT_USERSPACE];
	uint64_t latest = 0;
	__int128_t sum = 0;

	for (int i = 0; i < AT_USERSPACE; i++) {
		const struct instant *from = &builder->instant[i], *to = from + 1;
		bool common = i != AT_JUMP || !update->invalid;
		struct timeline_item *item;

		if (from->known && from->counter > latest)
			latest = from->counter;
		if (to->known && to->counter < latest)
			doubt(builder, phases[i].name);
		if (i == AT_INITCALLS) {
			add_initcalls(builder);
			continue;
		}
		item = add_phase(builder, phases[i].side, "%s", phases[i].name);
		item->transition = phases[i].transition;
		item->blackout = true;
		if (from->known)
			set_time(builder, item, from->counter, to->known && common, to->counter);
		if (i == AT_JUMP && item->measured) {
			update->gap_known = true;
			update->gap_ns = item->duration_ns;
		}
	}

	if (update->invalid || !start->known || !end->known)
		return;
	update->blackout_known = true;
	update->blackout_ns = to_ns(builder, TIMELINE_NEW, end->counter) - update->zero_ns;
	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_item *item = &update->phases.item[i];

		if (item->blackout && item->measured)
			sum += item->duration_ns;
	}
	if (sum < update->blackout_ns)
		update->unaccounted_ns = update->blackout_ns - (int64_t)sum;
}

static void add_finish(struct builder *builder)
{
	const struct timeline_record *finish = builder->transition[LIVEUPDATE_TIMELINE_FINISH];
	const struct instant *userspace = &builder->instant[AT_USERSPACE];
	struct timeline_item *item;

	if (!finish)
		return;
	item = add_phase(builder, TIMELINE_NEW, "%s", "until finish");
	if (userspace->known)
		set_time(builder, item, userspace->counter, true, finish->start);
	if (userspace->known && !item->measured)
		doubt(builder, item->name);
	add_transition_phase(builder, LIVEUPDATE_TIMELINE_FINISH);
}

static void find_axis(struct timeline_update *update)
{
	bool any = false;

	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_item *item = &update->phases.item[i];
		int64_t end = item->start_ns + item->duration_ns;

		if (!item->measured || item->blackout != update->jumped)
			continue;
		if (!any || item->start_ns < update->axis_from_ns)
			update->axis_from_ns = item->start_ns;
		if (!any || end > update->axis_to_ns)
			update->axis_to_ns = end;
		any = true;
	}
}

/* Is it in the blackout, and of the freeze that counts? */
static bool in_blackout(const struct builder *builder, const struct timeline_record *record)
{
	const struct instant *freeze = &builder->instant[AT_FREEZE];
	const struct instant *userspace = &builder->instant[AT_USERSPACE];

	if (!builder->update->jumped)
		return false;
	if (record->transition == LIVEUPDATE_TIMELINE_FREEZE)
		return record->start >= (freeze->known ? freeze->counter : builder->thawed);

	return record->transition == LIVEUPDATE_TIMELINE_RESTORE && userspace->known &&
	       record->end <= userspace->counter;
}

/* The slowest items belong to the last items of their transition, unless another callback ended. */
static void add_details(struct builder *builder)
{
	struct timeline_items *details = &builder->update->details;
	const struct timeline_record *all = NULL;

	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];
		struct timeline_item *item;

		if (record->kernel != builder->old && record->kernel != builder->new)
			continue;
		if (is_transition(record) || is_callback(record))
			all = NULL;
		if (record->kind == LIVEUPDATE_TIMELINE_ITEMS)
			all = record;
		else if (record->kind != LIVEUPDATE_TIMELINE_ITEM)
			continue;
		if (!all || all->transition != record->transition || all->kernel != record->kernel)
			continue;
		item = add_item(details);
		item->blackout = in_blackout(builder, record);
		snprintf(item->name, sizeof(item->name), "%s", record->name);
		set_record(builder, item, record);
		item->count = record->count;
	}
}

static void add_records(struct builder *builder)
{
	struct timeline_update *update = builder->update;

	for (size_t i = 0; i < builder->count; i++) {
		const struct timeline_record *record = builder->records[i];
		struct timeline_item *item;

		if (!is_transition(record) && !is_callback(record))
			continue;
		if (record->kernel != builder->old && record->kernel != builder->new)
			continue;
		item = add_item(is_transition(record) ? &update->transitions : &update->callbacks);
		item->callback = is_callback(record);
		item->blackout = in_blackout(builder, record);
		snprintf(item->name, sizeof(item->name), "%s",
			 item->callback ? record->name :
			 timeline_transition_names[record->transition]);
		set_record(builder, item, record);
	}
}

static int compare_durations(const void *first, const void *second)
{
	const struct timeline_item *a = first, *b = second;

	if (a->duration_ns != b->duration_ns)
		return a->duration_ns > b->duration_ns ? -1 : 1;
	if (a->start_ns != b->start_ns)
		return a->start_ns < b->start_ns ? -1 : 1;

	return strcmp(a->name, b->name);
}

/* Transitions are phases, too, but for restore, which is in one. */
static void add_slowest(struct timeline_update *update)
{
	const struct timeline_items *sources[] = {
		&update->phases, &update->transitions, &update->callbacks,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		for (size_t k = 0; k < sources[i]->count; k++) {
			const struct timeline_item *item = &sources[i]->item[k];

			if (!item->measured || !item->duration_ns)
				continue;
			if (update->jumped && !item->blackout)
				continue;
			if (sources[i] == &update->transitions &&
			    item->transition != LIVEUPDATE_TIMELINE_RESTORE)
				continue;
			*add_item(&update->slowest) = *item;
		}
	}
	if (update->slowest.count)
		qsort(update->slowest.item, update->slowest.count,
		      sizeof(*update->slowest.item), compare_durations);
}

void timeline_build_update(struct timeline_update *update, uint64_t frequency,
			   struct timeline_record *const *records, size_t count)
{
	struct builder builder = {
		.update = update,
		.frequency = frequency,
		.records = records,
		.count = count,
	};

	update->number = records[0]->update;
	find_kernels(&builder);
	find_instants(&builder);
	find_transitions(&builder);
	find_origin(&builder);
	update->outcome = find_outcome(&builder);

	add_transition_phase(&builder, LIVEUPDATE_TIMELINE_PREPARE);
	add_rehearsals(&builder);
	if (update->jumped)
		add_blackout(&builder);
	else
		add_transition_phase(&builder, LIVEUPDATE_TIMELINE_CANCEL);
	add_finish(&builder);
	find_axis(update);
	add_records(&builder);
	add_details(&builder);
	add_slowest(update);
}
