"""The daemon from the outside where every controller is cgroup2's."""
import json
import pathlib
import subprocess
import time
import unittest

import host
from case import DaemonCase
from sandboxd_daemon import Daemon, bin_dir

TOP = pathlib.Path("/sys/fs/cgroup")
COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


def keyed(path, key):
    return {line.split()[0]: int(line.split()[1]) for line in path.read_text().splitlines()}[key]


def folder_of(daemon, box):
    """The sandbox's own group. It is at the top of the tree, not below the daemon's: a restart must not touch it."""
    return TOP / daemon.find_group() / box.id


class Machine(unittest.TestCase):
    def test_every_controller_is_of_cgroup2(self):
        self.assertEqual({"unified": str(TOP)}, host.cgroup_trees())
        self.assertLessEqual({"cpu", "io", "memory", "pids"}, set((TOP / "cgroup.controllers").read_text().split()))

    def test_the_doctor_finds_nothing_that_would_keep_the_daemon_from_starting(self):
        said = subprocess.run([bin_dir() / "sandboxctl", "doctor", "--json"], capture_output=True, text=True, check=False).stdout
        found = json.loads(said)
        self.assertEqual([], [check for check in found["checks"] if check["severity"] == "fail"
                              and not check["name"].startswith("kernel.version")])
        mode = [check for check in found["checks"] if check["name"] == "cgroup.mode"]
        self.assertEqual(("ok", f"v2 at {TOP}"), (mode[0]["severity"], mode[0]["finding"]))


class Run(DaemonCase):
    def test_print_1_answers_1_and_costs_something(self):
        answer = self.client.run("print(1)")
        self.assertEqual(("1\n", "", 0), (answer["stdout"], answer["stderr"], answer["exit_code"]))
        self.assert_usage(answer["usage"])
        self.assertGreater(answer["usage"]["cpu_ms"], 0)
        self.assertGreater(answer["usage"]["memory_peak_bytes"], 1 << 20)
        self.assertGreater(float(answer["usage"]["cost"]["amount"]), 0)

    def test_the_metered_cpu_time_is_the_kernels(self):
        box = self.box(limits={"memory_mb": 128})
        answer = box.exec("python3 -c 'import time\nwhile time.process_time() < 1: pass'")
        kernel_ms = keyed(folder_of(self.daemon, box) / "cpu.stat", "usage_usec") // 1000
        self.assertGreaterEqual(answer["usage"]["cpu_ms"], 990)
        self.assertLessEqual(answer["usage"]["cpu_ms"], kernel_ms)
        self.assertLess(kernel_ms - answer["usage"]["cpu_ms"], 3000)  # the init's share


