#!/usr/bin/env bash
# Build the wheel and the source distribution, install each with nothing else in an empty environment, and
# search with it. Writes dist/limbeck-sbom.json: what the base install holds (CycloneDX).
#   scripts/check_dist.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

rm -rf dist build/lib build/bdist.*
"$python" -m venv "$place/tools"
"$place/tools/bin/pip" install --quiet build cyclonedx-bom
"$place/tools/bin/python" -m build --outdir dist . >"$place/build.log" || { tail -20 "$place/build.log" >&2; exit 1; }

cat >"$place/try.py" <<'PY'
import sys
import numpy as np
import limbeck
from limbeck.cli import main

codes = np.random.default_rng(0).integers(0, 256, (50, 8), dtype=np.uint8)
np.save("codes.npy", codes)
open("ids.txt", "w").write("".join(f"item{n}\n" for n in range(50)))
for words in ("index build --codes codes.npy --ids ids.txt --out index", "search index --like item7 -k 3", "index info index"):
    sys.argv = ["limbeck", *words.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
assert "torch" not in sys.modules
print("searched with", limbeck.__version__, "from", limbeck.__file__)
PY

for file in dist/*.whl dist/*.tar.gz; do
    kind=${file##*.}
    "$python" -m venv "$place/$kind"
    "$place/$kind/bin/pip" install --quiet "$file"
    mkdir "$place/$kind-work"
    (cd "$place/$kind-work" && "$place/$kind/bin/python" "$place/try.py" >"$place/$kind.log" 2>&1) || { cat "$place/$kind.log" >&2; exit 1; }
    echo "check-dist: $(basename "$file"), $(du -h "$file" | cut -f 1): $(tail -1 "$place/$kind.log")"
done

"$place/tools/bin/cyclonedx-py" environment --pyproject pyproject.toml --output-format JSON \
    --output-file dist/limbeck-sbom.json "$place/whl/bin/python"
echo "check-dist: dist/limbeck-sbom.json names $("$python" -c "import json; print(len(json.load(open('dist/limbeck-sbom.json'))['components']))") packages"
