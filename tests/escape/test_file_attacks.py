"""Class B: every path that the API is given is resolved inside; what a tenant's files do to the daemon that serves them."""
import http.client
import os
import re
import socket
import threading
import time
import unittest

import host
from attack import AttackCase


class FileApi(AttackCase):
    attack_class = "B"

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

    def test_hostile_names_are_told_and_taken_as_they_are(self):
        """a name is bytes: newlines, quotes, escapes and what is no UTF-8 neither break an answer nor reach another file"""
        box = self.box()
        box.exec("python3 -c \"\nimport os\nfor n in (b'new\\nline', b'quote\\x22', b'esc\\x1b[2J', b'\\xff\\xfe', b'a'*255, b'-rf', b' '): open(os.path.join(b'names', n), 'w').write('x')\n\"",
                 cwd="/home/user") if box.exec("mkdir names")["exit_code"] == 0 else None
        listing = box.client.expect(200, "GET", f"{box.path}/files/list?path=names").json
        self.assertEqual(7, len(listing["entries"]))
        for name in ("new\nline", 'quote"', "esc\x1b[2J", "a" * 255, "-rf", " "):
            with self.subTest(name=name):
                self.assertEqual(b"x", box.read(f"names/{name}"))
                self.assertEqual(204, box.client.request("DELETE", box.file(f"names/{name}")).status)
        for name in ("nul\0", "a" * 256, "x/" * 2100):
            self.assertIn(box.put(name, b"x").status, (400, 404, 414), name[:20])

    def test_a_file_that_grows_while_it_is_read_is_no_endless_answer(self):
        box = self.box()
        exec_id = box.start("while :; do head -c 65536 /dev/zero >> grows; done", output_mb=1)
        host.wait_until(lambda: box.client.get(box.file("grows")).status == 200, 10, "it is there")
        answer = box.client.request("GET", box.file("grows"), timeout=30)
        self.assertEqual(200, answer.status)
        self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")

    def test_a_folder_swapped_for_a_link_while_it_is_listed_or_deleted_shows_nothing(self):
        box = self.box()
        target = self.oracle.folder.name
        exec_id = box.start(f"mkdir -p t/a; while :; do mv t/a t/b 2>/dev/null; ln -s {target} t/a 2>/dev/null; rm -f t/a; mv t/b t/a 2>/dev/null; done")
        for _ in range(80):
            listing = box.client.get(f"{box.path}/files/list?path=t&depth=4")
            self.assertNotIn(b'"name":"canary"', listing.body)
            self.assertNotIn(b'"name":"canary"', box.client.get(f"{box.path}/files/list?path=t/a").body)
            self.assertIn(box.client.request("DELETE", box.file("t/a/canary")).status, (204, 404, 403, 409))
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")
        self.assertEqual(self.oracle.secret, self.oracle.file.read_text())

    def test_a_watch_of_a_storm_ends_or_lags_and_takes_no_memory_of_the_daemon(self):
        box = self.box(limits={"memory_mb": 128})
        before = host.resident_kib(self.daemon.api_pid())
        watch = self.client.websocket(f"{box.path}/files/watch?path=.&recursive=true")
        self.assertEqual("ready", watch.receive_json()["type"])
        box.exec("for i in $(seq 20000); do echo > f$((i % 50)); done", timeout_ms=60000)
        self.assertLess(host.resident_kib(self.daemon.api_pid()) - before, 32 * 1024)
        watch.abort()
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_links_out_of_the_folder_are_not_followed_by_a_recursive_delete(self):
        box = self.box()
        box.exec(f"mkdir -p tree/sub keep; echo kept > keep/file; ln -s ../keep tree/sub/link; ln -s / tree/root; ln -s {self.oracle.folder.name} tree/canary")
        self.assertEqual(204, box.client.request("DELETE", box.file("tree")).status)
        self.assertEqual("kept\n", box.exec("cat keep/file; ls tree 2>/dev/null")["stdout"])

    def test_an_upload_onto_a_link_a_fifo_or_a_folder_replaces_nothing_behind_it(self):
        box = self.box()
        box.exec("echo original > target; ln -s target link; mkfifo fifo; mkdir folder; touch folder/file")
        self.assertIn(box.put("folder", b"new").status, (400, 403, 409))
        self.assertIn(box.put("fifo", b"new").status, (200, 201, 400, 403, 409))
        self.assertIn(box.put("link", b"new").status, (200, 201, 400, 403, 409))
        self.assertIn(box.exec("cat target")["stdout"], ("original\n", "new"))
        self.assertEqual("file\n", box.exec("ls folder")["stdout"])

    def test_another_users_files_are_not_read_or_written_with_user_rights(self):
        box = self.box()
        box.exec("echo secret > /root/secret; chmod 600 /root/secret; echo x > /home/user/roots; chmod 600 /home/user/roots; chown root /home/user/roots", user="root")
        for path in ("/root/secret", "roots", "/etc/shadow-of-ours"):
            self.assertIn(box.client.get(box.file(path)).status, (403, 404), path)
        self.assertIn(box.put("/root/new", b"x").status, (403, 404))
        self.assertIn(box.put("/usr/bin/env", b"x").status, (403, 409, 400))
        self.assertIn(box.put("/usr/bin/env", b"x", user="root").status, (403, 409, 400), "the template is read-only for everybody")
        self.assertEqual(200, box.client.get(box.file("/root/secret", user="root")).status, "the control: root of the sandbox may")

    def test_a_disk_that_is_full_refuses_an_upload_by_name_and_keeps_the_old_file(self):
        box = self.box(limits={"disk_mb": 32})
        self.assertEqual(201, box.put("kept", b"old").status)
        box.exec("head -c 100M /dev/urandom > fill; true")
        # Small enough that all of it is sent before the answer comes: a refusal may close the connection.
        answer = box.put("kept", b"n" * 60000) if box.exec("head -c 100M /dev/urandom > more; true") else None
        self.assertEqual(507, answer.status, answer)
        self.assertEqual("disk_full", answer.json["error"]["code"])
        self.assertEqual(b"old", box.read("kept"))
        self.assertEqual([], [name for name in box.exec("ls -A")["stdout"].split() if name not in ("fill", "kept", "more") and not name.startswith(".")])

    def test_an_upload_whose_client_leaves_leaves_no_half_file(self):
        box = self.box()
        box.put("whole", b"old")
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20) as connection:
            head = f"PUT {box.file('whole')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.daemon.key}\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 300000)
        host.wait_until(lambda: box.read("whole") == b"old" and len(box.exec("ls -A | grep -v '^[.]\\(bash\\|prof\\)'")["stdout"].split()) <= 1, 10, "only the old file is there")

    @unittest.expectedFailure
    def test_locks_on_files_that_all_tenants_share_bind_nobody_else(self):
        """the parts of the `host` template are binds of the host's own folders: flock() there is one channel for all who share them"""
        code = "import fcntl; f = open('/usr/share/doc/base-files/copyright', 'rb'); fcntl.flock(f, fcntl.LOCK_EX{more}); print('locked', flush=True)"
        hold = self.box()
        exec_id = hold.start("python3 -c \"" + code.format(more="") + "; import time; time.sleep(600)\"")
        host.wait_until(lambda: b"locked" in hold.output(exec_id), 10, "it is locked")
        again = hold.exec("python3 -c \"" + code.format(more=" | fcntl.LOCK_NB") + "\"")
        self.assertIn("BlockingIOError", again["stderr"], "the control: in the same sandbox it is taken")
        other = self.box().exec("python3 -c \"" + code.format(more=" | fcntl.LOCK_NB") + "\"")
        self.assertEqual("locked\n", other["stdout"], other["stderr"])

    def test_record_locks_and_leases_on_shared_files_hold_nobody_up(self):
        """a write lease on a program of the host, and its next open() anywhere waits 45 s"""
        path = "/usr/share/doc/base-files/copyright"
        hold = self.box()
        for user in ("root", "user"):
            code = (f"import fcntl, os, struct\nfd = os.open('{path}', os.O_RDONLY)\n"
                    "for what in (fcntl.F_WRLCK, fcntl.F_RDLCK):\n    try: print(fcntl.fcntl(fd, fcntl.F_SETLEASE, what))\n    except OSError as e: print(e.errno)\n"
                    "try: fcntl.lockf(fd, fcntl.LOCK_EX); print('write lock')\nexcept OSError as e: print(e.errno)\nimport time; print('held', flush=True); time.sleep(600)")
            exec_id = hold.start(f"exec python3 -c \"{code}\"", user=user)
            host.wait_until(lambda exec_id=exec_id: b"held" in hold.output(exec_id), 10, "it has tried")
            self.assertEqual("22 22 9 held", " ".join(hold.output(exec_id).decode().split()), user)
        began = time.monotonic()
        with open(path, "rb") as file:
            file.read(1)
        self.assertEqual("ok\n", self.box().exec(f"head -c 1 {path} >/dev/null && echo ok", timeout_ms=5000)["stdout"])
        self.assertLess(time.monotonic() - began, 5)

    @unittest.expectedFailure
    def test_who_opens_a_shared_file_is_told_to_nobody(self):
        """as with locks: inotify on a bind of the host's folder tells of everybody's opens there"""
        watcher, other = self.box(), self.box()
        path = "/usr/share/doc/base-files"
        code = (f"import ctypes, os, select; l = ctypes.CDLL(None); fd = l.inotify_init1(0); l.inotify_add_watch(fd, b'{path}', 0x20)\n"
                "print('ready', flush=True)\nprint('told' if select.select([fd], [], [], 3)[0] else 'silence', flush=True)")
        exec_id = watcher.start(f"exec python3 -c \"{code}\"")
        host.wait_until(lambda: b"ready" in watcher.output(exec_id), 10, "it watches")
        other.exec(f"cat {path}/copyright >/dev/null")
        host.wait_until(lambda: watcher.exec_info(exec_id)["status"] != "running", 10, "it has ended")
        self.assertEqual("ready\nsilence\n", watcher.output(exec_id).decode())

    def test_overlay_and_trusted_attributes_redirect_nothing(self):
        """user.overlay.* is what the jail's overlay itself reads: set from inside it must name no other file, here or on the host"""
        box = self.box()
        box.exec("mkdir d plain")
        for name in ("user.overlay.redirect", "user.overlay.opaque", "user.overlay.metacopy", "user.overlay.whiteout", "trusted.overlay.redirect"):
            for user in ("user", "root"):
                answer = box.exec(argv=["python3", "-c", f"import os; os.setxattr('/home/user/d', '{name}', b'/usr')"], user=user)
                if answer["exit_code"] != 0:
                    self.assertRegex(answer["stderr"], "Operation not (permitted|supported)|Permission denied", f"{name} as {user}")
        self.assertEqual("", box.exec("echo 2 > /proc/sys/vm/drop_caches 2>/dev/null; ls -A d")["stdout"])
        folders = list((self.daemon.state_dir / "pool" / box.id).rglob("home/user/d"))
        self.assertEqual(1, len(folders), "the upper folder, as the host sees it")
        for name in os.listxattr(folders[0]):
            self.assertFalse(re.match(r"(user|trusted)\.overlay\.(redirect|opaque|metacopy|whiteout)$", name), name)

    def test_a_delete_of_the_sandbox_during_transfers_ends_them(self):
        box = self.client.create()
        box.exec("head -c 100M /dev/zero > big")
        ended = []

        def download():
            response, connection = self.daemon.client.stream("GET", box.file("big"))
            try:
                while response.read(65536):
                    pass
            except (OSError, http.client.HTTPException):
                pass
            ended.append(connection.close())
        threads = [threading.Thread(target=download) for _ in range(4)]
        for thread in threads:
            thread.start()
        self.assertEqual(204, box.delete().status)
        for thread in threads:
            thread.join(30)
        self.assertEqual(4, len(ended), "a transfer hangs")

    def test_setuid_files_made_inside_are_harmless_on_the_host(self):
        self.jail.exec("cp /usr/bin/id /home/user/suid; chmod 6755 /home/user/suid", user="root")
        points = [line.split() for line in open("/proc/self/mountinfo", encoding="utf-8") if str(self.daemon.state_dir) in line]
        self.assertTrue(points, "the pool's mount was not found")
        for fields in points:
            self.assertIn("nosuid", fields[5])
            self.assertIn("nodev", fields[5])


if __name__ == "__main__":
    unittest.main()
