// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl timeline
 *
 * Reads the timeline, which is described in <linux/liveupdate_timeline.h>, and
 * tells how long the parts of an update took.
 *
 * Reading
 *   Nothing in the file is trusted: it may be a copy, and records come out of the
 *   memory of an earlier kernel. A header that is not right is an error. A record
 *   that is not right is counted as damaged and left out, one of an unknown kind
 *   is left out.
 *
 * Model
 *   The records of an update become phases between known instants, in a fixed
 *   order. Where an instant is missing, or before the one that it has to follow,
 *   the phase is unknown; nothing is guessed. Instants are turned into nanoseconds
 *   once, so that durations add up.
 *
 *   A rehearsal freezes, too: the freeze that counts is the last one before the
 *   jump, and no thaw follows it.
 */

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "timeline.h"

/* Far more than any kernel keeps. */
#define FILE_LIMIT	(64 * 1024 * 1024)

/* How often to read again when the kernel removes records meanwhile. */
#define READ_ATTEMPTS	10

/* The largest distance in ns; differences and sums of some fit an int64_t. */
#define NS_LIMIT	(INT64_MAX / 4)

#define NS_PER_SECOND	1000000000

#define MAX_ERRNO	4095

#define DEFAULT_TOP	10

#define BAR_WIDTH	24

/* What takes less between two levels of initcalls is no phase. */
#define HOLE_NS		100000

/* A record that is right. */
struct record {
	uint64_t start;
	uint64_t end;
	uint32_t update;
	uint16_t kernel;
	uint8_t kind;
	uint8_t step;
	int32_t error;
	char name[LIVEUPDATE_TIMELINE_NAME_LEN];
};

struct arguments {
	const char *file;
	const char *save;
	const char *svg;
	bool list;
	bool chosen;
	uint32_t update;
	unsigned int top;
};

/**
 * struct timeline - the whole timeline
 * @header: its header.
 * @damaged: records that are not right, here and in the kernel.
 * @records: those that are right, in the order of the file.
 * @sorted: pointers to @records, by update.
 * @record_count: their number.
 * @update: one for each update, or the one that is asked for.
 * @count: their number.
 */
struct timeline {
	struct liveupdate_timeline_header header;
	uint64_t damaged;
	struct record *records;
	struct record **sorted;
	size_t record_count;
	struct timeline_update *update;
	size_t count;
};

static const char *const step_names[] = {
	[LIVEUPDATE_TIMELINE_NONE]	= "none",
	[LIVEUPDATE_TIMELINE_PREPARE]	= "prepare",
	[LIVEUPDATE_TIMELINE_CANCEL]	= "cancel",
	[LIVEUPDATE_TIMELINE_FREEZE]	= "freeze",
	[LIVEUPDATE_TIMELINE_THAW]	= "thaw",
	[LIVEUPDATE_TIMELINE_RESTORE]	= "restore",
	[LIVEUPDATE_TIMELINE_FINISH]	= "finish",
};

static const char *const side_names[] = {
	[TIMELINE_OLD]		= "old",
	[TIMELINE_NEW]		= "new",
	[TIMELINE_BETWEEN]	= "---",
};

static void *resize(void *memory, size_t count, size_t size)
{
	void *larger = reallocarray(memory, count ? count : 1, size);

	if (!larger) {
		luctl_fail(LUCTL_FAILED, "timeline", NULL, "out of memory");
		exit(LUCTL_FAILED);
	}

	return larger;
}

/* Reading */

static enum luctl_status check_header(const char *path, const void *data, size_t size,
				      struct liveupdate_timeline_header *header)
{
	size_t records;

	if (size < sizeof(*header) ||
	    memcmp(data, LIVEUPDATE_TIMELINE_MAGIC, LIVEUPDATE_TIMELINE_MAGIC_LEN))
		return luctl_fail(LUCTL_FAILED, path, NULL, "is no timeline");

	memcpy(header, data, sizeof(*header));
	if (header->version != LIVEUPDATE_TIMELINE_VERSION)
		return luctl_fail(LUCTL_FAILED, path, "use the luctl of the kernel that wrote it",
				  "is a timeline of version %u, which is unknown here",
				  header->version);
	if (header->header_size < sizeof(*header) || header->header_size % 8 ||
	    header->record_size < sizeof(struct liveupdate_timeline_record) ||
	    header->record_size % 8)
		return luctl_fail(LUCTL_FAILED, path, NULL,
				  "is damaged: header of %u and records of %u bytes",
				  header->header_size, header->record_size);

	records = size < header->header_size ? 0 :
		  (size - header->header_size) / header->record_size;
	if (size < header->header_size || header->count > records)
		return luctl_fail(LUCTL_FAILED, path, NULL, "is cut short: %zu of %u records",
				  records, header->count);
	if (!header->frequency)
		return luctl_fail(LUCTL_FAILED, path, NULL,
				  "does not say how fast its counter runs");

	return LUCTL_OK;
}

/* The generation as it is now. */
static bool same_generation(const char *path, const struct liveupdate_timeline_header *header)
{
	struct liveupdate_timeline_header now;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd < 0)
		return false;
	size = read(fd, &now, sizeof(now));
	close(fd);

	return size == (ssize_t)sizeof(now) && now.generation == header->generation;
}

static enum luctl_status cannot_read(const char *path, int err, bool copy)
{
	enum luctl_status status;
	char *text, *folder;
	bool present;

	if (copy) {
		text = luctl_errno_text(err);
		status = luctl_fail(LUCTL_FAILED, path, NULL, "%s", text);
		free(text);
		return status;
	}

