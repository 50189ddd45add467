// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: The state machine as the operator drives it
 *
 * prepare, cancel, rehearse and finish are one write(2) each, the kexec is one
 * reboot(2). The kernel decides, and what it refused is explained afterwards from
 * state, transition and last_failure.
 *
 * That tells of the last failure since boot, whoever caused it, and how many there
 * were; a request that is refused before it begins is none. So the number is read
 * before and after: a failure that came meanwhile belongs to the request. With several
 * operators at once the explanation may be that of another failure; the exit status
 * never is.
 *
 * The kernel refuses to finish while something waits, such as a device for its driver,
 * and names it. luctl itself looks at all devices before, to name more than the first.
 *
 * The states and errors are those of Documentation/admin-guide/liveupdate.rst.
 */

#include <errno.h>
#include <limits.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "luctl.h"

const struct luctl_request luctl_prepare = {
	.command = "prepare", .file = "prepare", .text = "1", .transition = "prepare",
	.state = "normal", .undone = true,
};

const struct luctl_request luctl_cancel = {
	.command = "cancel", .file = "prepare", .text = "0", .transition = "cancel",
	.state = "prepared",
};

const struct luctl_request luctl_rehearse = {
	.command = "rehearse", .file = "rehearse", .text = "1", .transition = "freeze",
	.state = "prepared",
};

const struct luctl_request luctl_finish = {
	.command = "finish", .file = "finish", .text = "1", .transition = "finish",
	.state = "updated",
};

/* Although something waits. */
static const struct luctl_request luctl_give_up = {
	.command = "finish", .file = "finish", .text = "2", .transition = "finish",
	.state = "updated",
};

static const char *const luctl_limit_files[LUCTL_LIMITS] = {
	LUCTL_PREPARE_TIMEOUT,
	LUCTL_FREEZE_TIMEOUT,
};

const struct luctl_request luctl_jump = {
	.command = "reboot", .transition = "freeze", .state = "prepared",
};

/* Failures */

/* The subsystem of devices. */
#define DEVICES	"devices"

/* How often to read a failure while others come. */
#define READ_ATTEMPTS	10

static enum luctl_status read_count(unsigned long long *count)
{
	enum luctl_status status;
	char *text;

	status = luctl_read("last_failure/count", &text);
	if (status)
		return status;
	*count = strtoull(text, NULL, 10);
	free(text);

	return LUCTL_OK;
}

static enum luctl_status read_fields(struct luctl_failure *failure)
{
	const struct {
		const char *file;
		char **text;
	} fields[] = {
		{ "last_failure/transition", &failure->transition },
		{ "last_failure/subsystem", &failure->name },
		{ "last_failure/device", &failure->device },
		{ "last_failure/reason", &failure->reason },
	};
	enum luctl_status status = LUCTL_OK;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(fields) && !status; i++)
		status = luctl_read(fields[i].file, fields[i].text);
	if (!status)
		status = luctl_read("last_failure/errno", &text);
	if (status)
		return status;
	failure->err = -atoi(text);
	free(text);

	return LUCTL_OK;
}

enum luctl_status luctl_read_failure(struct luctl_failure *failure)
{
	unsigned long long count = 0;
	enum luctl_status status;

	*failure = (struct luctl_failure){ 0 };
	status = read_count(&count);
	for (int i = 0; i < READ_ATTEMPTS && !status; i++) {
		luctl_drop_failure(failure);
		failure->count = count;
		status = read_fields(failure);
		if (!status)
			status = read_count(&count);
		if (count == failure->count)
			break;
	}
	if (status)
		luctl_drop_failure(failure);

	return status;
}

void luctl_drop_failure(struct luctl_failure *failure)
{
	free(failure->transition);
	free(failure->name);
	free(failure->device);
	free(failure->reason);
	*failure = (struct luctl_failure){ 0 };
}

