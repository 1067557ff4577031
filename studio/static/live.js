// Keeps a page as the server would draw it now: an event says that something changed, the page is asked for again, and
// its parts marked data-live take the place of the old ones. Ticks and focus stay.
import { showTimes } from "./times.js";

const PAUSE = 400; // ms between two refreshes at least

// Listens to the events of `address()` until they end. A browser allows six connections to one host, so a page that
// nobody sees gives its own back. Events tell what happens from then on: what came before, the page asks for.
export function listen(address, handlers) {
  let source = null;
  let ended = false;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || ended || document.hidden) return;
    source = new EventSource(address());
    source.addEventListener("open", () => handlers.refresh?.());
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.addEventListener("end", () => {
      ended = true;
      close();
    });
    source.addEventListener("error", () => {
      close();
      setTimeout(open, 1000);
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

// What the server answers as JSON; nothing while it cannot be reached: the stream comes back with it, and then this too.
export async function ask(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

let planned = null;

export function refresh() {
  planned ??= setTimeout(async () => {
    planned = null;
    try {
      const answer = await fetch(location.href);
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // the server is gone; its stream comes back with it
    }
  }, PAUSE);
}

export function start() {
  const page = document.querySelector("[data-live-page]");
  // pages with charts or a log listen for themselves: one connection for everything
  if (!page.matches("[data-run-page]") && !page.querySelector("[data-log]")) {
    listen(() => page.dataset.events, { refresh });
  }
}

function take(fresh) {
  showTimes(fresh);
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now || now.innerHTML === part.innerHTML) continue;
    const ticked = [...part.querySelectorAll("input:checked[name]")].map((box) => box.value);
    const active = part.contains(document.activeElement) ? signature(document.activeElement) : null;
    part.replaceChildren(...now.childNodes);
    for (const box of part.querySelectorAll("input[type=checkbox][name]")) box.checked = ticked.includes(box.value);
    if (active) [...part.querySelectorAll("a, button, input, select")].find((each) => signature(each) === active)?.focus();
  }
  document.dispatchEvent(new Event("refreshed"));
}

function signature(element) {
  return `${element.localName} ${element.getAttribute("href")} ${element.name} ${element.value}`;
}
