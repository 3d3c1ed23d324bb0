// Wires index.html to the embedder: two sentences in, their similarity out, and everything that goes wrong in words.

import { Embedder, HASHES, cosine } from './embedder.js';

const BUNDLE = new URL('bundle/', import.meta.url);
const page = Object.fromEntries([...document.querySelectorAll('[id]')].map((element) => [element.id, element]));
let embedder = null;

// Everything the page does goes through here: one thing at a time, and what goes wrong is shown.
async function doing(words, work) {
  page.controls.disabled = true;
  page.error.hidden = true;
  page.status.textContent = words;
  try {
    await work();
  } catch (error) {
    page.result.hidden = true;
    page.status.textContent = '';
    page.error.textContent = error.message;
    page.error.hidden = false;
  } finally {
    page.loading.hidden = true;
    page.controls.disabled = false;
  }
}

async function load() {
  page.result.hidden = true;
  page.loading.hidden = false;
  page.loading.removeAttribute('value'); // moves, but tells nothing, until the size is known
  await embedder?.close();
  embedder = null;
  const start = performance.now();
  embedder = await Embedder.load(BUNDLE, page.precision.value, (done, total) => {
    page.loading.value = done / total;
    page.status.textContent = `Loading the model: ${megabytes(done)} of ${megabytes(total)} MB`;
  });
  page.status.textContent = `Model loaded and checked in ${((performance.now() - start) / 1000).toFixed(1)} s.`
    + (HASHES ? '' : ' Its files were checked by size only: the browser computes no hashes without https.');
}

async function compare() {
  if (embedder === null) await load();
  const texts = [page.first.value, page.second.value];
  const start = performance.now();
  const { vectors, tokens } = await embedder.encode(texts);
  const similarity = cosine(...vectors);
  page.similarity.textContent = similarity.toFixed(4);
  page.bar.value = Math.max(0, similarity);
  page.details.textContent = `${tokens[0]} and ${tokens[1]} tokens, ${vectors[0].length} dimensions, `
    + `${Math.round(performance.now() - start)} ms, ${page.precision.value}`;
  page.result.hidden = false;
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

page.form.addEventListener('submit', (event) => {
  event.preventDefault();
  doing(page.status.textContent, compare);
});
page.precision.addEventListener('change', () => doing('Loading the libraries …', async () => {
  await load();
  await compare();
}));
doing('Loading the libraries …', async () => {
  await load();
  await compare();
});
