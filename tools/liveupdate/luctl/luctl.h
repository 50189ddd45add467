/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: luctl
 *
 * What the parts of luctl share. An object has a file, and a command is one
 * entry of the table in main.c: a function that parses its own arguments with
 * argp(3), does its work through the files of this header, and returns one of
 * &enum luctl_status, which becomes the exit status.
 *
 * Every command prints for people, or with --json JSON for programs, an object in
 * a line; both come from the same data. An error is one line that names the thing
 * and the way out, and with --json one object, always of the same shape; see
 * luctl_fail(). In an object, "error" is such an object wherever it stands, and
 * "errno" the name of an error number or null.
 */

#ifndef _LUCTL_H
#define _LUCTL_H

#include <argp.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define __printf(format, first) __attribute((__format__(__printf__, format, first)))

/*
 * The exit status. What each one means is in luctl_statuses, from where --help has
 * it; luctl(8) says the same, which a test compares. Numbers are never reused.
 */
enum luctl_status {
	LUCTL_OK,
	LUCTL_FAILED,
	LUCTL_USAGE,
	LUCTL_LOSS,
	LUCTL_NO_GO,
	LUCTL_STATE,
	LUCTL_TIMEOUT,
	LUCTL_INTERRUPTED,
	LUCTL_UNAVAILABLE,
	LUCTL_UNREADABLE,
	LUCTL_POLICY,
	LUCTL_OUTPUT,
	LUCTL_NR_STATUSES,
};

/**
 * struct luctl_status_text - an exit status in words
 * @kind: one word, for programs
 * @meaning: for people
 */
struct luctl_status_text {
	const char *kind;
	const char *meaning;
};

extern const struct luctl_status_text luctl_statuses[LUCTL_NR_STATUSES];	/* output.c */

/**
 * struct luctl_options - what every command understands
 * @json: print JSON.
 * @sysfs: where sysfs is mounted, "/sys" unless --sysfs says otherwise.
 */
struct luctl_options {
	bool json;
	const char *sysfs;
};

extern struct luctl_options luctl_options;

/* --json and --sysfs; luctl_parse() adds it to the argp of each command. main.c */
extern const struct argp luctl_common_argp;

/*
 * Parse @argv of a command with luctl_common_argp as the child of @argp, which has
 * no other children. main.c
 *
 * Does not return for --help, nor after argp_error() and argp_usage(), which end
 * with LUCTL_USAGE and are right for everything the command line alone shows to
 * be wrong; they are reported as luctl_fail() does.
 */
enum luctl_status luctl_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Commands: argv[0] is "luctl NAME". */
enum luctl_status luctl_cmd_status(int argc, char **argv);	/* status.c */
enum luctl_status luctl_cmd_prepare(int argc, char **argv);	/* state.c */
enum luctl_status luctl_cmd_cancel(int argc, char **argv);	/* state.c */
enum luctl_status luctl_cmd_rehearse(int argc, char **argv);	/* state.c */
enum luctl_status luctl_cmd_finish(int argc, char **argv);	/* state.c */
enum luctl_status luctl_cmd_update(int argc, char **argv);	/* update.c */
enum luctl_status luctl_cmd_check(int argc, char **argv);	/* check.c */
enum luctl_status luctl_cmd_timeline(int argc, char **argv);	/* timeline.c */

/* output.c */

/**
 * luctl_fail() - report an error
 * @status: what the command will return
 * @thing: file, subsystem, image or option that it is about
 * @advice: the way out, or NULL
 * @format: what is wrong
 *
 * Prints "luctl: THING: what is wrong; ADVICE" on standard error, or with --json
 * {"error": {"status": N, "kind": ..., "thing": ..., "errno": null, "message": ...,
 * "advice": ...}} on standard output, where kind is that of luctl_statuses and
 * advice may be null.
 *
 * Return: @status.
 */
__printf(4, 5)
enum luctl_status luctl_fail(enum luctl_status status, const char *thing,
			     const char *advice, const char *format, ...);

/**
 * luctl_fail_errno() - report an error that has a number
 * @status: what the command will return
 * @err: the number, positive
 * @thing: file, subsystem, image or option that it is about
 * @advice: the way out, or NULL
 * @format: what is wrong, to which the text of @err is added; NULL if that says all
 *
 * As luctl_fail(), with the name of @err for errno.
 *
 * Return: @status.
 */
