// The data of the report, unpacked, and what is looked up in it again and again.

let data = null;

const unpack = async () => {
  const text = document.getElementById("data").textContent.trim();
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const found = JSON.parse(await new Response(stream).text());
  const summed = (curve) => {
    // Each x is stored as its distance from the one before.
    if (!curve) return curve;
    let at = 0;
    curve.x = curve.x.map((step) => (at += step));
    return curve;
  };
  for (const [, curves] of [...found.curves.cells, ...found.curves.groups]) {
    curves.evaluations.forEach(([, accuracy, loss]) => [accuracy, loss].forEach(summed));
    [curves.training, curves.lr, curves.lr_band].forEach(summed);
  }
  for (const [, curves] of found.curves.trials) {
    curves.evaluations.forEach(([, accuracy, loss]) => [accuracy, loss].forEach(summed));
    [...curves.metrics, ...curves.hypers].forEach(([, curve]) => summed(curve));
  }
  found.curves.of = {
    cells: new Map(found.curves.cells),
    groups: new Map(found.curves.groups),
    trials: new Map(found.curves.trials),
  };
  found.trials.forEach((trial, place) => (trial.place = place));
  // The columns of numbers that some trial has, in a fixed order.
  const names = new Set(found.trials.flatMap((trial) => Object.keys(trial.numbers)));
  const rank = (name) => ["final_validation", "final_test", "best", "final_train"].findIndex((it) => name.startsWith(it));
  const order = (name) => [name === found.measure ? -1 : (rank(name) + 9) % 9, name.endsWith("accuracy") ? 0 : 1];
  found.columns = [...names].sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
  return found;
};

const lowerIsBetter = (name) => /loss|seconds|iteration/.test(name);

/** A trial's value in a column: an axis, a number, or something of its own. */
const valueOf = (trial, column) => {
  if (column.startsWith("axis:")) return trial.axes[data.axes.findIndex((axis) => axis.name === column.slice(5))];
  if (column in trial.numbers) return trial.numbers[column];
  return ["handle", "label", "status", "iterations", "rows", "seconds", "attempts"].includes(column) ? trial[column] : null;
};

const measured = (trial) => trial.numbers[data.measure] ?? null;

/** The axes that tell trials apart. */
const shownAxes = () => data.axes.filter((axis) => axis.is_shown);

/** What a column is called. */
const columnName = (column) =>
  column.startsWith("axis:") ? data.axes.find((axis) => axis.name === column.slice(5))?.label ?? column : words(column);

/** Columns of numbers that charts can show: those of results, then the axes that are numbers, then the rest. */
const numberColumns = () => [
  ...data.columns,
  ...shownAxes().filter((axis) => axis.is_number).map((axis) => `axis:${axis.name}`),
  "iterations",
  "rows",
  "seconds",
];

/** The values of an axis among these trials: numbers by size, texts as they come. */
const levels = (trials, column) => {
  const found = [...new Set(trials.map((trial) => valueOf(trial, column)))];
  const isNumeric = found.every((value) => value === null || typeof value === "number");
  return isNumeric ? found.sort((a, b) => (a ?? -Infinity) - (b ?? -Infinity)) : found;
};

const levelName = (value) => (value === null || value === undefined ? "none" : typeof value === "number" ? short(value) : String(value));
