"""The tree as the style checks see it: which files are ours, and their text without comments and strings."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE = (".cpp", ".hpp", ".c", ".h")


def tracked(root=ROOT):
    """Files that git tracks or would track; a tree without git (a source archive) is walked."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, capture_output=True, check=False)
    if answer.returncode == 0:
        names = [name for name in answer.stdout.decode().split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*")
                 if path.is_file() and "build" not in path.relative_to(root).parts]
    return sorted(name for name in set(names) if (root / name).is_file())


def code_files(root=ROOT):
    return [name for name in tracked(root) if name.endswith(CODE)]


def read(name, root=ROOT):
    return (root / name).read_text(encoding="utf-8", errors="replace")


_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
    re.DOTALL | re.VERBOSE)


def _blank(match):
    text = match.group(0)
    lines = "\n" * text.count("\n")
    if text.startswith(("//", "/*")):
        return " " + lines
    return '""' + lines


def strip(text, keep_includes=False):
    """Without comments, and with empty strings; line numbers stay."""
    if keep_includes:
        # An include path is a string too: hide it from the token pattern.
        text = re.sub(r'(#\s*include\s*)"([^"\n]+)"', r"\1<ours:\2>", text)
    return _TOKEN.sub(_blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1
