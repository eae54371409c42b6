"""The suite's own control: one right and one wrong expectation. The host wants to hear of exactly one failure."""
import pathlib
import unittest


class Control(unittest.TestCase):
    def test_a_right_expectation(self):
        self.assertIn("cgroup2", pathlib.Path("/proc/self/mountinfo").read_text())

    def test_a_wrong_expectation(self):
        self.assertNotIn("cgroup2", pathlib.Path("/proc/self/mountinfo").read_text())


if __name__ == "__main__":
    unittest.main()
