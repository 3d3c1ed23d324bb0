// Embeds text in a browser with a bundle of jinabert-onnx, by onnxruntime-web's WebAssembly. Texts stay in the browser.
//
// Knows nothing of a page. The libraries are in lib/ beside this file, where `npm run lib` copies them.

const LIB = new URL('lib/', import.meta.url);

/** Whether files are checked by their hashes, or by their sizes alone: browsers hash for https and localhost only. */
export const HASHES = Boolean(globalThis.crypto?.subtle);

/** A loaded bundle that turns text into vectors. Make one with `Embedder.load`. */
export class Embedder {
  /**
   * Fetch a bundle, check its files (see `HASHES`), and check what this browser computes with it.
   *
   * @param {URL} folder where the bundle is; ends with a slash.
   * @param {'fp32' | 'int8'} precision the weights and the arithmetic.
   * @param {(done: number, total: number) => void} progress is told the bytes of the model that are here.
   * @throws {Error} a file is missing or altered, or the vectors are not those of export; one line, for the user.
   */
  static async load(folder, precision, progress = () => {}) {
    const { ort, Tokenizer } = await libraries();
    const manifest = await (await answered(folder, 'manifest.json')).json();
    const names = manifest.precisions[precision];
    if (!names) throw new Error(`This bundle has no ${precision}; export it with --precision ${precision}.`);
    const { mode } = manifest.pooling;
    if (mode !== 'mean') throw new Error(`Only pooling by mean is known here; the model pools by ${mode}.`);

    const file = (name, tell) => fetched(folder, name, manifest.files[name], tell);
    const json = async (name) => JSON.parse(new TextDecoder().decode(await file(name)));
    const tokenizer = new Tokenizer(await json('tokenizer.json'), await json('tokenizer_config.json'));
    const total = names.reduce((sum, name) => sum + manifest.files[name].bytes, 0);
    const parts = []; // the graph, then weights that lie outside it
    for (const name of names) {
      const before = parts.reduce((sum, part) => sum + part.length, 0);
      parts.push(await file(name, (done) => progress(before + done, total)));
    }
    const session = await ort.InferenceSession.create(parts[0], {
      executionProviders: ['wasm'],
      graphOptimizationLevel: 'disabled', // both graphs were optimised at export
      externalData: names.slice(1).map((name, index) => ({ path: name.split('/').pop(), data: parts[index + 1] })),
    });
    const embedder = new Embedder(ort, session, tokenizer, manifest.default_max_length);
    await requireSame(embedder, (await json('probes.json')).self_test, precision);
    return embedder;
  }

  constructor(ort, session, tokenizer, maxLength) {
    Object.assign(this, { ort, session, tokenizer, maxLength });
  }

  /**
   * Embed texts as one batch.
   *
   * @param {string[]} texts
   * @returns {Promise<{vectors: Float32Array[], tokens: number[]}>} a vector (hidden) a text, not normalised, and its
   *     number of tokens, special ones included.
   * @throws {Error} a text has more tokens than the model reads.
   */
  async encode(texts) {
    const rows = texts.map((text) => this.tokenizer.encode(text).ids);
    const long = rows.findIndex((ids) => ids.length > this.maxLength);
    if (long >= 0) {
      throw new Error(`Text ${long + 1} has ${rows[long].length} tokens; the model reads ${this.maxLength}.`);
    }

    const width = Math.max(...rows.map((ids) => ids.length));
    const inputIds = new BigInt64Array(rows.length * width); // (batch, sequence); what is masked may be any token
    const attentionMask = new BigInt64Array(rows.length * width);
    rows.forEach((ids, row) => {
      inputIds.set(ids.map(BigInt), row * width);
      attentionMask.fill(1n, row * width, row * width + ids.length);
    });
    const shape = [rows.length, width];
    const { last_hidden_state: hidden } = await this.session.run({
      input_ids: new this.ort.Tensor('int64', inputIds, shape),
      attention_mask: new this.ort.Tensor('int64', attentionMask, shape),
    });
    const tokens = rows.map((ids) => ids.length);
    return { vectors: tokens.map((count, row) => mean(hidden, row, count)), tokens };
  }

  /** Release the memory. */
  async close() {
    await this.session.release();
  }
}

/** The cosine of two vectors. */
export function cosine(first, second) {
  let [dot, left, right] = [0, 0, 0];
  first.forEach((value, channel) => {
    dot += value * second[channel];
    left += value * value;
    right += second[channel] * second[channel];
  });
  return dot / Math.sqrt(left * right);
}

// The mean of the first `count` rows of one text of last_hidden_state (batch, sequence, hidden).
function mean({ data, dims: [, sequence, channels] }, row, count) {
  const sums = new Float64Array(channels);
  for (let token = 0; token < count; token += 1) {
    const start = (row * sequence + token) * channels;
    for (let channel = 0; channel < channels; channel += 1) sums[channel] += data[start + channel];
  }
  return Float32Array.from(sums, (sum) => sum / count);
}

async function libraries() {
  try {
    const ort = await import(new URL('ort.wasm.min.mjs', LIB));
    const { Tokenizer } = await import(new URL('tokenizers.min.mjs', LIB));
    ort.env.wasm.wasmPaths = LIB.href;
    ort.env.wasm.numThreads = 1; // more need headers of cross-origin isolation, and gain nothing for two sentences
    return { ort, Tokenizer };
  } catch (error) {
    throw new Error(`The libraries in lib/ cannot be loaded; run "npm run lib" (${error.message}).`, { cause: error });
  }
}

async function answered(folder, name) {
  let response;
  try {
    response = await fetch(new URL(name, folder), { cache: 'no-cache' }); // kept, but never stale
  } catch (error) {
    throw new Error(`The server does not answer for ${name}; is it still running?`, { cause: error });
  }
  if (!response.ok) throw new Error(`${name}: the server says ${response.status}; is a bundle there?`);
  return response;
}

// The bytes of a file, which are those that the manifest lists.
async function fetched(folder, name, expected, tell = () => {}) {
  const { body } = await answered(folder, name);
  const bytes = new Uint8Array(expected.bytes);
  let done = 0;
  for (const reader = body.getReader(); ;) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    if (done + value.length <= bytes.length) bytes.set(value, done);
    tell((done += value.length));
  }
  if (done !== bytes.length || !(await hasDigest(bytes, expected.sha256))) {
    throw new Error(`${name} is not the file that the manifest lists; copy the bundle again.`);
  }
  return bytes;
}

async function hasDigest(bytes, sha256) {
  if (!HASHES) return true;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') === sha256;
}

// As in the runtime's self-test: a wrong tokenizer, or arithmetic that goes astray here, must not pass for a result.
async function requireSame(embedder, { texts, vectors }, precision) {
  const found = await embedder.encode(texts);
  const lowest = Math.min(...found.vectors.map((vector, row) => cosine(vector, vectors[precision][row])));
  if (!(lowest >= (precision === 'fp32' ? 0.999999 : 0.999))) {
    throw new Error(`This browser computes other vectors than the exporter's machine did (cosine ${lowest}).`);
  }
}
