// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl check
 *
 * Can the kernel in an image read what the one before it hands over, and will it come
 * up? For the first, the rules are those that the other kernel will apply: KHO and the
 * table of subsystems are read only if they have the very ABI it knows, and a
 * subsystem restores from the versions that it says it can read. For the second,
 * boot.c has what is known to kill it.
 *
 * What this kernel writes is in /sys/kernel/liveupdate/subsystems, which has the
 * subsystems in modules as well; the ABI of KHO and of the table is in its notes.
 * On a machine without live update, where kernels are built, an image can stand for
 * the kernel before; then there is nothing to say of modules and of the boot. What the
 * other kernel reads is in the image, image.c. Nothing of an image is trusted, and
 * what is not certain counts as not there.
 *
 * A finding says what it is about, why, and what to do. What could not be judged is
 * said as well, since a go is only as good as what was looked at.
 */

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "cmdline.h"
#include "image.h"
#include "luctl.h"
#include "nextline.h"

/* A vmlinux with debug information may have this much. */
#define IMAGE_LIMIT	(1024UL * 1024 * 1024)
#define NOTES_LIMIT	(1024UL * 1024)

#define THING_IMAGE		"image"
#define THING_KHO		"KHO"
#define THING_TABLE		"subsystems"
#define THING_CMDLINE		"command line"

/* What the kernel before hands over; @name is what it is called. */
struct before {
	const char *name;
	enum luctl_machine machine;
	char release[LUCTL_RELEASE_SIZE];
	struct luctl_subsystem *list;
	size_t count;
	struct luctl_notes notes;
};

struct check {
	struct before before;
	struct luctl_image image;
	struct luctl_findings findings;
	struct json_object *handover;
	struct json_object *scratch;
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

/* The notes of vmlinux; if none of its subsystems is built in, those of modules. */
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
				    "build this kernel with CONFIG_LIVEUPDATE_SHUTDOWN_LOG, which is a subsystem",
				    "no subsystem tells which KHO ABI this kernel has");
	}
	free(path);
	free(pattern);

	return status;
}

static void drop_before(struct before *before)
{
	luctl_notes_drop(&before->notes);
	free(before->list);
}

/* Images. */

static enum luctl_status parse_image(struct luctl_file *file, struct luctl_image *image)
{
	const struct luctl_image_problem *problem;
	unsigned char head[LUCTL_IMAGE_HEAD];
	ssize_t got;
	int err;

	/* What is no image is not read, however large it is. */
	got = luctl_file_peek(file, head, sizeof(head));
	err = got < 0 ? got : 0;
	problem = err ? NULL : luctl_image_head(head, got);
	if (!err && !problem)
		err = luctl_file_read(file, IMAGE_LIMIT);
	if (err)
		return luctl_fail_errno(LUCTL_UNREADABLE, -err, file->path,
					err == -EFBIG ? "strip debug information from it" :
					err == -ENOMEM ? "free some memory and try again" :
					"give the file of a kernel image", NULL);

	if (!problem)
		problem = luctl_image_parse(image, file->data, file->size);
	if (problem)
		return luctl_fail(LUCTL_UNREADABLE, file->path, problem->advice, "%s",
				  problem->message);

	return LUCTL_OK;
}

/* The kernel before. */

static const char *const levels[] = {
	"workload", "devices", "irq", "iommu", "memory",
};

static enum luctl_status read_running(struct before *before)
{
	enum luctl_status status;

	before->name = "this kernel";
	before->machine = luctl_machine_here();
	status = luctl_subsystems(&before->list, &before->count);

	return status ?: read_notes(&before->notes);
}

static enum luctl_status take_subsystems(struct before *before)
{
	const struct luctl_notes *notes = &before->notes;

	before->list = calloc(notes->count ?: 1, sizeof(*before->list));
	if (!before->list)
		return luctl_fail_errno(LUCTL_FAILED, ENOMEM, "subsystems", NULL, NULL);
	for (size_t i = 0; i < notes->count; i++) {
		const struct luctl_note *note = &notes->list[i];
		struct luctl_subsystem *subsystem = &before->list[before->count++];

		memcpy(subsystem->name, note->name, sizeof(note->name));
		snprintf(subsystem->level, sizeof(subsystem->level), "%s",
			 note->level < ARRAY_SIZE(levels) ? levels[note->level] : "unknown");
		subsystem->version = note->version;
		subsystem->oldest = note->oldest;
		subsystem->mandatory = note->class;
	}

	return LUCTL_OK;
}

/* An image stands for the kernel before. */
static enum luctl_status read_from(struct before *before, const char *path)
{
	enum luctl_status status;
	struct luctl_image image;
	struct luctl_file file;

