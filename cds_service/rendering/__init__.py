"""The plan in words and draft orders: what the clinician sees."""
