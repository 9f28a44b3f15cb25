"use strict";
// The dialog of one item: the large picture, everything recorded about it, and its uses as a query.
(function () {
  const { h, iconButton, actions, frame, percent, scoreOf, titleOf, state, backend } = window.limbeck;
  const dialog = document.getElementById("detail");
  let around = { rows: () => [], index: "" }; // the pane that the item came from
  let shown = null;

  const hitsOf = (pane) => pane.rows().map((row) => row.hit);

  function value(given) {
    if (Array.isArray(given))
      return h(
        "ul",
        {},
        given.map((one) => h("li", {}, String(one))),
      );
    if (given !== null && typeof given === "object") return JSON.stringify(given);
    return String(given);
  }

  function facts(hit, scoreName) {
    const rows = [
      ["id", hit.id],
      ["score", scoreOf(hit, scoreName)],
      ["confidence", percent(hit.confidence)],
      ...Object.entries(hit.metadata || {}),
    ];
    const told = rows.filter(
      ([, given]) =>
        given !== null && given !== undefined && given !== "" && !(Array.isArray(given) && !given.length),
    );
    return h(
      "dl",
      {},
      told.map(([name, given]) =>
        h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, value(given))),
      ),
    );
  }

  function step(by) {
    const hits = hitsOf(around);
    const next = hits[hits.findIndex(({ id }) => id === shown.id) + by];
    if (next) state.change({ open: next.id }, { replace: true });
  }

  function fill(hit) {
    const hits = hitsOf(around);
    const at = hits.findIndex(({ id }) => id === hit.id);
    const uses = actions(hit).map((button) => {
      const text = { more: "More like this", plus: "Add to the query", minus: "Subtract from the query" }[button.dataset.act];
      button.className = button.dataset.act === "more" ? "primary" : "quiet";
      button.append(text);
      button.addEventListener("click", () => dialog.close());
      return button;
    });
    const previous = iconButton("left", "Previous hit", () => step(-1), { disabled: at <= 0 });
    const next = iconButton("right", "Next hit", () => step(1), {
      disabled: at < 0 || at + 1 >= hits.length,
    });
    dialog.replaceChildren(
      h(
        "div",
        { class: "detail-head" },
        h("h2", { id: "detail-title", tabindex: "-1", autofocus: true }, titleOf(hit)),
        previous,
        next,
        iconButton("close", "Close", () => dialog.close()),
      ),
      h(
        "div",
        { class: "detail-body" },
        h("div", { class: "large" }, frame(hit.picture || hit.thumbnail, hit, 800)),
        h(
          "div",
          { class: "about" },
          h("div", { class: "uses" }, uses),
          facts(hit, around.scoreName || "score"),
        ),
      ),
    );
  }

  async function draw(now, panes) {
    if (!now.open) {
      shown = null;
      if (dialog.open) dialog.close();
      return;
    }
    around = panes[now.at === "beside" ? 1 : 0] || around;
    if (shown && shown.id === now.open && dialog.open) return;
    let hit = hitsOf(around).find(({ id }) => id === now.open);
    try {
      hit ||= await backend.item(around.index, now.open);
    } catch {
      return state.change({ open: "" }, { replace: true });
    }
    if (state.get().open !== hit.id) return;
    shown = hit;
    fill(hit);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector("h2").focus();
  }

  dialog.addEventListener("close", () => {
    const row = shown && around.rows().find(({ dataset }) => dataset.id === shown.id);
    if (row) around.rove(row); // arrows in the dialog may have left the hit that opened it
    if (state.get().open) state.change({ open: "", at: "" });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });

  window.limbeck.detail = {
    draw,
    open: (hit, pane) => state.change({ open: hit.id, at: pane.place }),
  };
})();
