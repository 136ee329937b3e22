// The page: what was found first, then what it was found from.

const headerOf = () => {
  const counts = STATUSES.map((status) => [status, data.trials.filter((trial) => trial.status === status).length]).filter(([, count]) => count > 0);
  const theme = el("select", { id: "theme", "aria-label": "colours", onchange: () => {
    if (theme.value === "") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
    redrawAll();
  } }, el("option", { value: "" }, "auto"), el("option", { value: "light" }, "light"), el("option", { value: "dark" }, "dark"));
  return [
    el("div", { class: "bar" }, el("h1", null, data.title), el("label", { class: "control noprint" }, "colours ", theme)),
    el("p", { class: "counts" }, `${counted(data.trials.length, "trial")}: `, counts.map(([status, count], place) => [place > 0 && ", ", el("a", { href: `#at=trials&status=${status}`, class: `status ${status}` }, `${whole(count)} ${status}`)])),
  ];
};

const missingNotes = () => {
  const states = { running: "a command is training it", stopped: "it was stopped with trials left", killed: "its last command was killed with trials left", damaged: "some of its files are damaged", unknown: "its state cannot be told" };
  const notes = data.outputs.flatMap((output) => {
    const name = data.outputs.length > 1 ? `${output.folder}: ` : "";
    const state = states[output.state];
    const of = state ? [`${name}${state}${output.as_of ? `; this is what there was at ${output.as_of}` : ""}.`] : [];
    return [...of, ...output.missing.map((what) => `${name}${what}`)];
  });
  return notes.length > 0 && el("div", { class: "note", id: "missing", role: "note" }, el("strong", null, "This is not all"), el("ul", null, notes.slice(0, 30).map((note) => el("li", null, note))), notes.length > 30 && el("p", null, `and ${notes.length - 30} more`));
};

/** The answer first: the best trial, and the best policy for each optimizer, with how sure that is. */
const answerSection = () => {
  const done = data.trials.filter((trial) => trial.status === "finished" && isNumber(measured(trial)));
  const best = sorted(done, measured, !lowerIsBetter(data.measure))[0];
  const [besideBest, beside] = data.comparisons;
  const isCompared = (it) => it && typeof it === "object";
  const parts = [el("h2", null, "Answer")];
  if (best) {
    parts.push(el("p", { class: "lead", id: "best-trial" }, "The best trial is ", trialLink(best), `, ${best.label}: ${words(data.measure)} `, el("b", null, written(data.measure, measured(best))), "."));
  } else {
    parts.push(el("p", { class: "lead", id: "best-trial" }, "No trial has finished with a result yet."));
  }
  if (isCompared(besideBest)) {
    const { by, split } = besideBest;
    const rows = besideBest.blocks.map((block) => {
      const fixed = isCompared(beside) && beside.reference !== null ? beside.blocks.flatMap((it) => it.candidates).find((it) => it.cell?.name === block.reference.name || it.name === block.reference.name) : null;
      const isReference = isCompared(beside) && beside.blocks.some((it) => it.reference.name === block.reference.name) && beside.reference !== null;
      const { mean, deviation, n } = block.reference.accuracy;
      return el("tr", null,
        el("th", { scope: "row" }, block.reference.name),
        el("td", { class: "number", "data-label": "mean" }, percent(mean)),
        el("td", { class: "number", "data-label": "deviation, points" }, deviation === null ? "-" : (100 * deviation).toFixed(2)),
        el("td", { class: "number", "data-label": "n" }, String(n)),
        el("td", { class: "text", "data-label": "its lead over the next" }, leadOf(block)),
        isCompared(beside) && beside.reference !== null && el("td", { class: "text", "data-label": `beside ${beside.reference}` }, isReference ? `it is ${beside.reference}` : fixed ? verdictOf(fixed) : "-"));
    });
    parts.push(
      el("h3", null, `The best ${by}${eachOf(besideBest)}, by mean final accuracy on ${split}`),
      el("div", { class: "scroll" }, el("table", { class: "plain", id: "table-best" },
        el("thead", null, el("tr", null, el("th", { scope: "col" }, "best"), ["mean", "deviation, points", "n"].map((head) => el("th", { scope: "col", class: "number" }, head)), el("th", { scope: "col" }, "its lead over the next"), isCompared(beside) && beside.reference !== null && el("th", { scope: "col" }, `beside ${beside.reference}`))),
        el("tbody", null, rows))));
  } else if (typeof besideBest === "string") {
    parts.push(el("p", { class: "muted" }, `There is no comparison: ${besideBest}.`));
  }
  data.comparisons.filter(isCompared).forEach((comparison, place) => {
    const heading = comparison.reference === null ? `Each ${comparison.by} beside the best` : `Each ${comparison.by} beside ${comparison.reference}`;
    parts.push(el("details", { open: false, id: `comparison-${place}` }, el("summary", null, heading), comparisonTable(comparison)));
  });
  return el("section", { id: "answer" }, parts);
};

