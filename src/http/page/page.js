// Keeps the page of one alert up to date from its event stream. Everything it shows is also in the page as sent.
"use strict";
const root = document.querySelector("[data-alert]");
if (root) {
  const id = root.dataset.alert;
  const put = (name, value) => { const spot = document.querySelector(`[data-show="${name}"]`); if (spot) spot.textContent = value; };
  const cell = (row, text) => { const td = document.createElement("td"); td.textContent = text; row.append(td); };
  const coverage = (doc) => {
    for (const part of ["targeted", "reached", "acknowledged", "pending", "failed", "unreachable"]) put(part, doc.people[part]);
    put("speakers", `${doc.speakers.received}/${doc.speakers.targeted}`);
    put("offline", doc.speakers.offline);
    put("blind", doc.villages.blind.length);
    const list = document.querySelector("[data-rows]");
    if (!list) return;
    list.replaceChildren(...doc.children.map((child) => {
      const row = document.createElement("tr");
      cell(row, child.name);
      for (const part of ["targeted", "reached", "acknowledged", "pending", "failed", "unreachable"]) cell(row, child.people[part]);
      const bar = document.createElement("progress");
      bar.max = 1; bar.value = child.rates.reached;
      const td = document.createElement("td"); td.append(bar, ` ${(child.rates.reached * 100).toFixed(1)}%`); row.append(td);
      return row;
    }));
  };
  let due = [];
  const calls = (rows) => {
    const list = document.querySelector("[data-calls]");
    if (!list) return;
    due = [];
    list.replaceChildren(...rows.slice(0, 300).map((call) => {
      const row = document.createElement("tr");
      cell(row, call.recipient.name); cell(row, call.recipient.role); cell(row, call.recipient.area); cell(row, call.recipient.phone || "—");
      cell(row, call.state);
      const left = document.createElement("td"); row.append(left);
      if (call.state === "waiting") due.push([left, row, Date.parse(call.due_at)]); else row.className = "done";
      if (call.state === "exhausted") row.className = "late";
      cell(row, call.went_on_to.map((person) => person.name).join("、"));
      const act = document.createElement("td");
      if (root.dataset.acts === "yes" && call.state !== "answered") {
        const button = document.createElement("button");
        button.textContent = root.dataset.answered;
        button.addEventListener("click", () => fetch(`/v1/alerts/${id}/calls/${encodeURIComponent(call.recipient.id)}`, {
          method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ answered: true, method: "call", note: "" }) }));
        act.append(button);
      }
      row.append(act);
      return row;
    }));
    tick();
  };
  const tick = () => { for (const [left, row, at] of due) {
    const s = Math.round((at - Date.now()) / 1000);
    left.textContent = `${s < 0 ? "-" : ""}${Math.floor(Math.abs(s) / 60)}:${String(Math.abs(s) % 60).padStart(2, "0")}`;
    row.className = s < 0 ? "late" : "";
  } };
  setInterval(tick, 1000);
  const source = new EventSource(`/v1/alerts/${id}/events`);
  source.addEventListener("coverage", (event) => coverage(JSON.parse(event.data)));
  source.addEventListener("call", (event) => calls(JSON.parse(event.data)));
  source.addEventListener("state", (event) => put("state", JSON.parse(event.data).state));
  for (const button of document.querySelectorAll("button[data-do]")) button.addEventListener("click", async () => {
    const word = button.dataset.do;
    const reason = word === "approve" ? null : prompt(button.textContent);
    if (word !== "approve" && !reason) return;
    const answer = await fetch(`/v1/alerts/${id}/${word}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(reason ? { reason } : {}) });
    if (!answer.ok) alert((await answer.json()).detail); else location.reload();
  });
}
