"""Third-party graders inside a sandbox, as `user`: stress-ng by class, and trinity, which calls the kernel with rubbish."""
import re
import shutil
import subprocess
import time
import unittest

from attack import AttackCase
from case import LONG
from inmate import Inmate

TRINITY_SECONDS = 600 if LONG else 60
STRESSOR_SECONDS = 30 if LONG else 3
# Stressors by class; of those that this version has. Left out: what needs a right that no sandbox has, and would only say so.
CLASSES = {
    "cpu": "cpu matrix branch atomic", "memory": "vm brk mmap mremap memfd", "kernel memory": "pipe msg sem shm-sysv fifo", "processes": "fork vfork exec clone daemon zombie",
    "scheduler": "switch yield affinity nice context", "files": "hdd dentry dir link rename utime fallocate", "locks": "flock lockf locka lockofd futex",
    "network": "sock udp sockpair sockfd sockabuse", "timers": "timer timerfd itimer hrtimers clock", "interrupts": "signal sigsegv sigfpe sigq kill",
    "descriptors": "epoll eventfd poll inotify dup open", "system calls": "sysbadaddr enosys opcode get procfs",
}


class Graded(AttackCase):
    def grader(self, name):
        path = shutil.which(name)
        if path is None:
            self.skipTest(f"{name} is not installed here, and the package lists know none")
        return path

    def in_the_sandbox(self, limits):
        box = self.client.create(limits=limits, timeout_s=3600)
        self.addCleanup(box.delete)
        return box, Inmate(self.daemon, box)

    def ends_cleanly(self, box, inmate):
        began = time.monotonic()
        self.assertEqual(204, box.delete().status)
        self.assertLess(time.monotonic() - began, 8)
        inmate.assert_gone()
        self.assertTrue(self.oracle.can_create(), "O7: no new sandbox")


class Stress(Graded):
    """Class C: the stressors of each class, all of one class at the same time."""

    attack_class = "C"


def stress(stressors):
    def test(self):
        program = self.grader("stress-ng")
        known = set(subprocess.run([program, "--stressors"], capture_output=True, text=True, check=True).stdout.split())
        wanted = [stressor for stressor in stressors.split() if stressor in known]
        self.assertTrue(wanted, f"stress-ng knows none of {stressors}")
        box, inmate = self.in_the_sandbox({"memory_mb": 256, "pids": 200, "disk_mb": 256, "output_mb": 4})
        command = f"mkdir -p s && exec {program} --temp-path s --oomable --timeout {STRESSOR_SECONDS} " + " ".join(f"--{stressor} 1" for stressor in wanted)
        answer = box.exec(command + " 2>&1", timeout_ms=1000 * (STRESSOR_SECONDS + 60))
        self.assertIn(answer["status"], ("exited", "oom_killed", "limit"), answer["stdout"][-500:])
        # That it did anything: the control of this case.
        self.assertIn("dispatching hogs", answer["stdout"], "it did not run")
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])
        self.ends_cleanly(box, inmate)
    return test


for _name, _stressors in CLASSES.items():
    setattr(Stress, "test_" + re.sub(r"\W+", "_", _name), stress(_stressors))


class Trinity(Graded):
    """Class A: rubbish to every system call that there is."""

    attack_class = "A"

    def test_trinity_leaves_the_kernel_the_daemon_and_a_neighbour_as_they_were(self):
        program = self.grader("trinity")
        box, inmate = self.in_the_sandbox({"memory_mb": 512, "pids": 100, "disk_mb": 256, "output_mb": 1})
        where = box.exec("command -v trinity; mkdir t; id -u")["stdout"].split()
        self.assertEqual([program, "1000"], where, "the sandbox has the host's programs")
        # -q: quiet; -C: children; without the calls that only sleep. It runs until the deadline, which also is a test.
        exec_id = box.start("cd t && exec trinity -q -C4 -l off -x pause -x ppoll -x select -x pselect6 -x epoll_wait -x nanosleep", timeout_ms=1000 * TRINITY_SECONDS)
        end = time.monotonic() + TRINITY_SECONDS + 20
        runs = 0
        while box.exec_info(exec_id)["status"] == "running" and time.monotonic() < end:
            began = time.monotonic()
            self.assertEqual("next door\n", self.jail.exec("echo next door")["stdout"])
            self.assertLess(time.monotonic() - began, 8)
            runs += 1
            time.sleep(1)  # the pace of the looks at a neighbour
        info = box.exec_info(exec_id)
        self.assertNotEqual("running", info["status"])
        if info["status"] != "timed_out":
            # It also ends by itself, for instance when it has destroyed its own bookkeeping; then it has run at least.
            self.assertRegex(info["stdout"] + info["stderr"], r"(?i)trinity|syscall|child", info)
        self.assertGreater(runs, 0)
        self.assertEqual([], self.oracle.problems_of_the_kernel())
        self.ends_cleanly(box, inmate)


if __name__ == "__main__":
    unittest.main()
