# shellcheck shell=bash disable=SC2154 # machine_root is set by machine.sh
# What the package promises on a host with systemd; sourced by run.sh, with a machine booted and the package in its /var/tmp.
# Each function is a check, as in checks.sh.

the_package_installs() {
    inside apt-get install --quiet --yes /var/tmp/assistant.deb
    for unit in assistantd.socket assistantd.service assistant-sandbox.socket; do
        [ "$(inside systemctl is-enabled "$unit") $(inside systemctl is-active "$unit")" = "enabled active" ] || wrong "$unit"
    done
}
