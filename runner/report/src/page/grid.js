// Pictures of the whole grid: results against any number, a heat map over two axes, parallel coordinates, and range tests.

/** The trials that the filter of the leaderboard leaves. */
let filtered = [];

const policyColours = () => {
  const policies = [...new Set(data.groups.map((group) => group.policy))];
  return (trial) => policies.indexOf(data.groups[trial.group].policy);
};

const trialTip = (trial) =>
  tip(`${trial.handle}: ${trial.label}`, [
    ["status", trial.status],
    ...data.columns.slice(0, 4).map((column) => [words(column), written(column, valueOf(trial, column))]),
    ["iterations", whole(trial.iterations)],
  ]);

const openTrial = (trial) => view.set({ trial: trial.handle, at: null }, { isStep: true });

/** A link to a trial's page, from which the way back leads to the view as it was. */
const trialLink = (trial) =>
  el("a", { href: `#trial=${trial.handle}`, title: trial.label, onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openTrial(trial);
  } }, trial.handle);

const scatterSection = () => {
  const columns = numberColumns().filter((column) => data.trials.some((trial) => isNumber(valueOf(trial, column))));
  const ys = columns.filter((column) => !column.startsWith("axis:"));
  if (ys.length === 0) return null;
  const iterations = new Set(data.trials.map((trial) => trial.iterations));
  const firstY = ys.includes(data.measure) ? data.measure : ys[0];
  const texts = shownAxes().filter((axis) => !axis.is_number).map((axis) => `axis:${axis.name}`);
  const xs = ["iterations", ...texts, ...columns.filter((column) => column !== "iterations")];
  // Where all have the same number of iterations, policies tell more.
  const firstX = iterations.size > 1 || texts.length === 0 ? "iterations" : texts[0];
  const box = el("div", { class: "chart", id: "chart-scatter", role: "img", "aria-label": "Results of all trials" });
  const draw = () => {
    const [x, y] = [chosen("sx", xs, firstX), chosen("sy", ys, firstY)];
    const isText = texts.includes(x);
    const categories = isText ? levels(data.trials, x) : null;
    const place = policyColours();
    const groups = new Map();
    for (const trial of filtered) {
      const [at, value] = [valueOf(trial, x), valueOf(trial, y)];
      if (!isNumber(value) || (!isText && !isNumber(at))) continue;
      const key = place(trial);
      if (!groups.has(key)) groups.set(key, []);
      // Beside each other where they would stand on each other: by optimizer.
      groups.get(key).push({ value: [isText ? categories.indexOf(at) : at, value], trial });
    }
    const policies = [...new Set(data.groups.map((group) => group.policy))];
    const symbols = ["circle", "triangle", "rect", "diamond", "pin", "arrow", "roundRect"];
    const optimizers = [...new Set(data.groups.map((group) => group.optimizer))];
    const isLogX = isOn("sxlog") && !isText;
    const spread = (item) => {
      if (!isText) return item.value[0];
      const many = optimizers.length;
      return item.value[0] + (many > 1 ? (optimizers.indexOf(data.groups[item.trial.group].optimizer) / (many - 1) - 0.5) * 0.5 : 0);
    };
    const values = [...groups.values()].flat();
    if (values.length === 0) return null;
    const isPercent = y.endsWith("accuracy");
    return {
      grid: { left: isNarrow() ? 56 : 66, right: 20, top: 34, bottom: 50 },
      toolbox: isNarrow() ? undefined : { feature: { dataZoom: { title: { zoom: "zoom to a rectangle", back: "back" } }, restore: { title: "whole" }, saveAsImage: { title: "save as PNG", pixelRatio: 3 } } },
      xAxis: isText
        ? { ...axisLook(), type: "value", min: -0.5, max: categories.length - 0.5, interval: 1, minInterval: 1, splitLine: { show: false }, axisTick: { show: false }, axisLabel: { ...axisLook().axisLabel, customValues: categories.map((_, number) => number), hideOverlap: false, formatter: (value) => (categories[value] === undefined ? "" : levelName(categories[value])) } , name: columnName(x), nameLocation: "middle", nameGap: 30 }
        : { ...axisLook(), type: isLogX ? "log" : "value", scale: true, name: columnName(x), nameLocation: "middle", nameGap: 30, axisLabel: { ...axisLook().axisLabel, formatter: (value) => short(value, 3) } },
      yAxis: { ...axisLook(), type: "value", scale: true, name: columnName(y), nameLocation: "end", nameTextStyle: { ...axisLook().nameTextStyle, align: "left", padding: [0, 0, 0, -50] }, axisLabel: { ...axisLook().axisLabel, formatter: (value) => (isPercent ? percent(value, 0) : short(value, 3)) } },
      tooltip: { trigger: "item", formatter: ({ data: item }) => trialTip(item.trial) },
      series: [...groups.entries()].map(([key, items]) => ({
        type: "scatter",
        name: policies[key],
        data: items.map((item) => ({ value: [spread(item), item.value[1]], trial: item.trial, symbol: symbols[optimizers.indexOf(data.groups[item.trial.group].optimizer) % symbols.length] })),
        symbolSize: filtered.length > 2000 ? 4 : 9,
        itemStyle: { color: colour(key), opacity: filtered.length > 500 ? 0.5 : 0.8, borderColor: ink().paper, borderWidth: filtered.length > 2000 ? 0 : 1 },
        large: false,
      })),
    };
  };
  const own = chart(box, draw, (instance) => instance.on("click", ({ data: item }) => item?.trial && openTrial(item.trial)));
  view.listeners.push((keys) => ["sx", "sy", "sxlog", "filter", "status"].some((key) => keys.has(key)) && own.refresh());
  return el("section", { id: "results" },
    el("h2", null, "Final results"),
    el("div", { class: "controls" }, choice("sy", "show", ys, firstY, ys.map(columnName)), choice("sx", "against", xs, firstX, xs.map(columnName)), toggle("sxlog", "log x")),
    box,
    el("p", { class: "muted" }, "A point is a trial: its colour is the policy's, its form the optimizer's. A click opens it."),
    keys());
};

