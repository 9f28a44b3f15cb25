"use strict";
// A Lorentz index around the query: the Poincaré disk, the same points as a list, and a way to the root.
(function () {
  const { h, frame, titleOf, actions, announce, state, backend, disk } = window.limbeck;
  const KIND = { root: "root", text: "text", query: "query", item: "picture" };
  const ABOUT =
    "The centre is the root, which is most general; the rings are distances from it. The farther out a " +
    "point, the more specific it is. A solid line leads to what is more general than the query, a dashed " +
    "line to what is more specific. Choose a picture to see its way to the root; choose a text to search for it.";
  const { nameOf, ORDER } = disk;

  function relation({ kind, entails, entailed }) {
    if (kind === "query" || kind === "root") return "";
    return entails && entailed ? "" : entails ? ", more general" : entailed ? ", more specific" : "";
  }

  function list(points, choose, light) {
    return h(
      "ol",
      { class: "points" },
      points.map((point, at) => {
        const about = `${KIND[point.kind]}, radius ${point.radius.toFixed(2)}${relation(point)}`;
        const sign =
          point.kind === "item"
            ? frame(point.thumbnail, { id: "", metadata: {} }, 32)
            : h("span", { class: `glyph ${point.kind}`, "aria-hidden": "true" });
        const inside = [sign, h("span", {}, nameOf(point), " ", h("small", {}, about))];
        if (point.kind === "item") sign.alt = "";
        const row =
          point.kind === "root"
            ? h("span", { class: "point-row" }, inside)
            : h("button", { type: "button", class: "point-row", onclick: () => choose(point) }, inside);
        for (const [event, on] of [
          ["pointerenter", true],
          ["focus", true],
          ["pointerleave", false],
          ["blur", false],
        ])
          row.addEventListener(event, () => light(at, on));
        return h("li", {}, row);
      }),
    );
  }

  /** The texts on the way to the root, each once. */
  function steps(given) {
    const once = given.filter((step, at) => given.findIndex(({ text }) => text === step.text) === at);
    return h(
      "ol",
      { class: "steps" },
      once.map((step) =>
        h(
          "li",
          {},
          step.text === "[ROOT]"
            ? h("span", { class: "step" }, "[ROOT]", h("small", {}, "entails everything"))
            : h(
                "button",
                {
                  type: "button",
                  class: "step",
                  title: "Search for these words",
                  onclick: () => state.ask(step.text, []),
                },
                step.text,
                h("small", {}, `radius ${step.radius.toFixed(2)}`),
              ),
        ),
      ),
    );
  }

  class Hierarchy {
    constructor(index) {
      this.index = index;
      this.way = h("section", { class: "way", "aria-label": "Way to the root" });
      this.root = h("div", { class: "hierarchy" });
      this.points = [];
    }

    show({ points, curv }) {
      this.points = [...points].sort((a, b) => ORDER[a.kind] - ORDER[b.kind] || a.radius - b.radius);
      const choose = (point) =>
        point.kind === "item" ? state.change({ way: point.id }) : state.ask(point.text || "", []);
      const { drawing, scale } = disk.draw(this.points, curv, choose);
      const zoom = scale > 1 ? ` The disk is enlarged ${scale.toFixed(1)} times.` : "";
      const light = (at, on) => drawing.querySelector(`[data-at="${at}"]`)?.classList.toggle("lit", on);
      const rows = list(
        this.points,
        (point) => (point.kind === "query" ? state.change({ way: "" }) : choose(point)),
        light,
      );
      this.root.replaceChildren(
        h("figure", { class: "disk-box" }, drawing, h("figcaption", {}, ABOUT + zoom)),
        this.way,
        h(
          "section",
          { class: "list", "aria-label": "Points of the disk" },
          h("h3", {}, "Points of the disk"),
          rows,
        ),
      );
      announce(`${points.length} points in the disk`);
    }

    /** Draw the way of an item, or of the query, from it to the root. */
    async walk(term) {
      this.way.setAttribute("aria-busy", "true");
      try {
        const item = term.id === undefined ? null : backend.item(this.index, term.id);
        const [{ steps: found }, hit] = await Promise.all([backend.traverse(this.index, term), item]);
        const start = !hit
          ? h("p", { class: "from" }, `“${term.text}”`)
          : h(
              "div",
              { class: "from" },
              frame(hit.thumbnail, { id: hit.id, metadata: {} }, 96),
              h("div", {}, h("p", {}, titleOf(hit)), h("div", { class: "actions-row" }, actions(hit))),
            );
        this.way.replaceChildren(h("h3", {}, "Way to the root"), start, steps(found));
        announce(`Way to the root: ${this.way.querySelectorAll("li").length} texts`);
      } catch (error) {
        this.way.replaceChildren(
          h("h3", {}, "Way to the root"),
          h("p", { class: "error", role: "alert" }, error.message),
        );
      }
      this.way.setAttribute("aria-busy", "false");
    }
  }

  window.limbeck.Hierarchy = Hierarchy;
})();
