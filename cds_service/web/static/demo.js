"use strict";
// Plays the EHR: holds the chart and the drafts, fires hooks at the real services, and shows the cards as an EHR would.
// It has no words of its own: they stand in the page.

const at = (id) => document.getElementById(id);
const WORDS = at("words").dataset;
const say = (words, values = {}) => words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const copied = (id) => at(id).content.firstElementChild.cloneNode(true);
const announce = (words) => { at("status").textContent = words; };
const announceAlso = (words) => { at("status").textContent += ` ${words}`; };

// Numbers stay digit for digit, where the browser can do that.
const parse = (text) => (JSON.rawJSON ? JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value)) : JSON.parse(text));
const pretty = (value) => JSON.stringify(value, null, 2);

let chart = null; // the chart that is open, as the text of a FHIR Bundle: the server keeps none
let asOpened = null; // the same before anything was changed
let request = null; // the text of a request that was brought along, in place of a chart
let last = null; // what was fired last: {service, when, changed}
let shown = null; // whose cards are on the screen: {service, cards}
let drafts = []; // {resource, says, from}: unsigned orders on the screen
let taken = new Set(); // suggestions accepted, by uuid
let latest = 0; // an answer that comes after the user has moved on is dropped

const reference = (resource) => `${resource.resourceType}/${resource.id}`;
const fragment = (html) => new DOMParser().parseFromString(html, "text/html").body;

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function focusOn(element) {
  element.setAttribute("tabindex", "-1");
  element.focus();
}

// Resolves to {ok, status, text}.
async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return { ok: response.ok, status: response.status, text: await response.text() };
}

// The one line of an OperationOutcome.
function reason(text) {
  try {
    return JSON.parse(text).issue[0].diagnostics;
  } catch {
    return "";
  }
}

// --- what is on the screen

async function route() {
  const place = decodeURIComponent(location.hash.slice(1));
  if (place === "main") return; // the skip link
  const turn = ++latest;
  const link = document.querySelector(`[data-woman="${CSS.escape(place)}"]`);
  show(link ? "chart" : place === "own" ? "own" : "welcome", link ?? (place === "own" ? document.querySelector("[data-own]") : null));
  if (place === "own") at("own-title").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  if (!link) return;
  const opened = await fetch(`/demo/patients/${encodeURIComponent(place)}`).then((response) => response.json()).catch(() => null);
  if (turn !== latest) return;
  if (opened) await openChart(opened);
  else refused(WORDS.noAnswer, WORDS.noAnswerThen);
}

function show(part, link) {
  for (const other of document.querySelectorAll("[aria-current=page]")) other.removeAttribute("aria-current");
  link?.setAttribute("aria-current", "page");
  document.body.classList.toggle("in-chart", part !== "welcome");
  for (const id of ["welcome", "own", "chart"]) at(id).hidden = id !== part;
  at("feedback").hidden = true;
  at("feedback").querySelector("ol").replaceChildren();
  for (const count of document.querySelectorAll(".stay .count")) count.textContent = count.dataset.none;
  for (const step of document.querySelectorAll(".stay button")) step.removeAttribute("aria-current");
  chart = asOpened = request = last = shown = null;
  drafts = [];
  taken = new Set();
  showDrafts();
}

async function openChart(opened) {
  asOpened = opened;
  showChart(opened);
  at("chart").classList.remove("request-only");
  at("patient-name").focus({ preventScroll: true });
  const [first] = document.querySelectorAll(".stay button");
  await fire(first.dataset.service, first.dataset.when);
}

function showChart(opened) {
  chart = opened.chart;
  const look = fragment(opened.look);
  const part = (name) => look.querySelector(`[data-part=${name}]`);
  at("banner").replaceChildren(...part("banner").childNodes);
  at("facts").replaceChildren(part("facts"));
  at("summary").replaceChildren(...part("summary").childNodes);
  save(at("save-chart"), pretty(parse(chart)));
}

function save(link, text) {
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
}

// --- what a visitor brings

