/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_LIVEUPDATE_FAULT_H
#define _LINUX_LIVEUPDATE_FAULT_H

#include <kunit/test.h>
#include <linux/compiler.h>
#include <linux/gfp.h>
#include <linux/sched.h>
#include <linux/slab.h>

/**
 * DOC: Allocations that fail in KUnit tests of live update
 *
 * Each allocation that frob_open() makes shall fail once, and what it left be looked
 * at:
 *
 * .. code-block:: c
 *
 *	int frob_open(void);
 *	void frob_close(void);
 *
 *	static void frob_open_fault_test(struct kunit *test)
 *	{
 *		struct liveupdate_fault fault = {};
 *		int err;
 *
 *		liveupdate_fault_require(test);
 *		while (liveupdate_fault_next(test, &fault)) {
 *			liveupdate_fault_begin(&fault);
 *			err = frob_open();
 *			liveupdate_fault_end(&fault);
 *			KUNIT_EXPECT_TRUE(test, !err || err == -ENOMEM);
 *			if (!err)
 *				frob_close();
 *		}
 *	}
 *
 * The last turn is the one in which there was no such allocation. In others
 * frob_open() may have succeeded all the same, for it can do without, or what failed
 * was an allocation of the debugging aids of the kernel. Allocations of other tasks
 * and of interrupts are not counted. Between begin and end nothing may be expected
 * or asserted, because KUnit allocates memory for what it has to say.
 */

/* More allocations than anything that is tested makes. */
#define LIVEUPDATE_FAULT_MAX	1000

/**
 * struct liveupdate_fault - which allocation fails
 * @nth: its number, from 1 on.
 * @hit: it was made, and failed.
 */
struct liveupdate_fault {
	unsigned int nth;
	bool hit;
};

/**
 * liveupdate_fault_begin() - let an allocation of this task fail from here on
 * @fault: which
 *
 * Context: a task.
 */
static inline void liveupdate_fault_begin(struct liveupdate_fault *fault)
{
#ifdef CONFIG_FAULT_INJECTION
	WRITE_ONCE(current->fail_nth, fault->nth);
#endif
}

/**
 * liveupdate_fault_end() - let none fail any more
 * @fault: tells whether one did
 *
 * Context: the task of liveupdate_fault_begin().
 */
static inline void liveupdate_fault_end(struct liveupdate_fault *fault)
{
#ifdef CONFIG_FAULT_INJECTION
	fault->hit = !READ_ONCE(current->fail_nth);
	WRITE_ONCE(current->fail_nth, 0);
#endif
}

/**
 * liveupdate_fault_next() - turn to the next allocation
 * @test: the test
 * @fault: zeroed before the first
 *
 * Return: true if there may be one; false after a turn in which there was none.
 */
static inline bool liveupdate_fault_next(struct kunit *test,
					 struct liveupdate_fault *fault)
{
	if (fault->nth && !fault->hit)
		return false;
	fault->nth++;
	fault->hit = false;
	KUNIT_ASSERT_LE(test, fault->nth, LIVEUPDATE_FAULT_MAX);

	return true;
}

/**
 * liveupdate_fault_require() - skip the test where no allocation can be made to fail
 * @test: the test
 *
 * It takes CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC, and, in debugfs, "N" in
 * ignore-gfp-wait of both and 0 in min-order of the latter. With debugging aids that
 * allocate for each new slab, reject-start and reject-end have to name the functions
 * that do so: otherwise numbers change from turn to turn, and some are never hit.
 */
static inline void liveupdate_fault_require(struct kunit *test)
{
	struct liveupdate_fault fault = { .nth = 1 };
	struct page *page;
	void *mem;

	liveupdate_fault_begin(&fault);
	mem = kmalloc(1, GFP_KERNEL);
	liveupdate_fault_end(&fault);
	kfree(mem);
	if (mem || !fault.hit)
		kunit_skip(test, "allocations do not fail here, see failslab");

	liveupdate_fault_begin(&fault);
	page = alloc_page(GFP_KERNEL);
	liveupdate_fault_end(&fault);
	if (page)
		__free_page(page);
	if (page || !fault.hit)
		kunit_skip(test, "allocations do not fail here, see fail_page_alloc");
}

#endif /* _LINUX_LIVEUPDATE_FAULT_H */
