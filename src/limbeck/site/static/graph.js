// Runs the graph of a text tower (limbeck/site/graph.py): the ONNX operators that limbeck's towers use.
// A tensor is {d: typed array, s: shape}. Each operator rounds its result to float32, as ONNX Runtime does; sums
// are made in float64, so that their rounding does not depend on an order.
(function (site) {
  "use strict";
  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  const floats = (shape) => ({ d: new Float32Array(size(shape)), s: shape });
  const ints = (values) => ({ d: Int32Array.from(values), s: [values.length] });
  const axisOf = (axis, rank) => (axis < 0 ? axis + rank : axis);

  function strides(shape) {
    const out = new Array(shape.length);
    for (let i = shape.length - 1, n = 1; i >= 0; n *= shape[i--]) out[i] = n;
    return out;
  }

  function broadcastShape(a, b) {
    const out = [];
    for (let i = 1; i <= Math.max(a.length, b.length); i++) {
      const x = a[a.length - i] ?? 1, y = b[b.length - i] ?? 1;
      if (x !== y && x !== 1 && y !== 1) throw new Error(`shapes ${a} and ${b} do not fit`);
      out.unshift(x === 1 ? y : x);
    }
    return out;
  }

  // The places in a tensor of the elements of a larger shape, in their order.
  function places(from, to) {
    if (from.length === to.length && from.every((n, i) => n === to[i])) return null;
    const own = strides(from), out = new Int32Array(size(to)), lead = to.length - from.length;
    const step = to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : own[i - lead]));
    const at = new Array(to.length).fill(0);
    for (let n = 0, p = 0; n < out.length; n++) {
      out[n] = p;
      for (let i = to.length - 1; i >= 0; i--) {
        p += step[i];
        if (++at[i] < to[i]) break;
        p -= step[i] * to[i];
        at[i] = 0;
      }
    }
    return out;
  }

  // Whether a shape repeats along the first axes of a larger one.
  const isTail = (from, to) => {
    const own = from.slice(from.findIndex((n) => n !== 1)), lead = to.length - own.length;
    return from.every((n) => n === 1) || own.every((n, i) => n === to[lead + i]);
  };

  const binary = (f, kind) => (a, b) => {
    const s = broadcastShape(a.s, b.s), d = new (kind ?? a.d.constructor)(size(s)), x = a.d, y = b.d;
    if (x.length === d.length && isTail(b.s, s)) { // most often: equal shapes, a bias, or one number
      for (let n = 0; n < d.length; ) for (let m = 0; m < y.length; m++, n++) d[n] = f(x[n], y[m]);
      return { d, s };
    }
    const i = places(a.s, s), j = places(b.s, s);
    for (let n = 0; n < d.length; n++) d[n] = f(a.d[i ? i[n] : n], b.d[j ? j[n] : n]);
    return { d, s };
  };
  const unary = (f, kind) => (a) => {
    const d = new (kind ?? a.d.constructor)(a.d.length);
    for (let n = 0; n < d.length; n++) d[n] = f(a.d[n]);
    return { d, s: a.s };
  };
  const divided = (x, y) => x / y;
  const wholes = (x, y) => Math.trunc(x / y);

  function erf(x) { // Taylor series near 0, continued fraction of erfc elsewhere: float64 to 1e-15
    const t = Math.abs(x);
    if (t < 3) {
      let term = t, sum = t;
      for (let n = 1; Math.abs(term) > 1e-18 * sum && n < 200; n++) {
        term *= (-t * t) / n;
        sum += term / (2 * n + 1);
      }
      return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
    }
    let f = 0;
    for (let n = 60; n > 0; n--) f = n / 2 / (t + f);
    return Math.sign(x) * (1 - Math.exp(-t * t) / (Math.sqrt(Math.PI) * (t + f)));
  }

  // Adds four rows of a matrix, each times a number; rows for words that a text lacks are skipped.
  function addRows(row, a, i, b, j, n) {
    const v0 = a[i], v1 = a[i + 1], v2 = a[i + 2], v3 = a[i + 3];
    if (v0 === 0 && v1 === 0 && v2 === 0 && v3 === 0) return;
    const j1 = j + n, j2 = j1 + n, j3 = j2 + n;
    for (let o = 0; o < n; o++) row[o] += v0 * b[j + o] + v1 * b[j1 + o] + v2 * b[j2 + o] + v3 * b[j3 + o];
  }

  function matmul(a, b) {
    const x = a.s.length === 1 ? [1, ...a.s] : a.s, y = b.s.length === 1 ? [...b.s, 1] : b.s;
    const [m, k] = x.slice(-2), n = y[y.length - 1];
    const lead = broadcastShape(x.slice(0, -2), y.slice(0, -2));
    const i = places(x.slice(0, -2), lead), j = places(y.slice(0, -2), lead);
    const out = floats([...lead, m, n]), row = new Float64Array(n);
    for (let batch = 0; batch < size(lead); batch++) {
      const p = (i ? i[batch] : batch) * m * k, q = (j ? j[batch] : batch) * k * n;
      for (let r = 0; r < m; r++) {
        row.fill(0);
        let c = 0;
        for (let at = p + r * k; c + 4 <= k; c += 4) addRows(row, a.d, at + c, b.d, q + c * n, n);
        for (; c < k; c++) for (let o = 0, v = a.d[p + r * k + c], at = q + c * n; o < n; o++) row[o] += v * b.d[at + o];
        out.d.set(row, (batch * m + r) * n);
      }
    }
    if (b.s.length === 1) out.s.pop();
    if (a.s.length === 1) out.s.splice(b.s.length === 1 ? -1 : -2, 1);
    return out;
  }

  function transpose(a, perm) {
    const own = strides(a.s), s = perm.map((p) => a.s[p]), out = { d: new a.d.constructor(a.d.length), s };
    const step = perm.map((p) => own[p]), at = new Array(s.length).fill(0);
    for (let n = 0, p = 0; n < out.d.length; n++) {
      out.d[n] = a.d[p];
      for (let i = s.length - 1; i >= 0; i--) {
        p += step[i];
        if (++at[i] < s[i]) break;
        p -= step[i] * s[i];
        at[i] = 0;
      }
    }
    return out;
  }

  // Calls f with the stretches along one axis: (place of the first element, step, number of the stretch).
  function along(shape, axis, f) {
    const inner = size(shape.slice(axis + 1)), count = shape[axis], outer = size(shape.slice(0, axis));
    for (let o = 0, n = 0; o < outer; o++) for (let i = 0; i < inner; i++) f(o * count * inner + i, inner, n++);
  }

  function reduce(a, axes, keep, start, add, finish) {
    const rank = a.s.length, over = new Set((axes ?? a.s.map((_, i) => i)).map((x) => axisOf(x, rank)));
    const s = a.s.map((n, i) => (over.has(i) ? 1 : n)), own = strides(s);
    const step = s.map((_, i) => (over.has(i) ? 0 : own[i])), sums = new Float64Array(size(s)).fill(start);
    const at = new Array(rank).fill(0);
    for (let n = 0, p = 0; n < a.d.length; n++) {
      sums[p] = add(sums[p], a.d[n]);
      for (let i = rank - 1; i >= 0; i--) {
        p += step[i];
        if (++at[i] < a.s[i]) break;
        p -= step[i] * a.s[i];
        at[i] = 0;
      }
    }
    const count = a.d.length / sums.length, d = new a.d.constructor(sums.length);
    for (let n = 0; n < d.length; n++) d[n] = finish(sums[n], count);
    return { d, s: keep ? s : s.filter((_, i) => !over.has(i)) };
  }
  const reducer = (start, add, finish) => (a, axes, attrs) =>
    reduce(a, axes ? Array.from(axes.d) : attrs.axes, attrs.keepdims ?? 1, start, add, finish);

  function slice(a, starts, ends, axes, steps) {
    const rank = a.s.length, s = [...a.s], from = new Array(rank).fill(0), by = new Array(rank).fill(1);
    starts.d.forEach((start, i) => {
      const axis = axisOf(axes ? axes.d[i] : i, rank), step = steps ? steps.d[i] : 1, n = a.s[axis];
      const clamp = (x) => Math.min(Math.max(x < 0 ? x + n : x, step < 0 ? -1 : 0), step < 0 ? n - 1 : n);
      from[axis] = clamp(start);
      by[axis] = step;
      s[axis] = Math.max(0, Math.ceil((clamp(ends.d[i]) - from[axis]) / step));
    });
    const own = strides(a.s), out = { d: new a.d.constructor(size(s)), s }, at = new Array(rank).fill(0);
    for (let n = 0; n < out.d.length; n++) {
      let p = 0;
      for (let i = 0; i < rank; i++) p += (from[i] + at[i] * by[i]) * own[i];
      out.d[n] = a.d[p];
      for (let i = rank - 1; i >= 0 && ++at[i] === s[i]; i--) at[i] = 0;
    }
    return out;
  }

  function concat(parts, axis) {
    const at = axisOf(axis, parts[0].s.length), s = [...parts[0].s];
    s[at] = parts.reduce((n, part) => n + part.s[at], 0);
    const out = { d: new parts[0].d.constructor(size(s)), s }, outer = size(s.slice(0, at));
    for (let o = 0, p = 0; o < outer; o++)
      for (const part of parts) {
        const n = part.d.length / outer;
        out.d.set(part.d.subarray(o * n, (o + 1) * n), p);
        p += n;
      }
    return out;
  }

  function reshape(a, wanted) {
    const s = wanted.map((n, i) => (n === 0 ? a.s[i] : n)), open = s.indexOf(-1);
    if (open >= 0) s[open] = a.d.length / -size(s);
    return { d: a.d, s };
  }

  function unsqueeze(a, axes) {
    const rank = a.s.length + axes.length, at = new Set(axes.map((x) => axisOf(x, rank))), s = [];
    for (let i = 0, n = 0; i < rank; i++) s.push(at.has(i) ? 1 : a.s[n++]);
    return { d: a.d, s };
  }

  function gather(a, index, axis) {
    const at = axisOf(axis, a.s.length), inner = size(a.s.slice(at + 1)), outer = size(a.s.slice(0, at));
    const s = [...a.s.slice(0, at), ...index.s, ...a.s.slice(at + 1)];
    const out = { d: new a.d.constructor(size(s)), s };
    for (let o = 0, p = 0; o < outer; o++)
      for (const place of index.d) {
        const from = (o * a.s[at] + axisOf(place, a.s[at])) * inner;
        for (let i = 0; i < inner; i++) out.d[p++] = a.d[from + i];
      }
    return out;
  }

  function gatherElements(a, index, axis) {
    const at = axisOf(axis, a.s.length), own = strides(a.s), other = strides(index.s);
    const d = new a.d.constructor(index.d.length);
    for (let n = 0; n < d.length; n++) {
      let p = 0;
      for (let i = 0; i < a.s.length; i++) {
        const place = Math.floor(n / other[i]) % index.s[i];
        p += own[i] * (i === at ? axisOf(index.d[n], a.s[at]) : place);
      }
      d[n] = a.d[p];
    }
    return { d, s: index.s };
  }

  function softmax(a, axis) {
    const out = floats(a.s), at = axisOf(axis, a.s.length), count = a.s[at];
    along(a.s, at, (start, step) => {
      let most = -Infinity, sum = 0;
      for (let i = 0; i < count; i++) most = Math.max(most, a.d[start + i * step]);
      for (let i = 0; i < count; i++) sum += Math.exp(a.d[start + i * step] - most);
      for (let i = 0; i < count; i++) out.d[start + i * step] = Math.exp(a.d[start + i * step] - most) / sum;
    });
    return out;
  }

  function layerNorm(a, weight, bias, attrs) {
    const at = axisOf(attrs.axis ?? -1, a.s.length), n = size(a.s.slice(at)), out = floats(a.s);
    for (let start = 0; start < a.d.length; start += n) {
      let mean = 0, square = 0;
      for (let i = 0; i < n; i++) mean += a.d[start + i];
      mean /= n;
      for (let i = 0; i < n; i++) square += (a.d[start + i] - mean) ** 2;
      const scale = 1 / Math.sqrt(square / n + (attrs.epsilon ?? 1e-5));
      for (let i = 0; i < n; i++)
        out.d[start + i] = (a.d[start + i] - mean) * scale * weight.d[i] + (bias ? bias.d[i] : 0);
    }
    return out;
  }

  function argMax(a, attrs) {
    const at = axisOf(attrs.axis ?? 0, a.s.length), s = [...a.s], d = new Int32Array(a.d.length / a.s[at]);
    along(a.s, at, (start, step, n) => {
      for (let i = 1; i < a.s[at]; i++)
        if (a.d[start + i * step] > a.d[start + d[n] * step]) d[n] = i;
    });
    if (attrs.keepdims ?? 1) s[at] = 1;
    else s.splice(at, 1);
    return { d, s };
  }

  function gemm(a, b, c, attrs) {
    const product = matmul(attrs.transA ? transpose(a, [1, 0]) : a, attrs.transB ? transpose(b, [1, 0]) : b);
    const alpha = attrs.alpha ?? 1, beta = attrs.beta ?? 1;
    const scaled = alpha === 1 ? product : unary((x) => alpha * x)(product);
    return c ? binary((x, y) => x + beta * y)(scaled, c) : scaled;
  }

  const KINDS = { 1: Float32Array, 2: Uint8Array, 3: Int8Array, 6: Int32Array, 7: Int32Array, 9: Uint8Array, 11: Float32Array };

  function cast(a, to) {
    if (to === 9) return unary((x) => (x ? 1 : 0), Uint8Array)(a);
    return a.d instanceof KINDS[to] ? a : { d: KINDS[to].from(a.d), s: a.s };
  }

  function where(choose, a, b) {
    const s = broadcastShape(choose.s, broadcastShape(a.s, b.s)), d = new a.d.constructor(size(s));
    const [i, j, k] = [choose, a, b].map((x) => places(x.s, s));
    for (let n = 0; n < d.length; n++) d[n] = choose.d[i ? i[n] : n] ? a.d[j ? j[n] : n] : b.d[k ? k[n] : n];
    return { d, s };
  }

  function range(start, limit, step) {
    const values = [];
    for (let x = start.d[0]; step.d[0] > 0 ? x < limit.d[0] : x > limit.d[0]; x += step.d[0]) values.push(x);
    return { d: start.d.constructor.from(values), s: [values.length] };
  }

  // An operator gets its inputs and then its attributes.
  const OPERATORS = {
    Add: (a, b) => binary((x, y) => x + y)(a, b),
    Sub: (a, b) => binary((x, y) => x - y)(a, b),
    Mul: (a, b) => binary((x, y) => x * y)(a, b),
    Div: (a, b) => binary(a.d instanceof Float32Array ? divided : wholes)(a, b),
    Pow: (a, b) => binary((x, y) => x ** y)(a, b),
    Less: (a, b) => binary((x, y) => (x < y ? 1 : 0), Uint8Array)(a, b),
    LessOrEqual: (a, b) => binary((x, y) => (x <= y ? 1 : 0), Uint8Array)(a, b),
    Greater: (a, b) => binary((x, y) => (x > y ? 1 : 0), Uint8Array)(a, b),
    GreaterOrEqual: (a, b) => binary((x, y) => (x >= y ? 1 : 0), Uint8Array)(a, b),
    Equal: (a, b) => binary((x, y) => (x === y ? 1 : 0), Uint8Array)(a, b),
    And: (a, b) => binary((x, y) => x & y)(a, b),
    Or: (a, b) => binary((x, y) => x | y)(a, b),
    Not: unary((x) => (x ? 0 : 1)),
    Floor: unary(Math.floor), Ceil: unary(Math.ceil), Mod: (a, b) => binary((x, y) => x - y * Math.floor(x / y))(a, b),
    Abs: unary(Math.abs), Neg: unary((x) => -x), Sqrt: unary(Math.sqrt), Exp: unary(Math.exp), Log: unary(Math.log),
    Tanh: unary(Math.tanh), Sigmoid: unary((x) => 1 / (1 + Math.exp(-x))), Relu: unary((x) => Math.max(x, 0)),
    Erf: unary(erf), Reciprocal: unary((x) => 1 / x), Sinh: unary(Math.sinh), Cosh: unary(Math.cosh),
    Asinh: unary(Math.asinh), Acosh: unary(Math.acosh), Atanh: unary(Math.atanh), Sin: unary(Math.sin),
    Cos: unary(Math.cos), IsNaN: unary((x) => (Number.isNaN(x) ? 1 : 0), Uint8Array), Identity: (a) => a,
    Clip: (a, low, high) => unary((x) => Math.min(Math.max(x, low?.d ? low.d[0] : -Infinity), high?.d ? high.d[0] : Infinity))(a),
    Cast: (a, attrs) => cast(a, attrs.to),
    Where: where, MatMul: (a, b) => matmul(a, b), Gemm: (...x) => gemm(x[0], x[1], x.length > 3 ? x[2] : null, x[x.length - 1]),
    Shape: (a) => ints(a.s), Reshape: (a, to) => reshape(a, Array.from(to.d)),
    Unsqueeze: (a, axes) => unsqueeze(a, Array.from(axes.d)),
    Squeeze: (a, axes) => {
      const at = axes.d && new Set(Array.from(axes.d, (x) => axisOf(x, a.s.length)));
      return { d: a.d, s: a.s.filter((n, i) => (at ? !at.has(i) : n !== 1)) };
    },
    Flatten: (a, attrs) => {
      const outer = size(a.s.slice(0, attrs.axis ?? 1));
      return { d: a.d, s: [outer, a.d.length / outer] };
    },
    Transpose: (a, attrs) => transpose(a, attrs.perm ?? a.s.map((_, i) => a.s.length - 1 - i)),
    Concat: (...x) => concat(x.slice(0, -1), x[x.length - 1].axis),
    Slice: (a, starts, ends, axes, steps) => slice(a, starts, ends, axes?.d ? axes : null, steps?.d ? steps : null),
    Gather: (a, index, attrs) => gather(a, index, attrs.axis ?? 0),
    GatherElements: (a, index, attrs) => gatherElements(a, index, attrs.axis ?? 0),
    Range: range,
    Expand: (a, to) => {
      const s = broadcastShape(a.s, Array.from(to.d)), i = places(a.s, s);
      return i ? { d: a.d.constructor.from(i, (p) => a.d[p]), s } : a;
    },
    ConstantOfShape: (to, attrs) => {
      const s = Array.from(to.d), value = attrs.value ?? { d: new Float32Array(1) };
      return { d: new value.d.constructor(size(s)).fill(value.d[0]), s };
    },
    Softmax: (a, attrs) => softmax(a, attrs.axis ?? -1),
    LayerNormalization: (...x) => layerNorm(x[0], x[1], x.length > 3 ? x[2] : null, x[x.length - 1]),
    ArgMax: argMax,
    ReduceSum: (...x) => reducer(0, (sum, y) => sum + y, (sum) => sum)(x[0], x.length > 2 ? x[1] : null, x[x.length - 1]),
    ReduceMean: (...x) => reducer(0, (sum, y) => sum + y, (sum, n) => sum / n)(x[0], x.length > 2 ? x[1] : null, x[x.length - 1]),
    ReduceMax: (...x) => reducer(-Infinity, Math.max, (most) => most)(x[0], x.length > 2 ? x[1] : null, x[x.length - 1]),
    ReduceL2: (...x) => reducer(0, (sum, y) => sum + y * y, Math.sqrt)(x[0], x.length > 2 ? x[1] : null, x[x.length - 1]),
  };

  // The tensors of a program that graph.py wrote: [type, shape, place of the first byte].
  function tensor([kind, shape, at], bytes) {
    return { d: new KINDS[kind](bytes, at, size(shape)), s: shape };
  }

  class Graph {
    constructor(program, bytes) {
      this.program = program;
      this.constants = program.tensors.map((one) => one && tensor(one, bytes));
      this.nodes = program.nodes.map(([op, from, to, attrs]) => {
        const value = attrs.value ? { value: tensor(attrs.value, bytes) } : {};
        return { run: OPERATORS[op], op, from, to, attrs: { ...attrs, ...value } };
      });
    }

    // Runs on named tensors; returns one tensor per output.
    run(inputs) {
      const values = [...this.constants];
      for (const [name, at] of Object.entries(this.program.inputs)) values[at] = inputs[name];
      for (const { run, from, to, attrs } of this.nodes)
        values[to] = run(...from.map((at) => (at < 0 ? null : values[at])), attrs);
      return this.program.outputs.map((at) => values[at]);
    }
  }

  site.graph = { Graph, OPERATORS, ints };
})(((globalThis.limbeck ??= {}).site ??= {}));