at("bring").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = at("file").files;
  const most = Number(at("file").dataset.most);
  if (file && file.size > most) return refuse(say(WORDS.tooLarge, { n: Math.floor(most / 1048576) }));
  const text = file ? await file.text() : at("pasted").value;
  if (!text.trim()) return refuse(WORDS.nothingBrought);
  const turn = ++latest;
  const answer = await post("/demo/uploads", text).catch(() => ({ ok: false, text: "" }));
  if (turn !== latest) return undefined;
  if (!answer.ok) return refuse(say(WORDS.unreadable, { why: reason(answer.text) || WORDS.noAnswer }));
  const brought = JSON.parse(answer.text);
  at("bring").reset();
  at("own-refusal").hidden = true;
  show("chart", document.querySelector("[data-own]"));
  window.scrollTo(0, 0);
  if (brought.kind === "chart") return openChart({ ...brought });
  return openRequest(brought, text);
});

function refuse(words) {
  at("own-refusal").hidden = false;
  at("own-refusal").textContent = words;
}

async function openRequest(brought, text) {
  request = text;
  at("banner").replaceChildren(...fragment(brought.look).querySelector("[data-part=banner]").childNodes);
  at("chart").classList.add("request-only");
  const entries = parse(text).context?.draftOrders?.entry;
  drafts = (Array.isArray(entries) ? entries : []).filter((entry) => entry?.resource?.resourceType).map((entry) => ({ resource: entry.resource, says: "", from: null }));
  showDrafts();
  at("patient-name").focus({ preventScroll: true });
  await fire(brought.service, WORDS.requestMoment);
}

// --- hooks

for (const step of document.querySelectorAll(".stay button")) {
  step.addEventListener("click", () => {
    const { service, hook, when } = step.dataset;
    if (hook.startsWith("order-") && drafts.length === 0) return orderFirst();
    return fire(service, say(when, { order: drafts[0] ? orderWords(drafts[0].resource).name : "" })).then(toAdvice);
  });
}

for (const button of document.querySelectorAll("[data-order]")) {
  button.addEventListener("click", async () => {
    taken = new Set();
    const step = document.querySelector('[data-hook="order-select"]').dataset;
    const when = say(step.when, { order: button.querySelector(".what").textContent });
    toAdvice(await fire(step.service, when, { order: button.dataset.order }));
  });
}

at("sign").addEventListener("click", () => document.querySelector('[data-hook="order-sign"]').click());

function toAdvice(answered) {
  if (!answered) return;
  at("advice-title").focus({ preventScroll: true });
  at("advice").scrollIntoView({ block: "start" });
}

function orderFirst() {
  at("moment").textContent = "";
  at("cards").replaceChildren(make("p", { class: "silence" }, make("strong", {}, WORDS.orderFirst), ` ${WORDS.orderFirstThen}`));
  announce(`${WORDS.orderFirst} ${WORDS.orderFirstThen}`);
  document.querySelector("[data-order]").focus();
}

