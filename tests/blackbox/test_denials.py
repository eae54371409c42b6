"""denials[]: what a program was refused, told with the rule and the field that allows it; and that telling it costs a
sandbox nothing that it could be attacked by."""
import threading
import time
import unittest

from case import DaemonCase

# Every refused call with arguments that would do nothing if it were let through.
PRELUDE = """
import ctypes, errno, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in (number, *args)]
    return 0 if libc.syscall(*words) >= 0 else ctypes.get_errno()
def expect(number, error, *args):
    got = call(number, *args)
    if got != error: sys.exit(f"{number}{args}: {errno.errorcode.get(got, got)}")
"""
SOCKET, CLONE, IOCTL, PTRACE, MKNOD, MOUNT, UMOUNT, UNSHARE, SETSOCKOPT, SECCOMP = 41, 56, 16, 101, 133, 165, 166, 272, 54, 317
PROCESS_VM_READV, PIDFD_GETFD, BPF, IO_URING_SETUP, MBIND, FUTEX = 310, 438, 321, 425, 237, 202


class DenialCase(DaemonCase):
    def python(self, box, code, **more):
        return box.exec(argv=["python3", "-c", PRELUDE + code], **more)

    def start(self, box, code):
        body = {"argv": ["python3", "-c", PRELUDE + code], "detach": True}
        return self.client.expect(202, "POST", f"{box.path}/exec", json=body).json["exec_id"]

    def only(self, answer, kind):
        found = [one for one in answer["denials"] if one["kind"] == kind]
        self.assertEqual(1, len(found), answer["denials"])
        self.assertEqual({"kind", "what", "rule", "hint", "count"}, set(found[0]))
        return found[0]


