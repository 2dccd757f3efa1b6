"""The CDS Hooks wire format: what a request and an answer look like. Shapes without behaviour."""
