// The rows of the list: one per state, kept while it is shown, and changed where something changed.

import { element, put, sign } from "./dashboard-elements.js";
import {
  WORDS, ago, durationOf, fullTimeOf, itemsOf, keyOf, nameOf, percentOf, saidBy, situationOf, speedOf,
} from "./dashboard-words.js";

export class Row {
  constructor(state, addressOf) {
    this.key = keyOf(state);
    const [module, name] = nameOf(state.job);
    this.link = element("a", { class: "name", href: addressOf(this.key) });
    this.link.append(element("span", { class: "module" }, module), `${name} `, element("span", { class: "id" }, state.id));
    this.sign = element("span", { class: "situation" });
    this.bar = element("span", { class: "fill" });
    this.percent = element("span", { class: "percent" });
    this.said = element("span", { class: "text" });
    this.items = element("span");
    this.speed = element("span", { class: "speed" });
    // Roles are named, as some browsers forget them where a narrow page lays the cells out in another way.
    const cell = (kind, ...children) => element("td", { class: kind, role: "cell" }, ...children);
    this.took = cell("number took");
    this.created = cell("number created");
    this.element = element(
      "tr",
      { role: "row" },
      cell("status", this.sign),
      element("th", { scope: "row", role: "rowheader" }, this.link),
      cell("progress", element("span", { class: "track", "aria-hidden": "true" }, this.bar), this.percent),
      cell("said", this.said),
      cell("number items", this.items, this.speed),
      this.took,
      this.created,
    );
    this.element.row = this;
    this.show(state);
  }

  show(state) {
    const situation = situationOf(state);
    const drawn = `${situation} ${state.percent}`;
    if (drawn !== this.drawn) {
      this.sign.replaceChildren(sign(situation, state.progress), element("span", {}, WORDS[situation]));
      this.drawn = drawn;
    }
    this.state = state;
    this.received = Date.now();
    this.element.dataset.situation = situation;
    this.element.classList.toggle("moving", situation === "processing" && state.percent === null);
    this.bar.style.width = state.status === "pending" ? "0" : `${(state.progress ?? 0) * 100}%`;
    put(this.percent, percentOf(state));
    put(this.said, saidBy(state));
    this.said.title = saidBy(state);
    put(this.items, itemsOf(state));
    put(this.speed, speedOf(state));
    this.link.title = `${state.job} ${state.id}`;
    this.created.title = state.created_at ? fullTimeOf(state.created_at) : "";
    this.tick();
  }

  // What the time changes by itself.
  tick() {
    put(this.took, durationOf(this.state, this.received));
    put(this.created, this.state.created_at ? ago(this.state.created_at) : "");
  }

  select(selected) {
    this.element.classList.toggle("selected", selected);
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }
}

// All rows of a page, newest first.
export class Rows {
  constructor(body, addressOf) {
    this.body = body;
    this.addressOf = addressOf;
    this.byKey = new Map();
  }

  get size() {
    return this.byKey.size;
  }

  // Show just these, with the elements of those that were shown before: what has the focus keeps it.
  replace(states) {
    const before = this.byKey;
    this.byKey = new Map();
    for (const state of states) {
      const key = keyOf(state);
      const row = before.get(key) ?? new Row(state, this.addressOf);
      row.show(state);
      row.element.classList.remove("leaving");
      this.byKey.set(key, row);
    }
    const wanted = [...this.byKey.values()].map((row) => row.element);
    for (const gone of [...this.body.children].filter((child) => !wanted.includes(child))) gone.remove();
    wanted.forEach((row, place) => {
      if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
    });
  }

  add(state, most) {
    const row = new Row(state, this.addressOf);
    const older = [...this.body.children].find((one) => one.row.state.created_at < state.created_at);
    this.body.insertBefore(row.element, older ?? null);
    this.byKey.set(row.key, row);
    if (this.body.children.length > most) {
      const last = this.body.lastElementChild.row;
      last.element.remove();
      this.byKey.delete(last.key);
    }
  }

  tick() {
    for (const row of this.byKey.values()) row.tick();
  }

  refreshAddresses() {
    for (const row of this.byKey.values()) row.link.href = this.addressOf(row.key);
  }

  select(key) {
    for (const row of this.byKey.values()) row.select(row.key === key);
  }

  // Move the focus by so many rows.
  step(by) {
    const rows = [...this.body.children].map((one) => one.row);
    const at = rows.findIndex((row) => row.link === document.activeElement);
    const start = at < 0 ? rows.findIndex((row) => row.element.classList.contains("selected")) : at;
    const next = start < 0 ? rows.at(by > 0 ? 0 : -1) : rows[Math.min(Math.max(start + by, 0), rows.length - 1)];
    next?.link.focus();
    return next;
  }
}
