/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Timeline ABI
 *
 * How long the parts of a live update took, handed from kernel to kernel by the
 * subsystem "timeline".
 *
 * This interface is a contract. Any change of the layout below, or of
 * &struct liveupdate_timeline_record in include/uapi/linux/liveupdate_timeline.h,
 * needs a new %LUO_TIMELINE_COMPATIBLE and a new version of the subsystem.
 *
 * The blob starts with &struct luo_timeline_ser; as many records as @slots says
 * follow. A slot that was never written is zero. The old kernel writes records
 * until the moment it jumps, so there is no count of them: a record is one if its
 * checksum is right, and its fields are within their bounds. The head is final
 * from FREEZE on.
 */

#ifndef _LINUX_KHO_ABI_TIMELINE_H
#define _LINUX_KHO_ABI_TIMELINE_H

#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <uapi/linux/liveupdate_timeline.h>

#define LUO_TIMELINE_COMPATIBLE		"luo-timeline-v1"
#define LUO_TIMELINE_COMPAT_LEN		24

/**
 * struct luo_timeline_ser - head of the timeline
 * @compatible: %LUO_TIMELINE_COMPATIBLE, padded with zeroes.
 * @slots: number of records that there is room for behind this struct.
 * @update: number of the update under way, 1 or more.
 * @kernel: number of the kernel that wrote this, 1 or more.
 * @generation: counts removals of records.
 * @corrupted: records of earlier kernels that arrived corrupted.
 * @dropped: records for which there was no room.
 * @reserved: zero.
 * @crc: CRC-32 of include/linux/kho/abi/subsystem.h over the fields above.
 */
struct luo_timeline_ser {
	char compatible[LUO_TIMELINE_COMPAT_LEN];
	u32 slots;
	u32 update;
	u32 kernel;
	u32 generation;
	u32 corrupted;
	u32 dropped;
	u32 reserved;
	u32 crc;
} __packed;

static_assert(sizeof(struct luo_timeline_ser) == 56);
static_assert(sizeof(struct luo_timeline_ser) %
	      __alignof__(struct liveupdate_timeline_record) == 0);
static_assert(sizeof(struct liveupdate_timeline_record) == 80);
static_assert(offsetof(struct liveupdate_timeline_record, crc) == 28);
static_assert(sizeof(struct liveupdate_timeline_header) == 48);

#endif /* _LINUX_KHO_ABI_TIMELINE_H */
