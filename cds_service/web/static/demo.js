"use strict";
// Plays the EHR: fires hooks at the real services, and shows the cards as an EHR would. Nothing is stored.

const WORDS = { info: "Information", warning: "Warning", critical: "Critical" };
const ICONS = {
  info: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm-1.2 8.4h2.4V17h-2.4v-6.6Zm1.2-1.3a1.4 1.4 0 1 1 0-2.8 1.4 1.4 0 0 1 0 2.8Z",
  warning: "M12 2.5 1.2 21.5h21.6L12 2.5Zm-1.2 6.8h2.4v6.2h-2.4V9.3Zm1.2 9.9a1.4 1.4 0 1 1 0-2.8 1.4 1.4 0 0 1 0 2.8Z",
  critical: "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9L7.9 2Zm2.9 4.6v7.2h2.4V6.6h-2.4Zm1.2 10.9a1.4 1.4 0 1 0 0-2.8 1.4 1.4 0 0 0 0 2.8Z",
};

const at = (id) => document.getElementById(id);
let woman = null; // whose chart is open
let drafts = []; // {resource, says, from}: unsigned orders on the screen
let taken = new Set(); // suggestions accepted, by uuid
let latest = 0; // an answer that comes after the user has moved on is dropped

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.info);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

const announce = (words) => { at("status").textContent = words; };

// --- charts

