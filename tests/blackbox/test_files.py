"""Files of a sandbox through the API: any size, ranges, symlinks, atomic replacement, listings, watches."""
import hashlib
import http.client
import json
import socket
import unittest

import host
from case import DaemonCase
from client import quote


class Files(DaemonCase):
    def test_what_is_put_is_got(self):
        box = self.box()
        answer = box.put("hello.txt", b"hello\n")
        self.assertEqual(201, answer.status, answer)
        self.assertEqual(("file", 6, "0644", 1000), tuple(answer.json[name] for name in ("type", "size", "mode", "uid")))
        self.assertEqual(200, box.put("hello.txt", b"again").status)
        self.assertEqual(b"again", box.read("hello.txt"))
        self.assertEqual("again", box.exec("cat /home/user/hello.txt")["stdout"])

    def test_names_of_any_kind_are_kept(self):
        box = self.box()
        for name in ("a b.txt", "ünï.txt", "quote'\".txt", "new\nline", "-rf", "#x?y&z=1", "%41", "trailing ."):
            with self.subTest(name=name):
                self.assertEqual(201, box.put(name, name.encode()).status)
                self.assertEqual(name.encode(), box.read(name))
        listed = {entry["name"] for entry in box.client.expect(200, "GET", f"{box.path}/files/list").json["entries"]}
        self.assertIn("new\nline", listed)

    def test_bad_paths_are_refused_by_name(self):
        box = self.box()
        for path in ("", "a%00b", "x" * 5000):
            with self.subTest(path=path[:10]):
                answer = box.client.request("PUT", f"{box.path}/files?path={path}", body=b"x")
                self.assertEqual(400, answer.status, answer)
        self.assert_error(box.client.get(f"{box.path}/files"), 400, "invalid_argument", "path")

    def test_what_is_not_there_or_not_allowed_or_no_file_says_so(self):
        box = self.box()
        self.assert_error(box.client.get(box.file("nope")), 404, "not_found")
        self.assert_error(box.client.get(box.file("/root/x")), 403, "forbidden")
        self.assert_error(box.put("/etc/passwd", b"x"), 403, "forbidden")
        self.assert_error(box.client.get(box.file("/home/user")), 409, "conflict")
        box.exec("mkfifo pipe")
        self.assert_error(box.client.get(box.file("pipe")), 409, "conflict")
        self.assert_error(box.client.get(box.file("/dev/zero")), 409, "conflict")

    def test_user_root_may_write_where_user_may_not(self):
        box = self.box()
        self.assertEqual(201, box.put("/etc/made-by-root", b"x", user="root", mode="0600").status)
        self.assertEqual("0 600\n", box.exec("stat -c '%u %a' /etc/made-by-root")["stdout"])
        self.assert_error(box.client.get(box.file("/etc/made-by-root")), 403, "forbidden")
        self.assertEqual(b"x", box.read("/etc/made-by-root", user="root"))

    def test_parents_are_made_and_modes_kept(self):
        box = self.box()
        box.client.expect(201, "POST", f"{box.path}/files/mkdir", json={"path": "a/b/c", "mode": "0750"})
        box.put("a/b/c/run.sh", b"#!/bin/sh\necho ran\n", mode="0755")
        self.assertEqual("ran\n", box.exec("a/b/c/run.sh; true")["stdout"])
        box.put("a/b/c/run.sh", b"#!/bin/sh\necho again\n")
        self.assertEqual("again\n", box.exec("a/b/c/run.sh")["stdout"], "replacing lost the mode")

    def test_move_stat_and_delete(self):
        box = self.box()
        box.exec("mkdir -p d/e && echo x > d/e/f && ln -s f d/e/link")
        moved = box.client.expect(200, "POST", f"{box.path}/files/move", json={"from": "d", "to": "n"}).json
        self.assertEqual("directory", moved["type"])
        self.assertEqual("file", box.client.expect(200, "GET", f"{box.path}/files/stat?path=n/e/f").json["type"])
        self.assertEqual(204, box.client.request("DELETE", box.file("n")).status)
        self.assert_error(box.client.get(f"{box.path}/files/stat?path=n"), 404, "not_found")

    def test_a_listing_has_depth_a_limit_and_says_when_it_was_cut(self):
        box = self.box()
        box.exec("mkdir -p t/a/b && touch t/1 t/2 t/a/3 t/a/b/4 && ln -s 1 t/link && mkfifo t/fifo")
        flat = box.client.expect(200, "GET", f"{box.path}/files/list?path=t").json
        self.assertEqual({"1": "file", "2": "file", "a": "directory", "link": "symlink", "fifo": "fifo"},
                         {entry["name"]: entry["type"] for entry in flat["entries"]})
        self.assertEqual("1", next(entry["target"] for entry in flat["entries"] if entry["name"] == "link"))
        self.assertFalse(flat["truncated"])
        deep = box.client.expect(200, "GET", f"{box.path}/files/list?path=t&depth=9").json
        self.assertIn("a/b/4", {entry["path"] for entry in deep["entries"]})
        cut = box.client.expect(200, "GET", f"{box.path}/files/list?path=t&limit=2").json
        self.assertEqual((2, True), (len(cut["entries"]), cut["truncated"]))


