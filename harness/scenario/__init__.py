# SPDX-License-Identifier: GPL-2.0
"""Scenarios: what they are written with, what runs them, and in cases/ they themselves."""