/** Which colour is which policy, and which form which optimizer. */
const keys = () => {
  const policies = [...new Set(data.groups.map((group) => group.policy))].filter((name) => name !== "");
  const optimizers = [...new Set(data.groups.map((group) => group.optimizer))].filter((name) => name !== "");
  const forms = ["\u25cf", "\u25b2", "\u25a0", "\u25c6", "\u25bc", "\u2b9d", "\u25a2"];
  return el("p", { class: "keys" },
    policies.length > 1 && policies.map((name, place) => el("span", null, el("i", { class: `dot tone-${place % 8}` }), name)),
    optimizers.length > 1 && optimizers.map((name, place) => el("span", null, `${forms[place % forms.length]} ${name}`)));
};

const heatSection = () => {
  const axes = shownAxes().filter((axis) => levels(data.trials, `axis:${axis.name}`).length <= 200);
  if (axes.length < 2) return null;
  const names = axes.map((axis) => `axis:${axis.name}`);
  const numeric = axes.filter((axis) => axis.is_number && !axis.is_seed).map((axis) => `axis:${axis.name}`);
  const [firstX, firstY] = numeric.length >= 2 ? numeric : [names[1], names[0]];
  const ys = data.columns;
  if (ys.length === 0) return null;
  const firstV = ys.includes(data.measure) ? data.measure : ys[0];
  const box = el("div", { class: "chart", id: "chart-heat", role: "img", "aria-label": "Heat map" });
  const draw = () => {
    const [x, y, v] = [chosen("hx", names, firstX), chosen("hy", names, firstY), chosen("hv", ys, firstV)];
    const [columns, rows] = [levels(filtered, x), levels(filtered, y)];
    const sums = new Map();
    for (const trial of filtered) {
      const key = `${columns.indexOf(valueOf(trial, x))} ${rows.indexOf(valueOf(trial, y))}`;
      if (!sums.has(key)) sums.set(key, []);
      sums.get(key).push(valueOf(trial, v));
    }
    const items = [...sums.entries()].map(([key, values]) => {
      const [column, row] = key.split(" ").map(Number);
      return { value: [column, row, meanOf(values).mean], of: meanOf(values), all: values.length };
    });
    const means = items.map((item) => item.value[2]).filter(isNumber);
    if (means.length === 0) return null;
    const isPercent = v.endsWith("accuracy");
    const format = (value, digits) => (isPercent ? percent(value, digits) : short(value, 4));
    const isLabelled = columns.length * rows.length <= 120 && columns.length <= (isNarrow() ? 5 : 14);
    const longest = Math.max(...rows.map((row) => levelName(row).length));
    box.style.height = `${Math.min(Math.max(rows.length * 44 + 150, 260), 900)}px`;
    // From dark to light in one order of lightness (cividis), which people with any kind of colour vision see alike.
    const scale = ["#00224e", "#2a3f6d", "#575c6d", "#7c7b78", "#a59c74", "#d2c060", "#fee838"];
    const [least, greatest] = [Math.min(...means), Math.max(...means)];
    const isBright = (value) => (value - least) / (greatest - least || 1) > 0.55 !== lowerIsBetter(v);
    return {
      grid: { left: Math.min(20 + longest * 7.5, innerWidth * 0.35), right: 20, top: 34, bottom: 96 },
      toolbox: isNarrow() ? undefined : { feature: { saveAsImage: { title: "save as PNG", pixelRatio: 3 } } },
      xAxis: { ...axisLook(), type: "category", data: columns.map(levelName), name: columnName(x), nameLocation: "middle", nameGap: 28, splitLine: { show: false }, axisLabel: { ...axisLook().axisLabel, rotate: columns.length > 12 ? 45 : 0 } },
      yAxis: { ...axisLook(), type: "category", data: rows.map(levelName), name: columnName(y), nameLocation: "start", inverse: true, splitLine: { show: false } },
      visualMap: { min: least, max: greatest === least ? least + 1e-9 : greatest, calculable: true, orient: "horizontal", left: "center", bottom: 4, itemHeight: 160, itemWidth: 14, textStyle: { color: ink().text }, inRange: { color: lowerIsBetter(v) ? [...scale].reverse() : scale }, formatter: (value) => format(value, 1) },
      tooltip: {
        trigger: "item",
        formatter: ({ data: { value, of, all } }) =>
          tip(`${columnName(y)} ${levelName(rows[value[1]])}, ${columnName(x)} ${levelName(columns[value[0]])}`, [
            [`mean ${columnName(v)}`, format(of.mean, 2)],
            ["spread", of.deviation === null ? "-" : isPercent ? `${(100 * of.deviation).toFixed(2)} points` : short(of.deviation)],
            ["trials", of.n === all ? String(all) : `${of.n} of ${all} have a result`],
          ]),
      },
      series: [{
        type: "heatmap",
        progressive: 0,
        data: items,
        label: { show: isLabelled, formatter: ({ data: { of } }) => (of.n === 0 ? "none" : format(of.mean, 1)), fontSize: 12 },
        itemStyle: { borderColor: ink().paper, borderWidth: 2 },
      }].map((series) => ({ ...series, data: items.map((item) => ({ ...item, label: { color: isBright(item.value[2]) ? "#111" : "#fff" } })) })),
    };
  };
  const own = chart(box, draw);
  view.listeners.push((keys) => ["hx", "hy", "hv", "filter", "status"].some((key) => keys.has(key)) && own.refresh());
  return el("section", { id: "heat" },
    el("h2", null, "Two axes"),
    el("div", { class: "controls" }, choice("hv", "mean", ys, firstV, ys.map(columnName)), choice("hy", "by", names, firstY, names.map(columnName)), choice("hx", "and", names, firstX, names.map(columnName))),
    box);
};

