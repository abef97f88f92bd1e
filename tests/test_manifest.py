"""Fingerprints and manifests."""

from __future__ import annotations

import hashlib

import pytest

from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.manifest import (
    file_sha256,
    fingerprint,
    read_manifest,
    require_same_encoder,
    write_manifest,
)


def test_a_fingerprint_is_the_hash_of_named_parts_with_lengths():
    expected = hashlib.sha256(b"a:1:xb:2:yz").hexdigest()[:16]
    assert fingerprint([("a", b"x"), ("b", b"yz")]) == expected


def test_moving_a_byte_between_parts_changes_the_fingerprint():
    first = fingerprint([("a", b"xy"), ("a", b"z")])
    assert first != fingerprint([("a", b"x"), ("a", b"yz")])


def test_file_hash(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


def test_a_manifest_comes_back(tmp_path):
    write_manifest(tmp_path, {"kind": "index", "n": 3})
    assert read_manifest(tmp_path, kind="index") == {"kind": "index", "n": 3}


def test_manifest_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(ModelError, match="holds no index: manifest.json is missing"):
        read_manifest(tmp_path, kind="index")
    write_manifest(tmp_path, {"kind": "trained encoder"})
    with pytest.raises(ModelError, match="holds trained encoder, not: index"):
        read_manifest(tmp_path, kind="index")
    (tmp_path / "manifest.json").write_text('{"kind": "ind')
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(tmp_path, kind="index")


def test_another_encoder_is_refused_with_both_fingerprints():
    require_same_encoder("aa", "aa", what="the index")
    with pytest.raises(FingerprintError, match="the index belongs to encoder bb.* aa"):
        require_same_encoder("aa", "bb", what="the index")
