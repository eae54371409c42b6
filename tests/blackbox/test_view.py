"""What programs in a sandbox see of its limits, and `sudo`, through the public API."""
import os
import shutil
import time
import unittest

from case import DaemonCase


class View(DaemonCase):
    def test_tools_and_runtimes_agree_with_the_limits(self):
        box = self.box(limits={"cpus": 0.5, "memory_mb": 384})
        script = {
            "nproc": "1", "getconf _NPROCESSORS_ONLN": "1", "getconf _NPROCESSORS_CONF": "1",
            "python3 -c 'import os; print(os.cpu_count(), os.sysconf(\"SC_NPROCESSORS_ONLN\"))'": "1 1",
            "python3 -c 'import multiprocessing; print(multiprocessing.cpu_count())'": "1",
            "free -m | awk '/^Mem/ {print $2}'": "384",
            "printenv OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS | sort -u": "1",
        }
        if shutil.which("node"):
            script["node -p 'require(\"os\").cpus().length + \" \" + require(\"os\").totalmem() / 1048576'"] = "1 384"
        if shutil.which("java"):
            source = "public class C { public static void main(String[] a) { System.out.println(Runtime.getRuntime().availableProcessors()); } }"
            box.put("/home/user/C.java", source.encode())
            script["java -Xmx128m -Xshare:auto C.java"] = "1"
        for command, expected in script.items():
            with self.subTest(command=command):
                answer = box.exec(command, timeout_ms=60000)
                self.assertEqual(expected, answer["stdout"].strip(), answer["stderr"])
        self.assertEqual("7", box.exec("echo $OMP_NUM_THREADS", env={"OMP_NUM_THREADS": "7"})["stdout"].strip(), "what the caller sets stays")

    def test_new_limits_show(self):
        if os.cpu_count() < 2:
            self.skipTest("needs two CPUs")
        box = self.box(limits={"cpus": 1, "memory_mb": 256})
        self.assertEqual("1", box.exec("nproc")["stdout"].strip())
        self.client.expect(200, "PATCH", f"/v1/sandboxes/{box.id}", json={"limits": {"cpus": 2, "memory_mb": 512}})
        deadline = time.monotonic() + 10
        while box.exec("nproc; free -m | awk '/^Mem/ {print $2}'")["stdout"].split() != ["2", "512"]:
            self.assertLess(time.monotonic(), deadline, "the view never followed the limits")


class Sudo(DaemonCase):
    def test_sudo_asks_for_no_password_and_gives_root(self):
        box = self.box()
        self.assertEqual("root\n", box.exec("sudo whoami")["stdout"])
        answer = box.exec("sudo echo \"$FOO\"", env={"FOO": "bar"})
        self.assertEqual(("bar\n", 0), (answer["stdout"], answer["exit_code"]))
        self.assertEqual("hello", box.exec("sudo tee /etc/greeting; cat /etc/greeting >/dev/null", stdin="hello")["stdout"])

    def test_a_timeout_ends_the_command_too(self):
        box = self.box()
        answer = box.exec("sudo sleep 300", timeout_ms=500)
        self.assertEqual("timed_out", answer["status"])
        self.assertEqual("", box.exec("pgrep -x sleep", user="root")["stdout"])


if __name__ == "__main__":
    unittest.main()
