/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Judgement on the boot of the next kernel
 *
 * See boot.c.
 */

#ifndef _LUCTL_BOOT_H
#define _LUCTL_BOOT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "image.h"
#include "luctl.h"

/**
 * struct luctl_findings - what is to be said of an image
 * @list: findings, as "luctl check --json" prints them.
 * @unjudged: what could not be judged, likewise.
 * @verdict: the worst of the findings.
 */
struct luctl_findings {
	struct json_object *list;
	struct json_object *unjudged;
	enum luctl_verdict verdict;
};

/* Add a finding; @why and @advice were made by luctl_format() and are freed. */
void luctl_find(struct luctl_findings *findings, enum luctl_verdict severity,
		const char *thing, char *why, char *advice);

/* Say that something could not be judged; @why and @advice are freed, too. */
void luctl_unjudged(struct luctl_findings *findings, const char *thing, char *why,
		    char *advice);

/**
 * struct luctl_boot - a boot to be judged
 * @image: the kernel
 * @cmdline: its command line, NULL if that is not known
 * @initrd: bytes of its initramfs; 0 for none, or if it is not known
 * @elsewhere: it will not be on this machine
 */
struct luctl_boot {
	const struct luctl_image *image;
	const char *cmdline;
	uint64_t initrd;
	bool elsewhere;
};

/**
 * luctl_judge_boot() - will the next kernel come up?
 * @boot: the boot
 * @findings: where it is said
 *
 * Return: what is said of scratch memory with --json, NULL if that is not known.
 */
struct json_object *luctl_judge_boot(const struct luctl_boot *boot,
				     struct luctl_findings *findings);

#endif /* _LUCTL_BOOT_H */
