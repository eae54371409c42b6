"""O2: what a well-behaved neighbour notices. A sandbox of its own beats on a fixed schedule (work, a write, the time); a
phase of an attack is compared with the quiet phases right before and after it, in the same run, because the machine under
the tests is shared and noisy. Ratios of percentiles; a floor, below which nobody would call it a disturbance."""
import math
import time

import host

PERIOD_MS = 4
TIMES = 2.0
# A beat that comes this late at worst is what any two busy programs on one machine do to each other: scheduler slices of
# 3 ms, a journal commit. A host that is really disturbed is above it by far (test_abuse.Control shows it).
FLOOR_MS = 25.0


def p99(values):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)] if ordered else 0.0


class Neighbour:
    def __init__(self, client, install):
        self.box = client.create(limits={"memory_mb": 64, "disk_mb": 64, "output_mb": 64}, timeout_s=3600)
        install(self.box)
        self.exec_id = self.box.start(f"exec ./probe heartbeat {PERIOD_MS}")
        self.offset = 0
        self.rest = b""
        self.beats = []  # (epoch in seconds, lateness in ms)
        host.wait_until(self._read, 20, "the neighbour's heart beats")

    def _read(self):
        data = self.box.output(self.exec_id, offset=self.offset)
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            began, *late = line.split()
            self.beats += [(int(began) / 1000 + number * PERIOD_MS / 1000, int(value) / 1000) for number, value in enumerate(late)]
        return bool(self.beats)

    def phase(self, began, ended):
        """Lateness in ms of the beats that were due in that time. Waits for them: a starved neighbour tells late."""
        def arrived():
            self._read()
            return self.beats[-1][0] >= ended
        host.wait_until(arrived, 60, "the neighbour's heart beats on")
        found = [late for at, late in self.beats if began <= at < ended]
        self.beats = [beat for beat in self.beats if beat[0] >= began - 30]
        return found

    def watch(self, seconds):
        """p99 of a phase of that length from now."""
        began = time.time()
        time.sleep(seconds)  # the length of the observation, not a wait for a state
        return p99(self.phase(began, began + seconds))

    def close(self):
        self.box.delete()


def disturbed(quiet, attack):
    return attack > max(TIMES * quiet, FLOOR_MS)
