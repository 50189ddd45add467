// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Signals
 *
 * What luctl asks of the kernel cannot be interrupted, and dying halfway would
 * leave the machine prepared. So a command that changes something holds SIGINT,
 * SIGTERM and SIGHUP back, makes its slow calls in a thread, and tells the operator
 * at once that the signal was heard, and whether it will undo what it does. If so,
 * it asks luctl_interrupted() between its steps and undoes them itself.
 *
 * A command that only looks ends at once, with the error and the exit status of
 * an interrupted one. A signal handler may not make an object, so that is made
 * before for each signal.
 *
 * A signal that was ignored when luctl was started, as nohup(1) does, stays
 * ignored.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "luctl.h"

static sigset_t held;
static int caught;

struct thread {
	int (*call)(void *data);
	void *data;
	int result;
	int done;
};

int luctl_interrupted(void)
{
	static const struct timespec at_once;
	int number;

	while ((number = sigtimedwait(&held, NULL, &at_once)) > 0) {
		if (!caught)
			caught = number;
	}

	return caught;
}

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

/* Is it one that was not ignored when luctl was started? */
static bool heeded(int number)
{
	struct sigaction before;

	return !sigaction(number, NULL, &before) && before.sa_handler != SIG_IGN;
}

void luctl_interrupt_hold(void)
{
	sigemptyset(&held);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (heeded(signals[i]))
			sigaddset(&held, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &held, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* What to say when one of them ends luctl. */
static char *last_words[ARRAY_SIZE(signals)];

static void end(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		const char *text = last_words[i];
		int fd = luctl_options.json ? STDOUT_FILENO : STDERR_FILENO;

		if (signals[i] == number && write(fd, text, strlen(text)) < 0)
			continue;
	}
	_exit(LUCTL_INTERRUPTED);
}

void luctl_interrupt_end(const char *command)
{
	struct sigaction action = { .sa_handler = end };

	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		char *message = luctl_format("SIG%s came", sigabbrev_np(signals[i]));

		last_words[i] = luctl_error_line(LUCTL_INTERRUPTED, command, message);
		free(message);
		if (heeded(signals[i]))
			sigaction(signals[i], &action, NULL);
	}
}

static void notify(const char *who, bool undone)
{
	struct json_object *object, *interrupt;
	char *path = luctl_path("transition");
	void *transition = NULL;
	char *subsystem = NULL;
	char *name;
	size_t size;

	if (!luctl_read_file(path, 4096, &transition, &size))
		subsystem = strchr(transition, ' ');
	if (subsystem) {
		who = ++subsystem;
		subsystem[strcspn(subsystem, "\n ")] = '\0';
	}
	name = luctl_format("SIG%s", sigabbrev_np(luctl_interrupted()));
	if (luctl_options.json) {
		interrupt = json_object_new_object();
		json_object_object_add(interrupt, "signal", json_object_new_string(name));
		json_object_object_add(interrupt, "waits_for", json_object_new_string(who));
		json_object_object_add(interrupt, "undone", json_object_new_boolean(undone));
		object = json_object_new_object();
		json_object_object_add(object, "interrupt", interrupt);
		luctl_print_json(object);
	} else {
		fprintf(stderr, "luctl: %s: %s when %s returns\n", name, undone ?
			"will be undone" : "cannot be undone, ends", who);
	}
	free(name);
	free(transition);
	free(path);
}

static void *run(void *argument)
{
	struct thread *thread = argument;
	const uint64_t one = 1;

	thread->result = thread->call(thread->data);
	while (write(thread->done, &one, sizeof(one)) < 0 && errno == EINTR)
		;

	return NULL;
}

int luctl_interrupt_run(int (*call)(void *data), void *data, const char *who, bool undone)
{
	struct thread thread = { .call = call, .data = data };
	struct pollfd waits[2];
	pthread_t id;

	thread.done = eventfd(0, EFD_CLOEXEC);
	waits[0] = (struct pollfd){ .fd = thread.done, .events = POLLIN };
	waits[1] = (struct pollfd){ .fd = signalfd(-1, &held, SFD_CLOEXEC), .events = POLLIN };
	if (thread.done < 0 || waits[1].fd < 0 || pthread_create(&id, NULL, run, &thread)) {
		/* The signal is seen later, but it is seen. */
		thread.result = call(data);
		goto out_close;
	}

	while (!(waits[0].revents & POLLIN)) {
		if (poll(waits, ARRAY_SIZE(waits), -1) < 0)
			continue;
		if (waits[1].revents & POLLIN) {
			luctl_interrupted();
			notify(who, undone);
		}
	}
	pthread_join(id, NULL);

out_close:
	if (thread.done >= 0)
		close(thread.done);
	if (waits[1].fd >= 0)
		close(waits[1].fd);

	return thread.result;
}
