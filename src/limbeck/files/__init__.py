"""The one writer: atomic files and directories, strict JSON, careful removal.

limbeck replaces and removes only what it wrote, and writes nothing through a link
(docs/design.md §3).
"""

from __future__ import annotations

from limbeck.files.atomic import atomic_dir, atomic_file, cannot_write, write_atomic
from limbeck.files.cachedir import cache_directory
from limbeck.files.directories import Kind, check_apart, check_directory_name, check_new_directory
from limbeck.files.durability import fsync_path, publish_new
from limbeck.files.fingerprint import sha256_file, sha256_json
from limbeck.files.jsontext import cannot_read, json_text, plain_json, read_json, write_json
from limbeck.files.names import check_name
from limbeck.files.recovery import interrupted_replacement
from limbeck.files.remove import check_plain, remove_leftovers, remove_tree
from limbeck.files.targets import STANDARD_OUTPUT, Target, check_target, target_of

__all__ = [
    "STANDARD_OUTPUT",
    "Kind",
    "Target",
    "atomic_dir",
    "atomic_file",
    "cache_directory",
    "cannot_read",
    "cannot_write",
    "check_apart",
    "check_directory_name",
    "check_name",
    "check_new_directory",
    "check_plain",
    "check_target",
    "fsync_path",
    "interrupted_replacement",
    "json_text",
    "plain_json",
    "publish_new",
    "read_json",
    "remove_leftovers",
    "remove_tree",
    "sha256_file",
    "sha256_json",
    "target_of",
    "write_atomic",
    "write_json",
]
