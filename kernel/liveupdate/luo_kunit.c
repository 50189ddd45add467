// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Machines, participants and hand-overs for KUnit
 *
 * What luo_state_test.c and luo_handover_test.c have in common. Every test has
 * two machines of its own: one plays the outgoing kernel, the other one the
 * incoming kernel. Neither is published, so the machine of the system does not
 * notice.
 *
 * The jump
 *   Header, table and blobs of the outgoing machine are real KHO memory.
 *   luo_kunit_jump() turns them into what the next kernel finds at boot: pages
 *   that are not preserved any more, not accounted as memory of this kernel,
 *   and carry the mark of KHO in page->private. kho_restore_folio() takes them
 *   back, so the incoming machine frees and claims them with the code that
 *   does it after a real kexec. What is left is taken back by
 *   luo_kunit_exit(), so that MemTotal is as before.
 *
 *   kho_is_restorable() says no to everything in a kernel that was not handed
 *   anything. luo_handed_over() is therefore replaced for the running test: it
 *   confirms the memory of this hand-over and nothing else.
 *
 * Warnings
 *   A test fails if the kernel warns while it runs. This cannot be seen if the
 *   kernel was tainted by a warning before.
 */

#include <kunit/static_stub.h>
#include <kunit/test-bug.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_block.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_kunit.h"

/* The mark on a page that was handed over, see kexec_handover.c. */
#define LUO_KUNIT_PAGE_MAGIC	0x4b484f50U

union luo_kunit_page_info {
	unsigned long page_private;
	struct {
		unsigned int order;
		unsigned int magic;
	};
};

/**
 * struct luo_kunit_page - memory of a hand-over
 * @list: entry in &luo_kunit.pages.
 * @page: first page.
 * @order: number of pages, as a power of two.
 * @jumped: it was marked; it is reserved as long as it carries the mark.
 */
struct luo_kunit_page {
	struct list_head list;
	struct page *page;
	unsigned int order;
	bool jumped;
};

static bool luo_kunit_page_marked(const struct luo_kunit_page *page)
{
	union luo_kunit_page_info info = {
		.page_private = page_private(page->page),
	};

	return page->jumped && info.magic == LUO_KUNIT_PAGE_MAGIC;
}

static struct luo_kunit_page *luo_kunit_find_page(struct luo_kunit *fixture,
						  phys_addr_t phys)
{
	struct luo_kunit_page *page;

	list_for_each_entry(page, &fixture->pages, list) {
		if (page_to_phys(page->page) == phys)
			return page;
	}

	return NULL;
}

static bool luo_kunit_handed_over(phys_addr_t phys, size_t size)
{
	struct kunit *test = kunit_get_current_test();
	struct luo_kunit_page *page = luo_kunit_find_page(test->priv, phys);

	if (!page || (page->jumped && !luo_kunit_page_marked(page)))
		return false;

	return size <= PAGE_SIZE << page->order;
}

/**
 * luo_kunit_init() - give a test its machines
 * @test: the test
 *
 * Return: 0 or -ENOMEM; skips the test if KHO is off.
 */
int luo_kunit_init(struct kunit *test)
{
	struct luo_kunit *fixture;

	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off, boot with kho=on");

	fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);
	if (!fixture)
		return -ENOMEM;

	luo_machine_init(&fixture->machine);
	luo_machine_init(&fixture->next);
	INIT_LIST_HEAD(&fixture->participants);
	INIT_LIST_HEAD(&fixture->pages);
	seq_buf_init(&fixture->log, fixture->log_text, LUO_KUNIT_LOG_LEN);
	seq_buf_init(&fixture->want, fixture->want_text, LUO_KUNIT_LOG_LEN);
	fixture->tainted = test_taint(TAINT_WARN);
	test->priv = fixture;
	kunit_activate_static_stub(test, luo_handed_over,
				   luo_kunit_handed_over);

	return 0;
}

/**
 * luo_kunit_exit() - bring both machines to rest and the memory back
 * @test: the test
 */
