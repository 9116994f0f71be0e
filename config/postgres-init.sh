#!/bin/sh
# Runs inside the postgres image at the first start of an empty volume (docker-entrypoint-initdb.d).
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set "app_user=$APP_USER" --set "app_password=$APP_PASSWORD" --set "app_db=$APP_DB" \
  --file /etc/acequia/postgres-init.sql
