"use strict";
// A Lorentz index around the query: the Poincaré disk, the same points as a list, and a way to the root.
(function () {
  const { h, svg, frame, titleOf, actions, announce, state, backend } = window.limbeck;
  const SIZE = 0.055; // of a picture in the disk, whose radius is 1
  const ORDER = { root: 0, query: 1, text: 2, item: 3 };
  const KIND = { root: "root", text: "text", query: "query", item: "picture" };

  const nameOf = (point) => point.text || point.id || (point.kind === "root" ? "[ROOT]" : "your query");

  function picture(point, at) {
    const clip = `clip-${at}`;
    const place = { cx: point.x, cy: -point.y, r: SIZE };
    const group = svg("g", { class: "point item" }, svg("clipPath", { id: clip }, svg("circle", place)));
    if (point.thumbnail)
      group.append(svg("image", { href: point.thumbnail, x: point.x - SIZE, y: -point.y - SIZE, width: 2 * SIZE, height: 2 * SIZE,
        preserveAspectRatio: "xMidYMid slice", "clip-path": `url(#${clip})` })); // prettier-ignore
    group.append(svg("circle", { ...place, class: "rim" }));
    return group;
  }

  function mark(point) {
    const [x, y] = [point.x, -point.y];
    const [s, r] = [0.022, 0.03];
    if (point.kind === "root") return svg("rect", { x: x - s, y: y - s, width: 2 * s, height: 2 * s });
    if (point.kind === "query") return svg("circle", { cx: x, cy: y, r });
    return svg("path", { d: `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}z` });
  }

  /** Labels that would cover an earlier one are left out; the list has them all. */
  function label(point, taken) {
    const text = nameOf(point);
    const short = text.length > 28 ? `${text.slice(0, 27)}…` : text;
    const width = 0.026 * short.length;
    const left = point.x + 0.05 + width > 1.25;
    const box = { x: left ? point.x - 0.05 - width : point.x + 0.05, y: -point.y, width };
    if (taken.some((other) => Math.abs(other.y - box.y) < 0.06 && box.x < other.x + other.width && other.x < box.x + box.width)) return null;
    taken.push(box);
    return svg("text", { x: left ? point.x - 0.05 : point.x + 0.05, y: box.y + 0.016, "text-anchor": left ? "end" : "start" }, short);
  }

  function disk(points, choose) {
    const summary = `Poincaré disk of ${points.length} points. The centre is the root; the farther out a point, the more specific it is. The list beside it names every point.`;
    const rings = [1, 0.75, 0.5, 0.25].map((r) => svg("circle", { r, class: r === 1 ? "edge" : "ring" }));
    const root = svg("svg", { viewBox: "-1.28 -1.06 2.56 2.12", role: "img", "aria-label": summary, class: "disk" }, ...rings);
    const taken = points.filter(({ kind }) => kind === "item").map(({ x, y }) => ({ x: x - SIZE, y: -y, width: 2 * SIZE }));
    const query = points.find(({ kind }) => kind === "query");
    const lines = points.filter((point) => query && point.entails && point !== query && point.kind !== "root");
    root.append(...lines.map((point) => svg("path", { class: "tie", d: `M${point.x} ${-point.y}L${query.x} ${-query.y}` })));
    const behind = [...points.keys()].sort((a, b) => ORDER[points[b].kind] - ORDER[points[a].kind]); // texts over pictures
    for (const at of behind) {
      const point = points[at];
      const node = point.kind === "item" ? picture(point, at) : svg("g", { class: `point ${point.kind}` }, mark(point));
      const text = point.kind === "item" ? null : label(point, taken);
      if (text) node.append(text);
      node.append(svg("title", {}, nameOf(point)));
      node.dataset.at = at;
      if (point.kind !== "root") node.addEventListener("click", () => choose(point));
      root.append(node);
    }
    return root;
  }

  function list(points, choose, light) {
    return h("ol", { class: "points" }, points.map((point, at) => {
      const about = `${KIND[point.kind]}, radius ${point.radius.toFixed(2)}${point.entails && point.kind !== "query" ? ", entails" : ""}`;
      const sign = point.kind === "item" ? frame(point.thumbnail, { id: "", metadata: {} }, 32) : h("span", { class: `glyph ${point.kind}`, "aria-hidden": "true" });
      const inside = [sign, h("span", {}, nameOf(point)), h("small", {}, about)];
      const row = point.kind === "root" ? h("span", { class: "point-row" }, inside)
        : h("button", { type: "button", class: "point-row", onclick: () => choose(point) }, inside);
      for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
        row.addEventListener(event, () => light(at, on));
      return h("li", {}, row);
    })); // prettier-ignore
  }

  /** The texts on the way to the root, each once. */
  function steps(given) {
    const once = given.filter((step, at) => given.findIndex(({ text }) => text === step.text) === at);
    return h("ol", { class: "steps" }, once.map((step) => h("li", {},
      step.text === "[ROOT]" ? h("span", { class: "step" }, "[ROOT]", h("small", {}, "entails everything"))
        : h("button", { type: "button", class: "step", title: "Search for these words", onclick: () => state.ask(step.text, []) },
          step.text, h("small", {}, `radius ${step.radius.toFixed(2)}`))))); // prettier-ignore
  }

  class Hierarchy {
    constructor(index) {
      this.index = index;
      this.way = h("section", { class: "way", "aria-label": "Way to the root" });
      this.root = h("div", { class: "hierarchy" });
      this.points = [];
    }

    show({ points }) {
      this.points = [...points].sort((a, b) => ORDER[a.kind] - ORDER[b.kind] || a.radius - b.radius);
      const choose = (point) => (point.kind === "item" ? state.change({ way: point.id }) : state.ask(point.text || "", []));
      const drawing = disk(this.points, (point) => point.kind !== "query" && choose(point));
      const light = (at, on) => drawing.querySelector(`[data-at="${at}"]`)?.classList.toggle("lit", on);
      const rows = list(this.points, (point) => (point.kind === "query" ? state.change({ way: "" }) : choose(point)), light);
      this.root.replaceChildren(
        h("figure", { class: "disk-box" }, drawing, h("figcaption", {}, "The centre is the root, which is most general. The farther out a point, the more specific it is. Choose a picture to see its way to the root; choose a text to search for it.")),
        this.way, h("section", { class: "list", "aria-label": "Points of the disk" }, h("h3", {}, "Points of the disk"), rows)); // prettier-ignore
      announce(`${points.length} points in the disk`);
    }

    /** Draw the way of an item, or of the query, from it to the root. */
    async walk(term) {
      this.way.setAttribute("aria-busy", "true");
      try {
        const item = term.id === undefined ? null : backend.item(this.index, term.id);
        const [{ steps: found }, hit] = await Promise.all([backend.traverse(this.index, term), item]);
        const start = !hit ? h("p", { class: "from" }, `“${term.text}”`)
          : h("div", { class: "from" }, frame(hit.thumbnail, { id: hit.id, metadata: {} }, 96), h("div", {}, h("p", {}, titleOf(hit)), h("div", { class: "actions-row" }, actions(hit)))); // prettier-ignore
        this.way.replaceChildren(h("h3", {}, "Way to the root"), start, steps(found));
        announce(`Way to the root: ${this.way.querySelectorAll("li").length} texts`);
      } catch (error) {
        this.way.replaceChildren(h("h3", {}, "Way to the root"), h("p", { class: "error", role: "alert" }, error.message));
      }
      this.way.setAttribute("aria-busy", "false");
    }
  }

  window.limbeck.Hierarchy = Hierarchy;
})();
