// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: What an update holds for others
 *
 * Devices, what is retained, and sessions of /dev/liveupdate.
 *
 * How many devices there are is in /sys/kernel/liveupdate/devices, which ones in debugfs,
 * which only root can read and which need not be mounted. Devices come and go: a list
 * that does not have as many lines as there are devices is read again.
 *
 * There is no list of sessions, and a session can only be retrieved by who knows its
 * name. But one that is open is a file of a process, whose link in /proc/PID/fd
 * names it.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "luctl.h"

/* How often to read a list that does not fit together. */
#define READ_ATTEMPTS	10

/* In bytes; a line has some 100 at most. */
#define LARGEST_LIST	(64 << 20)

#define SESSION	"anon_inode:[luo_session] "

/* Devices */

static void add_device(struct luctl_devices *devices, const char *bus, const char *identity,
		       const char *name, const char *is)
{
	struct luctl_device *device;

	devices->list = luctl_resize(devices->list, devices->count + 1, sizeof(*devices->list));
	device = &devices->list[devices->count++];
	device->bus = luctl_format("%s", bus);
	device->identity = luctl_format("%s", identity);
	device->name = strcmp(name, "-") ? luctl_format("%s", name) : NULL;
	device->is = is;
}

void luctl_drop_devices(struct luctl_devices *devices)
{
	for (size_t i = 0; i < devices->count; i++) {
		free(devices->list[i].bus);
		free(devices->list[i].identity);
		free(devices->list[i].name);
	}
	free(devices->list);
	*devices = (struct luctl_devices){ 0 };
}

/* Add the devices of a list; false if it does not fit together. */
static bool parse_devices(struct luctl_devices *devices, char *text, size_t told,
			  const char *is)
{
	size_t found = 0;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *bus = strsep(&line, " "), *identity = strsep(&line, " ");

		if (!*bus && !line)
			continue;
		if (!*bus || !identity || !*identity || !line || !*line)
			return false;
		add_device(devices, bus, identity, line, is);
		found++;
	}

	return found == told;
}

static bool has_devices(void)
{
	char *path = luctl_path("devices");
	bool present = !access(path, F_OK);

	free(path);

	return present;
}

/* Read a list once; *@fits says whether it is what the kernel counts. */
static enum luctl_status read_devices(const char *is, const char *name,
				      struct luctl_devices *devices, bool *fits)
{
	char *path = luctl_format("%s/kernel/debug/liveupdate_devices/%s",
				  luctl_options.sysfs, is);
	enum luctl_status status;
	char *text, *end;
	void *list;
	size_t told, size;

	*devices = (struct luctl_devices){ .known = true };
	status = luctl_read(name, &text);
	if (!status) {
		told = strtoul(text, &end, 10);
		*fits = isdigit((unsigned char)*text) && !*end;
		free(text);
		if (*fits && told && luctl_read_file(path, LARGEST_LIST, &list, &size)) {
			devices->unnamed = told;
		} else if (*fits && told) {
			*fits = parse_devices(devices, list, told, is);
			free(list);
		}
	}
	free(path);

	return status;
}

enum luctl_status luctl_devices(const char *is, struct luctl_devices *devices)
{
	char *name = luctl_format("devices/nr_%s", is);
	enum luctl_status status = LUCTL_OK;
	bool fits = false;

	*devices = (struct luctl_devices){ .known = has_devices() };
	for (int i = 0; i < READ_ATTEMPTS && devices->known && !status && !fits; i++) {
		luctl_drop_devices(devices);
		status = read_devices(is, name, devices, &fits);
	}
	if (!status && devices->known && !fits) {
		luctl_drop_devices(devices);
		status = luctl_fail(LUCTL_UNREADABLE, name,
				    "try again, or use the luctl of this kernel",
				    "the number and the list in debugfs do not fit together");
	}
	free(name);

	return status;
}

static struct luctl_device *find_device(struct luctl_devices *devices,
					const struct luctl_device *device)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (!strcmp(devices->list[i].bus, device->bus) &&
		    !strcmp(devices->list[i].identity, device->identity))
			return &devices->list[i];
	}

	return NULL;
}

enum luctl_status luctl_all_devices(struct luctl_devices *devices)
{
	/* What is in several lists is what the last one says. */
	static const char *const lists[] = {
		"requested", "preserved", "unreclaimed", "reclaimed",
	};
	enum luctl_status status = LUCTL_OK;

	*devices = (struct luctl_devices){ .known = has_devices() };
	for (size_t i = 0; i < ARRAY_SIZE(lists) && devices->known && !status; i++) {
		struct luctl_devices some;

		status = luctl_devices(lists[i], &some);
		if (some.unnamed > devices->unnamed)
			devices->unnamed = some.unnamed;
		for (size_t k = 0; k < some.count; k++) {
			const struct luctl_device *device = &some.list[k];
			struct luctl_device *same = find_device(devices, device);

			if (same)
				same->is = lists[i];
			else
				add_device(devices, device->bus, device->identity,
					   device->name ?: "-", lists[i]);
		}
		luctl_drop_devices(&some);
	}

	return status;
}

