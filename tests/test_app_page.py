"""The page, in a real browser: needs Chromium (Debian's, or another on the path) and `pip install -e ".[browser]"`."""

import io
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from servers import serve_in_process, wait_for

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

LONG = 120_000
"""Milliseconds that a run may take."""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve_in_process(tmp_path_factory.mktemp("app") / "kept") as (client, _):
        yield client


@pytest.fixture
def visit(browser, server):
    """Opens the page as a new visitor; fails on any error of its script."""
    contexts, errors = [], []

    def visit(address=None, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address or str(server.base_url))
        page.get_by_role("button", name="Chelsea").wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not errors


def choose(page, *, method="Draft", size="256"):
    page.get_by_role("button", name="Neuschwanstein").click()
    page.get_by_role("button", name="Harvest").click()
    page.get_by_text(method, exact=True).click()
    page.select_option("#size", size)


def paint(page):
    page.get_by_role("button", name="Paint", exact=True).click()


def see(page, text, timeout=LONG):
    playwright.expect(page.locator("#state")).to_contain_text(text, timeout=timeout)


def test_a_picture_from_two_clicks_to_the_download(visit, tmp_path):
    page = visit()
    choose(page)
    paint(page)
    see(page, "Step ")
    assert page.get_by_role("button", name="Stop").is_visible()
    shown = set()
    while "Step" in page.locator("#state").text_content():
        shown.add(page.locator("#after").get_attribute("src"))
        page.wait_for_timeout(100)
    assert len(shown - {None}) > 3, "the picture is live"
    see(page, "Done, 256 × 171 pixels")
    assert page.locator("#curve polyline").count() == 2
    assert page.locator("#command code").text_content() == (
        "tfstyle stylize neuschwanstein.jpg harvest.jpg --recipe draft --size 256"
    )
    page.locator("#cut").fill("25")
    assert "75%" in page.locator("#before").get_attribute("style")
    for name, suffix in (("Download picture", ".png"), ("Download with record and pictures", ".zip")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == f"neuschwanstein.harvest{suffix}"
        download.value.save_as(tmp_path / f"saved{suffix}")
    assert Image.open(tmp_path / "saved.png").size == (256, 171)
    assert page.get_by_role("button", name="neuschwanstein.harvest.png done").is_visible()
    page.get_by_role("button", name="Delete").click()
    playwright.expect(page.locator("#gallery")).to_be_hidden()
    playwright.expect(page.locator("#start")).to_be_visible()


def test_a_run_is_stopped_and_goes_on(visit):
    page = visit()
    choose(page, method="Balanced")
    paint(page)
    see(page, "Step ")
    page.get_by_role("button", name="Stop").click()
    see(page, "you stopped it")
    assert page.get_by_role("link", name="Download picture").is_visible()
    page.get_by_role("button", name="Go on", exact=True).click()
    see(page, "Done")


def test_options_are_those_of_the_command(visit):
    page = visit()
    choose(page, method="At once", size="256")
    assert page.locator("#stroke-size").is_hidden()
    page.get_by_text("Draft", exact=True).click()
    page.locator("#strength").fill("0.5")
    page.locator("#style_scale").fill("-1")
    page.select_option("#color", "content")
    page.locator("#color_strength").fill("0.25")
    paint(page)
    command = page.locator("#command code")
    for words in ("--strength 0.5", "--style-scale 0.5", "--color content", "--color-strength 0.25", "--recipe draft"):
        playwright.expect(command).to_contain_text(words)
    page.get_by_role("button", name="Stop").click()


def test_files_of_ones_own_and_what_is_no_picture(visit, tmp_path):
    page = visit()
    paint(page)
    alert = page.get_by_role("alert")
    playwright.expect(alert).to_have_text("Choose a photograph first.")
    (tmp_path / "letter.jpg").write_text("no picture")
    page.get_by_role("button", name="Harvest").click()
    page.locator("input[name=content]").set_input_files(tmp_path / "letter.jpg")
    paint(page)
    playwright.expect(alert).to_contain_text("letter.jpg: is not a supported image")
    (tmp_path / "large.bmp").write_bytes(b"x" * 70_000_000)
    page.locator("input[name=content]").set_input_files(tmp_path / "large.bmp")
    paint(page)
    playwright.expect(alert).to_have_text("The pictures have 70 MB; at most 64 MB are possible.")
    page.locator("input[name=content]").set_input_files(SAMPLES / "colosseum.jpg")
    assert page.locator("#photograph .drop img").is_visible()
    page.get_by_text("At once", exact=True).click()
    page.select_option("#size", "256")
    paint(page)
    see(page, "Done")
    playwright.expect(alert).to_be_hidden()
    assert "tfstyle fast colosseum.jpg harvest.jpg --size 256" in page.locator("#command code").text_content()


def test_the_brush_keeps_a_part_of_the_photograph(visit, server):
    page = visit()
    choose(page, method="At once")
    page.locator("summary").click()
    page.locator("#brush").fill("25")
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] - 5, steps=10)
    page.mouse.up()
    paint(page)
    see(page, "Done")
    assert "--protect protect.png" in page.locator("#command code").text_content()
    result = np.asarray(Image.open(io.BytesIO(server.get(page.locator("#download").get_attribute("href")).content)))
    photo = np.asarray(Image.open(SAMPLES / "neuschwanstein.jpg").resize(result.shape[1::-1], Image.Resampling.LANCZOS))
    change = np.abs(result.astype(float) - photo).mean(axis=(0, 2))
    assert change[40:60].mean() < 8 < 25 < change[150:].mean()
    page.get_by_role("button", name="Undo").click()
    paint(page)
    playwright.expect(page.locator("#command code")).not_to_contain_text("--protect")
    see(page, "Done")


