"""A small stand-in for sandboxd: the routes that sandboxctl calls, with real programs of this host behind exec. It serves
on a free port and, where asked, on a Unix socket, and can break connections in the middle of a stream."""
import asyncio
import base64
import json
import os
import signal
import struct
import time

from aiohttp import WSMsgType, web

KEY = "sbx_test"
USAGE = {"wall_ms": 1020, "cpu_ms": 35, "memory_peak_bytes": 25270682, "memory_mib_ms": 20000, "disk_bytes": 0, "egress_bytes": 0,
         "gpu_ms": 0, "cost": {"amount": "0.000123", "currency": "USD", "price_book": "test@1"}}


def refusal(status, code, message, **details):
    return web.json_response({"error": {"code": code, "message": message, "details": details}}, status=status)


class Exec:
    """A program with its output kept, so that it can be read from any offset by any number of readers."""

    def __init__(self, number, body):
        self.id = f"exec{number:08d}"
        self.body = body
        self.out, self.err = bytearray(), bytearray()
        self.pty = bool(body.get("pty"))
        self.changed = asyncio.Condition()
        self.open_pipes = 0
        self.code = None
        self.signals, self.sizes = [], []
        self.started = time.time()

    async def start(self):
        argv = self.body.get("argv") or ["bash", "-c", self.body["shell"]]
        env = {**os.environ, **self.body.get("env", {})}
        if self.pty:
            self.master, slave = os.openpty()
            self.resize(self.body.get("rows", 24), self.body.get("cols", 80))
            self.process = await asyncio.create_subprocess_exec(*argv, stdin=slave, stdout=slave, stderr=slave, env=env,
                                                                start_new_session=True, preexec_fn=self.take_terminal)
            os.close(slave)
            tasks = [self.read_master()]
        else:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env,
                                                                start_new_session=True)
            tasks = [self.read_pipe(self.process.stdout, self.out), self.read_pipe(self.process.stderr, self.err)]
        self.tasks = [asyncio.ensure_future(task) for task in tasks]
        self.open_pipes = len(tasks)
        self.waiter = asyncio.ensure_future(self.wait())

    @staticmethod
    def take_terminal():
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, cols):
        import fcntl
        import termios
        self.sizes.append((rows, cols))
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    async def read_pipe(self, pipe, into):
        while data := await pipe.read(65536):
            async with self.changed:
                into += data
                self.changed.notify_all()

    async def read_master(self):
        loop = asyncio.get_running_loop()
        os.set_blocking(self.master, False)
        while True:
            readable = loop.create_future()
            loop.add_reader(self.master, lambda: readable.done() or readable.set_result(None))
            try:
                await readable
                data = os.read(self.master, 65536)
            except OSError:  # the last one on the other side has gone
                return
            finally:
                loop.remove_reader(self.master)
            async with self.changed:
                self.out += data
                self.changed.notify_all()

    async def wait(self):
        code = await self.process.wait()
        await asyncio.gather(*self.tasks)
        async with self.changed:
            self.code = code if code >= 0 else 128 - code
            self.signal = -code if code < 0 else 0
            self.changed.notify_all()

    def kill(self, name, scope):
        self.signals.append((name, scope))
        number = getattr(signal, "SIG" + name)
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    async def write(self, data):
        if self.pty:
            os.write(self.master, data)
            return
        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, output=True):
        status = "running" if self.code is None else "signaled" if self.signal else "exited"
        answer = {"sandbox_id": "box00000", "exec_id": self.id, "status": status, "exit_code": self.code, "results": [], "denials": [],
                  "usage": USAGE, "stdout_bytes": len(self.out), "stderr_bytes": len(self.err), "command": " ".join(
                      self.body.get("argv") or [self.body["shell"]]), "started_at": "2026-01-01T00:00:00.000Z"}
        if output:
            answer["stdout"] = self.out.decode(errors="replace")
            answer["stderr"] = self.err.decode(errors="replace")
        answer.update(self.body.get("fake_exit", {}))
        return answer


