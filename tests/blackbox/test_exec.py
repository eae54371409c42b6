"""Programs in a living sandbox: exec, list, state, signals, output by offset."""
import threading
import time
import unittest

from case import DaemonCase
from host import wait_until


class Exec(DaemonCase):
    def test_argv_runs_without_a_shell(self):
        answer = self.box().exec(argv=["printf", "%s|", "a b", "$HOME", "*"])
        self.assertEqual("a b|$HOME|*|", answer["stdout"])
        self.assert_usage(answer["usage"])

    def test_state_stays_between_execs(self):
        box = self.box()
        box.exec("echo 41 > n")
        self.assertEqual("42\n", box.exec("echo $(( $(cat n) + 1 ))")["stdout"])

    def test_cwd_env_and_user_are_as_asked(self):
        box = self.box(env={"A": "sandbox", "B": "sandbox"})
        answer = box.exec("pwd; echo $A $B; id -u", cwd="/tmp", env={"B": "exec"}, user="1234:1234")
        self.assertEqual("/tmp\nsandbox exec\n1234\n", answer["stdout"])

    def test_root_in_the_sandbox_can_install_files_but_has_no_real_privilege(self):
        box = self.box()
        answer = box.exec("id -u; touch /usr/local/x 2>&1 || echo ro; mkdir -p /opt/y && chown 1000 /opt/y && echo ok; "
                          "mount -t tmpfs t /mnt 2>/dev/null || echo no-mount", user="root")
        lines = answer["stdout"].splitlines()
        self.assertEqual("0", lines[0])
        self.assertIn("ok", lines)
        self.assertEqual("no-mount", lines[-1])

    def test_a_missing_command_is_an_error_not_an_exit_code(self):
        box = self.box()
        answer = box.client.post(f"{box.path}/exec", {"argv": ["no-such-program"]})
        self.assert_error(answer, 400, "command_not_found", "no-such-program")

    def test_a_missing_cwd_is_refused_by_name(self):
        box = self.box()
        answer = box.client.post(f"{box.path}/exec", {"argv": ["true"], "cwd": "/nowhere"})
        self.assertIn(answer.status, (400, 404), answer)
        self.assertIn("/nowhere", answer.json["error"]["message"])

    def test_exactly_one_of_argv_and_shell_is_asked_for(self):
        box = self.box()
        for body in ({}, {"argv": ["true"], "shell": "true"}, {"argv": []}):
            with self.subTest(body=body):
                self.assert_error(box.client.post(f"{box.path}/exec", body), 400, "invalid_argument", "argv")

    def test_odd_users_are_refused(self):
        box = self.box()
        for user in ("-1", "+0", " 0", "0x0", "nobody", "65534", "4294967296", "1:2:3", "1:", ":1", "root\n", ""):
            with self.subTest(user=user):
                answer = box.client.post(f"{box.path}/exec", {"argv": ["id", "-u"], "user": user})
                self.assertEqual(400, answer.status, answer)

    def test_stdin_text_and_binary(self):
        box = self.box()
        self.assertEqual("3\n", box.exec("wc -c", stdin="abc")["stdout"])
        self.assertEqual(" 00 ff\n", box.exec("od -A n -t x1", stdin={"base64": "AP8="})["stdout"])

    def test_a_background_child_does_not_hold_the_answer_back(self):
        box = self.box()
        began = time.monotonic()
        answer = box.exec("(sleep 30; echo late) & echo now")
        self.assertEqual("now\n", answer["stdout"])
        self.assertLess(time.monotonic() - began, 10)

    def test_a_hundred_execs_after_one_another_leave_no_process(self):
        box = self.box()
        for number in range(100):
            self.assertEqual(f"{number}\n", box.exec(argv=["echo", str(number)])["stdout"])
        count = box.exec("ls -d /proc/[0-9]* | wc -l")["stdout"]
        self.assertLess(int(count), 8)


