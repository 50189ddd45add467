# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness.bench: see cli/bench.py."""

import sys

from ..cli.bench import main

sys.exit(main())
