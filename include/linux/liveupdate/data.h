/* SPDX-License-Identifier: GPL-2.0 */

/*
 * What is handed to the next kernel: by a subsystem
 * (include/linux/liveupdate/subsystem.h), and by the driver of a device
 * (include/linux/liveupdate/device.h).
 */

#ifndef _LINUX_LIVEUPDATE_DATA_H
#define _LINUX_LIVEUPDATE_DATA_H

#include <linux/types.h>

/**
 * struct liveupdate_data - what is handed to the next kernel
 * @value: physical address of a blob if @size is not 0, else a plain value.
 * @size: bytes of the blob.
 *
 * There is one for each subsystem and for each preserved device, from prepare to
 * cancel, and in the next kernel from boot to finish. liveupdate_data_alloc() and
 * its siblings are the way to fill it; whoever has nothing but a number to hand over
 * sets @value and leaves @size 0.
 */
struct liveupdate_data {
	u64 value;
	u64 size;
};

void *liveupdate_data_alloc(struct liveupdate_data *data, size_t size);
void liveupdate_data_free(struct liveupdate_data *data);
void *liveupdate_data_blob(const struct liveupdate_data *data);
void *liveupdate_data_claim(const struct liveupdate_data *data);
int liveupdate_data_put(const struct liveupdate_data *data);

#endif /* _LINUX_LIVEUPDATE_DATA_H */
