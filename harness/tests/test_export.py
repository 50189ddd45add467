# SPDX-License-Identifier: GPL-2.0
"""The mails and the proof that they give the assembled tree."""

from unittest import mock

from ..common import stamps
from ..common.run import HarnessError
from ..static import export
from .fixture import SECOND, Checkout


class Mails(Checkout):
    """git am of the mails on the base is the assembled tree, or an error."""

    def setUp(self):
        super().setUp()
        self.write("series/0002-second.patch", SECOND.replace(
            "\n---\n", "\n---\nA note for reviewers.\n\n", 1))
        self.result, self.git = self.assemble()
        folder = self.layout.build / "mails"
        self.mails = export.mails(self.result, self.git, folder)
        patch = mock.patch.object(stamps, "folder",
                                  lambda: self.layout.build / "stamps")
        patch.start()
        self.addCleanup(patch.stop)
        self.lines = []

    def proof(self):
        """A proof whose results are kept in lines."""
        self.lines = []
        return export.Proof(self.result, self.mails,
                            self.layout.build / "proof" / "tree",
                            add=lambda *result: self.lines.append(result))

    def test_proof(self):
        self.assertEqual([m.name for m in self.mails],
                         ["0001-core-first.patch", "0002-core-second.patch",
                          "0003-MAINTAINERS-add-files-to-LIVE-UPDATE.patch"])
        proof = self.proof()
        proof.run(objects=False)
        self.assertEqual([line[:2] for line in self.lines],
                         [(True, "series git am")])
        text = self.mails[1].read_text()
        self.assertIn("Subject: [PATCH 2/3] core: second", text)
        self.assertIn("\n---\nA note for reviewers.\n", text)
        self.assertIn("+int new_header;", text)
        self.assertNotIn("Signed-off-by", text)

    def test_hashes_and_dates_repeat(self):
        before = [m.read_bytes() for m in self.mails]
        again = export.mails(self.result, self.git,
                             self.layout.build / "mails")
        self.assertEqual([m.read_bytes() for m in again], before)

    def altered(self, number, old, new):
        text = self.mails[number].read_text()
        self.assertIn(old, text)
        self.mails[number].write_text(text.replace(old, new))
        with self.assertRaises(HarnessError) as caught:
            self.proof().run(objects=False)
        return str(caught.exception)

    def test_altered_content_is_noticed(self):
        self.assertIn("the tree differs",
                      self.altered(0, "+int first;", "+int fist;"))

    def test_altered_message_is_noticed(self):
        self.assertIn("the message differs",
                      self.altered(1, "Why the second.", "Why not."))

    def test_mail_that_does_not_apply(self):
        self.assertIn("git am 0002-core-second.patch",
                      self.altered(1, " int line_31;", " int line_x;"))
        self.proof()                    # and the next proof starts clean

    def test_missing_mail_is_noticed(self):
        del self.mails[2]
        with self.assertRaises(HarnessError) as caught:
            self.proof().run(objects=False)
        self.assertIn("not the assembled tree", str(caught.exception))

    def test_second_proof_is_stamped(self):
        self.proof().run(objects=False)
        with mock.patch.object(export.Proof, "pristine") as pristine:
            self.proof().run(objects=False)
            self.assertFalse(pristine.called)
        self.assertRegex("".join(self.lines[0]
                                 [2:]), stamps.MARK)

    def test_another_mail_is_another_proof(self):
        self.proof().run(objects=False)
        self.assertIn("the message differs",
                      self.altered(1, "Why the second.", "Why not."))

    def test_steps(self):
        steps = self.proof().steps()
        self.assertEqual([s.targets for s in steps],
                         [["kernel/core.o", "kernel/new.o"]] * 3)
        self.assertEqual([s.kernel_side for s in steps], [True, True, False])
        self.assertEqual(len({s.unit.path for s in steps}), 3)
        self.edit_second()
        other = self.proof().steps()
        self.assertEqual(other[0].unit.path, steps[0].unit.path)
        self.assertNotEqual(other[1].unit.path, steps[1].unit.path)

    def edit_second(self):
        """Change the content of the second patch and make new mails."""
        self.write("include/linux/new.h", "int newer_header;\n")
        self.result, self.git = self.assemble()
        self.mails = export.mails(self.result, self.git,
                                  self.layout.build / "mails")

    def test_only_steps_without_a_stamp_are_built(self):
        built = []

        def build(_, step, add):
            built.append(step.number)
            add(True, step.name, "builds")
        with mock.patch.object(export.Proof, "build", build):
            self.proof().run()
            self.assertEqual(built, [1, 2, 3])
            self.assertEqual(len(self.lines), 4)
            with mock.patch.object(export.Proof, "pristine") as pristine:
                self.proof().run()
            self.assertFalse(pristine.called)
            self.assertEqual(built, [1, 2, 3])
            self.assertEqual(len(self.lines), 4)
            self.edit_second()
            self.proof().run()
            self.assertEqual(built, [1, 2, 3, 2, 3])
            self.assertEqual(len(self.lines), 4)
