#!/bin/bash
# decom.sh: Kubernetes runs it (preStop) before it ends an executor whose node goes away, if
# spark.decommission.enabled is set. It asks the executor to hand its work over, and waits for it.
# At the normal end of a run the driver deletes the pods of executors that are ending already: then this succeeds at once.
# While it waits, a file tells entrypoint.sh, which keeps the container until this has said how it went.
# Written without ps and pgrep: the image has neither.
set -uo pipefail

waiting=${TMPDIR:-/tmp}/decommissioning
trap 'rm -f "$waiting"' EXIT
touch "$waiting"
for directory in /proc/[0-9]*; do
  [ "$(cat "$directory/comm" 2>/dev/null)" = java ] || continue
  command="$(tr '\0' ' ' <"$directory/cmdline" 2>/dev/null) "
  # its own only: on a node that shows its processes to all, or on a developer's machine, there are others
  [[ $command == *KubernetesExecutorBackend*"--podName ${SPARK_EXECUTOR_POD_NAME:-unknown} "* ]] || continue
  process=${directory#/proc/}
  echo "decommissioning the executor, process $process"
  kill -s PWR "$process" 2>/dev/null
  # the pod's grace period bounds the wait, too; a little less than it leaves the executor time to end by itself
  end=$((SECONDS + ${MANYFIT_DECOMMISSION_SECONDS:-60}))
  while [ -e "$directory" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
  exit 0
done
echo "no executor in this container" >&2
exit 0
