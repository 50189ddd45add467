# SPDX-License-Identifier: GPL-2.0
"""Next kernels in which devices are not taken over, and corruption on the way to them."""

from ...guest.control import LIVEUPDATE
from ...guest.devices import AT, BLOB, BUS, RECORD
from ...guest.pages import Kept, full
from ...guest.table import HEAD, NR_RECORDS, REFERENCE, per_block
from ..api import scenario
from ..test_bus import boot_with, check_counts, request, stopped_jump, update

HARM = {"ram_file": True, "gdb": True}
ONE, OTHER, PLAIN = BUS, f"{BUS}-other", f"{BUS}-plain"


def check_quarantined(run, guest, reason, *names):
    """These devices and no others were quiesced in kernel B, once each."""
    log = guest.console(2)
    for name in names:
        run.equal(f"how often {name} was quarantined",
                  log.count(f"liveupdate_test_bus: {name} quarantine\n"), 1)
        run.contains("console", log, f"{BUS} {name}: liveupdate: quarantined: {reason}")


def check_all_quarantined(run, guest, *names):
    """No others than these were."""
    found = sorted(line.split()[-2] for line in guest.console(2).splitlines()
                   if line.endswith(" quarantine"))
    run.equal("devices that were quarantined", found, sorted(names))


def check_again(run, guest, devices, *names):
    """After finish these devices are ordinary ones, and can be preserved anew."""
    check_counts(run, devices)
    for name in names:
        devices.ordinary(name)
    request(run, devices, *names)
    run.prepare(guest)
    run.cancel(guest)
    devices.in_turn()


@scenario("dev-missing-driver", debug=True)
def dev_missing_driver(run):
    """The driver of one device is not there: nobody else gets it, finish quarantines it
    before its memory is freed and it is bound; the driver can come even later."""
    config = "add nic1 driver=other;add port1;add nic2 parent=port1,driver=other"
    guest, devices = boot_with(run, config, "nic1", "nic2")
    update(run, guest, devices, config.replace("nic1 driver=other", "nic1 driver=other+plain"),
           drivers="one,plain")
    run.equal("devices that are not taken over", devices.listed("unreclaimed"),
              {"nic1": "nic1", "nic2": "nic2"})
    check_counts(run, devices, preserved=3, reclaimed=1, unreclaimed=2)
    run.equal("driver in updated", devices.driver("nic1"), "")
    run.check("bind of another driver", devices.bind(PLAIN, "nic1") != "")
    run.contains("console", guest.console(2), f"driver {PLAIN} cannot take over")
    run.equal("files of nic1", (devices.file("nic1", "preserved"),
                                devices.file("nic1", "reclaimed")), ("1", "0"))
    check_all_quarantined(run, guest)
    devices.tell("clear")
    run.finish(guest, waits=("devices", "nic1", "nic2"))
    guest.until(f"grep -q 'probe nic1' {devices.log}", timeout=10)
    devices.check_calls("finish", [("quarantine", "nic2", "0"), ("finish", "port1", "0"),
                                   ("quarantine", "nic1", "0"), ("probe", "nic1", "0")])
    check_quarantined(run, guest, "nobody took it over", "nic1", "nic2")
    check_all_quarantined(run, guest, "nic1", "nic2")
    run.equal("driver after finish", devices.driver("nic1"), PLAIN)
    run.equal("files of a device without a driver", devices.has_files("nic2"), False)
    devices.tell("register other")
    check_again(run, guest, devices, "nic2")


@scenario("dev-incompatible")
def dev_incompatible(run):
    """Drivers that match, but cannot take over what was saved: one reads only newer
    data, one is compatible with something else, one is passed over for the right one."""
    config = "add old1;add strange1;add right1 driver=other"
    guest, devices = boot_with(run, config, "old1", "strange1", "right1")
    update(run, guest, devices, "driver one version=5,oldest=3;add old1;"
           "add strange1 driver=other+plain;add right1 driver=one+plain+other")
    run.equal("what was received", devices.received(), {"right1": (1, "right1")})
    check_counts(run, devices, preserved=3, reclaimed=1, unreclaimed=2)
    run.equal("probes", devices.calls("probe"), [("probe", "right1", "0")])
    run.equal("driver of right1", devices.driver("right1"), OTHER)
    log = guest.console(2)
    for name, driver in (("old1", ONE), ("strange1", OTHER), ("strange1", PLAIN),
                         ("right1", ONE)):
        run.contains("console", log, f"{BUS} {name}: liveupdate: driver {driver} cannot take "
                     f"over {BUS}-{'two' if name == 'right1' else 'one'} version 1")
    run.finish(guest, waits=("devices", "old1", "strange1"))
    check_quarantined(run, guest, "nobody took it over", "old1", "strange1")
    check_all_quarantined(run, guest, "old1", "strange1")
    check_again(run, guest, devices, "old1", "right1")
    devices.ordinary("strange1", OTHER)


