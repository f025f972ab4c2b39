// Drives one version of the official Node SDK through the life of a live stream; any mismatch ends it with an error.
// Usage: WEIR_URL=… WEIR_TOKEN_ID=… WEIR_TOKEN_SECRET=… node conformance.mjs mux-15
import assert from "node:assert/strict";

const sdk = process.argv[2];
const { default: Mux } = await import(sdk);
const { WEIR_URL: baseURL, WEIR_TOKEN_ID: tokenId, WEIR_TOKEN_SECRET: tokenSecret } = process.env;
const mux = new Mux({ baseURL, tokenId, tokenSecret, maxRetries: 0 });
const streams = mux.video.liveStreams;

const refused = async (call, status, type) => {
  const error = await call().then(() => assert.fail("was not refused"), (error) => error);
  assert.equal(error.status, status, error.stack);
  assert.equal(error.error.error?.type ?? error.error.type, type);
};

const settings = {
  playback_policy: ["public"],
  latency_mode: "low",
  reconnect_window: 12.5,
  max_continuous_duration: 3600,
  passthrough: `made by ${sdk}`,
  test: true,
  use_slate_for_standard_latency: true,
  reconnect_slate_url: "https://example.com/slate.png",
};
const stream = await streams.create({
  ...settings,
  new_asset_settings: { playback_policy: ["public"], static_renditions: [{ resolution: "highest" }] },
  simulcast_targets: [{ url: "rtmp://live.example.com/app", stream_key: "abc", passthrough: "first" }],
  embedded_subtitles: [{ name: "English", language_code: "en", language_channel: "cc1" }],
  meta: { title: "A title" },
});
for (const [name, value] of Object.entries(settings)) {
  if (name !== "playback_policy") assert.deepEqual(stream[name], value, name);
}
assert.match(stream.id, /^\w+$/);
assert.match(stream.created_at, /^\d{10}$/);
assert.match(stream.stream_key, /^[A-Za-z0-9-]{20,64}$/);
assert.match(stream.srt_passphrase, /^[A-Za-z0-9-]{10,64}$/);
assert.equal(stream.status, "idle");
assert.equal(stream.playback_ids[0].policy, "public");
assert.equal(stream.meta.title, "A title");
assert.deepEqual(stream.new_asset_settings.playback_policy, ["public"]);
assert.deepEqual(stream.embedded_subtitles, [{ name: "English", language_code: "en", language_channel: "cc1" }]);
assert.deepEqual(await streams.retrieve(stream.id), stream);

const more = [];
for (let n = 0; n < 4; n++) more.unshift((await streams.create({})).id);
assert.deepEqual((await streams.list({ limit: 2 })).data.map((s) => s.id), more.slice(0, 2));
assert.deepEqual((await streams.list({ limit: 2, page: 2 })).data.map((s) => s.id), more.slice(2));
assert.deepEqual((await streams.list({ stream_key: stream.stream_key })).data, [stream]);
const seen = [];
for await (const each of streams.list({ limit: 3 })) seen.push(each.id);
assert.deepEqual(seen.slice(0, 5), [...more, stream.id]);
assert.equal(new Set(seen).size, seen.length);

const updated = await streams.update(stream.id, { passthrough: "new", latency_mode: "standard", reconnect_window: 30 });
assert.deepEqual([updated.passthrough, updated.latency_mode, updated.reconnect_window], ["new", "standard", 30]);
assert.equal((await streams.update(stream.id, { passthrough: "" })).passthrough, undefined);

const reset = await streams.resetStreamKey(stream.id);
assert.notEqual(reset.stream_key, stream.stream_key);
assert.equal((await streams.retrieve(stream.id)).stream_key, reset.stream_key);

const playback = await streams.createPlaybackId(stream.id, { policy: "signed" });
assert.equal(playback.policy, "signed");
assert.deepEqual(await streams.retrievePlaybackId(stream.id, playback.id), playback);
await streams.deletePlaybackId(stream.id, playback.id);
await refused(() => streams.retrievePlaybackId(stream.id, playback.id), 404, "not_found");

const target = await streams.createSimulcastTarget(stream.id, { url: "rtmps://live.example.com/app", stream_key: "k" });
assert.equal(target.status, "idle");
assert.deepEqual(await streams.retrieveSimulcastTarget(stream.id, target.id), target);
await streams.deleteSimulcastTarget(stream.id, target.id);
await refused(() => streams.retrieveSimulcastTarget(stream.id, target.id), 404, "not_found");

const cc = { embedded_subtitles: [{ name: "Deutsch", language_code: "de", language_channel: "cc2" }] };
assert.deepEqual((await streams.updateEmbeddedSubtitles(stream.id, cc)).embedded_subtitles, cc.embedded_subtitles);
const asr = { generated_subtitles: [{ name: "English", language_code: "en" }] };
assert.deepEqual((await streams.updateGeneratedSubtitles(stream.id, asr)).generated_subtitles, asr.generated_subtitles);
if (streams.updateNewAssetSettingsStaticRenditions) {
  const wanted = { static_renditions: [{ resolution: "720p" }] };
  const { new_asset_settings: kept } = await streams.updateNewAssetSettingsStaticRenditions(stream.id, wanted);
  assert.deepEqual(kept.static_renditions, wanted.static_renditions);
  await streams.deleteNewAssetSettingsStaticRenditions(stream.id);
}

for (const [call, status] of [["disable", "disabled"], ["enable", "idle"], ["complete", "idle"]]) {
  await streams[call](stream.id);
  assert.equal((await streams.retrieve(stream.id)).status, status, call);
}
if (mux.system?.utilities) {
  const me = await mux.system.utilities.whoami();
  assert.ok(me.permissions.includes("video:write") && me.environment_id && me.organization_id);
}

await refused(() => streams.create({ latency_mode: "instant" }), 400, "invalid_parameters");
await refused(() => new Mux({ baseURL, tokenId, tokenSecret: "wrong" }).video.liveStreams.list(), 401, "unauthorized");
for (const id of [...more, stream.id]) await streams.delete(id);
await refused(() => streams.retrieve(stream.id), 404, "not_found");
await refused(() => streams.delete(stream.id), 404, "not_found");
console.log(`${sdk} conforms`);
