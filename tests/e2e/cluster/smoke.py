"""Runs the smallest Spark job through the operator and prints its states with their times.

smoke.py [--s3a] [--keep]
"""

import argparse
import json
import time

import node
import tools
from place import HERE, IMAGE, IMAGE_S3A, KUBECONFIG, S3_KEYS, S3_PORT
from shell import Failed, guarded, run

S3A = {
    "spark.hadoop.fs.s3a.endpoint": f"http://s3.s3.svc.cluster.local:{S3_PORT}",
    "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    # the test server's keys are known to everyone; a real job names a provider instead
    "spark.hadoop.fs.s3a.access.key": S3_KEYS["AWS_ACCESS_KEY_ID"],
    "spark.hadoop.fs.s3a.secret.key": S3_KEYS["AWS_SECRET_ACCESS_KEY"],
}


def kubectl(*arguments: str, text: str | None = None) -> str:
    return run(tools.path("kubectl"), "--kubeconfig", KUBECONFIG, *arguments, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--s3a", action="store_true", help="the image with hadoop-aws; the job also writes and reads s3a://"
    )
    parser.add_argument("--keep", action="store_true", help="leave its namespace")
    arguments = parser.parse_args()
    kubectl("delete", "namespace", "smoke", "--ignore-not-found")
    program = "\n".join("    " + line for line in (HERE / "smoke_job.py").read_text().splitlines())
    conf = json.dumps({"spark.ui.enabled": "false", **(S3A if arguments.s3a else {})})
    kubectl(
        "apply",
        "-f",
        "-",
        text=node.render(
            HERE / "manifests/smoke.yaml", image=IMAGE_S3A if arguments.s3a else IMAGE, program=program, conf=conf
        ),
    )
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