class Detached(DaemonCase):
    def test_a_detached_exec_answers_202_and_goes_on(self):
        box = self.box()
        answer = box.client.post(f"{box.path}/exec", {"shell": "sleep 0.3; echo done; exit 4", "detach": True})
        self.assertEqual(202, answer.status)
        exec_id = answer.json["exec_id"]
        self.assertEqual(f"{box.path}/exec/{exec_id}", answer.headers["location"])
        self.assertEqual("running", box.exec_info(exec_id)["status"])
        wait_until(lambda: box.exec_info(exec_id)["status"] == "exited", 10, "the exec ends")
        info = box.exec_info(exec_id)
        self.assertEqual((4, "done\n"), (info["exit_code"], info["stdout"]))
        self.assertIsNotNone(info["ended_at"])

    def test_execs_are_listed_in_pages(self):
        box = self.box()
        ids = [box.exec(argv=["true"])["exec_id"] for _ in range(7)]
        seen, cursor = [], ""
        for _ in range(10):
            page = box.client.expect(200, "GET", f"{box.path}/exec?limit=3{cursor}").json
            self.assertLessEqual(len(page["execs"]), 3)
            seen += [item["exec_id"] for item in page["execs"]]
            if not page.get("next_cursor"):
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(ids, seen)

    def test_a_signal_by_name_reaches_the_program(self):
        box = self.box()
        exec_id = box.start("trap 'echo got; exit 9' USR1; echo up; while :; do sleep 0.05; done")
        wait_until(lambda: box.output(exec_id), 10, "it is up")
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=USR1&scope=process")
        wait_until(lambda: box.exec_info(exec_id)["status"] != "running", 10, "it ends")
        info = box.exec_info(exec_id)
        self.assertEqual(("exited", 9, "up\ngot\n"), (info["status"], info["exit_code"], info["stdout"]))

    def test_delete_ends_the_whole_tree_even_what_ignores_SIGTERM(self):
        box = self.box()
        exec_id = box.start("trap '' TERM; (trap '' TERM; setsid sleep 600) & echo up; wait; sleep 600")
        wait_until(lambda: box.output(exec_id), 10, "it is up")
        answer = box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}").json
        self.assertEqual("signaled", answer["status"])
        self.assertEqual("0\n", box.exec("pgrep -c sleep; true")["stdout"])

    def test_an_unknown_exec_and_an_unknown_signal_are_refused(self):
        box = self.box()
        self.assert_error(box.client.get(f"{box.path}/exec/zzzzzzzzzzzzz"), 404, "not_found")
        self.assertIn(box.client.get(f"{box.path}/exec/..%2F..%2Fx").status, (400, 404))
        exec_id = box.start("sleep 600")
        self.assert_error(box.client.request("DELETE", f"{box.path}/exec/{exec_id}?signal=FROB"), 400, "invalid_argument", "signal")
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")


class OutputByOffset(DaemonCase):
    def test_any_offset_gives_the_rest(self):
        box = self.box()
        exec_id = box.exec("seq 1 1000; echo e >&2")["exec_id"]
        whole = box.output(exec_id)
        self.assertEqual("".join(f"{n}\n" for n in range(1, 1001)).encode(), whole)
        for offset in (0, 1, 1000, len(whole) - 1, len(whole)):
            self.assertEqual(whole[offset:], box.output(exec_id, offset=offset))
        self.assertEqual(b"e\n", box.output(exec_id, "stderr"))
        self.assert_error(box.client.get(f"{box.path}/exec/{exec_id}/output?offset={len(whole) + 1}"), 416, "range_not_satisfiable")

    def test_follow_goes_on_until_the_program_ends(self):
        box = self.box()
        exec_id = box.start("for i in 1 2 3; do echo $i; sleep 0.3; done")
        self.assertEqual(b"1\n2\n3\n", box.output(exec_id, follow=True))

    def test_two_followers_see_the_same(self):
        box = self.box()
        exec_id = box.start("for i in $(seq 200); do echo line $i; done; sleep 0.5; echo end")
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(box.output(exec_id, follow=True))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(2, len(seen))
        self.assertEqual(seen[0], seen[1])
        self.assertTrue(seen[0].endswith(b"line 200\nend\n"))

    def test_a_program_that_blocks_at_its_output_limit_goes_on_when_somebody_reads(self):
        box = self.box()
        exec_id = box.start("head -c 3M /dev/zero; echo end >&2", output_mb=1, on_output_limit="block")
        wait_until(lambda: int(box.client.get(f"{box.path}/exec/{exec_id}/output").headers["x-output-size"]) >= (1 << 20), 10,
                   "the first MiB")
        self.assertEqual("running", box.exec_info(exec_id)["status"])
        total = 0
        response, connection = self.client.stream("GET", f"{box.path}/exec/{exec_id}/output?follow=true&offset=0")
        while (piece := response.read(65536)):
            total += len(piece)
        connection.close()
        self.assertEqual(3 << 20, total)
        # Its output ends when it closes it, which is before it has been waited for.
        wait_until(lambda: box.exec_info(exec_id)["status"] == "exited", 10, "the program ends")


if __name__ == "__main__":
    unittest.main()
