// Plays an EHR with Medplum's SDK: finds the service of a hook, resolves its prefetch against a FHIR server, and calls.
//
// Reads from standard input {fhir, services, hook, user, context}: the base URL of a FHIR server, the URL of discovery,
// the hook, who is logged in, and the context of the call. Writes {service, request, cards}; or {refused}, which is what
// the SDK makes of a refusal.

import { webcrypto } from 'node:crypto';
import { text } from 'node:stream/consumers';

// The package is made for Node 22. Debian's is older, and lacks these two; no socket is opened here.
globalThis.crypto ??= webcrypto;
globalThis.WebSocket ??= class extends EventTarget {};
const { MedplumClient, buildCdsRequest, normalizeErrorString } = await import('@medplum/core');

const given = JSON.parse(await text(process.stdin));
const { origin, pathname } = new URL(given.fhir);
const medplum = new MedplumClient({
  baseUrl: origin,
  fhirUrlPath: pathname.slice(1),
  cdsServicesUrl: given.services,
  cacheTime: 0,
  maxRetries: 0,
});

try {
  const { services } = await medplum.getCdsServices();
  const service = services.find((one) => one.hook === given.hook);
  const request = await buildCdsRequest(medplum, given.user, service, given.context);
  const { cards } = await medplum.callCdsService(service.id, request);
  process.stdout.write(JSON.stringify({ service: service.id, request, cards }));
} catch (error) {
  process.stdout.write(JSON.stringify({ refused: normalizeErrorString(error) }));
}
