// Reads one FHIR resource a line from standard input. Writes, a line each, what the package fhir has against it: a list
// of texts, empty when nothing. Only its errors count: that it cannot look a code up is no error.

import { createInterface } from 'node:readline';
import { Fhir } from 'fhir';

const judge = new Fhir();

function wrongIn(resource) {
  try {
    return judge
      .validate(resource, { errorOnUnexpected: true })
      .messages.filter(({ severity }) => severity === 'error' || severity === 'fatal')
      .filter(({ location, message }) => !isFalseAlarm(resource, location, message))
      .map(({ location, message }) => `${location}: ${message}`);
  } catch (error) {
    return [`not readable: ${error.message}`];
  }
}

// It asks whether one of the choices is truthy (version 4.12, validateProperties), and takes `false` for missing.
function isFalseAlarm(resource, location, message) {
  const isAllowed = location === 'MedicationRequest.substitution.allowed[x]' && message === 'Missing property';
  return isAllowed && resource.substitution.allowedBoolean === false;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(wrongIn(JSON.parse(line))));
}
