"""Base of the escape tests: the probe binary, built once, and the host's oracles around every test."""
import atexit
import os
import pathlib
import shutil
import subprocess
import tempfile

import host
from case import DaemonCase, daemon
from oracles import Host

HERE = pathlib.Path(__file__).resolve().parent
_built = None
_scratch = None


def probe_binary():
    """Path of the static probe program; compiled on first use."""
    global _built
    if _built is None:
        folder = tempfile.mkdtemp(prefix="sbx-probe-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.chmod(folder, 0o755)
        _built = pathlib.Path(folder, "probe")
        sources = sorted(str(path) for path in (HERE / "probes").glob("*.c"))
        subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(_built), *sources], check=True)
    return _built


def scratch():
    """A folder for what controls write; on disk, like a sandbox's home."""
    global _scratch
    if _scratch is None:
        _scratch = tempfile.mkdtemp(prefix="sbx-control-", dir="/var/tmp")
        atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
    return _scratch


def outside(arguments, **more):
    """What the probe says as root on the host: the positive control."""
    answer = subprocess.run([str(probe_binary()), *arguments.split()], capture_output=True, text=True, timeout=60, check=False,
                            cwd=scratch(), **more)
    return answer.stdout.strip().splitlines()[-1] if answer.stdout.strip() else f"exit {answer.returncode}"


def control_only(arguments):
    """The same where a refusal of the control means that this kernel has nothing to prove: (what it said, got through)."""
    said = outside(arguments)
    return said, said == "ok" or said.endswith(" ok")


class AttackCase(DaemonCase):
    """One sandbox per class with the probe in it; the oracles are asked after every test, when its sandboxes are gone."""

    attack_class = None  # the letter of docs/security.md's table
    kept = ()            # the class's own sandboxes
    idle_processes = 1   # of each of them, PID 1 counted

    @classmethod
    def setUpClass(cls):
        cls.oracle = Host(daemon())
        cls.addClassCleanup(cls.oracle.close)
        cls.jail = daemon().client.create(limits={"memory_mb": 256})
        cls.addClassCleanup(cls.jail.delete)
        cls.install(cls.jail)
        cls.kept = (cls.jail,)
        cls.oracle.settle()

    def setUp(self):
        # The first cleanup is the last to run: what a test made must be gone by then.
        self.addCleanup(self._ask_the_oracles)
        self.addCleanup(self._end_programs)

    def _end_programs(self):
        """What a test has left running in the class's own sandboxes."""
        for box in self.kept:
            if len(host.processes_in(box.id)) > self.idle_processes:
                box.exec(argv=["/bin/sh", "-c", "kill -9 -1"], user="root")

    def _ask_the_oracles(self):
        self.client.forget_connection()  # ours is no leak of the daemon's
        self.assertEqual([], self.oracle.problems())

    @staticmethod
    def install(box):
        answer = box.put("/home/user/probe", probe_binary().read_bytes(), mode="0755")
        assert answer.status in (200, 201), answer

    def inside(self, arguments, user="user", box=None, **fields):
        """What the probe says in the jail. A probe that was killed by a signal answers with its name."""
        answer = (box or self.jail).exec(argv=["/home/user/probe", *arguments.split()], user=user, timeout_ms=30000, **fields)
        lines = answer["stdout"].strip().splitlines()
        return lines[-1] if lines else f"{answer['status']} {answer['exit_code']}"
