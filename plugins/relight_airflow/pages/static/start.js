// The form that starts a restore. The plan comes from the server; the run is started by Airflow's own API, as the person
// who is signed in, so that Airflow decides whether they may.
"use strict";

(() => {
  const form = document.getElementById("start");
  if (!form) return;
  const base = document.body.dataset.base;
  const at = (id) => document.getElementById(id);
  const boxes = [...form.querySelectorAll("input[name=shard]")];
  const asked = { reach: 0, plan: 0 };
  let planned = "";
  let runId = "";
  let timer = 0;

  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const radio = (name) => form.querySelector(`input[name=${name}]:checked`).value;
  const HINTS = { time: "2026-11-22T19:00:00Z", before: "SERVER-UUID:NUMBER", gtid: "SERVER-UUID:NUMBER", position: "binlog.000003:4711" };
  const NAMES = { time: "Time, with its zone", before: "GTID of the first transaction that is not wanted", gtid: "GTID of the last one that is wanted", position: "File and position, as mysqlbinlog shows it behind # at" };
  const OF_ONE = ["before", "gtid", "position"];
  // What is said of the restore besides its shards and its point: parameters of the DAGs. Of one shard, then of any number.
  const TEXTS = { skip_gtids: "one", timeline: "one", approval_reason: "promote", incident: "any" };

  // Thousands of names would not fit into an address: the server plans the first ones, and is told how many more there are.
  const most = Number(form.dataset.most);
  const first = () => chosen().slice(0, most);

  function query(names) {
    const said = new URLSearchParams();
    names.forEach((name) => said.append("shard", name));
    said.set("target_kind", radio("target_kind"));
    said.set("target_value", radio("target_kind") === "latest" ? "" : at("target_value").value.trim());
    said.set("mode", radio("mode"));
    for (const [name, value] of Object.entries(exceptions())) said.set(name, value);
    return said;
  }

  function exceptions() {
    const told = {};
    for (const [name, where] of Object.entries(TEXTS)) {
      const value = at(name).value.trim();
      const counts = where === "any" || (where === "one" ? chosen().length < 2 : radio("mode") === "promote");
      if (value && counts) told[name] = value;
    }
    return told;
  }

  async function get(what, said) {
    const mine = ++asked[what];
    const answer = await fetch(`${base}/relight/start/${what}?${said}`, { headers: { Accept: "application/json" } });
    const told = await answer.json();
    if (!answer.ok) throw new Error([told.detail, told.hint].filter(Boolean).join(". What to do: "));
    return mine === asked[what] ? told : null;
  }

  async function drawLines() {
    const names = first();
    asked.reach += 1;
    if (!names.length) { at("lines").replaceChildren(); return; }
    const said = new URLSearchParams(names.map((name) => ["shard", name]));
    try {
      const told = await get("reach", said);
      if (told) at("lines").innerHTML = told.html;
    } catch (error) { at("lines").textContent = error.message; }
  }

  async function drawPlan() {
    const said = query(first());
    const all = query(chosen()).toString();
    said.set("more", chosen().length - first().length);
    planned = "";
    runId = "";
    asked.plan += 1;
    ready();
    if (!chosen().length) { at("plans").innerHTML = '<p class="note">Choose a shard.</p>'; return; }
    if (radio("target_kind") !== "latest" && !said.get("target_value")) {
      at("plans").innerHTML = '<p class="note">Say to which point.</p>';
      return;
    }
    at("plans").setAttribute("aria-busy", "true");
    try {
      const told = await get("plan", said);
      if (!told) return;
      at("plans").innerHTML = told.html;
      if (told.possible) { planned = all; runId = told.run_id; }
    } catch (error) { at("plans").textContent = error.message; }
    at("plans").removeAttribute("aria-busy");
    ready();
  }

  function ready() {
    const names = chosen();
    const many = names.length > 1;
    const promote = radio("mode") === "promote";
    const wanted = many ? `${names.length} shards` : names[0] || "";
    at("picked").textContent = names.length ? `${names.length.toLocaleString("en")} chosen` : "none chosen";
    form.querySelectorAll(".single").forEach((one) => { one.hidden = many; });
    document.querySelectorAll(".many").forEach((one) => { one.hidden = !many; });
    form.querySelectorAll(".approval").forEach((one) => { one.hidden = !promote; });
    if (many && OF_ONE.includes(radio("target_kind"))) form.querySelector("input[value=latest]").checked = true;
    const kind = radio("target_kind");
    at("value").hidden = kind === "latest";
    at("value").querySelector("span").textContent = NAMES[kind] || "";
    at("target_value").placeholder = HINTS[kind] || "";
    at("confirming").hidden = !(promote && names.length && planned);
    at("wanted").textContent = wanted;
    const sure = !promote || at("confirm").value.trim() === wanted;
    const possible = planned !== "" && planned === query(chosen()).toString();
    const named = !many || at("incident").value.trim() !== "";
    at("go").disabled = !(possible && sure && named && (!many || form.dataset.fleet));
    at("go").textContent = !names.length ? "Start" : promote ? `Bring ${wanted} back` : `Rehearse ${wanted}`;
  }

  function changed(wait) {
    ready();
    clearTimeout(timer);
    timer = setTimeout(drawPlan, wait);
  }

  function conf(names, many) {
    const { incident, ...told } = exceptions();
    const said = query([]);
    const made = { target_kind: said.get("target_kind"), target_value: said.get("target_value"), mode: said.get("mode"), salvage: at("salvage").checked, ...told };
    if ("timeline" in made) made.timeline = Number(made.timeline);
    return many ? { ...made, shards: names, incident } : { ...made, shard: names[0] };
  }

  async function start() {
    const names = chosen();
    const many = names.length > 1;
    const dag = many ? "restore_fleet" : "restore";
    const body = { logical_date: null, conf: conf(names, many), ...(runId ? { dag_run_id: runId } : {}) };
    const page = (id) => (many ? `${base}/relight/incident` : `${base}/relight/run/${dag}/${encodeURIComponent(id)}`);
    at("go").disabled = true;
    at("outcome").className = "notice";
    at("outcome").textContent = "Asking Airflow…";
    try {
      const run = await relight.send("POST", `/dags/${dag}/dagRuns`, body);
      at("outcome").className = "notice good";
      at("outcome").textContent = `✓ Started ${run.dag_run_id}.`;
      at("confirm").value = "";
      planned = "";
      location.assign(page(run.dag_run_id));
    } catch (error) {
      at("outcome").className = "notice bad";
      at("outcome").textContent = `✕ ${error.status === 409 ? "The incident has this restore already: " : error.message}`;
      if (error.status === 409) {
        const link = document.createElement("a");
        link.href = page(runId);
        link.textContent = runId;
        at("outcome").append(link, ". Look at it, or name another incident.");
      }
      ready();
    }
  }

  boxes.forEach((box) => box.addEventListener("change", () => { drawLines(); changed(150); }));
  const choose = (yes) => {
    boxes.filter((box) => !yes || !box.parentElement.hidden).forEach((box) => { box.checked = yes; });
    drawLines();
    changed(0);
  };
  at("all").addEventListener("click", () => choose(true));
  at("none").addEventListener("click", () => choose(false));
  form.querySelectorAll("input[type=radio]").forEach((one) => one.addEventListener("change", () => changed(0)));
  at("target_value").addEventListener("input", () => changed(500));
  at("confirm").addEventListener("input", ready);
  Object.keys(TEXTS).forEach((name) => at(name).addEventListener("input", () => changed(500)));
  at("find").addEventListener("input", () => {
    const wanted = at("find").value.trim().toLowerCase();
    boxes.forEach((box) => { box.parentElement.hidden = !box.value.includes(wanted) && !box.checked; });
  });
  at("find").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (!at("go").disabled) start(); });
  drawLines();
  drawPlan();
})();
