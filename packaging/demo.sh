#!/usr/bin/env bash
# Shows the assistant at work: builds it, starts a private daemon as the calling user in a temporary directory, gives
# it a real job on real files, streams its steps, and prints the result.
#   packaging/demo.sh             stops the daemon at the end
#   packaging/demo.sh --keep      leaves it running and prints commands to try next
#   packaging/demo.sh --release   builds with optimization (takes minutes; without it the build is faster to make)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/prerequisites.sh

keep=no profile=dev
for option in "$@"; do
    case $option in
        --keep) keep=yes ;;
        --release) profile=release ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' packaging/demo.sh; exit 0 ;;
        *) fail "unknown option $option; see packaging/demo.sh --help" ;;
    esac
done

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/assistant-target}
need_debian gcc=build-essential curl=curl
need_rust

say "building the $profile profile into $CARGO_TARGET_DIR"
cargo build --quiet --locked --profile "$profile" --bin assistantd --bin assistantctl --package assistantd --package assistantctl
cargo build --quiet --locked --profile "$profile" --package assistant-sandbox --package assistant-mail --bins
bin=$CARGO_TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo release)

demo=$(mktemp -d /tmp/assistant-demo.XXXXXX)
daemon=
stop() {
    if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then
        wait "$daemon" || say "the daemon ended with code $?; see $demo/daemon.log"
    fi
    daemon=
}
trap stop EXIT

# Which model works: one the environment names, an Ollama on this machine, or a rehearsal.
model_at_hand() {
    local name
    for name in OPENROUTER_API_KEY OPENAI_API_KEY ANTHROPIC_API_KEY ASSISTANT_LLM_API_KEY AGENT_LLM_BASE_URL; do
        [ -z "${!name:-}" ] || { say "the model of $name works on the job"; return 0; }
    done
    if curl --silent --fail --noproxy '*' --max-time 2 --output /dev/null http://127.0.0.1:11434/api/tags; then
        say "the Ollama on this machine works on the job"
        return 0
    fi
    return 1
}

: >"$demo/assistant.toml"
if ! model_at_hand; then
    say "no model is configured: the daemon of this demo plays recorded answers (llm.provider = \"rehearsal\")"
    say "(with OPENROUTER_API_KEY, OPENAI_API_KEY or ANTHROPIC_API_KEY set, or an Ollama here, a real model works)"
    printf '[llm]\nprovider = "rehearsal"\n' >"$demo/assistant.toml"
fi

# The files of the job.
mkdir -p "$demo/reports"
printf 'date,item,amount\n2026-01-05,paper,12.50\n2026-01-19,ink,30.00\n2026-02-02,paper,12.50\n' >"$demo/reports/office.csv"
printf 'date,item,amount\n2026-01-11,train,48.20\n2026-02-14,train,51.80\n2026-03-03,hotel,129.00\n' >"$demo/reports/travel.csv"
printf 'date,item,amount\n2026-02-20,books,64.90\n2026-03-17,course,240.00\n' >"$demo/reports/training.csv"

export ASSISTANT_SOCKET=$demo/run/api.sock
ctl=$bin/assistantctl
nohup "$bin/assistantd" --config "$demo/assistant.toml" --state-dir "$demo/state" --runtime-dir "$demo/run" \
    </dev/null >"$demo/daemon.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
    "$ctl" query GET /health >/dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
done
"$ctl" query GET /health >/dev/null || { cat "$demo/daemon.log" >&2; fail "the daemon did not start"; }
say "the daemon runs as $(id -un), process $daemon"

cd "$demo"
task="Read the CSV files in reports/ and write summary.md with totals per month"
say "" "\$ assistantctl submit \"$task\" --attach reports --follow --get result"
status=0
"$ctl" submit "$task" --attach reports --follow --get "$demo/result" || status=$?

say ""
find result -type f -print 2>/dev/null | while read -r file; do
    say "== $demo/$file"
    cat "$file"
    say ""
done
say "everything lies in $demo:"
say "  reports/            the files of the job"
say "  result/             what the job wrote, copied out"
say "  state/workspace/    the workspace itself"
say "  state/              database and everything else the daemon keeps"
say "  daemon.log          what the daemon said"

if [ "$keep" = yes ]; then
    say "" "the daemon still runs; try:" \
        "  export ASSISTANT_SOCKET=$ASSISTANT_SOCKET PATH=$bin:\$PATH" \
        "  assistantctl status" \
        "  assistantctl jobs" \
        "  assistantctl job show 1" \
        "  assistantctl job logs 1" \
        "  assistantctl files ls" \
        "  assistantctl submit \"$task\" --attach $demo/reports --wait" \
        "and when you have seen enough:" \
        "  kill $daemon && rm -r $demo"
    disown "$daemon"
    daemon=
else
    stop
    say "the daemon is stopped; when you have seen enough: rm -r $demo"
fi
exit "$status"
