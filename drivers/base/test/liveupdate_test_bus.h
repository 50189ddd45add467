/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Test bus for live update of devices: what tests in the kernel use of it. The
 * language of the configuration is described in liveupdate_test_bus_config.c.
 */

#ifndef _DRIVERS_BASE_LIVEUPDATE_TEST_BUS_H
#define _DRIVERS_BASE_LIVEUPDATE_TEST_BUS_H

#include <linux/types.h>

struct device;

int liveupdate_test_bus_configure(const char *config);
struct device *liveupdate_test_bus_device(const char *name);
size_t liveupdate_test_bus_calls(char *text, size_t size);
size_t liveupdate_test_bus_received(char *text, size_t size);

#endif /* _DRIVERS_BASE_LIVEUPDATE_TEST_BUS_H */
