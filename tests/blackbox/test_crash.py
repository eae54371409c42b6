"""kill -9 of either daemon process under load: no program dies, no byte and no second is lost."""
import http.client
import os
import signal
import threading
import unittest

import host
from case import LONG
from sandboxd_daemon import Daemon
from test_daemon import CONFIG
from websocket import Closed, Refused

ROUNDS = 50 if LONG else 5
COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"


def check_counting(case, output):
    """The lines of COUNTER without a gap and without a repetition."""
    lines = output.decode().split("\n")
    numbers = [int(line) for line in lines[:-1]]
    case.assertEqual(list(range(1, len(numbers) + 1)), numbers)
    return len(numbers)


class Crash(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(config=CONFIG, name="crash")
        self.addCleanup(self.daemon.destroy)
        self.daemon._key = "test"
        self.daemon.start()
        self.client = self.daemon.client

    def boxes_with_counters(self, count):
        made = []
        for _ in range(count):
            box = self.client.create(limits={"memory_mb": 64}, timeout_s=3600)
            made.append((box, box.start(COUNTER)))
        for box, exec_id in made:
            host.wait_until(lambda box=box, exec_id=exec_id: box.output(exec_id), 10, "it counts")
        return made

    def after_crash(self, made, jails, cpu):
        """Everything that lived lives; the counters count on and the metered CPU time does not fall."""
        # A subset: the load makes jails of its own meanwhile.
        self.assertLessEqual(jails, set(self.daemon.jail_pids()))
        for index, (box, exec_id) in enumerate(made):
            info = box.exec_info(exec_id)
            self.assertEqual("running", info["status"], info)
            before = len(box.output(exec_id))
            host.wait_until(lambda box=box, exec_id=exec_id, before=before: len(box.output(exec_id)) > before, 15, "it counts on")
            check_counting(self, box.output(exec_id))
            now = box.get()["usage"]
            for name in ("cpu_ms", "wall_ms"):
                self.assertGreaterEqual(now[name], cpu[index][name], name)
            # Memory is a level that nobody saw meanwhile: the time since the last row counts at today's. At most that second differs.
            second = 1000 * (now["memory_peak_bytes"] // (1 << 20) + 1)
            self.assertGreaterEqual(now["memory_mib_ms"], cpu[index]["memory_mib_ms"] - second)
            cpu[index] = now

    def rounds(self, crash):
        made = self.boxes_with_counters(4)
        jails = set(self.daemon.jail_pids())
        self.assertEqual(4, len(jails))
        usage = [box.get()["usage"] for box, _ in made]
        stop = threading.Event()
        self.wrong = []
        load = threading.Thread(target=self.load, args=(stop,))
        load.start()
        try:
            for number in range(ROUNDS):
                with self.subTest(round=number):
                    crash()
                    self.after_crash(made, jails, usage)
        finally:
            stop.set()
            load.join()
        self.assertEqual([], self.wrong)
        for box, exec_id in made:
            ended = box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL").json
            self.assertEqual("signaled", ended["status"])
            count = check_counting(self, box.output(exec_id))
            self.assertGreater(count, ROUNDS)
            self.assertEqual(204, box.delete().status)
        self.client.forget_connection()
        host.wait_until(lambda: not self.daemon.jail_pids(), 30, "no jail is left, also none of interrupted runs")

    def load(self, stop):
        """One-shot runs all the time; they may fail while the daemon is down, never with a wrong answer."""
        client = self.daemon.client
        number = 0
        while not stop.is_set():
            number += 1
            try:
                answer = client.post("/v1/run", {"language": "bash", "code": f"echo {number}", "limits": {"memory_mb": 64}}, timeout=30)
            except (OSError, http.client.HTTPException):
                client.forget_connection()
                continue
            if answer.status == 200 and answer.json["status"] == "exited" and answer.json["stdout"] != f"{number}\n":
                self.wrong.append(answer)

    def test_kill_9_of_the_api_under_load_ends_no_program_and_loses_nothing(self):
        self.rounds(self.daemon.kill_api)

    def test_kill_9_of_the_monitor_under_load_ends_no_program_and_loses_nothing(self):
        def crash():
            self.daemon.kill_monitor()
            self.daemon.start()
        self.rounds(crash)

    def test_kill_9_of_both_at_once_ends_no_program(self):
        made = self.boxes_with_counters(2)
        jails = set(self.daemon.jail_pids())
        usage = [box.get()["usage"] for box, _ in made]
        api = self.daemon.api_pid()
        self.daemon.find_group()
        os.kill(api, signal.SIGKILL)
        self.daemon.kill_monitor()
        self.daemon.start()
        self.after_crash(made, jails, usage)

    def test_a_websocket_goes_on_at_its_byte_after_a_crash(self):
        (box, exec_id), = self.boxes_with_counters(1)
        socket = box.websocket()
        socket.send_json(type="attach", exec_id=exec_id, stdout_offset=0)
        seen = ""
        for _ in range(3):
            seen += "".join(event["data"] for event in socket.until("stdout") if event["type"] == "stdout")
        self.daemon.kill_api()
        try:
            while True:  # what had been sent before the crash may still be on its way
                event = socket.receive_json()
                if event["type"] == "stdout":
                    seen += event["data"]
        except (Closed, OSError):
            pass
        again = box.websocket()
        self.addCleanup(again.abort)
        again.send_json(type="attach", exec_id=exec_id, stdout_offset=len(seen))
        while seen.count("\n") < 200:
            seen += "".join(event["data"] for event in again.until("stdout") if event["type"] == "stdout")
        check_counting(self, (seen if seen.endswith("\n") else seen[:seen.rindex("\n") + 1]).encode())

    def test_a_program_that_ends_while_the_daemon_is_down_is_reported_rightly(self):
        box = self.client.create()
        ids = {code: box.start(f"sleep 0.5; echo bye {code}; exit {code}") for code in (0, 7, 42)}
        slow = box.start("sleep 600", timeout_ms=1500)
        jails = self.daemon.jail_pids()
        self.daemon.kill_monitor()
        # The jail's own processes say when they have ended; the daemon is not asked.
        host.wait_until(lambda: len([pid for jail in jails for pid in host.descendants(jail) if not host.is_zombie(pid)]) == 0, 20,
                        "the programs end, one of them by its deadline, with no daemon there")
        self.daemon.start()
        for code, exec_id in ids.items():
            info = box.exec_info(exec_id)
            self.assertEqual(("exited", code, f"bye {code}\n"), (info["status"], info["exit_code"], info["stdout"]))
        self.assertEqual("timed_out", box.exec_info(slow)["status"])

    def test_output_written_while_the_api_is_down_is_all_there(self):
        box = self.client.create(limits={"output_mb": 64})
        exec_id = box.start("sleep 0.3; seq 1 500000; sleep 1; echo end")
        self.daemon.kill_api()
        output = box.output(exec_id, follow=True)
        self.assertEqual("".join(f"{n}\n" for n in range(1, 500001)).encode() + b"end\n", output)

    def test_a_crash_loop_of_the_api_does_not_take_the_monitor_down(self):
        box = self.client.create()
        for _ in range(10):
            pid = self.daemon.api_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
            host.wait_until(lambda pid=pid: self.daemon.api_pid() not in (0, pid), 60, "it is started again")
        self.daemon.wait_ready(60)
        self.assertTrue(self.daemon.alive())
        self.assertEqual("on\n", box.exec("echo on")["stdout"])

    def test_a_restart_after_a_crash_leaves_no_duplicate_on_the_host(self):
        box = self.client.create()
        for _ in range(3):
            self.daemon.kill_monitor()
            self.daemon.start()
        self.assertLessEqual(len(host.loops(self.daemon.folder)), 1)
        self.assertEqual(1, len([point for point in host.mounts(self.daemon.folder) if point.endswith("/pool")]))
        self.assertEqual("on\n", box.exec("echo on")["stdout"])

    def test_a_websocket_to_a_dead_daemon_is_refused_not_hung(self):
        box = self.client.create()
        self.daemon.kill_monitor()
        try:
            socket = box.websocket(timeout=10)
            socket.send_json(type="start", argv=["true"])
            socket.until("exit", "error")
        except TimeoutError:
            self.fail("a client of a dead daemon hung")
        except (OSError, Closed, Refused, ValueError, IndexError):
            pass
        self.daemon.start()


if __name__ == "__main__":
    unittest.main()
