// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The state machine as the operator drives it
 *
 * status shows it; prepare, cancel, rehearse and finish are one write(2) each.
 * The kernel decides: nothing is asked before the write, and what the kernel
 * refused is explained afterwards from state, transition and last_failed_*. They
 * are read after the fact, so with several operators at once the explanation may
 * be that of another failure; the exit status never is.
 *
 * The states and errors are those of Documentation/admin-guide/liveupdate.rst.
 */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "luctl.h"

const struct luctl_request luctl_prepare = {
	.command = "prepare", .file = "prepare", .text = "1", .step = "prepare",
	.state = "normal",
};

const struct luctl_request luctl_cancel = {
	.command = "cancel", .file = "prepare", .text = "0", .step = "cancel",
	.state = "prepared",
};

const struct luctl_request luctl_rehearse = {
	.command = "rehearse", .file = "rehearse", .text = "1", .step = "freeze",
	.state = "prepared",
};

const struct luctl_request luctl_finish = {
	.command = "finish", .file = "finish", .text = "1", .step = "finish",
	.state = "updated",
};

/* The last failure since boot; @name is empty if it was the hand-over itself. */
struct failure {
	char *step;
	char *name;
	int err;
};

static enum luctl_status read_failure(struct failure *failure)
{
	enum luctl_status status;
	char *text;

	*failure = (struct failure){ 0 };
	status = luctl_read("last_failed_step", &failure->step);
	if (status)
		return status;
	status = luctl_read("last_failed_name", &failure->name);
	if (status)
		goto err_step;
	status = luctl_read("last_failed_errno", &text);
	if (status)
		goto err_name;
	failure->err = -atoi(text);
	free(text);

	return LUCTL_OK;

err_name:
	free(failure->name);
err_step:
	free(failure->step);
	*failure = (struct failure){ 0 };
	return status;
}

static void drop_failure(struct failure *failure)
{
	free(failure->step);
	free(failure->name);
}

/* What to do about a failure; to be freed. */
static char *advice_for(const char *step, const char *name, int err, bool undone)
{
	const char *after = "; everything is undone";
	char *text;

	if (!strcmp(step, "restore") && !*name)
		return luctl_format("%s",
				    "all that was handed over stays reserved: read the kernel log, and reboot when it suits");
	if (!strcmp(step, "restore"))
		return luctl_format("%s, the others went on; %s",
				    err == EPROTONOSUPPORT ?
				    "this kernel cannot read the version that it was given" :
				    "its documentation says why",
				    "the kernel log lists all that failed; \"luctl finish\" frees what optional ones left");

	if (!strcmp(step, "freeze") && !undone)
		after = "; the machine is still prepared, \"luctl cancel\" leads back";

	switch (err) {
	case ETIMEDOUT:
		text = luctl_format("%s%s",
				    "the kernel log has the stack of who was late: raise --timeout, or see what it waits for",
				    after);
		break;
	case ENOMEM:
		text = luctl_format("free some memory and try again%s", after);
		break;
	case E2BIG:
		text = luctl_format("%s%s", *name ? "it has more to hand over than it can" :
				    "unload modules that take part: one hand-over cannot carry so many",
				    after);
		break;
	default:
		text = luctl_format("see the kernel log%s%s%s",
				    *name ? " and the documentation of " : "", name, after);
		break;
	}

	return text;
}

