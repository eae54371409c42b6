"""The HTTP API as a test sees it: requests with keep-alive, raw answers, and a sandbox as an object."""
import http.client
import json as jsonlib
import threading
import urllib.parse

from websocket import WebSocket


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def json(self):
        return jsonlib.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class Unexpected(AssertionError):
    def __init__(self, what, answer):
        super().__init__(f"{what}: {answer!r}")
        self.answer = answer


class Client:
    """One per (address, key); a connection per thread is kept alive."""

    def __init__(self, port, key, host="127.0.0.1"):
        self.address = (host, port)
        self.key = key
        self._local = threading.local()

    def with_key(self, key):
        return Client(self.address[1], key, self.address[0])

    def headers(self, extra=None):
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        headers.update(extra or {})
        return {name: value for name, value in headers.items() if value is not None}

    def _connection(self, timeout):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self.address, timeout=timeout)
            self._local.connection = connection
        connection.timeout = timeout
        if connection.sock:
            connection.sock.settimeout(timeout)
        return connection

    def forget_connection(self):
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def request(self, method, path, json=None, body=None, headers=None, timeout=120):
        """The whole answer. A connection that the server closed between two requests is made anew once."""
        if json is not None:
            body = jsonlib.dumps(json).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        for attempt in (1, 2):
            connection = self._connection(timeout)
            reused = connection.sock is not None
            try:
                connection.request(method, path, body=body, headers=self.headers(headers))
                response = connection.getresponse()
                answer = Answer(response.status, response.getheaders(), response.read())
                if response.will_close:
                    self.forget_connection()
                return answer
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.forget_connection()
                if attempt == 2 or not reused:
                    raise
            except Exception:
                self.forget_connection()
                raise

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, json=None, **more):
        return self.request("POST", path, json=json, **more)

    def stream(self, method, path, json=None, headers=None, timeout=120):
        """An answer that is read piece by piece, on its own connection: (response, connection)."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        body = jsonlib.dumps(json).encode() if json is not None else None
        if json is not None:
            headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, body=body, headers=self.headers(headers))
        return connection.getresponse(), connection

    def events(self, path, json, timeout=120):
        """The NDJSON events of a POST, as they come."""
        response, connection = self.stream("POST", path, json, {"Accept": "application/x-ndjson"}, timeout)
        try:
            if response.status != 200:
                raise Unexpected(f"POST {path}", Answer(response.status, response.getheaders(), response.read()))
            while (line := response.readline()):
                yield jsonlib.loads(line)
        finally:
            connection.close()

    def websocket(self, path, timeout=60):
        return WebSocket(self.address, path, self.headers(), timeout)

    # What most tests do.

    def expect(self, status, method, path, **more):
        answer = self.request(method, path, **more)
        if answer.status != status:
            raise Unexpected(f"{method} {path}: expected {status}", answer)
        return answer

    def run(self, code, language="python", **fields):
        return self.expect(200, "POST", "/v1/run", json={"language": language, "code": code, **fields}).json

    def create(self, **fields):
        return Box(self, self.expect(201, "POST", "/v1/sandboxes", json=fields).json)


def quote(text):
    return urllib.parse.quote(text, safe="")


class Box:
    """A sandbox by its id."""

    def __init__(self, client, info):
        self.client = client
        self.info = info
        self.id = info["id"]
        self.path = f"/v1/sandboxes/{self.id}"

    def get(self):
        return self.client.expect(200, "GET", self.path).json

    def exec(self, shell=None, argv=None, **fields):
        body = {"shell": shell} if argv is None else {"argv": argv}
        return self.client.expect(200, "POST", f"{self.path}/exec", json={**body, **fields}).json

    def start(self, shell, **fields):
        """A detached exec's id."""
        body = {"shell": shell, "detach": True, **fields}
        return self.client.expect(202, "POST", f"{self.path}/exec", json=body).json["exec_id"]

    def exec_info(self, exec_id):
        return self.client.expect(200, "GET", f"{self.path}/exec/{exec_id}").json

    def output(self, exec_id, stream="stdout", offset=0, follow=False):
        follow = "&follow=true" if follow else ""
        return self.client.expect(200, "GET", f"{self.path}/exec/{exec_id}/output?stream={stream}&offset={offset}{follow}").body

    def websocket(self, timeout=60):
        return self.client.websocket(f"{self.path}/exec/ws", timeout)

    def file(self, path, **query):
        more = "".join(f"&{name}={quote(str(value))}" for name, value in query.items())
        return f"{self.path}/files?path={quote(path)}{more}"

    def put(self, path, data, **query):
        return self.client.request("PUT", self.file(path, **query), body=data)

    def read(self, path, **query):
        return self.client.expect(200, "GET", self.file(path, **query)).body

    def delete(self):
        return self.client.request("DELETE", self.path)
