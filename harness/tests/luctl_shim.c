// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel that luctl is tested with, for LD_PRELOAD. The folder in LUCTL_SHIM
 * has
 *
 *	sys/		the sysfs that luctl is pointed at
 *	proc/		what it finds in /proc; a link there is a file of a process
 *	timeline.next	what the timeline is after a subsystem failed
 *	script/CALL	what a call does: words of "errno=N", "ms=N" (how long it
 *			takes), "signal=N" (which it first sends to luctl),
 *			"name=SUBSYSTEM" (whose failure it is), "then=STATE" (what
 *			the state is after that) and "replace=1", "write=1", "grow=1"
 *			(what it first does to the image: rename the file "other" to
 *			it, overwrite it with that, add a byte)
 *	calls		the calls that were made, a line each
 *	loaded		the image that was given to load
 *
 * Calls are timeout, prepare, cancel, rehearse, finish, load, unload, sync,
 * reboot, and open, which is that of the image. Requests check their text and
 * the state and change it as luo_state.c does. A reboot that succeeds ends luctl
 * with JUMPED. Nothing gets through to the kernel of this machine.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kexec.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JUMPED	99
#define FOLDER	"sys/kernel/liveupdate/"

struct script {
	int err;
	int ms;
	int signal;
	char name[64];
	int named;
	char then[32];
	int replace, write, grow;
};

static const char *folder(void)
{
	const char *path = getenv("LUCTL_SHIM");

	if (!path)
		_exit(98);
	return path;
}

static int real_open(const char *path, int flags, int mode)
{
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static void put(const char *name, int flags, const char *text)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder(), name);
	fd = real_open(path, O_WRONLY | O_CREAT | flags, 0644);
	if (fd < 0 || syscall(SYS_write, fd, text, strlen(text)) < 0)
		_exit(97);
	close(fd);
}

/* The first line of a file, or an empty one. */
static void get(const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t got;
	int fd;

	*text = '\0';
	snprintf(path, sizeof(path), "%s/%s", folder(), name);
	fd = real_open(path, O_RDONLY, 0);
	if (fd < 0)
		return;
	got = read(fd, text, size - 1);
	text[got > 0 ? got : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	close(fd);
}

static void called(const char *call, const char *what)
{
	char line[4096];

	snprintf(line, sizeof(line), "%s%s%s\n", call, *what ? " " : "", what);
	put("calls", O_APPEND, line);
}

static void number(const char *word, const char *key, int *value)
{
	if (!strncmp(word, key, strlen(key)))
		*value = atoi(word + strlen(key));
}

static struct script load_script(const char *call)
{
	struct script script = { 0 };
	char name[64], text[256], *rest = text, *word;

	snprintf(name, sizeof(name), "script/%s", call);
	get(name, text, sizeof(text));
	while ((word = strsep(&rest, " "))) {
		number(word, "errno=", &script.err);
		number(word, "ms=", &script.ms);
		number(word, "signal=", &script.signal);
		if (!strncmp(word, "then=", 5))
			snprintf(script.then, sizeof(script.then), "%s\n", word + 5);
		number(word, "replace=", &script.replace);
		number(word, "write=", &script.write);
		number(word, "grow=", &script.grow);
		if (!strncmp(word, "name=", 5)) {
			script.named = 1;
			snprintf(script.name, sizeof(script.name), "%s", word + 5);
		}
	}
	return script;
}

static void copy(int from, const char *to, int flags)
{
	char data[65536];
	ssize_t got;
	off_t at = 0;
	int fd = real_open(to, O_WRONLY | O_CREAT | flags, 0644);

	while (fd >= 0 && (got = pread(from, data, sizeof(data), at)) > 0) {
		if (syscall(SYS_write, fd, data, got) != got)
			_exit(94);
		at += got;
	}
	close(fd);
}

/* Somebody installs another image meanwhile. */
static void meddle(const struct script *script)
{
	const char *image = getenv("LUCTL_SHIM_IMAGE");
	struct stat status;
	char other[PATH_MAX];
	int fd;

	snprintf(other, sizeof(other), "%s/other", folder());
	if (script->replace && rename(other, image))
		_exit(94);
	/* Whoever did it may have set the time back. */
	if (script->write) {
		stat(image, &status);
		fd = real_open(other, O_RDONLY, 0);
		copy(fd, image, 0);
		close(fd);
		utimensat(AT_FDCWD, image, (struct timespec[]){ status.st_atim, status.st_mtim },
			  0);
	}
	if (script->grow) {
		fd = real_open(image, O_WRONLY | O_APPEND, 0);
		if (syscall(SYS_write, fd, "", 1) != 1)
			_exit(94);
		close(fd);
	}
}

/* What every call does at last: the signal, and the time it takes. */
static void take(const struct script *script)
{
	meddle(script);
	if (script->signal)
		kill(getpid(), script->signal);
	usleep(script->ms * 1000);
}

/* What the kernel records of a step that ran. */
static void record(void)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s/timeline.next", folder());
	snprintf(to, sizeof(to), "%s/" FOLDER "timeline", folder());
	rename(from, to);
}

