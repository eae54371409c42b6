#!/usr/bin/python3
"""bench.py [--quick] [NAME...]: see bench/run.sh."""
import argparse
import datetime
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "blackbox")]

import peers  # noqa: E402
import report  # noqa: E402
from figures import FIGURES  # noqa: E402
from measure import Figure  # noqa: E402
from sandboxd_daemon import Daemon  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name.lower() not in FIGURES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    wanted = [name.lower() for name in arguments.names] or list(FIGURES)
    result = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S"), "quick": arguments.quick,
              "machine": peers.machine(), "figures": []}
    figures, failed = [], False
    with Daemon(name="bench") as daemon:
        for work in dict.fromkeys(FIGURES[name] for name in wanted):
            print(f"{work.__name__} ...", flush=True)
            made = work(daemon, arguments.quick)
            figures += [made] if isinstance(made, Figure) else made
    for figure in figures:
        failed = failed or any(one.failures and one.name == "sandboxd" for one in figure.series)
        result["figures"].append(figure.as_dict())
    path = report.write(result, figures)
    print("\n".join(report.table(result["figures"])))
    print(f"written to {path.relative_to(report.ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
