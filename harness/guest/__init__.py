# SPDX-License-Identifier: GPL-2.0
"""The guest: commands in it, and what it holds, read from its files and its memory."""
