"""A small synchronous WebSocket client (RFC 6455): frames as they are, so that tests see what the wire carries."""
import base64
import json
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed: {code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the upgrade with something else than 101."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status
        self.headers = headers
        self.body = body


class WebSocket:
    def __init__(self, address, path, headers=None, timeout=60):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb", buffering=1 << 18)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = int(self.stream.readline().split()[1])
        answer = {}
        while (line := self.stream.readline().strip()):
            name, _, value = line.decode().partition(":")
            answer[name.lower()] = value.strip()
        if status != 101:
            body = self.stream.read(int(answer.get("content-length", "0")))
            self.abort()
            raise Refused(status, answer, body)

    def send(self, opcode, payload):
        mask = os.urandom(4)
        head = bytes([0x80 | opcode])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
        self.socket.sendall(head + mask + masked)

    def send_json(self, **message):
        self.send(TEXT, json.dumps(message).encode())

    def send_binary(self, payload):
        self.send(BINARY, payload)

    def _exactly(self, count):
        data = self.stream.read(count)
        if len(data) != count:
            raise Closed(1006, "the connection broke")
        return data

    def receive(self):
        """The next text or binary message as (opcode, bytes). Answers pings; raises Closed."""
        opcode, parts = 0, []
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length == 126:
                length, = struct.unpack(">H", self._exactly(2))
            elif length == 127:
                length, = struct.unpack(">Q", self._exactly(8))
            payload = self._exactly(length)
            kind = first & 0x0F
            if kind == PING:
                self.send(PONG, payload)
            elif kind == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode(errors="replace"))
            elif kind != PONG:
                opcode = opcode or kind
                parts.append(payload)
                if first & 0x80:
                    return opcode, b"".join(parts)

    def receive_json(self):
        opcode, payload = self.receive()
        if opcode != TEXT:
            raise AssertionError(f"a binary message of {len(payload)} bytes where text was expected")
        return json.loads(payload)

    def until(self, *types, skip=("meter",)):
        """Events up to and with the first of one of these types; meter frames are left out."""
        events = []
        while True:
            event = self.receive_json()
            if event["type"] not in skip or event["type"] in types:
                events.append(event)
            if event["type"] in types:
                return events

    def close(self):
        try:
            self.send(CLOSE, struct.pack(">H", 1000))
        except OSError:
            pass
        self.abort()

    def abort(self):
        """Gone without a goodbye."""
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.abort()
