// The watch page: plays one playback id with hls.js, or natively where there is no MSE, and says how it goes.
// For tests, `window.weir` holds the player and `stats()`.
"use strict";
(() => {
  const RETRY_MS = 1500;
  const REFRESH_MS = 500;
  const LATE_SECONDS = 4;
  const FIRST_ANSWER_MS = 40000;
  // A level that had to be left gets another chance after so long: the server may have been too busy to encode it.
  const PENALTY_MS = 20000;
  // What was under way of a level when it had to be left comes within this time.
  const UNDER_WAY_MS = 2000;
  // Catching up: from this distance to the target latency on, by this share of it, and no faster than this.
  const NEAR_SECONDS = 0.05;
  const CATCH_UP_SHARE = 0.15;
  const FASTEST = 1.5;
  // What stays in hand while catching up: a part and half of the next one, or a whole segment and a second.
  const PARTS_IN_HAND = 1.5;
  // Catching up begins only after this long without a stall and with enough buffered all the time, because a stream whose
  // tracks come unevenly needs what it has buffered.
  const CALM_MS = 8000;
  // The picture stands for so long behind the end: nothing more will come.
  const STILL_MS = 1500;

  const $ = (id) => document.getElementById(id);
  const video = $("video");
  const source = `/${document.body.dataset.playbackId}.m3u8${location.search}`;
  const seen = { stalls: 0, fatal: [], errors: 0, started: false, ended: false };
  // Levels that the server does not encode any more, and since when: it answers 404 to those who follow them.
  const left = new Map();
  let hls = null;
  let retry = 0;
  // Where the media of the broadcast lies that is shown, and of the one that has ended: its playlists stay for a while.
  let current = null;
  let over = null;
  let moved = { at: 0, position: 0 };
  // Since when playback neither stalled nor came near to it.
  let calmSince = performance.now();

  function veil(message, hint, final) {
    $("message").textContent = message;
    $("hint").textContent = hint || "";
    $("veil").toggleAttribute("data-final", Boolean(final));
    $("veil").hidden = false;
    // The controls have a spinner of their own.
    video.controls = false;
  }

  function unveil() {
    $("veil").hidden = true;
    video.controls = true;
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
    if (seen.ended) return;
    over = current;
    seen.ended = true;
    seen.started = false;
    for (const fact of ["latency", "level", "buffered"]) $(fact).textContent = "–";
    stop();
    $("unmute").hidden = true;
    badge("waiting", "Ended");
    veil("The stream has ended.", "This page goes on by itself when it starts again.", true);
    again(awaitNext);
  }

  const folder = (url) => new URL(".", url).pathname;

  // Asks until the playlist points to another broadcast than the one that has ended.
  async function awaitNext() {
    const { place } = await look();
    if (place && place !== over) window.weir.start();
    else again(awaitNext);
  }

  // Where the playlist points to, and the status of the answer; 0 for none.
  async function look() {
    try {
      const answer = await fetch(source, { cache: "no-store" });
      const text = answer.ok ? await answer.text() : "";
      const line = text.split("\n").find((found) => found && !found.startsWith("#"));
      return { status: answer.status, place: line ? folder(new URL(line, answer.url)) : null };
    } catch {
      return { status: 0, place: null };
    }
  }

  function stop() {
    clearTimeout(retry);
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
      // The page catches up by itself, see below: hls.js does not with less than a second in hand.
      maxLiveSyncPlaybackRate: 1,
      liveSyncOnStallIncrease: 0.2,
      maxBufferLength: 12,
      maxMaxBufferLength: 30,
      errorPenaltyExpireMs: PENALTY_MS,
      manifestLoadPolicy: patient,
    });
    hls.on(Hls.Events.ERROR, onError);
    hls.on(Hls.Events.LEVEL_LOADED, knowPlace);
    hls.on(Hls.Events.FRAG_BUFFERED, stayAway);
    hls.loadSource(source);
    hls.attachMedia(video);
  }

  function knowPlace(_event, { details }) {
    current = folder(details.url);
    // Who comes after the end is not shown the last minute again. hls.js must not go while it tells.
    if (!details.live && !seen.started) setTimeout(ended, 0);
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
    const { status, place } = await look();
    seen.ended = false;
    current = place;
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

  // Goes a little faster while it is further from the live edge than the playlist asks for, with enough in hand.
  function keepUp() {
    const details = hls && hls.latestLevelDetails;
    if (!details || !details.live || !seen.started || video.paused) return;
    const behind = hls.latency - hls.targetLatency;
    const inHand = details.partTarget ? PARTS_IN_HAND * details.partTarget : details.targetduration + 1;
    const now = performance.now();
    if (bufferedAhead() <= inHand) calmSince = now;
    const due = behind > NEAR_SECONDS && now - calmSince > CALM_MS;
    video.playbackRate = due ? Math.min(1 + CATCH_UP_SHARE * behind, FASTEST) : 1;
  }

  // At its end hls.js says so where it has all of every track, which may fail by a scrap.
  function seeEnd(now) {
    if (video.currentTime !== moved.position) moved = { at: now, position: video.currentTime };
    const details = hls && hls.latestLevelDetails;
    const atEnd = details && !details.live && details.edge - video.currentTime < details.targetduration;
    if (atEnd && seen.started && !video.paused && now - moved.at > STILL_MS) ended();
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
    seeEnd(performance.now());
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
    unveil();
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("waiting", () => {
    calmSince = performance.now();
    if (seen.started && !video.seeking && !seen.ended) seen.stalls += 1;
  });
  video.addEventListener("volumechange", () => {
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("timeupdate", keepUp);
  video.addEventListener("ended", ended);
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
