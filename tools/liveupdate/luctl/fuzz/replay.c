// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Replay of a corpus
 *
 * Runs the target that it is linked with on files, each in a buffer of its very size, for
 * compilers without libFuzzer.
 */

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	unsigned char *data;
	long size = -1;

	if (file && !fseek(file, 0, SEEK_END))
		size = ftell(file);
	if (size < 0) {
		perror(path);
		return 1;
	}
	rewind(file);
	data = malloc(size ?: 1);
	if (!data || fread(data, 1, size, file) != (size_t)size) {
		perror(path);
		return 1;
	}
	fclose(file);

	LLVMFuzzerTestOneInput(data, size);
	free(data);

	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]))
			return 1;
	}
	printf("%d replayed\n", argc - 1);

	return 0;
}
