// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl
 *
 * Runs one command of the table. Common options come before or after its name.
 * Help is written by argp(3): the text of a command is in its file, its name,
 * its one line and the statuses it may exit with are here, once.
 *
 * argp and getopt(3) end the program on a wrong command line and tell why on
 * standard error. That is caught, and reported like any other error.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "luctl.h"

#define STATUS(name)	(1U << LUCTL_##name)

struct command {
	const char *name;
	enum luctl_status (*run)(int argc, char **argv);
	const char *help;
	unsigned int statuses;
	bool changes;		/* and so is not interrupted halfway */
};

/* Statuses that every command has. */
#define COMMON_STATUSES	(STATUS(OK) | STATUS(FAILED) | STATUS(USAGE) | \
			 STATUS(UNAVAILABLE) | STATUS(UNREADABLE) | STATUS(OUTPUT))

static const struct command commands[] = {
	{ "status", luctl_cmd_status, "state, what failed last, subsystems, devices and sessions",
	  STATUS(INTERRUPTED), false },
	{ "check", luctl_cmd_check, "can this kernel be replaced by the one in an image?",
	  STATUS(LOSS) | STATUS(NO_GO) | STATUS(INTERRUPTED), false },
	{ "update", luctl_cmd_update, "check, load, prepare, rehearse and jump into an image",
	  STATUS(LOSS) | STATUS(NO_GO) | STATUS(STATE) | STATUS(TIMEOUT) |
	  STATUS(INTERRUPTED) | STATUS(POLICY), true },
	{ "prepare", luctl_cmd_prepare, "normal -> prepared",
	  STATUS(STATE) | STATUS(TIMEOUT) | STATUS(INTERRUPTED), true },
	{ "cancel", luctl_cmd_cancel, "prepared -> normal",
	  STATUS(STATE), true },
	{ "rehearse", luctl_cmd_rehearse, "freeze and thaw for real, stay prepared",
	  STATUS(STATE) | STATUS(TIMEOUT), true },
	{ "finish", luctl_cmd_finish, "updated -> normal, in the new kernel",
	  STATUS(STATE) | STATUS(POLICY), true },
	{ "timeline", luctl_cmd_timeline, "how long the parts of an update took",
	  STATUS(INTERRUPTED), false },
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

/* What is said on standard error while argp runs, and the real one. */
static struct {
	FILE *console;
	char *text;
	size_t size;
} heard;

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

	for (size_t i = 0; i < LUCTL_NR_STATUSES; i++) {
		if (statuses & (1U << i))
			text = append(text, luctl_format("\n  %2zu  %s", i,
							 luctl_statuses[i].meaning));
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

/* getopt(3) knows no other place than standard error. */
static void listen_to_argp(void)
{
	FILE *file = open_memstream(&heard.text, &heard.size);

	heard.console = stderr;
	if (file)
		stderr = file;
}

static void stop_listening(void)
{
	if (stderr != heard.console)
		fclose(stderr);
	stderr = heard.console;
	heard.console = NULL;
}

/* What was heard: "luctl NAME: what is wrong", and more lines. */
static void report_usage(void)
{
	const char *text = heard.text && *heard.text ? heard.text : "it is wrong";
	char *program = luctl_format("luctl%s%s", current ? " " : "",
				     current ? current->name : "");
	char *advice = luctl_format("see \"%s --help\"", program);
	char *prefix = luctl_format("%s: ", program);

	if (!strncmp(text, prefix, strlen(prefix)))
		text += strlen(prefix);
	luctl_fail(LUCTL_USAGE, current ? current->name : "command line", advice, "%.*s",
		   (int)strcspn(text, "\n"), text);
	free(prefix);
	free(advice);
	free(program);
}

/* An error of the command counts more than one of its output. */
static enum luctl_status flush(enum luctl_status status)
{
	enum luctl_status output = luctl_flush(NULL);

	return status ? status : output;
}

/* argp_error() and the like end here, and --help. */
static void on_end(int status, void *unused)
{
	(void)unused;
	if (!heard.console)
		return;

	stop_listening();
	if (status == LUCTL_USAGE)
		report_usage();
	free(heard.text);
	_exit(flush(status));
}

static enum luctl_status parse(const struct argp *argp, int argc, char **argv,
			       unsigned int flags, void *input)
{
	error_t err;

	listen_to_argp();
	err = argp_parse(argp, argc, argv, flags, NULL, input);
	stop_listening();
	free(heard.text);
	heard.text = NULL;
	if (!err)
		return LUCTL_OK;

	return luctl_fail_errno(LUCTL_FAILED, err, "command line", NULL, NULL);
}

enum luctl_status luctl_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	struct argp top = *argp;

	top.children = common_child;

	return parse(&top, argc, argv, 0, input);
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

int main(int argc, char **argv)
{
	char full_name[32];
	int first = 0;

	/* A program reads what is said, also if the command line is not understood. */
	for (int i = 1; i < argc; i++)
		luctl_options.json |= !strcmp(argv[i], "--json");
	argp_err_exit_status = LUCTL_USAGE;
	on_exit(on_end, NULL);

	argv[0] = "luctl";
	if (parse(&luctl_argp, argc, argv, ARGP_IN_ORDER, &first))
		return LUCTL_FAILED;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[first], commands[i].name))
			continue;
		current = &commands[i];
		snprintf(full_name, sizeof(full_name), "luctl %s", current->name);
		argv[first] = full_name;
		if (current->changes)
			luctl_interrupt_hold();
		else
			luctl_interrupt_end(current->name);
		return flush(current->run(argc - first, argv + first));
	}

	return luctl_fail(LUCTL_USAGE, argv[first], "\"luctl --help\" lists the commands",
			  "no such command");
}
