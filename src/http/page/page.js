// Keeps an open page up to date and carries out what duty decides. The page as sent is complete without it.
// It holds no connection open: over HTTP/1.1 a browser has six to a host for all its pages, and the button that cancels needs one.
// Written for the browsers of offices: nothing younger than Chromium 69.
"use strict";
const live = document.querySelector("[data-live]");
const stale = document.querySelector("[data-stale]");

if (live) {
  // After a failure; the page says itself how often it is to be asked for.
  const AGAIN_MS = 2000;
  const RENEWAL_MS = 8000;
  const DECISION_MS = 15000;
  const LATE_MS = 5000;
  const every = () => Number((live.querySelector("[data-every]") || live).dataset.every) * 1000;
  const now = () => performance.now();
  const said = document.getElementById("main").dataset;

  // Whatever is asked has an end, the body of the answer included: one that hangs takes a connection from every other page.
  const ask = async (path, ms, options) => {
    const ender = new AbortController();
    const timer = setTimeout(() => ender.abort(), ms);
    try {
      const answer = await fetch(path, { cache: "no-store", signal: ender.signal, ...options });
      return { ok: answer.ok, status: answer.status, text: await answer.text() };
    } finally {
      clearTimeout(timer);
    }
  };

  let renewed = now();
  let next = renewed + every();
  let asking = false;
  let failed = false;
  let pressed = false;

  const countdown = () => {
    for (const spot of live.querySelectorAll("[data-due]")) {
      const s = Math.round((Number(spot.dataset.due) - Date.now()) / 1000);
      const away = Math.abs(s);
      spot.textContent = `${s < 0 ? "-" : ""}${Math.floor(away / 60)}:${String(away % 60).padStart(2, "0")}`;
      spot.parentElement.classList.toggle("overdue", s < 0);
    }
  };

  const sign = () => {
    const age = now() - renewed;
    const late = age > every() + LATE_MS;
    stale.hidden = !failed && !late;
    stale.querySelector("[data-age]").textContent = Math.round(age / 1000);
  };

  // Only what differs is put in anew: what somebody reads, marks or is about to press stays under their hand.
  let shown = [...live.children].map((part) => part.outerHTML);
  const put = (text) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = text;
    const parts = [...fresh.content.children];
    const texts = parts.map((part) => part.outerHTML);
    const focus = document.activeElement && document.activeElement.dataset && document.activeElement.dataset.key;
    const scrolled = [...live.querySelectorAll(".table")].map((table) => table.scrollLeft);
    if (texts.length === shown.length && texts.length === live.children.length) {
      [...live.children].forEach((old, at) => { if (texts[at] !== shown[at]) old.replaceWith(parts[at]); });
    } else {
      live.textContent = "";
      live.append(...parts);
    }
    shown = texts;
    live.querySelectorAll(".table").forEach((table, at) => { table.scrollLeft = scrolled[at] || 0; });
    const before = focus && live.querySelector(`[data-key="${CSS.escape(focus)}"]`);
    if (before && before !== document.activeElement) before.focus();
    countdown();
  };

  const renew = async () => {
    asking = true;
    try {
      const answer = await ask(live.dataset.live, RENEWAL_MS, { headers: { accept: "text/html" } });
      if (answer.status === 401) { location.assign("/sign-in"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      // A button that is exchanged between press and release does nothing.
      if (!pressed) { put(answer.text); renewed = now(); }
      failed = false;
      next = now() + (pressed ? 0 : every());
    } catch (error) {
      failed = true;
      next = now() + AGAIN_MS;
    } finally {
      asking = false;
      sign();
    }
  };

  // One clock for all: a timer that was lost while the page slept delays nothing.
  const tick = () => {
    if (document.hidden) return;
    countdown();
    sign();
    if (!asking && now() >= next) renew();
  };
  const soon = () => { next = 0; tick(); };
  setInterval(tick, 500);
  document.addEventListener("visibilitychange", soon);
  window.addEventListener("pageshow", (event) => { if (event.persisted) soon(); });
  window.addEventListener("online", soon);
  live.addEventListener("pointerdown", () => { pressed = true; });
  for (const name of ["pointerup", "pointercancel", "blur"]) window.addEventListener(name, () => { setTimeout(() => { pressed = false; }, 50); });
  tick();

  const post = (path, body) => ask(path, DECISION_MS, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });

  // What the gateway refuses is told in the words of the page behind the problem's type.
  const words = async (answer) => {
    let problem = {};
    try { problem = JSON.parse(answer.text); } catch (error) { return `${said.noConnection} (${answer.status})`; }
    const page = await ask(`${problem.type}?lang=${document.documentElement.lang}`, RENEWAL_MS, { headers: { accept: "text/html" } });
    const read = new DOMParser().parseFromString(page.text, "text/html");
    const of = (what) => (read.querySelector(what) || { textContent: "" }).textContent;
    return `${of("h1") || answer.status}: ${of("[data-advice]") || problem.detail || ""}`;
  };

  const decide = (dialog, question, act) => {
    const form = dialog.querySelector("form");
    const trouble = dialog.querySelector("[data-trouble]");
    const button = form.querySelector("[value=do]");
    form.reset();
    trouble.hidden = true;
    button.disabled = false;
    dialog.querySelector("[data-question]").textContent = question;
    form.querySelector("[value=back]").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        const answer = await act(new FormData(form));
        if (answer.ok) { dialog.close(); return; }
        trouble.textContent = await words(answer);
        trouble.hidden = false;
      } catch (error) {
        trouble.textContent = error.name === "AbortError" ? said.noAnswer : said.noConnection;
        trouble.hidden = false;
      } finally {
        button.disabled = false;
        soon();
      }
    };
    dialog.showModal();
  };

  // The note of a decision: asked for, or open to be given.
  const noted = (button, needed, act) => {
    const dialog = document.getElementById("decide");
    const place = dialog.querySelector("[data-reason]");
    place.hidden = needed === null;
    place.querySelector("textarea").required = needed === true;
    decide(dialog, button.dataset.question, (given) => act(given.get("reason") || ""));
  };

  live.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const does = button ? button.dataset : {};
    const alert = `/v1/alerts/${live.dataset.alert}`;
    if (does.decide && does.reason === "yes") {
      noted(button, true, (reason) => post(`${alert}/${does.decide}`, { reason }));
    } else if (does.decide) {
      noted(button, null, () => post(`${alert}/${does.decide}`, {}));
    } else if (does.help) {
      noted(button, false, (note) => post(`/v1/help/${does.help}`, { state: does.step, note }));
    } else if (does.alarm) {
      noted(button, false, (note) => post(`/v1/alarms/${does.alarm}/acknowledge`, { note }));
    } else if (does.call) {
      decide(document.getElementById("call"), does.question, (given) => {
        const outcome = given.get("outcome");
        const answered = outcome !== "nobody";
        const made = { answered, method: given.get("method"), note: given.get("note") };
        if (answered) made.choice = outcome;
        return post(`${alert}/calls/${encodeURIComponent(does.call)}`, made);
      });
    }
  });
}
