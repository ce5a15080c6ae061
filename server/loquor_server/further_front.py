"""A further front as a process: `python -m loquor_server.further_front SOCKET INDEX [flags of loquor serve]`.

The first front starts it, tells it what to serve, and takes it along when it dies.
"""

import asyncio
import os
import sys
from importlib import metadata

import grpc
import uvloop
from prometheus_client import generate_latest

from loquor.internal import channels, logs, process, settings
from loquor_server.config import ServerConfig
from loquor_server.follower import Follower, FollowingCatalog
from loquor_server.front import Changes, Front
from loquor_server.metrics import Metrics
from loquor_server.observers import Observers
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.plan import Planner
from loquor_server.serve import stop_event
from loquor_server.tokenization import TokenizerPool


def main() -> int:
    process.guard(dies_with_parent=True)
    socket, index, *arguments = sys.argv[1:]
    config, tables = settings.load(
        ServerConfig, arguments, os.environ, program="loquor serve", description="", tables=("models",)
    )
    logs.configure(config.log_format, config.log_level)
    planner = Planner(config, tables["models"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, planner, socket, int(index)))


async def _serve(config: ServerConfig, planner: Planner, socket: str, index: int) -> int:
    stop = stop_event()
    metrics = Metrics(metadata.version("loquor"))
    statistics, changes = InferenceStatistics(), Changes()
    pool = TokenizerPool(config.tokenizer_threads)
    channel = channels.open_channel(socket)
    follower = Follower(channel, index, lambda: generate_latest(metrics.registry).decode())
    catalog = FollowingCatalog(
        planner.repository,
        planner.plan,
        follower.launch,
        pool,
        Observers(metrics, statistics, changes),
        config.silence_seconds,
    ).through(channel)
    front = Front(config, catalog, metrics, statistics, changes)
    following = asyncio.create_task(follower.follow(catalog))
    stopping = asyncio.create_task(stop.wait())
    followed = asyncio.create_task(follower.followed.wait())
    try:
        # Only once it can answer may the kernel give it connections.
        await asyncio.wait({following, followed, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if followed.done():
            await front.start()
            await front.serve()
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await front.drain()
    finally:
        for task in (following, stopping, followed):
            task.cancel()
        await front.close()
        await catalog.close(0)
        await channel.close()
        pool.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.aio.AioRpcError:
        sys.exit("the first front has ended")
