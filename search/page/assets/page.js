"use strict";
const run = JSON.parse(document.getElementById("run").textContent);
const $ = (id) => document.getElementById(id);
const T = run.trials;
const placeOf = new Map(T.number.map((number, i) => [number, i]));
run.indexOf = (number) => placeOf.get(number);
const finalPlaces = T.number.map((_, i) => i).filter((i) => T.order[i] !== null).sort((a, b) => T.order[a] - T.order[b]);
const state = { selected: null, colour: null, sort: "number", down: false, find: "", status: "", page: 0 };
const ROWS = 25;

// ---- head -----------------------------------------------------------------------------------------------------------
function head() {
  const finished = run.counts.finished || 0, other = Object.entries(run.counts).filter(([name]) => name !== "finished");
  const begun = T.started.filter((x) => x !== null), ended = T.finished.filter((x) => x !== null);
  const smallest = (list) => list.reduce((a, b) => Math.min(a, b), Infinity), largest = (list) => list.reduce((a, b) => Math.max(a, b), -Infinity);
  const hours = begun.length && ended.length ? (largest(ended) - smallest(begun)) / 3600 : 0;
  const words = run.complete ? "complete" : run.done < run.total ? `at work or stopped: ${run.done} of ${run.total} trials` : "trials done, comparison under way";
  $("state").textContent = words;
  $("state").classList.toggle("live", !run.complete);
  const figures = [["trials finished", `${finished} of ${run.total}`, other.map(([name, count]) => `${count} ${name}`).join(", ")]];
  if (run.best) {
    const count = run.best.seeds;
    figures.push(["best reward", Charts.format(run.best.reward), `trial ${run.best.trial}${count > 1 ? `, mean over ${count} seeds` : ""}`]);
  }
  if (run.without.length) {
    figures.push(["no dropout", Charts.format(run.without.reduce((a, b) => a + b, 0) / run.without.length), `${run.without.length} seed${run.without.length > 1 ? "s" : ""}`]);
  }
  if (run.table) {
    const least = run.table.leads.filter((one) => one.mean !== null).sort((a, b) => a.mean - b.mean)[0];
    if (least) figures.push(["least lead, on test", signed(least.mean), `over ${least.over}`]);
  }
  if (hours > 0) figures.push(["time", TrialPanel.duration(3600 * hours), `${Math.round(ended.length / hours)} trials an hour`]);
  $("figures").replaceChildren(...figures.map(([name, value, note]) => el("div", { class: "figure" },
    el("dt", {}, name), el("dd", { class: "value" }, value), note ? el("dd", { class: "soft" }, note) : null)));
  $("lead").textContent = run.best && run.best.lead ? run.best.lead : "";
  $("written").textContent = `written ${new Date(1000 * run.written).toLocaleString()}`;
}
const signed = (x) => `${x > 0 ? "+" : x < 0 ? "−" : ""}${Math.abs(x).toFixed(2)}`;

// ---- charts ---------------------------------------------------------------------------------------------------------
const rewardChart = Charts.make($("rewards")), curveChart = Charts.make($("curves"));
rewardChart.on("click", (event) => { if (event.data && event.data.length > 2) select(event.data[2]); });
// Beside a dot: the nearest one in reach, which a finger needs.
rewardChart.getZr().on("click", (event) => {
  if (event.target) return;
  let nearest = null, reach = 24 * 24;
  for (const i of finalPlaces) {
    if (T.reward[i] === null) continue;
    const [x, y] = rewardChart.convertToPixel("grid", [T.order[i], T.reward[i]]);
    const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
    if (distance < reach) { reach = distance; nearest = i; }
  }
  if (nearest !== null) select(nearest);
});

function drawRewards() {
  const one = state.colour === null ? null : run.decisions[state.colour];
  const colouring = one && { label: one.token, values: T.tokens.map((tokens) => valueName(one, tokens.charCodeAt(state.colour) - 48)) };
  Charts.rewards(rewardChart, run, finalPlaces, state.selected, colouring);
  $("rewards").setAttribute("aria-label", `Rewards of ${finalPlaces.length} trials in the order of finishing, and the best so far. The table below has all of them.`);
}

const valueName = (decision, index) => {
  const value = decision.values[index];
  return value === undefined ? String(index) : typeof value === "boolean" ? (value ? "yes" : "no") : typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value);
};

