# SPDX-License-Identifier: GPL-2.0
"""The test subsystems: what they hand over, receive, and were called for."""

# The test subsystems from consumer to provider, one per level.
TEST_ORDER = ("test-workload", "test-devices", "test-irq", "test-iommu", "test-memory")

DATA = {name: f"from_{name}_with_care" for name in TEST_ORDER}


def size_of(name):
    """Bytes that a test subsystem hands over: its text and a terminating zero."""
    return len(DATA[name]) + 1


def hand_over_data(guest):
    """Gives every built-in test subsystem something to hand over."""
    guest.configure(";".join(f"{name} data={text}" for name, text in DATA.items()))


def check_received(run, guest, want=None):
    """The test subsystems of this kernel received what the last one sent."""
    got = guest.received()
    for name, text in (want if want is not None else DATA).items():
        run.equal(f"what {name} received", got.get(name), text)


def check_calls(run, guest, step, names, calls=None):
    """The built-in test subsystems saw this transition in this order, all with 0."""
    seen = [(name, error) for called, name, error in calls or guest.calls()
            if called == step and name in TEST_ORDER]
    run.equal(f"{step} calls", seen, [(name, "0") for name in names])
