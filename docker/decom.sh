#!/bin/bash
# decom.sh: Kubernetes runs it (preStop) before it ends an executor whose node goes away, if
# spark.decommission.enabled is set. It asks the executor to hand its work over, and waits for it.
# Written without ps and pgrep: the image has neither.
set -uo pipefail

for directory in /proc/[0-9]*; do
  [ "$(cat "$directory/comm" 2>/dev/null)" = java ] || continue
  tr '\0' ' ' <"$directory/cmdline" 2>/dev/null | grep -q KubernetesExecutorBackend || continue
  process=${directory#/proc/}
  echo "decommissioning the executor, process $process"
  kill -s PWR "$process"
  # the pod's grace period bounds the wait, too; a little less than it leaves the executor time to end by itself
  timeout "${MANYFIT_DECOMMISSION_SECONDS:-60}" tail --pid="$process" -f /dev/null
  exit 0
done
echo "no executor in this container" >&2
