"""Importers: from foreign layouts to a pairs directory. `IMPORTERS` maps a format's name to its importer."""

from limbeck.data.importers.base import Importer, ImportOptions, ImportReport
from limbeck.data.importers.coco import COCO
from limbeck.data.importers.flickr8k import FLICKR8K
from limbeck.data.importers.folder import FOLDER
from limbeck.data.importers.iaprtc12 import IAPRTC12
from limbeck.data.importers.karpathy import KARPATHY
from limbeck.data.importers.mirflickr import MIRFLICKR
from limbeck.data.importers.nuswide import NUSWIDE

IMPORTERS: dict[str, Importer] = {
    importer.name: importer for importer in (FOLDER, MIRFLICKR, FLICKR8K, KARPATHY, COCO, NUSWIDE, IAPRTC12)
}

__all__ = ["IMPORTERS", "ImportOptions", "ImportReport", "Importer"]
