"""A daemon of its own for a test: fresh state folder, free port, known by pid, and checked for what it leaves."""
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import host
from client import Client

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 60


def bin_dir():
    """$SANDBOXD_BIN_DIR, or the newest build in the tree."""
    if os.environ.get("SANDBOXD_BIN_DIR"):
        return pathlib.Path(os.environ["SANDBOXD_BIN_DIR"]).resolve()
    built = [path.parent for path in (ROOT / "build").glob("*/bin/sandboxd") if path.parts[-3] in ("dev", "release")]
    if not built:
        raise FileNotFoundError("no build/dev/bin/sandboxd and no build/release/bin/sandboxd: build first, or set SANDBOXD_BIN_DIR")
    return max(built, key=lambda folder: (folder / "sandboxd").stat().st_mtime)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Died(Exception):
    pass


class Daemon:
    """`sandboxd --dev` with `extra` arguments, or `sandboxd --config` when `config` (TOML text) is given."""

    def __init__(self, extra=(), config=None, name="test"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"sandboxd-{name}-"))
        self.state_dir = self.folder / "state"
        self.log_path = self.folder / "log"
        self.port = free_port()
        self.extra = list(extra)
        self.config = config
        self.process = None
        self.group = None        # name of the daemon's cgroup folder, once a jail has shown it
        self._key = None

    # Life.

    def command(self):
        if self.config is None:
            return [str(bin_dir() / "sandboxd"), "--dev", "--listen", f"127.0.0.1:{self.port}", "--state-dir", str(self.state_dir),
                    *self.extra]
        path = self.folder / "config.toml"
        path.write_text(self.config.format(port=self.port, state_dir=self.state_dir))
        return [str(bin_dir() / "sandboxd"), "--config", str(path), *self.extra]

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        begin = log.tell()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        if wait:
            self.wait_ready()
            self.wait_tested(begin)
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, seconds=START_SECONDS):
        def ready():
            if not self.alive():
                raise Died(f"sandboxd ended with {self.process.returncode}:\n{self.log_tail()}")
            return self.status_of("/readyz") == 200
        try:
            host.wait_until(ready, seconds, "the daemon is ready")
        except TimeoutError as error:
            raise Died(f"{error}\n{self.log_tail()}") from error

    def wait_tested(self, begin, seconds=START_SECONDS):
        """Until the daemon has tested its own walls, which it does in the background: tests count what is on the host."""
        def tested():
            if not self.alive():
                raise Died(f"sandboxd ended with {self.process.returncode}:\n{self.log_tail()}")
            said = self.log_path.read_bytes()[begin:]
            return b"self-test made" in said or b"self-test could not be made" in said
        if "log_level" not in (self.config or "") and "--log-level" not in self.extra:
            host.wait_until(tested, seconds, "the daemon has tested its walls")

    def status_of(self, path):
        """The status of a GET, or 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def log_tail(self, lines=40):
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM; the exit code."""
        self.find_group()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Died(f"sandboxd did not end within {seconds} s of SIGTERM:\n{self.log_tail()}") from None

    def kill_monitor(self):
        """kill -9 of sandboxd itself; its jails go on."""
        self.find_group()
        self.process.kill()
        self.process.wait()

    def api_pid(self):
        for pid in host.children(self.process.pid):
            if host.read_proc(pid, "comm").strip() == "sandboxd-api" and not host.is_zombie(pid):
                return pid
        return 0

    def kill_api(self):
        """kill -9 of sandboxd-api; returns once its successor is ready."""
        old = self.api_pid()
        if not old:
            raise Died(f"no sandboxd-api below {self.process.pid}:\n{self.log_tail()}")
        os.kill(old, signal.SIGKILL)
        host.wait_until(lambda: self.api_pid() not in (0, old), START_SECONDS, "sandboxd-api runs again")
        self.wait_ready()

    def jail_pids(self):
        """PID 1 of each jail."""
        group = self.find_group()
        return [pid for pid in host.processes_in(group) if host.read_proc(pid, "comm").startswith("sandbox-init")
                and group not in host.read_proc(host.parent(pid), "cgroup")] if group else []

    def find_group(self):
        """Name of this daemon's cgroup folder: from a jail's own cgroup, not from the daemon's word."""
        if self.group is None and self.alive():
            for pid in host.descendants(self.process.pid):
                found = re.search(r"/(sandboxd-[A-Za-z0-9_.-]+)(?:/|$)", host.read_proc(pid, "cgroup"), re.MULTILINE)
                if found and host.read_proc(pid, "comm").startswith("sandbox-init"):
                    self.group = found.group(1)
                    break
        return self.group

    # Talking to it.

    @property
    def key(self):
        if self._key is None:
            self._key = (self.state_dir / "dev.key").read_text().strip()
        return self._key

    @property
    def client(self):
        return Client(self.port, self.key)

    # What is left on the host.

    def leftovers(self):
        """Everything of this daemon that is still on the host, as lines for people."""
        left = [f"mount {point}" for point in host.mounts(self.folder)]
        left += [f"loop device {device}" for device in host.loops(self.folder)]
        if self.group:
            left += [f"cgroup {path}" for path in host.cgroups(self.group)]
            left += [f"process {pid} {host.read_proc(pid, 'comm').strip()}" for pid in host.processes_in(self.group)
                     if not host.is_zombie(pid)]
        state = str(self.state_dir)
        for pid in host.process_ids():
            if pid != os.getpid() and state in host.read_proc(pid, "cmdline").split("\0") and not host.is_zombie(pid):
                left.append(f"process {pid}: {host.read_proc(pid, 'cmdline')[:120]}")
        return left

    def assert_nothing_left(self, seconds=20):
        try:
            host.wait_until(lambda: not self.leftovers(), seconds, "the host is clean")
        except TimeoutError:
            raise AssertionError("left on the host:\n  " + "\n  ".join(self.leftovers())) from None

    def destroy(self):
        """For tearDown: ends everything of this daemon by what was found of it, whatever state it is in."""
        self.find_group()
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._sweep()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self):
        # Only after a failed test is anything left here; a clean machine for the next test matters more than elegance.
        if self.group:
            for path in host.cgroups(self.group):
                kill = pathlib.Path(path, "cgroup.kill")
                if kill.exists():
                    kill.write_text("1")
            for pid in host.processes_in(self.group):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        for point in reversed(host.mounts(self.folder)):
            subprocess.run(["umount", "-l", point], check=False)
        for device in host.loops(self.folder):
            subprocess.run(["losetup", "-d", "/dev/" + device.partition(":")[0]], check=False)
        for path in reversed(host.cgroups(self.group) if self.group else []):
            try:
                os.rmdir(path)
            except OSError:
                continue

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()