void luo_kunit_exit(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *participant;
	struct luo_kunit_page *page;

	if (!fixture)
		return;

	cancel_delayed_work_sync(&fixture->machine.invalidate);
	cancel_delayed_work_sync(&fixture->next.invalidate);
	luo_machine_finish(&fixture->next);
	luo_machine_cancel(&fixture->next);
	luo_machine_cancel(&fixture->machine);
	KUNIT_EXPECT_EQ(test, fixture->machine.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_EQ(test, fixture->next.state, LIVEUPDATE_STATE_NORMAL);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fixture->machine.lock));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fixture->next.lock));

	list_for_each_entry(participant, &fixture->participants, list) {
		if (participant->claimed)
			folio_put(virt_to_folio(participant->claimed));
	}
	list_for_each_entry(page, &fixture->pages, list) {
		if (luo_kunit_page_marked(page))
			kho_restore_free(page_address(page->page));
	}
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), fixture->tainted);
}

/* Participants. */

static struct luo_kunit_participant *
to_participant(struct liveupdate_subsystem *subsystem)
{
	return container_of(subsystem, struct luo_kunit_participant, subsystem);
}

static int luo_kunit_callback(struct liveupdate_subsystem *subsystem,
			      enum luo_step step)
{
	struct luo_kunit_participant *participant = to_participant(subsystem);

	seq_buf_printf(&participant->fixture->log, " %s:%s",
		       luo_step_name(step), participant->desc.name);
	if (participant->hook)
		participant->hook(participant, step);

	return participant->error[step];
}

/**
 * luo_kunit_pattern() - content of a participant's blob
 * @name: name of the participant
 * @offset: offset into the blob
 *
 * Return: the byte.
 */
u8 luo_kunit_pattern(const char *name, size_t offset)
{
	return name[offset % strlen(name)] + offset;
}

static int luo_kunit_prepare(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	struct luo_kunit_participant *participant = to_participant(subsystem);
	int err = luo_kunit_callback(subsystem, LUO_STEP_PREPARE);
	u8 *blob;

	if (err)
		return err;
	if (!participant->offer.size) {
		data->value = participant->offer.value;
		return 0;
	}

	blob = liveupdate_data_alloc(data, participant->offer.size);
	if (IS_ERR(blob))
		return PTR_ERR(blob);
	for (size_t i = 0; i < data->size; i++)
		blob[i] = luo_kunit_pattern(participant->desc.name, i);

	return 0;
}

static int luo_kunit_freeze(struct liveupdate_subsystem *subsystem,
			    struct liveupdate_data *data)
{
	return luo_kunit_callback(subsystem, LUO_STEP_FREEZE);
}

static void luo_kunit_thaw(struct liveupdate_subsystem *subsystem,
			   struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_STEP_THAW);
}

static void luo_kunit_cancel(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_STEP_CANCEL);
	liveupdate_data_free(data);
}

static int luo_kunit_restore(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	struct luo_kunit_participant *participant = to_participant(subsystem);
	int err = luo_kunit_callback(subsystem, LUO_STEP_RESTORE);

	participant->received = *data;
	if (!err && participant->claims)
		participant->claimed = liveupdate_data_claim(data);

	return err;
}

static void luo_kunit_finish(struct liveupdate_subsystem *subsystem,
			     struct liveupdate_data *data)
{
	luo_kunit_callback(subsystem, LUO_STEP_FINISH);
}

static const struct liveupdate_subsystem_ops luo_kunit_ops = {
	.prepare	= luo_kunit_prepare,
	.freeze		= luo_kunit_freeze,
	.thaw		= luo_kunit_thaw,
	.cancel		= luo_kunit_cancel,
	.restore	= luo_kunit_restore,
	.finish		= luo_kunit_finish,
};

/**
 * luo_kunit_new() - make a participant, optional and of version 1
 * @test: the test
 * @name: its name
 * @level: its level
 *
 * Return: the participant, not registered.
 */
struct luo_kunit_participant *luo_kunit_new(struct kunit *test,
					    const char *name, u32 level)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_participant *participant =
		kunit_kzalloc(test, sizeof(*participant), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, participant);
	strscpy(participant->desc.name, name);
	participant->desc.version = 1;
	participant->desc.oldest = 1;
	participant->desc.level = level;
	participant->desc.class = LIVEUPDATE_OPTIONAL;
	participant->ops = luo_kunit_ops;
	participant->subsystem.desc = &participant->desc;
	participant->subsystem.ops = &participant->ops;
	participant->fixture = fixture;
	list_add_tail(&participant->list, &fixture->participants);

	return participant;
}

/**
 * luo_kunit_add() - make a participant and register it
 * @test: the test
 * @machine: where to register it
 * @name: its name
 * @level: its level
 *
 * Return: the participant.
 */
