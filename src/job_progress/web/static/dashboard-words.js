// States in words and numbers, for people.

const number = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const WORDS = {
  processing: "Running",
  pending: "Waiting",
  retrying: "Retrying",
  stalled: "Stuck",
  cancelling: "Cancelling",
  failed: "Failed",
  completed: "Done",
  cancelled: "Cancelled",
};

// What the tabs ask the server for, and which situations belong to each.
export const TABS = [
  { name: "", word: "All", statuses: "", situations: Object.keys(WORDS) },
  { name: "processing", word: "Running", statuses: "processing", situations: ["processing", "cancelling"] },
  { name: "pending", word: "Waiting", statuses: "pending", situations: ["pending", "retrying"] },
  { name: "stalled", word: "Stuck", statuses: "processing", situations: ["stalled"] },
  { name: "failed", word: "Failed", statuses: "failed", situations: ["failed"] },
  { name: "completed", word: "Done", statuses: "completed", situations: ["completed"] },
  { name: "cancelled", word: "Cancelled", statuses: "cancelled", situations: ["cancelled"] },
];

export function situationOf(state) {
  if (state.is_stalled) return "stalled";
  if (state.is_cancelling) return "cancelling";
  return state.status === "pending" && state.attempt ? "retrying" : state.status;
}

export function keyOf(state) {
  return `${encodeURIComponent(state.job)}/${encodeURIComponent(state.id)}`;
}

// The job and the id that a key stands for; null if it is none.
export function namesOf(key) {
  try {
    const names = key.split("/").map(decodeURIComponent);
    return names.length === 2 && names.every(Boolean) ? names : null;
  } catch {
    return null; // nobody has encoded that
  }
}

// A job's name in two: the module before it, and the last part, which tells jobs apart.
export function nameOf(job) {
  const at = job.lastIndexOf(".", job.length - 2) + 1;
  return [job.slice(0, at), job.slice(at)];
}

export function percentOf(state) {
  return state.percent === null || state.status === "pending" ? "" : `${state.percent}%`;
}

export function saidBy(state) {
  const situation = situationOf(state);
  if (situation === "failed" || situation === "retrying") return state.error ?? "";
  if (situation === "stalled") return "No sign of life: its worker may have died";
  return state.message ?? "";
}

export function itemsOf(state) {
  if (state.completed === null) return "";
  const of = state.total === null ? "" : ` / ${amount(state.total)}`;
  return amount(state.completed) + of;
}

export function amount(value) {
  return value < 1_000_000 ? number.format(value) : short.format(value);
}

export function speedOf(state) {
  if (!state.rate || state.status !== "processing" || state.is_stalled) return "";
  return state.rate < 1 ? `${short.format(state.rate * 60)}/min` : `${short.format(state.rate)}/s`;
}

export function span(seconds) {
  const sizes = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60];
  const [days, hours, minutes, rest] = sizes.map((size) => Math.floor(size));
  const two = (value) => String(value).padStart(2, "0");
  if (days) return `${days} d ${hours}:${two(minutes)} h`;
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// The duration goes on between two looks at a state that is at work; `received` is when it was looked at.
export function durationOf(state, received) {
  if (!state.started_at) return "";
  const since = state.status === "processing" && !state.is_stalled ? (Date.now() - received) / 1000 : 0;
  return span(state.duration + since);
}

export function ago(time) {
  const seconds = Math.max((Date.now() - Date.parse(time)) / 1000, 0);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return seconds < 5 ? "now" : `${Math.floor(seconds)} s ago`;
}

export function timeOf(time) {
  const date = new Date(time);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : calendar.format(date);
}

export function fullTimeOf(time) {
  return calendar.format(new Date(time));
}
