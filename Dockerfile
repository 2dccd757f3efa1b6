# The service in an image: one process, no root, no shell needed, nothing written outside two folders.
#
# The base is pinned by its tag. Its digest was not to be had where this was written: pin it before you deploy, with
# `docker buildx imagetools inspect python:3.11-slim-bookworm`, as python:3.11-slim-bookworm@sha256:…

# ---- Build: the packages by their hashes, then the wheel. The tools for building stay behind here.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/builder && python -m venv --without-pip /opt/cds-service
COPY requirements-run.lock requirements-build.lock ./
RUN /opt/builder/bin/python -m pip install --require-hashes --only-binary :all: -r requirements-build.lock \
    && /opt/builder/bin/python -m pip --python /opt/cds-service/bin/python install \
       --require-hashes --only-binary :all: -r requirements-run.lock
COPY pyproject.toml README.md LICENSE NOTICE openapi.yaml ./
COPY cards cards
COPY cds_service cds_service
RUN /opt/builder/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/builder/bin/python -m pip --python /opt/cds-service/bin/python install --no-deps --no-index wheels/*.whl \
    && /opt/cds-service/bin/cds-service check

# ---- Run: Python, the packages, the service.
FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="cds-service" \
      org.opencontainers.image.description="CDS Hooks service: postpartum depression risk, and eligibility for ketamine or esketamine at delivery. Not clinically reviewed." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/cds-service /opt/cds-service
# A SQLite file would lie here, on a volume. With PostgreSQL nothing is written but large bodies, for a moment, in /tmp.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/cds-service
WORKDIR /var/lib/cds-service
ENV PATH=/opt/cds-service/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["/opt/cds-service/bin/python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/cds-service/bin/cds-service"]
CMD ["serve", "--tenants", "/etc/cds-service/tenants.toml", "--host", "0.0.0.0", "--port", "8000"]
