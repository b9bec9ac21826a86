# Two stages: packages are built beside a compiler-free Debian, then only the result is kept.
# Behind a proxy that re-signs TLS, pass the optional build secrets pip_conf and ca_bundle.
FROM debian:bookworm-slim AS build
RUN dpkg -s python3-venv >/dev/null 2>&1 || \
    (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv)
RUN python3 -m venv /opt/swarm && python3 -m venv /opt/build
COPY requirements.lock /src/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/swarm/bin/pip install --no-cache-dir --no-deps --require-hashes -r /src/requirements.lock && \
    /opt/build/bin/pip install --no-cache-dir hatchling
COPY pyproject.toml README.md LICENSE /src/
COPY p2p /src/p2p
COPY storage /src/storage
COPY swarmnode /src/swarmnode
RUN cd /src && /opt/build/bin/python -m hatchling build -t wheel -d /wheels && \
    /opt/swarm/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl && \
    /opt/swarm/bin/pip uninstall -y -q pip setuptools

FROM debian:bookworm-slim
RUN dpkg -s bubblewrap tini python3 >/dev/null 2>&1 || \
    (apt-get update && apt-get install -y --no-install-recommends python3 bubblewrap tini ca-certificates \
     && rm -rf /var/lib/apt/lists/*)
RUN useradd --system --uid 10001 --home-dir /var/lib/swarm --create-home --skel /dev/null swarm && \
    chmod 0700 /var/lib/swarm && install -d -o swarm -g swarm -m 0700 /door
COPY --from=build /opt/swarm /opt/swarm
ENV PATH=/opt/swarm/bin:/usr/bin:/bin SWARM_HOME=/var/lib/swarm PYTHONUNBUFFERED=1
USER swarm
VOLUME /var/lib/swarm
EXPOSE 4770 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/swarm/bin/python", "-I", "-m", "swarmnode.cli.health"]
ENTRYPOINT ["tini", "--", "swarmnode"]
CMD ["run"]
