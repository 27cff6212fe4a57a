"use strict";
// What is drawn with ECharts: the rewards of all trials, and learning curves.
const Charts = (() => {
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const PALETTE = ["#3b7dd8", "#e0862e", "#2a9d78", "#b5519c", "#8a6fdf", "#c9a227", "#4aa3b5", "#d1495b"];
  const charts = [];

  function make(node) {
    const chart = echarts.init(node, null, { renderer: "canvas" });
    charts.push(chart);
    new ResizeObserver(() => chart.resize()).observe(node);
    return chart;
  }

  const text = () => ({ color: ink("soft"), fontSize: 12, fontFamily: "system-ui, sans-serif" });
  const axis = (name, more) => ({
    type: "value", name, nameLocation: "middle", nameGap: 30, nameTextStyle: text(), axisLabel: text(),
    axisLine: { lineStyle: { color: ink("line") } }, splitLine: { lineStyle: { color: ink("faint") } }, ...more,
  });
  const tooltip = (more) => ({
    renderMode: "richText", // text alone: names in it are never markup
    backgroundColor: ink("card"), borderColor: ink("line"), textStyle: { ...text(), color: ink("ink") }, ...more,
  });

  // Rewards in the order of finishing. `colouring`: null, or {values, label} by which dots are coloured.
  function rewards(chart, run, places, selected, colouring) {
    const t = run.trials, best = [], groups = new Map(), fallen = [], early = [];
    let highest = -Infinity;
    for (const i of places) {
      const at = t.order[i], reward = t.reward[i];
      if (t.status[i] === "stopped") { early.push([at, reward, i]); continue; }
      if (t.status[i] !== "finished") { fallen.push([at, 0, i]); continue; }
      highest = Math.max(highest, reward);
      best.push([at, highest]);
      const key = colouring ? colouring.values[i] : "trial";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push([at, reward, i]);
    }
    if (best.length) best.push([t.order[places[places.length - 1]], highest]);
    const many = places.length > 2000, dot = many ? 4 : 8;
    const keys = [...groups.keys()].sort((a, b) => String(a).localeCompare(String(b), undefined, { numeric: true }));
    const series = keys.map((key, n) => ({
      type: "scatter", name: colouring ? `${colouring.label} ${key}` : "trial", data: groups.get(key), symbolSize: dot,
      itemStyle: { color: colouring ? PALETTE[n % PALETTE.length] : ink("dot"), opacity: many ? 0.5 : 0.75 },
      progressive: 0, animation: false, z: 2,
    }));
    if (early.length) {
      series.push({
        type: "scatter", name: "ended early, reward expected", data: early, symbolSize: dot, animation: false,
        itemStyle: { color: "transparent", borderColor: ink("dot"), borderWidth: 1 },
      });
    }
    series.push({
      type: "line", name: "best so far", data: best, step: "end", showSymbol: false, animation: false, silent: true,
      sampling: "max", lineStyle: { color: ink("accent"), width: 2.5 }, itemStyle: { color: ink("accent") }, z: 3,
    });
    const confirmed = run.finalists.filter((one) => one.rewards.length > 1).map((one) => {
      const i = run.indexOf(one.trial), mean = one.rewards.reduce((a, b) => a + b, 0) / one.rewards.length;
      return [t.order[i], mean, i];
    });
    if (confirmed.length) {
      series.push({
        type: "scatter", name: "mean over new seeds", data: confirmed, symbol: "diamond",
        symbolSize: 13, animation: false, z: 5,
        itemStyle: { color: ink("good"), borderColor: ink("card"), borderWidth: 1.5 },
      });
    }
    const lines = [];
    if (run.without.length) {
      const mean = run.without.reduce((a, b) => a + b, 0) / run.without.length;
      lines.push({ yAxis: mean, name: "no dropout" });
    }
    if (fallen.length) {
      const bottom = Math.min(...places.filter((i) => t.status[i] === "finished").map((i) => t.reward[i]), Infinity);
      series.push({
        type: "scatter", name: "failed or invalid", symbol: "triangle", symbolSize: 9, animation: false,
        data: fallen.map(([at, , i]) => [at, Number.isFinite(bottom) ? bottom : 0, i]), itemStyle: { color: ink("bad") },
      });
    }
    if (selected !== null && t.order[selected] !== null && t.reward[selected] !== null) {
      series.push({
        type: "scatter", name: "selected", data: [[t.order[selected], t.reward[selected], selected]], symbolSize: dot + 9,
        animation: false, z: 6, itemStyle: { color: "transparent", borderColor: ink("ink"), borderWidth: 2.5 },
      });
    }
    if (lines.length && series.length) {
      series[series.length - 1].markLine = {
        symbol: "none", silent: true, animation: false, data: lines, precision: 12, // else two digits
        lineStyle: { color: ink("soft"), type: "dashed", width: 1.5 },
        label: { formatter: "no dropout", position: "insideEndBottom", color: ink("soft"), backgroundColor: ink("card"), fontSize: 12 },
      };
    }
    chart.setOption({
      grid: { left: 62, right: 16, top: 44, bottom: 46 }, animation: false,
      legend: { top: 0, left: 0, type: "scroll", textStyle: text(), itemWidth: 16, itemHeight: 10, data: legend(series) },
      tooltip: tooltip({
        trigger: "item",
        formatter: (p) => (p.data.length > 2
          ? `trial ${t.number[p.data[2]]}: ${t.reward[p.data[2]] === null ? t.status[p.data[2]] : format(p.data[1])}` : ""),
      }),
      xAxis: axis("trials, in the order of finishing", { min: 0, minInterval: 1, splitLine: { show: false } }),
      yAxis: axis("reward (validation)", { scale: true, nameGap: 46, axisLabel: { ...text(), formatter: format } }),
      series,
    }, true);
  }

  const legend = (series) => series.filter((one) => one.name !== "selected").map((one) => one.name);
  const format = (x) => String(Number(x.toPrecision(4)));

  // Learning curves: [{name, losses, colour}].
  function curves(chart, lines) {
    chart.setOption({
      grid: { left: 46, right: 12, top: 30, bottom: 42 }, animation: false,
      legend: { top: 0, left: 0, textStyle: text(), itemWidth: 16, data: lines.map((line) => line.name) },
      tooltip: tooltip({ trigger: "axis", valueFormatter: (x) => format(x) }),
      xAxis: axis("share of the training", {
        min: 0, max: 1, splitLine: { show: false }, axisLabel: { ...text(), formatter: (x) => `${Math.round(100 * x)} %` },
      }),
      yAxis: axis("training loss", { scale: true, nameGap: 32, axisLabel: { ...text(), formatter: format } }),
      series: lines.map((line) => ({
        type: "line", name: line.name, symbolSize: 5, animation: false,
        data: line.losses.map((loss, i) => [(i + 1) / line.losses.length, loss]),
        lineStyle: { color: ink(line.colour), width: 2, type: line.dashed ? "dashed" : "solid" },
        itemStyle: { color: ink(line.colour) },
      })),
    }, true);
  }

  return { make, rewards, curves, ink, format, palette: PALETTE };
})();
