#!/usr/bin/env bash
# Has Schemathesis make requests from docs/openapi.json and send them to a real daemon over TCP: no answer may be a failure of
# the server, and none may have a status, a type or a shape that the document does not name.
#   tests/schema/run.sh [OPTION...]    further options of `schemathesis run`, such as --include-path /api/jobs; ASSISTANTD names
#                                      a daemon that is built already
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. packaging/prerequisites.sh

VERSION=4.32.5
SECONDS_AT_MOST=75
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
need_debian python3=python3 curl=curl
python3 -c 'import ensurepip' 2>/dev/null || need_debian no-such-command=python3-venv

# In an environment of its own; nothing else of the host sees it.
venv=$CARGO_TARGET_DIR/schemathesis-$VERSION
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "schemathesis==$VERSION" ||
        fail "cannot fetch schemathesis $VERSION (pip)"
    touch "$venv/complete"
fi

if [ -z "${ASSISTANTD:-}" ]; then
    cargo build --quiet --locked --bin assistantd
    ASSISTANTD=$CARGO_TARGET_DIR/debug/assistantd
fi
scratch=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; wait 2>/dev/null; rm -rf "$scratch"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Nobody logs in: a token would be revoked, and a session ended, by what is sent. No model is there, and no command runs.
cat >"$scratch/assistant.toml" <<TOML
[api]
bind_host = "127.0.0.1"
port = $port
auth = "none"
docs_enabled = true
openapi_enabled = true
[llm]
provider = "openai"
model = "none"
base_url = "http://127.0.0.1:9/v1"
[sandbox]
enabled = false
TOML
"$ASSISTANTD" --config "$scratch/assistant.toml" --state-dir "$scratch/state" \
    --runtime-dir "$scratch/run" >"$scratch/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$port/health/ready" >"$scratch/answer" && break
    sleep 0.1
done
[ -s "$scratch/answer" ] || { cat "$scratch/log" >&2; fail "the daemon did not start"; }

status=0
# The stream of events has no end. An Origin makes every change one of a page of the daemon's own.
(cd "$scratch" && timeout $((SECONDS_AT_MOST + 60)) "$venv/bin/schemathesis" run "$OLDPWD/docs/openapi.json" \
    --url "http://127.0.0.1:$port" --header "Origin: http://127.0.0.1:$port" --seed 1 --workers 2 --no-color \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-time "$SECONDS_AT_MOST" --max-examples 25 --request-timeout 10 \
    --suppress-health-check all --warnings off --exclude-path /api/events "$@") || status=$?
kill -0 "$daemon" 2>/dev/null || { tail -20 "$scratch/log" >&2; fail "the daemon has ended"; }
if grep -q "panicked" "$scratch/log"; then
    grep "panicked" "$scratch/log" | head -5 >&2
    status=1
fi
exit $status