char *luctl_failure_details(const struct luctl_failure *failure)
{
	return luctl_format("%s%s%s", failure->device,
			    *failure->device && *failure->reason ? ": " : "", failure->reason);
}

static bool timeout_is_set(const char *file)
{
	char *path = luctl_path(file);
	bool set = false;
	void *text;
	size_t size;

	if (!luctl_read_file(path, 64, &text, &size)) {
		set = strtoul(text, NULL, 10) != 0;
		free(text);
	}
	free(path);

	return set;
}

/* Only they have a deadline. */
static bool timed_out(const char *transition, int err)
{
	if (err != ETIMEDOUT)
		return false;

	return (!strcmp(transition, "prepare") && timeout_is_set(LUCTL_PREPARE_TIMEOUT)) ||
	       (!strcmp(transition, "freeze") && timeout_is_set(LUCTL_FREEZE_TIMEOUT));
}

static char *restore_advice(const char *name, int err)
{
	if (!*name)
		return luctl_format("%s",
				    "all that was handed over is retained: read the kernel log, and reboot through firmware when it suits");

	return luctl_format("%s, the others went on; %s",
			    err == EPROTONOSUPPORT ?
			    "this kernel cannot read the version that it was given" :
			    "its documentation says why",
			    "the kernel log lists all that failed; \"luctl finish\" frees what optional ones left");
}

/* Everybody is frozen, and the kexec cannot happen. */
static const char *hand_over_advice(int err)
{
	if (err == ESTALE)
		return "memory was added or removed since the image was loaded, load it again";
	if (err == ERANGE)
		return LUCTL_ERANGE_ADVICE;
	if (err == ENOMEM)
		return "free some memory and try again";

	return "a session of /dev/liveupdate may have refused; see the kernel log";
}

char *luctl_failure_advice(const char *transition, const char *name, int err)
{
	if (!strcmp(transition, "restore"))
		return restore_advice(name, err);
	if (!strcmp(transition, "finish") && err == EBUSY)
		return luctl_format("%s",
				    "retrieve it or load what takes it over; or give --give-up, which drops it");
	if (!strcmp(transition, "freeze") && !*name)
		return luctl_format("%s", hand_over_advice(err));

	switch (err) {
	case ETIMEDOUT:
		if (timed_out(transition, err))
			return luctl_format("%s: raise --%stimeout, or see what it waits for",
					    "the kernel log has the stack of who was late",
					    strcmp(transition, "freeze") ? "" : "freeze-");
		return luctl_format("%s",
				    "no limit is set, it gave up by itself: see the kernel log and its documentation");
	case ENOMEM:
		return luctl_format("free some memory and try again");
	case E2BIG:
		return luctl_format("%s", *name ? "it has more to hand over than it can" :
				    "unload modules that take part: one hand-over cannot carry so many");
	default:
		return luctl_format("see the kernel log%s%s",
				    *name ? " and the documentation of " : "", name);
	}
}

/* What became of the machine, to be added to an advice. */
static const char *outcome(bool undone)
{
	const char *text = "";
	char *state;

	if (undone)
		return "; everything is undone";
	if (luctl_read("state", &state))
		return "";
	if (!strcmp(state, "normal"))
		text = "; everything is undone";
	else if (!strcmp(state, "prepared"))
		text = "; the machine is still prepared, \"luctl cancel\" leads back";
	free(state);

	return text;
}

/* The image */

enum luctl_loaded luctl_image_loaded(void)
{
	char *path = luctl_format("%s/kernel/kexec_loaded", luctl_options.sysfs);
	enum luctl_loaded loaded = LUCTL_LOADED_UNKNOWN;
	size_t size;
	void *text;

	if (!luctl_read_file(path, 64, &text, &size)) {
		loaded = *(char *)text == '1' ? LUCTL_LOADED : LUCTL_NOT_LOADED;
		free(text);
	}
	free(path);

	return loaded;
}

int luctl_unload(void)
{
	return syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL,
		       (unsigned long)KEXEC_FILE_UNLOAD) ? -errno : 0;
}

