# SPDX-License-Identifier: GPL-2.0
"""The README's table of what is preserved, against the kernel."""

import re

from .. import paths
from ..scenario_api import scenario

ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<level>\w+) \|")


@scenario("readme-table", kernels=("a",))
def readme_table(run):
    """The README's table of what is preserved names the participants that the
    kernel has, with their levels, and no others."""
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    written = {row["name"]: row["level"]
               for row in map(ROW.match, text.splitlines()) if row}
    run.check("the README has a table", written, "no row of a participant")
    guest = run.boot("a")
    real = {name: fields[2] for name, fields in guest.participants().items()
            if not name.startswith("test-")}
    run.equal("participants of the README and of the kernel", written, real)

    size = re.search(r"youngest (\d+) KiB", text)
    run.check("the README says how much log is kept", size, "no such text")
    run.prepare(guest)
    run.equal("bytes of the shutdown log",
              guest.participants()["shutdown-log"][4], int(size[1]) << 10)
    run.cancel(guest)
