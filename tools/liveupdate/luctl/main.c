// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl
 *
 * Runs one command of the table. Common options come before or after its name.
 * Help is written by argp(3): the text of a command is in its file, its name,
 * its one line and the statuses it may exit with are here, once.
 *
 * argp ends the program on a wrong command line. What it says goes to standard
 * error; a program that asked for JSON gets an object as well.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luctl.h"

#define STATUS(name)	(1U << LUCTL_##name)

struct command {
	const char *name;
	enum luctl_status (*run)(int argc, char **argv);
	const char *help;
	unsigned int statuses;
};

/* Statuses that every command has. */
#define COMMON_STATUSES	(STATUS(OK) | STATUS(FAILED) | STATUS(USAGE))

static const struct command commands[] = {
	{ "status", luctl_cmd_status, "state, participants, and what failed last",
	  STATUS(UNAVAILABLE) },
	{ "check", luctl_cmd_check, "can the kernel in an image read what this one hands over?",
	  STATUS(LOSS) | STATUS(NO_GO) | STATUS(UNAVAILABLE) },
	{ "update", luctl_cmd_update, "check, load, prepare, rehearse and jump into an image",
	  STATUS(LOSS) | STATUS(NO_GO) | STATUS(STATE) | STATUS(TIMEOUT) |
	  STATUS(INTERRUPTED) | STATUS(UNAVAILABLE) },
	{ "prepare", luctl_cmd_prepare, "normal -> prepared",
	  STATUS(STATE) | STATUS(TIMEOUT) | STATUS(INTERRUPTED) | STATUS(UNAVAILABLE) },
	{ "cancel", luctl_cmd_cancel, "prepared -> normal",
	  STATUS(STATE) | STATUS(UNAVAILABLE) },
	{ "rehearse", luctl_cmd_rehearse, "freeze and thaw for real, stay prepared",
	  STATUS(STATE) | STATUS(TIMEOUT) | STATUS(UNAVAILABLE) },
	{ "finish", luctl_cmd_finish, "updated -> normal, in the new kernel",
	  STATUS(STATE) | STATUS(UNAVAILABLE) },
	{ "timeline", luctl_cmd_timeline, "how long the parts of an update took",
	  STATUS(UNAVAILABLE) },
};

static const char *const status_texts[] = {
	[LUCTL_OK]		= "done; of check: go",
	[LUCTL_FAILED]		= "refused by kernel or system; undone, or it says what is not",
	[LUCTL_USAGE]		= "wrong command line",
	[LUCTL_LOSS]		= "go with loss; update needs --allow-loss",
	[LUCTL_NO_GO]		= "no go",
	[LUCTL_STATE]		= "wrong state, or another transition runs",
	[LUCTL_TIMEOUT]		= "prepare_timeout_ms passed, undone",
	[LUCTL_INTERRUPTED]	= "a signal came, undone",
	[LUCTL_UNAVAILABLE]	= "this kernel has no /sys/kernel/liveupdate",
};

struct luctl_options luctl_options = {
	.sysfs = "/sys",
};

const char *argp_program_version = "luctl 1";

/* Keys of options without a letter. */
enum {
	KEY_JSON = 0x1000,
	KEY_SYSFS,
};

/* The command whose command line is parsed, NULL for that of luctl itself. */
static const struct command *current;

/* Whether argp runs, and a program reads what it says. */
static bool parsing, json_wanted;