	folder = luctl_path("");
	present = !access(folder, F_OK);
	free(folder);
	if (err == ENOENT && present)
		return luctl_fail(LUCTL_UNAVAILABLE, path,
				  "build the kernel with CONFIG_LIVEUPDATE_TIMELINE",
				  "this kernel keeps no timeline");

	return luctl_no_file("timeline", err);
}

/* Read a timeline that did not change meanwhile; its header is right. */
static enum luctl_status read_bytes(const char *path, bool copy, void **data, size_t *size,
				    struct liveupdate_timeline_header *header)
{
	enum luctl_status status;
	int err;

	for (int i = 0; i < READ_ATTEMPTS; i++) {
		err = luctl_read_file(path, FILE_LIMIT, data, size);
		if (err)
			return cannot_read(path, -err, copy);

		/* What is cut short may be so because it changed. */
		if (!copy && *size >= sizeof(*header)) {
			memcpy(header, *data, sizeof(*header));
			if (!same_generation(path, header)) {
				free(*data);
				continue;
			}
		}

		status = check_header(path, *data, *size, header);
		if (status)
			free(*data);
		return status;
	}

	return luctl_fail(LUCTL_FAILED, path, "try again",
			  "changes faster than it can be read");
}

enum luctl_status timeline_save(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "we");
	enum luctl_status status;
	int err = file ? 0 : errno;
	char *text;

	if (file && fwrite(data, 1, size, file) != size)
		err = errno;
	if (file && fclose(file) && !err)
		err = errno;
	if (!err)
		return LUCTL_OK;

	text = luctl_errno_text(err);
	status = luctl_fail(LUCTL_FAILED, path, NULL, "%s", text);
	free(text);

	return status;
}

/* The checksum of a record, which may be longer than we know. */
static uint32_t record_crc(const unsigned char *data, size_t size)
{
	static const unsigned char zero[sizeof(uint32_t)];
	const size_t at = offsetof(struct liveupdate_timeline_record, crc);
	const size_t behind = at + sizeof(zero);
	uint32_t crc = crc32(0, data, at);

	crc = crc32(crc, zero, sizeof(zero));
	crc = crc32(crc, data + behind, size - behind);

	return crc ? crc : 1;
}

static bool is_step(const struct record *record)
{
	return record->kind == LIVEUPDATE_TIMELINE_STEP;
}

static bool is_callback(const struct record *record)
{
	return record->kind == LIVEUPDATE_TIMELINE_CALLBACK;
}

/* Is it of a kind and a step that we know? */
static bool record_is_known(const struct liveupdate_timeline_record *raw)
{
	return raw->kind >= LIVEUPDATE_TIMELINE_KERNEL &&
	       raw->kind <= LIVEUPDATE_TIMELINE_INITCALLS &&
	       raw->step < ARRAY_SIZE(step_names);
}

static bool record_is_right(const struct liveupdate_timeline_record *raw)
{
	bool has_step = raw->kind == LIVEUPDATE_TIMELINE_STEP ||
			raw->kind == LIVEUPDATE_TIMELINE_CALLBACK;

	return raw->end >= raw->start && raw->update && raw->kernel &&
	       raw->error <= 0 && raw->error >= -MAX_ERRNO &&
	       memchr(raw->name, '\0', sizeof(raw->name)) && has_step == !!raw->step;
}

/* What is not printable would garble terminals, JSON and XML. */
static void clean_name(char *name)
{
	for (; *name; name++) {
		if (*name <= ' ' || *name > '~')
			*name = '?';
	}
}

static int compare_records(const void *first, const void *second)
{
	const struct record *a = *(struct record *const *)first;
	const struct record *b = *(struct record *const *)second;

	if (a->update != b->update)
		return a->update < b->update ? -1 : 1;

	return a < b ? -1 : a > b;
}

static void read_records(struct timeline *timeline, const unsigned char *data)
{
	const struct liveupdate_timeline_header *header = &timeline->header;
	size_t used = 0;

	timeline->damaged = header->damaged;
	timeline->records = resize(NULL, header->count, sizeof(*timeline->records));
	data += header->header_size;
	for (uint32_t i = 0; i < header->count; i++, data += header->record_size) {
		struct record *record = &timeline->records[used];
		struct liveupdate_timeline_record raw;

		memcpy(&raw, data, sizeof(raw));
		if (raw.crc != record_crc(data, header->record_size)) {
			timeline->damaged++;
			continue;
		}
		if (!record_is_known(&raw))
			continue;
		if (!record_is_right(&raw)) {
			timeline->damaged++;
			continue;
		}
		*record = (struct record){
			.start = raw.start,
			.end = raw.end,
			.update = raw.update,
			.kernel = raw.kernel,
			.kind = raw.kind,
			.step = raw.step,
			.error = raw.error,
		};
		strcpy(record->name, raw.name);
		clean_name(record->name);
		used++;
	}

	timeline->record_count = used;
	timeline->sorted = resize(NULL, used, sizeof(*timeline->sorted));
	for (size_t i = 0; i < used; i++)
		timeline->sorted[i] = &timeline->records[i];
	qsort(timeline->sorted, used, sizeof(*timeline->sorted), compare_records);
}

/* Model */

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
 * @step: the last of each step; of freeze, the one that counts.
 * @thawed: when the last thaw ended, or 0.
 * @instant: see above.
 */
