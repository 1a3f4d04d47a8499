"""Tables in Markdown of what was measured: medians over the rounds."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.contestants import (
    CANNED_GRPC,
    CANNED_REST,
    FASTAPI,
    FASTAPI_ENVOY,
    NAMES,
    SERVICE_GRPC,
    SERVICE_GRPC_GATEWAY,
    SERVICE_REST,
)
from bench.databases import KINDS
from bench.measuring import Sample
from bench.workloads import WORKLOADS

TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
BEGIN, END = "<!-- the last full run -->\n", "<!-- end of the last full run -->\n"
# By CPU, and by requests per second where both have as many processes.
_BY_CPU = (
    (SERVICE_GRPC, FASTAPI),
    (SERVICE_REST, FASTAPI_ENVOY),
    (SERVICE_GRPC, CANNED_GRPC),
    (SERVICE_REST, CANNED_REST),
)
_BY_RATE = (
    (SERVICE_GRPC_GATEWAY, FASTAPI_ENVOY),
    (SERVICE_REST, FASTAPI_ENVOY),
)


class Results:
    """All samples of a run."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.sizes = sorted({each.rows for each in samples})
        self.databases = [kind for kind in KINDS if any(s.database == kind for s in samples)]

    def median(
        self, value: Callable[[Sample], float], database: str, rows: int, name: str, workload: str
    ) -> float | None:
        """Return the median of a value over the rounds; None where it was not measured."""
        wanted = (database, rows, name, workload)
        values = [
            value(each)
            for each in self.samples
            if (each.database, each.rows, each.contestant, each.workload) == wanted
        ]
        return statistics.median(values) if values else None


def cpu_us(sample: Sample) -> float:
    """Return the CPU of a request, that of the database included."""
    return sample.server_us + sample.database_us


def tables(results: Results) -> str:
    """Return all tables of a run."""
    parts = []
    for database in results.databases:
        for rows in results.sizes:
            parts += [f"### {TITLES[database]}, {rows:,} assignments", ""]
            parts += _cpu_table(results, database, rows)
            parts += _rate_table(results, database, rows)
            parts += _ratio_table(results, database, rows)
    if len(results.sizes) > 1:
        parts += _growth_table(results)
    return "\n".join([*parts, _disturbance(results.samples)]) + "\n"


def _cpu_table(results: Results, database: str, rows: int) -> list[str]:
    title = "CPU of a request, microseconds"
    if database != "sqlite":
        title += " (server + database)"

    def cell(name: str, workload: str) -> str:
        server = results.median(lambda s: s.server_us, database, rows, name, workload)
        store = results.median(lambda s: s.database_us, database, rows, name, workload)
        if server is None or store is None:
            return ""
        return f"{server:,.0f} + {store:,.0f}" if store else f"{server:,.0f}"

    return _table(title, NAMES, cell)


def _rate_table(results: Results, database: str, rows: int) -> list[str]:
    def cell(name: str, workload: str) -> str:
        rate = results.median(lambda s: s.per_second, database, rows, name, workload)
        p50 = results.median(lambda s: s.p50_ms, database, rows, name, workload)
        p99 = results.median(lambda s: s.p99_ms, database, rows, name, workload)
        return f"{rate:,.0f} ({p50:.1f}, {p99:.1f})" if rate else ""

    return _table("Requests per second (p50, p99 in ms)", NAMES, cell)


def _ratio_table(results: Results, database: str, rows: int) -> list[str]:
    pairs = {f"CPU: {ours} / {theirs}": (ours, theirs) for ours, theirs in _BY_CPU}
    by_rate = {
        f"requests per second: {ours} / {theirs}": (ours, theirs) for ours, theirs in _BY_RATE
    }

    def cell(name: str, workload: str) -> str:
        value = cpu_us if name in pairs else _per_second
        ours, theirs = (pairs | by_rate)[name]
        one = results.median(value, database, rows, ours, workload)
        other = results.median(value, database, rows, theirs, workload)
        if not one or not other:
            return ""
        loses = one > other if name in pairs else one < other
        # Where the service loses, in bold.
        return f"**{one / other:.2f}**" if loses else f"{one / other:.2f}"

    return _table("Ratios; bold where the service loses", [*pairs, *by_rate], cell)


def _per_second(sample: Sample) -> float:
    return sample.per_second


def _growth_table(results: Results) -> list[str]:
    few, *_, many = results.sizes
    lines = [f"### From {few:,} assignments to {many:,}", ""]

    def cell(row: str, workload: str) -> str:
        title, name = row.split(", ", 1)
        database = next(kind for kind in KINDS if TITLES[kind] == title)
        values = [results.median(cpu_us, database, rows, name, workload) for rows in (few, many)]
        if not values[0] or not values[1]:
            return ""
        return f"{values[1] / values[0]:.2f}"

    rows = [f"{TITLES[kind]}, {name}" for kind in results.databases for name in NAMES]
    return lines + _table("CPU of a request, times that with the fewest", rows, cell)


def _table(title: str, rows: Iterable[str], cell: Callable[[str, str], str]) -> list[str]:
    """Return a table of rows by workloads; rows without a value are left out."""
    body = [[row, *(cell(row, each.name) for each in WORKLOADS)] for row in rows]
    body = [[title, *(each.name for each in WORKLOADS)], *(r for r in body if any(r[1:]))]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    lines = [
        f"| {row[0]:<{widths[0]}} | "
        + " | ".join(f"{each:>{width}}" for each, width in zip(row[1:], widths[1:], strict=True))
        + " |"
        for row in body
    ]
    rule = "|" + "-" * (widths[0] + 2) + "|" + "".join("-" * (w + 1) + ":|" for w in widths[1:])
    return [lines[0], rule, *lines[1:], ""]


def _disturbance(samples: Sequence[Sample]) -> str:
    others = [each.others_cores for each in samples]
    generator = max(each.generator_us * each.per_second / 1e6 for each in samples)
    return (
        f"Other programs kept {statistics.median(others):.2f} cores busy meanwhile (median; at "
        f"most {max(others):.2f}), the load generators {generator:.2f} at most."
    )


def write_into(readme: Path, text: str) -> None:
    """Put the last full run between its two markers."""
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")
