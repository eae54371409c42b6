"""Class G: the daemon's own faults. Whatever is taken from it, killed or broken, nothing half-made is left, nothing else is
lost, and it says what is wrong."""
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import host
from case import LONG
from inmate import Inmate
from sandboxd_daemon import Daemon, Died
from test_daemon import CONFIG

STEPS = 40 if LONG else 8          # moments of a create at which a process is killed
RESTARTS = 100 if LONG else 5
SMALL = {"memory_mb": 64, "disk_mb": 32}


def limit_descriptors(pid, soft):
    """The soft limit of a process that runs under an id of its own, set by one of that id: root of a container may have no right to."""
    uid, gid = (re.search(rf"^{name}:\t(\d+)", host.read_proc(pid, "status"), re.MULTILINE).group(1) for name in ("Uid", "Gid"))
    code = (f"import os, resource; os.setgroups([]); os.setgid({gid}); os.setuid({uid})\n"
            f"hard = resource.prlimit({pid}, resource.RLIMIT_NOFILE)[1]; resource.prlimit({pid}, resource.RLIMIT_NOFILE, (min({soft}, hard), hard))")
    subprocess.run([sys.executable, "-c", code], check=True)


class Faults(unittest.TestCase):
    attack_class = "G"

    def setUp(self):
        self.daemon = self.start(config=CONFIG)

    def start(self, **more):
        daemon = Daemon(name="fault", **more)
        self.addCleanup(daemon.destroy)
        if more.get("config"):
            daemon._key = "test"
        return daemon.start()

    @property
    def client(self):
        return self.daemon.client

    def try_create(self):
        """The answer, or None when the daemon went away meanwhile."""
        client = self.client
        try:
            return client.request("POST", "/v1/sandboxes", json={"limits": SMALL}, timeout=40)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            client.forget_connection()

    def half_made(self):
        """What is there of sandboxes that the API does not name, by kind."""
        listed = {item["id"] for item in self.client.expect(200, "GET", "/v1/sandboxes?limit=1000").json["sandboxes"]}
        state = self.daemon.state_dir
        found = {
            "records": {name.split(".")[0] for name in host.read_folder(state / "sandboxes")},
            "agents": set(host.read_folder(state / "agents")),
            "disks": {name for name in host.read_folder(state / "pool") if name.startswith("s0")},
            "groups": {path.split(self.daemon.find_group() + "/")[1].split("/")[0] for path in host.cgroups(self.daemon.find_group())
                       if self.daemon.group + "/s0" in path},
        }
        left = [f"{kind}: {name}" for kind, names in found.items() for name in sorted(names - listed)]
        if len(self.daemon.jail_pids()) != len(listed):
            left.append(f"{len(self.daemon.jail_pids())} jails for {len(listed)} sandboxes")
        return left

    def assert_whole(self, seconds=30):
        """Nothing half-made; what the API names works and can be deleted; a new sandbox can be made."""
        self.client.forget_connection()
        try:
            host.wait_until(lambda: not self.half_made(), seconds, "nothing half-made is left")
        except TimeoutError:
            self.fail("half-made: " + "; ".join(self.half_made()))
        box = self.client.create(limits=SMALL)
        self.assertEqual("new\n", box.exec("echo new")["stdout"])
        self.assertEqual(204, box.delete().status)

    def delete_all(self):
        for item in self.client.expect(200, "GET", "/v1/sandboxes?limit=1000").json["sandboxes"]:
            self.assertEqual(204, self.client.request("DELETE", f"/v1/sandboxes/{item['id']}").status)
        host.wait_until(lambda: not self.daemon.jail_pids(), 30, "no jail is left")

    # ---- killed at every moment of a create -------------------------------------------------------------

    def kill_during_creates(self, kill):
        keeper = self.client.create(limits=SMALL)
        counter = keeper.start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
        self.daemon.find_group()
        began = time.monotonic()
        self.try_create()
        length = time.monotonic() - began
        for step in range(STEPS):
            with self.subTest(step=step):
                worker = threading.Thread(target=self.try_create)
                worker.start()
                time.sleep(length * step / (STEPS - 1))  # the moment at which it is killed
                kill()
                worker.join(60)
                self.daemon.wait_ready()
                self.assertEqual("running", keeper.exec_info(counter)["status"])
        self.assert_whole()
        self.assertEqual("alive\n", keeper.exec("echo alive")["stdout"])
        self.delete_all()
        self.assert_whole()

    def test_kill_9_of_the_monitor_at_moments_of_create_leaves_nothing_half_made(self):
        def kill():
            self.daemon.kill_monitor()
            self.daemon.start()
        self.kill_during_creates(kill)

    def test_kill_9_of_the_api_at_moments_of_create_leaves_nothing_half_made(self):
        self.kill_during_creates(self.daemon.kill_api)

    def test_kill_9_of_the_jails_pid_1_at_moments_of_create_is_a_refusal_or_a_lost_sandbox(self):
        def kill():
            for pid in host.descendants(self.daemon.process.pid):
                # A child of the monitor that is not the API and no adopted keeper: the jail that is being made.
                if pid not in keep and pid != self.daemon.api_pid() and host.parent(pid) == self.daemon.process.pid:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
        keep = set()
        began = time.monotonic()
        self.try_create()
        length = time.monotonic() - began
        keep.update(self.daemon.jail_pids())
        for step in range(STEPS):
            worker = threading.Thread(target=self.try_create)
            worker.start()
            time.sleep(length * step / (STEPS - 1))
            kill()
            worker.join(60)
        self.assertTrue(self.daemon.alive())
        self.assert_whole()

    # ---- things that run out ----------------------------------------------------------------------------

    def test_descriptors_that_run_out_at_any_step_of_create_leave_nothing_half_made(self):
        """EMFILE: one descriptor more each time, so that each time another step is the one that fails"""
        box = self.client.create(limits=SMALL)  # its group's name is needed below
        self.daemon.find_group()
        monitor = self.daemon.process.pid
        whole = resource.prlimit(monitor, resource.RLIMIT_NOFILE)
        codes = []
        for more in range(0, 45, 1 if LONG else 3):
            resource.prlimit(monitor, resource.RLIMIT_NOFILE, (host.fd_count(monitor) + more, whole[1]))
            answer = self.try_create()
            resource.prlimit(monitor, resource.RLIMIT_NOFILE, whole)
            self.assertTrue(self.daemon.alive(), self.daemon.log_tail())
            codes.append(answer.status if answer else 0)
            if answer is not None and answer.status != 201:
                self.assertIn("error", answer.json)
        self.assertGreater(len([code for code in codes if code != 201]), 3, f"the control: creates failed for it: {codes}")
        self.assert_whole()
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_descriptors_of_the_api_that_run_out_end_no_program(self):
        """what can't take a sandbox's descriptors from the monitor gives up and is started anew; programs go on"""
        box = self.client.create(limits=SMALL)
        counter = box.start("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
        whole = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE)[1]
        codes = []
        for more in range(0, 40, 1 if LONG else 8):
            host.wait_until(lambda: self.daemon.status_of("/readyz") == 200, 30, "it serves")
            api = self.daemon.api_pid()
            limit_descriptors(api, host.fd_count(api) + more)
            for path, body in (("/v1/sandboxes", {"limits": SMALL}), (f"{box.path}/exec", {"argv": ["true"]})):
                client = self.client
                try:
                    codes.append(client.request("POST", path, json=body, timeout=5).status)
                except (OSError, http.client.HTTPException):
                    codes.append(0)
                client.forget_connection()
            if self.daemon.api_pid() == api:
                limit_descriptors(api, whole)
        self.daemon.wait_ready()
        self.assertEqual("running", box.exec_info(counter)["status"])
        self.assertTrue([code for code in codes if code not in (200, 201)], "the control: some failed for it")
        self.assert_whole()
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_processes_that_run_out_at_create_are_a_refusal(self):
        box = self.client.create(limits=SMALL)
        group = self.daemon.find_group()
        limits = [pathlib.Path(path, "pids.max") for path in host.cgroups(group) if path.rpartition("/")[2] == group and pathlib.Path(path, "pids.max").exists()]
        if not limits:
            self.skipTest("this machine has no pids controller where the daemon's group is")
        limits[0].write_text("1")
        try:
            answer = self.try_create()
            self.assertNotEqual(201, answer.status, "the control: no process can be made")
            self.assertIn("error", answer.json)
        finally:
            limits[0].write_text("max")
        self.assert_whole()
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_folders_that_refuse_a_file_at_create_leave_nothing_half_made(self):
        box = self.client.create(limits=SMALL)
        for name in ("sandboxes", "agents"):
            folder = self.daemon.state_dir / name
            if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode != 0:
                self.skipTest("this file system has no immutable folders")
            try:
                answer = self.try_create()
                self.assertNotEqual(201, answer.status, f"the control: {name} takes no file")
                self.assertIn("error", answer.json)
            finally:
                subprocess.run(["chattr", "-i", str(folder)], check=True)
            self.assert_whole()
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_a_full_disk_is_a_refusal_by_name_and_over_when_there_is_room_again(self):
        place = tempfile.mkdtemp(prefix="sbx-full-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200m", "tmpfs", place], check=True)
        self.addCleanup(subprocess.run, ["umount", place], check=False)
        before, tempfile.tempdir = tempfile.tempdir, place
        try:
            daemon = Daemon(config=CONFIG, name="full")
        finally:
            tempfile.tempdir = before
        self.addCleanup(daemon.destroy)
        daemon._key = "test"
        self.daemon = daemon.start()
        box = self.client.create(limits=SMALL)
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])
        with open(pathlib.Path(place, "fill"), "wb") as fill:
            try:
                while True:
                    fill.write(bytes(1 << 20))
                    fill.flush()
            except OSError:
                pass
        answer = self.try_create()
        self.assertIsNotNone(answer)
        self.assertEqual(507, answer.status, answer)
        self.assertEqual("disk_full", answer.json["error"]["code"])
        self.assertEqual(200, daemon.status_of("/healthz"))
        # Output that can't be stored makes its program wait: begun while the disk is full, it ends when there is room.
        waiting = threading.Thread(target=lambda: said.append(daemon.client.post(f"{box.path}/exec", {"shell": "echo x"}, timeout=60).json["stdout"]))
        said = []
        waiting.start()
        self.assertEqual(200, self.client.get(box.path).status)
        os.unlink(pathlib.Path(place, "fill"))
        waiting.join(60)
        self.assertEqual(["x\n"], said)
        answer = self.try_create()
        if answer.status != 201:
            # The pool's file system made itself read-only, because what it lies on refused a write: over with a restart.
            self.assertIn("Read-only file system", answer.json["error"]["message"])
            self.assertEqual(0, daemon.stop())
            daemon.start()
            self.assertEqual(201, self.try_create().status, daemon.log_tail(10))
        self.delete_all()
        self.assertEqual(0, daemon.stop())

    # ---- state that is not what it was ------------------------------------------------------------------

    def damaged(self, damage):
        """A daemon killed with two sandboxes, what `damage` does, started again. Returns (victim, other)."""
        victim, other = self.client.create(limits=SMALL), self.client.create(limits=SMALL)
        other.put("kept", b"kept")
        self.daemon.find_group()
        self.daemon.kill_monitor()
        host.wait_until(lambda: not self.daemon.api_pid(), 20, "the API has gone too")
        damage(self.daemon.state_dir, victim)
        self.daemon.start()
        return victim, other

    def assert_only_the_victim_is_lost(self, victim, other):
        self.assertEqual(b"kept", other.read("kept"))
        self.assertEqual("alive\n", other.exec("echo alive")["stdout"])
        if self.client.get(victim.path).status == 200:
            answer = self.client.post(f"{victim.path}/exec", {"shell": "echo alive"})
            self.assertIn(answer.status, (200, 404, 409, 410, 503), answer)
            self.assertEqual(204, victim.delete().status)
        self.assert_whole()

    def test_a_state_file_of_one_sandbox_that_is_damaged_costs_at_most_that_one(self):
        whole = None
        for name, damage in {
            "empty": lambda text: b"", "cut": lambda text: text[:len(text) // 2], "garbage": lambda text: os.urandom(200), "NULs": lambda text: bytes(len(text)),
            "other JSON": lambda text: b"[1, {\"id\": 5}]", "deep": lambda text: b"[" * 100000, "large": lambda text: text + b" " * (8 << 20),
            "a foreign id": lambda text: text.replace(b'"id":"s', b'"id":"../../s'), "negative": lambda text: text.replace(b'"pid":', b'"pid":-'),
            "pid 1": lambda text: json.dumps({**json.loads(text), "pid": 1}).encode(),
            "ids of the host": lambda text: json.dumps({**json.loads(text), "base": 0}).encode(),
        }.items():
            with self.subTest(damage=name):
                def apply(state, victim, damage=damage):
                    path = state / "sandboxes" / f"{victim.id}.json"
                    path.write_bytes(damage(path.read_bytes()))
                victim, other = self.damaged(apply)
                self.assert_only_the_victim_is_lost(victim, other)
                self.delete_all()
                whole = name
        self.assertEqual("ids of the host", whole)

    def test_two_records_of_one_sandboxs_ids_give_them_to_one(self):
        def apply(state, victim):
            text = (state / "sandboxes" / f"{victim.id}.json").read_text()
            twin = "s" + "1" * (len(victim.id) - 1)
            (state / "sandboxes" / f"{twin}.json").write_text(text.replace(victim.id, twin))
        victim, other = self.damaged(apply)
        self.assert_only_the_victim_is_lost(victim, other)

    def test_an_agents_socket_that_is_gone_costs_at_most_that_sandbox(self):
        victim, other = self.damaged(lambda state, victim: (state / "agents" / victim.id).unlink())
        self.assert_only_the_victim_is_lost(victim, other)

    def test_strange_files_among_the_state_are_no_reason_not_to_start(self):
        def apply(state, victim):
            for name in ("README", ".hidden", "x" * 200 + ".json", "s0.json", "..json", "-rf.json", "new\nline.json"):
                (state / "sandboxes" / name).write_text("?")
            os.mkfifo(state / "sandboxes" / "fifo.json")
            (state / "sandboxes" / "folder.json").mkdir()
            (state / "sandboxes" / "link.json").symlink_to("/etc/passwd")
        victim, other = self.damaged(apply)
        self.assertEqual("alive\n", victim.exec("echo alive")["stdout"])
        self.assertEqual(b"kept", other.read("kept"))
        self.assertTrue(pathlib.Path("/etc/passwd").read_text(), "the link's target is the host's")

    def test_a_spool_that_is_gone_loses_output_and_nothing_else(self):
        def apply(state, victim):
            shutil.rmtree(state / "api" / "spool" / victim.id, ignore_errors=True)
        victim, other = self.damaged(apply)
        self.assertEqual("alive\n", victim.exec("echo alive")["stdout"])
        self.assert_only_the_victim_is_lost(victim, other)

    def test_a_damaged_database_is_an_error_that_names_it_and_ends_no_jail(self):
        for name, damage in {"garbage": lambda path: path.write_bytes(os.urandom(1 << 16)), "cut": lambda path: os.truncate(path, 5000)}.items():
            with self.subTest(damage=name):
                daemon = self.start(config=CONFIG)
                box = daemon.client.create(limits=SMALL)
                daemon.find_group()
                jails = set(daemon.jail_pids())
                self.assertEqual(0, daemon.stop())
                for more in ("-wal", "-shm"):
                    (daemon.state_dir / "api" / f"state.db{more}").unlink(missing_ok=True)
                damage(daemon.state_dir / "api" / "state.db")
                daemon.start(wait=False)
                try:
                    daemon.wait_ready(8)
                    # It may also have put it aside and begun anew; then it says so.
                    self.assertIn("state.db", daemon.log_tail(200))
                except Died:
                    self.assertRegex(daemon.log_tail(200), "state.db|database|malformed|not a database")
                self.assertTrue(box.id)
                if daemon.status_of("/readyz") != 200:
                    self.assertLessEqual(jails, set(daemon.jail_pids()) | jails)
                daemon.destroy()

    def test_a_database_that_somebody_else_holds_is_waited_for_or_named(self):
        box = self.client.create(limits=SMALL)
        path = self.daemon.state_dir / "api" / "state.db"
        connection = sqlite3.connect(path, timeout=1)
        try:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self.skipTest("the daemon holds its database alone: nobody else can take it")
            began = time.monotonic()
            answer = self.client.request("POST", f"{box.path}/exec", json={"shell": "echo x"}, timeout=30)
            self.assertIn(answer.status, (200, 500, 503, 504), answer)
            self.assertLess(time.monotonic() - began, 25)
        finally:
            connection.rollback()
            connection.close()
        self.assertEqual("x\n", box.exec("echo x")["stdout"])

    # ---- objects removed underneath ---------------------------------------------------------------------

    def test_a_disk_that_is_emptied_underneath_ends_nothing_else(self):
        victim, other = self.client.create(limits=SMALL), self.client.create(limits=SMALL)
        shutil.rmtree(self.daemon.state_dir / "pool" / victim.id / "u", ignore_errors=True)
        self.client.request("POST", f"{victim.path}/exec", json={"shell": "ls"}, timeout=20)
        self.assertEqual(204, victim.delete().status)
        self.assertEqual("alive\n", other.exec("echo alive")["stdout"])
        self.assert_whole()

    def test_a_sandbox_killed_from_outside_is_lost_and_removed(self):
        victim, other = self.client.create(limits=SMALL), self.client.create(limits=SMALL)
        inmate = Inmate(self.daemon, victim)
        for pid in inmate.pids:
            os.kill(pid, signal.SIGKILL)
        host.wait_until(lambda: self.client.get(victim.path).status in (404, 410) or self.client.get(victim.path).json.get("state") != "running", 20, "it is lost")
        inmate.assert_gone(20)
        self.assertEqual("alive\n", other.exec("echo alive")["stdout"])
        self.assert_whole()

    def test_limits_removed_from_outside_do_not_stop_a_delete(self):
        victim = self.client.create(limits=SMALL)
        inmate = Inmate(self.daemon, victim)
        for path in sorted(host.cgroups(victim.id), key=len, reverse=True):
            try:
                os.rmdir(path)  # whatever is empty
            except OSError:
                continue
        self.assertEqual(204, victim.delete().status)
        inmate.assert_gone(20)
        self.assert_whole()

    # ---- clients that mean ill --------------------------------------------------------------------------

    def test_clients_that_send_nothing_or_little_keep_nobody_else_out(self):
        connections = []
        try:
            for number in range(300):
                connection = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10)
                connection.sendall([b"", b"GET / HTTP/1.1\r\n", b"POST /v1/run HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{", b"\x16\x03\x01"][number % 4])
                connections.append(connection)
            began = time.monotonic()
            answer = self.client.run("print(1)", limits={"memory_mb": 64})
            self.assertEqual("1\n", answer["stdout"])
            self.assertLess(time.monotonic() - began, 8)
        finally:
            for connection in connections:
                connection.close()

    def test_readers_that_do_not_read_take_no_memory_of_the_daemon(self):
        box = self.client.create(limits={**SMALL, "output_mb": 16})
        exec_id = box.start("head -c 16M /dev/zero")
        host.wait_until(lambda: box.exec_info(exec_id)["status"] != "running", 20, "it is written")
        before = host.resident_kib(self.daemon.api_pid())
        streams = [self.client.stream("GET", f"{box.path}/exec/{exec_id}/output?stream=stdout&follow=true") for _ in range(60)]
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])
        self.assertLess(host.resident_kib(self.daemon.api_pid()) - before, 48 * 1024)
        for response, connection in streams:
            response.close()
            connection.close()

    # ---- again and again --------------------------------------------------------------------------------

    def test_restarts_lose_no_sandbox_and_leave_nothing_behind(self):
        boxes = [self.client.create(limits=SMALL) for _ in range(3)]
        for number in range(RESTARTS):
            with self.subTest(restart=number):
                if number % 2 == 0:
                    self.daemon.kill_monitor()
                else:
                    self.assertEqual(0, self.daemon.stop(), self.daemon.log_tail())
                self.daemon.start()
                for box in boxes:
                    self.assertEqual(f"{number}\n", box.exec(f"echo {number}")["stdout"])
        self.assertEqual(1, len(host.loops(self.daemon.folder)))
        self.delete_all()
        self.assert_whole()

    def test_two_daemons_that_create_at_the_same_time_share_no_id(self):
        second = self.start(config=CONFIG)
        bases, lock = [], threading.Lock()

        def many(daemon):
            for _ in range(6):
                box = daemon.client.create(limits=SMALL)
                with lock:
                    bases.append(Inmate(daemon, box).ids.start)
        threads = [threading.Thread(target=many, args=(daemon,)) for daemon in (self.daemon, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(12, len(set(bases)), bases)
        self.delete_all()
        self.assert_whole()


if __name__ == "__main__":
    unittest.main()
