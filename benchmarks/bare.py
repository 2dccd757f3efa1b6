"""The measure of all things here: a Flask endpoint that parses the same body and says almost nothing."""

from __future__ import annotations

import json

from flask import Flask, Response, jsonify, request

from cds_service.web.server import serve


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None, template_folder=None)

    @app.post("/bare")
    def bare() -> Response:
        body = request.get_data(cache=False)
        return jsonify({"cards": [], "bytes": len(body), "members": len(json.loads(body))})

    return app


if __name__ == "__main__":
    serve(create_app(), "127.0.0.1", 0)
