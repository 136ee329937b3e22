// The leaderboard, which sorts, filters and groups, and the page of one trial.

const PAGE_ROWS = 50;
const STATUSES = ["finished", "diverged", "failed", "crashed", "running", "unfinished"];

/** What a filter asks for: words that the label has, and conditions such as `max_lr>=0.004`. Nothing where it makes no sense. */
const readFilter = (text) => {
  const names = new Map();
  for (const axis of data.axes) [axis.name, axis.label].forEach((name) => names.set(name.toLowerCase(), `axis:${axis.name}`));
  for (const column of [...data.columns, "iterations", "rows", "seconds", "attempts", "status"]) names.set(column.toLowerCase(), column);
  names.set("accuracy", data.measure);
  const tests = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b };
  return text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, name, sign, given] = /^([\w.]+)(<=|>=|!=|=|<|>)(.+)$/.exec(word) ?? [];
    const column = names.get(name?.toLowerCase());
    if (column) {
      const number = given.endsWith("%") ? Number(given.slice(0, -1)) / 100 : Number(given);
      return (trial) => {
        const value = valueOf(trial, column);
        if (value === null || value === undefined) return sign === "!=";
        return typeof value === "number" ? tests[sign](value, number) : tests[sign](String(value).toLowerCase(), given.toLowerCase());
      };
    }
    const wanted = word.toLowerCase();
    return (trial) => trial.label.toLowerCase().includes(wanted) || trial.id.startsWith(wanted) || trial.status === wanted;
  });
};

const applyFilter = () => {
  const tests = readFilter(view.get("filter"));
  const status = view.get("status");
  filtered = data.trials.filter((trial) => (status === "" || trial.status === status) && tests.every((test) => test(trial)));
};

/** Sorts by a value; what has none comes last either way. */
const sorted = (rows, valueOfRow, isDescending) => {
  const keyed = rows.map((row, place) => ({ row, place, key: valueOfRow(row) }));
  const isNone = (key) => key === null || key === undefined || key === "";
  keyed.sort((a, b) => {
    if (isNone(a.key) || isNone(b.key)) return isNone(a.key) - isNone(b.key) || a.place - b.place;
    const order = typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : String(a.key).localeCompare(String(b.key), "en", { numeric: true });
    return (isDescending ? -order : order) || a.place - b.place;
  });
  return keyed.map(({ row }) => row);
};

