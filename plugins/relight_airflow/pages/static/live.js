// Asks for news every few seconds, and replaces only the parts that have changed. Nobody looks: nothing is asked.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const fresh = document.getElementById("fresh");
  const every = Number(live.dataset.every) * 1000;
  const shown = new Map();
  let timer = 0;
  let failures = 0;

  const keyOf = (place, name) => `${place}\n${name}`;

  function replace(holder, html) {
    const open = [...holder.querySelectorAll("details")].map((one) => one.open);
    const focused = [...holder.querySelectorAll("a, summary, button")].indexOf(document.activeElement);
    holder.innerHTML = html;
    holder.querySelectorAll("details").forEach((one, place) => { if (place in open) one.open = open[place]; });
    if (focused >= 0) holder.querySelectorAll("a, summary, button")[focused]?.focus();
  }

  function show(parts) {
    const wanted = new Map();
    for (const [place, name, html] of parts) {
      if (!wanted.has(place)) wanted.set(place, []);
      wanted.get(place).push([name, html]);
    }
    for (const box of live.querySelectorAll("[data-place]")) {
      const place = box.dataset.place;
      const there = new Map([...box.children].map((child) => [child.dataset.part, child]));
      let before = null;
      for (const [name, html] of wanted.get(place) || []) {
        let holder = there.get(name);
        if (!holder) {
          holder = document.createElement(box.tagName === "UL" ? "li" : "div");
          holder.dataset.part = name;
        }
        if (shown.get(keyOf(place, name)) !== html) {
          replace(holder, html);
          shown.set(keyOf(place, name), html);
        }
        const next = before ? before.nextElementSibling : box.firstElementChild;
        if (next !== holder) box.insertBefore(holder, next);
        there.delete(name);
        before = holder;
      }
      there.forEach((child, name) => { child.remove(); shown.delete(keyOf(place, name)); });
      const section = box.closest("[data-hide-empty]");
      if (section && place !== "axis") section.hidden = !box.children.length;
    }
    const nothing = document.getElementById("nothing");
    if (nothing) nothing.hidden = Boolean(wanted.get("runs"));
  }

  async function look() {
    try {
      const answer = await fetch(live.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (!answer.ok) throw new Error(answer.status === 401 ? "you are not signed in any more" : `Airflow says ${answer.status}`);
      const told = await answer.json();
      show(told.parts);
      failures = 0;
      fresh.textContent = `As of ${new Date().toISOString().slice(11, 19)} UTC`;
      fresh.classList.remove("late");
      live.dataset.looks = String(Number(live.dataset.looks || 0) + 1);
    } catch (error) {
      failures += 1;
      fresh.textContent = `No news: ${error.message}. What you see is old.`;
      fresh.classList.add("late");
    }
    plan();
  }

  function plan() {
    clearTimeout(timer);
    // A page that nobody sees asks nothing; where Airflow does not answer it is asked less often.
    if (!document.hidden) timer = setTimeout(look, every * Math.min(1 + failures, 10));
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
  plan();
})();
