// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Command lines of kernels
 *
 * Takes a command line apart as the kernel's next_arg() does: parameters are separated
 * by white space that is not quoted, a quote may stand before the parameter or before
 * its value, "--" ends what is for the kernel, and a dash in a name is an underscore.
 */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline.h"
#include "luctl.h"

bool luctl_cmdline_space(char letter)
{
	unsigned char byte = letter;

	return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == 0xa0;
}

/* Find the next word, and what is behind it; NULL if there is none. */
static const char *find_word(const char **rest, size_t *length)
{
	const char *word = *rest, *end;
	bool quoted = false;

	while (luctl_cmdline_space(*word))
		word++;
	for (end = word; *end && (quoted || !luctl_cmdline_space(*end)); end++)
		quoted ^= *end == '"';
	*length = end - word;
	*rest = *end ? end + 1 : end;

	return *word ? word : NULL;
}

/* Take a word apart; false if it is the "--" that ends what is for the kernel. */
static bool split_word(char *word, size_t length, char **name, char **value)
{
	bool quoted = *word == '"';
	char *last = word + length - 1;

	word[length] = '\0';
	*name = quoted ? word + 1 : word;
	/* What starts with it has no name before it. */
	*value = **name ? strchr(*name + 1, '=') : NULL;
	if (*value) {
		*(*value)++ = '\0';
		if (**value == '"') {
			(*value)++;
			if (*last == '"')
				*last = '\0';
		}
	}
	if (quoted && last > word && *last == '"')
		*last = '\0';

	return *value || strcmp(*name, "--");
}

bool luctl_cmdline_next(char **rest, char **name, char **value)
{
	const char *behind = *rest, *word;
	size_t length;

	word = find_word(&behind, &length);
	*rest = (char *)behind;

	return word && split_word((char *)word, length, name, value);
}

const char *luctl_cmdline_word(const char **rest, size_t *length)
{
	const char *behind = *rest, *word = find_word(&behind, length);
	char *copy, *name, *value;
	bool ours;

	if (!word) {
		*rest = behind;
		return NULL;
	}
	copy = luctl_format("%.*s", (int)*length, word);
	ours = split_word(copy, *length, &name, &value);
	free(copy);
	/* "--" stays in front of what it belongs to. */
	*rest = ours ? behind : word;

	return ours ? word : NULL;
}

enum luctl_setting luctl_cmdline_setting(const char *cmdline, const char *name)
{
	char *copy = luctl_format("%s", cmdline), *rest = copy, *word, *value;
	enum luctl_setting setting = LUCTL_NOT_SET;

	while (luctl_cmdline_next(&rest, &word, &value)) {
		bool set = value && luctl_cmdline_is(word, name);
		char first = set ? tolower((unsigned char)*value) : '\0';
		char second = first ? tolower((unsigned char)value[1]) : '\0';

		if (first && (strchr("yt1", first) || (first == 'o' && second == 'n')))
			setting = LUCTL_ON;
		else if (first && (strchr("nf0", first) || (first == 'o' && second == 'f')))
			setting = LUCTL_OFF;
	}
	free(copy);

	return setting;
}

static char dash(char letter)
{
	return letter == '-' ? '_' : letter;
}

bool luctl_cmdline_is(const char *name, const char *word)
{
	for (; *name && dash(*name) == dash(*word); name++)
		word++;

	return !*name && !*word;
}

static unsigned int digit(char letter)
{
	if (isdigit((unsigned char)letter))
		return letter - '0';
	if (isxdigit((unsigned char)letter))
		return tolower((unsigned char)letter) - 'a' + 10;

	return 16;
}

uint64_t luctl_cmdline_size(const char **text)
{
	static const char units[] = "KMGTPE";
	const char *next = *text, *unit;
	unsigned int base = 10;
	uint64_t number = 0;

	if (*next == '0') {
		base = 8;
		if (tolower((unsigned char)next[1]) == 'x' && digit(next[2]) < 16) {
			base = 16;
			next += 2;
		}
	}
	for (; digit(*next) < base; next++)
		number = number * base + digit(*next);

	unit = *next ? strchr(units, toupper((unsigned char)*next)) : NULL;
	if (unit) {
		number <<= 10 * (unit - units + 1);
		next++;
	}
	*text = next;

	return number;
}

char *luctl_cmdline_last(const char *cmdline, const char *name)
{
	char *copy = luctl_format("%s", cmdline), *rest = copy, *found = NULL, *word, *value;

	while (luctl_cmdline_next(&rest, &word, &value)) {
		if (!luctl_cmdline_is(word, name))
			continue;
		free(found);
		found = luctl_format("%s", value ?: "");
	}
	free(copy);

	return found;
}
