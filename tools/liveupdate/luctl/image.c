// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Images and the participants they describe
 *
 * Looks into a kernel image without booting it: an ELF vmlinux, an x86 bzImage whose
 * payload is one, an arm64 Image, a vmlinuz.efi whose payload is one, and a vmlinux or
 * Image that is compressed as a whole.
 *
 * Each participant that is built in has a note, struct liveupdate_note of
 * include/linux/liveupdate/subsystem.h. In an ELF the notes are where its program
 * headers say, or its section headers if those know of none. An Image has no headers,
 * so all of it is searched for the header of such a note and its owner. If there is an
 * initramfs in it that is not compressed, that also finds the notes of modules there,
 * which the kernel can load early.
 *
 * An image comes from anywhere. Every offset and size in it is checked before it is
 * used, and strings before they are strings. What is cut off is refused if the format
 * tells; an Image without a PE header does not.
 */

#include <ctype.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#include "decompress.h"
#include "image.h"
#include "luctl.h"

/* Of struct liveupdate_note. */
#define NOTE_OWNER		"LIVEUPDATE\0"	/* with its padding: 12 bytes */
#define NOTE_OWNER_SIZE		11
#define NOTE_HEADER_SIZE	12
#define NOTE_TYPE		1
#define NOTE_SIZE		104

/* Offsets in struct liveupdate_subsystem_desc. */
#define DESC_KHO		0
#define DESC_TABLE		16
#define DESC_NAME		40
#define DESC_VERSION		88
#define DESC_OLDEST		92
#define DESC_LEVEL		96
#define DESC_CLASS		100

/* As many as the kernel can hand over, LUO_SUBSYSTEMS_MAX, would take a while here. */
#define NOTES_LIMIT		4096

/* Parts of an ELF with notes. */
#define NOTE_PARTS_LIMIT	64

static const struct luctl_image_problem damaged = {
	"it is damaged or cut off", "copy or build it again",
}, unknown = {
	"it is no image that luctl can look into",
	"it can be a vmlinux, a bzImage, an arm64 Image, compressed or not, or a vmlinuz.efi",
}, unknown_payload = {
	"the kernel in it is none that luctl can look into",
	"it must be a vmlinux or arm64 Image, compressed as CONFIG_KERNEL_* offers",
}, no_linux = {
	"there is no Linux kernel in it", "give the image of a kernel",
}, too_old = {
	"its boot protocol is older than 2.08", "use a kernel of this decade",
}, too_large = {
	"it unpacks to more than a kernel has", "find out where it comes from",
}, too_many = {
	"it describes more participants or notes than a kernel has",
	"find out where it comes from",
}, no_memory = {
	"out of memory", "free some memory and try again",
};

static const struct luctl_image_problem *problem_of(int err)
{
	switch (err) {
	case 0:
		return NULL;
	case -E2BIG:
		return &too_many;
	case -EFBIG:
		return &too_large;
	case -ENOMEM:
		return &no_memory;
	case -ENOEXEC:
		return &unknown;
	default:
		return &damaged;
	}
}

static uint16_t get16(const unsigned char *data)
{
	return data[0] | data[1] << 8;
}

static uint32_t get32(const unsigned char *data)
{
	return get16(data) | (uint32_t)get16(data + 2) << 16;
}

static uint32_t get32_endian(const unsigned char *data, bool big)
{
	uint32_t value = get32(data);

	return big ? __builtin_bswap32(value) : value;
}

static bool inside(uint64_t start, uint64_t count, size_t size)
{
	return start <= size && count <= size - start;
}

/* Notes. */

/* The kernel's luo_name_valid(). */
static bool string_valid(const unsigned char *text, size_t size)
{
	size_t length = strnlen((const char *)text, size);

	if (!length || length == size)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] > 0x7e || !isgraph(text[i]))
			return false;
	}
	for (size_t i = length; i < size; i++) {
		if (text[i])
			return false;
	}

	return true;
}

static void add_odd(struct luctl_notes *notes, uint32_t type, uint32_t size, const char *why)
{
	if (notes->odd_count < LUCTL_ODD_NOTES)
		notes->odd[notes->odd_count++] = (struct luctl_odd_note){ type, size, why };
}

