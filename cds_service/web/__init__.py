"""The front door. The only room that knows Flask."""
