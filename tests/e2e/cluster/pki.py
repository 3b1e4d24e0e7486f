"""A throw-away certificate authority and the certificates and kubeconfigs of the cluster's programs, by openssl."""

import base64
from pathlib import Path

from place import API_SERVICE, NODE_ADDRESS
from shell import run

DAYS = "30"
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
CLIENTS = {
    "kubelet": "/O=system:nodes/CN=system:node:node",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "admin": "/O=system:masters/CN=admin",
}


def key(folder: Path, name: str) -> None:
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{name}.key")


def certificate(folder: Path, name: str, subject: str, addresses: str = "") -> None:
    key(folder, name)
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    run("openssl", "req", "-new", "-key", folder / f"{name}.key", "-subj", subject, "-out", request)
    extensions.write_text(
        "extendedKeyUsage=clientAuth,serverAuth\n" + (f"subjectAltName={addresses}\n" if addresses else "")
    )
    run("openssl", "x509", "-req", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-days", DAYS, "-extfile", extensions, "-out", folder / f"{name}.crt")  # fmt: skip
    request.unlink()
    extensions.unlink()


def kubeconfig(folder: Path, name: str) -> None:
    def inline(suffix: str) -> str:
        return base64.b64encode((folder / suffix).read_bytes()).decode()

    (folder / f"{name}.kubeconfig").write_text(
        f"""apiVersion: v1
kind: Config
current-context: e2e
contexts: [{{name: e2e, context: {{cluster: e2e, user: {name}}}}}]
clusters: [{{name: e2e, cluster: {{server: "https://{NODE_ADDRESS}:6443", certificate-authority-data: {inline("ca.crt")}}}}}]
users: [{{name: {name}, user: {{client-certificate-data: {inline(f"{name}.crt")}, client-key-data: {inline(f"{name}.key")}}}}}]
"""
    )


def make(folder: Path) -> None:
    """Writes everything, unless it was written before (the last file tells)."""
    if (folder / "sa.pub").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    key(folder, "ca")
    run(
        "openssl",
        "req",
        "-x509",
        "-new",
        "-key",
        folder / "ca.key",
        "-subj",
        "/CN=manyfit-e2e",
        "-days",
        DAYS,
        "-out",
        folder / "ca.crt",
    )
    names = ",".join(
        (f"IP:{NODE_ADDRESS}", f"IP:{API_SERVICE}", "IP:127.0.0.1", *(f"DNS:{name}" for name in API_NAMES))
    )
    certificate(folder, "apiserver", "/CN=kube-apiserver", names)
    certificate(folder, "apiserver-kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client")
    certificate(folder, "kubelet-server", "/CN=node", f"IP:{NODE_ADDRESS},DNS:node")
    for name, subject in CLIENTS.items():
        certificate(folder, name, subject)
        kubeconfig(folder, name)
    run("openssl", "genrsa", "-out", folder / "sa.key", "2048")
    run("openssl", "rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")
