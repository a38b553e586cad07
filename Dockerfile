# Two stages: the compilers stay in the first. Build with `docker build -t msad .`
FROM debian:12-slim AS build
COPY scripts/packages /src/scripts/packages
RUN . /src/scripts/packages \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $build_packages \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN meson setup /build /src --buildtype=release --prefix=/usr \
    && ninja -C /build msad msa models \
    && DESTDIR=/out meson install -C /build --no-rebuild --strip

FROM debian:12-slim
COPY scripts/packages /tmp/packages
RUN . /tmp/packages \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $runtime_packages \
    && rm -rf /var/lib/apt/lists/* /tmp/packages \
    && useradd --uid 10001 --user-group --home-dir /var/lib/msad --create-home --shell /usr/sbin/nologin msad
COPY --from=build /out/ /
USER msad
WORKDIR /var/lib/msad
# Catalogue, received objects and results. What must survive the container lies here.
VOLUME /var/lib/msad
# DICOM listens on all addresses of the container; REST stays on its loopback:
# MSAD_HTTP_BIND names another address once there are access tokens (msad token create).
ENV MSAD_STORAGE_PATH=/var/lib/msad/data \
    MSAD_DICOM_BIND=0.0.0.0 \
    MSAD_DICOM_PORT=11112 \
    MSAD_HTTP_PORT=8090
EXPOSE 11112
# SIGTERM drains: associations end, a running job goes back to the queue.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD curl -fsS -o /dev/null "http://127.0.0.1:${MSAD_HTTP_PORT}/healthz" || exit 1
ENTRYPOINT ["/usr/bin/msad"]