static int failed(const struct script *script, const char *step, int err)
{
	char text[32];

	if (script->named) {
		get(FOLDER "last_failure/count", text, sizeof(text));
		snprintf(text, sizeof(text), "%d\n", atoi(text) + 1);
		put(FOLDER "last_failure/count", O_TRUNC, text);
		put(FOLDER "last_failure/transition", O_TRUNC, step);
		put(FOLDER "last_failure/subsystem", O_TRUNC, script->name);
		snprintf(text, sizeof(text), "%d\n", -err);
		put(FOLDER "last_failure/errno", O_TRUNC, text);
		record();
	}
	if (*script->then)
		put(FOLDER "state", O_TRUNC, script->then);
	errno = err;
	return -1;
}

/* A step over the subsystems, with its deadline. */
static int walk(const struct script *script, const char *step)
{
	char text[128];
	int limit;

	get(strcmp(step, "freeze") ? FOLDER "prepare_timeout_ms" : FOLDER "freeze_timeout_ms",
	    text, sizeof(text));
	limit = atoi(text);
	snprintf(text, sizeof(text), "%s %s\n", step, script->name);
	put(FOLDER "transition", O_TRUNC, text);
	take(script);
	put(FOLDER "transition", O_TRUNC, "idle\n");
	if (script->err)
		return failed(script, step, script->err);
	if (limit && script->ms > limit && (!strcmp(step, "prepare") || !strcmp(step, "freeze")))
		return failed(script, step, ETIMEDOUT);
	return 0;
}

static int request(const char *call, const char *step, const char *needs, const char *next)
{
	struct script script = load_script(call);
	char state[32], transition[128];

	called(call, "");
	if (script.err && !script.named)
		return failed(&script, step, script.err);
	get(FOLDER "state", state, sizeof(state));
	get(FOLDER "transition", transition, sizeof(transition));
	if (strcmp(state, needs) || strcmp(transition, "idle"))
		return failed(&(struct script){ 0 }, step, EBUSY);
	if (walk(&script, step))
		return -1;
	put(FOLDER "state", O_TRUNC, next);
	return 0;
}

static int set_timeout(const char *call, const char *file, const char *text)
{
	struct script script = load_script(call);

	called(call, text);
	if (script.err)
		return failed(&script, "none", script.err);
	put(file, O_TRUNC, text);
	return 0;
}

static int store(const char *name, const char *text)
{
	int value = strcmp(text, "1") ? strcmp(text, "0") ? -1 : 0 : 1;

	if (!strcmp(name, "prepare_timeout_ms"))
		return set_timeout("timeout", FOLDER "prepare_timeout_ms", text);
	if (!strcmp(name, "freeze_timeout_ms"))
		return set_timeout("freeze-timeout", FOLDER "freeze_timeout_ms", text);
	if (!strcmp(name, "prepare") && value == 1)
		return request("prepare", "prepare", "normal", "prepared\n");
	if (!strcmp(name, "prepare") && value == 0)
		return request("cancel", "cancel", "prepared", "normal\n");
	if (!strcmp(name, "rehearse") && value == 1)
		return request("rehearse", "freeze", "prepared", "prepared\n");
	if (!strcmp(name, "finish") && !strcmp(text, "2"))
		return request("give-up", "finish", "updated", "normal\n");
	if (!strcmp(name, "finish") && value == 1)
		return request("finish", "finish", "updated", "normal\n");
	called("malformed", text);
	return failed(&(struct script){ 0 }, "none", EINVAL);
}

