// The dashboard: what is shown stands in the address, and the server's events keep it new.

import { Counts } from "./dashboard-counts.js";
import { Detail } from "./dashboard-detail.js";
import { element, put } from "./dashboard-elements.js";
import { Rows } from "./dashboard-rows.js";
import { TABS, keyOf, namesOf, situationOf } from "./dashboard-words.js";

const PAGE = 50;
const MOST_SCANS = 20; // requests for one page, where few states match
const REFRESHED_EVERY = 20_000; // ms; drops what the store has forgotten, and what no longer matches
const AGAIN = 5_000;

const $ = (id) => document.getElementById(id);
const filters = $("filters");
const rows = new Rows($("rows"), (key) => addressOf({ open: key }));
const detail = new Detail($("detail"), $("confirm"), () => closeDetail());
const counts = new Counts($("tabs"), (status) => addressOf({ status, after: "", open: "" }));

// The address.

function shown() {
  const query = new URLSearchParams(location.search);
  const known = Object.fromEntries(["status", "job", "q", "after", "open"].map((name) => [name, query.get(name) ?? ""]));
  if (!TABS.some(({ name }) => name === known.status)) known.status = "";
  if (!namesOf(known.open)) known.open = "";
  return known;
}

function addressOf(change) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...shown(), ...change })) if (value) query.set(name, value);
  return `?${query}`;
}

function go(change, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", addressOf(change));
  arrive();
}

let arrivedAt = "";

function arrive() {
  const { status, job, q, after, open } = shown();
  if (location.search && location.search !== addressOf({})) history.replaceState(null, "", addressOf({}));
  filters.q.value = q;
  offerJob(job);
  filters.job.value = job;
  counts.select(status);
  rows.refreshAddresses();
  rows.select(open);
  document.documentElement.classList.toggle("opened", Boolean(open));
  detail.show(open);
  const place = JSON.stringify([status, job, q, after]);
  if (place === arrivedAt) return;
  if (arrivedAt && JSON.parse(arrivedAt)[1] !== job) counts.load(job);
  arrivedAt = place;
  load();
}

// The list.

let asked = 0;
let next = null;

