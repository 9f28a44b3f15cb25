"use strict";
// Draws points of a Lorentz index on a Poincaré disk. It is for the eye: the list beside it has every point.
(function () {
  const { svg } = window.limbeck;
  const SIZE = 0.055; // of a picture in the disk, whose radius is 1
  const WIDE = 1.3; // half the width of the drawing
  const ORDER = { root: 0, query: 1, text: 2, item: 3 }; // also of importance: the first labels find a place

  const nameOf = (point) =>
    point.kind === "root"
      ? "[ROOT]"
      : point.kind === "query" && point.id
        ? `like ${point.id}`
        : point.text || point.id;

  /** Points and rings as they are drawn: enlarged until the farthest point is near the rim. */
  function enlarged(points, curv) {
    const far = Math.max(...points.map(({ x, y }) => Math.hypot(x, y)), 0.05);
    const scale = Math.max(1, 0.9 / far);
    const rings = [0.5, 1, 1.5, 2, 3, 4, 6].map((radius) => ({
      radius,
      r: scale * Math.tanh((Math.sqrt(curv) * radius) / 2),
    }));
    return {
      scale,
      rings: rings.filter(({ r }) => r < 0.97),
      spots: points.map((point) => ({ ...point, x: scale * point.x, y: -scale * point.y })),
    };
  }

  function picture(point, at) {
    const clip = `clip-${at}`;
    const place = { cx: point.x, cy: point.y, r: SIZE };
    const group = svg(
      "g",
      { class: "point item" },
      svg("clipPath", { id: clip }, svg("circle", place)),
      svg("circle", { ...place, class: "back" }),
    );
    if (point.thumbnail)
      group.append(
        svg("image", {
          href: point.thumbnail,
          x: point.x - SIZE,
          y: point.y - SIZE,
          width: 2 * SIZE,
          height: 2 * SIZE,
          preserveAspectRatio: "xMidYMid slice",
          "clip-path": `url(#${clip})`,
        }),
      );
    group.append(svg("circle", { ...place, class: "rim" }));
    return group;
  }

  function mark({ kind, x, y }) {
    const [s, r] = [0.022, 0.03];
    if (kind === "root") return svg("rect", { x: x - s, y: y - s, width: 2 * s, height: 2 * s });
    if (kind === "query") return svg("circle", { cx: x, cy: y, r });
    return svg("path", { d: `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}z` });
  }

  const PHONE = window.matchMedia("(max-width: 48rem)"); // results.css has larger letters there

  const touch = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

  /** A label right, left, below or above its point; none where it would cover something (the list has all). */
  function label(point, taken) {
    const text = nameOf(point);
    const [most, large] = PHONE.matches ? [20, 0.075 / 0.046] : [28, 1];
    const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    const [w, h, gap] = [0.0265 * large * short.length, 0.05 * large, 0.045];
    const { x, y } = point;
    const places = [
      [x + gap, y, "start"],
      [x - gap, y, "end"],
      [x, y + 0.065 * large, "middle"],
      [x, y - 0.065 * large, "middle"],
    ];
    for (const [at, line, anchor] of places) {
      const box = {
        x: anchor === "start" ? at : anchor === "end" ? at - w : at - w / 2,
        y: line - h / 2,
        w,
        h,
      };
      if (box.x < -WIDE || box.x + w > WIDE || taken.some((other) => touch(box, other))) continue;
      taken.push(box);
      return svg("text", { x: at, y: line + 0.016, "text-anchor": anchor }, short);
    }
    return null;
  }

  function disk(points, curv, choose) {
    const { scale, rings, spots } = enlarged(points, curv);
    const summary =
      `Poincaré disk of ${points.length} points. The centre is the root; the farther out a point, ` +
      "the more specific it is. The list beside it names every point.";
    const root = svg(
      "svg",
      { viewBox: `${-WIDE} -1.02 ${2 * WIDE} 2.04`, role: "img", "aria-label": summary, class: "disk" },
      svg("circle", { r: 1, class: "edge" }),
    );
    for (const { r, radius } of rings)
      root.append(
        svg("circle", { r, class: "ring" }),
        svg("text", { x: 0, y: -r + 0.05, class: "ring-label", "text-anchor": "middle" }, String(radius)),
      );
    const half = (kind) => (kind === "item" ? SIZE : 0.035);
    const taken = spots.map(({ kind, x, y }) => ({
      x: x - half(kind),
      y: y - half(kind),
      w: 2 * half(kind),
      h: 2 * half(kind),
    }));
    taken.push(...rings.map(({ r }) => ({ x: -0.05, y: -r, w: 0.1, h: 0.065 })));
    const query = spots.find(({ kind }) => kind === "query");
    for (const point of spots)
      if (query && point !== query && point.kind !== "root" && (point.entails || point.entailed))
        root.append(
          svg("path", {
            class: point.entails ? "tie general" : "tie",
            d: `M${point.x} ${point.y}L${query.x} ${query.y}`,
          }),
        );
    const labels = spots.map((point) => (point.kind === "item" ? null : label(point, taken)));
    const picturesFirst = [...spots.keys()].sort((a, b) => ORDER[spots[b].kind] - ORDER[spots[a].kind]);
    for (const at of picturesFirst) {
      const point = spots[at];
      const node =
        point.kind === "item" ? picture(point, at) : svg("g", { class: `point ${point.kind}` }, mark(point));
      if (labels[at]) node.append(labels[at]);
      node.append(svg("title", {}, nameOf(point)));
      node.dataset.at = at;
      if (point.kind === "item" || point.kind === "text")
        node.addEventListener("click", () => choose(points[at]));
      root.append(node);
    }
    return { drawing: root, scale };
  }

  window.limbeck.disk = { draw: disk, ORDER, nameOf };
})();
