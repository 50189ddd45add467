// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dispatch of guestctl, and the verbs too small for a file of their own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guestctl.h"

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	int min_args;
	const char *usage;
};

static const struct verb verbs[] = {
	{ "write", verb_write, 2, "[-e] FILE STRING: one write(2); -e: backslash escapes" },
	{ "read", verb_read, 1, "FILE: contents, or the errno" },
	{ "poll", verb_poll, 2, "FILE MS: wait for POLLPRI on a sysfs file, print what it holds then" },
	{ "follow", verb_follow, 2, "FILE MS [LABEL]: report every value of a sysfs file to the host" },
	{ "stream", verb_stream, 2, "FILE STRING: write again as soon as it is not EBUSY, for ever" },
	{ "race", verb_race, 3, "N FILE STRING...: N processes write at once, in turn each STRING" },
	{ "events", verb_events, 1, "LABEL: send each line of standard input to the host" },
	{ "uevent", verb_uevent, 1, "MS [TEXT [N]]: print (N) uevents (that contain TEXT) for MS" },
	{ "kexec-load", verb_kexec_load, 3, "KERNEL INITRD|- CMDLINE: kexec_file_load(2)" },
	{ "kexec-load-jump", verb_kexec_load_jump, 0, ": an image that would jump back" },
	{ "kexec-unload", verb_kexec_unload, 0, ": drop the loaded image" },
	{ "reboot", verb_reboot, 1, "kexec|restart|poweroff|halt [FILE TEXT]: write, then reboot(2)" },
	{ "session", verb_session, 2, "create|verify|check|add|drop NAME ...: /dev/liveupdate sessions" },
	{ "setuid", verb_setuid, 2, "UID CMD...: run CMD as UID, no groups" },
	{ "signals", verb_signals, 1, "CMD...: run CMD with no signal ignored" },
	{ "tsc", verb_tsc, 0, ": the time stamp counter" },
	{ "pages", verb_pages, 0, "[FILE TEXT]: write, then print runs of pages that nobody owns" },
	{ "fill", verb_fill, 1, "KIB: keep all free memory but KIB, filled with a pattern" },
	{ "fail", verb_fail, 2, "N VERB...: the N-th allocation of the one call of VERB fails" },
	{ "fail-each", verb_fail_each, 4, "FILE STRING UNDO-FILE|'' STRING FILE...: write until each allocation failed once" },
	{ "bench", verb_bench, 1, "write|reboot|preserve|retrieve ...: measure" },
};

int report_errno(int err)
{
	const char *name = strerrorname_np(err);

	printf("%s %d %s\n", name ? name : "E?", err, strerror(err));
	return 1;
}

int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		p += n;
		len -= n;
	}
	return 0;
}

long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int verb_tsc(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("%llu\n", counter());
	return 0;
}

static int run_command(char **argv)
{
	execvp(argv[0], argv);
	report_errno(errno);
	return 127;
}

int verb_setuid(int argc, char **argv)
{
	uid_t uid = strtoul(argv[1], NULL, 10);

	(void)argc;
	if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
		return report_errno(errno);
	return run_command(argv + 2);
}

/* A shell starts what is in the background with SIGINT ignored. */
int verb_signals(int argc, char **argv)
{
	(void)argc;
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	return run_command(argv + 1);
}

static int usage(void)
{
	fprintf(stderr, "usage: guestctl VERB ...\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(stderr, "  %s %s\n", verbs[i].name, verbs[i].usage);
	return 2;
}

int run_verb(int argc, char **argv)
{
	for (size_t i = 0; argc > 0 && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[0], verbs[i].name))
			continue;
		if (argc - 1 < verbs[i].min_args)
			break;
		return verbs[i].run(argc, argv);
	}
	return usage();
}

int main(int argc, char **argv)
{
	unsigned long long began = counter();

	if (getpid() == 1)
		return init_main(began);

	return run_verb(argc - 1, argv + 1);
}