struct luo_kunit_participant *luo_kunit_add(struct kunit *test,
					    struct luo_machine *machine,
					    const char *name, u32 level)
{
	struct luo_kunit_participant *participant =
		luo_kunit_new(test, name, level);

	KUNIT_ASSERT_EQ(test, 0,
			luo_subsystem_add(machine, &participant->subsystem));

	return participant;
}

/* What ran. */

/**
 * luo_kunit_want() - note a callback that should run
 * @test: the test
 * @step: the step
 * @name: name of the participant
 */
void luo_kunit_want(struct kunit *test, enum luo_step step, const char *name)
{
	struct luo_kunit *fixture = test->priv;

	seq_buf_printf(&fixture->want, " %s:%s", luo_step_name(step), name);
}

/**
 * luo_kunit_expect_wanted() - compare what ran with what should, forget both
 * @test: the test
 */
void luo_kunit_expect_wanted(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	luo_kunit_expect_log(test, seq_buf_str(&fixture->want));
	KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&fixture->want));
	seq_buf_clear(&fixture->want);
}

/**
 * luo_kunit_expect_log() - compare what ran, and forget it
 * @test: the test
 * @log: " step:name" for each callback, in order
 */
void luo_kunit_expect_log(struct kunit *test, const char *log)
{
	struct luo_kunit *fixture = test->priv;

	KUNIT_EXPECT_STREQ(test, seq_buf_str(&fixture->log), log);
	KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(&fixture->log));
	seq_buf_clear(&fixture->log);
}

/**
 * luo_kunit_expect_failed() - compare what the machine says failed last
 * @test: the test
 * @machine: the machine
 * @step: the step
 * @name: name of the participant, may be empty
 * @error: the error
 */
void luo_kunit_expect_failed(struct kunit *test, struct luo_machine *machine,
			     enum luo_step step, const char *name, int error)
{
	KUNIT_EXPECT_STREQ(test, luo_step_name(machine->failed_step),
			   luo_step_name(step));
	KUNIT_EXPECT_STREQ(test, machine->failed_name, name);
	KUNIT_EXPECT_EQ(test, machine->failed_errno, error);
}

/* Hand-over. */

/**
 * luo_kunit_view() - let luo_handed_over() confirm memory of this kernel
 * @test: the test
 * @mem: start of a folio
 */
void luo_kunit_view(struct kunit *test, void *mem)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_page *page =
		kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	page->page = virt_to_page(mem);
	page->order = folio_order(page_folio(page->page));
	list_add_tail(&page->list, &fixture->pages);
}

/**
 * luo_kunit_view_table() - let the outgoing machine's table be read in place
 * @test: the test
 */
void luo_kunit_view_table(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct liveupdate_subsystem *subsystem;
	struct kho_block *block;

	luo_kunit_view(test, fixture->machine.header);
	list_for_each_entry(block, &fixture->machine.blocks.blocks, list)
		luo_kunit_view(test, block->ser);
	list_for_each_entry(subsystem, &fixture->machine.enlisted, enlisted) {
		if (subsystem->data.size)
			luo_kunit_view(test,
				       phys_to_virt(subsystem->data.value));
	}
}

static void luo_kunit_page_mark(struct luo_kunit_page *page)
{
	union luo_kunit_page_info info = {
		.order = page->order,
		.magic = LUO_KUNIT_PAGE_MAGIC,
	};

	kho_unpreserve_folio(page_folio(page->page));
	set_page_private(page->page, info.page_private);
	adjust_managed_page_count(page->page, -(1L << page->order));
	page->jumped = true;
}

/**
 * luo_kunit_jump() - freeze the outgoing machine and leave it behind
 * @test: the test; the machine is prepared
 *
 * The machine is in state normal again, with all its participants.
 */
void luo_kunit_jump(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_machine *machine = &fixture->machine;
	struct liveupdate_subsystem *subsystem, *next_subsystem;
	struct kho_block *block, *next_block;
	struct luo_kunit_page *page, *next_page;

	KUNIT_ASSERT_EQ(test, machine->state, LIVEUPDATE_STATE_PREPARED);
	KUNIT_ASSERT_EQ(test, 0, luo_machine_freeze(machine, true));

	/* What an earlier jump handed over and is free again is not ours. */
	list_for_each_entry_safe(page, next_page, &fixture->pages, list) {
		if (page->jumped && !luo_kunit_page_marked(page))
			list_del(&page->list);
	}
	luo_kunit_view_table(test);
	list_for_each_entry(page, &fixture->pages, list) {
		if (!page->jumped)
			luo_kunit_page_mark(page);
	}
	fixture->header = virt_to_phys(machine->header);
	machine->header = NULL;

	list_for_each_entry_safe(block, next_block, &machine->blocks.blocks,
				 list) {
		list_del(&block->list);
		kfree(block);
	}
	kho_block_set_init(&machine->blocks, sizeof(struct luo_subsystem_ser));

	list_for_each_entry_safe(subsystem, next_subsystem, &machine->enlisted,
				 enlisted) {
		list_del_init(&subsystem->enlisted);
		subsystem->phase = LUO_PHASE_IDLE;
		subsystem->data = (struct liveupdate_data){};
	}
	machine->state = LIVEUPDATE_STATE_NORMAL;
}

