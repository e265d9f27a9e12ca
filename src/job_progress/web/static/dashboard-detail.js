// One state in detail. Its bar is the component, which also brings the news.

import { element, put, sign } from "./dashboard-elements.js";
import { WORDS, ago, durationOf, fullTimeOf, keyOf, nameOf, namesOf, situationOf, span, timeOf } from "./dashboard-words.js";

export class Detail {
  constructor(panel, dialog, close) {
    this.panel = panel;
    this.dialog = dialog;
    this.close = close;
    this.key = "";
  }

  show(key) {
    if (key === this.key) return;
    this.key = key;
    this.state = null;
    this.panel.hidden = !key;
    this.panel.replaceChildren();
    if (this.dialog.open) this.dialog.close(); // it asked about another one
    if (!key) return;
    const [job, id] = namesOf(key);
    const [module, name] = nameOf(job);
    this.title = element("h2", { id: "detail-title", tabindex: "-1" }, name, " ", element("span", { class: "id" }, id));
    const shut = element("button", { class: "icon", type: "button", "aria-label": "Close the details" }, "✕");
    shut.onclick = () => this.close();
    this.badge = element("p", { class: "badge" });
    this.bar = element("job-progress", { src: `states/${keyOf({ job, id })}` });
    this.bar.addEventListener("job-progress:state", ({ detail }) => this.#fill(detail));
    this.cancel = element("button", { class: "button danger", type: "button", hidden: true }, "Cancel job…");
    this.cancel.onclick = () => this.#ask(job, id);
    this.note = element("p", { class: "trouble", role: "alert", hidden: true });
    this.body = element("div", { class: "facts" });
    this.panel.append(
      element("div", { class: "heading" }, element("div", {}, element("p", { class: "module" }, module.slice(0, -1) || "Job"), this.title), shut),
      element("div", { class: "line" }, this.badge, this.cancel),
      ...(isStep(job) || isStep(id) ? [] : [this.bar]),
      this.note,
      this.body,
    );
    if (!this.bar.isConnected) this.#say("Browsers take this name for a step in an address: the details cannot be shown here.");
  }

  // What the list has heard: a run that begins anew after its end, say, which the bar has stopped to watch.
  hear(state) {
    if (this.state && state.version > this.state.version && this.state.finished_at) {
      const bar = this.bar.cloneNode();
      bar.addEventListener("job-progress:state", ({ detail }) => this.#fill(detail));
      this.bar.replaceWith(bar);
      this.bar = bar;
    }
  }

  tick() {
    if (this.state && this.now) put(this.now, this.#time());
  }

  #fill(state) {
    const situation = situationOf(state);
    this.state = state;
    this.received = Date.now();
    this.bar.classList.add("known");
    this.badge.className = `badge ${situation}`;
    this.badge.replaceChildren(sign(situation, state.progress), WORDS[situation]);
    this.cancel.hidden = !(state.can_be_cancelled && !state.is_cancelling && state.actions.includes("cancel"));
    this.#replace([
      ...this.#error(),
      section("Timeline", this.#timeline()),
      section("About", this.#about()),
      ...(Object.keys(state.meta).length ? [section("Metadata", pairs(Object.entries(state.meta)))] : []),
      ...(state.result === null ? [] : [section("Result", json(state.result))]),
    ]);
  }

  // What is as before stays as it is, with what is selected and scrolled in it.
  #replace(sections) {
    const before = [...this.body.children];
    sections.forEach((section, place) => {
      if (!before[place]) this.body.append(section);
      else if (!before[place].isEqualNode(section)) before[place].replaceWith(section);
    });
    before.slice(sections.length).forEach((section) => section.remove());
    this.now = this.body.querySelector(".now");
  }

  #error() {
    const { error, status } = this.state;
    if (!error) return [];
    const words = status === "failed" ? "Error" : `Error of attempt ${this.state.attempt}`;
    return [section(words, element("pre", { class: "error", tabindex: "0" }, error))];
  }

  #about() {
    const { state } = this;
    const known = [
      ["Job", state.job],
      ["Id", state.id],
      ["Owner", state.owner],
      ["Attempt", state.attempt || null],
      ["Last said", state.finished_at && state.status !== "completed" ? state.message : null],
    ];
    return pairs(known.filter(([, value]) => value !== null));
  }

  #timeline() {
    const { state } = this;
    const situation = situationOf(state);
    const attempt = state.attempt > 1 ? `Attempt ${state.attempt}` : "Run";
    const list = element("ol", { class: "timeline" });
    const add = (kind, words, time, note) => {
      const stamp = time ? element("time", { datetime: time, title: fullTimeOf(time) }, timeOf(time)) : null;
      list.append(element("li", { class: kind }, element("span", { class: "event" }, words), stamp, note));
    };
    const note = (text) => (text ? element("span", { class: "note" }, text) : null);
    add("past", "Created", state.created_at);
    if (state.started_at) {
      const waited = (Date.parse(state.started_at) - Date.parse(state.created_at)) / 1000;
      const between = state.attempt > 1 ? "after the job was created" : "of waiting";
      add("past", `${attempt} began`, state.started_at, note(waited >= 1 ? `${span(waited)} ${between}` : ""));
    }
    if (state.cancel_requested_at) add("past", "Somebody asked to cancel it", state.cancel_requested_at);
    const now = element("span", { class: "note now" }, this.#time());
    if (state.finished_at) {
      add(situation, WORDS[situation], state.finished_at, note(state.started_at ? `after ${span(state.duration)}` : ""));
    } else if (situation === "retrying") {
      add("failed", `${attempt} failed`, state.updated_at, note(`after ${span(state.duration)}`));
      add("retrying", "Waiting for the next attempt", null, now);
    } else {
      add(situation, situation === "pending" ? "Waiting for a worker" : WORDS[situation], null, now);
    }
    return list;
  }

  #time() {
    const { state } = this;
    const took = state.status === "processing" ? `for ${durationOf(state, this.received)}, ` : "";
    return `${took}last news ${ago(state.updated_at ?? state.created_at)}`;
  }

  async #ask(job, id) {
    const { dialog, title, cancel } = this;
    const [, name] = nameOf(job);
    const waits = this.state.status === "pending";
    const effect = waits ? "It has not begun, and will not." : "It is asked to stop, and stops when it next looks.";
    put(dialog.querySelector("#confirm-text"), `${name} ${id}: ${effect}`);
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    if (dialog.returnValue !== "cancel") return;
    cancel.disabled = true;
    this.note.hidden = true;
    let state, trouble;
    try {
      const response = await fetch(`states/${keyOf({ job, id })}/cancel`, { method: "POST", headers: { Accept: "application/json" } });
      const answer = await response.json();
      state = response.ok ? answer : answer.state;
      trouble = response.ok ? "" : answer.error;
    } catch {
      trouble = "The server does not answer: whether the job was cancelled is not known.";
    }
    if (title !== this.title) return; // by now the panel shows another one
    if (state) this.#fill({ actions: this.state.actions, ...state });
    if (trouble) this.#say(trouble);
    cancel.disabled = false;
    if (cancel.hidden) title.focus();
  }

  #say(text) {
    put(this.note, text);
    this.note.hidden = false;
  }
}

function isStep(name) {
  return name === "." || name === "..";
}

function section(title, ...children) {
  return element("section", {}, element("h3", {}, title), ...children);
}

function pairs(entries) {
  const list = element("dl");
  for (const [name, value] of entries) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    list.append(element("dt", {}, name), element("dd", {}, text));
  }
  return list;
}

function json(value) {
  return element("pre", { tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}
