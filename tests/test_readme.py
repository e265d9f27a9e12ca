"""Every block of code in the README is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.servers.postgresql import PostgreSQLServer
from tests.servers.valkey import Sentinel, ValkeyCluster, ValkeyServer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for language, text in BLOCKS
    if language == "console"
    for line in text.splitlines()
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A new user's: a folder with some input, and a store of its own."""
    (tmp_path / "products.csv").write_text("one\ntwo\nthree\n")
    (tmp_path / "shop.py").write_text(PYTHON[0])
    return os.environ | {
        "JOB_PROGRESS_STORE": f"sqlite:///{tmp_path}/states.db",
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """No block escapes by its language."""
    assert {language for language, _ in BLOCKS} == {"python", "console", "html"}
    assert README.count("```") == 2 * len(BLOCKS)


def test_the_python_blocks_run_in_order(tmp_path: Path, environment: dict[str, str]) -> None:
    """As one program, in one process, in which all their own assertions hold."""
    program = tmp_path / "readme.py"
    program.write_text("\n".join(PYTHON))
    result = run([sys.executable, str(program)], tmp_path, environment)
    assert result.returncode == 0, result.stderr


def test_the_commands_work(tmp_path: Path, environment: dict[str, str]) -> None:
    """Those of the library succeed; those of make are targets; what is installed is an extra that exists."""
    ran = run([sys.executable, "-c", "import shop; shop.import_products('products.csv')"], tmp_path, environment)
    assert ran.returncode == 0, ran.stderr
    pyproject = (ROOT / "pyproject.toml").read_text()
    for command in COMMANDS:
        words = command.split()
        if words[0] == "make":
            result = run([*words, "--dry-run"], ROOT, environment)
        elif words[:2] == ["pip", "install"]:
            [extra] = re.findall(r"job-progress\[(\w+)\]", command)
            assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)
            continue
        else:
            assert words[0] == "job-progress"
            result = run(words, tmp_path, environment)
        assert result.returncode == 0, (command, result.stdout, result.stderr)


STORES: list[str] = re.findall(r"^\| `\"([^\"]+)\"` \|", README, re.MULTILINE)
USE_OF_A_STORE = """
import sys
import django.conf
django.conf.settings.configure(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
from job_progress import Job, configure
tracker = configure(store=sys.argv[1])
with Job("readme").start("1") as progress:
    progress.update(0.5)
assert Job("readme").get("1").is_completed
assert [state.id for state in tracker.list("readme")] == ["1"]
tracker.close()
"""


@pytest.mark.parametrize("url", STORES)
def test_each_store_works_as_pasted(
    url: str,
    tmp_path: Path,
    shared_valkey: ValkeyServer,
    shared_cluster: ValkeyCluster,
    shared_postgresql: PostgreSQLServer,
    environment: dict[str, str],
) -> None:
    """With nothing changed but the ports, which a test cannot have, and the name of a service."""
    nodes = [f"127.0.0.1:{node.port}" for node in shared_cluster.nodes]
    sentinel = Sentinel(tmp_path, shared_valkey)
    for written, real in {
        "localhost:26379/service": f"127.0.0.1:{sentinel.port}/states",
        "localhost:6379": f"127.0.0.1:{shared_valkey.port}",
        "localhost:7000": nodes[0],
        "localhost:7001": nodes[1],
        "localhost:5432": f"127.0.0.1:{shared_postgresql.port}",
    }.items():
        url = url.replace(written, real)
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}
    with sentinel if "sentinel" in url else nullcontext():
        result = run([sys.executable, "-c", USE_OF_A_STORE, url], tmp_path, environment)
    assert result.returncode == 0, result.stderr


def test_every_store_is_in_the_table() -> None:
    """One line for each."""
    assert len(STORES) == 8


def test_the_links_lead_somewhere() -> None:
    """Files that are linked to exist, and so do the headings."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert re.search(rf"^## {target[1:]}$", README, re.MULTILINE | re.IGNORECASE), target
        else:
            assert (ROOT / target).is_file(), target
