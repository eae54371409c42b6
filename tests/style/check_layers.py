#!/usr/bin/python3
"""Who may include whom. The table is the one in CONTRIBUTING.md; a new folder needs a line here."""
import re
import sys

from source import ROOT, code_files, line_of, read, strip

PLANS = {"isolation/launch_plan.hpp", "isolation/mount_plan.hpp"}
CONFIG = {"sandboxd/config.hpp", "sandboxd/listen_address.hpp", "sandboxd/programs.hpp", "sandboxd/version.hpp"}

# folder -> (modules it may include, single headers of other modules that it may include besides).
MODULES = {
    "sandboxd/core": (set(), set()),
    "policies": ({"sandboxd/core"}, set()),
    "sandboxd/agent": ({"sandboxd/core"}, set()),
    "isolation/init": (set(), {"isolation/launch_plan.hpp", "isolation/refusal_rules.hpp", "sandboxd/agent/protocol.hpp", "sandboxd/core/wire.hpp"}),
    "isolation/probe": (set(), {"isolation/tested_walls.hpp", "sandboxd/agent/protocol.hpp", "sandboxd/core/wire.hpp"}),
    "isolation": ({"policies", "sandboxd/core"}, set()),
    "fs": ({"policies", "sandboxd/core"}, PLANS),
    "netpolicy": ({"policies", "sandboxd/core"}, PLANS),
    "gpu": ({"policies", "sandboxd/core"}, PLANS),
    "sandboxd/control": ({"policies", "sandboxd/core"}, set()),
    # Composes the mechanisms, and is the monitor's side of control::Node.
    "sandboxd/manager": ({"isolation", "fs", "netpolicy", "gpu", "sandboxd/control", "policies", "sandboxd/core"}, CONFIG),
    "sandboxd/ledger": ({"policies", "sandboxd/core"}, set()),
    "sandboxd/engine": ({"sandboxd/control", "sandboxd/agent", "sandboxd/ledger", "policies", "sandboxd/core"}, set()),
    "api": ({"sandboxd/engine", "sandboxd/control", "sandboxd/ledger", "policies", "sandboxd/core"}, CONFIG),
    "sandboxd/ctl": ({"sandboxd/core", "policies"}, CONFIG),
    # The daemon's self-test: makes a sandbox through the manager, speaks to it through sandbox-probe, signs what it saw.
    "sandboxd/attest": ({"sandboxd/manager", "sandboxd/control", "isolation", "policies", "sandboxd/core"}, CONFIG),
    "sandboxd/monitor": ({"sandboxd/attest", "sandboxd/manager", "sandboxd/control", "isolation", "fs", "netpolicy", "gpu", "policies",
                          "sandboxd/core"}, CONFIG),
    # The programs' main files: what each needs, but a jail's init is only ever executed.
    "sandboxd": ({"sandboxd/core", "policies", "isolation", "fs", "netpolicy", "gpu", "sandboxd/control", "sandboxd/manager",
                  "sandboxd/monitor", "sandboxd/ledger", "sandboxd/engine", "sandboxd/agent", "sandboxd/ctl", "api"}, set()),
}
FREE = ("tests", "bench")  # may include anything

# Third parties stay in .cpp files: a header that pulls one in makes everybody compile it.
HEADER_MAY_INCLUDE = {
    "boost/asio/awaitable.hpp", "boost/asio/any_io_executor.hpp", "boost/system/result.hpp",
    "boost/system/error_code.hpp", "boost/assert/source_location.hpp", "nlohmann/json_fwd.hpp",
}
THIRD_PARTY = re.compile(
    r"^(boost|nlohmann|spdlog|fmt|CLI|toml\+\+|prometheus|openssl|catch2|ldns|nftables|netlink)/|"
    r"^(sqlite3|archive|archive_entry|seccomp|toml|zlib)\.h|^sys/capability\.h")
# Private headers that exist to be compiled into a few translation units (precompiled, or templates over streams).
HEAVY_HEADERS = re.compile(r"(^|/)(pch|beast|asio_[a-z_]+|[a-z_]*_impl)\.hpp$|^sandboxd/core/async\.hpp$")
BEAST = re.compile(r"^boost/beast")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*<([^>\n]+)>', re.MULTILINE)


def module_of(path):
    folder = path.rpartition("/")[0]
    while folder:
        if folder in MODULES:
            return folder
        folder = folder.rpartition("/")[0]
    return None


def folder_of(path):
    return path.partition("/")[0]


def check_file(name, text, private_headers=()):
    """Findings of one file, each "file:line: what is wrong"."""
    if folder_of(name) in FREE:
        return []
    module = module_of(name)
    if module is None:
        return [f"{name}:1: no line for this folder in check_layers.py"]
    modules, headers = MODULES[module]
    findings = []
    bare = strip(text, keep_includes=True)
    for match in INCLUDE.finditer(bare):
        where, target = f"{name}:{line_of(bare, match.start())}", match.group(1)
        if target.startswith("ours:"):
            target = target[len("ours:"):]
            other = module_of(target)
            if other is None and "/" not in target:
                findings.append(f'{where}: "{target}": ours are included as "folder/file.hpp"')
            elif other in ("isolation/init", "isolation/probe") and module != other:
                findings.append(f"{where}: {module} includes {target}: that is a part of a program, not of a library")
            elif other != module and other not in modules and target not in headers:
                findings.append(f"{where}: {module} may not include {target}")
            continue
        if BEAST.match(target) and module not in ("api", "sandboxd/ctl"):
            findings.append(f"{where}: Beast is used in api/ and sandboxd/ctl/ only")
        if module in ("isolation/init", "isolation/probe") and THIRD_PARTY.match(target):
            findings.append(f"{where}: what runs in a jail links libc only")
        if (name.endswith(".hpp") and THIRD_PARTY.match(target) and target not in HEADER_MAY_INCLUDE
                and not HEAVY_HEADERS.search(name) and name not in private_headers):
            findings.append(f"{where}: a header includes <{target}>; keep it in a .cpp file")
    return findings


def private_headers(root):
    """Headers that say in their first lines why they include a third party: "// Private header: ..."."""
    return {name for name in code_files(root) if name.endswith(".hpp") and "// Private header:" in read(name, root)[:600]}


def check(root=ROOT):
    private = private_headers(root)
    findings = []
    for name in code_files(root):
        findings += check_file(name, read(name, root), private)
    return findings


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "layers: ok")
    sys.exit(1 if found else 0)
