"""Class names through CLIP's own text tower: write the features, their names and a small grid that uses them.

    python benchmarks/clip_names.py FOLDER/coco_clip_a+cname.npy --out runs/clip-names
    limbeck grid runs/clip-names/grid.yaml --data runs/mirflickr --out runs/soda-names --jobs 2

FOLDER holds text features of CLIP ViT-B/32 for "a {name}" of COCO's 80 classes in their standard order (float, 80 x
512). Of MIRFlickr's labels bird, car, dog and people ("person") have a row; the others take the mean of stand-ins.
Rows: SODA with the sentence encoder, with CLIP's features and with these permuted over the classes, and the
multi-hot teacher; all 10,000 training pairs and 500 of them; three draws of the split.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import yaml

# fmt: off
WORDS = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie "
    "suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
STAND_INS = {
    "animals": ["bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"],
    "baby": ["person", "teddy_bear"], "female": ["person"], "male": ["person"], "people": ["person"],
    "portrait": ["person"], "flower": ["potted_plant", "vase"], "plant_life": ["potted_plant"],
    "tree": ["potted_plant", "bench"], "food": ["banana", "apple", "sandwich", "orange", "pizza", "donut", "cake"],
    "indoor": ["chair", "couch", "bed", "dining_table", "tv"],
    "transport": ["bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"],
    "structures": ["bench", "clock", "traffic_light", "stop_sign"], "water": ["boat", "surfboard"],
    "sea": ["surfboard"], "river": ["boat"], "lake": ["boat", "bird"], "sky": ["kite", "airplane"],
    "clouds": ["airplane", "kite", "bird"], "sunset": ["boat", "kite"], "night": ["traffic_light", "clock"],
}
# fmt: on
COCO = WORDS.split()


def rows(folder: Path) -> dict[str, Any]:
    """The grid's rows."""
    backbone = {"kind": "label_features", "aliases": STAND_INS}
    backbone |= {"file": str(folder / "features.npy"), "names": str(folder / "names.txt")}
    clip = {
        "stages.teacher.method.prompt.classes": "listed",
        "stages.teacher.towers": {"text": {"backbone": backbone}},
    }
    found: dict[str, Any] = {}
    for size in (10_000, 500):
        own = {"data.limit": size}
        said = f"{size:,}"
        found |= {
            f"soda-{size}": {"recipe": "soda/mirflickr", "label": f"sentence, {said}", "set": own},
            f"clip-{size}": {"recipe": "soda/mirflickr", "label": f"CLIP names, {said}", "set": own | clip},
            f"permuted-{size}": {
                "recipe": "soda/mirflickr",
                "label": f"CLIP names permuted, {said}",
                "set": own | clip | {"stages.teacher.method.prompt.permute": 1},
            },
            f"multihot-{size}": {
                "recipe": "soda/mirflickr-multihot",
                "label": f"multi-hot, {said}",
                "set": own,
            },
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/clip-names"))
    options = parser.parse_args()
    features = np.load(options.features, allow_pickle=False)
    if len(features) != len(COCO):
        parser.error(f"{options.features}: {len(features)} rows, COCO has {len(COCO)} classes")
    options.out.mkdir(parents=True, exist_ok=True)
    np.save(options.out / "features.npy", features)
    (options.out / "names.txt").write_text("\n".join(COCO) + "\n", encoding="utf-8")
    grid = {
        "name": "soda/grid-names",
        "note": "Class names through CLIP's text tower, 64 bits, three draws.",
        "seeds": [0, 1, 2],
        "protocols": ["mirflickr15k/dcmh", "mirflickr15k/dcmh@1", "mirflickr15k/dcmh@2"],
        "base": "sentence, 10,000",
        "shared": {"compute.precision": "auto"},
        "rows_to": "results/soda-names.jsonl.xz",
        "rows": rows(options.out),
    }
    (options.out / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False), encoding="utf-8")
    print(f"{options.out / 'grid.yaml'}: {len(grid['rows'])} rows")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