class Ranges(DaemonCase):
    def test_ranges_and_etags(self):
        box = self.box()
        data = bytes(range(256)) * 40
        box.put("f", data)
        whole = box.client.get(box.file("f"))
        self.assertEqual((200, data, str(len(data))), (whole.status, whole.body, whole.headers["content-length"]))
        for header, expected in (("bytes=0-9", data[:10]), ("bytes=100-", data[100:]), ("bytes=-7", data[-7:]),
                                 ("bytes=10200-99999", data[10200:])):
            with self.subTest(header=header):
                answer = box.client.get(box.file("f"), headers={"Range": header})
                self.assertEqual((206, expected), (answer.status, answer.body))
                self.assertTrue(answer.headers["content-range"].endswith(f"/{len(data)}"))
        self.assert_error(box.client.get(box.file("f"), headers={"Range": "bytes=99999-"}), 416, "range_not_satisfiable")
        self.assertEqual(304, box.client.get(box.file("f"), headers={"If-None-Match": whole.headers["etag"]}).status)
        box.exec("echo more >> f")
        self.assertEqual(200, box.client.get(box.file("f"), headers={"If-None-Match": whole.headers["etag"]}).status)

    def test_head_says_the_size_without_a_body(self):
        box = self.box()
        box.put("f", b"x" * 1234)
        answer = box.client.request("HEAD", box.file("f"))
        self.assertEqual((200, "1234", b""), (answer.status, answer.headers["content-length"], answer.body))