static int add_note(struct luctl_notes *notes, const struct luctl_note *note)
{
	for (size_t i = 0; i < notes->count; i++) {
		if (!memcmp(&notes->list[i], note, sizeof(*note)))
			return 0;
	}
	if (notes->count == NOTES_LIMIT)
		return -E2BIG;

	/* Grow when the count is 0 or a power of two. */
	if (!(notes->count & (notes->count - 1))) {
		size_t room = notes->count ? notes->count * 2 : 1;
		struct luctl_note *larger = realloc(notes->list, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		notes->list = larger;
	}
	notes->list[notes->count++] = *note;

	return 0;
}

/* Take the note with @size bytes of description and whatever else at @data. */
static int take_note(struct luctl_notes *notes, uint32_t type, uint32_t size,
		     const unsigned char *desc, size_t left, bool big)
{
	struct luctl_note note;

	if (type != NOTE_TYPE || size != NOTE_SIZE) {
		add_odd(notes, type, size, "its format is not known");
		return 0;
	}
	if (left < NOTE_SIZE)
		return -EBADMSG;
	if (!string_valid(desc + DESC_KHO, sizeof(note.kho)) ||
	    !string_valid(desc + DESC_TABLE, sizeof(note.table)) ||
	    !string_valid(desc + DESC_NAME, sizeof(note.name))) {
		add_odd(notes, type, size, "a text in it is damaged");
		return 0;
	}

	memset(&note, 0, sizeof(note));
	memcpy(note.kho, desc + DESC_KHO, sizeof(note.kho));
	memcpy(note.table, desc + DESC_TABLE, sizeof(note.table));
	memcpy(note.name, desc + DESC_NAME, sizeof(note.name));
	note.version = get32_endian(desc + DESC_VERSION, big);
	note.oldest = get32_endian(desc + DESC_OLDEST, big);
	note.level = get32_endian(desc + DESC_LEVEL, big);
	note.class = get32_endian(desc + DESC_CLASS, big);
	if (!note.oldest || note.oldest > note.version) {
		add_odd(notes, type, size, "its versions contradict each other");
		return 0;
	}

	return add_note(notes, &note);
}

int luctl_notes_scan(struct luctl_notes *notes, const void *data, size_t size, bool big_endian)
{
	const unsigned char *start = data, *end = start + size, *next = start, *header;
	int err = 0;

	while (!err && next && next < end) {
		next = memmem(next, end - next, NOTE_OWNER, sizeof(NOTE_OWNER));
		if (!next)
			break;
		header = next - NOTE_HEADER_SIZE;
		if (next - start >= NOTE_HEADER_SIZE && !((next - start) % 4) &&
		    get32_endian(header, big_endian) == NOTE_OWNER_SIZE)
			err = take_note(notes, get32_endian(header + 8, big_endian),
					get32_endian(header + 4, big_endian),
					next + sizeof(NOTE_OWNER),
					end - next - sizeof(NOTE_OWNER), big_endian);
		next += sizeof(NOTE_OWNER);
	}

	return err;
}

void luctl_notes_drop(struct luctl_notes *notes)
{
	free(notes->list);
	*notes = (struct luctl_notes){ 0 };
}

/* Texts that are in every kernel. */

/* "Linux version RELEASE (...", the banner. */
static void find_release(struct luctl_image *image, const unsigned char *data, size_t size)
{
	static const char banner[] = "Linux version ";
	const unsigned char *end = data + size, *next = data;

	while (next < end) {
		size_t length = 0;

		next = memmem(next, end - next, banner, sizeof(banner) - 1);
		if (!next)
			return;
		next += sizeof(banner) - 1;
		while (length < LUCTL_RELEASE_SIZE && length < (size_t)(end - next) &&
		       next[length] <= 0x7e && isgraph(next[length]))
			length++;
		if (!length || length >= LUCTL_RELEASE_SIZE || !isdigit(*next) ||
		    next + length == end || next[length] != ' ')
			continue;
		memcpy(image->release, next, length);
		image->release[length] = '\0';
		return;
	}
}

/* KHO_FDT_COMPATIBLE, "kho-vN", which no other text ends with. */
static void find_kho(struct luctl_image *image, const unsigned char *data, size_t size)
{
	static const char prefix[] = "kho-v";
	const unsigned char *end = data + size, *next = data;

	while (next < end) {
		size_t length = sizeof(prefix) - 1;

		next = memmem(next, end - next, prefix, length);
		if (!next)
			return;
		while (length < LUCTL_NOTE_KHO_SIZE && length < (size_t)(end - next) &&
		       isdigit(next[length]))
			length++;
		if (length > sizeof(prefix) - 1 && length < LUCTL_NOTE_KHO_SIZE &&
		    next + length < end && !next[length]) {
			memcpy(image->kho, next, length + 1);
			return;
		}
		next += sizeof(prefix) - 1;
	}
}

/* ELF. */

/* The notes that the program headers know of; they also tell if the file is complete. */
static int scan_segments(struct luctl_notes *notes, Elf *elf, const unsigned char *data,
			 size_t size, bool big)
{
	size_t count, parts = 0, loaded = 0;
	GElf_Phdr segment;
	int err = 0;

	if (elf_getphdrnum(elf, &count))
		return -EBADMSG;
	for (size_t i = 0; i < count && !err; i++) {
		if (!gelf_getphdr(elf, i, &segment))
			return -EBADMSG;
		if (segment.p_type != PT_LOAD && segment.p_type != PT_NOTE)
			continue;
		if (!inside(segment.p_offset, segment.p_filesz, size))
			return -EBADMSG;
		loaded += segment.p_type == PT_LOAD;
		if (segment.p_type == PT_LOAD)
			continue;
		if (++parts > NOTE_PARTS_LIMIT)
			return -E2BIG;
		err = luctl_notes_scan(notes, data + segment.p_offset, segment.p_filesz, big);
	}

	return err ?: loaded ? 0 : -ENOEXEC;
}

static int scan_sections(struct luctl_notes *notes, Elf *elf, const unsigned char *data,
			 size_t size, bool big)
{
	Elf_Scn *section = NULL;
	size_t parts = 0;
	GElf_Shdr header;
	int err = 0;

	while (!err && (section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, &header))
			return -EBADMSG;
		if (header.sh_type != SHT_NOTE)
			continue;
		if (!inside(header.sh_offset, header.sh_size, size))
			return -EBADMSG;
		if (++parts > NOTE_PARTS_LIMIT)
			return -E2BIG;
		err = luctl_notes_scan(notes, data + header.sh_offset, header.sh_size, big);
	}

	return err;
}

