"""One sandbox as the host sees it: found by its control group's name, never by the daemon's word. And what is left of it."""
import os
import re

import host


class Inmate:
    """Ids, namespaces and groups of a living sandbox, remembered so that they can be looked for when it is gone."""

    NAMESPACES = ("user", "pid", "mnt", "ipc", "uts", "net", "cgroup")

    def __init__(self, daemon, box):
        self.daemon = daemon
        self.id = box.id
        self.pids = [pid for pid in host.processes_in(box.id) if not host.is_zombie(pid)]
        if not self.pids:
            raise LookupError(f"no process of the host is in a group called {box.id}")
        # PID 1 of the jail: the one whose innermost pid is 1.
        self.init = next(pid for pid in self.pids if re.search(r"^NSpid:.*\t1$", host.read_proc(pid, "status"), re.MULTILINE))
        first, base, size = host.read_proc(self.init, "uid_map").split()[:3]
        self.ids = range(int(base), int(base) + int(size))
        self.namespaces = {kind: link(self.init, kind) for kind in self.NAMESPACES}
        self.mapped_from = int(first)
        self.host_namespaces = {kind: link(os.getpid(), kind) for kind in self.NAMESPACES}

    def owned(self):
        """Processes of the host that run with one of its ids."""
        found = []
        for pid in host.process_ids():
            ids = re.search(r"^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$", host.read_proc(pid, "status"), re.MULTILINE)
            if ids and any(int(number) in self.ids for number in ids.groups()) and not host.is_inits_zombie(pid):
                found.append(pid)
        return found

    def inside_namespaces(self):
        """Processes of the host that are in one of its namespaces, the host's own not counted."""
        ours = {name for kind, name in self.namespaces.items() if name != self.host_namespaces[kind]}
        return [pid for pid in host.process_ids() if ours & {link(pid, kind) for kind in self.NAMESPACES}]

    def leftovers(self):
        left = [f"process {pid} in its group" for pid in host.processes_in(self.id)]
        left += [f"process {pid} with its ids" for pid in self.owned()]
        left += [f"process {pid} in its namespaces" for pid in self.inside_namespaces()]
        left += [f"control group {path}" for path in host.cgroups(self.id)]
        left += [f"mount {point}" for point in host.mounts("/") if self.id in point]
        for folder in ("sandboxes", "agents", "pool", "pool/sandboxes", "pool/volumes"):
            path = self.daemon.state_dir / folder
            left += [f"{folder}/{name}" for name in host.read_folder(path) if self.id in name]
        return left

    def assert_gone(self, seconds=15):
        try:
            host.wait_until(lambda: not self.leftovers(), seconds, "nothing of it is left")
        except TimeoutError:
            raise AssertionError("left of a destroyed sandbox:\n  " + "\n  ".join(self.leftovers())) from None


def link(pid, kind):
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""