struct builder {
	struct timeline_update *update;
	uint64_t frequency;
	struct record *const *records;
	size_t count;
	uint16_t old;
	uint16_t new;
	uint64_t origin;
	uint64_t old_end;
	uint64_t new_start;
	const struct record *step[ARRAY_SIZE(step_names)];
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
	uint8_t step;
} phases[NR_INSTANTS] = {
	[AT_FREEZE]		= { "freeze", TIMELINE_OLD, LIVEUPDATE_TIMELINE_FREEZE },
	[AT_FROZEN]		= { "serialize sessions", TIMELINE_OLD, 0 },
	[AT_SERIALIZED]		= { "reboot notifiers", TIMELINE_OLD, 0 },
	[AT_NOTIFIED]		= { "device shutdown", TIMELINE_OLD, 0 },
	[AT_DEVICES_DOWN]	= { "machine shutdown", TIMELINE_OLD, 0 },
	[AT_JUMP]		= { "between the kernels", TIMELINE_BETWEEN, 0 },
	[AT_KERNEL]		= { "early boot", TIMELINE_NEW, 0 },
	[AT_INITCALLS]		= { "initcalls", TIMELINE_NEW, 0 },
	[AT_INITCALLS_DONE]	= { "after initcalls", TIMELINE_NEW, 0 },
};

static struct timeline_part *add_part(struct timeline_parts *parts)
{
	if (parts->count == parts->room) {
		parts->room = parts->room ? 2 * parts->room : 16;
		parts->part = resize(parts->part, parts->room, sizeof(*parts->part));
	}
	memset(&parts->part[parts->count], 0, sizeof(*parts->part));

	return &parts->part[parts->count++];
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
	if (builder->update->broken && side == TIMELINE_NEW)
		return distance_ns(builder, builder->origin, builder->old_end) +
		       distance_ns(builder, builder->new_start, counter);

	return distance_ns(builder, builder->origin, counter);
}

/* Set the time of a part from instants, of which the second may be unknown. */
static void set_time(const struct builder *builder, struct timeline_part *part, uint64_t start,
		     bool end_known, uint64_t end)
{
	enum timeline_side side = part->side;

	part->start_ns = to_ns(builder, side, start);
	part->placed = !builder->update->broken || side != TIMELINE_NEW;
	if (!end_known || end < start)
		return;
	part->duration_ns = to_ns(builder, side, end) - part->start_ns;
	part->measured = true;
}

static void set_record(const struct builder *builder, struct timeline_part *part,
		       const struct record *record)
{
	part->side = record->kernel == builder->old ? TIMELINE_OLD : TIMELINE_NEW;
	part->step = record->step;
	part->error = record->error;
	set_time(builder, part, record->start, true, record->end);
}

static struct timeline_part *add_phase(struct builder *builder, enum timeline_side side,
				       const char *format, const char *name)
{
	struct timeline_part *part = add_part(&builder->update->phases);

	part->side = side;
	snprintf(part->name, sizeof(part->name), format, name);

	return part;
}

static void doubt(struct builder *builder, const char *name)
{
	struct timeline_update *update = builder->update;

	if (!*update->doubt)
		snprintf(update->doubt, sizeof(update->doubt), "%s", name);
}

/* Does only the new kernel write this? */
static bool of_new_kernel(const struct record *record)
{
	if (record->kind == LIVEUPDATE_TIMELINE_INITCALLS)
		return true;
	if (record->kind == LIVEUPDATE_TIMELINE_MARK) {
		for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
			if (!strcmp(record->name, marks[i].name))
				return marks[i].side == TIMELINE_NEW;
		}
	}

	return record->step == LIVEUPDATE_TIMELINE_RESTORE ||
	       record->step == LIVEUPDATE_TIMELINE_FINISH;
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
		const struct record *record = builder->records[i];
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

/* The last of each step, and the freeze before the jump. */
static void find_steps(struct builder *builder)
{
	const struct instant *jump = &builder->instant[AT_JUMP];
	const struct record *freeze = NULL;

	for (size_t i = 0; i < builder->count; i++) {
		const struct record *record = builder->records[i];
		bool restored = of_new_kernel(record);

		if (!is_step(record) || record->kernel != (restored ? builder->new : builder->old))
			continue;
		builder->step[record->step] = record;
		if (record->step == LIVEUPDATE_TIMELINE_THAW) {
			builder->thawed = record->end;
			freeze = NULL;
		}
		if (record->step == LIVEUPDATE_TIMELINE_FREEZE && !record->error &&
		    (!jump->known || record->end <= jump->counter))
			freeze = record;
	}

	builder->update->jumped = jump->known || builder->new;
	builder->step[LIVEUPDATE_TIMELINE_FREEZE] = builder->update->jumped ? freeze : NULL;
	if (builder->step[LIVEUPDATE_TIMELINE_FREEZE]) {
		builder->instant[AT_FREEZE] = (struct instant){ true, freeze->start };
		builder->instant[AT_FROZEN] = (struct instant){ true, freeze->end };
	}
}

static void find_origin(struct builder *builder)
{
	const struct record *prepare = builder->step[LIVEUPDATE_TIMELINE_PREPARE];
	struct timeline_update *update = builder->update;

	builder->origin = UINT64_MAX;
	for (size_t i = 0; i < builder->count; i++) {
		const struct record *record = builder->records[i];

		if ((!builder->old || record->kernel == builder->old) &&
		    record->start < builder->origin)
			builder->origin = record->start;
	}
	if (prepare)
		builder->origin = prepare->start;

	update->broken = builder->old && builder->new && builder->new_start < builder->old_end;
	if (update->broken)
		doubt(builder, phases[AT_JUMP].name);

	update->zero_known = builder->instant[AT_FREEZE].known;
	if (update->zero_known)
		update->zero_ns = to_ns(builder, TIMELINE_OLD,
					builder->instant[AT_FREEZE].counter);
}

