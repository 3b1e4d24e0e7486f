"""The JVM of a local session: finds Java, starts the JVM and ends it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from job.engine.spark.archive import ClassArchive
from job.engine.spark.chatter import quiet
from job.errors import SetupError

MINIMUM_JAVA = 17

# The driver only hands out numbers of tasks: so take what starts fastest, the C1 compiler and the serial collector.
FAST = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
OPTIONS = f"{FAST} -Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.properties'}"
LAUNCHER = "SPARK_LAUNCHER_OPTS"
"""Environment variable with options for the short-lived JVM that builds the command line of the real one."""
_JAVA = "spark.driver.extraJavaOptions"


def find_java(environ: Mapping[str, str]) -> Path:
    """Find Java and check its version. Spark's launcher would show a stack trace if Java is missing.

    Raises
    ------
    SetupError
        Java was not found, or is older than 17.
    """
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    hint = (
        "Install a Java 17 runtime (for example the package openjdk-17-jre-headless) and set JAVA_HOME or PATH; "
        "run.engine: local needs none."
    )
    if not java or not Path(java).exists():
        raise SetupError(f"Java was not found: {'JAVA_HOME is ' + home if home else 'no java on PATH'}", hint=hint)
    major = _major(Path(java))
    if major < MINIMUM_JAVA:
        raise SetupError(f"Spark needs Java {MINIMUM_JAVA} or later; {java} is {major or 'unknown'}", hint=hint)
    return Path(java)


def _major(java: Path) -> int:
    """The major version, from the file ``release``, else from ``java -version`` (0.1 s); 0 if it is unknown."""
    release = java.resolve().parents[1] / "release"
    match = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE) if release.is_file() else None
    if match is None:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else 0


def unicode(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables to add so that Java encodes file names in UTF-8, as Python does.

    With the locale C, Java would find no file whose name is not ASCII.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return {} if re.search("utf-?8", locale, re.IGNORECASE) else {"LC_ALL": "C.UTF-8"}


def cache(environ: Mapping[str, str]) -> Path:
    """The folder for class archives in the user's cache folder."""
    root = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(root) / "manyfit" / "java"


class LocalJvm:
    """A JVM that this process has started, and the gateway through which pyspark calls it.

    Parameters
    ----------
    conf
        Options of the session, by name. The option of the class archive is added to the JVM's options, unless the user
        has set these.
    jars
        Spark's folder of jars.
    environ
        Environment variables. They say where Java and the cache folder are.

    Raises
    ------
    SetupError
        Java is missing or too old.
    """

    def __init__(self, conf: dict[str, str], jars: Path, environ: Mapping[str, str]) -> None:
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway

        java = find_java(environ)
        self._archive: ClassArchive | None = None
        if conf.get(_JAVA) == OPTIONS:
            self._archive = ClassArchive(cache(environ), java=java, jars=jars, options=OPTIONS)
            conf[_JAVA] = f"{OPTIONS} {self._archive.options()}".strip()
        given = SparkConf(loadDefaults=False)
        for name, value in conf.items():
            given.set(name, value)
        with quiet() as errors:
            self.gateway: Any = launch_gateway(given, {"stderr": errors})  # type: ignore[no-untyped-call]
        SparkContext._ensure_initialized(gateway=self.gateway)

    def died(self) -> bool:
        """Whether the JVM has ended. To be called after a call into it has failed; waits up to 2 s for its end."""
        try:
            self.gateway.proc.wait(2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def forget(self) -> None:
        """Make pyspark forget a JVM that has died, so that the next session of this process starts a new one."""
        from pyspark import SparkContext

        SparkContext._active_spark_context = None
        SparkContext._gateway = None
        SparkContext._jvm = None

    def stop(self, *, worked: bool) -> None:
        """End the JVM, after the session was stopped.

        Parameters
        ----------
        worked
            Whether it has run a job. Only then has it loaded the classes that a job needs, and may write an archive.
        """
        from pyspark import SparkContext

        process = self.gateway.proc
        self.gateway.shutdown()
        process.stdin.close()
        # The next session of this process starts a new JVM.
        SparkContext._gateway = None
        SparkContext._jvm = None
        if self._archive is not None and self._archive.making:
            if worked:
                self._archive.keep(process)
                return
            process.kill()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
