# SPDX-License-Identifier: GPL-2.0
"""What every other package uses: where things are, running commands, stamps."""
