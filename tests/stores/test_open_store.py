"""Which store a URL names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from job_progress.stores import open_store
from job_progress.stores.memory import MemoryStore
from job_progress.stores.sqlite import SQLiteStore


def file_of(url: str) -> Path:
    """The file that a URL names."""
    store = open_store(url, "test")
    assert isinstance(store, SQLiteStore)
    return store.path


def test_memory() -> None:
    """`memory://` is a store of this process."""
    assert isinstance(open_store("memory://", "test"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////tmp/a.db", "/tmp/a.db"),
        ("sqlite:////tmp/with%20space/%C3%BC%3F%23%25.db", "/tmp/with space/ü?#%.db"),
        ("sqlite:////tmp/with space/ü#.db", "/tmp/with space/ü#.db"),
        ("sqlite:////tmp/a+b:c@d.db", "/tmp/a+b:c@d.db"),
        ("sqlite:///a.db", "{cwd}/a.db"),
        ("sqlite:///some/folder/a.db", "{cwd}/some/folder/a.db"),
        ("sqlite:///./a.db", "{cwd}/a.db"),
        ("sqlite:///~/a.db", "{home}/a.db"),
        ("sqlite:///%7E/a.db", "{home}/a.db"),
        ("sqlite://", "{cache}/job-progress/states.db"),
        ("sqlite:///", "{cache}/job-progress/states.db"),
    ],
)
def test_the_file_that_a_url_names(url: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative, in the home folder, percent-encoded or not, and by default in the user's cache."""
    home, cache, cwd = tmp_path / "home", tmp_path / "cache", tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.chdir(cwd)
    assert file_of(url) == Path(file.format(home=home, cache=cache, cwd=cwd))
    assert not home.exists()
    assert not cache.exists()
    assert list(cwd.iterdir()) == []


def test_a_later_change_of_folder_changes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from where the store was opened."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///a.db", "test")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    store.load(["key"])
    assert (tmp_path / "a.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite:///%3Amemory%3A",
        "sqlite:///a.db?mode=ro",
        "sqlite://?cache=shared",
        "sqlite://host/a.db",
        "sqlite://localhost/a.db",
        "sqlite://a.db",
        "sqlite:///a%00b.db",
    ],
)
def test_sqlite_urls_that_are_refused(url: str) -> None:
    """What looks as if it meant something else is refused at once; the error shows the URL and the right form."""
    with pytest.raises(ValueError) as refused:
        open_store(url, "test")
    assert url in str(refused.value)
    assert "sqlite:////absolute/path" in str(refused.value)


def test_a_home_folder_that_is_not_there() -> None:
    """Of a user who does not exist there is no file."""
    with pytest.raises(ValueError, match="'sqlite:///~nobody-of-this-name/a"):
        open_store("sqlite:///~nobody-of-this-name/a.db", "test")


def test_states_in_memory_are_not_an_sqlite_file() -> None:
    """Who asks SQLite for a store in memory learns what to write instead."""
    with pytest.raises(ValueError, match="memory://"):
        open_store("sqlite:///:memory:", "test")


@pytest.mark.parametrize("url", ["memory://elsewhere", "progress.db", "/tmp/progress.db", ""])
def test_urls_that_name_no_store(url: str) -> None:
    """What has no scheme, or too much of it, is refused at once, by an error that shows what was given."""
    with pytest.raises(ValueError) as refused:
        open_store(url, "test")
    assert repr(url) in str(refused.value)


@pytest.mark.parametrize("scheme", ["", "mysql"])
def test_an_unknown_scheme_is_refused(scheme: str) -> None:
    """The error shows it, what there is instead, and nothing that might be a password."""
    with pytest.raises(ValueError, match=f"scheme '{scheme}': there are memory://, sqlite://") as refused:
        open_store(f"{scheme}://ada:secret@host/db", "test")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("redis://localhost", "redis", "redis"),
        ("redis+cluster://localhost", "redis", "redis"),
        ("redis+sentinel://localhost/states", "redis", "redis"),
        ("postgresql://localhost", "psycopg", "postgres"),
        ("django-cache://default", "django", "django"),
    ],
)
def test_a_store_that_lacks_its_package_says_what_to_install(url: str, package: str, extra: str) -> None:
    """In one line, whichever way the store is opened."""
    program = f"import sys; sys.modules[{package!r}] = None; from job_progress import configure; configure({url!r})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(f"pip install 'job-progress[{extra}]'")
