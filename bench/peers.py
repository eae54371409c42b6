"""What people would use by hand, started with the same program. Only what is installed is measured."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid


def quiet(command, **more):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, **more)


def bare(*argv):
    return lambda: quiet(list(argv))


def bubblewrap(*argv):
    """The system read-only, everything else new: what `host` is in sandboxd."""
    command = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
               "--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev",
               "--tmpfs", "/tmp", "--tmpfs", "/home", "--die-with-parent", *argv]
    return (lambda: quiet(command)) if shutil.which("bwrap") else None


class Bundle:
    """An OCI bundle over the machine's /usr for crun and runc."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sbx-bundle-")
        root = pathlib.Path(self.folder.name, "rootfs")
        for name in ("usr", "proc", "dev", "sys", "tmp", "etc"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        shutil.copy("/etc/ld.so.cache", root / "etc")

    def write(self, argv):
        namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network", "cgroup")]
        mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
                  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
                  {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
                  {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}]
        config = {"ociVersion": "1.0.2", "root": {"path": "rootfs", "readonly": True}, "mounts": mounts,
                  "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": list(argv), "cwd": "/", "noNewPrivileges": True,
                              "env": ["PATH=/usr/bin:/bin"], "capabilities": {}},
                  "linux": {"namespaces": namespaces}}
        pathlib.Path(self.folder.name, "config.json").write_text(json.dumps(config))

    def runner(self, program, *argv):
        if not shutil.which(program):
            return None

        def run():
            self.write(argv)
            quiet([program, "run", "--bundle", self.folder.name, "bench-" + uuid.uuid4().hex[:12]])
        try:
            run()
        except subprocess.CalledProcessError:
            # E.g. crun on hybrid control groups. A peer that cannot run here is left out, not counted as failing.
            print(f"  {program} is installed but does not run here: left out")
            return None
        return run


class Echo:
    """An HTTP server that answers each request with nothing much: the floor of a loopback round trip."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while (data := connection.recv(65536)):
                if data.endswith(b"\r\n\r\n"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
                elif not data.startswith((b"GET", b"POST")):
                    connection.sendall(data)  # a raw echo

    def close(self):
        self.listener.close()


def socat_throughput(size):
    """Seconds for `size` bytes from a pipe through socat to a TCP client that only reads."""
    if not shutil.which("socat"):
        return None
    import time

    def run():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        source = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
        server = subprocess.Popen(["socat", "-u", "-b262144", "STDIN", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"], stdin=source.stdout)
        source.stdout.close()
        buffer = bytearray(1 << 18)
        total = 0
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                if server.poll() is not None:
                    raise
        began = time.perf_counter()
        with connection:
            while (n := connection.recv_into(buffer)):
                total += n
        took = time.perf_counter() - began
        source.wait()
        server.wait()
        if total != size:
            raise ValueError(f"{total} of {size} bytes")
        return took
    return run


def machine():
    """The machine in words, without its name."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    models = {line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")}
    memory = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    version = os.uname().release.partition("-")[0]
    virtual = "hypervisor" in text
    return {"cpus": os.cpu_count(), "cpu_model": ", ".join(sorted(models)) or "unknown", "memory_gib": round(memory / (1 << 20), 1),
            "kernel": version, "system": release.get("PRETTY_NAME", "").strip('"'), "virtual_machine": virtual,
            "load_before": round(os.getloadavg()[0], 2)}
