// The tabs, and how many states there are of each kind: counted where that is cheap, "100+" where it is not.

import { element, put, sign } from "./dashboard-elements.js";
import { TABS, keyOf, situationOf } from "./dashboard-words.js";

const COUNTED = { processing: 500, pending: 100, failed: 100, completed: 100, cancelled: 100 };

export class Counts {
  constructor(tabs, addressOf) {
    this.addressOf = addressOf;
    this.job = "";
    this.asked = 0;
    this.situations = new Map();
    this.more = new Set();
    this.links = TABS.map(({ name, word }) => {
      const count = element("span", { class: "count" });
      const link = element("a", { "data-tab": name || "all" }, name ? sign(name, 0.6) : "", word, " ", count);
      link.count = count;
      tabs.append(link);
      return link;
    });
  }

  select(status) {
    TABS.forEach(({ name }, place) => {
      const link = this.links[place];
      link.href = this.addressOf(name);
      if (name === status) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
  }

  async load(job) {
    const turn = ++this.asked;
    this.job = job;
    const pages = await Promise.all(
      Object.entries(COUNTED).map(async ([status, limit]) => {
        const response = await fetch(`states?${new URLSearchParams({ status, job, limit })}`).catch(() => null);
        return [status, response?.ok ? await response.json() : null];
      }),
    );
    if (turn !== this.asked || pages.some(([, page]) => page === null)) return; // the list tells of the trouble
    this.situations = new Map(pages.flatMap(([, { states }]) => states.map((one) => [keyOf(one), situationOf(one)])));
    this.more = new Set(pages.filter(([, page]) => page.next).map(([status]) => status));
    this.#show();
  }

  hear(state) {
    if (this.job && state.job !== this.job) return;
    this.situations.set(keyOf(state), situationOf(state));
    this.#show();
  }

  #show() {
    const found = [...this.situations.values()];
    TABS.forEach(({ name, statuses, situations }, place) => {
      const count = found.filter((situation) => situations.includes(situation)).length;
      const link = this.links[place];
      put(link.count, name && (count || this.more.has(statuses)) ? `${count}${this.more.has(statuses) ? "+" : ""}` : "");
      link.classList.toggle("none", !count);
    });
  }
}