class Limits(DaemonCase):
    def test_they_stand_in_the_workloads_group_and_follow_a_change(self):
        box = self.box(limits={"memory_mb": 96, "pids": 41, "cpus": 0.5})
        self.assertEqual("on\n", box.exec("echo on")["stdout"])
        work = folder_of(self.daemon, box) / "work"
        seen = {name: (work / name).read_text().strip() for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")}
        self.assertEqual({"memory.max": str(96 << 20), "memory.swap.max": "0", "pids.max": "41", "cpu.max": "50000 100000"}, seen)
        box.client.expect(200, "PATCH", box.path, json={"limits": {"memory_mb": 128}})
        self.assertEqual(str(128 << 20), (work / "memory.max").read_text().strip())

    def test_a_memory_bomb_is_oom_killed_and_the_sandbox_goes_on(self):
        box = self.box(limits={"memory_mb": 64})
        answer = box.exec("python3 -c 'b = bytearray(200 << 20)'")
        self.assertEqual("oom_killed", answer["status"])
        group = folder_of(self.daemon, box)
        self.assertGreaterEqual(keyed(group / "work/memory.events", "oom_kill"), 1)
        self.assertEqual(0, keyed(group / "init/memory.events", "oom_kill"))
        # The leaf has no limit of its own: its peak counts the huge page that the group above refused.
        self.assertLessEqual(answer["usage"]["memory_peak_bytes"], (64 + 2) << 20)
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_swap_is_no_place_to_hide_in(self):
        hungry = "b = bytearray(100 << 20); print('held')"
        # The control: a group with the same limit and swap holds it all.
        group = TOP / "control"
        group.mkdir()
        self.addCleanup(group.rmdir)
        (group / "memory.max").write_text(str(64 << 20))
        held = subprocess.run(["bash", "-c", f"echo 0 > {group}/cgroup.procs; exec python3 -c \"$1\"", "-", hungry],
                              capture_output=True, text=True, check=False)
        self.assertEqual("held\n", held.stdout, "this machine has no swap")
        box = self.box(limits={"memory_mb": 64})
        self.assertEqual("oom_killed", box.exec(argv=["python3", "-c", hungry])["status"])
        self.assertEqual(0, int((folder_of(self.daemon, box) / "work/memory.swap.current").read_text()))

    def test_a_fork_bomb_meets_the_limit_and_can_be_looked_at_and_killed(self):
        box = self.box(limits={"pids": 40, "memory_mb": 128})
        exec_id = box.start("bomb() { bomb | bomb & }; bomb; sleep 600")
        group = folder_of(self.daemon, box)
        host.wait_until(lambda: keyed(group / "work/pids.events", "max") > 0, 20, "the bomb meets the limit")
        self.assertEqual("seen\n", box.exec("echo seen")["stdout"])
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL&scope=tree")
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_a_sandbox_full_of_processes_is_gone_with_its_group(self):
        box = self.client.create(limits={"pids": 100, "memory_mb": 128})
        box.exec("for i in $(seq 80); do sleep 600 & done; echo started")
        group = folder_of(self.daemon, box)
        self.assertGreaterEqual(int((group / "work/pids.current").read_text()), 80)
        self.assertEqual(204, box.delete().status)
        host.wait_until(lambda: not group.exists(), 20, "its group is gone")


class Devices(DaemonCase):
    def test_what_a_jail_has_works_and_the_rest_is_not_there_to_open(self):
        box = self.box(limits={"memory_mb": 128})
        answer = box.exec("head -c 4 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; echo $?")
        self.assertEqual(["00", "00", "00", "00", "4", "0"], answer["stdout"].split())


class Restart(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(name="restart")
        self.addCleanup(self.daemon.destroy)
        self.daemon.start()
        self.box = self.daemon.client.create(limits={"memory_mb": 64}, timeout_s=3600)
        self.exec_id = self.box.start(COUNTER)
        host.wait_until(lambda: self.box.output(self.exec_id), 20, "it counts")
        self.jails = self.daemon.jail_pids()
        self.usage = self.box.get()["usage"]

    def assert_it_went_on(self):
        self.assertEqual(self.jails, self.daemon.jail_pids())
        before = len(self.box.output(self.exec_id))
        host.wait_until(lambda: len(self.box.output(self.exec_id)) > before, 20, "it counts on")
        numbers = [int(line) for line in self.box.output(self.exec_id).decode().split("\n")[:-1]]
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)
        self.assertGreaterEqual(self.box.get()["usage"]["cpu_ms"], self.usage["cpu_ms"])
        # Limits can be changed as before: the successor knows that the group hands its controllers down.
        self.box.client.expect(200, "PATCH", self.box.path, json={"limits": {"memory_mb": 96}})
        self.assertEqual(str(96 << 20), (folder_of(self.daemon, self.box) / "work/memory.max").read_text().strip())
        self.assertEqual("on\n", self.box.exec("echo on")["stdout"])

    def test_kill_9_of_the_api_ends_no_program(self):
        self.daemon.kill_api()
        self.assert_it_went_on()

    def test_kill_9_of_the_monitor_ends_no_program_and_its_successor_adopts(self):
        self.daemon.kill_monitor()
        self.daemon.start()
        self.assert_it_went_on()
        began = time.monotonic()
        self.assertEqual(204, self.box.delete().status)
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(0, self.daemon.stop())
        self.daemon.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
