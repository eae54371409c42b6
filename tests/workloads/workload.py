"""What the workload tests share: what the template has, why something is missing, and programs that must succeed."""
import os
import pathlib
import subprocess

from case import DaemonCase

# The package that brings a program or a Python module, where it is called otherwise.
PACKAGES = {"go": "golang-go", "node": "nodejs", "javac": "default-jdk-headless", "java": "default-jdk-headless", "ps": "procps",
            "initdb": "postgresql", "ping": "iputils-ping", "systemctl": "systemd", "pip": "python3-pip", "venv": "python3-venv", "setuptools": "python3-setuptools",
            "wheel": "python3-wheel", "numpy": "python3-numpy", "pandas": "python3-pandas", "matplotlib": "python3-matplotlib"}
MODULES = ("pip", "ensurepip", "setuptools", "wheel", "numpy", "pandas", "matplotlib")
# Where programs are that no PATH names: Debian's PostgreSQL, and Go from its makers.
ALSO = ("/usr/lib/postgresql/*/bin", "/usr/local/go/bin")
_inventory = None


def reasons():
    """Why scripts/test.sh could not install a package: its file has "PACKAGE<tab>WHY" lines."""
    path = os.environ.get("SANDBOXD_WORKLOAD_SKIPS")
    if not path or not pathlib.Path(path).exists():
        return {}
    return dict(line.split("\t", 1) for line in pathlib.Path(path).read_text().splitlines() if "\t" in line)


def inventory(client):
    """The names of all programs on a sandbox's PATH, the paths of those beside it, and the Python modules."""
    global _inventory
    if _inventory is None:
        box = client.create()
        try:
            names = box.exec("IFS=:; for d in $PATH; do ls $d 2>/dev/null; done; true")["stdout"].split()
            paths = box.exec(f"ls -d {' '.join(folder + '/*' for folder in ALSO)} 2>/dev/null; true")["stdout"].split()
            probe = f"import importlib.util as u; print(*[m for m in {MODULES!r} if u.find_spec(m)])"
            modules = box.exec(argv=["python3", "-c", probe])["stdout"].split()
        finally:
            box.delete()
        _inventory = frozenset(names), tuple(paths), frozenset(modules)
    return _inventory


class Workload(DaemonCase):
    """Runs programs as `user` under the default profile, with the default 512 MiB, 1 GiB of disk and 256 processes; two
    processors where threads are the point or compilers are slow. A limit of time is a bound against hanging."""

    def need(self, *names):
        """Skips, saying which package is missing and why, unless a sandbox has these programs and modules."""
        programs, paths, modules = inventory(self.client)
        for name in names:
            if name in programs or name in modules or any(path.endswith("/" + name) for path in paths):
                continue
            package = PACKAGES.get(name, name)
            self.skipTest(f"no {name} in the template: {reasons().get(package, f'the package {package} is not installed here')}")

    def paths_of(self, name):
        """Every path of a program: the one on PATH first, then those beside it."""
        programs, paths, _ = inventory(self.client)
        return ([name] if name in programs else []) + [path for path in paths if path.endswith("/" + name)]

    def ok(self, box, shell=None, seconds=60, **fields):
        """Runs to the end within a bound; it must exit with 0. Its standard output."""
        answer = box.exec(shell, timeout_ms=seconds * 1000, **fields)
        self.assertEqual(("exited", 0), (answer["status"], answer["exit_code"]),
                         f"{shell or fields.get('argv')}\n{answer['stdout'][-1500:]}\n{answer['stderr'][-1500:]}")
        return answer["stdout"]

    def refused(self, box, shell, *words, seconds=60, **fields):
        """It must fail, and say why in these words (any case)."""
        answer = box.exec(shell, timeout_ms=seconds * 1000, **fields)
        said = answer["stdout"] + answer["stderr"]
        self.assertEqual("exited", answer["status"], said)
        self.assertNotEqual(0, answer["exit_code"], said)
        for word in words:
            self.assertIn(word.lower(), said.lower())
        return said

    def control(self, *argv):
        """The same outside, as root of the host, must get through: a refusal inside proves nothing where it would fail anyway."""
        outside = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        if outside.returncode != 0:
            self.skipTest(f"the control outside failed too: {' '.join(argv)[:80]}: {(outside.stderr or outside.stdout).strip()[-200:]}")
        return outside.stdout

    def write(self, box, **files):
        """Files in the home folder: name_ext="text" is name.ext; a double underscore is a slash."""
        for name, text in files.items():
            path = name.replace("__", "/")
            stem, _, ending = path.rpartition("_")
            answer = box.put(f"{stem}.{ending}" if stem else path, text.encode())
            self.assertEqual(201, answer.status, answer)

    def python(self, box, code, *arguments, **fields):
        """A script of its own file, as a model would run it: spawn and forkserver import it again."""
        self.write(box, main_py=code)
        return self.ok(box, argv=["python3", "main.py", *arguments], **fields)
