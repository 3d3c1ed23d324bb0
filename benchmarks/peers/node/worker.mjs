// transformers.js with the plain export, or with our bundle: a peer's side of the line protocol (see ../worker.py), from texts.
//
//     node benchmarks/peers/node/worker.mjs MODULES FOLDER {fp32,q8,int8} THREADS     (asked by side_by_side.py)
//
// MODULES is the directory with node_modules, FOLDER a bundle or what peers/folder.py writes. Nothing is fetched.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';

const [modules, folder, dtype, threads] = process.argv.slice(2);
const installed = createRequire(path.resolve(modules, 'package.json'));
const answers = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // for answers alone

const { env, pipeline } = installed('@huggingface/transformers');
env.allowRemoteModels = false;
env.localModelPath = path.dirname(path.resolve(folder));

function say(message) {
  answers(`${JSON.stringify(message)}\n`);
}

function peakMegabytes() {
  const kilobytes = /VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf-8'))[1];
  return Math.round(kilobytes / 102.4) / 10;
}

function version(name) {
  const file = path.join(modules, 'node_modules', name, 'package.json');
  return JSON.parse(fs.readFileSync(file, 'utf-8')).version;
}

// A .npy file of float32 rows: magic, version 1.0, header padded to 64 bytes, data.
function saveNumpy(file, rows) {
  const shape = `(${rows.length}, ${rows[0].length})`;
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const header = fields.padEnd(64 * Math.ceil((fields.length + 11) / 64) - 11) + '\n';
  const start = Buffer.from('\x93NUMPY\x01\x00..', 'latin1');
  start.writeUInt16LE(header.length, 8);
  fs.writeFileSync(file, Buffer.concat([start, Buffer.from(header), ...rows.map((row) => Buffer.from(row.buffer))]));
}

async function answer(extractor, request) {
  const batches = JSON.parse(fs.readFileSync(request.input, 'utf-8'));
  const milliseconds = [];
  let outputs;
  for (let turn = 0; turn < request.warm + request.runs; turn += 1) {
    const start = performance.now();
    outputs = [];
    for (const { texts } of batches) outputs.push(await extractor(texts, { pooling: 'mean', normalize: false }));
    if (turn >= request.warm) milliseconds.push(performance.now() - start);
  }
  const rows = [];
  batches.forEach(({ places }, batch) => {
    const hidden = outputs[batch].dims[1];
    places.forEach((place, row) => {
      rows[place] = Float32Array.from(outputs[batch].data.subarray(row * hidden, (row + 1) * hidden));
    });
  });
  saveNumpy(request.vectors, rows);
  return { milliseconds, peak_megabytes: peakMegabytes() };
}

const start = performance.now();
const extractor = await pipeline('feature-extraction', path.basename(folder), {
  device: 'cpu',
  dtype,
  use_external_data_format: fs.existsSync(path.join(folder, 'onnx', 'model.onnx_data')),
  session_options: { intraOpNumThreads: Number(threads) },
});
const about = {
  'transformers.js': version('@huggingface/transformers'),
  'onnxruntime-node': version('onnxruntime-node'),
  node: process.versions.node,
};
say({ about, load_milliseconds: performance.now() - start });
for await (const line of readline.createInterface({ input: process.stdin })) {
  say(await answer(extractor, JSON.parse(line)));
}
