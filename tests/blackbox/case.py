"""What every black-box test stands on: one daemon per process, made on first use, and the contract's error shape."""
import os
import unittest

from client import Unexpected
from sandboxd_daemon import Daemon, Died

LONG = os.environ.get("SANDBOXD_TEST_LONG") == "1"
_daemon = None


def daemon():
    """The daemon that the tests of this process share."""
    global _daemon
    if _daemon is None:
        _daemon = Daemon()
        _daemon.start()
    if not _daemon.alive():
        raise Died(f"the shared daemon has ended with {_daemon.process.returncode}:\n{_daemon.log_tail()}")
    return _daemon


def shared_daemon_if_any():
    return _daemon


class DaemonCase(unittest.TestCase):
    """Tests against the shared daemon. Boxes made through self.box() are destroyed afterwards."""

    @property
    def daemon(self):
        return daemon()

    @property
    def client(self):
        if not hasattr(self, "_client"):
            self._client = daemon().client
        return self._client

    def box(self, **fields):
        box = self.client.create(**fields)
        self.addCleanup(box.delete)
        return box

    def assert_error(self, answer, status, code, *words):
        """The contract: {"error":{"code","message","details"}}; the words stand in the message or the details."""
        if answer.status != status:
            raise Unexpected(f"expected {status} {code}", answer)
        self.assertEqual("application/json", answer.headers["content-type"].partition(";")[0])
        self.assertEqual({"error"}, set(answer.json))
        error = answer.json["error"]
        self.assertLessEqual({"code", "message", "details"}, set(error), answer)
        self.assertEqual(code, error["code"], answer)
        self.assertIsInstance(error["details"], dict)
        self.assertTrue(error["message"])
        text = f"{error['message']} {error['details']}"
        for word in words:
            self.assertIn(word, text, answer)
        return error

    def assert_usage(self, usage):
        """`usage` exactly as the contract has it: integers and a decimal string."""
        self.assertEqual({"wall_ms", "cpu_ms", "memory_peak_bytes", "memory_mib_ms", "disk_bytes", "egress_bytes", "gpu_ms", "cost"},
                         set(usage))
        for name, value in usage.items():
            if name != "cost":
                self.assertIs(int, type(value), name)
                self.assertGreaterEqual(value, 0, name)
        cost = usage["cost"]
        self.assertEqual({"amount", "currency", "price_book"}, set(cost))
        self.assertRegex(cost["amount"], r"^\d+\.\d{6,12}$")
        self.assertRegex(cost["currency"], r"^[A-Z]{3}$")
        self.assertRegex(cost["price_book"], r"^[\w.-]+@\d+$")
