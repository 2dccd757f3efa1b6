"""The thinking: pure functions from facts to a plan. No clock, wire, log, database or FHIR resource gets in here."""
