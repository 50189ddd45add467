// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages does nobody own? What is free gets an owner, the process that looks;
 * what is left without one is allocated for the kernel's own use, or reserved.
 *
 * Filling memory finds nearly all that is free. Some pages wait in lists of the
 * processors and look as if they were allocated, thousands if the kernel may keep as
 * many as it likes, which it may not meanwhile; they are others the next time. So
 * memory is filled several times, and a page counts when it never had an owner.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guestctl.h"

#define PAGE		4096
#define CHUNK		(1 << 20)
#define TIMES		3

/* Left free when pages are looked at, beside the watermark where reclaim begins. */
#define SPARE_KIB	2048

/* Bits of /proc/kpageflags, from include/uapi/linux/kernel-page-flags.h. */
#define KPF_LRU		(1ull << 5)
#define KPF_SLAB	(1ull << 7)
#define KPF_BUDDY	(1ull << 10)
#define KPF_MMAP	(1ull << 11)
#define KPF_ANON	(1ull << 12)
#define KPF_SWAPCACHE	(1ull << 13)
#define KPF_HUGE	(1ull << 17)
#define KPF_NOPAGE	(1ull << 20)
#define KPF_OFFLINE	(1ull << 23)
#define KPF_ZERO_PAGE	(1ull << 24)
#define KPF_PGTABLE	(1ull << 26)
#define KPF_RESERVED	(1ull << 32)
#define KPF_OWNED	(KPF_LRU | KPF_SLAB | KPF_BUDDY | KPF_MMAP | KPF_ANON |		\
			 KPF_SWAPCACHE | KPF_HUGE | KPF_NOPAGE | KPF_OFFLINE |		\
			 KPF_ZERO_PAGE | KPF_PGTABLE)

/* The smallest lists for the processors, and as the kernel has them. */
#define LISTS		"/proc/sys/vm/percpu_pagelist_high_fraction"
#define SMALL_LISTS	"1000000"
#define USUAL_LISTS	"0"

enum { OWNED, ALLOCATED, RESERVED };
static const char *const kinds[] = { "owned", "allocated", "reserved" };

static long meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	long kib = -1;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtol(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

/* KiB that must stay free, or reclaim and the killer of processes begin their work. */
static long watermark(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	char line[128];
	long pages = 0, high;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " high %ld", &high) == 1)
			pages += high;
	if (file)
		fclose(file);
	return pages * (PAGE / 1024);
}

/*
 * Takes all memory that is free, which zeroes it, and writes a word to the beginning of
 * each page. Returns the addresses, which end with NULL.
 */
static void **eat(uint64_t pattern, long spare_kib)
{
	long keep = watermark() + spare_kib;
	size_t count = 0, max = 1 << 16;
	void **chunks = calloc(max, sizeof(*chunks));

	while (chunks && count < max - 1 && meminfo("MemFree:") > keep) {
		char *chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (chunk == MAP_FAILED)
			break;
		for (size_t at = 0; at < CHUNK; at += PAGE)
			memcpy(chunk + at, &pattern, sizeof(pattern));
		chunks[count++] = chunk;
	}
	return chunks;
}

static void give_back(void **chunks)
{
	for (size_t i = 0; chunks[i]; i++)
		munmap(chunks[i], CHUNK);
	free(chunks);
}

static int kind_of(uint64_t flags)
{
	if (flags & KPF_RESERVED)
		return RESERVED;
	return flags & KPF_OWNED ? OWNED : ALLOCATED;
}

/* Adds what /proc/kpageflags says now to @kinds_of, one for each page. */
static int look(unsigned char **kinds_of, size_t *count)
{
	uint64_t flags[1024];
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	size_t at = 0;
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, flags, sizeof(flags))) > 0) {
		size_t pages = n / sizeof(*flags);

		if (at + pages > *count) {
			unsigned char *more = realloc(*kinds_of, at + pages);

			if (!more)
				break;
			memset(more + *count, ALLOCATED, at + pages - *count);
			*kinds_of = more;
			*count = at + pages;
		}
		for (size_t i = 0; i < pages; i++) {
			int kind = kind_of(flags[i]);

			if (kind == RESERVED || (*kinds_of)[at + i] != OWNED)
				(*kinds_of)[at + i] = kind;
		}
		at += pages;
	}
	close(fd);
	return n < 0 ? -1 : 0;
}

/* Gives back what only makes access faster. */
static int drop_caches(void)
{
	int err = write_once(LISTS, SMALL_LISTS, strlen(SMALL_LISTS));

	return err ? err : write_once("/proc/sys/vm/drop_caches", "3", 1);
}

/* "pages [FILE TEXT]": a write first, so that what it frees is what is looked for. */
int verb_pages(int argc, char **argv)
{
	unsigned char *kinds_of = NULL;
	size_t count = 0;
	int err = 0;

	if (argc == 3)
		err = write_once(argv[1], argv[2], strlen(argv[2]));
	if (!err)
		err = drop_caches();
	if (err)
		return report_errno(err);

	for (int i = 0; i < TIMES; i++) {
		void **chunks = eat(~0ull / (i + 2), SPARE_KIB);

		if (!chunks || look(&kinds_of, &count))
			return report_errno(errno);
		give_back(chunks);
	}
	write_once(LISTS, USUAL_LISTS, strlen(USUAL_LISTS));
	for (size_t at = 0, end; at < count; at = end) {
		for (end = at + 1; end < count && kinds_of[end] == kinds_of[at]; end++)
			;
		if (kinds_of[at] != OWNED)
			printf("%s %zx %zx\n", kinds[kinds_of[at]], at, end);
	}
	return 0;
}

/*
 * "fill KIB": keeps all free memory but so much, filled with a pattern, until it is
 * killed; says "full" when it is.
 */
int verb_fill(int argc, char **argv)
{
	int err = drop_caches();

	(void)argc;
	if (err)
		return report_errno(err);
	if (!eat(0x5a5a5a5a5a5a5a5aull, atol(argv[1])))
		return report_errno(errno);
	printf("full\n");
	fflush(stdout);
	for (;;)
		pause();
}
