"""exec, attach, logs and cp: real programs behind the fake daemon, a real terminal in front of sandboxctl."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import termios
import time

from cli_case import BINARY, CliCase, main


class Exec(CliCase):
    def commands(self, kind):
        return [command for method, name, command in list(self.fake.requests) if method == "WS" and name == kind]

    def first(self):
        return next(iter(self.fake.execs.values()))

    def test_output_goes_where_the_program_wrote_it(self):
        out, err = self.ctl("exec", "box00001", "--", "bash", "-c", r"printf 'out\xff\n'; printf 'err\n' >&2; exit 7", code=7)
        self.assertEqual((b"out\xff\n", b"err\n"), (out, err))
        self.ctl("exec", "box00001", "bash", "-c", "kill -TERM $$", code=143)

    def test_options_end_where_the_program_begins(self):
        out, _ = self.ctl("exec", "-e", "A=1", "box00001", "printf", "%s ", "-it", "--json", "-n", "--", "-d")
        self.assertEqual(b"-it --json -n -- -d ", out)
        out, _ = self.ctl("--key", "sbx_test", "exec", "box00001", "-w", "/", "-u", "root", "--timeout", "5s", "--", "printf", "%s", "--help")
        self.assertEqual(b"--help", out)
        body = list(self.fake.execs.values())[-1].body
        self.assertEqual({"type": "start", "encoding": "binary", "argv": ["printf", "%s", "--help"], "cwd": "/", "user": "root", "timeout_ms": 5000}, body)
        self.ctl("exec", "box00001", code=125)
        self.ctl("exec", "box00001", "--shell", "true", "--", "true", code=125)
        self.ctl("exec", code=2)

    def test_standard_input_is_passed_on_byte_by_byte(self):
        data = os.urandom(3 << 20)
        out, _ = self.ctl("exec", "box00001", "--", "cat", input=data)
        self.assertEqual(data, out)
        path = os.path.join(self.folder.name, "input")
        with open(path, "wb") as file:
            file.write(data)
        with open(path, "rb") as file:
            child = self.start("exec", "box00001", "cat", stdin=file)
            self.assertEqual(data, child.communicate(timeout=60)[0])
        # A loop's input is left to the loop.
        read, write = os.pipe()
        os.write(write, b"next\n")
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        child = self.start("exec", "-n", "box00001", "cat", stdin=read)
        self.assertEqual(b"", child.communicate(timeout=20)[0])
        self.assertEqual(b"next\n", os.read(read, 100))

    def test_the_flags_of_our_input_stay_as_they_are(self):
        read, write = os.pipe()
        child = self.start("exec", "box00001", "cat", stdin=read)
        os.write(write, b"x")
        self.assertEqual(b"x", child.stdout.read(1))
        self.assertEqual(0, fcntl.fcntl(read, fcntl.F_GETFL) & os.O_NONBLOCK)
        os.close(write)
        os.close(read)
        self.assertEqual(0, child.wait(20))

    def test_failures(self):
        _, err = self.ctl("exec", "box00001", "missing-program", code=127)
        self.assertEqual(b"sandboxctl: missing-program is not in the sandbox\n", err)
        _, err = self.ctl("exec", "missing0", "true", code=125)
        self.assertEqual(b"sandboxctl: no sandbox missing0\n", err)
        _, err = self.ctl("exec", "box00001", "true", env={"SANDBOXD_API_KEY": "sbx_wrong"}, code=125)
        self.assertIn(b"not one of this daemon's", err)
        _, err = self.ctl("exec", "--url", "http://127.0.0.1:1", "box00001", "true", code=125)
        self.assertIn(b"no daemon answers", err)
        _, err = self.ctl("exec", "-it", "box00001", "bash", code=125)
        self.assertIn(b"-t needs a terminal", err)

    def test_detached_and_json(self):
        out, _ = self.ctl("exec", "-d", "box00001", "sleep", "60")
        self.assertEqual(b"exec00000001\n", out)
        out, _ = self.ctl("ps", "box00001")
        self.assertRegex(out.decode(), r"exec00000001 +running +- .* sleep 60\n")
        self.ctl("kill", "-s", "KILL", "--scope", "tree", "box00001", "exec00000001")
        self.assertIn("signal=KILL&scope=tree", self.fake.requests[-1][1])
        out, _ = self.ctl("--json", "exec", "box00001", "--", "bash", "-c", "echo hi; exit 4", code=4)
        self.assertEqual(("hi\n", 4), (json.loads(out)["stdout"], json.loads(out)["exit_code"]))
        self.ctl("exec", "--json", "box00001", "missing-program", code=127)

    def test_cost(self):
        _, err = self.ctl("exec", "--cost", "box00001", "true")
        self.assertIn(b"cost 0.000123 USD", err)

    def test_signals_are_passed_on(self):
        program = ("import signal, sys, time\ndef end(*_): print('got INT', flush=True); sys.exit(9)\n"
                   "signal.signal(signal.SIGINT, end)\nprint('ready', flush=True)\nwhile True: time.sleep(1)")
        child = self.start("exec", "box00001", "--", "/usr/bin/python3", "-c", program)
        self.assertEqual(b"ready\n", child.stdout.readline())
        child.send_signal(signal.SIGINT)
        self.assertEqual(b"got INT\n", child.stdout.readline())
        self.assertEqual(9, child.wait(20))
        self.assertEqual([("INT", "group")], self.first().signals)

    def test_the_third_interrupt_kills(self):
        # Not a shell with a trap: it may take two interrupts for one while it starts a child.
        program = ("import signal, time\nsignal.signal(signal.SIGINT, lambda *_: print('no', flush=True))\n"
                   "print('ready', flush=True)\nwhile True: time.sleep(1)")
        child = self.start("exec", "box00001", "--", "/usr/bin/python3", "-c", program)
        self.assertEqual(b"ready\n", child.stdout.readline())
        for _ in range(2):
            child.send_signal(signal.SIGINT)
            self.assertEqual(b"no\n", child.stdout.readline())
        child.send_signal(signal.SIGINT)
        self.assertEqual(130, child.wait(20))
        self.wait_for(lambda: self.first().code == 137, "the program's end")

    def test_a_reader_that_goes_ends_the_program(self):
        child = self.start("exec", "box00001", "yes")
        self.assertEqual(b"y\n", child.stdout.readline())
        child.stdout.close()
        self.assertEqual(141, child.wait(20))
        self.wait_for(lambda: self.first().code is not None, "the program's end")

    def test_a_program_that_ignores_sigpipe_ends_all_the_same(self):
        child = self.start("exec", "box00001", "--", "bash", "-c", "trap '' PIPE; while :; do echo y; done")
        self.assertEqual(b"y\n", child.stdout.readline())
        child.stdout.close()
        self.assertEqual(141, child.wait(20))
        self.wait_for(lambda: self.first().code == 137, "the program's end")
        self.assertEqual([("PIPE", "tree"), ("KILL", "tree")], self.first().signals)

    def test_a_refusal_that_the_connection_outlives_is_told(self):
        fifo = os.path.join(self.folder.name, "fifo")
        os.mkfifo(fifo)
        child = self.start("exec", "box00001", "--", "bash", "-c", f"echo ready; read line < {fifo}; echo end", stdin=subprocess.PIPE)
        self.assertEqual(b"ready\n", child.stdout.readline())
        child.stdin.write(b"refuse this")
        child.stdin.close()
        self.wait_for(lambda: self.commands("stdin_close"), "the end of input")
        with open(fifo, "w") as file:
            file.write("go\n")
        self.assertEqual(b"end\n", child.stdout.readline())
        self.assertEqual(0, child.wait(20))
        self.assertEqual(b"sandboxctl: stdin: it is closed\n", child.stderr.read())

    def test_a_broken_connection_goes_on_at_its_byte(self):
        self.fake.drop_after = 100_000
        child = self.start("exec", "box00001", "--", "bash", "-c", "seq 100000; seq 100000 >&2; exit 5")
        out, err = child.communicate(timeout=60)
        expected = "".join(f"{i}\n" for i in range(1, 100001)).encode()
        self.assertEqual(5, child.returncode)
        self.assertEqual(expected, out)
        self.assertEqual(expected, re.sub(rb"sandboxctl: the connection was lost[^\n]*\n", b"", err))
        self.assertGreater(self.fake.connections, 5)

    def test_it_waits_for_a_daemon_that_restarts(self):
        fifo = os.path.join(self.folder.name, "fifo")
        os.mkfifo(fifo)
        child = self.start("exec", "box00001", "--", "bash", "-c", f"echo before; read line < {fifo}; echo after; exit 6")
        self.assertEqual(b"before\n", child.stdout.readline())
        self.fake.refuse_upgrades = 3
        self.server.call(self.break_sockets())
        self.wait_for(lambda: self.fake.refuse_upgrades == 0, "attempts to attach")
        with open(fifo, "w") as file:
            file.write("go\n")
        self.assertEqual(b"after\n", child.stdout.readline())
        self.assertEqual(6, child.wait(20))

    async def break_sockets(self):
        for connection in list(self.server.runner.server.connections):
            if connection.transport:
                connection.transport.abort()

    def test_kill_on_disconnect_does_not_attach_again(self):
        self.fake.drop_after = 10
        child = self.start("exec", "--kill-on-disconnect", "box00001", "yes")
        self.assertEqual(125, child.wait(20))
        self.assertTrue(self.first().body["kill_on_disconnect"])
        self.first().kill("KILL", "tree")

    def test_logs(self):
        self.ctl("logs", "box00001", code=1)
        self.ctl("exec", "box00001", "--", "bash", "-c", "echo one")
        self.ctl("exec", "box00001", "--", "bash", "-c", "echo out; echo err >&2")
        self.assertEqual((b"out\n", b"err\n"), self.ctl("logs", "box00001"))
        self.assertEqual((b"one\n", b""), self.ctl("logs", "box00001", "exec00000001"))
        self.assertEqual((b"t\n", b""), self.ctl("logs", "box00001", "--stream", "stdout", "--offset", "2"))
        self.assertEqual((b"out\n", b"err\n"), self.ctl("logs", "-f", "box00001"))
        self.fake.drop_after = 3
        child = self.start("exec", "-d", "box00001", "--", "bash", "-c", "echo abcdefghij; read x; echo end")
        self.assertEqual(0, child.wait(20))
        follower = self.start("logs", "-f", "box00001")
        self.assertEqual(b"abcdefghij\n", follower.stdout.readline())
        # Looking on sends nothing to the program.
        self.assertEqual([], [c for c in self.fake.requests[-20:] if c[0] == "WS" and c[1] in ("stdin", "stdin_close") and c[2].get("data")])
        follower.send_signal(signal.SIGINT)
        self.assertEqual(130, follower.wait(20))


class Terminal(CliCase):
    """sandboxctl with a terminal of its own, as a person has it."""

    def open(self, *words, rows=40, cols=120):
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        return self.start(*words, env={"TERM": "xterm-256color"}, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                          start_new_session=True)

    def until(self, text):
        end = time.monotonic() + 20
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text):
        os.write(self.master, text)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def test_a_shell(self):
        child = self.open("exec", "-it", "-e", "PS1=$ ", "box00001", "--", "bash", "--norc", "-i")
        self.until(b"$ ")
        self.assertTrue(self.is_raw())
        self.type(b"stty size; echo $TERM; tty | tr a-z A-Z\n")
        self.until(b"40 120\r\n")
        self.until(b"xterm-256color\r\n")
        self.until(b"/DEV/PTS/")
        # Ctrl-C is a key: it ends what runs in the sandbox, not this program.
        self.type(b"sleep 1000\n")
        self.until(b"sleep 1000")
        run = next(iter(self.fake.execs.values()))
        self.wait_for(lambda: b"sleep" in subprocess.run(["ps", "-o", "comm=", "--ppid", str(run.process.pid)], capture_output=True).stdout, "sleep")
        self.type(b"\x03")
        self.until(b"$ ")
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        child.send_signal(signal.SIGWINCH)
        self.wait_for(lambda: (50, 100) in run.sizes, "the new size")
        self.type(b"stty size\n")
        self.until(b"50 100\r\n")
        self.type(b"exit 5\n")
        self.assertEqual(5, child.wait(20))
        self.assertEqual(self.before, termios.tcgetattr(self.slave))
        self.assertEqual(0, run.body["timeout_ms"])

    def test_the_terminal_is_put_back_whatever_ends_it(self):
        for number, code in ((signal.SIGTERM, None), (signal.SIGHUP, 129), (signal.SIGABRT, -signal.SIGABRT)):
            with self.subTest(signal=number):
                child = self.open("exec", "-it", "-e", "PS1=$ ", "box00001", "--", "bash", "--norc", "-i")
                self.until(b"$ ")
                self.assertTrue(self.is_raw())
                child.send_signal(number)
                if number == signal.SIGTERM:  # passed on; an interactive bash ignores it
                    self.wait_for(lambda: ("TERM", "group") in list(self.fake.execs.values())[-1].signals, "the signal")
                    self.type(b"exit 0\n")
                    code = 0
                self.assertEqual(code, child.wait(20))
                self.assertEqual(self.before, termios.tcgetattr(self.slave))

    def test_the_way_out_while_the_daemon_is_away(self):
        child = self.open("exec", "-it", "-e", "PS1=$ ", "box00001", "--", "bash", "--norc", "-i")
        self.until(b"$ ")
        self.fake.refuse_upgrades = 1 << 30
        self.server.call(Exec.break_sockets(self))
        self.wait_for(lambda: self.fake.refuse_upgrades < 1 << 30, "an attempt to attach")
        self.type(b"\x03")
        self.assertEqual(130, child.wait(20))
        self.assertEqual(self.before, termios.tcgetattr(self.slave))

    def test_attach_to_a_terminal(self):
        self.ctl("exec", "-d", "box00001", "true")
        first = self.open("exec", "-it", "-e", "PS1=$ ", "box00001", "--", "bash", "--norc", "-i")
        self.until(b"$ ")
        first.kill()  # no time to say anything: the program goes on
        first.wait()
        child = self.open("attach", "box00001", "exec00000002")
        self.until(b"$ ")
        self.type(b"echo $((6*7)); exit 3\n")
        self.until(b"42\r\n")
        self.assertEqual(3, child.wait(20))
        self.assertEqual(self.before, termios.tcgetattr(self.slave))

    def test_colours_are_for_terminals(self):
        child = self.open("ls")
        self.until(b"\x1b[1mID")
        child.wait(20)
        self.assertNotIn(b"\x1b", self.ctl("ls")[0])
        child = self.open("ls")
        env = self.environment(NO_COLOR="1", TERM="xterm")
        child.wait(20)
        plain = subprocess.Popen([BINARY, "ls"], env=env, stdin=self.slave, stdout=self.slave, stderr=self.slave)
        self.seen = b""
        self.until(b"running")
        plain.wait(20)


class Copy(CliCase):
    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, data, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(data)
        os.chmod(self.path(name), mode)

    def test_a_file_there_and_back(self):
        data = os.urandom(1 << 20)
        self.write("data.bin", data, 0o750)
        self.ctl("cp", self.path("data.bin"), "box00001:in.bin")
        self.assertEqual((0o750, data), self.fake.files["/home/user/in.bin"])
        self.ctl("cp", self.path("data.bin"), "box00001:")
        self.assertEqual((0o750, data), self.fake.files["/home/user/data.bin"])
        self.ctl("cp", "box00001:in.bin", self.path("back.bin"))
        with open(self.path("back.bin"), "rb") as file:
            self.assertEqual(data, file.read())
        self.assertEqual(0o750, stat.S_IMODE(os.stat(self.path("back.bin")).st_mode))
        self.ctl("cp", "box00001:in.bin", self.folder.name)
        self.assertTrue(os.path.exists(self.path("in.bin")))
        out, _ = self.ctl("cp", "box00001:in.bin", "-")
        self.assertEqual(data, out)
        out, _ = self.ctl("cp", "--json", "box00001:in.bin", self.path("again"))
        self.assertEqual({"files": 1, "bytes": 1 << 20}, json.loads(out))

    def test_standard_input(self):
        data = os.urandom(700_000)
        self.ctl("cp", "-", "box00001:/tmp/x", input=data)
        self.assertEqual((0o644, data), self.fake.files["/tmp/x"])
        self.ctl("cp", "-", "box00001:/tmp/empty", input=b"")
        self.assertEqual((0o644, b""), self.fake.files["/tmp/empty"])

    def test_a_tree_there_and_back(self):
        self.write("src/a.txt", b"a", 0o600)
        self.write("src/sub/empty", b"")
        self.write("src/sub/run.sh", b"#!/bin/sh\n", 0o755)
        os.makedirs(self.path("src/hollow"))
        os.symlink("sub/run.sh", self.path("src/link"))
        self.ctl("cp", self.path("src"), "box00001:dst")
        base = "/home/user/dst"
        self.assertEqual(b"a", self.fake.files[base + "/a.txt"][1])
        self.assertEqual((0o755, None), self.fake.files[base + "/hollow"])
        link = [body for _, path, body in self.fake.requests if path.endswith("/exec")]
        self.assertEqual([["ln", "-sfn", "--", "sub/run.sh", "dst/link"]], [body["argv"] for body in link])
        self.ctl("cp", "box00001:dst", self.path("back"))
        for name, mode in (("a.txt", 0o600), ("sub/run.sh", 0o755), ("sub/empty", 0o644)):
            self.assertEqual(mode, stat.S_IMODE(os.stat(self.path("back/" + name)).st_mode), name)
        self.assertEqual("sub/run.sh", os.readlink(self.path("back/link")))
        self.assertTrue(os.path.isdir(self.path("back/hollow")))
        self.ctl("cp", "box00001:dst", self.path("back"))
        self.assertTrue(os.path.isdir(self.path("back/dst/sub")))

    def test_no_name_in_a_sandbox_leads_out_of_the_folder(self):
        outside = self.path("outside")
        os.makedirs(outside)
        for name in ("../../evil", "/etc/evil", "a/../../evil", "..", "a//b"):
            with self.subTest(name=name):
                self.fake.files = {"/home/user/dst": (0o755, None)}
                self.fake.files["/home/user/dst/x"] = (0o644, b"evil")
                self.fake.shown = {"/home/user/dst/x": name}
                _, err = self.ctl("cp", "box00001:dst", self.path("target"), code=1)
                self.assertIn(b"it would be outside of the folder", err)
        # A symlink that is there already, or that comes along, is not followed.
        os.makedirs(self.path("t2"), exist_ok=True)
        os.symlink(outside, self.path("t2/sub"))
        self.fake.shown = {}
        self.fake.files = {"/home/user/t2": (0o755, None), "/home/user/t2/sub": (0o755, None), "/home/user/t2/sub/f": (0o644, b"evil")}
        os.makedirs(self.path("p/t2"), exist_ok=True)
        os.symlink(outside, self.path("p/t2/sub"))
        self.ctl("cp", "box00001:t2", self.path("p"), code=1)
        self.assertEqual([], os.listdir(outside))
        self.fake.files = {"/home/user/t3": (0o755, None), "/home/user/t3/sub": (0o777, outside), "/home/user/t3/sub/f": (0o644, b"evil")}
        self.ctl("cp", "box00001:t3", self.path("t3"))
        self.assertEqual(outside, os.readlink(self.path("t3/sub")))
        self.assertEqual([], os.listdir(outside))

    def test_refusals(self):
        self.ctl("cp", "a", "b", code=1)
        self.ctl("cp", "box00001:a", "box00002:b", code=1)
        self.ctl("cp", self.path("nothing"), "box00001:", code=1)
        self.write("keep", b"old")
        _, err = self.ctl("cp", "box00001:nothing", self.path("keep"), code=1)
        self.assertIn(b"no such file", err)
        with open(self.path("keep"), "rb") as file:
            self.assertEqual(b"old", file.read())
        self.assertEqual(["keep"], os.listdir(self.folder.name))


if __name__ == "__main__":
    main()
