"""Class A: every attack of the table, as `user` and as root of the jail, with its control outside."""
import re
import unittest

from attack import AttackCase, outside
from cases import KERNEL_SURFACE


class Surface(AttackCase):
    attack_class = "A"


def make(case):
    def test(self):
        control = outside(case.control or case.probe)
        users = ("user",) if case.root_may else ("user", "root")
        answers = {user: self.inside(case.probe, user) for user in users}
        for user, answer in answers.items():
            self.assertIn(answer, case.refused, f"as {user}; outside it said {control}")
        if control not in case.reached:
            self.skipTest(f"refused inside, but outside it said {control} too: this kernel proves nothing")
    return test


for _case in KERNEL_SURFACE:
    _name = "test_no_" + re.sub(r"\W+", "_", _case.name).strip("_")
    assert not hasattr(Surface, _name), f"two cases are called {_case.name}"
    setattr(Surface, _name, make(_case))


class Init(AttackCase):
    """PID 1 of the jail is out of reach, also for the jail's root."""

    attack_class = "A"

    def test_pid_1_can_not_be_signalled_traced_read_or_limited(self):
        for user in ("user", "root"):
            for probe in ("kill 1", "ptrace 1", "process_vm_readv 1", "proc_mem 1", "prlimit 1", "pidfd_getfd 1"):
                with self.subTest(user=user, probe=probe):
                    self.assertEqual("ok", outside(probe.replace(" 1", "")), "the control")
                    self.assertIn(self.inside(probe, user), ("EPERM", "EACCES", "ESRCH", "ENOENT"))

    def test_kill_minus_1_from_root_leaves_pid_1_and_the_sandbox_usable(self):
        self.jail.exec("kill -9 -1", user="root")
        self.assertEqual("alive\n", self.jail.exec("echo alive")["stdout"])

    def test_of_all_families_types_and_protocols_of_sockets_only_these_are_there(self):
        """AF_UNIX, TCP, UDP and routing tables, and nothing that a protocol number or a type leads to besides."""
        allowed = set("1/1/0 1/1/1 1/2/0 1/2/1 1/5/0 1/5/1 2/1/0 2/1/6 2/2/0 2/2/17 10/1/0 10/1/6 10/2/0 10/2/17 16/2/0 16/3/0".split())
        beyond = set(outside("sockets").split()) - allowed
        self.assertGreater(len(beyond), 20, "the control: outside there are more")
        for user in ("user", "root"):
            self.assertLessEqual(set(self.inside("sockets", user).split()), allowed)
            self.assertIn("2/1/0", self.inside("sockets", user).split())

    def test_no_descriptor_is_inherited(self):
        for user in ("user", "root"):
            self.assertEqual("EBADF", self.inside("leaked_fds", user))

    def test_mountinfo_and_cgroup_name_no_host_path(self):
        text = self.jail.exec("cat /proc/self/mountinfo /proc/self/cgroup /proc/mounts")["stdout"]
        for word in (str(self.daemon.state_dir), "sandboxd-", "pool.btrfs"):
            self.assertNotIn(word, text)
        self.assertNotIn("/../", text)

    def test_every_control_group_stands_below_the_root_of_its_namespace(self):
        groups = [line.split(":", 2)[2] for line in self.jail.exec("cat /proc/self/cgroup")["stdout"].splitlines()]
        self.assertTrue(any(re.fullmatch(r"/work/e\d+", group) for group in groups), groups)
        for group in groups:
            self.assertRegex(group, r"^/(|work|work/e\d+)$")

    def test_the_working_folder_is_inside(self):
        self.assertEqual("/home/user\n", self.jail.exec("pwd -P; cd ../../../../../..; test $(stat -c %i /) = $(stat -c %i .) || echo out")["stdout"])

    def test_a_crash_leaves_no_core_file_and_starts_no_host_helper(self):
        self.jail.exec("ulimit -c unlimited; python3 -c 'import os; os.abort()'; true")
        self.assertEqual("", self.jail.exec("find / -xdev -name 'core*' -newer /home/user/probe -type f 2>/dev/null | grep -v /usr/; true")["stdout"])

    def test_setuid_programs_of_the_system_give_nothing(self):
        """sudo is not one of them: a client of PID 1 that the policy lets in"""
        answer = self.jail.exec("find /usr/bin -perm -4000 -type f | head -5; for p in $(find /usr/bin -perm -4000 -type f); do "
                                "timeout 2 $p -c id </dev/null 2>&1; done; su -c id root </dev/null 2>&1; true")["stdout"]
        self.assertIn("/usr/bin/su\n", self.jail.exec("find /usr/bin -perm -4000 -type f")["stdout"], "the control: there are some")
        self.assertNotIn("uid=0", answer)


if __name__ == "__main__":
    unittest.main()