const char *luctl_next_command(const char *state)
{
	static const struct {
		const char *state, *next, *loaded;
	} table[] = {
		{ "normal", "\"luctl check\" and \"luctl update\" an image, or \"luctl prepare\"",
		  "\"luctl prepare\", or drop the image that is loaded with \"kexec -u\"" },
		{ "prepared", "load an image with \"kexec -s -l\", or \"luctl cancel\"",
		  "go with \"systemctl kexec\" or \"kexec -e\", or \"luctl cancel --unload\"" },
		{ "frozen", "nothing, reboot(2) is on its way out", NULL },
		{ "updated", "load what modules take part, then \"luctl finish\"", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strcmp(table[i].state, state))
			continue;
		if (table[i].loaded && luctl_image_loaded() != LUCTL_NOT_LOADED)
			return table[i].loaded;
		return table[i].next;
	}

	return "not known, the kernel is newer than this luctl";
}

const char *luctl_stuck_advice(const char *transition)
{
	if (!strncmp(transition, "freeze", 6) || !strncmp(transition, "thaw", 4))
		return "try again when it is idle; if it never is, only a reset helps (SysRq-b)";

	return "try again when it is idle; if it never is, an ordinary reboot is the way out";
}

/* Requests */

struct attempt {
	const struct luctl_request *request;
	bool undone;
	int err;

	/* Failures before the request, and what failed last after it. */
	unsigned long long before;
	struct luctl_failure now;
};

/* Did the transition fail, or was the request refused before that? */
static bool has_failed(const struct attempt *attempt)
{
	const struct luctl_failure *now = &attempt->now;

	return now->count != attempt->before && now->err == attempt->err &&
	       !strcmp(now->transition, attempt->request->transition);
}

static enum luctl_status report_failure(const struct attempt *attempt)
{
	const struct luctl_failure *now = &attempt->now;
	const char *transition = attempt->request->transition;
	enum luctl_status status = timed_out(transition, attempt->err) ?
				   LUCTL_TIMEOUT : LUCTL_FAILED;
	char *advice = luctl_failure_advice(transition, now->name, attempt->err);
	char *full = luctl_format("%s%s", advice, outcome(attempt->undone));
	char *details = luctl_failure_details(now);

	if (!strcmp(transition, luctl_finish.transition) && attempt->err == EBUSY)
		status = LUCTL_POLICY;
	luctl_fail_errno(status, attempt->err, *now->name ? now->name : attempt->request->command,
			 full, "%s%s%s failed with ", details, *details ? "; " : "", transition);
	free(details);
	free(full);
	free(advice);

	return status;
}

/* Does the kernel refuse this because it would lose what is retained? */
static bool is_retained(const struct attempt *attempt, struct luctl_retained *retained)
{
	const struct luctl_request *request = attempt->request;
	char *state;

	*retained = (struct luctl_retained){ 0 };
	if (attempt->err != EBUSY || (request != &luctl_prepare && request != &luctl_jump) ||
	    luctl_read("state", &state))
		return false;
	/* In another state it is that which it refuses. */
	if (request == &luctl_jump || !strcmp(state, request->state))
		luctl_read_retained(retained);
	free(state);

	return retained->count;
}

static enum luctl_status report_retained(const struct attempt *attempt,
					 const struct luctl_retained *retained)
{
	const struct luctl_cause *cause = retained->list;
	static const char format[] =
		"reboot through firmware, or write 1 to retained/%s/forget if nothing uses it%s";
	char *advice = luctl_format(format, cause->id, outcome(attempt->undone));
	char *more = retained->count > 1 ?
		     luctl_format(" and %zu more", retained->count - 1) : luctl_format("%s", "");
	enum luctl_status status;

	status = luctl_fail_errno(LUCTL_FAILED, attempt->err, cause->id, advice,
				  "retained%s, because %s; %s failed with ", more, cause->reason,
				  attempt->request->transition);
	free(more);
	free(advice);

	return status;
}

