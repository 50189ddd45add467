/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */

/**
 * DOC: Live update timeline
 *
 * /sys/kernel/liveupdate/timeline tells how long the parts of a live update
 * took, in the old kernel as well as in the new one. It is a
 * &struct liveupdate_timeline_header with @count times
 * &struct liveupdate_timeline_record behind it, all in the byte order of the
 * machine.
 *
 * A record says what took place from one value of a counter to another. The
 * counter is the time stamp counter on x86 and the virtual counter on arm64;
 * kexec does not reset it, so both kernels share one axis. Where hardware does
 * not promise that it keeps its pace, %LIVEUPDATE_TIMELINE_INVARIANT is absent,
 * and what is measured between the kernels is an estimate.
 *
 * Records are written when what they tell of ends. Those of the old kernel come
 * before those of the new one, and earlier updates before later ones.
 *
 * Records leave when an update begins or is rehearsed: those of an update that
 * was cancelled, those of the last rehearsal, and, if room is needed, the oldest
 * updates as a whole. Then @generation changes. A reader that needs several reads
 * starts again if it changed meanwhile.
 *
 * A reader refuses a @version it does not know, takes the sizes from the header,
 * and ignores what a later kernel added at the end of header and records, as
 * well as records of a kind or transition that it does not know.
 */

#ifndef _UAPI_LIVEUPDATE_TIMELINE_H
#define _UAPI_LIVEUPDATE_TIMELINE_H

#include <linux/types.h>

#define LIVEUPDATE_TIMELINE_MAGIC	"LUOTIME"
#define LIVEUPDATE_TIMELINE_MAGIC_LEN	8
#define LIVEUPDATE_TIMELINE_VERSION	1
#define LIVEUPDATE_TIMELINE_NAME_LEN	48

/* The counter runs at constant pace, also while no kernel does. */
#define LIVEUPDATE_TIMELINE_INVARIANT	(1U << 0)

/**
 * struct liveupdate_timeline_header - head of the timeline
 * @magic: %LIVEUPDATE_TIMELINE_MAGIC with its terminating zero.
 * @version: %LIVEUPDATE_TIMELINE_VERSION.
 * @header_size: bytes of this header, a multiple of 8.
 * @record_size: bytes of a record, a multiple of 8.
 * @count: number of records.
 * @frequency: counts a second, as the kernel that is read from measured it; 0
 *	if it could not.
 * @flags: %LIVEUPDATE_TIMELINE_INVARIANT, or 0.
 * @generation: changes whenever records are removed while the kernel runs.
 * @corrupted: records from earlier kernels that were not as they had been written,
 *	ever.
 * @dropped: records for which there was no room, ever.
 */
struct liveupdate_timeline_header {
	char magic[LIVEUPDATE_TIMELINE_MAGIC_LEN];
	__u32 version;
	__u32 header_size;
	__u32 record_size;
	__u32 count;
	__u64 frequency;
	__u32 flags;
	__u32 generation;
	__u32 corrupted;
	__u32 dropped;
};

/**
 * enum liveupdate_timeline_kind - what a record tells of
 * @LIVEUPDATE_TIMELINE_KERNEL: a kernel; @name is its release, cut if it is too
 *	long. For the old kernel it is the instant at which prepare began, for
 *	the new one the first instant at which it could look.
 * @LIVEUPDATE_TIMELINE_TRANSITION: a transition over all subsystems; @name is empty,
 *	@error is what it ended with, in restore 0 also if subsystems failed.
 * @LIVEUPDATE_TIMELINE_CALLBACK: the callback of the subsystem @name in a transition,
 *	or in freeze what is done with "sessions" of /dev/liveupdate. It stands alone
 *	for a module that restores late, or goes. Of a transition with very many
 *	subsystems only the first are recorded.
 * @LIVEUPDATE_TIMELINE_MARK: an instant on the way; @name says which:
 *	"serialized": all that is handed over, nothing can fail now;
 *	"notified": the reboot notifiers ran, devices are shut down next;
 *	"devices-down": they are;
 *	"jump": the last instant in the old kernel;
 *	"initcalls-done": the new kernel ran its initcalls, except for the last
 *	ones of the level "late";
 *	"userspace": process 1 starts to run its program.
 * @LIVEUPDATE_TIMELINE_INITCALLS: a level of initcalls; @name is its name.
 * @LIVEUPDATE_TIMELINE_ITEMS: the things, such as devices, that the subsystem
 *	@name went through in its callback. There were @count of them, and
 *	@end - @start is the time they took together. It comes before the record
 *	of the callback and lies within its time.
 * @LIVEUPDATE_TIMELINE_ITEM: one of these things; @name is its name. Up to 16 of
 *	the slowest follow the record of all, the slowest first. They belong to
 *	it up to the next record of a callback, of a transition or of all items.
 *
 * @transition is one of &enum liveupdate_timeline_transition for transitions, callbacks
 * and items, and %LIVEUPDATE_TIMELINE_NONE for all others.
 */