static error_t parse_common(int key, char *text, struct argp_state *state)
{
	(void)state;
	switch (key) {
	case KEY_JSON:
		luctl_options.json = true;
		return 0;
	case KEY_SYSFS:
		luctl_options.sysfs = text;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Add to a text that luctl_format() made. */
static char *append(char *text, char *more)
{
	char *both = luctl_format("%s%s", text, more);

	free(text);
	free(more);

	return both;
}

static char *exit_statuses(unsigned int statuses)
{
	char *text = luctl_format("Exit status:");

	for (size_t i = 0; i < ARRAY_SIZE(status_texts); i++) {
		if (statuses & (1U << i))
			text = append(text, luctl_format("\n  %zu  %s", i, status_texts[i]));
	}

	return text;
}

/* argp frees what is not @text. */
static char *filter_common(int key, const char *text, void *input)
{
	unsigned int statuses = current ? current->statuses | COMMON_STATUSES : ~0U;

	(void)input;

	return key == ARGP_KEY_HELP_EXTRA ? exit_statuses(statuses) : (char *)text;
}

static const struct argp_option common_options[] = {
	{ "json", KEY_JSON, NULL, 0, "print JSON, one object in a line, also for errors", 0 },
	{ "sysfs", KEY_SYSFS, "DIR", 0, "where sysfs is mounted, instead of /sys", 0 },
	{ 0 }
};

const struct argp luctl_common_argp = {
	.options = common_options,
	.parser = parse_common,
	.help_filter = filter_common,
};

static const struct argp_child common_child[] = {
	{ &luctl_common_argp, 0, "Common options:", -2 },
	{ 0 }
};

/* argp_error() and the like end here. */
static void report_usage(int status, void *unused)
{
	(void)unused;
	if (!parsing || !json_wanted || status != LUCTL_USAGE)
		return;

	luctl_options.json = true;
	luctl_fail(LUCTL_USAGE, current ? current->name : "luctl", "see --help",
		   "wrong command line, standard error says what");
}

enum luctl_status luctl_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	struct argp top = *argp;
	error_t err;

	top.children = common_child;
	parsing = true;
	err = argp_parse(&top, argc, argv, 0, NULL, input);
	parsing = false;
	if (!err)
		return LUCTL_OK;

	return luctl_fail(LUCTL_USAGE, argv[0], "see --help", "%s", strerror(err));
}

static error_t parse_command(int key, char *text, struct argp_state *state)
{
	int *first = state->input;

	(void)text;
	switch (key) {
	case ARGP_KEY_ARG:
		/* What follows is for the command. */
		*first = state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no command");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static char *list_commands(int key, const char *text, void *input)
{
	char *list;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;

	list = luctl_format("Commands; each has its own --help:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		list = append(list, luctl_format("\n  %-9s %s", commands[i].name,
						 commands[i].help));

	return append(list, luctl_format("\n"));
}

static const struct argp luctl_argp = {
	.parser = parse_command,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "Update the running kernel to another one while chosen state stays alive.\n"
	       "luctl(8) and Documentation/admin-guide/liveupdate.rst have the procedure.\v",
	.children = common_child,
	.help_filter = list_commands,
};

/* What a command printed must arrive, too. */
static enum luctl_status flush(enum luctl_status status)
{
	char *text;

	if (!fflush(stdout) && !ferror(stdout))
		return status;

	text = luctl_errno_text(errno);
	luctl_options.json = false;
	status = luctl_fail(LUCTL_FAILED, "standard output", NULL, "%s", text);
	free(text);

	return status;
}

int main(int argc, char **argv)
{
	char full_name[32];
	int first = 0;

	for (int i = 1; i < argc; i++)
		json_wanted |= !strcmp(argv[i], "--json");
	argp_err_exit_status = LUCTL_USAGE;
	on_exit(report_usage, NULL);

	argv[0] = "luctl";
	parsing = true;
	if (argp_parse(&luctl_argp, argc, argv, ARGP_IN_ORDER, NULL, &first))
		return LUCTL_USAGE;
	parsing = false;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[first], commands[i].name))
			continue;
		current = &commands[i];
		snprintf(full_name, sizeof(full_name), "luctl %s", current->name);
		argv[first] = full_name;
		return flush(current->run(argc - first, argv + first));
	}

	luctl_options.json |= json_wanted;

	return luctl_fail(LUCTL_USAGE, argv[first], "\"luctl --help\" lists the commands",
			  "no such command");
}
