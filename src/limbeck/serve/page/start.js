"use strict";
// The start page: questions that this collection can answer, drawn from it.
(function () {
  const { h, count, frame, titleOf, more, state, backend } = window.limbeck;

  function about(info) {
    const kind = info.bits ? `codes of ${info.bits} bits` : `vectors (${info.space})`;
    return h("p", { class: "about-index" }, `${count(info.items, "item")} in ${info.name}, as ${kind}.`);
  }

  function texts(given) {
    const words = (text) =>
      h(
        "li",
        {},
        h("button", { type: "button", class: "example", onclick: () => state.ask(text, []) }, text),
      );
    return h("section", {}, h("h2", {}, "Search for"), h("ul", { class: "examples" }, given.map(words)));
  }

  function pictures(hits, title) {
    const one = (hit) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "example-picture",
            "aria-label": `More like ${titleOf(hit)}`,
            onclick: () => more(hit),
          },
          frame(hit.thumbnail, { ...hit, metadata: {} }, 256),
        ),
      );
    const node = h("section", {}, h("h2", {}, title), h("ul", { class: "grid" }, hits.map(one)));
    for (const image of node.querySelectorAll("img")) image.alt = "";
    return node;
  }

  window.limbeck.startPage = async function (info) {
    const found = await backend.examples(info.name);
    return h(
      "div",
      { class: "start" },
      about(info),
      found.texts.length > 0 && info.text && texts(found.texts),
      found.items.length > 0 &&
        pictures(
          found.items,
          `${found.texts.length && info.text ? "Or start" : "Start"} from ${info.has_media ? "a picture" : "an item"}`,
        ),
    );
  };
})();