class FakeDaemon:
    def __init__(self):
        self.requests = []        # (method, path with query, body)
        self.execs = {}
        self.files = {}
        self.shown = {}           # path -> the name that a listing gives it
        self.sandboxes = [self.sandbox(i) for i in range(5)]
        self.drop_after = None    # break each WebSocket once it has sent so many bytes
        self.connections = 0      # WebSockets that were accepted
        self.refuse_upgrades = 0  # answer so many upgrades with 503

    @staticmethod
    def sandbox(number):
        return {"id": f"box{number:05d}", "tenant": "dev", "template": "host", "state": "running" if number else "paused",
                "limits": {"cpus": 0.5, "memory_mb": 512, "disk_mb": 1024, "pids": 256, "output_mb": 64}, "network": "none",
                "metadata": {"n": str(number)}, "created_at": "2026-01-01T00:00:00.000Z", "expires_at": None, "timeout_s": 300,
                "on_timeout": "kill", "usage": USAGE}

    @web.middleware
    async def guard(self, request, handler):
        body = None
        if request.method in ("POST", "PUT") and "/files" not in request.path or request.path.endswith("/mkdir"):
            text = await request.text()
            body = json.loads(text) if text else None
        request["json"] = body
        self.requests.append((request.method, request.path_qs, body))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refusal(401, "unauthorized", "no valid API key")
        return await handler(request)

    def app(self):
        app = web.Application(middlewares=[self.guard], client_max_size=1 << 30)
        box = "/v1/sandboxes/{id}"
        app.add_routes([
            web.post("/v1/run", self.run), web.get("/v1/sandboxes", self.list), web.post("/v1/sandboxes", self.create),
            web.delete(box, self.remove), web.post(box + "/{what:pause|resume|snapshot|fork}", self.act),
            web.get(box + "/exec/ws", self.socket), web.post(box + "/exec", self.post_exec), web.get(box + "/exec", self.list_execs),
            web.delete(box + "/exec/{exec}", self.kill_exec), web.get(box + "/exec/{exec}/output", self.output),
            web.get(box + "/files", self.get_file), web.put(box + "/files", self.put_file), web.get(box + "/files/stat", self.stat_file),
            web.get(box + "/files/list", self.list_files), web.post(box + "/files/mkdir", self.make_directory),
            web.get("/v1/usage", self.usage), web.get("/v1/templates", self.templates),
            web.get("/v1/admin/keys", self.keys), web.post("/v1/admin/keys", self.create_key),
            web.delete("/v1/admin/keys/{id}", self.no_content), web.get("/v1/admin/tenants", self.tenants),
            web.put("/v1/admin/tenants/{id}", self.echo), web.post("/v1/admin/drain", self.drain),
            web.post("/v1/admin/{what}", self.echo),
            web.get("/readyz", self.echo)])
        return app

    async def end(self):
        """Nothing that was started here outlives the server."""
        for run in self.execs.values():
            if run.code is None:
                run.kill("KILL", "tree")
                await asyncio.wait([run.waiter], timeout=5)
            if run.pty:
                os.close(run.master)

    # Runs: the code says what the answer is.

    async def run(self, request):
        body = request["json"]
        if body["code"] == "refuse":
            return refusal(400, "limit_exceeded", "memory_mb: the ceiling is 4096", limit="memory_mb", asked=9000, allowed=4096)
        facts = {"status": "exited", "exit_code": 3, "usage": USAGE}
        if body["code"] == "timeout":
            facts = {"status": "timed_out", "exit_code": 137, "usage": USAGE,
                     "error": {"name": "Timeout", "message": "timed out after 60000 ms: raise timeout_ms"}}
        if "ndjson" not in request.headers.get("Accept", ""):
            return web.json_response({"stdout": "out", "stderr": "err", "results": [], **facts})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)

        async def send(**event):
            await response.write(json.dumps(event).encode() + b"\n")

        def data(raw):
            return base64.b64encode(raw).decode() if body.get("encoding") == "base64" else raw.decode(errors="replace")
        await send(type="start", sandbox_id="box00000", exec_id="e")
        await send(type="stdout", offset=0, data=data(b"first\xff\n"))
        if body["code"] == "live":
            # The rest comes when the client has shown the first line: that is what the test waits for before it says so.
            await self.go_on.wait()
        await send(type="stderr", offset=0, data=data(b"err\n"))
        await send(type="truncated", stream="stdout", dropped=2048)
        if body["code"] == "fail":
            await send(type="error", error={"code": "node_lost", "message": "the sandbox was lost", "details": {}})
        elif body["code"] != "cut":
            await send(type="exit", **facts)
        return response

    # Sandboxes.

    async def list(self, request):
        limit, cursor = 2, int(request.query.get("cursor", "0"))  # small pages
        page = {"sandboxes": self.sandboxes[cursor:cursor + limit]}
        if cursor + limit < len(self.sandboxes):
            page["next_cursor"] = str(cursor + limit)
        return web.json_response(page)

    async def create(self, request):
        if (request["json"].get("limits") or {}).get("memory_mb", 0) > 4096:
            return refusal(400, "limit_exceeded", "memory_mb: the ceiling is 4096", limit="memory_mb", asked=9000, allowed=4096)
        return web.json_response(self.sandbox(7), status=201)

    async def remove(self, request):
        return refusal(404, "not_found", "sandbox") if request.match_info["id"] == "missing0" else web.Response(status=204)

    async def act(self, request):
        if request.match_info["what"] == "fork":
            return web.json_response({"sandboxes": [self.sandbox(8), self.sandbox(9)]}, status=201)
        if request.match_info["what"] == "snapshot":
            return refusal(409, "incompatible", "this daemon has no snapshots yet")
        return web.json_response(self.sandbox(0))

    # Programs.

    async def new_exec(self, body):
        run = Exec(len(self.execs) + 1, body)
        self.execs[run.id] = run
        await run.start()
        return run

    async def post_exec(self, request):
        body = request["json"]
        if (body.get("argv") or [""])[0] == "missing-program":
            return refusal(400, "command_not_found", "missing-program is not in the sandbox")
        if (body.get("argv") or [""])[0] == "ln":
            *_, target, path = body["argv"]
            self.files[os.path.join("/home/user", path)] = (0o777, target)
            return web.json_response({"status": "exited", "exit_code": 0, "usage": USAGE})
        run = await self.new_exec(body)
        if body.get("detach"):
            return web.json_response({"exec_id": run.id}, status=202)
        if "stdin" in body:
            await run.write(body["stdin"].encode())
        if not run.pty:
            run.process.stdin.close()
        await run.waiter
        return web.json_response(run.answer())

    async def list_execs(self, request):
        return web.json_response({"execs": [run.answer(output=False) for run in self.execs.values()]})

    async def kill_exec(self, request):
        run = self.execs[request.match_info["exec"]]
        run.kill(request.query.get("signal", "TERM"), request.query.get("scope"))
        await run.waiter
        return web.json_response(run.answer())

    async def output(self, request):
        run = self.execs[request.match_info["exec"]]
        data = bytes(run.err if request.query["stream"] == "stderr" else run.out)
        return web.Response(body=data[int(request.query.get("offset", "0")):], content_type="application/octet-stream",
                            headers={"X-Output-Dropped": "0"})

    async def socket(self, request):
        if self.refuse_upgrades > 0:
            self.refuse_upgrades -= 1
            return refusal(503, "unavailable", "the node is restarting")
        if request.match_info["id"] == "missing0":
            return refusal(404, "not_found", "no sandbox missing0")
        ws = web.WebSocketResponse(max_msg_size=1 << 28)
        await ws.prepare(request)
        self.connections += 1
        first = json.loads((await ws.receive()).data)
        if (first.get("argv") or [""])[0] == "missing-program":
            await ws.send_json({"type": "error", "error": {"code": "command_not_found", "message": "missing-program is not in the sandbox",
                                                           "details": {}}})
            await ws.close(code=1008, message=b"missing-program is not in the sandbox")
            return ws
        offsets = [0, 0]
        if first["type"] == "attach":
            run = self.execs[first["exec_id"]]
            offsets = [first.get("stdout_offset", 0), first.get("stderr_offset", 0)]
        else:
            run = await self.new_exec(first)
        await ws.send_json({"type": "started", "sandbox_id": request.match_info["id"], "exec_id": run.id, "status": "running", "pty": run.pty})
        reader = asyncio.ensure_future(self.hear(ws, run))
        try:
            await self.tell(request, ws, run, offsets)
        except ConnectionResetError:
            pass  # the client has left
        reader.cancel()
        return ws

    async def hear(self, ws, run):
        async for message in ws:
            if message.type == WSMsgType.BINARY and message.data == b"refuse this":
                await ws.send_json({"type": "error", "error": {"code": "unavailable", "message": "stdin: it is closed", "details": {}}})
                continue
            if message.type == WSMsgType.BINARY:
                await run.write(message.data)
                continue
            command = json.loads(message.data)
            self.requests.append(("WS", command["type"], command))
            if command["type"] == "stdin":
                await run.write(command["data"].encode())
            elif command["type"] == "stdin_close" and not run.pty:
                run.process.stdin.close()
            elif command["type"] == "resize":
                run.resize(command["rows"], command["cols"])
            elif command["type"] == "signal":
                run.kill(command["signal"], command.get("scope"))

    async def tell(self, request, ws, run, offsets):
        budget = self.drop_after
        await ws.send_json({"type": "meter", "usage": USAGE})
        while not ws.closed:
            async with run.changed:
                while run.code is None and offsets[0] >= len(run.out) and offsets[1] >= len(run.err) and not ws.closed:
                    await run.changed.wait()
                pieces = [bytes(run.out[offsets[0]:offsets[0] + 65536]), bytes(run.err[offsets[1]:offsets[1] + 65536])]
                ended = run.code is not None
            for index, piece in enumerate(pieces):
                if not piece:
                    continue
                if budget is not None:
                    piece = piece[:budget]
                    budget -= len(piece)
                stream = 3 if run.pty else index + 1
                await ws.send_bytes(struct.pack(">BQ", stream, offsets[index]) + piece)
                offsets[index] += len(piece)
                if budget == 0:
                    request.transport.abort()
                    return
            if ended and not any(pieces):
                await ws.send_json({"type": "exit", **run.answer(output=False)})
                await ws.close(code=1000, message=b"the program has ended")
                return

    # Files: a tree in memory, path -> (mode, bytes), None for a folder, a string for a symlink.

    @staticmethod
    def path_of(request):
        return os.path.normpath(os.path.join("/home/user", request.query["path"]))

    def info(self, path, shown=None):
        mode, content = self.files[path]
        kind = "directory" if content is None else "symlink" if isinstance(content, str) else "file"
        info = {"path": shown or path, "name": os.path.basename(path), "type": kind, "size": len(content or b""), "mode": f"{mode:04o}",
                "uid": 1000, "gid": 1000, "modified_at": "2026-01-01T00:00:00.000Z"}
        if kind == "symlink":
            info["target"] = content
        return info

    async def stat_file(self, request):
        path = self.path_of(request)
        if path == "/home/user":
            return web.json_response({"path": path, "name": "user", "type": "directory", "size": 0, "mode": "0755"})
        return web.json_response(self.info(path)) if path in self.files else refusal(404, "not_found", f"{path}: no such file")

    async def get_file(self, request):
        path = self.path_of(request)
        if path not in self.files:
            return refusal(404, "not_found", f"{path}: no such file")
        return web.Response(body=self.files[path][1], content_type="application/octet-stream")

    async def put_file(self, request):
        path = self.path_of(request)
        self.files[path] = (int(request.query.get("mode", "0644"), 8), await request.read())
        return web.json_response(self.info(path), status=201)

    async def make_directory(self, request):
        path = os.path.normpath(os.path.join("/home/user", request["json"]["path"]))
        self.files[path] = (int(request["json"].get("mode", "0755"), 8), None)
        return web.json_response(self.info(path), status=201)

    async def list_files(self, request):
        path = self.path_of(request)
        inside = [name for name in self.files if os.path.dirname(name) == path]
        return web.json_response({"path": path, "truncated": False,
                                  "entries": [self.info(name, self.shown.get(name, name[len(path) + 1:])) for name in sorted(inside)]})

    # The rest.

    async def usage(self, request):
        rows = [{"sandbox": "box00000", "usage": USAGE}, {"sandbox": "box00001", "usage": USAGE}]
        if "cursor" not in request.query:
            return web.json_response({"rows": rows[:1], "total": USAGE, "next_cursor": "1"})
        return web.json_response({"rows": rows[1:], "total": USAGE})

    async def templates(self, request):
        return web.json_response({"templates": [{"name": "host", "description": "this machine's own"}]})

    async def keys(self, request):
        return web.json_response({"keys": [{"id": "key00001", "tenant": "dev", "label": "ci\x1b[31m", "admin": True,
                                            "created_at": "2026-01-01T00:00:00.000Z"}]})

    async def create_key(self, request):
        return web.json_response({"id": "key00002", "secret": "sbx_new", **request["json"]}, status=201)

    async def tenants(self, request):
        return web.json_response({"tenants": [{"id": "dev", "limits": {"sandboxes": 50, "per_sandbox": {"pids": 256}}}]})

    async def drain(self, request):
        running = [{"sandbox_id": "box00001", "exec_id": "exec00001"}] if request["json"].get("timeout_s") == 1 else []
        return web.json_response({"drained": not running, "execs_running": len(running), "running": running})

    async def echo(self, request):
        return web.json_response(request["json"] or {})

    async def no_content(self, request):
        return web.Response(status=204)
