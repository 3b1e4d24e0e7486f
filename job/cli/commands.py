"""One function for each command: it assembles the pieces, prints, and returns the exit code."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from job.cli import arguments as given
from job.cli import own_output, screens, termination
from job.config import load, local_file
from job.config.value_types import parse_duration
from job.errors import ConfigurationError
from job.store.side import storage
from job.words import counted

if TYPE_CHECKING:
    from job.registry.predictions import Predictions
    from job.run.assembly import Assembly
    from job.run.report import RunReport


def demo(arguments: Namespace, overrides: list[str]) -> int:
    """Run the example of the article from end to end."""
    given.none_but(overrides)
    from job.cli import demo

    return demo.main(arguments.keep)


def plan(arguments: Namespace, overrides: list[str]) -> int:
    """Show what a run would do, and the types of the columns."""
    from job.cli import columns_table
    from job.run import preview
    from job.run.assembly import check_identity
    from job.run.planning import plan_alone

    if given.is_scoring(arguments, overrides):
        from job.cli import score_plan

        return score_plan.main(arguments, overrides)
    with own_output.kept(arguments.json):
        assembly, _ = given.job(arguments, overrides)
        check_identity(assembly, create=False)
        made = plan_alone(assembly)
    if arguments.key is not None:
        found = preview.of_key(assembly, made, arguments.key)
        if arguments.json:
            screens.print_json({**found, "preview": columns_table.document(found["preview"])})
        else:
            columns_table.show_key(screens.out(), found)
        return 0
    seen = preview.of_first(assembly, made)
    if arguments.json:
        planned = screens.plan_document(made, assembly, keys=arguments.keys)
        screens.print_json({**planned, "columns": columns_table.document(seen)})
    else:
        screens.plan(made, assembly, keys=arguments.keys)
        columns_table.show(screens.out(), seen)
    return 0


def run(arguments: Namespace, overrides: list[str]) -> int:
    """Plan, train, upload, publish, report."""
    from job.run import ahead

    try:
        loaded = given.loaded(arguments, overrides)
    except ConfigurationError:
        given.job(arguments, overrides)  # reports the mistakes of the recipe, too
        raise
    engine = ahead.begin(loaded.settings, os.environ)
    try:
        from job.run.assembly import assemble
        from job.run.run import run as run_job

        with own_output.kept(arguments.json):
            assembly = assemble(given.job_of(loaded), loaded.base)
            screens.settings_in_force(loaded)
            plain = loaded.to_document(defaults=False)
            done = run_job(assembly, plain, on_plan=screens.run_begins, make_engine=lambda _: engine.take())
    finally:
        engine.stop()
    return _ended(done, arguments)


def _ended(done: RunReport, arguments: Namespace) -> int:
    """Tell the result of a run; returns its exit code."""
    screens.run_ends(done)
    termination.say(done.short(termination.MOST))
    if arguments.json:
        print(done.to_json())
    return done.exit_code


def score(arguments: Namespace, overrides: list[str]) -> int:
    """Plan, predict, publish, report."""
    from job import engine as engines
    from job.run.run import run as run_job
    from job.run.scoring_run import ScoringRun
    from job.words import SCORING

    with own_output.kept(arguments.json):
        assembly, loaded = given.scoring(arguments, overrides)
        screens.settings_in_force(loaded)
        done = run_job(
            assembly,
            loaded.to_document(defaults=False),
            purpose=ScoringRun(assembly),
            on_plan=lambda plan, run: screens.run_begins(plan, run, SCORING),
            make_engine=lambda _: engines.make(loaded.settings, os.environ),
        )
    return _ended(done, arguments)


def check(arguments: Namespace, overrides: list[str]) -> int:
    """Read the input and a scoring's models, and write to the output. Train and score nothing."""
    from job.run.assembly import check_identity
    from job.store import probe

    scores = given.is_scoring(arguments, overrides)
    assembly: Assembly
    assembly, _ = given.scoring(arguments, overrides) if scores else given.job(arguments, overrides)
    if assembly.has_rows:
        _check_input(assembly)
    if scores:
        _check_models(assembly)
    single = bool(assembly.settings.storage.side("output").single_writer)
    admitted = probe.admit(assembly.output, single_writer=single)
    print(f"output  {assembly.output.uri}: {admitted.mode} writes, checked in {admitted.seconds:.1f} s")
    check_identity(assembly, create=False)
    return 0


