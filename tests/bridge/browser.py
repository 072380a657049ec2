"""A person at Label Studio's page: a real browser, its mouse, and pictures of what it shows."""

import io
import json
import shutil
import time
from contextlib import contextmanager

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.mouse_button import MouseButton
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1"
).split()


class Browser:
    def __init__(self, driver, studio):
        self.driver, self.studio = driver, studio

    def log_in(self):
        self.driver.get(f"{self.studio.server.url}/user/login/")
        self.driver.find_element(By.NAME, "email").send_keys(self.studio.server.email)
        self.driver.find_element(By.NAME, "password").send_keys(self.studio.server.password)
        self.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        self.until(lambda d: "login" not in d.current_url)

    def until(self, condition, seconds=60):
        return WebDriverWait(self.driver, seconds, 0.2).until(condition)

    def open_task(self, project, task):
        """The labelling page of one task, its picture loaded and its regions drawn."""
        self.driver.get(f"{self.studio.server.url}/projects/{project}/data?task={task}")
        self.wait_for_picture()

    def wait_for_picture(self):
        self.until(lambda d: self._picture())
        before = None
        for _ in range(50):  # until what is drawn stays the same
            time.sleep(0.4)
            now = self.screenshot().tobytes()
            if now == before:
                return
            before = now

    def _picture(self):
        """left, top, width, height on the screen, and natural size of the picture being labelled."""
        script = """
        const shown = [...document.querySelectorAll('img')].filter(
            i => i.complete && i.naturalWidth > 0 && i.src.startsWith('blob:'));
        const canvas = document.querySelector('.konvajs-content');
        if (!shown.length || !canvas) return null;
        const box = canvas.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height, shown[0].naturalWidth, shown[0].naturalHeight];
        """
        return self.driver.execute_script(script)

    def to_screen(self, points):
        """(N, 2) pixels of the picture -> (N, 2) pixels of the screen."""
        left, top, width, height, natural_width, natural_height = self._picture()
        return np.asarray(points, float) * [width / natural_width, height / natural_height] + [left, top]

    @property
    def scale(self):
        """Screen pixels to a picture's pixel."""
        picture = self._picture()
        return picture[2] / picture[4]

    def screenshot(self, path=None):
        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        return image

    def click(self, point):
        self.drag([point])

    def drag(self, points, steps=12):
        """Press at the first of these places on the screen, go through the others, release at the last."""
        pointer = PointerInput("mouse", "mouse")
        actions = ActionBuilder(self.driver, mouse=pointer, duration=30)
        actions.pointer_action.move_to_location(*_whole(points[0]))
        actions.pointer_action.pointer_down(MouseButton.LEFT)
        for start, end in zip(points, points[1:], strict=False):
            for part in np.linspace(0, 1, steps + 1)[1:]:
                actions.pointer_action.move_to_location(*_whole(np.add(start, part * np.subtract(end, start))))
        actions.pointer_action.pointer_up(MouseButton.LEFT)
        actions.perform()
        time.sleep(0.5)

    def button(self, text):
        """The button that says this, once it can be pressed."""
        path = f"//button[contains(normalize-space(.), '{text}')]"
        return self.until(lambda d: next((b for b in d.find_elements(By.XPATH, path) if b.is_enabled()), None))

    def sent(self, method, part):
        """The bodies of the requests of this kind that the page has sent since last asked."""
        bodies = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            request = message.get("params", {}).get("request", {})
            right = request.get("method") == method and part in request.get("url", "")
            if message["method"] == "Network.requestWillBeSent" and right:
                bodies.append(json.loads(request.get("postData", "null")))
        return bodies


def _whole(point):
    return round(float(point[0])), round(float(point[1]))


@contextmanager
def browser_at(studio, profile):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1500,950"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.set_window_size(1500, 950)
        browser = Browser(driver, studio)
        browser.log_in()
        yield browser
    finally:
        driver.quit()
