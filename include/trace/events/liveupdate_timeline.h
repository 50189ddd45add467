/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM liveupdate
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE liveupdate_timeline

#if !defined(_TRACE_LIVEUPDATE_TIMELINE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEUPDATE_TIMELINE_H

#include <linux/tracepoint.h>
#include <uapi/linux/liveupdate_timeline.h>

TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_KERNEL);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_TRANSITION);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_CALLBACK);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_MARK);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_INITCALLS);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_ITEMS);
TRACE_DEFINE_ENUM(LIVEUPDATE_TIMELINE_ITEM);

/*
 * Something was recorded for the timeline; duration is in counts of the
 * processor's counter. Items have a number instead of an error.
 */
TRACE_EVENT(liveupdate_record,
	    TP_PROTO(int kind, const char *transition, const char *name, u64 duration,
		     int error, unsigned int count),
	    TP_ARGS(kind, transition, name, duration, error, count),
	    TP_STRUCT__entry(__field(int, kind)
			     __string(transition, transition)
			     __string(name, name)
			     __field(u64, duration)
			     __field(int, error)
			     __field(unsigned int, count)),
	    TP_fast_assign(__entry->kind = kind;
			   __assign_str(transition); __assign_str(name);
			   __entry->duration = duration;
			   __entry->error = error;
			   __entry->count = count;),
	    TP_printk("%s transition=%s name=%s duration=%llu error=%d count=%u",
		      __print_symbolic(__entry->kind,
				       { LIVEUPDATE_TIMELINE_KERNEL, "kernel" },
				       { LIVEUPDATE_TIMELINE_TRANSITION, "transition" },
				       { LIVEUPDATE_TIMELINE_CALLBACK, "callback" },
				       { LIVEUPDATE_TIMELINE_MARK, "mark" },
				       { LIVEUPDATE_TIMELINE_INITCALLS, "initcalls" },
				       { LIVEUPDATE_TIMELINE_ITEMS, "items" },
				       { LIVEUPDATE_TIMELINE_ITEM, "item" }),
		      __get_str(transition), __get_str(name), __entry->duration,
		      __entry->error, __entry->count)
);

#endif /* _TRACE_LIVEUPDATE_TIMELINE_H */

#include <trace/define_trace.h>