static int parse_elf(struct luctl_image *image, const unsigned char *data, size_t size)
{
	GElf_Ehdr header;
	bool big;
	Elf *elf;
	int err;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOEXEC;
	/* It is not written to. */
	elf = elf_memory((char *)data, size);
	if (!elf)
		return -EBADMSG;

	err = -EBADMSG;
	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header) ||
	    !inside(header.e_shoff, (uint64_t)header.e_shnum * header.e_shentsize, size))
		goto out;
	err = -ENOEXEC;
	if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
		goto out;

	image->format = "vmlinux";
	big = header.e_ident[EI_DATA] == ELFDATA2MSB;
	err = scan_segments(&image->notes, elf, data, size, big);
	if (!err && !image->notes.count && !image->notes.odd_count)
		err = scan_sections(&image->notes, elf, data, size, big);
out:
	elf_end(elf);

	return err;
}

static bool is_elf(const unsigned char *data, size_t size)
{
	return size > SELFMAG && !memcmp(data, ELFMAG, SELFMAG);
}

/* PE, which makes arm64 Image and vmlinuz.efi bootable by firmware. */

static bool pe_complete(const unsigned char *data, size_t size)
{
	uint32_t offset, count;

	if (size < 64 || memcmp(data, "MZ", 2))
		return true;
	offset = get32(data + 60);
	if (!inside(offset, 24, size) || memcmp(data + offset, "PE\0\0", 4))
		return false;

	count = get16(data + offset + 6);
	offset += 24U + get16(data + offset + 20);
	if (!inside(offset, count * 40ULL, size))
		return false;
	for (const unsigned char *section = data + offset; count--; section += 40) {
		if (!inside(get32(section + 20), get32(section + 16), size))
			return false;
	}

	return true;
}

/* arm64 Image: Documentation/arch/arm64/booting.rst. */

