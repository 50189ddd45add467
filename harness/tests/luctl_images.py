# SPDX-License-Identifier: GPL-2.0
"""Kernel images of a few hundred bytes, made as the kernel's build makes them.

As a program, writes the corpora of the fuzzers:
python3 -m harness.tests.luctl_images FOLDER
"""

import functools
import struct
import subprocess
import sys
from pathlib import Path

KHO = "kho-v4"
TABLE = "luo-subsystems-v1"
RELEASE = "7.3.4-next"
BANNER = (f"Linux version {RELEASE} (build@host) (gcc (Debian) 12, ld 2.40)"
          " #1 SMP\n\0").encode()

#: (name, version, oldest, level, mandatory), what luctl_fixture.py runs.
PCI = ("pci", 3, 1, 1, 1)
LOG = ("shutdown-log", 1, 1, 0, 0)

#: name -> the command of scripts/Makefile.lib; x86's of scripts/xz_wrap.sh.
COMPRESSIONS = {
    "gzip": "gzip -n -f -9",
    "bzip2": "bzip2 -9",
    "lzma": "lzma -9",
    "xz": "xz --check=crc32 --threads=1 --x86 --lzma2=,dict=128MiB",
    "lzo": "lzop -9",
    "lz4": "lz4 -l -9 - -",
    "zstd": "zstd -22 --ultra",
}

QUICK = {
    "lzma": "lzma -0",
    "xz": "xz --check=crc32 --threads=1 --x86 --lzma2=dict=64KiB",
    "zstd": "zstd -1 --zstd=windowLog=18",
}


