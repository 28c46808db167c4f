# shellcheck shell=bash
# Installs what building and testing need on a fresh Debian 12 or later; sourced by tests/run.sh and packaging/demo.sh.

say() { printf '%s\n' "$@"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    elif have sudo && [ -t 0 ]; then
        sudo "$@"
    else
        return 1
    fi
}

# need_debian COMMAND=PACKAGE...: installs the packages whose commands are missing.
need_debian() {
    local pair missing=()
    for pair in "$@"; do
        have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${missing[*]}"
    have apt-get || fail "these packages are missing and this is not Debian: ${missing[*]}"
    if ! as_root apt-get -o DPkg::Lock::Timeout=120 -qq update ||
        ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq -y \
            --no-install-recommends install "${missing[@]}" </dev/null >/dev/null; then
        fail "cannot install packages here; run this as root, then try again:
  apt-get update && apt-get install -y ${missing[*]}"
    fi
}

rust_works() { cargo --version >/dev/null 2>&1 && rustc --version 2>/dev/null | grep -q "^rustc $1"; }

# The toolchain that rust-toolchain.toml pins, by rustup. Call it in the repository.
need_rust() {
    local pinned commands installer
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    rust_works "$pinned" && return 0
    commands="  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none
  . \"\$HOME/.cargo/env\" && rustup toolchain install $pinned --profile minimal --component clippy,rustfmt"
    if ! have rustup; then
        say "installing rustup"
        installer=$(mktemp)
        if curl --proto '=https' --tlsv1.2 --connect-timeout 10 --max-time 120 -sSf -o "$installer" https://sh.rustup.rs; then
            sh "$installer" -y -q --profile minimal --default-toolchain none --no-modify-path || true
        fi
        rm -f "$installer"
    fi
    if have rustup; then
        say "installing Rust $pinned"
        rustup toolchain install "$pinned" --profile minimal --component clippy,rustfmt || true
    fi
    rust_works "$pinned" || fail "Rust $pinned is needed and cannot be had from here; where the network allows it, run:
$commands"
}

# need_rust_target TARGET: the standard library for it.
need_rust_target() {
    rustup target list --installed 2>/dev/null | grep -qx "$1" && return 0
    rustup target add "$1" >/dev/null 2>&1 ||
        fail "Rust's standard library for $1 is needed and cannot be had from here; where the network allows it, run:
  rustup target add $1"
}

# need_cargo_tool NAME VERSION: a program from the crate registry, unless some version of it is there.
need_cargo_tool() {
    have "$1" && return 0
    say "building $1 $2"
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/tools" cargo install --locked --quiet "$1" --version "$2" </dev/null ||
        fail "cannot install $1; run: cargo install --locked $1 --version $2"
}
