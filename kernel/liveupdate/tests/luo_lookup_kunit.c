// SPDX-License-Identifier: GPL-2.0

/**
 * DOC: Tests of the look-ups of files
 *
 * From a file to its token in the kernel that preserves it, and from a token to the file
 * in the next one. There are two sessions in each kernel. Those of the next kernel read the
 * blocks of the other ones where they are.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>

#include "../luo_internal.h"

#define LUO_LK_COMPATIBLE	"luo-lookup-kunit"

/* Where files of the next kernel are objects of their own. */
#define LUO_LK_NEXT	100

/* Objects, which tell what their retrieve does. */
enum luo_lk_id {
	LUO_LK_PLAIN = 1,
	LUO_LK_OTHER,
	LUO_LK_SELF,		/* asks for itself */
	LUO_LK_NEEDS,		/* asks for the file that its data names */
	LUO_LK_LATE,		/* has to wait, twice */
	LUO_LK_FAILS,
};

/* Token of a file that another one needs. */
#define LUO_LK_NEEDED	7

/**
 * struct luo_lk - two sessions in two kernels
 * @out: files of sessions that are handed over.
 * @in: the same in the next kernel.
 * @ser: what is handed over.
 * @nr_retrieves: how often retrieve was called, by object.
 * @error: what a look-up in a retrieve returned.
 * @needed: the file it found.
 */
static struct luo_lk {
	struct luo_file_set out[2];
	struct luo_file_set in[2];
	struct luo_file_set_ser ser[2];
	unsigned int nr_retrieves[LUO_LK_FAILS + 1];
	int error;
	struct file *needed;
} luo_lk;

static const struct file_operations luo_lk_fops = {};

static unsigned long luo_lk_get_id(struct file *file)
{
	return (unsigned long)file->private_data;
}

static struct file *luo_lk_file(unsigned long id)
{
	return anon_inode_getfile("[luo_lookup]", &luo_lk_fops, (void *)id, O_RDONLY);
}

static bool luo_lk_can_preserve(struct liveupdate_file_handler *handler,
				struct file *file)
{
	return file->f_op == &luo_lk_fops;
}

static int luo_lk_preserve(struct liveupdate_file_op_args *args)
{
	args->serialized_data = luo_lk_get_id(args->file);

	return 0;
}

static void luo_lk_unpreserve(struct liveupdate_file_op_args *args)
{
}

static int luo_lk_look_up(struct liveupdate_session *session, u64 token)
{
	luo_lk.error = liveupdate_get_file_incoming(session, token, &luo_lk.needed);
	if (!luo_lk.error)
		fput(luo_lk.needed);

	return luo_lk.error;
}

static int luo_lk_retrieve(struct liveupdate_file_op_args *args)
{
	unsigned long id = args->serialized_data;
	unsigned int count = ++luo_lk.nr_retrieves[id];
	int err = 0;

	switch (id) {
	case LUO_LK_SELF:
		/* Which token it has it knows from what it handed over. */
		luo_lk_look_up(args->session, LUO_LK_SELF);
		break;
	case LUO_LK_NEEDS:
		err = luo_lk_look_up(args->session, LUO_LK_NEEDED);
		break;
	case LUO_LK_LATE:
		err = count <= 2 ? -EAGAIN : 0;
		break;
	case LUO_LK_FAILS:
		err = -EIO;
		break;
	}
	if (err)
		return err;
	args->file = luo_lk_file(id + LUO_LK_NEXT);

	return PTR_ERR_OR_ZERO(args->file);
}

static void luo_lk_finish(struct liveupdate_file_op_args *args)
{
}

