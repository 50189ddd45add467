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

#define AGENT_TTY	"/dev/ttyS1"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Process 1: mounts, starts the agent and perhaps a shell, reaps for ever. */
int init_main(void);

/* The control agent; serves requests from @tty and never returns. */
int agent_main(const char *tty);

/* Sends one event frame to the host, from any process. */
int agent_event(const void *text, size_t len);

/* Prints "ERRNONAME NUMBER text" for @err and returns 1, the exit status. */
int report_errno(int err);

/* write(2) until everything is out; -1 and errno when it fails. */
int write_all(int fd, const void *buf, size_t len);

/* Milliseconds of the monotonic clock. */
long long now_ms(void);

/* Verbs: argv[0] is the verb; they return the exit status. */
int verb_write(int argc, char **argv);
int verb_read(int argc, char **argv);
int verb_poll(int argc, char **argv);
int verb_follow(int argc, char **argv);
int verb_race(int argc, char **argv);
int verb_event(int argc, char **argv);
int verb_uevent(int argc, char **argv);
int verb_kexec_load(int argc, char **argv);
int verb_kexec_load_jump(int argc, char **argv);
int verb_kexec_unload(int argc, char **argv);
int verb_reboot(int argc, char **argv);
int verb_session(int argc, char **argv);
int verb_setuid(int argc, char **argv);
int verb_dropcap(int argc, char **argv);
int verb_signals(int argc, char **argv);
int verb_events(int argc, char **argv);
int verb_tsc(int argc, char **argv);

#endif