def _check_input(assembly: Assembly) -> None:
    """List the input, read its first object, and check the listing as a run does."""
    from job.plan import selection, table_keys
    from job.run.planning import list_input

    listing, _ = list_input(assembly)
    print(f"input   {assembly.input.uri}: {listing.num_rows:,} objects listed")
    if listing.num_rows:
        with storage("input", "the first object cannot be read"):
            name = listing["name"][0].as_py()
            if not name.endswith("/"):
                assembly.input.get(name)
                print(f"        {name!r} read")
    if assembly.settings.input.layout != "columns":
        selection.select(listing, assembly.settings.input, assembly.settings.run.seed)
    else:
        table_keys.files(listing, assembly.settings.input)


def _check_models(assembly: Assembly) -> None:
    """Read the version of the models that a scoring would apply."""
    from datetime import UTC, datetime

    from job.run.pinned_models import PinnedModels
    from job.run.score_assembly import ScoreAssembly

    assert isinstance(assembly, ScoreAssembly)
    settings = assembly.scoring
    pinned = PinnedModels(assembly.models, settings.models, settings.score, datetime.now(UTC))
    print(f"models  {assembly.models.uri}: version {pinned.version}, {counted(len(pinned), 'model')} listed")


def status(arguments: Namespace, overrides: list[str]) -> int:
    """Show the state of a run."""
    output = given.output(arguments, overrides)
    with storage("output", f"{output.uri} cannot be read"):
        if arguments.watch:
            from job.cli import watch

            return watch.main(output, arguments.run)
        found = screens.read_status(output, arguments.run)
    if arguments.json:
        screens.print_json(found)
    else:
        screens.status(found)
    return 0


def report(arguments: Namespace, overrides: list[str]) -> int:
    """Write the page about the fleet."""
    from job.cli import fleet_page

    return fleet_page.main(arguments, given.output(arguments, overrides))


def models(arguments: Namespace, overrides: list[str]) -> int:
    """List the published table."""
    from job.cli import models_table

    output = given.output(arguments, overrides)
    rows = models_table.read(output, at=arguments.at)
    rows = models_table.choose(
        rows,
        state=arguments.state,
        match=arguments.match,
        where=arguments.where,
        warnings=arguments.warnings,
        sort=arguments.sort,
    )
    models_table.write(rows, limit=_limit(arguments), form=_form(arguments))
    return 0


def compare(arguments: Namespace, overrides: list[str]) -> int:
    """Compare two versions of the set, key by key."""
    from job.cli import compare_table, models_table

    output = given.output(arguments, overrides)
    rows = compare_table.read(output, now=arguments.at, then=arguments.then)
    lines = compare_table.summary(rows)
    if not arguments.all:
        rows = rows[rows["change"] != "same"]
    rows = models_table.choose(rows, match=arguments.match, where=arguments.where, sort=arguments.sort)
    compare_table.write(rows, limit=_limit(arguments), form=_form(arguments), lines=lines)
    return 0


def _limit(arguments: Namespace) -> int | None:
    """The number of rows to print; None for all. Default: 50 on a terminal, else all."""
    everything = arguments.json or arguments.csv or not sys.stdout.isatty()
    if arguments.limit is None and not everything:
        return 50
    limit: int | None = arguments.limit
    return limit


def _form(arguments: Namespace) -> str:
    return "json" if arguments.json else "csv" if arguments.csv else "text"


def show(arguments: Namespace, overrides: list[str]) -> int:
    """Show one model."""
    from job.cli.one_model import document, text
    from job.cli.version_commands import refuse_predictions
    from job.registry.model_set import ModelSet

    refuse_predictions(given.output(arguments, overrides), "show")
    found = load.load_storage(argv_overrides=overrides, env=os.environ).side("output")
    opened = ModelSet.open(
        arguments.output, at=arguments.at, storage=found, allow_version_skew=arguments.allow_version_skew
    )
    described = document(opened, arguments.key)
    if arguments.json:
        screens.print_json(described)
    else:
        text(described)
    return 0


