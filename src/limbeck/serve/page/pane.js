"use strict";
// The results of one index: a grid with one tab stop, or a message.
(function () {
  const { h, count, announce, card, mark, more, plus, state, backend, detail } = window.limbeck;

  class Pane {
    /** `place` is "" for the first index and "beside" for the other. */
    constructor(index, place) {
      Object.assign(this, { index, place, scoreName: "score" });
      this.status = h("p", { class: "status" });
      this.heading = h("h2", {}, index);
      this.body = h("div", { class: "pane-body" });
      this.root = h(
        "section",
        { class: "pane", "aria-label": `Results of ${index}` },
        h("header", {}, this.heading, this.status),
        this.body,
      );
      this.grid = null;
    }

    loading() {
      this.root.setAttribute("aria-busy", "true");
      this.status.textContent = "Searching …";
      if (!this.grid)
        this.body.replaceChildren(
          h(
            "div",
            { class: "grid", "aria-hidden": "true" },
            Array.from({ length: 12 }, () => h("div", { class: "bone" })),
          ),
        );
    }

    settle(status, ...children) {
      this.root.setAttribute("aria-busy", "false");
      this.status.textContent = status;
      this.grid = null;
      this.choose([]);
      this.body.replaceChildren(...children);
    }

    fail(error, again) {
      const from = [error.code, error.correlationId && `id ${error.correlationId}`]
        .filter(Boolean)
        .join(" · ");
      const button =
        error.again && h("button", { type: "button", class: "primary", onclick: again }, "Try again");
      this.settle(
        "",
        h(
          "div",
          { class: error.offline ? "message offline" : "message error", role: "alert" },
          h("p", {}, h("strong", {}, error.offline ? "Offline. " : "Error. "), error.message),
          from && h("p", { class: "trace" }, from),
          button,
        ),
      );
    }

    empty(reset, hierarchy) {
      const label = hierarchy ? "Show all" : "Clear the filters";
      const button = reset && h("button", { type: "button", class: "primary", onclick: reset }, label);
      const told = hierarchy
        ? `Nothing here is ${hierarchy.replace("-", " ")} than the query. Choose “All”, or use other words.`
        : "Nothing in this collection fits. Use other words, or fewer filters.";
      this.settle(
        "no hits",
        h(
          "div",
          { class: "message" },
          h("p", {}, told),
          button,
        ),
      );
      announce(`No hits in ${this.index}`);
    }

    /** Show an answer; `before` maps ids to ranks of another order, named by `against`. */
    show(answer, { before, against, cut, longer }) {
      const { hits } = answer;
      const focused = this.grid?.contains(document.activeElement)
        ? document.activeElement.closest(".hit")
        : null;
      this.settle(`${count(hits.length, "hit")} · ${answer.engine} · ${answer.ms.toFixed(1)} ms`);
      this.scoreName = answer.score_name;
      const rankOf = (id) => (before ? (before.has(id) ? before.get(id) : -1) : undefined);
      const rows = hits.map((hit, rank) =>
        card(hit, { rank, scoreName: answer.score_name, before: rankOf(hit.id), against }),
      );
      this.grid = h(
        "div",
        {
          class: "grid",
          role: "grid",
          "aria-label": `${count(hits.length, "hit")} for ${answer.query}`,
          "aria-multiselectable": "true",
        },
        rows,
      );
      this.listen();
      const button = h(
        "button",
        {
          type: "button",
          class: "quiet more",
          onclick: () => state.change({ k: Math.min(2 * state.get().k, state.K_MOST) }),
        },
        "Show more",
      );
      this.body.replaceChildren(this.grid, ...(longer ? [button] : []));
      this.cut(cut);
      this.rove(rows.find((row) => row.dataset.id === focused?.dataset.id) || rows[0], Boolean(focused));
    }

    cut(value) {
      const below = this.rows().filter((row) => mark(row, value)).length;
      const old = this.status.querySelector(".below-count");
      if (old) old.remove();
      if (below) this.status.append(h("span", { class: "below-count" }, ` · ${below} below the cut-off`));
      return below;
    }

    rows() {
      return this.grid ? [...this.grid.children] : [];
    }

    rove(row, focus = true) {
      for (const other of this.rows()) other.tabIndex = other === row ? 0 : -1;
      if (focus && row) {
        row.focus({ preventScroll: true });
        row.scrollIntoView({ block: "nearest" });
      }
    }

    /** The card one line up or down: the nearest one in the next row of cards. */
    vertical(row, down) {
      const rows = this.rows();
      const ahead = down ? rows.slice(rows.indexOf(row) + 1) : rows.slice(0, rows.indexOf(row)).reverse();
      const line = ahead.find((other) => other.offsetTop !== row.offsetTop)?.offsetTop;
      const far = (other) => Math.abs(other.offsetLeft - row.offsetLeft);
      return ahead.filter((other) => other.offsetTop === line).sort((a, b) => far(a) - far(b))[0] || row;
    }

    key(event, row) {
      const rows = this.rows();
      const at = rows.indexOf(row);
      const to = {
        ArrowRight: () => rows[at + 1] || row,
        ArrowLeft: () => rows[at - 1] || row,
        ArrowDown: () => this.vertical(row, true),
        ArrowUp: () => this.vertical(row, false),
        Home: () => rows[0],
        End: () => rows.at(-1),
      }[event.key];
      const act = {
        Enter: () => detail.open(row.hit, this),
        " ": () => this.select(row),
        m: () => more(row.hit),
        "+": () => plus(row.hit, 1),
        "-": () => plus(row.hit, -1),
        a: () => this.unfold(row),
      }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !(to || act)) return;
      event.preventDefault();
      if (to) this.rove(to());
      else act();
    }

    listen() {
      this.grid.addEventListener("keydown", (event) => {
        if (event.target.classList.contains("hit")) this.key(event, event.target);
      });
      this.grid.addEventListener("click", (event) => {
        const row = event.target.closest(".hit");
        if (!row) return;
        this.rove(row, false);
        const act = event.target.closest("button")?.dataset.act;
        if (act === "alike") this.unfold(row);
        else if (event.target.closest(".tick")) this.select(row);
        else if (!act) detail.open(row.hit, this);
      });
    }

    select(row) {
      const on = row.getAttribute("aria-selected") !== "true";
      row.setAttribute("aria-selected", String(on));
      const chosen = this.rows().filter((other) => other.getAttribute("aria-selected") === "true");
      this.choose(chosen.map((other) => other.dataset.id));
    }

    choose(ids) {
      this.root.dispatchEvent(new CustomEvent("choose", { bubbles: true, detail: { ids, pane: this } }));
    }

    unselect() {
      for (const row of this.rows()) row.setAttribute("aria-selected", "false");
      this.choose([]);
    }

    /** Show or hide the items that were folded into a hit, after it. */
    async unfold(row) {
      const button = row.querySelector(".alike");
      if (!button) return;
      const open = this.rows().filter((other) => other.dataset.of === row.dataset.id);
      button.setAttribute("aria-expanded", String(!open.length));
      if (open.length) {
        for (const other of open) other.remove();
        return;
      }
      const found = await Promise.allSettled(row.hit.alike.map((id) => backend.item(this.index, id)));
      const cards = found
        .filter(({ status }) => status === "fulfilled")
        .map(({ value }) => {
          const node = card({ ...value, alike: [] }, { rank: this.rows().indexOf(row), scoreName: "" });
          node.classList.add("folded");
          node.querySelector(".score").textContent = "alike";
          node.dataset.of = row.dataset.id;
          return node;
        });
      row.after(...cards);
      announce(`${count(cards.length, "picture")} alike shown`);
    }
  }

  window.limbeck.Pane = Pane;
})();
