#!/usr/bin/python3
"""How a guest's word is judged: every way in which a guest can fail must fail the run."""
import unittest

from run import Report

CONTROL = {"name": "control", "kind": "python", "expect": "failure"}
PLAN = [CONTROL, {"name": "isolation", "kind": "catch2"}]
GOOD_CONTROL = "begin\tcontrol\nok\tright\t\nFAIL\twrong\t\nend\tcontrol\t1.0\n"
GOOD = "guest\t6.1.0\n" + GOOD_CONTROL + "begin\tisolation\nok\ta case\t0.1\nskip\tanother\tno device\nend\tisolation\t2.0\ndone\n"


def judge(text, finished=True, plan=tuple(PLAN)):
    report = Report(plan)
    report.read(text)
    good = report.close(finished, "the console")
    return good, report


class Judging(unittest.TestCase):
    def test_a_good_guest_passes_and_its_skips_are_told(self):
        good, report = judge(GOOD)
        self.assertTrue(good)
        self.assertEqual({"ok": 2, "FAIL": 0, "skip": 1}, report.counts)
        self.assertEqual(["SKIP isolation: another: no device"], report.skips)
        self.assertEqual("6.1.0", report.release)

    def test_a_serial_line_ends_in_carriage_returns_too(self):
        self.assertTrue(judge(GOOD.replace("\n", "\r\n"))[0])

    def test_a_failing_case_fails_it(self):
        self.assertFalse(judge(GOOD.replace("ok\ta case", "FAIL\ta case"))[0])

    def test_a_suite_that_never_began_fails_it(self):
        self.assertFalse(judge("guest\t6.1.0\n" + GOOD_CONTROL + "done\n")[0])

    def test_a_suite_that_never_ended_fails_it(self):
        good, report = judge(GOOD.partition("end\tisolation")[0])
        self.assertFalse(good)
        self.assertIn("ok   isolation: a case (0.1)", report.lines)  # what it did say is told

    def test_a_guest_that_said_nothing_fails_it(self):
        self.assertFalse(judge("")[0])

    def test_a_guest_that_ran_out_of_time_fails_it(self):
        good, report = judge(GOOD, finished=False)
        self.assertFalse(good)
        self.assertIn("     the console", report.lines)

    def test_a_control_whose_wrong_expectation_holds_fails_it(self):
        self.assertFalse(judge(GOOD.replace("FAIL\twrong", "ok\twrong"))[0])

    def test_a_control_that_is_silent_fails_it(self):
        self.assertFalse(judge(GOOD.replace("FAIL\twrong\t\n", ""))[0])

    def test_a_control_that_fails_altogether_fails_it(self):
        self.assertFalse(judge(GOOD.replace("ok\tright", "FAIL\tright"))[0])

    def test_a_suite_without_a_case_fails_it(self):
        self.assertFalse(judge(GOOD.replace("ok\ta case\t0.1\nskip\tanother\tno device\n", ""))[0])


if __name__ == "__main__":
    unittest.main()