@scenario("dev-failing-probe")
def dev_failing_probe(run):
    """A probe that fails, before or after it retrieved its data, has the device
    quarantined at once, and only once; what hangs below it goes the same way."""
    config = ("add early1;add late1;add good1;add under1 parent=early1;add lax1 driver=other")
    guest, devices = boot_with(run, config, "early1", "late1", "good1", "under1", "lax1")
    update(run, guest, devices,
           "add early1 fail=probe,errno=6;add late1 fail=retrieve,errno=12;add good1;"
           "add under1 parent=early1;add lax1 driver=other")
    check_quarantined(run, guest, "its probe failed", "early1", "late1")
    check_quarantined(run, guest, "its parent is not the one it had", "under1")
    check_all_quarantined(run, guest, "early1", "late1", "under1")
    check_counts(run, devices, preserved=2, reclaimed=2, unreclaimed=3)
    devices.tell("set early1 fail=none;set late1 fail=none")
    for name in ("early1", "under1"):
        run.check(f"bind of {name} before finish",
                  devices.bind(ONE, name) != "" and not devices.driver(name))
    run.equal("unbind of a device taken over", devices.bind(OTHER, "lax1", unbind=True), "")
    run.equal("bind of it", devices.bind(OTHER, "lax1"), "")
    run.equal("it is an ordinary one", devices.file("lax1", "reclaimed"), "0")
    run.equal("calls of retrieve", [call[1:] for call in devices.calls("retrieve")],
              [("late1", "-12"), ("good1", "0"), ("lax1", "0")])
    run.finish(guest)
    run.equal("finish", devices.calls("finish"), [("finish", "good1", "0")])
    check_all_quarantined(run, guest, "early1", "late1", "under1")
    check_again(run, guest, devices, "early1", "late1", "good1", "under1", "lax1")


@scenario("dev-deferred", smp=2)
def dev_deferred(run):
    """A probe that is deferred, twice, changes nothing; the device is taken over when it
    succeeds, also when drivers probe beside each other and in another order."""
    config = "add first1;add patient1;add last1;add port1;add nic1 parent=port1,driver=other"
    guest, devices = boot_with(run, config, "first1", "patient1", "last1", "nic1")
    update(run, guest, devices, "driver one async=1;add patient1 defer=2;"
           "add port1 driver=none;add nic1 parent=port1,driver=other")
    guest.until(f"grep -q '^probe patient1' {devices.log}", timeout=10)
    check_all_quarantined(run, guest)
    run.equal("driver of patient1", devices.driver("patient1"), "")
    devices.tell("add last1")
    devices.tell("add first1;set port1 driver=one")
    run.equal("bind of port1", devices.bind(ONE, "port1"), "")
    guest.until(f"[ $(cat {LIVEUPDATE}/devices/nr_reclaimed) = 5 ]", timeout=15)
    run.equal("probes of patient1", [call[2] for call in devices.calls("probe")
                                     if call[1] == "patient1"], ["-517", "-517", "0"])
    run.equal("what was received", devices.received(), {
        name: (1, name) for name in ("first1", "patient1", "last1", "port1", "nic1")})
    run.finish(guest)
    check_all_quarantined(run, guest)
    check_again(run, guest, devices, "patient1")


NEEDY = "add power1;add port1;add disk1;add nic1 parent=port1;link disk1 power1"


def boot_needy(run):
    """disk1 needs power1 by a device link, and nic1 is below port1."""
    guest, devices = boot_with(run, NEEDY, "disk1", "nic1")
    run.prepare(guest)
    run.load(guest)

    def look(table):
        order = [record.id for record in table.records()]
        run.equal("providers of disk1", [order[at] for at in table.record("disk1").providers],
                  ["power1"])
        run.equal("parent of nic1", order[table.record("nic1").parent - 1], "port1")
        run.equal("other providers of nic1", table.record("nic1").providers, ())
    stopped_jump(run, guest, look)
    return guest, devices


