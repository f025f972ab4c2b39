// node-media-server as a target of a simulcast: `node media-server.mjs PORT FOLDER` accepts RTMP on the port, with any key, and
// records each publication in the folder.

import NodeMediaServer from 'node-media-server';

const [port, folder] = process.argv.slice(2);

new NodeMediaServer({ bind: '127.0.0.1', rtmp: { port: Number(port) }, record: { path: folder } }).run();
