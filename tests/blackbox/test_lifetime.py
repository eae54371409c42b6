"""Time to live, pause and resume, and what survives them."""
import time
import unittest

import host
from case import DaemonCase


class TimeToLive(DaemonCase):
    def gone(self, box):
        return box.client.get(box.path).status in (404, 410)

    def test_an_unused_sandbox_ends_after_its_time(self):
        box = self.client.create(timeout_s=1)
        began = time.monotonic()
        host.wait_until(lambda: self.gone(box), 15, "the sandbox ends by itself")
        self.assertGreater(time.monotonic() - began, 0.8)

    def test_use_restarts_the_time(self):
        box = self.box(timeout_s=2)
        for _ in range(5):
            self.assertEqual(0, box.exec("sleep 0.8")["exit_code"])
        self.assertEqual("running", box.get()["state"])

    def test_the_time_does_not_run_while_a_program_runs(self):
        box = self.box(timeout_s=1)
        self.assertEqual("end\n", box.exec("sleep 3; echo end")["stdout"])

    def test_the_time_can_be_changed(self):
        box = self.client.create(timeout_s=3600)
        self.assertEqual(1, box.client.expect(200, "PATCH", box.path, json={"timeout_s": 1}).json["timeout_s"])
        host.wait_until(lambda: self.gone(box), 15, "the sandbox ends by itself")

    def test_on_timeout_pause_keeps_it_for_later(self):
        box = self.box(timeout_s=1, on_timeout="pause")
        box.exec("echo kept > f")
        host.wait_until(lambda: box.get()["state"] == "paused", 15, "it is paused")
        box.client.expect(200, "POST", f"{box.path}/resume", json={})
        self.assertEqual("kept\n", box.exec("cat f")["stdout"])


class Pause(DaemonCase):
    def test_a_paused_sandbox_stands_still_and_goes_on_where_it_was(self):
        box = self.box()
        exec_id = box.start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
        host.wait_until(lambda: box.output(exec_id), 10, "it counts")
        paused = box.client.expect(200, "POST", f"{box.path}/pause", json={}).json
        self.assertEqual("paused", paused["state"])
        first = box.output(exec_id)
        cpu = box.get()["usage"]["cpu_ms"]
        answer = box.client.post(f"{box.path}/exec", {"argv": ["true"]})
        self.assert_error(answer, 409, "conflict")
        self.assertEqual(first, box.output(exec_id), "it wrote while paused")
        self.assertLessEqual(box.get()["usage"]["cpu_ms"] - cpu, 20)
        box.client.expect(200, "POST", f"{box.path}/resume", json={})
        host.wait_until(lambda: len(box.output(exec_id)) > len(first), 10, "it counts on")
        numbers = [int(line) for line in box.output(exec_id).split()]
        self.assertEqual(list(range(1, len(numbers) + 1)), numbers)

    def test_pausing_twice_and_deleting_a_paused_one_is_fine(self):
        box = self.client.create()
        box.start("sleep 600")
        for _ in range(2):
            box.client.expect(200, "POST", f"{box.path}/pause", json={})
        self.assertEqual(204, box.delete().status)


if __name__ == "__main__":
    unittest.main()
