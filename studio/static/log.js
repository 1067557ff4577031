// A window into a log of any size: moved by buttons, by scrolling to its ends, and by what is written.
import { ask, listen, refresh } from "./live.js";

const MOST = 1 << 20; // characters that the page holds; beyond that the other end goes

export function start() {
  const box = document.querySelector("[data-log]");
  const page = box.closest("[data-live-page]");
  const view = new Log(box);
  if (!page) return;
  listen(
    () => {
      const address = new URL(page.dataset.events, location.href);
      if (page.dataset.file) address.searchParams.set("file", page.dataset.file);
      address.searchParams.set("after", view.written);
      return address;
    },
    { log: (window) => view.grow(window), refresh },
  );
}

class Log {
  constructor(box) {
    this.box = box;
    this.pre = box.querySelector("pre");
    this.text = box.querySelector("[data-text]");
    this.partial = box.querySelector("[data-partial]");
    this.follow = box.querySelector("[data-follow]");
    this.place = box.querySelector("[data-place]");
    this.first = Number(box.dataset.first); // where the log begins, or the part of it that is shown
    this.from = Number(box.dataset.start);
    this.to = Number(box.dataset.end);
    this.size = Number(box.dataset.size);
    this.written = this.to; // what the events have told so far; the view may be elsewhere
    this.busy = false;
    this.wanted = ""; // a button that was pressed meanwhile
    for (const button of box.querySelectorAll("[data-go]")) {
      button.addEventListener("click", () => this.go(button.dataset.go));
      button.disabled = false; // until here nobody would have heard it
    }
    this.pre.addEventListener("scroll", () => this.scrolled());
    this.pre.scrollTop = this.pre.scrollHeight;
    this.say();
  }

  grow(window) {
    const atEnd = this.to === window.start;
    this.written = window.end;
    this.size = window.size;
    if (atEnd) {
      this.append(window);
      if (this.follow.checked) this.pre.scrollTop = this.pre.scrollHeight;
    }
    this.say();
  }

  append(window) {
    if (!window) return;
    this.text.append(window.text);
    this.partial.textContent = window.partial;
    this.to = window.end;
    this.size = window.size;
    if (this.text.textContent.length > MOST) this.restart(window);
  }

  restart(window) {
    if (!window) return;
    this.text.textContent = window.text;
    this.partial.textContent = window.partial;
    this.from = window.start;
    this.to = window.end;
    this.size = window.size;
  }

  async go(where) {
    if (this.busy) {
      this.wanted = where;
      return;
    }
    this.busy = true;
    try {
      if (where === "start") await this.show({ after: 0 }, "top");
      else if (where === "end") await this.show({}, "bottom");
      else if (where === "before" && this.from > this.first) await this.earlier();
      else if (where === "after" && this.to < this.size) this.append(await this.ask({ after: this.to }));
    } finally {
      this.busy = false;
      this.say();
      const next = this.wanted;
      this.wanted = "";
      if (next) this.go(next);
    }
  }

  async show(place, edge) {
    this.restart(await this.ask(place));
    this.follow.checked = edge === "bottom";
    this.pre.scrollTop = edge === "top" ? 0 : this.pre.scrollHeight;
  }

  async earlier() {
    const window = await this.ask({ before: this.from });
    if (!window) return;
    const below = this.pre.scrollHeight - this.pre.scrollTop;
    this.text.prepend(window.text);
    this.from = window.start;
    if (this.text.textContent.length > MOST) {
      this.restart(window);
      this.follow.checked = false;
      this.pre.scrollTop = this.pre.scrollHeight;
    } else {
      this.pre.scrollTop = this.pre.scrollHeight - below;
    }
  }

  async ask(place) {
    const address = new URL(this.box.dataset.source, location.href);
    for (const [name, value] of Object.entries(place)) address.searchParams.set(name, value);
    return ask(address);
  }

  scrolled() {
    if (this.busy) return;
    const { scrollTop, scrollHeight, clientHeight } = this.pre;
    if (scrollTop < 40 && this.from > this.first) this.go("before");
    else if (scrollTop + clientHeight > scrollHeight - 40 && this.to < this.size) this.go("after");
  }

  say() {
    const [from, to, all] = [this.from, this.to, this.size].map((place) => Math.max(0, place - this.first));
    this.place.textContent = from === 0 && to >= all ? size(all) : `${size(from)} to ${size(to)} of ${size(all)}`;
    this.box.querySelector("[data-go=before]").disabled = from === 0;
    this.box.querySelector("[data-go=after]").disabled = this.to >= this.size;
  }
}

function size(count) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (count < 1000) return unit === "B" ? `${count} B` : `${count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} TB`;
}