static const char *find_outcome(const struct builder *builder)
{
	const struct record *prepare = builder->step[LIVEUPDATE_TIMELINE_PREPARE];
	const struct record *cancel = builder->step[LIVEUPDATE_TIMELINE_CANCEL];

	if (builder->update->jumped)
		return builder->step[LIVEUPDATE_TIMELINE_FINISH] ? "complete" : "not finished";
	if (prepare && prepare->error)
		return "prepare failed";

	return cancel ? "cancelled" : "not finished";
}

static void add_step_phase(struct builder *builder, uint8_t step)
{
	const struct record *record = builder->step[step];

	if (record)
		set_record(builder, add_phase(builder, TIMELINE_OLD, "%s", step_names[step]),
			   record);
}

/* Each freeze that a thaw follows. */
static void add_rehearsals(struct builder *builder)
{
	const struct record *freeze = NULL;

	for (size_t i = 0; i < builder->count; i++) {
		const struct record *record = builder->records[i];
		struct timeline_part *part;

		if (!is_step(record) || record->kernel != builder->old)
			continue;
		if (record->step == LIVEUPDATE_TIMELINE_FREEZE)
			freeze = record;
		if (record->step != LIVEUPDATE_TIMELINE_THAW || !freeze)
			continue;
		part = add_phase(builder, TIMELINE_OLD, "%s",
				 freeze->error ? "failed freeze" : "rehearsal");
		part->error = freeze->error;
		set_time(builder, part, freeze->start, true, record->end);
		if (!part->measured)
			doubt(builder, part->name);
		freeze = NULL;
	}
}

static int compare_starts(const void *first, const void *second)
{
	const struct record *a = *(struct record *const *)first;
	const struct record *b = *(struct record *const *)second;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;

	return a < b ? -1 : a > b;
}

/* One phase for each level, and one for what takes place behind it. */
static void add_initcalls(struct builder *builder)
{
	const struct instant *done = &builder->instant[AT_INITCALLS_DONE];
	const struct record **levels = resize(NULL, builder->count, sizeof(*levels));
	size_t count = 0;

	for (size_t i = 0; i < builder->count; i++) {
		const struct record *record = builder->records[i];

		if (record->kind == LIVEUPDATE_TIMELINE_INITCALLS &&
		    record->kernel == builder->new)
			levels[count++] = record;
	}
	qsort(levels, count, sizeof(*levels), compare_starts);

	for (size_t i = 0; i < count; i++) {
		bool last = i + 1 == count;
		uint64_t next = last ? done->counter : levels[i + 1]->start;
		struct timeline_part *part;

		part = add_phase(builder, TIMELINE_NEW, "%s initcalls", levels[i]->name);
		part->blackout = true;
		set_time(builder, part, levels[i]->start, true, levels[i]->end);

		if (last && !done->known)
			break;
		if (next < levels[i]->end)
			doubt(builder, part->name);
		if (next <= levels[i]->end ||
		    distance_ns(builder, levels[i]->end, next) < HOLE_NS)
			continue;
		part = add_phase(builder, TIMELINE_NEW, "after %s initcalls", levels[i]->name);
		part->blackout = true;
		set_time(builder, part, levels[i]->end, true, next);
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
		bool common = i != AT_JUMP || !update->broken;
		struct timeline_part *part;

		if (from->known && from->counter > latest)
			latest = from->counter;
		if (to->known && to->counter < latest)
			doubt(builder, phases[i].name);
		if (i == AT_INITCALLS) {
			add_initcalls(builder);
			continue;
		}
		part = add_phase(builder, phases[i].side, "%s", phases[i].name);
		part->step = phases[i].step;
		part->blackout = true;
		if (from->known)
			set_time(builder, part, from->counter, to->known && common, to->counter);
		if (i == AT_JUMP && part->measured) {
			update->gap_known = true;
			update->gap_ns = part->duration_ns;
		}
	}

	if (update->broken || !start->known || !end->known)
		return;
	update->blackout_known = true;
	update->blackout_ns = to_ns(builder, TIMELINE_NEW, end->counter) - update->zero_ns;
	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_part *part = &update->phases.part[i];

		if (part->blackout && part->measured)
			sum += part->duration_ns;
	}
	if (sum < update->blackout_ns)
		update->unaccounted_ns = update->blackout_ns - (int64_t)sum;
}

static void add_finish(struct builder *builder)
{
	const struct record *finish = builder->step[LIVEUPDATE_TIMELINE_FINISH];
	const struct instant *userspace = &builder->instant[AT_USERSPACE];
	struct timeline_part *part;

	if (!finish)
		return;
	part = add_phase(builder, TIMELINE_NEW, "%s", "until finish");
	if (userspace->known)
		set_time(builder, part, userspace->counter, true, finish->start);
	if (userspace->known && !part->measured)
		doubt(builder, part->name);
	add_step_phase(builder, LIVEUPDATE_TIMELINE_FINISH);
}

static void find_axis(struct timeline_update *update)
{
	bool any = false;

	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_part *part = &update->phases.part[i];
		int64_t end = part->start_ns + part->duration_ns;

		if (!part->measured || part->blackout != update->jumped)
			continue;
		if (!any || part->start_ns < update->axis_from_ns)
			update->axis_from_ns = part->start_ns;
		if (!any || end > update->axis_to_ns)
			update->axis_to_ns = end;
		any = true;
	}
}

