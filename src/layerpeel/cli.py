"""The shell command: ``layerpeel run | measure | claims | models | data fetch | figure | conventions | list | doctor``.

Commands are thin: they read options, call the library and print. Wrong input is one sentence on stderr and exit code 2;
LAYERPEEL_DEBUG=1 shows the traceback instead.
"""

import inspect
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import layerpeel
from layerpeel.rings import explain_missing

if TYPE_CHECKING:
    from rich.console import Console

    from layerpeel.collapse import CollapseReport

__all__ = ["app", "main"]

app = App(
    name="layerpeel",
    version=layerpeel.__version__,
    help="The laboratory for neural collapse: simulate layer-peeled models, measure real features.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    experiment: str,
    /,
    *,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    seeds: int | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    figures: bool = True,
    **flags: str,
) -> int:
    """Run a named experiment (see `layerpeel list`) or a recipe file into a folder, and draw its figures.

    Every setting of the experiment is a flag: layerpeel run network --model vgg13 --epochs 100

    Parameters
    ----------
    experiment
        A name such as ulpm-dynamics, or a recipe file such as runs/figure-2.toml.
    set_
        A setting, NAME=VALUE, the same as --NAME VALUE; repeat for more: --set K=8 --set n=[10,10,2].
    seeds
        Number of seeds.
    out
        Folder for the record and figures; by default out/NAME.
    resume
        Go on with the interrupted run in that folder; a finished one is shown and redrawn.
    figures
        Whether to draw.
    flags
        The settings of the experiment, each by its name.
    """
    from layerpeel.experiments import conduct, parse_setting, read_recipe

    named = [f"{flag.replace('-', '_')}={value}" for flag, value in flags.items()]
    settings = dict(parse_setting(text) for text in (*set_, *named))
    if seeds is not None:
        settings["seeds"] = seeds
    chosen = read_recipe(experiment, settings)
    folder = out or Path("out") / chosen.name
    done = conduct(chosen, folder, resume=resume, announce=print)
    if done.leads:
        print(f"\nrecord: {done.folder}")
    if done.leads and figures:
        figure(done.folder)
    if done.outcome == "INTERRUPTED" and done.leads:
        command = ["layerpeel", "run", str(folder / "config.toml"), "--out", str(folder), "--resume"]
        print(f"go on with: {shlex.join(command)}", file=sys.stderr)
    return {"COMPLETED": 0, "REACHED": 0, "RESTED": 0, "INTERRUPTED": 130}.get(done.outcome, 1)


@app.command
def measure(
    file: Path | None = None,
    /,
    *,
    images: Literal["auto", "fashion-mnist", "digits", "mnist-format"] | None = None,
    data_dir: Path | None = None,
    labels_file: Path | None = None,
    features_key: str | None = None,
    labels_key: str | None = None,
    classifier_key: str | None = None,
    bias_key: str | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = None,
    preset: str = "ji2022",
    drop_nonfinite: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    csv: Annotated[bool, Parameter(negative=())] = False,
    fail_above: Annotated[tuple[str, ...], Parameter(negative=())] = (),
) -> int:
    """Measure collapse of saved features, or of real images and a small network trained on them.

    FILE is .npz, .npy (with --labels-file), .safetensors, .parquet or .pt (weights only). The arrays are found by
    their usual names (features, labels, weight, bias, ...) or named by the options below.

    Parameters
    ----------
    file
        Saved features and labels, with or without classifier and bias.
    images
        Instead of FILE: measure the pixels of an image set and the last layer of a small network trained on them.
    data_dir
        A folder to look for the image set in, before $LAYERPEEL_DATA and the user's cache.
    labels_file
        The labels, when FILE is a .npy of features.
    features_key
        Name of the features in FILE.
    labels_key
        Name of the labels in FILE.
    classifier_key
        Name of the classifier's weight (K, d) in FILE.
    bias_key
        Name of the classifier's bias (K,) in FILE.
    num_classes
        K; by default the rows of the classifier, or the largest label + 1.
    ignore_index
        Label of the samples to leave out.
    preset
        Convention of the definitions, see `layerpeel conventions`.
    drop_nonfinite
        Leave out samples with nan or inf instead of refusing them.
    json
        Print JSON instead of the table.
    csv
        Print CSV (field,value) instead of the table.
    fail_above
        FIELD=LIMIT; exit with 1 when the field is above the limit (or undefined). Repeat for more.
    """
    if json and csv:
        raise ValueError("need one of --json and --csv, got both")
    if file is None:
        if images is None:
            raise ValueError("need a FILE of saved features or --images, got neither")
        given = {
            "--json": json,
            "--csv": csv,
            "--fail-above": fail_above,
            "--labels-file": labels_file,
            "--features-key": features_key,
            "--labels-key": labels_key,
            "--classifier-key": classifier_key,
            "--bias-key": bias_key,
            "--num-classes": num_classes,
            "--ignore-index": ignore_index,
            "--drop-nonfinite": drop_nonfinite,
        }
        _need_file(option for option, value in given.items() if value not in (None, False, ()))
        return _measure_images(images, data_dir, preset)
    if images is not None or data_dir is not None:
        raise ValueError("need a FILE of saved features or --images (with --data-dir), got both")
    limits = _limits(fail_above)
    report = _measure_file(
        file,
        keys={
            "labels_path": labels_file,
            "features_key": features_key,
            "labels_key": labels_key,
            "classifier_key": classifier_key,
            "bias_key": bias_key,
        },
        options={
            "num_classes": num_classes,
            "ignore_index": ignore_index,
            "preset": preset,
            "allow_nonfinite": "drop" if drop_nonfinite else "raise",
        },
    )
    print(_rendered(report, "json" if json else "csv" if csv else "table"))
    return _judge(report, limits)


