// The page works without this. It keeps the state at the top up to date, and plays a request where it stands.
"use strict";

const says = document.getElementById("says");
const state = document.getElementById("state");
const level = document.getElementById("level");
const LOWEST_DBFS = -70;

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live", { headers: { Accept: "application/json" } });
    if (answer.status === 401) return location.assign("/login");
    show(await answer.json());
  } catch {
    show({ kind: "off", says: "This page has lost the device", level_dbfs: null });
  }
}

function show(live) {
  if (says.textContent !== live.says) says.textContent = live.says; // a screen reader says only what is new
  state.className = `state ${live.kind}`;
  const share = live.level_dbfs === null ? 0 : 1 - Math.max(live.level_dbfs, LOWEST_DBFS) / LOWEST_DBFS;
  level.style.transform = `scaleX(${Math.min(share, 1)})`;
}

if (says) {
  look();
  setInterval(look, 1000);
  document.addEventListener("visibilitychange", look);
}

let playing = null;

function stop() {
  if (!playing) return;
  playing.sound.pause();
  playing.link.textContent = "Play";
  playing = null;
}

for (const link of document.querySelectorAll("a.play")) {
  link.setAttribute("role", "button");
  link.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      link.click();
    }
  });
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const same = playing && playing.link === link;
    stop();
    if (same) return;
    const sound = new Audio(link.href);
    playing = { link, sound };
    link.textContent = "Stop";
    sound.addEventListener("ended", stop);
    sound.addEventListener("error", () => {
      link.textContent = "Gone";
      playing = null;
    });
    sound.play().catch(() => {});
  });
}