@scenario("dev-providers-late", gdb=True, ram_file=True)
def dev_providers_late(run):
    """A device appears, and has its driver, before what it needs is taken over: a parent
    that waits for its driver, and a supplier that has not even appeared. It is taken
    over after these. Fails if a device is bound as soon as its driver matches."""
    guest, devices = boot_needy(run)
    devices.load("b", "add port1 driver=none;add nic1 parent=port1;add disk1")
    run.equal("calls before there is a provider", devices.calls("probe"), [])
    run.equal("bind by hand", (devices.bind(ONE, "nic1") != "", devices.bind(ONE, "disk1") != "",
                               devices.driver("nic1"), devices.driver("disk1")),
              (True, True, "", ""))
    check_counts(run, devices, preserved=3, unreclaimed=4)
    devices.tell("add power1;set port1 driver=one")
    run.equal("bind of port1", devices.bind(ONE, "port1"), "")
    guest.until(f"[ $(cat {LIVEUPDATE}/devices/nr_reclaimed) = 4 ]", timeout=15)
    order = [call[1] for call in devices.calls("retrieve")]
    run.equal("devices that were retrieved", sorted(order), ["disk1", "nic1", "port1", "power1"])
    run.check("providers came first", order.index("power1") < order.index("disk1") and
              order.index("port1") < order.index("nic1"))
    run.finish(guest)
    check_all_quarantined(run, guest)
    check_again(run, guest, devices, "disk1", "nic1")


@scenario("dev-providers-fail", gdb=True, ram_file=True)
def dev_providers_fail(run):
    """Devices wait, and what they need fails: the probe of a parent, and a supplier that
    turns out to be other hardware. Both are quarantined at once, without a probe of their
    own. Fails if quarantine does not go down."""
    guest, devices = boot_needy(run)
    devices.load("b", "add port1 driver=none,fail=probe;add nic1 parent=port1;add disk1")
    check_all_quarantined(run, guest)
    devices.tell("set port1 driver=one;add power1 fingerprint=changed")
    run.check("bind of port1", devices.bind(ONE, "port1") != "")
    guest.until(f"[ $(grep -c ^quarantine {devices.log}) = 4 ]", timeout=10)
    check_quarantined(run, guest, "its probe failed", "port1")
    check_quarantined(run, guest, "it is other hardware", "power1")
    check_quarantined(run, guest, "what it needs was not taken over", "disk1", "nic1")
    check_all_quarantined(run, guest, "disk1", "nic1", "port1", "power1")
    run.equal("probes", [call[1] for call in devices.calls("probe")], ["port1"])
    devices.tell("set port1 fail=none")
    run.finish(guest)
    check_all_quarantined(run, guest, "disk1", "nic1", "port1", "power1")
    check_again(run, guest, devices, "disk1", "nic1")


@scenario("dev-providers-missing", gdb=True, ram_file=True)
def dev_providers_missing(run):
    """What devices need does not come until finish: they were not taken over, finish
    quarantines them, and what is missing is retained."""
    guest, devices = boot_needy(run)
    devices.load("b", "add port1 driver=none;add nic1 parent=port1;add disk1")
    check_counts(run, devices, preserved=3, unreclaimed=4)
    run.finish(guest, waits=("devices", "power1", "port1", "disk1", "nic1"))
    guest.until(f"[ $(grep -c ^probe {devices.log}) = 2 ]", timeout=10)
    check_quarantined(run, guest, "nobody took it over", "disk1", "nic1", "port1")
    check_all_quarantined(run, guest, "disk1", "nic1", "port1")
    run.retained(guest, f"devices:{BUS}:power1")


