# All programs in one image; which one runs is the command. Needs BuildKit, the default since Docker 23.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep downloaded crates and compiled dependencies between builds.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p acequia-worker -p acequia-publisher -p acequia-api \
    && install -D -t /out target/release/worker target/release/publisher target/release/api

FROM debian:bookworm-slim
# Certificates: for servers that want TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /usr/local/bin/
COPY --chmod=755 sql/demo /usr/local/share/acequia/demo
# A volume that is mounted here takes the folder's owner.
RUN install -d -o 10001 -g 10001 /var/lib/acequia/archive
USER 10001:10001
EXPOSE 9464
CMD ["worker", "run"]
