// Answers a query of one or several terms as limbeck.Index does: the point of the query, the ranking, ties, folding.
(function (site) {
  "use strict";
  const { SCORES, asWords, combine, selected, signCode, signs } = site.scan;

  function half(bits) { // a number of 16 bits
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }

  // The float embeddings of codes (limbeck/spaces/kept.py): they order items of equal distance.
  class Kept {
    constructor(bytes, told) {
      this.told = told;
      this.space = told.space ?? { name: "product" };
      this.sign = this.space.name === "sphere" || this.space.name === "product" ? 1 : -1;
      this.halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
    }

    // A vector as a point of the space of the embeddings; null without numbers.
    restored(numbers) {
      if (!numbers || Number.isNaN(numbers[0])) return null;
      return this.space.name === "sphere" ? site.scan.unit(numbers) : Float32Array.from(numbers);
    }

    at(row) {
      const { width } = this.told;
      return this.restored(Float32Array.from(this.halves.subarray(row * width, (row + 1) * width), half));
    }

    sum(weights, vectors) {
      if (vectors.some((vector) => !vector)) return null;
      const directions = this.space.name === "product";
      const space = directions ? { name: "sphere" } : this.space;
      return combine(space, weights, directions ? vectors.map(site.scan.unit) : vectors);
    }
  }

  class Searcher {
    // told: the settings of the site; points: Codes or Vectors; kept: Kept or null; tower: gives a TextTower.
    constructor(told, points, kept, tower) {
      Object.assign(this, { told, points, kept, tower, isCodes: told.space.name === "hamming" });
      this.confidence = told.confidence && new site.Confidence(told.confidence, points);
    }

    async term({ text, row }) {
      const { points, kept, isCodes, told } = this;
      if (row !== undefined) {
        const point = points.point(row), floats = kept && kept.at(row);
        const own = kept && kept.told.of === "codes" ? floats : null;
        return { point, floats, numbers: isCodes ? own ?? signs(point, told.space.bits) : point };
      }
      const { embedding, floats } = (await this.tower()).encode(text);
      const point = isCodes ? signCode(embedding) : embedding;
      return { point, numbers: embedding, floats: kept && kept.told.text ? kept.restored(floats) : null };
    }

    // The point of a query, and its embedding: one term as it is, several as their sum.
    async query(terms) {
      const parts = [];
      for (const term of terms) parts.push(await this.term(term));
      if (terms.length === 1 && terms[0].weight > 0) return parts[0];
      const weights = terms.map((term) => term.weight), { kept, isCodes, told } = this;
      const total = combine(told.space, weights, parts.map((part) => part.numbers));
      const floats = kept && kept.sum(weights, parts.map((part) => part.floats));
      return { point: isCodes ? signCode(total) : total, floats: floats && kept.restored(floats) };
    }

    // The k nearest rows with their scores; equal distances go by the embeddings, then by row.
    rank({ point, floats }, k, options) {
      if (!this.kept || !floats) return this.points.nearest(point, k, options);
      const found = this.points.nearest(point, k, { ...options, ties: true });
      const score = SCORES[this.kept.space.name](floats, this.kept.space), ties = new Map();
      const rows = Array.from(found.rows), distance = new Map(rows.map((row, at) => [row, found.scores[at]]));
      for (const row of rows) {
        const own = this.kept.at(row);
        ties.set(row, own ? -this.kept.sign * score(own, 0) : Infinity);
      }
      const order = (a, b) => distance.get(a) - distance.get(b) || (ties.get(a) < ties.get(b) ? -1 : ties.get(a) > ties.get(b) ? 1 : a - b);
      const best = selected(rows, k, order);
      return { rows: best, scores: best.map((row) => distance.get(row)) };
    }

    // How far apart two items are, for folding (limbeck/search/alike.py).
    apart() {
      const { kept, points, told } = this, space = kept ? kept.space : told.space;
      const vector = (row) => (kept ? kept.at(row) : points.point(row));
      if (space.name === "hamming")
        return (a, b) => points.apart(a, b);
      const unit = space.name === "sphere" || space.name === "product";
      return (a, b) => {
        const x = vector(a), y = vector(b);
        if (!x || !y) return Infinity;
        const score = SCORES[unit ? "sphere" : space.name](unit ? site.scan.unit(x) : x, space)(unit ? site.scan.unit(y) : y, 0);
        return unit ? Math.sqrt(Math.max(2 - 2 * score, 0)) : score;
      };
    }

    // The first k groups of near-duplicates in a ranking, and whether more hits would change nothing.
    fold({ rows, scores }, k, apart) {
      const free = new Set(rows.keys()), groups = [];
      for (const first of rows.keys()) {
        if (groups.length === k) break;
        if (!free.delete(first)) continue;
        const near = [...free].filter((at) => apart(rows[first], rows[at]) <= this.told.within);
        near.forEach((at) => free.delete(at));
        groups.push({ row: rows[first], score: scores[first], near });
      }
      const end = free.size ? Math.min(...free) : rows.length;
      for (const group of groups) group.alike = group.near.filter((at) => at < end).map((at) => rows[at]);
      return { groups, settled: free.size > 0 };
    }

    // The groups with their confidence, which a query of a single term may have.
    sure(groups, terms, { point }) {
      const plain = terms.length === 1 && terms[0].weight > 0;
      const kind = terms[0].row === undefined ? "text" : "image";
      const sure = plain && this.confidence ? this.confidence.of(point, kind, groups.map(({ row }) => row)) : null;
      return groups.map((group, at) => ({ ...group, confidence: sure && sure[at] }));
    }

    // Returns {groups: [{row, score, alike, confidence}], ms} for terms of {text or row, weight}.
    async search(terms, k, { allowed = null, bits, fold = false } = {}) {
      const query = await this.query(terms), begun = performance.now();
      const options = { allowed, bits, excluded: terms.flatMap((term) => (term.row === undefined ? [] : [term.row])) };
      const answer = (groups) => ({ groups: this.sure(groups, terms, query), ms: performance.now() - begun });
      if (!fold) {
        const { rows, scores } = this.rank(query, k, options);
        return answer(Array.from(rows, (row, at) => ({ row, score: scores[at], alike: [] })));
      }
      const apart = this.apart();
      for (let wanted = 2 * k + 8; ; wanted *= 4) {
        const found = this.rank(query, wanted, options);
        const { groups, settled } = this.fold({ rows: Array.from(found.rows), scores: found.scores }, k, apart);
        if (settled || found.rows.length < wanted) return answer(groups);
      }
    }
  }

  Object.assign(site, { Kept, Searcher, half, asWords });
})(((globalThis.limbeck ??= {}).site ??= {}));