__printf(5, 6)
enum luctl_status luctl_fail_errno(enum luctl_status status, int err, const char *thing,
				   const char *advice, const char *format, ...);

/* The line that luctl_fail() would print, for printable text; to be freed. */
char *luctl_error_line(enum luctl_status status, const char *thing, const char *message);

/* Print a JSON object as one line on standard output and drop the reference to it. */
void luctl_print_json(struct json_object *object);

/*
 * What was printed must arrive: LUCTL_OK, or LUCTL_OUTPUT after it was reported, once,
 * with @advice or NULL.
 */
enum luctl_status luctl_flush(const char *advice);

/* Write to standard output, as it is; errors are reported. */
enum luctl_status luctl_print_data(const void *data, size_t size);

/* A formatted string, to be freed. Ends the program if there is no memory. */
__printf(1, 2)
char *luctl_format(const char *format, ...);

/* reallocarray(3) that ends the program if there is no memory. */
void *luctl_resize(void *memory, size_t count, size_t size);

/* "EIO (Input/output error)", to be freed. @err is positive. */
char *luctl_errno_text(int err);

/* "EIO" for programs, null for 0. @err is positive. */
struct json_object *luctl_errno_json(int err);

/*
 * Text that came from outside, as a name in one line on a terminal: what is no
 * printable UTF-8 is escaped as \\xHH, a backslash doubled. To be freed.
 */
char *luctl_escape(const char *text);

/* sysfs.c */

/**
 * luctl_read() - read a text file below <sysfs>/kernel/liveupdate
 * @name: its name
 * @text: on success its text without the last newline, to be freed
 *
 * Return: LUCTL_OK, or the status of an error that was reported.
 */
enum luctl_status luctl_read(const char *name, char **text);

/**
 * luctl_read_file() - read a whole file into memory
 * @path: its path
 * @limit: bytes at most; a larger file is an error of -EFBIG
 * @data: on success the bytes, to be freed, with a zero behind them
 * @size: on success their number
 *
 * Return: 0 or a negative errno; nothing is reported.
 */
int luctl_read_file(const char *path, size_t limit, void **data, size_t *size);

/* A path below <sysfs>/kernel/liveupdate, to be freed. */
char *luctl_path(const char *name);

/**
 * luctl_write() - one write(2) to a file below <sysfs>/kernel/liveupdate
 * @name: its name
 * @text: what to write
 *
 * Return: 0 or a negative errno; nothing is reported.
 */
int luctl_write(const char *name, const char *text);

/* For what is preserved where the next kernel has no memory. */
#define LUCTL_ERANGE_ADVICE	"a driver manages memory in which something is preserved, or scratch memory was removed; the kernel log says which"

/* Why a kernel of this release cannot have Kexec HandOver, to be freed; NULL if it can. */
char *luctl_too_old(const char *release);

/* Report that @name below <sysfs>/kernel/liveupdate cannot be used. @err is positive. */
enum luctl_status luctl_no_file(const char *name, int err);

/* A subsystem as /sys/kernel/liveupdate/subsystems has it, a directory each. */
struct luctl_subsystem {
	char name[48];
	uint32_t version;
	uint32_t oldest;
	char level[12];
	bool mandatory;
	uint64_t bytes;
};

/* The subsystems by level and name, to be freed; errors are reported. */
enum luctl_status luctl_subsystems(struct luctl_subsystem **list, size_t *count);

/* interrupt.c */

/*
 * From now on SIGINT, SIGTERM and SIGHUP wait until luctl_interrupted() asks for them,
 * and a reader of standard output that goes away is an error, no signal.
 */
void luctl_interrupt_hold(void);

/* From now on one of these signals ends @command, which changes nothing. */
void luctl_interrupt_end(const char *command);

/* The first of these signals that came, or 0. */
int luctl_interrupted(void);

/**
 * luctl_interrupt_run() - call what cannot be interrupted, and react meanwhile
 * @call: the function; it runs in a thread of its own
 * @data: its argument
 * @who: what to name when a signal comes and no subsystem runs
 * @undone: a signal leads to undoing it
 *
 * When a signal comes, says at once what that will lead to, on standard error, or
 * with --json as {"interrupt": {"signal": ..., "waits_for": ..., "undone": ...}}.
 *
 * Return: what @call returns.
 */
int luctl_interrupt_run(int (*call)(void *data), void *data, const char *who, bool undone);

/* held.c: what an update holds for others. */

