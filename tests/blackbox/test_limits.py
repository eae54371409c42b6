"""Limits that hold: memory, processes, disk, CPU; and a sandbox at its limits stays manageable."""
import threading
import time
import unittest

from case import DaemonCase


class Memory(DaemonCase):
    def test_all_processes_together_stay_below_the_limit(self):
        box = self.box(limits={"memory_mb": 128})
        answer = box.exec("for i in 1 2 3 4; do python3 -c 'b = bytearray(60 << 20); import time; time.sleep(2)' & done; wait; echo end")
        self.assertIn(answer["status"], ("exited", "oom_killed"))
        self.assertLessEqual(box.get()["usage"]["memory_peak_bytes"], 160 << 20)

    def test_files_in_dev_shm_and_tmp_are_charged_too(self):
        box = self.box(limits={"memory_mb": 64})
        answer = box.exec("head -c 200M /dev/zero > /dev/shm/x; echo code $?")
        size = int(box.exec("stat -c %s /dev/shm/x 2>/dev/null || echo 0")["stdout"])
        self.assertLess(size, 70 << 20, answer)

    def test_the_sandbox_is_usable_after_it_ran_out_of_memory(self):
        box = self.box(limits={"memory_mb": 64})
        self.assertEqual("oom_killed", box.exec("python3 -c 'b = bytearray(200 << 20)'")["status"])
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_there_is_no_swap_to_hide_in(self):
        box = self.box(limits={"memory_mb": 64})
        self.assertEqual("oom_killed", box.exec("python3 -c 'b = b\"x\" * (100 << 20)'")["status"])


class Processes(DaemonCase):
    def test_a_fork_bomb_stops_at_the_limit_and_can_be_killed(self):
        box = self.box(limits={"pids": 40})
        exec_id = box.start("bomb() { bomb | bomb & }; bomb; sleep 600")
        end = time.monotonic() + 2
        while time.monotonic() < end:  # it bombs on while the API is used
            self.assertIn(box.exec_info(exec_id)["status"], ("running", "exited", "signaled"))
        began = time.monotonic()
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL&scope=tree")
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_a_sandbox_full_of_processes_is_destroyed_quickly(self):
        box = self.client.create(limits={"pids": 200})
        box.exec("for i in $(seq 150); do sleep 600 & done; echo started")
        began = time.monotonic()
        self.assertEqual(204, box.delete().status)
        self.assertLess(time.monotonic() - began, 10)

    def test_the_limit_is_what_was_asked(self):
        box = self.box(limits={"pids": 30})
        answer = box.exec("for i in $(seq 60); do sleep 30 & done 2>/dev/null; jobs -r | wc -l", timeout_ms=20000)
        self.assertLess(int(answer["stdout"].split()[-1] if answer["stdout"].split() else 0), 31)


class Disk(DaemonCase):
    def test_the_disk_ends_with_EDQUOT_or_ENOSPC_at_its_limit(self):
        box = self.box(limits={"disk_mb": 64})
        answer = box.exec("python3 -c \"\nimport errno, os\nn = 0\ntry:\n    f = open('big', 'wb', buffering=0)\n    while True:\n"
                          "        n += f.write(os.urandom(1 << 20))\nexcept OSError as e:\n    print(errno.errorcode[e.errno], n >> 20)\n\"")
        name, mib = answer["stdout"].split()
        self.assertIn(name, ("EDQUOT", "ENOSPC"))
        self.assertTrue(48 <= int(mib) <= 66, mib)
        self.assertEqual("", box.exec("rm big")["stderr"])
        self.assertEqual("ok\n", box.exec("head -c 20M /dev/zero > again && echo ok")["stdout"])

    def test_many_small_files_are_bounded_too(self):
        box = self.box(limits={"disk_mb": 16, "pids": 64})
        answer = box.exec("python3 -c \"\nn = 0\ntry:\n    for n in range(400000): open(f'f{n}', 'w').close()\nexcept OSError as e: print('stopped', n)\n"
                          "else: print('all')\n\"", timeout_ms=120000)
        self.assertTrue(answer["stdout"].startswith("stopped"), answer["stdout"])

    def test_a_neighbours_disk_is_not_touched(self):
        full, other = self.box(limits={"disk_mb": 32}), self.box(limits={"disk_mb": 32})
        full.exec("head -c 100M /dev/urandom > big; true")
        self.assertEqual("ok\n", other.exec("head -c 20M /dev/urandom > f && echo ok")["stdout"])

    def test_the_readonly_system_stays_what_it_is(self):
        box = self.box()
        self.assertNotEqual(0, box.exec("echo x > /usr/bin/env")["exit_code"])
        self.assertNotEqual(0, box.exec("echo x > /usr/bin/env", user="root")["exit_code"])


class Cpu(DaemonCase):
    def test_half_a_cpu_is_half_a_cpu(self):
        box = self.box(limits={"cpus": 0.5})
        answer = box.exec("python3 -c \"import time\nend = time.time() + 4\nwhile time.time() < end: pass\nprint(time.process_time())\"")
        used = float(answer["stdout"])
        self.assertLess(used, 2.6)
        self.assertGreater(used, 1.0)

    def test_more_processes_get_no_more_cpu(self):
        box = self.box(limits={"cpus": 1})
        answer = box.exec("for i in 1 2 3 4; do timeout 3 sh -c 'while :; do :; done' & done; wait")
        self.assertLess(answer["usage"]["cpu_ms"], 3900)

    def test_busy_sandboxes_do_not_stop_the_daemon_from_answering(self):
        boxes = [self.box(limits={"memory_mb": 64}) for _ in range(6)]
        for box in boxes:
            box.start("while :; do :; done")
        slow = []
        for _ in range(20):
            began = time.monotonic()
            self.client.expect(200, "GET", "/healthz")
            slow.append(time.monotonic() - began)
        self.assertLess(sorted(slow)[10], 0.5)
        self.assertEqual("1\n", self.client.run("print(1)")["stdout"])


class Update(DaemonCase):
    def test_limits_of_a_living_sandbox_can_be_changed(self):
        box = self.box(limits={"memory_mb": 64})
        self.assertEqual("oom_killed", box.exec("python3 -c 'b = bytearray(150 << 20)'")["status"])
        patched = box.client.expect(200, "PATCH", box.path, json={"limits": {"memory_mb": 256}}).json
        self.assertEqual(256, patched["limits"]["memory_mb"])
        self.assertEqual("exited", box.exec("python3 -c 'b = bytearray(150 << 20)'")["status"])


class Flood(DaemonCase):
    def test_a_flood_of_output_in_one_sandbox_does_not_slow_its_neighbour_to_a_halt(self):
        loud, quiet = self.box(limits={"output_mb": 1}), self.box()
        exec_id = loud.start("yes")
        times = []
        for _ in range(10):
            began = time.monotonic()
            self.assertEqual("x\n", quiet.exec("echo x")["stdout"])
            times.append(time.monotonic() - began)
        loud.client.expect(200, "DELETE", f"{loud.path}/exec/{exec_id}?signal=KILL")
        self.assertLess(sorted(times)[5], 2.0)

    def test_hundreds_of_requests_at_once_are_answered_or_refused_never_lost(self):
        statuses, lock = [], threading.Lock()

        def ask():
            client = self.daemon.client
            for _ in range(10):
                status = client.get("/v1/sandboxes").status
                with lock:
                    statuses.append(status)
        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(500, len(statuses))
        self.assertLessEqual(set(statuses), {200, 429, 503})


if __name__ == "__main__":
    unittest.main()
