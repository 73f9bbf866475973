#!/bin/sh
# The guest that `docker compose up` boots: NGINX at port 8080 and Redis at 6379, unmodified, until
# the kernel is told to end. Redis's data lie in DATA, if that is there.
set -eu
mkdir -p /tmp/serve/pages
cd /tmp/serve
cat >pages/index.html <<END
<!doctype html>
<title>Hardtack</title>
<h1>Hardtack</h1>
<p>NGINX, unmodified, sends you this page from inside a kernel that is written in Python and runs on
an emulated processor.</p>
<p>$(uname -a)</p>
END
cat >nginx.conf <<'END'
worker_processes 2;
daemon off;
pid nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    default_type text/html;
    sendfile on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 8080;
        root pages;
        location = /status { stub_status; }
    }
}
END
data=${DATA:-.}
[ -d "$data" ] || data=.
nginx -p . -e stderr -c nginx.conf &
servers=$!
redis-server --port 6379 --protected-mode no --dir "$data" --appendonly yes --loglevel warning &
servers="$servers $!"
trap 'kill $servers; wait; exit 0' TERM INT
echo "NGINX at port 8080, Redis at port 6379"
wait
