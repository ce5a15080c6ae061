{{- define "loquor.pod" -}}
serviceAccountName: {{ include "loquor.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "loquor.gracePeriodSeconds" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.securityContext.runAsUser }}
  runAsGroup: {{ .Values.securityContext.runAsGroup }}
  {{- with .Values.securityContext.fsGroup }}
  fsGroup: {{ . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "loquor.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- if eq .Values.repository.source "pull" }}
initContainers:
  - name: pull
    image: {{ include "loquor.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [loquor, models, pull, --repository, /models]
    args: {{ toJson .Values.repository.pull.names }}
    {{- include "loquor.environment" . | nindent 4 }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      {{- include "loquor.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: models
        mountPath: /models
      # Packages are unpacked and converted here, which takes more than the server's /tmp has.
      - name: pull
        mountPath: /tmp
{{- end }}
containers:
  - name: server
    image: {{ include "loquor.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    # A pod is reached from outside itself, so loopback, the server's default, will not do.
    args:
      - --config=/etc/loquor/loquor.toml
      - --address=0.0.0.0:8001
      - --metrics-address=0.0.0.0:8002
      - --repository=/models
      {{- with .Values.server.models }}
      - {{ printf "--models=%s" (join "," .) | quote }}
      {{- end }}
    {{- include "loquor.environment" . | nindent 4 }}
    ports:
      - name: grpc
        containerPort: 8001
        protocol: TCP
      - name: metrics
        containerPort: 8002
        protocol: TCP
    startupProbe:
      {{- include "loquor.probe" (dict "service" "startup" "probe" .Values.probes.startup) | nindent 6 }}
    readinessProbe:
      {{- include "loquor.probe" (dict "service" "ready" "probe" .Values.probes.readiness) | nindent 6 }}
    livenessProbe:
      {{- include "loquor.probe" (dict "service" "live" "probe" .Values.probes.liveness) | nindent 6 }}
    lifecycle:
      preStop:
        sleep:
          seconds: {{ .Values.termination.preStopSeconds }}
    resources:
      {{- include "loquor.resources" . | nindent 6 }}
    securityContext:
      {{- include "loquor.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: settings
        mountPath: /etc/loquor
        readOnly: true
      - name: models
        mountPath: /models
        readOnly: true
        {{- if and (eq .Values.repository.source "claim") .Values.repository.subPath }}
        subPath: {{ .Values.repository.subPath | quote }}
        {{- end }}
      - name: tmp
        mountPath: /tmp
volumes:
  - name: settings
    configMap:
      name: {{ include "loquor.fullname" . }}
  - name: tmp
    emptyDir:
      sizeLimit: {{ .Values.tmp.sizeLimit }}
  - name: models
    {{- if eq .Values.repository.source "claim" }}
    persistentVolumeClaim:
      claimName: {{ .Values.repository.claimName }}
      readOnly: true
    {{- else if eq .Values.repository.source "hostPath" }}
    hostPath:
      path: {{ .Values.repository.hostPath | quote }}
      type: Directory
    {{- else }}
    emptyDir:
      sizeLimit: {{ .Values.repository.pull.sizeLimit }}
  - name: pull
    emptyDir:
      sizeLimit: {{ .Values.repository.pull.sizeLimit }}
    {{- end }}
{{- end -}}

{{- define "loquor.environment" -}}
env:
  - name: TMPDIR
    value: /tmp
  - name: HOME
    value: /tmp
  {{- range $name, $value := .Values.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
