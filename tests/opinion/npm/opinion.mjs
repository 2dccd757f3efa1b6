// Translates the CQL, and asks it about each chart that comes in. Knows nothing of the service.
//
//   node opinion.mjs SecondOpinion.cql code_lists.json < charts.ndjson > opinions.ndjson
//
// A faulty library still translates, into something that answers null. So any error stops everything.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  CqlTranslator,
  LibraryManager,
  ModelManager,
  createModelInfoProvider,
  createUcumService,
  stringAsSource,
} from '@cqframework/cql/cql-to-elm';
import { UcumLhcUtils } from '@lhncbc/ucum-lhc';
import fhir from 'cql-exec-fhir';
import cql from 'cql-execution';

const MODELS = {
  System: 'system-modelinfo.xml',
  FHIR: 'node_modules/cql-exec-fhir/lib/modelInfos/fhir-modelinfo-4.0.1.xml',
};
const ANSWERS = {
  stage: 'Stage',
  tier: 'Tier',
  safety: 'Safety concern',
  contraindications: 'Contraindications',
  review: 'Reviews',
  monitor: 'Modifiers',
  missing: 'Missing',
  confirm: 'Confirm',
  status: 'Status',
  dose: 'Dose mg',
};

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');

function translated(name) {
  const models = new ModelManager();
  models.modelInfoLoader.registerModelInfoProvider(
    createModelInfoProvider((model) => (MODELS[model] ? stringAsSource(read(MODELS[model])) : null)),
  );
  const units = UcumLhcUtils.getInstance();
  const neverAsked = () => {
    throw new Error('nothing here multiplies units');
  };
  const ucum = createUcumService(
    (value, from, to) => String(units.convertUnitTo(from, Number(value), to).toVal),
    (unit) => (units.validateUnitString(unit).status === 'valid' ? null : 'no unit of UCUM'),
    neverAsked,
    neverAsked,
  );
  const manager = new LibraryManager(models, undefined, undefined, ucum);
  const elm = JSON.parse(CqlTranslator.fromText(read(name), manager).toJson());
  const errors = (elm.library.annotation ?? []).filter((note) => note.errorSeverity === 'error');
  if (errors.length) {
    const said = errors.map((note) => `${name}:${note.startLine}:${note.startChar} ${note.message}`);
    throw new Error(said.join('\n'));
  }
  return new cql.Library(withoutNotes(elm));
}

// Where in the text each node stands is of no use here: the engine would keep the value of every node for it.
function withoutNotes(elm) {
  const notes = new Set(['annotation', 'localId', 'locator']);
  return JSON.parse(JSON.stringify(elm, (name, value) => (notes.has(name) ? undefined : value)));
}

// Every value set by its name. Left to itself, the engine walks through all its codes for each entry of the chart.
class Codes extends cql.ValueSet {
  constructor(name, members) {
    super(name, '', members.map(({ system, code }) => new cql.Code(code, system)));
    this.members = new Set(members.map(({ system, code }) => `${system}|${code}`));
  }

  hasMatch(asked) {
    const codes = Array.isArray(asked) ? asked : asked ? [asked] : [];
    return codes.some(({ system, code }) => this.members.has(`${system}|${code}`));
  }
}

function codeService(lists) {
  const sets = new Map(Object.entries(lists).map(([name, members]) => [name, new Codes(name, members)]));
  const find = (name) => {
    if (!sets.has(name)) throw new Error(`no value set ${name}`);
    return sets.get(name);
  };
  return { findValueSet: find, findValueSets: find, findValueSetsByOid: (name) => [find(name)] };
}

// An entry in words alone is given its words for a code, so that a value set can hold them.
function withWords(resource) {
  const { code } = resource;
  if (!code?.text || code.coding) return resource;
  const coding = [{ system: 'urn:second-opinion:words', code: code.text.toLowerCase() }];
  return { ...resource, code: { ...code, coding } };
}

const [written, lists] = process.argv.slice(2);
const library = translated(written);
const codes = codeService(JSON.parse(read(lists)));

const patients = fhir.PatientSource.FHIRv401(); // reads a large file: once

async function opinionOn({ now, resources, parameters }) {
  patients.reset();
  const entry = resources.map((resource) => ({ resource: withWords(resource) }));
  patients.loadBundles([{ resourceType: 'Bundle', type: 'collection', entry }]);
  const engine = new cql.Executor(library, codes, parameters);
  const found = await engine.exec(patients, cql.DateTime.parse(now));
  const [answers] = Object.values(found.patientResults);
  return Object.fromEntries(Object.entries(ANSWERS).map(([name, define]) => [name, answers[define] ?? null]));
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await opinionOn(JSON.parse(line)))}\n`);
}
