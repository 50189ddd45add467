// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl status
 *
 * What there is to know before the next step: the state and what runs, the failure
 * that has something to do with it, subsystems, devices, and the sessions of
 * /dev/liveupdate that are open.
 *
 * last_failure is the last failure since boot. The timeline tells whether it came
 * from the last attempt or from an earlier one; without it the state may.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luctl.h"

struct overview {
	char *state;
	char *transition;
	char *prepare_timeout;
	char *freeze_timeout;
	struct luctl_failure last;
	enum luctl_attempt attempt;
	struct luctl_subsystem *subsystems;
	size_t count;
	struct luctl_devices devices;
	struct luctl_retained retained;
	struct luctl_sessions sessions;
};

static struct json_object *text_or_null(const char *text)
{
	return text && *text ? json_object_new_string(text) : NULL;
}

/* Which attempt does the last failure belong to? */
static enum luctl_attempt find_attempt(const struct overview *overview)
{
	const struct luctl_failure *last = &overview->last;
	bool prepared = !strcmp(overview->state, "prepared");
	bool restored = !strcmp(last->transition, "restore");

	if (prepared && (restored || !strcmp(last->transition, "prepare")))
		return LUCTL_ATTEMPT_EARLIER;
	if (restored && !strcmp(overview->state, "updated"))
		return LUCTL_ATTEMPT_LAST;

	return luctl_timeline_attempt(last->transition, last->err);
}

static const char *const attempt_words[] = {
	[LUCTL_ATTEMPT_UNKNOWN]	= "",
	[LUCTL_ATTEMPT_LAST]	= "last",
	[LUCTL_ATTEMPT_EARLIER]	= "earlier",
};

static struct json_object *json_failure(const struct overview *overview)
{
	struct json_object *object = json_object_new_object();
	const struct luctl_failure *last = &overview->last;
	char *advice = luctl_failure_advice(last->transition, last->name, last->err);

	json_object_object_add(object, "transition", json_object_new_string(last->transition));
	json_object_object_add(object, "subsystem", text_or_null(last->name));
	json_object_object_add(object, "device", text_or_null(last->device));
	json_object_object_add(object, "reason", text_or_null(last->reason));
	json_object_object_add(object, "errno", luctl_errno_json(last->err));
	json_object_object_add(object, "message", json_object_new_string(strerror(last->err)));
	json_object_object_add(object, "advice", json_object_new_string(advice));
	json_object_object_add(object, "attempt",
			       text_or_null(attempt_words[overview->attempt]));
	free(advice);

	return object;
}

static struct json_object *json_subsystems(const struct overview *overview)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < overview->count; i++) {
		const struct luctl_subsystem *subsystem = &overview->subsystems[i];
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "name", json_object_new_string(subsystem->name));
		json_object_object_add(object, "version",
				       json_object_new_int64(subsystem->version));
		json_object_object_add(object, "oldest",
				       json_object_new_int64(subsystem->oldest));
		json_object_object_add(object, "level",
				       json_object_new_string(subsystem->level));
		json_object_object_add(object, "mandatory",
				       json_object_new_boolean(subsystem->mandatory));
		json_object_object_add(object, "bytes",
				       json_object_new_uint64(subsystem->bytes));
		json_object_array_add(array, object);
	}

	return array;
}

static struct json_object *json_transition(const char *transition)
{
	struct json_object *object = json_object_new_object();
	char *text = luctl_format("%s", transition), *rest = text;

	json_object_object_add(object, "name", json_object_new_string(strsep(&rest, " ")));
	json_object_object_add(object, "subsystem", text_or_null(strsep(&rest, " ")));
	json_object_object_add(object, "item", text_or_null(rest));
	free(text);

	return object;
}

static struct json_object *json_sessions(const struct luctl_sessions *sessions)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < sessions->count; i++) {
		const struct luctl_session *session = &sessions->list[i];
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "name", json_object_new_string(session->name));
		json_object_object_add(object, "pid", json_object_new_int(session->pid));
		json_object_object_add(object, "process", text_or_null(session->process));
		json_object_array_add(array, object);
	}

	return array;
}

