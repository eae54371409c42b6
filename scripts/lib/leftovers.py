#!/usr/bin/python3
"""What a test run has left on the host: leftovers.py save FILE before, leftovers.py check FILE after.

Compares mounts, cgroups, loop devices, network interfaces, named network namespaces and daemon processes. Exit code 1
and a list when something new is there."""
import json
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "blackbox"))
import host  # noqa: E402

PROGRAMS = ("sandboxd", "sandboxd-api", "sandbox-init", "sandbox-probe")
SETTLE_SECONDS = 20  # the kernel takes network namespaces and cgroups down in the background


def start_time(pid):
    stat = host.read_proc(pid, "stat")
    return stat.rpartition(")")[2].split()[19] if stat else ""


def snapshot():
    processes = {}
    for pid in host.process_ids():
        name = host.read_proc(pid, "comm").strip()
        if not host.is_zombie(pid) and (name in PROGRAMS or "/sandboxd-" in host.read_proc(pid, "cgroup")):
            processes[f"{pid} {name} {start_time(pid)}"] = True
    groups = [folder for top in set(host.cgroup_trees().values()) for folder, _, _ in os.walk(top) if "sandboxd" in folder[len(top):]]
    named = pathlib.Path("/run/netns")
    return {
        "mount": [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()],
        "cgroup": groups,
        "loop device": host.loops("/"),
        "network interface": os.listdir("/sys/class/net"),
        "network namespace": [entry.name for entry in named.iterdir()] if named.is_dir() else [],
        "process": list(processes),
    }


def new_since(before):
    now = snapshot()
    found = []
    for kind, names in now.items():
        old = list(before.get(kind, []))
        for name in names:
            if name in old:
                old.remove(name)  # as often as it was there before
            else:
                found.append(f"{kind} {name}")
    return found


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("save", "check"):
        print(__doc__)
        return 2
    path = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "save":
        path.write_text(json.dumps(snapshot()))
        return 0
    before = json.loads(path.read_text())
    end = time.monotonic() + SETTLE_SECONDS
    while (found := new_since(before)) and time.monotonic() < end:
        time.sleep(0.2)  # polls
    for line in found:
        print(f"left on the host: {line}")
    print("1 passed, 0 failed, 0 skipped" if not found else "0 passed, 1 failed, 0 skipped")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
