// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Records and rings that are not valid
 *
 * Each field of the record and of the ring, alone, is what it must not be: the device is not
 * taken over, it is not touched, nothing of the attempt is left, and it works as any
 * other once it was quiesced. A record that is wrong is refused before the driver is
 * asked, a ring when it is found.
 *
 * Where a driver could object, too, it is one that believes everything, so that it is not it
 * who notices. What goes along with a field is changed with it, for the same reason.
 */

#include <linux/io.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_ring.h>

#include "virtio_liveupdate_kunit.h"

/* What vlt_make() leaves in flight on VLT_IN: a buffer, a chain of three, a buffer. */
#define VLT_NR_IN	3
#define VLT_NR_OUT	1

/* Descriptors that begin them, as a virtqueue begins with the first one. */
#define VLT_FIRST	0
#define VLT_CHAIN	1
#define VLT_LAST	4

static struct virtio_liveupdate_queue_ser *vlt_in(void)
{
	return vlt_queue_ser(VLT_IN);
}

static struct virtio_liveupdate_queue_ser *vlt_out(void)
{
	return vlt_queue_ser(VLT_OUT);
}

static struct vring_desc *vlt_desc(unsigned int index)
{
	return (struct vring_desc *)phys_to_virt(vlt_host_queue(VLT_IN)->desc) + index;
}

static void vlt_set_flags(unsigned int index, u16 flags)
{
	vlt_desc(index)->flags = (__force __virtio16)cpu_to_le16(flags);
}

static void vlt_set_len(unsigned int index, u32 len)
{
	vlt_desc(index)->len = (__force __virtio32)cpu_to_le32(len);
}

