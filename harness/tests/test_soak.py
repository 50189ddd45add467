# SPDX-License-Identifier: GPL-2.0
"""What the soak calls a drift, and when it looks at the pages."""

import unittest

from ..scenario.cases.soak import drift, looks


class Drift(unittest.TestCase):
    """A number that grows is told from one that is noisy."""

    def test_growth(self):
        """A page for each update shows after a hundred."""
        self.assertEqual(drift([1000 + 4 * number for number in range(100)]), 300)

    def test_noise(self):
        """One odd reading at either end does not count."""
        self.assertEqual(drift([9000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000,
                                1000, 1000]), 0)
        self.assertEqual(drift([1000] * 11 + [9000]), 0)

    def test_few(self):
        """Two readings are enough, one is none."""
        self.assertEqual(drift([1, 2000]), 1999)
        self.assertEqual(drift([1, 2000, 4000]), 3999)
        self.assertEqual(drift([7]), 0)


class Looks(unittest.TestCase):
    """Pages are looked at in two kernels in a row, at the beginning and at the end."""

    def test_few(self):
        """Twice in each kernel when there are few updates."""
        self.assertEqual(looks(20), [1, 2, 19, 20])
        self.assertEqual(looks(2), [1, 2])
        self.assertEqual(looks(1), [1])

    def test_many(self):
        """Ten times in each when there are many, and in both as often."""
        for updates in (100, 200, 1000):
            numbers = looks(updates)
            self.assertEqual((numbers[:2], numbers[-2:], len(numbers)),
                             ([1, 2], [updates - 1, updates], 20))
            self.assertEqual(sum(number % 2 for number in numbers), 10)
