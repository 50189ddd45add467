// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl timeline
 *
 * Reads the timeline, which is described in <linux/liveupdate_timeline.h>, and
 * tells how long the parts of an update took: timeline_model.c makes phases of
 * the records, timeline_print.c and timeline_svg.c show them.
 *
 * Nothing in the file is trusted: it may be a copy, and records come out of the
 * memory of an earlier kernel. A header that is not right is an error. A record
 * that is not right is counted as corrupted and left out, one of an unknown kind is
 * left out.
 */

#include <errno.h>
#include <fcntl.h>
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

#define MAX_ERRNO	4095

#define DEFAULT_TOP	10

struct arguments {
	const char *file;
	const char *save;
	const char *svg;
	bool list;
	bool chosen;
	uint32_t update;
	unsigned int top;
};

/* Reading */

/*
 * What is wrong with a timeline, to be freed, or NULL and the header. @advice stays as
 * it is if there is none.
 */
static char *header_problem(const void *data, size_t size,
			    struct liveupdate_timeline_header *header, const char **advice)
{
	size_t records;

	if (size < sizeof(*header) ||
	    memcmp(data, LIVEUPDATE_TIMELINE_MAGIC, LIVEUPDATE_TIMELINE_MAGIC_LEN))
		return luctl_format("is no timeline");

	memcpy(header, data, sizeof(*header));
	if (header->version != LIVEUPDATE_TIMELINE_VERSION) {
		*advice = "use the luctl of the kernel that wrote it";
		return luctl_format("is a timeline of version %u, which is unknown here",
				    header->version);
	}
	if (header->header_size < sizeof(*header) || header->header_size % 8 ||
	    header->record_size < sizeof(struct liveupdate_timeline_record) ||
	    header->record_size % 8)
		return luctl_format("is corrupted: header of %u and records of %u bytes",
				    header->header_size, header->record_size);

	records = size < header->header_size ? 0 :
		  (size - header->header_size) / header->record_size;
	if (size < header->header_size || header->count > records)
		return luctl_format("is cut short: %zu of %u records", records, header->count);
	if (!header->frequency)
		return luctl_format("does not say how fast its counter runs");

	return NULL;
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
	char *folder;
	bool present;

	if (copy)
		return luctl_fail_errno(LUCTL_UNREADABLE, err, path, NULL, NULL);

	folder = luctl_path("");
	present = !access(folder, F_OK);
	free(folder);
	if (err == ENOENT && present)
		return luctl_fail(LUCTL_UNREADABLE, path,
				  "build the kernel with CONFIG_LIVEUPDATE_TIMELINE",
				  "this kernel keeps no timeline");

	return luctl_no_file("timeline", err);
}

/* Read a timeline that did not change meanwhile; its header is right. */
static enum luctl_status read_bytes(const char *path, bool copy, void **data, size_t *size,
				    struct liveupdate_timeline_header *header)
{
	const char *advice = NULL;
	char *problem;
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

		problem = header_problem(*data, *size, header, &advice);
		if (!problem)
			return LUCTL_OK;
		luctl_fail(LUCTL_UNREADABLE, path, advice, "%s", problem);
		free(problem);
		free(*data);
		return LUCTL_UNREADABLE;
	}

	return luctl_fail(LUCTL_UNREADABLE, path, "try again",
			  "changes faster than it can be read");
}

static bool is_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

enum luctl_status timeline_save(const char *path, const void *data, size_t size)
{
	FILE *file;
	int err;

	if (is_stdout(path))
		return luctl_print_data(data, size);

	file = fopen(path, "we");
	err = file ? 0 : errno;

	if (file && fwrite(data, 1, size, file) != size)
		err = errno;
	if (file && fclose(file) && !err)
		err = errno;
	if (!err)
		return LUCTL_OK;

