// Keeps the countdowns of a page running; without it they say what was true when the page was made.
"use strict";
const made = performance.now();
const then = Date.parse(document.currentScript.dataset.now);
function said(milliseconds) {
  const minutes = Math.floor(Math.abs(milliseconds) / 60000);
  const size = minutes < 1 ? `${Math.floor(Math.abs(milliseconds) / 1000)} s`
    : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return milliseconds > 0 ? `in ${size}` : `${size} ago`;
}
function tick() {
  const now = then + performance.now() - made;
  for (const each of document.querySelectorAll("time[data-ticks]")) {
    each.textContent = said(Date.parse(each.dateTime) - now);
  }
}
tick();
setInterval(tick, 1000);
