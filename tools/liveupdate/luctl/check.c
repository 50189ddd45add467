// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl check
 *
 * Can the kernel in an image read what this one hands over? The rules are those that
 * the other kernel will apply: KHO and the table of participants are read only if they
 * have the very ABI it knows, and a participant restores from the versions that it
 * says it can read.
 *
 * What this kernel writes is in /sys/kernel/liveupdate/participants, which has the
 * participants in modules as well; the ABI of KHO and of the table is in its notes.
 * What the other kernel reads is in the image, image.c. Nothing of the image is
 * trusted, and what is not certain counts as not there.
 */

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "luctl.h"

/* A vmlinux with debug information may have this much. */
#define IMAGE_LIMIT	(1024UL * 1024 * 1024)
#define NOTES_LIMIT	(1024UL * 1024)

#define THING_KHO		"KHO"
#define THING_TABLE		"participants"

/* What this kernel hands over. */
struct running {
	struct luctl_participant *list;
	size_t count;
	struct luctl_notes notes;
};

struct check {
	struct running running;
	struct luctl_image image;
	struct json_object *findings;
	enum luctl_verdict verdict;
};

static const char *verdict_text(enum luctl_verdict verdict)
{
	static const char *const texts[] = {
		[LUCTL_VERDICT_GO]	= "go",
		[LUCTL_VERDICT_LOSS]	= "go with loss",
		[LUCTL_VERDICT_NO_GO]	= "no go",
	};

	return texts[verdict];
}

/* For programs. */
static const char *verdict_word(enum luctl_verdict verdict)
{
	static const char *const words[] = {
		[LUCTL_VERDICT_GO]	= "go",
		[LUCTL_VERDICT_LOSS]	= "loss",
		[LUCTL_VERDICT_NO_GO]	= "no-go",
	};

	return words[verdict];
}

static struct json_object *text_or_null(const char *text)
{
	return text && *text ? json_object_new_string(text) : NULL;
}

/* This kernel. */

static int scan_file(struct luctl_notes *notes, const char *path)
{
	bool big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
	size_t size;
	void *data;
	int err;

	err = luctl_read_file(path, NOTES_LIMIT, &data, &size);
	if (err)
		return err;
	err = luctl_notes_scan(notes, data, size, big_endian);
	free(data);

	return err;
}

/* The notes of vmlinux; if none of its participants is built in, those of modules. */
static enum luctl_status read_notes(struct luctl_notes *notes)
{
	char *path = luctl_format("%s/kernel/notes", luctl_options.sysfs);
	char *pattern = luctl_format("%s/module/*/notes/.note.liveupdate", luctl_options.sysfs);
	enum luctl_status status = LUCTL_OK;
	glob_t found = { 0 };
	int err;

	err = scan_file(notes, path);
	if (!err && !notes->count && !glob(pattern, 0, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			scan_file(notes, found.gl_pathv[i]);
	}
	globfree(&found);

	if (err) {
		status = luctl_fail_errno(LUCTL_UNREADABLE, -err, path, NULL, NULL);
	} else if (!notes->count) {
		status = luctl_fail(LUCTL_UNREADABLE, path,
				    "build this kernel with CONFIG_LIVEUPDATE_SHUTDOWN_LOG, which is a participant",
				    "no participant tells which KHO ABI this kernel has");
	}
	free(path);
	free(pattern);

	return status;
}

static void drop_running(struct running *running)
{
	luctl_notes_drop(&running->notes);
	free(running->list);
}

/* The image. */

static enum luctl_status read_image(const char *path, struct luctl_image *image)
{
	const struct luctl_image_problem *problem;
	size_t size;
	void *data;
	int err;

	err = luctl_read_file(path, IMAGE_LIMIT, &data, &size);
	if (err)
		return luctl_fail_errno(LUCTL_UNREADABLE, -err, path,
					err == -EFBIG ? "strip debug information from it" :
					err == -EACCES ? "run luctl as root" :
					err == -ENOMEM ? "free some memory and try again" :
					"give the file of a kernel image", NULL);

	problem = luctl_image_parse(image, data, size);
	free(data);
	if (problem)
		return luctl_fail(LUCTL_UNREADABLE, path, problem->advice, "%s", problem->message);