@scenario("dev-gone", debug=True)
def dev_gone(run):
    """A device that does not appear: what was saved for it stays reserved after finish,
    and should it appear then, it is quarantined before anything is probed. Until it
    does, or is said to be gone for good, there is no other update. One that goes before
    finish is stopped if nobody has taken it over, and comes back as new."""
    config = "add here1;add gone1;add back1;add left1;add lost1"
    guest, devices = boot_with(run, config, "here1", "gone1", "back1", "left1", "lost1")
    update(run, guest, devices, "add here1;add back1 driver=none;add left1")
    run.equal("devices that are not taken over", devices.listed("unreclaimed"),
              {"gone1": "-", "back1": "back1", "lost1": "-"})
    devices.tell("remove back1;remove left1")
    check_quarantined(run, guest, "it is removed", "back1")
    run.equal("devices that are not taken over", devices.listed("unreclaimed"),
              {"gone1": "-", "lost1": "-"})
    devices.tell("clear;add back1;add left1")
    devices.check_calls("devices that come back", [
        ("probe", "back1", "0"), ("probe", "left1", "0")])
    check_counts(run, devices, preserved=1, reclaimed=1, unreclaimed=2)
    run.retained(guest, "devices")
    run.equal("forget in updated", guest.set("retained/devices/forget", 1), "EBUSY")
    run.finish(guest, waits=("devices", "gone1", "lost1"))
    check_all_quarantined(run, guest, "back1")
    run.contains("console", guest.console(2), "devices: 2 did not appear")
    run.equal("devices that did not appear", devices.listed("unreclaimed"),
              {"gone1": "-", "lost1": "-"})
    devices.tell("clear;add gone1")
    devices.check_calls("a device that comes late", [
        ("quarantine", "gone1", "0"), ("probe", "gone1", "0")])
    devices.tell("clear;remove gone1;add gone1")
    devices.check_calls("one that comes again", [("remove", "gone1", "0"),
                                                 ("probe", "gone1", "0")])
    check_all_quarantined(run, guest, "back1", "gone1")

    check_counts(run, devices, unreclaimed=1)
    run.retained(guest, f"devices:{BUS}:lost1")
    run.last_failed(guest, "freeze", "devices", -16)
    run.forget(guest, f"devices:{BUS}:lost1")
    run.retained(guest)
    devices.tell("clear;add lost1")
    devices.check_calls("a device that was forgotten", [("probe", "lost1", "0")])
    check_again(run, guest, devices, "here1", "gone1", "back1", "left1", "lost1")


@scenario("dev-unreclaimed", memory="512M", limit=200, **HARM)
def dev_unreclaimed(run):
    """finish without the bus: all is reserved, there is no other update, and all is
    quarantined when the bus comes, or given up for gone by the operator."""
    config = "add nic1;add port1;add disk1 parent=port1,data="
    guest, devices = boot_with(run, config, "nic1", "disk1")
    run.prepare(guest)
    run.load(guest)

    def saved(table):
        record = table.record("nic1")
        run.check("nic1 saved something", record.flags & BLOB and record.size)
        return Kept(guest.vm.ram).add("what nic1 saved", record.value, record.size)
    kept = stopped_jump(run, guest, saved)
    run.state(guest, "updated")
    check_counts(run, devices, unreclaimed=3)
    kept.check(run, guest)
    run.finish(guest, waits=("devices", "nic1", "port1", "disk1"))
    kept.check(run, guest)
    run.contains("console", guest.console(2), "devices: 3 did not appear")
    run.retained(guest, *(f"devices:{BUS}:{name}" for name in ("nic1", "port1", "disk1")))
    kept.check(run, guest)
    devices.load("b", config)
    check_quarantined(run, guest, "nobody is to take it over any more",
                      "nic1", "port1", "disk1")
    devices.check_calls("late devices", [(step, name, "0") for name in
                                         ("nic1", "port1", "disk1")
                                         for step in ("quarantine", "probe")])
    run.equal("what was received", devices.received(), {})
    check_again(run, guest, devices, "nic1", "disk1")

    run.step("and given up for gone")
    update(run, guest, devices, "add nic1")
    run.finish(guest, waits=("devices", "port1", "disk1"))
    check_counts(run, devices, unreclaimed=2)
    run.forget(guest, f"devices:{BUS}:port1")
    run.retained(guest, f"devices:{BUS}:disk1")
    run.forget(guest, f"devices:{BUS}:disk1")
    check_counts(run, devices)
    devices.tell("clear;add disk1")
    devices.check_calls("one that was given up", [("probe", "disk1", "0")])
    run.prepare(guest)
    run.cancel(guest)


