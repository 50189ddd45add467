// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Signals
 *
 * What luctl asks of the kernel cannot be interrupted, and dying halfway would
 * leave the machine prepared. So a command that has something to undo holds
 * SIGINT, SIGTERM and SIGHUP back, makes its slow calls in a thread, and tells
 * the operator at once that the signal was heard. It asks luctl_interrupted()
 * between its steps and undoes them itself.
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

void luctl_interrupt_hold(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;

	sigemptyset(&held);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaddset(&held, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &held, NULL);
}

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

static void announce(const char *who)
{
	char *path = luctl_path("transition");
	void *transition = NULL;
	char *participant = NULL;
	size_t size;

	if (!luctl_read_file(path, 4096, &transition, &size))
		participant = strchr(transition, ' ');
	if (participant) {
		who = ++participant;
		participant[strcspn(participant, "\n ")] = '\0';
	}
	fprintf(stderr, "luctl: interrupt: will be undone when %s returns\n", who);
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

int luctl_interrupt_run(int (*call)(void *data), void *data, const char *who)
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
			announce(who);
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
