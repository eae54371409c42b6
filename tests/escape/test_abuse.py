"""Class C: every way of the table to take more than one's share, beside a neighbour that must not notice."""
import os
import re
import resource
import signal
import subprocess
import sys
import time
import unittest

import host
from abuses import ABUSES
from attack import AttackCase, daemon, outside, probe_binary, scratch
from inmate import Inmate
from neighbour import FLOOR_MS, Neighbour, disturbed

ANSWER_SECONDS = 2.0
ATTEMPTS = 3
QUIET_SECONDS = 0.3
NOBODY = 64242  # a user of no rights that owns nothing on this machine: what a control runs as that must be ended by its uid
REFUSALS = ("limit_exceeded", "unavailable", "conflict")  # an exec where there is no process left to be had may be refused, by name


def load_factor():
    """How much slower an idle request may be here: above 1 only where others use this machine, and then it is said."""
    busy = os.getloadavg()[0] / os.cpu_count()
    factor = min(4.0, max(1.0, busy))
    if factor > 1.2:
        print(f"note: the machine is loaded ({busy:.1f} per CPU before the attacks): an answer may take {ANSWER_SECONDS * factor:.1f} s",
              file=sys.stderr, flush=True)
    return factor


class Attempt:
    """One run of one abuse: what was measured, and what took too long or was noticed next door."""

    def __init__(self, bound):
        self.bound = bound
        self.quiet = self.attack = 0.0
        self.slow = []

    def timed(self, what, call):
        began = time.monotonic()
        answer = call()
        took = time.monotonic() - began
        if took > self.bound:
            self.slow.append(f"{what} took {took:.2f} s (at most {self.bound:.1f})")
        return answer

    def complaints(self):
        if not disturbed(self.quiet, self.attack):
            return self.slow
        return [*self.slow, f"O2: the neighbour's p99 was {self.attack:.1f} ms, {self.quiet:.1f} ms before and after"]


class Abuses(AttackCase):
    attack_class = "C"

    @classmethod
    def setUpClass(cls):
        cls.bound = ANSWER_SECONDS * load_factor()
        super().setUpClass()
        cls.neighbour = Neighbour(daemon().client, cls.install)
        cls.addClassCleanup(cls.neighbour.close)
        cls.oracle.settle()

    def abuse(self, case):
        attempts = [self.attempt(case)]
        # A disturbance that the abuse makes is there each time; others who use the machine make theirs now and then. Where the
        # neighbour is late at rest already, they are there now: twice as many tries.
        while attempts[-1].complaints():
            most = ATTEMPTS * (2 if attempts[-1].quiet > FLOOR_MS / 2 else 1)
            if len(attempts) >= most:
                self.fail(f"in each of {len(attempts)} attempts: " + "; ".join(attempts[-1].complaints()))
            attempts.append(self.attempt(case))
        self.assertTrue(self.oracle.can_create(), "O7: no new sandbox")

    def attempt(self, case):
        attempt = Attempt(self.bound)
        box = self.client.create(limits=case.limits)
        try:
            self.install(box)
            inmate = Inmate(self.daemon, box)
            before = self.neighbour.watch(QUIET_SECONDS)
            command = case.inside if case.shell else f"exec ./probe {case.inside}"
            exec_id = box.start(command, timeout_ms=60000)
            attempt.attack = self.neighbour.watch(case.seconds)
            self.look(case, box, exec_id)
            self.answers(attempt, box, exec_id)
        finally:
            deleted = attempt.timed("DELETE", box.delete)
        self.assertEqual(204, deleted.status, deleted)
        inmate.assert_gone()
        attempt.quiet = max(before, self.neighbour.watch(QUIET_SECONDS))
        return attempt

    def look(self, case, box, exec_id):
        """That it did what it is there for, and was bounded as the table says."""
        if case.says and not case.says.startswith("|"):
            host.wait_until(lambda: b"\n" in box.output(exec_id) or box.exec_info(exec_id)["status"] != "running", 20, "it says something")
        line = box.output(exec_id)[:200].decode(errors="replace").partition("\n")[0]
        self.assertRegex(line, f"^(?:{case.says})$")
        info = box.exec_info(exec_id)
        self.assertIn(info["status"], case.ends, info["stderr"][:300])
        self.assertLessEqual(box.get()["usage"]["memory_peak_bytes"], case.peak_mib << 20)

    def answers(self, attempt, box, exec_id):
        """exec, kill: each answers in time, and after the kill the sandbox is of use again."""
        exec_path = f"{box.path}/exec"
        answer = attempt.timed("exec", lambda: box.client.post(exec_path, {"shell": "echo alive", "timeout_ms": 10000}))
        if answer.status != 200:
            self.assertIn(answer.json["error"]["code"], REFUSALS, answer)
        killed = attempt.timed("kill", lambda: box.client.request("DELETE", f"{exec_path}/{exec_id}?signal=KILL&scope=tree"))
        self.assertEqual(200, killed.status, killed)
        answer = host.wait_until(lambda: self.alive(box), 10, "the sandbox is of use after the kill")
        self.assertEqual("alive\n", answer["stdout"])
        self.assertNotEqual("running", box.exec_info(exec_id)["status"])

    @staticmethod
    def alive(box):
        answer = box.client.post(f"{box.path}/exec", {"shell": "echo alive", "timeout_ms": 10000})
        return answer.json if answer.status == 200 and answer.json["status"] == "exited" else None