const char *luctl_next_command(const char *state)
{
	static const struct {
		const char *state, *next;
	} table[] = {
		{ "normal", "\"luctl check\" and \"luctl update\" an image, or \"luctl prepare\"" },
		{ "prepared", "\"luctl rehearse\", \"kexec -e\" to go, or \"luctl cancel\"" },
		{ "frozen", "nothing, reboot(2) is on its way out" },
		{ "updated", "load what modules take part, then \"luctl finish\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (!strcmp(table[i].state, state))
			return table[i].next;
	}

	return "not known, the kernel is newer than this luctl";
}

/* What to do if the transition that runs never ends. */
static const char *stuck_advice(const char *transition)
{
	if (!strncmp(transition, "freeze", 6) || !strncmp(transition, "thaw", 4))
		return "try again when it is idle; if it never is, only a reset helps (SysRq-b)";

	return "try again when it is idle; if it never is, an ordinary reboot is the way out";
}

/* EBUSY: a transition runs, the state is wrong, or the whole system is busy. */
static enum luctl_status report_busy(const struct luctl_request *request,
				     const struct failure *last)
{
	char *state = NULL, *transition = NULL, *advice = NULL;
	enum luctl_status status;

	status = luctl_read("transition", &transition);
	if (!status)
		status = luctl_read("state", &state);
	if (status)
		goto out;

	if (strcmp(transition, "idle")) {
		status = luctl_fail(LUCTL_STATE, request->command, stuck_advice(transition),
				    "a transition runs: %s", transition);
	} else if (strcmp(state, request->state)) {
		advice = luctl_format("in this state: %s", luctl_next_command(state));
		status = luctl_fail(LUCTL_STATE, request->command, advice,
				    "the state is %s, not %s", state, request->state);
	} else if (last->err == EBUSY && !strcmp(last->step, request->step)) {
		advice = advice_for(last->step, last->name, EBUSY, request->undone);
		status = luctl_fail_errno(LUCTL_FAILED, EBUSY,
					  *last->name ? last->name : request->command, advice,
					  "%s failed with ", last->step);
	} else {
		status = luctl_fail(LUCTL_STATE, request->command, "try again",
				    "the system suspends, hibernates or reboots, or a transition has just ended");
	}

out:
	free(advice);
	free(transition);
	free(state);
	return status;
}

static bool timeout_is_set(void)
{
	char *path = luctl_path("prepare_timeout_ms");
	bool set = true;
	void *text;
	size_t size;

	if (!luctl_read_file(path, 64, &text, &size)) {
		set = strtoul(text, NULL, 10) != 0;
		free(text);
	}
	free(path);

	return set;
}

static bool may_write(const char *name)
{
	char *path = luctl_path(name);
	int err = access(path, W_OK) ? errno : 0;

	free(path);
	errno = err;

	return !err;
}

enum luctl_status luctl_refused(const struct luctl_request *request, int err)
{
	enum luctl_status status;
	struct failure last;
	char *advice;
	bool told;

	if (request->file && !may_write(request->file))
		return luctl_no_file(request->file, errno);

	status = read_failure(&last);
	if (status)
		return status;
	told = last.err == err && !strcmp(last.step, request->step);

	if (err == EBUSY) {
		status = report_busy(request, &last);
	} else if (err == EPERM && !told) {
		status = luctl_fail_errno(LUCTL_FAILED, err, request->command,
					  "run luctl as root, with CAP_SYS_BOOT", NULL);
	} else {
		/* A participant may fail with ETIMEDOUT of its own. */
		status = err == ETIMEDOUT && timeout_is_set() ? LUCTL_TIMEOUT : LUCTL_FAILED;
		advice = advice_for(request->step, told ? last.name : "", err, request->undone);
		luctl_fail_errno(status, err, told && *last.name ? last.name : request->command,
				 advice, "%s failed with ", request->step);
		free(advice);
	}
	drop_failure(&last);

	return status;
}

int luctl_request(const struct luctl_request *request)
{
	return luctl_write(request->file, request->text);
}

/* prepare_timeout_ms */

unsigned int luctl_parse_timeout(const struct argp_state *state, const char *text)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || value > INT_MAX)
		argp_error(state, "--timeout takes milliseconds, at most %d, not \"%s\"", INT_MAX,
			   text);

	return value;
}

enum luctl_status luctl_set_timeout(unsigned int milliseconds, unsigned int *before)
{
	enum luctl_status status;
	char *text;
	int err;

