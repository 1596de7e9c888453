"""The command line: every verb is a few lines over the library; a user's mistake is a message, never a traceback."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(
        _name, "1"
    )  # one thread per lineage; must stand before polars and torch are imported

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=("Simulate synthetic-data self-improvement loops of a language model, and see what they lose."),
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="dotted overrides, e.g. loop.generations=10"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Address = Annotated[
    str | None, typer.Option(help="join the Ray cluster at this address instead of starting one")
]
Out = Annotated[Path | None, typer.Option(help="the new run directory")]


@app.command()
def run(
    config: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG... [KEY=VALUE]...", help="YAML files, composed left to right, then overrides"
        ),
    ],
    out: Out = None,
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the resolved configuration and what it would cost")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play every arm with every seed, and write the degradation report."""
    from driftloop.loop.compose import load
    from driftloop.loop.run import run as start

    resolved = load([Path(c) for c in config if "=" not in c], [c for c in config if "=" in c])
    if dry_run:
        return show_plan(resolved, as_json)
    folder = start(
        resolved, out or free_folder(resolved.name), address=address, command=sys.argv, quiet=as_json
    )
    return close(folder, as_json)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")],
    repair: Annotated[
        bool, typer.Option("--repair", help="first move damaged stages aside; they are computed again")
    ] = False,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted run; what is on disk is not computed again."""
    from driftloop.loop.run import resume as go_on

    close(go_on(folder, address=address, repair=repair, quiet=as_json), as_json)


@app.command()
def fork(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")],
    at: Annotated[
        str,
        typer.Option(metavar="ARM/SEED/GEN", help="the lineage, and the generation from which it plays on"),
    ],
    overrides: Overrides = None,
    out: Out = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Play a lineage on from one of its generations with other settings; the past is shared, not computed again."""
    from driftloop.loop.compose import flat
    from driftloop.loop.run import advance
    from driftloop.loop.run import fork as branch

    target = out or free_folder(f"{folder.name}-fork")
    branch(folder, at, flat(overrides or []), target, command=sys.argv)
    close(advance(target, address=address, quiet=as_json), as_json)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")], as_json: AsJson = False
) -> None:
    """Write report.html and report.md of a run again, from its records alone."""
    close(folder, as_json)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run directories")],
    as_json: AsJson = False,
) -> None:
    """Paired differences between arms with intervals; ranks only what the intervals separate."""
    from driftloop.evals.report.compare import compare as differences
    from driftloop.evals.report.compare import told

    frame = differences(folders)
    typer.echo(frame.write_json() if as_json else told(frame))


@app.command()
def measure(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="JSONL, parquet, or a folder saved by datasets")
    ] = None,
    text: Annotated[str, typer.Option(metavar="COLUMN", help="column with the samples")] = "text",
    prompt: Annotated[str | None, typer.Option(metavar="COLUMN", help="column with prompts")] = None,
    quality: Annotated[str | None, typer.Option(metavar="COLUMN", help="column with quality, 0..1")] = None,
    mode: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="column with the meaning of a sample; default: its text"),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="column with a coarser level of meaning")
    ] = None,
    valid: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="column that says whether a sample can be read")
    ] = None,
    count: Annotated[str | None, typer.Option(metavar="COLUMN", help="column with copies of a row")] = None,
    logprob: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="column with ln p under the generating model, nats")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="column with ids, checked to be distinct")
    ] = None,
    n: Annotated[int | None, typer.Option(help="common sample size; default: all")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="a second data set with the same columns; differences have intervals")
    ] = None,
    embed: Annotated[
        str, typer.Option(help="what similarity is by: hash, minilm, or the folder of an encoder")
    ] = "hash",
    embedding_size: Annotated[int, typer.Option(help="length of the vectors of --embed hash")] = 256,
    html: Annotated[Path | None, typer.Option(help="write a page with plots")] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="instead: hold the measures against known truth and write --out"),
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="with --calibrate: small sizes only")] = False,
    out: Annotated[Path, typer.Option(help="with --calibrate: the page to write")] = Path(
        "docs/calibration.md"
    ),
    as_json: AsJson = False,
) -> None:
    """The quality, diversity and complexity table of anybody's data."""
    if calibrate:
        from driftloop.evals.report.calibrated import write

        return typer.echo(f"wrote {write(out, quick=quick)}")
    if file is None:
        raise ValueError(
            "measure: expected FILE (JSONL, parquet, or a folder saved by datasets) or --calibrate"
        )
    from driftloop.evals.foreign import Columns
    from driftloop.evals.measured import measure_files

    columns = Columns(text, prompt, quality, mode, strategy, valid, count, logprob, id_column)
    with watching(quiet=as_json) as watch:
        found = measure_files(file, reference, columns, n, embed, embedding_size, watch=watch)
    if html is not None:
        from driftloop.evals.report.datasheet import write_page

        write_page(html, found)
    typer.echo(found.rows.write_json() if as_json else tabular(found.rows))
    return None