// A wide chart has its axes side by side, a narrow one one below the other.
const parallelChart = Charts.make($("parallel-box").querySelector(".parallel"));
const isNarrow = () => $("decisions").clientWidth < 620;
function drawParallel() {
  const note = Parallel.draw(parallelChart, run, state.selected, valueName, isNarrow());
  $("parallel-box").hidden = note === null;
  state.narrow = isNarrow();
  if (note === null) return;
  parallelChart.resize();
  $("parallel-note").textContent = note;
  $("parallel").setAttribute("aria-label", `Parallel coordinates of ${note} The lists above and below have the same.`);
}
parallelChart.on("click", (event) => { if (event.componentType === "series") select(event.data.at(-1)); });
new ResizeObserver(() => { if (state.narrow !== undefined && state.narrow !== isNarrow()) drawParallel(); }).observe($("decisions"));

function select(i, keepHash = false) {
  state.selected = i;
  drawRewards();
  Parallel.select(parallelChart, run, i);
  TrialPanel.show(run, i, $("trial"), curveChart);
  for (const row of document.querySelectorAll("#trials tbody tr")) row.classList.toggle("chosen", Number(row.dataset.place) === i);
  $("said").textContent = `trial ${T.number[i]} shown`;
  if (!keepHash) try { history.replaceState(null, "", `#trial=${T.number[i]}`); } catch { /* inside a notebook there is no address */ }
}

function step(by) {
  const list = finalPlaces.length ? finalPlaces : T.number.map((_, i) => i);
  const at = list.indexOf(state.selected);
  if (list.length) select(list[Math.min(Math.max((at < 0 ? list.length - 1 : at) + by, 0), list.length - 1)]);
}

// ---- importance -----------------------------------------------------------------------------------------------------
function importance() {
  const { decisions, chance } = run.importance;
  if (!decisions.length) {
    $("decisions").replaceChildren(el("p", { class: "soft" }, "Too few finished trials to tell: 16 are needed."));
    return;
  }
  const shown = decisions.slice(0, 12), widest = Math.max(shown[0].share, chance, 0.01), above = shown.filter((one) => one.share > chance).length;
  const note = `${above === shown.length ? "All of these" : above ? `${above} of these` : "None"} ${above === 1 ? "is" : "are"} beyond what chance gives the largest of ${decisions.length} decisions, ${percent(chance)} (a line; 95 % of shuffled rewards).`;
  $("decisions").replaceChildren(el("p", { class: "soft" }, note), el("ul", { class: "bars" }, shown.map((one) => {
    const decision = run.decisions[one.place], chosen = state.colour === one.place;
    const bar = el("span", { class: one.share > chance ? "bar" : "bar weak" }), mark = el("span", { class: "mark" });
    bar.style.width = `${100 * one.share / widest}%`;
    mark.style.left = `${100 * chance / widest}%`;
    return el("li", {}, el("button", {
      type: "button", "aria-pressed": chosen,
      on: { click: () => { state.colour = chosen ? null : one.place; drawRewards(); importance(); } },
    }, el("span", { class: "what" }, el("span", {}, decision.group), el("b", {}, decision.token.replaceAll("_", " "))),
    el("span", { class: "track" }, bar, mark), el("span", { class: "share" }, one.share < 0.005 ? "0 %" : percent(one.share))),
    chosen ? means(one, decision) : null);
  })));
}

function means(one, decision) {
  const rows = Object.entries(one.means).sort((a, b) => b[1] - a[1]);
  return el("table", { class: "means" }, el("caption", { class: "soft" }, "mean reward by value"),
    el("tbody", {}, rows.map(([value, mean]) => el("tr", {},
      el("th", { scope: "row" }, valueName(decision, Number(value))), el("td", {}, Charts.format(mean)),
      el("td", { class: "soft" }, `${one.counts[value]} trials`)))));
}

