"""The table of class C: ways to take more than one's share. Each runs in a sandbox of its own beside a neighbour with a heart.

Abuse(name, command inside, control outside, what it says inside ...). The control is the same probe with a small amount, as
root of the host: it must get through, so that a refusal inside is the sandbox's doing."""
import dataclasses

SMALL = {"memory_mb": 64, "pids": 64, "disk_mb": 64, "output_mb": 4}
ENDED = ("exited", "oom_killed", "signaled", "limit")


@dataclasses.dataclass(frozen=True)
class Abuse:
    name: str
    inside: str                  # arguments of the probe, or a shell command where `shell`
    control: str                 # arguments of the probe, as root outside; "uid ..." as a user of no rights, in bounds
    says: str = "going"          # its first line inside, as a pattern; "" when it may be killed before it says anything
    ends: tuple = ("running",)   # how its exec may stand when the time is over
    seconds: float = 0.6
    limits: dict = dataclasses.field(default_factory=lambda: SMALL)
    shell: bool = False
    peak_mib: int = 96           # of the sandbox's own figure, which the kernel counts


def grab(name, kind, most, says, control=3, **more):
    return Abuse(name, f"grab {kind} {most} hold", f"grab {kind} {control}", says, ends=("running", "oom_killed"), **{"seconds": 0.5, **more})


def storm(name, kind, workers=8, ends=("running",), **more):
    return Abuse(name, f"storm {kind} {workers}", f"storm {kind} 1 150", ends=ends, **more)


# The memory of dead processes is charged for a moment longer: making them fast enough may end at the memory limit.
def churn(name, kind, workers=8):
    return storm(name, kind, workers, ends=("running", "oom_killed"))


def bomb(name, kind, workers=2):
    return Abuse(name, f"storm {kind} {workers}", f"uid storm {kind} 1", ends=("running", "oom_killed"))


DESCRIPTORS = r"\d{3,5} EMFILE"
TABLES = [
    grab("descriptors", "fds", 500000, DESCRIPTORS), grab("event counters", "eventfds", 500000, DESCRIPTORS),
    grab("epoll instances", "epolls", 500000, DESCRIPTORS), grab("timer descriptors", "timerfds", 500000, DESCRIPTORS),
    grab("signal descriptors", "signalfds", 500000, DESCRIPTORS), grab("process descriptors", "pidfds", 500000, DESCRIPTORS),
    grab("memory files", "memfds", 500000, "|" + DESCRIPTORS), grab("empty pipes", "pipes", 500000, "|" + DESCRIPTORS),
    grab("inotify instances", "inotify", 500000, r"\d{1,3} EMFILE"), grab("inotify watches", "watches", 500000, r"\d{3,5} (ENOSPC|EDQUOT)"),
    grab("epoll watches", "epoll_watches", 5000000, r"|\d+ (ENOSPC|ENOMEM)"), grab("terminals", "ptys", 5000, r"\d{1,3} ENOSPC"),
    grab("timers", "timers", 500000, r"\d{3,5} EAGAIN"), grab("queued signals", "signals", 500000, r"\d{3,5} EAGAIN"),
    grab("file locks", "locks", 5000000, r"|\d+ (ENOLCK|ENOMEM)"), grab("semaphores", "semaphores", 500000, r"|\d{2,5} (ENOSPC|ENOMEM)"),
    grab("shared memory segments", "segments", 500000, r"|\d{2,5} (ENOSPC|ENOMEM|EINVAL)"),
    grab("mappings", "mappings", 5000000, r"\d{4,6} ENOMEM"), grab("locked memory", "locked_mib", 400, r"\d{1,2} (ENOMEM|EAGAIN)"),
    grab("threads", "threads", 50000, r"\d{1,2} EAGAIN"), grab("children", "children", 50000, r"\d{1,2} EAGAIN"),
    grab("zombies", "zombies", 50000, r"\d{1,2} EAGAIN"), grab("extended attributes", "attributes", 50000, r"\d+ (ENOSPC|EDQUOT|E2BIG)", control=1),
    grab("hard links", "links", 500000, r"|\d{2,5} (EMLINK|EDQUOT|ENOSPC)"),
    grab("files in /dev/shm", "shm_mib", 400, r"|\d{2} (ENOSPC|ENOMEM)"),
    grab("a disk", "disk_mib", 400, r"\d{2} (ENOSPC|EDQUOT)"), grab("a disk without names", "nameless_mib", 400, r"\d{2} (ENOSPC|EDQUOT)"),
    grab("empty files", "files", 5000000, r"|\d+ (ENOSPC|EDQUOT)", seconds=1.2),
    grab("a deep folder", "folders", 20000, r"|\d+ (ok|ENOSPC|EDQUOT|ENOMEM)", seconds=1.2),
    grab("names that are not there", "negative_dentries", 300000, r"|300000 ok", seconds=1.2),
]