	before->name = "the old image";
	status = luctl_file_open(&file, path);
	if (status)
		return status;
	status = parse_image(&file, &image);
	luctl_file_close(&file);
	if (status)
		return status;

	before->machine = image.machine;
	memcpy(before->release, image.release, sizeof(before->release));
	/* The notes are taken over. */
	before->notes = image.notes;

	return take_subsystems(before);
}

/* Findings. */

static struct json_object *new_finding(const char *thing, char *why, char *advice)
{
	struct json_object *finding = json_object_new_object();

	json_object_object_add(finding, "thing", json_object_new_string(thing));
	json_object_object_add(finding, "why", json_object_new_string(why));
	json_object_object_add(finding, "advice", json_object_new_string(advice));
	free(why);
	free(advice);

	return finding;
}

void luctl_find(struct luctl_findings *findings, enum luctl_verdict severity,
		const char *thing, char *why, char *advice)
{
	struct json_object *finding = new_finding(thing, why, advice);

	json_object_object_add(finding, "severity",
			       json_object_new_string(verdict_word(severity)));
	json_object_array_add(findings->list, finding);
	if (severity > findings->verdict)
		findings->verdict = severity;
}

void luctl_unjudged(struct luctl_findings *findings, const char *thing, char *why, char *advice)
{
	json_object_array_add(findings->unjudged, new_finding(thing, why, advice));
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
	const struct luctl_note *mine = check->before.notes.list, *other;
	const struct luctl_notes *notes = &check->image.notes;

	other = find_other(notes, offsetof(struct luctl_note, kho), mine->kho);
	if (other)
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_KHO,
			   luctl_format("the image reads %s, %s writes %s", other->kho,
					check->before.name, mine->kho),
			   luctl_format("use an image with %s, or reboot without a live update",
					mine->kho));

	other = find_other(notes, offsetof(struct luctl_note, table), mine->table);
	if (other)
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_TABLE,
			   luctl_format("the image reads the table %s, %s writes %s",
					other->table, check->before.name, mine->table),
			   luctl_format("use an image with %s, or reboot without a live update",
					mine->table));
}

static void report_odd_notes(struct check *check)
{
	const struct luctl_notes *notes = &check->image.notes;

	for (size_t i = 0; i < notes->odd_count; i++) {
		const struct luctl_odd_note *odd = &notes->odd[i];

		luctl_find(&check->findings, LUCTL_VERDICT_GO, THING_TABLE,
			   luctl_format("a note is ignored, because %s (type %u, %u bytes)",
					odd->why, odd->type, odd->size),
			   luctl_format("if it matters, use the luctl of that kernel"));
	}
}

/* A finding on @mine, whose data would be lost; @why and @advice are freed. */
static void add_loss(struct check *check, const struct luctl_subsystem *mine, char *why,
		     char *advice)
{
	if (mine->mandatory) {
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, mine->name, why, advice);
		return;
	}
	luctl_find(&check->findings, LUCTL_VERDICT_LOSS, mine->name, why,
		   luctl_format("%s, or accept that its data is lost", advice));
	free(advice);
}

static void report_unreadable(struct check *check, const struct luctl_subsystem *mine,
			      const struct luctl_note *note)
{
	char *range = note->oldest == note->version ? luctl_format("%u", note->version) :
		      luctl_format("%u to %u", note->oldest, note->version);

	add_loss(check, mine,
		 luctl_format("the image reads version %s, %s writes %u", range,
			      check->before.name, mine->version),
		 luctl_format("%s", mine->version > note->version ?
			      "use an image of a newer kernel" :
			      "update to a kernel in between first"));
	free(range);
}

static void report_missing(struct check *check, const struct luctl_subsystem *mine)
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

/* What one subsystem hands over, and what becomes of it. */
static void add_handover(struct check *check, const struct luctl_subsystem *mine,
			 const struct luctl_note *reader, bool readable)
{
	struct json_object *object = json_object_new_object(), *reads = NULL;
	enum luctl_verdict verdict = readable ? LUCTL_VERDICT_GO :
				     mine->mandatory ? LUCTL_VERDICT_NO_GO :
				     LUCTL_VERDICT_LOSS;

	if (reader) {
		reads = json_object_new_object();
		json_object_object_add(reads, "oldest", json_object_new_int64(reader->oldest));
		json_object_object_add(reads, "version", json_object_new_int64(reader->version));
	}
	json_object_object_add(object, "name", json_object_new_string(mine->name));
	json_object_object_add(object, "level", json_object_new_string(mine->level));
	json_object_object_add(object, "mandatory", json_object_new_boolean(mine->mandatory));
	json_object_object_add(object, "writes", json_object_new_int64(mine->version));
	json_object_object_add(object, "reads", reads);
	json_object_object_add(object, "verdict", json_object_new_string(verdict_word(verdict)));
	json_object_array_add(check->handover, object);
}

