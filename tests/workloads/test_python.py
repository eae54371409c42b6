"""Python as models use it: threads below numpy, processes, event loops, databases, wheels, data frames and plots."""
import unittest

from workload import Workload

NUMPY = """
import os, threading, numpy as np
n = 700
rng = np.random.default_rng(1)
a, b = rng.integers(0, 50, (n, n)), rng.integers(0, 50, (n, n))
exact = int((a.sum(axis=0) * b.sum(axis=1)).sum())
got = [None] * 4
def work(i):
    got[i] = int((a.astype(float) @ b.astype(float)).sum())
workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for w in workers: w.start()
for w in workers: w.join()
blas = "openblas" in open("/proc/self/maps").read()
print([g == exact for g in got].count(True), "openblas" if blas else "other", len(os.listdir("/proc/self/task")),
      os.environ["OPENBLAS_NUM_THREADS"])
"""

PROCESSES = """
import multiprocessing as mp
from multiprocessing import shared_memory

def square(n):
    return n * n

def add(name, lock, count):
    memory = shared_memory.SharedMemory(name=name)
    for _ in range(100):
        with lock:
            memory.buf[0:4] = (int.from_bytes(memory.buf[0:4], "little") + 1).to_bytes(4, "little")
            count.value += 1
    memory.close()

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with mp.get_context(method).Pool(3) as pool:
            print(method, sum(pool.map(square, range(100))))
    memory = shared_memory.SharedMemory(create=True, size=4096)
    lock, count = mp.Lock(), mp.Value("i", 0)
    children = [mp.Process(target=add, args=(memory.name, lock, count)) for _ in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    print("shared", int.from_bytes(memory.buf[0:4], "little"), count.value)
    memory.close(); memory.unlink()
    with mp.Manager() as manager:
        shared = manager.dict()
        child = mp.Process(target=shared.update, args=({"answer": 42},))
        child.start(); child.join()
        print("manager", shared["answer"])
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2) as pool:
        print("executor", sum(pool.map(square, range(10))))
"""

ASYNCIO = """
import asyncio

async def one(n):
    child = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo $((x * x))", stdin=asyncio.subprocess.PIPE,
                                                 stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate(f"{n}\\n".encode())
    return int(out) + child.returncode

async def main():
    print(sum(await asyncio.gather(*[one(n) for n in range(20)])))
    child = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        await asyncio.wait_for(child.wait(), 0.2)
    except asyncio.TimeoutError:
        child.kill()
    print(await child.wait())

asyncio.run(main())
"""

SQLITE = """
import multiprocessing as mp, sqlite3

def writer(number):
    db = sqlite3.connect("w.db", timeout=30)
    for i in range(100):
        with db:
            db.execute("insert into t values (?)", (number * 1000 + i,))
    db.close()

if __name__ == "__main__":
    db = sqlite3.connect("w.db")
    print(db.execute("pragma journal_mode=wal").fetchone()[0])
    db.execute("create table t (x integer primary key)"); db.commit()
    writers = [mp.Process(target=writer, args=(n,)) for n in range(3)]
    for w in writers: w.start()
    for w in writers: w.join()
    print(*db.execute("select count(*), sum(x) from t").fetchone(), db.execute("pragma integrity_check").fetchone()[0])
"""

