/* SPDX-License-Identifier: GPL-2.0 */

/**
 * DOC: Live Update Shutdown Log ABI
 *
 * What a kernel printed between FREEZE and the kexec, handed to the next
 * kernel by the subsystem "shutdown-log".
 *
 * This interface is a contract. Any change of the layout below needs a new
 * %LUO_SHUTDOWN_LOG_COMPATIBLE and a new version of the subsystem.
 *
 * The blob starts with &struct luo_shutdown_log_ser; @length bytes of text
 * follow, messages as syslog(2) gives them, each with its level, time stamp
 * and line end. @crc is the CRC-32 of include/linux/kho/abi/subsystem.h over
 * the fields before it and the text. It is valid from FREEZE on, when the text
 * is empty.
 */

#ifndef _LINUX_KHO_ABI_SHUTDOWN_LOG_H
#define _LINUX_KHO_ABI_SHUTDOWN_LOG_H

#include <linux/build_bug.h>
#include <linux/types.h>

#define LUO_SHUTDOWN_LOG_COMPATIBLE	"luo-shutdown-log-v1"
#define LUO_SHUTDOWN_LOG_COMPAT_LEN	24

/**
 * struct luo_shutdown_log_ser - head of the shutdown log
 * @compatible: %LUO_SHUTDOWN_LOG_COMPATIBLE, padded with zeroes.
 * @length: bytes of text behind this struct.
 * @incomplete: 1 if the oldest messages did not fit, else 0.
 * @reserved: zero.
 * @crc: CRC-32 over the fields above and the text.
 */
struct luo_shutdown_log_ser {
	char compatible[LUO_SHUTDOWN_LOG_COMPAT_LEN];
	u32 length;
	u32 incomplete;
	u32 reserved;
	u32 crc;
} __packed;

static_assert(sizeof(struct luo_shutdown_log_ser) == 40);

#endif /* _LINUX_KHO_ABI_SHUTDOWN_LOG_H */