@app.command
def claims(
    *,
    only: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
    markdown: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Put every statement of the paper to the test (a minute); exit with 1 if a verdict is not the one on record.

    Parameters
    ----------
    only
        Id of a statement (lemma-3.1) or number of an erratum (E8); repeat for more.
    json
        Print all the evidence as JSON instead of the tables.
    markdown
        Print a compact Markdown table instead.
    """
    if json and markdown:
        raise ValueError("need one of --json and --markdown, got both")
    from layerpeel.certify import claims as paper

    found = paper.check(only or None, progress=True)
    if json or markdown:
        print(paper.as_json(found) if json else paper.as_markdown(found))
    else:
        _console(110).print(paper.as_tables(found))
    surprises = [sentence for claim in found for sentence in claim.surprises]
    for sentence in surprises:
        print(f"layerpeel: {sentence}", file=sys.stderr)
    wanted = len(paper.statements_of(only or None))
    if len(found) < wanted:
        print(f"layerpeel: interrupted after {len(found)} of {wanted} statements", file=sys.stderr)
        return 130
    return int(bool(surprises))


@app.command
def figure(run: Path, /, *, out: Path | None = None) -> int:
    """Redraw the figures of a kept run from its record, without computing anything again.

    Parameters
    ----------
    run
        The folder of the run.
    out
        Folder for the figures; by default RUN/figures.
    """
    from layerpeel.experiments import draw
    from layerpeel.records import read_record

    for path in draw(read_record(run), out or run / "figures"):
        print(f"figure: {path}")
    return 0


@app.command
def conventions() -> int:
    """Print the presets: how each paper defines the metrics."""
    from layerpeel.collapse import convention_rows

    rows = convention_rows()
    sources = [(row["name"], row.pop("source")) for row in rows]
    _print_table(rows)
    print()
    for name, source in sources:
        print(f"{name:12} {source}")
    return 0


@app.command
def models(
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
    markdown: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Print the systems that can be had by name: loss, bounds, optimum, and the command that reproduces each.

    Parameters
    ----------
    json
        Print JSON instead of the table.
    markdown
        Print a Markdown table instead.
    """
    if json and markdown:
        raise ValueError("need one of --json and --markdown, got both")
    from layerpeel.experiments import system_rows

    rows = system_rows()
    if json:
        import json as form

        print(form.dumps(rows, indent=2, ensure_ascii=False))
    elif markdown:
        lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    else:
        for row in rows:
            print(f"{row['model']}\n    {row['paper']}: {row['loss']}, bounded by {row['bounded by']}")
            print(f"    optimum: {row['optimum']}; {row['dynamics']}\n    {row['reproduced by']}\n")
    return 0


@app.command(name="list")
def list_() -> int:
    """List the experiments with their settings and defaults."""
    from layerpeel.experiments import EXPERIMENTS

    for name, kind in EXPERIMENTS.items():
        defaults = ", ".join(f"{setting}={value!r}" for setting, value in kind().settings().items())
        print(f"{name}\n\n{inspect.getdoc(kind)}\n\nDefaults: {defaults}\n")
    return 0


@app.command
def doctor() -> int:
    """Report versions, devices, optional rings and the image sets found: what a bug report needs."""
    from layerpeel.doctor import diagnose

    for topic, lines in diagnose().items():
        print(topic)
        for line in lines:
            print(f"  {line}")
    return 0


data = App(name="data", help="Fetch the image sets that real networks are trained on.")
app.command(data)


@data.command
def fetch(
    name: str,
    /,
    *,
    to: Path | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
) -> int:
    """Download an image set, verified by checksum; what is there already is kept, what broke off is gone on with.

    Parameters
    ----------
    name
        fashion-mnist.
    to
        Folder for its files; by default the user's cache, where they are found without more.
    from_
        URL of a folder with the files, instead of the known mirrors.
    """
    from layerpeel.networks import fetch_images
    from layerpeel.networks.data.image_set import is_searched

    try:
        folder = fetch_images(name, to=to, source=from_, shown=True)
    except KeyboardInterrupt:
        print("layerpeel: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    print(f"{name}: whole and verified in {folder}")
    if not is_searched(folder):
        print(f"use it with --data-dir {shlex.quote(str(folder))}, or set LAYERPEEL_DATA to it")
    return 0


def main() -> None:
    """Run the command line and exit with its code."""
    warnings.formatwarning = lambda message, *_, **__: f"layerpeel: {message}\n"
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        print("layerpeel: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone: `layerpeel ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (CycloptsError, ValueError, ImportError, OSError, MemoryError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = explain_missing(error)
        if os.environ.get("LAYERPEEL_DEBUG") or isinstance(error, ModuleNotFoundError):
            raise
        print(f"layerpeel: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _measure_file(file: Path, *, keys: Mapping[str, Any], options: Mapping[str, Any]) -> "CollapseReport":
    from layerpeel.collapse import measure
    from layerpeel.records import read_features

    saved = read_features(file, **keys)
    return measure(saved.features, saved.labels, classifier=saved.classifier, bias=saved.bias, **options)


def _measure_images(name: str, data_dir: Path | None, preset: str) -> int:
    import tempfile

    from layerpeel.experiments import Images

    chosen = Images(data=name, data_dir=str(data_dir or ""), preset=preset)
    with tempfile.TemporaryDirectory() as scratch:
        print(chosen.run(Path(scratch) / "checkpoint", progress=True).text)
    return 0


def _rendered(report: "CollapseReport", form: str) -> str:
    if form == "table":
        return str(report)
    values = report.asdict()
    if form == "csv":
        return "\n".join(["field,value", *(f"{name},{value!r}" for name, value in values.items())])
    import json

    facts = {
        "preset": report.preset,
        "num_samples": report.num_samples,
        "num_classes": report.num_classes,
        "dim": report.dim,
        "rank": report.rank,
        "missing_classes": list(report.missing_classes),
        "single_sample_classes": list(report.single_sample_classes),
        "dropped": report.dropped,
        "notes": list(report.notes),
        "floors": dict(report.floors),
    }
    return json.dumps(facts | {"metrics": {k: _json_number(v) for k, v in values.items()}}, indent=2)


def _json_number(value: float) -> float | str | None:
    """JSON has neither nan (here null: undefined) nor infinity (here the string "inf")."""
    if value != value:
        return None
    return value if abs(value) != float("inf") else str(value)


def _need_file(options: Iterable[str]) -> None:
    """Refuse options that only the measurement of a FILE has."""
    listed = ", ".join(options)
    if listed:
        raise ValueError(
            f"need a FILE of saved features for {listed}, got --images (`layerpeel run images` keeps its own)"
        )


def _limits(texts: tuple[str, ...]) -> dict[str, float]:
    """Field -> limit, of the --fail-above options."""
    from layerpeel.collapse import METRICS
    from layerpeel.experiments import parse_setting

    limits, fields = dict(map(parse_setting, texts)), [line.field for line in METRICS]
    for name, limit in limits.items():
        if name not in fields or isinstance(limit, bool) or not isinstance(limit, int | float):
            raise ValueError(f"need --fail-above FIELD=NUMBER with a field of {', '.join(fields)}, got {name}={limit}")
    return limits


def _judge(report: "CollapseReport", limits: Mapping[str, float]) -> int:
    """1 when a field is above its limit or undefined, else 0."""
    values = report.asdict()
    failed = [name for name, limit in limits.items() if not values[name] <= limit]
    for name in failed:
        print(f"layerpeel: {name} is {values[name]:.6g}, not below {limits[name]:g}", file=sys.stderr)
    return int(bool(failed))


def _console(width: int) -> "Console":
    """As wide as the terminal, up to ``width`` columns, which it also is where there is no terminal."""
    from rich.console import Console

    return Console(width=min(shutil.get_terminal_size((width, 24)).columns, width))


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)


def _sentence(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or "out of memory"


if __name__ == "__main__":
    main()