/* EBUSY: a transition runs, the state is wrong, or the whole system is busy. */
static enum luctl_status report_busy(const struct attempt *attempt)
{
	const struct luctl_request *request = attempt->request;
	char *state = NULL, *transition = NULL, *advice = NULL;
	enum luctl_status status;

	status = luctl_read("transition", &transition);
	if (!status)
		status = luctl_read("state", &state);
	if (status)
		goto out;

	if (strcmp(transition, "idle")) {
		status = luctl_fail(LUCTL_STATE, request->command, luctl_stuck_advice(transition),
				    "a transition runs: %s", transition);
	} else if (strcmp(state, request->state)) {
		advice = luctl_format("in this state: %s", luctl_next_command(state));
		status = luctl_fail(LUCTL_STATE, request->command, advice,
				    "the state is %s, not %s", state, request->state);
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

/* reboot(2) failed before a transition began. */
static const char *jump_advice(int err)
{
	if (err == EPERM)
		return "run luctl as root, with CAP_SYS_BOOT";
	if (err == EINVAL && luctl_image_loaded() == LUCTL_NOT_LOADED)
		return "no image is loaded any more";
	if (err == EINVAL)
		return "the image cannot be handed anything; see the kernel log";

	return hand_over_advice(err);
}

/* The kernel refused before a transition began, or for a reason that it does not tell. */
static enum luctl_status report_refusal(const struct attempt *attempt)
{
	const struct luctl_request *request = attempt->request;
	enum luctl_status status;
	char *advice;

	advice = luctl_format("%s%s", !request->file ? jump_advice(attempt->err) :
			      attempt->err == EPERM ? "run luctl as root, with CAP_SYS_BOOT" :
			      "see the kernel log", outcome(attempt->undone));
	status = luctl_fail_errno(LUCTL_FAILED, attempt->err, request->command, advice,
				  "%s failed with ",
				  request->file ? request->transition : "reboot(2)");
	free(advice);

	return status;
}

static bool may_write(const char *name)
{
	char *path = luctl_path(name);
	int err = access(path, W_OK) ? errno : 0;

	free(path);
	errno = err;

	return !err;
}

static enum luctl_status explain(struct attempt *attempt)
{
	const struct luctl_request *request = attempt->request;
	struct luctl_retained retained;
	enum luctl_status status;

	if (request->file && !may_write(request->file))
		return luctl_no_file(request->file, errno);
	if (is_retained(attempt, &retained)) {
		status = report_retained(attempt, &retained);
		luctl_drop_retained(&retained);
		return status;
	}
	status = luctl_read_failure(&attempt->now);
	if (status)
		return status;

	if (has_failed(attempt))
		return report_failure(attempt);
	if (attempt->err == EBUSY)
		return report_busy(attempt);

	return report_refusal(attempt);
}

static int call_request(void *data)
{
	const struct luctl_request *request = data;

	return luctl_write(request->file, request->text);
}

static int jump(void)
{
	if (!reboot(RB_KEXEC))
		errno = EIO;

	return -errno;
}

enum luctl_status luctl_attempt(const struct luctl_request *request, bool undone)
{
	struct attempt attempt = { .request = request, .undone = undone };
	enum luctl_status status;

	status = read_count(&attempt.before);
	if (status)
		return status;

	if (request->file)
		attempt.err = -luctl_interrupt_run(call_request, (void *)request,
						   request->command, undone || request->undone);
	else
		attempt.err = -jump();
	if (attempt.err)
		status = explain(&attempt);
	luctl_drop_failure(&attempt.now);

	return status;
}

/* prepare_timeout_ms and freeze_timeout_ms */

unsigned int luctl_parse_timeout(const struct argp_state *state, const char *text)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || value > INT_MAX)
		argp_error(state, "it takes milliseconds, at most %d, not \"%s\"", INT_MAX,
			   text);

	return value;
}

