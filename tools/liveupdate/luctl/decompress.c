// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Compressed kernels
 *
 * The compressions of CONFIG_KERNEL_*, from memory to memory. scripts/Makefile.lib
 * makes them: gzip, bzip2, xz with a BCJ filter, the older lzma format, lzop, the
 * legacy format of lz4, and zstd with a large window. All but gzip are followed by
 * the unpacked size in four bytes, which is not used.
 *
 * Nothing is trusted. The output grows with what was really unpacked, up to a bound
 * that follows from the size of the input, and windows are bounded by what the
 * kernel's build uses. Checksums are verified where the format has them.
 */

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "decompress.h"
#include "luctl.h"

/* The first allocation of an output. */
#define FIRST_ROOM	(1024UL * 1024)

/* scripts/xz_wrap.sh asks for a dictionary of 128 MiB. */
#define LZMA_MEMORY	(192UL * 1024 * 1024)

/* The most that bzip2 and zlib are given at once, since their counters are int. */
#define PIECE		0x40000000UL

/* Blocks of lz4 and lzop; the kernel's own decompressors have no others, either. */
#define LZ4_BLOCK	(8UL * 1024 * 1024)
#define LZO_BLOCK	(256UL * 1024)

struct input {
	const unsigned char *data;
	size_t left;
};

struct output {
	unsigned char *data;
	size_t used;
	size_t room;
	size_t limit;
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Make room for at least @bytes more. */
static int output_reserve(struct output *output, size_t bytes)
{
	size_t room = output->room ?: smaller(FIRST_ROOM, output->limit);
	unsigned char *larger;

	if (bytes > output->limit - output->used)
		return -EFBIG;
	while (room - output->used < bytes)
		room = smaller(room * 2, output->limit);
	if (room == output->room)
		return 0;

	larger = realloc(output->data, room);
	if (!larger)
		return -ENOMEM;
	output->data = larger;
	output->room = room;

	return 0;
}

static bool take(struct input *input, void *bytes, size_t count)
{
	if (input->left < count)
		return false;
	if (bytes)
		memcpy(bytes, input->data, count);
	input->data += count;
	input->left -= count;

	return true;
}

static bool take_le32(struct input *input, uint32_t *value)
{
	unsigned char bytes[4];

	if (!take(input, bytes, sizeof(bytes)))
		return false;
	*value = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;

	return true;
}

static bool take_be32(struct input *input, uint32_t *value)
{
	unsigned char bytes[4];

	if (!take(input, bytes, sizeof(bytes)))
		return false;
	*value = (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];

	return true;
}

static int unpack_gzip(struct input *input, struct output *output)
{
	z_stream stream = {
		.next_in = (unsigned char *)input->data,
		.avail_in = smaller(input->left, PIECE),
	};
	int err = 0, state;

	if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK)
		return -ENOMEM;

	do {
		size_t given;

		err = output_reserve(output, 1);
		if (err)
			break;
		given = smaller(output->room - output->used, PIECE);
		stream.next_out = output->data + output->used;
		stream.avail_out = given;
		state = inflate(&stream, Z_NO_FLUSH);
		output->used += given - stream.avail_out;
		if (state == Z_MEM_ERROR)
			err = -ENOMEM;
		else if (state != Z_OK && state != Z_STREAM_END)
			err = -EBADMSG;
	} while (!err && state != Z_STREAM_END);
	inflateEnd(&stream);

	return err;
}

static int unpack_bzip2(struct input *input, struct output *output)
{
	bz_stream stream = {
		.next_in = (char *)input->data,
		.avail_in = smaller(input->left, PIECE),
	};
	int err = 0, state;

	if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK)
		return -ENOMEM;

	do {
		size_t given;

		err = output_reserve(output, 1);
		if (err)
			break;
		given = smaller(output->room - output->used, PIECE);
		stream.next_out = (char *)output->data + output->used;
		stream.avail_out = given;
		state = BZ2_bzDecompress(&stream);
		output->used += given - stream.avail_out;
		if (state == BZ_MEM_ERROR)
			err = -ENOMEM;
		else if (state != BZ_OK && state != BZ_STREAM_END)
			err = -EBADMSG;
		else if (state == BZ_OK && !stream.avail_in && stream.avail_out)
			err = -EBADMSG;	/* cut off */
	} while (!err && state != BZ_STREAM_END);
	BZ2_bzDecompressEnd(&stream);

	return err;
}

