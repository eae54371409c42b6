"""The figures. Each function takes the running daemon and whether to be quick, and gives a Figure."""
import math
import pathlib
import socket
import statistics
import struct
import time

import host
import peers

from measure import Figure, Series, in_turns, percentile, ratio
from websocket import BINARY

def present(sides):
    return {name: work for name, work in sides.items() if work is not None}

def cold_create(daemon, quick):
    """P3: create, run `true`, destroy in the background of the next round."""
    client = daemon.client
    bundle = peers.Bundle()

    def ours():
        began = time.perf_counter()
        box = client.create()
        box.exec(argv=["true"])
        took = time.perf_counter() - began
        box.delete()
        return took
    sides = present({"sandboxd": ours, "bwrap": peers.bubblewrap("true"), "crun": bundle.runner("crun", "/usr/bin/true"),
                     "runc": bundle.runner("runc", "/usr/bin/true"), "bare true": peers.bare("true")})
    series = in_turns(sides, 20 if quick else 200)
    return Figure("P3", "cold: create and run `true`, against `bwrap --unshare-all true`",
                  ratio(series, "sandboxd", "bwrap") if "bwrap" in series else math.nan, 0.6, series=list(series.values()))

def one_shot_python(daemon, quick):
    """P4."""
    client = daemon.client
    bundle = peers.Bundle()

    def ours():
        assert client.run("print(1)")["stdout"] == "1\n"
    sides = present({"sandboxd": ours, "bare python3": peers.bare("/usr/bin/python3", "-c", "print(1)"),
                     "bwrap": peers.bubblewrap("/usr/bin/python3", "-c", "print(1)"),
                     "crun": bundle.runner("crun", "/usr/bin/python3", "-c", "print(1)")})
    series = in_turns(sides, 15 if quick else 100)
    return Figure("P4", "one-shot Python through /v1/run, against bare python3", ratio(series, "sandboxd", "bare python3"), 1.25,
                  series=list(series.values()))

def exec_true(daemon, quick):
    """P5."""
    box = daemon.client.create()
    try:
        series = in_turns({"sandboxd": lambda: box.exec(argv=["true"]), "bare true": peers.bare("true")}, 50 if quick else 500)
    finally:
        box.delete()
    return Figure("P5", "exec `true` in a living sandbox over HTTP, against bare fork and exec", ratio(series, "sandboxd", "bare true"), 1.5,
                  series=list(series.values()))

def creates_among(client, count):
    took = Series("create")
    for _ in range(count):
        began = time.perf_counter()
        box = client.create(limits={"memory_mb": 64})
        took.seconds.append(time.perf_counter() - began)
        box.delete()
    return took

def idle_boxes(client, count):
    return [client.create(limits={"memory_mb": 64, "disk_mb": 32}, timeout_s=3600) for _ in range(count)]

