#!/usr/bin/python3
"""Boots a distribution kernel on pure cgroup v2 under plain QEMU, runs the suites of suites.json in it, and counts.

Ends with "N passed, N failed, N skipped"; 0, 1, or 77 when this machine can't run a guest (with the reason)."""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import image
import kernel

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
QUICK_SECONDS = 900  # two to three minutes on an idle machine
LONG_SECONDS = 2400


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default=str(ROOT / "build/dev/bin"), help="the build's programs and test programs")
    parser.add_argument("--cache-dir", default=str(ROOT / "build/vm-kernels"), help="where kernels are kept")
    parser.add_argument("--kernel", help="a kernel package, a version such as 6.12, or newer: the newest besides the default "
                        "(default: the distribution's cloud kernel)")
    parser.add_argument("--kernel-deb", type=pathlib.Path, nargs="+", help=".deb files of a kernel instead")
    parser.add_argument("--only", action="append", default=[], help="a suite of suites.json; may be given more than once")
    parser.add_argument("--argument", action="append", default=[], help="given to each of those suites' programs, e.g. a test's name")
    parser.add_argument("--long", action="store_true", default=os.environ.get("SANDBOXD_TEST_LONG") == "1",
                        help="everything, in half an hour or so (also: SANDBOXD_TEST_LONG=1)")
    parser.add_argument("--seconds", type=int, help="limit for the whole guest (default: 900, or 2400 with --long)")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--shell", action="store_true", help="a shell on this terminal instead of the suites")
    parser.add_argument("--keep", action="store_true", help="keep disk and logs, and say where")
    return parser.parse_args()


def missing_here():
    if platform.machine() != "x86_64":
        return f"the guest is x86-64 and this machine is {platform.machine()}"
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio"), ("mke2fs", "e2fsprogs"),
                             ("dpkg-deb", "dpkg"), ("setpriv", "util-linux"), ("mkswap", "util-linux"), ("strip", "binutils")):
        if shutil.which(program) is None:
            return f"{program} is not installed (package {package})"
    if image.busybox() is None:
        return "no static busybox (package busybox-static)"
    return None


def load_plan(options, bin_dir):
    """The suites with their programs' paths; those have the same path in the guest."""
    plan = json.loads((HERE / "suites.json").read_text())
    names = [suite["name"] for suite in plan]
    for name in options.only:
        if name not in names:
            sys.exit(f"no suite {name}: there are {', '.join(names)}")

    def wanted(suite):
        if options.only:
            return suite["name"] in options.only or "expect" in suite  # the control goes with everything
        return options.long or "only_long" not in suite
    plan = [suite for suite in plan if wanted(suite)]
    places = {"{bin}": str(bin_dir), "{root}": str(ROOT)}
    runner = ["/usr/bin/python3", str(ROOT / "tests/blackbox/run_tests.py"), "--folder"]
    for suite in plan:
        words = suite["argv"] + (options.argument if options.argument and "expect" not in suite
                                 else suite.get("long" if options.long else "quick", []))
        suite["argv"] = [re.sub(r"\{\w+\}", lambda found: places[found.group()], word) for word in words]
        if suite["kind"] == "python":
            suite["argv"] = runner + suite["argv"]
        if options.long:
            suite["seconds"] *= 4
        suite.setdefault("env", {})["SANDBOXD_BIN_DIR"] = str(bin_dir)
    return plan


def build_programs(plan, bin_dir):
    names = ["sandboxd", "sandboxd-api", "sandbox-init", "sandbox-probe", "sandbox-sudo", "sandboxctl", "isolation_fake_init"]
    names += [pathlib.Path(suite["argv"][0]).name for suite in plan if suite["kind"] == "catch2"]
    return [bin_dir / name for name in dict.fromkeys(names)]


