// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Images and the subsystems they describe
 *
 * Looks into a kernel image without booting it: an ELF vmlinux, an x86 bzImage whose
 * payload is one, an arm64 Image, a vmlinuz.efi whose payload is one, a vmlinux or
 * Image that is compressed as a whole, and a unified kernel image (UKI), a program for
 * the firmware that has one of these in its section ".linux".
 *
 * Not all of that can be loaded: kexec_file_load(2) of x86 takes a bzImage that can be
 * loaded anywhere, that of arm64 no vmlinux.
 *
 * Each subsystem that is built in has a note, struct liveupdate_note of
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
#include <sys/utsname.h>

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

/* Far more than a kernel can hand over, LUO_SUBSYSTEMS_MAX. */
#define NOTES_LIMIT		4096

/* Parts of an ELF with notes. */
#define NOTE_PARTS_LIMIT	64

static const struct luctl_image_problem corrupted = {
	"it is corrupted or cut off", "copy or build it again",
}, unknown = {
	"it is no image that luctl can look into",
	"it can be a vmlinux, a bzImage, an arm64 Image, compressed or not, a vmlinuz.efi, or a UKI",
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
	"it describes more subsystems or notes than a kernel has",
	"find out where it comes from",
}, no_memory = {
	"out of memory", "free some memory and try again",
};

/* Why kexec_file_load(2) does not take what can be looked into. */
static const struct luctl_image_problem x86_vmlinux = {
	"kexec_file_load(2) takes no vmlinux on this machine",
	"use arch/x86/boot/bzImage of the same build",
}, compressed_image = {
	"kexec_file_load(2) takes no compressed image on this machine",
	"unpack it",
}, arm64_vmlinux = {
	"kexec_file_load(2) takes no vmlinux on this machine",
	"use arch/arm64/boot/Image of the same build",
}, uki = {
	"kexec_file_load(2) takes no UKI",
	"take the kernel out of it with \"objcopy -O binary --only-section=.linux\", and the initramfs with .initrd",
}, not_64_bit = {
	"kexec_file_load(2) takes no bzImage without a 64-bit entry that can be loaded anywhere",
	"build it with CONFIG_64BIT and CONFIG_RELOCATABLE",
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
		return &corrupted;
	}
}

static const struct {
	const char *name;
	uint16_t elf, pe;
} machines[] = {
	[LUCTL_MACHINE_OTHER]		= { "an unknown machine", 0, 0 },
	[LUCTL_MACHINE_X86_64]		= { "x86_64", EM_X86_64, 0x8664 },
	[LUCTL_MACHINE_X86_32]		= { "i686", EM_386, 0x014c },
	[LUCTL_MACHINE_ARM64]		= { "aarch64", EM_AARCH64, 0xaa64 },
	[LUCTL_MACHINE_RISCV]		= { "riscv64", EM_RISCV, 0x5064 },
	[LUCTL_MACHINE_LOONGARCH]	= { "loongarch64", EM_LOONGARCH, 0x6264 },
	[LUCTL_MACHINE_PPC64]		= { "ppc64", EM_PPC64, 0x01f2 },
	[LUCTL_MACHINE_S390]		= { "s390x", EM_S390, 0 },
};

const char *luctl_machine_name(enum luctl_machine machine)
{
	return machines[machine].name;
}

enum luctl_machine luctl_machine_here(void)
{
	struct utsname name;

	if (uname(&name))
		return LUCTL_MACHINE_OTHER;
	for (int i = 1; i < LUCTL_NR_MACHINES; i++) {
		if (!strcmp(machines[i].name, name.machine))
			return i;
	}
	/* i486 and so on, ppc64le. */
	if (*name.machine == 'i' && !strcmp(name.machine + 2, "86"))
		return LUCTL_MACHINE_X86_32;

	return strncmp(name.machine, "ppc64", 5) ? LUCTL_MACHINE_OTHER : LUCTL_MACHINE_PPC64;
}

static enum luctl_machine machine_of(uint16_t elf, uint16_t pe)
{
	for (int i = 1; i < LUCTL_NR_MACHINES; i++) {
		if ((elf && machines[i].elf == elf) || (pe && machines[i].pe == pe))
			return i;
	}

	return LUCTL_MACHINE_OTHER;
}

static uint16_t get16(const unsigned char *data)
{
	return data[0] | data[1] << 8;
}

static uint32_t get32(const unsigned char *data)
{
	return get16(data) | (uint32_t)get16(data + 2) << 16;
}

