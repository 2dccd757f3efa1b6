// Sends a Bruno collection as Bruno would: node send.mjs FOLDER BASE. Prints a JSON line for each request.
//
// Bruno's own command line does the same, and weighs 275 MB. Its reader of .bru files, which is used here, weighs 8 MB.
// Of what can stand in such a file only that is understood which this collection uses. Anything else is refused, so that
// nothing is passed over in silence.

import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import vm from "node:vm";
import lang from "@usebruno/lang";

const [folder, base] = process.argv.slice(2);
const read = (...path) => readFileSync(join(folder, ...path), "utf8");

function only(known, found, where) {
  const odd = Object.keys(found ?? {}).filter((name) => !known.includes(name));
  if (odd.length) throw new Error(`${where}: ${odd.join(", ")} is not understood here`);
}

const collection = lang.collectionBruToJson(read("collection.bru"));
only(["meta", "script", "docs"], collection, "collection.bru");
only(["req"], collection.script, "collection.bru: script");
const environment = lang.bruToEnvJsonV2(read("environments", "local.bru"));
const variables = Object.fromEntries(environment.variables.map(({ name, value }) => [name, value]));
variables.base = base;

function filled(text) {
  return text.replaceAll(/\{\{([^}]+)\}\}/g, (_, name) => {
    if (name === "$randomUUID") return randomUUID();
    if (variables[name] === undefined) throw new Error(`{{${name}}} has no value`);
    return variables[name];
  });
}

const valued = (text) => (/^-?\d+$/.test(text) ? Number(text) : text);
const HOLDS = {
  eq: (found, told) => found === valued(told),
  contains: (found, told) => typeof found === "string" && found.includes(told),
  isDefined: (found) => found !== undefined,
};

function failures(assertions, res) {
  return assertions.flatMap(({ name, value }) => {
    const [operator, ...rest] = value.split(" ");
    if (!HOLDS[operator]) throw new Error(`${operator} is not understood here`);
    let found;
    try {
      found = vm.runInNewContext(name, { res });
    } catch (error) {
      found = error.message;
    }
    return HOLDS[operator](found, rest.join(" ")) ? [] : [`${name}: ${value}, but it is ${JSON.stringify(found)}`];
  });
}

async function sent(file) {
  const told = lang.bruToJsonV2(read(file));
  only(["meta", "http", "headers", "body", "vars", "assertions", "docs"], told, file);
  only(["res"], told.vars, `${file}: vars`);
  only(["json", "text"], told.body, `${file}: body`);
  if (!told.assertions?.length) throw new Error(`${file} asserts nothing`);
  vm.runInNewContext(collection.script?.req ?? "", { bru: { setVar: (name, value) => (variables[name] = value) } });

  const { method, url, body: kind } = told.http;
  const headers = Object.fromEntries((told.headers ?? []).map(({ name, value }) => [name, value]));
  if (kind === "json") headers["Content-Type"] ??= "application/json";
  const body = kind === "none" ? undefined : filled(told.body[kind]);
  const answer = await fetch(filled(url), { method: method.toUpperCase(), headers, body });
  const res = { status: answer.status, body: await answer.json() };
  const failed = failures(told.assertions, res);
  for (const { name, value } of told.vars?.res ?? []) variables[name] = vm.runInNewContext(value, { res });
  return { name: told.meta.name, seq: Number(told.meta.seq), asserted: told.assertions.length, failed, status: res.status };
}

const files = readdirSync(folder).filter((name) => name.endsWith(".bru") && name !== "collection.bru");
for (const file of files.sort()) console.log(JSON.stringify(await sent(file)));
