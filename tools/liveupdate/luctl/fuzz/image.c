// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Fuzzing of images
 *
 * A target for libFuzzer that opens bytes as an image, which comes from anywhere. The
 * corpus is made by harness/tests/luctl_images.py, that of fuzz/boot.c as well. With
 * clang, "make fuzz" builds the fuzzers; with any compiler, "make replay" builds
 * programs that run the files they are given.
 */

#include <stdlib.h>
#include <string.h>

#include "../image.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Touch what was found, so that a sanitizer sees what is not there. */
static void use(const struct luctl_image *image)
{
	if (!image->format || !*image->release || strlen(image->kho) >= sizeof(image->kho))
		abort();
	if (!*luctl_machine_name(image->machine) ||
	    (image->unloadable && !*image->unloadable->message))
		abort();
	for (size_t i = 0; i < image->notes.count; i++) {
		const struct luctl_note *note = &image->notes.list[i];

		if (strlen(note->kho) >= sizeof(note->kho) ||
		    strlen(note->table) >= sizeof(note->table) || !*note->name ||
		    strlen(note->name) >= sizeof(note->name) || note->oldest > note->version)
			abort();
	}
	for (size_t i = 0; i < image->notes.odd_count; i++) {
		if (!*image->notes.odd[i].why)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	const struct luctl_image_problem *problem;
	struct luctl_image image;

	problem = luctl_image_parse(&image, data, size);
	if (problem) {
		if (!*problem->message || !*problem->advice)
			abort();
		return 0;
	}
	use(&image);
	luctl_image_drop(&image);

	return 0;
}