	return LUCTL_OK;
}

/* Findings; what luctl_format() gave is freed. */

static void add_finding(struct check *check, enum luctl_verdict severity, const char *thing,
			char *why, char *advice)
{
	struct json_object *finding = json_object_new_object();

	json_object_object_add(finding, "thing", json_object_new_string(thing));
	json_object_object_add(finding, "severity",
			       json_object_new_string(verdict_word(severity)));
	json_object_object_add(finding, "why", json_object_new_string(why));
	json_object_object_add(finding, "advice", json_object_new_string(advice));
	json_object_array_add(check->findings, finding);
	free(why);
	free(advice);

	if (severity > check->verdict)
		check->verdict = severity;
}

/* A note of the image whose KHO ABI or table is not that of this kernel. */
static const struct luctl_note *find_other(const struct luctl_notes *notes, size_t offset,
					   const char *text)
{
	for (size_t i = 0; i < notes->count; i++) {
		if (strcmp((const char *)&notes->list[i] + offset, text))
			return &notes->list[i];
	}

	return NULL;
}

static void compare_abi(struct check *check)
{
	const struct luctl_note *mine = check->running.notes.list, *other;
	const struct luctl_notes *notes = &check->image.notes;

	other = find_other(notes, offsetof(struct luctl_note, kho), mine->kho);
	if (other)
		add_finding(check, LUCTL_VERDICT_NO_GO, THING_KHO,
			    luctl_format("the image reads %s, this kernel writes %s", other->kho,
					 mine->kho),
			    luctl_format("use an image with %s, or reboot without a live update",
					 mine->kho));

	other = find_other(notes, offsetof(struct luctl_note, table), mine->table);
	if (other)
		add_finding(check, LUCTL_VERDICT_NO_GO, THING_TABLE,
			    luctl_format("the image reads the table %s, this kernel writes %s",
					 other->table, mine->table),
			    luctl_format("use an image with %s, or reboot without a live update",
					 mine->table));
}

static void report_odd_notes(struct check *check)
{
	const struct luctl_notes *notes = &check->image.notes;

	for (size_t i = 0; i < notes->odd_count; i++) {
		const struct luctl_odd_note *odd = &notes->odd[i];

		add_finding(check, LUCTL_VERDICT_GO, THING_TABLE,
			    luctl_format("a note is ignored, because %s (type %u, %u bytes)",
					 odd->why, odd->type, odd->size),
			    luctl_format("if it matters, use the luctl of that kernel"));
	}
}

/* A finding on @mine, whose data would be lost; @why and @advice are freed. */
static void add_loss(struct check *check, const struct luctl_participant *mine, char *why,
		     char *advice)
{
	if (mine->mandatory) {
		add_finding(check, LUCTL_VERDICT_NO_GO, mine->name, why, advice);
		return;
	}
	add_finding(check, LUCTL_VERDICT_LOSS, mine->name, why,
		    luctl_format("%s, or accept that its data is lost", advice));
	free(advice);
}

static void report_unreadable(struct check *check, const struct luctl_participant *mine,
			      const struct luctl_note *note)
{
	char *range = note->oldest == note->version ? luctl_format("%u", note->version) :
		      luctl_format("%u to %u", note->oldest, note->version);

	add_loss(check, mine,
		 luctl_format("the image reads version %s, this kernel writes %u", range,
			      mine->version),
		 luctl_format("%s", mine->version > note->version ?
			      "use an image of a newer kernel" :
			      "update to a kernel in between first"));
	free(range);
}

static void report_missing(struct check *check, const struct luctl_participant *mine)
{
	static const char maybe[] =
		"; it may be a module of the next kernel, which is not in an image";
	bool module = !strcmp(mine->level, "workload");

	add_loss(check, mine,
		 luctl_format("the image does not have it%s", module ? maybe : ""),
		 luctl_format("%s", module ?
			      "build it into the image, or unload it here if it is a module" :
			      "use an image that is built with it"));
}

/* If the image has it twice, nobody knows which one registers: both must read it. */
static void compare_participant(struct check *check, const struct luctl_participant *mine)
{
	const struct luctl_notes *notes = &check->image.notes;
	const struct luctl_note *unreadable = NULL;
	size_t same = 0;

	for (size_t i = 0; i < notes->count; i++) {
		const struct luctl_note *note = &notes->list[i];

		if (strcmp(note->name, mine->name))
			continue;
		same++;
		if (mine->version < note->oldest || mine->version > note->version)
			unreadable = note;
	}

	if (!same)
		report_missing(check, mine);
	else if (unreadable)
		report_unreadable(check, mine, unreadable);
	if (same > 1)
		add_finding(check, LUCTL_VERDICT_GO, mine->name,
			    luctl_format("the image describes it %zu times, and differently",
					 same),
			    luctl_format("build the image again, from a clean tree"));
}

static void compare(struct check *check)
{
	const struct luctl_image *image = &check->image;

	check->findings = json_object_new_array();
	if (!*image->kho) {
		add_finding(check, LUCTL_VERDICT_NO_GO, THING_KHO,
			    luctl_format("the image has no Kexec HandOver"),
			    luctl_format("build it with CONFIG_LIVEUPDATE_SUBSYSTEMS"));
	} else if (!image->notes.count) {
		add_finding(check, LUCTL_VERDICT_NO_GO, THING_TABLE,
			    luctl_format("the image describes none%s", image->notes.odd_count ?
					 " that luctl understands" : ""),
			    luctl_format("build it with CONFIG_LIVEUPDATE_SUBSYSTEMS"));
	} else {
		compare_abi(check);
		for (size_t i = 0; i < check->running.count; i++)
			compare_participant(check, &check->running.list[i]);
	}
	report_odd_notes(check);
}

/* The report. */

static struct json_object *json_note(const struct luctl_note *note)
{
	static const char *const levels[] = {
		"workload", "devices", "irq", "iommu", "memory",
	};
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "name", json_object_new_string(note->name));
	json_object_object_add(object, "version", json_object_new_int64(note->version));
	json_object_object_add(object, "oldest", json_object_new_int64(note->oldest));
	json_object_object_add(object, "level", note->level < ARRAY_SIZE(levels) ?
			       json_object_new_string(levels[note->level]) : NULL);
	json_object_object_add(object, "mandatory", note->class <= 1 ?
			       json_object_new_boolean(note->class) : NULL);

