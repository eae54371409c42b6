"""Runs the suites of a plan, one after the other, and tells each case's outcome on a serial line.

Lines: "begin NAME", then "ok|FAIL|skip TAB case TAB reason", "| output" for what people need, and "end NAME seconds"."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty
import xml.etree.ElementTree as xml

PYTHON_CASE = re.compile(r"^(ok|FAIL|skip|gap) +(\S.*?) \(\d+\.\d\d s\)(?:: (.*))?$", re.MULTILINE)
KEPT_LINES = 120


class Channel:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_NOCTTY)
        if os.isatty(self.fd):
            tty.setraw(self.fd)

    def say(self, *words):
        line = "\t".join(word.replace("\t", " ").replace("\n", " ") for word in words)
        left = (line + "\n").encode(errors="replace")
        while left:
            left = left[os.write(self.fd, left):]

    def quote(self, text):
        for line in text.splitlines()[-KEPT_LINES:]:
            self.say("| " + line)

    def finish(self):
        if os.isatty(self.fd):
            termios.tcdrain(self.fd)


def run(argv, seconds, env):
    """(code or None when it ran out of time, everything it wrote)."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                                   env={**os.environ, **env})
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


def catch2_cases(path):
    """(outcome, name, seconds) of each test case in a report of Catch2's; a report that breaks off ends the list."""
    cases = []
    try:
        for _, element in xml.iterparse(path):
            if element.tag == "TestCase":
                result = element.find("OverallResult")
                good = result is not None and result.get("success") == "true"
                cases.append(("ok" if good else "FAIL", element.get("name"), result.get("durationInSeconds", "") if result is not None else ""))
    except xml.ParseError:
        pass  # it died in the middle of a case; its exit code says so
    return cases


def run_catch2(channel, suite):
    report = tempfile.mktemp(suffix=".xml")
    code, output = run([*suite["argv"], "-r", "xml", "-d", "yes", "-o", report], suite["seconds"], suite.get("env", {}))
    cases = catch2_cases(report) if os.path.exists(report) else []
    for outcome, name, seconds in cases:
        channel.say(outcome, name, seconds)
    if code == 77:
        channel.say("skip", suite["name"], output.strip())
        return
    failed = sum(outcome == "FAIL" for outcome, _, _ in cases)
    if code is None or (code != 0 and not failed) or not cases:
        channel.say("FAIL", suite["name"], "ran out of time" if code is None else f"ended with {code} after {len(cases)} cases")
    if code != 0:
        channel.quote(output)
        if os.path.exists(report):
            channel.quote(failures_of(report))


def failures_of(report):
    """The expressions that failed, from a report that may be cut off."""
    text = open(report, errors="replace").read()
    found = re.findall(r'<TestCase name="([^"]*)"|<Expression success="false"(.*?)</Expression>|<(?:Exception|FatalErrorCondition|Failure)(.*?)</'
                       r'|<Info>(.*?)</Info>', text, re.DOTALL)
    lines, name, told = [], "", ""
    for case, expression, other, info in found:
        if case:
            name = case
        elif info:
            told = info.strip()
        else:
            lines.append(f"{name}: {' '.join((expression or other).split())} {told}")
            told = ""
    return "\n".join(lines)


def run_python(channel, suite):
    code, output = run(suite["argv"], suite["seconds"], suite.get("env", {}))
    cases = PYTHON_CASE.findall(output)
    for outcome, name, reason in cases:
        channel.say("skip" if outcome == "gap" else outcome, name, reason)
    failed = any(outcome == "FAIL" for outcome, _, _ in cases)
    if code is None or (code != 0 and not failed) or not cases:
        channel.say("FAIL", suite["name"], "ran out of time" if code is None else f"ended with {code} after {len(cases)} cases")
    if code != 0:
        channel.quote(output)


RUNNERS = {"catch2": run_catch2, "python": run_python}


def main():
    plan = json.load(open(sys.argv[1]))
    channel = Channel(sys.argv[2])
    channel.say("guest", os.uname().release)
    for suite in plan:
        channel.say("begin", suite["name"])
        began = time.monotonic()
        RUNNERS[suite["kind"]](channel, suite)
        channel.say("end", suite["name"], f"{time.monotonic() - began:.1f}")
    channel.say("done")
    channel.finish()


if __name__ == "__main__":
    main()
