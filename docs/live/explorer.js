// The explorer of α, c, λ and k: what a draft length is worth, as a curve, a map and a sentence.
//
//     <div data-figure="explorer"></div>
//     <script src="explorer.js" defer></script>
//
// A classic script, because browsers load no ES modules from file://. It fills every such element,
// and puts its functions into `globalThis.fairdraftExplorer`: `import "./explorer.js"` does the
// same in a module, and in Node `require` returns them. No network, no storage, no dependencies.
//
// The equations are those of fairdraft/economics/equations/; tests/docs/test_live.py compares them.
(function (root) {
  "use strict";

  const TIE = 1e-9; // as in best_k.py: within it the shorter draft is taken
  const LONGEST = 16; // draft lengths that are tried
  const START = { alpha: 0.7, c: 0.05, growth: 0.02, k: 5 };
  const LEVELS = [1.5, 2, 3, 5]; // speedups that have a line of their own on the map
  const SLIDERS = [
    ["alpha", "Acceptance rate α", 0, 1, 0.01],
    ["c", "Draft cost c, in target runs", 0, 1, 0.01],
    ["growth", "Verify growth λ, in target runs", 0, 0.5, 0.01],
    ["k", "Draft length k, in tokens", 0, LONGEST, 1],
  ];
  const EXAMPLES = [
    ["A small trained head", { alpha: 0.7, c: 0.05, growth: 0.02, k: 5 }],
    ["A lookup that is seldom right", { alpha: 0.3, c: 0, growth: 0.02, k: 4 }],
    ["A drafter half the target's size", { alpha: 0.8, c: 0.5, growth: 0.02, k: 4 }],
    ["A loss at every k", { alpha: 0.2, c: 0.5, growth: 0, k: 5 }],
  ];

  // ---- the equations ------------------------------------------------------------------------

  /** Expected tokens of a run that verifies k draft tokens: 1 + α + … + α^k. */
  function expectedTokens(alpha, k) {
    let tokens = 1;
    let survival = 1;
    for (let j = 0; j < k; j += 1) {
      survival *= alpha;
      tokens += survival;
    }
    return tokens;
  }

  /** Time of a round in target runs: 1 + (c + λ) k. */
  function roundCost(c, growth, k) {
    return 1 + (c + growth) * k;
  }

  /** Expected speedup over no speculation: below 1 it is slower. */
  function speedup(alpha, c, growth, k) {
    return expectedTokens(alpha, k) / roundCost(c, growth, k);
  }

  /** The draft length in 0 … longest with the highest speedup; 0 means: turn it off. */
  function optimalK(alpha, c, growth, longest = LONGEST) {
    const gains = Array.from({ length: longest + 1 }, (_, k) => speedup(alpha, c, growth, k));
    const most = Math.max(...gains);
    return gains.findIndex((gain) => gain >= most - TIE * Math.abs(most));
  }

  /** A speedup that no draft length gets past; infinite at α = 1. */
  function ceiling(alpha) {
    return 1 / (1 - alpha);
  }

  /** The highest c + λ at which some k in 1 … longest still reaches a speedup; may be negative. */
  function dearestCost(alpha, level, longest = LONGEST) {
    let most = -Infinity;
    for (let k = 1; k <= longest; k += 1) {
      most = Math.max(most, (expectedTokens(alpha, k) / level - 1) / k);
    }
    return most;
  }

  // ---- the words ----------------------------------------------------------------------------

  const shown = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "∞");
  const tokens = (count) => `${count} token${count === 1 ? "" : "s"}`;

  /**
   * What the figure says.
   *
   * @returns {{best: number, off: boolean, headline: string, details: string[]}}
   */
  function describe({ alpha, c, growth, k }) {
    const best = optimalK(alpha, c, growth);
    const extra = c + growth;
    const mine = speedup(alpha, c, growth, k);
    const details = [];
    let headline;
    if (best === 0) {
      headline = "Turn it off: no draft length makes this faster.";
      details.push(
        `A draft token costs c + λ = ${shown(extra)} of a target run and is accepted with ` +
          `probability α = ${shown(alpha)}. Speculation pays only where α is above c + λ.`
      );
    } else {
      headline =
        `Draft ${tokens(best)}: ${shown(speedup(alpha, c, growth, best))} times as fast as ` +
        "without speculation.";
      details.push(
        `A round then gives ${shown(expectedTokens(alpha, best))} tokens and takes ` +
          `${shown(roundCost(c, growth, best))} target runs.`
      );
    }
    if (k !== best && k > 0) {
      details.push(
        mine < 1
          ? `Your k = ${k} is slower than no speculation: ${shown(mine)} times its speed.`
          : `Your k = ${k} gives ${shown(mine)}.`
      );
    }
    if (k === 0 && best > 0) details.push("Your k = 0 is no speculation: 1.00.");
    if (best > 0 && Number.isFinite(ceiling(alpha))) {
      details.push(
        `No draft length gets past 1 / (1 − α) = ${shown(ceiling(alpha))} at this acceptance rate.`
      );
    }
    return { best, off: best === 0, headline, details };
  }

  // ---- drawing ------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 360;
  const HEIGHT = 270;
  const LEFT = 48;
  const RIGHT = 12;
  const TOP = 14;
  const BOTTOM = 40;

  function node(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function shape(name, attributes = {}, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  }

  /** A chart's frame: its scales, and its axes drawn into `svg`, which is emptied. */
  function frame(svg, across, up, labels) {
    const x = (v) => LEFT + ((v - across.low) / (across.high - across.low)) * (WIDTH - LEFT - RIGHT);
    const y = (v) => HEIGHT - BOTTOM - ((v - up.low) / (up.high - up.low)) * (HEIGHT - TOP - BOTTOM);
    svg.replaceChildren();
    const put = (...args) => svg.appendChild(shape(...args));
    for (const at of across.ticks) {
      put("line", { x1: x(at), x2: x(at), y1: TOP, y2: y(up.low), class: "fd-grid" });
      put("text", { x: x(at), y: y(up.low) + 14, class: "fd-tick", "text-anchor": "middle" }, `${at}`);
    }
    for (const at of up.ticks) {
      put("line", { x1: LEFT, x2: x(across.high), y1: y(at), y2: y(at), class: "fd-grid" });
      put("text", { x: LEFT - 5, y: y(at) + 4, class: "fd-tick", "text-anchor": "end" }, `${at}`);
    }
    const middle = (LEFT + WIDTH - RIGHT) / 2;
    put("text", { x: middle, y: HEIGHT - 6, class: "fd-axis", "text-anchor": "middle" }, labels[0]);
    const turned = `rotate(-90 10 ${(TOP + HEIGHT - BOTTOM) / 2})`;
    put(
      "text",
      { x: 10, y: (TOP + HEIGHT - BOTTOM) / 2, class: "fd-axis", "text-anchor": "middle", transform: turned },
      labels[1]
    );
    return { x, y, put };
  }

  const line = (points) =>
    points.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");

  function steps(high) {
    const size = [0.25, 0.5, 1, 2, 5, 10].find((each) => high / each <= 6) ?? 20;
    const found = [];
    for (let at = 0; at <= high + 1e-9; at += size) found.push(at);
    return found;
  }

  /** Speedup against k. */
  function drawCurve(svg, { alpha, c, growth, k }, best) {
    const gains = Array.from({ length: LONGEST + 1 }, (_, i) => speedup(alpha, c, growth, i));
    const high = Math.max(1.5, Math.max(...gains) * 1.18);
    const { x, y, put } = frame(
      svg,
      { low: 0, high: LONGEST, ticks: [0, 4, 8, 12, 16] },
      { low: 0, high, ticks: steps(high) },
      ["draft length k", "speedup"]
    );
    put("rect", { x: x(0), y: y(1), width: x(LONGEST) - x(0), height: y(0) - y(1), class: "fd-slower" });
    put("line", { x1: x(0), x2: x(LONGEST), y1: y(1), y2: y(1), class: "fd-even" });
    put(
      "text",
      { x: x(LONGEST) - 3, y: y(0) - 5, class: "fd-note", "text-anchor": "end" },
      "below the dashed line: slower"
    );
    const points = gains.map((gain, i) => [x(i), y(gain)]);
    put("path", { d: line(points), class: "fd-curve" });
    for (const [px, py] of points) put("circle", { cx: px, cy: py, r: 2.2, class: "fd-dot" });
    const [bx, by] = points[best];
    put("path", { d: `M${bx} ${by - 7}L${bx + 7} ${by}L${bx} ${by + 7}L${bx - 7} ${by}Z`, class: "fd-best" });
    const anchor = best > 11 ? "end" : best < 3 ? "start" : "middle";
    put(
      "text",
      { x: anchor === "start" ? Math.max(bx - 4, LEFT + 4) : bx, y: by - 11, class: "fd-label", "text-anchor": anchor },
      best ? `best k = ${best}: ${shown(gains[best])}` : "best: off"
    );
    const [kx, ky] = points[k];
    put("circle", { cx: kx, cy: ky, r: 9, class: "fd-yours" });
    if (k !== best) {
      const above = Math.abs(ky - by) > 26 || Math.abs(kx - bx) > 120;
      const side = k > 11 ? "end" : k < 3 ? "start" : "middle";
      put(
        "text",
        { x: kx, y: above ? ky - 13 : ky + 24, class: "fd-label", "text-anchor": side },
        `your k = ${k}: ${shown(gains[k])}`
      );
    }
  }

  /** The map of α and c + λ: where speculation pays, and how much at the best k. */
  function drawMap(svg, { alpha, c, growth }, pattern) {
    const { x, y, put } = frame(
      svg,
      { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] },
      { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] },
      ["c + λ, cost of a draft token", "acceptance rate α"]
    );
    const hatch = svg.appendChild(
      shape("pattern", { id: pattern, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" })
    );
    hatch.appendChild(shape("line", { x1: 0, x2: 0, y1: 0, y2: 7, class: "fd-hatch" }));
    const off = [[x(0), y(0)], [x(1), y(1)], [x(1), y(0)]];
    put("path", { d: `${line(off)}Z`, fill: `url(#${pattern})` });
    put("path", { d: line([[x(0), y(0)], [x(1), y(1)]]), class: "fd-even" });
    put("text", { x: x(0.72), y: y(0.2), class: "fd-label", "text-anchor": "middle" }, "turn it off");
    for (const level of LEVELS) {
      const points = [];
      for (let i = 0; i <= 200; i += 1) {
        const cost = dearestCost(i / 200, level);
        if (cost >= 0 && cost <= 1) points.push([x(cost), y(i / 200)]);
      }
      put("path", { d: line(points), class: "fd-contour" });
      const [px] = points[points.length - 1];
      put("text", { x: px, y: TOP - 3, class: "fd-note", "text-anchor": "middle" }, `${level}×`);
    }
    const cost = Math.min(c + growth, 1);
    const [px, py] = [x(cost), y(alpha)];
    put("path", { d: `M${px} ${py - 7}L${px + 7} ${py}L${px} ${py + 7}L${px - 7} ${py}Z`, class: "fd-best" });
    const beyond = c + growth > 1 ? ` (c + λ = ${shown(c + growth)}) →` : "";
    put(
      "text",
      { x: px + (cost > 0.6 ? -11 : 11), y: py + (alpha < 0.1 ? -6 : 16), class: "fd-label", "text-anchor": cost > 0.6 ? "end" : "start" },
      `here${beyond}`
    );
  }

  /** The rows of the table that says what the curve shows. */
  function rows({ alpha, c, growth }) {
    return Array.from({ length: LONGEST + 1 }, (_, k) => [
      k,
      expectedTokens(alpha, k),
      roundCost(c, growth, k),
      speedup(alpha, c, growth, k),
    ]);
  }

  let count = 0;

  /**
   * Fill an element with the figure.
   *
   * @param {HTMLElement} element is emptied first.
   * @param {{alpha?: number, c?: number, growth?: number, k?: number}} values to begin with.
   * @returns {{set: function}} `set(values)` moves the sliders.
   */
  function mount(element, values = {}) {
    count += 1;
    const name = `fd-explorer-${count}`;
    const state = { ...START, ...values };
    const inputs = {};
    const outputs = {};
    const controls = node("div", { class: "fd-sliders" });
    for (const [key, label, low, high, step] of SLIDERS) {
      const id = `${name}-${key}`;
      inputs[key] = node("input", { type: "range", id, min: low, max: high, step });
      outputs[key] = node("output", { for: id });
      controls.append(
        node("label", { for: id }, `${label}: `, outputs[key]),
        inputs[key]
      );
      inputs[key].addEventListener("input", () => {
        state[key] = Number(inputs[key].value);
        draw();
      });
    }
    const examples = node("div", { class: "fd-buttons", role: "group", "aria-label": "Examples" });
    for (const [label, example] of EXAMPLES) {
      const button = node("button", { type: "button" }, label);
      button.addEventListener("click", () => set(example));
      examples.append(button);
    }
    const headline = node("strong");
    const details = node("span");
    const says = node("p", { class: "fd-says", role: "status" }, headline, " ", details);
    const picture = (label) => shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    const curve = picture("Speedup against draft length; the table below says the same.");
    const map = picture("Where speculation pays, by acceptance rate and cost of a draft token.");
    const body = node("tbody");
    const head = node("tr");
    for (const title of ["k", "tokens a round", "target runs a round", "speedup"]) {
      head.append(node("th", { scope: "col" }, title));
    }
    const table = node(
      "details",
      {},
      node("summary", {}, "The curve as a table"),
      node("table", {}, node("caption", {}, "Speedup against draft length"), node("thead", {}, head), body)
    );
    element.classList.add("fd-figure");
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", "Explorer: what a draft length is worth");
    element.replaceChildren(controls, examples, says, node("div", { class: "fd-charts" }, curve, map), table);

    function draw() {
      const said = describe(state);
      for (const [key, , , , step] of SLIDERS) {
        inputs[key].value = state[key];
        outputs[key].textContent = step === 1 ? `${state[key]}` : shown(state[key]);
      }
      headline.textContent = said.headline;
      details.textContent = said.details.join(" ");
      says.classList.toggle("fd-off", said.off);
      drawCurve(curve, state, said.best);
      drawMap(map, state, `${name}-hatch`);
      curve.setAttribute("aria-label", `Speedup against draft length. ${said.headline}`);
      map.setAttribute(
        "aria-label",
        "Map of acceptance rate and cost of a draft token. Speculation pays above the line " +
          `α = c + λ; here α is ${shown(state.alpha)} and c + λ is ${shown(state.c + state.growth)}.`
      );
      body.replaceChildren(
        ...rows(state).map(([k, ...numbers]) => {
          const row = node("tr", k === said.best ? { class: "fd-chosen" } : {});
          row.append(node("th", { scope: "row" }, `${k}${k === said.best ? " (best)" : ""}`));
          row.append(...numbers.map((number) => node("td", {}, shown(number))));
          return row;
        })
      );
    }

    function set(changed) {
      Object.assign(state, changed);
      draw();
    }

    draw();
    return { set };
  }

  const api = { expectedTokens, roundCost, speedup, optimalK, ceiling, dearestCost, describe, rows, mount };
  root.fairdraftExplorer = api;
  if (typeof module === "object" && module.exports) module.exports = api;
  if (root.document) {
    const fill = () => document.querySelectorAll('[data-figure="explorer"]').forEach((each) => mount(each));
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", fill);
    else fill();
  }
})(globalThis);
