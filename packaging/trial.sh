#!/usr/bin/env bash
# Tries the package under a real systemd as an operator would meet it: start, reload, hang, kill, stop, reboot, power cut.
# The stand-in for the API runs beside the service, so no network is needed. Run it as root in a machine or container that
# is thrown away afterwards: it installs the package and fills /srv. Needs curl.
#
# usage: trial.sh install PACKAGE [HANG]   all that needs no second boot. HANG: tests/fixtures/hang.c as a library
#                                          (cc -shared -fPIC -o hang.so tests/fixtures/hang.c); without it nothing hangs
#        trial.sh again                    after a reboot of the same machine
#        trial.sh cut PACKAGE              prints what is in its cell, then ends the machine in the middle of writes (a virtual
#                                          machine, by sysrq)
#        trial.sh after-cut LINES          after that; LINES: what `cut` had printed
#
# Prints a line for each thing that was tried; exit status 1 when one of them went wrong.
set -uo pipefail

document=Iow7sNNEphp3WbtnbCscPqabcef
api=http://127.0.0.1:8480
wrong=0

say() { printf '%s %s\n' "$1" "${*:2}"; }
# WHAT COMMAND...
check() {
    local what=$1 told
    shift
    if told=$("$@" 2>&1); then say "ok    " "$what"; else wrong=1 && say "FAILED" "$what: $told"; fi
}
# SECONDS COMMAND...
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "not in time: $*"; return 1; }
        sleep 0.1
    done
}
equal() { [[ "$1" == "$2" ]] || { echo "$1 is not $2"; return 1; }; }
less() { [[ "$1" -lt "$2" ]] || { echo "$1 is not below $2"; return 1; }; }

now() { date +%s%N; }
# Milliseconds since.
since() { echo $((($(now) - $1) / 1000000)); }

# --- the stand-in

sandbox() { curl -fsS "$api/_sandbox/$1" "${@:2}"; }
fault() { sandbox faults -H 'content-type: application/json' -d "$1"; }
start_sandbox() {
    systemd-run --quiet --unit=stand-in --property=Restart=no /usr/bin/pixcell sandbox --listen 127.0.0.1:8480 \
        --spreadsheet "$document" --sheet Lobby --quiet
    within 30 sandbox 'state?calls=0'
}
# Calls that wrote, or tried to.
writes() {
    local writes
    writes=$(sandbox 'state?calls=0' | grep -o '"values_image":[0-9]*')
    echo "${writes##*:}" | grep . || echo 0
}
in_flight() { sandbox 'state?calls=0' | grep -q '"in_flight":\[{'; }
# CELL FILE
holds() { sandbox "cells/$document/Q7PlXT/$1/image" | cmp - "$2"; }

# --- pictures

# A picture of its own, 8 by 8, whole from its first moment under its name.
picture() {
    {
        printf 'BM\xf6\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x08\0\0\0\x08\0\0\0\x01\0\x18\0\0\0\0\0\xc0\0\0\0'
        printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
        head -c 192 /dev/urandom
    } >"$1.part"
    mv "$1.part" "$1"
}
# FOLDER CELL: drops one and waits until it is there.
through() {
    picture "$1/$2.bmp"
    within 60 holds "$2" "$1/$2.bmp"
}

# --- the service

configure() {
    local folder
    install -d -m 755 /etc/pixcell
    printf 'sandbox-secret\n' >/etc/pixcell/app_secret
    chmod 600 /etc/pixcell/app_secret
    {
        printf 'feishu: {endpoint: "%s", app_id: cli_sandbox}\n' "$api"
        printf 'status: {listen: "127.0.0.1:8484"}\nmappings:\n'
        for folder in "$@"; do
            install -d -m 755 "/srv/$folder"
            printf '  - {name: %s, folder: /srv/%s, spreadsheet: %s, sheet: Lobby,' "$folder" "$folder" "$document"
            printf ' rules: [{files: "{cell}.bmp", cell: "{cell}"}]}\n'
        done
    } >/etc/pixcell/config.yaml
}
# As the service finds it.
ask() { env STATE_DIRECTORY=/var/lib/pixcell PIXCELL_APP_SECRET=- pixcell --config /etc/pixcell/config.yaml "$@"; }
property() { systemctl show --value -p "$1" pixcell; }
log() { journalctl -q --no-pager -o cat -u pixcell "$@"; }
logged() { log --since "@$1" | grep -q -- "$2"; }
is() { [[ $(property "$1") == "$2" ]]; }
# Waits for a call that is held, as long as it takes.
held() { within 60 in_flight; }

