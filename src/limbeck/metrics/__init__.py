"""Compute metrics from arrays, without models, data sets or torch."""

from __future__ import annotations

from limbeck.metrics.average_precision import MapRules, MeanAveragePrecision, hamming_map, ranking_map
from limbeck.metrics.classification import (
    Accuracy,
    ClassAccuracy,
    best_classes,
    mean_per_class,
    top1,
)
from limbeck.metrics.code_health import CodeHealth, code_health
from limbeck.metrics.entailment_ranking import EntailmentRanking, entailment_ranking
from limbeck.metrics.hierarchy import Hierarchical, hierarchical
from limbeck.metrics.histograms import distance_histograms
from limbeck.metrics.ndcg import Ndcg, hamming_ndcg, ranking_ndcg
from limbeck.metrics.precision_recall import PrecisionRecall, precision_recall
from limbeck.metrics.ranks import (
    FirstRelevant,
    RecallAtK,
    first_relevant,
    median_rank,
    recall_at_k,
    retrieval_ranks,
)
from limbeck.metrics.statistics import (
    PairedTest,
    Summary,
    holm,
    paired_test,
    summarize,
)

__all__ = [
    "Accuracy",
    "ClassAccuracy",
    "CodeHealth",
    "EntailmentRanking",
    "FirstRelevant",
    "Hierarchical",
    "MapRules",
    "MeanAveragePrecision",
    "Ndcg",
    "PairedTest",
    "PrecisionRecall",
    "RecallAtK",
    "Summary",
    "best_classes",
    "code_health",
    "distance_histograms",
    "entailment_ranking",
    "first_relevant",
    "hamming_map",
    "hamming_ndcg",
    "hierarchical",
    "holm",
    "mean_per_class",
    "median_rank",
    "paired_test",
    "precision_recall",
    "ranking_map",
    "ranking_ndcg",
    "recall_at_k",
    "retrieval_ranks",
    "summarize",
    "top1",
]
