"""A browser that opens pages from files, at the width of a screen or of a telephone."""

import os
from pathlib import Path

import pytest
from helpers.bridge.browser import CHROMIUM, DRIVER, chromium
from selenium.webdriver.common.by import By


class Reader:
    """Somebody who reads a page."""

    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder

    def open(self, page, width=1440):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(Path(page).absolute().as_uri())

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        return [element.text for element in self.find(selector)]

    def choose(self, name, value):
        """Set one of the gallery's choices."""
        script = "const e = document.querySelector(`.gallery [name=${arguments[0]}]`); e.value = arguments[1]; "
        self.driver.execute_script(script + "e.dispatchEvent(new Event('input', {bubbles: true}))", name, value)

    def names(self):
        """The image ids of the cards that are shown, in order."""
        return self.texts(".gallery-card b")

    def screenshot(self, name):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(self.folder / f"{name}.png"))


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    folder = Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield Reader(driver, folder)
