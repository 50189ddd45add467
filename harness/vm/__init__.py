# SPDX-License-Identifier: GPL-2.0
"""The machine from outside: QEMU, its monitor, its devices and their traces."""