def verify(arguments: Namespace, overrides: list[str]) -> int:
    """Read every published model, or every file of predictions, again and check it."""
    from job.errors import DamageError
    from job.registry.predictions import Predictions
    from job.registry.verify import verify as verify_all

    output = given.output(arguments, overrides)
    if Predictions(output).version() is not None:
        return _verify_predictions(arguments, Predictions(output))
    public = None
    if arguments.public_key:
        public = local_file.read(arguments.public_key, "--public-key")
    found = verify_all(output, at=arguments.at, jobs=arguments.jobs, load=not arguments.no_load, public_key=public)
    if arguments.json:
        screens.print_json(
            {
                "checked": found.checked,
                "damaged": [{"key": key, "problem": text} for key, text in found.damaged],
                "forgotten": list(found.forgotten),
            }
        )
    else:
        for key, problem in found.damaged[:50]:
            print(f"DAMAGED {key}: {problem}")
        how = "size and digest" if arguments.no_load else "size, digest and loadability"
        forgotten = f", {len(found.forgotten):,} forgotten since" if found.forgotten else ""
        print(f"{counted(found.checked, 'model')} checked ({how}), {len(found.damaged):,} damaged{forgotten}")
    return DamageError.exit_code if found.damaged else 0


def _verify_predictions(arguments: Namespace, predictions: Predictions) -> int:
    from job.errors import DamageError

    if arguments.public_key:
        raise ConfigurationError(
            f"{predictions.store.uri} holds predictions, which are not signed",
            hint="Leave out --public-key; models.public_key of a scoring checks the signature of the models.",
        )
    with storage("output", f"{predictions.store.uri} cannot be read"):
        count, damaged = len(predictions.files(arguments.at)), list(predictions.damaged(arguments.at))
    if arguments.json:
        told = [{"file": name, "problem": text} for name, text in damaged]
        screens.print_json({"checked": count, "damaged": told})
    else:
        for name, text in damaged[:50]:
            print(f"DAMAGED {name}: {text}")
        print(f"{counted(count, 'file')} of predictions checked (digest and rows), {len(damaged):,} damaged")
    return DamageError.exit_code if damaged else 0


def gc(arguments: Namespace, overrides: list[str]) -> int:
    """Remove files that no kept version refers to."""
    from job.run import retention, run_files, scored_before

    output = given.output(arguments, overrides)
    try:
        margin = float(parse_duration(arguments.margin))
    except ValueError as error:
        raise ConfigurationError(f"--margin {arguments.margin!r} {error}") from None
    with storage("output", f"{output.uri} cannot be cleaned"):
        if arguments.delete:
            # Finish a change of the predictions whose process died before it had updated the index.
            scored_before.make_good(output)
        keep = run_files.kept_versions(output) if arguments.keep is None else arguments.keep
        done = retention.gc(output, keep=keep, dry_run=not arguments.delete, margin=margin, pins=arguments.pin)
    if arguments.json:
        screens.print_json(screens.gc_document(done))
    else:
        screens.gc(done, dry_run=not arguments.delete)
    return 0


def settings(arguments: Namespace, overrides: list[str]) -> int:
    """Print every setting of a job, of a scoring or of both, with its default."""
    given.none_but(overrides)
    from job.config import schema
    from job.config.score_settings import ScoringSettings
    from job.config.settings import JobSettings

    of = arguments.of
    if arguments.config is not None:
        found = given.kind_of_file(arguments.config)
        if of not in (None, found):
            raise ConfigurationError(f"{arguments.config} is the document of a {found}, and not of a {of}")
        of = found
    kind = {None: None, "job": JobSettings, "score": ScoringSettings}[of]
    if arguments.json:
        screens.print_json(schema.job_schema(kind or JobSettings))
    else:
        print(schema.markdown(kind), end="")
    return 0