static bool is_arm64(const unsigned char *data, size_t size)
{
	return size >= 64 && !memcmp(data + 56, "ARM\x64", 4);
}

static int parse_arm64(struct luctl_image *image, const unsigned char *data, size_t size)
{
	if (!pe_complete(data, size))
		return -EBADMSG;
	image->format = "Image";

	return luctl_notes_scan(&image->notes, data, size, data[24] & 1);
}

/* What is not compressed. */
static int parse_plain(struct luctl_image *image, const unsigned char *data, size_t size)
{
	int err = -ENOEXEC;

	if (is_elf(data, size))
		err = parse_elf(image, data, size);
	else if (is_arm64(data, size))
		err = parse_arm64(image, data, size);
	if (err)
		return err;

	find_release(image, data, size);
	find_kho(image, data, size);

	return 0;
}

static int parse_packed(struct luctl_image *image, const unsigned char *data, size_t size)
{
	size_t unpacked_size;
	void *unpacked;
	int err;

	image->compression = luctl_compression(data, size);
	err = luctl_decompress(data, size, &unpacked, &unpacked_size);
	if (err)
		return err;
	err = parse_plain(image, unpacked, unpacked_size);
	free(unpacked);

	return err;
}

/* x86 bzImage: Documentation/arch/x86/boot.rst. */

static bool is_bzimage(const unsigned char *data, size_t size)
{
	return size >= 0x206 && data[0x1fe] == 0x55 && data[0x1ff] == 0xaa &&
	       !memcmp(data + 0x202, "HdrS", 4);
}

static const struct luctl_image_problem *
parse_bzimage(struct luctl_image *image, const unsigned char *data, size_t size)
{
	uint64_t setup, offset, length;
	int err;

	if (size < 0x250)
		return &damaged;
	if (get16(data + 0x206) < 0x208)
		return &too_old;

	setup = ((data[0x1f1] ?: 4) + 1) * 512;
	if (!inside(setup, get32(data + 0x1f4) * 16ULL, size))
		return &damaged;
	offset = setup + get32(data + 0x248);
	length = get32(data + 0x24c);
	if (!length || !inside(offset, length, size))
		return &damaged;

	data += offset;
	err = is_elf(data, length) ? parse_plain(image, data, length) :
	      parse_packed(image, data, length);
	image->format = "bzImage";

	return err == -ENOEXEC ? &unknown_payload : problem_of(err);
}

/* vmlinuz.efi: drivers/firmware/efi/libstub/zboot-header.S. */

static bool is_zboot(const unsigned char *data, size_t size)
{
	return size >= 64 && !memcmp(data, "MZ\0\0zimg", 8);
}

static const struct luctl_image_problem *
parse_zboot(struct luctl_image *image, const unsigned char *data, size_t size)
{
	uint32_t offset = get32(data + 8), length = get32(data + 12);
	int err;

	if (!pe_complete(data, size) || !inside(offset, length, size))
		return &damaged;
	err = parse_packed(image, data + offset, length);
	image->format = "vmlinuz.efi";

	return err == -ENOEXEC ? &unknown_payload : problem_of(err);
}

static const struct luctl_image_problem *
parse(struct luctl_image *image, const unsigned char *data, size_t size)
{
	if (is_bzimage(data, size))
		return parse_bzimage(image, data, size);
	if (is_zboot(data, size))
		return parse_zboot(image, data, size);
	if (luctl_compression(data, size))
		return problem_of(parse_packed(image, data, size));

	return problem_of(parse_plain(image, data, size));
}

const struct luctl_image_problem *luctl_image_parse(struct luctl_image *image, const void *data,
						    size_t size)
{
	const struct luctl_image_problem *problem;

	*image = (struct luctl_image){ 0 };
	problem = parse(image, data, size);
	if (!problem && !*image->release)
		problem = &no_linux;
	if (problem) {
		luctl_image_drop(image);
		return problem;
	}
	if (image->notes.count)
		memcpy(image->kho, image->notes.list[0].kho, sizeof(image->kho));

	return NULL;
}

void luctl_image_drop(struct luctl_image *image)
{
	luctl_notes_drop(&image->notes);
	*image = (struct luctl_image){ 0 };
}
