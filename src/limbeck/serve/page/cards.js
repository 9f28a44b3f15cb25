"use strict";
// One hit: its picture, its score, how sure it is, and what can be done with it.
(function () {
  const { h, icon, iconButton, count, titleOf, state, query } = window.limbeck;

  function scoreOf(hit, name) {
    if (hit.score === null || hit.score === undefined) return "";
    const number = Number.isInteger(hit.score) ? String(hit.score) : hit.score.toFixed(3);
    return `${name} ${number}`;
  }

  function percent(confidence) {
    return confidence === null || confidence === undefined ? "" : `${Math.round(100 * confidence)} %`;
  }

  /** A picture, or where there is none the name of the item. */
  function frame(url, hit, size) {
    if (!url) return h("span", { class: "no-picture" }, hit.id);
    const image = h("img", {
      src: url,
      alt: titleOf(hit),
      loading: "lazy",
      decoding: "async",
      width: size,
      height: size,
    });
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "no-picture" }, hit.id)), {
      once: true,
    });
    return image;
  }

  /** How a hit moved against another order: `before` is its rank there from 0, or −1. */
  function move(rank, before, what) {
    if (before === undefined || before === rank) return null;
    const up = before - rank;
    const [sign, words] =
      before < 0
        ? ["new", `not among the hits ${what}`]
        : up > 0
          ? [`▲ ${up}`, `${count(up, "place")} higher than ${what}`]
          : [`▼ ${-up}`, `${count(-up, "place")} lower than ${what}`];
    return h(
      "span",
      { class: before < 0 || up > 0 ? "move up" : "move down", title: words },
      h("span", { "aria-hidden": "true" }, sign),
      h("span", { class: "unseen" }, words),
    );
  }

  const more = (hit) => state.ask("", [{ id: hit.id, weight: 1 }]);
  const plus = (hit, weight) => query.add({ id: hit.id, weight });

  /** The three uses of a hit as a query; `tabindex` keeps them out of the tab order of a grid. */
  function actions(hit, properties = {}) {
    return [
      iconButton("like", `More like ${hit.id}`, () => more(hit), { ...properties, "data-act": "more" }),
      iconButton("plus", `Add ${hit.id} to the query`, () => plus(hit, 1), { ...properties, "data-act": "plus" }),
      iconButton("minus", `Subtract ${hit.id} from the query`, () => plus(hit, -1), { ...properties, "data-act": "minus" }),
    ];
  }

  /** The card of a hit: a row of the grid with one cell. */
  function card(hit, { rank, scoreName, before, against }) {
    const sure = percent(hit.confidence);
    const score = scoreOf(hit, scoreName);
    const alike = hit.alike || [];
    const fold =
      alike.length > 0 &&
      h(
        "button",
        { type: "button", class: "alike", tabindex: "-1", "aria-expanded": "false", "data-act": "alike" },
        `${alike.length} alike`,
      );
    const facts = [
      h("span", { class: "score" }, score),
      sure &&
        h("span", { class: "sure", title: "The confidence of this hit; see the cut-off" }, `${sure} sure`),
      h("span", { class: "unsure", hidden: true }, "unsure"),
      move(rank, before, against),
    ];
    const node = h(
      "div",
      {
        role: "row",
        class: "hit",
        tabindex: "-1",
        "aria-selected": "false",
        "aria-rowindex": rank + 1,
        dataset: { id: hit.id },
      },
      h(
        "div",
        { role: "gridcell" },
        h(
          "div",
          { class: "frame" },
          frame(hit.thumbnail, hit, 256),
          h("span", { class: "tick" }, icon("check")),
          h("div", { class: "actions" }, actions(hit, { tabindex: "-1" })),
        ),
        h(
          "p",
          { class: titleOf(hit) === hit.id ? "title name" : "title", title: titleOf(hit) },
          titleOf(hit),
        ),
        h("div", { class: "facts" }, facts, fold),
      ),
    );
    node.hit = hit;
    return node;
  }

  /** Grey a card below the cut-off, and say so in words. */
  function mark(node, cut) {
    const { confidence } = node.hit;
    const below = confidence !== null && confidence !== undefined && confidence < cut;
    node.classList.toggle("below", below);
    node.querySelector(".unsure").hidden = !below;
    return below;
  }

  Object.assign(window.limbeck, { card, actions, frame, mark, scoreOf, percent, more, plus });
})();