@scenario("dev-running", memory="512M", limit=200, **HARM)
def dev_running(run):
    """Two devices of which the bus cannot stop any when they appear, and only one at
    finish. What the other one may access is retained until the operator gives it up.
    Fails if what quarantine returns is ignored."""
    names = ("nic1", "disk1")
    config = ";".join(f"add {name} fingerprint=new,fail=quarantine" for name in names)
    guest, devices = boot_with(run, "add nic1;add disk1", *names)
    run.prepare(guest)
    run.load(guest)

    def saved(table):
        kept = Kept(guest.vm.ram)
        for name in names:
            record = table.record(name)
            kept.add(f"what {name} saved", record.value, record.size)
        return kept
    kept = stopped_jump(run, guest, saved)
    run.state(guest, "updated")
    devices.load("b", config)
    devices.check_calls("devices that appear", [("quarantine", name, "-5") for name in names])
    run.retained(guest, *(f"devices:{BUS}:{name}" for name in names))
    devices.tell("clear;set nic1 fail=quarantine")
    run.finish(guest)
    run.equal("at finish", sorted(devices.calls("quarantine")), [
        ("quarantine", "disk1", "0"), ("quarantine", "nic1", "-5")])
    run.contains("console", guest.console(2), "nic1: liveupdate: cannot be stopped")
    with full(run, guest):
        run.equal("what is not reserved", kept.lost(), ["what disk1 saved"])
    run.retained(guest, f"devices:{BUS}:nic1")
    run.forget(guest, f"devices:{BUS}:nic1")
    with full(run, guest):
        run.equal("what is not reserved", kept.lost(), [f"what {name} saved" for name in names])
    check_again(run, guest, devices, *names)


@scenario("dev-unreclaimed-kexec")
def dev_unreclaimed_kexec(run):
    """A plain kexec in updated: what nobody took over is quarantined before anything is
    shut down, what was taken over is shut down as ever; the next kernel has nothing."""
    config = "add nic1 driver=other;add disk1"
    guest, devices = boot_with(run, config, "nic1", "disk1")
    update(run, guest, devices, config, drivers="one")
    check_counts(run, devices, preserved=2, reclaimed=1, unreclaimed=1)
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")
    log = guest.console(2)
    check_quarantined(run, guest, "the system goes down", "nic1")
    check_all_quarantined(run, guest, "nic1")
    run.check("quarantined before the first is shut down",
              log.index("nic1 quarantine") < log.index(" shutdown\n"))
    run.contains("console", log, "liveupdate_test_bus: disk1 shutdown\n")
    devices.load("a", config)
    run.equal("what was received", devices.received(), {})
    check_again(run, guest, devices, "nic1", "disk1")


@scenario("dev-other-device")
def dev_other_device(run):
    """Other hardware where a device was: quarantined when it appears, with what hangs
    below. Below another parent it is another device, and what was handed over of the one
    of that name is retained."""
    config = ("add disk1 fingerprint=model-7;add same1 fingerprint=model-7;"
              "add bridge1 bridge=1,driver=plain,fingerprint=b-1;add nic1 parent=bridge1;"
              "add port1;add leaf1 parent=port1;add bridge2 bridge=1;add nic2 parent=bridge2")
    guest, devices = boot_with(run, config, "disk1", "same1", "nic1", "leaf1", "nic2")
    update(run, guest, devices, config.replace("disk1 fingerprint=model-7",
                                               "disk1 fingerprint=model-8")
           .replace("b-1", "b-2").replace("add leaf1 parent=port1", "add leaf1 parent=same1"))
    check_quarantined(run, guest, "it is other hardware", "disk1")
    check_quarantined(run, guest, "its parent is not the one it had", "nic1")
    check_all_quarantined(run, guest, "disk1", "nic1")
    run.contains("console", guest.console(2), "bridge1: liveupdate: not kept for the devices")
    check_counts(run, devices, preserved=3, reclaimed=3, unreclaimed=3)
    run.equal("devices taken over", sorted(devices.received()), ["nic2", "port1", "same1"])
    for name in ("disk1", "nic1"):
        run.equal(f"driver of {name} before finish", devices.driver(name), "")
    devices.ordinary("leaf1", ONE)
    run.finish(guest, waits=("devices", "leaf1"))
    check_all_quarantined(run, guest, "disk1", "nic1")
    run.retained(guest, f"devices:{BUS}:leaf1")
    run.forget(guest, f"devices:{BUS}:leaf1")
    check_again(run, guest, devices, "disk1", "same1", "nic1", "leaf1", "nic2")


