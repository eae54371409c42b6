"""Results as JSON, as a Markdown table and as plots. The plots are written by hand: no library is worth it for three."""
import json
import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLOURS = ("#2a6f97", "#d1495b", "#66a182", "#edae49", "#8d6a9f", "#555555")


def number(value, digits=2):
    return "–" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:.{digits}f}"


def table(figures):
    lines = ["| # | figure | ratio | mark | reached |", "|---|---|---|---|---|"]
    for figure in figures:
        sign = "≤" if figure["better"] == "lower" else "≥"
        reached = {True: "yes", False: "no", None: "not measured"}[figure["reached"]]
        lines.append(f"| {figure['key']} | {figure['what']} | {number(figure['ratio'])} {figure['unit']} | "
                     f"{sign} {number(figure['mark'])} | {reached} |")
    return lines


def details(figures):
    lines = ["| # | side | median ms | p95 ms | p99 ms | runs | failures |", "|---|---|---|---|---|---|---|"]
    for figure in figures:
        for one in figure["series"]:
            lines.append(f"| {figure['key']} | {one['name']} | {number(one.get('median_ms'))} | {number(one.get('p95_ms'))} | "
                         f"{number(one.get('p99_ms'))} | {one['count']} | {one['failures']} |")
    return lines


def markdown(result, plots):
    machine = result["machine"]
    lines = ["# Benchmarks", "",
             "Written by `bench/run.sh`. Each figure is a ratio to a peer that was measured in turns with it, in the same run; absolute times "
             "depend on the machine and are not to be compared between runs.", "",
             f"{result['date']}{' (quick)' if result['quick'] else ''} · {machine['cpus']} CPUs ({machine['cpu_model']}"
             f"{', virtual machine' if machine['virtual_machine'] else ''}) · {machine['memory_gib']} GiB · Linux {machine['kernel']} · "
             f"{machine['system']} · load before: {machine['load_before']}", ""]
    lines += table(result["figures"]) + ["", "## Times", ""] + details(result["figures"])
    for name in plots:
        lines += ["", f"![{name}]({name})"]
    return "\n".join(lines) + "\n"


def svg(title, x_label, y_label, curves, width=720, height=400):
    """Lines through points: curves = [(name, [(x, y), ...])]."""
    points = [point for _, curve in curves for point in curve]
    x_most, y_most = max(x for x, _ in points) or 1, 1.1 * max(y for _, y in points) or 1
    left, right, top, bottom = 70, 20, 40, 50

    def at(x, y):
        return (left + (width - left - right) * x / x_most, height - bottom - (height - top - bottom) * y / y_most)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{width / 2}" y="20" text-anchor="middle" font-size="14">{title}</text>',
             f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">{x_label}</text>',
             f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">{y_label}</text>']
    for step in range(6):
        x, y = at(x_most * step / 5, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{x_most * step / 5:.3g}</text>')
        x, y = at(0, y_most * step / 5)
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{y_most * step / 5:.3g}</text>')
    for index, (name, curve) in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in curve))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts.append(f'<text x="{left + 10}" y="{top + 14 * index + 8}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def distribution(series):
    """Share of runs that took at most x ms."""
    curves = []
    for one in series:
        ordered = sorted(1000 * seconds for seconds in one.seconds)
        if ordered:
            curves.append((one.name, [(value, 100 * (index + 1) / len(ordered)) for index, value in enumerate(ordered)]))
    return curves


def plots(figures):
    """{file name: SVG text} of what was measured."""
    by_key = {figure.key: figure for figure in figures}
    out = {}
    if "P3" in by_key and (curves := distribution(by_key["P3"].series)):
        out["create-latency.svg"] = svg("Create and run `true`: share of runs within a time", "ms", "% of runs", curves)
    if "P9" in by_key:
        out["create-among.svg"] = svg("Create latency against living sandboxes", "living sandboxes", "median ms",
                                      [("create", by_key["P9"].notes["alive"])])
    if "P10" in by_key:
        steps = by_key["P10"].notes["available_kib"]
        out["memory.svg"] = svg("Host memory taken by idle sandboxes", "living sandboxes", "MiB",
                                [("taken", [(step, (steps[0][1] - kib) / 1024) for step, kib in steps])])
    return out


def write(result, figures):
    """bench/results/DATE.{json,md} and plots; docs/benchmarks.md is the newest of them."""
    folder = ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    stem = result["date"].replace(":", "").replace(" ", "-")
    names = {}
    for name, text in plots(figures).items():
        (folder / f"{stem}-{name}").write_text(text)
        names[name] = f"{stem}-{name}"
    (folder / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(markdown(result, list(names.values())))
    plan = (ROOT / "bench" / "plan.md").read_text()
    (ROOT / "docs" / "benchmarks.md").write_text(markdown(result, [f"../bench/results/{name}" for name in names.values()]) + plan)
    return folder / f"{stem}.md"
