# shellcheck shell=bash disable=SC2154 # machine_root and others are set by machine.sh, checks.sh and package.sh
# What becomes of a package: in a second machine, in this order, by `life_of_a_package` of run.sh. Each function is a check,
# as in checks.sh.

# The service is stopped while jobs run and wait.
jobs_wait_for_a_reboot() {
    as_daemon rm -rf "$workspace/parts"
    configure $'[jobs]\nworkers = 2'
    for _ in 1 2 3 4 5; do as_ann assistantctl submit 'Do it in two parts.' >/dev/null; done
    settles 5 parts_are first 2
    inside systemctl stop assistantd.service
    [ "$(ask "SELECT count(*) FROM jobs WHERE status = 'completed'")" = 0 ] || wrong "they are done already"
    [ "$(ask "SELECT count(*) FROM jobs WHERE status = 'queued'")" -ge 3 ] || wrong "none is queued"
}

# Nobody connects: the database alone is asked.
a_reboot_alone_completes_them() {
    settles 30 jobs_are "completed 5 "
    [ "$(parts first) $(parts second)" = "5 5" ] || wrong "first: $(parts first), second: $(parts second)"
}

# What is there now and was not before the package, but for what systemd and dpkg keep of anything.
new_paths() {
    inside bash -c 'comm -13 /var/tmp/before <(find / -xdev | sort)' |
        grep -vE '^/(var/(log|cache|tmp|lib/(dpkg|apt|systemd/(catalog|random-seed|timesync|linger|rfkill|backlight|coredump)))|home|root|run|tmp)(/|$)' |
        grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid|ld\.so\.cache|machine-id|\.updated|\.pwd\.lock)-?$|/\.updated$|__pycache__|^/var/lib/dbus/machine-id$' |
        grep -vxE "/etc/systemd/system/[a-z-]+\.wants|/var/lib/systemd(/timers)?" || true
}

removed_it_keeps_its_state_and_purged_nothing() {
    local found
    drop_in assistantd.service $'[Service]\nMemoryMax=1G'
    inside systemctl restart assistantd.service
    inside apt-get remove --quiet --yes assistant
    inside test -s "$state/assistant.db"
    inside test -e "$workspace/parts/first"
    [ -e "$machine_root/etc/assistant/assistant.toml" ] || wrong "the configuration is gone"
    [ -z "$(inside pgrep -f assistant)" ] || wrong "still running: $(inside pgrep -fa assistant)"
    [ ! -e "$machine_root/run/assistant/api.sock" ] || wrong "the socket is still there"
    # Installed again it goes on with what it had.
    inside apt-get install --quiet --yes "$package"
    settles 5 jobs_are "completed 5 "
    mkdir -p "$machine_root/etc/credstore.encrypted"
    touch "$machine_root/etc/credstore.encrypted/llm-api-key" "$machine_root/etc/credstore.encrypted/of-another"
    inside apt-get purge --quiet --yes assistant
    inside userdel --remove ann 2>/dev/null
    inside userdel --remove bob 2>/dev/null
    found=$(new_paths)
    [ "$found" = $'/etc/credstore.encrypted\n/etc/credstore.encrypted/of-another' ] || wrong "left: $found"
    found=$(inside find /run /tmp /var -name '*assistant*' ! -path '/var/tmp/*' ! -path '/var/lib/dpkg/*' ! -path '/run/credentials*' ! -path '/var/cache/*')
    [ -z "$found" ] || wrong "left: $found"
    found=$(inside systemctl list-units --all --plain --no-legend 'assistant*' | grep -v slice || true)
    [ -z "$found" ] || wrong "$found"
    # The user stays, so that nobody else gets what it owned elsewhere, and cannot log in.
    inside getent shadow assistant | grep -qE '^assistant:[!*]' || wrong "$(inside getent shadow assistant)"
    rm -r "$machine_root/etc/credstore.encrypted"
}

# shellcheck disable=SC2016 # for dpkg-query
installed() { inside dpkg-query --show --showformat '${Version} ${Status}' assistant; }

# From a version that knows one file of migrations less, with jobs that run and wait, while requests come.
an_upgrade_loses_no_job() {
    local said
    inside apt-get install --quiet --yes /var/tmp/assistant_0.0.9.deb
    furnish_machine
    configure $'[jobs]\nworkers = 2'
    [ "$(ask 'PRAGMA user_version')" = 2 ] || wrong "the older version has the schema $(ask 'PRAGMA user_version')"
    for _ in 1 2 3 4 5; do as_ann assistantctl submit 'Do it in two parts.' >/dev/null; done
    settles 5 parts_are first 2
    # What people change is not what the package comes with, so that nobody is asked which to keep.
    as_root_ctl config set limits.max_iterations_per_task 77
    said=$(under_load 4 inside apt-get install --quiet --yes "$package" </dev/null) || wrong "$said"
    echo "$said"
    [ "$(installed)" = "0.1.0 install ok installed" ] || wrong "$(installed)"
    settles 30 jobs_are "completed 5 "
    [ "$(parts first) $(parts second)" = "5 5" ] || wrong "first: $(parts first), second: $(parts second)"
    [ "$(ask 'PRAGMA user_version')" = 3 ] || wrong "the schema is $(ask 'PRAGMA user_version')"
    inside find "$state/backups" -type f | grep -q . || wrong "there is no copy of the database before its change"
    said=$(under_load 4 inside apt-get install --quiet --yes /var/tmp/assistant_0.2.0.deb </dev/null) || wrong "$said"
    grep -q 'Of a later version' "$machine_root/etc/assistant/assistant.toml" || wrong "the new configuration file is not there"
    [[ $(as_ann assistantctl config show limits.max_iterations_per_task) == *77* ]] || wrong "what was set is gone"
    said=$(inside dpkg --verify assistant | grep ' c ' || true)
    [ -z "$said" ] || wrong "$said"
    # What an administrator writes into the file itself stays as well.
    sed -i 's/^# Of a later version.*/# Mine./' "$machine_root/etc/assistant/assistant.toml"
    inside apt-get install --quiet --yes --reinstall /var/tmp/assistant_0.2.0.deb </dev/null
    grep -q '^# Mine' "$machine_root/etc/assistant/assistant.toml" || wrong "the administrator's file was replaced"
    sed -i 's/^# Mine.*/# Of a later version./' "$machine_root/etc/assistant/assistant.toml"
}
as_root_ctl() { inside assistantctl "$@"; }

