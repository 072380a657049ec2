"""A person at Label Studio's page: a real browser, its mouse, and pictures of what it shows."""

import io
import itertools
import json
import shutil
import time
from collections import Counter
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.mouse_button import MouseButton
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1"
).split()


class Browser:
    """A browser in which somebody is logged in.

    Args:
        actions: how many clicks, drags and keys there were since the last :meth:`count`.
    """

    def __init__(self, driver, studio):
        self.driver, self.studio = driver, studio
        self.actions = Counter()

    def count(self):
        """Return the actions since the last call."""
        counted, self.actions = dict(self.actions), Counter()
        return counted

    def log_in(self):
        self.driver.get(f"{self.studio.server.url}/user/login/")
        self.driver.find_element(By.NAME, "email").send_keys(self.studio.server.email)
        self.driver.find_element(By.NAME, "password").send_keys(self.studio.server.password)
        self.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        self.until(lambda d: "login" not in d.current_url)

    def until(self, condition, seconds=60):
        return WebDriverWait(self.driver, seconds, 0.2).until(condition)

    def open_task(self, project, task):
        """Open the labelling page of one task, and wait for its picture and its regions."""
        self.driver.get(f"{self.studio.server.url}/projects/{project}/data?task={task}")
        self.wait_for_picture()

    def open_project(self, project):
        """Open the table of a project's tasks, and wait for their pictures."""
        self.driver.get(f"{self.studio.server.url}/projects/{project}/data")
        self.button("Label All Tasks")
        self._wait_until_still()

    def wait_for_task(self, task):
        """Wait until the labelling page shows this task."""
        self.until(
            lambda d: d.find_elements(
                By.XPATH, f"//*[contains(@class, 'task-id') and normalize-space(text()[1])='{task}']"
            )
        )
        self.wait_for_picture()

    def wait_for_picture(self):
        self.until(lambda d: self.picture())
        self._wait_until_still()

    def _wait_until_still(self):
        before = None
        for _ in range(50):  # until what is drawn stays the same
            time.sleep(0.4)
            now = self.screenshot().tobytes()
            if now == before:
                return
            before = now

    def picture(self):
        """left, top, width, height on the screen, and natural size of the picture being labelled.

        The page may show it slightly larger than the canvas on which the boxes are drawn, and cut its rims off.
        """
        script = """
        const shown = [...document.querySelectorAll('img')].filter(
            i => i.complete && i.naturalWidth > 0 && i.src.startsWith('blob:'));
        if (!shown.length || !document.querySelector('.konvajs-content')) return null;
        const box = shown[0].getBoundingClientRect();
        return [box.left, box.top, box.width, box.height, shown[0].naturalWidth, shown[0].naturalHeight];
        """
        return self.driver.execute_script(script)

    def to_screen(self, points):
        """Convert (N, 2) pixels of the picture to (N, 2) pixels of the screen."""
        left, top, width, height, natural_width, natural_height = self.picture()
        return np.asarray(points, float) * [width / natural_width, height / natural_height] + [left, top]

    def from_screen(self, points):
        """Convert (N, 2) pixels of the screen to (N, 2) pixels of the picture."""
        left, top, width, height, natural_width, natural_height = self.picture()
        return (np.asarray(points, float) - [left, top]) * [natural_width / width, natural_height / height]

    @property
    def scale(self):
        """Screen pixels per pixel of the picture."""
        _, _, width, _, natural_width, _ = self.picture()
        return width / natural_width

    def selected(self):
        """The selected box in the page's own terms.

        Returns:
            Its corners in the picture's pixels, (4, 2), the one it rotates about first; and the place of its rotation
            handle on the screen.
        """
        corners, handle = self.driver.execute_script(
            """
            const transformer = Konva.stages.flatMap(s => s.find('Transformer')).find(t => t.nodes().length);
            const node = transformer.nodes()[0], place = node.getAbsoluteTransform();
            const canvas = node.getStage().container().getBoundingClientRect();
            const on = p => [p.x + canvas.left, p.y + canvas.top];
            const [w, h] = [node.width(), node.height()];
            const corners = [[0, 0], [w, 0], [w, h], [0, h]].map(([x, y]) => on(place.point({x, y})));
            return [corners, on(transformer.findOne('.rotater').absolutePosition())];
            """
        )
        return self.from_screen(corners), np.array(handle)

    def screenshot(self, path=None):
        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        return image

    def click(self, point):
        self.drag([point])

    def press(self, key):
        self.actions["keys"] += 1
        self.driver.find_element(By.TAG_NAME, "body").send_keys(key)
        time.sleep(0.3)

    def choose_three_clicks(self):
        """Choose the tool that draws a rectangle by three of its corners."""
        self.press(Keys.SHIFT + "r" + Keys.NULL)

    def switch(self, *names):
        """Turn settings of the labelling page on or off, by the switches that a person finds there."""
        self.driver.find_element(By.CSS_SELECTOR, "[aria-label=Settings]").click()
        for name in names:
            switch = f"//*[normalize-space(text())='{name}']/following::input[@type='checkbox'][1]/ancestor::label"
            self.until(lambda d, switch=switch: d.find_elements(By.XPATH, switch))[0].click()
        self.driver.find_element(By.XPATH, "//*[contains(@class, 'modal')]//button").click()
        self._wait_until_still()

    def forget_settings(self):
        """Forget what the page keeps in this browser: settings, the last tool."""
        self.driver.execute_script("localStorage.clear()")

    def regions(self):
        """The labels and the selection of the regions of the answer that is shown: a list of (label, is selected)."""
        script = """
        return Htx.annotationStore.selected.regions.map(r => [r.labels.join(), r.inSelection]);
        """
        return [tuple(region) for region in self.driver.execute_script(script)]

    def active_tool(self):
        """The name of the tool that is chosen."""
        return self.driver.find_element(By.CSS_SELECTOR, ".lsf-tool_active").get_attribute("aria-label")

    def tools(self):
        """The names of the tools beside the picture."""
        return [tool.get_attribute("aria-label") for tool in self.driver.find_elements(By.CSS_SELECTOR, ".lsf-tool")]

    def drag(self, points, steps=12):
        """Press the mouse at the first of these places on the screen, move through the others, release at the last."""
        self.actions["drags" if len(points) > 1 else "clicks"] += 1
        pointer = PointerInput("mouse", "mouse")
        actions = ActionBuilder(self.driver, mouse=pointer, duration=30)
        actions.pointer_action.move_to_location(*_rounded(points[0]))
        actions.pointer_action.pointer_down(MouseButton.LEFT)
        for start, end in itertools.pairwise(points):
            for part in np.linspace(0, 1, steps + 1)[1:]:
                actions.pointer_action.move_to_location(*_rounded(np.add(start, part * np.subtract(end, start))))
        actions.pointer_action.pointer_up(MouseButton.LEFT)
        actions.perform()
        time.sleep(0.5)

    def button(self, text):
        """Wait for the button with this text to be enabled."""
        path = f"//button[contains(normalize-space(.), '{text}')]"
        return self.until(lambda d: next((b for b in d.find_elements(By.XPATH, path) if b.is_enabled()), None))

    def press_button(self, text):
        """Click the button with this text, once no message covers it."""

        def clicked(driver):
            with suppress(ElementClickInterceptedException):
                self.button(text).click()
                return True

        self.until(clicked)

    def sent(self, method, part):
        """The bodies of matching requests that the page has sent since the last call."""
        bodies = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            request = message.get("params", {}).get("request", {})
            matches = request.get("method") == method and part in request.get("url", "")
            if message["method"] == "Network.requestWillBeSent" and matches:
                bodies.append(json.loads(request.get("postData", "null")))
        return bodies


def _rounded(point):
    return round(float(point[0])), round(float(point[1]))


@contextmanager
def chromium(profile):
    """Start a browser with a profile folder of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1500,950"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.set_window_size(1500, 950)
        yield driver
    finally:
        driver.quit()


@contextmanager
def browser_at(studio, profile):
    """Start a browser with a profile folder of its own, and log in."""
    with chromium(profile) as driver:
        browser = Browser(driver, studio)
        browser.log_in()
        yield browser
