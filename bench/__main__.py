"""make bench, or python -m bench: measures, prints the tables, and keeps them."""

import argparse
import json
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import chart, dataset, load, machine, report
from bench.contestants import Starter
from bench.databases import KINDS, databases
from bench.measuring import MeasurementFailed, Sample, measure_all
from bench.processes import NotStarted
from bench.workloads import Plan

HERE = Path(__file__).parent
# What a run must have at least to be the one in README.md.
_FULL_ROUNDS, _FULL_SECONDS = 3, 2


def main() -> None:
    """Run as the command line says."""
    options = _options()
    if missing := load.missing_tools():
        sys.exit(
            f"{' and '.join(missing)} not found: make bench needs the load generators wrk and "
            "h2load, which Debian has as: apt-get install wrk nghttp2-client"
        )
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    samples: list[Sample] = []
    versions: dict[str, str] = {}
    try:
        for kind in options.database:
            for rows in options.rows:
                versions[kind] = _run(kind, rows, options, samples.append)
    except (MeasurementFailed, NotStarted) as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
    _keep(options, machine.describe(versions.get("postgresql", "")), samples)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--rounds", type=_at_least(1), default=_FULL_ROUNDS)
    parser.add_argument(
        "--duration", type=_at_least(1), default=_FULL_SECONDS, help="seconds of a measurement"
    )
    parser.add_argument(
        "--rows",
        type=_sizes,
        default=[1000],
        help="assignments; several, as in 1000,100000, show how the cost grows",
    )
    parser.add_argument("--workers", type=_at_least(1), default=2, help="of FastAPI")
    options = parser.parse_args()
    options.database = sorted(set(options.database or KINDS), key=KINDS.index)
    return options


def _sizes(text: str) -> list[int]:
    return sorted(set(map(_at_least(dataset.FEWEST), text.split(","))))


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return int(text)

    return number


def _run(kind: str, rows: int, options: argparse.Namespace, keep: Callable[[Sample], None]) -> str:
    """Measure on one kind of database with so many rows; return the version of its server."""
    with ExitStack() as stack:
        # Not in /tmp, which is in memory on many machines: commits are to reach a disk.
        on_disk = os.environ.get("TMPDIR", "/var/tmp")  # noqa: S108 - the directory in it is ours
        temporary = tempfile.TemporaryDirectory(prefix="peermentor-bench-", dir=on_disk)
        directory = Path(stack.enter_context(temporary))
        store = stack.enter_context(databases(kind, directory))
        _say(f"{kind}: starting, and storing {rows:,} assignments three times")
        starter = Starter(stack, directory, store)
        contestants = starter.service(rows)
        contestants += starter.fastapi(rows, options.workers)
        # They hold no rows whose number could matter.
        if rows == options.rows[0]:
            contestants += starter.canned()
        measured = measure_all(kind, contestants, Plan(rows), options.rounds, options.duration)
        for sample in measured:
            keep(sample)
            _say(
                f"{kind}: {sample.workload}, {sample.contestant}: {report.cpu_us(sample):,.0f} us, "
                f"{sample.per_second:,.0f} a second"
            )
        return store.version


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _rounded(sample: Sample) -> dict[str, str | float]:
    values = asdict(sample).items()
    return {name: round(each, 3) if isinstance(each, float) else each for name, each in values}


def _keep(options: argparse.Namespace, facts: dict[str, str], samples: list[Sample]) -> None:
    """Print the tables; write them, the chart and all samples."""
    results = report.Results(samples)
    settings = {
        "requests in flight": load.CALLERS,
        "workers of FastAPI": options.workers,
        "rounds": options.rounds,
        "seconds": options.duration,
    }
    caption = ", ".join(f"{name} {value}" for name, value in (facts | settings).items() if value)
    text = f"{textwrap.fill(caption, 100)}.\n\n{report.tables(results)}"
    print(text)
    is_full = (
        options.database == [*KINDS]
        and options.rounds >= _FULL_ROUNDS
        and options.duration >= _FULL_SECONDS
    )
    file = HERE / "results" / ("full" if is_full else "short")
    file.parent.mkdir(exist_ok=True)
    record = {"facts": facts, "settings": settings, "samples": [_rounded(each) for each in samples]}
    file.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    file.with_suffix(".svg").write_text(chart.draw(results))
    _say(f"wrote {file.with_suffix('.json')} and {file.with_suffix('.svg')}")
    if is_full:
        report.write_into(HERE / "README.md", text)


if __name__ == "__main__":
    main()
