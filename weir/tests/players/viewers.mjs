// Watches live streams in the watch page, several at the same time. Each viewer follows the steps of its script.
//
//   node viewers.mjs SECONDS '[{ "url": WATCH_PAGE_URL, "steps": [STEP, …] }, …]'
//
// A step is one of
//   { "sees": "live" | "repeated" | "slate" }  waits until this is shown, after what earlier steps saw
//   { "height": 720 }                          waits until the video has this height, and prints it: `0: 720p`
//   { "below": 720 }                           waits until the video is lower
//   { "audioTracks": 2 }                       waits until audio came from this many renditions, one after another
//   { "kbps": 900 }                            limits the bandwidth from here on; 0 removes the limit
//   { "cap": 480 }                             limits the player to lower levels from here on, as a small window does
//   { "seconds": 2 }                           plays on
// Prints `playing` when all viewers play, then a line for each step, and in the end a line of JSON for each viewer. The exit code
// is 0 if all steps were done within SECONDS and nothing stalled, jumped or failed.

import { openBrowser } from './browser.mjs';

const START_TIMEOUT_MS = 30_000;
const STALL_MS = 500;
// How long the last frame is repeated before the slate, in seconds of media: half a second, and encoding delay.
const REPEATED = [0.3, 0.8];

const [seconds, script] = process.argv.slice(2);
const deadline = () => Number(seconds) * 1000 - (Date.now() - begun);
let begun = Date.now();

// Runs in the page: observes currentTime and the video on the screen, as a viewer would.
function watch({ stallMs }) {
  // Tolerance of a step of currentTime, beyond the time that passed.
  const JUMP_S = 0.3;
  const STILL_S = 0.25;
  const [WIDTH, HEIGHT] = [32, 18];
  const video = document.querySelector('video');
  const now = performance.now();
  const state = { begun: now, from: video.currentTime, longest: 0, stalls: [], jumps: [], shown: [], heights: [], audioTracks: [] };
  let [last, moved, checked] = [video.currentTime, now, now];
  setInterval(() => {
    const at = performance.now();
    const step = video.currentTime - last;
    const passed = (at - checked) / 1000;
    checked = at;
    if (step < 0 || step > video.playbackRate * passed + JUMP_S) state.jumps.push({ from: last, to: video.currentTime, passed });
    if (state.heights.at(-1) !== video.videoHeight) state.heights.push(video.videoHeight);
    state.longest = Math.max(state.longest, at - moved);
    if (step !== 0) {
      if (at - moved > stallMs) state.stalls.push({ at: last, ms: Math.round(at - moved) });
      [last, moved] = [video.currentTime, at];
    }
  }, 20);

  const { hls } = window.weir;
  hls.on(window.Hls.Events.FRAG_BUFFERED, (_event, { frag, part }) => {
    const [rendition] = (part ?? frag).url.split('/').at(-1).split('-');
    if (frag.type === 'audio' && state.audioTracks.at(-1) !== rendition) state.audioTracks.push(rendition);
  });

  const context = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true });
  let before = null;
  let still = null;
  const show = (kind, at) => {
    const current = state.shown.at(-1);
    if (current?.kind === kind) current.to = at;
    else state.shown.push({ kind, from: at, to: at });
  };
  const inspect = (_now, { mediaTime: at }) => {
    video.requestVideoFrameCallback(inspect);
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    const sum = [0, 0, 0];
    let changed = 0;
    for (let n = 0; n < data.length; n += 4) {
      let most = 0;
      for (let c = 0; c < 3; c += 1) {
        sum[c] += data[n + c];
        if (before) most = Math.max(most, Math.abs(data[n + c] - before[n + c]));
      }
      if (most > 12) changed += 1;
    }
    state.changed = changed;
    const [red, green, blue] = sum.map((all) => all / (WIDTH * HEIGHT));
    const slate = red > 150 && green < 80 && blue < 80;
    still = before && changed < 3 && !slate ? still ?? at : null;
    before = data;
    if (slate) show('slate', at);
    else if (still === null) show('live', at);
    else if (at - still >= STILL_S) {
      // The repetition began with the first frame that did not change.
      if (state.shown.at(-1)?.kind !== 'repeated') show('repeated', still);
      show('repeated', at);
    }
  };
  video.requestVideoFrameCallback(inspect);
  window.watched = state;
}

function report() {
  const video = document.querySelector('video');
  const { begun: start, from, longest, stalls, jumps, shown, heights, audioTracks } = window.watched;
  const own = window.weir.stats();
  const passed = (performance.now() - start) / 1000;
  const ahead = own.buffered;
  const allStalls = longest > 500 && !stalls.length ? [{ at: video.currentTime, ms: Math.round(longest) }] : stalls;
  return { advanced: video.currentTime - from, passed, longestMs: Math.round(longest), stalls: allStalls, jumps, shown, heights,
    audioTracks, ahead, latency: own.latency, errors: own.errors, fatal: own.fatal, mediaError: video.error?.message ?? null };
}

