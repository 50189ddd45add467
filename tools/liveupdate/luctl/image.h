/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Images and the subsystems they describe
 *
 * See image.c.
 */

#ifndef _LUCTL_IMAGE_H
#define _LUCTL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sizes of the strings in struct liveupdate_subsystem_desc, and of a kernel release. */
#define LUCTL_NOTE_KHO_SIZE	16
#define LUCTL_NOTE_TABLE_SIZE	24
#define LUCTL_NOTE_NAME_SIZE	48
#define LUCTL_RELEASE_SIZE	65

/* What a subsystem says of itself in its note; the strings are valid. */
struct luctl_note {
	char kho[LUCTL_NOTE_KHO_SIZE];
	char table[LUCTL_NOTE_TABLE_SIZE];
	char name[LUCTL_NOTE_NAME_SIZE];
	uint32_t version;
	uint32_t oldest;
	uint32_t level;
	uint32_t class;
};

/* A note that is not valid. */
struct luctl_odd_note {
	uint32_t type;
	uint32_t size;
	const char *why;
};

/* More odd notes are not told. */
#define LUCTL_ODD_NOTES		8

/**
 * struct luctl_notes - subsystems as ELF notes describe them
 * @list: descriptions; no two are the same, but two may have the same name.
 * @count: their number.
 * @odd: notes that are not valid.
 * @odd_count: their number.
 */
struct luctl_notes {
	struct luctl_note *list;
	size_t count;
	struct luctl_odd_note odd[LUCTL_ODD_NOTES];
	size_t odd_count;
};

/**
 * luctl_notes_scan() - find all notes of subsystems
 * @notes: what is found is added here
 * @data: the notes, or anything that contains them
 * @size: bytes
 * @big_endian: of the kernel that they come from
 *
 * Return: 0, -EBADMSG if the last one is cut off, -E2BIG if there are too many, or
 * -ENOMEM.
 */
int luctl_notes_scan(struct luctl_notes *notes, const void *data, size_t size, bool big_endian);

void luctl_notes_drop(struct luctl_notes *notes);

/* Machines that a kernel is for, as far as luctl tells them apart. */
enum luctl_machine {
	LUCTL_MACHINE_OTHER,
	LUCTL_MACHINE_X86_64,
	LUCTL_MACHINE_X86_32,
	LUCTL_MACHINE_ARM64,
	LUCTL_MACHINE_RISCV,
	LUCTL_MACHINE_LOONGARCH,
	LUCTL_MACHINE_PPC64,
	LUCTL_MACHINE_S390,
	LUCTL_NR_MACHINES,
};

/* As uname(2) calls it. */
const char *luctl_machine_name(enum luctl_machine machine);

/* That of this kernel. */
enum luctl_machine luctl_machine_here(void);

/**
 * struct luctl_image - what there is to know of a kernel that is not booted yet
 * @format: "vmlinux", "bzImage", "Image", "vmlinuz.efi" or "UKI".
 * @machine: that it is for.
 * @compression: of the image or of the kernel in it, NULL if there is none.
 * @release: of the kernel in it.
 * @kho: its KHO ABI, "" if it has no Kexec HandOver.
 * @has_kho_scratch: it knows the parameter kho_scratch=.
 * @unloadable: why kexec_file_load(2) does not take it, NULL if it may.
 * @load_size: of a bzImage, what it needs in one piece when it unpacks itself.
 * @load_address: of a bzImage, where it would like to be.
 * @load_align: of a bzImage, what its address is to be a multiple of.
 * @notes: its subsystems.
 */
struct luctl_image {
	const char *format;
	enum luctl_machine machine;
	const char *compression;
	char release[LUCTL_RELEASE_SIZE];
	char kho[LUCTL_NOTE_KHO_SIZE];
	bool has_kho_scratch;
	const struct luctl_image_problem *unloadable;
	uint64_t load_size;
	uint64_t load_address;
	uint64_t load_align;
	struct luctl_notes notes;
};

/**
 * struct luctl_image_problem - why there is nothing to know of an image
 * @message: what is wrong.
 * @advice: the way out.
 */
struct luctl_image_problem {
	const char *message;
	const char *advice;
};

/* Bytes at the start of a file that tell whether it may be an image. */
#define LUCTL_IMAGE_HEAD	4096

/* What is wrong with a file that starts like this; NULL if it may be an image. */
const struct luctl_image_problem *luctl_image_head(const void *data, size_t size);

/**
 * luctl_image_parse() - look into an image
 * @image: on success what was found, to be dropped with luctl_image_drop()
 * @data: the image; not trusted
 * @size: bytes
 *
 * Return: NULL, or what is wrong.
 */
const struct luctl_image_problem *luctl_image_parse(struct luctl_image *image, const void *data,
						    size_t size);

void luctl_image_drop(struct luctl_image *image);

#endif /* _LUCTL_IMAGE_H */
