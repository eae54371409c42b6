#!/usr/bin/python3
"""Adds up what runs of the attack suite wrote (run_tests.py --results FILE): results.py FILE|FOLDER... [--names]

Prints the table of docs/security.md: by class, how many attacks were held, failed, are known gaps, or could prove nothing
on this machine because their control outside did not get through either."""
import json
import pathlib
import sys

CLASSES = {"A": "kernel surface", "B": "files and the file API", "C": "resources", "D": "network", "E": "across tenants", "F": "exec and lifecycle",
           "G": "the daemon's own faults", "H": "GPU"}
OUTCOMES = ("held", "failed", "gap", "skipped")


def read(arguments):
    rows = {}
    for argument in map(pathlib.Path, arguments):
        for path in sorted(argument.glob("*.json")) if argument.is_dir() else [argument]:
            for row in json.loads(path.read_text()):
                rows[row["name"]] = row
    return rows.values()


def table(rows):
    lines = ["| class | attacks | held | failed | known gaps | not provable here |", "|---|---|---|---|---|---|"]
    total = [0] * len(OUTCOMES)
    for letter, title in CLASSES.items():
        numbers = [sum(row["class"] == letter and row["outcome"] == outcome for row in rows) for outcome in OUTCOMES]
        if sum(numbers):
            lines.append(f"| {letter} {title} | {sum(numbers)} | " + " | ".join(map(str, numbers)) + " |")
            total = [a + b for a, b in zip(total, numbers)]
    return [*lines, f"| all | {sum(total)} | " + " | ".join(map(str, total)) + " |"]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--names"]
    if not arguments:
        print(__doc__)
        return 2
    rows = list(read(arguments))
    print("\n".join(table(rows)))
    for row in rows if "--names" in sys.argv else [row for row in rows if row["outcome"] in ("failed", "gap")]:
        print(f"{row['outcome']}: {row['class']} {row['name']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
