// The watch page: plays one playback id with hls.js, or natively where there is no MSE, and says how it goes.
// For tests, `window.weir` holds the player and `stats()`.
"use strict";
(() => {
  const RETRY_MS = 1500;
  const REFRESH_MS = 500;
  const LATE_SECONDS = 4;
  const FIRST_ANSWER_MS = 40000;
  // Target durations of media a player without parts needs ahead: it learns of a segment up to one after it is whole.
  const HEAD_START = 2;
  // A level that had to be left gets another chance after so long: the server may have been too busy to encode it.
  const PENALTY_MS = 20000;
  // What was under way of a level when it had to be left comes within this time.
  const UNDER_WAY_MS = 2000;

  const $ = (id) => document.getElementById(id);
  const video = $("video");
  const source = `/${document.body.dataset.playbackId}.m3u8${location.search}`;
  const seen = { stalls: 0, fatal: [], errors: 0, started: false, ended: false };
  // Levels that the server does not encode any more, and since when: it answers 404 to those who follow them.
  const left = new Map();
  let hls = null;
  let retry = 0;

  function veil(message, hint, final) {
    $("message").textContent = message;
    $("hint").textContent = hint || "";
    $("veil").toggleAttribute("data-final", Boolean(final));
    $("veil").hidden = false;
  }

  function badge(state, text) {
    $("badge").dataset.state = state;
    $("badge").textContent = text;
  }

  function waitForStart() {
    badge("waiting", "Waiting");
    veil("Waiting for the stream to start…", "The picture appears by itself as soon as the encoder sends.");
  }

  function again(start) {
    clearTimeout(retry);
    retry = setTimeout(start, RETRY_MS);
  }

  // What an answer without a playlist means, and what to do about it. True if it is worth asking again.
  function explain(status) {
    switch (status) {
      case 412:
        waitForStart();
        return true;
      case 404:
        badge("waiting", "Not found");
        veil("There is no such stream.", "Check the address: the last part of it must be a playback ID.", true);
        return false;
      case 401:
      case 403:
        badge("waiting", "No access");
        veil("This stream needs a valid token.", "Ask whoever runs it for a new link.", true);
        return false;
      case 503:
        waitForStart();
        veil("The stream is about to start…", "The encoder is connected, but a whole segment has not come yet.");
        return true;
      default:
        badge("waiting", "Offline");
        veil("The server cannot be reached.", "Check the network; this page tries again by itself.");
        return true;
    }
  }

  function ended() {
    seen.ended = true;
    badge("waiting", "Ended");
    veil("The stream has ended.", "This page goes on by itself when it starts again.");
  }

  function stop() {
    if (hls) hls.destroy();
    hls = null;
  }

  function startHls() {
    stop();
    left.clear();
    seen.ended = false;
    seen.started = false;
    // The first answer is held until there is something to play.
    const patient = { default: { maxTimeToFirstByteMs: FIRST_ANSWER_MS, maxLoadTimeMs: FIRST_ANSWER_MS, timeoutRetry: null, errorRetry: null } };
    hls = new Hls({
      lowLatencyMode: true,
      maxLiveSyncPlaybackRate: 1.5,
      maxBufferLength: 12,
      maxMaxBufferLength: 30,
      errorPenaltyExpireMs: PENALTY_MS,
      manifestLoadPolicy: patient,
    });
    hls.on(Hls.Events.ERROR, onError);
    hls.on(Hls.Events.LEVEL_LOADED, gatherFirst);
    hls.on(Hls.Events.FRAG_BUFFERED, stayAway);
    hls.loadSource(source);
    hls.attachMedia(video);
  }

  // Who comes in the first seconds of a stream would catch up with it and stall: let it get ahead first.
  function gatherFirst(_event, { details }) {
    const young = details.live && !details.partTarget && details.totalduration < HEAD_START * details.targetduration;
    if (young && !seen.started) {
      video.autoplay = false;
      veil("The stream is about to start…", "The first seconds are gathered, so that the picture does not stop again.");
    } else if (!video.autoplay) {
      video.autoplay = true;
      video.play().catch(() => {});
    }
  }

  // hls.js forgives a level whose media arrives, also if it was under way: it would be back at once, and lose a second.
  function stayAway(_event, { frag }) {
    const since = left.get(frag.level);
    const level = hls.levels[frag.level];
    if (frag.type !== "main" || !level || !(performance.now() - since < UNDER_WAY_MS)) return;
    level.loadError = 1;
    level.loadErrorTime = since;
  }

  function onError(_event, data) {
    seen.errors += 1;
    const status = data.response ? data.response.code : 0;
    if (data.details === Hls.ErrorDetails.LEVEL_LOAD_ERROR && status === 404) left.set(data.context.level, performance.now());
    if (!data.fatal) return;
    const quiet = data.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR && (status === 412 || status === 503);
    if (!quiet) seen.fatal.push({ type: data.type, details: data.details, status });
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && seen.fatal.length < 4) {
      veil("The picture broke off.", "Trying to recover…");
      hls.recoverMediaError();
      return;
    }
    if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) {
      badge("waiting", "Error");
      veil("This browser cannot play the stream.", `Try another browser, or another codec in the encoder (${data.details}).`, true);
      return;
    }
    stop();
    if (explain(status)) again(startHls);
  }

  async function startNative() {
    let status = 0;
    try {
      status = (await fetch(source, { method: "HEAD" })).status;
    } catch {
      status = 0;
    }
    if (status === 200) video.src = source;
    else if (explain(status)) again(startNative);
  }

  function bufferedAhead() {
    for (let i = 0; i < video.buffered.length; i += 1) {
      if (video.buffered.start(i) <= video.currentTime + 0.1 && video.currentTime <= video.buffered.end(i)) {
        return video.buffered.end(i) - video.currentTime;
      }
    }
    return 0;
  }

  function latency() {
    if (hls) return hls.latency;
    const edge = video.seekable.length ? video.seekable.end(video.seekable.length - 1) : 0;
    return Math.max(0, edge - video.currentTime);
  }

  function stats() {
    const quality = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : {};
    return {
      native: !hls,
      latency: latency(),
      targetLatency: hls ? hls.targetLatency : null,
      stalls: seen.stalls,
      fatal: seen.fatal.slice(),
      errors: seen.errors,
      started: seen.started,
      ended: seen.ended,
      buffered: bufferedAhead(),
      currentTime: video.currentTime,
      playbackRate: video.playbackRate,
      paused: video.paused,
      width: video.videoWidth,
      height: video.videoHeight,
      dropped: quality.droppedVideoFrames || 0,
      decoded: quality.totalVideoFrames || 0,
    };
  }

  function refresh() {
    const now = stats();
    $("stalls").textContent = String(now.stalls);
    $("dropped").textContent = String(now.dropped);
    if (!now.started) return;
    $("latency").textContent = `${now.latency.toFixed(1)} s`;
    $("buffered").textContent = `${now.buffered.toFixed(1)} s`;
    const level = hls && hls.levels[hls.currentLevel];
    const rate = level && level.bitrate ? ` · ${(level.bitrate / 1e6).toFixed(1)} Mbit/s` : "";
    $("level").textContent = now.height ? `${now.height}p${rate}` : `audio${rate}`;
    if (now.ended || !$("veil").hidden) return;
    const late = now.paused || now.latency > (now.targetLatency || 0) + LATE_SECONDS;
    badge(late ? "late" : "live", late ? "Go live" : "Live");
  }

  function goLive() {
    if (hls && hls.liveSyncPosition) video.currentTime = hls.liveSyncPosition;
    else if (!hls && video.seekable.length) video.currentTime = video.seekable.end(video.seekable.length - 1);
    video.play().catch(() => {});
  }

  video.addEventListener("playing", () => {
    seen.started = true;
    $("veil").hidden = true;
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("waiting", () => {
    if (seen.started && !video.seeking && !seen.ended) seen.stalls += 1;
  });
  video.addEventListener("volumechange", () => {
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("ended", () => {
    ended();
    again(window.weir.start);
  });
  video.addEventListener("error", () => {
    if (!hls && video.error && video.src) again(startNative);
  });
  $("unmute").addEventListener("click", () => {
    video.muted = false;
    video.play().catch(() => {});
  });
  $("badge").addEventListener("click", goLive);

  const usesHls = window.Hls && Hls.isSupported();
  const start = usesHls ? startHls : startNative;
  window.weir = {
    get hls() {
      return hls;
    },
    video,
    stats,
    start,
  };
  if (!usesHls && !video.canPlayType("application/vnd.apple.mpegurl")) {
    veil("This browser cannot play live streams.", "Open this page in a current version of a common browser.", true);
    return;
  }
  waitForStart();
  start();
  setInterval(refresh, REFRESH_MS);
})();