/* Run a decoder of liblzma that is set up. */
static int run_lzma(lzma_stream *stream, struct input *input, struct output *output)
{
	lzma_ret state;
	int err;

	stream->next_in = input->data;
	stream->avail_in = input->left;
	do {
		size_t given;

		err = output_reserve(output, 1);
		if (err)
			break;
		given = output->room - output->used;
		stream->next_out = output->data + output->used;
		stream->avail_out = given;
		state = lzma_code(stream, LZMA_FINISH);
		output->used += given - stream->avail_out;
		if (state == LZMA_MEM_ERROR)
			err = -ENOMEM;
		else if (state == LZMA_MEMLIMIT_ERROR)
			err = -EFBIG;
		else if (state != LZMA_OK && state != LZMA_STREAM_END)
			err = -EBADMSG;
	} while (!err && state != LZMA_STREAM_END);
	lzma_end(stream);

	return err;
}

static int unpack_lzma(struct input *input, struct output *output)
{
	lzma_stream stream = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&stream, LZMA_MEMORY) != LZMA_OK)
		return -ENOMEM;

	return run_lzma(&stream, input, output);
}

static int unpack_xz(struct input *input, struct output *output)
{
	lzma_stream stream = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&stream, LZMA_MEMORY, 0) != LZMA_OK)
		return -ENOMEM;

	return run_lzma(&stream, input, output);
}

static int unpack_zstd(struct input *input, struct output *output)
{
	ZSTD_inBuffer in = { .src = input->data, .size = input->left };
	ZSTD_DStream *stream = ZSTD_createDStream();
	int err = 0;
	size_t left;

	if (!stream)
		return -ENOMEM;

	do {
		ZSTD_outBuffer out;

		err = output_reserve(output, 1);
		if (err)
			break;
		out.dst = output->data;
		out.size = output->room;
		out.pos = output->used;
		left = ZSTD_decompressStream(stream, &out, &in);
		if (ZSTD_isError(left))
			err = -EBADMSG;
		else if (left && in.pos == in.size && out.pos < out.size)
			err = -EBADMSG;	/* cut off */
		output->used = out.pos;
	} while (!err && left);
	ZSTD_freeDStream(stream);

	return err;
}

/*
 * Blocks of at most 8 MiB behind their compressed sizes. Nothing marks the end, so
 * the last four bytes may be the unpacked size.
 */
static int unpack_lz4(struct input *input, struct output *output)
{
	static const uint32_t magic = 0x184c2102;
	uint32_t count;
	int done, err;

	while (input->left && take_le32(input, &count)) {
		if (count == magic)
			continue;
		if (!input->left || !count)
			return 0;
		if (count > input->left || count > LZ4_COMPRESSBOUND(LZ4_BLOCK))
			return -EBADMSG;

		/* A byte unpacks to 255 at most. */
		err = output_reserve(output, smaller(LZ4_BLOCK, count * 255UL));
		if (err)
			return err;
		done = LZ4_decompress_safe((const char *)input->data,
					   (char *)output->data + output->used, count,
					   smaller(LZ4_BLOCK, output->room - output->used));
		if (done < 0)
			return -EBADMSG;
		output->used += done;
		take(input, NULL, count);
	}

	return input->left ? -EBADMSG : 0;
}

/* Flags of a file of lzop. */
#define LZOP_ADLER32_D	0x00000001
#define LZOP_ADLER32_C	0x00000002
#define LZOP_CRC32_D	0x00000100
#define LZOP_CRC32_C	0x00000200
#define LZOP_FILTER	0x00000800

static bool take_lzop_header(struct input *input, uint32_t *flags)
{
	unsigned char version[2], name_length;

	if (!take(input, NULL, 9) ||			/* magic */
	    !take(input, version, 2) ||
	    !take(input, NULL, 2 + 2 + 1 + 1) ||	/* libraries, method, level */
	    !take_be32(input, flags) ||
	    !take(input, NULL, 4 + 4 + 4) ||		/* mode, times */
	    !take(input, &name_length, 1))
		return false;

	return (version[0] << 8 | version[1]) >= 0x0940 &&
	       !(*flags & LZOP_FILTER) && take(input, NULL, name_length + 4);
}

