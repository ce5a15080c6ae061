{{- define "loquor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 50 characters, so that the longest name made of it is still a DNS label. */ -}}
{{- define "loquor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "loquor.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loquor.selector" -}}
app.kubernetes.io/name: {{ include "loquor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "loquor.labels" -}}
{{ include "loquor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "loquor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "loquor.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "loquor.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* preStop, then the drain, then 20 s for what stops after it: the kubelet must never be first. */ -}}
{{- define "loquor.gracePeriodSeconds" -}}
{{- add .Values.termination.preStopSeconds .Values.server.drainSeconds 20 -}}
{{- end -}}

{{- /*
loquor.toml. Values are written as JSON: its texts, numbers, booleans and lists are TOML too, and a whole number stays
one (toToml makes a float of every number). The list of models is a flag instead, as `models` is a table here.
*/ -}}
{{- define "loquor.settings" -}}
fronts = {{ .Values.server.fronts }}
replicas = {{ .Values.server.replicas }}
device = {{ toJson .Values.server.device }}
dtype = {{ toJson .Values.server.dtype }}
threads = {{ .Values.server.threads }}
drain_seconds = {{ .Values.server.drainSeconds }}
log_format = {{ toJson .Values.server.logFormat }}
{{- range $name, $value := .Values.server.settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- range $model, $settings := .Values.server.modelSettings }}

[models.{{ toJson $model }}]
{{- range $name, $value := $settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The container's part of Kubernetes' "restricted" pod security standard, and a read-only root beside it. */ -}}
{{- define "loquor.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: {{ .Values.securityContext.runAsUser }}
runAsGroup: {{ .Values.securityContext.runAsGroup }}
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "loquor.probe" -}}
grpc:
  port: 8001
  service: {{ .service }}
periodSeconds: {{ .probe.periodSeconds }}
failureThreshold: {{ .probe.failureThreshold }}
timeoutSeconds: {{ .probe.timeoutSeconds }}
{{- end -}}

{{- define "loquor.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if .Values.gpu.count -}}
{{- range $part := list "requests" "limits" -}}
{{- $devices := dict $.Values.gpu.resourceName $.Values.gpu.count -}}
{{- $_ := set $resources $part (merge $devices (default dict (get $resources $part))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