class Guest:
    """The machine's files in a folder of their own; gone with it."""

    def __init__(self, folder, options):
        self.folder = folder
        self.options = options
        self.console = folder / "console.log"
        self.results = folder / "results.log"

    def make(self, linux, plan, bin_dir):
        tree = image.Tree(self.folder / "root")
        tree.text("/guest/plan.json", json.dumps(plan, indent=1))
        tree.text("/guest/init", str(HERE / "guest/init.sh"))
        image.fill_root(tree, build_programs(plan, bin_dir))
        image.make_disk(tree, self.folder / "disk")
        image.make_swap(self.folder / "swap")
        shutil.rmtree(tree.root)
        image.make_initramfs(self.folder / "initramfs", linux.closure(image.MODULES), self.folder / "initrd")
        self.linux = linux

    def command(self):
        shell = self.options.shell
        # max: all that TCG can do, RDRAND among it, so that nothing waits for entropy.
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", self.options.memory, "-nodefaults",
                   "-display", "none", "-no-reboot", "-kernel", str(self.linux.image), "-initrd", str(self.folder / "initrd"),
                   "-drive", f"file={self.folder / 'disk'},format=raw,if=virtio,cache=unsafe,discard=unmap",
                   "-drive", f"file={self.folder / 'swap'},format=raw,if=virtio,cache=unsafe"]
        command += ["-serial", "mon:stdio" if shell else f"file:{self.console}", "-serial", f"file:{self.results}"]
        # no_timer_check: on a busy host the emulated timer is late, and the kernel takes that for broken hardware.
        words = "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on no_timer_check cgroup_no_v1=all quiet loglevel=5"
        command += ["-append", words + (" sandboxd.shell" if shell else "")]
        # Dies with us, however we end.
        return ["setpriv", "--pdeathsig", "KILL", *command]

    def run(self, seconds):
        """True when the guest has switched itself off in time."""
        stdin = None if self.options.shell else subprocess.DEVNULL
        process = subprocess.Popen(self.command(), stdin=stdin)
        try:
            process.wait(None if self.options.shell else seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


class Report:
    """What the guest has told, judged against the plan: silence about a suite is a failure."""

    def __init__(self, plan):
        self.plan = {suite["name"]: suite for suite in plan}
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.lines = []
        self.skips = []
        self.ended = set()
        self.release = None
        self.done = False

    def count(self, outcome, line):
        self.counts[outcome] += 1
        self.lines.append(f"{outcome:4} {line}")

    def read(self, text):
        suite, cases = None, []
        for line in text.replace("\r", "").splitlines():
            word, *rest = line.split("\t")
            if word == "guest":
                self.release = rest[0]
            elif word == "begin":
                suite, cases = rest[0], []
            elif word in self.counts and suite:
                cases.append((word, *rest))
            elif word == "end" and suite == rest[0]:
                self.lines.append(f"-- {suite}: {rest[1]} s")
                self.judge(suite, cases)
                self.ended.add(suite)
                suite = None
            elif word == "done":
                self.done = True
            elif line.startswith("| "):
                self.lines.append("     " + line[2:])
        if suite:
            self.judge(suite, cases)

    def judge(self, name, cases):
        if self.plan.get(name, {}).get("expect") == "failure":
            # The control: a guest in which a wrong expectation holds, or whose failures get lost, proves nothing.
            outcomes = sorted(outcome for outcome, *_ in cases)
            self.count("ok" if outcomes == ["FAIL", "ok"] else "FAIL", f"{name}: a wrong expectation fails in here, a right one does not")
            return
        if not cases:
            self.count("FAIL", f"{name}: no case was run")
        for outcome, case, *more in cases:
            reason = more[0] if more and more[0] else ""
            self.count(outcome, f"{name}: {case}" + (f" ({reason})" if reason else ""))
            if outcome == "skip":
                self.skips.append(f"SKIP {name}: {case}: {reason}")

    def close(self, finished, console):
        for name in self.plan:
            if name not in self.ended:
                self.count("FAIL", f"{name}: the guest told no end of it")
        if not finished or not self.done:
            self.lines.append("the guest's console ended with:")
            self.lines += ["     " + line for line in console.splitlines()[-60:]]
        if not finished:
            self.count("FAIL", "the guest ran out of time")
        return self.counts["FAIL"] == 0


def run_guest(options, folder):
    bin_dir = pathlib.Path(options.bin_dir).resolve()
    plan = load_plan(options, bin_dir)
    cache = pathlib.Path(options.cache_dir).resolve()
    linux = kernel.Kernel(options.kernel_deb or kernel.fetch(options.kernel, cache), cache)
    guest = Guest(folder, options)
    began = time.monotonic()
    guest.make(linux, plan, bin_dir)
    made = time.monotonic()
    finished = guest.run(options.seconds or (LONG_SECONDS if options.long else QUICK_SECONDS))
    if options.shell:
        return 0
    report = Report(plan)
    report.read(guest.results.read_text(errors="replace") if guest.results.exists() else "")
    good = report.close(finished, guest.console.read_text(errors="replace") if guest.console.exists() else "")
    print("\n".join(report.lines + report.skips))
    print(f"kernel {report.release or linux.release}: {made - began:.0f} s to make the disk, {time.monotonic() - made:.0f} s in the guest")
    print(f"{report.counts['ok']} passed, {report.counts['FAIL']} failed, {report.counts['skip']} skipped")
    return 0 if good else 1


def main():
    options = arguments()
    # As an exception, so that the guest and its files go with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    why = missing_here()
    if why is None:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sandboxd-vm-"))
        try:
            return run_guest(options, folder)
        except kernel.Unavailable as error:
            why = str(error)
        finally:
            if options.keep:
                print(f"kept: {folder}")
            else:
                shutil.rmtree(folder)
    print(f"skipped: {why}")
    return 77


if __name__ == "__main__":
    sys.exit(main())
