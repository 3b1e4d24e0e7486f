"""Runs the smallest Spark job through the operator and prints its states with their times.

    smoke.py [--image IMAGE] [--keep]
"""

import argparse
import json
import time

import node
import tools
from place import HERE, IMAGE, KUBECONFIG
from shell import Failed, guarded, run


def kubectl(*arguments: str, text: str | None = None) -> str:
    return run(tools.path("kubectl"), "--kubeconfig", KUBECONFIG, *arguments, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default=IMAGE)
    parser.add_argument("--keep", action="store_true", help="leave its namespace")
    arguments = parser.parse_args()
    kubectl("delete", "namespace", "smoke", "--ignore-not-found")
    program = "\n".join("    " + line for line in (HERE / "smoke_job.py").read_text().splitlines())
    kubectl("apply", "-f", "-", text=node.render(HERE / "manifests/smoke.yaml", image=arguments.image, program=program))
    start, last, state = time.monotonic(), "", ""
    while time.monotonic() - start < 300 and state not in ("COMPLETED", "FAILED", "SUBMISSION_FAILED"):
        status = json.loads(kubectl("-n", "smoke", "get", "sparkapplication", "smoke", "-o", "json")).get("status", {})
        state = status.get("applicationState", {}).get("state", "")
        line = f"{state} {json.dumps(status.get('executorState', {}))}"
        if line != last:
            print(f"{time.monotonic() - start:7.1f} s  {line}", flush=True)
            last = line
        time.sleep(0.3)
    if state != "COMPLETED":
        words = status.get("applicationState", {}).get("errorMessage", "")
        try:
            words += "\n" + kubectl("-n", "smoke", "logs", "smoke-driver", "--tail=40")
        except Failed as failure:
            words += f"\n{failure}"
        raise Failed(f"the job ended as {state or 'nothing'}: {words}")
    log = kubectl("-n", "smoke", "logs", "smoke-driver")
    print("\n".join(line for line in log.splitlines() if line.startswith("SMOKE")))
    if not arguments.keep:
        kubectl("delete", "namespace", "smoke", "--wait=false")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
