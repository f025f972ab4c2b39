// The watch page: plays one playback id with hls.js, or natively in a browser without MSE, and shows the state of playback.
// `window.weir` exposes the player and `stats()` to tests.
"use strict";
(() => {
  const RETRY_MS = 1500;
  const REFRESH_MS = 500;
  // Distance behind the target latency at which the badge offers to go live.
  const LATE_SECONDS = 4;
  // Time that the first playlist may take; the server holds the answer until there is something to play.
  const FIRST_ANSWER_MS = 40000;
  // A withdrawn level is tried again after this time, because the server may only have been too busy to encode it.
  const PENALTY_MS = 20000;
  // Media of a withdrawn level that was already requested arrives within this time.
  const IN_FLIGHT_MS = 2000;
  // Catching up starts at this distance from the target latency. The playback rate rises by this share of the distance, up
  // to the maximum.
  const MIN_DISTANCE_SECONDS = 0.05;
  const CATCH_UP_SHARE = 0.15;
  const MAX_RATE = 1.5;
  // Buffer to keep while catching up, in parts. Without parts it is one target duration and a second.
  const MIN_BUFFERED_PARTS = 1.5;
  // Catching up starts only after this time without a stall and with the minimum buffered throughout, because a stream whose
  // tracks arrive unevenly needs its buffer.
  const STABLE_MS = 8000;
  // Playback that has not moved for this time near the end of an ended playlist is over.
  const FROZEN_MS = 1500;

  const $ = (id) => document.getElementById(id);
  const video = $("video");
  const source = `/${document.body.dataset.playbackId}.m3u8${location.search}`;
  const state = { stalls: 0, fatal: [], errors: 0, started: false, ended: false };
  // Levels that the server has withdrawn, with the time of the last 404 to a reload of their playlist.
  const withdrawn = new Map();
  let hls = null;
  let retry = 0;
  // Media folders of the broadcast being played and of the last one that ended, whose playlists stay available for a while.
  let currentFolder = null;
  let endedFolder = null;
  let lastMove = { at: 0, position: 0 };
  // Time since which playback has not stalled and the buffer has not fallen to its minimum.
  let stableSince = performance.now();

  function showMessage(message, hint, final) {
    $("message").textContent = message;
    $("hint").textContent = hint || "";
    $("overlay").toggleAttribute("data-final", Boolean(final));
    $("overlay").hidden = false;
    // The native controls would show a second spinner.
    video.controls = false;
  }

  function hideMessage() {
    $("overlay").hidden = true;
    video.controls = true;
  }

  function setBadge(mode, text) {
    $("badge").dataset.state = mode;
    $("badge").textContent = text;
  }

  function waitForStart() {
    setBadge("waiting", "Waiting");
    showMessage("Waiting for the stream to start…", "Playback starts automatically when the encoder connects.");
  }

  function retryLater(start) {
    clearTimeout(retry);
    retry = setTimeout(start, RETRY_MS);
  }

  // Explains an answer without a playlist. Returns true if it is worth trying again.
  function explainStatus(status) {
    switch (status) {
      case 412:
        waitForStart();
        return true;
      case 404:
        setBadge("waiting", "Not found");
        showMessage("There is no such stream.", "Check the address: the last part of it must be a playback ID.", true);
        return false;
      case 401:
      case 403:
        setBadge("waiting", "No access");
        showMessage("This stream needs a valid token.", "Ask its owner for a new link.", true);
        return false;
      case 503:
        waitForStart();
        showMessage("The stream is about to start…", "The encoder is connected, but has not sent a whole segment yet.");
        return true;
      default:
        setBadge("waiting", "Offline");
        showMessage("The server cannot be reached.", "Check the network. This page retries automatically.");
        return true;
    }
  }

  function showEnded() {
    if (state.ended) return;
    endedFolder = currentFolder;
    state.ended = true;
    state.started = false;
    for (const fact of ["latency", "level", "buffered"]) $(fact).textContent = "–";
    stop();
    $("unmute").hidden = true;
    setBadge("waiting", "Ended");
    showMessage("The stream has ended.", "Playback continues automatically when it starts again.", true);
    retryLater(awaitNextBroadcast);
  }

  const folderOf = (url) => new URL(".", url).pathname;

  // Polls the playlist until it points to another broadcast than the one that has ended.
  async function awaitNextBroadcast() {
    const { folder } = await fetchPlaylist();
    if (folder && folder !== endedFolder) window.weir.start();
    else retryLater(awaitNextBroadcast);
  }

  // Returns the status of the answer (0 if there is none) and the media folder that the playlist points to.
  async function fetchPlaylist() {
    try {
      const answer = await fetch(source, { cache: "no-store" });
      const text = answer.ok ? await answer.text() : "";
      const line = text.split("\n").find((found) => found && !found.startsWith("#"));
      return { status: answer.status, folder: line ? folderOf(new URL(line, answer.url)) : null };
    } catch {
      return { status: 0, folder: null };
    }
  }

  function stop() {
    clearTimeout(retry);
    if (hls) hls.destroy();
    hls = null;
  }

  function startHls() {
    stop();
    withdrawn.clear();
    state.ended = false;
    state.started = false;
    // The server holds the first answer until there is something to play.
    const manifestLoadPolicy = { default: { maxTimeToFirstByteMs: FIRST_ANSWER_MS, maxLoadTimeMs: FIRST_ANSWER_MS, timeoutRetry: null, errorRetry: null } };
    hls = new Hls({
      lowLatencyMode: true,
      // hls.js 1.7: it does not catch up with less than a second buffered, so catchUp() does it instead.
      maxLiveSyncPlaybackRate: 1,
      liveSyncOnStallIncrease: 0.2,
      maxBufferLength: 12,
      maxMaxBufferLength: 30,
      errorPenaltyExpireMs: PENALTY_MS,
      manifestLoadPolicy,
    });
    hls.on(Hls.Events.ERROR, onError);
    hls.on(Hls.Events.LEVEL_LOADED, onLevelLoaded);
    hls.on(Hls.Events.FRAG_BUFFERED, keepPenalty);
    hls.loadSource(source);
    hls.attachMedia(video);
  }

  function onLevelLoaded(_event, { details }) {
    currentFolder = folderOf(details.url);
    // A viewer who opens the page after the end is not shown the last minute again. hls.js must not be destroyed within its
    // own event.
    if (!details.live && !state.started) setTimeout(showEnded, 0);
  }

  // hls.js 1.7: it forgives a level when media of it arrives, even if that was requested before the 404. It would return to
  // the level immediately and lose a second, so the penalty is set again.
  function keepPenalty(_event, { frag }) {
    const since = withdrawn.get(frag.level);
    const level = hls.levels[frag.level];
    if (frag.type !== "main" || !level || !(performance.now() - since < IN_FLIGHT_MS)) return;
    level.loadError = 1;
    level.loadErrorTime = since;
  }

  function onError(_event, data) {
    state.errors += 1;
    const status = data.response ? data.response.code : 0;
    if (data.details === Hls.ErrorDetails.LEVEL_LOAD_ERROR && status === 404) withdrawn.set(data.context.level, performance.now());
    if (!data.fatal) return;
    const expected = data.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR && (status === 412 || status === 503);
    if (!expected) state.fatal.push({ type: data.type, details: data.details, status });
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && state.fatal.length < 4) {
      showMessage("Playback was interrupted.", "Trying to recover…");
      hls.recoverMediaError();
      return;
    }
    if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) {
      setBadge("waiting", "Error");
      showMessage("This browser cannot play the stream.", `Try another browser, or another codec in the encoder (${data.details}).`, true);
      return;
    }
    stop();
    if (explainStatus(status)) retryLater(startHls);
  }

  async function startNative() {
    const { status, folder } = await fetchPlaylist();
    state.ended = false;
    currentFolder = folder;
    if (status === 200) video.src = source;
    else if (explainStatus(status)) retryLater(startNative);
  }

  function bufferedAhead() {
    for (let i = 0; i < video.buffered.length; i += 1) {
      if (video.buffered.start(i) <= video.currentTime + 0.1 && video.currentTime <= video.buffered.end(i)) {
        return video.buffered.end(i) - video.currentTime;
      }
    }
    return 0;
  }

  // Plays slightly faster while the latency is above the playlist's target and enough is buffered.
  function catchUp() {
    const details = hls && hls.latestLevelDetails;
    if (!details || !details.live || !state.started || video.paused) return;
    const distance = hls.latency - hls.targetLatency;
    const minBuffered = details.partTarget ? MIN_BUFFERED_PARTS * details.partTarget : details.targetduration + 1;
    const now = performance.now();
    if (bufferedAhead() <= minBuffered) stableSince = now;
    const faster = distance > MIN_DISTANCE_SECONDS && now - stableSince > STABLE_MS;
    video.playbackRate = faster ? Math.min(1 + CATCH_UP_SHARE * distance, MAX_RATE) : 1;
  }

  // hls.js 1.7: it reports the end only if every track is buffered completely, and a fraction of a frame may be missing.
  function detectEnd(now) {
    if (video.currentTime !== lastMove.position) lastMove = { at: now, position: video.currentTime };
    const details = hls && hls.latestLevelDetails;
    const nearEnd = details && !details.live && details.edge - video.currentTime < details.targetduration;
    if (nearEnd && state.started && !video.paused && now - lastMove.at > FROZEN_MS) showEnded();
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
      stalls: state.stalls,
      fatal: state.fatal.slice(),
      errors: state.errors,
      started: state.started,
      ended: state.ended,
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
    detectEnd(performance.now());
    const now = stats();
    $("stalls").textContent = String(now.stalls);
    $("dropped").textContent = String(now.dropped);
    if (!now.started) return;
    $("latency").textContent = `${now.latency.toFixed(1)} s`;
    $("buffered").textContent = `${now.buffered.toFixed(1)} s`;
    const level = hls && hls.levels[hls.currentLevel];
    const rate = level && level.bitrate ? ` · ${(level.bitrate / 1e6).toFixed(1)} Mbit/s` : "";
    $("level").textContent = now.height ? `${now.height}p${rate}` : `audio${rate}`;
    if (now.ended || !$("overlay").hidden) return;
    const late = now.paused || now.latency > (now.targetLatency || 0) + LATE_SECONDS;
    setBadge(late ? "late" : "live", late ? "Go live" : "Live");
  }

  function goLive() {
    if (hls && hls.liveSyncPosition) video.currentTime = hls.liveSyncPosition;
    else if (!hls && video.seekable.length) video.currentTime = video.seekable.end(video.seekable.length - 1);
    video.play().catch(() => {});
  }

  video.addEventListener("playing", () => {
    state.started = true;
    hideMessage();
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("waiting", () => {
    stableSince = performance.now();
    if (state.started && !video.seeking && !state.ended) state.stalls += 1;
  });
  video.addEventListener("volumechange", () => {
    $("unmute").hidden = !video.muted;
  });
  video.addEventListener("timeupdate", catchUp);
  video.addEventListener("ended", showEnded);
  video.addEventListener("error", () => {
    if (!hls && video.error && video.src) retryLater(startNative);
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
    showMessage("This browser cannot play live streams.", "Open this page in a current version of a common browser.", true);
    return;
  }
  waitForStart();
  start();
  setInterval(refresh, REFRESH_MS);
})();
