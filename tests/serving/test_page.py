"""The page at /, its headers, and what a person with a keyboard and a browser sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from inference.page import FILE

from tests.serving.conftest import Running, Service
from tests.serving.tiny_model import write_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
in_a_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}: apt-get install chromium")


def test_the_page_asks_no_other_server(served: Service) -> None:
    response = served.client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    addresses = set(re.findall(r"https?://[^\s'\"]+", response.text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name in SVG, never fetched
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_script_and_style_are_allowed_by_hash_only(served: Service) -> None:
    policy = served.client.get("/").headers["content-security-policy"]
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    assert FILE.read_text().count("<script") == FILE.read_text().count("<style") == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    opened.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
    yield opened
    context.close()
    assert faults == []


@pytest.mark.browser
@in_a_browser
def test_a_person_types_a_review_and_sees_the_answer_and_why(
    page: Page, serve: Callable[..., Running], model_folder: Path
) -> None:
    running = serve(MODEL_URI=model_folder.as_uri(), TIDEGATE_RELEASE="12")
    page.goto(running.url)
    page.get_by_text("release 12", exact=True).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("Amazing music, not <b>good</b> <script>alert(1)</script>")
    page.keyboard.press("Control+Enter")
    page.locator("#result:not([hidden])").wait_for()
    assert page.locator("#label").inner_text() in {"positive", "negative"}
    assert page.locator("#scores li").count() == 2
    assert page.locator("#pieces mark").first.inner_text() == "Amazing"
    assert page.locator("#pieces script").count() == 0
    assert page.locator("#release").inner_text() == "12"
    assert page.locator("#ms").inner_text().endswith(" ms")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways on a phone"


@pytest.mark.browser
@in_a_browser
def test_an_example_is_one_click_and_an_empty_text_says_what_to_do(
    page: Page, serve: Callable[..., Running], model_folder: Path
) -> None:
    page.goto(serve(MODEL_URI=model_folder.as_uri()).url)
    page.get_by_role("button", name="Ask the model").click()
    page.get_by_text("There is no text yet.").wait_for()
    page.get_by_role("button", name="The movie was amazing!").click()
    page.locator("#result:not([hidden])").wait_for()
    assert page.locator("#label").inner_text() == "positive"
    assert page.locator("#problem").is_hidden()


@pytest.mark.browser
@in_a_browser
def test_labels_that_look_like_markup_and_many_classes_are_shown_as_text(
    page: Page, serve: Callable[..., Running], tmp_path: Path
) -> None:
    labels = [f"<i>{number}</i>" for number in range(8)]
    folder = write_model(tmp_path / "many", labels=labels)
    page.goto(serve(MODEL_URI=folder.as_uri()).url)
    page.get_by_role("button", name="The movie was amazing!").click()
    page.locator("#result:not([hidden])").wait_for()
    assert page.locator("#label").inner_text() == "<i>7</i>"
    assert page.locator("#scores li").last.inner_text() == "and 3 more classes"


@pytest.mark.browser
@in_a_browser
def test_without_a_model_and_without_a_server_the_page_says_so(page: Page, serve: Callable[..., Running]) -> None:
    running = serve()
    page.goto(running.url)
    page.get_by_text("No model yet", exact=True).wait_for()
    page.get_by_role("button", name="The movie was amazing!").click()
    page.get_by_text("There is no model yet: MODEL_URI is empty.").wait_for()
    running.end()
    page.get_by_role("button", name="The movie was amazing!").click()
    page.get_by_text("The service did not answer.").wait_for()
    assert page.locator("#go").inner_text() == "Ask the model"