async function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id === "main") return; // the skip link
  for (const link of document.querySelectorAll("[data-woman]")) {
    if (link.dataset.woman === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const turn = ++latest;
  woman = null;
  drafts = [];
  taken = new Set();
  const known = document.querySelector(`[data-woman="${CSS.escape(id)}"]`) !== null;
  document.body.classList.toggle("in-chart", known);
  at("welcome").hidden = known;
  at("chart").hidden = !known;
  if (!known) return;
  const chart = await (await fetch(`/demo/patients/${encodeURIComponent(id)}`)).json();
  if (turn !== latest) return;
  woman = chart;
  at("patient-name").textContent = chart.name;
  at("patient-line").replaceChildren(...[chart.age, `born ${chart.born}`, chart.place, chart.record].map((text) => make("span", {}, text)));
  at("patient-shows").textContent = chart.shows;
  at("summary").replaceChildren(...chart.tiles.map(tiles), ...chart.lists.map(list));
  showDrafts();
  at("patient-name").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  await fire("ppd-chart-review", null, "When the chart was opened");
}

function when(entry) {
  return make("time", { datetime: entry.date, title: entry.date }, `${entry.short}, ${entry.ago}`);
}

function tiles(section) {
  const found = section.tiles.map((tile) =>
    make("div", { class: "tile" },
      make("dt", {}, tile.says),
      make("dd", {},
        make("span", { class: /^[\d./]+$/.test(tile.value) ? "value" : "value words" }, tile.value, tile.unit ? make("small", {}, ` ${tile.unit}`) : null),
        tile.note ? make("span", { class: "note" }, tile.note) : null,
        when(tile))));
  return make("section", {}, make("h3", {}, section.title), found.length ? make("dl", { class: "tiles" }, ...found) : nothing());
}

function list(section) {
  const found = section.lines.map((line) =>
    make("li", {}, make("span", { class: "says" }, line.says), line.note ? make("span", { class: "note" }, line.note) : null, when(line)));
  return make("section", {}, make("h3", {}, section.title), found.length ? make("ul", { class: "lines" }, ...found) : nothing());
}

const nothing = () => make("p", { class: "nothing" }, "No entries");

// --- hooks

// Resolves to whether the cards on the screen are now the answer to this call.
async function fire(service, order, why) {
  const turn = ++latest;
  at("cards").replaceChildren(make("p", { class: "waiting" }, "Asking the service…"));
  at("cards").setAttribute("aria-busy", "true");
  at("moment").textContent = why;
  at("wire").hidden = true;
  try {
    return await call(service, order, turn);
  } catch {
    if (turn === latest) {
      at("cards").removeAttribute("aria-busy");
      at("cards").replaceChildren(make("p", { class: "refusal", role: "alert" }, make("strong", {}, "The service does not answer."), " Is it still running? No answer does not mean that all is well."));
    }
    return false;
  }
}

async function call(service, order, turn) {
  const query = order ? `?order=${encodeURIComponent(order)}` : "";
  const request = await (await fetch(`/demo/patients/${woman.id}/requests/${service}${query}`)).json();
  if (turn !== latest) return false;
  if (order) draftAnew(request.context.draftOrders);
  const began = performance.now();
  const response = await fetch(`/cds-services/${service}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  });
  const answer = await response.json();
  const milliseconds = Math.max(1, Math.round(performance.now() - began));
  const cards = response.ok ? await Promise.all(answer.cards.map(card)) : [refusal(response, answer)];
  if (turn !== latest) return false;
  at("cards").removeAttribute("aria-busy");
  at("cards").replaceChildren(...(cards.length ? cards : [silence()]));
  showWire(request, answer, `POST /cds-services/${service}: ${response.status} in ${milliseconds} ms, ${Object.keys(request.prefetch).length} prefetch keys`);
  announce(response.ok ? `${cards.length || "No"} ${cards.length === 1 ? "card" : "cards"}. ${(answer.cards ?? []).map((one) => `${WORDS[one.indicator]}: ${one.summary}`).join(" ")}` : "The service refused the call.");
  return true;
}

// The order that was just chosen stands first; what was drafted before stays on the screen and goes along.
function draftAnew(bundle) {
  const chosen = bundle.entry[0].resource;
  const others = drafts.filter((draft) => reference(draft.resource) !== reference(chosen));
  drafts = [{ resource: chosen, says: "", from: null }, ...others];
  bundle.entry.push(...others.map((draft) => ({ resource: draft.resource })));
  showDrafts();
}

function showWire(request, answer, line) {
  at("wire").hidden = false;
  at("wire-line").textContent = line;
  at("wire-request").textContent = JSON.stringify(request, null, 2);
  at("wire-response").textContent = JSON.stringify(answer, null, 2);
}

function silence() {
  return make("p", { class: "silence" }, make("strong", {}, "No cards."), " The service has nothing to say here, and says nothing.");
}

function refusal(response, outcome) {
  const why = outcome.issue?.[0]?.diagnostics ?? "";
  return make("p", { class: "refusal", role: "alert" }, make("strong", {}, `The service refused the call (${response.status}).`), ` ${why}`);
}

// --- cards

async function card(given) {
  const title = `card-${given.uuid}`;
  const detail = given.detail ? await rendered(given.detail) : null;
  const body = make("div", { class: "body" }, detail, links(given), suggestions(given), sourceLine(given));
  const element = make("article", { class: `card ${given.indicator}`, "aria-labelledby": title, "data-topic": given.source.topic?.code },
    make("header", {},
      make("p", { class: "indicator" }, icon(given.indicator), WORDS[given.indicator] ?? given.indicator),
      make("h3", { id: title }, given.summary)),
    body);
  body.append(dismissal(given, element));
  return element;
}

async function rendered(markdown) {
  const response = await fetch("/demo/markdown", { method: "POST", headers: { "Content-Type": "text/markdown" }, body: markdown });
  const detail = make("div", { class: "detail" });
  detail.innerHTML = await response.text(); // made harmless by the server
  for (const table of detail.querySelectorAll("table")) {
    const frame = make("div", { class: "frame", tabindex: "0", role: "region", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
    // On a phone each row stands as a block with its labels; the roles keep it a table to a screen reader.
    const heads = [...table.querySelectorAll("th")].map((head) => head.textContent);
    table.setAttribute("role", "table");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, index) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        cell.dataset.label = heads[index];
      });
    }
  }
  for (const cell of detail.querySelectorAll("td")) { // a date is not broken at its hyphens
    const date = /^\d{4}-\d\d-\d\d( \d\d:\d\d)?/.exec(cell.textContent)?.[0];
    if (date && cell.childElementCount === 0) cell.replaceChildren(make("span", { class: "date" }, date), cell.textContent.slice(date.length));
  }
  for (const items of detail.querySelectorAll("ul, ol, .frame")) {
    if (items.previousElementSibling?.tagName === "P") items.previousElementSibling.classList.add("headline");
  }
  for (const items of detail.querySelectorAll("ul")) foldAway(items);
  return detail;
}

// A long list is folded under its own headline, so that a card can be taken in at a glance. Nothing is left out.
function foldAway(items) {
  if ([...items.children].every((item) => item.textContent.startsWith("☐"))) items.classList.add("boxes");
  const headline = items.previousElementSibling;
  if (items.children.length <= 5 || headline?.tagName !== "P" || headline.childElementCount !== 1) return;
  const fold = make("details", { class: "long" }, make("summary", {}, headline.firstElementChild, ` (${items.children.length} lines)`));
  headline.replaceWith(fold);
  fold.append(items);
}

function links(given) {
  if (!given.links?.length) return null;
  const items = given.links.map((link) => make("li", {}, make("a", { href: link.url, target: "_blank", rel: "noopener noreferrer" }, link.label)));
  return make("ul", { class: "links" }, ...items);
}

function suggestions(given) {
  if (!given.suggestions?.length) return null;
  const one = given.selectionBehavior === "at-most-one";
  const rows = given.suggestions.map((suggestion) => {
    const accept = make("button", { type: "button", class: "accept", "data-suggestion": suggestion.uuid, "data-label": suggestion.label, "data-group": one ? given.uuid : null, onclick: () => take(suggestion, accept) }, "Accept");
    accept.setAttribute("aria-label", `Accept: ${suggestion.label}`);
    const acts = (suggestion.actions ?? []).map((action) => make("li", {}, action.description));
    return make("li", {},
      make("div", {}, make("span", { class: "label" }, suggestion.label), suggestion.isRecommended ? make("span", { class: "badge" }, "Recommended") : null,
        acts.length ? make("ul", { class: "actions" }, ...acts) : null),
      accept);
  });
  return make("section", { class: "suggestions" }, make("h4", {}, one ? "Suggestions: choose at most one" : "Suggestions"), make("ul", {}, ...rows));
}

function take(suggestion, button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  taken.add(suggestion.uuid);
  for (const action of suggestion.actions ?? []) {
    const target = action.resourceId ?? (action.resource ? reference(action.resource) : null);
    if (action.type !== "create") drafts = drafts.filter((draft) => reference(draft.resource) !== target);
    if (action.type !== "delete") drafts.push({ resource: { id: `draft-${crypto.randomUUID()}`, ...action.resource }, says: action.description, from: suggestion.uuid });
  }
  showDrafts();
  announce(`Accepted: ${suggestion.label}. ${drafts.length} draft orders.`);
}

function sourceLine(given) {
  const name = given.source.url ? make("a", { href: given.source.url, target: "_blank", rel: "noopener noreferrer" }, given.source.label) : given.source.label;
  return make("p", { class: "source" }, "Source: ", name, given.source.topic ? make("code", {}, given.source.topic.code) : null);
}

function dismissal(given, element) {
  const reasons = given.overrideReasons ?? [];
  if (!reasons.length) return make("button", { type: "button", class: "plain", onclick: () => dismiss(given, element, null) }, "Dismiss");
  const choices = reasons.map((reason) => make("li", {}, make("button", { type: "button", "data-reason": reason.code, onclick: () => dismiss(given, element, reason) }, reason.display)));
  return make("details", { class: "dismissal" }, make("summary", {}, "Dismiss with a reason"), make("ul", {}, ...choices));
}

function dismiss(given, element, reason) {
  const back = make("button", { type: "button", class: "plain", onclick: () => { note.replaceWith(element); element.querySelector(".dismissal")?.removeAttribute("open"); focusOn(element.querySelector("h3")); } }, "Show again");
  const note = make("p", { class: `dismissed ${given.indicator}` }, make("span", {}, make("strong", {}, "Dismissed"), reason ? `: ${reason.display}. ` : ". ", make("span", { class: "what" }, given.summary)), back);
  element.replaceWith(note);
  back.focus();
  announce(`Dismissed${reason ? `: ${reason.display}` : ""}.`);
}

function focusOn(element) {
  element.setAttribute("tabindex", "-1");
  element.focus();
}

// --- draft orders

const reference = (resource) => `${resource.resourceType}/${resource.id}`;

function orderWords(resource) {
  const concept = resource.medicationCodeableConcept ?? resource.code ?? {};
  const name = concept.text ?? concept.coding?.[0]?.display ?? resource.resourceType;
  const dose = resource.dosageInstruction?.[0]?.text;
  return { name, dose };
}

function showDrafts() {
  at("drafts").hidden = drafts.length === 0;
  at("draft-count").textContent = drafts.length;
  at("drafts").querySelector("ul").replaceChildren(...drafts.map((draft) => {
    const { name, dose } = orderWords(draft.resource);
    const remove = make("button", { type: "button", class: "plain", "aria-label": `Remove ${name}`, onclick: () => removeDraft(draft) }, "Remove");
    return make("li", {}, make("div", {}, make("span", { class: "label" }, name), draft.says || dose ? make("span", { class: "note" }, draft.says || dose) : null), remove);
  }));
  for (const button of document.querySelectorAll("[data-suggestion]")) {
    const group = button.dataset.group;
    const rivals = group ? [...document.querySelectorAll(`[data-group="${CSS.escape(group)}"]`)] : [];
    const mine = taken.has(button.dataset.suggestion);
    const other = !mine && rivals.some((rival) => taken.has(rival.dataset.suggestion));
    button.setAttribute("aria-disabled", String(mine || other));
    button.textContent = mine ? "Accepted" : "Accept";
    button.classList.toggle("taken", mine);
    button.setAttribute("aria-label", `${button.textContent}: ${button.dataset.label}`);
  }
}

function removeDraft(draft) {
  drafts = drafts.filter((other) => other !== draft);
  if (draft.from && !drafts.some((other) => other.from === draft.from)) taken.delete(draft.from);
  showDrafts();
  focusOn(at("order-title"));
  announce(`Removed. ${drafts.length} draft orders.`);
}

// --- start

for (const button of document.querySelectorAll("[data-order]")) {
  button.addEventListener("click", async () => {
    taken = new Set();
    const words = button.querySelector(".what").textContent;
    if (await fire("ppd-delivery-order", button.dataset.order, `When the order “${words}” was drafted`)) {
      at("advice-title").focus();
      at("advice").scrollIntoView({ block: "start" });
    }
  });
}
// A wide screen has room for the whole chart; a phone shows it when asked.
const wide = matchMedia("(min-width: 1121px)");
const fold = () => { at("fold").open = wide.matches; };
wide.addEventListener("change", fold);
fold();
window.addEventListener("hashchange", route);
route();
