"""examples/browser in headless Chromium: the documented commands make and serve the page, and its vectors are ours.

Needs the cache of packages in .venv-examples-node, and `chromium`; `make test-examples` sees to both.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.bundles import edit_json, flip_a_byte, record_again
from support.paths import CHECKPOINT, TRAINED
from surroundings import PATIENCE, ROOT, documented

HEADING = "In the browser"
CACHE = ROOT / ".venv-examples-node" / "cache"
ELSEWHERE = "elsewhere.example"  # a name of this machine that browsers do not take for it
LOADED = re.compile(r"^Model loaded and checked in \d+\.\d s\.$")
# Ragged on purpose: each row of five is one batch.
TEXTS = [
    "Wie ist das Wetter heute?",
    "",
    "Die Straßenbahn fährt über die Brücke, obwohl es schneit.",
    "a",
    "ÄÖÜ ß é — “quotes” 🚆 列车 \t tab\nline   spaces ",
    "How do I reset my password?",
    *json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["long"][:2],
    "The committee postponed its decision. " * 20,
    "<s> no </s> special <mask> tokens <pad>",
]
ENCODE = """async ([precision, texts]) => {
  const { Embedder } = await import('./embedder.js');
  const embedder = await Embedder.load(new URL('bundle/', document.baseURI), precision);
  const rows = [];
  for (let start = 0; start < texts.length; start += 5) {
    const { vectors } = await embedder.encode(texts.slice(start, start + 5));
    rows.push(...vectors.map((vector) => Array.from(vector)));
  }
  await embedder.close();
  return rows;
}"""


@dataclass(frozen=True)
class Site:
    """A served directory."""

    folder: Path
    url: str
    process: subprocess.Popen[str]


@contextmanager
def served(folder: Path, command: list[str], directory: Path) -> Iterator[Site]:
    """The site of a command that is python -m http.server at port 0, until the block ends."""
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        found = re.search(r"\((http://[\d.:]+/)\)", process.stdout.readline())
        assert found
        yield Site(folder, found[1], process)
        process.kill()


def serving(command: str) -> list[str]:
    """The documented command of the server, at a port that is free."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "http.server", "8000"]
    return [sys.executable, "-u", "-m", "http.server", "0", *words[4:]]


