"""Class E: sandboxes, and tenants, know nothing of each other or of the host; nothing of one is left for the next."""
import ctypes
import hashlib
import json
import os
import re
import statistics
import time
import unittest

import host
from attack import AttackCase, daemon, outside
from case import DaemonCase
from inmate import Inmate
from oracles import SHARED, hash_of
from sandboxd_daemon import Daemon


class Neighbours(AttackCase):
    attack_class = "E"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = daemon().client.create(limits={"memory_mb": 128})
        cls.addClassCleanup(cls.other.delete)
        cls.install(cls.other)
        cls.kept = (cls.jail, cls.other)
        cls.oracle.settle()

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


    def test_a_neighbours_processes_can_not_be_signalled_by_any_number(self):
        exec_id = self.other.start("exec sleep 600")
        pids = Inmate(self.daemon, self.other).pids
        code = f"import os\nfor pid in {pids}:\n    try: os.kill(pid, 0); print('reached', pid)\n    except OSError as e: print(e.errno)"
        for user in ("user", "root"):
            self.assertEqual({"3"}, set(self.jail.exec(argv=["python3", "-c", code], user=user)["stdout"].split()), "ESRCH for each")
        self.assertEqual("running", self.other.exec_info(exec_id)["status"])

    def test_system_v_objects_of_a_neighbour_and_of_the_host_are_not_there(self):
        key = 0x5b78
        make = f"python3 -c \"import ctypes, time; l = ctypes.CDLL(None, use_errno=True); print(l.shmget({key}, 4096, 0o1666), l.semget({key}, 1, 0o1666), flush=True); time.sleep(600)\""
        exec_id = self.other.start(make)
        host.wait_until(lambda: self.other.output(exec_id), 10, "they are made")
        self.assertNotIn("-1", self.other.output(exec_id).decode())
        ask = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.shmget({key}, 4096, 0), ctypes.get_errno(), l.semget({key}, 1, 0), ctypes.get_errno())"
        self.assertNotIn("-1", self.other.exec(argv=["python3", "-c", ask])["stdout"], "the control: its own maker finds them")
        self.assertEqual("-1 2 -1 2\n", self.jail.exec(argv=["python3", "-c", ask])["stdout"])

    def test_ports_of_a_neighbour_are_its_own(self):
        for box in (self.jail, self.other):
            exec_id = box.start("exec python3 -m http.server 8765 --bind 127.0.0.1")
            host.wait_until(lambda box=box: self.inside("connect_tcp 127.0.0.1 8765", box=box) == "ok", 20, "both listen on the same number")
            self.addCleanup(box.client.request, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL")
        self.assertEqual("ECONNREFUSED", outside("connect_tcp 127.0.0.1 8765"))

    def test_signals_by_a_file_descriptor_of_a_neighbours_process_are_refused(self):
        pids = Inmate(self.daemon, self.other).pids
        code = f"import os\nfor pid in {pids}:\n    try: os.pidfd_open(pid); print('opened')\n    except OSError as e: print(e.errno)"
        self.assertEqual({"3"}, set(self.jail.exec(argv=["python3", "-c", code], user="root")["stdout"].split()))

    def test_shared_system_files_have_the_same_bytes_for_all_after_attempts_to_change_them(self):
        code = """
import ctypes, mmap, os
for path in %r:
    fd = os.open(path, os.O_RDONLY)
    m = mmap.mmap(fd, min(4096, os.fstat(fd).st_size), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    m[0:4] = b'EVIL'
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((0, 4096, 3, 1, fd, 0),):
        libc.mmap.restype = ctypes.c_void_p
        print(libc.mmap(*call) in (None, 2**64 - 1), ctypes.get_errno())
    try: os.posix_fallocate(fd, 0, 4096); print('allocated')
    except OSError as e: print(e.errno)
    r, w = os.pipe()
    try: os.splice(fd, w, 1); print('spliced')
    except (OSError, AttributeError) as e: print(getattr(e, 'errno', 22))
    try: os.copy_file_range(os.open('/home/user/x', os.O_RDWR | os.O_CREAT), fd, 1); print('copied')
    except OSError as e: print(e.errno)
""" % (list(SHARED),)
        before = {path: hash_of(path) for path in SHARED}
        for user in ("user", "root"):
            words = self.jail.exec(argv=["python3", "-c", code], user=user, cwd="/home/user")["stdout"].split()
            self.assertEqual(["True", "13", "9", "22", "9"] * len(SHARED), words, f"as {user}: EACCES, EBADF, EINVAL, EBADF")
        self.assertEqual(before, {path: hash_of(path) for path in SHARED})
        digest = self.other.exec(f"sha256sum < {SHARED[0]}")["stdout"].split()[0]
        with open(SHARED[0], "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), digest)

    def test_what_others_have_in_the_page_cache_is_not_told(self):
        """mincore and cachestat would say which pages of a shared file somebody has read"""
        for probe in ("call 27 0 4096 bad", "call 451 0 bad bad 0"):
            self.assertEqual("ENOSYS", self.inside(probe))

    def test_host_identities_are_not_told(self):
        """names, ids, kernel logs, block devices, boot arguments"""
        text = self.jail.exec("cat /proc/sys/kernel/random/boot_id /proc/cmdline /proc/partitions /proc/swaps /sys/class/net/*/address /etc/machine-id "
                              "/sys/class/dmi/id/* /proc/modules /etc/fstab /etc/resolv.conf 2>/dev/null; hostname; true", user="root")["stdout"].split()
        for path in ("/etc/machine-id", "/proc/cmdline"):
            words = [word for word in host.read_proc("..", path.lstrip("/")).split() if len(word) > 8] if os.path.exists(path) else []
            for word in words:
                self.assertNotIn(word, text, path)


class Remanence(AttackCase):
    """What one sandbox wrote is readable for nobody after it, by name or by block."""

    attack_class = "E"
    FILL = "import os\\nblock = b'%s' * 256\\nfor i in range(8):\\n    f = open(f'f{i}', 'wb')\\n    for _ in range(512): f.write(block)\\n    os.fsync(f.fileno())"

    def test_blocks_of_a_destroyed_sandbox_are_not_in_new_files_holes_or_reserved_space(self):
        marker = self.oracle.secret  # 32 characters
        writer = self.client.create(limits={"disk_mb": 64})
        writer.exec(argv=["python3", "-c", self.FILL.replace("\\n", "\n") % marker])
        self.assertEqual("8\n", writer.exec(f"grep -l {marker} f* | wc -l")["stdout"], "the control: it is there")
        writer.delete()
        code = f"""
import os
marker = {marker!r}.encode()
fd = os.open('reserved', os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 0, 32 << 20)
hole = os.open('hole', os.O_RDWR | os.O_CREAT)
os.ftruncate(hole, 32 << 20)
os.pwrite(hole, b'x', 16 << 20)
nameless = os.open('.', os.O_TMPFILE | os.O_RDWR)
os.posix_fallocate(nameless, 0, 8 << 20)
short = os.open('short', os.O_RDWR | os.O_CREAT)
os.write(short, b'y')
os.ftruncate(short, 4096)
print(sum(marker in os.pread(f, 32 << 20, 0) for f in (fd, hole, nameless, short)), sum(any(os.pread(f, 32 << 20, 0)) for f in (fd, nameless)))
"""
        for _ in range(3):
            reader = self.box(limits={"disk_mb": 128, "memory_mb": 256})
            self.assertEqual("0 0\n", reader.exec(argv=["python3", "-c", code])["stdout"], "not the marker, nothing but zeros")

    def test_memory_of_a_destroyed_sandbox_is_zero_for_the_next(self):
        marker = self.oracle.secret
        writer = self.client.create(limits={"memory_mb": 128})
        writer.exec(argv=["python3", "-c", f"b = {marker!r}.encode() * (2 << 20)"])
        writer.delete()
        code = f"import mmap\nm = mmap.mmap(-1, 64 << 20)\nprint({marker!r}.encode() in m, any(m[:8 << 20]))"
        self.assertEqual("False False\n", self.box(limits={"memory_mb": 128}).exec(argv=["python3", "-c", code])["stdout"])

    def test_shared_memory_sockets_and_temporary_files_begin_empty(self):
        for _ in range(3):
            box = self.client.create(limits={"memory_mb": 64})
            self.assertEqual("", box.exec("ls -A /dev/shm /tmp /var/tmp 2>/dev/null | grep -v : ; true")["stdout"].strip())
            box.exec("echo x | tee /dev/shm/left /tmp/left /var/tmp/left /home/user/left >/dev/null")
            box.delete()

    def test_ids_of_destroyed_sandboxes_come_back_late(self):
        """a file, a key or a lock that was forgotten somewhere would belong to whoever has its number next"""
        seen = []
        for _ in range(6):
            box = self.client.create(limits={"memory_mb": 64})
            inmate = Inmate(self.daemon, box)
            seen.append(inmate.ids.start)
            box.delete()
            inmate.assert_gone()
        self.assertEqual(len(seen), len(set(seen)), seen)

    def test_names_of_sandboxes_and_execs_are_not_given_twice_and_not_to_be_guessed(self):
        names = []
        for _ in range(5):
            box = self.client.create(limits={"memory_mb": 64})
            names.append(box.id)
            box.delete()
        self.assertEqual(5, len(set(names)))
        distances = [abs(int(b[1:], 36) - int(a[1:], 36)) for a, b in zip(names, names[1:])]
        self.assertGreater(min(distances), 1 << 20, "counted up")

    def test_a_destroyed_sandboxs_output_and_files_are_not_served_again(self):
        box = self.client.create(limits={"memory_mb": 64})
        exec_id = box.start(f"echo {self.oracle.secret}; echo {self.oracle.secret} > f")
        host.wait_until(lambda: box.exec_info(exec_id)["status"] == "exited", 10, "it has ended")
        box.delete()
        for path in (f"{box.path}/exec/{exec_id}", f"{box.path}/exec/{exec_id}/output?stream=stdout", f"{box.path}/exec", box.file("f"),
                     f"{box.path}/files/list?path=."):
            answer = self.client.get(path)
            self.assertIn(answer.status, (404, 410), path)
            self.assertNotIn(self.oracle.secret.encode(), answer.body)


TWO_TENANTS = """
listen = "127.0.0.1:{port}"
state_dir = "{state_dir}"
""" + "".join(f'[[tenants]]\nid = "{name}"\nkey_hashes = ["{hashlib.sha256(name.encode()).hexdigest()}"]\n' for name in ("alpha", "beta"))


class Tenants(DaemonCase):
    """The API to somebody who knows another tenant's ids: the same answer as for ids that never were, for every verb."""

    attack_class = "E"

    @classmethod
    def setUpClass(cls):
        cls.own = Daemon(config=TWO_TENANTS.replace("{", "{").replace("}", "}"), name="tenants")
        cls.addClassCleanup(cls.own.destroy)
        cls.own._key = "alpha"
        cls.own.start()
        cls.alpha, cls.beta = cls.own.client, cls.own.client.with_key("beta")
        cls.victim = cls.alpha.create(limits={"memory_mb": 64}, metadata={"job": "secret-job"})
        cls.exec_id = cls.victim.start("echo of alpha; exec sleep 600")
        cls.victim.put("f", b"of alpha")

    def requests(self, box_id):
        """Every verb on every path of a sandbox: (method, path, body)."""
        base = f"/v1/sandboxes/{box_id}"
        yield "GET", base, None
        yield "PATCH", base, {"timeout_s": 60}
        yield "DELETE", base, None
        for verb in ("pause", "resume"):
            yield "POST", f"{base}/{verb}", {}
        yield "POST", f"{base}/exec", {"argv": ["id"]}
        yield "GET", f"{base}/exec", None
        for exec_id in (self.exec_id, "0000000000099"):
            yield "GET", f"{base}/exec/{exec_id}", None
            yield "DELETE", f"{base}/exec/{exec_id}?signal=KILL", None
            yield "GET", f"{base}/exec/{exec_id}/output?stream=stdout", None
        yield "GET", f"{base}/files?path=f", None
        yield "PUT", f"{base}/files?path=f", {}
        yield "DELETE", f"{base}/files?path=f", None
        yield "GET", f"{base}/files/list?path=.", None
        yield "GET", f"{base}/files/stat?path=f", None
        yield "POST", f"{base}/files/mkdir", {"path": "d"}
        yield "POST", f"{base}/files/move", {"from": "f", "to": "g"}

    def test_a_foreign_id_is_answered_as_one_that_never_was_for_every_verb(self):
        never = "s" + "z" * (len(self.victim.id) - 1)
        pairs = list(zip(self.requests(self.victim.id), self.requests(never)))
        self.assertGreater(len(pairs), 18)
        for (method, foreign, body), (_, unknown, _) in pairs:
            with self.subTest(request=f"{method} {foreign}"):
                answers = [self.beta.request(method, path, json=body) for path in (foreign, unknown)]
                texts = [answer.body.decode().replace(self.victim.id, "ID").replace(never, "ID") for answer in answers]
                if method == "DELETE" and foreign.endswith(self.victim.id):
                    self.assertIn(answers[0].status, (204, 404))  # deleting is idempotent: 204 or 404, but the same for both
                else:
                    self.assertEqual(404, answers[0].status, answers[0])
                self.assertEqual(answers[0].status, answers[1].status)
                self.assertEqual(texts[0], texts[1])
                self.assertEqual(set(answers[0].headers), set(answers[1].headers))
        self.assertEqual("running", self.victim.exec_info(self.exec_id)["status"], "the control: its owner finds all of it as it was")
        self.assertEqual(b"of alpha", self.victim.read("f"))

    def test_a_foreign_id_takes_as_long_as_one_that_never_was(self):
        never = "/v1/sandboxes/s" + "z" * (len(self.victim.id) - 1)
        times = {path: [] for path in (self.victim.path, never)}
        for _ in range(60):  # taken in turn, so that what slows the machine slows both
            for path, found in times.items():
                began = time.perf_counter()
                self.beta.get(path)
                found.append(time.perf_counter() - began)
        foreign, unknown = (statistics.median(found) for found in times.values())
        self.assertLess(abs(foreign - unknown), max(0.002, 0.5 * unknown), (foreign, unknown))

    def test_lists_and_sums_show_only_ones_own(self):
        self.assertIn(self.victim.id, self.alpha.get("/v1/sandboxes").body.decode(), "the control")
        for path in ("/v1/sandboxes", "/v1/sandboxes?metadata.job=secret-job", "/v1/sandboxes?limit=1", "/v1/usage?group_by=sandbox", "/v1/usage?group_by=exec"):
            text = self.beta.get(path).body.decode()
            self.assertNotIn(self.victim.id, text, path)
            self.assertNotIn("secret-job", text, path)
        for path in ("/v1/usage?group_by=tenant", "/v1/usage?tenant=alpha"):
            answer = self.beta.get(path)
            self.assertTrue(answer.status in (403, 400, 404) or '"alpha"' not in answer.body.decode(), answer)

    def test_admin_paths_are_closed_to_a_tenants_key(self):
        for method, path, body in (("PUT", "/v1/admin/tenants/beta", {"limits": {"sandboxes": 5000}}), ("POST", "/v1/admin/keys", {"tenant": "alpha"}),
                                   ("GET", "/v1/admin/keys", None), ("POST", "/v1/admin/cordon", {}), ("POST", "/v1/admin/drain", {"timeout_s": 1}),
                                   ("GET", "/v1/admin/node", None), ("GET", "/v1/admin/tenants/alpha", None)):
            answer = self.beta.request(method, path, json=body, headers={"X-Sandboxd-Tenant": "alpha"})
            self.assertIn(answer.status, (403, 404, 405), f"{method} {path}: {answer}")
        self.assertEqual(200, self.own.status_of("/readyz"))

    def test_a_cursor_or_a_replayed_key_of_another_tenant_opens_nothing(self):
        self.alpha.create(limits={"memory_mb": 64})
        cursor = self.alpha.get("/v1/sandboxes?limit=1").json.get("next_cursor")
        if cursor:
            self.assertNotIn(self.victim.id, self.beta.get(f"/v1/sandboxes?cursor={cursor}").body.decode())
        key = {"Idempotency-Key": "the same for both"}
        body = {"limits": {"memory_mb": 64}, "metadata": {"who": "alpha"}}
        first = self.alpha.request("POST", "/v1/sandboxes", json=body, headers=key)
        self.assertEqual(201, first.status)
        self.assertEqual("true", self.alpha.request("POST", "/v1/sandboxes", json=body, headers=key).headers.get("idempotent-replay"), "the control")
        other = self.beta.request("POST", "/v1/sandboxes", json=body, headers=key)
        self.assertEqual(201, other.status)
        self.assertNotEqual(first.json["id"], other.json["id"])

    def test_a_websocket_to_a_foreign_sandbox_is_refused_as_one_to_nowhere(self):
        from websocket import Refused
        said = []
        for box_id in (self.victim.id, "s" + "z" * (len(self.victim.id) - 1)):
            for path in (f"/v1/sandboxes/{box_id}/exec/ws", f"/v1/sandboxes/{box_id}/files/watch?path=."):
                try:
                    socket = self.beta.websocket(path, timeout=10)
                    socket.send_json(type="attach", exec_id=self.exec_id)
                    said.append(json.dumps(socket.receive_json()).replace(box_id, "ID"))
                    socket.abort()
                except Refused as refused:
                    said.append(re.sub(box_id, "ID", str(refused)))
        self.assertEqual(said[:2], said[2:])
        self.assertNotIn("of alpha", "".join(said))

    def test_a_key_that_is_cut_doubled_or_of_another_case_opens_nothing(self):
        for key in ("alph", "alphaa", "ALPHA", "alpha ", " ", "", "alpha,beta", "Bearer alpha", hashlib.sha256(b"alpha").hexdigest()):
            answer = self.own.client.with_key(None).request("GET", "/v1/sandboxes", headers={"X-API-KEY": key})
            if key.strip() == "alpha":
                continue  # HTTP strips white space around a value
            self.assertEqual(401, answer.status, key)

    def test_one_tenants_ceiling_is_not_taken_from_another(self):
        boxes = []
        try:
            for _ in range(40):
                answer = self.beta.request("POST", "/v1/sandboxes", json={"limits": {"memory_mb": 64}})
                if answer.status != 201:
                    self.assertIn(answer.json["error"]["code"], ("tenant_quota", "rate_limited", "node_full"), answer)
                    break
                boxes.append(answer.json["id"])
            self.assertEqual("alive\n", self.victim.exec("echo alive")["stdout"])
        finally:
            for box_id in boxes:
                self.beta.request("DELETE", f"/v1/sandboxes/{box_id}")


class HostTables(AttackCase):
    """Tables of the whole machine: what one sandbox takes is not missing outside or next door."""

    attack_class = "C"

    def test_inotify_taken_inside_is_not_missing_outside(self):
        box = self.box()
        self.install(box)
        exec_id = box.start("exec ./probe grab inotify 100000 hold")
        host.wait_until(lambda: box.output(exec_id), 20, "it holds what it got")
        self.assertLess(int(box.output(exec_id).split()[0]), 200)
        code = "import ctypes; l = ctypes.CDLL(None); print(l.inotify_init1(0) >= 0)"
        self.assertEqual("True\n", self.jail.exec(argv=["python3", "-c", code])["stdout"], "a neighbour has none left")
        descriptor = ctypes.CDLL(None).inotify_init1(0)
        self.assertGreaterEqual(descriptor, 0, "the host has none left")
        os.close(descriptor)

    def test_terminals_taken_inside_are_not_missing_outside(self):
        box = self.box()
        self.install(box)
        exec_id = box.start("exec ./probe grab ptys 100000 hold")
        host.wait_until(lambda: box.output(exec_id), 20, "it holds what it got")
        self.assertRegex(box.output(exec_id).decode(), r"^\d{1,2} ENOSPC\n$")
        self.assertEqual("3 ok", outside("grab ptys 3"))
        self.assertIn(self.jail.exec("echo alive", pty=True)["stdout"].strip(), ("alive",))

    def test_programs_that_ended_hold_few_descriptors_of_the_daemon(self):
        """64 are remembered: two each, of their output"""
        box = self.box(limits={"memory_mb": 64})
        before = host.fd_count(self.daemon.api_pid())
        for _ in range(70):
            box.exec(argv=["true"])
        self.assertLess(host.fd_count(self.daemon.api_pid()) - before, 140)

    def test_limits_can_not_be_raised(self):
        for user in ("user", "root"):
            self.assertEqual("EPERM", self.inside("raise_nofile", user))


if __name__ == "__main__":
    unittest.main()
