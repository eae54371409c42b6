"""O6: how every thread of a sandbox stands before the kernel, read from the host's /proc, in words that are the same on
every machine: ids relative to the sandbox's range, namespaces as "own" or "host", mounts without what lies below them."""
import json
import os
import pathlib
import re

import host

GOLDEN = pathlib.Path(__file__).with_name("posture.golden.json")
STATUS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")
NAMESPACES = ("user", "pid", "pid_for_children", "mnt", "ipc", "uts", "net", "cgroup", "time", "time_for_children")
OURS = ("proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "overlay", "mqueue", "cgroup2")  # file systems that the jail makes; the rest is the template's


def status(pid, thread):
    text = host.read_proc(pid, f"task/{thread}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def relative(numbers, base):
    return " ".join(f"+{int(number) - base}" if int(number) >= base else number for number in numbers.split())


def thread_posture(pid, thread, inmate):
    """None when it ended meanwhile."""
    fields = status(pid, thread)
    if "Seccomp" not in fields or fields.get("State", "Z").startswith(("Z", "X")):
        return None
    found = {name: fields[name].strip() for name in STATUS if name in fields}
    for name in ("Uid", "Gid", "Groups"):
        found[name] = relative(fields[name], inmate.ids.start)
    for kind in NAMESPACES:
        try:
            here, outside = (os.readlink(f"/proc/{who}/ns/{kind}") for who in (f"{pid}/task/{thread}", "self"))
        except OSError:
            continue
        found[f"ns {kind}"] = "host" if here == outside else "own"
    for name in ("uid_map", "gid_map"):
        rows = [line.split() for line in host.read_proc(pid, f"task/{thread}/{name}").splitlines()]
        found[name] = "; ".join(f"{inside} {relative(there, inmate.ids.start)} {count}" for inside, there, count in rows)
    found["limits"] = limits(pid)
    found["fds"] = descriptors(pid)
    return found


def limits(pid):
    rows = (re.split(r"\s{2,}", line.strip()) for line in host.read_proc(pid, "limits").splitlines()[1:])
    # How many processes a user may have is the kernel's guess from the size of this machine.
    return {row[0].removeprefix("Max "): f"{row[1]} {row[2]}" for row in rows if row[0] != "Max processes"}


def descriptors(pid):
    kinds = set()
    for fd in host.read_folder(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        kinds.add(re.sub(r":\[\d+\]$|\d+$", "", target.removesuffix(" (deleted)")) if not target.startswith("/sys/fs/cgroup") else "a control group's folder")
    return sorted(kinds)


def mounts(pid):
    """point -> "flags type" of what the jail makes, "flags" of the template's parts."""
    found = {}
    for line in host.read_proc(pid, "mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind = rest.split()[0]
        flags = ",".join(flag for flag in fields.split()[5].split(",") if flag not in ("relatime", "noatime"))
        found[fields.split()[4]] = f"{flags} {kind}" if kind in OURS else flags
    return found


def collect(inmate):
    """{"init": ..., "user": ..., "root": ...}: each a list of the different postures that threads of that kind have."""
    found = {}
    for pid in host.processes_in(inmate.id):
        for thread in host.read_folder(f"/proc/{pid}/task"):
            posture = thread_posture(pid, thread, inmate)
            if posture is None:
                continue
            first = posture["Uid"].split()[0]
            kind = "init" if pid == inmate.init else {"+0": "root", "+1000": "user"}.get(first, f"uid {first}")
            if posture not in found.setdefault(kind, []):
                found[kind].append(posture)
    found["mounts"] = mounts(inmate.init)
    return found


def update(found):
    GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def differences(found):
    """Against the golden file, as lines for people."""
    golden = json.loads(GOLDEN.read_text())
    lines = []
    for kind in sorted(set(found) | set(golden)):
        if kind == "mounts":
            lines += mount_differences(found[kind], golden[kind])
            continue
        for posture in found.get(kind, []):
            if posture not in golden.get(kind, []):
                nearest = (golden.get(kind) or [{}])[0]
                lines.append(f"{kind}: " + ", ".join(f"{name} is {value!r}, not {nearest.get(name)!r}"
                                                     for name, value in posture.items() if nearest.get(name) != value))
    return lines


def mount_differences(found, golden):
    lines = [f"a mount at {point} that nobody expects" for point in sorted(set(found) - set(golden))]
    lines += [f"{point} is mounted {found[point]!r}, not {golden[point]!r}" for point in sorted(set(found) & set(golden)) if found[point] != golden[point]]
    # Masks cover what a kernel has; kernels differ in that.
    lines += [f"no mount at {point}" for point in sorted(set(golden) - set(found)) if os.path.exists(point) or not point.startswith(("/proc/", "/sys/"))]
    return lines
