// Draft, verify, accept: a text written round by round, one step at a time.
//
//     <div data-figure="rounds"></div>
//     <script src="rounds.js" defer></script>
//
// A classic script, because browsers load no ES modules from file://. It fills every such element,
// and puts its functions into `globalThis.fairdraftRounds`: `import "./rounds.js"` does the same
// in a module, and in Node `require` returns them. `mount(element, trace)` shows another trace.
//
// `verify` is greedy verification; tests/docs/test_live.py compares it with the library's.
(function (root) {
  "use strict";

  // Made up, to show each case once: a rejection in the middle, a draft accepted whole, one
  // rejected at its first token, and a round without a draft. A word stands for a token.
  const EXAMPLE = {
    title: "A made-up text that shows each case; a word stands for a token",
    prompt: ["The", " capital", " of", " France", " is"],
    rounds: [
      { draft: [" Paris", ".", " The"], target: [" Paris", ".", " It"] },
      { draft: [" is", " known", " for"], target: [" is", " known", " for", " its"] },
      { draft: [" many", " parks"], target: [" museums"] },
      { draft: [], target: ["."] },
    ],
  };
  const PACE = 1600; // milliseconds a step while it plays
  const MARKS = {
    accepted: { sign: "✓", word: "accepted" },
    rejected: { sign: "✗", word: "rejected" },
    own: { sign: "◆", word: "the target's own" },
  };

  // ---- what happens -------------------------------------------------------------------------

  /**
   * Greedy verification of a chain.
   *
   * @param {string[]} draft tokens.
   * @param {string[]} target the target's token at each row: before draft token 0, 1, …; rows
   *   behind the first disagreement are not needed.
   * @returns {{accepted: number, own: string, kind: string}} `kind` is "recovered" behind a
   *   rejection, "bonus" behind a draft that was accepted whole, "plain" where there was none.
   */
  function verify(draft, target) {
    let accepted = 0;
    while (accepted < draft.length && draft[accepted] === target[accepted]) accepted += 1;
    const kind = accepted < draft.length ? "recovered" : draft.length ? "bonus" : "plain";
    return { accepted, own: target[accepted], kind };
  }

  const quoted = (token) => `“${token.trim() || token}”`;
  const listed = (tokens) => tokens.map(quoted).join(", ");
  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  /**
   * Every step of a trace, in order.
   *
   * @returns {object[]} Each has `round` (from 0), `phase` ("draft", "verify" or "accept"), the
   *   text before the round as [token, mark or null], the round's `draft` and `target`, its
   *   `verdict`, the counts `runs` and `tokens` so far, and what happens, as the sentence `says`.
   */
  function steps(trace) {
    const found = [];
    let text = trace.prompt.map((token) => [token, null]);
    let runs = 0;
    let tokens = 0;
    trace.rounds.forEach(({ draft, target }, round) => {
      const verdict = verify(draft, target);
      const { accepted, own, kind } = verdict;
      const base = { round, text, draft, target: target.slice(0, accepted + 1), verdict };
      const drafts = draft.length
        ? `The drafter guesses ${counted(draft.length, "token")}: ${listed(draft)}.`
        : "The drafter has no guess: this run gives one token, as without speculation.";
      found.push({ ...base, phase: "draft", runs, tokens, says: drafts });
      runs += 1;
      const checks = draft.length
        ? `One run of the target checks ${draft.length === 1 ? "it" : `all ${draft.length}`}. ` +
          `Its own tokens, row by row, are ${listed(base.target)}.`
        : `The target runs once. Its own token is ${quoted(own)}.`;
      found.push({ ...base, phase: "verify", runs, tokens, says: checks });
      tokens += accepted + 1;
      const parts = [];
      if (accepted) parts.push(`${listed(draft.slice(0, accepted))} accepted`);
      if (kind === "recovered") {
        parts.push(`${quoted(draft[accepted])} rejected, the target's ${quoted(own)} in its place`);
      }
      if (kind === "bonus") parts.push(`and ${quoted(own)} as a bonus token`);
      if (kind === "plain") parts.push(`${quoted(own)} is the target's own`);
      const dropped = draft.length - accepted - 1;
      if (dropped > 0) {
        parts.push(`${dropped === 1 ? "the token" : `the ${dropped} tokens`} behind it dropped too`);
      }
      const gain = `${counted(accepted + 1, "token")} from one run.`;
      const says = `${parts.join("; ")}. ${gain}`.replace("; and", ", and");
      found.push({ ...base, phase: "accept", runs, tokens, says });
      text = [
        ...text,
        ...draft.slice(0, accepted).map((token) => [token, "accepted"]),
        [own, "own"],
      ];
    });
    return found;
  }

  /** The text that a trace ends with. */
  function finalText(trace) {
    const last = steps(trace).at(-1);
    const kept = last.draft.slice(0, last.verdict.accepted);
    return [...last.text.map(([token]) => token), ...kept, last.verdict.own].join("");
  }

  // ---- showing it ---------------------------------------------------------------------------

  function node(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  /** A token with its mark: a sign before it, a line of its own kind, and a word for readers. */
  function marked(token, mark) {
    if (mark === null) return node("span", { class: "fd-token" }, token.trim());
    const { sign, word } = MARKS[mark];
    return node(
      "span",
      { class: `fd-token fd-${mark}` },
      node("span", { "aria-hidden": "true", class: "fd-sign" }, sign),
      token.trim(),
      node("span", { class: "fd-unseen" }, ` (${word})`)
    );
  }

  /** The round as a table: one column a row of the run. */
  function roundTable({ draft, target, phase, verdict }) {
    const columns = Math.max(draft.length, target.length);
    const cells = (name, make) =>
      node(
        "tr",
        {},
        node("th", { scope: "row" }, name),
        ...Array.from({ length: columns }, (_, i) => node("td", {}, ...[make(i)].filter(Boolean)))
      );
    const judged = phase === "accept";
    const drafted = (i) => {
      if (i >= draft.length) return null;
      if (!judged) return node("span", { class: "fd-token fd-guess" }, draft[i].trim());
      return marked(draft[i], i < verdict.accepted ? "accepted" : "rejected");
    };
    const said = (i) => {
      if (phase === "draft" || i >= target.length) return null;
      if (judged && i === verdict.accepted) return marked(target[i], "own");
      return node("span", { class: "fd-token" }, target[i].trim());
    };
    return node(
      "table",
      { class: "fd-round" },
      node("caption", { class: "fd-unseen" }, "This round, token by token"),
      node("tbody", {}, cells("draft", drafted), cells("target", said))
    );
  }

  /** All rounds as a table, for those who do not step. */
  function summaryTable(trace) {
    const body = node("tbody");
    for (const { round, draft, verdict, phase } of steps(trace)) {
      if (phase !== "accept") continue;
      const accepted = draft.slice(0, verdict.accepted).map((each) => each.trim());
      body.append(
        node(
          "tr",
          {},
          node("th", { scope: "row" }, `${round + 1}`),
          node("td", {}, draft.map((each) => each.trim()).join(" ") || "none"),
          node("td", {}, accepted.join(" ") || "none"),
          node("td", {}, `${verdict.own.trim()} (${verdict.kind})`),
          node("td", {}, `${verdict.accepted + 1}`)
        )
      );
    }
    const head = node("tr");
    for (const title of ["run", "draft", "accepted", "the target's own", "tokens"]) {
      head.append(node("th", { scope: "col" }, title));
    }
    return node(
      "table",
      {},
      node("caption", {}, "All rounds"),
      node("thead", {}, head),
      body
    );
  }

  /**
   * Fill an element with the figure.
   *
   * @param {HTMLElement} element is emptied first.
   * @param {object} trace {title, prompt: [token], rounds: [{draft, target}]}.
   * @returns {{go: function, length: number}} `go(i)` shows step i.
   */
  function mount(element, trace = EXAMPLE) {
    const all = steps(trace);
    const still = root.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
    let at = 0;
    let timer = null;

    const button = (text, act, label) => {
      const made = node("button", { type: "button", ...(label ? { "aria-label": label } : {}) }, text);
      made.addEventListener("click", act);
      return made;
    };
    const again = button("Start again", () => go(0));
    const back = button("← Back", () => go(at - 1), "Back");
    const next = button("Next →", () => go(at + 1), "Next");
    const play = button("Play", () => (timer === null ? start() : stop()));
    const buttons = node("div", { class: "fd-buttons" }, again, back, next);
    if (!still) buttons.append(play); // nothing moves by itself where that is not wanted
    const text = node("p", { class: "fd-text" });
    const stage = node("div", { class: "fd-stage" });
    const says = node("p", { class: "fd-says", role: "status" });
    const counts = node("p", { class: "fd-counts" });
    const legend = node(
      "p",
      { class: "fd-legend" },
      ...Object.keys(MARKS).map((mark) => marked(MARKS[mark].word, mark).cloneNode(true))
    );
    legend.querySelectorAll(".fd-unseen").forEach((each) => each.remove());
    element.classList.add("fd-figure");
    element.setAttribute("role", "group");
    element.setAttribute("tabindex", "0");
    element.setAttribute("aria-label", "Draft, verify, accept: the arrow keys step");
    element.replaceChildren(
      node("p", { class: "fd-title" }, `${trace.title}.`),
      text,
      stage,
      says,
      counts,
      buttons,
      legend,
      node("details", {}, node("summary", {}, "All rounds as a table"), summaryTable(trace))
    );

    function show() {
      const step = all[at];
      text.replaceChildren();
      for (const [token, mark] of step.text) text.append(marked(token, mark), " ");
      stage.replaceChildren(roundTable(step));
      says.textContent = `${step.phase === "draft" ? "Draft" : step.phase === "verify" ? "Verify" : "Accept"}. ${step.says}`;
      counts.textContent =
        `Step ${at + 1} of ${all.length}, round ${step.round + 1}. So far ` +
        `${counted(step.runs, "run")} of the target and ${counted(step.tokens, "token")}` +
        (step.runs && step.phase === "accept" ? `: ${(step.tokens / step.runs).toFixed(2)} tokens per run.` : ".");
      again.disabled = back.disabled = at === 0;
      next.disabled = at === all.length - 1;
    }

    function go(to) {
      const held = root.document.activeElement;
      at = Math.min(Math.max(to, 0), all.length - 1);
      show();
      if (at === all.length - 1) stop();
      if (held && held.disabled) element.focus(); // a button that went grey would drop the focus
    }

    function start() {
      if (at === all.length - 1) go(0);
      play.textContent = "Pause";
      timer = root.setInterval(() => go(at + 1), PACE);
    }

    function stop() {
      root.clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }

    element.addEventListener("keydown", (event) => {
      const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
      if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in moves)) return;
      event.preventDefault();
      stop();
      go(moves[event.key]);
    });
    show();
    return { go, length: all.length };
  }

  const api = { EXAMPLE, verify, steps, finalText, mount };
  root.fairdraftRounds = api;
  if (typeof module === "object" && module.exports) module.exports = api;
  if (root.document) {
    const fill = () => document.querySelectorAll('[data-figure="rounds"]').forEach((each) => mount(each));
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", fill);
    else fill();
  }
})(globalThis);