/**
 * struct luctl_device - a device in a live update
 * @bus: name of its bus
 * @identity: identity on that bus
 * @name: its name, NULL if it is absent
 * @is: requested, preserved, reclaimed or unreclaimed
 */
struct luctl_device {
	char *bus;
	char *identity;
	char *name;
	const char *is;
};

/*
 * @known is false if this kernel has no live update of devices. @unnamed is how many it
 * counts whose list cannot be read.
 */
struct luctl_devices {
	struct luctl_device *list;
	size_t count;
	size_t unnamed;
	bool known;
};

/* The devices of one list of the kernel, or of all; errors are reported. */
enum luctl_status luctl_devices(const char *is, struct luctl_devices *devices);
enum luctl_status luctl_all_devices(struct luctl_devices *devices);
struct json_object *luctl_devices_json(const struct luctl_devices *devices);
void luctl_drop_devices(struct luctl_devices *devices);

/**
 * struct luctl_cause - why memory must outlive this kernel
 * @id: name of its directory
 * @reason: why, in words
 * @bytes: how much memory, 0 if that is not known
 */
struct luctl_cause {
	char *id;
	char *reason;
	uint64_t bytes;
};

/* What is retained: nothing in a kernel that does not have that. */
struct luctl_retained {
	struct luctl_cause *list;
	size_t count;
};

void luctl_read_retained(struct luctl_retained *retained);
struct json_object *luctl_retained_json(const struct luctl_retained *retained);
void luctl_drop_retained(struct luctl_retained *retained);

/* A session of /dev/liveupdate that a process has open. */
struct luctl_session {
	char *name;
	char *process;
	int pid;
};

/* @complete is false if not all processes could be looked at. */
struct luctl_sessions {
	struct luctl_session *list;
	size_t count;
	bool complete;
};

void luctl_open_sessions(struct luctl_sessions *sessions);
void luctl_drop_sessions(struct luctl_sessions *sessions);

/* timeline.c, for others; nothing is reported. */

enum luctl_attempt {
	LUCTL_ATTEMPT_UNKNOWN,
	LUCTL_ATTEMPT_LAST,
	LUCTL_ATTEMPT_EARLIER,
};

/* Which attempt had this failure? */
enum luctl_attempt luctl_timeline_attempt(const char *transition, int err);

/* state.c: requests to the state machine, for the commands and luctl update. */

/**
 * struct luctl_failure - the last failure since boot
 * @count: failures since boot, this one included
 * @transition: the transition that failed
 * @name: the subsystem; empty if it was the hand-over itself
 * @err: the error, positive; 0 if there was none
 * @device: device or other part that failed, may be empty
 * @reason: why it did, in words, may be empty
 */
struct luctl_failure {
	unsigned long long count;
	char *transition;
	char *name;
	int err;
	char *device;
	char *reason;
};

/* Errors are reported. */
enum luctl_status luctl_read_failure(struct luctl_failure *failure);
void luctl_drop_failure(struct luctl_failure *failure);

/* Device and reason, as far as they are known, to be freed. */
char *luctl_failure_details(const struct luctl_failure *failure);

/* What to do about a failure, whatever became of the machine; to be freed. */
char *luctl_failure_advice(const char *transition, const char *name, int err);

enum luctl_loaded {
	LUCTL_LOADED_UNKNOWN,
	LUCTL_NOT_LOADED,
	LUCTL_LOADED,
};

enum luctl_loaded luctl_image_loaded(void);

/* Drop the image that is loaded: 0 or a negative errno; nothing is reported. */
int luctl_unload(void);

/**
 * struct luctl_request - a request to the state machine
 * @command: name for people
 * @file: file that takes it, NULL for reboot(2)
 * @text: what to write there
 * @transition: what last_failure/transition says if it fails
 * @state: the state that it needs
 * @undone: a signal, or output that cannot be written, leads to undoing it
 */
struct luctl_request {
	const char *command;
	const char *file;
	const char *text;
	const char *transition;
	const char *state;
	bool undone;
};

extern const struct luctl_request luctl_prepare;
extern const struct luctl_request luctl_cancel;
extern const struct luctl_request luctl_rehearse;
extern const struct luctl_request luctl_finish;
extern const struct luctl_request luctl_jump;

/**
 * luctl_attempt() - make a request and wait for it
 * @request: the request
 * @undone: if it fails or a signal comes, who asks leads back to normal
 *
 * If the kernel refuses it, reports the subsystem that failed, or the state and
 * the command that is right in it, or the transition that runs.
 *
 * Return: LUCTL_OK, or the status of the error that was reported.
 */