# The system's own answer to a port that nobody serves.
restored() {
    systemctl stop stand-in
    systemctl reset-failed stand-in 2>/dev/null
    start_sandbox
}

installed() {
    dpkg -i "$1" || return 1
    id pixcell && [[ -f /lib/systemd/system/pixcell.service && -x /usr/bin/pixcell ]]
}
verified() {
    local unit said
    for unit in pixcell.service pixcell@lobby.service; do
        said=$(systemd-analyze verify --man=no "$unit" 2>&1) || return 1
        [[ -z "$said" ]] || { echo "$said"; return 1; }
        systemd-analyze security --offline=true --threshold=15 "/lib/systemd/system/${unit/lobby/}" || return 1
    done
}

ready() {
    local state page number too_early=0
    for number in $(seq 400); do
        picture "/srv/kiosk/${columns:$((number / 50)):1}$((number % 50 + 2)).bmp"
    done
    systemctl start --no-block pixcell
    while :; do
        # In this order: what systemd was told is true by then.
        state=$(property ActiveState)
        page=$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8484/readyz)
        [[ $state == active ]] && break
        [[ $state == failed ]] && return 1
        too_early=$((too_early + 1))
    done
    equal "$page" 200 || return 1
    say "      " "looked at $too_early times before it was ready" >&3
    log -o short-precise | awk '/ ready folders=1/ { ready = NR } END { exit !ready }' || return 1
    journalctl -q --no-pager -o cat -b | awk '/^ready folders=1/ { ready = NR } /^Started pixcell/ { started = NR }
        END { exit !(ready && ready < started) }'
}
all_through() {
    local file cell
    within 300 no_queue || return 1
    for file in /srv/kiosk/*.bmp; do
        cell=$(basename "$file" .bmp)
        holds "$cell" "$file" || return 1
    done
}
hold_all() {
    local cell
    for cell in $1; do holds "$cell" "/srv/kiosk/$cell.bmp" || return 1; done
}
no_queue() { ask status --json | tr -d ' \n' | grep -q '"queued":0,.*"parked":0'; }

# Reads all, or the command would complain of a reader that has gone.
serves_shelf() { ask status --json | grep '"name": *"shelf"' >/dev/null; }
reload_good() {
    local pid
    pid=$(property MainPID)
    # In force when it returns, not some time later.
    for _ in 1 2 3 4 5; do
        configure kiosk && systemctl reload pixcell && ! serves_shelf || return 1
        configure kiosk shelf && systemctl reload pixcell && serves_shelf || return 1
    done
    equal "$(property MainPID)" "$pid" && through /srv/shelf R3 && through /srv/kiosk R4
}
reload_bad() {
    local pid
    pid=$(property MainPID)
    sed 's/^mappings:/mapings:/' -i /etc/pixcell/config.yaml
    systemctl reload pixcell && { echo "it was taken"; return 1; }
    configure kiosk shelf
    equal "$(property MainPID) $(property ActiveState)" "$pid active" && through /srv/shelf R5
}
reload_under_way() {
    local before
    before=$(writes)
    sandbox hold -X POST && picture /srv/kiosk/R6.bmp && held || return 1
    picture /srv/kiosk/R7.bmp
    systemctl reload pixcell || return 1
    sandbox release -X POST
    within 60 holds R6 /srv/kiosk/R6.bmp && within 60 holds R7 /srv/kiosk/R7.bmp || return 1
    equal "$(($(writes) - before))" 2
}

hang() {
    local before pid start
    install -m 755 "$1" /usr/local/lib/hang.so
    install -d /run/systemd/system/pixcell.service.d
    printf '[Service]\nWatchdogSec=20\nEnvironment=LD_PRELOAD=/usr/local/lib/hang.so HANG=/run/hang\n' \
        >/run/systemd/system/pixcell.service.d/hang.conf
    systemctl daemon-reload && systemctl restart pixcell && through /srv/kiosk R8 || return 1
    # Longer than the watchdog's time: it is answered while all is well.
    sleep 25
    pid=$(property MainPID) before=$(property NRestarts) start=$(date +%s)
    is ActiveState active && equal "$before" 0 || return 1
    touch /run/hang
    picture /srv/kiosk/R8.bmp
    within 120 logged "$start" 'does not move: the lane of' || return 1
    within 120 logged "$start" 'Watchdog timeout' || return 1
    rm /run/hang
    within 60 is NRestarts 1 && within 60 is ActiveState active || return 1
    within 60 holds R8 /srv/kiosk/R8.bmp || return 1
    [[ $(property MainPID) != "$pid" ]] || return 1
    rm /run/systemd/system/pixcell.service.d/hang.conf
    systemctl daemon-reload && systemctl restart pixcell
}

killed() {
    local before pid number
    pid=$(property MainPID)
    before=$(writes)
    sandbox hold -X POST
    for number in $(seq 2 21); do picture "/srv/kiosk/Q$number.bmp"; done
    held && sleep 1 || return 1
    kill -9 "$pid"
    sandbox release -X POST
    within 60 is ActiveState active || return 1
    [[ $(property MainPID) != "$pid" ]] || return 1
    for number in $(seq 2 21); do within 60 holds "Q$number" "/srv/kiosk/Q$number.bmp" || return 1; done
    # The call that was in flight may be made again.
    less "$(($(writes) - before))" 22
}

# With a call in flight that ends: it is recorded, and not made again.
stopped_in_order() {
    local before start took
    before=$(writes)
    sandbox hold -X POST && picture /srv/kiosk/P2.bmp && held || return 1
    start=$(now)
    systemctl stop --no-block pixcell
    sleep 2
    sandbox release -X POST
    within 30 is ActiveState inactive || return 1
    took=$(since "$start")
    equal "$(property Result) $(property ExecMainStatus)" "success 0" || return 1
    systemctl start pixcell && through /srv/kiosk P3 && holds P2 /srv/kiosk/P2.bmp || return 1
    less "$took" 10000 && equal "$(($(writes) - before))" 2
}
# With one that does not end: cut off in time, and sent after the next start.
stopped_in_time() {
    local start took
    sandbox hold -X POST && picture /srv/kiosk/P4.bmp && held || return 1
    start=$(now)
    systemctl stop pixcell
    took=$(since "$start")
    sandbox release -X POST
    equal "$(property Result) $(property ExecMainStatus)" "success 0" || return 1
    systemctl start pixcell && within 60 holds P4 /srv/kiosk/P4.bmp || return 1
    say "      " "stopped after $took ms" >&3
    less "$took" 25000
}
refuses_configuration() {
    sed 's/^mappings:/mapings:/' -i /etc/pixcell/config.yaml
    systemctl restart pixcell && { echo "it started"; return 1; }
    sleep 8
    equal "$(property ExecMainStatus) $(property ActiveState)" "2 failed" || return 1
    configure kiosk shelf
    systemctl start pixcell
}
instance() {
    sed '/shelf/d; s/8484/8485/; s/name: [a-z]*/name: hall/; s,/srv/[a-z]*,/srv/hall,' /etc/pixcell/config.yaml \
        >/etc/pixcell/hall.yaml
    cp -p /etc/pixcell/app_secret /etc/pixcell/hall.secret
    install -d -m 755 /srv/hall
    systemctl start pixcell@hall && through /srv/hall S2 && systemctl stop pixcell@hall
}
nobody_reads() {
    local user="setpriv --reuid=65534 --regid=65534 --clear-groups"
    $user cat /etc/pixcell/app_secret && return 1
    $user ls /var/lib/pixcell && return 1
    $user env STATE_DIRECTORY=/var/lib/pixcell PIXCELL_APP_SECRET=- pixcell --config /etc/pixcell/config.yaml status &&
        return 1
    log -b | grep -F sandbox-secret && return 1
    tr '\0' '\n' <"/proc/$(property MainPID)/environ" | grep -F sandbox-secret && return 1
    return 0
}

