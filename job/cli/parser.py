"""The command line: commands, options and their help. Imports nothing that takes long, so that `--help` is quick."""

from __future__ import annotations

import argparse

from job import __version__
from job.cli import options
from job.cli.options import Commands

EPILOG = """\
exit codes: 0 done · 1 our bug · 2 configuration · 3 Java, Spark or environment · 4 input · 5 output storage ·
6 more failed partitions than run.max_failed · 7 verify found damage · 130/143 interrupted

A job is ten lines of YAML:

  input:  {uri: "s3://raw/gapminder/", match: "*.csv.gz"}
  recipe:
    features: [year]
    target: lifeExp
    estimator: {_target_: sklearn.linear_model.LinearRegression}
  output: {uri: "s3://models/gapminder/"}

Every setting can also be given as an option (--input.uri) or in the environment (MANYFIT_INPUT__URI): options win over
the environment, the environment over the file. All settings: docs/reference/settings.md, or `manyfit settings`.
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="manyfit",
        description="One scikit-learn model per partition, for thousands to millions of partitions.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"manyfit {__version__}")
    commands = Commands(top.add_subparsers(dest="command", metavar="COMMAND", required=True))
    _on_a_job(commands)
    _looking_at_an_output(commands)
    _changing_an_output(commands)
    return top


def _on_a_job(commands: Commands) -> None:
    """Commands that take a job."""
    command = commands.add(
        "demo",
        "a complete example on this machine: two data sets, two models",
        "Makes two data sets (Y = 2.5 X and Y = 3.0 X, with noise), starts an embedded S3 server, trains on "
        "local Spark, and reads the coefficients back from the stored models. Needs Java 17.",
        "",
    )
    command.add_argument(
        "--keep", metavar="FOLDER", help="keep data and models in this folder (default: a temporary folder)"
    )
    command = commands.job(
        "plan",
        "show what a run would do, and why; train nothing",
        "Dry run of a training or a scoring. Shows how many keys would be trained and why, bytes, skew, advice on "
        "memory and parallelism, and the columns with their types as they reach the estimator. Reads one listing, the "
        "published table and the first objects; never starts Spark for layouts objects and hive.",
    )
    options.json_document(command)
    command.add_argument("--keys", action="store_true", help="list every key with its action")
    command.add_argument(
        "--key", metavar="KEY", help="of a training: show one key, its rows, its types, and what would fail and why"
    )
    command = commands.job(
        "run",
        "plan, train, upload, publish, report",
        "Trains what is new or changed, uploads each model from the executors, and publishes the whole set in "
        "one atomic version. Ctrl-C stops cleanly; run again to go on.",
    )
    options.json_result(command)
    command = commands.job(
        "score",
        "apply a published set of models to data",
        "Reads each key's rows, applies its model of one pinned version, and publishes the predictions in one table, "
        "each row once. Keys whose rows, model and settings were scored before are not scored again. Ctrl-C stops "
        "cleanly; run again to go on.",
    )
    options.json_result(command)
    commands.job(
        "check",
        "read the input (and a scoring's models), write to the output, train nothing",
        "Takes a training or a scoring. Lists the input, reads one object, and tries the conditional writes of the "
        "output with probe objects, which it removes. For `helm test` and for new buckets.",
    )


def _looking_at_an_output(commands: Commands) -> None:
    """Commands that read an output, and change nothing."""
    command = commands.output(
        "status",
        "show the progress of a run, and the time it still needs",
        "Reads what the run writes to its output; works from anywhere that can read the bucket.",
    )
    command.add_argument("--run", metavar="ID", help="the run to show; default: the run that began last")
    command.add_argument(
        "--watch",
        action="store_true",
        help="follow the run until it ends; exits with its exit code, or with 3 if its driver is dead",
    )
    options.json_document(command)
    command = commands.output(
        "report",
        "make a page about a run: which models are bad, what changed, what failed, where the time went",
        "Writes one self-contained HTML page about the newest run that has ended, compared with the version before its "
        "own and with the runs before it. Needs the extra `report`; --table and --json need nothing.",
    )
    command.add_argument("--run", metavar="ID", help="the run to show; default: the newest run that has ended")
    command.add_argument(
        "--against", type=int, metavar="VERSION", help="the version to compare with; default: the one before the run's"
    )
    command.add_argument(
        "--last", type=int, default=30, metavar="N", help="the number of earlier runs in the pictures (30)"
    )
    command.add_argument("--metric", metavar="NAME", help="the metric that compares the models; default: the first one")
    command.add_argument("--out", default="report.html", metavar="FILE", help="the file to write (report.html)")
    command.add_argument("--table", metavar="NAME", help="print one table of the page as CSV instead")
    command.add_argument("--json", action="store_true", help="print all tables as one JSON document instead")
    command = commands.output(
        "models", "list the published models", "Lists the published keys. Several filters are combined with AND."
    )
    options.older_version(command)
    command.add_argument(
        "--state", choices=["live", "stale", "failed", "skipped", "gone"], help="list only keys in this state"
    )
    command.add_argument("--warnings", action="store_true", help="list only models with warnings")
    options.table(command)
    command = commands.output(
        "compare",
        "compare two versions of the set, key by key",
        "What changed between two versions, and each metric then and now. Lists the keys that changed; --all lists "
        "every key.",
    )
    command.add_argument("--at", type=int, metavar="VERSION", help="the version to look at; default: the current one")
    command.add_argument(
        "--with",
        dest="then",
        type=int,
        metavar="VERSION",
        help="the version to compare it with; default: the one before",
    )
    command.add_argument("--all", action="store_true", help="also list keys that did not change")
    options.table(command)
    command = commands.output(
        "show",
        "show one model: parameters, coefficients, metrics, lineage",
        "Verifies the model file, loads it, and prints what is in it. Loading a model runs code: show only "
        "outputs you trust.",
    )
    command.add_argument("key", metavar="KEY")
    options.older_version(command)
    options.json_document(command)
    command.add_argument(
        "--allow-version-skew",
        action="store_true",
        help="load a model that was fitted with another version of scikit-learn",
    )
    command = commands.output(
        "verify",
        "read every published model again and check it",
        "Checks size, digest and loadability of every published model; ends with 7 if one is damaged.",
    )
    options.older_version(command)
    command.add_argument("--jobs", type=int, default=16, metavar="N", help="the number of models to read at once (16)")
    command.add_argument("--public-key", metavar="PEM", help="also check the signature of the version")
    command.add_argument("--no-load", action="store_true", help="check size and digest only; unpickle no model")
    options.json_document(command)
    command = commands.output(
        "history",
        "list the versions of the set",
        "Lists each version and what made it: a release, a rollback, the end of its hold (resume), a retirement, a "
        "promotion or a forgotten key.",
    )
    command.add_argument(
        "--limit", type=int, default=30, metavar="N", help="list at most N versions, the newest first (30)"
    )
    options.json_document(command)


def _changing_an_output(commands: Commands) -> None:
    """Commands that change an output; and the reference of settings."""
    command = commands.output(
        "rollback",
        "go back to an older version of the whole set",
        "Makes a new version with the rows of an older one, in one commit. Says how many keys the next run "
        "would train again; --hold keeps runs from doing so. With the current version, or none, --hold only holds.",
    )
    command.add_argument("version", type=int, nargs="?", metavar="VERSION")
    command.add_argument("--hold", action="store_true", help="let runs refuse to begin (exit code 2) until --resume")
    command.add_argument("--resume", action="store_true", help="let runs publish again")
    options.signing(command)
    options.told(command)
    command = commands.output(
        "retire",
        "take keys out of the set",
        "The model files stay until gc. If the input still has the key, the next run trains it again.",
    )
    options.keys(command)
    options.signing(command)
    options.told(command)
    command = commands.output(
        "promote",
        "publish a challenger that the gate kept back",
        "The challenger of each key becomes its live model, in one new version. `manyfit models OUTPUT --where "
        "gate=kept` lists the keys that have one.",
    )
    options.keys(command)
    options.signing(command)
    options.told(command)
    command = commands.output(
        "forget",
        "remove everything that the output holds of some keys",
        "A dry run unless --delete is given. Removes the models of all versions, the row of the published table, "
        "predictions and errors, tracebacks, and their rows in the files of runs. Lists what stays.",
    )
    options.keys(command)
    command.add_argument(
        "--delete", action="store_true", help="remove; without it, only list. Called again, it continues"
    )
    options.json_document(command)
    options.signing(command)
    command = commands.output(
        "mlflow",
        "register a version of the set with MLflow",
        "Makes one small entry of MLflow's registry that points at the version, and moves the alias to it. Loads no "
        "model. Call it again after a release or a rollback. The server is MLFLOW_TRACKING_URI's.",
    )
    command.add_argument("--name", required=True, metavar="NAME", help="the registered model")
    command.add_argument(
        "--alias", metavar="ALIAS", help="the alias to move to this version, such as champion; default: none"
    )
    command.add_argument("--at", type=int, metavar="VERSION", help="the version to register; default: the current one")
    command.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a key column of the rows, once for each; default: those that the keys name, else key",
    )
    command.add_argument(
        "--missing",
        choices=["raise", "nan"],
        default="raise",
        help="what rows of a key without a model get: an error (raise, the default) or NaN",
    )
    command.add_argument(
        "--experiment", metavar="NAME", help="the experiment for the run of this entry; default: MLflow's own"
    )
    command = commands.output(
        "sign",
        "sign a version of the set",
        "For a publisher who holds the private key while the runs do not (output.unsigned: true), and for a version "
        "whose run ended before it could sign. Run verify first: a signature covers the files as they are.",
    )
    command.add_argument("--signing-key", metavar="PEM", required=True, help="the ECDSA private key")
    command.add_argument("--at", type=int, metavar="VERSION", help="the version to sign; default: the current one")
    command.add_argument(
        "--vouch", action="store_true", help="sign it even if it was made from a version without this key's signature"
    )
    command = commands.output(
        "gc",
        "remove old files that no kept version refers to",
        "A dry run unless --delete is given. Keeps files that a kept version or an unfinished run refers to, and "
        "files that are younger than --margin.",
    )
    command.add_argument("--delete", action="store_true", help="delete; without it, only list")
    command.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="the number of versions to keep (default: output.keep of the last run, or 30)",
    )
    command.add_argument(
        "--margin", default="24h", metavar="AGE", help="delete only files that are older than this (24h)"
    )
    command.add_argument(
        "--pin", type=int, action="append", default=[], metavar="VERSION", help="keep this version, however old"
    )
    options.json_document(command)
    command = commands.add(
        "settings",
        "list every setting with its default",
        "Prints the settings as text, or as the JSON schema of a document: that of a job (`manyfit run`) or that of a "
        "scoring (`manyfit score`).",
        "",
    )
    command.add_argument(
        "of",
        nargs="?",
        choices=["job", "score"],
        metavar="{job,score}",
        help="the document; default: both as text, the job's with --json",
    )
    command.add_argument("-c", "--config", metavar="FILE", help="take the kind of document that this file has")
    command.add_argument("--json", action="store_true", help="print the JSON schema")
