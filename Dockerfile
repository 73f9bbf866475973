# The kernel in a container: built in one stage, run without compilers or root in another.
# Another base (a mirror's, a newer Python) is a build argument: --build-arg BASE=python:3.12-slim;
# deploy/base.sh makes one of Debian's packages alone.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python -m venv /opt/hardtack
COPY deploy/requirements.txt deploy/requirements.txt
RUN /opt/hardtack/bin/pip install --no-cache-dir --disable-pip-version-check \
        -r deploy/requirements.txt
COPY pyproject.toml README.md ./
COPY boot boot
COPY bus bus
COPY services services
COPY maxlive maxlive
COPY bench bench
RUN /opt/hardtack/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
    && /opt/hardtack/bin/python -m compileall -q /opt/hardtack/lib \
    && /opt/hardtack/bin/hardtack version

FROM ${BASE}
# What the guest serves with; a base may have them already.
RUN { command -v nginx && command -v redis-server; } >/dev/null || { \
        apt-get update -qq \
        && apt-get install -y -qq --no-install-recommends nginx-light redis-server redis-tools \
        && rm -rf /var/lib/apt/lists/*; }
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin hardtack \
    && install -d -o hardtack -g hardtack -m 0700 /data
COPY --from=build /opt/hardtack /opt/hardtack
COPY deploy/servers.sh /opt/hardtack/servers.sh
ENV PATH=/opt/hardtack/bin:$PATH \
    XDG_RUNTIME_DIR=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
EXPOSE 9100 8080 6379
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/healthz', timeout=4)"]
# The guest's / is the image's own, under a memory overlay: its shell and coreutils run unmodified.
ENTRYPOINT ["hardtack"]
CMD ["run", "--ram", "256M", "--metrics", "0.0.0.0:9100", "-p", "8080:8080", "-p", "6379:6379", \
     "--", "/opt/hardtack/servers.sh"]