	return luctl_fail_errno(LUCTL_FAILED, err, path, NULL, NULL);
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

/* Is it of a kind and a transition that we know? */
static bool record_is_known(const struct liveupdate_timeline_record *raw)
{
	return raw->kind >= LIVEUPDATE_TIMELINE_KERNEL &&
	       raw->kind <= LIVEUPDATE_TIMELINE_ITEM &&
	       raw->transition < TIMELINE_NR_TRANSITIONS;
}

static bool record_is_right(const struct liveupdate_timeline_record *raw)
{
	bool items = raw->kind == LIVEUPDATE_TIMELINE_ITEMS;
	bool has_transition = raw->kind == LIVEUPDATE_TIMELINE_TRANSITION ||
			raw->kind == LIVEUPDATE_TIMELINE_CALLBACK ||
			raw->kind == LIVEUPDATE_TIMELINE_ITEM || items;

	return raw->end >= raw->start && raw->update && raw->kernel &&
	       (items ? raw->count : raw->error <= 0 && raw->error >= -MAX_ERRNO) &&
	       memchr(raw->name, '\0', sizeof(raw->name)) && has_transition == !!raw->transition;
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
	const struct timeline_record *a = *(struct timeline_record *const *)first;
	const struct timeline_record *b = *(struct timeline_record *const *)second;

	if (a->update != b->update)
		return a->update < b->update ? -1 : 1;

	return a < b ? -1 : a > b;
}

static void read_records(struct timeline *timeline, const unsigned char *data)
{
	const struct liveupdate_timeline_header *header = &timeline->header;
	size_t used = 0;

	timeline->corrupted = header->corrupted;
	timeline->records = luctl_resize(NULL, header->count, sizeof(*timeline->records));
	data += header->header_size;
	for (uint32_t i = 0; i < header->count; i++, data += header->record_size) {
		struct timeline_record *record = &timeline->records[used];
		struct liveupdate_timeline_record raw;

		memcpy(&raw, data, sizeof(raw));
		if (raw.crc != record_crc(data, header->record_size)) {
			timeline->corrupted++;
			continue;
		}
		if (!record_is_known(&raw))
			continue;
		if (!record_is_right(&raw)) {
			timeline->corrupted++;
			continue;
		}
		*record = (struct timeline_record){
			.start = raw.start,
			.end = raw.end,
			.update = raw.update,
			.kernel = raw.kernel,
			.kind = raw.kind,
			.transition = raw.transition,
		};
		if (raw.kind == LIVEUPDATE_TIMELINE_ITEMS)
			record->count = raw.count;
		else
			record->error = raw.error;
		strcpy(record->name, raw.name);
		clean_name(record->name);
		used++;
	}

	timeline->record_count = used;
	timeline->sorted = luctl_resize(NULL, used, sizeof(*timeline->sorted));
	for (size_t i = 0; i < used; i++)
		timeline->sorted[i] = &timeline->records[i];
	qsort(timeline->sorted, used, sizeof(*timeline->sorted), compare_records);
}

/* Build what is asked for: all updates, one, or the last one. */
static enum luctl_status build(struct timeline *timeline, const struct arguments *arguments,
			       const char *path)
{
	struct timeline_record **sorted = timeline->sorted;
	size_t count = timeline->record_count, end;

	if (!count && (timeline->header.count || timeline->corrupted))
		return luctl_fail(LUCTL_UNREADABLE, path, NULL, "no record is readable");
	if (!count)
		return luctl_fail(LUCTL_UNREADABLE, path, "\"luctl prepare\" begins one",
				  "no update is recorded");

	for (size_t start = 0; start < count; start = end) {
		struct timeline_update *update;

		for (end = start; end < count && sorted[end]->update == sorted[start]->update;)
			end++;
		if (!arguments->list && (arguments->chosen ?
		    sorted[start]->update != arguments->update : end < count))
			continue;
		timeline->update = luctl_resize(timeline->update, timeline->count + 1,
						sizeof(*timeline->update));
		update = &timeline->update[timeline->count++];
		memset(update, 0, sizeof(*update));
		timeline_build_update(update, timeline->header.frequency, sorted + start,
				      end - start);
	}
	if (!timeline->count)
		return luctl_fail(LUCTL_UNREADABLE, path,
				  "\"luctl timeline --list\" says which are",
				  "update %u is not recorded", arguments->update);

	return LUCTL_OK;
}

static void drop_timeline(struct timeline *timeline)
{
	for (size_t i = 0; i < timeline->count; i++) {
		struct timeline_update *update = &timeline->update[i];

		free(update->phases.item);
		free(update->transitions.item);
		free(update->callbacks.item);
		free(update->details.item);
		free(update->slowest.item);
	}
	free(timeline->update);
	free(timeline->sorted);
	free(timeline->records);
}

/* For others */

/* A timeline that this luctl understands; quiet, unlike read_bytes(). */
static void *read_quietly(struct liveupdate_timeline_header *header)
{
	char *path = luctl_path("timeline"), *problem = NULL;
	const char *advice;
	void *data = NULL;
	size_t size;

	if (!luctl_read_file(path, FILE_LIMIT, &data, &size))
		problem = header_problem(data, size, header, &advice);
	if (problem) {
		free(data);
		data = NULL;
	}
	free(problem);
	free(path);

	return data;
}

/* Look for a failure in the last update, which is the last attempt. */
static enum luctl_attempt find_failure(const struct timeline *timeline,
				       const char *transition, int err)
{
	bool failed = false, succeeded = false;
	uint32_t last = 0;

	for (size_t i = 0; i < timeline->record_count; i++) {
		if (timeline->records[i].update > last)
			last = timeline->records[i].update;
	}
	for (size_t i = 0; i < timeline->record_count; i++) {
		const struct timeline_record *record = &timeline->records[i];

		if (record->update != last ||
		    strcmp(timeline_transition_names[record->transition], transition) ||
		    (record->kind != LIVEUPDATE_TIMELINE_TRANSITION &&
		     record->kind != LIVEUPDATE_TIMELINE_CALLBACK))
			continue;
		failed |= record->error == -err;
		succeeded |= record->kind == LIVEUPDATE_TIMELINE_TRANSITION && !record->error;
	}
	if (failed)
		return LUCTL_ATTEMPT_LAST;

	/* What became invalid after it was prepared is no failure of a record. */
	return timeline->header.dropped || !last || (succeeded && !strcmp(transition, "prepare")) ?
	       LUCTL_ATTEMPT_UNKNOWN : LUCTL_ATTEMPT_EARLIER;
}

enum luctl_attempt luctl_timeline_attempt(const char *transition, int err)
{
	enum luctl_attempt attempt = LUCTL_ATTEMPT_UNKNOWN;
	struct timeline timeline = { 0 };
	void *data = read_quietly(&timeline.header);

