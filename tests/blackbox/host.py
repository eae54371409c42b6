"""What a daemon has put on the host: read from /proc and /sys, never from the daemon's own word."""
import os
import pathlib
import re
import time


def mounts(below):
    """Mount points at or below a folder, in this mount namespace."""
    below = str(below).rstrip("/")
    points = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted(point for point in points if point == below or point.startswith(below + "/"))


def cgroup_trees():
    """{"memory": path, ..., "unified": path} of every cgroup hierarchy that is mounted."""
    trees = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split()[:3]
        point = fields.split()[4]
        if kind == "cgroup2":
            trees["unified"] = point
        elif kind == "cgroup":
            for name in options.split(","):
                if name not in ("rw", "ro"):
                    trees[name] = point
    return trees


def cgroups(name):
    """Every cgroup folder that is called `name` or lies below one that is."""
    found = set()
    for top in set(cgroup_trees().values()):
        for folder, _, _ in os.walk(top):
            if name in folder[len(top):].split("/"):
                found.add(folder)
    return sorted(found)


def loops(below):
    """Loop devices whose backing file is below a folder, deleted files too."""
    below = str(below).rstrip("/") + "/"
    found = []
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = path.read_text().strip()
        except OSError:  # detached meanwhile
            continue
        if backing.startswith(below):
            found.append(f"{path.parts[3]}: {backing}")
    return found


def process_ids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_proc(pid, name):
    """Text of /proc/PID/NAME, or "" when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def read_folder(path):
    """Names in a folder, or none when it is gone."""
    try:
        return os.listdir(path)
    except OSError:
        return []


def parent(pid):
    stat = read_proc(pid, "stat")
    return int(stat.rpartition(")")[2].split()[1]) if stat else 0


def is_zombie(pid):
    stat = read_proc(pid, "stat")
    return not stat or stat.rpartition(")")[2].split()[0] == "Z"


def children(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").glob("*")
            for child in read_proc(pid, f"task/{task.name}/children").split()]


def descendants(pid):
    found, open_list = [], [pid]
    while open_list:
        for child in children(open_list.pop()):
            found.append(child)
            open_list.append(child)
    return found


def processes_in(name):
    """Processes whose cgroup path, in any hierarchy, has a folder called `name`."""
    return [pid for pid in process_ids() if f"/{name}" in read_proc(pid, "cgroup") and not is_inits_zombie(pid)]


def is_inits_zombie(pid):
    """Dead, and the host's own PID 1 is to collect it: the jail of a daemon that died is nobody else's child."""
    return re.search(r"^State:\tZ.*^PPid:\t1$", read_proc(pid, "status"), re.MULTILINE | re.DOTALL) is not None


def resident_kib(pid):
    for line in read_proc(pid, "status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pid):
    fields = read_proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def fd_count(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def network_namespaces():
    """Network namespaces that some process is in."""
    found = set()
    for pid in process_ids():
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            continue
    return found


def kernel_taint():
    return int(pathlib.Path("/proc/sys/kernel/tainted").read_text())


def wait_until(condition, seconds, what):
    """Polls a state (never a fixed sleep); returns the condition's first true value."""
    end = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
