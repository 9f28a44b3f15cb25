"use strict";
// The backend that asks the service. The static site brings another one with the same functions.
(function () {
  const { Failure } = window.limbeck;

  function quoted(value) {
    return typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value);
  }

  /** Filters as an expression of the filter language: any value of a column, every column. */
  function whereOf(filters, typed) {
    const tests = filters.map(
      ({ column, list, values }) => `\`${column}\` ${list ? "has" : "in"} (${values.map(quoted).join(", ")})`,
    );
    return [...tests, ...(typed ? [`(${typed})`] : [])].join(" and ");
  }

  function base64(blob) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.split(",")[1]);
      reader.onerror = () => reject(new Failure("The picture could not be read; choose it again."));
      reader.readAsDataURL(blob);
    });
  }

  async function call(path, { query = {}, body, signal } = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    const search = given.length ? `?${new URLSearchParams(given)}` : "";
    const options = body
      ? {
          method: "POST",
          body: JSON.stringify(body),
          headers: { "Content-Type": "application/json" },
          signal,
        }
      : { signal };
    let response;
    try {
      response = await fetch(path + search, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The service does not answer.", { offline: true });
    }
    let answer = null;
    try {
      answer = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (response.ok && answer !== null) return answer;
    const told = (answer && answer.error) || {};
    throw new Failure(told.message || `The service answered with status ${response.status}.`, {
      code: told.code,
      again: ![400, 404, 409, 413, 415, 422].includes(response.status), // another query is needed there
      correlationId: told.correlation_id || response.headers.get("X-Request-ID") || "",
    });
  }

  const asked = (term) => (term.id === undefined ? { q: term.text } : { like: term.id });

  window.limbeck.backend = {
    can: { pictures: true, where: true },
    async info() {
      const { version, indexes } = await call("info");
      return { version, indexes: indexes.map((one) => ({ ...one, space: one.space.name })) };
    },
    async search({ index, terms, filters = [], where = "", k, bits, fold, hierarchy }, signal) {
      const plain = terms.map(async ({ image, ...term }) =>
        image ? { ...term, image: await base64(image) } : term,
      );
      const body = { index, terms: await Promise.all(plain), k };
      if (fold) body.fold = true;
      const filter = whereOf(filters, where);
      if (filter) body.where = filter;
      if (bits) body.bits = bits;
      if (hierarchy) body.hierarchy = hierarchy;
      return call("search", { body, signal });
    },
    item: (index, id) => call(`items/${encodeURIComponent(id)}`, { query: { index } }),
    facets: async (index) => (await call("facets", { query: { index } })).columns,
    examples: (index) => call("examples", { query: { index } }),
    traverse: (index, term) => call("traverse", { query: { index, ...asked(term) } }),
    hierarchy: (index, term) => call("hierarchy", { query: { index, ...asked(term) } }),
  };
  window.limbeck.whereOf = whereOf; // what the page shows under the filters
})();
