/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Command line of the next kernel
 *
 * See nextline.c.
 */

#ifndef _LUCTL_NEXTLINE_H
#define _LUCTL_NEXTLINE_H

#include <argp.h>
#include <stdbool.h>

#include "luctl.h"

/**
 * struct luctl_line - a command line as it is asked for
 * @text: --cmdline, or NULL
 * @append: --append, or NULL
 * @reuse: --reuse-cmdline
 */
struct luctl_line {
	const char *text;
	const char *append;
	bool reuse;
};

enum {
	LUCTL_KEY_CMDLINE = 0x3000,
	LUCTL_KEY_REUSE_CMDLINE,
	LUCTL_KEY_APPEND,
};

/* What the options are for. */
#define LUCTL_CMDLINE_HELP		"command line of the next kernel"
#define LUCTL_REUSE_CMDLINE_HELP	"that of this kernel, without BOOT_IMAGE= and initrd="
#define LUCTL_APPEND_HELP		"add this to the command line"

/* Take one of these options; 0, or ARGP_ERR_UNKNOWN. */
error_t luctl_line_parse(struct luctl_line *line, int key, const char *text);

/**
 * luctl_line_make() - the command line that the next kernel gets
 * @line: what was asked for
 * @cmdline: it, to be freed; NULL if nothing was asked for
 *
 * Return: LUCTL_OK, or the error that was printed.
 */
enum luctl_status luctl_line_make(const struct luctl_line *line, char **cmdline);

#endif /* _LUCTL_NEXTLINE_H */