@scenario("dev-startup-fails")
def dev_startup_fails(run):
    """Live update is switched off in the next kernel after devices were restored, because
    what another update needs cannot be set up. Devices are taken over and finish ends it as
    ever; one that has not appeared is retained by itself then, until it is given up. Fails if what becomes of devices depends on whether live update is on."""
    guest, devices = boot_with(run, "add here1;add gone1;add wait1", "here1", "gone1",
                               "wait1")
    run.prepare(guest)
    run.load(guest, "b", "liveupdate_test.break_startup=1")
    run.jump(guest)
    devices.load("b", "add here1;add wait1 driver=none")
    check_counts(run, devices, preserved=2, reclaimed=1, unreclaimed=2)
    run.equal("what is retained in updated", list(guest.retained()), ["devices"])
    run.finish(guest, waits=("devices", "gone1", "wait1"))
    check_all_quarantined(run, guest, "wait1")
    run.equal("what is retained", list(guest.retained()), [f"devices:{BUS}:gone1"])
    run.load(guest)
    run.equal("kexec while something is retained", guest.refused_jump(), "EBUSY")
    run.forget(guest, f"devices:{BUS}:gone1")
    run.equal("what is retained", list(guest.retained()), [])


@scenario("dev-off")
def dev_off(run):
    """A next kernel with liveupdate=off: every device is quarantined when it appears and
    is an ordinary one from there on."""
    config = "add nic1;add bridge1 bridge=1,driver=plain;add disk1 parent=bridge1,data="
    guest, devices = boot_with(run, config, "nic1", "disk1")
    run.prepare(guest)
    run.load(guest, enabled="kho=on liveupdate=off")
    run.jump(guest, state="none")
    run.contains("console", guest.console(2), "live update is off: 3 that run")
    devices.load("b", config)
    check_quarantined(run, guest, "nobody is to take it over any more", "nic1", "disk1")
    check_all_quarantined(run, guest, "nic1", "disk1")
    devices.check_calls("devices that appear", [
        ("quarantine", "nic1", "0"), ("probe", "nic1", "0"), ("probe", "bridge1", "0"),
        ("quarantine", "disk1", "0"), ("probe", "disk1", "0")])
    run.equal("files", devices.has_files("nic1"), False)
    run.load(guest, "a")
    run.jump(guest, "a", state="normal")
    devices.load("a", config)
    run.equal("what was received", devices.received(), {})
    devices.in_turn()


# -- corruption ---------------------------------------------------------------------

MANY = ";".join(f"add dev{number}" for number in range(1, 26))
NAMES = tuple(f"dev{number}" for number in range(1, 26))
FIRST = per_block(RECORD)       # of these records are in the first of two blocks


def _corrupted(run, harm):
    """25 devices, in two blocks, are handed over and `harm(ram, table)` is done."""
    guest, devices = boot_with(run, MANY, *NAMES)
    run.prepare(guest)
    run.load(guest)
    ram = guest.vm.ram

    def work(table):
        run.equal("blocks of the table", len(list(table.blocks())), 2)
        harm(ram, table)
    stopped_jump(run, guest, work)
    run.state(guest, "updated")
    return guest, devices


def _flip(ram, address):
    ram.write(address, bytes([ram.read(address, 1)[0] ^ 0x01]))


@scenario("dev-corrupted-record", **HARM)
def dev_corrupted_record(run):
    """Records are wrong under right checksums, as a kernel with a bug would write them,
    or lead to memory that nobody handed over: each costs one device, and it is said which."""
    def harm(ram, table):
        _flip(ram, table.record("dev3").address + AT["version"])
        wild = table.record("dev7")
        ram.write(wild.address + AT["value"], (0x1000000).to_bytes(8, "little"))
        flags = table.record("dev9")
        ram.write(flags.address + AT["flags"], bytes([flags.flags | 0x10]))
        table.seal()
    guest, devices = _corrupted(run, harm)
    run.lacks("console", guest.console(2), "did not arrive, what they lead to")
    devices.load("b", MANY)
    check_quarantined(run, guest, "its record is corrupted", "dev3", "dev9")
    check_quarantined(run, guest, "what its driver saved did not arrive", "dev7")
    check_all_quarantined(run, guest, "dev3", "dev7", "dev9")
    run.equal("what was received", devices.received(), {
        name: (1, name) for name in NAMES if name not in ("dev3", "dev7", "dev9")})
    check_counts(run, devices, preserved=22, reclaimed=22, unreclaimed=3)
    run.finish(guest)
    check_all_quarantined(run, guest, "dev3", "dev7", "dev9")
    check_again(run, guest, devices, *NAMES[:10])


