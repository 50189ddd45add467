# SPDX-License-Identifier: GPL-2.0
"""What is handed over, corrupted at places that nobody chose.

In bulk inside KUnit, where nothing but the readers runs, and over a real kexec. Which
corruption is done depends on a seed; SEED= in the environment gives another one.
"""

import os

from ...guest import pci as guest_pci
from ...guest.control import DEBUG
from ...guest.devices import Devices
from ...guest.mutate import Image
from ...guest.pci import EDU, EduDevice, Machine
from ..api import release_of, scenario
from ..ktap import expect_passed, parse
from ..subsystems import TEST_ORDER
from ..suites import suites

SEED = int(os.environ.get("SEED") or 1)

SUITES = ("luo-mutate", "luo-instances-mutate", "luo-timeline-mutate",
          "luo-shutdown-log-mutate", "device-liveupdate-mutate", "dma-liveupdate-mutate")
IMAGES = 1_000_000
DEBUG_IMAGES = 20_000


def _read(run, guest, suite):
    """Runs one suite; its report, and how many images it read."""
    module = suites()[suite]
    if module:
        guest.do(f"insmod {run.module('a', module)}", timeout=60)
    run.step(f"suite {suite}")
    guest.do(f"echo 1 > {DEBUG}/kunit/{suite}/run", timeout=300)
    text = guest.read(f"{DEBUG}/kunit/{suite}/results")
    (run.folder / f"{suite}.ktap").write_text(text)
    report = parse(text)
    run.equal("suites", [case.name for case in report.top()], [suite])
    run.checks += len(report.cases)
    lines = [line for line in text.splitlines() if " images read, " in line]
    run.steps += [f"    {line.strip(' #')}" for line in lines]
    if module:
        guest.do(f"rmmod {module}")
    return report, sum(int(line.split(" images read, ")[0].split()[-1]) for line in lines)


@scenario("mutated-images", smp=2, limit=700)
def mutated_images(run):
    """A million corrupted images of what is handed over, read inside KUnit: nothing is
    used that is not as it was written, nothing is touched or freed that was not
    handed over, nothing is lost, and every reader comes to an end."""
    images = DEBUG_IMAGES if run.debug else IMAGES
    run.step(f"seed {SEED}")
    guest = run.boot("a", extra="kunit.enable=1 kunit.autorun=0 loglevel=4 "
                     f"liveupdate_mutate.seed={SEED} liveupdate_mutate.count={images}")
    found = [_read(run, guest, suite) for suite in SUITES]
    for report, _ in found:
        expect_passed(run, report)
        run.equal("skipped tests", [case.name for case in report.cases if case.skipped], [])
    read = sum(number for _, number in found)
    run.check("all images were read", read >= images, f"{read} of {images}")
    run.state(guest, "normal")


# -- over a real kexec ----------------------------------------------------------

# Half of the images in each of two scenarios, so that they run at once.
JUMPS = int(os.environ.get("N") or 50) // 2
TREE = ("add bridge1 bridge=1,driver=plain;add port1 parent=bridge1;add nic1 parent=port1;"
        "add disk1 data=")
REQUESTED = ("nic1", "disk1")
REFUSED = {"-22", "-74", "-93"}


class Chain:
    """Updates in a row of one machine, each corrupted otherwise at the kexec."""

    def __init__(self, run, sealed):
        self.run, self.sealed = run, sealed
        self.kernel = "a"
        self.data = {}                  # what the test subsystems hand over
        self.guest, host = guest_pci.boot(run, Machine().edu("edu0"))
        self.devices = Devices(run, self.guest)
        self.edu = EduDevice(run, self.guest, host, "edu0")
        self._drivers()

    def _drivers(self):
        self.edu.load(self.kernel)
        self.devices.load(self.kernel, TREE)

    def _stop_and_corrupt(self, number):
        """What was done to the image."""
        gdb = self.guest.stop_at_jump()
        image = Image(self.guest.vm.ram, f"{SEED} {self.sealed} {number}",
                      self.data["test-workload"])
        self.run.check("checksums are as the harness knows them", image.intact())
        done = image.corruption()
        if self.sealed:
            image.seal()
        gdb.detach()
        return done

    def jump(self, number):
        """One update, with the corruption that `number` stands for; what that was."""
        run, guest = self.run, self.guest
        self.data = {name: f"{name}-of-image-{number}" for name in TEST_ORDER}
        guest.configure(";".join(f"{name} data={text}" for name, text in self.data.items()))
        for name in REQUESTED:
            run.equal(f"request of {name}", self.devices.request(name), "")
        run.equal("request of edu0", self.edu.request(), "")
        run.equal("prepare", guest.set("prepare", 1), "")
        self.kernel = "b" if self.kernel == "a" else "a"
        run.load(guest, self.kernel)
        done = self._stop_and_corrupt(number)
        run.step(f"image {number}: {done}")
        boot = guest.wait_boot()
        run.equal("release after the kexec", boot.release, release_of(run.image(self.kernel)))

    def arrive(self):
        """The next kernel is in a state that is documented, and gets out of it."""
        run, guest = self.run, self.guest
        state = guest.state()
        run.check(f"state {state}", state in ("updated", "normal"))
        self._drivers()
        if state == "updated":
            self._check_received()
            # Whatever waits.
            run.equal("finish", guest.set("finish", 2), "")
        else:
            step, name, errno = guest.last_failed()
            run.check("it is said why nothing was restored",
                      step == "restore" and not name and errno in REFUSED,
                      f"{step} {name} {errno}")
        run.state(guest, "normal")
        for name in guest.retained():
            run.equal(f"{name} is given up", guest.set(f"retained/{name}/forget", 1), "")
        run.equal("devices that are left", self.devices.count("unreclaimed"), 0)
        return state

    def _check_received(self):
        """Nothing arrived that was not sent, as far as checksums can tell."""
        if self.sealed:
            return
        got = self.guest.received()
        for name, text in got.items():
            self.run.equal(f"what {name} received", text, self.data.get(name))

    def works(self):
        """All devices have drivers, and the one outside of the kernel does DMA."""
        for name in REQUESTED:
            self.devices.ordinary(name)
        self.guest.until(f"[ -e {self.edu.function.path}/{EDU} ]", timeout=10)
        self.edu.transfer("to", 0, 64)


def _mutated_kexec(run, sealed):
    run.step(f"seed {SEED}, {JUMPS} images")
    chain = Chain(run, sealed)
    states = []
    for number in range(JUMPS):
        chain.jump(number)
        states.append(chain.arrive())
        chain.works()
    run.step(f"{states.count('updated')} updated, {states.count('normal')} refused")
    run.check("images that could be used in part", "updated" in states, str(states))


HARM = {"ram_file": True, "gdb": True, "limit": 60 + 12 * JUMPS}


@scenario("mutated-kexec", **HARM)
def mutated_kexec(run):
    """Updates in a row, with corruption to handed-over tables at each kexec: every kernel
    comes up, in a state that is documented, with nothing that was not sent to it."""
    _mutated_kexec(run, False)


@scenario("mutated-kexec-sealed", **HARM)
def mutated_kexec_sealed(run):
    """The same with checksums corrected after the corruption, as a kernel with a bug would
    hand it over: every kernel comes up and gets back to normal."""
    _mutated_kexec(run, True)
