#!/usr/bin/python3
"""Adds up what test runs reported: summary.py FOLDER (of ctest's JUnit files and of *.txt logs of our own runners).

Counts test cases, not programs: Catch2's and our Python runner's own totals are read from each program's output. Prints
a table, every skip with its reason, every failure, and as the last line "N passed, N failed, N skipped"."""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

CATCH_OK = re.compile(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)")
CATCH_MIXED = re.compile(r"^test cases:\s*(\d+)(?: \| (\d+) passed)?(?: \| (\d+) failed)?", re.MULTILINE)
OURS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
SKIP = re.compile(r"^SKIP (.*)$", re.MULTILINE)
SKIPPED_WHY = re.compile(r"^(?:SKIP|skip(?:ped)?)\b:?\s*(.*)$", re.MULTILINE | re.IGNORECASE)


def counts(status, output):
    """(passed, failed, skipped) of one program."""
    if found := list(OURS.finditer(output)):
        passed, failed, skipped = (int(number) for number in found[-1].groups())
    elif found := CATCH_OK.search(output):
        passed, failed, skipped = int(found.group(1)), 0, 0
    elif found := CATCH_MIXED.search(output):
        total, passed, failed = (int(number or 0) for number in found.groups())
        skipped = 0
        passed = passed or total - failed
    elif found := UNITTEST.search(output):
        passed, failed, skipped = int(found.group(1)), 0, 0
    else:
        passed, failed, skipped = 1, 0, 0
    if status == "skipped":
        return 0, 0, max(1, skipped)
    if status == "failed" and failed == 0:
        return max(0, passed - 1), 1, skipped  # it crashed, or ran out of time
    return passed, failed, skipped


def read_junit(path):
    """(suite, name, status, output) of each program in a JUnit file of ctest."""
    for case in xml.parse(path).getroot().iter("testcase"):
        status = case.get("status", "run")
        output = case.findtext("system-out") or ""
        if case.find("failure") is not None or status == "fail":
            yield path.stem, case.get("name"), "failed", output
        elif case.find("skipped") is not None or status in ("notrun", "disabled"):
            skipped = case.find("skipped")
            why = skipped.get("message", "") if skipped is not None else status
            # A program that was not built is a failure, not a skip: it would hide everything in it.
            missing = "SKIP_RETURN_CODE" not in why and "Disabled" not in why and status != "disabled"
            yield path.stem, case.get("name"), "failed" if missing else "skipped", output or why
        else:
            yield path.stem, case.get("name"), "passed", output


def read_all(folder):
    for path in sorted(folder.glob("*.xml")):
        yield from read_junit(path)
    for path in sorted(folder.glob("*.txt")):
        output = path.read_text(errors="replace")
        found = list(OURS.finditer(output))
        failed = not found or int(found[-1].group(2)) > 0
        yield path.stem, path.stem, "failed" if failed else "passed", output


def main():
    folder = pathlib.Path(sys.argv[1])
    suites, skips, failures = {}, [], []
    for suite, name, status, output in read_all(folder):
        numbers = counts(status, output)
        row = suites.setdefault(suite, [0, 0, 0])
        for index, number in enumerate(numbers):
            row[index] += number
        if status == "skipped":
            why = SKIPPED_WHY.search(output)
            skips.append(f"{suite}/{name}: {why.group(1) if why else output.strip()[-200:]}")
        else:
            skips += [f"{suite}/{name}: {line}" for line in SKIP.findall(output)]
        if numbers[1]:
            failures.append(f"{suite}/{name}")
    if not suites:
        print("no test reported anything")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    print(f"{'suite':28} {'passed':>7} {'failed':>7} {'skipped':>7}")
    for suite, row in suites.items():
        print(f"{suite:28} {row[0]:7} {row[1]:7} {row[2]:7}")
    print("\nskipped:" if skips else "\nskipped: none")
    for line in skips:
        print(f"  {line}")
    for line in failures:
        print(f"FAILED {line}")
    passed, failed, skipped = (sum(row[index] for row in suites.values()) for index in range(3))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