	status = luctl_read("prepare_timeout_ms", &text);
	if (status)
		return status;
	*before = strtoul(text, NULL, 10);
	free(text);

	text = luctl_format("%u", milliseconds);
	err = luctl_write("prepare_timeout_ms", text);
	free(text);
	if (!err)
		return LUCTL_OK;
	if (!may_write("prepare_timeout_ms"))
		return luctl_no_file("prepare_timeout_ms", errno);
	if (err == -EBUSY)
		return luctl_fail(LUCTL_STATE, "prepare_timeout_ms",
				  "try again when \"luctl status\" shows it idle",
				  "a transition runs");

	return luctl_fail_errno(LUCTL_FAILED, -err, "prepare_timeout_ms",
				err == -EPERM ? "run luctl as root, with CAP_SYS_BOOT" : NULL,
				NULL);
}

/* Undoing. */

static enum luctl_status undo(const char *file, const char *text, const char *advice)
{
	int err = luctl_write(file, text);

	if (!err)
		return LUCTL_OK;

	return luctl_fail_errno(LUCTL_FAILED, -err, file, advice, "undoing failed with ");
}

enum luctl_status luctl_undo_prepare(void)
{
	return undo(luctl_cancel.file, luctl_cancel.text,
		    "see \"luctl status\"; \"luctl cancel\" leads back");
}

enum luctl_status luctl_undo_timeout(unsigned int before)
{
	char *text = luctl_format("%u", before);
	enum luctl_status status = undo("prepare_timeout_ms", text, "write to it what it is to be");

	free(text);

	return status;
}

/* Commands that are one request. */

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);

	return now.tv_sec + now.tv_nsec / 1e9;
}

static enum luctl_status print_done(const struct luctl_request *request, double seconds)
{
	enum luctl_status status;
	struct json_object *object;
	char *state;

	status = luctl_read("state", &state);
	if (status)
		return status;

	if (luctl_options.json) {
		object = json_object_new_object();
		json_object_object_add(object, "done", json_object_new_string(request->command));
		json_object_object_add(object, "state", json_object_new_string(state));
		json_object_object_add(object, "milliseconds",
				       json_object_new_int64((int64_t)(seconds * 1e3 + 0.5)));
		luctl_print_json(object);
	} else {
		printf("%s: done in %.3f s, the state is %s\n", request->command, seconds, state);
	}
	free(state);

	return LUCTL_OK;
}

static enum luctl_status do_request(const struct luctl_request *request)
{
	double start = seconds_now();
	int err = luctl_request(request);

	if (err)
		return luctl_refused(request, -err);

	return print_done(request, seconds_now() - start);
}

static enum luctl_status run_simple(const struct luctl_request *request, const char *doc,
				    int argc, char **argv)
{
	const struct argp argp = { .doc = doc };
	enum luctl_status status = luctl_parse(&argp, argc, argv, NULL);

	return status ? status : do_request(request);
}

enum luctl_status luctl_cmd_cancel(int argc, char **argv)
{
	return run_simple(&luctl_cancel,
			  "Take a prepare back: prepared -> normal.\n"
			  "\vA loaded kexec image stays loaded.\n",
			  argc, argv);
}

enum luctl_status luctl_cmd_rehearse(int argc, char **argv)
{
	return run_simple(&luctl_rehearse,
			  "Freeze all participants as reboot(2) would, and thaw them again.\n"
			  "\vThe state stays prepared. The workload feels it as a stall of the time\n"
			  "that is printed. Sessions of /dev/liveupdate take no part.\n",
			  argc, argv);
}

enum luctl_status luctl_cmd_finish(int argc, char **argv)
{
	return run_simple(&luctl_finish,
			  "End an update in the new kernel: updated -> normal.\n"
			  "\vWhat was handed over and nobody took is freed if its owner was optional,\n"
			  "and stays reserved until the next boot if it was mandatory. So modules\n"
			  "that take something over are to be loaded before.\n",
			  argc, argv);
}

/* prepare */

#define KEY_TIMEOUT	0x2000