static enum luctl_status set_timeout(const char *file, unsigned int milliseconds,
				     unsigned int *before)
{
	enum luctl_status status;
	char *text;
	int err;

	status = luctl_read(file, &text);
	if (status)
		return status;
	*before = strtoul(text, NULL, 10);
	free(text);

	text = luctl_format("%u", milliseconds);
	err = luctl_write(file, text);
	free(text);
	if (!err)
		return LUCTL_OK;
	if (!may_write(file))
		return luctl_no_file(file, errno);
	if (err == -EBUSY)
		return luctl_fail(LUCTL_STATE, file,
				  "try again when \"luctl status\" shows it idle",
				  "a transition runs");

	return luctl_fail_errno(LUCTL_FAILED, -err, file,
				err == -EPERM ? "run luctl as root, with CAP_SYS_BOOT" : NULL,
				NULL);
}

enum luctl_status luctl_set_limits(struct luctl_limit *limits)
{
	enum luctl_status status = LUCTL_OK;

	for (size_t i = 0; i < LUCTL_LIMITS && !status; i++) {
		struct luctl_limit *limit = &limits[i];

		if (!limit->wanted)
			continue;
		status = set_timeout(luctl_limit_files[i], limit->milliseconds, &limit->before);
		limit->set = !status;
	}

	return status;
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

enum luctl_status luctl_undo_limits(struct luctl_limit *limits)
{
	enum luctl_status status = LUCTL_OK;

	for (size_t i = 0; i < LUCTL_LIMITS; i++) {
		char *text = luctl_format("%u", limits[i].before);

		if (limits[i].set && undo(luctl_limit_files[i], text, "write the limit to it"))
			status = LUCTL_FAILED;
		limits[i].set = false;
		free(text);
	}

	return status;
}

/* Commands that are one request. */

static double microseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);

	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* @more is a line for people, or NULL; @name and @value a member for programs. */
static enum luctl_status print_done(const struct luctl_request *request, double microseconds,
				    const char *more, const char *name,
				    struct json_object *value)
{
	struct json_object *object = json_object_new_object();
	enum luctl_status status;
	char *state, *done;

	status = luctl_read("state", &state);
	if (status) {
		json_object_put(value);
		json_object_put(object);
		return status;
	}

	if (luctl_options.json) {
		json_object_object_add(object, "done", json_object_new_string(request->command));
		json_object_object_add(object, "state", json_object_new_string(state));
		json_object_object_add(object, "microseconds",
				       json_object_new_int64((int64_t)(microseconds + 0.5)));
		if (name)
			json_object_object_add(object, name, json_object_get(value));
		luctl_print_json(json_object_get(object));
	} else {
		printf("%s: done in %.6f s, the state is %s\n%s", request->command,
		       microseconds / 1e6, state, more ?: "");
	}
	json_object_put(object);
	json_object_put(value);

	done = luctl_format("%s is done, the state is %s", request->command, state);
	status = luctl_flush(request->undone ? "so it is undone" : done);
	free(done);
	free(state);

	return status;
}

static enum luctl_status run_simple(const struct luctl_request *request, const char *doc,
				    int argc, char **argv)
{
	const struct argp argp = { .doc = doc };
	enum luctl_status status = luctl_parse(&argp, argc, argv, NULL);
	double start = microseconds_now();

	if (!status)
		status = luctl_attempt(request, false);

	return status ? status : print_done(request, microseconds_now() - start, NULL, NULL, NULL);
}

enum luctl_status luctl_cmd_rehearse(int argc, char **argv)
{
	return run_simple(&luctl_rehearse,
			  "Freeze all subsystems as reboot(2) would, and thaw them again.\n"
			  "\vThe state stays prepared. The workload feels it as a stall of the time\n"
			  "that is printed. Sessions of /dev/liveupdate take no part. A signal\n"
			  "changes nothing.\n",
			  argc, argv);
}

/* cancel */

#define KEY_UNLOAD	0x2000

