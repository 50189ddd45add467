// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Output of luctl
 *
 * Errors and JSON. In text mode an error is one line on standard error; with
 * --json everything is on standard output, one object in one line, so that a
 * program that reads lines can also read the rare second error (undoing failed,
 * too). Only if standard output cannot be written, standard error has that object.
 *
 * Strings come from the command line and from files and may hold any byte. In JSON,
 * what is no UTF-8 is replaced; on a terminal, what is not printable is escaped.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "luctl.h"

const struct luctl_status_text luctl_statuses[] = {
	[LUCTL_OK]		= { "ok", "done; of check: go" },
	[LUCTL_FAILED]		= { "refused",
		"the kernel or the system refused; undone, or it says what is not" },
	[LUCTL_USAGE]		= { "usage", "wrong command line" },
	[LUCTL_LOSS]		= { "loss", "go with loss; update needs --allow-loss" },
	[LUCTL_NO_GO]		= { "no-go", "no go" },
	[LUCTL_STATE]		= { "state", "wrong state, or another transition runs" },
	[LUCTL_TIMEOUT]		= { "timeout", "a limit of time passed, undone" },
	[LUCTL_INTERRUPTED]	= { "interrupted", "a signal came; nothing is changed" },
	[LUCTL_UNAVAILABLE]	= { "unavailable",
		"this kernel has no /sys/kernel/liveupdate" },
	[LUCTL_UNREADABLE]	= { "unreadable",
		"a file cannot be read, or is not what it should be" },
	[LUCTL_POLICY]		= { "policy",
		"luctl itself refuses; the advice names the option that overrules it" },
	[LUCTL_OUTPUT]		= { "output",
		"standard output cannot be written; standard error says what was done" },
};

/* There may be none for a report, either. */
static void __attribute((__noreturn__)) out_of_memory(void)
{
	static bool again;

	if (again) {
		fputs("luctl: out of memory\n", stderr);
		_exit(LUCTL_FAILED);
	}
	again = true;
	luctl_fail(LUCTL_FAILED, "memory", "free some and try again", "there is none");
	exit(LUCTL_FAILED);
}

void *luctl_resize(void *memory, size_t count, size_t size)
{
	void *larger = reallocarray(memory, count ? count : 1, size);

	if (!larger)
		out_of_memory();

	return larger;
}

static char *format_list(const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		out_of_memory();

	return text;
}

char *luctl_format(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_list(format, arguments);
	va_end(arguments);

	return text;
}

char *luctl_errno_text(int err)
{
	const char *name = strerrorname_np(err);

	return luctl_format("%s (%s)", name ? name : "unknown error", strerror(err));
}

struct json_object *luctl_errno_json(int err)
{
	const char *name = strerrorname_np(err);
	struct json_object *object;
	char *number;

	if (!err)
		return NULL;
	if (name)
		return json_object_new_string(name);

	number = luctl_format("%d", err);
	object = json_object_new_string(number);
	free(number);

	return object;
}

