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
 * prepared or loaded could not be given back. It refuses to jump unless process 1
 * is known to be no service manager: reboot(2) stops no service. With --no-jump it
 * ends before that, so that a service manager can go on. And it refuses a command
 * line that would make the next kernel ignore what it is handed.
 *
 * For programs, each step is an object when it is done, and so is what is undone:
 * {"step": NAME, ...}. What cannot be told to anybody is undone, too.
 *
 * Once reboot(2) was called, the next thing that happens is the next kernel, or
 * an error.
 */

#include <errno.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "luctl.h"
#include "nextline.h"

struct update {
	/* What was asked for. */
	const char *image;
	const char *initrd;
	struct luctl_line line;
	struct luctl_limit limits[LUCTL_LIMITS];
	bool allow_loss;
	bool rehearse;
	bool now;
	bool no_jump;

	/* What was done. */
	char *cmdline;
	struct luctl_file image_file, initrd_file;
	struct json_object *report;
	enum luctl_verdict verdict;
	bool loaded;
	bool prepared;
};

static struct json_object *step_object(const char *step)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "step", json_object_new_string(step));

	return object;
}

/* Tell that a step is done: @text, if any, for people, @object for programs. */
static void progress(const char *text, struct json_object *object)
{
	if (luctl_options.json) {
		luctl_print_json(object);
		return;
	}
	json_object_put(object);
	if (text)
		printf("%s\n", text);
	luctl_flush("so everything is undone");
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
	(void)update;
	if (luctl_image_loaded() == LUCTL_LOADED)
		return luctl_fail(LUCTL_STATE, "kexec image", "drop it with \"kexec -u\"",
				  "one is loaded already");

	return LUCTL_OK;
}

/*
 * Whoever is process 1 may manage services, unless it is a shell: a script, or what
 * an emergency is handled with. An init that is not known here is not taken for one.
 */
static enum luctl_status need_no_services(struct update *update)
{
	/* As /proc/1/comm has them. */
	static const char *const shells[] = { "sh", "ash", "dash", "bash", "busybox" };
	static const char advice[] =
		"give --no-jump, then \"systemctl kexec\"; or stop what matters and give --now";
	enum luctl_status status;
	bool shell = false;
	size_t size;
	void *comm;
	int err;

	if (update->now || update->no_jump)
		return LUCTL_OK;

	err = luctl_read_file("/proc/1/comm", 4096, &comm, &size);
	if (err)
		return luctl_fail_errno(LUCTL_POLICY, -err, "/proc/1/comm",
					"mount /proc, or give --now",
					"cannot tell whether services run: ");

	((char *)comm)[strcspn(comm, "\n")] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		shell |= !strcmp(shells[i], comm);
	status = shell ? LUCTL_OK :
		 luctl_fail(LUCTL_POLICY, comm, advice,
			    "process 1 is no shell: it may manage services, which reboot(2) would not stop");
	free(comm);

	return status;
}

static enum luctl_status make_cmdline(struct update *update)
{
	return luctl_line_make(&update->line, &update->cmdline);
}

static int call_check(void *data)
{
	struct update *update = data;
	const struct luctl_next next = {
		.image = &update->image_file,
		.initrd = update->initrd ? &update->initrd_file : NULL,
		.cmdline = update->cmdline,
	};
	enum luctl_status status;

	status = luctl_file_open(&update->image_file, update->image);
	if (!status && update->initrd)
		status = luctl_file_open(&update->initrd_file, update->initrd);

	return status ?: luctl_check_next(&next, &update->verdict, &update->report);
}

/* The report in JSON is an object of the step. */
static void print_findings(const struct update *update, FILE *file)
{
	if (luctl_options.json)
		return;
	luctl_print_findings(file, update->report);
	fflush(file);
}

static struct json_object *check_object(const struct update *update)
{
	struct json_object *object = step_object("check");

	json_object_object_add(object, "check", json_object_get(update->report));

	return object;
}

static enum luctl_status do_check(struct update *update)
{
	enum luctl_status status;

	status = luctl_interrupt_run(call_check, update, "check", true);
	if (status)
		return status;

