"""What docs/deployment.md promises of the rendered chart, read back from what Helm rendered.

Every promise holds with every value set, unless it says otherwise. Whether the documents are Kubernetes' at all is
for `schemas`.
"""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .chart import VALUE_SETS, Document, Helm

GRPC_PORT, METRICS_PORT = 8001, 8002
SECONDS_AFTER_DRAIN = 20


class Release:
    """The documents of one rendering, by what the promises ask for."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents
        (self.deployment,) = self.of_kind("Deployment")
        self.template: Document = self.deployment["spec"]["template"]
        self.pod: Document = self.template["spec"]
        (self.server,) = self.pod["containers"]
        self.containers: list[Document] = [self.server, *self.pod.get("initContainers", [])]

    def of_kind(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    @property
    def settings(self) -> dict[str, Any]:
        (settings,) = self.of_kind("ConfigMap")
        return tomllib.loads(settings["data"]["loquor.toml"])

    @property
    def arguments(self) -> dict[str, str]:
        return dict(argument.removeprefix("--").split("=", 1) for argument in self.server["args"])

    def volume(self, name: str) -> Document:
        volumes: dict[str, Document] = {volume["name"]: volume for volume in self.pod["volumes"]}
        return volumes[name]


def drains(release: Release) -> Iterator[str]:
    """The grace period is the sleep of preStop, the drain that the server is told, and 20 s."""
    sleep = release.server["lifecycle"]["preStop"]["sleep"]["seconds"]
    wanted = sleep + release.settings["drain_seconds"] + SECONDS_AFTER_DRAIN
    if sleep < 1 or release.pod["terminationGracePeriodSeconds"] != wanted:
        yield f"terminationGracePeriodSeconds is {release.pod['terminationGracePeriodSeconds']}, not {wanted}"


def probes(release: Release) -> Iterator[str]:
    """Startup, readiness and liveness are three questions, asked over gRPC on the serving port."""
    for probe, service in (("startupProbe", "startup"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        if release.server[probe]["grpc"] != {"port": GRPC_PORT, "service": service}:
            yield f"{probe} asks {release.server[probe]}"


def addresses(release: Release) -> Iterator[str]:
    """The server listens where probes, Services and monitors look."""
    ports = {port["name"]: port["containerPort"] for port in release.server["ports"]}
    if ports != {"grpc": GRPC_PORT, "metrics": METRICS_PORT}:
        yield f"ports are {ports}"
    for flag, port in (("address", GRPC_PORT), ("metrics-address", METRICS_PORT)):
        if release.arguments[flag] != f"0.0.0.0:{port}":
            yield f"--{flag} is {release.arguments[flag]}"


def restricted(release: Release) -> Iterator[str]:
    """Every container meets the "restricted" pod security standard, under nobody's uid, on a read-only root."""
    if release.pod["automountServiceAccountToken"] or not release.pod["securityContext"]["runAsNonRoot"]:
        yield "the pod has a token, or may run as root"
    for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if name in release.pod:
            yield f"the pod has {name}"
    for container in release.containers:
        security = dict(container["securityContext"])
        if min(security.pop("runAsUser"), security.pop("runAsGroup")) < 10_000:
            yield f"{container['name']} runs as a uid or gid below 10000"
        if security != RESTRICTED:
            yield f"{container['name']} has the security context {security}"


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def volumes(release: Release) -> Iterator[str]:
    """Models are read-only for the server; what is writable has a limit; nothing is mounted that is not there."""
    names = {volume["name"] for volume in release.pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in release.server["volumeMounts"]}
    if set(mounts) != {"/etc/loquor", "/models", "/tmp"}:
        yield f"mounted are {sorted(mounts)}"
    if not (mounts["/models"].get("readOnly") and mounts["/etc/loquor"].get("readOnly")):
        yield "the server could write to the models or the settings"
    if release.arguments["repository"] != "/models" or release.arguments["config"] != "/etc/loquor/loquor.toml":
        yield "the server is not told where models and settings are"
    for container in release.containers:
        if missing := {mount["name"] for mount in container["volumeMounts"]} - names:
            yield f"{container['name']} mounts {missing}, which is no volume"
    for volume in release.pod["volumes"]:
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
            yield f"the volume {volume['name']} has no limit"
    if not release.volume("models").get("persistentVolumeClaim", {}).get("readOnly", True):
        yield "the claim is not attached read-only"


def resources(release: Release) -> Iterator[str]:
    """Memory and devices are limited to what is requested; CPU is requested and not limited."""
    for container in release.containers:
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        if "cpu" in limits or "cpu" not in requests:
            yield f"{container['name']} has CPU limits, or requests none"
        if limits != {name: amount for name, amount in requests.items() if name != "cpu"}:
            yield f"{container['name']} requests {requests} and is limited to {limits}"