struct prepare_arguments {
	bool limited;
	unsigned int timeout_ms;
};

static error_t parse_prepare(int key, char *text, struct argp_state *state)
{
	struct prepare_arguments *arguments = state->input;

	if (key != KEY_TIMEOUT)
		return ARGP_ERR_UNKNOWN;

	arguments->limited = true;
	arguments->timeout_ms = luctl_parse_timeout(state, text);

	return 0;
}

static int call_request(void *request)
{
	return luctl_request(request);
}

enum luctl_status luctl_cmd_prepare(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "timeout", KEY_TIMEOUT, "MS", 0,
		  "limit for all of prepare, and later for all of freeze, in milliseconds, 0 for none; stays set in prepare_timeout_ms unless prepare fails",
		  0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_prepare,
		.doc = "Prepare all participants for an update: normal -> prepared.\n"
		       "\vEverything slow happens here, while the workload runs. If a participant\n"
		       "fails, all is undone. SIGINT, SIGTERM and SIGHUP undo it as well, as soon\n"
		       "as the kernel has prepared all: participants cannot be interrupted.\n",
	};
	struct prepare_arguments arguments = { 0 };
	enum luctl_status status;
	unsigned int before = 0;
	int err, failed = 0;
	double start;

	status = luctl_parse(&argp, argc, argv, &arguments);
	if (status)
		return status;

	luctl_interrupt_hold();
	if (arguments.limited) {
		status = luctl_set_timeout(arguments.timeout_ms, &before);
		if (status)
			return status;
	}
	start = seconds_now();
	err = luctl_interrupt_run(call_request, (void *)&luctl_prepare, "prepare");
	if (err)
		status = luctl_refused(&luctl_prepare, -err);
	else if (!luctl_interrupted())
		return print_done(&luctl_prepare, seconds_now() - start);

	/* The kernel prepared although a signal came. */
	if (!err)
		failed = luctl_undo_prepare();
	if (arguments.limited)
		failed |= luctl_undo_timeout(before);
	if (failed)
		return LUCTL_FAILED;
	if (status)
		return status;

	return luctl_fail(LUCTL_INTERRUPTED, "prepare", NULL, "SIG%s came, everything is undone",
			  sigabbrev_np(luctl_interrupted()));
}

/* status */

static struct json_object *text_or_null(const char *text)
{
	return text && *text ? json_object_new_string(text) : NULL;
}

struct overview {
	char *state;
	char *transition;
	char *timeout;
	char *loaded;
	struct failure last;
	struct luctl_participant *participants;
	size_t count;
};

static struct json_object *json_failure(const struct failure *last)
{
	struct json_object *object = json_object_new_object();
	char *advice = advice_for(last->step, last->name, last->err, false);

	json_object_object_add(object, "step", json_object_new_string(last->step));
	json_object_object_add(object, "participant", text_or_null(last->name));
	json_object_object_add(object, "errno", luctl_errno_json(last->err));
	json_object_object_add(object, "message", json_object_new_string(strerror(last->err)));
	json_object_object_add(object, "advice", json_object_new_string(advice));
	free(advice);

	return object;
}

static struct json_object *json_participants(const struct overview *overview)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < overview->count; i++) {
		const struct luctl_participant *participant = &overview->participants[i];
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "name", json_object_new_string(participant->name));
		json_object_object_add(object, "version",
				       json_object_new_int64(participant->version));
		json_object_object_add(object, "oldest",
				       json_object_new_int64(participant->oldest));
		json_object_object_add(object, "level",
				       json_object_new_string(participant->level));
		json_object_object_add(object, "mandatory",
				       json_object_new_boolean(participant->mandatory));
		json_object_object_add(object, "bytes",
				       json_object_new_uint64(participant->bytes));
		json_object_array_add(array, object);
	}

	return array;
}

