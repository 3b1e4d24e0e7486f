"""files/permissions.py, the half of ``helm test`` that asks the API server, against a server on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.chart.rendering import CHART, case

SCRIPT = CHART / "files/permissions.py"


class ApiServer(ThreadingHTTPServer):
    """Answers SelfSubjectAccessReviews."""

    allowed: set[tuple[str, str, str]]
    asked: list[tuple[str, str, str]]


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        attributes = review["spec"]["resourceAttributes"]
        assert self.headers["Authorization"] == "Bearer the-token"
        assert attributes["namespace"] == "jobs"
        resource = "/".join(filter(None, [attributes["resource"], attributes.get("subresource")]))
        right = (attributes["group"], resource, attributes["verb"])
        self.server.asked.append(right)
        body = json.dumps({**review, "status": {"allowed": right in self.server.allowed}}).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer(("127.0.0.1", 0), Handler)
    made.allowed, made.asked = set(), []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def arguments() -> list[str]:
    [pod] = [each for each in case("minimal").kind("Pod") if each["metadata"]["name"].endswith("permissions")]
    found: list[str] = pod["spec"]["containers"][0]["args"]
    return found


def granted() -> set[tuple[str, str, str]]:
    [rule] = json.loads(arguments()[2])
    return {("", "pods", verb) for verb in rule["verbs"]}


def run(server: ApiServer, folder: Path) -> subprocess.CompletedProcess[str]:
    for name, text in (("token", "the-token\n"), ("namespace", "jobs"), ("ca.crt", "")):
        (folder / name).write_text(text)
    code = f"import runpy, sys; m = runpy.run_path({str(SCRIPT)!r}); m['main'].__globals__['ACCOUNT'] = __import__('pathlib').Path({str(folder)!r}); sys.exit(m['main'](sys.argv[1:]))"
    env = {
        **os.environ,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.server_port),
        "KUBERNETES_SCHEME": "http",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run([sys.executable, "-c", code, arguments()[2]], capture_output=True, text=True, env=env)


def test_exactly_the_granted_rights_pass(server: ApiServer, tmp_path: Path) -> None:
    server.allowed = granted()
    done = run(server, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert granted() <= set(server.asked)
    assert ("", "secrets", "get") in server.asked
    assert ("", "pods/exec", "create") in server.asked


def test_a_missing_right_is_named(server: ApiServer, tmp_path: Path) -> None:
    server.allowed = granted() - {("", "pods", "patch")}
    done = run(server, tmp_path)
    assert done.returncode == 1
    assert "MISSING: patch pods in namespace jobs" in done.stdout


def test_a_right_too_many_is_named(server: ApiServer, tmp_path: Path) -> None:
    server.allowed = granted() | {("", "secrets", "list"), ("apps", "deployments", "create")}
    done = run(server, tmp_path)
    assert done.returncode == 1
    assert "TOO MUCH: list secrets in namespace jobs" in done.stdout
    assert "TOO MUCH: create deployments.apps in namespace jobs" in done.stdout


def test_the_script_in_the_config_map_is_the_file() -> None:
    [config] = [each for each in case("minimal").kind("ConfigMap") if "permissions.py" in each["data"]]
    assert config["data"]["permissions.py"].strip() == SCRIPT.read_text().strip()
    assert arguments()[:2] == ["python", "/opt/manyfit/test/permissions.py"]


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT), "[]"], capture_output=True, text=True, env={})
    assert "KUBERNETES_SERVICE_HOST" in done.stderr, "it got as far as asking where the server is"