static error_t parse_cancel(int key, char *text, struct argp_state *state)
{
	bool *unload = state->input;

	(void)text;
	if (key != KEY_UNLOAD)
		return ARGP_ERR_UNKNOWN;
	*unload = true;

	return 0;
}

enum luctl_status luctl_cmd_cancel(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "unload", KEY_UNLOAD, NULL, 0, "drop the image that is loaded, too", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_cancel,
		.doc = "Take a prepare back: prepared -> normal.\n"
		       "\vAn image that is loaded stays loaded without --unload: \"kexec -e\" would\n"
		       "jump into it, and so would a reboot by systemd, which prefers kexec then.\n"
		       "A signal changes nothing.\n",
	};
	static const char stays_loaded[] =
		"the image stays loaded, and systemd would make a kexec of a reboot;\n"
		"\"kexec -u\" drops it\n";
	double start = microseconds_now();
	enum luctl_status status;
	enum luctl_loaded loaded;
	bool unload = false;
	int err = 0;

	status = luctl_parse(&argp, argc, argv, &unload);
	if (!status)
		status = luctl_attempt(&luctl_cancel, false);
	if (status)
		return status;

	if (unload)
		err = luctl_unload();
	loaded = luctl_image_loaded();
	status = print_done(&luctl_cancel, microseconds_now() - start,
			    loaded == LUCTL_LOADED ? stays_loaded : NULL, "kexec_loaded",
			    loaded == LUCTL_LOADED_UNKNOWN ? NULL :
			    json_object_new_boolean(loaded == LUCTL_LOADED));
	if (err)
		status = luctl_fail_errno(LUCTL_FAILED, -err, "cancel",
					  "unload it with \"kexec -u\"",
					  "cancelled, but the image cannot be unloaded: ");

	return status;
}

/* finish */

#define KEY_GIVE_UP	0x2000

/* How many devices a line names. */
#define NAMED	8

static error_t parse_finish(int key, char *text, struct argp_state *state)
{
	bool *give_up = state->input;

	(void)text;
	if (key != KEY_GIVE_UP)
		return ARGP_ERR_UNKNOWN;
	*give_up = true;

	return 0;
}

/* The first of them, for people. */
static char *name_devices(const struct luctl_devices *devices)
{
	char *text = luctl_format("%s", "");

	for (size_t i = 0; i < devices->count && i < NAMED; i++) {
		const struct luctl_device *device = &devices->list[i];
		char *longer = luctl_format("%s%s%s %s%s", text, *text ? ", " : "", device->bus,
					    device->identity, device->name ? "" : " (absent)");

		free(text);
		text = longer;
	}
	if (devices->unnamed) {
		free(text);
		return luctl_format("%zu, whose names need root and debugfs", devices->unnamed);
	}
	if (devices->count > NAMED) {
		char *longer = luctl_format("%s and %zu more", text, devices->count - NAMED);

		free(text);
		text = longer;
	}

	return text;
}

/* May it be finished? If not, that is reported. */
static enum luctl_status nothing_waits(const struct luctl_devices *waiting)
{
	enum luctl_status status;
	char *state, *names;

	/* In another state the kernel refuses, and says why. */
	status = luctl_read("state", &state);
	if (status)
		return status;
	if (!strcmp(state, luctl_finish.state) &&
	    (waiting->count || waiting->unnamed)) {
		names = name_devices(waiting);
		status = luctl_fail(LUCTL_POLICY, DEVICES,
				    "load their drivers and wait, \"luctl status\" shows them; or give --give-up, which stops them",
				    "not reclaimed yet: %s", names);
		free(names);
	}
	free(state);

	return status;
}

