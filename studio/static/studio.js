// Starts what the page has: live parts, logs, charts, the comparison. Without this file every page can still be read.
import { showTimes } from "./times.js";

showTimes(document);
if (document.querySelector("[data-live-page]")) import("./live.js").then((live) => live.start());
if (document.querySelector("[data-chosen]")) import("./choose.js").then((choose) => choose.start());
if (document.querySelector("[data-log]")) import("./log.js").then((log) => log.start());
if (document.querySelector("[data-run-page]")) import("./run.js").then((run) => run.start());
if (document.querySelector("[data-compare]")) import("./compare.js").then((compare) => compare.start());