// Runs in the page: true, or a number, once a step is done.
function arrived({ kind, value, from }) {
  const height = document.querySelector('video').videoHeight;
  if (kind === 'height') return height === value;
  if (kind === 'below') return height < value;
  if (kind === 'audioTracks') return window.watched.audioTracks.length >= value;
  const at = window.watched.shown.findIndex((period, n) => n >= from && period.kind === value);
  return at < 0 ? 0 : at + 1;
}

class Viewer {
  constructor(index, { url, steps }) {
    Object.assign(this, { index, url, steps, messages: [], wrong: [], seen: 0 });
  }

  async start(browser) {
    this.page = await browser.newPage();
    this.page.on('console', (message) => this.messages.push(message.text()));
    this.page.on('pageerror', (error) => this.messages.push(`page error: ${error.message}`));
    await this.page.goto(this.url);
    // After half a second of playback, the jump to the live edge is over.
    const playing = () => {
      const { played, paused } = document.querySelector('video');
      return played.length > 0 && !paused && played.end(played.length - 1) - played.start(played.length - 1) > 0.5;
    };
    await this.page.waitForFunction(playing, null, { timeout: START_TIMEOUT_MS, polling: 50 });
    await this.page.evaluate(watch, { stallMs: STALL_MS });
  }

  async follow() {
    for (const [n, step] of this.steps.entries()) {
      const [[kind, value]] = Object.entries(step);
      try {
        await this.take(kind, value);
      } catch (error) {
        this.wrong.push(`step ${n}, ${JSON.stringify(step)}: ${error.message.split('\n')[0]}`);
        return;
      }
      console.log(`${this.index}: ${kind === 'height' ? `${value}p` : `${kind} ${value}`}`);
    }
  }

  async take(kind, value) {
    if (kind === 'seconds') await this.page.waitForTimeout(value * 1000);
    else if (kind === 'kbps') await this.limitBandwidth(value);
    else if (kind === 'cap') await this.page.evaluate((maxHeight) => {
      const { hls } = window.weir;
      hls.autoLevelCapping = hls.levels.findLastIndex(({ height }) => height <= maxHeight);
    }, value);
    else {
      const options = { timeout: Math.max(deadline(), 1), polling: 50 };
      const found = await this.page.waitForFunction(arrived, { kind, value, from: this.seen }, options);
      if (kind === 'sees') this.seen = await found.jsonValue();
    }
  }

  async limitBandwidth(kbps) {
    this.session ??= await this.page.context().newCDPSession(this.page);
    await this.session.send('Network.enable');
    const bytes = kbps ? (kbps * 1000) / 8 : -1;
    const conditions = { offline: false, latency: 0, downloadThroughput: bytes, uploadThroughput: bytes };
    await this.session.send('Network.emulateNetworkConditions', conditions);
  }

  async judge() {
    const result = await this.page.evaluate(report);
    const { wrong } = this;
    if (result.fatal.length || result.mediaError) wrong.push(`failed: ${JSON.stringify(result.fatal)} ${result.mediaError ?? ''}`);
    if (result.stalls.length) wrong.push(`stalled ${result.stalls.length} times, ${result.longestMs} ms the longest`);
    if (result.jumps.length) wrong.push(`jumped ${result.jumps.length} times`);
    // Players play a little slower or faster to hold their distance to the live edge.
    if (result.advanced < 0.9 * result.passed) wrong.push(`advanced ${result.advanced} s in ${result.passed} s`);
    result.shown.forEach(({ kind, from }, n) => {
      const next = result.shown[n + 1];
      const duration = next ? next.from - from : 0;
      if (kind === 'repeated' && next?.kind === 'slate' && (duration < REPEATED[0] || duration > REPEATED[1])) wrong.push(`repeated for ${duration} s`);
    });
    console.log(JSON.stringify({ viewer: this.index, ...result, wrong }));
    if (wrong.length) console.log(this.messages.join('\n'));
    return wrong.length === 0;
  }
}

const browser = await openBrowser();
let code = 1;
try {
  const viewers = JSON.parse(script).map((viewer, index) => new Viewer(index, viewer));
  await Promise.all(viewers.map((viewer) => viewer.start(browser)));
  console.log('playing');
  begun = Date.now();
  await Promise.all(viewers.map((viewer) => viewer.follow()));
  const verdicts = await Promise.all(viewers.map((viewer) => viewer.judge()));
  code = verdicts.every(Boolean) ? 0 : 1;
} catch (error) {
  console.log(String(error.message ?? error));
} finally {
  await browser.close();
}
process.exit(code);