def selectors(release: Release) -> Iterator[str]:
    """Services, the disruption budget and the monitor mean this release's pods, of every version, and no others."""
    labels = release.template["metadata"]["labels"].items()
    selected = [service["spec"]["selector"] for service in release.of_kind("Service")]
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        selected += [document["spec"]["selector"]["matchLabels"] for document in release.of_kind(kind)]
    for selector in selected:
        if set(selector) != {"app.kubernetes.io/name", "app.kubernetes.io/instance"} or not selector.items() <= labels:
            yield f"{selector} does not select the pods"


def services(release: Release) -> Iterator[str]:
    """gRPC is said to be HTTP/2 in plain text; the headless Service leads to ready pods alone."""
    for service in release.of_kind("Service"):
        (port,) = service["spec"]["ports"]
        if (port["targetPort"], port["appProtocol"]) != ("grpc", "kubernetes.io/h2c"):
            yield f"{service['metadata']['name']} has the port {port}"
        headless = service["spec"].get("clusterIP") == "None"
        if headless and (port["port"] != GRPC_PORT or service["spec"]["publishNotReadyAddresses"]):
            yield f"{service['metadata']['name']} leads to another port, or to pods that are not ready"


def names(release: Release) -> Iterator[str]:
    """Every name is a DNS label, every document in the release's namespace, and no two are the same."""
    identities = [(document["kind"], document["metadata"]["name"]) for document in release.documents]
    if len(set(identities)) < len(identities):
        yield f"two documents have one name: {identities}"
    for document in release.documents:
        metadata = document["metadata"]
        if len(metadata["name"]) > 63 or metadata.get("namespace") != "serving":
            yield f"{document['kind']} {metadata['name']} is in {metadata.get('namespace')}, or its name is too long"


def rollout(release: Release) -> Iterator[str]:
    """A rollout takes no pod away before another is ready, unless no surge is allowed."""
    update = release.deployment["spec"]["strategy"]["rollingUpdate"]
    if update["maxUnavailable"] != (0 if update["maxSurge"] else 1):
        yield f"the strategy is {update}"


Promise = Callable[[Release], Iterator[str]]
PROMISES: tuple[Promise, ...] = (
    drains,
    probes,
    addresses,
    restricted,
    volumes,
    resources,
    selectors,
    services,
    names,
    rollout,
)


def check_promise(helm: Helm, promise: Promise) -> Iterator[str]:
    for values in VALUE_SETS:
        for complaint in promise(Release(helm.render(values))):
            yield f"{values.name}: {complaint}"


def check_that_settings_restart(helm: Helm) -> Iterator[str]:
    """A changed setting is a changed pod, and nothing else is."""

    def checksum(changed: str) -> str:
        release = Release(helm.render(_values("default"), changed))
        return str(release.template["metadata"]["annotations"]["checksum/settings"])

    if checksum('{"server": {"drainSeconds": 61}}') == checksum("{}"):
        yield "a changed setting leaves the pods as they are"
    if checksum('{"replicas": 5}') != checksum("{}"):
        yield "another number of pods replaces all of them"


def check_choices(helm: Helm) -> Iterator[str]:
    """What single value sets ask for, and only they."""
    releases = {values.stem: Release(helm.render(values)) for values in VALUE_SETS}
    found = {
        "claim": releases["claim"].server["image"].partition("@")[2][:7] == "sha256:"
        and releases["claim"].arguments["models"] == "minilm,rampart:2"
        and releases["claim"].settings["models"]["minilm"] == {"replicas": 2, "max_queue_delay_seconds": 0.002}
        and releases["claim"].settings["default_deadline_seconds"] == 10,
        "gpu": releases["gpu"].server["resources"]["limits"]["nvidia.com/gpu"] == 1,
        "trial": releases["trial"].pod["initContainers"][0]["args"] == ["minilm", "rampart"]
        and not releases["trial"].of_kind("ServiceAccount")
        and not releases["trial"].of_kind("PodDisruptionBudget"),
        "node": "hostPath" in releases["node"].volume("models")
        and "fsGroup" not in releases["node"].pod["securityContext"],
        "scaled": "replicas" not in releases["scaled"].deployment["spec"]
        and bool(releases["scaled"].of_kind("PodMonitor")),
        "default": releases["default"].deployment["spec"]["replicas"] == 2
        and not releases["default"].of_kind("PodMonitor")
        and "models" not in releases["default"].arguments,
    }
    yield from (f"{name}.yaml is not what was asked for" for name, right in found.items() if not right)
    yield from (f"{values.name} is asked for nothing" for values in VALUE_SETS if values.stem not in found)


def check_notes(helm: Helm) -> Iterator[str]:
    """The notes name the Service, and the claim where there is one."""
    notes = helm.notes(_values("default"))
    for wanted in ("rollout status deployment/loquor", "loquor.serving:8001", "dns:///loquor-headless.serving:8001"):
        if wanted not in notes:
            yield f"{wanted!r} is not in them"
    if ("loquor-models" in notes, "loquor-models" in helm.notes(_values("trial"))) != (True, False):
        yield "the claim is named where there is none, or the other way round"


def _values(name: str) -> Path:
    (values,) = (values for values in VALUE_SETS if values.stem == name)
    return values