def many_alive(daemon, quick):
    """P9, P10 and P11 share the same thousand idle sandboxes."""
    client = daemon.client
    most = 100 if quick else 1000
    steps = [10] + [step for step in (most // 4, most // 2, most) if step > 10]
    boxes, latency, memory = [], [], []
    try:
        for step in steps:
            boxes += idle_boxes(client, step - len(boxes))
            series = creates_among(client, 20 if quick else 50)
            series.name = f"{step} alive"
            latency.append((step, series))
            memory.append((step, available_kib()))
        idle = idle_cpu(daemon, 5 if quick else 20)
    finally:
        for box in boxes:
            box.delete()
    first, last = latency[0][1].seconds, latency[-1][1].seconds
    growth = statistics.median(last) / statistics.median(first)
    per_box = (memory[0][1] - memory[-1][1]) / (memory[-1][0] - memory[0][0]) / 1024
    return [
        Figure("P9", f"create with {most} idle sandboxes alive, against 10", growth, 1.3, series=[series for _, series in latency],
               notes={"alive": [[step, 1000 * statistics.median(series.seconds)] for step, series in latency]}),
        Figure("P10", "host memory per idle sandbox", per_box, 1.5, unit="MiB", notes={"available_kib": memory}),
        Figure("P11", f"CPU of the daemon with {most} idle sandboxes", 100 * idle, 1.0, unit="% of a core"),
    ]

def available_kib():
    """MemAvailable once it has stopped moving: freeing is lazy."""
    seen = []
    while len(seen) < 50:
        text = pathlib.Path("/proc/meminfo").read_text()
        seen.append(next(int(line.split()[1]) for line in text.splitlines() if line.startswith("MemAvailable")))
        if len(seen) >= 3 and max(seen[-3:]) - min(seen[-3:]) < 2048:
            break
        time.sleep(0.2)
    return seen[-1]

def idle_cpu(daemon, seconds):
    """Cores that both processes use while nobody asks them anything."""
    pids = (daemon.process.pid, daemon.api_pid())
    before, began = sum(host.cpu_seconds(pid) for pid in pids), time.monotonic()
    time.sleep(seconds)  # what is measured is doing nothing
    return (sum(host.cpu_seconds(pid) for pid in pids) - before) / (time.monotonic() - began)

def stream_throughput(daemon, quick):
    """P13."""
    size = (256 << 20) if quick else (1 << 30)
    box = daemon.client.create(limits={"output_mb": (size >> 20) + 16})

    def ours():
        stream = box.websocket(timeout=300)
        stream.send_json(type="start", argv=["head", "-c", str(size), "/dev/zero"], encoding="binary")
        total, began = 0, None
        while True:
            opcode, payload = stream.receive()
            if opcode == BINARY:
                began = began or time.perf_counter()
                total += len(payload) - 9
            elif b'"exit"' in payload[:40] or b'"type":"exit"' in payload:
                break
        took = time.perf_counter() - began
        stream.close()
        if total != size:
            raise ValueError(f"{total} of {size} bytes")
        return took
    try:
        series = in_turns(present({"sandboxd": ours, "socat": peers.socat_throughput(size)}), 3 if quick else 7, warm_up=1)
    finally:
        box.delete()
    value = ratio(series, "socat", "sandboxd") if "socat" in series else math.nan
    return Figure("P13", f"stdout to a WebSocket client, {size >> 20} MiB, against socat from a pipe to TCP", value, 0.7, better="higher",
                  series=list(series.values()))

def first_byte(daemon, quick):
    """P14: a line into `cat` and back, against the same over a bare TCP echo; p99 against p99."""
    echo = peers.Echo()
    plain = socket.create_connection(("127.0.0.1", echo.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    box = daemon.client.create()
    stream = box.websocket()
    stream.send_json(type="start", argv=["cat"], encoding="binary")
    stream.until("started")

    def ours():
        stream.send_binary(b"0123456\n")
        while True:
            opcode, payload = stream.receive()
            if opcode == BINARY and struct.unpack(">BQ", payload[:9])[0] == 1:
                return

    def theirs():
        plain.sendall(b"0123456\n")
        plain.recv(64)
    try:
        series = in_turns({"sandboxd": ours, "loopback echo": theirs}, 200 if quick else 2000, warm_up=20)
    finally:
        stream.close()
        plain.close()
        echo.close()
        box.delete()
    value = math.nan
    if series["sandboxd"].seconds and series["loopback echo"].seconds:
        value = percentile(series["sandboxd"].seconds, 0.99) / percentile(series["loopback echo"].seconds, 0.99)
    return Figure("P14", "a line to a program and its echo back, p99, against a loopback echo", value, 3.0, series=list(series.values()),
                  notes={"includes": "the way in, two context switches inside, and the way out"})

FIGURES = {"p3": cold_create, "p4": one_shot_python, "p5": exec_true, "p9": many_alive, "p10": many_alive, "p11": many_alive,
           "p13": stream_throughput, "p14": first_byte}