@scenario("dev-corrupted-block", **HARM)
def dev_corrupted_block(run):
    """Two bits in the first block are flipped: nothing in it is relied on. Devices that
    look as if they were handed over are quarantined, and one that does not is left alone;
    those in the second block are taken over."""
    def harm(ram, table):
        _flip(ram, table.record("dev3").address + AT["version"])
        _flip(ram, table.record("dev5").address + AT["id"] + 1)      # dev5 becomes ddv5
    guest, devices = _corrupted(run, harm)
    devices.load("b", MANY)
    first = [name for name in NAMES[:FIRST] if name != "dev5"]
    check_quarantined(run, guest, "its record is corrupted", *first)
    check_all_quarantined(run, guest, *first)
    run.equal("what was received", devices.received(), {
        name: (1, name) for name in NAMES[FIRST:]})
    devices.ordinary("dev5")
    rest = len(NAMES) - FIRST
    check_counts(run, devices, preserved=rest, reclaimed=rest, unreclaimed=FIRST)
    run.finish(guest, waits=("devices", "ddv5"))
    run.contains("console", guest.console(2), "devices: 1 did not appear")
    run.retained(guest, f"devices:{BUS}:ddv5")
    run.forget(guest, f"devices:{BUS}:ddv5")
    check_again(run, guest, devices, *NAMES[:3], *NAMES[-3:])


@scenario("dev-missing-block", **HARM)
def dev_missing_block(run):
    """The address of the second block is of memory that nobody handed over, with a right
    checksum: the records in it are lost, the others are not, and it is said how many."""
    def harm(ram, table):
        ram.write(table.address + HEAD.size + REFERENCE.size,
                  (0x1000000).to_bytes(8, "little"))
        table.seal()
    guest, devices = _corrupted(run, harm)
    run.contains("console", guest.console(2),
                 f"{len(NAMES) - FIRST} records did not arrive")
    devices.load("b", MANY)
    run.equal("what was received", devices.received(), {
        name: (1, name) for name in NAMES[:FIRST]})
    run.finish(guest)
    check_all_quarantined(run, guest)
    run.retained(guest, "devices:records")
    run.forget(guest, "devices:records")
    check_again(run, guest, devices, *NAMES[:3], *NAMES[-3:])


def _head_refused(run, harm, errno):
    guest, devices = _corrupted(run, harm)
    run.last_failed(guest, "restore", "devices", errno)
    devices.load("b", MANY)
    run.equal("what was received", devices.received(), {})
    check_counts(run, devices)
    run.finish(guest)
    run.contains("console at finish", guest.console(2), "of 1 mandatory subsystems stay")
    check_all_quarantined(run, guest)
    run.retained(guest, "devices")
    run.forget(guest, "devices")
    check_again(run, guest, devices, "dev1", "dev25")


@scenario("dev-corrupted-head", **HARM)
def dev_corrupted_head(run):
    """The head of the table is corrupted: none of it is used, all stays reserved, and the
    kernel says so."""
    _head_refused(run, lambda ram, table: _flip(ram, table.address + NR_RECORDS), -74)


@scenario("dev-wild-table", **HARM)
def dev_wild_table(run):
    """The head leads to where there is no memory, with a right checksum: no record
    arrives, and nothing is touched."""
    def harm(ram, table):
        for index in range(2):
            ram.write(table.address + HEAD.size + index * REFERENCE.size,
                      (0x7FFF_FFFF_F000).to_bytes(8, "little"))
        table.seal()
    guest, devices = _corrupted(run, harm)
    run.contains("console", guest.console(2), "25 records did not arrive")
    devices.load("b", MANY)
    run.equal("what was received", devices.received(), {})
    check_counts(run, devices)
    run.finish(guest)
    run.forget(guest, "devices:records")
    check_again(run, guest, devices, "dev1", "dev25")


BELOW = "liveupdate-test-below"


def load_below(run, guest, kernel, **parameters):
    """The bus of devices that live by their parent."""
    words = " ".join(f"{key}={value}" for key, value in parameters.items())
    guest.do(f"insmod {run.module(kernel, 'liveupdate_test_below')} {words}", timeout=60)