/* If the image has it twice, nobody knows which one registers: both must read it. */
static void compare_subsystem(struct check *check, const struct luctl_subsystem *mine)
{
	const struct luctl_notes *notes = &check->image.notes;
	const struct luctl_note *unreadable = NULL, *reader = NULL;
	size_t same = 0;

	for (size_t i = 0; i < notes->count; i++) {
		const struct luctl_note *note = &notes->list[i];

		if (strcmp(note->name, mine->name))
			continue;
		same++;
		reader = note;
		if (mine->version < note->oldest || mine->version > note->version)
			unreadable = note;
	}
	add_handover(check, mine, unreadable ?: reader, same && !unreadable);

	if (!same)
		report_missing(check, mine);
	else if (unreadable)
		report_unreadable(check, mine, unreadable);
	if (same > 1)
		luctl_find(&check->findings, LUCTL_VERDICT_GO, mine->name,
			   luctl_format("the image describes it %zu times, and differently",
					same),
			   luctl_format("build the image again, from a clean tree"));
}

/* Why a kernel has no Kexec HandOver: it may be older than that. */
static void report_no_kho(struct check *check)
{
	char *why = luctl_too_old(check->image.release);

	if (why)
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_KHO, why,
			   luctl_format("use a newer kernel, or reboot without a live update"));
	else
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_KHO,
			   luctl_format("the image has no Kexec HandOver"),
			   luctl_format("build it with CONFIG_LIVEUPDATE_SUBSYSTEMS"));
}

static void report_nothing_before(struct check *check)
{
	const struct before *before = &check->before;
	char *why = luctl_too_old(before->release);

	luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_TABLE,
		   luctl_format("%s hands nothing over: %s", before->name,
				why ?: "it describes no subsystems"),
		   luctl_format("%s", why ? "reboot without a live update" :
				"build it with CONFIG_LIVEUPDATE_SUBSYSTEMS"));
	free(why);
}

static void report_no_subsystems(struct check *check)
{
	luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_TABLE,
		   luctl_format("the image describes none%s", check->image.notes.odd_count ?
				" that luctl understands" : ""),
		   luctl_format("build it with CONFIG_LIVEUPDATE_SUBSYSTEMS"));
}

static void compare_handover(struct check *check)
{
	const struct before *before = &check->before;

	if (!before->notes.count)
		report_nothing_before(check);
	else if (*check->image.kho && check->image.notes.count)
		compare_abi(check);

	if (!*check->image.kho)
		report_no_kho(check);
	else if (!check->image.notes.count)
		report_no_subsystems(check);
	for (size_t i = 0; i < before->count; i++) {
		if (*check->image.kho && check->image.notes.count)
			compare_subsystem(check, &before->list[i]);
		else
			add_handover(check, &before->list[i], NULL, false);
	}
	report_odd_notes(check);
}

/* Can it be loaded by the kernel before? */
static void judge_image(struct check *check)
{
	const struct luctl_image *image = &check->image;
	const char *here = luctl_machine_name(check->before.machine);

	if (image->machine != check->before.machine)
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_IMAGE,
			   luctl_format("it is for %s, and %s for %s",
					luctl_machine_name(image->machine), check->before.name,
					here),
			   luctl_format("use an image for %s", here));
	else if (image->unloadable)
		luctl_find(&check->findings, LUCTL_VERDICT_NO_GO, THING_IMAGE,
			   luctl_format("%s", image->unloadable->message),
			   luctl_format("%s", image->unloadable->advice));
}

static void judge_boot(struct check *check, const struct luctl_next *next)
{
	static const char advice[] = {
		"give the --cmdline or --reuse-cmdline, the --append and the --initrd of luctl update"
	};
	static const char advice_from[] = "give the --cmdline and --initrd that it will get";
	const struct luctl_boot boot = {
		.image = &check->image,
		.cmdline = next->cmdline,
		.initrd = next->initrd ? next->initrd->status.st_size : 0,
		.elsewhere = next->from,
	};

	if (!next->cmdline)
		luctl_unjudged(&check->findings, THING_CMDLINE,
			       luctl_format("none was given, so what it does is not known%s",
					    next->initrd ? "" : ", nor what an initramfs needs"),
			       luctl_format("%s", next->from ? advice_from : advice));
	/* Nobody gets that far with an image that is not loaded. */
	if (check->image.machine == check->before.machine && !check->image.unloadable)
		check->scratch = luctl_judge_boot(&boot, &check->findings);
}

