"""The daemon as a program: start, stop, configuration, several on one machine."""
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

import host
from case import daemon as shared_daemon
from client import Client
from sandboxd_daemon import Daemon, bin_dir, free_port

KEY_HASH_OF_TEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of "test"
CONFIG = f'''
listen = "127.0.0.1:{{port}}"
state_dir = "{{state_dir}}"
[[tenants]]
id = "acme"
admin = true
key_hashes = ["{KEY_HASH_OF_TEST}"]
'''


def sandboxd(*arguments):
    return subprocess.run([str(bin_dir() / "sandboxd"), *arguments], capture_output=True, text=True, timeout=30, check=False)


class Programs(unittest.TestCase):
    def test_all_programs_say_their_version(self):
        for name in ("sandboxd", "sandboxd-api", "sandbox-init", "sandbox-probe", "sandbox-sudo", "sandboxctl"):
            with self.subTest(name=name):
                answer = subprocess.run([str(bin_dir() / name), "--version"], capture_output=True, text=True, timeout=20, check=False)
                self.assertEqual(0, answer.returncode, answer.stderr)
                self.assertRegex(answer.stdout + answer.stderr, r"\d+\.\d+\.\d+")

    def test_what_runs_in_jails_is_static_and_small(self):
        for name in ("sandbox-init", "sandbox-sudo"):
            path = bin_dir() / name
            self.assertLessEqual(path.stat().st_size, 1 << 20)
            headers = subprocess.run(["readelf", "-l", str(path)], capture_output=True, text=True, check=True).stdout
            self.assertNotIn("INTERP", headers)

    def test_the_steps_of_making_a_jail_can_be_read_each_with_its_reason(self):
        for name, first in (("sandboxd", "intent"), ("sandbox-init", "receive_plan")):
            answer = subprocess.run([str(bin_dir() / name), "--print-stages"], capture_output=True, text=True, timeout=20, check=True)
            lines = answer.stdout.splitlines()
            self.assertTrue(lines[0].startswith(first), lines[0])
            for line in lines:
                self.assertRegex(line, r"^[a-z_]+ +\S.{20,}$")


class Configuration(unittest.TestCase):
    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            return sandboxd("--config", file.name, "--check-config"), file.name

    def test_the_shipped_example_is_valid(self):
        example = pathlib.Path(__file__).resolve().parents[2] / "packaging/config.toml"
        answer = sandboxd("--config", str(example), "--check-config")
        self.assertEqual(0, answer.returncode, answer.stderr)

    def test_bad_configurations_are_refused_with_file_line_and_key(self):
        for text, words in (("listne = 'x'\n", ["1", "listne"]), ("\nlisten = 5\n", ["2", "listen"]),
                            ("on_stop = 'maybe'\n", ["on_stop", "keep"]), ("sandboxes_max = 0\n", ["sandboxes_max"]),
                            ("[[tenants]]\nid = 'A B'\n", ["tenant"]), ("[[tenants]]\nid='a'\nkey_hashes=['x']\n", ["key_hashes", "SHA-256"]),
                            ("[[tenants]]\nid='a'\n[[tenants]]\nid='a'\n", ["twice"]), ("state_dir = 'relative'\n", ["state_dir"]),
                            ("tls_key = '/x'\n", ["tls"]), ("this is no toml", ["1"])):
            with self.subTest(text=text):
                answer, name = self.check(text)
                self.assertNotEqual(0, answer.returncode)
                for word in [name, *words]:
                    self.assertIn(word, answer.stderr)

    def test_neither_dev_nor_config_is_a_usage_error(self):
        answer = sandboxd()
        self.assertNotEqual(0, answer.returncode)
        self.assertIn("--dev", answer.stderr)

    def test_a_configuration_that_is_not_there_names_the_file(self):
        answer = sandboxd("--config", "/nowhere/x.toml")
        self.assertNotEqual(0, answer.returncode)
        self.assertIn("/nowhere/x.toml", answer.stderr)


