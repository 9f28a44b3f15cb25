"use strict";
// The search box and the chips: what is asked for, what to leave out, and how much each term weighs.
(function () {
  const { h, icon, iconButton, state, backend } = window.limbeck;
  const WEIGHTS = [0.25, 0.5, 1, 1.5, 2, 3, 4];
  const box = document.getElementById("words");
  const chips = document.getElementById("chips");
  const shown = new Map(); // uploaded picture -> object URL
  const thumbnails = new Map(); // index and id -> thumbnail of an item

  function urlOf(blob) {
    if (!shown.has(blob)) shown.set(blob, URL.createObjectURL(blob));
    return shown.get(blob);
  }

  /** The thumbnail of an item of a chip; fetched once, and drawn when it is there. */
  function thumbnailOf({ id }) {
    const { index } = state.get();
    const key = `${index} ${id}`;
    if (!thumbnails.has(key)) {
      thumbnails.set(key, null);
      const done = ({ thumbnail }) => thumbnail && (thumbnails.set(key, thumbnail), draw(state.get()));
      backend.item(index, id).then(done, () => {}); // an unknown id is told by the search itself
    }
    return thumbnails.get(key);
  }

  function nameOf(term) {
    return term.text !== undefined ? term.text : term.id !== undefined ? `like ${term.id}` : "your picture";
  }

  function add(term) {
    const { text, terms } = state.get();
    const same = (other) => ["text", "id", "image"].every((kind) => other[kind] === term[kind]);
    state.ask(text, [...terms.filter((other) => !same(other)), term]);
  }

  function replace(at, term) {
    const { text, terms } = state.get();
    state.ask(text, term ? terms.with(at, term) : terms.toSpliced(at, 1));
  }

  /** The words in the box become a chip, so that more words can follow. */
  function chipOf(sign) {
    const text = box.value.trim();
    if (!text) return box.focus();
    box.value = "";
    state.ask("", [...state.get().terms, { text, weight: sign }]);
    box.focus();
  }

  function weightOf(term, at) {
    const now = Math.abs(term.weight);
    const choice = h(
      "select",
      { class: "weight", "aria-label": `Weight of ${nameOf(term)}`, title: "Weight" },
      [...new Set([...WEIGHTS, now])]
        .sort((a, b) => a - b)
        .map((weight) => h("option", { value: weight, selected: weight === now }, `× ${weight}`)),
    );
    choice.addEventListener("change", () => {
      replace(at, { ...term, weight: Math.sign(term.weight) * Number(choice.value) });
      chips.querySelectorAll(".weight")[at].focus();
    });
    return choice;
  }

  function chip(term, at) {
    const minus = term.weight < 0;
    const name = nameOf(term);
    const turn = iconButton(
      minus ? "minus" : "plus",
      `${minus ? "Without" : "With"} ${name}: change the sign`,
      () => {
        replace(at, { ...term, weight: -term.weight });
        chips.querySelectorAll(".sign")[at].focus();
      },
    );
    turn.classList.add("sign");
    const remove = iconButton("close", `Remove ${name}`, () => {
      replace(at, null);
      (chips.querySelectorAll(".remove")[Math.max(at - 1, 0)] || box).focus();
    });
    remove.classList.add("remove");
    const picture = term.image ? urlOf(term.image) : term.id !== undefined && thumbnailOf(term);
    return h(
      "li",
      { class: minus ? "chip minus" : "chip" },
      turn,
      picture && h("img", { src: picture, alt: "", width: 28, height: 28 }),
      h("span", { class: "chip-name" }, name),
      weightOf(term, at),
      remove,
    );
  }

  function draw(now) {
    if (document.activeElement !== box || box.dataset.text !== now.text) box.value = now.text;
    box.dataset.text = now.text;
    const all = h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "link",
          onclick: () => {
            state.ask("", []);
            box.focus();
          },
        },
        "Clear all",
      ),
    );
    chips.replaceChildren(...now.terms.map(chip), ...(now.terms.length ? [all] : []));
    chips.hidden = !now.terms.length;
    const notice = document.getElementById("notice");
    notice.hidden = !state.pictureLost();
    notice.textContent = state.pictureLost()
      ? "This link was made with an uploaded picture. A link cannot hold it: drop the picture here again."
      : "";
  }

  document.getElementById("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    box.dataset.text = box.value.trim();
    state.ask(box.value.trim(), state.get().terms);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    box.value = box.dataset.text = "";
    if (state.get().text) state.ask("", state.get().terms);
  });
  const tool = (name, label, sign) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        "data-sign": sign,
        title: label,
        "aria-label": label,
        onclick: () => chipOf(sign),
      },
      icon(name),
    );
  document
    .getElementById("box-tools")
    .append(
      tool("plus", "Add these words as a term", 1),
      tool("minus", "Exclude what these words describe", -1),
    );
  document.getElementById("home").addEventListener("click", (event) => {
    event.preventDefault();
    state.ask("", [], { filters: {}, where: "", hierarchy: "", view: "" });
    box.focus();
  });

  /** Offer the box for words and for pictures, or for what the index reads of them. */
  function allow(words, pictures) {
    box.form.hidden = !words && !pictures;
    for (const node of box.form.querySelectorAll("#words, #go, [data-sign]")) node.hidden = !words;
  }

  window.limbeck.query = { add, allow, draw, box, nameOf };
})();
