"""What programs believe the machine to be, against the sandbox's limits. Whoever sizes a pool by the host's processors or a
heap by the host's memory is slow or dead inside a smaller sandbox. Prints what each of them saw."""
import os
import unittest

from workload import Workload

CPUS = 1
MEMORY_MB = 768

JAVA = """
class Main {
    public static void main(String[] a) {
        System.out.println(Runtime.getRuntime().availableProcessors() + " " + (Runtime.getRuntime().maxMemory() >> 20));
    }
}
"""


class Agreement(Workload):
    """A sandbox with one processor and 768 MiB, and a table of who sees what of it."""
    seen = {}
    what = None

    def setUp(self):
        self.a_box = self.box(limits={"cpus": CPUS, "memory_mb": MEMORY_MB})

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(cls.show)

    @classmethod
    def show(cls):
        print(f"     {cls.what}: " + " · ".join(f"{name} {value}" for name, value in cls.seen.items()), flush=True)

    def note(self, name, value):
        type(self).seen[name] = value
        return value

    def number(self, name, shell, index=0):
        return self.note(name, int(self.ok(self.a_box, shell).split()[index]))

    def java(self, index):
        """Processors, or the largest heap in MiB, of each JVM that is here."""
        self.need("javac", "java")
        self.write(self.a_box, Main_java=JAVA)
        self.ok(self.a_box, "javac --release 11 Main.java", seconds=90)
        found = {}
        for java in self.ok(self.a_box, "ls -d /usr/lib/jvm/*/bin/java 2>/dev/null | xargs -r -n 1 readlink -f | sort -u").split():
            version = java.split("/")[-3]
            found[version] = self.note(version, int(self.ok(self.a_box, f"{java} Main", seconds=90).split()[index]))
        self.assertTrue(found)
        return found


class Processors(Agreement):
    seen = {"limit": CPUS, "host": os.cpu_count()}
    what = "processors"

    def setUp(self):
        if os.cpu_count() <= CPUS:
            self.skipTest("this machine has one processor: host and sandbox can't be told apart")
        super().setUp()

    def test_nproc(self):
        # Not through OMP_NUM_THREADS, which the sandbox sets and nproc obeys.
        self.assertEqual(CPUS, self.number("nproc", "env -u OMP_NUM_THREADS nproc"))

    def test_getconf(self):
        self.assertEqual(CPUS, self.number("getconf", "getconf _NPROCESSORS_ONLN"))

    def test_proc_cpuinfo(self):
        self.assertEqual(CPUS, self.number("/proc/cpuinfo", "grep -c ^processor /proc/cpuinfo"))

    def test_proc_stat(self):
        self.assertEqual(CPUS, self.number("/proc/stat", "grep -c '^cpu[0-9]' /proc/stat"))

    def test_python_cpu_count(self):
        self.assertEqual(CPUS, self.number("os.cpu_count()", "python3 -c 'import os; print(os.cpu_count())'"))

    def test_python_affinity(self):
        self.assertEqual(CPUS, self.number("sched_getaffinity", "python3 -c 'import os; print(len(os.sched_getaffinity(0)))'"))

    def test_node_cpus(self):
        self.need("node")
        self.assertEqual(CPUS, self.number("os.cpus()", "node -p 'os.cpus().length'"))

    def test_node_parallelism(self):
        self.need("node")
        self.assertEqual(CPUS, self.number("os.availableParallelism()", "node -p '(os.availableParallelism || (() => os.cpus().length))()'"))

    def test_java(self):
        self.assertEqual({CPUS}, set(self.java(0).values()))


class Memory(Agreement):
    seen = {"limit": MEMORY_MB, "host": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20}
    what = "MiB of memory"

    def test_free(self):
        self.need("ps")
        self.assertEqual(MEMORY_MB, self.number("free", "free -m | grep ^Mem: | tr -s ' ' | cut -d ' ' -f 2"))

    def test_free_says_how_much_is_left(self):
        self.need("ps")
        available = self.number("free: available", "free -m | grep ^Mem: | tr -s ' ' | cut -d ' ' -f 7")
        self.assertTrue(MEMORY_MB // 2 <= available <= MEMORY_MB, available)

    def test_proc_meminfo(self):
        self.assertEqual(MEMORY_MB * 1024, self.number("MemTotal in KiB", "grep ^MemTotal: /proc/meminfo", 1))

    def test_node_totalmem(self):
        self.need("node")
        self.assertEqual(MEMORY_MB, self.number("os.totalmem()", "node -p 'Math.round(os.totalmem() / 1048576)'"))

    def test_node_heap(self):
        self.need("node")
        self.assertLessEqual(self.number("V8 heap", "node -p 'Math.round(v8.getHeapStatistics().heap_size_limit / 1048576)'"), MEMORY_MB)

    def test_java_heap(self):
        """A heap of a quarter of the host's memory ends in the middle of a program, by the kernel and not by an OutOfMemoryError."""
        heaps = self.java(1)
        self.assertLessEqual(max(heaps.values()), MEMORY_MB * 3 // 4, heaps)
        self.assertGreaterEqual(min(heaps.values()), MEMORY_MB // 8, heaps)

    @unittest.expectedFailure
    def test_python_physical_pages(self):
        """sysinfo(2), which glibc asks here, knows the host only; no mount changes its answer."""
        self.assertEqual(MEMORY_MB, self.number("sysconf", "python3 -c 'import os; print(os.sysconf(\"SC_PHYS_PAGES\") * os.sysconf(\"SC_PAGE_SIZE\") >> 20)'"))


del Agreement  # a base: loaded, it would be run


if __name__ == "__main__":
    unittest.main()