# A day: what the journal shows of it is printed at the end.
day() {
    local start
    systemctl stop pixcell
    restored
    start=$(date '+%F %T')
    systemctl start pixcell && through /srv/kiosk B2 && through /srv/kiosk B3 || return 1
    printf 'no picture\n' >/srv/kiosk/B9.bmp
    fault '{"endpoints":["values_image"],"answer":{"status":429,"code":99991400,"msg":"request trigger frequency limit",
        "headers":{"x-ogw-ratelimit-reset":"3"}}}'
    through /srv/kiosk B4 || return 1
    systemctl stop stand-in
    picture /srv/kiosk/B5.bmp
    picture /srv/kiosk/B6.bmp
    sleep 12
    start_sandbox
    within 60 holds B5 /srv/kiosk/B5.bmp && within 60 holds B6 /srv/kiosk/B6.bmp || return 1
    systemctl reload pixcell && through /srv/shelf D4 || return 1
    sed 's/^mappings:/mapings:/' -i /etc/pixcell/config.yaml
    systemctl reload pixcell
    configure kiosk shelf
    systemctl kill -s USR2 pixcell
    sleep 1
    systemctl stop pixcell
    echo "--- the journal of a day" >&3
    journalctl -q --no-pager -o short --no-hostname --since "$start" -u pixcell >&3
    journalctl -q --no-pager -o json --since "$start" -u pixcell | grep -m1 PIXCELL_REVISION >&3
    echo "---" >&3
    systemctl start pixcell
}