async function fetchPage() {
  const { status, job, q, after } = shown();
  const tab = TABS.find((one) => one.name === status) ?? TABS[0];
  const found = [];
  let cursor = after;
  for (let scans = 0; scans < MOST_SCANS; scans++) {
    const limit = status === "stalled" ? 500 : PAGE - found.length;
    const query = new URLSearchParams({ status: tab.statuses, job, q, after: cursor, limit });
    const response = await fetch(`states?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok) throw Object.assign(new Error(await reasonOf(response)), { status: response.status });
    const page = await response.json();
    found.push(...page.states.filter((state) => tab.situations.includes(situationOf(state)) || status !== "stalled"));
    cursor = page.next;
    if (!cursor || found.length >= PAGE) break;
  }
  return { states: found, cursor };
}

async function reasonOf(response) {
  const answer = await response.json().catch(() => ({}));
  return answer.error ?? `The server answers with ${response.status}.`;
}

async function load() {
  const turn = ++asked;
  let page;
  try {
    page = await fetchPage();
  } catch (error) {
    if (turn !== asked) return;
    const { job, q, after } = shown();
    if (error.status === 400 && (job || q || after)) return go({ job: "", q: "", after: "" }, { replace: true }); // nonsense
    tellTrouble(error instanceof TypeError ? "The server does not answer." : error.message);
    setTimeout(() => turn === asked && load(), AGAIN);
    return;
  }
  if (turn !== asked) return; // by now something else is to be shown
  tellTrouble("");
  next = page.cursor;
  rows.replace(page.states);
  page.states.forEach((state) => offerJob(state.job));
  document.documentElement.classList.add("loaded");
  tellSummary();
  rows.select(shown().open);
}

function tellTrouble(text) {
  put($("trouble"), text && `${text} Trying again…`);
  $("trouble").hidden = !text;
}

function tellSummary() {
  const { status, job, q, after } = shown();
  const count = rows.size;
  put($("summary"), count ? `${count} ${count === 1 ? "job" : "jobs"}${next || after ? " on this page" : ""}` : "");
  $("newest").hidden = !after;
  $("newest").href = addressOf({ after: "" });
  $("older").hidden = !next;
  $("older").href = addressOf({ after: next ?? "" });
  const filtered = status || job || q;
  const words = filtered
    ? ["Nothing matches", "No job is like that now.", element("a", { class: "button", href: "?" }, "Show all jobs")]
    : ["No jobs yet", "They show up here as soon as one is locked, enqueued or started."];
  $("empty").hidden = count > 0;
  if (!count) $("empty").replaceChildren(element("h2", {}, words[0]), element("p", {}, words[1]), words[2] ?? "");
}

function offerJob(job) {
  const options = [...filters.job.options];
  if (!job || options.some((option) => option.value === job)) return;
  const later = options.slice(1).find((option) => option.value > job);
  filters.job.insertBefore(element("option", { value: job }, job), later ?? null);
}

// What the server tells.

function hear(state) {
  const { status, job, q, after, open } = shown();
  const key = keyOf(state);
  counts.hear(state);
  offerJob(state.job);
  if (key === open) detail.hear(state);
  const tab = TABS.find((one) => one.name === status) ?? TABS[0];
  const matches =
    tab.situations.includes(situationOf(state)) && (!job || state.job === job) &&
    state.id.toLowerCase().includes(q.toLowerCase());
  const row = rows.byKey.get(key);
  if (row && state.version >= row.state.version) {
    row.show(state);
    row.element.classList.toggle("leaving", !matches); // it goes at the next refresh, and not from under the pointer
  } else if (!row && matches && !after) {
    if (rows.size >= PAGE && state.created_at < [...rows.byKey.values()].at(-1).state.created_at) return;
    rows.add(state, PAGE);
    tellSummary();
  }
}

let events = null;

function listen() {
  events?.close();
  events = null;
  if (document.hidden) return; // a browser has few connections to a server, and nobody looks
  events = new EventSource("events");
  events.addEventListener("reset", () => {
    tellLive("live");
    refresh();
  });
  events.addEventListener("state", ({ data }) => hear(JSON.parse(data)));
  events.onerror = () => {
    const refused = events.readyState === EventSource.CLOSED;
    tellLive(refused ? "polling" : "lost");
    if (!refused) return;
    refresh();
    setTimeout(listen, 6 * AGAIN);
  };
}

const LIVE = { live: "Live", lost: "Connection lost, trying again…", polling: "Updated every few seconds" };

function tellLive(state) {
  put($("live"), LIVE[state]);
  $("live").dataset.state = state;
}

function refresh() {
  counts.load(shown().job);
  load();
}

// What people do.

function closeDetail() {
  const row = rows.byKey.get(shown().open);
  go({ open: "" });
  (row?.link ?? $("list")).focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?']");
  const row = link ? null : event.target.closest("#rows tr")?.row;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || !(link || row)) return;
  if (row && String(getSelection())) return; // somebody is copying a text out of it
  event.preventDefault();
  const address = link ? link.getAttribute("href") : addressOf({ open: row.key });
  const change = Object.fromEntries(["status", "job", "q", "after", "open"].map((name) => [name, ""]));
  go({ ...change, ...Object.fromEntries(new URLSearchParams(address)) });
  if (shown().open && link?.classList.contains("name")) detail.title.focus();
  else if (link?.closest(".pages")) scrollTo({ top: 0 });
});

let typing = 0;
filters.q.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => go({ q: filters.q.value, after: "" }, { replace: true }), 200);
});
filters.job.addEventListener("change", () => go({ job: filters.job.value, after: "" }));
filters.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", arrive);

document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("input, select, dialog, pre");
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "Escape" && !event.target.closest("dialog") && !(typed && filters.q.value)) {
    if (shown().open) closeDetail();
  } else if (event.key === "/" && !typed) {
    event.preventDefault();
    filters.q.focus();
  } else if (["ArrowDown", "ArrowUp", "j", "k"].includes(event.key) && !typed) {
    event.preventDefault();
    const row = rows.step(["ArrowDown", "j"].includes(event.key) ? 1 : -1);
    if (row && shown().open && matchMedia("(min-width: 1100px)").matches) go({ open: row.key }, { replace: true });
  }
});

document.addEventListener("visibilitychange", listen);
setInterval(() => {
  rows.tick();
  detail.tick();
}, 1000);
setInterval(() => document.hidden || refresh(), REFRESHED_EVERY);
setInterval(() => document.hidden || $("live").dataset.state === "live" || refresh(), AGAIN);

arrive();
listen();
