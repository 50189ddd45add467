# SPDX-License-Identifier: GPL-2.0
"""The kernel tree: the upstream base, the series on it, and the way back."""
