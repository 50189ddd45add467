// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: luctl update
 *
 * The whole way from a running kernel into the next one: look, load, prepare,
 * rehearse, sync, jump. The steps are a table, and each remembers what it did in
 * &struct update, so that undo() can take it back in reverse, whether a step
 * failed, a signal came between two of them, or reboot(2) returned.
 *
 * It starts from normal with no image loaded, because what somebody else
 * prepared or loaded could not be given back. It refuses to jump while process 1
 * is a service manager: reboot(2) stops no service. And it refuses a command
 * line that would make the next kernel ignore what it is handed.
 *
 * Once reboot(2) was called, the next thing that happens is the next kernel, or
 * an error.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "luctl.h"

/* Longer than any kernel takes. */
#define CMDLINE_LIMIT	65536

struct update {
	/* What was asked for. */
	const char *image;
	const char *initrd;
	const char *cmdline_text;
	bool reuse_cmdline;
	bool limited;
	unsigned int timeout_ms;
	bool allow_loss;
	bool rehearse;
	bool now;

	/* What was done. */
	char *cmdline;
	struct json_object *report;
	enum luctl_verdict verdict;
	bool loaded;
	bool timeout_set;
	unsigned int timeout_before;
	bool prepared;
};

static void progress(const char *text)
{
	if (luctl_options.json)
		return;
	printf("%s\n", text);
	fflush(stdout);
}

/* Looking: nothing is done yet. */

static enum luctl_status need_normal(struct update *update)
{
	enum luctl_status status;
	char *state, *advice;

	(void)update;
	status = luctl_read("state", &state);
	if (status)
		return status;

	if (strcmp(state, "normal")) {
		advice = luctl_format("in this state: %s", luctl_next_command(state));
		status = luctl_fail(LUCTL_STATE, "update", advice, "the state is %s, not normal",
				    state);
		free(advice);
	}
	free(state);

	return status;
}

static enum luctl_status need_no_image(struct update *update)
{
	char *path = luctl_format("%s/kernel/kexec_loaded", luctl_options.sysfs);
	enum luctl_status status = LUCTL_OK;
	void *loaded;
	size_t size;

	(void)update;
	if (!luctl_read_file(path, 64, &loaded, &size)) {
		if (*(char *)loaded == '1')
			status = luctl_fail(LUCTL_STATE, path, "drop it with \"kexec -u\"",
					    "an image is loaded already");
		free(loaded);
	}
	free(path);

	return status;
}

static enum luctl_status need_no_services(struct update *update)
{
	/* As /proc/1/comm has them; "init" is what sysvinit and most others use. */
	static const char *const managers[] = {
		"systemd", "init", "openrc-init", "runit", "s6-svscan", "dinit", "finit",
		"procd", "shepherd", "upstart",
	};
	static const char systemd_advice[] = {
		"load with \"kexec -s -l\", then \"luctl prepare\" and \"systemctl kexec\"; or give --now"
	};
	char *name = NULL;
	bool found = false;
	size_t size;
	void *comm;

	if (update->now)
		return LUCTL_OK;

	/* Who cannot be asked may be one. */
	if (!luctl_read_file("/proc/1/comm", 4096, &comm, &size)) {
		name = comm;
		name[strcspn(name, "\n")] = '\0';
	}
	for (size_t i = 0; i < ARRAY_SIZE(managers) && name; i++)
		found |= !strcmp(managers[i], name);
	if (!name)
		return luctl_fail(LUCTL_POLICY, "/proc/1/comm", "mount /proc, or give --now",
				  "cannot tell whether services run");
	if (found)
		luctl_fail(LUCTL_POLICY, name, !strcmp(name, "systemd") ? systemd_advice :
			   "stop what matters and give --now",
			   "process 1 manages services, which reboot(2) would not stop");
	free(name);

	return found ? LUCTL_POLICY : LUCTL_OK;
}

/* The words of a command line that are the kernel's; NULL behind the last. */
static char *next_word(char **rest)
{
	char *word = *rest, *end;
	bool quoted = false;

	while (isspace((unsigned char)*word))
		word++;
	for (end = word; *end && (quoted || !isspace((unsigned char)*end)); end++)
		quoted ^= *end == '"';
	*rest = *end ? end + 1 : end;
	*end = '\0';

	return *word && strcmp(word, "--") ? word : NULL;
}

