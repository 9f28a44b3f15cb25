// Turns a text into the arrays that a text tower reads, as limbeck/preprocess/text.py and the library tokenizers do.
// limbeck/site/text_tower.py writes the settings; it refuses a tokenizer whose parts are not in this file.
(function (site) {
  "use strict";
  const UNSPACED =
    "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}" +
    "\\p{Script=Myanmar}\\u30fc\\uff70\\u3006";
  const CHARACTER = `(?=[\\p{L}\\p{N}])[${UNSPACED}][\\p{M}\\u200c\\u200d]*`;
  const WORD =
    `(?![${UNSPACED}])[\\p{L}\\p{N}_](?:(?![${UNSPACED}])[\\p{L}\\p{N}\\p{M}_\\u200c\\u200d])*`;
  const RULES = { 1: /[\p{L}\p{N}_]+/gu, 2: new RegExp(`${CHARACTER}|${WORD}`, "gu") };
  const PUNCTUATION = /[!-/:-@[-`{-~]/g;
  const WHITESPACE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;
  const BERT_WORD = /[!-/:-@[-`{-~]|\p{P}|(?:(?![!-/:-@[-`{-~]|\p{P})\P{White_Space})+/gu;
  const CHINESE = /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
  const ISOLATED = new RegExp(CHARACTER, "gu");
  const MAX_TEXT = 20000;

  const lower = (text) => Array.from(text, (c) => c.toLowerCase()).join(""); // without the rule for a final sigma

  function words(text, rule, folds) {
    const folded = Array.from(text.normalize("NFC"), (c) => folds[c] ?? c.toLowerCase()).join("");
    const clean = rule === 1 ? folded : folded.replaceAll("i\u0307", "i").normalize("NFC");
    return clean.match(RULES[rule]) ?? [];
  }

  const NORMALIZERS = {
    NFC: (text) => text.normalize("NFC"),
    NFD: (text) => text.normalize("NFD"),
    NFKC: (text) => text.normalize("NFKC"),
    NFKD: (text) => text.normalize("NFKD"),
    Lowercase: lower,
    StripAccents: (text) => text.replace(/\p{Mn}/gu, ""),
    Replace: (text, { from, to }) => text.replaceAll(from, () => to),
    BertNormalizer: (text, { clean_text, handle_chinese_chars, strip_accents, lowercase }) => {
      if (clean_text) text = text.replace(/(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/gu, "").replace(/\p{White_Space}/gu, " ");
      if (handle_chinese_chars) text = text.replace(CHINESE, " $& ");
      if (strip_accents ?? lowercase) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
      return lowercase ? lower(text) : text;
    },
  };

  // Splits pieces of a text further; what lies between the matches is a piece of its own, or is dropped.
  const SPLITTERS = {
    Whitespace: (piece) => piece.match(WHITESPACE) ?? [],
    BertPreTokenizer: (piece) => piece.match(BERT_WORD) ?? [],
    WhitespaceSplit: (piece) => piece.match(/\P{White_Space}+/gu) ?? [],
    characters: (piece) => {
      const parts = [];
      let end = 0;
      for (const match of piece.matchAll(ISOLATED)) {
        if (match.index > end) parts.push(piece.slice(end, match.index));
        parts.push(match[0]);
        end = match.index + match[0].length;
      }
      if (end < piece.length) parts.push(piece.slice(end));
      return parts;
    },
  };

  function wordPieces(model, word) {
    const chars = Array.from(word), pieces = [];
    if (chars.length > model.longest) return [model.unknown];
    for (let start = 0; start < chars.length; ) {
      let end = chars.length, id;
      for (; end > start; end--) {
        id = model.ids.get((start ? model.prefix : "") + chars.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return [model.unknown];
      pieces.push(id);
      start = end;
    }
    return pieces;
  }

  function bytePairs(model, word) {
    let parts = Array.from(word, (c) => (model.ids.has(c) ? c : null)); // null is the unknown token
    for (;;) {
      let best = Infinity, at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        if (parts[i] === null || parts[i + 1] === null) continue;
        const rank = model.ranks.get(`${parts[i]} ${parts[i + 1]}`);
        if (rank < best) [best, at] = [rank, i];
      }
      if (at < 0) return parts.map((part) => (part === null ? model.unknown : model.ids.get(part)));
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
  }

  const MODELS = {
    WordLevel: (model, word) => [model.ids.get(word) ?? model.unknown],
    WordPiece: wordPieces,
    BPE: bytePairs,
  };

  class Tokenizer {
    constructor(told) {
      const model = told.model;
      this.told = told;
      this.model = { ...model, ids: new Map(model.vocabulary.map((word, id) => [word, id])) };
      this.model.ids.delete(null);
      if (model.merges) this.model.ranks = new Map(model.merges.map((pair, rank) => [pair, rank]));
      this.added = new Map(told.added);
      const literal = (word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const longest = [...this.added.keys()].sort((a, b) => b.length - a.length);
      this.special = longest.length ? new RegExp(`(${longest.map(literal).join("|")})`, "u") : null;
    }

    // The ids of a text without those that frame it.
    ids(text) {
      const found = [];
      const parts = this.special ? text.split(this.special) : [text];
      parts.forEach((part, at) => {
        if (at % 2) found.push(this.added.get(part));
        else if (part) found.push(...this.plain(part));
      });
      return found;
    }

    plain(text) {
      for (const [name, options] of this.told.normalizers) text = NORMALIZERS[name](text, options);
      let pieces = text ? [text] : [];
      for (const name of this.told.splitters) pieces = pieces.flatMap(SPLITTERS[name]);
      return pieces.flatMap((piece) => MODELS[this.model.type](this.model, piece));
    }

    encode(text) {
      return [...this.told.before, ...this.ids(text), ...this.told.after];
    }
  }

  class Tokens {
    constructor(told) {
      this.told = told;
      this.tokenizer = new Tokenizer(told.tokenizer);
    }

    arrays(text) {
      const { pad, length, prefix, whole } = this.told;
      const clean = this.told.canonical
        ? text.replaceAll("_", " ").replace(PUNCTUATION, "").toLowerCase().split(/[\p{White_Space}\x1c-\x1f]+/u).filter(Boolean).join(" ")
        : this.told.lower ? text.toLowerCase() : text;
      let ids = this.tokenizer.encode(prefix + clean);
      if (ids.length > length) ids = [...ids.slice(0, length - 1), ids[ids.length - 1]];
      const width = whole ? length : ids.length; // Python pads further, which changes no result
      const row = { d: new Int32Array(width).fill(pad), s: [1, width] };
      const mask = { d: new Int32Array(width).fill(1, 0, ids.length), s: [1, width] };
      row.d.set(ids);
      return { input_ids: row, attention_mask: mask };
    }

    knows(text) {
      const { unknown } = this.told, tokenizer = this.tokenizer;
      if (this.told.known === "token") return tokenizer.ids(text).some((id) => !unknown.includes(id));
      const { vocabulary } = tokenizer.told.model;
      return words(text, 2, this.told.folds).some((word) => {
        const pieces = tokenizer.ids(word).map((id) => vocabulary[id].replace(/^[\u2581\u0120]+/u, "")).filter(Boolean);
        if (!pieces.length || pieces[0] === "[UNK]" || pieces[0] === "<unk>") return false;
        const first = Array.from(pieces[0]).length;
        return pieces.length === 1 || (first >= 3 && 2 * first >= Array.from(word).length);
      });
    }
  }

  class Bag {
    constructor(told) {
      this.told = told;
      this.columns = new Map(told.vocabulary.map((word, at) => [word, at]));
    }

    words(text) {
      return words(text, this.told.rule, this.told.folds).filter((word) => this.columns.has(word));
    }

    arrays(text) {
      const d = new Float32Array(this.columns.size);
      for (const word of this.words(text)) d[this.columns.get(word)]++;
      const norm = Math.max(Math.fround(Math.sqrt(d.reduce((sum, x) => sum + x * x, 0))), Math.fround(1e-12));
      return { counts: { d: d.map((x) => x / norm), s: [1, d.length] } };
    }

    knows(text) {
      return this.words(text).length > 0;
    }
  }

  class Concat {
    constructor(told) {
      this.parts = told.parts.map(preprocessor);
    }

    arrays(text) {
      const all = {};
      this.parts.forEach((part, at) => {
        for (const [name, array] of Object.entries(part.arrays(text))) all[`${at}.${name}`] = array;
      });
      return all;
    }

    knows(text) {
      return this.parts.some((part) => part.knows(text));
    }
  }

  const KINDS = { tokens: Tokens, bag: Bag, concat: Concat };
  const preprocessor = (told) => new KINDS[told.kind](told);

  class QueryError extends Error {
    constructor(message, code) {
      super(message);
      this.code = code;
    }
  }

  // A text tower: its preprocessor and its graph (graph.js).
  class TextTower {
    constructor(told, bytes) {
      this.preprocess = preprocessor(told.preprocess);
      this.graph = new site.graph.Graph(told.program, bytes);
    }

    // The embedding (Float32Array) of a text, whose signs are its code, and the floats that an index may keep.
    encode(text) {
      const long = Array.from(text).length;
      if (long > MAX_TEXT)
        throw new QueryError(`query: ${long} characters, at most ${MAX_TEXT}; give a shorter text`, "E-QUERY-FORM");
      if (/\p{Surrogate}/u.test(text))
        throw new QueryError("query: holds half of a surrogate pair; write whole characters", "E-QUERY-FORM");
      if (!this.preprocess.knows(text))
        throw new QueryError(`query "${text}": the model knows none of its words; try other words`, "E-QUERY-WORDS");
      const outputs = this.graph.run(this.preprocess.arrays(text));
      return { embedding: outputs[0].d, floats: outputs[outputs.length - 1].d };
    }
  }

  site.text = { TextTower, Tokenizer, QueryError, preprocessor, words, NORMALIZERS, SPLITTERS };
})(((globalThis.limbeck ??= {}).site ??= {}));
