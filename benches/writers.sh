#!/usr/bin/env bash
# Question: what does the kernel tell of a file while a real program writes it?
#
# Prints the rows of the table in docs/writers.md: each writer brings one picture into an empty folder
# that inotifywait watches; events of a name that come several times in a row are counted. Needs
# apt-get install inotify-tools rsync ffmpeg imagemagick curl vsftpd python3-pyftpdlib samba smbclient
# (a writer that is missing is left out); root for vsftpd and Samba.
set -euo pipefail

work=$(mktemp -d /tmp/pixcell-writers.XXXXXX)
in=$work/in
started=()
trap '((${#started[@]})) && kill "${started[@]}" 2>/dev/null; rm -rf "$work" "${elsewhere:-}"' EXIT
elsewhere=$(mktemp -d /dev/shm/pixcell-writers.XXXXXX)
export HOME=$work LC_ALL=C

for program in inotifywait convert; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
convert -seed 1 -size 900x600 plasma: -quality 95 "$work/one.jpg"
convert -seed 2 -size 900x600 plasma: -quality 95 "$work/two.jpg"
head -c 100000 "$work/one.jpg" >"$work/first.part"
tail -c +100001 "$work/one.jpg" >"$work/rest.part"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
listens() { until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done; }

# row NAME [there]: what stands on stdin is run in the watched folder, in which a picture may be there.
row() {
    local name=$1 script watcher
    script=$(cat)
    [[ ${2:-} != there ]] || cp "$work/two.jpg" "$in/one.jpg"
    # Names of events as inotify(7) has them; opening and reading are nobody's news.
    inotifywait -q -m -r -e create,modify,attrib,close_write,moved_to,moved_from,delete \
        --format '%e %f' "$in" >"$work/events" 2>/dev/null &
    watcher=$!
    until grep -qs inotify "/proc/$watcher/fdinfo/"* 2>/dev/null; do sleep 0.05; done
    sleep 0.3
    (cd "$in" && eval "$script") >"$work/out" 2>&1 || { cat "$work/out" >&2; }
    sleep 0.5
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true # It was ended just now, and says so.
    printf '| %s | %s |\n' "$name" "$(sed -E 's/,ISDIR//; s/CLOSE_WRITE,CLOSE/CLOSE_WRITE/; s/\.one\.jpg\.[A-Za-z0-9]{6}/.one.jpg.XXXXXX/' "$work/events" |
        uniq -c | awk '{
            times = $1 > 1 ? $1 "x " : ""; event = $2; file = $3
            printf "%s%s%s `%s`", (NR > 1 ? ", " : ""), times, event, file }')"
    find "$in" -mindepth 1 -delete
}

mkdir "$in"
row 'cp' <<<'cp ../one.jpg one.jpg'
row 'cp, over a picture that is there' there <<<'cp ../one.jpg one.jpg'
row 'mv from the same file system' <<<'cp ../one.jpg ../moved.jpg; mv ../moved.jpg one.jpg'
cp "$work/one.jpg" "$elsewhere/one.jpg"
row 'mv from another file system' <<<"mv $elsewhere/one.jpg ."
row 'ln, a hard link' <<<'ln ../one.jpg one.jpg'
row 'install -m 644' <<<'install -m 644 ../one.jpg one.jpg'
row 'tar -x' <<<'tar -C .. -cf ../one.tar one.jpg; tar -xf ../one.tar'
row 'a shell that redirects' <<<'cat ../one.jpg >one.jpg'
row 'a writer that pauses' <<<'{ cat ../first.part; sleep 1; cat ../rest.part; } >one.jpg'
row 'fallocate, then dd' <<<'fallocate -l $(stat -c %s ../one.jpg) one.jpg; dd if=../one.jpg of=one.jpg bs=64K conv=notrunc'
if command -v rsync >/dev/null; then
    row 'rsync' <<<'rsync ../one.jpg .'
    row 'rsync --inplace, over a picture that is there' there <<<'rsync --inplace -I --bwlimit=400 ../one.jpg .'
    row 'rsync --delay-updates' <<<'rsync --delay-updates ../one.jpg .'
    row 'rsync --partial, ended by SIGINT, and again' <<<'rsync --partial --bwlimit=200 ../one.jpg . & sleep 1; kill -INT $!; wait; sleep 0.3; rsync --partial ../one.jpg .'
