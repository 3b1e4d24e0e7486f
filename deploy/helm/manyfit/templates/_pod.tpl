{{/*
The pod templates of driver and executors. Everything a pod needs is in them, because the operator applies environment, volumes,
scheduling and security given elsewhere only through its webhook, which may be off. What Spark adds by itself: image, arguments,
ports, CPU and memory, its own variables, restart policy, a volume with its settings.
*/}}

{{/* Takes (list $ "driver"|"executor"). */}}
{{- define "manyfit.podTemplate" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- $all := $root.Values.pods -}}
metadata:
  labels:
    {{- include "manyfit.podLabels" (list $root $role) | nindent 4 }}
  annotations:
    {{- include "manyfit.podAnnotations" (list $root $role) | nindent 4 }}
spec:
  {{- include "manyfit.podBasics" (list $root $role) | nindent 2 }}
  terminationGracePeriodSeconds: {{ eq $role "driver" | ternary 60 $own.terminationGracePeriodSeconds }}
  {{- with $own.initContainers }}
  initContainers:
    {{- range . }}
    - {{- include "manyfit.hardened" (list $root .) | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - name: spark-kubernetes-{{ $role }}
      {{- include "manyfit.container" (list $root $role) | nindent 6 }}
      {{- if eq $role "driver" }}
      {{- with include "manyfit.metricsPort" $root }}
      ports: [{name: manyfit, containerPort: {{ . }}, protocol: TCP}]
      {{- end }}
      {{- end }}
      {{- $resources := deepCopy $own.extendedResources }}
      {{- with $own.ephemeralStorage }}{{ $_ := set $resources "ephemeral-storage" . }}{{ end }}
      {{- with $resources }}
      # Spark adds CPU and memory
      resources:
        requests:
          {{- toYaml . | nindent 10 }}
        limits:
          {{- toYaml . | nindent 10 }}
      {{- end }}
    {{- range $own.sidecars }}
    - {{- include "manyfit.hardened" (list $root .) | nindent 6 }}
    {{- end }}
  volumes:
    {{- include "manyfit.volumes" (list $root $role) | nindent 4 }}
{{- end }}

{{- define "manyfit.podLabels" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := include "manyfit.selector" $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/component" $role -}}
{{- $account := merge dict (index $root.Values.serviceAccount (eq $role "executor" | ternary "executor" "driver")).annotations $root.Values.serviceAccount.annotations -}}
{{- if index $account "azure.workload.identity/client-id" }}{{ $_ := set $own "azure.workload.identity/use" "true" }}{{ end -}}
{{- merge $own (index $root.Values (eq $role "executor" | ternary "executor" "driver")).labels $root.Values.pods.labels $root.Values.commonLabels | toYaml -}}
{{- end }}

{{- define "manyfit.podAnnotations" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- /* whose log `kubectl logs` shows where there are sidecars */ -}}
{{- $own := dict "kubectl.kubernetes.io/default-container" (printf "spark-kubernetes-%s" $role) -}}
{{- if and $root.Values.metrics.enabled (eq $role "driver") -}}
{{- $own = merge $own (dict "prometheus.io/scrape" "true" "prometheus.io/port" "4040" "prometheus.io/path" $root.Values.metrics.path) -}}
{{- end -}}
{{- /* the user's win */ -}}
{{- merge dict (index $root.Values $role).annotations $root.Values.pods.annotations $root.Values.commonAnnotations $own | toYaml -}}
{{- end }}

{{/* What every pod of the release has, the test pods too. Takes (list $ "driver"|"executor"|"test"). */}}
{{- define "manyfit.podBasics" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values (eq $role "executor" | ternary "executor" "driver") -}}
{{- $all := $root.Values.pods -}}
{{- $security := $root.Values.security -}}
automountServiceAccountToken: {{ eq $role "driver" }}
# A Service called `manyfit…` (Spark makes one for each driver) would otherwise appear as MANYFIT_…_SERVICE_HOST, and the job refuses
# variables of that prefix that it does not know.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- if not (kindIs "invalid" $security.runAsUser) }}
  runAsUser: {{ $security.runAsUser }}
  {{- end }}
  {{- if not (kindIs "invalid" $security.runAsGroup) }}
  runAsGroup: {{ $security.runAsGroup }}
  {{- end }}
  {{- if not (kindIs "invalid" $security.fsGroup) }}
  fsGroup: {{ $security.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  {{- with $security.supplementalGroups }}
  supplementalGroups:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  seccompProfile:
    {{- toYaml $security.seccompProfile | nindent 4 }}
{{- with merge dict $own.nodeSelector $all.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat $all.tolerations $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity | default $all.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne $role "test" }}
{{- with concat $all.topologySpreadConstraints $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $own.priorityClassName | default $all.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $all.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with $all.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $all.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
dnsPolicy: {{ $all.dnsPolicy }}
{{- with $all.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "manyfit.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  {{- toYaml .Values.security.seccompProfile | nindent 2 }}
{{- end }}

{{/* A container of the user's, with our security context unless it has its own. Takes (list $ container). */}}
{{- define "manyfit.hardened" -}}
{{- $container := deepCopy (index . 1) -}}
{{- if not $container.securityContext -}}
{{- $_ := set $container "securityContext" (include "manyfit.containerSecurity" (index . 0) | fromYaml) -}}
{{- end -}}
{{- toYaml $container -}}
{{- end }}

{{/* Environment, mounts and security of our container. Takes (list $ "driver"|"executor"|"test"). */}}
{{- define "manyfit.container" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $values := $root.Values -}}
{{- $own := index $values (eq $role "executor" | ternary "executor" "driver") -}}
{{- /* the user's variables win over ours, and a role's over those of all pods */ -}}
{{- $env := $own.env -}}
{{- $named := list -}}
{{- range $own.env }}{{ $named = append $named .name }}{{ end -}}
{{- range $values.pods.env }}{{ if not (has .name $named) }}{{ $env = append $env . }}{{ end }}{{ end -}}
{{- range $env }}{{ $named = append $named .name }}{{ end -}}
env:
  # one core is one worker is one thread: BLAS must not make more
  {{- range $name, $value := dict "HOME" "/tmp" "MKL_NUM_THREADS" "1" "OMP_NUM_THREADS" "1" "OPENBLAS_NUM_THREADS" "1" "PYTHONDONTWRITEBYTECODE" "1" "PYTHONUNBUFFERED" "1" }}
  {{- if not (has $name $named) }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- end }}
  {{- if eq $role "executor" }}
  {{- if $values.security.rpc.enabled }}
  # Spark reads the secret's file only where spark.master says Kubernetes, and tells an executor its master only over the
  # connection that needs the secret; any k8s address will do until then
  - {name: JDK_JAVA_OPTIONS, value: "-Dspark.master=k8s://unknown"}
  {{- end }}
  {{- if $values.executor.spot }}
  - {name: MANYFIT_DECOMMISSION_SECONDS, value: {{ sub $values.executor.terminationGracePeriodSeconds 5 | max 5 | quote }}}
  {{- end }}
  {{- else }}
  # with the image and the job document this makes the run's id: a retry is the same run, a firing of a schedule a new one
  - name: MANYFIT_RUN__APPLICATION
    {{- if eq $role "driver" }}
    valueFrom: {fieldRef: {fieldPath: "metadata.labels['sparkoperator.k8s.io/app-name']"}}
    {{- else }}
    value: {{ include "manyfit.name" $root }}
    {{- end }}
  - {name: MANYFIT_RUN__IMAGE, value: {{ include "manyfit.image" $root | quote }}}
  {{- end }}
  {{- range $name, $value := include "manyfit.proxyVariables" $root | fromYaml }}
  {{- if not (has $name $named) }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- end }}
  {{- if include "manyfit.codeConfigMap" $root }}
  - {name: PYTHONPATH, value: /opt/manyfit/code}
  {{- end }}
  {{- if $values.credentials.secretName }}
  {{- range $values.credentials.env }}
  - name: {{ .name }}
    valueFrom:
      secretKeyRef:
        name: {{ $values.credentials.secretName }}
        key: {{ .key }}
        {{- if .optional }}
        optional: true
        {{- end }}
  {{- end }}
  {{- end }}
  {{- if $values.credentials.files.secretName }}
  {{- range $name, $file := $values.credentials.files.env }}
  - {name: {{ $name }}, value: "{{ $values.credentials.files.mountPath }}/{{ $file }}"}
  {{- end }}
  {{- end }}
  {{- with $env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with concat $values.pods.envFrom $own.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "manyfit.containerSecurity" $root | nindent 2 }}
# the last lines of the log become the reason that `kubectl describe pod` shows
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: work-dir, mountPath: /opt/spark/work-dir}
  {{- if ne $role "test" }}
  - {name: spark-local-dir-1, mountPath: /var/data/spark-local}
  {{- if $values.security.rpc.enabled }}
  - {name: rpc-secret, mountPath: /etc/manyfit/rpc, readOnly: true}
  {{- end }}
  {{- end }}
  {{- if include "manyfit.codeConfigMap" $root }}
  - {name: code, mountPath: /opt/manyfit/code, readOnly: true}
  {{- end }}
  {{- if or $values.caBundle.configMapName $values.caBundle.secretName }}
  - {name: ca, mountPath: /etc/manyfit/ca, readOnly: true}
  {{- end }}
  {{- if $values.credentials.files.secretName }}
  - {name: credentials, mountPath: {{ $values.credentials.files.mountPath }}, readOnly: true}
  {{- end }}
  {{- if and (eq $role "driver") $values.eventLog.enabled $values.eventLog.claimName }}
  - {name: event-log, mountPath: /var/log/spark}
  {{- end }}
  {{- with concat $values.pods.volumeMounts $own.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/*
The variables of a proxy, as a mapping. Python's libraries read either spelling, Java's Kubernetes client the upper case. The kubelet fills in the
API server's address, which Java's client is given by number.
*/}}
{{- define "manyfit.proxyVariables" -}}
{{- $proxy := .Values.proxy -}}
{{- if or $proxy.http $proxy.https -}}
{{- $near := concat (list "localhost" "127.0.0.1" "::1" "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default.svc" ".svc" ".cluster.local") $proxy.noProxy | uniq | join "," -}}
{{- range $name, $value := dict "http_proxy" $proxy.http "https_proxy" $proxy.https "no_proxy" $near -}}
{{- if $value }}
{{ $name }}: {{ $value | quote }}
{{ upper $name }}: {{ $value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes (list $ "driver"|"executor"|"test"). */}}
{{- define "manyfit.volumes" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $values := $root.Values -}}
{{- $own := index $values (eq $role "executor" | ternary "executor" "driver") -}}
- name: tmp
  emptyDir: {sizeLimit: {{ $values.scratch.tmp }}}
- name: work-dir
  emptyDir: {sizeLimit: {{ $values.scratch.workDir }}}
{{- if ne $role "test" }}
# Spark takes a mount of this name as its local directory
- name: spark-local-dir-1
  emptyDir: {sizeLimit: {{ $values.scratch.local }}}
{{- if $values.security.rpc.enabled }}
- name: rpc-secret
  secret:
    secretName: {{ include "manyfit.rpcSecret" $root }}
    defaultMode: {{ include "manyfit.secretMode" $root }}
    items: [{key: secret, path: secret}]
{{- end }}
{{- end }}
{{- with include "manyfit.codeConfigMap" $root }}
- name: code
  configMap: {name: {{ . }}}
{{- end }}
{{- if $values.caBundle.configMapName }}
- name: ca
  configMap: {name: {{ $values.caBundle.configMapName }}}
{{- else if $values.caBundle.secretName }}
- name: ca
  secret: {secretName: {{ $values.caBundle.secretName }}, items: [{key: {{ $values.caBundle.key }}, path: {{ $values.caBundle.key }}}]}
{{- end }}
{{- with $values.credentials.files.secretName }}
- name: credentials
  secret: {secretName: {{ . }}, defaultMode: {{ include "manyfit.secretMode" $root }}}
{{- end }}
{{- if and (eq $role "driver") $values.eventLog.enabled $values.eventLog.claimName }}
- name: event-log
  persistentVolumeClaim: {claimName: {{ $values.eventLog.claimName }}}
{{- end }}
{{- with concat $values.pods.volumes $own.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Files of Secrets belong to root and to fsGroup; without one, only a mode for all lets our user read them. */}}
{{- define "manyfit.secretMode" -}}
{{- kindIs "invalid" .Values.security.fsGroup | ternary "0444" "0440" -}}
{{- end }}
