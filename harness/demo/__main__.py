# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness.demo: see cli/demo.py."""

import sys

from ..cli.demo import main

sys.exit(main())
