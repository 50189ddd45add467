/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: luctl
 *
 * What the parts of luctl share. An object has a file, and a command is one
 * entry of the table in main.c: a function that parses its own arguments with
 * argp(3), does its work through the files of this header, and returns one of
 * &enum luctl_status, which becomes the exit status.
 *
 * Every command prints for people, or with --json one JSON object for programs;
 * both come from the same data. An error is one line that names the thing and
 * the way out; see luctl_fail().
 */

#ifndef _LUCTL_H
#define _LUCTL_H

#include <argp.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define __printf(format, first) __attribute__((__format__(__printf__, format, first)))

/**
 * enum luctl_status - exit status, documented in luctl(8)
 * @LUCTL_OK: done; of check: go.
 * @LUCTL_FAILED: the kernel or the system refused; undone where it was undoable.
 * @LUCTL_USAGE: wrong command line.
 * @LUCTL_LOSS: of check: go with loss.
 * @LUCTL_NO_GO: of check and update: no go.
 * @LUCTL_STATE: wrong state, or another transition runs.
 * @LUCTL_TIMEOUT: prepare_timeout_ms passed, undone.
 * @LUCTL_INTERRUPTED: a signal came, undone.
 * @LUCTL_UNAVAILABLE: this kernel has no /sys/kernel/liveupdate.
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
};

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

/* --json, --sysfs and --help; a child of the argp of each command. main.c */
extern const struct argp luctl_common_argp;

/* Parse @argv of a command with luctl_common_argp as a child of @argp. main.c */
enum luctl_status luctl_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Commands: argv[0] is the name of the command. */
enum luctl_status luctl_cmd_status(int argc, char **argv);	/* state.c */
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
 * @thing: file, participant, image or option that it is about
 * @advice: the way out, or NULL
 * @format: what is wrong
 *
 * Prints "luctl: THING: what is wrong; ADVICE" on standard error, or with --json
 * {"error": {"status": N, "thing": ..., "message": ..., "advice": ...}} on
 * standard output.
 *
 * Return: @status.
 */
__printf(4, 5)
enum luctl_status luctl_fail(enum luctl_status status, const char *thing,
			     const char *advice, const char *format, ...);

/* Print a JSON object on standard output and drop the reference to it. */
void luctl_print_json(struct json_object *object);

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

/* A participant as /sys/kernel/liveupdate/participants has it. */
struct luctl_participant {
	char name[48];
	uint32_t version;
	uint32_t oldest;
	char level[12];
	bool mandatory;
	uint64_t bytes;
};

/* The list of participants, to be freed; errors are reported. */
enum luctl_status luctl_participants(struct luctl_participant **list, size_t *count);

/* check.c: the verdict on an image, for luctl check and luctl update. */

enum luctl_verdict {
	LUCTL_VERDICT_GO,
	LUCTL_VERDICT_LOSS,
	LUCTL_VERDICT_NO_GO,
};

/**
 * luctl_check_image() - can the kernel in an image read what this one hands over?
 * @path: the image
 * @verdict: on success the verdict
 * @report: on success what "luctl check --json" prints, to be dropped with
 *	json_object_put()
 *
 * Return: LUCTL_OK, or the status of an error that was reported, when no verdict
 * was possible.
 */
enum luctl_status luctl_check_image(const char *path, enum luctl_verdict *verdict,
				    struct json_object **report);

#endif /* _LUCTL_H */