fi
if command -v ffmpeg >/dev/null; then
    frames='ffmpeg -loglevel error -f lavfi -i testsrc2=size=640x360:rate=25 -frames:v 2 -update 1 -y'
    row 'ffmpeg -update 1, two frames' <<<"$frames one.jpg"
    row 'ffmpeg -update 1 -atomic_writing 1' <<<"$frames -atomic_writing 1 one.jpg"
fi
row 'ImageMagick, JPEG' <<<'convert ../two.jpg one.jpg'
row 'ImageMagick, PNG' <<<'convert ../two.jpg one.png'
row 'ImageMagick, TIFF' <<<'convert ../two.jpg one.tiff'

ftp() {
    local server=$1 url=$2
    row "$server, a client that sends" <<<"curl -sS -T ../one.jpg $url/one.jpg"
    row "$server, a client that appends in two parts" <<<"curl -sS -T ../first.part $url/one.jpg; curl -sS -a -T ../rest.part $url/one.jpg"
    row "$server, a client that dies and resumes" <<<"curl -sS --limit-rate 100k -T ../one.jpg $url/one.jpg & sleep 1; kill -KILL \$!; wait; sleep 0.5; curl -sS -C - -T ../one.jpg $url/one.jpg"
    row "$server, a client that sends and renames" <<<"curl -sS -T ../one.jpg $url/one.jpg.part -Q '-RNFR one.jpg.part' -Q '-RNTO one.jpg'"
}
if /usr/bin/python3 -c 'import pyftpdlib' 2>/dev/null; then
    port=$(port)
    /usr/bin/python3 -m pyftpdlib -i 127.0.0.1 -p "$port" -w -d "$in" >/dev/null 2>&1 &
    started+=($!)
    listens "$port"
    ftp pyftpdlib "ftp://127.0.0.1:$port"
fi
if command -v vsftpd >/dev/null; then
    port=$(port)
    cat >"$work/vsftpd.conf" <<CONF
listen=YES
listen_address=127.0.0.1
listen_port=$port
background=NO
run_as_launching_user=YES
anonymous_enable=YES
no_anon_password=YES
anon_root=$in
allow_writeable_chroot=YES
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_umask=022
seccomp_sandbox=NO
CONF
    vsftpd "$work/vsftpd.conf" >"$work/vsftpd.log" 2>&1 &
    started+=($!)
    listens "$port"
    ftp vsftpd "ftp://127.0.0.1:$port"
fi
if command -v smbd >/dev/null && command -v smbclient >/dev/null; then
    port=$(port)
    mkdir -p "$work/smb/private" "$work/smb/lock"
    chmod 777 "$in" && chmod 755 "$work"
    cat >"$work/smb.conf" <<CONF
[global]
smb ports = $port
interfaces = lo
bind interfaces only = yes
map to guest = Bad User
guest account = root
private dir = $work/smb/private
lock directory = $work/smb/lock
state directory = $work/smb/lock
cache directory = $work/smb/lock
pid directory = $work/smb/lock
log file = $work/smb/log
server role = standalone server
load printers = no
disable spoolss = yes
[in]
path = $in
guest ok = yes
read only = no
CONF
    smbd -F --no-process-group -s "$work/smb.conf" >/dev/null 2>&1 &
    started+=($!)
    listens "$port"
    row 'Samba, smbclient put' <<<"smbclient -N -p $port //127.0.0.1/in -c 'lcd ..; put one.jpg'"
fi

echo
uname -sr
stat -f -c 'file system: %T' "$work"
for package in rsync ffmpeg imagemagick curl vsftpd python3-pyftpdlib samba inotify-tools coreutils tar; do
    dpkg-query -W -f '${Package} ${Version}\n' "$package" 2>/dev/null || true # Not everybody has all.
done