/* Is it in the blackout, and of the freeze that counts? */
static bool in_blackout(const struct builder *builder, const struct record *record)
{
	const struct instant *freeze = &builder->instant[AT_FREEZE];
	const struct instant *userspace = &builder->instant[AT_USERSPACE];

	if (!builder->update->jumped)
		return false;
	if (record->step == LIVEUPDATE_TIMELINE_FREEZE)
		return record->start >= (freeze->known ? freeze->counter : builder->thawed);

	return record->step == LIVEUPDATE_TIMELINE_RESTORE && userspace->known &&
	       record->end <= userspace->counter;
}

static void add_records(struct builder *builder)
{
	struct timeline_update *update = builder->update;

	for (size_t i = 0; i < builder->count; i++) {
		const struct record *record = builder->records[i];
		struct timeline_part *part;

		if (!is_step(record) && !is_callback(record))
			continue;
		if (record->kernel != builder->old && record->kernel != builder->new)
			continue;
		part = add_part(is_step(record) ? &update->steps : &update->callbacks);
		part->callback = is_callback(record);
		part->blackout = in_blackout(builder, record);
		snprintf(part->name, sizeof(part->name), "%s",
			 part->callback ? record->name : step_names[record->step]);
		set_record(builder, part, record);
	}
}

static int compare_durations(const void *first, const void *second)
{
	const struct timeline_part *a = first, *b = second;

	if (a->duration_ns != b->duration_ns)
		return a->duration_ns > b->duration_ns ? -1 : 1;
	if (a->start_ns != b->start_ns)
		return a->start_ns < b->start_ns ? -1 : 1;

	return strcmp(a->name, b->name);
}

/* Steps are phases, too, but for restore, which is in one. */
static void add_dearest(struct timeline_update *update)
{
	const struct timeline_parts *sources[] = {
		&update->phases, &update->steps, &update->callbacks,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		for (size_t k = 0; k < sources[i]->count; k++) {
			const struct timeline_part *part = &sources[i]->part[k];

			if (!part->measured || !part->duration_ns)
				continue;
			if (update->jumped && !part->blackout)
				continue;
			if (sources[i] == &update->steps &&
			    part->step != LIVEUPDATE_TIMELINE_RESTORE)
				continue;
			*add_part(&update->dearest) = *part;
		}
	}
	if (update->dearest.count)
		qsort(update->dearest.part, update->dearest.count,
		      sizeof(*update->dearest.part), compare_durations);
}

static void build_update(const struct timeline *timeline, struct timeline_update *update,
			 struct record *const *records, size_t count)
{
	struct builder builder = {
		.update = update,
		.frequency = timeline->header.frequency,
		.records = records,
		.count = count,
	};

	update->number = records[0]->update;
	find_kernels(&builder);
	find_instants(&builder);
	find_steps(&builder);
	find_origin(&builder);
	update->outcome = find_outcome(&builder);

	add_step_phase(&builder, LIVEUPDATE_TIMELINE_PREPARE);
	add_rehearsals(&builder);
	if (update->jumped)
		add_blackout(&builder);
	else
		add_step_phase(&builder, LIVEUPDATE_TIMELINE_CANCEL);
	add_finish(&builder);
	find_axis(update);
	add_records(&builder);
	add_dearest(update);
}

/* Build what is asked for: all updates, one, or the last one. */
static enum luctl_status build(struct timeline *timeline, const struct arguments *arguments,
			       const char *path)
{
	struct record **sorted = timeline->sorted;
	size_t count = timeline->record_count, end;

	if (!count && (timeline->header.count || timeline->damaged))
		return luctl_fail(LUCTL_FAILED, path, NULL, "no record is readable");
	if (!count)
		return luctl_fail(LUCTL_FAILED, path, "\"luctl prepare\" begins one",
				  "no update is recorded");

	for (size_t start = 0; start < count; start = end) {
		struct timeline_update *update;

		for (end = start; end < count && sorted[end]->update == sorted[start]->update;)
			end++;
		if (!arguments->list && (arguments->chosen ?
		    sorted[start]->update != arguments->update : end < count))
			continue;
		timeline->update = resize(timeline->update, timeline->count + 1,
					  sizeof(*timeline->update));
		update = &timeline->update[timeline->count++];
		memset(update, 0, sizeof(*update));
		build_update(timeline, update, sorted + start, end - start);
	}
	if (!timeline->count)
		return luctl_fail(LUCTL_FAILED, path, "\"luctl timeline --list\" says which are",
				  "update %u is not recorded", arguments->update);

	return LUCTL_OK;
}

static void drop_timeline(struct timeline *timeline)
{
	for (size_t i = 0; i < timeline->count; i++) {
		struct timeline_update *update = &timeline->update[i];

		free(update->phases.part);
		free(update->steps.part);
		free(update->callbacks.part);
		free(update->dearest.part);
	}
	free(timeline->update);
	free(timeline->sorted);
	free(timeline->records);
}

/* Texts that the table and the picture share. */

const char *timeline_time(char *text, int64_t ns)
{
	static const char *const units[] = { "us", "ms", "s" };
	double value = ns;
	size_t unit = 0;
	int digits;

	if (ns < 1000) {
		snprintf(text, TIMELINE_TIME_SIZE, "%d ns", (int)ns);
		return text;
	}

	value /= 1000;
	while (value >= 999.95 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		unit++;
	}
	digits = value < 9.9995 ? 3 : value < 99.995 ? 2 : value < 999.95 ? 1 : 0;
	snprintf(text, TIMELINE_TIME_SIZE, "%.*f %s", digits, value, units[unit]);

	return text;
}