static int unpack_lzop_block(struct input *input, struct output *output, uint32_t flags,
			     uint32_t size)
{
	uint32_t count, adler = 0, crc = 0;
	unsigned char *block;
	lzo_uint done;
	int err;

	if (size > LZO_BLOCK || !take_be32(input, &count) || !count || count > size)
		return -EBADMSG;
	if ((flags & LZOP_ADLER32_D && !take_be32(input, &adler)) ||
	    (flags & LZOP_CRC32_D && !take_be32(input, &crc)))
		return -EBADMSG;
	if (count < size && ((flags & LZOP_ADLER32_C && !take(input, NULL, 4)) ||
			     (flags & LZOP_CRC32_C && !take(input, NULL, 4))))
		return -EBADMSG;
	if (count > input->left)
		return -EBADMSG;

	err = output_reserve(output, size);
	if (err)
		return err;
	block = output->data + output->used;
	done = size;
	if (count == size)
		memcpy(block, input->data, size);
	else if (lzo1x_decompress_safe(input->data, count, block, &done, NULL) != LZO_E_OK ||
		 done != size)
		return -EBADMSG;
	if ((flags & LZOP_ADLER32_D && adler != adler32(1, block, size)) ||
	    (flags & LZOP_CRC32_D && crc != crc32(0, block, size)))
		return -EBADMSG;
	output->used += size;
	take(input, NULL, count);

	return 0;
}

static int unpack_lzop(struct input *input, struct output *output)
{
	uint32_t flags, size;
	int err;

	if (lzo_init() != LZO_E_OK)
		return -ENOMEM;
	if (!take_lzop_header(input, &flags))
		return -EBADMSG;

	for (;;) {
		if (!take_be32(input, &size))
			return -EBADMSG;
		if (!size)
			return 0;
		err = unpack_lzop_block(input, output, flags, size);
		if (err)
			return err;
	}
}

static const struct compression {
	const char *name;
	const char *magic;
	size_t magic_length;
	int (*unpack)(struct input *input, struct output *output);
} compressions[] = {
	{ "gzip", "\x1f\x8b\x08", 3, unpack_gzip },
	{ "bzip2", "BZh", 3, unpack_bzip2 },
	{ "lzma", "\x5d\0\0", 3, unpack_lzma },
	{ "xz", "\3757zXZ\0", 6, unpack_xz },
	{ "lzo", "\x89LZO\0\r\n\x1a\n", 9, unpack_lzop },
	{ "lz4", "\x02\x21\x4c\x18", 4, unpack_lz4 },
	{ "zstd", "\x28\xb5\x2f\xfd", 4, unpack_zstd },
};

static const struct compression *find_compression(const void *data, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++) {
		if (size > compressions[i].magic_length &&
		    !memcmp(data, compressions[i].magic, compressions[i].magic_length))
			return &compressions[i];
	}

	return NULL;
}

const char *luctl_compression(const void *data, size_t size)
{
	const struct compression *compression = find_compression(data, size);

	return compression ? compression->name : NULL;
}

int luctl_decompress(const void *data, size_t size, void **unpacked, size_t *unpacked_size)
{
	const struct compression *compression = find_compression(data, size);
	struct input input = { .data = data, .left = size };
	struct output output = { .limit = LUCTL_UNPACKED_LIMIT };
	int err;

	*unpacked = NULL;
	*unpacked_size = 0;
	if (!compression)
		return -ENOEXEC;

	if (size < (LUCTL_UNPACKED_LIMIT - LUCTL_UNPACKED_SLACK) / LUCTL_UNPACKED_RATIO)
		output.limit = LUCTL_UNPACKED_SLACK + size * LUCTL_UNPACKED_RATIO;
	err = compression->unpack(&input, &output);
	if (err) {
		free(output.data);
		return err;
	}
	*unpacked = output.data;
	*unpacked_size = output.used;

	return 0;
}
