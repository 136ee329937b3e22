// Accuracy and loss by iteration, with bands over seeds, and the learning rate under it on the same axis.

/** At first no more lines are shown at once. */
const FIRST_LINES = 12;

/** All lines of a kind: cells, groups of cells, or trials. */
const linesOf = (kind) => {
  const members = { cells: "cell", groups: "group" }[kind];
  const all = kind === "trials" ? data.trials : data[kind];
  const policies = [...new Set(all.map((it) => groupOf(it, kind).policy))];
  const optimizers = [...new Set(all.map((it) => groupOf(it, kind).optimizer))];
  const pairs = new Set(all.map((it) => `${groupOf(it, kind).policy}\n${groupOf(it, kind).optimizer}`));
  const isPair = kind !== "trials" && pairs.size === all.length && policies.length <= 8 && optimizers.length <= DASHES.length;
  const lines = [...data.curves.of[kind].entries()].map(([place, curves], number) => {
    const { policy, optimizer } = groupOf(all[place], kind);
    const trials = members ? data.trials.filter((trial) => trial[members] === place) : [data.trials[place]];
    return {
      id: `${kind[0]}${place}`,
      place,
      curves,
      trials,
      name: kind === "trials" ? trialName(all[place]) : all[place].name,
      optimizer,
      colourPlace: isPair ? policies.indexOf(policy) : number,
      dash: DASHES[isPair ? optimizers.indexOf(optimizer) : Math.floor(number / 8) % DASHES.length],
    };
  });
  // In the order of the grid, whatever the order in which curves were given.
  const isFew = lines.length <= FIRST_LINES;
  const first = new Set((isFew ? lines : lines.slice(0, FIRST_LINES)).map((line) => line.id));
  if (isFew || kind !== "trials") lines.sort((a, b) => a.place - b.place);
  return { lines, first, optimizers };
};

const groupOf = (it, kind) => (kind === "trials" ? data.groups[it.group] : it);
const trialName = (trial) => `${trial.handle} ${data.cells[trial.cell].name}${seedOf(trial)}`;
const seedOf = (trial) => {
  const seeds = data.axes.map((axis, place) => (axis.is_seed && axis.is_shown ? ` ${axis.label}=${trial.axes[place]}` : ""));
  return seeds.join("");
};

/** What a line shows: x, mean, least, greatest and n, and the learning rate. */
const curveOf = (line, y, split) => {
  const { curves } = line;
  const evaluated = curves.evaluations.find(([name]) => name === split);
  if (line.id[0] !== "t") {
    if (y === "training loss") return curves.training;
    return y === "accuracy" ? evaluated?.[1] : evaluated?.[2];
  }
  const points = y === "training loss" ? curves.metrics.find(([name]) => name === "loss")?.[1] : y === "accuracy" ? evaluated?.[1] : evaluated?.[2];
  return points && { x: points.x, mean: points.y };
};

const rateOf = (line) => {
  const { curves } = line;
  if (line.id[0] === "t") {
    const lr = curves.hypers.find(([name]) => name === "lr")?.[1];
    return lr && { x: lr.x, mean: lr.y };
  }
  return curves.lr ? { x: curves.lr.x, mean: curves.lr.y } : curves.lr_band;
};

