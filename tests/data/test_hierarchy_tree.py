"""Is-a trees from files and from class paths, and everything that is no tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limbeck.data.hierarchy import Tree
from limbeck.data.synthetic import taxonomy
from limbeck.errors import LimbeckError


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "isa.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refused(call, *arguments) -> str:
    with pytest.raises(LimbeckError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_of_edges(tmp_path):
    text = "\ufeff# shapes\npolygon square  # so\n\n  polygon\ttriangle\r\nfigure polygon\npolygon square\n"
    tree = Tree.read(write(tmp_path, text))
    assert tree.root == "figure" and len(tree) == 4 and "square" in tree and "circle" not in tree
    assert tree.path("square") == ["figure", "polygon", "square"]
    assert tree.nodes[tree.parents[tree.numbers(["triangle"])[0]]] == "polygon"
    assert tree.parents[0] == -1 and (tree.parents[1:] < np.arange(1, 4)).all()


def test_hash_is_that_of_the_edges(tmp_path):
    first = Tree.read(write(tmp_path, "a b\na c\n")).edges_hash
    assert Tree.read(write(tmp_path, "# other lines\na c\na b\na b\n")).edges_hash == first
    assert Tree.from_paths([["a", "c"], ["a", "b"]]).edges_hash == first
    assert Tree.read(write(tmp_path, "a b\nb c\n")).edges_hash != first


def test_a_hash_sign_within_a_name_is_no_comment(tmp_path):
    assert "c#" in Tree.read(write(tmp_path, "language c#\n"))


def test_paths_of_scenes_make_their_taxonomy():
    tree = Tree.from_paths([taxonomy.class_path(shape) for shape in taxonomy.SHAPES])
    assert tree.root == "figure" and len(tree) == 13
    for name in tree.nodes[1:]:
        assert tree.nodes[tree.parents[tree.numbers([name])[0]]] == taxonomy.PARENT[name]


def test_paths_may_be_empty_repeated_and_end_anywhere():
    tree = Tree.from_paths([[], ["a", "b", "c"], ["a", "b"], ["a", "b", "c"], ["b", "d"]])
    assert tree.path("d") == ["a", "b", "d"] and len(tree) == 4
    assert len(Tree.from_paths([["alone"]])) == 1


def test_a_long_chain_is_no_trouble(tmp_path):
    text = "".join(f"n{i} n{i + 1}\n" for i in reversed(range(5000)))
    assert len(Tree.read(write(tmp_path, text)).path("n5000")) == 5001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r a\na b\nb c\nc a\n", ["isa.txt, line ", "own ancestor (", "a → b", "remove one edge"]),
        ("a a\n", ["line 1: 'a' is its own ancestor (a → a)"]),
        ("a b\nb a\n", ["own ancestor"]),
        ("a b\nc d\n", ["isa.txt: has two roots, 'a' and 'c'; add a node above"]),
        ("a b\nc d\ne f\n", ["two roots, 'a' and 'c' (and 1 more)"]),
        ("r a\nr b\na x\nb x\n", ["line 4: 'x' is below 'b' and below 'a'", "one parent"]),
        ("a b\nc\n", ["line 2: 'c' has 1 word, not 2", "parent child"]),
        ("a b c\n", ["line 1: 'a b c' has 3 words", "_ for a blank"]),
        ("\n# nothing\n", ["contains no edge"]),
        ("", ["contains no edge"]),
        (b"\xff\xfe\x00a", ["line 1: '\u6100' has 1 word"]),
    ],
)
def test_no_tree_is_one_line(tmp_path, text, words):
    said = refused(Tree.read, write(tmp_path, text))
    for word in words:
        assert word in said


def test_a_long_cycle_is_shown_short(tmp_path):
    said = refused(Tree.read, write(tmp_path, "".join(f"n{i} n{(i + 1) % 500}\n" for i in range(500))))
    assert "…" in said and len(said) < 250


def test_no_file(tmp_path):
    assert "no such file" in refused(Tree.read, tmp_path / "none.txt")
    assert "is a folder" in refused(Tree.read, tmp_path)


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        ([[], []], "no class path"),
        ([["animal", "bat"], ["tool", "hammer"]], "two roots, 'animal' and 'tool'"),
        ([["a", "a > b"], ["a", "a", "b"], ["a", "b"]], "'a > b' names two nodes"),
    ],
)
def test_paths_that_make_no_tree(paths, word):
    assert word in refused(Tree.from_paths, paths, "pairs")


def test_equal_names_on_two_levels_are_two_nodes():
    tree = Tree.from_paths([["r", "A", "A"], ["r", "A", "b"], ["r", "tool", "b"]])
    assert tree.path("r > A > A") == ["r", "r > A", "r > A > A"]
    assert tree.path("r > A > b")[1] == "r > A" and tree.path("r > tool > b")[1] == "tool"
    assert len(tree) == 6
    # names that stand once are as they were, so that hashes of trees stay
    assert Tree.from_paths([["a", "b"], ["a", "c"]]).nodes == ["a", "b", "c"]


def test_an_unknown_class_names_its_neighbour():
    tree = Tree.from_paths([["figure", "triangle"], ["figure", "circle"]])
    assert "did you mean 'circle'?" in refused(tree.numbers, ["circles"])
    assert "class 'zebra' is not in the tree; add an edge" in refused(tree.numbers, ["zebra"])


def test_imagenet(shared_data):
    tree = Tree.read(shared_data / "imagenet_isa.txt")
    leaves = set(range(len(tree))) - set(tree.parents.tolist())
    assert (len(tree), len(leaves), tree.root) == (1372, 1000, "n00001930")