/* As the kernel takes a boolean: the last one counts. */
static bool is_on(const char *cmdline, const char *name)
{
	char *copy = luctl_format("%s", cmdline), *rest = copy, *word;
	size_t length = strlen(name);
	bool on = false;

	while ((word = next_word(&rest))) {
		if (strncmp(word, name, length) || word[length] != '=')
			continue;
		word += length + 1;
		on = *word && (strchr("yYtT1", *word) ||
			       ((*word == 'o' || *word == 'O') &&
				(word[1] == 'n' || word[1] == 'N')));
	}
	free(copy);

	return on;
}

/* /proc/cmdline without what a boot loader puts there for itself. */
static enum luctl_status reuse_cmdline(char **cmdline)
{
	char *text, *rest, *word, *out;
	void *data;
	size_t size;
	int err;

	err = luctl_read_file("/proc/cmdline", CMDLINE_LIMIT, &data, &size);
	if (err)
		return luctl_fail_errno(LUCTL_UNREADABLE, -err, "/proc/cmdline",
					"give --cmdline", NULL);

	text = data;
	text[strcspn(text, "\n")] = '\0';
	out = luctl_format("%s", "");
	rest = text;
	while (*rest) {
		char *longer;
		char *start = rest;

		word = next_word(&rest);
		if (!word) {
			/* "--", and what is for process 1. */
			while (isspace((unsigned char)*start))
				start++;
			if (!*start)
				break;
			longer = luctl_format("%s%s-- %s", out, *out ? " " : "", rest);
			free(out);
			out = longer;
			break;
		}
		if (!strncmp(word, "BOOT_IMAGE=", 11) || !strncmp(word, "initrd=", 7))
			continue;
		longer = luctl_format("%s%s%s", out, *out ? " " : "", word);
		free(out);
		out = longer;
	}
	free(text);
	*cmdline = out;

	return LUCTL_OK;
}

static enum luctl_status make_cmdline(struct update *update)
{
	static const char *const needed[] = { "kho", "liveupdate" };
	enum luctl_status status;

	if (update->reuse_cmdline) {
		status = reuse_cmdline(&update->cmdline);
		if (status)
			return status;
	} else {
		update->cmdline = luctl_format("%s", update->cmdline_text);
	}

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (!is_on(update->cmdline, needed[i]))
			return luctl_fail(LUCTL_NO_GO, update->reuse_cmdline ? "/proc/cmdline" :
					  "--cmdline", "add \"kho=on liveupdate=on\" to it",
					  "without %s=on the next kernel takes nothing over",
					  needed[i]);
	}

	return LUCTL_OK;
}

static int call_check(void *data)
{
	struct update *update = data;

	return luctl_check_image(update->image, &update->verdict, &update->report);
}

static enum luctl_status do_check(struct update *update)
{
	enum luctl_status status;

	status = luctl_interrupt_run(call_check, update, "check");
	if (status)
		return status;

	switch (update->verdict) {
	case LUCTL_VERDICT_GO:
		progress("check: go");
		return LUCTL_OK;
	case LUCTL_VERDICT_LOSS:
		if (!update->allow_loss)
			return luctl_fail(LUCTL_LOSS, update->image,
					  "\"luctl check\" shows what is lost, --allow-loss accepts it",
					  "the kernel in it cannot read all that would be handed over");
		progress("check: go with loss");
		return LUCTL_OK;
	case LUCTL_VERDICT_NO_GO:
	default:
		return luctl_fail(LUCTL_NO_GO, update->image, "\"luctl check\" shows why",
				  "the kernel in it cannot be handed over to");
	}
}

/* Doing, and taking back. */

static const char *load_advice(int err)
{
	switch (err) {
	case EPERM:
		return "run luctl as root, with CAP_SYS_BOOT; kernel.kexec_load_disabled must be 0";
	case EBUSY:
		return "another kexec is in progress, try again";
	case ENOEXEC:
		return "it is not a kernel that this machine can load";
	case ENOMEM:
		return "free some memory and try again";
	case EINVAL:
		return "the command line may be too long; the kernel log says more";
	case EKEYREJECTED:
	case ENODATA:
	case ENOPKG:
	case ENOKEY:
		return "it must be signed with a key that this kernel trusts";
	default:
		return "see the kernel log; the kernel needs CONFIG_KEXEC_FILE";
	}
}

struct load {
	int kernel, initrd;
	const char *cmdline;
};

