// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The timeline as text and as JSON
 *
 * Both show the same model, and both print on standard output.
 */

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "timeline.h"

#define BAR_WIDTH	24

/* How many of the slowest items of a callback are shown to people. */
#define SLOWEST		3

static const char *const side_names[] = {
	[TIMELINE_OLD]		= "old",
	[TIMELINE_NEW]		= "new",
	[TIMELINE_BETWEEN]	= "---",
};

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

char *timeline_item_text(const struct timeline_item *item)
{
	if (item->callback || item->count)
		return luctl_format("%s of %s", timeline_transition_names[item->transition],
				    item->name);

	return luctl_format("%s", item->name);
}

/* What to know about the figures; the list ends with NULL. */
char **timeline_notes(const struct timeline *timeline, const struct timeline_update *update)
{
	char **notes = luctl_resize(NULL, 6, sizeof(*notes));
	int count = 0;

	if (update && *update->doubt)
		notes[count++] = luctl_format("not credible: time runs backwards at \"%s\"",
					      update->doubt);
	if (update && update->jumped && !(timeline->header.flags & LIVEUPDATE_TIMELINE_INVARIANT))
		notes[count++] = luctl_format("the counter need not keep its pace: %s",
					      "the time between the kernels is an estimate");
	if (timeline->corrupted)
		notes[count++] = luctl_format("corrupted records, which are left out: %llu",
					      (unsigned long long)timeline->corrupted);
	if (timeline->header.dropped)
		notes[count++] = luctl_format("records for which there was no room: %u",
					      timeline->header.dropped);
	notes[count] = NULL;

	return notes;
}

void timeline_drop_notes(char **notes)
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
static bool has_bar(const struct timeline_update *update, const struct timeline_item *item)
{
	return item->measured && item->blackout == update->jumped;
}

static void print_bar(const struct timeline_update *update, const struct timeline_item *item,
		      bool utf8)
{
	static const char *const ascii[] = { "#", "#", "~" };
	static const char *const blocks[] = { "\u2588", "\u2588", "\u2591" };
	const char *mark = (utf8 ? blocks : ascii)[item->side];
	double length = (double)(update->axis_to_ns - update->axis_from_ns);
	double scale = BAR_WIDTH / (length > 0 ? length : 1);
	double start = (double)(item->start_ns - update->axis_from_ns) * scale;
	int first = (int)start, last = (int)(start + (double)item->duration_ns * scale + 0.5);

	if (first >= BAR_WIDTH)
		first = BAR_WIDTH - 1;
	if (last <= first)
		last = first + 1;

	putchar('|');
	for (int i = 0; i < BAR_WIDTH; i++)
		fputs(i >= first && i < last ? mark : " ", stdout);
	putchar('|');
}

static void print_row(const struct timeline_update *update, const struct timeline_item *item,
		      bool inner, bool utf8)
{
	char start[32] = "?", duration[TIMELINE_TIME_SIZE] = "unknown";
	int width;

	if (item->placed)
		snprintf(start, sizeof(start), "%.3f",
			 (double)(item->start_ns - update->zero_ns) / 1e6);
	if (item->measured)
		timeline_time(duration, item->duration_ns);
	printf("%12s  %8s  %-3s  ", start, duration, side_names[item->side]);
	width = printf("%s%s", inner ? "  " : "", item->name);
	if (has_bar(update, item)) {
		printf("%*s", width < 26 ? 26 - width : 0, "");
		print_bar(update, item, utf8);
	}
	putchar('\n');
}

/* The last one: modules may restore later, when they are loaded. */
static const struct timeline_item *find_restore(const struct timeline_update *update)
{
	for (size_t i = update->transitions.count; i > 0; i--) {
		const struct timeline_item *transition = &update->transitions.item[i - 1];

		if (transition->transition == LIVEUPDATE_TIMELINE_RESTORE)
			return transition;
	}

	return NULL;
}

