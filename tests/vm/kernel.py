"""A distribution kernel, unpacked beside the build and never installed: its image, and its modules in loading order."""
import lzma
import pathlib
import re
import shutil
import subprocess

# Preferred first. Meta packages name today's kernel of the distribution; the pattern is for kernels that have none.
DEFAULT_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64")
FETCH_SECONDS = 240
KERNEL_PARTS = re.compile(r"linux-(?:image|modules)(?:-unsigned)?-\d")


class Unavailable(Exception):
    """This machine can't have it; the text says what is missing."""


def apt(*command, cwd=None):
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{' '.join(command)} took more than {FETCH_SECONDS} s") from error


def known(package):
    """The version that apt would fetch, or None."""
    found = re.search(r"Candidate: (\d\S*)", apt("apt-cache", "policy", package).stdout)
    return found.group(1) if found else None


def newest(version=""):
    """The newest kernel of this version, as in 6.12 -> linux-image-6.12.48+deb12-cloud-amd64."""
    names = apt("apt-cache", "pkgnames", "linux-image-" + version).stdout.split()
    names = [name for name in names if re.match(r"linux-image-\d.*(-cloud-amd64|-generic)$", name) and known(name)]
    return max(names, key=numbers, default=None)


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def newer():
    """A kernel of a later series than the default one's."""
    name = newest()
    default = max(resolve(None), key=numbers)
    if name is None or numbers(name)[:2] <= numbers(default)[:2]:
        raise Unavailable(f"this distribution has no newer kernel than its default one, {default}")
    return name


def resolve(wanted):
    """Names and versions of the packages that hold the image and the modules."""
    if shutil.which("apt-get") is None:
        raise Unavailable("no apt-get to fetch a kernel with: give one with --kernel-deb")
    if wanted == "newer":
        start = newer()
    elif wanted and re.match(r"\d", wanted):
        start = newest(wanted)
    else:
        start = next((name for name in ((wanted,) if wanted else DEFAULT_PACKAGES) if known(name)), None)
    if start is None:
        raise Unavailable(f"apt knows no kernel package {wanted or ' or '.join(DEFAULT_PACKAGES)} (apt-get update?)")
    found, waiting = {}, [start]
    while waiting:
        name = waiting.pop()
        if KERNEL_PARTS.match(name):
            found[name] = known(name)
        shown = apt("apt-cache", "show", "--no-all-versions", name).stdout
        depends = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        for part in re.split(r"[,|]", depends.group(1) if depends else ""):
            word = part.split()[0] if part.split() else ""
            if KERNEL_PARTS.match(word) and word not in found:
                waiting.append(word)
    if not found:
        raise Unavailable(f"{start} depends on no kernel image")
    return found


def fetch(wanted, cache):
    """The .deb files, downloaded once per version."""
    cache.mkdir(parents=True, exist_ok=True)
    debs = []
    for name, version in resolve(wanted).items():
        # As apt names files: the epoch's colon is escaped.
        pattern = f"{name}_{version.replace(':', '%3a')}_*.deb"
        if not list(cache.glob(pattern)):
            fetched = apt("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}", cwd=cache)
            if fetched.returncode:
                raise Unavailable(f"apt-get download {name}: {fetched.stderr.strip()[-300:]}")
        debs += sorted(cache.glob(pattern))
    return debs


class Kernel:
    def __init__(self, debs, cache):
        self.folder = cache / debs[0].stem
        if not (self.folder / "complete").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            for deb in debs:
                subprocess.run(["dpkg-deb", "-x", deb, self.folder], check=True)
            (self.folder / "complete").touch()
        self.image = next(self.folder.glob("boot/vmlinuz-*"))
        self.release = self.image.name.removeprefix("vmlinuz-")
        self.modules = next(path for path in (self.folder / "lib/modules" / self.release,
                                              self.folder / "usr/lib/modules" / self.release) if path.is_dir())

    def closure(self, names):
        """(name, bytes) of these modules and of all that they need, in loading order; what is built in has none."""
        paths = {module_name(path): path for path in self.modules.rglob("*.ko*")}
        ordered = {}

        def add(name):
            if name not in paths or name in ordered:
                return
            content = unpack(paths[name])
            # The module's own word: modules.dep is made when a package is installed, and this one never is.
            needs = re.search(rb"\0depends=([^\0]*)\0", content)
            for need in needs.group(1).decode().split(",") if needs else ():
                add(module_name(need))
            ordered[name] = content

        for name in names:
            add(module_name(name))
        return list(ordered.items())


def module_name(path):
    return pathlib.PurePath(path).name.partition(".ko")[0].replace("-", "_")


def unpack(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()
