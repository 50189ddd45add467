# SPDX-License-Identifier: GPL-2.0
"""Machines as they stand in racks: many processors, NUMA, memory that comes and goes,
huge pages, a crash kernel, UEFI. All on the kernel "host", which updates to itself.

What lies in added memory is shown from outside: its memory is a file of its own, in
which the pages of a session are looked for.
"""

import contextlib
import json
import os
import re
import shutil

from ...build.initrd import GUEST_INITRD
from ...common.run import HarnessError
from ...guest.control import host_path
from ..api import scenario
from ..luctl import NO_GO, OK, check_untouched, luctl
from ..subsystems import check_received, hand_over_data

MIB = 1 << 20
PAGE = 4096
MEMORY = "/sys/devices/system/memory"
FIRMWARE = "/usr/share/OVMF/OVMF_{}_4M.fd"

# A machine with room for one DIMM of this size, above 4 GiB as QEMU puts it.
DIMM = 512
SLOT = "1G,slots=1,maxmem=4G"
DIMM_START = 0x100000000
KERNEL_ZONE = "memhp_default_state=online_kernel"
MOVABLE_ZONE = "memhp_default_state=online_movable"


def _words(name):
    """First word of each page of a session's memory; see pattern() in session.c."""
    mask, i = (1 << 64) - 1, 0
    while True:
        word = (0x9e3779b97f4a7c15 * (i + 1)) & mask
        for char in name.encode():
            word = ((word ^ char) * 0x100000001b3) & mask
        word ^= word >> 29
        yield ((word * 0xbf58476d1ce4e5b9) & mask).to_bytes(8, "little")
        i += PAGE // 8