// Resolves to whether the cards on the screen are now the answer to this call.
async function fire(service, when, { order = null, changed = false } = {}) {
  const turn = ++latest;
  last = { service, when };
  for (const step of document.querySelectorAll(".stay button")) {
    if (step.dataset.service === service) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
  at("cards").replaceChildren(make("p", { class: "waiting" }, WORDS.cardsWaiting));
  at("cards").setAttribute("aria-busy", "true");
  at("moment").textContent = changed ? say(WORDS.momentChanged, { moment: when }) : when;
  at("show-wire").hidden = true;
  shown = null;
  try {
    return await call(service, order, turn);
  } catch {
    if (turn === latest) refused(WORDS.noAnswer, WORDS.noAnswerThen);
    return false;
  }
}

async function call(service, order, turn) {
  const sent = request ?? (await requestFor(service, order));
  if (turn !== latest) return false;
  if (typeof sent !== "string") return refused(say(WORDS.refused, { status: sent.status }), reason(sent.text));
  if (order) draftAnew(parse(sent).context.draftOrders);
  const began = performance.now();
  const answer = await post(`/cds-services/${service}`, sent);
  const ms = Math.max(1, Math.round(performance.now() - began));
  const look = answer.ok ? fragment((await post("/demo/cards", answer.text)).text).firstElementChild : null;
  if (turn !== latest) return false;
  showWire(sent, answer, { service, status: answer.status, ms, bytes: new Blob([sent]).size });
  if (!look) return refused(say(WORDS.refused, { status: answer.status }), reason(answer.text));
  shown = { service, cards: parse(answer.text).cards };
  readied(look);
  at("cards").removeAttribute("aria-busy");
  at("cards").replaceChildren(...look.children);
  showDrafts();
  const count = document.querySelector(`.stay [data-service="${CSS.escape(service)}"] .count`);
  if (count) count.textContent = look.dataset.count;
  announce(look.dataset.said);
  return true;
}

// The request as the played EHR makes it from the chart; or what it answered instead.
async function requestFor(service, order) {
  const rest = JSON.stringify({ service, order, drafts: drafts.map((draft) => draft.resource) });
  const made = await post("/demo/requests", `{"chart":${chart},${rest.slice(1)}`);
  return made.ok ? made.text : made;
}

function refused(headline, why) {
  at("cards").removeAttribute("aria-busy");
  at("cards").replaceChildren(make("p", { class: "refusal", role: "alert" }, make("strong", {}, headline), ` ${why}`));
  return false;
}

// The order that was just chosen stands first; what was drafted before stays on the screen.
function draftAnew(bundle) {
  const said = new Map(drafts.map((draft) => [reference(draft.resource), draft]));
  const [chosen, ...others] = bundle.entry.map((entry) => entry.resource);
  drafts = [{ resource: chosen, says: "", from: null }, ...others.map((resource) => ({ says: "", from: null, ...said.get(reference(resource)), resource }))];
  showDrafts();
}

// --- the drawers

function showWire(sent, answer, about) {
  const { prefetch: given, ...rest } = parse(sent);
  const prefetch = given ?? {};
  at("wire-line").textContent = say(at("wire-line").dataset.line, about);
  at("wire-request").replaceChildren(code(rest), ...Object.entries(prefetch).map(([key, value]) => folded(`prefetch.${key}`, value)));
  let answered = answer.text;
  try { answered = pretty(parse(answer.text)); } catch { /* shown as it came */ }
  at("wire-response").replaceChildren(make("pre", { tabindex: "0" }, answered));
  const entries = Object.values(prefetch).flatMap((value) => (Array.isArray(value?.entry) ? value.entry : []));
  const changed = new Map();
  for (const entry of entries) {
    const tags = entry?.resource?.meta?.tag;
    if (Array.isArray(tags) && tags.some((tag) => tag?.code === "changed")) changed.set(entry.resource.id, entry.resource);
  }
  at("wire-changed").hidden = changed.size === 0;
  at("wire-changed").replaceChildren(at("wire-changed").firstElementChild, ...[...changed.values()].map((resource) => folded(reference(resource), resource)));
  at("wire-changed").querySelector("details")?.setAttribute("open", "");
  save(at("save-request"), sent);
  save(at("save-response"), answer.text);
  at("show-wire").hidden = false;
}

const code = (value) => make("pre", { tabindex: "0" }, pretty(value));

function folded(key, value) {
  const many = value === null ? WORDS.prefetchNone : Array.isArray(value?.entry) ? say(WORDS.prefetch, { n: value.entry.length }) : value?.resourceType === "Bundle" ? say(WORDS.prefetch, { n: 0 }) : "";
  return make("details", {}, make("summary", {}, make("code", {}, key), ` ${many}`), code(value));
}

at("show-wire").addEventListener("click", () => at("wire").showModal());

for (const drawer of document.querySelectorAll("dialog")) {
  drawer.querySelector("[data-close]").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); }); // beside it
}

// The explanation is a page of its own; here it is read without leaving the chart.
async function why(link) {
  const { pathname, search } = new URL(link.href);
  at("why-page").href = link.href;
  at("why-told").replaceChildren(make("p", { class: "waiting" }, WORDS.cardsWaiting));
  at("why").showModal();
  try {
    const response = await fetch(pathname + search);
    if (!response.ok) throw new Error();
    const told = fragment(await response.text()).querySelector("main");
    at("why-told").replaceChildren(...told.querySelectorAll(".lead, .facts, article"));
  } catch {
    at("why-told").replaceChildren(make("p", { class: "refusal" }, WORDS.noWhy));
  }
}

// --- cards