const trialsSection = () => {
  const axes = shownAxes().map((axis) => `axis:${axis.name}`);
  const results = data.columns.filter((column) => !["first_non_finite_loss", "non_finite_losses"].includes(column) || data.trials.some((trial) => trial.numbers[column] > 0));
  const hasAxes = axes.length > 0;
  const columns = ["handle", ...(hasAxes ? axes : ["label"]), "status", ...results, "rows", "seconds"];
  const names = { handle: "trial", rows: "iterations" };
  const groupings = ["none", ...(data.cells.length < data.trials.length ? ["cell"] : []), ...axes];
  const groupNames = groupings.map((it) => (it === "none" ? "each trial" : it === "cell" ? "seeds together" : columnName(it)));
  const body = el("tbody");
  const head = el("thead");
  const pager = el("div", { class: "pager" });
  const count = el("span", { class: "muted", id: "trials-count" });
  const firstSort = (isGrouped) => (isGrouped ? `mean ${data.measure}` : data.measure);

  const show = () => {
    applyFilter();
    const group = chosen("group", groupings, "none");
    const isGrouped = group !== "none";
    const shownColumns = isGrouped ? groupColumns(group) : columns;
    const sort = chosen("sort", shownColumns, firstSort(isGrouped));
    const isDescending = view.get("dir", lowerIsBetter(sort) || sort.startsWith("axis:") ? "up" : "down") === "down";
    const rows = isGrouped ? grouped(group) : filtered;
    const valueOfRow = isGrouped ? (row) => row.values[sort] : (trial) => valueOf(trial, sort);
    const all = sorted(rows, valueOfRow, isDescending);
    const pages = Math.max(1, Math.ceil(all.length / PAGE_ROWS));
    const page = Math.min(Math.max(0, Number(view.get("page", "1")) - 1 || 0), pages - 1);
    head.replaceChildren(el("tr", null, shownColumns.map((column) => {
      const isSorted = column === sort;
      const label = isGrouped ? column.startsWith("axis:") ? columnName(column) : words(column) : names[column] ?? columnName(column);
      return el("th", { scope: "col", class: isText(column) ? null : "number", "aria-sort": isSorted ? (isDescending ? "descending" : "ascending") : null },
        el("button", { "data-column": column, onclick: () => {
          const isFirstDown = !(lowerIsBetter(column) || isText(column));
          const dir = isSorted ? (isDescending ? "up" : "down") : isFirstDown ? "down" : "up";
          view.set({ sort: column, dir, page: null });
        } }, label, isSorted && (isDescending ? " \u25bc" : " \u25b2")));
    })));
    const shown = all.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
    body.replaceChildren(...(isGrouped ? shown.map((row) => groupRow(row, shownColumns)) : shown.map((trial) => trialRow(trial, columns))));
    count.textContent = isGrouped ? `${counted(all.length, "group")} of ${counted(filtered.length, "trial")}` : filtered.length === data.trials.length ? counted(all.length, "trial") : `${whole(all.length)} of ${counted(data.trials.length, "trial")}`;
    pager.replaceChildren(...(pages > 1
      ? [el("button", { disabled: page === 0, onclick: () => view.set({ page: page === 1 ? null : page }) }, "before"), ` ${page + 1} of ${pages} `, el("button", { disabled: page === pages - 1, onclick: () => view.set({ page: page + 2 }) }, "next")]
      : []));
  };

  const isText = (column) => ["handle", "label", "status"].includes(column) || (column.startsWith("axis:") && !data.axes.find((axis) => axis.name === column.slice(5))?.is_number);

  const trialRow = (trial, all) =>
    el("tr", { "data-trial": trial.handle }, all.map((column) => {
      if (column === "handle") return el("th", { scope: "row" }, trialLink(trial));
      if (column === "status") return el("td", null, el("span", { class: `status ${trial.status}` }, trial.status));
      const value = valueOf(trial, column);
      if (column.startsWith("axis:")) return el("td", { class: isText(column) ? null : "number" }, value === null ? "" : levelName(value));
      if (column === "rows") return el("td", { class: "number" }, trial.rows === trial.iterations ? whole(trial.rows) : `${whole(trial.rows)} of ${whole(trial.iterations)}`);
      return el("td", { class: isText(column) ? null : "number" }, written(column, value));
    }));

  const groupColumns = (group) => [...(group === "cell" ? axes.filter((axis) => !data.axes.find((it) => `axis:${it.name}` === axis).is_seed) : [group]), "trials", `mean ${data.measure}`, "deviation", "least", "greatest", "n", "diverged", "failed"];

  const grouped = (group) => {
    const found = new Map();
    for (const trial of filtered) {
      const key = group === "cell" ? trial.cell : levelName(valueOf(trial, group));
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(trial);
    }
    return [...found.values()].map((members) => {
      const { n, mean, deviation, least, greatest } = meanOf(members.map(measured));
      const values = { trials: members.length, [`mean ${data.measure}`]: mean, deviation, least, greatest, n };
      values.diverged = members.filter((trial) => trial.status === "diverged").length;
      values.failed = members.filter((trial) => ["failed", "crashed"].includes(trial.status)).length;
      for (const axis of group === "cell" ? axes : [group]) values[axis] = valueOf(members[0], axis);
      return { members, values };
    });
  };

  const groupRow = ({ values }, all) => {
    const isPercent = data.measure.endsWith("accuracy");
    return el("tr", null, all.map((column, place) => {
      const value = values[column];
      const text = column.startsWith("axis:") ? (value === null ? "" : levelName(value)) : ["trials", "n", "diverged", "failed"].includes(column) ? whole(value) : column === "deviation" && isPercent ? (isNumber(value) ? (100 * value).toFixed(2) : "-") : isPercent ? percent(value) : short(value);
      return el(place === 0 ? "th" : "td", { class: isText(column) ? null : "number", scope: place === 0 ? "row" : null }, text);
    }));
  };

  const filter = el("input", { type: "search", id: "choice-filter", placeholder: "adam max_lr>=0.004 accuracy>70%", "aria-label": "filter", value: view.get("filter"), oninput: () => view.set({ filter: filter.value || null, page: null }) });
  view.listeners.push((keys) => {
    if (keys.has("filter") && filter.value !== view.get("filter")) filter.value = view.get("filter");
    if (["filter", "status", "group", "sort", "dir", "page"].some((key) => keys.has(key))) show();
  });
  const statuses = ["", ...STATUSES.filter((status) => data.trials.some((trial) => trial.status === status))];
  const section = el("section", { id: "trials" },
    el("h2", null, "Leaderboard"),
    el("div", { class: "controls" },
      el("label", { class: "control grow" }, "filter ", filter),
      statuses.length > 2 && choice("status", "status", statuses, "", statuses.map((status) => status || "any")),
      groupings.length > 1 && choice("group", "rows", groupings, "none", groupNames),
      count),
    el("div", { class: "scroll" }, el("table", { class: "plain sortable", id: "table-trials" }, head, body)),
    pager,
    el("p", { class: "muted" }, `${data.common ? `${data.common}. ` : ""}A click on a heading sorts, one on a trial opens it. The filter holds for the pictures of the grid too. Deviations are the sample's, in ${data.measure.endsWith("accuracy") ? "percentage points" : "units of the loss"}.`));
  show();
  return section;
};

