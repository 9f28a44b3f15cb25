"use strict";
// Elements, icons, the live region, and the one kind of error that a backend rejects with.
(function () {
  const SVG = "http://www.w3.org/2000/svg";
  const ICONS = {
    search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20",
    picture: "M4 6.5h16v11H4zM4 15l4-4 4 4 3-3 5 4.5M15.5 9.5h.01",
    like: "M4 4h7v7H4zM13 13h7v7h-7zM13 4h7v7h-7zM4 16.5h7M7.5 13v7",
    plus: "M12 5v14M5 12h14",
    minus: "M5 12h14",
    close: "M6 6l12 12M18 6 6 18",
    open: "M9 5H5v4M15 19h4v-4M5 5l6 6M19 19l-6-6",
    auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
    light:
      "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
    dark: "M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5z",
    keys: "M3.5 7h17v10h-17zM7 10.2h.01M10.3 10.2h.01M13.6 10.2h.01M17 10.2h.01M8 14h8",
    left: "M14.5 5.5 8 12l6.5 6.5",
    right: "M9.5 5.5 16 12l-6.5 6.5",
    check: "M5 12.5l4.5 4.5L19 7.5",
  };

  /** The error of every backend: one line, and what the page shows beside it. */
  class Failure extends Error {
    constructor(message, { code = "", correlationId = "", offline = false, again = true } = {}) {
      super(message);
      Object.assign(this, { code, correlationId, offline, again });
    }
  }

  function set(node, name, value) {
    if (value === null || value === undefined || value === false) return;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : value);
  }

  function h(tag, properties, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) set(node, name, value);
    node.append(
      ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
    );
    return node;
  }

  function svg(tag, properties, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(properties || {})) set(node, name, value);
    node.append(...children);
    return node;
  }

  function icon(name) {
    const box = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" };
    return svg("svg", box, svg("path", { d: ICONS[name] }));
  }

  /** A button of an icon alone; its label is also its tooltip. */
  function iconButton(name, label, onclick, properties = {}) {
    return h(
      "button",
      { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties },
      icon(name),
    );
  }

  function announce(text) {
    document.getElementById("live").textContent = text;
  }

  function count(number, noun) {
    return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  }

  /** What names an item to a reader: its first caption, or its id. */
  function titleOf(hit) {
    const captions = hit.metadata && (hit.metadata.captions || hit.metadata.caption || hit.metadata.title);
    const first = Array.isArray(captions) ? captions[0] : captions;
    return first ? String(first) : hit.id;
  }

  Object.assign(window.limbeck, { Failure, h, svg, icon, iconButton, announce, count, titleOf });
})();
