# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness.shell: see cli/shell.py."""

import sys

from ..cli.shell import main

sys.exit(main())