static const struct liveupdate_file_ops luo_lk_ops = {
	.can_preserve	= luo_lk_can_preserve,
	.preserve	= luo_lk_preserve,
	.unpreserve	= luo_lk_unpreserve,
	.retrieve	= luo_lk_retrieve,
	.finish		= luo_lk_finish,
	.get_id		= luo_lk_get_id,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler luo_lk_handler = {
	.ops		= &luo_lk_ops,
	.compatible	= LUO_LK_COMPATIBLE,
};

/* Preserve an object; its file, which the session keeps. */
static struct file *luo_lk_add(struct kunit *test, unsigned int session,
			       enum luo_lk_id id, u64 token)
{
	struct file *file = luo_lk_file(id);
	int fd, err;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	fd = get_unused_fd_flags(O_CLOEXEC);
	KUNIT_ASSERT_GE(test, fd, 0);
	fd_install(fd, file);
	err = luo_preserve_file(&luo_lk.out[session], token, fd);
	close_fd(fd);
	KUNIT_ASSERT_EQ(test, err, 0);

	return file;
}

static int luo_lk_token(unsigned int session, struct file *file, u64 *token)
{
	return liveupdate_get_token_outgoing(luo_file_set_session(&luo_lk.out[session]),
					     file, token);
}

/* The file of a token is that of this object. */
static void luo_lk_expect_file(struct kunit *test, unsigned int session, u64 token,
			       unsigned long id)
{
	struct liveupdate_session *handle = luo_file_set_session(&luo_lk.in[session]);
	struct file *file;
	int err;

	err = liveupdate_get_file_incoming(handle, token, &file);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_EQ(test, luo_lk_get_id(file), id + LUO_LK_NEXT);
	fput(file);
}

static void luo_lk_expect_none(struct kunit *test, unsigned int session, u64 token,
			       int error)
{
	struct liveupdate_session *handle = luo_file_set_session(&luo_lk.in[session]);
	struct file *file;

	KUNIT_EXPECT_EQ(test, error, liveupdate_get_file_incoming(handle, token, &file));
}

static void luo_lk_jump(struct kunit *test)
{
	for (int i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, 0, luo_file_freeze(&luo_lk.out[i], &luo_lk.ser[i]));
		KUNIT_ASSERT_EQ(test, 0, luo_file_deserialize(&luo_lk.in[i],
							      &luo_lk.ser[i]));
	}
}

/* A file is found in its session only, itself or by another file of the same object. */
static void luo_lookup_token_test(struct kunit *test)
{
	struct file *plain = luo_lk_add(test, 0, LUO_LK_PLAIN, 5);
	struct file *other = luo_lk_add(test, 0, LUO_LK_OTHER, U64_MAX);
	struct file *foreign = luo_lk_add(test, 1, LUO_LK_SELF, 5);
	struct file *same = luo_lk_file(LUO_LK_OTHER);
	u64 token = 0;

	KUNIT_ASSERT_FALSE(test, IS_ERR(same));
	KUNIT_EXPECT_EQ(test, 0, luo_lk_token(0, plain, &token));
	KUNIT_EXPECT_EQ(test, token, 5);
	KUNIT_EXPECT_EQ(test, 0, luo_lk_token(0, other, &token));
	KUNIT_EXPECT_EQ(test, token, U64_MAX);
	token = 0;
	KUNIT_EXPECT_EQ(test, 0, luo_lk_token(0, same, &token));
	KUNIT_EXPECT_EQ(test, token, U64_MAX);
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_lk_token(0, foreign, &token));
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_lk_token(1, plain, &token));
	KUNIT_EXPECT_EQ(test, 0, luo_lk_token(1, foreign, &token));
	KUNIT_EXPECT_EQ(test, token, 5);

	luo_file_unpreserve_files(&luo_lk.out[0]);
	KUNIT_EXPECT_EQ(test, -ENOENT, luo_lk_token(0, same, &token));
	fput(same);
}

/* A token leads to the file of its session, which is retrieved once, by whoever asks. */
static void luo_lookup_file_test(struct kunit *test)
{
	luo_lk_add(test, 0, LUO_LK_NEEDS, 5);
	luo_lk_add(test, 0, LUO_LK_PLAIN, LUO_LK_NEEDED);
	luo_lk_add(test, 1, LUO_LK_OTHER, 5);
	luo_lk_jump(test);

	luo_lk_expect_none(test, 0, 6, -ENOENT);
	luo_lk_expect_none(test, 1, LUO_LK_NEEDED, -ENOENT);
	luo_lk_expect_file(test, 1, 5, LUO_LK_OTHER);
	luo_lk_expect_file(test, 0, 5, LUO_LK_NEEDS);
	KUNIT_EXPECT_EQ(test, luo_lk.error, 0);
	KUNIT_EXPECT_EQ(test, luo_lk_get_id(luo_lk.needed), LUO_LK_PLAIN + LUO_LK_NEXT);
	luo_lk_expect_file(test, 0, LUO_LK_NEEDED, LUO_LK_PLAIN);
	luo_lk_expect_file(test, 0, 5, LUO_LK_NEEDS);
	for (int id = LUO_LK_PLAIN; id <= LUO_LK_NEEDS; id++)
		KUNIT_EXPECT_EQ(test, luo_lk.nr_retrieves[id], id != LUO_LK_SELF);

	KUNIT_EXPECT_EQ(test, 0, luo_file_finish(&luo_lk.in[0]));
	luo_lk_expect_none(test, 0, 5, -ENOENT);
	luo_lk_expect_file(test, 1, 5, LUO_LK_OTHER);
}

