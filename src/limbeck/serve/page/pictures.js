"use strict";
// A picture as the query: by file button, by drop, by paste.
(function () {
  const { h, icon, announce, state, query } = window.limbeck;
  const drop = document.getElementById("drop");
  let wanted = false; // whether the index reads pictures

  const SENT = ["image/jpeg", "image/png", "image/webp", "image/gif"]; // what a service reads
  const [LARGE, SIDE] = [4e6, 2048]; // bytes and pixels: models see a few hundred pixels a side
  const isPicture = (file) => Boolean(file) && file.type.startsWith("image/");

  /** A file of another type, or a large one, as a JPEG that a service reads. */
  async function readable(file) {
    if (SENT.includes(file.type) && file.size <= LARGE) return file;
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = h("canvas", {
      width: Math.round(scale * bitmap.width),
      height: Math.round(scale * bitmap.height),
    });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  }

  async function take(file, { add = false } = {}) {
    const image = isPicture(file) ? await readable(file).catch(() => null) : null;
    if (!image) return tell("This browser cannot open that file as a picture; give a JPEG, PNG or WebP file.");
    const term = { image, weight: 1 };
    query.box.value = add ? query.box.value : "";
    if (add) query.add(term);
    else state.ask("", [term]);
  }

  function tell(text) {
    const notice = document.getElementById("notice");
    notice.hidden = false;
    notice.textContent = text;
    announce(text);
  }

  function zone(text, add) {
    const node = h("div", { class: "zone" }, icon(add ? "plus" : "picture"), h("span", {}, text));
    node.addEventListener("dragenter", () => node.classList.add("over"));
    node.addEventListener("dragleave", () => node.classList.remove("over"));
    node.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      drop.hidden = true;
      take(event.dataTransfer.files[0], { add });
    });
    return node;
  }

  const input = h("input", {
    type: "file",
    accept: "image/*",
    id: "file",
    class: "unseen",
    tabindex: "-1",
    "aria-hidden": "true",
  });
  const button = h(
    "button",
    {
      type: "button",
      class: "small",
      id: "upload",
      title: "Search with a picture",
      "aria-label": "Search with a picture",
      onclick: () => input.click(),
    },
    icon("picture"),
  );
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });

  const carries = (event) => wanted && [...(event.dataTransfer?.types || [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!carries(event) || !drop.hidden) return;
    const more = state.asked().length > 0;
    drop.replaceChildren(
      zone("Search with this picture", false),
      ...(more ? [zone("Add it to the query", true)] : []),
    );
    drop.hidden = false;
  });
  document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    drop.hidden = true;
    if (!carries(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find(isPicture);
    if (!file || !wanted) return;
    event.preventDefault();
    take(file);
  });

  document.getElementById("box-tools").append(input, button);
  window.limbeck.pictures = {
    /** Offer pictures as queries, or not. */
    allow(allowed) {
      wanted = allowed;
      button.hidden = !allowed;
    },
  };
})();
