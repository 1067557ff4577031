// Many runs over one another: the server smooths and thins, this draws, and hides what is not ticked.
import { axis, colour, config, layout, number, onScheme, plain } from "./chart.js";
import { ask, listen } from "./live.js";

export function start() {
  const page = document.querySelector("[data-compare]");
  const table = page.querySelector("[data-sortable]");
  sortable(table);
  if (page.querySelector("[data-controls]")) new Comparison(page, table).start();
}

class Comparison {
  constructor(page, table) {
    this.page = page;
    this.form = page.querySelector("[data-controls]");
    this.plot = page.querySelector("[data-plot]");
    this.summary = page.querySelector("[data-summary]");
    this.rows = [...table.tBodies[0].rows];
    this.curves = new Map();
    this.asked = 0;
    this.rows.forEach((row, position) => {
      row.position = position;
      row.addEventListener("mouseenter", () => this.lift(row.dataset.run, true));
      row.addEventListener("mouseleave", () => this.lift(row.dataset.run, false));
      row.addEventListener("focusin", () => this.lift(row.dataset.run, true));
      row.addEventListener("focusout", () => this.lift(row.dataset.run, false));
    });
    this.paint();
    table.addEventListener("change", () => this.draw());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => this.changed(event.target));
    for (const button of page.querySelectorAll("[data-show]")) button.addEventListener("click", () => this.tick(button.dataset.show));
    onScheme(() => {
      this.paint();
      this.draw();
    });
  }

  start() {
    this.load();
    listen(() => this.page.dataset.events + location.search, { refresh: () => this.load() });
  }

  changed(field) {
    this.page.querySelector("[data-weight]").textContent = this.form.elements.smoothing.value;
    if (field.name === "log") return this.draw();
    clearTimeout(this.planned);
    this.planned = setTimeout(() => this.load(), 120);
  }

  async load() {
    const number = ++this.asked;
    const query = new URLSearchParams(location.search);
    for (const name of ["metric", "axis", "smoothing"]) query.set(name, this.form.elements[name].value);
    const found = await ask(`${this.page.dataset.series}?${query}`);
    if (!found || number !== this.asked) return;
    this.curves = new Map(found.curves.map((curve) => [curve.run, curve]));
    this.fill();
    this.draw();
  }

  fill() {
    for (const row of this.rows) {
      const curve = this.curves.get(row.dataset.run);
      for (const name of ["last", "min", "max"]) {
        const cell = row.querySelector(`[data-cell=${name}]`);
        cell.textContent = number(curve?.[name]);
        cell.dataset.value = curve?.[name] ?? "";
      }
    }
  }

  draw() {
    const shown = this.rows.filter((row) => row.querySelector("input").checked && this.curves.has(row.dataset.run));
    const { title, type } = axis(this.form.elements.axis.value);
    this.drawn = shown.map((row) => row.dataset.run);
    const traces = shown.map((row) => {
      const curve = this.curves.get(row.dataset.run);
      return {
        type: "scatter",
        mode: curve.x.length < 2 ? "markers" : "lines",
        x: curve.x,
        y: curve.y,
        name: plain(row.dataset.run),
        line: { color: this.colour(row), width: 1.5 },
        marker: { color: this.colour(row) },
        hovertemplate: "%{y:.5g} at %{x}<extra>%{fullData.name}</extra>",
      };
    });
    const name = this.form.elements.metric.value;
    const shape = layout({
      height: 440,
      hovermode: "closest",
      xaxis: { title: { text: title }, type },
      yaxis: { type: this.form.elements.log.checked ? "log" : "linear" },
      uirevision: `${name} ${title} ${this.form.elements.log.checked}`,
    });
    Plotly.react(this.plot, traces, shape, config);
    this.page.querySelector("[data-title]").textContent = name;
    this.summary.textContent = `${shown.length} of ${this.rows.length} runs shown`;
    this.plot.setAttribute("role", "group");
    this.plot.setAttribute("aria-label", `Chart of ${name} for ${shown.length} runs; the table below has their values`);
  }

  lift(run, up) {
    const position = this.drawn?.indexOf(run) ?? -1;
    if (position >= 0) Plotly.restyle(this.plot, { "line.width": up ? 4 : 1.5 }, [position]);
  }

  tick(which) {
    const lowest = this.rows
      .filter((row) => typeof this.curves.get(row.dataset.run)?.min === "number")
      .sort((one, other) => this.curves.get(one.dataset.run).min - this.curves.get(other.dataset.run).min)
      .slice(0, 10);
    for (const row of this.rows) row.querySelector("input").checked = which === "all" || (which === "best" && lowest.includes(row));
    this.draw();
  }

  paint() {
    for (const row of this.rows) row.querySelector(".swatch").style.backgroundColor = this.colour(row);
  }

  colour(row) {
    return colour(row.position, this.rows.length);
  }
}

function sortable(table) {
  const head = table.tHead.rows[0];
  head.addEventListener("click", (event) => {
    const cell = event.target.closest("button")?.closest("th");
    if (!cell) return;
    const down = cell.getAttribute("aria-sort") === "ascending";
    for (const each of head.cells) each.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].sort((one, other) => order(value(one, cell), value(other, cell), down));
    table.tBodies[0].append(...rows);
  });
}

function value(row, cell) {
  const found = row.cells[cell.cellIndex];
  return found.dataset.value ?? found.querySelector("time")?.dateTime ?? found.textContent.trim();
}

// numbers as numbers, what is missing last
function order(one, other, down) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const numbers = [Number(one), Number(other)];
  const sign = numbers.some(Number.isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1];
  return down ? -sign : sign;
}