/* What waits can be asked for again, what failed cannot, and nobody gets itself. */
static void luo_lookup_errors_test(struct kunit *test)
{
	luo_lk_add(test, 0, LUO_LK_SELF, LUO_LK_SELF);
	luo_lk_add(test, 0, LUO_LK_FAILS, 20);
	luo_lk_add(test, 0, LUO_LK_NEEDS, 30);
	luo_lk_add(test, 0, LUO_LK_LATE, LUO_LK_NEEDED);
	luo_lk_jump(test);

	luo_lk_expect_file(test, 0, LUO_LK_SELF, LUO_LK_SELF);
	KUNIT_EXPECT_EQ(test, luo_lk.error, -EDEADLK);
	luo_lk_expect_none(test, 0, 20, -EIO);
	luo_lk_expect_none(test, 0, 20, -EIO);
	KUNIT_EXPECT_EQ(test, luo_lk.nr_retrieves[LUO_LK_FAILS], 1);

	/* Who needs what waits, waits. */
	luo_lk_expect_none(test, 0, LUO_LK_NEEDED, -EAGAIN);
	luo_lk_expect_none(test, 0, 30, -EAGAIN);
	luo_lk_expect_file(test, 0, 30, LUO_LK_NEEDS);
	KUNIT_EXPECT_EQ(test, luo_lk.nr_retrieves[LUO_LK_LATE], 3);
	KUNIT_EXPECT_EQ(test, luo_lk.nr_retrieves[LUO_LK_NEEDS], 2);
	luo_lk_expect_file(test, 0, LUO_LK_NEEDED, LUO_LK_LATE);
	KUNIT_EXPECT_EQ(test, luo_lk.nr_retrieves[LUO_LK_LATE], 3);
}

/* The blocks stay those of the sessions that are handed over. */
static void luo_lk_keep(void *mem)
{
}

static int luo_lk_register(void)
{
	int err = liveupdate_register_file_handler(&luo_lk_handler);

	if (err)
		return err;

	/* The FLBs that another test adds to each handler have nothing in the next kernel. */
	guard(rwsem_write)(&luo_register_rwlock);
	luo_flb_unregister_all(&luo_lk_handler);

	return 0;
}

static int luo_lk_init(struct kunit *test)
{
	if (!liveupdate_enabled())
		kunit_skip(test, "live update is off, boot with kho=on liveupdate=on");

	luo_lk = (struct luo_lk){};
	for (int i = 0; i < 2; i++) {
		luo_file_set_init(&luo_lk.out[i]);
		luo_file_set_init(&luo_lk.in[i]);
	}
	kunit_activate_static_stub(test, kho_restore_free, luo_lk_keep);
	test->priv = &luo_lk;

	return luo_lk_register();
}

static void luo_lk_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	for (int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0, luo_file_finish(&luo_lk.in[i]));
		luo_file_set_destroy(&luo_lk.in[i]);
		luo_file_unpreserve_files(&luo_lk.out[i]);
		luo_file_set_destroy(&luo_lk.out[i]);
	}
	liveupdate_unregister_file_handler(&luo_lk_handler);
}

static struct kunit_case luo_lookup_cases[] = {
	KUNIT_CASE(luo_lookup_token_test),
	KUNIT_CASE(luo_lookup_file_test),
	KUNIT_CASE(luo_lookup_errors_test),
	{}
};

static struct kunit_suite luo_lookup_suite = {
	.name		= "luo-lookup",
	.init		= luo_lk_init,
	.exit		= luo_lk_exit,
	.test_cases	= luo_lookup_cases,
};

kunit_test_suite(luo_lookup_suite);