@functools.lru_cache(maxsize=None)
def compress(data, name, quick=False):
    """As cmd_gzip, cmd_bzip2_with_size and so on do it.

    Or, to be quick in both directions, with a small window.
    """
    command = QUICK.get(name, COMPRESSIONS[name]) if quick else \
        COMPRESSIONS[name]
    packed = subprocess.run(command.split(), input=data, check=True,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout
    if name != "gzip":
        packed += struct.pack("<I", len(data))
    return packed


def note(name, version=1, oldest=1, level=0, mandatory=0, kho=KHO,
         table=TABLE, kind=1, size=104, order="<"):
    """A struct liveupdate_note; bytes are taken for a field as they are."""
    fields = [text if isinstance(text, bytes) else text.encode()
              for text in (kho, table, name)]
    desc = struct.pack(order + "16s24s48s4I", *fields, version, oldest, level,
                       mandatory)
    return (struct.pack(order + "3I", 11, size, kind) + b"LIVEUPDATE\0\0"
            + desc.ljust(size, b"\1")[:size])


def other_notes(order="<"):
    """What else is in .notes of vmlinux."""
    return (struct.pack(order + "3I4s", 4, 20, 3, b"GNU\0") + b"\x5a" * 20
            + struct.pack(order + "3I8s4s", 6, 1, 256, b"Linux\0", b"\0"))


def notes(*subsystems, order="<", **fields):
    """.notes of vmlinux; a subsystem is a tuple or a note."""
    return other_notes(order) + b"".join(
        p if isinstance(p, bytes) else note(*p, order=order, **fields)
        for p in subsystems)


def rodata(kho=KHO, banner=BANNER):
    """Texts of every kernel; padded to eight bytes."""
    text = b"%s version %s\n\0" + banner + b"compatible\0" + (
        kho.encode() + b"\0" if kho else b"")
    return text + b"\0" * (-len(text) % 8)


def elf(content, text=None, bits=64, order="<", where="segment", kind=2):
    """A vmlinux with these notes; where: segment, section, both or nowhere."""
    text = rodata() if text is None else text
    segments = where in ("segment", "both")
    sections = where in ("section", "both")
    head = 64 if bits == 64 else 52
    segment = 56 if bits == 64 else 32
    section = 64 if bits == 64 else 40
    start = head + segment * (1 + segments)
    start += -start % 8
    at_notes = start + len(text)
    names = b"\0.notes\0.shstrtab\0"
    at_names = at_notes + len(content)
    at_sections = at_names + len(names)
    at_sections += -at_sections % 8

    def program(what, offset, size):
        base = 0xffffffff81000000 if bits == 64 else 0xc1000000
        if bits == 64:
            return struct.pack(order + "2I6Q", what, 5, offset, base + offset,
                               offset, size, size, 4)
        return struct.pack(order + "8I", what, offset, base + offset, offset,
                           size, size, 5, 4)

    def header(name, what, offset, size):
        return struct.pack(order + ("2I4Q2I2Q" if bits == 64 else "10I"),
                           name, what, 0, 0, offset, size, 0, 0, 4, 0)

    word = "Q" if bits == 64 else "I"
    ident = b"\x7fELF" + bytes((2 if bits == 64 else 1,
                                1 if order == "<" else 2, 1)) + bytes(9)
    image = ident + struct.pack(
        order + "2HI3" + word + "I6H", kind, 62 if bits == 64 else 3, 1, 0,
        head, at_sections if sections else 0, 0, head, segment, 1 + segments,
        section, 3 * sections, 2 * sections)
    image += program(1, 0, at_names)
    if segments:
        image += program(4, at_notes, len(content))
    image = image.ljust(start, b"\0") + text + content
    if sections:
        image = (image + names).ljust(at_sections, b"\0")
        image += (header(0, 0, 0, 0) + header(1, 7, at_notes, len(content))
                  + header(8, 3, at_names, len(names)))
    return image


def kernel(*subsystems, **fields):
    """A vmlinux with these subsystems."""
    return elf(notes(*subsystems, **fields),
               rodata(fields.get("kho", KHO)))


def bzimage(payload, version=0x20f, loadflags=1, xloadflags=3,
            init_size=16 << 20):
    """An x86 bzImage around a compressed vmlinux."""
    setup = 4
    code = b"\x90" * 48
    image = code + payload + code
    image += b"\0" * (-len(image) % 16)
    head = bytearray((setup + 1) * 512)
    head[0x1f1] = setup
    struct.pack_into("<I", head, 0x1f4, len(image) // 16)
    head[0x1fe:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    head[0x211] = loadflags
    struct.pack_into("<I2BH", head, 0x230, 2 << 20, 1, 21, xloadflags)
    struct.pack_into("<2I", head, 0x248, len(code), len(payload))
    struct.pack_into("<QI", head, 0x258, 16 << 20, init_size)
    return bytes(head) + image


#: vmlinux.relocs, which is packed behind vmlinux.
RELOCS = b"\0\0\0\x81" * 4


def _pe(at, sections, machine=0xaa64):
    """A PE header; sections are (offset, size[, name]) in the file."""
    head = b"PE\0\0" + struct.pack("<2H3I2H", machine, len(sections), 0, 0, 0,
                                   24, 0x206) + bytes(24)
    for offset, size, *name in sections:
        head += (name[0] if name else b".text").ljust(8, b"\0") + struct.pack(
            "<4I2I2HI", size, offset, size + -size % 512 if name else size,
            offset, 0, 0, 0, 0, 0)
    return at, head


def arm64(content, text=None, order="<", firmware=True):
    """An arm64 Image, bootable by firmware or not."""
    text = rodata() if text is None else text
    start = 512
    body = text + content + bytes(64)
    head = bytearray(start)
    struct.pack_into("<2I3Q", head, 0, 0xfa405a4d if firmware else 0x91005a4d,
                     0x14000000, 0, start + len(body) + 4096,
                     0xa | (order == ">"))
    if not firmware:
        head[:2] = b"\0\0"
    head[56:60] = b"ARM\x64"
    if firmware:
        at, pe_head = _pe(64, [(start, len(body))])
        struct.pack_into("<I", head, 60, at)
        head[at:at + len(pe_head)] = pe_head
    return bytes(head) + body


def zboot(image, compression):
    """A vmlinuz.efi; see drivers/firmware/efi/libstub/Makefile.zboot."""
    payload = compress(image, compression, True)
    start = 512
    tail = b"\xd5" * 64
    head = bytearray(start)
    head[:8] = b"MZ\0\0zimg"
    size = len(payload) - (0 if compression == "gzip" else 4)
    struct.pack_into("<2I2I32s", head, 8, start, size, 0, 0,
                     {"zstd": b"zstd22"}.get(compression,
                                             compression.encode()))
    struct.pack_into("<2I", head, 56, 0x818223cd, 64)
    at, pe_head = _pe(64, [(start, len(payload)),
                           (start + len(payload), len(tail))])
    head[at:at + len(pe_head)] = pe_head
    return bytes(head) + payload + tail


def uki(kernel_image, machine=0x8664, names=(b".osrel", b".linux")):
    """A unified kernel image, padded as objcopy and ukify do it."""
    start, sections, body = 1024, [], b""
    for name in names:
        data = kernel_image if name == b".linux" else b"ID=test\n"
        sections.append((start + len(body), len(data), name))
        body += data + b"\0" * (-len(data) % 512)
    head = bytearray(start)
    head[:2] = b"MZ"
    at, pe_head = _pe(128, sections, machine)
    struct.pack_into("<I", head, 60, at)
    head[at:at + len(pe_head)] = pe_head
    return bytes(head) + body


def loadable(image):
    """What kexec_file_load(2) takes: a vmlinux becomes a bzImage."""
    return bzimage(image) if image[:4] == b"\x7fELF" else image


def every_format(quick=False):
    """{name: image} of the same kernel in each way that luctl reads."""
    content = notes(PCI, LOG)
    vmlinux = elf(content)
    image = arm64(content)
    found = {
        "vmlinux": vmlinux,
        "vmlinux-32": elf(content, bits=32),
        "vmlinux-be": elf(notes(PCI, LOG, order=">"), order=">"),
        "vmlinux-32-be": elf(notes(PCI, LOG, order=">"), bits=32, order=">"),
        "vmlinux-sections": elf(content, where="section"),
        "vmlinux-both": elf(content, where="both"),
        "vmlinux-pie": elf(content, kind=3),
        "bzImage-plain": bzimage(vmlinux),
        "Image": image,
        "Image-be": arm64(notes(PCI, LOG, order=">"), order=">"),
        "Image-nofirmware": arm64(content, firmware=False),
    }
    for name in COMPRESSIONS:
        found[f"bzImage-{name}"] = bzimage(compress(vmlinux + RELOCS, name,
                                                    quick))
        found[f"vmlinux.{name}"] = compress(vmlinux + RELOCS, name, True)
        found[f"Image.{name}"] = compress(image, name, True)
        found[f"vmlinuz-{name}.efi"] = zboot(image, name)
    found["UKI"] = uki(bzimage(vmlinux))
    found["UKI-gzip"] = uki(bzimage(compress(vmlinux, "gzip")))
    found["UKI-Image"] = uki(image, 0xaa64)
    return found


def odd_notes():
    """{name: notes} of which some are not to be used."""
    good = note("pci", 3, 1, 1, 1)
    return {
        "type": notes(note("pci", 3, 1, 1, 1, kind=2)),
        "size": notes(note("pci", 3, 1, 1, 1, size=108)),
        "huge": notes(good[:4] + b"\xff" * 4 + good[8:]),
        "cut": notes(good[:-4]),
        "no-name": notes(note("")),
        "long-name": notes(note(b"x" * 48)),
        "space": notes(note("a b")),
        "control": notes(note(b"a\x1b[31m")),
        "not-ascii": notes(note(b"\xc3\xa4")),
        "behind-name": notes(note(b"pci\0\0x")),
        "no-kho": notes(note("pci", kho="")),
        "long-kho": notes(note("pci", kho=b"k" * 16)),
        "long-table": notes(note("pci", table=b"t" * 24)),
        "no-version": notes(note("pci", 0, 0)),
        "no-oldest": notes(note("pci", 3, 0)),
        "versions": notes(note("pci", 1, 2)),
        "shifted": b"\0\0\0" + notes(good),
        "twice": notes(good, good),
        "differs": notes(good, note("pci", 2, 1, 1, 1)),
        "level": notes(note("pci", 3, 1, 77, 77)),
    }


def corpus():
    """{name: image}, what the fuzzer starts with."""
    found = every_format(quick=True)
    whole = dict(found)
    for name, image in whole.items():
        for part in (4, 2):
            end = len(image) * (part - 1) // part
            found[f"{name}-cut{part}"] = image[:end]
    for name, content in odd_notes().items():
        found[f"odd-{name}"] = elf(content)
    wrong = bytearray(elf(notes(PCI)))
    wrong[58:62] = b"\xff" * 4          # e_shentsize, e_shnum
    found["many-sections"] = bytes(wrong)
    found["many"] = elf(notes(*(note(f"p{i}") for i in range(200))))
    found["empty"] = b""
    return found


def boots():
    """{name: command line and map}, what the other fuzzer starts with."""
    entries = [(0, 0x9f000, 1), (1 << 20, 1 << 30, 1), (0x9f000, 4096, 2),
               (4 << 30, 1 << 30, 1), (0xfffc0000, 0x40000, 2),
               ((1 << 64) - 4096, 1 << 40, 1), (5 << 30, 0, 12)]
    packed = b"".join(struct.pack("<QQI", *entry) for entry in entries)
    params = bytearray(4096)
    params[0x1e8] = len(entries)
    params[0x2d0:0x2d0 + len(packed)] = packed
    lines = {
        "plain": "quiet kho=on", "mem": "mem=512M mem=0x1e -- mem=1",
        "cuts": "memmap=1M@2M,1M#3M,0x10000$0x40000,64K!8G,exactmap,7",
        "types": "memmap=1M%2M-1+2,4K%0-2,4K%8K+12,1%1-1+0x1,9%9",
        "quoted": "\"mem=1G\" memmap=\"1M@2M\" a=\" b \" \"\" \" =",
        "wraps": "memmap=16E@16E memmap=0xffffffffffffffff$1 mem=99999999E",
    }
    found = {name: line.encode() + b"\0" + bytes(params)
             for name, line in lines.items()}
    found |= {f"{name}-entries": line.encode() + b"\0" + packed
              for name, line in lines.items()}
    return found


def main():
    """Write the corpora."""
    for name, files in (("image", corpus()), ("boot", boots())):
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            (folder / file).write_bytes(data)


if __name__ == "__main__":
    main()