/** A command line in a box, with a button that copies it. */
const command = (text) =>
  el("div", { class: "command" }, el("code", null, text), el("button", { onclick: ({ target }) => {
    navigator.clipboard?.writeText(text).then(() => (target.textContent = "copied"), () => (target.textContent = "select it"));
  } }, "copy"));

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The commands that train a trial alone: by leaving out all values of axes but its own; and again, beside what is stored. */
const commandsOf = (trial) => {
  const output = data.outputs[trial.output];
  const spec = `${output.folder}/spec.toml`;
  const toml = (value) => (typeof value === "string" ? JSON.stringify(value) : String(value));
  // Each takes out of what the ones before leave, since a spec refuses what excludes nothing.
  let left = data.trials.filter((other) => other.output === trial.output);
  const others = [];
  for (const place of output.axes) {
    const { name } = data.axes[place];
    const isOther = (other) => other.axes[place] !== null && other.axes[place] !== trial.axes[place];
    const values = [...new Set(left.filter(isOther).map((other) => other.axes[place]))];
    if (values.length > 0) others.push(`{ ${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)} = [${values.map(toml).join(", ")}] }`);
    left = left.filter((other) => !isOther(other));
  }
  const exclude = others.length > 0 ? ` --set ${quoted(`grid.exclude=[${others.join(", ")}]`)}` : "";
  const alone = output.spec !== null && left.length === 1 && exclude.length < 4000 ? `clr-run ${quoted(spec)} --outputs alone${exclude}` : null;
  return { alone, again: `clr-run verify ${quoted(output.folder)} --trial ${trial.handle}` };
};

/** `triangular2, base 0.001, max 0.004` for a schedule as JSON. */
const plainly = (value) => {
  if (!value.startsWith("{")) return value;
  try {
    const { kind, ...rest } = JSON.parse(value);
    const parts = Object.entries(rest).filter(([, part]) => part !== null).map(([name, part]) => `${words(name)} ${typeof part === "object" ? JSON.stringify(part) : part}`);
    return [kind, ...parts].filter(Boolean).join(", ");
  } catch {
    return value;
  }
};

let pageCharts = [];