/* A descriptor is not the last one of its chain. */
static void vlt_set_next(unsigned int index, u16 next)
{
	vlt_set_flags(index, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
	vlt_desc(index)->next = (__force __virtio16)cpu_to_le16(next);
}

static void vlt_set_avail(u16 idx)
{
	struct vring_avail *avail = phys_to_virt(vlt_host_queue(VLT_IN)->avail);

	avail->idx = (__force __virtio16)cpu_to_le16(idx);
}

static void vlt_set_used(u16 idx)
{
	struct vring_used *used = phys_to_virt(vlt_host_queue(VLT_IN)->used);

	used->idx = (__force __virtio16)cpu_to_le16(idx);
}

/* More or fewer buffers on VLT_IN, and all that counts them says so. */
static void vlt_set_nr(u32 nr)
{
	vlt_ser()->nr_buffers += nr - vlt_in()->nr_buffers;
	vlt_in()->nr_buffers = nr;
	vlt_in()->avail_idx = vlt_in()->last_used_idx + nr;
}

/* The part of the driver is @size bytes, and what is behind it follows it. */
static void vlt_set_driver_size(u32 size)
{
	struct virtio_liveupdate_ser *ser = vlt_ser();
	void *from = virtio_liveupdate_queues(ser);
	size_t len = virtio_liveupdate_blob_size(0, ser->nr_queues, ser->nr_buffers) -
		     sizeof(*ser);

	ser->driver_size = size;
	memmove(virtio_liveupdate_queues(ser), from, len);
}

/* Bytes that the record has to have. */
static size_t vlt_needed(void)
{
	const struct virtio_liveupdate_ser *ser = vlt_ser();

	return virtio_liveupdate_blob_size(ser->driver_size, ser->nr_queues,
					   ser->nr_buffers);
}

/* The record is as long as it says, and there is nothing behind it. */
static void vlt_cut(size_t size)
{
	void *blob = kunit_kmalloc(vlt->test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(vlt->test, blob);
	memcpy(blob, vlt_ser(), size);
	vlt->handed.value = virt_to_phys(blob);
	vlt->handed.size = size;
}

/**
 * struct vlt_damage - what is not valid
 * @about: name of the case.
 * @spoil: makes it so.
 * @lenient: the driver believes everything.
 */
struct vlt_damage {
	const char *about;
	void (*spoil)(void);
	bool lenient;
};

#define VLT_DAMAGE(_name, _statement)					\
	static void vlt_damage_##_name(void)				\
	{								\
		_statement;						\
	}

VLT_DAMAGE(empty, vlt->handed.size = 0)
VLT_DAMAGE(short_header, vlt_cut(sizeof(struct virtio_liveupdate_ser) - 1))
VLT_DAMAGE(short_record, vlt_cut(vlt_needed() - 1))
VLT_DAMAGE(version_0, vlt_ser()->version = 0)
VLT_DAMAGE(version_next, vlt_ser()->version++)
VLT_DAMAGE(queues_less, vlt_ser()->nr_queues--)
VLT_DAMAGE(queues_more, vlt_ser()->nr_queues++)
VLT_DAMAGE(queues_all, vlt_ser()->nr_queues = U32_MAX)
VLT_DAMAGE(buffers_less, vlt_ser()->nr_buffers--)
VLT_DAMAGE(buffers_more, vlt_ser()->nr_buffers++)
VLT_DAMAGE(buffers_all, vlt_ser()->nr_buffers = U32_MAX)
VLT_DAMAGE(driver_odd, vlt_set_driver_size(sizeof(struct vlt_saved)))
VLT_DAMAGE(driver_all, vlt_ser()->driver_size = ALIGN_DOWN(U32_MAX, sizeof(u64)))
VLT_DAMAGE(tag_other, vlt_in()->tag = 2 * VLT_OUT)
VLT_DAMAGE(tag_driver, vlt_in()->tag = VLT_TAG)
VLT_DAMAGE(align_0, vlt_in()->align = 0)
VLT_DAMAGE(align_2, vlt_in()->align = VRING_USED_ALIGN_SIZE / 2)
VLT_DAMAGE(align_odd, vlt_in()->align = SMP_CACHE_BYTES + SMP_CACHE_BYTES / 2)
VLT_DAMAGE(align_all, vlt_in()->align = 2 * PAGE_SIZE)
VLT_DAMAGE(num_0, vlt_in()->num = 0)
VLT_DAMAGE(num_odd, vlt_in()->num = VLT_NUM - VLT_NUM / 4)
VLT_DAMAGE(num_max, vlt_in()->num_max = VLT_NUM - 1)
VLT_DAMAGE(flags, vlt_in()->avail_flags = VRING_AVAIL_F_NO_INTERRUPT << 1)
VLT_DAMAGE(avail, vlt_in()->avail_idx++)
VLT_DAMAGE(last_used, vlt_in()->last_used_idx--)
VLT_DAMAGE(nr_all, vlt_set_nr(VLT_NUM + 1))

static void vlt_damage_nr_other(void)
{
	vlt_in()->nr_buffers--;
	vlt_out()->nr_buffers++;
}

static void vlt_damage_index_twice(void)
{
	vlt_out()->index = VLT_IN;
	vlt_out()->tag = 2 * VLT_IN + 1;
}

static const struct vlt_damage vlt_damages[] = {
	{ "no record", vlt_damage_empty },
	{ "shorter than its header", vlt_damage_short_header },
	{ "shorter than it says", vlt_damage_short_record },
	{ "version 0", vlt_damage_version_0 },
	{ "next version", vlt_damage_version_next },
	{ "fewer queues", vlt_damage_queues_less },
	{ "more queues", vlt_damage_queues_more },
	{ "too many queues", vlt_damage_queues_all },
	{ "fewer buffers", vlt_damage_buffers_less },
	{ "more buffers", vlt_damage_buffers_more },
	{ "too many buffers", vlt_damage_buffers_all },
	{ "part of the driver not aligned", vlt_damage_driver_odd },
	{ "part of the driver too long", vlt_damage_driver_all },
	{ "tag of another queue", vlt_damage_tag_other },
	{ "tag of the driver", vlt_damage_tag_driver },
	{ "alignment 0", vlt_damage_align_0 },
	{ "alignment too small", vlt_damage_align_2 },
	{ "alignment no power of two", vlt_damage_align_odd },
	{ "alignment too large", vlt_damage_align_all },
	{ "no descriptors", vlt_damage_num_0 },
	{ "descriptors no power of two", vlt_damage_num_odd },
	{ "more descriptors than there can be", vlt_damage_num_max },
	{ "unknown flags", vlt_damage_flags },
	{ "available index", vlt_damage_avail },
	{ "used index", vlt_damage_last_used },
	{ "more buffers than descriptors", vlt_damage_nr_all },
	{ "buffer of another queue", vlt_damage_nr_other },
	{ "queue twice", vlt_damage_index_twice },
};

KUNIT_ARRAY_PARAM_DESC(vlt_damage, vlt_damages, about);

VLT_DAMAGE(ring_avail, vlt_set_avail(VLT_NR_IN + 1))
VLT_DAMAGE(ring_used, vlt_set_used(VLT_NR_IN + 1))
VLT_DAMAGE(ring_back, vlt_set_used(U16_MAX))
VLT_DAMAGE(reserved, vlt_buffer_ser(1)->reserved = 1)
VLT_DAMAGE(head_num, vlt_buffer_ser(2)->head = VLT_NUM)
VLT_DAMAGE(head_all, vlt_buffer_ser(2)->head = U16_MAX)
VLT_DAMAGE(head_twice, vlt_buffer_ser(2)->head = VLT_FIRST)
VLT_DAMAGE(head_middle, vlt_buffer_ser(2)->head = VLT_CHAIN + 1)
VLT_DAMAGE(name_twice, vlt_buffer_ser(2)->name = vlt_buffer_ser(0)->name)
VLT_DAMAGE(name_unknown, vlt_buffer_ser(0)->name = VLT_NR_SLOTS)
VLT_DAMAGE(name_free, vlt_buffer_ser(0)->name = VLT_NR_SLOTS - 1)
VLT_DAMAGE(chain_self, vlt_set_next(VLT_FIRST, VLT_FIRST))
VLT_DAMAGE(chain_loop, vlt_set_next(VLT_CHAIN + 2, VLT_CHAIN))
VLT_DAMAGE(chain_meets, vlt_set_next(VLT_FIRST, VLT_CHAIN + 1))
VLT_DAMAGE(chain_meets_back, vlt_set_next(VLT_LAST, VLT_CHAIN))
VLT_DAMAGE(chain_out, vlt_set_next(VLT_FIRST, VLT_NUM))
VLT_DAMAGE(chain_far, vlt_set_next(VLT_FIRST, U16_MAX))
VLT_DAMAGE(indirect, vlt_set_flags(VLT_FIRST, VRING_DESC_F_INDIRECT))
VLT_DAMAGE(indirect_last, vlt_set_flags(VLT_CHAIN + 2, VRING_DESC_F_INDIRECT))
VLT_DAMAGE(desc_flags, vlt_set_flags(VLT_FIRST, VRING_DESC_F_INDIRECT << 1))
VLT_DAMAGE(len, vlt_set_len(VLT_FIRST, VLT_PART - 1))
VLT_DAMAGE(len_chain, vlt_set_len(VLT_CHAIN + 2, VLT_SLOT))
VLT_DAMAGE(tag_resized, vlt_in()->tag++)
VLT_DAMAGE(smaller, vlt_host_queue(VLT_IN)->num /= 2)

static void vlt_damage_len_all(void)
{
	vlt_set_len(VLT_CHAIN, U32_MAX);
	vlt_set_len(VLT_CHAIN + 1, 1);
}

static void vlt_damage_addr(void)
{
	vlt_desc(VLT_FIRST)->addr = vlt_desc(VLT_LAST)->addr;
}

static void vlt_damage_index(void)
{
	vlt_in()->index = VLT_NR_QUEUES;
	vlt_in()->tag = 2 * VLT_NR_QUEUES;
}

static const struct vlt_damage vlt_ring_damages[] = {
	{ "available index of the ring", vlt_damage_ring_avail, .lenient = true },
	{ "used index ahead", vlt_damage_ring_used, .lenient = true },
	{ "used index behind", vlt_damage_ring_back, .lenient = true },
	{ "reserved", vlt_damage_reserved, .lenient = true },
	{ "head behind the last one", vlt_damage_head_num, .lenient = true },
	{ "head far away", vlt_damage_head_all, .lenient = true },
	{ "head twice", vlt_damage_head_twice, .lenient = true },
	{ "head in the middle of another chain", vlt_damage_head_middle, .lenient = true },
	{ "name twice", vlt_damage_name_twice, .lenient = true },
	{ "name that the driver does not know", vlt_damage_name_unknown },
	{ "name of another buffer", vlt_damage_name_free },
	{ "chain to itself", vlt_damage_chain_self, .lenient = true },
	{ "chain in a loop", vlt_damage_chain_loop, .lenient = true },
	{ "chain into another one", vlt_damage_chain_meets, .lenient = true },
	{ "chain into one before it", vlt_damage_chain_meets_back, .lenient = true },
	{ "chain behind the last descriptor", vlt_damage_chain_out, .lenient = true },
	{ "chain far away", vlt_damage_chain_far, .lenient = true },
	{ "indirect", vlt_damage_indirect, .lenient = true },
	{ "indirect at the end of a chain", vlt_damage_indirect_last, .lenient = true },
	{ "unknown flags of a descriptor", vlt_damage_desc_flags, .lenient = true },
	{ "more bytes than can be", vlt_damage_len_all, .lenient = true },
	{ "other length", vlt_damage_len },
	{ "other length of a chain", vlt_damage_len_chain },
	{ "other address", vlt_damage_addr },
	{ "memory that is not there", vlt_damage_tag_resized, .lenient = true },
	{ "queue that is not there", vlt_damage_index, .lenient = true },
};

KUNIT_ARRAY_PARAM_DESC(vlt_ring_damage, vlt_ring_damages, about);

/* From a kernel with buffers in flight to one where the device has not appeared yet. */
static void vlt_make(struct kunit *test)
{
	vlt_boot(test);
	vlt_add(test, VLT_IN, 0, 1);
	vlt_add(test, VLT_IN, 1, 3);
	vlt_add(test, VLT_IN, 2, 1);
	vlt_add(test, VLT_OUT, 0, 1);
	vlt_fetch(test, VLT_IN);
	KUNIT_ASSERT_EQ(test, vlt_host_queue(VLT_IN)->held[0], VLT_FIRST);
	KUNIT_ASSERT_EQ(test, vlt_host_queue(VLT_IN)->held[1], VLT_CHAIN);
	KUNIT_ASSERT_EQ(test, vlt_host_queue(VLT_IN)->held[2], VLT_LAST);
	vlt_jump(test);
	KUNIT_ASSERT_EQ(test, vlt_in()->nr_buffers, VLT_NR_IN);
	KUNIT_ASSERT_EQ(test, vlt_out()->nr_buffers, VLT_NR_OUT);
}

/* It is quiesced, and then works as any other. */
static void vlt_expect_new_start(struct kunit *test)
{
	struct device *dev = &vlt_vdev()->dev;

	vlt->lenient = false;
	scoped_guard(device, dev)
		KUNIT_EXPECT_EQ(test, 0, vlt_bus()->quarantine(dev));
	KUNIT_EXPECT_EQ(test, vlt->host.nr_resets, 1);
	vlt_finish();
	KUNIT_EXPECT_EQ(test, device_attach(dev), 1);
	KUNIT_ASSERT_TRUE(test, vlt_is_bound());
	KUNIT_EXPECT_FALSE(test, vlt->took_over);
	vlt_add(test, VLT_IN, 0, 4);
	vlt_use(test, VLT_IN, 0, 4);
	vlt_interrupt(VLT_IN);
	vlt_expect_received(test, " 0.0:4");
}

/* The driver is not asked: there is nothing that it could be told. */
static void vlt_record_test(struct kunit *test)
{
	const struct vlt_damage *damage = test->param_value;

	vlt_make(test);
	vlt->lenient = true;
	damage->spoil();
	vlt_expect_refused(test, 0);
	vlt_expect_new_start(test);
}

/* The driver has begun, and its probe fails. */
static void vlt_ring_test(struct kunit *test)
{
	const struct vlt_damage *damage = test->param_value;

	vlt_make(test);
	vlt->lenient = damage->lenient;
	damage->spoil();
	vlt_expect_refused(test, 1);
	vlt_expect_new_start(test);
}

/* A transport that finds another size, which the host would not use. */
static void vlt_smaller_test(struct kunit *test)
{
	vlt_make(test);
	vlt_damage_smaller();
	vlt_expect_refused(test, 1);
	vlt_expect_new_start(test);
}

/* Of the part of the driver its successor makes sure, who may fail. */
static void vlt_cookie_test(struct kunit *test)
{
	struct vlt_saved *saved;

	vlt_make(test);
	saved = virtio_liveupdate_state(&vlt->handed);
	saved->cookie++;
	vlt_expect_refused(test, 1);
	vlt_expect_new_start(test);
}

/* What all of this differs from. Not a byte more is needed. */
static void vlt_valid_test(struct kunit *test)
{
	vlt_make(test);
	vlt_cut(vlt_needed());
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
}

/* No buffer is in flight. */
static void vlt_nothing_test(struct kunit *test)
{
	vlt_boot(test);
	vlt_jump(test);
	vlt_cut(vlt_needed());
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_untouched(test);
}

/* All that may have been used was. */
static void vlt_used_test(struct kunit *test)
{
	vlt_make(test);
	for (unsigned int slot = 0; slot < VLT_NR_IN; slot++)
		vlt_use(test, VLT_IN, slot, slot + 1);
	vlt_boot(test);
	KUNIT_EXPECT_TRUE(test, vlt->took_over);
	vlt_expect_received(test, " 0.0:1 0.1:2 0.2:3");
}

static struct kunit_case vlt_invalid_cases[] = {
	KUNIT_CASE_PARAM(vlt_record_test, vlt_damage_gen_params),
	KUNIT_CASE_PARAM(vlt_ring_test, vlt_ring_damage_gen_params),
	KUNIT_CASE(vlt_smaller_test),
	KUNIT_CASE(vlt_cookie_test),
	KUNIT_CASE(vlt_valid_test),
	KUNIT_CASE(vlt_nothing_test),
	KUNIT_CASE(vlt_used_test),
	{}
};

static struct kunit_suite vlt_invalid_suite = {
	.name = "virtio-liveupdate-invalid",
	.init = vlt_init,
	.exit = vlt_exit,
	.test_cases = vlt_invalid_cases,
};

kunit_test_suite(vlt_invalid_suite);
