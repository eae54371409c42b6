"""What must not have changed on the host, whatever ran inside: looked at before and after every group of attacks."""
import hashlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import host

SHARED = ("/usr/bin/env", "/usr/bin/python3", "/etc/ld.so.cache", "/usr/lib/os-release")


def hash_of(path):
    """The bytes as the page cache has them, and as the disk has them where O_DIRECT is to be had."""
    digests = [hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()]
    direct = subprocess.run(["dd", f"if={os.path.realpath(path)}", "iflag=direct", "bs=1M", "status=none"], capture_output=True, check=False)
    if direct.returncode == 0:
        digests.append(hashlib.sha256(direct.stdout).hexdigest())
    return digests


class Host:
    """O1 a canary file, listener and process; O3 taint; O4 counts; O5 shared bytes; O7 the daemon answers."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.folder = tempfile.TemporaryDirectory(prefix="sbx-canary-")
        self.secret = os.urandom(16).hex()
        self.file = pathlib.Path(self.folder.name, "canary")
        self.file.write_text(self.secret)
        self.process = subprocess.Popen(["sleep", "86400"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract_name = "sbx-canary-" + self.secret
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen()
        self.abstract.setblocking(False)
        self.hashes = {path: hash_of(path) for path in SHARED if os.path.exists(path)}
        self.taint = host.kernel_taint()
        self.interfaces = set(os.listdir("/sys/class/net"))
        self.hostname = os.uname().nodename

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def problems(self):
        found = []
        if self.file.read_text() != self.secret:
            found.append("O1: the canary file changed")
        if self.process.poll() is not None:
            found.append("O1: the canary process ended")
        for name, listener in (("TCP", self.listener), ("abstract Unix", self.abstract)):
            try:
                listener.accept()
                found.append(f"O1: something connected to the host's {name} socket")
            except BlockingIOError:
                continue
        if host.kernel_taint() != self.taint:
            found.append("O3: the kernel is tainted")
        if set(os.listdir("/sys/class/net")) != self.interfaces or os.uname().nodename != self.hostname:
            found.append("O4: interfaces or the host name changed")
        found += [f"O5: {path} changed" for path, digests in self.hashes.items() if hash_of(path) != digests]
        began = time.monotonic()
        if self.daemon.status_of("/healthz") != 200 or time.monotonic() - began > 2:
            found.append("O7: the daemon does not answer in time")
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.abstract.close()
        self.folder.cleanup()
