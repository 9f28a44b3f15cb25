"use strict";
// The keys of the page, and whether `/` moves to the search box.
(function () {
  const { h, iconButton, query } = window.limbeck;
  const KEYS = [
    ["/", "Go to the search box"],
    ["Enter", "Search; on a picture: open it"],
    ["Escape", "Clear the search box; close a dialog"],
    ["← → ↑ ↓", "Move in the results; in a dialog: previous and next hit"],
    ["Home, End", "First and last hit"],
    ["Space", "Select a hit"],
    ["m", "More like this hit"],
    ["+ −", "Add the hit to the query, or leave out what is like it"],
    ["a", "Show the near-duplicates of a hit"],
  ];
  const dialog = document.getElementById("keys");
  let slash = true;
  try {
    slash = localStorage.getItem("limbeck-slash") !== "off";
  } catch {
    // storage is blocked: the choice lasts as long as the page
  }

  const box = h("input", { type: "checkbox", id: "slash" });
  box.checked = slash;
  box.addEventListener("change", () => {
    slash = box.checked;
    try {
      localStorage.setItem("limbeck-slash", slash ? "on" : "off");
    } catch {
      // as above
    }
  });
  dialog.append(
    h(
      "div",
      { class: "detail-head" },
      h("h2", { id: "keys-title" }, "Keys"),
      iconButton("close", "Close", () => dialog.close()),
    ),
    h(
      "dl",
      { class: "keys" },
      KEYS.map(([key, does]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, does))),
    ),
    h("label", { class: "control" }, box, "/ goes to the search box"),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox], [type=range]), textarea, select, dialog");
    if (event.key !== "/" || !slash || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    query.box.focus();
    query.box.select();
  });
})();
