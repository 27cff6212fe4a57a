"use strict";
// Parallel coordinates: each trial a line through its decisions to its reward; a drag along an axis keeps a part of them.
const Parallel = (() => {
  const AXES = 7, AXES_NARROW = 5, MOST = 1200, SPREAD = 0.5;

  // Values are few and many trials share them: each trial has a place of its own around its value.
  const beside = (i) => SPREAD * (((i * 2654435761) % 1009) / 1009 - 0.5);

  // The finished trials that are drawn, best first: all of them, or the best half of what fits and every so many others.
  function drawn(t) {
    const sorted = t.number.map((_, i) => i).filter((i) => t.status[i] === "finished").sort((a, b) => t.reward[b] - t.reward[a]);
    if (sorted.length <= MOST) return { places: sorted, all: sorted.length };
    const best = sorted.slice(0, MOST / 2), others = sorted.slice(MOST / 2), step = Math.ceil(others.length / (MOST / 2));
    return { places: [...best, ...others.filter((_, n) => n % step === 0)], all: sorted.length };
  }

  // Returns what a person must know of the picture, or null where there is none.
  function draw(chart, run, selected, nameOf, narrow) {
    const t = run.trials, { places, all } = drawn(t);
    const shown = run.importance.decisions.slice(0, narrow ? AXES_NARROW : AXES);
    if (!shown.length || !places.length) return null;
    const row = (i) => [...shown.map((one) => t.tokens[i].charCodeAt(one.place) - 48 + beside(i)), t.reward[i], i];
    const ink = Charts.ink, label = { color: ink("soft"), fontSize: 11, fontFamily: "system-ui, sans-serif" };
    const value = { ...label, color: ink("ink"), backgroundColor: ink("card"), padding: [1, 2], borderRadius: 3 }; // over the lines
    const line = { z: 5, axisLine: { lineStyle: { color: ink("line") } }, axisTick: { show: false }, minorTick: { show: false } };
    const most = narrow ? 15 : 12, cut = (text) => (text.length > most ? `…${text.slice(1 - most)}` : text);
    const axes = shown.map((one, dim) => {
      const decision = run.decisions[one.place], count = Math.max(decision.values.length, ...Object.keys(one.means).map((x) => Number(x) + 1));
      return {
        ...line, dim, type: "value", min: -0.5, max: count - 0.5, interval: 1,
        name: narrow ? `${decision.token.replaceAll("_", " ")}\n${cut(decision.group)}` : `${cut(decision.group)}\n${decision.token.replaceAll("_", " ")}`,
        axisLabel: { ...value, customValues: [...Array(count).keys()], formatter: (x) => nameOf(decision, x) },
      };
    });
    axes.push({ ...line, dim: shown.length, type: "value", scale: true, name: "reward", axisLabel: { ...label, formatter: Charts.format } });
    const leading = Math.max(1, Math.ceil(places.length / 10));
    const series = (id, name, list, colour, width, opacity, z) => ({
      id, name, type: "parallel", data: list.map(row), smooth: 0.15, z, progressive: 400,
      lineStyle: { color: colour, width, opacity }, itemStyle: { color: colour }, inactiveOpacity: 0.02, activeOpacity: Math.max(opacity, 0.6),
    });
    chart.setOption({
      animation: false,
      legend: { top: 0, left: 0, textStyle: label, itemWidth: 16, itemHeight: 3, icon: "rect", selectedMode: false },
      parallel: {
        left: narrow ? 110 : 46, right: narrow ? 24 : 56, top: narrow ? 40 : 68, bottom: narrow ? 30 : 16,
        layout: narrow ? "vertical" : "horizontal",
        parallelAxisDefault: {
          nameLocation: narrow ? "start" : "end", nameGap: 12, nameTextStyle: { ...label, color: ink("ink"), lineHeight: 14, align: narrow ? "right" : "center" },
          areaSelectStyle: { width: 18, color: ink("dot"), borderColor: ink("dot"), opacity: 0.3 },
        },
      },
      parallelAxis: axes,
      series: [
        series("others", "other trials", places.slice(leading), ink("dot"), 1, places.length > 300 ? 0.12 : 0.3, 2),
        series("leading", "best tenth", places.slice(0, leading), ink("accent"), 1.5, 0.6, 3),
        series("selected", "selected", selected !== null && t.status[selected] === "finished" ? [selected] : [], ink("ink"), 3, 1, 4),
      ],
    }, true);
    return `${places.length < all ? `${places.length} of ${all} finished trials, the best among them` : `${all} finished trials`}, ${shown.length} decisions that explain most.`;
  }

  // The trial that has been selected, while what was dragged along the axes stays.
  function select(chart, run, selected) {
    const t = run.trials, shown = (chart.getOption() || {}).parallelAxis;
    if (!shown || !shown.length) return;
    const places = run.importance.decisions.slice(0, shown.length - 1).map((one) => one.place);
    const rows = t.status[selected] === "finished" ? [[...places.map((p) => t.tokens[selected].charCodeAt(p) - 48 + beside(selected)), t.reward[selected], selected]] : [];
    chart.setOption({ series: [{ id: "selected", data: rows }] });
  }

  return { draw, select };
})();
