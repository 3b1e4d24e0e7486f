{{/*
Mistakes that a schema cannot express, all reported at once, each with the way out.
*/}}
{{- define "manyfit.validate" -}}
{{- $values := .Values -}}
{{- $job := $values.job | default dict -}}
{{- $name := include "manyfit.name" . -}}
{{- $problems := list -}}

{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$" $name) -}}
{{- $problems = append $problems (printf "the name %q must be at most 40 characters, a letter and then letters, digits and dashes (the operator and Spark append to it): choose another release name or set fullnameOverride" $name) -}}
{{- end -}}

{{- $scores := eq (include "manyfit.command" .) "score" -}}
{{- /* a function may forecast without rows */ -}}
{{- if not (or (dig "input" "uri" "" $job) (and $scores (dig "score" "function" "" $job))) }}{{ $problems = append $problems "job.input.uri is not set: where the data lies, for example s3://raw/gapminder/" }}{{ end -}}
{{- if not (dig "output" "uri" "" $job) }}{{ $problems = append $problems "job.output.uri is not set: where the models or the predictions go, for example s3://models/gapminder/" }}{{ end -}}
{{- if $scores -}}
{{- if not (dig "models" "uri" "" $job) }}{{ $problems = append $problems "job.models.uri is not set: the output.uri of the training whose models are applied, for example s3://models/gapminder/" }}{{ end -}}
{{- else -}}
{{- $estimator := dig "recipe" "estimator" dict $job -}}
{{- $function := dig "recipe" "function" "" $job -}}
{{- if and (not $estimator) (not $function) -}}
{{- $problems = append $problems "job.recipe has neither estimator nor function: what is fitted on each partition, for example estimator: {_target_: sklearn.linear_model.LinearRegression}" -}}
{{- else if and $estimator $function -}}
{{- $problems = append $problems "job.recipe has both estimator and function: give one of the two" -}}
{{- end -}}
{{- end -}}
{{- range $path, $names := dict
      "recipe.target" (dig "recipe" "target" nil $job)
      "recipe.features" (dig "recipe" "features" nil $job)
      "recipe.sample_weight" (dig "recipe" "sample_weight" nil $job)
      "score.keep" (dig "score" "keep" nil $job)
      "score.actual" (dig "score" "actual" nil $job)
      "input.key" (dig "input" "key" nil $job)
      "input.keys" (dig "input" "keys" nil $job) -}}
{{- range kindIs "slice" $names | ternary $names (list $names) -}}
{{- if kindIs "bool" . -}}
{{- $problems = append $problems (printf "job.%s has %v for a name: YAML reads y, n, yes, no, on and off as true and false, put the name into quotes" $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $column, $_ := dig "input" "schema" nil $job | default dict -}}
{{- if has $column (list "true" "false") -}}
{{- $problems = append $problems (printf "job.input.schema has the column %q: YAML reads y, n, yes, no, on and off as true and false, put the name into quotes" $column) -}}
{{- end -}}
{{- end -}}
{{- $layout := dig "input" "layout" "objects" $job -}}
{{- $key := dig "input" "key" nil $job -}}
{{- if and (eq (toString $layout) "columns") (not $key) -}}
{{- $problems = append $problems "job.input.layout is columns: set job.input.key to the key columns, for example [store, item]" -}}
{{- end -}}
{{- if and (dig "input" "keys" nil $job) (ne (toString $layout) "hive") -}}
{{- $problems = append $problems "job.input.keys is for layout hive" -}}
{{- end -}}
{{- range $side := include "manyfit.sides" . | fromJsonArray -}}
{{- if regexMatch "^[a-z0-9]+://[^/]*:[^/]*@" (dig $side "uri" "" $job | toString) -}}
{{- $problems = append $problems (printf "job.%s.uri holds credentials: put them into a Secret and set credentials.secretName" $side) -}}
{{- end -}}
{{- end -}}
{{- if not (has (dig "run" "engine" "auto" $job) (list "auto" "spark")) -}}
{{- $problems = append $problems (printf "job.run.engine is %v, and the executors would have nothing to do: leave it unset" (dig "run" "engine" "" $job)) -}}
{{- end -}}
{{- if dig "spark" "master" "" $job }}{{ $problems = append $problems "job.spark.master is given by the operator: leave it unset" }}{{ end -}}
{{- range $section := list "recipe" "score" -}}
{{- $function := dig $section "function" "" $job | toString -}}
{{- if and $values.code.files (regexMatch "^[^/:]+\\.py:" $function) -}}
{{- $problems = append $problems (printf "job.%s.function is %q: code.files are importable modules, write %q" $section $function (regexReplaceAll "\\.py:" $function ":")) -}}
{{- end -}}
{{- end -}}
{{- if gt (len (include "manyfit.document" .)) 120000 -}}
{{- $problems = append $problems "the job document is longer than an argument may be (120 kB): put long lists (job.input.only) into a pattern (job.input.include)" -}}
{{- end -}}

{{- if and (hasKey $values "enabled") (not $values.enabled) -}}
{{- $problems = append $problems "enabled is false: that is for the condition of a parent chart; a release of its own is taken away by helm uninstall, and kept waiting by suspend or schedule.suspend" -}}
{{- end -}}
{{- range $scheme := list "http" "https" -}}
{{- $proxy := get $values.proxy $scheme -}}
{{- if contains "@" $proxy -}}
{{- $problems = append $problems (printf "proxy.%s holds a password: put the whole URL into a Secret and set pods.env with valueFrom.secretKeyRef" $scheme) -}}
{{- else if and $proxy (not (regexMatch "^https?://[^/\\s]+/?$" $proxy)) -}}
{{- $problems = append $problems (printf "proxy.%s is %q: write it as http://proxy.example:3128" $scheme $proxy) -}}
{{- end -}}
{{- end -}}
{{- /* what would be accepted and ignored */ -}}
{{- $schedule := $values.schedule -}}
{{- if $schedule.cron -}}
{{- if $values.suspend }}{{ $problems = append $problems "suspend is for a single run: with schedule.cron set schedule.suspend" }}{{ end -}}
{{- else -}}
{{- if $schedule.suspend }}{{ $problems = append $problems "schedule.suspend without schedule.cron: for a single run set suspend" }}{{ end -}}
{{- if $schedule.timeZone }}{{ $problems = append $problems "schedule.timeZone without schedule.cron: set both" }}{{ end -}}
{{- if ne $schedule.concurrencyPolicy "Forbid" }}{{ $problems = append $problems "schedule.concurrencyPolicy without schedule.cron: set both" }}{{ end -}}
{{- end -}}
{{- if and $values.metrics.podMonitor.enabled (not $values.metrics.enabled) -}}
{{- $problems = append $problems "metrics.podMonitor.enabled without metrics.enabled: there would be nothing to scrape" -}}
{{- end -}}
{{- if and $values.metrics.prometheusRule.noSuccessForHours (not $values.metrics.prometheusRule.enabled) -}}
{{- $problems = append $problems "metrics.prometheusRule.noSuccessForHours without metrics.prometheusRule.enabled: set both" -}}
{{- end -}}
{{- if and $values.dynamicAllocation.enabled (ne (int $values.executor.instances) 2) -}}
{{- $problems = append $problems "executor.instances with dynamicAllocation.enabled: set minExecutors, maxExecutors and initialExecutors instead" -}}
{{- end -}}
{{- $fixed := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" -}}
{{- range $where, $labels := dict "commonLabels" $values.commonLabels "pods.labels" $values.pods.labels "driver.labels" $values.driver.labels "executor.labels" $values.executor.labels -}}
{{- range $label, $_ := $labels -}}
{{- if has $label $fixed }}{{ $problems = append $problems (printf "%s has %s, which the chart sets and its policies select by: leave it out (app.kubernetes.io/part-of is free)" $where $label) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.pods.dnsPolicy "None") (not (dig "nameservers" list $values.pods.dnsConfig)) -}}
{{- $problems = append $problems "pods.dnsPolicy is None: name the servers in pods.dnsConfig.nameservers" -}}
{{- end -}}
{{- $seccomp := $values.security.seccompProfile -}}
{{- if not (has $seccomp.type (list "RuntimeDefault" "Localhost")) -}}
{{- $problems = append $problems (printf "security.seccompProfile.type is %v: a restricted namespace takes RuntimeDefault or Localhost" $seccomp.type) -}}
{{- else if ne (eq $seccomp.type "Localhost") (not (empty $seccomp.localhostProfile)) -}}
{{- $problems = append $problems "security.seccompProfile: type Localhost and localhostProfile go together" -}}
{{- end -}}
{{- $denied := dict
      "spark.master" "the operator sets it"
      "spark.app.name" "use fullnameOverride"
      "spark.kubernetes.executor.podNamePrefix" "executors of a second attempt, or of the next firing, would meet pods of the same name"
      "spark.kubernetes.namespace" "use helm install --namespace"
      "spark.kubernetes.driver.master" "the operator sets it"
      "spark.kubernetes.container.image" "use image"
      "spark.kubernetes.driver.container.image" "use image"
      "spark.kubernetes.executor.container.image" "use image"
      "spark.kubernetes.authenticate.driver.serviceAccountName" "use serviceAccount.driver.name"
      "spark.kubernetes.authenticate.executor.serviceAccountName" "use serviceAccount.executor.name"
      "spark.kubernetes.driver.podTemplateFile" "use pods and driver"
      "spark.kubernetes.executor.podTemplateFile" "use pods and executor"
      "spark.driver.cores" "use driver.cores"
      "spark.driver.memory" "use driver.memory"
      "spark.driver.memoryOverhead" "use driver.overhead"
      "spark.executor.cores" "use executor.cores"
      "spark.executor.memory" "use executor.memory"
      "spark.executor.memoryOverhead" "use executor.overhead and executor.workerMemory"
      "spark.executor.instances" "use executor.instances"
      "spark.executor.pyspark.memory" "use executor.workerMemory; Spark would limit address space, which breaks threads and memory maps"
      "spark.kubernetes.executor.deleteOnTermination" "use executor.deleteOnTermination"
      "spark.dynamicAllocation.enabled" "use dynamicAllocation.enabled"
      "spark.dynamicAllocation.minExecutors" "use dynamicAllocation.minExecutors"
      "spark.dynamicAllocation.maxExecutors" "use dynamicAllocation.maxExecutors"
      "spark.dynamicAllocation.initialExecutors" "use dynamicAllocation.initialExecutors"
      "spark.authenticate.secret" "use security.rpc.existingSecret"
      "spark.driver.extraJavaOptions" "use driver.javaOptions"
      "spark.executor.extraJavaOptions" "use executor.javaOptions" -}}
{{- range $where, $conf := dict "sparkConf" $values.sparkConf "job.spark.conf" (dig "spark" "conf" dict $job | default dict) -}}
{{- range $setting, $_ := $conf -}}
{{- if hasKey $denied $setting -}}
{{- $problems = append $problems (printf "%s.%s cannot be set there: %s" $where $setting (get $denied $setting)) -}}
{{- else if regexMatch "(?i)(secret|access)[._]?key$|password$|(session|oauth)[._]?token$|account[._]key" $setting -}}
{{- $problems = append $problems (printf "%s.%s would show a credential in the application: put it into a Secret and set credentials.secretName" $where $setting) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $reserved := dict
      "MANYFIT_RUN__APPLICATION" "the chart sets it from the pod"
      "MANYFIT_RUN__IMAGE" "the chart sets it from image" -}}
{{- if $values.security.rpc.enabled }}{{ $_ := set $reserved "JDK_JAVA_OPTIONS" "executors need ours; use javaOptions or JAVA_TOOL_OPTIONS" }}{{ end -}}
{{- if include "manyfit.codeConfigMap" . }}{{ $_ := set $reserved "PYTHONPATH" "the folder of code is on it already" }}{{ end -}}
{{- $environments := dict "pods.env" $values.pods.env "driver.env" $values.driver.env "executor.env" $values.executor.env -}}
{{- range $where, $variables := $environments -}}
{{- range $variables -}}
{{- if hasKey $reserved .name }}{{ $problems = append $problems (printf "%s: %s cannot be set: %s" $where .name (get $reserved .name)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $role := list "driver" "executor" -}}
{{- range $list := list "initContainers" "sidecars" -}}
{{- range index $values $role $list }}{{ $_ := set $environments (printf "%s.%s.%s.env" $role $list .name) (.env | default list) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $where, $variables := $environments -}}
{{- range $variables -}}
{{- if .value -}}
{{- if and (regexMatch "(?i)(SECRET|PASSW(OR)?D|(ACCESS|ACCOUNT|STORAGE|API|PRIVATE)_?KEY|CONNECTION_STRING|(^|_)TOKEN$)" .name) (not (regexMatch "(?i)_(FILE|PATH)$" .name)) -}}
{{- $problems = append $problems (printf "%s: %s is a literal credential: put it into a Secret and set credentials.secretName, or use valueFrom.secretKeyRef" $where .name) -}}
{{- else if regexMatch "://[^/?#\\s@]*:[^/?#\\s@]+@" .value -}}
{{- $problems = append $problems (printf "%s: the URL in %s holds a password: put the whole value into a Secret and use valueFrom.secretKeyRef" $where .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $dynamic := $values.dynamicAllocation -}}
{{- if $dynamic.enabled -}}
{{- if gt (int $dynamic.minExecutors) (int $dynamic.maxExecutors) -}}
{{- $problems = append $problems (printf "dynamicAllocation.minExecutors (%v) is above maxExecutors (%v)" $dynamic.minExecutors $dynamic.maxExecutors) -}}
{{- end -}}
{{- if and $values.kueue.queueName (not $values.kueue.elasticJobs) -}}
{{- $problems = append $problems "kueue.queueName with dynamicAllocation: Kueue admits a fixed size only, unless its elastic jobs are on (then set kueue.elasticJobs)" -}}
{{- end -}}
{{- end -}}
{{- if and $values.caBundle.configMapName $values.caBundle.secretName }}{{ $problems = append $problems "caBundle has both configMapName and secretName: give one of the two" }}{{ end -}}
{{- /* the job's own reader and its uploads take the PEM; Spark's own reading and its event log are Java's */ -}}
{{- if or $values.caBundle.configMapName $values.caBundle.secretName -}}
{{- $spark := eq (dig "input" "reader" "" $job | toString) "spark" -}}
{{- $reads := and $spark (regexMatch "^s3[an]?:" (dig "input" "uri" "" $job | toString)) -}}
{{- $logs := and $values.eventLog.enabled (hasPrefix "s3a:" $values.eventLog.dir) -}}
{{- range $role, $asked := dict "driver" (or $reads $logs) "executor" $reads -}}
{{- if and $asked (not (contains "javax.net.ssl.trustStore" (index $values $role).javaOptions)) -}}
{{- $problems = append $problems (printf "caBundle is a PEM file, and %s is done by Java, which wants a trust store: mount one made with keytool -importcert (pods.volumes, pods.volumeMounts) and name it in %s.javaOptions, -Djavax.net.ssl.trustStore=/path/ca.p12" ($reads | ternary "reading s3 by Spark (reader spark)" "writing the event log to s3a") $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.code.configMapName $values.code.files }}{{ $problems = append $problems "code has both configMapName and files: give one of the two" }}{{ end -}}
{{- if and $values.eventLog.enabled (eq (empty $values.eventLog.dir) (empty $values.eventLog.claimName)) -}}
{{- $problems = append $problems "eventLog.enabled needs eventLog.dir or eventLog.claimName, one of the two" -}}
{{- end -}}

{{- if $problems -}}
{{- fail (printf "\n\n%d mistake(s) in the values:\n  - %s\n" (len $problems) (join "\n  - " $problems)) -}}
{{- end -}}
{{- end }}
