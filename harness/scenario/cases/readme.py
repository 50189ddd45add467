# SPDX-License-Identifier: GPL-2.0
"""What the READMEs say: the table of what is preserved, and the example of a scenario."""

import re

from ...common import paths
from ...guest.pci import EduDevice, IvshmemDevice, Machine, boot, listed
from ...vm.ivshmem import Ivshmem
from ..api import Failed, Run, scenario

ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<level>\w+) \|")

# What the example begins with; it is not registered while it is tried.
IMPORT = "from ..api import scenario\n"


@scenario("readme-table")
def readme_table(run):
    """The README's table of what is preserved names the subsystems that the
    kernel has, with their levels, and no others."""
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    written = {row["name"]: row["level"]
               for row in map(ROW.match, text.splitlines()) if row}
    run.check("the README has a table", written, "no row of a subsystem")
    guest = run.boot("a")
    real = {name: fields[2] for name, fields in guest.subsystems().items()
            if not name.startswith("test-")}
    run.equal("subsystems of the README and of the kernel", written, real)

    size = re.search(r"newest (\d+) KiB", text)
    run.check("the README says how much log is kept", size, "no such text")
    run.prepare(guest)
    run.equal("bytes of the shutdown log",
              guest.subsystems()["shutdown-log"][4], int(size[1]) << 10)
    run.cancel(guest)


@scenario("readme-scenario")
def readme_scenario(run):
    """The scenario that harness/README.md shows as an example works, and fails when it
    expects something else."""
    text = (paths.ROOT / "harness/README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    run.check("it imports what it uses", IMPORT in code, code)
    code = code.replace(IMPORT, "")
    for number, changed in enumerate((code, code.replace('"], "hello"', '"], "hullo"'))):
        found, other = [], Run(run.what, run.folder / f"example{number}")
        exec(compile(changed, "harness/README.md", "exec"),     # pylint: disable=exec-used
             {"scenario": lambda name, **_: found.append})
        run.equal("functions in the example", len(found), 1)
        try:
            found[0](other)
            failure = ""
        except Failed as failed:
            failure = str(failed)
        finally:
            other.close()
            run.guests += other.guests
        run.equal("it fails if it is changed", bool(failure), changed != code)
        run.check("for that reason", changed == code or "hullo" in failure, failure)


@scenario("readme-devices")
def readme_devices(run):
    """The drivers that the README names, and no others, keep their device running, and
    the buses it names are theirs."""
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    row = next(row for row in text.splitlines() if row.startswith("| `devices` |"))
    drivers = set(re.findall(r"`(liveupdate_\w+)`", row))
    sources = {path.stem for path in (paths.ROOT / "samples/liveupdate").glob("*.c")}
    run.equal("drivers of the README and in samples/liveupdate", drivers, sources)
    with Ivshmem() as server:
        guest, host = boot(run, Machine().edu("edu0").ivshmem("ivshmem0", server))
        devices = (EduDevice(run, guest, host, "edu0"),
                   IvshmemDevice(run, guest, host, "ivshmem0", server))
        for device in devices:
            run.equal(f"before {device.module} is loaded", device.has("liveupdate"), False)
            device.load("a")
            run.equal(f"request of the device of {device.module}", device.request(), "")
        run.equal("drivers of the README and tried", drivers,
                  {device.driver() for device in devices})
        run.prepare(guest)
        run.equal("preserved", set(listed(guest, "preserved")),
                  {device.identity for device in devices})
        buses = {line.split()[0] for line in guest.read(
            "/sys/kernel/debug/liveupdate_devices/preserved").splitlines()}
        run.equal("buses of the README", set(re.findall(r"buses: `(\w+)`", row)), buses)
        run.cancel(guest)
