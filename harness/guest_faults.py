# SPDX-License-Identifier: GPL-2.0
"""Allocations that fail in a guest on a debug kernel.

See Documentation/fault-injection/fault-injection.rst of the kernel.
"""

from .guest_control import DEBUG, GuestFailure

# With these, allocations that may wait can be made to fail, too, and single pages. Where
# one failed is said in one line, not with a stack that looks like a bug.
SETTINGS = {
    "failslab/ignore-gfp-wait": "N", "failslab/verbose": "1",
    "fail_page_alloc/ignore-gfp-wait": "N", "fail_page_alloc/verbose": "1",
    "fail_page_alloc/ignore-gfp-highmem": "N", "fail_page_alloc/min-order": "0",
}


def enable(guest):
    """To be called once in each kernel."""
    for name, value in SETTINGS.items():
        error = guest.write(f"{DEBUG}/{name}", value)
        if error:
            raise GuestFailure(f"{name}={value}: {error}")