static void print_overview_json(const struct overview *overview)
{
	struct json_object *object = json_object_new_object();
	enum luctl_loaded loaded = luctl_image_loaded();

	json_object_object_add(object, "state", json_object_new_string(overview->state));
	json_object_object_add(object, "transition", strcmp(overview->transition, "idle") ?
			       json_transition(overview->transition) : NULL);
	json_object_object_add(object, "prepare_timeout_ms",
			       json_object_new_int64(atoll(overview->prepare_timeout)));
	json_object_object_add(object, "freeze_timeout_ms",
			       json_object_new_int64(atoll(overview->freeze_timeout)));
	json_object_object_add(object, "kexec_loaded", loaded == LUCTL_LOADED_UNKNOWN ? NULL :
			       json_object_new_boolean(loaded == LUCTL_LOADED));
	json_object_object_add(object, "last_failure", overview->last.err ?
			       json_failure(overview) : NULL);
	json_object_object_add(object, "subsystems", json_subsystems(overview));
	json_object_object_add(object, "devices", overview->devices.known ?
			       luctl_devices_json(&overview->devices) : NULL);
	json_object_object_add(object, "devices_unnamed",
			       json_object_new_uint64(overview->devices.unnamed));
	json_object_object_add(object, "retained", luctl_retained_json(&overview->retained));
	json_object_object_add(object, "sessions", overview->sessions.complete ?
			       json_sessions(&overview->sessions) : NULL);
	luctl_print_json(object);
}

/* A line of the overview; what a file says is escaped. */
static void print_line(const char *label, const char *text)
{
	char *escaped = luctl_escape(text);

	printf("%-14s %s\n", label, escaped);
	free(escaped);
}

static void print_failure(const struct overview *overview)
{
	static const char *const attempts[] = {
		[LUCTL_ATTEMPT_UNKNOWN]	= "",
		[LUCTL_ATTEMPT_LAST]	= ", in the last attempt",
		[LUCTL_ATTEMPT_EARLIER]	= ", in an earlier attempt",
	};
	const struct luctl_failure *last = &overview->last;
	char *advice, *text, *line;

	if (!last->err) {
		print_line("last failure", "none");
		return;
	}

	advice = luctl_failure_advice(last->transition, last->name, last->err);
	text = luctl_errno_text(last->err);
	line = luctl_format("%s%s%s: %s%s", last->transition, *last->name ? " of " : "", last->name,
			    text, attempts[overview->attempt]);
	print_line("last failure", line);
	free(line);
	line = luctl_failure_details(last);
	if (*line)
		print_line("", line);
	free(line);
	print_line("", advice);
	free(text);
	free(advice);
}

static void print_sessions(const struct overview *overview)
{
	const struct luctl_sessions *sessions = &overview->sessions;
	const char *label = "sessions open";

	for (size_t i = 0; i < sessions->count; i++) {
		const struct luctl_session *session = &sessions->list[i];
		char *line = luctl_format("%s, by %s (%d)", session->name, session->process,
					  session->pid);

		print_line(label, line);
		free(line);
		label = "";
	}
	if (!sessions->complete)
		print_line(label, "not known without root and /proc");
	else if (!sessions->count)
		print_line(label, "none");
	if (!strcmp(overview->state, "updated"))
		print_line("", "the kernel does not tell which nobody has retrieved yet");
}

static void print_devices(const struct luctl_devices *devices)
{
	if (devices->unnamed)
		printf("\nDEVICES take part, %zu at least: their names need root and debugfs\n",
		       devices->unnamed);
	if (!devices->count)
		return;

	printf("\n%-24s %-12s  %s\n", "DEVICE", "IS", "NAME");
	for (size_t i = 0; i < devices->count; i++) {
		const struct luctl_device *device = &devices->list[i];
		char *both = luctl_format("%s %s", device->bus, device->identity);
		char *escaped = luctl_escape(both);
		char *name = luctl_escape(device->name ?: "absent");

		printf("%-24s %-12s  %s\n", escaped, device->is, name);
		free(name);
		free(escaped);
		free(both);
	}
}

static void print_retained(const struct luctl_retained *retained)
{
	if (!retained->count)
		return;

	printf("\n%-32s %12s  %s\n", "RETAINED", "BYTES", "BECAUSE");
	for (size_t i = 0; i < retained->count; i++) {
		const struct luctl_cause *cause = &retained->list[i];
		char *id = luctl_escape(cause->id);
		char *reason = luctl_escape(cause->reason);

		if (cause->bytes)
			printf("%-32s %12llu  %s\n", id, (unsigned long long)cause->bytes, reason);
		else
			printf("%-32s %12s  %s\n", id, "not known", reason);
		free(reason);
		free(id);
	}
}