class Calls(DenialCase):
    def test_a_quiet_program_has_none(self):
        box = self.box()
        for program in ("true", "python3 -c 'import json, sqlite3, subprocess, ssl; subprocess.run([\"ls\", \"-l\", \"/etc\"])'",
                        "cp /etc/passwd . && tar cf x.tar passwd && cat x.tar | gzip > x.gz && sync && ls -la"):
            answer = box.exec(program)
            self.assertEqual((0, []), (answer["exit_code"], answer["denials"]), answer)
            self.assertNotIn("denials_unlisted", answer)

    def test_each_kind_of_call_says_what_which_rule_and_what_to_do(self):
        box = self.box()
        answer = self.python(box, f"""
for _ in range(3): expect({SOCKET}, errno.EAFNOSUPPORT, 17, 3, 0)
expect({SOCKET}, errno.EPERM, 2, 3, 0)
expect({PTRACE}, errno.EPERM, 16, 1, 0, 0)
expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
expect({UMOUNT}, errno.EPERM, 0, 0)
expect({MKNOD}, errno.EPERM, b"/tmp/null", 0o20666, 0x103)
expect({UNSHARE}, errno.EPERM, 0x10000000 | 0x40000000)
expect({CLONE}, errno.EPERM, 0x10000000, 0, 0, 0, 0)
expect({IOCTL}, errno.EPERM, 0, 0x100005412, 0)  # TIOCSTI with a bit above the 32 that the kernel looks at
expect({SETSOCKOPT}, errno.ENOPROTOOPT, -1, 6, 31, 0, 0)
""")
        self.assertEqual((0, ""), (answer["exit_code"], answer["stderr"]), answer)
        told = {one["what"]: (one["kind"], one["count"]) for one in answer["denials"]}
        self.assertEqual({
            "socket(AF_PACKET)": ("syscall", 3), "socket(AF_INET, SOCK_RAW)": ("syscall", 1), "ptrace(PTRACE_ATTACH)": ("syscall", 1),
            "mount": ("mount", 1), "umount2": ("mount", 1), "mknod(S_IFCHR)": ("device", 1),
            "unshare(CLONE_NEWUSER|CLONE_NEWNET)": ("syscall", 1), "clone(CLONE_NEWUSER)": ("syscall", 1),
            "ioctl(0x5412)": ("syscall", 1), "setsockopt(6, 31)": ("syscall", 1)}, told)
        self.assertEqual({"seccomp:default"}, {one["rule"] for one in answer["denials"]})
        hints = {one["what"]: one["hint"] for one in answer["denials"]}
        self.assertIn('profile "debug"', hints["ptrace(PTRACE_ATTACH)"])
        self.assertIn("TIOCSTI", hints["ioctl(0x5412)"])
        self.assertIn("no profile allows it", hints["mount"])

    def test_what_libraries_probe_for_is_refused_without_a_word(self):
        box = self.box()
        answer = self.python(box, f"""
expect({IO_URING_SETUP}, errno.ENOSYS, 1, 0)
expect(599, errno.ENOSYS)
expect({MBIND}, errno.EPERM, 0, 0, 0, 0, 0, 0)
expect({FUTEX}, errno.ENOSYS, 0, 6, 0, 0, 0, 0)
""")
        self.assertEqual((0, []), (answer["exit_code"], answer["denials"]), answer)

    def test_children_threads_and_programs_with_filters_of_their_own_are_counted_too(self):
        box = self.box()
        answer = self.python(box, f"""
expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
threads = [threading.Thread(target=lambda: expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)) for _ in range(5)]
for t in threads: t.start()
for t in threads: t.join()
for _ in range(4):
    if os.fork() == 0:
        expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
        os._exit(0)
for _ in range(4):
    if os.wait()[1]: sys.exit("a child")
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
import struct
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
prog = Prog(1, ctypes.addressof(allow))
expect({SECCOMP}, errno.EPERM, 1, 8, ctypes.byref(prog))  # NEW_LISTENER
expect({SECCOMP}, 0, 1, 0, ctypes.byref(prog))
expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
""")
        self.assertEqual((0, ""), (answer["exit_code"], answer["stderr"]))
        self.assertEqual(11, self.only(answer, "mount")["count"])
        self.assertEqual({"mount", "seccomp(8)"}, {one["what"] for one in answer["denials"]})

    def test_signals_that_interrupt_refused_calls_change_neither_answer_nor_count(self):
        box = self.box()
        answer = self.python(box, f"""
import signal
ticks = 0
def tick(*_):
    global ticks
    ticks += 1
signal.signal(signal.SIGALRM, tick)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for _ in range(5000): expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
signal.setitimer(signal.ITIMER_REAL, 0)
print(ticks)
""")
        self.assertEqual((0, ""), (answer["exit_code"], answer["stderr"]))
        self.assertGreater(int(answer["stdout"]), 5)
        self.assertEqual(5000, self.only(answer, "mount")["count"])

    def test_the_list_is_bounded_and_the_rest_is_counted(self):
        box = self.box()
        answer = self.python(box, f"for family in range(17, 117): expect({SOCKET}, errno.EAFNOSUPPORT, family, 1, 0)")
        self.assertEqual((0, 32, 68), (answer["exit_code"], len(answer["denials"]), answer["denials_unlisted"]), answer["stderr"])

    def test_every_form_of_the_answer_has_them(self):
        box = self.box()
        code = PRELUDE + f"expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)"
        argv = ["python3", "-c", code]
        plain = box.exec(argv=argv)
        expected = plain["denials"]
        self.assertEqual(1, len(expected))
        self.assertEqual(expected, box.exec_info(plain["exec_id"])["denials"])
        listed = self.client.get(f"{box.path}/exec").json["execs"]
        self.assertEqual(expected, [one for one in listed if one["exec_id"] == plain["exec_id"]][0]["denials"])
        events = list(self.client.events(f"{box.path}/exec", {"argv": argv}))
        self.assertEqual(("exit", expected), (events[-1]["type"], events[-1]["denials"]))
        run = self.client.post("/v1/run", {"language": "python", "code": code}).json
        self.assertEqual(expected, run["denials"])
        with box.websocket() as socket:
            socket.send_json(type="start", argv=argv)
            while (frame := socket.receive_json())["type"] != "exit":
                pass
        self.assertEqual(expected, frame["denials"])

    def test_they_are_told_while_the_program_runs_and_survive_the_api_process(self):
        box = self.box()
        exec_id = self.start(box, f"""
expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
import time
while not os.path.exists("go"): time.sleep(0.01)
for _ in range(6): expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
""")
        end = time.monotonic() + 20
        while not (told := box.exec_info(exec_id)["denials"]) and time.monotonic() < end:
            pass
        self.assertEqual(["mount"], [one["what"] for one in told])
        self.daemon.kill_api()
        box.exec("touch go")
        while (info := box.exec_info(exec_id))["status"] == "running" and time.monotonic() < end + 20:
            pass
        self.assertEqual(("exited", 0, 7), (info["status"], info["exit_code"], info["denials"][0]["count"]), info)


