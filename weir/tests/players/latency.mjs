// Measures glass-to-glass delay: from the time a frame is drawn to the time hls.js shows it, on one machine.
//
//   node latency.mjs WEIR_BINARY [SECONDS] [watch|hls]
//
// Each frame carries the wall clock as a row of black and white cells. It passes x264, RTMP, Weir in `low` mode, and Weir's own
// watch page or hls.js with its default settings, where the cells are read from the video again. `make latency` runs both.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBrowser, servePages } from './browser.mjs';

const WIDTH = 640;
const HEIGHT = 360;
const RATE = 30;
const CELLS = 32;
const CELL = WIDTH / CELLS;
// Two rows: the clock, and its inverse below it, so that a torn or blurred frame is not read as a time.
const ROW = 40;
const SETTLE_MS = 8_000;

const [binary, secondsText = '20', player = 'watch'] = process.argv.slice(2);
const seconds = Number(secondsText);

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// Draws the low 32 bits of the clock, and a moving pattern below them, so that the encoder has work to do.
function draw(frame, stamp, count) {
  for (let y = 2 * ROW; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) frame[y * WIDTH + x] = (x * 2 + y * 3 + count * 5) & 0xff;
  }
  for (let cell = 0; cell < CELLS; cell += 1) {
    const bit = (stamp >>> (CELLS - 1 - cell)) & 1;
    for (let y = 0; y < 2 * ROW; y += 1) {
      const value = (bit === 1) === y < ROW ? 235 : 16;
      frame.fill(value, y * WIDTH + cell * CELL, y * WIDTH + (cell + 1) * CELL);
    }
  }
}

// Draws each frame when it is due on the wall clock, and pushes it.
function publish(url) {
  const words = `-hide_banner -loglevel error -f rawvideo -pix_fmt gray -s ${WIDTH}x${HEIGHT} -r ${RATE} -probesize 32
    -fflags nobuffer -i - -f lavfi -i sine=frequency=330:sample_rate=48000 -map 0:v -map 1:a -c:v libx264 -preset superfast
    -tune zerolatency -pix_fmt yuv420p -color_range tv -g ${RATE} -b:v 1500k -c:a aac -b:a 96k -flush_packets 1 -f flv`;
  const ffmpeg = spawn('ffmpeg', [...words.split(/\s+/), url], { stdio: ['pipe', 'inherit', 'inherit'] });
  const frame = Buffer.alloc(WIDTH * HEIGHT);
  const start = Date.now();
  let count = 0;
  const timer = setInterval(() => {
    while (Date.now() - start >= (count * 1000) / RATE) {
      draw(frame, Date.now() >>> 0, count);
      ffmpeg.stdin.write(Buffer.from(frame));
      count += 1;
    }
  }, 4);
  ffmpeg.stdin.on('error', () => clearInterval(timer));
  return { stop: () => { clearInterval(timer); ffmpeg.kill('SIGKILL'); } };
}

// Runs in the page: reads each frame when it is presented.
function read({ cells, cell, row }) {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  canvas.width = cells * cell;
  canvas.height = 2 * row;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  window.delays = [];
  window.unreadable = 0;
  const scale = () => video.videoWidth / (cells * cell);
  const readFrame = () => {
    const now = Date.now();
    const k = scale();
    context.drawImage(video, 0, 0, cells * cell * k, 2 * row * k, 0, 0, cells * cell, 2 * row);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const bright = (x, y) => data[4 * (y * canvas.width + x)] > 127;
    let stamp = 0;
    let whole = true;
    for (let index = 0; index < cells; index += 1) {
      const x = Math.floor((index + 0.5) * cell);
      const bit = bright(x, Math.floor(row / 2));
      whole &&= bit !== bright(x, Math.floor(row * 1.5));
      stamp = (stamp * 2 + (bit ? 1 : 0)) % 4294967296;
    }
    if (whole) window.delays.push((now % 4294967296) - stamp);
    else window.unreadable += 1;
    video.requestVideoFrameCallback(readFrame);
  };
  video.requestVideoFrameCallback(readFrame);
}

async function untilHealthy(base) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await fetch(`${base}/healthz`).catch(() => null);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the server did not start');
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const [http, rtmp] = [await freePort(), await freePort()];
const base = `http://127.0.0.1:${http}`;
const folder = await mkdtemp(join(tmpdir(), 'weir-latency-'));
const server = spawn(binary, ['serve'], {
  cwd: folder,
  stdio: ['ignore', 'ignore', 'inherit'],
  env: {
    ...process.env,
    WEIR_DATA_DIR: join(folder, 'data'),
    WEIR_HTTP_LISTEN: `127.0.0.1:${http}`,
    WEIR_RTMP_LISTEN: `127.0.0.1:${rtmp}`,
    WEIR_SRT_LISTEN: '',
    WEIR_API_TOKEN_ID: 'latency',
    WEIR_API_TOKEN_SECRET: 'latency',
    WEIR_LOG_FILTER: 'warn',
  },
});
let publisher;
let browser;
let pages;
let code = 1;
try {
  await untilHealthy(base);
  const created = await fetch(`${base}/video/v1/live-streams`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('latency:latency')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ playback_policies: ['public'], latency_mode: 'low' }),
  });
  const stream = (await created.json()).data;
  publisher = publish(`rtmp://127.0.0.1:${rtmp}/app/${stream.stream_key}`);
  browser = await openBrowser();
  const page = await browser.newPage();
  // The page answers 200 for an idle stream too; its player waits for the first playlist.
  const id = stream.playback_ids[0].id;
  if (player === 'watch') {
    await page.goto(`${base}/watch/${id}`);
  } else {
    // hls.js gives up if there is nothing to play yet, so wait for the playlist.
    while (!(await fetch(`${base}/${id}.m3u8`)).ok) await new Promise((resolve) => setTimeout(resolve, 50));
    pages = await servePages();
    await page.goto(`${pages.base}/pages/${player}.html?source=${encodeURIComponent(`${base}/${id}.m3u8`)}`);
  }
  await page.waitForFunction(() => document.querySelector('video')?.played.length > 0, null, { timeout: 30_000 });
  // Wait until the player has caught up with the live edge.
  await page.waitForTimeout(SETTLE_MS);
  await page.evaluate(read, { cells: CELLS, cell: CELL, row: ROW });
  await page.waitForTimeout(seconds * 1000);
  const { delays, unreadable, own } = await page.evaluate(() => ({
    delays: window.delays,
    unreadable: window.unreadable,
    own: window.weir?.stats?.() ?? null,
  }));
  if (delays.length < (seconds * RATE) / 3) throw new Error(`only ${delays.length} frames read, ${unreadable} unreadable`);
  const sorted = [...delays].sort((one, other) => one - other);
  console.log(`glass to glass, ${player}, ${delays.length} frames in ${seconds} s: p50 ${percentile(sorted, 0.5)} ms, ` +
    `p90 ${percentile(sorted, 0.9)} ms, max ${sorted.at(-1)} ms (${unreadable} unreadable)`);
  if (own) console.log(`stats of the player: ${JSON.stringify(own)}`);
  code = 0;
} catch (error) {
  console.error(String(error.message ?? error));
} finally {
  await browser?.close();
  pages?.close();
  publisher?.stop();
  server.kill('SIGTERM');
  await new Promise((resolve) => (server.exitCode === null ? server.once('exit', resolve) : resolve()));
  await rm(folder, { recursive: true, force: true });
}
process.exit(code);
