"""The means of these tests: they fail when a program fails, and say why one is missing."""
import os
import tempfile
import unittest

from workload import Workload


class Means(Workload):
    def test_a_program_that_fails_fails_its_test_and_shows_what_it_said(self):
        box = self.box()
        for shell in ("echo why >&2; exit 3", "echo why; kill -9 $$", "echo why; sleep 60"):
            with self.subTest(shell=shell):
                with self.assertRaisesRegex(AssertionError, "why"):
                    self.ok(box, shell, seconds=2)

    def test_a_refusal_that_did_not_come_or_has_other_words_fails_its_test(self):
        box = self.box()
        for shell in ("echo reason", "echo other; exit 1"):
            with self.subTest(shell=shell):
                with self.assertRaises(AssertionError):
                    self.refused(box, shell, "reason")
        self.assertEqual("a Reason\n", self.refused(box, "echo a Reason; exit 1", "reason"))

    def test_what_is_missing_is_a_skip_with_the_reason_of_the_installation(self):
        self.need("sh")
        with tempfile.NamedTemporaryFile("w", suffix=".skips") as skips:
            skips.write("no-such-program\tit would remove libc6\n")
            skips.flush()
            before = os.environ.get("SANDBOXD_WORKLOAD_SKIPS")
            os.environ["SANDBOXD_WORKLOAD_SKIPS"] = skips.name
            try:
                with self.assertRaisesRegex(unittest.SkipTest, "no-such-program.*it would remove libc6"):
                    self.need("no-such-program")
                with self.assertRaisesRegex(unittest.SkipTest, "package other is not installed"):
                    self.need("other")
            finally:
                os.environ.pop("SANDBOXD_WORKLOAD_SKIPS")
                if before is not None:
                    os.environ["SANDBOXD_WORKLOAD_SKIPS"] = before


if __name__ == "__main__":
    unittest.main()