static int call_load(void *data)
{
	const struct load *load = data;
	unsigned long flags = load->initrd < 0 ? KEXEC_FILE_NO_INITRAMFS : 0;

	return syscall(SYS_kexec_file_load, load->kernel, load->initrd,
		       strlen(load->cmdline) + 1, load->cmdline, flags) ? -errno : 0;
}

static enum luctl_status do_load(struct update *update)
{
	struct load load = { .initrd = -1, .cmdline = update->cmdline };
	enum luctl_status status = LUCTL_OK;
	int err;

	load.kernel = open(update->image, O_RDONLY | O_CLOEXEC);
	if (load.kernel < 0)
		return luctl_fail_errno(LUCTL_UNREADABLE, errno, update->image, NULL, NULL);
	if (update->initrd) {
		load.initrd = open(update->initrd, O_RDONLY | O_CLOEXEC);
		if (load.initrd < 0) {
			status = luctl_fail_errno(LUCTL_UNREADABLE, errno, update->initrd, NULL,
						  NULL);
			goto out_close;
		}
	}

	err = luctl_interrupt_run(call_load, &load, "kexec_file_load(2)");
	if (err) {
		status = luctl_fail_errno(LUCTL_FAILED, -err, update->image, load_advice(-err),
					  "cannot be loaded: ");
	} else {
		update->loaded = true;
		progress("loaded");
	}

	if (update->initrd)
		close(load.initrd);
out_close:
	close(load.kernel);
	return status;
}

static enum luctl_status do_limit(struct update *update)
{
	enum luctl_status status;

	if (!update->limited)
		return LUCTL_OK;
	status = luctl_set_timeout(update->timeout_ms, &update->timeout_before);
	update->timeout_set = !status;

	return status;
}

static int call_request(void *request)
{
	return luctl_request(request);
}

/* A request of which nothing is left when it fails. */
static enum luctl_status request(const struct luctl_request *request)
{
	struct luctl_request undone = *request;
	int err;

	undone.undone = true;
	err = luctl_interrupt_run(call_request, &undone, undone.command);

	return err ? luctl_refused(&undone, -err) : LUCTL_OK;
}

static enum luctl_status do_prepare(struct update *update)
{
	enum luctl_status status = request(&luctl_prepare);

	if (!status) {
		update->prepared = true;
		progress("prepared");
	}

	return status;
}

static enum luctl_status do_rehearse(struct update *update)
{
	enum luctl_status status;

	if (!update->rehearse)
		return LUCTL_OK;
	status = request(&luctl_rehearse);
	if (!status)
		progress("rehearsed");

	return status;
}

static int call_sync(void *unused)
{
	(void)unused;
	sync();

	return 0;
}

static void print_last_word(const struct update *update)
{
	struct json_object *inner = json_object_new_object();
	struct json_object *object = json_object_new_object();

	json_object_object_add(inner, "image", json_object_new_string(update->image));
	json_object_object_add(inner, "initrd", update->initrd ?
			       json_object_new_string(update->initrd) : NULL);
	json_object_object_add(inner, "cmdline", json_object_new_string(update->cmdline));
	json_object_object_add(inner, "rehearsed", json_object_new_boolean(update->rehearse));
	json_object_object_add(inner, "check", json_object_get(update->report));
	json_object_object_add(object, "update", inner);
	luctl_print_json(object);
}

/* Before sync(2), which is to write it back as well if it goes into a file. */
static enum luctl_status do_sync(struct update *update)
{
	if (luctl_options.json)
		print_last_word(update);
	progress("jumping");
	luctl_interrupt_run(call_sync, NULL, "sync(2)");

	return LUCTL_OK;
}

static enum luctl_status do_jump(struct update *update)
{
	static const struct luctl_request freeze = {
		.command = "reboot", .step = "freeze", .state = "prepared", .undone = true,
	};

	(void)update;
	if (!reboot(RB_KEXEC))
		errno = EIO;

	return luctl_refused(&freeze, errno);
}

/* Whether all could be undone. */
static bool undo(struct update *update)
{
	int failed = 0;

	if (update->prepared)
		failed |= luctl_undo_prepare();
	if (update->timeout_set)
		failed |= luctl_undo_timeout(update->timeout_before);
	if (update->loaded &&
	    syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL, (unsigned long)KEXEC_FILE_UNLOAD))
		failed |= luctl_fail_errno(LUCTL_FAILED, errno, update->image,
					   "unload it with \"kexec -u\"",
					   "undoing failed with ");

	return !failed;
}

