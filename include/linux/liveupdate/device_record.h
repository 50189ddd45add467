/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Records of devices, for other subsystems
 *
 * A subsystem that owns something of a device, such as its memory or its
 * interrupts, hands that over with the index of the device's record in the table of
 * the subsystem "devices". In the old kernel it asks for the index when the set of
 * devices is complete; in the next kernel it asks what became of the device, and
 * learns from that when it may free what belongs to it. Drivers and buses have no use
 * for this.
 */

#ifndef _LINUX_LIVEUPDATE_DEVICE_RECORD_H
#define _LINUX_LIVEUPDATE_DEVICE_RECORD_H

#include <linux/types.h>

struct device;

/**
 * enum device_liveupdate_state - what becomes of a device that was handed over
 * @DEVICE_LIVEUPDATE_UNKNOWN: its record did not arrive, or it cannot be told which
 *	device it is.
 * @DEVICE_LIVEUPDATE_ABSENT: it has not appeared, and is retained.
 * @DEVICE_LIVEUPDATE_INCOMING: it is there and waits for its driver.
 * @DEVICE_LIVEUPDATE_RECLAIMED: its driver took it over and knows what it runs on.
 * @DEVICE_LIVEUPDATE_QUARANTINED: it was stopped.
 * @DEVICE_LIVEUPDATE_RUNNING: the same, but it could not be stopped, and is retained.
 * @DEVICE_LIVEUPDATE_RELEASED: it is an ordinary device again: its driver did not
 *	ask for what was handed over, or was unbound since.
 */
enum device_liveupdate_state {
	DEVICE_LIVEUPDATE_UNKNOWN,
	DEVICE_LIVEUPDATE_ABSENT,
	DEVICE_LIVEUPDATE_INCOMING,
	DEVICE_LIVEUPDATE_RECLAIMED,
	DEVICE_LIVEUPDATE_QUARANTINED,
	DEVICE_LIVEUPDATE_RUNNING,
	DEVICE_LIVEUPDATE_RELEASED,
};

int device_liveupdate_outgoing_index(struct device *dev, u32 *index);
int device_liveupdate_incoming_index(struct device *dev, u32 *index);
int device_liveupdate_provider_index(struct device *dev, struct device *consumer,
				     u32 *index);
enum device_liveupdate_state device_liveupdate_get_state(u32 index);

#endif /* _LINUX_LIVEUPDATE_DEVICE_RECORD_H */
