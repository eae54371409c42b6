#!/usr/bin/python3
"""g++ 12 compiles some ordinary coroutine statements into double frees, without a warning. None of the shapes may be
in one statement with co_await: a capturing lambda, a braced temporary, ?:, switch, or a second co_await.

A statement that was checked by hand carries the comment "g++12: ok, <reason>" on its first line."""
import re
import sys

from source import ROOT, code_files, line_of, read, strip

LAMBDA = re.compile(r"\[(?P<captures>[^\[\]]*)\]\s*(\((?:[^()]|\([^()]*\))*\))?\s*(mutable|noexcept|->[^{};]*?|\s)*$")
# A temporary of a class with constructors is compiled rightly, an aggregate is not; of the standard library only array
# is an aggregate that anybody would pass.
CONSTRUCTED = re.compile(r"\bstd::(?!array\b)[\w:]+(<[^<>;]*>)?\s*$")
# `if (auto ok = co_await f(); !ok)` is compiled rightly, the temporary of `if (!co_await f())` is not.
CONDITION = re.compile(r"\b(?:if|while)\s*\(\s*!?\s*\(?\s*co_await\b")
TOKEN = re.compile(r"co_await\b|\bswitch\b|[(){};?]")


class Statement:
    def __init__(self, start):
        self.start = start
        self.awaits = 0
        self.shapes = set()

    def problems(self):
        if not self.awaits:
            return []
        return sorted(self.shapes) + (["a second co_await"] if self.awaits > 1 else [])


class Scanner:
    """Cuts a file into statements; frames are the brackets that are open."""

    def __init__(self, name, text):
        self.name = name
        self.lines = text.splitlines()
        self.bare = strip(text)
        self.findings = []
        self.frames = []           # (kind, the statement that goes on after a lambda's body)
        self.statement = Statement(0)

    def run(self):
        for match in TOKEN.finditer(self.bare):
            self.token(match.group(0), match.start())
        self.close(len(self.bare))
        for match in CONDITION.finditer(self.bare):
            line = line_of(self.bare, match.start())
            if "g++12: ok" not in self.lines[line - 1]:
                self.findings.append(f"{self.name}:{line}: a condition tests an awaited temporary: name it first (g++ 12 "
                                     "miscompiles it)")
        return self.findings

    def close(self, end):
        problems = self.statement.problems()
        if problems:
            body = self.bare[self.statement.start:end]
            line = line_of(self.bare, self.statement.start + len(body) - len(body.lstrip()))
            if "g++12: ok" not in self.lines[line - 1]:
                self.findings.append(f"{self.name}:{line}: co_await in one statement with {', '.join(problems)}: "
                                     "name it first (g++ 12 miscompiles it)")
        self.statement = Statement(end + 1)

    def inside_expression(self):
        return bool(self.frames) and self.frames[-1][0] in ("paren", "init")

    def token(self, token, at):
        if token == "co_await":
            self.statement.awaits += 1
        elif token == "switch":
            self.statement.shapes.add("switch")
        elif token == "?":
            self.statement.shapes.add("?:")
        elif token == "(":
            self.frames.append(("paren", None))
        elif token == ")":
            if self.frames and self.frames[-1][0] == "paren":
                self.frames.pop()
        elif token == "{":
            self.open_brace(at)
        elif token == "}":
            self.close_brace(at)
        elif not self.inside_expression():  # ";" outside of a for's header
            self.close(at)

    def open_brace(self, at):
        head = LAMBDA.search(self.bare[self.statement.start:at])
        if head:
            if head.group("captures").strip():
                self.statement.shapes.add("a capturing lambda")
            self.frames.append(("lambda", self.statement))
            self.statement = Statement(at + 1)
        elif self.inside_expression():
            before = self.bare[self.statement.start:at]
            if not re.match(r"\{\s*\}", self.bare[at:]) and not CONSTRUCTED.search(before):
                self.statement.shapes.add("a braced temporary")
            self.frames.append(("init", None))
        else:
            self.close(at)
            self.frames.append(("block", None))

    def close_brace(self, at):
        kind, outer = self.frames.pop() if self.frames else ("block", None)
        if kind == "init":
            return
        self.close(at)
        if kind == "lambda":
            self.statement = outer


def check_text(name, text):
    return Scanner(name, text).run()


def check(root=ROOT):
    findings = []
    for name in code_files(root):
        text = read(name, root)
        if "co_await" in text and name.endswith((".cpp", ".hpp")):
            findings += check_text(name, text)
    return findings


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "coroutines: ok")
    sys.exit(1 if found else 0)
