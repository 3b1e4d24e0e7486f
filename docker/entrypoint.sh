#!/bin/bash
# entrypoint.sh: what Spark on Kubernetes expects of an image. `driver ARG...` runs spark-submit in client mode,
# `executor` runs an executor that registers with SPARK_DRIVER_URL, anything else is run as it is.
# PyPI's pyspark ships no such file; the contract is that of apache/spark's images.
set -euo pipefail

export SPARK_HOME=${SPARK_HOME:-/opt/spark}
export SPARK_CONF_DIR=${SPARK_CONF_DIR:-$SPARK_HOME/conf}

# An arbitrary user id (OpenShift) has no entry in /etc/passwd, and Hadoop's login fails without a name.
if ! getent passwd "$(id -u)" >/dev/null; then
  for library in /usr/lib/*/libnss_wrapper.so; do
    [ -s "$library" ] || continue
    NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
    export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP LD_PRELOAD=$library
    echo "spark:x:$(id -u):$(id -g)::/tmp:/usr/sbin/nologin" >"$NSS_WRAPPER_PASSWD"
    echo "spark:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
    break
  done
fi

case ${1:-} in
  wait-for-hook)
    # Between tini and an executor that may be decommissioned: hands signals on, and holds the container until decom.sh has returned.
    # At the normal end of a run the driver tells executors to stop, and deletes their pods at the same time: where the container ended
    # while Kubernetes starts the hook in it, or during the hook, it would note FailedPreStopHook. So an executor that ends well waits for
    # the hook; the signal that follows the hook ends the waiting.
    shift
    "$@" &
    process=$!
    told=
    trap 'told=yes; kill -s TERM "$process" 2>/dev/null || :' TERM
    trap 'kill -s INT "$process" 2>/dev/null || :' INT
    while :; do
      code=0
      wait "$process" || code=$?
      kill -s 0 "$process" 2>/dev/null || break
    done
    # 1: it lost its driver, which ended first; an executor that crashed is not held back
    [ "$code" -le 1 ] && hold=30 || hold=0
    for ((tenth = 0; tenth < hold; tenth++)); do
      [ -z "$told" ] || break
      sleep 0.1
    done
    for ((tenth = 0; tenth < 20; tenth++)); do
      [ -e "${TMPDIR:-/tmp}/decommissioning" ] || break
      sleep 0.1
    done
    [ "$tenth" = 0 ] || sleep 0.2
    exit "$code"
    ;;
  driver)
    shift
    set -- "$SPARK_HOME/bin/spark-submit" \
      --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
      --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
      --deploy-mode client "$@"
    ;;
  executor)
    # Spark hands the JVM's options over as SPARK_JAVA_OPT_0, _1, ...; null-separated, so that an option may hold anything
    options=()
    while IFS= read -r -d '' variable; do
      [[ $variable != SPARK_JAVA_OPT_* ]] || options+=("${variable#*=}")
    done < <(env -0)
    classpath=$SPARK_CONF_DIR${HADOOP_CONF_DIR:+:$HADOOP_CONF_DIR}${SPARK_CLASSPATH:+:$SPARK_CLASSPATH}
    classpath+="${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}:$SPARK_HOME/jars/*${SPARK_DIST_CLASSPATH:+:$SPARK_DIST_CLASSPATH}:$PWD"
    set -- "$JAVA_HOME/bin/java" ${options[@]+"${options[@]}"} \
      "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "$classpath" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
    [ -z "${MANYFIT_DECOMMISSION_SECONDS:-}" ] || set -- "${BASH_SOURCE[0]}" wait-for-hook "$@"
    ;;
esac

# -s: tini reaps orphans (Python workers) also where it is not process 1
exec tini -s -- "$@"
