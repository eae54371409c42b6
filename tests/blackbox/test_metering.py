"""Every second is counted, once, and adds up to the cent."""
import datetime
import decimal
import json
import pathlib
import time
import unittest

from case import DaemonCase
from client import quote
from sandboxd_daemon import ROOT

SUMMED = ("cpu_ms", "memory_mib_ms", "egress_bytes", "gpu_ms")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows_of(page):
    return page.get("rows", page.get("usage"))


class Usage(DaemonCase):
    def usage(self, begin, group_by, **query):
        """All rows of a query over its pages, and the total."""
        rows, cursor = [], ""
        end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = "".join(f"&{name}={quote(value)}" for name, value in query.items())
        while True:
            page = self.client.expect(200, "GET", f"/v1/usage?from={quote(begin)}&to={quote(end)}&group_by={group_by}{more}{cursor}").json
            rows += rows_of(page)
            if not page.get("next_cursor"):
                return rows, page["total"]
            cursor = f"&cursor={quote(page['next_cursor'])}"

    def test_execs_and_idle_add_up_to_the_sandbox_and_to_the_ledger_exactly(self):
        begin = now()
        box = self.client.create()
        for _ in range(3):
            box.exec("i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done")
        box.exec("python3 -c \"b = bytearray(64 << 20); import time; time.sleep(1.5)\"")
        last = box.get()["usage"]
        self.assertEqual(204, box.delete().status)
        rows, _ = self.usage(begin, "exec", sandbox=box.id)
        sandbox_rows, _ = self.usage(begin, "sandbox", sandbox=box.id)
        self.assertEqual(1, len(sandbox_rows))
        whole = sandbox_rows[0].get("usage", sandbox_rows[0])
        parts = [row.get("usage", row) for row in rows]
        self.assertIn("idle", {row["exec"] for row in rows})
        self.assertEqual(5, len(rows))
        money = sum((decimal.Decimal(part["cost"]["amount"]) for part in parts), decimal.Decimal(0))
        self.assertEqual(decimal.Decimal(whole["cost"]["amount"]), money)
        for name in SUMMED:
            # Milliseconds in answers are rounded down per row, the ledger's nanoseconds are not: less than one per row.
            self.assertLessEqual(0, whole[name] - sum(part[name] for part in parts))
            self.assertLess(whole[name] - sum(part[name] for part in parts), len(parts))
        for name in ("cpu_ms", "wall_ms", "memory_mib_ms"):
            self.assertGreaterEqual(whole[name], last[name])

    def test_cpu_time_is_what_the_program_burnt(self):
        box = self.box()
        answer = box.exec("python3 -c \"import time\nwhile time.process_time() < 2: pass\"")
        self.assertGreaterEqual(answer["usage"]["cpu_ms"], 1950)
        self.assertLess(answer["usage"]["cpu_ms"], 2800)

    def test_memory_is_integrated_over_time(self):
        box = self.box()
        usage = box.exec("python3 -c \"b = bytearray(200 << 20); import time; time.sleep(3)\"")["usage"]
        self.assertGreaterEqual(usage["memory_peak_bytes"], 200 << 20)
        self.assertGreater(usage["memory_mib_ms"], 200 * 1500)
        self.assertLess(usage["memory_mib_ms"], 300 * (usage["wall_ms"] + 1000))

    def test_an_idle_sandbox_burns_no_cpu_but_its_wall_time_counts(self):
        box = self.box()
        box.exec("true")
        before = box.get()["usage"]
        end = time.monotonic() + 2
        while time.monotonic() < end:
            time.sleep(end - time.monotonic())  # idle is what is measured
        after = box.get()["usage"]
        self.assertLess(after["cpu_ms"] - before["cpu_ms"], 100)
        self.assertGreaterEqual(after["wall_ms"] - before["wall_ms"], 1900)

    def test_the_cost_is_the_price_book_applied_to_the_counters(self):
        book = json.loads(pathlib.Path(ROOT / "policies/price-books/default.json").read_text(encoding="utf-8"))
        box = self.box()
        usage = box.exec("python3 -c \"import time\nwhile time.process_time() < 1: pass\"")["usage"]
        self.assertEqual(f"{book['name']}@{book['version']}", usage["cost"]["price_book"])
        price = {name: decimal.Decimal(value) for name, value in book["prices"].items()}
        cpu = price.get("cpu_second", 0) * usage["cpu_ms"] / 1000
        memory = price.get("memory_gib_second", 0) * usage["memory_mib_ms"] / 1024 / 1000
        wall = price.get("wall_second", 0) * usage["wall_ms"] / 1000
        expected = cpu + memory + wall
        self.assertAlmostEqual(float(expected), float(decimal.Decimal(usage["cost"]["amount"])), delta=float(expected) * 0.02 + 1e-9)

    def test_groups_by_tenant_and_day_have_the_same_total(self):
        begin = now()
        self.client.run("print(1)")
        _, by_sandbox = self.usage(begin, "sandbox")
        for group in ("tenant", "day"):
            rows, total = self.usage(begin, group)
            self.assertTrue(rows)
            self.assertLessEqual(decimal.Decimal(by_sandbox["cost"]["amount"]), decimal.Decimal(total["cost"]["amount"]))
            self.assertEqual(decimal.Decimal(total["cost"]["amount"]),
                             sum(decimal.Decimal(row.get("usage", row)["cost"]["amount"]) for row in rows))

    def test_the_ledger_remembers_sandboxes_that_are_gone(self):
        begin = now()
        answer = self.client.run("print(1)")
        rows, _ = self.usage(begin, "sandbox")
        row = next(row for row in rows if row["sandbox"] == answer["sandbox_id"])
        self.assertGreaterEqual(row.get("usage", row)["cpu_ms"], answer["usage"]["cpu_ms"])

    def test_bad_queries_are_refused_by_name(self):
        for query, field in (("from=yesterday", "from"), ("group_by=planet", "group_by"), ("limit=0", "limit"), ("cursor=%21", "cursor")):
            with self.subTest(query=query):
                self.assert_error(self.client.get(f"/v1/usage?{query}"), 400, "invalid_argument", field)


if __name__ == "__main__":
    unittest.main()
