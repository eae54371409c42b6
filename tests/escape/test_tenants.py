"""Classes E and F: two sandboxes know nothing of each other or of the host; lifecycles that an attacker bends."""
import signal
import unittest

import host
from attack import AttackCase, daemon, outside


class Neighbours(AttackCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = daemon().client.create(limits={"memory_mb": 128})
        cls.addClassCleanup(cls.other.delete)
        cls.install(cls.other)

    def test_processes_of_a_neighbour_are_invisible(self):
        self.other.start("exec -a neighbour-marker sleep 600")
        self.assertNotIn("neighbour-marker", self.jail.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")["stdout"])

    def test_shared_memory_message_queues_and_semaphores_are_apart(self):
        make = "python3 -c \"from multiprocessing import shared_memory as s; s.SharedMemory('marker', True, 64); import time; time.sleep(600)\""
        exec_id = self.other.start(make)
        host.wait_until(lambda: "marker" in self.other.exec("ls /dev/shm")["stdout"], 10, "it is made")
        self.assertNotIn("marker", self.jail.exec("ls /dev/shm /dev/mqueue 2>/dev/null; true")["stdout"])
        self.other.client.expect(200, "DELETE", f"{self.other.path}/exec/{exec_id}?signal=KILL")

    def test_abstract_sockets_of_the_host_and_of_a_neighbour_are_out_of_reach(self):
        self.other.start("python3 -c \"import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('\\0neighbour'); s.listen(); print(1, flush=True); time.sleep(600)\"")
        host.wait_until(lambda: self.inside("connect_abstract neighbour", box=self.other) == "ok", 10, "the control: it listens")
        self.assertEqual("ECONNREFUSED", self.inside("connect_abstract neighbour"))
        self.assertEqual("ECONNREFUSED", self.inside("connect_abstract " + self.oracle.abstract_name))

    def test_tcp_of_the_host_is_out_of_reach_at_every_address(self):
        self.assertEqual("ok", outside(f"connect_tcp 127.0.0.1 {self.oracle.port}"), "the control")
        self.oracle.listener.accept()[0].close()
        for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.0.1", "172.17.0.1"):
            with self.subTest(address=address):
                self.assertIn(self.inside(f"connect_tcp {address} {self.oracle.port}"), ("ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH"))
        self.assertIn(self.inside(f"connect_tcp 127.0.0.1 {self.daemon.port}"), ("ECONNREFUSED", "ENETUNREACH"))

    def test_files_written_by_one_are_in_nobody_elses_disk(self):
        marker = self.oracle.secret
        self.other.exec(f"echo {marker} > /tmp/marker; echo {marker} > ~/marker; sync")
        self.assertEqual("", self.jail.exec("ls /tmp/marker ~/marker 2>/dev/null; true")["stdout"])
        self.other.exec("rm /tmp/marker ~/marker")
        fresh = self.box()
        self.assertEqual("", fresh.exec(f"grep -r {marker} /home /tmp /var /root /opt 2>/dev/null | head -1")["stdout"])

    def test_the_host_is_not_named(self):
        text = self.jail.exec("hostname; cat /etc/hostname /etc/machine-id /etc/hosts /var/lib/dbus/machine-id 2>/dev/null; true")["stdout"]
        self.assertNotIn(self.oracle.hostname, text.split())
        with open("/etc/machine-id", encoding="utf-8") as file:
            machine = file.read().strip()
        if machine:
            self.assertNotIn(machine, text)

    def test_secrets_of_the_host_are_not_in_the_template(self):
        names = self.jail.exec("ls /etc/shadow /etc/gshadow /etc/ssh/ssh_host* /etc/ssl/private/* /root/.ssh /etc/sudoers /etc/sandboxd 2>/dev/null; true",
                               user="root")["stdout"]
        self.assertEqual("", names)

    def test_only_loopback_is_there(self):
        self.assertEqual("lo\n", self.jail.exec("tail -n +3 /proc/net/dev | sed 's/:.*//; s/ //g'")["stdout"])

    def test_shared_system_files_can_not_be_changed_by_anybody_inside(self):
        for user in ("user", "root"):
            text = self.jail.exec("for f in /usr/bin/env /usr/lib/os-release; do (echo x >> $f) 2>/dev/null && echo wrote $f; "
                                  "chmod 777 $f 2>/dev/null && echo chmod $f; rm -f $f 2>/dev/null && echo rm $f; done; true", user=user)["stdout"]
            self.assertEqual("", text)


class Resources(AttackCase):
    """Class C: kernel memory of every kind is charged to the sandbox that took it, and no host-wide table is emptied."""

    def test_memory_of_every_kind_stops_at_the_limit(self):
        for kind in ("heap", "memfd", "sysv", "sockets", "pipes", "tables"):
            with self.subTest(kind=kind):
                self.assertEqual("ok", outside(f"take {kind} 16"), "the control")
                box = self.box(limits={"memory_mb": 64})
                self.install(box)
                answer = box.exec(argv=["/home/user/probe", "take", kind, "400"], timeout_ms=60000)
                self.assertNotEqual("ok\n", answer["stdout"], f"400 MiB of {kind} in a sandbox of 64 MiB")
                self.assertLessEqual(box.get()["usage"]["memory_peak_bytes"], 96 << 20)
                self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_inotify_taken_inside_is_not_missing_outside(self):
        box = self.box()
        self.install(box)
        exec_id = box.start("exec /home/user/probe inotify_hold < <(sleep 600)")
        host.wait_until(lambda: box.output(exec_id), 20, "it holds what it got")
        self.assertLess(int(box.output(exec_id)), 200)
        code = "import ctypes; l = ctypes.CDLL(None); print(l.inotify_init1(0) >= 0)"
        self.assertEqual("True\n", self.jail.exec(argv=["python3", "-c", code])["stdout"], "a neighbour has none left")
        import ctypes
        import os
        descriptor = ctypes.CDLL(None).inotify_init1(0)
        self.assertGreaterEqual(descriptor, 0, "the host has none left")
        os.close(descriptor)

    def test_a_neighbour_answers_while_one_thrashes(self):
        loud = self.box(limits={"memory_mb": 64, "pids": 64})
        exec_id = loud.start("while :; do python3 -c 'b = bytearray(100 << 20)' 2>/dev/null; done")
        for _ in range(10):
            self.assertEqual("x\n", self.jail.exec("echo x")["stdout"])
        loud.client.expect(200, "DELETE", f"{loud.path}/exec/{exec_id}?signal=KILL")

    def test_limits_can_not_be_raised(self):
        self.assertIn(self.inside("raise_nofile"), ("EPERM",))
        self.assertIn(self.inside("raise_nofile", "root"), ("EPERM",))

    def test_a_deadline_can_not_be_dodged_by_daemonising_in_the_same_tree(self):
        box = self.box()
        answer = box.exec("trap '' TERM HUP INT; setsid sh -c \"trap '' TERM HUP; sleep 599\" & sleep 600", timeout_ms=1000)
        self.assertEqual("timed_out", answer["status"])
        self.assertEqual("0\n", box.exec("pgrep -c sleep; true")["stdout"])


class Lifecycle(AttackCase):
    """Class F."""

    def test_exit_codes_and_signals_are_exact(self):
        for code in (0, 1, 2, 42, 127, 128, 137, 255):
            answer = self.jail.exec(f"exit {code}")
            self.assertEqual(("exited", code), (answer["status"], answer["exit_code"]))
        for number in (signal.SIGHUP, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGXCPU):
            answer = self.jail.exec(argv=["sh", "-c", f"kill -{int(number)} $$"])
            self.assertEqual(("signaled", int(number), 128 + int(number)), (answer["status"], answer["signal"], answer["exit_code"]))

    def test_a_hostile_passwd_changes_no_identity(self):
        box = self.box()
        box.exec("printf 'user:x:0:0::/root:/bin/sh\\nroot:x:1000:1000::/:/bin/sh\\n' > /etc/passwd", user="root")
        self.assertEqual("1000\n", box.exec("id -u")["stdout"])
        self.assertEqual("0\n", box.exec("id -u", user="root")["stdout"])

    def test_nothing_of_a_destroyed_sandbox_runs_on(self):
        box = self.client.create()
        box.exec("trap '' TERM; for i in 1 2 3; do setsid nohup sh -c \"trap '' TERM HUP; while :; do sleep 1; done\" >/dev/null 2>&1 & done; echo")
        before = {pid for pid in host.processes_in(self.daemon.find_group())}
        self.assertEqual(204, box.delete().status)
        host.wait_until(lambda: len([pid for pid in before if pid in host.processes_in(self.daemon.group)]) <= len(before) - 4, 10,
                        "its processes are gone")

    def test_the_agents_socket_is_not_in_reach(self):
        text = self.jail.exec("ls -la /proc/1/fd 2>&1; cat /proc/net/unix; find / -xdev -type s 2>/dev/null; true", user="root")["stdout"]
        self.assertNotIn("sandboxd", text)
        self.assertNotIn("agent", text)

    def test_replacing_the_shell_or_python_in_the_overlay_harms_the_sandbox_only(self):
        box = self.box()
        box.exec("mkdir -p /usr/local/bin; printf '#!/bin/sh\\necho evil\\n' > /usr/local/bin/bash; chmod 755 /usr/local/bin/bash", user="root")
        self.assertEqual("fine\n", self.jail.exec("echo fine")["stdout"])
        self.assertEqual("1\n", self.client.run("print(1)")["stdout"])


class FileApi(AttackCase):
    """Class B: every path that the API is given is resolved inside."""

    def test_links_and_magic_links_lead_nowhere(self):
        secret = str(self.oracle.file)
        box = self.box()
        box.exec(f"ln -s {secret} canary; ln -s /proc/1/root{secret} magic; ln -s /proc/self/root{secret} self; ln -s / rootdir; mkdir d; ln -s ../../../../.. d/up")
        for path in ("canary", "magic", "self", f"rootdir{secret}", f"d/up{secret}", f"/proc/1/root{secret}", f"/proc/self/cwd/../..{secret}",
                     "../../../../../../.." + secret):
            with self.subTest(path=path):
                answer = box.client.get(box.file(path))
                # What an earlier round has put there, inside, is all that may be found.
                self.assertTrue(answer.status != 200 or answer.body == b"overwritten", answer)
                self.assertNotIn(self.oracle.secret.encode(), answer.body)
                box.put(path, b"overwritten")
                self.assertIn(self.oracle.secret, self.oracle.file.read_text())
                box.client.request("DELETE", box.file(path))

    def test_folders_swapped_for_links_during_uploads_lead_nowhere(self):
        box = self.box()
        target = self.oracle.folder.name
        exec_id = box.start(f"mkdir -p a; while :; do mv a b 2>/dev/null; ln -s {target} a 2>/dev/null; rm -f a; mv b a 2>/dev/null; done")
        for number in range(150):
            answer = box.put("a/canary", b"overwritten")
            self.assertIn(answer.status, (200, 201, 403, 404, 409), answer)
            if number % 3 == 0:
                box.client.request("DELETE", box.file("a/canary"))
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")

    def test_fifos_sockets_and_devices_neither_hang_nor_open(self):
        box = self.box()
        box.exec("mkfifo f; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('s')\"; ln -s /dev/zero z; ln -s /proc/kmsg k")
        for path in ("f", "s", "z", "k", "/dev/tty", "/dev/full", "/dev/pts/ptmx"):
            with self.subTest(path=path):
                answer = box.client.request("GET", box.file(path), timeout=15)
                self.assertIn(answer.status, (400, 403, 404, 409), answer)

    def test_a_sparse_giant_is_measured_not_read_into_memory(self):
        box = self.box()
        box.exec("truncate -s 1T giant")
        before = host.resident_kib(self.daemon.api_pid())
        response, connection = self.client.stream("GET", box.file("giant"))
        self.assertEqual(str(1 << 40), response.getheader("Content-Length"))
        response.read(1 << 20)
        response.close()
        connection.close()
        self.assertEqual(206, box.client.get(box.file("giant"), headers={"Range": "bytes=1000000000000-1000000000009"}).status)
        self.assertLess(host.resident_kib(self.daemon.api_pid()) - before, 16 * 1024)

    def test_a_file_that_shrinks_during_a_download_breaks_the_answer_off(self):
        box = self.box()
        box.exec("head -c 50M /dev/zero > f")
        response, connection = self.client.stream("GET", box.file("f"))
        response.read(1000)
        box.exec("truncate -s 2000 f")
        import http.client
        try:
            rest = response.read()
            self.assertLess(len(rest), (50 << 20) - 1000)
        except (http.client.IncompleteRead, ConnectionResetError):
            pass
        connection.close()

    def test_deep_and_huge_trees_are_listed_within_bounds_and_deleted(self):
        box = self.box(limits={"memory_mb": 256})
        box.exec("python3 -c \"\nimport os\nfor i in range(600):\n    os.mkdir('d'); os.chdir('d')\n\"; mkdir many; cd many; seq 5000 | xargs touch")
        listing = box.client.expect(200, "GET", f"{box.path}/files/list?path=.&depth=64&limit=1000").json
        self.assertTrue(listing["truncated"])
        self.assertEqual(1000, len(listing["entries"]))
        for name in ("d", "many"):
            self.assertEqual(204, box.client.request("DELETE", box.file(name)).status)

    def test_setuid_files_made_inside_are_harmless_on_the_host(self):
        self.jail.exec("cp /usr/bin/id /home/user/suid; chmod 6755 /home/user/suid", user="root")
        points = [line.split() for line in open("/proc/self/mountinfo", encoding="utf-8") if str(self.daemon.state_dir) in line]
        self.assertTrue(points, "the pool's mount was not found")
        for fields in points:
            self.assertIn("nosuid", fields[5])
            self.assertIn("nodev", fields[5])


if __name__ == "__main__":
    unittest.main()
