"""The pods that Spark makes of an application's templates: what the API server is asked to admit.

Follows spark-submit and the driver (Basic{Driver,Executor}FeatureStep, LocalDirsFeatureStep of Spark 4): image, ports,
CPU and memory, variables and arguments are added to the template's container, labels and accounts to its pod.
"""

from __future__ import annotations

import copy

from tests.chart.rendering import Object, Rendered


def mebibytes(size: str) -> int:
    """Spark's ``1024m``."""
    assert size.endswith("m"), size
    return int(size[:-1])


def driver(application: Object) -> Object:
    """The driver's pod."""
    spec = application["spec"]
    pod = _pod(application, "driver")
    container = _container(pod, "spark-kubernetes-driver")
    container["args"] = [
        "driver", "--properties-file", "/opt/spark/conf/spark.properties",
        "--class", "org.apache.spark.deploy.PythonRunner", spec["mainApplicationFile"], *spec["arguments"],
    ]  # fmt: skip
    conf = spec["sparkConf"]
    for name, port in (
        ("driver-rpc-port", conf["spark.driver.port"]),
        ("blockmanager", conf["spark.driver.blockManager.port"]),
        ("spark-ui", "4040"),
    ):
        container.setdefault("ports", []).append({"name": name, "containerPort": int(port), "protocol": "TCP"})
    container["env"] += [
        {
            "name": "SPARK_DRIVER_BIND_ADDRESS",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
        },
        {"name": "SPARK_CONF_DIR", "value": "/opt/spark/conf"},
    ]
    _mount(pod, container, "spark-conf-volume-driver", "/opt/spark/conf")
    _mount(pod, container, "pod-template-volume", "/opt/spark/pod-template")
    pod["metadata"]["name"] = f"{application['metadata']['name']}-driver"
    return pod


def executor(application: Object) -> Object:
    """An executor's pod."""
    conf = application["spec"]["sparkConf"]
    pod = _pod(application, "executor")
    container = _container(pod, "spark-kubernetes-executor")
    container["args"] = ["executor"]
    container["ports"] = [{"name": "blockmanager", "containerPort": int(conf["spark.blockManager.port"])}]
    container["env"] += [{"name": "SPARK_EXECUTOR_CORES", "value": str(application["spec"]["executor"]["cores"])}]
    if conf.get("spark.decommission.enabled") == "true":
        container["lifecycle"] = {"preStop": {"exec": {"command": ["/opt/decom.sh"]}}}
    if conf["spark.kubernetes.executor.disableConfigMap"] != "true":
        _mount(pod, container, "spark-conf-volume-exec", "/opt/spark/conf")
    pod["metadata"]["name"] = f"{application['metadata']['name']}-0123456789abcdef-exec-1"
    return pod


def pods(rendered: Rendered) -> dict[str, Object]:
    """Every pod of a release: driver, executor, and those of ``helm test``."""
    application = rendered.application
    made = {"driver": driver(application), "executor": executor(application)}
    return made | {each["metadata"]["name"]: each for each in rendered.kind("Pod")}


def _pod(application: Object, role: str) -> Object:
    spec = application["spec"]
    pod: Object = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(spec[role]["template"])}
    labels = {
        name: value
        for name, value in application["metadata"].get("labels", {}).items()
        if not name.startswith("kueue.x-k8s.io/")
    }
    labels |= {
        "spark-role": role,
        "spark-app-selector": "spark-0123456789abcdef",
        "sparkoperator.k8s.io/app-name": application["metadata"]["name"],
        "sparkoperator.k8s.io/launched-by-spark-operator": "true",
    }
    pod["metadata"].setdefault("labels", {}).update(labels)
    pod["metadata"]["namespace"] = application["metadata"]["namespace"]
    pod["spec"] |= {"serviceAccountName": spec[role]["serviceAccount"], "restartPolicy": "Never"}
    if secrets := spec.get("imagePullSecrets"):
        pod["spec"]["imagePullSecrets"] = [{"name": name} for name in secrets]
    own = spec[role]
    memory = f"{mebibytes(own['memory']) + mebibytes(own['memoryOverhead'])}Mi"
    container = _container(pod, f"spark-kubernetes-{role}")
    resources = container.setdefault("resources", {})
    resources.setdefault("requests", {}).update({"cpu": own.get("coreRequest", str(own["cores"])), "memory": memory})
    resources.setdefault("limits", {}).update({"memory": memory})
    if limit := own.get("coreLimit"):
        resources["limits"]["cpu"] = limit
    container |= {"image": spec["image"], "imagePullPolicy": spec["imagePullPolicy"]}
    return pod


def _container(pod: Object, name: str) -> Object:
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == name]
    assert isinstance(container, dict)
    return container


def _mount(pod: Object, container: Object, name: str, path: str) -> None:
    pod["spec"].setdefault("volumes", []).append({"name": name, "configMap": {"name": f"spark-{name}"}})
    container.setdefault("volumeMounts", []).append({"name": name, "mountPath": path})
