"""A corpus from file to file: look at it, load the model, plan or go on, embed what is missing, join.

Knows the order and what to say; `ray_engine` knows how shards run elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from jinabert_onnx.bundle.fingerprint import fingerprint_of
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import ClusterError, InputError
from jinabert_onnx.progress import Progress
from jinabert_onnx.text.inputs import require_range

from . import parts, planning
from .joining import join, rejected_of
from .plan import EncodeArguments, ModelSource, Plan, Shard, Source
from .shards import ShardResult, embed_shard, limits_of, missing, require_unchanged

TEXT_COLUMN = "text"
_NAMED = 5  # most files that one message names

Note = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What a user asks for; `output` ends in .parquet, or is a .npy file; `text_column` None is "text"."""

    input: Path
    output: Path
    kind: str
    model: ModelSource
    settings: EncodeArguments
    shard_rows: int
    text_column: str | None = None
    keep: tuple[str, ...] = ()
    engine: str = "local"
    skip_unreadable: bool = False


def run(job: Job, note: Note) -> ShardResult:
    """Do `job`, or what is left of it; `note` is told what a user should know, a line each time.

    Raises:
        InputError: the input, an option, or unfinished work of another kind; or not one row is good.
        StateError: another process works on the same output.
        KeyboardInterrupt: interrupted; `note` has been told how to go on, where anything is done.
        MissingDependencyError, OSError, and what `Embedder.load` raises.
    """
    require_range("shard_rows", job.shard_rows, 1, None)
    left_out = _left_out(job)
    sources, kind = planning.find_sources(job.input)
    keep = tuple(dict.fromkeys(job.keep))
    if kind == "text" and job.text_column is not None:
        raise InputError(f"{job.input}: is read as lines of text, which have no column {job.text_column!r}")
    planning.require_columns(sources, kind, job.text_column or TEXT_COLUMN, keep)
    if job.kind == "parquet":
        import_module(f"{__package__}.parquet_out")  # says what to install before anything is done
    if job.engine == "ray":
        import_module(f"{__package__}.ray_engine").import_ray()  # so does this
    _require_outputs_place(job)
    output = job.output.resolve()  # a link is followed, not replaced
    with job.model.load() as embedder, parts.taken(output) as directory:
        if job.model.options.precision == "auto":
            note(f"{embedder.precision}: {embedder.precision_reason}")
        asked = _plan(job, sources, kind, keep, embedder)
        plan, shards = _begin(asked, directory, note)
        try:
            _embed(job, plan, shards, directory, embedder)
            for source in plan.sources:
                require_unchanged(source)
            result = join(plan, shards, directory, output)
        except BaseException as error:
            _tell_how_to_go_on(plan, shards, directory, error, note)
            if isinstance(error, OSError) and _is_of_parts(error, directory):
                raise OSError(error.errno, error.strerror, str(job.output)) from error
            raise
        parts.forget(directory)
    for file in left_out:
        note(f"warning: left out: {file}")
    _tell(plan, result, job.output, note)
    return result


def _is_of_parts(error: OSError, directory: Path) -> bool:
    """Return whether a file of the work was written, or none is named: users know the output alone."""
    return error.filename is None or Path(error.filename).parent == directory


def _left_out(job: Job) -> list[str]:
    """Files of a directory that cannot be read, with reasons, if they may be left out."""
    found = planning.unreadable_files(job.input)
    if found and not job.skip_unreadable:
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise InputError(f"{'; '.join(found[:_NAMED])}{more}; remove them, or leave them out with --skip-unreadable")
    return found


def _require_outputs_place(job: Job) -> None:
    if job.output.resolve().parent == job.input.resolve():
        raise InputError(f"{job.output}: lies in the input, and would be read by the next run; give another --output")
    if rejected_of(job.output.resolve()) == job.input.resolve():
        raise InputError(f"{job.input}: is where rows set aside are listed, and would be replaced; rename it")
    if job.kind == "npy" and job.keep:
        raise InputError("--keep is for Parquet, and a .npy file holds only vectors; give --output FILE.parquet")


def _plan(job: Job, sources: Sequence[Source], kind: str, keep: tuple[str, ...], embedder: Embedder) -> Plan:
    """The plan, but for the number of rows; what the model cannot do is refused here."""
    settings = job.settings.resolve(embedder, embedder.default_prompt)
    return Plan(
        sources=tuple(sources),
        kind=kind,
        text_column=job.text_column or TEXT_COLUMN,
        keep=keep,
        output=job.kind,
        settings=replace(job.settings, max_length=settings.max_length),
        model=embedder.bundle.manifest.source or embedder.bundle.path.name,
        fingerprint=str(fingerprint_of(embedder.bundle.manifest, embedder.precision, settings.max_length)),
        width=settings.width,
        shard_rows=job.shard_rows,
        rows=0,
        prompt=settings.prefix,
        limits=limits_of(embedder, settings.output_dtype),
        attention=embedder.kernels.attention,
        layers=embedder.kernels.layers,
    )


def _begin(asked: Plan, directory: Path, note: Note) -> tuple[Plan, list[Shard]]:
    """The plan that is kept, if it is the same; else the one asked for, which is then kept."""
    found = parts.kept(directory)
    if found is not None:
        plan, shards = found
        parts.require_same(directory, plan, asked)
        left = len(missing(plan, shards, directory))
        note(f"going on: {len(shards) - left} of {len(shards)} shards are done")
        return plan, shards
    shards = planning.plan_shards(asked.sources, asked.kind, asked.shard_rows, whole_text=asked.output == "npy")
    plan = replace(asked, rows=sum(shard.rows for shard in shards))
    parts.keep(directory, plan, shards)
    return plan, shards


def _embed(job: Job, plan: Plan, shards: Sequence[Shard], directory: Path, embedder: Embedder) -> None:
    left = missing(plan, shards, directory)
    rows = sum(shard.rows for shard in left)
    with Progress(plan.rows, "texts", None, done=plan.rows - rows) as progress:
        if job.engine == "local":
            for shard in left:  # one after the other: the model's threads are what runs at once
                embed_shard(plan, shard, embedder, directory, progress.advance)
            return
        from . import ray_engine

        embedder.close()  # the actors load their own
        ray_engine.embed(plan, left, directory, job.model, progress)


def _tell_how_to_go_on(plan: Plan, shards: Sequence[Shard], directory: Path, error: BaseException, note: Note) -> None:
    """Say what is done, if it can go on; where nothing is done, nothing is kept."""
    done = len(shards) - len(missing(plan, shards, directory))
    if not done:
        parts.forget(directory)
    if not done or not isinstance(error, (KeyboardInterrupt, OSError, ClusterError)):
        return
    what = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    note(f"{what}; {done} of {len(shards)} shards are done; run the same command again to resume")


def _tell(plan: Plan, result: ShardResult, output: Path, note: Note) -> None:
    if result.cut and plan.settings.truncation == "warn":
        note(f"warning: {result.cut} of {plan.rows} texts were cut to {plan.settings.max_length} tokens")
    note(f"{plan.rows} rows in, {result.rows} embedded, {result.rejected} set aside")
    listed = os.fspath(rejected_of(output))
    if result.rejected and not result.rows:
        raise InputError(f"not one of {plan.rows} rows is good; the reasons are in {listed}")
    if result.rejected:
        note(f"warning: {result.rejected} of {plan.rows} rows were set aside; the reasons are in {listed}")
    note(f"fingerprint of {output}: {plan.fingerprint}")