	return object;
}

static struct json_object *make_report(const char *path, const struct check *check)
{
	struct json_object *object = json_object_new_object(), *list = json_object_new_array();
	const struct luctl_image *image = &check->image;

	for (size_t i = 0; i < image->notes.count; i++)
		json_object_array_add(list, json_note(&image->notes.list[i]));

	json_object_object_add(object, "image", json_object_new_string(path));
	json_object_object_add(object, "verdict",
			       json_object_new_string(verdict_word(check->verdict)));
	json_object_object_add(object, "release", json_object_new_string(image->release));
	json_object_object_add(object, "format", json_object_new_string(image->format));
	json_object_object_add(object, "compression", text_or_null(image->compression));
	json_object_object_add(object, "kho", text_or_null(image->kho));
	json_object_object_add(object, "participants", list);
	json_object_object_add(object, "findings", check->findings);

	return object;
}

enum luctl_status luctl_check_image(const char *path, enum luctl_verdict *verdict,
				    struct json_object **report)
{
	struct check check = { .verdict = LUCTL_VERDICT_GO };
	enum luctl_status status;

	status = luctl_participants(&check.running.list, &check.running.count);
	if (status)
		return status;
	status = read_notes(&check.running.notes);
	if (!status)
		status = read_image(path, &check.image);
	if (!status) {
		compare(&check);
		*report = make_report(path, &check);
		*verdict = check.verdict;
		luctl_image_drop(&check.image);
	}
	drop_running(&check.running);

	return status;
}

/* luctl check */

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *value = json_object_object_get(object, name);

	return value ? json_object_get_string(value) : NULL;
}

static size_t count_of(struct json_object *object, const char *name)
{
	return json_object_array_length(json_object_object_get(object, name));
}

static void print_text(const char *path, enum luctl_verdict verdict, struct json_object *report)
{
	struct json_object *findings = json_object_object_get(report, "findings");
	const char *compression = text_of(report, "compression"), *kho = text_of(report, "kho");

	printf("%s: %s\n\n", path, verdict_text(verdict));
	printf("release        %s\n", text_of(report, "release"));
	printf("format         %s%s%s\n", text_of(report, "format"), compression ? ", " : "",
	       compression ?: "");
	printf("kexec handover %s\n", kho ?: "none");
	printf("participants   %zu\n", count_of(report, "participants"));
	if (!count_of(report, "findings"))
		return;

	printf("\n%-24s %-12s  %s\n", "PARTICIPANT", "VERDICT", "WHY, AND WHAT TO DO");
	for (size_t i = 0; i < json_object_array_length(findings); i++) {
		struct json_object *finding = json_object_array_get_idx(findings, i);
		const char *word = text_of(finding, "severity");
		enum luctl_verdict severity = LUCTL_VERDICT_GO;

		while (strcmp(verdict_word(severity), word))
			severity++;
		printf("%-24s %-12s  %s\n", text_of(finding, "thing"), verdict_text(severity),
		       text_of(finding, "why"));
		printf("%-24s %-12s  %s\n", "", "", text_of(finding, "advice"));
	}
}

static error_t parse_check(int key, char *text, struct argp_state *state)
{
	const char **path = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (*path)
			argp_error(state, "only one IMAGE");
		*path = text;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no IMAGE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp check_argp = {
	.parser = parse_check,
	.args_doc = "IMAGE",
	.doc = "Can the kernel in IMAGE read what this one hands over?\n"
	       "IMAGE is a vmlinux, a bzImage, an arm64 Image, or a vmlinuz.efi.\n"
	       "Nothing is loaded or changed.",
};

enum luctl_status luctl_cmd_check(int argc, char **argv)
{
	static const enum luctl_status statuses[] = {
		[LUCTL_VERDICT_GO]	= LUCTL_OK,
		[LUCTL_VERDICT_LOSS]	= LUCTL_LOSS,
		[LUCTL_VERDICT_NO_GO]	= LUCTL_NO_GO,
	};
	struct json_object *report;
	enum luctl_status status;
	enum luctl_verdict verdict;
	const char *path = NULL;

	status = luctl_parse(&check_argp, argc, argv, &path);
	if (status)
		return status;
	status = luctl_check_image(path, &verdict, &report);
	if (status)
		return status;

	if (luctl_options.json) {
		luctl_print_json(report);
	} else {
		print_text(path, verdict, report);
		json_object_put(report);
	}

	return statuses[verdict];
}