class Uploads(DaemonCase):
    def test_two_hundred_MiB_go_in_and_out_whole_and_the_daemon_stays_flat(self):
        box = self.box(limits={"disk_mb": 512})
        api = self.daemon.api_pid()
        before = host.resident_kib(api)
        block = hashlib.sha256(b"seed").digest() * 32768  # 1 MiB
        digest = hashlib.sha256()

        def pieces():
            for number in range(200):
                piece = number.to_bytes(8, "big") + block[8:]
                digest.update(piece)
                yield piece
        connection = http.client.HTTPConnection(*self.client.address, timeout=120)
        connection.request("PUT", box.file("big"), body=pieces(), headers=self.client.headers({"Transfer-Encoding": "chunked"}),
                           encode_chunked=True)
        response = connection.getresponse()
        self.assertEqual(201, response.status, response.read())
        response.read()
        self.assertEqual(digest.hexdigest() + "\n", box.exec("sha256sum big | cut -d' ' -f1")["stdout"])
        response, download = self.client.stream("GET", box.file("big"))
        received = hashlib.sha256()
        while (piece := response.read(1 << 20)):
            received.update(piece)
        download.close()
        self.assertEqual(digest.hexdigest(), received.hexdigest())
        self.assertLess(host.resident_kib(api) - before, 32 * 1024)

    def test_an_upload_that_breaks_off_leaves_the_old_file_and_nothing_beside_it(self):
        box = self.box()
        box.put("f", b"old")
        with socket.create_connection(self.client.address) as connection:
            connection.sendall((f"PUT {box.file('f')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.daemon.key}\r\n"
                                "Content-Length: 1000000\r\n\r\n").encode() + b"x" * 300_000)
            host.wait_until(lambda: len(self.names(box)) >= 1, 5, "the file is there")
        host.wait_until(lambda: self.names(box) == {"f"}, 15, "the half upload is gone")
        self.assertEqual(b"old", box.read("f"))

    def names(self, box):
        entries = box.client.expect(200, "GET", f"{box.path}/files/list").json["entries"]
        return {entry["name"] for entry in entries if not entry["name"].startswith((".bash", ".profile"))}

    def test_a_reader_sees_the_old_file_or_the_new_one_never_a_mixture(self):
        box = self.box()
        box.put("f", b"a" * 500_000)
        exec_id = box.start("python3 -c \"\nwhile True:\n    s = set(open('f','rb').read())\n    if len(s) != 1: print('torn', flush=True)\n\"")
        for number in range(30):
            self.assertEqual(200, box.put("f", (b"b" if number % 2 else b"a") * 500_000).status)
        box.client.request("DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")
        self.assertEqual(b"", box.output(exec_id))

    def test_writing_through_a_symlink_updates_what_it_points_to_inside(self):
        box = self.box()
        box.exec("mkdir real && echo old > real/f && ln -s real/f link")
        self.assertEqual(200, box.put("link", b"new").status)
        self.assertEqual("new symbolic link\n", box.exec("echo $(cat real/f) $(stat -c %F link)")["stdout"])

    def test_a_symlink_to_a_host_path_stays_inside(self):
        box = self.box()
        box.exec("ln -s /etc/shadow s; ln -s ../../../../../../etc/hostname h; ln -s /proc/1/root/etc/shadow p; ln -s loop loop")
        for name in ("s", "p", "loop"):
            with self.subTest(name=name):
                self.assertNotEqual(200, box.client.get(box.file(name)).status)
        answer = box.client.get(box.file("h"))
        with open("/etc/hostname", "rb") as file:
            self.assertNotEqual((200, file.read()), (answer.status, answer.body))

    def test_the_disk_limit_ends_an_upload_with_its_reason(self):
        box = self.box(limits={"disk_mb": 32})
        # A client that reads only once it has sent everything gets the answer too: what it still sends is taken and dropped.
        self.assert_error(box.put("big", bytes(64 << 20)), 507, "disk_full")
        connection = http.client.HTTPConnection(*self.client.address, timeout=60)
        connection.request("PUT", box.file("big"), body=iter([b"\0\1\2\3" * (1 << 18)] * 64), encode_chunked=True,
                           headers=self.client.headers({"Transfer-Encoding": "chunked"}))
        response = connection.getresponse()
        self.assertEqual((507, "disk_full"), (response.status, json.loads(response.read())["error"]["code"]))
        self.assert_error(box.client.get(f"{box.path}/files/stat?path=big"), 404, "not_found")
        self.assertEqual("ok\n", box.exec("echo ok > small && cat small")["stdout"])


class Watches(DaemonCase):
    def test_changes_are_reported_as_they_happen(self):
        box = self.box()
        box.exec("mkdir w")
        socket_ = self.client.websocket(f"{box.path}/files/watch?path=w&recursive=true")
        self.addCleanup(socket_.abort)
        self.assertEqual("ready", socket_.receive_json()["type"])
        box.exec("echo x > w/new; mv w/new w/moved; rm w/moved; mkdir w/sub")
        seen = set()
        while ("create", "sub") not in seen:
            event = socket_.receive_json()
            seen.add((event["type"], event["path"]))
        self.assertIn(("create", "new"), seen)
        self.assertTrue({("remove", "moved")} <= seen, seen)

    def test_watching_what_is_not_there_is_404(self):
        box = self.box()
        answer = self.client.get(f"{box.path}/files/watch?path={quote('/nope')}", headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        self.assert_error(answer, 404, "not_found")


if __name__ == "__main__":
    unittest.main()
