"""POST /v1/run: one shot, in every form of answer."""
import base64
import json
import random
import threading
import time
import unittest

from case import DaemonCase


class Answers(DaemonCase):
    def test_print_1_answers_1(self):
        answer = self.client.run("print(1)")
        self.assertEqual("1\n", answer["stdout"])
        self.assertEqual("", answer["stderr"])
        self.assertEqual(0, answer["exit_code"])
        self.assertEqual("exited", answer["status"])
        self.assertEqual([], answer["results"])
        self.assertNotIn("error", answer)
        self.assert_usage(answer["usage"])
        self.assertRegex(answer["sandbox_id"], r"^[a-z0-9]{8,40}$")
        self.assertGreater(answer["usage"]["wall_ms"], 0)
        self.assertGreater(answer["usage"]["cpu_ms"], 0)
        self.assertGreater(answer["usage"]["memory_peak_bytes"], 1 << 20)

    def test_bash_runs_with_stderr_and_exit_code_apart(self):
        answer = self.client.run("echo out; echo err >&2; exit 7", language="bash")
        self.assertEqual(("out\n", "err\n", 7), (answer["stdout"], answer["stderr"], answer["exit_code"]))
        self.assertEqual("exited", answer["status"])
        self.assertIn("7", answer["error"]["message"])

    def test_a_traceback_names_the_file_and_the_line(self):
        answer = self.client.run("x = 1\nraise ValueError('no')")
        self.assertEqual(1, answer["exit_code"])
        self.assertRegex(answer["stderr"], r'File ".*main\.py", line 2')
        self.assertIn("ValueError: no", answer["stderr"])

    def test_a_program_that_a_signal_ends_says_which(self):
        answer = self.client.run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
        self.assertEqual(("signaled", 139, 11), (answer["status"], answer["exit_code"], answer["signal"]))

    def test_javascript_runs_or_says_what_is_missing(self):
        answer = self.client.post("/v1/run", {"language": "javascript", "code": "console.log(6*7)"})
        if answer.status == 200:
            self.assertEqual("42\n", answer.json["stdout"])
        else:
            self.assert_error(answer, 400, "command_not_found", "node")

    def test_code_runs_as_user_in_its_home(self):
        answer = self.client.run("id -u; id -g; id -un; pwd; echo $HOME; stat -c %U .; echo hi > note && cat note", language="bash")
        self.assertEqual("1000\n1000\nuser\n/home/user\n/home/user\nuser\nhi\n", answer["stdout"])

    def test_each_run_has_a_sandbox_of_its_own_that_is_destroyed(self):
        first = self.client.run("touch left; hostname; ls", language="bash")
        second = self.client.run("ls", language="bash")
        self.assertNotIn("left", second["stdout"])
        self.assertNotEqual(first["sandbox_id"], second["sandbox_id"])
        answer = self.client.get(f"/v1/sandboxes/{first['sandbox_id']}")
        self.assertIn(answer.status, (404, 410), answer)

    def test_stdin_reaches_the_program(self):
        answer = self.client.run("import sys; print(sys.stdin.read().upper())", stdin="hello")
        self.assertEqual("HELLO\n", answer["stdout"])

    def test_without_stdin_a_reader_sees_the_end_at_once(self):
        self.assertEqual("''\n", self.client.run("import sys; print(repr(sys.stdin.read()))")["stdout"])

    def test_env_reaches_the_program_and_the_host_environment_does_not(self):
        answer = self.client.run("env", language="bash", env={"GREETING": "hej, världen", "EMPTY": ""})
        lines = answer["stdout"].splitlines()
        self.assertIn("GREETING=hej, världen", lines)
        self.assertIn("EMPTY=", lines)
        self.assertIn("HOME=/home/user", lines)
        self.assertFalse([line for line in lines if "SANDBOXD" in line])

    def test_files_are_written_before_the_code_runs(self):
        files = {"data.csv": "a,b\n1,2\n", "img.png": {"base64": base64.b64encode(bytes(range(256))).decode()},
                 "sub/dir/x.txt": "deep", "mod.py": "value = 41\n"}
        answer = self.client.run("import mod, pathlib\nprint(open('data.csv').read(), end='')\n"
                                 "print(pathlib.Path('img.png').read_bytes() == bytes(range(256)))\n"
                                 "print(open('sub/dir/x.txt').read(), mod.value + 1)", files=files)
        self.assertEqual("a,b\n1,2\nTrue\ndeep 42\n", answer["stdout"], answer)

    def test_an_uploaded_main_py_is_not_overwritten_by_the_code(self):
        answer = self.client.run("print(open('main.py').read())", files={"main.py": "mine"})
        self.assertEqual("mine\n", answer["stdout"])

    def test_files_may_not_leave_the_jail_through_dots(self):
        answer = self.client.post("/v1/run", {"language": "bash", "code": "true", "files": {"../../../../etc/sbx-probe": "x"}})
        self.assertIn(answer.status, (200, 400, 403), answer)  # in the jail's own /etc, or refused; never the host's
        with self.assertRaises(FileNotFoundError):
            open("/etc/sbx-probe", encoding="utf-8")


