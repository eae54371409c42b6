"""The exec WebSocket: terminals, stdin, signals, detach and attach, and a gigabyte."""
import base64
import hashlib
import struct
import time
import unittest

import host
from case import LONG, DaemonCase
from websocket import BINARY, Closed, Refused

BIG = (1 << 30) if LONG else (256 << 20)


def text_of(events, kind):
    return "".join(event["data"] for event in events if event["type"] == kind)


class Socket(DaemonCase):
    def socket(self, box):
        socket = box.websocket()
        self.addCleanup(socket.abort)
        return socket

    def test_start_stdout_stderr_and_exit(self):
        socket = self.socket(self.box())
        socket.send_json(type="start", shell="echo out; echo err >&2; exit 5")
        events = socket.until("exit")
        self.assertEqual("started", events[0]["type"])
        self.assertEqual(("out\n", "err\n"), (text_of(events, "stdout"), text_of(events, "stderr")))
        self.assertEqual((5, "exited"), (events[-1]["exit_code"], events[-1]["status"]))
        self.assert_usage(events[-1]["usage"])
        with self.assertRaises(Closed) as closed:
            socket.receive()
        self.assertEqual(1000, closed.exception.code)

    def test_stdin_text_base64_binary_and_close(self):
        socket = self.socket(self.box())
        socket.send_json(type="start", argv=["cat"])
        socket.until("started")
        socket.send_json(type="stdin", data="one ")
        socket.send_json(type="stdin", data=base64.b64encode(b"two ").decode(), encoding="base64")
        socket.send_binary(b"three")
        socket.send_json(type="stdin_close")
        events = socket.until("exit")
        self.assertEqual("one two three", text_of(events, "stdout"))
        self.assertEqual(0, events[-1]["exit_code"])

    def test_a_terminal_has_a_size_echo_and_job_control(self):
        socket = self.socket(self.box())
        socket.send_json(type="start", argv=["bash", "--norc", "-i"], pty=True, rows=33, cols=99, env={"PS1": "> "})
        socket.until("started")

        def read_until(mark):
            seen = ""
            while mark not in seen:
                seen += text_of(socket.until("pty"), "pty")
            return seen
        socket.send_json(type="stdin", data="stty size; tty\n")
        self.assertIn("33 99", read_until("/dev/pts/"))
        socket.send_json(type="resize", rows=12, cols=44)
        socket.send_json(type="stdin", data="stty size; echo mark$((1+1))\n")
        self.assertIn("12 44", read_until("mark2"))
        # The echo of a line says nothing about who reads the terminal: the program's own word does, and then the prompt.
        socket.send_json(type="stdin", data="sh -c 'echo up$((1+1)); exec sleep 600'\n")
        read_until("up2")
        socket.send_json(type="stdin", data="\x03")  # Ctrl-C
        read_until("> ")
        socket.send_json(type="stdin", data="echo still $((40+2)); exit 3\n")
        read_until("still 42")
        self.assertEqual(3, socket.until("exit")[-1]["exit_code"])

    def test_a_signal_message_reaches_the_program(self):
        socket = self.socket(self.box())
        socket.send_json(type="start", shell="trap 'echo int; exit 6' INT; echo up; while :; do sleep 0.05; done")
        socket.until("stdout")
        socket.send_json(type="signal", signal="INT", scope="process")
        events = socket.until("exit")
        self.assertEqual(("int\n", 6), (text_of(events, "stdout"), events[-1]["exit_code"]))

    def test_a_meter_frame_comes_each_second(self):
        socket = self.socket(self.box())
        socket.send_json(type="start", shell="timeout 3.5 sh -c 'while :; do :; done'; true")
        meters = []
        while True:
            event = socket.receive_json()
            if event["type"] == "meter":
                self.assert_usage(event["usage"])
                meters.append(event["usage"]["cpu_ms"])
            if event["type"] == "exit":
                break
        self.assertGreaterEqual(len(meters), 2)
        self.assertEqual(sorted(meters), meters)
        self.assertGreater(meters[-1], 500)

    def test_a_client_may_leave_and_attach_again_at_the_byte_it_has(self):
        box = self.box()
        first = self.socket(box)
        first.send_json(type="start", shell="for i in $(seq 40); do echo line $i; sleep 0.05; done")
        exec_id = first.until("started")[0]["exec_id"]
        seen = text_of(first.until("stdout"), "stdout")
        first.abort()
        second = self.socket(box)
        second.send_json(type="attach", exec_id=exec_id, stdout_offset=len(seen.encode()))
        events = second.until("exit")
        output = [event for event in events if event["type"] == "stdout"]
        self.assertEqual(len(seen), output[0]["offset"])
        self.assertEqual("".join(f"line {n}\n" for n in range(1, 41)), seen + text_of(events, "stdout"))

    def test_kill_on_disconnect_ends_the_program_with_the_connection(self):
        box = self.box()
        socket = self.socket(box)
        socket.send_json(type="start", shell="echo up; sleep 600", kill_on_disconnect=True)
        exec_id = socket.until("started")[0]["exec_id"]
        socket.abort()
        host.wait_until(lambda: box.exec_info(exec_id)["status"] == "signaled", 15, "the program is killed")

    def test_bad_messages_are_answered_with_an_error_and_a_close(self):
        box = self.box()
        for message in ({"type": "frob"}, {"type": "start"}, {"type": "start", "shell": "true", "unknown": 1},
                        {"type": "attach", "exec_id": "zzzzzzzzzzzzz"}, {"type": "start", "shell": "true", "pty": "yes"}):
            with self.subTest(message=message):
                socket = self.socket(box)
                socket.send_json(**message)
                event = socket.receive_json()
                self.assertEqual("error", event["type"])
                self.assertLessEqual({"code", "message", "details"}, set(event["error"]))
                with self.assertRaises(Closed) as closed:
                    socket.receive()
                self.assertEqual(1008, closed.exception.code)

    def test_the_upgrade_needs_a_key_and_a_living_sandbox(self):
        box = self.box()
        with self.assertRaises(Refused) as refused:
            self.client.with_key("wrong").websocket(f"{box.path}/exec/ws")
        self.assertEqual(401, refused.exception.status)
        with self.assertRaises(Refused) as refused:
            self.client.websocket("/v1/sandboxes/nosuchsandbox1/exec/ws")
        self.assertEqual(404, refused.exception.status)


