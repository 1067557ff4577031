// What all charts share: their look in both colour schemes, and names that cannot be markup.
const AXES = {
  step: { title: "step", type: "linear", x: (curve) => curve.steps },
  relative: { title: "seconds", type: "linear", x: (curve) => curve.times.map((time) => time - curve.times[0]) },
  wall: { title: "", type: "date", x: (curve) => curve.times.map((time) => time * 1000) },
};

export const axis = (name) => AXES[name];

export const config = {
  responsive: true,
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  doubleClick: "reset",
};

// Plotly reads a little HTML in its texts
export function plain(text) {
  return String(text).replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);
}

export function number(value) {
  if (value === null || value === undefined) return "";
  return Number.isFinite(value) ? Number(value.toPrecision(4)).toString() : String(value);
}

export function colour(position, of) {
  if (of <= 8) return style(`--curve-${position + 1}`);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return `hsl(${(position * 137.508) % 360} 65% ${dark ? 65 : 42}%)`;
}

// from the page's own surface to its accent, in both schemes
export function heat() {
  return [[0, style("--surface")], [1, style("--accent")]];
}

export function layout(more) {
  const line = style("--line");
  const axes = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const { xaxis, yaxis, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: style("--quiet") },
    hoverlabel: { bgcolor: style("--surface"), bordercolor: line, font: { color: style("--text") } },
    margin: { l: 48, r: 12, t: 8, b: 40 },
    showlegend: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    ...rest,
    xaxis: { ...axes, ...xaxis },
    yaxis: { ...axes, ...yaxis },
  };
}

export function onScheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
