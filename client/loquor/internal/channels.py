"""Channels between front and worker, and the options both ends agree on.

Without `ping_timeout` a frozen peer is noticed only after gRPC's 60 s, whatever the keepalive is.
"""

import grpc

_PING_TIMEOUT_MS = 2000

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # A worker that starts is dialled until its socket is there.
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)

SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
)


def open_channel(address: str) -> "grpc.aio.Channel":
    """A channel to one peer, `unix:PATH` or `host:port`."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
