"use strict";
// The panel of one trial: what it is, its masks, its learning curve. Names are text, never markup.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null) node.append(child);
  return node;
}

const percent = (share) => {
  for (const digits of [0, 1, 2, 3]) {
    const written = (100 * share).toFixed(digits);
    if (share === 0 || share === 1 || (Number(written) !== 0 && Number(written) !== 100)) return `${written} %`;
  }
  return `${(100 * share).toFixed(3)} %`;
};

const TrialPanel = (() => {
  const FEATURES = 64, MOST_CELLS = 160, SLICES = 16, DRAWS = 3;
  let from = 0;

  // One mask on a canvas, a pixel a cell; of a volume slices side by side.
  function picture(site, draw, shape, number) {
    const table = shape.length === 2, volume = shape.length === 4;
    const h = shape[shape.length - (table ? 2 : 3)], w = table ? Math.min(shape[1], FEATURES) : shape[shape.length - 2];
    const slices = volume ? Math.min(shape[0], SLICES) : 1, across = Math.ceil(Math.sqrt(slices)), gap = volume ? 1 : 0;
    const rows = Math.ceil(slices / across), shownH = Math.min(h, MOST_CELLS), shownW = Math.min(w, MOST_CELLS);
    const canvas = el("canvas", {
      width: across * (shownW + gap) - gap, height: rows * (shownH + gap) - gap, role: "img",
      class: table ? "mask table" : "mask",
    });
    const context = canvas.getContext("2d");
    const [dropped, kept] = [Charts.ink("dropped"), Charts.ink("kept")];
    let count = 0;
    for (let s = 0; s < slices; s++) {
      const slice = slices > 1 ? Math.floor(s * shape[0] / slices) : 0;
      const left = (s % across) * (shownW + gap), top = Math.floor(s / across) * (shownH + gap);
      context.fillStyle = kept;
      context.fillRect(left, top, shownW, shownH);
      context.fillStyle = dropped;
      for (let i = 0; i < shownH; i++) {
        for (let j = 0; j < shownW; j++) {
          if (draw.dropped[(slice * h + i) * w + j]) { context.fillRect(left + j, top + i, 1, 1); count++; }
        }
      }
    }
    const keep = percent(1 - count / (slices * shownH * shownW));
    canvas.setAttribute("aria-label", `mask ${number} at ${site}: ${keep} kept`);
    canvas.title = `seed ${draw.seed}, ${keep} kept`;
    return canvas;
  }

  function siteRow(site, pattern) {
    const shape = site.shape, name = el("span", { class: "site" }, site.name);
    const size = el("span", { class: "soft" }, `(${shape.join(", ")})`);
    if (!pattern) return el("li", { class: "row none" }, el("div", {}, name, " ", size), el("div", { class: "soft" }, "no pattern"));
    if (pattern[0] === "other") {
      return el("li", { class: "row" }, el("div", {}, name, " ", size, el("div", {}, pattern[1])), "no picture of this kind");
    }
    const { drop, acts } = Masks.chance(pattern, shape), what = pattern[0] === "map" && !pattern[5] ? "maps" : "examples";
    const shown = shape.length === 2 && pattern[0] === "tokens" ? Math.min(shape[1], FEATURES) : undefined;
    const draws = Masks.tellingDraws(pattern, shape, DRAWS, from, shown).map((draw) => (
      pattern[0] === "map" && shape.length === 2 ? { ...draw, dropped: wide(pattern, shape, draw) } : draw));
    return el("li", { class: "row" },
      el("div", { class: "words" }, name, " ", size,
        el("div", {}, pattern[pattern.length - 1]),
        el("div", { class: "soft" }, `drops ${percent(drop)}${acts < 0.995 ? `, acts in ${percent(acts)} of ${what}` : ""}`)),
      el("div", { class: "masks" }, draws.map((draw, n) => picture(site.name, draw, shape, n + 1))));
  }

  // A map of one axis: position by channel, as many channels as are shown.
  function wide(pattern, shape, draw) {
    const [t, c] = shape, shown = Math.min(c, FEATURES), all = new Uint8Array(t * shown);
    const applied = pattern.map((x, i) => (i === 6 ? 1 : x));
    for (let channel = 0; channel < shown; channel++) {
      Masks.draw(applied, shape, draw.seed, channel).forEach((x, i) => { all[i * shown + channel] = x; });
    }
    return all;
  }

  function facts(run, i) {
    const t = run.trials, list = [["status", t.status[i]]];
    if (t.started[i] && t.finished[i]) list.push(["trained for", duration(t.finished[i] - t.started[i])]);
    list.push(["suggested after", `${t.version[i]} update${t.version[i] === 1 ? "" : "s"}`]);
    if (t.worker[i]) list.push(["by", t.worker[i]]);
    if (t.attempts[i] > 1) list.push(["attempts", t.attempts[i]]);
    for (const [name, value] of Object.entries(t.metrics[i] || {})) {
      if (typeof value === "number" && name !== "seconds") list.push([name.replaceAll("_", " "), Charts.format(value)]);
    }
    const final = run.finalists.find((one) => one.trial === t.number[i]);
    if (final && final.rewards.length > 1) list.push(["rewards on new seeds", final.rewards.map(Charts.format).join(", ")]);
    return el("dl", { class: "facts" }, list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
  }

  const duration = (s) => (s < 90 ? `${s < 10 ? s.toFixed(1) : Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

  function show(run, i, node, chart) {
    const t = run.trials, best = run.best ? run.indexOf(run.best.trial) : null;
    const reward = t.reward[i] === null ? t.status[i] : Charts.format(t.reward[i]);
    const again = el("button", { type: "button", on: { click: () => { from += 100; show(run, i, node, chart); } } }, "Other draws");
    node.replaceChildren(...[
      el("div", { class: "headline" },
        el("h2", { id: "trial-title" }, `Trial ${t.number[i]}`, i === best ? el("span", { class: "tag" }, "best") : null),
        el("span", { class: "reward" }, t.reward[i] === null ? reward : `reward ${reward}`)),
      facts(run, i),
      t.error[i] ? el("p", { class: "error" }, t.error[i]) : null,
      el("div", { class: "legend" }, el("span", {}, el("i", { class: "cell dropped" }), "dropped"),
        el("span", {}, el("i", { class: "cell kept" }), "kept"), again),
      el("ul", { class: "sites" }, run.sites.map((site, s) => siteRow(site, run.patterns[t.patterns[i][s]]))),
    ].filter((child) => child !== null));
    const lines = [];
    if (t.curve[i]) lines.push({ name: `trial ${t.number[i]}`, losses: t.curve[i], colour: "accent" });
    if (best !== null && best !== i && t.curve[best]) {
      lines.push({ name: `best, trial ${t.number[best]}`, losses: t.curve[best], colour: "good", dashed: true });
    }
    document.getElementById("curves-box").hidden = lines.length === 0;
    if (lines.length) Charts.curves(chart, lines);
  }

  return { show, duration };
})();
