"""What can't work under the default profile, each with the reason that a person gets to see. docs/workloads.md lists them."""
import tempfile
import unittest

from workload import Workload


class Tracing(Workload):
    def test_strace(self):
        self.need("strace")
        self.control("strace", "-o", "/dev/null", "true")
        self.refused(self.box(), "strace -o trace true", "ptrace", "Operation not permitted")

    def test_strace_under_the_profile_debug_which_is_what_the_refusal_advises(self):
        self.need("strace")
        box = self.box()
        denials = box.exec("strace -o trace true")["denials"]
        hints = {denial["what"]: denial["hint"] for denial in denials if denial["kind"] == "syscall" and "ptrace" in denial["what"]}
        self.assertIn("ptrace(PTRACE_TRACEME)", hints)
        self.assertEqual(["create the sandbox with profile \"debug\""], sorted(set(hints.values())))
        box = self.box(profile="debug")
        self.ok(box, "strace -f -o trace sh -c 'echo $((6 * 7)) > answer'")
        trace = box.read("trace").decode()
        self.assertRegex(trace, r'openat\(AT_FDCWD, "answer", O_WRONLY\|O_CREAT\|O_TRUNC, 0666\)\s+= \d+')
        self.assertIn('write(1, "42\\n", 3)', trace)

    def test_gdb_like_memory_reads(self):
        code = ("import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                "class V(ctypes.Structure): _fields_ = [('b', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
                "b = ctypes.create_string_buffer(8); v = V(ctypes.addressof(b), 8)\n"
                "print(libc.process_vm_readv(os.getpid(), ctypes.byref(v), 1, ctypes.byref(v), 1, 0), os.strerror(ctypes.get_errno()))\n")
        self.assertEqual("8 Success\n", self.control("/usr/bin/python3", "-c", code))
        self.assertEqual("-1 Operation not permitted\n", self.ok(self.box(), argv=["python3", "-c", code]))

    def test_perf_counters(self):
        code = ("import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\na = ctypes.create_string_buffer(128)\n"
                "print(libc.syscall(298, a, 0, -1, -1, 0), os.strerror(ctypes.get_errno()))\n")
        # Zeros ask for an event of no size: whoever may ask gets that far.
        self.assertRegex(self.control("/usr/bin/python3", "-c", code), r"^(\d+ Success|-1 (Argument list too long|Invalid argument|No such file or directory))\n$")
        self.assertEqual("-1 Operation not permitted\n", self.ok(self.box(), argv=["python3", "-c", code]))


class Containers(Workload):
    """Namespaces and mounts: sandboxes in the sandbox."""

    def test_unshare(self):
        for flag in ("-U", "-m", "-n", "-p -f", "-r"):
            with self.subTest(flag=flag):
                self.control("unshare", *flag.split(), "--", "true")
                self.refused(self.box(), f"unshare {flag} true", "Operation not permitted")

    def test_mount_even_for_root(self):
        self.control("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt")
        for shell in ("mount -t tmpfs none /mnt", "mount --bind /tmp /mnt", "umount /proc"):
            with self.subTest(shell=shell):
                said = self.refused(self.box(), shell, user="root")
                self.assertRegex(said, "(?i)permi|superuser")

    def test_chroot(self):
        self.control("chroot", "/", "true")
        self.refused(self.box(), "chroot / true", "Operation not permitted", user="root")

    def test_nsenter_into_PID_1(self):
        self.control("sh", "-c", "nsenter -t $$ -m true")
        said = self.refused(self.box(), "nsenter -t 1 -m true", user="root")
        self.assertRegex(said, "(?i)not permitted|permission denied|no such file")


class Machine(Workload):
    """What would act on the host."""

    def test_the_clock_the_name_and_the_kernel_log(self):
        box = self.box()
        for shell, why in (("date -s 2020-01-01", "not permitted"), ("hostname other", "you must be root|not permitted"),
                           ("dmesg", "not permitted"), ("sysctl -w kernel.hostname=x", "read-only|denied|not permitted"),
                           ("swapoff -a && swapon /etc/passwd", "not permitted|denied|swapon"), ("modprobe loop", "not permitted|not found|denied|could not")):
            with self.subTest(shell=shell):
                self.assertRegex(self.refused(box, shell, user="root").lower(), why)

    def test_higher_priority_and_real_time(self):
        box = self.box()
        self.assertEqual("same\n", self.ok(box, "[ $(nice) = $(nice -n -5 nice 2>/dev/null) ] && echo same; [ $(nice -n 5 nice) -gt $(nice) ]", user="root"))
        self.control("chrt", "-f", "10", "true")
        self.refused(box, "chrt -f 10 true", "Operation not permitted", user="root")

    def test_message_queues(self):
        self.control("sh", "-c", "ipcrm -q $(ipcmk -Q | tr -cd 0-9)")
        box = self.box()
        self.refused(box, "ipcmk -Q", "Function not implemented")
        self.assertRegex(self.ok(box, "ipcmk -M 4096; ipcmk -S 2"), r"(?s)Shared memory id: \d+.*Semaphore id: \d+")  # what to use instead

    def test_services_of_the_system(self):
        self.need("systemctl")
        self.refused(self.box(), "systemctl start postgresql", "systemd", user="root")

    def test_device_nodes(self):
        with tempfile.TemporaryDirectory() as folder:
            self.control("mknod", f"{folder}/null", "c", "1", "3")
        self.refused(self.box(), "mknod null c 1 3", "Operation not permitted", user="root")
        self.refused(self.box(), "mknod sda b 8 0", "Operation not permitted", user="root")

    def test_writing_below_usr(self):
        self.refused(self.box(), "touch /usr/bin/x", "Read-only file system", user="root")


class Network(Workload):
    """With the network `none` there is the loopback, and nothing else."""

    def test_names_and_addresses_fail_at_once(self):
        box = self.box()
        self.need("curl")
        self.refused(box, "curl -sS -m 20 http://192.0.2.1/", "Couldn't connect")
        self.refused(box, "curl -sS -m 20 http://example.org/", "Could not resolve host")

    def test_ping(self):
        self.need("ping")
        self.assertRegex(self.refused(self.box(), "ping -c 1 -W 2 127.0.0.1", user="root").lower(), "not permitted|not supported|denied")

    def test_raw_sockets(self):
        code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"
        self.control("/usr/bin/python3", "-c", code)
        self.refused(self.box(), None, "Error", argv=["python3", "-c", code], user="root")


if __name__ == "__main__":
    unittest.main()
