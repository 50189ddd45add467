# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the harness, on a tiny base in a temporary folder."""