/** What the blocks of a comparison are: ` for each optimizer`. */
const eachOf = ({ by, blocks }) => {
  if (blocks.length < 2) return "";
  const others = shownAxes().filter((axis) => !axis.is_seed && axis.name !== by);
  const differing = others.filter((axis) => new Set(blocks.map((block) => block.reference.axes[axis.name])).size === blocks.length);
  return differing.length > 0 ? ` for each ${differing[0].label}` : " for each of the other settings";
};

const VERDICTS = { no_pair: "no pair", one_seed: "one seed", better: "better", worse: "worse", undecided: "undecided", equal: "equal", no_spread: "no spread" };

const pOf = (p) => (p === null ? "" : p < 0.001 ? ", p < 0.001" : `, p = ${p.toFixed(3)}`);

/** `better by +1.20 points (+0.40 to +2.00, p = 0.012)` */
const verdictOf = ({ difference, p_corrected: p, verdict }) => {
  if (difference.mean === null) return "no seed finished in both";
  const interval = difference.interval ? ` (${points(difference.interval[0])} to ${points(difference.interval[1])}${pOf(p)})` : "";
  const what = { better: "better", worse: "worse", undecided: "not beyond noise", one_seed: "one seed, which tells nothing of noise", equal: "equal", no_spread: "the same in every seed" }[verdict];
  return [el("b", { class: `verdict ${verdict}` }, what), `: ${points(difference.mean)} points${interval}`];
};

/** The lead of a block's best over the next. */
const leadOf = ({ candidates }) => {
  const next = candidates.find((candidate) => candidate.difference.mean !== null);
  if (!next) return "nothing to compare with has finished";
  const { difference, p_corrected: p, verdict } = next;
  const interval = difference.interval ? ` (${points(-difference.interval[1])} to ${points(-difference.interval[0])}${pOf(p)})` : "";
  const what = { worse: "beyond noise", undecided: "not beyond noise", one_seed: "one seed, which tells nothing of noise", equal: "equal", no_spread: "the same in every seed", better: "behind it in the seeds that both have" }[verdict];
  return [el("b", { class: `verdict ${verdict === "worse" ? "better" : verdict}` }, what), `: ${points(-difference.mean)} points before ${next.name}${interval}`];
};

const comparisonTable = (comparison) => {
  const row = (cell, block, candidate) => {
    const its = cell.iterations;
    const all = its.reached + its.not_reached + its.unknown;
    return el("tr", { class: candidate ? null : "reference" },
      el("th", { scope: "row" }, cell.name),
      el("td", { class: "number" }, percent(cell.accuracy.mean)),
      el("td", { class: "number" }, candidate ? points(candidate.difference.mean) : ""),
      el("td", { class: "number" }, candidate?.difference.interval ? `${points(candidate.difference.interval[0])} to ${points(candidate.difference.interval[1])}` : ""),
      el("td", { class: "number" }, String(candidate ? candidate.difference.n : cell.accuracy.n)),
      el("td", { class: "number" }, candidate && candidate.p_corrected !== null ? (candidate.p_corrected < 0.001 ? "<0.001" : candidate.p_corrected.toFixed(3)) : ""),
      el("td", null, candidate ? el("b", { class: `verdict ${candidate.verdict}` }, VERDICTS[candidate.verdict]) : "reference"),
      el("td", { class: "number" }, its.mean === null || its.mean === undefined ? `${its.reached} of ${all}` : `${whole(its.mean)} (${its.reached} of ${all})`),
      el("td", { class: "number" }, candidate && isNumber(candidate.iterations_ratio) ? candidate.iterations_ratio.toFixed(2) : ""));
  };
  const heads = ["", "mean", "difference, points", "95% interval", "n", "p (Holm)", "verdict", "iterations to the reference's mean", "ratio"];
  return [
    el("ul", { class: "answers" }, comparison.blocks.slice(0, 40).map((block) => el("li", null, block.answer))),
    el("div", { class: "scroll" }, el("table", { class: "plain" },
      el("thead", null, el("tr", null, heads.map((head, place) => el("th", { scope: "col", class: place > 0 && place !== 6 ? "number" : null }, head)))),
      comparison.blocks.slice(0, 40).map((block) => el("tbody", null, row(block.reference, block, null), block.candidates.slice(0, 60).map((candidate) => row(candidate, block, candidate)))))),
    el("p", { class: "muted" }, `Differences are paired by seed. A verdict of better or worse needs p < 0.05, corrected for ${counted(comparison.tests, "comparison")} by Holm's method.`),
    comparison.notes.length > 0 && el("ul", { class: "muted" }, comparison.notes.slice(0, 40).map((note) => el("li", null, note))),
  ];
};

