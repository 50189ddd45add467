// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Output of luctl
 *
 * Errors and JSON. In text mode an error is one line on standard error; with
 * --json everything is on standard output, one object in one line, so that a
 * program that reads lines can also read the rare second error (undoing failed,
 * too).
 *
 * Strings come from the command line and from files and may hold any byte; what
 * is no UTF-8 is replaced, because JSON must be.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luctl.h"

static char *format_list(const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0) {
		fputs("luctl: out of memory\n", stderr);
		exit(LUCTL_FAILED);
	}

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

void luctl_print_json(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(object,
							  JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);

	while (*text) {
		size_t length = utf8_length((const unsigned char *)text);

		if (length)
			fwrite(text, 1, length, stdout);
		else
			fputs("\\ufffd", stdout);
		text += length ? length : 1;
	}
	putchar('\n');
	fflush(stdout);
	json_object_put(object);
}

enum luctl_status luctl_fail(enum luctl_status status, const char *thing,
			     const char *advice, const char *format, ...)
{
	struct json_object *error, *object;
	va_list arguments;
	char *message;

	va_start(arguments, format);
	message = format_list(format, arguments);
	va_end(arguments);

	if (luctl_options.json) {
		error = json_object_new_object();
		json_object_object_add(error, "status", json_object_new_int(status));
		json_object_object_add(error, "thing", json_object_new_string(thing));
		json_object_object_add(error, "message", json_object_new_string(message));
		json_object_object_add(error, "advice",
				       advice ? json_object_new_string(advice) : NULL);
		object = json_object_new_object();
		json_object_object_add(object, "error", error);
		luctl_print_json(object);
	} else {
		fflush(stdout);
		fprintf(stderr, "luctl: %s: %s%s%s\n", thing, message,
			advice ? "; " : "", advice ? advice : "");
	}
	free(message);

	return status;
}
