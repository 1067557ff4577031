// The metrics of one run: a chart for each name that grows while the run logs, and what is no number as tables.
import { axis, colour, config, heat, layout, number, onScheme, plain } from "./chart.js";
import { ask, listen, refresh } from "./live.js";
import { Stored } from "./stored.js";

const MOST = 5000; // points of a curve that pile up before the server is asked for a thinner one
const SHOWN_ROWS = 100;
const MOST_PROBLEMS = 8;
const MOST_NAMED = 12; // curves of a chart that a legend names; of more the chart itself would be the smaller part

export function start() {
  new Page(document.querySelector("[data-run-page]")).start();
}

// One stream brings what the job logs and what it uses.
class Page {
  constructor(page) {
    this.page = page;
    this.cursor = {};
    this.entries = [];
    this.axis = page.querySelector("[data-axis]");
    this.log = page.querySelector("[data-log-axis]");
    this.metrics = new Charts(document.getElementById("charts"), "metric", () => ({ across: this.axis.value, log: this.log.checked, height: 240 }));
    const resources = document.getElementById("resources");
    this.resources = resources && new Charts(resources, "resource", () => ({ across: "wall", fromZero: true, height: 200 }));
    this.met = new Set();
    this.problems = [];
    this.stored = new Stored(document.getElementById("stored"), page.dataset);
    this.axis.addEventListener("change", () => this.metrics.draw());
    this.log.addEventListener("change", () => this.metrics.draw());
    const draw = () => {
      this.metrics.draw();
      this.resources?.draw();
      this.stored.draw();
      showEntries(this.entries);
    };
    onScheme(draw);
    document.addEventListener("refreshed", () => this.met.size && draw());
  }

  async start() {
    await this.load();
    const address = () => {
      const place = new URL(this.page.dataset.events, location.href);
      place.searchParams.set("since", JSON.stringify(this.cursor));
      return place;
    };
    listen(address, { metrics: (more) => this.add(more), refresh });
  }

  async load() {
    const found = await ask(this.page.dataset.metrics);
    if (!found) return;
    this.metrics.clear();
    this.resources?.clear();
    this.entries = [];
    this.add(found);
    this.metrics.place.setAttribute("aria-busy", "false");
  }

  add(more) {
    this.cursor = more.cursor;
    this.meet(more);
    this.stored.add(more.stored);
    if (more.problems.length) {
      const place = document.getElementById("problems");
      this.problems = [...new Set([...this.problems, ...more.problems])].slice(0, MOST_PROBLEMS);
      place.textContent = this.problems.join("\n");
      place.hidden = false;
    }
    const crowded = [this.metrics.add(more.curves), this.resources?.add(more.resources)];
    if (crowded.includes(true)) return void this.load();
    if (more.entries.length) {
      this.entries.push(...more.entries);
      showEntries(this.entries);
    }
    document.getElementById("no-metrics").hidden = this.metrics.charts.size + this.stored.groups.size + this.entries.length > 0;
    this.metrics.drawWaiting();
    if (!this.resources) return;
    document.getElementById("resource-use").hidden = this.resources.charts.size === 0;
    this.resources.drawWaiting();
  }

  // a child run that is heard of for the first time may be missing in the page's list of them
  meet(more) {
    const runs = [...more.curves, ...more.entries].map((each) => each.run).filter((run) => run && !this.met.has(run));
    if (runs.length && this.page.querySelector("#children")) refresh();
    for (const run of runs) this.met.add(run);
  }
}

// The charts of one place, a chart a name.
class Charts {
  constructor(place, kind, look) {
    this.place = place;
    this.kind = kind;
    this.look = look;
    this.charts = new Map();
    this.waiting = new Set();
  }

  clear() {
    this.charts.forEach((chart) => chart.curves.clear());
  }

  // whether a curve has become too long
  add(curves) {
    for (const curve of curves) {
      if (!this.charts.has(curve.name)) this.charts.set(curve.name, new Chart(curve.name, this.kind, this.place));
      const chart = this.charts.get(curve.name);
      chart.add(curve);
      this.waiting.add(chart);
    }
    return [...this.waiting].some((chart) => [...chart.curves.values()].some((curve) => curve.times.length > MOST));
  }

  drawWaiting() {
    for (const chart of this.waiting) chart.draw(this.look());
    this.waiting.clear();
  }

  draw() {
    for (const chart of this.charts.values()) chart.draw(this.look());
  }
}

class Chart {
  constructor(name, kind, place) {
    this.curves = new Map();
    const figure = document.createElement("figure");
    figure.className = "chart";
    figure.dataset[kind] = name;
    const caption = document.createElement("figcaption");
    const title = document.createElement("span");
    title.textContent = name;
    this.last = document.createElement("output");
    caption.append(title, this.last);
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.plot.setAttribute("role", "group");
    this.name = name;
    figure.append(caption, this.plot);
    place.append(figure);
  }

  add(curve) {
    const whose = JSON.stringify([curve.run, curve.label]);
    const known = this.curves.get(whose);
    if (!known) {
      this.curves.set(whose, curve);
      return;
    }
    for (const column of ["steps", "values", "times"]) known[column]?.push(...curve[column]);
    known.count += curve.count;
    known.last = curve.last;
  }