@pytest.fixture(scope="session")
def site(workplace: Path) -> Iterator[Site]:
    """What the documented commands make and serve, packages coming from the cache."""
    offline = os.environ | {"npm_config_offline": "true", "npm_config_cache": str(CACHE)}
    *preparing, server = documented(HEADING)
    assert len(preparing) == 4
    for command in preparing:
        done = subprocess.run(command, shell=True, cwd=workplace, env=offline, capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr.decode()
    with served(workplace / "build" / "browser", serving(server), workplace) as live:
        yield live


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is not installed; make test-examples installs it"
    flags = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    flags.append(f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=program, args=[*flags, "--disable-sync"], chromium_sandbox=os.geteuid() != 0
        )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of its own profile, in which no script failed unseen."""
    context = browser.new_context(viewport={"width": 800, "height": 720})
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    tab = context.new_page()
    unseen: list[str] = []
    tab.on("pageerror", lambda error: unseen.append(str(error)))
    yield tab
    context.close()
    assert unseen == []


@pytest.fixture
def broken(site: Site, tmp_path: Path) -> Iterator[Site]:
    """A site like the other, whose files a test may damage."""
    folder = Path(shutil.copytree(site.folder, tmp_path / "site", ignore=shutil.ignore_patterns("node_modules")))
    with served(folder, serving("python -m http.server 8000 --bind 127.0.0.1"), folder) as live:
        yield live


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    return Embedder.similarity(first, second).diagonal()


def compare(page: Page, first: str, second: str) -> float:
    """Type two sentences, press the button, read the similarity."""
    page.get_by_label("First sentence").fill(first)
    page.get_by_label("Second sentence").fill(second)
    page.evaluate("document.getElementById('result').hidden = true")  # what comes is new
    page.get_by_role("button", name="Compare").click()
    result = page.locator("#similarity")
    expect(result).to_be_visible()
    return float(result.inner_text())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Where is the nearest train station?", "Wo ist der nächste Bahnhof?"),
        ("Mein Drucker funktioniert nicht.", "The meeting has been moved to Friday."),
        ("short", "Ein viel längerer Satz, damit die Zeilen des Stapels nicht gleich lang sind."),
    ],
)  # fmt: skip
def test_shows_the_similarity_of_our_runtime(page: Page, site: Site, model: Embedder, first: str, second: str) -> None:
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    page.get_by_label("Precision").select_option(model.precision)
    expect(page.locator("#details")).to_contain_text(model.precision)
    shown = compare(page, first, second)
    expected = float(Embedder.similarity(model.encode([first]), model.encode([second]))[0, 0])
    # Four digits are shown; int8 rounds now and then the other way on another processor.
    assert shown == pytest.approx(expected, abs=1e-4 if model.precision == "fp32" else 2e-3)
    assert f"{model.count_tokens(first)[0]} and {model.count_tokens(second)[0]} tokens" in page.inner_text("#details")


def test_vectors_are_those_of_our_runtime(page: Page, site: Site, model: Embedder) -> None:
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    found = np.array(page.evaluate(ENCODE, [model.precision, TEXTS]), dtype=np.float32)
    expected = model.encode(TEXTS)
    assert min(cosines(found, expected)) >= (0.999999 if model.precision == "fp32" else 0.9999)
    if model.precision == "fp32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_the_documented_module_is_used_as_documented(page: Page, site: Site) -> None:
    text = (ROOT / "docs" / "guides" / "examples.md").read_text("utf-8")
    (code,) = re.findall(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    with page.expect_console_message() as said:
        page.evaluate(f"async () => {{ {code} }}")
    vectors = Embedder.load(TRAINED, precision="int8").encode(
        ["How is the weather today?", "Wie ist das Wetter heute?"]
    )
    expected = float(Embedder.similarity(vectors[:1], vectors[1:])[0, 0])
    assert float(said.value.text) == pytest.approx(expected, abs=2e-3)


def test_without_https_it_says_that_files_were_checked_by_size_only(page: Page, site: Site) -> None:
    page.goto(site.url.replace("127.0.0.1", ELSEWHERE))
    status = page.locator("#status")
    expect(status).to_have_text(
        re.compile(r"^Model loaded and checked in \d+\.\d s\. Its files were checked by size only")
    )
    assert page.evaluate("globalThis.crypto.subtle === undefined")
    assert compare(page, "Guten Tag.", "Guten Tag.") == 1
    expect(status).to_contain_text("by size only")


def test_tells_how_far_loading_is(page: Page, site: Site) -> None:
    page.add_init_script("""
      window.told = [];
      document.addEventListener('DOMContentLoaded', () => new MutationObserver(() =>
        told.push([document.getElementById('status').textContent, document.getElementById('loading').value])
      ).observe(document.getElementById('status'), { childList: true, characterData: true, subtree: true }));
    """)
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    told = [(words, value) for words, value in page.evaluate("told") if words.startswith("Loading the model: ")]
    megabytes = (site.folder / "bundle" / "onnx" / "model_int8.onnx").stat().st_size / 1e6
    assert told[-1][0] == f"Loading the model: {megabytes:.1f} of {megabytes:.1f} MB"
    shares = [value for _, value in told]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    expect(page.get_by_role("progressbar", name="Loading")).to_be_hidden()


def test_nothing_is_asked_of_another_host(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    compare(page, "Ein Satz.", "A sentence.")
    own = [url for url in asked if url.startswith((site.url, "data:"))]
    assert own == asked
    assert {f"{site.url}bundle/onnx/model_int8.onnx", f"{site.url}lib/ort-wasm-simd-threaded.wasm"} <= set(own)
    assert not any("fp32" in url or url.endswith("model.onnx") for url in own)


def test_a_text_that_is_too_long_is_refused_and_the_page_goes_on(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    page.get_by_label("Second sentence").fill("Wort " * 9000)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^Text 2 has \d+ tokens; the model reads 8192\.$"))
    expect(page.locator("#result")).to_be_hidden()
    assert compare(page, "Guten Tag.", "Guten Tag.") == 1
    expect(page.get_by_role("alert")).to_be_hidden()


def with_a_file_cut_short(folder: Path) -> None:
    file = folder / "bundle" / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:-100])


def with_another_tokenizer(folder: Path) -> None:
    """Two tokens change places, and the manifest lists the file as it is now."""

    def exchange(content: dict) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary["Ġwetter"], vocabulary["Ġhaus"] = vocabulary["Ġhaus"], vocabulary["Ġwetter"]

    edit_json(folder / "bundle" / "tokenizer.json", exchange)
    record_again(folder / "bundle", "tokenizer.json")


BREAKING: dict[str, tuple[Callable[[Path], object], str]] = {
    "no bundle": (
        lambda folder: shutil.rmtree(folder / "bundle"),
        r"manifest\.json: the server says 404; is a bundle there\?",
    ),
    "no libraries": (
        lambda folder: shutil.rmtree(folder / "lib"),
        r'The libraries in lib/ cannot be loaded; run "npm run lib" \(.*\)\.',
    ),
    "one byte altered": (
        lambda folder: flip_a_byte(folder / "bundle" / "onnx" / "model_int8.onnx"),
        r"onnx/model_int8\.onnx is not the file that the manifest lists; copy the bundle.*",
    ),
    "a file cut short": (
        with_a_file_cut_short,
        r"tokenizer\.json is not the file that the manifest lists; copy the bundle again\.",
    ),
    "fp32 alone": (
        lambda folder: edit_json(folder / "bundle" / "manifest.json", lambda listed: listed["precisions"].pop("int8")),
        r"This bundle has no int8; export it with --precision int8\.",
    ),
    "another tokenizer": (
        with_another_tokenizer,
        r"This browser computes other vectors than the exporter's machine did \(cosine 0.*",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_is_wrong_is_shown(page: Page, broken: Site, name: str) -> None:
    breaking, message = BREAKING[name]
    breaking(broken.folder)
    page.goto(broken.url)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text(re.compile(f"^{message}$"))
    expect(page.locator("#result")).to_be_hidden()
    expect(page.get_by_role("progressbar", name="Loading")).to_be_hidden()
    expect(page.get_by_role("button", name="Compare")).to_be_enabled()  # which tries again


def test_a_server_that_is_gone_is_told_and_found_again(page: Page, broken: Site) -> None:
    page.goto(broken.url)
    expect(page.locator("#status")).to_have_text(LOADED)
    broken.process.kill()
    broken.process.wait(PATIENCE)
    page.get_by_label("Precision").select_option("fp32")
    expect(page.get_by_role("alert")).to_have_text("The server does not answer for manifest.json; is it still running?")
    port = broken.url.rsplit(":", 1)[1].strip("/")
    command = [sys.executable, "-u", "-m", "http.server", port, "--bind", "127.0.0.1"]
    with served(broken.folder, command, broken.folder):
        assert compare(page, "Guten Tag.", "Guten Tag.") == 1
        expect(page.locator("#details")).to_contain_text("fp32")


def test_a_page_that_is_opened_as_a_file_says_what_it_needs(page: Page, site: Site) -> None:
    page.goto((site.folder / "index.html").as_uri())
    expect(page.locator("#status")).to_contain_text("python -m http.server")