class Output(DaemonCase):
    def test_ten_million_lines_arrive_at_a_pipe_inside(self):
        answer = self.client.run("seq 1e7 | tail -1", language="bash")
        self.assertEqual("10000000\n", answer["stdout"])

    def test_utf8_is_kept_and_what_is_not_becomes_replacement_characters(self):
        text = "żółw 🐢 漢字"
        self.assertEqual(text + "\n", self.client.run(f"print({text!r})")["stdout"])
        broken = self.client.run("import sys; sys.stdout.buffer.write(b'a\\xff\\xfeb\\xe2\\x82')")
        self.assertEqual("a\ufffd\ufffdb\ufffd", broken["stdout"])

    def test_every_byte_survives_as_base64(self):
        answer = self.client.run("import sys; sys.stdout.buffer.write(bytes(range(256)) * 300)", encoding="base64")
        self.assertEqual(bytes(range(256)) * 300, base64.b64decode(answer["stdout"]))

    def test_nul_and_control_bytes_do_not_break_the_answer(self):
        self.assertEqual("a\0b\x1b[31m\x7f\r\n", self.client.run(r"printf 'a\0b\033[31m\177\r\n'", language="bash")["stdout"])

    def test_output_above_8_MiB_is_cut_in_the_answer_and_says_so(self):
        answer = self.client.run("import sys; sys.stdout.write('x' * (20 << 20))")
        self.assertTrue(answer["stdout_truncated"])
        self.assertEqual(20 << 20, answer["stdout_bytes"])
        self.assertEqual(8 << 20, len(answer["stdout"]))
        self.assertEqual("exited", answer["status"])

    def test_output_above_the_cap_is_dropped_with_a_count_and_the_program_ends_well(self):
        answer = self.client.run("head -c 5M /dev/zero | tr '\\0' x; echo done >&2", language="bash", limits={"output_mb": 1})
        self.assertTrue(answer["stdout_truncated"])
        self.assertEqual(5 << 20, answer["stdout_bytes"])
        self.assertEqual(1 << 20, len(answer["stdout"]))
        self.assertEqual(("done\n", 0), (answer["stderr"], answer["exit_code"]))


