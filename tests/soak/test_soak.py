"""Many cycles leave what was there before: descriptors, threads, mounts, cgroups, namespaces, loop devices, files."""
import os
import pathlib
import threading
import unittest

import host
from case import LONG
from sandboxd_daemon import Daemon

CYCLES = 1000 if LONG else 200
AT_ONCE = 4
WARM_UP = 20          # pools, caches and lazily made things are there after these
MEMORY_MIB = 8        # what an allocator may keep


class Soak(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(name="soak")
        self.addCleanup(self.daemon.destroy)
        self.daemon.start()

    def figures(self):
        """What a leak would show in. Numbers only."""
        group = self.daemon.find_group()
        monitor, api = self.daemon.process.pid, self.daemon.api_pid()
        state = self.daemon.state_dir
        figures = {
            "fds of the monitor": host.fd_count(monitor),
            "fds of the api": host.fd_count(api),
            "threads of the monitor": len(os.listdir(f"/proc/{monitor}/task")),
            "mounts": len(host.mounts(self.daemon.folder)),
            "mounts of the monitor": host.read_proc(monitor, "mountinfo").count("\n"),
            "cgroups": len(host.cgroups(group)),
            "processes": len([pid for pid in host.processes_in(group) if not host.is_zombie(pid)]),
            "zombies of the monitor": len([pid for pid in host.children(monitor) if host.is_zombie(pid)]),
            "loop devices": len(host.loops(self.daemon.folder)),
            "network interfaces": len(os.listdir("/sys/class/net")),
        }
        for name in ("sandboxes", "agents", "pool", "api/spool"):
            folder = state / name
            figures[f"entries in {name}"] = len(list(folder.iterdir())) if folder.is_dir() else 0
        return figures

    def settled(self, expected):
        """The figures once the background has done its work, or the last ones if it does not."""
        try:
            host.wait_until(lambda: self.figures() == expected, 30, "the figures are as before")
        except TimeoutError:
            pass
        return self.figures()

    def cycle(self, client, number):
        box = client.create(limits={"memory_mb": 64, "disk_mb": 32})
        self.assertEqual(f"{number}\n", box.exec(f"echo {number}; sleep 60 & ")["stdout"])
        if number % 5 == 0:
            self.assertEqual(201, box.put("f", os.urandom(50_000)).status)
        if number % 7 == 0:
            box.start("sleep 600")
        self.assertEqual(204, box.delete().status)

    def many(self, work, count):
        errors = []

        def worker(first):
            client = self.daemon.client
            try:
                for number in range(first, count, AT_ONCE):
                    work(client, number)
            except Exception as error:  # noqa: BLE001  a thread's failure is the test's
                errors.append(error)
            finally:
                client.forget_connection()
        threads = [threading.Thread(target=worker, args=(first,)) for first in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)

    def compare(self, work, count):
        self.many(work, WARM_UP)
        # A jail must live for the daemon's cgroup folder to be found; its figures are taken without it.
        probe = self.daemon.client.create()
        self.daemon.find_group()
        probe.delete()
        host.wait_until(lambda: not self.daemon.jail_pids(), 20, "no jail")
        before = self.settled(self.figures())
        memory = host.resident_kib(self.daemon.process.pid), host.resident_kib(self.daemon.api_pid())
        self.many(work, count)
        host.wait_until(lambda: not self.daemon.jail_pids(), 60, "no jail")
        after = self.settled(before)
        self.assertEqual(before, after)
        for name, pid, then in (("monitor", self.daemon.process.pid, memory[0]), ("api", self.daemon.api_pid(), memory[1])):
            grown = (host.resident_kib(pid) - then) / 1024
            # The API remembers ended sandboxes on disk, not in memory: it may not grow with their number.
            self.assertLess(grown, MEMORY_MIB + count * 0.002, f"resident memory of the {name} grew by {grown:.1f} MiB")

    def test_create_exec_destroy_cycles_leave_nothing(self):
        self.compare(self.cycle, CYCLES)
        self.assertEqual(0, self.daemon.stop(), self.daemon.log_tail())
        self.daemon.assert_nothing_left()

    def test_one_shot_runs_leave_nothing(self):
        def run(client, number):
            self.assertEqual(f"{number}\n", client.run(f"echo {number}", language="bash", limits={"memory_mb": 64})["stdout"])
        self.compare(run, CYCLES)

    def test_creates_that_fail_and_clients_that_leave_leave_nothing(self):
        def bad(client, number):
            kind = number % 3
            if kind == 0:
                self.assertIn(client.post("/v1/sandboxes", {"template": "nope"}).status, (400, 404))
            elif kind == 1:
                response, connection = client.stream("POST", "/v1/run", {"language": "bash", "code": "sleep 600"},
                                                     {"Accept": "application/x-ndjson"})
                response.readline()
                response.close()
                connection.close()
            else:
                self.assertEqual(400, client.post("/v1/run", {"language": "bash", "code": "x", "env": {"A=B": "1"}}).status)
        self.compare(bad, CYCLES // 2)


if __name__ == "__main__":
    print(pathlib.Path(__file__).name, "is run by tests/blackbox/run_tests.py --folder tests/soak")
