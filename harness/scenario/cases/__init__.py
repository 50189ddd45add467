# SPDX-License-Identifier: GPL-2.0
"""The scenarios; every module here registers some when it is imported."""
