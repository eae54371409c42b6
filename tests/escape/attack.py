"""Base of the escape tests: the probe binary, built once, and the host's oracles around every class of tests."""
import atexit
import pathlib
import shutil
import subprocess
import tempfile

from case import DaemonCase, daemon
from oracles import Host

HERE = pathlib.Path(__file__).resolve().parent
_built = None


def probe_binary():
    """Path of the static probe program; compiled on first use."""
    global _built
    if _built is None:
        folder = tempfile.mkdtemp(prefix="sbx-probe-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _built = pathlib.Path(folder, "probe")
        sources = sorted(str(path) for path in (HERE / "probes").glob("*.c"))
        subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(_built), *sources], check=True)
    return _built


def outside(arguments):
    """What the probe says as root on the host: the positive control."""
    answer = subprocess.run([str(probe_binary()), *arguments.split()], capture_output=True, text=True, timeout=30, check=False)
    return answer.stdout.strip().splitlines()[-1] if answer.stdout.strip() else f"exit {answer.returncode}"


class AttackCase(DaemonCase):
    """One sandbox per class with the probe in it; the oracles are asked after every test."""

    @classmethod
    def setUpClass(cls):
        cls.oracle = Host(daemon())
        cls.addClassCleanup(cls.oracle.close)
        cls.jail = daemon().client.create(limits={"memory_mb": 256})
        cls.addClassCleanup(cls.jail.delete)
        cls.install(cls.jail)

    def tearDown(self):
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