// What a server cannot know: which tables and lists come out wide or long.
function readied(look) {
  for (const table of look.querySelectorAll(".detail table")) {
    const frame = make("div", { class: "frame", tabindex: "0", role: "region", "aria-label": table.closest(".detail").dataset.table });
    table.replaceWith(frame);
    frame.append(table);
    // On a phone each row stands as a block with its labels; the roles keep it a table to a screen reader.
    const heads = [...table.querySelectorAll("th")].map((head) => head.textContent);
    table.setAttribute("role", "table");
    for (const group of [table.tHead, ...table.tBodies]) group?.setAttribute("role", "rowgroup");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, index) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        cell.dataset.label = heads[index];
      });
    }
  }
  for (const cell of look.querySelectorAll(".detail td")) { // a date is not broken at its hyphens
    const date = /^\d{4}-\d\d-\d\d( \d\d:\d\d)?/.exec(cell.textContent)?.[0];
    if (date && cell.childElementCount === 0) cell.replaceChildren(make("span", { class: "date" }, date), cell.textContent.slice(date.length));
  }
  for (const items of look.querySelectorAll(".detail :is(ul, ol, .frame)")) {
    if (items.previousElementSibling?.tagName === "P") items.previousElementSibling.classList.add("headline");
  }
  for (const items of look.querySelectorAll(".detail ul")) foldAway(items);
}

// A long list is folded under its own headline, so that a card can be taken in at a glance. Nothing is left out.
function foldAway(items) {
  if ([...items.children].every((item) => item.textContent.startsWith("☐"))) items.classList.add("boxes");
  const headline = items.previousElementSibling;
  if (items.children.length <= 5 || headline?.tagName !== "P" || headline.childElementCount !== 1) return;
  const lines = say(items.closest(".detail").dataset.lines, { n: items.children.length });
  const fold = make("details", { class: "long" }, make("summary", {}, headline.firstElementChild, ` ${lines}`));
  headline.replaceWith(fold);
  fold.append(items);
}

at("cards").addEventListener("click", (event) => {
  const link = event.target.closest("a.why");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    why(link);
  }
  const button = event.target.closest("button");
  const element = button?.closest("[data-card]");
  const card = shown?.cards.find((one) => one.uuid === element?.dataset.card);
  if (!card) return;
  if ("suggestion" in button.dataset) accept(card, button);
  if ("reason" in button.dataset) dismiss(card, element, button);
});

function accept(card, button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const suggestion = card.suggestions.find((one) => one.uuid === button.dataset.suggestion);
  taken.add(suggestion.uuid);
  for (const action of suggestion.actions ?? []) {
    const target = action.resourceId ?? (action.resource ? reference(action.resource) : null);
    if (action.type !== "create") drafts = drafts.filter((draft) => reference(draft.resource) !== target);
    if (action.type !== "delete") drafts.push({ resource: { id: `draft-${crypto.randomUUID()}`, ...action.resource }, says: action.description, from: suggestion.uuid });
  }
  showDrafts();
  announce(say(WORDS.accepted, { what: suggestion.label, n: drafts.length }));
  report(suggestion.label, { card: card.uuid, outcome: "accepted", acceptedSuggestions: [{ id: suggestion.uuid }] });
}

function dismiss(card, element, button) {
  const given = (card.overrideReasons ?? []).find((one) => one.code === button.dataset.reason);
  const note = copied("dismissed");
  note.classList.add(card.indicator);
  note.querySelector(".reason").textContent = given ? `${given.display}.` : "";
  note.querySelector(".what").textContent = card.summary;
  note.querySelector("button").addEventListener("click", () => {
    note.replaceWith(element);
    element.querySelector(".dismissal")?.removeAttribute("open");
    focusOn(element.querySelector("h3"));
  });
  element.replaceWith(note);
  note.querySelector("button").focus();
  announce(say(WORDS.dismissed, { what: given?.display ?? card.summary }));
  report(given?.display ?? card.summary, { card: card.uuid, outcome: "overridden", ...(given ? { overrideReason: { reason: given } } : {}) });
}

// --- feedback

async function report(what, item) {
  const body = JSON.stringify({ feedback: [{ ...item, outcomeTimestamp: new Date().toISOString() }] });
  const line = copied("sent");
  const [outcome, kept] = [line.querySelector(".outcome strong"), line.querySelector(".kept")];
  outcome.textContent = outcome.dataset[item.outcome];
  line.querySelector(".what").textContent = what;
  at("feedback").querySelector("ol").prepend(line);
  at("feedback").hidden = false;
  let [answer, words] = ["", kept.dataset.lost];
  try {
    const response = await post(`/cds-services/${shown.service}/feedback`, body);
    answer = response.text;
    words = response.ok ? say(kept.dataset.kept, JSON.parse(answer)) : say(kept.dataset.refused, { status: response.status });
  } catch { /* said in the line */ }
  kept.textContent = words;
  line.querySelector("pre").textContent = `${pretty(JSON.parse(body))}\n\n${answer}`;
  announceAlso(words);
}