ssize_t write(int fd, const void *data, size_t size)
{
	char link[64], path[PATH_MAX], prefix[PATH_MAX], text[128];
	ssize_t got;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	got = readlink(link, path, sizeof(path) - 1);
	path[got > 0 ? got : 0] = '\0';
	snprintf(prefix, sizeof(prefix), "%s/" FOLDER, folder());
	if (strncmp(path, prefix, strlen(prefix)))
		return syscall(SYS_write, fd, data, size);

	snprintf(text, sizeof(text), "%.*s", (int)size, (const char *)data);
	return store(path + strlen(prefix), text) ? -1 : (ssize_t)size;
}

static const char *moved(const char *path, char *buffer)
{
	if (strncmp(path, "/proc", 5) || !strncmp(path, "/proc/self", 10))
		return path;
	snprintf(buffer, PATH_MAX, "%s%s", folder(), path);
	return buffer;
}

int open(const char *path, int flags, ...)
{
	char buffer[PATH_MAX];
	const char *image = getenv("LUCTL_SHIM_IMAGE");

	if (!strncmp(path, "/proc/", 6))
		return real_open(moved(path, buffer), flags, 0);
	if (image && !strcmp(path, image)) {
		struct script script = load_script("open");

		called("open", "");
		take(&script);
		if (script.err)
			return failed(&script, "none", script.err);
	}
	return real_open(path, flags, 0);
}

DIR *opendir(const char *path)
{
	static DIR *(*real)(const char *path);
	char buffer[PATH_MAX];

	if (!real)
		real = (DIR *(*)(const char *))dlsym(RTLD_NEXT, "opendir");
	return real(moved(path, buffer));
}

ssize_t readlink(const char *path, char *target, size_t size)
{
	char buffer[PATH_MAX];

	return syscall(SYS_readlinkat, AT_FDCWD, moved(path, buffer), target, size);
}

static int kexec_file_load(int kernel, int initrd, const char *cmdline, size_t size,
			   unsigned long flags)
{
	char loaded[PATH_MAX];
	const char *call = flags & KEXEC_FILE_UNLOAD ? "unload" : "load";
	struct script script = load_script(call);
	char what[4096] = "";

	if (!(flags & KEXEC_FILE_UNLOAD)) {
		/* A command line without its zero is refused. */
		if (!size || cmdline[size - 1])
			return failed(&script, "none", EINVAL);
		snprintf(what, sizeof(what), "%s %s", flags & KEXEC_FILE_NO_INITRAMFS ?
			 "no-initrd" : initrd >= 0 ? "initrd" : "bad-initrd", cmdline);
	}
	called(call, what);
	take(&script);
	if (script.err)
		return failed(&script, "none", script.err);
	if (!(flags & KEXEC_FILE_UNLOAD)) {
		snprintf(loaded, sizeof(loaded), "%s/loaded", folder());
		copy(kernel, loaded, O_TRUNC);
	}
	put("sys/kernel/kexec_loaded", O_TRUNC, flags & KEXEC_FILE_UNLOAD ? "0\n" : "1\n");
	return 0;
}

long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long words[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		words[i] = va_arg(list, long);
	va_end(list);

	if (number == SYS_kexec_file_load)
		return kexec_file_load(words[0], words[1], (const char *)words[3], words[2], words[4]);
	if (number == SYS_reboot || number == SYS_kexec_load)
		_exit(96);
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

void sync(void)
{
	struct script script = load_script("sync");

	called("sync", "");
	take(&script);
}

int reboot(int command)
{
	struct script script = load_script("reboot");
	char loaded[8], state[32];

	called("reboot", command == RB_KEXEC ? "kexec" : "otherwise");
	if (command != RB_KEXEC)
		_exit(95);
	get("sys/kernel/kexec_loaded", loaded, sizeof(loaded));
	get(FOLDER "state", state, sizeof(state));
	if (*loaded != '1')
		return failed(&(struct script){ 0 }, "none", EINVAL);
	if (script.err && !script.named)
		return failed(&script, "none", script.err);
	if (!strcmp(state, "prepared") && walk(&script, "freeze"))
		return -1;
	_exit(JUMPED);
}
