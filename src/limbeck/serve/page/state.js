"use strict";
// What is asked, and its form in the URL. Every part of the page reads this state and is drawn from it.
(function () {
  const START = {
    index: "",
    beside: "",
    text: "",
    terms: [],
    filters: {},
    where: "",
    k: 24,
    bits: 0,
    cut: 0.3,
    fold: true,
    hierarchy: "",
    view: "",
    way: "",
    open: "",
    at: "",
  };
  const SIGNED = { text: ["plus", "not"], id: ["like", "unlike"], image: ["picture", "unpicture"] };
  const KEYS = Object.entries(SIGNED).flatMap(([kind, names]) =>
    names.map((name, at) => [name, kind, at ? -1 : 1]),
  );
  const K_MOST = 480;

  const pictures = new Map(); // of this visit: a URL can name an uploaded picture but not hold it
  let state = { ...START };
  let lost = false;
  const listeners = [];

  function keep(blob) {
    const known = [...pictures].find(([, held]) => held === blob);
    const key = known ? known[0] : String(pictures.size + 1);
    pictures.set(key, blob);
    return key;
  }

  function toQuery(of) {
    const query = new URLSearchParams();
    const put = (name, value) => value !== START[name] && query.append(name, value);
    put("index", of.index);
    put("beside", of.beside);
    if (of.text) query.append("q", of.text);
    for (const term of of.terms) {
      const kind = Object.keys(SIGNED).find((name) => term[name] !== undefined);
      query.append(SIGNED[kind][term.weight < 0 ? 1 : 0], kind === "image" ? keep(term.image) : term[kind]);
    }
    if (of.terms.some((term) => Math.abs(term.weight) !== 1))
      query.append("w", of.terms.map((term) => Math.abs(term.weight)).join(" "));
    for (const [column, values] of Object.entries(of.filters))
      for (const value of values) query.append(`f.${column}`, JSON.stringify(value));
    for (const name of ["where", "k", "bits", "cut", "hierarchy", "view", "way", "open", "at"])
      put(name, of[name]);
    if (!of.fold) query.append("fold", "0");
    return query.toString().replaceAll("%22", '"');
  }

  const within = (text, low, high, otherwise) => {
    const number = text === null || text.trim() === "" ? NaN : Number(text);
    return number >= low && number <= high ? number : otherwise;
  };

  function value(text) {
    try {
      const parsed = JSON.parse(text);
      return parsed !== null && typeof parsed === "object" ? text : parsed;
    } catch {
      return text; // a link written by hand: f.labels=sky
    }
  }

  function fromQuery(text) {
    const query = new URLSearchParams(text);
    const read = { ...START, terms: [], filters: {} };
    lost = false;
    for (const name of ["index", "beside", "where", "hierarchy", "view", "way", "open", "at"])
      read[name] = query.get(name) || "";
    const weights = (query.get("w") || "").split(" ").map((weight) => within(weight, 0.25, 4, 1));
    const words = query.getAll("q");
    read.text = words[0] || "";
    read.terms = words.slice(1).map((more) => ({ text: more, weight: 1 }));
    for (const [name, given] of query) {
      const key = KEYS.find(([known]) => known === name);
      if (key) {
        const [, kind, sign] = key;
        const weight = sign * (weights[read.terms.length] || 1);
        if (kind !== "image") read.terms.push({ [kind]: given, weight });
        else if (pictures.has(given)) read.terms.push({ image: pictures.get(given), weight });
        else lost = true;
      } else if (name.startsWith("f.")) (read.filters[name.slice(2)] ||= []).push(value(given));
    }
    read.k = Math.round(within(query.get("k"), 1, K_MOST, START.k));
    read.bits = Math.round(within(query.get("bits"), 1, 1 << 16, 0));
    read.cut = within(query.get("cut"), 0, 1, START.cut);
    read.fold = query.get("fold") !== "0";
    if (!["more-general", "more-specific"].includes(read.hierarchy)) read.hierarchy = "";
    if (read.view !== "disk") read.view = "";
    return read;
  }

  function tell(before) {
    for (const listener of listeners) listener(state, before);
  }

  /** Change some of the state. `replace`: no new entry in the history, for sliders. */
  function change(patch, { replace = false } = {}) {
    const before = state;
    state = { ...state, ...patch };
    const query = toQuery(state);
    const url = query ? `?${query}` : location.pathname.split("/").pop() || ".";
    if (query !== location.search.slice(1)) {
      try {
        history[replace ? "replaceState" : "pushState"](null, "", url);
      } catch {
        // a page opened from a file in a browser that keeps no history for files
      }
    }
    tell(before);
  }

  /** The terms of the search: the words in the box, then the chips. */
  function asked(of = state) {
    return of.text ? [{ text: of.text, weight: 1 }, ...of.terms] : of.terms;
  }

  /** A new question keeps the index and the settings, and forgets the rest. */
  function ask(text, terms, more = {}) {
    change({ text, terms, k: START.k, way: "", open: "", at: "", ...more });
  }

  function start() {
    state = fromQuery(location.search);
    window.addEventListener("popstate", () => {
      const before = state;
      state = fromQuery(location.search);
      tell(before);
    });
    tell(START);
  }

  window.limbeck.state = {
    START,
    K_MOST,
    get: () => state,
    change,
    ask,
    asked,
    start,
    toQuery,
    fromQuery,
    pictureLost: () => lost,
    subscribe: (listener) => listeners.push(listener),
  };
})();