char *timeline_part_text(const struct timeline_part *part)
{
	if (part->callback)
		return luctl_format("%s of %s", step_names[part->step], part->name);

	return luctl_format("%s", part->name);
}

/* What to know about the figures; the list ends with NULL. */
static char **collect_notes(const struct timeline *timeline, const struct timeline_update *update)
{
	char **notes = resize(NULL, 6, sizeof(*notes));
	int count = 0;

	if (update && *update->doubt)
		notes[count++] = luctl_format("not credible: time runs backwards at \"%s\"",
					      update->doubt);
	if (update && update->jumped && !(timeline->header.flags & LIVEUPDATE_TIMELINE_INVARIANT))
		notes[count++] = luctl_format("the counter need not keep its pace: %s",
					      "the time between the kernels is an estimate");
	if (timeline->damaged)
		notes[count++] = luctl_format("damaged records, which are left out: %llu",
					      (unsigned long long)timeline->damaged);
	if (timeline->header.dropped)
		notes[count++] = luctl_format("records for which there was no room: %u",
					      timeline->header.dropped);
	notes[count] = NULL;

	return notes;
}

static void drop_notes(char **notes)
{
	for (char **note = notes; *note; note++)
		free(*note);
	free(notes);
}

/* For people */

static bool utf8_terminal(void)
{
	if (!isatty(STDOUT_FILENO))
		return false;
	setlocale(LC_CTYPE, "");

	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

/* What is not in the blackout would not fit the axis. */
static bool has_bar(const struct timeline_update *update, const struct timeline_part *part)
{
	return part->measured && part->blackout == update->jumped;
}

static void print_bar(const struct timeline_update *update, const struct timeline_part *part,
		      bool utf8)
{
	static const char *const ascii[] = { "#", "#", "~" };
	static const char *const blocks[] = { "\u2588", "\u2588", "\u2591" };
	const char *mark = (utf8 ? blocks : ascii)[part->side];
	double length = (double)(update->axis_to_ns - update->axis_from_ns);
	double scale = BAR_WIDTH / (length > 0 ? length : 1);
	double start = (double)(part->start_ns - update->axis_from_ns) * scale;
	int first = (int)start, last = (int)(start + (double)part->duration_ns * scale + 0.5);

	if (first >= BAR_WIDTH)
		first = BAR_WIDTH - 1;
	if (last <= first)
		last = first + 1;

	putchar('|');
	for (int i = 0; i < BAR_WIDTH; i++)
		fputs(i >= first && i < last ? mark : " ", stdout);
	putchar('|');
}

static void print_row(const struct timeline_update *update, const struct timeline_part *part,
		      bool inner, bool utf8)
{
	char start[32] = "?", duration[TIMELINE_TIME_SIZE] = "unknown";
	int width;

	if (part->placed)
		snprintf(start, sizeof(start), "%.3f",
			 (double)(part->start_ns - update->zero_ns) / 1e6);
	if (part->measured)
		timeline_time(duration, part->duration_ns);
	printf("%12s  %8s  %-3s  ", start, duration, side_names[part->side]);
	width = printf("%s%s", inner ? "  " : "", part->name);
	if (has_bar(update, part)) {
		printf("%*s", width < 26 ? 26 - width : 0, "");
		print_bar(update, part, utf8);
	}
	putchar('\n');
}

/* The last one: modules may restore later, when they are loaded. */
static const struct timeline_part *find_restore(const struct timeline_update *update)
{
	for (size_t i = update->steps.count; i > 0; i--) {
		const struct timeline_part *step = &update->steps.part[i - 1];

		if (step->step == LIVEUPDATE_TIMELINE_RESTORE)
			return step;
	}

	return NULL;
}

static bool is_inside(const struct timeline_part *inner, const struct timeline_part *outer)
{
	return inner->side == outer->side && outer->measured &&
	       inner->start_ns >= outer->start_ns &&
	       inner->start_ns < outer->start_ns + outer->duration_ns;
}

static void print_phases(const struct timeline_update *update)
{
	const struct timeline_part *restore = find_restore(update);
	char duration[TIMELINE_TIME_SIZE];
	bool utf8 = utf8_terminal();

	printf("\n%12s  %8s  %-3s  %s\n", "at ms", "took", "by", update->zero_known ?
	       "phase; 0 ms is the freeze" : "phase; 0 ms is the prepare");
	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_part *part = &update->phases.part[i];

		print_row(update, part, false, utf8);
		if (restore && part->blackout && is_inside(restore, part))
			print_row(update, restore, true, utf8);
		if (part->blackout && update->unaccounted_ns &&
		    (i + 1 == update->phases.count || !part[1].blackout))
			printf("%12s  %8s  %-3s  in no phase\n", "",
			       timeline_time(duration, update->unaccounted_ns), "");
	}
}

static double share(const struct timeline_update *update, const struct timeline_part *part)
{
	return (double)part->duration_ns / (double)update->blackout_ns;
}

static bool has_share(const struct timeline_update *update)
{
	return update->blackout_known && update->blackout_ns > 0;
}