// --- facts

const fieldsOf = (group) => [...group.querySelectorAll("input, select")];
const stoodAt = (field) => (field.tagName === "SELECT" ? [...field.options].find((option) => option.defaultSelected)?.value ?? "" : field.defaultValue);

at("facts").addEventListener("submit", async (event) => {
  event.preventDefault();
  const groups = [...at("facts").querySelectorAll("[data-fact]")];
  const edited = groups.filter((group) => fieldsOf(group).some((field) => field.value.trim() !== stoodAt(field)));
  if (edited.length === 0) return unchanged(WORDS.nothingChanged);
  const facts = Object.fromEntries(edited.map((group) => [group.dataset.fact, fieldsOf(group).map((field) => field.value)]));
  const turn = ++latest;
  const answer = await post("/demo/changes", `{"chart":${chart},"facts":${JSON.stringify(facts)}}`).catch(() => ({ ok: false, text: "" }));
  if (turn !== latest) return undefined;
  if (!answer.ok) return unchanged(reason(answer.text) || WORDS.noAnswer);
  return changedTo(JSON.parse(answer.text), true);
});

at("facts").addEventListener("click", (event) => {
  if (event.target.closest("[data-undo]")) changedTo(asOpened, false);
});

function unchanged(words) {
  const line = at("facts").querySelector(".refusal");
  line.hidden = false;
  line.textContent = words;
}

async function changedTo(opened, changed) {
  const where = document.activeElement?.matches("#facts [data-undo]") ? "[data-undo]" : "[type=submit]";
  showChart(opened);
  at("facts").querySelector(where).focus({ preventScroll: true });
  await fire(last.service, last.when, { changed });
  announce(`${WORDS.changed} ${at("status").textContent}`);
}

// --- draft orders

function orderWords(resource) {
  const concept = resource.medicationCodeableConcept ?? resource.code ?? {};
  const name = concept.text ?? concept.coding?.[0]?.display ?? resource.resourceType;
  return { name: String(name), dose: resource.dosageInstruction?.[0]?.text };
}

function showDrafts() {
  at("drafts").hidden = drafts.length === 0;
  at("draft-count").textContent = drafts.length;
  at("drafts").querySelector("ul").replaceChildren(...drafts.map((draft) => {
    const { name, dose } = orderWords(draft.resource);
    const line = copied("draft");
    line.querySelector(".label").textContent = name;
    line.querySelector(".note").textContent = draft.says || dose || "";
    const remove = line.querySelector("button");
    remove.setAttribute("aria-label", `${WORDS.remove}: ${name}`);
    remove.addEventListener("click", () => removeDraft(draft));
    return line;
  }));
  for (const button of document.querySelectorAll("[data-suggestion]")) {
    const group = button.dataset.group;
    const rivals = group ? [...document.querySelectorAll(`[data-group="${CSS.escape(group)}"]`)] : [];
    const mine = taken.has(button.dataset.suggestion);
    const other = !mine && rivals.some((rival) => taken.has(rival.dataset.suggestion));
    button.setAttribute("aria-disabled", String(mine || other));
    button.textContent = mine ? button.dataset.done : button.dataset.idle;
    button.classList.toggle("taken", mine);
    button.setAttribute("aria-label", `${button.textContent}: ${button.dataset.label}`);
  }
}

function removeDraft(draft) {
  drafts = drafts.filter((other) => other !== draft);
  if (draft.from && !drafts.some((other) => other.from === draft.from)) taken.delete(draft.from);
  showDrafts();
  focusOn(at("order-title"));
  announce(say(WORDS.removed, { n: drafts.length }));
}

// --- start

// A wide screen has room for the whole chart; a phone shows it when asked.
const wide = matchMedia("(min-width: 1121px)");
const fold = () => { for (const id of ["fold", "change"]) at(id).open = wide.matches; };
wide.addEventListener("change", fold);
fold();
window.addEventListener("hashchange", route);
route();
