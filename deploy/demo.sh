#!/bin/bash
# Starts a low-latency live stream from scratch: builds and starts the server, creates a live stream through the API, pushes a
# generated programme into it, prints the address of its watch page, and runs until Ctrl-C.
# programs: cargo cat curl date dirname ffmpeg grep jq kill mktemp rm seq sleep tail
#
#   DEMO_SECONDS=20    stop after this time, and fail if the stream did not play
#   DEMO_HTTP_PORT, DEMO_RTMP_PORT, DEMO_SRT_PORT    ports in place of 8080, 1935 and 6001
#   DEMO_BINARY    a server binary to use, instead of building one
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
# Ends a program and waits for it. A program that has not ended after 12 s is killed.
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
    # Another Ctrl-C must not interrupt this. The server receives it as well.
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
retry() {
    for _ in $(seq 200); do
        "$@" && return 0
        kill -0 "$server" 2>/dev/null || fail "the server ended"
        sleep 0.1
    done
    return 1
}

# An own token and folder, so that the demo is independent of other data and leaves none behind.
export WEIR_API_TOKEN_ID=demo WEIR_API_TOKEN_SECRET=demo
WEIR_DATA_DIR=$folder/data WEIR_HTTP_LISTEN=0.0.0.0:$http WEIR_RTMP_LISTEN=0.0.0.0:$rtmp \
    WEIR_SRT_LISTEN=0.0.0.0:$srt \
    "$binary" serve >"$folder/server.log" 2>&1 &
server=$!
healthy() { curl -sf -o /dev/null "$base/healthz"; }
retry healthy || fail "the server did not start"

stream=$(curl -sS --fail-with-body -u demo:demo "$base/video/v1/live-streams" -H 'content-type: application/json' \
    -d '{"playback_policies":["public"],"latency_mode":"low","reconnect_window":20,"passthrough":"demo"}') ||
    fail "could not create a live stream: $stream"
key=$(jq -r .data.stream_key <<<"$stream")
playback=$(jq -r '.data.playback_ids[0].id' <<<"$stream")

# Video with a running clock and a beep each second. Key frames are a second apart, as low latency needs.
ffmpeg -hide_banner -nostdin -loglevel warning -re \
    -f lavfi -i "testsrc2=size=1280x720:rate=30" \
    -f lavfi -i "sine=frequency=330:beep_factor=3:sample_rate=48000" \
    -vf "drawtext=fontfile=$font:text='%{localtime}':fontsize=64:fontcolor=white:box=1:boxborderw=12:boxcolor=black:x=(w-tw)/2:y=h-140" \
    -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -b:v 2500k -g 30 -keyint_min 30 -sc_threshold 0 \
    -c:a aac -b:a 128k -ac 2 -f flv "rtmp://localhost:$rtmp/app/$key" 2>"$folder/encoder.log" &
encoder=$!

plays() { curl -sf -o /dev/null "$base/$playback.m3u8"; }
retry plays || fail "no playlist"

cat <<TEXT

Watch:     $base/watch/$playback
Playlist:  $base/$playback.m3u8
API:       curl -u demo:demo $base/video/v1/live-streams
Reference: $base/docs

To use your own encoder, create another stream (see README.md), or push to this one, which replaces the demo's encoder:
  server rtmp://localhost:$rtmp/app   stream key $key

Press Ctrl-C to stop.
TEXT

if [ -z "${DEMO_SECONDS:-}" ]; then
    wait "$server"
    fail "the server ended"
fi

# Check what a player needs: the playlist has parts, and newer ones later.
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
last=$(newest) || fail "the playlist has no parts any more"
[ "$first" != "$last" ] || fail "the stream stalled"
ffmpeg -hide_banner -nostdin -loglevel error -xerror -i "$base/$playback.m3u8" -t 2 -f null - || fail "the stream cannot be decoded"
echo "demo: played for $DEMO_SECONDS s"
