#!/bin/bash
# node.sh: process 1 of the node's own pid, mount, network, ipc and uts namespaces. To end it is to end every process
# of the cluster and to free its mounts, its iptables rules and its network; up.py starts it, down.py ends it.
#
# STATE and TOOLS come from the environment, as do the addresses NODE, PODS and SERVICES.
set -u
hostname node
mount --make-rshared /
# what these programs insist on having at fixed places is theirs alone inside of the mount namespace
for pair in kubelet:/var/lib/kubelet varlog:/var/log etc-cni:/etc/cni cni:/var/lib/cni; do
  mkdir -p "$STATE/ns/${pair%%:*}" "${pair#*:}"
  mount --bind "$STATE/ns/${pair%%:*}" "${pair#*:}"
done
mount -t tmpfs tmpfs /run
mount --make-rshared /run
mount --make-rshared /var/lib/kubelet
mkdir -p /run/containerd /etc/cni/net.d /var/log/pods /var/log/containers
cp "$STATE/config/pods.conflist" /etc/cni/net.d/10-pods.conflist
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
while [ ! -e "$STATE/net-ready" ]; do sleep 0.05; done

start() {
  local name=$1
  shift
  "$@" >>"$STATE/log/$name.log" 2>&1 &
}
pki=$STATE/pki
start containerd containerd --config "$STATE/config/containerd.toml"
# no fsync: a cluster that lives for one test run has nothing to lose
start etcd "$TOOLS/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
  --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --logger zap --log-level warn
start apiserver "$TOOLS/kube-apiserver" --advertise-address="$NODE" --bind-address="$NODE" --secure-port=6443 \
  --etcd-servers=http://127.0.0.1:2379 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
  --kubelet-certificate-authority="$pki/ca.crt" --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
  --kubelet-client-key="$pki/apiserver-kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
  --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
  --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$SERVICES" \
  --audit-policy-file="$STATE/config/audit.yaml" --audit-log-path="$STATE/log/audit.log" \
  --allow-privileged=true --profiling=false --v=1
start controller-manager "$TOOLS/kube-controller-manager" --kubeconfig="$pki/controller-manager.kubeconfig" \
  --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --cluster-signing-cert-file="$pki/ca.crt" \
  --cluster-signing-key-file="$pki/ca.key" --use-service-account-credentials --leader-elect=false --bind-address=127.0.0.1 \
  --cluster-cidr="$PODS" --allocate-node-cidrs=false
start scheduler "$TOOLS/kube-scheduler" --kubeconfig="$pki/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
# a kubelet that finds no API server backs off for seconds: wait for it here
until "$TOOLS/kubectl" --kubeconfig "$pki/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
start kubelet "$TOOLS/kubelet" --config="$STATE/config/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" \
  --hostname-override=node --node-ip="$NODE"
start kube-proxy "$TOOLS/kube-proxy" --config="$STATE/config/kube-proxy.yaml" --hostname-override=node
trap 'exit 0' TERM INT
# `wait` reaps whatever is orphaned in the namespace
while :; do
  sleep 3600 &
  wait $!
done
