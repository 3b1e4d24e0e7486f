"""Takes out of a virtual environment what no job needs, and says what each cut is worth.

The Dockerfile calls it once, before the byte code is made: ``trim.py VENV REPORT.json``. It never touches a
module that can be imported outside of tests, so that whatever a user's own function imports is still there.
"""

import json
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

ARM = platform.machine() in ("aarch64", "arm64")
# how the names of jars and of the libraries inside them spell a platform
FOREIGN_JAR = re.compile(
    r"-(?:osx|windows|linux)-(?!%s)[a-z0-9_]+\.jar$|-(?:osx|windows)-[a-z0-9_]+\.jar$"
    % ("aarch_64" if ARM else "x86_64")
)
UNUSED_JAR = re.compile(
    # Spark's own machine learning and graphs (models here are scikit-learn's) and the numerics under them
    r"(?:spark-(?:mllib|graphx)|breeze|spire|cats-kernel|algebra|JTransforms|JLargeArrays|arpack|blas|lapack|pmml-model)"
    # servers and shells that no application starts: Connect, Thrift, beeline, spark-shell
    r"|(?:spark-(?:connect|hive-thriftserver|repl|ganglia-lgpl)|hive-(?:beeline|cli|service-rpc)|scala-compiler)"
)
NATIVE = re.compile(r"\.(?:so|dll|jnilib|dylib|a)$|\.so\.\d")
OURS = re.compile(
    r"linux/aarch64/|Linux/aarch64/|linux-aarch64"
    if ARM
    else r"linux/amd64/|linux/x86_64/|Linux/x86_64/|linux64|linux-x86_64"
)


def size(path: Path) -> int:
    if path.is_symlink() or not path.exists():
        return 0
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def remove(paths: Iterable[Path]) -> int:
    freed = 0
    for path in list(paths):
        freed += size(path)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    return freed


def repack(jar: Path) -> int:
    """Leaves of the native libraries in a jar only this platform's; a jar with none of those stays as it is."""
    before = size(jar)
    with zipfile.ZipFile(jar) as source:
        natives = [i for i in source.infolist() if NATIVE.search(i.filename)]
        ours = [i for i in natives if OURS.search(i.filename) and "musl" not in i.filename]
        if not ours or len(ours) == len(natives):
            return 0
        drop = {i.filename for i in natives} - {i.filename for i in ours}
        new = jar.with_suffix(".tmp")
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
            for item in source.infolist():
                if item.filename not in drop:
                    target.writestr(item, source.read(item))
    new.replace(jar)
    return before - size(jar)


def cuts(packages: Path) -> dict[str, Callable[[], int]]:
    """What is taken out, in order; each entry frees the bytes it returns."""
    spark, arrow = packages / "pyspark", packages / "pyarrow"
    jars = spark / "jars"
    return {
        "jars of other platforms": lambda: remove(p for p in jars.glob("*.jar") if FOREIGN_JAR.search(p.name)),
        "Spark's machine learning, servers and shells": lambda: remove(
            p for p in jars.glob("*.jar") if re.match(UNUSED_JAR.pattern + r"(?:[_-][\w.-]*)?\.jar$", p.name)
        ),
        "native libraries of other platforms inside jars": lambda: sum(repack(p) for p in jars.glob("*.jar")),
        "pyspark's examples, data and second copy of itself": lambda: remove(
            [spark / "examples", spark / "data", *(spark / "python" / "lib").glob("*.zip")]
        ),
        "tests of numpy, scipy, pandas, scikit-learn, pyarrow, joblib": lambda: remove(
            p
            for name in ("numpy", "scipy", "pandas", "sklearn", "pyarrow", "joblib", "threadpoolctl")
            for p in (packages / name).rglob("test*")
            if p.is_dir() and p.name in ("tests", "test")
        ),
        "headers, static libraries and C++ sources of pyarrow": lambda: remove(
            [arrow / "include", arrow / "src", *arrow.glob("*.a"), *arrow.glob("*.cc")]
        ),
        "sources and headers of compiled modules": lambda: remove(
            p
            for end in ("pyx", "pxd", "pxi", "pyi", "c", "cpp", "h", "hpp", "tp")
            for p in packages.rglob(f"*.{end}")
            if p.is_file()
        ),
    }


def main(venv: Path, report: Path) -> None:
    packages = next((venv / "lib").glob("python3*")) / "site-packages"
    before = size(packages)
    rows = {name: cut() for name, cut in cuts(packages).items()}
    left = {p.name: size(p) for p in packages.iterdir()}
    for name, freed in rows.items():
        print(f"{freed / 1e6:8.1f} MB  {name}")
    print(f"{before / 1e6:8.1f} MB -> {size(packages) / 1e6:.1f} MB")
    report.write_text(
        json.dumps({"before": before, "after": size(packages), "cuts": rows, "left": left}, indent=1, sort_keys=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
