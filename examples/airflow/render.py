"""Make application.yaml of values.yaml anew, as helm renders the chart."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
HEAD = (
    "# Made from values.yaml by `make airflow ARGS=--write`; a test keeps it equal to the chart's SparkApplication.\n"
)


def main() -> None:
    """Render, and write."""
    command = [os.environ.get("HELM", "helm"), "template", "gapminder", str(HERE.parents[1] / "deploy/helm/manyfit")]
    command += ["--namespace", "manyfit", "--values", str(HERE / "values.yaml"), "--set", "suspend=false"]
    command += ["--show-only", "templates/sparkapplication.yaml"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(("---", "# Source"))]
    (HERE / "application.yaml").write_text(HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