/**
 * luo_kunit_boot() - let the incoming machine look for what was left
 * @test: the test, after luo_kunit_jump()
 *
 * Return: as luo_machine_restore().
 */
int luo_kunit_boot(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;

	return luo_machine_restore(&fixture->next, fixture->header,
				   sizeof(struct luo_subsystems_ser));
}

/**
 * luo_kunit_is_reserved() - is this memory still as the outgoing kernel left it?
 * @test: the test, after luo_kunit_jump()
 * @phys: physical address of header, block or blob
 *
 * Return: false once it was freed or claimed.
 */
bool luo_kunit_is_reserved(struct kunit *test, phys_addr_t phys)
{
	struct luo_kunit_page *page = luo_kunit_find_page(test->priv, phys);

	return page && luo_kunit_page_marked(page);
}

/**
 * luo_kunit_reserved_pages() - count them
 * @test: the test, after luo_kunit_jump()
 *
 * Return: pages that were neither freed nor claimed.
 */
unsigned long luo_kunit_reserved_pages(struct kunit *test)
{
	struct luo_kunit *fixture = test->priv;
	struct luo_kunit_page *page;
	unsigned long count = 0;

	list_for_each_entry(page, &fixture->pages, list) {
		if (luo_kunit_page_marked(page))
			count += 1UL << page->order;
	}

	return count;
}

/* Format. */

/**
 * luo_kunit_crc() - the checksum of the ABI, from its definition
 * @crc: 0, or checksum of the data before @data
 * @data: the data
 * @size: bytes
 *
 * Return: the checksum.
 */
u32 luo_kunit_crc(u32 crc, const void *data, size_t size)
{
	const u8 *byte = data;

	crc = ~crc;
	while (size--) {
		crc ^= *byte++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}

	return ~crc;
}

/**
 * luo_kunit_block() - find a block of an intact chain
 * @header: the header
 * @index: its place
 *
 * Return: the block.
 */
struct kho_block_header_ser *
luo_kunit_block(const struct luo_subsystems_ser *header, unsigned int index)
{
	struct kho_block_header_ser *block = phys_to_virt(header->records);

	while (index--)
		block = phys_to_virt(block->next);

	return block;
}

/**
 * luo_kunit_record() - find a record of an intact table
 * @header: the header
 * @index: its place
 *
 * Return: the record.
 */
struct luo_subsystem_ser *
luo_kunit_record(const struct luo_subsystems_ser *header, unsigned int index)
{
	struct kho_block_header_ser *block =
		luo_kunit_block(header, index / LUO_SUBSYSTEMS_PER_BLOCK);

	return (struct luo_subsystem_ser *)(block + 1) +
	       index % LUO_SUBSYSTEMS_PER_BLOCK;
}

/**
 * luo_kunit_seal() - make the checksums match whatever is in the table
 * @header: the header
 *
 * Follows the chain as far as a reader can that trusts the header.
 */
void luo_kunit_seal(struct luo_subsystems_ser *header)
{
	unsigned int left = header->count;
	u64 next = header->records;
	u32 crc = 0;

	while (left && luo_handed_over(next, KHO_BLOCK_SIZE)) {
		struct kho_block_header_ser *block = phys_to_virt(next);
		unsigned int count = min_t(unsigned int, left,
					   LUO_SUBSYSTEMS_PER_BLOCK);

		crc = luo_kunit_crc(crc, block, sizeof(*block) + count *
				    sizeof(struct luo_subsystem_ser));
		next = block->next;
		left -= count;
	}
	header->table_crc = crc;
	header->header_crc = luo_kunit_crc(0, header,
					   offsetof(struct luo_subsystems_ser,
						    header_crc));
}