static bool is_inside(const struct timeline_item *inner, const struct timeline_item *outer)
{
	return inner->side == outer->side && outer->measured &&
	       inner->start_ns >= outer->start_ns &&
	       inner->start_ns < outer->start_ns + outer->duration_ns;
}

static void print_phases(const struct timeline_update *update)
{
	const struct timeline_item *restore = find_restore(update);
	char duration[TIMELINE_TIME_SIZE];
	bool utf8 = utf8_terminal();

	printf("\n%12s  %8s  %-3s  %s\n", "at ms", "took", "by", update->zero_known ?
	       "phase; 0 ms is the freeze" : "phase; 0 ms is the prepare");
	for (size_t i = 0; i < update->phases.count; i++) {
		const struct timeline_item *item = &update->phases.item[i];

		print_row(update, item, false, utf8);
		if (restore && item->blackout && is_inside(restore, item))
			print_row(update, restore, true, utf8);
		if (item->blackout && update->unaccounted_ns &&
		    (i + 1 == update->phases.count || !item[1].blackout))
			printf("%12s  %8s  %-3s  in no phase\n", "",
			       timeline_time(duration, update->unaccounted_ns), "");
	}
}

static double share(const struct timeline_update *update, const struct timeline_item *item)
{
	return (double)item->duration_ns / (double)update->blackout_ns;
}

static bool has_share(const struct timeline_update *update)
{
	return update->blackout_known && update->blackout_ns > 0;
}

static void print_slowest(const struct timeline_update *update, unsigned int top)
{
	if (!update->slowest.count || !top)
		return;

	printf("\nThe slowest%s:\n", !update->jumped ? "" :
	       has_share(update) ? ", and their share of the blackout" : " of the blackout");
	for (size_t i = 0; i < update->slowest.count && i < top; i++) {
		const struct timeline_item *item = &update->slowest.item[i];
		char duration[TIMELINE_TIME_SIZE], percent[16] = "";
		char *text = timeline_item_text(item);

		if (has_share(update))
			snprintf(percent, sizeof(percent), "%6.2f %%  ",
				 100 * share(update, item));
		printf("  %10s  %s%s  %s\n", timeline_time(duration, item->duration_ns), percent,
		       side_names[item->side], text);
		free(text);
	}
}

static void print_details(const struct timeline_update *update, unsigned int top)
{
	unsigned int slowest = 0;

	if (!top)
		return;
	for (size_t i = 0; i < update->details.count; i++) {
		const struct timeline_item *item = &update->details.item[i];
		char duration[TIMELINE_TIME_SIZE];
		char *text;

		timeline_time(duration, item->duration_ns);
		if (item->count) {
			text = timeline_item_text(item);
			printf("%s  %s: %u in %s\n", i ? "" : "\nParts, and the slowest:\n",
			       text, item->count, duration);
			free(text);
			slowest = 0;
		} else if (slowest++ < SLOWEST) {
			printf("  %10s  %s\n", duration, item->name);
		}
	}
}

static void print_failures(const struct timeline_update *update)
{
	const struct timeline_items *sources[] = {
		&update->transitions, &update->callbacks, &update->details,
	};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		for (size_t k = 0; k < sources[i]->count; k++) {
			const struct timeline_item *item = &sources[i]->item[k];
			char *text, *why;

			if (!item->error)
				continue;
			text = timeline_item_text(item);
			why = luctl_errno_text(-item->error);
			printf("%s  %s: %s\n", any ? "" : "\nFailed:\n", text, why);
			any = true;
			free(text);
			free(why);
		}
	}
}

static void print_notes(const struct timeline *timeline, const struct timeline_update *update)
{
	char **notes = timeline_notes(timeline, update);

	if (*notes)
		putchar('\n');
	for (char **note = notes; *note; note++)
		printf("Note: %s.\n", *note);
	timeline_drop_notes(notes);
}

void timeline_print_update(const struct timeline *timeline, const struct timeline_update *update,
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
	print_slowest(update, top);
	print_details(update, top);
	print_failures(update);
	print_notes(timeline, update);
}

#define COLUMN_SIZE	26