enum luctl_status luctl_attempt(const struct luctl_request *request, bool undone);

/* The transitions that have a limit, and the files where it is. */
#define LUCTL_LIMITS		2
#define LUCTL_PREPARE_TIMEOUT	"prepare_timeout_ms"
#define LUCTL_FREEZE_TIMEOUT	"freeze_timeout_ms"

/**
 * struct luctl_limit - a limit that the operator wants
 * @wanted: whether
 * @milliseconds: the limit, 0 is none
 * @set: it was set
 * @before: what it was before
 */
struct luctl_limit {
	bool wanted;
	unsigned int milliseconds;
	bool set;
	unsigned int before;
};

#define LUCTL_KEY_TIMEOUT		0x3100
#define LUCTL_KEY_FREEZE_TIMEOUT	0x3101

/* For parsers of argp: 0, or ARGP_ERR_UNKNOWN if @key is none of these. */
error_t luctl_parse_limit(struct luctl_limit *limits, int key, const struct argp_state *state,
			  const char *text);

/**
 * luctl_set_limits() - write the limits that are wanted
 * @limits: those of prepare and of freeze
 *
 * Return: LUCTL_OK, or the status of an error that was reported; some may be set then.
 */
enum luctl_status luctl_set_limits(struct luctl_limit *limits);

/*
 * Undo luctl_prepare and luctl_set_limits(): LUCTL_OK, or LUCTL_FAILED after it
 * was reported.
 */
enum luctl_status luctl_undo_prepare(void);
enum luctl_status luctl_undo_limits(struct luctl_limit *limits);

/* What may be done in a state. */
const char *luctl_next_command(const char *state);

/* What to do if the transition that runs never ends. */
const char *luctl_stuck_advice(const char *transition);

/* Parse the argument of --timeout; ends the program with LUCTL_USAGE if it is none. */
unsigned int luctl_parse_timeout(const struct argp_state *state, const char *text);

/* file.c: files that are checked and loaded. */

/**
 * struct luctl_file - a file that is opened once
 * @path: what the operator calls it
 * @fd: it
 * @status: what it was when it was opened
 * @data: its bytes, once luctl_file_read() was called
 * @size: their number
 */
struct luctl_file {
	const char *path;
	int fd;
	struct stat status;
	unsigned char *data;
	size_t size;
};

/* Open a regular file: LUCTL_OK, or the status of an error that was reported. */
enum luctl_status luctl_file_open(struct luctl_file *file, const char *path);

/* Read @size bytes from the start, or what there is; their number, or a negative errno. */
ssize_t luctl_file_peek(const struct luctl_file *file, void *data, size_t size);

/* Read all, up to @limit: 0 or a negative errno; nothing is reported. */
int luctl_file_read(struct luctl_file *file, size_t limit);

/* Whether it was written to since it was opened, or has other bytes than were read. */
bool luctl_file_changed(const struct luctl_file *file);

/* Does nothing if it was never opened. */
void luctl_file_close(struct luctl_file *file);

/* check.c: the verdict on an image, for luctl check and luctl update. */

enum luctl_verdict {
	LUCTL_VERDICT_GO,
	LUCTL_VERDICT_LOSS,
	LUCTL_VERDICT_NO_GO,
};

/**
 * struct luctl_next - what is to be checked
 * @image: the next kernel, opened
 * @from: image of the kernel before it, NULL for the one that runs
 * @initrd: its initramfs, opened; NULL for none
 * @cmdline: its command line, NULL if that is not known
 */
struct luctl_next {
	struct luctl_file *image;
	const char *from;
	const struct luctl_file *initrd;
	const char *cmdline;
};

/**
 * luctl_check_next() - can a kernel read what the one before hands over, and boot?
 * @next: the kernel
 * @verdict: on success the verdict
 * @report: on success what "luctl check --json" prints, to be dropped with
 *	json_object_put()
 *
 * Return: LUCTL_OK, or the status of an error that was reported, when no verdict
 * was possible.
 */
enum luctl_status luctl_check_next(const struct luctl_next *next, enum luctl_verdict *verdict,
				   struct json_object **report);

/* Print what is not go in a report, and what could not be judged. */
void luctl_print_findings(FILE *file, struct json_object *report);

#endif /* _LUCTL_H */
