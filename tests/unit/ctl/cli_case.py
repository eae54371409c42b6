"""sandboxctl against the fake daemon: a server in a thread, and calls of the built program."""
import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import unittest

from aiohttp import web

from fake_daemon import KEY, FakeDaemon

BINARY = os.environ.get("SANDBOXCTL", "build/dev/bin/sandboxctl")


class Server:
    """The fake daemon on a port of 127.0.0.1 and a Unix socket, in an event loop of its own."""

    def __init__(self, ssl=None, port=0):
        self.fake = FakeDaemon()
        self.folder = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.folder.name, "sandboxd.sock")
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(ready, ssl, port), daemon=True)
        self.thread.start()
        ready.wait(10)
        self.url = f"{'https' if ssl else 'http'}://127.0.0.1:{self.port}"

    def serve(self, ready, ssl, port):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.start(ssl, port))
        ready.set()
        self.loop.run_forever()

    async def start(self, ssl, port):
        self.fake.go_on = asyncio.Event()
        self.runner = web.AppRunner(self.fake.app())
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port, ssl_context=ssl, shutdown_timeout=0.2)
        await site.start()
        await web.UnixSite(self.runner, self.socket, shutdown_timeout=0.2).start()
        self.port = site._server.sockets[0].getsockname()[1]

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def set(self, event):
        self.loop.call_soon_threadsafe(event.set)

    def stop(self):
        self.call(self.fake.end())
        self.call(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        self.folder.cleanup()


class CliCase(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.fake = self.server.fake
        self.addCleanup(self.server.stop)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def environment(self, **changes):
        env = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOXD_")}
        env.update(SANDBOXD_URL=self.server.url, SANDBOXD_API_KEY=KEY)
        env.update(changes)
        return {name: value for name, value in env.items() if value is not None}

    def start(self, *words, env=None, **more):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        child = subprocess.Popen([BINARY, *words], env=self.environment(**(env or {})), **pipes)
        self.addCleanup(self.end, child)
        return child

    @staticmethod
    def end(child):
        if child.poll() is None:
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe:
                pipe.close()

    def ctl(self, *words, input=None, env=None, code=0):
        """(stdout, stderr) as bytes of a call that has to end with this exit code."""
        stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run([BINARY, *words], env=self.environment(**(env or {})), capture_output=True, timeout=60, **stdin)
        self.assertEqual(code, done.returncode, f"{words}: {done.stdout[-500:]!r} {done.stderr[-500:]!r}")
        return done.stdout, done.stderr

    def wait_for(self, condition, what):
        """Waits for a state that another process brings about."""
        import time
        end = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), end, f"waited in vain for: {what}")
            time.sleep(0.01)  # polls the state


def main():
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[1:]], verbosity=1)
