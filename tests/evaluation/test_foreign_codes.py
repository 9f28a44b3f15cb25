from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from limbeck.codes import unpack_bits
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate, evaluate_codes
from limbeck.evaluation.encode import encode_pictures, encode_texts
from raising import raises_code


@pytest.fixture
def arrays(coder, pairs: Pairs, hashing: Protocol) -> dict[str, np.ndarray]:
    found = {}
    splits = resolve_splits(hashing, pairs)
    for name, part in (("query", splits.query), ("database", splits.database)):
        found[f"{name}_image"] = encode_pictures(coder, pairs, part.rows).points
        found[f"{name}_text"] = encode_texts(coder, part.texts, part.rows).points
    return found


def with_labels(arrays: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    return arrays | {"query_labels": labels[:20], "database_labels": labels[20:].astype(np.int64)}


def test_equal_to_the_encoder_itself(
    tmp_path: Path, coder, arrays: dict[str, np.ndarray], pairs: Pairs, hashing: Protocol, labels: np.ndarray
) -> None:
    own = evaluate(coder, pairs, hashing)
    np.savez(tmp_path / "codes.npz", **arrays)
    signs = {name: unpack_bits(codes).astype(np.float32) for name, codes in arrays.items()}
    save_file(signs, str(tmp_path / "codes.safetensors"))
    for name, codes in arrays.items():
        (tmp_path / "set").mkdir(exist_ok=True)
        np.save(tmp_path / "set" / f"{name}.npy", codes)
    for source in ("codes.npz", "codes.safetensors", "set"):
        found = evaluate_codes(tmp_path / source, pairs, hashing)
        assert found.metrics == {
            name: {n: v for n, v in group.items() if n != "map_asymmetric"}  # codes have no real numbers
            for name, group in own.metrics.items()
        }
        assert found.protocol_hash == own.protocol_hash
        assert found.bits == 16


def test_labels_in_the_file(
    tmp_path: Path, arrays: dict[str, np.ndarray], pairs: Pairs, hashing: Protocol, labels: np.ndarray
) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)
    np.savez(tmp_path / "labelled.npz", **with_labels(arrays, labels))
    own = evaluate_codes(tmp_path / "codes.npz", pairs, hashing)
    found = evaluate_codes(tmp_path / "labelled.npz", json=tmp_path / "result.json")
    assert found.metrics["i2t"]["map"] == own.metrics["i2t"]["map"]
    assert found.protocol_hash != own.protocol_hash  # nobody checked that these are the protocol's rows
    assert (tmp_path / "result.json").exists()


def test_one_direction_is_enough(tmp_path: Path, arrays: dict[str, np.ndarray], pairs, hashing) -> None:
    del arrays["query_text"], arrays["database_image"]
    np.savez(tmp_path / "codes.npz", **arrays)
    assert list(evaluate_codes(tmp_path / "codes.npz", pairs, hashing).metrics) == ["i2t"]
    del arrays["database_text"]
    np.savez(tmp_path / "codes.npz", **arrays)
    with raises_code("E-CODES-ARRAYS", "database_text"):
        evaluate_codes(tmp_path / "codes.npz", pairs, hashing)


def test_another_row_count_names_both(tmp_path: Path, arrays: dict[str, np.ndarray], pairs, hashing) -> None:
    short = {name: codes[:-1] if name.startswith("database") else codes for name, codes in arrays.items()}
    np.savez(tmp_path / "codes.npz", **short)
    with raises_code("E-ARRAY-ROWS", "69 rows", "70"):
        evaluate_codes(tmp_path / "codes.npz", pairs, hashing)


def refused(path: Path, word: str) -> None:
    with pytest.raises(LimbeckError, match=word) as caught:
        evaluate_codes(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_pickles_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name in ("codes.pkl", "codes.npz", "codes.dat"):
        (tmp_path / name).write_bytes(pickle.dumps(arrays))
        refused(tmp_path / name, "pickle")
    np.savez(tmp_path / "objects.npz", query_image=np.array([{1: 2}], dtype=object))
    refused(tmp_path / "objects.npz", "pickle")
    torch = pytest.importorskip("torch")
    torch.save({"query_image": torch.zeros(2, 8)}, tmp_path / "saved.npz")
    refused(tmp_path / "saved.npz", "pickle")


def test_bad_arrays_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], labels: np.ndarray) -> None:
    good = with_labels(arrays, labels)
    cases = {
        "array 'extra' is unknown": {"extra": good["query_image"]},
        "holds only 0 and 1": {"query_image": np.zeros((20, 16))},
        "only 0 and 1": {"query_image": np.eye(20, 16, dtype=np.uint8)},
        "shape": {"query_image": np.zeros(20, np.uint8)},
        "several lengths": {"query_image": np.zeros((20, 4), np.uint8)},
        "multiple of 8": {"query_image": np.ones((20, 12))},
        "row counts differ": {"query_labels": labels[:19]},
        "classes": {"query_labels": labels[:20, :3]},
        "labels are": {"query_labels": np.full((20, 6), 2)},
    }
    for word, change in cases.items():
        np.savez(tmp_path / "codes.npz", **(good | change))
        refused(tmp_path / "codes.npz", word)
    np.savez(tmp_path / "codes.npz", **arrays)
    refused(tmp_path / "codes.npz", "--data")
    (tmp_path / "codes.npz").write_bytes(b"PK\x03\x04 cut short")
    refused(tmp_path / "codes.npz", "cannot read|pickle")
    (tmp_path / "codes.safetensors").write_bytes(b"short")
    refused(tmp_path / "codes.safetensors", "cannot read")
    refused(tmp_path / "missing.npz", "no such file")


def test_command_line_never_imports_torch(
    tmp_path: Path, arrays: dict[str, np.ndarray], labels: np.ndarray
) -> None:
    np.savez(tmp_path / "codes.npz", **with_labels(arrays, labels))
    script = (
        "import sys; sys.argv = ['limbeck', 'evaluate', '--codes', sys.argv[1], '--json', sys.argv[2]]\n"
        "from limbeck.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "codes.npz"), str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "mAP" in done.stdout
    assert (tmp_path / "result.json").exists()