class Life(unittest.TestCase):
    def daemon(self, **more):
        made = Daemon(**more)
        self.addCleanup(made.destroy)
        return made

    def test_the_dev_key_is_private_and_stays_over_restarts(self):
        daemon = self.daemon().start()
        path = daemon.state_dir / "dev.key"
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertRegex(path.read_text().strip(), r"^sbx_[\w-]{43}$")
        key = daemon.key
        self.assertEqual(0, daemon.stop())
        daemon.start()
        self.assertEqual(key, path.read_text().strip())
        self.assertEqual(200, daemon.client.get("/v1/sandboxes").status)

    def test_SIGTERM_ends_sandboxes_of_a_dev_daemon_exits_0_and_leaves_nothing(self):
        daemon = self.daemon().start()
        for _ in range(3):
            box = daemon.client.create(limits={"memory_mb": 64})
            box.start("sleep 600 & sleep 600")
            box.put("f", b"x" * 100_000)
        daemon.find_group()
        self.assertIsNotNone(daemon.group)
        self.assertEqual(0, daemon.stop(), daemon.log_tail())
        daemon.assert_nothing_left()

    def test_SIGTERM_lets_running_work_finish(self):
        daemon = self.daemon().start()
        response, connection = daemon.client.stream("POST", "/v1/run", {"language": "bash", "code": "echo up; sleep 2; echo done"},
                                                    {"Accept": "application/x-ndjson"})
        response.readline()
        response.readline()
        daemon.find_group()
        daemon.process.send_signal(signal.SIGTERM)
        rest = response.read().decode()
        connection.close()
        self.assertIn("done", rest)
        self.assertIn('"exit"', rest)
        self.assertEqual(0, daemon.process.wait(30))
        daemon.assert_nothing_left()

    def test_a_production_daemon_keeps_its_sandboxes_over_a_restart(self):
        daemon = self.daemon(config=CONFIG)
        daemon._key = "test"
        daemon.start()
        box = daemon.client.create()
        exec_id = box.start("for i in $(seq 100); do echo $i; sleep 0.1; done")
        host.wait_until(lambda: box.output(exec_id), 10, "it counts")
        jails = daemon.jail_pids()
        self.assertEqual(1, len(jails))
        self.assertEqual(0, daemon.stop(), daemon.log_tail())
        daemon.start()
        self.assertEqual(jails, daemon.jail_pids())
        before = len(box.output(exec_id))
        host.wait_until(lambda: len(box.output(exec_id)) > before, 10, "it counts on")
        self.assertEqual("".join(f"{n}\n" for n in range(1, 101)).encode(), box.output(exec_id, follow=True))
        self.assertEqual(204, box.delete().status)
        daemon.stop()
        # The pool stays mounted for sandboxes that may live; none does, so nothing of them is left.
        self.assertEqual([], host.processes_in(daemon.group))

    def test_two_daemons_work_side_by_side_and_know_only_their_own(self):
        first, second = self.daemon().start(), self.daemon().start()
        box = first.client.create()
        self.assertEqual(401, Client(second.port, first.key).get("/v1/sandboxes").status)
        self.assertIn(second.client.get(box.path).status, (404, 410))
        self.assertEqual("1\n", second.client.run("print(1)")["stdout"])
        self.assertEqual(0, second.stop())
        second.assert_nothing_left()
        self.assertEqual("on\n", box.exec("echo on")["stdout"])

    def test_a_second_daemon_on_the_same_state_is_refused(self):
        daemon = self.daemon().start()
        answer = sandboxd("--dev", "--listen", f"127.0.0.1:{free_port()}", "--state-dir", str(daemon.state_dir))
        self.assertNotEqual(0, answer.returncode)
        self.assertIn(str(daemon.state_dir), answer.stderr)
        self.assertEqual("1\n", daemon.client.run("print(1)")["stdout"])

    def test_a_port_in_use_is_refused_by_its_number(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            daemon = self.daemon()
            daemon.port = taken.getsockname()[1]
            daemon.start(wait=False)
            self.assertNotEqual(0, daemon.process.wait(30))
            self.assertIn(str(daemon.port), daemon.log_tail())
            daemon.assert_nothing_left()

    def test_privileges_are_where_they_belong(self):
        daemon = shared_daemon()
        api = daemon.api_pid()
        status = host.read_proc(api, "status")
        self.assertRegex(status, r"(?m)^Uid:\s+[1-9]")
        for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            self.assertRegex(status, rf"(?m)^{name}:\s+0+$")
        self.assertRegex(status, r"(?m)^NoNewPrivs:\s+1$")
        self.assertRegex(status, r"(?m)^Seccomp:\s+2$")

    def test_state_that_another_user_of_the_api_wrote_is_taken_over(self):
        """E.g. of the days before the user `sandboxd` was made."""
        daemon = self.daemon()
        daemon.start()
        sandbox = daemon.client.create()
        sandbox.delete()
        daemon.stop()
        api = daemon.state_dir / "api"
        mine = (api / "state.db").stat().st_uid
        bystander = daemon.folder / "bystander"
        (bystander / "below").mkdir(parents=True)
        (api / "spool" / "trap").symlink_to(bystander)  # what a process that was taken over could leave
        for path in (*api.rglob("*"), api):
            os.lchown(path, mine + 1000, mine + 1000)
        daemon.start()
        self.assertEqual({mine}, {path.lstat().st_uid for path in (*api.rglob("*"), api)})
        self.assertEqual({0}, {path.stat().st_uid for path in (bystander, bystander / "below")})
        self.assertEqual("ok\n", daemon.client.create().exec("echo ok")["stdout"])

    def test_the_state_folder_is_closed_to_others(self):
        daemon = shared_daemon()
        for name in ("pool", "sandboxes", "agents", "templates"):
            path = daemon.state_dir / name
            if path.exists():
                self.assertEqual(0, stat.S_IMODE(path.stat().st_mode) & 0o077, path)

    def test_the_unix_socket_knows_root_without_a_key(self):
        daemon = shared_daemon()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(daemon.state_dir / "sandboxd.sock"))
            connection.sendall(b"GET /v1/sandboxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 200 ", connection.makefile("rb").readline())

    def test_idle_memory_of_both_processes_is_small(self):
        if "build/dev" in str(bin_dir()):
            self.skipTest("measured on the release build")
        daemon = self.daemon().start()
        self.assertLessEqual(host.resident_kib(daemon.process.pid) + host.resident_kib(daemon.api_pid()), 40 * 1024)

    def test_log_lines_are_json(self):
        lines = [line for line in shared_daemon().log_path.read_text(errors="replace").splitlines() if line.strip()]
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^\{.*\}$")


