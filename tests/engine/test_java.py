"""Java: found by JAVA_HOME, then by the PATH; refused where it is too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from simprod_tf.engine.java import find_java
from simprod_tf.errors import MissingLibraryError


def java_in(folder: Path, answer: str) -> Path:
    folder.mkdir(parents=True)
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    java.chmod(0o755)
    return java


def test_java_home_goes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = java_in(tmp_path / "jdk" / "bin", 'openjdk version "21" 2023-09-19')
    java_in(tmp_path / "path", 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == home
    monkeypatch.delenv("JAVA_HOME")
    assert find_java() == tmp_path / "path" / "java"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('java version "1.8.0_391"', "Java 17 or newer, .*java is 8: install Java"),
        ('openjdk version "11.0.2" 2019-01-15', "is 11: install"),
        ("nonsense", "-version does not tell a version; install"),
    ],
)
def test_an_old_java_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, message: str
) -> None:
    java_in(tmp_path / "bin", answer)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingLibraryError, match=message):
        find_java()


def test_no_java_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingLibraryError, match="none found: install Java 17"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingLibraryError, match="JAVA_HOME is .* no bin/java"):
        find_java()
