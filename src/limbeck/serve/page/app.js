"use strict";
// Draws the page from the state: which parts are shown, which search is asked, and what its answer becomes.
(function () {
  const { title } = document; // the static site has its own
  const {
    h,
    announce,
    count,
    state,
    backend,
    query,
    pictures,
    filters,
    controls,
    detail,
    Pane,
    Hierarchy,
    startPage,
    Failure,
  } = window.limbeck;
  const place = document.getElementById("panes");
  const side = document.getElementById("side");
  let indexes = [];
  let panes = [];
  let built = { name: "", done: null }; // the index that the controls were built for, and its filters
  let drawn = null; // what the panes show
  let running = new AbortController();
  let failed = null; // the last error, if it was one of the connection

  const infoOf = (now) => indexes.find(({ name }) => name === (now.index || indexes[0].name));

  function question(now) {
    const { index, beside, text, terms, filters: chosen, where, k, bits, fold, hierarchy, view } = now;
    return state.toQuery({
      ...state.START,
      index,
      beside,
      text,
      terms,
      filters: chosen,
      where,
      k,
      bits,
      fold,
      hierarchy,
      view,
    });
  }

  function layOut(info, now) {
    const wanted = [info.name, ...(now.beside && now.view !== "disk" ? [now.beside] : [])];
    if (panes.map(({ index }) => index).join("\n") === wanted.join("\n") && panes[0].root.isConnected) return;
    panes = wanted.map((name, at) => new Pane(name, at ? "beside" : ""));
    place.replaceChildren(...panes.map(({ root }) => root));
    place.classList.toggle("two", panes.length > 1);
  }

  const ranks = (answer) => new Map(answer.hits.map(({ id }, rank) => [id, rank]));
  const resetFilters = () => state.change({ filters: {}, where: "", hierarchy: "" });
  const filtered = (now) => Boolean(now.where || now.hierarchy || Object.keys(now.filters).length);

  async function fill(pane, info, now, signal, reference) {
    pane.loading();
    const options = {
      index: pane.index,
      terms: state.asked(now),
      filters: filters.chosen(now),
      where: now.where,
      k: now.k,
      fold: now.fold,
      hierarchy: now.hierarchy,
    };
    try {
      const bits = now.bits && info.prefixes.includes(now.bits) ? now.bits : 0;
      const [answer, whole] = await Promise.all([
        backend.search({ ...options, bits }, signal),
        reference || (bits ? backend.search(options, signal) : null),
      ]);
      if (signal.aborted) return null;
      failed = null;
      if (!answer.hits.length) pane.empty(filtered(now) && resetFilters, now.hierarchy);
      else {
        const against = reference ? `in ${panes[0].index}` : `at ${info.bits} bits`;
        const found = answer.hits.reduce((sum, { alike }) => sum + 1 + alike.length, 0);
        const longer = found >= now.k && now.k < state.K_MOST;
        pane.show(answer, { before: whole ? ranks(whole) : null, against, cut: state.get().cut, longer });
      }
      return answer;
    } catch (error) {
      if (!signal.aborted) fail(pane, error);
      return null;
    }
  }

  const unknown = (name) => new Failure(`There is no collection “${name}”; choose another.`, { again: false });

  function fail(pane, error) {
    const told = error instanceof Failure ? error : new Failure(`${error.name}: ${error.message}`);
    failed = told.offline ? told : null;
    pane.fail(told, () => draw(state.get(), null));
  }

  async function search(info, now) {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    layOut(info, now);
    if (now.view === "disk" && info.cones) return hierarchy(panes[0], now, signal);
    const other = indexes.find(({ name }) => name === now.beside);
    const first = fill(panes[0], info, now, signal);
    if (other && panes[1]) fill(panes[1], other, now, signal, first);
    else if (panes[1]) fail(panes[1], unknown(now.beside));
    const answer = await first;
    if (answer?.hits.length) announce(`${count(answer.hits.length, "hit")} for ${answer.query}`);
  }

  async function hierarchy(pane, now, signal) {
    const term = state.asked(now).find(({ weight, image }) => weight > 0 && !image);
    pane.loading();
    if (!term)
      return pane.settle(
        "",
        h(
          "div",
          { class: "message" },
          h(
            "p",
            {},
            "The hierarchy view starts from words or from a picture of the collection. " +
              "Open a hit, and choose “More like this”.",
          ),
        ),
      );
    try {
      const view = new Hierarchy(pane.index);
      const found = await backend.hierarchy(pane.index, term);
      if (signal.aborted) return;
      failed = null;
      view.show(found);
      pane.settle(count(found.points.length, "point"), view.root);
      pane.hierarchy = view;
      view.walk(now.way ? { id: now.way, weight: 1 } : term);
    } catch (error) {
      if (!signal.aborted) fail(pane, error);
    }
  }

  async function start(info) {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    panes = [];
    try {
      const page = await startPage(info);
      if (!signal.aborted) place.replaceChildren(page);
    } catch (error) {
      layOut(info, { ...state.START });
      if (!signal.aborted) fail(panes[0], error);
    }
  }

  function prepare(info) {
    if (built.name === info.name) return built.done;
    controls.build(info);
    const seen = info.pictures && backend.can.pictures;
    pictures.allow(seen);
    query.allow(info.text, seen);
    const ways = [info.text && "words", seen && "picture"].filter(Boolean);
    document.getElementById("hero").textContent = `Search by ${ways.join(" or by ") || "example"}`;
    document.getElementById("box-help").textContent = seen
      ? "Drop a picture here, paste one, or choose a file."
      : info.text
        ? ""
        : "This collection cannot be searched by words; start from one of its items.";
    const done = filters.load(info.name).catch(() => {}); // the search itself tells what is wrong
    built = { name: info.name, done };
    return built.done;
  }

  async function draw(now, before) {
    const info = infoOf(now);
    if (!info) {
      layOut({ name: now.index }, state.START);
      return fail(panes[0], unknown(now.index));
    }
    const asking = state.asked(now).length > 0;
    document.body.classList.toggle("starting", !asking);
    document.title = asking ? `${state.asked(now).map(query.nameOf).join(", ")} · ${title}` : title;
    query.draw(now);
    controls.headerDraw(now, info.name);
    await prepare(info);
    if (now !== state.get()) return;
    controls.bar.hidden = !asking;
    side.hidden = !asking || now.view === "disk" || !side.firstChild;
    controls.draw(now);
    filters.draw(now);
    const key = asking ? question(now) : `start ${info.name}`;
    if (key !== drawn || !before) {
      drawn = key;
      await (asking ? search(info, now) : start(info));
    } else if (now.cut !== before.cut) {
      const below = panes.reduce((sum, pane) => sum + pane.cut(now.cut), 0);
      announce(`${below} below the cut-off`);
    } else if (now.way !== before.way)
      panes[0]?.hierarchy?.walk(now.way ? { id: now.way, weight: 1 } : state.asked(now)[0]);
    detail.draw(state.get(), panes);
  }

  function chosen(event) {
    const { ids, pane } = event.detail;
    const bar = document.getElementById("selection");
    const button = (text, run) => h("button", { type: "button", class: "small-button", onclick: run }, text);
    const terms = (weight) => ids.map((id) => ({ id, weight }));
    bar.hidden = !ids.length;
    bar.replaceChildren(
      h("strong", {}, `${ids.length} selected`),
      button("More like these", () => state.ask("", terms(1))),
      button("Without these", () => state.ask(state.get().text, [...state.get().terms, ...terms(-1)])),
      button("Unselect", () => {
        pane.unselect();
        pane
          .rows()
          .find((row) => row.tabIndex === 0)
          ?.focus();
      }),
    );
    if (ids.length) announce(`${ids.length} selected`);
  }

  async function open() {
    try {
      ({ indexes } = await backend.info());
    } catch (error) {
      const pane = new Pane("limbeck", "");
      place.replaceChildren(pane.root);
      failed = error;
      return pane.fail(error, open);
    }
    failed = null;
    controls.header(indexes);
    state.subscribe(draw);
    state.start();
  }

  place.addEventListener("choose", chosen);
  window.addEventListener("online", () => {
    if (failed) document.querySelector(".message button")?.click();
  });
  open();
})();