/* The report. */

static struct json_object *json_note(const struct luctl_note *note)
{
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
			       json_object_new_string(verdict_word(check->findings.verdict)));
	json_object_object_add(object, "from", text_or_null(check->before.release));
	json_object_object_add(object, "release", json_object_new_string(image->release));
	json_object_object_add(object, "machine",
			       json_object_new_string(luctl_machine_name(image->machine)));
	json_object_object_add(object, "format", json_object_new_string(image->format));
	json_object_object_add(object, "compression", text_or_null(image->compression));
	json_object_object_add(object, "kho", text_or_null(image->kho));
	json_object_object_add(object, "subsystems", list);
	json_object_object_add(object, "handover", check->handover);
	json_object_object_add(object, "scratch", check->scratch);
	json_object_object_add(object, "findings", check->findings.list);
	json_object_object_add(object, "unjudged", check->findings.unjudged);

	return object;
}

enum luctl_status luctl_check_next(const struct luctl_next *next, enum luctl_verdict *verdict,
				   struct json_object **report)
{
	enum luctl_status status;
	struct check check = { .handover = NULL };

	status = next->from ? read_from(&check.before, next->from) :
			      read_running(&check.before);
	if (!status)
		status = parse_image(next->image, &check.image);
	if (!status) {
		check.handover = json_object_new_array();
		check.findings.list = json_object_new_array();
		check.findings.unjudged = json_object_new_array();
		judge_image(&check);
		compare_handover(&check);
		judge_boot(&check, next);
		*report = make_report(next->image->path, &check);
		*verdict = check.findings.verdict;
		luctl_image_drop(&check.image);
	}
	drop_before(&check.before);

	return status;
}

/* luctl check */

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *value = json_object_object_get(object, name);

	return value ? json_object_get_string(value) : NULL;
}

/* The verdict of a word for programs, as text for people. */
static const char *verdict_of(struct json_object *object, const char *name)
{
	enum luctl_verdict verdict = LUCTL_VERDICT_GO;

	while (strcmp(verdict_word(verdict), text_of(object, name)))
		verdict++;

	return verdict_text(verdict);
}

static void print_line(FILE *file, const char *thing, const char *verdict, const char *text)
{
	char *escaped = luctl_escape(text);

	fprintf(file, "%-24s %-12s  %s\n", thing, verdict, escaped);
	free(escaped);
}

static void print_list(FILE *file, struct json_object *list, bool judged)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *finding = json_object_array_get_idx(list, i);

		print_line(file, text_of(finding, "thing"),
			   judged ? verdict_of(finding, "severity") : "not judged",
			   text_of(finding, "why"));
		print_line(file, "", "", text_of(finding, "advice"));
	}
}

void luctl_print_findings(FILE *file, struct json_object *report)
{
	struct json_object *findings = json_object_object_get(report, "findings");
	struct json_object *unjudged = json_object_object_get(report, "unjudged");

	if (!json_object_array_length(findings) && !json_object_array_length(unjudged))
		return;
	fprintf(file, "%-24s %-12s  %s\n", "ABOUT", "VERDICT", "WHY, AND WHAT TO DO");
	print_list(file, findings, true);
	print_list(file, unjudged, false);
}

static void print_handover(struct json_object *list)
{
	if (!json_object_array_length(list))
		return;
	printf("\n%-24s %6s  %-10s  %s\n", "SUBSYSTEM", "WRITES", "READS", "VERDICT");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *object = json_object_array_get_idx(list, i);
		struct json_object *reads = json_object_object_get(object, "reads");
		char *range = reads ? luctl_format("%s-%s", text_of(reads, "oldest"),
						   text_of(reads, "version")) :
				      luctl_format("%s", "-");

		printf("%-24s %6s  %-10s  %s\n", text_of(object, "name"),
		       text_of(object, "writes"), range, verdict_of(object, "verdict"));
		free(range);
	}
}

static void print_scratch(struct json_object *scratch)
{
	static const unsigned int mib = 1024 * 1024;

	if (scratch)
		printf("scratch        %lld MiB, of which the boot needs %lld\n",
		       (long long)json_object_get_int64(json_object_object_get(scratch, "bytes")) /
		       mib,
		       (long long)json_object_get_int64(json_object_object_get(scratch, "needed")) /
		       mib + 1);
}

