#!/usr/bin/python3
"""Greps that hold the house rules: errno, TODO kinds, catch-all, machine paths, folder pages, sizes."""
import re
import sys

from source import ROOT, code_files, line_of, read, strip, tracked

# errno is per thread and overwritten by anything; only the wrappers and the jail's init (libc only) may look at it.
ERRNO_HOMES = ("sandboxd/core/sys", "sandboxd/core/error", "isolation/init/", "isolation/probe/", "tests/")
# Words that would tie the tree to the machine it is written on. In pieces, so that this file passes its own check.
MACHINE = re.compile("|".join([r"/" + r"work/(?:main|wt|shared)\b", r"/tmp/" + r"(?:brief|full)_", r"/home/" + r"(?!user\b)\w+/src",
                               r"https?://" + r"[\w.-]*(?:artifactory|nexus)[\w.-]*"]))
TODO = re.compile(r"\bTODO\b(?:\((?P<kind>[^)]*)\))?")
TODO_KINDS = {"security", "perf", "cleanup"}
SIZE = {".cpp": 400, ".hpp": 200}
MODULE_FOLDERS = ("api", "fs", "isolation", "isolation/init", "isolation/probe", "policies", "sandboxd/core", "sandboxd/agent", "sandboxd/control",
                  "sandboxd/manager", "sandboxd/ledger", "sandboxd/engine", "sandboxd/ctl", "tests", "scripts", "bench",
                  "packaging", "docs")


def grep(names, root, pattern, message, skip=()):
    found = []
    for name in names:
        if name.startswith(skip):
            continue
        bare = strip(read(name, root))
        for match in pattern.finditer(bare):
            found.append(f"{name}:{line_of(bare, match.start())}: {message}")
    return found


def errno(root):
    return grep(code_files(root), root, re.compile(r"\berrno\b"),
                "errno outside sandboxd/core/sys.*: use a sys:: wrapper", ERRNO_HOMES)


def catch_all(root):
    return grep(code_files(root), root, re.compile(r"catch\s*\(\s*\.\.\.\s*\)"), "catch-all", ("tests/",))


def using_namespace(root):
    headers = [name for name in code_files(root) if name.endswith(".hpp")]
    found = grep(headers, root, re.compile(r"^\s*using\s+namespace\b", re.MULTILINE), "using namespace in a header")
    return found + [f"{name}:1: no #pragma once" for name in headers if "#pragma once" not in read(name, root)]


def todo(root):
    found = []
    for name in tracked(root):
        if name.startswith("tests/style/") or name in ("CONTRIBUTING.md",) or not name.endswith(
                (".cpp", ".hpp", ".c", ".py", ".sh", ".cmake", ".txt", ".json", ".toml")):
            continue
        text = read(name, root)
        for match in TODO.finditer(text):
            kind = match.group("kind")
            if kind not in TODO_KINDS:
                found.append(f"{name}:{line_of(text, match.start())}: TODO({kind}): only "
                             f"{', '.join(sorted(TODO_KINDS))} may be merged")
    return found


def machine_paths(root):
    found = []
    for name in tracked(root):
        if name.endswith((".png", ".ico", ".gz", ".woff2")) or name.startswith("tests/fuzz/corpus/"):
            continue
        text = read(name, root)
        for match in MACHINE.finditer(text):
            found.append(f"{name}:{line_of(text, match.start())}: names a machine: {match.group(0)}")
    return found


def pages(root):
    """Every module folder that exists has a page of at most 40 lines."""
    found = []
    for folder in MODULE_FOLDERS:
        if not any(name.startswith(folder + "/") and name.endswith((".cpp", ".py", ".sh", ".service", ".md"))
                   for name in tracked(root)):
            continue
        page = root / folder / "README.md"
        if not page.is_file():
            found.append(f"{folder}/README.md:1: missing")
        elif (lines := len(page.read_text().splitlines())) > 40:
            found.append(f"{folder}/README.md:{lines}: {lines} lines, at most 40")
    return found


def sizes(root):
    """A report, not a failure: past these a second noun is hiding, but a straight list of cases may be long."""
    report = []
    for name in code_files(root):
        limit = SIZE.get("." + name.rpartition(".")[2])
        lines = read(name, root).count("\n")
        if limit and lines > limit and not name.startswith("tests/"):
            report.append(f"{name}: {lines} lines (aim: {limit})")
    return report


CHECKS = {"errno": errno, "catch_all": catch_all, "headers": using_namespace, "todo": todo, "machine_paths": machine_paths,
          "pages": pages}


def main(names):
    if names == ["sizes"]:
        report = sizes(ROOT)
        print("\n".join(f"warning: {line}" for line in report) or "sizes: ok")
        return 0
    found = []
    for name in names or CHECKS:
        found += CHECKS[name](ROOT)
    print("\n".join(found) or f"{' '.join(names or CHECKS)}: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
