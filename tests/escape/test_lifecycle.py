"""Class F: programs and lifecycles that an attacker bends: signals, identities, exits, terminals, deadlines, what stays behind."""
import signal
import subprocess
import threading
import time
import unittest

import host
from attack import AttackCase
from inmate import Inmate


class Lifecycle(AttackCase):
    attack_class = "F"

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


    def test_a_program_that_is_gone_is_not_signalled_by_its_number_again(self):
        """pid reuse: what has ended stays ended for the API, whoever has its number now"""
        box = self.box(limits={"memory_mb": 128, "pids": 64})
        self.install(box)
        self.few_process_numbers(box)
        # The kernel gives the numbers below 300 only once.
        first = box.start("for i in $(seq 310); do (:); done; bash -c 'exec sh -c \"echo \\\\\\$\\\\\\$\"'")
        host.wait_until(lambda: box.exec_info(first)["status"] == "exited", 60, "it has ended")
        number = box.output(first).decode().strip()
        bystander = box.start(f"exec ./probe take_pid {number}")
        said = host.wait_until(lambda: box.output(bystander).decode(), 60, "the number is somebody else's").strip()
        if said == "EAGAIN":
            self.skipTest("this kernel gives process numbers in turn, and has too many of them for one round")
        self.assertEqual(number, said, "the control: it really has the same number")
        before = box.exec("pgrep -c -x probe")["stdout"]
        for scope in ("process", "group", "tree"):
            answer = box.client.request("DELETE", f"{box.path}/exec/{first}?signal=KILL&scope={scope}")
            self.assertIn(answer.status, (200, 404, 409, 410), answer)
            self.assertEqual(before, box.exec("pgrep -c -x probe")["stdout"], scope)
            self.assertEqual("running", box.exec_info(bystander)["status"])

    def few_process_numbers(self, box):
        """Where each pid namespace has a limit of its own (kernel 6.14), 40 numbers beyond the first 300, so that they come again soon."""
        inside = int(box.exec("cat /proc/sys/kernel/pid_max")["stdout"])
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
            if int(file.read()) == inside:
                return  # one limit for all: not ours to change
        subprocess.run(["nsenter", "-t", str(Inmate(self.daemon, box).init), "-p", "unshare", "-m", "sh", "-c",
                        "mount -t proc proc /proc && echo 340 > /proc/sys/kernel/pid_max"], check=True)
        self.assertEqual("340\n", box.exec("cat /proc/sys/kernel/pid_max")["stdout"])

    def test_users_are_parsed_strictly(self):
        """crun CVE-2026-30892: "-u 1" became root"""
        for user in ("4294967295", "-1", "4294967296", "65534", "65535", "99999999999999999999", "1000 ", " 1000", "1000:0 ", "0x3e8", "1e3", "+1000",
                     "01000", "1000:", ":0", "1000:-1", "1000:65534", "1000:0:0", "root ", "Root", "user\n", "root\u0000", "1000\t", "daemon", "", "٣"):
            with self.subTest(user=user):
                answer = self.client.post(f"{self.jail.path}/exec", {"argv": ["id"], "user": user})
                self.assert_error(answer, 400, "invalid_argument", "user")
        for user, expected in (("1000:0", "1000 0 0\n"), ("0", "0 0 0\n"), ("1234", "1234 1234 1234\n"), ("65533:1", "65533 1 1\n")):
            with self.subTest(user=user):
                self.assertEqual(expected, self.jail.exec("echo $(id -u) $(id -g) $(id -G)", user=user)["stdout"], "the control: these are meant")

    def test_group_0_beside_a_users_id_gives_no_right_over_roots_files(self):
        text = self.jail.exec("cat /etc/shadow /etc/gshadow; (echo x >> /etc/passwd) && echo wrote; touch /usr/x && echo wrote; true", user="1000:0")["stdout"]
        self.assertEqual("", text)

    def test_working_folders_are_resolved_inside_or_refused(self):
        box = self.box()
        box.exec(f"ln -s {self.oracle.folder.name} away; ln -s /proc/1/root root; ln -s / top; touch file; mkdir -m 0 closed; ln -s loop loop")
        for cwd in ("away", "/proc/1/root", "root", "root/etc", "/proc/self/fd/0", "/proc/self/fd/7", "/proc/1/cwd", "/proc/self/cwd", "file", "closed", "loop",
                    self.oracle.folder.name, "/proc/self/fd/10/../..", "x" * 300, "nowhere"):
            with self.subTest(cwd=cwd):
                answer = box.client.post(f"{box.path}/exec", {"argv": ["ls", "-A"], "cwd": cwd})
                self.assert_error(answer, 400, "invalid_argument", "cwd")
        for cwd in ("/", "top", "..", "../../../../.."):
            with self.subTest(cwd=cwd):
                text = box.exec("pwd -P; ls -A / | tr '\\n' ' '", cwd=cwd)["stdout"]
                self.assertTrue(text.startswith(("/\n", "/home\n", "/home/user\n")), text)

    def test_hostile_accounts_files_of_every_kind_start_no_program_wrongly(self):
        """passwd and group as a giant, a FIFO, a loop, garbage: neither the identity nor the start depends on them"""
        box = self.box(limits={"memory_mb": 128})
        for make in ("rm -f $f; mkfifo $f", "rm -f $f; ln -s $f $f", "rm -f $f; ln -s /dev/zero $f", "rm -f $f; head -c 20M /dev/zero > $f",
                     "rm -f $f; printf 'user:x:0:0\\n:::::\\n\\0\\377root' > $f", "rm -f $f; mkdir $f"):
            box.exec(f"for f in /etc/passwd /etc/group /etc/nsswitch.conf; do rm -rf $f; {make}; done", user="root")
            with self.subTest(make=make):
                answer = box.exec(argv=["/bin/sh", "-c", "echo $(/usr/bin/python3 -S -E -c 'import os; print(os.getuid(), os.getgid(), os.getgroups())')"])
                self.assertEqual("1000 1000 [1000]\n", answer["stdout"], answer)

    def test_a_signal_to_every_process_from_a_user_reaches_neither_root_nor_pid_1(self):
        box = self.box()
        roots = box.start("exec sleep 600", user="root")
        mine = box.start("exec sleep 600")
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            box.exec(argv=["python3", "-c", f"import os, signal; signal.signal(15, signal.SIG_IGN); os.kill(-1, {int(number)})"], timeout_ms=3000)
        self.assertEqual(("running", "signaled"), (box.exec_info(roots)["status"], box.exec_info(mine)["status"]))
        self.assertEqual("alive\n", box.exec("echo alive")["stdout"])

    def test_every_signal_from_root_leaves_pid_1_where_it_is(self):
        box = self.box()
        init = Inmate(self.daemon, box).init
        text = box.exec(argv=["python3", "-c", "import os\nfor n in range(65):\n    try: os.kill(1, n); print(n)\n    except OSError as e: pass"], user="root")["stdout"]
        self.assertEqual("", text, "these signals were accepted")
        self.assertEqual(init, Inmate(self.daemon, box).init)

    def test_exec_into_a_paused_sandbox_answers_and_does_not_run(self):
        box = self.box()
        box.client.expect(200, "POST", f"{box.path}/pause", json={})
        began = time.monotonic()
        answer = box.client.request("POST", f"{box.path}/exec", json={"shell": "touch ran", "timeout_ms": 3000}, timeout=40)
        self.assertLess(time.monotonic() - began, 35)
        if answer.status == 200:  # the use of a paused sandbox may wake it up; then it has run, and it says so
            self.assertEqual("exited", answer.json["status"])
            self.assertEqual("running", box.get()["state"])
        else:
            self.assertIn(answer.json["error"]["code"], ("conflict", "unavailable", "timeout"), answer)
            box.client.expect(200, "POST", f"{box.path}/resume", json={})
            self.assertEqual("no\n", box.exec("test -e ran && echo yes || echo no")["stdout"])

    def test_a_paused_sandbox_full_of_stubborn_processes_is_deleted_in_time(self):
        box = self.client.create(limits={"pids": 100})
        box.exec("for i in $(seq 60); do setsid sh -c \"trap '' TERM INT HUP; while :; do sleep 0.1; done\" >/dev/null 2>&1 & done; echo")
        inmate = Inmate(self.daemon, box)
        box.client.expect(200, "POST", f"{box.path}/pause", json={})
        began = time.monotonic()
        self.assertEqual(204, box.delete().status)
        self.assertLess(time.monotonic() - began, 8)
        inmate.assert_gone()

    def test_execs_while_the_sandbox_dies_are_answered_each(self):
        box = self.client.create()
        inmate = Inmate(self.daemon, box)
        answers, lock = [], threading.Lock()

        def ask():
            client = self.daemon.client
            for _ in range(10):
                answer = client.request("POST", f"{box.path}/exec", json={"shell": "sleep 0.05"}, timeout=30)
                with lock:
                    answers.append(answer)
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)  # some run, some start, some have not come yet
        self.assertEqual(204, box.delete().status)
        for thread in threads:
            thread.join(60)
        self.assertEqual(80, len(answers))
        for answer in answers:
            self.assertIn(answer.status, (200, 404, 409, 410, 503), answer)
        inmate.assert_gone()

    def test_what_is_left_in_the_background_dies_with_the_tree_that_is_killed(self):
        box = self.box()
        exec_id = box.start("(setsid sh -c 'setsid sh -c \"trap \\\"\\\" TERM HUP; sleep 600\" &' &); sleep 0.2; exit 3")
        host.wait_until(lambda: box.exec_info(exec_id)["status"] == "exited", 10, "the program itself has ended")
        self.assertEqual(3, box.exec_info(exec_id)["exit_code"])
        self.assertEqual("1\n", box.exec("pgrep -c -x sleep")["stdout"], "the control: its grandchild runs on")
        box.client.expect(200, "DELETE", f"{box.path}/exec/{exec_id}?signal=KILL&scope=tree")
        host.wait_until(lambda: box.exec("pgrep -c -x sleep; true")["stdout"] == "0\n", 10, "nothing of its tree runs")

    def test_deadlines_are_not_dodged(self):
        for name, shell in {
            "ignoring every signal": "trap '' 1 2 3 15; sleep 600 & sleep 600",
            "stopping oneself": "kill -STOP $$; sleep 600",
            "leaving session and group": "setsid sh -c 'setsid sleep 599 & sleep 598' & sleep 600",
            "orphans": "(sleep 599 & ) ; exec sleep 600",
            "exec over and over": "exec sh -c 'exec sh -c \"$0\" \"$0\"' 'sleep 0.01; exec sh -c \"$0\" \"$0\"'",
            "forking ahead": "f() { sleep 0.01; f & }; f; sleep 600",
            "closing all descriptors": "exec <&- >&- 2>&-; sleep 600",
            "a stopped group": "set -m; sleep 599 & kill -STOP %1; sleep 600",
        }.items():
            with self.subTest(name=name):
                box = self.box(limits={"memory_mb": 64, "pids": 32})
                began = time.monotonic()
                answer = box.exec(shell, timeout_ms=700)
                self.assertEqual("timed_out", answer["status"])
                self.assertLess(time.monotonic() - began, 10)
                host.wait_until(lambda box=box: box.exec("pgrep -c -x sleep; true")["stdout"] == "0\n", 5, "its tree is gone")

    def test_closing_every_descriptor_or_sending_rubbish_over_them_stays_ones_own_loss(self):
        code = ("import os, socket\nfor fd in range(3, 200):\n    try: os.write(fd, b'x' * 4096)\n    except OSError: pass\n    try: os.close(fd)\n"
                "    except OSError: pass\nprint('done')")
        for user in ("user", "root"):
            self.assertEqual("done\n", self.jail.exec(argv=["python3", "-c", code], user=user)["stdout"])
        self.assertEqual("alive\n", self.jail.exec("echo alive")["stdout"])

    def test_hostile_bytes_of_a_program_break_no_answer(self):
        for name, data in {"escapes": "\\033]0;title\\007\\033[2J\\033[6n", "cut UTF-8": "\\303", "NULs": "\\000\\000", "json": "\\\",\\\"exit_code\\\":0}",
                           "newlines": "\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\n", "lone surrogates": "\\355\\240\\200"}.items():
            with self.subTest(name=name):
                answer = self.jail.exec(argv=["sh", "-c", f"printf '{data}'; exit 7"], encoding="base64")
                self.assertEqual(7, answer["exit_code"])
                events = list(self.client.events(f"{self.jail.path}/exec", {"argv": ["sh", "-c", f"printf '{data}'; exit 7"]}))
                self.assertEqual(("exit", 7), (events[-1]["type"], events[-1]["exit_code"]))

    def test_terminal_tricks_end_neither_the_session_nor_the_sandbox(self):
        for trick in ("stty raw -echo; kill -9 0", "printf '\\033[c\\033[6n\\033]52;c;aGk=\\007'; exit 0", "exec 0<&- 1>&- 2>&-; kill -HUP $PPID; sleep 0.2",
                      "python3 -c \"import fcntl, termios\nfcntl.ioctl(0, termios.TIOCNOTTY)\"", "stty rows 65535 cols 65535; tput reset; exit 0",
                      "python3 -c \"import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN); os.setsid\"; disown -a; exit 0",
                      "for i in $(seq 200); do setsid -c sh -c : </dev/tty 2>/dev/null; done; exit 0"):
            with self.subTest(trick=trick):
                answer = self.jail.exec(trick, pty=True, timeout_ms=10000)
                self.assertIn(answer["status"], ("exited", "signaled"), answer)
        self.assertEqual("alive\n", self.jail.exec("echo alive")["stdout"])

    def test_stdin_that_nobody_reads_holds_nothing_up(self):
        before = host.resident_kib(self.daemon.api_pid())
        began = time.monotonic()
        answer = self.jail.exec("exec sleep 0.3", stdin="x" * (16 << 20))
        self.assertEqual("exited", answer["status"])
        self.assertLess(time.monotonic() - began, 10)
        never = self.jail.start("exec sleep 600", stdin="x" * (1 << 20))
        self.assertEqual("running", self.jail.exec_info(never)["status"])
        self.jail.client.expect(200, "DELETE", f"{self.jail.path}/exec/{never}?signal=KILL")
        self.assertLess(host.resident_kib(self.daemon.api_pid()) - before, 96 * 1024)

    def test_a_set_user_id_copy_of_a_program_runs_with_no_other_identity(self):
        box = self.box()
        self.install(box)
        box.exec("cp /home/user/probe /home/user/suid; chown root:root /home/user/suid; chmod 6755 /home/user/suid; cp /usr/bin/python3 /tmp/py; chmod 6755 /tmp/py",
                 user="root")
        self.assertEqual("6755 root\n", box.exec("stat -c '%a %U' /home/user/suid")["stdout"], "the control: it is marked")
        for user in ("user", "1234"):
            self.assertEqual("EPERM", (box.exec(argv=["/home/user/suid", "setuid_root"], user=user)["stdout"].strip()))
            self.assertEqual("False\n", box.exec(argv=["/tmp/py", "-c", "import os; print(os.geteuid() == 0 or os.getegid() == 0)"], user=user)["stdout"])

    def test_a_flood_of_execs_is_refused_by_name_and_forgotten(self):
        box = self.box(limits={"memory_mb": 256, "pids": 256})
        refused = 0
        for _ in range(400):
            answer = box.client.post(f"{box.path}/exec", {"argv": ["true"], "detach": True})
            self.assertIn(answer.status, (202, 400, 409, 429, 503), answer)
            refused += answer.status != 202
        self.assertEqual("alive\n", host.wait_until(
            lambda: (lambda a: a.json["stdout"] if a.status == 200 else "")(box.client.post(f"{box.path}/exec", {"shell": "echo alive"})), 20, "it is of use"))
        self.assertLess(refused, 400)

    def test_giant_and_odd_arguments_are_taken_or_refused_never_cut(self):
        path = f"{self.jail.path}/exec"
        for argv in (["echo", "x" * 131071], ["echo"] + ["y"] * 3000, ["x" * 5000], ["echo", "\u0000"], [""], ["/dev/null"], ["/"], ["echo", "\udc80" if False else "é"]):
            answer = self.client.post(path, {"argv": argv})
            self.assertIn(answer.status, (200, 400, 403, 404, 413), answer)
            if answer.status == 200 and argv[0] == "echo" and len(argv) == 2:
                self.assertEqual(argv[1] + "\n", answer.json["stdout"])
        self.assertEqual("alive\n", self.jail.exec("echo alive")["stdout"])


if __name__ == "__main__":
    unittest.main()
