# SPDX-License-Identifier: GPL-2.0
"""What is built: kernels, the image that guests boot, the tools in it."""