	progress(update->verdict == LUCTL_VERDICT_GO ? "check: go" :
		 update->verdict == LUCTL_VERDICT_LOSS && update->allow_loss ?
		 "check: go with loss" : NULL, check_object(update));
	switch (update->verdict) {
	case LUCTL_VERDICT_GO:
		print_findings(update, stdout);
		return LUCTL_OK;
	case LUCTL_VERDICT_LOSS:
		if (!update->allow_loss) {
			print_findings(update, stderr);
			return luctl_fail(LUCTL_LOSS, update->image, "--allow-loss accepts it",
					  "the kernel in it cannot read all that would be handed over");
		}
		print_findings(update, stdout);
		return LUCTL_OK;
	case LUCTL_VERDICT_NO_GO:
	default:
		print_findings(update, stderr);
		return luctl_fail(LUCTL_NO_GO, update->image, "do what the findings advise",
				  "this kernel cannot be replaced by the one in it");
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
	case ESTALE:
		return "memory was added or removed meanwhile, try again";
	case ERANGE:
		return LUCTL_ERANGE_ADVICE;
	case E2BIG:
		return "the memory map of this machine has more entries than an image takes";
	case EADDRNOTAVAIL:
		return "it does not fit into scratch memory; boot with a larger kho_scratch=";
	default:
		return "see the kernel log; a kernel without CONFIG_KEXEC_FILE loads nothing";
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

static struct json_object *load_object(const struct update *update)
{
	struct json_object *object = step_object("load");

	json_object_object_add(object, "image", json_object_new_string(update->image));
	json_object_object_add(object, "initrd", update->initrd ?
			       json_object_new_string(update->initrd) : NULL);
	json_object_object_add(object, "cmdline", json_object_new_string(update->cmdline));

	return object;
}

/* What the kernel has read must be what was checked. */
static enum luctl_status need_same(const struct luctl_file *file)
{
	if (!file->path || !luctl_file_changed(file))
		return LUCTL_OK;

	return luctl_fail(LUCTL_FAILED, file->path, "wait until it is written, and try again",
			  "it changed between check and load");
}

static enum luctl_status do_load(struct update *update)
{
	struct load load = {
		.kernel = update->image_file.fd,
		.initrd = update->initrd ? update->initrd_file.fd : -1,
		.cmdline = update->cmdline,
	};
	int err;

	err = luctl_interrupt_run(call_load, &load, "kexec_file_load(2)", true);
	if (err)
		return luctl_fail_errno(LUCTL_FAILED, -err, update->image, load_advice(-err),
					"cannot be loaded: ");
	update->loaded = true;
	progress("loaded", load_object(update));

	return need_same(&update->image_file) ?: need_same(&update->initrd_file);
}

static enum luctl_status do_limit(struct update *update)
{
	return luctl_set_limits(update->limits);
}

static double microseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);

	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* A request of which nothing is left when it fails. */
static enum luctl_status request(const struct luctl_request *request, const char *text)
{
	double start = microseconds_now();
	enum luctl_status status = luctl_attempt(request, true);
	struct json_object *object;

	if (status)
		return status;

	object = step_object(request->command);
	json_object_object_add(object, "microseconds",
			       json_object_new_int64((int64_t)(microseconds_now() - start + 0.5)));
	progress(text, object);

	return LUCTL_OK;
}

static enum luctl_status do_prepare(struct update *update)
{
	enum luctl_status status = request(&luctl_prepare, "prepared");

	update->prepared = !status;

	return status;
}

static enum luctl_status do_rehearse(struct update *update)
{
	return update->rehearse ? request(&luctl_rehearse, "rehearsed") : LUCTL_OK;
}

static int call_sync(void *unused)
{
	(void)unused;
	sync();

	return 0;
}

/* Before sync(2), which is to write it back as well if it goes into a file. */
static enum luctl_status do_sync(struct update *update)
{
	if (update->no_jump)
		return LUCTL_OK;
	progress("jumping", step_object("jump"));
	luctl_interrupt_run(call_sync, NULL, "sync(2)", true);

	return LUCTL_OK;
}

static enum luctl_status do_jump(struct update *update)
{
	if (!update->no_jump)
		return luctl_attempt(&luctl_jump, true);

	progress("go with \"systemctl kexec\" or \"kexec -e\", or \"luctl cancel --unload\"",
		 step_object("ready"));