# The way back: the older program refuses the newer database and says what to do.
a_downgrade_is_refused_by_the_database() {
    inside apt-get install --quiet --yes --allow-downgrades /var/tmp/assistant_0.0.9.deb
    settles 20 refuses
    [ "$(ask 'PRAGMA user_version')" = 3 ] || wrong "it was changed"
    # As docs/installation.md says.
    inside systemctl stop assistantd.socket assistantd.service
    inside assistantctl backup list | grep -q before-v3-from-v2.db
    inside env ASSISTANT_TEST_SCHEMA=2 assistantctl backup restore before-v3-from-v2.db --force
    inside systemctl reset-failed assistantd.service assistantd.socket
    inside systemctl start assistantd.service
    settles 10 is_ready
    inside assistantctl resume
    [ "$(ask 'PRAGMA user_version')" = 2 ] || wrong "it is not the copy"
    settles 30 jobs_are "completed 5 "
}

# What the upgrade changes fails in the middle: nothing is changed, and the way back is told.
a_failed_migration_leaves_the_database() {
    inside systemctl stop assistantd.service
    change 'CREATE INDEX idempotency_age ON idempotency (created_at)'
    inside apt-get install --quiet --yes "$package"
    settles 10 tells_of_the_migration
    inside systemctl stop assistantd.service
    [ "$(ask 'PRAGMA user_version')" = 2 ] || wrong "the schema is $(ask 'PRAGMA user_version')"
    [ "$(ask "SELECT count(*) FROM sqlite_schema WHERE name = 'trash_age'")" = 0 ] || wrong "a part of the change is there"
    jobs_are "completed 5 " || wrong "jobs are lost"
    change 'DROP INDEX idempotency_age'
    inside systemctl reset-failed assistantd.service assistantd.socket
    inside systemctl start assistantd.service
    settles 10 is_ready
    [ "$(ask 'PRAGMA user_version')" = 3 ] || wrong "the schema is $(ask 'PRAGMA user_version')"
}
change() { as_daemon python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])' "$state/assistant.db" "$1"; }
tells_of_the_migration() { inside journalctl --no-pager --unit assistantd --lines 50 | grep -q 'migrating the database: 0003_ages.*idempotency_age already exists'; }
refuses() { inside journalctl --no-pager --unit assistantd --lines 50 | grep -q 'has schema version 3, this program knows 2'; }

# dpkg goes back when a script fails, and scripts may run twice.
scripts_can_fail_and_repeat() {
    inside apt-get install --quiet --yes /var/tmp/assistant_0.3.0.deb && wrong "it was installed"
    [ "$(installed)" = "0.1.0 install ok installed" ] || wrong "$(installed)"
    settles 5 is_ready
    local scripts=/var/lib/dpkg/info/assistant words
    for words in "postinst configure 0.1.0" "postinst configure 0.1.0" "postinst abort-upgrade 0.3.0" "postinst abort-remove" \
        "postinst abort-deconfigure in-favour other 1" "prerm upgrade 0.3.0" "prerm failed-upgrade 0.0.9 0.1.0" \
        "postrm upgrade 0.3.0" "postrm failed-upgrade 0.0.9 0.1.0" "postrm abort-install" "postrm abort-upgrade 0.1.0" \
        "postrm disappear other 1" "prerm deconfigure in-favour other 1"; do
        # shellcheck disable=SC2086 # words
        inside $scripts.$words || wrong "$words"
        settles 5 is_ready
    done
    [ "$(inside systemctl is-enabled assistantd.service)" = enabled ] || wrong "it is not enabled any more"
    for words in 'prerm remove' 'prerm remove' 'postrm remove' 'postrm remove'; do
        # shellcheck disable=SC2086 # words
        inside $scripts.$words || wrong "$words"
    done
    inside $scripts.postinst configure 0.1.0
    settles 5 is_ready
    for words in purge purge; do inside cp $scripts.postrm /var/tmp/postrm; inside /var/tmp/postrm $words || wrong "$words"; done
}

# Rules for user namespaces are known from AppArmor 4 on; in its place there is what shows its version.
a_profile_is_laid_where_apparmor_reads_it() {
    local profile=$machine_root/etc/apparmor.d/assistant-sandbox
    [ ! -e "$profile" ] || wrong "it is laid where it cannot be read"
    mkdir -p "$machine_root/etc/apparmor.d/abi"
    : >"$machine_root/etc/apparmor.d/abi/4.0"
    inside dpkg-reconfigure assistant
    cmp "$profile" packaging/apparmor/assistant-sandbox
    inside env DPKG_MAINTSCRIPT_PACKAGE=assistant /var/lib/dpkg/info/assistant.postrm remove
    [ ! -e "$profile" ] || wrong "it stays when the package goes"
    rm -r "$machine_root/etc/apparmor.d"
    settles 10 is_ready
}