MEMORY = [Abuse(f"memory as {kind}", f"take {kind} 400", f"take {kind} 16", r"|ENOMEM|ENOSPC|ENOBUFS|EMFILE|EINVAL|EPERM", ends=ENDED + ("running",))
          for kind in ("heap", "memfd", "sysv", "sockets", "pipes", "tables")]
MEMORY += [Abuse(f"unread bytes: {kind}", f"queue {kind} 400 hold", f"queue {kind} 2", r"|\d+ (ENOBUFS|ENOMEM|EMFILE|EAGAIN)",
                 ends=ENDED + ("running",)) for kind in ("stream", "datagram", "tcp", "udp")]
MEMORY += [
    Abuse("descriptors under way", "in_flight 5000000 hold", "in_flight 600", r"|\d+ (ETOOMANYREFS|EMFILE|ENOMEM|ENOBUFS)", ends=ENDED + ("running",)),
    Abuse("unread netlink dumps", "netlink_dumps 50000 hold", "netlink_dumps 3", r"|\d+ (EMFILE|ENOBUFS|ENOMEM)", ends=ENDED + ("running",)),
    storm("thrashing", "thrash", 1, ends=("running", "oom_killed")), storm("rereading what does not fit", "reread", 2, seconds=1.2),
]

PROCESSES = [
    bomb("a fork bomb that is deaf and leaves its session", "bomb"), bomb("a vfork bomb", "vfork_bomb"), bomb("a thread bomb", "thread_bomb"),
    bomb("stopping everybody", "stop"),
    Abuse("the classic in bash", "b() { b | b & }; echo going; b; wait", "uid storm bomb 1", shell=True, ends=("running", "exited")),
    Abuse("a watchdog that starts again whatever is killed", "echo going; w() { trap '' TERM INT HUP; while :; do sh -c 'trap \"\" TERM; sleep 0.01' & "
          "sleep 0.01; done; }; w & w & w & wait", "uid storm bomb 1", shell=True),
    churn("fork and exit", "fork"), churn("vfork and exit", "vfork"), churn("orphans for PID 1", "orphan"),
    churn("a crash loop", "crash", 4), Abuse("exec for ever", "echo going; exec sh -c 'exec sh -c \"$0\" \"$0\"' 'exec sh -c \"$0\" \"$0\"'",
                                             "storm fork 1 150", shell=True),
]

PROCESSOR = [
    storm("spinning", "spin"), storm("spinning in as many processes as may be", "spin", 60), storm("changes of priority", "priorities"),
    storm("changes of affinity", "one_cpu"), storm("mapping and unmapping", "map"), storm("shooting down translations", "shoot_down", 4),
    storm("barriers across CPUs", "barrier"), storm("timers of one nanosecond", "timers", 4), storm("alarms of one nanosecond", "alarms", 4),
    storm("waking sleepers", "wakes", 16), storm("random numbers", "random"), storm("packets on loopback", "packets", 4),
    storm("connections on loopback", "connections", 2), storm("reading all of /proc", "proc", 4), storm("notifications", "notifications", 4),
]

DISK = [
    storm("rewriting", "rewrite", 2, seconds=1.2), storm("writing past the cache", "write_through", 4, seconds=1.2),
    storm("writing and syncing", "write_sync", 4, seconds=1.2), storm("small files", "small_files", 4, seconds=1.2), storm("renames", "rename", 4),
    storm("holes", "holes", 4, seconds=1.2),
]

OUTPUT = [
    Abuse("a flood of output", "echo going; exec yes", "storm spin 1 150", shell=True, ends=("running", "limit")),
    Abuse("a flood on both streams", "echo going; yes >&2 & exec yes", "storm spin 1 150", shell=True, ends=("running", "limit")),
    Abuse("a flood of short writes", "echo going; while :; do echo; done", "storm spin 1 150", shell=True, ends=("running", "limit")),
]

ABUSES = TABLES + MEMORY + PROCESSES + PROCESSOR + DISK + OUTPUT
