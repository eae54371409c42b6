"""The guest's disk and its initramfs: programs and libraries of this machine, the build, the tests."""
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What the tests and the code inside sandboxes call. Programs only: no documentation, no locales.
PROGRAM_PACKAGES = ("bash", "dash", "coreutils", "grep", "sed", "findutils", "util-linux", "mount", "hostname", "procps",
                    "btrfs-progs")
# In this order: what a later one needs is looked up at run time by the kernel's crypto API, not by symbol.
MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "crc32c_intel", "xxhash_generic", "sha256_generic",
           "blake2b_generic", "btrfs", "overlay", "loop", "veth")
PYTHON_LEFT_OUT = re.compile(r"^(test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|distutils|config-.*|dist-packages)$")
DISK_BYTES = 6 << 30  # sparse; the tests' pools are files on it
SWAP_BYTES = 256 << 20


def programs():
    listed = subprocess.run(["dpkg", "-L", *PROGRAM_PACKAGES], capture_output=True, text=True, check=False).stdout.split("\n")
    found = [path for path in listed if re.match(r"^(/usr)?/s?bin/[^/]+$", path)]
    return [path for path in found + ["/bin/sh"] if os.path.isfile(path)]


def needed(files):
    """Names of the libraries that these files ask for themselves, by one process for all of them."""
    said = subprocess.run(["readelf", "-d", *files], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"\(NEEDED\).*\[(\S+)\]", said))


def libraries(files):
    """Paths by which the loader finds what these programs, and then those libraries, need."""
    said = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    places = {}
    for name, path in re.findall(r"^\s+(\S+) \(.*x86-64.*\) => (\S+)$", said, re.MULTILINE):
        places.setdefault(name, path)
    found, waiting = set(), needed(files)
    while waiting:
        paths = {places[name] for name in waiting if name in places} - found
        found |= paths
        waiting = needed(sorted(paths)) if paths else set()
    # Programs name the loader itself, by its whole path.
    return sorted(found | {"/lib64/ld-linux-x86-64.so.2"}) if found else []


def is_dynamic_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


class Tree:
    """A root folder with a merged /usr, filled by the paths that things have on this machine."""

    def __init__(self, root):
        self.root = root
        for name in ("dev", "etc", "guest", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "usr/bin", "usr/sbin",
                     "usr/lib", "usr/lib64", "var/lib", "var/log"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        for name in ("tmp", "var/tmp"):
            (root / name).mkdir()
            (root / name).chmod(0o1777)

    def place(self, path):
        """Where a path of this machine goes: links of folders are those of the guest."""
        path = str(path)
        merged = re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", path)
        return self.root / merged.lstrip("/")

    def add(self, path, mode=None):
        target = self.place(path)
        if target.exists() or target.is_symlink():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.islink(path) and "/" not in os.readlink(path):
            target.symlink_to(os.readlink(path))
            self.add(os.path.join(os.path.dirname(path), os.readlink(path)))
        else:
            shutil.copy2(os.path.realpath(path), target)
            if mode:
                target.chmod(mode)

    def add_program(self, path):
        """Without its debug information: the dev build's is ten times the program."""
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "--strip-debug", "-o", target, path], check=True)

    def add_folder(self, folder, left_out=None):
        for parent, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not (left_out and left_out.match(name))]
            for name in files:
                self.add(os.path.join(parent, name))

    def text(self, path, content, mode=0o644):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def elves(self):
        return [str(path) for path in self.root.rglob("*") if path.is_file() and not path.is_symlink() and is_dynamic_elf(path)]


def fill_root(tree, build_programs):
    for path in programs():
        tree.add(path)
    python = os.path.realpath("/usr/bin/python3")
    tree.add(python)
    tree.add_folder(f"/usr/lib/{pathlib.Path(python).name}", PYTHON_LEFT_OUT)
    tree.add("/usr/bin/python3")
    shutil.copy2(busybox(), tree.root / "usr/bin/busybox")
    for path in build_programs:
        tree.add_program(path)
    for path in libraries(tree.elves()):
        tree.add(path)
    for folder in ("tests/blackbox", "tests/unit/isolation/golden", "tests/vm/guest", "policies"):
        tree.add_folder(ROOT / folder)
    tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n")
    tree.text("/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
    tree.text("/etc/hosts", "127.0.0.1 localhost\n")
    tree.text("/etc/hostname", "guest\n")
    for path in ("/etc/os-release", "/etc/localtime"):
        if os.path.exists(path):
            tree.add(path)


def busybox():
    """Path of a busybox that needs no library, or None."""
    found = shutil.which("busybox")
    return found if found and not needed([found]) else None


def make_disk(tree, path):
    with open(path, "wb") as disk:
        disk.truncate(DISK_BYTES)
    # No root, no mount, no loop device: the file system is written into the file.
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-d", tree.root, path],
                   check=True)


def make_swap(path):
    with open(path, "wb") as swap:
        swap.truncate(SWAP_BYTES)
    os.chmod(path, 0o600)
    # Its warning of holes is for swap files; in the guest this is a disk.
    subprocess.run(["mkswap", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def make_initramfs(folder, modules, path):
    for name in ("bin", "dev", "modules", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy2(busybox(), folder / "bin/busybox")
    shutil.copy2(HERE / "guest/initramfs.sh", folder / "init")
    (folder / "init").chmod(0o755)
    for number, (name, content) in enumerate(modules):
        (folder / "modules" / f"{number:02}-{name}.ko").write_bytes(content)
    names = "\n".join(str(entry.relative_to(folder)) for entry in sorted(folder.rglob("*")))
    with open(path, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), stdout=out, cwd=folder, check=True)
