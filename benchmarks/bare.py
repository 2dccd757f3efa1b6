"""
The measure of all things here: a Flask endpoint that parses the same body and says almost nothing.

As a script it listens on waitress, as the service does, or with `--gunicorn` on gunicorn's threads.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from flask import Flask, Response, jsonify, request


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None, template_folder=None)

    @app.post("/bare")
    def bare() -> Response:
        body = request.get_data(cache=False)
        return jsonify({"cards": [], "bytes": len(body), "members": len(json.loads(body))})

    return app


def on_gunicorn() -> None:
    """One process with eight threads, on a socket that is open before gunicorn starts."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/bare", flush=True)
    command = ["gunicorn", "--worker-class", "gthread", "--threads", "8", "--bind", f"fd://{listening.fileno()}"]
    where = ["--pythonpath", str(Path(__file__).parent), "bare:create_app()"]
    os.execv(sys.executable, [sys.executable, "-m", *command, *where])  # noqa: S606  (no shell, and no other's words)


if __name__ == "__main__":
    if "--gunicorn" in sys.argv:
        on_gunicorn()
    from cds_service.web.server import serve

    serve(create_app(), "127.0.0.1", 0)
