"use strict";
// Filters offered from the metadata, with the number of items of each value.
(function () {
  const { h, count, state, backend } = window.limbeck;
  const FEW = 8;
  const side = document.getElementById("side");
  const wide = matchMedia("(min-width: 60rem)");
  let columns = [];
  let of = null; // the index that the columns belong to

  /** The chosen values with their columns, as a backend wants them. */
  function chosen({ filters }) {
    return Object.entries(filters).map(([column, values]) => {
      const known = columns.find(({ name }) => name === column);
      return { column, list: Boolean(known && known.list), values };
    });
  }

  function toggle(column, value, on) {
    const { filters } = state.get();
    const values = (filters[column] || []).filter((other) => other !== value);
    const next = { ...filters, [column]: on ? [...values, value] : values };
    if (!next[column].length) delete next[column];
    state.change({ filters: next, k: state.START.k });
  }

  function row(column, { value, count: number }) {
    const box = h("input", { type: "checkbox" });
    Object.assign(box.dataset, { column, value: JSON.stringify(value) });
    box.addEventListener("change", () => toggle(column, value, box.checked));
    return h(
      "label",
      { class: "option" },
      box,
      h("span", { class: "option-name", title: String(value) }, String(value)),
      h("span", { class: "number" }, number.toLocaleString("en")),
    );
  }

  function group({ name, values }) {
    const rest = h(
      "div",
      { hidden: true },
      values.slice(FEW).map((value) => row(name, value)),
    );
    const more = h(
      "button",
      { type: "button", class: "link", "aria-expanded": "false" },
      `${count(values.length - FEW, "more value")}`,
    );
    more.addEventListener("click", () => {
      rest.hidden = !rest.hidden;
      more.setAttribute("aria-expanded", String(!rest.hidden));
      more.textContent = rest.hidden ? count(values.length - FEW, "more value") : "show fewer values";
    });
    return h(
      "fieldset",
      {},
      h("legend", {}, name.replaceAll("_", " ")),
      values.slice(0, FEW).map((value) => row(name, value)),
      values.length > FEW && [rest, more],
    );
  }

  function own() {
    const input = h("input", {
      id: "where",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "year >= 2005",
    });
    const form = h(
      "form",
      { class: "own" },
      h("label", { for: "where" }, "Filter expression"),
      input,
      h("button", { type: "submit", class: "small-button" }, "Apply"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      state.change({ where: input.value.trim(), k: state.START.k });
    });
    return form;
  }

  function build() {
    const summary = h("summary", { id: "side-title" });
    const clear = h(
      "button",
      {
        type: "button",
        class: "link",
        id: "clear-filters",
        onclick: () => state.change({ filters: {}, where: "" }),
      },
      "Clear the filters",
    );
    const box = h(
      "details",
      { open: wide.matches },
      summary,
      clear,
      columns.map(group),
      backend.can.where && own(),
    );
    side.replaceChildren(...(columns.length || backend.can.where ? [box] : []));
  }

  function draw(now) {
    if (!side.firstChild) return;
    for (const box of side.querySelectorAll("input[type=checkbox]"))
      box.checked = (now.filters[box.dataset.column] || []).includes(JSON.parse(box.dataset.value));
    const number = Object.values(now.filters).flat().length + (now.where ? 1 : 0);
    document.getElementById("side-title").textContent = number ? `Filters (${number})` : "Filters";
    document.getElementById("clear-filters").hidden = !number;
    const where = document.getElementById("where");
    if (where && document.activeElement !== where) where.value = now.where;
  }

  /** Offer the values of an index; without facets the search still works. */
  async function load(index) {
    if (of === index) return;
    of = index;
    columns = await backend.facets(index);
    if (of !== index) return;
    build();
    draw(state.get());
  }

  wide.addEventListener("change", () => {
    const box = side.querySelector("details");
    if (box) box.open = wide.matches;
  });
  window.limbeck.filters = { load, draw, chosen };
})();