static void print_text(const char *path, enum luctl_verdict verdict, struct json_object *report)
{
	const char *compression = text_of(report, "compression"), *kho = text_of(report, "kho");
	const char *from = text_of(report, "from");
	char *escaped = luctl_escape(path);

	printf("%s: %s\n\n", escaped, verdict_text(verdict));
	free(escaped);
	if (from)
		printf("from           %s\n", from);
	printf("release        %s\n", text_of(report, "release"));
	printf("format         %s%s%s, %s\n", text_of(report, "format"), compression ? ", " : "",
	       compression ?: "", text_of(report, "machine"));
	printf("kexec handover %s\n", kho ?: "none");
	print_scratch(json_object_object_get(report, "scratch"));
	print_handover(json_object_object_get(report, "handover"));
	printf("\n");
	luctl_print_findings(stdout, report);
}

/* Command line. */

struct arguments {
	const char *image;
	const char *from;
	const char *initrd;
	struct luctl_line line;
};

enum {
	KEY_FROM = 0x2000,
	KEY_INITRD,
};

static const struct argp_option options[] = {
	{ "from", KEY_FROM, "OLD-IMAGE", 0,
	  "compare with the kernel in OLD-IMAGE, not with the one that runs", 0 },
	{ "initrd", KEY_INITRD, "FILE", 0, "initramfs that it would get", 0 },
	{ "cmdline", LUCTL_KEY_CMDLINE, "TEXT", 0, LUCTL_CMDLINE_HELP, 0 },
	{ "reuse-cmdline", LUCTL_KEY_REUSE_CMDLINE, NULL, 0, LUCTL_REUSE_CMDLINE_HELP, 0 },
	{ "append", LUCTL_KEY_APPEND, "TEXT", 0, LUCTL_APPEND_HELP, 0 },
	{ 0 }
};

static error_t parse_check(int key, char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case KEY_FROM:
		arguments->from = text;
		return 0;
	case KEY_INITRD:
		arguments->initrd = text;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->image)
			argp_error(state, "only one IMAGE");
		arguments->image = text;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no IMAGE");
		return 0;
	case ARGP_KEY_END:
		if (arguments->line.text && arguments->line.reuse)
			argp_error(state, "give either --cmdline or --reuse-cmdline");
		if (arguments->line.reuse && arguments->from)
			argp_error(state, "--reuse-cmdline is that of this kernel, not of --from");
		if (arguments->line.append && !arguments->line.text && !arguments->line.reuse)
			argp_error(state, "--append needs --cmdline or --reuse-cmdline");
		return 0;
	default:
		return luctl_line_parse(&arguments->line, key, text);
	}
}

static const struct argp check_argp = {
	.options = options,
	.parser = parse_check,
	.args_doc = "IMAGE",
	.doc = "Can the kernel in IMAGE read what this one hands over, and will it come up?\n"
	       "IMAGE is a vmlinux, a bzImage, an arm64 Image, a vmlinuz.efi, or a UKI.\n"
	       "Nothing is loaded or changed.",
};

static enum luctl_status run_check(const struct arguments *arguments, struct luctl_file *image,
				   struct luctl_file *initrd, const char *cmdline)
{
	static const enum luctl_status statuses[] = {
		[LUCTL_VERDICT_GO]	= LUCTL_OK,
		[LUCTL_VERDICT_LOSS]	= LUCTL_LOSS,
		[LUCTL_VERDICT_NO_GO]	= LUCTL_NO_GO,
	};
	const struct luctl_next next = {
		.image = image,
		.from = arguments->from,
		.initrd = arguments->initrd ? initrd : NULL,
		.cmdline = cmdline,
	};
	struct json_object *report;
	enum luctl_verdict verdict;
	enum luctl_status status;

	status = luctl_check_next(&next, &verdict, &report);
	if (status)
		return status;

	if (luctl_options.json) {
		luctl_print_json(report);
	} else {
		print_text(arguments->image, verdict, report);
		json_object_put(report);
	}

	return statuses[verdict];
}

enum luctl_status luctl_cmd_check(int argc, char **argv)
{
	struct luctl_file image = { 0 }, initrd = { 0 };
	struct arguments arguments = { 0 };
	enum luctl_status status;
	char *cmdline = NULL;

	status = luctl_parse(&check_argp, argc, argv, &arguments);
	if (!status)
		status = luctl_line_make(&arguments.line, &cmdline);
	if (!status)
		status = luctl_file_open(&image, arguments.image);
	if (!status && arguments.initrd)
		status = luctl_file_open(&initrd, arguments.initrd);
	if (!status)
		status = run_check(&arguments, &image, &initrd, cmdline);
	luctl_file_close(&image);
	luctl_file_close(&initrd);
	free(cmdline);

	return status;
}
