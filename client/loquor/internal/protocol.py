"""The protocol between front and worker: its version and its one method."""

PROTOCOL_VERSION = 1
SERVE_METHOD = "/loquor.internal.v1.ReplicaService/Serve"
