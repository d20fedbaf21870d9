// Keeps a served report up to date: the strip at every poll, the page when the campaign has something new to show.
"use strict";

const PERIOD_MS = 3000;
const strip = document.getElementById("strip");

function say(state, line) {
  document.getElementById("state").textContent = state;
  document.getElementById("line").textContent = line;
}

function opened() {
  return Array.from(document.querySelectorAll("main details"), (d) => d.open);
}

async function renew() {
  const answer = await fetch("./");
  if (!answer.ok) throw new Error(await answer.text());
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = opened();
  document.dispatchEvent(new Event("renewing"));
  for (const part of ["header.top", "main"]) {
    document.querySelector(part).replaceWith(page.querySelector(part));
  }
  document.querySelectorAll("main details").forEach((d, i) => { d.open = Boolean(open[i]); });
  document.dispatchEvent(new Event("renewed"));
  strip.dataset.version = page.getElementById("strip").dataset.version;
}

async function poll() {
  try {
    const answer = await fetch("state");
    if (!answer.ok) throw new Error(await answer.text());
    const now = await answer.json();
    if (now.version !== strip.dataset.version) await renew();
    strip.classList.remove("lost");
    say(now.state, now.line);
  } catch (error) {
    strip.classList.add("lost");
    say("no answer", error instanceof TypeError ? "has magflow serve ended?" : error.message);
  }
  setTimeout(poll, PERIOD_MS);
}

setTimeout(poll, PERIOD_MS);