def test_two_visitors_wait_for_each_other_and_see_only_their_own(visit):
    first, second = visit(), visit()
    choose(first, method="Best", size="512")
    choose(second, method="At once")
    paint(first)
    see(first, "Step ")
    paint(second)
    see(second, "Waits; 1 before it.")
    first.get_by_role("button", name="Stop").click()
    see(first, "Stopped")
    see(second, "Done")
    assert first.locator("#gallery li").count() == second.locator("#gallery li").count() == 1


def test_a_closed_page_frees_the_machine_and_finds_its_run_again(visit, server):
    page = visit()
    choose(page, method="Best", size="384")
    paint(page)
    see(page, "Step ")
    context = page.context
    page.close()
    began = time.monotonic()
    again = context.new_page()
    wait_for(lambda: "tfstyle_jobs_total" in server.get("/metrics").text)
    time.sleep(4)
    again.goto(str(server.base_url))
    see(again, "the page was closed")
    assert time.monotonic() - began < 20
    again.get_by_role("button", name="Go on", exact=True).click()
    see(again, "Step ")
    again.reload()  # Shorter than the two seconds.
    see(again, "Step ")
    again.get_by_role("button", name="Stop").click()
    see(again, "you stopped it")


def test_a_run_goes_on_while_another_picture_is_looked_at(visit):
    page = visit()
    choose(page)
    paint(page)
    see(page, "Done")
    page.get_by_text("Best", exact=True).click()
    page.select_option("#size", "384")
    paint(page)
    see(page, "Step ")
    page.locator("#gallery li button").last.click()
    see(page, "Done")
    time.sleep(6)
    page.locator("#gallery li button").first.click()
    see(page, "Step ")
    page.get_by_role("button", name="Stop").click()
    see(page, "you stopped it")


def test_no_more_than_four_pictures_of_a_page_wait(visit):
    page = visit()
    choose(page, method="Best", size="384")
    for number in range(4):
        paint(page)
        playwright.expect(page.locator("#gallery li")).to_have_count(number + 1)
    paint(page)
    playwright.expect(page.locator("#problem")).to_contain_text("4 of your pictures are not finished")
    page.locator("#gallery li button").last.click()
    page.get_by_role("button", name="Stop").click()
    see(page, "you stopped it")
    paint(page)
    playwright.expect(page.locator("#gallery li")).to_have_count(5)
    playwright.expect(page.locator("#problem")).to_be_empty()


def test_a_server_that_begins_again_offers_the_unfinished_run(browser, tmp_path):
    context = browser.new_context()
    page = context.new_page()
    with serve_in_process(tmp_path / "kept") as (client, process):
        address = str(client.base_url)
        page.goto(address)
        choose(page, method="Best", size="384")
        paint(page)
        see(page, "Step ")
        process.send_signal(signal.SIGKILL)
        process.wait()
        see(page, "The server does not answer")
    with serve_in_process(tmp_path / "kept", "--port", address.rpartition(":")[2].strip("/")):
        see(page, "the server was stopped")
        page.get_by_role("button", name="Go on", exact=True).click()
        see(page, "Step ")
        page.get_by_role("button", name="Stop").click()
        see(page, "Stopped")
    context.close()


NAMES = """() => {
  const element = document.activeElement;
  return [element.textContent.trim(), element.querySelector("img")?.alt, element.id, element.value];
}"""


def test_everything_is_done_with_the_keyboard(visit):
    page = visit()

    def tab_to(name):
        for _ in range(40):
            page.keyboard.press("Tab")
            if name in page.evaluate(NAMES):
                return
        raise AssertionError(f"{name} is not reached with Tab")

    tab_to("Colosseum")
    page.keyboard.press("Space")
    tab_to("Starry night")
    page.keyboard.press("Enter")
    tab_to("balanced")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    tab_to("size")
    page.keyboard.press("Home")
    tab_to("strength")
    page.keyboard.press("ArrowLeft")
    tab_to("Paint")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#command code")).to_have_text(
        "tfstyle fast colosseum.jpg starry_night.jpg --size 256 --strength 0.95"
    )
    see(page, "Done")
    tab_to("cut")
    page.keyboard.press("ArrowRight")
    assert "49%" in page.locator("#before").get_attribute("style")
    tab_to("Download picture")


def test_a_screen_reader_finds_a_name_for_everything(visit):
    page = visit()
    choose(page, method="At once")
    page.locator("summary").click()
    paint(page)
    see(page, "Done")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in ("button", "slider", "combobox", "radio", "checkbox", "link", "image", "Canvas")
    ]
    assert len(controls) > 30
    assert [role for role, name in controls if not name] == []
    assert page.get_by_role("status").filter(has_text="Done").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


LUMINANCE = """element => {
  const shade = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const inks = [shade(getComputedStyle(element).color)];
  let below = element;
  while (getComputedStyle(below).backgroundColor === "rgba(0, 0, 0, 0)") below = below.parentElement;
  inks.push(shade(getComputedStyle(below).backgroundColor));
  inks.sort((a, b) => b - a);
  return (inks[0] + 0.05) / (inks[1] + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_by_day_and_night(visit, scheme):
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True)
    choose(page, method="At once")
    page.locator("summary").click()
    paint(page)
    see(page, "Done")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for place in ("h1", "legend", ".hint", "#state", "#paint", "summary + p", "footer a", "#stop", "#command code"):
        assert page.locator(place).first.evaluate(LUMINANCE) >= 4.5, place
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 30)"
    assert dark == (scheme == "dark")
