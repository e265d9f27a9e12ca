// <job-progress src="…/s/token">: a live bar of one job.
//
// Attributes  src, label, and text-… for each of TEXTS. Property: state, the newest one as JSON.
// Events      job-progress:state for each newer one; at the end :completed, :failed or :cancelled.
// Looks       the CSS variables and parts below; ::part(base failed) and so on.
{
  const TEXTS = {
    label: "Progress",
    connecting: "Connecting…",
    reconnecting: "Connection lost, trying again…",
    unknown: "Nothing is known of this job yet",
    gone: "No longer available",
    pending: "Waiting to start",
    processing: "Running",
    stalled: "No sign of life",
    cancelling: "Cancelling…",
    retrying: "Waiting to try again",
    completed: "Done",
    failed: "Failed",
    cancelled: "Cancelled",
    cancel: "Cancel",
    "cancel-failed": "It could not be cancelled",
    items: "{completed} of {total}",
    rate: "{rate}/s",
    "rate-slow": "{rate}/min",
    left: "{time} left",
    attempt: "attempt {attempt}",
  };

  const style = new CSSStyleSheet();
  style.replaceSync(`
    :host { display: block; --fill: var(--job-progress-accent, light-dark(#2f6fed, #6b9bff));
      --red: var(--job-progress-danger, light-dark(#c5322a, #ff8a80)); }
    :host([hidden]), [hidden] { display: none !important; }
    [part~=base] { display: grid; grid-template-columns: minmax(0, 1fr); gap: .4em; outline: none;
      font-variant-numeric: tabular-nums; }
    [part=head], [part=foot] { display: flex; align-items: baseline; gap: 0 .6em; }
    [part=label] { font-weight: 600; }
    [part=message] { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    [part=details], :not([hidden]) ~ [part=message] { color: color-mix(in srgb, currentColor 72%, transparent); }
    [part=percent] { margin-inline-start: auto; }
    [part=track] { height: var(--job-progress-height, .5em); border-radius: var(--job-progress-radius, 1em);
      overflow: hidden; background: var(--job-progress-track, color-mix(in srgb, currentColor 13%, transparent)); }
    [part=bar] { height: 100%; border-radius: inherit; background: var(--fill);
      transition: width .3s ease-out; }
    [part=foot] { flex-wrap: wrap; font-size: .875em; min-height: 1.75em; }
    [part=details] { flex: 1; }
    [part=error] { flex-basis: 100%; overflow-wrap: anywhere; white-space: pre-line; color: var(--red); }
    [part=cancel] { font: inherit; color: inherit; padding: 0 .7em; border-radius: .5em; cursor: pointer;
      background: none; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
    [part=cancel]:hover { background: color-mix(in srgb, currentColor 13%, transparent); }
    [part=live] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    [part~=completed] { --fill: var(--job-progress-success, light-dark(#1a8a4f, #4cc38a)); }
    [part~=failed] { --fill: var(--red); }
    [part~=stalled], [part~=retrying] { --fill: var(--job-progress-warning, light-dark(#b7791f, #e5b454)); }
    [part~=cancelling], [part~=cancelled] { --fill: color-mix(in srgb, currentColor 45%, transparent); }
    [part~=offline] [part=track] { opacity: .5; }
    [part~=moving] [part=bar] { width: 35%; transition: none; animation: move 1.4s ease-in-out infinite alternate; }
    @keyframes move { to { margin-inline-start: 65%; } }
    @media (prefers-reduced-motion: reduce) {
      [part=bar] { transition: none !important; }
      [part~=moving] [part=bar] { width: 100%; animation: none; opacity: .4; }
    }
    @media (forced-colors: active) { [part=track] { border: 1px solid; } [part=bar] { background: Highlight; } }
  `);

  // Over HTTP/1 a browser has six connections to an origin. The bars of all tabs take three, by locks; without
  // HTTPS those of each tab take one. Others ask now and then.
  const [page] = performance.getEntriesByType("navigation");
  const MOST_HELD = /^h[23]/.test(page?.nextHopProtocol) ? 50 : 3;
  const FIRST_NEWS = 5_000; // ms; a stream without any by then is held up
  const SILENCE = 40_000; // a live stream has a comment every 15 s, and a long poll 25 s
  const AVOIDED_FOR = 300_000;
  const ENDS = ["completed", "failed", "cancelled"];

  const alive = new Set();
  const avoided = { stream: 0, place: 0 }; // until then

  // What gives a place back, if there is one.
  const place = async (bar, number = 0) => {
    if (number === MOST_HELD) return false;
    const free = await new Promise((take) => {
      const hold = (lock) => (lock ? new Promise(take) : take());
      const alone = () => take([...alive][0] === bar && Boolean);
      navigator.locks?.request(`job-progress ${number}`, { ifAvailable: true }, hold).catch(alone) ?? alone();
    });
    return free ?? place(bar, number + 1);
  };

  const wake = () => alive.forEach((bar) => bar.turn.abort("woken"));
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);

  const span = (seconds) => {
    const days = Math.floor(seconds / 86400);
    const time = new Date(seconds * 1000).toISOString().slice(11, 19);
    return days ? `${days} d ${time.replace(/^0/, "")}` : time.replace(/^0(0:0?)?/, "");
  };

  class JobProgress extends HTMLElement {
    static observedAttributes = ["src", "label", "lang", ...Object.keys(TEXTS).map((name) => `text-${name}`)];

    state = null;
    turn = null; // aborts what it waits for now
    #life = null; // what belongs to an earlier one finds another here
    #trouble = "connecting";
    #note = "";
    #said = {};
    #parts;
    #received;
    #pause = 1000;
    #clock;

    get src() {
      return this.getAttribute("src");
    }

    set src(address) {
      this.setAttribute("src", address);
    }

    connectedCallback() {
      if (!this.#parts) this.#build();
      this.#start();
    }

    disconnectedCallback() {
      // An element that is only moved comes back at once, and keeps its connection.
      setTimeout(() => this.isConnected || this.#stop());
    }

    attributeChangedCallback(name, before, after) {
      if (!this.#parts || before === after) return;
      if (name === "src") {
        this.#stop();
        this.state = null;
        this.#trouble = "connecting";
        this.#note = "";
        this.#said = {};
      }
      this.#start();
    }

    #start() {
      this.#render();
      if (this.#life || !this.isConnected || !this.src || ENDS.includes(this.state?.status)) return;
      alive.add(this);
      this.#live((this.#life = {}));
    }

    #stop() {
      alive.delete(this);
      this.#life = null;
      this.turn?.abort();
      clearTimeout(this.#clock);
    }

    #accept(state) {
      if (!(state.version && TEXTS[state.status])) throw state; // it is none
      const before = this.state;
      if (before && (state.version < before.version || ENDS.includes(before.status))) return;
      state.actions ??= before?.actions ?? [];
      this.state = state;
      this.#received = Date.now();
      this.#trouble = "";
      if (before?.status !== state.status) this.#note = "";
      const ended = ENDS.includes(state.status);
      if (ended) this.#stop();
      this.#render();
      if (before?.version === state.version && before.is_stalled === state.is_stalled) return;
      for (const event of ended ? ["state", state.status] : ["state"]) {
        this.dispatchEvent(new CustomEvent(`job-progress:${event}`, { detail: state, bubbles: true, composed: true }));
      }
    }

    async #live(life) {
      for (let failures = 0; this.#life === life; ) {
        const { signal } = (this.turn = new AbortController());
        let pause = 0;
        try {
          pause = await this.#ask(this.turn);
          failures = 0;
        } catch (error) {
          if (this.#life !== life) return;
          if (signal.reason in avoided) avoided[signal.reason] = Date.now() + AVOIDED_FOR;
          else if (signal.reason !== "woken") {
            pause = Math.min(1000 * 1.5 ** failures++, 30_000) * (0.5 + Math.random() / 2);
            pause = Math.max(pause, 1000 * error.headers?.get("Retry-After") || 0);
            this.#trouble = error.status !== 404 ? "reconnecting" : this.state ? "gone" : "unknown";
            this.#render();
          }
        }
        if (pause && !signal.aborted) {
          await new Promise((resume) => {
            setTimeout(resume, pause);
            signal.onabort = resume;
          });
        }
      }
    }

    // One request. Returns the milliseconds until the next.
    async #ask(turn) {
      const looked = !document.hidden && Date.now() > avoided.place; // where nobody looks none is held
      const free = looked && (await place(this));
      let timer;
      const within = (time, reason) => {
        clearTimeout(timer);
        timer = setTimeout(() => turn.abort(reason), time);
      };
      try {
        if (!free || Date.now() < avoided.stream) {
          within(SILENCE);
          return await this.#poll(turn, free);
        }
        within(FIRST_NEWS, "stream");
        return await this.#stream(turn, () => within(SILENCE));
      } catch (error) {
        if (free && error?.status === 503) turn.abort("place"); // there is none left
        throw error;
      } finally {
        clearTimeout(timer);
        if (free) free();
      }
    }

    async #stream(turn, heard) {
      const response = await this.#fetch("/events", turn);
      if (!/event-stream/.test(response.headers.get("Content-Type"))) {
        this.#accept(await response.json());
        throw turn.abort("stream"); // there are none
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ; ) {
        const { value, done } = await reader.read();
        if (done) return 300 + 700 * Math.random(); // not all at once, when a server stops
        heard();
        const events = (text + value).split("\n\n");
        text = events.pop();
        for (const event of events) {
          const state = event.split("event: state\ndata: ")[1];
          if (state) this.#accept(JSON.parse(state));
        }
      }
    }

    async #poll(turn, holds) {
      const version = this.state?.version;
      const began = Date.now();
      const query = holds && version ? { wait: 25, after_version: version } : {};
      const response = await this.#fetch("", turn, query);
      this.#accept(await response.json());
      if (holds) return Math.max(500, began + 1000 - Date.now());
      this.#pause = this.state.version === version ? Math.min(this.#pause * 1.5, 5000) : 1000;
      return Math.max(this.#pause, document.hidden ? 5000 : 30 * alive.size);
    }

    async #fetch(path, { signal }, query = {}, method = "GET") {
      const address = new URL(this.src, document.baseURI);
      address.pathname = address.pathname.replace(/\/$/, "") + path;
      for (const name in query) address.searchParams.set(name, query[name]);
      const response = await fetch(address, { method, signal, headers: { Accept: "application/json" }, cache: "no-store" });
      if (response.ok || response.status === 409) return response; // a conflict has the state in it
      throw response;
    }

    async #cancel() {
      const { src } = this;
      let note = (this.#note = "");
      try {
        const response = await this.#fetch("/cancel", {}, {}, "POST");
        const answer = await response.json();
        if (src === this.src) this.#accept(answer.state ?? answer);
        if (answer.state) note = answer.error;
      } catch {
        note = this.#text("cancel-failed");
      }
      if (src === this.src) this.#note = note; // else it shows another job by now
      this.#render();
    }

    #build() {
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [style];
      this.#parts = { root };
      const make = (parent, names, tag = "span") => {
        for (const name of names.split(" ")) {
          const part = (this.#parts[name] = document.createElement(tag));
          part.setAttribute("part", name);
          this.#parts[parent].append(part);
        }
      };
      make("root", "base", "div");
      make("base", "head track foot live", "div");
      make("head", "label status message percent");
      make("track", "bar", "div");
      make("foot", "details");
      make("foot", "cancel", "button");
      make("foot", "error");
      const { base, track, cancel, live } = this.#parts;
      base.tabIndex = -1;
      track.role = "progressbar";
      live.role = "status";
      cancel.type = "button";
      cancel.onclick = () => this.#cancel();
    }

    #text(name, values) {
      const text = this.getAttribute(`text-${name}`) ?? TEXTS[name];
      return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
    }

    #number(value, options) {
      const lang = this.closest("[lang]")?.lang;
      try {
        return value.toLocaleString(lang || [], options);
      } catch {
        return value.toLocaleString([], options); // there is no such language
      }
    }

    #render() {
      const { state } = this;
      const parts = this.#parts;
      const put = (name, text, hidden = !text) => {
        if (parts[name].textContent !== text) parts[name].textContent = text;
        parts[name].hidden = hidden;
      };
      const { status, percent, completed, total, rate, eta, attempt, message } = state ?? {};
      const waits = status === "pending";
      const situation =
        (!state && this.#trouble) ||
        (state.is_stalled && "stalled") ||
        (state.is_cancelling && "cancelling") ||
        (waits && attempt ? "retrying" : status);
      const runs = ["processing", "cancelling"].includes(situation);
      const wrong = ["failed", "retrying"].includes(situation);
      const known = state && !waits && percent !== null;
      const moves = (runs && !known) || situation === "connecting";
      const label = this.getAttribute("label") ?? "";
      const share = known ? this.#number(percent / 100, { style: "percent" }) : "";

      const details = [];
      const say = (name, values) => details.push(this.#text(name, values));
      const count = completed != null && this.#number(completed);
      if (count && total != null) say("items", { completed: count, total: this.#number(total) });
      else if (count) details.push(count);
      if (runs && rate) {
        const [name, per] = rate < 1 ? ["rate-slow", rate * 60] : ["rate", rate];
        say(name, { rate: this.#number(per, { maximumSignificantDigits: 3 }) });
      }
      const left = eta - (Date.now() - this.#received) / 1000;
      if (runs && left >= 1) say("left", { time: span(left) });
      if (attempt > 1 || (waits && attempt)) say("attempt", { attempt });

      const focused = parts.root.activeElement === parts.cancel;
      parts.base.setAttribute("part", `base ${situation}${moves ? " moving" : ""}${this.#trouble ? " offline" : ""}`);
      put("label", label);
      put("status", situation === "processing" && message ? "" : this.#text(situation));
      put("message", (!wrong && message) || "");
      put("percent", share);
      put("details", state && this.#trouble ? this.#text(this.#trouble) : details.join(" · "), false);
      put("error", (wrong && state.error) || this.#note);
      const may = state?.can_be_cancelled && !state.is_cancelling && state.actions.includes("cancel");
      put("cancel", this.#text("cancel"), !may);
      if (focused && !may) parts.base.focus(); // who uses the keyboard keeps the place

      parts.bar.style.width = moves ? "" : `${known ? state.progress * 100 : 0}%`;
      parts.track.ariaLabel = label || this.#text("label");
      parts.track.ariaValueNow = known ? percent : null;
      const words = [parts.status.textContent || message, share || details[0]];
      parts.track.ariaValueText = words.filter(Boolean).join(", ");
      this.#announce(situation, share, Math.floor(percent / 25));

      clearTimeout(this.#clock);
      if (this.#life && eta) this.#clock = setTimeout(() => this.#render(), 1000); // it goes on
    }

    // A screen reader hears of a new situation and of each quarter.
    #announce(situation, share, quarter) {
      const before = this.#said;
      const turned = situation !== before.situation;
      const news = turned ? situation !== "connecting" : quarter > before.quarter && Date.now() > before.at + 10_000;
      if (!news) return;
      this.#said = { situation, quarter, at: Date.now() };
      if (!before.situation) return; // what the page shows when it opens is no news
      const words = [this.getAttribute("label"), turned ? this.#text(situation) : share, this.#parts.error.textContent];
      this.#parts.live.textContent = words.filter(Boolean).join(", ");
    }
  }

  if (!customElements.get("job-progress")) customElements.define("job-progress", JobProgress);
}
