# SPDX-License-Identifier: GPL-2.0
"""What a command line does that is more than one package does."""