const parallelSection = () => {
  const axes = shownAxes().map((axis) => `axis:${axis.name}`);
  const results = [data.measure, "final_train_loss"].filter((column, place, all) => data.columns.includes(column) && all.indexOf(column) === place);
  const columns = [...axes, ...(new Set(data.trials.map((trial) => trial.iterations)).size > 1 && !axes.includes("axis:iterations") ? ["iterations"] : []), ...results];
  if (results.length === 0 || columns.length < 3) return null;
  const box = el("div", { class: "chart", id: "chart-parallel", role: "img", "aria-label": "Parallel coordinates" });
  const draw = () => {
    const seeds = data.axes.filter((axis) => axis.is_seed).map((axis) => `axis:${axis.name}`);
    const isText = (column) => (seeds.includes(column) && levels(filtered, column).length <= 20) || filtered.some((trial) => ["string", "boolean"].includes(typeof valueOf(trial, column)));
    const dimensions = columns.map((column, dim) => {
      const isPercent = column.endsWith("accuracy");
      const look = { dim, name: columnName(column), nameTextStyle: { color: ink().text, fontSize: 12 }, axisLine: { lineStyle: { color: ink().line } }, axisTick: { lineStyle: { color: ink().line } } };
      const label = { color: ink().text, fontSize: 12, textBorderColor: ink().paper, textBorderWidth: 4 };
      return isText(column)
        ? { ...look, type: "category", data: levels(filtered, column).map(levelName), axisLabel: label }
        : { ...look, type: "value", scale: true, axisLabel: { ...label, formatter: (value) => (isPercent ? percent(value, 0) : short(value, 3)) } };
    });
    const last = columns.indexOf(data.measure);
    const items = filtered.filter((trial) => isNumber(measured(trial))).map((trial) => columns.map((column) => {
      const value = valueOf(trial, column);
      return isText(column) ? levelName(value) : value ?? NaN;
    }));
    if (items.length === 0) return null;
    let [least, greatest] = [Infinity, -Infinity];
    for (const item of items) [least, greatest] = [Math.min(least, item[last]), Math.max(greatest, item[last])];
    const scale = isDark() ? ["#31507f", "#7c7b78", "#fee838"] : ["#9fb4d8", "#6a6f8a", "#00224e"];
    return {
      parallel: { left: isNarrow() ? 40 : 70, right: isNarrow() ? 40 : 80, top: 52, bottom: 28, parallelAxisDefault: { nameLocation: "end", nameGap: 14, areaSelectStyle: { color: colour(0), opacity: 0.25 } } },
      parallelAxis: dimensions,
      toolbox: isNarrow() ? undefined : { feature: { saveAsImage: { title: "save as PNG", pixelRatio: 3 } } },
      visualMap: { show: false, min: least, max: greatest === least ? least + 1e-9 : greatest, dimension: last, inRange: { color: lowerIsBetter(data.measure) ? [...scale].reverse() : scale } },
      series: [{ type: "parallel", data: items, smooth: false, progressive: 500, lineStyle: { width: items.length > 300 ? 0.8 : 1.6, opacity: items.length > 2000 ? 0.15 : items.length > 300 ? 0.35 : 0.7 }, inactiveOpacity: 0.03, activeOpacity: 0.9 }],
    };
  };
  const own = chart(box, draw);
  view.listeners.push((keys) => ["filter", "status"].some((key) => keys.has(key)) && own.refresh());
  return el("section", { id: "parallel" },
    el("h2", null, "All axes"),
    box,
    el("p", { class: "muted" }, `A line is a trial, the darker or brighter the better its ${words(data.measure)}. Drag along an axis to choose a part of it.`));
};

