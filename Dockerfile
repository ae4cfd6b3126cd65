# One image for the three functions, the configure and publish programs, and the CLI.
# FUNCTION_TARGET (submit, advance or status) picks the function; any other command runs instead of the server.
FROM python:3.12-slim AS build
WORKDIR /build
# The dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
 && python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile -r requirements.txt -c constraints.txt \
 # The asynchronous twin of the Kubernetes client: a fifth of all, and never imported.
 && rm -r /opt/venv/lib/python3.12/site-packages/kubernetes/aio
COPY README.md LICENSE gunicorn.conf.py ./
COPY functions functions
COPY knative/base knative/base
RUN pip install --no-cache-dir --no-compile --no-deps --target /app . \
 && sed -i '1s|.*|#!/opt/venv/bin/python|' /app/bin/sluice \
 # Not by COPY, which keeps the mode: from a checkout with a strict umask the image's user could not read it.
 && install -m 644 gunicorn.conf.py /app/ \
 # Without compiled bytecode a function starts nearly three times slower. unchecked-hash: whatever a builder does to
 # the files' times, Python never looks at the sources again.
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app

FROM python:3.12-slim
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/app/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
USER 65532:65532
EXPOSE 8080
CMD ["gunicorn", "--config", "/app/gunicorn.conf.py"]