static void print_overview_json(struct overview *overview)
{
	struct json_object *object = json_object_new_object(), *transition = NULL;
	char *name;

	if (strcmp(overview->transition, "idle")) {
		name = overview->transition;
		transition = json_object_new_object();
		json_object_object_add(transition, "step",
				       json_object_new_string(strsep(&name, " ")));
		json_object_object_add(transition, "participant",
				       text_or_null(strsep(&name, " ")));
		json_object_object_add(transition, "part", text_or_null(name));
	}
	json_object_object_add(object, "state", json_object_new_string(overview->state));
	json_object_object_add(object, "transition", transition);
	json_object_object_add(object, "prepare_timeout_ms",
			       json_object_new_int64(atoll(overview->timeout)));
	json_object_object_add(object, "kexec_loaded", overview->loaded ?
			       json_object_new_boolean(*overview->loaded == '1') : NULL);
	json_object_object_add(object, "last_failure", overview->last.err ?
			       json_failure(&overview->last) : NULL);
	json_object_object_add(object, "participants", json_participants(overview));
	luctl_print_json(object);
}

static void print_overview(const struct overview *overview)
{
	const struct failure *last = &overview->last;
	char *advice, *text;

	printf("state          %s\n", overview->state);
	printf("transition     %s\n", overview->transition);
	printf("kexec image    %s\n", !overview->loaded ? "unknown" :
	       *overview->loaded == '1' ? "loaded" : "none");
	printf("timeout        %s%s\n", strcmp(overview->timeout, "0") ? overview->timeout : "none",
	       strcmp(overview->timeout, "0") ? " ms" : "");
	if (last->err) {
		advice = advice_for(last->step, last->name, last->err, false);
		text = luctl_errno_text(last->err);
		printf("last failure   %s%s%s: %s\n", last->step, *last->name ? " of " : "",
		       last->name, text);
		printf("               %s\n", advice);
		free(advice);
		free(text);
	} else {
		printf("last failure   none\n");
	}
	printf("next           %s\n", strcmp(overview->transition, "idle") ?
	       stuck_advice(overview->transition) : luctl_next_command(overview->state));

	printf("\n%-24s %7s %7s  %-9s %-9s %12s\n", "PARTICIPANT", "WRITES", "READS", "LEVEL",
	       "CLASS", "BYTES");
	for (size_t i = 0; i < overview->count; i++) {
		const struct luctl_participant *participant = &overview->participants[i];

		text = luctl_format("%u-%u", participant->oldest, participant->version);
		printf("%-24s %7u %7s  %-9s %-9s %12llu\n", participant->name,
		       participant->version, text, participant->level,
		       participant->mandatory ? "mandatory" : "optional",
		       (unsigned long long)participant->bytes);
		free(text);
	}
}

static enum luctl_status read_overview(struct overview *overview)
{
	enum luctl_status status;
	char *path;
	void *text;
	size_t size;

	status = luctl_read("state", &overview->state);
	if (!status)
		status = luctl_read("transition", &overview->transition);
	if (!status)
		status = luctl_read("prepare_timeout_ms", &overview->timeout);
	if (!status)
		status = read_failure(&overview->last);
	if (!status)
		status = luctl_participants(&overview->participants, &overview->count);
	if (status)
		return status;

	path = luctl_format("%s/kernel/kexec_loaded", luctl_options.sysfs);
	if (!luctl_read_file(path, 64, &text, &size))
		overview->loaded = text;
	free(path);

	return LUCTL_OK;
}

enum luctl_status luctl_cmd_status(int argc, char **argv)
{
	static const struct argp argp = {
		.doc = "Show the state, what runs, what failed last, and the participants.\n"
		       "\vFor the last failure it says what to do, for the state what comes next.\n"
		       "Of a participant, WRITES is the version of the data that it hands over,\n"
		       "READS are the versions it can read, BYTES is what it hands over or was\n"
		       "handed.\n",
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
	free(overview.timeout);
	free(overview.loaded);
	drop_failure(&overview.last);
	free(overview.participants);

	return status;
}
