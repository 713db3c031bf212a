// Draws the figures, saves data and pictures, opens what a figure points at; Vega-Lite does the rest.
"use strict";
const views = {};
let data = JSON.parse(document.getElementById("data").textContent);

const find = (selector) => [...document.querySelectorAll(selector)];
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

function config() {
  const ink = isDark() ? "#e8e8ea" : "#1b1b1f", line = isDark() ? "#3a3f4a" : "#d5d8de";
  const text = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12 };
  return {
    background: isDark() ? "#16181d" : "#ffffff",
    axis: { ...text, gridColor: line, domainColor: line, tickColor: line, labelLimit: 260 },
    legend: { ...text, labelLimit: 320, symbolBaseFillColor: ink, symbolBaseStrokeColor: ink }, header: text,
    title: { color: ink }, text: { color: ink }, rule: { color: ink }, view: { stroke: line },
  };
}

function rowsOf(figure) {
  return figure.rows.map((row) => Object.fromEntries(figure.columns.map((c, i) => [c, row[i]])));
}

async function draw(name) {
  const place = find("[data-figure]").find((element) => element.dataset.figure === name);
  const figure = data.figures[name];
  if (!place || !figure) return;
  const spec = { ...figure.spec, data: { values: rowsOf(figure) } };
  const options = { actions: false, renderer: "canvas", config: config() };
  views[name]?.finalize();
  const { view } = await vegaEmbed(place, spec, options);
  // The columns of a legend follow the width, which is known only now.
  if (figure.spec.autosize.type === "fit-x") await view.resize().runAsync();
  view.addEventListener("click", (_, item) => open(item?.datum?.opens));
  views[name] = view;
}

function open(id) {
  const details = id && document.getElementById(id);
  if (!details) return;
  details.open = true;
  details.querySelector("summary").focus();
  details.scrollIntoView({ block: "center" });
}

function csv(figure) {
  // A leading sign would be a formula in a spreadsheet.
  const cell = (value) => {
    if (value === null || typeof value === "number") return String(value ?? "");
    const text = String(value);
    return '"' + (/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""') + '"';
  };
  return [figure.columns, ...figure.rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

async function save(name, kind) {
  const link = document.createElement("a");
  link.download = `${name}.${kind}`;
  if (kind === "csv") link.href = URL.createObjectURL(new Blob([csv(data.figures[name])], { type: "text/csv" }));
  if (kind === "svg") link.href = URL.createObjectURL(new Blob([await views[name].toSVG()], { type: "image/svg+xml" }));
  if (kind === "png") link.href = await views[name].toImageURL("png", 2);
  link.click();
}

function drawAll() {
  return Promise.all(Object.keys(data.figures).map(draw));
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.dataset.save) save(button.dataset.of, button.dataset.save);
  if ("copy" in button.dataset) navigator.clipboard?.writeText(button.nextElementSibling.textContent);
  const all = "open" in button.dataset ? true : "close" in button.dataset ? false : null;
  if (all !== null) button.closest(".tree").querySelectorAll("details").forEach((d) => { d.open = all; });
  if (button.id === "theme") {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    drawAll();
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("beforeprint", () => find("details").forEach((details) => { details.open = true; }));
drawAll().then(() => { document.documentElement.dataset.ready = "yes"; });

// A page that is served follows its result: same steps open, same place, new content.
async function update() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const titles = new Set(find("details[open] > summary > span:first-child").map((e) => e.textContent));
  for (const id of ["main", "state"]) {
    document.getElementById(id).replaceWith(document.adoptNode(fresh.getElementById(id)));
  }
  for (const details of find("details")) {
    details.open = titles.has(details.querySelector("span").textContent);
  }
  data = JSON.parse(fresh.getElementById("data").textContent);
  await drawAll();
}

if (document.documentElement.dataset.live) {
  let version = null;
  const events = new EventSource(document.documentElement.dataset.live);
  events.onmessage = ({ data: now }) => {
    if (version !== null && now !== version) update();
    version = now;
  };
  events.onerror = () => { document.getElementById("state").textContent += " (no connection)"; };
  events.onopen = () => {
    const state = document.getElementById("state");
    state.textContent = state.textContent.replaceAll(" (no connection)", "");
  };
}