	return LUCTL_OK;
}

/* Whether all could be undone. */
static bool undo(struct update *update)
{
	bool failed = false;
	int err;

	if (update->prepared && luctl_undo_prepare())
		failed = true;
	else if (update->prepared)
		progress(NULL, step_object("cancel"));
	if (luctl_undo_limits(update->limits))
		failed = true;

	err = update->loaded ? luctl_unload() : 0;
	if (err) {
		luctl_fail_errno(LUCTL_FAILED, -err, update->image, "unload it with \"kexec -u\"",
				 "undoing failed with ");
		failed = true;
	} else if (update->loaded) {
		progress(NULL, step_object("unload"));
	}

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

	for (size_t i = 0; i < ARRAY_SIZE(steps) && !status && !number; i++) {
		status = steps[i](update);
		if (!status)
			status = luctl_flush("so everything is undone");
		number = luctl_interrupted();
	}
	if (!status && !number)
		return LUCTL_OK;
	if (!undo(update))
		return LUCTL_FAILED;
	if (status)
		return status;

	return luctl_fail(LUCTL_INTERRUPTED, "update", NULL, "SIG%s came, everything is undone",
			  sigabbrev_np(number));
}

/* Command line. */

enum {
	KEY_INITRD = 0x2000,
	KEY_ALLOW_LOSS,
	KEY_NO_REHEARSE,
	KEY_NOW,
	KEY_NO_JUMP,
};

static const struct argp_option options[] = {
	{ "initrd", KEY_INITRD, "FILE", 0, "initramfs of the next kernel; none without it", 0 },
	{ "cmdline", LUCTL_KEY_CMDLINE, "TEXT", 0, LUCTL_CMDLINE_HELP, 0 },
	{ "reuse-cmdline", LUCTL_KEY_REUSE_CMDLINE, NULL, 0, LUCTL_REUSE_CMDLINE_HELP, 0 },
	{ "append", LUCTL_KEY_APPEND, "TEXT", 0, LUCTL_APPEND_HELP, 0 },
	{ "timeout", LUCTL_KEY_TIMEOUT, "MS", 0,
	  "limit for all of prepare, in milliseconds, 0 for none", 0 },
	{ "freeze-timeout", LUCTL_KEY_FREEZE_TIMEOUT, "MS", 0,
	  "limit for all of freeze, in milliseconds, 0 for none", 0 },
	{ "allow-loss", KEY_ALLOW_LOSS, NULL, 0,
	  "go although the next kernel cannot read what optional subsystems hand over", 0 },
	{ "no-rehearse", KEY_NO_REHEARSE, NULL, 0, "do not rehearse the freeze", 0 },
	{ "now", KEY_NOW, NULL, 0,
	  "jump although process 1 may be a service manager; services are not stopped", 0 },
	{ "no-jump", KEY_NO_JUMP, NULL, 0, "end before the kexec: loaded, prepared, rehearsed", 0 },
	{ 0 }
};

static error_t parse(int key, char *text, struct argp_state *state)
{
	struct update *update = state->input;

	switch (key) {
	case KEY_INITRD:
		update->initrd = text;
		return 0;
	case LUCTL_KEY_TIMEOUT:
	case LUCTL_KEY_FREEZE_TIMEOUT:
		return luctl_parse_limit(update->limits, key, state, text);
	case KEY_ALLOW_LOSS:
		update->allow_loss = true;
		return 0;
	case KEY_NO_REHEARSE:
		update->rehearse = false;
		return 0;
	case KEY_NOW:
		update->now = true;
		return 0;
	case KEY_NO_JUMP:
		update->no_jump = true;
		return 0;
	case ARGP_KEY_ARG:
		if (update->image)
			argp_error(state, "one image, not two: %s", text);
		update->image = text;
		return 0;
	case ARGP_KEY_END:
		if (!update->image)
			argp_error(state, "which image?");
		if (!update->line.text == !update->line.reuse)
			argp_error(state, "give either --cmdline or --reuse-cmdline");
		if (update->now && update->no_jump)
			argp_error(state, "give either --now or --no-jump");
		return 0;
	default:
		return luctl_line_parse(&update->line, key, text);
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
		       "liveupdate=on; kho=on is added to that of this kernel if it needs none. If\n"
		       "a step fails, SIGINT, SIGTERM or SIGHUP comes, or standard output cannot be\n"
		       "written, what was done is undone: cancel, then unload.\n"
		       "\n"
		       "No service is stopped. So it refuses unless /proc/1/comm says that process\n"
		       "1 is a shell (sh, ash, dash, bash or busybox) or --now is given. Where a\n"
		       "service manager runs, give --no-jump, and let it do the kexec with\n"
		       "\"systemctl kexec\" or the like; \"luctl cancel --unload\" takes it back.\n"
		       "\n"
		       "On success it does not return, except with --no-jump. With --json it prints\n"
		       "an object for each step when it is done, and one before the kexec.\n",
	};
	struct update update = { .rehearse = true };
	enum luctl_status status;

	status = luctl_parse(&argp, argc, argv, &update);
	if (status)
		return status;

	status = run_steps(&update);
	json_object_put(update.report);
	luctl_file_close(&update.image_file);
	luctl_file_close(&update.initrd_file);
	free(update.cmdline);

	return status;
}
