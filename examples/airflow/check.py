"""Let Airflow read the DAG, and say what its operator would create: run by Airflow's Python (``make airflow``)."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Print the operator's object as JSON; 1 and the errors where the DAG cannot be read."""
    os.environ |= {"AIRFLOW_HOME": tempfile.mkdtemp(), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    os.environ |= {"AIRFLOW__CORE__UNIT_TEST_MODE": "true"}
    from airflow.dag_processing.dagbag import DagBag

    folder = Path(__file__).parent
    bag = DagBag(dag_folder=str(folder / "gapminder.py"))
    if bag.import_errors:
        print(bag.import_errors, file=sys.stderr)
        return 1
    dag = bag.dags["gapminder"]
    order = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    train = dag.get_task("train")
    train.resolve_template_files()  # reads application.yaml as Airflow does before it runs the task
    body = train.manage_template_specs()["spark"]
    json.dump({"order": order, "object": body}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