enum luctl_status luctl_cmd_finish(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "give-up", KEY_GIVE_UP, NULL, 0,
		  "finish although devices or sessions wait; what ran on such devices ends", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_finish,
		.doc = "End an update in the new kernel: updated -> normal.\n"
		       "\vWhat was handed over and nobody took is freed if its owner was optional,\n"
		       "and is retained if it was mandatory: then there is no other update and no\n"
		       "kexec. So modules that take something over are to be loaded before. While\n"
		       "devices are unreclaimed, a session of /dev/liveupdate is not retrieved, or a\n"
		       "subsystem says that something waits, it refuses and names it. Sessions\n"
		       "can be retrieved afterwards as well. A signal changes nothing.\n",
	};
	double start = microseconds_now();
	struct luctl_devices waiting;
	enum luctl_status status;
	bool give_up = false;
	char *names, *line;

	status = luctl_parse(&argp, argc, argv, &give_up);
	if (!status)
		status = luctl_devices("unreclaimed", &waiting);
	if (status)
		return status;

	if (!give_up)
		status = nothing_waits(&waiting);
	if (!status)
		status = luctl_attempt(give_up ? &luctl_give_up : &luctl_finish, false);
	if (!status) {
		names = name_devices(&waiting);
		line = luctl_format("given up: %s\n", names);
		status = print_done(&luctl_finish, microseconds_now() - start,
				    waiting.count || waiting.unnamed ? line : NULL, "given_up",
				    luctl_devices_json(&waiting));
		free(line);
		free(names);
	}
	luctl_drop_devices(&waiting);

	return status;
}

/* prepare */

error_t luctl_parse_limit(struct luctl_limit *limits, int key, const struct argp_state *state,
			  const char *text)
{
	struct luctl_limit *limit = &limits[key == LUCTL_KEY_FREEZE_TIMEOUT];

	if (key != LUCTL_KEY_TIMEOUT && key != LUCTL_KEY_FREEZE_TIMEOUT)
		return ARGP_ERR_UNKNOWN;

	limit->wanted = true;
	limit->milliseconds = luctl_parse_timeout(state, text);

	return 0;
}

static error_t parse_prepare(int key, char *text, struct argp_state *state)
{
	return luctl_parse_limit(state->input, key, state, text);
}

enum luctl_status luctl_cmd_prepare(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "timeout", LUCTL_KEY_TIMEOUT, "MS", 0,
		  "limit for all of prepare, in milliseconds, 0 for none; stays set in prepare_timeout_ms unless prepare fails",
		  0 },
		{ "freeze-timeout", LUCTL_KEY_FREEZE_TIMEOUT, "MS", 0,
		  "likewise, later, for all of freeze, in freeze_timeout_ms", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse_prepare,
		.doc = "Prepare all subsystems for an update: normal -> prepared.\n"
		       "\vEverything slow happens here, while the workload runs. If a subsystem\n"
		       "fails, all is undone. SIGINT, SIGTERM and SIGHUP undo it as well, as soon\n"
		       "as the kernel has prepared all: subsystems cannot be interrupted. It is\n"
		       "also undone if that it is done cannot be told on standard output.\n",
	};
	struct luctl_limit limits[LUCTL_LIMITS] = { 0 };
	enum luctl_status status, failed = LUCTL_OK;
	double start;

	status = luctl_parse(&argp, argc, argv, limits);
	if (status)
		return status;

	status = luctl_set_limits(limits);
	if (status) {
		luctl_undo_limits(limits);
		return status;
	}
	start = microseconds_now();
	status = luctl_attempt(&luctl_prepare, false);
	if (!status) {
		if (!luctl_interrupted())
			status = print_done(&luctl_prepare, microseconds_now() - start, NULL, NULL,
					    NULL);
		if (!status && !luctl_interrupted())
			return LUCTL_OK;
		/* The kernel prepared, but that is of no use. */
		failed = luctl_undo_prepare();
	}
	failed |= luctl_undo_limits(limits);
	if (failed)
		return LUCTL_FAILED;
	if (status)
		return status;

	return luctl_fail(LUCTL_INTERRUPTED, "prepare", NULL, "SIG%s came, everything is undone",
			  sigabbrev_np(luctl_interrupted()));
}
