// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Command line of the next kernel
 *
 * "luctl check" judges the command line that "luctl update" loads, so both make it
 * here, of the same options.
 *
 * That of this kernel is used without what boot loaders put there for themselves. As
 * it becomes that of the next kernel, which may be asked to use it again, it must not
 * grow from one update to the next: a word that is added moves to the end if it is
 * there already. All other words stay, with their quotes, and so does what is behind
 * "--", which is for process 1.
 *
 * This kernel has Kexec HandOver switched on, or there would be nothing to update. If
 * its command line does not say so, that is its default; whether it is also that of
 * the next kernel is not known, so kho=on is added.
 */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline.h"
#include "nextline.h"

/* Longer than any kernel takes. */
#define CMDLINE_LIMIT	65536

error_t luctl_line_parse(struct luctl_line *line, int key, const char *text)
{
	switch (key) {
	case LUCTL_KEY_CMDLINE:
		line->text = text;
		return 0;
	case LUCTL_KEY_REUSE_CMDLINE:
		line->reuse = true;
		return 0;
	case LUCTL_KEY_APPEND:
		line->append = text;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void add(char **text, const char *word, size_t length)
{
	char *longer = luctl_format("%s%s%.*s", *text, **text ? " " : "", (int)length, word);

	free(*text);
	*text = longer;
}

static bool has_word(const char *words, const char *word, size_t length)
{
	const char *other;
	size_t size;

	while ((other = luctl_cmdline_word(&words, &size))) {
		if (size == length && !memcmp(other, word, length))
			return true;
	}

	return false;
}

static bool starts(const char *word, size_t length, const char *start)
{
	return length >= strlen(start) && !strncmp(word, start, strlen(start));
}

/* The words of @cmdline but for those in @except, and nothing of a boot loader. */
static char *reuse_words(const char *cmdline, const char *except)
{
	char *text = luctl_format("%s", "");
	const char *word;
	size_t length;

	while ((word = luctl_cmdline_word(&cmdline, &length))) {
		if (starts(word, length, "BOOT_IMAGE=") || starts(word, length, "initrd=") ||
		    has_word(except, word, length))
			continue;
		add(&text, word, length);
	}
	if (*cmdline)
		add(&text, cmdline, strlen(cmdline));

	return text;
}

/* What is for the kernel, up to where it ends; @rest is "--" and the rest, or empty. */
static int kernel_part(const char *cmdline, const char **rest)
{
	const char *word, *end = cmdline;
	size_t length;

	*rest = cmdline;
	while ((word = luctl_cmdline_word(rest, &length)))
		end = word + length;

	return end - cmdline;
}

/* What is for process 1. The dashes may be quoted. */
static const char *behind_dashes(const char *rest)
{
	while (*rest && !luctl_cmdline_space(*rest))
		rest++;
	while (luctl_cmdline_space(*rest))
		rest++;

	return rest;
}

static bool ends_with(const char *text, const char *words)
{
	size_t length = strlen(text), end = strlen(words);

	return length >= end && !strcmp(text + length - end, words) &&
	       (length == end || luctl_cmdline_space(text[length - end - 1]));
}

/*
 * Add words to those of the kernel, and what they have for process 1 to what it is
 * given, unless that ends so already.
 */
static void append_words(char **cmdline, const char *words)
{
	const char *rest, *more;
	int length = kernel_part(*cmdline, &rest), added = kernel_part(words, &more);
	char *text = luctl_format("%.*s", length, *cmdline);

	if (added)
		add(&text, words, added);
	if (*rest)
		add(&text, rest, strlen(rest));
	if (*rest && *more)
		more = behind_dashes(more);
	if (*more && !ends_with(behind_dashes(rest), more))
		add(&text, more, strlen(more));
	free(*cmdline);
	*cmdline = text;
}

/* What follows an open quote belongs to the word that it is in. */
static enum luctl_status need_closed(const char *cmdline, const char *thing)
{
	bool open = false;

	for (; *cmdline; cmdline++)
		open ^= *cmdline == '"';
	if (!open)
		return LUCTL_OK;

	return luctl_fail(LUCTL_USAGE, thing, "close it",
			  "a quote is open, so the kernel takes what follows for one word");
}

static void trim(char *text)
{
	size_t length = strlen(text);

	while (length && isspace((unsigned char)text[length - 1]))
		length--;
	text[length] = '\0';
}

static enum luctl_status read_own(char **cmdline)
{
	size_t size;
	void *data;
	int err;

	err = luctl_read_file("/proc/cmdline", CMDLINE_LIMIT, &data, &size);
	if (err)
		return luctl_fail_errno(LUCTL_UNREADABLE, -err, "/proc/cmdline",
					"give --cmdline", NULL);
	*cmdline = data;
	trim(*cmdline);

	return LUCTL_OK;
}

enum luctl_status luctl_line_make(const struct luctl_line *line, char **cmdline)
{
	enum luctl_status status = LUCTL_OK;
	char *own = NULL, *words = luctl_format("%s", line->append ?: "");

	*cmdline = NULL;
	trim(words);
	if (line->append)
		status = need_closed(line->append, "--append");
	if (!status && line->text) {
		status = need_closed(line->text, "--cmdline");
		*cmdline = luctl_format("%s", line->text);
	} else if (!status && line->reuse) {
		status = read_own(&own);
		if (!status) {
			status = need_closed(own, "/proc/cmdline");
			*cmdline = reuse_words(own, words);
			free(own);
		}
	}
	if (status || !*cmdline)
		goto out;

	if (line->reuse && luctl_cmdline_setting(*cmdline, "kho") == LUCTL_NOT_SET &&
	    luctl_cmdline_setting(words, "kho") == LUCTL_NOT_SET)
		append_words(cmdline, "kho=on");
	if (*words)
		append_words(cmdline, words);
out:
	free(words);

	return status;
}
