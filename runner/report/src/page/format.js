// Elements and numbers as people read them. Text of the data becomes text nodes, never markup.

/** An element: `el("td", { class: "number", onclick: f }, "text", child)`. */
const el = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A whole number with separators. */
const whole = (value) => Math.round(value).toLocaleString("en-US");

/** A number in few characters: 0.006, 1.234e-7, 12,000. */
const short = (value, digits = 4) => {
  if (!isNumber(value)) return "-";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return Math.abs(value) < 10000 ? String(value) : whole(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  const text = value.toPrecision(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
};

const percent = (value, digits = 2) => (isNumber(value) ? `${(100 * value).toFixed(digits)}%` : "-");

const points = (value) => (isNumber(value) ? `${value < 0 ? "\u2212" : "+"}${Math.abs(100 * value).toFixed(2)}` : "-");

const duration = (seconds) => {
  if (!isNumber(seconds)) return "-";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
};

const counted = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

/** How the values of a column of numbers are written, by its name. */
const written = (name, value) => {
  if (value === null || value === undefined || value === "") return "-";
  if (typeof value !== "number") return String(value);
  if (name.endsWith("accuracy")) return percent(value);
  if (name === "seconds") return duration(value);
  if (/iteration|rows|diverged_at|losses$/.test(name)) return whole(value);
  return short(value);
};

/** `final test accuracy` for `final_test_accuracy`. */
const words = (name) => name.replaceAll("_", " ");

/** Mean, sample deviation and number of the finite values. */
const meanOf = (values) => {
  const finite = values.filter(isNumber);
  const n = finite.length;
  if (n === 0) return { n, mean: null, deviation: null, least: null, greatest: null };
  const mean = finite.reduce((sum, value) => sum + value, 0) / n;
  const squares = finite.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of finite) [least, greatest] = [Math.min(least, value), Math.max(greatest, value)];
  return { n, mean, deviation: n > 1 ? Math.sqrt(squares / (n - 1)) : null, least, greatest };
};
