"""The reference of the library: which objects it shows; mkdocstrings fills in their docstrings."""

from __future__ import annotations

PAGES = {
    "python": (
        "Models, data, training",
        ["limbeck.encoders.load.load", "limbeck.encoders.dual.DualEncoder", "limbeck.training.run.train",
         "limbeck.evaluation.run.evaluate", "limbeck.data.pairs.Pairs", "limbeck.errors.LimbeckError"],
    ),
    "index": (
        "Index and search",
        ["limbeck.search.index.Index", "limbeck.search.queries.Term", "limbeck.search.hit.Hit",
         "limbeck.index.query.SearchOptions", "limbeck.index.facets.facets", "limbeck.index.facets.Facet",
         "limbeck.search.batch", "limbeck.index.export.export_index", "limbeck.index.compact.compact_index",
         "limbeck.index.remove.remove_items", "limbeck.client.Client", "limbeck.site.write.write_site"],
    ),
    "spaces": (
        "Spaces, codes, metrics",
        ["limbeck.spaces.sphere.Sphere", "limbeck.spaces.lorentz.Lorentz", "limbeck.spaces.euclid.Euclid",
         "limbeck.spaces.hamming.Hamming", "limbeck.codes.packing", "limbeck.codes.distances",
         "limbeck.codes.quantization", "limbeck.metrics.average_precision", "limbeck.metrics.ranks",
         "limbeck.metrics.precision_recall", "limbeck.metrics.statistics"],
    ),
    "extend": (
        "Parts of your own",
        ["limbeck.methods.base", "limbeck.encoders.backbone.Backbone", "limbeck.encoders.lifts.base.Lift",
         "limbeck.losses.contrastive", "limbeck.losses.hashing", "limbeck.losses.distillation",
         "limbeck.losses.entailment", "limbeck.geometry.lorentz"],
    ),
}  # fmt: skip


def page(name: str) -> str:
    """Return a page of references, in Markdown."""
    title, objects = PAGES[name]
    return "\n\n".join([f"# {title}", *(f"::: {path}" for path in objects), ""])