const problemsSection = () => {
  const failed = data.trials.filter((trial) => ["failed", "crashed"].includes(trial.status) || (trial.error !== undefined && trial.status === "unfinished"));
  const diverged = data.trials.filter((trial) => trial.status === "diverged");
  if (failed.length === 0 && diverged.length === 0) return null;
  const byMessage = new Map();
  for (const trial of failed) {
    const key = trial.error ?? -1;
    if (!byMessage.has(key)) byMessage.set(key, []);
    byMessage.get(key).push(trial);
  }
  const links = (trials) => el("ul", { class: "links" }, trials.slice(0, 20).map((trial) => el("li", null, trialLink(trial), ` ${trial.label}${isNumber(trial.numbers.diverged_at) ? `, at iteration ${whole(trial.numbers.diverged_at)}` : ""}`)), trials.length > 20 && el("li", null, `and ${whole(trials.length - 20)} more; the leaderboard lists all`));
  return el("section", { id: "problems" },
    el("h2", null, "What went wrong"),
    [...byMessage.entries()].map(([key, trials]) => [
      el("h3", null, `${counted(trials.length, "trial")} ${[...new Set(trials.map((trial) => trial.status))].join(" or ")}`),
      el("pre", { class: "error" }, key === -1 ? "no message is stored" : data.errors[key]),
      links(trials),
    ]),
    diverged.length > 0 && [el("h3", null, `${counted(diverged.length, "trial")} diverged`), el("p", null, "That is a result, not a failure: the rows up to there are kept."), links(diverged)]);
};

const madeSection = () =>
  el("section", { id: "made" },
    el("h2", null, "How it was made"),
    data.left_out.length > 0 && [el("h3", null, "What this page leaves out"), el("ul", { id: "left-out" }, data.left_out.map((text) => el("li", null, text)))],
    data.outputs.map((output) => [
      el("h3", null, output.folder),
      output.runs.slice(-20).map((run) =>
        el("table", { class: "plain pairs" }, el("tbody", null, [
          ["command", el("code", null, run.command)],
          ["in", run.folder],
          ["time", `${run.started} to ${run.ended ?? (output.state === "running" ? "now" : "it was cut off")}`],
          ["devices", `${run.devices.join(", ")}; ${counted(run.threads, "thread")}`],
          ["versions", run.versions.map(([name, version]) => el("div", null, `${name} ${version}`))],
          ["numerics", run.numerics.join(", ")],
        ].map(([name, value]) => el("tr", null, el("th", { scope: "row" }, name), el("td", null, value)))))),
      output.runs.length > 20 && el("p", null, `and ${output.runs.length - 20} commands before`),
      output.spec !== null && el("details", null, el("summary", null, "spec.toml"), el("pre", { class: "spec" }, output.spec)),
    ]),
    el("p", { class: "muted" }, `Written by ${data.program}. The same numbers are in trials.parquet, metrics/ and evals/ of the output, for pandas, polars and DuckDB.`));

const sectionsOf = () => [answerSection, trialsSection, curvesSection, scatterSection, heatSection, parallelSection, rangeSection, problemsSection, madeSection].map((section) => section()).filter(Boolean);

const showAll = (main, sections) => {
  const handle = view.get("trial");
  const trial = handle && data.trials.find((it) => it.handle === handle || it.id === handle);
  document.body.classList.toggle("one-trial", Boolean(trial));
  document.getElementById("trial")?.remove();
  if (trial) {
    main.append(trialPage(trial));
    scrollTo(0, 0);
  } else if (handle) {
    main.prepend(el("p", { class: "note", id: "trial" }, `This report has no trial ${handle}.`));
  } else {
    sections.forEach((section) => section.querySelectorAll(".chart").forEach((box) => box.chart?.isNear && box.chart.show()));
  }
};

const open = async () => {
  const main = document.getElementById("main");
  const opening = document.getElementById("opening");
  opening.hidden = false;
  try {
    data = await unpack();
  } catch (error) {
    opening.textContent = `This browser cannot open the report: ${error.message}. It needs DecompressionStream, which Chrome has from version 103, Firefox from 113 and Safari from 16.4.`;
    return;
  }
  opening.remove();
  filtered = data.trials;
  document.getElementById("top").replaceChildren(...headerOf());
  const sections = sectionsOf();
  const nav = document.getElementById("nav");
  nav.append(...sections.map((section) => el("a", { href: `#at=${section.id}`, onclick: (event) => {
    event.preventDefault();
    view.set({ at: section.id, trial: null });
    section.scrollIntoView();
  } }, section.querySelector("h2").textContent)));
  const missing = missingNotes();
  if (missing) main.append(missing);
  main.append(...sections);
  view.listeners.push((keys) => keys.has("trial") && showAll(main, sections));
  showAll(main, sections);
  if (view.get("trial") === "" && view.get("at") !== "") document.getElementById(view.get("at"))?.scrollIntoView();
  document.body.dataset.ready = "1";
};

open();