columns=BCDEFGHIJKLMNO
exec 3>&1
case ${1:-} in
install)
    check "the package installs" installed "$2"
    say "      " "systemd $(systemctl --version | awk 'NR == 1 { print $2 }'), $(pixcell --version)"
    check "systemd has nothing to say against the units, and exposure is at most 1.5" verified
    configure kiosk
    start_sandbox
    check "ready when 400 pictures were compared, and not before" ready
    check "all 400 are in their cells" all_through
    check "each was written once" equal "$(writes)" 400
    check "a good configuration is taken up by the same process" reload_good
    check "a bad one makes the reload fail, and the old one works on" reload_bad
    check "a reload in the middle of a call repeats nothing" reload_under_way
    if [[ -n ${3:-} ]]; then
        check "the watchdog is answered while all is well, and restarts it when a lane hangs" hang "$3"
    fi
    check "kill -9 in the middle of a call: started again, all 20 written, at most one call twice" killed
    check "a stop waits for the call in flight" stopped_in_order
    check "a stop waits no longer than its time" stopped_in_time
    check "a wrong configuration is not tried again" refuses_configuration
    check "an instance of its own" instance
    check "nobody else reads secret, state or status, and the secret is in no log" nobody_reads
    check "no two writes at once" grep -q '"overlaps":0' <(sandbox 'state?calls=0')
    check "a day" day
    check "enabled" systemctl enable pixcell
    check "idle before the reboot" within 60 no_queue
    ;;
again)
    check "it is running without being asked to" within 60 is ActiveState active
    before=$(ask history --json --most 10000 | grep -c '"written"')
    start_sandbox
    ask retry --all >/dev/null
    check "what is new is written" through /srv/kiosk O2
    check "and what was written before is not written again" equal "$(writes)" 1
    check "the history goes on" less "$before" "$(ask history --json --most 10000 | grep -c '"written"')"
    ;;
cut)
    installed "$2" >/dev/null 2>&1
    configure kiosk
    systemctl enable --quiet pixcell
    start_sandbox
    systemctl start pixcell
    # As soon as it is told. "dropped": on the disk.
    journalctl -q -f -n 0 -o cat -u pixcell | grep --line-buffered -o '^written .*' &
    rounds=${ROUNDS:-12}
    for round in $(seq "$rounds"); do
        # The last finds a call in flight that does not end, and the others wait.
        ((round < rounds)) || sandbox hold -X POST
        for number in $(seq 2 11); do
            cell=${columns:$((round % 12)):1}$((number + round / 12 * 10))
            picture "/srv/kiosk/$cell.bmp"
            # And one that changes all the time.
            picture /srv/kiosk/P2.bmp
        done
        sync /srv/kiosk/*.bmp /srv/kiosk
        echo "dropped round $round"
    done
    held && echo "$(writes) calls so far, one of them in flight"
    echo b >/proc/sysrq-trigger
    ;;
after-cut)
    check "it is running without being asked to" within 120 is ActiveState active
    recorded=$(grep -o 'slot=[A-Z]*[0-9]*' "$2" | cut -d= -f2 | grep -v '^P2$' | sort -u)
    say "      " "$(wc -w <<<"$recorded") pictures were recorded before the cut"
    say "      " "$(log -b | grep -cE 'damaged|moved aside|not as sure') lines of a damaged state"
    start_sandbox
    ask retry --all >/dev/null
    check "something waited when the power went" less "$(wc -w <<<"$recorded")" "$(ls /srv/kiosk | wc -l)"
    check "what waited is written" within 300 no_queue
    sent=$(sandbox state | grep -o '"range":"Q7PlXT![A-Z]*[0-9]*' | cut -d'!' -f2 | sort -u)
    say "      " "$(wc -w <<<"$sent") cells were written after it, by $(writes) calls, of $(ls /srv/kiosk | wc -l) files"
    again=$(comm -12 <(echo "$recorded") <(echo "$sent"))
    check "what was recorded before is not written again" equal "$again" ""
    known=$({ echo "$recorded" && echo "$sent"; } | sort -u)
    files=$(ls /srv/kiosk | grep 'bmp$' | grep -v '^P2' | cut -d. -f1 | sort -u)
    check "every file is recorded or written" equal "$(comm -23 <(echo "$files") <(echo "$known"))" ""
    check "what was written is what the files hold" hold_all "$sent"
    check "nothing is left to write" grep -q "would make 0 calls" <(ask plan)
    ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
exit "$wrong"
