# One image for the three functions, the stage programs configure and publish, and the CLI. FUNCTION_TARGET (submit,
# advance or status) selects the function; any other command runs instead of the server.
#   docker build -t REGISTRY/sluice:0.1.0 .
# The target `migrate` adds Alembic, which only `sluice migrate` and POST /pgsqlinit need:
#   docker build --target migrate -t REGISTRY/sluice:0.1.0-migrate .
# The target `otel` adds OpenTelemetry, for functions that push traces and metrics (docs/observability.md):
#   docker build --target otel -t REGISTRY/sluice:0.1.0-otel .

# The digest is that of the index for all architectures, so both amd64 and arm64 build from it.
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea AS base
# The official image has no bytecode of the standard library, and a container's user cannot write any: without this every
# process compiles what it imports. With unchecked-hash Python trusts the bytecode whatever becomes of the files' times;
# -B keeps the compiler from writing bytecode of the other kind for what it imports itself.
RUN python -B -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|lib2to3|site-packages|test|tkinter|turtledemo)/' /usr/local/lib/python3*

FROM base AS build
WORKDIR /build
# The dependencies come first, because they change less often than the code.
COPY pyproject.toml constraints.txt ./
COPY tools/image_requirements.py tools/
RUN python tools/image_requirements.py functions > requirements.txt \
 && python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile -r requirements.txt -c constraints.txt \
 && python -B -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY README.md LICENSE gunicorn.conf.py ./
COPY functions functions
COPY knative/base knative/base
# install sets the mode; COPY would keep that of a checkout with a strict umask, which the container's user cannot read.
RUN pip install --no-cache-dir --no-compile --no-deps --target /app . \
 && sed -i '1s|.*|#!/opt/venv/bin/python|' /app/bin/sluice \
 && install -m 644 gunicorn.conf.py /app/ \
 && python -B -m compileall -q -j 0 --invalidation-mode unchecked-hash /app

# The variants compile only what they add. The stage `build` has compiled the rest.
FROM build AS build-migrate
RUN python tools/image_requirements.py migrate > requirements.txt \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile -r requirements.txt -c constraints.txt \
 && find /opt/venv/lib -name '*.py' -newer requirements.txt \
  | python -B -m compileall -q --invalidation-mode unchecked-hash -i -

FROM build AS build-otel
RUN python tools/image_requirements.py otel > requirements.txt \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile -r requirements.txt -c constraints.txt \
 && find /opt/venv/lib -name '*.py' -newer requirements.txt \
  | python -B -m compileall -q --invalidation-mode unchecked-hash -i -

FROM base AS runtime
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="Compute-to-data on Knative: functions, stage programs and CLI" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
# One heap for all threads: with one for each, glibc keeps most of what a large answer has needed.
ENV PATH=/opt/venv/bin:/app/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=1
WORKDIR /app
USER 65532:65532
EXPOSE 8080
CMD ["gunicorn", "--config", "/app/gunicorn.conf.py"]

FROM runtime AS migrate
COPY --from=build-migrate /opt/venv /opt/venv
COPY --from=build /app /app

FROM runtime AS otel
COPY --from=build-otel /opt/venv /opt/venv
COPY --from=build /app /app

FROM runtime AS functions
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
