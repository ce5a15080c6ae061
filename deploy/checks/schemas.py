"""Rendered documents against the schemas of Kubernetes, strictly, at several versions; no cluster is asked.

A kind without a schema is a failure, but for the custom resources in `CUSTOM`, which are held against models made from
their own definitions.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from pydantic import ValidationError

from .chart import VALUE_SETS, Document, Helm

# The oldest that Chart.yaml allows, the one in which the sleep of preStop became stable, and the newest with a schema.
VERSIONS = ("1.30", "1.34", "1.37")

CUSTOM: dict[tuple[str, str], Any] = {("monitoring.coreos.com/v1", "PodMonitor"): prometheus_operator.PodMonitor}


def check_documents(helm: Helm, version: str) -> Iterator[str]:
    for values in VALUE_SETS:
        for document in helm.render(values):
            if complaint := complaint_about(document, version):
                yield f"{values.name}: {document['kind']} {document['metadata']['name']}: {complaint}"


def check_that_errors_are_seen(helm: Helm, version: str) -> Iterator[str]:
    """Documents that are wrong on purpose, without which a validator that sees nothing would pass."""
    documents = {document["kind"]: document for values in VALUE_SETS for document in helm.render(values)}
    for kind, name, spoil in SPOILERS:
        document = copy.deepcopy(documents[kind])
        spoil(document)
        if not complaint_about(document, version):
            yield f"{kind} with {name} is taken for good"


def complaint_about(document: Document, version: str) -> str:
    model = CUSTOM.get((document["apiVersion"], document["kind"]))
    return _against_model(document, model) if model else _against_kubernetes(document, version)


def _against_kubernetes(document: Document, version: str) -> str:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return f"no schema in {version}: {error.message}"
    return ""


def _against_model(document: Document, model: Any) -> str:
    """The models ignore what they do not know, so what they read must also come out again."""
    try:
        read = model.model_validate(document).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except ValidationError as error:
        return str(error)
    return "" if read == document else f"not known to its definition: {document} is read as {read}"


def _misspell(document: Document) -> None:
    document["spec"]["unknownField"] = 1


def _mistype(document: Document) -> None:
    document["spec"]["minReadySeconds"] = "soon"


def _misspell_deeply(document: Document) -> None:
    document["spec"]["template"]["spec"]["containers"][0]["startupProbe"]["grpc"]["path"] = "/"


def _misname(document: Document) -> None:
    document["kind"] = "Deploymint"


def _misspell_endpoint(document: Document) -> None:
    document["spec"]["podMetricsEndpoints"][0]["unknownField"] = 1


SPOILERS: tuple[tuple[str, str, Callable[[Document], None]], ...] = (
    ("Deployment", "an unknown field", _misspell),
    ("Deployment", "a text for a number", _mistype),
    ("Deployment", "an unknown field deep inside", _misspell_deeply),
    ("Deployment", "an unknown kind", _misname),
    ("Service", "an unknown field", _misspell),
    ("PodMonitor", "an unknown field", _misspell_endpoint),
)
