{{/*
Names, labels and small conversions. Every helper takes the root context ($) unless it says otherwise.
*/}}

{{/* The application: its driver is called <name>-driver. */}}
{{- define "manyfit.name" -}}
{{- .Values.fullnameOverride | default .Release.Name -}}
{{- end }}

{{- define "manyfit.image" -}}
{{- $registry := dig "imageRegistry" "" (.Values.global | default dict) | default .Values.image.registry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Names of Secrets with the registry's login, as a YAML list. A parent chart may write them as names or as references. */}}
{{- define "manyfit.pullSecrets" -}}
{{- $names := .Values.image.pullSecrets -}}
{{- range dig "imagePullSecrets" list (.Values.global | default dict) | default list -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) -}}
{{- end -}}
{{- with $names | uniq }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "manyfit.driverAccount" -}}
{{- .Values.serviceAccount.driver.name | default (printf "%s-driver" (include "manyfit.name" .)) -}}
{{- end }}

{{- define "manyfit.executorAccount" -}}
{{- .Values.serviceAccount.executor.name | default (printf "%s-executor" (include "manyfit.name" .)) -}}
{{- end }}

{{- define "manyfit.rpcSecret" -}}
{{- .Values.security.rpc.existingSecret | default (printf "%s-rpc" (include "manyfit.name" .)) -}}
{{- end }}

{{/*
The ConfigMap with the user's code is named after its content: new code is a new name, which changes the application's spec,
and a driver that is started again still finds the code that it started with.
*/}}
{{- define "manyfit.codeConfigMap" -}}
{{- if .Values.code.configMapName -}}
{{ .Values.code.configMapName }}
{{- else if .Values.code.files -}}
{{ include "manyfit.name" . }}-code-{{ .Values.code.files | toJson | sha256sum | trunc 8 }}
{{- end -}}
{{- end }}

{{/* What selects this release's pods, and is on all of them. */}}
{{- define "manyfit.selector" -}}
app.kubernetes.io/name: manyfit
app.kubernetes.io/instance: {{ include "manyfit.name" . | quote }}
{{- end }}

{{/*
Labels of every object. Neither the chart's nor the application's version is among them: the operator copies the application's
labels onto its pods, and an upgrade of the chart is no reason to tell pods apart.
*/}}
{{- define "manyfit.labels" -}}
{{- $own := include "manyfit.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end }}

{{/* metadata of an object. Takes (list $ "suffix" or "" [annotations]). */}}
{{- define "manyfit.metadata" -}}
{{- $root := index . 0 -}}
{{- $annotations := $root.Values.commonAnnotations -}}
{{- if gt (len .) 2 }}{{ $annotations = merge (deepCopy (index . 2)) $annotations }}{{ end -}}
name: {{ include "manyfit.name" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "manyfit.labels" $root | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The host of a URL, without port and user; an IPv6 address with its brackets. Takes the URL. */}}
{{- define "manyfit.host" -}}
{{- $rest := regexReplaceAll "^[a-z0-9]+://([^/@]*@)?" . "" -}}
{{- hasPrefix "[" $rest | ternary (regexFind "^\\[[^]]*\\]" $rest) (regexFind "^[^:/]*" $rest) -}}
{{- end }}

{{/* The port of a URL. Takes the URL. */}}
{{- define "manyfit.port" -}}
{{- $port := regexFind ":[0-9]+(/|$)" . | trimAll ":/" -}}
{{- $port | default (hasPrefix "http:" . | ternary "80" "443") -}}
{{- end }}

{{/* A size such as 1g, 1536m or 2Gi in MiB. Takes the size. */}}
{{- define "manyfit.mebibytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if regexMatch "^[0-9]+(g|Gi)$" . }}{{ mul $number 1024 }}{{ else }}{{ $number }}{{ end -}}
{{- end }}

{{/* Memory of an executor outside the heap: Java's own, and one Python worker for each core. */}}
{{- define "manyfit.executorOverhead" -}}
{{- $executor := .Values.executor -}}
{{- $workers := mul $executor.cores (include "manyfit.mebibytes" $executor.workerMemory | int64) -}}
{{- add $workers (include "manyfit.mebibytes" $executor.overhead | int64) }}m
{{- end }}

{{/* The command of the document: a scoring names models, a training does not. */}}
{{- define "manyfit.command" -}}
{{- $job := .Values.job | default dict -}}
{{- or (hasKey $job "models") (hasKey $job "score") | ternary "score" "run" -}}
{{- end }}

{{/* The sides of the storage settings that the document has, as JSON. */}}
{{- define "manyfit.sides" -}}
{{- eq (include "manyfit.command" .) "score" | ternary (list "input" "models" "output") (list "input" "output") | toJson -}}
{{- end }}

{{/*
The job document as one JSON argument. Two settings come from the chart unless the job says otherwise: how much a Python worker
may hold, and where the certificate authority is mounted. The kubelet expands $(NAME) in arguments,
so `$` is written \u0024, and ' as \u0027, because single quotes are around it in the YAML.
*/}}
{{- define "manyfit.document" -}}
{{- $job := deepCopy (.Values.job | default dict) -}}
{{- $run := $job.run | default dict -}}
{{- if not $run.memory -}}
{{- $worker := include "manyfit.mebibytes" .Values.executor.workerMemory | int64 -}}
{{- $_ := set $run "memory" (printf "%dMiB" (div (mul $worker 9) 10)) -}}
{{- end -}}
{{- $_ := set $job "run" $run -}}
{{- if or .Values.caBundle.configMapName .Values.caBundle.secretName -}}
{{- $storage := $job.storage | default dict -}}
{{- if not $storage.ca }}{{ $_ := set $storage "ca" (printf "/etc/manyfit/ca/%s" .Values.caBundle.key) }}{{ end -}}
{{- $_ := set $job "storage" $storage -}}
{{- end -}}
{{- if .Values.metrics.enabled -}}
{{- $metrics := $job.metrics | default dict -}}
{{- if not (hasKey $metrics "enabled") }}{{ $_ := set $metrics "enabled" true }}{{ end -}}
{{- $_ := set $job "metrics" $metrics -}}
{{- end -}}
{{- $job | toJson | replace "$" "\\u0024" | replace "'" "\\u0027" -}}
{{- end }}

{{/* Where the driver serves the metrics of the run; nothing where it does not. */}}
{{- define "manyfit.metricsPort" -}}
{{- $metrics := (.Values.job | default dict).metrics | default dict -}}
{{- $on := hasKey $metrics "enabled" | ternary $metrics.enabled .Values.metrics.enabled -}}
{{- if $on }}{{ $metrics.port | default 8090 }}{{ end -}}
{{- end }}

{{/* What the driver may do. Executors may do nothing. Rendered into the Role, and compared with reality by `helm test`. */}}
{{- define "manyfit.rules" -}}
- apiGroups: [""]
  resources: [pods]
  # create: executors · get: itself, its owner · list, watch: executors' fate · patch: executors' ids as labels
  # delete, deletecollection: executors that are not needed any more
  verbs: [create, get, list, watch, patch, delete, deletecollection]
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}