/* Bytes of the UTF-8 character at @text, 0 if there is none. */
static size_t utf8_length(const unsigned char *text)
{
	static const struct {
		unsigned char mask, lead;
		size_t length;
		uint32_t first;
	} forms[] = {
		{ 0x80, 0x00, 1, 0 },
		{ 0xe0, 0xc0, 2, 0x80 },
		{ 0xf0, 0xe0, 3, 0x800 },
		{ 0xf8, 0xf0, 4, 0x10000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		uint32_t code = text[0] & (unsigned char)~forms[i].mask;

		if ((text[0] & forms[i].mask) != forms[i].lead)
			continue;
		for (size_t k = 1; k < forms[i].length; k++) {
			if ((text[k] & 0xc0) != 0x80)
				return 0;
			code = code << 6 | (text[k] & 0x3f);
		}
		if (code < forms[i].first || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return 0;
		return forms[i].length;
	}

	return 0;
}

static bool is_control(const unsigned char *text)
{
	return *text < ' ' || *text == 0x7f || (*text == 0xc2 && text[1] < 0xa0);
}

char *luctl_escape(const char *text)
{
	char *escaped;
	size_t size;
	FILE *file = open_memstream(&escaped, &size);

	if (!file)
		out_of_memory();
	while (*text) {
		const unsigned char *bytes = (const unsigned char *)text;
		size_t length = utf8_length(bytes);
		bool shown = length && !is_control(bytes);

		text += length ? length : 1;
		if (*bytes == '\\')
			fputs("\\\\", file);
		else if (shown)
			fwrite(bytes, 1, length, file);
		else
			for (; bytes < (const unsigned char *)text; bytes++)
				fprintf(file, "\\x%02x", *bytes);
	}
	if (fclose(file))
		out_of_memory();

	return escaped;
}

/* The first error of standard output. */
static int output_err;

/* A stream remembers that it had an error, but not which. */
static int flush(void)
{
	if (fflush(stdout) && !output_err)
		output_err = errno;
	if (ferror(stdout) && !output_err)
		output_err = EIO;

	return output_err;
}

static void print_json(FILE *file, struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
							  JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);

	while (*text) {
		size_t length = utf8_length((const unsigned char *)text);

		if (length)
			fwrite(text, 1, length, file);
		else
			fputs("\\ufffd", file);
		text += length ? length : 1;
	}
	putc('\n', file);
}

void luctl_print_json(struct json_object *object)
{
	print_json(stdout, object);
	flush();
	json_object_put(object);
}

static struct json_object *json_error(enum luctl_status status, int err, const char *thing,
				      const char *message, const char *advice)
{
	struct json_object *error = json_object_new_object(), *object = json_object_new_object();

	json_object_object_add(error, "status", json_object_new_int(status));
	json_object_object_add(error, "kind",
			       json_object_new_string(luctl_statuses[status].kind));
	json_object_object_add(error, "thing", json_object_new_string(thing));
	json_object_object_add(error, "errno", luctl_errno_json(err));
	json_object_object_add(error, "message", json_object_new_string(message));
	json_object_object_add(error, "advice", advice ? json_object_new_string(advice) : NULL);
	json_object_object_add(object, "error", error);

	return object;
}

static void print_error(const char *thing, const char *message, const char *advice)
{
	char *line = luctl_format("%s: %s%s%s", thing, message, advice ? "; " : "",
				  advice ? advice : "");
	char *escaped = luctl_escape(line);

	flush();
	fprintf(stderr, "luctl: %s\n", escaped);
	free(escaped);
	free(line);
}

char *luctl_error_line(enum luctl_status status, const char *thing, const char *message)
{
	struct json_object *object;
	char *line;

	if (!luctl_options.json)
		return luctl_format("luctl: %s: %s\n", thing, message);

	object = json_error(status, 0, thing, message, NULL);
	line = luctl_format("%s\n", json_object_to_json_string_ext(object,
								   JSON_C_TO_STRING_PLAIN));
	json_object_put(object);

	return line;
}

/* @message is freed. */
static void report(enum luctl_status status, int err, const char *thing, const char *advice,
		   char *message)
{
	struct json_object *object;

	if (luctl_options.json) {
		object = json_error(status, err, thing, message, advice);
		if (status != LUCTL_OUTPUT)
			print_json(stdout, object);
		if (flush())
			print_json(stderr, object);
		json_object_put(object);
	} else {
		print_error(thing, message, advice);
	}
	free(message);
}

enum luctl_status luctl_fail(enum luctl_status status, const char *thing,
			     const char *advice, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(status, 0, thing, advice, format_list(format, arguments));
	va_end(arguments);

	return status;
}

enum luctl_status luctl_fail_errno(enum luctl_status status, int err, const char *thing,
				   const char *advice, const char *format, ...)
{
	char *what, *text = luctl_errno_text(err);
	va_list arguments;

	va_start(arguments, format);
	what = format_list(format ? format : "", arguments);
	va_end(arguments);
	report(status, err, thing, advice, luctl_format("%s%s", what, text));
	free(what);
	free(text);

	return status;
}

enum luctl_status luctl_flush(const char *advice)
{
	static bool reported;
	int err = flush();

	if (!err)
		return LUCTL_OK;
	if (!reported)
		luctl_fail_errno(LUCTL_OUTPUT, err, "standard output", advice, NULL);
	reported = true;

	return LUCTL_OUTPUT;
}

enum luctl_status luctl_print_data(const void *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) != size && !output_err)
		output_err = errno;

	return luctl_flush(NULL);
}