struct json_object *luctl_devices_json(const struct luctl_devices *devices)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < devices->count; i++) {
		const struct luctl_device *device = &devices->list[i];
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "bus", json_object_new_string(device->bus));
		json_object_object_add(object, "identity",
				       json_object_new_string(device->identity));
		json_object_object_add(object, "name", device->name ?
				       json_object_new_string(device->name) : NULL);
		json_object_object_add(object, "is", json_object_new_string(device->is));
		json_object_array_add(array, object);
	}

	return array;
}

/* What is retained */

/* A file of it, to be freed. A cause may go away while it is looked at. */
static char *cause_file(const char *id, const char *file)
{
	char *name = luctl_format("retained/%s/%s", id, file);
	char *path = luctl_path(name), *text = NULL;
	size_t size;
	void *data;

	if (!luctl_read_file(path, 4096, &data, &size)) {
		text = data;
		text[strcspn(text, "\n")] = '\0';
	}
	free(path);
	free(name);

	return text;
}

static void add_cause(struct luctl_retained *retained, const char *id)
{
	char *reason = cause_file(id, "reason"), *bytes = cause_file(id, "bytes");
	struct luctl_cause *cause;

	if (reason) {
		retained->list = luctl_resize(retained->list, retained->count + 1,
					      sizeof(*retained->list));
		cause = &retained->list[retained->count++];
		cause->id = luctl_format("%s", id);
		cause->reason = luctl_format("%s", reason);
		cause->bytes = bytes ? strtoull(bytes, NULL, 10) : 0;
	}
	free(bytes);
	free(reason);
}

static int compare_causes(const void *a, const void *b)
{
	const struct luctl_cause *first = a, *second = b;

	return strcmp(first->id, second->id);
}

void luctl_read_retained(struct luctl_retained *retained)
{
	char *path = luctl_path("retained");
	DIR *causes = opendir(path);
	struct dirent *cause;

	*retained = (struct luctl_retained){ 0 };
	while (causes && (cause = readdir(causes))) {
		if (*cause->d_name != '.')
			add_cause(retained, cause->d_name);
	}
	if (causes)
		closedir(causes);
	free(path);
	if (retained->count)
		qsort(retained->list, retained->count, sizeof(*retained->list),
		      compare_causes);
}

struct json_object *luctl_retained_json(const struct luctl_retained *retained)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < retained->count; i++) {
		const struct luctl_cause *cause = &retained->list[i];
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "id", json_object_new_string(cause->id));
		json_object_object_add(object, "reason", json_object_new_string(cause->reason));
		json_object_object_add(object, "bytes", json_object_new_uint64(cause->bytes));
		json_object_array_add(array, object);
	}

	return array;
}

void luctl_drop_retained(struct luctl_retained *retained)
{
	for (size_t i = 0; i < retained->count; i++) {
		free(retained->list[i].id);
		free(retained->list[i].reason);
	}
	free(retained->list);
	*retained = (struct luctl_retained){ 0 };
}

/* Sessions */

static char *process_name(int pid)
{
	char *path = luctl_format("/proc/%d/comm", pid), *name = NULL;
	size_t size;
	void *data;

	if (!luctl_read_file(path, 4096, &data, &size)) {
		name = data;
		name[strcspn(name, "\n")] = '\0';
	}
	free(path);

	return name ?: luctl_format("?");
}

/* A process may have a session open several times. */
static void add_session(struct luctl_sessions *sessions, const char *name, int pid)
{
	struct luctl_session *session;

	for (size_t i = 0; i < sessions->count; i++) {
		if (sessions->list[i].pid == pid && !strcmp(sessions->list[i].name, name))
			return;
	}
	sessions->list = luctl_resize(sessions->list, sessions->count + 1, sizeof(*sessions->list));
	session = &sessions->list[sessions->count++];
	session->name = luctl_format("%s", name);
	session->process = process_name(pid);
	session->pid = pid;
}

void luctl_drop_sessions(struct luctl_sessions *sessions)
{
	for (size_t i = 0; i < sessions->count; i++) {
		free(sessions->list[i].name);
		free(sessions->list[i].process);
	}
	free(sessions->list);
	*sessions = (struct luctl_sessions){ 0 };
}

static void look_at_process(struct luctl_sessions *sessions, int pid)
{
	char *folder = luctl_format("/proc/%d/fd", pid);
	DIR *files = opendir(folder);
	struct dirent *file;

	/* It may have ended meanwhile. */
	if (!files && errno != ENOENT)
		sessions->complete = false;
	while (files && (file = readdir(files))) {
		char *path = luctl_format("%s/%s", folder, file->d_name);
		char target[PATH_MAX];
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		free(path);
		target[length > 0 ? length : 0] = '\0';
		if (!strncmp(target, SESSION, strlen(SESSION)))
			add_session(sessions, target + strlen(SESSION), pid);
	}
	if (files)
		closedir(files);
	free(folder);
}

void luctl_open_sessions(struct luctl_sessions *sessions)
{
	struct dirent *process;
	DIR *processes = opendir("/proc");

	*sessions = (struct luctl_sessions){ .complete = processes };
	while (processes && (process = readdir(processes))) {
		if (isdigit((unsigned char)*process->d_name))
			look_at_process(sessions, atoi(process->d_name));
	}
	if (processes)
		closedir(processes);
}
