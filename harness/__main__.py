# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness COMMAND: see cli/commands.py."""

import sys

from .cli.commands import main

sys.exit(main())