def processes_of(uid):
    return [pid for pid in host.process_ids() if re.search(rf"^Uid:\t{uid}\t", host.read_proc(pid, "status"), re.MULTILINE)]


def as_nobody():
    resource.setrlimit(resource.RLIMIT_NPROC, (24, 24))
    os.setsid()
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def end_everything_of(uid):
    """SIGKILL to all processes of a uid of ours: kill(-1) of somebody with that effective uid reaches exactly those, again until none
    is left. Its real and saved uid are another's, also of nobody, so that what it ends can't stop it first (kill(2))."""
    def sweep():
        program = f"import os; os.setresuid({uid + 1}, {uid}, {uid + 1}); os.kill(-1, {int(signal.SIGKILL)})"
        subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.DEVNULL, timeout=30)
        return not [pid for pid in processes_of(uid) if not host.is_zombie(pid)]
    host.wait_until(sweep, 30, f"no process of uid {uid} is left")


def control_of_a_bomb(arguments):
    """Outside, as a user of no rights who may have 24 processes: "ok" when it filled that up, or stopped itself."""
    if processes_of(NOBODY):
        raise AssertionError(f"somebody uses uid {NOBODY}")
    process = subprocess.Popen([str(probe_binary()), *arguments.split()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                               preexec_fn=as_nobody)
    stopping = "stop" in arguments

    def done():
        alive = processes_of(NOBODY)
        threads = sum(len(host.read_folder(f"/proc/{pid}/task")) for pid in alive)
        stopped = [pid for pid in alive if re.search(r"^State:\tT", host.read_proc(pid, "status"), re.MULTILINE)]
        return bool(stopped) if stopping else threads >= 20
    try:
        host.wait_until(done, 10, "the control does it")
        return "1 ok"
    except TimeoutError:
        return "EAGAIN"
    finally:
        end_everything_of(NOBODY)
        process.wait()


def make(case):
    def test(self):
        control = control_of_a_bomb(case.control[4:]) if case.control.startswith("uid ") else outside(case.control)
        self.abuse(case)
        if control != "ok" and not control.endswith(" ok"):
            self.skipTest(f"bounded inside, but outside it said {control}: this kernel proves nothing")
    return test


for _case in ABUSES:
    _name = "test_" + re.sub(r"\W+", "_", _case.name).strip("_")
    assert not hasattr(Abuses, _name), f"two cases are called {_case.name}"
    setattr(Abuses, _name, make(_case))


SPIN = "import os, time; os.sched_setaffinity(0, {{{cpu}}}); os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\nend = time.monotonic() + 0.3\nwhile time.monotonic() < end: pass"


class Control(AttackCase):
    """O2 can fail: what is done to the host outside of any jail is noticed by the same neighbour with the same rule."""

    attack_class = "C"

    def test_a_host_that_is_disturbed_for_a_third_of_a_second_is_noticed(self):
        neighbour = Neighbour(self.client, self.install)
        self.addCleanup(neighbour.close)
        found = []
        for _ in range(ATTEMPTS):
            before = neighbour.watch(QUIET_SECONDS)
            # What no sandbox may: real-time priority, on every CPU.
            loops = [subprocess.Popen([sys.executable, "-c", SPIN.format(cpu=cpu)]) for cpu in os.sched_getaffinity(0)]
            during = neighbour.watch(1.0)
            if any(loop.wait() != 0 for loop in loops):
                self.skipTest("this kernel gives root here no real-time priority: no control")
            found.append((round(max(before, neighbour.watch(QUIET_SECONDS)), 1), round(during, 1)))
            if disturbed(*found[-1]):
                return
        self.fail(f"real-time loops of the host's root on every CPU were not noticed: {found}")


if __name__ == "__main__":
    unittest.main()
