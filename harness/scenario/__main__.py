# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness.scenario NAME...: runs scenarios, see runner.py."""

import sys

from .runner import main

sys.exit(main())