class Flood(DenialCase):
    def test_a_flood_of_refused_calls_disturbs_nobody(self):
        box = self.box(limits={"cpus": 2})
        code = PRELUDE + f"""
def flood():
    for _ in range(12500): expect({MOUNT}, errno.EPERM, 0, 0, 0, 0, 0)
threads = [threading.Thread(target=flood) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
        answers = []
        flood = threading.Thread(target=lambda: answers.append(box.exec(argv=["python3", "-c", code], timeout_ms=110000)))
        flood.start()
        slowest = 0.0
        while flood.is_alive():
            began = time.monotonic()
            self.assertEqual("alive\n", box.exec("echo alive")["stdout"])
            slowest = max(slowest, time.monotonic() - began)
        flood.join()
        self.assertEqual((0, 100000), (answers[0]["exit_code"], self.only(answers[0], "mount")["count"]), answers[0]["stderr"])
        self.assertLess(slowest, 2)

    def test_a_flooding_sandbox_can_be_killed_paused_and_destroyed(self):
        box = self.client.create(limits={"cpus": 2})
        forever = f"""
def flood():
    while True: call({MOUNT}, 0, 0, 0, 0, 0)
for _ in range(3): os.fork()
for _ in range(4): threading.Thread(target=flood).start()
"""
        first = self.start(box, forever)
        second = self.start(box, forever)
        for exec_id in (first, second):
            end = time.monotonic() + 30
            while not box.exec_info(exec_id)["denials"] and time.monotonic() < end:
                pass
        for action in ["pause", "resume"] * 3:
            began = time.monotonic()
            self.client.expect(200, "POST", f"{box.path}/{action}")
            self.assertLess(time.monotonic() - began, 2, action)
        began = time.monotonic()
        self.client.expect(200, "DELETE", f"{box.path}/exec/{first}?signal=KILL&scope=tree")
        while (info := box.exec_info(first))["status"] == "running" and time.monotonic() < began + 30:
            pass
        self.assertEqual("signaled", info["status"])
        self.assertLess(time.monotonic() - began, 2)
        began = time.monotonic()
        self.assertEqual(204, box.delete().status)
        self.assertLess(time.monotonic() - began, 2)


class Resources(DenialCase):
    def test_memory(self):
        box = self.box(limits={"memory_mb": 64})
        answer = box.exec("python3 -c 'b = bytearray(200 << 20)'; python3 -c 'b = bytearray(200 << 20)'; true")
        told = self.only(answer, "memory")
        self.assertEqual(("limits.memory_mb=64", 2), (told["rule"], told["count"]))
        self.assertIn("limits.memory_mb", told["hint"])
        self.assertEqual([], box.exec("true")["denials"])

    def test_pids(self):
        box = self.box(limits={"pids": 20})
        answer = box.exec("python3 -c \"\nimport os, time\nrefused = 0\nfor _ in range(30):\n    try:\n        if os.fork() == 0: time.sleep(1); os._exit(0)\n"
                          "    except BlockingIOError: refused += 1\nprint(refused)\"")
        told = self.only(answer, "pids")
        self.assertEqual(("limits.pids=20", int(answer["stdout"])), (told["rule"], told["count"]), answer)
        self.assertGreater(told["count"], 5)
        self.assertEqual([], box.exec("true")["denials"])

    def test_disk(self):
        box = self.box(limits={"disk_mb": 32})
        self.assertEqual([], box.exec("head -c 8M /dev/zero > f")["denials"])
        answer = box.exec("head -c 100M /dev/zero > big; true")
        told = self.only(answer, "disk")
        self.assertEqual("limits.disk_mb=32", told["rule"])
        self.assertEqual("disk", self.only(box.exec("echo more > more"), "disk")["kind"])  # a short one on a full disk
        self.assertEqual([], box.exec("rm big")["denials"])
        self.assertEqual([], box.exec("sync; true")["denials"])

    def test_file_size_limit(self):
        box = self.box()
        answer = box.exec(argv=["bash", "-c", "ulimit -f 1; exec head -c 1M /dev/zero > f"])
        self.assertEqual(25, answer["signal"])
        self.assertEqual("RLIMIT_FSIZE", self.only(answer, "file_limit")["rule"])

    def test_output_cap(self):
        box = self.box(limits={"output_mb": 2})
        answer = box.exec("head -c 5M /dev/zero; head -c 1000 /dev/zero >&2", output_mb=1, encoding="base64")
        told = self.only(answer, "output_cap")
        self.assertEqual(("stdout above 1048576 bytes", "output_mb=1", 4 << 20), (told["what"], told["rule"], told["count"]))
        told = self.only(box.exec("head -c 5M /dev/zero", encoding="base64"), "output_cap")
        self.assertEqual(("limits.output_mb=2", 3 << 20), (told["rule"], told["count"]))


class Profiles(DenialCase):
    def test_debug_allows_ptrace_of_own_programs_and_no_more(self):
        code = f"""
