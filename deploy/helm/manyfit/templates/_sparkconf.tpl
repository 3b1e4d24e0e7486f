{{/*
Spark's settings: the chart's, then the user's, which win. Resources, image and accounts are fields of the application instead.
*/}}
{{- define "manyfit.sparkConf" -}}
{{- $values := .Values -}}
{{- $conf := include "manyfit.sparkConfFixed" . | fromYaml -}}
{{- if $values.security.rpc.enabled -}}
{{- /* from a file: Spark would put a secret of its own making as a literal into the executors' pods */ -}}
{{- $_ := set $conf "spark.authenticate" "true" -}}
{{- $_ := set $conf "spark.authenticate.secret.file" "/etc/manyfit/rpc/secret" -}}
{{- $_ := set $conf "spark.network.crypto.enabled" "true" -}}
{{- $_ := set $conf "spark.network.crypto.cipher" "AES/GCM/NoPadding" -}}
{{- $_ := set $conf "spark.network.crypto.saslFallback" "false" -}}
{{- end -}}
{{- if $values.security.diskEncryption -}}
{{- $_ := set $conf "spark.io.encryption.enabled" "true" -}}
{{- $_ := set $conf "spark.io.encryption.keySizeBits" "256" -}}
{{- end -}}
{{- $_ := set $conf "spark.log.structuredLogging.enabled" (eq $values.log.format "json" | toString) -}}
{{- $_ := set $conf "spark.ui.enabled" (or $values.ui.enabled $values.metrics.enabled | toString) -}}
{{- if $values.metrics.enabled -}}
{{- $_ := set $conf "spark.ui.prometheus.enabled" "true" -}}
{{- /* part of each metric's name, so it is the same in every release; which release it is, is a label of the pod */ -}}
{{- $_ := set $conf "spark.metrics.namespace" "manyfit" -}}
{{- $_ := set $conf "spark.metrics.conf.*.sink.prometheusServlet.class" "org.apache.spark.metrics.sink.PrometheusServlet" -}}
{{- $_ := set $conf "spark.metrics.conf.*.sink.prometheusServlet.path" "/metrics/prometheus" -}}
{{- end -}}
{{- $_ := set $conf "spark.kubernetes.executor.terminationGracePeriodSeconds" (printf "%ds" (int64 $values.executor.terminationGracePeriodSeconds)) -}}
{{- if $values.executor.spot -}}
{{- /* no block migration: a run has no shuffle whose blocks would be worth it, unless the layout is `columns` */ -}}
{{- $_ := set $conf "spark.decommission.enabled" "true" -}}
{{- $columns := eq (dig "input" "layout" "" ($values.job | default dict) | toString) "columns" | toString -}}
{{- $_ := set $conf "spark.storage.decommission.enabled" $columns -}}
{{- $_ := set $conf "spark.storage.decommission.shuffleBlocks.enabled" $columns -}}
{{- $_ := set $conf "spark.executor.decommission.killInterval" (printf "%ds" (int64 $values.executor.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- if $values.dynamicAllocation.enabled -}}
{{- $_ := set $conf "spark.dynamicAllocation.executorIdleTimeout" $values.dynamicAllocation.idleTimeout -}}
{{- end -}}
{{- $_ := set $conf "spark.eventLog.enabled" ($values.eventLog.enabled | toString) -}}
{{- if $values.eventLog.enabled -}}
{{- $_ := set $conf "spark.eventLog.dir" (empty $values.eventLog.claimName | ternary $values.eventLog.dir "file:///var/log/spark") -}}
{{- if hasPrefix "s3a:" $values.eventLog.dir }}{{ $conf = merge $conf (include "manyfit.s3a" . | fromYaml) }}{{ end -}}
{{- end -}}
{{- /* Spark makes this Service; its ConfigMaps take no labels */ -}}
{{- range $name, $value := include "manyfit.labels" . | fromYaml -}}
{{- $_ := set $conf (printf "spark.kubernetes.driver.service.label.%s" $name) $value -}}
{{- end -}}
{{- $conf = merge $conf (include "manyfit.s3aProxy" . | fromYaml) -}}
{{- range $name, $value := $values.sparkConf }}{{ $_ := set $conf $name (toString $value) }}{{ end -}}
{{- toYaml $conf -}}
{{- end }}

{{- define "manyfit.sparkConfFixed" -}}
# what the driver would otherwise need permissions for: ConfigMaps, Services and PersistentVolumeClaims
spark.kubernetes.executor.disableConfigMap: "true"
spark.kubernetes.driver.service.deleteOnTermination: "false"
spark.kubernetes.driver.ownPersistentVolumeClaim: "false"
spark.kubernetes.driver.reusePersistentVolumeClaim: "false"
spark.kubernetes.allocation.batch.size: "20"
# fixed, so that the NetworkPolicy can name them
spark.driver.port: "7078"
spark.driver.blockManager.port: "7079"
spark.blockManager.port: "7079"
# two copies of a task would fit everything twice, for nothing
spark.speculation: "false"
spark.python.worker.reuse: "true"
# No limit. A partition that takes its executor along does so three times before it is given up by name; and since Spark 4.2 each pod that
# the API server refuses counts, too: one missing place in a quota would end a run whose other executors work, after seconds. The
# driver says after a minute that it has no executor. The interval keeps what is counted from growing.
spark.executor.maxNumFailures: "2147483647"
spark.executor.failuresValidityInterval: 10m
# a crash in compiled code leaves the Python lines where it happened
spark.python.worker.faulthandler.enabled: "true"
spark.ui.killEnabled: "false"
spark.ui.prometheus.enabled: "false"
spark.redaction.regex: (?i)secret|password|token|access[.]?_?key|credential|session|signature
spark.sql.redaction.string.regex: (?i)(secret|password|token|access.?key|credential)\S*
{{- end }}

{{/* Spark's own access to S3, for the event log; the job's is in the job document. */}}
{{- define "manyfit.s3a" -}}
{{- $storage := dig "storage" dict (.Values.job | default dict) | default dict -}}
{{- $side := merge (dict) ($storage.output | default dict) $storage -}}
{{- with $side.endpoint }}
spark.hadoop.fs.s3a.endpoint: {{ . | quote }}
spark.hadoop.fs.s3a.path.style.access: {{ kindIs "invalid" $side.path_style | ternary true $side.path_style | quote }}
spark.hadoop.fs.s3a.connection.ssl.enabled: {{ not (hasPrefix "http:" .) | quote }}
{{- end }}
{{- if or $side.region $side.endpoint }}
spark.hadoop.fs.s3a.endpoint.region: {{ $side.region | default "us-east-1" | quote }}
{{- end }}
{{- if index (merge dict .Values.serviceAccount.driver.annotations .Values.serviceAccount.annotations) "eks.amazonaws.com/role-arn" }}
# not in S3A's default chain
spark.hadoop.fs.s3a.aws.credentials.provider: software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider
{{- end }}
{{- end }}

{{/*
The proxy for Spark's own access to S3, which knows no exceptions: only where an endpoint is far away. The job's own reading and writing takes
the variables, and so does Java's Kubernetes client.
*/}}
{{- define "manyfit.s3aProxy" -}}
{{- $proxy := .Values.proxy.https | default .Values.proxy.http -}}
{{- $storage := dig "storage" dict (.Values.job | default dict) | default dict -}}
{{- $far := false -}}
{{- range $side := include "manyfit.sides" . | fromJsonArray -}}
{{- $host := include "manyfit.host" (dig $side "endpoint" "" $storage | default $storage.endpoint | default "https://s3.amazonaws.com") -}}
{{- $near := regexMatch "^[^.]+\\.[^.]+\\.svc(\\.|$)" $host -}}
{{- range $.Values.proxy.noProxy }}{{ if or (eq $host .) (hasSuffix (printf ".%s" (trimPrefix "." .)) $host) }}{{ $near = true }}{{ end }}{{ end -}}
{{- if not $near }}{{ $far = true }}{{ end -}}
{{- end -}}
{{- if and $proxy $far -}}
spark.hadoop.fs.s3a.proxy.host: {{ include "manyfit.host" $proxy | quote }}
spark.hadoop.fs.s3a.proxy.port: {{ include "manyfit.port" $proxy | quote }}
{{- end -}}
{{- end }}