const trialPage = (trial) => {
  const curves = data.curves.of.trials.get(trial.place);
  const output = data.outputs[trial.output];
  const rows = (pairs) => el("table", { class: "plain pairs" }, el("tbody", null, pairs.map(([name, value]) => el("tr", null, el("th", { scope: "row" }, name), el("td", null, value)))));
  const settings = data.settings
    .map(({ key, values }, place) => [key, values[(trial.settings[place] ?? 0) - 1]])
    .filter(([, value]) => value !== undefined && value !== "null" && value !== "[]")
    .map(([key, value]) => [key, plainly(value)]);
  const events = data.events.filter(([place]) => place === trial.place).map(([, event]) => event);
  const { alone, again } = commandsOf(trial);
  const cell = data.trials.filter((other) => other.cell === trial.cell && other !== trial);
  const box = (name) => el("div", { class: "chart low", id: `chart-trial-${name}`, role: "img", "aria-label": `${name} of ${trial.label}` });
  const drawn = [];
  const one = (name, series, isPercent, canLog) => {
    const own = box(name.replaceAll(" ", "-"));
    drawn.push(el("figure", null, el("figcaption", { class: "bar" }, el("h3", null, name), canLog && toggle(`t-${name.replaceAll(" ", "-")}`, "log y")), own));
    const key = `t-${name.replaceAll(" ", "-")}`;
    const made = chart(own, () => {
      const isLog = canLog && isOn(key);
      return {
        grid: { left: 64, right: 16, top: 34, bottom: 46 },
        legend: series.length > 1 ? { top: 0, left: 60, textStyle: { color: ink().text }, itemWidth: 18 } : undefined,
        toolbox: isNarrow() ? undefined : { feature: { dataZoom: { title: { zoom: "zoom to a rectangle", back: "back" } }, restore: { title: "whole" }, saveAsImage: { title: "save as PNG", pixelRatio: 3 } } },
        xAxis: { ...axisLook(), type: "value", min: 0, max: Math.max(1, trial.iterations), name: "iteration", nameLocation: "middle", nameGap: 26, splitLine: { show: false }, axisLabel: { ...axisLook().axisLabel, formatter: (value) => whole(value) } },
        yAxis: { ...axisLook(), type: isLog ? "log" : "value", scale: true, axisLabel: { ...axisLook().axisLabel, formatter: (value) => (isPercent ? percent(value, 0) : short(value, 3)) } },
        dataZoom: [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl" }],
        tooltip: { trigger: "axis", formatter: (params) => tip(`iteration ${whole([params].flat()[0].axisValue)}`, [params].flat().map((it) => [it.seriesName, isPercent ? percent(it.value[1]) : short(it.value[1], 6), it.color])) },
        series: series.map(([label, points], number) => ({ type: "line", name: label, data: points.x.map((x, place) => [x, isLog && !(points.y[place] > 0) ? null : points.y[place]]), showSymbol: points.x.length <= 60, symbolSize: 4, lineStyle: { width: 1.4, color: colour(number) }, itemStyle: { color: colour(number) } })),
      };
    });
    pageCharts.push(made);
    view.listeners.push((keys) => keys.has(key) && made.refresh());
  };
  pageCharts.forEach(({ instance, box: old }) => { instance?.dispose(); charts.splice(charts.findIndex((it) => it.box === old), 1); });
  pageCharts = [];
  if (curves) {
    const evaluated = curves.evaluations;
    const has = (pairs) => pairs.filter(([, curve]) => curve.y.some(isNumber));
    const accuracy = has(evaluated.map(([split, curve]) => [split, curve]));
    const loss = has(evaluated.map(([split, , curve]) => [split, curve]));
    if (accuracy.length > 0) one("accuracy of evaluations", accuracy, true, false);
    if (loss.length > 0) one("loss of evaluations", loss, false, true);
    for (const [name, curve] of has(curves.metrics)) one(name === "loss" ? "training loss" : name === "accuracy" ? "training accuracy" : words(name), [[name, curve]], name.endsWith("accuracy"), !name.endsWith("accuracy"));
    for (const [name, curve] of has(curves.hypers)) if (name === "lr" || new Set(curve.y).size > 1) one(name === "lr" ? "learning rate" : words(name), [[name, curve]], false, name === "lr");
  }
  return el("article", { id: "trial" },
    el("p", null, el("a", { href: `#${backAddress()}`, id: "back" }, "\u2190 all trials")),
    el("h1", null, trial.label),
    el("p", null, el("span", { class: `status ${trial.status}` }, trial.status), ` ${trial.handle} in ${output.folder}`),
    trial.error !== undefined && el("pre", { class: "error" }, data.errors[trial.error]),
    el("div", { class: "columns" },
      el("section", null, el("h2", null, "Results"), rows([
        ...data.columns.filter((column) => column !== "non_finite_losses" || trial.numbers[column] > 0).map((column) => [words(column), written(column, valueOf(trial, column))]).filter(([, value]) => value !== "-"),
        ["iterations", trial.rows === trial.iterations ? whole(trial.rows) : `${whole(trial.rows)} of ${whole(trial.iterations)}`],
        ["time", duration(trial.seconds)],
        ["attempts", String(trial.attempts)],
        ["computed by", trial.origin],
        ["id", trial.id],
      ])),
      el("section", null, el("h2", null, "Settings"), rows(settings.length > 0 ? settings : [["-", "the plan of this output could not be read"]]))),
    el("section", null, el("h2", null, "Curves"),
      drawn.length > 0 ? el("div", { class: "figures" }, drawn) : el("p", null, trial.rows > 0 ? "Its curves are not in this page, which has those of some trials." : "It has no rows yet."),
      curves && curves.bin > 1 && drawn.length > 0 && el("p", { class: "muted" }, `Of every ${whole(curves.bin)} rows, the two with the least and the greatest value are shown.`)),
    el("section", null, el("h2", null, "Train it alone"),
      alone && [el("p", null, "Anew, into another folder:"), command(alone)],
      el("p", null, "Again, beside the rows that are stored, bit for bit:"), command(again)),
    el("section", null, el("h2", null, "Events"), events.length > 0
      ? el("table", { class: "plain" }, el("tbody", null, events.map(({ time, what }) => el("tr", null, el("td", { class: "time" }, el("time", null, time)), el("td", null, what)))))
      : el("p", { class: "muted" }, trial.started ? `It was started at ${trial.started}; no more is in this page.` : "None yet.")),
    cell.length > 0 && el("section", null, el("h2", null, "Other seeds"), el("ul", null, cell.slice(0, 50).map((other) => el("li", null, trialLink(other), `${seedOf(other)}: ${written(data.measure, measured(other))}, ${other.status}`)))));
};

/** The view of all trials, as it was left. */
const backAddress = () => {
  const values = new URLSearchParams(view.values);
  values.delete("trial");
  values.set("at", "trials");
  return values.toString();
};
