#!/bin/bash
# From nothing to a playing low-latency stream: builds the server, starts it, creates a live stream through the API,
# pushes a generated programme into it, prints the page to watch it on, and runs until Ctrl-C.
# programs: cargo cat curl date dirname ffmpeg grep jq kill mktemp rm seq sleep tail
#
#   DEMO_SECONDS=20    end by itself after this time, and fail if the stream did not play
#   DEMO_HTTP_PORT, DEMO_RTMP_PORT, DEMO_SRT_PORT    other ports than 8080, 1935 and 6001
#   DEMO_BINARY    a server that is already built
set -euo pipefail
cd "$(dirname "$0")/.."

http=${DEMO_HTTP_PORT:-8080}
rtmp=${DEMO_RTMP_PORT:-1935}
srt=${DEMO_SRT_PORT:-6001}
base=http://localhost:$http
font=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf

binary=${DEMO_BINARY:-}
if [ -z "$binary" ]; then
    cargo build --locked -p weir
    binary=${CARGO_TARGET_DIR:-target}/debug/weir
fi

folder=$(mktemp -d)
server= encoder=
# Ends a program and waits for it; what has not gone by itself after 12 s is killed.
end() {
    kill "$1" 2>/dev/null || true
    for _ in $(seq 120); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
clean_up() {
    # Another Ctrl-C must not cut this short: it reaches the server by itself.
    trap '' INT TERM HUP
    trap - EXIT
    [ -z "$encoder" ] || end "$encoder"
    [ -z "$server" ] || end "$server"
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 0' INT TERM HUP

fail() {
    echo "demo: $1" >&2
    tail -n 20 "$folder/server.log" "$folder/encoder.log" >&2 2>/dev/null || true
    exit 1
}

# Tries a command until it succeeds, for at most 20 s.
patiently() {
    for _ in $(seq 200); do
        "$@" && return 0
        kill -0 "$server" 2>/dev/null || fail "the server ended"
        sleep 0.1
    done
    return 1
}

# Its own token and folder, so that it neither finds nor leaves anything.
export WEIR_API_TOKEN_ID=demo WEIR_API_TOKEN_SECRET=demo
WEIR_DATA_DIR=$folder/data WEIR_HTTP_LISTEN=0.0.0.0:$http WEIR_RTMP_LISTEN=0.0.0.0:$rtmp \
    WEIR_SRT_LISTEN=0.0.0.0:$srt \
    "$binary" serve >"$folder/server.log" 2>&1 &
server=$!
healthy() { curl -sf -o /dev/null "$base/healthz"; }
patiently healthy || fail "the server did not come up"

stream=$(curl -sS --fail-with-body -u demo:demo "$base/video/v1/live-streams" -H 'content-type: application/json' \
    -d '{"playback_policies":["public"],"latency_mode":"low","reconnect_window":20,"passthrough":"demo"}') ||
    fail "could not create a live stream: $stream"
key=$(jq -r .data.stream_key <<<"$stream")
playback=$(jq -r '.data.playback_ids[0].id' <<<"$stream")

# A picture with a running clock and a tone that beeps each second; keyframes once a second, as low latency wants them.
ffmpeg -hide_banner -nostdin -loglevel warning -re \
    -f lavfi -i "testsrc2=size=1280x720:rate=30" \
    -f lavfi -i "sine=frequency=330:beep_factor=3:sample_rate=48000" \
    -vf "drawtext=fontfile=$font:text='%{localtime}':fontsize=64:fontcolor=white:box=1:boxborderw=12:boxcolor=black:x=(w-tw)/2:y=h-140" \
    -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -b:v 2500k -g 30 -keyint_min 30 -sc_threshold 0 \
    -c:a aac -b:a 128k -ac 2 -f flv "rtmp://localhost:$rtmp/app/$key" 2>"$folder/encoder.log" &
encoder=$!

plays() { curl -sf -o /dev/null "$base/$playback.m3u8"; }
patiently plays || fail "no playlist"

cat <<TEXT

Watch:     $base/watch/$playback
Playlist:  $base/$playback.m3u8
API:       curl -u demo:demo $base/video/v1/live-streams
Reference: $base/docs

Your own encoder instead: make another stream as README.md shows, or push to this one, which takes over:
  server rtmp://localhost:$rtmp/app   stream key $key

Ctrl-C ends it.
TEXT

if [ -z "${DEMO_SECONDS:-}" ]; then
    wait "$server"
    fail "the server ended"
fi

# What a player does, in short: the newest playlist has parts, and more of them later.
media=$(curl -sf "$base/$playback.m3u8" | grep -v '^#' | grep m3u8 | tail -n 1)
case $media in http*) ;; /*) media=$base$media ;; *) media=$base/$media ;; esac
newest() { curl -sf "$media" | grep '^#EXT-X-PART:' | tail -n 1; }
first=$(newest) || fail "no parts in the playlist"
end=$(($(date +%s) + DEMO_SECONDS))
while [ "$(date +%s)" -lt "$end" ]; do
    kill -0 "$server" 2>/dev/null || fail "the server ended"
    kill -0 "$encoder" 2>/dev/null || fail "the encoder ended"
    sleep 0.5
done
last=$(newest) || fail "no parts in the playlist any more"
[ "$first" != "$last" ] || fail "the stream stood still"
ffmpeg -hide_banner -nostdin -loglevel error -xerror -i "$base/$playback.m3u8" -t 2 -f null - || fail "it cannot be decoded"
echo "demo: played for $DEMO_SECONDS s"
