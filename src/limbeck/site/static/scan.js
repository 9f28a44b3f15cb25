// Exact search in codes and vectors, as limbeck/index/exact.py: nearest first, ties by row.
(function (site) {
  "use strict";

  function ones(x) {
    x -= (x >>> 1) & 0x55555555;
    x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
    return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }

  // The words of a code, padded with zeros to whole words of 32 bits.
  function asWords(bytes, width) {
    const padded = new Uint8Array(4 * width);
    padded.set(bytes);
    return new Uint32Array(padded.buffer);
  }

  // A mask of the first bits of a code.
  function prefixMask(bits, width) {
    return asWords(Uint8Array.from({ length: Math.ceil(bits / 8) }, (_, i) => (256 - (256 >> Math.min(8, bits - 8 * i))) & 255), width);
  }

  class Codes {
    constructor(bytes, bits) {
      this.bits = bits;
      this.width = Math.ceil(bits / 32);
      this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      this.rows = this.words.length / this.width;
      this.distances = new Uint16Array(this.rows);
    }

    point(row) {
      return this.words.subarray(row * this.width, (row + 1) * this.width);
    }

    // How near a row is to a query, higher is nearer.
    nearness(query) {
      return (row) => {
        let d = 0;
        for (let i = 0; i < this.width; i++) d -= ones(this.words[row * this.width + i] ^ query[i]);
        return d;
      };
    }

    // The distance of two rows.
    apart(a, b) {
      let d = 0;
      for (let i = 0; i < this.width; i++) d += ones(this.words[a * this.width + i] ^ this.words[b * this.width + i]);
      return d;
    }

    // Fills `distances` and returns how many allowed rows have each distance.
    count(query, allowed, mask) {
      const { words, width, distances, rows } = this, counts = new Uint32Array(this.bits + 1);
      if (width === 2 && !allowed && !mask) {
        const [a, b] = query;
        for (let row = 0, at = 0; row < rows; row++, at += 2) {
          const d = ones(words[at] ^ a) + ones(words[at + 1] ^ b);
          distances[row] = d;
          counts[d]++;
        }
        return counts;
      }
      const compared = mask ?? prefixMask(this.bits, width);
      for (let row = 0, at = 0; row < rows; row++) {
        let d = 0;
        for (let i = 0; i < width; i++, at++) d += ones((words[at] ^ query[i]) & compared[i]);
        distances[row] = d;
        if (!allowed || allowed[row]) counts[d]++;
      }
      return counts;
    }

    // Returns the k nearest rows, or all within their distance where `ties` is true, and their distances.
    nearest(query, k, { allowed = null, excluded = [], bits = this.bits, ties = false } = {}) {
      const counts = this.count(query, allowed, bits < this.bits ? prefixMask(bits, this.width) : null);
      const { distances, rows } = this, gone = new Set(excluded);
      for (const row of gone) if (!allowed || allowed[row]) counts[distances[row]]--;
      let cut = 0, fewer = 0; // the k-th distance, and the number of nearer rows
      while (cut < this.bits && fewer + counts[cut] < k) fewer += counts[cut++];
      const starts = new Uint32Array(cut + 2);
      for (let d = 0; d <= cut; d++) starts[d + 1] = starts[d] + counts[d];
      const total = ties ? starts[cut + 1] : Math.min(k, starts[cut + 1]);
      const found = new Uint32Array(total), next = starts.slice();
      for (let row = 0; row < rows; row++) {
        const d = distances[row];
        if (d > cut || (allowed && !allowed[row]) || gone.has(row)) continue;
        if (next[d] < total) found[next[d]] = row;
        next[d]++;
      }
      return { rows: found, scores: Array.from(found, (row) => distances[row]) };
    }
  }

  const time = (x, curv) => Math.sqrt(1 / curv + x.reduce((sum, v) => sum + v * v, 0));

  // The score of a query with the row at a place, in float64 (`Space.rescore`).
  const SCORES = {
    sphere: (query) => (x, at) => {
      let sum = 0;
      for (let i = 0; i < query.length; i++) sum += query[i] * x[at + i];
      return sum;
    },
    euclid: (query) => (x, at) => {
      let sum = 0;
      for (let i = 0; i < query.length; i++) sum += (query[i] - x[at + i]) ** 2;
      return Math.sqrt(sum);
    },
    lorentz: (query, { curv }) => {
      const own = time(query, curv);
      return (x, at) => {
        let squares = 0, gap = 0, length = 0;
        for (let i = 0; i < query.length; i++) {
          const y = x[at + i], step = query[i] - y;
          squares += step * step;
          gap += step * (query[i] + y);
          length += y * y;
        }
        gap /= own + Math.sqrt(1 / curv + length);
        const z = Math.max((curv / 2) * (squares - gap * gap), 0);
        return (2 / Math.sqrt(curv)) * Math.asinh(Math.sqrt(z / 2));
      };
    },
    product: (query) => SCORES.sphere(query),
  };

  class Vectors {
    constructor(bytes, space) {
      this.space = space;
      this.width = space.dim;
      this.values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      this.rows = this.values.length / this.width;
      this.sign = space.name === "sphere" ? 1 : -1;
    }

    point(row) {
      return this.values.subarray(row * this.width, (row + 1) * this.width);
    }

    nearness(query) {
      const score = SCORES[this.space.name](query, this.space);
      return (row) => this.sign * score(this.values, row * this.width);
    }

    nearest(query, k, { allowed = null, excluded = [] } = {}) {
      const score = SCORES[this.space.name](query, this.space), gone = new Set(excluded);
      const scores = new Float64Array(this.rows), rows = [];
      for (let row = 0; row < this.rows; row++) {
        if ((allowed && !allowed[row]) || gone.has(row)) continue;
        scores[row] = score(this.values, row * this.width);
        rows.push(row);
      }
      const nearer = (a, b) => this.sign * (scores[b] - scores[a]) || a - b;
      const best = selected(rows, k, nearer);
      return { rows: best, scores: best.map((row) => scores[row]) };
    }
  }

  // The first k of the rows in an order: a cut by a sample, then a sort of what is left.
  function selected(rows, k, order) {
    if (rows.length > 20 * k + 1000) {
      const sample = rows.filter((_, i) => i % Math.ceil(rows.length / 500) === 0).sort(order);
      for (let at = Math.ceil((sample.length * k) / rows.length) + 3; at < sample.length; at *= 2) {
        const kept = rows.filter((row) => order(row, sample[at]) <= 0);
        if (kept.length >= k) return kept.sort(order).slice(0, k);
      }
    }
    return rows.sort(order).slice(0, k);
  }

  // Signs to a packed code, as `numpy.packbits`; sign(0) is +1.
  function signCode(numbers) {
    const bytes = new Uint8Array(Math.ceil(numbers.length / 8));
    numbers.forEach((x, i) => {
      if (x >= 0) bytes[i >> 3] |= 128 >> (i & 7);
    });
    return asWords(bytes, Math.ceil(numbers.length / 32));
  }

  // A code as ±1.
  function signs(words, bits) {
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    return Float32Array.from({ length: bits }, (_, i) => (bytes[i >> 3] & (128 >> (i & 7)) ? 1 : -1));
  }

  const length = (x) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

  // The weighted sum of vectors at their mean length (`Space.combine`); a column is added in ascending order.
  function weightedSum(weights, vectors) {
    if (vectors.length === 1 && weights[0] > 0) return Float64Array.from(vectors[0]);
    const total = Float64Array.from(vectors[0], (_, i) =>
      Float64Array.from(vectors, (v, t) => weights[t] * v[i]).sort().reduce((sum, x) => sum + x, 0));
    const sizes = vectors.map(length), added = (list) => Float64Array.from(list).sort().reduce((sum, x) => sum + x, 0);
    const reach = added(weights.map((w, t) => Math.abs(w) * sizes[t])), size = length(total);
    if (!(size > 1e-6 * reach))
      throw new site.text.QueryError("terms: they cancel out, so their sum has no direction; change a weight or a term", "E-SPACE-POINTS");
    return total.map((x) => x * (reach / added(weights.map(Math.abs)) / size));
  }

  const unit = (x) => {
    const size = length(x);
    return Float32Array.from(x, (v) => v / size);
  };

  function combine(space, weights, vectors) {
    if (space.name === "hamming") return Float32Array.from(weightedSum(weights, vectors.map(unit)));
    if (space.name !== "lorentz" || (vectors.length === 1 && weights[0] > 0))
      return Float32Array.from(weightedSum(weights, vectors));
    const root = Math.sqrt(space.curv);
    const tangent = vectors.map((x) => {
      const size = length(x), scale = size ? Math.asinh(root * size) / (root * size) : 1;
      return Float64Array.from(x, (v) => v * scale);
    });
    const total = weightedSum(weights, tangent), size = length(total);
    return Float32Array.from(total, (v) => (size ? (v * Math.sinh(root * size)) / (root * size) : v));
  }

  site.scan = { Codes, Vectors, SCORES, asWords, signCode, signs, combine, selected, unit };
})(((globalThis.limbeck ??= {}).site ??= {}));
