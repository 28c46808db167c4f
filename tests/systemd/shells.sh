# shellcheck shell=bash disable=SC2154 # packages is set by run.sh
# The completions of the package in the shells that they are for; sourced by run.sh. Needs no machine.

# In each shell: `sub` becomes `submit`, an option of a command is completed, and so is a value that has a fixed set.
shells_complete_what_is_typed() {
    local here
    here=$(mktemp -d)
    # shellcheck disable=SC2064 # now
    trap "rm -rf '$here'" EXIT
    dpkg-deb --extract "$packages/assistant_0.1.0.deb" "$here"
    export PATH="$here/usr/bin:$PATH" HOME="$here"
    in_bash "$here/usr/share/bash-completion/completions/assistantctl" || wrong "bash"
    in_zsh "$here/usr/share/zsh/vendor-completions" || wrong "zsh"
    in_fish "$here/usr/share/fish/vendor_completions.d/assistantctl.fish" || wrong "fish"
}

in_bash() {
    bash --norc --noprofile -ec '. "$1"
        complete -p assistantctl | grep -q -- "-F _assistantctl"
        typed() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _assistantctl assistantctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "$*: ${COMPREPLY[*]}"
        }
        typed assistantctl "sub" | grep -qx ".*: submit"
        typed assistantctl submit --fol | grep -qx ".*: --follow"
        typed assistantctl setup --provider anth | grep -qx ".*: anthropic"' bash "$1"
}

in_fish() {
    # shellcheck disable=SC2016 # for fish
    fish --no-config --command 'source $argv[1]
        complete --do-complete "assistantctl "sub
        complete --do-complete "assistantctl submit --fol"' "$1" >"$1.said" || return
    cat "$1.said"
    grep -q '^submit	' "$1.said" && grep -q '^--follow' "$1.said"
}

# A shell at a terminal of its own, in which the tabulator is pressed.
in_zsh() {
    local said=$1/said
    cat >"$1/type" <<'ZSH'
zmodload zsh/zpty
# answer TEXT: ends when it has come, or after ten seconds.
answer() {
    local part said=
    repeat 100; do
        while zpty -r -t shell part; do said+=$part; done
        [[ $said != *$1* ]] || return 0
        sleep 0.1
    done
    print -r -- "not answered: $1 in ${(V)said}"
    exit 1
}
zpty shell zsh -f -i
zpty -w shell "PS1= RPS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word; print RE''ADY"
answer READY
zpty -w -n shell $'assistantctl 'subm$'\t'
answer "assistantctl submit"
zpty -w -n shell $'--fol\t'
answer "--follow"
zpty -d shell
ZSH
    zsh -f "$1/type" "$1" >"$said" || { cat "$said"; return 1; }
}
