"""Metrics: arrays in, numbers out. No model, no data set, no torch."""

from __future__ import annotations

from limbeck.metrics.average_precision import MeanAveragePrecision, hamming_map, ranking_map
from limbeck.metrics.histograms import distance_histograms

__all__ = ["MeanAveragePrecision", "distance_histograms", "hamming_map", "ranking_map"]