enum liveupdate_timeline_kind {
	LIVEUPDATE_TIMELINE_KERNEL	= 1,
	LIVEUPDATE_TIMELINE_TRANSITION	= 2,
	LIVEUPDATE_TIMELINE_CALLBACK	= 3,
	LIVEUPDATE_TIMELINE_MARK	= 4,
	LIVEUPDATE_TIMELINE_INITCALLS	= 5,
	LIVEUPDATE_TIMELINE_ITEMS	= 6,
	LIVEUPDATE_TIMELINE_ITEM	= 7,
};

/**
 * enum liveupdate_timeline_transition - transition of the state machine
 * @LIVEUPDATE_TIMELINE_NONE: none.
 * @LIVEUPDATE_TIMELINE_PREPARE: normal -> prepared.
 * @LIVEUPDATE_TIMELINE_CANCEL: prepared -> normal, or undo of a failed prepare.
 * @LIVEUPDATE_TIMELINE_FREEZE: prepared -> frozen, or the first half of a
 *	rehearsal.
 * @LIVEUPDATE_TIMELINE_THAW: frozen -> prepared, or undo of a failed freeze.
 * @LIVEUPDATE_TIMELINE_RESTORE: the new kernel takes over what was handed over.
 * @LIVEUPDATE_TIMELINE_FINISH: updated -> normal.
 */
enum liveupdate_timeline_transition {
	LIVEUPDATE_TIMELINE_NONE	= 0,
	LIVEUPDATE_TIMELINE_PREPARE	= 1,
	LIVEUPDATE_TIMELINE_CANCEL	= 2,
	LIVEUPDATE_TIMELINE_FREEZE	= 3,
	LIVEUPDATE_TIMELINE_THAW	= 4,
	LIVEUPDATE_TIMELINE_RESTORE	= 5,
	LIVEUPDATE_TIMELINE_FINISH	= 6,
};

/**
 * struct liveupdate_timeline_record - what took place
 * @start: counter when it began.
 * @end: counter when it ended, @start for an instant.
 * @update: number of the update, counted from 1. An update that was cancelled
 *	has a number, too.
 * @kernel: number of the kernel that wrote it, counted from 1. The new kernel of
 *	an update is the old one of the next.
 * @kind: one of &enum liveupdate_timeline_kind.
 * @transition: one of &enum liveupdate_timeline_transition.
 * @error: 0, or the negative error it ended with.
 * @count: for %LIVEUPDATE_TIMELINE_ITEMS, in the place of @error: their number.
 * @crc: CRC-32 (the polynomial of Ethernet, initial value and final inversion all
 *	ones) over the whole record with @crc taken as 0; never 0, a checksum of 0
 *	is stored as 1.
 * @name: terminated and padded with zeroes, printable, without white space.
 */
struct liveupdate_timeline_record {
	__u64 start;
	__u64 end;
	__u32 update;
	__u16 kernel;
	__u8 kind;
	__u8 transition;
	union {
		__s32 error;
		__u32 count;
	};
	__u32 crc;
	char name[LIVEUPDATE_TIMELINE_NAME_LEN];
};

#endif /* _UAPI_LIVEUPDATE_TIMELINE_H */