class Adoption(unittest.TestCase):
    def test_state_that_is_damaged_is_reported_and_kept_aside_not_trusted(self):
        daemon = Daemon(config=CONFIG)
        self.addCleanup(daemon.destroy)
        daemon._key = "test"
        daemon.start()
        box = daemon.client.create()
        daemon.kill_monitor()
        records = [path for path in (daemon.state_dir / "sandboxes").rglob("*") if path.is_file()]
        self.assertTrue(records, "no state file of a living sandbox")
        for path in records:
            path.write_bytes(b"\0garbage")
        daemon.start()
        self.assertIn(daemon.client.get(box.path).status, (200, 404, 410))
        self.assertEqual("1\n", daemon.client.run("print(1)")["stdout"])
        if daemon.client.get(box.path).status != 200:
            host.wait_until(lambda: not daemon.jail_pids(), 30, "a jail that nobody knows is removed")

    def test_a_jail_that_died_while_the_daemon_was_down_is_gone_afterwards(self):
        daemon = Daemon(config=CONFIG)
        self.addCleanup(daemon.destroy)
        daemon._key = "test"
        daemon.start()
        box = daemon.client.create()
        pid = daemon.jail_pids()[0]
        daemon.kill_monitor()
        os.kill(pid, signal.SIGKILL)
        daemon.start()
        self.assertIn(daemon.client.get(box.path).status, (404, 410))
        host.wait_until(lambda: not re.findall(box.id, "\n".join(host.cgroups(daemon.group))), 20, "its cgroup is removed")


if __name__ == "__main__":
    unittest.main()
