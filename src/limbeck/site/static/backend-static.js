// The page's backend without a service: it answers from the data of the site (data.js).
(function (site) {
  "use strict";
  const told = site.loaded.get("site");
  const { Codes, Vectors, signCode, signs, combine, asWords } = site.scan;
  const isCodes = told.space.name === "hamming";

  const points = once(async () => {
    const bytes = site.bytes(await site.load("points"));
    return isCodes ? new Codes(bytes, told.space.bits) : new Vectors(bytes, told.space);
  });
  const tower = once(async () => {
    const { settings, weights } = await site.load("tower");
    return new site.text.TextTower(settings, site.bytes(weights).buffer);
  });
  const rowOfId = once(async () => new Map((await site.load("ids")).map((id, row) => [id, row])));

  function once(make) {
    let made = null;
    return () => (made ??= make().catch((error) => {
      made = null;
      throw error;
    }));
  }

  // Every error of the engine as the page's own.
  async function guarded(promise) {
    try {
      return await promise;
    } catch (error) {
      throw new limbeck.Failure(error.message, { code: error.code, offline: error instanceof site.LoadError });
    }
  }

  async function rowOf(id) {
    const row = (await rowOfId()).get(id);
    if (row === undefined) throw new site.text.QueryError(`there is no item "${id}"; it may have been removed`, "E-ID-UNKNOWN");
    return row;
  }

  function thumbnail(row, has) {
    if (!has) return null;
    const inline = site.loaded.get(`thumbnails-${Math.floor(row / told.shard)}`);
    return inline ? `data:image/webp;base64,${inline[row % told.shard]}` : `thumbnails/${Math.floor(row / 1000)}/${row}.webp`;
  }

  async function hitOf(row, score = null, confidence = null) {
    const [id, metadata, has] = (await site.load(`items-${Math.floor(row / told.shard)}`))[row % told.shard];
    const url = thumbnail(row, has);
    return { id, score, confidence, alike: [], metadata, thumbnail: url, picture: url, row };
  }

  // A query of one term is searched as it is, several as their sum (limbeck/search/queries.py).
  async function queryPoint(terms) {
    const store = await points(), own = [], numbers = [], alone = terms.length === 1 && terms[0].weight > 0;
    let point = null;
    for (const { text, id } of terms) {
      if (id !== undefined) {
        const row = await rowOf(id);
        own.push(row);
        point = store.point(row);
        numbers.push(isCodes ? signs(point, told.space.bits) : point);
      } else {
        const { embedding } = (await tower()).encode(text);
        point = isCodes ? signCode(embedding) : embedding;
        numbers.push(embedding);
      }
    }
    if (!alone) {
      const total = combine(told.space, terms.map((term) => term.weight), numbers);
      point = isCodes ? signCode(total) : total;
    }
    return { store, point, excluded: own };
  }

  // The rows that pass every filter, as bytes of 0 and 1; null where there is none.
  async function allowedRows(filters, rows) {
    let allowed = null;
    for (const { column, values } of filters) {
      const at = told.facets.findIndex((facet) => facet.name === column);
      const known = at < 0 ? [] : told.facets[at].values.map(({ value }) => value);
      const own = new Uint8Array(rows);
      for (const value of values) {
        const place = known.findIndex((one) => String(one) === String(value));
        if (place < 0)
          throw new site.text.QueryError(`this site cannot filter ${column} by "${value}"; choose a value that it lists`, "E-FILTER-VALUE");
        const bits = site.bytes((await site.load(`facet-${at}`))[place]);
        for (let row = 0; row < rows; row++) own[row] |= (bits[row >> 3] >> (7 - (row & 7))) & 1;
      }
      allowed = allowed ? allowed.map((x, row) => x & own[row]) : own;
    }
    return allowed;
  }

  function describe(terms) {
    return terms
      .map(({ text, id, weight }, at) => {
        const name = text ?? `like ${id}`, size = Math.abs(weight);
        const sign = weight < 0 ? "− " : at ? "+ " : "";
        return sign + (size === 1 ? name : `${size} · ${name}`);
      })
      .join(" ");
  }

  async function search({ terms, filters = [], k = 60, bits }) {
    if (terms.some((term) => term.image)) throw new site.text.QueryError("this site takes no pictures; search by words or by an item", "E-QUERY-FORM");
    const { store, point, excluded } = await queryPoint(terms);
    const allowed = await allowedRows(filters, store.rows);
    const begun = performance.now();
    const found = store.nearest(point, k, { allowed, excluded, bits: bits || undefined });
    const ms = performance.now() - begun;
    const hits = await Promise.all(Array.from(found.rows, (row, at) => hitOf(row, found.scores[at])));
    return { query: describe(terms), score_name: told.score_name, engine: "browser", ms, hits };
  }

  limbeck.backend = {
    can: { pictures: false, where: false },
    info: async () => {
      points().catch(() => {}); // a first query then waits less
      if (told.text) tower().catch(() => {});
      return { version: told.version, indexes: [told.info] };
    },
    search: (options) => guarded(search(options)),
    item: (_, id) => guarded(rowOf(id).then((row) => hitOf(row))),
    facets: async () => told.facets,
    examples: (_) => guarded(Promise.all(told.examples.rows.map((row) => hitOf(row))).then((items) => ({ texts: told.examples.texts, items }))),
    traverse: async () => ({ steps: [] }),
    hierarchy: async () => ({ curv: 1, points: [] }),
  };
  site.search = search;
  void asWords;
})(limbeck.site);
