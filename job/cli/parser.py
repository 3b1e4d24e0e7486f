"""The command line: commands, options and their help. Imports nothing of ours, so that `--help` is quick."""

from __future__ import annotations

import argparse
import textwrap

from job import __version__

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

JOB_HELP = (
    "Any setting of the job can follow as an option: --run.max_failed 5% --input.limit 10 --spark.master 'local[2,4]'"
)
STORAGE_HELP = "Storage settings can follow as options: --storage.endpoint http://127.0.0.1:9000 --storage.profile prod"


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
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=help,
            description=textwrap.fill(description, 100),
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_argument(
            "--log-format",
            choices=["auto", "text", "json"],
            default="auto",
            help="form of the log; auto: text on a terminal, json elsewhere",
        )
        command.add_argument(
            "-v", "--verbose", action="store_true", help="print more log lines, and the traceback of a bug"
        )
        return command

    def add_job(name: str, help: str, description: str) -> argparse.ArgumentParser:
        command = add(name, help, description, JOB_HELP)
        command.add_argument("-c", "--config", metavar="FILE", help="the file with the job, as YAML or JSON")
        command.add_argument("--document", metavar="JSON", help="the job as one argument (what the Helm chart passes)")
        return command

    def add_output(name: str, help: str, description: str) -> argparse.ArgumentParser:
        command = add(name, help, description, STORAGE_HELP)
        command.add_argument("output", metavar="OUTPUT", help="output.uri of the job: s3://bucket/prefix/ or a folder")
        return command

    def add_signing(command: argparse.ArgumentParser) -> None:
        command.add_argument("--signing-key", metavar="PEM", help="sign the new version with this private key")
        command.add_argument(
            "--unsigned", action="store_true", help="leave the new version unsigned, although the set is signed"
        )

    command = add(
        "demo",
        "a complete example on this machine: two data sets, two models",
        "Makes two data sets (Y = 2.5 X and Y = 3.0 X, with noise), starts an embedded S3 server, trains on "
        "local Spark, and reads the coefficients back from the stored models. Needs Java 17.",
        "",
    )
    command.add_argument(
        "--keep", metavar="FOLDER", help="keep data and models in this folder (default: a temporary folder)"
    )
    command = add_job(
        "plan",
        "show what a run would do, and why; train nothing",
        "Dry run: how many partitions would be trained and why each, bytes, skew, and advice on memory and "
        "parallelism; and the columns with their types as they reach the estimator. Reads one listing, the "
        "published table and the first objects; never starts Spark for layouts objects and hive.",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--keys", action="store_true", help="list every key with its action")
    command.add_argument(
        "--key", metavar="KEY", help="show one partition: its rows, its types, and what would fail and why"
    )
    command = add_job(
        "run",
        "plan, train, upload, publish, report",
        "Trains what is new or changed, uploads each model from the executors, and publishes the whole set in "
        "one atomic version. Ctrl-C stops cleanly; run again to go on.",
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON document")
    command = add_job(
        "score",
        "apply a published set of models to data",
        "Reads each key's rows, applies its model of one pinned version, and adds the predictions to one table, each "
        "row once. What was scored before is left alone. Ctrl-C stops cleanly; run again to go on.",
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON document")
    add_job(
        "check",
        "read the input (and a scoring's models), write to the output, train nothing",
        "Takes a training or a scoring. Lists the input and tries the output's conditional writes under a probe "
        "prefix that is removed again. For `helm test` and for new buckets.",
    )
    command = add_output(
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
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command = add_output(
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

    def add_table(command: argparse.ArgumentParser) -> None:
        command.add_argument("--match", metavar="GLOB", help="list only keys that match")
        command.add_argument(
            "--where",
            action="append",
            default=[],
            metavar="EXPR",
            help="a condition on a column or a metric, for example 'r2<0.5' or 'rows>=1000'",
        )
        command.add_argument("--sort", metavar="COLUMN", help="sort by a column or a metric; -COLUMN: descending")
        command.add_argument(
            "--limit",
            type=int,
            metavar="N",
            help="list at most N keys; default: 50 on a terminal, all with --json and --csv",
        )
        command.add_argument("--json", action="store_true", help="print one JSON object a line")
        command.add_argument("--csv", action="store_true", help="print comma-separated values with a header")

    command = add_output(
        "models", "list the published models", "Lists the published keys. Several filters are combined with AND."
    )
    command.add_argument("--at", type=int, metavar="VERSION", help="use an older version (see history)")
    command.add_argument(
        "--state", choices=["live", "stale", "failed", "skipped", "gone"], help="list only keys in this state"
    )
    command.add_argument("--warnings", action="store_true", help="list only models with warnings")
    add_table(command)
    command = add_output(
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
    add_table(command)
    command = add_output(
        "show",
        "show one model: parameters, coefficients, metrics, lineage",
        "Verifies the model file, loads it, and prints what is in it. Loading a model runs code: show only "
        "outputs you trust.",
    )
    command.add_argument("key", metavar="KEY")
    command.add_argument("--at", type=int, metavar="VERSION", help="use an older version (see history)")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument(
        "--allow-version-skew",
        action="store_true",
        help="load a model that was fitted with another version of scikit-learn",
    )
    command = add_output(
        "verify",
        "read every published model again and check it",
        "Checks size, digest and loadability of every published model; ends with 7 if one is damaged.",
    )
    command.add_argument("--at", type=int, metavar="VERSION", help="use an older version (see history)")
    command.add_argument("--jobs", type=int, default=16, metavar="N", help="the number of models to read at once (16)")
    command.add_argument("--public-key", metavar="PEM", help="also check the signature of the version")
    command.add_argument("--no-load", action="store_true", help="check size and digest only; unpickle no model")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command = add_output(
        "history", "list the versions of the set", "Lists each release, rollback, retirement and promotion."
    )
    command.add_argument(
        "--limit", type=int, default=30, metavar="N", help="list at most N versions, the newest first (30)"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command = add_output(
        "rollback",
        "go back to an older version of the whole set",
        "Makes a new version with the rows of an older one, in one commit. Says how many keys the next run "
        "would train again; --hold keeps runs from doing so.",
    )
    command.add_argument("version", type=int, nargs="?", metavar="VERSION")
    command.add_argument("--hold", action="store_true", help="let runs refuse to publish (exit code 2) until --resume")
    command.add_argument("--resume", action="store_true", help="let runs publish again")
    add_signing(command)
    command = add_output(
        "retire",
        "take keys out of the set",
        "The model files stay until gc. If the input still has the key, the next run trains it again.",
    )
    command.add_argument("keys", nargs="+", metavar="KEY")
    add_signing(command)
    command = add_output(
        "promote",
        "publish a challenger that the gate kept back",
        "The challenger of each key becomes its live model, in one new version. `manyfit models OUTPUT --where "
        "gate=kept` lists the keys that have one.",
    )
    command.add_argument("keys", nargs="+", metavar="KEY")
    add_signing(command)
    command = add_output(
        "forget",
        "remove everything that the output holds of some keys",
        "A dry run unless --delete is given. Removes the models of all versions, the row of the published table, "
        "predictions and errors, tracebacks, and their rows in the files of runs. Lists what stays.",
    )
    command.add_argument("keys", nargs="+", metavar="KEY")
    command.add_argument(
        "--delete", action="store_true", help="remove; without it, only list. Called again, it continues"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    add_signing(command)
    command = add_output(
        "mlflow",
        "register a version of the set with MLflow",
        "Makes one small entry of MLflow's registry that points at the version, and moves the alias to it. Loads no "
        "model. Call it again after a release or a rollback. The server is MLFLOW_TRACKING_URI's.",
    )
    command.add_argument("--name", required=True, metavar="NAME", help="the registered model")
    command.add_argument("--alias", metavar="ALIAS", help="for example champion; default: none is moved")
    command.add_argument("--at", type=int, metavar="VERSION", help="default: the current one")
    command.add_argument(
        "--key", action="append", default=[], metavar="COLUMN", help="a column of the key; default: as the keys say"
    )
    command.add_argument("--missing", choices=["raise", "nan"], default="raise", help="rows of a key without a model")
    command.add_argument("--experiment", metavar="NAME", help="of the entry's run; default: MLflow's own")
    command = add_output(
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
    command = add_output(
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
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command = add(
        "settings", "list every setting with its default", "Prints all settings, as text or as a JSON schema.", ""
    )
    command.add_argument("--json", action="store_true", help="print the JSON schema")
    return top