const curvesSection = () => {
  const kinds = ["cells", "groups", "trials"].filter((kind) => data.curves[kind].length > 0);
  if (kinds.length === 0) return null;
  const all = Object.fromEntries(kinds.map((kind) => [kind, linesOf(kind)]));
  const kindNames = { cells: data.cells.length < data.trials.length ? "mean over seeds" : "each cell", groups: "policy and optimizer", trials: "each trial" };
  const firstKind = data.curves.cells.length > 40 && kinds.includes("groups") ? "groups" : kinds[0];
  const splits = [...new Set(Object.values(all).flatMap(({ lines }) => lines.flatMap(({ curves }) => curves.evaluations.map(([name]) => name))))];
  const isThere = (y) => Object.values(all).some(({ lines }) => lines.some((line) => splits.concat([""]).some((split) => curveOf(line, y, split)?.mean.some(isNumber))));
  const ys = ["accuracy", "loss", "training loss"].filter(isThere);
  if (ys.length === 0) return null;
  const firstSplit = splits.includes(data.split) ? data.split : splits[0];

  const state = () => {
    const kind = chosen("lines", kinds, firstKind);
    const { lines, first } = all[kind];
    const ids = view.get("show", null)?.split(".") ?? null;
    const isShown = (line) => (ids ? ids.includes(line.id) : first.has(line.id));
    const weight = Math.min(Math.max(Number(view.get("smooth", "0")) || 0, 0), 0.99);
    return { kind, lines, isShown, y: chosen("y", ys, ys[0]), split: chosen("split", splits, firstSplit), weight, isLogX: isOn("xlog"), isLogY: isOn("ylog"), hasBand: isOn("band", true) };
  };

  const box = el("div", { class: "chart tall", id: "chart-curves", role: "img", "aria-label": "Curves by iteration" });
  let emphasised = null;

  const draw = () => {
    const { lines, isShown, y, split, weight, isLogX, isLogY, hasBand } = state();
    const shown = lines.filter(isShown);
    const { text, muted, line: lineTone } = ink();
    const series = [];
    const cut = (x, values, isLog) => x.map((at, place) => [at, !isNumber(values[place]) || (isLog && values[place] <= 0) ? null : values[place]]).filter(([at]) => !isLogX || at > 0);
    let hasRate = false;
    const looks = [];
    // Many bands on each other would hide the lines.
    const opacity = shown.length <= 3 ? 0.2 : Math.max(0.04, 0.4 / shown.length);
    for (const line of shown) {
      const tone = colour(line.colourPlace);
      const [curve, rate] = [curveOf(line, y, split), rateOf(line)];
      const isFaint = emphasised !== null && emphasised !== line.id;
      if (curve) {
        const mean = smoothed(curve.mean, weight);
        if (hasBand && curve.least && !isFaint) {
          const [low, high] = [smoothed(curve.least, weight), smoothed(curve.greatest, weight)];
          const floor = (values) => (isLogY ? values.map((value) => (value > 0 ? value : null)) : values);
          const from = isLogX ? curve.x.map((x) => (x > 0 ? x : NaN)) : curve.x;
          series.push(band(line.name, from.filter(isNumber), floor(low.filter((_, place) => isNumber(from[place]))), floor(high.filter((_, place) => isNumber(from[place]))), tone, { xAxisIndex: 0, yAxisIndex: 0 }, emphasised === line.id ? 0.25 : opacity));
        }
        series.push({
          type: "line",
          id: `value-${line.id}`,
          name: line.name,
          xAxisIndex: 0,
          yAxisIndex: 0,
          data: cut(curve.x, mean, isLogY),
          showSymbol: curve.x.length < 3,
          symbolSize: 5,
          lineStyle: { width: emphasised === line.id ? 3 : 1.8, type: line.dash, color: tone, opacity: isFaint ? 0.25 : 1 },
          itemStyle: { color: tone },
          z: 3,
        });
        const ends = line.trials.filter((trial) => trial.status === "diverged" && isNumber(trial.numbers.diverged_at));
        if (ends.length > 0) {
          const at = (trial) => {
            const place = nearest(curve.x, trial.numbers.diverged_at);
            for (let near = place; near >= 0; near -= 1) if (isNumber(mean[near])) return mean[near];
            return null;
          };
          series.push({
            type: "scatter",
            name: line.name,
            xAxisIndex: 0,
            yAxisIndex: 0,
            data: ends.map((trial) => [trial.numbers.diverged_at, at(trial)]).filter(([, value]) => isNumber(value)),
            symbol: "path://M0,0L10,10M10,0L0,10",
            symbolSize: 9,
            itemStyle: { color: "none", borderColor: tone, borderWidth: 2 },
            silent: true,
            z: 4,
          });
        }
      }
      if (rate) {
        hasRate = true;
        series.push({
          type: "line",
          name: line.name,
          xAxisIndex: 1,
          yAxisIndex: 1,
          data: cut(rate.x, rate.mean, false),
          showSymbol: false,
          lineStyle: { width: 1.4, type: line.dash, color: tone, opacity: isFaint ? 0.2 : 0.9 },
          itemStyle: { color: tone },
          z: 2,
        });
        if (rate.least && hasBand) series.push(band(line.name, rate.x, rate.least, rate.greatest, tone, { xAxisIndex: 1, yAxisIndex: 1 }));
      }
      looks.push({ line, tone, curve, rate, mean: curve ? smoothed(curve.mean, weight) : [] });
    }
    const narrow = isNarrow();
    const left = narrow ? 52 : 64;
    const yName = y === "accuracy" ? `accuracy on ${split}` : y === "loss" ? `loss on ${split}` : "training loss (batches)";
    const range = view.get("zoom").split("~").map(Number);
    const zoom = range.length === 2 && range.every(isNumber) ? { start: range[0], end: range[1] } : { start: 0, end: 100 };
    const format = y === "accuracy" ? (value) => percent(value, 0) : (value) => short(value, 3);
    const extent = shown.map((line) => Math.max(curveOf(line, y, split)?.x.at(-1) ?? 0, rateOf(line)?.x.at(-1) ?? 0));
    const xAxis = (place) => ({
      ...axisLook(),
      type: isLogX ? "log" : "value",
      gridIndex: place,
      min: isLogX ? 1 : 0,
      max: Math.max(1, ...extent),
      axisLabel: { ...axisLook().axisLabel, show: place === 1 || !hasRate, formatter: (value) => (Number.isInteger(value) ? whole(value) : "") },
      name: place === 1 || !hasRate ? "iteration" : "",
      nameLocation: "middle",
      nameGap: 26,
      splitLine: { show: false },
      axisPointer: { show: true, label: { show: false }, lineStyle: { color: muted } },
    });
    return {
      grid: hasRate
        ? [{ left, right: 14, top: 34, height: "54%" }, { left, right: 14, top: "72%", bottom: 78 }]
        : [{ left, right: 14, top: 34, bottom: 78 }, { left, right: 14, top: "100%", height: 0 }],
      xAxis: [xAxis(0), xAxis(1)],
      yAxis: [
        { ...axisLook(), type: isLogY ? "log" : "value", scale: true, gridIndex: 0, name: yName, nameLocation: "end", nameTextStyle: { color: text, align: "left", padding: [0, 0, 0, -left + 10], fontSize: 12 }, axisLabel: { ...axisLook().axisLabel, formatter: format } },
        { ...axisLook(), type: "value", gridIndex: 1, name: hasRate ? "learning rate" : "", nameLocation: "end", nameTextStyle: { color: text, align: "left", padding: [0, 0, 0, -left + 10], fontSize: 12 }, nameGap: 12, splitNumber: 2, axisLabel: { ...axisLook().axisLabel, formatter: (value) => short(value, 3) }, show: hasRate },
      ],
      axisPointer: { link: [{ xAxisIndex: [0, 1] }] },
      dataZoom: [
        { type: "inside", xAxisIndex: [0, 1], filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, ...zoom },
        { type: "slider", xAxisIndex: [0, 1], filterMode: "none", height: 18, bottom: 12, borderColor: lineTone, textStyle: { color: muted, fontSize: 11 }, labelFormatter: (value) => whole(value), brushSelect: false, ...zoom },
      ],
      toolbox: narrow ? undefined : { feature: { dataZoom: { xAxisIndex: [0, 1], yAxisIndex: [0], title: { zoom: "zoom to a rectangle", back: "back" } }, restore: { title: "whole" }, saveAsImage: { title: "save as PNG", pixelRatio: 3, name: `${data.title} ${yName}` } } },
      tooltip: {
        trigger: "axis",
        formatter: (params) => {
          const at = [params].flat()[0]?.axisValue;
          const rows = looks.map(({ line, tone, curve, rate, mean }) => {
            const place = curve ? nearest(curve.x, at) : -1;
            const value = place >= 0 ? mean[place] : null;
            const spread = curve?.least && isNumber(curve.least[place]) && curve.n[place] > 1 ? ` (${format2(y, curve.least[place])} to ${format2(y, curve.greatest[place])}, n = ${curve.n[place]})` : "";
            const lr = rate && nearest(rate.x, at) >= 0 ? `, lr ${short(rate.mean[nearest(rate.x, at)], 3)}` : "";
            return { value: value ?? -Infinity, row: [line.name, `${format2(y, value)}${spread}${lr}`, tone] };
          });
          rows.sort((a, b) => (y === "accuracy" ? b.value - a.value : a.value - b.value));
          const more = rows.length - 14;
          return tip(`iteration ${whole(at)}`, [...rows.slice(0, 14).map(({ row }) => row), ...(more > 0 ? [[`and ${more} more`, "", null]] : [])]);
        },
      },
      series,
    };
  };
  const format2 = (y, value) => (y === "accuracy" ? percent(value) : short(value));

  const own = chart(box, draw, (instance) => {
    instance.on("datazoom", () => {
      const [{ start, end }] = instance.getOption().dataZoom;
      view.values.set("zoom", `${start.toFixed(2)}~${end.toFixed(2)}`);
      if (start <= 0.005 && end >= 99.995) view.values.delete("zoom");
      history.replaceState(null, "", `#${view.values}`);
    });
    instance.on("restore", () => view.set({ zoom: null }));
  });

  const legend = el("div", { class: "legend", id: "legend-curves" });
  const showLegend = () => {
    const { kind, lines, isShown } = state();
    const { optimizers, first } = all[kind];
    const setShown = (ids) => {
      const isFirst = ids.length === first.size && ids.every((id) => first.has(id));
      view.set({ show: isFirst ? null : ids.join(".") || "none" });
    };
    const ids = lines.filter(isShown).map((line) => line.id);
    const item = (line) =>
      el("span", { class: "item" },
        el("button", {
          class: "key",
          "aria-pressed": String(isShown(line)),
          title: "show or hide",
          "data-line": line.id,
          onclick: () => setShown(isShown(line) ? ids.filter((id) => id !== line.id) : [...ids, line.id]),
          onmouseenter: () => emphasise(isShown(line) ? line.id : null),
          onmouseleave: () => emphasise(null),
        }, swatch(line), line.name),
        el("button", { class: "only", title: `show ${line.name} alone`, "aria-label": `show ${line.name} alone`, onclick: () => setShown(ids.length === 1 && ids[0] === line.id ? [...first] : [line.id]) }, "only"));
    const headed = optimizers.length > 1 && kind !== "trials" && lines.length <= 60;
    const groups = headed ? optimizers.map((optimizer) => [optimizer, lines.filter((line) => line.optimizer === optimizer)]) : [["", lines]];
    legend.replaceChildren(
      el("div", { class: "row" },
        el("button", { onclick: () => setShown(lines.map((line) => line.id)) }, "all"),
        el("button", { onclick: () => setShown([]) }, "none"),
        el("button", { onclick: () => setShown([...first]) }, "reset"),
        el("span", { class: "muted" }, `${ids.length} of ${counted(lines.length, "line")}`)),
      ...groups.filter(([, group]) => group.length > 0).map(([name, group]) =>
        el("div", { class: "row" },
          headed && el("button", {
            class: "heading",
            title: `show ${name} alone`,
            onclick: () => setShown(group.map((line) => line.id)),
          }, name),
          group.map(item))));
  };
  const emphasise = (id) => {
    if (state().lines.filter(state().isShown).length > 40) return;
    emphasised = id;
    own.refresh();
  };

  const hint = el("p", { class: "muted" });
  const showHint = () => {
    const { kind, y } = state();
    const bin = kind === "trials" ? Math.max(...data.curves.trials.map(([, curves]) => curves.bin)) : Math.max(...data.curves[kind].map(([, curves]) => curves.bin));
    const of = kind === "groups" ? "trials" : "seeds";
    const hints = kind === "trials" ? [] : [`Lines are means over ${of}; bands are from the least to the greatest of them.`];
    if (y === "training loss" && bin > 1) hints.push(kind === "trials" ? `Of every ${bin} rows, the two with the least and the greatest value are shown.` : `Each point is the mean of ${bin} iterations.`);
    if (data.trials.some((trial) => trial.status === "diverged")) hints.push("A cross marks where a trial diverged.");
    if (isOn("xlog")) hints.push("Iteration 0 has no place on a log axis.");
    hint.textContent = hints.join(" ");
  };

  const smoothing = el("input", { type: "range", id: "choice-smooth", min: 0, max: 0.98, step: 0.02, value: view.get("smooth", "0"), "aria-label": "smoothing", oninput: () => view.set({ smooth: smoothing.value === "0" ? null : smoothing.value }) });
  view.listeners.push((keys) => {
    if (keys.has("smooth")) smoothing.value = view.get("smooth", "0");
    if (["lines", "show"].some((key) => keys.has(key))) showLegend();
    if (["y", "split", "lines", "show", "smooth", "xlog", "ylog", "band", "zoom"].some((key) => keys.has(key))) {
      showHint();
      own.refresh();
    }
  });
  showLegend();
  showHint();
  return el("section", { id: "curves" },
    el("h2", null, "Curves"),
    el("div", { class: "controls" },
      ys.length > 1 && choice("y", "show", ys, ys[0]),
      splits.length > 1 && choice("split", "on", splits, firstSplit),
      kinds.length > 1 && choice("lines", "a line for", kinds, firstKind, kinds.map((kind) => kindNames[kind])),
      el("label", { class: "control" }, "smoothing ", smoothing),
      toggle("ylog", "log y"),
      toggle("xlog", "log x"),
      toggle("band", "bands", true)),
    box,
    legend,
    hint);
};

/** A short piece of a line as it is drawn. */
const swatch = (line) => {
  const dash = Array.isArray(line.dash) ? line.dash.join(" ") : "";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ d: "M0 4H26", "stroke-width": 2.4, "stroke-dasharray": dash, class: `tone tone-${line.colourPlace % 8}` })) stroke.setAttribute(name, value);
  svg.append(stroke);
  return svg;
};