static void print_dearest(const struct timeline_update *update, unsigned int top)
{
	if (!update->dearest.count || !top)
		return;

	printf("\nThe dearest%s:\n", !update->jumped ? "" :
	       has_share(update) ? ", and their share of the blackout" : " of the blackout");
	for (size_t i = 0; i < update->dearest.count && i < top; i++) {
		const struct timeline_part *part = &update->dearest.part[i];
		char duration[TIMELINE_TIME_SIZE], percent[16] = "";
		char *text = timeline_part_text(part);

		if (has_share(update))
			snprintf(percent, sizeof(percent), "%6.2f %%  ",
				 100 * share(update, part));
		printf("  %10s  %s%s  %s\n", timeline_time(duration, part->duration_ns), percent,
		       side_names[part->side], text);
		free(text);
	}
}

static void print_failures(const struct timeline_update *update)
{
	const struct timeline_parts *sources[] = { &update->steps, &update->callbacks };
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		for (size_t k = 0; k < sources[i]->count; k++) {
			const struct timeline_part *part = &sources[i]->part[k];
			char *text, *why;

			if (!part->error)
				continue;
			text = timeline_part_text(part);
			why = luctl_errno_text(-part->error);
			printf("%s  %s: %s\n", any ? "" : "\nFailed:\n", text, why);
			any = true;
			free(text);
			free(why);
		}
	}
}

static void print_notes(const struct timeline *timeline, const struct timeline_update *update)
{
	char **notes = collect_notes(timeline, update);

	if (*notes)
		putchar('\n');
	for (char **note = notes; *note; note++)
		printf("Note: %s.\n", *note);
	drop_notes(notes);
}

static void print_update(const struct timeline *timeline, const struct timeline_update *update,
			 unsigned int top)
{
	char blackout[TIMELINE_TIME_SIZE] = "unknown", gap[TIMELINE_TIME_SIZE] = "unknown";

	if (update->blackout_known)
		timeline_time(blackout, update->blackout_ns);
	if (update->gap_known)
		timeline_time(gap, update->gap_ns);
	printf("Update %u: %s\n", update->number, update->outcome);
	printf("  old kernel  %s\n", *update->old ? update->old : "unknown");
	if (update->jumped) {
		printf("  new kernel  %s\n", *update->new ? update->new : "unknown");
		printf("  blackout    %s, between the kernels %s\n", blackout, gap);
	}
	print_phases(update);
	print_dearest(update, top);
	print_failures(update);
	print_notes(timeline, update);
}

/* A release, cut to what fits a column. */
static const char *column(char *text, size_t size, const char *release)
{
	snprintf(text, size, "%s", *release ? release : "-");
	if (strlen(release) >= size)
		strcpy(text + size - 4, "...");

	return text;
}

static void print_list(const struct timeline *timeline)
{
	printf("%6s  %-25s  %-25s  %-14s  %10s\n", "update", "old kernel", "new kernel",
	       "outcome", "blackout");
	for (size_t i = 0; i < timeline->count; i++) {
		const struct timeline_update *update = &timeline->update[i];
		char blackout[TIMELINE_TIME_SIZE] = "unknown", old[26], new[26];

		if (update->blackout_known)
			timeline_time(blackout, update->blackout_ns);
		printf("%6u  %-25s  %-25s  %-14s  %10s\n", update->number,
		       column(old, sizeof(old), update->old),
		       column(new, sizeof(new), update->new), update->outcome,
		       update->jumped ? blackout : "-");
	}
	print_notes(timeline, NULL);
}

/* For programs */

static struct json_object *json_number(bool known, int64_t value)
{
	return known ? json_object_new_int64(value) : NULL;
}

static struct json_object *json_name(const char *name)
{
	return *name ? json_object_new_string(name) : NULL;
}

static void add_json(struct json_object *object, const char *key, struct json_object *value)
{
	json_object_object_add(object, key, value);
}

static const char *json_side(enum timeline_side side)
{
	return side == TIMELINE_BETWEEN ? "between" : side_names[side];
}

static struct json_object *json_part(const struct timeline_part *part)
{
	struct json_object *object = json_object_new_object();

	if (part->callback) {
		add_json(object, "step", json_object_new_string(step_names[part->step]));
		add_json(object, "participant", json_object_new_string(part->name));
	} else {
		add_json(object, "name", json_object_new_string(part->name));
	}
	add_json(object, "kernel", json_object_new_string(json_side(part->side)));
	add_json(object, "start_ns", json_number(part->placed, part->start_ns));
	add_json(object, "duration_ns", json_number(part->measured, part->duration_ns));

	return object;
}

static struct json_object *json_phases(const struct timeline_parts *parts)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < parts->count; i++) {
		struct json_object *object = json_part(&parts->part[i]);

		add_json(object, "blackout", json_object_new_boolean(parts->part[i].blackout));
		json_object_array_add(array, object);
	}

	return array;
}

static struct json_object *json_records(const struct timeline_parts *parts)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < parts->count; i++) {
		const struct timeline_part *part = &parts->part[i];
		struct json_object *object = json_part(part);

		if (!part->callback) {
			json_object_object_del(object, "name");
			add_json(object, "step", json_object_new_string(part->name));
		}
		add_json(object, "error", json_object_new_int(part->error));
		json_object_array_add(array, object);
	}

	return array;
}

static struct json_object *json_dearest(const struct timeline_update *update, unsigned int top)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < update->dearest.count && i < top; i++) {
		const struct timeline_part *part = &update->dearest.part[i];
		struct json_object *object = json_part(part);
		char *text = timeline_part_text(part);

		add_json(object, "name", json_object_new_string(text));
		add_json(object, "share", has_share(update) ?
			 json_object_new_double(share(update, part)) : NULL);
		json_object_array_add(array, object);
		free(text);
	}

	return array;
}