  draw({ across, log = false, fromZero = false, height }) {
    const curves = [...this.curves.values()];
    const { x, title, type } = axis(across);
    const traces = curves.map((curve, position) => ({
      type: "scatter",
      mode: curve.times.length < 2 ? "markers" : "lines",
      x: x(curve),
      y: curve.values,
      name: plain([named(curve.run), curve.label].filter(Boolean).join(", ") || this.name),
      line: { color: colour(position, curves.length), width: 1.75 },
      marker: { color: colour(position, curves.length) },
      hovertemplate: "%{y:.5g}<extra>%{x}</extra>",
    }));
    const count = curves.reduce((sum, curve) => sum + curve.count, 0);
    const legend = curves.length > 1 && curves.length <= MOST_NAMED;
    const shape = layout({
      height: legend ? height + 24 : height,
      showlegend: legend,
      xaxis: { title: { text: title }, type },
      yaxis: { type: log ? "log" : "linear", rangemode: fromZero ? "tozero" : "normal" },
      datarevision: count,
      uirevision: across + log,
    });
    Plotly.react(this.plot, traces, shape, config);
    const last = number(curves.at(-1)?.last);
    this.last.textContent = last;
    this.plot.setAttribute("aria-label", `Chart of ${this.name}: ${count} values, the last is ${last || "not a number"}`);
  }
}

// What a child run is called; a folder of TensorBoard's is called as it is.
function named(run) {
  return run && (document.querySelector(`[data-child="${CSS.escape(run)}"] a`)?.textContent ?? run);
}

// Rows of one name become one table, a list of numbers a chart, a confusion matrix a heat map.
function showEntries(entries) {
  const groups = new Map();
  for (const entry of entries) {
    if (entry.kind === "image") continue; // shown with the logged images
    const place = JSON.stringify([entry.kind, entry.name, entry.run]);
    if (!groups.has(place)) groups.set(place, []);
    groups.get(place).push(entry);
  }
  const later = []; // a chart takes the size of its place, so that must be on the page first
  const shown = [...groups.values()].map((group) => {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = [group[0].name, named(group[0].run)].filter(Boolean).join(", ");
    section.append(title, drawn(group, later));
    return section;
  });
  document.getElementById("entries").replaceChildren(...shown);
  for (const draw of later) draw();
}

function drawn(group, later) {
  const last = group.at(-1).value;
  const kind = group[0].kind;
  if (kind === "row") return table(group.map((entry) => entry.value));
  if (kind === "table") return table(Array.isArray(last) ? last : transposed(last));
  const matrix = kind === "confusion_matrix" && (last?.data ?? last);
  if (Array.isArray(matrix?.matrix) && matrix.matrix.length && matrix.matrix.every(Array.isArray)) return heatMap(matrix, later);
  if (kind === "list" && Array.isArray(last) && last.every((value) => typeof value === "number")) return curve(last, later);
  const text = document.createElement("pre");
  text.className = "text";
  text.tabIndex = 0;
  text.textContent = group.map((entry) => (typeof entry.value === "string" ? entry.value : JSON.stringify(entry.value))).join("\n");
  return text;
}

function transposed(columns) {
  const lists = Object.entries(columns ?? {}).map(([name, column]) => [name, Array.isArray(column) ? column : [column]]);
  const count = Math.max(0, ...lists.map(([, column]) => column.length));
  return Array.from({ length: Math.min(count, SHOWN_ROWS) }, (_, row) =>
    Object.fromEntries(lists.map(([name, column]) => [name, column[row]])),
  );
}

function table(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row ?? {})))];
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  const element = document.createElement("table");
  element.className = "rows";
  const head = element.createTHead().insertRow();
  for (const name of names) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = element.createTBody();
  for (const row of rows.slice(-SHOWN_ROWS)) {
    const line = body.insertRow();
    for (const name of names) line.insertCell().textContent = typeof row?.[name] === "number" ? number(row[name]) : (row?.[name] ?? "");
  }
  scroll.append(element);
  return scroll;
}

function curve(values, later) {
  const plot = picture(`Chart of ${values.length} values`);
  const trace = { type: "scatter", mode: "lines", y: values, line: { color: colour(0, 1), width: 1.75 }, hovertemplate: "%{y:.5g}<extra>%{x}</extra>" };
  later.push(() => Plotly.newPlot(plot, [trace], layout({ height: 220 }), config));
  return card(plot);
}

function heatMap({ matrix, class_labels: labels }, later) {
  const names = Array.isArray(labels) ? labels.map(plain) : matrix.map((_, number) => String(number));
  const plot = picture("Confusion matrix");
  const trace = { type: "heatmap", z: matrix, x: names, y: names, colorscale: heat(), hovertemplate: "%{y} taken for %{x}: %{z}<extra></extra>" };
  const shape = layout({ height: 360, xaxis: { title: { text: "predicted" }, type: "category" }, yaxis: { title: { text: "true" }, type: "category", autorange: "reversed" } });
  later.push(() => Plotly.newPlot(plot, [trace], shape, config));
  return card(plot);
}

function card(plot) {
  const figure = document.createElement("figure");
  figure.className = "chart entry";
  figure.append(plot);
  return figure;
}

function picture(label) {
  const plot = document.createElement("div");
  plot.className = "plot";
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", label);
  return plot;
}
