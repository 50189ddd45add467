# SPDX-License-Identifier: GPL-2.0
"""What is judged without booting: the static gates, the mail-ready series."""