const rangeSection = () => {
  const tests = data.range_tests.flatMap((report) => report.tests);
  if (tests.length === 0) return null;
  const isGeometric = tests.every((test) => test.spacing === "geometric");
  const names = tests.map((test, place) => test.name || `test ${place + 1}`);
  const box = el("div", { class: "chart", id: "chart-range", role: "img", "aria-label": "Range tests" });
  const draw = () => {
    const isLog = isOn("rlog", isGeometric);
    const name = chosen("rtest", names, names[0]);
    const hasRules = isOn("rules");
    const series = [];
    const isAccuracy = tests.every((test) => test.measure === "accuracy");
    tests.forEach((test, place) => {
      const tone = colour(place);
      const isChosen = names[place] === name;
      const lines = [];
      if (isChosen && test.pair.base_lr !== undefined) {
        lines.push({ xAxis: test.pair.base_lr, label: { formatter: `base_lr ${short(test.pair.base_lr, 3)}`, position: "insideEndTop" } });
        lines.push({ xAxis: test.pair.max_lr, label: { formatter: `max_lr ${short(test.pair.max_lr, 3)}`, position: "insideEndTop" } });
      }
      if (isChosen && hasRules) test.rules.filter((rule) => isNumber(rule.median)).forEach((rule) => lines.push({ xAxis: rule.median, lineStyle: { type: [2, 3], color: ink().muted }, label: { formatter: `${rule.rule} ${short(rule.median, 3)}`, color: ink().muted, position: "insideStartTop" } }));
      series.push({
        type: "line",
        name: names[place],
        data: test.curve.lr.map((lr, at) => [lr, test.curve.value[at]]).filter(([lr]) => !isLog || lr > 0),
        showSymbol: test.curve.lr.length <= 80,
        symbolSize: 4,
        lineStyle: { color: tone, width: isChosen ? 2.4 : 1.4, opacity: isChosen ? 1 : 0.5 },
        itemStyle: { color: tone },
        markLine: lines.length > 0 ? { symbol: "none", lineStyle: { color: tone, type: "solid", width: 1.4 }, label: { color: ink().text, fontSize: 11 }, data: lines, animation: false } : undefined,
        markArea: isChosen && test.pair.base_lr !== undefined ? { silent: true, itemStyle: { color: tone, opacity: 0.1 }, data: [[{ xAxis: test.pair.base_lr }, { xAxis: test.pair.max_lr }]] } : undefined,
      });
    });
    return {
      grid: { left: isNarrow() ? 56 : 66, right: 24, top: 34, bottom: 52 },
      toolbox: isNarrow() ? undefined : { feature: { dataZoom: { title: { zoom: "zoom to a rectangle", back: "back" } }, restore: { title: "whole" }, saveAsImage: { title: "save as PNG", pixelRatio: 3 } } },
      xAxis: { ...axisLook(), type: isLog ? "log" : "value", name: "learning rate", nameLocation: "middle", nameGap: 30, axisLabel: { ...axisLook().axisLabel, formatter: (value) => short(value, 3) } },
      yAxis: { ...axisLook(), type: "value", scale: true, name: tests[names.indexOf(name)].measure, nameTextStyle: { ...axisLook().nameTextStyle, align: "left", padding: [0, 0, 0, -50] }, axisLabel: { ...axisLook().axisLabel, formatter: (value) => (isAccuracy ? percent(value, 0) : short(value, 3)) } },
      tooltip: { trigger: "axis", formatter: (params) => tip(`learning rate ${short([params].flat()[0]?.axisValue)}`, [params].flat().map((it) => [it.seriesName, isAccuracy ? percent(it.value[1]) : short(it.value[1]), it.color])) },
      series,
    };
  };
  const own = chart(box, draw);
  view.listeners.push((keys) => ["rlog", "rtest", "rules"].some((key) => keys.has(key)) && own.refresh());
  const bounds = (test, place) => {
    const { pair } = test;
    const of = (key) => test.trials.filter((trial) => trial.counts && trial.pair[key] !== undefined).map((trial) => trial.pair[key]);
    const interval = (key) => (of(key).length > 1 ? ` (${short(Math.min(...of(key)), 3)} to ${short(Math.max(...of(key)), 3)})` : "");
    return el("tr", null,
      el("th", { scope: "row" }, names[place]),
      pair.base_lr === undefined
        ? el("td", { colspan: 4 }, `no bounds: ${pair.why_none}`)
        : [el("td", { class: "number" }, short(pair.base_lr, 3) + interval("base_lr")), el("td", { class: "number" }, short(pair.max_lr, 3) + interval("max_lr")), el("td", { class: "number" }, short(pair.max_lr_third, 3)), el("td", null, pair.end)],
      el("td", { class: "number" }, String(test.trials.length)));
  };
  return el("section", { id: "range" },
    el("h2", null, "Range tests"),
    el("div", { class: "controls" }, names.length > 1 && choice("rtest", "mark", names, names[0]), toggle("rlog", "log axis", isGeometric), toggle("rules", "rules of other tools")),
    box,
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      el("thead", null, el("tr", null, ["test", "base_lr (over seeds)", "max_lr (over seeds)", "max_lr / 3", "what ends the range", "seeds"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", null, tests.map(bounds)))));
};
