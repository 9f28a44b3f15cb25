#!/usr/bin/env bash
# Install the wheel of dist/ (scripts/check_dist.sh builds it) with the extra train in an empty environment, which takes
# several GB. Train, evaluate, index and search with it, and run the tests of geometry, spaces, losses and methods.
#   scripts/check_train.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

wheel=$(ls dist/*.whl)
"$python" -m venv "$place/env"
"$place/env/bin/pip" install --quiet --no-cache-dir "${wheel}[train]" pytest hypothesis scipy
"$place/env/bin/python" - <<'PY'
import platform
from importlib.metadata import version

names = ("limbeck", "torch", "numba", "numpy", "transformers", "onnxruntime")
print("check-train: python", platform.python_version(), *(f"{name} {version(name)}" for name in names))
PY

mkdir "$place/work"
cat >"$place/work/codes.yaml" <<'YAML'
name: codes
data: {protocol: scenes/hashing}
towers: {image: {backbone: {kind: run, path: runs/clip}}, text: {backbone: {kind: run, path: runs/clip}}}
lift: {kind: binary, bits: 64, rotation: itq}
schedule: {steps: 0}
stages: {codes: {method: {name: binarize}}}
YAML
limbeck() { (cd "$place/work" && "$place/env/bin/limbeck" "$@" >>"$place/log" 2>&1) || { tail -20 "$place/log" >&2; exit 1; }; }
short=(schedule.epochs=1 stages.all.schedule.epochs=1 --data data/scenes)
limbeck data scenes data/scenes --n 300
limbeck train demo/student-meru "${short[@]}" --out runs/meru
limbeck train demo/student-clip "${short[@]}" --out runs/clip
limbeck train codes.yaml --data data/scenes --out runs/codes
for run in meru codes; do
    limbeck evaluate "runs/$run"
    limbeck index build data/scenes --model "runs/$run" --out "index/$run"
    limbeck search "index/$run" "a blue ring" -k 3
done
echo "check-train: trained, evaluated and searched"
OMP_NUM_THREADS=1 "$place/env/bin/python" -m pytest -m "not slow" -p no:cacheprovider tests/geometry tests/spaces tests/losses tests/methods