class Big(DaemonCase):
    """A stream far larger than anything that may be kept in memory."""

    def setUp(self):
        self.big = self.box(limits={"disk_mb": 64, "output_mb": (BIG >> 20) + 64})
        # A repeatable stream that no compression or short cut gets right: the SHA-256 is known beforehand.
        self.command = f"python3 -c \"import sys\nb=bytes(range(256))*4096\nfor i in range({BIG >> 20}): sys.stdout.buffer.write(b)\""
        digest = hashlib.sha256()
        block = bytes(range(256)) * 4096
        for _ in range(BIG >> 20):
            digest.update(block)
        self.expected = digest.hexdigest()

    def pump(self, socket, digest, offset, stop_at=None):
        """Binary frames into the digest; the offset reached, and whether the exit came."""
        while True:
            opcode, payload = socket.receive()
            if opcode != BINARY:
                if b'"exit"' in payload:
                    return offset, True
                continue
            stream, at = struct.unpack(">BQ", payload[:9])
            self.assertEqual((1, offset), (stream, at))
            digest.update(memoryview(payload)[9:])
            offset += len(payload) - 9
            if stop_at is not None and offset >= stop_at:
                return offset, False

    def test_a_big_stream_arrives_whole_over_a_reconnect_while_the_daemon_stays_flat(self):
        api = self.daemon.api_pid()
        before = host.resident_kib(api)
        digest = hashlib.sha256()
        first = self.big.websocket()
        first.send_json(type="start", shell=self.command, encoding="binary")
        exec_id = first.until("started")[0]["exec_id"]
        offset, _ = self.pump(first, digest, 0, stop_at=BIG // 2)
        first.abort()
        second = self.big.websocket()
        second.send_json(type="attach", exec_id=exec_id, stdout_offset=offset, encoding="binary")
        second.until("started")
        peak = 0
        offset, ended = self.pump(second, digest, offset)
        peak = max(peak, host.resident_kib(api))
        self.assertTrue(ended)
        self.assertEqual(BIG, offset)
        self.assertEqual(self.expected, digest.hexdigest())
        self.assertLess(peak - before, 32 * 1024, "the daemon's memory grew with the stream")

    def test_a_client_that_does_not_read_neither_stops_the_program_nor_fills_the_daemon(self):
        api = self.daemon.api_pid()
        before = host.resident_kib(api)
        socket = self.big.websocket()
        self.addCleanup(socket.abort)
        socket.send_json(type="start", shell=self.command + "; echo end >&2", encoding="binary")
        exec_id = socket.until("started")[0]["exec_id"]
        host.wait_until(lambda: self.big.exec_info(exec_id)["status"] == "exited", 300, "the program ends though nobody reads")
        self.assertLess(host.resident_kib(api) - before, 32 * 1024)

    def test_a_byte_is_seen_soon_after_it_was_written(self):
        socket = self.box().websocket()
        self.addCleanup(socket.abort)
        socket.send_json(type="start", argv=["cat"])
        socket.until("started")
        times = []
        for number in range(50):
            began = time.monotonic()
            socket.send_json(type="stdin", data=f"{number}\n")
            socket.until("stdout")
            times.append(time.monotonic() - began)
        self.assertLess(sorted(times)[25], 0.25)  # a bound against polling by seconds, not a benchmark


if __name__ == "__main__":
    unittest.main()
