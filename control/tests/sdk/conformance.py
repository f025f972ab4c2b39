"""Drives the official Python SDK through the life of a live stream; any mismatch ends it with an error.

Usage: WEIR_URL=... WEIR_TOKEN_ID=... WEIR_TOKEN_SECRET=... python conformance.py
"""

import os
import re

import mux_python
from mux_python.rest import ApiException


def refused(status, call, *arguments):
    try:
        call(*arguments)
    except ApiException as error:
        assert error.status == status, error
        return
    raise AssertionError(f"{call} was not refused")


def api(secret):
    configuration = mux_python.Configuration(host=os.environ["WEIR_URL"])
    configuration.username = os.environ["WEIR_TOKEN_ID"]
    configuration.password = secret
    return mux_python.LiveStreamsApi(mux_python.ApiClient(configuration))


streams = api(os.environ["WEIR_TOKEN_SECRET"])
stream = streams.create_live_stream(
    mux_python.CreateLiveStreamRequest(
        playback_policies=[mux_python.PlaybackPolicy.PUBLIC],
        latency_mode="reduced",
        reconnect_window=12.5,
        max_continuous_duration=3600,
        passthrough="made by python",
        audio_only=True,
        new_asset_settings=mux_python.CreateAssetRequest(playback_policies=[mux_python.PlaybackPolicy.SIGNED]),
        simulcast_targets=[mux_python.CreateSimulcastTargetRequest(url="rtmp://live.example.com/app", stream_key="abc")],
        meta=mux_python.LiveStreamMetadata(title="A title"),
    )
).data
assert (stream.latency_mode, stream.reconnect_window, stream.max_continuous_duration) == ("reduced", 12.5, 3600)
assert (stream.passthrough, stream.audio_only, stream.reduced_latency, stream.status) == ("made by python", True, True, "idle")
assert stream.playback_ids[0].policy == "public" and stream.meta.title == "A title"
assert stream.new_asset_settings.playback_policies == ["signed"]
assert (stream.simulcast_targets[0].status, stream.simulcast_targets[0].stream_key) == ("idle", "abc")
assert re.fullmatch(r"\d{10}", stream.created_at) and stream.stream_key and stream.srt_passphrase
assert streams.get_live_stream(stream.id).data == stream

other = streams.create_live_stream(mux_python.CreateLiveStreamRequest()).data
assert other.reconnect_window == 60 and other.max_continuous_duration == 43200 and other.latency_mode == "standard"
assert [s.id for s in streams.list_live_streams(limit=2).data] == [other.id, stream.id]
assert [s.id for s in streams.list_live_streams(limit=1, page=2).data] == [stream.id]
assert streams.list_live_streams(stream_key=stream.stream_key).data == [stream]

updated = streams.update_live_stream(
    stream.id, mux_python.UpdateLiveStreamRequest(latency_mode="low", reconnect_window=0, passthrough="new")
).data
assert (updated.latency_mode, updated.reconnect_window, updated.passthrough) == ("low", 0, "new")
reset = streams.reset_stream_key(stream.id).data
assert reset.stream_key != stream.stream_key

request = mux_python.CreatePlaybackIDRequest(policy=mux_python.PlaybackPolicy.SIGNED)
playback = streams.create_live_stream_playback_id(stream.id, request).data
assert streams.get_live_stream_playback_id(stream.id, playback.id).data == playback and playback.policy == "signed"
streams.delete_live_stream_playback_id(stream.id, playback.id)
refused(404, streams.get_live_stream_playback_id, stream.id, playback.id)

request = mux_python.CreateSimulcastTargetRequest(url="srt://live.example.com:6001?streamid=a&passphrase=bcdefghijkl")
target = streams.create_live_stream_simulcast_target(stream.id, request).data
assert streams.get_live_stream_simulcast_target(stream.id, target.id).data == target
streams.delete_live_stream_simulcast_target(stream.id, target.id)

for call, status in [
    (streams.disable_live_stream, "disabled"),
    (streams.enable_live_stream, "idle"),
    (streams.signal_live_stream_complete, "idle"),
]:
    assert call(stream.id).data is not None
    assert streams.get_live_stream(stream.id).data.status == status
assert [s.id for s in streams.list_live_streams(status="disabled").data] == []

refused(400, streams.create_live_stream, {"reconnect_window": 9999})
refused(401, api("wrong").list_live_streams)
for one in (stream, other):
    streams.delete_live_stream(one.id)
    refused(404, streams.get_live_stream, one.id)
print("mux_python conforms")
