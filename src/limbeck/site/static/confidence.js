// The probability that a hit is right, from the curves of an index (limbeck/index/confidence.py).
(function (site) {
  "use strict";

  // Straight lines between [x, y] in ascending order.
  function between(knots, x) {
    let at = 0;
    while (at < knots.length && knots[at][0] <= x) at++;
    if (at === 0) return knots[0][1];
    if (at === knots.length) return knots[at - 1][1];
    const [[x0, y0], [x1, y1]] = [knots[at - 1], knots[at]];
    return ((y1 - y0) / (x1 - x0)) * (x - x0) + y0;
  }

  class Confidence {
    // told: the curves by kind of query, the random items that a hit has to stand out from, and the depth: ranks
    // beyond it count as it.
    constructor(told, points) {
      Object.assign(this, { told, points });
    }

    // Returns the probability of each of the rows of a query; null where its kind has no curve.
    of(point, kind, rows) {
      const curve = this.told.curves[kind];
      if (!curve) return null;
      const nearness = this.points.nearness(point), sample = this.told.rows.map(nearness);
      const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length;
      const spread = Math.sqrt(sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sample.length);
      const near = rows.map(nearness), sure = new Array(rows.length);
      const order = [...near.keys()].sort((a, b) => near[b] - near[a] || a - b);
      order.forEach((at, rank) => {
        const margin = (near[at] - mean) / Math.max(spread, 1e-9);
        const [constant, own, standing, ranked] = curve.weights;
        const sum = constant + own * near[at] + standing * margin + ranked * Math.log1p(Math.min(rank, this.told.depth));
        sure[at] = between(curve.knots, sum);
      });
      return sure;
    }
  }

  site.Confidence = Confidence;
})(((globalThis.limbeck ??= {}).site ??= {}));