static void print_subsystems(const struct overview *overview)
{
	printf("\n%-24s %7s %7s  %-9s %-9s %12s\n", "SUBSYSTEM", "WRITES", "READS", "LEVEL",
	       "CLASS", "BYTES");
	for (size_t i = 0; i < overview->count; i++) {
		const struct luctl_subsystem *subsystem = &overview->subsystems[i];
		char *reads = luctl_format("%u-%u", subsystem->oldest, subsystem->version);
		char *name = luctl_escape(subsystem->name);
		char *level = luctl_escape(subsystem->level);

		printf("%-24s %7u %7s  %-9s %-9s %12llu\n", name, subsystem->version, reads,
		       level, subsystem->mandatory ? "mandatory" : "optional",
		       (unsigned long long)subsystem->bytes);
		free(level);
		free(name);
		free(reads);
	}
}

static void print_timeout(const char *label, const char *milliseconds)
{
	char *text = luctl_format("%s ms", milliseconds);

	print_line(label, strcmp(milliseconds, "0") ? text : "none");
	free(text);
}

static void print_overview(const struct overview *overview)
{
	static const char *const images[] = {
		[LUCTL_LOADED_UNKNOWN]	= "unknown",
		[LUCTL_NOT_LOADED]	= "none",
		[LUCTL_LOADED]		= "loaded",
	};
	print_line("state", overview->state);
	print_line("transition", overview->transition);
	print_line("kexec image", images[luctl_image_loaded()]);
	print_timeout("prepare limit", overview->prepare_timeout);
	print_timeout("freeze limit", overview->freeze_timeout);
	print_failure(overview);
	print_sessions(overview);
	print_line("next", strcmp(overview->transition, "idle") ?
		   luctl_stuck_advice(overview->transition) :
		   luctl_next_command(overview->state));

	print_subsystems(overview);
	print_devices(&overview->devices);
	print_retained(&overview->retained);
}

static enum luctl_status read_overview(struct overview *overview)
{
	enum luctl_status status;

	status = luctl_read("state", &overview->state);
	if (!status)
		status = luctl_read("transition", &overview->transition);
	if (!status)
		status = luctl_read(LUCTL_PREPARE_TIMEOUT, &overview->prepare_timeout);
	if (!status)
		status = luctl_read(LUCTL_FREEZE_TIMEOUT, &overview->freeze_timeout);
	if (!status)
		status = luctl_read_failure(&overview->last);
	if (!status)
		status = luctl_subsystems(&overview->subsystems, &overview->count);
	if (!status)
		status = luctl_all_devices(&overview->devices);
	if (status)
		return status;

	luctl_read_retained(&overview->retained);
	luctl_open_sessions(&overview->sessions);
	if (overview->last.err)
		overview->attempt = find_attempt(overview);

	return LUCTL_OK;
}

enum luctl_status luctl_cmd_status(int argc, char **argv)
{
	static const struct argp argp = {
		.doc = "Show the state, what runs and what failed, and all that takes part.\n"
		       "\vFor the last failure it says what to do, and whether it is of the last\n"
		       "attempt if that is known; for the state what comes next. Of a subsystem,\n"
		       "WRITES is the version of the data that it hands over, READS are the\n"
		       "versions it can read, BYTES is what it hands over or was handed. A device\n"
		       "is requested, preserved, and in the next kernel reclaimed or unreclaimed.\n"
		       "What is RETAINED must outlive this kernel: until it is given up there is\n"
		       "neither a prepare nor a kexec.\n"
		       "Sessions are those that a process has open; what was handed over and\n"
		       "nobody retrieved is not told by the kernel.\n",
	};
	struct overview overview = { 0 };
	enum luctl_status status;

	status = luctl_parse(&argp, argc, argv, NULL);
	if (status)
		return status;

	status = read_overview(&overview);
	if (!status && luctl_options.json)
		print_overview_json(&overview);
	else if (!status)
		print_overview(&overview);

	free(overview.state);
	free(overview.transition);
	free(overview.prepare_timeout);
	free(overview.freeze_timeout);
	luctl_drop_failure(&overview.last);
	free(overview.subsystems);
	luctl_drop_devices(&overview.devices);
	luctl_drop_retained(&overview.retained);
	luctl_drop_sessions(&overview.sessions);

	return status;
}