PANDAS = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
frame = pd.read_csv("sales.csv", parse_dates=["day"])
totals = frame.groupby("shop")["amount"].sum()
print(totals.to_dict(), frame["day"].dt.month.max())
totals.plot.bar(figsize=(4, 3)); plt.savefig("sales.png", dpi=100)
image = plt.imread("sales.png")
print(image.shape, bool((image != image[0, 0]).any()))
"""


class Computing(Workload):
    def test_numpy_multiplies_in_threads_of_its_own_and_of_ours(self):
        self.need("numpy")
        out = self.python(self.box(limits={"cpus": 2}), NUMPY, seconds=90)
        right, blas, tasks, threads = out.split()
        self.assertEqual(("4", "2"), (right, threads))
        if blas != "openblas":
            self.skipTest("numpy works, but is not on OpenBLAS here: no threads below it to be seen")
        self.assertGreater(int(tasks), 1)

    def test_pandas_reads_a_csv_and_matplotlib_draws_it(self):
        self.need("pandas", "matplotlib")
        box = self.box()
        rows = "".join(f"2026-{1 + n % 12:02}-01,shop{n % 2},{n}\n" for n in range(1000))
        self.write(box, sales_csv="day,shop,amount\n" + rows)
        out = self.python(box, PANDAS, seconds=120).splitlines()
        self.assertEqual(f"{{'shop0': {sum(range(0, 1000, 2))}, 'shop1': {sum(range(1, 1000, 2))}}} 12", out[0])
        self.assertEqual("(300, 400, 4) True", out[1])
        self.assertEqual(b"\x89PNG\r\n\x1a\n", box.read("sales.png")[:8])


class Processes(Workload):
    def test_multiprocessing_with_every_start_method_and_shared_memory(self):
        out = self.python(self.box(), PROCESSES, seconds=90)
        squares = sum(n * n for n in range(100))
        self.assertEqual([f"fork {squares}", f"spawn {squares}", f"forkserver {squares}", "shared 300 300", "manager 42",
                          f"executor {sum(n * n for n in range(10))}"], out.splitlines())

    def test_asyncio_runs_and_ends_subprocesses(self):
        self.assertEqual(f"{sum(n * n for n in range(20))}\n-9\n", self.python(self.box(), ASYNCIO))

    def test_three_processes_write_one_sqlite_database_in_WAL_mode(self):
        expected = sum(number * 1000 + i for number in range(3) for i in range(100))
        self.assertEqual(f"wal\n300 {expected} ok\n", self.python(self.box(), SQLITE, seconds=90))


class Packages(Workload):
    """A wheel built from source inside, without a network, then installed in the three ways that people use."""

    def wheel(self, box):
        self.need("pip", "setuptools", "wheel")
        self.write(box, src__setup_py="from setuptools import setup\n"
                   "setup(name='tiny', version='1.4', py_modules=['tiny'], entry_points={'console_scripts': ['tiny=tiny:main']})\n",
                   src__tiny_py="def answer(n):\n    return n * 7\n\ndef main():\n    print('tiny', answer(6))\n")
        self.ok(box, "python3 -m pip wheel -q --no-index --no-deps --no-build-isolation -w wheels ./src", seconds=90)
        self.assertEqual("tiny-1.4-py3-none-any.whl\n", self.ok(box, "ls wheels"))

    def test_pip_builds_a_wheel_and_installs_it_into_a_venv(self):
        self.need("ensurepip")
        box = self.box()
        self.wheel(box)
        self.ok(box, "python3 -m venv v && v/bin/pip install -q --no-index --find-links wheels tiny", seconds=120)
        self.assertEqual("tiny 42\n", self.ok(box, "v/bin/tiny"))
        self.assertEqual("/home/user/v 63\n", self.ok(box, "v/bin/python -c 'import sys, tiny; print(sys.prefix, tiny.answer(9))'"))
        self.refused(box, "python3 -c 'import tiny'", "No module named 'tiny'")

    def test_pip_installs_for_the_user(self):
        box = self.box()
        self.wheel(box)
        # Distributions mark their Python as theirs (PEP 668); nothing of it can be changed from here anyway: /usr is read-only.
        self.ok(box, "pip install -q --user --no-index --find-links wheels tiny", env={"PIP_BREAK_SYSTEM_PACKAGES": "1"}, seconds=90)
        self.assertEqual("tiny 42\n", self.ok(box, "~/.local/bin/tiny"))
        self.assertEqual("/home/user/.local\n", self.ok(box, "python3 -c 'import tiny, site; print(site.getuserbase())'"))


if __name__ == "__main__":
    unittest.main()