def _session_pages(path, name, mib):
    """How many pages of a session's memory lie in this part of the machine's."""
    words = {word for word, _ in zip(_words(name), range(mib * MIB // PAGE))}
    found, at = 0, 0
    with open(path, "rb") as memory:
        size = os.fstat(memory.fileno()).st_size
        while at < size:
            try:
                at = os.lseek(memory.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(memory.fileno(), at, os.SEEK_HOLE)
            data = os.pread(memory.fileno(), end - at, at)
            found += sum(data[page:page + 8] in words
                         for page in range(0, len(data), PAGE))
            at = end
    return found


@contextlib.contextmanager
def _memory():
    """Path of what a part of a machine's memory is; not a file of a disk."""
    file = os.memfd_create("memory")
    try:
        yield f"/proc/{os.getpid()}/fd/{file}"
    finally:
        os.close(file)


def _total(guest):
    """Memory of the machine in KiB, as the kernel counts it."""
    return int(re.search(r"MemTotal: +(\d+)", guest.read("/proc/meminfo"))[1])


def _update(run, guest, extra="", mib=8, waits=None):
    """Updates the host kernel to itself, with data of every subsystem and a session;
    another session may wait."""
    number = len(guest.boots)
    hand_over_data(guest)
    guest.do(f"guestctl session create vm{number} {mib}", timeout=60)
    run.prepare(guest)
    run.load(guest, "host", extra)
    run.jump(guest, "host")
    check_received(run, guest)
    _verify(run, guest, f"vm{number}", mib)
    run.finish(guest, waits)


def _verify(run, guest, name, mib):
    """A session arrived with every byte."""
    run.equal(f"session {name}", guest.do(f"guestctl session verify {name} {mib}",
                                          timeout=60), f"ok {mib * MIB} bytes")


@scenario("machine-large", smp=8, memory="6G", limit=200)
def machine_large(run):
    """8 processors and 6 GiB, whose struct pages are initialised late: two updates."""
    guest = run.boot("host")
    run.contains("console", guest.console(1), "deferred pages initialised")
    for _ in range(2):
        total = _total(guest)
        _update(run, guest)
        run.equal("processors", guest.do("nproc"), "8")
        run.check("all memory is there", abs(_total(guest) - total) < 16 * 1024,
                  f"{total} KiB before, {_total(guest)} KiB now")


@scenario("machine-numa", smp=4, limit=200)
def machine_numa(run):
    """NUMA with a node that has processors and no memory: two updates."""
    guest = run.boot("host", smp="4,sockets=2", devices=(
        "-object", "memory-backend-ram,id=m0,size=512M",
        "-object", "memory-backend-ram,id=m2,size=512M",
        "-numa", "node,nodeid=0,memdev=m0,cpus=0-1", "-numa", "node,nodeid=1,cpus=2-3",
        "-numa", "node,nodeid=2,memdev=m2"))
    for number in range(3):
        nodes = {name: guest.read(f"/sys/devices/system/node/{name}")
                 for name in ("online", "has_memory", "has_cpu")}
        run.equal("nodes", nodes, {"online": "0-2", "has_memory": "0,2", "has_cpu": "0-1"})
        if number < 2:
            _update(run, guest)


def _dimm(path):
    """Options for a DIMM that is there from the start."""
    return ("-object", f"memory-backend-file,id=d0,share=on,size={DIMM}M,mem-path={path}",
            "-device", "pc-dimm,id=dimm0,memdev=d0")


def _plug(guest, path):
    """Puts a DIMM into the running machine and waits until the kernel uses it."""
    guest.vm.qmp.execute("object-add", **{
        "qom-type": "memory-backend-file", "id": "d0", "share": True, "size": DIMM * MIB,
        "mem-path": str(path)})
    guest.vm.qmp.execute("device_add", driver="pc-dimm", id="dimm0", memdev="d0")
    guest.until(f"[ $(grep -l online {MEMORY}/memory{DIMM_START // (128 * MIB)}/state) ]")


@scenario("machine-memory-added", memory=SLOT, limit=160)
def machine_memory_added(run):
    """Memory that was added since power-on, in use by the kernel: firmware does not know
    of it, and what is preserved lies there. Two updates."""
    with _memory() as path:
        guest = run.boot("host", extra=KERNEL_ZONE, devices=_dimm(path))
        run.contains("added memory is used", guest.read("/proc/iomem"),
                     f"{DIMM_START:x}-{DIMM_START + DIMM * MIB - 1:x} : System RAM")
        total = _total(guest)
        guest.do("guestctl session create big 16", timeout=60)
        pages = _session_pages(path, "big", 16)
        run.check("a session lies in the added memory", pages > 1000, f"{pages} pages")
        _update(run, guest, KERNEL_ZONE, waits=("sessions", "big"))
        _verify(run, guest, "big", 16)
        run.check("all memory is there", abs(_total(guest) - total) < 16 * 1024,
                  f"{total} KiB before, {_total(guest)} KiB now")
        _update(run, guest, KERNEL_ZONE)


@scenario("machine-memory-movable", memory=SLOT, limit=160)
def machine_memory_movable(run):
    """Added memory that is online as movable: nothing that is preserved lies there, the
    next kernel adds it again, and it can be taken out."""
    with _memory() as path:
        block = f"{MEMORY}/memory{DIMM_START // (128 * MIB)}"
        guest = run.boot("host", extra=MOVABLE_ZONE, devices=_dimm(path))
        run.equal("zone of the added memory", guest.read(f"{block}/valid_zones"), "Movable")
        guest.do("guestctl session create big 16", timeout=60)
        pages = _session_pages(path, "big", 16)
        run.check("a session lay there, until it was preserved", pages > 1000, f"{pages} pages")
        _update(run, guest, MOVABLE_ZONE, waits=("sessions", "big"))
        _verify(run, guest, "big", 16)
        run.equal("its zone in the next kernel", guest.read(f"{block}/valid_zones"), "Movable")
        run.step("take it out")
        guest.do(f"for block in {MEMORY}/memory3[2-5]; do echo offline > $block/state; done")
        guest.vm.qmp.execute("device_del", id="dimm0")
        guest.until(f"! [ -e {block} ]")
        _update(run, guest, MOVABLE_ZONE)


@scenario("machine-memory-late", memory=SLOT, limit=160)
def machine_memory_late(run):
    """Memory that is added after the image was loaded: reboot(2) refuses, everything is
    as before, and an image that is loaded again goes."""
    with _memory() as path:
        guest = run.boot("host", extra=KERNEL_ZONE)
        hand_over_data(guest)
        run.prepare(guest)
        run.load(guest, "host", KERNEL_ZONE)
        run.step("add memory")
        _plug(guest, path)
        guest.do("guestctl session create vm 16", timeout=60)
        pages = _session_pages(path, "vm", 16)
        run.check("a session lies in the added memory", pages > 1000, f"{pages} pages")
        run.equal("reboot(2)", guest.refused_jump(), "ESTALE")
        run.last_failed(guest, "freeze", "", -116)
        run.said(guest, "memory that was added since the image was loaded: load it again")
        run.state(guest, "prepared")
        run.contains("session", guest.do("guestctl session check vm"), "ok")
        run.load(guest, "host", KERNEL_ZONE)
        run.jump(guest, "host")
        check_received(run, guest)
        _verify(run, guest, "vm", 16)
        run.finish(guest)


@scenario("machine-memory-driver", memory=SLOT, limit=160)
def machine_memory_driver(run):
    """Memory of virtio-mem, which the next kernel must not touch before its driver: what
    is preserved there is refused by reboot(2), and when the image is loaded again."""
    with _memory() as path:
        guest = run.boot("host", extra=KERNEL_ZONE, devices=(
            "-object", f"memory-backend-file,id=v0,share=on,size={DIMM}M,mem-path={path}",
            "-device", "virtio-mem-pci,id=vm0,memdev=v0,requested-size=0"))
        run.load(guest, "host", KERNEL_ZONE)
        run.step("plug memory")
        guest.vm.qmp.execute("qom-set", path="/machine/peripheral/vm0",
                             property="requested-size", value=DIMM * MIB)
        guest.until("grep -q 'System RAM (virtio_mem)' /proc/iomem")
        guest.do("guestctl session create vm 16", timeout=60)
        pages = _session_pages(path, "vm", 16)
        run.check("a session lies in that memory", pages > 1000, f"{pages} pages")
        run.equal("reboot(2)", guest.refused_jump(), "ERANGE")
        run.prepare(guest)
        run.equal("reboot(2) when prepared", guest.refused_jump(), "ERANGE")
        run.state(guest, "prepared")
        run.equal("kexec_file_load", guest.load(run.image("host"), run.append(KERNEL_ZONE)),
                  "ERANGE")
        run.said(guest, "lie in memory of which the next kernel is not told, because a "
                        "driver manages it")
        run.contains("session", guest.do("guestctl session check vm"), "ok")
        run.cancel(guest)


@scenario("machine-memory-luctl", memory=SLOT, limit=200)
def machine_memory_luctl(run):
    """luctl on added memory: no go where the kernel does not tell the next one of it,
    a go and an update where it does, and no go again for a mem= that hides it."""
    with _memory() as path:
        guest = run.boot("host", extra=KERNEL_ZONE, devices=_dimm(path))
        command = (f"{host_path(run.image('host'))} --initrd {GUEST_INITRD} "
                   "--reuse-cmdline")

        def findings(status, more=""):
            report = json.loads(luctl(run, guest, f"check --json {command} {more}", status))
            run.equal("what is not judged", report["unjudged"], [])
            return [(f["thing"], f["severity"]) for f in report["findings"]], report
        run.step("a kernel that does not tell of it")
        guest.do("echo firmware > /tmp/map; "
                 "mount --bind /tmp/map /sys/kernel/liveupdate/memory_map")
        found, report = findings(NO_GO)
        run.equal("findings", found, [("memory", "no-go")])
        finding = report["findings"][0]
        run.contains("why", finding["why"], f"0x{DIMM_START:x}")
        run.contains("advice", finding["advice"], "CONFIG_KEXEC_HANDOVER_MAP")
        luctl(run, guest, f"update {command} --now", NO_GO)
        check_untouched(run, guest)
        guest.do("umount /sys/kernel/liveupdate/memory_map")

        run.step("this kernel, which does")
        run.equal("findings", findings(OK)[0], [])
        found, report = findings(NO_GO, "--append mem=4G")
        run.equal("findings with mem=", found, [("command line", "no-go")])
        run.contains("why", report["findings"][0]["why"], f"0x{DIMM_START:x}")
        hand_over_data(guest)
        guest.do("guestctl session create big 16", timeout=60)
        pages = _session_pages(path, "big", 16)
        run.check("a session lies in the added memory", pages > 1000, f"{pages} pages")
        guest.jump(command=f"luctl update {command} --now")
        run.state(guest, "updated")
        check_received(run, guest)
        _verify(run, guest, "big", 16)
        luctl(run, guest, "finish")
        run.contains("added memory is used", guest.read("/proc/iomem"),
                     f"{DIMM_START:x}-{DIMM_START + DIMM * MIB - 1:x} : System RAM")
        run.equal("findings in the next kernel", findings(OK)[0], [])


@scenario("machine-hugepages", smp=2, memory="4G", limit=160)
def machine_hugepages(run):
    """Huge pages of 2 MiB and 1 GiB, reserved at boot by both kernels."""
    huge = "hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=32"
    sizes = {"1048576": "1", "2048": "32"}
    guest = run.boot("host", extra=huge)
    for number in range(2):
        got = {size: guest.read(f"/sys/kernel/mm/hugepages/hugepages-{size}kB/nr_hugepages")
               for size in sizes}
        run.equal("huge pages", got, sizes)
        if not number:
            _update(run, guest, huge)


@scenario("machine-crashkernel", limit=160)
def machine_crashkernel(run):
    """Memory for a crash kernel is reserved in both kernels."""
    reserve = "crashkernel=160M"
    guest = run.boot("host", extra=reserve)
    for number in range(2):
        run.equal("memory of the crash kernel", guest.read("/sys/kernel/kexec_crash_size"),
                  str(160 * MIB))
        if not number:
            _update(run, guest, reserve)


@scenario("machine-uefi", limit=240)
def machine_uefi(run):
    """Firmware is UEFI: three updates in a row, each kernel with its run-time services."""
    code = FIRMWARE.format("CODE")
    if not os.path.exists(code):
        raise HarnessError(f"{code} is missing (package ovmf)")
    variables = run.folder / "variables"
    shutil.copy(FIRMWARE.format("VARS"), variables)
    guest = run.boot("host", devices=(
        "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        "-drive", f"if=pflash,format=raw,unit=1,file={variables}"))
    for number in range(4):
        run.check("the kernel runs on UEFI", guest.exists("/sys/firmware/efi/runtime-map/0"))
        if number < 3:
            _update(run, guest)