// ---- comparison -----------------------------------------------------------------------------------------------------
function comparison() {
  const table = run.table;
  if (!table) {
    $("comparison").replaceChildren(el("p", { class: "soft" }, run.complete ? "No comparison was asked for." : "It comes when all trials are done."));
    return;
  }
  const mean = (list) => (list.some((x) => x === null) ? null : list.reduce((a, b) => a + b, 0) / list.length);
  const spread = (list) => { const m = mean(list); return m === null || list.length < 2 ? null : Math.sqrt(list.reduce((a, x) => a + (x - m) ** 2, 0) / (list.length - 1)); };
  const ends = table.leads.flatMap((one) => [one.low ?? one.mean, one.high ?? one.mean, 0]).filter((x) => x !== null);
  const low = Math.min(...ends), high = Math.max(...ends), span = high - low || 1, at = (x) => 100 * (x - low) / span;
  const rows = table.rows.map((row, n) => {
    const lead = n ? table.leads[n - 1] : null, m = mean(row.test), s = spread(row.test);
    return el("tr", { class: n ? null : "found" },
      el("th", { scope: "row" }, row.name),
      el("td", {}, m === null ? "diverged" : `${m.toFixed(2)}${s === null ? "" : ` ± ${s.toFixed(2)}`}`),
      el("td", {}, lead && lead.mean !== null ? `${signed(lead.mean)}${lead.low === null ? "" : ` [${signed(lead.low)}, ${signed(lead.high)}]`}` : ""),
      el("td", { class: "plot" }, lead && lead.mean !== null ? forest(lead, at) : ""),
      el("td", {}, lead && lead.low !== null ? Number(lead.p.toPrecision(2)) : ""),
      el("td", {}, lead && lead.low !== null ? Number(lead.p_holm.toPrecision(2)) : ""));
  });
  $("comparison").replaceChildren(
    el("p", {}, `${table.rows[0].test.length} fresh seeds, the same for all; ${table.score}, ${table.lower_is_better ? "lower" : "higher"} is better.`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "final table" }, el("table", { class: "paired" },
      el("thead", {}, el("tr", {}, ["regularization", "test ± deviation", "lead over it [95 %]", "interval", "p", "p, Holm"].map((x) => el("th", { scope: "col" }, x)))),
      el("tbody", {}, rows))),
    el("p", { class: "soft" }, "Lead: mean difference of the best PatternSet over the same seeds, in its favour where positive, with a BCa bootstrap interval; p of the two-sided sign-flip test, alone and for all together. " + (table.tuning
      ? `The classics were tuned on validation with ${table.tuning} trainings; each random line has another set a seed.`
      : "Rates of the classics are as stated, not tuned.")));
}

function forest(lead, at) {
  const svg = (tag, attributes) => { const node = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v); return node; };
  const box = svg("svg", { viewBox: "-4 0 108 16", class: "forest", "aria-hidden": "true" });
  box.append(svg("line", { x1: at(0), x2: at(0), y1: 0, y2: 16, class: "zero" }));
  if (lead.low !== null) box.append(svg("line", { x1: at(lead.low), x2: at(lead.high), y1: 8, y2: 8, class: "interval" }));
  box.append(svg("circle", { cx: at(lead.mean), cy: 8, r: 3, class: lead.mean > 0 ? "ahead" : "behind" }));
  return box;
}

// ---- all trials -----------------------------------------------------------------------------------------------------
const COLUMNS = [
  ["number", "trial", (i) => T.number[i]],
  ["reward", "reward", (i) => (T.reward[i] === null ? "" : Charts.format(T.reward[i]))],
  ["status", "status", (i) => T.status[i]],
  ["version", "updates before", (i) => T.version[i]],
  ["seconds", "seconds", (i) => { const s = secondsOf(i); return s === null ? "" : s < 10 ? s.toFixed(1) : Math.round(s); }],
  ["drops", "patterns", (i) => `${T.patterns[i].filter((p) => run.patterns[p]).length} of ${run.sites.length} sites`],
  ["note", "", (i) => (T.error[i] ? T.error[i].slice(0, 80) : "")],
];
const secondsOf = (i) => (T.started[i] !== null && T.finished[i] !== null ? T.finished[i] - T.started[i] : null);
const keyOf = { seconds: secondsOf, drops: (i) => T.patterns[i].filter((p) => run.patterns[p]).length, note: (i) => T.error[i] || "" };

function listed() {
  const key = keyOf[state.sort] || ((i) => T[state.sort][i]), find = state.find.toLowerCase();
  const there = T.number.map((_, i) => i).filter((i) => (!state.status || T.status[i] === state.status)
    && (!find || String(T.number[i]) === find || (T.error[i] || "").toLowerCase().includes(find)
      || T.patterns[i].some((p) => run.patterns[p] && run.patterns[p][run.patterns[p].length - 1].toLowerCase().includes(find))));
  const sign = state.down ? -1 : 1;
  return there.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === y || (x === null && y === null)) return a - b;
    if (x === null) return 1;
    if (y === null) return -1;
    return sign * (x < y ? -1 : 1);
  });
}

