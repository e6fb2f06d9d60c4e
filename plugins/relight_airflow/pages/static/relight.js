// What every page does: links to Airflow's own pages leave the frame that Airflow shows this page in.
"use strict";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow]");
  if (!link || window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  // A sandboxed frame may not navigate the window around it, but it may ask a link there to do so.
  const outer = window.parent.document.createElement("a");
  outer.href = link.href;
  window.parent.document.body.append(outer);
  outer.click();
  outer.remove();
});

// Airflow's own API, as the person who is signed in, so that Airflow decides whether they may.
const relight = {
  async send(method, path, body) {
    const answer = await fetch(`${document.body.dataset.base}/api/v2${path}`, {
      method, credentials: "same-origin", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body),
    });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    const why = answer.status === 403 ? "your account may not start it" : typeof told.detail === "string" ? told.detail : JSON.stringify(told.detail || "");
    throw Object.assign(new Error(`Airflow refused (${answer.status}): ${why}`), { status: answer.status });
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-unpause]");
  if (!button) return;
  const notice = button.closest("[data-paused]");
  try {
    await relight.send("PATCH", `/dags/${button.dataset.unpause}`, { is_paused: false });
    notice.remove();
  } catch (error) { notice.append(` ${error.message}`); }
});
