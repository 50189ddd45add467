/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM liveupdate

#if !defined(_TRACE_LIVEUPDATE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEUPDATE_H

#include <linux/tracepoint.h>

/* The machine changed from one state to another. */
TRACE_EVENT(liveupdate_state,
	    TP_PROTO(const char *from, const char *to),
	    TP_ARGS(from, to),
	    TP_STRUCT__entry(__string(from, from)
			     __string(to, to)),
	    TP_fast_assign(__assign_str(from); __assign_str(to);),
	    TP_printk("%s -> %s", __get_str(from), __get_str(to))
);

/* A callback of a subsystem is about to be called. */
TRACE_EVENT(liveupdate_callback_start,
	    TP_PROTO(const char *transition, const char *name),
	    TP_ARGS(transition, name),
	    TP_STRUCT__entry(__string(transition, transition)
			     __string(name, name)),
	    TP_fast_assign(__assign_str(transition); __assign_str(name);),
	    TP_printk("%s %s", __get_str(transition), __get_str(name))
);

/* A callback of a subsystem returned; error is 0 for those without result. */
TRACE_EVENT(liveupdate_callback_end,
	    TP_PROTO(const char *transition, const char *name, int error),
	    TP_ARGS(transition, name, error),
	    TP_STRUCT__entry(__string(transition, transition)
			     __string(name, name)
			     __field(int, error)),
	    TP_fast_assign(__assign_str(transition); __assign_str(name);
			   __entry->error = error;),
	    TP_printk("%s %s error=%d", __get_str(transition), __get_str(name),
		      __entry->error)
);

#endif /* _TRACE_LIVEUPDATE_H */

#include <trace/define_trace.h>