function table() {
  const all = listed(), pages = Math.max(Math.ceil(all.length / ROWS), 1);
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  $("trials").replaceChildren(
    el("thead", {}, el("tr", {}, COLUMNS.map(([key, name]) => el("th", { scope: "col", "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : null },
      name ? el("button", { type: "button", on: { click: () => { state.down = state.sort === key ? !state.down : key === "reward"; state.sort = key; state.page = 0; table(); } } },
        name, state.sort === key ? (state.down ? " ↓" : " ↑") : "") : el("span", {}, "error"))))),
    el("tbody", {}, all.slice(state.page * ROWS, (state.page + 1) * ROWS).map((i) => el("tr", {
      "data-place": i, class: i === state.selected ? "chosen" : null, on: { click: () => select(i) },
    }, COLUMNS.map(([key, , write]) => el(key === "number" ? "th" : "td", key === "number" ? { scope: "row" } : {},
      key === "number" ? el("button", { type: "button", "aria-label": `show trial ${T.number[i]}` }, `${write(i)}`) : String(write(i))))))));
  $("pages").textContent = `page ${state.page + 1} of ${pages}, ${all.length} trials`;
  $("earlier").disabled = state.page === 0;
  $("later").disabled = state.page === pages - 1;
}

// ---- the rest -------------------------------------------------------------------------------------------------------
function log() {
  const lines = run.log.split("\n").filter((line) => !$("faults").checked || /failed|invalid|stopped by|tried again/.test(line));
  $("log").textContent = lines.join("\n").trim() || "nothing";
  $("log").scrollTop = $("log").scrollHeight;
}

function provenance() {
  const { space, ...task } = run.config.task, facts = [];
  const add = (name, value) => facts.push(el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))));
  add("directory", run.name);
  add("searcher", run.config.searcher);
  for (const [name, value] of Object.entries(run.arguments)) if (!["settings", "searcher", "searcher_settings"].includes(name)) add(name.replaceAll("_", " "), value);
  for (const [name, value] of Object.entries(task)) add(`task: ${name.replaceAll("_", " ")}`, value);
  add("search space", `version ${space.version}, ${space.kind}, one decision a ${space.granularity} and token, ${space.decisions.length} decisions`);
  add("page made with", Object.entries(run.versions).map((pair) => pair.join(" ")).join(", "));
  $("provenance").replaceChildren(...facts);
}

function theme(choice) {
  document.documentElement.dataset.theme = choice;
  try { localStorage.setItem("theme", choice); } catch { /* not inside a sandbox */ }
  $("theme").textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[choice];
}

function redraw() { drawRewards(); drawParallel(); if (state.selected !== null) TrialPanel.show(run, state.selected, $("trial"), curveChart); }

$("theme").addEventListener("click", () => {
  const order = ["auto", "light", "dark"];
  theme(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("show-best").addEventListener("click", () => run.best && select(run.indexOf(run.best.trial)));
$("earlier").addEventListener("click", () => { state.page--; table(); });
$("later").addEventListener("click", () => { state.page++; table(); });
$("find").addEventListener("input", (event) => { state.find = event.target.value; state.page = 0; table(); });
$("status").addEventListener("change", (event) => { state.status = event.target.value; state.page = 0; table(); });
$("faults").addEventListener("change", log);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.closest(".scroll, pre")) return;
  const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), b: () => $("show-best").click() }[event.key];
  if (act) { event.preventDefault(); act(); }
});
$("show-best").disabled = !run.best;
for (const name of Object.keys(run.counts)) $("status").append(el("option", { value: name }, name));

if (run.watch) { // a file cannot be asked whether it has changed
  let waiting = setInterval(() => location.reload(), 1000 * run.watch);
  const button = el("button", { type: "button", "aria-pressed": "false", on: { click: () => {
    if (waiting) { clearInterval(waiting); waiting = null; } else waiting = setInterval(() => location.reload(), 1000 * run.watch);
    button.textContent = waiting ? "Pause" : "Go on";
    button.setAttribute("aria-pressed", String(!waiting));
  } } }, "Pause");
  $("tools").prepend(el("span", { class: "soft" }, `loads again every ${run.watch} s`), button);
}

let kept = "auto";
try { kept = localStorage.getItem("theme") || "auto"; } catch { /* not inside a sandbox */ }
theme(kept);
$("title").textContent = `${run.task}, searched by ${run.searcher}, seed ${run.seed}`;
head();
importance();
drawParallel();
comparison();
table();
log();
provenance();
const asked = placeOf.get(Number((/^#trial=(\d+)$/.exec(location.hash) || [])[1]));
const first = asked ?? (run.best ? run.indexOf(run.best.trial) : finalPlaces.at(-1) ?? (T.number.length ? 0 : null));
if (first !== null && first !== undefined) select(first, true);
else {
  drawRewards();
  $("trial").replaceChildren(el("p", { class: "soft" }, "No trial yet."));
}
document.documentElement.dataset.ready = "yes";
