/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Command lines of kernels
 *
 * See cmdline.c.
 */

#ifndef _LUCTL_CMDLINE_H
#define _LUCTL_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * luctl_cmdline_next() - take the next parameter of a command line
 * @rest: the command line, which is changed; then what is left of it
 * @name: name of the parameter
 * @value: its value, NULL if it has none
 *
 * Return: whether there was one; "--" and what follows it are not the kernel's.
 */
bool luctl_cmdline_next(char **rest, char **name, char **value);

/**
 * luctl_cmdline_word() - take the next parameter as it is written
 * @rest: the command line; then what is left of it
 * @length: length of the parameter, with its quotes
 *
 * Return: where it is; NULL if there is none, and @rest is "--" and what follows it, or
 * empty.
 */
const char *luctl_cmdline_word(const char **rest, size_t *length);

enum luctl_setting { LUCTL_NOT_SET, LUCTL_OFF, LUCTL_ON };

/**
 * luctl_cmdline_setting() - is something switched on?
 * @cmdline: the command line
 * @name: name of a parameter that the kernel reads by kstrtobool()
 *
 * Two letters count, and what they do not tell changes nothing.
 *
 * Return: what the last of several parameters says.
 */
enum luctl_setting luctl_cmdline_setting(const char *cmdline, const char *name);

/* Whether it is white space to the kernel, as 0xa0 is, within whatever character. */
bool luctl_cmdline_space(char letter);

/* Whether this is the name of the parameter @name: '-' and '_' are the same. */
bool luctl_cmdline_is(const char *name, const char *word);

/**
 * luctl_cmdline_size() - a number with a unit, as the kernel's memparse() reads it
 * @text: the text; then what is behind the number
 *
 * Return: the number, which wraps around; 0 if there is none, and @text is as before.
 */
uint64_t luctl_cmdline_size(const char **text);

/**
 * luctl_cmdline_last() - value of the last of several parameters with one name
 * @cmdline: the command line
 * @name: their name
 *
 * Return: the value, "" if it has none, to be freed; NULL without such a parameter.
 */
char *luctl_cmdline_last(const char *cmdline, const char *name);

#endif /* _LUCTL_CMDLINE_H */