child = os.fork()
if child == 0:
    __import__("signal").pause()
print(call({PTRACE}, 16, child, 0, 0), call({PROCESS_VM_READV}, child, 0, 0, 0, 0, 0))
print(call({PTRACE}, 16, 1, 0, 0), call({PIDFD_GETFD}, os.pidfd_open(child), 0, 0), call({BPF}, 0, 0, 0))
os.kill(child, 9)
"""
        box = self.box(profile="debug")
        self.assertEqual("debug", box.get()["profile"])
        answer = self.python(box, code)
        self.assertEqual("0 0\n1 1 1\n", answer["stdout"], answer)
        self.assertEqual({"pidfd_getfd", "bpf(0)"}, {one["what"] for one in answer["denials"]})
        self.assertEqual({"seccomp:debug"}, {one["rule"] for one in answer["denials"]})
        answer = self.python(self.box(), code)
        self.assertEqual("1 1\n1 1 1\n", answer["stdout"], answer)

    def test_strict_refuses_sockets_and_names_the_profile_that_allows_them(self):
        box = self.box(profile="strict")
        answer = self.python(box, f"expect({SOCKET}, errno.EAFNOSUPPORT, 2, 1, 0)\nexpect({SOCKET}, errno.EAFNOSUPPORT, 17, 1, 0)")
        self.assertEqual((0, ""), (answer["exit_code"], answer["stderr"]))
        hints = {one["what"]: (one["rule"], one["hint"]) for one in answer["denials"]}
        self.assertEqual(("seccomp:strict", 'create the sandbox with profile "default"'), hints["socket(AF_INET, SOCK_STREAM)"])
        self.assertIn("no profile allows it", hints["socket(AF_PACKET, SOCK_STREAM)"][1])

    def test_an_unknown_profile_is_refused_and_named(self):
        answer = self.client.post("/v1/sandboxes", {"profile": "open"})
        self.assert_error(answer, 400, "invalid_argument", "profile", "strict")

    def test_a_tenants_ceiling_holds(self):
        self.client.expect(200, "PUT", "/v1/admin/tenants/capped", json={"limits": {"profile": "default"}})
        answer = self.client.post("/v1/admin/keys", {"tenant": "capped", "label": "test"})
        capped = self.client.with_key(next(value for value in answer.json.values() if str(value).startswith("sbx_")))
        error = self.assert_error(capped.post("/v1/sandboxes", {"profile": "debug"}), 400, "limit_exceeded", "profile")
        self.assertEqual({"limit": "profile", "asked": "debug", "allowed": "default"}, {k: error["details"][k] for k in ("limit", "asked", "allowed")})
        self.client.expect(200, "PUT", "/v1/admin/tenants/capped", json={"limits": {"profile": "strict"}})
        box = capped.create()
        self.addCleanup(box.delete)
        self.assertEqual("strict", box.get()["profile"])


if __name__ == "__main__":
    unittest.main()
