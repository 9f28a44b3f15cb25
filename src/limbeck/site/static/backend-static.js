// The page's backend without a service: it answers from the data of the site (data.js).
(function (site) {
  "use strict";
  const told = site.loaded.get("site");
  const { Codes, Vectors } = site.scan;

  const tower = once(async () => {
    const { settings, weights } = await site.load("tower");
    return new site.text.TextTower(settings, site.bytes(weights).buffer);
  });
  const searcher = once(async () => {
    const bytes = site.bytes(await site.load("points"));
    const points = told.space.name === "hamming" ? new Codes(bytes, told.space.bits) : new Vectors(bytes, told.space);
    const kept = told.kept && new site.Kept(site.bytes(await site.load("kept")), told.kept);
    return new site.Searcher(told, points, kept, tower);
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

  async function search({ terms, filters = [], k = 24, bits, fold }) {
    if (terms.some((term) => term.image))
      throw new site.text.QueryError("this site accepts no pictures; search by words or by an item", "E-QUERY-FORM");
    const engine = await searcher();
    const asked = await Promise.all(terms.map(async ({ text, id, weight }) =>
      id === undefined ? { text, weight } : { row: await rowOf(id), weight }));
    const allowed = await allowedRows(filters, engine.points.rows);
    const { groups, ms } = await engine.search(asked, k, { allowed, bits: bits || undefined, fold });
    const hits = await Promise.all(groups.map(async ({ row, score, alike, confidence }) => ({
      ...(await hitOf(row, score, confidence)),
      alike: await Promise.all(alike.map(async (other) => (await hitOf(other)).id)),
    })));
    return { query: describe(terms), score_name: told.score_name, engine: "browser", ms, hits };
  }

  limbeck.backend = {
    can: { pictures: false, where: false },
    info: async () => {
      searcher().catch(() => {}); // a first query then waits less
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
})(limbeck.site);
