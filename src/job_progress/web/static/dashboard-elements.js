// Making elements: texts from jobs only ever become text.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const SHAPES = {
  processing: [],
  cancelling: [],
  pending: [],
  retrying: ["M8 4.8v3.4l2.2 1.3"],
  stalled: ["M8 4.6v4", "M8 11.2v.1"],
  failed: ["M5.8 5.8l4.4 4.4", "M10.2 5.8l-4.4 4.4"],
  completed: ["M5.2 8.2l2 2 3.8-4.2"],
  cancelled: ["M5.2 8h5.6"],
};

const around = 2 * Math.PI * 3;

// A round sign of a situation; of one at work, it fills up as a clock does.
export function sign(situation, progress) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const add = (tag, attributes) => {
    const shape = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.append(shape);
  };
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `sign ${situation}`);
  svg.setAttribute("aria-hidden", "true");
  add("circle", { cx: 8, cy: 8, r: 6.5, class: "ring" });
  if (situation === "processing" || situation === "cancelling") {
    const share = (progress ?? 0.25) * around;
    const turning = progress === null ? "pie turning" : "pie";
    add("circle", { cx: 8, cy: 8, r: 3, class: turning, "stroke-dasharray": `${share} ${around}` });
  }
  for (const path of SHAPES[situation]) add("path", { d: path });
  return svg;
}
