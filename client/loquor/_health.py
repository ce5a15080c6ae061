"""`grpc.health.v1.Health/Check` by hand: two messages of one field each do not need a package of their own."""

from loquor._models import Health
from loquor._transport import Method

_SERVICE_FIELD = b"\x0a"
_STATUS_FIELD = 0x08
_STATUSES = (Health.UNKNOWN, Health.SERVING, Health.NOT_SERVING, Health.SERVICE_UNKNOWN)


def _serialize(service: str) -> bytes:
    """`HealthCheckRequest`: field 1 is the service's name, and is absent for the server as a whole."""
    name = service.encode()
    return _SERVICE_FIELD + _varint(len(name)) + name if name else b""


def _parse(data: bytes) -> Health:
    """`HealthCheckResponse`: field 1 is the status; absent means 0."""
    known = len(data) == 2 and data[0] == _STATUS_FIELD and data[1] < len(_STATUSES)
    return _STATUSES[data[1]] if known else Health.UNKNOWN


def _varint(number: int) -> bytes:
    head = bytearray()
    while number > 0x7F:
        head.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*head, number])


CHECK: Method[str, Health] = Method("/grpc.health.v1.Health/Check", _serialize, _parse)
