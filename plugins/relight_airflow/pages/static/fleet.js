// Sorting and filtering the table of shards. What is chosen stands in the address, so that it can be sent to a colleague.
"use strict";

(() => {
  const table = document.getElementById("fleet");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const name = document.getElementById("name");
  const tier = document.getElementById("tier");
  const order = document.getElementById("order");
  const tiles = [...document.querySelectorAll(".tile")];
  const rows = [...body.rows].map((element) => ({
    element, name: element.dataset.s, tier: element.dataset.t, health: element.dataset.h,
    keys: element.dataset.v.split("|").map(Number), at: 0,
  }));
  [...rows].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })).forEach((row, place) => { row.keys[1] = place; });
  rows.forEach((row, place) => { row.at = place; });
  const state = { health: "", column: 0, down: false };

  function filter() {
    const wanted = name.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = (!wanted || row.name.includes(wanted)) && (!tier.value || row.tier === tier.value)
        && (!state.health || row.health === state.health);
      row.element.hidden = !fits;
      shown += fits;
    }
    document.getElementById("shown").textContent = `${shown.toLocaleString("en")} shown`;
    document.getElementById("none").hidden = shown > 0;
    table.hidden = shown === 0;
    tiles.forEach((tile) => tile.setAttribute("aria-pressed", String(tile.dataset.health === state.health)));
    remember();
  }

  function sort() {
    const { column, down } = state;
    rows.sort((a, b) => (down ? b.keys[column] - a.keys[column] : a.keys[column] - b.keys[column]) || a.at - b.at);
    body.append(...rows.map((row) => row.element));
    heads.forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    order.value = String(column);
    remember();
  }

  function remember() {
    const said = new URLSearchParams();
    if (name.value) said.set("name", name.value);
    if (tier.value) said.set("tier", tier.value);
    if (state.health) said.set("health", state.health);
    if (state.column) said.set("sort", state.column);
    if (state.down) said.set("down", "1");
    history.replaceState(null, "", said.size ? `?${said}` : location.pathname);
  }

  // What is down or being restored at this moment. Everything else is as the newest overview saw it.
  const urgency = table.dataset.order.split(" ");

  function show(row, health, html) {
    row.html ??= row.health === health ? html : ""; // as the page was drawn
    if (row.health === health && (row.element.dataset.b === health || row.html === html)) return 0;
    row.health = health;
    row.html = html;
    row.element.dataset.h = health;
    row.keys[0] = urgency.indexOf(health);
    row.element.cells[0].innerHTML = html;
    return 1;
  }

  async function look() {
    try {
      const answer = await fetch(table.dataset.now, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.ok) {
        const told = await answer.json();
        let changed = 0;
        for (const row of rows) {
          const usual = row.element.dataset.b;
          const [health, html] = told.shards[row.name] || [usual, told.usual[usual]];
          changed += show(row, health, html);
        }
        if (changed) {
          tiles.filter((tile) => tile.dataset.health).forEach((tile) => {
            const count = rows.filter((row) => row.health === tile.dataset.health).length;
            tile.querySelector("b").textContent = count.toLocaleString("en");
            if (["down", "restoring"].includes(tile.dataset.health)) tile.hidden = !count;
          });
          if (state.column === 0) sort();
          filter();
        }
        table.dataset.looks = String(Number(table.dataset.looks || 0) + 1);
      }
    } catch { /* the page stays as it is, and says how old it is */ }
    plan();
  }

  let timer = 0;
  function plan(wait = Number(table.dataset.every) * 1000) {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, wait);
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));

  const asked = new URLSearchParams(location.search);
  name.value = asked.get("name") || "";
  tier.value = asked.get("tier") || "";
  state.health = asked.get("health") || "";
  state.column = Math.min(Math.max(Number(asked.get("sort")) || 0, 0), 6);
  state.down = asked.get("down") === "1";
  if (asked.has("sort") || state.down) sort();
  if (asked.size) filter();

  name.addEventListener("input", filter);
  tier.addEventListener("change", filter);
  order.addEventListener("change", () => { state.column = Number(order.value); state.down = false; sort(); });
  tiles.forEach((tile) => tile.addEventListener("click", () => { state.health = tile.dataset.health; filter(); }));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  heads.forEach((head, place) => head.querySelector("button")?.addEventListener("click", () => {
    state.down = state.column === place && !state.down;
    state.column = place;
    sort();
  }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { event.preventDefault(); name.focus(); }
  });
  document.body.dataset.ready = "1";
  performance.mark("usable");
  plan(Number(table.dataset.soon || 4) * 1000);
})();
