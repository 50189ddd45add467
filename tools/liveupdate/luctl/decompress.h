/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LUCTL_DECOMPRESS_H
#define _LUCTL_DECOMPRESS_H

#include <stddef.h>

/*
 * Most bytes that a compressed kernel may unpack to. Kernels shrink to a third or a
 * tenth; what shrinks to less than this ratio is made to exhaust memory.
 */
#define LUCTL_UNPACKED_LIMIT	(1024UL * 1024 * 1024)
#define LUCTL_UNPACKED_SLACK	(16UL * 1024 * 1024)
#define LUCTL_UNPACKED_RATIO	64

/* The compression that @data begins with, as CONFIG_KERNEL_* call it; or NULL. */
const char *luctl_compression(const void *data, size_t size);

/**
 * luctl_decompress() - unpack what luctl_compression() recognised
 * @data: the compressed bytes; what follows their end is ignored
 * @size: their number
 * @unpacked: on success the unpacked bytes, to be freed
 * @unpacked_size: on success their number
 *
 * Return: 0, -EBADMSG if it is corrupted or cut off, -EFBIG if it unpacks to too
 * much, -ENOMEM, or -ENOEXEC if it is not compressed in a known way.
 */
int luctl_decompress(const void *data, size_t size, void **unpacked, size_t *unpacked_size);

#endif /* _LUCTL_DECOMPRESS_H */
