"""What must not have changed on the host, whatever ran inside: looked at before and after every attack.

O1 canaries, O3 kernel log and taint, O4 counts, O5 bytes that all tenants share, O7 the daemon answers and creates.
O2, a neighbour's heartbeat, is neighbour.py; O6, the posture of every thread, is posture.py."""
import hashlib
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time

import host

# Files of the `host` template that every sandbox reads and no package manager replaces meanwhile.
SHARED = ("/usr/bin/env", "/usr/bin/python3", "/usr/bin/bash", "/usr/lib/os-release", "/usr/lib/x86_64-linux-gnu/libc.so.6")
SETTLE_SECONDS = 15       # the daemon removes disks and groups in the background, the kernel its namespaces
GROWN_KIB = 48 * 1024     # an allocator's caches and SQLite's pages, over a whole class of attacks
# What a kernel says when something is wrong with it. An OOM kill in a group, or a segfault, is its ordinary work.
ALARM = re.compile(r"\bBUG\b|WARNING: CPU|Oops|general protection fault|KASAN|UBSAN|use-after-free|refcount_t|soft lockup|hard LOCKUP|"
                   r"blocked for more than|rcu: INFO|Kernel panic|list_(add|del) corruption|Out of memory: Killed process|global_oom")


def hash_of(path):
    """The bytes as the page cache has them, and as the disk has them where O_DIRECT is to be had."""
    digests = [hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()]
    direct = subprocess.run(["dd", f"if={os.path.realpath(path)}", "iflag=direct", "bs=1M", "status=none"], capture_output=True, check=False)
    if direct.returncode == 0:
        digests.append(hashlib.sha256(direct.stdout).hexdigest())
    return digests


class KernelLog:
    """New lines of /dev/kmsg since this object was made. None where it can't be read (says so in `readable`)."""

    def __init__(self):
        try:
            self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self.fd, 0, os.SEEK_END)
        except OSError:
            self.fd = -1

    @property
    def readable(self):
        return self.fd >= 0

    def new_lines(self):
        lines = []
        while self.fd >= 0:
            try:
                record = os.read(self.fd, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:  # records were overwritten before they were read: go on with what is there
                continue
            except OSError:
                break
            lines.append(record.decode(errors="replace").partition(";")[2].splitlines()[0])
        return lines

    def alarms(self):
        return [line for line in self.new_lines() if ALARM.search(line)]

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)


def counts(daemon):
    """O4: what the daemon and its sandboxes hold of the host. Numbers that must come back to what they were."""
    monitor, api, group = daemon.process.pid, daemon.api_pid(), daemon.find_group()
    figures = {
        "fds of the monitor": host.fd_count(monitor),
        "threads of the monitor": len(os.listdir(f"/proc/{monitor}/task")),
        "mounts": len(host.mounts(daemon.folder)),
        "control groups": len(host.cgroups(group)),
        "processes": len([pid for pid in host.processes_in(group) if not host.is_zombie(pid)]),
        "zombies of the monitor": len([pid for pid in host.children(monitor) if host.is_zombie(pid)]),
        "loop devices": len(host.loops(daemon.folder)),
        "network namespaces": len({os.stat(f"/proc/{pid}/ns/net").st_ino for pid in daemon.jail_pids()}),
        "sandboxes recorded": entries(daemon.state_dir / "sandboxes"),
        "agents": entries(daemon.state_dir / "agents"),
        "disks": entries(daemon.state_dir / "pool"),
    }
    # The output of programs that ended is kept for a while, up to a number for each sandbox; connections come and go.
    figures["fds of the api, in twenties"] = (len([name for name in fd_names(api) if "/spool" not in name and not name.startswith("/dev/")]) + 15) // 20
    return figures


def fd_names(pid):
    names = []
    for fd in host.read_folder(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
    return names


def entries(folder):
    return len(host.read_folder(folder))


class Host:
    def __init__(self, daemon):
        self.daemon = daemon
        self.folder = tempfile.TemporaryDirectory(prefix="sbx-canary-")
        self.secret = os.urandom(16).hex()
        self.file = pathlib.Path(self.folder.name, "canary")
        self.file.write_text(self.secret)
        self.process = subprocess.Popen(["sleep", "86400"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract_name = "sbx-canary-" + self.secret
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen()
        self.abstract.setblocking(False)
        self.hashes = {path: hash_of(path) for path in SHARED if os.path.exists(path)}
        self.taint = host.kernel_taint()
        self.log = KernelLog()
        self.interfaces = set(os.listdir("/sys/class/net"))
        self.hostname = os.uname().nodename
        self.before = None
        self.resident = (0, 0)

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def settle(self):
        """Takes the counts that every later look is compared with: once the class's own sandboxes are there."""
        def quiet():
            first = counts(self.daemon)
            time.sleep(0.05)  # two equal looks, a moment apart
            return first if first == counts(self.daemon) else None
        self.before = host.wait_until(quiet, SETTLE_SECONDS, "the daemon is at rest")
        self.resident = self._resident()

    def _resident(self):
        return host.resident_kib(self.daemon.process.pid), host.resident_kib(self.daemon.api_pid())

    def problems(self):
        return [*self._canaries(), *self._kernel(), *self._counts(), *self._shared_bytes(), *self._daemon()]

    def _canaries(self):
        if self.file.read_text() != self.secret:
            yield "O1: the canary file changed"
        if self.process.poll() is not None:
            yield "O1: the canary process ended"
        for name, listener in (("TCP", self.listener), ("abstract Unix", self.abstract)):
            try:
                listener.accept()
                yield f"O1: something connected to the host's {name} socket"
            except BlockingIOError:
                continue

    def _kernel(self):
        if host.kernel_taint() != self.taint:
            yield "O3: the kernel is tainted"
        for line in self.log.alarms():
            yield f"O3: the kernel says: {line}"

    def problems_of_the_kernel(self):
        return list(self._kernel())

    def _counts(self):
        if set(os.listdir("/sys/class/net")) != self.interfaces or os.uname().nodename != self.hostname:
            yield "O4: interfaces or the host name changed"
        if self.before is None:
            return
        try:
            host.wait_until(lambda: not self._grown(), SETTLE_SECONDS, "the counts are as before")
        except TimeoutError:
            for line in self._grown():
                yield f"O4: {line}"
            self.before = counts(self.daemon)  # told once
        for name, then, now in zip(("monitor", "api"), self.resident, self._resident()):
            if now - then > GROWN_KIB:
                yield f"O4: resident memory of the {name} grew from {then} to {now} KiB"

    def _grown(self):
        now = counts(self.daemon)
        return [f"{name}: {then} before, {now[name]} now" for name, then in self.before.items() if now[name] > then]

    def _shared_bytes(self):
        for path, digests in self.hashes.items():
            if hash_of(path) != digests:
                yield f"O5: {path} changed"

    def _daemon(self):
        began = time.monotonic()
        if self.daemon.status_of("/healthz") != 200 or time.monotonic() - began > 2:
            yield "O7: the daemon does not answer in time"

    def can_create(self):
        """O7, the other half: a new sandbox starts and answers."""
        box = self.daemon.client.create(limits={"memory_mb": 64})
        try:
            return box.exec("echo alive")["stdout"] == "alive\n"
        finally:
            box.delete()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.abstract.close()
        self.log.close()
        self.folder.cleanup()