@contextmanager
def watching(*, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr, where that is a terminal: called with what is done now and the share done so far."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task("reading", total=1.0)
        yield lambda what, share: progress.update(bar, description=what, completed=share)


@app.command("list")
def list_parts(as_json: AsJson = False) -> None:
    """Worlds, models, policies, retrainers and measures that can be named in a configuration."""
    from driftloop.loop.compose import parts

    found = parts()
    if as_json:
        return typer.echo(json.dumps(found, indent=1))
    for noun, entries in found.items():
        typer.echo(f"{noun}\n" + "\n".join(f"  {name:<22} {what}" for name, what in entries.items()) + "\n")
    return None


@app.command()
def schema() -> None:
    """The JSON schema of a configuration file, for editors."""
    from driftloop.loop.compose import file_schema

    typer.echo(json.dumps(file_schema(), indent=1))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: versions, cores, memory, disk, and whether a small round plays."""
    from driftloop.loop.doctor import examine_machine

    checks = examine_machine()
    if as_json:
        typer.echo(json.dumps(checks, indent=1))
    else:
        typer.echo(
            "\n".join(f"{'ok  ' if c['ok'] else 'FAIL'}  {c['name']:<14} {c['detail']}" for c in checks)
        )
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


@app.command()
def init(file: Annotated[Path, typer.Argument(help="the file to write")] = Path("driftloop.yaml")) -> None:
    """Write a small, commented configuration to start from."""
    if file.exists():
        raise FileExistsError(f"{file} already exists and is not overwritten; name another file")
    file.write_text(Path(__file__).with_name("starter.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    typer.echo(f"wrote {file}; try: driftloop run {file} --dry-run")


def show_plan(resolved: Any, as_json: bool) -> None:
    """The resolved configuration, and what it would cost."""
    import yaml

    from driftloop.loop.budget import budget

    cost, tree = budget(resolved), resolved.model_dump(mode="json")
    if as_json:
        return typer.echo(json.dumps({"config": tree, "budget": cost}, indent=1))
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    typer.echo(
        f"# {cost['lineages']} lineages, {cost['workers']} at a time: about {cost['wall_s']:.0f} s ({cost['cpu_s']:.0f} CPU-s), "
        f"{cost['disk_bytes'] / 1e6:.0f} MB on disk, {cost['tokens_generated'] / 1e6:.1f} M tokens drawn\n"
        "# (from a short trial on this machine; an untrained model's samples are its longest and most varied)"
    )
    return None


def close(folder: Path, as_json: bool) -> None:
    """Write the report and say where it is."""
    from driftloop.evals.report.write import write

    page, twin = write(folder)
    if as_json:
        files = {
            "run": str(folder),
            "report": str(page),
            "markdown": str(twin),
            "metrics": str(folder / "metrics.parquet"),
        }
        return typer.echo(json.dumps(files))
    from driftloop.evals.report.records import read
    from driftloop.evals.report.verdict import verdict

    typer.echo(f"\n{verdict(read(folder)).line}\n\nreport: {page}")
    return None


def free_folder(name: str) -> Path:
    """runs/<name>, or the first runs/<name>-2, -3, ... that does not exist."""
    first = Path("runs") / name
    return next(
        p for k in range(1, 10**6) if not (p := first if k == 1 else first.with_name(f"{name}-{k}")).exists()
    )


def tabular(rows: Any) -> str:
    """A metrics table for the terminal; beside a reference, the difference with its interval."""
    compared = "reference" in rows.columns
    head = f"{'metric':<34}{'value':>12}{'95 % interval':>28}"
    head += f"{'reference':>12}{'difference':>12}{'95 % interval':>28}" if compared else ""
    return "\n".join([head + "   unit", *map(tabular_line, rows.iter_rows(named=True))])


def tabular_line(row: dict[str, Any]) -> str:
    """One measure with its interval, or why it has none."""
    line = f"{row['metric']:<34}{row['value']:>12.4g}{interval(row['lo'], row['hi']):>28}"
    if "reference" in row:
        change = interval(row["difference_lo"], row["difference_hi"])
        line += f"{row['reference']:>12.4g}{row['difference']:>12.4g}{change:>28}"
    return f"{line}   {row['unit']}" + (f" ({row['note']})" if row["note"] else "")


def interval(low: float, high: float) -> str:
    """[low, high]"""
    return f"[{low:.4g}, {high:.4g}]"


def main() -> None:
    """Run a verb; what a user can mend is one message on stderr: exit code 2 for input, 1 for a run that stopped."""
    from driftloop.loop.run import RunError

    try:
        app()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("DRIFTLOOP_TRACEBACK"):
            raise
        text = str(error) or type(error).__name__
        if "--json" in sys.argv:
            typer.echo(json.dumps({"error": type(error).__name__, "message": text}))
        typer.echo(f"driftloop: {text}", err=True)
        sys.exit(1 if isinstance(error, RunError) else 2)
