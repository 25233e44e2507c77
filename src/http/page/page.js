// Keeps an open page up to date and carries out what duty decides. The page as sent is complete without it.
"use strict";
const live = document.querySelector("[data-live]");
const stale = document.querySelector("[data-stale]");

if (live) {
  const PAUSE_MS = 1000;
  let busy = false;
  let again = false;

  const tick = () => {
    for (const spot of live.querySelectorAll("[data-due]")) {
      const s = Math.round((Number(spot.dataset.due) - Date.now()) / 1000);
      const away = Math.abs(s);
      spot.textContent = `${s < 0 ? "-" : ""}${Math.floor(away / 60)}:${String(away % 60).padStart(2, "0")}`;
      spot.parentElement.classList.toggle("overdue", s < 0);
    }
  };

  // One question at a time; what comes meanwhile is asked for once more afterwards.
  const renew = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(live.dataset.live, { headers: { accept: "text/html" } });
      if (answer.status === 401) { location.assign("/sign-in"); return; }
      if (!answer.ok) throw new Error(answer.statusText);
      const focus = document.activeElement?.dataset?.key;
      const scrolled = [...live.querySelectorAll(".table")].map((table) => table.scrollLeft);
      live.innerHTML = await answer.text();
      live.querySelectorAll(".table").forEach((table, at) => { table.scrollLeft = scrolled[at] || 0; });
      if (focus) live.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
      if (!source || source.readyState === EventSource.OPEN) stale.hidden = true;
      tick();
    } catch {
      stale.hidden = false;
    } finally {
      setTimeout(() => { busy = false; if (again) { again = false; renew(); } }, PAUSE_MS);
    }
  };

  let source = null;
  if (live.dataset.events) {
    source = new EventSource(live.dataset.events);
    for (const name of ["state", "coverage", "call"]) source.addEventListener(name, renew);
    source.addEventListener("open", renew);
    source.addEventListener("error", () => {
      stale.hidden = false;
      // Refused for good (signed out, gateway restarted): the next look says why.
      if (source.readyState === EventSource.CLOSED) setInterval(renew, 5000);
    });
  } else {
    setInterval(() => { if (!document.hidden) renew(); }, Number(live.dataset.every) * 1000);
  }
  setInterval(tick, 1000);
  tick();

  const id = (live.dataset.events || "").split("/")[3];
  const post = (path, body) => fetch(`/v1/alerts/${id}/${path}`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });

  // What the gateway refuses is told in the words of the page behind the problem's type.
  const words = async (answer) => {
    const problem = await answer.json().catch(() => ({}));
    const page = await fetch(`${problem.type}?lang=${document.documentElement.lang}`, { headers: { accept: "text/html" } });
    const read = new DOMParser().parseFromString(await page.text(), "text/html");
    return `${read.querySelector("h1")?.textContent || answer.status}: ${read.querySelector("[data-advice]")?.textContent || problem.detail || ""}`;
  };

  const ask = (dialog, question, act) => {
    const form = dialog.querySelector("form");
    const trouble = dialog.querySelector("[data-trouble]");
    form.reset();
    trouble.hidden = true;
    dialog.querySelector("[data-question]").textContent = question;
    form.onsubmit = async (event) => {
      if (event.submitter?.value !== "do") return;
      event.preventDefault();
      event.submitter.disabled = true;
      try {
        const answer = await act(new FormData(form));
        if (answer.ok) { dialog.close(); renew(); return; }
        trouble.textContent = await words(answer);
      } catch (error) {
        trouble.textContent = String(error);
      } finally {
        event.submitter.disabled = false;
      }
      trouble.hidden = false;
    };
    dialog.showModal();
  };

  live.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.decide) {
      const dialog = document.getElementById("decide");
      const needed = button.dataset.reason === "yes";
      const place = dialog.querySelector("[data-reason]");
      place.hidden = !needed;
      place.querySelector("textarea").required = needed;
      const what = button.dataset.decide;
      ask(dialog, button.dataset.question, (given) => post(what, needed ? { reason: given.get("reason") } : {}));
    } else if (button?.dataset.help) {
      const dialog = document.getElementById("decide");
      const place = dialog.querySelector("[data-reason]");
      place.hidden = false;
      place.querySelector("textarea").required = false;
      ask(dialog, button.dataset.question, (given) => fetch(`/v1/help/${button.dataset.help}`, {
        method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ state: button.dataset.step, note: given.get("reason") || "" }),
      }));
    } else if (button?.dataset.call) {
      const whom = encodeURIComponent(button.dataset.call);
      ask(document.getElementById("call"), button.dataset.question, (given) => post(`calls/${whom}`, {
        answered: given.get("answered") === "true", method: given.get("method"), note: given.get("note"),
      }));
    }
  });
}
