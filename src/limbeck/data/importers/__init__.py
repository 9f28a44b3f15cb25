"""Importers: from foreign layouts to a pairs directory, each a function with its own options."""

from limbeck.data.importers.base import FeatureSource, ImportOptions, ImportReport, PictureOptions
from limbeck.data.importers.coco import CocoOptions, import_coco
from limbeck.data.importers.flickr8k import import_flickr8k
from limbeck.data.importers.folder import import_folder
from limbeck.data.importers.folder_table import FolderOptions
from limbeck.data.importers.hierarcaps import import_hierarcaps
from limbeck.data.importers.iaprtc12 import import_iaprtc12
from limbeck.data.importers.karpathy import import_karpathy
from limbeck.data.importers.lists import ListsOptions, import_lists
from limbeck.data.importers.mat import MatOptions, import_mat
from limbeck.data.importers.mirflickr import MirflickrOptions, import_mirflickr
from limbeck.data.importers.nuswide import NuswideOptions, import_nuswide
from limbeck.data.importers.shards import ShardOptions, import_shards

__all__ = [
    "CocoOptions",
    "FeatureSource",
    "FolderOptions",
    "ImportOptions",
    "ImportReport",
    "ListsOptions",
    "MatOptions",
    "MirflickrOptions",
    "NuswideOptions",
    "PictureOptions",
    "ShardOptions",
    "import_coco",
    "import_flickr8k",
    "import_folder",
    "import_hierarcaps",
    "import_iaprtc12",
    "import_karpathy",
    "import_lists",
    "import_mat",
    "import_mirflickr",
    "import_nuswide",
    "import_shards",
]