static enum luctl_status run_steps(struct update *update)
{
	static enum luctl_status (*const steps[])(struct update *update) = {
		need_normal, need_no_image, need_no_services, make_cmdline, do_check,
		do_load, do_limit, do_prepare, do_rehearse, do_sync, do_jump,
	};
	enum luctl_status status = LUCTL_OK;
	int number = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && !status; i++) {
		number = luctl_interrupted();
		if (number)
			break;
		status = steps[i](update);
	}
	if (!undo(update))
		return LUCTL_FAILED;
	if (!number)
		return status;

	return luctl_fail(LUCTL_INTERRUPTED, "update", NULL, "SIG%s came, everything is undone",
			  sigabbrev_np(number));
}

/* Command line. */

enum {
	KEY_INITRD = 0x2000,
	KEY_CMDLINE,
	KEY_REUSE_CMDLINE,
	KEY_TIMEOUT,
	KEY_ALLOW_LOSS,
	KEY_NO_REHEARSE,
	KEY_NOW,
};

static const struct argp_option options[] = {
	{ "initrd", KEY_INITRD, "FILE", 0, "initramfs of the next kernel; none without it", 0 },
	{ "cmdline", KEY_CMDLINE, "TEXT", 0, "command line of the next kernel", 0 },
	{ "reuse-cmdline", KEY_REUSE_CMDLINE, NULL, 0,
	  "that of this kernel, without BOOT_IMAGE= and initrd=", 0 },
	{ "timeout", KEY_TIMEOUT, "MS", 0,
	  "limit for all of prepare, and for all of freeze, in milliseconds, 0 for none", 0 },
	{ "allow-loss", KEY_ALLOW_LOSS, NULL, 0,
	  "go although the next kernel cannot read what optional participants hand over", 0 },
	{ "no-rehearse", KEY_NO_REHEARSE, NULL, 0, "do not rehearse the freeze", 0 },
	{ "now", KEY_NOW, NULL, 0,
	  "jump although process 1 is a service manager; services are not stopped", 0 },
	{ 0 }
};

static error_t parse(int key, char *text, struct argp_state *state)
{
	struct update *update = state->input;

	switch (key) {
	case KEY_INITRD:
		update->initrd = text;
		return 0;
	case KEY_CMDLINE:
		update->cmdline_text = text;
		return 0;
	case KEY_REUSE_CMDLINE:
		update->reuse_cmdline = true;
		return 0;
	case KEY_TIMEOUT:
		update->limited = true;
		update->timeout_ms = luctl_parse_timeout(state, text);
		return 0;
	case KEY_ALLOW_LOSS:
		update->allow_loss = true;
		return 0;
	case KEY_NO_REHEARSE:
		update->rehearse = false;
		return 0;
	case KEY_NOW:
		update->now = true;
		return 0;
	case ARGP_KEY_ARG:
		if (update->image)
			argp_error(state, "one image, not two: %s", text);
		update->image = text;
		return 0;
	case ARGP_KEY_END:
		if (!update->image)
			argp_error(state, "which image?");
		if (!update->cmdline_text == !update->reuse_cmdline)
			argp_error(state, "give either --cmdline or --reuse-cmdline");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

enum luctl_status luctl_cmd_update(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "IMAGE",
		.doc = "Check, load, prepare, rehearse, sync(2), and jump to the kernel in IMAGE.\n"
		       "\vThe state is to be normal and no kexec image loaded. One of --cmdline and\n"
		       "--reuse-cmdline is needed, and the command line must have kho=on and\n"
		       "liveupdate=on. If a step fails, or SIGINT, SIGTERM or SIGHUP comes, what\n"
		       "was done is undone: cancel, then unload.\n"
		       "\n"
		       "No service is stopped. So it refuses if process 1 is a service manager,\n"
		       "which is one that /proc/1/comm calls systemd, init, openrc-init, runit,\n"
		       "s6-svscan, dinit, finit, procd, shepherd or upstart, unless --now is given.\n"
		       "\n"
		       "On success it does not return. With --json it prints what it is about to\n"
		       "do; only if reboot(2) fails after that, an error follows.\n",
	};
	struct update update = { .rehearse = true };
	enum luctl_status status;

	status = luctl_parse(&argp, argc, argv, &update);
	if (status)
		return status;

	luctl_interrupt_hold();
	status = run_steps(&update);
	json_object_put(update.report);
	free(update.cmdline);

	return status;
}
