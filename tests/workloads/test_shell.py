"""What models type into a shell: archives, version control, databases, what the machine says about itself."""
import hashlib
import re
import time
import unittest

from host import wait_until
from workload import Workload


class Files(Workload):
    def test_tar_with_every_compressor_keeps_modes_links_and_times(self):
        box = self.box()
        self.ok(box, "mkdir -p d/e && seq 1 50000 > d/numbers && ln -s numbers d/link && ln d/numbers d/hard && chmod 0750 d/e"
                " && touch -d 2001-02-03T04:05:06Z d/e && mkfifo d/pipe && truncate -s 5M d/sparse")
        sums = self.ok(box, "sha256sum < d/numbers")
        for flag, program in (("z", "gzip"), ("j", "bzip2"), ("J", "xz"), ("", "tar")):
            with self.subTest(compressor=program):
                self.need(program)
                self.ok(box, f"rm -rf out; mkdir out; tar -c{flag}Sf a.tar d && tar -x{flag}f a.tar -C out && diff -r --no-dereference d out/d 2>&1"
                        " | grep -v 'is a fifo'; true")
                self.assertEqual(f"{sums}numbers 750 981173106 fifo 2\n",
                                 self.ok(box, "cd out/d; sha256sum < numbers; readlink link | tr '\\n' ' '; stat -c '%a %Y' e | tr '\\n' ' ';"
                                              " stat -c %F pipe | tr '\\n' ' '; stat -c %h hard"))

    def test_find_xargs_and_pipes(self):
        box = self.box()
        self.ok(box, "mkdir -p t/a t/b; for i in $(seq 40); do echo $i > t/a/$i.txt; done; touch t/b/none.log")
        self.assertEqual("820\n", self.ok(box, "find t -name '*.txt' -print0 | xargs -0 -P 4 -n 5 cat | awk '{s += $1} END {print s}'"))
        self.assertEqual("40\n", self.ok(box, "find t -type f -size +0 -newermt 2000-01-01 -exec grep -l . {} + | wc -l"))
        self.assertEqual("b a\n", self.ok(box, "printf 'a b\\n' | sed -E 's/(.) (.)/\\2 \\1/'"))

    def test_git_init_commit_branch_merge_and_clone_over_file(self):
        self.need("git")
        box = self.box(env={"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a",
                            "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
                            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"})
        self.ok(box, "git init -q -b main r && cd r && printf 'one\\n' > f && git add f && git commit -qm first"
                " && git switch -qc side && printf 'one\\ntwo\\n' > f && git commit -qam second && git switch -q main && git merge -q side")
        blob = hashlib.sha1(b"blob 8\0one\ntwo\n").hexdigest() + "\n"
        self.assertEqual("second\nfirst\n", self.ok(box, "git -C r log --format=%s"))
        self.ok(box, "git clone -q file:///home/user/r c && git clone -q --bare r b.git && git -C c push -q ../b.git main:pushed && git -C c gc -q && git -C c fsck")
        self.assertEqual(self.ok(box, "git -C r rev-parse main"), self.ok(box, "git -C b.git rev-parse pushed"))
        self.assertEqual(blob, self.ok(box, "git -C c rev-parse HEAD:f"))

    def test_sqlite3(self):
        self.need("sqlite3")
        box = self.box()
        out = self.ok(box, "sqlite3 d.db", stdin="pragma journal_mode=wal;\ncreate table t(x);\nwith recursive n(i) as (select 1 union all select i+1 from n "
                      "where i < 10000) insert into t select i from n;\nselect count(*), sum(x) from t;\n.dump t\n")
        self.assertTrue(out.startswith("wal\n10000|50005000\n"), out[:80])
        self.assertEqual(10000, out.count("INSERT INTO t"))


class Jobs(Workload):
    def test_timeout_ends_what_takes_too_long(self):
        began = time.monotonic()
        self.assertEqual("124 137\n", self.ok(self.box(), "timeout 0.3 sleep 60; a=$?; timeout -s KILL 0.3 sleep 60; echo $a $?"))
        self.assertLess(time.monotonic() - began, 30)

    def test_nohup_work_goes_on_after_its_exec(self):
        box = self.box()
        self.ok(box, "mkfifo go; nohup sh -c 'read x < go; echo $((x * 2)) > result' > /dev/null 2>&1 &")
        self.assertEqual("none\n", self.ok(box, "cat result 2>/dev/null || echo none"))
        self.ok(box, "echo 21 > go")
        wait_until(lambda: box.exec("cat result 2>/dev/null")["stdout"] == "42\n", 20, "the result")

    def test_locks_between_processes_and_watched_folders(self):
        box = self.box()
        self.assertEqual("80\n", self.ok(box, "echo 0 > n; add() { for i in $(seq 20); do flock l sh -c 'echo $(($(cat n) + 1)) > n'; done; };"
                                              " add & add & add & add & wait; cat n"))
        box.start("tail -n +1 -F log > seen 2>/dev/null")
        self.ok(box, "echo first >> log; echo second >> log")
        wait_until(lambda: box.exec("cat seen")["stdout"] == "first\nsecond\n", 20, "tail sees what is added")

    def test_traps_job_control_and_coprocesses(self):
        box = self.box()
        self.assertEqual("term 3\n", self.ok(box, "bash -c 'trap \"echo term $((1 + 2)); exit 0\" TERM; kill -TERM $$; sleep 60'"))
        self.assertEqual("0 7\n", self.ok(box, "(exit 0) & a=$!; (exit 7) & b=$!; wait $a; x=$?; wait $b; echo $x $?"))
        self.assertEqual("42\n", self.ok(box, "coproc sed -u s/$/2/; echo 4 >&${COPROC[1]}; read -r x <&${COPROC[0]}; echo $x"))


class Terminals(Workload):
    def test_a_program_makes_terminals_of_its_own(self):
        """As pexpect, script and IPython do."""
        box = self.box()
        code = ("import os, pty\npid, fd = pty.fork()\nif pid == 0:\n    os.execlp('bash', 'bash', '--norc', '-c', 'stty size; tty; read -r x; echo got $((x + 2))')\n"
                "os.write(fd, b'40\\n')\nout = b''\ntry:\n    while (piece := os.read(fd, 1000)): out += piece\nexcept OSError: pass\n"
                "print(out.decode().split(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n")
        said = self.ok(box, argv=["python3", "-c", code])
        self.assertRegex(said, r"'/dev/pts/\d+', .*'got', '42'\] 0")
        self.assertIn("tty 42", self.ok(box, "script -qec '[ -t 1 ] && echo tty $((6 * 7))' /dev/null"))


class Self(Workload):
    """What a sandbox says about itself."""

    def test_locale_and_text_are_UTF_8(self):
        box = self.box()
        self.assertIn('LC_CTYPE="C.UTF-8"', self.ok(box, "locale"))
        self.assertEqual("2 5 b'\\xc3\\xbc\\xe2\\x82\\xac'\n", self.ok(box, "printf 'ü€' | wc -m | tr '\\n' ' '; printf 'ü€' | wc -c | tr '\\n' ' '; python3 -c \"print('ü€'.encode())\""))
        self.ok(box, "echo x > 'naïve ☂.txt'")
        self.assertEqual("['naïve ☂.txt']\n", self.ok(box, "python3 -c \"import os; print([n for n in os.listdir() if n.endswith('.txt')])\""))

    def test_date_knows_the_time_and_the_zones(self):
        box = self.box()
        self.assertLess(abs(int(self.ok(box, "date +%s")) - time.time()), 60)
        self.assertEqual("2026-07-01 12:00 +0000\n", self.ok(box, "TZ=UTC date -d @1782907200 '+%F %R %z'"))
        code = "import zoneinfo, datetime as d; print(d.datetime.fromtimestamp(1782907200, zoneinfo.ZoneInfo('Asia/Tokyo')).hour)"
        if self.ok(box, "ls /usr/share/zoneinfo/Asia/Tokyo 2>/dev/null; true"):
            self.assertEqual("21\n", self.ok(box, argv=["python3", "-c", code]))

    def test_the_host_name_is_the_sandboxs_own(self):
        box = self.box()
        name = self.ok(box, "hostname").strip()
        self.assertEqual(f"{name} {name}\n", self.ok(box, "printf '%s ' $(uname -n); python3 -c 'import socket; print(socket.gethostname())'"))
        self.assertIn(box.id, name)
        self.assertEqual("127.0.0.1\n", self.ok(box, "python3 -c 'import socket; print(socket.gethostbyname(\"localhost\"))'"))

    def test_ps_and_top_show_the_sandboxs_processes_and_no_others(self):
        self.need("ps", "top")
        box = self.box()
        box.start("exec -a marked-one sleep 600")
        wait_until(lambda: "marked-one" in box.exec("ps ax -o args")["stdout"], 20, "the program runs")
        listed = [line.split(None, 2) for line in self.ok(box, "ps ax -o pid=,user=,args=").splitlines()]
        self.assertEqual({"user"}, {user for _, user, _ in listed})
        self.assertLessEqual(len(listed), 4)
        self.assertRegex(self.ok(box, "top -b -n1"), r"(?s)Tasks:\s+[1-5] total.*sleep")
        self.assertRegex(self.ok(box, "uptime"), r"load average")
        self.assertEqual("1\n", self.ok(box, "pgrep -c sleep"))

    def test_df_and_du_show_the_sandboxs_file_systems(self):
        box = self.box(limits={"disk_mb": 256})
        self.ok(box, "head -c 50M /dev/urandom > f")
        self.assertEqual("51200\n", self.ok(box, "du -k --apparent-size f | cut -f 1"))
        shown = {line.split()[5]: line.split() for line in self.ok(box, "df -Pk").splitlines()[1:]}
        self.assertLessEqual({"/", "/dev/shm", "/usr"}, set(shown))
        self.assertEqual(256 << 10, int(shown["/dev/shm"][1]))  # half of the memory
        self.assertNotIn(str(self.daemon.state_dir), self.ok(box, "cat /proc/mounts /proc/self/mountinfo; df -a"))
        # What is asked for at once and is more than the sandbox has is refused; the pool behind it has far more.
        self.assertRegex(self.refused(box, "fallocate -l 400M big"), "(?i)quota exceeded|no space left")

    def test_the_rlimits_are_what_programs_need(self):
        out = self.ok(self.box(), "ulimit -a")
        limits = dict(re.findall(r"(-\w)\)\s+(\S+)$", out, re.M))
        # No limit of address space: V8, Go and the JVM reserve far more than they use.
        self.assertEqual(("unlimited", "unlimited", "0"), (limits["-v"], limits["-d"], limits["-q"]))
        self.assertEqual(1024, int(limits["-n"]))
        self.assertGreaterEqual(int(self.ok(self.box(), "ulimit -Hn")), 4096)
        self.assertEqual("8192", limits["-s"])


if __name__ == "__main__":
    unittest.main()
