#!/usr/bin/python3
"""Runs black-box tests: run_tests.py [--long] [--bin-dir DIR] [MODULE[.Class[.test]]...]

One line per test, then the skipped ones with their reasons and "N passed, N failed, N skipped". When the daemon that
the tests shared has been stopped, that it exits 0 and leaves nothing on the host is a test too."""
import argparse
import json
import os
import pathlib
import signal
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.attacks = {}  # (class, test id) -> (outcome, name)
        self._began = 0.0

    def startTest(self, test):
        super().startTest(test)
        self._began = time.monotonic()

    def _line(self, word, test, more=""):
        seconds = time.monotonic() - self._began
        print(f"{word:4} {name_of(test)} ({seconds:.2f} s){more}", flush=True)

    def _count(self, test, outcome):
        """Attacks are counted by their class of docs/security.md, a test with its subtests once, by its worst outcome."""
        test = getattr(test, "test_case", test)
        letter = getattr(test, "attack_class", None)
        if letter and self.attacks.get((letter, test.id()), ("", ""))[0] != "failed":
            self.attacks[letter, test.id()] = (outcome, name_of(test))

    def addSuccess(self, test):
        self.passed += 1
        self._count(test, "held")
        self._line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._count(test, "failed")
        self._line("FAIL", test, "\n" + self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._count(test, "failed")
        self._line("FAIL", test, "\n" + self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._count(test, "failed")
            self._line("FAIL", subtest, "\n" + (self.failures + self.errors)[-1][1])

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._count(test, "gap")
        self._line("gap", test, f": {test._testMethodDoc or 'known'}")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._count(test, "failed")
        self.failures.append((test, "a gap that is closed: take its mark away"))
        self._line("FAIL", test, ": a gap that is closed: take its mark away")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._count(test, "skipped")
        self._line("skip", test, f": {reason}")


def name_of(test):
    if hasattr(test, "test_case"):  # a subtest: its test, and for which value it failed
        return f"{name_of(test.test_case)} {test._subDescription()}"
    method = getattr(test, "_testMethodName", str(test))
    return f"{type(test).__module__}.{type(test).__name__}: {method.removeprefix('test_').replace('_', ' ')}"


class Ending(unittest.TestCase):
    def test_the_daemon_exits_0_on_SIGTERM_and_leaves_nothing_on_the_host(self):
        import case
        daemon = case.shared_daemon_if_any()
        self.assertEqual(0, daemon.stop(), daemon.log_tail())
        daemon.assert_nothing_left()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="more repetitions of crash and soak tests")
    parser.add_argument("--bin-dir", help="where sandboxd is (default: the newest build in the tree)")
    parser.add_argument("--default-bin-dir", help="the same, unless $SANDBOXD_BIN_DIR is set")
    parser.add_argument("--folder", default=str(HERE), help="folder of the test modules")
    parser.add_argument("--results", help="a JSON file for the outcomes of attacks, by class (tests/escape/results.py reads it)")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.long:
        os.environ["SANDBOXD_TEST_LONG"] = "1"
    if arguments.bin_dir:
        os.environ["SANDBOXD_BIN_DIR"] = arguments.bin_dir
    elif arguments.default_bin_dir:
        os.environ.setdefault("SANDBOXD_BIN_DIR", arguments.default_bin_dir)
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is ended by its time limit removes its daemon all the same
    sys.path[:0] = [str(HERE), arguments.folder]
    loader = unittest.TestLoader()
    if arguments.names:
        suite = loader.loadTestsFromNames(arguments.names)
    else:
        suite = loader.discover(arguments.folder, "test_*.py", arguments.folder)
    result = Result()
    import case
    try:
        suite.run(result)
        if case.shared_daemon_if_any() is not None:
            loader.loadTestsFromTestCase(Ending).run(result)
    finally:
        if case.shared_daemon_if_any() is not None:
            case.shared_daemon_if_any().destroy()
    failed = len(result.failures) + len(result.errors)
    if arguments.results:
        pathlib.Path(arguments.results).parent.mkdir(parents=True, exist_ok=True)
        rows = [{"class": letter, "outcome": outcome, "name": name} for (letter, _), (outcome, name) in sorted(result.attacks.items())]
        pathlib.Path(arguments.results).write_text(json.dumps(rows, indent=1) + "\n")
    for test, reason in result.skipped:
        print(f"SKIP {name_of(test)}: {reason}")
    print(f"{result.passed} passed, {failed} failed, {len(result.skipped)} skipped")
    if failed or loader.errors:
        return 1
    return 0 if result.passed else 77


if __name__ == "__main__":
    sys.exit(main())
