"""Class A, seen from the host: every thread of a sandbox stands as the golden file says, whoever started it and however."""
import copy
import os
import unittest

import host
import posture
from attack import AttackCase, daemon
from inmate import Inmate

THREADS = "python3 -c \"import threading, time\nfor _ in range(8): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nprint(1, flush=True)\ntime.sleep(600)\""


class Posture(AttackCase):
    attack_class = "A"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.inmate = Inmate(daemon(), cls.jail)
        for user in ("user", "root"):
            exec_id = cls.jail.start(THREADS, user=user)
            host.wait_until(lambda exec_id=exec_id: cls.jail.output(exec_id), 20, "its threads run")
            cls.jail.start("setsid nohup sleep 600 >/dev/null 2>&1 </dev/null & sleep 600", user=user)
            cls.jail.start("sleep 600", user=user, pty=True)
        cls.jail.start("cat", user="user", stdin="x")
        host.wait_until(lambda: len(host.processes_in(cls.jail.id)) >= 8, 20, "they all run")
        cls.idle_processes = 100  # they are what is looked at
        cls.found = posture.collect(cls.inmate)
        if os.environ.get("SANDBOXD_UPDATE_GOLDEN") == "1":
            posture.update(cls.found)
        cls.oracle.settle()

    def test_every_thread_and_every_mount_is_as_the_golden_file_says(self):
        self.assertEqual([], posture.differences(self.found))

    def test_the_golden_file_itself_gives_no_thread_anything(self):
        """whoever updates the file without reading it meets these"""
        for kind in ("user", "root"):
            for found in self.found[kind]:
                with self.subTest(kind=kind):
                    self.assertEqual({"1"}, {found["NoNewPrivs"]})
                    self.assertEqual("2", found["Seccomp"])
                    self.assertGreaterEqual(int(found.get("Seccomp_filters", 2)), 2)
                    self.assertNotIn("host", [value for name, value in found.items() if name.startswith("ns ")])
                    self.assertLessEqual(int(found["CapBnd"], 16) & ~0xffff, 0, "no capability of networking or administration")
                    self.assertEqual("1 1", found["limits"]["core file size"], "1: not even a helper of the host is started for a core")
        for found in self.found["user"]:
            self.assertEqual({"0" * 16}, {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")})

    def test_a_posture_that_is_not_in_the_file_is_named(self):
        """the control: a thread with one bit more, a mount more, a mount less"""
        for change in (lambda found: found["user"][0].update(CapEff="0000000000200000"), lambda found: found["user"][0].update({"ns net": "host"}),
                       lambda found: found["user"][0].update(Seccomp_filters="1"), lambda found: found["mounts"].update({"/host": "rw"}),
                       lambda found: found["mounts"].update({"/dev": "rw tmpfs"}), lambda found: found["mounts"].pop("/proc/sys"),
                       lambda found: found["user"][0]["fds"].append("/")):
            changed = copy.deepcopy(self.found)
            change(changed)
            self.assertEqual(1, len(posture.differences(changed)))

    def test_a_process_of_the_host_does_not_pass_for_one_of_a_sandbox(self):
        """the control: the same look at this test's own process"""
        own = posture.thread_posture(os.getpid(), os.getpid(), self.inmate)
        self.assertNotIn(own, self.found["user"])
        self.assertEqual("host", own["ns mnt"])

    def test_all_of_it_is_in_the_sandboxs_own_control_groups(self):
        for pid in host.processes_in(self.jail.id):
            rows = dict(line.split(":", 2)[1:] for line in host.read_proc(pid, "cgroup").splitlines())
            where = {name: path for names, path in rows.items() for name in names.split(",")}
            for name in ("memory", "pids", "cpu") if "memory" in where else ("",):
                self.assertIn(self.jail.id, where[name], name)

    def test_ids_are_not_those_of_a_neighbour_or_of_the_host(self):
        other = self.box()
        ids = Inmate(self.daemon, other).ids
        self.assertFalse(set(ids) & set(self.inmate.ids))
        self.assertGreaterEqual(ids.start, 1 << 16)


if __name__ == "__main__":
    unittest.main()
