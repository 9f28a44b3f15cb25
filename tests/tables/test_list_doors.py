"""Every list that a user hands in is read by the one reader: byte order marks, UTF-16, cp1252, line ends."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from limbeck.data.hierarchy import Tree
from limbeck.data.importers.base import FeatureSource, ImportReport, Source, attach_features
from limbeck.data.protocols import load_protocol
from limbeck.encoders.config import LabelFeaturesConfig
from limbeck.encoders.label_features import read_label_features
from limbeck.errors import InputNote
from limbeck.index.codes_file import read_ids
from limbeck.index.texts import read_texts
from limbeck.search.batch import read_queries

NAMES = ["é\u2028a", "b\x0b\x1cc", "d\u0085"]
PROTOCOL = """
name: mine
task: retrieval
text: {column: captions}
splits:
  query: {file: ids.txt, sha256: SHA}
  train: {column_value: train}
relevance: paired
metric: {ks: [1]}
validation: {size: 10, seed: 1}
"""


def ids(file: Path) -> list[str]:
    return read_ids(file)


def texts(file: Path) -> list[str]:
    return read_texts(file)


def queries(file: Path) -> list[str]:
    return [query.asked["text"] for query in read_queries(file)[0]]


def protocol(file: Path) -> list[str]:
    yaml = PROTOCOL.replace("SHA", hashlib.sha256(file.read_bytes()).hexdigest())
    (file.parent / "p.yaml").write_text(yaml)
    file.rename(file.parent / "ids.txt")
    return list(load_protocol(file.parent / "p.yaml").context.lists["query"])


def label_features(file: Path) -> list[str]:
    np.save(file.parent / "f.npy", np.ones((3, 2)))
    return read_label_features(LabelFeaturesConfig(file=str(file.parent / "f.npy"), names=str(file)))[1]


def feature_names(file: Path) -> list[str]:
    np.save(file.parent / "f.npy", np.ones((3, 2)))
    columns = {"id": NAMES[::-1]}
    attach_features(columns, (FeatureSource("f", file.parent / "f.npy", file),), ImportReport("x"))
    return [NAMES[::-1][columns["feature_row"].index(at)] for at in range(3)]


def lists_of_importers(file: Path) -> list[str]:
    return Source(file.parent).read_lines(file.name)


DOORS = [ids, texts, queries, protocol, label_features, feature_names, lists_of_importers]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.filterwarnings("ignore::limbeck.errors.InputNote")
def test_lists(tmp_path, door, encoding, end):
    wanted = NAMES if door not in (texts, queries) else [name.strip() for name in NAMES]
    (tmp_path / "l.txt").write_bytes(end.join([*NAMES, ""]).encode(encoding))
    assert door(tmp_path / "l.txt") == wanted


@pytest.mark.parametrize("door", [ids, texts, queries, protocol, label_features], ids=lambda d: d.__name__)
def test_another_encoding_is_said(tmp_path, door):
    (tmp_path / "l.txt").write_bytes("é\nb\nc\n".encode("cp1252"))
    with pytest.warns(InputNote, match=r"not UTF-8 \(line 1\); read as cp1252") as said:
        if door is queries:
            from limbeck.tables import warn_notes

            warn_notes(read_queries(tmp_path / "l.txt")[1])
        else:
            assert door(tmp_path / "l.txt") == ["é", "b", "c"]
    assert len(said) == 1


def test_a_tree(tmp_path):
    (tmp_path / "t.txt").write_bytes("\ufeffa é\r\na b # x\u2028y\r\n".encode())
    assert Tree.read(tmp_path / "t.txt").nodes == ["a", "é", "b"]


def test_importers_say_a_few_files_by_name(tmp_path):
    for at in range(5):
        (tmp_path / f"{at}.txt").write_bytes(b"\xe9")
    source = Source(tmp_path)
    assert [source.read_text(f"{at}.txt") for at in range(5)] == ["é"] * 5
    fix = "if letters look wrong, save the file as UTF-8"
    assert source.reading_notes() == [
        *(f"{at}.txt: is not UTF-8 (line 1); read as cp1252; {fix}" for at in range(3)),
        "2 further files were not UTF-8 either",
    ]
