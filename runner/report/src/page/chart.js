// Charts: drawn when they come into view, drawn again when what they show has changed, in the colours of the page.

/** Colours that people with any common kind of colour blindness tell apart (after Okabe and Ito), for light and for dark. */
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#882255", "#555555"],
  dark: ["#5ab4f0", "#ff8f4d", "#35d0a0", "#f0a0cc", "#e6c34a", "#b0dcff", "#e08aa8", "#bbbbbb"],
};
const DASHES = ["solid", [7, 3], [2, 2], [9, 3, 2, 3], [5, 2, 2, 2, 2, 2], [12, 4]];

let isPrinted = false;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => !isPrinted && (document.documentElement.dataset.theme === "dark" || (document.documentElement.dataset.theme !== "light" && prefersDark.matches));
const colour = (place) => COLOURS[isDark() ? "dark" : "light"][place % 8];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ink = () => (isPrinted ? { text: "#111", muted: "#444", line: "#999", grid: "#ddd", paper: "#fff" } : { text: css("--text"), muted: css("--muted"), line: css("--line"), grid: css("--grid"), paper: css("--paper") });
const isNarrow = () => innerWidth < 640;
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

const charts = [];

/** A chart in `box`. `draw()` gives its option, or nothing where there is nothing to draw; `bind` adds handlers once. */
const chart = (box, draw, bind) => {
  const own = { box, instance: null, isStale: true, isNear: false };
  own.refresh = () => {
    own.isStale = true;
    if (own.isNear && box.offsetWidth > 0) own.show();
  };
  own.show = () => {
    if (!own.isStale || box.offsetWidth === 0) return;
    own.isStale = false;
    const option = draw();
    box.hidden = !option;
    if (!option) return;
    if (!own.instance) {
      own.instance = echarts.init(box, null, { renderer: "canvas" });
      bind?.(own.instance);
    }
    own.instance.setOption(basis(option), { notMerge: true });
    // What is printed must be there at once.
    if (isPrinted) own.instance.getZr().flush();
  };
  nearness.observe(box);
  sizes.observe(box);
  box.chart = own;
  charts.push(own);
  return own;
};

const nearness = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!target.chart) continue;
      target.chart.isNear = isIntersecting;
      if (isIntersecting) target.chart.show();
    }
  },
  { rootMargin: "400px" },
);

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const { chart: own } = target;
    if (own?.instance && target.offsetWidth > 0 && target.offsetWidth !== own.instance.getWidth()) own.instance.resize();
    else if (own?.isNear) own.show();
  }
});

const redrawAll = () => {
  for (const own of charts) {
    own.isStale = true;
    if (own.isNear || isPrinted) own.show();
  }
};
prefersDark.addEventListener("change", redrawAll);
addEventListener("beforeprint", () => {
  isPrinted = true;
  redrawAll();
});
addEventListener("afterprint", () => {
  isPrinted = false;
  redrawAll();
});

/** What all charts share. */
const basis = (option) => {
  const { text, muted, paper, line } = ink();
  return {
    animation: false,
    textStyle: { fontFamily: FONT, color: text },
    backgroundColor: "transparent",
    aria: { enabled: true },
    ...option,
    tooltip: option.tooltip && {
      confine: true,
      backgroundColor: paper,
      borderColor: line,
      textStyle: { color: text, fontSize: 12, fontFamily: FONT },
      extraCssText: "max-width: min(30rem, 92vw); white-space: normal; box-shadow: 0 2px 8px rgba(0,0,0,.2)",
      ...option.tooltip,
    },
    toolbox: option.toolbox && !isPrinted && {
      top: 0,
      right: 4,
      itemSize: 14,
      iconStyle: { borderColor: muted },
      ...option.toolbox,
    },
  };
};

const axisLook = () => {
  const { text, muted, line, grid } = ink();
  return {
    nameTextStyle: { color: text, fontSize: 12 },
    axisLabel: { color: muted, fontSize: 12, hideOverlap: true },
    axisLine: { show: true, onZero: false, lineStyle: { color: line } },
    axisTick: { lineStyle: { color: line } },
    splitLine: { lineStyle: { color: grid } },
    minorSplitLine: { show: false },
  };
};

/** The content of a tooltip: a heading and rows of name and value, each with a swatch if it has a colour. */
const tip = (heading, rows) =>
  el("div", { class: "tip" },
    el("strong", null, heading),
    el("table", null, rows.map(([name, value, tone]) =>
      el("tr", null, el("td", null, tone && el("i", { style: `background:${tone}` }), name), el("td", null, value)))));

/** Exponentially smoothed, with the beginning set right; what is not there stays so. */
const smoothed = (values, weight) => {
  if (!(weight > 0)) return values;
  let [sum, power] = [0, 1];
  return values.map((value) => {
    if (!isNumber(value)) return value;
    sum = weight * sum + (1 - weight) * value;
    power *= weight;
    return sum / (1 - power);
  });
};

/** A band between two curves, as a series: on any axis, log ones too. */
const band = (name, x, low, high, tone, axes, opacity = 0.16) => {
  const kept = x.map((_, place) => place).filter((place) => isNumber(low[place]) && isNumber(high[place]));
  return {
    type: "custom",
    name,
    ...axes,
    silent: true,
    clip: true,
    z: 1,
    tooltip: { show: false },
    encode: { x: [0], y: [1, 2] },
    // Every point is there for the extent of the axes; the first draws all.
    data: kept.map((place) => [x[place], low[place], high[place]]),
    renderItem: (params, api) => {
      if (params.dataIndexInside !== 0 || kept.length < 2) return null;
      const upper = kept.map((place) => api.coord([x[place], high[place]]));
      const lower = kept.map((place) => api.coord([x[place], low[place]])).reverse();
      const { x: left, y: top, width, height } = params.coordSys;
      return {
        type: "polygon",
        shape: { points: [...upper, ...lower] },
        style: { fill: tone, opacity },
        clipPath: { type: "rect", shape: { x: left, y: top, width, height } },
      };
    },
  };
};

/** The place of the x that is nearest. */
const nearest = (x, at) => {
  let [low, high] = [0, x.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] <= at) low = middle;
    else high = middle;
  }
  return x.length === 0 ? -1 : at - x[low] <= x[high] - at ? low : high;
};
