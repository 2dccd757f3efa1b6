"""The CDS Hooks wire format: requests and feedback taken apart, answers put together, and what counts as JSON."""