	if (data) {
		read_records(&timeline, data);
		attempt = find_failure(&timeline, transition, err);
		drop_timeline(&timeline);
	}
	free(data);

	return attempt;
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
		if ((is_stdout(arguments->save) || is_stdout(arguments->svg)) &&
		    ((arguments->save && arguments->svg) || arguments->list ||
		     luctl_options.json))
			argp_error(state, "with - there is nothing else on standard output");
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
		notes = timeline_notes(timeline, timeline->update);
		status = timeline_write_svg(arguments->svg, timeline->update, notes);
		timeline_drop_notes(notes);
	}
	if (status || is_stdout(arguments->svg) || is_stdout(arguments->save))
		return status;

	if (luctl_options.json)
		timeline_print_json(timeline, arguments->top);
	else if (arguments->list)
		timeline_print_list(timeline);
	else
		timeline_print_update(timeline, timeline->update, arguments->top);

	return LUCTL_OK;
}

enum luctl_status luctl_cmd_timeline(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "list", KEY_LIST, NULL, 0, "list the updates that are recorded", 0 },
		{ "update", KEY_UPDATE, "N", 0, "show update N instead of the last one", 0 },
		{ "top", KEY_TOP, "N", 0, "show the N slowest items, 10 if not given", 0 },
		{ "svg", KEY_SVG, "FILE", 0, "draw a picture of it, too; alone if FILE is -", 0 },
		{ "save", KEY_SAVE, "FILE", 0,
		  "keep a copy of the timeline, too; alone if FILE is -", 0 },
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
