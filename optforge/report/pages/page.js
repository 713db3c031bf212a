// Draws the figures, saves data and pictures, opens what a figure points at; Vega-Lite does the rest.
"use strict";
const views = {};
let data = JSON.parse(document.getElementById("data").textContent);

const find = (selector) => [...document.querySelectorAll(selector)];
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

const isNarrow = () => innerWidth < 640;

function config() {
  document.documentElement.dataset.drawn = isDark() ? "dark" : "light"; // for print, which is light
  const ink = isDark() ? "#e8e8ea" : "#1b1b1f", line = isDark() ? "#3a3f4a" : "#d5d8de";
  const text = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12 };
  const labelLimit = isNarrow() ? 180 : 400;
  return {
    background: "transparent", // the page's own, which print makes white
    axis: { ...text, gridColor: line, domainColor: line, tickColor: line, labelLimit,
      labelSeparation: 6 },
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
  const params = chosen(name, figure.spec);
  const spec = { ...figure.spec, ...(params.length && { params }), data: { values: rowsOf(figure) } };
  const options = { actions: false, renderer: "canvas", config: config() };
  views[name]?.finalize();
  const { view } = await vegaEmbed(place, spec, options);
  await fit(view, figure.spec);
  for (const param of params) {
    // A run waits for what this returns, and fit waits for the run: so it returns nothing.
    view.addSignalListener(param.name, () => view.runAfter(() => { fit(view, figure.spec); }));
  }
  view.addEventListener("click", (_, item) => open(item?.datum?.opens));
  views[name] = view;
}

// A row keeps its height when a filter leaves fewer of them. The columns of a legend follow the
// width, which is known after one layout, and the whole height follows them after another.
async function fit(view, spec) {
  if (spec.autosize.type !== "fit-x") return;
  if (spec.usermeta?.row) view.height(spec.usermeta.row * Math.max(1, view.scale("y").domain().length));
  for (let times = 0; times < 2; times++) await view.resize().runAsync();
}

// What the reader chose outlasts another drawing, unless it is no choice any more. On a phone a
// figure of many rows begins with those of its first task alone, whose names are short.
function chosen(name, spec) {
  const signals = views[name]?.getState().signals ?? {};
  const isAllowed = ({ bind, name }) => name in signals && (bind?.options?.includes(signals[name]) ?? bind);
  const isLong = ({ value, bind }, place) =>
    isNarrow() && place === 0 && spec.usermeta?.row && value === "all" && bind.options.length > 2;
  return (spec.params ?? []).map((param, place) =>
    isAllowed(param) ? { ...param, value: signals[param.name] }
    : isLong(param, place) ? { ...param, value: param.bind.options[1] } : param);
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
  const link = document.createElement("a"), view = views[name];
  const shown = kind !== "csv" && (await view.background(isDark() ? "#16181d" : "#ffffff").runAsync());
  link.download = `${name}.${kind}`;
  if (kind === "csv") link.href = URL.createObjectURL(new Blob([csv(data.figures[name])], { type: "text/csv" }));
  if (kind === "svg") link.href = URL.createObjectURL(new Blob([await view.toSVG()], { type: "image/svg+xml" }));
  if (kind === "png") link.href = await view.toImageURL("png", 2);
  if (shown) view.background("transparent").runAsync(); // only a picture on its own has no page behind it
  link.click();
}

// One after the other, so that the page answers in between; a second drawing waits for the first.
let drawn = Promise.resolve();
function drawAll() {
  drawn = drawn.catch(() => {}).then(async () => {
    for (const name of Object.keys(data.figures)) {
      await draw(name);
      await new Promise((next) => setTimeout(next));
    }
  });
  return drawn;
}

// The clipboard is there for this machine's pages and secure ones; elsewhere the text is selected.
async function copy(button) {
  const text = button.nextElementSibling;
  getSelection().selectAllChildren(text);
  if (!navigator.clipboard) return;
  await navigator.clipboard.writeText(text.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.dataset.save) save(button.dataset.of, button.dataset.save);
  if ("copy" in button.dataset) copy(button);
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

// A page that is served follows its result: same steps open, same choices, same place, new content.
async function update() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const titles = new Set(find("details[open] > summary > span:first-child").map((e) => e.textContent));
  const heights = new Map(find("[data-figure]").map((e) => [e.dataset.figure, e.offsetHeight]));
  const back = refocus(document.activeElement);
  for (const id of ["main", "state", "sections"]) {
    document.getElementById(id).replaceWith(document.adoptNode(fresh.getElementById(id)));
  }
  for (const details of find("details")) {
    details.open = titles.has(details.querySelector("span").textContent);
  }
  for (const plot of find("[data-figure]")) {
    plot.style.minHeight = `${heights.get(plot.dataset.figure) ?? 0}px`;
  }
  data = JSON.parse(fresh.getElementById("data").textContent);
  await drawAll();
  for (const plot of find("[data-figure]")) plot.style.minHeight = "";
  back();
  return true;
}

// Returns what gives the focus back to the element that stands where this one was.
function refocus(element) {
  const id = element?.closest("figure, section")?.id, text = element?.textContent;
  return () => {
    if (!id || document.activeElement !== document.body) return;
    const places = find(`#${CSS.escape(id)} ${element.tagName}`);
    (places.find((place) => place.textContent === text) ?? places[0])?.focus({ preventScroll: true });
  };
}

let version = document.documentElement.dataset.version, following = Promise.resolve();
async function follow(now) {
  if (now !== version && (await update())) version = now;
}

function listen(address) {
  const events = new EventSource(address);
  const lost = (is) => document.getElementById("state").toggleAttribute("data-lost", is);
  events.onmessage = (event) => { following = following.then(() => follow(event.data)); };
  events.onopen = () => lost(false);
  events.onerror = () => {
    lost(true);
    if (events.readyState === EventSource.CLOSED) setTimeout(() => listen(address), 2000);
  };
}
if (document.documentElement.dataset.live) listen(document.documentElement.dataset.live);
