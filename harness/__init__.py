# SPDX-License-Identifier: GPL-2.0
"""Everything of the project that is not part of the kernel tree.

Run as ``python3 -m harness COMMAND``; the Makefile in the root of the
repository is a thin front end for it.
"""
