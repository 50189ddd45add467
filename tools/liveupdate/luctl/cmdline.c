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

static bool is_space(char letter)
{
	return isspace((unsigned char)letter);
}

bool luctl_cmdline_next(char **rest, char **name, char **value)
{
	char *word = *rest, *equals = NULL, *end;
	bool quoted = false, inside;

	while (is_space(*word))
		word++;
	if (!*word) {
		*rest = word;
		return false;
	}

	if (*word == '"') {
		word++;
		quoted = true;
	}
	inside = quoted;
	for (end = word; *end && (inside || !is_space(*end)); end++) {
		if (*end == '=' && !equals)
			equals = end;
		inside ^= *end == '"';
	}
	*rest = *end ? end + 1 : end;
	*end = '\0';
	if (end == word) {
		*name = word;
		*value = NULL;
		return true;
	}

	if (quoted && end[-1] == '"')
		end[-1] = '\0';
	*name = word;
	*value = NULL;
	if (equals) {
		*equals = '\0';
		*value = equals + 1;
		if (**value == '"') {
			(*value)++;
			if (end > *value && end[-1] == '"')
				end[-1] = '\0';
		}
	}

	return *value || strcmp(word, "--");
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
