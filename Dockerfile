# The node in a container: docker build --target cpu -t dscsnet . (or --target gpu)
# How to run it: compose.yaml, docs/containers.md.

ARG CUDA=13.0.2
ARG EXTRA=gpu

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY engines engines
COPY pipeline pipeline
COPY detector_stub detector_stub
COPY tools tools
COPY dscsnet dscsnet
# Built here, so that neither build tools nor sources are in what runs.
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm AS cpu
COPY --from=build /wheels /wheels
RUN python -m venv /opt/dscsnet/venv \
    && /opt/dscsnet/venv/bin/pip install --no-cache-dir /wheels/*.whl \
    && rm -r /wheels
ENV PATH=/opt/dscsnet/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/opt/dscsnet/numba
# One run of the whole chain compiles every loop and shows that the image works; the check before it
# compiles most of them, without a limit on its time. They are root's, and no other user can write
# where they are: the node only reads them.
RUN dscsnet check && scratch="$(mktemp -d)" \
    && dscsnet demo --frames 20 --output "$scratch/demo" && rm -r "$scratch" \
    && chmod -R a+rX,go-w /opt/dscsnet
# A number, so that an orchestrator can tell that it is not root. Nothing belongs to this user.
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5580/readyz', timeout=3)"]
ENTRYPOINT ["dscsnet"]
CMD ["node", "-c", "/etc/dscsnet/node.yaml"]

# The GPU image needs a GPU while it is built (docs/containers.md): its engines are compiled then.
# TensorRT of the extra `gpu` is made for CUDA 13, whose driver is 580 or newer; for an older one:
# --build-arg CUDA=12.6.3 --build-arg EXTRA=gpu-cu12.
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS gpu-build
ARG EXTRA
# pycuda is compiled against CUDA's headers, which the final image does not have.
RUN apt-get update && apt-get install --yes --no-install-recommends \
        python3.12-dev python3.12-venv g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN python3.12 -m venv /opt/dscsnet/venv \
    && /opt/dscsnet/venv/bin/pip install --no-cache-dir "$(echo /wheels/dscsnet-*.whl)[$EXTRA]"

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04 AS gpu
RUN apt-get update && apt-get install --yes --no-install-recommends python3.12 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=gpu-build /opt/dscsnet/venv /opt/dscsnet/venv
ENV PATH=/opt/dscsnet/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DSCSNET_CACHE=/opt/dscsnet/cache NUMBA_CACHE_DIR=/opt/dscsnet/numba
# Engines and loops are root's, and no other user can write where they are.
RUN dscsnet check && scratch="$(mktemp -d)" \
    && dscsnet demo --frames 20 --output "$scratch/demo" && rm -r "$scratch" \
    && dscsnet model build --all \
    && chmod -R a+rX,go-w /opt/dscsnet
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=4s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5580/readyz', timeout=3)"]
ENTRYPOINT ["dscsnet"]
CMD ["node", "-c", "/etc/dscsnet/node.yaml"]
