/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guestctl: the one program the harness adds to a guest. It is init (process
 * 1), the control agent on the second serial port, and a command with verbs
 * that do what a shell cannot: exact writes with the errno by name, poll(2),
 * uevents, kexec_file_load(2), reboot(2), liveupdate sessions.
 */
#ifndef GUESTCTL_H
#define GUESTCTL_H

#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#define AGENT_TTY	"/dev/ttyS1"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* The time stamp counter. */
static inline unsigned long long counter(void)
{
	return __rdtsc();
}

/*
 * Process 1: mounts, starts the agent and perhaps a shell, reaps for ever. @began
 * is the counter as it was started.
 */
int init_main(unsigned long long began);

/*
 * The control agent; serves requests from @tty and never returns. It tells the
 * host that init began at @began.
 */
int agent_main(const char *tty, unsigned long long began);

/* Sends one event frame to the host, from any process. */
int agent_event(const void *text, size_t len);

/* The same in two halves, for those who have no time to open the port. */
int agent_open(void);
int agent_send(int tty, const void *text, size_t len);

/* Prints "ERRNONAME NUMBER text" for @err and returns 1, the exit status. */
int report_errno(int err);

/* write(2) until everything is out; -1 and errno when it fails. */
int write_all(int fd, const void *buf, size_t len);

/* Milliseconds of the monotonic clock. */
long long now_ms(void);

/*
 * Sessions: descriptors, or 0, or a negative errno. A memfd holds a pattern made
 * of @name, a word every @transition bytes.
 */
int session_open(const char *name, int create);
int session_preserve(int session, int fd, uint64_t token);
int session_retrieve(int session, uint64_t token);
int session_finish(int session);
int memfd_make(const char *name, size_t bytes, size_t step);

/* 0 when @fd is as memfd_make() makes it; @why says what differs if not. */
int memfd_compare(const char *name, int fd, size_t bytes, size_t step, char *why,
		  size_t len);

/* One open, one write; the errno, or 0. */
int write_once(const char *path, const void *data, size_t len);

/*
 * Around one system call: with "fail" its n-th allocation fails. errno stays what
 * it was.
 */
void fault_begin(void);
void fault_end(void);

/* Runs a verb. */
int run_verb(int argc, char **argv);

/* Verbs: argv[0] is the verb; they return the exit status. */
int verb_write(int argc, char **argv);
int verb_read(int argc, char **argv);
int verb_poll(int argc, char **argv);
int verb_follow(int argc, char **argv);
int verb_stream(int argc, char **argv);
int verb_race(int argc, char **argv);
int verb_uevent(int argc, char **argv);
int verb_kexec_load(int argc, char **argv);
int verb_kexec_load_jump(int argc, char **argv);
int verb_kexec_unload(int argc, char **argv);
int verb_reboot(int argc, char **argv);
int verb_session(int argc, char **argv);
int verb_setuid(int argc, char **argv);
int verb_signals(int argc, char **argv);
int verb_events(int argc, char **argv);
int verb_tsc(int argc, char **argv);
int verb_pages(int argc, char **argv);
int verb_fill(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_fail(int argc, char **argv);
int verb_fail_each(int argc, char **argv);

#endif