static struct json_object *json_update(const struct timeline_update *update, unsigned int top)
{
	struct json_object *object = json_object_new_object();

	add_json(object, "number", json_object_new_int64(update->number));
	add_json(object, "old", json_name(update->old));
	add_json(object, "new", json_name(update->new));
	add_json(object, "outcome", json_object_new_string(update->outcome));
	add_json(object, "credible", json_object_new_boolean(!*update->doubt));
	add_json(object, "blackout_ns", json_number(update->blackout_known, update->blackout_ns));
	add_json(object, "gap_ns", json_number(update->gap_known, update->gap_ns));
	add_json(object, "unaccounted_ns",
		 json_number(update->blackout_known, update->unaccounted_ns));
	add_json(object, "phases", json_phases(&update->phases));
	add_json(object, "steps", json_records(&update->steps));
	add_json(object, "callbacks", json_records(&update->callbacks));
	add_json(object, "dearest", json_dearest(update, top));

	return object;
}

static void print_json(const struct timeline *timeline, unsigned int top)
{
	const struct liveupdate_timeline_header *header = &timeline->header;
	struct json_object *object = json_object_new_object();
	struct json_object *updates = json_object_new_array();

	for (size_t i = 0; i < timeline->count; i++)
		json_object_array_add(updates, json_update(&timeline->update[i], top));
	add_json(object, "version", json_object_new_int64(header->version));
	add_json(object, "frequency", json_object_new_uint64(header->frequency));
	add_json(object, "invariant", json_object_new_boolean(header->flags &
							      LIVEUPDATE_TIMELINE_INVARIANT));
	add_json(object, "damaged", json_object_new_int64((int64_t)timeline->damaged));
	add_json(object, "dropped", json_object_new_int64(header->dropped));
	add_json(object, "updates", updates);
	luctl_print_json(object);
}

/* The command */

enum {
	KEY_FILE = 0x100,
	KEY_SAVE,
	KEY_SVG,
	KEY_LIST,
	KEY_UPDATE,
	KEY_TOP,
};

static uint32_t parse_number(const struct argp_state *state, const char *option, const char *text,
			     uint32_t lowest)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < lowest || value > UINT32_MAX)
		argp_error(state, "%s takes a number from %u to %u, not \"%s\"", option, lowest,
			   UINT32_MAX, text);

	return (uint32_t)value;
}

static error_t parse_timeline(int key, char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case KEY_FILE:
		arguments->file = text;
		return 0;
	case KEY_SAVE:
		arguments->save = text;
		return 0;
	case KEY_SVG:
		arguments->svg = text;
		return 0;
	case KEY_LIST:
		arguments->list = true;
		return 0;
	case KEY_UPDATE:
		arguments->chosen = true;
		arguments->update = parse_number(state, "--update", text, 1);
		return 0;
	case KEY_TOP:
		arguments->top = parse_number(state, "--top", text, 0);
		return 0;
	case ARGP_KEY_END:
		if (arguments->list && (arguments->chosen || arguments->svg))
			argp_error(state, "--list shows all updates, --update and --svg one");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static enum luctl_status show(struct timeline *timeline, const struct arguments *arguments)
{
	enum luctl_status status = LUCTL_OK;
	char **notes;

	if (arguments->svg) {
		notes = collect_notes(timeline, timeline->update);
		status = timeline_write_svg(arguments->svg, timeline->update, notes);
		drop_notes(notes);
	}
	if (status)
		return status;

	if (luctl_options.json)
		print_json(timeline, arguments->top);
	else if (arguments->list)
		print_list(timeline);
	else
		print_update(timeline, timeline->update, arguments->top);

	return LUCTL_OK;
}

enum luctl_status luctl_cmd_timeline(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "list", KEY_LIST, NULL, 0, "list the updates that are recorded", 0 },
		{ "update", KEY_UPDATE, "N", 0, "show update N instead of the last one", 0 },
		{ "top", KEY_TOP, "N", 0, "show the N dearest parts, 10 if not given", 0 },
		{ "svg", KEY_SVG, "FILE", 0, "draw a picture of it, too", 0 },
		{ "save", KEY_SAVE, "FILE", 0, "keep a copy of the timeline, too", 0 },
		{ "file", KEY_FILE, "FILE", 0, "read such a copy, of whatever machine", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_timeline,
		.doc = "Tell how long the parts of an update took, in both kernels.\n"
		       "\vThe blackout lasts from the freeze until process 1 of the new kernel\n"
		       "runs its program. A phase that the records do not tell is unknown.\n"
		       "With --json and --list all updates are printed in full.\n",
	};
	struct arguments arguments = { .top = DEFAULT_TOP };
	struct timeline timeline = { 0 };
	enum luctl_status status;
	char *path;
	size_t size;
	void *data;

	status = luctl_parse(&argp, argc, argv, &arguments);
	if (status)
		return status;

	path = arguments.file ? luctl_format("%s", arguments.file) : luctl_path("timeline");
	status = read_bytes(path, arguments.file, &data, &size, &timeline.header);
	if (status)
		goto out_free;

	/* A live one may have grown behind the records that its header counts. */
	size = timeline.header.header_size +
	       (size_t)timeline.header.count * timeline.header.record_size;
	if (arguments.save)
		status = timeline_save(arguments.save, data, size);
	if (!status) {
		read_records(&timeline, data);
		status = build(&timeline, &arguments, path);
	}
	if (!status)
		status = show(&timeline, &arguments);
	drop_timeline(&timeline);
	free(data);

out_free:
	free(path);
	return status;
}