static uint64_t get64(const unsigned char *data)
{
	return get32(data) | (uint64_t)get32(data + 4) << 32;
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
		add_odd(notes, type, size, "a text in it is corrupted");
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

/* A parameter stands alone in the table of those that are read early. */
static void find_parameters(struct luctl_image *image, const unsigned char *data, size_t size)
{
	static const char kho_scratch[] = "\0kho_scratch";

	image->has_kho_scratch = memmem(data, size, kho_scratch, sizeof(kho_scratch));
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
	image->machine = machine_of(header.e_machine, 0);
	image->unloadable = image->machine == LUCTL_MACHINE_X86_64 ? &x86_vmlinux :
			    image->machine == LUCTL_MACHINE_ARM64 ? &arm64_vmlinux : NULL;
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

static bool is_dos(const unsigned char *data, size_t size)
{
	return size >= 64 && !memcmp(data, "MZ", 2);
}

/* Find the PE header and its @count sections, which are in the file; false if not. */
static bool find_sections(const unsigned char *data, size_t size, const unsigned char **header,
			  const unsigned char **sections, uint32_t *count)
{
	uint64_t offset = get32(data + 60);

	if (!inside(offset, 24, size) || memcmp(data + offset, "PE\0\0", 4))
		return false;
	*header = data + offset;
	*count = get16(*header + 6);
	offset += 24U + get16(*header + 20);
	if (!inside(offset, *count * 40ULL, size))
		return false;
	*sections = data + offset;

	return true;
}

static bool pe_complete(const unsigned char *data, size_t size)
{
	const unsigned char *header, *section;
	uint32_t count;

	if (!is_dos(data, size))
		return true;
	if (!find_sections(data, size, &header, &section, &count))
		return false;
	for (; count--; section += 40) {
		if (!inside(get32(section + 20), get32(section + 16), size))
			return false;
	}

	return true;
}

/* The machine that the firmware would start it on. */
static enum luctl_machine pe_machine(const unsigned char *data, size_t size)
{
	const unsigned char *header, *sections;
	uint32_t count;

	if (!is_dos(data, size) || !find_sections(data, size, &header, &sections, &count))
		return LUCTL_MACHINE_OTHER;

	return machine_of(0, get16(header + 4));
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
	image->machine = LUCTL_MACHINE_ARM64;

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
	find_parameters(image, data, size);

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
	if (!image->unloadable)
		image->unloadable = &compressed_image;

	return err;
}

/* x86 bzImage: Documentation/arch/x86/boot.rst. */

#define LOADED_HIGH			1	/* of loadflags */
#define XLF_KERNEL_64			1	/* of xloadflags */
#define XLF_CAN_BE_LOADED_ABOVE_4G	2

static bool is_bzimage(const unsigned char *data, size_t size)
{
	return size >= 0x206 && data[0x1fe] == 0x55 && data[0x1ff] == 0xaa &&
	       !memcmp(data + 0x202, "HdrS", 4);
}

static const struct luctl_image_problem *
parse_bzimage(struct luctl_image *image, const unsigned char *data, size_t size)
{
	uint64_t setup, offset, length;
	uint16_t version;
	bool anywhere;
	int err;

	if (size < 0x264)
		return &corrupted;
	version = get16(data + 0x206);
	if (version < 0x208)
		return &too_old;
	image->load_align = get32(data + 0x230);
	image->load_address = get64(data + 0x258);
	image->load_size = get32(data + 0x260);
	anywhere = version >= 0x20c && (data[0x211] & LOADED_HIGH) &&
		   (get16(data + 0x236) & XLF_KERNEL_64) &&
		   (get16(data + 0x236) & XLF_CAN_BE_LOADED_ABOVE_4G);

	setup = ((data[0x1f1] ?: 4) + 1) * 512;
	if (!inside(setup, get32(data + 0x1f4) * 16ULL, size))
		return &corrupted;
	offset = setup + get32(data + 0x248);
	length = get32(data + 0x24c);
	if (!length || !inside(offset, length, size))
		return &corrupted;

	data += offset;
	err = is_elf(data, length) ? parse_plain(image, data, length) :
	      parse_packed(image, data, length);
	image->format = "bzImage";
	image->unloadable = anywhere ? NULL : &not_64_bit;

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
		return &corrupted;
	err = parse_packed(image, data + offset, length);
	image->format = "vmlinuz.efi";
	image->unloadable = NULL;
	if (!err && image->machine == LUCTL_MACHINE_OTHER)
		image->machine = pe_machine(data, size);

	return err == -ENOEXEC ? &unknown_payload : problem_of(err);
}

static const struct luctl_image_problem *
parse_kernel(struct luctl_image *image, const unsigned char *data, size_t size)
{
	if (is_bzimage(data, size))
		return parse_bzimage(image, data, size);
	if (is_zboot(data, size))
		return parse_zboot(image, data, size);
	if (luctl_compression(data, size))
		return problem_of(parse_packed(image, data, size));

	return problem_of(parse_plain(image, data, size));
}

/* UKI: the specification of the UAPI group. */

/* The section with the kernel of a UKI, NULL if it is none. */
static const unsigned char *find_linux(const unsigned char *data, size_t size)
{
	const unsigned char *header, *section;
	uint32_t count;

	/* A kernel has no such section, whatever its header says. */
	if (!is_dos(data, size) || is_bzimage(data, size) || is_zboot(data, size) ||
	    is_arm64(data, size) || !find_sections(data, size, &header, &section, &count))
		return NULL;
	for (; count--; section += 40) {
		if (!memcmp(section, ".linux\0", 8))
			return section;
	}

	return NULL;
}

static const struct luctl_image_problem *
parse_uki(struct luctl_image *image, const unsigned char *data, size_t size,
	  const unsigned char *section)
{
	/* In the file it is padded, in memory it is as large as it is. */
	uint32_t length = get32(section + 8), padded = get32(section + 16);
	const struct luctl_image_problem *problem;

	if (!pe_complete(data, size))
		return &corrupted;
	if (padded < length)
		length = padded;
	problem = parse_kernel(image, data + get32(section + 20), length);
	image->format = "UKI";
	image->unloadable = &uki;

	return problem == &unknown ? &unknown_payload : problem;
}

static const struct luctl_image_problem *
parse(struct luctl_image *image, const unsigned char *data, size_t size)
{
	const unsigned char *section = find_linux(data, size);

	return section ? parse_uki(image, data, size, section) :
			 parse_kernel(image, data, size);
}

const struct luctl_image_problem *luctl_image_head(const void *data, size_t size)
{
	return is_bzimage(data, size) || luctl_compression(data, size) || is_elf(data, size) ||
	       is_arm64(data, size) || is_dos(data, size) ? NULL : &unknown;
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
