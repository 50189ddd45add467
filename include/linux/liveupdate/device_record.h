/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Records of devices, for other participants
 *
 * A participant that owns something of a device, such as its memory or its
 * interrupts, hands that over with the index of the device's record in the table of
 * the participant "devices". In the old kernel it asks for the index when the set of
 * devices is complete; in the next kernel it asks what became of the device, and
 * learns from that when it may free what belongs to it. Drivers and buses have no use
 * for this.
 */

#ifndef _LINUX_LIVEUPDATE_DEVICE_RECORD_H
#define _LINUX_LIVEUPDATE_DEVICE_RECORD_H

#include <linux/types.h>

struct device;

int device_liveupdate_outgoing_index(struct device *dev, u32 *index);
int device_liveupdate_incoming_index(struct device *dev, u32 *index);
bool device_liveupdate_harmless(u32 index);
bool device_liveupdate_absent(u32 index);
bool device_liveupdate_running(u32 index);

#endif /* _LINUX_LIVEUPDATE_DEVICE_RECORD_H */