/* A release, cut in @text if it does not fit a column. */
static const char *column(char *text, const char *release)
{
	if (!*release)
		return "-";
	if (strlen(release) < COLUMN_SIZE)
		return release;
	memcpy(text, release, COLUMN_SIZE - sizeof("..."));
	strcpy(text + COLUMN_SIZE - sizeof("..."), "...");

	return text;
}

void timeline_print_list(const struct timeline *timeline)
{
	printf("%6s  %-25s  %-25s  %-14s  %10s\n", "update", "old kernel", "new kernel",
	       "outcome", "blackout");
	for (size_t i = 0; i < timeline->count; i++) {
		const struct timeline_update *update = &timeline->update[i];
		char blackout[TIMELINE_TIME_SIZE] = "unknown";
		char old[COLUMN_SIZE], new[COLUMN_SIZE];

		if (update->blackout_known)
			timeline_time(blackout, update->blackout_ns);
		printf("%6u  %-25s  %-25s  %-14s  %10s\n", update->number,
		       column(old, update->old), column(new, update->new), update->outcome,
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

static struct json_object *json_item(const struct timeline_item *item)
{
	struct json_object *object = json_object_new_object();

	if (item->callback || item->count) {
		const char *name = timeline_transition_names[item->transition];

		add_json(object, "transition", json_object_new_string(name));
		add_json(object, "subsystem", json_object_new_string(item->name));
	} else {
		add_json(object, "name", json_object_new_string(item->name));
	}
	add_json(object, "kernel", json_object_new_string(json_side(item->side)));
	add_json(object, "start_ns", json_number(item->placed, item->start_ns));
	add_json(object, "duration_ns", json_number(item->measured, item->duration_ns));

	return object;
}

static struct json_object *json_phases(const struct timeline_items *items)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < items->count; i++) {
		struct json_object *object = json_item(&items->item[i]);

		add_json(object, "blackout", json_object_new_boolean(items->item[i].blackout));
		json_object_array_add(array, object);
	}

	return array;
}

static struct json_object *json_records(const struct timeline_items *items)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < items->count; i++) {
		const struct timeline_item *item = &items->item[i];
		struct json_object *object = json_item(item);

		if (!item->callback) {
			json_object_object_del(object, "name");
			add_json(object, "transition", json_object_new_string(item->name));
		}
		add_json(object, "errno", luctl_errno_json(-item->error));
		json_object_array_add(array, object);
	}

	return array;
}

static struct json_object *json_details(const struct timeline_items *details)
{
	struct json_object *array = json_object_new_array(), *slowest = NULL;

	for (size_t i = 0; i < details->count; i++) {
		const struct timeline_item *item = &details->item[i];
		struct json_object *object = json_item(item);

		if (item->count) {
			slowest = json_object_new_array();
			add_json(object, "count", json_object_new_int64(item->count));
			add_json(object, "slowest", slowest);
			json_object_array_add(array, object);
		} else {
			add_json(object, "errno", luctl_errno_json(-item->error));
			json_object_array_add(slowest, object);
		}
	}

	return array;
}

static struct json_object *json_slowest(const struct timeline_update *update, unsigned int top)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < update->slowest.count && i < top; i++) {
		const struct timeline_item *item = &update->slowest.item[i];
		struct json_object *object = json_item(item);
		char *text = timeline_item_text(item);

		add_json(object, "name", json_object_new_string(text));
		add_json(object, "share", has_share(update) ?
			 json_object_new_double(share(update, item)) : NULL);
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
	add_json(object, "transitions", json_records(&update->transitions));
	add_json(object, "callbacks", json_records(&update->callbacks));
	add_json(object, "items", json_details(&update->details));
	add_json(object, "slowest", json_slowest(update, top));

	return object;
}

void timeline_print_json(const struct timeline *timeline, unsigned int top)
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
	add_json(object, "corrupted", json_object_new_int64((int64_t)timeline->corrupted));
	add_json(object, "dropped", json_object_new_int64(header->dropped));
	add_json(object, "updates", updates);
	luctl_print_json(object);
}