class Streams(DaemonCase):
    def test_ndjson_events_come_as_they_happen_and_in_order(self):
        began = time.monotonic()
        arrivals, events = [], []
        code = "import time\nfor i in range(4):\n    print(i, flush=True)\n    time.sleep(0.4)"
        for event in self.client.events("/v1/run", {"language": "python", "code": code}):
            arrivals.append(time.monotonic() - began)
            events.append(event)
        self.assertEqual("start", events[0]["type"])
        self.assertEqual("exit", events[-1]["type"])
        output = [event for event in events if event["type"] == "stdout"]
        self.assertEqual("0\n1\n2\n3\n", "".join(event["data"] for event in output))
        at = 0
        for event in output:
            self.assertEqual(at, event["offset"])
            at += len(event["data"].encode())
        first = arrivals[events.index(output[0])]
        last = arrivals[events.index(output[-1])]
        self.assertGreater(last - first, 0.9, "output came in one piece at the end, not live")
        self.assertEqual(0, events[-1]["exit_code"])
        self.assert_usage(events[-1]["usage"])

    def test_sse_carries_the_same_events(self):
        response, connection = self.client.stream("POST", "/v1/run", {"language": "bash", "code": "echo a; echo b >&2; exit 3"},
                                                  {"Accept": "text/event-stream"})
        self.addCleanup(connection.close)
        self.assertEqual(200, response.status)
        self.assertTrue(response.getheader("Content-Type").startswith("text/event-stream"))
        blocks = [block for block in response.read().decode().split("\n\n") if block and not block.startswith(":")]
        events = []
        for block in blocks:
            name, data = block.split("\n", 1)
            event = json.loads(data.removeprefix("data: "))
            self.assertEqual("event: " + event["type"], name)
            events.append(event)
        self.assertEqual("start", events[0]["type"])
        self.assertEqual({"a\n"}, {event["data"] for event in events if event["type"] == "stdout"})
        self.assertEqual({"b\n"}, {event["data"] for event in events if event["type"] == "stderr"})
        self.assertEqual(("exit", 3), (events[-1]["type"], events[-1]["exit_code"]))

    def test_a_character_is_never_split_between_two_events(self):
        code = "import sys, time\nfor b in '🐢é漢'.encode() * 50:\n    sys.stdout.buffer.write(bytes([b])); sys.stdout.flush()"
        text = "".join(event["data"] for event in self.client.events("/v1/run", {"language": "python", "code": code})
                       if event["type"] == "stdout")
        self.assertEqual("🐢é漢" * 50, text)

    def test_a_refusal_before_the_stream_is_an_ordinary_error(self):
        answer = self.client.post("/v1/run", {"language": "cobol", "code": "x"}, headers={"Accept": "application/x-ndjson"})
        self.assert_error(answer, 400, "invalid_argument", "language")

    def test_truncation_is_an_event_of_its_own(self):
        events = list(self.client.events("/v1/run", {"language": "bash", "code": "head -c 3M /dev/zero | tr '\\0' x",
                                                     "limits": {"output_mb": 1}}))
        truncated = [event for event in events if event["type"] == "truncated"]
        self.assertEqual([("stdout", 2 << 20)], [(event["stream"], event["dropped"]) for event in truncated])
        self.assertEqual(1 << 20, sum(len(event["data"]) for event in events if event["type"] == "stdout"))

    def test_a_client_that_leaves_ends_its_run(self):
        response, connection = self.client.stream("POST", "/v1/run", {"language": "bash", "code": "echo up; sleep 600"},
                                                  {"Accept": "application/x-ndjson"})
        start = json.loads(response.readline())
        json.loads(response.readline())
        response.close()
        connection.close()
        end = time.monotonic() + 15
        while self.client.get(f"/v1/sandboxes/{start['sandbox_id']}").status == 200:
            self.assertLess(time.monotonic(), end, "the sandbox of a run whose client left is still there")
            time.sleep(0.05)  # polls


class Limits(DaemonCase):
    def test_a_timeout_ends_the_run_and_says_how_to_cure_it(self):
        began = time.monotonic()
        answer = self.client.run("import time\nprint('up', flush=True)\ntime.sleep(600)", timeout_ms=1000)
        self.assertEqual("timed_out", answer["status"])
        self.assertEqual("up\n", answer["stdout"])
        self.assertIn("timeout_ms", answer["error"]["message"])
        self.assertIn("1000", answer["error"]["message"])
        self.assertLess(time.monotonic() - began, 10)

    def test_a_program_that_ignores_SIGTERM_is_killed_at_the_timeout(self):
        answer = self.client.run("trap '' TERM; while :; do sleep 1; done", language="bash", timeout_ms=500)
        self.assertEqual("timed_out", answer["status"])
        self.assertNotEqual(0, answer["exit_code"])

    def test_out_of_memory_is_told_apart_and_names_the_limit(self):
        answer = self.client.run("a = bytearray(300 << 20)\nprint(len(a))", limits={"memory_mb": 64})
        self.assertEqual("oom_killed", answer["status"], answer)
        self.assertIn("limits.memory_mb", answer["error"]["message"])
        self.assertIn("64", answer["error"]["message"])
        self.assertLessEqual(answer["usage"]["memory_peak_bytes"], 70 << 20)

    def test_memory_within_the_limit_is_there(self):
        answer = self.client.run("a = bytearray(150 << 20)\nprint(len(a))", limits={"memory_mb": 256})
        self.assertEqual(f"{150 << 20}\n", answer["stdout"], answer)


class AtOnce(DaemonCase):
    def test_thirty_runs_at_once_each_get_their_own_answer(self):
        answers, errors = {}, []

        def one(number):
            try:
                answers[number] = self.daemon.client.run(f"print({number})", limits={"memory_mb": 64})["stdout"]
            except Exception as error:  # noqa: BLE001  a thread's failure is the test's
                errors.append(error)
        numbers = random.sample(range(10_000), 30)
        threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        self.assertEqual({number: f"{number}\n" for number in numbers}, answers)


if __name__ == "__main__":
    unittest.main()
