// SPDX-License-Identifier: GPL-2.0-only
/*
 * kexec_file_load(2) and reboot(2) with nothing in between: what the kernel
 * answers is what is printed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guestctl.h"

int verb_kexec_load(int argc, char **argv)
{
	unsigned long flags = 0;
	int kernel, initrd = -1;
	long failed;

	(void)argc;
	kernel = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (kernel < 0)
		return report_errno(errno);
	if (strcmp(argv[2], "-")) {
		initrd = open(argv[2], O_RDONLY | O_CLOEXEC);
		if (initrd < 0)
			return report_errno(errno);
	} else {
		flags |= KEXEC_FILE_NO_INITRAMFS;
	}
	fault_begin();
	failed = syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1,
			 argv[3], flags);
	fault_end();
	if (failed)
		return report_errno(errno);
	printf("ok\n");
	return 0;
}

/*
 * An image that would come back: kexec_load(2) with KEXEC_PRESERVE_CONTEXT. What
 * it holds is a loop, for nobody is meant to run it.
 */
int verb_kexec_load_jump(int argc, char **argv)
{
	static const unsigned char loop[4096] = { 0xfa, 0xf4, 0xeb, 0xfd };
	static const unsigned long place = 32ul << 20;
	struct kexec_segment segment = {
		.buf = loop,
		.bufsz = sizeof(loop),
		.mem = (void *)place,
		.memsz = sizeof(loop),
	};

	(void)argc;
	(void)argv;
	if (syscall(SYS_kexec_load, place, 1UL, &segment,
		    KEXEC_ARCH_X86_64 | KEXEC_PRESERVE_CONTEXT))
		return report_errno(errno);
	printf("ok\n");
	return 0;
}

int verb_kexec_unload(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	/* No segments: whatever is loaded goes, by whichever call it came. */
	if (syscall(SYS_kexec_load, 0UL, 0UL, NULL, KEXEC_ARCH_X86_64))
		return report_errno(errno);
	printf("ok\n");
	return 0;
}

int verb_reboot(int argc, char **argv)
{
	static const struct { const char *name; unsigned int cmd; } how[] = {
		{ "kexec", LINUX_REBOOT_CMD_KEXEC },
		{ "restart", LINUX_REBOOT_CMD_RESTART },
		{ "poweroff", LINUX_REBOOT_CMD_POWER_OFF },
		{ "halt", LINUX_REBOOT_CMD_HALT },
		{ "suspend", LINUX_REBOOT_CMD_SW_SUSPEND },
	};

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		long failed;

		if (strcmp(argv[1], how[i].name))
			continue;
		if (argc == 4) {
			int err = write_once(argv[2], argv[3], strlen(argv[3]));

			if (err)
				return report_errno(err);
		}
		fault_begin();
		failed = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1,
				 LINUX_REBOOT_MAGIC2, how[i].cmd, NULL);
		fault_end();
		if (!failed) {
			printf("ok\n");
			return 0;
		}
		return report_errno(errno);
	}
	return 2;
}
