// What event files hold beside numbers: histograms as a heat map over the steps, pictures to leaf through. The server reads
// them when they are asked for, so that new ones only say that they are there.
import { config, heat, layout } from "./chart.js";
import { ask } from "./live.js";

const PAUSE = 1000; // ms between two questions for one thing that grows

export class Stored {
  constructor(place, { histograms, pictures }) {
    this.place = place;
    this.addresses = { histogram: histograms, image: pictures };
    this.groups = new Map();
  }

  add(groups) {
    for (const { kind, name, run } of groups) {
      const whose = JSON.stringify([kind, name, run]);
      if (!this.groups.has(whose)) {
        const address = `${this.addresses[kind]}?${new URLSearchParams({ name, run })}`;
        this.groups.set(whose, new (kind === "image" ? Pictures : HeatMap)(this.place, [name, run].filter(Boolean).join(", "), address));
      }
      this.groups.get(whose).grow();
    }
  }

  draw() {
    for (const group of this.groups.values()) group.draw();
  }
}

// Asks when it comes into view, and again when there is more.
class Group {
  constructor(place, name, address) {
    this.name = name;
    this.address = address;
    this.figure = document.createElement("figure");
    this.figure.className = "chart";
    this.figure.dataset.stored = name;
    const caption = document.createElement("figcaption");
    const title = document.createElement("span");
    title.textContent = name;
    this.said = document.createElement("output");
    caption.append(title, this.said);
    this.figure.append(caption);
    place.append(this.figure);
    this.seen = false;
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.seen = true;
      this.load();
    }).observe(this.figure);
  }

  grow() {
    if (!this.seen) return;
    this.planned ??= setTimeout(() => this.load(), PAUSE);
  }

  async load() {
    this.planned = null;
    const found = await ask(this.address);
    if (!found) return;
    this.found = found;
    this.draw();
  }
}

class HeatMap extends Group {
  constructor(...given) {
    super(...given);
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.plot.setAttribute("role", "group");
    this.plot.setAttribute("aria-label", `Histograms of ${this.name} over the steps`);
    this.figure.append(this.plot);
  }

  draw() {
    if (!this.found) return;
    const { steps, edges, counts } = this.found;
    this.said.textContent = steps.length ? "" : "nothing that can be drawn";
    if (!steps.length) return;
    const middles = counts.map((_, bin) => (edges[bin] + edges[bin + 1]) / 2);
    const trace = {
      type: "heatmap",
      x: steps.map(String),
      y: middles,
      z: counts,
      colorscale: heat(),
      showscale: false,
      hovertemplate: "%{z:.4g} near %{y:.4g}<extra>step %{x}</extra>",
    };
    Plotly.react(this.plot, [trace], layout({ height: 240, xaxis: { title: { text: "step" }, type: "category", nticks: 8 } }), config);
  }
}

class Pictures extends Group {
  constructor(...given) {
    super(...given);
    this.row = document.createElement("div");
    this.row.className = "pictures";
    const label = document.createElement("label");
    label.className = "leaf";
    this.slider = document.createElement("input");
    this.slider.type = "range";
    this.slider.min = 0;
    this.slider.addEventListener("input", () => this.draw());
    label.append("Step ", this.slider);
    this.figure.append(this.row, label);
    this.slider.setAttribute("aria-label", `Step of the pictures ${this.name}`);
    label.hidden = true;
    this.label = label;
  }

  draw() {
    if (!this.found?.length) return;
    const last = this.found.length - 1;
    const atEnd = !this.slider.max || this.slider.value === this.slider.max || this.label.hidden;
    this.slider.max = last;
    if (atEnd && !this.slider.matches(":active, :focus")) this.slider.value = last;
    this.label.hidden = last === 0;
    const { step, addresses } = this.found[this.slider.value];
    this.said.textContent = `step ${step}`;
    this.slider.setAttribute("aria-valuetext", `step ${step}`);
    const shown = addresses.map((address, number) => {
      const image = document.createElement("img");
      image.src = address;
      image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 128));
      image.alt = `${this.name}, step ${step}${addresses.length > 1 ? `, ${number + 1} of ${addresses.length}` : ""}`;
      return image;
    });
    this.row.replaceChildren(...shown);
  }
}