@scenario("dev-below", gdb=True, ram_file=True, debug=True)
def dev_below(run):
    """Devices that nobody requested come along with their parents. In the next kernel each
    of two with the same identity is known by its parent, in whatever order they appear,
    also long after that was taken over, and gets the page that its parent has reached
    meanwhile. A third one, below a device that was not handed over, is an ordinary one.
    Fails if a device is looked for by bus and identity alone, if pages can be retrieved by
    their own device only, or if nothing follows."""
    guest, devices = boot_with(run, "add port1;add port2 driver=other")
    load_below(run, guest, "a", devices="ring1@port1/ring,ring2@port2/ring")
    request(run, devices, "port1", "port2")
    check_counts(run, devices, requested=2)
    run.prepare(guest)
    run.equal("devices that are preserved", devices.count("preserved"), 4)
    run.load(guest)

    def look(table):
        order = table.records()
        run.equal("parents of both", sorted(order[record.parent - 1].id for record in order
                                            if record.bus == BELOW), ["port1", "port2"])
    stopped_jump(run, guest, look)
    devices.load("b", "add port2 driver=other;add port1;add port3")
    check_counts(run, devices, preserved=2, reclaimed=2, unreclaimed=2)
    load_below(run, guest, "b", devices="ring3@port3/ring")
    check_counts(run, devices, preserved=2, reclaimed=2, unreclaimed=2)
    add = "/sys/module/liveupdate_test_below/parameters/add"
    for name in ("ring2@port2", "ring1@port1"):
        run.equal(f"{name} appears", guest.write(add, f"{name}/ring"), "")
    log = guest.console(2)
    for number in (1, 2):
        run.contains("console", log, f"below: ring{number}: the page is of ring{number}\n")
    run.lacks("console", log, "ring3: ")
    run.equal("devices that were reclaimed", devices.count("reclaimed"), 4)
    run.finish(guest)
    check_all_quarantined(run, guest)
    run.retained(guest)
    check_counts(run, devices)
    devices.in_turn()


@scenario("dev-below-running", gdb=True, ram_file=True, debug=True)
def dev_below_running(run):
    """Devices that can only be stopped with their parent. One fails while its parent runs
    on: it and its page are retained, also when the driver gave that back. The parent of
    the other one finds no driver: it is stopped, and with it what is below, of which
    nothing is retained. Fails if a bus without quarantine counts as stopped, or if it
    does not when its parent was."""
    guest, devices = boot_with(run, "add port1;add port2 driver=other")
    load_below(run, guest, "a", devices="ring1@port1/ring,ring2@port2/cord")
    request(run, devices, "port1", "port2")
    update(run, guest, devices, "add port1;add port2 driver=other", drivers="one,plain")
    load_below(run, guest, "b", devices="ring1@port1/ring,ring2@port2/cord", fail="ring1")
    log = guest.console(2)
    run.contains("console", log, "below: ring1: the page is of ring1\n")
    run.contains("console", log, f"{BELOW} ring1: liveupdate: quarantined: its probe failed")
    run.contains("console", log, f"{BELOW} ring1: liveupdate: cannot be stopped without its")
    check_all_quarantined(run, guest)
    run.finish(guest, waits=("devices", "port2", "cord"))
    check_quarantined(run, guest, "nobody took it over", "port2")
    run.contains("console", guest.console(2),
                 f"{BELOW} ring2: liveupdate: quarantined: nobody took it over")
    run.retained(guest, f"devices:{BELOW}:ring", "dma")
    run.forget(guest, f"devices:{BELOW}:ring", "dma")
    check_counts(run, devices)
    devices.in_turn()


@scenario("dev-below-refused")
def dev_below_refused(run):
    """What lives by its parent is preserved with it or not at all: one that does not come
    along makes prepare fail, and so does a request without a parent that is preserved."""
    guest, devices = boot_with(run, "add port1;add bridge1 bridge=1")
    load_below(run, guest, "a", devices="ring1@port1/stay,ring2@bridge1/ring")
    request(run, devices, "port1")
    run.equal("prepare", guest.set("prepare", 1), "EBUSY")
    devices.failed("prepare", "ring1", -16, "its shutdown would reach", bus=BELOW)
    run.equal("port1 is not requested", devices.request("port1", 0), "")
    below = f"/sys/bus/{BELOW}/devices/ring2/liveupdate/requested"
    run.equal("request of ring2", guest.write(below, "1"), "")
    run.equal("prepare", guest.set("prepare", 1), "EOPNOTSUPP")
    devices.failed("prepare", "ring", -95, "it can only be stopped with its parent", bus=BELOW)
    run.state(guest, "normal")
