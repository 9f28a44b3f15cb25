"use strict";
// The bar over the results: view, direction, cut-off, code length, folding. And the choices of the header.
(function () {
  const { h, icon, iconButton, state, theme } = window.limbeck;
  const bar = document.getElementById("bar");
  const narrow = matchMedia("(max-width: 48rem)");
  const parts = [];
  let box = null; // the settings, which are folded on a phone

  function part(node, update) {
    parts.push(update);
    return node;
  }

  function slider(id, label, range, textOf, valueOf, change) {
    const output = h("output", { for: id });
    const input = h("input", { type: "range", id, ...range });
    input.addEventListener("input", () => {
      const text = textOf(Number(input.value));
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
      change(Number(input.value));
    });
    return part(h("div", { class: "control" }, h("label", { for: id }, label), input, output), (now) => {
      if (document.activeElement !== input) input.value = valueOf(now);
      output.textContent = textOf(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    });
  }

  const ASKED = { text: "Queries by words", image: "Queries by a picture" };

  /** What `info` says about the confidence of hits: true, or a sentence per kind of query. */
  const calibrated = ({ confidence }) =>
    confidence && typeof confidence === "object"
      ? Object.entries(confidence).map(([kind, told]) => `${ASKED[kind] || kind}: ${told}`)
      : confidence
        ? [""]
        : [];

  function cutOff(told) {
    const title = ["Hits with less confidence than this are grey.", ...new Set(told)].join("\n");
    return slider(
      "cut",
      "Cut-off",
      { min: 0, max: 100, step: 1, title },
      (value) => `${value} %`,
      (now) => Math.round(100 * now.cut),
      (value) => state.change({ cut: value / 100 }, { replace: true }),
    );
  }

  function codeLength({ bits, prefixes }) {
    const lengths = [...new Set([...prefixes, bits])].sort((a, b) => a - b);
    const last = lengths.length - 1;
    return slider(
      "bits",
      "Code length",
      { min: 0, max: last, step: 1, title: "Compare only the first bits of the codes" },
      (at) => `${lengths[at]} bits`,
      (now) => (now.bits && lengths.includes(now.bits) ? lengths.indexOf(now.bits) : last),
      (at) => state.change({ bits: at === last ? 0 : lengths[at] }, { replace: true }),
    );
  }

  function segments(label, name, options) {
    const buttons = options.map(([value, text]) =>
      h("button", { type: "button", onclick: () => state.change({ [name]: value, k: state.START.k }) }, text),
    );
    return part(h("div", { class: "segments", role: "group", "aria-label": label }, buttons), (now) =>
      options.forEach(([value], at) => buttons[at].setAttribute("aria-pressed", String(now[name] === value))),
    );
  }

  function folding() {
    const box = h("input", { type: "checkbox", id: "fold" });
    box.addEventListener("change", () => state.change({ fold: box.checked }));
    return part(
      h("label", { class: "control" }, box, "Fold near-duplicates"),
      (now) => (box.checked = now.fold),
    );
  }

  /** Offer what this index can do. */
  function build(info) {
    parts.length = 0;
    const views = [
      info.cones &&
        segments("View", "view", [
          ["", "Pictures"],
          ["disk", "Hierarchy"],
        ]),
      info.cones &&
        segments("Direction", "hierarchy", [
          ["", "All"],
          ["more-general", "More general"],
          ["more-specific", "More specific"],
        ]),
    ];
    const settings = [
      calibrated(info).length > 0 && cutOff(calibrated(info)),
      info.bits && info.prefixes.length > 0 && codeLength(info),
      folding(),
    ];
    box = h(
      "details",
      { class: "settings", open: !narrow.matches },
      h("summary", {}, "Settings"),
      h("div", {}, settings),
    );
    bar.replaceChildren(...views.filter(Boolean), box);
  }

  function draw(now) {
    for (const update of parts) update(now);
    for (const part of bar.querySelectorAll(".settings, [aria-label=Direction]"))
      part.hidden = now.view === "disk";
  }

  function choice(id, label, name, options) {
    const select = h(
      "select",
      { id },
      options.map(([value, text]) => h("option", { value }, text)),
    );
    select.value = state.get()[name];
    return [h("label", { for: id }, label), select];
  }

  /** The header: which index, and which other one beside it. */
  function header(indexes) {
    const names = indexes.map(({ name }) => [name, name]);
    const place = document.getElementById("choices");
    if (names.length < 2) return;
    const index = choice("index", "Collection", "index", names);
    const beside = choice("beside", "Second collection", "beside", [["", "none"], ...names]);
    place.replaceChildren(h("span", { class: "choice" }, index), h("span", { class: "choice" }, beside));
    index[1].addEventListener("change", () => {
      const reset = { filters: {}, where: "", bits: 0, hierarchy: "", view: "", open: "", k: state.START.k };
      state.change({
        ...reset,
        index: index[1].value,
        terms: state.get().terms.filter((term) => term.id === undefined),
      });
    });
    beside[1].addEventListener("change", () => state.change({ beside: beside[1].value }));
    parts.header = (now, name) => {
      index[1].value = now.index || name;
      beside[1].value = now.beside;
    };
  }

  function themeButton() {
    const label = () => `Colours: ${{ auto: "as the system", light: "light", dark: "dark" }[theme.get()]}`;
    const button = iconButton(theme.get(), label(), () => {
      const now = theme.next();
      button.replaceChildren(icon(now));
      button.title = label();
      button.setAttribute("aria-label", label());
    });
    button.id = "theme";
    return button;
  }

  narrow.addEventListener("change", () => box && (box.open = !narrow.matches));
  document.getElementById("tools").append(
    iconButton("keys", "Keyboard shortcuts", () => document.getElementById("keys").showModal(), {
      id: "show-keys",
    }),
    themeButton(),
  );
  window.limbeck.controls = {
    build,
    draw,
    header,
    headerDraw: (now, name) => parts.header && parts.header(now, name),
    bar,
  };
})();
