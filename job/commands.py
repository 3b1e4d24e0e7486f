"""What each command does: put the pieces together, print, return the exit code. One function per command."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from job import configuration, job_file, screens
from job.errors import ConfigurationError
from job.side import storage
from job.units import counted, parse_duration

if TYPE_CHECKING:
    from job.assembly import Assembly


def _loaded(arguments: Namespace, overrides: list[str], **judge: Any) -> configuration.Loaded:
    return configuration.load(
        argv_overrides=overrides,
        file=arguments.config,
        document=arguments.document,
        env=os.environ,
        read=lambda uri: job_file.read(uri, os.environ),
        **judge,
    )


def _job(arguments: Namespace, overrides: list[str]) -> tuple[Assembly, configuration.Loaded]:
    from job import recipe_mistakes  # needs scikit-learn, which takes as long to import as Java to start
    from job.assembly import assemble

    loaded = _loaded(arguments, overrides, judge=recipe_mistakes.of_settings)
    return assemble(loaded.settings, loaded.base), loaded


def _output(arguments: Namespace, overrides: list[str]) -> Any:
    """The store of OUTPUT."""
    from job.store import Store

    found = configuration.load_storage(argv_overrides=overrides, env=os.environ)
    return Store.open(arguments.output, found.side("output"), what="output")


def _none_but(overrides: list[str]) -> None:
    if overrides:
        raise ConfigurationError(
            f"unknown argument {overrides[0]!r}", hint="`manyfit COMMAND --help` lists the arguments."
        )


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def demo(arguments: Namespace, overrides: list[str]) -> int:
    """The article, end to end."""
    _none_but(overrides)
    from job import demo

    return demo.main(arguments.keep)


def plan(arguments: Namespace, overrides: list[str]) -> int:
    """What a run would do."""
    from job.assembly import check_identity, plan_alone

    assembly, _ = _job(arguments, overrides)
    check_identity(assembly, create=False)
    made = plan_alone(assembly)
    if arguments.json:
        _print_json(screens.plan_document(made, assembly, keys=arguments.keys))
    else:
        screens.plan(made, assembly, keys=arguments.keys)
    return 0


def run(arguments: Namespace, overrides: list[str]) -> int:
    """Plan, train, upload, publish, report."""
    from job import ahead

    try:
        engine = ahead.begin(_loaded(arguments, overrides).settings, os.environ)
    except ConfigurationError:
        _job(arguments, overrides)  # tells the recipe's mistakes, too
        raise
    try:
        from job.run import run as run_job

        assembly, loaded = _job(arguments, overrides)
        screens.settings_in_force(loaded)
        plain = loaded.to_document(defaults=False)
        done = run_job(assembly, plain, on_plan=screens.run_begins, make_engine=lambda _: engine.take())
    finally:
        engine.stop()
    screens.run_ends(done)
    if arguments.json:
        print(done.to_json())
    return done.exit_code


def check(arguments: Namespace, overrides: list[str]) -> int:
    """Read the input, write to the output, train nothing."""
    from job import admission
    from job.assembly import check_identity, list_input

    assembly, _ = _job(arguments, overrides)
    listing, _ = list_input(assembly)
    print(f"input   {assembly.input.uri}: {listing.num_rows:,} objects listed")
    if listing.num_rows:
        with storage("input", "the first object cannot be read"):
            name = listing["name"][0].as_py()
            if not name.endswith("/"):
                assembly.input.get(name)
                print(f"        {name!r} read")
    single = bool(assembly.settings.storage.side("output").single_writer)
    admitted = admission.admit(assembly.output, single_writer=single)
    print(f"output  {assembly.output.uri}: {admitted.mode} writes, checked in {admitted.seconds:.1f} s")
    check_identity(assembly, create=False)
    return 0


def status(arguments: Namespace, overrides: list[str]) -> int:
    """Progress of a run, from outside."""
    output = _output(arguments, overrides)
    with storage("output", f"{output.uri} cannot be read"):
        found = screens.read_status(output, arguments.run)
    if arguments.json:
        _print_json(found)
    else:
        screens.status(found)
    return 0


def models(arguments: Namespace, overrides: list[str]) -> int:
    """The published table."""
    from job import listing

    output = _output(arguments, overrides)
    rows = listing.read(output, at=arguments.at)
    rows = listing.choose(
        rows,
        state=arguments.state,
        match=arguments.match,
        where=arguments.where,
        warnings=arguments.warnings,
        sort=arguments.sort,
    )
    everything = arguments.json or arguments.csv or not sys.stdout.isatty()
    limit = arguments.limit if arguments.limit is not None else (None if everything else 50)
    listing.write(rows, limit=limit, form="json" if arguments.json else "csv" if arguments.csv else "text")
    return 0


def show(arguments: Namespace, overrides: list[str]) -> int:
    """One model."""
    from job.models import ModelSet
    from job.show import document, text

    found = configuration.load_storage(argv_overrides=overrides, env=os.environ).side("output")
    opened = ModelSet.open(
        arguments.output, at=arguments.at, storage=found, allow_version_skew=arguments.allow_version_skew
    )
    described = document(opened, arguments.key)
    if arguments.json:
        _print_json(described)
    else:
        text(described)
    return 0


def verify(arguments: Namespace, overrides: list[str]) -> int:
    """Re-read every published model."""
    from job.errors import DamageError
    from job.verify import verify as verify_all

    output = _output(arguments, overrides)
    public = None
    if arguments.public_key:
        public = job_file.read_here(arguments.public_key)
    found = verify_all(output, at=arguments.at, jobs=arguments.jobs, load=not arguments.no_load, public_key=public)
    if arguments.json:
        _print_json(
            {"checked": found.checked, "damaged": [{"key": key, "problem": text} for key, text in found.damaged]}
        )
    else:
        for key, problem in found.damaged[:50]:
            print(f"DAMAGED {key}: {problem}")
        how = "size and digest" if arguments.no_load else "size, digest and loadability"
        print(f"{found.checked:,} models checked ({how}), {len(found.damaged):,} damaged")
    return DamageError.exit_code if found.damaged else 0


def history(arguments: Namespace, overrides: list[str]) -> int:
    """The versions of the set."""
    from job.index import Index

    output = _output(arguments, overrides)
    with storage("output", f"{output.uri} cannot be read"):
        index = Index(output)
        versions, held = index.history(arguments.limit), index.held()
    if not versions:
        raise ConfigurationError(
            f"nothing is published in {output.uri}", hint="Is it the job's output.uri? `manyfit run` publishes."
        )
    if arguments.json:
        _print_json([screens.version_document(each) for each in versions])
    else:
        screens.history(versions, held=held)
    return 0


def rollback(arguments: Namespace, overrides: list[str]) -> int:
    """Go back to an older version, or let runs publish again."""
    from job.index import Index

    output = _output(arguments, overrides)
    index, seal = Index(output), _seal(arguments, output)
    if arguments.resume == (arguments.version is not None):
        raise ConfigurationError(
            "give either a VERSION or --resume", hint=f"`manyfit history {arguments.output}` lists the versions."
        )
    with storage("output", f"{output.uri} cannot be changed"):
        if arguments.resume:
            # Without a hold there is no new version; with a key the current one gets its signature.
            warning = seal.check() if index.held() else None
            done = index.resume()
            print(f"runs may publish again; version {done.version}")
            _sealed(seal, done.version, warning)
            return 0
        again = index.differing(arguments.version)
        warning = seal.check(arguments.version)
        done = index.rollback(arguments.version, hold=arguments.hold)
        print(f"version {done.version} has the rows of version {arguments.version}")
        _sealed(seal, done.version, warning)
    if done.held:
        print(f"held: runs refuse (exit 2) until `manyfit rollback {arguments.output} --resume`")
    else:
        print(f"the next run would train about {again:,} keys again; --hold keeps it from doing so")
    return 0


def retire(arguments: Namespace, overrides: list[str]) -> int:
    """Take keys out of the set."""
    from job.index import Index

    output = _output(arguments, overrides)
    seal = _seal(arguments, output)
    with storage("output", f"{output.uri} cannot be changed"):
        warning = seal.check()
        done = Index(output).retire(arguments.keys)
        print(f"{counted(done.applied, 'key')} retired; version {done.version}")
        _sealed(seal, done.version, warning)
    return 0


def _seal(arguments: Namespace, output: Any) -> Any:
    from job.seal import Seal

    key = job_file.read_here(arguments.signing_key) if arguments.signing_key else None
    return Seal(output, key, unsigned=arguments.unsigned)


def _sealed(seal: Any, version: int | None, warning: str | None) -> None:
    if seal.put(version) is not None:
        print(f"version {version} is signed")
    if warning:
        print(f"manyfit: {warning}", file=sys.stderr)


def gc(arguments: Namespace, overrides: list[str]) -> int:
    """Remove what no kept version refers to."""
    from job import retention

    output = _output(arguments, overrides)
    try:
        margin = float(parse_duration(arguments.margin))
    except ValueError as error:
        raise ConfigurationError(f"--margin {arguments.margin!r} {error}") from None
    with storage("output", f"{output.uri} cannot be cleaned"):
        done = retention.gc(output, keep=arguments.keep, dry_run=not arguments.delete, margin=margin)
    if arguments.json:
        _print_json(screens.gc_document(done))
    else:
        screens.gc(done, dry_run=not arguments.delete)
    return 0


def settings(arguments: Namespace, overrides: list[str]) -> int:
    """Every setting with its default."""
    _none_but(overrides)
    from job import schema

    if arguments.json:
        _print_json(schema.job_schema())
    else:
        print(schema.markdown())
    return 0
