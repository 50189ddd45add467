// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Test helper for random number generators in a live update
 *
 * The thread of the core of hwrng reads from the generator that is current, and takes data
 * that a test wants to read. This generator, "liveupdate_test", has none: the thread sleeps
 * for ten seconds after it has asked. While it does, another generator can be made current
 * and be read from, with nobody else reading. How often it has asked is in the parameter
 * "asked" of the module. For test kernels only.
 */

#include <linux/hw_random.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static unsigned int asked;
module_param(asked, uint, 0444);
MODULE_PARM_DESC(asked, "how often there was no data");

static int test_hwrng_read(struct hwrng *rng, void *data, size_t max, bool wait)
{
	asked++;

	return 0;
}

static struct hwrng test_hwrng = {
	.name	= "liveupdate_test",
	.read	= test_hwrng_read,
};

static int __init test_hwrng_init(void)
{
	return hwrng_register(&test_hwrng);
}
module_init(test_hwrng_init);

static void __exit test_hwrng_exit(void)
{
	hwrng_unregister(&test_hwrng);
}
module_exit(test_hwrng_exit);

MODULE_DESCRIPTION("Random number generator without data, for tests of live update");
MODULE_LICENSE("GPL");
